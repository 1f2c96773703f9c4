//! Training follows PyTorch: losses, weights and optimiser state against `tests/golden/mlp.txt`.

mod common;
#[path = "common/golden.rs"]
mod golden;

use approx::assert_relative_eq;
use gemmule::data::Dataset;
use gemmule::nn::{self, Activation, Dense, Model, Sequential};
use gemmule::optim::{Adam, Optimizer, Sgd};
use gemmule::{Context, Element, Tensor};
use golden::{Golden, Layer, Loss, Net, Precision, Section, Summary, Targets};

const STEPS: usize = 20;

fn cast<T: Element>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(f64::from(value))).collect()
}

/// The net with the weights of the formula.
fn model<T: Element>(net: &Net, context: Context) -> Model<T> {
    let mut chain = Sequential::new();
    for layer in &net.layers {
        chain = match *layer {
            Layer::Linear(inputs, outputs) => chain.with(Dense::new(inputs, outputs)),
            Layer::Relu => chain.with(Activation::Relu),
            Layer::Tanh => chain.with(Activation::Tanh),
            Layer::Sigmoid => chain.with(Activation::Sigmoid),
        };
    }
    let mut model = chain.build_with::<T>(context, 0).unwrap();
    let infos = model.parameters();
    let parameters = net.parameters();
    assert_eq!(infos.len(), parameters.len());
    for (info, (name, values)) in infos.iter().zip(&parameters) {
        assert_eq!(&info.name, name, "PyTorch's names");
        model.set_parameter(name, &Tensor::from_vec(&info.shape, cast(values)).unwrap()).unwrap();
    }
    model
}

/// The samples of all steps, one batch after the other.
fn data<T: Element>(net: &Net) -> Dataset {
    let (mut x, mut classes, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..STEPS {
        let (inputs, targets) = net.batch(step);
        x.extend(inputs);
        match targets {
            Targets::Classes(part) => classes.extend(part),
            Targets::Values(part) => values.extend(part),
        }
    }
    let samples = STEPS * net.batch;
    let data =
        Dataset::from_values(Tensor::from_vec(&[samples, net.features], cast::<T>(&x)).unwrap()).unwrap();
    if values.is_empty() {
        data.with_classes(classes, net.outputs).unwrap()
    } else {
        data.with_values(Tensor::from_vec(&[samples, net.outputs], cast::<T>(&values)).unwrap()).unwrap()
    }
}

fn loss(net: &Net) -> nn::Loss {
    match net.loss {
        Loss::CrossEntropy => nn::Loss::CrossEntropy,
        Loss::Mse => nn::Loss::MeanSquaredError,
        Loss::BceWithLogits => nn::Loss::BinaryCrossEntropy,
    }
}

fn optimizer(name: &str, section: &Section) -> Optimizer {
    let learning_rate = section.option("lr");
    if name.ends_with("/adam") {
        return Adam { learning_rate, ..Adam::default() }.into();
    }
    Sgd {
        learning_rate,
        momentum: section.option("momentum"),
        nesterov: section.options.get("nesterov").is_some_and(|text| text == "True"),
        weight_decay: section.option("weight_decay"),
        ..Sgd::default()
    }
    .into()
}

fn compare<T: Element>(values: &Tensor<T>, expected: &Summary, tolerance: f64, what: &str) {
    let got = Summary::of(values.as_slice().iter().map(|&value| Element::to_f64(value)));
    let difference = got.difference(expected);
    assert!(difference <= tolerance, "{what}: {difference:e} from PyTorch\n{got:?}\n{expected:?}");
}

/// Twenty steps of every section, on every instruction set: losses, weights and optimiser state.
fn follow<T: Element>(golden: &Golden, precision: Precision, losses: f64, tensors: f64) {
    for (name, section) in golden.sections.iter().filter(|(name, _)| !name.ends_with("/start")) {
        let net = golden.net(name.split_once('/').unwrap().0);
        let data = data::<T>(net);
        for context in common::contexts() {
            let what = format!("{name} in {} on {}", T::NAME, context.isa());
            let mut model = model::<T>(net, context);
            model.compile(loss(net), optimizer(name, section)).unwrap();
            for (step, &(f32_loss, f64_loss)) in section.losses.iter().enumerate() {
                let batch: Vec<usize> = (step * net.batch..(step + 1) * net.batch).collect();
                let got = Element::to_f64(model.step(&data, &batch).unwrap());
                let expected = if precision == Precision::F32 { f32_loss } else { f64_loss };
                assert_relative_eq!(got, expected, max_relative = losses);
            }
            for info in model.parameters() {
                let states: &[&str] = match name.rsplit_once('/').unwrap().1 {
                    "sgd" => &[],
                    "adam" => &["exp_avg", "exp_avg_sq"],
                    _ => &["momentum_buffer"],
                };
                let value = model.parameter(&info.name).unwrap();
                compare(&value, section.tensor(&info.name, "value", precision), tensors, &what);
                for (index, kind) in states.iter().enumerate() {
                    let state = model.optimizer_state(&info.name, index).unwrap();
                    let what = format!("{what}: {} {kind}", info.name);
                    compare(&state, section.tensor(&info.name, kind, precision), tensors, &what);
                }
            }
        }
    }
}

#[test]
fn training_follows_pytorch_in_f32() {
    // Adam's first steps divide by the root of tiny second moments: PyTorch's own float32 and float64 runs differ by
    // 3e-5 there.
    follow::<f32>(&golden::mlp(), Precision::F32, 1e-5, 1e-4);
}

#[test]
fn training_follows_pytorch_in_f64() {
    follow::<f64>(&golden::mlp(), Precision::F64, 1e-12, 1e-10);
}

/// Outputs and gradients of the first step, before anything adds up.
#[test]
fn the_first_step_is_pytorchs() {
    fn check<T: Element>(golden: &Golden, precision: Precision, tolerance: f64) {
        for net in &golden.nets {
            let start = golden.section(&format!("{}/start", net.name));
            let data = data::<T>(net);
            let batch: Vec<usize> = (0..net.batch).collect();
            for context in common::contexts() {
                let what = format!("{} in {} on {}", net.name, T::NAME, context.isa());
                let mut model = model::<T>(net, context);
                let output = model.predict(&data.subset(&batch).unwrap()).unwrap();
                compare(&output, start.tensor("output", "value", precision), tolerance, &what);
                model.compile(loss(net), Sgd::default()).unwrap();
                model.gradients(&data, &batch).unwrap();
                for info in model.parameters() {
                    let gradient = model.gradient(&info.name).unwrap();
                    let what = format!("{what}: gradient of {}", info.name);
                    compare(&gradient, start.tensor(&info.name, "grad", precision), tolerance, &what);
                }
            }
        }
    }
    check::<f32>(&golden::mlp(), Precision::F32, 1e-5);
    check::<f64>(&golden::mlp(), Precision::F64, 1e-11);
}

//! A small model learns under each optimiser, with the same bits for any number of threads, and its parameters move as
//! the kernels move slices.

use crate::cases::{Case, Rule, cases};
use crate::common::all_bits;
use gemmule::data::Dataset;
use gemmule::kernel::update::{self, Clip};
use gemmule::nn::{Activation, Dense, Loss, Model, Sequential};
use gemmule::optim::*;
use gemmule::train::Fit;
use gemmule::{Context, Element, Error, Parallelism, Tensor};

const SAMPLES: usize = 96;
const INPUTS: usize = 150;

/// Two classes: the sign of the sum of the first features.
fn data() -> Dataset {
    let x: Vec<f32> = crate::common::random(3, SAMPLES * INPUTS).iter().map(|&x| x as f32).collect();
    let classes: Vec<u32> = x.chunks(INPUTS).map(|x| u32::from(x[..20].iter().sum::<f32>() > 0.0)).collect();
    let x = Tensor::from_slice(&[SAMPLES, INPUTS], &x).unwrap();
    Dataset::from_values(x).unwrap().with_classes(classes, 2).unwrap()
}

/// 25,000 parameters: four tiles of the update.
fn model(threads: usize, optimizer: Optimizer, clip: Clip) -> Model<f32> {
    let net = Sequential::new()
        .with(Dense::new(INPUTS, 100))
        .with(Activation::Relu)
        .with(Dense::new(100, 100))
        .with(Activation::Relu)
        .with(Dense::new(100, 2));
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Max(threads));
    let mut model = net.build_with(context, 5).unwrap();
    model.compile(Loss::CrossEntropy, optimizer).unwrap();
    model.clip_gradients(clip).unwrap();
    model
}

fn optimizer(rule: Rule) -> Optimizer {
    match rule {
        Rule::Sgd(o) => o.into(),
        Rule::Adagrad(o) => o.into(),
        Rule::RmsProp(o) => o.into(),
        Rule::Adadelta(o) => o.into(),
        Rule::Adam(o) => o.into(),
        Rule::AdamW(o) => o.into(),
        Rule::Adamax(o) => o.into(),
        Rule::NAdam(o) => o.into(),
        Rule::RAdam(o) => o.into(),
        Rule::Lion(o) => o.into(),
    }
}

/// Those that climb, down again, and the smallest rates larger: ten epochs are few.
fn descending(rule: Rule) -> Rule {
    let maximize = false;
    match rule {
        Rule::Sgd(o) => Rule::Sgd(Sgd { maximize, ..o }),
        Rule::Adagrad(o) => Rule::Adagrad(Adagrad { maximize, ..o }),
        Rule::RmsProp(o) => Rule::RmsProp(RmsProp { maximize, learning_rate: 1e-3, ..o }),
        Rule::Adadelta(o) => Rule::Adadelta(Adadelta { maximize, ..o }),
        Rule::Adam(o) => Rule::Adam(Adam { maximize, ..o }),
        Rule::AdamW(o) => Rule::AdamW(AdamW { maximize, ..o }),
        Rule::Adamax(o) => Rule::Adamax(Adamax { maximize, ..o }),
        Rule::NAdam(o) => Rule::NAdam(NAdam { maximize, ..o }),
        Rule::RAdam(o) => Rule::RAdam(RAdam { maximize, ..o }),
        Rule::Lion(o) => Rule::Lion(Lion { maximize, learning_rate: 1e-3, ..o }),
    }
}

fn parameters(model: &Model<f32>) -> Vec<Vec<u64>> {
    model.parameters().iter().map(|p| all_bits(model.parameter(&p.name).unwrap().as_slice())).collect()
}

#[test]
fn every_optimiser_learns_with_the_same_bits_on_any_number_of_threads() {
    let data = data();
    for case in cases() {
        let rule = optimizer(descending(case.rule));
        let train = |threads| {
            let mut model = model(threads, rule, case.clip);
            let before = model.evaluate(&data).unwrap().loss;
            model.fit(&data, Fit::new().epochs(10).batch_size(32)).unwrap();
            (before, model.evaluate(&data).unwrap().loss, parameters(&model))
        };
        let (before, after, alone) = train(1);
        assert!(after < 0.99 * before, "{}: {before} to {after}", case.name);
        let (_, _, together) = train(4);
        assert!(alone == together, "{}: the threads show", case.name);
    }
}

/// The engine's gradients through the kernel on slices give the engine's parameters and states, to the bit.
#[test]
fn models_move_as_slices_do() {
    let data = data();
    let batch: Vec<usize> = (0..40).collect();
    for case in cases() {
        let mut model = model(2, optimizer(case.rule), case.clip);
        let names: Vec<String> = model.parameters().into_iter().map(|p| p.name).collect();
        let read = |model: &Model<f32>| -> Vec<Vec<f32>> {
            names.iter().map(|name| model.parameter(name).unwrap().as_slice().to_vec()).collect()
        };
        let mut slices: Vec<[Vec<f32>; 4]> = read(&model)
            .into_iter()
            .map(|p| [p.clone(), vec![0.0; p.len()], vec![0.0; p.len()], vec![0.0; p.len()]])
            .collect();
        for number in 1..=3 {
            model.step(&data, &batch).unwrap();
            let mut gradients: Vec<Vec<f32>> =
                names.iter().map(|name| model.gradient(name).unwrap().as_slice().to_vec()).collect();
            // The norm is of all parameters, and the engine's order of summing is its own.
            let clip = match case.clip {
                Clip::Norm(limit) => {
                    let all: Vec<&[f32]> = gradients.iter().map(|g| &g[..]).collect();
                    assert!(update::norm(model_context(), &all) > 0.0);
                    let mut all: Vec<&mut [f32]> = gradients.iter_mut().map(|g| &mut g[..]).collect();
                    update::clip_norm(model_context(), &mut all, limit).unwrap();
                    Clip::Off
                }
                clip => clip,
            };
            let exact = case.clip == clip;
            let case = Case { clip, ..case };
            for ((state, g), name) in slices.iter_mut().zip(&gradients).zip(&names) {
                assert!(case.step_all(model_context(), number, state, g).unwrap());
                let p = model.parameter(name).unwrap();
                for (ours, p) in state[0].iter().zip(p.as_slice()) {
                    let close = if exact { ours.bits() == p.bits() } else { (ours - p).abs() <= 1e-6 };
                    assert!(close, "{} {name} step {number}: {ours} {p}", case.name);
                }
                if exact {
                    // The states in their order, and no more of them.
                    let used = state[1..].iter().filter(|array| array.iter().any(|&x| x != 0.0));
                    let mut count = 0;
                    for (index, array) in used.enumerate() {
                        let ours = model.optimizer_state(name, index).unwrap();
                        assert_eq!(
                            all_bits(ours.as_slice()),
                            all_bits(array),
                            "{} {name} {index}",
                            case.name
                        );
                        count += 1;
                    }
                    assert!(model.optimizer_state(name, count).is_err(), "{} {count}", case.name);
                }
            }
        }
    }
}

fn model_context() -> &'static Context {
    static CONTEXT: std::sync::OnceLock<Context> = std::sync::OnceLock::new();
    CONTEXT.get_or_init(|| Context::detect().unwrap())
}

#[test]
fn clipping_by_the_norm_bounds_a_step() {
    let data = data();
    let batch: Vec<usize> = (0..40).collect();
    let sgd = Optimizer::from(Sgd { learning_rate: 1.0, ..Sgd::default() });
    let moved = |clip| {
        let mut model = model(2, sgd, clip);
        let names: Vec<String> = model.parameters().into_iter().map(|p| p.name).collect();
        let read = |model: &Model<f32>| -> Vec<f32> {
            names.iter().flat_map(|name| model.parameter(name).unwrap().as_slice().to_vec()).collect()
        };
        let before = read(&model);
        model.step(&data, &batch).unwrap();
        let change: Vec<f32> = read(&model).iter().zip(&before).map(|(a, b)| a - b).collect();
        update::norm(model_context(), &[&change])
    };
    let free = moved(Clip::Off);
    assert!(free > 0.1, "{free}");
    assert!((moved(Clip::Norm(0.05)) - 0.05).abs() < 1e-4);
    assert!((moved(Clip::Norm(100.0)) - free).abs() < 1e-6);
    assert!(moved(Clip::Value(1e-4)) < 1e-4 * 159.0);

    let mut model = model(1, sgd, Clip::Off);
    let error = model.clip_gradients(Clip::Norm(0.0)).unwrap_err().to_string();
    assert_eq!(error, "clip_gradients: norm: expected above 0, got 0");
    let error = model.clip_gradients(Clip::Value(f64::NAN)).unwrap_err().to_string();
    assert_eq!(error, "clip_gradients: value: expected above 0, got NaN");
}

/// A norm that is not finite is an error in that step, and nothing was updated.
#[test]
fn clipping_by_the_norm_finds_what_is_not_finite_before_it_spoils_anything() {
    let x = Tensor::from_slice(&[1, 2], &[3e38_f32, 3e38]).unwrap();
    let data =
        Dataset::from_values(x).unwrap().with_values(Tensor::from_slice(&[1, 1], &[-1e19_f32]).unwrap());
    let data = data.unwrap();
    let mut model: Model<f32> = Sequential::new().with(Dense::new(2, 1)).build(1).unwrap();
    model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    model.set_parameter("0.weight", &Tensor::from_slice(&[1, 2], &[0.0, 0.0]).unwrap()).unwrap();
    model.clip_gradients(Clip::Norm(1.0)).unwrap();
    let before = parameters(&model);
    for _ in 0..2 {
        let error = model.step(&data, &[0]).unwrap_err();
        assert!(matches!(&error, Error::NonFinite { what: "gradient", step: 1, .. }), "{error}");
        assert_eq!(parameters(&model), before);
    }
}

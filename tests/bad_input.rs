//! Bad input gets an error that names what and where: never a panic, an abort or a large allocation.

use gemmule::data::{Batches, Dataset};
use gemmule::nn::{Activation, Dense, Init, Loss, Model, Sequential};
use gemmule::optim::{Adam, Sgd};
use gemmule::train::Fit;
use gemmule::{BatchSource, Context, Error, MatMut, MatRef, TargetKind, Tensor, gemm};

/// The error's text contains all the parts.
fn names<R: std::fmt::Debug>(result: Result<R, Error>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

fn set(values: &[f32]) -> Dataset {
    let samples = values.len() / 3;
    let x = Tensor::from_slice(&[samples, 3], values).unwrap();
    Dataset::from_values(x).unwrap().with_classes(vec![0; samples], 2).unwrap()
}

fn net() -> Model<f32> {
    let net = Sequential::new().with(Dense::new(3, 4)).with(Activation::Tanh).with(Dense::new(4, 2));
    let mut model = net.build(0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    model
}

#[test]
fn layers_that_do_not_fit_are_both_named() {
    let net = Sequential::new().with(Dense::new(784, 64)).with(Activation::Relu).with(Dense::new(32, 10));
    names(net.build::<f32>(0), &["2 (Dense 32 -> 10)", "0 (Dense 784 -> 64)", "32", "64"]);
    names(Sequential::new().build::<f32>(0), &["build", "no layer"]);
    names(Sequential::new().with(Activation::Relu).build::<f32>(0), &["no layer says"]);
    names(Sequential::new().with(Dense::new(3, 0)).build::<f32>(0), &["Dense 3 -> 0", "at least one"]);
    names(Sequential::new().with(Dense::new(0, 3)).build::<f32>(0), &["at least 1"]);
}

#[test]
fn sizes_that_overflow() {
    for (inputs, outputs) in [(usize::MAX, 2), (1 << 40, 1 << 40), (1 << 31, 1 << 31), (2, usize::MAX)] {
        let net = Sequential::new().with(Dense::new(inputs, outputs));
        names(net.build::<f32>(0), &["0.weight", "overflow"]);
        names(net.build::<f64>(0), &["0.weight", "overflow"]);
    }
    names(Tensor::<f32>::zeros(&[usize::MAX, 3]), &["overflow"]);
    let slice = [0.0_f32; 4];
    names(MatRef::row_major(&slice, usize::MAX, usize::MAX), &["slice of 4"]);
    names(MatRef::new(&slice, 3, 2, 2, isize::MAX, isize::MIN), &["slice of 4"]);
    names(MatMut::new(&mut [0.0_f32; 4], 0, 2, 2, 1, 1), &["no two elements"]);
}

#[test]
fn batch_of_zero_and_empty_sets() {
    let data = set(&[0.0; 6]);
    names(net().fit(&data, Fit::new().batch_size(0)), &["batch", "at least 1", "0"]);
    names(net().step(&data, &[]), &["batch", "at least one sample"]);
    names(net().step(&data, &[1, 2]), &["sample", "below 2", "2"]);
    names(Batches::new(0, 1, None), &["samples", "at least 1"]);
    names(Dataset::from_bytes(&[0, 28, 28], vec![]), &["0"]);
    struct Empty;
    impl BatchSource<f32> for Empty {
        fn len(&self) -> usize {
            0
        }
        fn features(&self) -> usize {
            3
        }
        fn target_kind(&self) -> Option<TargetKind> {
            Some(TargetKind::Classes(2))
        }
        fn gather_features(&self, _: &Context, _: &[usize], _: &mut [f32]) {}
        fn gather_classes(&self, _: &[usize], _: &mut [u32]) {}
        fn gather_values(&self, _: &Context, _: &[usize], _: &mut [f32]) {}
    }
    names(net().fit(&Empty, Fit::new()), &["fit", "data set", "at least one"]);
    names(net().evaluate(&Empty), &["evaluate", "at least one"]);
    names(net().predict(&Empty), &["predict", "at least one"]);
}

#[test]
fn samples_and_targets_that_do_not_fit() {
    let two = Dataset::from_values(Tensor::from_slice(&[1, 2], &[1.0_f32, 2.0]).unwrap()).unwrap();
    let labelled = two.clone().with_classes(vec![0], 2).unwrap();
    names(net().fit(&labelled, Fit::new()), &["3 features", "got 2"]);
    names(net().fit(&two, Fit::new()), &["targets"]);
    let ten = Dataset::from_values(Tensor::from_slice(&[1, 3], &[1.0_f32; 3]).unwrap()).unwrap();
    let ten = ten.with_classes(vec![7], 10).unwrap();
    names(net().fit(&ten, Fit::new()), &["cross-entropy", "at most 2 classes", "10 classes"]);
    let mut regression = net();
    regression.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    names(regression.fit(&set(&[0.0; 3]), Fit::new()), &["mean squared error", "values", "classes"]);
    names(
        Dataset::from_bytes(&[3, 2], vec![0; 6]).unwrap().with_classes(vec![0, 1, 2], 2),
        &["2", "below 2"],
    );
    names(regression.predict_proba(&set(&[0.0; 3])), &["predict_proba", "not probabilities"]);
    let mut fresh = Sequential::new().with(Dense::new(3, 2)).build::<f32>(0).unwrap();
    names(fresh.fit(&set(&[0.0; 3]), Fit::new()), &["call compile first"]);
}

#[test]
fn learning_rates_and_other_options() {
    for learning_rate in [-1.0, f64::NAN, f64::INFINITY] {
        names(
            net().compile(Loss::CrossEntropy, Adam { learning_rate, ..Adam::default() }),
            &["adam", "learning_rate", &learning_rate.to_string()],
        );
        names(
            net().compile(Loss::CrossEntropy, Sgd { learning_rate, ..Sgd::default() }),
            &["sgd", "learning_rate"],
        );
        names(net().set_learning_rate(learning_rate), &["learning_rate"]);
    }
    names(net().compile(Loss::CrossEntropy, Adam { beta1: 1.0, ..Adam::default() }), &["beta1"]);
    names(net().compile(Loss::CrossEntropy, Sgd { momentum: -0.1, ..Sgd::default() }), &["momentum"]);
}

/// A source that hides its NaN from the data set's own check.
struct Hostile(Vec<f32>);

impl BatchSource<f32> for Hostile {
    fn len(&self) -> usize {
        self.0.len() / 3
    }
    fn features(&self) -> usize {
        3
    }
    fn target_kind(&self) -> Option<TargetKind> {
        Some(TargetKind::Classes(2))
    }
    fn gather_features(&self, _: &Context, indices: &[usize], out: &mut [f32]) {
        for (row, &index) in out.chunks_exact_mut(3).zip(indices) {
            row.copy_from_slice(&self.0[3 * index..][..3]);
        }
    }
    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        out.fill(0);
        // A class that the kind does not allow, if the source says so with its first number.
        if self.0[0] == 42.0 && indices.contains(&0) {
            out[0] = 9;
        }
    }
    fn gather_values(&self, _: &Context, _: &[usize], _: &mut [f32]) {}
}

#[test]
fn nan_and_infinity_in_inputs_are_named_and_nothing_is_updated() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![0.5; 12];
        values[7] = bad;
        let mut model = net();
        let source = Hostile(values);
        model.step(&source, &[0, 1]).unwrap();
        let before = model.parameter("0.weight").unwrap();
        let result = model.step(&source, &[3, 2]);
        names(result, &["step 2", "input", "sample 2", "feature 1", &bad.to_string()]);
        assert_eq!(model.parameter("0.weight").unwrap(), before);
        model.step(&source, &[0, 1, 3]).unwrap();
        names(model.predict(&source), &["input", "sample 2"]);
    }
    let x = Tensor::from_slice(&[1, 3], &[0.0_f32, f32::NAN, 0.0]).unwrap();
    names(Dataset::from_values(x), &["NaN"]);
    names(net().set_parameter("0.bias", &Tensor::full(&[4], f32::NAN).unwrap()), &["0.bias", "NaN"]);
}

/// A source whose class is out of range is caught before the kernel would panic.
#[test]
fn a_class_out_of_range_from_a_source_is_an_error() {
    let mut model = net();
    names(model.step(&Hostile(vec![42.0; 6]), &[1, 0]), &["class", "9"]);
    model.step(&Hostile(vec![1.0; 6]), &[1, 0]).unwrap();
}

#[test]
fn an_output_that_overflows_is_named_with_layer_and_step() {
    let net = Sequential::new()
        .with(Dense::new(3, 4).weight_init(Init::Constant(1e30)))
        .with(Activation::Identity)
        .with(Dense::new(4, 2).weight_init(Init::Constant(1e30)));
    let mut model = net.build::<f32>(0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    let before = model.parameter("2.weight").unwrap();
    names(model.step(&set(&[1.0; 6]), &[0, 1]), &["step 1", "output", "2 (Dense 4 -> 2)", "inf"]);
    assert_eq!(model.parameter("2.weight").unwrap(), before, "nothing was updated");
}

/// Finite outputs and loss, but a gradient that overflows: found in the step; with `check_gradients` before the update.
#[test]
fn a_gradient_that_overflows_is_named_and_poisons() {
    let build = || {
        let net = Sequential::new()
            .with(Dense::new(3, 4).weight_init(Init::Constant(1e-30)).bias_init(Init::Zeros))
            .with(Dense::new(4, 2).weight_init(Init::Constant(1e38)).bias_init(Init::Zeros));
        let mut model = net.build::<f32>(0).unwrap();
        model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
        model
    };
    let x = Tensor::from_slice(&[2, 3], &[1e-6_f32; 6]).unwrap();
    let y = Tensor::from_slice(&[2, 2], &[-1e10_f32; 4]).unwrap();
    let data = Dataset::from_values(x).unwrap().with_values(y).unwrap();

    let mut careful = build();
    careful.check_gradients(true);
    let before = careful.parameter("0.weight").unwrap();
    names(careful.step(&data, &[0, 1]), &["step 1", "gradient", "0.weight", "0 (Dense 3 -> 4)"]);
    assert_eq!(careful.parameter("0.weight").unwrap(), before, "nothing was updated");
    names(careful.step(&data, &[0, 1]), &["step 1", "gradient"]);

    let mut model = build();
    names(model.step(&data, &[0, 1]), &["step 1", "gradient", "0.weight"]);
    names(model.step(&data, &[0, 1]), &["unusable since step 1", "0.weight", "load weights"]);
    names(model.predict(&data), &["unusable"]);
    for info in model.parameters() {
        model.set_parameter(&info.name, &Tensor::zeros(&info.shape).unwrap()).unwrap();
    }
    model.step(&data, &[0, 1]).unwrap();
}

/// A step that is too long, from finite gradients: found in that step, not in the next one.
#[test]
fn a_parameter_or_state_that_overflows_is_named_in_that_step() {
    let data = set(&[1.0; 6]);
    let mut model = net();
    model.compile(Loss::CrossEntropy, Sgd { learning_rate: 1e39, ..Sgd::default() }).unwrap();
    names(model.step(&data, &[0, 1]), &["step 1", "parameter of ", "0.weight", "inf"]);
    names(model.step(&data, &[0, 1]), &["unusable since step 1"]);
    // The square of a finite gradient overflows in Adam's second moment; the weights are still finite.
    let net = Sequential::new().with(Dense::new(3, 2).weight_init(Init::Zeros).bias_init(Init::Zeros));
    let mut model = net.build::<f32>(0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    names(model.step(&set(&[1e30; 6]), &[0, 1]), &["step 1", "optimiser state of 0.weight", "inf"]);
}

#[test]
fn parameters_by_wrong_name_or_shape() {
    let mut model = net();
    names(model.parameter("1.weight"), &["0.weight, 0.bias, 2.weight, 2.bias", "1.weight"]);
    names(model.set_parameter("0.weight", &Tensor::zeros(&[3, 4]).unwrap()), &["[4, 3]", "[3, 4]"]);
    names(model.gradient("0.weight"), &["no step"]);
    names(model.optimizer_state("0.weight", 2), &["no such state"]);
}

#[test]
fn products_that_do_not_fit() {
    let context = Context::detect().unwrap();
    let data = [0.0_f32; 12];
    let mut c = [0.0_f32; 12];
    let a = MatRef::row_major(&data, 3, 4).unwrap();
    let mut c = MatMut::row_major(&mut c, 3, 4).unwrap();
    names(gemm(&context, 1.0, a, a, 0.0, &mut c), &["gemm", "b", "4 x 4", "3 x 4"]);
    names(gemm(&context, 1.0, a.transposed(), a, 0.0, &mut c), &["gemm", "a", "3 x 3", "4 x 3"]);
}

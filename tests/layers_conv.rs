//! Convolutions: values and gradients are PyTorch's, gradients those of differences, and what does not fit is refused.

mod common;
#[path = "common/layers.rs"]
mod layers;

use gemmule::nn::{
    Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Dense, Init, Input, Layer, Model, Padding, Sequential,
};

const CASES: &str = include_str!("golden/layers_conv.txt");

#[test]
fn they_are_those_of_pytorch() {
    let report = layers::check(CASES);
    assert_eq!(report.cases, 80);
}

#[test]
fn gradients_are_those_of_differences() {
    let smooth = |case: &layers::Case| !case.has("relu") && case.parameter_count() < 150;
    assert!(layers::check_differences(CASES, smooth) >= 20);
}

fn built(dims: &[usize], layer: impl Layer + 'static) -> gemmule::Result<Model<f32>> {
    Sequential::new().with(Input::new(dims)).with(layer).build(0)
}

#[track_caller]
fn refused(dims: &[usize], layer: impl Layer + 'static, expected: &str) {
    let error = built(dims, layer).map(|_| ()).expect_err("does not fit").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    refused(&[1, 3, 3], Conv2d::new(1, 2, 5), "layer 0 (Conv2d 1 -> 2, kernel 5): ");
    refused(&[1, 3, 3], Conv2d::new(1, 2, 5), "kernel 5 does not fit input 3 with padding 0 (5 > 3)");
    refused(&[1, 3, 3], Conv2d::new(1, 2, 5), "[1, 3, 3] from layer Input");
    let dilated = Conv2d::new(1, 2, [1, 3]).dilation([1, 4]).padding([0, 1]);
    refused(&[1, 9, 5], dilated, "kernel 3 with dilation 4 does not fit input 5 with padding 1 (9 > 7)");
    refused(&[2, 8, 8], Conv2d::new(3, 4, 3), "expected [3, height, width], got [2, 8, 8]");
    refused(&[3, 8], Conv2d::new(3, 4, 3), "expected [3, height, width], got [3, 8]");
    refused(&[3, 8, 8], Conv1d::new(3, 4, 3), "expected [3, length], got [3, 8, 8]");
    refused(&[8], Conv1d::new(8, 4, 1), "expected [8, length], got [8]");
    refused(
        &[4, 8, 8],
        Conv2d::new(4, 6, 3).groups(4),
        "groups: expected a divisor of the 4 input and the 6 output",
    );
    refused(&[4, 8, 8], Conv2d::new(4, 6, 3).groups(0), "groups: expected a divisor");
    refused(&[4, 8, 8], Conv2d::new(4, 6, [3, 0]), "kernel_size: expected 1 to 2147483648, got 3 x 0");
    refused(&[4, 8, 8], Conv2d::new(4, 6, 3).stride(0), "stride: expected 1 to");
    refused(&[4, 8, 8], Conv2d::new(4, 6, 3).dilation(usize::MAX), "dilation: expected 1 to");
    refused(&[4, 8, 8], Conv2d::new(4, 6, 3).padding(usize::MAX), "padding: expected at most");
    refused(&[4, 8, 8], Conv2d::new(4, 0, 3), "at least one input and output channel, got 4 -> 0");
    let strided = Conv2d::new(4, 4, 3).padding(Padding::Same).stride(2);
    refused(&[4, 8, 8], strided, "padding: expected a stride of 1 where it is same, got stride 2");
    refused(
        &[4, 8, 8],
        Conv2d::new(4, 6, 1).padding(1 << 31),
        "the size of the output [6, 4294967304, 4294967304]",
    );
    refused(&[4, 8, 8], Conv2d::new(4, 6, 1 << 31).padding(1 << 31), "parameter 0.weight");
    refused(
        &[2, 3],
        ConvTranspose1d::new(2, 2, 3).padding(4),
        "(input 3 - 1) x stride 1 - 2 x padding 4 + dilation 1 x (kernel 3 - 1) + output padding 0 + 1, got -3 of [2, 3]",
    );
    let much = ConvTranspose2d::new(2, 2, 3).stride(2).output_padding([1, 2]);
    refused(&[2, 3, 3], much, "output_padding: expected less than the stride 2 or the dilation 1, got 2");
}

#[test]
fn parameters_are_shown_as_pytorch_does() {
    let shapes = |model: Model<f32>| {
        let all = model.parameters().into_iter().map(|p| (p.name, p.shape));
        all.collect::<Vec<_>>()
    };
    let expected = |weight: &[usize], bias: usize| {
        vec![("0.weight".to_owned(), weight.to_vec()), ("0.bias".to_owned(), vec![bias])]
    };
    let model = built(&[6, 9, 9], Conv2d::new(6, 8, [3, 5]).groups(2)).expect("fits");
    assert_eq!(shapes(model), expected(&[8, 3, 3, 5], 8));
    let model = built(&[6, 9, 9], ConvTranspose2d::new(6, 8, [3, 5]).groups(2)).expect("fits");
    assert_eq!(shapes(model), expected(&[6, 4, 3, 5], 8));
    let model = built(&[6, 9], Conv1d::new(6, 8, 4)).expect("fits");
    assert_eq!(shapes(model), expected(&[8, 6, 4], 8));
}

/// Weights begin within ± 1 / sqrt(fan in), and fill it.
#[test]
fn parameters_begin_as_in_pytorch() {
    for (model, fan_in) in [
        (built(&[8, 9, 9], Conv2d::new(8, 64, 3).groups(2)), 4 * 9),
        // As in PyTorch, a transposed convolution counts its outputs.
        (built(&[64, 9, 9], ConvTranspose2d::new(64, 8, 3).groups(2)), 4 * 9),
        (built(&[8, 9], Conv1d::new(8, 96, 3).bias_init(Init::Zeros)), 8 * 3),
    ] {
        let model = model.expect("fits");
        let bound = 1.0 / f64::from(fan_in).sqrt();
        let weight = model.parameter("0.weight").expect("there");
        let most = weight.as_slice().iter().fold(0.0_f64, |most, &w| most.max(f64::from(w).abs()));
        assert!(most <= bound && most > 0.99 * bound, "{most} of {bound}");
    }
}

/// Frozen parameters have no gradient, and the others the same as before.
#[test]
fn parameters_can_be_frozen() {
    use gemmule::data::Dataset;
    use gemmule::nn::{Flatten, Loss};
    use gemmule::optim::Sgd;
    let values: Vec<f32> = common::cast(&common::random(1, 6 * 2 * 25));
    let data =
        Dataset::from_values(gemmule::Tensor::from_slice(&[6, 50], &values).expect("fits")).expect("valid");
    let data = data.with_classes(vec![0, 1, 2, 0, 1, 2], 3).expect("classes");
    let gradients = |frozen: &[&str]| {
        let net = Sequential::new().with(Input::new(&[2, 5, 5])).with(Conv2d::new(2, 4, 3));
        let mut model = net.with(Flatten::new()).with(Dense::new(36, 3)).build::<f32>(0).expect("fits");
        model.compile(Loss::CrossEntropy, Sgd::default()).expect("compiles");
        model.set_trainable(frozen, false).expect("parameters");
        model.gradients(&data, &[0, 1, 2, 3, 4, 5]).expect("runs");
        let names = ["0.weight", "0.bias"].into_iter().filter(|name| !frozen.contains(name));
        names.map(|name| model.gradient(name).expect("trained").into_vec()).collect::<Vec<_>>()
    };
    let all = gradients(&[]);
    assert_eq!(gradients(&["0.weight"]), all[1..]);
    assert_eq!(gradients(&["0.bias"]), all[..1]);
    assert!(gradients(&["0.weight", "0.bias"]).is_empty());
}

/// Kernels of 3 x 3 with many channels have gradients of their own, which are those of the formula, with the same bits for any team.
#[test]
fn fewer_products_give_the_same_gradients() {
    use gemmule::data::Dataset;
    use gemmule::nn::{Flatten, Loss};
    use gemmule::optim::Sgd;
    use gemmule::{Context, Parallelism, Tensor};
    let values: Vec<f64> = common::random(1, 5 * 32 * 64);
    let data =
        Dataset::from_values(Tensor::from_slice(&[5, 32 * 64], &values).expect("fits")).expect("valid");
    let data = data.with_classes(vec![0, 1, 2, 0, 1], 3).expect("classes");
    let gradients = |direct: bool, threads: usize, times: u32| {
        let of = |conv: Conv2d| if direct { conv.direct() } else { conv };
        let back = ConvTranspose2d::new(48, 32, 3).padding(1);
        let net = Sequential::new()
            .with(Input::new(&[32, 8, 8]))
            .with(of(Conv2d::new(32, 48, 3).padding(1)))
            .with(if direct { back.direct() } else { back })
            .with(of(Conv2d::new(32, 32, 3)))
            .with(Flatten::new())
            .with(Dense::new(32 * 36, 3));
        let context = Context::detect().expect("any").with_parallelism(Parallelism::Max(threads));
        let mut model = net.build_with::<f64>(context, 0).expect("fits");
        model.compile(Loss::CrossEntropy, Sgd::default()).expect("compiles");
        for _ in 0..times {
            model.accumulate(&data, &[0, 1, 2, 3, 4], 1.0 / f64::from(times)).expect("runs");
        }
        let of = |name: String| model.gradient(&name).expect("trained").into_vec();
        model.parameters().into_iter().map(|parameter| of(parameter.name)).collect::<Vec<Vec<f64>>>()
    };
    let (formula, fast) = (gradients(true, 1, 1), gradients(false, 1, 1));
    assert_ne!(formula, fast);
    for (got, expected) in fast.iter().chain(&gradients(false, 2, 2)).zip(formula.iter().cycle()) {
        let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (x, y) in got.iter().zip(expected) {
            assert!((x - y).abs() <= 1e-13 * scale, "{x}, expected {y} of {scale}");
        }
    }
    for threads in [2, 8] {
        assert_eq!(gradients(false, threads, 1), fast, "{threads} threads");
    }
}

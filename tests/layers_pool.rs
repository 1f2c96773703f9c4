//! Pooling, padding, upsampling, dropout of channels, and layers that say how elements are counted: against PyTorch, and what they
//! refuse.

mod common;
#[path = "common/layers.rs"]
mod layers;

use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AvgPool1d,
    AvgPool2d, ConstantPad2d, Dense, Dropout1d, Dropout2d, Flatten, Fusion, GlobalAvgPool1d, GlobalAvgPool2d,
    GlobalMaxPool1d, GlobalMaxPool2d, Input, Layer, Loss, MaxPool1d, MaxPool2d, Model, Permute, Reshape,
    Sequential, Upsample1d, Upsample2d, ZeroPad1d, ZeroPad2d,
};
use gemmule::optim::{Adam, Sgd};
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Element, Parallelism, Tensor};

const CASES: &str = include_str!("golden/layers_pool.txt");

#[test]
fn they_are_those_of_pytorch() {
    let report = layers::check(CASES);
    assert_eq!(report.cases, 153);
}

fn context(threads: usize) -> Context {
    Context::detect().unwrap().with_parallelism(Parallelism::Max(threads))
}

/// Standard normal features, and classes.
fn data<T: Element>(samples: usize, width: usize, classes: u32) -> Dataset {
    let mut x = vec![T::zero(); samples * width];
    Rng::new(3).fill_normal(&context(1), &mut x, 0.0, 1.0).unwrap();
    let of = (0..samples as u32).map(|i| i * 5 % classes).collect();
    let features = Tensor::from_vec(&[samples, width], x).unwrap();
    Dataset::from_values(features).unwrap().with_classes(of, classes as usize).unwrap()
}

/// The layer between two dense ones, so that gradients go through it: `dims` before it, `outputs` elements behind it.
fn between(dims: &[isize], layer: impl Layer + 'static, outputs: usize) -> Sequential {
    let width = dims.iter().product::<isize>() as usize;
    Sequential::new()
        .with(Dense::new(5, width))
        .with(Activation::Tanh)
        .with(Reshape::new(dims))
        .with(layer)
        .with(Flatten::new())
        .with(Dense::new(outputs, 3))
}

#[test]
fn gradients_are_those_of_differences() {
    let line = [4, 7];
    let image = [3, 5, 4];
    let nets = [
        between(&line, MaxPool1d::new(2), 12),
        between(&line, MaxPool1d::new(3).stride(2).padding(1).dilation(2).ceil_mode(true), 12),
        between(&line, AvgPool1d::new(3).stride(2).padding(1), 16),
        between(&line, AdaptiveAvgPool1d::new(3), 12),
        between(&line, AdaptiveMaxPool1d::new(3), 12),
        between(&line, GlobalAvgPool1d::new(), 4),
        between(&line, GlobalMaxPool1d::new(), 4),
        between(&line, ZeroPad1d::new([2, -3]), 24),
        between(&line, Upsample1d::new(2), 56),
        between(&line, Permute::new(&[1, 0]), 28),
        between(&image, MaxPool2d::new(2), 12),
        between(&image, MaxPool2d::new(2).stride(3), 6),
        between(&image, MaxPool2d::new(3).stride(1).padding(1), 60),
        between(&image, AvgPool2d::new([2, 3]).stride([2, 1]).padding([1, 0]).count_include_pad(false), 18),
        between(&image, AvgPool2d::new(2).divisor_override(3).ceil_mode(true), 18),
        between(&image, AdaptiveAvgPool2d::new([3, 2]), 18),
        between(&image, AdaptiveMaxPool2d::new(3), 27),
        between(&image, GlobalAvgPool2d::new(), 3),
        between(&image, GlobalMaxPool2d::new(), 3),
        between(&image, ZeroPad2d::new([1, -1, 2, 0]), 84),
        between(&image, ConstantPad2d::new(1, 0.5), 126),
        between(&image, Upsample2d::new([1, 3]), 180),
        between(&image, Dropout2d::new(0.4), 60),
        between(&line, Dropout1d::new(0.4), 28),
    ];
    for net in nets {
        let mut model = net.build_with::<f64>(context(2), 7).unwrap();
        model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
        let error = model.gradient_error(&data::<f64>(4, 5, 3), &[0, 1, 2, 3]).unwrap();
        assert!(error < 1e-7, "{error} {net:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    let said = |net: Sequential| net.build::<f32>(0).unwrap_err().to_string();
    let image = || Sequential::new().with(Input::new(&[2, 3, 8])).with(Activation::Relu);
    assert_eq!(
        said(image().with(MaxPool2d::new(5))),
        "layer 1 (MaxPool2d 5): expected a height of at least 5, got 3 (kernel 5 does not fit input 3 with \
         padding 0: 3 + 2 x 0 = 3) from layer Input 2 x 3 x 8"
    );
    let sequence = || Sequential::new().with(Input::new(&[2, 3]));
    assert_eq!(
        said(sequence().with(AvgPool1d::new(9).padding(2))),
        "layer 0 (AvgPool1d 9, padding 2): expected a length of at least 5, got 3 (kernel 9 does not fit input 3 with \
         padding 2: 3 + 2 x 2 = 7) from layer Input 2 x 3"
    );
    for (net, part) in [
        (
            image().with(MaxPool2d::new(2).padding(2)),
            "padding of at most half of the kernel, got padding 2 for",
        ),
        (image().with(MaxPool2d::new(2).stride(0)), "at least 1, got kernel 2, stride 0, dilation 1"),
        (image().with(MaxPool2d::new(0)), "at least 1, got kernel 0"),
        (image().with(MaxPool2d::new(usize::MAX).stride(usize::MAX)), "sizes of at most 2^28"),
        (image().with(MaxPool1d::new(2)), "expected channels x length"),
        (sequence().with(MaxPool2d::new(2)), "expected channels x height x width"),
        (image().with(AdaptiveAvgPool2d::new(0)), "an output size from 1"),
        (image().with(AdaptiveAvgPool2d::new(1 << 28)), "an output size from 1 to 1048576"),
        (image().with(AdaptiveMaxPool2d::new(usize::MAX)), "an output size from 1"),
        (image().with(ZeroPad2d::new([0, 0, -2, -1])), "got 3 + -2 + -1, 8 + 0 + 0"),
        (image().with(ZeroPad2d::new(isize::MAX)), "sizes with padding of at least 1"),
        (image().with(ConstantPad2d::new(1, f64::NAN)), "a finite number, got NaN"),
        (image().with(Upsample2d::new(0)), "a factor from 1 on"),
        (image().with(Upsample2d::new(usize::MAX)), "a factor from 1 on"),
        (image().with(Reshape::new(&[7, -1])), "elements for Reshape 7 x -1, got 48"),
        (image().with(Reshape::new(&[7, 7])), "expected 49 elements for 7 x 7, got 48"),
        (image().with(Reshape::new(&[isize::MAX, isize::MAX])), "elements for Reshape 9223372036854775807"),
        (image().with(Reshape::new(&[-1, -1])), "or one of them -1"),
        (image().with(Permute::new(&[0, 0, 1])), "dimensions 0 to 2, each once, to permute, got 2 x 3 x 8"),
        (image().with(Permute::new(&[])), "to permute"),
        (image().with(Flatten::new().start_dim(0)), "dimensions to flatten from 1 on"),
        (image().with(Flatten::new().start_dim(3).end_dim(2)), "dimensions to flatten from 1 on"),
        (image().with(Flatten::new().end_dim(4)), "dimensions to flatten from 1 on"),
        (sequence().with(Dropout2d::new(0.1)), "expected channels x height x width"),
        (image().with(Dropout2d::new(1.0)), "at least 0 and below 1, got 1"),
        (Sequential::new().with(Input::new(&[2, 0])), "at least 1"),
        (Sequential::new().with(Input::new(&[1 << 40, 1 << 40])), "overflows"),
    ] {
        let error = said(net);
        assert!(error.contains(part), "{error}\n  has no {part}");
    }
}

/// What the layer makes of samples of these dimensions: they have no parameters.
fn through(net: Sequential, dims: &[usize], samples: &[f64]) -> Vec<f64> {
    let mut model = net.build_with::<f64>(context(2), 0).unwrap();
    model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    let width = dims.iter().product::<usize>();
    let x = Tensor::from_vec(&[samples.len() / width, width], samples.to_vec()).unwrap();
    model.predict(&Dataset::from_values(x).unwrap()).unwrap().into_vec()
}

#[test]
fn images_may_come_with_either_order() {
    // Two channels of 2 x 2.
    let planes = [1.0, 5.0, 3.0, 2.0, 10.0, 20.0, 40.0, 30.0];
    let pixels = [1.0, 10.0, 5.0, 20.0, 3.0, 40.0, 2.0, 30.0];
    let pool = |input: Input| Sequential::new().with(input).with(MaxPool2d::new([2, 1]));
    let expected = [3.0, 5.0, 40.0, 30.0];
    assert_eq!(through(pool(Input::new(&[2, 2, 2])), &[8], &planes), expected);
    assert_eq!(through(pool(Input::channels_last(&[2, 2, 2])), &[8], &pixels), expected);
    // Outputs are PyTorch's order, wherever they stand in memory.
    let same = Sequential::new().with(Input::channels_last(&[2, 2, 2])).with(Flatten::new());
    assert_eq!(through(same, &[8], &pixels), planes);
    let turned = Sequential::new().with(Input::new(&[2, 4])).with(Permute::new(&[1, 0]));
    assert_eq!(through(turned, &[8], &planes), [1.0, 10.0, 5.0, 20.0, 3.0, 40.0, 2.0, 30.0]);
}

#[test]
fn an_input_has_no_number_in_names_and_comes_back_from_a_file() {
    let net = Sequential::new()
        .with(Input::channels_last(&[6, 5, 3]))
        .with(MaxPool2d::new(2))
        .with(Flatten::new())
        .with(Dense::new(18, 4));
    let mut model = net.build_with::<f32>(context(1), 3).unwrap();
    let names: Vec<String> = model.parameters().into_iter().map(|p| p.name).collect();
    assert_eq!(names, ["2.weight", "2.bias"]);
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    let data = data::<f32>(12, 90, 4);
    model.fit(&data, Fit::new().batch_size(5).epochs(2)).unwrap();
    let mut again = Model::<f32>::from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert_eq!(again.predict(&data).unwrap(), model.predict(&data).unwrap());
    assert_eq!(again.specs(), model.specs());
}

#[test]
fn whole_channels_are_dropped() {
    const CHANNELS: usize = 700;
    const POSITIONS: usize = 6;
    let (samples, rate) = (40, 0.3);
    let net = || {
        let line = Sequential::new().with(Input::new(&[CHANNELS, POSITIONS]));
        line.with(Dropout1d::new(rate)).with(Dropout1d::new(rate))
    };
    let mut model = net().build_with::<f64>(context(2), 5).unwrap();
    model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    let width = CHANNELS * POSITIONS;
    let ones = Tensor::from_vec(&[samples, width], vec![1.0_f64; samples * width]).unwrap();
    let data = Dataset::from_values(ones.clone()).unwrap();
    assert_eq!(model.predict(&data).unwrap().as_slice(), ones.as_slice());
    let indices: Vec<usize> = (0..samples).collect();
    let y = model.forward(&data, &indices).unwrap();
    let whole = 1.0 / ((1.0 - rate) * (1.0 - rate));
    let mut kept = 0;
    for channel in y.as_slice().chunks(POSITIONS) {
        assert!(
            channel.iter().all(|&y| y == channel[0])
                && (channel[0] == 0.0 || (channel[0] - whole).abs() < 1e-12)
        );
        kept += usize::from(channel[0] != 0.0);
    }
    // Both keep it: two draws of their own.
    let (count, p) = ((samples * CHANNELS) as f64, (1.0 - rate) * (1.0 - rate));
    assert!((kept as f64 - count * p).abs() < 5.0 * (count * p * (1.0 - p)).sqrt(), "{kept} of {count}");
    // A place in the batch, not a sample.
    let fewer = model.forward(&data, &indices[20..31]).unwrap();
    assert_eq!(fewer.as_slice(), &y.as_slice()[..11 * width]);
    // The gradient goes where the values went.
    assert_eq!(model.forward(&data, &indices).unwrap(), y);
    assert_eq!(model.backward(&ones).unwrap().as_slice(), y.as_slice());
}

#[test]
fn no_fusion_and_no_number_of_threads_changes_a_bit() {
    let data = data::<f32>(150, 3 * 16 * 15, 4);
    let mut expected = None;
    for fusion in [Fusion::default(), Fusion { chains: false, ..Fusion::default() }, Fusion::NONE] {
        for threads in [1, 2, 3, 8] {
            let net = Sequential::new()
                .with(Input::new(&[3, 16, 15]))
                .with(MaxPool2d::new(2))
                .with(Dropout2d::new(0.2))
                .with(AvgPool2d::new(3).stride(1).padding(1))
                .with(Activation::Relu)
                .with(Dropout2d::new(0.1))
                .with(Flatten::new())
                .with(Dense::new(168, 4));
            let mut model = net.build_with::<f32>(context(threads), 11).unwrap();
            model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
            model.set_fusion(fusion);
            model.fit(&data, Fit::new().batch_size(64).epochs(2)).unwrap();
            let found = model.parameter("6.weight").unwrap().into_vec();
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(*expected == found, "{threads} threads, {fusion}");
        }
    }
}

/// Outputs have the same bits wherever a ReLU before poolings is applied, the signs of zeros too; gradients the same numbers: what is
/// -0 before the ReLU may have a zero of either sign.
#[test]
fn a_relu_before_poolings_gives_the_same() {
    // Most windows have nothing positive.
    let numbers = [-1.0, -0.0, 0.0, -0.5, 0.5];
    let mut rng = Rng::new(8);
    let x = (0..200 * 32).map(|i| numbers[rng.below(if i < 150 * 32 { 4 } else { 5 }) as usize]).collect();
    let data = Dataset::from_values(Tensor::from_vec(&[200, 32], x).unwrap()).unwrap();
    let indices: Vec<usize> = (0..200).collect();
    let nets = [
        Sequential::new()
            .with(Input::new(&[2, 4, 4]))
            .with(Activation::Relu)
            .with(MaxPool2d::new(2))
            .with(MaxPool2d::new(2)),
        Sequential::new().with(Input::new(&[2, 4, 4])).with(Activation::Relu).with(MaxPool2d::new(2)),
        Sequential::new()
            .with(Input::new(&[2, 4, 4]))
            .with(MaxPool2d::new(2))
            .with(Activation::Relu)
            .with(MaxPool2d::new(2)),
    ];
    for net in nets {
        let run = |fusion: Fusion| {
            let mut model = net.build_with::<f32>(context(2), 1).unwrap();
            model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
            model.set_fusion(fusion);
            let y = model.forward(&data, &indices).unwrap();
            let d: Vec<f32> = (0..y.as_slice().len()).map(|i| [1.0, -1.0, -0.5][i % 3]).collect();
            let d_x = model.backward(&Tensor::from_vec(y.shape(), d).unwrap()).unwrap();
            let bits: Vec<u32> = y.as_slice().iter().map(|y| y.to_bits()).collect();
            (bits, d_x.into_vec())
        };
        let (fused, apart) = (run(Fusion::default()), run(Fusion::NONE));
        assert!(fused.0 == apart.0, "outputs of {net:?}");
        assert!(fused.1 == apart.1, "gradients of {net:?}");
    }
}

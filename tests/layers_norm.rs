//! Normalisation layers against PyTorch, as `tests/golden/layers_norm.txt` has it; what a batch norm keeps, and when.

mod common;
#[path = "common/layers.rs"]
mod layers;

use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, BatchNorm1d, BatchNorm2d, Dense, Dropout, GroupNorm, Input, InstanceNorm, LayerNorm, Loss,
    Model, RmsNorm, SavedModel, Sequential, Strict,
};
use gemmule::optim::{AdamW, Constraint, Sgd};
use gemmule::train::{ExponentialMovingAverage, Fit};
use gemmule::{Context, Element, Error, Parallelism, Tensor};

const CASES: &str = include_str!("golden/layers_norm.txt");

#[test]
fn they_are_those_of_pytorch() {
    let report = layers::check(CASES);
    assert_eq!(report.cases, 122);
    assert!(report.f32 > 1e-9, "{report:?}");
}

#[test]
fn gradients_are_those_of_differences() {
    let smooth = |case: &layers::Case| !case.has("relu") && case.parameter_count() < 100;
    assert!(layers::check_differences(CASES, smooth) >= 10);
}

/// Numbers that look random, about `mean`.
fn numbers<T: Element>(count: usize, mean: f64) -> Vec<T> {
    let one = |i: usize| ((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1 << 24) as f64;
    (0..count).map(|i| T::from_f64(mean + one(i) * 2.0 - 1.0)).collect()
}

fn data<T: Element>(samples: usize, inputs: usize, outputs: usize) -> Dataset {
    let x = Tensor::from_vec(&[samples, inputs], numbers::<T>(samples * inputs, 0.5)).unwrap();
    let y = Tensor::from_vec(&[samples, outputs], numbers::<T>(samples * outputs, 0.0)).unwrap();
    Dataset::from_values(x).unwrap().with_values(y).unwrap()
}

/// 6 features, 3 outputs; its layer 1 is a batch norm.
fn net() -> Sequential {
    Sequential::new()
        .with(Dense::new(6, 20))
        .with(BatchNorm1d::new(20))
        .with(Activation::Relu)
        .with(Dropout::new(0.3))
        .with(Dense::new(20, 3))
}

fn compiled<T: Element>(net: &Sequential) -> Model<T> {
    let mut model = net.build::<T>(3).unwrap();
    model.compile(Loss::MeanSquaredError, AdamW { weight_decay: 0.1, ..AdamW::default() }).unwrap();
    model
}

/// The bits of all parameters and buffers.
fn bits<T: Element>(model: &Model<T>) -> Vec<u64> {
    let all = model.parameters().into_iter().chain(model.buffers());
    all.flat_map(|info| bits_of(model, &info.name)).collect()
}

fn bits_of<T: Element>(model: &Model<T>, name: &str) -> Vec<u64> {
    model.parameter(name).unwrap().as_slice().iter().map(|x| x.bits()).collect()
}

fn value<T: Element>(model: &Model<T>, name: &str) -> f64 {
    Element::to_f64(model.parameter(name).unwrap().as_slice()[0])
}

#[test]
fn buffers_are_beside_the_parameters() {
    let mut model = compiled::<f32>(&net());
    let names = |model: &Model<f32>| model.parameters().into_iter().map(|p| p.name).collect::<Vec<_>>();
    assert_eq!(names(&model), ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]);
    assert_eq!(model.parameter_count(), 6 * 20 + 20 + 20 + 20 + 20 * 3 + 3);
    let buffers: Vec<_> = model.buffers().into_iter().map(|b| (b.name, b.shape)).collect();
    let shapes =
        [("1.running_mean", vec![20]), ("1.running_var", vec![20]), ("1.num_batches_tracked", vec![])];
    assert_eq!(buffers, shapes.map(|(name, shape)| (name.to_owned(), shape)));
    // Nobody trains them, freezes them or holds them to anything.
    model.set_trainable(&["1"], false).unwrap();
    model.set_trainable(&["1"], true).unwrap();
    assert!(!model.is_trainable("1.running_mean").unwrap() && model.is_trainable("1.weight").unwrap());
    for error in [
        model.set_trainable(&["1.running_mean"], true).unwrap_err(),
        model.set_constraint(&["1.running_var"], Constraint::MaxNorm(1.0)).unwrap_err(),
        model.parameter_group(&["1.running_mean"], Sgd::default()).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("1.weight") && text.ends_with("got 1.running_mean") | text.ends_with("running_var"),
            "{text}"
        );
    }
    model.set_constraint(&["1"], Constraint::MaxNorm(1.0)).unwrap();
    assert_eq!(model.constraint("1.running_var").unwrap(), None);
    assert!(matches!(model.gradient("1.running_mean"), Err(Error::State { .. })));
}

#[test]
fn running_statistics_are_those_of_the_formula() {
    let (samples, channels, positions) = (5, 3, 8);
    let indices: Vec<usize> = (0..samples).collect();
    for momentum in [Some(0.1), Some(0.4), None] {
        let net = Sequential::new()
            .with(Input::new(&[channels, 2, 4]))
            .with(BatchNorm2d::new(channels).momentum(momentum));
        let mut model = compiled::<f64>(&net);
        let (mut means, mut variances) = ([0.0; 3], [1.0; 3]);
        for batch in 1..=4 {
            let x = numbers::<f64>(samples * channels * positions, 3.0 * batch as f64);
            let y = vec![0.0; x.len()];
            let shape = [samples, channels * positions];
            let data = Dataset::from_values(Tensor::from_vec(&shape, x.clone()).unwrap()).unwrap();
            let data = data.with_values(Tensor::from_vec(&shape, y).unwrap()).unwrap();
            model.step(&data, &indices).unwrap();
            let share = momentum.unwrap_or(1.0 / f64::from(batch));
            let count = (samples * positions) as f64;
            for c in 0..channels {
                let of: Vec<f64> = (0..samples)
                    .flat_map(|i| x[(i * channels + c) * positions..][..positions].to_vec())
                    .collect();
                let mean = of.iter().sum::<f64>() / count;
                let variance = of.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0);
                means[c] += share * (mean - means[c]);
                variances[c] += share * (variance - variances[c]);
            }
        }
        for (name, expected) in [("0.running_mean", means), ("0.running_var", variances)] {
            let got = model.parameter(name).unwrap();
            for (got, expected) in got.as_slice().iter().zip(expected) {
                assert!((got - expected).abs() < 1e-13 * expected.abs(), "{name}: {got} {expected}");
            }
        }
        assert_eq!(value(&model, "0.num_batches_tracked"), 4.0);
        // Looking changes nothing.
        let before = bits(&model);
        let data = data::<f64>(samples, channels * positions, channels * positions);
        model.predict(&data).unwrap();
        model.evaluate(&data).unwrap();
        model.gradient_error(&data, &[0, 1]).unwrap();
        assert_eq!(bits(&model), before);
    }
}

#[test]
fn a_sample_is_predicted_alone_as_in_a_batch() {
    let mut model = compiled::<f32>(&net());
    let data = data::<f32>(40, 6, 3);
    for at in 0..4 {
        model.step(&data, &(10 * at..10 * at + 10).collect::<Vec<_>>()).unwrap();
    }
    let all = model.predict(&data).unwrap();
    for at in [0, 7, 39] {
        let one = Dataset::from_values(
            Tensor::from_vec(&[1, 6], numbers::<f32>(240, 0.5)[6 * at..][..6].to_vec()).unwrap(),
        );
        assert_eq!(model.predict(&one.unwrap()).unwrap().as_slice(), &all.as_slice()[3 * at..][..3]);
    }
}

#[test]
fn one_value_per_channel_is_refused() {
    let mut model = compiled::<f32>(&net());
    let data = data::<f32>(8, 6, 3);
    let before = bits(&model);
    let error = model.step(&data, &[4]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer 1 (BatchNorm1d 20): expected more than 1 value per channel when training, got 1 from a batch of 1 sample"
    );
    assert_eq!(bits(&model), before);
    // Not otherwise, and not where a sample has several positions.
    assert!(model.evaluate(&data).is_ok() && model.step(&data, &[4, 5]).is_ok());
    let images = Sequential::new().with(Input::new(&[3, 1, 2])).with(BatchNorm2d::new(3));
    assert!(compiled::<f32>(&images).step(&self::data::<f32>(2, 6, 6), &[1]).is_ok());
    // Those that have no other statistics refuse it always.
    let own = Sequential::new().with(Dense::new(6, 4)).with(BatchNorm1d::new(4).track_running_stats(false));
    let one = Dataset::from_values(Tensor::from_vec(&[1, 6], numbers::<f32>(6, 0.0)).unwrap()).unwrap();
    assert!(
        own.build::<f32>(0).unwrap().predict(&one).unwrap_err().to_string().contains("more than 1 value")
    );
}

#[test]
fn a_failed_step_leaves_the_statistics() {
    let mut model = compiled::<f32>(&net());
    let mut x = numbers::<f32>(8 * 6, 0.5);
    let y = Tensor::from_vec(&[8, 3], numbers::<f32>(24, 0.0)).unwrap();
    let with = |x: &[f32]| {
        let x = Tensor::from_vec(&[8, 6], x.to_vec()).unwrap();
        Dataset::from_values(x).unwrap().with_values(y.clone()).unwrap()
    };
    model.step(&with(&x), &[0, 1, 2, 3]).unwrap();
    let before = bits(&model);
    // Squares that leave the range would make finite outputs of nothing.
    for bad in [1e25, 1e35] {
        x[6] = bad;
        assert!(matches!(model.step(&with(&x), &[0, 1, 2, 3]), Err(Error::NonFinite { .. })), "{bad}");
        assert_eq!(bits(&model), before, "{bad}");
    }
    model.step(&with(&x), &[2, 3, 4]).unwrap();
}

#[test]
fn a_frozen_norm_still_tracks() {
    // Whether or not a gradient passes by.
    for frozen in [&["0", "1", "4"][..], &["0", "1"], &["1"], &["0"]] {
        let mut model = compiled::<f32>(&net());
        model.set_trainable(&["4"], true).unwrap();
        model.set_trainable(frozen, false).unwrap();
        let (weight, data) = (bits_of(&model, "1.weight"), data::<f32>(8, 6, 3));
        model.step(&data, &[0, 1, 2, 3]).unwrap();
        assert_eq!(value(&model, "1.num_batches_tracked"), 1.0);
        assert_ne!(bits_of(&model, "1.running_mean"), [0; 20]);
        assert_eq!(bits_of(&model, "1.weight") == weight, frozen.contains(&"1"));
    }
}

#[test]
fn gradients_do_not_depend_on_who_wants_that_of_the_input() {
    let nets = [
        Sequential::new().with(Input::new(&[3, 5, 7])).with(BatchNorm2d::new(3)).with(Activation::Tanh),
        Sequential::new().with(Input::new(&[105])).with(BatchNorm1d::new(105)),
        Sequential::new().with(Input::new(&[21, 5])).with(LayerNorm::new(&[5])),
        Sequential::new().with(Input::new(&[3, 35])).with(RmsNorm::new(&[35])),
        Sequential::new().with(Input::new(&[15, 7])).with(GroupNorm::new(5, 15)),
        Sequential::new().with(Input::new(&[15, 7])).with(InstanceNorm::new(15).affine(true)),
    ];
    let (data, indices) = (data::<f32>(9, 105, 105), (0..9).collect::<Vec<_>>());
    for net in nets {
        let (mut alone, mut both) = (compiled::<f32>(&net), compiled::<f32>(&net));
        alone.step(&data, &indices).unwrap();
        both.gradients(&data, &indices).unwrap();
        for info in alone.parameters() {
            let of = |model: &Model<f32>| model.gradient(&info.name).unwrap();
            assert_eq!(of(&alone), of(&both), "{net:?}");
        }
        for info in alone.buffers() {
            assert_eq!(bits_of(&alone, &info.name), bits_of(&both, &info.name));
        }
    }
}

#[test]
fn a_run_goes_on_to_the_bit() {
    let data = data::<f32>(64, 6, 3);
    let batches: Vec<Vec<usize>> = (0..6).map(|k| (0..16).map(|i| (i * 7 + k) % 64).collect()).collect();
    for threads in [Parallelism::Serial, Parallelism::Max(3)] {
        let context = Context::detect().unwrap().with_parallelism(threads);
        let build = || {
            let mut model = net().build_with::<f32>(context, 3).unwrap();
            model.compile(Loss::MeanSquaredError, AdamW::default()).unwrap();
            model
        };
        let (mut through, mut first, mut second) = (build(), build(), build());
        for batch in &batches {
            through.step(&data, batch).unwrap();
        }
        for batch in &batches[..3] {
            first.step(&data, batch).unwrap();
        }
        second.restore(&first.state().unwrap()).unwrap();
        assert_eq!(bits(&second), bits(&first));
        for batch in &batches[3..] {
            second.step(&data, batch).unwrap();
        }
        assert_eq!(bits(&second), bits(&through));
    }
}

#[test]
fn files_hold_the_statistics() {
    let mut model = compiled::<f32>(&net());
    let data = data::<f32>(16, 6, 3);
    for _ in 0..3 {
        model.step(&data, &[0, 1, 2, 3, 4]).unwrap();
    }
    let bytes = model.to_bytes().unwrap();
    let header = String::from_utf8_lossy(&bytes[..2000]).into_owned();
    assert!(header.contains(r#""1.num_batches_tracked":{"dtype":"I64","shape":[],"#), "{header}");
    // They are frozen by nature: nothing is said of it.
    assert!(!header.contains("frozen"), "{header}");
    let loaded = Model::<f32>::from_bytes(&bytes).unwrap();
    assert_eq!(bits(&loaded), bits(&model));
    let double = SavedModel::from_bytes(&bytes).unwrap().convert(true).load::<f64>().unwrap();
    assert_eq!(value(&double, "1.num_batches_tracked"), 3.0);
    // Without them the file is not whole.
    let plain =
        Sequential::new().with(Dense::new(6, 20)).with(BatchNorm1d::new(20).track_running_stats(false));
    let bytes = plain.build::<f32>(0).unwrap().to_bytes().unwrap();
    let mut tracking =
        Sequential::new().with(Dense::new(6, 20)).with(BatchNorm1d::new(20)).build::<f32>(0).unwrap();
    let error = SavedModel::from_bytes(&bytes).unwrap().load_weights(&mut tracking, Strict::Yes).unwrap_err();
    let missing = "missing: 1.running_mean, 1.running_var, 1.num_batches_tracked";
    assert!(error.to_string().contains(missing), "{error}");
}

#[test]
fn an_average_takes_the_statistics_as_they_are() {
    let mut model = compiled::<f32>(&net());
    let data = data::<f32>(32, 6, 3);
    let mut average = ExponentialMovingAverage::new(0.9).at_end(false);
    model.fit(&data, Fit::new().epochs(3).batch_size(8).callback(&mut average)).unwrap();
    let mut averaged = compiled::<f32>(&net());
    average.copy_to(&mut averaged).unwrap();
    for info in model.buffers() {
        assert_eq!(bits_of(&averaged, &info.name), bits_of(&model, &info.name));
    }
    assert_ne!(bits_of(&averaged, "1.weight"), bits_of(&model, "1.weight"));
    assert_eq!(value(&averaged, "1.num_batches_tracked"), 12.0);
}

#[test]
fn the_machine_epsilon_is_that_of_the_elements() {
    fn outputs<T: Element>(eps: Option<f64>) -> Vec<f64> {
        let net = Sequential::new().with(Input::new(&[4])).with(RmsNorm::new(&[4]).eps(eps));
        // Small enough that it counts in f32.
        let x = [1e-4, -3e-4, 2e-4, 0.0].map(T::from_f64);
        let data = Dataset::from_values(Tensor::from_slice(&[1, 4], &x).unwrap()).unwrap();
        let y = net.build::<T>(0).unwrap().predict(&data).unwrap();
        y.as_slice().iter().map(|&y| Element::to_f64(y)).collect()
    }
    assert_eq!(outputs::<f32>(None), outputs::<f32>(Some(f64::from(f32::EPSILON))));
    assert_ne!(outputs::<f32>(None), outputs::<f32>(Some(0.0)));
    assert_eq!(outputs::<f64>(None), outputs::<f64>(Some(f64::EPSILON)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |net: Sequential| net.build::<f32>(0).unwrap_err().to_string();
    let after = |dims: &[usize]| Sequential::new().with(Input::new(dims));
    for (error, expected) in [
        (refused(after(&[3, 4, 4]).with(BatchNorm1d::new(3))), "expected [3] or [3, L], got [3, 4, 4]"),
        (refused(after(&[3, 4]).with(BatchNorm1d::new(4))), "expected [4] or [4, L], got [3, 4]"),
        (refused(after(&[3, 4]).with(BatchNorm2d::new(3))), "expected [3, H, W], got [3, 4]"),
        (
            refused(after(&[3, 4]).with(LayerNorm::new(&[3]))),
            "expected dimensions that end in [3], got [3, 4]",
        ),
        (refused(after(&[4]).with(RmsNorm::new(&[3, 4]))), "expected dimensions that end in [3, 4], got [4]"),
        (
            refused(after(&[6, 2]).with(GroupNorm::new(4, 6))),
            "expected 6 channels in groups of equal size, got 4 groups",
        ),
        (refused(after(&[6, 2]).with(GroupNorm::new(2, 4))), "expected [4, ...], got [6, 2]"),
        (
            refused(after(&[6, 1]).with(InstanceNorm::new(6))),
            "expected [6, ...] with more than 1 position, got [6, 1]",
        ),
        (
            refused(after(&[6]).with(BatchNorm1d::new(6).eps(-1.0))),
            "BatchNorm1d: expected an eps from 0 on, got -1",
        ),
        (
            refused(after(&[6]).with(BatchNorm1d::new(6).momentum(1.5))),
            "expected a momentum from 0 to 1, or none, got 1.5",
        ),
        (refused(after(&[6]).with(LayerNorm::new(&[]))), "expected dimensions of at least 1, got []"),
        (
            refused(after(&[6]).with(LayerNorm::new(&[6]).eps(f64::NAN))),
            "LayerNorm: expected an eps from 0 on, got NaN",
        ),
        (
            refused(Sequential::new().with(Dense::new(2, 5)).with(BatchNorm1d::new(4))),
            "layer 1 (BatchNorm1d 4): expected [4] or [4, L], got [5] from layer 0 (Dense 2 -> 5)",
        ),
    ] {
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

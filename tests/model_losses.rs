//! Losses in models: PyTorch's values and gradients, differences, the same bits for any threads and fusions, class weights.

use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, AlphaDropout, Dense, Dropout, Fusion, GaussianNoise, Init, LogSoftmax, Loss, Model,
    Sequential, Softmax, WeightedMean,
};
use gemmule::optim::{Adam, Constraint, Sgd};
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Element, Error, Parallelism, Tensor};

const GOLDEN: &str = include_str!("golden/model_losses.csv");
const ROWS: usize = 5;
const INPUTS: usize = 3;
const OUTPUTS: usize = 4;

/// golden/losses.py's numbers in [-0.5, 0.5).
fn value(stream: u32, index: usize) -> f64 {
    let mixed = (index as u32)
        .wrapping_mul(2_654_435_761)
        .wrapping_add(stream.wrapping_mul(2_246_822_519))
        .wrapping_add(374_761_393);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
    let mixed = mixed ^ (mixed >> 13);
    f64::from(mixed >> 16) / 65536.0 - 0.5
}

fn tensor<T: Element>(stream: u32, shape: &[usize], map: impl Fn(f64) -> f64) -> Tensor<T> {
    let values = (0..shape.iter().product()).map(|i| T::from_f64(map(value(stream, i)))).collect();
    Tensor::from_vec(shape, values).unwrap()
}

/// What follows the last dense layer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Nothing,
    Exponential,
    LogSoftmax,
    Softmax,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Targets {
    Values,
    Half,
    Soft,
    Signs,
    Counts,
    Classes,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Weights {
    Equal,
    Classes,
    /// By the number of samples.
    Samples,
    Positive,
    PositiveOne(f64),
}

type Case = (&'static str, Loss, End, Targets, Weights);

/// Those of golden/model_losses.py.
fn cases() -> Vec<Case> {
    use {End::Nothing as No, Weights::Equal};
    let smoothed = Loss::SmoothedCrossEntropy { label_smoothing: 0.1 };
    let full = Loss::PoissonNll { log_input: true, full: true, eps: 1e-8 };
    let rates = Loss::PoissonNll { log_input: false, full: true, eps: 1e-8 };
    let (nll, log) = (Loss::NegativeLogLikelihood, Loss::KlDivergence { log_target: true });
    let squared = Loss::MultiMargin { margin: 0.75, squared: true };
    vec![
        ("mean_squared_error", Loss::MeanSquaredError, No, Targets::Values, Equal),
        ("mean_absolute_error", Loss::MeanAbsoluteError, No, Targets::Values, Equal),
        ("huber", Loss::Huber { delta: 0.75 }, No, Targets::Values, Equal),
        ("smooth_l1", Loss::SmoothL1 { beta: 0.75 }, No, Targets::Values, Equal),
        ("smooth_l1_zero", Loss::SmoothL1 { beta: 0.0 }, No, Targets::Values, Equal),
        ("log_cosh", Loss::LogCosh, No, Targets::Values, Equal),
        ("poisson", Loss::POISSON_NLL, No, Targets::Counts, Equal),
        ("poisson_full", full, No, Targets::Counts, Equal),
        ("poisson_rates", rates, End::Exponential, Targets::Counts, Equal),
        ("gaussian", Loss::GAUSSIAN_NLL, No, Targets::Half, Equal),
        ("gaussian_full", Loss::GaussianNll { full: true, eps: 0.75 }, No, Targets::Half, Equal),
        ("cross_entropy", Loss::CrossEntropy, No, Targets::Classes, Equal),
        ("cross_entropy_weights", Loss::CrossEntropy, No, Targets::Classes, Weights::Classes),
        ("cross_entropy_weights", Loss::CrossEntropy, End::Softmax, Targets::Classes, Weights::Classes),
        ("cross_entropy_weights_samples", Loss::CrossEntropy, No, Targets::Classes, Weights::Samples),
        ("cross_entropy_values_weights", Loss::CrossEntropy, No, Targets::Soft, Weights::Classes),
        ("smoothed", smoothed, No, Targets::Classes, Equal),
        ("smoothed", smoothed, End::Softmax, Targets::Classes, Equal),
        ("smoothed_weights", smoothed, No, Targets::Classes, Weights::Classes),
        ("smoothed_values", smoothed, No, Targets::Soft, Equal),
        ("smoothed_values_weights", smoothed, No, Targets::Soft, Weights::Classes),
        ("likelihood", nll, End::LogSoftmax, Targets::Classes, Equal),
        // A cross-entropy by another name, which takes the logarithm once more.
        ("likelihood", Loss::CrossEntropy, End::LogSoftmax, Targets::Classes, Equal),
        ("likelihood_weights", nll, End::LogSoftmax, Targets::Classes, Weights::Classes),
        ("likelihood_values", nll, No, Targets::Classes, Equal),
        ("divergence", Loss::KL_DIVERGENCE, End::LogSoftmax, Targets::Soft, Equal),
        ("divergence_log", log, End::LogSoftmax, Targets::Values, Equal),
        ("binary", Loss::BinaryCrossEntropy, No, Targets::Soft, Equal),
        ("binary_positive", Loss::BinaryCrossEntropy, No, Targets::Soft, Weights::Positive),
        ("binary_positive_one", Loss::BinaryCrossEntropy, No, Targets::Soft, Weights::PositiveOne(3.0)),
        ("hinge", Loss::HINGE, No, Targets::Signs, Equal),
        ("squared_hinge", Loss::SquaredHinge { margin: 0.75 }, No, Targets::Signs, Equal),
        ("multi_margin", Loss::MULTI_MARGIN, No, Targets::Classes, Equal),
        ("multi_margin_weights", squared, No, Targets::Classes, Weights::Classes),
    ]
}

fn class_weights() -> Vec<f64> {
    (0..OUTPUTS).map(|i| value(25, i) + 0.75).collect()
}

fn with_end(net: Sequential, end: End) -> Sequential {
    match end {
        End::Nothing => net,
        End::Exponential => net.with(Activation::Exponential),
        End::LogSoftmax => net.with(LogSoftmax),
        End::Softmax => net.with(Softmax),
    }
}

fn compile<T: Element>(model: &mut Model<T>, loss: Loss, weights: Weights) {
    model.compile(loss, Sgd { learning_rate: 0.05, ..Sgd::default() }).unwrap();
    match weights {
        Weights::Equal => {}
        Weights::Classes => model.set_class_weights(&class_weights()).unwrap(),
        Weights::Samples => {
            model.set_class_weights(&class_weights()).unwrap();
            model.set_weighted_mean(WeightedMean::Samples);
        }
        Weights::Positive => model.set_positive_weights(&class_weights()).unwrap(),
        Weights::PositiveOne(weight) => model.set_positive_weights(&[weight]).unwrap(),
    }
}

/// The targets of so many rows: the script's, if there are as many as there.
fn targets<T: Element>(x: Dataset, targets: Targets, rows: usize) -> Dataset {
    let shape = [rows, OUTPUTS];
    let floor = |count: f64| move |v: f64| ((v + 0.5) * count).floor();
    match targets {
        Targets::Values => x.with_values(tensor::<T>(20, &shape, |v| 4.0 * v)),
        Targets::Half => x.with_values(tensor::<T>(21, &[rows, OUTPUTS / 2], |v| 4.0 * v)),
        Targets::Soft => x.with_values(tensor::<T>(22, &shape, |v| v + 0.5)),
        Targets::Signs => x.with_values(tensor::<T>(20, &shape, |v| if v > 0.0 { 1.0 } else { -1.0 })),
        Targets::Counts => x.with_values(tensor::<T>(23, &shape, floor(5.0))),
        Targets::Classes => {
            let class = |i| floor(OUTPUTS as f64)(value(24, i)) as u32;
            x.with_classes((0..rows).map(class).collect(), OUTPUTS)
        }
    }
    .unwrap()
}

fn golden_model<T: Element>(context: Context, end: End) -> Model<T> {
    let net =
        Sequential::new().with(Dense::new(INPUTS, 4)).with(Activation::Tanh).with(Dense::new(4, OUTPUTS));
    let mut model = with_end(net, end).build_with::<T>(context, 0).unwrap();
    let shapes: [(&str, &[usize]); 4] =
        [("0.weight", &[4, INPUTS]), ("0.bias", &[4]), ("2.weight", &[OUTPUTS, 4]), ("2.bias", &[OUTPUTS])];
    for (i, (name, shape)) in shapes.into_iter().enumerate() {
        model.set_parameter(name, &tensor(11 + i as u32, shape, |v| 2.0 * v)).unwrap();
    }
    model
}

/// All numbers that it found.
fn golden<T: Element>(context: Context, tolerance: f64) -> Vec<f64> {
    let mut all = Vec::new();
    for (name, loss, end, kind, weights) in cases() {
        let line = GOLDEN.lines().find(|line| line.split(',').next() == Some(name));
        let numbers: Vec<f64> = line
            .unwrap_or_else(|| panic!("no {name}"))
            .split(',')
            .skip(1)
            .map(|n| n.parse().unwrap())
            .collect();
        let x = Dataset::from_values(tensor::<T>(10, &[ROWS, INPUTS], |v| 4.0 * v)).unwrap();
        let data = targets::<T>(x, kind, ROWS);
        let mut model = golden_model::<T>(context, end);
        compile(&mut model, loss, weights);
        let indices: Vec<usize> = (0..ROWS).collect();
        let (mean, d_input) = model.gradients(&data, &indices).unwrap();
        let mut got = vec![Element::to_f64(mean)];
        for name in ["0.weight", "0.bias", "2.weight", "2.bias"] {
            got.extend(model.gradient(name).unwrap().as_slice().iter().map(|&d| Element::to_f64(d)));
        }
        got.extend(d_input.as_slice().iter().map(|&d| Element::to_f64(d)));
        assert_eq!(got.len(), numbers.len());
        let largest = numbers.iter().fold(0.0, |most: f64, n| most.max(n.abs()));
        for (i, (got, expected)) in got.iter().zip(&numbers).enumerate() {
            let error = (got - expected).abs();
            let what = format!("{name} ({end:?}) in {}, number {i}", T::NAME);
            assert!(error <= tolerance * largest, "{what}: {got}, not {expected}");
        }
        // The whole set is the batch here, and the loss without gradients is the same.
        let evaluated = model.evaluate(&data).unwrap().loss;
        assert!((evaluated - got[0]).abs() <= 1e-15 * got[0].abs(), "{name}: {evaluated}, not {}", got[0]);
        all.extend(got);
    }
    all
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let mut first: Option<[Vec<f64>; 2]> = None;
    for isa in gemmule::Isa::available() {
        let context = Context::new(isa).unwrap().with_parallelism(Parallelism::Serial);
        let found = [golden::<f64>(context, 1e-13), golden::<f32>(context, 2e-6)];
        if isa.has_fma() {
            assert!(*first.get_or_insert_with(|| found.clone()) == found, "other bits on {isa}");
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    const H: f64 = 2e-4;
    // Below the least variance PyTorch's gradient is not that of the loss, so that a variance can grow again.
    for (name, loss, end, kind, weights) in cases().into_iter().filter(|case| case.0 != "gaussian_full") {
        let x = Dataset::from_values(tensor::<f64>(10, &[ROWS, INPUTS], |v| 4.0 * v)).unwrap();
        let data = targets::<f64>(x, kind, ROWS);
        let mut model = golden_model::<f64>(Context::detect().unwrap(), end);
        compile(&mut model, loss, weights);
        let indices: Vec<usize> = (0..ROWS).collect();
        model.gradients(&data, &indices).unwrap();
        for info in model.parameters() {
            let (values, exact) = (model.parameter(&info.name).unwrap(), model.gradient(&info.name).unwrap());
            let largest = exact.as_slice().iter().fold(0.0, |most: f64, d| most.max(d.abs()));
            for (i, (&value, &exact)) in values.as_slice().iter().zip(exact.as_slice()).enumerate() {
                let mut moved = values.clone();
                let mut at = |offset: f64| {
                    moved.as_mut_slice()[i] = value + offset;
                    model.set_parameter(&info.name, &moved).unwrap();
                    model.evaluate(&data).unwrap().loss
                };
                // The central difference of the fourth order.
                let (near, far) = (at(H) - at(-H), at(2.0 * H) - at(-2.0 * H));
                at(0.0);
                let difference = (8.0 * near - far) / (12.0 * H);
                let error = (exact - difference).abs() / largest;
                assert!(error < 1e-7, "{name}: {}[{i}]: {exact}, not {difference}", info.name);
            }
        }
    }
}

fn bits<T: Element>(model: &Model<T>) -> Vec<u64> {
    let all =
        |name: &str| model.parameter(name).unwrap().as_slice().iter().map(|x| x.bits()).collect::<Vec<_>>();
    model.parameters().iter().flat_map(|p| all(&p.name)).collect()
}

#[test]
fn no_fusion_and_no_number_of_threads_changes_a_bit() {
    const SAMPLES: usize = 150;
    let all = Fusion::default();
    for (name, loss, end, kind, weights) in cases() {
        let x = Dataset::from_values(tensor::<f32>(10, &[SAMPLES, 20], |v| 2.0 * v)).unwrap();
        let data = targets::<f32>(x, kind, SAMPLES);
        let mut expected = None;
        for (fusion, threads) in
            [(all, 1), (all, 3), (Fusion { chains: false, ..all }, 2), (Fusion::NONE, 1), (Fusion::NONE, 8)]
        {
            let net = Sequential::new()
                .with(Dense::new(20, 130))
                .with(Activation::Gelu)
                .with(Dropout::new(0.1))
                .with(Dense::new(130, OUTPUTS).weight_init(Init::Uniform { low: -0.05, high: 0.05 }));
            let context = Context::detect().unwrap().with_parallelism(Parallelism::Max(threads));
            let mut model = with_end(net, end).build_with::<f32>(context, 2).unwrap();
            compile(&mut model, loss, weights);
            model.set_fusion(fusion);
            let history = model.fit(&data, Fit::new().batch_size(64).epochs(2)).unwrap();
            let last = history.epochs[1].loss;
            assert!(last != history.epochs[0].loss, "{name}: nothing is learnt");
            let found = (bits(&model), last.to_bits(), model.evaluate(&data).unwrap().loss.to_bits());
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(*expected == found, "{name}, {threads} threads, {fusion}");
        }
    }
}

fn random_classes(samples: usize) -> Dataset {
    let x = tensor::<f64>(30, &[samples, INPUTS], |v| 4.0 * v);
    let classes = (0..samples).map(|i| (i * i % 7 % OUTPUTS) as u32).collect();
    Dataset::from_values(x).unwrap().with_classes(classes, OUTPUTS).unwrap()
}

/// The weighted mean over batches, over the parts of a batch and over all samples is one: by hand.
#[test]
fn class_weights_are_of_the_whole_mean() {
    let (data, samples) = (random_classes(1100), 1100);
    let weights = class_weights();
    let mut model = golden_model::<f64>(Context::detect().unwrap(), End::Nothing);
    compile(&mut model, Loss::CrossEntropy, Weights::Classes);
    let proba = model.predict_proba(&data).unwrap();
    let (mut sum, mut weight) = (0.0, 0.0);
    for i in 0..samples {
        let class = data.class(i).unwrap() as usize;
        sum -= weights[class] * libm::log(proba.as_slice()[i * OUTPUTS + class]);
        weight += weights[class];
    }
    let loss = model.evaluate(&data).unwrap().loss;
    assert!((loss - sum / weight).abs() < 1e-12, "{loss}, not {}", sum / weight);
    // `fit` in parts is the step on all of them.
    let run = |batch: usize, parts: usize| {
        let mut model = golden_model::<f64>(Context::detect().unwrap(), End::Nothing);
        compile(&mut model, Loss::CrossEntropy, Weights::Classes);
        let options = Fit::new().batch_size(batch).accumulate(parts).shuffle(false).epochs(2);
        let history = model.fit(&data, options).unwrap();
        (model.parameter("0.weight").unwrap(), history.epochs[1].loss)
    };
    let (whole, parts) = (run(400, 1), run(100, 4));
    assert!((whole.1 - parts.1).abs() < 1e-12);
    let pairs = whole.0.as_slice().iter().zip(parts.0.as_slice());
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-14));
    // Equal weights are none, but for rounding; a weight of 2 is a sample twice.
    let gradient = |weights: &[f64], indices: &[usize]| {
        let mut model = golden_model::<f64>(Context::detect().unwrap(), End::Nothing);
        model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
        model.set_class_weights(weights).unwrap();
        let (loss, _) = model.gradients(&data, indices).unwrap();
        (loss, model.gradient("0.weight").unwrap())
    };
    let close = |a: &(f64, Tensor<f64>), b: &(f64, Tensor<f64>)| {
        (a.0 - b.0).abs() < 1e-14
            && a.1.as_slice().iter().zip(b.1.as_slice()).all(|(a, b)| (a - b).abs() < 1e-14)
    };
    let once: Vec<usize> = (0..40).collect();
    assert!(close(&gradient(&[], &once), &gradient(&[3.0; OUTPUTS], &once)));
    let mut twice = once.clone();
    twice.extend(once.iter().filter(|&&i| data.class(i) == Some(1)));
    assert!(twice.len() > 45 && twice.len() < 60);
    assert!(close(&gradient(&[], &twice), &gradient(&[1.0, 2.0, 1.0, 1.0], &once)));
    // Nothing counts: no loss, no gradient, no NaN.
    let nothing = gradient(&[0.0; OUTPUTS], &once);
    assert!(nothing.0 == 0.0 && nothing.1.as_slice().iter().all(|&d| d == 0.0));
    let mut model = golden_model::<f64>(Context::detect().unwrap(), End::Nothing);
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    model.set_class_weights(&[0.0; OUTPUTS]).unwrap();
    assert_eq!(model.evaluate(&data).unwrap().loss, 0.0);
    let before = bits(&model);
    model.fit(&data, Fit::new().batch_size(100).accumulate(3)).unwrap();
    assert_eq!(bits(&model), before);
}

#[test]
fn probabilities_follow_the_loss() {
    let data = random_classes(9);
    let of = |loss: Loss, end: End| {
        let mut model = golden_model::<f64>(Context::detect().unwrap(), end);
        model.compile(loss, Sgd::default()).unwrap();
        model.predict_proba(&data)
    };
    let expected = of(Loss::CrossEntropy, End::Softmax).unwrap();
    for (loss, end) in [
        (Loss::CrossEntropy, End::Nothing),
        (Loss::CrossEntropy, End::LogSoftmax),
        (Loss::SmoothedCrossEntropy { label_smoothing: 0.2 }, End::Nothing),
        (Loss::SmoothedCrossEntropy { label_smoothing: 0.2 }, End::Softmax),
        (Loss::NegativeLogLikelihood, End::LogSoftmax),
        (Loss::KL_DIVERGENCE, End::LogSoftmax),
    ] {
        let got = of(loss, end).unwrap();
        let close = got.as_slice().iter().zip(expected.as_slice()).all(|(a, b)| (a - b).abs() < 1e-15);
        assert!(close, "{} after {end:?}", loss.name());
    }
    for loss in [Loss::MeanAbsoluteError, Loss::HINGE, Loss::MULTI_MARGIN, Loss::GAUSSIAN_NLL] {
        assert!(matches!(of(loss, End::Nothing), Err(Error::State { .. })), "{}", loss.name());
    }
}

fn says<R>(result: gemmule::Result<R>, words: &[&str]) {
    let error = result.err().expect("an error").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error} has not all of {words:?}");
}

#[test]
fn what_does_not_fit_is_named() {
    let mut model = golden_model::<f32>(Context::detect().unwrap(), End::Nothing);
    says(model.set_class_weights(&[1.0; 4]), &["set_class_weights", "compile"]);
    for (loss, words) in [
        (Loss::Huber { delta: 0.0 }, ["huber", "delta"]),
        (Loss::Huber { delta: 1e-60 }, ["huber", "delta"]),
        (Loss::SmoothL1 { beta: -1.0 }, ["smooth_l1", "beta"]),
        (Loss::SmoothedCrossEntropy { label_smoothing: 1.5 }, ["label_smoothing", "from 0 to 1"]),
        (Loss::PoissonNll { log_input: true, full: false, eps: f64::NAN }, ["poisson", "eps"]),
        (Loss::GaussianNll { full: false, eps: 0.0 }, ["gaussian", "eps"]),
        (Loss::Hinge { margin: f64::INFINITY }, ["hinge", "margin"]),
        (Loss::SquaredHinge { margin: f64::NAN }, ["squared_hinge", "margin"]),
        (Loss::MultiMargin { margin: 1e300, squared: true }, ["multi_class_hinge", "margin"]),
    ] {
        says(model.compile(loss, Sgd::default()), &words);
        assert!(model.loss().is_none());
    }
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    says(model.set_class_weights(&[1.0; 3]), &["4 weights", "3"]);
    says(model.set_class_weights(&[1.0, -1.0, 1.0, 1.0]), &["at least 0", "-1"]);
    says(model.set_class_weights(&[1.0, 1e300, 1.0, 1.0]), &["finite", "10000"]);
    says(model.set_positive_weights(&[1.0]), &["binary cross-entropy"]);
    assert!(model.class_weights().is_none());
    model.set_class_weights(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(model.class_weights(), Some(&[1.0, 2.0, 3.0, 4.0][..]));
    // Another loss begins without.
    model.compile(Loss::BinaryCrossEntropy, Sgd::default()).unwrap();
    assert!(model.class_weights().is_none());
    says(model.set_class_weights(&[1.0; 4]), &["set_class_weights", "no classes"]);
    says(model.set_positive_weights(&[1.0; 3]), &["4 weights", "or 1"]);
    let (classes, indices) = (random_classes(5), [0, 1, 2]);
    let x = || Dataset::from_values(tensor::<f32>(10, &[5, INPUTS], |v| v)).unwrap();
    let values = targets::<f32>(x(), Targets::Values, 5);
    model.compile(Loss::NegativeLogLikelihood, Sgd::default()).unwrap();
    says(model.step(&values, &indices), &["negative log-likelihood", "one class", "values"]);
    model.compile(Loss::LogCosh, Sgd::default()).unwrap();
    says(model.step(&classes, &indices), &["log-cosh", "4 values", "classes"]);
    model.compile(Loss::GAUSSIAN_NLL, Sgd::default()).unwrap();
    says(model.step(&values, &indices), &["2 values", "two outputs", "4"]);
    let mut odd = Sequential::new().with(Dense::new(INPUTS, 3)).build::<f32>(0).unwrap();
    odd.compile(Loss::GAUSSIAN_NLL, Sgd::default()).unwrap();
    says(odd.step(&values, &indices), &["even number of outputs", "3"]);
}

/// Noise that a normal distribution has: its spread is learnt beside its mean.
#[test]
fn a_gaussian_likelihood_learns_the_variance() {
    const SAMPLES: usize = 4000;
    let context = Context::detect().unwrap();
    let mut y = vec![0.0_f64; SAMPLES];
    Rng::new(1).fill_normal(&context, &mut y, 3.0, 0.5).unwrap();
    let x = Dataset::from_values(Tensor::from_vec(&[SAMPLES, 1], vec![1.0_f64; SAMPLES]).unwrap()).unwrap();
    let data = x.with_values(Tensor::from_vec(&[SAMPLES, 1], y).unwrap()).unwrap();
    let mut model = Sequential::new().with(Dense::new(1, 2).without_bias()).build::<f64>(0).unwrap();
    model.compile(Loss::GAUSSIAN_NLL, Adam { learning_rate: 0.02, ..Adam::default() }).unwrap();
    model.fit(&data, Fit::new().batch_size(500).epochs(60)).unwrap();
    let found = model.parameter("0.weight").unwrap();
    let (mean, std) = (found.as_slice()[0], libm::exp(0.5 * found.as_slice()[1]));
    assert!((mean - 3.0).abs() < 0.05 && (std - 0.5).abs() < 0.03, "{mean} {std}");
}

/// Noise, class weights and constraints go on to the bit from a state; a model that has others refuses it.
#[test]
fn a_state_is_of_these_weights_and_constraints() {
    let data = random_classes(64);
    let indices: Vec<usize> = (0..64).collect();
    let build = || {
        let mut model = Sequential::new()
            .with(GaussianNoise::new(0.1))
            .with(Dense::new(INPUTS, 8))
            .with(AlphaDropout::new(0.2))
            .with(Dense::new(8, OUTPUTS))
            .build::<f64>(1)
            .unwrap();
        model.compile(Loss::SmoothedCrossEntropy { label_smoothing: 0.1 }, Adam::default()).unwrap();
        model.set_class_weights(&class_weights()).unwrap();
        model.set_constraint(&["1.weight"], Constraint::MaxNorm(0.5)).unwrap();
        model
    };
    let mut model = build();
    for _ in 0..3 {
        model.step(&data, &indices).unwrap();
    }
    let state = model.state().unwrap();
    let mut resumed = build();
    resumed.restore(&state).unwrap();
    for _ in 0..5 {
        assert_eq!(model.step(&data, &indices).unwrap(), resumed.step(&data, &indices).unwrap());
    }
    assert_eq!(bits(&model), bits(&resumed));
    let mut other = build();
    other.set_constraint(&["1.weight"], Constraint::MaxNorm(0.25)).unwrap();
    says(other.restore(&state), &["constraints", "1.weight: MaxNorm(0.5)", "1.weight: MaxNorm(0.25)"]);
    let mut other = build();
    other.set_class_weights(&[]).unwrap();
    says(other.restore(&state), &["weights of the loss"]);
    other.compile(Loss::SmoothedCrossEntropy { label_smoothing: 0.2 }, Adam::default()).unwrap();
    says(other.restore(&state), &["loss", "0.1", "0.2"]);
}

//! Exact: the gradient of every layer and loss in f64 against central differences, relative error at most 1e-7.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Init, Loss, Model, Sequential, Softmax};
use gemmule::optim::Sgd;
use gemmule::rng::Rng;
use gemmule::{Context, Result, Tensor};

const ACTIVATIONS: [Activation; 18] = Activation::ALL;

/// The widths of a random small net.
fn widths(rng: &mut Rng) -> Vec<usize> {
    let layers = 2 + rng.below(2) as usize;
    (0..=layers).map(|_| 1 + rng.below(20) as usize).collect()
}

#[derive(Clone, Copy, Debug)]
enum Targets {
    Classes,
    OneHot,
    Values,
}

fn data(rng: &mut Rng, samples: usize, features: usize, outputs: usize, targets: Targets) -> Result<Dataset> {
    let mut x = vec![0.0_f64; samples * features];
    rng.fill_normal(&Context::detect().unwrap(), &mut x, 0.0, 1.0).unwrap();
    let data = Dataset::from_values(Tensor::from_vec(&[samples, features], x)?)?;
    let classes: Vec<u32> = (0..samples).map(|_| rng.below(outputs as u64) as u32).collect();
    match targets {
        Targets::Classes => data.with_classes(classes, outputs),
        Targets::OneHot => {
            // Soft labels: most of the weight on one class.
            let label =
                |at: &[usize]| if classes[at[0]] as usize == at[1] { 0.9 } else { 0.1 / outputs as f64 };
            data.with_values(Tensor::<f64>::from_fn(&[samples, outputs], label)?)
        }
        Targets::Values => {
            let mut y = vec![0.0_f64; samples * outputs];
            rng.fill_uniform(&Context::detect().unwrap(), &mut y, 0.0, 1.0).unwrap();
            data.with_values(Tensor::from_vec(&[samples, outputs], y)?)
        }
    }
}

/// The derivative of `loss` along one number, by the five-point central difference; two step sizes tell a kink.
fn difference(mut loss: impl FnMut(f64) -> f64, value: f64) -> Option<f64> {
    let mut estimate = |h: f64| {
        let near = loss(value + h) - loss(value - h);
        let far = loss(value + 2.0 * h) - loss(value - 2.0 * h);
        (8.0 * near - far) / (12.0 * h)
    };
    let (rough, fine) = (estimate(2e-4), estimate(1e-4));
    let smooth = (rough - fine).abs() <= 1e-9 * rough.abs().max(1e-2);
    smooth.then_some(fine)
}

/// Compares all gradients of `model` on all of `data`; returns how many numbers were compared and how many skipped.
fn check(model: &mut Model<f64>, data: &Dataset, what: &str) -> Result<(usize, usize)> {
    let indices: Vec<usize> = (0..data.len()).collect();
    let (_, d_input) = model.gradients(data, &indices)?;
    let (mut compared, mut skipped) = (0, 0);
    let mut compare = |name: &str, exact: &[f64], differences: Vec<Option<f64>>| {
        let largest = exact.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (index, (&exact, difference)) in exact.iter().zip(differences).enumerate() {
            let Some(difference) = difference else {
                skipped += 1;
                continue;
            };
            compared += 1;
            let error = (exact - difference).abs();
            assert!(
                error <= 1e-7 * largest.max(1e-3),
                "{what}: {name}[{index}]: {exact:e} is not {difference:e} (largest {largest:e})"
            );
        }
    };
    for info in model.parameters() {
        let exact = model.gradient(&info.name)?;
        let values = model.parameter(&info.name)?;
        let mut differences = Vec::new();
        for index in 0..values.len() {
            let mut moved = values.clone();
            let loss = |value: f64| {
                moved.as_mut_slice()[index] = value;
                model.set_parameter(&info.name, &moved).unwrap();
                model.evaluate(data).unwrap().loss
            };
            differences.push(difference(loss, values.as_slice()[index]));
            model.set_parameter(&info.name, &values)?;
        }
        compare(&info.name, exact.as_slice(), differences);
    }
    // The gradient of the input: the same through a copy of the data with one feature moved.
    let x = Tensor::from_vec(&[data.len(), data.features()], features(data, &indices))?;
    let mut differences = Vec::new();
    for index in 0..x.len() {
        let loss = |value: f64| {
            let mut moved = x.clone();
            moved.as_mut_slice()[index] = value;
            let moved = Dataset::from_values(moved).unwrap();
            model.evaluate(&with_targets_of(moved, data, &indices)).unwrap().loss
        };
        differences.push(difference(loss, x.as_slice()[index]));
    }
    compare("input", d_input.as_slice(), differences);
    Ok((compared, skipped))
}

fn features(data: &Dataset, indices: &[usize]) -> Vec<f64> {
    use gemmule::BatchSource;
    let mut x = vec![0.0; indices.len() * data.features()];
    data.gather_features(&Context::detect().unwrap(), indices, &mut x);
    x
}

fn with_targets_of(moved: Dataset, data: &Dataset, indices: &[usize]) -> Dataset {
    use gemmule::{BatchSource, TargetKind};
    let context = Context::detect().unwrap();
    match data.target_kind() {
        Some(TargetKind::Classes(count)) => {
            let classes = indices.iter().map(|&i| data.class(i).unwrap()).collect();
            moved.with_classes(classes, count).unwrap()
        }
        Some(TargetKind::Values(width)) => {
            let mut y = vec![0.0_f64; indices.len() * width];
            data.gather_values(&context, indices, &mut y);
            moved.with_values(Tensor::from_vec(&[indices.len(), width], y).unwrap()).unwrap()
        }
        _ => unreachable!("every set here has targets"),
    }
}

#[test]
fn every_activation_and_loss() {
    let cases = [
        (Loss::CrossEntropy, Targets::Classes),
        (Loss::CrossEntropy, Targets::OneHot),
        (Loss::MeanSquaredError, Targets::Values),
        (Loss::BinaryCrossEntropy, Targets::Values),
    ];
    let (mut compared, mut skipped) = (0, 0);
    for (case, (loss, targets)) in cases.into_iter().enumerate() {
        for (a, activation) in ACTIVATIONS.into_iter().enumerate() {
            for round in 0..3 {
                let mut rng = Rng::new(1000 + 100 * case as u64 + 10 * a as u64 + round);
                let widths = widths(&mut rng);
                let outputs = *widths.last().unwrap();
                let mut net = Sequential::new();
                for (i, pair) in widths.windows(2).enumerate() {
                    // Small exponents: through several exponentials differences find no smooth place.
                    let init = match activation {
                        Activation::Exponential => Init::Uniform { low: -0.2, high: 0.2 },
                        _ => Init::GlorotUniform,
                    };
                    net = net.with(Dense::new(pair[0], pair[1]).weight_init(init));
                    if i + 2 < widths.len() {
                        net = net.with(activation);
                    }
                }
                // Sometimes a last operation that the loss takes as part of itself, or one that it does not.
                match (round, loss) {
                    (0, _) => {}
                    (1, Loss::CrossEntropy) => net = net.with(Softmax),
                    (1, Loss::BinaryCrossEntropy) => net = net.with(Activation::Sigmoid),
                    (_, Loss::MeanSquaredError) => net = net.with(activation),
                    _ => net = net.with(Activation::Tanh),
                }
                let mut model = net.build::<f64>(rng.next_u64()).unwrap();
                model.compile(loss, Sgd::default()).unwrap();
                let samples = 1 + rng.below(7) as usize;
                let data = data(&mut rng, samples, widths[0], outputs, targets).unwrap();
                let what = format!("{} {targets:?} {activation} {widths:?}", loss.name());
                let (c, s) = check(&mut model, &data, &what).unwrap();
                compared += c;
                skipped += s;
            }
        }
    }
    assert!(skipped * 50 < compared, "{skipped} kinks beside {compared} compared numbers");
}

/// Operations where a chain puts them least often: softmax inside, activations first and twice in a row, no bias.
#[test]
fn operations_in_odd_places() {
    fn dense(inputs: usize, outputs: usize) -> Dense {
        Dense::new(inputs, outputs).weight_init(Init::GlorotNormal)
    }
    let nets: [fn() -> Sequential; 6] = [
        || Sequential::new().with(dense(5, 7)).with(Softmax).with(dense(7, 3)),
        || Sequential::new().with(Activation::Tanh).with(dense(5, 3)),
        || {
            Sequential::new()
                .with(dense(5, 4))
                .with(Activation::Sigmoid)
                .with(Activation::Tanh)
                .with(dense(4, 3))
        },
        || {
            Sequential::new()
                .with(dense(5, 4).without_bias())
                .with(Softmax)
                .with(Activation::Exponential)
                .with(dense(4, 3))
        },
        || Sequential::new().with(Softmax).with(dense(5, 3).without_bias()).with(Activation::Exponential),
        || Sequential::new().with(dense(5, 3)).with(Softmax).with(Softmax),
    ];
    for (index, net) in nets.into_iter().enumerate() {
        for loss in [Loss::MeanSquaredError, Loss::CrossEntropy] {
            let mut rng = Rng::new(77 + index as u64);
            let mut model = net().build::<f64>(3).unwrap();
            model.compile(loss, Sgd::default()).unwrap();
            let data = data(&mut rng, 6, 5, 3, Targets::OneHot).unwrap();
            let (compared, skipped) =
                check(&mut model, &data, &format!("net {index}, {}", loss.name())).unwrap();
            assert!(compared > 0 && skipped == 0);
        }
    }
}

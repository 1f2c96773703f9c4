//! The engine against a plain one: random chains of layers, batch sizes that alternate, any number of threads; models
//! that move between threads, and many at once.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Init, Loss, Model, Sequential, Softmax};
use gemmule::optim::{Adam, Optimizer, Sgd};
use gemmule::rng::Rng;
use gemmule::train::{Control, Event, Fit};
use gemmule::{Context, Element, Parallelism, Tensor};
use std::panic::{RefUnwindSafe, UnwindSafe};

const ACTIVATIONS: [Activation; 5] =
    [Activation::Identity, Activation::Exponential, Activation::Sigmoid, Activation::Tanh, Activation::Relu];

#[derive(Clone, Copy, Debug)]
enum Op {
    Dense { inputs: usize, outputs: usize, bias: bool },
    Activation(Activation),
    Softmax,
}

/// Two to four dense layers with anything between, before and after them.
fn chain(rng: &mut Rng) -> Vec<Op> {
    let width = |rng: &mut Rng| match rng.below(4) {
        0 => 1 + rng.below(4) as usize,
        1 => 150 + rng.below(60) as usize,
        _ => 10 + rng.below(70) as usize,
    };
    let between = |rng: &mut Rng, ops: &mut Vec<Op>| {
        for _ in 0..[0, 1, 1, 2][rng.below(4) as usize] {
            let op = match rng.below(6) {
                5 => Op::Softmax,
                activation => Op::Activation(ACTIVATIONS[activation as usize]),
            };
            ops.push(op);
        }
    };
    let mut ops = Vec::new();
    let mut inputs = width(rng);
    if rng.below(3) == 0 {
        between(rng, &mut ops);
    }
    for _ in 0..2 + rng.below(3) {
        let outputs = width(rng);
        ops.push(Op::Dense { inputs, outputs, bias: rng.below(4) > 0 });
        between(rng, &mut ops);
        inputs = outputs;
    }
    ops
}

fn ends(ops: &[Op]) -> (usize, usize) {
    let dense = |op: &Op| match *op {
        Op::Dense { inputs, outputs, .. } => Some((inputs, outputs)),
        _ => None,
    };
    let first = ops.iter().find_map(dense).unwrap().0;
    (first, ops.iter().rev().find_map(dense).unwrap().1)
}

fn network(ops: &[Op]) -> Sequential {
    let init = Init::Uniform { low: -0.15, high: 0.15 };
    ops.iter().fold(Sequential::new(), |net, op| match *op {
        Op::Dense { inputs, outputs, bias } => {
            let dense = Dense::new(inputs, outputs).weight_init(init).bias_init(init);
            net.with(if bias { dense } else { dense.without_bias() })
        }
        Op::Activation(activation) => net.with(activation),
        Op::Softmax => net.with(Softmax),
    })
}

// The plain engine: loops in f64, one sample after the other.

fn softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = x.iter().map(|x| libm_exp(x - max)).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

/// The crate's own exponential is checked elsewhere; here any good one does.
#[allow(clippy::disallowed_methods, reason = "compared with a tolerance")]
fn libm_exp(x: f64) -> f64 {
    x.exp()
}

#[allow(clippy::disallowed_methods, reason = "compared with a tolerance")]
fn ln(x: f64) -> f64 {
    x.ln()
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Exponential => libm_exp(x),
        Activation::Sigmoid => 1.0 / (1.0 + libm_exp(-x)),
        Activation::Tanh => 1.0 - 2.0 / (libm_exp(2.0 * x) + 1.0),
        Activation::Relu => x.max(0.0),
        _ => x,
    }
}

fn slope(activation: Activation, y: f64) -> f64 {
    match activation {
        Activation::Exponential => y,
        Activation::Sigmoid => y * (1.0 - y),
        Activation::Tanh => 1.0 - y * y,
        Activation::Relu => f64::from(u8::from(y > 0.0)),
        _ => 1.0,
    }
}

/// Weight (outputs x inputs) and bias of each operation; empty where it has none.
type Parameters = Vec<(Vec<f64>, Vec<f64>)>;

/// The outputs of all operations for one sample, the input first.
fn forward(ops: &[Op], parameters: &Parameters, x: &[f64]) -> Vec<Vec<f64>> {
    let mut all = vec![x.to_vec()];
    for (op, (weight, bias)) in ops.iter().zip(parameters) {
        let x = all.last().unwrap();
        all.push(match *op {
            Op::Dense { inputs, outputs, .. } => (0..outputs)
                .map(|o| {
                    let row = &weight[o * inputs..][..inputs];
                    row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias.get(o).unwrap_or(&0.0)
                })
                .collect(),
            Op::Activation(activation) => x.iter().map(|&x| activate(activation, x)).collect(),
            Op::Softmax => softmax(x),
        });
    }
    all
}

/// The mean loss over the samples, and the gradients.
fn step(
    ops: &[Op],
    parameters: &Parameters,
    loss: Loss,
    samples: &[usize],
    data: &Samples,
) -> (f64, Parameters) {
    // The loss from probabilities, the way it is written in books: the chain gets the operation that makes them.
    let mut ops = ops.to_vec();
    match (loss, ops.last()) {
        (Loss::CrossEntropy, last) if !matches!(last, Some(Op::Softmax)) => ops.push(Op::Softmax),
        (Loss::BinaryCrossEntropy, last) if !matches!(last, Some(Op::Activation(Activation::Sigmoid))) => {
            ops.push(Op::Activation(Activation::Sigmoid));
        }
        _ => {}
    }
    let mut parameters = parameters.clone();
    parameters.resize(ops.len(), (Vec::new(), Vec::new()));
    let mut gradients: Parameters =
        parameters.iter().map(|(w, b)| (vec![0.0; w.len()], vec![0.0; b.len()])).collect();
    let mut mean = 0.0;
    for &sample in samples {
        let (x, t) = data.row(sample);
        let all = forward(&ops, &parameters, x);
        let y = all.last().unwrap();
        let scale = 1.0 / samples.len() as f64;
        let width = y.len() as f64;
        let mut d = Vec::new();
        for (&y, &t) in y.iter().zip(t) {
            let (term, slope) = match loss {
                Loss::MeanSquaredError => ((y - t) * (y - t) / width, 2.0 * (y - t) / width),
                Loss::CrossEntropy if t == 0.0 => (0.0, 0.0),
                Loss::CrossEntropy => (-t * ln(y), -t / y),
                _ => {
                    let loss = -t * ln(y) - (1.0 - t) * ln(1.0 - y);
                    (loss / width, ((1.0 - t) / (1.0 - y) - t / y) / width)
                }
            };
            mean += scale * term;
            d.push(scale * slope);
        }
        for index in (0..ops.len()).rev() {
            let (x, y) = (&all[index], &all[index + 1]);
            match ops[index] {
                Op::Dense { inputs, outputs, .. } => {
                    let (weight, (dw, db)) = (&parameters[index].0, &mut gradients[index]);
                    let mut dx = vec![0.0; inputs];
                    for o in 0..outputs {
                        for i in 0..inputs {
                            dw[o * inputs + i] += d[o] * x[i];
                            dx[i] += d[o] * weight[o * inputs + i];
                        }
                        if let Some(db) = db.get_mut(o) {
                            *db += d[o];
                        }
                    }
                    d = dx;
                }
                Op::Activation(activation) => {
                    d.iter_mut().zip(y).for_each(|(d, &y)| *d *= slope(activation, y))
                }
                Op::Softmax => {
                    let dot: f64 = d.iter().zip(y).map(|(d, y)| d * y).sum();
                    d.iter_mut().zip(y).for_each(|(d, y)| *d = y * (*d - dot));
                }
            }
        }
    }
    (mean, gradients)
}

/// Features, and what the losses take for targets.
struct Samples {
    inputs: usize,
    outputs: usize,
    x: Vec<f64>,
    t: Vec<f64>,
    set: Dataset,
}

const SAMPLES: usize = 230;

impl Samples {
    fn new(rng: &mut Rng, inputs: usize, outputs: usize, classes: bool) -> Self {
        let mut x = vec![0.0_f64; SAMPLES * inputs];
        rng.fill_uniform(&Context::detect().unwrap(), &mut x, -1.0, 1.0).unwrap();
        let set = Dataset::from_values(Tensor::from_slice(&[SAMPLES, inputs], &x).unwrap()).unwrap();
        let mut t = vec![0.0_f64; SAMPLES * outputs];
        let set = if classes {
            let labels: Vec<u32> = (0..SAMPLES).map(|_| rng.below(outputs as u64) as u32).collect();
            for (sample, &label) in labels.iter().enumerate() {
                t[sample * outputs + label as usize] = 1.0;
            }
            set.with_classes(labels, outputs)
        } else {
            rng.fill_uniform(&Context::detect().unwrap(), &mut t, 0.0, 1.0).unwrap();
            set.with_values(Tensor::from_slice(&[SAMPLES, outputs], &t).unwrap())
        };
        Self { inputs, outputs, x, t, set: set.unwrap() }
    }

    fn row(&self, sample: usize) -> (&[f64], &[f64]) {
        (&self.x[sample * self.inputs..][..self.inputs], &self.t[sample * self.outputs..][..self.outputs])
    }
}

/// More sizes than plans are kept, large after small, each again later.
const BATCHES: [usize; 16] = [64, 7, 230, 1, 65, 31, 130, 2, 3, 90, 64, 7, 33, 200, 230, 64];

fn hash<T: Element>(hash: u64, values: &[T]) -> u64 {
    values.iter().fold(hash, |hash, value| (hash ^ value.bits()).wrapping_mul(0x0000_0100_0000_01B3))
}

fn all_bits<T: Element>(model: &Model<T>) -> u64 {
    model.parameters().iter().fold(7, |h, info| hash(h, model.parameter(&info.name).unwrap().as_slice()))
}

fn batch(step: usize) -> Vec<usize> {
    (0..BATCHES[step]).map(|i| (i * 37 + step * 11) % SAMPLES).collect()
}

fn parameters_of(ops: &[Op], model: &Model<f64>) -> Parameters {
    let get = |name: String| model.parameter(&name).unwrap().as_slice().to_vec();
    let of = |(layer, op): (usize, &Op)| match op {
        Op::Dense { bias, .. } => {
            (get(format!("{layer}.weight")), if *bias { get(format!("{layer}.bias")) } else { Vec::new() })
        }
        _ => (Vec::new(), Vec::new()),
    };
    ops.iter().enumerate().map(of).collect()
}

#[track_caller]
fn close(what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3_f64, |most, x| most.max(x.abs()));
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= 1e-9 * largest, "{what}: element {index}: {got} is not {expected}");
    }
}

/// Trains on all batches with `threads` and returns the bits of losses, weights and predictions.
fn train<T: Element>(ops: &[Op], loss: Loss, data: &Samples, threads: usize) -> u64 {
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Max(threads));
    let mut model: Model<T> = network(ops).build_with(context, 3).unwrap();
    model.compile(loss, Adam::default()).unwrap();
    let mut bits = 5;
    for step in 0..BATCHES.len() {
        bits = hash(bits, &[model.step(&data.set, &batch(step)).unwrap()]);
        if step % 5 == 0 {
            bits ^= model.evaluate(&data.set).unwrap().loss.to_bits();
        }
    }
    let (loss, d_input) = model.gradients(&data.set, &batch(0)).unwrap();
    bits = hash(hash(bits, &[loss]), d_input.as_slice());
    hash(bits, model.predict(&data.set).unwrap().as_slice()) ^ all_bits(&model)
}

#[test]
fn random_chains_against_loops_in_f64() {
    let losses = [
        (Loss::CrossEntropy, true),
        (Loss::CrossEntropy, false),
        (Loss::MeanSquaredError, false),
        (Loss::BinaryCrossEntropy, false),
    ];
    for round in 0..24 {
        let mut rng = Rng::new(400 + round);
        let ops = chain(&mut rng);
        let (inputs, outputs) = ends(&ops);
        let (loss, classes) = losses[round as usize % 4];
        let data = Samples::new(&mut rng, inputs, outputs, classes);
        let what = format!("chain {round}: {ops:?}, {}", loss.name());

        let rate = 0.02;
        let context = Context::detect().unwrap().with_parallelism(Parallelism::Max(2 + round as usize % 2));
        let mut model: Model<f64> = network(&ops).build_with(context, round).unwrap();
        model.compile(loss, Sgd { learning_rate: rate, ..Sgd::default() }).unwrap();
        let mut plain = parameters_of(&ops, &model);
        for number in 0..BATCHES.len() {
            let (expected, gradients) = step(&ops, &plain, loss, &batch(number), &data);
            let got = model.step(&data.set, &batch(number)).unwrap();
            close(&format!("{what}: loss of step {number}"), &[got], &[expected]);
            let name = |layer: usize, name| format!("{what}: step {number}: gradient of {layer}.{name}");
            for (layer, ((w, b), (dw, db))) in plain.iter_mut().zip(&gradients).enumerate() {
                for (kind, values, d) in [("weight", w, dw), ("bias", b, db)] {
                    if d.is_empty() {
                        continue;
                    }
                    let exact = model.gradient(&format!("{layer}.{kind}")).unwrap();
                    close(&name(layer, kind), exact.as_slice(), d);
                    values.iter_mut().zip(d).for_each(|(value, d)| *value -= rate * d);
                }
            }
        }
        let outputs = model.predict(&data.set).unwrap();
        for sample in [0, 1, 100, SAMPLES - 1] {
            let all = forward(&ops, &plain, data.row(sample).0);
            close(&format!("{what}: output of {sample}"), outputs.row(sample), all.last().unwrap());
        }
    }
}

#[test]
fn random_chains_have_one_hash_for_any_number_of_threads() {
    for round in 0..8 {
        let mut rng = Rng::new(900 + round);
        let ops = chain(&mut rng);
        let (inputs, outputs) = ends(&ops);
        let (loss, classes) =
            [(Loss::CrossEntropy, true), (Loss::MeanSquaredError, false)][round as usize % 2];
        let data = Samples::new(&mut rng, inputs, outputs, classes);
        let single = [1, 2, 3, 5].map(|threads| train::<f32>(&ops, loss, &data, threads));
        let double = [1, 2, 3, 5].map(|threads| train::<f64>(&ops, loss, &data, threads));
        assert!(single.iter().all(|&bits| bits == single[0]), "chain {round}, f32: {ops:?}: {single:x?}");
        assert!(double.iter().all(|&bits| bits == double[0]), "chain {round}, f64: {ops:?}: {double:x?}");
    }
}

fn classes() -> Dataset {
    Samples::new(&mut Rng::new(1), 40, 7, true).set
}

fn model(threads: usize, optimizer: impl Into<Optimizer>) -> Model<f32> {
    let net = Sequential::new().with(Dense::new(40, 120)).with(Activation::Tanh).with(Dense::new(120, 7));
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Max(threads));
    let mut model = net.build_with(context, 9).unwrap();
    model.compile(Loss::CrossEntropy, optimizer).unwrap();
    model
}

#[test]
fn models_may_go_anywhere() {
    fn anywhere<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    anywhere::<Model<f32>>();
    anywhere::<Model<f64>>();
}

/// From thread to thread in mid-training, into a pool of its own and out again.
#[test]
fn a_model_that_moves_has_the_bits_of_one_that_stays() {
    let data = classes();
    let train = |model: &mut Model<f32>, from: usize| {
        for number in from..from + 5 {
            model.step(&data, &batch(number)).unwrap();
        }
    };
    let mut stays = model(3, Adam::default());
    train(&mut stays, 0);
    train(&mut stays, 5);
    train(&mut stays, 10);
    let mut moves = model(3, Adam::default());
    train(&mut moves, 0);
    let mut moves = std::thread::scope(|scope| {
        scope
            .spawn(move || {
                train(&mut moves, 5);
                moves
            })
            .join()
            .unwrap()
    });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| train(&mut moves, 10));
    assert_eq!(all_bits(&moves), all_bits(&stays));
}

#[test]
fn many_threads_train_a_model_each() {
    let data = classes();
    let train = |threads: usize| {
        let mut model = model(threads, Sgd { learning_rate: 0.1, momentum: 0.9, ..Sgd::default() });
        model.fit(&data, Fit::new().epochs(3).batch_size(50).validation(&data)).unwrap();
        all_bits(&model)
    };
    let alone = train(1);
    let train = &train;
    let all: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12).map(|i| scope.spawn(move || train(1 + i % 4))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|&bits| bits == alone), "{all:x?} beside {alone:x}");
}

/// A callback trains another model with a team of its own, inside the team of the first.
#[test]
fn a_run_within_a_run() {
    let data = classes();
    let mut inner_bits = Vec::new();
    let mut watch = |event: &Event<'_>| {
        if let Event::EpochEnd(_) = event {
            let mut inner = model(3, Adam::default());
            inner.fit(&data, Fit::new().batch_size(64)).unwrap();
            inner_bits.push(all_bits(&inner));
        }
        Control::Continue
    };
    let mut outer = model(3, Adam::default());
    outer.fit(&data, Fit::new().epochs(2).batch_size(64).callback(&mut watch)).unwrap();
    let mut again = model(1, Adam::default());
    again.fit(&data, Fit::new().batch_size(64)).unwrap();
    assert_eq!(inner_bits, [all_bits(&again); 2]);
}

/// PyTorch's momentum begins with the gradient itself, once: not again after a new rate or a failed step, but again
/// after `compile`.
#[test]
fn when_momentum_begins() {
    let data = classes();
    let momentum = Sgd { learning_rate: 0.1, momentum: 0.5, dampening: 0.25, ..Sgd::default() };
    let mut model = model(1, momentum);
    let gradient = |model: &Model<f32>| model.gradient("2.bias").unwrap().as_slice().to_vec();
    let velocity = |model: &Model<f32>| model.optimizer_state("2.bias", 0).unwrap().as_slice().to_vec();
    assert!(model.step(&data, &[]).is_err());
    model.step(&data, &batch(0)).unwrap();
    assert_eq!(velocity(&model), gradient(&model));
    let before = velocity(&model);
    model.set_learning_rate(0.0).unwrap();
    assert!(model.step(&data, &[SAMPLES]).is_err());
    let weights = all_bits(&model);
    model.step(&data, &batch(0)).unwrap();
    assert_eq!((all_bits(&model), model.steps()), (weights, 2), "a rate of 0 moves nothing");
    let expected: Vec<f32> =
        before.iter().zip(gradient(&model)).map(|(v, g)| v.mul_add(0.5, g * 0.75)).collect();
    assert_eq!(velocity(&model), expected);
    model.compile(Loss::CrossEntropy, momentum).unwrap();
    assert!(model.optimizer_state("2.bias", 0).is_err(), "the state of the last optimiser is gone");
    model.step(&data, &batch(0)).unwrap();
    assert_eq!((velocity(&model), model.steps()), (gradient(&model), 1));
}

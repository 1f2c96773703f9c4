//! Sparse gradients of embeddings: the bits of dense ones where that is exact, else the rule on the rows of the batch alone.

mod common;
#[allow(dead_code, reason = "of its formulas two")]
#[path = "common/formula.rs"]
mod formula;

use formula::{hashed, signed};
use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, Branches, Builder, Dense, Embedding, Flatten, Fusion, Init, Input, Layer, Layers, Loss,
    Model, OptionValue, RowFunction, Sequential, Value,
};
use gemmule::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Constraint, Lion, NAdam, Optimizer, RAdam, RmsProp, Sgd,
};
use gemmule::train::{ExponentialMovingAverage, Fit};
use gemmule::{BatchSource, Context, Element, Error, Parallelism, TargetKind, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

const LENGTH: usize = 5;
/// Rows of the two tables; tokens are below the second.
const ROWS: [usize; 2] = [700, 400];
const WIDTHS: [usize; 2] = [33, 7];
const PADDING: usize = 3;

fn context(threads: usize) -> Context {
    Context::detect().unwrap().with_parallelism(Parallelism::Max(threads))
}

/// Two tables whose rows end anywhere in the flat arrays, and dense layers.
fn net(sparse: bool) -> Sequential {
    let tables = [0, 1].map(|i| Embedding::new(ROWS[i], WIDTHS[i]).padding_idx(PADDING));
    let [first, second] = tables.map(|table| if sparse { table.sparse() } else { table });
    let branches = Branches::concatenate()
        .with(Sequential::new().with(first).with(Flatten::new()))
        .with(Sequential::new().with(second).with(Flatten::new()));
    Sequential::new()
        .with(Input::new(&[LENGTH]))
        .with(branches)
        .with(Dense::new(LENGTH * (WIDTHS[0] + WIDTHS[1]), 24))
        .with(Activation::Tanh)
        .with(Dense::new(24, 3))
}

fn model<T: Element>(sparse: bool, context: Context, optimizer: Optimizer) -> Model<T> {
    let mut model = net(sparse).build_with::<T>(context, 7).unwrap();
    model.compile(Loss::CrossEntropy, optimizer).unwrap();
    model
}

fn dataset<T: Element>(tokens: Vec<T>, length: usize, classes: usize) -> Dataset {
    let samples = tokens.len() / length;
    let x = Dataset::from_values(Tensor::from_vec(&[samples, length], tokens).unwrap()).unwrap();
    let labels = (0..samples as u64).map(|i| (hashed(4, i) % classes as u64) as u32);
    x.with_classes(labels.collect(), classes).unwrap()
}

const SAMPLES: usize = 40;

/// Tokens in no order, some samples of one token, some of padding alone.
fn data<T: Element>() -> Dataset {
    let token = |i: usize| match i / LENGTH {
        6 | 7 => 11,
        8 => PADDING,
        _ => (hashed(3, i as u64) % ROWS[1] as u64) as usize,
    };
    dataset((0..SAMPLES * LENGTH).map(|i| T::from_f64(token(i) as f64)).collect(), LENGTH, 3)
}

/// Batches of 12, of one sample, of one token, of padding alone and of what is left.
fn batches() -> [Vec<usize>; 7] {
    let rest: Vec<usize> = (33..SAMPLES).collect();
    [(0..12).collect(), (12..24).collect(), vec![30], vec![6], vec![8], rest, (4..16).collect()]
}

/// Everything that a step writes.
fn bits<T: Element>(model: &Model<T>, states: usize) -> Vec<u64> {
    let mut all = Vec::new();
    for info in model.parameters() {
        all.push(model.parameter(&info.name).unwrap());
        all.extend(model.gradient(&info.name));
        all.extend((0..states).map(|i| model.optimizer_state(&info.name, i).unwrap()));
    }
    all.iter().flat_map(|tensor| tensor.as_slice().iter().map(|x| x.bits())).collect()
}

fn step_all<T: Element>(model: &mut Model<T>, data: &Dataset) {
    for batch in &batches() {
        model.step(data, batch).unwrap();
    }
}

type Way = fn(&mut Model<f32>, &Dataset);

/// The ways to take steps.
const WAYS: [(&str, Way); 7] = [
    ("step", step_all),
    ("unfused", |model, data| {
        model.set_fusion(Fusion::NONE);
        step_all(model, data);
    }),
    ("norm", |model, data| {
        model.clip_gradients(Clip::Norm(0.01)).unwrap();
        step_all(model, data);
    }),
    ("value", |model, data| {
        model.clip_gradients(Clip::Value(1e-3)).unwrap();
        step_all(model, data);
    }),
    ("looked at", |model, data| {
        model.check_gradients(true);
        step_all(model, data);
    }),
    ("accumulated", |model, data| {
        for batches in batches().chunks(2) {
            for batch in batches {
                model.accumulate(data, batch, 0.5).unwrap();
            }
            model.apply().unwrap();
            // Dropped again.
            model.accumulate(data, &batches[0], 1.0).unwrap();
            model.drop_accumulated();
        }
        model.gradients(data, &[5, 1, 0]).unwrap();
    }),
    ("fit, by hand, of other groups, frozen", |model, data| {
        let faster = Sgd { learning_rate: 0.5, ..Sgd::default() };
        model.parameter_group(&["0.branches.1.0.weight", "3.bias"], faster).unwrap();
        let mut average = ExponentialMovingAverage::new(0.5);
        model.fit(data, Fit::new().batch_size(7).epochs(2).accumulate(2).callback(&mut average)).unwrap();
        for frozen in [true, false] {
            model.set_trainable(&["0.branches.0.0"], !frozen).unwrap();
            step_all(model, data);
        }
        let y = model.forward(data, &[1, 2, 9]).unwrap();
        model.backward(&y).unwrap();
        model.apply().unwrap();
    }),
];

#[test]
fn exact_rules_give_the_bits_of_a_dense_gradient() {
    let data = data::<f32>();
    let adagrad = Adagrad {
        learning_rate: 0.1,
        learning_rate_decay: 0.1,
        initial_accumulator: 0.5,
        ..Adagrad::default()
    };
    let optimizers: [(Optimizer, usize); 3] = [
        (Sgd { learning_rate: 0.25, ..Sgd::default() }.into(), 0),
        (Adagrad { learning_rate: 0.1, ..Adagrad::default() }.into(), 1),
        (adagrad.into(), 1),
    ];
    for (optimizer, states) in optimizers {
        for (name, way) in WAYS {
            let run = |sparse: bool, context: Context| {
                let mut model = model::<f32>(sparse, context, optimizer);
                way(&mut model, &data);
                bits(&model, states)
            };
            let dense = run(false, context(1));
            for isa in common::contexts().into_iter().filter(|context| context.isa().has_fma()) {
                for threads in [1, 2, 3, 8] {
                    let found = run(true, isa.with_parallelism(Parallelism::Max(threads)));
                    assert!(found == dense, "{name}, {optimizer:?}, {isa:?}, {threads} threads");
                }
            }
        }
    }
}

/// In f64, where a sum in another order shows: rows anywhere in the chunks of the sum, one large beside small ones.
#[test]
fn norms_are_those_of_dense_gradients() {
    let data = data::<f64>();
    let run = |sparse: bool, threads: usize| {
        let mut model =
            model::<f64>(sparse, context(threads), Sgd { learning_rate: 0.5, ..Sgd::default() }.into());
        model.clip_gradients(Clip::Norm(1e-3)).unwrap();
        let mut all = Vec::new();
        for first in 0..SAMPLES - 4 {
            model.step(&data, &[first, first + 3, first + 1]).unwrap();
            all.extend(bits(&model, 0));
        }
        // Their squares are nothing: the sum is made again, scaled.
        model.accumulate(&data, &[1, 2], 1e-200).unwrap();
        model.apply().unwrap();
        all.extend(bits(&model, 0));
        all
    };
    let dense = run(false, 1);
    for threads in [1, 2, 8] {
        assert!(run(true, threads) == dense, "{threads} threads");
    }
}

fn optimizers() -> Vec<(Optimizer, usize)> {
    let rate = 0.03;
    let adam = Adam { learning_rate: rate, ..Adam::default() };
    let sgd = Sgd { learning_rate: rate, momentum: 0.9, ..Sgd::default() };
    let rmsprop = RmsProp { learning_rate: rate, ..RmsProp::default() };
    vec![
        (sgd.into(), 1),
        (Sgd { nesterov: true, ..sgd }.into(), 1),
        (Sgd { dampening: 0.5, ..sgd }.into(), 1),
        (rmsprop.into(), 1),
        (RmsProp { momentum: 0.5, centered: true, ..rmsprop }.into(), 3),
        (Adadelta { learning_rate: rate, ..Adadelta::default() }.into(), 2),
        (adam.into(), 2),
        (Adam { amsgrad: true, ..adam }.into(), 3),
        (AdamW { learning_rate: rate, weight_decay: 0.0, ..AdamW::default() }.into(), 2),
        (Adamax { learning_rate: rate, ..Adamax::default() }.into(), 2),
        (NAdam { learning_rate: rate, ..NAdam::default() }.into(), 2),
        (RAdam { learning_rate: rate, ..RAdam::default() }.into(), 2),
        (Lion { learning_rate: rate, ..Lion::default() }.into(), 1),
    ]
}

/// Rows of a table that a batch touches.
fn touched(data: &Dataset, batch: &[usize]) -> Vec<usize> {
    let mut x = vec![0.0_f32; batch.len() * LENGTH];
    BatchSource::gather_features(data, &context(1), batch, &mut x);
    x.into_iter().map(|token| token as usize).filter(|&row| row != PADDING).collect()
}

/// From one state, a dense step says what becomes of the rows that the batch has; the others stay.
#[test]
fn every_optimiser_leaves_other_rows_alone() {
    let data = data::<f32>();
    for (optimizer, states) in optimizers() {
        let mut sparse = model::<f32>(true, context(2), optimizer);
        let mut dense = model::<f32>(false, context(2), optimizer);
        for batch in &batches() {
            dense.restore(&sparse.state().unwrap()).unwrap();
            let arrays = |model: &Model<f32>, table: usize| {
                let name = format!("0.branches.{table}.0.weight");
                let state = |i| model.optimizer_state(&name, i).ok();
                let mut all = vec![model.parameter(&name).unwrap()];
                all.extend((0..states).map(|i| {
                    state(i).unwrap_or_else(|| Tensor::zeros(&[ROWS[table], WIDTHS[table]]).unwrap())
                }));
                all
            };
            let before = [0, 1].map(|table| arrays(&sparse, table));
            assert_eq!(sparse.step(&data, batch).unwrap(), dense.step(&data, batch).unwrap());
            let rows = touched(&data, batch);
            for table in [0, 1] {
                let gradients =
                    [&sparse, &dense].map(|m| m.gradient(&format!("0.branches.{table}.0.weight")).unwrap());
                assert_eq!(gradients[0], gradients[1]);
                let (found, after) = (arrays(&sparse, table), arrays(&dense, table));
                for ((found, after), before) in found.iter().zip(&after).zip(&before[table]) {
                    let by_row = |tensor: &Tensor<f32>| {
                        tensor.as_slice().chunks(WIDTHS[table]).map(common::all_bits).collect::<Vec<_>>()
                    };
                    let (found, after, before) = (by_row(found), by_row(after), by_row(before));
                    for row in 0..ROWS[table] {
                        let expected = if rows.contains(&row) { &after[row] } else { &before[row] };
                        assert_eq!(&found[row], expected, "{optimizer:?}, row {row} of table {table}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_thread_isa_or_fusion_changes_a_bit() {
    let data = data::<f32>();
    for clip in [Clip::Off, Clip::Norm(0.01)] {
        let mut expected = None;
        for isa in common::contexts().into_iter().filter(|context| context.isa().has_fma()) {
            for threads in [1, 2, 3, 8] {
                for fusion in [Fusion::default(), Fusion { update: false, ..Fusion::default() }, Fusion::NONE]
                {
                    let context = isa.with_parallelism(Parallelism::Max(threads));
                    let mut model = model::<f32>(true, context, Adam::default().into());
                    model.set_fusion(fusion);
                    model.clip_gradients(clip).unwrap();
                    model.fit(&data, Fit::new().batch_size(16).epochs(3)).unwrap();
                    model.accumulate(&data, &[0, 1], 0.5).unwrap();
                    model.accumulate(&data, &[1, 5], 0.5).unwrap();
                    model.apply().unwrap();
                    let found = bits(&model, 2);
                    let expected = expected.get_or_insert_with(|| found.clone());
                    assert!(*expected == found, "{isa:?}, {threads} threads, {fusion}, {clip:?}");
                }
            }
        }
    }
}

/// golden/sparse.py's net.
fn golden(optimizer: impl Into<Optimizer>) -> (Model<f64>, Dataset, [usize; 5]) {
    let [rows, width, length, batch, outputs] = [23, 3, 4, 3, 2];
    let net = Sequential::new()
        .with(Input::new(&[length]))
        .with(Embedding::new(rows, width).padding_idx(5).sparse())
        .with(Flatten::new())
        .with(Dense::new(length * width, outputs));
    let mut model = net.build::<f64>(0).unwrap();
    model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.0625, ..Sgd::default() }).unwrap();
    model.parameter_group(&["0"], optimizer).unwrap();
    for (stream, info) in model.parameters().into_iter().enumerate() {
        let value = |i: usize| f64::from(signed(hashed(stream as u64, i as u64), 1.0));
        let values = (0..info.shape.iter().product()).map(value).collect();
        model.set_parameter(&info.name, &Tensor::from_vec(&info.shape, values).unwrap()).unwrap();
    }
    let token = |i| (hashed(3, i) % rows as u64) as f64;
    let data = dataset((0..(30 * batch * length) as u64).map(token).collect(), length, outputs);
    (model, data, [rows, width, length, batch, outputs])
}

#[test]
fn values_are_those_of_pytorch() {
    let mut seen = 0;
    for line in include_str!("golden/sparse.csv").lines().filter(|line| !line.starts_with('#')) {
        let (name, values) = line.split_once(',').unwrap();
        let optimizer: Optimizer = match name {
            "sgd" => Sgd { learning_rate: 0.25, ..Sgd::default() }.into(),
            "adagrad" => Adagrad {
                learning_rate: 0.25,
                learning_rate_decay: 0.03125,
                initial_accumulator: 0.125,
                epsilon: 1e-16,
                ..Adagrad::default()
            }
            .into(),
            "sparse_adam" => small_adam().into(),
            _ => panic!("no optimiser {name}"),
        };
        let (mut model, data, [_, _, _, batch, _]) = golden(optimizer);
        for step in 0..30 {
            let indices: Vec<usize> = (step * batch..(step + 1) * batch).collect();
            model.step(&data, &indices).unwrap();
        }
        let table = model.parameter("0.weight").unwrap();
        for (i, (found, expected)) in table.as_slice().iter().zip(values.split(',')).enumerate() {
            let expected: f64 = expected.parse().unwrap();
            assert!((found - expected).abs() <= 1e-12, "{name}[{i}]: {found}, not {expected}");
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

/// An epsilon as in golden/sparse.py: PyTorch's SparseAdam adds it elsewhere.
fn small_adam() -> Adam {
    Adam { learning_rate: 0.03125, beta1: 0.75, beta2: 0.9375, epsilon: 1e-16, ..Adam::default() }
}

/// The lazy rule, number by number.
#[test]
fn adam_is_lazy() {
    let options = Adam { epsilon: 1e-8, ..small_adam() };
    let (mut model, data, [rows, width, length, batch, _]) = golden(options);
    let mut p = model.parameter("0.weight").unwrap().into_vec();
    let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
    let (mut bias1, mut bias2) = (1.0, 1.0);
    for step in 0..30 {
        let indices: Vec<usize> = (step * batch..(step + 1) * batch).collect();
        model.step(&data, &indices).unwrap();
        let gradient = model.gradient("0.weight").unwrap();
        // The number of the step counts, not how often the row was there.
        (bias1, bias2) = (bias1 * options.beta1, bias2 * options.beta2);
        let tokens = |i: usize| (hashed(3, (step * batch * length + i) as u64) % rows as u64) as usize;
        let mut hit = vec![false; rows];
        (0..batch * length).map(tokens).filter(|&row| row != 5).for_each(|row| hit[row] = true);
        for i in 0..p.len() {
            let g = gradient.as_slice()[i];
            if !hit[i / width] {
                assert_eq!(g, 0.0);
                continue;
            }
            m[i] = options.beta1 * m[i] + (1.0 - options.beta1) * g;
            v[i] = options.beta2 * v[i] + (1.0 - options.beta2) * g * g;
            let (m, v): (f64, f64) = (m[i] / (1.0 - bias1), v[i] / (1.0 - bias2));
            p[i] -= options.learning_rate * m / (v.sqrt() + options.epsilon);
        }
    }
    let found = [
        model.parameter("0.weight"),
        model.optimizer_state("0.weight", 0),
        model.optimizer_state("0.weight", 1),
    ];
    for (found, expected) in found.into_iter().zip([p, m, v]) {
        for (found, expected) in found.unwrap().as_slice().iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-13, "{found}, not {expected}");
        }
    }
}

/// Padding is no row of the batch: without an epsilon a gradient of zero would make NaN of it, as it does of a dense one.
#[test]
fn padding_is_not_touched() {
    let (data, adam) = (data::<f32>(), Adam { epsilon: 0.0, ..Adam::default() });
    let mut model = model::<f32>(true, context(1), adam.into());
    let names = ["0.branches.0.0.weight", "0.branches.1.0.weight"];
    let before = names.map(|name| model.parameter(name).unwrap());
    model.set_trainable(&["1", "3"], false).unwrap();
    model.step(&data, &[8, 8]).unwrap();
    assert_eq!(before, names.map(|name| model.parameter(name).unwrap()));
    model.step(&data, &[0, 8, 1]).unwrap();
    for (name, width) in names.into_iter().zip(WIDTHS) {
        assert!(
            model.parameter(name).unwrap().as_slice()[PADDING * width..][..width].iter().all(|&x| x == 0.0)
        );
    }
}

#[test]
fn gradients_are_those_of_differences() {
    let net = Sequential::new()
        .with(Input::new(&[3]))
        .with(Embedding::new(9, 4).sparse())
        .with(Flatten::new())
        .with(Dense::new(12, 2));
    let mut model = net.build::<f64>(1).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    let data = dataset(vec![1.0, 8.0, 1.0, 0.0, 3.0, 3.0], 3, 2);
    assert!(model.gradient_error(&data, &[0, 1]).unwrap() < 1e-7);
}

#[test]
fn what_moves_all_rows_is_refused() {
    let data = data::<f32>();
    let l1 = Sgd { l1: 0.5, ..Sgd::default() };
    let decoupled =
        Sgd { weight_decay: 0.25, decoupled_weight_decay: true, learning_rate: 0.0, ..Sgd::default() };
    let optimizers: [Optimizer; 4] = [
        AdamW::default().into(),
        l1.into(),
        decoupled.into(),
        Lion { weight_decay: 0.1, ..Lion::default() }.into(),
    ];
    for (optimizer, got) in optimizers.into_iter().zip(["0.01", "l1 0.5", "0.25", "0.1"]) {
        let mut model = model::<f32>(true, context(1), optimizer);
        let before: Vec<_> = model.parameters().iter().map(|p| model.parameter(&p.name).unwrap()).collect();
        let refused = |error: Error| {
            let text = error.to_string();
            let parts = ["0.branches.0.0 (Embedding 700 x 33)", "sparse", got, "group, 0"];
            assert!(matches!(error, Error::Layer { .. }), "{text}");
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        };
        refused(model.step(&data, &[0]).unwrap_err());
        refused(model.fit(&data, Fit::new()).unwrap_err());
        model.accumulate(&data, &[0], 1.0).unwrap();
        refused(model.apply().unwrap_err());
        let after = model.parameters().iter().map(|p| model.parameter(&p.name).unwrap()).collect::<Vec<_>>();
        assert_eq!((before, model.steps()), (after, 0));
        // Others may have it, and a table that is not trained.
        model.parameter_group(&["0.branches.0.0", "0.branches.1.0.weight"], Adam::default()).unwrap();
        model.step(&data, &[0]).unwrap();
        model.compile(Loss::CrossEntropy, optimizer).unwrap();
        model.set_trainable(&["0.branches.0", "0.branches.1"], false).unwrap();
        model.step(&data, &[0]).unwrap();
    }
    let mut model = model::<f32>(true, context(1), Sgd::default().into());
    let error = model.set_constraint(&["1", "0"], Constraint::MaxNorm(2.0)).unwrap_err().to_string();
    assert!(error.contains("Embedding 700 x 33") && error.contains("MaxNorm(2.0)"), "{error}");
    assert_eq!(model.constraint("1.weight").unwrap(), None);
    model.set_constraint(&["1"], Constraint::MaxNorm(2.0)).unwrap();
    model.set_constraint(&["0"], None).unwrap();
}

/// A number that is no row, a gradient that is not finite: nothing has changed, and the next step is what it would have been.
#[test]
fn steps_that_fail_change_nothing() {
    let data = data::<f32>();
    let mut tokens: Vec<f32> = (0..3 * LENGTH).map(|i| i as f32).collect();
    tokens[LENGTH + 2] = ROWS[1] as f32;
    let bad = dataset(tokens, LENGTH, 3);
    let mut models = [true, false].map(|sparse| model::<f32>(sparse, context(2), Adagrad::default().into()));
    for model in &mut models {
        model.check_gradients(true);
        step_all(model, &data);
        let before = bits(model, 1);
        let error = model.step(&bad, &[0, 1, 2]).unwrap_err().to_string();
        assert!(error.contains("whole numbers from 0 to 399, got 400"), "{error}");
        assert!(bits(model, 1) == before);
        model.accumulate(&data, &[1], 0.5).unwrap();
        model.accumulate(&bad, &[1], 0.5).unwrap_err();
        model.accumulate(&data, &[2], 0.5).unwrap();
        model.apply().unwrap();
        assert!(before != bits(model, 1));
    }
    assert!(bits(&models[0], 1) == bits(&models[1], 1));
    // Gradients that overflow: their place is that in the table.
    let errors = models.each_mut().map(|model| {
        let large = Tensor::from_vec(&[3, 24], vec![1e3; 3 * 24]).unwrap();
        model.set_parameter("3.weight", &large).unwrap();
        let y = model.forward(&data, &[0, 1]).unwrap();
        let d = Tensor::from_vec(y.shape(), vec![1e38; y.as_slice().len()]).unwrap();
        let before = model.parameter("0.branches.0.0.weight").unwrap();
        let error = model.backward(&d).unwrap_err();
        assert_eq!(before, model.parameter("0.branches.0.0.weight").unwrap());
        let y = model.forward(&data, &[3]).unwrap();
        model.backward(&Tensor::zeros(y.shape()).unwrap()).unwrap();
        assert!(model.gradient("0.branches.0.0.weight").unwrap().as_slice().iter().all(|&g| g == 0.0));
        format!("{error:?}")
    });
    assert!(errors[0].contains("NonFinite") && errors[0].contains("0.branches.0.0.weight"), "{errors:?}");
    assert_eq!(errors[0], errors[1]);
}

/// y = x; its gradient panics when asked to.
#[derive(Debug)]
struct Fragile;

static PANICS: AtomicBool = AtomicBool::new(false);

impl<T: Element> RowFunction<T> for Fragile {
    fn forward(&self, _: &Context, _: &[T], x: &[T], y: &mut [T]) {
        y.copy_from_slice(x);
    }
    fn backward(&self, _: &Context, _: &[T], _: &[T], _: &[T], d_y: &[T], d_x: &mut [T]) {
        d_x.copy_from_slice(d_y);
    }
    fn gradient(&self, _: &Context, _: &[T], _: &[T], _: &[T], _: &[T], _: &mut [T]) {
        assert!(!PANICS.load(Ordering::Relaxed), "as asked");
    }
}

impl Layer for Fragile {
    fn describe(&self) -> String {
        "fragile".to_owned()
    }
    fn inputs(&self) -> Option<usize> {
        None
    }
    fn lower(&self, builder: &mut Builder, input: Value) -> gemmule::Result<Value> {
        let parameter = builder.vector("unused", 1, (1, 1), Init::Constant(0.0))?;
        let width = builder.width(input);
        builder.custom(input, width, Fragile, Some(parameter))
    }
}

/// A panic between what is cleared and what is not leaves no gradient behind.
#[test]
fn a_panic_leaves_no_row_behind() {
    let found = [true, false].map(|sparse| {
        let table = Embedding::new(90, 5);
        let net = Sequential::new()
            .with(Input::new(&[2]))
            .with(if sparse { table.sparse() } else { table })
            .with(Flatten::new())
            .with(Fragile)
            .with(Dense::new(10, 2));
        let mut model = net.build_with::<f32>(context(1), 2).unwrap();
        model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.1, ..Sgd::default() }).unwrap();
        let data = dataset((0..80).map(|i| i as f32).collect(), 2, 2);
        model.step(&data, &[0, 1, 2]).unwrap();
        for batch in [[3, 4], [0, 5]] {
            PANICS.store(true, Ordering::Relaxed);
            assert!(catch_unwind(AssertUnwindSafe(|| model.step(&data, &batch))).is_err());
            PANICS.store(false, Ordering::Relaxed);
        }
        model.step(&data, &[6, 7]).unwrap();
        let bits = bits(&model, 0);
        model.accumulate(&data, &[8], 1.0).unwrap();
        model.apply().unwrap();
        (bits, self::bits(&model, 0))
    });
    assert!(found[0] == found[1]);
}

#[test]
fn it_is_saved_and_explained() {
    let data = data::<f32>();
    let mut model = model::<f32>(true, context(1), Adam::default().into());
    step_all(&mut model, &data);
    // A state goes on to the bit.
    let state = model.state().unwrap();
    let mut loaded = Model::<f32>::from_bytes(&model.to_bytes().unwrap()).unwrap();
    loaded.restore(&state).unwrap();
    step_all(&mut model, &data);
    step_all(&mut loaded, &data);
    assert!(bits(&model, 2) == bits(&loaded, 2));
    for model in [&mut model, &mut loaded] {
        let plan = model.explain(12, TargetKind::Classes(3)).unwrap();
        assert!(plan.contains("sparse: at most 60 of 700 rows, 7920 of 92400 bytes"), "{plan}");
        model.check_gradients(true);
        let plan = model.explain(12, TargetKind::Classes(3)).unwrap();
        assert!(plan.contains("update of the rows that were touched"), "{plan}");
    }
    // The option is there only if it is on, so that older files say the same.
    let layers = Layers::new();
    let spec = Embedding::new(7, 2).spec().unwrap();
    assert!(spec.get("sparse").is_none());
    assert!(layers.make(&spec).unwrap().spec().unwrap() == spec);
    let spec = Embedding::new(7, 2).padding_idx(1).sparse().spec().unwrap();
    assert_eq!(spec.get("sparse"), Some(&OptionValue::Flag(true)));
    assert!(layers.make(&spec).unwrap().spec().unwrap() == spec);
}

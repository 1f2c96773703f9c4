//! What users hand in may lie, panic or make no sense: a source whose answers change, a layer that lowers to nonsense,
//! numbers that overflow on the way. The answer is an error that names it, or the user's own panic; the model and the
//! pool stay usable.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Builder, Dense, Init, Layer, Loss, Model, ParameterId, Sequential, Value};
use gemmule::optim::{Adam, Optimizer, Sgd};
use gemmule::train::{Control, Event, Fit};
use gemmule::{BatchSource, Context, Error, Parallelism, Result, TargetKind, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The error's text contains all the parts.
#[track_caller]
fn names<R: std::fmt::Debug>(result: Result<R, Error>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

const FEATURES: usize = 40;

/// A source that does as it is told, but for one thing.
struct Source {
    len: fn(usize) -> usize,
    features: fn(usize) -> usize,
    /// How often it was asked for either.
    asked: AtomicUsize,
    target_kind: fn(usize) -> TargetKind,
    /// NaN or infinity in the features or targets of sample 77, or a panic.
    feature: fn(usize) -> f32,
    target: fn(usize) -> f32,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            len: |_| 256,
            features: |_| FEATURES,
            asked: AtomicUsize::new(0),
            target_kind: |_| TargetKind::Values(8),
            feature: |sample| (sample % 13) as f32 / 13.0,
            target: |sample| (sample % 5) as f32 / 5.0,
        }
    }
}

impl Source {
    fn asked(&self) -> usize {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }
}

impl BatchSource<f32> for Source {
    fn len(&self) -> usize {
        (self.len)(self.asked())
    }
    fn features(&self) -> usize {
        (self.features)(self.asked())
    }
    fn target_kind(&self) -> Option<TargetKind> {
        Some((self.target_kind)(self.asked()))
    }
    fn gather_features(&self, _: &Context, indices: &[usize], out: &mut [f32]) {
        for (row, &index) in out.chunks_exact_mut(FEATURES).zip(indices) {
            row.fill((self.feature)(index));
        }
    }
    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        for (out, &index) in out.iter_mut().zip(indices) {
            *out = (index % 2) as u32;
        }
    }
    fn gather_values(&self, _: &Context, indices: &[usize], out: &mut [f32]) {
        for (row, &index) in out.chunks_exact_mut(8).zip(indices) {
            row.fill((self.target)(index));
        }
    }
}

fn build(optimizer: impl Into<Optimizer>, loss: Loss) -> Model<f32> {
    let net =
        Sequential::new().with(Dense::new(FEATURES, 200)).with(Activation::Tanh).with(Dense::new(200, 8));
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Max(3));
    let mut model = net.build_with(context, 0).unwrap();
    model.compile(loss, optimizer).unwrap();
    model
}

fn weights(model: &Model<f32>) -> Vec<Tensor<f32>> {
    model.parameters().iter().map(|info| model.parameter(&info.name).unwrap()).collect()
}

const ALL: std::ops::Range<usize> = 0..256;

#[test]
fn a_source_that_changes_its_answers() {
    let lens: [fn(usize) -> usize; 5] = [
        |asked| if asked == 0 { 3 } else { 256 },
        |asked| if asked % 2 == 0 { 256 } else { 3 },
        |asked| 256_usize.saturating_sub(asked),
        |asked| if asked < 4 { 600 } else { 0 },
        |asked| 1 << (asked % 12),
    ];
    let features: [fn(usize) -> usize; 2] =
        [|asked| if asked < 3 { FEATURES } else { 0 }, |asked| if asked % 2 == 0 { FEATURES } else { 1 }];
    let kinds: [fn(usize) -> TargetKind; 2] = [
        |asked| if asked % 2 == 0 { TargetKind::Values(8) } else { TargetKind::Classes(2) },
        |asked| if asked % 3 == 0 { TargetKind::Values(8) } else { TargetKind::Classes(usize::MAX) },
    ];
    // Whatever comes of it, it is no panic.
    let use_all = |source: &Source| {
        for loss in [Loss::MeanSquaredError, Loss::CrossEntropy] {
            let mut model = build(Adam::default(), loss);
            let all: Vec<usize> = ALL.collect();
            for begin in 0..4 {
                source.asked.store(begin, Ordering::Relaxed);
                let _ = model.step(source, &all);
                let _ = model.gradients(source, &all[..3]);
                let _ = model.fit(source, Fit::new().validation(source));
                let _ = model.evaluate(source);
                let _ = model.predict(source);
                let _ = model.predict_classes(source);
                let _ = model.predict_proba(source);
            }
        }
    };
    for len in lens {
        use_all(&Source { len, ..Source::default() });
    }
    for target_kind in kinds {
        use_all(&Source { target_kind, ..Source::default() });
    }
    for features in features {
        use_all(&Source { features, ..Source::default() });
        // An input that is NaN is named by the model's own count of features.
        use_all(&Source { features, feature: |_| f32::NAN, ..Source::default() });
    }
}

#[test]
fn a_source_without_end() {
    for len in [|_| usize::MAX, |_| isize::MAX as usize] {
        let source = Source { len, ..Source::default() };
        let mut model = build(Adam::default(), Loss::MeanSquaredError);
        names(model.fit(&source, Fit::new()), &["memory"]);
        names(model.evaluate(&source), &["memory"]);
        assert!(model.predict(&source).is_err());
        model.step(&source, &[usize::MAX - 1, 1][1..]).unwrap();
    }
    // The phases of its products would be as many as the batch has chunks.
    let mut wide = Sequential::new().with(Dense::new(100, 1024)).build::<f32>(0).unwrap();
    wide.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    names(wide.explain(1 << 40, TargetKind::Values(1024)), &["memory"]);
    let mut model = build(Adam::default(), Loss::MeanSquaredError);
    for batch in [usize::MAX, isize::MAX as usize / 8, 1 << 50, 1 << 44] {
        let error = model.explain(batch, TargetKind::Values(8)).unwrap_err();
        assert!(matches!(error, Error::Overflow { .. } | Error::OutOfMemory { .. }), "{error}");
    }
}

#[test]
fn targets_that_are_not_finite_update_nothing() {
    let bad: [fn(usize) -> f32; 3] = [
        |sample| if sample == 77 { f32::NAN } else { 0.5 },
        |sample| if sample == 77 { f32::INFINITY } else { 0.5 },
        |sample| if sample == 77 { f32::MAX } else { 0.5 },
    ];
    for target in bad {
        let source = Source { target, ..Source::default() };
        let mut model = build(Sgd::default(), Loss::MeanSquaredError);
        let before = weights(&model);
        let all: Vec<usize> = ALL.collect();
        names(model.step(&source, &all), &["step 1", "loss", "sample 77"]);
        names(model.evaluate(&source), &["loss", "sample 77"]);
        names(model.gradients(&source, &all), &["loss", "sample 77"]);
        assert!(weights(&model) == before && model.steps() == 0);
        model.step(&source, &[1, 2, 3]).unwrap();
    }
    // Each loss is finite, their sum is not.
    let source = Source { target: |_| 1.5e19, ..Source::default() };
    names(build(Sgd::default(), Loss::MeanSquaredError).step(&source, &[1, 2, 3]), &["mean loss", "inf"]);
}

/// A panic in a tile, whoever ran it, is the caller's; the step changed nothing, and the next ones are as ever.
#[test]
fn a_panicking_source_leaves_model_and_pool_usable() {
    let bad: [Source; 2] = [
        Source { feature: |sample| if sample == 77 { panic!("no 77") } else { 0.5 }, ..Source::default() },
        Source { target: |sample| if sample == 77 { panic!("no 77") } else { 0.5 }, ..Source::default() },
    ];
    let all: Vec<usize> = ALL.collect();
    let good = Source::default();
    for bad in bad {
        let mut untouched = build(Adam::default(), Loss::MeanSquaredError);
        let mut model = build(Adam::default(), Loss::MeanSquaredError);
        for round in 0..10 {
            let result = catch_unwind(AssertUnwindSafe(|| match round % 3 {
                0 => model.step(&bad, &all).map(|_| ()),
                1 => model.fit(&bad, Fit::new().shuffle(false).batch_size(256)).map(|_| ()),
                _ => model.evaluate(&bad).map(|_| ()),
            }));
            assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"no 77"));
            model.step(&good, &all).unwrap();
            untouched.step(&good, &all).unwrap();
        }
        assert!(weights(&model) == weights(&untouched) && model.steps() == 10);
    }
}

/// A layer that lowers as the closure says.
struct Lowers<F>(F);

impl<F> std::fmt::Debug for Lowers<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lowers")
    }
}

impl<F: Fn(&mut Builder, Value) -> Result<Value> + Send + Sync> Layer for Lowers<F> {
    fn describe(&self) -> String {
        "custom".to_owned()
    }
    fn inputs(&self) -> Option<usize> {
        Some(4)
    }
    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        (self.0)(builder, input)
    }
}

fn lowers(f: impl Fn(&mut Builder, Value) -> Result<Value> + Send + Sync + 'static) -> Result<Model<f32>> {
    Sequential::new().with(Lowers(f)).build(0)
}

#[test]
fn layers_that_lower_to_nonsense() {
    // The gradient would be that of the second use alone.
    let shared = lowers(|b, x| {
        let w = b.matrix("weight", 4, 4, Init::PyTorch)?;
        let x = b.dense(x, w, None)?;
        b.dense(x, w, None)
    });
    names(shared, &["build", "used twice"]);
    let both = lowers(|b, x| {
        let x = b.softmax(x)?;
        let (w, bias) = (b.matrix("a", 4, 1, Init::PyTorch)?, b.matrix("b", 1, 1, Init::PyTorch)?);
        let x = b.dense(x, w, Some(bias))?;
        b.dense(x, bias, None)
    });
    names(both, &["build", "used twice"]);
    let nothing = lowers(|b, x| {
        let w = b.matrix("weight", 4, 0, Init::PyTorch)?;
        b.dense(x, w, None)
    });
    names(nothing, &["dense weight", "at least one column"]);
    // The model's outputs would be the input, but the loss would see the activation.
    let dropped = lowers(|b, x| b.activation(x, Activation::Relu).map(|_| x));
    names(dropped, &["build", "last operation"]);
    let namesakes = lowers(|b, x| {
        let w = b.matrix("weight", 4, 4, Init::PyTorch)?;
        let bias = b.vector("weight", 4, (4, 4), Init::PyTorch)?;
        b.dense(x, w, Some(bias))
    });
    names(namesakes, &["0.weight", "a name of its own"]);
    let twice = lowers(|b, x| b.softmax(x).and_then(|_| b.softmax(x)));
    names(twice, &["build", "last operation"]);
    // A layer that does nothing is one.
    let idle = Sequential::new().with(Lowers(|_: &mut Builder, x| Ok(x))).build::<f32>(0).unwrap();
    assert_eq!((idle.inputs(), idle.outputs(), idle.parameter_count()), (4, 4, 0));
}

#[test]
fn what_another_model_lowered_to() {
    static KEPT: Mutex<Option<(Value, ParameterId)>> = Mutex::new(None);
    let keep = lowers(|b, x| {
        let x = b.activation(x, Activation::Tanh)?;
        let x = b.activation(x, Activation::Tanh)?;
        let first = b.matrix("first", 4, 4, Init::Zeros)?;
        let x = b.dense(x, first, None)?;
        let w = b.matrix("weight", 4, 4, Init::PyTorch)?;
        let y = b.dense(x, w, None)?;
        *KEPT.lock().unwrap() = Some((y, w));
        Ok(y)
    });
    assert_eq!(keep.unwrap().parameter_count(), 32);
    let (value, weight) = KEPT.lock().unwrap().unwrap();
    names(lowers(move |b, _| b.softmax(value)), &["another model"]);
    names(lowers(move |b, _| b.activation(value, Activation::Tanh)), &["another model"]);
    names(lowers(move |b, x| b.dense(x, weight, None)), &["another model"]);
    names(lowers(move |_, _| Ok(value)), &["another model"]);
    let idle = lowers(|b, x| {
        b.vector("idle", 4, (4, 4), Init::Zeros)?;
        b.softmax(x)
    });
    names(idle, &["0.idle", "parameters that an operation takes"]);
}

#[test]
fn first_weights_that_are_not_finite() {
    for init in [
        Init::Constant(f64::NAN),
        Init::Constant(1e300),
        Init::Uniform { low: 0.0, high: f64::INFINITY },
        Init::Normal { mean: 0.0, std: f64::NAN },
    ] {
        let net = Sequential::new().with(Dense::new(3, 2).bias_init(init));
        names(net.build::<f32>(0), &["parameter", "0.bias", "element 0"]);
    }
    // A fan of nothing: 1 / sqrt(0).
    names(lowers(|b, x| b.vector("v", 4, (0, 0), Init::PyTorch).map(|_| x)), &["parameter", "0.v"]);
}

/// Finite gradients, but a rate under which the weights overflow: found in the step that did it.
#[test]
fn an_update_that_overflows_is_found_in_its_step() {
    let source = Source::default();
    let rates: [Optimizer; 3] = [
        Sgd { learning_rate: 1e39, ..Sgd::default() }.into(),
        Sgd { learning_rate: 1e39, momentum: 0.5, ..Sgd::default() }.into(),
        Adam { learning_rate: 1e39, ..Adam::default() }.into(),
    ];
    for optimizer in rates {
        let mut model = build(optimizer, Loss::MeanSquaredError);
        model.check_gradients(true);
        names(model.step(&source, &[0, 1, 2]), &["step 1", "parameter", "0.weight", "0 (Dense 40 -> 200)"]);
        names(model.step(&source, &[0]), &["unusable since step 1", "0.weight"]);
        names(model.predict(&source), &["unusable"]);
        let fresh = weights(&build(optimizer, Loss::MeanSquaredError));
        for (info, values) in model.parameters().iter().zip(&fresh) {
            model.set_parameter(&info.name, values).unwrap();
        }
        model.set_learning_rate(0.1).unwrap();
        model.step(&source, &[0, 1, 2]).unwrap();
        assert_eq!(model.steps(), 1, "the optimiser began anew");
    }
}

/// Sizes that leave gaps between the parameters: an epsilon of 0 divides 0 by 0 there.
#[test]
fn adam_without_epsilon_and_the_gaps() {
    let net = Sequential::new().with(Dense::new(FEATURES, 3)).with(Activation::Tanh).with(Dense::new(3, 8));
    let mut model: Model<f32> = net.build(0).unwrap();
    model.compile(Loss::MeanSquaredError, Adam { epsilon: 0.0, ..Adam::default() }).unwrap();
    for _ in 0..3 {
        model.step(&Source::default(), &[1, 2, 3]).unwrap();
    }
    assert!(weights(&model).iter().all(|w| w.as_slice().iter().all(|w| w.is_finite())));
}

#[test]
fn results_that_overflow_are_errors() {
    let net = |weight: f64| {
        let init = |value| Init::Constant(value);
        Sequential::new()
            .with(Dense::new(FEATURES, 4).weight_init(init(1e-30)).bias_init(Init::Zeros))
            .with(Dense::new(4, 8).weight_init(init(weight)).bias_init(Init::Zeros))
    };
    // Outputs: 40 features of 1 through 1e-30 and 4 times 1e38 stay small; features of 1e30 do not.
    let source = Source { feature: |s| if s == 77 { 1e37 } else { 1.0 }, ..Source::default() };
    let mut model: Model<f32> = net(1e38).build(0).unwrap();
    names(model.predict(&source), &["output", "1 (Dense 4 -> 8)", "sample 77", "inf"]);
    names(model.predict_classes(&source), &["output", "sample 77"]);
    // Gradients: the loss is finite, what it hands to the first layer is not.
    let source = Source { feature: |_| 1e-9, target: |_| -1e10, ..Source::default() };
    model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    names(model.gradients(&source, &[0, 1]), &["gradient", "0.weight"]);
    model.predict(&source).unwrap();
}

#[test]
fn options_that_contradict_each_other() {
    let nesterov = Sgd { nesterov: true, ..Sgd::default() };
    let mut model = build(Sgd::default(), Loss::MeanSquaredError);
    names(model.compile(Loss::MeanSquaredError, nesterov), &["nesterov", "momentum above 0"]);
    model.compile(Loss::MeanSquaredError, Sgd { momentum: 0.5, ..nesterov }).unwrap();
}

/// A validation set that does not fit is refused before an epoch was spent.
#[test]
fn a_validation_set_that_does_not_fit() {
    let pair = Dataset::from_values(Tensor::from_slice(&[1, 2], &[1.0_f32, 2.0]).unwrap()).unwrap();
    let other = pair.with_values(Tensor::<f32>::zeros(&[1, 8]).unwrap()).unwrap();
    let kind = Source { target_kind: |_| TargetKind::Classes(2), ..Source::default() };
    let empty = Source { len: |_| 0, ..Source::default() };
    let sets: [(&dyn BatchSource<f32>, &str); 3] =
        [(&other, "40 features"), (&kind, "classes"), (&empty, "at least one")];
    for (set, part) in sets {
        let mut model = build(Sgd::default(), Loss::MeanSquaredError);
        names(model.fit(&Source::default(), Fit::new().validation(set)), &[part]);
        assert_eq!(model.steps(), 0, "{part}");
    }
}

#[test]
fn a_stop_before_an_epoch_takes_no_step() {
    let mut model = build(Sgd::default(), Loss::MeanSquaredError);
    let mut stop = |event: &Event<'_>| match event {
        Event::EpochBegin { epoch: 2 } => Control::Stop,
        _ => Control::Continue,
    };
    let fit = Fit::new().epochs(5).batch_size(64).callback(&mut stop);
    let history = model.fit(&Source::default(), fit).unwrap();
    assert_eq!((history.stopped, history.epochs.len(), model.steps()), (true, 1, 4));
}

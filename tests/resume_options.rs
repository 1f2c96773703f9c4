//! Exact resume with every kind of option: element types, optimisers, accumulation, clipping, groups, frozen parameters, a smaller
//! last batch, threads, instruction sets, a host's pool; and what a checkpoint cannot be resumed into.

mod common;
#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Dropout, Loss, Model, Sequential};
use gemmule::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Lion, NAdam, Optimizer, RAdam, RmsProp, Sgd,
};
use gemmule::rng::Rng;
use gemmule::train::{Callback, Checkpoint, Checkpoints, Control, Event, Fit, Run};
use gemmule::{Context, Element, Error, Isa, Parallelism, Result, State, Tensor};
use std::fs;

/// Not a multiple of the batch: the last one of an epoch has 5 samples.
const SAMPLES: usize = 29;
const BATCH: usize = 8;
const STEPS: usize = 4;
const EPOCHS: usize = 2;

fn data() -> Result<Dataset> {
    let mut x = vec![0.0_f32; SAMPLES * 5];
    Rng::new(1).fill_normal(&Context::detect()?, &mut x, 0.0, 1.0)?;
    let y = x.chunks(5).map(|row| u32::from(row[0] > 0.0)).collect();
    Dataset::from_values(Tensor::from_vec(&[SAMPLES, 5], x)?)?.with_classes(y, 2)
}

fn net() -> Sequential {
    Sequential::new()
        .with(Dense::new(5, 12))
        .with(Activation::Tanh)
        .with(Dropout::new(0.3))
        .with(Dense::new(12, 2))
}

fn model<T: Element>(context: Context, optimizer: Optimizer) -> Result<Model<T>> {
    let mut model = net().build_with(context, 7)?;
    model.compile(Loss::CrossEntropy, optimizer)?;
    Ok(model)
}

fn fit<'a, T: Element>(epochs: usize) -> Fit<'a, T> {
    Fit::new().epochs(epochs).batch_size(BATCH).seed(3)
}

fn threads(count: usize) -> Result<Context> {
    Ok(Context::detect()?.with_parallelism(Parallelism::Max(count)))
}

/// Trains in one go, and again from the checkpoint of each step with `build` of its number; all end alike.
fn at_every_step<T: Element>(
    name: &str,
    accumulate: usize,
    build: impl Fn(usize) -> Result<Model<T>>,
) -> Result<()> {
    let (data, folder) = (data()?, Folder::new(&format!("resume-{name}")));
    let mut checkpoints = Checkpoints::new(&folder.0).every_steps(1).keep(100);
    let mut whole = build(0)?;
    whole.fit(&data, fit(EPOCHS).accumulate(accumulate).checkpoints(&mut checkpoints))?;
    let expected = whole.state()?;
    let all = checkpoints.list()?;
    assert_eq!(all.len(), EPOCHS * STEPS.div_ceil(accumulate), "{name}");
    for (step, path) in all.iter().enumerate() {
        let mut resumed = build(step + 1)?;
        resumed.fit(&data, fit(EPOCHS).accumulate(accumulate).resume(Checkpoint::read(path)?))?;
        assert_eq!(resumed.state()?, expected, "{name}: resumed after step {}", step + 1);
    }
    Ok(())
}

#[test]
fn every_optimiser() -> Result<()> {
    let all: [(&str, Optimizer); 14] = [
        ("sgd", Sgd::default().into()),
        ("momentum", Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() }.into()),
        ("adagrad", Adagrad::default().into()),
        ("rmsprop", RmsProp::default().into()),
        ("centered", RmsProp { centered: true, momentum: 0.5, ..RmsProp::default() }.into()),
        ("adadelta", Adadelta::default().into()),
        ("adam", Adam { learning_rate: 0.01, ..Adam::default() }.into()),
        ("amsgrad", AdamW { amsgrad: true, ..AdamW::default() }.into()),
        ("adamw", AdamW::default().into()),
        ("adamax", Adamax::default().into()),
        ("nadam", NAdam::default().into()),
        ("radam", RAdam::default().into()),
        ("lion", Lion::default().into()),
        ("decay", Adam { weight_decay: 0.01, ..Adam::default() }.into()),
    ];
    for (name, optimizer) in all {
        at_every_step::<f32>(name, 1, |step| model(threads(1 + step % 3)?, optimizer))?;
        at_every_step::<f64>(name, 1, |step| model(threads(1 + step % 3)?, optimizer))?;
    }
    Ok(())
}

#[test]
fn accumulated_clipped_grouped_frozen() -> Result<()> {
    for accumulate in [1, 2, 3] {
        at_every_step::<f32>(&format!("accumulated-{accumulate}"), accumulate, |step| {
            let mut model = model(threads(1 + step % 3)?, Adam::default().into())?;
            model.clip_gradients(Clip::Norm(0.2))?;
            Ok(model)
        })?;
    }
    at_every_step::<f64>("groups", 1, |step| {
        let mut model = model(threads(1 + step % 3)?, AdamW::default().into())?;
        model.parameter_group(&["0.bias", "3.bias"], Sgd { momentum: 0.9, ..Sgd::default() })?;
        model.clip_gradients(Clip::Value(0.05))?;
        // Frozen and rates come from the checkpoint, whatever the new model has.
        if step == 0 {
            model.set_trainable(&["0.weight"], false)?;
            model.set_learning_rate(0.02)?;
        }
        Ok(model)
    })
}

/// Every instruction set with fused multiply-add has the same bits: a run may move to another machine.
#[test]
fn another_instruction_set() -> Result<()> {
    let fused: Vec<Context> =
        common::contexts().into_iter().filter(|context| context.isa() != Isa::Portable).collect();
    if fused.is_empty() {
        return at_every_step::<f32>("portable", 1, |_| {
            model(Context::new(Isa::Portable)?, Adam::default().into())
        });
    }
    at_every_step::<f32>("isa", 1, |step| {
        let context = fused[step % fused.len()].with_parallelism(Parallelism::Max(1 + step % 2));
        model(context, Adam::default().into())
    })
}

/// Inside the pool of a host that trains, with more and fewer threads than the run before.
#[cfg(feature = "rayon")]
#[test]
fn in_pools_of_a_host() -> Result<()> {
    let (data, folder) = (data()?, Folder::new("resume-pool"));
    let build = || model::<f32>(Context::detect()?, Adam::default().into());
    let mut whole = build()?;
    whole.fit(&data, fit(6))?;
    let mut last = None;
    for (turn, threads) in [1, 3, 2].into_iter().enumerate() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut checkpoints = Checkpoints::new(&folder.0).every_steps(2);
        let (mut part, from) = (build()?, checkpoints.latest()?);
        pool.install(|| part.fit(&data, fit(2 * (turn + 1)).checkpoints(&mut checkpoints).resume(from)))?;
        last = Some(part);
    }
    assert_eq!(last.expect("three turns").state()?, whole.state()?);
    Ok(())
}

/// A step that spoils the parameters writes no checkpoint, and the model is whole again from the one before.
#[test]
fn a_spoilt_model() -> Result<()> {
    let (data, folder) = (data()?, Folder::new("resume-spoilt"));
    let build = || model::<f32>(threads(1)?, Sgd { momentum: 0.9, ..Sgd::default() }.into());
    let mut checkpoints = Checkpoints::new(&folder.0).every_steps(1);
    let mut steps = 0;
    let mut spoil = gemmule::train::WithRun(|event: &Event<'_>, run: &mut Run<'_, f32>| {
        if let Event::StepEnd { .. } = event {
            steps += 1;
            if steps == 5 {
                run.model().set_learning_rate(f64::from(f32::MAX))?;
            }
        }
        Result::Ok(Control::Continue)
    });
    let mut spoilt = build()?;
    let error =
        spoilt.fit(&data, fit(EPOCHS).callback(&mut spoil).checkpoints(&mut checkpoints)).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. } | Error::Poisoned { .. }), "{error}");
    assert!(matches!(spoilt.state(), Err(Error::Poisoned { .. })));
    // The newest holds the rate that spoilt: the one before is of a run without it.
    let newest = checkpoints.latest()?.expect("some").model();
    assert_eq!(newest.integer("steps")?, 5);
    let list = checkpoints.list()?;
    let mut nothing = |_: &Event<'_>| Control::Continue;
    let before = Checkpoint::read(&list[list.len() - 2])?;
    spoilt.fit(&data, fit(EPOCHS).callback(&mut nothing).resume(before))?;
    let mut whole = build()?;
    whole.fit(&data, fit(EPOCHS))?;
    assert_eq!(spoilt.state()?, whole.state()?);
    Ok(())
}

/// Refuses what it is given.
struct Choosy;

impl Callback<f32> for Choosy {
    fn on_event(&mut self, _: &Event<'_>, _: &mut Run<'_, f32>) -> Result<Control> {
        Ok(Control::Continue)
    }
    fn save(&self) -> State {
        State::new()
    }
    fn load(&mut self, state: &State) -> Result<()> {
        state.integer("patience").map(drop)
    }
}

#[test]
fn what_cannot_be_resumed() -> Result<()> {
    let (data, folder) = (data()?, Folder::new("resume-cannot"));
    let build = || model::<f32>(threads(1)?, Adam::default().into());
    let mut checkpoints = Checkpoints::new(&folder.0);
    build()?.fit(&data, fit(1).callback(&mut Choosy).checkpoints(&mut checkpoints))?;
    let bytes = fs::read(checkpoints.list()?.pop().expect("one")).unwrap();
    // A callback that wants what is not there; the model and the files are as they were.
    let (mut model, before) = (build()?, build()?.state()?);
    let last = checkpoints.latest()?;
    let error = model
        .fit(&data, fit(2).callback(&mut Choosy).checkpoints(&mut checkpoints).resume(last))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "State: patience: expected an integer, got nothing");
    assert_eq!(model.state()?, before);
    assert_eq!(fs::read(checkpoints.list()?.pop().expect("one")).unwrap(), bytes);
    // A model of the other element type.
    let mut other = self::model::<f64>(threads(1)?, Adam::default().into())?;
    let mut nothing = |_: &Event<'_>| Control::Continue;
    let options = fit(2).callback(&mut nothing).resume(checkpoints.latest()?);
    let error = other.fit(&data, options).unwrap_err().to_string();
    assert!(error.contains("training samples") || error.contains("element"), "{error}");
    // Another clipping.
    let mut other = build()?;
    other.clip_gradients(Clip::Norm(1.0))?;
    let options = fit(2).callback(&mut nothing).resume(checkpoints.latest()?);
    let error = other.fit(&data, options).unwrap_err().to_string();
    assert!(error.contains("restore: clip"), "{error}");
    // A model that was not compiled.
    let mut other = net().build::<f32>(0)?;
    let options = fit(1).callback(&mut nothing).resume(checkpoints.latest()?);
    assert!(matches!(other.fit(&data, options), Err(Error::State { .. })));
    Ok(())
}

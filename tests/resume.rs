//! A run that was interrupted and resumed equals one that was not, to the bit.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Dropout, Loss, Model, Sequential};
use gemmule::optim::Adam;
use gemmule::rng::Rng;
use gemmule::train::{
    Callback, Checkpoint, Checkpoints, Control, Event, Fit, History, Monitor, OnError, Run,
};
use gemmule::{BatchSource, Context, Error, Parallelism, Result, State, Tensor};
use std::fmt::Debug;
use std::fs;

const SAMPLES: usize = 60;
const BATCH: usize = 6;
const EPOCHS: usize = 4;
const STEPS: usize = SAMPLES / BATCH;

fn data(seed: u64) -> Result<Dataset> {
    let mut x = vec![0.0_f32; SAMPLES * 5];
    Rng::new(seed).fill_normal(&Context::detect()?, &mut x, 0.0, 1.0)?;
    let classes = x.chunks(5).map(|row| u32::from(row[0] > 0.0) + u32::from(row[1] > 0.5)).collect();
    Dataset::from_values(Tensor::from_vec(&[SAMPLES, 5], x)?)?.with_classes(classes, 3)
}

fn model(threads: usize) -> Result<Model<f32>> {
    let context = Context::detect()?.with_parallelism(Parallelism::Max(threads));
    let net = Sequential::new()
        .with(Dense::new(5, 16))
        .with(Activation::Relu)
        .with(Dropout::new(0.3))
        .with(Dense::new(16, 3));
    let mut model = net.build_with(context, 7)?;
    model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.01, ..Adam::default() })?;
    Ok(model)
}

fn fit<'a>(validation: &'a dyn BatchSource<f32>) -> Fit<'a, f32> {
    Fit::new().epochs(EPOCHS).batch_size(BATCH).seed(3).validation(validation)
}

/// Counts steps, and keeps the count in checkpoints.
#[derive(Default)]
struct Counter(u64);

impl Callback<f32> for Counter {
    fn on_event(&mut self, event: &Event<'_>, _: &mut Run<'_, f32>) -> Result<Control> {
        self.0 += u64::from(matches!(event, Event::StepEnd { .. }));
        Ok(Control::Continue)
    }
    fn save(&self) -> State {
        let mut state = State::new();
        state.set_integer("count", self.0);
        state
    }
    fn load(&mut self, state: &State) -> Result<()> {
        self.0 = state.integer("count")?;
        Ok(())
    }
}

/// All but the times.
fn figures(history: &History) -> Vec<impl PartialEq + Debug> {
    let bits = |value: Option<f64>| value.map(f64::to_bits);
    let of = |log: &gemmule::train::EpochLog| {
        (log.epoch, log.loss.to_bits(), bits(log.accuracy), bits(log.validation_loss), log.samples)
    };
    history.epochs.iter().map(of).collect()
}

/// Parameters, moments, steps.
fn bits(model: &Model<f32>) -> Result<State> {
    model.state()
}

#[test]
fn resumed_at_every_step() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let mut whole = model(1)?;
    let history = whole.fit(&train, fit(&validation).callback(&mut Counter::default()))?;
    let expected = bits(&whole)?;
    let folder = Folder::new("resume-every");
    let mut checkpoints = Checkpoints::new(&folder.0).every_steps(1).keep(1000);
    let mut same = model(2)?;
    let with =
        same.fit(&train, fit(&validation).callback(&mut Counter::default()).checkpoints(&mut checkpoints))?;
    assert_eq!(figures(&with), figures(&history));
    assert_eq!(bits(&same)?, expected, "writing checkpoints changed the run");
    let all = checkpoints.list()?;
    assert_eq!(all.len(), EPOCHS * STEPS);
    for (step, path) in all.iter().enumerate() {
        let mut resumed = model(1 + step % 3)?;
        let mut counter = Counter::default();
        let options = fit(&validation).callback(&mut counter).resume(Checkpoint::read(path)?);
        let history_after = resumed.fit(&train, options)?;
        assert_eq!(bits(&resumed)?, expected, "resumed after step {}", step + 1);
        assert_eq!(figures(&history_after), figures(&history), "resumed after step {}", step + 1);
        assert_eq!(counter.0, (EPOCHS * STEPS) as u64);
    }
    Ok(())
}

/// Stopped within an epoch by a callback, resumed, stopped again, resumed.
#[test]
fn stopped_and_resumed() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let mut whole = model(1)?;
    let history = whole.fit(&train, fit(&validation).callback(&mut Counter::default()))?;
    let folder = Folder::new("resume-stopped");
    for stop_at in [3, 10, 11, 25, usize::MAX] {
        let mut checkpoints = Checkpoints::new(&folder.0);
        let last = checkpoints.latest()?;
        let mut resumed = model(1)?;
        let mut steps = last.as_ref().map_or(0, |last| last.model().integer("steps").unwrap()) as usize;
        let mut stop = |event: &Event<'_>| {
            steps += usize::from(matches!(event, Event::StepEnd { .. }));
            if steps >= stop_at { Control::Stop } else { Control::Continue }
        };
        // As many callbacks as the other run has.
        let options = fit(&validation).callback(&mut stop).checkpoints(&mut checkpoints).resume(last);
        let after = resumed.fit(&train, options)?;
        if stop_at == usize::MAX {
            assert_eq!(figures(&after), figures(&history));
            assert_eq!(bits(&resumed)?, bits(&whole)?);
        } else {
            assert!(after.stopped);
            assert_eq!(resumed.steps(), stop_at as u64);
        }
    }
    Ok(())
}

#[test]
fn more_epochs_go_on() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let mut whole = model(1)?;
    whole.fit(&train, fit(&validation))?;
    let folder = Folder::new("resume-more");
    let mut checkpoints = Checkpoints::new(&folder.0);
    model(1)?.fit(&train, fit(&validation).epochs(2).checkpoints(&mut checkpoints))?;
    let mut more = model(1)?;
    let last = checkpoints.latest()?;
    let history = more.fit(&train, fit(&validation).checkpoints(&mut checkpoints).resume(last))?;
    assert_eq!(history.epochs.len(), EPOCHS);
    assert_eq!(bits(&more)?, bits(&whole)?);
    // A run that has ended is not run again.
    let (last, steps) = (checkpoints.latest()?, more.steps());
    more.fit(&train, fit(&validation).resume(last))?;
    assert_eq!(more.steps(), steps);
    Ok(())
}

#[test]
fn another_run_is_refused() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let folder = Folder::new("resume-refused");
    let mut checkpoints = Checkpoints::new(&folder.0);
    model(1)?.fit(&train, fit(&validation).epochs(1).checkpoints(&mut checkpoints))?;
    let last = || -> Result<Checkpoint> { Ok(checkpoints.latest()?.expect("one was written")) };
    let before = bits(&model(1)?)?;
    let refused = |data: &Dataset, options: Fit<'_, f32>, text: &str| {
        let mut model = model(1).unwrap();
        let error = model.fit(data, options.resume(last().unwrap())).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(bits(&model).unwrap(), before, "{text}");
    };
    refused(&train, fit(&validation).seed(4), "resume: seed: expected 4, got 3");
    refused(&train, fit(&validation).batch_size(5), "resume: batch_size: expected 5, got 6");
    refused(&train, fit(&validation).shuffle(false), "resume: shuffle: expected 0, got 1");
    refused(&validation, fit(&validation), "the training samples");
    refused(&train, fit(&train), "the validation samples");
    refused(&train, Fit::new().epochs(EPOCHS).batch_size(BATCH).seed(3), "data sets: expected 1, got 2");
    refused(&train, fit(&validation).callback(&mut Counter::default()), "callbacks: expected 1, got 0");

    // Other layers, another optimiser, another loss.
    let mut other = Sequential::new().with(Dense::new(5, 3)).build::<f32>(0)?;
    other.compile(Loss::CrossEntropy, Adam::default())?;
    let error = other.fit(&train, fit(&validation).resume(last()?)).unwrap_err();
    assert!(matches!(error, Error::Data { .. }), "{error}");
    let mut other = model(1)?;
    other.compile(Loss::CrossEntropy, gemmule::optim::Sgd::default())?;
    let error = other.fit(&train, fit(&validation).resume(last()?)).unwrap_err().to_string();
    assert!(error.contains("the optimiser of group 0"), "{error}");

    // A folder with another run's checkpoints is not written over.
    let error = model(1)?.fit(&train, fit(&validation).checkpoints(&mut checkpoints)).unwrap_err();
    assert!(error.to_string().contains("another run"), "{error}");
    Ok(())
}

#[test]
fn the_last_few_are_kept_and_the_best() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let folder = Folder::new("resume-kept");
    let mut checkpoints =
        Checkpoints::new(&folder.0).every_steps(4).keep(2).best(Monitor::new("validation_loss"));
    let history = model(1)?.fit(&train, fit(&validation).checkpoints(&mut checkpoints))?;
    let names: Vec<_> = checkpoints.list()?.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["checkpoint-000000000036.gemmule", "checkpoint-000000000040.gemmule"]);
    let losses: Vec<f64> = history.epochs.iter().filter_map(|log| log.validation_loss).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let epoch = losses.iter().position(|&loss| loss == best).unwrap() + 1;
    let kept = checkpoints.read_best()?.expect("some epoch was the best");
    assert_eq!(kept.model().integer("steps")?, (epoch * STEPS) as u64);
    Ok(())
}

/// Every file that cannot be written: the run stops or goes on, as it was told.
#[test]
fn what_cannot_be_written() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let folder = Folder::new("resume-unwritable");
    fs::create_dir_all(&folder.0).unwrap();
    let mut checkpoints = Checkpoints::new(&folder.0).on_error(OnError::Continue);
    let mut failures = 0;
    let mut watch = |event: &Event<'_>| {
        failures += usize::from(matches!(event, Event::CheckpointFailed(Error::Io { .. })));
        Control::Continue
    };
    // A folder stands where the file of step 10 is to be.
    let mut block = |event: &Event<'_>| {
        if matches!(event, Event::EpochBegin { epoch: 1 }) {
            fs::create_dir(folder.0.join("checkpoint-000000000010.gemmule")).unwrap();
        }
        Control::Continue
    };
    let mut run = model(1)?;
    let options = fit(&validation).callback(&mut block).callback(&mut watch).checkpoints(&mut checkpoints);
    let history = run.fit(&train, options)?;
    assert_eq!((history.epochs.len(), failures), (EPOCHS, 1));
    // The next ones were written.
    assert_eq!(checkpoints.latest()?.expect("three were").model().integer("steps")?, (EPOCHS * STEPS) as u64);
    // The same, and the run is to stop.
    fs::remove_dir_all(&folder.0).unwrap();
    let mut checkpoints = Checkpoints::new(&folder.0);
    let error = model(1)?
        .fit(&train, fit(&validation).callback(&mut block).checkpoints(&mut checkpoints))
        .unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.ends_with("checkpoint-000000000010.gemmule")),
        "{error}"
    );
    Ok(())
}

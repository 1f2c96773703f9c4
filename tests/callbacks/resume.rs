//! A run with all that remembers something, interrupted after any step and resumed, equals one that was not.

use crate::{model, points, weights};
use gemmule::nn::Model;
use gemmule::optim::Adam;
use gemmule::optim::schedule::{OneCycleLr, ReduceLrOnPlateau, Schedule, SequentialLr, Warmup};
use gemmule::train::{Checkpoint, Checkpoints, EarlyStopping, ExponentialMovingAverage, Fit, History};
use gemmule::{Error, Result};
use std::path::Path;

const EPOCHS: usize = 9;

fn fresh(threads: usize) -> Result<Model<f32>> {
    model(Adam { learning_rate: 0.05, ..Adam::default() }, threads)
}

/// A cycle with momentum, then a plateau.
fn schedule() -> impl Schedule {
    let plateau =
        ReduceLrOnPlateau { patience: 0, factor: 0.5, threshold: 0.2, ..ReduceLrOnPlateau::default() };
    Warmup::new(3, SequentialLr::starting_with(OneCycleLr::new(0.1, 12)).then(12, plateau))
}

/// A run, with checkpoints after every step in `dir` or resumed from one.
fn run(
    model: &mut Model<f32>,
    patience: u64,
    dir: Option<&Path>,
    resume: Option<Checkpoint>,
) -> Result<(History, EarlyStopping)> {
    let (train, validation) = (points(1)?, points(2)?);
    let mut stopping = EarlyStopping::default().patience(patience).min_delta(0.01).restore_best_weights(true);
    let mut average = ExponentialMovingAverage::new(0.7).warm_up(true).every(2);
    let mut checkpoints = dir.map(|dir| Checkpoints::new(dir).every_steps(1).keep(1000));
    let options =
        Fit::new().epochs(EPOCHS).batch_size(8).seed(3).validation(&validation).schedule(schedule());
    let options = options.callback(&mut average).callback(&mut stopping).resume(resume);
    let options = match &mut checkpoints {
        Some(checkpoints) => options.checkpoints(checkpoints),
        None => options,
    };
    let history = model.fit(&train, options)?;
    Ok((history, stopping))
}

fn figures(history: &History) -> Vec<[u64; 3]> {
    let of = |log: &gemmule::train::EpochLog| {
        [log.loss, log.validation_loss.unwrap(), log.learning_rate].map(f64::to_bits)
    };
    history.epochs.iter().map(of).collect()
}

#[test]
fn after_every_step() -> Result<()> {
    let dir = std::env::temp_dir().join(format!("gemmule-callbacks-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let mut whole = fresh(1)?;
    let (history, stopping) = run(&mut whole, 3, Some(&dir), None)?;
    let rates: Vec<_> = history.epochs.iter().map(|log| log.learning_rate).collect();
    assert!(rates.windows(2).any(|pair| pair[1] == 0.5 * pair[0]), "the plateau is reached: {rates:?}");
    let last = history.epochs.len();
    assert!(stopping.best_epoch().unwrap() < last, "the best weights are not the last");
    assert_eq!(whole.learning_rate(), Some(0.05), "the model's own rate is back");
    let all = Checkpoints::new(&dir).list()?;
    assert_eq!(all.len(), 5 * last);
    for (step, path) in all.iter().enumerate() {
        let mut resumed = fresh(1 + step % 2)?;
        let (after, again) = run(&mut resumed, 3, None, Some(Checkpoint::read(path)?))?;
        assert_eq!(figures(&after), figures(&history), "resumed after step {}", step + 1);
        assert_eq!(weights(&resumed), weights(&whole), "resumed after step {}", step + 1);
        assert_eq!(again.best_epoch(), stopping.best_epoch());
        assert_eq!(again.stopped_epoch(), stopping.stopped_epoch());
        assert_eq!(resumed.learning_rate(), Some(0.05));
    }
    assert_eq!(stopping.stopped_epoch(), Some(last), "early stopping ended it");
    // With more patience a run that was stopped goes on.
    let (after, _) = run(&mut fresh(1)?, 5, None, Some(Checkpoint::read(&all[5 * last - 1])?))?;
    assert_eq!(after.epochs.len(), EPOCHS);
    // A run without a schedule is another one.
    let (train, validation) = (points(1)?, points(2)?);
    let (mut stopping, mut average) = (EarlyStopping::default(), ExponentialMovingAverage::default());
    let options = Fit::new().epochs(EPOCHS).batch_size(8).seed(3).validation(&validation);
    let options = options.callback(&mut average).callback(&mut stopping).resume(Checkpoint::read(&all[3])?);
    let error = fresh(1)?.fit(&train, options).unwrap_err();
    assert!(matches!(&error, Error::Data { what, .. } if what == "schedules"), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
    Ok(())
}

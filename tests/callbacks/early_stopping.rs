//! Early stopping, on figures that the test gives.

use crate::golden;
use gemmule::data::Dataset;
use gemmule::nn::{Dense, Init, Loss, Model, Sequential};
use gemmule::optim::Sgd;
use gemmule::train::{Callback, Control, EarlyStopping, Event, Fit, History, Monitor, Run};
use gemmule::{BatchSource, Context, Error, Result, State, TargetKind, Tensor};
use std::sync::atomic::{AtomicU64, Ordering};

/// One sample whose loss, as the square of its target, is what the test says.
#[derive(Default)]
struct Figure(AtomicU64);

impl BatchSource<f64> for Figure {
    fn len(&self) -> usize {
        1
    }
    fn features(&self) -> usize {
        1
    }
    fn target_kind(&self) -> Option<TargetKind> {
        Some(TargetKind::Values(1))
    }
    fn gather_features(&self, _: &Context, _: &[usize], out: &mut [f64]) {
        out[0] = 0.0;
    }
    fn gather_classes(&self, _: &[usize], _: &mut [u32]) {}
    fn gather_values(&self, _: &Context, _: &[usize], out: &mut [f64]) {
        out[0] = f64::from_bits(self.0.load(Ordering::Relaxed)).sqrt();
    }
}

/// Gives the figures; makes each epoch's weight its number; keeps what early stopping waited.
struct Watch<'a> {
    stopping: EarlyStopping,
    figures: &'a Figure,
    of: &'a dyn Fn(usize) -> f64,
    waits: Vec<u64>,
}

impl Callback<f64> for Watch<'_> {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, f64>) -> Result<Control> {
        if let Event::EpochBegin { epoch } = event {
            self.figures.0.store((self.of)(*epoch).to_bits(), Ordering::Relaxed);
            run.model().set_parameter("0.weight", &Tensor::from_slice(&[1, 1], &[*epoch as f64])?)?;
        }
        let control = self.stopping.on_event(event, run);
        if matches!(event, Event::EpochEnd(_)) {
            self.waits.push(Callback::<f64>::save(&self.stopping).integer("wait")?);
        }
        control
    }
}

fn model() -> Result<Model<f64>> {
    let net = Sequential::new().with(Dense::new(1, 1).without_bias().weight_init(Init::Zeros));
    let mut model = net.build(0)?;
    model.compile(Loss::MeanSquaredError, Sgd::default())?;
    Ok(model)
}

/// The model's weight after a run, with its history.
fn run(
    stopping: EarlyStopping,
    of: &dyn Fn(usize) -> f64,
    epochs: usize,
) -> Result<(f64, History, EarlyStopping, Vec<u64>)> {
    let (figures, mut model) = (Figure::default(), model()?);
    let zero = Tensor::from_slice(&[1, 1], &[0.0])?;
    let train = Dataset::from_values(zero.clone())?.with_values(zero)?;
    let mut watch = Watch { stopping, figures: &figures, of, waits: Vec::new() };
    let options = Fit::new().epochs(epochs).validation(&figures).callback(&mut watch);
    let history = model.fit(&train, options)?;
    let weight = model.parameter("0.weight")?.as_slice()[0];
    Ok((weight, history, watch.stopping, watch.waits))
}

/// `figure` of `golden/callbacks.py`.
fn figure(kind: &str, epoch: usize) -> f64 {
    let (wave, e) = ((epoch * 37 % 11) as f64 / 1024.0, epoch as f64);
    match kind {
        "falls" => 1.0 - e / 64.0 + wave,
        "turns" => (e - 12.25).abs() / 16.0 + wave,
        "rests" => (if epoch < 6 { 1.0 } else { 0.25 }) + wave,
        _ => e / 32.0 + wave,
    }
}

#[test]
fn it_stops_and_restores_as_keras() -> Result<()> {
    let lines = golden("stopping");
    assert_eq!(lines.len(), 4 * 9);
    for line in lines {
        let (kind, options) = line[1].split_once('_').unwrap();
        let (min, max) = (Monitor::new("validation_loss"), Monitor::maximize("validation_loss"));
        let monitor = if options.starts_with("max") { max } else { min };
        let stopping = EarlyStopping::new(monitor);
        let stopping = match options {
            "default" => EarlyStopping::default(),
            "patience" => stopping.patience(3),
            "restore" => stopping.patience(4).restore_best_weights(true),
            "delta" => stopping.patience(2).min_delta(0.03),
            "baseline" => stopping.patience(5).baseline(0.4).restore_best_weights(true),
            "unreached" => stopping.patience(4).baseline(-5.0).restore_best_weights(true),
            "late" => stopping.patience(2).start_from_epoch(8).restore_best_weights(true),
            "max" => stopping.patience(3).restore_best_weights(true),
            "max_delta" => stopping.patience(2).min_delta(0.02),
            other => panic!("{other}"),
        };
        let (weight, history, stopping, waits) = run(stopping, &|epoch| figure(kind, epoch), 25)?;
        let expected: Vec<usize> = line[2..].iter().map(|field| field.parse().unwrap()).collect();
        let stopped = stopping.stopped_epoch().unwrap_or(0);
        assert_eq!([stopped, stopping.best_epoch().unwrap(), weight as usize], expected[..3], "{}", line[1]);
        assert!(waits.iter().zip(&expected[3..]).all(|(a, b)| *a as usize == *b), "{}: {waits:?}", line[1]);
        assert_eq!((history.stopped, history.epochs.len()), (stopped > 0, waits.len()));
        assert_eq!(waits.len(), expected.len() - 3);
    }
    Ok(())
}

/// The best of a run that nobody stops, and of another run with the same callback.
#[test]
fn each_run_begins_anew() -> Result<()> {
    let stopping = EarlyStopping::default().patience(100).restore_best_weights(true);
    let (weight, history, stopping, _) = run(stopping, &|epoch| figure("turns", epoch), 20)?;
    assert_eq!((weight, history.stopped, stopping.best_epoch()), (12.0, false, Some(12)));
    assert!((stopping.best().unwrap() - figure("turns", 12)).abs() < 1e-12);
    // The figures of this one are all worse.
    let (weight, _, stopping, _) = run(stopping, &|epoch| 10.0 + figure("turns", epoch), 11)?;
    assert_eq!((weight, stopping.best_epoch()), (11.0, Some(11)));
    Ok(())
}

#[test]
fn what_it_cannot_use_is_named() -> Result<()> {
    let refused = |stopping| run(stopping, &|_| 1.0, 3).map(|_| ()).unwrap_err().to_string();
    for x in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(
            refused(EarlyStopping::default().min_delta(x)).starts_with("EarlyStopping: min_delta: expected")
        );
    }
    assert!(
        refused(EarlyStopping::default().baseline(f64::NAN)).starts_with("EarlyStopping: baseline: expected")
    );
    let unknown = refused(EarlyStopping::new("f1"));
    assert_eq!(
        unknown,
        "fit: the figure for early stopping: expected one of loss, validation_loss, learning_rate, got f1"
    );
    let mut stopping = EarlyStopping::default();
    let error = Callback::<f64>::load(&mut stopping, &State::new()).unwrap_err();
    assert!(matches!(error, Error::Data { .. }), "{error}");
    Ok(())
}

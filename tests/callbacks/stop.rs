//! What ends a run: a NaN, a time budget.

use crate::{model, points, weights};
use gemmule::data::Dataset;
use gemmule::optim::{Adam, Sgd};
use gemmule::train::{Control, EarlyStopping, Event, Fit, Run, StopOnNan, TimeBudget, WithRun};
use gemmule::{BatchSource, Context, Error, Result, TargetKind, Tensor};
use std::cell::Cell;
use std::time::Duration;

/// A rate that soon leads to infinity.
fn wild() -> Sgd {
    Sgd { learning_rate: 3e38, ..Sgd::default() }
}

fn fit<'a>(validation: &'a Dataset) -> Fit<'a, f32> {
    Fit::new().epochs(50).batch_size(8).validation(validation)
}

#[test]
fn a_nan_ends_a_run_with_a_report() -> Result<()> {
    let (train, validation) = (points(1)?, points(2)?);
    let error = model(wild(), 1)?.fit(&train, fit(&validation)).unwrap_err();
    let Error::NonFinite { what, place, step, index, value } = error else { panic!("{error}") };
    let (mut nan, mut stopping, mut ends) =
        (StopOnNan::new(), EarlyStopping::default().restore_best_weights(true), 0);
    let mut watch = |event: &Event<'_>| {
        ends += usize::from(matches!(event, Event::TrainEnd(_)));
        Control::Continue
    };
    let mut model = model(wild(), 1)?;
    // It is not patience that ends it.
    stopping = stopping.patience(1000);
    let history = model
        .fit(&train, fit(&validation).callback(&mut nan).callback(&mut stopping).callback(&mut watch))?;
    assert!(history.stopped);
    assert_eq!(ends, 1);
    let report = nan.report().unwrap();
    assert_eq!((report.what, &report.place, report.step, report.index), (what, &place, step, index));
    assert_eq!((report.value.to_bits(), report.spoilt), (value.to_bits(), false), "{report}");
    assert!(report.to_string().contains(&place), "{report}");
    // A run that goes well has no report.
    model.set_learning_rate(0.01)?;
    for name in ["0.weight", "0.bias", "2.weight", "2.bias"] {
        let shape = model.parameter(name)?.shape().to_vec();
        model.set_parameter(name, &Tensor::zeros(&shape)?)?;
    }
    assert!(!model.fit(&train, fit(&validation).epochs(2).callback(&mut nan))?.stopped);
    assert_eq!(nan.report(), None);
    Ok(())
}

/// A step that spoils the parameters: the best weights, restored when the run ends, make the model usable again.
#[test]
fn a_spoilt_model_gets_its_best_weights() -> Result<()> {
    let (train, validation) = (points(1)?, points(2)?);
    let mut model = model(Adam { learning_rate: 0.01, ..Adam::default() }, 1)?;
    let (mut nan, mut stopping) =
        (StopOnNan::new(), EarlyStopping::default().patience(100).restore_best_weights(true));
    let mut spoil = WithRun(|event: &Event<'_>, run: &mut Run<'_, f32>| {
        if matches!(event, Event::EpochBegin { epoch: 4 }) {
            // The next update overflows.
            run.model().set_learning_rate(1e300)?;
        }
        Ok(Control::Continue)
    });
    let options = Fit::new().epochs(50).batch_size(8).validation(&validation);
    let options = options.callback(&mut nan).callback(&mut stopping).callback(&mut spoil);
    let history = model.fit(&train, options)?;
    assert!(history.stopped && history.epochs.len() == 3);
    assert!(nan.report().unwrap().spoilt, "{:?}", nan.report());
    assert!(nan.report().unwrap().to_string().ends_with("spoilt"));
    assert_eq!(stopping.best_epoch(), Some(3));
    assert_eq!(Some(model.evaluate(&validation)?.loss), history.epochs[2].validation_loss);
    model.set_learning_rate(0.01)?;
    model.fit(&train, Fit::new().batch_size(8))?;
    Ok(())
}

/// Samples with a NaN.
struct Broken;

impl BatchSource<f32> for Broken {
    fn len(&self) -> usize {
        2
    }
    fn features(&self) -> usize {
        3
    }
    fn target_kind(&self) -> Option<TargetKind> {
        Some(TargetKind::Classes(2))
    }
    fn gather_features(&self, _: &Context, _: &[usize], out: &mut [f32]) {
        out.fill(f32::NAN);
    }
    fn gather_classes(&self, _: &[usize], out: &mut [u32]) {
        out.fill(0);
    }
    fn gather_values(&self, _: &Context, _: &[usize], _: &mut [f32]) {}
}

/// What is wrong with the data stays an error.
#[test]
fn a_bad_input_is_no_end() -> Result<()> {
    let mut nan = StopOnNan::new();
    let error = model(wild(), 1)?.fit(&Broken, Fit::new().callback(&mut nan)).unwrap_err();
    assert!(matches!(error, Error::NonFinite { what: "input", .. }), "{error}");
    assert_eq!(nan.report(), None);
    Ok(())
}

#[test]
fn a_budget_ends_a_run_at_its_step() -> Result<()> {
    let train = points(1)?;
    // A clock that moves on by a second with every step, and is late already when the run begins.
    let now = Cell::new(Duration::from_secs(100));
    let mut tick = |event: &Event<'_>| {
        if matches!(event, Event::StepEnd { .. }) {
            now.set(now.get() + Duration::from_secs(1));
        }
        Control::Continue
    };
    for (seconds, steps) in [(0, 1), (1, 1), (3, 3), (5, 5), (7, 7), (12, 12), (100, 20)] {
        let mut model = model(Sgd::default(), 1)?;
        let mut budget = TimeBudget::with_clock(Duration::from_secs(seconds), || now.get());
        let options = Fit::new().epochs(4).batch_size(8);
        let history = model.fit(&train, options.callback(&mut tick).callback(&mut budget))?;
        assert_eq!(
            (model.steps(), history.stopped, budget.is_exceeded()),
            (steps, seconds < 100, seconds < 100)
        );
    }
    // Another run has all of it again.
    let (mut model, mut budget) =
        (model(Sgd::default(), 1)?, TimeBudget::with_clock(Duration::from_secs(3), || now.get()));
    for steps in [3, 6] {
        let options = Fit::new().epochs(4).batch_size(8);
        model.fit(&train, options.callback(&mut tick).callback(&mut budget))?;
        assert_eq!(model.steps(), steps);
    }
    assert!(!weights(&model).is_empty());
    // The system's clock.
    let mut none = TimeBudget::new(Duration::ZERO);
    model.fit(&train, Fit::new().epochs(4).batch_size(8).callback(&mut none))?;
    assert_eq!(model.steps(), 7);
    let mut day = TimeBudget::new(Duration::from_secs(86_400));
    assert!(!model.fit(&train, Fit::new().batch_size(8).callback(&mut day))?.stopped);
    Ok(())
}

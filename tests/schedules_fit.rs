//! Schedules within a run, and the sweep that finds a rate.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Dropout, Loss, Model, Sequential};
use gemmule::optim::schedule::*;
use gemmule::optim::{Adagrad, Adam, Optimizer, RmsProp, Sgd};
use gemmule::rng::Rng;
use gemmule::train::{Control, Event, Fit, History, LrFinder, Run, WithRun};
use gemmule::{Context, Error, Parallelism, Result, Tensor};

/// 40 points of two classes.
fn points(seed: u64) -> Result<Dataset> {
    let mut x = vec![0.0_f32; 40 * 3];
    Rng::new(seed).fill_normal(&Context::detect()?, &mut x, 0.0, 1.0)?;
    let classes = x.chunks(3).map(|row| u32::from(row[0] * row[1] > row[2])).collect();
    Dataset::from_values(Tensor::from_vec(&[40, 3], x)?)?.with_classes(classes, 2)
}

fn model(optimizer: impl Into<Optimizer>, threads: usize) -> Result<Model<f32>> {
    let net = Sequential::new()
        .with(Dense::new(3, 8))
        .with(Activation::Tanh)
        .with(Dropout::new(0.2))
        .with(Dense::new(8, 2));
    let mut model = net.build_with(Context::detect()?.with_parallelism(Parallelism::Max(threads)), 5)?;
    model.compile(Loss::CrossEntropy, optimizer)?;
    Ok(model)
}

fn sgd(learning_rate: f64, momentum: f64) -> Sgd {
    Sgd { learning_rate, momentum, ..Sgd::default() }
}

/// Five steps an epoch.
fn fit<'a>(epochs: usize) -> Fit<'a, f32> {
    Fit::new().epochs(epochs).batch_size(8)
}

/// The rates of groups 0 and 1 at a step.
type Rates = (f64, Option<f64>);

/// Those at each step.
fn rates(model: &mut Model<f32>, schedule: impl Schedule, epochs: usize) -> Result<(Vec<Rates>, History)> {
    let (train, validation, mut seen) = (points(1)?, points(2)?, Vec::new());
    let mut watch = WithRun(|event: &Event<'_>, run: &mut Run<'_, f32>| {
        if let Event::StepEnd { .. } = event {
            seen.push((run.learning_rate(), run.model().group_learning_rate(1)));
        }
        Ok(Control::Continue)
    });
    let history =
        model.fit(&train, fit(epochs).validation(&validation).schedule(schedule).callback(&mut watch))?;
    Ok((seen, history))
}

#[test]
fn each_step_has_its_rate() -> Result<()> {
    let mut model = model(sgd(0.5, 0.0), 1)?;
    let group = model.parameter_group(&["0.bias"], sgd(0.125, 0.0))?;
    let schedule = Warmup::new(4, StepLr { step_size: 2, gamma: 0.5 }.by_epoch());
    let (seen, history) = rates(&mut model, schedule, 5)?;
    assert_eq!(seen.len(), 25);
    for (step, (first, second)) in seen.iter().enumerate() {
        let expected = match step {
            0..4 => 0.5 * step as f64 / 4.0,
            4..10 => 0.5,
            10..20 => 0.25,
            _ => 0.125,
        };
        assert_eq!((*first, *second), (expected, Some(expected / 4.0)), "step {step}");
    }
    let logged: Vec<f64> = history.epochs.iter().map(|log| log.learning_rate).collect();
    assert_eq!(logged, [0.5, 0.5, 0.25, 0.25, 0.125]);
    // The model has its own rates again, and another run begins anew.
    assert_eq!((model.learning_rate(), model.group_learning_rate(group)), (Some(0.5), Some(0.125)));
    let (again, _) = rates(&mut model, LambdaLr::new(|step| if step < 2 { 1.0 } else { 0.5 }), 1)?;
    assert_eq!(again.iter().map(|(rate, _)| *rate).collect::<Vec<_>>(), [0.5, 0.5, 0.25, 0.25, 0.25]);
    Ok(())
}

fn bits(model: &Model<f32>) -> Vec<u32> {
    let names: Vec<_> = model.parameters().into_iter().map(|info| info.name).collect();
    let of = |name: &String| model.parameter(name).unwrap().as_slice().to_vec();
    names.iter().flat_map(of).map(f32::to_bits).collect()
}

/// A cycle whose momentum stays at 0.5 is a run of an optimiser with a momentum of 0.5.
#[test]
fn a_cycle_sets_the_momentum() -> Result<()> {
    let data = points(1)?;
    let pairs: [[Optimizer; 2]; 3] = [
        [sgd(0.1, 0.9).into(), sgd(0.1, 0.5).into()],
        [Adam::default().into(), Adam { beta1: 0.5, ..Adam::default() }.into()],
        [
            RmsProp { momentum: 0.9, ..RmsProp::default() }.into(),
            RmsProp { momentum: 0.5, ..RmsProp::default() }.into(),
        ],
    ];
    for [cycled, plain] in pairs {
        let cycle = OneCycleLr { base_momentum: 0.5, max_momentum: 0.5, ..OneCycleLr::new(0.05, 15) };
        let (mut a, mut b, mut untouched) = (model(cycled, 1)?, model(plain, 2)?, model(cycled, 1)?);
        a.fit(&data, fit(3).schedule(cycle))?;
        b.fit(&data, fit(3).schedule(OneCycleLr { cycle_momentum: false, ..cycle }))?;
        untouched.fit(&data, fit(3).schedule(OneCycleLr { cycle_momentum: false, ..cycle }))?;
        assert_eq!(bits(&a), bits(&b), "{cycled:?}");
        assert_ne!(bits(&a), bits(&untouched));
        // It is back after the run.
        let before = a.state()?;
        a.fit(&data, fit(1))?;
        untouched.restore(&before)?;
        untouched.fit(&data, fit(1))?;
        assert_eq!(bits(&a), bits(&untouched), "{cycled:?}");
    }
    for without in [Optimizer::from(sgd(0.1, 0.0)), Adagrad::default().into(), RmsProp::default().into()] {
        let mut model = model(without, 1)?;
        let error = model.fit(&data, fit(1).schedule(OneCycleLr::new(0.1, 5))).unwrap_err();
        assert!(error.to_string().contains("without momentum"), "{error}");
        assert_eq!(model.steps(), 0);
        model.fit(&data, fit(1).schedule(OneCycleLr { cycle_momentum: false, ..OneCycleLr::new(0.1, 5) }))?;
    }
    Ok(())
}

#[test]
fn a_plateau_is_seen() -> Result<()> {
    // A rate of almost 0: nothing improves by a tenth of the best.
    let mut model = model(sgd(1e-9, 0.0), 1)?;
    for monitor in ["loss", "validation_loss", "accuracy", "validation_accuracy"] {
        let plateau = ReduceLrOnPlateau {
            monitor: monitor.to_owned(),
            patience: 1,
            threshold: 0.6,
            eps: 0.0,
            ..ReduceLrOnPlateau::default()
        };
        let (_, history) = rates(&mut model, plateau, 6)?;
        let logged: Vec<f64> = history.epochs.iter().map(|log| log.learning_rate / 1e-9).collect();
        for (got, expected) in logged.iter().zip([1.0, 1.0, 1.0, 0.1, 0.1, 0.01]) {
            assert!((got / expected - 1.0).abs() < 1e-12, "{monitor}: {logged:?}");
        }
    }
    // Figures that there are not.
    let unknown = ReduceLrOnPlateau { monitor: "f1".to_owned(), ..ReduceLrOnPlateau::default() };
    let error = rates(&mut model, unknown, 2).unwrap_err().to_string();
    assert_eq!(
        error,
        "fit: the schedule's monitor: expected one of loss, accuracy, validation_loss, validation_accuracy, \
         learning_rate, got f1"
    );
    let error = model.fit(&points(1)?, fit(1).schedule(ReduceLrOnPlateau::default())).unwrap_err();
    assert!(matches!(error, Error::State { .. }), "{error}");
    Ok(())
}

#[test]
fn bad_rates_are_errors() -> Result<()> {
    let mut model = model(sgd(0.1, 0.0), 1)?;
    let error = model.fit(&points(1)?, fit(1).schedule(StepLr::new(0))).unwrap_err();
    assert!(matches!(error, Error::Argument { what: "step_size", .. }), "{error}");
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        let lambda = LambdaLr::new(move |step| if step == 3 { bad } else { 1.0 });
        let before = model.steps();
        let error = model.fit(&points(1)?, fit(1).schedule(lambda)).unwrap_err();
        assert!(matches!(error, Error::Argument { what: "learning_rate", .. }), "{error}");
        assert_eq!((model.steps() - before, model.learning_rate()), (3, Some(0.1)));
    }
    Ok(())
}

/// Parameters, moments, rates and the run after are those of a model that never looked for a rate.
#[test]
fn a_sweep_leaves_no_trace() -> Result<()> {
    let data = points(1)?;
    let adam = Adam { learning_rate: 0.01, ..Adam::default() };
    let trained = || {
        let mut model = model(adam, 1)?;
        model.parameter_group(&["0.bias"], sgd(0.1, 0.9))?;
        model.fit(&data, fit(2))?;
        Result::Ok(model)
    };
    let mut plain = trained()?;
    // To the end, until it diverges, into NaN.
    let until = |max| LrFinder { max, batch_size: 8, smoothing: 0.5, ..LrFinder::default() };
    for (options, diverged) in [(until(1e-3), false), (until(100.0), true), (until(1e38), true)] {
        let mut model = trained()?;
        let sweep = model.find_learning_rate(&data, &options)?;
        assert_eq!(sweep.diverged, diverged, "{options:?}");
        assert_eq!((sweep.rates.len(), sweep.losses.len()), (sweep.raw_losses.len(), sweep.raw_losses.len()));
        assert_eq!(model.state()?, plain.state()?);
        model.fit(&data, fit(1))?;
        let mut other = trained()?;
        other.fit(&data, fit(1))?;
        assert_eq!(model.state()?, other.state()?);
    }
    plain.fit(&data, fit(1))?;
    // Of a model that has not taken a step yet, too: it has no moments.
    let (mut fresh, first) = (model(adam, 1)?, model(adam, 1)?);
    fresh.find_learning_rate(&data, &until(10.0))?;
    assert_eq!(fresh.state()?, first.state()?);
    Ok(())
}

#[test]
fn a_sweep_follows_its_formula() -> Result<()> {
    let data = points(1)?;
    let options =
        LrFinder { min: 1e-4, max: 100.0, steps: 60, batch_size: 16, seed: 3, ..LrFinder::default() };
    let sweep = model(sgd(0.1, 0.0), 1)?.find_learning_rate(&data, &options)?;
    assert_eq!(sweep, model(sgd(0.1, 0.0), 2)?.find_learning_rate(&data, &options)?, "one thread or two");
    let n = sweep.rates.len();
    assert_eq!((n == 60, sweep.rates[0]), (!sweep.diverged, 1e-4));
    let (mut average, mut least) = (0.0, f64::INFINITY);
    for i in 0..n {
        let rate = 1e-4 * libm::pow(1e6, i as f64 / 59.0);
        assert!((sweep.rates[i] / rate - 1.0).abs() < 1e-12);
        average = 0.98 * average + 0.02 * sweep.raw_losses[i];
        let smooth = average / (1.0 - libm::pow(0.98, (i + 1) as f64));
        assert!((sweep.losses[i] / smooth - 1.0).abs() < 1e-12);
        least = smooth.min(least);
        assert!(i + 1 == n || smooth <= 4.0 * least, "it ends where the loss is above 4 times the least");
    }
    if n < 60 {
        assert!(sweep.losses[n - 1] > 4.0 * least);
    }
    // The rate that it suggests trains better than the smallest and the largest.
    let suggestion = sweep.suggestion.expect("the loss falls somewhere");
    let loss = |rate| {
        let mut model = model(sgd(rate, 0.0), 1)?;
        model.fit(&data, fit(20))?;
        Result::Ok(model.evaluate(&data)?.loss)
    };
    let (with, least) = (loss(suggestion)?, loss(1e-4)?);
    assert!(with < least, "{suggestion}: {with} against {least}\n{sweep:?}");
    // The steps it takes are those of a run with these rates.
    let mut by_hand = model(sgd(0.1, 0.0), 1)?;
    let rates = sweep.rates.clone();
    let mut losses = Vec::new();
    let mut watch = |event: &Event<'_>| {
        if let Event::StepEnd { loss, .. } = event {
            losses.push(*loss);
        }
        Control::Continue
    };
    let schedule = LambdaLr::new(move |step| rates[step as usize] / 0.1);
    let epochs = n / 3;
    by_hand.fit(
        &data,
        Fit::new().epochs(epochs).batch_size(16).seed(3).schedule(schedule).callback(&mut watch),
    )?;
    for (got, expected) in losses.iter().zip(&sweep.raw_losses) {
        assert!((got - expected).abs() <= 1e-4 * expected.abs(), "{got} {expected}");
    }
    Ok(())
}

#[test]
fn what_a_sweep_refuses() -> Result<()> {
    let (data, mut model) = (points(1)?, model(sgd(0.1, 0.0), 1)?);
    let good = LrFinder::default();
    for (options, name) in [
        (LrFinder { min: 0.0, ..good }, "min"),
        (LrFinder { min: f64::NAN, ..good }, "min"),
        (LrFinder { max: 1e-8, ..good }, "max"),
        (LrFinder { max: f64::INFINITY, ..good }, "max"),
        (LrFinder { steps: 1, ..good }, "steps"),
        (LrFinder { smoothing: 1.0, ..good }, "smoothing"),
        (LrFinder { stop_factor: 1.0, ..good }, "stop_factor"),
        (LrFinder { stop_factor: f64::NAN, ..good }, "stop_factor"),
        (LrFinder { batch_size: 0, ..good }, "batch"),
    ] {
        let error = model.find_learning_rate(&data, &options).unwrap_err();
        assert!(matches!(&error, Error::Argument { what, .. } if *what == name), "{name}: {error}");
    }
    let mut raw = Sequential::new().with(Dense::new(3, 2)).build::<f32>(0)?;
    assert!(matches!(raw.find_learning_rate(&data, &good), Err(Error::State { .. })));
    Ok(())
}

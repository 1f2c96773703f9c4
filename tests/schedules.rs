//! Schedules of the learning rate: against PyTorch and Keras, their options, and what they remember.

use gemmule::optim::schedule::*;
use gemmule::{Error, State};

/// The numbers of a line of `golden/schedules.csv`.
fn golden(name: &str) -> Vec<f64> {
    let line = include_str!("golden/schedules.csv")
        .lines()
        .find_map(|line| line.split_once(',').filter(|(first, _)| *first == name).map(|(_, values)| values));
    let line = line.unwrap_or_else(|| panic!("no golden values for {name}"));
    line.split(',').map(|value| value.parse().unwrap()).collect()
}

/// `figure` of `golden/schedules.py`.
fn figure(step: u64) -> f64 {
    let (wave, t) = ((step * 37 % 11) as f64 / 1024.0, step as f64);
    match step / 30 {
        0 => 1.0 - t / 64.0,
        1 => 0.5 + wave,
        2 => 0.5 - (t - 60.0) / 256.0,
        _ => 0.375 + wave,
    }
}

/// Relative: 1e-12. Where a cosine cancels, that of the largest rate.
fn assert_close(name: &str, step: usize, got: f64, expected: f64, largest: f64) {
    let error = (got - expected).abs();
    assert!(
        error <= 1e-12 * expected.abs() + 1e-16 * largest,
        "{name}: step {step}: {got:e} against {expected:e}, error {error:e}"
    );
}

/// The rates before all steps of a golden line, and the momentums if there is a line for them.
fn follow(name: &str, base: f64, mut schedule: impl Schedule, figure: impl Fn(u64) -> f64) -> usize {
    schedule.check().unwrap();
    let rates = golden(name);
    assert_eq!(rates.len(), 121);
    let largest = rates.iter().copied().fold(0.0, f64::max);
    let momentums = schedule.momentum(Position::new(0, 10)).map(|_| golden(&format!("{name}/momentum")));
    for (step, expected) in rates.iter().enumerate() {
        let at = Position::new(step as u64, 10);
        assert_close(name, step, schedule.learning_rate(base, at), *expected, largest);
        if let Some(momentums) = &momentums {
            assert_close(name, step, schedule.momentum(at).unwrap(), momentums[step], 1.0);
        }
        schedule.observe(base, Position::new(step as u64 + 1, 10), figure(step as u64));
    }
    1 + usize::from(momentums.is_some())
}

#[test]
fn a_hundred_steps_follow_pytorch_and_keras() {
    let mut lines = 0;
    let mut with =
        |name: &str, base: f64, schedule: Box<dyn Schedule>| lines += follow(name, base, schedule, figure);
    let mut check = |name: &str, schedule: Box<dyn Schedule>| with(name, 0.1, schedule);
    check("constant", Box::<ConstantLr>::default());
    check("constant_all", Box::new(ConstantLr { factor: 0.25, total_iters: 50 }));
    check("linear", Box::<LinearLr>::default());
    check("linear_all", Box::new(LinearLr { start_factor: 0.9, end_factor: 0.2, total_iters: 100 }));
    check("step", Box::new(StepLr::new(30)));
    check("step_all", Box::new(StepLr { step_size: 7, gamma: 0.8 }));
    check("multi_step", Box::new(MultiStepLr::new([30, 80])));
    check("multi_step_all", Box::new(MultiStepLr { milestones: vec![119, 10, 40, 40, 70], gamma: 0.5 }));
    check("exponential", Box::new(ExponentialLr::new(0.95)));
    check("polynomial", Box::<PolynomialLr>::default());
    check(
        "polynomial_all",
        Box::new(PolynomialLr { total_iters: 100, power: 0.9, ..PolynomialLr::default() }),
    );
    check(
        "polynomial_square",
        Box::new(PolynomialLr { total_iters: 110, power: 2.0, ..PolynomialLr::default() }),
    );
    check("cosine", Box::new(CosineAnnealingLr::new(120)));
    check("cosine_all", Box::new(CosineAnnealingLr { t_max: 50, eta_min: 0.003 }));
    check("restarts", Box::new(CosineAnnealingWarmRestarts::new(10)));
    check("restarts_all", Box::new(CosineAnnealingWarmRestarts { t_0: 7, t_mult: 2, eta_min: 1e-4 }));
    check("restarts_three", Box::new(CosineAnnealingWarmRestarts { t_0: 5, t_mult: 3, eta_min: 0.01 }));
    check("lambda", Box::new(LambdaLr::new(|t| 1.0 / (1 + t) as f64)));
    check("one_cycle", Box::new(OneCycleLr::new(0.1, 121)));
    let linear = OneCycleLr { anneal_strategy: Anneal::Linear, ..OneCycleLr::new(0.4, 121) };
    check("one_cycle_linear", Box::new(linear));
    check("one_cycle_three", Box::new(OneCycleLr { three_phase: true, ..OneCycleLr::new(1.0, 121) }));
    let all = OneCycleLr {
        pct_start: 0.45,
        anneal_strategy: Anneal::Linear,
        base_momentum: 0.8,
        max_momentum: 0.9,
        div_factor: 10.0,
        final_div_factor: 100.0,
        three_phase: true,
        ..OneCycleLr::new(0.01, 121)
    };
    check("one_cycle_all", Box::new(all));
    let down = OneCycleLr { pct_start: 0.0, cycle_momentum: false, ..OneCycleLr::new(0.1, 121) };
    check("one_cycle_down", Box::new(down));
    check("cyclic", Box::new(CyclicLr::new(0.001, 0.1)));
    check("cyclic_short", Box::new(CyclicLr { step_size_up: 13, ..CyclicLr::new(0.001, 0.1) }));
    let triangular2 = CyclicLr {
        step_size_up: 8,
        step_size_down: Some(15),
        mode: CyclicMode::Triangular2,
        ..CyclicLr::new(0.01, 0.2)
    };
    check("cyclic_triangular2", Box::new(triangular2));
    let exp_range = CyclicLr {
        step_size_up: 10,
        step_size_down: Some(6),
        mode: CyclicMode::ExpRange,
        gamma: 0.99,
        base_momentum: 0.7,
        max_momentum: 0.95,
        ..CyclicLr::new(0.02, 0.3)
    };
    check("cyclic_exp_range", Box::new(exp_range));
    let alone = CyclicLr { step_size_up: 20, cycle_momentum: false, ..CyclicLr::new(0.0, 0.1) };
    check("cyclic_alone", Box::new(alone));
    let up = LinearLr { start_factor: 0.1, total_iters: 20, ..LinearLr::default() };
    let sequential = SequentialLr::starting_with(up)
        .then(20, CosineAnnealingLr { t_max: 60, eta_min: 0.001 })
        .then(80, StepLr { step_size: 10, gamma: 0.5 });
    check("sequential", Box::new(sequential));
    let constant = ConstantLr { factor: 0.1, total_iters: 25 };
    let sequential = SequentialLr::starting_with(constant).then(25, ExponentialLr::new(0.9));
    check("sequential_constant", Box::new(sequential));
    fn warm<S: Schedule + 'static>(then: S) -> Box<dyn Schedule> {
        Box::new(Warmup { start_factor: 0.01, ..Warmup::new(11, then) })
    }
    check("warmup_step", warm(StepLr::new(30)));
    check("warmup_multi_step", warm(MultiStepLr::new([30, 80])));
    check("warmup_exponential", warm(ExponentialLr::new(0.95)));
    check("warmup_polynomial", warm(PolynomialLr { total_iters: 90, ..PolynomialLr::default() }));
    check("warmup_cosine", warm(CosineAnnealingLr::new(110)));
    let restarts = CosineAnnealingWarmRestarts { t_mult: 2, ..CosineAnnealingWarmRestarts::new(10) };
    check("warmup_restarts", warm(restarts));
    let plateau = ReduceLrOnPlateau::default;
    check("plateau", Box::new(plateau()));
    check("plateau_short", Box::new(ReduceLrOnPlateau { patience: 3, factor: 0.5, ..plateau() }));
    check(
        "plateau_cooldown",
        Box::new(ReduceLrOnPlateau { patience: 2, cooldown: 5, factor: 0.3, ..plateau() }),
    );
    let floor = ReduceLrOnPlateau { patience: 1, factor: 0.5, min_lr: 0.003, ..plateau() };
    check("plateau_floor", Box::new(floor));
    check("plateau_eps", Box::new(ReduceLrOnPlateau { patience: 1, factor: 0.5, eps: 0.01, ..plateau() }));
    let threshold_mode = ThresholdMode::Abs;
    let abs = ReduceLrOnPlateau { patience: 2, threshold: 0.02, threshold_mode, factor: 0.7, ..plateau() };
    check("plateau_abs", Box::new(abs));
    with("exponential_all", 3e-4, Box::new(ExponentialLr::new(1.01)));
    // Keras' rates are numbers that f32 holds.
    let mut check = |name: &str, schedule: Box<dyn Schedule>| with(name, 0.125, schedule);
    check("inverse_time", Box::new(InverseTimeDecay::new(1.0, 0.5)));
    check("inverse_time_slow", Box::new(InverseTimeDecay::new(20.0, 0.75)));
    check(
        "inverse_time_staircase",
        Box::new(InverseTimeDecay { staircase: true, ..InverseTimeDecay::new(9.0, 0.375) }),
    );
    let polynomial =
        |total_iters, end_lr, power, cycle| Box::new(PolynomialLr { total_iters, end_lr, power, cycle });
    check("keras_polynomial", polynomial(100, 1.0 / 8192.0, 1.0, false));
    check("keras_polynomial_cycle", polynomial(30, 1.0 / 128.0, 0.5, true));
    check("keras_polynomial_power", polynomial(80, 1.0 / 512.0, 2.0, false));
    let (mode, good) = (Mode::Max, |t| 1.0 - figure(t));
    lines +=
        follow("plateau_max", 0.1, ReduceLrOnPlateau { mode, patience: 4, factor: 0.8, ..plateau() }, good);
    let abs =
        ReduceLrOnPlateau { mode, patience: 2, threshold: 0.01, threshold_mode, factor: 0.8, ..plateau() };
    lines += follow("plateau_max_abs", 0.1, abs, good);
    let nan = |t| if t % 9 == 0 { f64::NAN } else { figure(t) };
    lines += follow("plateau_nan", 0.1, ReduceLrOnPlateau { patience: 2, factor: 0.9, ..plateau() }, nan);
    let all = include_str!("golden/schedules.csv").lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(lines, all, "every golden line is used");
}

/// Rates of a schedule before each step.
fn rates(schedule: &impl Schedule, steps: u64, per_epoch: u64) -> Vec<f64> {
    (0..steps).map(|step| schedule.learning_rate(1.0, Position::new(step, per_epoch))).collect()
}

#[test]
fn an_epoch_has_one_rate() {
    let by_step = rates(&ExponentialLr::new(0.5), 5, 1);
    let by_epoch = rates(&ExponentialLr::new(0.5).by_epoch(), 20, 4);
    for (step, rate) in by_epoch.iter().enumerate() {
        assert_eq!(*rate, by_step[step / 4]);
    }
    // Up by steps, ending within epoch 1, then by epochs: rates change where epochs end.
    let mixed = rates(&Warmup::new(6, StepLr { step_size: 1, gamma: 0.5 }.by_epoch()), 16, 4);
    assert_eq!(mixed[6..], [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]);
    assert_eq!(mixed[3], 0.5);
}

/// The way up leads to the first rate of the schedule, whatever that is.
#[test]
fn a_warm_up_ends_where_the_schedule_begins() {
    let cycle = OneCycleLr { cycle_momentum: true, ..OneCycleLr::new(1.0, 100) };
    let warm = Warmup::new(10, cycle);
    let at = |step| Position::new(step, 10);
    let first = cycle.learning_rate(0.3, at(0));
    assert_eq!(warm.learning_rate(0.3, at(0)), 0.0);
    assert_eq!(warm.learning_rate(0.3, at(5)), 0.5 * first);
    assert_eq!(warm.learning_rate(0.3, at(10)), first);
    assert_eq!(warm.learning_rate(0.3, at(40)), cycle.learning_rate(0.3, at(30)));
    assert_eq!(warm.momentum(at(3)), cycle.momentum(at(0)));
    assert_eq!(warm.momentum(at(40)), cycle.momentum(at(30)));
    // What a schedule on a plateau would see on the way up does not count.
    let mut plateau = Warmup::new(4, ReduceLrOnPlateau { patience: 0, ..ReduceLrOnPlateau::default() });
    for (epoch, loss) in [(1, 0.1), (2, 0.9), (3, 0.8), (4, 0.7)] {
        plateau.observe(1.0, Position::new(2 * epoch, 2), loss);
    }
    assert_eq!(plateau.then.seen.best, Some(0.7), "{plateau:?}");
    assert_eq!(plateau.learning_rate(1.0, at(9)), 1.0);
    plateau.observe(1.0, Position::new(10, 2), 0.8);
    assert_eq!(plateau.learning_rate(1.0, at(10)), 0.1);
}

/// A run that goes on with a saved state has the rates of one that never stopped.
#[test]
fn a_state_is_saved_and_restored() {
    let make = || {
        let quick =
            ReduceLrOnPlateau { patience: 2, cooldown: 3, factor: 0.7, ..ReduceLrOnPlateau::default() };
        let slow = ReduceLrOnPlateau { patience: 4, factor: 0.5, ..ReduceLrOnPlateau::default() };
        Warmup::new(3, SequentialLr::starting_with(quick).then(50, slow))
    };
    let run = |schedule: &mut dyn Schedule, from: u64, to: u64| -> Vec<u64> {
        (from..to)
            .map(|step| {
                let rate = schedule.learning_rate(0.1, Position::new(step, 1));
                schedule.observe(0.1, Position::new(step + 1, 1), figure(step));
                rate.to_bits()
            })
            .collect()
    };
    let mut whole = make();
    let all = run(&mut whole, 0, 121);
    assert!(all.windows(2).filter(|pair| pair[0] != pair[1]).count() > 5, "the rate changes");
    for stop in 0..121 {
        let mut first = make();
        let mut rates = run(&mut first, 0, stop);
        let mut second = make();
        second.load(&first.save()).unwrap();
        rates.extend(run(&mut second, stop, 121));
        assert!(rates == all, "stopped after {stop}");
    }
    // What is no such state changes nothing.
    let mut schedule = make();
    schedule.load(&whole.save()).unwrap();
    let mut bad = whole.save();
    bad.set_text("1/reductions", "three");
    for state in [&bad, &State::new(), &ReduceLrOnPlateau::default().save()] {
        let error = schedule.load(state).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error}");
        assert_eq!(schedule.save(), whole.save());
    }
}

#[test]
fn beyond_the_end() {
    let last = |schedule: &dyn Schedule| schedule.learning_rate(1.0, Position::new(u64::MAX, 1));
    assert_eq!(
        last(&OneCycleLr::new(0.1, 50)),
        OneCycleLr::new(0.1, 50).learning_rate(1.0, Position::new(49, 1))
    );
    assert_eq!(last(&PolynomialLr::default()), 0.0);
    assert_eq!(last(&StepLr::new(1)), 0.0);
    assert_eq!(last(&ConstantLr::default()), 1.0);
    for t_mult in [1, 2, 7] {
        let restarts = CosineAnnealingWarmRestarts { t_mult, ..CosineAnnealingWarmRestarts::new(3) };
        assert!((0.0..=1.0).contains(&last(&restarts)));
    }
    // Cycles of one step, and phases of none.
    for total_steps in [1, 2, 3] {
        for pct_start in [0.0, 0.3, 0.5, 1.0] {
            for three_phase in [false, true] {
                let cycle = OneCycleLr { pct_start, three_phase, ..OneCycleLr::new(0.1, total_steps) };
                for step in 0..4 {
                    let at = Position::new(step, 1);
                    let (rate, momentum) = (cycle.learning_rate(1.0, at), cycle.momentum(at).unwrap());
                    assert!((0.0..=0.1 + 1e-15).contains(&rate), "{cycle:?} step {step}: {rate}");
                    assert!((0.849..0.951).contains(&momentum), "{cycle:?} step {step}: {momentum}");
                }
            }
        }
    }
}

/// Each option out of its range is named.
#[test]
fn bad_options_are_named() {
    fn bad(schedule: impl Schedule, option: &str) {
        let error = schedule.check().unwrap_err();
        assert!(matches!(&error, Error::Argument { what, .. } if *what == option), "{option}: {error}");
        // Also within others.
        let warm = Warmup::new(1, schedule).by_epoch();
        assert_eq!(warm.check().unwrap_err().to_string(), error.to_string());
        let sequence = SequentialLr::starting_with(StepLr::new(1)).then(5, warm);
        assert_eq!(sequence.check().unwrap_err().to_string(), error.to_string());
    }
    for x in [-1.0, f64::NAN, f64::INFINITY] {
        bad(ConstantLr { factor: x, ..ConstantLr::default() }, "factor");
        bad(LinearLr { start_factor: x, ..LinearLr::default() }, "start_factor");
        bad(LinearLr { end_factor: x, ..LinearLr::default() }, "end_factor");
        bad(StepLr { gamma: x, ..StepLr::new(3) }, "gamma");
        bad(MultiStepLr { gamma: x, ..MultiStepLr::new([3]) }, "gamma");
        bad(ExponentialLr { gamma: x }, "gamma");
        bad(PolynomialLr { power: x, ..PolynomialLr::default() }, "power");
        bad(PolynomialLr { end_lr: x, ..PolynomialLr::default() }, "end_lr");
        bad(InverseTimeDecay::new(x, 1.0), "decay_steps");
        bad(InverseTimeDecay::new(1.0, x), "decay_rate");
        bad(CosineAnnealingLr { eta_min: x, ..CosineAnnealingLr::new(3) }, "eta_min");
        bad(CosineAnnealingWarmRestarts { eta_min: x, ..CosineAnnealingWarmRestarts::new(3) }, "eta_min");
        bad(Warmup { start_factor: x, ..Warmup::new(3, StepLr::new(3)) }, "start_factor");
        let cycle = OneCycleLr::new(0.1, 10);
        bad(OneCycleLr { max_lr: x, ..cycle }, "max_lr");
        bad(OneCycleLr { pct_start: x, ..cycle }, "pct_start");
        bad(OneCycleLr { div_factor: x, ..cycle }, "div_factor");
        bad(OneCycleLr { final_div_factor: x, ..cycle }, "final_div_factor");
        bad(OneCycleLr { base_momentum: x, ..cycle }, "base_momentum");
        bad(OneCycleLr { max_momentum: x, ..cycle }, "max_momentum");
        let cyclic = CyclicLr::new(0.1, 0.2);
        bad(CyclicLr { base_lr: x, ..cyclic }, "base_lr");
        bad(CyclicLr { max_lr: x, ..cyclic }, "max_lr");
        bad(CyclicLr { gamma: x, ..cyclic }, "gamma");
        bad(CyclicLr { base_momentum: x, ..cyclic }, "base_momentum");
        bad(CyclicLr { max_momentum: x, ..cyclic }, "max_momentum");
        let plateau = ReduceLrOnPlateau::default;
        bad(ReduceLrOnPlateau { factor: x, ..plateau() }, "factor");
        bad(ReduceLrOnPlateau { threshold: x, ..plateau() }, "threshold");
        bad(ReduceLrOnPlateau { min_lr: x, ..plateau() }, "min_lr");
        bad(ReduceLrOnPlateau { eps: x, ..plateau() }, "eps");
    }
    bad(ReduceLrOnPlateau { factor: 1.0, ..ReduceLrOnPlateau::default() }, "factor");
    bad(OneCycleLr { max_momentum: 1.0, ..OneCycleLr::new(0.1, 10) }, "max_momentum");
    bad(OneCycleLr { div_factor: 0.0, ..OneCycleLr::new(0.1, 10) }, "div_factor");
    bad(LinearLr { total_iters: 0, ..LinearLr::default() }, "total_iters");
    bad(StepLr::new(0), "step_size");
    bad(PolynomialLr { total_iters: 0, ..PolynomialLr::default() }, "total_iters");
    bad(InverseTimeDecay::new(0.0, 1.0), "decay_steps");
    bad(CosineAnnealingLr::new(0), "t_max");
    bad(CosineAnnealingWarmRestarts::new(0), "t_0");
    bad(CosineAnnealingWarmRestarts { t_mult: 0, ..CosineAnnealingWarmRestarts::new(1) }, "t_mult");
    bad(OneCycleLr::new(0.1, 0), "total_steps");
    bad(CyclicLr { step_size_up: 0, ..CyclicLr::new(0.1, 0.2) }, "step_size_up");
    bad(CyclicLr { step_size_down: Some(0), ..CyclicLr::new(0.1, 0.2) }, "step_size_down");
    bad(Warmup::new(0, StepLr::new(1)), "steps");
    bad(
        SequentialLr::starting_with(StepLr::new(1)).then(9, StepLr::new(1)).then(8, StepLr::new(1)),
        "milestones",
    );
    let other = ReduceLrOnPlateau { monitor: "loss".to_owned(), ..ReduceLrOnPlateau::default() };
    bad(SequentialLr::starting_with(ReduceLrOnPlateau::default()).then(9, other), "monitor");
    // One that sets no momentum may have any.
    let free = OneCycleLr { cycle_momentum: false, max_momentum: f64::NAN, ..OneCycleLr::new(0.1, 10) };
    free.check().unwrap();
    assert_eq!(free.momentum(Position::new(0, 1)), None);
}

/// Nothing that a check refuses panics before it.
#[test]
fn unchecked_options_do_not_panic() {
    let at = Position::new(7, 0);
    let all: [Box<dyn Schedule>; 8] = [
        Box::new(StepLr::new(0)),
        Box::new(LinearLr { total_iters: 0, ..LinearLr::default() }),
        Box::new(PolynomialLr { total_iters: 0, cycle: true, ..PolynomialLr::default() }),
        Box::new(CosineAnnealingLr::new(0)),
        Box::new(CosineAnnealingWarmRestarts { t_0: 0, t_mult: 0, eta_min: 0.0 }),
        Box::new(OneCycleLr::new(0.1, 0)),
        Box::new(CyclicLr { step_size_up: 0, step_size_down: Some(0), ..CyclicLr::new(0.1, 0.2) }),
        Box::new(Warmup::new(0, StepLr::new(0)).by_epoch()),
    ];
    for schedule in &all {
        let _ = (schedule.learning_rate(1.0, at), schedule.momentum(at));
    }
}

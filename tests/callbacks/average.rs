//! The exponential moving average of the weights.

use crate::common::{contexts, random};
use crate::{golden, model, points, weights};
use gemmule::kernel::update::moving_average;
use gemmule::optim::{Adam, Sgd};
use gemmule::train::{Control, EarlyStopping, Event, ExponentialMovingAverage, Fit, Run, WithRun};
use gemmule::{Context, Element, Error, Result};

/// `weight` of `golden/callbacks.py`.
fn weight(step: usize, element: usize) -> f64 {
    ((step * 7919 + element * 104_729) % 2048) as f64 / 1024.0 - 1.0
}

fn follow<T: Element>(context: &Context, decay: f64, expected: &[f64]) {
    let values = |step| -> Vec<T> { (0..expected.len()).map(|i| T::from_f64(weight(step, i))).collect() };
    let mut average = values(1);
    for step in 2..=50 {
        moving_average(context, decay, &mut average, &values(step)).unwrap();
    }
    let tolerance = 4.0 * Element::to_f64(T::epsilon());
    for (got, expected) in average.iter().zip(expected) {
        let got = Element::to_f64(*got);
        assert!((got - expected).abs() <= tolerance, "decay {decay}: {got} against {expected}");
    }
}

#[test]
fn fifty_updates_follow_pytorch() {
    let lines = golden("average");
    assert_eq!(lines.len(), 10);
    for line in lines {
        let (kind, decay) = line[1].split_once('_').unwrap();
        let expected: Vec<f64> = line[2..].iter().map(|field| field.parse().unwrap()).collect();
        for context in contexts() {
            if kind == "f32" {
                follow::<f32>(&context, decay.parse().unwrap(), &expected);
            } else {
                follow::<f64>(&context, decay.parse().unwrap(), &expected);
            }
        }
    }
}

/// In every length, the same bits on every instruction set; what is equal stays, and 0 and 1 are exact.
#[test]
fn the_kernel_is_its_formula() {
    for len in (0..70).chain([1000]) {
        let (a, b) = (random(1, len), random(2, len));
        let narrow = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<_>>();
        for decay in [0.0, 0.1, 0.5, 0.9, 0.999, 1.0] {
            for context in contexts() {
                let mut average = narrow(&a);
                moving_average(&context, decay, &mut average, &narrow(&b)).unwrap();
                for ((got, a), b) in average.iter().zip(narrow(&a)).zip(narrow(&b)) {
                    let (part, rest) = ((1.0 - decay) as f32, decay as f32);
                    let expected =
                        if part < rest { (b - a).mul_add(part, a) } else { (a - b).mul_add(rest, b) };
                    assert!(
                        got.to_bits() == expected.to_bits() || context.isa() == gemmule::Isa::Portable,
                        "{decay}"
                    );
                    let size = a.abs().max(b.abs());
                    assert!((got - expected).abs() <= 2.0 * f32::EPSILON * size);
                }
                let mut same = narrow(&a);
                moving_average(&context, decay, &mut same, &narrow(&a)).unwrap();
                assert_eq!(same, narrow(&a));
            }
        }
    }
    let context = Context::detect().unwrap();
    for decay in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(
            moving_average(&context, decay, &mut [0.0_f32], &[0.0]),
            Err(Error::Argument { .. })
        ));
    }
    assert!(matches!(moving_average(&context, 0.5, &mut [0.0_f32], &[]), Err(Error::Shape { .. })));
}

/// What the weights were after each step, and in the validation.
#[derive(Default)]
struct Seen {
    steps: Vec<Vec<u32>>,
    validated: Vec<Vec<u32>>,
    ended: Vec<Vec<u32>>,
}

fn run(average: &mut ExponentialMovingAverage<f32>, threads: usize) -> Result<(Seen, Vec<u32>)> {
    let (train, validation, mut model) = (points(1)?, points(2)?, model(Adam::default(), threads)?);
    let mut seen = Seen::default();
    let mut watch = WithRun(|event: &Event<'_>, run: &mut Run<'_, f32>| {
        let now = weights(run.model());
        match event {
            Event::StepEnd { .. } => seen.steps.push(now),
            Event::ValidationBegin { .. } => seen.validated.push(now),
            Event::EpochEnd(_) => seen.ended.push(now),
            _ => {}
        }
        Ok(Control::Continue)
    });
    let options = Fit::new().epochs(3).batch_size(8).validation(&validation);
    let history = model.fit(&train, options.callback(average).callback(&mut watch))?;
    // Only the average is evaluated, or not: the loss tells which.
    let last = history.epochs[2].validation_loss.unwrap();
    assert!(last.is_finite());
    Ok((seen, weights(&model)))
}

/// The average of the weights after the steps `every`, 2 * `every`, ...
fn expected(steps: &[Vec<u32>], every: usize, decay: impl Fn(usize) -> f64) -> Vec<u32> {
    let of = |bits: &Vec<u32>| bits.iter().map(|&x| f32::from_bits(x)).collect::<Vec<_>>();
    let mut chosen = steps.iter().skip(every - 1).step_by(every);
    let mut average = of(chosen.next().unwrap());
    let context = Context::detect().unwrap();
    for (n, values) in chosen.enumerate() {
        moving_average(&context, decay(n + 1), &mut average, &of(values)).unwrap();
    }
    average.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn it_is_validated_and_left_in_the_model() -> Result<()> {
    type Average = ExponentialMovingAverage<f32>;
    let (plain, plain_end) = run(&mut Average::new(0.9).in_validation(false).at_end(false), 1)?;
    assert_eq!(plain.validated, [plain.steps[4].clone(), plain.steps[9].clone(), plain.steps[14].clone()]);
    assert_eq!((&plain.validated, &plain_end), (&plain.ended, &plain.steps[14]));
    for threads in [1, 2] {
        for every in [1, 2, 7] {
            for warm_up in [false, true] {
                let mut average = Average::new(0.9).every(every as u64).warm_up(warm_up);
                let (seen, end) = run(&mut average, threads)?;
                assert_eq!(seen.steps, plain.steps, "training sees the weights, not the average");
                let decay = |n: usize| {
                    if warm_up { f64::min(0.9, (1.0 + n as f64) / (10.0 + n as f64)) } else { 0.9 }
                };
                for (epoch, validated) in seen.validated.iter().enumerate() {
                    let steps = &seen.steps[..5 * (epoch + 1)];
                    if steps.len() >= every {
                        assert_eq!(*validated, expected(steps, every, decay));
                    } else {
                        assert_eq!(validated, &steps[steps.len() - 1], "there is no average yet");
                    }
                }
                assert_eq!(seen.validated, seen.ended);
                assert_eq!(end, seen.validated[2]);
                assert_eq!(average.updates(), 15 / every as u64);
                let mut copy = model(Sgd::default(), 1)?;
                average.copy_to(&mut copy)?;
                assert_eq!(weights(&copy), end);
            }
        }
    }
    // Kept apart until it is asked for.
    let mut apart = Average::new(0.9).at_end(false);
    let (seen, end) = run(&mut apart, 1)?;
    assert_eq!(end, seen.steps[14]);
    let mut copy = model(Sgd::default(), 1)?;
    apart.copy_to(&mut copy)?;
    assert_eq!(weights(&copy), seen.validated[2]);
    Ok(())
}

/// Early stopping keeps what was evaluated: the average of the best epoch, on whichever side of it it stands.
#[test]
fn early_stopping_keeps_the_average() -> Result<()> {
    let (train, validation) = (points(1)?, points(2)?);
    for before in [true, false] {
        let mut model = model(Sgd { learning_rate: 1.0, ..Sgd::default() }, 1)?;
        let mut average = ExponentialMovingAverage::new(0.8);
        let mut stopping = EarlyStopping::new("validation_loss").patience(3).restore_best_weights(true);
        let options = Fit::new().epochs(200).batch_size(8).validation(&validation);
        let options = if before {
            options.callback(&mut average).callback(&mut stopping)
        } else {
            options.callback(&mut stopping).callback(&mut average)
        };
        let history = model.fit(&train, options)?;
        assert!(history.stopped);
        let best = stopping.best_epoch().unwrap();
        assert_eq!(Some(model.evaluate(&validation)?.loss), history.epochs[best - 1].validation_loss);
    }
    Ok(())
}

#[test]
fn bad_options_are_named() -> Result<()> {
    for decay in [-0.1, 1.5, f64::NAN] {
        let error = run(&mut ExponentialMovingAverage::new(decay), 1).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("ExponentialMovingAverage: decay: expected 0 to 1"), "{error}");
    }
    let error = run(&mut ExponentialMovingAverage::default().every(0), 1).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("ExponentialMovingAverage: every: expected at least 1"), "{error}");
    let error = ExponentialMovingAverage::default().copy_to(&mut model(Sgd::default(), 1)?).unwrap_err();
    assert!(matches!(error, Error::State { .. }), "{error}");
    Ok(())
}

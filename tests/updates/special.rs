//! What is not finite is reported; zeros and other edges.

use crate::cases::{cases, sizes, values};
use crate::common::contexts;
use gemmule::kernel::update::*;
use gemmule::{Context, Isa};

#[test]
fn a_gradient_that_is_not_finite_is_reported_wherever_it_stands() {
    for context in contexts() {
        for case in cases() {
            for length in [1, 7, 16, 17, 33, 50] {
                let state = || [values(0, length), sizes(1, length), vec![1.0; length], vec![2.0; length]];
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    for place in 0..length {
                        let mut gradients = values::<f32>(2, length);
                        // Large numbers are finite.
                        gradients[(place + 1) % length] = 1e15;
                        assert!(
                            case.step_all(&context, 1, &mut state(), &gradients).unwrap(),
                            "{}",
                            case.name
                        );
                        gradients[place] = bad;
                        let finite = case.step_all(&context, 1, &mut state(), &gradients);
                        // An infinite norm is a factor of 0, which PyTorch applies too.
                        let what = format!("{} {length} {place} {bad}", case.name);
                        assert!(
                            finite.is_ok_and(|finite| !finite) || case.name == "adam_clip_norm",
                            "{what}"
                        );
                    }
                }
            }
        }
    }
}

/// NaN in a parameter or in a state that the rule reads comes out as NaN of that element alone.
#[test]
fn nan_stays_where_it_is() {
    for context in contexts() {
        for case in cases() {
            for array in 0..4 {
                let old = [values::<f32>(0, 40), sizes(1, 40), vec![1.0; 40], vec![0.01; 40]];
                let (mut state, mut clean) = (old.clone(), old.clone());
                state[array][17] = f32::NAN;
                let finite = case.step_all(&context, 5, &mut state, &values(2, 40)).unwrap();
                assert!(case.step_all(&context, 5, &mut clean, &values(2, 40)).unwrap());
                if clean[array][17].to_bits() != old[array][17].to_bits() {
                    assert!(!finite, "{} array {array}", case.name);
                    assert!(
                        state[array][17].is_nan() && state[0][17].is_nan(),
                        "{} array {array}",
                        case.name
                    );
                }
                for (state, clean) in state.iter().zip(&clean) {
                    for i in (0..40).filter(|&i| i != 17) {
                        assert_eq!(state[i].to_bits(), clean[i].to_bits(), "{} {i}", case.name);
                    }
                }
            }
        }
    }
}

/// A finite gradient, but a parameter that is not: the rate is infinite in f32, or 0 is divided by 0. What is past the
/// end of the arrays says nothing.
#[test]
fn a_parameter_that_is_not_finite_is_reported() {
    for context in contexts() {
        for length in [1, 15, 16, 17, 33] {
            let zeros = || vec![0.0_f32; length];
            let steep = Sgd { learning_rate: 1e39, ..Sgd::default() }.step(1).unwrap();
            assert!(!sgd(&context, &steep, &mut zeros(), &vec![1.0; length]).unwrap());
            let bare = Adam { epsilon: 0.0, ..Adam::default() }.step(1).unwrap();
            let adam_step = |gradients: &[f32]| {
                adam(&context, &bare, &mut zeros(), gradients, &mut zeros(), &mut zeros())
            };
            assert!(adam_step(&vec![1.0; length]).unwrap(), "{length}");
            let mut gradients = vec![1.0; length];
            gradients[length - 1] = 0.0;
            assert!(!adam_step(&gradients).unwrap(), "{length}");
        }
    }
}

/// With momentum the velocity, with Adagrad the sum.
#[test]
fn the_first_step_ignores_what_the_state_held() {
    for context in contexts() {
        let step = Sgd { learning_rate: 0.5, momentum: 0.9, ..Sgd::default() }.step(1).unwrap();
        let (mut p, mut v) = (vec![1.0_f32; 20], vec![f32::NAN; 20]);
        assert!(momentum(&context, &step, &mut p, &[0.5; 20], &mut v).unwrap());
        assert_eq!((p, v), (vec![0.75; 20], vec![0.5; 20]));
        let options =
            Adagrad { learning_rate: 1.0, initial_accumulator: 3.75, epsilon: 0.0, ..Adagrad::default() };
        let (mut p, mut sum) = (vec![1.0_f32; 20], vec![f32::NAN; 20]);
        assert!(adagrad(&context, &options.step(1).unwrap(), &mut p, &[0.5; 20], &mut sum).unwrap());
        assert_eq!((p, sum), (vec![0.75; 20], vec![4.0; 20]));
    }
}

#[test]
fn late_steps_have_no_bias() {
    // beta^step underflows to nothing, and the power of large exponents is quick; so is NAdam's product.
    let context = Context::new(Isa::Portable).unwrap();
    for (i, step) in [Adam::default().step(u64::MAX), RAdam::default().step(u64::MAX)].into_iter().enumerate()
    {
        let (mut p, mut m, mut v) = ([1.0_f64], [0.5], [0.25]);
        adam(&context, &step.unwrap(), &mut p, &[0.5], &mut m, &mut v).unwrap();
        assert!((p[0] - (1.0 - 1e-3)).abs() < 1e-10, "{i}: {p:?}");
    }
    for momentum_decay in [0.0, 4e-3, 1.0, 1e300] {
        for beta1 in [0.0, 0.9, 0.999] {
            let options = NAdam { learning_rate: 1e-3, momentum_decay, beta1, ..NAdam::default() };
            let (mut p, mut m, mut v) = ([1.0_f64], [0.5], [0.25]);
            let step = options.step(u64::MAX).unwrap();
            nadam(&context, &step, &mut p, &[0.5], &mut m, &mut v).unwrap();
            // (1 - mu) g + mu m, over sqrt(v), which are all 1/2.
            let mu = if momentum_decay == 0.0 { beta1 / 2.0 } else { beta1 };
            assert!((p[0] - (1.0 - 1e-3)).abs() < 1e-10, "{mu}: {p:?}");
        }
    }
}

/// Zeros have no sign: Lion and the L1 penalty leave them where they are, as far as they go.
#[test]
fn zero_has_no_sign() {
    for context in contexts() {
        let g = [0.0_f32, -0.0, 1e-30, -1e-30, 5.0];
        let mut p = [1.0_f32; 5];
        let step = Lion { learning_rate: 0.5, ..Lion::default() }.step(1).unwrap();
        assert!(lion(&context, &step, &mut p, &g, &mut [0.0; 5]).unwrap());
        assert_eq!(p, [1.0, 1.0, 0.5, 1.5, 0.5]);
        let mut p = [0.0_f32, -0.0, 1e-30, -1e-30, f32::NAN];
        let step = Sgd { learning_rate: 0.5, l1: 0.5, ..Sgd::default() }.step(1).unwrap();
        assert!(!sgd(&context, &step, &mut p, &[0.0; 5]).unwrap());
        assert_eq!(p[..4], [0.0, 0.0, -0.25, 0.25]);
        assert!(p[4].is_nan());
    }
}

/// PyTorch's centered RMSprop ends in NaN here: constant gradients, so the variance is a rounding error around 0.
#[test]
fn a_centered_variance_is_never_negative() {
    for context in contexts() {
        for g in [0.1_f32, 0.3, 1.7, 1e-3, 123.4] {
            let options = RmsProp { centered: true, alpha: 0.5, ..RmsProp::default() };
            let (mut p, mut square, mut mean) = ([0.0_f32; 20], [0.0; 20], [0.0; 20]);
            for number in 1..=200 {
                let step = options.step(number).unwrap();
                assert!(rmsprop(&context, &step, &mut p, &[g; 20], &mut square, &mut [], &mut mean).unwrap());
            }
        }
    }
}

/// A factor in the pass is the same as a pass before it: to the bit for powers of two, which round nothing.
#[test]
fn gradient_scale_is_a_pass_saved() {
    for context in contexts() {
        let g = values::<f32>(1, 50);
        let half: Vec<f32> = g.iter().map(|g| g * 0.5).collect();
        let options = AdamW { l1: 0.01, ..AdamW::default() };
        let run = |step: &Step<AdamRule>, g: &[f32]| {
            let (mut p, mut m, mut v) = (values::<f32>(0, 50), vec![0.0; 50], vec![0.0; 50]);
            adam(&context, step, &mut p, g, &mut m, &mut v).unwrap();
            (p, m, v)
        };
        let scaled = options.step(1).unwrap().gradient_scale(2.0).unwrap().gradient_scale(0.25).unwrap();
        assert_eq!(run(&scaled, &g), run(&options.step(1).unwrap(), &half));
        let clipped = scaled.clip_value(0.125).unwrap();
        let clamped: Vec<f32> = half.iter().map(|g| g.clamp(-0.125, 0.125)).collect();
        assert_eq!(run(&clipped, &g), run(&options.step(1).unwrap(), &clamped));
    }
}

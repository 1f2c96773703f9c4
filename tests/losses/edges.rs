//! Huge, infinite and missing numbers; bad input.

use super::WIDTHS;
use super::common::{all_bits, contexts};
use super::kinds::{Batch, KINDS, forward, oracle, uses_samples, with_gradient};
use gemmule::kernel::loss::{self, Cosine, CrossEntropy, MultiClassHinge, Rows};
use gemmule::{Context, Element, Isa, Result};

/// Rows of one logit that towers over or lies under the others.
#[test]
fn huge_logits_stay_finite() {
    for context in contexts() {
        for width in [2, 10, 16, 17, 40] {
            let rows = Rows::sum(width);
            for huge in [1e4_f64, 3e38, -1e4, -3e38] {
                for place in [0, width / 2, width - 1] {
                    let mut batch = Batch::new(1, width);
                    batch.x[place] = f64::from(huge as f32);
                    for class in 0..width {
                        batch.classes = vec![class as u32];
                        batch.soft = (0..width).map(|j| if j == class { 1.0 } else { 0.0 }).collect();
                        for name in ["classes", "soft", "binary", "multi"] {
                            let (_, losses, d) = with_gradient::<f32>(&context, name, &batch, rows);
                            let (loss, expected) = oracle(name, &batch);
                            let error = (f64::from(losses[0]) - loss).abs();
                            assert!(error <= 1e-6 * (1.0 + loss), "{name} {huge} {width}: {losses:?} {loss}");
                            for (ours, d) in d.iter().zip(&expected) {
                                assert!((f64::from(*ours) - d).abs() <= 1e-6, "{name} {huge}: {ours} {d}");
                            }
                        }
                    }
                }
            }
            // Both ends at once: the difference overflows, unless a target of a half keeps the loss in range.
            let mut batch = Batch::new(1, width);
            batch.x.fill(-3e38);
            batch.x[0] = 3e38;
            batch.classes = vec![1];
            batch.soft.fill(0.0);
            (batch.soft[0], batch.soft[1]) = (0.5, 0.5);
            let (_, losses, d) = with_gradient::<f32>(&context, "classes", &batch, rows);
            assert_eq!((losses[0], d[0], d[1]), (f32::INFINITY, 1.0, -1.0));
            let (_, losses, d) = with_gradient::<f32>(&context, "soft", &batch, rows);
            assert_eq!((losses[0], d[0], d[1]), (3e38, 0.5, -0.5));
            // The mean is in range where the sum is not.
            batch.x.fill(3e38);
            batch.soft.fill(0.0);
            for name in ["binary", "absolute", "huber"] {
                let height = if name == "huber" { 1.5 } else { 1.0 };
                let got = forward::<f32>(&context, name, &batch, rows)[0] / height;
                assert!(
                    (got / 3e38 - 1.0).abs() < 1e-6 || (name == "huber" && got.is_infinite()),
                    "{name}: {got}"
                );
            }
            // Squares that overflow, but no cosine.
            for (a, b) in [(3e38, 3e38), (3e38, -1e-3), (1e30, 1e-30), (-2.0, 3e38)] {
                batch.x.fill(a);
                batch.t.fill(b);
                let (_, losses, d) = with_gradient::<f32>(&context, "cosine_alike", &batch, rows);
                let expected = if b.abs() < 1e-6 { 1.0 } else { 1.0 - f32::signum((a * b) as f32) };
                assert!((losses[0] - expected).abs() < 1e-5, "{a} {b}: {losses:?}");
                assert!(d.iter().all(|d| d.is_finite()), "{a} {b}: {d:?}");
            }
        }
    }
}

#[test]
fn infinite_logits_are_defined() {
    for context in contexts() {
        for width in [2, 10, 16, 17, 40] {
            let rows = Rows::sum(width);
            let run = |name: &str, batch: &Batch| {
                let (_, losses, d) = with_gradient::<f32>(&context, name, batch, rows);
                (losses[0], d)
            };
            let mut batch = Batch::new(1, width);
            batch.x[1] = f64::NEG_INFINITY;
            batch.classes = vec![0];
            // No probability, and no loss from it.
            let mut without = batch.clone();
            without.x[1] = -1e4;
            let (loss, d) = run("classes", &batch);
            assert_eq!(loss, run("classes", &without).0);
            assert!(loss.is_finite() && d.iter().all(|d| d.is_finite()) && d[1] == 0.0);
            batch.soft[1] = 0.0;
            without.soft[1] = 0.0;
            let (loss, d) = run("soft", &batch);
            assert_eq!(loss, run("soft", &without).0);
            assert!(loss.is_finite() && d.iter().all(|d| d.is_finite()) && d[1] == 0.0);
            assert_eq!(run("kl", &batch).0, run("kl", &without).0);
            // As the class: infinitely wrong, with a gradient that is not.
            batch.classes = vec![1];
            batch.soft[1] = 0.5;
            for name in ["classes", "classes_smooth", "classes_weights", "soft", "soft_smooth", "kl"] {
                let (loss, d) = run(name, &batch);
                assert_eq!(loss, f32::INFINITY, "{name}");
                assert!(d.iter().all(|d| d.is_finite()), "{name}");
            }
            batch.x.fill(f64::NEG_INFINITY);
            assert!(run("classes", &batch).0.is_nan());
            batch.x = vec![0.0; width];
            batch.x[0] = f64::INFINITY;
            assert!(run("classes", &batch).0.is_nan());
            // A target of no probability adds nothing, also as a logarithm.
            batch.x = vec![-1.0; width];
            batch.t = vec![f64::NEG_INFINITY; width];
            batch.t[0] = 0.0;
            assert_eq!(run("kl_log", &batch).0, 1.0);
        }
    }
}

fn not_a_number<T: Element>() {
    for context in contexts() {
        for (name, width) in KINDS.into_iter().flat_map(|name| WIDTHS.map(|width| (name, width))) {
            let rows = Rows::sum(width);
            let mut clean = Batch::new(3, width);
            clean.ignore = u32::MAX;
            let (_, clean_losses, clean_d) = with_gradient::<T>(&context, name, &clean, rows);
            for place in (0..width).step_by(1 + width / 10) {
                let mut batch = clean.clone();
                batch.x[width + place] = f64::NAN;
                // All other targets zero: nothing may hide it.
                batch.soft[width..2 * width].fill(0.0);
                let (_, losses, d) = with_gradient::<T>(&context, name, &batch, rows);
                // The likelihood reads the class alone, and its gradient reads nothing; nor does the divergence's.
                if !name.starts_with("likelihood") || batch.classes[1] == place as u32 {
                    assert!(losses[1].is_nan(), "{name} {width} {place}: {}", losses[1]);
                }
                let blind = name.starts_with("likelihood") || name.starts_with("kl");
                if !(blind || name.starts_with("multi") && width == 1) {
                    assert!(d[width + place].is_nan(), "{name} {width} {place}: {}", d[width + place]);
                }
                // The neighbours do not notice.
                assert_eq!(all_bits(&losses[..1]), all_bits(&clean_losses[..1]));
                assert_eq!(all_bits(&losses[2..]), all_bits(&clean_losses[2..]));
                assert_eq!(all_bits(&d[..width]), all_bits(&clean_d[..width]));
                assert_eq!(all_bits(&d[2 * width..]), all_bits(&clean_d[2 * width..]));
            }
            // A target, and a weight.
            let mut batch = clean.clone();
            for targets in [&mut batch.t, &mut batch.soft, &mut batch.signs] {
                targets[2 * width - 1] = f64::NAN;
            }
            let (_, losses, _) = with_gradient::<T>(&context, name, &batch, rows);
            let by_class = ["classes", "likelihood", "multi"].iter().any(|start| name.starts_with(start));
            assert_eq!(losses[1].is_nan(), !by_class, "{name} {width}");
            if !uses_samples(name) {
                let weights = [T::one(), T::nan(), T::one()];
                let (sum, losses, d) = with_gradient::<T>(&context, name, &clean, rows.weighted(&weights));
                assert!(sum.is_nan() && losses[1].is_nan(), "{name}: {losses:?}");
                assert!(d.iter().enumerate().all(|(i, d)| i / width == 1 || !d.is_nan()));
            }
        }
    }
}

#[test]
fn not_a_number_comes_out_in_its_row_alone() {
    not_a_number::<f32>();
    not_a_number::<f64>();
}

#[test]
fn bad_input_says_what_and_why() {
    let context = &Context::new(Isa::Portable).unwrap();
    let (mut losses, mut d) = ([7.0_f32; 2], [7.0_f32; 6]);
    let text = |result: Result<f32>| result.unwrap_err().to_string();
    let (x, l, d) = (&[0.0_f32; 6][..], &mut losses, &mut d);
    let (rows, plain) = (Rows::mean(3), CrossEntropy::default());

    let result = loss::mean_squared_error(context, x, &x[..5], rows, l, Some(&mut d[..]));
    assert_eq!(text(result), "mean_squared_error: target: expected 6 elements (2 rows of 3), got 5");
    let result = loss::cross_entropy_soft(context, x, x, &plain, Rows::mean(0), l, Some(&mut d[..]));
    assert_eq!(text(result), "cross_entropy_soft: width: expected at least 1, got 0");
    let result = loss::binary_cross_entropy_logits(context, x, x, None, rows, l, Some(&mut d[..5]));
    assert_eq!(
        text(result),
        "binary_cross_entropy_logits: d_logits: expected 6 elements (2 rows of 3), got 5"
    );
    let result = loss::binary_cross_entropy_logits(context, x, x, Some(&x[..2]), rows, l, None);
    assert_eq!(
        text(result),
        "binary_cross_entropy_logits: positive_weight: expected 3, one per column, or 1, got 2"
    );
    let result = loss::mean_squared_error(context, x, x, rows.weighted(&x[..3]), l, None);
    assert_eq!(text(result), "mean_squared_error: sample_weights: expected 2, one per row, got 3");
    let classes = |classes: &[u32], options: CrossEntropy<'_, f32>, l: &mut [f32]| {
        text(loss::cross_entropy_classes(context, x, classes, &options, rows, l, None))
    };
    assert_eq!(classes(&[0], plain, l), "cross_entropy_classes: classes: expected 2, one per row, got 1");
    assert_eq!(
        classes(&[2, 3], plain, l),
        "cross_entropy_classes: classes: expected below the width 3, got class 3 of sample 1"
    );
    assert!(classes(&[2, u32::MAX], plain, l).contains("class 4294967295 of sample 1"));
    let options = CrossEntropy { ignore_index: Some(3), ..plain };
    assert!(classes(&[3, 4], options, l).contains("class 4 of sample 1"));
    let options = CrossEntropy { class_weights: Some(&x[..4]), ..plain };
    assert_eq!(
        classes(&[0, 0], options, l),
        "cross_entropy_classes: class_weights: expected 3, one per class, got 4"
    );
    for label_smoothing in [-0.1, 1.1, f64::NAN] {
        let options = CrossEntropy { label_smoothing, ..plain };
        assert!(classes(&[0, 0], options, l).contains("label_smoothing: expected from 0 to 1"));
    }
    let options = CrossEntropy { ignore_index: Some(3), ..plain };
    let result = loss::cross_entropy_soft(context, x, x, &options, rows, l, None);
    assert_eq!(text(result), "cross_entropy_soft: ignore_index: expected none, with soft targets, got 3");
    let result = loss::cross_entropy_classes(context, x, &[0; 2], &plain, Rows::mean(usize::MAX), l, None);
    assert!(text(result).contains("overflows"));
    for delta in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
        assert!(text(loss::huber(context, x, x, delta, rows, l, None)).contains("delta"), "{delta}");
    }
    for beta in [-1.0, f64::NAN, 1e300, 1e-300] {
        assert!(text(loss::smooth_l1(context, x, x, beta, rows, l, None)).contains("beta"), "{beta}");
    }
    assert!(text(loss::hinge(context, x, x, f64::NAN, rows, l, None)).contains("margin"));
    let options = MultiClassHinge { margin: f64::INFINITY, ..Default::default() };
    let result = loss::multi_class_hinge(context, x, &[0, 1], &options, rows, l, None);
    assert!(text(result).contains("margin"));
    let options = Cosine { margin: 1.5, ..Default::default() };
    assert!(text(loss::cosine(context, x, x, &options, rows, l, None)).contains("margin"));
    let options = Cosine { targets: Some(&[1.0, 0.0]), margin: 0.0 };
    assert_eq!(
        text(loss::cosine(context, x, x, &options, rows, l, None)),
        "cosine: targets: expected 1 or -1, got 0 in row 1"
    );
    assert_eq!((losses, *d), ([7.0; 2], [7.0; 6]), "nothing is written before the checks");
}

//! Mean, sum, none; weights of samples; what takes no part.

use super::common::contexts;
use super::kinds::{Batch, KINDS, run, uses_samples, with_gradient};
use gemmule::kernel::loss::{self, CrossEntropy, NegativeLogLikelihood, Reduction, Rows};
use gemmule::{Context, Element};

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-13 * (1.0 + a.abs())
}

/// What a row's weight counts in a mean.
fn total(name: &str, batch: &Batch) -> f64 {
    (0..batch.rows())
        .map(|i| {
            let class = batch.classes[i];
            let by_class = name.starts_with("classes") || name.starts_with("likelihood");
            let ignored = (name.contains("ignore") || name == "classes_all") && class == batch.ignore;
            let weighted = by_class && (name.contains("weights") || name == "classes_all");
            let weight = if weighted { batch.class_weights[class as usize] } else { 1.0 };
            let sample = if uses_samples(name) { batch.samples[i] } else { 1.0 };
            if ignored { 0.0 } else { weight * sample }
        })
        .sum()
}

#[test]
fn the_result_is_what_its_gradient_is_the_gradient_of() {
    for context in contexts() {
        for name in KINDS {
            let batch = Batch::new(19, 7);
            let weight = total(name, &batch);
            let (sum, losses, d) = with_gradient::<f64>(&context, name, &batch, Rows::sum(7));
            assert!(close(sum, losses.iter().sum()), "{name}: {sum}");
            let each = Rows { width: 7, reduction: Reduction::None, sample_weights: None };
            assert_eq!(with_gradient::<f64>(&context, name, &batch, each), (sum, losses.clone(), d.clone()));
            let (mean, same, d_mean) = with_gradient::<f64>(&context, name, &batch, Rows::mean(7));
            assert_eq!(same, losses);
            assert!(close(mean, sum / weight), "{name}: {mean}, not {}", sum / weight);
            let (scaled, same, d_scaled) =
                with_gradient::<f64>(&context, name, &batch, Rows::scaled(7, 1.0 / weight));
            assert_eq!(same, losses);
            assert!(close(scaled, mean), "{name}");
            for ((d, d_mean), d_scaled) in d.iter().zip(&d_mean).zip(&d_scaled) {
                assert!(close(d / weight, *d_mean) && close(*d_mean, *d_scaled), "{name}: {d} {d_mean}");
            }
        }
    }
}

/// Rows that hold nothing but NaN, and are left out by their weight.
fn left_out<T: Element>(context: &Context) {
    let nan = f64::NAN;
    for (name, width) in KINDS.into_iter().flat_map(|name| [(name, 1), (name, 7), (name, 40)]) {
        let mut batch = Batch::new(20, width);
        let mut weights = vec![T::from_f64(0.75); 20];
        for row in [0, 3, 4, 17] {
            weights[row] = T::zero();
            batch.x[row * width..(row + 1) * width].fill(nan);
        }
        // Those that have weights of their own are in other tests.
        if uses_samples(name) {
            continue;
        }
        let rows = Rows::sum(width).weighted(&weights);
        let (_, losses, d) = with_gradient::<T>(context, name, &batch, rows);
        let (_, plain, d_plain) = with_gradient::<T>(context, name, &batch, Rows::sum(width));
        for row in 0..20 {
            let elements = row * width..(row + 1) * width;
            if [0, 3, 4, 17].contains(&row) {
                assert!(losses[row] == T::zero(), "{name} {width} row {row}");
                assert!(d[elements].iter().all(|d| *d == T::zero()), "{name} {width} row {row}");
                continue;
            }
            let near = |a: T, b: T| {
                let (a, b) = (Element::to_f64(a), 0.75 * Element::to_f64(b));
                (a - b).abs() <= 2.0 * Element::to_f64(T::epsilon()) * b.abs()
            };
            assert!(near(losses[row], plain[row]), "{name} {width} row {row}: {}", losses[row]);
            assert!(elements.clone().all(|i| near(d[i], d_plain[i])), "{name} {width} row {row}");
        }
        // Nothing is left.
        weights.fill(T::zero());
        for rows in [Rows::mean(width), Rows::sum(width)] {
            let (result, losses, d) = with_gradient::<T>(context, name, &batch, rows.weighted(&weights));
            assert!(result == T::zero() && losses.iter().chain(&d).all(|x| *x == T::zero()), "{name}");
        }
    }
}

#[test]
fn what_has_no_weight_takes_no_part_whatever_it_holds() {
    for context in contexts() {
        left_out::<f32>(&context);
        left_out::<f64>(&context);
    }
}

/// A mean whose weights add up to 0 has nothing to divide by, though no row is left out.
#[test]
fn weights_that_cancel_give_a_mean_of_zero_without_a_gradient() {
    let own = |name: &str| uses_samples(name) || name.contains("weights") || name.contains("ignore");
    for context in contexts() {
        for name in KINDS.into_iter().filter(|name| !own(name)) {
            for width in [1, 7, 40] {
                let rows = Rows::mean(width).weighted(&[0.5, -0.5]);
                let (mean, losses, d) = with_gradient::<f32>(&context, name, &Batch::new(2, width), rows);
                assert!(mean == 0.0 && losses.iter().all(|loss| loss.is_finite()), "{name} {width}: {mean}");
                assert!(d.iter().all(|d| *d == 0.0), "{name} {width}: {d:?}");
            }
        }
    }
}

#[test]
fn a_batch_of_ignored_samples_is_zero() {
    for context in contexts() {
        for (width, smoothing) in [(5, 0.0), (5, 0.1), (40, 0.0), (40, 0.1)] {
            let x = vec![f32::NAN; 3 * width];
            let (mut losses, mut d) = ([7.0; 3], vec![7.0; 3 * width]);
            for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::Scaled(0.5)] {
                let rows = Rows { width, reduction, sample_weights: None };
                let ignore_index = Some(u32::MAX);
                let options = CrossEntropy { ignore_index, label_smoothing: smoothing, ..Default::default() };
                let classes = [u32::MAX; 3];
                let result = loss::cross_entropy_classes(
                    &context,
                    &x,
                    &classes,
                    &options,
                    rows,
                    &mut losses,
                    Some(&mut d),
                );
                assert_eq!((result.unwrap(), losses), (0.0, [0.0; 3]));
                assert!(d.iter().all(|d| *d == 0.0));
                let options = NegativeLogLikelihood { ignore_index, class_weights: None };
                (losses, d) = ([7.0; 3], vec![7.0; 3 * width]);
                let result = loss::negative_log_likelihood(
                    &context,
                    &x,
                    &classes,
                    &options,
                    rows,
                    &mut losses,
                    Some(&mut d),
                );
                assert_eq!((result.unwrap(), losses), (0.0, [0.0; 3]));
                assert!(d.iter().all(|d| *d == 0.0));
            }
        }
        for name in KINDS {
            let batch = Batch { alike: vec![], samples: vec![], ..Batch::new(0, 3) };
            let result = run::<f32>(&context, name, &batch, Rows::mean(3), &mut [], Some(&mut []));
            assert_eq!(result.unwrap(), 0.0, "{name}: no rows");
        }
    }
}

#[test]
fn a_mean_is_in_range_where_the_sum_is_not() {
    for context in contexts() {
        let (x, t, mut losses) = ([3e38_f32; 9], [0.0; 9], [0.0; 9]);
        let rows = Rows::mean(1);
        let mean = loss::mean_absolute_error(&context, &x, &t, rows, &mut losses, None).unwrap();
        assert!((mean / 3e38 - 1.0).abs() < 1e-6, "{mean}");
        let sum = loss::mean_absolute_error(&context, &x, &t, Rows::sum(1), &mut losses, None).unwrap();
        assert_eq!(sum, f32::INFINITY);
    }
}

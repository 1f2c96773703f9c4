//! Variances and norms.

use super::common::{all_bits, contexts};
use super::{NORMS, TWO_TO_MINUS_600, exact, numbers};
use gemmule::Element;
use gemmule::kernel::{reduce, reduce::Norm};

fn exact_moments(x: &[f64]) -> (f64, f64) {
    let shift = x[0];
    let n = x.len() as f64;
    let mean = x.iter().map(|x| x - shift).sum::<f64>() / n;
    (shift + mean, x.iter().map(|x| (x - shift - mean) * (x - shift - mean)).sum())
}

/// Mean and variance of `x` as a slice, and as a column among others.
fn moments<T: Element>(x: &[T], bound: f64) {
    let (mean, squares) = exact_moments(&exact(x).collect::<Vec<_>>());
    let u = Element::to_f64(T::epsilon()) / 2.0;
    for context in contexts() {
        for correction in [0, 1] {
            if x.len() <= correction {
                continue;
            }
            let expected = squares / (x.len() - correction) as f64;
            let check = |ours: (T, T)| {
                let (m, v) = (Element::to_f64(ours.0), Element::to_f64(ours.1));
                let told = format!("{} of {mean} {expected}, got {m} {v} {}", x.len(), context.isa());
                assert!((v - expected).abs() <= bound * u * expected, "{told}");
                assert!((m - mean).abs() <= 2.0 * u * mean.abs() + bound * u * expected.sqrt(), "{told}");
            };
            check(reduce::mean_variance(&context, x, correction).unwrap());
            let width = 21;
            let matrix: Vec<T> =
                x.iter().flat_map(|&x| (0..width).map(move |j| x * T::from_f64(j as f64))).collect();
            let (mut means, mut variances) = (vec![T::zero(); width], vec![T::zero(); width]);
            reduce::column_means_variances(&context, &matrix, width, correction, &mut means, &mut variances)
                .unwrap();
            check((means[1], variances[1]));
            assert_eq!((means[0], variances[0]), (T::zero(), T::zero()));
        }
    }
}

#[test]
fn a_variance_is_accurate_where_the_mean_is_large() {
    for length in [1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129, 500, 4096, 4097, 9000, 40_000] {
        let spread = |centre: f64, width: f64| -> Vec<f64> {
            numbers::<f64>(length as u64, length).iter().map(|x| centre + 1.732 * width * x).collect()
        };
        let singles = |x: Vec<f64>| -> Vec<f32> { x.iter().map(|&x| x as f32).collect() };
        // With 10 a plain sum of squares less the square of the sum still has 2 digits, with 1e4 none.
        moments::<f32>(&singles(spread(0.0, 1.0)), 100.0);
        moments::<f32>(&singles(spread(-10.0, 1e-2)), 100.0);
        moments::<f32>(&singles(spread(1e4, 1e-2)), 100.0);
        moments::<f64>(&spread(1e4, 1e-2), 3000.0);
        // Sorted, so that the first chunk's pivot is far from the mean; and one chunk far from all others.
        let mut sorted = spread(1e3, 1.0);
        sorted.sort_by(f64::total_cmp);
        moments::<f32>(&singles(sorted), 200.0);
        let mut first = spread(1.0, 1e-3);
        first[0] = 1000.0;
        moments::<f32>(&singles(first), 200.0);
    }
    let constant = [0.1_f32; 5000];
    let (mean, variance) = reduce::mean_variance(&contexts()[0], &constant, 1).unwrap();
    assert!(mean == 0.1 && variance < 1e-18, "{mean} {variance}");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 63, 64, 4999] {
            let mut x = constant;
            x[place] = bad;
            let (mean, variance) = reduce::mean_variance(&contexts()[0], &x, 1).unwrap();
            assert!(mean.is_nan() && variance.is_nan());
        }
    }
}

fn norms<T: Element>(scales: &[f64]) {
    let u = Element::to_f64(T::epsilon()) / 2.0;
    for context in contexts() {
        for length in [1, 2, 15, 16, 17, 64, 65, 130, 1000, 4097] {
            for &scale in scales {
                let x: Vec<T> = exact(&numbers::<T>(13, length)).map(|x| T::from_f64(x * scale)).collect();
                // Scaled by a power of two, so that the oracle neither overflows nor underflows.
                let power = match (T::NAME, scale) {
                    ("f64", 1e10..) => TWO_TO_MINUS_600,
                    ("f64", ..1e-10) => 1.0 / TWO_TO_MINUS_600,
                    _ => 1.0,
                };
                let x64: Vec<f64> = exact(&x).map(|x| x * power).collect();
                let expected = [
                    x64.iter().map(|x| x.abs()).sum::<f64>() / power,
                    x64.iter().map(|x| x * x).sum::<f64>().sqrt() / power,
                    x64.iter().map(|x| x.abs()).fold(0.0, f64::max) / power,
                ];
                for (norm, expected) in NORMS.into_iter().zip(expected) {
                    let slice = reduce::norm(&context, norm, &x);
                    let mut column = [T::nan()];
                    reduce::column_norms(&context, norm, &x, 1, &mut column).unwrap();
                    for (ours, bound) in [(slice, 70.0), (column[0], length as f64 + 3.0)] {
                        let told = format!(
                            "{norm:?} {length} {scale:e}: {ours:e} for {expected:e} {}",
                            context.isa()
                        );
                        if expected > Element::to_f64(T::max_value()) {
                            assert_eq!(ours, T::infinity(), "{told}");
                            continue;
                        }
                        let tiny = Element::to_f64(T::min_positive_value() * T::epsilon());
                        let bound = if norm == Norm::Infinity { 0.0 } else { bound };
                        let error = (Element::to_f64(ours) - expected).abs();
                        assert!(error <= bound * (u * expected + tiny), "{told}");
                    }
                }
            }
        }
        // A small element beside large ones, infinities, NaN, zeros, nothing.
        let [largest, infinity, nan] = [T::max_value(), T::infinity(), T::nan()];
        assert_eq!(reduce::norm(&context, Norm::L2, &[largest, T::min_positive_value()]), largest);
        assert_eq!(reduce::norm(&context, Norm::L2, &[largest, largest]), infinity);
        for norm in NORMS {
            assert_eq!(reduce::norm(&context, norm, &[T::one(), -infinity]), infinity, "{norm:?}");
            assert!(reduce::norm(&context, norm, &[infinity, nan, T::one()]).is_nan(), "{norm:?}");
            assert!(reduce::norm(&context, norm, &[nan; 100]).is_nan(), "{norm:?}");
            assert_eq!(reduce::norm(&context, norm, &[-T::zero(); 100]).bits(), 0, "{norm:?}");
            assert_eq!(reduce::norm::<T>(&context, norm, &[]).bits(), 0, "{norm:?}");
            // Lanes side by side take the way that each needs: safe, too large, too small, NaN, infinite, zero.
            let row = [T::one(), largest, T::min_positive_value(), nan, infinity, T::zero()];
            let mut out = [T::zero(); 6];
            reduce::column_norms(&context, norm, &row, 6, &mut out).unwrap();
            assert_eq!(all_bits(&out), all_bits(&row), "{norm:?}");
            reduce::column_norms(&context, norm, &[], 6, &mut out).unwrap();
            assert_eq!(all_bits(&out), [0; 6], "{norm:?}");
        }
    }
}

#[test]
fn a_norm_neither_overflows_nor_underflows() {
    norms::<f32>(&[1.0, 1e30, 3e38, 1e-30, 1e-38, 1e-43, 1e18, 1e19, 1e20, 1e-18, 1e-19, 1e-20, 1e-22]);
    norms::<f64>(&[1.0, 1e300, 1.7e308, 1e-300, 1e-310, 1e153, 1e155, 1e-153, 1e-155, 1e-160]);
}

//! Softmax and its relatives: against f64, row by row, with the same bits everywhere.
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

mod common;

use common::{HASH_START, all_bits, cast, contexts, hash, random};
use gemmule::kernel::softmax;
use gemmule::{Context, Element, Error, Result};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

#[test]
fn softmax_matches_f64_at_every_width() {
    for context in contexts() {
        for width in (1..=70).chain([100, 127, 128, 129, 512, 1000, 1024, 1025, 5000]) {
            check_softmax::<f32>(&context, width, f64::from(f32::EPSILON));
            check_softmax::<f64>(&context, width, f64::EPSILON);
        }
    }
}

/// Neumaier's sum: without it the oracle is off by more than what it checks.
fn compensated_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for x in terms {
        let next = sum + x;
        lost += if sum.abs() >= x.abs() { (sum - next) + x } else { (x - next) + sum };
        sum = next;
    }
    sum + lost
}

fn check_softmax<T: Element>(context: &Context, width: usize, epsilon: f64) {
    let scale = [0.5, 5.0, 60.0][width % 3];
    let input: Vec<T> = cast(&random(width as u64, 3 * width).iter().map(|x| x * scale).collect::<Vec<_>>());
    let (mut y, mut log, mut sums) = (input.clone(), input.clone(), vec![T::zero(); 3]);
    softmax::forward(context, &input, &mut y, width).unwrap();
    softmax::log_softmax(context, &input, &mut log, width).unwrap();
    softmax::log_sum_exp(context, &input, &mut sums, width).unwrap();
    for row in 0..3 {
        let range = row * width..(row + 1) * width;
        let x = &input[range.clone()];
        let max = x.iter().copied().fold(T::neg_infinity(), |a, b| if a > b { a } else { b });
        // The difference is rounded to T, as is documented; all else is exact.
        let shifted: Vec<f64> = x.iter().map(|&x| (x - max).to_f64()).collect();
        let sum = compensated_sum(shifted.iter().map(|x| x.exp()));
        for (i, &shift) in shifted.iter().enumerate() {
            let (got, exact) = (y[range.start + i].to_f64(), shift.exp() / sum);
            assert!((got - exact).abs() <= 4.0 * epsilon * exact + 1e-44, "{width}: {got:e}, not {exact:e}");
            let (got, exact) = (log[range.start + i].to_f64(), shift - sum.ln());
            assert!(
                (got - exact).abs() <= 2.0 * epsilon * (exact.abs() + 4.0),
                "{width}: {got}, not {exact}"
            );
        }
        let exact = max.to_f64() + sum.ln();
        let error = (sums[row].to_f64() - exact).abs();
        assert!(error <= 2.0 * epsilon * (exact.abs() + max.to_f64().abs() + 4.0), "{width}: {exact}");
        // The row alone gives the same bits, at any alignment.
        let mut alone = vec![T::zero(); width + row + 1];
        softmax::forward(context, x, &mut alone[row + 1..], width).unwrap();
        assert_eq!(all_bits(&alone[row + 1..]), all_bits(&y[range.clone()]));
        softmax::log_softmax(context, x, &mut alone[row + 1..], width).unwrap();
        assert_eq!(all_bits(&alone[row + 1..]), all_bits(&log[range]));
    }
}

#[test]
fn softmax_of_extreme_rows_is_what_the_documentation_says() {
    for context in contexts() {
        for width in [1_usize, 3, 10, 16, 17, 40] {
            let run = |x: &[f32]| {
                let (mut y, mut log, mut sum) = (x.to_vec(), x.to_vec(), [0.0]);
                softmax::forward(&context, x, &mut y, width).unwrap();
                softmax::log_softmax(&context, x, &mut log, width).unwrap();
                softmax::log_sum_exp(&context, x, &mut sum, width).unwrap();
                (y, log, sum[0])
            };
            for large in [3e38, -3e38, 0.0] {
                let (y, log, sum) = run(&vec![large; width]);
                assert!(y.iter().all(|y| (y * width as f32 - 1.0).abs() < 1e-6));
                assert!(log.iter().all(|y| (y + (width as f32).ln()).abs() < 1e-6));
                assert!(sum.is_finite());
            }
            for (filler, value) in [(-3e38, 3e38), (-INF, 0.0), (-INF, 3e38), (-INF, -3e38)] {
                for place in 0..width {
                    let mut x = vec![filler; width];
                    x[place] = value;
                    let (y, log, sum) = run(&x);
                    let one_hot = (0..width).all(|i| y[i] == if i == place { 1.0 } else { 0.0 });
                    assert!(one_hot && log[place] == 0.0 && sum == value);
                }
            }
            let (y, log, sum) = run(&vec![-INF; width]);
            assert!(y.iter().chain(&log).all(|y| y.is_nan()) && sum == -INF);
            for place in 0..width {
                let mut x = vec![1.0; width];
                x[place] = INF;
                let (y, log, sum) = run(&x);
                assert!(y[place].is_nan() && log[place].is_nan() && sum == INF);
                assert!(y.iter().chain(&log).all(|y| y.is_nan()), "width {width} place {place}");
                x[place] = NAN;
                let (y, log, sum) = run(&x);
                assert!(y.iter().chain(&log).all(|y| y.is_nan()) && sum.is_nan());
            }
        }
    }
}

#[test]
fn softmax_gradients_match_central_differences() {
    let step = 1e-5;
    for context in contexts() {
        for width in [1, 2, 7, 8, 10, 33, 70] {
            let x = random(11, width);
            let d = random(13, width);
            for log in [false, true] {
                let forward = |x: &[f64]| {
                    let mut y = vec![0.0; width];
                    let run = if log { softmax::log_softmax } else { softmax::forward };
                    run(&context, x, &mut y, width).unwrap();
                    y
                };
                let loss = |x: &[f64]| forward(x).iter().zip(&d).map(|(y, d)| y * d).sum::<f64>();
                let mut gradient = vec![0.0; width];
                let backward = if log { softmax::log_softmax_backward } else { softmax::backward };
                backward(&context, &forward(&x), &d, &mut gradient, width).unwrap();
                for i in 0..width {
                    let (mut above, mut below) = (x.clone(), x.clone());
                    above[i] += step;
                    below[i] -= step;
                    let difference = (loss(&above) - loss(&below)) / (2.0 * step);
                    assert!(
                        (gradient[i] - difference).abs() <= 1e-7,
                        "{width}: {} {difference}",
                        gradient[i]
                    );
                }
            }
        }
    }
}

/// A hash of softmax, its relatives and their gradients.
fn softmax_hash<T: Element>(context: &Context) -> u64 {
    let mut result = HASH_START;
    for width in [1, 7, 10, 16, 17, 100, 512, 1500] {
        let x: Vec<T> = cast(&random(17, 4 * width).iter().map(|x| x * 6.0).collect::<Vec<_>>());
        let d: Vec<T> = cast(&random(19, 4 * width));
        let (mut y, mut g, mut sums) = (x.clone(), x.clone(), vec![T::zero(); 4]);
        softmax::forward(context, &x, &mut y, width).unwrap();
        softmax::backward(context, &y, &d, &mut g, width).unwrap();
        result = hash(&g, hash(&y, result));
        softmax::log_softmax(context, &x, &mut y, width).unwrap();
        softmax::log_softmax_backward(context, &y, &d, &mut g, width).unwrap();
        softmax::log_sum_exp(context, &x, &mut sums, width).unwrap();
        result = hash(&sums, hash(&g, hash(&y, result)));
    }
    result
}

#[test]
fn softmax_has_the_committed_bits() {
    for context in contexts().into_iter().filter(|context| context.isa().has_fma()) {
        let got = (softmax_hash::<f32>(&context), softmax_hash::<f64>(&context));
        assert_eq!(
            got,
            (0xf80b_3333_c174_b368, 0x1421_234b_f693_e545),
            "{}: ({:#018x}, {:#018x})",
            context.isa(),
            got.0,
            got.1
        );
    }
}

/// Rows sum to 1 within 4 ULP times the root of their width.
fn check_sums<T: Element>(context: &Context) {
    for width in [1, 2, 10, 16, 17, 100, 512, 1000, 4096, 20_000] {
        for scale in [0.1, 3.0, 50.0] {
            let numbers: Vec<f64> = random(23, 2 * width).iter().map(|x| x * scale).collect();
            let mut y: Vec<T> = cast(&numbers);
            softmax::forward_in_place(context, &mut y, width).unwrap();
            for row in y.chunks(width) {
                let sum = compensated_sum(row.iter().map(|y| Element::to_f64(*y)));
                let bound = 4.0 * Element::to_f64(T::epsilon()) * (width as f64).sqrt();
                assert!((sum - 1.0).abs() <= bound, "{} {width}: {sum}", T::NAME);
            }
        }
    }
}

#[test]
fn rows_sum_to_one() {
    for context in contexts() {
        check_sums::<f32>(&context);
        check_sums::<f64>(&context);
    }
}

/// In place gives the same bits; so does a mask that keeps all.
fn check_forms<T: Element>(context: &Context) {
    for width in (1..=40).chain([512, 1500]) {
        let rows = 3;
        let x: Vec<T> = cast(&random(29, rows * width).iter().map(|x| x * 6.0).collect::<Vec<_>>());
        let d: Vec<T> = cast(&random(31, rows * width));
        let (all, one_row) = (vec![true; rows * width], vec![true; width]);
        let same = |a: &[T], b: &[T]| assert_eq!(all_bits(a), all_bits(b), "{width}");
        let (mut y, mut g, mut z) = (x.clone(), x.clone(), x.clone());
        softmax::forward(context, &x, &mut y, width).unwrap();
        softmax::forward_in_place(context, &mut z, width).unwrap();
        same(&y, &z);
        softmax::masked::forward(context, &x, &all, &mut z, width).unwrap();
        same(&y, &z);
        z.copy_from_slice(&x);
        softmax::masked::forward_in_place(context, &mut z, &one_row, width).unwrap();
        same(&y, &z);
        softmax::backward(context, &y, &d, &mut g, width).unwrap();
        z.copy_from_slice(&d);
        softmax::backward_in_place(context, &y, &mut z, width).unwrap();
        same(&g, &z);
        softmax::masked::backward(context, &y, &all, &d, &mut z, width).unwrap();
        same(&g, &z);
        z.copy_from_slice(&d);
        softmax::masked::backward_in_place(context, &y, &one_row, &mut z, width).unwrap();
        same(&g, &z);

        softmax::log_softmax(context, &x, &mut y, width).unwrap();
        z.copy_from_slice(&x);
        softmax::log_softmax_in_place(context, &mut z, width).unwrap();
        same(&y, &z);
        softmax::masked::log_softmax(context, &x, &all, &mut z, width).unwrap();
        same(&y, &z);
        z.copy_from_slice(&x);
        softmax::masked::log_softmax_in_place(context, &mut z, &one_row, width).unwrap();
        same(&y, &z);
        softmax::log_softmax_backward(context, &y, &d, &mut g, width).unwrap();
        z.copy_from_slice(&d);
        softmax::log_softmax_backward_in_place(context, &y, &mut z, width).unwrap();
        same(&g, &z);
        softmax::masked::log_softmax_backward(context, &y, &all, &d, &mut z, width).unwrap();
        same(&g, &z);
        z.copy_from_slice(&d);
        softmax::masked::log_softmax_backward_in_place(context, &y, &one_row, &mut z, width).unwrap();
        same(&g, &z);

        let (mut sums, mut masked) = (vec![T::zero(); rows], vec![T::zero(); rows]);
        softmax::log_sum_exp(context, &x, &mut sums, width).unwrap();
        softmax::masked::log_sum_exp(context, &x, &one_row, &mut masked, width).unwrap();
        same(&sums, &masked);
        softmax::log_sum_exp_backward(context, &x, &sums, &d[..rows], &mut g, width).unwrap();
        z.copy_from_slice(&x);
        softmax::log_sum_exp_backward_in_place(context, &mut z, &sums, &d[..rows], width).unwrap();
        same(&g, &z);
        softmax::masked::log_sum_exp_backward(context, &x, &all, &sums, &d[..rows], &mut z, width).unwrap();
        same(&g, &z);
        z.copy_from_slice(&x);
        softmax::masked::log_sum_exp_backward_in_place(context, &mut z, &one_row, &sums, &d[..rows], width)
            .unwrap();
        same(&g, &z);
    }
}

#[test]
fn all_forms_have_the_same_bits() {
    for context in contexts() {
        check_forms::<f32>(&context);
        check_forms::<f64>(&context);
    }
}

/// What is left out does not matter, and the rest is as if it were alone, but for the order of the sums.
#[test]
fn masked_elements_take_no_part() {
    for context in contexts() {
        for width in [1_usize, 2, 5, 8, 10, 17, 40, 100] {
            let clean = random(37, 4 * width);
            let clean_d = random(41, 4 * width);
            // A row that keeps nothing, one that keeps all, and two others.
            let mut keep: Vec<bool> = random(43, 4 * width).iter().map(|x| *x > -0.3).collect();
            keep[..width].fill(false);
            keep[width..2 * width].fill(true);
            for garbage in [f64::NAN, f64::INFINITY, 1e300, f64::NEG_INFINITY, 0.5] {
                let spoil = |clean: &[f64]| -> Vec<f64> {
                    clean.iter().zip(&keep).map(|(x, keep)| if *keep { *x } else { garbage }).collect()
                };
                let (x, d) = (spoil(&clean), spoil(&clean_d));
                let run = |f: &dyn Fn(&mut [f64]) -> Result<()>| {
                    let mut out = vec![7.0; 4 * width];
                    f(&mut out).unwrap();
                    out
                };
                let y = run(&|y| softmax::masked::forward(&context, &x, &keep, y, width));
                let log = run(&|y| softmax::masked::log_softmax(&context, &x, &keep, y, width));
                let mut sums = [7.0; 4];
                softmax::masked::log_sum_exp(&context, &x, &keep, &mut sums, width).unwrap();
                let d_y = run(&|g| softmax::masked::backward(&context, &y, &keep, &d, g, width));
                let d_log =
                    run(&|g| softmax::masked::log_softmax_backward(&context, &log, &keep, &d, g, width));
                let d_sum = run(&|g| {
                    softmax::masked::log_sum_exp_backward(&context, &x, &keep, &sums, &clean_d[..4], g, width)
                });
                for row in 0..4 {
                    let at = row * width..(row + 1) * width;
                    let kept: Vec<usize> = at.clone().filter(|i| keep[*i]).collect();
                    for i in at.filter(|i| !keep[*i]) {
                        assert_eq!((y[i], log[i]), (0.0, -f64::INFINITY), "{width} {garbage}");
                        assert_eq!((d_y[i], d_log[i], d_sum[i]), (0.0, 0.0, 0.0), "{width} {garbage}");
                    }
                    if kept.is_empty() {
                        assert_eq!(sums[row], -f64::INFINITY);
                        continue;
                    }
                    let pick = |from: &[f64]| kept.iter().map(|&i| from[i]).collect::<Vec<_>>();
                    let (x, d, n) = (pick(&clean), pick(&clean_d), kept.len());
                    let near = |got: Vec<f64>, expected: &[f64]| {
                        for (got, expected) in got.iter().zip(expected) {
                            assert!((got - expected).abs() < 1e-14 * n as f64, "{width}: {got} {expected}");
                        }
                    };
                    let (mut alone, mut g, mut sum) = (x.clone(), x.clone(), [0.0]);
                    softmax::forward(&context, &x, &mut alone, n).unwrap();
                    softmax::backward(&context, &alone, &d, &mut g, n).unwrap();
                    near(pick(&y), &alone);
                    near(pick(&d_y), &g);
                    softmax::log_softmax(&context, &x, &mut alone, n).unwrap();
                    softmax::log_softmax_backward(&context, &alone, &d, &mut g, n).unwrap();
                    near(pick(&log), &alone);
                    near(pick(&d_log), &g);
                    softmax::log_sum_exp(&context, &x, &mut sum, n).unwrap();
                    softmax::log_sum_exp_backward(&context, &x, &sum, &clean_d[row..=row], &mut g, n)
                        .unwrap();
                    near(vec![sums[row]], &sum);
                    near(pick(&d_sum), &g);
                }
            }
        }
    }
}

#[test]
fn kept_elements_without_a_softmax_are_nan_and_the_others_zero() {
    for context in contexts() {
        for (value, width) in [(-INF, 5), (INF, 5), (NAN, 5), (-INF, 40), (INF, 40), (NAN, 40)] {
            let (mut x, mut keep) = (vec![value; width], vec![true; width]);
            (keep[1], x[1]) = (false, 3.0);
            let (mut y, mut log, mut sum) = (x.clone(), x.clone(), [0.0_f32]);
            softmax::masked::forward(&context, &x, &keep, &mut y, width).unwrap();
            softmax::masked::log_softmax(&context, &x, &keep, &mut log, width).unwrap();
            softmax::masked::log_sum_exp(&context, &x, &keep, &mut sum, width).unwrap();
            assert!(y[0].is_nan() && log[0].is_nan() && y[1] == 0.0 && log[1] == -INF, "{value} {width}");
            assert!(sum[0] == value || value.is_nan() && sum[0].is_nan());
            // Nor do the gradients of those that are left out see it, or an infinite one of those that are kept.
            let (mut g, mut d) = (vec![7.0; width], vec![1.0; width]);
            softmax::masked::backward(&context, &y, &keep, &d, &mut g, width).unwrap();
            assert!(g[0].is_nan() && g[1] == 0.0, "{value} {width}: {}", g[1]);
            softmax::masked::log_softmax_backward(&context, &log, &keep, &d, &mut g, width).unwrap();
            assert!(g[0].is_nan() && g[1] == 0.0, "{value} {width}: {}", g[1]);
            d[width - 1] = INF;
            x.fill(0.5);
            softmax::masked::forward(&context, &x, &keep, &mut y, width).unwrap();
            softmax::masked::backward(&context, &y, &keep, &d, &mut g, width).unwrap();
            assert!(!g[0].is_finite() && g[1] == 0.0, "{value} {width}: {}", g[1]);
        }
    }
}

#[test]
fn log_sum_exp_gradients_match_central_differences() {
    let step = 1e-5;
    for context in contexts() {
        for width in [1, 2, 7, 8, 10, 33, 70] {
            let (x, d) = (random(11, width), [0.7]);
            let sum = |x: &[f64]| {
                let mut y = [0.0];
                softmax::log_sum_exp(&context, x, &mut y, width).unwrap();
                y
            };
            let mut gradient = vec![0.0; width];
            softmax::log_sum_exp_backward(&context, &x, &sum(&x), &d, &mut gradient, width).unwrap();
            for i in 0..width {
                let (mut above, mut below) = (x.clone(), x.clone());
                above[i] += step;
                below[i] -= step;
                let difference = d[0] * (sum(&above)[0] - sum(&below)[0]) / (2.0 * step);
                assert!(
                    (gradient[i] - difference).abs() <= 1e-8 * d[0],
                    "{width}: {} {difference}",
                    gradient[i]
                );
            }
        }
    }
}

#[test]
fn masks_of_a_wrong_length_are_refused() {
    let context = contexts()[0];
    let (x, mut y) = ([0.0_f32; 12], [0.0_f32; 12]);
    for length in [0, 1, 2, 4, 9, 13, 15, 24] {
        let result = softmax::masked::forward(&context, &x, &vec![true; length], &mut y, 3);
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with("softmax::masked::forward: keep: expected 4 rows of 3, or"), "{text}");
    }
    for length in [3, 6, 12] {
        softmax::masked::forward(&context, &x, &vec![true; length], &mut y, 3).unwrap();
    }
    softmax::masked::forward::<f32>(&context, &[], &[], &mut [], 3).unwrap();
}

#[test]
fn wrong_lengths_are_refused() {
    let context = contexts()[0];
    let refused = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Shape { .. }));
    let (x, mut y) = ([0.0_f32; 6], [0.0_f32; 5]);
    for width in [0, 4, 7] {
        let mut out = [0.0_f32; 6];
        refused(softmax::forward(&context, &x, &mut out, width));
        refused(softmax::log_softmax(&context, &x, &mut out, width));
        refused(softmax::log_sum_exp(&context, &x, &mut out, width));
        refused(softmax::backward(&context, &x, &x, &mut out, width));
        refused(softmax::log_softmax_backward(&context, &x, &x, &mut out, width));
    }
    refused(softmax::forward(&context, &x, &mut y, 3));
    refused(softmax::log_sum_exp(&context, &x, &mut y, 3));
    softmax::forward::<f32>(&context, &[], &mut [], 3).unwrap();
}

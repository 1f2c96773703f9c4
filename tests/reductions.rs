//! Sums, variances, norms, extremes and conversions: values, edges, the same bits everywhere.

mod common;
#[path = "reductions/moments.rs"]
mod moments;

use common::{HASH_START, all_bits, bits, contexts, hash};
use gemmule::kernel::{convert, reduce, reduce::Norm, reference};
use gemmule::{Context, Element, Isa};

/// Reproducible numbers in [-1, 1).
fn numbers<T: Element>(seed: u64, count: usize) -> Vec<T> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 40) as f64 / 8_388_608.0 - 1.0)
        })
        .collect()
}

fn exact<T: Element>(x: &[T]) -> impl Iterator<Item = f64> {
    x.iter().map(|x| Element::to_f64(*x))
}

fn lengths() -> impl Iterator<Item = usize> {
    (0..150).chain([255, 256, 257, 4095, 4096, 4097, 8192, 10_001, 100_003])
}

fn sums<T: Element>() {
    let epsilon = Element::to_f64(T::epsilon());
    for length in lengths() {
        let (a, b) = (numbers::<T>(1, length), numbers::<T>(2, length));
        let mut first = None;
        for context in contexts() {
            let ours = [
                reduce::sum(&context, &a),
                reduce::dot(&context, &a, &b).unwrap(),
                reduce::sum_squares(&context, &a),
            ];
            let magnitudes: [f64; 3] = [
                exact(&a).map(f64::abs).sum(),
                exact(&a).zip(exact(&b)).map(|(a, b)| (a * b).abs()).sum(),
                exact(&a).map(|a| a * a).sum(),
            ];
            let sums: [f64; 3] = [
                exact(&a).sum(),
                exact(&a).zip(exact(&b)).map(|(a, b)| a * b).sum(),
                exact(&a).map(|a| a * a).sum(),
            ];
            for ((ours, sum), magnitude) in ours.iter().zip(sums).zip(magnitudes) {
                // The depth of the tree, and the plain f64 sum's own error, times the magnitude of what was added.
                let depth = length.min(4096) as f64 / 64.0 + 8.0 + length as f64 / 4096.0;
                let error = (Element::to_f64(*ours) - sum).abs();
                let bound = (depth * epsilon + length as f64 * f64::EPSILON) * magnitude;
                assert!(error <= bound, "{length} {}: {ours} for {sum}", context.isa());
            }
            if context.isa().has_fma() {
                let bits = ours.map(|x| x.bits());
                assert_eq!(*first.get_or_insert(bits), bits, "{length} {}", context.isa());
            }
        }
    }
}

#[test]
fn sums_are_close_and_the_same_everywhere() {
    sums::<f32>();
    sums::<f64>();
}

/// The order as the documentation describes it, in scalars.
#[test]
fn the_order_of_a_sum_is_the_documented_one() {
    for length in [0, 1, 15, 16, 17, 63, 64, 65, 100, 4096, 4097, 9000] {
        let x = numbers::<f32>(3, length);
        let mut total = 0.0_f32;
        for chunk in x.chunks(reduce::SUM_CHUNK) {
            let mut lanes = [[0.0_f32; 16]; 4];
            for (i, x) in chunk.iter().enumerate() {
                lanes[i / 16 % 4][i % 16] += x;
            }
            let mut tree: Vec<_> =
                (0..16).map(|i| (lanes[0][i] + lanes[1][i]) + (lanes[2][i] + lanes[3][i])).collect();
            while tree.len() > 1 {
                let half = tree.len() / 2;
                tree = (0..half).map(|i| tree[i] + tree[i + half]).collect();
            }
            total += tree[0];
        }
        for context in contexts() {
            assert_eq!(reduce::sum(&context, &x).to_bits(), total.to_bits(), "{length} {}", context.isa());
        }
    }
}

fn extremes<T: Element>() {
    for context in contexts() {
        for length in lengths().skip(1) {
            let mut x = numbers::<T>(4, length);
            let both = |x: &[T]| (reduce::max(&context, x).unwrap(), reduce::min(&context, x).unwrap());
            let high = exact(&x).fold(f64::NEG_INFINITY, f64::max);
            let low = exact(&x).fold(f64::INFINITY, f64::min);
            let (max, min) = both(&x);
            assert_eq!((Element::to_f64(max), Element::to_f64(min)), (high, low), "{length}");
            let places = (reduce::argmax(&context, &x).unwrap(), reduce::argmin(&context, &x).unwrap());
            let place = |wanted: T| x.iter().position(|&x| x == wanted).unwrap();
            assert_eq!(places, (place(max), place(min)), "{length} {}", context.isa());
            // All of one sign: the zeros past the end do not count.
            x.iter_mut().for_each(|x| *x -= T::from_f64(100.0));
            assert!(both(&x).0 < T::zero());
            x.iter_mut().for_each(|x| *x += T::from_f64(200.0));
            assert!(both(&x).1 > T::zero());
            for place in [0, length / 2, length - 1] {
                // An infinity is not a NaN, though the kernel first takes it for one.
                for infinity in [T::infinity(), T::neg_infinity()] {
                    let old = std::mem::replace(&mut x[place], infinity);
                    let (max, min) = both(&x);
                    assert!(!max.is_nan() && !min.is_nan());
                    assert_eq!(if infinity > T::zero() { max } else { min }, infinity);
                    x[place] = old;
                }
                let old = std::mem::replace(&mut x[place], T::nan());
                assert!(both(&x).0.is_nan() && both(&x).1.is_nan(), "{length} {place}");
                assert_eq!(reduce::argmax(&context, &x).unwrap(), place);
                assert_eq!(reduce::argmin(&context, &x).unwrap(), place);
                x[place] = old;
            }
            for infinity in [T::neg_infinity(), T::infinity()] {
                x.fill(infinity);
                assert_eq!(both(&x), (infinity, infinity));
                assert_eq!(reduce::argmax(&context, &x).unwrap(), 0);
                assert_eq!(reduce::argmin(&context, &x).unwrap(), 0);
            }
        }
    }
}

/// Beyond the part in which it stands, too: the parts of a long array are searched one by one.
#[test]
fn the_first_nan_of_a_long_array_wins() {
    let mut x = numbers::<f32>(5, 50_000);
    for place in [17_000, 17_001, 49_000] {
        x[place] = f32::NAN;
    }
    for context in contexts() {
        let places = (reduce::argmax(&context, &x).unwrap(), reduce::argmin(&context, &x).unwrap());
        assert_eq!(places, (17_000, 17_000), "{}", context.isa());
    }
}

/// A norm that is long enough for threads goes another way than a short one.
#[test]
fn a_long_norm_is_in_range_where_its_squares_are_not() {
    const COUNT: usize = 1_100_000;
    for context in contexts() {
        for value in [3e-30_f32, 2e-42, 1.0, 3e30] {
            let mut x = vec![value; COUNT];
            let norm = f64::from(reduce::norm(&context, reduce::Norm::L2, &x));
            let exact = f64::from(value) * (COUNT as f64).sqrt();
            assert!((norm / exact - 1.0).abs() < 3e-5, "{}: {norm:e}, not {exact:e}", context.isa());
            x[COUNT / 2] = f32::NEG_INFINITY;
            assert_eq!(reduce::norm(&context, reduce::Norm::L2, &x), f32::INFINITY);
            x[COUNT - 1] = f32::NAN;
            assert!(reduce::norm(&context, reduce::Norm::L2, &x).is_nan());
        }
    }
}

#[test]
fn the_largest_and_the_smallest_are_found_and_nan_wins() {
    extremes::<f32>();
    extremes::<f64>();
}

fn argmax<T: Element>() {
    for context in contexts() {
        for width in (1..70).chain([257]) {
            let mut input: Vec<T> = Vec::new();
            let mut expected: Vec<u32> = Vec::new();
            let mut push = |row: Vec<T>, class: usize| {
                input.extend(row);
                expected.push(class as u32);
            };
            for place in 0..width {
                let mut row: Vec<T> = numbers(place as u64, width);
                row[place] = T::from_f64(2.0);
                push(row.clone(), place);
                // The first of equal ones.
                row[width - 1] = T::from_f64(2.0);
                push(row.clone(), place);
                // The first NaN, above everything.
                row[0] = T::infinity();
                row[place] = T::nan();
                push(row.clone(), place);
                row[width - 1] = T::nan();
                push(row, place);
            }
            push(vec![T::neg_infinity(); width], 0);
            push(vec![-T::one(); width], 0);
            let mut classes = vec![u32::MAX; expected.len()];
            reduce::argmax_rows(&context, &input, width, &mut classes).unwrap();
            assert_eq!(classes, expected, "{width} {}", context.isa());
            let negative: Vec<T> = input.iter().map(|&x| -x).collect();
            reduce::argmin_rows(&context, &negative, width, &mut classes).unwrap();
            assert_eq!(classes, expected, "{width} {}", context.isa());
            // The same as columns, as many as fit in a few vectors.
            let rows = expected.len().min(5 * 16 + 3);
            let mut turned = vec![T::zero(); rows * width];
            let mut turned_negative = turned.clone();
            for i in 0..rows {
                for j in 0..width {
                    turned[j * rows + i] = input[i * width + j];
                    turned_negative[j * rows + i] = negative[i * width + j];
                }
            }
            let mut classes = vec![u32::MAX; rows];
            reduce::column_argmax(&context, &turned, rows, &mut classes).unwrap();
            assert_eq!(classes, expected[..rows], "columns {width} {}", context.isa());
            reduce::column_argmin(&context, &turned_negative, rows, &mut classes).unwrap();
            assert_eq!(classes, expected[..rows], "columns {width} {}", context.isa());
        }
    }
}

#[test]
fn argmax_takes_the_first_largest_and_the_first_nan() {
    argmax::<f32>();
    argmax::<f64>();
}

fn columns<T: Element>() {
    for context in contexts() {
        for width in (1..40).chain([63, 64, 65, 127, 128, 129, 200, 300]) {
            for rows in [0, 1, 2, 7, 50] {
                let input = numbers::<T>(5, rows * width);
                let mut out = vec![T::nan(); width];
                reduce::column_sums(&context, &input, width, &mut out).unwrap();
                for (j, out) in out.iter().enumerate() {
                    let expected = (0..rows).fold(T::zero(), |sum, i| sum + input[i * width + j]);
                    assert_eq!(out.bits(), expected.bits(), "{width} {rows} {j} {}", context.isa());
                }
                let (bias, mut data) = (numbers::<T>(6, width), input.clone());
                reduce::add_row(&context, &bias, &mut data, width).unwrap();
                for (i, (new, old)) in data.iter().zip(&input).enumerate() {
                    assert_eq!(new.bits(), (*old + bias[i % width]).bits());
                }
            }
        }
    }
}

#[test]
fn a_column_sum_is_one_chain_over_the_rows() {
    columns::<f32>();
    columns::<f64>();
}

#[test]
fn the_first_value_that_is_not_finite_is_found() {
    for context in contexts() {
        for length in [0, 1, 15, 16, 17, 64, 100, 4096, 4097, 9000] {
            let mut x = vec![f32::MAX; length];
            assert_eq!(reduce::first_non_finite(&context, &x), None);
            let step = (length / 97).max(1);
            for place in (0..length).rev().step_by(step) {
                x[place] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][place % 3];
                assert_eq!(reduce::first_non_finite(&context, &x), Some(place), "{length}");
            }
        }
    }
}

const TWO_TO_MINUS_600: f64 = f64::from_bits((1023 - 600) << 52);
const NORMS: [Norm; 3] = [Norm::L1, Norm::L2, Norm::Infinity];

/// Everything that gives a number per row: what a row gives is what it gives alone.
#[allow(clippy::type_complexity, reason = "a table")]
fn by_row<T: Element>(context: &Context, x: &[T], y: &[T], width: usize) -> Vec<Vec<T>> {
    let rows = x.len() / width;
    let run = |f: &dyn Fn(&mut [T]) -> gemmule::Result<()>| {
        let mut out = vec![T::nan(); rows];
        f(&mut out).unwrap();
        out
    };
    let (mut means, mut variances) = (vec![T::zero(); rows], vec![T::zero(); rows]);
    reduce::mean_variance_rows(context, x, width, 0, &mut means, &mut variances).unwrap();
    vec![
        run(&|out| reduce::sum_rows(context, x, width, out)),
        run(&|out| reduce::mean_rows(context, x, width, out)),
        run(&|out| reduce::dot_rows(context, x, y, width, out)),
        run(&|out| reduce::max_rows(context, x, width, out)),
        run(&|out| reduce::min_rows(context, x, width, out)),
        run(&|out| reduce::norm_rows(context, Norm::L1, x, width, out)),
        run(&|out| reduce::norm_rows(context, Norm::L2, x, width, out)),
        run(&|out| reduce::norm_rows(context, Norm::Infinity, x, width, out)),
        run(&|out| reduce::variance_rows(context, x, width, 0, out)),
        means,
        variances,
    ]
}

fn whole<T: Element>(context: &Context, x: &[T], y: &[T]) -> Vec<T> {
    let (mean, variance) = reduce::mean_variance(context, x, 0).unwrap();
    vec![
        reduce::sum(context, x),
        reduce::mean(context, x).unwrap(),
        reduce::dot(context, x, y).unwrap(),
        reduce::max(context, x).unwrap(),
        reduce::min(context, x).unwrap(),
        reduce::norm(context, Norm::L1, x),
        reduce::norm(context, Norm::L2, x),
        reduce::norm(context, Norm::Infinity, x),
        reduce::variance(context, x, 0).unwrap(),
        mean,
        variance,
    ]
}

fn by_column<T: Element>(context: &Context, x: &[T], y: &[T], width: usize) -> Vec<Vec<T>> {
    let run = |f: &dyn Fn(&mut [T]) -> gemmule::Result<()>| {
        let mut out = vec![T::nan(); width];
        f(&mut out).unwrap();
        out
    };
    let (mut means, mut variances) = (vec![T::zero(); width], vec![T::zero(); width]);
    reduce::column_means_variances(context, x, width, 0, &mut means, &mut variances).unwrap();
    vec![
        run(&|out| reduce::column_sums(context, x, width, out)),
        run(&|out| reduce::column_means(context, x, width, out)),
        run(&|out| reduce::column_dots(context, x, y, width, out)),
        run(&|out| reduce::column_max(context, x, width, out)),
        run(&|out| reduce::column_min(context, x, width, out)),
        run(&|out| reduce::column_norms(context, Norm::L1, x, width, out)),
        run(&|out| reduce::column_norms(context, Norm::L2, x, width, out)),
        run(&|out| reduce::column_norms(context, Norm::Infinity, x, width, out)),
        run(&|out| reduce::column_variances(context, x, width, 0, out)),
        means,
        variances,
    ]
}

/// Numbers with NaN, infinities, zeros, huge and tiny ones strewn in.
fn strewn<T: Element>(seed: u64, count: usize) -> Vec<T> {
    let mut x = numbers::<T>(seed, count);
    let odd = [T::nan(), T::infinity(), T::max_value(), T::min_positive_value(), T::zero(), -T::zero()];
    for (i, x) in x.iter_mut().enumerate().filter(|(i, _)| i % 211 == 210) {
        *x = odd[i / 211 % odd.len()];
    }
    x
}

fn alone<T: Element>() -> u64 {
    let mut first = None;
    for context in contexts() {
        let mut fingerprint = HASH_START;
        for width in (1..40).chain([63, 64, 65, 100, 129, 300, 4099]) {
            for rows in [1, 3, 7] {
                let (x, y) = (strewn::<T>(11, rows * width), numbers::<T>(12, rows * width));
                let all = by_row(&context, &x, &y, width);
                for i in 0..rows {
                    let range = i * width..(i + 1) * width;
                    let one = whole(&context, &x[range.clone()], &y[range]);
                    let row: Vec<T> = all.iter().map(|out| out[i]).collect();
                    assert_eq!(all_bits(&row), all_bits(&one), "row {i} of {width} {}", context.isa());
                }
                fingerprint = all.iter().fold(fingerprint, |start, out| hash(out, start));
                // The same matrix as columns, and with more rows than a chunk.
                for rows in [rows, if width < 40 { 300 } else { rows }] {
                    let (x, y) = (strewn::<T>(11, rows * width), numbers::<T>(12, rows * width));
                    let all = by_column(&context, &x, &y, width);
                    let column =
                        |m: &[T], j: usize| -> Vec<T> { m.iter().skip(j).step_by(width).copied().collect() };
                    for j in [0, width / 2, width - 1] {
                        let one = by_column(&context, &column(&x, j), &column(&y, j), 1);
                        for (all, one) in all.iter().zip(&one) {
                            assert_eq!(bits(all[j]), bits(one[0]), "column {j} of {width} {}", context.isa());
                        }
                    }
                    fingerprint = all.iter().fold(fingerprint, |start, out| hash(out, start));
                }
            }
        }
        if context.isa().has_fma() {
            assert_eq!(*first.get_or_insert(fingerprint), fingerprint, "{}", context.isa());
        }
    }
    first.unwrap_or_default()
}

/// A row depends on itself alone, so does a column; the bits are those of every machine with fused multiply-add.
#[test]
fn a_row_or_column_gives_what_it_gives_alone() {
    let hashes = [alone::<f32>(), alone::<f64>()];
    if contexts().iter().any(|context| context.isa().has_fma()) {
        assert_eq!(hashes, [0xd5dd_aa35_3d7b_86e8, 0x5dec_b7e2_5643_29dd], "{hashes:#x?}");
    }
}

fn conversions<T: Element>() {
    let bytes: Vec<u8> = (0..1000).map(|i| (i * 7 % 256) as u8).collect();
    for context in contexts() {
        for length in (0..70).chain([255, 1000]) {
            for (scale, offset) in
                [(1.0 / 255.0, 0.0), (0.1, -0.3), (1.0 / (255.0 * 0.3081), -0.1307 / 0.3081)]
            {
                let (scale, offset) = (T::from_f64(scale), T::from_f64(offset));
                let mut out = vec![T::nan(); length];
                convert::bytes_to_floats(&context, &bytes[..length], scale, offset, &mut out).unwrap();
                for (out, byte) in out.iter().zip(&bytes) {
                    let product = T::from_f64(f64::from(*byte)) * scale;
                    assert_eq!(out.bits(), (product + offset).bits(), "{}", context.isa());
                }
            }
            let input = numbers::<f64>(7, length);
            let mut out = vec![T::nan(); length];
            convert::cast(&context, &input, &mut out).unwrap();
            for (out, x) in out.iter().zip(&input) {
                assert_eq!(*out, T::from_f64(*x));
            }
        }
        let mut out = [T::zero(); 3];
        convert::cast(&context, &[f64::NAN, f64::INFINITY, -0.0], &mut out).unwrap();
        assert!(out[0].is_nan() && out[1] == T::infinity() && out[2].is_sign_negative());
    }
}

#[test]
fn conversions_round_the_product_and_then_the_sum() {
    conversions::<f32>();
    conversions::<f64>();
}

#[test]
fn bad_input_says_what_and_why() {
    let context = Context::new(Isa::Portable).unwrap();
    let text = |error: gemmule::Error| error.to_string();
    let error = text(reduce::dot(&context, &[0.0_f32; 3], &[0.0; 4]).unwrap_err());
    assert_eq!(error, "dot: b: expected 3 elements, as in a, got 4");
    let error = text(reduce::max::<f32>(&context, &[]).unwrap_err());
    assert_eq!(error, "max: x: expected at least one element, got none");
    assert!(reduce::mean::<f32>(&context, &[]).is_err());
    for error in [reduce::min::<f32>(&context, &[]).err(), reduce::argmax::<f32>(&context, &[]).err()] {
        assert!(text(error.unwrap()).ends_with(": x: expected at least one element, got none"));
    }
    let error = text(reduce::mean_variance::<f32>(&context, &[1.0], 1).unwrap_err());
    assert_eq!(error, "mean_variance: the number of elements: expected more than the correction 1, got 1");
    assert!(reduce::variance::<f32>(&context, &[], 0).is_err());
    let mut two = [0.0_f32; 2];
    let error = text(reduce::variance_rows(&context, &[0.0; 2], 1, 1, &mut two).unwrap_err());
    assert_eq!(error, "variance_rows: width: expected more than the correction 1, got 1");
    let error = text(reduce::column_variances(&context, &[0.0; 2], 2, 1, &mut two).unwrap_err());
    assert_eq!(error, "column_variances: the number of rows: expected more than the correction 1, got 1");
    let mut three = [0.0_f32; 3];
    let error = reduce::mean_variance_rows(&context, &[0.0; 6], 3, 0, &mut three, &mut two).unwrap_err();
    assert_eq!(text(error), "mean_variance_rows: means: expected 2, got 3");
    let error = reduce::column_means_variances(&context, &[0.0; 6], 3, 0, &mut two, &mut three).unwrap_err();
    assert_eq!(text(error), "column_means_variances: means: expected 3, got 2");
    let error = text(reduce::column_max(&context, &[], 2, &mut two).unwrap_err());
    assert_eq!(error, "column_max: input: expected at least 1 row, got 0");
    assert!(reduce::column_means(&context, &[], 2, &mut two).is_err());
    assert!(reduce::column_argmin::<f32>(&context, &[], 2, &mut [0; 2]).is_err());
    let error = text(reduce::dot_rows(&context, &[0.0; 4], &[0.0; 5], 2, &mut two).unwrap_err());
    assert_eq!(error, "dot_rows: b: expected 4 elements (2 rows of 2), got 5");
    let error = text(reduce::column_dots(&context, &[0.0; 4], &[0.0; 6], 2, &mut two).unwrap_err());
    assert_eq!(error, "column_dots: b: expected 4 elements, as in a, got 6");
    let error = text(reduce::norm_rows(&context, Norm::L2, &[0.0; 5], 2, &mut two).unwrap_err());
    assert_eq!(error, "norm_rows: input: expected 4 elements (2 rows of 2), got 5");
    assert_eq!(reduce::mean(&context, &[1.0_f64, 2.0, 6.0]).unwrap(), 3.0);
    let error = text(reduce::argmax_rows(&context, &[0.0_f32; 5], 3, &mut [0; 2]).unwrap_err());
    assert_eq!(error, "argmax_rows: input: expected 6 elements (2 rows of 3), got 5");
    let error = text(reduce::column_sums(&context, &[0.0_f32; 5], 3, &mut [0.0; 3]).unwrap_err());
    assert_eq!(error, "column_sums: input: expected a multiple of the width 3, got 5");
    let error = text(reduce::column_sums(&context, &[0.0_f32; 6], 3, &mut [0.0; 4]).unwrap_err());
    assert_eq!(error, "column_sums: out: expected 3, got 4");
    let error = text(reduce::add_row(&context, &[0.0_f32; 0], &mut [0.0; 6], 0).unwrap_err());
    assert_eq!(error, "add_row: width: expected at least 1, got 0");
    let error = text(convert::bytes_to_floats(&context, &[0; 3], 1.0_f32, 0.0, &mut [0.0; 2]).unwrap_err());
    assert_eq!(error, "bytes_to_floats: out: expected 3, got 2");
    let error = text(convert::cast(&context, &[0.0_f32; 3], &mut [0.0_f64; 2]).unwrap_err());
    assert_eq!(error, "cast: out: expected 3, got 2");
}

/// The oracles of gemm agree with each other, also on transposed and negative strides.
#[test]
fn the_gemm_oracles_agree() {
    let (m, n, k) = (3, 4, 1100);
    let (a, b, c) = (numbers::<f32>(8, m * k), numbers::<f32>(9, k * n), numbers::<f32>(10, m * n));
    let reversed: Vec<f32> = b.iter().rev().copied().collect();
    let a_rows = reference::Strided::rows(&a, k);
    let b_rows = reference::Strided::rows(&b, n);
    let backwards =
        reference::Strided { data: &reversed, offset: k * n - 1, row_stride: -(n as isize), col_stride: -1 };
    let c_rows = reference::Strided::rows(&c, n);
    let contract = reference::gemm_contract((m, n, k), 0.5, a_rows, b_rows, 2.0, c_rows);
    assert_eq!(contract, reference::gemm_contract((m, n, k), 0.5, a_rows, backwards, 2.0, c_rows));
    let exact = reference::gemm((m, n, k), 0.5, a_rows, b_rows, 2.0, c_rows);
    let flipped =
        reference::gemm((n, m, k), 0.5, b_rows.transposed(), a_rows.transposed(), 2.0, c_rows.transposed());
    for i in 0..m {
        for j in 0..n {
            let (value, magnitude) = exact[i * n + j];
            let bound = 600.0 * f64::from(f32::EPSILON) / 2.0 * magnitude;
            assert!((f64::from(contract[i * n + j]) - value).abs() <= bound);
            assert!((flipped[j * m + i].0 - value).abs() < 1e-12);
        }
    }
    // Beta 0 does not read C, and no products leave +0.
    let nothing = reference::Strided::rows(&[], n);
    assert_eq!(reference::gemm_contract((m, n, 0), 0.5, a_rows, b_rows, 0.0_f32, nothing), vec![0.0; m * n]);
}

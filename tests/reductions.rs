//! Sums, largest elements, column sums and conversions: values, edges, the same bits everywhere.

mod common;

use common::contexts;
use gemmule::kernel::{convert, reduce, reference};
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

fn largest<T: Element>() {
    for context in contexts() {
        for length in lengths().skip(1) {
            let mut x = numbers::<T>(4, length);
            let expected = exact(&x).fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(Element::to_f64(reduce::max(&context, &x).unwrap()), expected);
            for value in &mut x {
                *value -= T::from_f64(100.0);
            }
            // All negative: the zeros past the end do not count.
            assert!(reduce::max(&context, &x).unwrap() < T::zero());
            for place in [0, length / 2, length - 1] {
                let old = std::mem::replace(&mut x[place], T::nan());
                assert!(reduce::max(&context, &x).unwrap().is_nan(), "{length} {place}");
                x[place] = old;
            }
            x.fill(T::neg_infinity());
            assert_eq!(reduce::max(&context, &x).unwrap(), T::neg_infinity());
        }
    }
}

#[test]
fn the_largest_is_found_and_nan_wins() {
    largest::<f32>();
    largest::<f64>();
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

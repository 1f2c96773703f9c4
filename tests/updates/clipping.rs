//! Clipping by value and by norm, and the max-norm constraint.

use crate::common::{all_bits, contexts, random};
use gemmule::kernel::update::*;
use gemmule::{Element, Error};

fn cast<T: Element>(x: &[f64]) -> Vec<T> {
    crate::common::cast(x)
}

#[test]
fn values_are_clipped_and_nan_stays() {
    for context in contexts() {
        for length in 0..=130 {
            let mut x: Vec<f32> = cast(&random(length as u64, length));
            let specials = [f32::NAN, f32::INFINITY, -f32::INFINITY, -0.0, 0.25, -0.25, 3e38, 1e-45];
            for (i, special) in specials.into_iter().enumerate() {
                if let Some(x) = x.get_mut(i * 5) {
                    *x = special;
                }
            }
            let expected: Vec<f32> = x.iter().map(|x| x.clamp(-0.25, 0.25)).collect();
            clip_value(&context, &mut x, 0.25).unwrap();
            assert_eq!(all_bits(&x), all_bits(&expected), "{length}");
            clip_value(&context, &mut x, f64::INFINITY).unwrap();
            assert_eq!(all_bits(&x), all_bits(&expected), "{length}");
        }
        assert_eq!(
            clip_value(&context, &mut [1.0_f32], -1.0).unwrap_err().to_string(),
            "clip_value: limit: expected above 0, got -1"
        );
        assert!(clip_value(&context, &mut [1.0_f32], f64::NAN).is_err());
    }
}

/// The root of the sum of squares by compensated summation, scaled so that nothing leaves the range.
fn exact_norm(x: &[f64]) -> f64 {
    let largest = x.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let (mut sum, mut rest) = (0.0_f64, 0.0_f64);
    for x in x {
        let x = x / largest;
        let square = x * x;
        let total = sum + square;
        rest += (sum - total) + square + x.mul_add(x, -square);
        sum = total;
    }
    (sum + rest).sqrt() * largest
}

#[test]
fn the_norm_is_right_at_every_length_and_size_and_the_same_everywhere() {
    let lengths = (0..=130).chain([4095, 4096, 4097, 10_000]);
    for length in lengths {
        let x = random(7, length);
        for scale in [1.0, 1e38, 1e-38, 1e-44] {
            let x: Vec<f32> = cast(&x.iter().map(|x| x * scale).collect::<Vec<_>>());
            let exact = exact_norm(&x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let norms: Vec<f64> = contexts().iter().map(|context| norm(context, &[&x])).collect();
            assert!((norms[0] - exact).abs() <= 1e-14 * exact, "{length} {scale}: {} {exact}", norms[0]);
            // On the portable tier too: nothing is fused.
            assert!(norms.iter().all(|norm| norm.to_bits() == norms[0].to_bits()), "{norms:?}");
        }
        for scale in [1.0, 1e300, 1e154, 1e-154, 1e-160, 1e-300, 1e-320] {
            let x: Vec<f64> = x.iter().map(|x| x * scale).collect();
            let exact = exact_norm(&x);
            let norms: Vec<f64> = contexts().iter().map(|context| norm(context, &[&x])).collect();
            assert!(
                (norms[0] - exact).abs() <= 1e-14 * exact + 1e-323,
                "{length} {scale}: {} {exact}",
                norms[0]
            );
            assert!(norms.iter().all(|norm| norm.to_bits() == norms[0].to_bits()), "{norms:?}");
        }
    }
}

#[test]
fn the_norm_is_of_all_arrays() {
    for context in contexts() {
        let x = random(1, 5000);
        let (a, b, c) = (cast::<f32>(&x[..17]), cast::<f32>(&x[17..4500]), cast::<f32>(&x[4500..]));
        let whole = norm(&context, &[&cast::<f32>(&x)]);
        assert!((norm(&context, &[&a, &b, &[], &c]) / whole - 1.0).abs() < 1e-14);
        assert_eq!(norm::<f32>(&context, &[]), 0.0);
        assert!(norm(&context, &[&[f32::INFINITY, 1.0, f32::NAN]]).is_nan());
        assert_eq!(norm(&context, &[&[f32::NEG_INFINITY, 1.0]]), f64::INFINITY);
        assert_eq!(norm(&context, &[&[f64::NEG_INFINITY, 1.0]]), f64::INFINITY);
        assert!(norm(&context, &[&[f64::NAN, 1.0]]).is_nan());
        assert_eq!(norm(&context, &[&[f64::MAX, f64::MAX]]), f64::INFINITY);
    }
    // As PyTorch's clip_grad_norm_.
    assert_eq!(norm_scale(2.0, 1.0), 1.0 / (2.0 + 1e-6));
    assert_eq!((norm_scale(0.5, 1.0), norm_scale(0.0, 1.0)), (1.0, 1.0));
    assert_eq!((norm_scale(f64::INFINITY, 1.0), norm_scale(2.0, f64::INFINITY)), (0.0, 1.0));
    assert!(norm_scale(f64::NAN, 1.0).is_nan());
}

#[test]
fn gradients_are_clipped_to_their_norm() {
    for context in contexts() {
        let (a, b) = (cast::<f32>(&random(1, 33)), cast::<f32>(&random(2, 130)));
        let before = norm(&context, &[&a, &b]);
        let (mut x, mut y) = (a.clone(), b.clone());
        assert_eq!(clip_norm(&context, &mut [&mut x, &mut y], 0.5).unwrap(), before);
        let after = norm(&context, &[&x, &y]);
        assert!(after <= 0.5 && after > 0.5 * (1.0 - 1e-6), "{after}");
        let factor = norm_scale(before, 0.5) as f32;
        assert!(x.iter().zip(&a).all(|(x, a)| *x == a * factor));
        // A norm within the limit changes no bit.
        for limit in [1e3, f64::INFINITY] {
            let (mut x, mut y) = (a.clone(), b.clone());
            assert_eq!(clip_norm(&context, &mut [&mut x, &mut y], limit).unwrap(), before);
            assert_eq!((&x, &y), (&a, &b));
        }
        // NaN and infinity change nothing and are named.
        for bad in [f32::NAN, f32::INFINITY] {
            let (mut x, mut y) = (a.clone(), b.clone());
            y[99] = bad;
            let error = clip_norm(&context, &mut [&mut x, &mut y], 0.5).unwrap_err();
            assert!(
                matches!(&error, Error::NonFinite { what: "gradient", place, index: 99, .. } if place == "array 1")
            );
            assert_eq!(x, a);
            assert_eq!(y[..99], b[..99]);
        }
        let mut large = [f64::MAX; 3];
        let error = clip_norm(&context, &mut [&mut large], 0.5).unwrap_err();
        assert!(matches!(&error, Error::NonFinite { what: "gradient norm", .. }), "{error}");
        assert_eq!(large, [f64::MAX; 3]);
        let error = clip_norm(&context, &mut [&mut x], 0.0).unwrap_err().to_string();
        assert_eq!(error, "clip_norm: max_norm: expected above 0, got 0");
    }
}

fn rows_are_constrained<T: Element>() {
    let epsilon = Element::to_f64(T::epsilon());
    for width in 1..=40 {
        let rows: Vec<T> = cast(&random(width as u64, 20 * width));
        let mut first: Option<Vec<u64>> = None;
        for context in contexts() {
            let mut x = rows.clone();
            max_norm(&context, &mut x, width, 1.25).unwrap();
            for (new, old) in x.chunks(width).zip(rows.chunks(width)) {
                let old_norm = norm(&context, &[old]);
                let new_norm = norm(&context, &[new]);
                if old_norm <= 1.25 {
                    assert_eq!(all_bits(new), all_bits(old));
                } else {
                    assert!((new_norm / 1.25 - 1.0).abs() <= 2.0 * epsilon, "{new_norm}");
                    let factor = T::from_f64(1.25 / old_norm);
                    assert!(new.iter().zip(old).all(|(&new, &old)| new == old * factor));
                }
            }
            let bits = all_bits(&x);
            assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{}", context.isa());
        }
    }
}

#[test]
fn rows_are_brought_within_the_limit() {
    rows_are_constrained::<f32>();
    rows_are_constrained::<f64>();
    for context in contexts() {
        // Rows that are not finite stay as they are; huge and tiny ones are measured.
        let mut x = [f64::NAN, 9.0, f64::INFINITY, 9.0, 3e300, 4e300, 3e-300, 4e-300, 0.0, 0.0];
        max_norm(&context, &mut x, 2, 5.0).unwrap();
        let expected = [f64::NAN, 9.0, f64::INFINITY, 9.0, 3.0, 4.0, 3e-300, 4e-300, 0.0, 0.0];
        assert_eq!(all_bits(&x[..4]), all_bits(&expected[..4]));
        assert!(x[4..].iter().zip(&expected[4..]).all(|(x, y)| (x - y).abs() <= 1e-15 * y), "{x:?}");
        max_norm(&context, &mut x, 2, 1e-300).unwrap();
        assert!((x[6] / 6e-301 - 1.0).abs() < 1e-15 && (x[4] / 6e-301 - 1.0).abs() < 1e-15, "{x:?}");
        let text = |result: gemmule::Result<()>| result.unwrap_err().to_string();
        assert_eq!(text(max_norm(&context, &mut x, 0, 1.0)), "max_norm: width: expected at least 1, got 0");
        assert_eq!(text(max_norm(&context, &mut x, 2, 0.0)), "max_norm: limit: expected above 0, got 0");
        let error = text(max_norm(&context, &mut x, 3, 1.0));
        assert_eq!(error, "max_norm: matrix: expected a multiple of the width 3, got 10");
    }
}

//! Hostile shapes, strides and offsets: refused or right, never a panic, never a hang.

use crate::common::contexts;
use crate::support::{Dense, Real, assert_same, twin};
use gemmule::{Error, MatMut, MatRef, gemm};
use proptest::prelude::*;
use proptest::sample::select;

/// Mostly small, sometimes at an end of the range.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        16 => 0..12_usize,
        4 => 12..80_usize,
        2 => select(vec![1 << 40, 1 << 63, isize::MAX as usize, usize::MAX - 1, usize::MAX]),
    ]
}

fn stride() -> impl Strategy<Value = isize> {
    prop_oneof![
        12 => -14..14_isize,
        4 => -100..100_isize,
        6 => Just(1),
        3 => Just(0),
        2 => select(vec![isize::MIN, isize::MIN + 1, 1 << 40, isize::MAX / 2 + 1, isize::MAX - 1, isize::MAX]),
    ]
}

fn offset() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..300_usize, 1 => select(vec![1 << 63, usize::MAX])]
}

type View = (usize, isize, isize);

fn view() -> impl Strategy<Value = View> {
    (offset(), stride(), stride())
}

/// Does every element lie in a slice of this length? In numbers that cannot overflow: the four corners decide.
fn inside(length: usize, (offset, rs, cs): View, rows: usize, cols: usize) -> bool {
    if rows == 0 || cols == 0 {
        return true;
    }
    // Each product has at most 127 bits; refuse what is far outside before the sum.
    let reach = |count: usize, stride: isize| (count as i128 - 1) * stride as i128;
    let far = 1 << 100;
    let (down, right) = (reach(rows, rs), reach(cols, cs));
    down.abs() < far
        && right.abs() < far
        && [0, down, right, down + right]
            .iter()
            .all(|corner| (0..length as i128).contains(&(offset as i128 + corner)))
}

fn dense(view: &MatRef<'_, f32>) -> Dense<f32> {
    Dense::from_fn(view.rows(), view.cols(), |i, j| view.get(i, j).expect("within the shape"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn refused_or_right(
        (m, n, k) in (size(), size(), size()),
        (other_k, mismatch) in (size(), 0..12_u8),
        (in_a, in_b, in_c) in (view(), view(), view()),
        length in 0..300_usize,
        alpha in select(vec![0.0_f32, 1.0, -0.5]),
        beta in select(vec![0.0_f32, 1.0, 3.0]),
    ) {
        let data = Dense::<f32>::random(2, length, 70).data;
        let start = Dense::<f32>::random(1, length, 71).data;
        let b_rows = if mismatch == 0 { other_k } else { k };
        let a = MatRef::new(&data[..length], in_a.0, m, k, in_a.1, in_a.2);
        let b = MatRef::new(&data[length..], in_b.0, b_rows, n, in_b.1, in_b.2);
        prop_assert_eq!(a.is_ok(), inside(length, in_a, m, k));
        prop_assert_eq!(b.is_ok(), inside(length, in_b, b_rows, n));
        let mut target = start.clone();
        let c = MatMut::new(&mut target, in_c.0, m, n, in_c.1, in_c.2).is_ok();
        prop_assert!(!c || inside(length, in_c, m, n));
        let (Ok(a), Ok(b), true) = (a, b, c) else { return Ok(()) };
        // C's elements in order, and that none shares its place with another.
        let places: Vec<usize> = (0..if n == 0 { 0 } else { m })
            .flat_map(|i| (0..n).map(move |j| (i, j)))
            .map(|(i, j)| (in_c.0 as isize + i as isize * in_c.1 + j as isize * in_c.2) as usize)
            .collect();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), places.len());
        let repeats = k > u32::MAX as usize && in_a.2 == 0 && in_b.1 == 0;
        for context in contexts() {
            let mut got = start.clone();
            let mut c = MatMut::new(&mut got, in_c.0, m, n, in_c.1, in_c.2).expect("made before");
            let result = gemm(&context, alpha, a, b, beta, &mut c);
            if k != b_rows {
                prop_assert!(matches!(result, Err(Error::Shape { .. })), "{:?}", result);
                continue;
            }
            if repeats {
                prop_assert!(matches!(result, Err(Error::Argument { .. })), "{:?}", result);
                continue;
            }
            if let Err(error) = result {
                prop_assert!(false, "{}", error);
            }
            let mut expected = start.clone();
            if !places.is_empty() {
                let (a, b) = if alpha == 0.0 {
                    (Dense::from_fn(m, 0, |_, _| 0.0), Dense::from_fn(0, n, |_, _| 0.0))
                } else {
                    (dense(&a), dense(&b))
                };
                let old = Dense { rows: m, cols: n, data: places.iter().map(|&at| start[at]).collect() };
                let new = twin(context.isa().has_fma(), alpha, &a, &b, beta, &old);
                for (&at, value) in places.iter().zip(new.data) {
                    expected[at] = value;
                }
            }
            let wrap = |data| Dense { rows: 1, cols: length, data };
            assert_same(&wrap(got), &wrap(expected), &(context, m, n, k));
        }
    }
}

/// Each size at the ends of its range with the others empty or small: an error or an answer, at once.
fn extremes<T: Real>() {
    let sizes = [0, 1, 3, 1 << 32, 1 << 60, isize::MAX as usize, 1 << 63, usize::MAX];
    let data = Dense::<T>::random(1, 9, 72).data;
    let (one, zero) = (<T as num_traits::One>::one(), <T as num_traits::Zero>::zero());
    let (mut made, mut ran) = (0, 0);
    for context in contexts() {
        for m in sizes {
            for n in sizes {
                for k in sizes {
                    for (rs, cs) in [(0, 0), (3, 1), (1, 3), (isize::MIN, isize::MAX), (0, isize::MAX)] {
                        let mut target = data.clone();
                        let (Ok(a), Ok(b)) =
                            (MatRef::new(&data, 0, m, k, rs, cs), MatRef::new(&data, 0, k, n, cs, rs))
                        else {
                            continue;
                        };
                        let Ok(mut c) = MatMut::new(&mut target, 0, m, n, 3, 1) else { continue };
                        made += 1;
                        for (alpha, beta) in [(one, zero), (zero, one), (one, one)] {
                            ran += usize::from(gemm(&context, alpha, a, b, beta, &mut c).is_ok());
                        }
                    }
                }
            }
        }
    }
    assert!(made > 300 && ran > 300, "{made} made, {ran} ran");
}

#[test]
fn sizes_at_the_ends_of_their_range() {
    extremes::<f32>();
    extremes::<f64>();
}

/// Two products of 64-bit numbers need 129 bits: a sum that wraps would lie within the slice again.
#[test]
fn reach_beyond_128_bits() {
    let mut data = [0.0_f32; 4];
    for stride in [isize::MIN, isize::MAX] {
        for (rs, cs) in [(stride, stride), (stride, -1), (1, stride)] {
            MatRef::new(&data, 0, usize::MAX, usize::MAX, rs, cs).expect_err("outside");
            MatRef::new(&data, usize::MAX, usize::MAX, usize::MAX, rs, cs).expect_err("outside");
            MatMut::new(&mut data, 3, usize::MAX, usize::MAX, rs, cs).expect_err("outside");
        }
    }
}

/// One row of B needs no stride, one of C neither: any goes, also where B is large enough for tiles to look ahead.
fn strides_that_are_never_used<T: Real>() {
    let one = <T as num_traits::One>::one();
    let zero = <T as num_traits::Zero>::zero();
    let wild = [isize::MIN, isize::MIN + 1, -1, 0, 1, isize::MAX / 2 + 1, isize::MAX];
    for (m, n, k) in
        [(100, 40_000, 1), (1, 40_000, 1), (40_000, 1, 1), (1, 1, 40_000), (40_000, 100, 1), (3, 20, 70)]
    {
        let (a, b) = (Dense::<T>::integers(m, k, 90), Dense::<T>::integers(k, n, 91));
        let expected = Dense::<T>::from_fn(m, n, |i, j| {
            T::from_f64((0..k).map(|k| a.at(i, k).to_f64() * b.at(k, j).to_f64()).sum::<f64>() + 0.0)
        });
        for context in contexts() {
            for stride in wild {
                let only = |count: usize, usual: usize| if count == 1 { stride } else { usual as isize };
                let view = |d: &Dense<T>| (only(d.rows, d.cols), only(d.cols, 1));
                let ((ra, ca), (rb, cb)) = (view(&a), view(&b));
                let mut got = Dense::from_fn(m, n, |_, _| T::nan());
                let (rc, cc) = view(&got);
                let a = MatRef::new(&a.data, 0, m, k, ra, ca).expect("inside");
                let b = MatRef::new(&b.data, 0, k, n, rb, cb).expect("inside");
                for turned in [false, true] {
                    let mut c = MatMut::new(&mut got.data, 0, m, n, rc, cc).expect("inside");
                    if turned {
                        let mut c = c.transposed();
                        gemm(&context, one, b.transposed(), a.transposed(), zero, &mut c)
                    } else {
                        gemm(&context, one, a, b, zero, &mut c)
                    }
                    .expect("shapes fit");
                    got.data.iter_mut().for_each(|x| *x += zero);
                    assert_same(&got, &expected, &(context, m, n, k, stride, turned));
                    got.data.fill(T::nan());
                }
            }
        }
    }
}

#[test]
fn strides_that_are_never_used_f32() {
    strides_that_are_never_used::<f32>();
}

#[test]
fn strides_that_are_never_used_f64() {
    strides_that_are_never_used::<f64>();
}

//! The order contract: which bits come out, whatever the instruction set, the threads and the other rows.

use crate::common::contexts;
use crate::support::{Dense, Real, Storage, Stored, assert_same, mix, twin};
use gemmule::{Context, Parallelism, gemm};

fn product<T: Real>(context: &Context, a: &Dense<T>, b: &Dense<T>) -> Dense<T> {
    let mut c = Dense::from_fn(a.rows, b.cols, |_, _| T::nan());
    let one = <T as num_traits::One>::one();
    let zero = <T as num_traits::Zero>::zero();
    gemm(context, one, a.view(), b.view(), zero, &mut c.view_mut()).expect("shapes fit");
    c
}

/// Bit for bit the twin: fused where the instruction set is, with two roundings on the portable tier.
fn same_as_twin<T: Real>(cases: u64) {
    const DEPTHS: [usize; 10] = [0, 1, 2, 511, 512, 513, 1023, 1024, 1025, 1537];
    const SCALARS: [f64; 6] = [0.0, 1.0, -1.0, 2.0, 0.7, -1.3];
    for case in 0..cases {
        let pick = |what: u64, most: usize| mix(what, case) as usize % most;
        let (m, n) = (1 + pick(40, 30), 1 + pick(41, if case % 5 == 0 { 200 } else { 40 }));
        let k = if case % 2 == 0 { DEPTHS[pick(42, DEPTHS.len())] } else { pick(43, 60) };
        let (alpha, beta) = (T::from_f64(SCALARS[pick(44, 6)]), T::from_f64(SCALARS[pick(45, 6)]));
        let (a, b) = (Dense::<T>::random(m, k, case), Dense::random(k, n, case + 1));
        let c = Dense::random(m, n, case + 2);
        let expected = [false, true].map(|fused| twin(fused, alpha, &a, &b, beta, &c));
        for context in contexts() {
            let expected = &expected[usize::from(context.isa().has_fma())];
            for turn in 0..4 {
                let storage = |by: usize| Storage::ALL[(case as usize + by * turn) % 8];
                let (in_a, in_b, in_c) = (storage(1), storage(3), storage(5));
                let (a, b, mut got) = (Stored::new(&a, in_a), Stored::new(&b, in_b), Stored::new(&c, in_c));
                gemm(&context, alpha, a.view(), b.view(), beta, &mut got.view_mut()).expect("shapes fit");
                assert_same(&got.dense(), expected, &(context, m, n, k, alpha, beta, in_a, in_b, in_c));
            }
        }
    }
}

#[test]
fn bits_of_the_scalar_twin_f32() {
    same_as_twin::<f32>(120);
}

#[test]
fn bits_of_the_scalar_twin_f64() {
    same_as_twin::<f64>(60);
}

/// Few columns, whose A some tiles turn: every number of them, of steps that are left, and of rows that the last tiles share.
fn few_columns<T: Real>() {
    let lanes = 64 / size_of::<T>();
    for n in 1..2 * lanes {
        for (turn, k) in [4, 5, 6, 7, 39, 513, 1026].into_iter().enumerate() {
            let m = lanes + (n * 5 + turn * 3) % (2 * lanes + 1);
            let (a, b, c) = (Dense::<T>::random(m, k, 60), Dense::random(k, n, 61), Dense::random(m, n, 62));
            for (alpha, beta) in [(1.0, 0.0), (0.7, -1.3)].map(|(x, y)| (T::from_f64(x), T::from_f64(y))) {
                let expected = [false, true].map(|fused| twin(fused, alpha, &a, &b, beta, &c));
                for context in contexts() {
                    for in_c in [Storage::Rows, Storage::Cols] {
                        let mut got = Stored::new(&c, in_c);
                        gemm(&context, alpha, a.view(), b.view(), beta, &mut got.view_mut())
                            .expect("shapes fit");
                        let expected = &expected[usize::from(context.isa().has_fma())];
                        assert_same(&got.dense(), expected, &(context, m, n, k, alpha, beta, in_c));
                    }
                }
            }
        }
    }
}

/// Whole vectors of columns and some more, few enough to be computed apart: on one thread and on three.
fn last_columns<T: Real>() {
    let lanes = 64 / size_of::<T>();
    for n in (1..=lanes / 2).map(|rest| 2 * lanes + rest) {
        for (m, k) in [(5 * lanes + 3, 700), (150, 90 + n)] {
            let (a, b, c) = (Dense::<T>::random(m, k, 70), Dense::random(k, n, 71), Dense::random(m, n, 72));
            let (alpha, beta) = (T::from_f64(0.7), T::from_f64(-1.3));
            let expected = [false, true].map(|fused| twin(fused, alpha, &a, &b, beta, &c));
            for context in contexts() {
                for threads in [1, 3] {
                    let context = context.with_parallelism(Parallelism::Max(threads));
                    for in_a in [Storage::Rows, Storage::Cols] {
                        let (a, mut got) = (Stored::new(&a, in_a), Stored::new(&c, Storage::Rows));
                        gemm(&context, alpha, a.view(), b.view(), beta, &mut got.view_mut()).expect("fits");
                        let expected = &expected[usize::from(context.isa().has_fma())];
                        assert_same(&got.dense(), expected, &(context, m, n, k, in_a));
                    }
                }
            }
        }
    }
}

#[test]
fn last_columns_f32() {
    last_columns::<f32>();
}

#[test]
fn last_columns_f64() {
    last_columns::<f64>();
}

#[test]
fn few_columns_f32() {
    few_columns::<f32>();
}

#[test]
fn few_columns_f64() {
    few_columns::<f64>();
}

/// Above the size where B is packed, on every instruction set.
#[test]
fn bits_of_the_scalar_twin_packed() {
    let (m, n, k) = (197, 1100, 700);
    let (a, b) = (Dense::<f32>::random(m, k, 50), Dense::random(k, n, 51));
    let c = Dense::random(m, n, 52);
    let expected = [false, true].map(|fused| twin(fused, 1.25, &a, &b, 0.75, &c));
    for context in contexts() {
        for in_b in [Storage::Rows, Storage::Cols] {
            let (b, mut got) = (Stored::new(&b, in_b), c.clone());
            gemm(&context, 1.25, a.view(), b.view(), 0.75, &mut got.view_mut()).expect("shapes fit");
            assert_same(&got, &expected[usize::from(context.isa().has_fma())], &(context, in_b));
        }
    }
}

/// A sample's answer does not depend on its batch: row i of A B is (row i of A) B, and so for columns.
fn row_alone<T: Real>(m: usize, n: usize, k: usize) {
    let (a, b) = (Dense::<T>::random(m, k, 53), Dense::random(k, n, 54));
    for context in contexts() {
        let whole = product(&context, &a, &b);
        for i in [0, m / 2, m - 1] {
            let row = Dense::from_fn(1, k, |_, k| a.at(i, k));
            let expected = Dense::from_fn(1, n, |_, j| whole.at(i, j));
            assert_same(&product(&context, &row, &b), &expected, &(context, "row", i));
        }
        for j in [0, n / 2, n - 1] {
            let col = Dense::from_fn(k, 1, |k, _| b.at(k, j));
            let expected = Dense::from_fn(m, 1, |i, _| whole.at(i, j));
            assert_same(&product(&context, &a, &col), &expected, &(context, "column", j));
        }
        for rows in [2, 5, 64] {
            let some = Dense::from_fn(rows.min(m), k, |i, k| a.at(i, k));
            let expected = Dense::from_fn(rows.min(m), n, |i, j| whole.at(i, j));
            assert_same(&product(&context, &some, &b), &expected, &(context, "rows", rows));
        }
    }
}

#[test]
fn rows_and_columns_alone() {
    row_alone::<f32>(1, 1, 3);
    row_alone::<f32>(13, 37, 515);
    row_alone::<f32>(200, 330, 1030);
    row_alone::<f64>(101, 70, 600);
}

#[test]
fn transposed_product() {
    for (m, n, k) in [(1, 5, 2), (13, 37, 515), (197, 130, 300)] {
        let (a, b) = (Dense::<f32>::random(m, k, 55), Dense::random(k, n, 56));
        for context in contexts() {
            let expected = product(&context, &a, &b).transposed();
            assert_same(&product(&context, &b.transposed(), &a.transposed()), &expected, &(context, m, n, k));
        }
    }
}

/// Any number of threads, also more than there are cores.
#[test]
fn any_number_of_threads() {
    let shapes =
        [(8, 8, 8), (200, 200, 200), (33, 2000, 600), (700, 150, 1100), (1500, 10, 300), (3, 5000, 400)];
    for (m, n, k) in shapes {
        let (a, b) = (Dense::<f32>::random(m, k, 57), Dense::random(k, n, 58));
        let start = Dense::random(m, n, 59);
        let bias = Dense::random(1, n, 60).data;
        for context in contexts() {
            for (in_a, in_b) in [(Storage::Rows, Storage::Rows), (Storage::Cols, Storage::Cols)] {
                let (a, b) = (Stored::new(&a, in_a), Stored::new(&b, in_b));
                let run = |parallelism| {
                    let mut c = start.clone();
                    let epilogue = gemmule::Epilogue { bias: Some(bias.as_slice()), ..Default::default() };
                    let context = context.with_parallelism(parallelism);
                    gemmule::gemm_with(&context, 1.5, a.view(), b.view(), -1.0, &mut c.view_mut(), &epilogue)
                        .expect("shapes fit");
                    c
                };
                let expected = run(Parallelism::Serial);
                for width in [0, 1, 2, 3, 5, 64, usize::MAX] {
                    let got = run(Parallelism::Max(width));
                    assert_same(&got, &expected, &(context, m, n, k, in_a, width));
                }
                assert_same(&run(Parallelism::Auto), &expected, &(context, m, n, k, in_a));
            }
        }
    }
}

fn fnv1a(hash: u64, bits: u64, bytes: usize) -> u64 {
    bits.to_le_bytes()[..bytes]
        .iter()
        .fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A hash over the bits of a few products whose inputs come from integers alone.
fn golden<T: Real>(product: impl Fn(T, &Dense<T>, &Dense<T>, T, Dense<T>) -> Dense<T>) -> u64 {
    let shapes = [(1, 1, 1), (7, 17, 9), (6, 64, 512), (13, 70, 513), (31, 33, 1300), (98, 130, 77)];
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for (turn, (m, n, k)) in shapes.into_iter().enumerate() {
        let seed = 100 + 3 * turn as u64;
        let (a, b) = (Dense::<T>::random(m, k, seed), Dense::random(k, n, seed + 1));
        let c = Dense::random(m, n, seed + 2);
        let (alpha, beta) =
            (T::from_f64([1.0, 0.75, -1.0][turn % 3]), T::from_f64([0.0, 1.0, 0.5][turn / 2]));
        let c = product(alpha, &a, &b, beta, c);
        hash = c.data.iter().fold(hash, |hash, x| fnv1a(hash, x.bits(), size_of::<T>()));
    }
    hash
}

fn golden_of<T: Real>(context: &Context) -> u64 {
    golden::<T>(|alpha, a, b, beta, mut c| {
        gemm(context, alpha, a.view(), b.view(), beta, &mut c.view_mut()).expect("shapes fit");
        c
    })
}

/// The same on every machine with fused multiply-adds: another value breaks the promise of the same bits. The scalar
/// twin gives it too, so it is a property of the contract and not of the code that happened to run first.
#[test]
fn golden_hash() {
    const GOLDEN: [u64; 2] = [0x519d_e2f9_63cc_7939, 0x19c1_113e_c74f_ca45];
    let twins = [false, true].map(|fused| {
        [
            golden::<f32>(|alpha, a, b, beta, c| twin(fused, alpha, a, b, beta, &c)),
            golden::<f64>(|alpha, a, b, beta, c| twin(fused, alpha, a, b, beta, &c)),
        ]
    });
    assert_eq!(twins[1], GOLDEN, "the scalar twin: {:#018x?}", twins[1]);
    for context in contexts() {
        let got = [golden_of::<f32>(&context), golden_of::<f64>(&context)];
        let expected = if context.isa().has_fma() { GOLDEN } else { twins[0] };
        assert_eq!(got, expected, "{context:?}: {got:#018x?}");
    }
}

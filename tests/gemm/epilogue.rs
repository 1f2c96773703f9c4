//! Bias, activation and derivative in every orientation that a product can take, to the bit; structured data likewise.

use crate::common::contexts;
use crate::support::{Dense, Expected, Real, Storage, Stored, assert_same, twin};
use gemmule::kernel::activation::{Activation, backward_in_place, forward_in_place};
use gemmule::{Context, Epilogue, Parallelism, gemm, gemm_packed, gemm_with, pack_b, packed_b_len};

const ACTIVATIONS: [Activation; 18] = Activation::ALL;

/// One column, few, around the lanes of both types, with rows below and above them; some as work for threads.
const SHAPES: [(usize, usize, usize); 20] = [
    (1, 1, 5),
    (8, 1, 3),
    (16, 1, 40),
    (33, 1, 600),
    (200, 1, 0),
    (16, 7, 9),
    (31, 7, 513),
    (15, 10, 4),
    (64, 10, 30),
    (100, 10, 0),
    (17, 15, 11),
    (129, 15, 70),
    (5, 16, 7),
    (20, 17, 8),
    (1, 130, 20),
    (13, 70, 1030),
    (30, 40, 25),
    (160, 48, 66),
    (130, 66, 300),
    (1500, 10, 200),
];

/// The epilogue of the definition, with the crate's elementwise functions: rows of C by its own columns.
fn apply<T: Real>(context: &Context, product: &Dense<T>, epilogue: &Epilogue<'_, T>) -> Dense<T> {
    let mut c = product.clone();
    if let Some(bias) = epilogue.bias {
        c.data.iter_mut().enumerate().for_each(|(at, x)| *x += bias[at % product.cols]);
    }
    forward_in_place(context, epilogue.activation, &mut c.data).expect("in range");
    if let Some((activation, output)) = epilogue.derivative {
        let output = Dense::from_fn(c.rows, c.cols, |i, j| output.get(i, j).expect("inside"));
        backward_in_place(context, activation, &output.data, &mut c.data).expect("as long");
    }
    c
}

/// Every storage of C with each part of the epilogue alone and together, as a call, as two threads, and packed.
fn every_orientation<T: Real>() {
    let (alpha, beta) = (T::from_f64(-1.3), T::from_f64(0.7));
    let mut turn = 0;
    for (m, n, k) in SHAPES {
        let (a, b, c) = (Dense::<T>::full(m, k, 500), Dense::full(k, n, 501), Dense::full(m, n, 502));
        let (bias, saved) = (Dense::<T>::full(1, n, 503).data, Dense::<T>::full(m, n, 504));
        for context in contexts() {
            let product = twin(context.isa().has_fma(), alpha, &a, &b, beta, &c);
            for in_c in Storage::ALL {
                for parts in 0..8 {
                    turn += 1;
                    let storage = |by: usize| Storage::ALL[turn / by % 8];
                    let in_saved =
                        [Storage::Rows, Storage::PaddedRows(1), Storage::Upwards, Storage::PaddedRows(17)];
                    let saved = Stored::new(&saved, in_saved[turn % 4]);
                    let epilogue = Epilogue {
                        bias: (parts & 1 != 0).then_some(bias.as_slice()),
                        activation: if parts & 2 != 0 { ACTIVATIONS[1 + turn % 17] } else { ACTIVATIONS[0] },
                        derivative: (parts & 4 != 0).then(|| (ACTIVATIONS[turn % 18], saved.view())),
                        tile_function: None,
                    };
                    let expected = apply(&context, &product, &epilogue);
                    let (in_a, in_b) = (storage(3), storage(5));
                    let (a, b) = (Stored::new(&a, in_a), Stored::new(&b, in_b));
                    let context = context.with_parallelism(Parallelism::Max(1 + turn % 3));
                    let what = (context, (m, n, k), in_a, in_b, in_c, parts, epilogue.activation);
                    let mut got = Stored::new(&c, in_c);
                    gemm_with(&context, alpha, a.view(), b.view(), beta, &mut got.view_mut(), &epilogue)
                        .expect("shapes fit");
                    assert_same(&got.dense(), &expected, &what);
                    if turn % 4 == 0 {
                        let mut buffer = vec![T::CANARY; packed_b_len::<T>(k, n).expect("small")];
                        let b = pack_b(&context, b.view(), &mut buffer).expect("large enough");
                        let mut got = Stored::new(&c, in_c);
                        gemm_packed(&context, alpha, a.view(), &b, beta, &mut got.view_mut(), &epilogue)
                            .expect("shapes fit");
                        assert_same(&got.dense(), &expected, &(what, "packed"));
                    }
                }
            }
        }
    }
}

#[test]
fn every_orientation_f32() {
    every_orientation::<f32>();
}

#[test]
fn every_orientation_f64() {
    every_orientation::<f64>();
}

/// Zeros of both signs, and in blocks; one column or row that is not zero; rank one; subnormal factors, sums and results;
/// 1e30 beside 1e-30: in every orientation, within the bound and to the bit.
fn structured<T: Real>() {
    let tiny = if size_of::<T>() == 4 { 1e-40 } else { 1e-310 };
    let root = if size_of::<T>() == 4 { 1e-21 } else { 1e-158 };
    let gone = if size_of::<T>() == 4 { 1e-30 } else { 1e-170 };
    let block = |i: usize, j: usize| if (i / 5 + j / 9).is_multiple_of(3) { 1.0 } else { 0.0 };
    let signed = |i: usize, j: usize| if (i + j).is_multiple_of(2) { 0.0 } else { -0.0 };
    // No product of two beyond f32.
    let large = if size_of::<T>() == 4 { 1e15 } else { 1e30 };
    let mixed = |i: usize, j: usize| [large, 1.0, 1.0 / large][(i + 2 * j) % 3];
    let far = |i: usize, j: usize| [1e30, 1.0, 1e-30][(i + j) % 3];
    type Scale<'a> = &'a dyn Fn(usize, usize) -> f64;
    let scales: [(&str, Scale<'_>, Scale<'_>); 11] = [
        ("zero blocks", &block, &block),
        ("zeros of both signs", &signed, &|_, _| -1.0),
        ("all -0", &|_, _| -0.0, &|_, _| 0.0),
        ("one column", &|_, j| f64::from(u8::from(j == 3)), &|_, _| 1.0),
        ("one row", &|i, _| f64::from(u8::from(i == 2)), &|i, _| f64::from(u8::from(i == 4))),
        ("subnormal factors", &move |_, _| tiny, &|_, _| 1.0),
        ("subnormal products", &move |_, _| root, &move |_, _| root),
        // A sum of products that vanish is -0 where the last one was negative; C becomes +0.
        ("vanishing products", &move |_, _| gone, &move |_, _| gone),
        ("mixed", &mixed, &mixed),
        ("far apart", &far, &|_, _| 1.0),
        ("far factors", &|_, j| [1e30, 1.0, 1e-30][j % 3], &|i, _| [1e-30, 1.0, 1e30][i % 3]),
    ];
    for (m, n, k) in [(7, 33, 20), (40, 1, 30), (64, 10, 25), (13, 70, 530), (20, 16, 40)] {
        for (turn, &(name, scale_a, scale_b)) in scales.iter().enumerate() {
            // Rank one in the last two of three turns: every row of A a multiple of the first, and so for B.
            let (random_a, random_b) = (Dense::<f64>::full(m, k, 510), Dense::<f64>::full(k, n, 511));
            let rank_one = turn % 3 != 0;
            let value = |d: &Dense<f64>, i: usize, j: usize| {
                if rank_one { d.at(i, 0) * d.at(0, j) } else { d.at(i, j) }
            };
            let a = Dense::from_fn(m, k, |i, j| T::from_f64(value(&random_a, i, j) * scale_a(i, j)));
            let b = Dense::from_fn(k, n, |i, j| T::from_f64(value(&random_b, i, j) * scale_b(i, j)));
            let c = Dense::from_fn(m, n, |i, j| T::from_f64(random_a.at(i, j % k) * scale_a(i, j)));
            for (alpha, beta) in [(1.0, 0.0), (1.0, 1.0), (-0.7, -1.0)] {
                let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
                let expected = Expected::new(alpha, &a, &b, beta, &c);
                for context in contexts() {
                    let bits = twin(context.isa().has_fma(), alpha, &a, &b, beta, &c);
                    for step in 0..8 {
                        let storage = |by: usize| Storage::ALL[(turn + by * step) % 8];
                        let (in_a, in_b, in_c) = (storage(3), storage(5), storage(1));
                        let (a, b) = (Stored::new(&a, in_a), Stored::new(&b, in_b));
                        let mut got = Stored::new(&c, in_c);
                        gemm(&context, alpha, a.view(), b.view(), beta, &mut got.view_mut()).expect("fits");
                        let what = (context, name, (m, n, k), alpha, beta, in_a, in_b, in_c);
                        expected.check(&got.dense(), &what);
                        assert_same(&got.dense(), &bits, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn structured_data_f32() {
    structured::<f32>();
}

#[test]
fn structured_data_f64() {
    structured::<f64>();
}

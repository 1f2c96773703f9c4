//! Values: the elementwise bound, exact integers, a second oracle, structured data, NaN and infinity.

use crate::common::contexts;
use crate::support::{Dense, Expected, Real, Storage, Stored, assert_same, mix, twin};
use gemmule::kernel::activation::Activation;
use gemmule::{Context, Epilogue, MatMut, MatRef, gemm, gemm_with};

const SCALARS: [f64; 4] = [0.0, 1.0, -1.0, 2.0];

/// Runs one product with the operands in these storages and returns C, after a look at the gaps.
fn run<T: Real>(
    context: &Context,
    alpha: T,
    (a, in_a): (&Dense<T>, Storage),
    (b, in_b): (&Dense<T>, Storage),
    beta: T,
    (c, in_c): (&Dense<T>, Storage),
) -> Dense<T> {
    let (a, b, mut c) = (Stored::new(a, in_a), Stored::new(b, in_b), Stored::new(c, in_c));
    gemm(context, alpha, a.view(), b.view(), beta, &mut c.view_mut()).expect("shapes fit");
    c.dense()
}

/// C for a product with this beta: NaN where it must not be read.
fn start<T: Real>(m: usize, n: usize, beta: f64, seed: u64) -> Dense<T> {
    if beta == 0.0 { Dense::from_fn(m, n, |_, _| T::nan()) } else { Dense::random(m, n, seed) }
}

/// All m, n, k up to `most`, all transposes; alpha and beta take every pair of values over the shapes.
fn all_small<T: Real>(most: usize) {
    let contexts = contexts();
    let mut turn = 0;
    for m in 0..=most {
        for n in 0..=most {
            for k in 0..=most {
                let (alpha, beta) = (SCALARS[turn % 4], SCALARS[turn / 4 % 4]);
                turn += 1;
                let (a, b) = (Dense::<T>::random(m, k, 1), Dense::random(k, n, 2));
                let c = start(m, n, beta, 3);
                let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
                let expected = Expected::new(alpha, &a, &b, beta, &c);
                for (index, context) in contexts.iter().enumerate() {
                    for transposes in 0..4 {
                        let side = |bit: usize| {
                            if transposes & bit == 0 { Storage::Rows } else { Storage::Cols }
                        };
                        // C goes through every storage.
                        let in_c = Storage::ALL[(turn + index + 3 * transposes) % Storage::ALL.len()];
                        let got = run(context, alpha, (&a, side(1)), (&b, side(2)), beta, (&c, in_c));
                        expected.check(&got, &(context, m, n, k, alpha, beta, transposes, in_c));
                    }
                }
            }
        }
    }
}

#[test]
fn every_small_shape_f32() {
    all_small::<f32>(20);
}

#[test]
fn every_small_shape_f64() {
    all_small::<f64>(13);
}

/// One size sits at a block edge, the others are small or sit at another.
fn edges<T: Real>() {
    let contexts = contexts();
    let around = |sizes: &[usize]| sizes.iter().flat_map(|&x| [x - 1, x, x + 1]).collect::<Vec<_>>();
    let near_m = around(&[6, 12, 96, 192, 384]);
    let near_n = around(&[8, 16, 32, 64, 128, 512]);
    let near_k = [63, 64, 65, 511, 512, 513, 1023, 1024, 1025];
    let mut shapes = Vec::new();
    for (at, &m) in near_m.iter().enumerate() {
        shapes.push((m, near_n[at % near_n.len()], near_k[at % near_k.len()]));
        shapes.push((m, 1, 64));
    }
    for (at, &n) in near_n.iter().enumerate() {
        shapes.push((near_m[(at + 4) % 7], n, near_k[(at + 5) % near_k.len()]));
        shapes.push((1, n, 65));
    }
    for k in near_k {
        shapes.push((7, 17, k));
        // Packed B for its long rows.
        shapes.push((97, 33, k));
    }
    shapes.push((13, 4095, 5));
    shapes.push((13, 4097, 5));
    for (turn, &(m, n, k)) in shapes.iter().enumerate() {
        let (alpha, beta) = (SCALARS[1 + turn % 3], SCALARS[turn / 3 % 4]);
        let (a, b) = (Dense::<T>::random(m, k, 4), Dense::random(k, n, 5));
        let c = start(m, n, beta, 6);
        let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
        let expected = Expected::new(alpha, &a, &b, beta, &c);
        for context in &contexts {
            for step in 0..4 {
                let storage = |by: usize| Storage::ALL[(turn + by * step) % Storage::ALL.len()];
                let (in_a, in_b, in_c) = (storage(1), storage(3), storage(5));
                let got = run(context, alpha, (&a, in_a), (&b, in_b), beta, (&c, in_c));
                expected.check(&got, &(context, m, n, k, in_a, in_b, in_c));
            }
            let wide = Storage::PaddedRows(4096);
            let got = run(context, alpha, (&a, Storage::Rows), (&b, wide), beta, (&c, Storage::Rows));
            expected.check(&got, &(context, m, n, k, "far rows"));
        }
    }
}

#[test]
fn block_edges_f32() {
    edges::<f32>();
}

#[test]
fn block_edges_f64() {
    edges::<f64>();
}

/// Every storage of A with every one of B and of C.
#[test]
fn every_storage() {
    for (m, n, k) in [(1, 1, 1), (1, 19, 3), (19, 1, 3), (7, 33, 5), (13, 70, 530)] {
        let (a, b) = (Dense::<f32>::random(m, k, 7), Dense::random(k, n, 8));
        for beta in [0.0, -1.0] {
            let c = start(m, n, f64::from(beta), 9);
            let expected = Expected::new(2.0, &a, &b, beta, &c);
            for context in contexts() {
                for in_a in Storage::ALL {
                    for in_b in Storage::ALL {
                        for in_c in Storage::ALL {
                            let got = run(&context, 2.0, (&a, in_a), (&b, in_b), beta, (&c, in_c));
                            expected.check(&got, &(context, m, n, k, in_a, in_b, in_c));
                        }
                    }
                }
            }
        }
    }
}

/// Zero strides: one row, one column or one element repeated.
#[test]
fn repeated_inputs() {
    let data: Vec<f32> = Dense::random(1, 700, 10).data;
    for (m, n, k) in [(1, 1, 1), (7, 33, 19), (97, 65, 600), (3, 130, 513)] {
        for (rs, cs) in [(0, 0), (0, 1), (1, 0)] {
            let a = MatRef::new(&data, 0, m, k, rs, cs).expect("inside");
            let b = MatRef::new(&data, 1, k, n, cs, rs).expect("inside");
            let dense = |view: MatRef<'_, f32>| {
                Dense::from_fn(view.rows(), view.cols(), |i, j| view.get(i, j).expect("inside"))
            };
            let c = Dense::random(m, n, 11);
            let expected = Expected::new(1.0, &dense(a), &dense(b), 2.0, &c);
            for context in contexts() {
                let mut got = c.clone();
                gemm(&context, 1.0, a, b, 2.0, &mut got.view_mut()).expect("shapes fit");
                expected.check(&got, &(context, m, n, k, rs, cs));
            }
        }
    }
}

/// Small integers: no rounding, so no tolerance, on every instruction set.
fn exact<T: Real>() {
    for turn in 0..400 {
        let size = |what: u64, most: u64| (mix(what, turn) % most) as usize;
        let (m, n, k) = (size(12, 50), size(13, 150), size(14, if turn % 8 == 0 { 1100 } else { 40 }));
        let (alpha, beta) = (SCALARS[size(15, 4)], SCALARS[size(16, 4)]);
        let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
        let (a, b) = (Dense::<T>::integers(m, k, turn), Dense::<T>::integers(k, n, turn + 1));
        let c = Dense::<T>::integers(m, n, turn + 2);
        let expected = Dense::<T>::from_fn(m, n, |i, j| {
            let sum: f64 = (0..k).map(|k| a.at(i, k).to_f64() * b.at(k, j).to_f64()).sum();
            // Only the sign of a zero is free.
            T::from_f64(alpha.to_f64() * sum + beta.to_f64() * c.at(i, j).to_f64() + 0.0)
        });
        let storage = |what| Storage::ALL[size(what, 8)];
        let (in_a, in_b, in_c) = (storage(17), storage(18), storage(19));
        for context in contexts() {
            let mut got = run(&context, alpha, (&a, in_a), (&b, in_b), beta, (&c, in_c));
            got.data.iter_mut().for_each(|x| *x += <T as num_traits::Zero>::zero());
            assert_same(&got, &expected, &(context, m, n, k, alpha, beta, in_a, in_b, in_c));
        }
    }
}

#[test]
fn integers_are_exact() {
    exact::<f32>();
    exact::<f64>();
}

/// matrixmultiply shares no code with us: both answers lie within the bound of the same oracle.
#[test]
fn matrixmultiply_agrees() {
    for (m, n, k) in [(5, 7, 9), (64, 100, 300), (130, 65, 513), (31, 257, 70)] {
        let (a, b, c) = (Dense::<f32>::random(m, k, 20), Dense::random(k, n, 21), Dense::random(m, n, 22));
        let expected = Expected::new(-1.5, &a, &b, 0.5, &c);
        for context in contexts() {
            let mut got = c.clone();
            gemm(&context, -1.5, a.view(), b.view(), 0.5, &mut got.view_mut()).expect("shapes fit");
            expected.check(&got, &(context, m, n, k));
        }
        let mut other = c.clone();
        let strides = |cols: usize| (cols as isize, 1);
        let ((ra, ca), (rb, cb), (rc, cc)) = (strides(k), strides(n), strides(n));
        #[allow(unsafe_code, reason = "the oracle's interface")]
        // SAFETY: three dense matrices with the strides of their rows.
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                -1.5,
                a.data.as_ptr(),
                ra,
                ca,
                b.data.as_ptr(),
                rb,
                cb,
                0.5,
                other.data.as_mut_ptr(),
                rc,
                cc,
            );
        }
        expected.check(&other, &("matrixmultiply", m, n, k));
    }
}

/// Data with structure: bugs that random numbers hide.
#[test]
fn structured_data() {
    let (m, n, k) = (70, 131, 600);
    let random = |rows, cols, seed| Dense::<f32>::random(rows, cols, seed);
    let (a, b) = (random(m, k, 23), random(k, n, 24));
    let scaled = |d: &Dense<f32>, scale: &dyn Fn(usize, usize) -> f32| {
        Dense::from_fn(d.rows, d.cols, |i, j| d.at(i, j) * scale(i, j))
    };
    let block = |i: usize, j: usize| if (i / 37 + j / 53).is_multiple_of(3) { 1.0 } else { 0.0 };
    let tall = |i: usize, j: usize| [1e15, 1.0, 1e-15][(i + 2 * j) % 3];
    let huge = |i: usize, j: usize| [1e30, 1.0, 1e-30][(i + j) % 3];
    let cases: [(&str, Dense<f32>, Dense<f32>); 8] = [
        ("zero blocks", scaled(&a, &block), scaled(&b, &block)),
        ("one block", scaled(&a, &|i, j| f32::from(i < 6 && j < 6)), b.clone()),
        ("rank one", Dense::from_fn(m, k, |i, j| a.at(i, 0) * a.at(0, j)), {
            Dense::from_fn(k, n, |i, j| b.at(i, 0) * b.at(0, j))
        }),
        ("symmetric", Dense::from_fn(m, k, |i, j| a.at(i.min(j), i.min(j))), b.clone()),
        ("denormal", scaled(&a, &|_, _| 1e-40), b.clone()),
        ("denormal products", scaled(&a, &|_, _| 1e-20), scaled(&b, &|_, _| 1e-21)),
        ("mixed", scaled(&a, &tall), scaled(&b, &tall)),
        ("far apart", scaled(&a, &huge), scaled(&b, &|_, _| 1e5)),
    ];
    for (name, a, b) in &cases {
        let c = Dense::from_fn(m, n, |i, j| a.at(i, j % k));
        let expected = Expected::new(1.0, a, b, 1.0, &c);
        for context in contexts() {
            let fused = context.isa().has_fma();
            for in_b in [Storage::Rows, Storage::Cols] {
                let got = run(&context, 1.0, (a, Storage::Rows), (b, in_b), 1.0, (&c, Storage::Rows));
                expected.check(&got, &(context, name, in_b));
                assert_same(&got, &twin(fused, 1.0, a, b, 1.0, &c), &(context, name, in_b));
            }
        }
    }
}

/// NaN and infinity, of the data and by overflow, go where the formula takes them and nowhere else.
#[test]
fn nan_and_infinity() {
    for (m, n, k) in [(1, 1, 1), (7, 19, 5), (14, 70, 600)] {
        for seed in 0..8 {
            let salt = |d: &mut Dense<f32>, what: u64| {
                let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -f32::MAX, 0.0, -0.0];
                for at in 0..3 {
                    let place = mix(what, seed * 8 + at) as usize % d.data.len();
                    d.data[place] = values[mix(what + 1, seed * 8 + at) as usize % values.len()];
                }
            };
            let (mut a, mut b) = (Dense::<f32>::random(m, k, seed), Dense::random(k, n, seed + 1));
            let mut c = Dense::random(m, n, seed + 2);
            salt(&mut a, 25);
            salt(&mut b, 27);
            salt(&mut c, 29);
            for context in contexts() {
                for (alpha, beta) in
                    [(1.0, 0.0), (2.0, 1.0), (f32::NAN, 1.0), (1.0, f32::INFINITY), (0.0, 2.0)]
                {
                    let expected = twin(context.isa().has_fma(), alpha, &a, &b, beta, &c);
                    for storage in [Storage::Rows, Storage::Cols, Storage::General] {
                        let got = run(&context, alpha, (&a, storage), (&b, storage), beta, (&c, storage));
                        assert_same(&got, &expected, &(context, m, n, k, alpha, beta, storage));
                    }
                }
            }
        }
    }
}

/// alpha = 0 and k = 0 read neither A nor B; beta = 0 does not read C; together they write +0.
#[test]
fn what_is_not_read() {
    for context in contexts() {
        let nan = Dense::<f32>::from_fn(7, 9, |_, _| f32::NAN);
        let (a, b) = (Dense::from_fn(7, 5, |_, _| f32::NAN), Dense::from_fn(5, 9, |_, _| f32::INFINITY));
        let c = Dense::random(7, 9, 31);
        for storage in Storage::ALL {
            let got = run(&context, 0.0, (&a, storage), (&b, storage), -2.0, (&c, storage));
            assert_same(&got, &Dense::from_fn(7, 9, |i, j| -2.0 * c.at(i, j)), &(context, storage));
            let got = run(&context, -0.0, (&a, storage), (&b, storage), -0.0, (&nan, storage));
            assert_same(&got, &Dense::from_fn(7, 9, |_, _| 0.0), &(context, storage));
            let empty = (Dense::from_fn(7, 0, |_, _| 0.0), Dense::from_fn(0, 9, |_, _| 0.0));
            let got = run(&context, f32::NAN, (&empty.0, storage), (&empty.1, storage), 0.0, (&nan, storage));
            assert_same(&got, &Dense::from_fn(7, 9, |_, _| 0.0), &(context, storage));
        }
    }
}

/// Bias, activation and derivative in this order, in every storage of C, at every tail and with k = 0.
#[test]
fn epilogue() {
    for (m, n, k) in
        [(1, 1, 0), (1, 1, 3), (7, 1, 4), (1, 33, 2), (6, 16, 8), (13, 70, 0), (13, 70, 5), (97, 131, 600)]
    {
        let (a, b, c) = (Dense::<f32>::random(m, k, 32), Dense::random(k, n, 33), Dense::random(m, n, 34));
        let (bias, saved) = (Dense::<f32>::random(1, n, 35).data, Dense::<f32>::random(m, n, 36));
        for context in contexts() {
            let product = twin(context.isa().has_fma(), 1.5, &a, &b, 0.5, &c);
            for mask in 0..8 {
                let expected = Dense::from_fn(m, n, |i, j| {
                    let mut x = product.at(i, j);
                    if mask & 1 != 0 {
                        x += bias[j];
                    }
                    if mask & 2 != 0 && x < 0.0 {
                        x = 0.0;
                    }
                    if mask & 4 != 0 {
                        x *= f32::from(saved.at(i, j) > 0.0);
                    }
                    x
                });
                for (in_c, in_saved) in [
                    (Storage::Rows, Storage::Rows),
                    (Storage::Cols, Storage::PaddedRows(3)),
                    (Storage::General, Storage::Upwards),
                    (Storage::Upwards, Storage::PaddedRows(1)),
                ] {
                    let saved = Stored::new(&saved, in_saved);
                    let mut got = Stored::new(&c, in_c);
                    let epilogue = Epilogue {
                        bias: (mask & 1 != 0).then_some(bias.as_slice()),
                        activation: if mask & 2 != 0 { Activation::Relu } else { Activation::Identity },
                        derivative: (mask & 4 != 0).then(|| (Activation::Relu, saved.view())),
                        tile_function: None,
                    };
                    gemm_with(&context, 1.5, a.view(), b.view(), 0.5, &mut got.view_mut(), &epilogue)
                        .expect("shapes fit");
                    assert_same(&got.dense(), &expected, &(context, m, n, k, mask, in_c));
                }
            }
        }
    }
}

/// Shapes that do not fit are refused before anything is written.
#[test]
fn refused() {
    let data = [1.0_f32; 24];
    let at = |rows, cols| MatRef::row_major(&data, rows, cols).expect("inside");
    for context in contexts() {
        let mut c = [f32::NAN; 12];
        let mut view = MatMut::row_major(&mut c, 3, 4).expect("inside");
        for (a, b) in [(at(2, 2), at(2, 4)), (at(3, 2), at(3, 4)), (at(3, 2), at(2, 3)), (at(3, 0), at(1, 4))]
        {
            let error = gemm(&context, 1.0, a, b, 0.0, &mut view).expect_err("shapes do not fit");
            assert!(matches!(error, gemmule::Error::Shape { operation: "gemm", .. }), "{error}");
        }
        for (bias, saved) in [(&data[..3], at(3, 4)), (&data[..5], at(3, 4)), (&data[..4], at(4, 3))] {
            let derivative = Some((Activation::Relu, saved));
            let epilogue = Epilogue { bias: Some(bias), derivative, ..Epilogue::default() };
            gemm_with(&context, 1.0, at(3, 2), at(2, 4), 0.0, &mut view, &epilogue)
                .expect_err("does not fit");
        }
        let saved = MatRef::col_major(&data, 3, 4).expect("inside");
        let epilogue = Epilogue { derivative: Some((Activation::Relu, saved)), ..Epilogue::default() };
        gemm_with(&context, 1.0, at(3, 2), at(2, 4), 0.0, &mut view, &epilogue).expect_err("strides");
        assert!(c.iter().all(|x| x.is_nan()), "nothing was written");
    }
}

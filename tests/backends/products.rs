//! What the libraries of this build compute.

use crate::common::all_bits;
use crate::support::{Dense, Expected, Real, Storage, Stored, assert_same, mix};
use gemmule::kernel::activation::Activation;
use gemmule::nn::{Dense as Layer, Sequential};
use gemmule::{Backend, Context, Epilogue, MatMut, MatRef, gemm, gemm_with};

const SCALARS: [f64; 4] = [0.0, 1.0, -1.0, 2.0];

/// Our own context, and one for every other library of this build.
fn others() -> (Context, Vec<Context>) {
    let native = Context::detect().expect("an instruction set");
    let others = Backend::available().filter(|&backend| backend != Backend::Native);
    let others: Vec<_> = others.map(|backend| native.with_backend(backend).expect("compiled in")).collect();
    assert!(!others.is_empty(), "nothing to test");
    (native, others)
}

/// C for a product with this beta: NaN where it must not be read.
fn start<T: Real>(m: usize, n: usize, beta: f64, seed: u64) -> Dense<T> {
    if beta == 0.0 { Dense::from_fn(m, n, |_, _| T::nan()) } else { Dense::random(m, n, seed) }
}

/// One product with the operands in these storages; C, after a look at the gaps.
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

/// The engine has products of its own: a choice that it would ignore is an error.
#[test]
fn models_refuse_others() {
    let (native, others) = others();
    let net = Sequential::new().with(Layer::new(3, 2));
    net.build_with::<f32>(native, 0).expect("ours");
    for context in others {
        let error = net.build_with::<f32>(context, 0).expect_err("not ours").to_string();
        assert!(error.contains("backend") && error.contains(context.backend().name()), "{error}");
    }
}

/// Shapes on both sides of the least work, long and short in each dimension, in storages by turns.
fn bound<T: Real>() {
    let mut shapes =
        vec![(31, 32, 32), (32, 32, 32), (33, 32, 32), (1, 300, 400), (300, 1, 400), (300, 400, 1)];
    shapes.extend([
        (1, 1, 70_000),
        (2, 3, 9000),
        (64, 64, 64),
        (65, 127, 33),
        (5, 7, 3),
        (1, 1, 1),
        (130, 65, 513),
    ]);
    shapes.extend([(97, 260, 1025), (257, 31, 129)]);
    let (_, others) = others();
    for (turn, (m, n, k)) in shapes.into_iter().enumerate() {
        let (a, b) = (Dense::<T>::random(m, k, 1), Dense::random(k, n, 2));
        for (alpha, beta) in [(1.0, 0.0), (1.0, 1.0), (-1.5, 0.5), (2.0, -1.0)] {
            let c = start(m, n, beta, 3);
            let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
            let expected = Expected::new(alpha, &a, &b, beta, &c);
            for context in &others {
                for step in 0..4 {
                    let storage = |by: usize| Storage::ALL[(turn + by * step) % Storage::ALL.len()];
                    let (in_a, in_b, in_c) = (storage(1), storage(3), storage(5));
                    let got = run(context, alpha, (&a, in_a), (&b, in_b), beta, (&c, in_c));
                    expected.check(&got, &(context, m, n, k, in_a, in_b, in_c));
                }
            }
        }
    }
}

#[test]
fn bound_f32() {
    bound::<f32>();
}

#[test]
fn bound_f64() {
    bound::<f64>();
}

/// Every storage of A with every one of B and of C: all transposes, gaps, and what only ours takes.
fn every_storage<T: Real>() {
    let (_, others) = others();
    for (m, n, k) in [(37, 41, 53), (1, 200, 200), (200, 1, 200), (200, 200, 1)] {
        let (a, b) = (Dense::<T>::random(m, k, 4), Dense::random(k, n, 5));
        for beta in [0.0, -1.0] {
            let c = start(m, n, beta, 6);
            let (two, beta) = (T::from_f64(2.0), T::from_f64(beta));
            let expected = Expected::new(two, &a, &b, beta, &c);
            for context in &others {
                for in_a in Storage::ALL {
                    for in_b in Storage::ALL {
                        for in_c in Storage::ALL {
                            let got = run(context, two, (&a, in_a), (&b, in_b), beta, (&c, in_c));
                            expected.check(&got, &(context, m, n, k, in_a, in_b, in_c));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_storage_f32() {
    every_storage::<f32>();
}

#[test]
fn every_storage_f64() {
    every_storage::<f64>();
}

/// Inputs that BLAS cannot describe, though no stride is negative: repeated and overlapping rows and columns; and
/// strides that mean nothing along a dimension of one element.
#[test]
fn unusual_strides() {
    let data: Vec<f32> = Dense::random(1, 90_000, 7).data;
    let (_, others) = others();
    for (m, n, k) in [(48, 40, 70), (1, 250, 300), (300, 1, 250), (300, 250, 1)] {
        for (rs, cs) in [(0, 0), (0, 1), (1, 0), (1, 1), (3, 1), (1, 5), (isize::MIN, 1), (1, isize::MAX)] {
            for (flip_a, flip_b) in [(false, false), (false, true), (true, false), (true, true)] {
                let view = |rows, cols, flip| {
                    let (rs, cs) = if flip { (cs, rs) } else { (rs, cs) };
                    MatRef::new(&data, 1, rows, cols, rs, cs)
                };
                // The longest strides are for one row or one column alone.
                let (Ok(a), Ok(b)) = (view(m, k, flip_a), view(k, n, flip_b)) else { continue };
                let dense = |view: MatRef<'_, f32>| {
                    Dense::from_fn(view.rows(), view.cols(), |i, j| view.get(i, j).expect("inside"))
                };
                let c = Dense::random(m, n, 8);
                let expected = Expected::new(1.0, &dense(a), &dense(b), 2.0, &c);
                for context in &others {
                    let mut got = c.clone();
                    gemm(context, 1.0, a, b, 2.0, &mut got.view_mut()).expect("shapes fit");
                    expected.check(&got, &(context, m, n, k, rs, cs, flip_a, flip_b));
                }
            }
        }
    }
}

/// The library is called: its sums have another order, so that some bits differ. Where it is not called, none does.
#[test]
fn who_computed() {
    let (native, others) = others();
    let differ = |context: &Context, (m, n, k): (usize, usize, usize), storage: Storage| {
        let (a, b) = (Dense::<f32>::random(m, k, 9), Dense::random(k, n, 10));
        let c = Dense::from_fn(m, n, |_, _| 0.0);
        let product = |context: &Context| {
            run(context, 1.0, (&a, storage), (&b, Storage::Rows), 0.0, (&c, Storage::Rows)).data
        };
        all_bits(&product(context)) != all_bits(&product(&native))
    };
    for context in others {
        let cblas = context.backend() == Backend::Cblas;
        for storage in Storage::ALL {
            use Storage::{Cols, PaddedCols, PaddedRows, Rows};
            let rows_or_columns = matches!(storage, Rows | Cols | PaddedRows(_) | PaddedCols(_));
            assert_eq!(
                differ(&context, (200, 150, 2000), storage),
                !cblas || rows_or_columns,
                "{context:?} {storage:?}: another library has other bits, ours the same"
            );
            assert!(!differ(&context, (3, 5, 2000), storage), "{context:?} {storage:?}: a small one is ours");
        }
    }
}

/// alpha = 0 and k = 0 read neither A nor B; nothing happens to a C without elements.
#[test]
fn what_is_not_read() {
    let (_, others) = others();
    let (m, n) = (70, 90);
    for context in others {
        let (a, b) = (Dense::from_fn(m, 50, |_, _| f32::NAN), Dense::from_fn(50, n, |_, _| f32::INFINITY));
        let (c, nan) = (Dense::random(m, n, 11), Dense::from_fn(m, n, |_, _| f32::NAN));
        let no_k = (Dense::from_fn(m, 0, |_, _| 0.0), Dense::from_fn(0, n, |_, _| 0.0));
        for storage in Storage::ALL {
            let got = run(&context, 0.0, (&a, storage), (&b, storage), -2.0, (&c, storage));
            assert_same(&got, &Dense::from_fn(m, n, |i, j| -2.0 * c.at(i, j)), &(context, storage));
            let got = run(&context, 1.0, (&no_k.0, storage), (&no_k.1, storage), 0.0, (&nan, storage));
            assert_same(&got, &Dense::from_fn(m, n, |_, _| 0.0), &(context, storage));
            let (no_m, no_n) = (Dense::from_fn(0, 50, |_, _| 0.0), Dense::from_fn(50, 0, |_, _| 0.0));
            run(&context, 1.0, (&no_m, storage), (&b, storage), 0.0, (&Dense::random(0, n, 1), storage));
            run(&context, 1.0, (&a, storage), (&no_n, storage), 0.0, (&Dense::random(m, 0, 1), storage));
        }
    }
}

/// Bias, activation and derivative in this order, on sums of integers, which no order rounds: the same bits as ours.
fn epilogue<T: Real>() {
    let (native, others) = others();
    let activations = [
        Activation::Identity,
        Activation::Relu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Exponential,
    ];
    let shapes = [(40, 50, 60), (1, 400, 100), (400, 1, 100), (97, 131, 600), (3, 4, 5)];
    for (turn, (m, n, k)) in shapes.into_iter().enumerate() {
        let (a, b) = (Dense::<T>::integers(m, k, 12), Dense::integers(k, n, 13));
        let (c, saved) = (Dense::<T>::integers(m, n, 14), Dense::<T>::random(m, n, 15));
        let bias = Dense::<T>::random(1, n, 16).data;
        // Near the middle of tanh and sigmoid.
        let alpha = T::from_f64(1.0 / 256.0);
        for mask in 0..4 {
            for activation in activations {
                let storage = |what| Storage::ALL[mix(what, turn as u64) as usize % Storage::ALL.len()];
                for in_c in [Storage::Rows, Storage::Cols, storage(17), storage(18)] {
                    let saved = Stored::new(&saved, Storage::PaddedRows(3));
                    let epilogue = Epilogue {
                        bias: (mask & 1 != 0).then_some(bias.as_slice()),
                        activation,
                        derivative: (mask & 2 != 0).then(|| (Activation::Relu, saved.view())),
                        tile_function: None,
                    };
                    let product = |context: &Context| {
                        let mut c = Stored::new(&c, in_c);
                        let one = T::from_f64(1.0);
                        gemm_with(context, alpha, a.view(), b.view(), one, &mut c.view_mut(), &epilogue)
                            .expect("shapes fit");
                        c.dense()
                    };
                    let expected = product(&native);
                    for context in &others {
                        assert_same(
                            &product(context),
                            &expected,
                            &(context, m, n, k, mask, activation, in_c),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn epilogue_f32() {
    epilogue::<f32>();
}

#[test]
fn epilogue_f64() {
    epilogue::<f64>();
}

/// What ours refuses is refused before anything is written.
#[test]
fn refused() {
    let data = vec![1.0_f32; 6000];
    let (_, others) = others();
    for context in others {
        let mut c = vec![f32::NAN; 3000];
        let mut view = MatMut::row_major(&mut c, 50, 60).expect("inside");
        let at = |rows, cols| MatRef::row_major(&data, rows, cols).expect("inside");
        gemm(&context, 1.0, at(50, 40), at(41, 60), 0.0, &mut view).expect_err("shapes do not fit");
        let saved = MatRef::col_major(&data, 50, 60).expect("inside");
        for epilogue in [
            Epilogue { derivative: Some((Activation::Relu, saved)), ..Epilogue::default() },
            Epilogue { bias: Some(&data[..59]), ..Epilogue::default() },
        ] {
            gemm_with(&context, 1.0, at(50, 40), at(40, 60), 0.0, &mut view, &epilogue)
                .expect_err("does not fit");
        }
        assert!(c.iter().all(|x| x.is_nan()), "{context:?}: nothing was written");
    }
}

/// From several threads at once, each within its own product.
#[test]
fn on_many_threads() {
    let (_, others) = others();
    let (a, b) = (Dense::<f32>::random(90, 300, 19), Dense::random(300, 110, 20));
    let c = Dense::random(90, 110, 21);
    let expected = Expected::new(1.0, &a, &b, 1.0, &c);
    for context in others {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for storage in [Storage::Rows, Storage::Cols, Storage::Rows, Storage::Upwards] {
                        let got = run(&context, 1.0, (&a, storage), (&b, storage), 1.0, (&c, storage));
                        expected.check(&got, &(context, storage));
                    }
                });
            }
        });
    }
}

/// All pairs of scalars, on one shape above the least work.
#[test]
fn scalars() {
    let (_, others) = others();
    let (m, n, k) = (40, 50, 60);
    let (a, b) = (Dense::<f64>::random(m, k, 22), Dense::random(k, n, 23));
    for alpha in SCALARS {
        for beta in SCALARS {
            let c = start(m, n, beta, 24);
            let expected = Expected::new(alpha, &a, &b, beta, &c);
            for context in &others {
                for in_c in [Storage::Rows, Storage::Cols] {
                    let got = run(context, alpha, (&a, Storage::Cols), (&b, Storage::Rows), beta, (&c, in_c));
                    expected.check(&got, &(context, alpha, beta, in_c));
                }
            }
        }
    }
}

//! Tile functions: each element once, final, at its place; and what views of a tile let one do.

use crate::common::contexts;
use crate::support::{Dense, Real, Storage, Stored, assert_same};
use gemmule::kernel::activation::Activation;
use gemmule::{
    Context, Epilogue, MatMut, MatRef, Parallelism, gemm, gemm_packed, gemm_with, pack_b, packed_b_len,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Small, thin, several tiles, blocks of k, and enough work for threads.
const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 1, 0),
    (5, 70, 0),
    (7, 19, 3),
    (40, 1, 9),
    (33, 7, 20),
    (70, 10, 600),
    (100, 15, 30),
    (1, 200, 30),
    (13, 130, 1100),
    (30, 48, 17),
    (150, 340, 70),
    (300, 300, 60),
    (2000, 10, 300),
];

/// One product, with B as it is or packed.
#[allow(clippy::too_many_arguments, reason = "those of gemm")]
fn multiply<T: Real>(
    context: &Context,
    packs: bool,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
) {
    if packs {
        let mut buffer = vec![T::CANARY; packed_b_len::<T>(b.rows(), b.cols()).expect("small")];
        let b = pack_b(context, b, &mut buffer).expect("large enough");
        gemm_packed(context, alpha, a, &b, beta, c, epilogue)
    } else {
        gemm_with(context, alpha, a, b, beta, c, epilogue)
    }
    .expect("shapes fit");
}

/// Every tile is looked at while it is there: no element twice, none left out, none that is not final.
fn each_element_once<T: Real>() {
    let one = <T as num_traits::One>::one();
    let half = T::from_f64(0.5);
    let mut turn = 0;
    for (m, n, k) in SHAPES {
        let (a, b, c) = (Dense::<T>::full(m, k, 400), Dense::full(k, n, 401), Dense::full(m, n, 402));
        let (bias, saved) = (Dense::<T>::full(1, n, 403).data, Dense::<T>::full(m, n, 404));
        for context in contexts() {
            for in_c in Storage::ALL {
                for case in 0..8 {
                    turn += 1;
                    let (packs, by_column, zero) =
                        (case & 1 != 0, case & 2 != 0, case & 4 != 0 && turn % 2 == 0);
                    let alpha = if zero { <T as num_traits::Zero>::zero() } else { half };
                    let stored_b = Stored::new(&b, Storage::ALL[turn % 8]);
                    let without = Epilogue {
                        bias: by_column.then_some(bias.as_slice()),
                        activation: [Activation::Identity, Activation::Sigmoid][turn % 2],
                        derivative: by_column.then(|| (Activation::Relu, saved.view())),
                        tile_function: None,
                    };
                    let serial = context.with_parallelism(Parallelism::Serial);
                    let mut expected = c.clone();
                    gemm_with(&serial, alpha, a.view(), b.view(), half, &mut expected.view_mut(), &without)
                        .expect("shapes fit");
                    let seen: Vec<AtomicUsize> = (0..m * n).map(|_| AtomicUsize::new(0)).collect();
                    let look = |row: usize, col: usize, mut tile: MatMut<'_, T>| {
                        assert!(tile.rows() > 0 && tile.cols() > 0, "an empty tile");
                        for i in 0..tile.rows() {
                            for j in 0..tile.cols() {
                                let (i_c, j_c) = (row + i, col + j);
                                assert!(i_c < m && j_c < n, "({i_c}, {j_c}) is not in C");
                                let value = tile.get_mut(i, j).expect("inside");
                                let final_value = expected.at(i_c, j_c);
                                assert!(
                                    value.bits() == final_value.bits(),
                                    "({i_c}, {j_c}) is {value:e} instead of {final_value:e}"
                                );
                                // What the function leaves there is the result.
                                *value += one;
                                seen[i_c * n + j_c].fetch_add(1, Relaxed);
                            }
                        }
                    };
                    let width = [1, 2, 3, 8][turn % 4];
                    let context = context.with_parallelism(Parallelism::Max(width));
                    let epilogue = Epilogue { tile_function: Some(&look), ..without };
                    let mut got = Stored::new(&c, in_c);
                    let (a, b) = (a.view(), stored_b.view());
                    multiply(&context, packs, alpha, a, b, half, &mut got.view_mut(), &epilogue);
                    let what = (context, (m, n, k), in_c, case, width);
                    for (at, count) in seen.iter().enumerate() {
                        let count = count.load(Relaxed);
                        assert_eq!(count, 1, "{what:?}: ({}, {}) in {count} tiles", at / n, at % n);
                    }
                    let changed = Dense::from_fn(m, n, |i, j| expected.at(i, j) + one);
                    assert_same(&got.dense(), &changed, &what);
                }
            }
        }
    }
}

#[test]
fn each_element_once_f32() {
    each_element_once::<f32>();
}

#[test]
fn each_element_once_f64() {
    each_element_once::<f64>();
}

/// Without elements there is no tile.
#[test]
fn no_tile_of_an_empty_product() {
    let never = |_: usize, _: usize, _: MatMut<'_, f32>| panic!("called");
    let epilogue = Epilogue { tile_function: Some(&never), ..Epilogue::default() };
    for context in contexts() {
        for (m, n) in [(0, 0), (0, 9), (9, 0)] {
            for packs in [false, true] {
                let data = [1.0; 27];
                let a = MatRef::row_major(&data, m, 3).expect("inside");
                let b = MatRef::row_major(&data, 3, n).expect("inside");
                let mut c = [];
                let mut c = MatMut::row_major(&mut c, m, n).expect("empty");
                multiply(&context, packs, 1.0, a, b, 0.0, &mut c, &epilogue);
            }
        }
    }
}

/// A panic in a tile function reaches the caller, on any number of threads, and leaves nothing behind.
#[test]
fn panics_reach_the_caller() {
    let (m, n, k) = (300, 200, 100);
    let (a, b) = (Dense::<f32>::full(m, k, 410), Dense::full(k, n, 411));
    for context in contexts() {
        let mut expected = Dense::from_fn(m, n, |_, _| 0.0);
        gemm(&context, 1.0, a.view(), b.view(), 0.0, &mut expected.view_mut()).expect("fits");
        for width in [1, 2, 3, 8] {
            let context = context.with_parallelism(Parallelism::Max(width));
            for (in_c, packs) in [(Storage::Rows, false), (Storage::Cols, false), (Storage::Rows, true)] {
                let tiles = AtomicUsize::new(0);
                let throws = |_: usize, _: usize, _: MatMut<'_, f32>| {
                    // Silent: no message of a panic hook among the test's.
                    if tiles.fetch_add(1, Relaxed) == 2 {
                        std::panic::resume_unwind(Box::new("the third tile"));
                    }
                };
                let epilogue = Epilogue { tile_function: Some(&throws), ..Epilogue::default() };
                let mut c = Stored::new(&expected, in_c);
                let payload = catch_unwind(AssertUnwindSafe(|| {
                    let (a, b) = (a.view(), b.view());
                    multiply(&context, packs, 1.0, a, b, 0.0, &mut c.view_mut(), &epilogue);
                }))
                .expect_err("the panic comes through");
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"the third tile"), "{context:?}");
                let mut next = Stored::new(&expected, in_c);
                let (a, b) = (a.view(), b.view());
                let none = Epilogue::default();
                multiply(&context, packs, 1.0, a, b, 0.0, &mut next.view_mut(), &none);
                assert_same(&next.dense(), &expected, &(context, width, in_c, packs));
            }
        }
    }
}

/// A product within a tile function has buffers of its own.
#[test]
fn products_within_a_tile_function() {
    let (m, n, k) = (200, 150, 70);
    let (a, b) = (Dense::<f32>::full(m, k, 412), Dense::full(n, k, 413));
    for context in contexts() {
        for width in [1, 3] {
            let context = context.with_parallelism(Parallelism::Max(width));
            // B by columns: packed, in the buffer that the inner products ask for too.
            let product = |epilogue: &Epilogue<'_, f32>| {
                let mut c = Dense::from_fn(m, n, |_, _| f32::NAN);
                let (a, b) = (a.view(), b.view().transposed());
                gemm_with(&context, 1.0, a, b, 0.0, &mut c.view_mut(), epilogue).expect("fits");
                c
            };
            let expected = product(&Epilogue::default());
            let inner = Mutex::new(Vec::new());
            let nested = |_: usize, _: usize, _: MatMut<'_, f32>| {
                let found = product(&Epilogue::default());
                inner.lock().expect("no panic").push(found);
            };
            let got = product(&Epilogue { tile_function: Some(&nested), ..Epilogue::default() });
            assert_same(&got, &expected, &(context, "outer"));
            let inner = inner.into_inner().expect("no panic");
            assert!(!inner.is_empty());
            inner.iter().for_each(|c| assert_same(c, &expected, &(context, "inner")));
        }
    }
}

/// What a writable view gives: elements of both signs of strides, rows where they are contiguous, nothing outside.
#[test]
fn writable_views() {
    for storage in Storage::ALL {
        let dense = Dense::<f32>::full(4, 6, 414);
        let mut stored = Stored::new(&dense, storage);
        let contiguous = stored.col_stride == 1;
        let mut view = stored.view_mut();
        for (i, j) in [(4, 0), (0, 6), (usize::MAX, 0), (0, usize::MAX), (usize::MAX, usize::MAX)] {
            assert_eq!((view.get(i, j), view.as_ref().get(i, j)), (None, None));
            assert!(view.get_mut(i, j).is_none());
        }
        assert!(view.row_mut(4).is_none() && view.row_mut(usize::MAX).is_none());
        for i in 0..4 {
            for j in 0..6 {
                assert_eq!(view.get(i, j), Some(dense.at(i, j)));
                assert_eq!(view.as_ref().get(i, j), Some(dense.at(i, j)));
                *view.get_mut(i, j).expect("inside") += 1.0;
            }
            assert_eq!(view.row_mut(i).map(|row| row.len()), contiguous.then_some(6), "{storage:?}");
            if let Some(row) = view.row_mut(i) {
                row.iter_mut().for_each(|x| *x += 1.0);
            } else {
                (0..6).for_each(|j| *view.get_mut(i, j).expect("inside") += 1.0);
            }
        }
        assert_same(&stored.dense(), &Dense::from_fn(4, 6, |i, j| dense.at(i, j) + 1.0 + 1.0), &storage);
    }
    // One column is contiguous whatever its stride; no column has no row.
    let mut data = [1.0, 2.0, 3.0, 4.0, 5.0];
    let mut view = MatMut::new(&mut data, 0, 3, 1, 2, isize::MIN).expect("inside");
    assert_eq!(view.row_mut(2), Some(&mut [5.0][..]));
    let mut view = MatMut::new(&mut data, 0, 3, 0, 1, 1).expect("empty");
    assert!(view.row_mut(0).is_none() && view.get(0, 0).is_none());
}

//! Few rows times a B that is larger than the second level of the cache: a path of its own.

use crate::common::contexts;
use crate::guard::pages::{Guarded, Plain};
use crate::support::{Dense, Real, Storage, Stored, assert_same, twin};
use gemmule::kernel::activation::Activation;
use gemmule::{Epilogue, MatMut, MatRef, Parallelism, gemm, gemm_with, runtime_info};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Two chunks of k and some more; and so many columns, not whole vectors, that B is larger than L2.
fn shape<T>() -> (usize, usize) {
    let k = 1029;
    let l2 = runtime_info().expect("a known instruction set").caches.l2;
    (l2 / (k * size_of::<T>()) + 37, k)
}

/// One to nine rows (nine take the tiles), every storage in turn: the bits of the scalar twin.
fn bits_of_the_twin<T: Real>() {
    let (n, k) = shape::<T>();
    let b = Dense::<T>::full(k, n, 401);
    let mut turn = 0;
    for m in 1..=9 {
        let (a, c) = (Dense::<T>::full(m, k, 400), Dense::<T>::full(m, n, 402));
        for (alpha, beta) in [(1.0, 0.0), (0.7, -1.3)] {
            let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
            let twins = [false, true].map(|fused| twin(fused, alpha, &a, &b, beta, &c));
            for context in contexts() {
                let expected = &twins[usize::from(context.isa().has_fma())];
                for in_b in [Storage::Rows, Storage::PaddedRows(3), Storage::Upwards, Storage::Cols] {
                    turn += 1;
                    let (in_a, in_c) = (Storage::ALL[turn % 8], Storage::ALL[(turn / 3) % 8]);
                    let (a, b) = (Stored::new(&a, in_a), Stored::new(&b, in_b));
                    for threads in [1, 3] {
                        let context = context.with_parallelism(Parallelism::Max(threads));
                        let mut got = Stored::new(&c, in_c);
                        gemm(&context, alpha, a.view(), b.view(), beta, &mut got.view_mut())
                            .expect("shapes fit");
                        assert_same(&got.dense(), expected, &(context, m, in_a, in_b, in_c));
                    }
                }
            }
        }
    }
}

#[test]
fn bits_of_the_twin_f32() {
    bits_of_the_twin::<f32>();
}

#[test]
fn bits_of_the_twin_f64() {
    bits_of_the_twin::<f64>();
}

/// Threads share the chunks of K, or the columns where too much would have to be kept: the bits of one thread.
#[test]
fn any_number_of_threads() {
    // Some chunks and many; fewer columns than a vector has lanes, and several strips; one chunk and too many of them are cut
    // by columns.
    for (m, n, k) in
        [(8, 1000, 512), (1, 3000, 2600), (8, 700, 1500), (3, 5000, 1024), (1, 40, 100_000), (2, 9, 400_000)]
    {
        let (a, c) = (Dense::<f32>::full(m, k, 430), Dense::<f32>::full(m, n, 431));
        let b = Dense::<f32>::full(k, n, 432);
        let bias = Dense::<f32>::full(1, n, 433).data;
        let epilogue = Epilogue { bias: Some(&bias), activation: Activation::Tanh, ..Epilogue::default() };
        for context in contexts() {
            let product = |parallelism| {
                let mut got = c.clone();
                let context = context.with_parallelism(parallelism);
                gemm_with(&context, 0.7, a.view(), b.view(), -1.3, &mut got.view_mut(), &epilogue)
                    .expect("shapes fit");
                got
            };
            let expected = product(Parallelism::Serial);
            for threads in [2, 3, 16] {
                assert_same(&product(Parallelism::Max(threads)), &expected, &(context, m, n, k, threads));
            }
        }
    }
}

/// What follows the sums is applied once to each element, and the tile function sees it.
#[test]
fn epilogue_and_tiles() {
    let (n, k) = shape::<f32>();
    let b = Dense::<f32>::full(k, n, 411);
    for context in contexts() {
        for m in [1, 4, 8] {
            let (a, c) = (Dense::<f32>::full(m, k, 410), Dense::<f32>::full(m, n, 412));
            let (bias, saved) = (Dense::<f32>::full(1, n, 413).data, Dense::<f32>::full(m, n, 414));
            let mut plain = c.clone();
            gemm(&context, 1.0, a.view(), b.view(), 0.5, &mut plain.view_mut()).expect("shapes fit");
            let expected = Dense::from_fn(m, n, |i, j| {
                let y = (plain.at(i, j) + bias[j]).max(0.0);
                if saved.at(i, j) > 0.0 { y } else { y * 0.0 }
            });
            let seen: Vec<_> = (0..m * n).map(|_| AtomicUsize::new(0)).collect();
            let look = |row: usize, col: usize, tile: MatMut<'_, f32>| {
                for i in 0..tile.rows() {
                    for j in 0..tile.cols() {
                        let value = tile.get(i, j).expect("inside");
                        assert_eq!(value.to_bits(), expected.at(row + i, col + j).to_bits());
                        seen[(row + i) * n + col + j].fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            let epilogue = Epilogue {
                bias: Some(&bias),
                activation: Activation::Relu,
                derivative: Some((Activation::Relu, saved.view())),
                tile_function: Some(&look),
            };
            let mut got = c.clone();
            gemm_with(&context, 1.0, a.view(), b.view(), 0.5, &mut got.view_mut(), &epilogue)
                .expect("shapes fit");
            assert_same(&got, &expected, &(context, m));
            assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{context:?} {m}");
        }
    }
}

/// B and C between pages that nothing may touch, at both ends.
fn between_pages<T: Real + Plain>() {
    let (n, k) = shape::<T>();
    let values = Dense::<T>::full(k, n, 421).data;
    let (mut pages_b, mut pages_c) = (Guarded::<T>::new(n * k), Guarded::<T>::new(8 * n));
    for at_end in [false, true] {
        for context in contexts() {
            for m in [1, 3, 8] {
                let a = Dense::<T>::full(m, k, 420);
                let b = if at_end { pages_b.at_end(n * k) } else { pages_b.at_start(n * k) };
                b.copy_from_slice(&values);
                let c = if at_end { pages_c.at_end(m * n) } else { pages_c.at_start(m * n) };
                let (one, zero) = (T::from_f64(1.0), T::from_f64(0.0));
                gemm(
                    &context,
                    one,
                    a.view(),
                    MatRef::row_major(b, k, n).expect("fits"),
                    zero,
                    &mut MatMut::row_major(c, m, n).expect("fits"),
                )
                .expect("shapes fit");
                assert!(c.iter().all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn between_pages_f32() {
    between_pages::<f32>();
}

#[test]
fn between_pages_f64() {
    between_pages::<f64>();
}

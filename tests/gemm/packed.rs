//! A right factor packed once: the bits of `gemm`, and what is refused.

use crate::common::contexts;
use crate::support::{Dense, Real, Storage, Stored, assert_same, twin};
use gemmule::kernel::activation::Activation;
use gemmule::{
    Element, Epilogue, Error, Isa, MatMut, MatRef, Parallelism, gemm_packed, gemm_with, pack_b, packed_b_len,
};

/// Around one vector, one panel and several of both element types, empty ones, and around the chunks of k.
const WIDTHS: [usize; 15] = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 200];
const DEPTHS: [usize; 8] = [0, 1, 5, 511, 512, 513, 1024, 1100];

/// Every storage of B in a buffer at every offset from a cache line in turn: the bits of `gemm` and of the twin.
fn bits_of_gemm<T: Real>() {
    let (alpha, beta) = (T::from_f64(0.7), T::from_f64(-1.3));
    let mut turn = 0;
    for k in DEPTHS {
        for n in WIDTHS {
            let m = [1, 3, 6, 13, 0][turn % 5];
            let (a, b, c) = (Dense::<T>::full(m, k, 300), Dense::full(k, n, 301), Dense::full(m, n, 302));
            let (bias, saved) = (Dense::<T>::full(1, n, 303).data, Dense::<T>::full(m, n, 304));
            let twins = [false, true].map(|fused| twin(fused, alpha, &a, &b, beta, &c));
            for context in contexts() {
                for storage in Storage::ALL {
                    turn += 1;
                    let stored = Stored::new(&b, storage);
                    let len = packed_b_len::<T>(k, n).expect("small");
                    let shift = turn % (64 / size_of::<T>());
                    let mut buffer = vec![T::CANARY; shift + len + 3];
                    let packed = pack_b(&context, stored.view(), &mut buffer[shift..shift + len]);
                    let packed = packed.expect("large enough");
                    assert_eq!((packed.rows(), packed.cols(), packed.isa()), (k, n, context.isa()));
                    let in_c = Storage::ALL[turn % 8];
                    for with in [false, true] {
                        let epilogue = Epilogue {
                            bias: with.then_some(bias.as_slice()),
                            activation: if with { Activation::Tanh } else { Activation::Identity },
                            derivative: with.then(|| (Activation::Sigmoid, saved.view())),
                            tile_function: None,
                        };
                        let (mut got, mut expected) = (Stored::new(&c, in_c), c.clone());
                        let a = a.view();
                        gemm_packed(&context, alpha, a, &packed, beta, &mut got.view_mut(), &epilogue)
                            .expect("shapes fit");
                        gemm_with(&context, alpha, a, b.view(), beta, &mut expected.view_mut(), &epilogue)
                            .expect("shapes fit");
                        let case = (context, m, n, k, storage, in_c, shift, with);
                        assert_same(&got.dense(), &expected, &case);
                        if !with {
                            assert_same(&expected, &twins[usize::from(context.isa().has_fma())], &case);
                        }
                    }
                    let outside = buffer[..shift].iter().chain(&buffer[shift + len..]);
                    assert!(outside.into_iter().all(|x| x.bits() == T::CANARY.bits()), "wrote outside");
                }
            }
        }
    }
}

#[test]
fn bits_of_gemm_f32() {
    bits_of_gemm::<f32>();
}

#[test]
fn bits_of_gemm_f64() {
    bits_of_gemm::<f64>();
}

/// Products of many rows, on threads, with NaN wherever neither A nor B nor C is read.
#[test]
fn many_rows_and_threads() {
    for (m, n, k) in [(300, 130, 600), (1000, 70, 90), (5, 3000, 300), (300, 10, 1030)] {
        let (a, b) = (Dense::<f32>::full(m, k, 310), Dense::full(k, n, 311));
        let start = Dense::from_fn(m, n, |_, _| f32::NAN);
        for context in contexts() {
            let expected = twin(context.isa().has_fma(), 1.0, &a, &b, 0.0, &start);
            let mut buffer = vec![f32::NAN; packed_b_len::<f32>(k, n).expect("small")];
            let packed = pack_b(&context, b.view(), &mut buffer).expect("large enough");
            for in_c in [Storage::Rows, Storage::Cols, Storage::Upwards] {
                for width in [1, 3, 8] {
                    let context = context.with_parallelism(Parallelism::Max(width));
                    let mut got = Stored::new(&start, in_c);
                    let epilogue = Epilogue::default();
                    gemm_packed(&context, 1.0, a.view(), &packed, 0.0, &mut got.view_mut(), &epilogue)
                        .expect("shapes fit");
                    assert_same(&got.dense(), &expected, &(context, m, n, k, in_c, width));
                }
            }
            let mut got = start.clone();
            let zero =
                gemm_packed(&context, 0.0, a.view(), &packed, 0.0, &mut got.view_mut(), &Epilogue::default());
            zero.expect("shapes fit");
            assert!(got.data.iter().all(|x| x.to_bits() == 0), "alpha = 0 gives +0");
        }
    }
}

/// One row or column of B, or one element, over and over.
#[test]
fn repeated_rows_and_columns() {
    let data = Dense::<f32>::full(1, 700, 312).data;
    let (m, n, k) = (3, 70, 600);
    let a = Dense::full(m, k, 313);
    for (row_stride, col_stride) in [(0, 1), (1, 0), (0, 0), (-1, 0), (0, -1)] {
        let b = MatRef::new(&data, 650, k, n, row_stride, col_stride);
        let b = b.unwrap_or_else(|_| MatRef::new(&data, 20, k, n, row_stride, col_stride).expect("inside"));
        let dense = Dense::from_fn(k, n, |i, j| b.get(i, j).expect("inside"));
        for context in contexts() {
            let mut buffer = vec![f32::NAN; packed_b_len::<f32>(k, n).expect("small")];
            let packed = pack_b(&context, b, &mut buffer).expect("large enough");
            let mut got = Dense::from_fn(m, n, |_, _| f32::NAN);
            let epilogue = Epilogue::default();
            gemm_packed(&context, 1.0, a.view(), &packed, 0.0, &mut got.view_mut(), &epilogue).expect("fits");
            let expected = twin(context.isa().has_fma(), 1.0, &a, &dense, 0.0, &got);
            assert_same(&got, &expected, &(context, row_stride, col_stride));
        }
    }
}

/// Another instruction set than the context's is refused, before anything is written.
#[test]
fn another_instruction_set() {
    let data = [1.0_f32; 35];
    for packs in contexts() {
        let mut buffer = vec![0.0; packed_b_len::<f32>(5, 7).expect("small")];
        let packed =
            pack_b(&packs, MatRef::row_major(&data, 5, 7).expect("fits"), &mut buffer).expect("room");
        for multiplies in contexts() {
            let mut c = [f32::NAN; 7];
            let result = gemm_packed(
                &multiplies,
                1.0,
                MatRef::row_major(&data, 1, 5).expect("fits"),
                &packed,
                0.0,
                &mut MatMut::row_major(&mut c, 1, 7).expect("fits"),
                &Epilogue::default(),
            );
            if packs.isa() == multiplies.isa() {
                result.expect("the same set");
                assert_eq!(c, [5.0; 7]);
                continue;
            }
            let error = result.expect_err("another set");
            assert!(matches!(error, Error::Argument { operation: "gemm_packed", .. }), "{error}");
            let text = error.to_string();
            let names = |isa: Isa| text.contains(isa.name());
            assert!(names(packs.isa()) && names(multiplies.isa()), "{text}");
            assert!(c.iter().all(|x| x.is_nan()), "nothing was written");
        }
    }
}

/// Shapes that do not fit, short buffers, sizes that no slice has.
fn refused<T: Real>() {
    let one = <T as num_traits::One>::one();
    let data = [one; 40];
    let at = |rows, cols| MatRef::row_major(&data, rows, cols).expect("inside");
    for context in contexts() {
        let needed = packed_b_len::<T>(5, 7).expect("small");
        let mut buffer = vec![T::CANARY; needed];
        for len in [0, 1, 35, needed - 1] {
            let error = pack_b(&context, at(5, 7), &mut buffer[..len]).expect_err("too short");
            assert!(matches!(error, Error::Shape { operation: "pack_b", .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&needed.to_string()) && text.contains(&len.to_string()), "{text}");
        }
        assert!(buffer.iter().all(|x| x.bits() == T::CANARY.bits()), "nothing was written");
        let packed = pack_b(&context, at(5, 7), &mut buffer).expect("just enough");
        for (a, (m, n)) in [(at(2, 4), (2, 7)), (at(2, 6), (2, 7)), (at(2, 5), (3, 7)), (at(2, 5), (2, 6))] {
            let mut c = [T::nan(); 40];
            let mut view = MatMut::row_major(&mut c, m, n).expect("fits");
            let error = gemm_packed(&context, one, a, &packed, one, &mut view, &Epilogue::default());
            let error = error.expect_err("does not fit");
            assert!(matches!(error, Error::Shape { .. }), "{error}");
            assert!(c.iter().all(|x| x.is_nan()), "nothing was written");
        }
        // A B of zero strides is larger than any buffer.
        let size = 1 << 40;
        let endless = MatRef::new(&data, 0, size, size, 0, 0).expect("one element");
        let error = pack_b(&context, endless, &mut buffer).expect_err("too large");
        assert!(matches!(error, Error::Overflow { .. }), "{error}");
    }
}

#[test]
fn what_does_not_fit_f32() {
    refused::<f32>();
}

#[test]
fn what_does_not_fit_f64() {
    refused::<f64>();
}

/// The length is what the documentation says, and never wraps around.
fn lengths<T: Element>() {
    let (lanes, most) = (64 / size_of::<T>(), isize::MAX as usize);
    for (k, n) in [(0_usize, 0_usize), (0, 5), (5, 0), (1, 1), (3, 16), (3, 17), (1000, 1000)] {
        let expected = k * n.next_multiple_of(lanes) + lanes;
        assert_eq!(packed_b_len::<T>(k, n).expect("small"), expected, "{k} x {n}");
    }
    // The largest that a slice can have, and one step more.
    let largest = most / 64 - 1;
    assert_eq!(packed_b_len::<T>(1, largest * lanes).expect("it fits"), (largest + 1) * lanes);
    let far = [most / 4, most, most + 1, usize::MAX - 1, usize::MAX];
    for k in far {
        for n in far {
            packed_b_len::<T>(k, n).expect_err("beyond any slice");
        }
        for other in [1, 2, 3, 16, 1000] {
            for (k, n) in [(k, other), (other, k)] {
                let error = packed_b_len::<T>(k, n).expect_err("beyond any slice");
                assert!(matches!(error, Error::Overflow { .. }), "{error}");
            }
        }
    }
    packed_b_len::<T>(1, largest * lanes + 1).expect_err("one line more than a slice has");
    packed_b_len::<T>(1 << 32, 1 << 32).expect_err("2^64 elements");
}

#[test]
fn lengths_do_not_wrap() {
    lengths::<f32>();
    lengths::<f64>();
}

/// Without columns there is nothing to pack, however many rows there are: an answer at once.
#[test]
fn nothing_to_pack() {
    let (done, wait) = std::sync::mpsc::channel();
    let work = std::thread::spawn(move || {
        for context in contexts() {
            for (k, n) in [(1 << 40, 0), (usize::MAX, 0), (0, 1 << 40), (0, 0)] {
                let b = MatRef::<f32>::new(&[], 0, k, n, 1, 1).expect("empty");
                let mut buffer = vec![f32::NAN; packed_b_len::<f32>(k, n).expect("no elements")];
                let packed = pack_b(&context, b, &mut buffer).expect("empty");
                assert_eq!((packed.rows(), packed.cols()), (k, n));
                let a = MatRef::<f32>::new(&[], 0, 0, k, 1, 1).expect("empty");
                let mut c = MatMut::<f32>::new(&mut [], 0, 0, n, 1, 1).expect("empty");
                gemm_packed(&context, 1.0, a, &packed, 0.0, &mut c, &Epilogue::default()).expect("fits");
            }
        }
        done.send(()).expect("somebody waits");
    });
    let result = wait.recv_timeout(std::time::Duration::from_secs(20));
    assert_ne!(result, Err(std::sync::mpsc::RecvTimeoutError::Timeout), "packing nothing takes for ever");
    work.join().expect("no panic");
}

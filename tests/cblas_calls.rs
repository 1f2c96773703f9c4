//! What BLAS is called with. This binary is the BLAS: it defines the two functions, checks their arguments as the
//! reference implementation does, computes the product element by element, and counts.
//!
//! `cargo test --features cblas --test cblas_calls` needs no library to link.
#![cfg(feature = "cblas")]
#![allow(unsafe_code, reason = "the functions that BLAS would have")]

#[allow(dead_code, reason = "a part is used here")]
#[path = "gemm/support.rs"]
mod support;

use gemmule::{Backend, Context, gemm};
use std::cell::Cell;
use std::ffi::c_int;
use support::{Dense, Expected, Real, Storage, Stored};

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    transposed: [bool; 2],
    /// m, n, k.
    sizes: [c_int; 3],
    /// Of A, B and C.
    leading: [c_int; 3],
}

thread_local! {
    /// How often BLAS was called on this thread, and the last call.
    static CALLS: Cell<(usize, Option<Call>)> = const { Cell::new((0, None)) };
}

/// The calls since the last look, and the last of them.
fn calls() -> (usize, Option<Call>) {
    CALLS.take()
}

/// # Safety
/// The pointers hold matrices of these shapes.
#[allow(clippy::too_many_arguments, reason = "BLAS's arguments")]
unsafe fn product<T: Real>(
    layout: c_int,
    transposes: [c_int; 2],
    [m, n, k]: [c_int; 3],
    alpha: T,
    [a, b]: [*const T; 2],
    beta: T,
    c: *mut T,
    leading: [c_int; 3],
) {
    const ROW_MAJOR: c_int = 101;
    let transposed = transposes.map(|value| match value {
        111 => false,
        112 => true,
        other => panic!("transpose {other}"),
    });
    assert_eq!(layout, ROW_MAJOR);
    let columns = [if transposed[0] { m } else { k }, if transposed[1] { k } else { n }, n];
    for (leading, columns) in leading.into_iter().zip(columns) {
        assert!(leading >= columns.max(1), "leading dimension {leading} of {columns} columns");
    }
    assert!(m > 0 && n > 0 && k > 0, "an empty product is ours");
    let [lda, ldb, ldc] = leading.map(|leading| leading as usize);
    let place = |transposed, i, j, leading| if transposed { j * leading + i } else { i * leading + j };
    for i in 0..m as usize {
        for j in 0..n as usize {
            let mut sum = 0.0;
            for p in 0..k as usize {
                // SAFETY: the caller's promise; a BLAS reads here too.
                let (x, y) = unsafe {
                    (*a.add(place(transposed[0], i, p, lda)), *b.add(place(transposed[1], p, j, ldb)))
                };
                sum += x.to_f64() * y.to_f64();
            }
            // SAFETY: as above.
            let to = unsafe { &mut *c.add(i * ldc + j) };
            let old = if beta.to_f64() == 0.0 { 0.0 } else { beta.to_f64() * to.to_f64() };
            *to = T::from_f64(alpha.to_f64() * sum + old);
        }
    }
    CALLS.set((CALLS.get().0 + 1, Some(Call { transposed, sizes: [m, n, k], leading })));
}

macro_rules! blas {
    ($name:ident, $float:ty) => {
        /// # Safety
        /// As BLAS's.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            layout: c_int,
            transpose_a: c_int,
            transpose_b: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: $float,
            a: *const $float,
            lda: c_int,
            b: *const $float,
            ldb: c_int,
            beta: $float,
            c: *mut $float,
            ldc: c_int,
        ) {
            // SAFETY: passed on.
            unsafe {
                product(
                    layout,
                    [transpose_a, transpose_b],
                    [m, n, k],
                    alpha,
                    [a, b],
                    beta,
                    c,
                    [lda, ldb, ldc],
                );
            }
        }
    };
}
blas!(cblas_sgemm, f32);
blas!(cblas_dgemm, f64);

fn context() -> Context {
    let context = Context::detect().expect("an instruction set");
    context.with_backend(Backend::Cblas).expect("compiled in")
}

/// The call that a product makes, after a look at its answer.
fn call<T: Real>(
    (m, n, k): (usize, usize, usize),
    in_a: Storage,
    in_b: Storage,
    in_c: Storage,
) -> Option<Call> {
    let (a, b) = (Dense::<T>::random(m, k, 1), Dense::random(k, n, 2));
    let c = Dense::random(m, n, 3);
    let (alpha, beta) = (T::from_f64(-1.5), T::from_f64(0.5));
    let expected = Expected::new(alpha, &a, &b, beta, &c);
    let (a, b, mut c) = (Stored::new(&a, in_a), Stored::new(&b, in_b), Stored::new(&c, in_c));
    calls();
    gemm(&context(), alpha, a.view(), b.view(), beta, &mut c.view_mut()).expect("shapes fit");
    expected.check(&c.dense(), &(m, n, k, in_a, in_b, in_c));
    let (count, call) = calls();
    assert!(count <= 1, "{count} calls");
    call
}

/// The leading dimension and whether it is columns that follow each other, of what BLAS can describe.
fn described(storage: Storage, rows: usize, cols: usize) -> Option<(bool, usize)> {
    match storage {
        Storage::Rows => Some((false, cols)),
        Storage::Cols => Some((true, rows)),
        Storage::PaddedRows(gap) => Some((false, cols + gap)),
        Storage::PaddedCols(gap) => Some((true, rows + gap)),
        _ => None,
    }
}

/// Every storage of A with every one of B and of C: the call is as it should be, or ours runs.
fn every_storage<T: Real>() {
    let (m, n, k) = (31, 37, 41);
    for in_a in Storage::ALL {
        for in_b in Storage::ALL {
            for in_c in Storage::ALL {
                let got = call::<T>((m, n, k), in_a, in_b, in_c);
                let expected = (|| {
                    let ((ta, lda), (tb, ldb), (tc, ldc)) =
                        (described(in_a, m, k)?, described(in_b, k, n)?, described(in_c, m, n)?);
                    // A C of columns is the transposed product, from the transposed operands.
                    Some(if tc {
                        Call {
                            transposed: [!tb, !ta],
                            sizes: [n, m, k].map(|size| size as c_int),
                            leading: [ldb, lda, ldc].map(|leading| leading as c_int),
                        }
                    } else {
                        Call {
                            transposed: [ta, tb],
                            sizes: [m, n, k].map(|size| size as c_int),
                            leading: [lda, ldb, ldc].map(|leading| leading as c_int),
                        }
                    })
                })();
                assert_eq!(got, expected, "{in_a:?} {in_b:?} {in_c:?}");
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

/// One row, one column, one step: a stride along a dimension of one element does not matter.
#[test]
fn single_rows_and_columns() {
    use Storage::{Cols, General, PaddedCols, PaddedRows, Rows};
    for shape in [(1, 200, 300), (200, 1, 300), (200, 300, 1), (1, 1, 40_000), (1, 40_000, 1), (40_000, 1, 1)]
    {
        for in_a in [Rows, Cols, PaddedRows(3), PaddedCols(5)] {
            for in_b in [Rows, Cols, PaddedRows(3), PaddedCols(5)] {
                for in_c in [Rows, Cols, PaddedRows(3), PaddedCols(5)] {
                    let called = call::<f32>(shape, in_a, in_b, in_c);
                    assert!(called.is_some(), "{shape:?} {in_a:?} {in_b:?} {in_c:?}");
                }
            }
        }
    }
    // A column of a larger matrix: rows of one element, and far apart.
    let called = call::<f32>((200, 1, 300), Rows, General, General).expect("can be described");
    assert_eq!(called.leading, [300, 3, 3]);
}

/// Small products, alpha = 0 and another backend do not call it.
#[test]
fn not_called() {
    assert_eq!(call::<f32>((31, 32, 32), Storage::Rows, Storage::Rows, Storage::Rows), None);
    assert!(call::<f32>((32, 32, 32), Storage::Rows, Storage::Rows, Storage::Rows).is_some());
    let (a, b, mut c) = (Dense::<f32>::random(64, 64, 1), Dense::random(64, 64, 2), Dense::random(64, 64, 3));
    gemm(&context(), 0.0, a.view(), b.view(), 1.0, &mut c.view_mut()).expect("shapes fit");
    let native = context().with_backend(Backend::Native).expect("always there");
    gemm(&native, 1.0, a.view(), b.view(), 1.0, &mut c.view_mut()).expect("shapes fit");
    assert_eq!(calls(), (0, None));
}

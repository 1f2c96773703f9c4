//! `sgemm_`, `dgemm_`, `cblas_sgemm` and `cblas_dgemm` with the interfaces of BLAS, computed by gemmule.
//!
//! The column-major call of Fortran is the only one that is computed ([`call::Call`]); a row-major call is the
//! column-major call for the transposed product. Bad arguments go to `xerbla_` or `cblas_xerbla` ([`handler`]).
//! README.md says what is kept of the standard and how to link.
//!
//! Nothing unwinds into the caller: these are `extern "C"` functions, out of which a panic, which would be a bug, ends
//! the process. Half of C may be computed then, and nobody else would tell.

#[cfg(not(target_os = "linux"))]
compile_error!("gemmule-blas finds the process's xerbla_ in the way of Linux");

mod call;
mod handler;

use call::{Call, Order, transposed_by_letter, transposed_by_number};
use std::ffi::{c_char, c_int};

/// The two functions of one element type.
macro_rules! export {
    ($element:ty, $fortran:ident $fortran_name:literal, $c:ident $c_name:literal) => {
        /// C = alpha op(A) op(B) + beta C, column-major, with the arguments of Fortran BLAS.
        ///
        /// A Fortran compiler also passes the lengths of the two letters, after all others: they are not looked at.
        ///
        /// # Safety
        /// What BLAS asks for: pointers to single values, and, where they are read or written at all, A, B and C that
        /// hold what the sizes say; no element of C is one of A or B, and nobody else uses C meanwhile.
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments, reason = "BLAS's arguments")]
        pub unsafe extern "C" fn $fortran(
            transa: *const c_char,
            transb: *const c_char,
            m: *const c_int,
            n: *const c_int,
            k: *const c_int,
            alpha: *const $element,
            a: *const $element,
            lda: *const c_int,
            b: *const $element,
            ldb: *const c_int,
            beta: *const $element,
            c: *mut $element,
            ldc: *const c_int,
        ) {
            // SAFETY: all of these point to single values, and the matrices are the caller's promise.
            unsafe {
                let (a_transposed, b_transposed) =
                    (transposed_by_letter(*transa), transposed_by_letter(*transb));
                let (m, n, k, alpha, beta) = (*m, *n, *k, *alpha, *beta);
                let (lda, ldb, ldc) = (*lda, *ldb, *ldc);
                Call { a_transposed, b_transposed, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }
                    .run_fortran($fortran_name)
            }
        }

        /// C = alpha op(A) op(B) + beta C, row-major (101) or column-major (102), with the arguments of CBLAS.
        ///
        /// # Safety
        /// What BLAS asks for: where they are read or written at all, A, B and C hold what the sizes say; no element
        /// of C is one of A or B, and nobody else uses C meanwhile.
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments, reason = "BLAS's arguments")]
        pub unsafe extern "C" fn $c(
            layout: c_int,
            transa: c_int,
            transb: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: $element,
            a: *const $element,
            lda: c_int,
            b: *const $element,
            ldb: c_int,
            beta: $element,
            c: *mut $element,
            ldc: c_int,
        ) {
            let (a_transposed, b_transposed) = (transposed_by_number(transa), transposed_by_number(transb));
            let call = Call { a_transposed, b_transposed, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc };
            // SAFETY: the matrices are the caller's promise.
            unsafe { call.run_c($c_name, Order::from_number(layout), [layout, transa, transb]) }
        }
    };
}

export!(f32, sgemm_ c"SGEMM ", cblas_sgemm c"cblas_sgemm");
export!(f64, dgemm_ c"DGEMM ", cblas_dgemm c"cblas_dgemm");

//! The two element types behind one trait, called through the C interfaces.

use gemmule_blas::{cblas_dgemm, cblas_sgemm, dgemm_, sgemm_};
use std::ffi::{c_char, c_int};
use std::fmt::Debug;

pub const ROWS: c_int = 101;
pub const COLUMNS: c_int = 102;

/// Everything that a call says, for both interfaces: `settings` are letters for Fortran, numbers for C.
#[derive(Clone, Copy)]
pub struct Arguments<T> {
    pub settings: [c_int; 2],
    pub sizes: [c_int; 3],
    pub alpha: T,
    pub a: *const T,
    pub lda: c_int,
    pub b: *const T,
    pub ldb: c_int,
    pub beta: T,
    pub c: *mut T,
    pub ldc: c_int,
}

pub trait Real: Copy + Debug + PartialEq {
    const EPSILON: f64;
    /// What a Fortran handler is told.
    const FORTRAN_NAME: &'static str;
    const C_NAME: &'static str;
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    /// Safety: as BLAS.
    unsafe fn fortran(arguments: Arguments<Self>);
    /// Safety: as BLAS.
    unsafe fn c(layout: c_int, arguments: Arguments<Self>);
}

macro_rules! real {
    ($t:ty, $fortran:ident $fortran_name:literal, $c:ident $c_name:literal) => {
        impl Real for $t {
            const EPSILON: f64 = <$t>::EPSILON as f64;
            const FORTRAN_NAME: &'static str = $fortran_name;
            const C_NAME: &'static str = $c_name;
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            unsafe fn fortran(arguments: Arguments<Self>) {
                let Arguments { settings, sizes: [m, n, k], alpha, a, lda, b, ldb, beta, c, ldc } = arguments;
                let [transa, transb] = settings.map(|letter| letter as c_char);
                // SAFETY: the caller's promise.
                unsafe {
                    $fortran(&transa, &transb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);
                }
            }
            unsafe fn c(layout: c_int, arguments: Arguments<Self>) {
                let Arguments { settings, sizes: [m, n, k], alpha, a, lda, b, ldb, beta, c, ldc } = arguments;
                let [transa, transb] = settings;
                // SAFETY: the caller's promise.
                unsafe { $c(layout, transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) }
            }
        }
    };
}

real!(f32, sgemm_ "SGEMM ", cblas_sgemm "cblas_sgemm");
real!(f64, dgemm_ "DGEMM ", cblas_dgemm "cblas_dgemm");

/// m, n, k, or the leading dimensions.
type Three = [c_int; 3];

/// Calls with bad arguments: letters, sizes, leading dimensions, and the position that reference BLAS gives.
pub const BAD_FORTRAN: [(&str, Three, Three, c_int); 16] = [
    ("/N", [-1, -1, -1], [0, 0, 0], 1),
    ("N/", [-1, -1, -1], [0, 0, 0], 2),
    ("NN", [-1, -1, -1], [0, 0, 0], 3),
    ("TC", [0, -1, -1], [0, 0, 0], 4),
    ("ct", [0, 0, -1], [0, 0, 0], 5),
    ("NN", [0, 0, 0], [0, 0, 0], 8),
    ("NN", [2, 3, 4], [1, 3, 1], 8),
    ("TN", [2, 3, 4], [3, 3, 1], 8),
    ("nn", [2, 3, 4], [2, 3, 1], 10),
    ("NT", [2, 3, 4], [2, 2, 1], 10),
    ("NC", [2, 3, 4], [2, 2, 1], 10),
    ("TN", [2, 3, 4], [4, 3, 2], 10),
    ("NN", [2, 3, 4], [2, 4, 1], 13),
    ("TT", [2, 3, 4], [4, 3, 1], 13),
    // Checked although there is nothing to compute.
    ("NN", [2, 0, 0], [1, 1, 2], 8),
    ("NN", [2, 0, 0], [2, 1, 1], 13),
];

/// The same for C, with the layout and numbers for letters.
pub const BAD_C: [(c_int, [c_int; 2], Three, Three, c_int); 20] = [
    (0, [0, 0], [-1, -1, -1], [0, 0, 0], 1),
    (103, [111, 111], [2, 3, 4], [9, 9, 9], 1),
    (COLUMNS, [110, 114], [-1, -1, -1], [0, 0, 0], 2),
    (COLUMNS, [111, 114], [-1, -1, -1], [0, 0, 0], 3),
    (COLUMNS, [111, 111], [-1, -1, -1], [0, 0, 0], 4),
    (COLUMNS, [111, 111], [0, -1, -1], [0, 0, 0], 5),
    (COLUMNS, [111, 111], [0, 0, -1], [0, 0, 0], 6),
    (COLUMNS, [112, 111], [2, 3, 4], [3, 3, 1], 9),
    (COLUMNS, [111, 113], [2, 3, 4], [2, 2, 1], 11),
    (COLUMNS, [111, 111], [2, 3, 4], [2, 4, 1], 14),
    (ROWS, [110, 114], [-1, -1, -1], [0, 0, 0], 2),
    (ROWS, [111, 114], [-1, -1, -1], [0, 0, 0], 3),
    // Exchanged first: n before m, ldb before lda.
    (ROWS, [111, 111], [-1, -1, -1], [0, 0, 0], 5),
    (ROWS, [111, 111], [-1, 0, -1], [0, 0, 0], 4),
    (ROWS, [111, 111], [0, 0, -1], [0, 0, 0], 6),
    (ROWS, [111, 111], [2, 3, 4], [3, 2, 2], 11),
    (ROWS, [111, 111], [2, 3, 4], [3, 3, 2], 9),
    (ROWS, [113, 111], [2, 3, 4], [1, 3, 2], 9),
    (ROWS, [111, 112], [2, 3, 4], [4, 3, 3], 11),
    (ROWS, [111, 111], [2, 3, 4], [4, 3, 2], 14),
];

/// Arguments for the tables above; whoever reads or writes a matrix through them crashes.
pub fn bad<T: Real>(settings: [c_int; 2], sizes: Three, [lda, ldb, ldc]: Three) -> Arguments<T> {
    Arguments {
        settings,
        sizes,
        alpha: T::from_f64(1.0),
        a: std::ptr::null(),
        lda,
        b: std::ptr::null(),
        ldb,
        beta: T::from_f64(0.0),
        c: std::ptr::null_mut(),
        ldc,
    }
}

/// The letters of two settings.
pub fn letters(text: &str) -> [c_int; 2] {
    [0, 1].map(|index| c_int::from(text.as_bytes()[index]))
}

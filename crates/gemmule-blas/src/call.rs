//! A call: its arguments, their checks, and the product, by gemmule or, where that refuses, by plain loops.

use crate::handler;
use gemmule::{Context, Element, Error, MatMut, MatRef, Parallelism, gemm};
use std::ffi::{CStr, c_char, c_int};
use std::slice;
use std::sync::{Once, OnceLock};

/// The arguments of a column-major call.
pub struct Call<T> {
    /// None: neither transposed nor not.
    pub a_transposed: Option<bool>,
    pub b_transposed: Option<bool>,
    pub m: c_int,
    pub n: c_int,
    pub k: c_int,
    pub alpha: T,
    pub a: *const T,
    pub lda: c_int,
    pub b: *const T,
    pub ldb: c_int,
    pub beta: T,
    pub c: *mut T,
    pub ldc: c_int,
}

/// How matrices are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `CblasRowMajor`
    Rows,
    /// `CblasColMajor`
    Columns,
}

impl Order {
    /// The order that CBLAS means by `layout`.
    pub fn from_number(layout: c_int) -> Option<Self> {
        match layout {
            101 => Some(Self::Rows),
            102 => Some(Self::Columns),
            _ => None,
        }
    }
}

/// Fortran's TRANSA: the conjugate of a real matrix is itself.
pub fn transposed_by_letter(letter: c_char) -> Option<bool> {
    match letter as u8 {
        b'N' | b'n' => Some(false),
        b'T' | b't' | b'C' | b'c' => Some(true),
        _ => None,
    }
}

/// CBLAS's `CblasNoTrans`, `CblasTrans`, `CblasConjTrans`.
pub fn transposed_by_number(number: c_int) -> Option<bool> {
    match number {
        111 => Some(false),
        112 | 113 => Some(true),
        _ => None,
    }
}

/// A matrix of the caller's: element (i, j) stands at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
struct Matrix<T> {
    pointer: *mut T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<T: Element> Matrix<T> {
    /// The matrix of `rows` and `cols` that is stored with leading dimension `ld`, itself or transposed. All three
    /// come from a c_int that is not negative.
    fn new(pointer: *const T, rows: usize, cols: usize, ld: c_int, transposed: bool) -> Self {
        let (row_stride, col_stride) = if transposed { (ld as usize, 1) } else { (1, ld as usize) };
        Self { pointer: pointer.cast_mut(), rows, cols, row_stride, col_stride }
    }

    /// How many elements there are from the first to the last, gaps included: each product below 2^62.
    fn reach(self) -> usize {
        if self.rows == 0 || self.cols == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride + 1
    }

    /// Safety: i < rows, j < cols, and the matrix is there.
    unsafe fn at(self, i: usize, j: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.pointer.add(i * self.row_stride + j * self.col_stride) }
    }

    /// Safety: the matrix is there while the view is; nobody writes it meanwhile.
    unsafe fn view<'a>(self) -> Result<MatRef<'a, T>, Error> {
        let reach = self.reach();
        // An empty matrix may come with any pointer.
        // SAFETY: the caller's promise, for what is in the matrix. What lies in the gaps is of the same array.
        let slice = if reach == 0 { &[] } else { unsafe { slice::from_raw_parts(self.pointer, reach) } };
        MatRef::new(slice, 0, self.rows, self.cols, self.row_stride as isize, self.col_stride as isize)
    }

    /// Safety: the matrix is there while the view is, and nobody else uses it meanwhile; it is not empty.
    ///
    /// A, B and C may be blocks of one array, so that elements of A lie in the gaps of C's slice, and the other way
    /// round. A view is a pointer with strides that only ever touches the matrix's elements, and lives on after the
    /// slice: nothing reads or writes the gaps.
    unsafe fn view_mut<'a>(self) -> Result<MatMut<'a, T>, Error> {
        // SAFETY: the caller's promise.
        let slice = unsafe { slice::from_raw_parts_mut(self.pointer, self.reach()) };
        MatMut::new(slice, 0, self.rows, self.cols, self.row_stride as isize, self.col_stride as isize)
    }
}

impl<T: Element> Call<T> {
    /// Checks and computes. Safety: A, B and C are there as the arguments say.
    pub unsafe fn run_fortran(self, routine: &CStr) {
        match self.check() {
            // SAFETY: checked; the caller's promise.
            Ok(()) => unsafe { self.compute() },
            Err(position) => handler::fortran(routine, position),
        }
    }

    /// Checks and computes the call of C whose matrices are stored in `order`. `settings` are its first three
    /// arguments as they came, for messages. Safety: A, B and C are there as the arguments say.
    pub unsafe fn run_c(self, routine: &CStr, order: Option<Order>, settings: [c_int; 3]) {
        let illegal = |position: c_int, what| {
            handler::c(routine, order, position, what, settings[position as usize - 1]);
        };
        let Some(order) = order else { return illegal(1, c"Illegal layout setting, %d\n") };
        // Here, since the order of checks is that of the arguments as they came.
        if self.a_transposed.is_none() {
            return illegal(2, c"Illegal TransA setting, %d\n");
        }
        if self.b_transposed.is_none() {
            return illegal(3, c"Illegal TransB setting, %d\n");
        }
        // A row-major matrix is its transpose in columns, and C' = op(B)' op(A)'.
        let call = if order == Order::Rows { self.exchanged() } else { self };
        match call.check() {
            // SAFETY: checked; the caller's promise.
            Ok(()) => unsafe { call.compute() },
            // One argument more stands before these.
            Err(position) => handler::c(routine, Some(order), position + 1, c"", 0),
        }
    }

    /// The call with A and B, m and n in each other's place.
    fn exchanged(self) -> Self {
        Self {
            a_transposed: self.b_transposed,
            b_transposed: self.a_transposed,
            m: self.n,
            n: self.m,
            a: self.b,
            lda: self.ldb,
            b: self.a,
            ldb: self.lda,
            ..self
        }
    }

    /// The position of the first bad argument, counted as reference BLAS does.
    fn check(&self) -> Result<(), c_int> {
        let a_transposed = self.a_transposed.ok_or(1)?;
        let b_transposed = self.b_transposed.ok_or(2)?;
        let a_rows = if a_transposed { self.k } else { self.m };
        let b_rows = if b_transposed { self.n } else { self.k };
        let conditions = [
            (3, self.m >= 0),
            (4, self.n >= 0),
            (5, self.k >= 0),
            (8, self.lda >= a_rows.max(1)),
            (10, self.ldb >= b_rows.max(1)),
            (13, self.ldc >= self.m.max(1)),
        ];
        conditions.iter().try_for_each(|&(position, holds)| if holds { Ok(()) } else { Err(position) })
    }

    /// Safety: `check` found nothing, and A, B and C are there as the arguments say.
    unsafe fn compute(self) {
        let (zero, one) = (T::from_f64(0.0), T::from_f64(1.0));
        // Then A and B are not read.
        let no_product = self.alpha == zero || self.k == 0;
        if self.m == 0 || self.n == 0 || (no_product && self.beta == one) {
            return;
        }
        let (m, n) = (self.m as usize, self.n as usize);
        let k = if no_product { 0 } else { self.k as usize };
        let a = Matrix::new(self.a, m, k, self.lda, self.a_transposed == Some(true));
        let b = Matrix::new(self.b, k, n, self.ldb, self.b_transposed == Some(true));
        let c = Matrix::new(self.c, m, n, self.ldc, false);
        // SAFETY: the caller's promise; k = 0 makes A and B empty. gemmule refuses before it touches C.
        unsafe {
            if let Err(error) = by_gemmule(self.alpha, a, b, self.beta, c) {
                say_once(&error);
                by_loops(self.alpha, a, b, self.beta, c);
            }
        }
    }
}

/// Safety: A, B and C are there, and C has none of the elements of A and B.
unsafe fn by_gemmule<T: Element>(
    alpha: T,
    a: Matrix<T>,
    b: Matrix<T>,
    beta: T,
    c: Matrix<T>,
) -> Result<(), String> {
    let context = context()?;
    // SAFETY: the caller's promise.
    let done = unsafe { a.view().and_then(|a| gemm(context, alpha, a, b.view()?, beta, &mut c.view_mut()?)) };
    done.map_err(|error| error.to_string())
}

/// For what gemmule refuses: a thread that flushes subnormal numbers or rounds in another way, memory that cannot be
/// had, an instruction set that is not there. BLAS cannot return an error, and a late result is better than none.
///
/// Safety: as [`by_gemmule`].
unsafe fn by_loops<T: Element>(alpha: T, a: Matrix<T>, b: Matrix<T>, beta: T, c: Matrix<T>) {
    let zero = T::from_f64(0.0);
    for j in 0..c.cols {
        for i in 0..c.rows {
            // SAFETY: within C.
            unsafe { *c.at(i, j) = if beta == zero { zero } else { beta * *c.at(i, j) } };
        }
        for l in 0..a.cols {
            // SAFETY: within B.
            let factor = unsafe { alpha * *b.at(l, j) };
            for i in 0..c.rows {
                // SAFETY: within C and A.
                unsafe { *c.at(i, j) = *c.at(i, j) + factor * *a.at(i, l) };
            }
        }
    }
}

/// Made once: the instruction set and the number of threads of this process.
fn context() -> Result<&'static Context, String> {
    static CONTEXT: OnceLock<Result<Context, String>> = OnceLock::new();
    let context = CONTEXT.get_or_init(|| {
        let context = Context::detect().map_err(|error| error.to_string())?;
        let parallelism = match std::env::var_os("GEMMULE_NUM_THREADS") {
            None => Parallelism::Auto,
            Some(value) => value.to_str().and_then(at_least_one).map_or_else(
                || {
                    handler::print(&format!(
                        "gemmule-blas: GEMMULE_NUM_THREADS: expected 1 or more, got {value:?}; taking as many as pay"
                    ));
                    Parallelism::Auto
                },
                Parallelism::Max,
            ),
        };
        Ok(context.with_parallelism(parallelism))
    });
    context.as_ref().map_err(String::clone)
}

fn at_least_one(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&threads| threads >= 1)
}

/// Tells why this process is slow: the first reason, not every call.
fn say_once(error: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| handler::print(&format!("gemmule-blas: {error}; computing with plain loops")));
}

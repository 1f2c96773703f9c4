//! Products by another library: matrixmultiply, or the BLAS that the final binary links.
//!
//! A feature compiles a library in, a context asks for it ([`Context::with_backend`]); what it does not take is ours.
//! Bias, activation and derivative follow as a product of ours with k = 0 and beta = 1: by the contract of the order
//! nothing is added to C then, and the epilogue is applied as in any other product.

use super::Epilogue;
use super::driver::{self, Factor};
use super::view::{MatMut, MatRef};
use crate::context::{Backend, Context};
use crate::error::Result;
use crate::kernel::activation::Activation;
use crate::kernel::element::Element;

/// Multiply-adds from which another library is called: 32 x 32 x 32. Below, a product takes less than a microsecond on
/// current CPUs: OpenBLAS, measured beside ours, won at most a tenth of one, matrixmultiply lost as much or more.
const LEAST_WORK: f64 = 32_768.0;

/// The libraries' functions for this float.
pub trait Libraries: Sized {
    /// Its general matrix product.
    #[cfg(feature = "matrixmultiply")]
    const MATRIXMULTIPLY: Matrixmultiply<Self>;
    /// Its general matrix product.
    #[cfg(feature = "cblas")]
    const CBLAS: Cblas<Self>;
}

impl Libraries for f32 {
    #[cfg(feature = "matrixmultiply")]
    const MATRIXMULTIPLY: Matrixmultiply<f32> = matrixmultiply::sgemm;
    #[cfg(feature = "cblas")]
    const CBLAS: Cblas<f32> = cblas_sys::cblas_sgemm;
}

impl Libraries for f64 {
    #[cfg(feature = "matrixmultiply")]
    const MATRIXMULTIPLY: Matrixmultiply<f64> = matrixmultiply::dgemm;
    #[cfg(feature = "cblas")]
    const CBLAS: Cblas<f64> = cblas_sys::cblas_dgemm;
}

/// m, k, n, alpha, A and its strides, B and its strides, beta, C and its strides.
#[cfg(feature = "matrixmultiply")]
type Matrixmultiply<T> = unsafe fn(
    usize,
    usize,
    usize,
    T,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    isize,
    T,
    *mut T,
    isize,
    isize,
);

/// Layout, transposes, m, n, k, alpha, A and its leading dimension, B and its, beta, C and its.
#[cfg(feature = "cblas")]
type Cblas<T> = unsafe extern "C" fn(
    cblas_sys::CBLAS_LAYOUT,
    cblas_sys::CBLAS_TRANSPOSE,
    cblas_sys::CBLAS_TRANSPOSE,
    std::ffi::c_int,
    std::ffi::c_int,
    std::ffi::c_int,
    T,
    *const T,
    std::ffi::c_int,
    *const T,
    std::ffi::c_int,
    T,
    *mut T,
    std::ffi::c_int,
);

/// The product after its checks, if the context asks for another library and that one takes it. False: nothing was
/// done, it is ours.
///
/// # Errors
/// As [`driver::product`].
#[allow(clippy::too_many_arguments, reason = "BLAS's arguments")]
pub(super) fn product<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
    width: usize,
) -> Result<bool> {
    let (m, n) = (c.rows(), c.cols());
    let work = m as f64 * n as f64 * a.cols() as f64;
    // An output whose columns are not contiguous is ours to refuse, before anything is written.
    let refused = epilogue.derivative.is_some_and(|(_, y)| y.layout().col_stride != 1 && n > 1);
    if context.backend() == Backend::Native || work < LEAST_WORK || alpha == T::zero() || refused {
        return Ok(false);
    }
    if !call(context.backend(), alpha, a, b, beta, c) {
        return Ok(false);
    }
    let plain = epilogue.bias.is_none() && epilogue.derivative.is_none() && epilogue.tile_function.is_none();
    if !plain || epilogue.activation != Activation::Identity {
        let (a, b) = (MatRef::row_major(&[], m, 0)?, MatRef::row_major(&[], 0, n)?);
        driver::product(context, T::one(), a, Factor::Matrix(b), T::one(), c, epilogue, width, None)?;
    }
    Ok(true)
}

/// Calls the library, unless it cannot take these operands, none of which is empty.
#[cfg_attr(
    not(any(feature = "cblas", feature = "matrixmultiply")),
    expect(unused_variables, reason = "no library is compiled in")
)]
fn call<T: Element>(
    backend: Backend,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
) -> bool {
    match backend {
        #[cfg(feature = "matrixmultiply")]
        Backend::Matrixmultiply => {
            call_matrixmultiply(alpha, a, b, beta, c);
            true
        }
        #[cfg(feature = "cblas")]
        Backend::Cblas => call_cblas(alpha, a, b, beta, c),
        // A context has none that is not compiled in.
        _ => false,
    }
}

#[cfg(feature = "matrixmultiply")]
fn call_matrixmultiply<T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
) {
    let (la, lb, lc) = (a.layout(), b.layout(), c.layout());
    let (pa, pb, pc) = (a.pointer(), b.pointer(), c.pointer());
    // SAFETY: m, k and n are the shapes of all three, as the caller checked. The views were checked when they were
    // made: every element lies in its slice, those of C at places of their own, and C is borrowed alone. With beta = 0
    // C is not read.
    unsafe {
        T::MATRIXMULTIPLY(
            lc.rows,
            la.cols,
            lc.cols,
            alpha,
            pa,
            la.row_stride,
            la.col_stride,
            pb,
            lb.row_stride,
            lb.col_stride,
            beta,
            pc,
            lc.row_stride,
            lc.col_stride,
        );
    }
}

#[cfg(feature = "cblas")]
fn call_cblas<T: Element>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
) -> bool {
    use cblas_sys::{CblasNoTrans, CblasRowMajor};
    let (mut a, mut b, mut to) = (a, b, c.layout());
    if !matches!(stored(to), Some((CblasNoTrans, _))) {
        // BLAS transposes A and B, not C; but the transposed product has the columns of C as rows.
        (a, b, to) = (b.transposed(), a.transposed(), to.transposed());
    }
    let (Some((transpose_a, lda)), Some((transpose_b, ldb)), Some((CblasNoTrans, ldc))) =
        (stored(a.layout()), stored(b.layout()), stored(to))
    else {
        return false;
    };
    let (Ok(m), Ok(n), Ok(k)) = (to.rows.try_into(), to.cols.try_into(), a.cols().try_into()) else {
        return false;
    };
    let (pa, pb, pc) = (a.pointer(), b.pointer(), c.pointer());
    // SAFETY: m, n and k are the shapes of all three, as the caller checked, and `stored` gives the leading dimensions
    // under which BLAS reaches the elements of the views and no others. The views were checked when they were made:
    // every element lies in its slice, those of C at places of their own, and C is borrowed alone. With beta = 0 C is
    // not read.
    unsafe {
        T::CBLAS(CblasRowMajor, transpose_a, transpose_b, m, n, k, alpha, pa, lda, pb, ldb, beta, pc, ldc);
    }
    true
}

/// How BLAS finds a matrix that is not empty, if it can: as rows, or as the transpose of rows, with this many elements
/// from one to the next. The stride along a dimension of one element says nothing.
#[cfg(feature = "cblas")]
fn stored(layout: super::view::Layout) -> Option<(cblas_sys::CBLAS_TRANSPOSE, std::ffi::c_int)> {
    let leading = |(rows, row_stride): (usize, isize), (cols, col_stride): (usize, isize)| {
        let next = if rows == 1 { cols } else { usize::try_from(row_stride).ok()? };
        ((col_stride == 1 || cols == 1) && next >= cols).then(|| next.try_into().ok())?
    };
    let (rows, cols) = ((layout.rows, layout.row_stride), (layout.cols, layout.col_stride));
    let as_rows = leading(rows, cols).map(|leading| (cblas_sys::CblasNoTrans, leading));
    as_rows.or_else(|| leading(cols, rows).map(|leading| (cblas_sys::CblasTrans, leading)))
}

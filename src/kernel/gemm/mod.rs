//! General matrix product: C = alpha A B + beta C on strided views, then bias, activation and derivative.
//!
//! The order of every sum is part of the contract, so that an element's bits depend on its row of A, its column of
//! B and its own old value alone, never on threads, block sizes, instruction set (among those with a fused
//! multiply-add) or the other rows and columns:
//!
//! ```text
//! s = beta * c                                   (beta = 0: s = +0, C is not read)
//! for each chunk of 512 of k, ascending:
//!     t = +0;  for k in the chunk, ascending:  t = fma(a[i][k], b[k][j], t)
//!     s = fma(alpha, t, s)
//! c = derivative(activation(s + bias[j]))        (each only if asked for)
//! ```
//!
//! With alpha = 0 or k = 0 there is no chunk: A and B are not read. Front: this file checks and decides how many
//! threads. Middle: `plan` says how it is cut, `driver` runs the loops. Back: `microkernel`, one body for every instruction
//! set.

mod ahead;
#[allow(unsafe_code, reason = "other libraries take pointers")]
pub(crate) mod backend;
pub(crate) mod blocking;
#[allow(unsafe_code, reason = "tasks write disjoint parts of C through pointers")]
pub(crate) mod driver;
#[allow(unsafe_code, reason = "works on the part of C that a tile has left")]
pub(crate) mod epilogue;
#[allow(unsafe_code, reason = "the register tile works on pointers")]
mod microkernel;
#[allow(unsafe_code, reason = "copies between strided pointers")]
pub(crate) mod pack;
mod packed;
pub(crate) mod plan;
#[allow(unsafe_code, reason = "works on pointers, as the register tile does")]
mod small;
#[allow(unsafe_code, reason = "works on pointers, as the register tile does")]
mod stream;
#[cfg(test)]
#[allow(unsafe_code, reason = "runs single tasks, to see which elements they own")]
mod tests;
#[allow(unsafe_code, reason = "a view is a pointer with strides, checked once")]
pub(crate) mod view;
mod workspace;
pub(crate) mod zeros;

use super::activation::Activation;
use super::element::Element;
use crate::context::{Context, Parallelism};
use crate::environment;
use crate::error::{Error, Result};
use crate::parallel;
use driver::Factor;
pub use driver::TileFunction;
pub(crate) use packed::packed_in;
pub use packed::{PackedB, gemm_packed, pack_b, packed_b_len};
use std::fmt;
use view::{Layout, MatMut, MatRef};

/// The longest sum whose terms are all the same element of A times the same element of B.
const MAX_REPEATS: usize = u32::MAX as usize;

/// Multiply-adds that a thread should have at least: 2 to 5 microseconds, where a meeting of hot threads takes 0.3 to 1.
const WORK_PER_THREAD: f64 = 1.25e5;

/// From so many on, a helper is worth calling: 2 to 3 microseconds until it comes, if its thread is awake.
const WORK_THAT_CALLS: f64 = 5e5;

/// From so many on, threads are worth waking: some 15 microseconds if they sleep.
const WORK_THAT_WAKES: f64 = 2e6;

/// From so many rows (or columns) of C that are contiguous in memory on, those small products are shared: fewer would be cut across.
const LINES: usize = 16;

/// What is done to each element of the result before it is stored, in this order.
///
/// ```
/// use gemmule::kernel::activation::Activation;
/// use gemmule::{Context, Epilogue, MatMut, MatRef, gemm_with};
///
/// let (x, w, bias) = ([1.0_f32, -2.0], [3.0, 0.5, 1.0, 2.0], [0.25, 0.0]);
/// let mut y = [0.0; 2];
/// let epilogue = Epilogue { bias: Some(&bias), activation: Activation::Relu, ..Epilogue::default() };
/// gemm_with(
///     &Context::detect()?,
///     1.0,
///     MatRef::row_major(&x, 1, 2)?,
///     MatRef::row_major(&w, 2, 2)?,
///     0.0,
///     &mut MatMut::row_major(&mut y, 1, 2)?,
///     &epilogue,
/// )?;
/// assert_eq!(y, [1.25, 0.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Epilogue<'a, T> {
    /// Added to each row: one value per column.
    pub bias: Option<&'a [T]>,
    /// Applied to each element.
    pub activation: Activation,
    /// Multiplies each element by the derivative of an activation, taken from what was saved of that activation (as large
    /// as C): its output or its input, as [`Activation::saved`] says. The step from the gradient of a layer's output to
    /// that of the activation's input before it.
    pub derivative: Option<(Activation, MatRef<'a, T>)>,
    /// Called with each finished tile of C while it is in the cache: its first row, its first column, and the tile. Each
    /// element is in one tile; tiles come in any order, on any of the call's threads.
    pub tile_function: Option<&'a TileFunction<'a, T>>,
}

impl<T: fmt::Debug> fmt::Debug for Epilogue<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epilogue")
            .field("bias", &self.bias)
            .field("activation", &self.activation)
            .field("derivative", &self.derivative)
            .field("tile_function", &self.tile_function.map(|_| "a function"))
            .finish()
    }
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self { bias: None, activation: Activation::Identity, derivative: None, tile_function: None }
    }
}

/// C = alpha A B + beta C, for A (m x k), B (k x n) and C (m x n) with any strides.
///
/// The module describes the order of the sums. beta = 0 never reads C; alpha = 0 or k = 0 never reads A and B. With
/// [`Parallelism::Auto`](crate::Parallelism) large products run on several threads, with the same bits. Another
/// [`Backend`](crate::Backend) of the context has sums in an order of its own.
///
/// ```
/// use gemmule::{Context, MatMut, MatRef, gemm};
///
/// let (a, b) = ([1.0_f32, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, -1.0]);
/// let mut c = [f32::NAN; 4];
/// gemm(
///     &Context::detect()?,
///     1.0,
///     MatRef::row_major(&a, 2, 2)?,
///     MatRef::row_major(&b, 2, 2)?,
///     0.0,
///     &mut MatMut::row_major(&mut c, 2, 2)?,
/// )?;
/// assert_eq!(c, [1.0, -2.0, 3.0, -4.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit; [`Error::OutOfMemory`] if a packing buffer cannot be had;
/// [`Error::Argument`] if k is 2^32 or more with no memory behind it (A repeats one column and B one row);
/// [`Error::Environment`] if this thread flushes subnormal numbers or does not round to nearest.
pub fn gemm<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
) -> Result<()> {
    gemm_with(context, alpha, a, b, beta, c, &Epilogue::default())
}

/// [`gemm`], then `epilogue` on each element while it is still in the cache.
///
/// # Errors
/// As [`gemm`]; also if the bias has not n elements, if the derivative's saved matrix is not m x n or has a column stride
/// other than 1, or if an activation's parameter is not finite or out of its range.
pub fn gemm_with<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
) -> Result<()> {
    let width = check(context, a, (b.layout(), "b"), c, epilogue)?;
    if backend::product(context, alpha, a, b, beta, c, epilogue, width)? {
        return Ok(());
    }
    driver::product(context, alpha, a, Factor::Matrix(b), beta, c, epilogue, width, None)
}

/// The number of threads for a product, if its operands fit.
fn check<T: Element>(
    context: &Context,
    a: MatRef<'_, T>,
    (b, b_name): (Layout, &'static str),
    c: &MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
) -> Result<usize> {
    environment::check("gemm")?;
    let (m, n, k) = (c.rows(), c.cols(), a.cols());
    let saved_shape = epilogue.derivative.map_or((m, n), |(_, saved)| (saved.rows(), saved.cols()));
    let bias_len = epilogue.bias.map_or(n, <[T]>::len);
    // All at once, and what to say of it elsewhere: small products lose their time around the tiles.
    if (a.rows(), b.rows, b.cols) != (m, k, n) || saved_shape != (m, n) || bias_len != n {
        return Err(misfit((m, n, k), a.rows(), (b, b_name), saved_shape, bias_len));
    }
    // Every other dimension has as many elements in memory; this one could ask for 2^64 steps of a 1 x 1 product.
    if k > MAX_REPEATS && a.layout().col_stride == 0 && b.row_stride == 0 {
        return Err(Error::argument("gemm", "k where both strides along it are 0", "less than 2^32", k));
    }
    epilogue.activation.check("gemm")?;
    if let Some((activation, _)) = epilogue.derivative {
        activation.check("gemm")?;
    }
    if context.parallelism() == Parallelism::Serial {
        return Ok(1);
    }
    let work = m as f64 * n as f64 * k as f64;
    let shares = match work {
        _ if work < 2.0 * WORK_PER_THREAD => false,
        _ if work < WORK_THAT_CALLS => lines(c.layout()) >= LINES && parallel::close_in_a_row(),
        _ => work >= WORK_THAT_WAKES || parallel::in_a_row(),
    };
    if !shares {
        return Ok(1);
    }
    Ok(parallel::limit(context.parallelism()).min((work / WORK_PER_THREAD) as usize))
}

/// Rows of a C of rows, columns of a C of columns.
fn lines(c: Layout) -> usize {
    if c.col_stride == 1 { c.rows } else { c.cols }
}

/// Says which operand of an m x n x k product has another shape than C and A's columns ask for.
#[cold]
fn misfit(
    (m, n, k): (usize, usize, usize),
    a_rows: usize,
    (b, b_name): (Layout, &'static str),
    saved: (usize, usize),
    bias_len: usize,
) -> Error {
    let show = |(rows, cols): (usize, usize)| format!("{rows} x {cols}");
    let matrices = [
        ("a", (m, k), (a_rows, k)),
        (b_name, (k, n), (b.rows, b.cols)),
        ("saved matrix of the derivative", (m, n), saved),
    ];
    match matrices.into_iter().find(|(_, expected, got)| expected != got) {
        Some((what, expected, got)) => Error::shape("gemm", what, show(expected), show(got)),
        None => Error::shape("gemm", "bias", n, bias_len),
    }
}

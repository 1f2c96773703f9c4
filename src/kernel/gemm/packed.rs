//! A right factor that is packed once and used many times.

use super::driver::{self, Factor};
use super::pack::{pack_all, packed_len};
use super::view::{Layout, MatMut, MatRef};
use super::{Epilogue, check};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::simd::Isa;

/// A matrix B (k x n), packed for one instruction set into a buffer of the caller's.
///
/// The panels are as wide as a register tile, whose rows of B then follow each other: products of few rows with a large B,
/// such as predictions one by one, read memory in order and pack nothing. The sums are those of [`gemm`](super::gemm),
/// to the bit.
///
/// ```
/// use gemmule::{Context, Epilogue, MatMut, MatRef, gemm_packed, pack_b, packed_b_len};
///
/// let context = Context::detect()?;
/// let weights = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let mut buffer = vec![0.0; packed_b_len::<f32>(2, 3)?];
/// let packed = pack_b(&context, MatRef::row_major(&weights, 2, 3)?, &mut buffer)?;
/// let mut y = [0.0; 3];
/// for x in [[1.0, 0.0], [0.0, 1.0]] {
///     let (x, mut y) = (MatRef::row_major(&x, 1, 2)?, MatMut::row_major(&mut y, 1, 3)?);
///     gemm_packed(&context, 1.0, x, &packed, 1.0, &mut y, &Epilogue::default())?;
/// }
/// assert_eq!(y, [5.0, 7.0, 9.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PackedB<'a, T> {
    panels: &'a [T],
    rows: usize,
    cols: usize,
    isa: Isa,
}

impl<T> PackedB<'_, T> {
    /// The rows of B: k.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns of B: n.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The instruction set that it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

/// Elements of the buffer that [`pack_b`] needs for a B of `k` x `n`, on any instruction set: the columns rounded up to
/// whole vectors of 64 bytes, and room to begin at a cache line.
///
/// # Errors
/// [`Error::Overflow`] if the number of bytes is beyond what a slice can have.
pub fn packed_b_len<T: Element>(k: usize, n: usize) -> Result<usize> {
    let lanes = 64 / size_of::<T>();
    packed_len(k, n, lanes)
        .and_then(|len| len.checked_add(lanes))
        .filter(|len| len.checked_mul(size_of::<T>()).is_some_and(|bytes| isize::try_from(bytes).is_ok()))
        .ok_or_else(|| Error::overflow("packed_b_len", "the packed matrix"))
}

/// Packs `b` into `buffer`, for products with the instruction set of `context`.
///
/// # Errors
/// [`Error::Shape`] if the buffer has fewer elements than [`packed_b_len`] says; [`Error::Overflow`] as there.
pub fn pack_b<'a, T: Element>(
    context: &Context,
    b: MatRef<'_, T>,
    buffer: &'a mut [T],
) -> Result<PackedB<'a, T>> {
    let (rows, cols) = (b.rows(), b.cols());
    let needed = packed_b_len::<T>(rows, cols)?;
    if buffer.len() < needed {
        return Err(Error::shape("pack_b", "buffer", format_args!("at least {needed}"), buffer.len()));
    }
    let lanes = 64 / size_of::<T>();
    // An allocator need not keep even the alignment of T's size; then any place will do.
    let start = buffer.as_ptr().align_offset(64).min(lanes);
    let panels = &mut buffer[start..start + needed - lanes];
    pack_all(context, b, panels);
    Ok(PackedB { panels, rows, cols, isa: context.isa() })
}

/// The matrix of `rows` x `cols` that [`pack_b`] put into this buffer, at this address, for the context's instruction set.
pub(crate) fn packed_in<'a, T: Element>(
    context: &Context,
    buffer: &'a [T],
    rows: usize,
    cols: usize,
) -> Result<PackedB<'a, T>> {
    let (needed, lanes) = (packed_b_len::<T>(rows, cols)?, 64 / size_of::<T>());
    if buffer.len() < needed {
        return Err(Error::shape("gemm", "packed b", format_args!("at least {needed}"), buffer.len()));
    }
    let start = buffer.as_ptr().align_offset(64).min(lanes);
    Ok(PackedB { panels: &buffer[start..start + needed - lanes], rows, cols, isa: context.isa() })
}

/// [`gemm_with`](super::gemm_with), with a packed B.
///
/// # Errors
/// As [`gemm_with`](super::gemm_with), and [`Error::Argument`] if B was packed for another instruction set than the
/// context's. A context's [`Backend`](crate::Backend) is not asked: no other library can read the panels.
pub fn gemm_packed<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: &PackedB<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
) -> Result<()> {
    if b.isa != context.isa() {
        let expected = format_args!("packed for {}", context.isa());
        return Err(Error::argument("gemm_packed", "b", expected, format_args!("packed for {}", b.isa)));
    }
    let layout = Layout { rows: b.rows, cols: b.cols, row_stride: 1, col_stride: 1 };
    let width = check(context, a, (layout, "packed b"), c, epilogue)?;
    driver::product(context, alpha, a, Factor::Packed(b.panels, layout), beta, c, epilogue, width, None)
}

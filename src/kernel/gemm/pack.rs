//! Packed operands.
//!
//! ```text
//!   packed B: panels of LANES columns       packed A: slivers of up to tile_rows rows
//!
//!   [n / LANES][k][LANES], zero-padded      [rows / part][k][part's rows]
//!
//!     panel 0      panel 1                    k=0: a00 a10 a20 .. a50
//!   k=0 b00..b0F  b0G..                       k=1: a01 a11 a21 .. a51
//!   k=1 b10..b1F  b1G..                        ...
//! ```

use super::blocking::Parts;
use crate::kernel::element::Element;

/// Copies one panel of B: `cols <= lanes` columns and `depth` rows from `b`; columns past `cols` become +0.
///
/// # Safety
/// `b` is valid for `depth` x `cols` elements at its strides, `target` for writes of `depth * lanes`.
pub(crate) unsafe fn pack_panel<T: Element>(
    b: *const T,
    row_stride: isize,
    col_stride: isize,
    depth: usize,
    cols: usize,
    lanes: usize,
    target: *mut T,
) {
    if col_stride == 1 {
        for k in 0..depth {
            // SAFETY: row k of B has `cols` contiguous elements; the target's row k has `lanes >= cols`.
            unsafe {
                let to = target.add(k * lanes);
                std::ptr::copy_nonoverlapping(b.offset(k as isize * row_stride), to, cols);
                std::slice::from_raw_parts_mut(to.add(cols), lanes - cols).fill(T::zero());
            }
        }
        return;
    }
    // A transposed B has contiguous columns. A block of 16 of its rows at a time, so that the lines that are read stay
    // in the L1 cache until all of them is used; within it, whole rows are written, which costs less than whole
    // columns, each of whose elements is on a line of its own.
    let mut start = 0;
    while start < depth {
        let end = (start + 16).min(depth);
        for k in start..end {
            // SAFETY: row k of B has `cols` elements, `col_stride` apart; the target's row k has `lanes`.
            let (from, row) = unsafe {
                let row = std::slice::from_raw_parts_mut(target.add(k * lanes), lanes);
                (b.offset(k as isize * row_stride), row)
            };
            let (used, padding) = row.split_at_mut(cols);
            for (j, value) in used.iter_mut().enumerate() {
                // SAFETY: (k, j) lies within B.
                *value = unsafe { *from.offset(j as isize * col_stride) };
            }
            padding.fill(T::zero());
        }
        start = end;
    }
}

/// Copies a block of A: `parts` cuts its rows into slivers, each stored k by k.
///
/// # Safety
/// `a` is valid for the parts' rows x `depth` elements at its strides, `target` for writes of as many.
pub(crate) unsafe fn pack_rows<T: Element>(
    a: *const T,
    row_stride: isize,
    k_stride: isize,
    depth: usize,
    parts: Parts,
    target: *mut T,
) {
    for index in 0..parts.count() {
        let (start, rows) = parts.part(index);
        for k in 0..depth {
            for i in 0..rows {
                // SAFETY: row start + i and column k lie within A; the sliver holds rows * depth elements.
                unsafe {
                    let from = a.offset((start + i) as isize * row_stride + k as isize * k_stride);
                    *target.add(start * depth + k * rows + i) = *from;
                }
            }
        }
    }
}

//! The packing buffer: kept per thread, so that a product allocates nothing after the first of its size.

use crate::error::{Error, Result};
use crate::kernel::element::Element;
use std::cell::Cell;

thread_local! {
    /// The packing buffer of the last product on this thread. It is taken out while it is in use, so that nothing is
    /// borrowed across a parallel region and a nested product makes its own.
    static WORKSPACE: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
}

/// Calls `body` with 64-byte aligned room for `len` elements.
pub(super) fn with_workspace<T: Element, R>(len: usize, body: impl FnOnce(*mut T) -> R) -> Result<R> {
    if len == 0 {
        return Ok(body(std::ptr::null_mut()));
    }
    let bytes =
        len.checked_mul(size_of::<T>()).ok_or_else(|| Error::overflow("gemm", "the packing buffer"))?;
    let mut buffer = take_workspace(bytes)?;
    let start = buffer.as_ptr().align_offset(64);
    let result = body(buffer[start..].as_mut_ptr().cast());
    let _ = WORKSPACE.try_with(|workspace| workspace.set(buffer));
    Ok(result)
}

/// Room for `bytes` and an alignment to 64.
fn take_workspace(bytes: usize) -> Result<Vec<f64>> {
    let words = bytes.div_ceil(8) + 8;
    // Without `try_`, a product in the destructor of another thread-local value would panic.
    let mut buffer = WORKSPACE.try_with(Cell::take).unwrap_or_default();
    if buffer.len() < words {
        buffer = Vec::new();
        buffer
            .try_reserve_exact(words)
            .map_err(|_| Error::OutOfMemory { what: "gemm's packing buffer", bytes })?;
        buffer.resize(words, 0.0);
    }
    Ok(buffer)
}

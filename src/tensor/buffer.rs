//! Aligned memory: the folder's only `unsafe`.

use crate::error::{Error, Result};
use crate::kernel::Element;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Plain numbers: `f32`, `f64`, `u8`, `u32`, `u64`. Sealed.
pub trait Plain: sealed::Sealed {}

impl<P: sealed::Sealed> Plain for P {}

mod sealed {
    use super::Element;

    /// # Safety
    /// All bytes zero is a value, and nothing has to be dropped.
    pub unsafe trait Sealed: Copy + Send + Sync + 'static {}

    // SAFETY: Element is f32 and f64 (it is sealed); zero bytes are +0.
    unsafe impl<T: Element> Sealed for T {}
    // SAFETY: an integer.
    unsafe impl Sealed for u8 {}
    // SAFETY: an integer.
    unsafe impl Sealed for u32 {}
    // SAFETY: an integer.
    unsafe impl Sealed for u64 {}
}

/// Bytes of a huge page of x86-64, and of AArch64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Asks for huge pages, where the system gives them to who asks (`/sys/kernel/mm/transparent_hugepage/enabled`): large arrays
/// are then read at 25 instead of 15 GB/s in a virtual machine on Zen 4, where each of many small pages costs a walk through two
/// tables. It is advice: if it is refused, nothing is lost.
fn advise_huge_pages(start: *mut u8, bytes: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: the pages are this allocation's, but for the last one, which the advice may be for as well; what they hold
    // does not change.
    unsafe {
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    }
    let _ = (start, bytes);
}

/// A fixed number of plain numbers that begin at a multiple of 64 bytes: a cache line, the widest vector register.
/// A buffer is made of [`Plain`] numbers only; what reads one needs no such bound.
pub struct AlignedBuffer<T> {
    /// Dangling, but aligned, if there is no byte.
    pointer: NonNull<T>,
    len: usize,
}

// SAFETY: the buffer owns its elements, as a Vec does.
unsafe impl<T: Send> Send for AlignedBuffer<T> {}
// SAFETY: a shared buffer gives shared references only.
unsafe impl<T: Sync> Sync for AlignedBuffer<T> {}

impl<T> AlignedBuffer<T> {
    /// The first element's address is a multiple of this many bytes.
    pub const ALIGNMENT: usize = 64;

    fn layout(len: usize) -> Option<Layout> {
        let bytes = len.checked_mul(size_of::<T>())?;
        // Where that much is too much for the larger alignment, the allocator says no.
        let huge = Layout::from_size_align(bytes, HUGE_PAGE).ok().filter(|_| bytes >= HUGE_PAGE);
        huge.or_else(|| Layout::from_size_align(bytes, Self::ALIGNMENT).ok())
    }
}

impl<T: Plain> AlignedBuffer<T> {
    /// `len` zeros.
    ///
    /// # Errors
    /// [`Error::Overflow`] if `len` elements are more than `isize::MAX` bytes; [`Error::OutOfMemory`] if the
    /// allocator has not got them.
    pub fn try_zeroed(len: usize) -> Result<Self> {
        let layout = Self::layout(len)
            .ok_or_else(|| Error::overflow("AlignedBuffer::try_zeroed", format!("{len} elements")))?;
        Self::allocate(len, layout)
            .ok_or(Error::OutOfMemory { what: "AlignedBuffer::try_zeroed", bytes: layout.size() })
    }

    fn allocate(len: usize, layout: Layout) -> Option<Self> {
        let pointer = if layout.size() == 0 {
            NonNull::without_provenance(std::num::NonZeroUsize::new(Self::ALIGNMENT)?)
        } else if layout.align() == HUGE_PAGE {
            // SAFETY: the layout has a size above zero; as many bytes are then written.
            unsafe {
                let pointer = NonNull::new(alloc(layout))?;
                advise_huge_pages(pointer.as_ptr(), layout.size());
                pointer.write_bytes(0, layout.size());
                pointer.cast()
            }
        } else {
            // SAFETY: the layout has a size above zero.
            NonNull::new(unsafe { alloc_zeroed(layout) })?.cast()
        };
        Some(Self { pointer, len })
    }
}

impl<T> Drop for AlignedBuffer<T> {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len)
            && layout.size() != 0
        {
            // SAFETY: `allocate` had the pointer from the allocator with this very layout.
            unsafe { dealloc(self.pointer.as_ptr().cast(), layout) }
        }
    }
}

impl<T> Deref for AlignedBuffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: aligned, valid for `len` elements that were zeroed (a value, see Sealed), and owned by `self`.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for AlignedBuffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

/// Aborts if there is no memory, as a `Vec`'s does.
impl<T: Plain> Clone for AlignedBuffer<T> {
    fn clone(&self) -> Self {
        let layout = Self::layout(self.len).expect("the layout of a buffer that exists");
        let mut copy = Self::allocate(self.len, layout).unwrap_or_else(|| handle_alloc_error(layout));
        copy.copy_from_slice(self);
        copy
    }
}

/// No element.
impl<T: Plain> Default for AlignedBuffer<T> {
    fn default() -> Self {
        let layout = Self::layout(0).expect("a layout without bytes");
        Self::allocate(0, layout).expect("no byte is allocated")
    }
}

impl<T: PartialEq> PartialEq for AlignedBuffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for AlignedBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({})", super::Truncated(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Plain + PartialEq + Default + fmt::Debug>(one: T) {
        // The last one is on huge pages, and a little longer.
        for len in [0, 1, 15, 16, 17, 1000, (2 << 20) / size_of::<T>() + 3] {
            let mut buffer = AlignedBuffer::<T>::try_zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            assert!(buffer.iter().all(|&x| x == T::default()));
            buffer.fill(one);
            let copy = buffer.clone();
            assert_eq!(copy, buffer);
            assert_eq!(copy.as_ptr() as usize % 64, 0);
            drop(buffer);
            assert!(copy.iter().all(|&x| x == one));
        }
        assert!(AlignedBuffer::<T>::default().is_empty());
    }

    #[test]
    fn zeroed_aligned_cloned() {
        check(1.0_f32);
        check(1.0_f64);
        check(1_u8);
        check(1_u32);
        check(1_u64);
    }

    #[test]
    fn sizes_from_outside_give_errors() {
        for len in [usize::MAX, usize::MAX / 4 + 2, isize::MAX as usize / 8 + 1] {
            let error = AlignedBuffer::<f64>::try_zeroed(len).unwrap_err();
            assert!(matches!(error, Error::Overflow { .. }), "{error}");
        }
        // More than any address space has, less than isize::MAX.
        let error = AlignedBuffer::<u8>::try_zeroed(isize::MAX as usize - 64).unwrap_err();
        assert!(
            matches!(error, Error::OutOfMemory { bytes, .. } if bytes == isize::MAX as usize - 64),
            "{error}"
        );
    }

    #[test]
    fn crosses_threads() {
        let mut buffer = AlignedBuffer::<f32>::try_zeroed(8).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| buffer[0] = 5.0);
        });
        assert_eq!(buffer[0], 5.0);
        assert_eq!(format!("{buffer:?}"), "AlignedBuffer([5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])");
    }
}

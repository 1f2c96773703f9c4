//! Memory between two pages that nothing may touch: an access one element too far is a crash, not luck.
//!
//! A sanitizer does not see masked loads, gathers or assembly; the memory unit sees all of them.

#![allow(unsafe_code, reason = "maps and protects pages")]
#![allow(dead_code, reason = "included by several test crates, and not all use all of it")]

use std::marker::PhantomData;
use std::ptr;

/// What may stand in the memory: every bit pattern is a value, zeros too.
///
/// # Safety
/// That is so, and the size divides the size of a page.
pub unsafe trait Plain: Copy {}
// SAFETY: numbers have no invalid bit pattern, and their sizes are small powers of two.
unsafe impl Plain for f32 {}
// SAFETY: see above.
unsafe impl Plain for f64 {}
// SAFETY: see above.
unsafe impl Plain for u8 {}
// SAFETY: see above.
unsafe impl Plain for u16 {}
// SAFETY: see above.
unsafe impl Plain for u32 {}
// SAFETY: see above.
unsafe impl Plain for u64 {}

/// ```text
///   | no access | at_start ...        ... at_end | no access |
/// ```
/// The memory starts as zeros and keeps what is written.
pub struct Guarded<T: Plain> {
    base: *mut u8,
    page: usize,
    inner: usize,
    element: PhantomData<T>,
}

impl<T: Plain> Guarded<T> {
    /// Room for `capacity` elements.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn new(capacity: usize) -> Self {
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a page size");
        let inner = (capacity * size_of::<T>()).next_multiple_of(page).max(page);
        let total = inner + 2 * page;
        // SAFETY: a new mapping at an address of the system's choice touches no other memory.
        let base = unsafe {
            libc::mmap(ptr::null_mut(), total, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0)
        };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let base = base.cast::<u8>();
        // SAFETY: the range is whole pages inside the mapping.
        let failed =
            unsafe { libc::mprotect(base.add(page).cast(), inner, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(failed, 0, "mprotect: {}", std::io::Error::last_os_error());
        Self { base, page, inner, element: PhantomData }
    }

    /// How many elements fit.
    pub fn capacity(&self) -> usize {
        self.inner / size_of::<T>()
    }

    /// The first `len` elements: before them is a page that nothing may touch.
    ///
    /// # Panics
    /// If `len` exceeds the capacity.
    pub fn at_start(&mut self, len: usize) -> &mut [T] {
        assert!(len <= self.capacity());
        // SAFETY: `len` elements fit between the guards, any bits are values, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(self.page).cast(), len) }
    }

    /// The last `len` elements: behind them is a page that nothing may touch.
    ///
    /// # Panics
    /// If `len` exceeds the capacity.
    pub fn at_end(&mut self, len: usize) -> &mut [T] {
        assert!(len <= self.capacity());
        // SAFETY: see `at_start`; the element's size divides the page's, so the address is aligned.
        unsafe {
            let end = self.base.add(self.page + self.inner).cast::<T>();
            std::slice::from_raw_parts_mut(end.sub(len), len)
        }
    }
}

impl<T: Plain> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which no borrow outlives.
        unsafe { libc::munmap(self.base.cast(), self.inner + 2 * self.page) };
    }
}

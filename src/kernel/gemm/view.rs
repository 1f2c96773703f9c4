//! Strided views of slices as matrices: checked once, when they are made.

use crate::error::{Error, Result};
use std::fmt;
use std::marker::PhantomData;

/// A read-only matrix over a slice: element (i, j) stands at `offset + i * row_stride + j * col_stride`.
///
/// Strides may be negative or zero.
///
/// ```
/// use gemmule::MatRef;
///
/// let data = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let a = MatRef::row_major(&data, 2, 3)?;
/// assert_eq!(a.get(1, 0), Some(4.0));
/// assert_eq!(a.transposed().get(0, 1), Some(4.0));
/// assert!(MatRef::new(&data, 0, 3, 3, 3, 1).is_err());
/// # Ok::<(), gemmule::Error>(())
/// ```
pub struct MatRef<'a, T> {
    pointer: *const T,
    layout: Layout,
    lifetime: PhantomData<&'a [T]>,
}

/// A writable matrix over a slice, with every element at a place of its own.
pub struct MatMut<'a, T> {
    pointer: *mut T,
    layout: Layout,
    lifetime: PhantomData<&'a mut [T]>,
}

/// Shape and strides, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub rows: usize,
    pub cols: usize,
    pub row_stride: isize,
    pub col_stride: isize,
}

impl Layout {
    pub(crate) fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    fn is_empty(self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// `offset`, if every element lies within `length`; an empty matrix touches nothing and starts at 0.
    fn check(self, operation: &'static str, offset: usize, length: usize) -> Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        // Most matrices have small strides of no sign: without 128 bits, a twentieth of what 32 x 32 x 32 takes.
        let reach = |count: usize, stride: isize| (count - 1).checked_mul(usize::try_from(stride).ok()?);
        let last = || {
            reach(self.rows, self.row_stride)?
                .checked_add(reach(self.cols, self.col_stride)?)?
                .checked_add(offset)
        };
        if last().is_some_and(|last| last < length) {
            return Ok(offset);
        }
        // One product of 64-bit numbers fits in 128 bits, the sum of two need not: it stops at the end of the range,
        // which no slice reaches, instead of wrapping back into it.
        let reach = |count: usize, stride: isize| (count as i128 - 1) * stride as i128;
        let (down, right) = (reach(self.rows, self.row_stride), reach(self.cols, self.col_stride));
        let first = (offset as i128).saturating_add(down.min(0)).saturating_add(right.min(0));
        let last = (offset as i128).saturating_add(down.max(0)).saturating_add(right.max(0));
        if first < 0 || last >= length as i128 {
            return Err(Error::shape(
                operation,
                "slice",
                format_args!("elements {first} to {last} for {self} at offset {offset}"),
                format_args!("a slice of {length}"),
            ));
        }
        Ok(offset)
    }

    /// True if it is certain that no two elements share a place: the longer stride steps over all of the shorter.
    fn is_distinct(self) -> bool {
        let mut dims = [(self.row_stride, self.rows), (self.col_stride, self.cols)];
        dims.sort_by_key(|&(stride, _)| stride.unsigned_abs());
        let [(short, short_count), (long, long_count)] = dims;
        let short_reach = short.unsigned_abs() as u128 * (short_count as u128).saturating_sub(1);
        self.is_empty()
            || ((short_count <= 1 || short != 0)
                && (long_count <= 1 || long.unsigned_abs() as u128 > short_reach))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} with strides {}, {}", self.rows, self.cols, self.row_stride, self.col_stride)
    }
}

/// The strides of a packed row-major matrix; `cols` beyond isize can only belong to an empty or refused one.
fn packed(cols: usize) -> isize {
    isize::try_from(cols).unwrap_or(isize::MAX)
}

/// True if a packed matrix at the start of a slice of `length` elements lies within it: what [`Layout::check`] and
/// [`Layout::is_distinct`] say of one, in a tenth of the instructions.
fn fits(rows: usize, cols: usize, length: usize) -> bool {
    rows.checked_mul(cols).is_some_and(|elements| elements <= length)
}

impl<'a, T: Copy> MatRef<'a, T> {
    /// The matrix with these strides whose element (0, 0) is `slice[offset]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if an element would lie outside the slice.
    pub fn new(
        slice: &'a [T],
        offset: usize,
        rows: usize,
        cols: usize,
        row_stride: isize,
        col_stride: isize,
    ) -> Result<Self> {
        let layout = Layout { rows, cols, row_stride, col_stride };
        let offset = layout.check("MatRef::new", offset, slice.len())?;
        // SAFETY: `check` returned an offset within the slice, or 0. The pointer comes from the whole slice, not from
        // its part behind the offset: negative strides go before it.
        let pointer = unsafe { slice.as_ptr().add(offset) };
        Ok(Self { pointer, layout, lifetime: PhantomData })
    }

    /// The matrix whose rows follow each other.
    ///
    /// # Errors
    /// [`Error::Shape`] if the slice is shorter than `rows * cols`.
    pub fn row_major(slice: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        if fits(rows, cols, slice.len()) {
            let layout = Layout { rows, cols, row_stride: packed(cols), col_stride: 1 };
            return Ok(Self { pointer: slice.as_ptr(), layout, lifetime: PhantomData });
        }
        Self::new(slice, 0, rows, cols, packed(cols), 1)
    }

    /// The matrix whose columns follow each other.
    ///
    /// # Errors
    /// [`Error::Shape`] if the slice is shorter than `rows * cols`.
    pub fn col_major(slice: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        if fits(rows, cols, slice.len()) {
            let layout = Layout { rows, cols, row_stride: 1, col_stride: packed(rows) };
            return Ok(Self { pointer: slice.as_ptr(), layout, lifetime: PhantomData });
        }
        Self::new(slice, 0, rows, cols, 1, packed(rows))
    }

    /// Rows and columns exchanged; nothing moves.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { layout: self.layout.transposed(), ..self }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.layout.cols
    }

    /// Element (i, j), if there is one.
    pub fn get(&self, i: usize, j: usize) -> Option<T> {
        if i >= self.layout.rows || j >= self.layout.cols {
            return None;
        }
        // Wrapping: an element without a size can have any index, and every other one's place fits.
        let (down, right) = (i as isize, j as isize);
        let at = down
            .wrapping_mul(self.layout.row_stride)
            .wrapping_add(right.wrapping_mul(self.layout.col_stride));
        // SAFETY: the constructor checked that every element lies within the slice, which lives as long as `self`.
        Some(unsafe { *self.pointer.offset(at) })
    }

    /// One row: the whole slice.
    pub(crate) fn of_row(slice: &'a [T]) -> Self {
        let layout = Layout { rows: 1, cols: slice.len(), row_stride: 0, col_stride: 1 };
        Self { pointer: slice.as_ptr(), layout, lifetime: PhantomData }
    }

    /// The elements of row `i`, if there is one and they follow each other.
    pub(crate) fn row(&self, i: usize) -> Option<&'a [T]> {
        let Layout { rows, cols, row_stride, col_stride } = self.layout;
        if i >= rows || cols == 0 || (col_stride != 1 && cols > 1) {
            return None;
        }
        // SAFETY: the row lies within what the view was made of, which is borrowed for `'a`.
        Some(unsafe {
            std::slice::from_raw_parts(self.pointer.offset((i as isize).wrapping_mul(row_stride)), cols)
        })
    }

    pub(crate) fn pointer(&self) -> *const T {
        self.pointer
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }
}

impl<'a, T: Copy> MatMut<'a, T> {
    /// The matrix with these strides whose element (0, 0) is `slice[offset]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if an element would lie outside the slice, or if two elements might share a place: the
    /// longer stride must exceed all that the shorter one reaches.
    pub fn new(
        slice: &'a mut [T],
        offset: usize,
        rows: usize,
        cols: usize,
        row_stride: isize,
        col_stride: isize,
    ) -> Result<Self> {
        let layout = Layout { rows, cols, row_stride, col_stride };
        let offset = layout.check("MatMut::new", offset, slice.len())?;
        if !layout.is_distinct() {
            return Err(Error::shape(
                "MatMut::new",
                "strides",
                "strides under which no two elements can share a place",
                layout,
            ));
        }
        // SAFETY: `check` returned an offset within the slice, or 0.
        let pointer = unsafe { slice.as_mut_ptr().add(offset) };
        Ok(Self { pointer, layout, lifetime: PhantomData })
    }

    /// The matrix whose rows follow each other.
    ///
    /// # Errors
    /// [`Error::Shape`] if the slice is shorter than `rows * cols`.
    pub fn row_major(slice: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        if fits(rows, cols, slice.len()) {
            let layout = Layout { rows, cols, row_stride: packed(cols), col_stride: 1 };
            return Ok(Self { pointer: slice.as_mut_ptr(), layout, lifetime: PhantomData });
        }
        Self::new(slice, 0, rows, cols, packed(cols), 1)
    }

    /// The matrix whose columns follow each other.
    ///
    /// # Errors
    /// [`Error::Shape`] if the slice is shorter than `rows * cols`.
    pub fn col_major(slice: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        if fits(rows, cols, slice.len()) {
            let layout = Layout { rows, cols, row_stride: 1, col_stride: packed(rows) };
            return Ok(Self { pointer: slice.as_mut_ptr(), layout, lifetime: PhantomData });
        }
        Self::new(slice, 0, rows, cols, 1, packed(rows))
    }

    /// One row: the whole slice.
    pub(crate) fn of_row(slice: &'a mut [T]) -> Self {
        let layout = Layout { rows: 1, cols: slice.len(), row_stride: 0, col_stride: 1 };
        Self { pointer: slice.as_mut_ptr(), layout, lifetime: PhantomData }
    }

    /// The matrix with this layout whose element (0, 0) stands at `pointer`.
    ///
    /// # Safety
    /// Every element is valid for reads and writes, at a place of its own, and nothing else accesses it during `'a`.
    pub(crate) unsafe fn from_raw(pointer: *mut T, layout: Layout) -> Self {
        Self { pointer, layout, lifetime: PhantomData }
    }

    /// Rows and columns exchanged; nothing moves.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { layout: self.layout.transposed(), ..self }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.layout.cols
    }

    /// Element (i, j), if there is one.
    pub fn get(&self, i: usize, j: usize) -> Option<T> {
        self.as_ref().get(i, j)
    }

    /// Element (i, j) to write to, if there is one.
    ///
    /// ```
    /// use gemmule::MatMut;
    ///
    /// let mut data = [0.0_f32; 6];
    /// let mut c = MatMut::row_major(&mut data, 2, 3)?;
    /// *c.get_mut(1, 0).expect("inside") = 4.0;
    /// assert!(c.get_mut(2, 0).is_none());
    /// assert_eq!(data[3], 4.0);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn get_mut(&mut self, i: usize, j: usize) -> Option<&mut T> {
        if i >= self.layout.rows || j >= self.layout.cols {
            return None;
        }
        let at = (i as isize)
            .wrapping_mul(self.layout.row_stride)
            .wrapping_add((j as isize).wrapping_mul(self.layout.col_stride));
        // SAFETY: the element lies within what the view was made of, which is borrowed as long as `self`.
        Some(unsafe { &mut *self.pointer.offset(at) })
    }

    /// The elements of row `i`, if there is one and they follow each other.
    pub fn row_mut(&mut self, i: usize) -> Option<&mut [T]> {
        let Layout { rows, cols, row_stride, col_stride } = self.layout;
        if i >= rows || cols == 0 || (col_stride != 1 && cols > 1) {
            return None;
        }
        // SAFETY: as in `get_mut`, for all of the row.
        Some(unsafe {
            std::slice::from_raw_parts_mut(self.pointer.offset((i as isize).wrapping_mul(row_stride)), cols)
        })
    }

    /// The same matrix to read.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        MatRef { pointer: self.pointer, layout: self.layout, lifetime: PhantomData }
    }

    pub(crate) fn pointer(&mut self) -> *mut T {
        self.pointer
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }
}

impl<T> Clone for MatRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for MatRef<'_, T> {}

impl<T> fmt::Debug for MatRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatRef({})", self.layout)
    }
}

impl<T> fmt::Debug for MatMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatMut({})", self.layout)
    }
}

// SAFETY: a MatRef is a shared slice with a shape.
unsafe impl<T: Sync> Send for MatRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatRef<'_, T> {}
// SAFETY: a MatMut is a mutable slice with a shape.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: a shared MatMut only tells its shape.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [usize; 8] =
        [0, 1, 2, 5, isize::MAX as usize, isize::MAX as usize + 1, usize::MAX - 1, usize::MAX];
    const STRIDES: [isize; 11] =
        [isize::MIN, isize::MIN + 1, -7, -2, -1, 0, 1, 2, 7, isize::MAX - 1, isize::MAX];

    /// All places of a small matrix, or None for one that is too large to have any.
    fn places(offset: usize, layout: Layout) -> Option<Vec<i128>> {
        let most = 64;
        let mut all = Vec::new();
        for i in 0..layout.rows.min(most) {
            for j in 0..layout.cols.min(most) {
                all.push(
                    offset as i128
                        + i as i128 * layout.row_stride as i128
                        + j as i128 * layout.col_stride as i128,
                );
            }
        }
        (layout.is_empty() || (layout.rows <= most && layout.cols <= most)).then_some(all)
    }

    /// Every combination of hostile sizes and strides: a view that is made lies within the slice.
    #[test]
    fn no_view_reaches_outside() {
        let mut data = [0.0_f32; 64];
        for offset in [0, 1, 31, 63, 64, usize::MAX] {
            for rows in HOSTILE {
                for cols in HOSTILE {
                    for row_stride in STRIDES {
                        for col_stride in STRIDES {
                            let layout = Layout { rows, cols, row_stride, col_stride };
                            let made = MatRef::new(&data, offset, rows, cols, row_stride, col_stride).is_ok();
                            let writable =
                                MatMut::new(&mut data, offset, rows, cols, row_stride, col_stride).is_ok();
                            assert!(made || !writable, "{layout}");
                            if let Some(places) = places(offset, layout) {
                                let inside = places.iter().all(|place| (0..64).contains(place));
                                assert_eq!(made, inside, "{layout} at {offset}");
                                let mut distinct = places.clone();
                                distinct.sort_unstable();
                                distinct.dedup();
                                assert!(!writable || distinct.len() == places.len(), "{layout}");
                            } else if made {
                                // More than any slice holds: only strides of zero stay inside.
                                assert!(rows <= 64 || row_stride == 0, "{layout} at {offset}");
                                assert!(cols <= 64 || col_stride == 0, "{layout} at {offset}");
                                assert!(!writable, "{layout} at {offset}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn strides_of_both_signs_reach_their_elements() {
        let data: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let view = MatRef::new(&data, 11, 3, 4, -4, -1).expect("a reversed matrix");
        for i in 0..3 {
            for j in 0..4 {
                assert_eq!(view.get(i, j), Some((11 - 4 * i - j) as f32));
            }
        }
        assert_eq!((view.get(3, 0), view.get(0, 4)), (None, None));
        assert_eq!(view.transposed().get(3, 2), Some(0.0));
        let constant = MatRef::new(&data, 5, usize::MAX, usize::MAX, 0, 0).expect("zero strides");
        assert_eq!(constant.get(usize::MAX - 1, usize::MAX - 1), Some(5.0));
        let alone = MatRef::new(&data, 5, 1, 1, isize::MIN, isize::MAX).expect("one element");
        assert_eq!(alone.get(0, 0), Some(5.0));
    }

    #[test]
    fn elements_without_a_size_have_any_index() {
        let data = [(); usize::MAX];
        let view = MatRef::new(&data, usize::MAX - 1, usize::MAX, 1, -1, 1).expect("within the slice");
        assert_eq!(view.get(usize::MAX - 1, 0), Some(()));
    }
}

//! Square blocks and four columns turned in registers: every element at its place, its bits unchanged, nothing else touched.

use super::guard::{Guarded, Plain};
use super::{Number, Random, lanes, nasty, selections};
use crate::simd::{Kernel, Selected, Simd, Vector};

/// One block.
struct Transpose<T> {
    source: *const T,
    source_stride: isize,
    target: *mut T,
    target_stride: usize,
}

impl<T: Number> Kernel for Transpose<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { source, source_stride, target, target_stride } = self;
        // SAFETY: the tests' blocks lie within their buffers, which are two.
        unsafe { T::V::<S>::transpose_ptr(s, source, source_stride, target, target_stride) };
    }
}

/// Between two pages, at this end: the first and the last element of both blocks are the first and the last of their memory.
fn check<T: Number + Plain>(
    selected: Selected,
    pages: &mut [Guarded<T>; 2],
    (source_stride, target_stride): (isize, usize),
    at_end: bool,
    values: &[T],
) {
    let lanes = lanes::<T>(selected);
    let reach = source_stride.unsigned_abs() * (lanes - 1);
    let [source, target] = pages;
    let room = |pages: &mut Guarded<T>, len: usize| -> *mut T {
        let room = if at_end { pages.at_end(len) } else { pages.at_start(len) };
        room.as_mut_ptr()
    };
    let (source_len, target_len) = (reach + lanes, target_stride * (lanes - 1) + lanes);
    let (source_room, target_room) = (room(source, source_len), room(target, target_len));
    // SAFETY: as long as was asked for above; nothing else uses them.
    let (source, target) = unsafe {
        (
            std::slice::from_raw_parts_mut(source_room, source_len),
            std::slice::from_raw_parts_mut(target_room, target_len),
        )
    };
    let canary = T::with_bits(u64::MAX - 7);
    target.fill(canary);
    source.iter_mut().enumerate().for_each(|(i, x)| *x = values[i % values.len()]);
    let first = if source_stride < 0 { reach } else { 0 };
    let before: Vec<u64> = source.iter().map(|x| x.bits()).collect();
    selected.run(Transpose {
        source: source[first..].as_ptr(),
        source_stride,
        target: target.as_mut_ptr(),
        target_stride,
    });
    let case = format!("{} strides {source_stride}, {target_stride}, at end: {at_end}", selected.isa());
    assert!(source.iter().map(|x| x.bits()).eq(before.iter().copied()), "{case}: changed its source");
    let mut gaps = vec![true; target_len];
    for i in 0..lanes {
        for j in 0..lanes {
            let from = (first as isize + i as isize * source_stride) as usize + j;
            let to = j * target_stride + i;
            gaps[to] = false;
            assert_eq!(target[to].bits(), before[from], "{case}: row {i}, lane {j}");
        }
    }
    for (at, x) in target.iter().enumerate() {
        assert!(!gaps[at] || x.bits() == canary.bits(), "{case}: wrote between its rows, at {at}");
    }
}

fn all<T: Number + Plain>() {
    let most = T::MOST_LANES;
    let mut random = Random(7);
    // All different, so that no element passes for another; then what a floating-point move could change.
    let distinct: Vec<T> = (0..8 * most * most).map(|_| T::with_bits(random.next())).collect();
    let nasty = nasty::<T>();
    let mut pages = [Guarded::<T>::new(8 * most * most), Guarded::<T>::new(8 * most * most)];
    for selected in selections() {
        let lanes = lanes::<T>(selected);
        let wide = lanes as isize;
        for source_stride in
            [wide, wide + 1, wide + 3, 2 * wide, 3 * wide - 1, 64, -wide, -wide - 5, 1, 0, -1]
        {
            for target_stride in [lanes, lanes + 1, lanes + 7, 2 * lanes, 4 * lanes, 4 * lanes + 3] {
                for at_end in [false, true] {
                    for values in [&distinct, &nasty] {
                        check(selected, &mut pages, (source_stride, target_stride), at_end, values);
                    }
                }
            }
        }
    }
}

/// Part of one block.
struct First<T> {
    source: *const T,
    used: (usize, usize),
    target: *mut T,
    target_stride: isize,
}

impl<T: Number> Kernel for First<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { source, used, target, target_stride } = self;
        // SAFETY: the test's block and what is written of it lie within its buffers, which are two.
        unsafe {
            let stride = T::V::<S>::LANES as isize;
            T::V::<S>::transpose_first_ptr(s, source, stride, used, target, target_stride);
        }
    }
}

/// Every part of a block, at either end of a page, downwards too: nothing is written beside it.
fn parts<T: Number + Plain>() {
    let most = T::MOST_LANES;
    let mut random = Random(11);
    let block: Vec<T> = (0..most * most).map(|_| T::with_bits(random.next())).collect();
    let canary = T::with_bits(u64::MAX - 7);
    let mut page = Guarded::<T>::new(3 * most * most);
    for selected in selections() {
        let lanes = lanes::<T>(selected);
        for (rows, columns) in (1..=lanes).flat_map(|rows| (1..=lanes).map(move |columns| (rows, columns))) {
            for (stride, down, at_end) in [rows, lanes + 3].into_iter().flat_map(|stride| {
                [(false, false), (false, true), (true, false), (true, true)]
                    .map(|(down, at_end)| (stride, down, at_end))
            }) {
                let len = stride * (columns - 1) + rows;
                let target = if at_end { page.at_end(len) } else { page.at_start(len) };
                target.fill(canary);
                let (first, step) =
                    if down { (len - rows, -(stride as isize)) } else { (0, stride as isize) };
                selected.run(First {
                    source: block.as_ptr(),
                    used: (rows, columns),
                    target: target.as_mut_ptr().wrapping_add(first),
                    target_stride: step,
                });
                let case = format!("{} {rows} x {columns}, {step}, at end: {at_end}", selected.isa());
                for (at, x) in target.iter().enumerate() {
                    let (column, row) = (at / stride, at % stride);
                    let column = if down { columns - 1 - column } else { column };
                    let expected = if row < rows { block[row * lanes + column] } else { canary };
                    assert_eq!(x.bits(), expected.bits(), "{case}: at {at}");
                }
            }
        }
    }
}

#[test]
fn parts_of_blocks_are_turned_f32() {
    parts::<f32>();
}

#[test]
fn parts_of_blocks_are_turned_f64() {
    parts::<f64>();
}

#[test]
fn blocks_are_turned_f32() {
    all::<f32>();
}

#[test]
fn blocks_are_turned_f64() {
    all::<f64>();
}

/// Four columns, written to `target` one after the other.
struct Columns<T> {
    source: *const T,
    stride: isize,
    target: *mut T,
}

impl<T: Number> Kernel for Columns<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the test's rows lie within their buffer, and there is room for four vectors.
        unsafe {
            for (j, vector) in
                T::V::<S>::load_columns_ptr(s, self.source, self.stride).into_iter().enumerate()
            {
                vector.store_ptr(self.target.add(j * T::V::<S>::LANES));
            }
        }
    }
}

/// Rows of four elements, the first and the last of which are the first and the last of their pages.
fn columns<T: Number + Plain>() {
    let most = T::MOST_LANES;
    let mut random = Random(8);
    let distinct: Vec<T> = (0..8 * most * most).map(|_| T::with_bits(random.next())).collect();
    let nasty = nasty::<T>();
    let mut pages = Guarded::<T>::new(8 * most * most);
    for selected in selections() {
        let lanes = lanes::<T>(selected);
        for stride in [4_isize, 5, 16, 61, 64, -4, -7, -64, 1, 0, -1] {
            let reach = stride.unsigned_abs() * (lanes - 1);
            let first = if stride < 0 { reach } else { 0 };
            for at_end in [false, true] {
                for values in [&distinct, &nasty] {
                    let source = if at_end { pages.at_end(reach + 4) } else { pages.at_start(reach + 4) };
                    source.iter_mut().enumerate().for_each(|(i, x)| *x = values[i % values.len()]);
                    let mut target = vec![T::zero(); 4 * lanes];
                    let from = source[first..].as_ptr();
                    selected.run(Columns { source: from, stride, target: target.as_mut_ptr() });
                    for (at, x) in target.iter().enumerate() {
                        let (j, i) = (at / lanes, at % lanes);
                        let expected = source[(first as isize + i as isize * stride) as usize + j];
                        assert_eq!(
                            x.bits(),
                            expected.bits(),
                            "{} stride {stride}, at end: {at_end}: row {i}, column {j}",
                            selected.isa()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn columns_are_turned_f32() {
    columns::<f32>();
}

#[test]
fn columns_are_turned_f64() {
    columns::<f64>();
}

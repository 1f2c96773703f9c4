//! Samples copied from one order of their axes to another.
//!
//! ```text
//! both orders count the same elements     source (3, 4, 5) at strides 20, 5, 1    target the same at strides 1, 15, 3
//! axes that stay neighbours become one    (3, 20): 20, 1  ->  1, 3
//! then two axes are left at the core:     the source's fastest and the target's fastest
//!     the same one                        rows are copied
//!     two                                 square blocks are transposed in registers
//! ```

use super::compiled::compiled;
use super::element::Element;
use crate::context::Context;
use crate::simd::{Kernel, Simd, Vector};

/// An axis: its length, and how far apart neighbours are in the source and in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    len: usize,
    from: usize,
    to: usize,
}

/// Of length 1.
const POINT: Axis = Axis { len: 1, from: 0, to: 0 };

/// How a sample gets from one order to another.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Elements of a sample.
    len: usize,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    /// Nothing moves.
    Same,
    /// For each of `outer`, each of `rows`: so many neighbours.
    Copied { outer: Vec<Axis>, rows: Axis, cols: usize },
    /// For each of `outer`: what is `across` in the source is `along` in the target. `across` has stride 1 in the source,
    /// `along` in the target.
    Turned { outer: Vec<Axis>, across: Axis, along: Axis },
    /// Axes that have no common parts: the place in the source of each element of the target.
    Table(Vec<usize>),
}

impl Order {
    /// From and to axes as (length, stride), whose elements are counted with the last axis the fastest.
    ///
    /// # Panics
    /// If they have not as many elements.
    pub(crate) fn new(from: &[(usize, usize)], to: &[(usize, usize)]) -> Self {
        let elements = |axes: &[(usize, usize)]| axes.iter().map(|axis| axis.0).product::<usize>();
        let len = elements(from);
        if len == 0 && elements(to) == 0 {
            return Self { len, way: Way::Same };
        }
        assert_eq!(len, elements(to), "a rearrangement keeps all elements");
        let way = match common(from, to) {
            Some(axes) => way(axes),
            None => Way::Table(table(from, to, len)),
        };
        Self { len, way }
    }

    /// Back again.
    pub(crate) fn reversed(&self) -> Self {
        let turned = |axis: &Axis| Axis { len: axis.len, from: axis.to, to: axis.from };
        let all = |axes: &[Axis]| axes.iter().map(turned).collect::<Vec<_>>();
        let way = match &self.way {
            Way::Same => Way::Same,
            Way::Copied { outer, rows, cols } => {
                Way::Copied { outer: all(outer), rows: turned(rows), cols: *cols }
            }
            Way::Turned { outer, across, along } => {
                Way::Turned { outer: all(outer), across: turned(along), along: turned(across) }
            }
            Way::Table(table) => {
                let mut back = vec![0; table.len()];
                table.iter().enumerate().for_each(|(to, &from)| back[from] = to);
                Way::Table(back)
            }
        };
        Self { len: self.len, way }
    }

    /// Elements of a sample.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies samples.
    ///
    /// # Panics
    /// If the slices have not one length.
    pub(crate) fn copy<T: Element>(&self, context: &Context, source: &[T], target: &mut [T]) {
        assert_eq!(source.len(), target.len());
        match &self.way {
            Way::Same => target.copy_from_slice(source),
            _ => T::run(context, Copy { order: self, source, target }),
        }
    }
}

/// The axes of both cut into parts that they have in common, `None` if there are no such parts.
fn common(from: &[(usize, usize)], to: &[(usize, usize)]) -> Option<Vec<Axis>> {
    let without_points = |axes: &[(usize, usize)]| -> Vec<(usize, usize)> {
        axes.iter().copied().filter(|axis| axis.0 != 1).collect()
    };
    let (mut from, mut to) = (without_points(from), without_points(to));
    let mut axes: Vec<Axis> = Vec::new();
    while let (Some(a), Some(b)) = (from.last_mut(), to.last_mut()) {
        let len = a.0.min(b.0);
        if !a.0.is_multiple_of(len) || !b.0.is_multiple_of(len) {
            return None;
        }
        axes.push(Axis { len, from: a.1, to: b.1 });
        let rest = |axis: (usize, usize)| (axis.0 / len, axis.1 * len);
        (*a, *b) = (rest(*a), rest(*b));
        if a.0 == 1 {
            from.pop();
        }
        if b.0 == 1 {
            to.pop();
        }
    }
    Some(axes)
}

/// The place in the source of each element of the target.
fn table(from: &[(usize, usize)], to: &[(usize, usize)], len: usize) -> Vec<usize> {
    let place = |axes: &[(usize, usize)], mut index: usize| {
        let mut at = 0;
        for &(len, stride) in axes.iter().rev() {
            at += index % len * stride;
            index /= len;
        }
        at
    };
    let mut table = vec![0; len];
    (0..len).for_each(|index| table[place(to, index)] = place(from, index));
    table
}

/// The way for these axes.
fn way(mut parts: Vec<Axis>) -> Way {
    // The target is written from its first element to its last.
    parts.sort_by_key(|axis| std::cmp::Reverse(axis.to));
    let mut axes: Vec<Axis> = Vec::new();
    for axis in parts {
        match axes.last_mut() {
            // Neighbours on both sides are one.
            Some(last) if last.from == axis.len * axis.from && last.to == axis.len * axis.to => {
                *last = Axis { len: last.len * axis.len, ..axis };
            }
            _ => axes.push(axis),
        }
    }
    let Some(along) = axes.pop() else { return Way::Same };
    if along.from == 1 {
        return match axes.pop() {
            Some(rows) => Way::Copied { outer: axes, rows, cols: along.len },
            None => Way::Same,
        };
    }
    match axes.iter().position(|axis| axis.from == 1) {
        Some(at) => {
            let across = axes.remove(at);
            Way::Turned { outer: axes, across, along }
        }
        None => Way::Turned { outer: axes, across: POINT, along },
    }
}

struct Copy<'a, T> {
    order: &'a Order,
    source: &'a [T],
    target: &'a mut [T],
}

impl<T: Element> Kernel for Copy<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.order.len;
        for (source, target) in self.source.chunks_exact(len).zip(self.target.chunks_exact_mut(len)) {
            match &self.order.way {
                Way::Same => target.copy_from_slice(source),
                Way::Copied { outer, rows, cols } => {
                    for index in 0..count(outer) {
                        let (from, to) = place(outer, index);
                        for row in 0..rows.len {
                            let (from, to) = (from + row * rows.from, to + row * rows.to);
                            copy_row(s, &source[from..from + cols], &mut target[to..to + cols]);
                        }
                    }
                }
                Way::Turned { outer, across, along } => {
                    for index in 0..count(outer) {
                        let (from, to) = place(outer, index);
                        turn(s, *across, *along, &source[from..], &mut target[to..]);
                    }
                }
                Way::Table(table) => {
                    for (to, &from) in target.iter_mut().zip(table) {
                        *to = source[from];
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn count(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.len).product()
}

/// The place in the source and in the target of number `index` along these axes.
#[inline(always)]
fn place(axes: &[Axis], mut index: usize) -> (usize, usize) {
    let (mut from, mut to) = (0, 0);
    for axis in axes.iter().rev() {
        from += index % axis.len * axis.from;
        to += index % axis.len * axis.to;
        index /= axis.len;
    }
    (from, to)
}

/// A call of the system's copy costs more than these vectors.
#[inline(always)]
fn copy_row<T: Element, S: Simd>(s: S, source: &[T], target: &mut [T]) {
    let lanes = T::V::<S>::LANES;
    for (x, y) in source.chunks(lanes).zip(target.chunks_mut(lanes)) {
        T::V::<S>::load_first(s, x).store_first(y);
    }
}

/// A transposition: `target[i across.to + j] = source[j along.from + i]`.
#[inline(always)]
fn turn<T: Element, S: Simd>(s: S, across: Axis, along: Axis, source: &[T], target: &mut [T]) {
    let lanes = T::V::<S>::LANES;
    if across.len < lanes || along.len < lanes {
        return match (across.len, along.len) {
            (_, 2) if across.to == 2 => interleave::<T, 2>(across.len, along.from, source, target),
            (_, 3) if across.to == 3 => interleave::<T, 3>(across.len, along.from, source, target),
            (_, 4) if across.to == 4 => interleave::<T, 4>(across.len, along.from, source, target),
            (2, _) if along.from == 2 => separate::<T, 2>(along.len, across.to, source, target),
            (3, _) if along.from == 3 => separate::<T, 3>(along.len, across.to, source, target),
            (4, _) if along.from == 4 => separate::<T, 4>(along.len, across.to, source, target),
            _ if along.len < across.len => {
                for i in 0..across.len {
                    for j in 0..along.len {
                        target[i * across.to + j] = source[j * along.from + i];
                    }
                }
            }
            _ => {
                for j in 0..along.len {
                    for i in 0..across.len {
                        target[i * across.to + j] = source[j * along.from + i];
                    }
                }
            }
        };
    }
    // The last block of a row or column of blocks begins earlier if need be: elements that are copied twice are the same.
    let mut i = 0;
    while i < across.len {
        let at = i.min(across.len - lanes);
        let mut j = 0;
        while j < along.len {
            let to = j.min(along.len - lanes);
            let (source, target) = (&source[to * along.from + at..], &mut target[at * across.to + to..]);
            T::V::<S>::transpose(s, source, along.from, target, across.to);
            j += lanes;
        }
        i += lanes;
    }
}

/// N rows of the source become the columns of a target of N columns.
#[inline(always)]
fn interleave<T: Element, const N: usize>(len: usize, stride: usize, source: &[T], target: &mut [T]) {
    let mut rows = [&source[..len]; N];
    for (j, row) in rows.iter_mut().enumerate() {
        *row = &source[j * stride..j * stride + len];
    }
    let (target, _) = target[..len * N].as_chunks_mut::<N>();
    for (i, target) in target.iter_mut().enumerate() {
        for (to, row) in target.iter_mut().zip(&rows) {
            *to = row[i];
        }
    }
}

/// N columns of the source become rows of the target.
#[inline(always)]
fn separate<T: Element, const N: usize>(len: usize, stride: usize, source: &[T], target: &mut [T]) {
    let (source, _) = source[..len * N].as_chunks::<N>();
    for i in 0..N {
        for (to, from) in target[i * stride..i * stride + len].iter_mut().zip(source) {
            *to = from[i];
        }
    }
}

compiled! {
    Copy<'a, Self>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    /// The place of element `index` of axes of these lengths and strides.
    fn naive(axes: &[(usize, usize)], mut index: usize) -> usize {
        let mut at = 0;
        for &(len, stride) in axes.iter().rev() {
            at += index % len * stride;
            index /= len;
        }
        at
    }

    /// Axes of these lengths, stored in this order: the last the fastest.
    fn stored(dims: &[usize], order: &[usize]) -> Vec<(usize, usize)> {
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for &dim in order.iter().rev() {
            strides[dim] = stride;
            stride *= dims[dim];
        }
        dims.iter().copied().zip(strides).collect()
    }

    fn check<T: Element>(from: &[(usize, usize)], to: &[(usize, usize)]) -> Order {
        let order = Order::new(from, to);
        let (len, samples) = (order.len(), 3);
        let source: Vec<T> = (0..samples * len).map(|i| T::from_f64(i as f64)).collect();
        let mut expected = source.clone();
        for at in 0..samples * len {
            let (sample, index) = (at / len * len, at % len);
            expected[sample + naive(to, index)] = source[sample + naive(from, index)];
        }
        for isa in Isa::available() {
            let context = Context::new(isa).unwrap();
            let mut target = vec![T::nan(); source.len()];
            order.copy(&context, &source, &mut target);
            assert_eq!(target, expected, "{isa} {from:?} to {to:?}");
            let mut back = vec![T::nan(); source.len()];
            order.reversed().copy(&context, &target, &mut back);
            assert_eq!(back, source, "{isa} {from:?} from {to:?}");
        }
        order
    }

    #[test]
    fn transpositions_of_any_size() {
        for rows in (1..20).chain([31, 32, 33, 49]) {
            for cols in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18, 33, 50] {
                let dims = [rows, cols];
                check::<f32>(&stored(&dims, &[0, 1]), &stored(&dims, &[1, 0]));
                check::<f64>(&stored(&dims, &[1, 0]), &stored(&dims, &[0, 1]));
            }
        }
    }

    #[test]
    fn every_order_of_four_axes() {
        let dims = [3, 2, 17, 5];
        let mut orders = Vec::new();
        for code in 0..256_usize {
            let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
            if (0..4).all(|axis| order.contains(&axis)) {
                orders.push(order);
            }
        }
        assert_eq!(orders.len(), 24);
        for from in &orders {
            for to in &orders {
                let order = check::<f32>(&stored(&dims, from), &stored(&dims, to));
                assert_eq!(from == to, matches!(order.way, Way::Same));
                assert!(!matches!(order.way, Way::Table(_)));
            }
        }
    }

    #[test]
    fn channels_go_last_and_back_as_one_transposition() {
        let dims = [3, 8, 8];
        let order = check::<f32>(&stored(&dims, &[0, 1, 2]), &stored(&dims, &[1, 2, 0]));
        let Way::Turned { outer, across, along } = &order.way else { panic!("{order:?}") };
        assert!(outer.is_empty());
        assert_eq!((across.len, along.len), (64, 3));
        // An axis that is cut into parts on one side alone, as after Flatten.
        let flat = [(192, 1)];
        assert!(matches!(check::<f32>(&flat, &stored(&[3, 64], &[1, 0])).way, Way::Turned { .. }));
        assert!(matches!(check::<f32>(&flat, &stored(&[6, 32], &[0, 1])).way, Way::Same));
    }

    #[test]
    fn axes_without_common_parts() {
        let (from, to) = (stored(&[2, 6], &[1, 0]), stored(&[3, 4], &[1, 0]));
        assert!(matches!(check::<f64>(&from, &to).way, Way::Table(_)));
        check::<f32>(&stored(&[2, 2, 9], &[1, 2, 0]), &stored(&[3, 12], &[1, 0]));
    }

    #[test]
    fn nothing_at_all() {
        let order = Order::new(&[(0, 3), (3, 1)], &[(0, 1), (5, 1)]);
        order.copy::<f32>(&Context::detect().unwrap(), &[], &mut []);
        check::<f32>(&[], &[(1, 1)]);
    }
}

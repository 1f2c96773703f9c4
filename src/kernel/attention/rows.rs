//! Rows of scores: softmax over the keys that a query may see, and its gradient.

use crate::kernel::element::Element;
use crate::kernel::softmax::{GradientRow, Here, Place, RowMap, SoftmaxRow};
use crate::simd::{Kernel, Simd, Vector};
use std::slice::{ChunksExact, ChunksExactMut};

/// Scores become weights, row by row.
pub(crate) struct Weights<'a, T> {
    pub rows: ChunksExactMut<'a, T>,
    /// The position of the first row's query.
    pub first: usize,
    /// Keys of the block: what stands behind them in a row is not touched.
    pub keys: usize,
    pub causal: bool,
    /// Above 0 for each key that may be looked at.
    pub mask: Option<&'a [T]>,
}

impl<T: Element> Kernel for Weights<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, first, keys, causal, mask } = self;
        for (row, query) in rows.zip(first..) {
            let (seen, hidden) = row[..keys].split_at_mut(visible(query, keys, causal));
            match mask {
                None => SoftmaxRow.row(s, &[], &mut Here(seen)),
                Some(mask) => {
                    let mask = &mask[..seen.len()];
                    SoftmaxRow.row(s, &[], &mut Chosen { row: seen, mask });
                }
            }
            hidden.fill(T::zero());
        }
    }
}

/// Gradients of the weights become those of the scores, row by row: p (d - sum d p).
pub(crate) struct Gradients<'a, T> {
    pub rows: ChunksExactMut<'a, T>,
    pub weights: ChunksExact<'a, T>,
    pub first: usize,
    pub keys: usize,
    pub causal: bool,
}

impl<T: Element> Kernel for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rows, weights, first, keys, causal } = self;
        for ((row, weights), query) in rows.zip(weights).zip(first..) {
            // A key that the mask leaves out has the weight 0, and so the gradient 0.
            let (seen, hidden) = row[..keys].split_at_mut(visible(query, keys, causal));
            GradientRow::<false>.row(s, &weights[..seen.len()], &mut Here(seen));
            hidden.fill(T::zero());
        }
    }
}

/// The first keys of a block that a query may see.
#[inline(always)]
fn visible(query: usize, keys: usize, causal: bool) -> usize {
    if causal { keys.min(query + 1) } else { keys }
}

/// A row in its own place, of which elements with a mask of 0 are left out, whatever they are.
struct Chosen<'a, T> {
    row: &'a mut [T],
    mask: &'a [T],
}

impl<T: Element> Chosen<'_, T> {
    #[inline(always)]
    fn choose<S: Simd>(s: S, x: T::V<S>, mask: T::V<S>) -> T::V<S> {
        let keep = mask.greater(T::V::<S>::splat(s, T::zero()));
        x.select(keep, T::V::<S>::splat(s, T::neg_infinity()))
    }
}

impl<T: Element> Place<T> for Chosen<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.row.len()
    }
    #[inline(always)]
    fn load<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        let end = at + T::V::<S>::LANES;
        Self::choose(s, T::V::<S>::load(s, &self.row[at..end]), T::V::<S>::load(s, &self.mask[at..end]))
    }
    #[inline(always)]
    fn load_rest<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        let (row, mask) = (&self.row[at..], &self.mask[at..]);
        Self::choose(s, T::V::<S>::load_first(s, row), T::V::<S>::load_first(s, mask))
    }
    #[inline(always)]
    fn output(&mut self) -> &mut [T] {
        self.row
    }
    #[inline(always)]
    fn clear(&mut self, value: T) {
        for (y, &mask) in self.row.iter_mut().zip(self.mask) {
            if mask <= T::zero() {
                *y = value;
            }
        }
    }
}

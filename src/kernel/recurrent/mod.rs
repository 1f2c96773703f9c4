//! What a recurrent layer does in a step besides its products: gates and states, forward and backward, on rows.
//!
//! ```text
//! a row of sums    what the products made of x and h, with the biases                  (GATES x hidden)
//! states           h, and for the LSTM c: a row each
//! a row kept       what the backward pass needs, h before the step last                (KEPT x hidden)
//!                  the backward pass writes the sums' gradients over the first of it   (SUMS x hidden)
//! ```
//!
//! A cell is one function of vectors for each direction; the loops over rows, with their tails and masks, are here once for all
//! cells. A row whose mask is 0 leaves the states as they are, puts out zeros, and its sums have no gradient.
//!
//! The sigmoid and the hyperbolic tangent are those of [`math`](super::math), every other operation is rounded once: the same
//! bits on every instruction set with a fused multiply-add.

mod cells;
#[cfg(test)]
mod tests;

use super::compiled::compiled;
use super::element::Element;
use crate::simd::{Kernel, Simd, Vector};
pub(crate) use cells::{Gru, Lstm, Rnn};

/// The most rows of `hidden` elements that a cell has of each.
pub(crate) const MOST_GATES: usize = 6;
pub(crate) const MOST_STATES: usize = 2;
pub(crate) const MOST_KEPT: usize = 7;

/// Vectors of some rows; those that a cell does not have are zero.
pub(crate) type Gates<T, S> = [<T as crate::simd::Scalar>::V<S>; MOST_GATES];
pub(crate) type States<T, S> = [<T as crate::simd::Scalar>::V<S>; MOST_STATES];
pub(crate) type Kept<T, S> = [<T as crate::simd::Scalar>::V<S>; MOST_KEPT];

/// A cell: what happens to a vector of units.
pub(crate) trait Cell<T: Element>: Copy {
    /// Rows of sums that a step takes.
    const GATES: usize;
    /// h, and others.
    const STATES: usize;
    /// Rows that are kept.
    const KEPT: usize;
    /// The first of them, which the gradients of the sums are written over.
    const SUMS: usize;

    /// The states after the step, of which h, the first, is the output; and what is kept. Mark it `#[inline(always)]`.
    fn forward<S: Simd>(self, s: S, gates: Gates<T, S>, states: States<T, S>) -> (States<T, S>, Kept<T, S>);

    /// The gradients by the states before the step, but for what comes through the product with h; and those by the sums, in
    /// the places of what was kept. Mark it `#[inline(always)]`.
    fn backward<S: Simd>(self, s: S, kept: Kept<T, S>, d_states: States<T, S>) -> (States<T, S>, Kept<T, S>);
}

/// Rows that begin every `stride` elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<D> {
    pub data: D,
    pub stride: usize,
}

impl<'a, T> Rows<&'a [T]> {
    #[inline(always)]
    fn row(&self, row: usize, len: usize) -> &'a [T] {
        &self.data[row * self.stride..][..len]
    }
}

impl<T> Rows<&mut [T]> {
    #[inline(always)]
    fn row_mut(&mut self, row: usize, len: usize) -> &mut [T] {
        &mut self.data[row * self.stride..][..len]
    }
}

/// True for a row that the mask leaves out: what is 0 or below.
#[inline(always)]
fn leaves_out<T: Element>(mask: Option<Rows<&[T]>>, row: usize) -> bool {
    mask.is_some_and(|mask| mask.data[row * mask.stride] <= T::zero())
}

/// Vectors `col` of the first `count` rows of `hidden` elements.
#[inline(always)]
fn load<T: Element, S: Simd, const WHOLE: bool, const N: usize>(
    s: S,
    rows: &[T],
    count: usize,
    hidden: usize,
    col: usize,
) -> [T::V<S>; N] {
    let mut vectors = [T::V::<S>::splat(s, T::zero()); N];
    let mut k = 0;
    while k < count {
        let part = &rows[k * hidden..(k + 1) * hidden][col..];
        vectors[k] = if WHOLE { T::V::<S>::load(s, part) } else { T::V::<S>::load_first(s, part) };
        k += 1;
    }
    vectors
}

#[inline(always)]
fn store<T: Element, S: Simd, const WHOLE: bool, const N: usize>(
    vectors: [T::V<S>; N],
    rows: &mut [T],
    count: usize,
    hidden: usize,
    col: usize,
) {
    let mut k = 0;
    while k < count {
        let part = &mut rows[k * hidden..(k + 1) * hidden][col..];
        if WHOLE {
            vectors[k].store(part);
        } else {
            vectors[k].store_first(part);
        }
        k += 1;
    }
}

/// A step forward.
pub(crate) struct Forward<'a, T, C> {
    pub cell: C,
    pub hidden: usize,
    pub gates: Rows<&'a [T]>,
    /// Before the step, and then after it: the states' rows side by side.
    pub states: &'a mut [T],
    /// What is kept, if a backward pass follows.
    pub kept: Option<Rows<&'a mut [T]>>,
    /// Where h goes besides.
    pub output: Option<Rows<&'a mut [T]>>,
    pub mask: Option<Rows<&'a [T]>>,
}

impl<T: Element, C: Cell<T>> Kernel for Forward<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (hidden, lanes) = (self.hidden, T::V::<S>::LANES);
        let whole = hidden - hidden % lanes;
        for (row, states) in self.states.chunks_exact_mut(C::STATES * hidden).enumerate() {
            let mut kept = self.kept.as_mut().map(|rows| rows.row_mut(row, C::KEPT * hidden));
            let mut output = self.output.as_mut().map(|rows| rows.row_mut(row, hidden));
            if leaves_out(self.mask, row) {
                // What is kept is multiplied by the gradients of the sums, which are 0.
                kept.into_iter().chain(output).for_each(|part| part.fill(T::zero()));
                continue;
            }
            let gates = self.gates.row(row, C::GATES * hidden);
            for col in (0..whole).step_by(lanes) {
                let (kept, output) = (kept.as_deref_mut(), output.as_deref_mut());
                forward::<T, S, C, true>(s, self.cell, hidden, col, gates, states, kept, output);
            }
            if whole < hidden {
                forward::<T, S, C, false>(s, self.cell, hidden, whole, gates, states, kept, output);
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the four arrays of a row, and where in them")]
fn forward<T: Element, S: Simd, C: Cell<T>, const WHOLE: bool>(
    s: S,
    cell: C,
    hidden: usize,
    col: usize,
    gates: &[T],
    states: &mut [T],
    kept: Option<&mut [T]>,
    output: Option<&mut [T]>,
) {
    let sums = load::<T, S, WHOLE, MOST_GATES>(s, gates, C::GATES, hidden, col);
    let before = load::<T, S, WHOLE, MOST_STATES>(s, states, C::STATES, hidden, col);
    let (after, keep) = cell.forward(s, sums, before);
    store::<T, S, WHOLE, MOST_STATES>(after, states, C::STATES, hidden, col);
    if let Some(kept) = kept {
        store::<T, S, WHOLE, MOST_KEPT>(keep, kept, C::KEPT, hidden, col);
    }
    if let Some(output) = output {
        store::<T, S, WHOLE, MOST_STATES>(after, output, 1, hidden, col);
    }
}

/// A step backward.
pub(crate) struct Backward<'a, T, C> {
    pub cell: C,
    pub hidden: usize,
    /// What the step forward kept; the gradients by the sums are written over the first of it.
    pub kept: Rows<&'a mut [T]>,
    /// By the states after the step, and then by those before it, but for what comes through the product with h.
    pub d_states: &'a mut [T],
    /// What is added to the gradient by h first.
    pub d_output: Option<Rows<&'a [T]>>,
    pub mask: Option<Rows<&'a [T]>>,
}

impl<T: Element, C: Cell<T>> Kernel for Backward<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (hidden, lanes) = (self.hidden, T::V::<S>::LANES);
        let whole = hidden - hidden % lanes;
        for (row, d_states) in self.d_states.chunks_exact_mut(C::STATES * hidden).enumerate() {
            // Then what was kept is zeros already, and stays so.
            if leaves_out(self.mask, row) {
                continue;
            }
            let kept = self.kept.row_mut(row, C::KEPT * hidden);
            let d_output = self.d_output.map(|rows| rows.row(row, hidden));
            for col in (0..whole).step_by(lanes) {
                backward::<T, S, C, true>(s, self.cell, hidden, col, kept, d_states, d_output);
            }
            if whole < hidden {
                backward::<T, S, C, false>(s, self.cell, hidden, whole, kept, d_states, d_output);
            }
        }
    }
}

#[inline(always)]
fn backward<T: Element, S: Simd, C: Cell<T>, const WHOLE: bool>(
    s: S,
    cell: C,
    hidden: usize,
    col: usize,
    kept: &mut [T],
    d_states: &mut [T],
    d_output: Option<&[T]>,
) {
    let saved = load::<T, S, WHOLE, MOST_KEPT>(s, kept, C::KEPT, hidden, col);
    let mut d_after = load::<T, S, WHOLE, MOST_STATES>(s, d_states, C::STATES, hidden, col);
    if let Some(d_output) = d_output {
        d_after[0] = d_after[0] + load::<T, S, WHOLE, 1>(s, d_output, 1, hidden, col)[0];
    }
    let (d_before, d_sums) = cell.backward(s, saved, d_after);
    store::<T, S, WHOLE, MOST_STATES>(d_before, d_states, C::STATES, hidden, col);
    store::<T, S, WHOLE, MOST_KEPT>(d_sums, kept, C::SUMS, hidden, col);
}

/// Which steps of a sequence count: 0 where all features of a step equal `value`, else 1.
pub(crate) struct Steps<'a, T> {
    pub value: T,
    pub input: &'a [T],
    pub mask: &'a mut [T],
}

impl<T: Element> Kernel for Steps<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let features = self.input.len() / self.mask.len().max(1);
        for (mask, step) in self.mask.iter_mut().zip(self.input.chunks_exact(features.max(1))) {
            let differs = step.iter().any(|&x| x != self.value);
            *mask = if differs { T::one() } else { T::zero() };
        }
    }
}

/// Steps that count, and zeros for the others.
pub(crate) struct Masked<'a, T> {
    pub mask: &'a [T],
    pub input: &'a [T],
    pub output: &'a mut [T],
}

impl<T: Element> Kernel for Masked<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let features = (self.input.len() / self.mask.len().max(1)).max(1);
        let steps = self.input.chunks_exact(features).zip(self.output.chunks_exact_mut(features));
        for ((input, output), &mask) in steps.zip(self.mask) {
            if mask <= T::zero() {
                output.fill(T::zero());
            } else {
                output.copy_from_slice(input);
            }
        }
    }
}

compiled! {
    Forward<'a, Self, Rnn>,
    Forward<'a, Self, Lstm>,
    Forward<'a, Self, Gru>,
    Backward<'a, Self, Rnn>,
    Backward<'a, Self, Lstm>,
    Backward<'a, Self, Gru>,
    Steps<'a, Self>,
    Masked<'a, Self>,
}

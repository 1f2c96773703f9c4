//! The loops with tails, once: every elementwise kernel and every sum runs through this file.
//!
//! An operation is a type with an `#[inline(always)]` method rather than a closure: a closure that the compiler
//! chooses not to inline would be compiled without the instruction set's features.

use super::element::Element;
use crate::simd::{Mask, Scalar, Simd, Vector};

/// One vector in, one out.
pub(crate) trait Unary<T: Element>: Copy {
    /// The operation. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S>;
}

/// Two vectors in, one out.
pub(crate) trait Binary<T: Element>: Copy {
    /// The operation. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(self, s: S, x: T::V<S>, y: T::V<S>) -> T::V<S>;
}

/// x itself.
#[derive(Clone, Copy)]
pub(crate) struct Same;

impl<T: Element> Unary<T> for Same {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>) -> T::V<S> {
        x
    }
}

/// `output[i] = operation(input[i])`. The slices have one length.
#[inline(always)]
pub(crate) fn map<T: Element, S: Simd, O: Unary<T>>(s: S, operation: O, input: &[T], output: &mut [T]) {
    debug_assert_eq!(input.len(), output.len());
    let lanes = T::V::<S>::LANES;
    let (inputs, input_tail) = input.split_at(input.len() - input.len() % lanes);
    let (outputs, output_tail) = output.split_at_mut(inputs.len());
    for (x, y) in inputs.chunks_exact(lanes).zip(outputs.chunks_exact_mut(lanes)) {
        operation.apply(s, T::V::<S>::load(s, x)).store(y);
    }
    if !input_tail.is_empty() {
        operation.apply(s, T::V::<S>::load_first(s, input_tail)).store_first(output_tail);
    }
}

/// `data[i] = operation(data[i])`.
#[inline(always)]
pub(crate) fn map_in_place<T: Element, S: Simd, O: Unary<T>>(s: S, operation: O, data: &mut [T]) {
    let lanes = T::V::<S>::LANES;
    let mut chunks = data.chunks_exact_mut(lanes);
    for x in &mut chunks {
        operation.apply(s, T::V::<S>::load(s, x)).store(x);
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        operation.apply(s, T::V::<S>::load_first(s, tail)).store_first(tail);
    }
}

/// `output[i] = operation(a[i], b[i])`. The slices have one length.
#[inline(always)]
pub(crate) fn zip<T: Element, S: Simd, O: Binary<T>>(s: S, operation: O, a: &[T], b: &[T], output: &mut [T]) {
    debug_assert!(a.len() == output.len() && b.len() == output.len());
    let lanes = T::V::<S>::LANES;
    let whole = output.len() - output.len() % lanes;
    let ((a, a_tail), (b, b_tail)) = (a.split_at(whole), b.split_at(whole));
    let (outputs, output_tail) = output.split_at_mut(whole);
    for ((x, y), z) in a.chunks_exact(lanes).zip(b.chunks_exact(lanes)).zip(outputs.chunks_exact_mut(lanes)) {
        operation.apply(s, T::V::<S>::load(s, x), T::V::<S>::load(s, y)).store(z);
    }
    if !output_tail.is_empty() {
        let (x, y) = (T::V::<S>::load_first(s, a_tail), T::V::<S>::load_first(s, b_tail));
        operation.apply(s, x, y).store_first(output_tail);
    }
}

/// `target[i] = operation(target[i], other[i])`. The slices have one length.
#[inline(always)]
pub(crate) fn zip_in_place<T: Element, S: Simd, O: Binary<T>>(
    s: S,
    operation: O,
    target: &mut [T],
    other: &[T],
) {
    debug_assert_eq!(target.len(), other.len());
    let lanes = T::V::<S>::LANES;
    let (others, other_tail) = other.split_at(other.len() - other.len() % lanes);
    let (targets, target_tail) = target.split_at_mut(others.len());
    for (x, y) in targets.chunks_exact_mut(lanes).zip(others.chunks_exact(lanes)) {
        operation.apply(s, T::V::<S>::load(s, x), T::V::<S>::load(s, y)).store(x);
    }
    if !target_tail.is_empty() {
        let (x, y) = (T::V::<S>::load_first(s, target_tail), T::V::<S>::load_first(s, other_tail));
        operation.apply(s, x, y).store_first(target_tail);
    }
}

/// The sum of all lanes by a fixed tree: lane i with lane i + half, until one is left.
#[inline(always)]
pub(crate) fn tree_sum<T: Element, S: Simd>(v: T::V<S>) -> T {
    let mut lanes = [T::zero(); 16];
    v.store_first(&mut lanes);
    let mut half = T::V::<S>::LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// True where the vectors are shorter than the canonical one, as on the portable tier: sums go through [`Lanes`] then.
#[inline(always)]
pub(crate) fn is_short<T: Element, S: Simd>() -> bool {
    T::V::<S>::LANES < Lanes::<T, 1>::COUNT
}

/// The partial sums in the lanes of V canonical vectors, for vectors that are shorter: with their own lanes alone a sum
/// would be as many times longer a chain, and another order.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<T, const V: usize>([[T; 16]; V]);

impl<T: Element, const V: usize> Lanes<T, V> {
    /// Lanes of the canonical vector.
    pub(crate) const COUNT: usize = 64 / size_of::<T>();

    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([[T::zero(); 16]; V])
    }

    /// Adds elements of which the first has the number `at`: vectors take turns.
    #[inline(always)]
    pub(crate) fn add<S: Simd>(&mut self, at: usize, values: T::V<S>, count: usize) {
        self.add_to::<S>(at / Self::COUNT % V, at, values, count);
    }

    /// Adds the first `count` lanes of `values` to those of one vector from `at` on.
    #[inline(always)]
    pub(crate) fn add_to<S: Simd>(&mut self, vector: usize, at: usize, values: T::V<S>, count: usize) {
        let mut lanes = [T::zero(); 16];
        values.store_first(&mut lanes[..count]);
        let sums = &mut self.0[vector][at % Self::COUNT..];
        for (sum, &value) in sums.iter_mut().zip(&lanes[..count]) {
            *sum += value;
        }
    }

    /// All of them: vectors pairwise, then [`tree_sum`]'s tree.
    #[inline(always)]
    pub(crate) fn sum(self) -> T {
        let Self(mut sums) = self;
        let mut count = V;
        while count > 1 {
            count /= 2;
            for v in 0..count {
                let (left, right) = (sums[2 * v], sums[2 * v + 1]);
                for ((sum, left), right) in sums[v].iter_mut().zip(left).zip(right) {
                    *sum = left + right;
                }
            }
        }
        let mut half = Self::COUNT / 2;
        while half > 0 {
            for i in 0..half {
                sums[0][i] += sums[0][i + half];
            }
            half /= 2;
        }
        sums[0][0]
    }
}

/// `sum of operation(x[i])`, in an order that depends on the length alone: four interleaved vectors of partial
/// sums, added pairwise, then [`tree_sum`]. Lanes past the end count as +0 *after* the operation.
#[inline(always)]
pub(crate) fn sum_by<T: Element, S: Simd, O: Unary<T>>(s: S, operation: O, x: &[T]) -> T {
    let lanes = T::V::<S>::LANES;
    if is_short::<T, S>() {
        let mut sums = Lanes::<T, 4>::new();
        for (i, part) in x.chunks(lanes).enumerate() {
            sums.add::<S>(i * lanes, operation.apply(s, T::V::<S>::load_first(s, part)), part.len());
        }
        return sums.sum();
    }
    let mut sums = [T::V::<S>::splat(s, T::zero()); 4];
    let mut blocks = x.chunks_exact(4 * lanes);
    for block in &mut blocks {
        for (sum, part) in sums.iter_mut().zip(block.chunks_exact(lanes)) {
            *sum = *sum + operation.apply(s, T::V::<S>::load(s, part));
        }
    }
    for (sum, part) in sums.iter_mut().zip(blocks.remainder().chunks(lanes)) {
        let mut values = [T::zero(); 16];
        operation.apply(s, T::V::<S>::load_first(s, part)).store_first(&mut values[..part.len()]);
        *sum = *sum + T::V::<S>::load(s, &values);
    }
    tree_sum::<T, S>((sums[0] + sums[1]) + (sums[2] + sums[3]))
}

/// The largest of all lanes, none of which is NaN, by the tree of [`tree_sum`].
#[inline(always)]
pub(crate) fn tree_max<T: Element, S: Simd>(v: T::V<S>) -> T {
    let mut lanes = [T::zero(); 16];
    v.store_first(&mut lanes);
    let mut half = T::V::<S>::LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = if lanes[i] > lanes[i + half] { lanes[i] } else { lanes[i + half] };
        }
        half /= 2;
    }
    lanes[0]
}

/// One truth value per lane of the canonical vector of `T`.
pub(crate) type MaskOf<T, S> = <<T as Scalar>::V<S> as Vector<T, S>>::Mask;

/// 0, 1, 2, ...: each lane's own number.
#[inline(always)]
pub(crate) fn lane_numbers<T: Element, S: Simd>(s: S) -> T::V<S> {
    let mut numbers = [T::zero(); 16];
    for i in 1..16 {
        numbers[i] = numbers[i - 1] + T::one();
    }
    T::V::<S>::load(s, &numbers)
}

/// True in the first `count` lanes; `count` is at most 16.
#[inline(always)]
pub(crate) fn first_lanes<T: Element, S: Simd>(s: S, count: usize) -> MaskOf<T, S> {
    let count = T::V::<S>::splat(s, T::from_f64(count as f64));
    count.greater(lane_numbers::<T, S>(s))
}

/// N arrays of state and a gradient in, the state out.
pub(crate) trait Update<T: Element, const N: usize>: Copy {
    /// The operation. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(self, s: S, state: [T::V<S>; N], gradient: T::V<S>) -> [T::V<S>; N];

    /// `finite`, and NaN in the lanes where the gradient or the new state is not finite: zero times a finite number is a
    /// zero, and NaN otherwise, which stays in the sum. An operation may leave out what others imply.
    #[inline(always)]
    fn watch<S: Simd>(
        self,
        finite: T::V<S>,
        zero: T::V<S>,
        gradient: T::V<S>,
        state: [T::V<S>; N],
    ) -> T::V<S> {
        let mut finite = gradient.mul_add(zero, finite);
        let mut k = 0;
        while k < N {
            finite = state[k].mul_add(zero, finite);
            k += 1;
        }
        finite
    }
}

/// `state[..][i] = operation(state[..][i], gradients[i])`. The slices have one length.
/// True if every gradient, and everything that was written, is finite.
#[inline(always)]
pub(crate) fn update<T: Element, S: Simd, O: Update<T, N>, const N: usize>(
    s: S,
    operation: O,
    mut state: [&mut [T]; N],
    gradients: &[T],
) -> bool {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    // Two chains: in one, the latencies of what is watched would add up to more than the rest takes.
    let (mut even, mut odd) = (zero, zero);
    let whole = gradients.len() - gradients.len() % lanes;
    let mut at = 0;
    while whole - at >= 2 * lanes {
        even = update_at(s, operation, &mut state, gradients, at, even);
        odd = update_at(s, operation, &mut state, gradients, at + lanes, odd);
        at += 2 * lanes;
    }
    if at < whole {
        even = update_at(s, operation, &mut state, gradients, at, even);
    }
    if whole < gradients.len() {
        let gradient = T::V::<S>::load_first(s, &gradients[whole..]);
        let mut values = [zero; N];
        for (value, array) in values.iter_mut().zip(&state) {
            *value = T::V::<S>::load_first(s, &array[whole..]);
        }
        values = operation.apply(s, values, gradient);
        for (value, array) in values.into_iter().zip(state) {
            value.store_first(&mut array[whole..]);
        }
        // What the operation makes of the lanes past the end says nothing.
        let inside = first_lanes::<T, S>(s, gradients.len() - whole);
        for value in &mut values {
            *value = value.select(inside, zero);
        }
        odd = operation.watch(odd, zero, gradient, values);
    }
    !(even + odd).is_nan().any()
}

/// One whole vector from element `at` on; `finite` as [`Update::watch`] leaves it.
#[inline(always)]
fn update_at<T: Element, S: Simd, O: Update<T, N>, const N: usize>(
    s: S,
    operation: O,
    state: &mut [&mut [T]; N],
    gradients: &[T],
    at: usize,
    finite: T::V<S>,
) -> T::V<S> {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    let gradient = T::V::<S>::load(s, &gradients[at..at + lanes]);
    let mut values = [zero; N];
    let mut k = 0;
    while k < N {
        values[k] = T::V::<S>::load(s, &state[k][at..at + lanes]);
        k += 1;
    }
    values = operation.apply(s, values, gradient);
    k = 0;
    while k < N {
        values[k].store(&mut state[k][at..at + lanes]);
        k += 1;
    }
    operation.watch(finite, zero, gradient, values)
}

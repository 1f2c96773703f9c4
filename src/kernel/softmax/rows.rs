//! One row: its maximum, its sums, and what is made of them.

use super::super::element::Element;
use super::super::loops::{Binary, Lanes, MaskOf, Unary, first_lanes, is_short, tree_max, tree_sum};
use super::super::math::Elementary;
use crate::simd::{Simd, Vector};

/// Elements that are summed before they are added to the rest.
pub(super) const CHUNK: usize = 1024;

/// Where a row is read from and where its results go.
pub(crate) trait Place<T: Element> {
    /// Elements of the row.
    fn len(&self) -> usize;
    /// The vector at `at`. Mark it `#[inline(always)]`.
    fn load<S: Simd>(&self, s: S, at: usize) -> T::V<S>;
    /// What is left of the row from `at` on. Mark it `#[inline(always)]`.
    fn load_rest<S: Simd>(&self, s: S, at: usize) -> T::V<S>;
    /// The results. Nothing if the row is only read. Mark it `#[inline(always)]`.
    fn output(&mut self) -> &mut [T];
    /// Gives the elements that are left out `value`. Mark it `#[inline(always)]`.
    fn clear(&mut self, _value: T) {}

    /// Writes a vector at `at`.
    #[inline(always)]
    fn store<S: Simd>(&mut self, at: usize, value: T::V<S>) {
        value.store(&mut self.output()[at..at + T::V::<S>::LANES]);
    }
    /// Writes what is left of the row from `at` on.
    #[inline(always)]
    fn store_rest<S: Simd>(&mut self, at: usize, value: T::V<S>) {
        value.store_first(&mut self.output()[at..]);
    }
}

/// Two slices of one length.
pub(crate) struct Apart<'a, T> {
    pub input: &'a [T],
    pub output: &'a mut [T],
}

impl<T: Element> Place<T> for Apart<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.input.len()
    }
    #[inline(always)]
    fn load<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        T::V::<S>::load(s, &self.input[at..at + T::V::<S>::LANES])
    }
    #[inline(always)]
    fn load_rest<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        T::V::<S>::load_first(s, &self.input[at..])
    }
    #[inline(always)]
    fn output(&mut self) -> &mut [T] {
        self.output
    }
}

/// The results take the input's place.
pub(crate) struct Here<'a, T>(pub &'a mut [T]);

impl<T: Element> Place<T> for Here<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }
    #[inline(always)]
    fn load<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        T::V::<S>::load(s, &self.0[at..at + T::V::<S>::LANES])
    }
    #[inline(always)]
    fn load_rest<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        T::V::<S>::load_first(s, &self.0[at..])
    }
    #[inline(always)]
    fn output(&mut self) -> &mut [T] {
        self.0
    }
}

/// A row that is only read.
pub(crate) struct Nowhere<'a, T>(pub &'a [T]);

impl<T: Element> Place<T> for Nowhere<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }
    #[inline(always)]
    fn load<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        T::V::<S>::load(s, &self.0[at..at + T::V::<S>::LANES])
    }
    #[inline(always)]
    fn load_rest<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        T::V::<S>::load_first(s, &self.0[at..])
    }
    #[inline(always)]
    fn output(&mut self) -> &mut [T] {
        &mut []
    }
}

/// A row of which some elements are left out: they are read as `filler`, whatever they are.
pub(super) struct Masked<'a, T, P> {
    pub place: P,
    pub keep: &'a [bool],
    pub filler: T,
}

impl<T: Element, P: Place<T>> Place<T> for Masked<'_, T, P> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.place.len()
    }
    #[inline(always)]
    fn load<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        let keep = kept::<T, S>(s, &self.keep[at..at + T::V::<S>::LANES]);
        self.place.load(s, at).select(keep, T::V::<S>::splat(s, self.filler))
    }
    #[inline(always)]
    fn load_rest<S: Simd>(&self, s: S, at: usize) -> T::V<S> {
        let keep = kept::<T, S>(s, &self.keep[at..]);
        self.place.load_rest(s, at).select(keep, T::V::<S>::splat(s, self.filler))
    }
    #[inline(always)]
    fn output(&mut self) -> &mut [T] {
        self.place.output()
    }
    #[inline(always)]
    fn clear(&mut self, value: T) {
        for (y, keep) in self.place.output().iter_mut().zip(self.keep) {
            if !keep {
                *y = value;
            }
        }
    }
}

/// True where `keep` is; false past its end.
#[inline(always)]
fn kept<T: Element, S: Simd>(s: S, keep: &[bool]) -> MaskOf<T, S> {
    let mut ones = [T::zero(); 16];
    for (one, &keep) in ones.iter_mut().zip(keep) {
        *one = if keep { T::one() } else { T::zero() };
    }
    T::V::<S>::load(s, &ones).greater(T::V::<S>::splat(s, T::zero()))
}

/// Every element of the row through `operation`.
#[inline(always)]
pub(super) fn map<T: Element, S: Simd, O: Unary<T>>(s: S, operation: O, place: &mut impl Place<T>) {
    let lanes = T::V::<S>::LANES;
    let len = place.len();
    let mut at = 0;
    while at + lanes <= len {
        let x = place.load(s, at);
        place.store::<S>(at, operation.apply(s, x));
        at += lanes;
    }
    if at < len {
        let x = place.load_rest(s, at);
        place.store_rest::<S>(at, operation.apply(s, x));
    }
}

/// `output[i] = operation(input[i], other[i])`.
#[inline(always)]
pub(super) fn zip<T: Element, S: Simd, O: Binary<T>>(
    s: S,
    operation: O,
    place: &mut impl Place<T>,
    other: &[T],
) {
    let lanes = T::V::<S>::LANES;
    let len = place.len();
    let mut at = 0;
    while at + lanes <= len {
        let (x, y) = (place.load(s, at), T::V::<S>::load(s, &other[at..at + lanes]));
        place.store::<S>(at, operation.apply(s, x, y));
        at += lanes;
    }
    if at < len {
        let (x, y) = (place.load_rest(s, at), T::V::<S>::load_first(s, &other[at..]));
        place.store_rest::<S>(at, operation.apply(s, x, y));
    }
}

/// The largest element; any element at all if one is NaN; -infinity if there is none.
#[inline(always)]
pub(crate) fn row_max<T: Element, S: Simd>(s: S, row: &impl Place<T>) -> T {
    let lanes = T::V::<S>::LANES;
    let lowest = T::V::<S>::splat(s, T::neg_infinity());
    // Four chains hide the latency. The order matters to nothing but the sign of zero, which nobody sees.
    let mut max = [lowest; 4];
    let len = row.len();
    let mut at = 0;
    while at + 4 * lanes <= len {
        for (i, max) in max.iter_mut().enumerate() {
            *max = row.load(s, at + i * lanes).max_or_other(*max);
        }
        at += 4 * lanes;
    }
    while at + lanes <= len {
        max[0] = row.load(s, at).max_or_other(max[0]);
        at += lanes;
    }
    if at < len {
        let x = row.load_rest(s, at).select(first_lanes::<T, S>(s, len - at), lowest);
        max[0] = x.max_or_other(max[0]);
    }
    tree_max::<T, S>(max[0].max_or_other(max[1]).max_or_other(max[2].max_or_other(max[3])))
}

/// `output[i] = e^(input[i] - max)`, if they are to be stored; returns the sum. NaN if an element is. The sum has the
/// same bits wherever the terms go.
#[inline(always)]
pub(crate) fn exp_shifted_sum<T: Element, S: Simd, const STORE: bool>(
    s: S,
    max: T,
    place: &mut impl Place<T>,
) -> T {
    let lanes = T::V::<S>::LANES;
    let max = T::V::<S>::splat(s, max);
    let zero = T::V::<S>::splat(s, T::zero());
    let len = place.len();
    let mut total = T::zero();
    let mut at = 0;
    while at < len {
        let end = len.min(at + CHUNK);
        // One chain of additions is enough: it is far shorter than the exponential.
        let (mut sum, mut short) = (zero, Lanes::<T, 1>::new());
        while at + lanes <= end {
            let e = <T as Elementary>::exp(s, place.load(s, at) - max);
            if STORE {
                place.store::<S>(at, e);
            }
            if is_short::<T, S>() {
                short.add::<S>(at, e, lanes);
            } else {
                sum = sum + e;
            }
            at += lanes;
        }
        if at < end {
            let e = <T as Elementary>::exp(s, place.load_rest(s, at) - max);
            if STORE {
                place.store_rest::<S>(at, e);
            }
            if is_short::<T, S>() {
                short.add::<S>(at, e, end - at);
            } else {
                sum = sum + e.select(first_lanes::<T, S>(s, end - at), zero);
            }
            at = end;
        }
        total += if is_short::<T, S>() { short.sum() } else { tree_sum::<T, S>(sum) };
    }
    total
}

/// The sum of the row's `a[i] b[i]`, or of `a[i]` alone: in chunks of four chains; what is left over goes to the first,
/// then the tree.
#[inline(always)]
pub(super) fn row_dot<T: Element, S: Simd>(s: S, a: &impl Place<T>, b: Option<&[T]>) -> T {
    let lanes = T::V::<S>::LANES;
    let (zero, one) = (T::V::<S>::splat(s, T::zero()), T::V::<S>::splat(s, T::one()));
    let len = a.len();
    let mut total = T::zero();
    let mut at = 0;
    while at < len {
        let end = len.min(at + CHUNK);
        if is_short::<T, S>() {
            let mut sums = Lanes::<T, 4>::new();
            let whole = end - (end - at) % (4 * Lanes::<T, 4>::COUNT);
            while at < end {
                let count = lanes.min(end - at);
                let (a, b) = if count == lanes {
                    (a.load(s, at), b.map_or(one, |b| T::V::<S>::load(s, &b[at..at + lanes])))
                } else {
                    (a.load_rest(s, at), b.map_or(one, |b| T::V::<S>::load_first(s, &b[at..])))
                };
                let vector = if at < whole { at / Lanes::<T, 4>::COUNT % 4 } else { 0 };
                sums.add_to::<S>(vector, at, a * b, count);
                at += count;
            }
            total += sums.sum();
            continue;
        }
        let mut sums = [zero; 4];
        while at + 4 * lanes <= end {
            for (i, sum) in sums.iter_mut().enumerate() {
                let at = at + i * lanes;
                let b = b.map_or(one, |b| T::V::<S>::load(s, &b[at..at + lanes]));
                *sum = a.load(s, at).mul_add(b, *sum);
            }
            at += 4 * lanes;
        }
        while at + lanes <= end {
            let b = b.map_or(one, |b| T::V::<S>::load(s, &b[at..at + lanes]));
            sums[0] = a.load(s, at).mul_add(b, sums[0]);
            at += lanes;
        }
        if at < end {
            // Past the end a is +0, and so are b's lanes, or one.
            let b = b.map_or(one, |b| T::V::<S>::load_first(s, &b[at..]));
            let a = a.load_rest(s, at).select(first_lanes::<T, S>(s, end - at), zero);
            sums[0] = a.mul_add(b, sums[0]);
            at = end;
        }
        total += tree_sum::<T, S>((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
    total
}

/// What a row is shifted by before its exponentials are summed and the logarithm taken: the maximum, or nothing where
/// infinity minus infinity would be NaN; then the sum is 0 or infinity, and so right.
#[inline(always)]
pub(super) fn log_sum_exp_shift<T: Element, S: Simd>(s: S, row: &impl Place<T>) -> T {
    let max = row_max(s, row);
    if max.is_infinite() { T::zero() } else { max }
}

/// A factor for every element.
#[derive(Clone, Copy)]
pub(super) struct Times<T>(pub T);

impl<T: Element> Unary<T> for Times<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        x * T::V::<S>::splat(s, self.0)
    }
}

/// `(x - max) - ln_sum`: in this order, since max + ln_sum would round away what is small.
#[derive(Clone, Copy)]
pub(super) struct Normalise<T> {
    pub max: T,
    pub ln_sum: T,
}

impl<T: Element> Unary<T> for Normalise<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        (x - T::V::<S>::splat(s, self.max)) - T::V::<S>::splat(s, self.ln_sum)
    }
}

/// `d e^(x - log_sum)`.
#[derive(Clone, Copy)]
pub(super) struct Weighted<T> {
    pub log_sum: T,
    pub d: T,
}

impl<T: Element> Unary<T> for Weighted<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        <T as Elementary>::exp(s, x - T::V::<S>::splat(s, self.log_sum)) * T::V::<S>::splat(s, self.d)
    }
}

/// `y (d - dot)`.
#[derive(Clone, Copy)]
pub(super) struct Gradient<T> {
    pub dot: T,
}

impl<T: Element> Binary<T> for Gradient<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, d: T::V<S>, y: T::V<S>) -> T::V<S> {
        y * (d - T::V::<S>::splat(s, self.dot))
    }
}

/// `d - e^y sum`.
#[derive(Clone, Copy)]
pub(super) struct LogGradient<T> {
    pub sum: T,
}

impl<T: Element> Binary<T> for LogGradient<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, d: T::V<S>, y: T::V<S>) -> T::V<S> {
        (-<T as Elementary>::exp(s, y)).mul_add(T::V::<S>::splat(s, self.sum), d)
    }
}

/// Softmax of a row that fits one vector; `mask` tells which lanes hold it. The operations of the wider rows, the row
/// kept in a register. The other lanes are e^-infinity = 0, and harmless in a row that is NaN anyway.
#[inline(always)]
pub(super) fn softmax_vector<T: Element, S: Simd>(s: S, x: T::V<S>, mask: MaskOf<T, S>) -> T::V<S> {
    let x = x.select(mask, T::V::<S>::splat(s, T::neg_infinity()));
    let e = <T as Elementary>::exp(s, x - T::V::<S>::splat(s, tree_max::<T, S>(x)));
    e * T::V::<S>::splat(s, T::one() / tree_sum::<T, S>(e))
}

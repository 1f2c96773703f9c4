//! The kernels: rows of a whole array, with or without a mask, apart or in place.

use super::super::element::Element;
use super::super::loops::first_lanes;
use super::super::math::Elementary;
use super::rows::{
    Apart, Gradient, Here, LogGradient, Masked, Normalise, Nowhere, Place, Times, Weighted, exp_shifted_sum,
    log_sum_exp_shift, map, row_dot, row_max, softmax_vector, zip,
};
use crate::kernel::share::{Halves, cut};
use crate::simd::{Kernel, Simd, Vector};

/// Which elements take part: whole rows of a mask, from row `first` on, used again from the mask's first.
#[derive(Clone, Copy)]
pub(crate) struct Keep<'a> {
    pub mask: &'a [bool],
    pub first: usize,
}

impl<'a> Keep<'a> {
    pub fn new(mask: &'a [bool]) -> Self {
        Self { mask, first: 0 }
    }

    /// The mask's rows of `width`, for ever.
    #[inline(always)]
    fn rows(self, width: usize) -> impl Iterator<Item = &'a [bool]> {
        let rows = self.mask.len() / width;
        self.mask.chunks_exact(width).cycle().skip(if rows > 0 { self.first % rows } else { 0 })
    }
}

impl Halves for Keep<'_> {
    fn bytes(&self) -> usize {
        self.mask.len()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        (self, Self { first: self.first + units, ..self })
    }
}

/// What is done to each row.
pub(crate) trait RowMap<T: Element>: Copy {
    /// What an element that is left out is read as.
    fn filler() -> T;
    /// The operation. Mark it `#[inline(always)]`.
    fn row<S: Simd>(self, s: S, other: &[T], place: &mut impl Place<T>);
}

/// Softmax.
#[derive(Clone, Copy)]
pub(crate) struct SoftmaxRow;

impl<T: Element> RowMap<T> for SoftmaxRow {
    #[inline(always)]
    fn filler() -> T {
        T::neg_infinity()
    }
    #[inline(always)]
    fn row<S: Simd>(self, s: S, _: &[T], place: &mut impl Place<T>) {
        let sum = exp_shifted_sum::<T, S, true>(s, row_max(s, place), place);
        map(s, Times(T::one() / sum), &mut Here(place.output()));
        if sum.is_nan() {
            place.clear(T::zero());
        }
    }
}

/// The logarithm of softmax.
#[derive(Clone, Copy)]
pub(crate) struct LogRow;

impl<T: Element> RowMap<T> for LogRow {
    #[inline(always)]
    fn filler() -> T {
        T::neg_infinity()
    }
    #[inline(always)]
    fn row<S: Simd>(self, s: S, _: &[T], place: &mut impl Place<T>) {
        let max = row_max(s, place);
        let sum = exp_shifted_sum::<T, S, false>(s, max, place);
        let mut ln_sum = [T::zero(); 16];
        <T as Elementary>::ln(s, T::V::<S>::splat(s, sum)).store(&mut ln_sum);
        map(s, Normalise { max, ln_sum: ln_sum[0] }, place);
        if sum.is_nan() {
            place.clear(T::neg_infinity());
        }
    }
}

/// The gradient of softmax (`other` is y), or of its logarithm.
#[derive(Clone, Copy)]
pub(crate) struct GradientRow<const LOG: bool>;

impl<T: Element, const LOG: bool> RowMap<T> for GradientRow<LOG> {
    #[inline(always)]
    fn filler() -> T {
        T::zero()
    }
    #[inline(always)]
    fn row<S: Simd>(self, s: S, y: &[T], place: &mut impl Place<T>) {
        let sum = row_dot(s, place, if LOG { None } else { Some(y) });
        if LOG {
            zip(s, LogGradient { sum }, place, y);
        } else {
            zip(s, Gradient { dot: sum }, place, y);
        }
        if !sum.is_finite() {
            place.clear(T::zero());
        }
    }
}

/// Calls `operation` for the rows of `output`, which are read from `input` or are their own input.
#[inline(always)]
fn each_row<T: Element, S: Simd, O: RowMap<T>>(
    s: S,
    operation: O,
    input: Option<&[T]>,
    output: &mut [T],
    other: &[T],
    width: usize,
    keep: Option<Keep<'_>>,
) {
    let filler = O::filler();
    let mut others = other.chunks_exact(width);
    let outputs = output.chunks_exact_mut(width);
    match (input, keep) {
        (Some(input), None) => {
            for (input, output) in input.chunks_exact(width).zip(outputs) {
                operation.row(s, others.next().unwrap_or(&[]), &mut Apart { input, output });
            }
        }
        (None, None) => {
            for output in outputs {
                operation.row(s, others.next().unwrap_or(&[]), &mut Here(output));
            }
        }
        (Some(input), Some(keep)) => {
            let keep = keep.rows(width);
            for ((input, output), keep) in input.chunks_exact(width).zip(outputs).zip(keep) {
                let place = Apart { input, output };
                operation.row(s, others.next().unwrap_or(&[]), &mut Masked { place, keep, filler });
            }
        }
        (None, Some(keep)) => {
            for (output, keep) in outputs.zip(keep.rows(width)) {
                let place = Here(output);
                operation.row(s, others.next().unwrap_or(&[]), &mut Masked { place, keep, filler });
            }
        }
    }
}

/// Softmax or its logarithm.
pub(crate) struct ForEachRow<'a, T, O> {
    pub operation: O,
    /// The output's own values if there is none.
    pub input: Option<&'a [T]>,
    pub output: &'a mut [T],
    pub width: usize,
    pub keep: Option<Keep<'a>>,
}

cut! { ['a, T, O: Copy] ForEachRow<'a, T, O>: wide(width: output, input) per_unit(keep) keep(operation, width) }

impl<T: Element, O: Forward<T>> Kernel for ForEachRow<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { operation, input, output, width, keep } = self;
        if O::VECTOR
            && width <= T::V::<S>::LANES
            && let (Some(input), None) = (input, keep)
        {
            return narrow_softmax(s, input, output, width);
        }
        each_row(s, operation, input, output, &[], width, keep);
    }
}

/// A [`RowMap`] of [`ForEachRow`].
pub(crate) trait Forward<T: Element>: RowMap<T> {
    /// There is a form for rows of one vector.
    const VECTOR: bool;
}

impl<T: Element> Forward<T> for SoftmaxRow {
    const VECTOR: bool = true;
}

impl<T: Element> Forward<T> for LogRow {
    const VECTOR: bool = false;
}

/// Softmax of rows that fit one vector, with the same bits as the others.
#[inline(always)]
fn narrow_softmax<T: Element, S: Simd>(s: S, input: &[T], output: &mut [T], width: usize) {
    let lanes = T::V::<S>::LANES;
    let mask = first_lanes::<T, S>(s, width);
    // Partial stores are slow. So whole vectors are written as long as they fit: what they put behind their row
    // is overwritten when the next row comes.
    let mut at = 0;
    while at + lanes <= input.len() {
        let x = T::V::<S>::load(s, &input[at..at + lanes]);
        softmax_vector::<T, S>(s, x, mask).store(&mut output[at..at + lanes]);
        at += width;
    }
    for (x, y) in input[at..].chunks_exact(width).zip(output[at..].chunks_exact_mut(width)) {
        softmax_vector::<T, S>(s, T::V::<S>::load_first(s, x), mask).store_first(y);
    }
}

/// The logarithm of a row's sum of exponentials.
pub(crate) struct LogSumExp<'a, T> {
    pub input: &'a [T],
    pub output: &'a mut [T],
    pub width: usize,
    pub keep: Option<Keep<'a>>,
}

cut! { ['a, T] LogSumExp<'a, T>: per_unit(output, keep) wide(width: input) keep(width) }

impl<T: Element> Kernel for LogSumExp<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { input, output, width, keep } = self;
        let lanes = T::V::<S>::LANES;
        let filler = T::neg_infinity();
        let mut keeps = keep.map(|keep| keep.rows(width));
        // One logarithm for as many rows as a vector has lanes.
        for (input, output) in input.chunks(lanes * width).zip(output.chunks_mut(lanes)) {
            let (mut shifts, mut sums) = ([T::zero(); 16], [T::one(); 16]);
            for ((row, shift), sum) in input.chunks_exact(width).zip(&mut shifts).zip(&mut sums) {
                let place = Nowhere(row);
                if let Some(keep) = keeps.as_mut().and_then(Iterator::next) {
                    (*shift, *sum) = shift_and_sum(s, &mut Masked { place, keep, filler });
                } else {
                    (*shift, *sum) = shift_and_sum(s, &mut { place });
                }
            }
            let ln = <T as Elementary>::ln(s, T::V::<S>::load(s, &sums));
            (ln + T::V::<S>::load(s, &shifts)).store_first(output);
        }
    }
}

#[inline(always)]
fn shift_and_sum<T: Element, S: Simd>(s: S, place: &mut impl Place<T>) -> (T, T) {
    let shift = log_sum_exp_shift(s, place);
    (shift, exp_shifted_sum::<T, S, false>(s, shift, place))
}

/// The gradient of [`LogSumExp`].
pub(crate) struct LogSumExpBackward<'a, T> {
    /// In `d_input` if there is none.
    pub input: Option<&'a [T]>,
    pub output: &'a [T],
    pub d_output: &'a [T],
    pub d_input: &'a mut [T],
    pub width: usize,
    pub keep: Option<Keep<'a>>,
}

cut! { ['a, T] LogSumExpBackward<'a, T>: per_unit(output, d_output, keep) wide(width: d_input, input) keep(width) }

impl<T: Element> Kernel for LogSumExpBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { input, output, d_output, d_input, width, keep } = self;
        let mut keeps = keep.map(|keep| keep.rows(width));
        let mut inputs = input.map(|input| input.chunks_exact(width));
        let filler = T::neg_infinity();
        for ((row, &log_sum), &d) in d_input.chunks_exact_mut(width).zip(output).zip(d_output) {
            let operation = Weighted { log_sum, d };
            let input = inputs.as_mut().and_then(Iterator::next);
            let keep = keeps.as_mut().and_then(Iterator::next);
            match (input, keep) {
                (Some(input), None) => map(s, operation, &mut Apart { input, output: row }),
                (None, None) => map(s, operation, &mut Here(row)),
                (Some(input), Some(keep)) => {
                    let place = Apart { input, output: row };
                    weighted_row(s, operation, &mut Masked { place, keep, filler });
                }
                (None, Some(keep)) => {
                    weighted_row(s, operation, &mut Masked { place: Here(row), keep, filler });
                }
            }
        }
    }
}

#[inline(always)]
fn weighted_row<T: Element, S: Simd>(s: S, operation: Weighted<T>, place: &mut impl Place<T>) {
    map(s, operation, place);
    if !(operation.log_sum.is_finite() && operation.d.is_finite()) {
        place.clear(T::zero());
    }
}

/// The gradient of softmax, or of its logarithm.
pub(crate) struct Backward<'a, T, const LOG: bool> {
    pub output: &'a [T],
    /// In `d_input` if there is none.
    pub d_output: Option<&'a [T]>,
    pub d_input: &'a mut [T],
    pub width: usize,
    pub keep: Option<Keep<'a>>,
}

cut! { ['a, T, const LOG: bool] Backward<'a, T, LOG>: wide(width: d_input, output, d_output) per_unit(keep) keep(width) }

impl<T: Element, const LOG: bool> Kernel for Backward<'_, T, LOG> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { output, d_output, d_input, width, keep } = self;
        each_row(s, GradientRow::<LOG>, d_output, d_input, output, width, keep);
    }
}

//! Softmax and its relatives over the last axis: rows of `width` elements, one after the other.
//!
//! | function | of each row | gradient |
//! | --- | --- | --- |
//! | [`forward`] | y = e^(x - m) / sum e^(x - m) | [`backward`]: y (d - sum d y) |
//! | [`log_softmax`] | y = (x - m) - ln sum e^(x - m) | [`log_softmax_backward`]: d - e^y sum d |
//! | [`log_sum_exp`] | m + ln sum e^(x - m) | |
//!
//! m is the row's maximum, so nothing overflows, whatever the finite inputs. e^ and ln are those of
//! [`math`](super::math); the quotient is a product with the rounded 1 / sum.
//!
//! A row's bits depend on that row alone. Its sums run over vectors in ascending order, then by a fixed tree, in chunks
//! of 1024 elements that are added in order, so that the error of wide rows stays small:
//!
//! ```text
//!   row      x0 .. x15 | x16 .. x31 | x32 .. x41, and nothing
//!   vectors     v0     +     v1     +     v2, zeros past the end
//!   tree     lane i + lane i+8, then i + i+4, i + i+2, i + i+1
//! ```
//!
//! A NaN makes all of its row NaN. So does +infinity, and a row that is -infinity throughout, as in PyTorch, since both
//! have no softmax; beside finite elements -infinity just has the weight 0. `log_sum_exp` has a value there: +infinity,
//! and -infinity for the row of -infinity.

use super::compiled::compiled;
use super::element::Element;
use super::loops::{self, Binary, MaskOf, Same, Unary, first_lanes, tree_max, tree_sum};
use super::math::{Elementary, check_length};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd, Vector};

/// Elements that are summed before they are added to the rest.
const CHUNK: usize = 1024;

/// The largest element; any element at all if one is NaN; -infinity if there is none.
#[inline(always)]
pub(crate) fn row_max<T: Element, S: Simd>(s: S, row: &[T]) -> T {
    let lanes = T::V::<S>::LANES;
    let lowest = T::V::<S>::splat(s, T::neg_infinity());
    let mut max = [lowest; 4];
    // Four chains hide the latency. The order matters to nothing but the sign of zero, which nobody sees.
    let mut blocks = row.chunks_exact(4 * lanes);
    for block in &mut blocks {
        for (max, part) in max.iter_mut().zip(block.chunks_exact(lanes)) {
            *max = T::V::<S>::load(s, part).max_or_other(*max);
        }
    }
    let mut vectors = blocks.remainder().chunks_exact(lanes);
    for part in &mut vectors {
        max[0] = T::V::<S>::load(s, part).max_or_other(max[0]);
    }
    let tail = vectors.remainder();
    if !tail.is_empty() {
        let x = T::V::<S>::load_first(s, tail).select(first_lanes::<T, S>(s, tail.len()), lowest);
        max[0] = x.max_or_other(max[0]);
    }
    tree_max::<T, S>(max[0].max_or_other(max[1]).max_or_other(max[2].max_or_other(max[3])))
}

/// `out[i] = e^(row[i] - max)`; returns the sum. NaN if an element is.
#[inline(always)]
pub(crate) fn exp_shifted_sum<T: Element, S: Simd>(s: S, row: &[T], max: T, out: &mut [T]) -> T {
    debug_assert_eq!(row.len(), out.len());
    let mut sum = T::zero();
    for (row, out) in row.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
        sum += shifted_sum::<T, S, true>(s, row, max, out);
    }
    sum
}

/// The same sum, bit for bit, without storing its terms.
#[inline(always)]
pub(crate) fn exp_sum<T: Element, S: Simd>(s: S, row: &[T], max: T) -> T {
    let mut sum = T::zero();
    for row in row.chunks(CHUNK) {
        sum += shifted_sum::<T, S, false>(s, row, max, &mut []);
    }
    sum
}

#[inline(always)]
fn shifted_sum<T: Element, S: Simd, const STORE: bool>(s: S, row: &[T], max: T, out: &mut [T]) -> T {
    let lanes = T::V::<S>::LANES;
    let max = T::V::<S>::splat(s, max);
    let zero = T::V::<S>::splat(s, T::zero());
    // One chain of additions is enough: it is far shorter than the exponential.
    let mut sum = zero;
    let (row, tail) = row.split_at(row.len() - row.len() % lanes);
    let (out, out_tail) = out.split_at_mut(if STORE { row.len() } else { 0 });
    let mut outs = out.chunks_exact_mut(lanes);
    for part in row.chunks_exact(lanes) {
        let e = <T as Elementary>::exp(s, T::V::<S>::load(s, part) - max);
        sum = sum + e;
        if STORE && let Some(out) = outs.next() {
            e.store(out);
        }
    }
    if !tail.is_empty() {
        let e = <T as Elementary>::exp(s, T::V::<S>::load_first(s, tail) - max);
        if STORE {
            e.store_first(out_tail);
        }
        sum = sum + e.select(first_lanes::<T, S>(s, tail.len()), zero);
    }
    tree_sum::<T, S>(sum)
}

/// `m + ln sum e^(x - m)` of one row, in all lanes.
#[inline(always)]
pub(crate) fn row_log_sum_exp<T: Element, S: Simd>(s: S, row: &[T]) -> T::V<S> {
    let max = row_max(s, row);
    // Infinity minus infinity would be NaN. Without the shift the sum is 0 or infinity, and so right.
    let shift = if max.is_infinite() { T::zero() } else { max };
    ln_splat(s, exp_sum(s, row, shift)) + T::V::<S>::splat(s, shift)
}

/// The logarithm of one number, in all lanes.
#[inline(always)]
fn ln_splat<T: Element, S: Simd>(s: S, x: T) -> T::V<S> {
    <T as Elementary>::ln(s, T::V::<S>::splat(s, x))
}

/// A factor for every element.
#[derive(Clone, Copy)]
struct Times<T>(T);

impl<T: Element> Unary<T> for Times<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        x * T::V::<S>::splat(s, self.0)
    }
}

/// `(x - max) - ln_sum`: in this order, since max + ln_sum would round away what is small.
#[derive(Clone, Copy)]
struct Normalise<T> {
    max: T,
    ln_sum: T,
}

impl<T: Element> Unary<T> for Normalise<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        (x - T::V::<S>::splat(s, self.max)) - T::V::<S>::splat(s, self.ln_sum)
    }
}

/// `y (d - dot)`.
#[derive(Clone, Copy)]
struct Gradient<T> {
    dot: T,
}

impl<T: Element> Binary<T> for Gradient<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, y: T::V<S>, d: T::V<S>) -> T::V<S> {
        y * (d - T::V::<S>::splat(s, self.dot))
    }
}

/// `d - e^y sum`.
#[derive(Clone, Copy)]
struct LogGradient<T> {
    sum: T,
}

impl<T: Element> Binary<T> for LogGradient<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, y: T::V<S>, d: T::V<S>) -> T::V<S> {
        (-<T as Elementary>::exp(s, y)).mul_add(T::V::<S>::splat(s, self.sum), d)
    }
}

/// The sum of `a[i] b[i]`.
#[inline(always)]
fn row_dot<T: Element, S: Simd>(s: S, a: &[T], b: &[T]) -> T {
    let mut sum = T::zero();
    for (a, b) in a.chunks(CHUNK).zip(b.chunks(CHUNK)) {
        sum += chunk_dot(s, a, b);
    }
    sum
}

/// Four chains, what is left over goes to the first, then the tree.
#[inline(always)]
fn chunk_dot<T: Element, S: Simd>(s: S, a: &[T], b: &[T]) -> T {
    let lanes = T::V::<S>::LANES;
    let mut sums = [T::V::<S>::splat(s, T::zero()); 4];
    let (mut a, mut b) = (a.chunks_exact(4 * lanes), b.chunks_exact(4 * lanes));
    for (a, b) in (&mut a).zip(&mut b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.chunks_exact(lanes).zip(b.chunks_exact(lanes))) {
            *sum = T::V::<S>::load(s, a).mul_add(T::V::<S>::load(s, b), *sum);
        }
    }
    let (mut a, mut b) = (a.remainder().chunks_exact(lanes), b.remainder().chunks_exact(lanes));
    for (a, b) in (&mut a).zip(&mut b) {
        sums[0] = T::V::<S>::load(s, a).mul_add(T::V::<S>::load(s, b), sums[0]);
    }
    let (a, b) = (a.remainder(), b.remainder());
    if !a.is_empty() {
        sums[0] = T::V::<S>::load_first(s, a).mul_add(T::V::<S>::load_first(s, b), sums[0]);
    }
    tree_sum::<T, S>((sums[0] + sums[1]) + (sums[2] + sums[3]))
}

/// Softmax of a row that fits one vector; `mask` tells which lanes hold it. The operations of [`SoftmaxRow`], the row kept
/// in a register. The other lanes are e^-infinity = 0, and harmless in a row that is NaN anyway.
#[inline(always)]
fn softmax_vector<T: Element, S: Simd>(s: S, x: T::V<S>, mask: MaskOf<T, S>) -> T::V<S> {
    let x = x.select(mask, T::V::<S>::splat(s, T::neg_infinity()));
    let e = <T as Elementary>::exp(s, x - T::V::<S>::splat(s, tree_max::<T, S>(x)));
    e * T::V::<S>::splat(s, T::one() / tree_sum::<T, S>(e))
}

/// Softmax of rows.
struct Softmax<'a, T> {
    input: &'a [T],
    output: &'a mut [T],
    width: usize,
}

impl<T: Element> Kernel for Softmax<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { input, output, width } = self;
        let lanes = T::V::<S>::LANES;
        if width > lanes {
            return Rows { operation: SoftmaxRow, input, output, width, output_width: width }.run(s);
        }
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
}

/// What is done to each row of an input and an output.
trait RowMap<T: Element>: Copy {
    fn row<S: Simd>(self, s: S, input: &[T], output: &mut [T]);
}

#[derive(Clone, Copy)]
struct SoftmaxRow;

impl<T: Element> RowMap<T> for SoftmaxRow {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, input: &[T], output: &mut [T]) {
        let sum = exp_shifted_sum(s, input, row_max(s, input), output);
        loops::map_in_place(s, Times(T::one() / sum), output);
    }
}

#[derive(Clone, Copy)]
struct LogSoftmax;

impl<T: Element> RowMap<T> for LogSoftmax {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, input: &[T], output: &mut [T]) {
        let max = row_max(s, input);
        let mut ln_sum = [T::zero()];
        ln_splat(s, exp_sum(s, input, max)).store_first(&mut ln_sum);
        loops::map(s, Normalise { max, ln_sum: ln_sum[0] }, input, output);
    }
}

#[derive(Clone, Copy)]
struct LogSumExp;

impl<T: Element> RowMap<T> for LogSumExp {
    #[inline(always)]
    fn row<S: Simd>(self, s: S, input: &[T], output: &mut [T]) {
        row_log_sum_exp(s, input).store_first(output);
    }
}

struct Rows<'a, T, O> {
    operation: O,
    input: &'a [T],
    output: &'a mut [T],
    width: usize,
    output_width: usize,
}

impl<T: Element, O: RowMap<T>> Kernel for Rows<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.input.chunks_exact(self.width).zip(self.output.chunks_exact_mut(self.output_width));
        for (input, output) in rows {
            self.operation.row(s, input, output);
        }
    }
}

/// The gradient of softmax, or of its logarithm.
struct Backward<'a, T, const LOG: bool> {
    output: &'a [T],
    d_output: &'a [T],
    d_input: &'a mut [T],
    width: usize,
}

impl<T: Element, const LOG: bool> Kernel for Backward<'_, T, LOG> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.output.chunks_exact(self.width).zip(self.d_output.chunks_exact(self.width));
        for ((y, d), d_input) in rows.zip(self.d_input.chunks_exact_mut(self.width)) {
            if LOG {
                let mut sum = T::zero();
                for d in d.chunks(CHUNK) {
                    sum += loops::sum_by(s, Same, d);
                }
                loops::zip(s, LogGradient { sum }, y, d, d_input);
            } else {
                loops::zip(s, Gradient { dot: row_dot(s, y, d) }, y, d, d_input);
            }
        }
    }
}

/// Checks that `length` elements are whole rows; returns their number.
fn check_rows(operation: &'static str, what: &'static str, length: usize, width: usize) -> Result<usize> {
    if width == 0 {
        return Err(Error::shape(operation, "width", "at least 1", 0));
    }
    if !length.is_multiple_of(width) {
        return Err(Error::shape(operation, what, format_args!("whole rows of {width}"), length));
    }
    Ok(length / width)
}

/// `output` is the softmax of each row of `input`: numbers from 0 to 1 with the sum 1.
///
/// f32: within a relative 4 * 2^-23 of e^(x - m) / sum, where x - m is rounded to f32; tested up to 5000 wide.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the input is not whole rows, or the slices differ in length.
pub fn forward<T: Element>(context: &Context, input: &[T], output: &mut [T], width: usize) -> Result<()> {
    check_rows("softmax::forward", "input", input.len(), width)?;
    check_length("softmax::forward", "output", input.len(), output.len())?;
    T::run(context, Softmax { input, output, width });
    Ok(())
}

/// `output` is the logarithm of the softmax of each row of `input`, without taking the logarithm of small numbers.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the input is not whole rows, or the slices differ in length.
pub fn log_softmax<T: Element>(context: &Context, input: &[T], output: &mut [T], width: usize) -> Result<()> {
    check_rows("softmax::log_softmax", "input", input.len(), width)?;
    check_length("softmax::log_softmax", "output", input.len(), output.len())?;
    T::run(context, Rows { operation: LogSoftmax, input, output, width, output_width: width });
    Ok(())
}

/// `output[row]` is the logarithm of the sum of the exponentials of that row of `input`.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the input is not whole rows, or `output` is not one element per row.
pub fn log_sum_exp<T: Element>(context: &Context, input: &[T], output: &mut [T], width: usize) -> Result<()> {
    let rows = check_rows("softmax::log_sum_exp", "input", input.len(), width)?;
    check_length("softmax::log_sum_exp", "output", rows, output.len())?;
    T::run(context, Rows { operation: LogSumExp, input, output, width, output_width: 1 });
    Ok(())
}

/// The gradient of [`forward`] from its output: `d_input = y (d - sum d y)` in each row.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the output is not whole rows, or the slices differ in length.
pub fn backward<T: Element>(
    context: &Context,
    output: &[T],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    check_rows("softmax::backward", "output", output.len(), width)?;
    check_length("softmax::backward", "d_output", output.len(), d_output.len())?;
    check_length("softmax::backward", "d_input", output.len(), d_input.len())?;
    T::run(context, Backward::<T, false> { output, d_output, d_input, width });
    Ok(())
}

/// The gradient of [`log_softmax`] from its output: `d_input = d - e^y sum d` in each row.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the output is not whole rows, or the slices differ in length.
pub fn log_softmax_backward<T: Element>(
    context: &Context,
    output: &[T],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    check_rows("softmax::log_softmax_backward", "output", output.len(), width)?;
    check_length("softmax::log_softmax_backward", "d_output", output.len(), d_output.len())?;
    check_length("softmax::log_softmax_backward", "d_input", output.len(), d_input.len())?;
    T::run(context, Backward::<T, true> { output, d_output, d_input, width });
    Ok(())
}

compiled! {
    Softmax<'a, Self>,
    Rows<'a, Self, LogSoftmax>,
    Rows<'a, Self, LogSumExp>,
    Backward<'a, Self, false>,
    Backward<'a, Self, true>,
}

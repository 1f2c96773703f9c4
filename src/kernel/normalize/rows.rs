//! Rows: statistics by row, the normalised numbers, and their gradients.
//!
//! For each row the mean and 1 / sqrt(variance + eps) are kept side by side; without centring the mean is 0 and the variance
//! is the mean of the squares.

use crate::kernel::element::Element;
use crate::kernel::loops::{self, Lanes};
use crate::kernel::reduce::{self, ROW_CHUNK, SUM_CHUNK, load_of};
use crate::simd::{Kernel, Simd, Vector};

/// `output = (input - mean) r weight + bias`, where weight and bias are empty if there are none.
pub(crate) struct RowScale<'a, T> {
    pub width: usize,
    /// False: nothing is taken off.
    pub centred: bool,
    pub eps: f64,
    pub input: &'a [T],
    pub weight: &'a [T],
    pub bias: &'a [T],
    pub output: &'a mut [T],
    /// Mean and r of each row; empty if nobody wants them.
    pub statistics: &'a mut [T],
}

impl<T: Element> Kernel for RowScale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { width, centred, eps, input, weight, bias, output, statistics } = self;
        let rows = input.chunks_exact(width).zip(output.chunks_exact_mut(width));
        for (i, (x, y)) in rows.enumerate() {
            let (mean, squares) = if centred { reduce::moments(s, x) } else { (0.0, squares(s, x)) };
            let (mean, r) = (T::from_f64(mean), T::from_f64(1.0 / (squares / width as f64 + eps).sqrt()));
            if !statistics.is_empty() {
                (statistics[2 * i], statistics[2 * i + 1]) = (mean, r);
            }
            let (mean, r) = (T::V::<S>::splat(s, mean), T::V::<S>::splat(s, r));
            match (weight.is_empty(), bias.is_empty()) {
                (true, _) => scale::<T, S, false, false>(s, mean, r, x, x, x, y),
                (false, true) => scale::<T, S, true, false>(s, mean, r, x, weight, weight, y),
                (false, false) => scale::<T, S, true, true>(s, mean, r, x, weight, bias, y),
            }
        }
    }
}

/// A row of [`RowScale`]; a weight or bias that there is not is not read.
#[inline(always)]
fn scale<T: Element, S: Simd, const WEIGHT: bool, const BIAS: bool>(
    s: S,
    mean: T::V<S>,
    r: T::V<S>,
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let whole = y.len() - y.len() % lanes;
    let ((x, x_tail), (w, w_tail), (b, b_tail)) =
        (x.split_at(whole), weight.split_at(whole), bias.split_at(whole));
    let (y, y_tail) = y.split_at_mut(whole);
    let parts = x.chunks_exact(lanes).zip(w.chunks_exact(lanes)).zip(b.chunks_exact(lanes));
    for (((x, w), b), y) in parts.zip(y.chunks_exact_mut(lanes)) {
        let (w, b) = (T::V::<S>::load(s, w), T::V::<S>::load(s, b));
        affine::<T, S, WEIGHT, BIAS>((T::V::<S>::load(s, x) - mean) * r, w, b).store(y);
    }
    if !y_tail.is_empty() {
        let (w, b) = (T::V::<S>::load_first(s, w_tail), T::V::<S>::load_first(s, b_tail));
        let x = (T::V::<S>::load_first(s, x_tail) - mean) * r;
        affine::<T, S, WEIGHT, BIAS>(x, w, b).store_first(y_tail);
    }
}

#[inline(always)]
fn affine<T: Element, S: Simd, const WEIGHT: bool, const BIAS: bool>(
    x: T::V<S>,
    weight: T::V<S>,
    bias: T::V<S>,
) -> T::V<S> {
    match (WEIGHT, BIAS) {
        (true, true) => x.mul_add(weight, bias),
        (true, false) => x * weight,
        _ => x,
    }
}

/// The sum of squares, chunk by chunk.
#[inline(always)]
fn squares<T: Element, S: Simd>(s: S, x: &[T]) -> f64 {
    let mut sum = 0.0;
    for x in x.chunks(SUM_CHUNK) {
        sum += Element::to_f64(loops::sum_by(s, Square, x));
    }
    sum
}

#[derive(Clone, Copy)]
struct Square;

impl<T: Element> loops::Unary<T> for Square {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>) -> T::V<S> {
        x * x
    }
}

/// The gradients by the input.
pub(crate) struct RowDerive<'a, T> {
    pub width: usize,
    pub centred: bool,
    pub input: &'a [T],
    pub d_output: &'a [T],
    /// Empty if there is none.
    pub weight: &'a [T],
    pub statistics: &'a [T],
    pub d_input: &'a mut [T],
}

impl<T: Element> Kernel for RowDerive<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { width, centred, input, d_output, weight, statistics, d_input } = self;
        let rows = input.chunks_exact(width).zip(d_output.chunks_exact(width));
        let rows = rows.zip(statistics.chunks_exact(2)).zip(d_input.chunks_exact_mut(width));
        for (((x, d), statistics), out) in rows {
            if weight.is_empty() {
                derive::<T, S, false>(s, centred, statistics, x, d, x, out);
            } else {
                derive::<T, S, true>(s, centred, statistics, x, d, weight, out);
            }
        }
    }
}

/// A row of [`RowDerive`].
#[inline(always)]
fn derive<T: Element, S: Simd, const WEIGHT: bool>(
    s: S,
    centred: bool,
    statistics: &[T],
    x: &[T],
    d: &[T],
    weight: &[T],
    out: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let (mean, r) = (T::V::<S>::splat(s, statistics[0]), T::V::<S>::splat(s, statistics[1]));
    let (mut sum, mut product) = (0.0, 0.0);
    let chunks = x.chunks(SUM_CHUNK).zip(d.chunks(SUM_CHUNK)).zip(weight.chunks(SUM_CHUNK));
    for ((x, d), weight) in chunks {
        let [by_sum, by_product] = gradient_sums::<T, S, WEIGHT>(s, [mean, r], x, d, weight);
        sum += Element::to_f64(by_sum);
        product += Element::to_f64(by_product);
    }
    let width = out.len() as f64;
    let sum = T::V::<S>::splat(s, T::from_f64(if centred { sum / width } else { 0.0 }));
    let product = T::V::<S>::splat(s, T::from_f64(product / width));
    for (i, out) in out.chunks_mut(lanes).enumerate() {
        let (g, x) = one::<T, S, WEIGHT>(s, [mean, r], i * lanes, out.len(), x, d, weight);
        let about = (-x).mul_add(product, g - sum);
        (about * r).store_first(out);
    }
}

/// g = d weight and (x - mean) r: lanes past the end are 0 and a number.
#[inline(always)]
fn one<T: Element, S: Simd, const WEIGHT: bool>(
    s: S,
    [mean, r]: [T::V<S>; 2],
    at: usize,
    count: usize,
    x: &[T],
    d: &[T],
    weight: &[T],
) -> (T::V<S>, T::V<S>) {
    let (x, d) = (T::V::<S>::load_first(s, &x[at..at + count]), T::V::<S>::load_first(s, &d[at..at + count]));
    let g = if WEIGHT { d * T::V::<S>::load_first(s, &weight[at..at + count]) } else { d };
    (g, (x - mean) * r)
}

/// The sums of g = d weight, and of g (x - mean) r, over a chunk of a row.
#[inline(always)]
fn gradient_sums<T: Element, S: Simd, const WEIGHT: bool>(
    s: S,
    statistics: [T::V<S>; 2],
    x: &[T],
    d: &[T],
    weight: &[T],
) -> [T; 2] {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    if loops::is_short::<T, S>() {
        let (mut sums, mut products) = (Lanes::<T, 4>::new(), Lanes::<T, 4>::new());
        for at in (0..x.len()).step_by(lanes) {
            let count = lanes.min(x.len() - at);
            let (g, x) = one::<T, S, WEIGHT>(s, statistics, at, count, x, d, weight);
            sums.add::<S>(at, g, count);
            products.add::<S>(at, g * x, count);
        }
        return [sums.sum(), products.sum()];
    }
    let (mut sums, mut products) = ([zero; 4], [zero; 4]);
    let whole = x.len() - x.len() % (4 * lanes);
    for at in (0..whole).step_by(4 * lanes) {
        let mut k = 0;
        while k < 4 {
            let (g, x) = one::<T, S, WEIGHT>(s, statistics, at + k * lanes, lanes, x, d, weight);
            sums[k] = sums[k] + g;
            products[k] = g.mul_add(x, products[k]);
            k += 1;
        }
    }
    for (k, at) in (whole..x.len()).step_by(lanes).enumerate() {
        let count = lanes.min(x.len() - at);
        let (g, x) = one::<T, S, WEIGHT>(s, statistics, at, count, x, d, weight);
        sums[k] = sums[k] + g;
        products[k] = g.mul_add(x, products[k]);
    }
    [
        loops::tree_sum::<T, S>((sums[0] + sums[1]) + (sums[2] + sums[3])),
        loops::tree_sum::<T, S>((products[0] + products[1]) + (products[2] + products[3])),
    ]
}

/// The gradients by weight and bias of some rows: the sums over a column of `d_output (input - mean) r`, and of `d_output`,
/// which is not taken if `d_bias` is empty.
pub(crate) struct RowSums<'a, T> {
    pub width: usize,
    pub input: &'a [T],
    pub d_output: &'a [T],
    pub statistics: &'a [T],
    pub d_weight: &'a mut [T],
    pub d_bias: &'a mut [T],
}

impl<T: Element> Kernel for RowSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { width, input, d_output, statistics, d_weight, d_bias } = self;
        let lanes = T::V::<S>::LANES;
        let mut at = 0;
        while at < width {
            let count = if at + 4 * lanes <= width { 4 * lanes } else { lanes.min(width - at) };
            let mut block = [[T::V::<S>::splat(s, T::zero()); 2]; 4];
            if count == 4 * lanes {
                block = columns::<T, S, 4>(s, width, at, count, input, d_output, statistics);
            } else {
                [block[0]] = columns::<T, S, 1>(s, width, at, count, input, d_output, statistics);
            }
            for (k, [product, sum]) in block.into_iter().take(count.div_ceil(lanes)).enumerate() {
                let range = at + k * lanes..at + count.min((k + 1) * lanes);
                product.store_first(&mut d_weight[range.clone()]);
                if !d_bias.is_empty() {
                    sum.store_first(&mut d_bias[range]);
                }
            }
            at += count;
        }
    }
}

/// B vectors of columns: one chain over a chunk of rows, the chunks in order.
#[inline(always)]
fn columns<T: Element, S: Simd, const B: usize>(
    s: S,
    width: usize,
    at: usize,
    count: usize,
    input: &[T],
    d_output: &[T],
    statistics: &[T],
) -> [[T::V<S>; 2]; B] {
    let zero = T::V::<S>::splat(s, T::zero());
    let mut totals = [[zero; 2]; B];
    let mut start = at;
    for chunk in statistics.chunks(2 * ROW_CHUNK) {
        let (mut products, mut sums) = ([zero; B], [zero; B]);
        for row in chunk.chunks_exact(2) {
            let (mean, r) = (T::V::<S>::splat(s, row[0]), T::V::<S>::splat(s, row[1]));
            let (x, d) = (&input[start..start + count], &d_output[start..start + count]);
            let mut k = 0;
            while k < B {
                let (x, d) = (load_of::<T, S, B>(s, x, k), load_of::<T, S, B>(s, d, k));
                products[k] = d.mul_add((x - mean) * r, products[k]);
                sums[k] = sums[k] + d;
                k += 1;
            }
            start += width;
        }
        let mut k = 0;
        while k < B {
            totals[k] = [totals[k][0] + products[k], totals[k][1] + sums[k]];
            k += 1;
        }
    }
    totals
}

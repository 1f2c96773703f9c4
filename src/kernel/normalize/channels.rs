//! Channels last: statistics by channel, the normalised numbers, and the sums and numbers of the backward pass.

use super::plane::Plane;
use super::pool::{Parts, Pool};
use crate::context::Context;
use crate::kernel::activation::{self, Activation};
use crate::kernel::element::Element;
use crate::kernel::reduce::{self, ROW_CHUNK, load_of};
use crate::simd::{Kernel, Simd, Vector};

/// Most channels of a plane whose positions are grouped.
const FEW: usize = 64;

/// The mean of each channel, and the sum of the squares about it.
pub(crate) struct Moments<'a, T> {
    pub plane: Plane,
    pub input: &'a [T],
    pub means: &'a mut [T],
    pub squares: &'a mut [T],
    /// As many as [`scratch`](Self::scratch) says.
    pub scratch: &'a mut [T],
}

impl<T> Moments<'_, T> {
    pub(crate) fn scratch(plane: Plane) -> usize {
        if plane.group > 1 { 2 * (plane.width() + plane.channels) } else { 0 }
    }
}

impl<T: Element> Kernel for Moments<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plane, input, means, squares, scratch } = self;
        let (width, channels) = (plane.width(), plane.channels);
        if plane.group == 1 {
            reduce::column_moments(s, input, plane.positions, channels, means, squares);
            return;
        }
        // Those of each place of the wide row, and of the positions after the last whole one.
        let (wide_means, scratch) = scratch.split_at_mut(width);
        let (wide_squares, scratch) = scratch.split_at_mut(width);
        let (rest_means, scratch) = scratch.split_at_mut(channels);
        let rest_squares = &mut scratch[..channels];
        reduce::column_moments(s, input, plane.rows(), width, wide_means, wide_squares);
        let wide = Parts {
            means: wide_means,
            squares: wide_squares,
            stride: channels,
            count: plane.group,
            size: plane.rows() as f64,
        };
        let mut parts = [wide, Parts::none()];
        if plane.rest() > 0 {
            let rest = &input[plane.rows() * width..];
            reduce::column_moments(s, rest, plane.rest(), channels, rest_means, rest_squares);
            parts[1] = Parts {
                means: rest_means,
                squares: rest_squares,
                stride: channels,
                count: 1,
                size: plane.rest() as f64,
            };
        }
        let (mut pooled, mut about) = ([0.0; FEW], [0.0; FEW]);
        let (pooled, about) = (&mut pooled[..channels], &mut about[..channels]);
        s.call(Pool { parts, means: pooled, squares: about });
        let results = pooled.iter().zip(about.iter());
        for ((mean, square), (m, q)) in means.iter_mut().zip(squares).zip(results) {
            (*mean, *square) = (T::from_f64(*m), T::from_f64(*q));
        }
    }
}

/// `output = (input - shift) factor + offset`, the three by channel as wide rows; then 0 where that is negative, if `relu`.
pub(crate) struct Scale<'a, T> {
    pub plane: Plane,
    pub input: &'a [T],
    pub shift: &'a [T],
    pub factor: &'a [T],
    pub offset: &'a [T],
    pub relu: bool,
    pub output: &'a mut [T],
}

/// [`Scale`], and any activation.
pub(crate) fn scale<T: Element>(context: &Context, activation: Activation, job: Scale<'_, T>) {
    if matches!(activation, Activation::Identity | Activation::Relu) {
        let relu = activation == Activation::Relu;
        return T::run(context, Scale { relu, ..job });
    }
    let Scale { plane, input, shift, factor, offset, output, .. } = job;
    // Wide rows of which the activation finds the output in the first cache.
    let width = plane.width();
    let piece = width * (16_384 / size_of::<T>() / width).max(1);
    for (input, output) in input.chunks(piece).zip(output.chunks_mut(piece)) {
        let plane = plane.of(input.len());
        T::run(context, Scale { plane, input, shift, factor, offset, relu: false, output: &mut *output });
        let done = activation::forward_in_place(context, activation, output);
        debug_assert!(done.is_ok(), "the activation was checked when the model was built");
    }
}

impl<T: Element> Kernel for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.relu { self.rows::<S, true>(s) } else { self.rows::<S, false>(s) }
    }
}

impl<T: Element> Scale<'_, T> {
    #[inline(always)]
    fn rows<S: Simd, const RELU: bool>(self, s: S) {
        let Self { plane, input, shift, factor, offset, output, .. } = self;
        let (lanes, width) = (T::V::<S>::LANES, plane.width());
        let whole = plane.rows() * width;
        let mut at = 0;
        while at + 4 * lanes <= width {
            let shifts = four::<T, S>(s, &shift[at..]);
            let (factors, offsets) = (four::<T, S>(s, &factor[at..]), four::<T, S>(s, &offset[at..]));
            let mut start = at;
            while start < whole {
                let x = &input[start..start + 4 * lanes];
                let y = &mut output[start..start + 4 * lanes];
                let mut k = 0;
                while k < 4 {
                    let x = T::V::<S>::load(s, &x[k * lanes..]);
                    let v = (x - shifts[k]).mul_add(factors[k], offsets[k]);
                    rectified::<T, S, RELU>(s, v).store(&mut y[k * lanes..]);
                    k += 1;
                }
                start += width;
            }
            at += 4 * lanes;
        }
        while at < width {
            let count = lanes.min(width - at);
            let shift = T::V::<S>::load_first(s, &shift[at..at + count]);
            let factor = T::V::<S>::load_first(s, &factor[at..at + count]);
            let offset = T::V::<S>::load_first(s, &offset[at..at + count]);
            let mut start = at;
            while start < whole {
                let x = T::V::<S>::load_first(s, &input[start..start + count]);
                let v = (x - shift).mul_add(factor, offset);
                rectified::<T, S, RELU>(s, v).store_first(&mut output[start..start + count]);
                start += width;
            }
            at += count;
        }
        let parts = input[whole..].chunks(lanes).zip(output[whole..].chunks_mut(lanes));
        for (i, (x, y)) in parts.enumerate() {
            let shift = T::V::<S>::load_first(s, &shift[i * lanes..]);
            let factor = T::V::<S>::load_first(s, &factor[i * lanes..]);
            let offset = T::V::<S>::load_first(s, &offset[i * lanes..]);
            let v = (T::V::<S>::load_first(s, x) - shift).mul_add(factor, offset);
            rectified::<T, S, RELU>(s, v).store_first(y);
        }
    }
}

/// As the activation: 0 if x < 0, else x.
#[inline(always)]
fn rectified<T: Element, S: Simd, const RELU: bool>(s: S, x: T::V<S>) -> T::V<S> {
    if RELU { T::V::<S>::splat(s, T::zero()).max_or_other(x) } else { x }
}

#[inline(always)]
fn four<T: Element, S: Simd>(s: S, x: &[T]) -> [T::V<S>; 4] {
    let lanes = T::V::<S>::LANES;
    [
        T::V::<S>::load(s, x),
        T::V::<S>::load(s, &x[lanes..]),
        T::V::<S>::load(s, &x[2 * lanes..]),
        T::V::<S>::load(s, &x[3 * lanes..]),
    ]
}

/// The sums over a channel of `d_output`, and of `d_output (input - shift)`, the shift as a wide row.
pub(crate) struct Sums<'a, T> {
    pub plane: Plane,
    pub input: &'a [T],
    pub d_output: &'a [T],
    pub shift: &'a [T],
    /// A channel each.
    pub sums: &'a mut [T],
    pub products: &'a mut [T],
    /// As many as [`scratch`](Self::scratch) says.
    pub scratch: &'a mut [T],
}

impl<T> Sums<'_, T> {
    pub(crate) fn scratch(plane: Plane) -> usize {
        if plane.group > 1 { 2 * plane.width() } else { 0 }
    }
}

impl<T: Element> Kernel for Sums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plane, input, d_output, shift, sums, products, scratch } = self;
        if plane.group == 1 {
            return wide_sums(s, plane, [input, d_output, shift], sums, products);
        }
        let (wide_means, scratch) = scratch.split_at_mut(plane.width());
        let wide_products = &mut scratch[..plane.width()];
        wide_sums(s, plane, [input, d_output, shift], wide_means, wide_products);
        for (wide, out) in [(&*wide_means, sums), (&*wide_products, products)] {
            for (c, out) in out.iter_mut().enumerate() {
                let mut sum = 0.0;
                for &x in wide[c..].iter().step_by(plane.channels) {
                    sum += Element::to_f64(x);
                }
                *out = T::from_f64(sum);
            }
        }
    }
}

/// Those of each place of the wide row.
#[inline(always)]
fn wide_sums<T: Element, S: Simd>(s: S, plane: Plane, of: [&[T]; 3], sums: &mut [T], products: &mut [T]) {
    let (lanes, width) = (T::V::<S>::LANES, plane.width());
    let mut at = 0;
    while at + 4 * lanes <= width {
        let block = sums_of::<T, S, 4>(s, plane, at, 4 * lanes, of);
        let mut k = 0;
        while k < 4 {
            block[k][0].store(&mut sums[at + k * lanes..]);
            block[k][1].store(&mut products[at + k * lanes..]);
            k += 1;
        }
        at += 4 * lanes;
    }
    while at < width {
        let count = lanes.min(width - at);
        let [[sum, product]] = sums_of::<T, S, 1>(s, plane, at, count, of);
        sum.store_first(&mut sums[at..at + count]);
        product.store_first(&mut products[at..at + count]);
        at += count;
    }
}

/// Of the places from `at` on: all lanes of B vectors, or `count` lanes of one. One chain over a chunk of rows, the chunks in
/// order; what is left of a wide row is a row.
#[inline(always)]
fn sums_of<T: Element, S: Simd, const B: usize>(
    s: S,
    plane: Plane,
    at: usize,
    count: usize,
    [input, d_output, shift]: [&[T]; 3],
) -> [[T::V<S>; 2]; B] {
    let (lanes, zero, width) = (T::V::<S>::LANES, T::V::<S>::splat(s, T::zero()), plane.width());
    let mut shifts = [zero; B];
    let mut k = 0;
    while k < B {
        shifts[k] = load_of::<T, S, B>(s, &shift[at..at + count], k);
        k += 1;
    }
    let mut totals = [[zero; 2]; B];
    let mut start = at;
    let mut left = plane.rows();
    while left > 0 {
        let now = left.min(ROW_CHUNK);
        let (mut sums, mut products) = ([zero; B], [zero; B]);
        for _ in 0..now {
            let (x, d) = (&input[start..start + count], &d_output[start..start + count]);
            let mut k = 0;
            while k < B {
                let (x, d) = (load_of::<T, S, B>(s, x, k), load_of::<T, S, B>(s, d, k));
                sums[k] = sums[k] + d;
                products[k] = d.mul_add(x - shifts[k], products[k]);
                k += 1;
            }
            start += width;
        }
        let mut k = 0;
        while k < B {
            totals[k] = [totals[k][0] + sums[k], totals[k][1] + products[k]];
            k += 1;
        }
        left -= now;
    }
    // Lanes that have no number add 0.
    let end = plane.len().min(start + count);
    let mut k = 0;
    while start + k * lanes < end {
        let (from, to) = (start + k * lanes, end.min(start + (k + 1) * lanes));
        let (x, d) =
            (T::V::<S>::load_first(s, &input[from..to]), T::V::<S>::load_first(s, &d_output[from..to]));
        totals[k] = [totals[k][0] + d, d.mul_add(x - shifts[k], totals[k][1])];
        k += 1;
    }
    totals
}

/// `d_input = d_output factor + ((input - shift) slope + offset)`, the four by channel as wide rows.
pub(crate) struct Derive<'a, T> {
    pub plane: Plane,
    pub input: &'a [T],
    pub d_output: &'a [T],
    pub shift: &'a [T],
    pub factor: &'a [T],
    pub slope: &'a [T],
    pub offset: &'a [T],
    pub d_input: &'a mut [T],
}

/// Runs [`Derive`].
pub(crate) fn derive<T: Element>(context: &Context, job: Derive<'_, T>) {
    T::run(context, job);
}

impl<T: Element> Kernel for Derive<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plane, input, d_output, shift, factor, slope, offset, d_input } = self;
        let (lanes, width) = (T::V::<S>::LANES, plane.width());
        let whole = plane.rows() * width;
        let mut at = 0;
        while at + 4 * lanes <= width {
            let (shifts, factors) = (four::<T, S>(s, &shift[at..]), four::<T, S>(s, &factor[at..]));
            let (slopes, offsets) = (four::<T, S>(s, &slope[at..]), four::<T, S>(s, &offset[at..]));
            let mut start = at;
            while start < whole {
                let x = &input[start..start + 4 * lanes];
                let d = &d_output[start..start + 4 * lanes];
                let out = &mut d_input[start..start + 4 * lanes];
                let mut k = 0;
                while k < 4 {
                    let x = T::V::<S>::load(s, &x[k * lanes..]);
                    let d = T::V::<S>::load(s, &d[k * lanes..]);
                    let rest = (x - shifts[k]).mul_add(slopes[k], offsets[k]);
                    d.mul_add(factors[k], rest).store(&mut out[k * lanes..]);
                    k += 1;
                }
                start += width;
            }
            at += 4 * lanes;
        }
        while at < width {
            let count = lanes.min(width - at);
            let shift = T::V::<S>::load_first(s, &shift[at..at + count]);
            let factor = T::V::<S>::load_first(s, &factor[at..at + count]);
            let slope = T::V::<S>::load_first(s, &slope[at..at + count]);
            let offset = T::V::<S>::load_first(s, &offset[at..at + count]);
            let mut start = at;
            while start < whole {
                let x = T::V::<S>::load_first(s, &input[start..start + count]);
                let d = T::V::<S>::load_first(s, &d_output[start..start + count]);
                let rest = (x - shift).mul_add(slope, offset);
                d.mul_add(factor, rest).store_first(&mut d_input[start..start + count]);
                start += width;
            }
            at += count;
        }
        let parts = input[whole..].chunks(lanes).zip(d_output[whole..].chunks(lanes));
        for (i, ((x, d), out)) in parts.zip(d_input[whole..].chunks_mut(lanes)).enumerate() {
            let shift = T::V::<S>::load_first(s, &shift[i * lanes..]);
            let factor = T::V::<S>::load_first(s, &factor[i * lanes..]);
            let slope = T::V::<S>::load_first(s, &slope[i * lanes..]);
            let offset = T::V::<S>::load_first(s, &offset[i * lanes..]);
            let rest = (T::V::<S>::load_first(s, x) - shift).mul_add(slope, offset);
            T::V::<S>::load_first(s, d).mul_add(factor, rest).store_first(out);
        }
    }
}

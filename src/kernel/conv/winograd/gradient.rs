//! The gradient of the weights.

use super::transforms::{input_rows, spread_input_row, spread_output_row};
use super::{PLACES, Product, SLAB, Winograd};
use crate::kernel::conv::microkernel::Start;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector};
use std::ops::Range;

/// Rows (place, input channel) of the sums of which the gradient is made, over some samples.
pub(in crate::kernel::conv) struct Gradient<'a, T> {
    pub plan: &'a Winograd,
    pub input: &'a [T],
    pub d_output: &'a [T],
    pub rows: Range<usize>,
    /// (rows, outputs).
    pub target: &'a mut [T],
    /// Whether to add to what stands in the target.
    pub add: bool,
    pub scratch: &'a mut [T],
}

impl<T: Element> Kernel for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, input, d_output, rows, target, add, scratch } = self;
        let [channels, width] = plan.channels;
        let samples = d_output.len() / (plan.target[0] * plan.target[1] * width);
        let count = samples * plan.tiles();
        let (zeros, scratch) = scratch.split_at_mut(channels.max(width));
        zeros.fill(T::zero());
        let (spread, rest) = scratch.split_at_mut(4 * SLAB * channels);
        let factors = &mut rest[..4 * SLAB * width];
        for first in (0..count).step_by(SLAB) {
            let tiles = first..(first + SLAB).min(count);
            let start = if add || first > 0 { Start::Target } else { Start::Zero };
            for a in 0..PLACES / 4 {
                let four = rows.start.max(4 * a * channels)..rows.end.min(4 * (a + 1) * channels);
                if four.is_empty() {
                    continue;
                }
                let (from, to) = ([input, d_output, zeros], [&mut *spread, &mut *factors]);
                match a {
                    0 => spread_row::<T, S, 0>(s, plan, from, tiles.clone(), to),
                    1 => spread_row::<T, S, 1>(s, plan, from, tiles.clone(), to),
                    2 => spread_row::<T, S, 2>(s, plan, from, tiles.clone(), to),
                    _ => spread_row::<T, S, 3>(s, plan, from, tiles.clone(), to),
                }
                for place in 4 * a..4 * (a + 1) {
                    let rows_of_place =
                        four.start.max(place * channels)..four.end.min((place + 1) * channels);
                    if rows_of_place.is_empty() {
                        continue;
                    }
                    let number = place % 4;
                    let spread = &spread[number * SLAB * channels..][..SLAB * channels];
                    let factors = &factors[number * SLAB * width..][..SLAB * width];
                    let product = Product {
                        runs: &plan.runs,
                        rows: rows_of_place.len(),
                        source: &spread[rows_of_place.start % channels..],
                        source_step: 1,
                        factors,
                        width,
                        target: &mut target[(rows_of_place.start - rows.start) * width..],
                        start,
                    };
                    product.run(s);
                }
            }
        }
    }
}

/// Row `A` of the windows and tiles of a slab, at its four places. Tiles that there are not are zeros.
#[inline(always)]
fn spread_row<T: Element, S: Simd, const A: usize>(
    s: S,
    plan: &Winograd,
    [input, d_output, zeros]: [&[T]; 3],
    tiles: Range<usize>,
    [spread, factors]: [&mut [T]; 2],
) {
    let ([channels, width], lanes) = (plan.channels, T::V::<S>::LANES);
    for (number, tile) in tiles.clone().enumerate() {
        let [first, second] = const { input_rows(A) };
        let window = plan.window(tile);
        let window = [window.pixels(first, input, zeros), window.pixels(second, input, zeros)];
        for channel in (0..channels).step_by(lanes) {
            let target = &mut spread[number * channels + channel..];
            let row = spread_input_row::<T, S, A>(s, &window, channel);
            for (b, values) in row.into_iter().enumerate() {
                values.store(&mut target[b * SLAB * channels..]);
            }
        }
        let patch = plan.tile(tile);
        let patch = [patch.pixels(0, d_output, zeros), patch.pixels(1, d_output, zeros)];
        for channel in (0..width).step_by(lanes) {
            let target = &mut factors[number * width + channel..];
            let row = spread_output_row::<T, S, A>(s, &patch, channel);
            for (b, values) in row.into_iter().enumerate() {
                values.store(&mut target[b * SLAB * width..]);
            }
        }
    }
    for b in 0..4 {
        let rest = b * SLAB + tiles.len()..(b + 1) * SLAB;
        spread[rest.start * channels..rest.end * channels].fill(T::zero());
        factors[rest.start * width..rest.end * width].fill(T::zero());
    }
}

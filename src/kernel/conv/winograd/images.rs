//! Forward, and back to the inputs.

use super::transforms::{spread_input, to_tile};
use super::{PLACES, Product, Winograd};
use crate::kernel::activation::curve::{Curve, Relu};
use crate::kernel::conv::microkernel::Start;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector};
use std::ops::Range;

/// A sum over windows, of some samples.
pub(in crate::kernel::conv) struct Tiled<'a, T> {
    pub plan: &'a Winograd,
    pub source: &'a [T],
    /// Spread: (places, source channels, outputs).
    pub weights: &'a [T],
    pub bias: Option<&'a [T]>,
    pub relu: bool,
    pub output: &'a mut [T],
    pub scratch: &'a mut [T],
}

impl<T: Element> Kernel for Tiled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, source, weights, bias, relu, output, scratch } = self;
        let [channels, width] = plan.channels;
        let samples = output.len() / (plan.target[0] * plan.target[1] * width);
        let count = samples * plan.tiles();
        let (zeros, scratch) = scratch.split_at_mut(channels);
        zeros.fill(T::zero());
        let (spread, rest) = scratch.split_at_mut(PLACES * plan.together * channels);
        let products = &mut rest[..PLACES * plan.together * width];
        let mut first = 0;
        while first < count {
            let tiles = first..(first + plan.together).min(count);
            spread_windows(s, plan, [source, zeros], tiles.clone(), spread);
            let places = spread.chunks_exact(plan.together * channels);
            let places = places.zip(products.chunks_exact_mut(plan.together * width));
            for ((spread, products), weights) in places.zip(weights.chunks_exact(channels * width)) {
                let product = Product {
                    runs: &plan.runs,
                    rows: tiles.len(),
                    source: spread,
                    source_step: channels,
                    factors: weights,
                    width,
                    target: products,
                    start: Start::Zero,
                };
                product.run(s);
            }
            gather_tiles(s, plan, tiles.clone(), products, bias, relu, output);
            first = tiles.end;
        }
    }
}

#[inline(always)]
fn spread_windows<T: Element, S: Simd>(
    s: S,
    plan: &Winograd,
    [source, zeros]: [&[T]; 2],
    tiles: Range<usize>,
    spread: &mut [T],
) {
    let channels = plan.channels[0];
    let place = plan.together * channels;
    for (number, tile) in tiles.enumerate() {
        let patch = plan.window(tile);
        let mut window = [[zeros; 4]; 4];
        for (y, row) in window.iter_mut().enumerate() {
            *row = patch.pixels(y, source, zeros);
        }
        for channel in (0..channels).step_by(T::V::<S>::LANES) {
            let values = spread_input(s, &window, channel);
            let target = &mut spread[number * channels + channel..];
            for (a, row) in values.into_iter().enumerate() {
                for (b, values) in row.into_iter().enumerate() {
                    values.store(&mut target[(4 * a + b) * place..]);
                }
            }
        }
    }
}

#[inline(always)]
fn gather_tiles<T: Element, S: Simd>(
    s: S,
    plan: &Winograd,
    tiles: Range<usize>,
    products: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: &mut [T],
) {
    let width = plan.channels[1];
    let place = plan.together * width;
    for (number, tile) in tiles.enumerate() {
        let patch = plan.tile(tile);
        for channel in (0..width).step_by(T::V::<S>::LANES) {
            let first = number * width + channel;
            let sums = to_tile(s, &products[first..], place);
            let bias = bias.map(|bias| T::V::<S>::load(s, &bias[channel..]));
            for (y, row) in sums.into_iter().enumerate() {
                for (x, sum) in row.into_iter().enumerate() {
                    let Some(at) = patch.pixel([y, x]) else { continue };
                    let sum = bias.map_or(sum, |bias| bias + sum);
                    let sum = if relu { Curve::<T>::value(Relu, s, sum) } else { sum };
                    sum.store(&mut output[at + channel..]);
                }
            }
        }
    }
}

//! Group normalisation; instance normalisation is that with a group for each channel.
//!
//! ```text
//! forward     samples    mean and variance by channel, put together by group; the normalised numbers, and the activation
//! backward    samples    sums of d and of d (x - mean) by channel, put together by group; the gradients of the inputs
//! gradient    batch      those of weight and bias, from the sums of the samples
//! ```

use super::norm_parts::{TILE, columns, gradient, step, store, tiles};
use crate::context::Context;
use crate::engine::function::{Backward, BatchCall, Compute, Forward, Function, Mode, Needs, Pass, Step};
use crate::kernel::Element;
use crate::kernel::normalize::{Derive, Moments, Plane, Scale, Sums, derive, repeat, scale};

/// Its parameters: weight and bias, if affine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupNorm {
    pub positions: usize,
    pub channels: usize,
    /// Which divide the channels.
    pub groups: usize,
    pub eps: f64,
    pub affine: bool,
}

impl GroupNorm {
    fn plane(&self, element: usize) -> Plane {
        Plane::new(self.positions, self.channels, element)
    }

    /// Scratch memory for four wide rows, two rows of channels, and what the kernels need.
    fn scratch(&self, element: usize) -> usize {
        let plane = self.plane(element);
        let kernels = Moments::<f32>::scratch(plane).max(Sums::<f32>::scratch(plane));
        4 * plane.width() + 2 * self.channels + kernels
    }

    /// Channels of a group.
    fn size(&self) -> usize {
        self.channels / self.groups
    }

    /// Mean and 1 / standard deviation of each group of a sample.
    fn statistics<T: Element>(&self, context: &Context, input: &[T], scratch: &mut [T], out: &mut [T]) {
        let plane = self.plane(size_of::<T>());
        let (means, scratch) = scratch.split_at_mut(self.channels);
        let (squares, scratch) = scratch.split_at_mut(self.channels);
        T::run(context, Moments { plane, input, means: &mut *means, squares: &mut *squares, scratch });
        let groups = means.chunks_exact(self.size()).zip(squares.chunks_exact(self.size()));
        for ((means, squares), out) in groups.zip(out.chunks_exact_mut(2)) {
            // As `Pool` does, of a group's channels.
            let count = means.len() as f64;
            let mean = means.iter().map(|&mean| Element::to_f64(mean)).sum::<f64>() / count;
            let (mut rest, mut between, mut within) = (0.0, 0.0, 0.0);
            for (&m, &square) in means.iter().zip(squares) {
                let difference = Element::to_f64(m) - mean;
                rest += difference;
                between += difference * difference;
                within += Element::to_f64(square);
            }
            let between = between - rest * (rest / count);
            // Rounding alone takes it below zero. NaN stays.
            let between = if between < 0.0 { 0.0 } else { between };
            let variance = (within / self.positions as f64 + between) / count;
            out[0] = T::from_f64(mean + rest / count);
            out[1] = T::from_f64(1.0 / (variance + self.eps).sqrt());
        }
    }

    /// The weight of a channel.
    fn weight<T: Element>(&self, parameters: &[&[T]], channel: usize) -> f64 {
        if self.affine { Element::to_f64(parameters[0][channel]) } else { 1.0 }
    }
}

impl Function for GroupNorm {
    fn name(&self) -> String {
        format!("group norm {} of {}", self.groups, self.channels)
    }

    fn work(&self) -> f64 {
        4.0 * self.positions as f64 * self.channels as f64
    }

    fn takes_activation(&self) -> bool {
        true
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let trains = mode.trained.contains(&true);
        let forward = vec![Step::Samples];
        // Statistics of the groups, and of prediction too; sums of the channels.
        let kept = 2 * self.groups + if trains { 2 * self.channels } else { 0 };
        let backward =
            if mode.training && (mode.wants[0] || trains) { vec![Step::Samples] } else { Vec::new() };
        let finish = |tile| {
            let at = columns(self.channels, tile);
            vec![gradient(&mode.trained, 0, &at), gradient(&mode.trained, 1, &at)]
        };
        let gradient =
            if trains { vec![step(0..0, (0..tiles(self.channels)).map(finish))] } else { Vec::new() };
        Needs { forward, backward, gradient, kept, scratch: self.scratch(mode.element), ..Needs::default() }
    }
}

impl<T: Element> Compute<T> for GroupNorm {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let (plane, count) = (self.plane(size_of::<T>()), call.samples.len());
        let kept = call.kept.chunks_exact_mut(call.kept.len() / count);
        let samples = call.inputs[0].chunks_exact(plane.len()).zip(call.output.chunks_exact_mut(plane.len()));
        for ((input, output), kept) in samples.zip(kept) {
            let statistics = &mut kept[..2 * self.groups];
            let (factors, scratch) = call.scratch.split_at_mut(3 * plane.width());
            self.statistics(call.context, input, scratch, statistics);
            let (shift, rest) = factors.split_at_mut(plane.width());
            let (factor, offset) = rest.split_at_mut(plane.width());
            for c in 0..self.channels {
                let [mean, inverse] = [0, 1].map(|i| statistics[2 * (c / self.size()) + i]);
                shift[c] = mean;
                factor[c] = T::from_f64(Element::to_f64(inverse) * self.weight(call.parameters, c));
                offset[c] = if self.affine { call.parameters[1][c] } else { T::zero() };
            }
            for wide in [&mut *shift, &mut *factor, &mut *offset] {
                repeat(wide, self.channels);
            }
            scale(
                call.context,
                call.activation,
                Scale { plane, input, shift, factor, offset, relu: false, output },
            );
        }
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        let (plane, count) = (self.plane(size_of::<T>()), call.samples.len());
        let row = call.kept.len() / count;
        let numbers = self.positions as f64 * self.size() as f64;
        let mut d_input = call.d_inputs[0].as_deref_mut().map(|d| d.chunks_exact_mut(plane.len()));
        let samples = call.inputs[0].chunks_exact(plane.len()).zip(call.d_output.chunks_exact(plane.len()));
        for ((input, d_output), kept) in samples.zip(call.kept.chunks_exact_mut(row)) {
            let (statistics, kept) = kept.split_at_mut(2 * self.groups);
            let (wide, scratch) = call.scratch.split_at_mut(4 * plane.width());
            let (shift, wide) = wide.split_at_mut(plane.width());
            let (factor, wide) = wide.split_at_mut(plane.width());
            let (slope, offset) = wide.split_at_mut(plane.width());
            for c in 0..self.channels {
                shift[c] = statistics[2 * (c / self.size())];
            }
            repeat(shift, self.channels);
            let (sums, scratch) = scratch.split_at_mut(self.channels);
            let (products, scratch) = scratch.split_at_mut(self.channels);
            let of_channels = (&mut *sums, &mut *products);
            let (sums, products) = of_channels;
            let job =
                Sums { plane, input, d_output, shift, sums: &mut *sums, products: &mut *products, scratch };
            T::run(call.context, job);
            if !kept.is_empty() {
                for c in 0..self.channels {
                    kept[c] = products[c] * statistics[2 * (c / self.size()) + 1];
                    kept[self.channels + c] = sums[c];
                }
            }
            let Some(d_input) = d_input.as_mut().and_then(Iterator::next) else { continue };
            for group in 0..self.groups {
                let channels = group * self.size()..(group + 1) * self.size();
                let (mut sum, mut product) = (0.0, 0.0);
                for c in channels.clone() {
                    let weight = self.weight(call.parameters, c);
                    sum += weight * Element::to_f64(sums[c]);
                    product += weight * Element::to_f64(products[c]);
                }
                let inverse = Element::to_f64(statistics[2 * group + 1]);
                for c in channels {
                    factor[c] = T::from_f64(inverse * self.weight(call.parameters, c));
                    slope[c] = T::from_f64(-inverse * (inverse * inverse) * (product / numbers));
                    offset[c] = T::from_f64(-inverse * (sum / numbers));
                }
            }
            for wide in [&mut *factor, &mut *slope, &mut *offset] {
                repeat(wide, self.channels);
            }
            derive(call.context, Derive { plane, input, d_output, shift, factor, slope, offset, d_input });
        }
    }

    fn batch(&self, _: Pass, _: usize, tile: usize, call: BatchCall<'_, T>) {
        let (at, row) = (columns(self.channels, tile), call.kept.len() / call.batch);
        add_up(call, row, 2 * self.groups + at.start, self.channels);
    }
}

/// The sums over all rows of what is kept, `row` elements each: the first that a tile writes from the element `at` on, the
/// second from `apart` elements further on.
pub(super) fn add_up<T: Element>(call: BatchCall<'_, T>, row: usize, at: usize, apart: usize) {
    add_up_rows(call.context, call.kept, call.batch, call.writes, call.accumulate, (row, at, apart));
}

pub(super) fn add_up_rows<T: Element>(
    context: &Context,
    rows: &[T],
    count: usize,
    writes: &mut [&mut [T]],
    accumulate: bool,
    (stride, at, apart): (usize, usize, usize),
) {
    for (i, target) in writes.iter_mut().enumerate().filter(|(_, target)| !target.is_empty()) {
        let mut sums = [0.0; TILE];
        let (rows, out) = (&rows[at + i * apart..], &mut sums[..target.len()]);
        T::run(context, crate::kernel::normalize::Total { rows, others: None, stride, count, out });
        store(target, &sums, accumulate);
    }
}

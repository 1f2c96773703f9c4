//! Batch normalisation.
//!
//! ```text
//! training    samples    sums of each sample, behind what computed it          (not where a sample has one position)
//!             batch      mean, 1 / standard deviation of each channel
//!             samples    the normalised numbers, and the activation
//! backward    samples    sums of d and of d (x - mean) of each sample          (not where a sample has one position)
//!             batch      their totals
//!             samples    the gradients of the inputs
//! gradient    batch      those of weight and bias; the running statistics, now that the losses were looked at
//! otherwise   prepare    factors from the running statistics; samples: one pass
//! ```

use super::norm_parts::{TILE, columns, gradient, part, step, store, tiles, wide};
use crate::engine::function::{
    Backward, BatchCall, Compute, Forward, Function, Mode, Needs, Pass, Step, Target, Write,
};
use crate::kernel::Element;
use crate::kernel::normalize::{
    Derive, Moments, Parts, Plane, Pool, Scale, Sums, Total, derive, repeat, scale,
};
use std::ops::Range;

/// Its parameters: weight and bias if affine; running mean, running variance and number of batches if it tracks them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchNorm {
    pub positions: usize,
    pub channels: usize,
    pub eps: f64,
    /// None: the mean over all batches.
    pub momentum: Option<f64>,
    pub affine: bool,
    pub tracks: bool,
}

/// What stands where in the shared memory: wide rows (see [`Plane`]) and channels.
struct Layout {
    shift: Range<usize>,
    factor: Range<usize>,
    offset: Range<usize>,
    /// What the running statistics are mixed with, and how much of it.
    variance: Range<usize>,
    share: Range<usize>,
    /// 1 / standard deviation.
    inverse: Range<usize>,
    slope: Range<usize>,
    d_offset: Range<usize>,
    d_weight: Range<usize>,
    d_bias: Range<usize>,
}

impl Layout {
    fn new(plane: Plane) -> Self {
        let mut at = 0;
        let mut next = |len: usize| {
            at += len;
            at - len..at
        };
        let (wide, channels) = (plane.width(), plane.channels);
        Self {
            shift: next(wide),
            factor: next(wide),
            offset: next(wide),
            variance: next(channels),
            share: next(channels),
            inverse: next(channels),
            slope: next(wide),
            d_offset: next(wide),
            d_weight: next(channels),
            d_bias: next(channels),
        }
    }
}

impl BatchNorm {
    fn plane(&self, element: usize) -> Plane {
        Plane::new(self.positions, self.channels, element)
    }

    /// The number of the first of the running statistics among the parameters.
    fn running(&self) -> usize {
        if self.affine { 2 } else { 0 }
    }

    /// The samples step that takes sums: where a sample has one position, they are its numbers.
    fn sums(&self) -> impl Iterator<Item = Step> {
        (self.positions > 1).then_some(Step::Samples).into_iter()
    }

    /// Elements of a sample that hold two sums of each channel.
    fn kept(&self) -> usize {
        if self.positions > 1 { 2 * self.channels } else { 0 }
    }

    /// Writes of shift, factor and offset of a tile.
    fn factors(&self, plane: Plane, tile: usize) -> Vec<Write> {
        let (layout, at) = (Layout::new(plane), columns(self.channels, tile));
        [layout.shift, layout.factor, layout.offset].iter().map(|range| wide(plane, range, &at)).collect()
    }

    /// Sets shift, factor and offset of the tile's channels, which are the first three that it writes. Returns 1 / standard
    /// deviation.
    fn set_factors<T: Element>(
        &self,
        call: &mut BatchCall<'_, T>,
        at: &Range<usize>,
        means: &[f64],
        variances: &[f64],
    ) -> [f64; TILE] {
        let mut inverses = [0.0; TILE];
        for (k, c) in at.clone().enumerate() {
            // One that is beyond the elements' range would make finite numbers of what is not, and stay in the statistics.
            let fits = T::from_f64(variances[k]).is_finite();
            inverses[k] = if fits { 1.0 / (variances[k] + self.eps).sqrt() } else { f64::NAN };
            let (weight, bias) = if self.affine {
                (Element::to_f64(call.parameters[0][c]), call.parameters[1][c])
            } else {
                (1.0, T::zero())
            };
            call.writes[0][k] = T::from_f64(means[k]);
            call.writes[1][k] = T::from_f64(inverses[k] * weight);
            call.writes[2][k] = bias;
        }
        for wide in &mut call.writes[..3] {
            repeat(wide, at.len());
        }
        inverses
    }

    /// Factors from the running statistics.
    fn fixed<T: Element>(&self, tile: usize, mut call: BatchCall<'_, T>) {
        let at = columns(self.channels, tile);
        let (mut means, mut variances) = ([0.0; TILE], [0.0; TILE]);
        for (k, c) in at.clone().enumerate() {
            means[k] = Element::to_f64(call.parameters[self.running()][c]);
            variances[k] = Element::to_f64(call.parameters[self.running() + 1][c]);
        }
        self.set_factors(&mut call, &at, &means, &variances);
    }

    /// Factors from the batch, and what the later passes need of it.
    fn statistics<T: Element>(&self, tile: usize, mut call: BatchCall<'_, T>) {
        let at = columns(self.channels, tile);
        let (stride, count) = (self.channels, call.batch);
        let parts = if self.positions == 1 {
            Parts { means: call.inputs[0], squares: &[], stride, count, size: 1.0 }
        } else {
            let squares = &call.kept[self.channels..];
            Parts { means: call.kept, squares, stride: 2 * stride, count, size: self.positions as f64 }
        };
        let (mut means, mut variances) = ([0.0; TILE], [0.0; TILE]);
        let parts = [parts.from(at.start), Parts::none()];
        let (pooled, squares) = (&mut means[..at.len()], &mut variances[..at.len()]);
        T::run(call.context, Pool { parts, means: pooled, squares });
        let count = self.count(call.batch);
        variances.iter_mut().for_each(|square| *square /= count);
        let inverses = self.set_factors(&mut call, &at, &means, &variances);
        let batches =
            call.parameters.get(self.running() + 2).map_or(0.0, |batches| Element::to_f64(batches[0]));
        let share = self.momentum.unwrap_or(1.0 / (batches.max(0.0) + 1.0));
        if let [_, _, _, variance, shares, inverse] = call.writes {
            for k in 0..at.len() {
                variance[k] = T::from_f64(variances[k]);
                shares[k] = T::from_f64(share);
                inverse[k] = T::from_f64(inverses[k]);
            }
        }
    }

    /// Numbers of a channel in the batch.
    fn count(&self, batch: usize) -> f64 {
        batch as f64 * self.positions as f64
    }

    /// The totals of d and of d (x - mean), and what the gradients are made of.
    fn totals<T: Element>(&self, tile: usize, call: BatchCall<'_, T>) {
        let (at, layout) = (columns(self.channels, tile), Layout::new(self.plane(size_of::<T>())));
        let (mut sums, mut products) = ([0.0; TILE], [0.0; TILE]);
        let (count, sums_out, products_out) = (call.batch, &mut sums[..at.len()], &mut products[..at.len()]);
        if self.positions == 1 {
            let (rows, stride) = (&call.d_output[at.start..], self.channels);
            let others = Some((&call.inputs[0][at.start..], &call.shared[layout.shift.start + at.start..]));
            T::run(call.context, Total { rows, others: None, stride, count, out: sums_out });
            T::run(call.context, Total { rows, others, stride, count, out: products_out });
        } else {
            let (rows, stride, others) = (&call.kept[at.start..], 2 * self.channels, None);
            T::run(call.context, Total { rows, others, stride, count, out: sums_out });
            let rows = &call.kept[self.channels + at.start..];
            T::run(call.context, Total { rows, others, stride, count, out: products_out });
        }
        let count = self.count(call.batch);
        let [slope, offset, d_weight, d_bias] = call.writes else { return };
        for (k, c) in at.clone().enumerate() {
            let inverse = Element::to_f64(call.shared[layout.inverse.start + c]);
            let weight = if self.affine { Element::to_f64(call.parameters[0][c]) } else { 1.0 };
            let factor = inverse * weight;
            slope[k] = T::from_f64(-factor * (inverse * inverse) * (products[k] / count));
            offset[k] = T::from_f64(-factor * (sums[k] / count));
            d_weight[k] = T::from_f64(products[k] * inverse);
            d_bias[k] = T::from_f64(sums[k]);
        }
        repeat(slope, at.len());
        repeat(offset, at.len());
    }

    /// The gradients of weight and bias, and the running statistics.
    fn finish<T: Element>(&self, tile: usize, call: BatchCall<'_, T>) {
        let (at, layout) = (columns(self.channels, tile), Layout::new(self.plane(size_of::<T>())));
        let of = |range: &Range<usize>, k: usize| Element::to_f64(call.shared[range.start + at.start + k]);
        let [d_weight, d_bias, means, variances, batches] = call.writes else { return };
        for (target, range) in [(d_weight, &layout.d_weight), (d_bias, &layout.d_bias)] {
            for (k, target) in target.iter_mut().enumerate() {
                store(std::slice::from_mut(target), &[of(range, k)], call.accumulate);
            }
        }
        // The variance of all numbers there could be, from those of a batch.
        let count = self.count(call.batch);
        let unbiased = count / (count - 1.0);
        for (target, range, scale) in [(means, &layout.shift, 1.0), (variances, &layout.variance, unbiased)] {
            for (k, running) in target.iter_mut().enumerate() {
                let share = of(&layout.share, k);
                let new = of(range, k) * scale;
                *running = T::from_f64(Element::to_f64(*running) * (1.0 - share) + new * share);
            }
        }
        for batches in batches.iter_mut() {
            *batches += T::one();
        }
    }
}

impl Function for BatchNorm {
    fn name(&self) -> String {
        format!("batch norm {}", self.channels)
    }

    fn work(&self) -> f64 {
        // What is read and written counts more than what is computed.
        4.0 * self.positions as f64 * self.channels as f64
    }

    fn takes_activation(&self) -> bool {
        true
    }

    fn refuses(&self, mode: &Mode) -> Option<(String, String)> {
        let alone = (mode.training || !self.tracks) && mode.batch * self.positions == 1;
        alone.then(|| ("more than 1 value per channel when training".to_owned(), "1".to_owned()))
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let plane = self.plane(mode.element);
        let layout = Layout::new(plane);
        let each = 0..tiles(self.channels);
        let factors = |tile| self.factors(plane, tile);
        if !mode.training && self.tracks {
            let prepare = vec![step(0..0, each.map(factors))];
            return Needs {
                prepare,
                forward: vec![Step::Samples],
                shared: layout.offset.end,
                ..Needs::default()
            };
        }
        let statistics = |tile| {
            let at = columns(self.channels, tile);
            let mut writes = factors(tile);
            writes.extend([&layout.variance, &layout.share, &layout.inverse].map(|range| part(range, &at)));
            writes
        };
        let mut forward: Vec<Step> = self.sums().collect();
        forward.extend([Step::Batch(step(0..0, each.clone().map(statistics))), Step::Samples]);
        let forward_only = Needs {
            forward,
            kept: self.kept(),
            shared: layout.inverse.end,
            scratch: Moments::<f32>::scratch(plane).max(Sums::<f32>::scratch(plane)),
            ..Needs::default()
        };
        if !mode.training {
            return forward_only;
        }
        let mut backward = Vec::new();
        let trains = mode.trained.contains(&true);
        if mode.wants[0] || trains {
            let totals = |tile| {
                let at = columns(self.channels, tile);
                let mut writes =
                    [&layout.slope, &layout.d_offset].map(|range| wide(plane, range, &at)).to_vec();
                writes.extend([&layout.d_weight, &layout.d_bias].map(|range| part(range, &at)));
                writes
            };
            backward.extend(self.sums());
            backward.push(Step::Batch(step(0..layout.inverse.end, each.clone().map(totals))));
            backward.extend(mode.wants[0].then_some(Step::Samples));
        }
        let finish = |tile| {
            let at = columns(self.channels, tile);
            let nothing = || Write { target: Target::Shared, range: 0..0 };
            let mut writes = if self.affine {
                vec![gradient(&mode.trained, 0, &at), gradient(&mode.trained, 1, &at)]
            } else {
                vec![nothing(), nothing()]
            };
            let running = |i: usize, range: Range<usize>| match self.tracks {
                true => Write { target: Target::Buffer(self.running() + i), range },
                false => nothing(),
            };
            writes.extend([running(0, at.clone()), running(1, at), running(2, 0..usize::from(tile == 0))]);
            writes
        };
        let gradient = if self.tracks || trains {
            vec![step(0..layout.d_bias.end, each.map(finish))]
        } else {
            Vec::new()
        };
        Needs { backward, gradient, shared: layout.d_bias.end, ..forward_only }
    }
}

impl<T: Element> Compute<T> for BatchNorm {
    fn forward(&self, step: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let plane = self.plane(size_of::<T>());
        if (call.training || !self.tracks) && self.positions > 1 && step == 0 {
            let samples = call.inputs[0].chunks_exact(plane.len());
            for (input, kept) in samples.zip(call.kept.chunks_exact_mut(2 * self.channels)) {
                let (means, squares) = kept.split_at_mut(self.channels);
                T::run(call.context, Moments { plane, input, means, squares, scratch: &mut *call.scratch });
            }
            return Ok(());
        }
        let layout = Layout::new(plane);
        let input = call.inputs[0];
        let job = Scale {
            plane: plane.of(input.len()),
            input,
            shift: &call.shared[layout.shift],
            factor: &call.shared[layout.factor],
            offset: &call.shared[layout.offset],
            relu: false,
            output: call.output,
        };
        scale(call.context, call.activation, job);
        Ok(())
    }

    fn backward(&self, step: usize, call: Backward<'_, T>) {
        let plane = self.plane(size_of::<T>());
        let layout = Layout::new(plane);
        let (input, d_output) = (call.inputs[0], call.d_output);
        let shift = &call.shared[layout.shift];
        if self.positions > 1 && step == 0 {
            let samples = input.chunks_exact(plane.len()).zip(d_output.chunks_exact(plane.len()));
            for ((input, d_output), kept) in samples.zip(call.kept.chunks_exact_mut(2 * self.channels)) {
                let (sums, products) = kept.split_at_mut(self.channels);
                let scratch = &mut *call.scratch;
                T::run(call.context, Sums { plane, input, d_output, shift, sums, products, scratch });
            }
            return;
        }
        let [Some(d_input)] = call.d_inputs else { return };
        let job = Derive {
            plane: plane.of(input.len()),
            input,
            d_output,
            shift,
            factor: &call.shared[layout.factor],
            slope: &call.shared[layout.slope],
            offset: &call.shared[layout.d_offset],
            d_input,
        };
        derive(call.context, job);
    }

    fn batch(&self, pass: Pass, _: usize, tile: usize, call: BatchCall<'_, T>) {
        match pass {
            Pass::Prepare => self.fixed(tile, call),
            Pass::Forward => self.statistics(tile, call),
            Pass::Backward => self.totals(tile, call),
            Pass::Gradient => self.finish(tile, call),
        }
    }
}

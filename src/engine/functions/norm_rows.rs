//! Layer and RMS normalisation.
//!
//! ```text
//! forward     samples    mean and variance of each row, the normalised numbers, and the activation
//! backward    samples    the gradients of the inputs; of samples of many rows, their part of those of weight and bias
//! gradient    batch      of samples of few rows, the parts of some samples together
//!             batch      the parts in order
//! ```

use super::norm_group::add_up_rows;
use super::norm_parts::{columns, gradient, step, tiles};
use crate::engine::function::{
    Backward, BatchCall, Compute, Forward, Function, Mode, Needs, Pass, Step, Target, Write,
};
use crate::kernel::Element;
use crate::kernel::activation::{self, Activation};
use crate::kernel::normalize::{RowDerive, RowScale, RowSums};
use std::ops::Range;

/// Rows of a sample from which its part of the gradients is taken while it is in the cache; below, that would be more numbers
/// than it saves reading.
const MANY: usize = 8;

/// Rows, about, of a part that is taken of several samples.
const ROWS: usize = 64;

/// Its parameters: weight and bias, if it has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowNorm {
    /// Of a sample.
    pub rows: usize,
    pub width: usize,
    /// None: the distance from 1 to the next number.
    pub eps: Option<f64>,
    /// False: nothing is taken off.
    pub centred: bool,
    pub weight: bool,
    /// There is one only with a weight.
    pub bias: bool,
}

impl RowNorm {
    /// Samples of a part of the gradients, where one is not a part.
    fn samples(&self) -> usize {
        ROWS.div_ceil(self.rows)
    }

    /// The samples of a part.
    fn part(&self, part: usize, batch: usize) -> Range<usize> {
        part * self.samples()..batch.min((part + 1) * self.samples())
    }

    /// Weight or bias; empty if there is none.
    fn of<'a, T>(&self, parameters: &[&'a [T]], index: usize) -> &'a [T] {
        let has = if index == 0 { self.weight } else { self.bias };
        if has { parameters[index] } else { &[] }
    }

    /// Elements of a part: those of the weight, then those of the bias.
    fn part_len(&self) -> usize {
        self.width * (usize::from(self.weight) + usize::from(self.bias))
    }
}

impl Function for RowNorm {
    fn name(&self) -> String {
        format!("{} norm {}", if self.centred { "layer" } else { "RMS" }, self.width)
    }

    fn work(&self) -> f64 {
        4.0 * self.rows as f64 * self.width as f64
    }

    fn takes_activation(&self) -> bool {
        true
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let forward = vec![Step::Samples];
        if !mode.training {
            return Needs { forward, ..Needs::default() };
        }
        let trains = mode.trained.contains(&true);
        let (mut kept, mut shared) = (2 * self.rows, 0);
        let mut steps = Vec::new();
        let in_samples = trains && self.rows >= MANY;
        if in_samples {
            kept += self.part_len();
        } else if trains {
            let parts = mode.batch.div_ceil(self.samples());
            shared = parts * self.part_len();
            let part = |part: usize| {
                vec![Write {
                    target: Target::Shared,
                    range: part * self.part_len()..(part + 1) * self.part_len(),
                }]
            };
            steps.push(step(0..0, (0..parts).map(part)));
        }
        if trains {
            let finish = |tile| {
                let at = columns(self.width, tile);
                vec![gradient(&mode.trained, 0, &at), gradient(&mode.trained, 1, &at)]
            };
            steps.push(step(0..shared, (0..tiles(self.width)).map(finish)));
        }
        let backward = if mode.wants[0] || in_samples { vec![Step::Samples] } else { Vec::new() };
        Needs { forward, backward, gradient: steps, kept, shared, ..Needs::default() }
    }
}

impl<T: Element> Compute<T> for RowNorm {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let (sample, count) = (self.rows * self.width, call.samples.len());
        let kept = call.kept.len() / count;
        // A sample at a time: what is kept of it may have more than the statistics, and the activation finds it in the cache.
        let samples = call.inputs[0].chunks_exact(sample).zip(call.output.chunks_exact_mut(sample));
        for (i, (input, output)) in samples.enumerate() {
            let statistics = &mut call.kept[i * kept..(i + 1) * kept];
            let end = statistics.len().min(2 * self.rows);
            let job = RowScale {
                width: self.width,
                centred: self.centred,
                eps: self.eps.unwrap_or(Element::to_f64(T::epsilon())),
                input,
                weight: self.of(call.parameters, 0),
                bias: self.of(call.parameters, 1),
                output: &mut *output,
                statistics: &mut statistics[..end],
            };
            T::run(call.context, job);
            if call.activation != Activation::Identity {
                let done = activation::forward_in_place(call.context, call.activation, output);
                debug_assert!(done.is_ok(), "the activation was checked when the model was built");
            }
        }
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        let (sample, count) = (self.rows * self.width, call.samples.len());
        let kept = call.kept.len() / count;
        let mut d_input = call.d_inputs[0].as_deref_mut().map(|d| d.chunks_exact_mut(sample));
        let samples = call.inputs[0].chunks_exact(sample).zip(call.d_output.chunks_exact(sample));
        for ((input, d_output), kept) in samples.zip(call.kept.chunks_exact_mut(kept)) {
            let (statistics, part) = kept.split_at_mut(2 * self.rows);
            if let Some(d_input) = d_input.as_mut().and_then(Iterator::next) {
                let (width, centred, weight) = (self.width, self.centred, self.of(call.parameters, 0));
                let job = RowDerive { width, centred, input, d_output, weight, statistics, d_input };
                T::run(call.context, job);
            }
            if !part.is_empty() {
                let (d_weight, d_bias) = part.split_at_mut(self.width);
                let job = RowSums { width: self.width, input, d_output, statistics, d_weight, d_bias };
                T::run(call.context, job);
            }
        }
    }

    fn batch(&self, _: Pass, number: usize, tile: usize, call: BatchCall<'_, T>) {
        if self.rows < MANY && number == 0 {
            let samples = self.part(tile, call.batch);
            let elements = samples.start * self.rows * self.width..samples.end * self.rows * self.width;
            let statistics = &call.kept[samples.start * 2 * self.rows..samples.end * 2 * self.rows];
            let [part] = call.writes else { return };
            let (d_weight, d_bias) = part.split_at_mut(self.width);
            let (input, d_output) = (&call.inputs[0][elements.clone()], &call.d_output[elements]);
            let job = RowSums { width: self.width, input, d_output, statistics, d_weight, d_bias };
            return T::run(call.context, job);
        }
        let at = columns(self.width, tile).start;
        let (rows, count, stride, first) = if self.rows < MANY {
            (call.shared, call.batch.div_ceil(self.samples()), self.part_len(), at)
        } else {
            (call.kept, call.batch, call.kept.len() / call.batch, 2 * self.rows + at)
        };
        add_up_rows(call.context, rows, count, call.writes, call.accumulate, (stride, first, self.width));
    }
}

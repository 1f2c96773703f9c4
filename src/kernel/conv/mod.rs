//! Convolution of images (height, width, channels), without a copy of the patches: implicit products.
//!
//! Weights stand as (taps, input channels of a group, outputs). One [`Convolution`] knows three sums, which are also those of a
//! transposed convolution: its forward pass is `to_input`, with the weights of the convolution whose backward pass it is.
//!
//! ```text
//!   to_output     output[p, n]     = sum over taps t, channels c:  input[p at t, c] * weights[t, c, n]
//!   to_input      input[p, c]      = sum over taps t, outputs n:   output[p back at t, n] * turned[t, n, c]
//!   to_weights    weights[t, c, n] = sum over samples, pixels p:   input[p at t, c] * output[p, n]
//! ```
//!
//! # Order
//! The terms of a pixel's sum are those inside the source, and where few pixels lie at a border also some that are zeros beside it:
//! by place in the source, ascending, then by channel. A sum is cut in chunks of 512 terms, each one chain of fused
//! multiply-adds from +0; the bias, or zero, is what they are added to, in order. `to_weights` has a chain for each sample's
//! pixels. All of that is a matter of shapes alone.

mod border;
mod gather;
mod line;
#[allow(unsafe_code, reason = "the register tile works on pointers")]
mod microkernel;
#[cfg(all(test, unix))]
mod tests;
mod weights;

use super::activation::{self, Activation};
use super::compiled::compiled;
use super::element::Element;
use crate::context::Context;
use crate::simd::{Kernel, Simd};
use gather::{Gather, Gathered, Groups};
use line::Line;
use std::ops::Range;
use weights::{Gradient, WeightGradient};

/// Sizes of a convolution; of dimensions height first. A sequence has a height of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub input: [usize; 2],
    pub output: [usize; 2],
    /// Of the input, and of the output.
    pub channels: [usize; 2],
    pub groups: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Zeros before the first row and column; behind the last as many as the output's size needs.
    pub padding: [usize; 2],
}

impl Sizes {
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Rows of the weights: taps times input channels of a group.
    pub(crate) fn rows(&self) -> usize {
        self.taps() * self.channels[0] / self.groups
    }

    /// Elements of the weights.
    pub(crate) fn weights(&self) -> usize {
        self.rows() * self.channels[1]
    }

    /// Elements of an input sample.
    pub(crate) fn inputs(&self) -> usize {
        self.input[0] * self.input[1] * self.channels[0]
    }

    /// Elements of an output sample.
    pub(crate) fn outputs(&self) -> usize {
        self.output[0] * self.output[1] * self.channels[1]
    }

    /// Whether every group has one channel and one output.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.channels == [self.groups; 2]
    }
}

/// A convolution, planned.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    sizes: Sizes,
    to_output: Gather,
    to_input: Gather,
    to_weights: WeightGradient,
}

/// What a pass of a convolution reads beside the weights, and what follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish<'a, T> {
    pub bias: Option<&'a [T]>,
    pub activation: Activation,
}

impl<T> Finish<'_, T> {
    pub(crate) const NONE: Self = Self { bias: None, activation: Activation::Identity };
}

impl Convolution {
    /// # Panics
    /// If a size is 0, or the groups do not divide the channels.
    pub(crate) fn new(sizes: Sizes) -> Self {
        let [channels, outputs] = sizes.channels.map(|channels| channels / sizes.groups);
        assert!(sizes.channels == [channels, outputs].map(|channels| channels * sizes.groups));
        let positive =
            [sizes.input, sizes.output, sizes.kernel, sizes.stride, sizes.dilation, [channels, outputs]];
        assert!(positive.iter().flatten().all(|&size| size > 0));
        let line = |i: usize| {
            let counts = [sizes.output[i], sizes.input[i], sizes.kernel[i]];
            Line::forward(counts, sizes.stride[i], sizes.dilation[i], sizes.padding[i])
        };
        let (y, x) = (line(0), line(1));
        let groups = Groups { groups: sizes.groups, sources: channels, outputs };
        let back = Groups { sources: outputs, outputs: channels, ..groups };
        Self {
            sizes,
            to_output: Gather::new(&y, &x, groups, false),
            // The weights of single channels are read as they are.
            to_input: Gather::new(&y.transposed(), &x.transposed(), back, !sizes.is_depthwise()),
            to_weights: WeightGradient::new(&y, &x, groups, sizes.stride),
        }
    }

    pub(crate) fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Elements of scratch memory that each pass takes.
    pub(crate) fn scratch(&self) -> usize {
        self.to_output.scratch().max(self.to_input.scratch()).max(self.to_weights.scratch())
    }

    /// `output = activation(bias + convolution of input)`, for as many samples as there are.
    ///
    /// # Panics
    /// If a slice does not have the length that it should have.
    pub(crate) fn to_output<T: Element>(
        &self,
        context: &Context,
        [input, weights]: [&[T]; 2],
        finish: Finish<'_, T>,
        output: &mut [T],
        scratch: &mut [T],
    ) {
        assert_eq!(input.len() / self.sizes.inputs(), output.len() / self.sizes.outputs());
        gather(context, &self.to_output, [input, weights], finish, output, scratch);
    }

    /// `input = activation(bias + transposed convolution of output)`, with the weights [turned](Self::turn), or as they are if
    /// the convolution is depthwise.
    ///
    /// # Panics
    /// As [`to_output`](Self::to_output).
    pub(crate) fn to_input<T: Element>(
        &self,
        context: &Context,
        [output, turned]: [&[T]; 2],
        finish: Finish<'_, T>,
        input: &mut [T],
        scratch: &mut [T],
    ) {
        assert_eq!(input.len() / self.sizes.inputs(), output.len() / self.sizes.outputs());
        gather(context, &self.to_input, [output, turned], finish, input, scratch);
    }

    /// The rows `rows` of the gradient of the weights, over as many samples as there are; `add`ed to `target`, or set.
    ///
    /// # Panics
    /// As [`to_output`](Self::to_output).
    #[allow(clippy::too_many_arguments, reason = "in and out, and which part")]
    pub(crate) fn to_weights<T: Element>(
        &self,
        context: &Context,
        [input, d_output]: [&[T]; 2],
        rows: Range<usize>,
        target: &mut [T],
        add: bool,
        scratch: &mut [T],
    ) {
        assert!(rows.end <= self.sizes.rows());
        assert_eq!(target.len(), rows.len() * self.sizes.channels[1]);
        assert_eq!(input.len() / self.sizes.inputs(), d_output.len() / self.sizes.outputs());
        T::run(context, Gradient { plan: &self.to_weights, input, d_output, rows, target, add, scratch });
    }

    /// Rows of the turned weights: taps times outputs of a group, each of all input channels.
    pub(crate) fn turned_rows(&self) -> usize {
        self.sizes.taps() * self.sizes.channels[1] / self.sizes.groups
    }

    /// The rows `rows` of the turned weights: the taps from the last to the first, and in each a group's outputs and input channels
    /// changed.
    ///
    /// # Panics
    /// As [`to_output`](Self::to_output).
    pub(crate) fn turn<T: Element>(&self, weights: &[T], rows: Range<usize>, target: &mut [T]) {
        let Sizes { channels: [inputs, outputs], groups, .. } = self.sizes;
        let (channels, width) = (inputs / groups, outputs / groups);
        assert!(weights.len() == self.sizes.weights() && target.len() == rows.len() * inputs);
        for (row, target) in rows.zip(target.chunks_exact_mut(inputs)) {
            let (tap, n) = (self.sizes.taps() - 1 - row / width, row % width);
            let tap = &weights[tap * channels * outputs..][..channels * outputs];
            for (group, target) in target.chunks_exact_mut(channels).enumerate() {
                let column = tap[group * width + n..].iter().step_by(outputs);
                for (to, &from) in target.iter_mut().zip(column) {
                    *to = from;
                }
            }
        }
    }
}

fn gather<T: Element>(
    context: &Context,
    plan: &Gather,
    [source, weights]: [&[T]; 2],
    finish: Finish<'_, T>,
    output: &mut [T],
    scratch: &mut [T],
) {
    let Finish { bias, activation } = finish;
    let relu = activation == Activation::Relu;
    T::run(context, Gathered { plan, source, weights, bias, relu, output, scratch });
    if !relu {
        // Its parameter was checked when the layer was made.
        let applied = activation::forward_in_place(context, activation, output);
        debug_assert!(applied.is_ok());
    }
}

/// `sum[i] += other[i]`, for as many as both have.
pub(crate) fn add<T: Element>(context: &Context, sum: &mut [T], other: &[T]) {
    T::run(context, Add { sum, other });
}

pub(crate) struct Add<'a, T> {
    sum: &'a mut [T],
    other: &'a [T],
}

impl<T: Element> Kernel for Add<'_, T> {
    type Output = ();
    // A plain loop, which the compiler makes vectors of.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (sum, &other) in self.sum.iter_mut().zip(self.other) {
            *sum += other;
        }
    }
}

compiled! {
    Gathered<'a, Self>,
    Gradient<'a, Self>,
    Add<'a, Self>,
}

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
//! Where an image has few channels, each of the sums may be that of a convolution whose pixels are several of its own side by side
//! (`packing`): then it reads weights that were [arranged](Convolution::arrange) for it.
//!
//! Where channels are many, kernels of 3 x 3 take [fewer products](winograd).
//!
//! # Order
//! The terms of a pixel's sum are those inside the source, and where few pixels lie at a border also some that are zeros beside it:
//! by place in the source, ascending, then by channel; between them those of arranged weights that are zeros
//! (an infinite pixel so makes NaN of those that are packed with its outputs). A sum is cut in chunks of 512 terms, each one chain of fused
//! multiply-adds from +0; the bias, or zero, is what they are added to, in order. `to_weights` has a chain for each sample's
//! pixels, or for those at each place of a packed one. All of that is a matter of shapes alone; so is the order of sums with
//! fewer products, which is said there.

mod border;
mod gather;
mod line;
#[allow(unsafe_code, reason = "the register tile works on pointers")]
mod microkernel;
mod packing;
#[cfg(all(test, unix))]
mod tests;
mod weights;
mod winograd;

use super::activation::{self, Activation};
use super::compiled::compiled;
use super::element::Element;
use super::gemm::blocking::MAX_ROWS;
use crate::context::Context;
use crate::simd::{Kernel, Simd};
use gather::{Gather, Gathered, Groups};
use line::Line;
use packing::Packing;
use std::ops::Range;
use weights::{Gradient, WeightGradient};
use winograd::{Arrange, Fold, Tiled, Winograd};

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

    /// Its dimensions, forward.
    fn lines(&self) -> [Line; 2] {
        [0, 1].map(|i| {
            let counts = [self.output[i], self.input[i], self.kernel[i]];
            Line::forward(counts, self.stride[i], self.dilation[i], self.padding[i])
        })
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
    /// By direction.
    images: [Images; 2],
    to_weights: Weights,
    /// Of each of the three sums.
    packings: [Packing; 3],
    /// Of what `to_weights` computes.
    sums: Sizes,
}

/// How images are computed.
#[derive(Clone, Debug)]
enum Images {
    Gather(Gather),
    Winograd(Winograd),
}

/// How the gradient of the weights is.
#[derive(Clone, Debug)]
enum Weights {
    Direct(WeightGradient),
    Winograd(Winograd),
}

/// A pass over images: from inputs to outputs, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Output,
    Input,
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
    /// `direct`: each term of the sums is a product, also where there is a way with fewer.
    ///
    /// # Panics
    /// If a size is 0, or the groups do not divide the channels.
    pub(crate) fn new(sizes: Sizes, direct: bool) -> Self {
        let [channels, outputs] = sizes.channels.map(|channels| channels / sizes.groups);
        assert!(sizes.channels == [channels, outputs].map(|channels| channels * sizes.groups));
        let positive =
            [sizes.input, sizes.output, sizes.kernel, sizes.stride, sizes.dilation, [channels, outputs]];
        assert!(positive.iter().flatten().all(|&size| size > 0));
        let packings = [Packing::of_outputs(sizes), Packing::of_inputs(sizes), Packing::of_outputs(sizes)];
        let lines = packings.map(|packing| packing.packed().lines());
        let groups = packings.map(|packing| {
            let [sources, outputs] = packing.packed().channels.map(|channels| channels / sizes.groups);
            Groups { groups: sizes.groups, sources, outputs }
        });
        let back = Groups { sources: groups[1].outputs, outputs: groups[1].sources, ..groups[1] };
        let [[y, x], [back_y, back_x], [sum_y, sum_x]] = &lines;
        let winograd = |of: fn(&Sizes) -> Option<Winograd>| if direct { None } else { of(&sizes) };
        let output = match winograd(Winograd::of_outputs) {
            Some(plan) => Images::Winograd(plan),
            None => Images::Gather(Gather::new(y, x, groups[0], false)),
        };
        let input = match winograd(Winograd::of_inputs) {
            Some(plan) => Images::Winograd(plan),
            // The weights of single channels are read as they are.
            None => {
                let (y, x) = (back_y.transposed(), back_x.transposed());
                Images::Gather(Gather::new(&y, &x, back, !sizes.is_depthwise()))
            }
        };
        let (to_weights, sums) = match winograd(Winograd::of_weights) {
            Some(plan) => (Weights::Winograd(plan), Sizes { kernel: [4, 4], ..sizes }),
            None => {
                let sums = *packings[2].packed();
                let direct = WeightGradient::new(sum_y, sum_x, groups[2], sums.stride);
                (Weights::Direct(direct), sums)
            }
        };
        Self { sizes, images: [output, input], to_weights, packings, sums }
    }

    pub(crate) fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Elements of scratch memory that each pass takes.
    pub(crate) fn scratch(&self) -> usize {
        let images = [Direction::Output, Direction::Input].map(|direction| {
            // The biases of packed pixels stand before it.
            self.arranged(direction).1
                + match &self.images[direction as usize] {
                    Images::Gather(plan) => plan.scratch(),
                    Images::Winograd(plan) => plan.scratch(),
                }
        });
        let weights = match &self.to_weights {
            Weights::Direct(plan) => plan.scratch(),
            Weights::Winograd(plan) => plan.gradient_scratch(),
        };
        images[0].max(images[1]).max(weights)
    }

    /// `output = activation(bias + convolution of input)`, for as many samples as there are, with the weights
    /// [arranged](Self::arrange) if they are to be.
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
        self.gather(context, Direction::Output, [input, weights], finish, output, scratch);
    }

    /// `input = activation(bias + transposed convolution of output)`, with the weights [arranged](Self::arrange), or as they are if
    /// the convolution is depthwise.
    ///
    /// # Panics
    /// As [`to_output`](Self::to_output).
    pub(crate) fn to_input<T: Element>(
        &self,
        context: &Context,
        [output, arranged]: [&[T]; 2],
        finish: Finish<'_, T>,
        input: &mut [T],
        scratch: &mut [T],
    ) {
        assert_eq!(input.len() / self.sizes.inputs(), output.len() / self.sizes.outputs());
        self.gather(context, Direction::Input, [output, arranged], finish, input, scratch);
    }

    /// The rows `rows` of the [sums](Self::sums) of which the gradient of the weights is made, over as many samples as there are;
    /// `add`ed to `target`, or set.
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
        assert!(rows.end <= self.sums().rows());
        assert_eq!(target.len(), rows.len() * self.sums().channels[1]);
        assert_eq!(input.len() / self.sizes.inputs(), d_output.len() / self.sizes.outputs());
        match &self.to_weights {
            Weights::Direct(plan) => {
                T::run(context, Gradient { plan, input, d_output, rows, target, add, scratch });
            }
            Weights::Winograd(plan) => {
                T::run(context, winograd::Gradient { plan, input, d_output, rows, target, add, scratch });
            }
        }
    }

    /// Sizes of the weights whose gradient [`to_weights`](Self::to_weights) computes. If they are not those of the convolution, each
    /// weight's gradient is the sum of several of them.
    pub(crate) fn sums(&self) -> &Sizes {
        &self.sums
    }

    /// Their rows are best divided at multiples of it.
    pub(crate) fn rows_together(&self) -> usize {
        match &self.to_weights {
            // Those of a register tile.
            Weights::Direct(_) => MAX_ROWS,
            Weights::Winograd(_) => self.sizes.channels[0],
        }
    }

    /// Whether those are the gradient of the weights.
    pub(crate) fn sums_are_gradient(&self) -> bool {
        self.sums == self.sizes
    }

    /// The gradients of the weights, from all `sums`; `add`ed to `target`, or set.
    ///
    /// # Panics
    /// As [`to_output`](Self::to_output).
    pub(crate) fn fold<T: Element>(&self, context: &Context, sums: &[T], target: &mut [T], add: bool) {
        let (packing, packed) = (&self.packings[2], self.sums());
        let Sizes { channels: [inputs, outputs], kernel: [_, width], .. } = self.sizes;
        assert!(sums.len() == packed.weights() && target.len() == self.sizes.weights());
        if let Weights::Winograd(_) = self.to_weights {
            T::run(context, Fold { sums, target, add });
            return;
        }
        if !add {
            target.fill(T::zero());
        }
        for (number, tap) in sums.chunks_exact(inputs * packed.channels[1]).enumerate() {
            let (ky, u) = (number / packed.kernel[1], number % packed.kernel[1]);
            for i in 0..packed.channels[1] / outputs {
                let Some(column) = packing.column(u, [0, i]) else { continue };
                let target = &mut target[(ky * width + column) * inputs * outputs..][..inputs * outputs];
                let rows = tap.chunks_exact(packed.channels[1]).zip(target.chunks_exact_mut(outputs));
                for (row, target) in rows {
                    for (to, &from) in target.iter_mut().zip(&row[i * outputs..]) {
                        *to += from;
                    }
                }
            }
        }
    }

    /// Rows of the arranged weights of a direction, and elements of each. No rows if they are read as they are.
    pub(crate) fn arranged(&self, direction: Direction) -> (usize, usize) {
        if let Images::Winograd(plan) = &self.images[direction as usize] {
            return plan.arranged();
        }
        let packing = &self.packings[direction as usize];
        let packed = packing.packed();
        match direction {
            Direction::Output if packing.is_none() => (0, packed.channels[1]),
            Direction::Output => (packed.rows(), packed.channels[1]),
            Direction::Input if packed.is_depthwise() => (0, packed.channels[0]),
            Direction::Input => (packed.taps() * packed.channels[1] / packed.groups, packed.channels[0]),
        }
    }

    /// The rows `rows` of the weights as a direction reads them: packed; and for the inputs with the taps from the last to the first,
    /// and in each a group's outputs and input channels changed.
    ///
    /// # Panics
    /// As [`to_output`](Self::to_output).
    pub(crate) fn arrange<T: Element>(
        &self,
        context: &Context,
        direction: Direction,
        weights: &[T],
        rows: Range<usize>,
        target: &mut [T],
    ) {
        let packing = &self.packings[direction as usize];
        let (packed, row_width) = (packing.packed(), self.arranged(direction).1);
        let Sizes { channels: [inputs, outputs], groups, .. } = self.sizes;
        let (channels, width) = (inputs / groups, outputs / groups);
        assert!(weights.len() == self.sizes.weights() && target.len() == rows.len() * row_width);
        if let Images::Winograd(_) = self.images[direction as usize] {
            T::run(context, Arrange { direction, channels: self.sizes.channels, weights, rows, target });
            return;
        }
        // A tap's weights (channels, outputs) of a pixel of the input's and one of the output's, if there are any.
        let tap = |tap: usize, pixels: [usize; 2]| {
            let column = packing.column(tap % packed.kernel[1], pixels)?;
            let tap = tap / packed.kernel[1] * self.sizes.kernel[1] + column;
            Some(&weights[tap * channels * outputs..][..channels * outputs])
        };
        for (row, target) in rows.zip(target.chunks_exact_mut(row_width)) {
            match direction {
                Direction::Output => {
                    let (number, source) = (row / packed.channels[0], row % packed.channels[0]);
                    let (j, c) = (source / inputs, source % inputs);
                    for (i, target) in target.chunks_exact_mut(outputs).enumerate() {
                        match tap(number, [j, i]) {
                            Some(tap) => target.copy_from_slice(&tap[c * outputs..][..outputs]),
                            None => target.fill(T::zero()),
                        }
                    }
                }
                Direction::Input => {
                    let sources = packed.channels[1] / groups;
                    let (number, source) = (packed.taps() - 1 - row / sources, row % sources);
                    let (i, n) = (source / width, source % width);
                    for (part, target) in target.chunks_exact_mut(channels).enumerate() {
                        // Parts are groups, or pixels of one.
                        let (group, j) = if groups > 1 { (part, 0) } else { (0, part) };
                        let Some(tap) = tap(number, [j, i]) else {
                            target.fill(T::zero());
                            continue;
                        };
                        let column = tap[group * width + n..].iter().step_by(outputs);
                        for (to, &from) in target.iter_mut().zip(column) {
                            *to = from;
                        }
                    }
                }
            }
        }
    }

    fn gather<T: Element>(
        &self,
        context: &Context,
        direction: Direction,
        [source, weights]: [&[T]; 2],
        finish: Finish<'_, T>,
        output: &mut [T],
        scratch: &mut [T],
    ) {
        let Finish { mut bias, activation } = finish;
        let relu = activation == Activation::Relu;
        let (biases, scratch) = scratch.split_at_mut(self.arranged(direction).1);
        if let Some(one) = bias
            && one.len() < biases.len()
        {
            biases.chunks_exact_mut(one.len()).for_each(|pixel| pixel.copy_from_slice(one));
            bias = Some(biases);
        }
        match &self.images[direction as usize] {
            Images::Gather(plan) => {
                T::run(context, Gathered { plan, source, weights, bias, relu, output, scratch });
            }
            Images::Winograd(plan) => {
                T::run(context, Tiled { plan, source, weights, bias, relu, output, scratch });
            }
        }
        if !relu {
            // Its parameter was checked when the layer was made.
            let applied = activation::forward_in_place(context, activation, output);
            debug_assert!(applied.is_ok());
        }
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
    Tiled<'a, Self>,
    winograd::Gradient<'a, Self>,
    Arrange<'a, Self>,
    Fold<'a, Self>,
    Add<'a, Self>,
}

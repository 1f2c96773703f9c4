//! Neighbouring pixels as channels of one: for narrow images, whose vectors would be mostly empty.
//!
//! Vectors run along channels. Of 6 channels, a vector of 16 uses 6; but pixels 2x and 2x + 1 stand side by side in memory, so they
//! are one pixel with 12 channels as well. A convolution of P input pixels and Q outputs as one is a convolution again:
//!
//! ```text
//!   output X, i    sums input[(QX + i) stride + t - padding] over taps t
//!                           = P (X Q stride / P + u - padding') + j         the pixel of P, and which of them
//!   so             t = P (u - padding') + j + padding - i stride            where that is a tap; else the weight is 0
//!
//!   kernel 5, stride 1, Q = 2      weights'[u, .., (i, n)]     u  0 1 2 3 4 5
//!                                                          i = 0  a b c d e 0
//!                                                          i = 1  0 a b c d e
//! ```
//!
//! The products with those zeros are the price. Which pass packs how many is a matter of shapes alone.

use super::Sizes;

/// The widest vectors, in elements: for all instruction sets, so that all compute the same.
const LANES: usize = 16;

/// Channels up to which it is looked for.
const NARROW: usize = LANES / 2;

/// It is done if it leaves so much of the work at most.
const WORTH: f64 = 0.8;

/// A convolution whose pixels are taken together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    sizes: Sizes,
    packed: Sizes,
    /// Of the input, and of the output.
    pixels: [usize; 2],
}

impl Packing {
    /// Of so many pixels of the input and the output.
    fn new(sizes: Sizes, [inputs, outputs]: [usize; 2]) -> Option<Self> {
        let step = outputs * sizes.stride[1];
        let whole = step.is_multiple_of(inputs)
            && sizes.input[1].is_multiple_of(inputs)
            && sizes.output[1].is_multiple_of(outputs);
        if !whole {
            return None;
        }
        // The first pixel and the last that outputs 0 to Q - 1 read.
        let padding = sizes.padding[1].div_ceil(inputs);
        let last = (outputs - 1) * sizes.stride[1] + sizes.kernel[1] - 1;
        let last = (last + padding * inputs - sizes.padding[1]) / inputs;
        let packed = Sizes {
            input: [sizes.input[0], sizes.input[1] / inputs],
            output: [sizes.output[0], sizes.output[1] / outputs],
            channels: [sizes.channels[0] * inputs, sizes.channels[1] * outputs],
            kernel: [sizes.kernel[0], last + 1],
            stride: [sizes.stride[0], step / inputs],
            padding: [sizes.padding[0], padding],
            ..sizes
        };
        Some(Self { sizes, packed, pixels: [inputs, outputs] })
    }

    /// As it is.
    pub(super) fn none(sizes: Sizes) -> Self {
        Self { sizes, packed: sizes, pixels: [1, 1] }
    }

    /// For vectors along the outputs.
    pub(super) fn of_outputs(sizes: Sizes) -> Self {
        let candidates = (1..=LANES).map(|outputs| [1, outputs]);
        // Each output pixel sums over the taps.
        Self::best(sizes, 1, candidates, |p| p.kernel[1] as f64 * p.output[1] as f64)
    }

    /// For vectors along the inputs' channels.
    pub(super) fn of_inputs(sizes: Sizes) -> Self {
        let stride = sizes.stride[1];
        // The fewest outputs that step over whole inputs.
        let candidates = (1..=LANES).map(|inputs| [inputs, inputs / greatest_divisor(inputs, stride)]);
        // Each input pixel sums over the taps that fall on it, of all outputs of a pixel.
        let work = |p: &Sizes| (p.kernel[1] * p.channels[1] * p.input[1]) as f64 / p.stride[1] as f64;
        Self::best(sizes, 0, candidates, work)
    }

    /// The one with the least work, in vectors.
    fn best(
        sizes: Sizes,
        side: usize,
        candidates: impl Iterator<Item = [usize; 2]>,
        work: impl Fn(&Sizes) -> f64,
    ) -> Self {
        let mut best = Self::none(sizes);
        if sizes.groups > 1 || sizes.dilation[1] > 1 || sizes.channels[side] > NARROW {
            return best;
        }
        let cost = |p: &Sizes| work(p) * p.channels[side].div_ceil(LANES) as f64;
        let mut least = WORTH * cost(&sizes);
        for packing in candidates.filter_map(|pixels| Self::new(sizes, pixels)) {
            let cost = cost(&packing.packed);
            if cost < least {
                (best, least) = (packing, cost);
            }
        }
        best
    }

    /// The convolution that is computed.
    pub(super) fn packed(&self) -> &Sizes {
        &self.packed
    }

    pub(super) fn is_none(&self) -> bool {
        self.pixels == [1, 1]
    }

    /// The column of the kernel that column `u` of the packed one is for pixel `j` of the input's and `i` of the output's.
    pub(super) fn column(&self, u: usize, [j, i]: [usize; 2]) -> Option<usize> {
        let at = u * self.pixels[0] + j + self.sizes.padding[1];
        let column = at.checked_sub(self.packed.padding[1] * self.pixels[0] + i * self.sizes.stride[1])?;
        (column < self.sizes.kernel[1]).then_some(column)
    }
}

fn greatest_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

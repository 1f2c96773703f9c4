//! Winograd's F(2 x 2, 3 x 3): convolutions of 3 x 3 with fewer products.
//!
//! ```text
//!   input: windows of 4 x 4, 2 apart          output: tiles of 2 x 2
//!   +--+--+--+--+                             +--+--+
//!   |  |  |  |  |   spread                    |  |  |
//!   +--+--+--+--+   ------>   16 products     +--+--+
//!   |  |  |  |  |   B' d B    over channels   |  |  |        36 multiply-adds of a channel
//!   +--+--+--+--+             ----------->    +--+--+        by the formula, here 16
//!   |  |  |  |  |                   A' m A
//!   +--+--+--+--+      weights, spread
//!   |  |  |  |  |      once: G g G'
//!   +--+--+--+--+
//!
//!   to_output    Y  = A' (sum over channels of (G g G') * (B' d B)) A
//!   to_weights   dg = G' (sum over tiles of    (B' d B) * (A dY A')) G         that is its derivative by g
//! ```
//!
//! `to_input` is `to_output` of the turned weights, with other padding. The products are those of the register tile, at each of
//! the 16 places a matrix product of its own: a chain over (512) channels, or over [`SLAB`] tiles.
//!
//! Which sums are computed so is a matter of shapes alone. The error is that of a direct sum or less, against the largest value
//! of a window: shorter chains make up for the additions (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
//! 2015: 1.5e-5 of VGG's layers where direct sums have 4.0e-5). An infinite pixel makes NaN of the tiles that it is in.

mod gradient;
mod images;
mod transforms;

use super::Sizes;
use super::microkernel::{Run, Runs, Start, Tile, most_vectors, rows_of};
use crate::kernel::element::Element;
use crate::kernel::gemm::blocking::{K_CHUNK, MAX_ROWS, Parts};
use crate::simd::{Simd, Vector};

pub(super) use gradient::Gradient;
pub(super) use images::Tiled;
pub(super) use transforms::{Arrange, Fold};

/// Places of a window.
const PLACES: usize = 16;

/// Channels come in multiples of it: the widest vectors of all instruction sets, so that all compute the same.
const LANES: usize = 16;

/// Tiles whose products are one chain in the gradient of the weights.
const SLAB: usize = 64;

/// Tiles that go together forward and back, and the elements that these are spread to: about what L1 holds.
const MOST_TOGETHER: usize = 48;
const ELEMENTS_TOGETHER: usize = 14 << 10;

/// It is done if it takes so much of the time at most: 32 and 64 channels gain 20 to 36 % on Zen 4, 16 lose what the model says
/// they gain.
const WORTH: f64 = 0.8;

/// Tiles that a sample should have: spreading the weights takes as long as a sample saves with about so many.
const FEWEST_TILES: usize = 16;

/// The most sums of a gradient, which are memory beside it, added up and folded by one thread.
const MOST_SUMS: usize = 1 << 17;

/// What a vector of a tile's channels costs beside its products, in multiply-adds of vectors; and for each place and vector of
/// outputs, that a product begins and ends.
const SPREAD: f64 = 80.0;
const BEGIN: f64 = 3.0;

/// A sum of one kind over tiles, planned.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    /// Height and width of what windows lie in, and of what tiles lie in.
    source: [usize; 2],
    target: [usize; 2],
    /// Of a pixel of each.
    channels: [usize; 2],
    padding: [usize; 2],
    together: usize,
    runs: Vec<Runs>,
}

impl Winograd {
    /// From the source of a convolution (channels and padding are those of the pass) to its target, if it is worth it.
    fn images(sizes: &Sizes, [source, target]: [usize; 2], padding: [usize; 2]) -> Option<Self> {
        let dims = [sizes.input, sizes.output];
        let channels = [sizes.channels[source], sizes.channels[target]];
        let run = Run { source: 0, factor: 0, count: channels[0] };
        let together = ELEMENTS_TOGETHER / (PLACES * (channels[0] + channels[1]));
        let plan = Self {
            source: dims[source],
            target: dims[target],
            channels,
            padding,
            // Whole register tiles.
            together: (together / 6 * 6).clamp(6, MOST_TOGETHER),
            runs: Runs::new(1, channels[1], [run]).chunks(K_CHUNK),
        };
        plan.is_worth(sizes).then_some(plan)
    }

    pub(super) fn of_outputs(sizes: &Sizes) -> Option<Self> {
        Self::images(sizes, [0, 1], sizes.padding)
    }

    pub(super) fn of_inputs(sizes: &Sizes) -> Option<Self> {
        let [top, left] = sizes.padding.map(|padding| 2_usize.checked_sub(padding));
        Self::images(sizes, [1, 0], [top?, left?])
    }

    /// For the gradient of the weights.
    pub(super) fn of_weights(sizes: &Sizes) -> Option<Self> {
        if PLACES * sizes.channels[0] * sizes.channels[1] > MOST_SUMS {
            return None;
        }
        let run = Run { source: 0, factor: 0, count: SLAB };
        let runs = Runs::new(sizes.channels[0], sizes.channels[1], [run]).chunks(K_CHUNK);
        Some(Self { together: SLAB, runs, ..Self::of_outputs(sizes)? })
    }

    /// By the vectors' multiply-adds of both ways.
    fn is_worth(&self, sizes: &Sizes) -> bool {
        let [inputs, outputs] = self.channels;
        let plain = sizes.groups == 1
            && [sizes.kernel, sizes.stride, sizes.dilation] == [[3; 2], [1; 2], [1; 2]]
            && inputs.is_multiple_of(LANES)
            && outputs.is_multiple_of(LANES);
        if !plain || self.tiles() < FEWEST_TILES {
            return false;
        }
        let inside = sizes.lines().map(|line| (0..3).map(|tap| line.outputs_of(tap).1).sum::<usize>());
        let vectors = (outputs / LANES) as f64;
        let direct = (inside[0] * inside[1] * inputs) as f64 * vectors;
        let products = PLACES as f64 * (inputs as f64 + BEGIN) * vectors;
        let tile = products + SPREAD * ((inputs + outputs) / LANES) as f64;
        self.tiles() as f64 * tile <= WORTH * direct
    }

    /// Tiles of a sample.
    fn tiles(&self) -> usize {
        self.target[0].div_ceil(2) * self.target[1].div_ceil(2)
    }

    /// Elements of scratch memory for images.
    pub(super) fn scratch(&self) -> usize {
        // And zeros.
        self.channels[0] + PLACES * self.together * (self.channels[0] + self.channels[1])
    }

    /// For the gradient of the weights.
    pub(super) fn gradient_scratch(&self) -> usize {
        let [channels, width] = self.channels;
        channels.max(width) + PLACES / 4 * SLAB * (channels + width)
    }

    /// Rows of the weights, spread, and elements of each.
    pub(super) fn arranged(&self) -> (usize, usize) {
        (PLACES * self.channels[0], self.channels[1])
    }

    /// The window or tile (height and width `size`) of a tile's number, counted over samples, in an image.
    #[inline(always)]
    fn patch(
        &self,
        tile: usize,
        image: [usize; 2],
        channels: usize,
        padding: [usize; 2],
        size: usize,
    ) -> Patch {
        let across = self.target[1].div_ceil(2);
        let (sample, number) = (tile / self.tiles(), tile % self.tiles());
        let first = [number / across * 2, number % across * 2];
        let inside = [0, 1].map(|i| {
            let low = padding[i].saturating_sub(first[i]).min(size);
            (low, (image[i] + padding[i]).saturating_sub(first[i]).clamp(low, size))
        });
        let [y, x] = [0, 1].map(|i| first[i].wrapping_sub(padding[i]));
        let pixel = (sample * image[0]).wrapping_add(y).wrapping_mul(image[1]).wrapping_add(x);
        Patch { first: pixel.wrapping_mul(channels), row: image[1] * channels, channels, inside }
    }

    /// A tile's window in the source.
    #[inline(always)]
    fn window(&self, tile: usize) -> Patch {
        self.patch(tile, self.source, self.channels[0], self.padding, 4)
    }

    /// A tile in the target.
    #[inline(always)]
    fn tile(&self, tile: usize) -> Patch {
        self.patch(tile, self.target, self.channels[1], [0; 2], 2)
    }
}

/// Some pixels of an image, of which those outside are zeros.
#[derive(Clone, Copy)]
struct Patch {
    /// Where the first pixel is, or would be.
    first: usize,
    /// Elements of a row of the image, and of a pixel.
    row: usize,
    channels: usize,
    /// The rows, and the columns, that are inside: from, to.
    inside: [(usize, usize); 2],
}

impl Patch {
    /// Where a pixel is, if it is inside.
    #[inline(always)]
    fn pixel(&self, [y, x]: [usize; 2]) -> Option<usize> {
        let [rows, columns] = self.inside;
        let inside = y >= rows.0 && y < rows.1 && x >= columns.0 && x < columns.1;
        inside.then(|| self.first.wrapping_add(y * self.row + x * self.channels))
    }

    /// The channels of a row's pixels; outside, `zeros`.
    #[inline(always)]
    fn pixels<'a, T, const N: usize>(&self, y: usize, image: &'a [T], zeros: &'a [T]) -> [&'a [T]; N] {
        let mut pixels = [zeros; N];
        for (x, pixel) in pixels.iter_mut().enumerate() {
            if let Some(at) = self.pixel([y, x]) {
                *pixel = &image[at..at + self.channels];
            }
        }
        pixels
    }
}

/// The product at one place, of matrices that lie row by row.
struct Product<'a, T> {
    /// The chains of a sum, for one row and column.
    runs: &'a [Runs],
    rows: usize,
    source: &'a [T],
    /// From a row's source to the next.
    source_step: usize,
    factors: &'a [T],
    /// Columns of the factors and of the target.
    width: usize,
    target: &'a mut [T],
    start: Start<'a, T>,
}

impl<T: Element> Product<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { runs, rows, source, source_step, factors, width, target, start } = self;
        let lanes = T::V::<S>::LANES;
        let blocks = Parts::new(width / lanes, most_vectors(S::ISA, false));
        for block in 0..blocks.count() {
            let (first, vectors) = blocks.part(block);
            let column = first * lanes;
            let parts = Parts::new(rows, rows_of(S::ISA, vectors, false));
            for (number, runs) in runs.iter().enumerate() {
                let mut tile = Tile {
                    rows: 0,
                    columns: vectors * lanes,
                    by_lanes: false,
                    source,
                    sources: [0; MAX_ROWS],
                    targets: [0; MAX_ROWS],
                    runs,
                    factors: &factors[column..],
                    target: &mut *target,
                    start: if number == 0 { start } else { Start::Target },
                    relu: false,
                };
                for part in 0..parts.count() {
                    let (row, rows) = parts.part(part);
                    tile.rows = rows;
                    for i in 0..rows {
                        tile.sources[i] = (row + i) * source_step;
                        tile.targets[i] = (row + i) * width + column;
                    }
                    tile.run(s);
                }
            }
        }
    }
}

//! Outputs from what they sum over: a convolution forward, and back to its inputs.
//!
//! ```text
//!   +---+-----------+---+
//!   |   |           |   |     regions of pixels that have the same taps, found by dimension (`line`)
//!   +---+-----------+---+
//!   |   | interior  |   |     in each: columns in blocks of vectors, the sum in chunks of 512, and tiles of pixels, which
//!   |   |           |   |     go on over rows and samples
//!   +---+-----------+---+
//! ```

use super::border::Border;
use super::line::{Line, Segment};
use super::microkernel::{Run, Runs, Start, Tile, most_vectors, rows_of};
use crate::kernel::element::Element;
use crate::kernel::gemm::blocking::{K_CHUNK, MAX_ROWS, Parts};
use crate::simd::{Kernel, Simd, Vector};

/// Pixels that a region should have at least: a tile of fewer cannot hide the latency of a multiply-add.
const FEW_PIXELS: usize = 6;

/// Pixels of the samples that go together: small images fill tiles together.
const PIXELS_TOGETHER: usize = 256;

/// How a gather's weights, or a gradient's factors, are divided by groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub groups: usize,
    /// Source channels of a group, and outputs.
    pub sources: usize,
    pub outputs: usize,
}

impl Groups {
    /// One channel to one output in each group: lanes run along the groups.
    pub(super) fn are_lanes(&self) -> bool {
        self.sources == 1 && self.outputs == 1 && self.groups > 1
    }

    /// Groups as tiles see them, and columns of each.
    pub(super) fn blocks(&self) -> (usize, usize) {
        if self.are_lanes() { (1, self.groups) } else { (self.groups, self.outputs) }
    }

    fn channels(&self) -> usize {
        self.groups * self.sources
    }

    fn width(&self) -> usize {
        self.groups * self.outputs
    }
}

/// What is computed how, for one shape.
#[derive(Clone, Debug)]
pub(super) struct Gather {
    groups: Groups,
    /// Elements of an output sample.
    outputs: usize,
    border: Border,
    together: usize,
    regions: Vec<Region>,
}

/// Pixels `rows` x `columns` with the same taps.
#[derive(Clone, Debug)]
struct Region {
    rows: usize,
    columns: usize,
    /// The first pixel's place, and the steps to the next row and column; in elements.
    source: [usize; 3],
    target: [usize; 3],
    chunks: Vec<Runs>,
}

impl Gather {
    /// `flipped`: the taps of the weights stand in descending order.
    pub(super) fn new(y: &Line, x: &Line, groups: Groups, flipped: bool) -> Self {
        let together = PIXELS_TOGETHER.div_ceil(y.outputs * x.outputs);
        let rows = y.segments(0);
        let pairs: Vec<(Segment, Segment)> = rows
            .into_iter()
            .flat_map(|rows| {
                let few = (FEW_PIXELS - 1) / (rows.count * together);
                x.segments(few).into_iter().map(move |columns| (rows.clone(), columns))
            })
            .collect();
        let mut border =
            Border { height: y.sources, width: x.sources, channels: groups.channels(), ..Border::default() };
        for (_, columns) in &pairs {
            if let Some((low, high)) = columns.reach() {
                border.left = border.left.max(usize::try_from(-low).unwrap_or(0));
                border.right = border.right.max(usize::try_from(high + 1 - x.sources as isize).unwrap_or(0));
            }
        }
        let tap = |ky: usize, kx: usize| {
            let tap = ky * x.taps + kx;
            if flipped { y.taps * x.taps - 1 - tap } else { tap }
        };
        let regions = pairs.iter().map(|(rows, columns)| {
            Region::new(rows, columns, &border, groups, x.outputs * groups.width(), tap)
        });
        let regions = regions.collect();
        Self { groups, outputs: y.outputs * x.outputs * groups.width(), border, together, regions }
    }

    /// Elements of scratch memory.
    pub(super) fn scratch(&self) -> usize {
        self.border.scratch(self.together)
    }

    /// Products that are computed for a sample, in multiply-adds.
    #[cfg(all(test, unix))]
    pub(super) fn work(&self) -> usize {
        let of = |region: &Region| {
            let terms: usize = region.chunks.iter().map(Runs::terms).sum();
            region.rows * region.columns * terms
        };
        self.groups.width() * self.regions.iter().map(of).sum::<usize>()
    }
}

impl Region {
    fn new(
        rows: &Segment,
        columns: &Segment,
        border: &Border,
        groups: Groups,
        row_width: usize,
        tap: impl Fn(usize, usize) -> usize,
    ) -> Self {
        let (channels, width) = (groups.channels(), groups.width());
        // The rows of a border above and below are never read: segments of rows are not joined.
        let first_y = rows.taps.first().map_or(0, |tap| tap.1);
        let first_x = columns.taps.first().map_or(0, |tap| tap.1);
        let at = |y: isize, x: isize| y as usize * border.row() + x as usize * channels;
        let (count, steps) =
            if groups.are_lanes() { (1, (channels, width)) } else { (groups.sources, (1, width)) };
        let runs = rows.taps.iter().flat_map(|&(ky, y)| {
            let tap = &tap;
            columns.taps.iter().map(move |&(kx, x)| Run {
                source: at(y - first_y, x - first_x),
                factor: tap(ky, kx) * groups.sources * width,
                count,
            })
        });
        let source = if rows.taps.is_empty() || columns.taps.is_empty() {
            [0; 3]
        } else {
            let first = at(first_y + border.top as isize, first_x + border.left as isize);
            [first, rows.source_step * border.row(), columns.source_step * channels]
        };
        let target =
            [rows.first * row_width + columns.first * width, rows.step * row_width, columns.step * width];
        let chunks = Runs::new(steps.0, steps.1, runs).chunks(K_CHUNK);
        Self { rows: rows.count, columns: columns.count, source, target, chunks }
    }
}

/// The pixels of a region, one after the other: over columns, rows, samples.
struct Walk<'a> {
    region: &'a Region,
    /// Elements of a sample.
    samples: [usize; 2],
    /// Column and row, and where these, the row and the sample begin in source and target.
    at: [usize; 2],
    pixel: [usize; 2],
    row: [usize; 2],
    sample: [usize; 2],
}

impl<'a> Walk<'a> {
    #[inline(always)]
    fn new(region: &'a Region, samples: [usize; 2]) -> Self {
        let first = [region.source[0], region.target[0]];
        Self { region, samples, at: [0; 2], pixel: first, row: first, sample: first }
    }

    /// Where the next pixels begin in source and target, each `by` further.
    #[inline(always)]
    fn next(&mut self, mut sources: &mut [usize], mut targets: &mut [usize], by: [usize; 2]) {
        let steps = |i: usize| [self.region.source[i], self.region.target[i]];
        let step = steps(2);
        while !sources.is_empty() {
            let count = sources.len().min(self.region.columns - self.at[0]);
            let (of_row, other) = (sources.split_at_mut(count), targets.split_at_mut(count));
            for (source, target) in of_row.0.iter_mut().zip(other.0) {
                [*source, *target] = plus(self.pixel, by);
                self.pixel = plus(self.pixel, step);
            }
            (sources, targets) = (of_row.1, other.1);
            self.at[0] += count;
            if self.at[0] < self.region.columns {
                return;
            }
            self.at[0] = 0;
            self.at[1] += 1;
            if self.at[1] < self.region.rows {
                self.row = plus(self.row, steps(1));
            } else {
                self.at[1] = 0;
                self.sample = plus(self.sample, self.samples);
                self.row = self.sample;
            }
            self.pixel = self.row;
        }
    }
}

#[inline(always)]
fn plus(a: [usize; 2], b: [usize; 2]) -> [usize; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

/// A gather of some samples.
pub(super) struct Gathered<'a, T> {
    pub plan: &'a Gather,
    pub source: &'a [T],
    /// (taps, source channels of a group, outputs).
    pub weights: &'a [T],
    pub bias: Option<&'a [T]>,
    pub relu: bool,
    pub output: &'a mut [T],
    pub scratch: &'a mut [T],
}

impl<T: Element> Kernel for Gathered<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, source, weights, bias, relu, output, scratch } = self;
        let sources = source.chunks(plan.together * plan.border.inner());
        for (source, output) in sources.zip(output.chunks_mut(plan.together * plan.outputs)) {
            let source = plan.border.around(source, scratch);
            for region in &plan.regions {
                tiles(s, plan, region, source, weights, bias, relu, output);
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "what a gather has, for one region")]
fn tiles<T: Element, S: Simd>(
    s: S,
    plan: &Gather,
    region: &Region,
    source: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    relu: bool,
    output: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let by_lanes = plan.groups.are_lanes();
    let (groups, width) = plan.groups.blocks();
    let blocks = Parts::new(width.div_ceil(lanes), most_vectors(S::ISA, by_lanes));
    let pixels = region.rows * region.columns * (output.len() / plan.outputs);
    for group in 0..groups {
        for block in 0..blocks.count() {
            let (first, vectors) = blocks.part(block);
            let first = first * lanes;
            let columns = (vectors * lanes).min(width - first);
            let column = group * width + first;
            let channel = if by_lanes { first } else { group * plan.groups.sources };
            for (number, runs) in region.chunks.iter().enumerate() {
                let start = match bias {
                    _ if number > 0 => Start::Target,
                    Some(bias) => Start::Bias(&bias[column..column + columns]),
                    None => Start::Zero,
                };
                let parts = Parts::new(pixels, rows_of(S::ISA, vectors, by_lanes));
                let mut walk = Walk::new(region, [plan.border.outer(), plan.outputs]);
                let mut tile = Tile {
                    rows: 0,
                    columns,
                    by_lanes,
                    source,
                    sources: [0; MAX_ROWS],
                    targets: [0; MAX_ROWS],
                    runs,
                    factors: &weights[column..],
                    target: &mut *output,
                    start,
                    relu: relu && number + 1 == region.chunks.len(),
                };
                for part in 0..parts.count() {
                    tile.rows = parts.part(part).1;
                    let (sources, targets) = (&mut tile.sources[..tile.rows], &mut tile.targets[..tile.rows]);
                    walk.next(sources, targets, [channel, column]);
                    tile.run(s);
                }
            }
        }
    }
}

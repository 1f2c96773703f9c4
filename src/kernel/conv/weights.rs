//! The gradient of a convolution's weights: sums over the pixels of samples.
//!
//! ```text
//!   d_weights[tap, channel][n]  =  sum over samples: sum over pixels: input[pixel at tap, channel] * d_output[pixel][n]
//!
//!   rows (tap, channel) in tiles; the sum over a sample's pixels is one chain, in their order; samples are added in order
//! ```
//!
//! Rows with few channels share tiles with those of other taps, and read zeros outside of the input; with many channels each
//! tap has the pixels for which it is inside, and no border is needed.

use super::border::Border;
use super::gather::Groups;
use super::line::Line;
use super::microkernel::{Run, Runs, Start, Tile, most_vectors, rows_of};
use crate::kernel::element::Element;
use crate::kernel::gemm::blocking::{MAX_ROWS, Parts};
use crate::simd::{Kernel, Simd, Vector};
use std::ops::Range;

/// Input channels of a group from which each tap has tiles of its own.
const MANY_CHANNELS: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct WeightGradient {
    groups: Groups,
    /// Elements of an output sample.
    outputs: usize,
    border: Border,
    blocks: Vec<Block>,
}

/// Taps with the same pixels.
#[derive(Clone, Debug)]
struct Block {
    first_tap: usize,
    /// Where each finds the first pixel's source, channel 0.
    sources: Vec<usize>,
    /// The first pixel's gradient.
    factor: usize,
    runs: Runs,
}

impl WeightGradient {
    /// `y` and `x` are forward.
    pub(super) fn new(y: &Line, x: &Line, groups: Groups, strides: [usize; 2]) -> Self {
        let (channels, width) = (groups.groups * groups.sources, groups.groups * groups.outputs);
        let mut border = Border { height: y.sources, width: x.sources, channels, ..Border::default() };
        let [top, bottom] = outside(y, strides[0]);
        let [left, right] = outside(x, strides[1]);
        let outputs = y.outputs * x.outputs * width;
        let taps = (0..y.taps).flat_map(|ky| (0..x.taps).map(move |kx| (ky, kx)));
        let apart = groups.sources >= MANY_CHANNELS && top + bottom + left + right > 0;
        if !apart {
            border = Border { top, bottom, left, right, ..border };
        }
        let place = |y: isize, x: isize| y as usize * border.row() + x as usize * channels;
        let runs = |rows: usize, columns: usize| {
            let run = |row: usize| Run {
                source: row * strides[0] * border.row(),
                factor: row * x.outputs * width,
                count: columns,
            };
            Runs::new(strides[1] * channels, width, (0..rows).map(run))
        };
        let blocks = if apart {
            let of = |(number, (ky, kx)): (usize, (usize, usize))| {
                let ((row, rows), (column, columns)) = (y.outputs_of(ky), x.outputs_of(kx));
                let inside = rows > 0 && columns > 0;
                let at = |line: &Line, tap: usize, first: usize, stride: usize| {
                    line.source_of(tap) + (first * stride) as isize
                };
                let source = || place(at(y, ky, row, strides[0]), at(x, kx, column, strides[1]));
                Block {
                    first_tap: number,
                    sources: vec![if inside { source() } else { 0 }],
                    factor: if inside { (row * x.outputs + column) * width } else { 0 },
                    runs: runs(if inside { rows } else { 0 }, columns),
                }
            };
            taps.enumerate().map(of).collect()
        } else {
            let source = |(ky, kx)| place(y.source_of(ky) + top as isize, x.source_of(kx) + left as isize);
            let sources = taps.map(source).collect();
            vec![Block { first_tap: 0, sources, factor: 0, runs: runs(y.outputs, x.outputs) }]
        };
        Self { groups, outputs, border, blocks }
    }

    pub(super) fn scratch(&self) -> usize {
        self.border.scratch(1)
    }
}

/// How far the taps of a forward line reach before and behind its sources.
fn outside(line: &Line, stride: usize) -> [usize; 2] {
    let (low, high) = (line.source_of(0), line.source_of(line.taps - 1));
    let high = high + ((line.outputs - 1) * stride) as isize + 1 - line.sources as isize;
    [-low, high].map(|reach| usize::try_from(reach).unwrap_or(0))
}

/// The gradient of some rows, over some samples.
pub(super) struct Gradient<'a, T> {
    pub plan: &'a WeightGradient,
    pub input: &'a [T],
    pub d_output: &'a [T],
    /// Numbers of (tap, channel of a group).
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
        let plan = self.plan;
        let samples = self.input.chunks_exact(plan.border.inner());
        for (number, (input, d_output)) in samples.zip(self.d_output.chunks_exact(plan.outputs)).enumerate() {
            let source = plan.border.around(input, self.scratch);
            let start = if self.add || number > 0 { Start::Target } else { Start::Zero };
            for block in &plan.blocks {
                let first = block.first_tap * plan.groups.sources;
                let end = first + block.sources.len() * plan.groups.sources;
                let rows = self.rows.start.max(first)..self.rows.end.min(end);
                if !rows.is_empty() {
                    tiles(s, plan, block, rows, self.rows.start, source, d_output, start, self.target);
                }
            }
        }
    }
}

/// `rows` of a block, for one sample.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "what a gradient has, for one block and sample")]
fn tiles<T: Element, S: Simd>(
    s: S,
    plan: &WeightGradient,
    block: &Block,
    rows: Range<usize>,
    first_row: usize,
    source: &[T],
    d_output: &[T],
    start: Start<'_, T>,
    target: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let by_lanes = plan.groups.are_lanes();
    let (groups, width) = plan.groups.blocks();
    let channels = plan.groups.sources;
    let blocks = Parts::new(width.div_ceil(lanes), most_vectors(S::ISA, by_lanes));
    for group in 0..groups {
        for part in 0..blocks.count() {
            let (first, vectors) = blocks.part(part);
            let first = first * lanes;
            let columns = (vectors * lanes).min(width - first);
            let column = group * width + first;
            let first_channel = if by_lanes { first } else { group * channels };
            let parts = Parts::new(rows.len(), rows_of(S::ISA, vectors, by_lanes));
            let (mut tap, mut channel) = (rows.start / channels - block.first_tap, rows.start % channels);
            let mut row = rows.start - first_row;
            let mut tile = Tile {
                rows: 0,
                columns,
                by_lanes,
                source,
                sources: [0; MAX_ROWS],
                targets: [0; MAX_ROWS],
                runs: &block.runs,
                factors: &d_output[block.factor + column..],
                target: &mut *target,
                start,
                relu: false,
            };
            for part in 0..parts.count() {
                tile.rows = parts.part(part).1;
                for (from, to) in tile.sources.iter_mut().zip(&mut tile.targets).take(tile.rows) {
                    *from = block.sources[tap] + first_channel + channel;
                    *to = row * groups * width + column;
                    row += 1;
                    channel += 1;
                    if channel == channels {
                        (tap, channel) = (tap + 1, 0);
                    }
                }
                tile.run(s);
            }
        }
    }
}

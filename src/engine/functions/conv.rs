//! Convolution and transposed convolution.
//!
//! ```text
//!   prepare    weights turned, for the pass from outputs to inputs       into shared memory
//!   forward    samples                                                   a transposed convolution: from outputs to inputs
//!   backward   samples                                                   the other way
//!   gradient   shards x rows of the weights: sums over a shard's samples; then the shards added, in order
//! ```
//!
//! A transposed convolution is the convolution whose backward pass it is, and has its weights.

use crate::context::Context;
use crate::engine::function::{
    Backward, Batch, BatchCall, Compute, Forward, Function, Mode, Needs, Pass, Step, Target, Write,
};
use crate::kernel::Element;
use crate::kernel::conv::{Convolution, Finish, Sizes, add};
use crate::kernel::reduce;
use std::ops::Range;

/// A convolution as a function of the graph: parameters are the weights and maybe the bias.
#[derive(Debug)]
pub(crate) struct Conv {
    convolution: Convolution,
    transposed: bool,
    bias: bool,
}

/// The most shards of a gradient, and their elements together: what is added up in the end.
const MOST_SHARDS: usize = 16;
const MOST_ELEMENTS: usize = 1 << 17;

/// Elements of the weights that a tile of a gradient should have at most.
const TILE_ELEMENTS: usize = 1 << 16;

/// Rows of the weights are divided at multiples of it: those of a register tile.
const ROWS: usize = 12;

/// Elements of a tile that turns weights, or adds shards up.
const PIECE: usize = 1 << 12;

/// How the sum of a gradient is divided: by shapes alone.
#[derive(Clone, Copy, Debug)]
struct Shards {
    batch: usize,
    /// A power of two.
    count: usize,
    /// Blocks of rows of the weights.
    blocks: usize,
}

impl Shards {
    fn new(sizes: &Sizes, batch: usize) -> Self {
        let most = (MOST_ELEMENTS / sizes.weights()).min(batch).clamp(1, MOST_SHARDS);
        let count = 1 << most.ilog2();
        let blocks = sizes.weights().div_ceil(TILE_ELEMENTS).max(MOST_SHARDS / count);
        Self { batch, count, blocks: blocks.min(sizes.rows().div_ceil(ROWS)) }
    }

    fn samples(&self, shard: usize) -> Range<usize> {
        self.batch * shard / self.count..self.batch * (shard + 1) / self.count
    }

    fn rows(&self, sizes: &Sizes, block: usize) -> Range<usize> {
        let units = sizes.rows().div_ceil(ROWS);
        let at = |block: usize| (units * block / self.blocks * ROWS).min(sizes.rows());
        at(block)..at(block + 1)
    }
}

impl Conv {
    /// `transposed`: from the outputs of `sizes` to its inputs.
    pub(crate) fn new(sizes: Sizes, transposed: bool, bias: bool) -> Self {
        Self { convolution: Convolution::new(sizes), transposed, bias }
    }

    fn sizes(&self) -> &Sizes {
        self.convolution.sizes()
    }

    /// Channels of what it puts out.
    fn outputs(&self) -> usize {
        self.sizes().channels[usize::from(!self.transposed)]
    }

    /// Whether weights are turned for a mode.
    fn turns(&self, wants: bool) -> bool {
        !self.sizes().is_depthwise() && (self.transposed || wants)
    }

    /// Rows of the turned weights of a tile.
    fn turned_rows(&self, tile: usize) -> Range<usize> {
        let rows = PIECE.div_ceil(self.sizes().channels[0]);
        tile * rows..((tile + 1) * rows).min(self.convolution.turned_rows())
    }

    fn prepare(&self) -> Batch {
        let width = self.sizes().channels[0];
        let tiles = (0..).map(|tile| self.turned_rows(tile)).take_while(|rows| !rows.is_empty());
        let tiles = tiles.map(|rows| vec![shared(rows.start * width..rows.end * width)]).collect();
        Batch { reads: 0..0, tiles }
    }

    /// Where the shards begin in the shared memory, and elements of one: weights and bias.
    fn shards_at(&self) -> (usize, usize) {
        (self.sizes().weights(), self.sizes().weights() + if self.bias { self.outputs() } else { 0 })
    }

    /// What a tile writes: weights, then bias. What is not wanted is nothing.
    fn gradient(&self, shards: Shards, trained: [bool; 2]) -> Vec<Batch> {
        let (sizes, outputs) = (self.sizes(), self.outputs());
        let wanted = |trained: bool, write: Write| if trained { write } else { shared(0..0) };
        let weights = |rows: Range<usize>| rows.start * sizes.channels[1]..rows.end * sizes.channels[1];
        let (first, len) = self.shards_at();
        if shards.count == 1 {
            let tiles = (0..shards.blocks).map(|block| {
                let rows = gradient(0, weights(shards.rows(sizes, block)));
                vec![wanted(trained[0], rows), wanted(trained[1] && block == 0, gradient(1, 0..outputs))]
            });
            return vec![Batch { reads: 0..0, tiles: tiles.collect() }];
        }
        let sums = (0..shards.count).flat_map(|shard| {
            let start = first + shard * len;
            (0..shards.blocks).map(move |block| {
                let rows = weights(shards.rows(sizes, block));
                let bias = start + sizes.weights()..start + len;
                vec![
                    wanted(trained[0], shared(start + rows.start..start + rows.end)),
                    wanted(trained[1] && block == 0, shared(bias)),
                ]
            })
        });
        let pieces = if trained[0] { sizes.weights().div_ceil(PIECE) } else { 1 };
        let total = (0..pieces).map(|piece| {
            let piece_of = piece * PIECE..((piece + 1) * PIECE).min(sizes.weights());
            vec![
                wanted(trained[0], gradient(0, piece_of)),
                wanted(trained[1] && piece == 0, gradient(1, 0..outputs)),
            ]
        });
        vec![
            Batch { reads: 0..0, tiles: sums.collect() },
            Batch { reads: first..first + shards.count * len, tiles: total.collect() },
        ]
    }

    /// The sums of a shard, or all.
    fn sums<T: Element>(&self, shards: Shards, tile: usize, call: BatchCall<'_, T>) {
        let (sizes, (shard, block)) = (self.sizes(), (tile / shards.blocks, tile % shards.blocks));
        let samples = shards.samples(shard);
        let (inputs, outputs) = match self.transposed {
            false => (call.inputs[0], call.d_output),
            true => (call.d_output, call.inputs[0]),
        };
        let inputs = &inputs[samples.start * sizes.inputs()..samples.end * sizes.inputs()];
        let outputs = &outputs[samples.start * sizes.outputs()..samples.end * sizes.outputs()];
        let add_to = call.accumulate && shards.count == 1;
        let [weights, bias] = call.writes else { return };
        if !weights.is_empty() {
            let rows = shards.rows(sizes, block);
            self.convolution.to_weights(call.context, [inputs, outputs], rows, weights, add_to, call.scratch);
        }
        if !bias.is_empty() {
            let d_output = if self.transposed { inputs } else { outputs };
            let positions = d_output.len() / (samples.len() * bias.len());
            let sum = &mut call.scratch[..bias.len()];
            for (number, sample) in d_output.chunks_exact(positions * bias.len()).enumerate() {
                if number == 0 && !add_to {
                    column_sums(call.context, sample, bias);
                } else {
                    column_sums(call.context, sample, sum);
                    add(call.context, bias, sum);
                }
            }
        }
    }

    /// The shards' sums, added in order.
    fn total<T: Element>(&self, shards: Shards, tile: usize, call: BatchCall<'_, T>) {
        let len = self.shards_at().1;
        let starts = [tile * PIECE, self.sizes().weights()];
        for (write, start) in call.writes.iter_mut().zip(starts) {
            for (number, shard) in call.shared.chunks_exact(len).take(shards.count).enumerate() {
                let part = &shard[start..start + write.len()];
                if number == 0 && !call.accumulate {
                    write.copy_from_slice(part);
                } else {
                    add(call.context, write, part);
                }
            }
        }
    }
}

fn column_sums<T: Element>(context: &Context, values: &[T], sums: &mut [T]) {
    let width = sums.len();
    let done = reduce::column_sums(context, values, width, sums);
    debug_assert!(done.is_ok());
}

fn shared(range: Range<usize>) -> Write {
    Write { target: Target::Shared, range }
}

fn gradient(parameter: usize, range: Range<usize>) -> Write {
    Write { target: Target::Gradient(parameter), range }
}

impl Function for Conv {
    fn name(&self) -> String {
        let Sizes { kernel: [height, width], channels: [inputs, outputs], .. } = *self.sizes();
        if self.transposed {
            format!("transposed convolution {height} x {width}, {outputs} -> {inputs}")
        } else {
            format!("convolution {height} x {width}, {inputs} -> {outputs}")
        }
    }

    fn work(&self) -> f64 {
        self.sizes().rows() as f64 * self.sizes().outputs() as f64
    }

    fn multiply_adds(&self) -> f64 {
        self.work()
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let wants = mode.training && mode.wants.contains(&true);
        let trained = [0, 1].map(|i| mode.training && mode.trained.get(i).copied().unwrap_or(false));
        let mut needs = Needs {
            forward: vec![Step::Samples],
            // The sums of a bias are there one after the other.
            scratch: self.convolution.scratch().max(self.outputs()),
            ..Needs::default()
        };
        if wants {
            needs.backward.push(Step::Samples);
        }
        if self.turns(wants) {
            needs.prepare.push(self.prepare());
            needs.shared = self.sizes().weights();
        }
        if trained.contains(&true) {
            let shards = Shards::new(self.sizes(), mode.batch);
            needs.gradient = self.gradient(shards, trained);
            if shards.count > 1 {
                let (first, len) = self.shards_at();
                needs.shared = first + shards.count * len;
            }
        }
        needs
    }

    fn takes_activation(&self) -> bool {
        true
    }
}

impl<T: Element> Compute<T> for Conv {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let bias = self.bias.then(|| call.parameters[1]);
        let finish = Finish { bias, activation: call.activation };
        let (input, weights) = (call.inputs[0], call.parameters[0]);
        if self.transposed {
            let weights = if self.turns(false) { &call.shared[..weights.len()] } else { weights };
            self.convolution.to_input(call.context, [input, weights], finish, call.output, call.scratch);
        } else {
            self.convolution.to_output(call.context, [input, weights], finish, call.output, call.scratch);
        }
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        let Some(Some(d_input)) = call.d_inputs.first_mut() else { return };
        let (d_output, weights) = (call.d_output, call.parameters[0]);
        if self.transposed {
            self.convolution.to_output(
                call.context,
                [d_output, weights],
                Finish::NONE,
                d_input,
                call.scratch,
            );
        } else {
            let weights = if self.turns(true) { &call.shared[..weights.len()] } else { weights };
            self.convolution.to_input(call.context, [d_output, weights], Finish::NONE, d_input, call.scratch);
        }
    }

    fn batch(&self, pass: Pass, step: usize, tile: usize, call: BatchCall<'_, T>) {
        match (pass, step) {
            (Pass::Prepare, _) => {
                if let [turned] = call.writes {
                    self.convolution.turn(call.parameters[0], self.turned_rows(tile), turned);
                }
            }
            (_, 0) => self.sums(Shards::new(self.sizes(), call.batch), tile, call),
            _ => self.total(Shards::new(self.sizes(), call.batch), tile, call),
        }
    }
}

//! Convolution and transposed convolution.
//!
//! ```text
//!   prepare    weights as the passes read them, where not as they are    into shared memory
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
use crate::kernel::conv::{Convolution, Direction, Finish, Sizes, add};
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

/// Elements of a tile that arranges weights, or adds shards up.
const PIECE: usize = 1 << 12;

/// How the sum of a gradient is divided: by shapes alone.
#[derive(Clone, Copy, Debug)]
struct Shards {
    batch: usize,
    /// A power of two.
    count: usize,
    /// Blocks of rows of the weights.
    blocks: usize,
    /// They begin at multiples of it.
    together: usize,
}

impl Shards {
    fn new(convolution: &Convolution, batch: usize) -> Self {
        let (sizes, together) = (convolution.sums(), convolution.rows_together());
        let most = (MOST_ELEMENTS / sizes.weights()).min(batch).clamp(1, MOST_SHARDS);
        let count = 1 << most.ilog2();
        let blocks = sizes.weights().div_ceil(TILE_ELEMENTS).max(MOST_SHARDS / count);
        Self { batch, count, blocks: blocks.min(sizes.rows().div_ceil(together)), together }
    }

    fn samples(&self, shard: usize) -> Range<usize> {
        self.batch * shard / self.count..self.batch * (shard + 1) / self.count
    }

    fn rows(&self, sizes: &Sizes, block: usize) -> Range<usize> {
        let units = sizes.rows().div_ceil(self.together);
        let at = |block: usize| (units * block / self.blocks * self.together).min(sizes.rows());
        at(block)..at(block + 1)
    }
}

impl Conv {
    /// `transposed`: from the outputs of `sizes` to its inputs.
    pub(crate) fn new(sizes: Sizes, [transposed, direct]: [bool; 2], bias: bool) -> Self {
        Self { convolution: Convolution::new(sizes, direct), transposed, bias }
    }

    fn sizes(&self) -> &Sizes {
        self.convolution.sizes()
    }

    /// Channels of what it puts out.
    fn outputs(&self) -> usize {
        self.sizes().channels[usize::from(!self.transposed)]
    }

    /// The direction of the forward pass, and of the backward pass.
    fn directions(&self) -> [Direction; 2] {
        match self.transposed {
            false => [Direction::Output, Direction::Input],
            true => [Direction::Input, Direction::Output],
        }
    }

    /// Elements of the weights that are arranged for each pass. They stand at the beginning of the shared memory.
    fn arranged(&self) -> [usize; 2] {
        self.directions().map(|direction| {
            let (rows, width) = self.convolution.arranged(direction);
            rows * width
        })
    }

    /// What a pass reads: the weights, or as they were arranged for it.
    fn weights<'a, T>(&self, pass: usize, weights: &'a [T], shared: &'a [T]) -> &'a [T] {
        let [forward, backward] = self.arranged();
        match pass {
            0 if forward > 0 => &shared[..forward],
            1 if backward > 0 => &shared[forward..forward + backward],
            _ => weights,
        }
    }

    /// The pass and the rows of its arranged weights of each tile, the forward pass first.
    fn pieces(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.directions().into_iter().enumerate().flat_map(|(pass, direction)| {
            let (rows, width) = self.convolution.arranged(direction);
            let step = PIECE.div_ceil(width);
            (0..rows).step_by(step).map(move |first| (pass, first..(first + step).min(rows)))
        })
    }

    fn prepare(&self, wants: bool) -> Batch {
        let arranged = self.arranged();
        let tiles = self.pieces().filter(|&(pass, _)| pass == 0 || wants).map(|(pass, rows)| {
            let width = self.convolution.arranged(self.directions()[pass]).1;
            let first = if pass == 0 { 0 } else { arranged[0] };
            vec![shared(first + rows.start * width..first + rows.end * width)]
        });
        Batch { reads: 0..0, tiles: tiles.collect() }
    }

    /// Where the shards begin in the shared memory, and elements of one: sums of the weights, and the bias.
    fn shards_at(&self) -> (usize, usize) {
        let bias = if self.bias { self.outputs() } else { 0 };
        (self.arranged().iter().sum(), self.convolution.sums().weights() + bias)
    }

    /// Whether a gradient is written as it is summed.
    fn is_direct(&self, shards: Shards) -> bool {
        shards.count == 1 && self.convolution.sums_are_gradient()
    }

    /// What a tile writes: weights, then bias. What is not wanted is nothing.
    fn gradient(&self, shards: Shards, trained: [bool; 2]) -> Vec<Batch> {
        let (sizes, outputs) = (self.convolution.sums(), self.outputs());
        let wanted = |trained: bool, write: Write| if trained { write } else { shared(0..0) };
        let weights = |rows: Range<usize>| rows.start * sizes.channels[1]..rows.end * sizes.channels[1];
        let (first, len) = self.shards_at();
        if self.is_direct(shards) {
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
        let whole = !trained[0] || !self.convolution.sums_are_gradient();
        let pieces = if whole { 1 } else { self.sizes().weights().div_ceil(PIECE) };
        let total = (0..pieces).map(|piece| {
            vec![
                wanted(trained[0], gradient(0, self.piece(piece))),
                wanted(trained[1] && piece == 0, gradient(1, 0..outputs)),
            ]
        });
        vec![
            Batch { reads: 0..0, tiles: sums.collect() },
            Batch { reads: first..first + shards.count * len, tiles: total.collect() },
        ]
    }

    /// The weights of a tile that adds shards up: all, if they are made of their sums.
    fn piece(&self, tile: usize) -> Range<usize> {
        if !self.convolution.sums_are_gradient() {
            return 0..self.sizes().weights();
        }
        tile * PIECE..((tile + 1) * PIECE).min(self.sizes().weights())
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
        let add_to = call.accumulate && self.is_direct(shards);
        let [weights, bias] = call.writes else { return };
        if !weights.is_empty() {
            let rows = shards.rows(self.convolution.sums(), block);
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
        let (len, sums) = (self.shards_at().1, self.convolution.sums().weights());
        let [weights, bias] = call.writes else { return };
        let shards = || call.shared.chunks_exact(len).take(shards.count).enumerate();
        let add_to = |number: usize| number > 0 || call.accumulate;
        if !weights.is_empty() && self.convolution.sums_are_gradient() {
            for (number, shard) in shards() {
                add_or_set(call.context, weights, &shard[self.piece(tile)], add_to(number));
            }
        } else if !weights.is_empty() {
            let total = &mut call.scratch[..sums];
            for (number, shard) in shards() {
                add_or_set(call.context, total, &shard[..sums], number > 0);
            }
            self.convolution.fold(call.context, total, weights, call.accumulate);
        }
        for (number, shard) in shards() {
            add_or_set(call.context, bias, &shard[sums..sums + bias.len()], add_to(number));
        }
    }
}

fn add_or_set<T: Element>(context: &Context, target: &mut [T], values: &[T], add_to: bool) {
    if add_to {
        add(context, target, values);
    } else {
        target.copy_from_slice(values);
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
        let sums = self.convolution.sums().weights();
        let folded = if self.convolution.sums_are_gradient() { 0 } else { sums };
        let mut needs = Needs {
            forward: vec![Step::Samples],
            // The sums of a bias are there one after the other, and those that weights are made of.
            scratch: self.convolution.scratch().max(self.outputs()).max(folded),
            ..Needs::default()
        };
        if wants {
            needs.backward.push(Step::Samples);
        }
        let prepare = self.prepare(wants);
        needs.shared = if mode.training { self.shards_at().0 } else { self.arranged()[0] };
        if !prepare.tiles.is_empty() {
            needs.prepare.push(prepare);
        }
        if trained.contains(&true) {
            let shards = Shards::new(&self.convolution, mode.batch);
            needs.gradient = self.gradient(shards, trained);
            if !self.is_direct(shards) {
                needs.shared += shards.count * self.shards_at().1;
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
        let Forward { context, activation, output, scratch, .. } = call;
        let finish = Finish { bias: self.bias.then(|| call.parameters[1]), activation };
        let read = [call.inputs[0], self.weights(0, call.parameters[0], call.shared)];
        match self.transposed {
            false => self.convolution.to_output(context, read, finish, output, scratch),
            true => self.convolution.to_input(context, read, finish, output, scratch),
        }
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        let Backward { context, scratch, .. } = call;
        let Some(Some(d_input)) = call.d_inputs.first_mut() else { return };
        let read = [call.d_output, self.weights(1, call.parameters[0], call.shared)];
        match self.transposed {
            false => self.convolution.to_input(context, read, Finish::NONE, d_input, scratch),
            true => self.convolution.to_output(context, read, Finish::NONE, d_input, scratch),
        }
    }

    fn batch(&self, pass: Pass, step: usize, tile: usize, call: BatchCall<'_, T>) {
        let shards = Shards::new(&self.convolution, call.batch);
        match (pass, step) {
            (Pass::Prepare, _) => {
                if let (Some((pass, rows)), [arranged]) = (self.pieces().nth(tile), call.writes) {
                    let direction = self.directions()[pass];
                    self.convolution.arrange(call.context, direction, call.parameters[0], rows, arranged);
                }
            }
            (_, 0) => self.sums(shards, tile, call),
            _ => self.total(shards, tile, call),
        }
    }
}

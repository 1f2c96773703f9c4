//! Self-attention of several heads between the projections: queries, keys and values of a sequence in, context out.

use crate::engine::function::{Backward, Compute, Forward, Function, Mode, Needs, Random, Step};
use crate::kernel::Element;
use crate::kernel::attention::{self, Drops, Sample, Shape};
use crate::rng::{Rng, purpose};

/// The most bytes of weights of a whole batch that are kept for the backward pass. What does not stay in the last cache is computed
/// again: a weight takes 2 d multiply-adds and an exponential, about 2 cycles with AVX-512 for heads of d = 32, and 12 bytes of
/// traffic to and from memory if it is kept, about 4 cycles at 10 GB/s; 1 cycle in a cache. Both give the same bits.
const KEEP: usize = 4 << 20;

/// The first input is (length, 3 width), the second, if there is one, a mask of (length).
#[derive(Debug)]
pub(crate) struct Attention {
    pub shape: Shape,
    /// The probability that a weight is dropped in training.
    pub dropout: f64,
}

impl Attention {
    /// What the weights of a sample are dropped by, if any are: `sample` is its number in the batch.
    fn drops(&self, training: bool, random: Random, sample: usize) -> Option<Drops> {
        if !training || self.dropout == 0.0 {
            return None;
        }
        let [seed, step, part] = random.seed;
        let rng = Rng::new(seed).stream(purpose::ATTENTION).stream(step).stream(part);
        let rng = rng.stream(random.layer as u64).stream(random.number as u64);
        let at = (sample as u64).wrapping_mul(self.shape.weights() as u64);
        Some(Drops { rng: rng.at(at), keep: 1.0 - self.dropout })
    }

    fn keeps(&self, mode: &Mode) -> bool {
        let bytes =
            self.shape.weights().checked_mul(mode.batch).and_then(|len| len.checked_mul(mode.element));
        mode.training && mode.wants[0] && bytes.is_some_and(|bytes| bytes <= KEEP)
    }
}

impl Function for Attention {
    fn name(&self) -> String {
        let Shape { length, heads, width, causal } = self.shape;
        let causal = if causal { ", causal" } else { "" };
        format!("attention, {heads} heads of {}, {length} positions{causal}", width / heads)
    }

    fn work(&self) -> f64 {
        2.0 * self.shape.length as f64 * self.shape.length as f64 * self.shape.width as f64
    }

    fn multiply_adds(&self) -> f64 {
        self.work()
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let (kept, drops) = (self.keeps(mode), mode.training && self.dropout > 0.0);
        let forward = attention::forward_scratch(&self.shape, kept, drops);
        let backward = if mode.training { attention::backward_scratch(&self.shape, kept, drops) } else { 0 };
        Needs {
            forward: vec![Step::Samples],
            backward: vec![Step::Samples],
            kept: if kept { self.shape.weights() } else { 0 },
            scratch: forward.max(backward),
            ..Needs::default()
        }
    }

    fn differentiates(&self, input: usize) -> bool {
        input == 0
    }
}

impl<T: Element> Compute<T> for Attention {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let shape = &self.shape;
        let (rows, weights) = (3 * shape.length * shape.width, shape.weights());
        let outputs = call.output.chunks_exact_mut(shape.length * shape.width);
        for (i, (number, output)) in call.samples.zip(outputs).enumerate() {
            let drops = self.drops(call.training, call.random, number);
            let sample = Sample {
                qkv: &call.inputs[0][i * rows..(i + 1) * rows],
                mask: call.inputs.get(1).map(|mask| &mask[i * shape.length..(i + 1) * shape.length]),
                drops: drops.as_ref(),
            };
            let kept = if call.kept.is_empty() {
                None
            } else {
                Some(&mut call.kept[i * weights..(i + 1) * weights])
            };
            attention::forward(call.context, shape, &sample, kept, output, call.scratch);
        }
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        let Some(d_rows) = call.d_inputs[0].as_deref_mut() else { return };
        let shape = &self.shape;
        let (rows, weights) = (3 * shape.length * shape.width, shape.weights());
        let d_outputs = call.d_output.chunks_exact(shape.length * shape.width);
        for (i, ((number, d_output), d_qkv)) in
            call.samples.zip(d_outputs).zip(d_rows.chunks_exact_mut(rows)).enumerate()
        {
            let drops = self.drops(true, call.random, number);
            let sample = Sample {
                qkv: &call.inputs[0][i * rows..(i + 1) * rows],
                mask: call.inputs.get(1).map(|mask| &mask[i * shape.length..(i + 1) * shape.length]),
                drops: drops.as_ref(),
            };
            let kept =
                if call.kept.is_empty() { None } else { Some(&call.kept[i * weights..(i + 1) * weights]) };
            attention::backward(call.context, shape, &sample, kept, d_output, d_qkv, call.scratch);
        }
    }
}

//! Scaled dot-product attention of several heads over one sequence (Vaswani et al. 2017), forward and backward.
//!
//! ```text
//!   qkv      row i:  | q of all heads | k of all heads | v of all heads |        (length, 3 width); a head is a block of columns
//!   scores   s = q k' / sqrt(d)              d: the width of a head
//!   weights  p = softmax(s), over the keys that a query may look at, row by row; the others get 0
//!   output   row i:  | p v of all heads |                                        (length, width)
//! ```
//!
//! Queries are taken in blocks of [`ROWS`], or [`CAUSAL_ROWS`], so that a block's scores stay in the cache however long the sequence
//! is: 64 x 64 of f32 are 16 KiB. Heads are strided views of one matrix; nothing is copied before the products. Keys past the last
//! one that the mask keeps are left out of all products, and so are those after a block's last query where attention is causal.
//!
//! Backward, the weights are those that the forward pass kept, or computed again by the same operations: the bits are the same, so
//! that whoever calls decides by the memory that there is. The gradients of keys and values are summed over blocks of queries from
//! the last to the first, which with causal attention begins with the block that sees every key.
//!
//! A query that may look at no key gets zeros, and gives the gradient 0. (PyTorch's `MultiheadAttention` gives NaN there, which would
//! spoil all parameters for the sake of padding.)

mod backward;
mod forward;
mod rows;
#[cfg(test)]
mod tests;

use super::element::Element;
use super::gemm::gemm;
use super::gemm::view::{MatMut, MatRef};
use super::{compiled::compiled, multiply::multiply};
use crate::context::Context;
use crate::rng::Rng;
pub(crate) use backward::{backward, backward_scratch};
pub(crate) use forward::{forward, forward_scratch};
use rows::{Gradients, Weights};

/// Queries of a block. Part of the order of the sums, never tuned.
pub(crate) const ROWS: usize = 64;

/// The same where attention is causal: smaller blocks leave out more of the keys that they cannot see, 3/8 instead of nothing of a
/// sequence of 64. Part of the order of the sums, never tuned.
pub(crate) const CAUSAL_ROWS: usize = 32;

/// The shape of the attention of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Positions of the sequence.
    pub length: usize,
    pub heads: usize,
    /// Of all heads: a multiple of their number.
    pub width: usize,
    /// A query sees no key after its own.
    pub causal: bool,
}

impl Shape {
    /// Elements of a sample's weights, of all heads.
    pub(crate) fn weights(&self) -> usize {
        self.heads * self.length * self.length
    }

    /// Queries of a block.
    pub(crate) fn rows(&self) -> usize {
        self.length.min(if self.causal { CAUSAL_ROWS } else { ROWS })
    }

    /// Elements of a block's scores.
    pub(crate) fn block(&self) -> usize {
        self.rows() * self.length
    }

    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    fn scale<T: Element>(&self) -> T {
        T::one() / T::from_f64(self.head_width() as f64).sqrt()
    }

    /// How many keys a mask leaves: up to the last one that it keeps.
    fn keys<T: Element>(&self, mask: Option<&[T]>) -> usize {
        let last = |mask: &[T]| mask.iter().rposition(|&keep| keep > T::zero());
        mask.map_or(self.length, |mask| last(mask).map_or(0, |last| last + 1))
    }

    /// The blocks of queries of all heads.
    fn blocks(&self, head: usize, keys: usize) -> impl DoubleEndedIterator<Item = Block> {
        let Self { length, causal, .. } = *self;
        let most = self.rows();
        (0..length).step_by(most).map(move |first| {
            let rows = most.min(length - first);
            let keys = if causal { keys.min(first + rows) } else { keys };
            Block { head, first, rows, keys }
        })
    }
}

/// What the attention of one sample is computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a, T> {
    pub qkv: &'a [T],
    /// Above 0 for each key that may be looked at.
    pub mask: Option<&'a [T]>,
    pub drops: Option<&'a Drops>,
}

/// Some queries of one head.
#[derive(Clone, Copy, Debug)]
struct Block {
    head: usize,
    first: usize,
    rows: usize,
    /// Keys that any of them may see.
    keys: usize,
}

impl Block {
    /// Where its weights are among those of all heads.
    fn weights(&self, shape: &Shape) -> std::ops::Range<usize> {
        let start = (self.head * shape.length + self.first) * shape.length;
        start..start + self.rows * shape.length
    }

    /// The number of its first weight's row among the sample's.
    fn row(&self, shape: &Shape) -> usize {
        self.head * shape.length + self.first
    }
}

/// Which third of qkv.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Key,
    Value,
}

/// Where rows of one head's part begin in qkv, and how far apart rows are.
fn place(shape: &Shape, part: Part, head: usize, row: usize) -> (usize, isize) {
    let stride = 3 * shape.width;
    (row * stride + part as usize * shape.width + head * shape.head_width(), stride as isize)
}

/// The view of `rows` rows of one head's part of qkv, from `first` on.
fn view<'a, T: Element>(
    shape: &Shape,
    qkv: &'a [T],
    part: Part,
    head: usize,
    first: usize,
    rows: usize,
) -> MatRef<'a, T> {
    let (offset, stride) = place(shape, part, head, first);
    fits(MatRef::new(qkv, offset, rows, shape.head_width(), stride, 1))
}

/// The same, to be written.
fn view_mut<'a, T: Element>(
    shape: &Shape,
    qkv: &'a mut [T],
    part: Part,
    head: usize,
    first: usize,
    rows: usize,
) -> MatMut<'a, T> {
    let (offset, stride) = place(shape, part, head, first);
    fits(MatMut::new(qkv, offset, rows, shape.head_width(), stride, 1))
}

/// A block's scores: `keys` columns of rows of `length`.
fn scores<'a, T: Element>(shape: &Shape, block: &Block, scores: &'a [T]) -> MatRef<'a, T> {
    fits(MatRef::new(scores, 0, block.rows, block.keys, shape.length as isize, 1))
}

/// The same, to be written.
fn scores_mut<'a, T: Element>(shape: &Shape, block: &Block, scores: &'a mut [T]) -> MatMut<'a, T> {
    fits(MatMut::new(scores, 0, block.rows, block.keys, shape.length as isize, 1))
}

/// A view or a product of operands that were checked at the front: what is left is memory for the packing buffer.
fn fits<R>(result: crate::error::Result<R>) -> R {
    result.expect("operands of attention fit each other")
}

/// C = alpha A B + beta C.
fn product<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
) {
    fits(gemm(context, alpha, a, b, beta, &mut c));
}

/// A block's weights, in `weights`: softmax(q k' / sqrt(d)) where a query may look, 0 elsewhere; columns past the block's keys are
/// left as they are.
fn weigh<T: Element>(
    context: &Context,
    shape: &Shape,
    block: &Block,
    sample: &Sample<'_, T>,
    weights: &mut [T],
) {
    let Sample { qkv, mask, .. } = *sample;
    let queries = view(shape, qkv, Part::Query, block.head, block.first, block.rows);
    let keys = view(shape, qkv, Part::Key, block.head, 0, block.keys);
    let to = scores_mut(shape, block, weights);
    product(context, shape.scale(), queries, keys.transposed(), T::zero(), to);
    let Block { first, keys, .. } = *block;
    let rows = weights.chunks_exact_mut(shape.length);
    T::run(context, Weights { rows, first, keys, causal: shape.causal, mask });
}

/// Which weights are dropped in training.
#[derive(Clone, Debug)]
pub(crate) struct Drops {
    /// At the first weight of the sample: (heads, length, length) of them.
    pub rng: Rng,
    /// The probability that a weight is kept.
    pub keep: f64,
}

impl Drops {
    /// What a block's weights are multiplied by: 0 or 1 / keep.
    fn factors<T: Element>(&self, context: &Context, shape: &Shape, block: &Block, factors: &mut [T]) {
        let row = block.row(shape);
        for (i, factors) in factors.chunks_exact_mut(shape.length).enumerate() {
            let at = ((row + i) * shape.length) as u64;
            let mut rng = self.rng.at(self.rng.position().wrapping_add(at));
            fits(rng.fill_dropout(context, &mut factors[..block.keys], self.keep));
        }
    }
}

/// `data *= factors`, the block's keys of each row.
fn times<T: Element>(context: &Context, shape: &Shape, block: &Block, factors: &[T], data: &mut [T]) {
    let rows = factors.chunks_exact(shape.length).zip(data.chunks_exact_mut(shape.length));
    for (factors, data) in rows {
        fits(multiply(context, &factors[..block.keys], &mut data[..block.keys]));
    }
}

compiled! {
    Weights<'a, Self>,
    Gradients<'a, Self>,
}

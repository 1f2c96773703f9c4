//! The gradients, block by block of queries.
//!
//! ```text
//!   p       kept, or computed again
//!   d_p     = d_output v'                  with dropout: times the factors that p was multiplied by
//!   d_v    += p' d_output                  with dropout: of p times the factors
//!   d_s     = p (d_p - sum d_p p)          row by row
//!   d_q     = d_s k  / sqrt(d)
//!   d_k    += d_s' q / sqrt(d)
//! ```

use super::{
    Block, Gradients, Part, Sample, Shape, fits, product, scores, scores_mut, times, view, view_mut, weigh,
};
use crate::context::Context;
use crate::kernel::element::Element;
use crate::kernel::gemm::view::MatRef;

/// The elements of scratch memory that [`backward`] takes.
pub(crate) fn backward_scratch(shape: &Shape, kept: bool, drops: bool) -> usize {
    shape.block() * (1 + usize::from(!kept) + usize::from(drops))
}

/// `d_qkv` is the gradient of one sample's qkv from that of its output.
///
/// `sample` is what [`forward`](super::forward) had; `kept` is what it left, if it was asked to. `scratch` has at least
/// [`backward_scratch`] elements.
pub(crate) fn backward<T: Element>(
    context: &Context,
    shape: &Shape,
    sample: &Sample<'_, T>,
    kept: Option<&[T]>,
    d_output: &[T],
    d_qkv: &mut [T],
    scratch: &mut [T],
) {
    let Sample { qkv, mask, drops } = *sample;
    let keys = shape.keys(mask);
    if keys == 0 {
        d_qkv.fill(T::zero());
        return;
    }
    // Keys that are left out of the products.
    for row in d_qkv.chunks_exact_mut(3 * shape.width).skip(keys) {
        row[shape.width..].fill(T::zero());
    }
    let (d_scores, scratch) = scratch.split_at_mut(shape.block());
    let (factors, scratch) = scratch.split_at_mut(if drops.is_some() { shape.block() } else { 0 });
    let scale = shape.scale();
    for head in 0..shape.heads {
        // The last block sees every key: it begins the sums, the others add to them.
        let mut beta = T::zero();
        for block in shape.blocks(head, keys).rev() {
            let Block { first, rows, keys, .. } = block;
            let len = rows * shape.length;
            let weights = match kept {
                Some(kept) => &kept[block.weights(shape)],
                None => {
                    weigh(context, shape, &block, sample, &mut scratch[..len]);
                    &scratch[..len]
                }
            };
            let at = first * shape.width + head * shape.head_width();
            let d_rows = fits(MatRef::new(d_output, at, rows, shape.head_width(), shape.width as isize, 1));
            let d_scores = &mut d_scores[..len];
            let values = view(shape, qkv, Part::Value, head, 0, keys).transposed();
            let to = scores_mut(shape, &block, d_scores);
            product(context, T::one(), d_rows, values, T::zero(), to);
            let dropped = match drops {
                Some(drops) => {
                    let factors = &mut factors[..len];
                    drops.factors(context, shape, &block, factors);
                    times(context, shape, &block, factors, d_scores);
                    times(context, shape, &block, weights, factors);
                    &*factors
                }
                None => weights,
            };
            let d_values = view_mut(shape, d_qkv, Part::Value, head, 0, keys);
            let dropped = scores(shape, &block, dropped).transposed();
            product(context, T::one(), dropped, d_rows, beta, d_values);

            let rows_of = Gradients {
                rows: d_scores.chunks_exact_mut(shape.length),
                weights: weights.chunks_exact(shape.length),
                first,
                keys,
                causal: shape.causal,
            };
            T::run(context, rows_of);
            let d_scores = scores(shape, &block, d_scores);
            let these = view(shape, qkv, Part::Key, head, 0, keys);
            let d_queries = view_mut(shape, d_qkv, Part::Query, head, first, rows);
            product(context, scale, d_scores, these, T::zero(), d_queries);
            let these = view(shape, qkv, Part::Query, head, first, rows);
            let d_keys = view_mut(shape, d_qkv, Part::Key, head, 0, keys);
            product(context, scale, d_scores.transposed(), these, beta, d_keys);
            beta = T::one();
        }
    }
}

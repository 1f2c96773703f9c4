//! The output, block by block of queries.

use super::{Part, Sample, Shape, fits, product, scores, times, view, weigh};
use crate::context::Context;
use crate::kernel::element::Element;
use crate::kernel::gemm::view::MatMut;

/// The elements of scratch memory that [`forward`] takes.
pub(crate) fn forward_scratch(shape: &Shape, kept: bool, drops: bool) -> usize {
    shape.block() * (usize::from(!kept) + usize::from(drops))
}

/// `output` is the attention of one sample: see the [module](super).
///
/// `kept`, if there is any, gets the weights before any is dropped. `scratch`
/// has at least [`forward_scratch`] elements.
pub(crate) fn forward<T: Element>(
    context: &Context,
    shape: &Shape,
    sample: &Sample<'_, T>,
    mut kept: Option<&mut [T]>,
    output: &mut [T],
    scratch: &mut [T],
) {
    let Sample { qkv, mask, drops } = *sample;
    let keys = shape.keys(mask);
    if keys == 0 {
        // What is kept is read by nobody then.
        output.fill(T::zero());
        return;
    }
    let (factors, scratch) = scratch.split_at_mut(if drops.is_some() { shape.block() } else { 0 });
    for head in 0..shape.heads {
        for block in shape.blocks(head, keys) {
            let len = block.rows * shape.length;
            let weights = match &mut kept {
                Some(kept) => &mut kept[block.weights(shape)],
                None => &mut scratch[..len],
            };
            weigh(context, shape, &block, sample, weights);
            let dropped = match drops {
                Some(drops) => {
                    let factors = &mut factors[..len];
                    drops.factors(context, shape, &block, factors);
                    times(context, shape, &block, weights, factors);
                    factors
                }
                None => weights,
            };
            let values = view(shape, qkv, Part::Value, head, 0, block.keys);
            let at = block.first * shape.width + head * shape.head_width();
            let to = MatMut::new(output, at, block.rows, shape.head_width(), shape.width as isize, 1);
            product(context, T::one(), scores(shape, &block, dropped), values, T::zero(), fits(to));
        }
    }
}

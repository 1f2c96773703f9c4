//! Where the numbers stop being numbers.

use super::SUM_CHUNK;
use crate::context::Context;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Mask, Simd, Vector};

pub(super) struct FirstNonFinite<'a, T>(&'a [T]);

impl<T: Element> Kernel for FirstNonFinite<'_, T> {
    type Output = Option<usize>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Option<usize> {
        let lanes = T::V::<S>::LANES;
        let zero = T::V::<S>::splat(s, T::zero());
        for (i, chunk) in self.0.chunks(SUM_CHUNK).enumerate() {
            // Zero times a finite number is a zero, and NaN otherwise, which stays.
            let mut marks = [zero; 4];
            let mut blocks = chunk.chunks_exact(4 * lanes);
            for block in &mut blocks {
                for (mark, part) in marks.iter_mut().zip(block.chunks_exact(lanes)) {
                    *mark = T::V::<S>::load(s, part).mul_add(zero, *mark);
                }
            }
            for (mark, part) in marks.iter_mut().zip(blocks.remainder().chunks(lanes)) {
                *mark = T::V::<S>::load_first(s, part).mul_add(zero, *mark);
            }
            if ((marks[0] + marks[1]) + (marks[2] + marks[3])).is_nan().any() {
                return chunk.iter().position(|x| !x.is_finite()).map(|at| i * SUM_CHUNK + at);
            }
        }
        None
    }
}

/// The index of the first element that is NaN or infinite.
pub fn first_non_finite<T: Element>(context: &Context, x: &[T]) -> Option<usize> {
    T::run(context, FirstNonFinite(x))
}

//! Asking for memory before it is needed.

use super::compiled::{Compiled, compiled};
use super::element::Element;
use crate::context::Context;
use crate::simd::{Kernel, Simd};

/// Bytes of a cache line.
const LINE: usize = 64;

pub(crate) struct Ask<'a, A>(&'a [A]);

impl<A> Kernel for Ask<'_, A> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let first = self.0.as_ptr().cast::<u8>();
        let mut at = 0;
        while at < size_of_val(self.0) {
            s.prefetch::<true>(first.wrapping_add(at));
            at += LINE;
        }
    }
}

/// Asks for the lines of `memory`, into the second cache, and does not wait for them. (Into the first it gains nothing: of those
/// requests too few can be under way.)
///
/// Rows that are picked out of a large set are each a new place in memory, which no prefetcher foresees: copying them one
/// after the other waits for each.
pub(crate) fn ask<T, A>(context: &Context, memory: &[A])
where
    T: Element + for<'a> Compiled<Ask<'a, A>>,
{
    T::run(context, Ask(memory));
}

compiled! {
    Ask<'a, u8>,
    Ask<'a, f32>,
    Ask<'a, f64>,
}

//! Which stored rows a view shows.

use std::ops::Range;
use std::sync::Arc;

/// Which stored rows a view shows; all of them in order if there is no list.
#[derive(Clone)]
pub(super) struct Rows(pub(super) Option<Arc<[usize]>>);

impl Rows {
    #[inline]
    pub(super) fn get(&self, sample: usize) -> usize {
        self.0.as_ref().map_or(sample, |list| list[sample])
    }

    /// The elements of a sample's row of `width`.
    #[inline]
    pub(super) fn range(&self, sample: usize, width: usize) -> Range<usize> {
        let start = self.get(sample) * width;
        start..start + width
    }

    pub(super) fn subset(&self, samples: &[usize]) -> Self {
        Self(Some(samples.iter().map(|&sample| self.get(sample)).collect()))
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

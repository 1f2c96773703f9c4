//! Where the engine's batches come from.

use crate::context::Context;
use crate::kernel::Element;
use std::sync::Arc;

/// What a batch's targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// One class index per sample, below this count.
    Classes(usize),
    /// This many values per sample.
    Values(usize),
}

/// A set of samples that batches are gathered from, by index.
///
/// A sample does not depend on the batch that it is gathered into.
pub trait BatchSource<T: Element>: Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// True if there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of features of a sample.
    fn features(&self) -> usize;

    /// What the targets are; `None` if the set has none.
    fn target_kind(&self) -> Option<TargetKind>;

    /// Writes the features of the samples `indices` to `out`, row by row: `(indices.len(), features)`.
    ///
    /// # Panics
    /// May panic if an index is out of range or `out` has another length.
    fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [T]);

    /// The features of the samples `indices`, if they stand in memory as [`gather_features`](Self::gather_features) would write
    /// them: the engine reads them there and copies nothing. `None` unless it is written.
    fn rows(&self, indices: &[usize]) -> Option<&[T]> {
        let _ = indices;
        None
    }

    /// The samples `indices` will be gathered next: a hint, for a source that can ask for its memory ahead. Does nothing unless
    /// it is written.
    fn ask_ahead(&self, context: &Context, indices: &[usize]) {
        let _ = (context, indices);
    }

    /// An epoch of a run begins, counted from 1: for a source whose samples change from epoch to epoch. Called before the
    /// first batch of the epoch is asked for, and again where a run is resumed. Does nothing unless it is written.
    fn begin_epoch(&self, epoch: u64) {
        let _ = epoch;
    }

    /// Writes the classes of the samples `indices`. Called only where [`target_kind`](Self::target_kind) says so.
    ///
    /// # Panics
    /// May panic if an index is out of range or `out` has another length.
    fn gather_classes(&self, indices: &[usize], out: &mut [u32]);

    /// Writes the target values of the samples `indices`, row by row. Called only where
    /// [`target_kind`](Self::target_kind) says so.
    ///
    /// # Panics
    /// May panic if an index is out of range or `out` has another length.
    fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [T]);
}

/// What points to a source is one.
macro_rules! forward {
    ($(($pointer:ty, $($bound:tt)*),)*) => {$(
        impl<T: Element, S: BatchSource<T> + ?Sized $($bound)*> BatchSource<T> for $pointer {
            fn len(&self) -> usize {
                (**self).len()
            }

            fn is_empty(&self) -> bool {
                (**self).is_empty()
            }

            fn features(&self) -> usize {
                (**self).features()
            }

            fn target_kind(&self) -> Option<TargetKind> {
                (**self).target_kind()
            }

            fn begin_epoch(&self, epoch: u64) {
                (**self).begin_epoch(epoch);
            }

            fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [T]) {
                (**self).gather_features(context, indices, out);
            }

            fn rows(&self, indices: &[usize]) -> Option<&[T]> {
                (**self).rows(indices)
            }

            fn ask_ahead(&self, context: &Context, indices: &[usize]) {
                (**self).ask_ahead(context, indices);
            }

            fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
                (**self).gather_classes(indices, out);
            }

            fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [T]) {
                (**self).gather_values(context, indices, out);
            }
        }
    )*};
}

forward! {
    (&S,),
    (Box<S>,),
    (Arc<S>, + Send),
}

//! A data set as a source of batches.

use super::Dataset;
use super::features::ROWS_AHEAD;
use super::targets::Targets;
use crate::context::Context;
use crate::engine::{BatchSource, TargetKind};
use crate::kernel::{Element, convert};

impl Dataset {
    fn check_gather(&self, operation: &str, indices: &[usize], width: usize, out: usize) {
        assert_eq!(Some(out), indices.len().checked_mul(width), "Dataset::{operation}: the length of out");
        if let Some(index) = indices.iter().find(|&&index| index >= self.len) {
            panic!("Dataset::{operation}: expected a sample below {}, got {index}", self.len);
        }
    }
}

impl<T: Element> BatchSource<T> for Dataset {
    fn len(&self) -> usize {
        self.len
    }

    fn features(&self) -> usize {
        self.features
    }

    fn target_kind(&self) -> Option<TargetKind> {
        Self::target_kind(self)
    }

    fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        self.check_gather("gather_features", indices, self.features, out.len());
        let row = |at: usize| self.feature_rows.range(indices[at], self.stored);
        self.storage.gather(context, indices.len(), row, self.stages.as_deref(), self.features, out);
    }

    /// Samples that follow each other, stored as they are used.
    fn rows(&self, indices: &[usize]) -> Option<&[T]> {
        let row = |sample: usize| (sample < self.len).then(|| self.feature_rows.range(sample, self.stored));
        let (&first, others) = indices.split_first()?;
        let whole = row(first)?;
        let mut end = whole.end;
        for &sample in others {
            let next = row(sample)?;
            if next.start != end {
                return None;
            }
            end = next.end;
        }
        self.storage.values(self.stages.as_deref())?.get(whole.start..end)
    }

    /// The first rows: while those are copied, the gather asks for the others.
    fn ask_ahead(&self, context: &Context, indices: &[usize]) {
        for &sample in indices.iter().take(ROWS_AHEAD) {
            self.storage.ask::<T>(context, self.feature_rows.range(sample, self.stored));
        }
    }

    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        self.check_gather("gather_classes", indices, 1, out.len());
        let Some(Targets::Classes { labels, .. }) = &self.targets else {
            panic!("Dataset::gather_classes: the targets are not classes");
        };
        for (&sample, out) in indices.iter().zip(out) {
            *out = labels[self.target_rows.get(sample)];
        }
    }

    fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        match &self.targets {
            Some(Targets::Values { values, width }) => {
                self.check_gather("gather_values", indices, *width, out.len());
                let row = |at: usize| self.target_rows.range(indices[at], *width);
                values.gather(context, indices.len(), row, None, *width, out);
            }
            Some(Targets::Labels { bytes, count }) => {
                self.check_gather("gather_values", indices, *count, out.len());
                for (&sample, out) in indices.iter().zip(out.chunks_exact_mut(*count)) {
                    let row = &bytes[self.target_rows.range(sample, *count)];
                    convert::bytes_to_floats(context, row, T::one(), T::zero(), out)
                        .expect("the lengths were checked");
                }
            }
            _ => panic!("Dataset::gather_values: the targets are not values"),
        }
    }
}

//! Samples with zeros around them.

use crate::kernel::element::Element;

/// A sample (height, width, channels), and how many rows and columns of zeros are put around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Border {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Border {
    /// Elements of a sample without it.
    pub(super) fn inner(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Elements of a row with it.
    pub(super) fn row(&self) -> usize {
        (self.left + self.width + self.right) * self.channels
    }

    /// Elements of a sample with it.
    pub(super) fn outer(&self) -> usize {
        (self.top + self.height + self.bottom) * self.row()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.top + self.bottom + self.left + self.right == 0
    }

    /// Elements of scratch memory for `samples`.
    pub(super) fn scratch(&self, samples: usize) -> usize {
        if self.is_empty() { 0 } else { samples * self.outer() }
    }

    /// The samples with their borders: in `scratch`, if there are any.
    pub(super) fn around<'a, T: Element>(&self, samples: &'a [T], scratch: &'a mut [T]) -> &'a [T] {
        if self.is_empty() {
            return samples;
        }
        let count = samples.len() / self.inner();
        let scratch = &mut scratch[..count * self.outer()];
        for (sample, outer) in samples.chunks_exact(self.inner()).zip(scratch.chunks_exact_mut(self.outer()))
        {
            self.fill(sample, outer);
        }
        scratch
    }

    fn fill<T: Element>(&self, sample: &[T], outer: &mut [T]) {
        let (row, inner) = (self.row(), self.width * self.channels);
        let (left, right) = (self.left * self.channels, self.right * self.channels);
        let (top, rest) = outer.split_at_mut(self.top * row);
        let (rows, bottom) = rest.split_at_mut(self.height * row);
        top.fill(T::zero());
        bottom.fill(T::zero());
        for (from, to) in sample.chunks_exact(inner).zip(rows.chunks_exact_mut(row)) {
            to[..left].fill(T::zero());
            to[left..left + inner].copy_from_slice(from);
            to[row - right..].fill(T::zero());
        }
    }
}

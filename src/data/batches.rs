//! The order in which an epoch goes through a data set.

use super::indices;
use crate::error::{Error, Result};
use crate::rng::{Rng, purpose};

/// An epoch's mini-batches: slices of sample indices.
///
/// The order is a function of the seed, the epoch and the number of samples alone, not of earlier epochs: a resumed
/// run builds the same batches and continues with [`get`](Self::get) where it was.
///
/// ```
/// use gemmule::data::Batches;
///
/// let (seed, epoch) = (42, 0);
/// let mut batches = Batches::new(10, 4, Some((seed, epoch)))?;
/// for indices in &batches {
///     assert!(indices.iter().all(|&i| i < 10));
/// }
/// assert_eq!(batches.len(), 3);
/// assert_eq!(batches.get(2).map(<[usize]>::len), Some(2));
///
/// // The next epoch, without allocating again.
/// batches.restart(Some((seed, 1)));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batches {
    order: Vec<usize>,
    /// How many of `order` are used: all, or what fills whole batches.
    used: usize,
    batch: usize,
}

impl Batches {
    /// Batches of `batch` out of `len` samples. The last one is smaller where they do not come out even.
    ///
    /// `shuffle` gives the seed and the epoch; without it the samples come in order.
    ///
    /// # Errors
    /// [`Error::Argument`] if `batch` is 0; [`Error::Data`] if `len` is 0; [`Error::OutOfMemory`].
    pub fn new(len: usize, batch: usize, shuffle: Option<(u64, u64)>) -> Result<Self> {
        if batch == 0 {
            return Err(Error::argument("Batches::new", "batch", "at least 1", batch));
        }
        if len == 0 {
            return Err(Error::data("Batches::new", "samples", "at least 1", len));
        }
        let order = indices("Batches::new", len)?;
        let mut batches = Self { order, used: len, batch };
        batches.restart(shuffle);
        Ok(batches)
    }

    /// Without the last batch if it is smaller than the others. There may be none left.
    #[must_use]
    pub fn drop_last(mut self) -> Self {
        self.used = self.order.len() - self.order.len() % self.batch;
        self
    }

    /// Another epoch of the same samples, as [`new`](Self::new) would order it. Allocates nothing.
    pub fn restart(&mut self, shuffle: Option<(u64, u64)>) {
        for (i, index) in self.order.iter_mut().enumerate() {
            *index = i;
        }
        if let Some((seed, epoch)) = shuffle {
            Rng::new(seed).stream(purpose::SHUFFLE).stream(epoch).shuffle(&mut self.order);
        }
    }

    /// The number of batches.
    pub fn len(&self) -> usize {
        self.used.div_ceil(self.batch)
    }

    /// True if there is no batch: only after [`drop_last`](Self::drop_last).
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The indices of batch `i`.
    pub fn get(&self, i: usize) -> Option<&[usize]> {
        self.iter().nth(i)
    }

    /// The indices of the batch after batch `i`.
    pub(crate) fn after(&self, i: usize) -> Option<&[usize]> {
        let start = (i + 1).checked_mul(self.batch).filter(|&start| start < self.used)?;
        Some(&self.order[start..self.used.min(start.saturating_add(self.batch))])
    }

    /// The indices of each batch in turn.
    pub fn iter(&self) -> std::slice::Chunks<'_, usize> {
        self.order[..self.used].chunks(self.batch)
    }
}

impl<'a> IntoIterator for &'a Batches {
    type Item = &'a [usize];
    type IntoIter = std::slice::Chunks<'a, usize>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

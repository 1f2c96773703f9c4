//! The order in which an epoch goes through a data set.

use super::indices;
use super::sampler::{self, Sampler};
use crate::error::{Error, Result};

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

    /// Batches of `batch` out of `len` samples, in the order that `sampler` gives epoch `epoch`. The last one is smaller
    /// where they do not come out even.
    ///
    /// ```
    /// use gemmule::data::{Batches, WeightedRandomSampler};
    ///
    /// // The last of three samples ten times as often as the others.
    /// let sampler = WeightedRandomSampler::new(&[1.0, 1.0, 10.0], 100, true, 42)?;
    /// let batches = Batches::from_sampler(&sampler, 3, 32, 1)?;
    /// assert_eq!(batches.len(), 4);
    /// assert!(batches.iter().flatten().filter(|&&sample| sample == 2).count() > 50);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if `batch` is 0; [`Error::Data`] if the sampler draws no sample, or one that is not below
    /// `len`; [`Error::OutOfMemory`]; those of the sampler.
    pub fn from_sampler(sampler: &dyn Sampler, len: usize, batch: usize, epoch: u64) -> Result<Self> {
        let mut batches = Self::new(sampler.len(), batch, None)?;
        batches.resample(sampler, len, epoch)?;
        Ok(batches)
    }

    /// Another epoch, as [`from_sampler`](Self::from_sampler) would order it.
    ///
    /// # Errors
    /// [`Error::Data`] if the sampler draws a sample that is not below `len`, or another number of samples than before;
    /// those of the sampler.
    pub fn resample(&mut self, sampler: &dyn Sampler, len: usize, epoch: u64) -> Result<()> {
        let operation = "Batches::resample";
        if sampler.len() != self.order.len() {
            let expected = format!("{} samples, as before", self.order.len());
            return Err(Error::data(operation, "the sampler's epoch", expected, sampler.len()));
        }
        sampler.order(epoch, &mut self.order)?;
        if let Some((at, sample)) = self.order.iter().enumerate().find(|&(_, &sample)| sample >= len) {
            let expected = format!("a sample below {len}");
            return Err(Error::data(operation, format!("draw {at} of the sampler"), expected, sample));
        }
        Ok(())
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
            sampler::shuffle(seed, epoch, &mut self.order);
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

//! Which samples an epoch takes, and in which order.

use crate::error::{Error, Result};
use crate::rng::{Rng, purpose};

/// Which samples an epoch takes, and in which order: what [`Batches::from_sampler`](super::Batches::from_sampler) asks.
///
/// The order is a function of the sampler and the epoch alone, so a resumed run goes on exactly where it was. PyTorch's
/// names; a sampler of your own is this trait.
///
/// | sampler | an epoch |
/// | --- | --- |
/// | [`SequentialSampler`] | all samples in order |
/// | [`RandomSampler`] | all samples in random order |
/// | [`SubsetRandomSampler`] | some samples in random order |
/// | [`WeightedRandomSampler`] | draws by weight, with or without replacement |
pub trait Sampler: Sync {
    /// How many samples an epoch takes.
    fn len(&self) -> usize;

    /// True if an epoch takes none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the samples of epoch `epoch` to `out`, which has [`len`](Self::len) elements.
    ///
    /// # Errors
    /// Those of the sampler.
    ///
    /// # Panics
    /// May panic if `out` has another length.
    fn order(&self, epoch: u64, out: &mut [usize]) -> Result<()>;
}

/// All samples in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequentialSampler(usize);

impl SequentialSampler {
    /// Of `len` samples.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self(len)
    }
}

impl Sampler for SequentialSampler {
    fn len(&self) -> usize {
        self.0
    }

    fn order(&self, _: u64, out: &mut [usize]) -> Result<()> {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = i);
        Ok(())
    }
}

/// All samples, each epoch in an order of its own: that of [`Batches::new`](super::Batches::new) with the same seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomSampler {
    len: usize,
    seed: u64,
}

impl RandomSampler {
    /// Of `len` samples.
    #[must_use]
    pub fn new(len: usize, seed: u64) -> Self {
        Self { len, seed }
    }
}

impl Sampler for RandomSampler {
    fn len(&self) -> usize {
        self.len
    }

    fn order(&self, epoch: u64, out: &mut [usize]) -> Result<()> {
        SequentialSampler(self.len).order(epoch, out)?;
        shuffle(self.seed, epoch, out);
        Ok(())
    }
}

/// The order of an epoch's samples.
pub(super) fn shuffle(seed: u64, epoch: u64, order: &mut [usize]) {
    Rng::new(seed).stream(purpose::SHUFFLE).stream(epoch).shuffle(order);
}

/// Some samples, each epoch in an order of its own.
///
/// ```
/// use gemmule::data::{Sampler, SubsetRandomSampler};
///
/// let sampler = SubsetRandomSampler::new(vec![3, 5, 9], 42);
/// let mut order = [0; 3];
/// sampler.order(0, &mut order)?;
/// order.sort();
/// assert_eq!(order, [3, 5, 9]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsetRandomSampler {
    indices: Vec<usize>,
    seed: u64,
}

impl SubsetRandomSampler {
    /// The samples `indices`, as often as each is named.
    #[must_use]
    pub fn new(indices: Vec<usize>, seed: u64) -> Self {
        Self { indices, seed }
    }
}

impl Sampler for SubsetRandomSampler {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn order(&self, epoch: u64, out: &mut [usize]) -> Result<()> {
        out.copy_from_slice(&self.indices);
        shuffle(self.seed, epoch, out);
        Ok(())
    }
}

/// Draws samples by weight: PyTorch's `WeightedRandomSampler`. The weights need not sum to 1; a sample of weight 0 is never
/// drawn.
///
/// With replacement, each draw takes sample i with probability `weight[i] / sum`: draw j reads word 2j of the epoch's stream
/// and looks for it in the running sums. Without, draws follow one another with the weights of those that are left: the samples
/// in the order of `-ln(u[i]) / weight[i]`, u uniform (Efraimidis and Spirakis, "Weighted random sampling with a reservoir",
/// 2006); such an epoch allocates 16 bytes per sample.
///
/// ```
/// use gemmule::data::{Sampler, WeightedRandomSampler, class_weights, sample_weights};
///
/// // One sample in ten is of class 1: drawn as often as class 0 all the same.
/// let labels: Vec<u32> = (0..1000).map(|i| u32::from(i % 10 == 0)).collect();
/// let weights = sample_weights(&labels, &class_weights(&labels, 2)?)?;
/// let sampler = WeightedRandomSampler::new(&weights, 1000, true, 42)?;
/// let mut epoch = vec![0; 1000];
/// sampler.order(0, &mut epoch)?;
/// let rare = epoch.iter().filter(|&&sample| labels[sample] == 1).count();
/// assert!((430..570).contains(&rare), "{rare}");
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedRandomSampler {
    /// With replacement the running sums, without the weights themselves.
    weights: Vec<f64>,
    draws: usize,
    replacement: bool,
    seed: u64,
}

impl WeightedRandomSampler {
    /// `draws` samples in each epoch, by `weights`, one for each sample.
    ///
    /// # Errors
    /// [`Error::Data`] if a weight is negative or not finite (names the sample), or their sum is not finite; if, without
    /// replacement, fewer weights than `draws` are above 0, or, with it, none; [`Error::Argument`] if `draws` is 0.
    pub fn new(weights: &[f64], draws: usize, replacement: bool, seed: u64) -> Result<Self> {
        let operation = "WeightedRandomSampler::new";
        if draws == 0 {
            return Err(Error::argument(operation, "draws", "at least 1", 0));
        }
        if let Some((sample, weight)) =
            weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w >= 0.0))
        {
            let what = format!("the weight of sample {sample}");
            return Err(Error::data(operation, what, "0 or above, finite", weight));
        }
        let positive = weights.iter().filter(|&&weight| weight > 0.0).count();
        let least = if replacement { 1 } else { draws };
        if positive < least {
            return Err(Error::data(operation, "weights", format!("at least {least} above 0"), positive));
        }
        let mut weights = weights.to_vec();
        if replacement {
            let mut sum = 0.0;
            for weight in &mut weights {
                sum += *weight;
                *weight = sum;
            }
            if !f64::is_finite(sum) {
                return Err(Error::data(operation, "weights", "a finite sum", sum));
            }
        }
        Ok(Self { weights, draws, replacement, seed })
    }
}

impl Sampler for WeightedRandomSampler {
    fn len(&self) -> usize {
        self.draws
    }

    fn order(&self, epoch: u64, out: &mut [usize]) -> Result<()> {
        let mut rng = Rng::new(self.seed).stream(purpose::SAMPLER).stream(epoch);
        if self.replacement {
            let total = self.weights.last().copied().unwrap_or_default();
            // The first sample that reaches the total: what rounding could lead beyond ends there.
            let last = self.weights.partition_point(|&sum| sum < total);
            for out in out {
                let place = rng.uniform_f64() * total;
                *out = self.weights.partition_point(|&sum| sum <= place).min(last);
            }
            return Ok(());
        }
        let mut keys = Vec::new();
        let bytes = self.weights.len().saturating_mul(size_of::<(f64, usize)>());
        keys.try_reserve_exact(self.weights.len())
            .map_err(|_| Error::OutOfMemory { what: "the keys of a weighted epoch", bytes })?;
        for (sample, &weight) in self.weights.iter().enumerate() {
            // In (0, 1], so that the logarithm is finite. Drawn for weight 0 too: each sample has words of its own.
            let uniform = 1.0 - rng.uniform_f64();
            if weight > 0.0 {
                keys.push((-libm::log(uniform) / weight, sample));
            }
        }
        keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        out.iter_mut().zip(keys).for_each(|(out, (_, sample))| *out = sample);
        Ok(())
    }
}

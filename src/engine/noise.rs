//! What is random in training: dropout and its relatives.

use super::run::Run;
use crate::error::Result;
use crate::kernel::{Element, multiply};
use crate::rng::{Rng, purpose};

/// What happens to each element x of a value in training, with n a standard normal number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Noise {
    /// x / keep with the probability `keep`, else 0.
    Dropout { keep: f64 },
    /// x + std n.
    Gaussian { std: f64 },
    /// x (1 + std n).
    GaussianDropout { std: f64 },
    /// x / keep with the probability `keep`, else 0: one draw for all positions of a channel. Stored as positions x channels.
    ChannelDropout { keep: f64, channels: usize, positions: usize },
    /// a x + b with the probability `keep`, else a s + b with s = -SELU's limit.
    AlphaDropout { keep: f64 },
}

/// Which noise of a model: the layer, and which of its noises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub layer: usize,
    pub number: usize,
}

/// Elements that are drawn at once.
const ELEMENTS: usize = 512;

/// The limit of SELU far below 0, negated: its scale times its alpha.
const SELU_LIMIT: f64 = 1.758_099_340_847_376_6;

impl Noise {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dropout { .. } => "dropout",
            Self::Gaussian { .. } => "Gaussian noise",
            Self::GaussianDropout { .. } => "Gaussian dropout",
            Self::ChannelDropout { .. } => "dropout of channels",
            Self::AlphaDropout { .. } => "alpha dropout",
        }
    }

    /// It changes something.
    pub(crate) fn is_active(self) -> bool {
        match self {
            Self::Dropout { keep } | Self::ChannelDropout { keep, .. } | Self::AlphaDropout { keep } => {
                keep < 1.0
            }
            Self::Gaussian { std } | Self::GaussianDropout { std } => std > 0.0,
        }
    }

    /// The derivative is not 1.
    pub(crate) fn has_derivative(self) -> bool {
        !matches!(self, Self::Gaussian { .. })
    }

    /// The words of 32 bits that an element takes.
    fn words(self) -> usize {
        match self {
            Self::Dropout { .. } | Self::ChannelDropout { .. } | Self::AlphaDropout { .. } => 1,
            Self::Gaussian { .. } | Self::GaussianDropout { .. } => 2,
        }
    }

    /// Of alpha dropout: the factor a, and b, which keep mean 0 and variance 1 as they are.
    fn affine(keep: f64) -> (f64, f64) {
        let dropped = 1.0 - keep;
        let a = 1.0 / (keep * (1.0 + dropped * SELU_LIMIT * SELU_LIMIT)).sqrt();
        (a, a * SELU_LIMIT * dropped)
    }
}

impl<T: Element> Run<'_, T> {
    /// Puts noise on elements of a value, from the batch's element `first` on; or multiplies their gradients by its
    /// derivative. The same numbers are drawn again for that: an element's are a matter of its place.
    pub(super) fn noise(
        &self,
        x: &mut [T],
        noise: Noise,
        at: Place,
        first: usize,
        backward: bool,
    ) -> Result<()> {
        let [seed, step, part] = self.dropout;
        let rng = Rng::new(seed).stream(purpose::DROPOUT).stream(step).stream(part).stream(at.layer as u64);
        // The first of a layer, which mostly is the only one.
        let rng = if at.number == 0 { rng } else { rng.stream(at.number as u64) };
        let mut drawn = [T::zero(); ELEMENTS];
        if let Noise::ChannelDropout { keep, channels, positions } = noise {
            // Of whole samples.
            for (sample, x) in x.chunks_exact_mut(channels * positions).enumerate() {
                let before = (first / positions) + sample * channels;
                for start in (0..channels).step_by(ELEMENTS) {
                    let drawn = &mut drawn[..ELEMENTS.min(channels - start)];
                    rng.at((before + start) as u64).fill_dropout(self.context, drawn, keep)?;
                    for x in x.chunks_exact_mut(channels) {
                        x[start..].iter_mut().zip(&*drawn).for_each(|(x, &factor)| *x *= factor);
                    }
                }
            }
            return Ok(());
        }
        for (piece, x) in x.chunks_mut(ELEMENTS).enumerate() {
            let drawn = &mut drawn[..x.len()];
            let mut rng = rng.at(((first + piece * ELEMENTS) * noise.words()) as u64);
            match noise {
                Noise::Dropout { keep } => {
                    rng.fill_dropout(self.context, drawn, keep)?;
                    multiply(self.context, drawn, x)?;
                }
                Noise::ChannelDropout { .. } => {}
                Noise::GaussianDropout { std } => {
                    rng.fill_normal(self.context, drawn, 1.0, std)?;
                    multiply(self.context, drawn, x)?;
                }
                Noise::Gaussian { std } => {
                    rng.fill_normal(self.context, drawn, 0.0, std)?;
                    x.iter_mut().zip(&*drawn).for_each(|(x, &n)| *x += n);
                }
                Noise::AlphaDropout { keep } => {
                    let (a, b) = Noise::affine(keep);
                    rng.fill_bernoulli(self.context, drawn, keep)?;
                    if backward {
                        let a = T::from_f64(a);
                        x.iter_mut().zip(&*drawn).for_each(|(x, &kept)| *x *= a * kept);
                        continue;
                    }
                    let (dropped, a, b) = (T::from_f64(b - a * SELU_LIMIT), T::from_f64(a), T::from_f64(b));
                    x.iter_mut().zip(&*drawn).for_each(|(x, &kept)| {
                        *x = if kept == T::zero() { dropped } else { a * *x + b };
                    });
                }
            }
        }
        Ok(())
    }
}

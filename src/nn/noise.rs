//! Layers that put noise on values in training: relatives of [`Dropout`](super::Dropout).
//!
//! Their numbers are drawn as Dropout's masks: a function of the seed that the model was built with, the number of steps taken, the
//! layer, and the element's place in the batch; not of threads, and the same when a run is resumed.

use super::layer::Layer;
use super::pool::spatial;
use super::spec::Spec;
use crate::engine::{Builder, Value};
use crate::error::Result;

/// Gaussian noise (Keras' `GaussianNoise`): in training y = x + std n, with a standard normal number n for each element; otherwise
/// nothing happens.
///
/// ```
/// use gemmule::nn::{Dense, GaussianNoise, Sequential};
/// let model = Sequential::new().with(GaussianNoise::new(0.1)).with(Dense::new(784, 10)).build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GaussianNoise {
    std: f64,
}

impl GaussianNoise {
    /// Noise with the standard deviation `std`, from 0 to 1e30 (or building the model fails).
    pub fn new(std: f64) -> Self {
        Self { std }
    }
}

impl Layer for GaussianNoise {
    fn describe(&self) -> String {
        format!("GaussianNoise {}", self.std)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.gaussian_noise(input, self.std)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("gaussian_noise").with("std", self.std))
    }
}

/// Gaussian dropout (Srivastava et al. 2014; Keras' `GaussianDropout`): in training y = x (1 + n sqrt(rate / (1 - rate))), with a
/// standard normal number n for each element, which has the mean and variance of a dropout's y; otherwise nothing happens.
///
/// ```
/// use gemmule::nn::{Activation, Dense, GaussianDropout, Sequential};
/// let model = Sequential::new()
///     .with(Dense::new(784, 512))
///     .with(Activation::Relu)
///     .with(GaussianDropout::new(0.2))
///     .with(Dense::new(512, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GaussianDropout {
    rate: f64,
}

impl GaussianDropout {
    /// The noise of a dropout of this rate, which is at least 0 and below 1 (or building the model fails).
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }
}

impl Layer for GaussianDropout {
    fn describe(&self) -> String {
        format!("GaussianDropout {}", self.rate)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.gaussian_dropout(input, self.rate)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("gaussian_dropout").with("rate", self.rate))
    }
}

/// Dropout of whole channels, of values with D dimensions behind them, 1 or 2: see [`Dropout1d`] and [`Dropout2d`].
#[derive(Clone, Copy, Debug)]
pub struct ChannelDropout<const D: usize> {
    rate: f64,
}

/// Dropout of whole channels of `(C, L)` (Keras' `SpatialDropout1D`): see [`Dropout2d`].
#[doc(alias = "SpatialDropout1D")]
pub type Dropout1d = ChannelDropout<1>;

/// Dropout of whole channels of `(C, H, W)` (Tompson et al. 2015; PyTorch's `Dropout2d`, Keras' `SpatialDropout2D`): in training each
/// sample's channel is 0 everywhere with the probability `rate`, or else divided by 1 - `rate`; otherwise nothing happens.
///
/// ```
/// use gemmule::nn::{Activation, Conv2d, Dense, Dropout2d, Flatten, Input, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[1, 28, 28]))
///     .with(Conv2d::new(1, 8, 3))
///     .with(Activation::Relu)
///     .with(Dropout2d::new(0.1))
///     .with(Flatten::new())
///     .with(Dense::new(8 * 26 * 26, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[doc(alias = "SpatialDropout2D")]
pub type Dropout2d = ChannelDropout<2>;

impl<const D: usize> ChannelDropout<D> {
    /// Drops channels with the probability `rate`, which is at least 0 and below 1 (or building the model fails).
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }
}

impl<const D: usize> Layer for ChannelDropout<D> {
    fn describe(&self) -> String {
        format!("Dropout{D}d {}", self.rate)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        spatial::<D>(builder, input)?;
        builder.channel_dropout(input, self.rate)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new(format!("dropout{D}d")).with("rate", self.rate))
    }
}

/// Alpha dropout (Klambauer et al. 2017; PyTorch's `AlphaDropout`), for nets of [`Activation::Selu`](super::Activation::Selu): in
/// training y = a m + b, where m is x or, with the probability p = `rate`, s = -1.7580993408473766, SELU's limit;
/// a = 1 / sqrt((1 - p) (1 + p s^2)) and b = -a p s keep a mean of 0 and a variance of 1. Otherwise nothing happens.
///
/// ```
/// use gemmule::nn::{Activation, AlphaDropout, Dense, Init, Sequential};
/// let model = Sequential::new()
///     .with(Dense::new(784, 512).weight_init(Init::LecunNormal))
///     .with(Activation::Selu)
///     .with(AlphaDropout::new(0.1))
///     .with(Dense::new(512, 10).weight_init(Init::LecunNormal))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AlphaDropout {
    rate: f64,
}

impl AlphaDropout {
    /// Drops elements with the probability `rate`, which is at least 0 and below 1 (or building the model fails).
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }
}

impl Layer for AlphaDropout {
    fn describe(&self) -> String {
        format!("AlphaDropout {}", self.rate)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.alpha_dropout(input, self.rate)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("alpha_dropout").with("rate", self.rate))
    }
}

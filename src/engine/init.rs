//! How parameters are begun.

/// How the numbers of a parameter are begun. `fan_in` and `fan_out` are a layer's inputs and outputs; numbers are drawn row by row as
/// a weight is shown (outputs x inputs), from the model's seed and the parameter's index.
///
/// | here | formula | PyTorch (`torch.nn.init`) | Keras |
/// | --- | --- | --- | --- |
/// | [`Zeros`](Self::Zeros), [`Constant`](Self::Constant) | | `zeros_`, `ones_`, `constant_` | `Zeros`, `Ones`, `Constant` |
/// | [`Uniform`](Self::Uniform), [`Normal`](Self::Normal) | | `uniform_`, `normal_` | `RandomUniform`, `RandomNormal` |
/// | [`TruncatedNormal`](Self::TruncatedNormal) | normal given that it is in `low..=high` | `trunc_normal_` | `TruncatedNormal`, cut at two `std` |
/// | [`GlorotUniform`](Self::GlorotUniform) | ± sqrt(6 / (fan_in + fan_out)) | `xavier_uniform_` | `GlorotUniform` |
/// | [`GlorotNormal`](Self::GlorotNormal) | std sqrt(2 / (fan_in + fan_out)) | `xavier_normal_` | `GlorotNormal`, truncated |
/// | [`XavierUniform`](Self::XavierUniform), [`XavierNormal`](Self::XavierNormal) | the same times `gain` | the same with `gain` | |
/// | [`HeUniform`](Self::HeUniform) | ± sqrt(6 / fan_in) | `kaiming_uniform_(nonlinearity="relu")` | `HeUniform` |
/// | [`HeNormal`](Self::HeNormal) | std sqrt(2 / fan_in) | `kaiming_normal_(nonlinearity="relu")` | `HeNormal`, truncated |
/// | [`KaimingUniform`](Self::KaimingUniform) | ± gain sqrt(3 / fan) | `kaiming_uniform_` | |
/// | [`KaimingNormal`](Self::KaimingNormal) | std gain / sqrt(fan) | `kaiming_normal_` | |
/// | [`LecunUniform`](Self::LecunUniform), [`LecunNormal`](Self::LecunNormal) | ± sqrt(3 / fan_in), std sqrt(1 / fan_in) | the two above, `linear` | `LecunUniform`; `LecunNormal`, truncated |
/// | [`Orthogonal`](Self::Orthogonal) | gain Q of a normal matrix | `orthogonal_` | `Orthogonal` |
/// | [`Identity`](Self::Identity) | gain on the diagonal, else 0 | `eye_` | `Identity` |
/// | [`PyTorch`](Self::PyTorch) | ± 1 / sqrt(fan_in) | the default of `nn.Linear` | |
///
/// The gain of an activation is [`nn::gain`](crate::nn::gain)'s.
///
/// ```
/// use gemmule::nn::{Activation, Dense, Fan, Init, Sequential, gain};
/// let gain = gain(Activation::LeakyRelu { slope: 0.2 })?;
/// let model = Sequential::new()
///     .with(Dense::new(64, 32).weight_init(Init::KaimingNormal { gain, fan: Fan::Out }).bias_init(Init::Zeros))
///     .with(Activation::LeakyRelu { slope: 0.2 })
///     .with(Dense::new(32, 32).weight_init(Init::Orthogonal { gain: 1.0 }))
///     .build::<f32>(0)?;
/// assert!(model.parameter("0.bias")?.as_slice().iter().all(|&b| b == 0.0));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// All 0.
    Zeros,
    /// All the same.
    Constant(f64),
    /// Uniform in `low .. high`.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound, not reached.
        high: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Normal, given that it lies between two bounds, which are values and not deviations, as PyTorch's (whose defaults are
    /// 0, 1, -2 and 2).
    TruncatedNormal {
        /// The mean of the normal distribution.
        mean: f64,
        /// Its standard deviation, above 0.
        std: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound, above the lower.
        high: f64,
    },
    /// Uniform in ± sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
    GlorotUniform,
    /// Normal with standard deviation sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010).
    GlorotNormal,
    /// Uniform in ± sqrt(6 / fan_in), for ReLU (He et al. 2015).
    HeUniform,
    /// Normal with standard deviation sqrt(2 / fan_in), for ReLU (He et al. 2015).
    HeNormal,
    /// Uniform in ± gain sqrt(6 / (fan_in + fan_out)): [`GlorotUniform`](Self::GlorotUniform) with a gain.
    XavierUniform {
        /// What the numbers are multiplied by.
        gain: f64,
    },
    /// Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)): [`GlorotNormal`](Self::GlorotNormal) with a gain.
    XavierNormal {
        /// What the numbers are multiplied by.
        gain: f64,
    },
    /// Uniform in ± gain sqrt(3 / fan): [`HeUniform`](Self::HeUniform) with a gain of sqrt(2) and [`Fan::In`].
    KaimingUniform {
        /// That of the activation that follows: see [`nn::gain`](crate::nn::gain).
        gain: f64,
        /// PyTorch's `mode`; its default is [`Fan::In`].
        fan: Fan,
    },
    /// Normal with standard deviation gain / sqrt(fan): [`HeNormal`](Self::HeNormal) with a gain of sqrt(2) and [`Fan::In`].
    KaimingNormal {
        /// That of the activation that follows: see [`nn::gain`](crate::nn::gain).
        gain: f64,
        /// PyTorch's `mode`; its default is [`Fan::In`].
        fan: Fan,
    },
    /// Uniform in ± sqrt(3 / fan_in) (LeCun et al. 1998), for SELU.
    LecunUniform,
    /// Normal with standard deviation sqrt(1 / fan_in) (LeCun et al. 1998), for SELU.
    LecunNormal,
    /// Rows (of a weight with more outputs than inputs: columns) of norm `gain` and at right angles to each other (Saxe et al. 2013):
    /// Q of the QR decomposition of a matrix of standard normal numbers, with the signs for which the diagonal of R is positive, so
    /// that it is uniform among all such. Computed in f64, with a time of about `rows * columns * min(rows, columns)`. Of weights
    /// alone.
    Orthogonal {
        /// What the numbers are multiplied by.
        gain: f64,
    },
    /// `gain` where the output's index is the input's, else 0: the identity for a square weight. Of weights alone.
    Identity {
        /// What the numbers are multiplied by.
        gain: f64,
    },
    /// PyTorch's default for `nn.Linear`, weights and bias alike: uniform in ± 1 / sqrt(fan_in).
    PyTorch,
}

/// Which of a layer's sizes an initialiser keeps the variance for: PyTorch's `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fan {
    /// Its inputs: the variance of the values on the way forward. PyTorch's `fan_in`.
    In,
    /// Its outputs: the variance of the gradients on the way back. PyTorch's `fan_out`.
    Out,
}

//! Normalisation layers.

use super::layer::Layer;
use super::sizes::{all_sizes, numbers};
use super::spec::Spec;
use crate::engine::{BatchNorm, Builder, GroupNorm as Groups, Init, RowNorm, Value};
use crate::error::{Error, Result};

/// Refuses an epsilon that is negative, NaN or infinite.
fn check_eps(layer: &'static str, eps: f64) -> Result<()> {
    if eps >= 0.0 && eps.is_finite() {
        return Ok(());
    }
    Err(Error::argument("build", layer, "an eps from 0 on", eps))
}

/// `[4, 28, 28]`, as it is written in errors.
fn shown(dims: &[usize]) -> String {
    format!("{dims:?}")
}

/// The options of a batch norm: PyTorch's names and defaults.
#[derive(Clone, Copy, Debug)]
struct Batch {
    num_features: usize,
    eps: f64,
    momentum: Option<f64>,
    affine: bool,
    track_running_stats: bool,
}

impl Batch {
    fn new(num_features: usize) -> Self {
        Self { num_features, eps: 1e-5, momentum: Some(0.1), affine: true, track_running_stats: true }
    }

    /// Lowers it where the input has as many dimensions as `takes` says.
    fn lower(
        &self,
        layer: &'static str,
        takes: (&[usize], &str),
        builder: &mut Builder,
        input: Value,
    ) -> Result<Value> {
        let Self { num_features: channels, eps, momentum, affine, track_running_stats: tracks } = *self;
        check_eps(layer, eps)?;
        if channels == 0 {
            return Err(Error::argument("build", layer, "at least one feature", 0));
        }
        if let Some(momentum) = momentum.filter(|momentum| !(0.0..=1.0).contains(momentum)) {
            return Err(Error::argument("build", layer, "a momentum from 0 to 1, or none", momentum));
        }
        let dims = builder.dims(input).to_vec();
        if !takes.0.contains(&dims.len()) || dims[0] != channels {
            let expected = takes.1.replace('C', &channels.to_string());
            return Err(builder.refusal(expected, shown(&dims)));
        }
        let input = builder.in_channels_last(input)?;
        let mut parameters = Vec::new();
        if affine {
            parameters.extend(weight_and_bias(builder, channels)?);
        }
        if tracks {
            parameters.push(builder.buffer("running_mean", &[channels], 0.0)?);
            parameters.push(builder.buffer("running_var", &[channels], 1.0)?);
            parameters.push(builder.buffer("num_batches_tracked", &[], 0.0)?);
        }
        let positions = dims[1..].iter().product();
        let form = builder.form(input).clone();
        let function = BatchNorm { positions, channels, eps, momentum, affine, tracks };
        builder.function(&[input], form, function, &parameters)
    }

    fn spec(&self, kind: &str) -> Spec {
        let spec = Spec::new(kind).with("num_features", self.num_features).with("eps", self.eps);
        let spec = match self.momentum {
            Some(momentum) => spec.with("momentum", momentum),
            None => spec.with("momentum", "none"),
        };
        spec.with("affine", self.affine).with("track_running_stats", self.track_running_stats)
    }

    fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["num_features", "eps", "momentum", "affine", "track_running_stats"])?;
        let is_none = spec.text("momentum").is_ok_and(|text| text == "none");
        Ok(Self {
            num_features: spec.size("num_features")?,
            eps: spec.number("eps")?,
            momentum: if is_none { None } else { Some(spec.number("momentum")?) },
            affine: spec.flag("affine")?,
            track_running_stats: spec.flag("track_running_stats")?,
        })
    }
}

/// Weight and bias of a number for each channel: ones and zeros at first.
fn weight_and_bias(builder: &mut Builder, channels: usize) -> Result<[crate::engine::ParameterId; 2]> {
    let fans = (channels, channels);
    Ok([
        builder.vector("weight", channels, fans, Init::Constant(1.0))?,
        builder.vector("bias", channels, fans, Init::Zeros)?,
    ])
}

/// The two batch norms differ in the dimensions that they take.
macro_rules! batch_norm {
    ($(#[$docs:meta])* $name:ident, $kind:literal, $takes:expr) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(Batch);

        impl $name {
            /// For so many features, or channels.
            pub fn new(num_features: usize) -> Self {
                Self(Batch::new(num_features))
            }

            /// What is added to the variance, at least 0: 1e-5 unless said otherwise.
            #[must_use]
            pub fn eps(self, eps: f64) -> Self {
                Self(Batch { eps, ..self.0 })
            }

            /// How much of the running statistics a batch replaces, 0 to 1: 0.1 unless said otherwise. With `None` they are the means
            /// over all batches.
            #[must_use]
            pub fn momentum(self, momentum: impl Into<Option<f64>>) -> Self {
                Self(Batch { momentum: momentum.into(), ..self.0 })
            }

            /// Whether there are weight and bias: so unless said otherwise.
            #[must_use]
            pub fn affine(self, affine: bool) -> Self {
                Self(Batch { affine, ..self.0 })
            }

            /// Whether there are running statistics: so unless said otherwise. Without, predictions and evaluations too are by the
            /// statistics of their batch, and depend on it.
            #[must_use]
            pub fn track_running_stats(self, track_running_stats: bool) -> Self {
                Self(Batch { track_running_stats, ..self.0 })
            }

            pub(super) fn of(spec: &Spec) -> Result<Self> {
                Batch::of(spec).map(Self)
            }
        }

        impl Layer for $name {
            fn describe(&self) -> String {
                format!("{} {}", stringify!($name), self.0.num_features)
            }

            fn inputs(&self) -> Option<usize> {
                None
            }

            fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
                self.0.lower(stringify!($name), $takes, builder, input)
            }

            fn spec(&self) -> Option<Spec> {
                Some(self.0.spec($kind))
            }
        }
    };
}

batch_norm! {
    /// Batch normalisation (Ioffe and Szegedy 2015) of features `[F]` or sequences `[C, L]`, as PyTorch's `BatchNorm1d`: each channel has
    /// mean 0 and variance 1 over the batch (and the sequence), times `weight`, plus `bias`.
    ///
    /// ```text
    /// training      y = (x - mean) / sqrt(variance + eps) weight + bias          of the batch; the variance is divided by n
    ///               running_mean += momentum (mean - running_mean)
    ///               running_var  += momentum (variance n / (n - 1) - running_var)
    /// otherwise     the running statistics in place of the batch's
    /// ```
    ///
    /// Parameters `weight` (ones at first) and `bias` (zeros), each (F); buffers `running_mean` (zeros), `running_var` (ones) and
    /// `num_batches_tracked`, which in a model of f32 counts to 2^24. Every pass in training updates the buffers once, when its losses
    /// were found finite; a step that fails before leaves them. Sums over the batch are taken in f64.
    ///
    /// A training batch with one value per channel is an error, as in PyTorch: let the loader drop a last batch of one sample.
    ///
    /// ```
    /// use gemmule::nn::{Activation, BatchNorm1d, Dense, Sequential};
    /// let model = Sequential::new()
    ///     .with(Dense::new(8, 16).without_bias())
    ///     .with(BatchNorm1d::new(16))
    ///     .with(Activation::Relu)
    ///     .with(Dense::new(16, 3))
    ///     .build::<f32>(0)?;
    /// let names: Vec<_> = model.buffers().into_iter().map(|buffer| buffer.name).collect();
    /// assert_eq!(names, ["1.running_mean", "1.running_var", "1.num_batches_tracked"]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    BatchNorm1d, "batch_norm1d", (&[1, 2], "[C] or [C, L]")
}

batch_norm! {
    /// Batch normalisation of images `[C, H, W]`, as PyTorch's `BatchNorm2d`: by channel, over the batch and all positions. Formula,
    /// parameters and buffers are those of [`BatchNorm1d`].
    ///
    /// ```
    /// use gemmule::nn::{BatchNorm2d, Input, Sequential};
    /// let net = Sequential::new().with(Input::new(&[3, 8, 8])).with(BatchNorm2d::new(3).momentum(None));
    /// assert_eq!(net.build::<f32>(0)?.parameter_count(), 6);
    /// let error = Sequential::new().with(Input::new(&[3, 8, 8])).with(BatchNorm2d::new(4)).build::<f32>(0).unwrap_err();
    /// assert!(error.to_string().contains("expected [4, H, W], got [3, 8, 8]"), "{error}");
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    BatchNorm2d, "batch_norm2d", (&[3], "[C, H, W]")
}

/// Layer normalisation (Ba, Kiros and Hinton 2016) over the last dimensions, as PyTorch's `LayerNorm`:
/// y = (x - mean) / sqrt(variance + eps) weight + bias, with the mean and the variance (divided by n) of the numbers that are
/// normalised together.
///
/// Parameters `weight` (ones at first) and `bias` (zeros), of the shape that is normalised. The same in training and otherwise.
///
/// ```
/// use gemmule::nn::{Input, LayerNorm, Sequential};
/// // Each of 10 positions by itself.
/// let net = Sequential::new().with(Input::new(&[10, 32])).with(LayerNorm::new(&[32]).bias(false));
/// assert_eq!(net.build::<f32>(0)?.parameter_count(), 32);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerNorm {
    normalized_shape: Vec<usize>,
    eps: f64,
    elementwise_affine: bool,
    bias: bool,
}

impl LayerNorm {
    /// Over the last dimensions, which are these.
    pub fn new(normalized_shape: &[usize]) -> Self {
        let normalized_shape = normalized_shape.to_vec();
        Self { normalized_shape, eps: 1e-5, elementwise_affine: true, bias: true }
    }

    /// What is added to the variance, at least 0: 1e-5 unless said otherwise.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Whether there is a weight, and a bias if that is not left out: so unless said otherwise.
    #[must_use]
    pub fn elementwise_affine(self, elementwise_affine: bool) -> Self {
        Self { elementwise_affine, ..self }
    }

    /// Whether there is a bias beside a weight: so unless said otherwise.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["normalized_shape", "eps", "elementwise_affine", "bias"])?;
        Ok(Self {
            normalized_shape: all_sizes(spec, "normalized_shape")?,
            eps: spec.number("eps")?,
            elementwise_affine: spec.flag("elementwise_affine")?,
            bias: spec.flag("bias")?,
        })
    }
}

/// Lowers a norm over the last dimensions.
fn lower_rows(
    layer: &'static str,
    normalized: &[usize],
    (eps, centred): (Option<f64>, bool),
    (weight, bias): (bool, bool),
    builder: &mut Builder,
    input: Value,
) -> Result<Value> {
    check_eps(layer, eps.unwrap_or(0.0))?;
    if normalized.is_empty() || normalized.contains(&0) {
        return Err(Error::argument("build", layer, "dimensions of at least 1", shown(normalized)));
    }
    let dims = builder.dims(input).to_vec();
    if !dims.ends_with(normalized) {
        let expected = format!("dimensions that end in {}", shown(normalized));
        return Err(builder.refusal(expected, shown(&dims)));
    }
    let width: usize = normalized.iter().product();
    // Where all of a sample is normalised, the weights may stand in the order of its elements, whatever that is.
    let strides = if normalized.len() == dims.len() { builder.form(input).strides() } else { None };
    let mut stored: Vec<usize> = (0..normalized.len()).collect();
    let input = match strides {
        Some(strides) => {
            stored.sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
            input
        }
        None => builder.in_rows(input)?,
    };
    let mut parameters = Vec::new();
    let fans = (width, width);
    if weight {
        parameters.push(builder.tensor("weight", normalized, &stored, fans, Init::Constant(1.0))?);
    }
    if bias {
        parameters.push(builder.tensor("bias", normalized, &stored, fans, Init::Zeros)?);
    }
    let form = builder.form(input).clone();
    let rows = form.len() / width;
    builder.function(&[input], form, RowNorm { rows, width, eps, centred, weight, bias }, &parameters)
}

impl Layer for LayerNorm {
    fn describe(&self) -> String {
        format!("LayerNorm {}", shown(&self.normalized_shape))
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let has = (self.elementwise_affine, self.elementwise_affine && self.bias);
        lower_rows("LayerNorm", &self.normalized_shape, (Some(self.eps), true), has, builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("layer_norm").with("normalized_shape", numbers(&self.normalized_shape));
        let spec = spec.with("eps", self.eps).with("elementwise_affine", self.elementwise_affine);
        Some(spec.with("bias", self.bias))
    }
}

/// RMS normalisation (Zhang and Sennrich 2019) over the last dimensions, as PyTorch's `RMSNorm`:
/// y = x / sqrt(mean of x^2 + eps) weight.
///
/// Parameter `weight` (ones at first), of the shape that is normalised. The same in training and otherwise.
///
/// ```
/// use gemmule::nn::{Dense, RmsNorm, Sequential};
/// let model = Sequential::new().with(Dense::new(3, 4)).with(RmsNorm::new(&[4])).build::<f64>(0)?;
/// assert_eq!(model.parameters()[2].name, "1.weight");
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RmsNorm {
    normalized_shape: Vec<usize>,
    eps: Option<f64>,
    elementwise_affine: bool,
}

impl RmsNorm {
    /// Over the last dimensions, which are these.
    pub fn new(normalized_shape: &[usize]) -> Self {
        Self { normalized_shape: normalized_shape.to_vec(), eps: None, elementwise_affine: true }
    }

    /// What is added to the mean of the squares, at least 0. `None`, the default: the machine epsilon of the model's elements, 2^-23
    /// for f32 and 2^-52 for f64.
    #[must_use]
    pub fn eps(self, eps: impl Into<Option<f64>>) -> Self {
        Self { eps: eps.into(), ..self }
    }

    /// Whether there is a weight: so unless said otherwise.
    #[must_use]
    pub fn elementwise_affine(self, elementwise_affine: bool) -> Self {
        Self { elementwise_affine, ..self }
    }

    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["normalized_shape", "eps", "elementwise_affine"])?;
        let is_none = spec.text("eps").is_ok_and(|text| text == "none");
        Ok(Self {
            normalized_shape: all_sizes(spec, "normalized_shape")?,
            eps: if is_none { None } else { Some(spec.number("eps")?) },
            elementwise_affine: spec.flag("elementwise_affine")?,
        })
    }
}

impl Layer for RmsNorm {
    fn describe(&self) -> String {
        format!("RMSNorm {}", shown(&self.normalized_shape))
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let has = (self.elementwise_affine, false);
        lower_rows("RMSNorm", &self.normalized_shape, (self.eps, false), has, builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("rms_norm").with("normalized_shape", numbers(&self.normalized_shape));
        let spec = match self.eps {
            Some(eps) => spec.with("eps", eps),
            None => spec.with("eps", "none"),
        };
        Some(spec.with("elementwise_affine", self.elementwise_affine))
    }
}

/// Group normalisation (Wu and He 2018) of `[C, ...]`, as PyTorch's `GroupNorm`: the channels are cut into groups, and each group of a
/// sample has mean 0 and variance 1 over its channels and all positions, times `weight`, plus `bias`.
///
/// Parameters `weight` (ones at first) and `bias` (zeros), each (C). The same in training and otherwise.
///
/// ```
/// use gemmule::nn::{GroupNorm, Input, Sequential};
/// let net = Sequential::new().with(Input::new(&[6, 4, 4])).with(GroupNorm::new(2, 6));
/// assert_eq!(net.build::<f32>(0)?.parameter_count(), 12);
/// let error = Sequential::new().with(Input::new(&[6, 4, 4])).with(GroupNorm::new(4, 6)).build::<f32>(0).unwrap_err();
/// assert!(error.to_string().contains("6 channels in groups of equal size, got 4 groups"), "{error}");
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm {
    num_groups: usize,
    num_channels: usize,
    eps: f64,
    affine: bool,
}

impl GroupNorm {
    /// Of `num_channels` channels in `num_groups` groups, which divide them.
    pub fn new(num_groups: usize, num_channels: usize) -> Self {
        Self { num_groups, num_channels, eps: 1e-5, affine: true }
    }

    /// What is added to the variance, at least 0: 1e-5 unless said otherwise.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Whether there are weight and bias: so unless said otherwise.
    #[must_use]
    pub fn affine(self, affine: bool) -> Self {
        Self { affine, ..self }
    }

    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["num_groups", "num_channels", "eps", "affine"])?;
        Ok(Self {
            num_groups: spec.size("num_groups")?,
            num_channels: spec.size("num_channels")?,
            eps: spec.number("eps")?,
            affine: spec.flag("affine")?,
        })
    }

    /// Lowers it, as the layer of this name.
    fn lower_as(&self, layer: &'static str, builder: &mut Builder, input: Value) -> Result<Value> {
        let Self { num_groups: groups, num_channels: channels, eps, affine } = *self;
        check_eps(layer, eps)?;
        if channels == 0 || groups == 0 || !channels.is_multiple_of(groups) {
            let expected = format!("{channels} channels in groups of equal size");
            return Err(Error::argument("build", layer, expected, format_args!("{groups} groups")));
        }
        let dims = builder.dims(input).to_vec();
        if dims.first() != Some(&channels) {
            return Err(builder.refusal(format_args!("[{channels}, ...]"), shown(&dims)));
        }
        let input = builder.in_channels_last(input)?;
        let mut parameters = Vec::new();
        if affine {
            parameters.extend(weight_and_bias(builder, channels)?);
        }
        let (positions, form) = (dims[1..].iter().product(), builder.form(input).clone());
        builder.function(&[input], form, Groups { positions, channels, groups, eps, affine }, &parameters)
    }
}

impl Layer for GroupNorm {
    fn describe(&self) -> String {
        format!("GroupNorm {} of {}", self.num_groups, self.num_channels)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        self.lower_as("GroupNorm", builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("group_norm").with("num_groups", self.num_groups);
        let spec = spec.with("num_channels", self.num_channels).with("eps", self.eps);
        Some(spec.with("affine", self.affine))
    }
}

/// Instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016) of `[C, L]` or `[C, H, W]`, as PyTorch's `InstanceNorm1d` and
/// `InstanceNorm2d` without running statistics: each channel of a sample by itself.
///
/// Parameters `weight` and `bias`, each (C), only if [`affine`](Self::affine). The same in training and otherwise. There is more than one
/// position, or all outputs would be 0.
///
/// ```
/// use gemmule::nn::{Input, InstanceNorm, Sequential};
/// let net = Sequential::new().with(Input::new(&[3, 4, 4])).with(InstanceNorm::new(3));
/// assert_eq!(net.build::<f32>(0)?.parameter_count(), 0);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct InstanceNorm(GroupNorm);

impl InstanceNorm {
    /// Of `num_features` channels.
    pub fn new(num_features: usize) -> Self {
        Self(GroupNorm::new(num_features, num_features).affine(false))
    }

    /// What is added to the variance, at least 0: 1e-5 unless said otherwise.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self(self.0.eps(eps))
    }

    /// Whether there are weight and bias: not unless said so, as in PyTorch.
    #[must_use]
    pub fn affine(self, affine: bool) -> Self {
        Self(self.0.affine(affine))
    }

    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["num_features", "eps", "affine"])?;
        let layer = Self::new(spec.size("num_features")?);
        Ok(layer.eps(spec.number("eps")?).affine(spec.flag("affine")?))
    }
}

impl Layer for InstanceNorm {
    fn describe(&self) -> String {
        format!("InstanceNorm {}", self.0.num_channels)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let dims = builder.dims(input).to_vec();
        if dims.len() < 2 || dims[1..].iter().product::<usize>() < 2 {
            let expected = format!("[{}, ...] with more than 1 position", self.0.num_channels);
            return Err(builder.refusal(expected, shown(&dims)));
        }
        self.0.lower_as("InstanceNorm", builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("instance_norm").with("num_features", self.0.num_channels);
        Some(spec.with("eps", self.0.eps).with("affine", self.0.affine))
    }
}

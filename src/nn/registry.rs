//! Makes layers from descriptions.

use super::attention::multihead_attention_of;
use super::conv::{Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d};
use super::embedding::embedding_of;
use super::layer::{Dense, Dropout, Layer, Softmax};
use super::log_softmax::LogSoftmax;
use super::masking::Masking;
use super::noise::{AlphaDropout, ChannelDropout, GaussianDropout, GaussianNoise};
use super::norm::{BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm, LayerNorm, RmsNorm};
use super::pad::{ConstantPad, Upsample, ZeroPad};
use super::parallel::Branches;
use super::pool::{AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool};
use super::positional::{learned_positional_embedding_of, positional_encoding_of};
use super::recurrent::{gru_of, lstm_of, rnn_of};
use super::residual::Residual;
use super::sequential::Sequential;
use super::shape::{Flatten, Input, Permute, Reshape};
use super::spec::Spec;
use super::transformer::{transformer_encoder_layer_of, transformer_encoder_of};
use crate::engine::{Builder, Fan, Init, Value};
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;
use std::fmt;

/// Layers that are made of layers are given what makes those.
type Make = Box<dyn Fn(&Spec, &Layers) -> Result<Box<dyn Layer>> + Send + Sync>;

/// The kinds of layers that a file may name: the crate's, and those that a user adds.
///
/// ```
/// use gemmule::nn::{Activation, Builder, Dense, Layer, Layers, Model, SavedModel, Sequential, Spec, Value};
/// use gemmule::Result;
///
/// /// A leaky ReLU twice, as a layer of one's own.
/// #[derive(Debug)]
/// struct Twice(f64);
///
/// impl Layer for Twice {
///     fn describe(&self) -> String {
///         format!("Twice {}", self.0)
///     }
///     fn inputs(&self) -> Option<usize> {
///         None
///     }
///     fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
///         let once = builder.activation(input, Activation::LeakyRelu { slope: self.0 })?;
///         builder.activation(once, Activation::LeakyRelu { slope: self.0 })
///     }
///     fn spec(&self) -> Option<Spec> {
///         Some(Spec::new("twice").with("slope", self.0))
///     }
/// }
///
/// let model = Sequential::new().with(Dense::new(3, 2)).with(Twice(0.1)).build::<f32>(0)?;
/// let bytes = model.to_bytes()?;
/// let error = Model::<f32>::from_bytes(&bytes).unwrap_err();
/// assert!(error.to_string().contains("got twice"));
///
/// let layers = Layers::new().with("twice", |spec| Ok(Twice(spec.number("slope")?)));
/// let loaded = SavedModel::from_bytes(&bytes)?.layers(layers).load::<f32>()?;
/// assert_eq!(loaded.specs()[1], Twice(0.1).spec());
/// # Ok::<(), gemmule::Error>(())
/// ```
pub struct Layers {
    kinds: Vec<(String, Make)>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").field("kinds", &self.names()).finish()
    }
}

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

impl Layers {
    /// The crate's own kinds.
    pub fn new() -> Self {
        let layers = Self { kinds: Vec::new() };
        Activation::ALL
            .into_iter()
            .fold(layers, |layers, default| {
                layers.with(default.name(), move |spec| activation_of(default, spec))
            })
            .with_nested("sequential", sequential_of)
            .with_nested("residual", residual_of)
            .with_nested("branches", branches_of)
            .with("dense", dense_of)
            .with("conv1d", Conv1d::of)
            .with("conv2d", Conv2d::of)
            .with("conv_transpose1d", ConvTranspose1d::of)
            .with("conv_transpose2d", ConvTranspose2d::of)
            .with("dropout", |spec| only_number(spec, "rate").map(Dropout::new))
            .with("dropout1d", |spec| only_number(spec, "rate").map(ChannelDropout::<1>::new))
            .with("dropout2d", |spec| only_number(spec, "rate").map(ChannelDropout::<2>::new))
            .with("gaussian_dropout", |spec| only_number(spec, "rate").map(GaussianDropout::new))
            .with("alpha_dropout", |spec| only_number(spec, "rate").map(AlphaDropout::new))
            .with("gaussian_noise", |spec| only_number(spec, "std").map(GaussianNoise::new))
            .with("lstm", lstm_of)
            .with("gru", gru_of)
            .with("rnn", rnn_of)
            .with("masking", |spec| only_number(spec, "mask_value").map(Masking::new))
            .with("softmax", |spec| spec.has_only(&[]).map(|()| Softmax))
            .with("log_softmax", |spec| spec.has_only(&[]).map(|()| LogSoftmax))
            .with("embedding", embedding_of)
            .with("positional_encoding", positional_encoding_of)
            .with("learned_positional_embedding", learned_positional_embedding_of)
            .with("multihead_attention", multihead_attention_of)
            .with("transformer_encoder_layer", transformer_encoder_layer_of)
            .with("transformer_encoder", transformer_encoder_of)
            .with("batch_norm1d", BatchNorm1d::of)
            .with("batch_norm2d", BatchNorm2d::of)
            .with("layer_norm", LayerNorm::of)
            .with("rms_norm", RmsNorm::of)
            .with("group_norm", GroupNorm::of)
            .with("instance_norm", InstanceNorm::of)
            .with("input", Input::of)
            .with("flatten", Flatten::of)
            .with("reshape", Reshape::of)
            .with("permute", Permute::of)
            .with("max_pool1d", MaxPool::<1>::of)
            .with("max_pool2d", MaxPool::<2>::of)
            .with("avg_pool1d", AvgPool::<1>::of)
            .with("avg_pool2d", AvgPool::<2>::of)
            .with("adaptive_avg_pool1d", AdaptiveAvgPool::<1>::of)
            .with("adaptive_avg_pool2d", AdaptiveAvgPool::<2>::of)
            .with("adaptive_max_pool1d", AdaptiveMaxPool::<1>::of)
            .with("adaptive_max_pool2d", AdaptiveMaxPool::<2>::of)
            .with("global_avg_pool1d", GlobalAvgPool::<1>::of)
            .with("global_avg_pool2d", GlobalAvgPool::<2>::of)
            .with("global_max_pool1d", GlobalMaxPool::<1>::of)
            .with("global_max_pool2d", GlobalMaxPool::<2>::of)
            .with("zero_pad1d", ZeroPad::<1>::of)
            .with("zero_pad2d", ZeroPad::<2>::of)
            .with("constant_pad1d", ConstantPad::<1>::of)
            .with("constant_pad2d", ConstantPad::<2>::of)
            .with("upsample1d", Upsample::<1>::of)
            .with("upsample2d", Upsample::<2>::of)
    }

    /// The same with one more kind, which `make` makes from its description; instead of one that has this name.
    #[must_use]
    pub fn with<L: Layer + 'static>(
        self,
        kind: impl Into<String>,
        make: impl Fn(&Spec) -> Result<L> + Send + Sync + 'static,
    ) -> Self {
        self.put(kind.into(), Box::new(move |spec, _| Ok(Box::new(make(spec)?))))
    }

    /// The same with one more kind of layers that are made of layers.
    fn with_nested<L: Layer + 'static>(
        self,
        kind: &str,
        make: impl Fn(&Spec, &Self) -> Result<L> + Send + Sync + 'static,
    ) -> Self {
        self.put(kind.to_owned(), Box::new(move |spec, layers| Ok(Box::new(make(spec, layers)?))))
    }

    fn put(mut self, kind: String, make: Make) -> Self {
        self.kinds.retain(|(name, _)| *name != kind);
        self.kinds.push((kind, make));
        self
    }

    /// A chain of layers.
    fn chain(&self, specs: &[Spec]) -> Result<Sequential> {
        specs.iter().try_fold(Sequential::new(), |chain, spec| Ok(chain.with(self.make(spec)?)))
    }

    /// All names.
    pub fn names(&self) -> Vec<&str> {
        self.kinds.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Makes a layer.
    ///
    /// # Errors
    /// [`Error::Argument`] lists the kinds there are; and what making it returns: an option that is missing, unknown or of
    /// another type.
    pub fn make(&self, spec: &Spec) -> Result<Box<dyn Layer>> {
        match self.kinds.iter().find(|(name, _)| *name == spec.kind) {
            Some((_, make)) => make(spec, self),
            None => {
                let expected =
                    format!("one of {}; others are added by Layers::with", self.names().join(", "));
                Err(Error::argument("Layers", "kind", expected, &spec.kind))
            }
        }
    }
}

impl Layer for Box<dyn Layer> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn inputs(&self) -> Option<usize> {
        (**self).inputs()
    }

    fn checks_inputs(&self) -> bool {
        (**self).checks_inputs()
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        (**self).lower(builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        (**self).spec()
    }

    fn is_counted(&self) -> bool {
        (**self).is_counted()
    }
}

/// The number of a description that has no other option.
fn only_number(spec: &Spec, name: &str) -> Result<f64> {
    spec.has_only(&[name])?;
    spec.number(name)
}

fn sequential_of(spec: &Spec, layers: &Layers) -> Result<Sequential> {
    spec.has_only(&["layers"])?;
    layers.chain(spec.specs("layers")?)
}

fn residual_of(spec: &Spec, layers: &Layers) -> Result<Residual> {
    spec.has_only(&["body", "shortcut", "activation"])?;
    let body = layers.chain(spec.specs("body")?)?;
    let shortcut = layers.chain(spec.specs("shortcut")?)?;
    let activation = any_activation_of(spec.spec("activation")?)?;
    Ok(Residual::new(body).with_shortcut(shortcut).with_activation(activation))
}

fn branches_of(spec: &Spec, layers: &Layers) -> Result<Branches> {
    let branch = |spec: &Spec| match spec.kind.as_str() {
        "sequential" => sequential_of(spec, layers),
        other => Err(Error::argument("Layers", "branch", "sequential", other)),
    };
    Branches::of(spec, spec.specs("branches")?.iter().map(branch).collect::<Result<_>>()?)
}

fn dense_of(spec: &Spec) -> Result<Dense> {
    spec.has_only(&["inputs", "outputs", "weight_init", "bias", "bias_init"])?;
    let dense = Dense::new(spec.size("inputs")?, spec.size("outputs")?);
    let dense = dense.weight_init(init_of(spec.spec("weight_init")?)?);
    Ok(if spec.flag("bias")? {
        dense.bias_init(init_of(spec.spec("bias_init")?)?)
    } else {
        dense.without_bias()
    })
}

fn activation_of(default: Activation, spec: &Spec) -> Result<Activation> {
    let Some((name, ..)) = default.parameter() else {
        return spec.has_only(&[]).map(|()| default);
    };
    spec.has_only(&[name])?;
    Ok(default.with_parameter(spec.number(name)?).unwrap_or(default))
}

/// Any activation, from its description.
pub(super) fn any_activation_of(spec: &Spec) -> Result<Activation> {
    let Some(default) = Activation::ALL.into_iter().find(|default| default.name() == spec.kind) else {
        return Err(Error::argument("Layers", "activation", "an activation of this version", &spec.kind));
    };
    activation_of(default, spec)
}

/// Both directions for all initialisers. One that is missing here, or a field, does not compile.
macro_rules! inits {
    ($($kind:literal, $name:ident { $($number:ident),* })*) => {
        /// How a parameter begins, described.
        pub(super) fn init_spec(init: Init) -> Spec {
            match init {
                $(Init::$name { $($number,)* } => Spec::new($kind)$(.with(stringify!($number), $number))*,)*
                Init::Constant(value) => Spec::new("constant").with("value", value),
                Init::KaimingUniform { gain, fan } => kaiming("kaiming_uniform", gain, fan),
                Init::KaimingNormal { gain, fan } => kaiming("kaiming_normal", gain, fan),
            }
        }

        /// How a parameter begins, from its description.
        pub(super) fn init_of(spec: &Spec) -> Result<Init> {
            let (init, names): (_, &[&str]) = match spec.kind.as_str() {
                $($kind => {
                    (Init::$name { $($number: spec.number(stringify!($number))?,)* }, &[$(stringify!($number)),*])
                })*
                "constant" => (Init::Constant(spec.number("value")?), &["value"]),
                "kaiming_uniform" => {
                    (Init::KaimingUniform { gain: spec.number("gain")?, fan: fan_of(spec)? }, &["gain", "fan"])
                }
                "kaiming_normal" => {
                    (Init::KaimingNormal { gain: spec.number("gain")?, fan: fan_of(spec)? }, &["gain", "fan"])
                }
                kind => return Err(Error::argument("Layers", "init", "an init of this version", kind)),
            };
            spec.has_only(names).map(|()| init)
        }
    };
}

inits! {
    "zeros", Zeros {}
    "uniform", Uniform { low, high }
    "normal", Normal { mean, std }
    "truncated_normal", TruncatedNormal { mean, std, low, high }
    "glorot_uniform", GlorotUniform {}
    "glorot_normal", GlorotNormal {}
    "he_uniform", HeUniform {}
    "he_normal", HeNormal {}
    "xavier_uniform", XavierUniform { gain }
    "xavier_normal", XavierNormal { gain }
    "lecun_uniform", LecunUniform {}
    "lecun_normal", LecunNormal {}
    "orthogonal", Orthogonal { gain }
    "identity", Identity { gain }
    "pytorch", PyTorch {}
}

fn kaiming(kind: &str, gain: f64, fan: Fan) -> Spec {
    let fan = match fan {
        Fan::In => "fan_in",
        Fan::Out => "fan_out",
    };
    Spec::new(kind).with("gain", gain).with("fan", fan)
}

fn fan_of(spec: &Spec) -> Result<Fan> {
    match spec.text("fan")? {
        "fan_in" => Ok(Fan::In),
        "fan_out" => Ok(Fan::Out),
        other => Err(Error::argument("Layers", "fan", "fan_in or fan_out", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Layers, init_of, init_spec};
    use crate::engine::{Fan, Init};
    use crate::nn::{
        Activation, AdaptiveAvgPool, AdaptiveMaxPool, AlphaDropout, AvgPool, BatchNorm1d, BatchNorm2d,
        Branches, ChannelDropout, ConstantPad, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Dense,
        Dropout, Embedding, Flatten, GaussianDropout, GaussianNoise, GlobalAvgPool, GlobalMaxPool, GroupNorm,
        Gru, Input, InstanceNorm, Layer, LayerNorm, LearnedPositionalEmbedding, LogSoftmax, Lstm, Masking,
        MaxPool, MultiheadAttention, Padding, Permute, PositionalEncoding, Reshape, Residual, RmsNorm, Rnn,
        Sequential, Softmax, Spec, TransformerEncoder, TransformerEncoderLayer, Upsample, ZeroPad,
    };

    #[test]
    fn every_kind_comes_back() {
        let mut all: Vec<Box<dyn Layer>> = vec![
            Box::new(Dense::new(3, 4)),
            Box::new(Dense::new(3, 4).without_bias().weight_init(Init::HeNormal)),
            Box::new(Conv1d::new(3, 4, 5)),
            Box::new(Conv1d::new(2, 4, 3).padding(Padding::Same).dilation(2).without_bias()),
            Box::new(
                Conv2d::new(4, 6, [3, 5]).stride([1, 2]).padding([2, 0]).groups(2).bias_init(Init::Zeros),
            ),
            Box::new(Conv2d::new(1, 2, 3).padding(Padding::Valid).weight_init(Init::HeNormal)),
            Box::new(ConvTranspose1d::new(3, 4, 5).stride(2)),
            Box::new(ConvTranspose2d::new(4, 6, 3).stride(2).padding(1).output_padding([0, 1]).groups(2)),
            Box::new(Dropout::new(0.25)),
            Box::new(Lstm::new(3, 4)),
            Box::new(Lstm::new(3, 4).num_layers(2).without_bias().dropout(0.5).bidirectional().truncate(3)),
            Box::new(Gru::new(3, 4).return_sequences(false).trainable_state()),
            Box::new(Rnn::new(3, 4).weight_hh_init(Init::Orthogonal { gain: 1.0 })),
            Box::new(Rnn::new(3, 4).relu()),
            Box::new(Masking::new(-1.0)),
            Box::new(Softmax),
            Box::new(LogSoftmax),
            Box::new(GaussianNoise::new(0.1)),
            Box::new(GaussianDropout::new(0.2)),
            Box::new(AlphaDropout::new(0.3)),
            Box::new(ChannelDropout::<1>::new(0.2)),
            Box::new(ChannelDropout::<2>::new(0.3)),
            Box::new(BatchNorm1d::new(3).eps(1e-3).momentum(0.5)),
            Box::new(BatchNorm2d::new(3).momentum(None).affine(false)),
            Box::new(BatchNorm2d::new(4).track_running_stats(false)),
            Box::new(LayerNorm::new(&[3, 4]).eps(1e-3).bias(false)),
            Box::new(LayerNorm::new(&[5]).elementwise_affine(false)),
            Box::new(RmsNorm::new(&[5])),
            Box::new(RmsNorm::new(&[2, 5]).eps(1e-6).elementwise_affine(false)),
            Box::new(GroupNorm::new(2, 6).eps(1e-3).affine(false)),
            Box::new(InstanceNorm::new(6).eps(1e-3).affine(true)),
            Box::new(Input::new(&[3, 32, 30])),
            Box::new(Input::channels_last(&[8, 2])),
            Box::new(Flatten::new().start_dim(2).end_dim(-2)),
            Box::new(Reshape::new(&[3, -1])),
            Box::new(Permute::new(&[1, 0])),
            Box::new(MaxPool::<1>::new(3).stride(2).padding(1).dilation(2).ceil_mode(true)),
            Box::new(MaxPool::<2>::new([3, 2]).stride([1, 2]).padding([1, 0])),
            Box::new(AvgPool::<1>::new(3).stride(2).count_include_pad(false)),
            Box::new(AvgPool::<2>::new([3, 2]).padding([1, 0]).ceil_mode(true).divisor_override(5)),
            Box::new(AdaptiveAvgPool::<1>::new(3)),
            Box::new(AdaptiveAvgPool::<2>::new([3, 2])),
            Box::new(AdaptiveMaxPool::<1>::new(3)),
            Box::new(AdaptiveMaxPool::<2>::new([3, 2])),
            Box::new(GlobalAvgPool::<1>::new()),
            Box::new(GlobalAvgPool::<2>::new()),
            Box::new(GlobalMaxPool::<1>::new()),
            Box::new(GlobalMaxPool::<2>::new()),
            Box::new(ZeroPad::<1>::new([2, -1])),
            Box::new(ZeroPad::<2>::new([1, 2, 3, 4])),
            Box::new(ConstantPad::<1>::new(2, 0.5)),
            Box::new(ConstantPad::<2>::new([-1, 2, 3, 0], -0.25)),
            Box::new(Upsample::<1>::new(3)),
            Box::new(Upsample::<2>::new([2, 1])),
            Box::new(Embedding::new(7, 3).padding_idx(2).with_mask()),
            Box::new(Embedding::new(7, 3).weight_init(Init::Zeros)),
            Box::new(PositionalEncoding::new().dropout(0.25)),
            Box::new(LearnedPositionalEmbedding::new(9).dropout(0.5)),
            Box::new(MultiheadAttention::new(12, 3).dropout(0.2).without_bias().causal()),
            Box::new(TransformerEncoderLayer::new(12, 3).activation(Activation::LeakyRelu { slope: 0.3 })),
            Box::new(TransformerEncoder::new(TransformerEncoderLayer::new(4, 2).norm_first(), 3).norm()),
            Box::new(Sequential::new().with(Dense::new(3, 4)).with(Sequential::new().with(Softmax))),
            Box::new(
                Residual::new(Sequential::new().with(Dense::new(3, 3)))
                    .with_shortcut(Sequential::new().with(Dropout::new(0.5)))
                    .with_activation(Activation::LeakyRelu { slope: 0.3 }),
            ),
            Box::new(Branches::add().with(Sequential::new()).with(Sequential::new().with(Softmax))),
            Box::new(Branches::concatenate_along(-1).with(Sequential::new().with(Dense::new(3, 4)))),
            Box::new(Activation::LeakyRelu { slope: 0.3 }),
            Box::new(Activation::Elu { alpha: 0.1 }),
            Box::new(Activation::Celu { alpha: 1.0 / 3.0 }),
            Box::new(Activation::Softplus { beta: 2.0 }),
        ];
        all.extend(Activation::ALL.map(|activation| Box::new(activation) as Box<dyn Layer>));
        let layers = Layers::new();
        let mut seen: Vec<String> = Vec::new();
        for layer in all {
            let spec = layer.spec().unwrap();
            let again = layers.make(&spec).unwrap();
            assert_eq!((again.spec().unwrap(), again.describe()), (spec.clone(), layer.describe()));
            let wrong = spec.clone().with("surprise", 1);
            assert!(layers.make(&wrong).unwrap_err().to_string().contains("surprise"), "{wrong:?}");
            for (at, (name, _)) in spec.options.iter().enumerate() {
                let mut less = spec.clone();
                less.options.remove(at);
                let error = layers.make(&less).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains(&spec.kind), "{error}");
            }
            seen.push(spec.kind);
        }
        for name in layers.names() {
            assert!(seen.iter().any(|kind| kind == name), "{name} is not in this test");
        }
    }

    #[test]
    fn every_init_comes_back() {
        for init in [
            Init::Zeros,
            Init::Constant(0.5),
            Init::Uniform { low: -0.1, high: 0.2 },
            Init::Normal { mean: 1.0, std: 0.3 },
            Init::GlorotUniform,
            Init::GlorotNormal,
            Init::HeUniform,
            Init::HeNormal,
            Init::PyTorch,
            Init::TruncatedNormal { mean: 0.0, std: 1.0, low: -2.0, high: 2.0 },
            Init::XavierUniform { gain: 2.0 },
            Init::XavierNormal { gain: 0.5 },
            Init::KaimingUniform { gain: 1.5, fan: Fan::In },
            Init::KaimingNormal { gain: 1.5, fan: Fan::Out },
            Init::LecunUniform,
            Init::LecunNormal,
            Init::Orthogonal { gain: 1.0 },
            Init::Identity { gain: 3.0 },
        ] {
            assert_eq!(init_of(&init_spec(init)).unwrap(), init);
        }
        let error = init_of(&Spec::new("magic")).unwrap_err();
        assert_eq!(error.to_string(), "Layers: init: expected an init of this version, got magic");
    }
}

//! Makes layers from descriptions.

use super::layer::{Dense, Dropout, Layer, Softmax};
use super::log_softmax::LogSoftmax;
use super::noise::{AlphaDropout, GaussianDropout, GaussianNoise};
use super::spec::Spec;
use crate::engine::{Builder, Fan, Init, Value};
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;
use std::fmt;

type Make = Box<dyn Fn(&Spec) -> Result<Box<dyn Layer>> + Send + Sync>;

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
            .with("dense", dense_of)
            .with("dropout", |spec| only_number(spec, "rate").map(Dropout::new))
            .with("gaussian_dropout", |spec| only_number(spec, "rate").map(GaussianDropout::new))
            .with("alpha_dropout", |spec| only_number(spec, "rate").map(AlphaDropout::new))
            .with("gaussian_noise", |spec| only_number(spec, "std").map(GaussianNoise::new))
            .with("softmax", |spec| spec.has_only(&[]).map(|()| Softmax))
            .with("log_softmax", |spec| spec.has_only(&[]).map(|()| LogSoftmax))
    }

    /// The same with one more kind, which `make` makes from its description; instead of one that has this name.
    #[must_use]
    pub fn with<L: Layer + 'static>(
        mut self,
        kind: impl Into<String>,
        make: impl Fn(&Spec) -> Result<L> + Send + Sync + 'static,
    ) -> Self {
        let kind = kind.into();
        self.kinds.retain(|(name, _)| *name != kind);
        self.kinds.push((kind, Box::new(move |spec| Ok(Box::new(make(spec)?)))));
        self
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
            Some((_, make)) => make(spec),
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

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        (**self).lower(builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        (**self).spec()
    }
}

/// The number of a description that has no other option.
fn only_number(spec: &Spec, name: &str) -> Result<f64> {
    spec.has_only(&[name])?;
    spec.number(name)
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
        fn init_of(spec: &Spec) -> Result<Init> {
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
        Activation, AlphaDropout, Dense, Dropout, GaussianDropout, GaussianNoise, Layer, LogSoftmax, Softmax,
        Spec,
    };

    #[test]
    fn every_kind_comes_back() {
        let mut all: Vec<Box<dyn Layer>> = vec![
            Box::new(Dense::new(3, 4)),
            Box::new(Dense::new(3, 4).without_bias().weight_init(Init::HeNormal)),
            Box::new(Dropout::new(0.25)),
            Box::new(Softmax),
            Box::new(LogSoftmax),
            Box::new(GaussianNoise::new(0.1)),
            Box::new(GaussianDropout::new(0.2)),
            Box::new(AlphaDropout::new(0.3)),
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

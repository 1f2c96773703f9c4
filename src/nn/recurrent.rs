//! Recurrent layers: LSTM, GRU, and the plain one.

use super::layer::Layer;
use super::positional::dropped;
use super::registry::{init_of, init_spec};
use super::spec::Spec;
use crate::engine::functions::recurrent::{Kind, Recurrent};
use crate::engine::{Builder, Form, Init, ParameterId, Value, show};
use crate::error::{Error, Result};

/// What all recurrent layers have to say.
#[derive(Clone, Copy, Debug)]
struct Options {
    input_size: usize,
    hidden_size: usize,
    num_layers: usize,
    bias: bool,
    dropout: f64,
    bidirectional: bool,
    return_sequences: bool,
    trainable_state: bool,
    truncate: Option<usize>,
    weight_ih_init: Init,
    weight_hh_init: Init,
    bias_init: Init,
}

/// The names of the options in a description.
const NAMES: [&str; 12] = [
    "input_size",
    "hidden_size",
    "num_layers",
    "bias",
    "dropout",
    "bidirectional",
    "return_sequences",
    "trainable_state",
    "truncate",
    "weight_ih_init",
    "weight_hh_init",
    "bias_init",
];

impl Options {
    fn new(input_size: usize, hidden_size: usize) -> Self {
        let high = 1.0 / (hidden_size.max(1) as f64).sqrt();
        let init = Init::Uniform { low: -high, high };
        Self {
            input_size,
            hidden_size,
            num_layers: 1,
            bias: true,
            dropout: 0.0,
            bidirectional: false,
            return_sequences: true,
            trainable_state: false,
            truncate: None,
            weight_ih_init: init,
            weight_hh_init: init,
            bias_init: init,
        }
    }

    fn describe(&self, name: &str) -> String {
        let layers =
            if self.num_layers == 1 { String::new() } else { format!(", {} layers", self.num_layers) };
        let both = if self.bidirectional { ", bidirectional" } else { "" };
        format!("{name} {} -> {}{layers}{both}", self.input_size, self.hidden_size)
    }

    fn spec(&self, kind: &str) -> Spec {
        let spec = Spec::new(kind).with("input_size", self.input_size).with("hidden_size", self.hidden_size);
        let spec = spec.with("num_layers", self.num_layers).with("bias", self.bias);
        let spec = spec.with("dropout", self.dropout).with("bidirectional", self.bidirectional);
        let spec = spec.with("return_sequences", self.return_sequences);
        // 0 is none.
        let spec =
            spec.with("trainable_state", self.trainable_state).with("truncate", self.truncate.unwrap_or(0));
        let spec = spec.with("weight_ih_init", init_spec(self.weight_ih_init));
        spec.with("weight_hh_init", init_spec(self.weight_hh_init))
            .with("bias_init", init_spec(self.bias_init))
    }

    /// From a description that may have `more` options.
    fn of(spec: &Spec, more: &[&str]) -> Result<Self> {
        spec.has_only(&[&NAMES, more].concat())?;
        Ok(Self {
            input_size: spec.size("input_size")?,
            hidden_size: spec.size("hidden_size")?,
            num_layers: spec.size("num_layers")?,
            bias: spec.flag("bias")?,
            dropout: spec.number("dropout")?,
            bidirectional: spec.flag("bidirectional")?,
            return_sequences: spec.flag("return_sequences")?,
            trainable_state: spec.flag("trainable_state")?,
            truncate: Some(spec.size("truncate")?).filter(|&steps| steps > 0),
            weight_ih_init: init_of(spec.spec("weight_ih_init")?)?,
            weight_hh_init: init_of(spec.spec("weight_hh_init")?)?,
            bias_init: init_of(spec.spec("bias_init")?)?,
        })
    }

    fn check(&self, name: &'static str) -> Result<()> {
        for (what, size) in [
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
        ] {
            if size == 0 {
                return Err(Error::argument("build", name, format_args!("{what} of at least 1"), size));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let expected = "a dropout of at least 0 and below 1";
            return Err(Error::argument("build", name, expected, self.dropout));
        }
        if self.truncate == Some(0) {
            return Err(Error::argument("build", name, "pieces of at least 1 step", 0));
        }
        Ok(())
    }

    fn lower(&self, kind: Kind, name: &'static str, builder: &mut Builder, input: Value) -> Result<Value> {
        self.check(name)?;
        let steps = match *builder.dims(input) {
            [steps, features] if steps > 0 && features == self.input_size => steps,
            ref dims => {
                let expected = format!("a sequence of {0} features, (L, {0})", self.input_size);
                return Err(builder.refusal(expected, show(dims)));
            }
        };
        let (hidden, directions) = (self.hidden_size, if self.bidirectional { 2 } else { 1 });
        let overflow = || Error::overflow("build", format!("the gates of the {name}"));
        let output = hidden.checked_mul(directions).ok_or_else(overflow)?;
        let gates = hidden.checked_mul(kind.gates()).ok_or_else(overflow)?;
        output.checked_mul(steps).filter(|&len| len <= isize::MAX as usize / 16).ok_or_else(overflow)?;
        let mask = builder.mask(input);
        let mut value = builder.in_rows(input)?;
        for layer in 0..self.num_layers {
            let last = layer + 1 == self.num_layers;
            let inputs = if layer == 0 { self.input_size } else { output };
            let mut parameters = Vec::new();
            for direction in 0..directions {
                let suffix = if direction == 0 { format!("l{layer}") } else { format!("l{layer}_reverse") };
                self.parameters(kind, builder, (inputs, gates), &suffix, &mut parameters)?;
            }
            let function = Recurrent {
                kind,
                inputs,
                hidden,
                steps,
                directions,
                bias: self.bias,
                initial: self.trainable_state,
                sequences: !last || self.return_sequences,
                truncate: self.truncate,
            };
            let form = if function.sequences { Form::rows(&[steps, output]) } else { Form::rows(&[output]) };
            let operands: Vec<Value> = [value].into_iter().chain(mask).collect();
            value = builder.function(&operands, form, function, &parameters)?;
            if !last {
                value = dropped(builder, value, self.dropout)?;
            }
        }
        if let Some(mask) = mask.filter(|_| self.return_sequences) {
            builder.set_mask(value, mask)?;
        }
        Ok(value)
    }

    /// Those of a layer and direction, in the function's order.
    fn parameters(
        &self,
        kind: Kind,
        builder: &mut Builder,
        (inputs, gates): (usize, usize),
        suffix: &str,
        all: &mut Vec<ParameterId>,
    ) -> Result<()> {
        let hidden = self.hidden_size;
        for (name, cols, init) in
            [("weight_ih", inputs, self.weight_ih_init), ("weight_hh", hidden, self.weight_hh_init)]
        {
            all.push(builder.tensor(
                &format!("{name}_{suffix}"),
                &[gates, cols],
                &[0, 1],
                (cols, gates),
                init,
            )?);
        }
        for name in ["bias_ih", "bias_hh"].into_iter().filter(|_| self.bias) {
            all.push(builder.vector(&format!("{name}_{suffix}"), gates, (hidden, gates), self.bias_init)?);
        }
        for name in ["h_0", "c_0"].into_iter().take(if self.trainable_state { kind.states() } else { 0 }) {
            all.push(builder.vector(&format!("{name}_{suffix}"), hidden, (hidden, hidden), Init::Zeros)?);
        }
        Ok(())
    }
}

/// The methods that all recurrent layers have.
macro_rules! options {
    ($layer:ident) => {
        impl $layer {
            /// The same with `num_layers` layers, each of which takes the sequence that the one before puts out.
            #[must_use]
            pub fn num_layers(mut self, num_layers: usize) -> Self {
                self.options.num_layers = num_layers;
                self
            }

            /// The same without biases.
            #[must_use]
            pub fn without_bias(mut self) -> Self {
                self.options.bias = false;
                self
            }

            /// The same with dropout at this rate, at least 0 and below 1, on the outputs of every layer but the last.
            #[must_use]
            pub fn dropout(mut self, rate: f64) -> Self {
                self.options.dropout = rate;
                self
            }

            /// The same in both directions: from the first step on, and, with weights of its own, from the last one. Their outputs stand
            /// side by side.
            #[must_use]
            pub fn bidirectional(mut self) -> Self {
                self.options.bidirectional = true;
                self
            }

            /// The same with h after every step as the output (true, the default, as PyTorch's `output`), or after the last step of
            /// each direction alone (false, as PyTorch's `h_n[-1]`, and Keras' default).
            #[must_use]
            pub fn return_sequences(mut self, all: bool) -> Self {
                self.options.return_sequences = all;
                self
            }

            /// The same with initial states that are parameters, zeros at first, instead of zeros: `h_0_l0`, and so on.
            #[must_use]
            pub fn trainable_state(mut self) -> Self {
                self.options.trainable_state = true;
                self
            }

            /// The same with truncated backpropagation through time: no gradient passes from one piece of `steps` steps to the one
            /// before, as if the states were detached there. Pieces are counted from the step that a direction begins with; what is
            /// computed forward is the same.
            #[must_use]
            pub fn truncate(mut self, steps: usize) -> Self {
                self.options.truncate = Some(steps);
                self
            }

            /// The same with input weights that begin as `init` says.
            #[must_use]
            pub fn weight_ih_init(mut self, init: Init) -> Self {
                self.options.weight_ih_init = init;
                self
            }

            /// The same with recurrent weights that begin as `init` says; Keras' default is [`Init::Orthogonal`].
            #[must_use]
            pub fn weight_hh_init(mut self, init: Init) -> Self {
                self.options.weight_hh_init = init;
                self
            }

            /// The same with biases that begin as `init` says.
            #[must_use]
            pub fn bias_init(mut self, init: Init) -> Self {
                self.options.bias_init = init;
                self
            }
        }
    };
}

/// A long short-term memory (Hochreiter and Schmidhuber 1997), as PyTorch's `nn.LSTM` with `batch_first`: over sequences (L, `input_size`),
///
/// ```text
/// i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of (x W_ih^T + b_ih + h W_hh^T + b_hh)'s four quarters
/// c          = f c + i g
/// h          = o tanh(c)
/// ```
///
/// from zeros on, element by element, and puts out h after each step: (L, `hidden_size`), twice as wide if
/// [`bidirectional`](Self::bidirectional); or [only the last](Self::return_sequences).
///
/// Where the sequence has a mask ([`Masking`](super::Masking), [`Embedding::with_mask`](super::Embedding::with_mask)), a step that does
/// not count leaves h and c as they are and puts out zeros. So sequences that are padded at the end are treated as PyTorch's packed ones: the
/// last state is that of a sample's own last step, and the other direction begins there.
///
/// Parameters, for each layer k from 0 on and again with `_reverse`: `weight_ih_lk` (4 `hidden_size`, inputs), `weight_hh_lk`
/// (4 `hidden_size`, `hidden_size`), `bias_ih_lk` and `bias_hh_lk` (4 `hidden_size`), all uniform in ±1 / sqrt(`hidden_size`) at first, and with
/// [`trainable_state`](Self::trainable_state) `h_0_lk` and `c_0_lk`.
///
/// These are the names, shapes and order of the gates of PyTorch's `state_dict`: its files load here
/// ([`Model::load_weights`](super::Model::load_weights)) and ours there, of one or several layers and directions. It has no `h_0` and `c_0`
/// among its parameters, and there are no projections (`proj_size`) here: such files are refused by the names of these.
///
/// The states do not pass from one batch to the next (Keras' `stateful`): a plan's memory holds one batch, and what a sample becomes depends
/// on that sample alone. For long texts take windows that overlap, or [`truncate`](Self::truncate).
///
/// ```
/// use gemmule::nn::{Dense, Input, Lstm, Sequential};
/// // 28 steps of 28 features: MNIST row by row.
/// let model = Sequential::new()
///     .with(Input::new(&[28, 28]))
///     .with(Lstm::new(28, 128).return_sequences(false))
///     .with(Dense::new(128, 10))
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("0.weight_hh_l0")?.shape(), [512, 128]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lstm {
    options: Options,
}

options!(Lstm);

impl Lstm {
    /// One layer from `input_size` features of a step to `hidden_size`, with biases, that puts out the whole sequence.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self { options: Options::new(input_size, hidden_size) }
    }
}

impl Layer for Lstm {
    fn describe(&self) -> String {
        self.options.describe("Lstm")
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        self.options.lower(Kind::Lstm, "Lstm", builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        Some(self.options.spec("lstm"))
    }
}

/// Gated recurrent units (Cho et al. 2014), as PyTorch's `nn.GRU` with `batch_first`: as [`Lstm`] in everything but
///
/// ```text
/// r = sigmoid(x W_ir^T + b_ir + h W_hr^T + b_hr)
/// z = sigmoid(x W_iz^T + b_iz + h W_hz^T + b_hz)
/// n = tanh(x W_in^T + b_in + r (h W_hn^T + b_hn))        the reset after the product: Keras' reset_after
/// h = (1 - z) n + z h
/// ```
///
/// and so with 3 `hidden_size` rows of the weights, in this order, and no c.
///
/// ```
/// use gemmule::nn::{Dense, Gru, Input, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[24, 2]))
///     .with(Gru::new(2, 16).num_layers(2).dropout(0.1).return_sequences(false))
///     .with(Dense::new(16, 1))
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("0.weight_ih_l1")?.shape(), [48, 16]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gru {
    options: Options,
}

options!(Gru);

impl Gru {
    /// One layer from `input_size` features of a step to `hidden_size`, with biases, that puts out the whole sequence.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self { options: Options::new(input_size, hidden_size) }
    }
}

impl Layer for Gru {
    fn describe(&self) -> String {
        self.options.describe("Gru")
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        self.options.lower(Kind::Gru, "Gru", builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        Some(self.options.spec("gru"))
    }
}

/// A recurrent layer without gates (Elman 1990), as PyTorch's `nn.RNN` with `batch_first`: as [`Lstm`] in everything but
/// h = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh), or ReLU instead of tanh, and so with `hidden_size` rows of the weights and no c.
///
/// ```
/// use gemmule::nn::{Dense, Input, Rnn, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[10, 3]))
///     .with(Rnn::new(3, 8).relu().bidirectional())
///     .with(Dense::new(16, 1))
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("0.weight_hh_l0_reverse")?.shape(), [8, 8]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rnn {
    options: Options,
    relu: bool,
}

options!(Rnn);

impl Rnn {
    /// One layer from `input_size` features of a step to `hidden_size`, with tanh and biases, that puts out the whole sequence.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self { options: Options::new(input_size, hidden_size), relu: false }
    }

    /// The same with max(a, 0) instead of tanh(a): PyTorch's `nonlinearity="relu"`.
    #[must_use]
    pub fn relu(self) -> Self {
        Self { relu: true, ..self }
    }
}

impl Layer for Rnn {
    fn describe(&self) -> String {
        self.options.describe(if self.relu { "Rnn (relu)" } else { "Rnn" })
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        self.options.lower(Kind::Rnn { relu: self.relu }, "Rnn", builder, input)
    }

    fn spec(&self) -> Option<Spec> {
        Some(self.options.spec("rnn").with("nonlinearity", if self.relu { "relu" } else { "tanh" }))
    }
}

pub(super) fn lstm_of(spec: &Spec) -> Result<Lstm> {
    Ok(Lstm { options: Options::of(spec, &[])? })
}

pub(super) fn gru_of(spec: &Spec) -> Result<Gru> {
    Ok(Gru { options: Options::of(spec, &[])? })
}

pub(super) fn rnn_of(spec: &Spec) -> Result<Rnn> {
    let options = Options::of(spec, &["nonlinearity"])?;
    let relu = match spec.text("nonlinearity")? {
        "tanh" => false,
        "relu" => true,
        other => return Err(Error::argument("Layers", "nonlinearity", "tanh or relu", other)),
    };
    Ok(Rnn { options, relu })
}

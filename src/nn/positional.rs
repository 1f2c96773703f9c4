//! Where in its sequence a position is: numbers that are added to it.

use super::layer::Layer;
use super::registry::{init_of, init_spec};
use super::spec::Spec;
use crate::engine::functions::positions::{LearnedPositions, Sinusoids};
use crate::engine::{Builder, Init, Value, show};
use crate::error::{Error, Result};

/// Adds sines and cosines of a position's number to it (Vaswani et al. 2017, section 3.5), then maybe dropout:
///
/// ```text
/// y[p][2 i]     = x[p][2 i]     + sin(p / 10000^(2 i / E))
/// y[p][2 i + 1] = x[p][2 i + 1] + cos(p / 10000^(2 i / E))
/// ```
///
/// It takes sequences (L, E) of any length and width and has no parameters. The numbers are computed in f64 when the model is built,
/// and rounded once: within 1 ULP, where tables computed in f32 are off by up to 3e-4 at position 5000.
///
/// ```
/// use gemmule::nn::{Embedding, Input, PositionalEncoding, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[20]))
///     .with(Embedding::new(1000, 32))
///     .with(PositionalEncoding::new().dropout(0.1))
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter_count(), 1000 * 32);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PositionalEncoding {
    dropout: f64,
}

impl PositionalEncoding {
    /// Without dropout.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with dropout at this rate, which is at least 0 and below 1, after the sum.
    #[must_use]
    pub fn dropout(self, rate: f64) -> Self {
        Self { dropout: rate }
    }
}

impl Layer for PositionalEncoding {
    fn describe(&self) -> String {
        "PositionalEncoding".to_owned()
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let (length, width) = sequence(builder, input)?;
        let input = builder.in_rows(input)?;
        let bytes = length.saturating_mul(width).saturating_mul(12);
        let sines = Sinusoids::new(length, width)
            .ok_or(Error::OutOfMemory { what: "the table of a PositionalEncoding", bytes })?;
        let form = builder.form(input).clone();
        let output = builder.function(&[input], form, sines, &[])?;
        dropped(builder, output, self.dropout)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("positional_encoding").with("dropout", self.dropout))
    }
}

/// Adds a row of numbers that are learned to each position, then maybe dropout: y\[p\] = x\[p\] + weight\[p\]. In PyTorch an
/// `nn.Embedding(max_len, E)` of the positions; in BERT and GPT-2 the position embedding.
///
/// It takes sequences (L, E) with L at most `max_len`. Parameter `weight` (max_len, E), standard normal at first, as PyTorch's
/// `nn.Embedding`; those models begin theirs with a standard deviation of 0.02: [`weight_init`](Self::weight_init).
///
/// ```
/// use gemmule::nn::{Embedding, Init, Input, LearnedPositionalEmbedding, Sequential};
/// let small = Init::Normal { mean: 0.0, std: 0.02 };
/// let model = Sequential::new()
///     .with(Input::new(&[20]))
///     .with(Embedding::new(1000, 32).weight_init(small))
///     .with(LearnedPositionalEmbedding::new(64).weight_init(small))
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("1.weight")?.shape(), [64, 32]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LearnedPositionalEmbedding {
    max_len: usize,
    dropout: f64,
    weight: Init,
}

impl LearnedPositionalEmbedding {
    /// For sequences of at most `max_len` positions, without dropout.
    pub fn new(max_len: usize) -> Self {
        Self { max_len, dropout: 0.0, weight: Init::Normal { mean: 0.0, std: 1.0 } }
    }

    /// The same with dropout at this rate, which is at least 0 and below 1, after the sum.
    #[must_use]
    pub fn dropout(self, rate: f64) -> Self {
        Self { dropout: rate, ..self }
    }

    /// The same with weights that begin as `init` says.
    #[must_use]
    pub fn weight_init(self, init: Init) -> Self {
        Self { weight: init, ..self }
    }
}

impl Layer for LearnedPositionalEmbedding {
    fn describe(&self) -> String {
        format!("LearnedPositionalEmbedding {}", self.max_len)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let (length, width) = sequence(builder, input)?;
        let rows = self.max_len;
        if length > rows {
            let expected = format!("at most {rows} positions");
            return Err(builder.refusal(expected, format_args!("{length} of {width}")));
        }
        let input = builder.in_rows(input)?;
        let weight = builder.tensor("weight", &[rows, width], &[0, 1], (rows, width), self.weight)?;
        let form = builder.form(input).clone();
        let output = builder.function(&[input], form, LearnedPositions { length, width, rows }, &[weight])?;
        dropped(builder, output, self.dropout)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("learned_positional_embedding").with("max_len", self.max_len);
        Some(spec.with("dropout", self.dropout).with("weight_init", init_spec(self.weight)))
    }
}

/// Length and width of a sequence.
pub(super) fn sequence(builder: &Builder, input: Value) -> Result<(usize, usize)> {
    match *builder.dims(input) {
        [length, width] => Ok((length, width)),
        ref dims => Err(builder.refusal("a sequence of L positions of E features, (L, E)", show(dims))),
    }
}

/// Dropout, if there is any.
pub(super) fn dropped(builder: &mut Builder, value: Value, rate: f64) -> Result<Value> {
    if rate == 0.0 { Ok(value) } else { builder.dropout(value, rate) }
}

pub(super) fn positional_encoding_of(spec: &Spec) -> Result<PositionalEncoding> {
    spec.has_only(&["dropout"])?;
    Ok(PositionalEncoding { dropout: spec.number("dropout")? })
}

pub(super) fn learned_positional_embedding_of(spec: &Spec) -> Result<LearnedPositionalEmbedding> {
    spec.has_only(&["max_len", "dropout", "weight_init"])?;
    Ok(LearnedPositionalEmbedding {
        max_len: spec.size("max_len")?,
        dropout: spec.number("dropout")?,
        weight: init_of(spec.spec("weight_init")?)?,
    })
}

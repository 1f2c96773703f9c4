//! Blocks of a transformer's encoder.

use super::attention::MultiheadAttention;
use super::layer::{Dense, Layer};
use super::norm::LayerNorm;
use super::positional::{dropped, sequence};
use super::registry::any_activation_of;
use super::spec::Spec;
use super::within::within;
use crate::engine::{Builder, Value};
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;

/// A block of a transformer's encoder (Vaswani et al. 2017) over sequences (L, d_model), as PyTorch's `nn.TransformerEncoderLayer`
/// with `batch_first`:
///
/// ```text
/// attend(x)  = dropout(self_attn(x))
/// feed(x)    = dropout(linear2(dropout(activation(linear1(x)))))
///
/// y = norm1(x + attend(x));  z = norm2(y + feed(y))                norm_first: y = x + attend(norm1(x));  z = y + feed(norm2(y))
/// ```
///
/// Defaults as in PyTorch: `dim_feedforward` 2048, dropout 0.1 (of the attention's weights too), ReLU, norms after the sums, with an
/// epsilon of 1e-5. A mask of the sequence is the [attention](MultiheadAttention)'s.
///
/// Parameters `self_attn.in_proj_weight`, `self_attn.in_proj_bias`, `self_attn.out_proj.weight`, `self_attn.out_proj.bias`,
/// `linear1.weight` and so on, `linear2`, `norm1`, `norm2`: names, shapes and beginnings as in PyTorch.
///
/// ```
/// use gemmule::nn::{Activation, Embedding, Input, PositionalEncoding, Sequential, TransformerEncoderLayer};
/// let block = TransformerEncoderLayer::new(32, 4).dim_feedforward(64).activation(Activation::Gelu);
/// let model = Sequential::new()
///     .with(Input::new(&[16]))
///     .with(Embedding::new(100, 32))
///     .with(PositionalEncoding::new())
///     .with(block)
///     .with(block.norm_first())
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("2.linear1.weight")?.shape(), [64, 32]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TransformerEncoderLayer {
    attention: MultiheadAttention,
    dim_feedforward: usize,
    activation: Activation,
    norm_first: bool,
    layer_norm_eps: f64,
}

impl TransformerEncoderLayer {
    /// A block of `nhead` heads over sequences of `d_model` features.
    pub fn new(d_model: usize, nhead: usize) -> Self {
        Self {
            attention: MultiheadAttention::new(d_model, nhead).dropout(0.1),
            dim_feedforward: 2048,
            activation: Activation::Relu,
            norm_first: false,
            layer_norm_eps: 1e-5,
        }
    }

    /// The same with so many features between `linear1` and `linear2`.
    #[must_use]
    pub fn dim_feedforward(self, features: usize) -> Self {
        Self { dim_feedforward: features, ..self }
    }

    /// The same with dropout at this rate, which is at least 0 and below 1, in all its places.
    #[must_use]
    pub fn dropout(self, rate: f64) -> Self {
        Self { attention: self.attention.dropout(rate), ..self }
    }

    /// The same with another activation between `linear1` and `linear2`; PyTorch has ReLU and GELU.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// The same with the norms before attention and the linear layers instead of after the sums.
    #[must_use]
    pub fn norm_first(self) -> Self {
        Self { norm_first: true, ..self }
    }

    /// The same with another epsilon of the norms.
    #[must_use]
    pub fn layer_norm_eps(self, eps: f64) -> Self {
        Self { layer_norm_eps: eps, ..self }
    }

    /// The same without biases, those of the norms included.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { attention: self.attention.without_bias(), ..self }
    }

    /// The same, where each position looks at itself and those before it alone.
    #[must_use]
    pub fn causal(self) -> Self {
        Self { attention: self.attention.causal(), ..self }
    }

    fn norm(&self) -> LayerNorm {
        LayerNorm::new(&[self.attention.embed_dim]).eps(self.layer_norm_eps).bias(self.attention.bias)
    }

    fn linear(&self, inputs: usize, outputs: usize) -> Dense {
        let linear = Dense::new(inputs, outputs);
        if self.attention.bias { linear } else { linear.without_bias() }
    }

    fn attend(&self, builder: &mut Builder, x: Value, mask: Option<Value>) -> Result<Value> {
        if let Some(mask) = mask {
            builder.set_mask(x, mask)?;
        }
        let attended = within(builder, "self_attn", &self.attention, x)?;
        dropped(builder, attended, self.attention.dropout)
    }

    fn feed(&self, builder: &mut Builder, x: Value) -> Result<Value> {
        let (width, inner) = (self.attention.embed_dim, self.dim_feedforward);
        let x = within(builder, "linear1", &self.linear(width, inner), x)?;
        let x = builder.activation(x, self.activation)?;
        let x = dropped(builder, x, self.attention.dropout)?;
        let x = within(builder, "linear2", &self.linear(inner, width), x)?;
        dropped(builder, x, self.attention.dropout)
    }
}

impl Layer for TransformerEncoderLayer {
    fn describe(&self) -> String {
        let MultiheadAttention { embed_dim, num_heads, causal, .. } = self.attention;
        let causal = if causal { ", causal" } else { "" };
        format!(
            "TransformerEncoderLayer {embed_dim}, {num_heads} heads, {} inside{causal}",
            self.dim_feedforward
        )
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        if self.dim_feedforward == 0 {
            let what = "dim_feedforward of the TransformerEncoderLayer";
            return Err(Error::argument("build", what, "at least 1", 0));
        }
        let (length, width) = sequence(builder, input)?;
        if width != self.attention.embed_dim {
            let expected = format!("a sequence of {0} features, (L, {0})", self.attention.embed_dim);
            return Err(builder.refusal(expected, format_args!("{length} x {width}")));
        }
        let mask = builder.mask(input);
        let norm = self.norm();
        let output = if self.norm_first {
            let x = within(builder, "norm1", &norm, input)?;
            let x = self.attend(builder, x, mask)?;
            let y = builder.add(&[input, x])?;
            let x = within(builder, "norm2", &norm, y)?;
            let x = self.feed(builder, x)?;
            builder.add(&[y, x])?
        } else {
            let x = self.attend(builder, input, mask)?;
            let x = builder.add(&[input, x])?;
            let y = within(builder, "norm1", &norm, x)?;
            let x = self.feed(builder, y)?;
            let x = builder.add(&[y, x])?;
            within(builder, "norm2", &norm, x)?
        };
        if let Some(mask) = mask {
            builder.set_mask(output, mask)?;
        }
        Ok(output)
    }

    fn spec(&self) -> Option<Spec> {
        let MultiheadAttention { embed_dim, num_heads, dropout, bias, causal } = self.attention;
        let spec = Spec::new("transformer_encoder_layer").with("d_model", embed_dim).with("nhead", num_heads);
        let spec = spec.with("dim_feedforward", self.dim_feedforward).with("dropout", dropout);
        let spec = spec.with("activation", self.activation.spec()?).with("norm_first", self.norm_first);
        let spec = spec.with("layer_norm_eps", self.layer_norm_eps).with("bias", bias);
        Some(spec.with("causal", causal))
    }
}

pub(super) fn transformer_encoder_layer_of(spec: &Spec) -> Result<TransformerEncoderLayer> {
    spec.has_only(&[
        "d_model",
        "nhead",
        "dim_feedforward",
        "dropout",
        "activation",
        "norm_first",
        "layer_norm_eps",
        "bias",
        "causal",
    ])?;
    Ok(TransformerEncoderLayer {
        attention: MultiheadAttention {
            embed_dim: spec.size("d_model")?,
            num_heads: spec.size("nhead")?,
            dropout: spec.number("dropout")?,
            bias: spec.flag("bias")?,
            causal: spec.flag("causal")?,
        },
        dim_feedforward: spec.size("dim_feedforward")?,
        activation: any_activation_of(spec.spec("activation")?)?,
        norm_first: spec.flag("norm_first")?,
        layer_norm_eps: spec.number("layer_norm_eps")?,
    })
}

/// Several [`TransformerEncoderLayer`]s of the same options, one after the other, each with parameters of its own; then maybe a
/// [`LayerNorm`]. As PyTorch's `nn.TransformerEncoder`.
///
/// Parameters `layers.0.self_attn.in_proj_weight` and so on, and `norm.weight`, `norm.bias`.
///
/// ```
/// use gemmule::nn::{Embedding, Input, Sequential, TransformerEncoder, TransformerEncoderLayer};
/// let block = TransformerEncoderLayer::new(32, 4).dim_feedforward(64).norm_first();
/// let model = Sequential::new()
///     .with(Input::new(&[16]))
///     .with(Embedding::new(100, 32))
///     .with(TransformerEncoder::new(block, 2).norm())
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("1.layers.1.linear2.bias")?.shape(), [32]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TransformerEncoder {
    layer: TransformerEncoderLayer,
    num_layers: usize,
    norm: bool,
}

impl TransformerEncoder {
    /// `num_layers` times `layer`, at least once.
    pub fn new(layer: TransformerEncoderLayer, num_layers: usize) -> Self {
        Self { layer, num_layers, norm: false }
    }

    /// The same with a norm after the last block, as goes with [`norm_first`](TransformerEncoderLayer::norm_first). It has the blocks'
    /// epsilon.
    #[must_use]
    pub fn norm(self) -> Self {
        Self { norm: true, ..self }
    }
}

impl Layer for TransformerEncoder {
    fn describe(&self) -> String {
        format!("TransformerEncoder of {} x {}", self.num_layers, self.layer.describe())
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        if self.num_layers == 0 {
            return Err(Error::argument("build", "num_layers of the TransformerEncoder", "at least 1", 0));
        }
        let mask = builder.mask(input);
        let mut x = input;
        for number in 0..self.num_layers {
            x = within(builder, &format!("layers.{number}"), &self.layer, x)?;
        }
        if self.norm {
            x = within(builder, "norm", &self.layer.norm(), x)?;
        }
        if let Some(mask) = mask {
            builder.set_mask(x, mask)?;
        }
        Ok(x)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("transformer_encoder").with("layer", self.layer.spec()?);
        Some(spec.with("num_layers", self.num_layers).with("norm", self.norm))
    }
}

pub(super) fn transformer_encoder_of(spec: &Spec) -> Result<TransformerEncoder> {
    spec.has_only(&["layer", "num_layers", "norm"])?;
    Ok(TransformerEncoder {
        layer: transformer_encoder_layer_of(spec.spec("layer")?)?,
        num_layers: spec.size("num_layers")?,
        norm: spec.flag("norm")?,
    })
}

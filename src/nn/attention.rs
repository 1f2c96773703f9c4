//! Self-attention of several heads.

use super::layer::{Dense, Layer};
use super::positional::sequence;
use super::spec::Spec;
use super::within::within;
use crate::engine::functions::attention::Attention;
use crate::engine::{Builder, Form, Init, Value};
use crate::error::{Error, Result};
use crate::kernel::attention::Shape;

/// Multi-head self-attention (Vaswani et al. 2017) over sequences (L, E), as PyTorch's `nn.MultiheadAttention` with `batch_first`,
/// called with the same sequence as query, key and value:
///
/// ```text
/// q, k, v = x in_proj_weight^T + in_proj_bias                  each (L, E), a head a block of d = E / num_heads columns
/// head    = softmax(q k^T / sqrt(d)) v                         over the keys that a query may look at
/// y       = (head_0, head_1, ..) out_proj.weight^T + out_proj.bias
/// ```
///
/// In training each weight of the softmax is dropped with the probability `dropout`, or else divided by 1 - `dropout`.
///
/// Where the sequence has a mask (see [`Embedding::with_mask`](crate::nn::Embedding::with_mask)), the positions that it leaves out
/// are no keys: PyTorch's `key_padding_mask`. With [`causal`](Self::causal) a position looks at none after it. A query that may look
/// at no key gets zeros before `out_proj`; PyTorch gives NaN there, which would spoil all parameters for the sake of padding.
///
/// Parameters `in_proj_weight` (3 E, E), Xavier uniform at first, `in_proj_bias` (3 E), zeros, `out_proj.weight` (E, E), as of
/// [`Dense`](crate::nn::Dense), and `out_proj.bias` (E), zeros: names, order and beginnings as in PyTorch.
///
/// ```
/// use gemmule::nn::{Embedding, Input, MultiheadAttention, PositionalEncoding, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[16]))
///     .with(Embedding::new(100, 32).padding_idx(0).with_mask())
///     .with(PositionalEncoding::new())
///     .with(MultiheadAttention::new(32, 4).causal())
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("2.in_proj_weight")?.shape(), [96, 32]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MultiheadAttention {
    pub(super) embed_dim: usize,
    pub(super) num_heads: usize,
    pub(super) dropout: f64,
    pub(super) bias: bool,
    pub(super) causal: bool,
}

impl MultiheadAttention {
    /// Of `num_heads` heads, each of `embed_dim / num_heads` features, without dropout, with biases.
    pub fn new(embed_dim: usize, num_heads: usize) -> Self {
        Self { embed_dim, num_heads, dropout: 0.0, bias: true, causal: false }
    }

    /// The same with dropout of the weights at this rate, which is at least 0 and below 1.
    #[must_use]
    pub fn dropout(self, rate: f64) -> Self {
        Self { dropout: rate, ..self }
    }

    /// The same without biases.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// The same, where each position looks at itself and those before it alone.
    #[must_use]
    pub fn causal(self) -> Self {
        Self { causal: true, ..self }
    }

    fn check(&self) -> Result<()> {
        let Self { embed_dim, num_heads, dropout, .. } = *self;
        if embed_dim == 0 || num_heads == 0 || !embed_dim.is_multiple_of(num_heads) {
            let expected = "an embed_dim that is a multiple of num_heads, neither of them 0";
            let got = match embed_dim.checked_rem(num_heads) {
                Some(rest) if embed_dim > 0 => {
                    format!("{embed_dim} = {num_heads} x {} + {rest}", embed_dim / num_heads)
                }
                _ => format!("{embed_dim} and {num_heads}"),
            };
            return Err(Error::argument("build", "embed_dim of the MultiheadAttention", expected, got));
        }
        if !(0.0..1.0).contains(&dropout) {
            let expected = "at least 0 and below 1";
            return Err(Error::argument("build", "dropout of the MultiheadAttention", expected, dropout));
        }
        Ok(())
    }
}

impl Layer for MultiheadAttention {
    fn describe(&self) -> String {
        let causal = if self.causal { ", causal" } else { "" };
        format!("MultiheadAttention {}, {} heads{causal}", self.embed_dim, self.num_heads)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        self.check()?;
        let (length, width) = sequence(builder, input)?;
        let Self { embed_dim, num_heads: heads, causal, dropout, bias } = *self;
        if width != embed_dim {
            let expected = format!("a sequence of {embed_dim} features, (L, {embed_dim})");
            return Err(builder.refusal(expected, format_args!("{length} x {width}")));
        }
        // Weights are counted by their places.
        length
            .checked_mul(length)
            .and_then(|len| len.checked_mul(heads))
            .filter(|&len| len <= isize::MAX as usize / 64)
            .ok_or_else(|| {
                Error::overflow("build", format!("{heads} x {length} x {length} weights of attention"))
            })?;
        let mask = builder.mask(input);
        let three = width.checked_mul(3).ok_or_else(|| Error::overflow("build", "in_proj_weight"))?;
        let weight = builder.matrix("in_proj_weight", width, three, Init::XavierUniform { gain: 1.0 })?;
        let biases = if bias {
            Some(builder.vector("in_proj_bias", three, (width, three), Init::Zeros)?)
        } else {
            None
        };
        let qkv = builder.dense(input, weight, biases)?;
        let mut inputs = vec![builder.in_rows(qkv)?];
        inputs.extend(mask);
        let shape = Shape { length, heads, width, causal };
        let form = Form::rows(&[length, width]);
        let context = builder.function(&inputs, form, Attention { shape, dropout }, &[])?;
        let out = Dense::new(width, width);
        let out = if bias { out.bias_init(Init::Zeros) } else { out.without_bias() };
        let output = within(builder, "out_proj", &out, context)?;
        if let Some(mask) = mask {
            builder.set_mask(output, mask)?;
        }
        Ok(output)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("multihead_attention").with("embed_dim", self.embed_dim);
        let spec = spec.with("num_heads", self.num_heads).with("dropout", self.dropout);
        Some(spec.with("bias", self.bias).with("causal", self.causal))
    }
}

pub(super) fn multihead_attention_of(spec: &Spec) -> Result<MultiheadAttention> {
    spec.has_only(&["embed_dim", "num_heads", "dropout", "bias", "causal"])?;
    Ok(MultiheadAttention {
        embed_dim: spec.size("embed_dim")?,
        num_heads: spec.size("num_heads")?,
        dropout: spec.number("dropout")?,
        bias: spec.flag("bias")?,
        causal: spec.flag("causal")?,
    })
}

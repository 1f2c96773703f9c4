//! Residual blocks.

use super::layer::Layer;
use super::sequential::Sequential;
use super::spec::Spec;
use super::within::within;
use crate::engine::{Builder, Value, show};
use crate::error::Result;
use crate::kernel::activation::Activation;

/// A residual block (He et al. 2016): y = activation(shortcut(x) + body(x)).
///
/// Without a shortcut of its own x is added as it is, so the body keeps its dimensions; without an activation the sum is the output.
///
/// Parameters are those of the layers within: `body.0.weight`, `shortcut.0.weight` and so on, as in a PyTorch module that has two
/// `nn.Sequential`s of these names.
///
/// ```
/// use gemmule::nn::{Activation, BatchNorm2d, Conv2d, Input, Residual, Sequential};
/// let body = Sequential::new()
///     .with(Conv2d::new(16, 32, 3).stride(2).padding(1).without_bias())
///     .with(BatchNorm2d::new(32))
///     .with(Activation::Relu)
///     .with(Conv2d::new(32, 32, 3).padding(1).without_bias())
///     .with(BatchNorm2d::new(32));
/// let shortcut = Sequential::new()
///     .with(Conv2d::new(16, 32, 1).stride(2).without_bias())
///     .with(BatchNorm2d::new(32));
/// let block = Residual::new(body).with_shortcut(shortcut).with_activation(Activation::Relu);
/// let model = Sequential::new().with(Input::new(&[16, 8, 8])).with(block).build::<f32>(0)?;
/// assert!(model.parameters().iter().any(|p| p.name.ends_with(".shortcut.0.weight")));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Residual {
    body: Sequential,
    /// Empty: x as it is.
    shortcut: Sequential,
    activation: Activation,
}

impl Residual {
    /// y = x + body(x).
    pub fn new(body: Sequential) -> Self {
        Self { body, shortcut: Sequential::new(), activation: Activation::Identity }
    }

    /// The same with layers that x goes through before it is added: where the body changes its dimensions.
    #[must_use]
    pub fn with_shortcut(self, shortcut: Sequential) -> Self {
        Self { shortcut, ..self }
    }

    /// The same with an activation of the sum.
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }
}

impl Layer for Residual {
    fn describe(&self) -> String {
        let shortcut = if self.shortcut.is_empty() { "" } else { " and a shortcut" };
        let activation = match self.activation {
            Activation::Identity => String::new(),
            activation => format!(", {activation}"),
        };
        format!("Residual of {} layers{shortcut}{activation}", self.body.len())
    }

    fn inputs(&self) -> Option<usize> {
        self.body.inputs().or_else(|| self.shortcut.inputs())
    }

    fn checks_inputs(&self) -> bool {
        true
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let body = within(builder, "body", &self.body, input)?;
        let shortcut = if self.shortcut.is_empty() {
            input
        } else {
            within(builder, "shortcut", &self.shortcut, input)?
        };
        let (of_body, of_shortcut) = (builder.dims(body), builder.dims(shortcut));
        if of_body != of_shortcut {
            let (of_body, of_shortcut) = (show(of_body), show(of_shortcut));
            return Err(if self.shortcut.is_empty() {
                let expected = format_args!("a body that keeps {of_shortcut}, or a shortcut");
                builder.refusal(expected, format_args!("{of_body} from the body"))
            } else {
                let got = format_args!("{of_body} from the body, {of_shortcut} from the shortcut");
                builder.refusal("a body and a shortcut of the same dimensions", got)
            });
        }
        let sum = builder.add(&[shortcut, body])?;
        match self.activation {
            Activation::Identity => Ok(sum),
            activation => builder.activation(sum, activation),
        }
    }

    fn spec(&self) -> Option<Spec> {
        let spec =
            Spec::new("residual").with("body", self.body.specs()?).with("shortcut", self.shortcut.specs()?);
        Some(spec.with("activation", self.activation.spec()?))
    }
}

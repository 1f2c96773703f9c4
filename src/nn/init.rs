//! The first numbers of a parameter.

use super::orthogonal::orthonormal;
use crate::context::Context;
use crate::engine::{Fan, Init, Parameter};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::activation::Activation;
use crate::rng::Rng;

/// What weights before an activation are to be multiplied by, so that it keeps the size of its values: PyTorch's
/// `torch.nn.init.calculate_gain`.
///
/// | activation | gain |
/// | --- | --- |
/// | identity, sigmoid | 1 |
/// | tanh | 5 / 3 |
/// | ReLU | sqrt(2) |
/// | leaky ReLU | sqrt(2 / (1 + slope^2)) |
/// | SELU | 3 / 4 |
///
/// # Errors
/// [`Error::Argument`] for another activation, for which PyTorch has none either.
///
/// ```
/// use gemmule::nn::{Activation, gain};
/// assert_eq!(gain(Activation::Tanh)?, 5.0 / 3.0);
/// assert!(gain(Activation::Gelu).is_err());
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn gain(activation: Activation) -> Result<f64> {
    Ok(match activation {
        Activation::Identity | Activation::Sigmoid => 1.0,
        Activation::Tanh => 5.0 / 3.0,
        Activation::Relu => 2.0_f64.sqrt(),
        Activation::LeakyRelu { slope } => (2.0 / (1.0 + slope * slope)).sqrt(),
        Activation::Selu => 0.75,
        _ => {
            let expected = "identity, sigmoid, tanh, relu, leaky_relu or selu";
            return Err(Error::argument("gain", "activation", expected, activation));
        }
    })
}

/// Draws the numbers of a parameter, row by row as it is shown (a weight as outputs x inputs).
pub(crate) fn draw<T: Element>(context: &Context, parameter: &Parameter, rng: &mut Rng) -> Result<Vec<T>> {
    let (fan_in, fan_out) = (parameter.fan_in as f64, parameter.fan_out as f64);
    let fan = |fan| match fan {
        Fan::In => fan_in,
        Fan::Out => fan_out,
    };
    let mut values = vec![T::zero(); parameter.len()];
    let (bound, std) = (Draw::Uniform, Draw::Normal);
    let draw = match parameter.init {
        Init::Zeros => return Ok(values),
        Init::Constant(value) => {
            values.fill(T::from_f64(value));
            return Ok(values);
        }
        Init::Orthogonal { gain } => return orthogonal(context, parameter, rng, gain),
        Init::Identity { gain } => {
            let (outputs, inputs) = shown(parameter, "identity")?;
            for k in 0..outputs.min(inputs) {
                values[k * inputs + k] = T::from_f64(gain);
            }
            return Ok(values);
        }
        Init::Uniform { low, high } => Draw::Between(low, high),
        Init::Normal { mean, std } => Draw::Around(mean, std),
        Init::TruncatedNormal { mean, std, low, high } => Draw::Truncated([mean, std, low, high]),
        Init::GlorotUniform => bound((6.0 / (fan_in + fan_out)).sqrt()),
        Init::XavierUniform { gain } => bound(gain * (6.0 / (fan_in + fan_out)).sqrt()),
        Init::GlorotNormal => std((2.0 / (fan_in + fan_out)).sqrt()),
        Init::XavierNormal { gain } => std(gain * (2.0 / (fan_in + fan_out)).sqrt()),
        Init::HeUniform => bound((6.0 / fan_in).sqrt()),
        Init::KaimingUniform { gain, fan: side } => bound(gain * (3.0 / fan(side)).sqrt()),
        Init::HeNormal => std((2.0 / fan_in).sqrt()),
        Init::KaimingNormal { gain, fan: side } => std(gain / fan(side).sqrt()),
        Init::LecunUniform => bound((3.0 / fan_in).sqrt()),
        Init::LecunNormal => std((1.0 / fan_in).sqrt()),
        Init::PyTorch => bound(1.0 / fan_in.sqrt()),
    };
    let drawn = match draw {
        Draw::Uniform(bound) => rng.fill_uniform(context, &mut values, -bound, bound),
        Draw::Between(low, high) => rng.fill_uniform(context, &mut values, low, high),
        Draw::Normal(std) => rng.fill_normal(context, &mut values, 0.0, std),
        Draw::Around(mean, std) => rng.fill_normal(context, &mut values, mean, std),
        Draw::Truncated([mean, std, low, high]) => {
            rng.fill_truncated_normal(context, &mut values, mean, std, low, high)
        }
    };
    // The caller looks for NaN, and then names the parameter.
    if drawn.is_err() {
        values.fill(T::nan());
    }
    Ok(values)
}

/// A distribution with its numbers.
enum Draw {
    /// Within this of 0.
    Uniform(f64),
    Between(f64, f64),
    /// Around 0, with this standard deviation.
    Normal(f64),
    Around(f64, f64),
    /// Mean, standard deviation, bounds.
    Truncated([f64; 4]),
}

/// Rows and columns of a weight as it is shown; of a vector there are none.
fn shown(parameter: &Parameter, what: &str) -> Result<(usize, usize)> {
    if let [outputs, inputs @ ..] = parameter.shape.as_slice()
        && !inputs.is_empty()
    {
        return Ok((*outputs, inputs.iter().product()));
    }
    let got = format!("the vector {}", parameter.name);
    Err(Error::argument("build", "initialiser", format_args!("a weight for {what}: outputs x inputs"), got))
}

/// As `torch.nn.init.orthogonal_`: the same in f64 and, rounded, in f32.
fn orthogonal<T: Element>(
    context: &Context,
    parameter: &Parameter,
    rng: &mut Rng,
    gain: f64,
) -> Result<Vec<T>> {
    let (outputs, inputs) = shown(parameter, "orthogonal")?;
    let mut normal = vec![0.0_f64; outputs * inputs];
    rng.fill_normal(context, &mut normal, 0.0, 1.0)?;
    let high = outputs >= inputs;
    // As high as wide at least: PyTorch transposes the numbers that it drew, too.
    let mut matrix = if high { normal } else { transposed(&normal, outputs, inputs) };
    orthonormal(&mut matrix, outputs.max(inputs), outputs.min(inputs));
    let matrix = if high { matrix } else { transposed(&matrix, inputs, outputs) };
    Ok(matrix.into_iter().map(|x| T::from_f64(gain * x)).collect())
}

fn transposed(matrix: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..cols).flat_map(|col| (0..rows).map(move |row| matrix[row * cols + col])).collect()
}

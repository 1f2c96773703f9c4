//! The first numbers of a parameter.

use crate::context::Context;
use crate::engine::{Init, Parameter};
use crate::kernel::Element;
use crate::rng::Rng;

/// Draws the numbers of a parameter, row by row as it is shown (a weight as outputs x inputs).
pub(crate) fn draw<T: Element>(context: &Context, parameter: &Parameter, rng: &mut Rng) -> Vec<T> {
    let (fan_in, fan_out) = (parameter.fan_in as f64, parameter.fan_out as f64);
    let mut values = vec![T::zero(); parameter.len()];
    let mut uniform = |bound: f64| rng.fill_uniform(context, &mut values, -bound, bound);
    let drawn = match parameter.init {
        Init::Zeros => Ok(()),
        Init::Constant(value) => {
            values.fill(T::from_f64(value));
            Ok(())
        }
        Init::Uniform { low, high } => rng.fill_uniform(context, &mut values, low, high),
        Init::Normal { mean, std } => rng.fill_normal(context, &mut values, mean, std),
        Init::GlorotUniform => uniform((6.0 / (fan_in + fan_out)).sqrt()),
        Init::GlorotNormal => rng.fill_normal(context, &mut values, 0.0, (2.0 / (fan_in + fan_out)).sqrt()),
        Init::HeUniform => uniform((6.0 / fan_in).sqrt()),
        Init::HeNormal => rng.fill_normal(context, &mut values, 0.0, (2.0 / fan_in).sqrt()),
        Init::PyTorch => uniform(1.0 / fan_in.sqrt()),
    };
    // The caller looks for NaN, and then names the parameter.
    if drawn.is_err() {
        values.fill(T::nan());
    }
    values
}

//! Losses of regression that are more than a difference: log-cosh, and the Poisson likelihood of counts.

use super::super::element::Element;
use super::super::math::Elementary;
use super::mean_of_terms::{self, Term};
use super::{Rows, check_size};
use crate::context::Context;
use crate::error::Result;
use crate::simd::{Simd, Vector};

#[derive(Clone, Copy)]
pub struct LogCosh;

impl<T: Element> Term<T> for LogCosh {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let splat = |value: f64| T::V::<S>::splat(s, T::from_f64(value));
        let difference = x - target;
        let size = difference.abs();
        // With u = e^-a - 1: cosh a - 1 = u^2 / (2 e^-a), which cancels nothing where a is small; where it is not,
        // ln cosh a = a - ln 2 + ln(1 + e^-2a).
        let u = <T as Elementary>::exp_m1(s, -size);
        let e = splat(1.0) + u;
        let near = splat(1.0).greater(size);
        let inner = (u * u / (e + e)).select(near, e * e);
        let outer = splat(0.0).select(near, size - splat(core::f64::consts::LN_2));
        (outer + <T as Elementary>::ln_1p(s, inner), <T as Elementary>::tanh(s, difference))
    }
}

/// The logarithm of the hyperbolic cosine of the difference: with d = prediction - target,
/// `losses[i] = mean over j of ln(cosh(d))`, and `d_prediction = scale * tanh(d) / width`. About d^2 / 2 where d is small and
/// |d| - ln 2 where it is large; it never overflows. Keras' `LogCosh`.
///
/// Shapes: `prediction`, `target` and `d_prediction` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super).
pub fn log_cosh<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_prediction: Option<&mut [T]>,
) -> Result<T> {
    let operands = [("prediction", prediction.len()), ("target", target.len())];
    rows.check("log_cosh", losses.len(), operands, ("d_prediction", d_prediction.as_deref()))?;
    Ok(mean_of_terms::run(context, LogCosh, (prediction, target), rows, losses, d_prediction))
}

/// Options of [`poisson_nll`], with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoissonNll {
    /// The predictions are logarithms of rates.
    pub log_input: bool,
    /// Adds Stirling's approximation of ln(t!) where a target t is above 1.
    pub full: bool,
    /// Added to a rate before its logarithm is taken: a finite number, at least 0. Of no use with `log_input`.
    pub eps: f64,
}

impl Default for PoissonNll {
    /// `log_input`, not `full`, an `eps` of 1e-8.
    fn default() -> Self {
        Self { log_input: true, full: false, eps: 1e-8 }
    }
}

/// Of rates, or (`LOG`) of their logarithms.
#[derive(Clone, Copy)]
pub struct Poisson<T, const LOG: bool> {
    eps: T,
    full: bool,
}

impl<T: Element, const LOG: bool> Term<T> for Poisson<T, LOG> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, target: T::V<S>, _: usize, _: usize) -> (T::V<S>, T::V<S>) {
        let splat = |value: f64| T::V::<S>::splat(s, T::from_f64(value));
        let (loss, slope) = if LOG {
            let rate = <T as Elementary>::exp(s, x);
            ((-target).mul_add(x, rate), rate - target)
        } else {
            let rate = x + T::V::<S>::splat(s, self.eps);
            let ln = <T as Elementary>::ln(s, rate);
            ((-target).mul_add(ln, x), splat(1.0) - target / rate)
        };
        if !self.full {
            return (loss, slope);
        }
        let ln = <T as Elementary>::ln(s, target);
        // t ln t - t + ln(2 pi t) / 2.
        let root = (ln + splat(LN_TWO_PI)) * splat(0.5);
        let stirling = target.mul_add(ln, root - target);
        (loss + stirling.select(target.greater(splat(1.0)), splat(0.0)), slope)
    }
}

/// ln(2 pi).
pub(super) const LN_TWO_PI: f64 = 1.837_877_066_409_345_5;

/// The negative log-likelihood of counts t under Poisson distributions: `losses[i]` is the mean over j of `e^x - t x` with
/// `log_input`, where predictions x are logarithms of rates, and of `x - t ln(x + eps)` without. `full` adds
/// `t ln t - t + ln(2 pi t) / 2` where t is above 1, which changes no gradient: `d_prediction` is
/// `scale * (e^x - t) / width`, or `scale * (1 - t / (x + eps)) / width`. PyTorch's `poisson_nll_loss`.
///
/// Shapes: `prediction`, `target` and `d_prediction` (rows, width), `losses` (rows).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`](crate::Error::Argument) unless `eps` is finite and at least 0.
pub fn poisson_nll<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    options: &PoissonNll,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_prediction: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "poisson_nll";
    let operands = [("prediction", prediction.len()), ("target", target.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_prediction", d_prediction.as_deref()))?;
    let PoissonNll { log_input, full, eps } = *options;
    let eps = check_size(OPERATION, "eps", eps, true)?;
    let operands = (prediction, target);
    Ok(if log_input {
        let term = Poisson::<T, true> { eps, full };
        mean_of_terms::run(context, term, operands, rows, losses, d_prediction)
    } else {
        let term = Poisson::<T, false> { eps, full };
        mean_of_terms::run(context, term, operands, rows, losses, d_prediction)
    })
}

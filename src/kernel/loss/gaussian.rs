//! The likelihood of values under normal distributions.

use super::super::element::Element;
use super::super::loops;
use super::super::math::Elementary;
use super::regression::LN_TWO_PI;
use super::{Rows, check_size};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::share::{self, Halves, cut};
use crate::simd::{Kernel, Simd, Vector};

/// Options of [`gaussian_nll`], with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNll {
    /// Adds ln(2 pi) / 2.
    pub full: bool,
    /// The least variance: a finite number above 0.
    pub eps: f64,
}

impl Default for GaussianNll {
    /// Not `full`, an `eps` of 1e-6.
    fn default() -> Self {
        Self { full: false, eps: 1e-6 }
    }
}

/// Rows of `width` means and as many logarithms of variances.
struct Pairs<P> {
    both: P,
    width: usize,
}

impl<P: Halves> Halves for Pairs<P> {
    fn bytes(&self) -> usize {
        self.both.bytes()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let (first, rest) = self.both.halves(2 * units * self.width);
        (Self { both: first, ..self }, Self { both: rest, ..self })
    }
}

/// The kernel.
pub struct GaussianRows<'a, T> {
    losses: &'a mut [T],
    x: Pairs<&'a [T]>,
    gradient: Pairs<Option<&'a mut [T]>>,
    weights: Option<&'a [T]>,
    targets: &'a [T],
    width: usize,
    eps: T,
    full: bool,
    scale: T,
}

cut! { ['a, T: Copy] GaussianRows<'a, T>: per_unit(losses, x, gradient, weights) wide(width: targets) keep(width, eps, full, scale) }

impl<T: Element> Kernel for GaussianRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { losses, x, mut gradient, weights, targets, width, eps, full, scale } = self;
        let lanes = T::V::<S>::LANES;
        let splat = |value: T| T::V::<S>::splat(s, value);
        let (zero, one, half) = (splat(T::zero()), splat(T::one()), splat(T::from_f64(0.5)));
        // The constants in f64: their sums are what is rounded.
        let constant = splat(T::from_f64(if full { LN_TWO_PI } else { 0.0 }));
        let ln_eps = <T as Elementary>::ln(s, splat(eps));
        let eps = splat(eps);
        let divisor = T::from_f64(width as f64);
        for (i, (loss, t)) in losses.iter_mut().zip(targets.chunks_exact(width)).enumerate() {
            let (means, logs) = x.both[2 * i * width..2 * (i + 1) * width].split_at(width);
            let d = gradient.both.as_deref_mut().map(|d| &mut d[2 * i * width..2 * (i + 1) * width]);
            let weight = weights.map_or(T::one(), |weights| weights[i]);
            if weight == T::zero() {
                *loss = T::zero();
                if let Some(d) = d {
                    d.fill(T::zero());
                }
                continue;
            }
            let factor = splat(scale * weight / divisor);
            let mut sum = zero;
            let mut d = d.map(|d| d.split_at_mut(width));
            let mut at = 0;
            while at < width {
                let count = lanes.min(width - at);
                let range = at..at + count;
                let difference = T::V::<S>::load_first(s, &means[range.clone()])
                    - T::V::<S>::load_first(s, &t[range.clone()]);
                let log = T::V::<S>::load_first(s, &logs[range.clone()]);
                let e = <T as Elementary>::exp(s, log);
                let variance = eps.max_or_other(e);
                let ln = log.select(e.greater(eps), ln_eps);
                let slope = difference / variance;
                let term = (difference.mul_add(slope, ln) + constant) * half;
                sum = sum + term.select(loops::first_lanes::<T, S>(s, count), zero);
                if let Some((d_means, d_logs)) = &mut d {
                    (slope * factor).store_first(&mut d_means[range.clone()]);
                    // At the least variance PyTorch's gradient goes on through the bound.
                    let share = e / variance * half;
                    (share * (one - difference * slope) * factor).store_first(&mut d_logs[range]);
                }
                at += count;
            }
            *loss = weight * (loops::tree_sum::<T, S>(sum) / divisor);
        }
    }
}

/// The negative log-likelihood of values t under normal distributions, given as means m and logarithms of variances s:
/// with `v = max(e^s, eps)`, `losses[i] = mean over j of (ln v + (m - t)^2 / v) / 2`, to which `full` adds `ln(2 pi) / 2`.
/// `d_m = scale * (m - t) / v / width`, and `d_s = scale * e^s / v * (1 - (m - t)^2 / v) / 2 / width`.
///
/// PyTorch's `gaussian_nll_loss(m, t, exp(s))`: the logarithm keeps the variance above 0 for any output of a net.
///
/// Shapes: `prediction` and `d_prediction` (rows, 2 width), in each row the means before the logarithms; `target` (rows,
/// width), `losses` (rows). The width of `rows` is that of the target.
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`] unless `eps` is finite and above 0.
///
/// ```
/// use gemmule::{Context, kernel::loss::{self, GaussianNll, Rows}};
/// let (context, mut losses, mut d) = (Context::detect()?, [0.0_f32], [0.0; 2]);
/// // A mean of 3 with a variance of 1, where the value is 1.
/// loss::gaussian_nll(
///     &context, &[3.0, 0.0], &[1.0], &GaussianNll::default(), Rows::mean(1), &mut losses, Some(&mut d),
/// )?;
/// assert_eq!((losses, d), ([2.0], [2.0, -1.5]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn gaussian_nll<T: Element>(
    context: &Context,
    prediction: &[T],
    target: &[T],
    options: &GaussianNll,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_prediction: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "gaussian_nll";
    rows.check(OPERATION, losses.len(), [("target", target.len())], ("", None))?;
    let expected = 2 * target.len();
    let lengths = [
        ("prediction", prediction.len()),
        ("d_prediction", d_prediction.as_deref().map_or(expected, <[T]>::len)),
    ];
    for (what, length) in lengths {
        if length != expected {
            let expected = format!("{expected}, two for each target");
            return Err(Error::shape(OPERATION, what, expected, length));
        }
    }
    let eps = check_size(OPERATION, "eps", options.eps, false)?;
    let finish = rows.start(|| rows.total_weight(context, losses.len()));
    let width = rows.width;
    let job = GaussianRows {
        x: Pairs { both: prediction, width },
        gradient: Pairs { both: d_prediction, width },
        targets: target,
        width,
        eps,
        full: options.full,
        scale: finish.scale(),
        weights: rows.sample_weights,
        losses: &mut *losses,
    };
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

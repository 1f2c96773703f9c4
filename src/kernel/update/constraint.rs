//! Constraints on weights after an update.

use super::clip::other_scale;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::gemm::view::MatMut;
use crate::kernel::reduce;
use crate::simd::{Kernel, Simd};

/// What parameters are held to after every update: Keras' constraints, and clipping to a range.
///
/// Norms are L2 norms over the inputs of each output unit: of each row of a weight as PyTorch shows it (outputs x inputs), which
/// is `axis=0` of a Keras kernel; of a bias, over all of it.
///
/// | constraint | a unit's weights w become |
/// | --- | --- |
/// | [`MaxNorm`](Self::MaxNorm) | `w * limit / norm` if norm > limit |
/// | [`UnitNorm`](Self::UnitNorm) | `w / norm` |
/// | [`NonNegative`](Self::NonNegative) | `max(w, 0)` |
/// | [`MinMaxNorm`](Self::MinMaxNorm) | `w * (rate * clamp(norm, min, max) + (1 - rate) * norm) / norm` |
/// | [`Clip`](Self::Clip) | `clamp(w, low, high)` |
///
/// What needs no change keeps its bits: Keras divides by `norm + 1e-7`, and so shrinks every unit a little. Weights that are all
/// 0, or not all finite, have no direction and stay as they are under a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Constraint {
    /// No norm above this (Srebro and Shraibman 2005). Keras' default is 2.
    MaxNorm(f64),
    /// Every norm is 1.
    UnitNorm,
    /// No weight below 0.
    NonNegative,
    /// Norms are moved towards a range. Keras' defaults are 0, 1 and 1.
    MinMaxNorm {
        /// The least norm, at least 0.
        min: f64,
        /// The largest, above 0 and not below the least.
        max: f64,
        /// The part of the way that is gone each time: above 0, at most 1.
        rate: f64,
    },
    /// Every weight is from `low` to `high` (as the critic's in Arjovsky et al. 2017).
    Clip {
        /// The least weight.
        low: f64,
        /// The largest.
        high: f64,
    },
}

impl Constraint {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::Argument`] names the one that is out of its range.
    pub(crate) fn check<T: Element>(self, operation: &'static str) -> Result<()> {
        let refuse = |what, expected, got| Err(Error::argument(operation, what, expected, got));
        let finite = |value: f64| T::from_f64(value).is_finite();
        match self {
            Self::MaxNorm(limit) if !(finite(limit) && T::from_f64(limit) > T::zero()) => {
                refuse("limit", "a finite number above 0", limit)
            }
            Self::MinMaxNorm { min, .. } if !(finite(min) && min >= 0.0) => {
                refuse("min", "a finite number, at least 0", min)
            }
            Self::MinMaxNorm { min, max, .. } if !(finite(max) && max >= min && max > 0.0) => {
                refuse("max", "a finite number above 0, at least min", max)
            }
            Self::MinMaxNorm { rate, .. } if !(rate > 0.0 && rate <= 1.0) => {
                refuse("rate", "above 0, at most 1", rate)
            }
            Self::Clip { low, .. } if !finite(low) => refuse("low", "a finite number", low),
            Self::Clip { low, high } if !(finite(high) && high >= low) => {
                refuse("high", "a finite number, at least low", high)
            }
            _ => Ok(()),
        }
    }

    /// The norm that a norm becomes; `None` if weights are looked at one by one.
    #[inline(always)]
    fn target(self, norm: f64) -> Option<f64> {
        match self {
            Self::MaxNorm(limit) => Some(norm.min(limit)),
            Self::UnitNorm => Some(1.0),
            Self::MinMaxNorm { min, max, rate } => {
                let inside = norm.clamp(min, max);
                Some(if inside == norm { norm } else { rate * inside + (1.0 - rate) * norm })
            }
            Self::NonNegative | Self::Clip { .. } => None,
        }
    }
}

/// Columns that are held to a norm at once.
pub(crate) const COLUMNS: usize = 64;

/// Holds the columns of a matrix to a constraint.
pub(super) struct Constrain<'a, T> {
    constraint: Constraint,
    matrix: MatMut<'a, T>,
}

impl<T: Element> Kernel for Constrain<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { constraint, mut matrix } = self;
        let range = match constraint {
            Constraint::NonNegative => Some((T::zero(), T::infinity())),
            Constraint::Clip { low, high } => Some((T::from_f64(low), T::from_f64(high))),
            _ => None,
        };
        if let Some((low, high)) = range {
            for i in 0..matrix.rows() {
                for x in matrix.row_mut(i).unwrap_or_default() {
                    // NaN stays.
                    let above = if *x < low { low } else { *x };
                    *x = if above > high { high } else { above };
                }
            }
            return;
        }
        let columns = matrix.cols();
        let mut first = 0;
        while first < columns {
            let count = COLUMNS.min(columns - first);
            hold(constraint, &mut matrix, first, count);
            first += count;
        }
    }
}

/// Holds columns `first .. first + count`, at most [`COLUMNS`], to a norm.
///
/// A column's sum goes from row to row in f64, with multiplications and additions that round on their own: its bits do not
/// depend on the instruction set, nor on the columns beside it.
#[inline(always)]
fn hold<T: Element>(constraint: Constraint, matrix: &mut MatMut<'_, T>, first: usize, count: usize) {
    let range = first..first + count;
    let mut sums = [0.0_f64; COLUMNS];
    for i in 0..matrix.rows() {
        let row = &mut matrix.row_mut(i).unwrap_or_default()[range.clone()];
        for (sum, &x) in sums.iter_mut().zip(&*row) {
            let x = x.to_f64();
            *sum += x * x;
        }
    }
    let mut factors = [T::one(); COLUMNS];
    let mut changes = false;
    for (column, (factor, &sum)) in factors.iter_mut().zip(&sums[..count]).enumerate() {
        let norm = match other_scale(sum) {
            None => sum.sqrt(),
            Some(scale) => {
                let mut sum = 0.0;
                for i in 0..matrix.rows() {
                    let x = scale * matrix.row_mut(i).unwrap_or_default()[first + column].to_f64();
                    sum += x * x;
                }
                sum.sqrt() / scale
            }
        };
        if norm > 0.0
            && norm.is_finite()
            && let Some(target) = constraint.target(norm)
            && target != norm
        {
            *factor = T::from_f64(target / norm);
            changes = true;
        }
    }
    if !changes {
        return;
    }
    for i in 0..matrix.rows() {
        let row = &mut matrix.row_mut(i).unwrap_or_default()[range.clone()];
        for (x, &factor) in row.iter_mut().zip(&factors) {
            *x *= factor;
        }
    }
}

/// Holds each column of a matrix to a constraint: a weight of inputs x outputs, as a dense layer's product reads it. See
/// [`Constraint`] for the formulas; after a norm was bounded it is at most `limit * (1 + 2^-22)` in f32, `1 + 2^-51` in f64.
/// (For rows there is [`max_norm`](super::max_norm).)
///
/// Shapes: `matrix` (rows, width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0 or an option is out of its range; [`Error::Shape`] if there is a part of a row.
///
/// ```
/// use gemmule::{Context, kernel::update::{Constraint, constrain}};
/// // The columns (3, 4) and (0.6, 0.8).
/// let mut weights = [3.0_f32, 0.6, 4.0, 0.8];
/// constrain(&Context::detect()?, &mut weights, 2, Constraint::MaxNorm(2.5))?;
/// assert_eq!(weights, [1.5, 0.6, 2.0, 0.8]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn constrain<T: Element>(
    context: &Context,
    matrix: &mut [T],
    width: usize,
    constraint: Constraint,
) -> Result<()> {
    reduce::check_width("constrain", width)?;
    constraint.check::<T>("constrain")?;
    if !matrix.len().is_multiple_of(width) {
        let expected = format!("a multiple of the width {width}");
        return Err(Error::shape("constrain", "matrix", expected, matrix.len()));
    }
    let rows = matrix.len() / width;
    let matrix = MatMut::new(matrix, 0, rows, width, width as isize, 1)?;
    constrain_columns(context, constraint, matrix);
    Ok(())
}

/// The same for a view whose options were checked.
pub(crate) fn constrain_columns<T: Element>(
    context: &Context,
    constraint: Constraint,
    matrix: MatMut<'_, T>,
) {
    T::run(context, Constrain { constraint, matrix });
}

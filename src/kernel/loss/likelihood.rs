//! The negative log-likelihood.

use super::super::element::Element;
use super::targets::{Targets, WeightedClasses};
use super::{Rows, check_class_weights, check_classes};
use crate::context::Context;
use crate::error::Result;
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd};

/// Options of [`negative_log_likelihood`]. By default every class and every row counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NegativeLogLikelihood<'a, T> {
    /// Rows of this class take no part. It need not be below the width.
    pub ignore_index: Option<u32>,
    /// A factor for the loss of each class.
    pub class_weights: Option<&'a [T]>,
}

/// The kernel: a look-up, and zeros.
pub struct LikelihoodRows<'a, T> {
    x: &'a [T],
    targets: WeightedClasses<'a, T>,
    width: usize,
    scale: T,
    losses: &'a mut [T],
    gradient: Option<&'a mut [T]>,
}

cut! { ['a, T: Copy] LikelihoodRows<'a, T>: per_unit(losses, targets) wide(width: x, gradient) keep(width, scale) }

impl<T: Element> Kernel for LikelihoodRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { x, targets, width, scale, losses, mut gradient } = self;
        if let Some(d) = gradient.as_deref_mut() {
            d.fill(T::zero());
        }
        for (row, loss) in losses.iter_mut().enumerate() {
            let weight = targets.weight(row);
            *loss = T::zero();
            if weight != T::zero() {
                let at = row * width + targets.classes[row] as usize;
                *loss = -(weight * x[at]);
                if let Some(d) = gradient.as_deref_mut() {
                    d[at] = -(scale * weight);
                }
            }
        }
    }
}

/// The negative log-likelihood of one class per row: `losses[i] = -w * log_probabilities[i, classes[i]]`, and
/// `d_log_probabilities = -scale * w * onehot(classes)`, where w is the weight of the class, 1 without weights. Of
/// [`log_softmax`](super::super::softmax::log_softmax)'s output it is the cross-entropy.
///
/// Only the class's element is read: NaN elsewhere in the row does not show. Rows of the class to ignore take no part. A
/// row's weight in a mean is its sample's weight times its class's weight, as in PyTorch.
///
/// Shapes: `log_probabilities` and `d_log_probabilities` (rows, width), `classes` and `losses` (rows), `class_weights`
/// (width).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`](crate::Error::Argument) if a class is not below `width`.
///
/// ```
/// use gemmule::{Context, kernel::loss::{self, NegativeLogLikelihood, Rows}};
/// let (context, mut losses) = (Context::detect()?, [0.0_f32; 2]);
/// let options = NegativeLogLikelihood { class_weights: Some(&[1.0, 3.0]), ..Default::default() };
/// let x = [-0.5, -1.0, -2.0, -0.25];
/// let mean = loss::negative_log_likelihood(&context, &x, &[1, 0], &options, Rows::mean(2), &mut losses, None)?;
/// assert_eq!((mean, losses), (1.25, [3.0, 2.0]));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn negative_log_likelihood<T: Element>(
    context: &Context,
    log_probabilities: &[T],
    classes: &[u32],
    options: &NegativeLogLikelihood<'_, T>,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_log_probabilities: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "negative_log_likelihood";
    let operands = [("log_probabilities", log_probabilities.len())];
    let gradient = ("d_log_probabilities", d_log_probabilities.as_deref());
    rows.check(OPERATION, losses.len(), operands, gradient)?;
    let NegativeLogLikelihood { ignore_index: ignore, class_weights } = *options;
    check_class_weights(OPERATION, class_weights, rows.width)?;
    check_classes(OPERATION, classes, ignore, losses.len(), rows.width)?;
    let targets = WeightedClasses { classes, ignore, class_weights, sample_weights: rows.sample_weights };
    let finish = rows.start(|| targets.total_weight());
    let (x, width, scale) = (log_probabilities, rows.width, finish.scale());
    let job =
        LikelihoodRows { x, targets, width, scale, losses: &mut *losses, gradient: d_log_probabilities };
    share::run::<T, _>(context, job);
    Ok(finish.finish(context, losses))
}

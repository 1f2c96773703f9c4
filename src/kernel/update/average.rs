//! A moving average of parameters.

use super::check_rate;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::{self, Binary};
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd, Vector};

/// From `x` a part of the way to `y`, by the end that is nearer: at 0 it is x and at 1 it is y, to the bit.
#[derive(Clone, Copy)]
struct Lerp<T> {
    part: T,
    rest: T,
}

impl<T: Element> Binary<T> for Lerp<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, y: T::V<S>) -> T::V<S> {
        if self.part < self.rest {
            (y - x).mul_add(T::V::<S>::splat(s, self.part), x)
        } else {
            (x - y).mul_add(T::V::<S>::splat(s, self.rest), y)
        }
    }
}

pub(super) struct Average<'a, T> {
    decay: f64,
    average: &'a mut [T],
    values: &'a [T],
}

cut! { ['a, T] Average<'a, T>: per_unit(average, values) keep(decay) }

impl<T: Element> Kernel for Average<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lerp = Lerp { part: T::from_f64(1.0 - self.decay), rest: T::from_f64(self.decay) };
        loops::zip_in_place(s, lerp, self.average, self.values);
    }
}

/// The exponential moving average after one more value: `average = decay * average + (1 - decay) * value`, element by element.
///
/// ```text
/// average += (1 - decay) * (value - average)                     decay above 0.5
/// average  = value + decay * (average - value)                   decay up to 0.5
/// ```
///
/// Each with one fused multiply-add: where average and value are the same they stay so, to the bit, for every decay. Source:
/// PyTorch's `get_ema_multi_avg_fn`.
///
/// # Errors
/// [`Error::Argument`] unless the decay is 0 to 1; [`Error::Shape`] if the lengths differ.
///
/// ```
/// use gemmule::{Context, kernel::update::moving_average};
/// let mut average = [1.0_f32, 2.0];
/// moving_average(&Context::detect()?, 0.75, &mut average, &[5.0, 2.0])?;
/// assert_eq!(average, [2.0, 2.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn moving_average<T: Element>(
    context: &Context,
    decay: f64,
    average: &mut [T],
    values: &[T],
) -> Result<()> {
    check_rate("moving_average", "decay", decay)?;
    if decay > 1.0 {
        return Err(Error::argument("moving_average", "decay", "at most 1", decay));
    }
    if average.len() != values.len() {
        let expected = format!("{} elements, as in the values", values.len());
        return Err(Error::shape("moving_average", "average", expected, average.len()));
    }
    share::run::<T, _>(context, Average { decay, average, values });
    Ok(())
}

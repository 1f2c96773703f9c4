//! Products element by element.

use super::compiled::compiled;
use super::element::Element;
use super::share::{self, cut};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd};

struct Multiply<'a, T> {
    factors: &'a [T],
    data: &'a mut [T],
}

cut! { ['a, T] Multiply<'a, T>: per_unit(data, factors) keep() }

impl<T: Element> Kernel for Multiply<'_, T> {
    type Output = ();
    // A plain loop, which the compiler makes vectors of.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (x, &factor) in self.data.iter_mut().zip(self.factors) {
            *x *= factor;
        }
    }
}

/// `data[i] *= factors[i]`, correctly rounded: the same bits on every instruction set. Infinity times 0 is NaN, and NaN stays.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
///
/// ```
/// use gemmule::{Context, kernel::multiply};
/// let mut x = [1.0_f32, 2.0, 3.0];
/// multiply(&Context::detect()?, &[2.0, 0.0, 0.5], &mut x)?;
/// assert_eq!(x, [2.0, 0.0, 1.5]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn multiply<T: Element>(context: &Context, factors: &[T], data: &mut [T]) -> Result<()> {
    if factors.len() != data.len() {
        return Err(Error::shape("multiply", "factors", data.len(), factors.len()));
    }
    share::run::<T, _>(context, Multiply { factors, data });
    Ok(())
}

compiled! {
    Multiply<'a, Self>,
}

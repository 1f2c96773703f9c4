//! The max-norm constraint.

use super::clip::{self, Times, check_limit};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::{loops, reduce};
use crate::simd::{Kernel, Simd};

pub(super) struct MaxNorm<'a, T> {
    matrix: &'a mut [T],
    width: usize,
    limit: f64,
}

impl<T: Element> Kernel for MaxNorm<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.matrix.chunks_exact_mut(self.width) {
            let mut scale = 1.0;
            let norm = loop {
                let sum = clip::squares(row, scale);
                match clip::other_scale(sum) {
                    Some(other) if scale == 1.0 => scale = other,
                    _ => break sum.sqrt() / scale,
                }
            };
            if norm.is_finite() && norm > self.limit {
                loops::map_in_place(s, Times(T::from_f64(self.limit / norm)), row);
            }
        }
    }
}

/// The max-norm constraint (Srebro and Shraibman 2005; Keras' `MaxNorm`): a row whose L2 norm is above `limit` is
/// multiplied by `limit / norm`; others keep their bits. After it no norm is above `limit * (1 + 2^-22)` in f32,
/// `1 + 2^-51` in f64.
///
/// (Keras divides by norm + 1e-7, and so shrinks every row a little.) Norms are as [`norm`](super::norm)'s. A row that
/// holds NaN or infinity stays as it is.
///
/// Shapes: `matrix` (rows, width).
///
/// # Errors
/// [`Error::Argument`] if `width` is 0 or `limit` is not above 0; [`Error::Shape`] if there is a part of a row.
///
/// ```
/// use gemmule::{Context, kernel::update::max_norm};
/// let mut weights = [3.0_f32, 4.0, 0.6, 0.8];
/// max_norm(&Context::detect()?, &mut weights, 2, 2.5)?;
/// assert_eq!(weights, [1.5, 2.0, 0.6, 0.8]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn max_norm<T: Element>(context: &Context, matrix: &mut [T], width: usize, limit: f64) -> Result<()> {
    reduce::check_width("max_norm", width)?;
    check_limit("max_norm", "limit", limit)?;
    if !matrix.len().is_multiple_of(width) {
        let expected = format!("a multiple of the width {width}");
        return Err(Error::shape("max_norm", "matrix", expected, matrix.len()));
    }
    T::run(context, MaxNorm { matrix, width, limit });
    Ok(())
}

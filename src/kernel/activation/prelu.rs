//! ReLU with learnt slopes.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::tree_sum;
use crate::kernel::math::check_length;
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd, Vector};

/// Rows and slopes that fit each other: the width of a row as the kernels cut it.
fn check<T>(operation: &'static str, input: &[T], slopes: &[T], width: usize) -> Result<()> {
    if width == 0 || !input.len().is_multiple_of(width) {
        return Err(Error::shape(operation, "input", format_args!("rows of {width} elements"), input.len()));
    }
    if slopes.len() != 1 && slopes.len() != width {
        return Err(Error::shape(operation, "slopes", format_args!("1 or {width} elements"), slopes.len()));
    }
    Ok(())
}

/// `output[i][j] = input[i][j]` where that is positive, else `slopes[j] input[i][j]`, over rows of `width`.
///
/// There is a slope for each column, or one for all. NaN gives NaN.
///
/// ```
/// use gemmule::Context;
/// use gemmule::kernel::activation::{prelu, prelu_backward};
///
/// let (context, x, slopes) = (Context::detect()?, [-2.0_f32, -2.0, 3.0, 3.0], [0.25, 0.5]);
/// let (mut y, mut d_x, mut d_slopes) = ([0.0; 4], [0.0; 4], [0.0; 2]);
/// prelu(&context, &x, &slopes, 2, &mut y)?;
/// assert_eq!(y, [-0.5, -1.0, 3.0, 3.0]);
/// prelu_backward(&context, &x, &slopes, 2, &[1.0; 4], &mut d_x, &mut d_slopes)?;
/// assert_eq!((d_x, d_slopes), ([0.25, 0.5, 1.0, 1.0], [-2.0, -2.0]));
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the input is not rows of `width`, if there are neither 1 nor `width` slopes, or if the output differs
/// in length.
pub fn prelu<T: Element>(
    context: &Context,
    input: &[T],
    slopes: &[T],
    width: usize,
    output: &mut [T],
) -> Result<()> {
    check("prelu", input, slopes, width)?;
    check_length("prelu", "output", input.len(), output.len())?;
    share::run::<T, _>(context, Prelu { input, slopes, width, output });
    Ok(())
}

/// The gradients of [`prelu`]: `d_input = d_output` where the input is positive, else `slopes[j] d_output`; and
/// `d_slopes[j]`, the sum of `d_output input` over the rows whose input is not positive.
///
/// A column's sum is one chain over the rows in order. With one slope for all, the sum of the whole array is taken in an
/// order that depends on its length alone.
///
/// # Errors
/// As [`prelu`].
pub fn prelu_backward<T: Element>(
    context: &Context,
    input: &[T],
    slopes: &[T],
    width: usize,
    d_output: &[T],
    d_input: &mut [T],
    d_slopes: &mut [T],
) -> Result<()> {
    check("prelu_backward", input, slopes, width)?;
    check_length("prelu_backward", "d_output", input.len(), d_output.len())?;
    check_length("prelu_backward", "d_input", input.len(), d_input.len())?;
    check_length("prelu_backward", "d_slopes", slopes.len(), d_slopes.len())?;
    T::run(context, PreluBackward { input, slopes, width, d_output, d_input, d_slopes });
    Ok(())
}

pub struct Prelu<'a, T> {
    input: &'a [T],
    slopes: &'a [T],
    width: usize,
    output: &'a mut [T],
}

cut! { ['a, T] Prelu<'a, T>: wide(width: output, input) per_unit() keep(slopes, width) }

impl<T: Element> Kernel for Prelu<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let zero = T::V::<S>::splat(s, T::zero());
        let one_slope = self.slopes.len() == 1;
        let width = if one_slope { self.input.len().max(1) } else { self.width };
        let all = T::V::<S>::splat(s, self.slopes[0]);
        for (row, out) in self.input.chunks(width).zip(self.output.chunks_mut(width)) {
            for (block, (x, y)) in row.chunks(lanes).zip(out.chunks_mut(lanes)).enumerate() {
                let slope =
                    if one_slope { all } else { T::V::<S>::load_first(s, &self.slopes[block * lanes..]) };
                let x = T::V::<S>::load_first(s, x);
                x.select(x.greater(zero), x * slope).store_first(y);
            }
        }
    }
}

pub struct PreluBackward<'a, T> {
    input: &'a [T],
    slopes: &'a [T],
    width: usize,
    d_output: &'a [T],
    d_input: &'a mut [T],
    d_slopes: &'a mut [T],
}

impl<T: Element> Kernel for PreluBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let zero = T::V::<S>::splat(s, T::zero());
        let one_slope = self.slopes.len() == 1;
        let width = if one_slope { self.input.len().max(1) } else { self.width };
        let all = T::V::<S>::splat(s, self.slopes[0]);
        let mut sums = [zero; 4];
        self.d_slopes.fill(T::zero());
        let rows = self.input.chunks(width).zip(self.d_output.chunks(width));
        for ((row, d_row), out) in rows.zip(self.d_input.chunks_mut(width)) {
            let vectors = row.chunks(lanes).zip(d_row.chunks(lanes)).zip(out.chunks_mut(lanes));
            for (block, ((x, d), d_x)) in vectors.enumerate() {
                let slope =
                    if one_slope { all } else { T::V::<S>::load_first(s, &self.slopes[block * lanes..]) };
                let (x, d) = (T::V::<S>::load_first(s, x), T::V::<S>::load_first(s, d));
                let positive = x.greater(zero);
                d.select(positive, d * x.select(x.is_nan(), slope)).store_first(d_x);
                // Lanes past the end are zero times zero.
                let term = zero.select(positive, x * d);
                if one_slope {
                    sums[block % 4] = sums[block % 4] + term;
                } else {
                    let sum = &mut self.d_slopes[block * lanes..];
                    let count = sum.len().min(lanes);
                    (T::V::<S>::load_first(s, sum) + term).store_first(&mut sum[..count]);
                }
            }
        }
        if one_slope {
            self.d_slopes[0] = tree_sum::<T, S>((sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
    }
}

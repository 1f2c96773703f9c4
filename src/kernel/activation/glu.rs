//! The gated linear unit: one half of a row times the sigmoid of the other.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::math::{Elementary, check_length};
use crate::kernel::share::{self, Halves, cut};
use crate::simd::{Kernel, Simd, Vector};

/// The number of outputs, if the input is rows of twice `width`.
fn check<T>(operation: &'static str, input: &[T], width: usize) -> Result<usize> {
    if width == 0 || !input.len().is_multiple_of(2) || !(input.len() / 2).is_multiple_of(width) {
        let expected = format_args!("rows of two halves of {width} elements");
        return Err(Error::shape(operation, "input", expected, input.len()));
    }
    Ok(input.len() / 2)
}

/// `output[i][j] = a sigmoid(b)` for a = `input[i][j]` and b = `input[i][width + j]`: rows of two halves in, rows of `width`
/// out (Dauphin et al. 2017; PyTorch's order of the halves).
///
/// f32: the sigmoid's 0.94 ULP and one rounding. NaN in either half gives NaN.
///
/// ```
/// use gemmule::Context;
/// use gemmule::kernel::activation::{glu, glu_backward};
///
/// let (context, x) = (Context::detect()?, [8.0_f32, 0.0]);
/// let (mut y, mut d_x) = ([0.0; 1], [0.0; 2]);
/// glu(&context, &x, 1, &mut y)?;
/// glu_backward(&context, &x, 1, &[1.0], &mut d_x)?;
/// assert_eq!((y, d_x), ([4.0], [0.5, 2.0]));
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the input is not rows of twice `width`, or the output not half as long.
pub fn glu<T: Element>(context: &Context, input: &[T], width: usize, output: &mut [T]) -> Result<()> {
    let expected = check("glu", input, width)?;
    check_length("glu", "output", expected, output.len())?;
    share::run::<T, _>(context, Glu { input: Twice(input), width, output });
    Ok(())
}

/// The gradient of [`glu`]: `d sigmoid(b)` for the first half, `d a (y - y²)` with y = sigmoid(b) for the second.
///
/// # Errors
/// As [`glu`]; `d_output` is as long as its output, `d_input` as its input.
pub fn glu_backward<T: Element>(
    context: &Context,
    input: &[T],
    width: usize,
    d_output: &[T],
    d_input: &mut [T],
) -> Result<()> {
    let expected = check("glu_backward", input, width)?;
    check_length("glu_backward", "d_output", expected, d_output.len())?;
    check_length("glu_backward", "d_input", input.len(), d_input.len())?;
    let (input, d_input) = (Twice(input), Twice(d_input));
    share::run::<T, _>(context, GluBackward { input, width, d_output, d_input });
    Ok(())
}

/// Two halves for each row of the output.
pub struct Twice<H>(H);

impl<H: Halves> Halves for Twice<H> {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let (first, rest) = self.0.halves(2 * units);
        (Self(first), Self(rest))
    }
}

pub struct Glu<'a, T> {
    input: Twice<&'a [T]>,
    width: usize,
    output: &'a mut [T],
}

cut! { ['a, T] Glu<'a, T>: wide(width: output, input) per_unit() keep(width) }

impl<T: Element> Kernel for Glu<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        for (row, out) in
            self.input.0.chunks_exact(2 * self.width).zip(self.output.chunks_exact_mut(self.width))
        {
            let (values, gates) = row.split_at(self.width);
            for ((a, b), y) in values.chunks(lanes).zip(gates.chunks(lanes)).zip(out.chunks_mut(lanes)) {
                let gate = <T as Elementary>::sigmoid(s, T::V::<S>::load_first(s, b));
                (T::V::<S>::load_first(s, a) * gate).store_first(y);
            }
        }
    }
}

pub struct GluBackward<'a, T> {
    input: Twice<&'a [T]>,
    width: usize,
    d_output: &'a [T],
    d_input: Twice<&'a mut [T]>,
}

cut! { ['a, T] GluBackward<'a, T>: wide(width: d_output, input, d_input) per_unit() keep(width) }

impl<T: Element> Kernel for GluBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let double = 2 * self.width;
        let rows = self.input.0.chunks_exact(double).zip(self.d_input.0.chunks_exact_mut(double));
        for ((row, d_row), d_out) in rows.zip(self.d_output.chunks_exact(self.width)) {
            let ((values, gates), (d_values, d_gates)) =
                (row.split_at(self.width), d_row.split_at_mut(self.width));
            let inputs = values.chunks(lanes).zip(gates.chunks(lanes)).zip(d_out.chunks(lanes));
            let outputs = d_values.chunks_mut(lanes).zip(d_gates.chunks_mut(lanes));
            for (((a, b), d), (d_a, d_b)) in inputs.zip(outputs) {
                let gate = <T as Elementary>::sigmoid(s, T::V::<S>::load_first(s, b));
                let d = T::V::<S>::load_first(s, d);
                (d * gate).store_first(d_a);
                let slope = (-gate).mul_add(gate, gate);
                (d * T::V::<S>::load_first(s, a) * slope).store_first(d_b);
            }
        }
    }
}

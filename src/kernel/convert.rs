//! Bytes to floats, and one float to the other.

use super::compiled::compiled;
use super::element::{Element, Floats};
use super::share::{self, cut};
use super::stages;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd};

struct BytesToFloats<'a, T> {
    bytes: &'a [u8],
    scale: T,
    offset: T,
    out: &'a mut [T],
}

cut! { ['a, T: Copy] BytesToFloats<'a, T>: per_unit(out, bytes) keep(scale, offset) }

impl<T: Element> Kernel for BytesToFloats<'_, T> {
    type Output = ();
    // A plain loop: the compiler makes vectors of it with the instruction set's features, since this body is
    // inlined into a function that has them. Nothing here is fused, so every set gives the same bits.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (out, &byte) in self.out.iter_mut().zip(self.bytes) {
            *out = num_traits::cast::<u8, T>(byte).unwrap_or_default() * self.scale + self.offset;
        }
    }
}

/// `out[i] = bytes[i] * scale + offset`: the product rounded, then the sum rounded, the same bits on every
/// instruction set, the portable one too. Pixels become `0..=1` with a scale of 1/255 and no offset.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
///
/// ```
/// use gemmule::{Context, kernel::convert};
/// let mut pixels = [0.0_f32; 3];
/// convert::bytes_to_floats(&Context::detect()?, &[0, 128, 255], 1.0 / 255.0, -0.5, &mut pixels)?;
/// assert_eq!(pixels, [-0.5, 128.0 / 255.0 - 0.5, 0.5]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn bytes_to_floats<T: Element>(
    context: &Context,
    bytes: &[u8],
    scale: T,
    offset: T,
    out: &mut [T],
) -> Result<()> {
    check_lengths("bytes_to_floats", bytes.len(), out.len())?;
    share::run::<T, _>(context, BytesToFloats { bytes, scale, offset, out });
    Ok(())
}

struct Cast<'a, A, B>(&'a [A], &'a mut [B]);

impl<A: Element, B: Element> Kernel for Cast<'_, A, B> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (out, &x) in self.1.iter_mut().zip(self.0) {
            *out = B::from_f64(x.to_f64());
        }
    }
}

/// `out[i]` is the value of type `B` nearest to `input[i]`, to even on ties. Overflow gives infinity; NaN stays NaN.
///
/// # Errors
/// [`Error::Shape`] if the lengths differ.
pub fn cast<A: Element, B: Element>(context: &Context, input: &[A], out: &mut [B]) -> Result<()> {
    check_lengths("cast", input.len(), out.len())?;
    match A::floats(input) {
        Floats::Single(input) => B::run(context, Cast(input, out)),
        Floats::Double(input) => B::run(context, Cast(input, out)),
    }
    Ok(())
}

/// The result has as many elements as there are to be.
pub(super) fn check_lengths(operation: &'static str, expected: usize, out: usize) -> Result<()> {
    if out != expected {
        return Err(Error::shape(operation, "out", expected, out));
    }
    Ok(())
}

compiled! {
    BytesToFloats<'a, Self>,
    Cast<'a, f32, Self>,
    Cast<'a, f64, Self>,
    stages::Run<'a, u8, Self>,
    stages::Run<'a, f32, Self>,
    stages::Run<'a, f64, Self>,
}

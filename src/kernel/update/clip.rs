//! Clipping of gradients, by value and by their norm.
//!
//! Norms are summed in f64: the square of an f32 is exact there, neither overflows nor underflows, and 2^40 of them
//! do not overflow either. Where the squares of f64 leave the range, they are summed again, scaled by a power of two.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::element::Element;
use crate::kernel::loops::{self, Unary};
use crate::kernel::reduce::{self, SUM_CHUNK};
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd, Vector};

/// How a model's gradients are bounded before each update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Clip {
    /// Not at all.
    #[default]
    Off,
    /// Each to `-limit ..= limit`: see [`clip_value`].
    Value(f64),
    /// All together to this norm: see [`clip_norm`]. The factor is applied within the update's pass.
    Norm(f64),
}

impl Clip {
    /// # Errors
    /// [`Error::Argument`] if the limit is not above 0.
    pub(crate) fn check(self, operation: &'static str) -> Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Value(limit) => check_limit(operation, "value", limit),
            Self::Norm(limit) => check_limit(operation, "norm", limit),
        }
    }
}

/// `value` is above 0; infinity stands for no limit.
pub(super) fn check_limit(operation: &'static str, what: &'static str, value: f64) -> Result<()> {
    if value.is_nan() || value <= 0.0 {
        return Err(Error::argument(operation, what, "above 0", value));
    }
    Ok(())
}

/// x between `-limit` and `limit`; NaN stays.
#[inline(always)]
pub(super) fn clamp<T: Element, S: Simd>(s: S, x: T::V<S>, limit: T) -> T::V<S> {
    let limit = T::V::<S>::splat(s, limit);
    (-limit).max_or_other(limit.min_or_other(x))
}

#[derive(Clone, Copy)]
struct Clamp<T>(T);

impl<T: Element> Unary<T> for Clamp<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        clamp(s, x, self.0)
    }
}

pub(super) struct ClipValue<'a, T> {
    x: &'a mut [T],
    limit: T,
}

cut! { ['a, T: Copy] ClipValue<'a, T>: per_unit(x) keep(limit) }

impl<T: Element> Kernel for ClipValue<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        loops::map_in_place(s, Clamp(self.limit), self.x);
    }
}

#[derive(Clone, Copy)]
pub(super) struct Times<T>(pub T);

impl<T: Element> Unary<T> for Times<T> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        x * T::V::<S>::splat(s, self.0)
    }
}

pub(super) struct Scale<'a, T> {
    x: &'a mut [T],
    factor: T,
}

cut! { ['a, T: Copy] Scale<'a, T>: per_unit(x) keep(factor) }

impl<T: Element> Kernel for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        loops::map_in_place(s, Times(self.factor), self.x);
    }
}

/// Partial sums of a chunk: element i goes to sum i modulo this.
const SUMS: usize = 32;

/// The sum of `(scale * x)^2` in f64, in an order that depends on the length alone: chunks of [`SUM_CHUNK`] elements; in each,
/// 32 interleaved sums that meet in a fixed tree; the chunks in order. Parts that are zeros may be left out, which changes no bit.
///
/// Multiplications and additions that round on their own: the same bits on every instruction set.
pub(crate) struct Squares {
    scale: f64,
    total: f64,
    /// Those of the chunk in hand.
    sums: [f64; SUMS],
    chunk: usize,
}

impl Squares {
    pub(crate) fn new(scale: f64) -> Self {
        Self { scale, total: 0.0, sums: [0.0; SUMS], chunk: 0 }
    }

    /// Adds `x`, the elements from `at` on: behind all that were added before.
    pub(crate) fn add<T: Element>(&mut self, context: &Context, at: usize, x: &[T]) {
        T::run(context, AddSquares { squares: self, at, x });
    }

    #[inline(always)]
    fn extend<T: Element>(&mut self, mut at: usize, mut rest: &[T]) {
        while !rest.is_empty() {
            if at / SUM_CHUNK != self.chunk {
                self.end_chunk();
                self.chunk = at / SUM_CHUNK;
            }
            let (x, behind) = rest.split_at(rest.len().min(SUM_CHUNK - at % SUM_CHUNK));
            let first = at % SUMS;
            let (head, blocks) = x.split_at(x.len().min((SUMS - first) % SUMS));
            let mut sums = self.sums;
            add(&mut sums[first..], head, self.scale);
            let mut blocks = blocks.chunks_exact(SUMS);
            for block in &mut blocks {
                add(&mut sums, block, self.scale);
            }
            add(&mut sums, blocks.remainder(), self.scale);
            self.sums = sums;
            (at, rest) = (at + x.len(), behind);
        }
    }

    #[inline(always)]
    fn end_chunk(&mut self) {
        let mut sums = std::mem::replace(&mut self.sums, [0.0; SUMS]);
        let mut half = SUMS / 2;
        while half > 0 {
            for i in 0..half {
                sums[i] += sums[i + half];
            }
            half /= 2;
        }
        self.total += sums[0];
    }

    /// The sum of all.
    #[inline(always)]
    pub(crate) fn sum(mut self) -> f64 {
        self.end_chunk();
        self.total
    }
}

/// [`Squares`] of all of `x`.
#[inline(always)]
pub(super) fn squares<T: Element>(x: &[T], scale: f64) -> f64 {
    let mut squares = Squares::new(scale);
    squares.extend(0, x);
    squares.sum()
}

pub(super) struct AddSquares<'a, T> {
    squares: &'a mut Squares,
    at: usize,
    x: &'a [T],
}

impl<T: Element> Kernel for AddSquares<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.squares.extend(self.at, self.x);
    }
}

#[inline(always)]
fn add<T: Element>(sums: &mut [f64], x: &[T], scale: f64) {
    for (sum, &x) in sums.iter_mut().zip(x) {
        let x = scale * x.to_f64();
        *sum += x * x;
    }
}

/// The scale for another try if `sum`, made with scale 1, left the range where its root is good.
#[inline(always)]
pub(crate) fn other_scale(sum: f64) -> Option<f64> {
    // 2^-900, 2^1000; 2^600, 2^-600.
    const LEAST: f64 = f64::from_bits((1023 - 900) << 52);
    const MOST: f64 = f64::from_bits((1023 + 1000) << 52);
    const UP: f64 = f64::from_bits((1023 + 600) << 52);
    const DOWN: f64 = f64::from_bits((1023 - 600) << 52);
    if sum < LEAST {
        Some(UP)
    } else if sum > MOST {
        Some(DOWN)
    } else {
        None
    }
}

/// The sum of squares of `x`, scaled by `scale` before.
fn sum_squares<T: Element>(context: &Context, x: &[T], scale: f64) -> f64 {
    let mut squares = Squares::new(scale);
    squares.add(context, 0, x);
    squares.sum()
}

fn norm_of<'a, T: Element>(context: &Context, arrays: impl Iterator<Item = &'a [T]> + Clone) -> f64 {
    let sum = |scale| arrays.clone().map(|x| sum_squares(context, x, scale)).fold(0.0, |a, b| a + b);
    let plain = sum(1.0);
    match other_scale(plain) {
        None => plain.sqrt(),
        Some(scale) => sum(scale).sqrt() / scale,
    }
}

/// The L2 norm of all arrays together: the root of the sum of all squares, in f64. 0 if there are no elements. NaN if one
/// is NaN, else infinite if one is.
///
/// The order of the sum depends on the lengths alone; the relative error is below 1e-13 for arrays of up to 2^30
/// elements, however large or small they are.
///
/// ```
/// use gemmule::{Context, kernel::update::norm};
/// let (weights, bias) = ([3e30_f32, 0.0], [-4e30]);
/// assert!((norm(&Context::detect()?, &[&weights, &bias]) / 5e30 - 1.0).abs() < 1e-6);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn norm<T: Element>(context: &Context, arrays: &[&[T]]) -> f64 {
    norm_of(context, arrays.iter().copied())
}

/// The factor that brings gradients of norm `norm` to at most `max_norm`: `min(1, max_norm / (norm + 1e-6))`, as in
/// PyTorch's `clip_grad_norm_`. NaN if the norm is, 0 if it is infinite.
///
/// For [`Step::gradient_scale`](super::Step::gradient_scale): so clipping costs no pass of its own.
pub fn norm_scale(norm: f64, max_norm: f64) -> f64 {
    let factor = max_norm / (norm + 1e-6);
    if factor > 1.0 { 1.0 } else { factor }
}

/// Multiplies all gradients by [`norm_scale`] of the [`norm`] of all arrays together. Returns the norm before.
///
/// # Errors
/// [`Error::Argument`] unless `max_norm` is above 0 (infinity only measures). [`Error::NonFinite`] names the first
/// gradient that is NaN or infinite, or the norm, if it alone overflows; nothing is changed then.
///
/// ```
/// use gemmule::{Context, kernel::update::clip_norm};
/// let (mut weights, mut bias) = ([30.0_f32, 0.0], [40.0]);
/// let norm = clip_norm(&Context::detect()?, &mut [&mut weights, &mut bias], 5.0)?;
/// assert_eq!(norm, 50.0);
/// assert!((weights[0] - 3.0).abs() < 1e-6 && (bias[0] - 4.0).abs() < 1e-6);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn clip_norm<T: Element>(context: &Context, gradients: &mut [&mut [T]], max_norm: f64) -> Result<f64> {
    check_limit("clip_norm", "max_norm", max_norm)?;
    let norm = norm_of(context, gradients.iter().map(|x| &**x));
    if !norm.is_finite() {
        for (i, array) in gradients.iter().enumerate() {
            if let Some(index) = reduce::first_non_finite(context, array) {
                let (place, value) = (format!("array {i}"), array[index].to_f64());
                return Err(Error::NonFinite { what: "gradient", place, step: 0, index, value });
            }
        }
        let place = "all arrays".to_owned();
        return Err(Error::NonFinite { what: "gradient norm", place, step: 0, index: 0, value: norm });
    }
    let factor = norm_scale(norm, max_norm);
    if factor < 1.0 {
        for x in gradients {
            share::run::<T, _>(context, Scale { x, factor: T::from_f64(factor) });
        }
    }
    Ok(norm)
}

/// Clips each gradient to `-limit ..= limit`, as PyTorch's `clip_grad_value_`. NaN stays.
///
/// # Errors
/// [`Error::Argument`] unless `limit` is above 0.
///
/// ```
/// use gemmule::{Context, kernel::update::clip_value};
/// let mut gradients = [0.5_f32, -7.0, f32::INFINITY];
/// clip_value(&Context::detect()?, &mut gradients, 2.0)?;
/// assert_eq!(gradients, [0.5, -2.0, 2.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn clip_value<T: Element>(context: &Context, gradients: &mut [T], limit: f64) -> Result<()> {
    check_limit("clip_value", "limit", limit)?;
    share::run::<T, _>(context, ClipValue { x: gradients, limit: T::from_f64(limit) });
    Ok(())
}

//! The cosine of two vectors as a loss.

use super::super::element::Element;
use super::super::loops;
use super::{Rows, check_finite, check_per_row};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Simd, Vector};

/// Options of [`cosine`]. By default every pair is to be alike: the loss is 1 - cos.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cosine<'a, T> {
    /// For each row 1 if its vectors are to be alike, -1 if not.
    pub targets: Option<&'a [T]>,
    /// A cosine up to this is unlike enough: from -1 to 1.
    pub margin: f64,
}

/// What is added to the squared lengths, so that a vector of zeros has a cosine, 0.
const EPSILON: f64 = 1e-12;

/// The kernel.
pub struct CosineRows<'a, T> {
    a: &'a [T],
    b: &'a [T],
    targets: Option<&'a [T]>,
    margin: T,
    weights: Option<&'a [T]>,
    width: usize,
    scale: T,
    losses: &'a mut [T],
    gradient: Option<&'a mut [T]>,
}

cut! { ['a, T: Copy] CosineRows<'a, T>: per_unit(losses, targets, weights) wide(width: a, b, gradient) keep(margin, width, scale) }

impl<T: Element> Kernel for CosineRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { a, b, targets, margin, weights, width, scale, losses, mut gradient } = self;
        for (i, (loss, (a, b))) in
            losses.iter_mut().zip(a.chunks_exact(width).zip(b.chunks_exact(width))).enumerate()
        {
            let weight = weights.map_or(T::one(), |weights| weights[i]);
            let alike = targets.is_none_or(|targets| targets[i] > T::zero());
            let d = gradient.as_deref_mut().map(|d| &mut d[i * width..(i + 1) * width]);
            if weight == T::zero() {
                *loss = T::zero();
                if let Some(d) = d {
                    d.fill(T::zero());
                }
                continue;
            }
            let pair = Pair::new(s, a, b);
            let cosine = pair.cosine();
            let distance = if alike { T::one() - cosine } else { cosine - margin };
            // Where vectors are unlike enough, nothing; NaN stays.
            let enough = !alike && distance <= T::zero();
            *loss = weight * if enough { T::zero() } else { distance };
            if let Some(d) = d {
                if enough {
                    d.fill(weight * T::zero());
                } else {
                    let scale = scale * weight;
                    pair.gradient(s, a, b, if alike { -scale } else { scale }, d);
                }
            }
        }
    }
}

/// What the cosine of a row is made of.
struct Pair<T> {
    dot: T,
    /// The squared lengths and epsilon.
    squares: [T; 2],
    /// The powers of two that the vectors were multiplied by.
    shrinks: [T; 2],
}

impl<T: Element> Pair<T> {
    #[inline(always)]
    fn new<S: Simd>(s: S, a: &[T], b: &[T]) -> Self {
        let one = T::one();
        let pair = Self::shrunk(s, a, b, [one, one]);
        if pair.squares[0].is_finite() && pair.squares[1].is_finite() && pair.dot.is_finite() {
            return pair;
        }
        // A square overflowed (or there is an infinity, or NaN, which no factor takes away). This power of two, three
        // quarters of the range, brings all numbers where squares and their sums are in range; the cosine does not
        // change, since epsilon is nothing beside such lengths.
        let exponent: u64 = if size_of::<T>() == 4 { 96 } else { 768 };
        let shrink = T::from_f64(f64::from_bits((1023 - exponent) << 52));
        let part = |square: T| if square.is_finite() { one } else { shrink };
        Self::shrunk(s, a, b, pair.squares.map(part))
    }

    #[inline(always)]
    fn shrunk<S: Simd>(s: S, a: &[T], b: &[T], shrinks: [T; 2]) -> Self {
        let lanes = T::V::<S>::LANES;
        let zero = T::V::<S>::splat(s, T::zero());
        let [by_a, by_b] = shrinks.map(|shrink| T::V::<S>::splat(s, shrink));
        let (mut dot, mut square_a, mut square_b) = (zero, zero, zero);
        let mut at = 0;
        while at < a.len() {
            let end = a.len().min(at + lanes);
            let x = T::V::<S>::load_first(s, &a[at..end]) * by_a;
            let y = T::V::<S>::load_first(s, &b[at..end]) * by_b;
            dot = x.mul_add(y, dot);
            square_a = x.mul_add(x, square_a);
            square_b = y.mul_add(y, square_b);
            at = end;
        }
        let epsilon = T::from_f64(EPSILON);
        Self {
            dot: loops::tree_sum::<T, S>(dot),
            squares: [
                loops::tree_sum::<T, S>(square_a) + epsilon,
                loops::tree_sum::<T, S>(square_b) + epsilon,
            ],
            shrinks,
        }
    }

    /// The product of the lengths: of their roots, since that of the squares may overflow.
    #[inline(always)]
    fn length(&self) -> T {
        num_traits::Float::sqrt(self.squares[0]) * num_traits::Float::sqrt(self.squares[1])
    }

    #[inline(always)]
    fn cosine(&self) -> T {
        self.dot / self.length()
    }

    /// The cosine's derivative by `a`, times `scale`: (b - a dot / |a|²) / (|a| |b|).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, a: &[T], b: &[T], scale: T, d: &mut [T]) {
        let lanes = T::V::<S>::LANES;
        let [by_a, by_b] = self.shrinks.map(|shrink| T::V::<S>::splat(s, shrink));
        let along = T::V::<S>::splat(s, -(self.dot / self.squares[0]));
        let factor = T::V::<S>::splat(s, scale * self.shrinks[0] / self.length());
        let mut at = 0;
        while at < a.len() {
            let end = a.len().min(at + lanes);
            let x = T::V::<S>::load_first(s, &a[at..end]) * by_a;
            let y = T::V::<S>::load_first(s, &b[at..end]) * by_b;
            (x.mul_add(along, y) * factor).store_first(&mut d[at..end]);
            at = end;
        }
    }
}

/// The cosine loss of pairs of vectors: `losses[i] = 1 - cos(a[i], b[i])` where they are to be alike (the target 1, or no
/// targets), `max(0, cos - margin)` where they are not (-1), and `d_a`, its gradient by `a`; for that by `b`, call it with
/// `a` and `b` exchanged.
///
/// `cos(a, b) = a b / sqrt((a a + 1e-12) (b b + 1e-12))`, PyTorch's `cosine_embedding_loss`: a vector of zeros has the
/// cosine 0. No finite values overflow. By rounding, 1 - cos of parallel vectors may be a little below 0.
///
/// Shapes: `a`, `b` and `d_a` (rows, width), `targets` and `losses` (rows).
///
/// # Errors
/// As all [losses](super), and [`Error::Argument`] if a target is neither 1 nor -1 or the margin not from -1 to 1.
///
/// ```
/// use gemmule::{Context, kernel::loss::{self, Cosine, Rows}};
/// let (context, mut losses) = (Context::detect()?, [0.0_f32; 2]);
/// let (a, b) = ([3.0, 4.0, 1.0, 0.0], [4.0, 3.0, 2.0, 0.0]);
/// loss::cosine(&context, &a, &b, &Cosine::default(), Rows::mean(2), &mut losses, None)?;
/// assert!((losses[0] - 0.04).abs() < 1e-6 && losses[1] == 0.0);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn cosine<T: Element>(
    context: &Context,
    a: &[T],
    b: &[T],
    options: &Cosine<'_, T>,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d_a: Option<&mut [T]>,
) -> Result<T> {
    const OPERATION: &str = "cosine";
    let operands = [("a", a.len()), ("b", b.len())];
    rows.check(OPERATION, losses.len(), operands, ("d_a", d_a.as_deref()))?;
    let Cosine { targets, margin } = *options;
    if !(-1.0..=1.0).contains(&margin) {
        return Err(Error::argument(OPERATION, "margin", "from -1 to 1", margin));
    }
    let margin = check_finite(OPERATION, "margin", margin)?;
    if let Some(targets) = targets {
        check_per_row(OPERATION, "targets", targets.len(), losses.len())?;
        if let Some(row) = targets.iter().position(|target| target.abs() != T::one()) {
            let got = format!("{} in row {row}", targets[row]);
            return Err(Error::argument(OPERATION, "targets", "1 or -1", got));
        }
    }
    let finish = rows.start(|| rows.total_weight(context, losses.len()));
    let (width, weights, scale, gradient) = (rows.width, rows.sample_weights, finish.scale(), d_a);
    share::run::<T, _>(
        context,
        CosineRows { a, b, targets, margin, weights, width, scale, losses: &mut *losses, gradient },
    );
    Ok(finish.finish(context, losses))
}

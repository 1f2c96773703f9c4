//! What cross-entropy compares with: classes or a distribution, with or without weights.

use super::super::element::Element;
use super::super::loops;
use crate::kernel::share::Halves;
use crate::simd::{Simd, Vector};

/// A row's targets t, already smoothed and weighted by class, and how much the row counts.
pub trait Targets<T: Element>: Copy {
    /// False if every row counts 1.
    const WEIGHTED: bool;

    /// How much the row counts. 0: it takes no part, and nothing else is asked of it.
    #[inline(always)]
    fn weight(self, _row: usize) -> T {
        T::one()
    }

    /// The lanes `start..start + LANES` of t, of which `count` are in the row; zeros past it. Mark it
    /// `#[inline(always)]`.
    fn load<S: Simd>(self, s: S, row: usize, start: usize, count: usize) -> T::V<S>;

    /// The sum of t, and that of t * (max - x). Mark it `#[inline(always)]`.
    #[inline(always)]
    fn sums<S: Simd>(self, s: S, row: usize, x: &[T], max: T) -> (T, T) {
        let lanes = T::V::<S>::LANES;
        let zero = T::V::<S>::splat(s, T::zero());
        let minus_half = T::V::<S>::splat(s, T::from_f64(-0.5));
        let half_max = T::V::<S>::splat(s, max * T::from_f64(0.5));
        let (mut weight, mut rest) = (zero, zero);
        let mut start = 0;
        for x in x.chunks(lanes) {
            let t = self.load(s, row, start, x.len());
            start += x.len();
            // Half of max - x cannot overflow. A target of zero takes nothing from a logit of minus infinity.
            let term = load_up_to::<T, S>(s, x).mul_add(minus_half, half_max) * t;
            weight = weight + t;
            rest = rest + zero.select(t.equal(zero), term);
        }
        let rest = loops::tree_sum::<T, S>(rest);
        (loops::tree_sum::<T, S>(weight), rest + rest)
    }

    /// Makes the gradient of the exponentials in `d`: (e * factor - t) * scale. Mark it `#[inline(always)]`.
    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, row: usize, d: &mut [T], factor: T::V<S>, scale: T::V<S>) {
        let lanes = T::V::<S>::LANES;
        let mut parts = d.chunks_exact_mut(lanes);
        let mut start = 0;
        for part in &mut parts {
            let t = self.load(s, row, start, lanes);
            (T::V::<S>::load(s, part).mul_add(factor, -t) * scale).store(part);
            start += lanes;
        }
        let tail = parts.into_remainder();
        if !tail.is_empty() {
            let t = self.load(s, row, start, tail.len());
            (T::V::<S>::load_first(s, tail).mul_add(factor, -t) * scale).store_first(tail);
        }
    }
}

/// A vector or what is left of a row: whole vectors skip the mask, which is slow on some CPUs.
#[inline(always)]
fn load_up_to<T: Element, S: Simd>(s: S, x: &[T]) -> T::V<S> {
    if x.len() >= T::V::<S>::LANES { T::V::<S>::load(s, x) } else { T::V::<S>::load_first(s, x) }
}

/// True in the lane of `class`, if it is among those from `start` on.
#[inline(always)]
pub(super) fn lane_of<T: Element, S: Simd>(s: S, class: u32, start: usize) -> loops::MaskOf<T, S> {
    // Exact where it matters: a difference within the vector.
    let lane = T::from_f64(f64::from(class) - start as f64);
    loops::lane_numbers::<T, S>(s).equal(T::V::<S>::splat(s, lane))
}

/// One class per row, all alike.
#[derive(Clone, Copy)]
pub struct Classes<'a>(pub &'a [u32]);

impl Halves for Classes<'_> {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let (first, rest) = self.0.halves(units);
        (Self(first), Self(rest))
    }
}

impl<T: Element> Targets<T> for Classes<'_> {
    const WEIGHTED: bool = false;

    #[inline(always)]
    fn load<S: Simd>(self, s: S, row: usize, start: usize, _: usize) -> T::V<S> {
        let hit = lane_of::<T, S>(s, self.0[row], start);
        T::V::<S>::splat(s, T::one()).select(hit, T::V::<S>::splat(s, T::zero()))
    }

    #[inline(always)]
    fn sums<S: Simd>(self, _: S, row: usize, x: &[T], max: T) -> (T, T) {
        (T::one(), max - x[self.0[row] as usize])
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, row: usize, d: &mut [T], factor: T::V<S>, scale: T::V<S>) {
        // Only the class has a target.
        let class = self.0[row] as usize;
        let e = T::V::<S>::splat(s, d[class]);
        let lanes = T::V::<S>::LANES;
        let mut parts = d.chunks_exact_mut(lanes);
        for part in &mut parts {
            (T::V::<S>::load(s, part) * factor * scale).store(part);
        }
        let tail = parts.into_remainder();
        if !tail.is_empty() {
            (T::V::<S>::load_first(s, tail) * factor * scale).store_first(tail);
        }
        let d_class = e.mul_add(factor, -T::V::<S>::splat(s, T::one())) * scale;
        d_class.store_first(&mut d[class..=class]);
    }
}

/// One class per row, of which one may be ignored, with weights of samples and classes.
#[derive(Clone, Copy)]
pub struct WeightedClasses<'a, T> {
    pub classes: &'a [u32],
    pub ignore: Option<u32>,
    pub class_weights: Option<&'a [T]>,
    pub sample_weights: Option<&'a [T]>,
}

impl<T> Halves for WeightedClasses<'_, T> {
    fn bytes(&self) -> usize {
        self.classes.bytes() + self.sample_weights.bytes()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let classes = self.classes.halves(units);
        let weights = self.sample_weights.halves(units);
        (
            Self { classes: classes.0, sample_weights: weights.0, ..self },
            Self { classes: classes.1, sample_weights: weights.1, ..self },
        )
    }
}

impl<T: Element> WeightedClasses<'_, T> {
    /// How much the sample counts; 0 if its class is ignored.
    #[inline(always)]
    pub fn sample_weight(self, row: usize) -> T {
        if Some(self.classes[row]) == self.ignore {
            return T::zero();
        }
        self.sample_weights.map_or(T::one(), |weights| weights[row])
    }

    /// How much the class counts.
    #[inline(always)]
    pub fn class_weight(self, row: usize) -> T {
        self.class_weights.map_or(T::one(), |weights| weights[self.classes[row] as usize])
    }

    /// The sum of both weights' products.
    pub fn total_weight(self) -> f64 {
        let mut sum = 0.0;
        for row in 0..self.classes.len() {
            let weight = self.sample_weight(row);
            if weight != T::zero() {
                sum += weight.to_f64() * self.class_weight(row).to_f64();
            }
        }
        sum
    }
}

impl<T: Element> Targets<T> for WeightedClasses<'_, T> {
    const WEIGHTED: bool = true;

    #[inline(always)]
    fn weight(self, row: usize) -> T {
        let weight = self.sample_weight(row);
        if weight == T::zero() { weight } else { weight * self.class_weight(row) }
    }

    #[inline(always)]
    fn load<S: Simd>(self, s: S, row: usize, start: usize, count: usize) -> T::V<S> {
        Targets::<T>::load(Classes(self.classes), s, row, start, count)
    }

    #[inline(always)]
    fn sums<S: Simd>(self, s: S, row: usize, x: &[T], max: T) -> (T, T) {
        Classes(self.classes).sums(s, row, x, max)
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, row: usize, d: &mut [T], factor: T::V<S>, scale: T::V<S>) {
        Classes(self.classes).gradient(s, row, d, factor, scale);
    }
}

/// The same, smoothed: a share of each target is spread over all classes.
#[derive(Clone, Copy)]
pub struct SmoothClasses<'a, T> {
    pub plain: WeightedClasses<'a, T>,
    /// What is left to the class.
    pub kept: T,
    /// What each class gets.
    pub spread: T,
}

impl<T: Copy> Halves for SmoothClasses<'_, T> {
    fn bytes(&self) -> usize {
        self.plain.bytes()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let (first, rest) = self.plain.halves(units);
        (Self { plain: first, ..self }, Self { plain: rest, ..self })
    }
}

impl<T: Element> Targets<T> for SmoothClasses<'_, T> {
    const WEIGHTED: bool = true;

    #[inline(always)]
    fn weight(self, row: usize) -> T {
        self.plain.sample_weight(row)
    }

    #[inline(always)]
    fn load<S: Simd>(self, s: S, row: usize, start: usize, count: usize) -> T::V<S> {
        let zero = T::V::<S>::splat(s, T::zero());
        let hit = lane_of::<T, S>(s, self.plain.classes[row], start);
        let t = T::V::<S>::splat(s, self.kept).select(hit, zero) + T::V::<S>::splat(s, self.spread);
        weigh(s, t, self.plain.class_weights, start, count)
    }
}

/// t times the classes' weights, if there are any; zeros past the row.
#[inline(always)]
fn weigh<T: Element, S: Simd>(
    s: S,
    t: T::V<S>,
    class_weights: Option<&[T]>,
    start: usize,
    count: usize,
) -> T::V<S> {
    let t = match class_weights {
        Some(weights) => t * load_up_to::<T, S>(s, &weights[start..start + count]),
        None => t,
    };
    if count >= T::V::<S>::LANES {
        return t;
    }
    t.select(loops::first_lanes::<T, S>(s, count), T::V::<S>::splat(s, T::zero()))
}

/// A weight for each class of each row.
#[derive(Clone, Copy)]
pub struct Soft<'a, T> {
    pub targets: &'a [T],
    pub width: usize,
}

impl<T> Halves for Soft<'_, T> {
    fn bytes(&self) -> usize {
        self.targets.bytes()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let (first, rest) = self.targets.halves(units * self.width);
        (Self { targets: first, ..self }, Self { targets: rest, ..self })
    }
}

impl<T: Element> Targets<T> for Soft<'_, T> {
    const WEIGHTED: bool = false;

    #[inline(always)]
    fn load<S: Simd>(self, s: S, row: usize, start: usize, count: usize) -> T::V<S> {
        let at = row * self.width + start;
        load_up_to::<T, S>(s, &self.targets[at..at + count])
    }
}

/// The same, smoothed and with weights of samples and classes.
#[derive(Clone, Copy)]
pub struct WeightedSoft<'a, T> {
    pub plain: Soft<'a, T>,
    /// What the targets are multiplied by.
    pub kept: T,
    /// What is added to each.
    pub spread: T,
    pub class_weights: Option<&'a [T]>,
    pub sample_weights: Option<&'a [T]>,
}

impl<T: Copy> Halves for WeightedSoft<'_, T> {
    fn bytes(&self) -> usize {
        self.plain.bytes() + self.sample_weights.bytes()
    }
    fn halves(self, units: usize) -> (Self, Self) {
        let plain = self.plain.halves(units);
        let weights = self.sample_weights.halves(units);
        (
            Self { plain: plain.0, sample_weights: weights.0, ..self },
            Self { plain: plain.1, sample_weights: weights.1, ..self },
        )
    }
}

impl<T: Element> Targets<T> for WeightedSoft<'_, T> {
    const WEIGHTED: bool = true;

    #[inline(always)]
    fn weight(self, row: usize) -> T {
        self.sample_weights.map_or(T::one(), |weights| weights[row])
    }

    #[inline(always)]
    fn load<S: Simd>(self, s: S, row: usize, start: usize, count: usize) -> T::V<S> {
        let t = self.plain.load(s, row, start, count);
        let t = t.mul_add(T::V::<S>::splat(s, self.kept), T::V::<S>::splat(s, self.spread));
        weigh(s, t, self.class_weights, start, count)
    }
}

//! Sums of two arrays with a weight each, and brighter or darker pixels.

use super::compiled::compiled;
use super::element::Element;
use crate::context::Context;
use crate::simd::{Kernel, Simd};

pub(crate) struct Blend<'a, T> {
    data: &'a mut [T],
    weight: T,
    other: &'a [T],
    other_weight: T,
}

impl<T: Element> Kernel for Blend<'_, T> {
    type Output = ();
    // A plain loop, which the compiler makes vectors of; nothing is fused.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (x, &y) in self.data.iter_mut().zip(self.other) {
            *x = self.weight * *x + self.other_weight * y;
        }
    }
}

/// `data[i] = weight data[i] + other_weight other[i]`, for as many as both have: each product and the sum rounded, the same bits
/// on every instruction set.
pub(crate) fn blend<T: Element>(context: &Context, data: &mut [T], weight: T, other: &[T], other_weight: T) {
    T::run(context, Blend { data, weight, other, other_weight });
}

pub(crate) struct Adjust<'a, T> {
    data: &'a mut [T],
    factor: T,
    offset: T,
    low: T,
    high: T,
}

impl<T: Element> Kernel for Adjust<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for x in self.data {
            let value = self.factor * *x + self.offset;
            let value = if value < self.low { self.low } else { value };
            *x = if value > self.high { self.high } else { value };
        }
    }
}

/// `data[i] = factor data[i] + offset`, held to `low..=high`; NaN stays. The same bits on every instruction set.
pub(crate) fn adjust<T: Element>(
    context: &Context,
    data: &mut [T],
    factor: T,
    offset: T,
    [low, high]: [T; 2],
) {
    T::run(context, Adjust { data, factor, offset, low, high });
}

compiled! {
    Blend<'a, Self>,
    Adjust<'a, Self>,
}

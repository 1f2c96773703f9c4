//! The formulas, one type each, so that the choice is made outside of loops and parameters stay in registers.

use super::formulas::Formulas;
use crate::kernel::element::Element;
use crate::kernel::math::Elementary;
use crate::simd::{Mask, Simd, Vector};

/// An activation's formula and its derivative.
pub(crate) trait Curve<T: Element>: Copy {
    /// f(x). Mark it `#[inline(always)]`.
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S>;
    /// f', from what [`Activation::saved`](super::Activation::saved) says. Mark it `#[inline(always)]`.
    fn derivative<S: Simd>(self, s: S, saved: T::V<S>) -> T::V<S>;
}

/// A number as a sum of two: f32 alone would round a parameter.
pub(crate) fn split<T: Element>(value: f64) -> (T, T) {
    let high = T::from_f64(value);
    (high, T::from_f64(value - high.to_f64()))
}

#[inline(always)]
fn splat<T: Element, S: Simd>(s: S, value: f64) -> T::V<S> {
    T::V::<S>::splat(s, T::from_f64(value))
}

/// `x * (high + low)`, rounded once but for a few thousandths of an ULP.
#[inline(always)]
fn times<T: Element, S: Simd>(s: S, x: T::V<S>, (high, low): (T, T)) -> T::V<S> {
    x.mul_add(T::V::<S>::splat(s, high), x * T::V::<S>::splat(s, low))
}

/// `value`, but NaN where `x` is.
#[inline(always)]
fn unless_nan<T: Element, S: Simd>(value: T::V<S>, x: T::V<S>) -> T::V<S> {
    x.select(x.is_nan(), value)
}

#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl<T: Element> Curve<T> for Identity {
    #[inline(always)]
    fn value<S: Simd>(self, _: S, x: T::V<S>) -> T::V<S> {
        x
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, _: T::V<S>) -> T::V<S> {
        splat::<T, S>(s, 1.0)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Exponential;

impl<T: Element> Curve<T> for Exponential {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        <T as Elementary>::exp(s, x)
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, _: S, y: T::V<S>) -> T::V<S> {
        y
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl<T: Element> Curve<T> for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        <T as Elementary>::sigmoid(s, x)
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, _: S, y: T::V<S>) -> T::V<S> {
        (-y).mul_add(y, y)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl<T: Element> Curve<T> for Tanh {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        <T as Elementary>::tanh(s, x)
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        (-y).mul_add(y, splat::<T, S>(s, 1.0))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl<T: Element> Curve<T> for Relu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        splat::<T, S>(s, 0.0).max_or_other(x)
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        let zero = splat::<T, S>(s, 0.0);
        // Zero, or NaN where y is.
        splat::<T, S>(s, 1.0).select(y.greater(zero), zero.max_or_other(y))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu<T> {
    pub slope: T,
}

impl<T: Element> Curve<T> for LeakyRelu<T> {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        x.select(x.greater(splat::<T, S>(s, 0.0)), x * T::V::<S>::splat(s, self.slope))
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        let slope = unless_nan::<T, S>(T::V::<S>::splat(s, self.slope), y);
        splat::<T, S>(s, 1.0).select(y.greater(splat::<T, S>(s, 0.0)), slope)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Relu6;

impl<T: Element> Curve<T> for Relu6 {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        splat::<T, S>(s, 6.0).min_or_other(splat::<T, S>(s, 0.0).max_or_other(x))
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        let zero = splat::<T, S>(s, 0.0);
        let inside = y.greater(zero).and(splat::<T, S>(s, 6.0).greater(y));
        splat::<T, S>(s, 1.0).select(inside, unless_nan::<T, S>(zero, y))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Elu<T> {
    pub alpha: (T, T),
}

/// y + alpha where y is not positive, else `above`.
#[inline(always)]
fn elu_derivative<T: Element, S: Simd>(s: S, y: T::V<S>, alpha: (T, T), above: T::V<S>) -> T::V<S> {
    let below = (y + T::V::<S>::splat(s, alpha.0)) + T::V::<S>::splat(s, alpha.1);
    above.select(y.greater(splat::<T, S>(s, 0.0)), below)
}

impl<T: Element> Curve<T> for Elu<T> {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        x.select(x.greater(splat::<T, S>(s, 0.0)), T::scaled_exp_m1(s, x, None, self.alpha))
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        elu_derivative::<T, S>(s, y, self.alpha, splat::<T, S>(s, 1.0))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Selu;

impl Selu {
    // The numbers of Klambauer et al. 2017, as PyTorch writes them.
    const SCALE: f64 = 1.050_700_987_355_480_5;
    const SCALE_ALPHA: f64 = 1.758_099_340_847_376_6;
}

impl<T: Element> Curve<T> for Selu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        // The low part's product is of a finite number: it is negative, and infinity less infinity no number.
        let (high, low) = split::<T>(Self::SCALE);
        let finite = splat::<T, S>(s, f32::MAX.into()).min_or_other(x);
        let above = x.mul_add(T::V::<S>::splat(s, high), finite * T::V::<S>::splat(s, low));
        let below = T::scaled_exp_m1(s, x, None, split(Self::SCALE_ALPHA));
        above.select(x.greater(splat::<T, S>(s, 0.0)), below)
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        elu_derivative::<T, S>(s, y, split(Self::SCALE_ALPHA), splat::<T, S>(s, Self::SCALE))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Celu<T> {
    pub alpha: (T, T),
    /// 1 / alpha.
    pub inverse: (T, T),
}

impl<T: Element> Curve<T> for Celu<T> {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        let below = T::scaled_exp_m1(s, x, Some(self.inverse), self.alpha);
        x.select(x.greater(splat::<T, S>(s, 0.0)), below)
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        // (y + alpha) / alpha: 1 + y / alpha would lose what y near -alpha leaves.
        let inverse = T::V::<S>::splat(s, self.inverse.0);
        let one = splat::<T, S>(s, 1.0);
        let below = (y + T::V::<S>::splat(s, self.alpha.0)) + T::V::<S>::splat(s, self.alpha.1);
        one.select(y.greater(splat::<T, S>(s, 0.0)), below * inverse)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Softplus<T> {
    pub beta: T,
    /// 1 / beta.
    pub inverse: T,
}

impl<T: Element> Curve<T> for Softplus<T> {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        let y = <T as Elementary>::softplus(s, x * T::V::<S>::splat(s, self.beta));
        // Where beta x overflows, the result is x.
        x.select(y.equal(splat::<T, S>(s, f64::INFINITY)), y * T::V::<S>::splat(s, self.inverse))
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        -<T as Elementary>::exp_m1(s, -(y * T::V::<S>::splat(s, self.beta)))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Softsign;

impl<T: Element> Curve<T> for Softsign {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        // Above 2^60 it is 1 in both types: infinity need not be divided by itself.
        let limit = splat::<T, S>(s, (1_u64 << 60) as f64);
        let x = limit.min_or_other((-limit).max_or_other(x));
        x / (splat::<T, S>(s, 1.0) + x.abs())
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        let rest = splat::<T, S>(s, 1.0) - y.abs();
        rest * rest
    }
}

#[derive(Clone, Copy)]
pub(crate) struct HardSigmoid;

impl<T: Element> Curve<T> for HardSigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        let six = splat::<T, S>(s, 6.0);
        let x = six.min_or_other(splat::<T, S>(s, 0.0).max_or_other(x + splat::<T, S>(s, 3.0)));
        // A division takes longer, but without fused multiply-add the product would be rounded twice.
        if S::ISA.has_fma() { times::<T, S>(s, x, split(1.0 / 6.0)) } else { x / six }
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: T::V<S>) -> T::V<S> {
        let (zero, one) = (splat::<T, S>(s, 0.0), splat::<T, S>(s, 1.0));
        let inside = y.greater(zero).and(one.greater(y));
        splat::<T, S>(s, 1.0 / 6.0).select(inside, unless_nan::<T, S>(zero, y))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct HardSwish;

impl<T: Element> Curve<T> for HardSwish {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        // Not -infinity times zero.
        let x = splat::<T, S>(s, -3.0).max_or_other(x);
        x * Curve::<T>::value(HardSigmoid, s, x)
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        let three = splat::<T, S>(s, 3.0);
        let inside = x.mul_add(splat::<T, S>(s, 1.0 / 3.0), splat::<T, S>(s, 0.5));
        let above = splat::<T, S>(s, 1.0).select(x.greater_equal(three), inside);
        splat::<T, S>(s, 0.0).select((-three).greater_equal(x), above)
    }
}

macro_rules! from_formulas {
    ($($curve:ident, $from:ident::$value:ident, $derivative:ident;)*) => {$(
        #[derive(Clone, Copy)]
        pub(crate) struct $curve;

        impl<T: Element> Curve<T> for $curve {
            #[inline(always)]
            fn value<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
                <T as $from>::$value(s, x)
            }
            #[inline(always)]
            fn derivative<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
                <T as Formulas>::$derivative(s, x)
            }
        }
    )*};
}

from_formulas! {
    Silu, Formulas::silu, silu_derivative;
    Gelu, Elementary::gelu, gelu_derivative;
    GeluTanh, Formulas::gelu_tanh, gelu_tanh_derivative;
    Mish, Formulas::mish, mish_derivative;
}

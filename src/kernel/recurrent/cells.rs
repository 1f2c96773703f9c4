//! The cells' formulas, with PyTorch's gates in PyTorch's order. A prime is the state after the step, * the product of elements.
//!
//! ```text
//! RNN    h' = tanh(a)  or  max(a, 0)                                       a = x W_ih' + b_ih + h W_hh' + b_hh
//! LSTM   i = sigmoid(a_i)   f = sigmoid(a_f)   g = tanh(a_g)   o = sigmoid(a_o)                 a as above
//!        c' = f * c + i * g                    h' = o * tanh(c')
//! GRU    r = sigmoid(x_r + h_r)   z = sigmoid(x_z + h_z)   n = tanh(x_n + r * h_n)       x = x W_ih' + b_ih
//!        h' = (1 - z) * n + z * h                                                        h = h W_hh' + b_hh
//! ```
//!
//! Elman 1990; Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; Cho et al. 2014 as PyTorch and cuDNN have
//! it, with the reset after the product.

use super::{Cell, Gates, Kept, States};
use crate::kernel::element::Element;
use crate::kernel::math::Elementary;
use crate::simd::{Simd, Vector};

/// Kept: h' (then d_a), h.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rnn {
    /// max(a, 0) instead of tanh(a).
    pub relu: bool,
}

/// Kept: i, f, g, o (then their d_a), c, tanh(c'), h.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lstm;

/// Kept: n, r, z, h_n (then d_x_n, d_x_r = d_h_r, d_x_z = d_h_z, d_h_n), h: so what the product with W_hh takes stands together
/// in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gru;

#[inline(always)]
fn splat<T: Element, S: Simd>(s: S, value: f64) -> T::V<S> {
    T::V::<S>::splat(s, T::from_f64(value))
}

/// y (1 - y), the derivative of y = sigmoid(a).
#[inline(always)]
fn sigmoid_slope<T: Element, S: Simd>(y: T::V<S>) -> T::V<S> {
    (-y).mul_add(y, y)
}

/// 1 - y², the derivative of y = tanh(a).
#[inline(always)]
fn tanh_slope<T: Element, S: Simd>(s: S, y: T::V<S>) -> T::V<S> {
    (-y).mul_add(y, splat::<T, S>(s, 1.0))
}

impl<T: Element> Cell<T> for Rnn {
    const GATES: usize = 1;
    const STATES: usize = 1;
    const KEPT: usize = 2;
    const SUMS: usize = 1;

    #[inline(always)]
    fn forward<S: Simd>(self, s: S, gates: Gates<T, S>, states: States<T, S>) -> (States<T, S>, Kept<T, S>) {
        let zero = splat::<T, S>(s, 0.0);
        let h = if self.relu { gates[0].max(zero) } else { <T as Elementary>::tanh(s, gates[0]) };
        ([h, zero], [h, states[0], zero, zero, zero, zero, zero])
    }

    #[inline(always)]
    fn backward<S: Simd>(self, s: S, kept: Kept<T, S>, d_states: States<T, S>) -> (States<T, S>, Kept<T, S>) {
        let (h, zero) = (kept[0], splat::<T, S>(s, 0.0));
        let d = if self.relu {
            d_states[0].select(h.greater(zero), zero)
        } else {
            d_states[0] * tanh_slope::<T, S>(s, h)
        };
        ([zero, zero], [d, zero, zero, zero, zero, zero, zero])
    }
}

impl<T: Element> Cell<T> for Lstm {
    const GATES: usize = 4;
    const STATES: usize = 2;
    const KEPT: usize = 7;
    const SUMS: usize = 4;

    #[inline(always)]
    fn forward<S: Simd>(self, s: S, gates: Gates<T, S>, states: States<T, S>) -> (States<T, S>, Kept<T, S>) {
        let [h, c] = states;
        let (i, f) = (<T as Elementary>::sigmoid(s, gates[0]), <T as Elementary>::sigmoid(s, gates[1]));
        let (g, o) = (<T as Elementary>::tanh(s, gates[2]), <T as Elementary>::sigmoid(s, gates[3]));
        let next = f.mul_add(c, i * g);
        let tanh = <T as Elementary>::tanh(s, next);
        ([o * tanh, next], [i, f, g, o, c, tanh, h])
    }

    #[inline(always)]
    fn backward<S: Simd>(self, s: S, kept: Kept<T, S>, d_states: States<T, S>) -> (States<T, S>, Kept<T, S>) {
        let ([i, f, g, o, c, tanh, _], [d_h, d_next], zero) = (kept, d_states, splat::<T, S>(s, 0.0));
        let d_c = (d_h * o).mul_add(tanh_slope::<T, S>(s, tanh), d_next);
        let d_i = d_c * g * sigmoid_slope::<T, S>(i);
        let d_f = d_c * c * sigmoid_slope::<T, S>(f);
        let d_g = d_c * i * tanh_slope::<T, S>(s, g);
        let d_o = d_h * tanh * sigmoid_slope::<T, S>(o);
        ([zero, d_c * f], [d_i, d_f, d_g, d_o, zero, zero, zero])
    }
}

impl<T: Element> Cell<T> for Gru {
    const GATES: usize = 6;
    const STATES: usize = 1;
    const KEPT: usize = 5;
    const SUMS: usize = 4;

    #[inline(always)]
    fn forward<S: Simd>(self, s: S, gates: Gates<T, S>, states: States<T, S>) -> (States<T, S>, Kept<T, S>) {
        let ([x_r, x_z, x_n, h_r, h_z, h_n], h, zero) = (gates, states[0], splat::<T, S>(s, 0.0));
        let (r, z) = (<T as Elementary>::sigmoid(s, x_r + h_r), <T as Elementary>::sigmoid(s, x_z + h_z));
        let n = <T as Elementary>::tanh(s, r.mul_add(h_n, x_n));
        ([z.mul_add(h - n, n), zero], [n, r, z, h_n, h, zero, zero])
    }

    #[inline(always)]
    fn backward<S: Simd>(self, s: S, kept: Kept<T, S>, d_states: States<T, S>) -> (States<T, S>, Kept<T, S>) {
        let ([n, r, z, h_n, h, ..], d_h, zero) = (kept, d_states[0], splat::<T, S>(s, 0.0));
        let d_n = d_h * (splat::<T, S>(s, 1.0) - z) * tanh_slope::<T, S>(s, n);
        let d_z = d_h * (h - n) * sigmoid_slope::<T, S>(z);
        let d_r = d_n * h_n * sigmoid_slope::<T, S>(r);
        ([d_h * z, zero], [d_n, d_r, d_z, d_n * r, zero, zero, zero])
    }
}

//! The mean of each window, and its gradient.
//!
//! A window's elements are summed row by row, one chain for each channel, and the sum is divided: by a power of two as a product with
//! its reciprocal, which has the same bits.

use super::{Window, Windows, get, put};
use crate::context::Context;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector};

/// By what a window's sum is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Divisor {
    /// The elements inside of the input.
    Inside,
    /// These and those of the padding.
    Padded,
    /// This.
    Constant(f64),
}

impl Divisor {
    #[inline(always)]
    fn of(self, window: Window<'_>) -> f64 {
        match self {
            Self::Inside => (window.row.count * window.column.count) as f64,
            Self::Padded => window.row.size as f64 * window.column.size as f64,
            Self::Constant(value) => value,
        }
    }
}

/// A division that knows whether it is exact as a product.
#[derive(Clone, Copy)]
struct Quotient<T> {
    divisor: T,
    reciprocal: T,
    is_exact: bool,
}

impl<T: Element> Quotient<T> {
    #[inline(always)]
    fn new(divisor: f64) -> Self {
        let (divisor, reciprocal) = (T::from_f64(divisor), T::from_f64(1.0 / divisor));
        // Without a fraction, and far from where numbers end.
        let bits = divisor.to_f64().to_bits();
        let is_exact = bits << 12 == 0 && (bits >> 52 & 0x7ff).abs_diff(1023) < 100;
        Self { divisor, reciprocal, is_exact }
    }

    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
        if self.is_exact {
            x * T::V::<S>::splat(s, self.reciprocal)
        } else {
            x / T::V::<S>::splat(s, self.divisor)
        }
    }
}

/// The mean of each window of samples.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn average_forward<T: Element>(
    context: &Context,
    windows: &Windows,
    divisor: Divisor,
    input: &[T],
    output: &mut [T],
) {
    windows.check(input, output);
    T::run(context, AverageForward { windows, divisor, input, output });
}

/// The gradient by the inputs, from that by the outputs.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn average_backward<T: Element>(
    context: &Context,
    windows: &Windows,
    divisor: Divisor,
    d_output: &[T],
    d_input: &mut [T],
) {
    windows.check(d_input, d_output);
    T::run(context, AverageBackward { windows, divisor, d_output, d_input });
}

pub(crate) struct AverageForward<'a, T> {
    windows: &'a Windows,
    divisor: Divisor,
    input: &'a [T],
    output: &'a mut [T],
}

impl<T: Element> Kernel for AverageForward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = self.windows;
        let (inputs, outputs) = (w.input_len(), w.output_len());
        if outputs == 0 {
            return;
        }
        let lanes = T::V::<S>::LANES;
        for (x, y) in self.input.chunks_exact(inputs).zip(self.output.chunks_exact_mut(outputs)) {
            let mut out = 0;
            for &row in &w.rows.spans {
                for &column in &w.columns.spans {
                    let window = Window { w, row, column };
                    let quotient = Quotient::new(self.divisor.of(window));
                    let (mut channel, mut count) = (0, 4 * lanes);
                    while channel + count <= w.channels {
                        window.mean::<T, S, true, 4>(s, quotient, x, channel, &mut y[out..out + count]);
                        (channel, out) = (channel + count, out + count);
                    }
                    count = lanes;
                    while channel + count <= w.channels {
                        window.mean::<T, S, true, 1>(s, quotient, x, channel, &mut y[out..out + count]);
                        (channel, out) = (channel + count, out + count);
                    }
                    count = w.channels - channel;
                    if count > 0 {
                        window.mean::<T, S, false, 1>(s, quotient, x, channel, &mut y[out..out + count]);
                        out += count;
                    }
                }
            }
        }
    }
}

impl Window<'_> {
    /// The means of as many channels as `y` has, in V vectors.
    #[inline(always)]
    fn mean<T: Element, S: Simd, const FULL: bool, const V: usize>(
        self,
        s: S,
        quotient: Quotient<T>,
        x: &[T],
        channel: usize,
        y: &mut [T],
    ) {
        let lanes = T::V::<S>::LANES;
        let mut sums = [T::V::<S>::splat(s, T::zero()); V];
        for down in 0..self.row.count {
            let from = self.place(down) + channel;
            for right in 0..self.column.count {
                let from = from + right * self.step();
                let values = &x[from..from + y.len()];
                let mut v = 0;
                while v < V {
                    sums[v] = sums[v] + get::<T, S, FULL>(s, &values[v * lanes..]);
                    v += 1;
                }
            }
        }
        let mut v = 0;
        while v < V {
            put::<T, S, FULL>(quotient.apply(s, sums[v]), &mut y[v * lanes..]);
            v += 1;
        }
    }

    /// Adds the part of a vector of gradients to all elements inside of the window, or writes it there if they are in no other.
    #[inline(always)]
    fn share<T: Element, S: Simd, const FULL: bool>(
        self,
        s: S,
        quotient: Quotient<T>,
        dy: &[T],
        channel: usize,
        dx: &mut [T],
    ) {
        let part = quotient.apply(s, get::<T, S, FULL>(s, dy));
        for down in 0..self.row.count {
            let from = self.place(down) + channel;
            for right in 0..self.column.count {
                let from = from + right * self.step();
                let dx = &mut dx[from..from + dy.len()];
                let part = if self.w.disjoint { part } else { get::<T, S, FULL>(s, dx) + part };
                put::<T, S, FULL>(part, dx);
            }
        }
    }
}

pub(crate) struct AverageBackward<'a, T> {
    windows: &'a Windows,
    divisor: Divisor,
    d_output: &'a [T],
    d_input: &'a mut [T],
}

impl<T: Element> Kernel for AverageBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = self.windows;
        let (inputs, outputs) = (w.input_len(), w.output_len());
        if outputs == 0 {
            return;
        }
        let lanes = T::V::<S>::LANES;
        for (dx, dy) in self.d_input.chunks_exact_mut(inputs).zip(self.d_output.chunks_exact(outputs)) {
            if !w.covered {
                dx.fill(T::zero());
            }
            let mut out = 0;
            for &row in &w.rows.spans {
                for &column in &w.columns.spans {
                    let window = Window { w, row, column };
                    let quotient = Quotient::new(self.divisor.of(window));
                    let mut channel = 0;
                    while channel + lanes <= w.channels {
                        window.share::<T, S, true>(s, quotient, &dy[out..out + lanes], channel, dx);
                        (channel, out) = (channel + lanes, out + lanes);
                    }
                    let count = w.channels - channel;
                    if count > 0 {
                        window.share::<T, S, false>(s, quotient, &dy[out..out + count], channel, dx);
                        out += count;
                    }
                }
            }
        }
    }
}

//! The largest element of each window, and its gradient.
//!
//! As PyTorch: of equal elements the first one, row by row, is taken; if there is a NaN, the last of them. That rule is associative,
//! so windows may be gone through in any grouping that keeps the order. The number of the element within its window is kept for the
//! backward pass, which so needs neither inputs nor outputs: a byte would do, but with lanes as wide as the elements', the gradient
//! is one comparison and one selection for each element of the window.

use super::{Window, Windows, get, put};
use crate::context::Context;
use crate::kernel::activation::curve::{Curve, Relu};
use crate::kernel::element::Element;
use crate::simd::{Kernel, Mask, Simd, Vector};

/// Windows of more elements get their gradients one by one, others vector by vector.
const MOST_COMPARED: usize = 16;

/// The largest element of each window of samples, and its number in `kept` unless that is empty. What is outside of the input
/// counts as -infinity, and so does a window with no element inside. With `relu` it is max(x, 0) of the elements inside that are
/// compared.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn max_forward<T: Element>(
    context: &Context,
    windows: &Windows,
    relu: bool,
    input: &[T],
    output: &mut [T],
    kept: &mut [T],
) {
    windows.check(input, output);
    assert!(kept.is_empty() || kept.len() == output.len());
    T::run(context, MaxForward { windows, relu, input, output, kept });
}

/// The gradient by the inputs, from that by the outputs and what [`max_forward`] kept.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn max_backward<T: Element>(
    context: &Context,
    windows: &Windows,
    kept: &[T],
    d_output: &[T],
    d_input: &mut [T],
) {
    windows.check(d_input, d_output);
    assert_eq!(kept.len(), d_output.len());
    T::run(context, MaxBackward { windows, kept, d_output, d_input });
}

pub(crate) struct MaxForward<'a, T> {
    windows: &'a Windows,
    relu: bool,
    input: &'a [T],
    output: &'a mut [T],
    kept: &'a mut [T],
}

impl<T: Element> Kernel for MaxForward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match (self.kept.is_empty(), self.relu) {
            (true, false) => self.samples::<S, false, false>(s),
            (true, true) => self.samples::<S, false, true>(s),
            (false, false) => self.samples::<S, true, false>(s),
            (false, true) => self.samples::<S, true, true>(s),
        }
    }
}

impl<T: Element> MaxForward<'_, T> {
    #[inline(always)]
    fn samples<S: Simd, const KEEP: bool, const RELU: bool>(self, s: S) {
        let w = self.windows;
        let (inputs, outputs) = (w.input_len(), w.output_len());
        if outputs == 0 {
            return;
        }
        let mut all_kept = self.kept.chunks_exact_mut(outputs);
        for (x, y) in self.input.chunks_exact(inputs).zip(self.output.chunks_exact_mut(outputs)) {
            let kept = all_kept.next().unwrap_or_default();
            match w.pairs {
                true => pairs_forward::<T, S, KEEP, RELU>(s, w, x, y, kept),
                false => forward::<T, S, KEEP, RELU>(s, w, x, y, kept),
            }
        }
    }
}

/// A vector of what is compared, of as many elements as the slice has, or all lanes if FULL.
#[inline(always)]
fn compared<T: Element, S: Simd, const FULL: bool, const RELU: bool>(s: S, x: &[T]) -> T::V<S> {
    let x = get::<T, S, FULL>(s, x);
    if RELU { Curve::<T>::value(Relu, s, x) } else { x }
}

/// A value and its number, and the next: which of the two it is.
#[inline(always)]
fn larger<T: Element, S: Simd>(
    (value, number): (T::V<S>, T::V<S>),
    (next, next_number): (T::V<S>, T::V<S>),
) -> (T::V<S>, T::V<S>) {
    let is_next = next.greater(value).or(next.is_nan());
    (next.select(is_next, value), next_number.select(is_next, number))
}

/// A number as an element.
#[inline(always)]
fn number<T: Element, S: Simd>(s: S, number: usize) -> T::V<S> {
    T::V::<S>::splat(s, T::from_f64(number as f64))
}

/// One sample, any windows.
#[inline(always)]
fn forward<T: Element, S: Simd, const KEEP: bool, const RELU: bool>(
    s: S,
    w: &Windows,
    x: &[T],
    y: &mut [T],
    kept: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let mut out = 0;
    for &row in &w.rows.spans {
        for &column in &w.columns.spans {
            let window = Window { row, column, w };
            let (mut channel, mut count) = (0, 2 * lanes);
            while channel + count <= w.channels {
                window.largest::<T, S, KEEP, RELU, true, 2>(s, x, channel, count, out, y, kept);
                (channel, out) = (channel + count, out + count);
            }
            count = lanes;
            if channel + count <= w.channels {
                window.largest::<T, S, KEEP, RELU, true, 1>(s, x, channel, count, out, y, kept);
                (channel, out) = (channel + count, out + count);
            }
            count = w.channels - channel;
            if count > 0 {
                window.largest::<T, S, KEEP, RELU, false, 1>(s, x, channel, count, out, y, kept);
                out += count;
            }
        }
    }
}

impl Window<'_> {
    /// The largest elements of `count` channels, in V vectors, to `y` from place `out` on.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "where it is read and where it goes")]
    fn largest<T: Element, S: Simd, const KEEP: bool, const RELU: bool, const FULL: bool, const V: usize>(
        self,
        s: S,
        x: &[T],
        channel: usize,
        count: usize,
        out: usize,
        y: &mut [T],
        kept: &mut [T],
    ) {
        let lanes = T::V::<S>::LANES;
        let start = (T::V::<S>::splat(s, T::neg_infinity()), number::<T, S>(s, self.number(0)));
        let mut best = [start; V];
        for down in 0..self.row.count {
            let (from, at) = (self.place(down) + channel, self.number(down));
            for right in 0..self.column.count {
                let from = from + right * self.step();
                let values = &x[from..from + count];
                let at = if KEEP { number::<T, S>(s, at + right) } else { start.1 };
                let mut v = 0;
                while v < V {
                    best[v] =
                        larger::<T, S>(best[v], (compared::<T, S, FULL, RELU>(s, &values[v * lanes..]), at));
                    v += 1;
                }
            }
        }
        let y = &mut y[out..out + count];
        let mut v = 0;
        while v < V {
            put::<T, S, FULL>(best[v].0, &mut y[v * lanes..]);
            v += 1;
        }
        if KEEP {
            let kept = &mut kept[out..out + count];
            let mut v = 0;
            while v < V {
                put::<T, S, FULL>(best[v].1, &mut kept[v * lanes..]);
                v += 1;
            }
        }
    }
}

/// One sample, 2 x 2 windows side by side.
#[inline(always)]
fn pairs_forward<T: Element, S: Simd, const KEEP: bool, const RELU: bool>(
    s: S,
    w: &Windows,
    x: &[T],
    y: &mut [T],
    kept: &mut [T],
) {
    let (wide, narrow) = (w.columns.input * w.channels, w.columns.output() * w.channels);
    for (row, (x, y)) in x.chunks_exact(2 * wide).zip(y.chunks_exact_mut(narrow)).enumerate() {
        let (upper, lower) = x.split_at(wide);
        let upper = upper.chunks_exact(2 * w.channels);
        let windows = upper.zip(lower.chunks_exact(2 * w.channels)).zip(y.chunks_exact_mut(w.channels));
        if KEEP {
            let kept = kept[row * narrow..][..narrow].chunks_exact_mut(w.channels);
            for (((upper, lower), y), kept) in windows.zip(kept) {
                pair::<T, S, true, RELU>(s, w.channels, upper, lower, y, kept);
            }
        } else {
            for ((upper, lower), y) in windows {
                pair::<T, S, false, RELU>(s, w.channels, upper, lower, y, &mut []);
            }
        }
    }
}

/// All channels of a 2 x 2 window.
#[inline(always)]
fn pair<T: Element, S: Simd, const KEEP: bool, const RELU: bool>(
    s: S,
    channels: usize,
    upper: &[T],
    lower: &[T],
    y: &mut [T],
    kept: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let ((a, b), (c, d)) = (upper.split_at(channels), lower.split_at(channels));
    if channels < lanes {
        // Of which there are many, since there are few channels.
        let (value, number) = of_four::<T, S, false, RELU>(s, [a, b, c, d]);
        value.store_first(y);
        if KEEP {
            number.store_first(kept);
        }
        return;
    }
    let (mut a, mut b, mut c, mut d) =
        (a.chunks_exact(lanes), b.chunks_exact(lanes), c.chunks_exact(lanes), d.chunks_exact(lanes));
    let mut y = y.chunks_exact_mut(lanes);
    let mut kept = kept.chunks_exact_mut(lanes);
    // None of the others, which are as long, is taken from when the first one has ended.
    while let (Some(y), Some(a), Some(b), Some(c), Some(d)) =
        (y.next(), a.next(), b.next(), c.next(), d.next())
    {
        let (value, number) = of_four::<T, S, true, RELU>(s, [a, b, c, d]);
        value.store(y);
        if let (true, Some(kept)) = (KEEP, kept.next()) {
            number.store(kept);
        }
    }
    let y = y.into_remainder();
    if !y.is_empty() {
        let window = [a.remainder(), b.remainder(), c.remainder(), d.remainder()];
        let (value, number) = of_four::<T, S, false, RELU>(s, window);
        value.store_first(y);
        if KEEP {
            number.store_first(kept.into_remainder());
        }
    }
}

/// The largest elements of a vector of channels of a 2 x 2 window.
#[inline(always)]
fn of_four<T: Element, S: Simd, const FULL: bool, const RELU: bool>(
    s: S,
    [a, b, c, d]: [&[T]; 4],
) -> (T::V<S>, T::V<S>) {
    let upper = larger::<T, S>(
        (compared::<T, S, FULL, RELU>(s, a), number::<T, S>(s, 0)),
        (compared::<T, S, FULL, RELU>(s, b), number::<T, S>(s, 1)),
    );
    let lower = larger::<T, S>(
        (compared::<T, S, FULL, RELU>(s, c), number::<T, S>(s, 2)),
        (compared::<T, S, FULL, RELU>(s, d), number::<T, S>(s, 3)),
    );
    larger::<T, S>(upper, lower)
}

pub(crate) struct MaxBackward<'a, T> {
    windows: &'a Windows,
    kept: &'a [T],
    d_output: &'a [T],
    d_input: &'a mut [T],
}

impl<T: Element> Kernel for MaxBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let w = self.windows;
        let (inputs, outputs) = (w.input_len(), w.output_len());
        if outputs == 0 {
            return;
        }
        let samples = self.d_input.chunks_exact_mut(inputs).zip(self.d_output.chunks_exact(outputs));
        for ((dx, dy), kept) in samples.zip(self.kept.chunks_exact(outputs)) {
            if w.pairs {
                pairs_backward(s, w, kept, dy, dx);
                continue;
            }
            dx.fill(T::zero());
            if w.area() > MOST_COMPARED {
                scattered(w, kept, dy, dx);
            } else {
                backward(s, w, kept, dy, dx);
            }
        }
    }
}

/// One sample, any windows: `dx` is 0 before.
#[inline(always)]
fn backward<T: Element, S: Simd>(s: S, w: &Windows, kept: &[T], dy: &[T], dx: &mut [T]) {
    let lanes = T::V::<S>::LANES;
    let mut out = 0;
    for &row in &w.rows.spans {
        for &column in &w.columns.spans {
            let window = Window { row, column, w };
            let mut channel = 0;
            while channel + lanes <= w.channels {
                window.spread::<T, S, true>(s, kept, dy, out, channel, lanes, dx);
                (channel, out) = (channel + lanes, out + lanes);
            }
            let count = w.channels - channel;
            if count > 0 {
                window.spread::<T, S, false>(s, kept, dy, out, channel, count, dx);
                out += count;
            }
        }
    }
}

impl Window<'_> {
    /// Adds the gradients of a vector of channels to the elements that they belong to.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "where it is read and where it goes")]
    fn spread<T: Element, S: Simd, const FULL: bool>(
        self,
        s: S,
        kept: &[T],
        dy: &[T],
        out: usize,
        channel: usize,
        count: usize,
        dx: &mut [T],
    ) {
        let zero = T::V::<S>::splat(s, T::zero());
        let kept = get::<T, S, FULL>(s, &kept[out..out + count]);
        let dy = get::<T, S, FULL>(s, &dy[out..out + count]);
        for down in 0..self.row.count {
            let (from, at) = (self.place(down) + channel, self.number(down));
            for right in 0..self.column.count {
                let from = from + right * self.step();
                let dx = &mut dx[from..from + count];
                let part = dy.select(kept.equal(number::<T, S>(s, at + right)), zero);
                put::<T, S, FULL>(get::<T, S, FULL>(s, dx) + part, dx);
            }
        }
    }
}

/// One sample, large windows: element by element. `dx` is 0 before.
#[inline(always)]
fn scattered<T: Element>(w: &Windows, kept: &[T], dy: &[T], dx: &mut [T]) {
    let places =
        w.rows.spans.iter().flat_map(|row| w.columns.spans.iter().map(move |column| (*row, *column)));
    let windows = kept.chunks_exact(w.channels).zip(dy.chunks_exact(w.channels));
    for ((row, column), (kept, dy)) in places.zip(windows) {
        let window = Window { row, column, w };
        for (channel, (&kept, &dy)) in kept.iter().zip(dy).enumerate() {
            let kept = kept.to_f64() as usize;
            let (down, right) = (kept / w.columns.kernel, kept % w.columns.kernel);
            // A window that is all padding has no element.
            if down.wrapping_sub(row.first) < row.count && right.wrapping_sub(column.first) < column.count {
                dx[window.place(down - row.first) + (right - column.first) * window.step() + channel] += dy;
            }
        }
    }
}

/// One sample, 2 x 2 windows side by side.
#[inline(always)]
fn pairs_backward<T: Element, S: Simd>(s: S, w: &Windows, kept: &[T], dy: &[T], dx: &mut [T]) {
    let (wide, narrow) = (w.columns.input * w.channels, w.columns.output() * w.channels);
    let mut rows = dx.chunks_exact_mut(2 * wide);
    for ((dx, dy), kept) in (&mut rows).zip(dy.chunks_exact(narrow)).zip(kept.chunks_exact(narrow)) {
        let (upper, lower) = dx.split_at_mut(wide);
        let mut upper = upper.chunks_exact_mut(2 * w.channels);
        let mut lower = lower.chunks_exact_mut(2 * w.channels);
        let outputs = dy.chunks_exact(w.channels).zip(kept.chunks_exact(w.channels));
        for ((upper, lower), (dy, kept)) in (&mut upper).zip(&mut lower).zip(outputs) {
            pair_backward(s, w.channels, kept, dy, upper, lower);
        }
        // A last column of its own is in no window; nor is a last row.
        upper.into_remainder().fill(T::zero());
        lower.into_remainder().fill(T::zero());
    }
    rows.into_remainder().fill(T::zero());
}

/// All channels of a 2 x 2 window.
#[inline(always)]
fn pair_backward<T: Element, S: Simd>(
    s: S,
    channels: usize,
    kept: &[T],
    dy: &[T],
    upper: &mut [T],
    lower: &mut [T],
) {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    let numbers: [T::V<S>; 4] =
        [number::<T, S>(s, 0), number::<T, S>(s, 1), number::<T, S>(s, 2), number::<T, S>(s, 3)];
    let ((a, b), (c, d)) = (upper.split_at_mut(channels), lower.split_at_mut(channels));
    if channels < lanes {
        let (kept, dy) = (T::V::<S>::load_first(s, kept), T::V::<S>::load_first(s, dy));
        for (part, number) in [a, b, c, d].into_iter().zip(numbers) {
            dy.select(kept.equal(number), zero).store_first(part);
        }
        return;
    }
    let mut parts = [a, b, c, d].map(|part| part.chunks_exact_mut(lanes));
    let (mut kept, mut dy) = (kept.chunks_exact(lanes), dy.chunks_exact(lanes));
    while let (Some(kept), Some(dy)) = (kept.next(), dy.next()) {
        let (kept, dy) = (T::V::<S>::load(s, kept), T::V::<S>::load(s, dy));
        for (part, &number) in parts.iter_mut().zip(&numbers) {
            if let Some(part) = part.next() {
                dy.select(kept.equal(number), zero).store(part);
            }
        }
    }
    let (kept, dy) = (kept.remainder(), dy.remainder());
    if !dy.is_empty() {
        let (kept, dy) = (T::V::<S>::load_first(s, kept), T::V::<S>::load_first(s, dy));
        for (part, number) in parts.into_iter().zip(numbers) {
            dy.select(kept.equal(number), zero).store_first(part.into_remainder());
        }
    }
}

//! Pooling over windows of channels-last samples: the largest element, or the mean, of each channel.
//!
//! ```text
//! sample    rows x columns x channels, vectors along the channels
//! windows   of each axis on its own, as spans: where a window's first element inside lies, how many are inside
//!
//!              0 1 2 3 4 5 6         kernel 3, stride 2, padding 1: out = floor((7 + 2 - 3) / 2) + 1 = 4
//!            . o o                   start 0, count 2, first 1 (element 0 of the kernel is padding)
//!                o o o               start 1, count 3, first 0
//!                    o o o
//!                        o o .       start 5, count 2
//! ```
//!
//! Adaptive pooling has spans of other lengths, global pooling one span, one-dimensional pooling one row: all run the same code.
//! The commonest case, 2 x 2 windows side by side, has a loop of its own.

mod average;
mod max;
#[cfg(test)]
mod tests;

use super::compiled::compiled;
use super::element::Element;
use crate::simd::{Simd, Vector};
use average::{AverageBackward, AverageForward};
use max::{MaxBackward, MaxForward};
use std::fmt;

pub(crate) use average::{Divisor, average_backward, average_forward};
pub(crate) use max::{max_backward, max_forward};

/// The elements of an axis that a window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first one inside.
    pub start: usize,
    /// How many are inside, a step apart.
    pub count: usize,
    /// The number in the kernel of the first one inside.
    pub first: usize,
    /// How many there are with the padding, but none beyond it.
    pub size: usize,
}

/// The windows along an axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    input: usize,
    /// Numbers of elements of a window begin anew after so many.
    kernel: usize,
    /// The distance of a window's elements.
    step: usize,
    spans: Vec<Span>,
}

/// The options of an axis, with PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
    pub ceil_mode: bool,
}

/// The largest size along an axis: beyond it nothing fits in memory, and below it no sum or product overflows.
const MOST: usize = 1 << 28;

/// The largest output of adaptive pooling that is larger than its input: memory is not taken because an option says so.
const MOST_ADAPTIVE: usize = 1 << 20;

/// So many spans, if memory holds them.
fn collected(count: usize, span: impl Fn(usize) -> Span) -> Result<Vec<Span>, (String, String)> {
    let mut spans = Vec::new();
    let refused = |_| ("as many windows as memory holds".to_owned(), count.to_string());
    spans.try_reserve_exact(count).map_err(refused)?;
    spans.extend((0..count).map(span));
    Ok(spans)
}

impl Axis {
    /// Windows of one size, as PyTorch places them: `floor((input + 2 padding - dilation (kernel - 1) - 1) / stride) + 1` of them;
    /// with `ceil_mode` the ceiling, but none that begins beyond the input and the padding before it.
    ///
    /// # Errors
    /// What does not fit, with the arithmetic: what is expected and what came. `name` is the axis', for example `height`.
    pub(crate) fn new(name: &str, input: usize, options: Options) -> Result<Self, (String, String)> {
        let Options { kernel, stride, padding, dilation, ceil_mode } = options;
        let fault = |expected: &str, got: String| Err((expected.to_owned(), got));
        if kernel == 0 || stride == 0 || dilation == 0 {
            let got = format!("kernel {kernel}, stride {stride}, dilation {dilation}");
            return fault("kernel, stride and dilation of at least 1", got);
        }
        if [input, kernel, stride, padding, dilation].into_iter().any(|size| size > MOST) {
            let got = format!(
                "input {input}, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}"
            );
            return fault("sizes of at most 2^28", got);
        }
        let width = dilation.saturating_mul(kernel - 1).saturating_add(1);
        let dilated = if dilation > 1 {
            format!("kernel {kernel} with dilation {dilation} ({dilation} x {} + 1 = {width})", kernel - 1)
        } else {
            format!("kernel {kernel}")
        };
        if padding > width / 2 {
            return fault(
                "a padding of at most half of the kernel",
                format!("padding {padding} for {dilated}"),
            );
        }
        let padded = input + 2 * padding;
        if width > padded {
            let fit = format!("does not fit input {input} with padding {padding}");
            return Err((
                format!("a {name} of at least {}", width - 2 * padding),
                format!("{input} ({dilated} {fit}: {input} + 2 x {padding} = {padded})"),
            ));
        }
        let mut output = (padded - width) / stride + 1;
        if ceil_mode {
            output = (padded - width).div_ceil(stride) + 1;
            if (output - 1) * stride >= input + padding {
                output -= 1;
            }
        }
        let span = |at: usize| {
            // Positions are counted from the padding's beginning.
            let begin = at * stride;
            let first = padding.saturating_sub(begin).div_ceil(dilation);
            let start = begin + first * dilation - padding;
            let inside = input.saturating_sub(start).div_ceil(dilation);
            let size = (begin + width).min(padded) - begin;
            Span { start, count: inside.min(kernel.saturating_sub(first)), first, size }
        };
        Ok(Self { input, kernel, step: dilation, spans: collected(output, span)? })
    }

    /// So many windows that cover all of the input: window i from `floor(i input / output)` to `ceil((i + 1) input / output)`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn adaptive(input: usize, output: usize) -> Result<Self, (String, String)> {
        let most = input.clamp(MOST_ADAPTIVE, MOST);
        if output == 0 || output > most || input > MOST {
            return Err((format!("an output size from 1 to {most}"), format!("{output} for input {input}")));
        }
        let span = |at: usize| {
            let start = (at as u128 * input as u128 / output as u128) as usize;
            let end = ((at as u128 + 1) * input as u128).div_ceil(output as u128) as usize;
            Span { start, count: end - start, first: 0, size: end - start }
        };
        let spans = collected(output, span)?;
        let kernel = spans.iter().map(|span| span.count).max().unwrap_or(0);
        Ok(Self { input, kernel, step: 1, spans })
    }

    /// The axis that an input without it has.
    pub(crate) fn point() -> Self {
        let spans = vec![Span { start: 0, count: 1, first: 0, size: 1 }];
        Self { input: 1, kernel: 1, step: 1, spans }
    }

    pub(crate) fn output(&self) -> usize {
        self.spans.len()
    }

    /// No element is in two windows.
    fn is_disjoint(&self) -> bool {
        self.step == 1 && self.spans.windows(2).all(|pair| pair[0].start + pair[0].count <= pair[1].start)
    }

    /// Elements 0 and 1, 2 and 3, and so on.
    fn is_pairs(&self) -> bool {
        let pair = |(at, span): (usize, &Span)| span.start == 2 * at && span.count == 2 && span.first == 0;
        // All that there are: what lies behind the last window would not be written by their loop.
        let all = self.spans.len() == self.input / 2;
        self.step == 1 && self.kernel == 2 && all && self.spans.iter().enumerate().all(pair)
    }
}

/// The windows of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    channels: usize,
    rows: Axis,
    columns: Axis,
    /// 2 x 2, side by side, from the first element on.
    pairs: bool,
    /// No element is in two windows.
    disjoint: bool,
    /// Each element is in one window.
    covered: bool,
}

/// Elements of a window are numbered by floats: up to here exactly, in f32 too.
const MOST_ELEMENTS: usize = 1 << 24;

impl Windows {
    /// # Errors
    /// As [`Axis::new`], for windows of more than 2^24 elements.
    pub(crate) fn new(channels: usize, rows: Axis, columns: Axis) -> Result<Self, (String, String)> {
        if rows.kernel.checked_mul(columns.kernel).is_none_or(|elements| elements > MOST_ELEMENTS) {
            let got = format!("{} x {}", rows.kernel, columns.kernel);
            return Err(("windows of at most 2^24 elements".to_owned(), got));
        }
        for [height, width] in [[rows.input, columns.input], [rows.output(), columns.output()]] {
            if height.checked_mul(width).and_then(|len| len.checked_mul(channels)).is_none() {
                return Err((
                    "sizes that fit in memory".to_owned(),
                    format!("{channels} x {height} x {width}"),
                ));
            }
        }
        let pairs = rows.is_pairs() && columns.is_pairs();
        let disjoint = rows.is_disjoint() && columns.is_disjoint();
        let inside = |axis: &Axis| axis.spans.iter().map(|span| span.count).sum::<usize>();
        let covered = disjoint && inside(&rows) == rows.input && inside(&columns) == columns.input;
        Ok(Self { channels, rows, columns, pairs, disjoint, covered })
    }

    pub(crate) fn input_len(&self) -> usize {
        self.rows.input * self.columns.input * self.channels
    }

    pub(crate) fn output_len(&self) -> usize {
        self.rows.output() * self.columns.output() * self.channels
    }

    /// Channels, height and width of an output.
    pub(crate) fn output_dims(&self) -> [usize; 3] {
        [self.channels, self.rows.output(), self.columns.output()]
    }

    /// 2 x 2, side by side: no sums are needed for the gradient of the largest.
    pub(crate) fn are_pairs(&self) -> bool {
        self.pairs
    }

    /// Elements that are looked at for a sample.
    pub(crate) fn work(&self) -> f64 {
        self.output_len() as f64 * self.area() as f64
    }

    /// Elements of the largest window.
    fn area(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }

    /// Calls for samples fit these slices.
    fn check<T>(&self, input: &[T], output: &[T]) {
        let (width, outputs) = (self.input_len(), self.output_len());
        let samples = output.len().checked_div(outputs).unwrap_or(0);
        assert!(output.len() == samples * outputs && input.len() == samples * width);
    }
}

impl fmt::Display for Windows {
    /// `2 x 2, 32 x 26 x 26 -> 32 x 13 x 13`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, rows, columns, .. } = self;
        let (height, width) = (rows.output(), columns.output());
        write!(f, "{} x {}, ", rows.kernel, columns.kernel)?;
        write!(f, "{channels} x {} x {} -> {channels} x {height} x {width}", rows.input, columns.input)
    }
}

/// One window.
#[derive(Clone, Copy)]
struct Window<'a> {
    w: &'a Windows,
    row: Span,
    column: Span,
}

impl Window<'_> {
    /// The place in a sample of the first element inside of its row `down`.
    #[inline(always)]
    fn place(self, down: usize) -> usize {
        let y = self.row.start + down * self.w.rows.step;
        (y * self.w.columns.input + self.column.start) * self.w.channels
    }

    /// From there to the next.
    #[inline(always)]
    fn step(self) -> usize {
        self.w.columns.step * self.w.channels
    }

    /// That element's number in the window.
    #[inline(always)]
    fn number(self, down: usize) -> usize {
        (self.row.first + down) * self.w.columns.kernel + self.column.first
    }
}

/// A vector of as many elements as the slice has, or all lanes if FULL.
#[inline(always)]
fn get<T: Element, S: Simd, const FULL: bool>(s: S, x: &[T]) -> T::V<S> {
    if FULL { T::V::<S>::load(s, x) } else { T::V::<S>::load_first(s, x) }
}

/// Writes as many lanes as the slice has elements, or all lanes if FULL.
#[inline(always)]
fn put<T: Element, S: Simd, const FULL: bool>(v: T::V<S>, x: &mut [T]) {
    if FULL { v.store(x) } else { v.store_first(x) }
}

compiled! {
    MaxForward<'a, Self>,
    MaxBackward<'a, Self>,
    AverageForward<'a, Self>,
    AverageBackward<'a, Self>,
}

//! Statistics of parts put together, channel by channel, in f64: there are few of them.

use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd};

/// Means and sums of squares about them, of parts of one size: part i of channel c stands at `i * stride + c`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a, T> {
    pub means: &'a [T],
    /// Empty for parts of one number, whose mean it is.
    pub squares: &'a [T],
    pub stride: usize,
    pub count: usize,
    /// The numbers of a part.
    pub size: f64,
}

/// Channels that go together.
const BLOCK: usize = 16;

/// The same of all parts together: of `parts` and of `more`, in this order. `means` and `squares` hold a channel each.
pub(crate) struct Pool<'a, T> {
    pub parts: [Parts<'a, T>; 2],
    pub means: &'a mut [f64],
    pub squares: &'a mut [f64],
}

impl<'a, T> Parts<'a, T> {
    /// No part.
    pub(crate) fn none() -> Self {
        Self { means: &[], squares: &[], stride: 0, count: 0, size: 0.0 }
    }

    /// Those of the channels from `first` on.
    #[inline(always)]
    pub(crate) fn from(self, first: usize) -> Self {
        let tail = |x: &'a [T]| x.get(first..).unwrap_or(&[]);
        Self { means: tail(self.means), squares: tail(self.squares), ..self }
    }
}

impl<T: Element> Kernel for Pool<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut at = 0;
        while at < self.means.len() {
            let parts = [self.parts[0].from(at), self.parts[1].from(at)];
            if at + BLOCK <= self.means.len() {
                let (means, squares) = pool::<T, BLOCK>(parts);
                self.means[at..at + BLOCK].copy_from_slice(&means);
                self.squares[at..at + BLOCK].copy_from_slice(&squares);
                at += BLOCK;
            } else {
                let (means, squares) = pool::<T, 1>(parts);
                (self.means[at], self.squares[at]) = (means[0], squares[0]);
                at += 1;
            }
        }
    }
}

/// B channels. The mean first, then squares about it, and what rounding left of the mean.
#[inline(always)]
fn pool<T: Element, const B: usize>(parts: [Parts<'_, T>; 2]) -> ([f64; B], [f64; B]) {
    let (mut means, mut rests, mut squares) = ([0.0; B], [0.0; B], [0.0; B]);
    let total = parts[0].count as f64 * parts[0].size + parts[1].count as f64 * parts[1].size;
    for part in &parts {
        let mut sums = [0.0; B];
        for i in 0..part.count {
            let row = &part.means[i * part.stride..][..B];
            for k in 0..B {
                sums[k] += Element::to_f64(row[k]);
            }
        }
        for k in 0..B {
            means[k] += sums[k] * part.size;
        }
    }
    for mean in &mut means {
        *mean /= total;
    }
    for part in &parts {
        for i in 0..part.count {
            let row = &part.means[i * part.stride..][..B];
            for k in 0..B {
                let difference = Element::to_f64(row[k]) - means[k];
                rests[k] += difference * part.size;
                squares[k] += difference * difference * part.size;
            }
        }
        if !part.squares.is_empty() {
            for i in 0..part.count {
                let row = &part.squares[i * part.stride..][..B];
                for k in 0..B {
                    squares[k] += Element::to_f64(row[k]);
                }
            }
        }
    }
    for k in 0..B {
        let rest = rests[k] / total;
        let about = squares[k] - rests[k] * rest;
        // Rounding alone takes it below zero. NaN stays.
        squares[k] = if about < 0.0 { 0.0 } else { about };
        means[k] += rest;
    }
    (means, squares)
}

/// Sums of the rows of a matrix, column by column in order: `out[c]` of all `rows[i * stride + c]`, and if there are
/// `others`, of all `rows[i * stride + c] (others[i * stride + c] - shift[c])`.
pub(crate) struct Total<'a, T> {
    pub rows: &'a [T],
    pub others: Option<(&'a [T], &'a [T])>,
    pub stride: usize,
    pub count: usize,
    pub out: &'a mut [f64],
}

impl<T: Element> Kernel for Total<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { rows, others, stride, count, out } = self;
        let mut at = 0;
        while at < out.len() {
            let others = others.map(|(others, shift)| (&others[at..], &shift[at..]));
            if at + BLOCK <= out.len() {
                let sums = total::<T, BLOCK>(&rows[at..], others, stride, count);
                out[at..at + BLOCK].copy_from_slice(&sums);
                at += BLOCK;
            } else {
                [out[at]] = total::<T, 1>(&rows[at..], others, stride, count);
                at += 1;
            }
        }
    }
}

#[inline(always)]
fn total<T: Element, const B: usize>(
    rows: &[T],
    others: Option<(&[T], &[T])>,
    stride: usize,
    count: usize,
) -> [f64; B] {
    let mut sums = [0.0; B];
    match others {
        None => {
            for i in 0..count {
                let row = &rows[i * stride..][..B];
                for k in 0..B {
                    sums[k] += Element::to_f64(row[k]);
                }
            }
        }
        Some((others, shift)) => {
            let shift = &shift[..B];
            for i in 0..count {
                let (row, other) = (&rows[i * stride..][..B], &others[i * stride..][..B]);
                for k in 0..B {
                    let difference = Element::to_f64(other[k]) - Element::to_f64(shift[k]);
                    sums[k] += Element::to_f64(row[k]) * difference;
                }
            }
        }
    }
    sums
}

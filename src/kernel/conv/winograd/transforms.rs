//! What is added up before and after the products.
//!
//! ```text
//!        | 1  0 -1  0 |         | 1    0    0  |
//!   B' = | 0  1  1  0 |     G = | 1/2  1/2  1/2|     A' = | 1  1  1  0 |
//!        | 0 -1  1  0 |         | 1/2 -1/2  1/2|          | 0  1 -1 -1 |
//!        | 0  1  0 -1 |         | 0    0    1  |
//! ```

use super::PLACES;
use crate::kernel::conv::Direction;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Simd, Vector};
use std::ops::{Add, Mul, Range, Sub};

/// B' d, of a column of a window; or the same of a row.
#[inline(always)]
fn input<V: Copy + Add<Output = V> + Sub<Output = V>>(d: [V; 4]) -> [V; 4] {
    [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]
}

/// B' d B, of a vector of channels.
#[inline(always)]
pub(super) fn spread_input<T: Element, S: Simd>(
    s: S,
    window: &[[&[T]; 4]; 4],
    channel: usize,
) -> [[T::V<S>; 4]; 4] {
    let zero = T::V::<S>::splat(s, T::zero());
    let mut rows = [[zero; 4]; 4];
    for x in 0..4 {
        let mut d = [zero; 4];
        for (d, row) in d.iter_mut().zip(window) {
            *d = T::V::<S>::load(s, &row[x][channel..]);
        }
        let column = input(d);
        for (row, value) in rows.iter_mut().zip(column) {
            row[x] = value;
        }
    }
    for row in &mut rows {
        *row = input(*row);
    }
    rows
}

/// Row `A` of it, of the two [`rows`](input_rows) that it is made of.
#[inline(always)]
pub(super) fn spread_input_row<T: Element, S: Simd, const A: usize>(
    s: S,
    [first, second]: &[[&[T]; 4]; 2],
    channel: usize,
) -> [T::V<S>; 4] {
    let mut row = [T::V::<S>::splat(s, T::zero()); 4];
    for ((value, first), second) in row.iter_mut().zip(first).zip(second) {
        let (first, second) = (T::V::<S>::load(s, &first[channel..]), T::V::<S>::load(s, &second[channel..]));
        *value = if A == 1 { first + second } else { first - second };
    }
    input(row)
}

/// Which rows of a window make row `a`.
pub(super) const fn input_rows(a: usize) -> [usize; 2] {
    [[0, 2], [1, 2], [2, 1], [1, 3]][a]
}

/// Row `A` of A y A', of a vector of channels.
#[inline(always)]
pub(super) fn spread_output_row<T: Element, S: Simd, const A: usize>(
    s: S,
    rows: &[[&[T]; 2]; 2],
    channel: usize,
) -> [T::V<S>; 4] {
    let mut y = [T::V::<S>::splat(s, T::zero()); 2];
    for (x, y) in y.iter_mut().enumerate() {
        let load = [T::V::<S>::load(s, &rows[0][x][channel..]), T::V::<S>::load(s, &rows[1][x][channel..])];
        *y = match A {
            0 => load[0],
            1 => load[0] + load[1],
            2 => load[0] - load[1],
            _ => -load[1],
        };
    }
    [y[0], y[0] + y[1], y[0] - y[1], -y[1]]
}

/// A' m A, of the vectors at the beginning of each place.
#[inline(always)]
pub(super) fn to_tile<T: Element, S: Simd>(s: S, products: &[T], place: usize) -> [[T::V<S>; 2]; 2] {
    let zero = T::V::<S>::splat(s, T::zero());
    let mut rows = [[zero; 4]; 2];
    for b in 0..4 {
        let mut m = [zero; 4];
        for (a, m) in m.iter_mut().enumerate() {
            *m = T::V::<S>::load(s, &products[(4 * a + b) * place..]);
        }
        [rows[0][b], rows[1][b]] = [m[0] + m[1] + m[2], m[1] - m[2] - m[3]];
    }
    rows.map(
        #[inline(always)]
        |m| [m[0] + m[1] + m[2], m[1] - m[2] - m[3]],
    )
}

/// Place `a` of G g, of three weights.
#[inline(always)]
fn weight<V: Copy + Add<Output = V> + Sub<Output = V> + Mul<Output = V>>(a: usize, half: V, g: [V; 3]) -> V {
    match a {
        0 => g[0],
        1 => (g[0] + g[2] + g[1]) * half,
        2 => (g[0] + g[2] - g[1]) * half,
        _ => g[2],
    }
}

/// The weights that place `a` is made of.
#[inline(always)]
fn taps_of(a: usize) -> Range<usize> {
    match a {
        0 => 0..1,
        3 => 2..3,
        _ => 0..3,
    }
}

/// Rows (place, source channel) of the weights G g G', as a pass reads them.
pub(in crate::kernel::conv) struct Arrange<'a, T> {
    pub direction: Direction,
    /// Input channels, and outputs.
    pub channels: [usize; 2],
    /// (taps, input channels, outputs).
    pub weights: &'a [T],
    pub rows: Range<usize>,
    pub target: &'a mut [T],
}

impl<T: Element> Kernel for Arrange<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { direction, channels: [inputs, outputs], weights, rows, target } = self;
        let half = T::from_f64(0.5);
        let (sources, width) = match direction {
            Direction::Output => (inputs, outputs),
            Direction::Input => (outputs, inputs),
        };
        for (row, target) in rows.zip(target.chunks_exact_mut(width)) {
            let (place, source) = (row / sources, row % sources);
            let (a, b) = (place / 4, place % 4);
            if direction == Direction::Output {
                let half = T::V::<S>::splat(s, half);
                for (number, target) in target.chunks_exact_mut(T::V::<S>::LANES).enumerate() {
                    let first = source * outputs + number * T::V::<S>::LANES;
                    let mut columns = [half; 3];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let mut g = [half; 3];
                        for (y, g) in g.iter_mut().enumerate() {
                            *g = T::V::<S>::load(s, &weights[(3 * y + x) * inputs * outputs + first..]);
                        }
                        *column = weight(a, half, g);
                    }
                    weight(b, half, columns).store(target);
                }
                continue;
            }
            for (channel, target) in target.iter_mut().enumerate() {
                let mut columns = [T::zero(); 3];
                for x in taps_of(b) {
                    let mut g = [T::zero(); 3];
                    for y in taps_of(a) {
                        // The taps from the last to the first.
                        g[y] = weights[((8 - 3 * y - x) * inputs + channel) * outputs + source];
                    }
                    columns[x] = weight(a, half, g);
                }
                *target = weight(b, half, columns);
            }
        }
    }
}

/// The gradients G' m G of the weights, from their sums at all places; added to `target`, or set.
pub(in crate::kernel::conv) struct Fold<'a, T> {
    /// (places, weights of a tap).
    pub sums: &'a [T],
    pub target: &'a mut [T],
    pub add: bool,
}

impl<T: Element> Kernel for Fold<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, target, add } = self;
        let tap = sums.len() / PLACES;
        let half = T::V::<S>::splat(s, T::from_f64(0.5));
        for first in (0..tap).step_by(T::V::<S>::LANES) {
            let mut columns = [[half; 4]; 3];
            for b in 0..4 {
                let mut m = [half; 4];
                for (a, m) in m.iter_mut().enumerate() {
                    *m = T::V::<S>::load(s, &sums[(4 * a + b) * tap + first..]);
                }
                [columns[0][b], columns[1][b], columns[2][b]] = folded(half, m);
            }
            for (y, row) in columns.into_iter().enumerate() {
                for (x, sum) in folded(half, row).into_iter().enumerate() {
                    let target = &mut target[(3 * y + x) * tap + first..];
                    let sum = if add { T::V::<S>::load(s, target) + sum } else { sum };
                    sum.store(target);
                }
            }
        }
    }
}

/// G' m.
#[inline(always)]
fn folded<V: Copy + Add<Output = V> + Sub<Output = V> + Mul<Output = V>>(half: V, m: [V; 4]) -> [V; 3] {
    let both = (m[1] + m[2]) * half;
    [m[0] + both, (m[1] - m[2]) * half, both + m[3]]
}

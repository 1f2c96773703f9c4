//! Products of a left factor that holds many exact zeros, such as images with a dark border: the zeros are skipped.
//!
//! ```text
//! marks   64 elements of a row of x are one word: bit i is set where element i is not zero
//! rows    y = x W + b: for a chunk of 512 rows of W, for 64 of them (they stay in L1), for every row of x:
//!           for every bit, ascending:  sums += x[row, bit] W[bit, ..]
//! columns dW = x^T d: for 64 columns of x the marks are transposed, then for every column:
//!           for every bit, ascending:  sums += x[bit, column] d[bit, ..]
//! ```
//!
//! Not a bit of a result changes. A chain of fused multiply-adds begins at +0; a term 0 w leaves every sum as it is but -0, which
//! it may turn into +0 (-0 comes from products that round to it). The end of a chunk adds its sum to +0 or to a
//! sum that is not -0, so the sign of a zero is lost there in the dense product too. What 0 times infinity or NaN would make is found
//! elsewhere: parameters are finite, and gradients that are not are looked for here ([`TransposedTimes`]).

use super::blocking::K_CHUNK;
use crate::context::Context;
use crate::kernel::compiled::compiled;
use crate::kernel::element::Element;
use crate::simd::{Kernel, Mask, Simd, Vector};

/// Elements of a row that a word of marks stands for.
pub(crate) const WORD: usize = 64;

/// Words of a chunk.
const WORDS: usize = K_CHUNK / WORD;

/// Rows that are worked on at once: their sums stay in L1 beside 64 rows of W.
pub(crate) const ROWS: usize = 32;

/// Vectors of a row of the result that are worked on at once.
const VECTORS: usize = 4;

/// The most elements of these.
const GROUP: usize = 16 * VECTORS;

/// The most bytes of a row of W or d for which skipping pays: 64 rows side by side then have sets of L1 of their own. With rows of
/// 2 KiB (512 columns of f32) they crowd into few, and one thread was slower than the dense product (a run on a busy machine).
pub(crate) const ROW_BYTES: usize = 512;

/// The share of zeros from which skipping them pays.
pub(crate) const WORTH: f64 = 0.6;

/// y = x W + b on rows of x.
pub(crate) struct RowsTimes<'a, T> {
    /// (rows, inputs)
    pub x: &'a [T],
    pub inputs: usize,
    /// (inputs, outputs), in panels of `panel` columns: (panels, inputs, panel). As many columns as there are, or a multiple of the
    /// lanes.
    pub w: &'a [T],
    pub outputs: usize,
    pub panel: usize,
    /// (outputs), or nothing.
    pub bias: &'a [T],
    /// (rows, outputs)
    pub y: &'a mut [T],
}

/// dW = x^T d for some columns of x, or dW += x^T d.
pub(crate) struct TransposedTimes<'a, T> {
    /// (batch, inputs)
    pub x: &'a [T],
    pub inputs: usize,
    /// The first column, and how many: at most 64.
    pub first: usize,
    pub count: usize,
    /// (batch, outputs) from its first column on; from a row to the next are `d_row_stride` elements.
    pub d: &'a [T],
    pub d_row_stride: usize,
    pub outputs: usize,
    /// (count, outputs)
    pub dw: &'a mut [T],
    pub adds: bool,
    /// Zeros are not skipped: for a `d` that is not finite, whose products with zeros are NaN.
    pub all: bool,
}

impl<T: Element> RowsTimes<'_, T> {
    pub(crate) fn run(self, context: &Context) {
        T::run(context, self);
    }
}

impl<T: Element> TransposedTimes<'_, T> {
    pub(crate) fn run(self, context: &Context) {
        T::run(context, self);
    }
}

compiled! {
    RowsTimes<'a, Self>,
    TransposedTimes<'a, Self>,
}

/// The marks of at most 64 elements.
#[inline(always)]
fn mark<T: Element, S: Simd>(s: S, x: &[T]) -> u64 {
    let lanes = T::V::<S>::LANES;
    let zero = T::V::<S>::splat(s, T::zero());
    let mut marks = 0;
    for (i, part) in x.chunks(lanes).enumerate() {
        let vector =
            if part.len() == lanes { T::V::<S>::load(s, part) } else { T::V::<S>::load_first(s, part) };
        marks |= u64::from(vector.equal(zero).not().bits()) << (i * lanes);
    }
    // Lanes past the end are +0: no marks.
    marks
}

/// Calls `body` with the number of every bit that is set, ascending.
#[inline(always)]
fn each_bit(mut bits: u64, mut body: impl FnMut(usize)) {
    while bits != 0 {
        body(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

impl<T: Element> Kernel for RowsTimes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, inputs, w, outputs, panel, bias, y } = self;
        let lanes = T::V::<S>::LANES;
        let group = VECTORS * lanes;
        for (x, y) in x.chunks(ROWS * inputs).zip(y.chunks_mut(ROWS * outputs)) {
            for first in (0..inputs).step_by(K_CHUNK) {
                let end = inputs.min(first + K_CHUNK);
                let mut marks = [[0; WORDS]; ROWS];
                for (marks, x) in marks.iter_mut().zip(x.chunks_exact(inputs)) {
                    for (word, x) in marks.iter_mut().zip(x[first..end].chunks(WORD)) {
                        *word = mark(s, x);
                    }
                }
                let chunk = Chunk { s, x, inputs, w, outputs, panel, first, end, marks: &marks };
                let mut column = 0;
                while column + group <= outputs {
                    chunk.columns::<VECTORS>(column, group, y);
                    column += group;
                }
                while column < outputs {
                    let count = lanes.min(outputs - column);
                    chunk.columns::<1>(column, count, y);
                    column += count;
                }
            }
            if !bias.is_empty() {
                for y in y.chunks_exact_mut(outputs) {
                    y.iter_mut().zip(bias).for_each(|(y, &b)| *y += b);
                }
            }
        }
    }
}

/// A chunk of the sums of at most [`ROWS`] rows.
struct Chunk<'a, T, S> {
    s: S,
    x: &'a [T],
    inputs: usize,
    w: &'a [T],
    outputs: usize,
    panel: usize,
    /// The chunk's first input, and one past its last.
    first: usize,
    end: usize,
    marks: &'a [[u64; WORDS]; ROWS],
}

impl<T: Element, S: Simd> Chunk<'_, T, S> {
    /// `count` columns of the result, V vectors; with one vector it may be cut.
    #[inline(always)]
    fn columns<const V: usize>(&self, column: usize, count: usize, y: &mut [T]) {
        let (s, lanes) = (self.s, T::V::<S>::LANES);
        let zero = T::V::<S>::splat(s, T::zero());
        let mut sums = [T::zero(); ROWS * GROUP];
        // Where the column of each vector begins.
        let starts: [usize; V] = std::array::from_fn(|j| {
            let column = column + j * lanes;
            column / self.panel * self.panel * self.inputs + column % self.panel
        });
        for word in 0..WORDS {
            let k = self.first + word * WORD;
            if k >= self.end {
                break;
            }
            let rows = self.x.chunks_exact(self.inputs).zip(self.marks).zip(sums.chunks_exact_mut(GROUP));
            for ((x, marks), sums) in rows {
                if marks[word] == 0 {
                    continue;
                }
                let x = &x[k..];
                let mut acc = [zero; V];
                for (acc, sum) in acc.iter_mut().zip(sums.chunks_exact(lanes)) {
                    *acc = T::V::<S>::load(s, sum);
                }
                each_bit(marks[word], |bit| {
                    let factor = T::V::<S>::splat(s, x[bit]);
                    let at = (k + bit) * self.panel;
                    add::<T, S, V>(s, factor, |j| &self.w[starts[j] + at..][..count.min(lanes)], &mut acc);
                });
                for (acc, sum) in acc.iter().zip(sums.chunks_exact_mut(lanes)) {
                    acc.store(sum);
                }
            }
        }
        for (y, sums) in y.chunks_exact_mut(self.outputs).zip(sums.chunks_exact(GROUP)) {
            let (y, sums) = (&mut y[column..column + count], &sums[..count]);
            for (y, sums) in y.chunks_mut(lanes).zip(sums.chunks(lanes)) {
                // fma(1, sum, start), as the dense product does it: the first chunk begins at +0.
                let start = if self.first == 0 { zero } else { T::V::<S>::load_first(s, y) };
                (start + T::V::<S>::load_first(s, sums)).store_first(y);
            }
        }
    }
}

/// `acc += factor * row`, vector by vector; a single one may be cut.
#[inline(always)]
fn add<'a, T: Element, S: Simd, const V: usize>(
    s: S,
    factor: T::V<S>,
    row: impl Fn(usize) -> &'a [T],
    acc: &mut [T::V<S>; V],
) {
    for (j, acc) in acc.iter_mut().enumerate() {
        let part = if V == 1 { T::V::<S>::load_first(s, row(j)) } else { T::V::<S>::load(s, row(j)) };
        *acc = factor.mul_add(part, *acc);
    }
}

impl<T: Element> Kernel for TransposedTimes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let lanes = T::V::<S>::LANES;
        let group = VECTORS * lanes;
        let batch = self.x.len() / self.inputs;
        for first in (0..batch).step_by(K_CHUNK) {
            let end = batch.min(first + K_CHUNK);
            // Marks of each column, over the rows of the chunk.
            let mut marks = [[0; WORDS]; WORD];
            for word in 0..(end - first).div_ceil(WORD) {
                let mut block = [0; WORD];
                let rows = first + word * WORD..end.min(first + (word + 1) * WORD);
                for (marks, row) in block.iter_mut().zip(rows) {
                    let x = &self.x[row * self.inputs + self.first..][..self.count];
                    *marks = if self.all { u64::MAX } else { mark(s, x) };
                }
                transpose(&mut block);
                marks.iter_mut().zip(block).for_each(|(marks, column)| marks[word] = column);
            }
            let starts = first == 0 && !self.adds;
            let mut column = 0;
            while column + group <= self.outputs {
                self.columns::<S, VECTORS>(s, (first, starts), &marks, column, group);
                column += group;
            }
            while column < self.outputs {
                let count = lanes.min(self.outputs - column);
                self.columns::<S, 1>(s, (first, starts), &marks, column, count);
                column += count;
            }
        }
    }
}

impl<T: Element> TransposedTimes<'_, T> {
    /// `count` columns of the result, V vectors, from the chunk of rows that begins with `first`.
    #[inline(always)]
    fn columns<S: Simd, const V: usize>(
        &mut self,
        s: S,
        (first, starts): (usize, bool),
        marks: &[[u64; WORDS]; WORD],
        column: usize,
        count: usize,
    ) {
        let lanes = T::V::<S>::LANES;
        let zero = T::V::<S>::splat(s, T::zero());
        for ((k, dw), marks) in self.dw.chunks_exact_mut(self.outputs).enumerate().zip(marks) {
            let mut acc = [zero; V];
            for (word, &bits) in marks.iter().enumerate() {
                each_bit(bits, |bit| {
                    let row = first + word * WORD + bit;
                    let factor = T::V::<S>::splat(s, self.x[row * self.inputs + self.first + k]);
                    let d = &self.d[row * self.d_row_stride + column..][..count];
                    add::<T, S, V>(s, factor, |j| &d[j * lanes..], &mut acc);
                });
            }
            for (acc, dw) in acc.into_iter().zip(dw[column..column + count].chunks_mut(lanes)) {
                let start = if starts { zero } else { T::V::<S>::load_first(s, dw) };
                (start + acc).store_first(dw);
            }
        }
    }
}

/// Transposes a matrix of 64 x 64 bits: bit j of word i becomes bit i of word j. Swaps halves of ever smaller squares
/// (Warren, Hacker's Delight, 7-3).
#[inline(always)]
fn transpose(words: &mut [u64; WORD]) {
    let (mut half, mut mask) = (WORD / 2, u64::MAX >> (WORD / 2));
    while half > 0 {
        for i in (0..WORD).filter(|i| i & half == 0) {
            let swapped = ((words[i] >> half) ^ words[i + half]) & mask;
            words[i] ^= swapped << half;
            words[i + half] ^= swapped;
        }
        half /= 2;
        mask ^= mask << half;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::gemm::view::{MatMut, MatRef};
    use crate::kernel::gemm::{Epilogue, gemm, gemm_with};
    use crate::rng::Rng;
    use crate::simd::Isa;

    #[test]
    fn bits_are_transposed() {
        let mut rng = Rng::new(1);
        let words: [u64; WORD] = std::array::from_fn(|_| rng.below(u64::MAX));
        let mut turned = words;
        transpose(&mut turned);
        for (i, word) in words.iter().enumerate() {
            for (j, turned) in turned.iter().enumerate() {
                assert_eq!(turned >> i & 1, word >> j & 1);
            }
        }
    }

    fn values<T: Element>(len: usize, density: f64, rng: &mut Rng) -> Vec<T> {
        let any = |rng: &mut Rng| match rng.below(40) {
            // Products of these round to -0 and +0.
            0 => 1e-30 * (rng.below(3) as f64 - 1.0),
            1 => -1e-300,
            2 => -0.0,
            _ => rng.below(2001) as f64 / 1000.0 - 1.0,
        };
        let zero = |rng: &mut Rng| rng.below(1000) as f64 >= 1000.0 * density;
        (0..len).map(|_| T::from_f64(if zero(rng) { 0.0 } else { any(rng) })).collect()
    }

    /// The bits of the dense product, for every instruction set.
    fn as_dense<T: Element>() {
        let mut rng = Rng::new(2);
        let shapes = [
            (1, 1, 1),
            (32, 784, 64),
            (33, 70, 10),
            (7, 513, 100),
            (70, 65, 65),
            (600, 130, 16),
            (5, 1100, 3),
        ];
        for isa in Isa::available() {
            let context = Context::new(isa).unwrap();
            for (batch, inputs, outputs) in shapes {
                for density in [0.0, 0.2, 1.0] {
                    let x = values::<T>(batch * inputs, density, &mut rng);
                    let w = values::<T>(inputs * outputs, 1.0, &mut rng);
                    let bias = values::<T>(outputs, 1.0, &mut rng);
                    let d = values::<T>(batch * outputs, 0.9, &mut rng);
                    let bits = |values: &[T]| values.iter().map(|value| value.bits()).collect::<Vec<_>>();
                    let a = MatRef::new(&x, 0, batch, inputs, inputs as isize, 1).unwrap();
                    let b = MatRef::new(&w, 0, inputs, outputs, outputs as isize, 1).unwrap();
                    let (mut y, mut expected) =
                        (vec![T::nan(); batch * outputs], vec![T::nan(); batch * outputs]);
                    let mut c = MatMut::new(&mut expected, 0, batch, outputs, outputs as isize, 1).unwrap();
                    let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
                    gemm_with(&context, T::one(), a, b, T::zero(), &mut c, &epilogue).unwrap();
                    let panels: &[usize] = if outputs == 64 { &[64, 32] } else { &[outputs] };
                    for &panel in panels {
                        let places = (0..outputs / panel).flat_map(|p| {
                            (0..inputs).flat_map(move |k| (0..panel).map(move |j| (k, p * panel + j)))
                        });
                        let w: Vec<T> = places.map(|(k, j)| w[k * outputs + j]).collect();
                        y.fill(T::nan());
                        RowsTimes { x: &x, inputs, w: &w, outputs, panel, bias: &bias, y: &mut y }
                            .run(&context);
                        assert_eq!(
                            bits(&y),
                            bits(&expected),
                            "{isa} {batch} x {inputs} x {outputs}, {panel}"
                        );
                    }

                    let d_view = MatRef::new(&d, 0, batch, outputs, outputs as isize, 1).unwrap();
                    for (adds, all) in [(false, false), (true, false), (false, true)] {
                        let begin = values::<T>(inputs * outputs, 1.0, &mut rng);
                        // A sum is never -0.
                        let begin: Vec<T> = begin.into_iter().map(|value| value + T::zero()).collect();
                        let (mut dw, mut expected) = (begin.clone(), begin);
                        let beta = if adds { T::one() } else { T::zero() };
                        let mut c =
                            MatMut::new(&mut expected, 0, inputs, outputs, outputs as isize, 1).unwrap();
                        gemm(&context, T::one(), a.transposed(), d_view, beta, &mut c).unwrap();
                        for first in (0..inputs).step_by(WORD) {
                            let count = WORD.min(inputs - first);
                            let dw = &mut dw[first * outputs..][..count * outputs];
                            let job = TransposedTimes {
                                x: &x,
                                inputs,
                                first,
                                count,
                                d: &d,
                                d_row_stride: outputs,
                                outputs,
                                dw,
                                adds,
                                all,
                            };
                            job.run(&context);
                        }
                        assert_eq!(
                            bits(&dw),
                            bits(&expected),
                            "{isa} {inputs} x {outputs} over {batch}, {adds}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn as_the_dense_product_f32() {
        as_dense::<f32>();
    }

    #[test]
    fn as_the_dense_product_f64() {
        as_dense::<f64>();
    }
}

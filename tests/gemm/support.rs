//! Matrices in every storage, and two oracles that share no code with the crate.

use gemmule::{Element, MatMut, MatRef};
use num_traits::Float;

/// f32 or f64 with what the bounds need.
pub trait Real: Element + Float {
    /// Half the distance from 1 to the next number.
    const UNIT: f64;
    /// The smallest positive number.
    const TINY: f64;
    /// What no computation leaves behind: a NaN with a pattern of its own.
    const CANARY: Self;
}

impl Real for f32 {
    const UNIT: f64 = f32::EPSILON as f64 / 2.0;
    const TINY: f64 = f32::from_bits(1) as f64;
    const CANARY: Self = f32::from_bits(0x7fc0_beef);
}

impl Real for f64 {
    const UNIT: f64 = f64::EPSILON / 2.0;
    const TINY: f64 = f64::from_bits(1);
    const CANARY: Self = f64::from_bits(0x7ff8_dead_beef_f00d);
}

/// A well-mixed number for every index: SplitMix64's finaliser.
pub fn mix(seed: u64, index: u64) -> u64 {
    let mut z = (seed << 40).wrapping_add(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A row-major matrix.
#[derive(Clone, Debug)]
pub struct Dense<T> {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<T>,
}

impl<T: Real> Dense<T> {
    pub fn from_fn(rows: usize, cols: usize, value: impl Fn(usize, usize) -> T) -> Self {
        let data = (0..rows * cols).map(|at| value(at / cols, at % cols)).collect();
        Self { rows, cols, data }
    }

    /// Uniform in [-1, 1): multiples of 2^-23.
    pub fn random(rows: usize, cols: usize, seed: u64) -> Self {
        Self::from_fn(rows, cols, |i, j| {
            let bits = mix(seed, (i * cols + j) as u64) >> 40;
            T::from_f64(bits as f64 / f64::from(1 << 23) - 1.0)
        })
    }

    /// Uniform in [-1, 1) with a full significand: products and sums round in f64 too.
    pub fn full(rows: usize, cols: usize, seed: u64) -> Self {
        Self::from_fn(rows, cols, |i, j| {
            let bits = mix(seed, (i * cols + j) as u64) >> 11;
            T::from_f64(bits as f64 / (1_u64 << 52) as f64 - 1.0)
        })
    }

    /// Integers from -4 to 4: every sum of up to 2^19 products is exact.
    pub fn integers(rows: usize, cols: usize, seed: u64) -> Self {
        Self::from_fn(rows, cols, |i, j| T::from_f64((mix(seed, (i * cols + j) as u64) % 9) as f64 - 4.0))
    }

    pub fn at(&self, i: usize, j: usize) -> T {
        self.data[i * self.cols + j]
    }

    pub fn transposed(&self) -> Self {
        Self::from_fn(self.cols, self.rows, |i, j| self.at(j, i))
    }

    pub fn view(&self) -> MatRef<'_, T> {
        MatRef::row_major(&self.data, self.rows, self.cols).expect("a dense matrix")
    }

    pub fn view_mut(&mut self) -> MatMut<'_, T> {
        MatMut::row_major(&mut self.data, self.rows, self.cols).expect("a dense matrix")
    }
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Rows,
    Cols,
    /// Rows or columns with a gap after each.
    PaddedRows(usize),
    PaddedCols(usize),
    /// No dimension is contiguous: both strides, in this order of magnitude.
    General,
    /// From the last row upwards, or from the last element backwards.
    Upwards,
    Backwards,
    BackwardsCols,
}

impl Storage {
    pub const ALL: [Self; 8] = [
        Self::Rows,
        Self::Cols,
        Self::PaddedRows(3),
        Self::PaddedCols(5),
        Self::General,
        Self::Upwards,
        Self::Backwards,
        Self::BackwardsCols,
    ];
}

/// A matrix in a buffer with canaries wherever it has no element.
#[derive(Clone, Debug)]
pub struct Stored<T> {
    pub data: Vec<T>,
    pub offset: usize,
    pub rows: usize,
    pub cols: usize,
    pub row_stride: isize,
    pub col_stride: isize,
}

impl<T: Real> Stored<T> {
    pub fn new(dense: &Dense<T>, storage: Storage) -> Self {
        let (rows, cols) = (dense.rows as isize, dense.cols as isize);
        let (row_stride, col_stride) = match storage {
            Storage::Rows => (cols, 1),
            Storage::Cols => (1, rows),
            Storage::PaddedRows(gap) => (cols + gap as isize, 1),
            Storage::PaddedCols(gap) => (1, rows + gap as isize),
            Storage::General => (2 * cols + 1, 2),
            Storage::Upwards => (-(cols + 2), 1),
            Storage::Backwards => (-cols - 1, -1),
            Storage::BackwardsCols => (-1, -rows - 3),
        };
        Self::with_strides(dense, 5, row_stride, col_stride)
    }

    /// With these strides, and `margin` places before the first element and behind the last.
    pub fn with_strides(dense: &Dense<T>, margin: usize, row_stride: isize, col_stride: isize) -> Self {
        let reach = |count: usize, stride: isize| (count as isize - 1).max(0) * stride;
        let (down, right) = (reach(dense.rows, row_stride), reach(dense.cols, col_stride));
        let offset = margin as isize - down.min(0) - right.min(0);
        let length = offset + down.max(0) + right.max(0) + 1 + margin as isize;
        let mut stored = Self {
            data: vec![T::CANARY; length as usize],
            offset: offset as usize,
            rows: dense.rows,
            cols: dense.cols,
            row_stride,
            col_stride,
        };
        for i in 0..dense.rows {
            for j in 0..dense.cols {
                let place = stored.place(i, j);
                stored.data[place] = dense.at(i, j);
            }
        }
        stored
    }

    fn place(&self, i: usize, j: usize) -> usize {
        let at = self.offset as isize + i as isize * self.row_stride + j as isize * self.col_stride;
        usize::try_from(at).expect("inside")
    }

    pub fn at(&self, i: usize, j: usize) -> T {
        self.data[self.place(i, j)]
    }

    pub fn view(&self) -> MatRef<'_, T> {
        MatRef::new(&self.data, self.offset, self.rows, self.cols, self.row_stride, self.col_stride)
            .expect("a stored matrix")
    }

    pub fn view_mut(&mut self) -> MatMut<'_, T> {
        MatMut::new(&mut self.data, self.offset, self.rows, self.cols, self.row_stride, self.col_stride)
            .expect("a stored matrix")
    }

    /// The elements, after a look at every place between and around them.
    pub fn dense(&self) -> Dense<T> {
        let mut gaps = vec![true; self.data.len()];
        for i in 0..self.rows {
            for j in 0..self.cols {
                gaps[self.place(i, j)] = false;
            }
        }
        for (at, gap) in gaps.into_iter().enumerate() {
            assert!(!gap || self.data[at].bits() == T::CANARY.bits(), "place {at} is no element and changed");
        }
        Dense::from_fn(self.rows, self.cols, |i, j| self.at(i, j))
    }
}

/// alpha A B + beta C, and how far a right answer may be from it.
pub struct Expected {
    value: Vec<(f64, f64)>,
    bound: Vec<f64>,
    cols: usize,
}

/// The error-free sum of two numbers.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// Adds the product of `a` and `b` to a sum of twice the precision.
fn add_product((high, low): (f64, f64), a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let (high, error) = two_sum(high, product);
    (high, low + (error + a.mul_add(b, -product)))
}

impl Expected {
    /// Products and sums in twice the precision of f64, and the bound gamma(k + 2) (|alpha| |A| |B| + |beta| |C|).
    ///
    /// It holds for every order of the sum and with or without fused operations (Higham, section 3.1); what falls
    /// below the smallest number adds a little each time. beta = 0 does not read C.
    pub fn new<T: Real>(alpha: T, a: &Dense<T>, b: &Dense<T>, beta: T, c: &Dense<T>) -> Self {
        let (alpha, beta) = (alpha.to_f64(), beta.to_f64());
        let steps = (a.cols + 2) as f64;
        let gamma = steps * T::UNIT / (1.0 - steps * T::UNIT);
        let tiny = T::TINY * (1.0 + alpha.abs()) * steps;
        let (mut value, mut bound) = (Vec::new(), Vec::new());
        let columns = b.transposed();
        for i in 0..a.rows {
            for j in 0..b.cols {
                let (mut sum, mut size) = ((0.0, 0.0), 0.0);
                if alpha != 0.0 {
                    let row = &a.data[i * a.cols..(i + 1) * a.cols];
                    let column = &columns.data[j * a.cols..(j + 1) * a.cols];
                    for (&x, &y) in row.iter().zip(column) {
                        let (x, y) = (x.to_f64(), y.to_f64());
                        sum = add_product(sum, x, y);
                        size += (x * y).abs();
                    }
                }
                let mut total = add_product((0.0, 0.0), alpha, sum.0);
                total.1 += alpha * sum.1;
                size *= alpha.abs();
                if beta != 0.0 {
                    total = add_product(total, beta, c.at(i, j).to_f64());
                    size += (beta * c.at(i, j).to_f64()).abs();
                }
                value.push(total);
                bound.push(gamma * size * (1.0 + 1e-12) + tiny);
            }
        }
        Self { value, bound, cols: b.cols }
    }

    /// Every element lies within its bound. Returns the largest share of a bound that was used.
    pub fn check<T: Real>(&self, got: &Dense<T>, case: &dyn std::fmt::Debug) -> f64 {
        let mut worst = 0.0_f64;
        for (at, (&(high, low), &bound)) in self.value.iter().zip(&self.bound).enumerate() {
            let value = got.data[at].to_f64();
            let error = ((value - high) - low).abs();
            assert!(
                error <= bound,
                "{case:?}: element ({}, {}) is {value:e}, expected {high:e}, error {error:e} above {bound:e}",
                at / self.cols,
                at % self.cols,
            );
            worst = worst.max(error / bound);
        }
        worst
    }
}

/// The order contract, element by element in plain code: `fused` as on every instruction set but the portable one.
pub fn twin<T: Real>(fused: bool, alpha: T, a: &Dense<T>, b: &Dense<T>, beta: T, c: &Dense<T>) -> Dense<T> {
    let zero = <T as num_traits::Zero>::zero();
    let add = |x: T, y: T, sum: T| if fused { x.mul_add(y, sum) } else { x * y + sum };
    Dense::from_fn(a.rows, b.cols, |i, j| {
        let mut sum = if beta == zero { zero } else { beta * c.at(i, j) };
        if alpha != zero {
            for start in (0..a.cols).step_by(512) {
                let mut chunk = zero;
                for k in start..a.cols.min(start + 512) {
                    chunk = add(a.at(i, k), b.at(k, j), chunk);
                }
                sum = add(alpha, chunk, sum);
            }
        }
        sum
    })
}

/// The same bits in every element; any NaN is like any other.
pub fn assert_same<T: Real>(got: &Dense<T>, expected: &Dense<T>, case: &dyn std::fmt::Debug) {
    assert_eq!((got.rows, got.cols), (expected.rows, expected.cols));
    for (at, (x, y)) in got.data.iter().zip(&expected.data).enumerate() {
        assert!(
            x.bits() == y.bits() || (x.is_nan() && y.is_nan()),
            "{case:?}: element ({}, {}) is {x:e}, expected {y:e}",
            at / got.cols,
            at % got.cols,
        );
    }
}

//! The numbers: every order, transpose, alpha and beta, against loops in f64.

#[allow(dead_code, reason = "shared")]
mod common;

use common::{Arguments, COLUMNS, ROWS, Real, letters};
use std::ffi::c_int;

/// Some number of [-1, 1), always the same for the same seed.
fn number(seed: usize) -> f64 {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 / (1_u64 << 23) as f64 - 1.0
}

/// A matrix in an array of its own: `rows` and `cols` as stored, fast along columns unless `by_rows`.
struct Stored<T> {
    data: Vec<T>,
    ld: usize,
    by_rows: bool,
}

impl<T: Real> Stored<T> {
    /// Gaps and what follows the matrix are NaN.
    fn new(rows: usize, cols: usize, by_rows: bool, pad: usize, seed: usize) -> Self {
        let (fast, slow) = if by_rows { (cols, rows) } else { (rows, cols) };
        let ld = fast.max(1) + pad;
        let data = (0..ld * slow + 3)
            .map(|at| {
                let inside = at % ld < fast && at / ld < slow;
                T::from_f64(if inside { number(seed + at) } else { f64::NAN })
            })
            .collect();
        Self { data, ld, by_rows }
    }

    fn at(&self, i: usize, j: usize) -> usize {
        if self.by_rows { i * self.ld + j } else { i + j * self.ld }
    }

    fn get(&self, i: usize, j: usize) -> f64 {
        self.data[self.at(i, j)].to_f64()
    }
}

/// The three ways to ask.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Fortran,
    Columns,
    Rows,
}

/// One call, against loops. `settings` are letters.
fn check<T: Real>(way: Way, settings: &str, [m, n, k]: [usize; 3], alpha: f64, beta: f64, pad: usize) {
    let case = || format!("{way:?} {settings} {m} x {n} x {k}, alpha {alpha}, beta {beta}, pad {pad}");
    let by_rows = way == Way::Rows;
    let [ta, tb] = letters(settings).map(|letter| !matches!(letter as u8, b'N' | b'n'));
    let (a_rows, a_cols) = if ta { (k, m) } else { (m, k) };
    let (b_rows, b_cols) = if tb { (n, k) } else { (k, n) };
    let a = Stored::<T>::new(a_rows, a_cols, by_rows, pad, 1000);
    let b = Stored::<T>::new(b_rows, b_cols, by_rows, 2 * pad, 2000);
    let mut c = Stored::<T>::new(m, n, by_rows, pad, 3000);
    let (alpha, beta) = (T::from_f64(alpha), T::from_f64(beta));
    let before: Vec<f64> = c.data.iter().map(|value| value.to_f64()).collect();
    if beta.to_f64() == 0.0 {
        c.data.fill(T::from_f64(f64::NAN));
    }
    let numbers = letters(settings).map(|letter| match letter as u8 {
        b'N' | b'n' => 111,
        b'T' | b't' => 112,
        _ => 113,
    });
    let arguments = Arguments {
        settings: if way == Way::Fortran { letters(settings) } else { numbers },
        sizes: [m, n, k].map(|size| size as c_int),
        alpha,
        a: a.data.as_ptr(),
        lda: a.ld as c_int,
        b: b.data.as_ptr(),
        ldb: b.ld as c_int,
        beta,
        c: c.data.as_mut_ptr(),
        ldc: c.ld as c_int,
    };
    // SAFETY: the arrays are as large as the arguments say.
    unsafe {
        match way {
            Way::Fortran => T::fortran(arguments),
            Way::Columns => T::c(COLUMNS, arguments),
            Way::Rows => T::c(ROWS, arguments),
        }
    }

    let mut inside = vec![false; c.data.len()];
    let (alpha, beta) = (alpha.to_f64(), beta.to_f64());
    for i in 0..m {
        for j in 0..n {
            let at = c.at(i, j);
            inside[at] = true;
            let old = if beta == 0.0 { 0.0 } else { beta * before[at] };
            let (mut sum, mut size) = (old, old.abs());
            // alpha = 0 does not look at A and B, which the loops need not imitate: they hold no NaN inside.
            for l in 0..k {
                let left = if ta { a.get(l, i) } else { a.get(i, l) };
                let right = if tb { b.get(j, l) } else { b.get(l, j) };
                sum += alpha * left * right;
                size += (alpha * left * right).abs();
            }
            let error = (c.get(i, j) - sum).abs();
            let bound = (k + 3) as f64 * T::EPSILON * size;
            assert!(error <= bound, "{}: ({i}, {j}): {} instead of {sum}", case(), c.get(i, j));
        }
    }
    let outside = c.data.iter().zip(&inside).filter(|&(_, &inside)| !inside);
    assert!(outside.clone().all(|(value, _)| value.to_f64().is_nan()), "{}: beside C", case());
}

fn all<T: Real>() {
    let sizes = [
        [1, 1, 1],
        [1, 5, 3],
        [4, 1, 2],
        [2, 3, 1],
        [7, 17, 5],
        [16, 16, 16],
        [33, 20, 9],
        [6, 64, 30],
        [65, 35, 40],
        // Two chunks of the sum.
        [9, 10, 600],
        // Nothing to do, or only beta.
        [0, 4, 3],
        [4, 0, 3],
        [4, 3, 0],
        [0, 0, 0],
    ];
    for way in [Way::Fortran, Way::Columns, Way::Rows] {
        for settings in ["NN", "NT", "NC", "TN", "TT", "TC", "CN", "CT", "CC", "nn", "tn", "nc"] {
            for size in sizes {
                for (alpha, beta) in
                    [(1.0, 0.0), (1.0, 1.0), (0.0, 0.0), (0.0, 1.0), (0.0, -1.5), (-0.75, 1.25), (2.0, 0.0)]
                {
                    check::<T>(way, settings, size, alpha, beta, 0);
                    check::<T>(way, settings, size, alpha, beta, 3);
                }
            }
        }
    }
    // Enough for several threads, and for packed operands.
    for way in [Way::Fortran, Way::Rows] {
        for settings in ["NN", "TN", "NT", "TT"] {
            check::<T>(way, settings, [220, 210, 150], 0.5, -1.0, 5);
        }
    }
}

#[test]
fn single() {
    all::<f32>();
}

#[test]
fn double() {
    all::<f64>();
}

/// With alpha = 0 or k = 0, A and B may be anywhere; with nothing to do, C too.
#[test]
fn what_is_not_needed_is_not_read() {
    let mut c = [1.0, 2.0, 3.0, 4.0];
    let mut arguments = Arguments {
        settings: letters("NT"),
        sizes: [2, 2, 5],
        alpha: 0.0,
        a: std::ptr::null::<f64>(),
        lda: 2,
        b: std::ptr::null(),
        ldb: 2,
        beta: -2.0,
        c: c.as_mut_ptr(),
        ldc: 2,
    };
    // SAFETY: C is there; A and B are not needed.
    unsafe { f64::fortran(arguments) };
    assert_eq!(c, [-2.0, -4.0, -6.0, -8.0]);
    (arguments.alpha, arguments.sizes) = (f64::NAN, [2, 2, 0]);
    arguments.c = c.as_mut_ptr();
    // SAFETY: as above.
    unsafe { f64::fortran(arguments) };
    assert_eq!(c, [4.0, 8.0, 12.0, 16.0]);
    arguments.c = std::ptr::null_mut();
    for (alpha, beta, sizes) in
        [(1.0, 0.0, [0, 2, 2]), (1.0, 0.0, [2, 0, 2]), (1.0, 1.0, [2, 2, 0]), (0.0, 1.0, [2, 2, 2])]
    {
        (arguments.alpha, arguments.beta, arguments.sizes) = (alpha, beta, sizes);
        // SAFETY: nothing is needed.
        unsafe { f64::fortran(arguments) };
    }
}

/// A, B and C as blocks of one array, as in a blocked factorisation: their slices overlap, their elements do not.
#[test]
fn blocks_of_one_array() {
    let (block, ld) = (70, 3 * 70);
    let old: Vec<f64> = (0..ld * ld).map(number).collect();
    let at = |rows: usize, cols: usize| rows * block + cols * block * ld;
    for (a, b, c) in
        [(at(1, 0), at(0, 1), at(1, 1)), (at(0, 0), at(1, 0), at(2, 0)), (at(2, 2), at(2, 2), at(1, 2))]
    {
        let mut all = old.clone();
        let start = all.as_mut_ptr();
        let [m, n, k] = [block as c_int; 3];
        // SAFETY: the blocks lie within the array and do not overlap.
        unsafe {
            f64::fortran(Arguments {
                settings: letters("NT"),
                sizes: [m, n, k],
                alpha: -1.0,
                a: start.add(a),
                lda: ld as c_int,
                b: start.add(b),
                ldb: ld as c_int,
                beta: 1.0,
                c: start.add(c),
                ldc: ld as c_int,
            });
        }
        for j in 0..ld {
            for i in 0..ld {
                let place = i + j * ld;
                let (row, col) = (i.wrapping_sub(c % ld), j.wrapping_sub(c / ld));
                if row >= block || col >= block {
                    assert_eq!(all[place].to_bits(), old[place].to_bits(), "outside C at {i}, {j}");
                    continue;
                }
                let sum: f64 = (0..block).map(|l| old[a + row + l * ld] * old[b + col + l * ld]).sum();
                assert!((all[place] - (old[place] - sum)).abs() < 1e-13, "C at {row}, {col}");
            }
        }
    }
}

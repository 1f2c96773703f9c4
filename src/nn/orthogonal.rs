//! Matrices with orthonormal columns.

/// Turns a matrix of `rows` x `cols`, at least as high as wide, into the Q of its QR decomposition with a positive diagonal of R.
///
/// Householder's reflections, one for each column k, which take from the matrix what is below the diagonal:
///
/// ```text
///   v = column k from row k on, v_k += sign(v_k) |column|     the sign that cancels nothing
///   A -= tau v (v^T A)          tau = 2 / v^T v
///   Q = H_0 H_1 .. H_n-1 I      applied backwards to the first columns of the identity, where it is short
///   Q's column k times the sign of R's element (k, k)
/// ```
///
/// A column that depends on the others (with normal numbers that does not happen) gets some direction at right angles to them.
/// Plain operations in f64, in an order that depends on the shape alone: the same bits everywhere.
pub(super) fn orthonormal(matrix: &mut [f64], rows: usize, cols: usize) {
    debug_assert!(rows >= cols && matrix.len() == rows * cols);
    let mut taus = vec![0.0; cols];
    let mut signs = vec![1.0; cols];
    let mut sums = vec![0.0; cols];
    let mut v = vec![0.0; rows];
    for k in 0..cols {
        let mut squares = 0.0;
        for i in k..rows {
            v[i] = matrix[i * cols + k];
            squares += v[i] * v[i];
        }
        let (head, norm) = (v[k], squares.sqrt());
        // R's diagonal is minus the head's sign times the norm.
        signs[k] = if head < 0.0 { 1.0 } else { -1.0 };
        v[k] = head - signs[k] * norm;
        matrix[k * cols + k] = v[k];
        // v^T v = 2 norm (norm + |head|).
        let square = 2.0 * norm * (norm + head.abs());
        taus[k] = if square > 0.0 { 2.0 / square } else { 0.0 };
        apply(matrix, &mut sums, &v, (rows, cols), (k, k + 1), taus[k]);
    }
    // The reflections stand below the diagonal, with the heads on it; what is above is R's, and not needed any more.
    let mut q = vec![0.0; rows * cols];
    for k in 0..cols {
        q[k * cols + k] = 1.0;
    }
    for k in (0..cols).rev() {
        for i in k..rows {
            v[i] = matrix[i * cols + k];
        }
        apply(&mut q, &mut sums, &v, (rows, cols), (k, k), taus[k]);
    }
    for row in q.chunks_exact_mut(cols) {
        row.iter_mut().zip(&signs).for_each(|(q, sign)| *q *= sign);
    }
    matrix.copy_from_slice(&q);
}

/// Applies the reflection `v` to the rows and columns of a matrix from these on.
fn apply(
    matrix: &mut [f64],
    sums: &mut [f64],
    v: &[f64],
    (rows, cols): (usize, usize),
    (first_row, first_column): (usize, usize),
    tau: f64,
) {
    let sums = &mut sums[first_column..];
    sums.fill(0.0);
    for (row, v) in matrix.chunks_exact(cols).zip(v).take(rows).skip(first_row) {
        sums.iter_mut().zip(&row[first_column..]).for_each(|(sum, x)| *sum += v * x);
    }
    for (row, v) in matrix.chunks_exact_mut(cols).zip(v).take(rows).skip(first_row) {
        let v = tau * v;
        row[first_column..].iter_mut().zip(&*sums).for_each(|(x, sum)| *x -= v * sum);
    }
}

#[cfg(test)]
mod tests {
    use super::orthonormal;

    /// PyTorch 2.15: `q, r = torch.linalg.qr(a)`, then `q * r.diagonal().sign()`, in float64; see tests/golden/inits.py.
    #[test]
    fn q_is_pytorchs() {
        let mut a = [1.0, -2.0, 0.5, 3.0, -0.25, 1.5, 2.0, 0.75];
        orthonormal(&mut a, 4, 2);
        let expected = [
            0.4338609156373123,
            -0.5337838349056007,
            0.21693045781865616,
            0.7413664373688897,
            -0.10846522890932808,
            0.38551054743182267,
            0.8677218312746247,
            0.12973912653955572,
        ];
        for (got, expected) in a.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-15, "{got}, not {expected}");
        }
    }

    #[test]
    fn columns_that_depend_on_each_other_still_give_right_angles() {
        for mut a in [[0.0; 6], [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]] {
            orthonormal(&mut a, 3, 2);
            let dot = |i: usize, j: usize| (0..3).map(|r| a[2 * r + i] * a[2 * r + j]).sum::<f64>();
            assert!(
                (dot(0, 0) - 1.0).abs() < 1e-15 && (dot(1, 1) - 1.0).abs() < 1e-15 && dot(0, 1).abs() < 1e-15
            );
        }
    }
}

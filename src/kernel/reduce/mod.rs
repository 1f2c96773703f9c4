//! Reductions: sums, means, variances, dot products, norms, largest and smallest elements and where they stand; of a
//! whole slice, of each row and of each column of a matrix (rows, width).
//!
//! The order of every sum depends on its length alone, so the bits are the same on every instruction set with a
//! fused multiply-add, and never depend on threads or on the other rows and columns. What one row gives is what the
//! row gives as a whole slice, and a column is treated as in a matrix of one column.
//!
//! ```text
//!   slice or row   chunk of SUM_CHUNK | chunk | ...     each in interleaved lanes that meet in a fixed tree,
//!                         |               |             the chunks' results combined in order
//!   columns        lanes run along the columns: each is one chain over the rows, from zero (sums, dot products,
//!                  norms), or one chain per chunk of ROW_CHUNK rows, the chunks combined in order (variances)
//! ```
//!
//! | result | largest error, u = 2^-24 in f32, 2^-53 in f64 |
//! | --- | --- |
//! | sum, L1 norm of n | (n / 4096 + 70) u times the sum of the magnitudes; by column n u |
//! | dot, sum of squares | (n / 4096 + 42) u times the sum of the products' magnitudes; by column n u |
//! | L2 norm | half of that for the sum of squares, and 3 u; no overflow or underflow on the way |
//! | variance | (n / 4096 + 80) u (1 + e^2), by column (n / 128 + 140) u (1 + e^2), relative, where e is the first pass's error of a chunk's mean over the standard deviation |
//! | mean with a variance | u of itself, and that of a mean of what is left of the elements when about the mean is taken off |
//! | max, min, L-infinity norm, positions | none |
//!
//! The error of a sum grows with the number of chunks and not with that of elements: a chunk of f32 has 64 additions
//! one after the other, one of f64 128, so for f64 add 64 to the constants.
//!
//! Nothing here allocates. Long slices, rows and columns are shared by threads, but for the mean with the variance of a
//! whole slice, an L2 norm of numbers whose squares leave the range, and columns of matrices narrower than 128.
//! NaN gives NaN; as an extreme NaN is beyond everything, so the first one
//! wins.

mod columns;
mod extreme;
mod finite;
mod moments;
mod norm;
mod position;
mod rows;
mod sum;

pub use columns::add_row;
pub(crate) use columns::{ColumnSums, load_of};
pub use extreme::{column_max, column_min, max, max_rows, min, min_rows};
pub use finite::first_non_finite;
pub use moments::{
    column_means_variances, column_variances, mean_variance, mean_variance_rows, variance, variance_rows,
};
pub(crate) use moments::{column_moments, moments};
pub use norm::{Norm, column_norms, norm, norm_rows};
pub use position::{argmax, argmax_rows, argmin, argmin_rows, column_argmax, column_argmin};
pub use sum::{
    column_dots, column_means, column_sums, dot, dot_rows, mean, mean_rows, sum, sum_rows, sum_squares,
};

use super::compiled::compiled;
use crate::error::{Error, Result};
use columns::{AddRow, Folds};
use extreme::{Largest, Smallest};
use finite::FirstNonFinite;
use moments::{ColumnMoments, RowMoments};
use norm::{Absolute, ColumnEuclid, Euclid, Magnitude};
use position::{ColumnPlaces, RowPlaces};
use rows::{RowPairs, Rows};
use sum::{Dot, Mean, Squares, Sum};

/// The elements of a chunk of a long sum: part of the order, never tuned.
pub const SUM_CHUNK: usize = 4096;

/// The rows of a chunk of a column's variance: part of the order, never tuned.
pub const ROW_CHUNK: usize = 128;

/// `width` is at least 1.
pub(crate) fn check_width(operation: &'static str, width: usize) -> Result<()> {
    if width == 0 {
        return Err(Error::argument(operation, "width", "at least 1", 0));
    }
    Ok(())
}

/// `length` is `rows * width`.
pub(crate) fn check_rows(
    operation: &'static str,
    what: &'static str,
    length: usize,
    rows: usize,
    width: usize,
) -> Result<()> {
    let expected = rows.checked_mul(width).ok_or_else(|| Error::overflow(operation, what))?;
    if length != expected {
        let expected = format_args!("{expected} elements ({rows} rows of {width})").to_string();
        return Err(Error::shape(operation, what, expected, length));
    }
    Ok(())
}

/// `out` has an element per row of `input`.
fn check_by_row(operation: &'static str, length: usize, width: usize, out: usize) -> Result<()> {
    check_width(operation, width)?;
    check_rows(operation, "input", length, out, width)
}

/// `out` has an element per column of `input`. Returns the number of rows, which is at least `least`.
fn check_by_column(
    operation: &'static str,
    length: usize,
    width: usize,
    out: usize,
    least: usize,
) -> Result<usize> {
    check_width(operation, width)?;
    if out != width {
        return Err(Error::shape(operation, "out", width, out));
    }
    let rows = whole_rows(operation, "input", length, width)?;
    if rows < least {
        let s = if least == 1 { "" } else { "s" };
        return Err(Error::argument(operation, "input", format_args!("at least {least} row{s}"), rows));
    }
    Ok(rows)
}

/// How many rows of `width` make `length`.
fn whole_rows(operation: &'static str, what: &'static str, length: usize, width: usize) -> Result<usize> {
    if !length.is_multiple_of(width) {
        return Err(Error::shape(operation, what, format_args!("a multiple of the width {width}"), length));
    }
    Ok(length / width)
}

/// There is at least one element.
fn check_some(operation: &'static str, length: usize) -> Result<()> {
    if length == 0 {
        return Err(Error::argument(operation, "x", "at least one element", "none"));
    }
    Ok(())
}

compiled! {
    Rows<'a, Self, Sum>,
    Rows<'a, Self, Mean>,
    Rows<'a, Self, Squares>,
    Rows<'a, Self, Absolute>,
    Rows<'a, Self, Euclid>,
    Rows<'a, Self, Magnitude>,
    Rows<'a, Self, Largest>,
    Rows<'a, Self, Smallest>,
    RowPairs<'a, Self, Dot>,
    RowPlaces<'a, Self, Largest>,
    RowPlaces<'a, Self, Smallest>,
    RowMoments<'a, Self>,
    ColumnSums<'a, Self>,
    Folds<'a, Self, Mean, 1>,
    Folds<'a, Self, Dot, 2>,
    Folds<'a, Self, Absolute, 1>,
    Folds<'a, Self, Magnitude, 1>,
    Folds<'a, Self, Largest, 1>,
    Folds<'a, Self, Smallest, 1>,
    ColumnEuclid<'a, Self>,
    ColumnPlaces<'a, Self, Largest>,
    ColumnPlaces<'a, Self, Smallest>,
    ColumnMoments<'a, Self>,
    AddRow<'a, Self>,
    FirstNonFinite<'a, Self>,
}

//! Rows of a table, looked up by whole numbers held as floats; and what comes back to the table.

use super::compiled::compiled;
use super::element::Element;
use super::loops::{Binary, zip_in_place};
use crate::context::Context;
use crate::simd::{Kernel, Simd};

/// The most rows of a table: whole numbers up to here are exact as f32.
pub(crate) const MOST_ROWS: usize = 1 << 24;

/// Each row of `output` is the row of `table` that the index says; both have rows of `width`.
///
/// `Err(i)`: index `i` is not a whole number below the table's number of rows; what is written then does not matter.
pub(crate) fn gather<T: Element>(
    table: &[T],
    width: usize,
    indices: &[T],
    output: &mut [T],
) -> Result<(), usize> {
    let rows = table.len() / width;
    for (i, (&index, output)) in indices.iter().zip(output.chunks_exact_mut(width)).enumerate() {
        // NaN and negative numbers become 0, which they are not.
        let row = index.to_f64() as usize;
        if row >= rows || <T as Element>::from_f64(row as f64) != index {
            return Err(i);
        }
        output.copy_from_slice(&table[row * width..(row + 1) * width]);
    }
    Ok(())
}

/// Adds rows to those rows of a table that the indices say, one after the other: a row's sum is a chain in the order of the
/// indices, wherever the table is cut.
pub(crate) struct ScatterAdd<'a, T> {
    pub indices: &'a [T],
    /// One row of `width` for each index.
    pub rows: &'a [T],
    pub width: usize,
    /// Rows with this index are left out.
    pub skip: Option<usize>,
    /// Some rows of the table.
    pub table: &'a mut [T],
    /// The number of their first.
    pub first: usize,
}

pub(crate) fn scatter_add<T: Element>(context: &Context, scatter: ScatterAdd<'_, T>) {
    T::run(context, scatter);
}

impl<T: Element> Kernel for ScatterAdd<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { indices, rows, width, skip, table, first } = self;
        // Compared as floats, which are exact: most indices belong to other parts of the table.
        let (low, high) = (number::<T>(first), number::<T>(first + table.len() / width));
        let skip = skip.map_or(-T::one(), number::<T>);
        for (&index, row) in indices.iter().zip(rows.chunks_exact(width)) {
            if index >= low && index < high && index != skip {
                let at = (index - low).to_f64() as usize * width;
                zip_in_place(s, Sum, &mut table[at..at + width], row);
            }
        }
    }
}

fn number<T: Element>(row: usize) -> T {
    <T as Element>::from_f64(row as f64)
}

/// `data[i] += other[i]`. The slices have one length.
pub(crate) fn add<T: Element>(context: &Context, data: &mut [T], other: &[T]) {
    assert_eq!(data.len(), other.len());
    T::run(context, AddTo { data, other });
}

pub(crate) struct AddTo<'a, T> {
    data: &'a mut [T],
    other: &'a [T],
}

impl<T: Element> Kernel for AddTo<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        zip_in_place(s, Sum, self.data, self.other);
    }
}

#[derive(Clone, Copy)]
struct Sum;

impl<T: Element> Binary<T> for Sum {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, x: T::V<S>, y: T::V<S>) -> T::V<S> {
        x + y
    }
}

compiled! {
    ScatterAdd<'a, Self>,
    AddTo<'a, Self>,
}

#[cfg(test)]
mod tests {
    use super::{ScatterAdd, gather, scatter_add};
    use crate::context::Context;
    use crate::simd::Isa;

    #[test]
    fn rows_are_found_and_other_numbers_refused() {
        let table: Vec<f32> = (0..15_u8).map(f32::from).collect();
        let mut output = [0.0; 9];
        assert_eq!(gather(&table, 3, &[4.0, -0.0, 2.0], &mut output), Ok(()));
        assert_eq!(output, [12.0, 13.0, 14.0, 0.0, 1.0, 2.0, 6.0, 7.0, 8.0]);
        for bad in [5.0, -1.0, 0.5, f32::NAN, f32::INFINITY, 1e30, -1e-30] {
            assert_eq!(gather(&table, 3, &[1.0, bad, 9.0], &mut output), Err(1), "{bad}");
        }
    }

    #[test]
    fn sums_are_the_same_for_any_cut() {
        let (width, rows, count) = (19, 11, 64);
        let indices: Vec<f64> = (0..count).map(|i| (i * i % rows) as f64).collect();
        let values: Vec<f64> = (0..count * width).map(|i| 1.0 / (i + 1) as f64).collect();
        let mut expected = vec![0.0; rows * width];
        for (i, &index) in indices.iter().enumerate() {
            for j in 0..width {
                let row = index as usize;
                if row != 4 {
                    expected[row * width + j] += values[i * width + j];
                }
            }
        }
        for isa in Isa::available() {
            let context = Context::new(isa).unwrap();
            for cut in [1, 3, rows] {
                let mut table = vec![0.0; rows * width];
                for (part, table) in table.chunks_mut(cut * width).enumerate() {
                    let scatter = ScatterAdd {
                        indices: &indices,
                        rows: &values,
                        width,
                        skip: Some(4),
                        table,
                        first: part * cut,
                    };
                    scatter_add(&context, scatter);
                }
                assert_eq!(table, expected, "{isa}, {cut} rows");
            }
        }
    }
}

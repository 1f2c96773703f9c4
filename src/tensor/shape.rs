//! Products and strides of dimensions, checked.

use crate::error::{Error, Result};
use std::fmt;

/// The number of elements of `shape`: the product of its dimensions, 1 for no dimension.
///
/// The product without the zero dimensions has to fit too, so that every stride does.
pub(crate) fn elements(operation: &'static str, shape: &[usize]) -> Result<usize> {
    let product = shape
        .iter()
        .filter(|&&dimension| dimension != 0)
        .try_fold(1_usize, |product, &dimension| product.checked_mul(dimension))
        .filter(|&product| isize::try_from(product).is_ok())
        .ok_or_else(|| Error::overflow(operation, format!("shape {}", Times(shape))))?;
    Ok(if shape.contains(&0) { 0 } else { product })
}

/// The offset of the element at `index`, row by row; `None` if it has another number of dimensions or is out of
/// range.
#[inline]
pub(crate) fn offset(shape: &[usize], index: &[usize]) -> Option<usize> {
    if shape.len() != index.len() {
        return None;
    }
    let mut offset = 0;
    for (&dimension, &i) in shape.iter().zip(index) {
        if i >= dimension {
            return None;
        }
        // Below the number of elements, so no overflow.
        offset = offset * dimension + i;
    }
    Some(offset)
}

/// How many elements lie between two neighbours along each dimension. `shape` passed [`elements`].
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i].max(1);
    }
    strides
}

/// Prints a shape as `60000 x 28 x 28`.
pub(crate) struct Times<'a>(pub(crate) &'a [usize]);

impl fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("scalar");
        }
        for (i, dimension) in self.0.iter().enumerate() {
            write!(f, "{}{dimension}", if i == 0 { "" } else { " x " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products() {
        assert_eq!(elements("test", &[]).unwrap(), 1);
        assert_eq!(elements("test", &[2, 3, 4]).unwrap(), 24);
        assert_eq!(elements("test", &[2, 0, 4]).unwrap(), 0);
        let huge = isize::MAX as usize;
        assert_eq!(elements("test", &[huge]).unwrap(), huge);
        for shape in [&[huge + 1][..], &[huge, 3], &[usize::MAX, usize::MAX, 0], &[1 << 32, 1 << 32]] {
            let error = elements("test", shape).unwrap_err();
            assert!(matches!(error, Error::Overflow { operation: "test", .. }), "{error}");
        }
    }

    #[test]
    fn strides_and_offsets_agree() {
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
        assert_eq!(strides(&[2, 0, 4]), [4, 4, 1]);
        assert!(strides(&[]).is_empty());
        let shape = [2, 3, 4];
        let mut expected = 0;
        for i in 0..2 {
            for j in 0..3 {
                for k in 0..4 {
                    assert_eq!(offset(&shape, &[i, j, k]), Some(expected));
                    let dot: usize = strides(&shape).iter().zip([i, j, k]).map(|(s, i)| s * i).sum();
                    assert_eq!(dot, expected);
                    expected += 1;
                }
            }
        }
        assert_eq!(offset(&shape, &[2, 0, 0]), None);
        assert_eq!(offset(&shape, &[0, 0, 4]), None);
        assert_eq!(offset(&shape, &[0, 0]), None);
        assert_eq!(offset(&[], &[]), Some(0));
        assert_eq!(Times(&[60_000, 28, 28]).to_string(), "60000 x 28 x 28");
    }
}

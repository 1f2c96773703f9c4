//! How the elements of a sample stand in memory: dimensions as PyTorch names them, and where each element lies.
//!
//! ```text
//! image       dims (C, H, W)    stored H, W, C: channels last
//! sequence    dims (L, E)       stored as it is
//! features    dims (F)          maybe stored otherwise: Flatten moves nothing, it only says that (C, H, W) is (F) now
//! ```

/// A sample's dimensions and the place of each of its elements.
///
/// Two values with the same dimensions may be stored in different orders; no element is stored twice and there are no gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// As PyTorch would say it, without the batch.
    dims: Vec<usize>,
    /// Length and stride of the axes whose product is that of the dimensions, in the order in which elements are counted:
    /// the last is the fastest. No axis has the length 1, and two that could be one are one.
    axes: Vec<(usize, usize)>,
}

impl Form {
    /// Stored as it is counted.
    pub(crate) fn rows(dims: &[usize]) -> Self {
        Self::stored(dims, &(0..dims.len()).collect::<Vec<_>>())
    }

    /// Channels, then positions; stored with the channels last.
    pub(crate) fn channels_last(dims: &[usize]) -> Self {
        let order: Vec<usize> = (1..dims.len()).chain(0..1.min(dims.len())).collect();
        Self::stored(dims, &order)
    }

    /// Stored in the order of the dimensions that `order` says: the last one is the fastest in memory.
    fn stored(dims: &[usize], order: &[usize]) -> Self {
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for &dim in order.iter().rev() {
            strides[dim] = stride;
            stride *= dims[dim];
        }
        Self { dims: dims.to_vec(), axes: simplified(dims.iter().copied().zip(strides)) }
    }

    /// Elements of a sample.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Other dimensions for the same elements in the same order: `None` if they are not as many.
    pub(crate) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        let len = dims.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim))?;
        (len == self.len()).then(|| Self { dims: dims.to_vec(), axes: self.axes.clone() })
    }

    /// The dimensions in another order, without moving anything; `None` if `order` is not an order of them, or a dimension
    /// has no stride of its own.
    pub(crate) fn permuted(&self, order: &[usize]) -> Option<Self> {
        let strides = self.strides()?;
        let mut seen = vec![false; self.dims.len()];
        for &dim in order {
            if std::mem::replace(seen.get_mut(dim)?, true) {
                return None;
            }
        }
        if order.len() != self.dims.len() {
            return None;
        }
        let dims: Vec<usize> = order.iter().map(|&dim| self.dims[dim]).collect();
        let axes = simplified(order.iter().map(|&dim| (self.dims[dim], strides[dim])));
        Some(Self { dims, axes })
    }

    /// The stride of each dimension, if each has one.
    pub(crate) fn strides(&self) -> Option<Vec<usize>> {
        // Axes are taken from the last on, each dimension a part of one axis.
        let mut axes = self.axes.iter().rev().copied();
        let mut current = (1, 0);
        let mut strides = vec![0; self.dims.len()];
        for (dim, stride) in self.dims.iter().zip(&mut strides).rev() {
            if *dim == 1 {
                continue;
            }
            if current.0 == 1 {
                current = axes.next()?;
            }
            if !current.0.is_multiple_of(*dim) {
                return None;
            }
            *stride = current.1;
            current = (current.0 / dim, current.1 * dim);
        }
        Some(strides)
    }

    /// True if both store the same elements at the same places, whatever the dimensions.
    pub(crate) fn is_stored_as(&self, other: &Self) -> bool {
        self.axes == other.axes
    }

    /// Length and stride of the axes.
    pub(crate) fn axes(&self) -> &[(usize, usize)] {
        &self.axes
    }
}

/// The place of each element of axes of these lengths and strides.
pub(crate) fn places(axes: &[(usize, usize)]) -> impl Iterator<Item = usize> + '_ {
    // The last axis runs within each place of the others.
    let (&(len, stride), others) = axes.split_last().unwrap_or((&(1, 0), &[]));
    let outer: usize = others.iter().map(|axis| axis.0).product();
    (0..outer).flat_map(move |mut index| {
        let mut at = 0;
        for &(len, stride) in others.iter().rev() {
            at += index % len * stride;
            index /= len;
        }
        (0..len).map(move |step| at + step * stride)
    })
}

/// Axes without those of length 1, and neighbours that are one made one.
pub(crate) fn simplified(axes: impl IntoIterator<Item = (usize, usize)>) -> Vec<(usize, usize)> {
    let mut simple: Vec<(usize, usize)> = Vec::new();
    for (len, stride) in axes.into_iter().filter(|axis| axis.0 != 1) {
        match simple.last_mut() {
            Some(last) if last.1 == len * stride => *last = (last.0 * len, stride),
            _ => simple.push((len, stride)),
        }
    }
    simple
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattened_images_stay_where_they_are() {
        let image = Form::channels_last(&[3, 4, 5]);
        assert_eq!(image.strides().unwrap(), [1, 15, 3]);
        let flat = image.reshaped(&[60]).unwrap();
        assert!(flat.is_stored_as(&image) && flat.axes().len() == 2 && flat.strides().is_none());
        let places: Vec<usize> = places(flat.axes()).collect();
        // Element (c, y, x) is counted at (c * 4 + y) * 5 + x.
        for (c, y, x) in [(0, 0, 0), (1, 2, 3), (2, 3, 4)] {
            assert_eq!(places[(c * 4 + y) * 5 + x], (y * 5 + x) * 3 + c);
        }
        assert_eq!(flat.reshaped(&[3, 4, 5]).unwrap(), image);
        assert!(flat.reshaped(&[3, 4]).is_none());
    }

    #[test]
    fn permuting_moves_nothing() {
        let image = Form::channels_last(&[3, 4, 5]);
        let last = image.permuted(&[1, 2, 0]).unwrap();
        assert_eq!(last.dims(), [4, 5, 3]);
        assert!(last.is_stored_as(&Form::rows(&[4, 5, 3])));
        assert!(image.permuted(&[0, 0, 1]).is_none() && image.permuted(&[0, 1]).is_none());
        assert!(
            Form::channels_last(&[1, 4, 5]).axes().len() == 1 && Form::channels_last(&[7]).axes().len() == 1
        );
    }
}

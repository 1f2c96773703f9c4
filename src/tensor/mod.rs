//! Owned arrays of numbers: row-major, 64-byte aligned.

#[allow(unsafe_code, reason = "allocates aligned memory; see the module")]
mod buffer;
pub(crate) mod shape;

pub use buffer::AlignedBuffer;

use crate::error::{Error, Result};
use crate::kernel::Element;
use shape::Times;
use std::fmt;
use std::ops::{Index, IndexMut};

/// An array of floats of any number of dimensions, row by row: the last index runs fastest.
///
/// Element `[i, j, k]` of shape `[a, b, c]` stands at `(i b + j) c + k`. The first element is 64-byte aligned. No
/// dimension is a scalar of one element; a zero dimension means that there is no element.
///
/// ```
/// use gemmule::Tensor;
///
/// let mut t = Tensor::from_vec(&[2, 3], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(t.shape(), [2, 3]);
/// assert_eq!(t[[1, 0]], 4.0);
/// t[[1, 0]] = 40.0;
/// assert_eq!(t.row(1), [40.0, 5.0, 6.0]);
/// let t = t.reshape(&[3, 2])?;
/// assert_eq!(t.get(&[2, 1]), Some(&6.0));
/// assert_eq!(t.get(&[3, 0]), None);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Tensor<T: Element = f32> {
    shape: Vec<usize>,
    data: AlignedBuffer<T>,
}

impl<T: Element> Tensor<T> {
    /// All elements +0.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the shape has more elements than memory can; [`Error::OutOfMemory`].
    pub fn zeros(shape: &[usize]) -> Result<Self> {
        let len = shape::elements("Tensor::zeros", shape)?;
        Ok(Self { shape: shape.to_vec(), data: AlignedBuffer::try_zeroed(len)? })
    }

    /// All elements `value`.
    ///
    /// # Errors
    /// As [`zeros`](Self::zeros).
    pub fn full(shape: &[usize], value: T) -> Result<Self> {
        let mut tensor = Self::zeros(shape)?;
        tensor.data.fill(value);
        Ok(tensor)
    }

    /// The elements of `values`, row by row. Copies them to aligned memory.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` has not as many elements as the shape; else as [`zeros`](Self::zeros).
    pub fn from_slice(shape: &[usize], values: &[T]) -> Result<Self> {
        let len = shape::elements("Tensor::from_slice", shape)?;
        if values.len() != len {
            return Err(Error::shape(
                "Tensor::from_slice",
                "values",
                format_args!("{len} ({})", Times(shape)),
                values.len(),
            ));
        }
        let mut tensor = Self::zeros(shape)?;
        tensor.data.copy_from_slice(values);
        Ok(tensor)
    }

    /// As [`from_slice`](Self::from_slice), for a vector that is not needed any more.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn from_vec(shape: &[usize], values: Vec<T>) -> Result<Self> {
        Self::from_slice(shape, &values)
    }

    /// The element at each index is `value(index)`; called in the order of the elements.
    ///
    /// ```
    /// use gemmule::Tensor;
    /// let identity = Tensor::from_fn(&[3, 3], |i| if i[0] == i[1] { 1.0_f32 } else { 0.0 })?;
    /// assert_eq!(identity.row(1), [0.0, 1.0, 0.0]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`zeros`](Self::zeros).
    pub fn from_fn(shape: &[usize], mut value: impl FnMut(&[usize]) -> T) -> Result<Self> {
        let mut tensor = Self::zeros(shape)?;
        let mut index = vec![0; shape.len()];
        for element in tensor.data.iter_mut() {
            *element = value(&index);
            for (i, &dimension) in index.iter_mut().zip(shape).rev() {
                *i += 1;
                if *i < dimension {
                    break;
                }
                *i = 0;
            }
        }
        Ok(tensor)
    }

    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements lie between two neighbours along each dimension.
    pub fn strides(&self) -> Vec<usize> {
        shape::strides(&self.shape)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// True if there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements, row by row.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// The elements, row by row.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements, row by row, copied to a vector (whose memory has no such alignment).
    pub fn into_vec(self) -> Vec<T> {
        self.data.to_vec()
    }

    /// The element at `index`; `None` if it has another number of dimensions or is out of range.
    pub fn get(&self, index: &[usize]) -> Option<&T> {
        shape::offset(&self.shape, index).map(|offset| &self.data[offset])
    }

    /// The element at `index`; `None` if it has another number of dimensions or is out of range.
    pub fn get_mut(&mut self, index: &[usize]) -> Option<&mut T> {
        shape::offset(&self.shape, index).map(|offset| &mut self.data[offset])
    }

    /// All elements whose first index is `i`, row by row.
    ///
    /// # Panics
    /// If `i` is out of range, or there is no dimension.
    pub fn row(&self, i: usize) -> &[T] {
        let width = self.row_width(i);
        &self.data[i * width..][..width]
    }

    /// All elements whose first index is `i`, row by row.
    ///
    /// # Panics
    /// If `i` is out of range, or there is no dimension.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        let width = self.row_width(i);
        &mut self.data[i * width..][..width]
    }

    fn row_width(&self, i: usize) -> usize {
        let rows = self.shape.first().copied().unwrap_or(0);
        assert!(i < rows, "Tensor::row: expected an index below {rows}, got {i}");
        self.data.len() / rows
    }

    /// The same elements in the same order under another shape. Copies nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shape has another number of elements; [`Error::Overflow`].
    pub fn reshape(mut self, shape: &[usize]) -> Result<Self> {
        if shape::elements("Tensor::reshape", shape)? != self.data.len() {
            return Err(Error::shape(
                "Tensor::reshape",
                "shape",
                format_args!("{} elements ({})", self.data.len(), Times(&self.shape)),
                Times(shape),
            ));
        }
        self.shape.clear();
        self.shape.extend_from_slice(shape);
        Ok(self)
    }

    /// `change` of every element.
    ///
    /// ```
    /// use gemmule::Tensor;
    /// let t = Tensor::from_slice(&[2], &[1.0_f64, -2.0])?.map(|x| x * 10.0);
    /// assert_eq!(t.as_slice(), [10.0, -20.0]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    #[must_use]
    pub fn map(mut self, mut change: impl FnMut(T) -> T) -> Self {
        for element in self.data.iter_mut() {
            *element = change(*element);
        }
        self
    }
}

/// # Panics
/// If the index has another number of dimensions or is out of range; [`Tensor::get`] does not.
impl<T: Element, const N: usize> Index<[usize; N]> for Tensor<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: [usize; N]) -> &T {
        match shape::offset(&self.shape, &index) {
            Some(offset) => &self.data[offset],
            None => outside(&self.shape, &index),
        }
    }
}

/// # Panics
/// If the index has another number of dimensions or is out of range; [`Tensor::get_mut`] does not.
impl<T: Element, const N: usize> IndexMut<[usize; N]> for Tensor<T> {
    #[inline]
    fn index_mut(&mut self, index: [usize; N]) -> &mut T {
        match shape::offset(&self.shape, &index) {
            Some(offset) => &mut self.data[offset],
            None => outside(&self.shape, &index),
        }
    }
}

#[cold]
fn outside(shape: &[usize], index: &[usize]) -> ! {
    panic!("Tensor: index {index:?} is not in shape {}", Times(shape))
}

/// The type, the shape and the first elements.
impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor<{}>({}, {})", T::NAME, Times(&self.shape), Truncated(&self.data))
    }
}

/// Prints the first eight items and how many more there are.
pub(crate) struct Truncated<'a, I>(pub(crate) &'a [I]);

impl<I: fmt::Debug> fmt::Display for Truncated<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        f.write_str("[")?;
        for (i, item) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{item:?}", if i == 0 { "" } else { ", " })?;
        }
        if self.0.len() > SHOWN {
            write!(f, ", ... {} more", self.0.len() - SHOWN)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn construction_checks_every_size() {
        let error = Tensor::from_vec(&[2, 3], vec![0.0_f32; 5]).unwrap_err();
        assert_eq!(error.to_string(), "Tensor::from_slice: values: expected 6 (2 x 3), got 5");
        let error = Tensor::<f32>::zeros(&[1 << 40, 1 << 40]).unwrap_err();
        assert!(matches!(error, Error::Overflow { operation: "Tensor::zeros", .. }), "{error}");
        let error = Tensor::<f64>::zeros(&[usize::MAX / 4]).unwrap_err();
        assert!(matches!(error, Error::Overflow { .. }), "{error}");
        let error = Tensor::<f32>::zeros(&[4]).unwrap().reshape(&[3]).unwrap_err();
        assert_eq!(error.to_string(), "Tensor::reshape: shape: expected 4 elements (4), got 3");
        assert!(Tensor::<f32>::zeros(&[0]).unwrap().reshape(&[usize::MAX, 2, 0]).is_err());
    }

    #[test]
    fn odd_shapes() {
        let scalar = Tensor::from_slice(&[], &[3.0_f64]).unwrap();
        assert_eq!((scalar.len(), scalar[[]], scalar.get(&[])), (1, 3.0, Some(&3.0)));
        let empty = Tensor::<f32>::zeros(&[3, 0]).unwrap();
        assert!(empty.is_empty() && empty.row(2).is_empty());
        assert_eq!(Tensor::<f32>::from_fn(&[0, 2], |_| unreachable!()).unwrap().len(), 0);
    }

    #[test]
    fn indices() {
        let t = Tensor::from_fn(&[2, 3, 4], |i| (i[0] * 100 + i[1] * 10 + i[2]) as f32).unwrap();
        assert_eq!(t[[1, 2, 3]], 123.0);
        assert_eq!(t.get(&[1, 2, 3]), Some(&123.0));
        assert_eq!(t.row(1)[..5], [100.0, 101.0, 102.0, 103.0, 110.0]);
        assert_eq!(t.strides(), [12, 4, 1]);
        assert_eq!(t.get(&[1, 2]), None);
        assert_eq!(t.get(&[1, 3, 0]), None);
        assert_eq!(t.clone().into_vec(), t.as_slice());
        assert!(std::panic::catch_unwind(|| t[[0, 3, 0]]).is_err());
        assert!(std::panic::catch_unwind(|| t[[0, 0]]).is_err());
        assert!(std::panic::catch_unwind(|| t.row(2).len()).is_err());
        let mut u = t.clone();
        u.row_mut(0)[0] = 7.0;
        u[[0, 0, 1]] = 8.0;
        *u.get_mut(&[0, 0, 2]).unwrap() = 9.0;
        assert_eq!(u.as_slice()[..4], [7.0, 8.0, 9.0, 3.0]);
        assert_ne!(u, t);
        assert_ne!(t.clone().reshape(&[4, 3, 2]).unwrap(), t);
    }

    #[test]
    fn debug_is_short() {
        let t = Tensor::full(&[2, 2], 1.5_f32).unwrap();
        assert_eq!(format!("{t:?}"), "Tensor<f32>(2 x 2, [1.5, 1.5, 1.5, 1.5])");
        let t = Tensor::<f64>::zeros(&[100]).unwrap();
        assert_eq!(
            format!("{t:?}"),
            "Tensor<f64>(100, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, ... 92 more])"
        );
    }
}

//! Reads and writes npy files: one array, as `numpy.save` writes it.

mod header;

use super::dataset::Dataset;
use crate::error::{Error, Result};
use crate::file::read::{self, READER, Size, Source};
use crate::file::write;
use crate::kernel::Element;
use crate::tensor::Tensor;
use crate::tensor::shape::{self, Times};
use header::{Header, Kind, MAX_DIMENSIONS};
use std::any::Any;
use std::io::{self, Read, Write};
use std::path::Path;

/// An array of an npy or npz file, row by row (C order) whatever the order in the file.
///
/// ```
/// use gemmule::data::{NpyArray, NpyData};
///
/// let array = NpyArray::new(&[2, 3], NpyData::I32(vec![1, 2, 3, 4, 5, 6]))?;
/// assert_eq!((array.shape(), array.dtype()), (&[2, 3][..], "i32"));
/// assert_eq!(array.to_tensor::<f32>()?[[1, 0]], 4.0);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NpyArray {
    shape: Vec<usize>,
    data: NpyData,
}

/// The elements of an [`NpyArray`], in the type that the file holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NpyData {
    /// `numpy.uint8`
    U8(Vec<u8>),
    /// `numpy.int32`
    I32(Vec<i32>),
    /// `numpy.int64`
    I64(Vec<i64>),
    /// `numpy.float32`
    F32(Vec<f32>),
    /// `numpy.float64`
    F64(Vec<f64>),
}

/// What can be written as npy: a tensor of floats or an [`NpyArray`], borrowed.
///
/// ```
/// use gemmule::Tensor;
/// use gemmule::data::{NpyView, read_npy_from, write_npy_to};
///
/// let t = Tensor::from_slice(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0])?;
/// let mut file = Vec::new();
/// write_npy_to(&mut file, NpyView::from(&t))?;
/// assert_eq!(read_npy_from(&file[..])?.to_tensor::<f32>()?, t);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NpyView<'a> {
    shape: &'a [usize],
    data: Slice<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Slice<'a> {
    U8(&'a [u8]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl NpyArray {
    /// An array of this shape, row by row.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements is not the product of `shape`; [`Error::Overflow`].
    pub fn new(shape: &[usize], data: NpyData) -> Result<Self> {
        let expected = shape::elements("NpyArray::new", shape)?;
        let array = Self { shape: shape.to_vec(), data };
        if array.len() != expected {
            let expected = format!("{expected} ({})", Times(shape));
            return Err(Error::shape("NpyArray::new", "data", expected, array.len()));
        }
        Ok(array)
    }

    /// The dimensions; none for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row by row.
    pub fn data(&self) -> &NpyData {
        &self.data
    }

    /// The elements, row by row.
    pub fn into_data(self) -> NpyData {
        self.data
    }

    /// `u8`, `i32`, `i64`, `f32` or `f64`.
    pub fn dtype(&self) -> &'static str {
        NpyView::from(self).kind().name()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        NpyView::from(self).len()
    }

    /// True if there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as floats: each is rounded to the nearest f64 and then to the nearest `T`.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the shape has more elements of `T` than memory can; [`Error::OutOfMemory`].
    pub fn to_tensor<T: Element>(&self) -> Result<Tensor<T>> {
        let mut tensor = Tensor::zeros(&self.shape)?;
        let out = tensor.as_mut_slice();
        match &self.data {
            NpyData::U8(x) => convert(x, out, |x| T::from_f64(f64::from(x))),
            NpyData::I32(x) => convert(x, out, |x| T::from_f64(f64::from(x))),
            NpyData::I64(x) => convert(x, out, |x| T::from_f64(x as f64)),
            NpyData::F32(x) => convert(x, out, |x| T::from_f64(f64::from(x))),
            NpyData::F64(x) => convert(x, out, T::from_f64),
        }
        Ok(tensor)
    }

    /// Samples without targets; the first dimension counts them. Bytes stay bytes, `f32` and `i32` become f32, `f64` and
    /// `i64` become f64 (a model of f32 rounds while a batch is gathered).
    ///
    /// ```
    /// use gemmule::data::{NpyArray, NpyData};
    ///
    /// let x = NpyArray::new(&[2, 2], NpyData::U8(vec![1, 2, 3, 4]))?;
    /// let y = NpyArray::new(&[2], NpyData::I64(vec![0, 1]))?;
    /// let data = x.into_dataset()?.with_classes(y.to_labels()?, 2)?;
    /// assert_eq!((data.bytes(1), data.class(1)), (Some(&[3, 4][..]), Some(1)));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Dataset::from_bytes`] and [`Dataset::from_values`].
    pub fn into_dataset(self) -> Result<Dataset> {
        match self.data {
            NpyData::U8(bytes) => Dataset::from_bytes(&self.shape, bytes),
            NpyData::F32(_) | NpyData::I32(_) => {
                let values = self.to_tensor::<f32>()?;
                drop(self);
                Dataset::from_values(values)
            }
            NpyData::F64(_) | NpyData::I64(_) => {
                let values = self.to_tensor::<f64>()?;
                drop(self);
                Dataset::from_values(values)
            }
        }
    }

    /// The elements as classes. Any shape of one label per row will do: `[n]`, `[n, 1]`.
    ///
    /// # Errors
    /// [`Error::Data`] if the elements are floats, if one is not in 0 to 2^32 - 1 (names it), or if there are several per
    /// row.
    pub fn to_labels(&self) -> Result<Vec<u32>> {
        const OPERATION: &str = "NpyArray::to_labels";
        if self.shape.first() != Some(&self.len()) {
            return Err(Error::data(OPERATION, "the shape", "one label per row", Times(&self.shape)));
        }
        let mut labels = Vec::new();
        read::reserve(OPERATION, &mut labels, self.len())?;
        let mut push = |(i, label): (usize, i64)| match u32::try_from(label) {
            Ok(label) => {
                labels.push(label);
                Ok(())
            }
            Err(_) => Err(Error::data(OPERATION, format!("the label of sample {i}"), "0 to 2^32 - 1", label)),
        };
        match &self.data {
            NpyData::U8(x) => x.iter().map(|&x| i64::from(x)).enumerate().try_for_each(&mut push)?,
            NpyData::I32(x) => x.iter().map(|&x| i64::from(x)).enumerate().try_for_each(&mut push)?,
            NpyData::I64(x) => x.iter().copied().enumerate().try_for_each(&mut push)?,
            NpyData::F32(_) | NpyData::F64(_) => {
                return Err(Error::data(OPERATION, "the type", "integers", self.dtype()));
            }
        }
        Ok(labels)
    }
}

fn convert<S: Copy, T>(from: &[S], to: &mut [T], value: impl Fn(S) -> T) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = value(from);
    }
}

impl NpyView<'_> {
    fn kind(&self) -> Kind {
        match self.data {
            Slice::U8(_) => Kind::U8,
            Slice::I32(_) => Kind::I32,
            Slice::I64(_) => Kind::I64,
            Slice::F32(_) => Kind::F32,
            Slice::F64(_) => Kind::F64,
        }
    }

    fn len(&self) -> usize {
        match self.data {
            Slice::U8(x) => x.len(),
            Slice::I32(x) => x.len(),
            Slice::I64(x) => x.len(),
            Slice::F32(x) => x.len(),
            Slice::F64(x) => x.len(),
        }
    }

    /// The file, header and elements, to the byte what NumPy 2 writes.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if self.shape.len() > MAX_DIMENSIONS {
            let message = format!("NumPy has at most {MAX_DIMENSIONS} dimensions, got {}", self.shape.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        out.write_all(&header::text(self.kind(), self.shape))?;
        match self.data {
            Slice::U8(x) => out.write_all(x),
            Slice::I32(x) => write_values(out, x, |x| x.to_le_bytes()),
            Slice::I64(x) => write_values(out, x, |x| x.to_le_bytes()),
            Slice::F32(x) => write_values(out, x, |x| x.to_le_bytes()),
            Slice::F64(x) => write_values(out, x, |x| x.to_le_bytes()),
        }
    }

    /// How many bytes [`write`](Self::write) gives.
    #[cfg(feature = "npz")]
    pub(super) fn bytes(&self) -> u64 {
        (header::text(self.kind(), self.shape).len() + self.len() * self.kind().size()) as u64
    }
}

fn write_values<V: Copy, const N: usize>(
    out: &mut impl Write,
    values: &[V],
    encode: impl Fn(V) -> [u8; N],
) -> io::Result<()> {
    let mut piece = Vec::with_capacity(1 << 16);
    for values in values.chunks((1 << 16) / N) {
        piece.clear();
        values.iter().for_each(|&value| piece.extend_from_slice(&encode(value)));
        out.write_all(&piece)?;
    }
    Ok(())
}

impl<'a, T: Element> From<&'a Tensor<T>> for NpyView<'a> {
    fn from(tensor: &'a Tensor<T>) -> Self {
        let any: &dyn Any = tensor;
        let data = match any.downcast_ref::<Tensor<f32>>() {
            Some(tensor) => Slice::F32(tensor.as_slice()),
            None => {
                let tensor = any.downcast_ref::<Tensor<f64>>();
                Slice::F64(tensor.expect("Element is f32 and f64 and sealed").as_slice())
            }
        };
        Self { shape: tensor.shape(), data }
    }
}

impl<'a> From<&'a NpyArray> for NpyView<'a> {
    fn from(array: &'a NpyArray) -> Self {
        let data = match &array.data {
            NpyData::U8(x) => Slice::U8(x),
            NpyData::I32(x) => Slice::I32(x),
            NpyData::I64(x) => Slice::I64(x),
            NpyData::F32(x) => Slice::F32(x),
            NpyData::F64(x) => Slice::F64(x),
        };
        Self { shape: &array.shape, data }
    }
}

/// Reads an npy file: versions 1 to 3, C and Fortran order, u8, i32, i64, f32 and f64 of either byte order.
///
/// Takes at most twice the size of the file and a few kilobytes of memory, whatever the header claims (twice only for
/// Fortran order).
///
/// ```
/// use gemmule::Tensor;
/// # let path = std::env::temp_dir().join(format!("gemmule-doc-{}.npy", std::process::id()));
/// let t = Tensor::from_slice(&[2, 2], &[1.0_f64, 2.0, 3.0, 4.0])?;
/// gemmule::data::write_npy(&path, &t)?;
/// let array = gemmule::data::read_npy(&path)?;
/// assert_eq!((array.shape(), array.dtype()), (&[2, 2][..], "f64"));
/// assert_eq!(array.to_tensor::<f64>()?, t);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be read. [`Error::Format`] if it is not an npy file, has another type (object arrays
/// hold pickled programs and are never read), ends too early or goes on after its last element. [`Error::OutOfMemory`].
pub fn read_npy(path: impl AsRef<Path>) -> Result<NpyArray> {
    let path = path.as_ref();
    let (reader, size) = read::open(path)?;
    let mut source = source(path, reader);
    let (array, claim) = array(&mut source, size)?;
    source.end(&claim)?;
    Ok(array)
}

/// As [`read_npy`], from anything that brings bytes; leaves those after the array unread, so several may follow each other,
/// as after several `numpy.save` to one open file. Up to twice the size of the array is in use (three times for Fortran
/// order): its length is known only when it has come.
///
/// # Errors
/// As [`read_npy`]; the file's name is `(reader)`.
pub fn read_npy_from(reader: impl Read) -> Result<NpyArray> {
    Ok(array(&mut source(Path::new(READER), reader), Size::Unknown)?.0)
}

fn source<R>(path: &Path, reader: R) -> Source<'_, R> {
    Source { operation: "read_npy", path, format: "npy", part: "", compressed: false, reader }
}

/// The next array, and what the stream is to hold.
pub(super) fn array<R: Read>(source: &mut Source<R>, size: Size) -> Result<(NpyArray, String)> {
    let header = Header::read(source)?;
    let kind = header.kind;
    let elements = shape::elements("read_npy", &header.shape).ok();
    let whole = elements.and_then(|len| len.checked_mul(kind.size())?.checked_add(header.len));
    let (Some(len), Some(whole)) = (elements, whole) else {
        return Err(source.error("the shape", "a product that fits in memory", Times(&header.shape)));
    };
    let claim = format!("{whole} bytes (header and {} {})", Times(&header.shape), kind.name());
    match size {
        Size::File(actual) if actual != whole as u64 => {
            return Err(source.error("the size of the file", claim, format_args!("{actual} bytes")));
        }
        Size::Limit(limit) if limit < whole as u64 => {
            let limit = format!("at most {limit} bytes (the limit)");
            return Err(source.error("the decompressed size", limit, claim));
        }
        _ => {}
    }
    let big = header.big_endian;
    let Header { shape, fortran, .. } = header;
    let data = match kind {
        Kind::U8 => NpyData::U8(rows(source.bytes(len, size, &claim)?, &shape, fortran)?),
        Kind::I32 => {
            let decode = |word| if big { i32::from_be_bytes(word) } else { i32::from_le_bytes(word) };
            NpyData::I32(rows(source.values(len, size, &claim, decode)?, &shape, fortran)?)
        }
        Kind::I64 => {
            let decode = |word| if big { i64::from_be_bytes(word) } else { i64::from_le_bytes(word) };
            NpyData::I64(rows(source.values(len, size, &claim, decode)?, &shape, fortran)?)
        }
        Kind::F32 => {
            let decode = |word| if big { f32::from_be_bytes(word) } else { f32::from_le_bytes(word) };
            NpyData::F32(rows(source.values(len, size, &claim, decode)?, &shape, fortran)?)
        }
        Kind::F64 => {
            let decode = |word| if big { f64::from_be_bytes(word) } else { f64::from_le_bytes(word) };
            NpyData::F64(rows(source.values(len, size, &claim, decode)?, &shape, fortran)?)
        }
    };
    Ok((NpyArray { shape, data }, claim))
}

/// From Fortran order, where the first index runs fastest, to row by row.
fn rows<V: Copy>(values: Vec<V>, shape: &[usize], fortran: bool) -> Result<Vec<V>> {
    // Then both orders are one.
    if !fortran || shape.iter().filter(|&&dimension| dimension != 1).count() <= 1 || values.is_empty() {
        return Ok(values);
    }
    let mut strides = vec![1; shape.len()];
    for i in 1..shape.len() {
        strides[i] = strides[i - 1] * shape[i - 1];
    }
    let mut out = Vec::new();
    read::reserve("read_npy", &mut out, values.len())?;
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..values.len() {
        out.push(values[at]);
        for i in (0..shape.len()).rev() {
            index[i] += 1;
            at += strides[i];
            if index[i] < shape[i] {
                break;
            }
            at -= strides[i] * shape[i];
            index[i] = 0;
        }
    }
    Ok(out)
}

/// Writes a tensor of f32 or f64, or an [`NpyArray`], as `numpy.save` does, to the byte. The file at `path` is replaced as a whole
/// or, after an error, left as it was.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written, or the array has more than NumPy's 64 dimensions.
pub fn write_npy<'a>(path: impl AsRef<Path>, array: impl Into<NpyView<'a>>) -> Result<()> {
    write::write(path.as_ref(), |mut out| array.into().write(&mut out))
}

/// As [`write_npy`], to anything that takes bytes.
///
/// # Errors
/// As [`write_npy`]; the file's name is `(writer)`.
pub fn write_npy_to<'a>(mut writer: impl Write, array: impl Into<NpyView<'a>>) -> Result<()> {
    array.into().write(&mut writer).map_err(|source| Error::Io { path: "(writer)".into(), source })
}

/// Reads samples and their targets from two npy files; the first dimension of each counts the samples.
///
/// Targets that are integers are classes, below `classes`, or, without it, below the largest + 1; floats are values.
///
/// # Errors
/// As [`read_npy`], [`NpyArray::into_dataset`] and [`NpyArray::to_labels`]; [`Error::Data`] if there is not one target per
/// sample, or a class is out of range.
pub fn load_npy(
    features: impl AsRef<Path>,
    targets: impl AsRef<Path>,
    classes: Option<usize>,
) -> Result<Dataset> {
    with_targets(read_npy(features)?.into_dataset()?, read_npy(targets)?, classes)
}

pub(super) fn with_targets(data: Dataset, targets: NpyArray, classes: Option<usize>) -> Result<Dataset> {
    match targets.data {
        NpyData::F32(_) => data.with_values(targets.to_tensor::<f32>()?),
        NpyData::F64(_) => data.with_values(targets.to_tensor::<f64>()?),
        _ => {
            let labels = targets.to_labels()?;
            let largest = || labels.iter().max().map_or(0, |&label| label as usize + 1);
            let classes = classes.unwrap_or_else(largest);
            data.with_classes(labels, classes)
        }
    }
}

//! Reads arrays from safetensors files.

use super::dataset::Dataset;
use super::npy::{self, NpyArray, NpyData};
use crate::error::Result;
use crate::file::MEMORY;
use crate::file::read::{format_error, reserve};
use crate::file::safetensors::{self, Dtype, Header};
use std::io::Read;
use std::path::Path;

/// Reads all tensors of a safetensors file, in the order of their bytes: f64, f32, i64, i32 and u8 as they are, f16 and bf16
/// as f32, exactly. Other types are refused.
///
/// Takes at most twice the size of the file (four times for f16 and bf16, which become twice as long) and 1 MiB of memory,
/// whatever the header claims. Files of this crate have a checksum, which is compared.
///
/// ```
/// use gemmule::data::read_safetensors;
/// use gemmule::nn::{Dense, Sequential};
/// # let path = std::env::temp_dir().join(format!("gemmule-doc-arrays-{}.safetensors", std::process::id()));
/// let model = Sequential::new().with(Dense::new(3, 2)).build::<f32>(0)?;
/// model.save(&path)?;
/// let arrays = read_safetensors(&path)?;
/// assert_eq!((arrays[0].0.as_str(), arrays[0].1.shape()), ("0.weight", &[2, 3][..]));
/// assert_eq!(arrays[0].1.to_tensor::<f32>()?, model.parameter("0.weight")?);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Format`](crate::Error::Format) if it is not such a file, is truncated or damaged, has tensors of another type, or more
/// than 4096 and one per 256 bytes; [`Error::OutOfMemory`](crate::Error::OutOfMemory).
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<Vec<(String, NpyArray)>> {
    let path = path.as_ref();
    let (mut file, len) = safetensors::open(path)?;
    read(&mut file, len, path, |_| true)
}

/// As [`read_safetensors`], from bytes in memory.
///
/// # Errors
/// As [`read_safetensors`]; the file's name is `(bytes)`.
pub fn read_safetensors_from(mut bytes: &[u8]) -> Result<Vec<(String, NpyArray)>> {
    let len = bytes.len() as u64;
    read(&mut bytes, len, Path::new(MEMORY), |_| true)
}

/// Reads samples and their targets from two tensors of a safetensors file. Targets that are integers are classes, below
/// `classes`, or, without it, below the largest + 1; floats are values.
///
/// # Errors
/// As [`read_safetensors`], of which only these two are kept; [`Error::Format`](crate::Error::Format) if one is missing;
/// [`load_npy`](super::load_npy)'s.
pub fn load_safetensors(
    path: impl AsRef<Path>,
    features: &str,
    targets: &str,
    classes: Option<usize>,
) -> Result<Dataset> {
    let path = path.as_ref();
    let (mut file, len) = safetensors::open(path)?;
    let mut arrays = read(&mut file, len, path, |name| name == features || name == targets)?;
    let mut take = |name: &str| {
        let found = arrays.iter().position(|(it, _)| it == name);
        let found = found.ok_or_else(|| {
            format_error(path, safetensors::FORMAT, "the tensors", format_args!("one called {name}"), "none")
        })?;
        Ok(arrays.swap_remove(found).1)
    };
    let (targets, data) = (take(targets)?, take(features)?.into_dataset()?);
    npy::with_targets(data, targets, classes)
}

fn read(
    source: &mut impl Read,
    len: u64,
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, NpyArray)>> {
    let header = Header::read(source, len, path)?;
    let refuse = |what: String, expected: String, got: String| {
        Err(format_error(path, safetensors::FORMAT, what, expected, got))
    };
    let mut arrays = Vec::new();
    reserve("read_safetensors", &mut arrays, header.len())?;
    // Where the tensors of the file are to be found among the arrays.
    let mut places = vec![None; header.len()];
    for (index, place) in places.iter_mut().enumerate() {
        let name = header.name(index);
        if !wanted(&name) {
            continue;
        }
        let (dtype, shape) = (header.dtype(index), header.shape(index));
        let count = shape.iter().product();
        let data = match dtype {
            Dtype::F64 => NpyData::F64(room(count)?),
            Dtype::F32 | Dtype::F16 | Dtype::Bf16 => NpyData::F32(room(count)?),
            Dtype::I64 => NpyData::I64(room(count)?),
            Dtype::I32 => NpyData::I32(room(count)?),
            Dtype::U8 => NpyData::U8(room(count)?),
            Dtype::Other(_) => {
                let expected = "F64, F32, F16, BF16, I64, I32 or U8".to_owned();
                return refuse(format!("the type of {name:?}"), expected, dtype.name().to_owned());
            }
        };
        *place = Some(arrays.len());
        arrays.push((name.into_owned(), shape, data));
    }
    header.read_tensors(source, path, |index, bytes| {
        let Some(place) = places[index] else { return Ok(()) };
        let dtype = header.dtype(index);
        // There is room for all of them: nothing grows.
        match &mut arrays[place].2 {
            NpyData::U8(values) => values.extend_from_slice(bytes),
            NpyData::I32(values) => {
                values.extend(bytes.as_chunks().0.iter().map(|&it| i32::from_le_bytes(it)))
            }
            NpyData::I64(values) => {
                values.extend(bytes.as_chunks().0.iter().map(|&it| i64::from_le_bytes(it)))
            }
            NpyData::F32(values) if dtype == Dtype::F32 => {
                values.extend(bytes.as_chunks().0.iter().map(|&it| f32::from_le_bytes(it)));
            }
            // Exact: it was shorter.
            NpyData::F32(values) => safetensors::numbers(dtype, bytes, |value| values.push(value as f32)),
            NpyData::F64(values) => safetensors::numbers(dtype, bytes, |value| values.push(value)),
        }
        Ok(())
    })?;
    let array = |(name, shape, data): (String, Vec<usize>, NpyData)| Ok((name, NpyArray::new(&shape, data)?));
    arrays.into_iter().map(array).collect()
}

/// No more than the file has bytes: its header was compared with its length.
fn room<V>(count: usize) -> Result<Vec<V>> {
    let mut values = Vec::new();
    reserve("read_safetensors", &mut values, count)?;
    Ok(values)
}

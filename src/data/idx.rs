//! Reads IDX files, plain or compressed with gzip: the format of MNIST and Fashion-MNIST.
//!
//! ```text
//!   offset  0      2       3            4                      4 + 4 d
//!           00 00  type 8  dimensions d  d big-endian u32 ...   the bytes, row by row
//! ```
//!
//! A header is a claim: memory is taken for bytes that are there, not for those that it announces.

use super::dataset::Dataset;
use crate::error::{Error, Result};
use crate::file::read::{self, READER, Size, Source, format_error};
use crate::tensor::shape::{self, Times};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What readers of compressed files refuse to exceed when they decompress: 1 GiB.
pub const DEFAULT_DECOMPRESSED_LIMIT: u64 = 1 << 30;

/// The contents of an IDX file of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdxArray {
    /// The dimensions, at least one.
    pub shape: Vec<usize>,
    /// As many bytes as the product of the dimensions, row by row.
    pub bytes: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes, plain or compressed with gzip (known by its contents, not by its name).
///
/// Takes at most the size of a plain file and a few kilobytes of memory, whatever the header claims. The contents of a
/// compressed file may be [`DEFAULT_DECOMPRESSED_LIMIT`] bytes: see [`read_idx_with_limit`].
///
/// ```
/// # let path = std::env::temp_dir().join(format!("gemmule-doc-{}.idx", std::process::id()));
/// std::fs::write(&path, [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 11, 12, 20, 21, 22])?;
/// let array = gemmule::data::read_idx(&path)?;
/// assert_eq!(array.shape, [2, 3]);
/// assert_eq!(array.bytes, [10, 11, 12, 20, 21, 22]);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be read. [`Error::Format`] if it is not an IDX file, holds another type than
/// unsigned bytes, ends too early, goes on after its last byte, is damaged gzip, exceeds the limit, or is gzip and
/// the crate was built without its feature `gzip`. [`Error::OutOfMemory`].
pub fn read_idx(path: impl AsRef<Path>) -> Result<IdxArray> {
    read_idx_with_limit(path, DEFAULT_DECOMPRESSED_LIMIT)
}

/// As [`read_idx`], and refuses a compressed file whose contents, header included, exceed `limit` bytes.
///
/// Plain files are not limited. While a compressed file is read, up to twice the size of its contents is in use.
///
/// # Errors
/// As [`read_idx`].
pub fn read_idx_with_limit(path: impl AsRef<Path>, limit: u64) -> Result<IdxArray> {
    let path = path.as_ref();
    let (file, size) = read::open(path)?;
    known_by_contents(path, file, size, limit)
}

/// As [`read_idx_with_limit`], from anything that brings bytes, to its end. As its length is unknown, up to twice the
/// size of the contents is in use.
///
/// ```
/// let bytes: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 3, 10, 11, 12];
/// let array = gemmule::data::read_idx_from(bytes, 1 << 20)?;
/// assert_eq!((array.shape, array.bytes), (vec![3], vec![10, 11, 12]));
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// As [`read_idx`]; the file's name is `(reader)`.
pub fn read_idx_from(reader: impl Read, limit: u64) -> Result<IdxArray> {
    known_by_contents(Path::new(READER), reader, Size::Unknown, limit)
}

fn known_by_contents(path: &Path, mut reader: impl Read, size: Size, limit: u64) -> Result<IdxArray> {
    let mut first = Vec::with_capacity(2);
    let failed = |source| Error::Io { path: path.to_owned(), source };
    reader.by_ref().take(2).read_to_end(&mut first).map_err(failed)?;
    let gzip = first == [0x1f, 0x8b];
    let reader = first.chain(reader);
    if gzip { read_gzip(path, reader, limit) } else { contents(source(path, "IDX", reader), size) }
}

fn source<'a, R>(path: &'a Path, format: &'static str, reader: R) -> Source<'a, R> {
    Source { operation: "read_idx", path, format, part: "", compressed: format == "gzip", reader }
}

#[cfg(feature = "gzip")]
fn read_gzip(path: &Path, compressed: impl Read, limit: u64) -> Result<IdxArray> {
    // A file may have several members, one after the other.
    let reader = flate2::read::MultiGzDecoder::new(compressed);
    contents(source(path, "gzip", reader), Size::Limit(limit))
}

#[cfg(not(feature = "gzip"))]
fn read_gzip(path: &Path, _: impl Read, _: u64) -> Result<IdxArray> {
    let expected = "plain contents, as gemmule was built without its feature `gzip`";
    Err(format_error(path, "IDX", "the file", expected, "gzip"))
}

fn contents(mut source: Source<impl Read>, size: Size) -> Result<IdxArray> {
    let shape = header(&mut source)?;
    let Ok(len) = shape::elements("read_idx", &shape) else {
        return Err(source.error("the dimensions", "a product that fits in memory", Times(&shape)));
    };
    let whole = 4 + 4 * shape.len() as u64 + len as u64;
    let claim = format_args!("{whole} bytes (header and {})", Times(&shape)).to_string();
    match size {
        Size::File(actual) if actual != whole => {
            return Err(source.error("the size of the file", claim, format_args!("{actual} bytes")));
        }
        Size::Limit(limit) if limit < whole => {
            let limit = format_args!("at most {limit} bytes (the limit)").to_string();
            return Err(source.error("the decompressed size", limit, claim));
        }
        _ => {}
    }
    let bytes = source.bytes(len, size, &claim)?;
    source.end(&claim)?;
    Ok(IdxArray { shape, bytes })
}

fn header(source: &mut Source<impl Read>) -> Result<Vec<usize>> {
    let mut magic = Vec::with_capacity(4);
    if source.append(4, &mut magic)? != 4 {
        return Err(source.error("the header", "4 bytes", format_args!("{} bytes", magic.len())));
    }
    if magic[..2] != [0, 0] {
        let got = format_args!("{:02x} {:02x}", magic[0], magic[1]).to_string();
        return Err(source.error("the first two bytes", "00 00", got));
    }
    if magic[2] != 8 {
        let name = match magic[2] {
            0x09 => "i8",
            0x0b => "i16",
            0x0c => "i32",
            0x0d => "f32",
            0x0e => "f64",
            _ => "unknown",
        };
        let got = format_args!("0x{:02x} ({name})", magic[2]).to_string();
        return Err(source.error("the type of the elements", "0x08 (u8), the only one that is read", got));
    }
    let dimensions = usize::from(magic[3]);
    if dimensions == 0 {
        return Err(source.error("the number of dimensions", "at least 1", 0));
    }
    let mut words = Vec::with_capacity(4 * dimensions);
    if source.append(4 * dimensions, &mut words)? != 4 * dimensions {
        let expected = format_args!("{dimensions} dimensions").to_string();
        return Err(source.error("the header", expected, format_args!("{} bytes for them", words.len())));
    }
    let (words, _) = words.as_chunks::<4>();
    Ok(words.iter().map(|&word| u32::from_be_bytes(word) as usize).collect())
}

/// Reads samples and their labels from two IDX files.
///
/// The first dimension of `images` counts the samples, the others are the shape of one. Each label is below
/// `classes`, or, without it, below the largest label + 1.
///
/// # Errors
/// As [`read_idx`]; [`Error::Data`] if there is no sample, or not one label per sample; [`Error::Format`] if a label
/// is out of range (names the sample) or the labels have more than one dimension.
pub fn load_idx(
    images: impl AsRef<Path>,
    labels: impl AsRef<Path>,
    classes: Option<usize>,
) -> Result<Dataset> {
    let (image_path, label_path) = (images.as_ref(), labels.as_ref());
    let images = read_idx(image_path)?;
    let labels = read_idx(label_path)?;
    if labels.shape.len() != 1 {
        return Err(format_error(
            label_path,
            "IDX",
            "the dimensions",
            "one, as labels have",
            Times(&labels.shape),
        ));
    }
    if images.shape[0] != labels.bytes.len() {
        return Err(Error::data(
            "load_idx",
            label_path.display().to_string(),
            format_args!("{} labels, one per sample of {}", images.shape[0], image_path.display()),
            labels.bytes.len(),
        ));
    }
    let classes =
        classes.unwrap_or_else(|| labels.bytes.iter().max().map_or(0, |&label| usize::from(label) + 1));
    if let Some((i, label)) =
        labels.bytes.iter().enumerate().find(|&(_, &label)| usize::from(label) >= classes)
    {
        let expected = format_args!("a class below {classes}").to_string();
        return Err(format_error(label_path, "IDX", format!("the label of sample {i}"), expected, label));
    }
    let labels = labels.bytes.into_iter().map(u32::from).collect();
    Dataset::from_bytes(&images.shape, images.bytes)?.with_classes(labels, classes)
}

/// Reads a folder in MNIST's form, ten classes: the data for training and those for testing.
///
/// The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`; each may be spelled with a dot (`train-images.idx3-ubyte`) and may end in `.gz`. So MNIST
/// and Fashion-MNIST load as they are published; see [`load_idx`] for others.
///
/// ```no_run
/// let (train, test) = gemmule::data::load_idx_dir("data/mnist")?;
/// assert_eq!((train.len(), test.len()), (60_000, 10_000));
/// assert_eq!(train.feature_shape(), [28, 28]);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// As [`load_idx`]; [`Error::Io`] if a file is missing.
pub fn load_idx_dir(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset)> {
    let dir = dir.as_ref();
    let load = |part: &str| {
        let images = find(dir, &format!("{part}-images"), "idx3-ubyte")?;
        let labels = find(dir, &format!("{part}-labels"), "idx1-ubyte")?;
        load_idx(images, labels, Some(10))
    };
    Ok((load("train")?, load("t10k")?))
}

/// The spelling of a file that is there, a plain one rather than a compressed one.
fn find(dir: &Path, name: &str, kind: &str) -> Result<PathBuf> {
    for end in ["", ".gz"] {
        for separator in ["-", "."] {
            let path = dir.join(format!("{name}{separator}{kind}{end}"));
            match path.try_exists() {
                Ok(true) => return Ok(path),
                Ok(false) => {}
                Err(source) => return Err(Error::Io { path, source }),
            }
        }
    }
    let message = format!("no such file, nor {name}.{kind}, nor either with .gz");
    let source = io::Error::new(io::ErrorKind::NotFound, message);
    Err(Error::Io { path: dir.join(format!("{name}-{kind}")), source })
}

//! Reads and writes npz files: several named arrays in a zip archive, as `numpy.savez` writes them.

use super::dataset::Dataset;
use super::idx::DEFAULT_DECOMPRESSED_LIMIT;
use super::npy::{self, NpyArray, NpyView};
use crate::error::{Error, Result};
use crate::file::read::{READER, Size, format_error};
use crate::file::write::write as write_file;
use crate::file::zip::{self, Archive, Writer};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// An npz file that is open: its directory is read, its arrays are read one by one.
///
/// ```
/// use gemmule::Tensor;
/// use gemmule::data::{Npz, write_npz};
/// # let path = std::env::temp_dir().join(format!("gemmule-doc-{}.npz", std::process::id()));
/// # let path = &path;
///
/// let x = Tensor::from_slice(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0])?;
/// write_npz(path, [("0.weight", &x), ("again", &x)])?;
/// let mut file = Npz::open(path)?;
/// assert_eq!(file.names().collect::<Vec<_>>(), ["0.weight", "again"]);
/// assert_eq!(file.read("again")?.to_tensor::<f32>()?, x);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Npz<R = File> {
    path: PathBuf,
    archive: Archive<R>,
    limit: u64,
}

impl Npz {
    /// Opens a file and reads its directory.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if it is not a zip archive, is truncated, encrypted, in several parts, compressed
    /// by another method than deflate, or has a name twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::new(path, file)
    }
}

impl<R: Read + Seek> Npz<R> {
    /// As [`open`](Npz::open), from anything that can be read anywhere; errors call it `(reader)`.
    ///
    /// # Errors
    /// As [`open`](Npz::open).
    pub fn from_reader(reader: R) -> Result<Self> {
        Self::new(Path::new(READER), reader)
    }

    fn new(path: &Path, reader: R) -> Result<Self> {
        let archive = Archive::open(path, "npz", reader)?;
        Ok(Self { path: path.to_owned(), archive, limit: DEFAULT_DECOMPRESSED_LIMIT })
    }

    /// Refuses a compressed array of more than `bytes`, header included; 1 GiB unless this says otherwise. While one is
    /// read, up to twice its size is in use (three times for Fortran order). Arrays that are stored are not limited: their
    /// bytes are there.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// The names of the arrays in the order of the file, without `.npy`.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.archive.entries.iter().map(|entry| key(&entry.name))
    }

    /// Reads one array.
    ///
    /// # Errors
    /// [`Error::Format`] if there is none of this name (says which there are), or it is damaged (its checksum is compared),
    /// exceeds the limit, or is not what [`read_npy`](super::read_npy) reads.
    pub fn read(&mut self, name: &str) -> Result<NpyArray> {
        let Some(index) = self.names().position(|it| it == name) else {
            let names: Vec<_> = self.names().take(20).map(|name| format!("{name:?}")).collect();
            let more = self.archive.entries.len() - names.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let expected = format!("one of {}{more}", names.join(", "));
            return Err(format_error(&self.path, "npz", "the array's name", expected, format!("{name:?}")));
        };
        self.nth(index)
    }

    fn nth(&mut self, index: usize) -> Result<NpyArray> {
        let entry = &self.archive.entries[index];
        // What is stored is there, as the directory was checked.
        let size = if entry.is_compressed() { Size::Limit(self.limit) } else { Size::File(entry.len) };
        let (len, part) = (entry.len, format!("the array {:?}", key(&entry.name)));
        let mut source = self.archive.member(&self.path, "npz", &part, index)?;
        if let Size::Limit(limit) = size
            && limit < len
        {
            let limit = format!("at most {limit} bytes (the limit)");
            return Err(source.error("the decompressed size", limit, format_args!("{len} bytes")));
        }
        let (array, claim) = npy::array(&mut source, size)?;
        source.end(&claim)?;
        zip::finish(&source)?;
        Ok(array)
    }
}

/// The name as NumPy shows it.
fn key(name: &str) -> &str {
    name.strip_suffix(".npy").unwrap_or(name)
}

/// Reads all arrays of an npz file, in its order. Compressed ones may have 1 GiB together; see [`Npz`] for another limit or
/// single arrays.
///
/// # Errors
/// As [`Npz::open`] and [`Npz::read`].
pub fn read_npz(path: impl AsRef<Path>) -> Result<Vec<(String, NpyArray)>> {
    let mut file = Npz::open(path)?;
    let mut arrays = Vec::new();
    crate::file::read::reserve("read_npz", &mut arrays, file.archive.entries.len())?;
    for index in 0..file.archive.entries.len() {
        let array = file.nth(index)?;
        let entry = &file.archive.entries[index];
        if entry.is_compressed() {
            file.limit -= entry.len;
        }
        arrays.push((key(&entry.name).to_owned(), array));
    }
    Ok(arrays)
}

/// Reads samples and their targets from two arrays of an npz file, for example `x_train` and `y_train` of Keras' `mnist.npz`.
/// Targets that are integers are classes, below `classes`, or, without it, below the largest + 1; floats are values.
///
/// ```
/// use gemmule::Tensor;
/// use gemmule::data::{NpyArray, NpyData, NpyView, load_npz, write_npz};
/// # let path = std::env::temp_dir().join(format!("gemmule-doc-load-{}.npz", std::process::id()));
/// # let path = &path;
///
/// let x = Tensor::from_slice(&[3, 2], &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let y = NpyArray::new(&[3], NpyData::I64(vec![0, 1, 0]))?;
/// write_npz(path, [("x", NpyView::from(&x)), ("y", NpyView::from(&y))])?;
/// let data = load_npz(path, "x", "y", None)?;
/// assert_eq!((data.len(), data.class_counts()), (3, Some(vec![2, 1])));
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Npz::read`] and [`load_npy`](super::load_npy).
pub fn load_npz(
    path: impl AsRef<Path>,
    features: &str,
    targets: &str,
    classes: Option<usize>,
) -> Result<Dataset> {
    let mut file = Npz::open(path)?;
    let data = file.read(features)?.into_dataset()?;
    npy::with_targets(data, file.read(targets)?, classes)
}

/// Writes tensors of f32 or f64, or [`NpyArray`]s, under their names, as `numpy.savez` does. The same arrays give the same
/// bytes. The file at `path` is replaced as a whole or, after an error, left as it was.
///
/// # Errors
/// [`Error::Argument`] if a name is empty or comes twice. [`Error::Io`] if the file cannot be written, or an array has more
/// than NumPy's 64 dimensions.
pub fn write_npz<'a, N: AsRef<str>, A: Into<NpyView<'a>>>(
    path: impl AsRef<Path>,
    arrays: impl IntoIterator<Item = (N, A)>,
) -> Result<()> {
    let arrays = named(arrays)?;
    write_file(path.as_ref(), |mut out| write(&mut out, &arrays, false))
}

/// As [`write_npz`], deflated, as `numpy.savez_compressed` does. Weights hardly shrink.
///
/// # Errors
/// As [`write_npz`].
pub fn write_npz_compressed<'a, N: AsRef<str>, A: Into<NpyView<'a>>>(
    path: impl AsRef<Path>,
    arrays: impl IntoIterator<Item = (N, A)>,
) -> Result<()> {
    let arrays = named(arrays)?;
    write_file(path.as_ref(), |mut out| write(&mut out, &arrays, true))
}

/// As [`write_npz`], to anything that takes bytes.
///
/// # Errors
/// As [`write_npz`]; the file's name is `(writer)`.
pub fn write_npz_to<'a, N: AsRef<str>, A: Into<NpyView<'a>>>(
    mut writer: impl Write,
    arrays: impl IntoIterator<Item = (N, A)>,
) -> Result<()> {
    write(&mut writer, &named(arrays)?, false).map_err(|source| Error::Io { path: "(writer)".into(), source })
}

/// The names of the members; every name is one.
fn named<'a, N: AsRef<str>, A: Into<NpyView<'a>>>(
    arrays: impl IntoIterator<Item = (N, A)>,
) -> Result<Vec<(String, NpyView<'a>)>> {
    let arrays: Vec<_> =
        arrays.into_iter().map(|(name, array)| (format!("{}.npy", name.as_ref()), array.into())).collect();
    let mut names = HashSet::new();
    match arrays.iter().find(|(name, _)| name == ".npy" || !names.insert(name)) {
        Some((name, _)) => Err(Error::argument(
            "write_npz",
            "a name",
            "a name that no other array has",
            format!("{:?}", key(name)),
        )),
        None => Ok(arrays),
    }
}

fn write(out: &mut impl Write, arrays: &[(String, NpyView)], compress: bool) -> io::Result<()> {
    let mut archive = Writer::new(out);
    for (name, array) in arrays {
        archive.member(name, array.bytes(), compress, |mut out| array.write(&mut out))?;
    }
    archive.finish().map(drop)
}

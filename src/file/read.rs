//! Bounded reading: memory is taken for bytes that are there, never for those that a header announces.

use crate::error::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The first piece that is read of a stream of unknown length.
const FIRST_PIECE: usize = 1 << 16;

/// What errors name where bytes come from a reader, not from a file.
pub(crate) const READER: &str = "(reader)";

/// What is known of the number of bytes in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "gzip", feature = "npz")), allow(dead_code, reason = "nothing is decompressed"))]
pub(crate) enum Size {
    /// As many as the system says.
    File(u64),
    /// Unknown, and more than this is refused.
    Limit(u64),
    /// Unknown: a pipe or a device.
    Unknown,
}

/// Opens a file; says how large it is.
pub(crate) fn open(path: &Path) -> Result<(File, Size)> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // The length of a pipe or a device says nothing.
    Ok((file, if metadata.is_file() { Size::File(metadata.len()) } else { Size::Unknown }))
}

/// A stream that is read front to back, and what to say of it in an error.
pub(crate) struct Source<'a, R> {
    /// What asks for memory.
    pub operation: &'static str,
    pub path: &'a Path,
    pub format: &'static str,
    /// Which part of the file the stream is; empty for the whole.
    pub part: &'a str,
    /// The reader decompresses: what it cannot read is the file's fault, not the system's.
    pub compressed: bool,
    pub reader: R,
}

impl<R: Read> Source<'_, R> {
    /// Appends `count` bytes, fewer at the end of the stream; says how many. `bytes` has room for them, or they are few.
    pub fn append(&mut self, count: usize, bytes: &mut Vec<u8>) -> Result<usize> {
        self.reader.by_ref().take(count as u64).read_to_end(bytes).map_err(|source| {
            use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
            match source.kind() {
                // So a decompressor says that its input is damaged; all else is the system's.
                InvalidData | InvalidInput | UnexpectedEof if self.compressed => {
                    self.error("the compressed data", "a whole and undamaged stream", source)
                }
                _ => Error::Io { path: self.path.to_owned(), source },
            }
        })
    }

    /// The next `len` bytes. `claim` is what an error expects of the whole stream.
    pub fn bytes(&mut self, len: usize, size: Size, claim: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let wanted = self.grow(&mut bytes, len, size)?;
            if self.append(wanted, &mut bytes)? != wanted {
                return Err(self.ends(claim, bytes.len()));
            }
        }
        Ok(bytes)
    }

    /// The next `len` values of `N` bytes each, decoded while they are read: the bytes are never there as a whole.
    pub fn values<const N: usize, V>(
        &mut self,
        len: usize,
        size: Size,
        claim: &str,
        decode: impl Fn([u8; N]) -> V,
    ) -> Result<Vec<V>> {
        let mut values = Vec::new();
        let mut piece = Vec::with_capacity(FIRST_PIECE);
        while values.len() < len {
            let mut wanted = self.grow(&mut values, len, size)?;
            while wanted != 0 {
                let count = wanted.min(FIRST_PIECE / N);
                piece.clear();
                let read = self.append(count * N, &mut piece)?;
                if read != count * N {
                    return Err(self.ends(claim, values.len() * N + read));
                }
                let (words, _) = piece.as_chunks::<N>();
                values.extend(words.iter().map(|&word| decode(word)));
                wanted -= count;
            }
        }
        Ok(values)
    }

    /// Nothing may follow. `claim` is what an error expects of the whole stream.
    pub fn end(&mut self, claim: &str) -> Result<()> {
        match self.append(1, &mut Vec::new())? {
            0 => Ok(()),
            _ => Err(self.error("the end", claim, "more")),
        }
    }

    /// Makes room for the next values; says how many.
    fn grow<V>(&self, values: &mut Vec<V>, len: usize, size: Size) -> Result<usize> {
        // The bytes of a file are there; a stream has to bring them first: as many more as there are.
        let first = if matches!(size, Size::File(_)) { len } else { (FIRST_PIECE / size_of::<V>()).max(1) };
        let wanted = if values.is_empty() { first } else { values.len() }.min(len - values.len());
        reserve(self.operation, values, wanted)?;
        Ok(wanted)
    }

    fn ends(&self, claim: &str, read: usize) -> Error {
        self.error("the end", claim, format_args!("{read} bytes after the header"))
    }

    pub fn error(
        &self,
        what: impl Into<String>,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Error {
        let what = what.into();
        let what = if self.part.is_empty() { what } else { format!("{}: {what}", self.part) };
        format_error(self.path, self.format, what, expected, got)
    }
}

/// Room for exactly `more` values, or an error.
pub(crate) fn reserve<V>(operation: &'static str, values: &mut Vec<V>, more: usize) -> Result<()> {
    let bytes = || values.len().saturating_add(more).saturating_mul(size_of::<V>());
    let failed = Error::OutOfMemory { what: operation, bytes: bytes() };
    values.try_reserve_exact(more).map_err(|_| failed)
}

pub(crate) fn format_error(
    path: &Path,
    format: &'static str,
    what: impl Into<String>,
    expected: impl fmt::Display,
    got: impl fmt::Display,
) -> Error {
    Error::Format {
        path: path.to_owned(),
        format,
        what: what.into(),
        expected: expected.to_string(),
        got: got.to_string(),
    }
}

/// How much memory a reader may still take, where what is read grows beyond the bytes of the file.
#[cfg(feature = "csv")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub limit: u64,
    left: u64,
}

#[cfg(feature = "csv")]
impl Budget {
    /// Twice the size of the file and 1 MiB less what buffers of a fixed size take, or `limit` if that is more.
    pub fn new(size: Size, limit: u64) -> Self {
        const BESIDE_BUFFERS: u64 = 3 << 18;
        let twice = if let Size::File(len) = size { len.saturating_mul(2) } else { 0 };
        let limit = limit.max(twice.saturating_add(BESIDE_BUFFERS));
        Self { limit, left: limit }
    }

    /// Takes `bytes` of it for good; false if there are fewer.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

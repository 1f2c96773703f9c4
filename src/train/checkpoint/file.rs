//! A checkpoint's file.
//!
//! ```text
//!   offset 0    "gemmule checkpt\n"
//!          16   the version, u64
//!          24   the length n of the state, u64
//!          32   the state: see `State::write_to`
//!          32+n CRC-32 (of IEEE 802.3) of all bytes before
//! ```
//!
//! All numbers are little-endian. The length finds every file that was cut off or grew, the checksum every flip of a single
//! bit and every burst of up to 32. Nothing is looked into before both are right.

use crate::error::{Error, Result};
use crate::file::write::{Disk, write_on};
use crate::state::State;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

const MAGIC: &[u8; 16] = b"gemmule checkpt\n";

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

const HEADER: usize = 32;
const CHECKSUM: usize = 4;

/// What is wrong with a file: what, what was expected, what is there.
type Refused = (String, String, String);

/// Writes `state` to `path`, whole or not at all. There is no copy of it on the way.
pub(super) fn write(disk: &mut impl Disk, path: &Path, state: &State) -> Result<()> {
    write_on(disk, path, |out| {
        let mut out = Summed { out, checksum: crc32fast::Hasher::new() };
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&state.encoded_len().to_le_bytes())?;
        state.write_to(&mut out)?;
        let Summed { out, checksum } = out;
        out.write_all(&checksum.finalize().to_le_bytes())
    })
}

/// Keeps the checksum of what goes through.
struct Summed<'a> {
    out: &'a mut dyn Write,
    checksum: crc32fast::Hasher,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.checksum.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads what [`write`] wrote. Takes memory for the bytes that are there and what they say, not for what they claim.
pub(super) fn read(path: &Path) -> Result<State> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    // Asked first: opening a pipe would wait for its other end.
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let file = File::open(path).map_err(failed)?;
    contents(file, found.len()).map_err(failed)?.and_then(|bytes| decode(&bytes)).map_err(
        |(what, expected, got)| Error::Format {
            path: path.to_owned(),
            format: "checkpoint",
            what,
            expected,
            got,
        },
    )
}

/// All bytes of a file of `len` bytes whose header is right.
fn contents(mut file: impl Read, len: u64) -> io::Result<Result<Vec<u8>, Refused>> {
    let mut bytes = Vec::new();
    file.by_ref().take(HEADER as u64).read_to_end(&mut bytes)?;
    if let Err(refused) = header(&bytes, len) {
        return Ok(Err(refused));
    }
    let rest = usize::try_from(len).ok().and_then(|len| len.checked_sub(bytes.len()));
    let rest = rest.ok_or(io::ErrorKind::OutOfMemory)?;
    bytes.try_reserve_exact(rest)?;
    // Not more than was reserved, if it grows meanwhile.
    file.take(rest as u64).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// Whether a file of `len` bytes may begin with `bytes`.
fn header(bytes: &[u8], len: u64) -> Result<(), Refused> {
    let refuse = |what: &str, expected: String, got: String| Err((what.to_owned(), expected, got));
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        let expected = format!("at least {} bytes", HEADER + CHECKSUM);
        return refuse("the size of the file", expected, format!("{len} bytes"));
    };
    if !header.starts_with(MAGIC) {
        return refuse("the first bytes", "a gemmule checkpoint's".to_owned(), "others".to_owned());
    }
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    let (version, state) = (number(16), number(24));
    if version != VERSION {
        return refuse("the version", VERSION.to_string(), version.to_string());
    }
    if len.checked_sub((HEADER + CHECKSUM) as u64) != Some(state) {
        let expected = format!("{} bytes", u128::from(state) + (HEADER + CHECKSUM) as u128);
        return refuse("the size of the file", expected, format!("{len} bytes"));
    }
    Ok(())
}

fn decode(bytes: &[u8]) -> Result<State, Refused> {
    header(bytes, bytes.len() as u64)?;
    // The header has said that all of it is there.
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().unwrap_or((&[0; HEADER], &[0; CHECKSUM]));
    let (expected, got) = (crc32fast::hash(content), u32::from_le_bytes(*checksum));
    if got != expected {
        let what = "the checksum: the file is damaged".to_owned();
        return Err((what, format!("{expected:08x}"), format!("{got:08x}")));
    }
    State::decode(&content[HEADER..])
}

#[cfg(test)]
mod tests;

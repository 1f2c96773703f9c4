//! A checkpoint's file.
//!
//! ```text
//!   offset 0    "gemmule checkpt\n"
//!          16   the version, u32
//!          20   0, u32
//!          24   the length n of the state, u64
//!          32   the state: see `State::encode`
//!          32+n CRC-32 (of IEEE 802.3) of all bytes before
//! ```
//!
//! All numbers are little-endian. The checksum finds every flip of a single bit and every burst of up to 32.

use crate::error::{Error, Result};
use crate::file::write::write_pieces;
use crate::state::State;
use std::fs;
use std::path::Path;

const MAGIC: &[u8; 16] = b"gemmule checkpt\n";

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

const HEADER: usize = 32;
const CHECKSUM: usize = 4;

/// Writes `state` to `path`, whole or not at all.
pub(super) fn write(path: &Path, state: &State) -> Result<()> {
    let body = state.encode();
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend((body.len() as u64).to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&header);
    checksum.update(&body);
    write_pieces(path, &[&header, &body, &checksum.finalize().to_le_bytes()])
}

/// Reads what [`write`] wrote.
pub(super) fn read(path: &Path) -> Result<State> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    decode(&bytes).map_err(|(what, expected, got)| Error::Format {
        path: path.to_owned(),
        format: "checkpoint",
        what,
        expected,
        got,
    })
}

fn decode(bytes: &[u8]) -> Result<State, (String, String, String)> {
    let refuse = |what: &str, expected: String, got: String| Err((what.to_owned(), expected, got));
    if !bytes.starts_with(MAGIC) {
        return refuse("the first bytes", "a gemmule checkpoint's".to_owned(), "others".to_owned());
    }
    if bytes.len() < HEADER + CHECKSUM {
        let got = format!("{} bytes", bytes.len());
        return refuse("the size of the file", format!("at least {} bytes", HEADER + CHECKSUM), got);
    }
    let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    let found = crc32fast::hash(content);
    if checksum != found.to_le_bytes() {
        let got = "another: the file is damaged or cut off".to_owned();
        return refuse("the checksum", format!("{found:08x}"), got);
    }
    let version = u32::from_le_bytes([content[16], content[17], content[18], content[19]]);
    if version != VERSION {
        return refuse("the version", VERSION.to_string(), version.to_string());
    }
    let body = &content[HEADER..];
    let mut len = [0; 8];
    len.copy_from_slice(&content[24..HEADER]);
    let len = u64::from_le_bytes(len);
    if len != body.len() as u64 {
        return refuse("the length of the state", len.to_string(), body.len().to_string());
    }
    State::decode(body)
}

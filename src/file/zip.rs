//! The zip container of npz files: members that are stored or deflated, in a single file, sizes of 64 bits.
//!
//! ```text
//!   for each member:  PK 3 4  sizes, CRC, name  | contents | (PK 7 8: sizes and CRC, where the first had none)
//!   the directory:    PK 1 2  the same again, and where the member begins; one each
//!   PK 6 6, PK 6 7    the same as the end with 64 bits, and where that stands (optional in what is read)
//!   PK 5 6            the end: how many members, where the directory begins
//! ```
//!
//! Source: PKWARE's APPNOTE 6.3. The directory decides; what a member's own header says must not contradict it. Memory
//! follows the file, not what its end announces. Nothing is ever extracted: names are keys, not paths.

use super::read::{self, Source};
use crate::error::{Error, Result};
use flate2::{Compression, Crc, read::DeflateDecoder, write::DeflateEncoder};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Take, Write};
use std::path::Path;

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const MEMBER: [u8; 4] = *b"PK\x03\x04";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

const ENCRYPTED: u16 = 1;
const SIZES_FOLLOW: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// 64-bit sizes came with version 4.5.
const VERSION: u16 = 45;
/// 1 January 1980, the first day: an archive depends on its contents alone.
const DATE: u16 = 1 << 5 | 1;

/// A member as the directory has it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub name: Box<str>,
    method: u16,
    crc: u32,
    packed: u64,
    /// Bytes of its contents.
    pub len: u64,
    offset: u64,
}

impl Entry {
    pub fn is_compressed(&self) -> bool {
        self.method != STORED
    }
}

/// An archive that is open for reading.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    reader: R,
    pub entries: Vec<Entry>,
    /// Where the members end.
    directory: u64,
}

/// A file's little-endian fields, taken from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// How to read one archive, and what to say of it.
struct Opener<'a, R> {
    path: &'a Path,
    format: &'static str,
    reader: R,
    len: u64,
}

impl<R: Read + Seek> Opener<'_, R> {
    fn error(&self, what: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Error {
        read::format_error(self.path, self.format, what, expected, got)
    }

    /// `count` bytes from `offset`; those are within the file.
    fn at(&mut self, offset: u64, count: usize) -> Result<Vec<u8>> {
        let failed = |source| Error::Io { path: self.path.to_owned(), source };
        self.reader.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut source = Source {
            operation: "read_npz",
            path: self.path,
            format: self.format,
            part: "",
            compressed: false,
            reader: &mut self.reader,
        };
        let mut bytes = Vec::new();
        read::reserve("read_npz", &mut bytes, count)?;
        match source.append(count, &mut bytes)? == count {
            true => Ok(bytes),
            false => Err(source.error("the file", "as many bytes as when it was opened", "fewer")),
        }
    }

    /// Number of entries, offset and size of the directory.
    fn end(&mut self) -> Result<(u64, u64, u64)> {
        // The end is 22 bytes and a comment whose length it tells.
        let tail_len = self.len.min(22 + 0xffff) as usize;
        let from = self.len - tail_len as u64;
        let tail = self.at(from, tail_len)?;
        let found = (0..(tail_len + 1).saturating_sub(22)).rev().find(|&at| {
            let comment = || u16::from_le_bytes([tail[at + 20], tail[at + 21]]);
            tail[at..at + 4] == END && at + 22 + usize::from(comment()) == tail_len
        });
        let Some(at) = found else {
            return Err(self.error("the end", "the end of a zip archive", "none, as in a truncated file"));
        };
        let end = from + at as u64;
        let mut fields = Fields(&tail[at + 4..]);
        let mut parse = || {
            let disks = (fields.u16()?, fields.u16()?, fields.u16()?);
            Some((disks, fields.u16()?, u64::from(fields.u32()?), u64::from(fields.u32()?)))
        };
        let ((disk, first, here), all, mut size, mut offset) = parse().expect("22 bytes are there");
        let (mut count, mut stop) = (u64::from(all), end);
        let locator = if end >= 20 { self.at(end - 20, 20)? } else { Vec::new() };
        let mut several = false;
        if locator.starts_with(&LOCATOR_64) {
            let mut fields = Fields(&locator[8..]);
            let (at, disks) = fields.u64().zip(fields.u32()).expect("20 bytes are there");
            several |= locator[4..8] != [0; 4] || disks > 1;
            if at.checked_add(56).is_none_or(|stop| stop != end - 20) {
                return Err(self.error(
                    "the offset of the 64-bit end",
                    format_args!("{}", end - 76.min(end)),
                    at,
                ));
            }
            stop = at;
            let record = self.at(at, 56)?;
            let mut fields = Fields(&record[24..]);
            let mut parse = || Some((fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?));
            let (here, all, wide_size, wide_offset) = parse().expect("56 bytes are there");
            if record[..4] != END_64
                || record[4..12] != 44_u64.to_le_bytes()
                || record[16..24] != [0; 8]
                || here != all
            {
                return Err(self.error("the 64-bit end", "that of an archive in one file", "another"));
            }
            // The narrow fields repeat them or are full.
            let agrees = |narrow: u64, full: u64, wide: u64| narrow == full || narrow == wide;
            if !agrees(count, 0xffff, all)
                || !agrees(size, 0xffff_ffff, wide_size)
                || !agrees(offset, 0xffff_ffff, wide_offset)
            {
                return Err(self.error("the end", "what the 64-bit end says", "another"));
            }
            (count, size, offset) = (all, wide_size, wide_offset);
        }
        if several || (disk, first) != (0, 0) || here != all {
            return Err(self.error("the number of files", "an archive in one file", "several"));
        }
        if offset.checked_add(size) != Some(stop) {
            let got = format_args!("{size} bytes from byte {offset}").to_string();
            return Err(self.error("the directory", format_args!("it to end at byte {stop}"), got));
        }
        // Each member has at least a name of one byte, here and there.
        if count.checked_mul(47).is_none_or(|least| least > size) || count * 31 > offset {
            return Err(self.error("the number of members", "as many as the file has room for", count));
        }
        Ok((count, offset, size))
    }

    fn entries(&mut self) -> Result<(Vec<Entry>, u64)> {
        let (count, directory, size) = self.end()?;
        let mut entries = Vec::new();
        read::reserve("read_npz", &mut entries, count as usize)?;
        let (mut at, stop) = (directory, directory + size);
        for i in 0..count {
            let fixed = if stop - at >= 46 { self.at(at, 46)? } else { Vec::new() };
            let mut fields = Fields(&fixed);
            let Some(head) = Head::parse(&mut fields).filter(|_| fixed.starts_with(&ENTRY)) else {
                return Err(self.error("the directory", format_args!("{count} members"), i));
            };
            let rest = head.name + head.extra + head.comment;
            if stop - at - 46 < rest as u64 {
                return Err(self.error("the directory", format_args!("{count} members"), i));
            }
            let rest = self.at(at + 46, rest)?;
            at += 46 + rest.len() as u64;
            let entry = head.entry(&rest).map_err(|(what, expected)| {
                self.error(&format!("the directory's entry {i}"), expected, what)
            })?;
            if entry
                .offset
                .checked_add(30)
                .and_then(|start| start.checked_add(entry.packed))
                .is_none_or(|end| end > directory)
            {
                let what = format!("the member {:?}", entry.name);
                return Err(self.error(
                    &what,
                    "its contents before the directory",
                    format_args!("{} bytes from byte {}", entry.packed, entry.offset),
                ));
            }
            entries.push(entry);
        }
        if at != stop {
            return Err(self.error("the directory", format_args!("{count} members"), "more"));
        }
        let mut names = HashSet::new();
        if let Some(twice) = entries.iter().find(|entry| !names.insert(&entry.name)) {
            return Err(self.error(
                "the directory",
                "different names",
                format_args!("{:?} twice", twice.name),
            ));
        }
        drop(names);
        Ok((entries, directory))
    }
}

/// The fixed fields of a directory's entry.
struct Head {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    len: u32,
    name: usize,
    extra: usize,
    comment: usize,
    disk: u16,
    offset: u32,
}

impl Head {
    fn parse(fields: &mut Fields) -> Option<Self> {
        fields.bytes(8)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.u32()?;
        let (crc, packed, len) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let disk = fields.u16()?;
        fields.bytes(6)?;
        let offset = fields.u32()?;
        let (name, extra, comment) = (name.into(), extra.into(), comment.into());
        Some(Self { flags, method, crc, packed, len, name, extra, comment, disk, offset })
    }

    /// `rest` is name, extra and comment. An error is what came and what was expected.
    fn entry(&self, rest: &[u8]) -> Result<Entry, (&'static str, &'static str)> {
        let (name, rest) = rest.split_at(self.name);
        let name = str::from_utf8(name).map_err(|_| ("other bytes", "a name in UTF-8"))?;
        if name.is_empty() {
            return Err(("an empty one", "a name"));
        }
        if self.flags & ENCRYPTED != 0 {
            return Err(("an encrypted member", "a plain one"));
        }
        if ![STORED, DEFLATED].contains(&self.method) {
            return Err(("another method", "a member that is stored or deflated"));
        }
        // Where a field is full, the extra of number 1 has it with 64 bits, in this order.
        let mut wide = Fields(&[]);
        let mut extra = Fields(&rest[..self.extra]);
        while let Some((number, len)) = extra.u16().zip(extra.u16()) {
            let Some(bytes) = extra.bytes(len.into()) else { break };
            if number == 1 {
                wide = Fields(bytes);
            }
        }
        let mut sized = |narrow: u32| match narrow {
            u32::MAX => wide.u64().ok_or(("none", "a size of 64 bits")),
            narrow => Ok(u64::from(narrow)),
        };
        let (len, packed, offset) = (sized(self.len)?, sized(self.packed)?, sized(self.offset)?);
        if self.disk != 0 {
            return Err(("another file", "a member in this file"));
        }
        if self.method == STORED && packed != len {
            return Err(("two sizes", "one size, as the member is stored"));
        }
        Ok(Entry { name: name.into(), method: self.method, crc: self.crc, packed, len, offset })
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory.
    pub fn open(path: &Path, format: &'static str, mut reader: R) -> Result<Self> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let len = reader.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut opener = Opener { path, format, reader, len };
        let (entries, directory) = opener.entries()?;
        Ok(Self { reader: opener.reader, entries, directory })
    }

    /// The contents of a member, to be read to their end and then checked by [`finish`]. `part` is what errors call it.
    pub fn member<'a>(
        &'a mut self,
        path: &'a Path,
        format: &'static str,
        part: &'a str,
        index: usize,
    ) -> Result<Source<'a, Contents<'a, R>>> {
        let entry = &self.entries[index];
        let mut opener = Opener { path, format, reader: &mut self.reader, len: self.directory };
        let header = opener.at(entry.offset, 30)?;
        let mut fields = Fields(&header[4..]);
        let mut parse = || {
            fields.u16()?;
            let (flags, method) = (fields.u16()?, fields.u16()?);
            fields.u32()?;
            let sizes = (fields.u32()?, fields.u32()?, fields.u32()?);
            Some((flags, method, sizes, fields.u16()?, fields.u16()?))
        };
        let (flags, method, (crc, packed, len), name, extra) = parse().expect("30 bytes are there");
        let start = entry.offset + 30 + u64::from(name) + u64::from(extra);
        let same = |narrow: u32, wide: u64| u64::from(narrow) == wide || narrow == u32::MAX;
        let agrees = header.starts_with(&MEMBER)
            && method == entry.method
            && usize::from(name) == entry.name.len()
            && start.checked_add(entry.packed).is_some_and(|end| end <= self.directory)
            && (flags & SIZES_FOLLOW != 0
                || crc == entry.crc && same(packed, entry.packed) && same(len, entry.len))
            && opener.at(entry.offset + 30, name.into())? == entry.name.as_bytes();
        if !agrees {
            let got = format_args!("another at byte {}", entry.offset).to_string();
            return Err(read::format_error(
                path,
                format,
                part,
                "the header that the directory announces",
                got,
            ));
        }
        let failed = |source| Error::Io { path: path.to_owned(), source };
        self.reader.seek(SeekFrom::Start(start)).map_err(failed)?;
        let packed = (&mut self.reader).take(entry.packed);
        let inner = match entry.method {
            STORED => Inner::Stored(packed),
            _ => Inner::Deflated(DeflateDecoder::new(packed)),
        };
        let contents = Contents { inner, crc: Crc::new(), expected: (entry.crc, entry.len, entry.packed) };
        let compressed = entry.is_compressed();
        Ok(Source { operation: "read_npz", path, format, part, compressed, reader: contents })
    }
}

/// What a member holds, decompressed while it is read.
pub(crate) struct Contents<'a, R> {
    inner: Inner<'a, R>,
    crc: Crc,
    /// CRC, size, size in the file.
    expected: (u32, u64, u64),
}

enum Inner<'a, R> {
    Stored(Take<&'a mut R>),
    Deflated(DeflateDecoder<Take<&'a mut R>>),
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.inner {
            Inner::Stored(inner) => inner.read(buffer)?,
            Inner::Deflated(inner) => inner.read(buffer)?,
        };
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}

/// A member was read to its end: it is what the directory says.
pub(crate) fn finish<R: Read>(source: &Source<Contents<R>>) -> Result<()> {
    let (crc, len, packed) = source.reader.expected;
    let read = u64::from(source.reader.crc.amount());
    // The counter of bytes has 32 bits.
    if read != len & u64::from(u32::MAX) {
        return Err(source.error("the size", format_args!("{len} bytes"), format_args!("{read} bytes")));
    }
    if source.reader.crc.sum() != crc {
        let got = format_args!("{:08x}", source.reader.crc.sum()).to_string();
        return Err(source.error("the checksum", format_args!("{crc:08x}"), got));
    }
    match &source.reader.inner {
        Inner::Deflated(inner) if inner.total_in() != packed => {
            let got = format_args!("{} bytes", inner.total_in()).to_string();
            Err(source.error("the compressed size", format_args!("{packed} bytes"), got))
        }
        _ => Ok(()),
    }
}

/// Writes an archive front to back: nothing is ever sought. All sizes have 64 bits, so that every archive has one form.
pub(crate) struct Writer<W> {
    out: W,
    at: u64,
    directory: Vec<u8>,
    count: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Self { out, at: 0, directory: Vec::new(), count: 0 }
    }

    /// A member of `len` bytes that `write` gives, always the same: stored, it is called once for the checksum and once for
    /// the file.
    pub fn member(
        &mut self,
        name: &str,
        len: u64,
        compress: bool,
        write: impl Fn(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let name_len = u16::try_from(name.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name has more than 65535 bytes"))?;
        let offset = self.at;
        let (method, flags) = if compress { (DEFLATED, UTF8 | SIZES_FOLLOW) } else { (STORED, UTF8) };
        let mut crc = 0;
        if !compress {
            let mut summed = Summed { out: io::sink(), crc: Crc::new() };
            write(&mut summed)?;
            crc = summed.crc.sum();
        }
        let common = |crc: u32| {
            let mut fields = Vec::new();
            fields.extend_from_slice(&VERSION.to_le_bytes());
            fields.extend_from_slice(&flags.to_le_bytes());
            fields.extend_from_slice(&method.to_le_bytes());
            fields.extend_from_slice(&[0; 2]);
            fields.extend_from_slice(&DATE.to_le_bytes());
            fields.extend_from_slice(&crc.to_le_bytes());
            fields.extend_from_slice(&[0xff; 8]);
            fields.extend_from_slice(&name_len.to_le_bytes());
            fields
        };
        let sizes = |len: u64, packed: u64| [len.to_le_bytes(), packed.to_le_bytes()].concat();
        let known = if compress { (0, 0) } else { (len, len) };
        let header =
            [&MEMBER, &common(crc)[..], &[20, 0], name.as_bytes(), &[1, 0, 16, 0], &sizes(known.0, known.1)];
        self.put(&header.concat())?;
        let packed = if compress {
            let mut counted = Counted { out: &mut self.out, count: 0 };
            let mut encoder = DeflateEncoder::new(&mut counted, Compression::default());
            let mut summed = Summed { out: &mut encoder, crc: Crc::new() };
            write(&mut summed)?;
            crc = summed.crc.sum();
            encoder.finish()?;
            let packed = counted.count;
            self.at += packed;
            let sizes = [packed.to_le_bytes(), len.to_le_bytes()].concat();
            self.put(&[&DESCRIPTOR, &crc.to_le_bytes(), &sizes[..]].concat())?;
            packed
        } else {
            write(&mut self.out)?;
            self.at += len;
            len
        };
        let entry = [
            &ENTRY,
            &VERSION.to_le_bytes()[..],
            &common(crc),
            &[28, 0],
            // Comment, file, attributes.
            &[0; 10],
            &[0xff; 4],
            name.as_bytes(),
            &[1, 0, 24, 0],
            &sizes(len, packed),
            &offset.to_le_bytes(),
        ];
        self.directory.extend_from_slice(&entry.concat());
        self.count += 1;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// The directory and the end.
    pub fn finish(mut self) -> io::Result<W> {
        let (offset, size, count) = (self.at, self.directory.len() as u64, self.count);
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        let end = [
            &END_64[..],
            &44_u64.to_le_bytes(),
            &VERSION.to_le_bytes(),
            &VERSION.to_le_bytes(),
            &[0; 8],
            &count.to_le_bytes(),
            &count.to_le_bytes(),
            &size.to_le_bytes(),
            &offset.to_le_bytes(),
            &LOCATOR_64,
            &[0; 4],
            &(offset + size).to_le_bytes(),
            &1_u32.to_le_bytes(),
            &END,
            &[0; 4],
            &[0xff; 12],
            &[0; 2],
        ];
        self.put(&end.concat())?;
        Ok(self.out)
    }
}

struct Summed<W> {
    out: W,
    crc: Crc,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Counted<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

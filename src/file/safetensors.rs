//! The format safetensors: named tensors of raw bytes behind a header in JSON.
//!
//! ```text
//!   8 bytes   N, little-endian, at most 100 000 000
//!   N bytes   {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...},
//!             then spaces up to a multiple of 8 bytes
//!   the rest  the tensors' bytes, little-endian, row by row, without gaps or overlaps
//! ```
//!
//! From the format's description (huggingface/safetensors, README). Read front to back in one pass, never mapped: memory is
//! taken for the header, about as much again for where its tensors stand, and a piece of 64 KiB; what a tensor's bytes
//! become is the caller's.
//!
//! A file may have a checksum: the metadata `gemmule.crc32`, 8 hexadecimal digits, is the CRC-32 of the whole file with
//! zeros (`0`) for these digits. Files by others have none.

use super::json::{self, Fault, Parser, short};
use super::read::{self, Size};
use crate::error::{Error, Result};
use crc32fast::Hasher;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

pub(crate) const FORMAT: &str = "safetensors";

/// As in other readers.
const LONGEST_HEADER: u64 = 100_000_000;
/// Bytes that are read at once: whole elements of every type.
const PIECE: usize = 1 << 16;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: usize = 64;
/// Tensors of a file, whatever its size, and one more for each 256 bytes: a description in memory is longer than the shortest
/// in a header.
const MOST_TENSORS: u64 = 4096;
/// Texts of the metadata.
const MOST_TEXTS: usize = 4096;

const METADATA: &str = "__metadata__";
const CHECKSUM: &str = "gemmule.crc32";
const NO_CHECKSUM: &str = "00000000";

/// The types of elements that are read; files may hold others, of which only the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    U8,
    /// By its place in [`OTHERS`].
    Other(u8),
}

/// Names and bits of the other types.
const OTHERS: [(&str, u64); 15] = [
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("U32", 32),
    ("C64", 64),
    ("U64", 64),
];

const READ: [Dtype; 7] = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::I64, Dtype::I32, Dtype::U8];

impl Dtype {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::U8 => "U8",
            Self::Other(place) => OTHERS[place as usize].0,
        }
    }

    const fn bits(self) -> u64 {
        match self {
            Self::F64 | Self::I64 => 64,
            Self::F32 | Self::I32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::U8 => 8,
            Self::Other(place) => OTHERS[place as usize].1,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let other = || OTHERS.iter().position(|(other, _)| *other == name).map(|at| Self::Other(at as u8));
        READ.into_iter().find(|dtype| dtype.name() == name).or_else(other)
    }
}

/// A tensor: where its name and its description stand in the header, and its bytes in the data.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: u32,
    description: u32,
    start: u64,
    end: u64,
    dtype: Dtype,
}

/// A header that was found good: every byte of the data belongs to one tensor.
#[derive(Debug)]
pub(crate) struct Header {
    text: String,
    /// In the order of their bytes.
    entries: Vec<Entry>,
    /// Their places in the order of their names.
    by_name: Vec<u32>,
    metadata: Option<usize>,
    /// Where the digits of the checksum stand.
    checksum: Option<usize>,
}

fn refuse(path: &Path, fault: Fault) -> Error {
    read::format_error(path, FORMAT, fault.what, fault.expected, fault.got)
}

/// Opens a file; says how many bytes it has.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    match read::open(path)? {
        (file, Size::File(len)) => Ok((file, len)),
        _ => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            Err(Error::Io { path: path.to_owned(), source })
        }
    }
}

/// Reads exactly so many bytes; a file that ends before has changed since it was measured.
fn fill(source: &mut (impl Read + ?Sized), bytes: &mut [u8], path: &Path) -> Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            refuse(path, Fault::new("the end", "as many bytes as the file had", "fewer"))
        }
        _ => Error::Io { path: path.to_owned(), source: error },
    })
}

impl Header {
    /// Reads the header of `len` bytes in all, and checks that they are what it says.
    pub(crate) fn read(source: &mut (impl Read + ?Sized), len: u64, path: &Path) -> Result<Self> {
        if len < 8 {
            return Err(refuse(path, Fault::new("the header", "at least 8 bytes", len)));
        }
        let mut size = [0; 8];
        fill(source, &mut size, path)?;
        let size = u64::from_le_bytes(size);
        let most = (len - 8).min(LONGEST_HEADER);
        if size > most {
            let expected = format_args!("at most {most} bytes").to_string();
            return Err(refuse(path, Fault::new("the length of the header", expected, size)));
        }
        // Not more than the file has.
        let size = size as usize;
        let mut bytes = Vec::new();
        read::reserve("header of safetensors", &mut bytes, size)?;
        bytes.resize(size, 0);
        fill(source, &mut bytes, path)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            refuse(path, Fault::new(format_args!("byte {at} of the header"), "UTF-8", "another byte"))
        })?;
        Self::parse(text, len - 8 - size as u64).map_err(|fault| refuse(path, fault))
    }

    fn parse(text: String, data: u64) -> Result<Self, Fault> {
        if !text.starts_with('{') {
            return Err(Parser::new(&text, 0).fault("`{`"));
        }
        // Counts first: a list that grows would take twice its size.
        let mut count = 0;
        let mut parser = Parser::new(&text, 0);
        parser.object(|parser, _, _| {
            count += 1;
            parser.skip()
        })?;
        parser.end()?;
        let most = MOST_TENSORS + (text.len() as u64 + data) / 256;
        if count as u64 > most {
            let expected = format_args!("at most {most} in a file of this size").to_string();
            return Err(Fault::new("the number of tensors", expected, count));
        }
        let mut entries = Vec::new();
        let mut by_name: Vec<u32> = Vec::new();
        let reserved = read::reserve("header of safetensors", &mut entries, count)
            .and_then(|()| read::reserve("header of safetensors", &mut by_name, count));
        reserved.map_err(|error| Fault::new("the tensors", "memory for them", error))?;
        let (mut metadata, mut checksum) = (None, None);
        Parser::new(&text, 0).object(|parser, at, name| {
            if name == METADATA {
                if metadata.replace(parser.position()).is_some() {
                    return Err(Fault::new("the header", "one `__metadata__`", "two"));
                }
                checksum = read_texts(parser)?;
            } else {
                entries.push(read_entry(parser, at, &name)?);
            }
            Ok(())
        })?;
        entries.sort_unstable_by_key(|entry| (entry.start, entry.end));
        by_name.extend(0..entries.len() as u32);
        let header = |by_name| Self { text, entries, by_name, metadata, checksum };
        let mut found = header(Vec::new());
        found.check_places(data)?;
        by_name.sort_unstable_by(|&a, &b| found.name(a as usize).cmp(&found.name(b as usize)));
        for pair in by_name.windows(2) {
            let name = found.name(pair[0] as usize);
            if name == found.name(pair[1] as usize) {
                return Err(Fault::new("the names of tensors", "no name twice", short(&name)));
            }
        }
        found.by_name = by_name;
        Ok(found)
    }

    /// Every byte of the data belongs to one tensor.
    fn check_places(&self, data: u64) -> Result<(), Fault> {
        let mut expected = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.start != expected {
                let what = format_args!("the first offset of {}", short(&self.name(index))).to_string();
                return Err(Fault::new(
                    what,
                    format_args!("{expected}, where the one before ends"),
                    entry.start,
                ));
            }
            expected = entry.end;
        }
        if expected != data {
            let claim = format_args!("{expected} bytes, as the header says").to_string();
            return Err(Fault::new("the tensors' bytes", claim, data));
        }
        Ok(())
    }

    /// The number of tensors.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of all tensors.
    pub(crate) fn data_len(&self) -> u64 {
        self.entries.last().map_or(0, |last| last.end)
    }

    /// The tensor of this name; tensors are counted in the order of their bytes.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let found = self.by_name.binary_search_by(|&index| (*self.name(index as usize)).cmp(name));
        found.ok().map(|at| self.by_name[at] as usize)
    }

    /// A tensor's name.
    pub(crate) fn name(&self, index: usize) -> Cow<'_, str> {
        Parser::new(&self.text, self.entries[index].name as usize).string().unwrap_or_default()
    }

    /// The type of a tensor's elements.
    pub(crate) fn dtype(&self, index: usize) -> Dtype {
        self.entries[index].dtype
    }

    /// How many bytes a tensor has.
    pub(crate) fn bytes(&self, index: usize) -> u64 {
        self.entries[index].end - self.entries[index].start
    }

    /// A tensor's dimensions.
    pub(crate) fn shape(&self, index: usize) -> Vec<usize> {
        let mut shape = Vec::new();
        // Read before, and found good.
        let _ = Parser::new(&self.text, self.entries[index].description as usize).object(|parser, _, key| {
            if key != "shape" {
                return parser.skip();
            }
            parser.array(|parser| {
                shape.push(usize::try_from(parser.unsigned()?).unwrap_or(usize::MAX));
                Ok(())
            })
        });
        shape
    }

    /// A text of the metadata.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut found = None;
        // Read before, and found good.
        let _ = Parser::new(&self.text, self.metadata?).object(|parser, _, key| {
            let text = parser.string()?;
            if key == name {
                found = Some(text);
            }
            Ok(())
        });
        found
    }

    /// Reads the tensors behind the header in the order of their bytes, each in pieces of whole elements, and compares the
    /// checksum, if there is one: until this returns, what `piece` was given may be wrong.
    pub(crate) fn read_tensors(
        &self,
        source: &mut (impl Read + ?Sized),
        path: &Path,
        mut piece: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut crc = Hasher::new();
        if let Some(at) = self.checksum {
            crc.update(&(self.text.len() as u64).to_le_bytes());
            crc.update(&self.text.as_bytes()[..at]);
            crc.update(NO_CHECKSUM.as_bytes());
            crc.update(&self.text.as_bytes()[at + NO_CHECKSUM.len()..]);
        }
        for index in 0..self.len() {
            let mut left = self.bytes(index);
            while left > 0 {
                let len = left.min(PIECE as u64) as usize;
                let bytes = &mut buffer[..len];
                fill(source, bytes, path)?;
                if self.checksum.is_some() {
                    crc.update(bytes);
                }
                piece(index, bytes)?;
                left -= len as u64;
            }
        }
        let Some(at) = self.checksum else { return Ok(()) };
        let (claim, value) = (&self.text[at..at + NO_CHECKSUM.len()], format!("{:08x}", crc.finalize()));
        if claim != value {
            return Err(refuse(path, Fault::new("the checksum", claim, value)));
        }
        Ok(())
    }
}

/// Reads the metadata: where the digits of the checksum stand, if there is one.
fn read_texts(parser: &mut Parser<'_>) -> Result<Option<usize>, Fault> {
    let mut keys: Vec<Cow<'_, str>> = Vec::new();
    let mut checksum = None;
    parser.object(|parser, _, key| {
        let at = parser.position() + 1;
        let text = parser.string()?;
        if key == CHECKSUM {
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            // An escaped digit would stand elsewhere.
            if text.len() != NO_CHECKSUM.len() || !text.bytes().all(is_digit) || matches!(text, Cow::Owned(_))
            {
                return Err(Fault::new(CHECKSUM, "8 hexadecimal digits", short(&text)));
            }
            checksum = Some(at);
        }
        if keys.len() == MOST_TEXTS {
            return Err(Fault::new(METADATA, format_args!("at most {MOST_TEXTS} texts"), "more"));
        }
        keys.push(key);
        Ok(())
    })?;
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::new(METADATA, "no key twice", short(&pair[0]))),
        None => Ok(checksum),
    }
}

fn read_entry(parser: &mut Parser<'_>, at: usize, name: &str) -> Result<Entry, Fault> {
    let description = parser.position();
    let (mut dtype, mut bits, mut offsets) = (None, None, None);
    parser.object(|parser, _, key| {
        let again = match &*key {
            "dtype" => {
                let text = parser.string()?;
                let found = Dtype::of_name(&text);
                let unknown =
                    || Fault::new(format_args!("dtype of {}", short(name)), "a known type", short(&text));
                dtype.replace(found.ok_or_else(unknown)?).is_some()
            }
            "shape" => bits.replace(read_shape(parser, name)?).is_some(),
            "data_offsets" => offsets.replace(read_offsets(parser, name)?).is_some(),
            // Fields of later versions.
            _ => return parser.skip(),
        };
        if again {
            return Err(Fault::new(
                format_args!("the header of {}", short(name)),
                "no field twice",
                short(&key),
            ));
        }
        Ok(())
    })?;
    let missing = |what| move || Fault::new(format_args!("the header of {}", short(name)), what, "none");
    let dtype = dtype.ok_or_else(missing("a dtype"))?;
    let elements = bits.ok_or_else(missing("a shape"))?;
    let (start, end) = offsets.ok_or_else(missing("data_offsets"))?;
    let bits = elements.checked_mul(dtype.bits()).filter(|bits| bits % 8 == 0);
    if bits.map(|bits| bits / 8) != end.checked_sub(start) {
        let expected = match bits {
            Some(bits) => format!("{} bytes, as shape and type say", bits / 8),
            None => "a whole number of bytes that fits".to_owned(),
        };
        let what = format_args!("data_offsets of {}", short(name)).to_string();
        return Err(Fault::new(what, expected, format_args!("{start} to {end}")));
    }
    // The header has at most 100 000 000 bytes.
    Ok(Entry { name: at as u32, description: description as u32, start, end, dtype })
}

/// The number of elements.
fn read_shape(parser: &mut Parser<'_>, name: &str) -> Result<u64, Fault> {
    let (mut elements, mut zero, mut count) = (Some(1_u64), false, 0);
    parser.array(|parser| {
        let dimension = parser.unsigned()?;
        count += 1;
        zero |= dimension == 0;
        // So that every stride fits, not only the product.
        elements = elements.and_then(|product| product.checked_mul(dimension.max(1)));
        Ok(())
    })?;
    let what = || format!("shape of {}", short(name));
    if count > MOST_DIMENSIONS {
        return Err(Fault::new(what(), format_args!("at most {MOST_DIMENSIONS} dimensions"), count));
    }
    let fits = elements.filter(|&product| isize::try_from(product).is_ok());
    let product = fits.ok_or_else(|| Fault::new(what(), "a product that fits in memory", "a larger one"))?;
    Ok(if zero { 0 } else { product })
}

fn read_offsets(parser: &mut Parser<'_>, name: &str) -> Result<(u64, u64), Fault> {
    let (mut offsets, mut count) = ([0; 2], 0);
    parser.array(|parser| {
        let offset = parser.unsigned()?;
        if let Some(place) = offsets.get_mut(count) {
            *place = offset;
        }
        count += 1;
        Ok(())
    })?;
    if count != 2 {
        return Err(Fault::new(format_args!("data_offsets of {}", short(name)), "two numbers", count));
    }
    Ok((offsets[0], offsets[1]))
}

/// A tensor to write.
pub(crate) struct Part {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// Writes a file with the tensors `parts` and a checksum; `data` writes the bytes of one of them, and is asked twice: a second
/// copy of them is not made.
///
/// # Errors
/// What `out` and `data` return; [`io::ErrorKind::InvalidInput`] if the header were too long to be read.
pub(crate) fn write(
    out: &mut dyn Write,
    metadata: &[(&str, &str)],
    parts: &[Part],
    data: &dyn Fn(usize, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let (mut header, digits) = header(metadata, parts);
    if header.len() as u64 > LONGEST_HEADER {
        let what = format!("the header has {} bytes, more than the format's {LONGEST_HEADER}", header.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let size = (header.len() as u64).to_le_bytes();
    let mut crc = Summed(Hasher::new());
    crc.0.update(&size);
    crc.0.update(header.as_bytes());
    (0..parts.len()).try_for_each(|index| data(index, &mut crc))?;
    header.replace_range(digits..digits + NO_CHECKSUM.len(), &format!("{:08x}", crc.0.finalize()));
    out.write_all(&size)?;
    out.write_all(header.as_bytes())?;
    (0..parts.len()).try_for_each(|index| data(index, out))
}

/// Takes a checksum of what is written to it.
struct Summed(Hasher);

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The header with zeros for the checksum, and where they stand.
fn header(metadata: &[(&str, &str)], parts: &[Part]) -> (String, usize) {
    let mut text = format!("{{\"{METADATA}\":{{");
    for (key, value) in metadata {
        json::push_string(&mut text, key);
        text.push(':');
        json::push_string(&mut text, value);
        text.push(',');
    }
    json::push(&mut text, format_args!("\"{CHECKSUM}\":\""));
    let digits = text.len();
    json::push(&mut text, format_args!("{NO_CHECKSUM}\"}}"));
    let mut offset = 0;
    for part in parts {
        text.push(',');
        json::push_string(&mut text, &part.name);
        let elements = part.shape.iter().map(|&dimension| dimension as u64).product::<u64>();
        let end = offset + elements * part.dtype.bits() / 8;
        let (dtype, shape) = (part.dtype.name(), &part.shape);
        json::push(
            &mut text,
            format_args!(":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{offset},{end}]}}"),
        );
        offset = end;
    }
    text.push('}');
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    (text, digits)
}

/// Hands each number of whole elements to `take`: exactly, if it is no integer beyond 2^53. Other types are passed over: the
/// caller looked at it.
pub(crate) fn numbers(dtype: Dtype, bytes: &[u8], take: impl FnMut(f64)) {
    match dtype {
        Dtype::F64 => bytes.as_chunks().0.iter().map(|&it| f64::from_le_bytes(it)).for_each(take),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&it| f32::from_le_bytes(it).into()).for_each(take),
        Dtype::F16 => {
            bytes.as_chunks().0.iter().map(|&it| half(u16::from_le_bytes(it)).into()).for_each(take)
        }
        Dtype::Bf16 => {
            bytes.as_chunks().0.iter().map(|&it| brain(u16::from_le_bytes(it)).into()).for_each(take)
        }
        Dtype::I64 => bytes.as_chunks().0.iter().map(|&it| i64::from_le_bytes(it) as f64).for_each(take),
        Dtype::I32 | Dtype::U8 | Dtype::Other(_) => {}
    }
}

/// binary16 of IEEE 754: 5 bits of exponent, 10 of mantissa.
pub(crate) fn half(bits: u16) -> f32 {
    let (exponent, mantissa) = (u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match exponent {
        // Below the normal numbers: steps of 2^-24.
        0 => (mantissa as f32 * f32::from_bits((127 - 24) << 23)).to_bits(),
        31 => 255 << 23 | mantissa << 13,
        _ => (exponent + 127 - 15) << 23 | mantissa << 13,
    };
    f32::from_bits(u32::from(bits >> 15) << 31 | magnitude)
}

/// bfloat16: the upper half of an f32.
pub(crate) fn brain(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::{brain, half};

    #[test]
    fn all_halves_are_exact() {
        for bits in 0..=u16::MAX {
            let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
            let power = |k: i32| (0..k.abs()).fold(1.0, |x, _| if k < 0 { x / 2.0 } else { x * 2.0 });
            let expected = match exponent {
                0 => sign * mantissa * power(-24),
                31 if bits & 1023 == 0 => sign * f64::INFINITY,
                31 => f64::NAN,
                _ => sign * (1.0 + mantissa / 1024.0) * power(exponent - 15),
            };
            let got = f64::from(half(bits));
            assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(), "{bits:04x}");
        }
        assert_eq!(
            [0x3f80, 0xc000, 0x0001, 0x7f80].map(brain),
            [1.0, -2.0, f32::from_bits(1 << 16), f32::INFINITY]
        );
    }
}

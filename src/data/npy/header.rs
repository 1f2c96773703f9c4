//! The header of an npy file: a Python dictionary as text.
//!
//! ```text
//!   offset  0          6      7      8              10 (v1) or 12 (v2, v3)
//!           93 NUMPY   major  minor  length of the   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//!                                    text, u16 LE    padded with spaces to a multiple of 64, and a newline
//!                                    (v1) or u32 LE
//! ```
//!
//! Source: NumPy's `numpy.lib.format` (NEP 1). Version 2 allows a longer text, version 3 UTF-8 in it.

use crate::error::Result;
use crate::file::read::Source;
use std::io::Read;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest text that is read. NumPy itself refuses more than 10000 bytes unless told otherwise.
const LONGEST: usize = 0xffff;
/// NumPy's own bound (32 before its version 2).
pub const MAX_DIMENSIONS: usize = 64;

/// The types of elements that are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    U8,
    I32,
    I64,
    F32,
    F64,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str, usize); 5] = [
        (Self::U8, "u1", "u8", 1),
        (Self::I32, "i4", "i32", 4),
        (Self::I64, "i8", "i64", 8),
        (Self::F32, "f4", "f32", 4),
        (Self::F64, "f8", "f64", 8),
    ];

    fn row(self) -> (Self, &'static str, &'static str, usize) {
        Self::ALL[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().2
    }

    pub fn size(self) -> usize {
        self.row().3
    }

    /// Type and byte order of a `descr`; `None` if it is another type.
    fn parse(descr: &str) -> Option<(Self, bool)> {
        let (order, code) = descr.split_at_checked(1)?;
        let (kind, ..) = Self::ALL.into_iter().find(|row| row.1 == code)?;
        let big = match order {
            "<" => false,
            ">" => true,
            "=" => cfg!(target_endian = "big"),
            "|" if kind == Self::U8 => false,
            _ => return None,
        };
        Some((kind, big))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub big_endian: bool,
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes of the header, magic included.
    pub len: usize,
}

impl Header {
    pub fn read(source: &mut Source<impl Read>) -> Result<Self> {
        let mut start = Vec::with_capacity(12);
        if source.append(8, &mut start)? != 8 {
            return Err(source.error("the header", "8 bytes", format_args!("{} bytes", start.len())));
        }
        if start[..6] != *MAGIC {
            let got = String::from_utf8_lossy(&start[..6]).escape_debug().to_string();
            return Err(source.error("the first six bytes", "\\x93NUMPY", got));
        }
        let (major, minor) = (start[6], start[7]);
        if !(1..=3).contains(&major) || minor != 0 {
            return Err(source.error("the version", "1.0, 2.0 or 3.0", format_args!("{major}.{minor}")));
        }
        let wide = if major == 1 { 2 } else { 4 };
        if source.append(wide, &mut start)? != wide {
            return Err(source.error(
                "the length of the header",
                format_args!("{wide} bytes"),
                start.len() - 8,
            ));
        }
        let len = start[8..].iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
        if len > LONGEST {
            return Err(source.error("the length of the header", format_args!("at most {LONGEST}"), len));
        }
        let mut text = Vec::new();
        if source.append(len, &mut text)? != len {
            return Err(source.error("the header", format_args!("{len} bytes"), text.len()));
        }
        let mut parser = Parser { text: &text, at: 0 };
        match parser.header() {
            Ok((kind, big_endian, fortran, shape)) => {
                Ok(Self { kind, big_endian, fortran, shape, len: start.len() + len })
            }
            Err((what, expected)) => {
                let from = parser.at.min(text.len());
                let got = &text[from..text.len().min(from + 40)];
                let got = format!("{:?} at byte {from} of the header's text", String::from_utf8_lossy(got));
                Err(source.error(what, expected, got))
            }
        }
    }
}

/// The header that NumPy 2 writes for such an array, row by row, to the byte. At most [`MAX_DIMENSIONS`].
pub fn text(kind: Kind, shape: &[usize]) -> Vec<u8> {
    let order = if kind == Kind::U8 { '|' } else { '<' };
    let mut dict = format!("{{'descr': '{order}{}', 'fortran_order': False, 'shape': (", kind.row().1);
    for (i, dimension) in shape.iter().enumerate() {
        dict.push_str(if i == 0 { "" } else { ", " });
        dict.push_str(&dimension.to_string());
    }
    dict.push_str(if shape.len() == 1 { ",), }" } else { "), }" });
    // Room in which the first dimension can grow to its 21 digits without moving the data.
    let digits = shape.first().map_or(21, |dimension| dimension.to_string().len());
    let used = dict.len() + 21 - digits;
    let len = (10 + used + 1).next_multiple_of(64) - 10;
    let mut out =
        [MAGIC, &[1, 0][..], &u16::try_from(len).expect("64 dimensions take less").to_le_bytes()].concat();
    out.extend_from_slice(dict.as_bytes());
    out.resize(10 + len - 1, b' ');
    out.push(b'\n');
    out
}

/// What is wrong, and what was expected.
type Wrong = (&'static str, &'static str);

/// Reads the few literals of Python that stand in a header.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn header(&mut self) -> Result<(Kind, bool, bool, Vec<usize>), Wrong> {
        const WHAT: &str = "the header's text";
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{', (WHAT, "a dictionary"))?;
        loop {
            if self.skip(b'}') {
                break;
            }
            let start = self.at;
            match self.string((WHAT, "a key in quotes"))? {
                b"descr" if descr.is_none() => {
                    self.expect(b':', (WHAT, "a colon after the key"))?;
                    descr = Some(self.descr()?);
                }
                b"fortran_order" if fortran.is_none() => {
                    self.expect(b':', (WHAT, "a colon after the key"))?;
                    fortran = Some(self.boolean()?);
                }
                b"shape" if shape.is_none() => {
                    self.expect(b':', (WHAT, "a colon after the key"))?;
                    shape = Some(self.shape()?);
                }
                _ => {
                    self.at = start;
                    return Err((WHAT, "the keys 'descr', 'fortran_order' and 'shape', once each"));
                }
            }
            if !self.skip(b',') {
                self.expect(b'}', (WHAT, "a comma or the end of the dictionary"))?;
                break;
            }
        }
        self.space();
        if self.at != self.text.len() {
            return Err((WHAT, "nothing after the dictionary"));
        }
        let (Some((kind, big)), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
            return Err((WHAT, "the keys 'descr', 'fortran_order' and 'shape', once each"));
        };
        Ok((kind, big, fortran, shape))
    }

    fn descr(&mut self) -> Result<(Kind, bool), Wrong> {
        const WHAT: &str = "the type of the elements";
        self.space();
        let start = self.at;
        if self.peek() == Some(b'[') {
            return Err((WHAT, "u8, i32, i64, f32 or f64, not a structured type"));
        }
        let descr = self.string((WHAT, "a string"))?;
        if descr.contains(&b'O') {
            self.at = start;
            return Err((
                WHAT,
                "u8, i32, i64, f32 or f64: an object array holds pickled Python, which is a program",
            ));
        }
        let parsed = str::from_utf8(descr).ok().and_then(Kind::parse);
        parsed.ok_or_else(|| {
            self.at = start;
            (WHAT, "'|u1' (u8), '<i4' (i32), '<i8' (i64), '<f4' (f32) or '<f8' (f64), or with '>'")
        })
    }

    fn boolean(&mut self) -> Result<bool, Wrong> {
        self.space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(("the order of the elements", "True or False"))
    }

    fn shape(&mut self) -> Result<Vec<usize>, Wrong> {
        const WHAT: &str = "the shape";
        self.expect(b'(', (WHAT, "a tuple"))?;
        let mut shape = Vec::new();
        loop {
            if self.skip(b')') {
                // `(3)` is a number in Python, not a tuple.
                return Ok(shape);
            }
            if shape.len() == MAX_DIMENSIONS {
                return Err((WHAT, "at most 64 dimensions"));
            }
            shape.push(self.number((WHAT, "dimensions that fit in memory"))?);
            if !self.skip(b',') {
                if shape.len() == 1 {
                    return Err((WHAT, "a comma after the only dimension"));
                }
                self.expect(b')', (WHAT, "a comma or the end of the tuple"))?;
                return Ok(shape);
            }
        }
    }

    fn number(&mut self, wrong: Wrong) -> Result<usize, Wrong> {
        self.space();
        let rest = &self.text[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value =
            str::from_utf8(&rest[..digits]).ok().and_then(|digits| digits.parse().ok()).ok_or(wrong)?;
        self.at += digits;
        // Python 2 wrote long integers so.
        self.at += usize::from(self.peek() == Some(b'L'));
        Ok(value)
    }

    /// No escapes: none of the texts that are read has one.
    fn string(&mut self, wrong: Wrong) -> Result<&[u8], Wrong> {
        self.space();
        let quote = self.peek().filter(|quote| b"'\"".contains(quote)).ok_or(wrong)?;
        let text = &self.text[self.at + 1..];
        let len = text.iter().position(|&byte| byte == quote).ok_or(wrong)?;
        self.at += len + 2;
        Ok(&text[..len])
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn skip(&mut self, mark: u8) -> bool {
        self.space();
        let found = self.peek() == Some(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: u8, wrong: Wrong) -> Result<(), Wrong> {
        if self.skip(mark) { Ok(()) } else { Err(wrong) }
    }
}

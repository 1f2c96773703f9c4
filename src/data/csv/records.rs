//! Records of a CSV file, one by one, in memory that grows with the longest.

use crate::error::{Error, Result};
use crate::file::read::{self, Budget, Source};
use csv_core::ReadRecordResult;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// The bytes that are read at once.
const PIECE: usize = 1 << 16;

pub struct Records<'a, R> {
    source: Source<'a, R>,
    parser: csv_core::Reader,
    piece: Vec<u8>,
    at: usize,
    end: End,
    text: Vec<u8>,
    /// Where each field ends in `text`.
    ends: Vec<usize>,
    fields: usize,
    breaks: u64,
}

/// How far the end of the stream has been told to the parser.
#[derive(Clone, Copy, PartialEq)]
enum End {
    NotYet,
    /// A line break of our own ends the last record, unless a quote is open.
    Break,
    Told,
}

impl<'a, R: Read> Records<'a, R> {
    pub fn new(source: Source<'a, R>, parser: csv_core::Reader) -> Self {
        let (text, ends) = (vec![0; 1 << 10], vec![0; 1 << 7]);
        Self {
            source,
            parser,
            piece: Vec::with_capacity(PIECE),
            at: 0,
            end: End::NotYet,
            text,
            ends,
            fields: 0,
            breaks: 0,
        }
    }

    /// Moves to the next record; false at the end. Blank lines are none.
    pub fn next(&mut self, budget: &mut Budget) -> Result<bool> {
        let (mut len, mut fields) = (0, 0);
        loop {
            if self.at == self.piece.len() && self.end != End::Told {
                self.fill()?;
            }
            let input = &self.piece[self.at..];
            let (result, read, written, ended) =
                self.parser.read_record(input, &mut self.text[len..], &mut self.ends[fields..]);
            self.breaks += input[..read].iter().filter(|&&byte| byte == b'\n').count() as u64;
            self.at += read;
            (len, fields) = (len + written, fields + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.grow(budget, true)?,
                ReadRecordResult::OutputEndsFull => self.grow(budget, false)?,
                ReadRecordResult::Record => {
                    // The line break of our own stands inside the quote.
                    if self.end == End::Told {
                        return Err(self.error(
                            format!("line {}", self.line() - 1),
                            "a quote that closes",
                            "the end of the file",
                        ));
                    }
                    self.fields = fields;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        self.piece.clear();
        self.at = 0;
        if self.end == End::NotYet && self.source.append(PIECE, &mut self.piece)? == 0 {
            self.piece.push(b'\n');
            self.end = End::Break;
        } else if self.end == End::Break {
            self.end = End::Told;
        }
        Ok(())
    }

    /// Twice the room for text or for fields.
    fn grow(&mut self, budget: &mut Budget, text: bool) -> Result<()> {
        let taken = if text { self.text.len() } else { self.ends.len() * size_of::<usize>() };
        // While it is copied, the old is there too.
        if !budget.take(3 * taken) {
            let expected = format_args!("one that fits in {} bytes (the limit)", budget.limit).to_string();
            return Err(self.error(format!("the record at line {}", self.line()), expected, "a longer one"));
        }
        fn double<V: Clone + Default>(values: &mut Vec<V>) -> Result<()> {
            let len = values.len();
            read::reserve("Csv::read", values, len)?;
            values.resize(2 * len, V::default());
            Ok(())
        }
        if text { double(&mut self.text) } else { double(&mut self.ends) }
    }

    /// The number of fields of this record.
    pub fn len(&self) -> usize {
        self.fields
    }

    /// A field without the spaces around it.
    pub fn field(&self, index: usize) -> Result<&str> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let bytes = self.text[start..self.ends[index]].trim_ascii();
        str::from_utf8(bytes).map_err(|error| {
            let got = format_args!("byte {:02x}", bytes[error.valid_up_to()]).to_string();
            self.error(format!("line {}, column {index}", self.line()), "text in UTF-8", got)
        })
    }

    /// The line on which this record ends, from 1.
    pub fn line(&self) -> u64 {
        let ended = self.at > 0 && self.piece.get(self.at - 1) == Some(&b'\n');
        self.breaks + 1 - u64::from(ended)
    }

    pub fn path(&self) -> &Path {
        self.source.path
    }

    pub fn error(
        &self,
        what: impl Into<String>,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Error {
        self.source.error(what, expected, got)
    }
}

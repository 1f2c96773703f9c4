//! A text file to which whole lines are added.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// The longest line that is read: logs write no longer ones.
const LONGEST: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    len: u64,
}

impl Lines {
    /// A new file, in place of what was there.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let (path, options) = (path.to_owned(), File::options().append(true).create(true).to_owned());
        let file = options.open(&path).and_then(|file| file.set_len(0).map(|()| file));
        match file {
            Ok(file) => Ok(Self { path, file, len: 0 }),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// The file at `path`, cut off before the first line that `keep` does not want, given its number from 1. A last line without its
    /// end is cut off, too. Without a file a new one.
    pub(super) fn resume(
        path: &Path,
        format: &'static str,
        mut keep: impl FnMut(usize, &str) -> Result<bool, (String, String)>,
    ) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = File::options().read(true).append(true).create(true).open(path).map_err(io)?;
        let (mut reader, mut line, mut len) = (BufReader::new(&file), Vec::new(), 0);
        for number in 1.. {
            line.clear();
            reader.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(io)?;
            let refuse = |expected: String, got: String| {
                Err(Error::Format {
                    path: path.to_owned(),
                    format,
                    what: format!("line {number}"),
                    expected,
                    got,
                })
            };
            if line.pop() != Some(b'\n') {
                if line.len() as u64 + 1 >= LONGEST {
                    return refuse("a line of a log".to_owned(), format!("one of more than {LONGEST} bytes"));
                }
                break;
            }
            let Ok(text) = std::str::from_utf8(&line) else {
                return refuse("text in UTF-8".to_owned(), "other bytes".to_owned());
            };
            match keep(number, text) {
                Ok(true) => len += line.len() as u64 + 1,
                Ok(false) => break,
                Err((expected, got)) => return refuse(expected, got),
            }
        }
        file.set_len(len).map_err(io)?;
        Ok(Self { path: path.to_owned(), file, len })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, which ends in a line break, in one piece. After an error the file is as it was before, if the system allows.
    pub(super) fn add(&mut self, line: &str) -> Result<()> {
        match self.file.write_all(line.as_bytes()) {
            Ok(()) => {
                self.len += line.len() as u64;
                Ok(())
            }
            Err(source) => {
                // What was written of it is no row; if this fails too, the next resume cuts it off.
                let _ = self.file.set_len(self.len);
                Err(Error::Io { path: self.path.clone(), source })
            }
        }
    }
}

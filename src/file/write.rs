//! Writes a file whole or not at all: aside, synced, renamed, directory synced.
//!
//! ```text
//!   create   .NAME.PID-COUNTER.tmp beside the file; nobody else's (O_EXCL), mode 666 less the umask
//!   write    every byte, or an error
//!   sync     the file's bytes are on the disk; its length is the one that was written
//!   rename   over the old file: a reader finds the old one or the new one, whole
//!   sync     the directory's entry is on the disk (Unix)
//! ```
//!
//! Until the rename every failure removes the temporary file and leaves the old file as it is. Nothing is tried twice: after
//! a failed sync the kernel may have dropped the pages and would report success (fsyncgate, 2018). A crash leaves at most the
//! temporary file: [`is_temporary`] knows its name.

use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is gathered before the system is called.
const BUFFER: usize = 1 << 16;

/// Names that are tried for the temporary file: those of a crashed process with the same number may be there.
const ATTEMPTS: usize = 100;

/// What writing asks of the system. Tests put one in its place that fails.
pub(crate) trait Disk {
    /// A file that is written to.
    type File;
    /// Makes a file that was not there.
    fn create(&mut self, path: &Path) -> io::Result<Self::File>;
    /// Writes some of the bytes and says how many.
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;
    /// Puts the file's bytes on the disk.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;
    /// The file's length.
    fn len(&mut self, file: &mut Self::File) -> io::Result<u64>;
    /// Gives a file another name, in place of the file that had it.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Puts the entries of a directory on the disk.
    fn sync_directory(&mut self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// The operating system.
#[derive(Debug)]
pub(crate) struct System;

impl Disk for System {
    type File = File;

    fn create(&mut self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&mut self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn len(&mut self, file: &mut File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(unix)]
    fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Only Unix opens directories.
    #[cfg(not(unix))]
    fn sync_directory(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Replaces the file at `path` by what `contents` writes. A symbolic link is followed: what it leads to is replaced.
///
/// # Errors
/// [`Error::Io`] with `path`: the old file is as it was and nothing else is left, unless it is the directory's sync that
/// failed: then the new file stands there, and a loss of power may bring the old one back. The permission to write the folder
/// is needed, and the target may not be a device, a pipe or a directory.
pub(crate) fn write(path: &Path, contents: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    write_on(&mut System, path, contents)
}

/// [`write()`] of all `pieces`, one after the other.
///
/// # Errors
/// As [`write()`].
#[allow(dead_code, reason = "for files whose bytes are at hand")]
pub(crate) fn write_pieces(path: &Path, pieces: &[&[u8]]) -> Result<()> {
    write(path, |out| pieces.iter().try_for_each(|piece| out.write_all(piece)))
}

/// [`write()`] with another system under it.
///
/// # Errors
/// As [`write()`].
pub(crate) fn write_on<D: Disk>(
    disk: &mut D,
    path: &Path,
    contents: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    replace(disk, path, contents).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Whether a file of this name is one that a crash left half written.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") && name.as_encoded_bytes().ends_with(b".tmp")
}

fn replace<D: Disk>(
    disk: &mut D,
    path: &Path,
    contents: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let target = target(path)?;
    let (temporary, file) = create(disk, &target)?;
    let mut out = Out { disk, file, buffer: Vec::with_capacity(BUFFER), written: 0 };
    let mut done = contents(&mut out).and_then(|()| out.finish());
    // On some systems an open file cannot be renamed.
    let Out { disk, file, .. } = out;
    drop(file);
    done = done.and_then(|()| disk.rename(&temporary, &target));
    if let Err(error) = done {
        // The first failure is the one to report.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_directory(folder(&target))
}

/// The file itself: what a link leads to.
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file: it cannot be replaced"))
        }
        Ok(_) if fs::symlink_metadata(path)?.is_symlink() => fs::canonicalize(path),
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn create<D: Disk>(disk: &mut D, target: &Path) -> io::Result<(PathBuf, D::File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = target.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no name of a file"));
    };
    let mut attempt = 0;
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{}.tmp", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let temporary = target.with_file_name(temporary);
        attempt += 1;
        match disk.create(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gathers small pieces; large ones go to the file as they are.
struct Out<'a, D: Disk> {
    disk: &'a mut D,
    file: D::File,
    buffer: Vec<u8>,
    written: u64,
}

impl<D: Disk> Out<'_, D> {
    fn all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.disk.write(&mut self.file, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count as u64;
                    bytes = &bytes[count..];
                }
                // A signal came: nothing was written.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let done = self.all(&buffer);
        buffer.clear();
        self.buffer = buffer;
        done
    }

    fn finish(&mut self) -> io::Result<()> {
        self.empty()?;
        self.disk.sync(&mut self.file)?;
        let len = self.disk.len(&mut self.file)?;
        if len != self.written {
            let what = format!("{len} bytes are there of {} that were written", self.written);
            return Err(io::Error::other(what));
        }
        Ok(())
    }
}

impl<D: Disk> Write for Out<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.empty()?;
        }
        if bytes.len() >= BUFFER {
            return self.all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// What is gathered is written at the end, or it is an error then.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
mod tests;

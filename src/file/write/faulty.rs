//! A disk that fails, for tests.

use super::{Disk, System};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// For a disk without a fault.
pub(crate) const NEVER: usize = usize::MAX;

/// The system, but call number `fails_at`, counted from 1, fails with `error`.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    /// What was called; clones share it.
    calls: Arc<Mutex<Vec<&'static str>>>,
    fails_at: usize,
    error: ErrorKind,
    /// Every write takes one byte at most.
    pub short: bool,
    /// Writes report success and write nothing.
    pub lies: bool,
}

impl Faulty {
    pub(crate) fn new(fails_at: usize, error: ErrorKind) -> Self {
        Self { calls: Arc::default(), fails_at, error, short: false, lies: false }
    }

    fn call(&mut self, name: &'static str) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        calls.push(name);
        if calls.len() == self.fails_at { Err(self.error.into()) } else { Ok(()) }
    }

    /// What was called so far, in order.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }
}

impl Disk for Faulty {
    type File = File;

    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.call("create")?;
        System.create(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        self.call("write")?;
        if self.lies {
            return Ok(bytes.len());
        }
        System.write(file, if self.short { &bytes[..1] } else { bytes })
    }

    /// Takes no time: no test pulls the plug.
    fn sync(&mut self, _: &mut File) -> io::Result<()> {
        self.call("sync")
    }

    fn len(&mut self, file: &mut File) -> io::Result<u64> {
        self.call("len")?;
        System.len(file)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename")?;
        System.rename(from, to)
    }

    fn sync_directory(&mut self, _: &Path) -> io::Result<()> {
        self.call("sync_directory")
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.call("remove")?;
        System.remove(path)
    }
}

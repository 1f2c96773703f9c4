//! Every call that writing makes fails once, in every way: the old file stays, nothing is left, the error has the path.

use super::faulty::{Faulty, NEVER};
use super::{is_temporary, write, write_on, write_pieces};
use crate::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gemmule-write-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Two pieces, of which the second is longer than the buffer.
fn pieces(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"new ")?;
    out.write_all(&[b'x'; 100_000])
}

fn new() -> Vec<u8> {
    [&b"new "[..], &[b'x'; 100_000]].concat()
}

#[test]
fn the_order_is_write_sync_rename_sync() {
    let folder = Folder::new("order");
    let path = folder.0.join("model");
    let mut disk = Faulty::new(NEVER, ErrorKind::Other);
    write_on(&mut disk, &path, pieces).unwrap();
    assert_eq!(disk.calls(), ["create", "write", "write", "sync", "len", "rename", "sync_directory"]);
    assert_eq!(fs::read(&path).unwrap(), new());
    assert_eq!(folder.names(), ["model"]);
}

#[test]
fn every_failure_of_every_call_leaves_the_old_file() {
    let folder = Folder::new("failures");
    let path = folder.0.join("model");
    let kinds = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::PermissionDenied,
        ErrorKind::Other,
    ];
    for kind in kinds {
        for fails_at in 1..=7 {
            fs::write(&path, b"old").unwrap();
            let mut disk = Faulty::new(fails_at, kind);
            let error = write_on(&mut disk, &path, pieces).unwrap_err();
            let mut calls = disk.calls();
            // The temporary file's.
            calls.retain(|name| *name != "remove");
            assert_eq!(calls.len(), fails_at, "{kind}: nothing is tried again: {calls:?}");
            let Error::Io { path: named, source } = error else { panic!("{error}") };
            assert_eq!((named.as_path(), source.kind()), (path.as_path(), kind));
            // Only after the rename the new one stands there.
            let expected = if calls.contains(&"sync_directory") { new() } else { b"old".to_vec() };
            assert_eq!(fs::read(&path).unwrap(), expected, "{kind} in {:?}", calls.last());
            assert_eq!(folder.names(), ["model"], "{kind} in {:?}", calls.last());
        }
    }
}

#[test]
fn short_writes_go_on_and_interrupted_ones_are_repeated() {
    let folder = Folder::new("short");
    let path = folder.0.join("model");
    let mut disk = Faulty::new(2, ErrorKind::Interrupted);
    disk.short = true;
    write_on(&mut disk, &path, |out| out.write_all(b"slowly")).unwrap();
    assert_eq!(disk.calls().iter().filter(|name| **name == "write").count(), 1 + 6);
    assert_eq!(fs::read(&path).unwrap(), b"slowly");
}

#[test]
fn bytes_that_never_arrived_are_an_error() {
    let folder = Folder::new("lies");
    let path = folder.0.join("model");
    fs::write(&path, b"old").unwrap();
    let mut disk = Faulty::new(NEVER, ErrorKind::Other);
    disk.lies = true;
    let error = write_on(&mut disk, &path, pieces).unwrap_err();
    assert!(error.to_string().ends_with("0 bytes are there of 100004 that were written"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(folder.names(), ["model"]);
}

#[test]
fn a_failure_of_the_contents_leaves_the_old_file() {
    let folder = Folder::new("contents");
    let path = folder.0.join("model");
    fs::write(&path, b"old").unwrap();
    let half = |out: &mut dyn Write| {
        out.write_all(&[1; 200_000])?;
        Err(io::Error::other("no more"))
    };
    let error = write(&path, half).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: no more", path.display()));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(folder.names(), ["model"]);
}

#[test]
fn pieces_are_joined_and_names_need_no_folder() {
    let folder = Folder::new("pieces");
    let path = folder.0.join("model");
    write_pieces(&path, &[b"ab", b"", b"c"]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_eq!(super::folder(Path::new("model")), Path::new("."));
    let missing = folder.0.join("none").join("model");
    let error = write_pieces(&missing, &[b"a"]).unwrap_err();
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    for not_a_file in [folder.0.as_path(), Path::new("/"), Path::new("..")] {
        let error = write_pieces(not_a_file, &[b"a"]).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
    assert_eq!(folder.names(), ["model"]);
}

#[test]
fn names_of_temporary_files_are_known() {
    assert!(is_temporary(".model.safetensors.1234-0.tmp".as_ref()));
    assert!(!is_temporary("model.tmp".as_ref()) && !is_temporary(".model".as_ref()));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_devices_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::new("links");
    let (file, link) = (folder.0.join("file"), folder.0.join("link"));
    fs::write(&file, b"old").unwrap();
    symlink(&file, &link).unwrap();
    write_pieces(&link, &[b"new"]).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let error = write_pieces(Path::new("/dev/null"), &[b"a"]).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    // As every new file: what the umask leaves of 666.
    let (ours, plain) = (folder.0.join("ours"), folder.0.join("plain"));
    write_pieces(&ours, &[b"a"]).unwrap();
    fs::write(&plain, b"a").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

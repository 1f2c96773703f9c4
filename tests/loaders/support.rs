//! Folders, golden files, damage.

use gemmule::Error;
use gemmule::data::{NpyArray, NpyData, read_npy};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of its own for each test, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loaders-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/loaders").join(name)
}

/// A golden array of bytes.
pub fn bytes(name: &str) -> Vec<u8> {
    let NpyData::U8(bytes) = read_npy(golden(name)).unwrap().into_data() else { panic!("{name}") };
    bytes
}

/// The five arrays of tests/golden/loaders.py.
pub fn arrays() -> [(&'static str, NpyArray); 5] {
    let integers = || (0..24).map(|i| 5 * i - 7);
    let floats = || (0..24).map(|i| f64::from(i) / 8.0 - 1.0);
    let array = |data| NpyArray::new(&[2, 3, 4], data).unwrap();
    [
        ("u8", array(NpyData::U8(integers().map(|x| x as u8).collect()))),
        ("i32", array(NpyData::I32(integers().collect()))),
        ("i64", array(NpyData::I64(integers().map(i64::from).collect()))),
        ("f32", array(NpyData::F32(floats().map(|x| x as f32).collect()))),
        ("f64", array(NpyData::F64(floats().collect()))),
    ]
}

/// The error names the file and is one of the format or of the system.
#[track_caller]
pub fn refusal<R: std::fmt::Debug>(path: &Path, result: Result<R, Error>) -> String {
    match result {
        Err(error @ (Error::Format { .. } | Error::Io { .. } | Error::Data { .. })) => {
            let text = error.to_string();
            assert!(text.contains(&path.display().to_string()), "{text}");
            text
        }
        other => panic!("expected an error that names {}, got {other:?}", path.display()),
    }
}

/// Reads every prefix and every copy with one bit flipped: each is refused by an error that names the reader, or read. What
/// was read is handed to `prefix` with the length and to `flip` with the number of the bit; says how many flips were read.
pub fn damage<R: std::fmt::Debug>(
    whole: &[u8],
    read: impl Fn(&[u8]) -> Result<R, Error>,
    mut prefix: impl FnMut(usize, R),
    mut flip: impl FnMut(usize, R),
) -> usize {
    let reader = Path::new("(reader)");
    let mut passed = 0;
    for len in 0..whole.len() {
        match read(&whole[..len]) {
            Ok(result) => prefix(len, result),
            error => drop(refusal(reader, error)),
        }
    }
    let mut flipped = whole.to_vec();
    for bit in 0..8 * whole.len() {
        flipped[bit / 8] ^= 1 << (bit % 8);
        match read(&flipped) {
            Ok(result) => {
                passed += 1;
                flip(bit, result);
            }
            error => drop(refusal(reader, error)),
        }
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    passed
}

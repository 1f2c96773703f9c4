//! Files with a right checksum that say something else, and things that are no files.

use super::{CHECKSUM, HEADER, MAGIC, VERSION, contents, decode, read, write};
use crate::file::write::faulty::{Faulty, NEVER};
use crate::state::State;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

fn example() -> State {
    let mut state = State::new();
    state.set_integer("steps", 7);
    state.set_text("loss", "CrossEntropy");
    state.set_values("weights", &[1.0_f32, -2.5, 3.25]);
    state
}

/// A file as this crate would write it, of another version, another length or another body, with the right checksum.
fn forge(version: u64, len: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &version.to_le_bytes(), &len.to_le_bytes(), body].concat();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn body(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.write_to(&mut bytes).unwrap();
    bytes
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("gemmule-checkpoint-{name}-{}", std::process::id()))
}

#[test]
fn written_and_read() {
    let (state, path) = (example(), path("written"));
    write(&mut Faulty::new(NEVER, ErrorKind::Other), &path, &state).unwrap();
    let bytes = fs::read(&path).unwrap();
    let body = body(&state);
    assert_eq!(bytes, forge(VERSION, body.len() as u64, &body));
    assert_eq!(bytes.len(), HEADER + body.len() + CHECKSUM);
    assert_eq!(read(&path).unwrap(), state);
    fs::remove_file(&path).unwrap();
}

/// What is refused, and how it is said.
#[test]
fn right_checksums_over_wrong_contents() {
    let good = body(&example());
    let len = good.len() as u64;
    let refused = |bytes: &[u8], what: &str, expected: &str, got: &str| {
        let (w, e, g) = decode(bytes).unwrap_err();
        assert_eq!((w.as_str(), e.as_str(), g.as_str()), (what, expected, got));
    };
    for version in [0, 2, VERSION << 32, u64::MAX] {
        refused(&forge(version, len, &good), "the version", "1", &version.to_string());
    }
    // Another version's file may be arranged otherwise: its checksum is not looked at.
    let mut later = forge(2, len, &good);
    later.truncate(40);
    refused(&later, "the version", "1", "2");
    let size = "the size of the file";
    let total = good.len() + HEADER + CHECKSUM;
    for claim in [0, len - 1, len + 1, 1 << 40, u64::MAX - 35, u64::MAX] {
        let expected = format!("{} bytes", u128::from(claim) + 36);
        refused(&forge(VERSION, claim, &good), size, &expected, &format!("{total} bytes"));
    }
    let (expected, got) = (format!("{total} bytes"), format!("{} bytes", total + 4));
    refused(&forge(VERSION, len, &[&good[..], b"more"].concat()), size, &expected, &got);
}

/// Bodies that no state writes: cut short within, of unknown kinds, with lengths beyond their ends.
#[test]
fn right_checksums_over_broken_states() {
    let good = body(&example());
    let mut refused = 0;
    let mut each = |body: &[u8]| {
        if let Err((what, expected, got)) = decode(&forge(VERSION, body.len() as u64, body)) {
            assert!(what.starts_with("the entry at byte ") && !expected.is_empty() && !got.is_empty());
            refused += 1;
        }
    };
    (0..good.len()).for_each(|len| each(&good[..len]));
    for bit in 0..8 * good.len() {
        let mut body = good.clone();
        body[bit / 8] ^= 1 << (bit % 8);
        each(&body);
    }
    // The rest is another state, whole: another number, another letter.
    assert!(refused > good.len(), "{refused}");
}

/// A file that grows or shrinks between the question for its size and the reading.
#[test]
fn sizes_that_change() {
    let good = body(&example());
    let bytes = forge(VERSION, good.len() as u64, &good);
    let len = bytes.len() as u64;
    let grown = [&bytes[..], &[0; 1000]].concat();
    assert_eq!(decode(&contents(&grown[..], len).unwrap().unwrap()).unwrap(), example());
    let shrunk = contents(&bytes[..bytes.len() - 1], len).unwrap().unwrap();
    assert_eq!(decode(&shrunk).unwrap_err().0, "the size of the file");
}

#[test]
fn what_is_no_file() {
    let folder = path("folder");
    fs::create_dir_all(&folder).unwrap();
    let error = read(&folder).unwrap_err().to_string();
    assert_eq!(error, format!("{}: not a regular file", folder.display()));
    fs::remove_dir(&folder).unwrap();
    let error = read(&folder).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", folder.display())), "{error}");
    #[cfg(unix)]
    for device in ["/dev/zero", "/dev/full"] {
        let error = read(device.as_ref()).unwrap_err().to_string();
        assert_eq!(error, format!("{device}: not a regular file"));
    }
}

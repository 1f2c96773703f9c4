//! Checkpoints that are cut off or have a wrong bit, anywhere: refused with an error, and the one before is taken.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use gemmule::data::Dataset;
use gemmule::nn::{Dense, Loss, Sequential};
use gemmule::optim::Sgd;
use gemmule::train::{Checkpoint, Checkpoints, Fit};
use gemmule::{Error, Result, Tensor};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Two checkpoints; their paths, the older first.
fn two(folder: &Folder) -> Result<(Checkpoints, PathBuf, PathBuf)> {
    let x = Tensor::from_slice(&[2, 1], &[1.0_f32, 2.0])?;
    let line = Dataset::from_values(x.clone())?.with_values(x)?;
    let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f32>(0)?;
    model.compile(Loss::MeanSquaredError, Sgd::default())?;
    let mut checkpoints = Checkpoints::new(&folder.0);
    model.fit(&line, Fit::new().epochs(2).checkpoints(&mut checkpoints))?;
    let list = checkpoints.list()?;
    let [older, newer] = &list[..] else { panic!("{list:?}") };
    let (older, newer) = (older.clone(), newer.clone());
    Ok((checkpoints, older, newer))
}

#[test]
fn every_prefix_and_every_bit() -> Result<()> {
    let folder = Folder::new("resume-damaged");
    let (checkpoints, older, newer) = two(&folder)?;
    let good = fs::read(&newer).unwrap();
    assert!(good.len() < 4000, "{} bytes: the test is to be quick", good.len());
    let refused = |what: &str| -> Result<()> {
        let found = checkpoints.latest()?.expect("the older one is whole");
        assert_eq!(found.path(), older, "{what}");
        let [Error::Format { path, format, what: which, expected, got }] = found.skipped() else {
            panic!("{what}: {:?}", found.skipped());
        };
        assert_eq!((path, *format), (&newer, "checkpoint"), "{what}");
        assert!(!which.is_empty() && !expected.is_empty() && !got.is_empty(), "{what}");
        Ok(())
    };
    // In place: writing whole files anew takes the disk a millisecond each.
    let mut file = OpenOptions::new().write(true).open(&newer).unwrap();
    let mut put = |at: usize, byte: u8| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
    };
    for bit in 0..8 * good.len() {
        put(bit / 8, good[bit / 8] ^ (1 << (bit % 8)));
        refused(&format!("bit {bit}"))?;
        put(bit / 8, good[bit / 8]);
    }
    assert_eq!(checkpoints.latest()?.expect("two").path(), newer);
    for len in (0..good.len()).rev() {
        file.set_len(len as u64).unwrap();
        refused(&format!("the first {len} bytes"))?;
    }
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&newer, bytes).unwrap();
        refused(what)
    };
    // A page that was never written, a longer file, another checkpoint's end.
    for from in (0..good.len()).step_by(512) {
        let mut zeroed = good.clone();
        zeroed[from..].iter_mut().take(512).for_each(|byte| *byte = 0);
        refused(&zeroed, &format!("zeros from {from}"))?;
    }
    refused(&[&good[..], &[0]].concat(), "one byte more")?;
    refused(&[&good[..], &good[..]].concat(), "twice")?;
    let other = fs::read(&older).unwrap();
    assert!(other.len() < good.len(), "a history of one epoch more");
    refused(&[&good[..good.len() - 4], &other[other.len() - 4..]].concat(), "another's checksum")?;
    fs::write(&newer, &good).unwrap();
    assert_eq!(checkpoints.latest()?.expect("two").path(), newer);
    fs::write(&newer, &good[..100]).unwrap();
    let error = Checkpoint::read(&newer).unwrap_err().to_string();
    assert!(error.starts_with(newer.to_str().unwrap()) && error.contains("got 100 bytes"), "{error}");
    Ok(())
}

#[test]
fn none_is_whole() -> Result<()> {
    let folder = Folder::new("resume-none");
    let checkpoints = Checkpoints::new(&folder.0);
    assert!(checkpoints.latest()?.is_none() && checkpoints.read_best()?.is_none());
    let (checkpoints, older, newer) = two(&folder)?;
    fs::write(&older, b"").unwrap();
    fs::write(&newer, b"PK\x03\x04 and so on: somebody else's file, of a fair length").unwrap();
    // The newest one's error.
    let error = checkpoints.latest().unwrap_err().to_string();
    let expected = "checkpoint: the first bytes: expected a gemmule checkpoint's, got others";
    assert_eq!(error, format!("{}: {expected}", newer.display()));
    fs::remove_file(&newer).unwrap();
    let error = checkpoints.latest().unwrap_err().to_string();
    let expected = "checkpoint: the size of the file: expected at least 36 bytes, got 0 bytes";
    assert_eq!(error, format!("{}: {expected}", older.display()));
    // No file at all: not a checkpoint, and so not listed.
    fs::remove_file(&older).unwrap();
    fs::create_dir(&older).unwrap();
    assert!(checkpoints.latest()?.is_none());
    let error = Checkpoint::read(&older).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == older), "{error}");
    Ok(())
}

/// Links are followed, as everywhere.
#[cfg(unix)]
#[test]
fn links() -> Result<()> {
    use std::os::unix::fs::symlink;
    let folder = Folder::new("resume-links");
    let (checkpoints, older, newer) = two(&folder)?;
    let link = folder.0.join("checkpoint-000000000009.gemmule");
    symlink(&older, &link).unwrap();
    assert_eq!(checkpoints.latest()?.expect("three").path(), link);
    fs::remove_file(&link).unwrap();
    // To nowhere, to itself, to a device.
    for target in [folder.0.join("nowhere"), link.clone(), "/dev/zero".into()] {
        symlink(&target, &link).unwrap();
        assert_eq!(checkpoints.latest()?.expect("two").path(), newer, "{}", target.display());
        assert!(matches!(Checkpoint::read(&link), Err(Error::Io { .. })), "{}", target.display());
        fs::remove_file(&link).unwrap();
    }
    Ok(())
}

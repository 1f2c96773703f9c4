//! Memory of saving and reading checkpoints: one copy of the state for a save, the bytes that are there and what they say for
//! reading, nothing for what a header claims. Counts every allocation: a binary of its own.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

#[path = "common/folder.rs"]
mod folder;

use allocator::{mark, most, peak};
use folder::Folder;
use gemmule::data::Dataset;
use gemmule::nn::{Dense, Loss, Sequential};
use gemmule::optim::Adam;
use gemmule::train::{Checkpoint, Checkpoints, Control, Event, Fit};
use gemmule::{Context, Parallelism, Result, Tensor};
use std::fs;

const KIB: usize = 1 << 10;

// One test: others in parallel would count too.
#[test]
fn memory_follows_the_state() -> Result<()> {
    const WIDTH: usize = 300;
    let folder = Folder::new("resume-alloc");
    let x = Tensor::from_vec(&[2, WIDTH], vec![0.5_f32; 2 * WIDTH])?;
    let data = Dataset::from_values(x.clone())?.with_values(x)?;
    let build = || -> Result<_> {
        let context = Context::detect()?.with_parallelism(Parallelism::Serial);
        let mut model = Sequential::new().with(Dense::new(WIDTH, WIDTH)).build_with::<f32>(context, 0)?;
        model.compile(Loss::MeanSquaredError, Adam::default())?;
        Result::Ok(model)
    };
    // Parameters and two moments.
    let state = 3 * 4 * (WIDTH * WIDTH + WIDTH);
    let mut checkpoints = Checkpoints::new(&folder.0).every_steps(1);
    let (mut before, mut saves) = (0, Vec::new());
    let mut watch = |event: &Event<'_>| {
        match event {
            Event::StepEnd { .. } => before = mark(),
            Event::CheckpointSaved(_) if before > 0 => {
                saves.push(most() - before);
                before = 0;
            }
            _ => {}
        }
        Control::Continue
    };
    let options = Fit::new().epochs(2).batch_size(1).callback(&mut watch).checkpoints(&mut checkpoints);
    build()?.fit(&data, options)?;
    println!("saves: {saves:?} bytes for a state of {state}");
    assert_eq!(saves.len(), 4);
    for save in saves {
        assert!(save <= state + 128 * KIB, "{save} bytes to save {state}");
    }

    // Reading: the file's bytes and the state.
    let path = checkpoints.list()?.pop().expect("three");
    let good = fs::read(&path).unwrap();
    let (most, last) = peak(|| Checkpoint::read(&path));
    println!("reading: {most} bytes for a file of {}", good.len());
    assert!(most <= 2 * good.len() + 64 * KIB, "{most} bytes for a file of {}", good.len());
    // Resuming: the new moments beside the old ones; nothing is copied twice.
    let (last, mut model) = (last?, build()?);
    let mut nothing = |_: &Event<'_>| Control::Continue;
    let options = Fit::new().epochs(2).batch_size(1).callback(&mut nothing).resume(last);
    let (most, done) = peak(|| model.fit(&data, options));
    done?;
    println!("resuming: {most} bytes for a state of {state}");
    assert!(most <= state + 64 * KIB, "{most} bytes to resume {state}");

    // Headers that claim: the size of the file betrays them before anything is read.
    for len in [0, 1, 1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX] {
        for size in [32, 36, 100, 4096, good.len()] {
            let mut bytes = good[..size].to_vec();
            bytes[24..32].copy_from_slice(&u64::to_le_bytes(len));
            fs::write(&path, &bytes).unwrap();
            let (most, result) = peak(|| Checkpoint::read(&path));
            assert!(result.is_err());
            assert!(most <= 16 * KIB, "{most} bytes for a claim of {len} in a file of {size}");
        }
    }
    // The same for a file that was cut off, and no more than the file for one whose checksum is wrong, wherever its entries'
    // lengths are what is wrong.
    for size in [0, 31, 36, 5000, good.len() - 1] {
        fs::write(&path, &good[..size]).unwrap();
        let (most, result) = peak(|| Checkpoint::read(&path));
        assert!(result.is_err() && most <= 16 * KIB, "{most} bytes for {size}");
    }
    for at in (32..good.len() - 8).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(1 << 50));
        fs::write(&path, &bytes).unwrap();
        let (most, result) = peak(|| Checkpoint::read(&path));
        assert!(result.is_err() && most <= good.len() + 16 * KIB, "{most} bytes for {}", good.len());
    }
    // A file without end.
    #[cfg(unix)]
    {
        let (most, result) = peak(|| Checkpoint::read("/dev/zero"));
        assert!(result.is_err() && most <= 16 * KIB, "{most} bytes of /dev/zero");
    }
    Ok(())
}

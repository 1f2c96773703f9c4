//! Runs whose disk fails, at every call that a run makes of it; checkpoints that say what no run wrote.

use super::{Checkpoint, Checkpoints, OnError};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::file::write::faulty::{Faulty, NEVER};
use crate::nn::{Dense, Dropout, Loss, Model, Sequential};
use crate::optim::Adam;
use crate::state::State;
use crate::tensor::Tensor;
use crate::train::{Control, Event, Fit, History, Monitor};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

pub(super) struct Folder(pub PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gemmule-checkpoints-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// That it holds checkpoints and nothing half written.
    fn is_tidy(&self) -> bool {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.into_iter().all(|name| name.to_str().unwrap().ends_with(".gemmule") || name == ".lock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const EPOCHS: usize = 2;

fn data() -> Dataset {
    let x: Vec<f32> = (0..12).map(|i| ((i * 7) % 12) as f32 / 6.0 - 1.0).collect();
    let y = x.chunks(2).map(|row| u32::from(row[0] > row[1])).collect();
    Dataset::from_values(Tensor::from_vec(&[6, 2], x).unwrap()).unwrap().with_classes(y, 2).unwrap()
}

fn model() -> Model<f32> {
    let net = Sequential::new().with(Dropout::new(0.2)).with(Dense::new(2, 2));
    let mut model = net.build(1).unwrap();
    model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.1, ..Adam::default() }).unwrap();
    model
}

/// Three steps an epoch, a checkpoint after each, the best epoch besides.
pub(super) fn checkpoints(folder: &Folder, disk: Option<Faulty>) -> Checkpoints {
    let mut checkpoints = Checkpoints::new(&folder.0).every_steps(1).keep(2).best(Monitor::new("loss"));
    if let Some(disk) = disk {
        checkpoints.store = Box::new(disk);
    }
    checkpoints
}

/// Trains to the end, and says what was told about checkpoints that failed.
pub(super) fn run(checkpoints: &mut Checkpoints, last: Option<Checkpoint>) -> (Result<State>, Vec<String>) {
    let (data, mut model, mut failures) = (data(), model(), Vec::new());
    let mut watch = |event: &Event<'_>| {
        if let Event::CheckpointFailed(error) = event {
            failures.push(error.to_string());
        }
        Control::Continue
    };
    let options =
        Fit::new().epochs(EPOCHS).batch_size(2).callback(&mut watch).checkpoints(checkpoints).resume(last);
    let done = model.fit(&data, options).and_then(|_: History| model.state());
    (done, failures)
}

/// That the newest checkpoint is whole and leads to the end of the uninterrupted run, on a disk that works.
fn resumes(folder: &Folder, expected: &State, what: &str) {
    let mut working = checkpoints(folder, Some(Faulty::new(NEVER, ErrorKind::Other)));
    let last = working.latest().unwrap();
    assert!(last.as_ref().is_none_or(|last| last.skipped().is_empty()), "{what}");
    let (done, failures) = run(&mut working, last);
    assert_eq!(&done.unwrap(), expected, "{what}");
    assert!(failures.is_empty());
}

#[test]
fn every_call_of_a_run_fails_once() {
    let folder = Folder::new("calls");
    let disk = Faulty::new(NEVER, ErrorKind::Other);
    let mut working = checkpoints(&folder, Some(disk.clone()));
    let expected = run(&mut working, None).0.unwrap();
    let all = disk.calls();
    // Three steps and the end of each epoch, and the first epoch at least was the best so far.
    let saves = all.iter().filter(|name| **name == "create").count();
    assert!((9..=10).contains(&saves), "{all:?}");
    let kinds = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::PermissionDenied,
        ErrorKind::Other,
    ];
    for turn in 0..2 {
        for fails_at in 1..=all.len() {
            let (call, kind) = (all[fails_at - 1], kinds[(fails_at + turn) % kinds.len()]);
            for on_error in [OnError::Continue, OnError::Stop] {
                let what = format!("{kind} at call {fails_at}, {call}, {on_error:?}");
                fs::remove_dir_all(&folder.0).unwrap();
                fs::create_dir(&folder.0).unwrap();
                let disk = Faulty::new(fails_at, kind);
                let mut failing = checkpoints(&folder, Some(disk.clone())).on_error(on_error);
                let (done, failures) = run(&mut failing, None);
                assert!(folder.is_tidy(), "{what}");
                let calls = disk.calls();
                // A file whose sync failed is given up, not synced again.
                if let "write" | "sync" | "len" | "rename" = call {
                    assert_eq!(calls.get(fails_at), Some(&"remove"), "{what}");
                }
                match on_error {
                    OnError::Continue => {
                        assert_eq!(done.unwrap(), expected, "{what}");
                        assert_eq!(failures.len(), 1, "{what}");
                        assert!(failures[0].starts_with(folder.0.to_str().unwrap()), "{what}: {failures:?}");
                    }
                    OnError::Stop => match done.unwrap_err() {
                        Error::Io { path, source } => {
                            assert!(path.starts_with(&folder.0) && source.kind() == kind, "{what}");
                            assert!(failures.is_empty());
                        }
                        other => panic!("{what}: {other}"),
                    },
                }
                resumes(&folder, &expected, &what);
            }
        }
    }
}

#[test]
fn short_writes_signals_and_lies() {
    let folder = Folder::new("short");
    let expected = run(&mut checkpoints(&folder, None), None).0.unwrap();
    // One byte at a time, and interrupted once: after the folder's sync and the file's creation.
    let mut disk = Faulty::new(3, ErrorKind::Interrupted);
    disk.short = true;
    fs::remove_dir_all(&folder.0).unwrap();
    let (done, failures) = run(&mut checkpoints(&folder, Some(disk)), None);
    assert_eq!((done.unwrap(), failures.len()), (expected.clone(), 0));
    resumes(&folder, &expected, "short");
    // What never arrives is no checkpoint.
    let mut disk = Faulty::new(NEVER, ErrorKind::Other);
    disk.lies = true;
    fs::remove_dir_all(&folder.0).unwrap();
    let mut lying = checkpoints(&folder, Some(disk)).on_error(OnError::Continue);
    let (done, failures) = run(&mut lying, None);
    assert_eq!(done.unwrap(), expected);
    assert_eq!(failures.len(), EPOCHS * 4);
    assert!(folder.is_tidy() && lying.latest().unwrap().is_none() && lying.read_best().unwrap().is_none());
}

/// The entries of new folders are put on the disk, too.
#[test]
fn new_folders_are_synced() {
    let folder = Folder::new("new");
    let disk = Faulty::new(NEVER, ErrorKind::Other);
    let mut deep = Checkpoints::new(folder.0.join("a/b"));
    deep.store = Box::new(disk.clone());
    deep.begin(None).unwrap();
    assert_eq!(disk.calls(), ["sync_directory"; 2]);
    deep.begin(None).unwrap();
    assert_eq!(disk.calls().len(), 2);
    deep = Checkpoints::new(folder.0.join("c"));
    deep.store = Box::new(Faulty::new(1, ErrorKind::Other));
    let error = run(&mut deep, None).0.unwrap_err().to_string();
    assert!(error.starts_with(folder.0.to_str().unwrap()), "{error}");
}

/// Only what the run itself may have left is removed.
#[test]
fn what_a_crash_left_is_removed() {
    let folder = Folder::new("left");
    let [ours, best, others] =
        [".checkpoint-000000000001.gemmule.1-0.tmp", ".best.gemmule.1-1.tmp", ".final.gemmule.1-2.tmp"]
            .map(|name| folder.0.join(name));
    for path in [&ours, &best, &others] {
        fs::write(path, b"half").unwrap();
    }
    run(&mut checkpoints(&folder, None), None).0.unwrap();
    assert!(!ours.exists() && !best.exists() && others.exists());
}

/// A second run in the same folder is refused while the first one runs; its checkpoints are not mixed with those of another.
#[test]
fn one_run_at_a_time() {
    let (folder, other) = (Folder::new("one"), Folder::new("other"));
    let lock = checkpoints(&folder, None).begin(None).unwrap();
    let error = run(&mut checkpoints(&folder, None), None).0.unwrap_err().to_string();
    assert!(error.ends_with(".lock: another run writes checkpoints to this folder"), "{error}");
    drop(lock);
    run(&mut checkpoints(&folder, None), None).0.unwrap();
    run(&mut checkpoints(&other, None), None).0.unwrap();
    // From one folder into the other.
    let last = checkpoints(&folder, None).latest().unwrap();
    let error = run(&mut checkpoints(&other, None), last).0.unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
}

/// A figure that could not be kept is not the best so far.
#[test]
fn the_best_that_failed_is_tried_again() {
    let folder = Folder::new("best");
    fs::create_dir(folder.0.join("best.gemmule")).unwrap();
    let mut blocked = checkpoints(&folder, None).on_error(OnError::Continue);
    let (done, failures) = run(&mut blocked, None);
    done.unwrap();
    assert!(!failures.is_empty() && failures.iter().all(|text| text.contains("best.gemmule: not a regular")));
    let last = blocked.latest().unwrap().expect("those of the steps were written");
    assert_eq!(last.state().integer("model/steps").unwrap(), 6);
    assert!(last.state().number("best").unwrap().is_nan() && blocked.best_value.is_nan());
}

/// Every entry of a checkpoint is missing, of another kind, or out of all bounds: an error or a run, never a panic.
#[test]
fn every_entry_may_lie() {
    let folder = Folder::new("entries");
    let mut working = checkpoints(&folder, None);
    let mut model = model();
    let fit = |checkpoints| Fit::new().epochs(EPOCHS).batch_size(2).checkpoints(checkpoints);
    let mut stop = |event: &Event<'_>| match event {
        Event::StepEnd { epoch: 2, .. } => Control::Stop,
        _ => Control::Continue,
    };
    model.fit(&data(), fit(&mut working).callback(&mut stop)).unwrap();
    let good = working.latest().unwrap().unwrap();
    let before = self::model().state().unwrap();
    let mut refused = 0;
    for name in good.state.names() {
        let mut others: Vec<State> = Vec::new();
        let mut with = |change: &dyn Fn(&mut State)| {
            let mut state = good.state.clone();
            change(&mut state);
            others.push(state);
        };
        with(&|state| state.remove(name));
        for value in [0, 1, 2, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            with(&|state| state.set_integer(name, value));
        }
        for value in [0.0, -1.0, 1e300, f64::INFINITY, f64::NAN] {
            with(&|state| state.set_number(name, value));
        }
        with(&|state| state.set_text(name, ""));
        for values in [vec![], vec![0], vec![u64::MAX; 2], vec![1; 1000]] {
            with(&|state| state.set_integers(name, values.clone()));
        }
        for values in [&[][..], &[1.0], &[f32::NAN; 2], &[1e30; 4], &[0.0; 1000]] {
            with(&|state| state.set_values(name, values));
        }
        with(&|state| state.set_values(name, &[1.0_f64; 4]));
        for state in others {
            let checkpoint = Checkpoint { path: good.path.clone(), state, skipped: Vec::new() };
            let mut model = self::model();
            let mut counter = |_: &Event<'_>| Control::Continue;
            let options = Fit::new().epochs(EPOCHS).batch_size(2).callback(&mut counter).resume(checkpoint);
            let error = match model.fit(&data(), options) {
                Ok(_) => continue,
                Err(error) => error,
            };
            refused += 1;
            // Numbers that train away are found in training; everything else before.
            if !matches!(error, Error::NonFinite { .. } | Error::Poisoned { .. }) {
                assert_eq!(model.state().unwrap(), before, "{name}: {error}");
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

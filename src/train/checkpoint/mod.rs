//! Checkpoints: a run written down now and then, so that it can go on where it was interrupted, to the bit.
//!
//! ```text
//! Checkpoints   when to write, how many to keep, what to do if that fails
//! Checkpoint    one that was read
//! snapshot      a run to a `State`, and back
//! file          a `State` in a file with a checksum, written whole or not at all
//! ```

mod file;
mod snapshot;

pub(super) use snapshot::{Fingerprint, snapshot};

use super::history::EpochLog;
use super::monitor::Monitor;
use crate::error::{Error, Result};
use crate::file::write::{Disk, System, is_temporary};
use crate::state::State;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a checkpoint's file is called: this, the number of steps, this.
const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".gemmule";

/// The file of the best epoch.
const BEST: &str = "best.gemmule";

/// Locked while a run writes to the folder.
const LOCK: &str = ".lock";

/// How often the folder is listed if files vanish meanwhile: a run beside this one may remove old ones.
const LISTINGS: usize = 100;

/// Where checkpoints go. Tests put one in its place that fails.
trait Store: fmt::Debug + Send + Sync {
    fn write(&mut self, path: &Path, state: &State) -> Result<()>;
    fn remove(&mut self, path: &Path) -> Result<()>;
    fn sync_directory(&mut self, path: &Path) -> Result<()>;
}

impl<D: Disk + fmt::Debug + Send + Sync> Store for D {
    fn write(&mut self, path: &Path, state: &State) -> Result<()> {
        file::write(self, path, state)
    }

    /// It is no error if there is none.
    fn remove(&mut self, path: &Path) -> Result<()> {
        match Disk::remove(self, path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Io { path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    fn sync_directory(&mut self, path: &Path) -> Result<()> {
        Disk::sync_directory(self, path).map_err(|source| Error::Io { path: path.to_owned(), source })
    }
}

/// What happens if a checkpoint cannot be written. The checkpoints before it are as they were in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The run ends with the error.
    #[default]
    Stop,
    /// The run goes on; callbacks are told [`Event::CheckpointFailed`](super::Event::CheckpointFailed). The next one is
    /// written when it is due. A folder that cannot be used when the run begins is an error nevertheless.
    Continue,
}

/// When to write checkpoints, where, and how many to keep.
///
/// By default one after each epoch and when a callback stops the run, and the last three are kept. Each is a file of its own, written
/// aside, synced and renamed: whatever happens, the last one that is there is whole. [`latest`](Self::latest) refuses
/// damaged ones and falls back to the one before. A save takes one copy of what it writes: parameters and the optimiser's state.
///
/// One run writes to a folder at a time: another one is refused with an error as long as it does (where the file system has
/// locks; a run that is killed holds none). Anyone may read meanwhile. A run that does not go on from a checkpoint of the folder
/// is refused if there are any, so that those of two runs are never mixed.
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Adam;
/// use gemmule::train::{Checkpoints, Fit};
/// use gemmule::{Result, Tensor};
///
/// let x = Tensor::from_slice(&[4, 1], &[0.0_f32, 1.0, 2.0, 3.0])?;
/// let line = Dataset::from_values(x.clone())?.with_values(x)?;
/// let build = || {
///     let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f32>(0)?;
///     model.compile(Loss::MeanSquaredError, Adam::default())?;
///     Result::Ok(model)
/// };
/// # let dir = std::env::temp_dir().join(format!("gemmule-doc-checkpoints-{}", std::process::id()));
///
/// let mut checkpoints = Checkpoints::new(&dir).every_steps(2).keep(5);
/// build()?.fit(&line, Fit::new().epochs(3).batch_size(1).checkpoints(&mut checkpoints))?;
///
/// // Another process: goes on for three more epochs. `None` if there is no checkpoint yet.
/// let mut checkpoints = Checkpoints::new(&dir).every_steps(2).keep(5);
/// let last = checkpoints.latest()?;
/// let mut model = build()?;
/// model.fit(&line, Fit::new().epochs(6).batch_size(1).checkpoints(&mut checkpoints).resume(last))?;
/// assert_eq!(model.steps(), 24);
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    steps: Option<u64>,
    interval: Option<Duration>,
    epochs: Option<usize>,
    keep: usize,
    best: Option<Monitor>,
    on_error: OnError,
    /// When the last one was written, or the run began.
    last: Instant,
    /// The figure of the epoch in the best one's file.
    best_value: f64,
    store: Box<dyn Store>,
}

/// What has just ended.
#[derive(Clone, Copy)]
pub(super) enum Moment<'a> {
    Step {
        total: u64,
    },
    /// All of it, with the figures of the epoch.
    Epoch {
        total: u64,
        log: &'a EpochLog,
    },
}

impl Moment<'_> {
    fn total(self) -> u64 {
        match self {
            Self::Step { total } | Self::Epoch { total, .. } => total,
        }
    }
}

impl Checkpoints {
    /// Checkpoints in the folder `dir`, which is made if need be, after each epoch.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            steps: None,
            interval: None,
            epochs: Some(1),
            keep: 3,
            best: None,
            on_error: OnError::default(),
            last: Instant::now(),
            best_value: f64::NAN,
            store: Box::new(System),
        }
    }

    /// One after every `steps` steps of the run, too. 0 for none.
    #[must_use]
    pub fn every_steps(self, steps: u64) -> Self {
        Self { steps: Some(steps).filter(|&steps| steps > 0), ..self }
    }

    /// One after the step that ends `interval` after the last one, too.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        Self { interval: Some(interval), ..self }
    }

    /// One after every `epochs` epochs; 0 for none. 1 by default.
    #[must_use]
    pub fn every_epochs(self, epochs: usize) -> Self {
        Self { epochs: Some(epochs).filter(|&epochs| epochs > 0), ..self }
    }

    /// Keeps the last `count`, at least 1. With 1 there is none to fall back to if the disk damages it.
    #[must_use]
    pub fn keep(self, count: usize) -> Self {
        Self { keep: count.max(1), ..self }
    }

    /// Writes `best.gemmule` besides, after each epoch whose figure is better than all before.
    #[must_use]
    pub fn best(self, monitor: Monitor) -> Self {
        Self { best: Some(monitor), ..self }
    }

    /// What happens if one cannot be written.
    #[must_use]
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error, ..self }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The checkpoints there are, whole or damaged, the oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<PathBuf>> {
        let mut found = self.numbered()?;
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// The newest checkpoint that is whole; `None` if there is none at all. What was skipped is said by
    /// [`Checkpoint::skipped`].
    ///
    /// # Errors
    /// The error of the newest one if there are some and none can be read.
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        let mut skipped = Vec::new();
        for _ in 0..LISTINGS {
            skipped.clear();
            let mut vanished = false;
            for path in self.list()?.into_iter().rev() {
                match Checkpoint::read(&path) {
                    Ok(checkpoint) => return Ok(Some(Checkpoint { skipped, ..checkpoint })),
                    Err(error) => {
                        vanished |= is_missing(&error);
                        skipped.push(error);
                    }
                }
            }
            if !vanished {
                break;
            }
        }
        if skipped.is_empty() { Ok(None) } else { Err(skipped.swap_remove(0)) }
    }

    /// The checkpoint of the best epoch, if there is one.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read_best(&self) -> Result<Option<Checkpoint>> {
        match Checkpoint::read(self.dir.join(BEST)) {
            Err(error) if is_missing(&error) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Makes the folder ready for a run that was resumed from a file or begins anew. Returns what keeps others from it.
    pub(super) fn begin(&mut self, resumed: Option<&Path>) -> Result<Option<File>> {
        let failed = |source| Error::Io { path: self.dir.clone(), source };
        let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let new = self.dir.ancestors().take_while(is_new).count();
        fs::create_dir_all(&self.dir).map_err(failed)?;
        // A folder that is new is an entry of the one above.
        for folder in self.dir.ancestors().skip(1).take(new) {
            self.store.sync_directory(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
        }
        let lock = self.lock()?;
        if !resumed.is_some_and(|path| self.holds(path)) && !self.numbered()?.is_empty() {
            return Err(Error::State {
                operation: "fit",
                what: "the folder for checkpoints holds those of another run: resume from its latest, or choose another folder",
            });
        }
        // What a crash left.
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default();
            let is_ours =
                [PREFIX, BEST].iter().any(|ours| name.to_string_lossy().starts_with(&format!(".{ours}")));
            if is_ours && is_temporary(name) {
                self.store.remove(&path)?;
            }
        }
        self.last = Instant::now();
        Ok(lock)
    }

    /// `None` where the file system has no locks.
    fn lock(&self) -> Result<Option<File>> {
        let path = self.dir.join(LOCK);
        let failed = |source| Error::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                let what = "another run writes checkpoints to this folder";
                Err(failed(io::Error::new(io::ErrorKind::WouldBlock, what)))
            }
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Whether a file lies in the folder.
    fn holds(&self, path: &Path) -> bool {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        matches!((folder.canonicalize(), self.dir.canonicalize()), (Ok(a), Ok(b)) if a == b)
    }

    /// Whether one is to be written now; `last` if the run ends here.
    pub(super) fn is_due(&self, moment: Moment<'_>, last: bool) -> bool {
        last || match moment {
            Moment::Step { total } => {
                self.steps.is_some_and(|steps| total.is_multiple_of(steps))
                    || self.interval.is_some_and(|interval| self.last.elapsed() >= interval)
            }
            Moment::Epoch { log, .. } => {
                self.epochs.is_some_and(|epochs| log.epoch.is_multiple_of(epochs))
                    || self.improvement(moment).is_some()
            }
        }
    }

    /// The figure, if what has ended is an epoch that is better than all before.
    fn improvement(&self, moment: Moment<'_>) -> Option<f64> {
        let Moment::Epoch { log, .. } = moment else { return None };
        let monitor = self.best.as_ref()?;
        monitor.value(log).filter(|&value| monitor.is_better(value, self.best_value))
    }

    /// Writes one, and removes those that are not to be kept. Returns its path.
    pub(super) fn save(&mut self, moment: Moment<'_>, mut state: State) -> Result<PathBuf> {
        // Due again after the interval even if this one fails.
        self.last = Instant::now();
        // Before the other, which says that it is there: after a crash in between the epoch comes again.
        let mut failed = None;
        if let Some(value) = self.improvement(moment) {
            state.set_number("best", value);
            match self.store.write(&self.dir.join(BEST), &state) {
                Ok(()) => self.best_value = value,
                Err(error) => failed = Some(error),
            }
        }
        state.set_number("best", self.best_value);
        let path = self.dir.join(format!("{PREFIX}{:012}{SUFFIX}", moment.total()));
        self.store.write(&path, &state)?;
        let mut old = self.numbered()?;
        // Those of later steps are of a run that this one repeats.
        old.retain(|&(steps, _)| steps <= moment.total());
        old.sort();
        let surplus = old.len().saturating_sub(self.keep);
        for (_, path) in old.into_iter().take(surplus) {
            self.store.remove(&path)?;
        }
        failed.map_or(Ok(path), Err)
    }

    /// Takes over what a checkpoint kept of these.
    pub(super) fn load(&mut self, state: &State) -> Result<()> {
        self.best_value = state.number("best")?;
        Ok(())
    }

    /// Whether the run goes on after an error.
    pub(super) fn goes_on(&self) -> bool {
        self.on_error == OnError::Continue
    }

    /// The files of checkpoints with their numbers of steps, in no order; none if there is no folder.
    fn numbered(&self) -> Result<Vec<(u64, PathBuf)>> {
        let failed = |source| Error::Io { path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(steps) = number.and_then(|number| number.parse().ok()).filter(|_| path.is_file()) {
                found.push((steps, path));
            }
        }
        Ok(found)
    }
}

/// Whether it is that there is no such file.
fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// A checkpoint that was read: give it to [`Fit::resume`](super::Fit::resume), or take the model alone.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    state: State,
    skipped: Vec<Error>,
}

impl Checkpoint {
    /// Reads one file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Format`] if it is not a checkpoint, of another version, cut off or damaged.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        Ok(Self { state: file::read(&path)?, path, skipped: Vec::new() })
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why newer ones were not taken, the newest first.
    pub fn skipped(&self) -> &[Error] {
        &self.skipped
    }

    /// The model's part, for [`Model::restore`](crate::nn::Model::restore).
    #[must_use]
    pub fn model(&self) -> State {
        self.state.part("model")
    }

    /// All that is in it.
    pub fn state(&self) -> &State {
        &self.state
    }
}

#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;

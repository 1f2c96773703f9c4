//! The next batch, gathered while the present one trains.
//!
//! ```text
//!   caller, and the team                              the thread
//!     ask_ahead(batch 2) --> asked -----------------> taken: gathers it, some rows at a time, into memory of its own
//!     gather(rows of 1)  <-- ready
//!     ask_ahead(batch 3) --> asked; 1 is forgotten
//!     gather(rows of 2)  <-- ready; waits if it is under way; asked, but not begun: gathers directly
//!     gather(others)     --> gathers directly
//! ```
//!
//! The lock is held to look a batch up, never while rows are gathered or copied.

use crate::context::{Context, Parallelism};
use crate::engine::{BatchSource, TargetKind};
use crate::environment;
use crate::error::{Error, Result};
use crate::kernel::Element;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Rows that the thread gathers before it looks whether they are still wanted.
const ROWS: usize = 8;

/// How long a caller waits for the thread's next rows before it gathers its own. Only a source whose own work waits for the
/// caller's thread ever takes so long for nothing, such as one that runs in the pool whose threads all wait here.
const PATIENCE: Duration = Duration::from_secs(1);

/// A source that gathers the batches it was asked for ahead, in the background, on one thread of its own.
///
/// [`fit`](crate::nn::Model::fit) asks for the next batch before each step; so a slow source, such as one that reads or decodes files
/// or an [`Augment`](super::Augment), works while the model trains. Rows come from the batch that was gathered if there is one with
/// them, else directly from the source: the same bits in any case, in the order in which batches are asked for.
///
/// The thread is this source's own and is there in every build: wrapping is what asks for it. A model of
/// [`Parallelism::Serial`], and a build without the feature `rayon`, train on the caller's thread while it gathers. It computes serially
/// and never touches rayon; where threads cannot be had, everything is gathered directly. A source that is as fast as a copy, such
/// as a [`Dataset`](super::Dataset) in memory, gains nothing.
///
/// A panic of the source on the thread is raised again in the first call that asks for one of the batch's rows. Dropping it ends the
/// thread, after the few rows that it is at.
///
/// ```
/// use gemmule::data::{Augment, Dataset, ImageShape, Prefetch};
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::train::Fit;
///
/// let pixels = (0..40 * 64).map(|i| (i * 37 % 251) as u8).collect();
/// let train = Dataset::from_bytes(&[40, 8, 8], pixels)?.with_classes((0..40).map(|i| i % 4).collect(), 4)?;
/// // What is owned crosses threads: a clone of a Dataset shares its samples.
/// let augmented = Augment::new(train.clone(), 42).images(ImageShape::chw(1, 8, 8))?.rotation(10.0)?;
/// let ahead = Prefetch::new(augmented);
///
/// let mut model = Sequential::new().with(Dense::new(64, 4)).build::<f32>(0)?;
/// model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.1, ..Sgd::default() })?;
/// model.fit(&ahead, Fit::new().epochs(2).validation(&train))?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub struct Prefetch<T: Element, S> {
    shared: Arc<Shared<T, S>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<T, S> {
    source: S,
    queue: Mutex<Queue<T>>,
    /// A batch was asked for, or it is over.
    asked: Condvar,
    /// A batch is there, or will not come.
    gathered: Condvar,
}

/// Of a batch; the thread has the rows while it gathers them.
type Memory<T> = (Arc<Asked>, Option<Arc<Rows<T>>>);

struct Queue<T> {
    /// Batches that were asked for, the oldest first.
    slots: VecDeque<Slot<T>>,
    /// How many there may be: those ahead, and the one in use.
    most: usize,
    /// Of batches: each has a number of its own.
    next: u64,
    /// Counts what the thread has done.
    progress: u64,
    is_over: bool,
    /// Memory to use again, once nobody reads it any more.
    spare: Vec<Memory<T>>,
}

struct Slot<T> {
    number: u64,
    asked: Arc<Asked>,
    /// The thread has them while it gathers. Before, memory to use.
    rows: Option<Arc<Rows<T>>>,
    state: State,
}

enum State {
    Asked(Context),
    UnderWay,
    Ready,
    Panicked(Box<dyn Any + Send>),
}

/// The samples of a batch.
#[derive(Default)]
struct Asked {
    indices: Vec<usize>,
    /// Samples and their rows, by sample.
    places: Vec<(usize, usize)>,
}

/// What was gathered for them.
#[derive(Default)]
struct Rows<T> {
    features: Vec<T>,
    classes: Vec<u32>,
    values: Vec<T>,
}

impl Asked {
    fn fill(&mut self, indices: &[usize]) {
        self.indices.clear();
        self.indices.extend_from_slice(indices);
        self.places.clear();
        self.places.extend(indices.iter().enumerate().map(|(row, &sample)| (sample, row)));
        self.places.sort_unstable();
    }

    /// The first row of a sample.
    fn row(&self, sample: usize) -> Option<usize> {
        let at = self.places.partition_point(|&(other, _)| other < sample);
        self.places.get(at).filter(|&&(other, _)| other == sample).map(|&(_, row)| row)
    }

    fn has(&self, indices: &[usize]) -> bool {
        indices.iter().all(|&sample| self.row(sample).is_some())
    }

    /// Copies the rows of `indices` from those of the batch. False if the lengths do not fit.
    fn copy<X: Copy>(&self, rows: &[X], indices: &[usize], out: &mut [X]) -> bool {
        let width = rows.len() / self.indices.len().max(1);
        if width * self.indices.len() != rows.len() || width * indices.len() != out.len() || width == 0 {
            return false;
        }
        for (&sample, out) in indices.iter().zip(out.chunks_exact_mut(width)) {
            let Some(row) = self.row(sample) else { return false };
            out.copy_from_slice(&rows[row * width..(row + 1) * width]);
        }
        true
    }
}

impl<T> Queue<T> {
    /// Takes a slot out, and keeps its memory.
    fn forget(&mut self, index: usize) -> Option<State> {
        let slot = self.slots.remove(index)?;
        if self.spare.len() < self.most {
            self.spare.push((slot.asked, slot.rows));
        }
        Some(slot.state)
    }

    /// The next one to gather: its number, what was asked for, and memory.
    fn take(&mut self) -> Option<(u64, Context, Memory<T>)> {
        self.slots.iter_mut().find_map(|slot| {
            let State::Asked(context) = slot.state else { return None };
            slot.state = State::UnderWay;
            Some((slot.number, context, (Arc::clone(&slot.asked), slot.rows.take())))
        })
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.slots.iter().position(|slot| slot.number == number)
    }
}

impl<T: Element, S: BatchSource<T>> Shared<T, S> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing of ours panics while it holds the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn work(&self) {
        let mut queue = self.queue();
        while !queue.is_over {
            let Some((number, context, (asked, rows))) = queue.take() else {
                queue = self.asked.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            // A reader of what was there before may still hold it.
            let mut rows = rows.filter(|rows| Arc::strong_count(rows) == 1).unwrap_or_default();
            let gather = || self.gather(number, context, &asked, Arc::get_mut(&mut rows));
            let done = catch_unwind(AssertUnwindSafe(gather));
            queue = self.queue();
            queue.progress += 1;
            if let Some(index) = queue.find(number) {
                let slot = &mut queue.slots[index];
                slot.rows = Some(rows);
                match done {
                    Ok(true) => slot.state = State::Ready,
                    Ok(false) => drop(queue.forget(index)),
                    Err(panic) => slot.state = State::Panicked(panic),
                }
            }
            self.gathered.notify_all();
        }
    }

    /// Gathers a batch. False if nobody wants it any more, or it cannot be done here.
    fn gather(&self, number: u64, context: Context, asked: &Asked, rows: Option<&mut Rows<T>>) -> bool {
        let (source, indices) = (&self.source, asked.indices.as_slice());
        let context = context.with_parallelism(Parallelism::Serial);
        let (Some(rows), features) = (rows, source.features()) else { return false };
        if !resize(&mut rows.features, indices.len(), features) {
            return false;
        }
        source.ask_ahead(&context, indices);
        let out = rows.features.chunks_mut(features.saturating_mul(ROWS).max(1));
        for (indices, out) in indices.chunks(ROWS).zip(out) {
            if !self.goes_on(number) {
                return false;
            }
            source.gather_features(&context, indices, out);
        }
        rows.classes.clear();
        rows.values.clear();
        match source.target_kind() {
            Some(TargetKind::Classes(_)) => {
                if !resize(&mut rows.classes, indices.len(), 1) {
                    return false;
                }
                source.gather_classes(indices, &mut rows.classes);
            }
            Some(TargetKind::Values(width)) => {
                if !resize(&mut rows.values, indices.len(), width) {
                    return false;
                }
                source.gather_values(&context, indices, &mut rows.values);
            }
            None => {}
        }
        self.goes_on(number)
    }

    /// True if the batch is still wanted, and what is computed here has the bits that it has there.
    fn goes_on(&self, number: u64) -> bool {
        let mut queue = self.queue();
        queue.progress += 1;
        !queue.is_over && queue.find(number).is_some() && environment::is_default()
    }

    /// A batch with all these samples, once it is gathered.
    fn ready(&self, indices: &[usize]) -> Option<(Arc<Asked>, Arc<Rows<T>>)> {
        if indices.is_empty() {
            return None;
        }
        let mut queue = self.queue();
        loop {
            let has = |slot: &&Slot<T>| slot.asked.has(indices);
            let is_ready = |slot: &&Slot<T>| matches!(slot.state, State::Ready);
            if let Some(slot) = queue.slots.iter().filter(is_ready).find(has) {
                return Some((Arc::clone(&slot.asked), slot.rows.clone()?));
            }
            let index = queue.slots.iter().position(|slot| has(&slot))?;
            match queue.slots[index].state {
                State::UnderWay => {}
                State::Ready => return None,
                State::Asked(_) => {
                    // The caller is faster; if this is a part of that batch, its other parts will be too.
                    if queue.slots[index].asked.indices.windows(indices.len()).any(|part| part == indices) {
                        queue.forget(index);
                    }
                    return None;
                }
                State::Panicked(_) => {
                    let state = queue.forget(index);
                    drop(queue);
                    if let Some(State::Panicked(panic)) = state {
                        resume_unwind(panic);
                    }
                    return None;
                }
            }
            let before = queue.progress;
            let waited = self.gathered.wait_timeout(queue, PATIENCE);
            let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && after.progress == before {
                return None;
            }
            queue = after;
        }
    }
}

/// False if there is no memory for it.
fn resize<X: Copy + Default>(buffer: &mut Vec<X>, rows: usize, width: usize) -> bool {
    let Some(len) = rows.checked_mul(width) else { return false };
    if buffer.try_reserve_exact(len.saturating_sub(buffer.len())).is_err() {
        return false;
    }
    buffer.resize(len, X::default());
    true
}

impl<T: Element, S: BatchSource<T> + Send + Sync + 'static> Prefetch<T, S> {
    /// One batch ahead, as [`fit`](crate::nn::Model::fit) asks for them. Starts the thread.
    pub fn new(source: S) -> Self {
        Self::start(source, 1)
    }

    /// `depth` batches ahead, for loops that ask for more than the next one: the memory of `depth + 1` batches. What is asked for
    /// beyond forgets the oldest.
    ///
    /// # Errors
    /// [`Error::Argument`] if `depth` is 0 or above 1024.
    ///
    /// ```
    /// use gemmule::data::{Dataset, Prefetch};
    /// use gemmule::{BatchSource, Context};
    /// let data = Prefetch::with_depth(Dataset::from_bytes(&[4, 1], vec![0, 51, 102, 255])?, 2)?;
    /// let context = Context::detect()?;
    /// data.ask_ahead(&context, &[3, 0]);
    /// data.ask_ahead(&context, &[2, 1]);
    /// let mut rows = [0.0_f64; 2];
    /// data.gather_features(&context, &[3, 0], &mut rows);
    /// assert_eq!(rows, [1.0, 0.0]);
    /// data.gather_features(&context, &[2, 1], &mut rows);
    /// assert_eq!(rows, [0.4, 0.2]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn with_depth(source: S, depth: usize) -> Result<Self> {
        if (1..=1024).contains(&depth) {
            return Ok(Self::start(source, depth));
        }
        Err(Error::argument("Prefetch::with_depth", "depth", "1 to 1024 batches", depth))
    }

    fn start(source: S, depth: usize) -> Self {
        let queue = Queue {
            slots: VecDeque::with_capacity(depth + 1),
            most: depth + 1,
            next: 0,
            progress: 0,
            is_over: false,
            spare: Vec::with_capacity(depth + 1),
        };
        let (asked, gathered) = (Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { source, queue: Mutex::new(queue), asked, gathered });
        let thread = Builder::new().name("gemmule-prefetch".to_owned());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        });
        Self { shared, thread: thread.ok() }
    }

    /// What is wrapped.
    pub fn source(&self) -> &S {
        &self.shared.source
    }
}

impl<T: Element, S> Drop for Prefetch<T, S> {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.shared.asked.notify_all();
        if let Some(thread) = self.thread.take() {
            // The source's panics were caught.
            let _ = thread.join();
        }
    }
}

impl<T: Element, S: BatchSource<T> + Send + Sync + 'static> BatchSource<T> for Prefetch<T, S> {
    fn len(&self) -> usize {
        self.shared.source.len()
    }

    fn is_empty(&self) -> bool {
        self.shared.source.is_empty()
    }

    fn features(&self) -> usize {
        self.shared.source.features()
    }

    fn target_kind(&self) -> Option<TargetKind> {
        self.shared.source.target_kind()
    }

    /// Forgets what was gathered for another epoch.
    fn begin_epoch(&self, epoch: u64) {
        let mut queue = self.shared.queue();
        while queue.forget(0).is_some() {}
        drop(queue);
        self.shared.gathered.notify_all();
        self.shared.source.begin_epoch(epoch);
    }

    fn ask_ahead(&self, context: &Context, indices: &[usize]) {
        if self.thread.is_none() {
            return self.shared.source.ask_ahead(context, indices);
        }
        let mut queue = self.shared.queue();
        if indices.is_empty() || queue.slots.iter().any(|slot| slot.asked.indices == indices) {
            return;
        }
        while queue.slots.len() >= queue.most {
            queue.forget(0);
        }
        let (mut asked, rows) = queue.spare.pop().unwrap_or_default();
        match Arc::get_mut(&mut asked) {
            Some(asked) => asked.fill(indices),
            // A reader of it is still there.
            None => {
                let mut fresh = Asked::default();
                fresh.fill(indices);
                asked = Arc::new(fresh);
            }
        }
        let number = queue.next;
        queue.next += 1;
        queue.slots.push_back(Slot { number, asked, rows, state: State::Asked(*context) });
        drop(queue);
        // Those who wait for a batch that was forgotten.
        self.shared.gathered.notify_all();
        self.shared.asked.notify_all();
    }

    fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        if let Some((asked, rows)) = self.shared.ready(indices)
            && asked.copy(&rows.features, indices, out)
        {
            return;
        }
        self.shared.source.gather_features(context, indices, out);
    }

    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        if let Some((asked, rows)) = self.shared.ready(indices)
            && asked.copy(&rows.classes, indices, out)
        {
            return;
        }
        self.shared.source.gather_classes(indices, out);
    }

    fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        if let Some((asked, rows)) = self.shared.ready(indices)
            && asked.copy(&rows.values, indices, out)
        {
            return;
        }
        self.shared.source.gather_values(context, indices, out);
    }
}

/// The source, not the batches.
impl<T: Element, S: fmt::Debug> fmt::Debug for Prefetch<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch").field("source", &self.shared.source).finish_non_exhaustive()
    }
}

//! The background prefetch: always right, in order, never stuck. Nothing here measures time.

mod common;

use common::{all_bits, contexts};
use gemmule::data::{Augment, Dataset, ImageShape, Prefetch};
use gemmule::nn::{Activation, Dense, Loss, Sequential};
use gemmule::optim::Adam;
use gemmule::rng::Rng;
use gemmule::train::{Control, Event, Fit};
use gemmule::{BatchSource, Context, Parallelism, TargetKind, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const THREAD: &str = "gemmule-prefetch";

fn in_background() -> bool {
    std::thread::current().name() == Some(THREAD)
}

/// Sample i is `100 epoch + i` twice, of class `i % 3`; what happens to it is written down, and can be held up.
#[derive(Default)]
struct Watched {
    epoch: AtomicU64,
    seen: Mutex<Seen>,
    changed: Condvar,
    /// The sample that panics.
    panics: Option<usize>,
    values: bool,
}

#[derive(Default)]
struct Seen {
    /// Rows gathered in the background and by callers, in order.
    behind: Vec<usize>,
    direct: Vec<usize>,
    /// The background stops before its next rows.
    is_held: bool,
    waiting: bool,
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn hold(&self, is_held: bool) {
        self.seen().is_held = is_held;
        self.changed.notify_all();
    }

    /// Until it is so.
    fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        let _seen = self.changed.wait_while(self.seen(), |seen| !is_so(seen)).unwrap();
    }
}

impl BatchSource<f32> for Watched {
    fn len(&self) -> usize {
        1000
    }

    fn features(&self) -> usize {
        2
    }

    fn target_kind(&self) -> Option<TargetKind> {
        Some(if self.values { TargetKind::Values(3) } else { TargetKind::Classes(3) })
    }

    fn begin_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    fn gather_features(&self, _: &Context, indices: &[usize], out: &mut [f32]) {
        let mut seen = self.seen();
        if in_background() {
            seen.waiting = true;
            self.changed.notify_all();
            seen = self.changed.wait_while(seen, |seen| seen.is_held).unwrap();
            seen.waiting = false;
            seen.behind.extend_from_slice(indices);
        } else {
            seen.direct.extend_from_slice(indices);
        }
        drop(seen);
        self.changed.notify_all();
        if let Some(sample) = self.panics.filter(|sample| indices.contains(sample)) {
            panic!("sample {sample} is broken");
        }
        let epoch = self.epoch.load(Ordering::Relaxed);
        for (&sample, out) in indices.iter().zip(out.chunks_mut(2)) {
            out.fill((100 * epoch as usize + sample) as f32);
        }
    }

    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        for (&sample, out) in indices.iter().zip(out) {
            *out = sample as u32 % 3;
        }
    }

    fn gather_values(&self, _: &Context, indices: &[usize], out: &mut [f32]) {
        for (&sample, out) in indices.iter().zip(out.chunks_mut(3)) {
            out.copy_from_slice(&[sample as f32, 1.0, -(sample as f32)]);
        }
    }
}

fn context() -> Context {
    contexts()[0]
}

fn rows(source: &dyn BatchSource<f32>, indices: &[usize]) -> Vec<f32> {
    let mut out = vec![f32::NAN; 2 * indices.len()];
    source.gather_features(&context(), indices, &mut out);
    out
}

/// The rows of a batch and all its parts are right.
fn check(source: &dyn BatchSource<f32>, epoch: usize, indices: &[usize]) {
    let expected: Vec<f32> = indices.iter().flat_map(|&sample| [(100 * epoch + sample) as f32; 2]).collect();
    assert_eq!(rows(source, indices), expected);
    for (part, expected) in indices.chunks(3).zip(expected.chunks(6)) {
        assert_eq!(rows(source, part), expected);
    }
    let mut classes = vec![9; indices.len()];
    source.gather_classes(indices, &mut classes);
    assert!(classes.iter().zip(indices).all(|(&class, sample)| class as usize == sample % 3));
}

#[test]
fn rows_come_from_the_background_in_the_order_they_were_asked_for() {
    let watched = Arc::new(Watched::default());
    let source = Prefetch::new(Arc::clone(&watched));
    let batches: Vec<Vec<usize>> = Rng::new(1).permutation(200).chunks(20).map(<[usize]>::to_vec).collect();
    source.ask_ahead(&context(), &batches[0]);
    for (i, batch) in batches.iter().enumerate() {
        watched.until(|seen| seen.behind.len() >= 20 * (i + 1));
        if let Some(next) = batches.get(i + 1) {
            source.ask_ahead(&context(), next);
        }
        check(&source, 0, batch);
    }
    let seen = watched.seen();
    assert_eq!(seen.behind, batches.concat());
    assert_eq!(seen.direct, []);
}

#[test]
fn a_batch_under_way_is_waited_for() {
    let watched = Arc::new(Watched::default());
    let source = Prefetch::new(Arc::clone(&watched));
    let batch: Vec<usize> = (0..50).rev().collect();
    for _ in 0..20 {
        watched.hold(true);
        source.ask_ahead(&context(), &batch);
        watched.until(|seen| seen.waiting);
        std::thread::scope(|scope| {
            // Several at once, as a team does; they begin before the first row is there, or after.
            for part in batch.chunks(17) {
                let source = &source;
                scope.spawn(move || check(source, 0, part));
            }
            watched.hold(false);
        });
        // Forgets it.
        source.begin_epoch(0);
    }
    assert_eq!(watched.seen().behind.len(), 20 * 50);
    assert_eq!(watched.seen().direct, []);
}

#[test]
fn what_was_not_asked_for_is_right_too() {
    let watched = Arc::new(Watched::default());
    let source = Prefetch::with_depth(Arc::clone(&watched), 2).unwrap();
    let mut rng = Rng::new(5);
    for round in 0..300 {
        let len = 1 + rng.below(40) as usize;
        // Samples of a few, so that they come again and again, also within a batch.
        let batch: Vec<usize> = (0..len).map(|_| rng.below(60) as usize).collect();
        match rng.below(4) {
            0 => source.begin_epoch(round as u64),
            1 => {}
            _ => source.ask_ahead(&context(), &batch),
        }
        let other: Vec<usize> = (0..len).map(|_| rng.below(60) as usize).collect();
        if rng.below(2) == 0 {
            source.ask_ahead(&context(), &other);
        }
        let epoch = watched.epoch.load(Ordering::Relaxed) as usize;
        check(&source, epoch, if rng.below(3) == 0 { &other } else { &batch });
    }
    // Nothing, the whole set, and more than there was time for.
    source.ask_ahead(&context(), &[]);
    assert_eq!(rows(&source, &[]), []);
    for start in 0..50 {
        source.ask_ahead(&context(), &(start..1000).collect::<Vec<_>>());
    }
    let epoch = watched.epoch.load(Ordering::Relaxed) as usize;
    check(&source, epoch, &(0..1000).collect::<Vec<_>>());
}

#[test]
fn target_values_come_along() {
    let watched = Arc::new(Watched { values: true, ..Watched::default() });
    let source = Prefetch::new(Arc::clone(&watched));
    assert_eq!(source.target_kind(), Some(TargetKind::Values(3)));
    for asked in [true, false] {
        if asked {
            source.ask_ahead(&context(), &[5, 7, 5]);
            watched.until(|seen| seen.behind.len() == 3);
        }
        let mut values = [0.0; 6];
        source.gather_values(&context(), &[7, 5], &mut values);
        assert_eq!(values, [7.0, 1.0, -7.0, 5.0, 1.0, -5.0]);
        source.begin_epoch(1);
    }
    assert_eq!((source.len(), source.features(), source.is_empty()), (1000, 2, false));
}

#[test]
fn a_new_epoch_forgets_what_was_gathered() {
    let watched = Arc::new(Watched::default());
    let source = Prefetch::new(Arc::clone(&watched));
    let batch: Vec<usize> = (0..30).collect();
    for epoch in 1..20 {
        source.ask_ahead(&context(), &batch);
        match epoch % 3 {
            0 => watched.until(|seen| seen.behind.len() >= 30),
            1 => watched.until(|seen| !seen.behind.is_empty()),
            _ => {}
        }
        source.begin_epoch(epoch as u64);
        check(&source, epoch, &batch);
        watched.seen().behind.clear();
    }
}

#[test]
fn more_batches_than_the_depth_forget_the_oldest() {
    let watched = Arc::new(Watched::default());
    let source = Prefetch::with_depth(Arc::clone(&watched), 3).unwrap();
    watched.hold(true);
    let batch = |i: usize| (10 * i..10 * i + 8).collect::<Vec<_>>();
    source.ask_ahead(&context(), &batch(0));
    watched.until(|seen| seen.waiting);
    // The first is under way; four are kept.
    for i in 1..6 {
        source.ask_ahead(&context(), &batch(i));
        // Asked for twice is asked for once.
        source.ask_ahead(&context(), &batch(i));
    }
    watched.hold(false);
    watched.until(|seen| seen.behind.len() >= 5 * 8);
    for i in 0..6 {
        check(&source, 0, &batch(i));
    }
    let seen = watched.seen();
    assert_eq!(seen.behind, [0, 2, 3, 4, 5].into_iter().flat_map(batch).collect::<Vec<_>>());
    assert!(seen.direct.iter().all(|&sample| sample < 20) && seen.direct.contains(&10));
    let refused = Prefetch::with_depth(Watched::default(), 0).map(drop).unwrap_err().to_string();
    assert_eq!(refused, "Prefetch::with_depth: depth: expected 1 to 1024 batches, got 0");
}

#[test]
fn a_panic_of_the_source_is_the_callers() {
    let watched = Arc::new(Watched { panics: Some(13), ..Watched::default() });
    let source = Prefetch::new(Arc::clone(&watched));
    let batch: Vec<usize> = (0..40).collect();
    source.ask_ahead(&context(), &batch);
    // Nobody asks for its rows: nothing happens.
    check(&source, 0, &[50, 51, 52]);
    watched.until(|seen| seen.behind.contains(&13));
    let caught = catch_unwind(AssertUnwindSafe(|| rows(&source, &batch))).unwrap_err();
    assert_eq!(caught.downcast_ref::<String>().unwrap(), "sample 13 is broken");
    assert!(!watched.seen().direct.contains(&13), "it was the panic of the background");
    // The thread lives on, and so does the source.
    source.ask_ahead(&context(), &[70, 71]);
    watched.until(|seen| seen.behind.contains(&71));
    check(&source, 0, &[70, 71]);
    check(&source, 0, &[20, 21]);
    assert!(!watched.seen().direct.contains(&70));
}

/// Rows wanted while the thread waits for the very caller, as a source would that runs in a pool whose threads all wait here.
#[test]
fn a_thread_that_waits_for_its_callers_does_not_stop_them() {
    let watched = Arc::new(Watched::default());
    let source = Prefetch::new(Arc::clone(&watched));
    watched.hold(true);
    source.ask_ahead(&context(), &[1, 2, 3]);
    watched.until(|seen| seen.waiting);
    check(&source, 0, &[1, 2, 3]);
    assert_eq!(watched.seen().behind, []);
    watched.hold(false);
}

#[test]
fn dropping_while_busy_ends_the_thread() {
    for held in [false, true] {
        let watched = Arc::new(Watched::default());
        let source = Prefetch::new(Arc::clone(&watched));
        watched.hold(held);
        // More than it can gather meanwhile.
        source.ask_ahead(&context(), &(0..1_000_000).map(|i| i % 1000).collect::<Vec<_>>());
        if held {
            watched.until(|seen| seen.waiting);
        }
        std::thread::scope(|scope| {
            let dropped = scope.spawn(move || drop(source));
            watched.hold(false);
            dropped.join().unwrap();
        });
        assert!(watched.seen().behind.len() < 1_000_000);
        // The thread held the other one.
        assert_eq!(Arc::strong_count(&watched), 1);
    }
    // Never asked for anything.
    drop(Prefetch::new(Watched::default()));
}

/// `fit` asks one batch ahead: all but the first of an epoch come from the background.
#[test]
fn fit_trains_on_what_was_gathered_ahead() {
    for parallelism in [Parallelism::Serial, Parallelism::Max(3)] {
        let watched = Arc::new(Watched::default());
        let source = Prefetch::new(Arc::clone(&watched));
        let context = context().with_parallelism(parallelism);
        let mut model = Sequential::new().with(Dense::new(2, 3)).build_with::<f32>(context, 0).unwrap();
        model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
        // 1000 samples are 15 batches of 64 and one of 40.
        let mut wait = |event: &Event<'_>| {
            if let Event::StepEnd { step, .. } = event {
                watched.until(|seen| seen.behind.len() >= (64 * step).min(936));
            }
            Control::Continue
        };
        model.fit(&source, Fit::new().batch_size(64).callback(&mut wait)).unwrap();
        let seen = watched.seen();
        // Sixteen are looked at when the first plan is made: whether they have many zeros.
        assert_eq!((seen.behind.len(), seen.direct.len()), (936, 16 + 64), "{parallelism:?}");
        let mut all = [seen.behind.as_slice(), &seen.direct].concat();
        all.sort_unstable();
        all.dedup();
        assert!(all.into_iter().eq(0..1000));
    }
}

#[test]
fn training_has_the_same_bits_with_and_without() {
    let pixels: Vec<f32> = common::cast(&common::random(3, 90 * 75));
    let data = Dataset::from_values(Tensor::from_vec(&[90, 75], pixels).unwrap())
        .unwrap()
        .with_classes((0..90).map(|i| i % 4).collect(), 4)
        .unwrap();
    let augment = |mix: bool| {
        let augment = Augment::new(data.clone(), 5)
            .images(ImageShape::hwc(5, 5, 3))
            .and_then(|a| a.rotation(20.0))
            .and_then(|a| a.gaussian_noise(0.05))
            .unwrap();
        if mix { augment.mixup(0.4).unwrap() } else { augment }
    };
    let train = |source: &dyn BatchSource<f32>, context: Context, accumulate: usize| {
        let net = Sequential::new().with(Dense::new(75, 40)).with(Activation::Tanh).with(Dense::new(40, 4));
        let mut model = net.build_with::<f32>(context, 2).unwrap();
        model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
        model.fit(source, Fit::new().epochs(3).batch_size(16).accumulate(accumulate).seed(1)).unwrap();
        all_bits(model.parameter("0.weight").unwrap().as_slice())
    };
    for (mix, accumulate) in [(false, 1), (true, 1), (true, 2)] {
        let expected = train(&augment(mix), context().with_parallelism(Parallelism::Serial), accumulate);
        for threads in [1, 2, 3] {
            let context = context().with_parallelism(Parallelism::Max(threads));
            let ahead = Prefetch::new(augment(mix));
            assert_eq!(train(&ahead, context, accumulate), expected, "{threads} threads, mixed: {mix}");
        }
        let serial = Prefetch::with_depth(augment(mix), 3).unwrap();
        assert_eq!(train(&serial, context().with_parallelism(Parallelism::Serial), accumulate), expected);
    }
}

//! Steps of networks of every layer allocate nothing after the first ones: on the caller's thread alone, and on any of a team.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/nets.rs"]
mod nets;

use allocator::{calls, calls_of_second};
use gemmule::nn::{Builder, Layer, Loss, Model, RowFunction, Sequential, Value};
use gemmule::optim::{Adam, Clip};
use gemmule::train::{Control, Event, Fit};
use gemmule::{Context, Element, Parallelism, Result};
use nets::{BATCH, Net, SAMPLES, nets, sparse};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const STEPS: usize = SAMPLES.div_ceil(BATCH);

static THREADS: AtomicUsize = AtomicUsize::new(0);
/// A bit for each thread that a [`Witness`] ran on.
static SEEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Passes its inputs on, and sees which threads take part.
#[derive(Clone, Copy, Debug)]
struct Witness(usize);

impl<T: Element> RowFunction<T> for Witness {
    fn forward(&self, _: &Context, _: &[T], x: &[T], y: &mut [T]) {
        THREAD.with(|number| {
            if number.get() == usize::MAX {
                number.set(THREADS.fetch_add(1, SeqCst));
            }
            SEEN.fetch_or(1 << number.get(), SeqCst);
        });
        y.copy_from_slice(x);
    }

    fn backward(&self, _: &Context, _: &[T], _: &[T], _: &[T], d_y: &[T], d_x: &mut [T]) {
        d_x.copy_from_slice(d_y);
    }
}

impl Layer for Witness {
    fn describe(&self) -> String {
        "Witness".to_owned()
    }

    fn inputs(&self) -> Option<usize> {
        Some(self.0)
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.custom(input, self.0, *self, None)
    }
}

fn model(layers: &Sequential, parallelism: Parallelism) -> Model<f32> {
    let context = Context::detect().unwrap().with_parallelism(parallelism);
    let mut model = layers.build_with(context, 0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    model
}

fn alone(Net { name, layers, data }: &Net) {
    let mut model = model(layers, Parallelism::Serial);
    let batches: [Vec<usize>; 3] = [(0..16).collect(), (16..23).collect(), (22..24).collect()];
    let count = calls_of_second(&mut || {
        for batch in &batches {
            model.step(data, batch).unwrap();
        }
    });
    assert_eq!(count, 0, "{name}");
}

/// From an epoch's first step to its last: whole batches and a smaller one. A helper that has rested too long on a busy machine is
/// called again, which costs rayon an allocation: that is not the steps', each of which would show as one more. So fewer than there
/// are steps, in an epoch that both threads took part in; on one thread there are none.
fn in_a_team(Net { name, layers, data }: Net) {
    let layers = Sequential::new().with(Witness(data.features())).with(layers);
    let mut model = model(&layers, Parallelism::Max(2));
    let (mut first, mut fewest, mut width) = (0, usize::MAX, 0);
    let mut watch = |event: &Event<'_>| {
        match event {
            Event::TrainBegin { threads, .. } => width = *threads,
            Event::StepEnd { step: 1, .. } => {
                SEEN.store(0, SeqCst);
                first = calls();
            }
            Event::StepEnd { step: STEPS, .. } => {
                let count = calls() - first;
                if SEEN.load(SeqCst).count_ones() as usize == width {
                    fewest = fewest.min(count);
                }
            }
            Event::EpochEnd { .. } if fewest == 0 => return Control::Stop,
            _ => {}
        }
        Control::Continue
    };
    model.fit(&data, Fit::new().batch_size(BATCH).epochs(400).callback(&mut watch)).unwrap();
    assert_eq!(width, if cfg!(feature = "rayon") { 2 } else { 1 }, "{name}");
    assert!(fewest < STEPS - 1, "{name}: {fewest} allocations in a team");
}

// One test: another's allocations would be counted.
#[test]
fn steps_allocate_nothing() {
    // A worker of the pool that starts late would be counted where no thread helps.
    #[cfg(feature = "rayon")]
    rayon::broadcast(|_| {});
    for net in nets() {
        alone(&net);
        in_a_team(net);
    }
    touched_rows();
}

/// Those of all batches together, and of few after many.
fn touched_rows() {
    let net = sparse();
    alone(&net);
    let Net { layers, data, .. } = net;
    let mut model = model(&layers, Parallelism::Serial);
    model.clip_gradients(Clip::Norm(1.0)).unwrap();
    let many: Vec<usize> = (0..BATCH).collect();
    let mut calls = [vec![22; BATCH], many].into_iter();
    let count = calls_of_second(&mut || {
        let batch = calls.next().unwrap_or_default();
        for part in batch.chunks(20) {
            model.accumulate(&data, part, 1.0).unwrap();
        }
        model.apply().unwrap();
    });
    assert_eq!(count, 0, "sparse, accumulated");
}

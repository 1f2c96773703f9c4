//! The same bits: in any batch, in any order, on any thread, on every instruction set; and by which numbers.

use super::{features, images};
use crate::common::{all_bits, contexts};
use gemmule::data::{Augment, Dataset, ImageShape, Interpolation, PaddingMode, Prefetch, RandomErasing};
use gemmule::nn::{Activation, Dense, Dropout, Loss, Sequential};
use gemmule::optim::Adam;
use gemmule::rng::{Rng, purpose};
use gemmule::train::{Checkpoint, Checkpoints, Fit};
use gemmule::{BatchSource, Context, Element, Parallelism};
use std::sync::Arc;

const SHAPE: ImageShape = ImageShape::chw(3, 9, 35);

/// Everything there is, in several passes; `noise` draws otherwise on the portable tier.
fn everything<T: Element, S: BatchSource<T>>(source: S, noise: bool) -> Augment<T, S> {
    Augment::new(source, 77)
        .images(SHAPE)
        .and_then(|a| a.rotation(25.0))
        .and_then(|a| a.scale(0.2))
        .and_then(|a| a.shift(0.1, 0.1))
        .and_then(|a| a.flip_horizontal(0.5))
        .and_then(|a| a.brightness(0.3))
        .and_then(|a| if noise { a.gaussian_noise(0.1) } else { Ok(a) })
        .and_then(|a| a.interpolation(Interpolation::Nearest).padding_mode(PaddingMode::Reflect))
        .and_then(|a| a.random_crop(2))
        .and_then(|a| a.contrast(0.3))
        .and_then(|a| a.cutout(3, 0.5))
        .and_then(|a| a.random_erasing(RandomErasing::default()))
        .and_then(|a| a.mixup(0.5))
        .and_then(|a| a.cutmix(1.0))
        .unwrap()
}

fn shuffled(len: usize) -> Vec<usize> {
    Rng::new(3).permutation(len)
}

fn one_batch_or_many<T: Element>() {
    let data = images(23, SHAPE.features());
    let augment = everything::<T, _>(&data, true);
    let context = contexts()[0];
    let order = shuffled(23);
    augment.begin_epoch(3);
    let whole = all_bits(&features(&augment, &context, &order));
    let width = SHAPE.features();
    for part in [1, 2, 7] {
        let parts: Vec<u64> =
            order.chunks(part).flat_map(|indices| all_bits(&features(&augment, &context, indices))).collect();
        assert_eq!(parts, whole, "parts of {part}");
    }
    // Another order, and samples twice.
    let again: Vec<usize> = order.iter().rev().flat_map(|&sample| [sample, sample]).collect();
    let twice = all_bits(&features(&augment, &context, &again));
    for (row, sample) in twice.chunks(width).zip(&again) {
        let at = order.iter().position(|other| other == sample).unwrap();
        assert_eq!(row, &whole[at * width..][..width]);
    }
    // On several threads at once.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (augment, order, whole) = (&augment, &order, &whole);
            scope.spawn(move || {
                for (i, &sample) in order.iter().enumerate().cycle().skip(thread * 5).take(23) {
                    let row = all_bits(&features(augment, &context, &[sample]));
                    assert_eq!(row, whole[i * width..][..width]);
                }
            });
        }
    });
    // Another epoch is another set, and the same one is the same again, in a source that is made anew.
    augment.begin_epoch(4);
    assert_ne!(all_bits(&features(&augment, &context, &order)), whole);
    let again = everything::<T, _>(Arc::new(data.clone()), true);
    again.begin_epoch(3);
    assert_eq!(all_bits(&features(&again, &context, &order)), whole);
}

#[test]
fn a_sample_of_an_epoch_is_the_same_in_any_batch() {
    one_batch_or_many::<f32>();
    one_batch_or_many::<f64>();
}

fn isa_by_isa<T: Element>() {
    let data = images(20, SHAPE.features());
    let order = shuffled(20);
    for noise in [false, true] {
        let augment = everything::<T, _>(&data, noise);
        let mut first = None;
        for context in contexts() {
            // Without noise even the portable tier agrees.
            if context.isa().has_fma() || !noise {
                let bits = all_bits(&features(&augment, &context, &order));
                assert!(
                    *first.get_or_insert_with(|| bits.clone()) == bits,
                    "{} noise {noise}",
                    context.isa()
                );
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same() {
    isa_by_isa::<f32>();
    isa_by_isa::<f64>();
}

/// Trains on what is made of the samples and gives the bits of the weights.
fn train(context: Context, data: &Dataset) -> Vec<u64> {
    let augment = everything::<f32, _>(data, true);
    let net = Sequential::new()
        .with(Dense::new(SHAPE.features(), 64))
        .with(Activation::Relu)
        .with(Dropout::new(0.2))
        .with(Dense::new(64, 3));
    let mut model = net.build_with::<f32>(context, 1).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    model.fit(&augment, Fit::new().epochs(3).batch_size(48).seed(1)).unwrap();
    all_bits(model.parameter("0.weight").unwrap().as_slice())
}

#[test]
fn training_is_the_same_on_any_number_of_threads() {
    let data = images(120, SHAPE.features());
    let fused = || contexts().into_iter().filter(|context| context.isa().has_fma());
    // Without a fused multiply-add there is no promise.
    let Some(context) = fused().next() else { return };
    let expected = train(context.with_parallelism(Parallelism::Serial), &data);
    for context in fused() {
        for threads in [1, 2, 3] {
            let context = context.with_parallelism(Parallelism::Max(threads));
            assert_eq!(train(context, &data), expected, "{} with {threads}", context.isa());
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let context = context.with_parallelism(Parallelism::Max(3));
    assert_eq!(pool.install(|| train(context, &data)), expected, "in a pool");
}

fn options<'a>() -> Fit<'a, f32> {
    Fit::new().epochs(3).batch_size(16).seed(4)
}

/// Resumed after every step, with and without a prefetch: the same samples, the same weights.
#[test]
fn a_resumed_run_sees_the_same_samples() {
    let folder = std::env::temp_dir().join(format!("gemmule-augment-{}", std::process::id()));
    let data = images(50, SHAPE.features());
    let model = |threads| {
        let net = Sequential::new()
            .with(Dense::new(SHAPE.features(), 16))
            .with(Dropout::new(0.2))
            .with(Dense::new(16, 3));
        let context = contexts()[0].with_parallelism(Parallelism::Max(threads));
        let mut model = net.build_with::<f32>(context, 1).unwrap();
        model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
        model
    };
    let weights = |model: &gemmule::nn::Model<f32>| all_bits(model.parameter("0.weight").unwrap().as_slice());
    let mut checkpoints = Checkpoints::new(&folder).every_steps(1).keep(100);
    let mut whole = model(1);
    whole.fit(&everything(&data, true), options().checkpoints(&mut checkpoints)).unwrap();
    let all = checkpoints.list().unwrap();
    assert_eq!(all.len(), 12);
    for (step, path) in all.iter().enumerate() {
        let mut resumed = model(1 + step % 3);
        let options = options().resume(Checkpoint::read(path).unwrap());
        if step % 2 == 0 {
            resumed.fit(&everything(&data, true), options).unwrap();
        } else {
            resumed.fit(&Prefetch::new(everything(data.clone(), true)), options).unwrap();
        }
        assert_eq!(weights(&resumed), weights(&whole), "resumed after step {}", step + 1);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The documented law: seed, purpose, epoch, sample, number of the operation.
#[test]
fn the_numbers_are_those_that_are_documented() {
    let data = images(6, SHAPE.features());
    let context = contexts()[0];
    let new = || Augment::<f64, _>::new(&data, 42).images(SHAPE).unwrap();
    let random = new().brightness(0.0..=0.5).unwrap().rotation(30.0).unwrap().shift(0.2, 0.1).unwrap();
    random.begin_epoch(7);
    for sample in 0..6 {
        let stream =
            |number| Rng::new(42).stream(purpose::AUGMENT).stream(7).stream(sample as u64).stream(number);
        let factor = 0.5 * stream(0).uniform_f64();
        let degrees = -30.0 + 60.0 * stream(1).uniform_f64();
        let mut shifts = stream(2);
        let x = -0.2 + 0.4 * shifts.uniform_f64();
        let y = -0.1 + 0.2 * shifts.uniform_f64();
        let exact = new()
            .brightness(factor..=factor)
            .and_then(|a| a.rotation(degrees..=degrees))
            .and_then(|a| a.shift(x..=x, y..=y))
            .unwrap();
        assert_eq!(
            features(&random, &context, &[sample]),
            features(&exact, &context, &[sample]),
            "sample {sample}"
        );
    }
}

/// What `fit` asks of a source is passed on.
#[test]
fn what_wraps_a_source_passes_on_what_it_is_told() {
    struct Told<'a>(&'a Dataset, std::sync::Mutex<Vec<String>>);
    impl BatchSource<f32> for Told<'_> {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn features(&self) -> usize {
            self.0.features()
        }
        fn target_kind(&self) -> Option<gemmule::TargetKind> {
            self.0.target_kind()
        }
        fn begin_epoch(&self, epoch: u64) {
            self.1.lock().unwrap().push(format!("epoch {epoch}"));
        }
        fn ask_ahead(&self, _: &Context, indices: &[usize]) {
            self.1.lock().unwrap().push(format!("ask {indices:?}"));
        }
        fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [f32]) {
            self.0.gather_features(context, indices, out);
        }
        fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
            BatchSource::<f32>::gather_classes(self.0, indices, out);
        }
        fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [f32]) {
            self.0.gather_values(context, indices, out);
        }
    }
    let data = images(5, 4);
    let told = Told(&data, std::sync::Mutex::default());
    let boxed: Box<dyn BatchSource<f32> + '_> = Box::new(&told);
    let augment = Augment::new(Augment::new(boxed, 1), 2);
    augment.begin_epoch(9);
    augment.ask_ahead(&contexts()[0], &[4, 2]);
    assert_eq!(*told.1.lock().unwrap(), ["epoch 9", "ask [4, 2]"]);
    assert_eq!((augment.len(), augment.features(), augment.is_empty()), (5, 4, false));
    // `fit` says which epoch it is, once each.
    told.1.lock().unwrap().clear();
    let mut model = Sequential::new().with(Dense::new(4, 3)).build::<f32>(0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    model.fit(&augment, Fit::new().epochs(3)).unwrap();
    assert_eq!(*told.1.lock().unwrap(), ["epoch 1", "epoch 2", "epoch 3"]);
}

//! A batch whose rows stand in memory is read there: nothing shows but the time.

use gemmule::data::{Dataset, Standardize};
use gemmule::nn::{
    Activation, Conv2d, Dense, Dropout, Flatten, Fusion, Input, Loss, Model, Sequential, Softmax,
};
use gemmule::optim::Adam;
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{BatchSource, Context, Element, Error, Parallelism, TargetKind, Tensor};
use std::sync::atomic::{AtomicUsize, Ordering};

const SAMPLES: usize = 150;
const FEATURES: usize = 64;

/// A data set that hides its rows, or shows them and counts what is copied all the same.
struct Watched {
    set: Dataset,
    shows: bool,
    copied: AtomicUsize,
}

impl Watched {
    fn new<T: Element>(shows: bool) -> Self {
        let mut values = vec![T::zero(); SAMPLES * FEATURES];
        let context = Context::detect().unwrap();
        Rng::new(5).stream(1).fill_uniform(&context, &mut values, -1.0, 1.0).unwrap();
        Self::of(values, shows)
    }

    fn of<T: Element>(values: Vec<T>, shows: bool) -> Self {
        let classes = (0..SAMPLES as u32).map(|i| i * 7 % 3).collect();
        let set = Dataset::from_values(Tensor::from_vec(&[SAMPLES, FEATURES], values).unwrap()).unwrap();
        Self { set: set.with_classes(classes, 3).unwrap(), shows, copied: AtomicUsize::new(0) }
    }

    fn copied(&self) -> usize {
        self.copied.swap(0, Ordering::Relaxed)
    }
}

impl<T: Element> BatchSource<T> for Watched {
    fn len(&self) -> usize {
        self.set.len()
    }
    fn features(&self) -> usize {
        self.set.features()
    }
    fn target_kind(&self) -> Option<TargetKind> {
        self.set.target_kind()
    }
    fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        self.copied.fetch_add(indices.len(), Ordering::Relaxed);
        self.set.gather_features(context, indices, out);
    }
    fn rows(&self, indices: &[usize]) -> Option<&[T]> {
        BatchSource::<T>::rows(&self.set, indices).filter(|_| self.shows)
    }
    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        BatchSource::<T>::gather_classes(&self.set, indices, out);
    }
    fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        self.set.gather_values(context, indices, out);
    }
}

/// Rows in memory, and nothing else; of a batch that begins with sample 9 it shows too few.
struct Plain(Vec<f32>);

impl BatchSource<f32> for Plain {
    fn len(&self) -> usize {
        SAMPLES
    }
    fn features(&self) -> usize {
        FEATURES
    }
    fn target_kind(&self) -> Option<TargetKind> {
        Some(TargetKind::Classes(3))
    }
    fn gather_features(&self, _: &Context, indices: &[usize], out: &mut [f32]) {
        for (&sample, out) in indices.iter().zip(out.chunks_mut(FEATURES)) {
            out.copy_from_slice(&self.0[sample * FEATURES..][..FEATURES]);
        }
    }
    fn rows(&self, indices: &[usize]) -> Option<&[f32]> {
        let len = if indices[0] == 9 { 5 } else { indices.len() * FEATURES };
        Some(&self.0[indices[0] * FEATURES..][..len])
    }
    fn gather_classes(&self, _: &[usize], out: &mut [u32]) {
        out.fill(1);
    }
    fn gather_values(&self, _: &Context, _: &[usize], _: &mut [f32]) {}
}

fn model<T: Element>(net: usize, threads: usize) -> Model<T> {
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Max(threads));
    let flat = || Sequential::new().with(Input::new(&[FEATURES]));
    let net = match net {
        // The first weight in panels.
        0 => Sequential::new().with(Dense::new(FEATURES, 64)).with(Activation::Relu).with(Dense::new(64, 3)),
        // Without weights first.
        1 => flat().with(Activation::Tanh).with(Dropout::new(0.3)).with(Dense::new(FEATURES, 3)),
        2 => flat().with(Dropout::new(0.3)).with(Dense::new(FEATURES, 3)),
        // Enough to do for several tiles.
        3 => flat()
            .with(Dense::new(FEATURES, 400))
            .with(Activation::Tanh)
            .with(Dense::new(400, 200))
            .with(Activation::Relu)
            .with(Dense::new(200, 3)),
        4 => flat().with(Softmax).with(Dense::new(FEATURES, 3)),
        _ => Sequential::new()
            .with(Input::new(&[1, 8, 8]))
            .with(Conv2d::new(1, 4, 3))
            .with(Activation::Relu)
            .with(Flatten::new())
            .with(Dense::new(4 * 6 * 6, 3)),
    };
    let mut model = net.build_with(context, 3).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    model
}

fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|x| x.bits()).collect()
}

fn weights<T: Element>(model: &Model<T>) -> Vec<Vec<u64>> {
    model.parameters().iter().map(|p| bits(model.parameter(&p.name).unwrap().as_slice())).collect()
}

/// Everything that a model is asked, in bits.
fn answers<T: Element>(source: &Watched, net: usize, threads: usize, fusion: Fusion) -> Vec<Vec<u64>> {
    let mut model = model::<T>(net, threads);
    model.set_fusion(fusion);
    let mut found = vec![bits(model.predict(source).unwrap().as_slice())];
    let indices: Vec<usize> = (7..39).collect();
    let (loss, d_input) = model.gradients(source, &indices).unwrap();
    found.push(bits(&[loss]));
    found.push(bits(d_input.as_slice()));
    found.push(bits(&[model.step(source, &indices).unwrap()]));
    // One row, and an order in which rows do not follow each other.
    model.step(source, &[149]).unwrap();
    model.step(source, &[3, 4, 5, 5]).unwrap();
    model.step(source, &[6, 5, 4]).unwrap();
    model.accumulate(source, &indices, 1.0).unwrap();
    model.apply().unwrap();
    // In halves, with something else in the arena between them.
    let outputs = model.forward(source, &indices).unwrap();
    found.push(bits(outputs.as_slice()));
    found.push(bits(model.backward(&outputs).unwrap().as_slice()));
    model.apply().unwrap();
    model.fit(source, Fit::new().epochs(2).batch_size(32).shuffle(false)).unwrap();
    found.push(vec![model.evaluate(source).unwrap().loss.to_bits()]);
    found.extend(weights(&model));
    found
}

fn nothing_shows<T: Element>() {
    let (shown, hidden) = (Watched::new::<T>(true), Watched::new::<T>(false));
    for net in 0..6 {
        for fusion in [Fusion::default(), Fusion { chains: false, ..Fusion::default() }, Fusion::NONE] {
            let expected = answers::<T>(&hidden, net, 1, fusion);
            for threads in [1, 2, 3] {
                let found = answers::<T>(&shown, net, threads, fusion);
                assert!(found == expected, "net {net}, {threads} threads, {fusion:?}");
            }
        }
    }
}

#[test]
fn nothing_shows_in_f32() {
    nothing_shows::<f32>();
}

#[test]
fn nothing_shows_in_f64() {
    nothing_shows::<f64>();
}

#[test]
fn rows_that_follow_each_other_are_not_copied() {
    let source = Watched::new::<f32>(true);
    let mut model = model::<f32>(0, 1);
    // To make a plan, the engine looks at some samples.
    model.predict(&source).unwrap();
    model.step(&source, &[5, 6, 7]).unwrap();
    source.copied();
    model.predict(&source).unwrap();
    model.step(&source, &[50, 51, 52]).unwrap();
    assert_eq!(source.copied(), 0);
    model.step(&source, &[5, 7, 8]).unwrap();
    assert_eq!(source.copied(), 3);
    // The backward half reads the batch after the call is over.
    model.forward(&source, &[1, 2]).unwrap();
    source.copied();
    model.forward(&source, &[1, 2]).unwrap();
    assert_eq!(source.copied(), 2);
}

#[test]
fn a_net_that_only_hands_on_its_input_predicts_it() {
    let source = Watched::new::<f32>(true);
    let net = Sequential::new().with(Input::new(&[FEATURES])).with(Dropout::new(0.5));
    let mut model = net.build::<f32>(0).unwrap();
    let all: Vec<usize> = (0..SAMPLES).collect();
    let outputs = model.predict(&source).unwrap();
    assert_eq!(outputs.as_slice(), BatchSource::<f32>::rows(&source, &all).unwrap());
}

#[test]
fn a_data_set_shows_what_it_would_gather() {
    let context = Context::detect().unwrap();
    let values: Vec<f32> = (0..SAMPLES * FEATURES).map(|i| i as f32).collect();
    let tensor = Tensor::from_vec(&[SAMPLES, FEATURES], values).unwrap();
    let set = Dataset::from_values(tensor).unwrap();
    let indices: Vec<usize> = (40..120).rev().chain(130..150).collect();
    for set in [&set, &set.subset(&indices).unwrap()] {
        let len = BatchSource::<f32>::len(set);
        for start in 0..len {
            for count in [1, 2, 30] {
                let asked: Vec<usize> = (start..start + count).collect();
                let Some(rows) = BatchSource::<f32>::rows(set, &asked) else { continue };
                let mut gathered = vec![0.0_f32; count * FEATURES];
                set.gather_features(&context, &asked, &mut gathered);
                assert_eq!(rows, gathered, "{count} from {start}");
            }
        }
        let some = |indices: &[usize]| BatchSource::<f32>::rows(set, indices).is_some();
        assert!(some(&[len - 1]) && !some(&[]) && !some(&[len]) && !some(&[len - 1, len]) && !some(&[3, 3]));
        assert!(BatchSource::<f64>::rows(set, &[3]).is_none(), "another type is converted");
    }
    assert!(BatchSource::<f32>::rows(&set, &[4, 5, 6]).is_some());
    let bytes = Dataset::from_bytes(&[2, 3], vec![1; 6]).unwrap();
    assert!(BatchSource::<f32>::rows(&bytes, &[0, 1]).is_none(), "bytes are converted");
    let scaled = Standardize::new().fit(&set).unwrap().apply(&set).unwrap();
    assert!(BatchSource::<f32>::rows(&scaled, &[0]).is_none(), "values are scaled");
}

#[test]
fn what_is_wrong_with_rows_is_named() {
    let mut source = Plain(vec![0.5; SAMPLES * FEATURES]);
    let mut model = model::<f32>(0, 2);
    model.step(&source, &[20, 21]).unwrap();
    let before = weights(&model);
    let text = model.step(&source, &[9, 10]).unwrap_err().to_string();
    assert!(text.contains("rows") && text.contains("128") && text.contains('5'), "{text}");
    source.0[7 * FEATURES + 17] = f32::NAN;
    let error = model.step(&source, &[6, 7, 8]).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NonFinite { .. }) && text.contains("sample 7 (feature 17)"), "{text}");
    assert!(weights(&model) == before);
    model.step(&source, &[10, 11]).unwrap();
}

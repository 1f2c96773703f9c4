//! Networks of every layer have the same bits after training with 1, 2, 3, 4 and 8 threads of a pool of 8, on every
//! instruction set with fused multiply-add.

mod common;
#[path = "common/nets.rs"]
mod nets;

use common::{HASH_START, contexts, hash};
use gemmule::data::Dataset;
use gemmule::nn::{Dense, Loss, Sequential};
use gemmule::optim::{Adam, Sgd};
use gemmule::rng::Rng;
use gemmule::train::{Control, Event, Fit};
use gemmule::{Context, Parallelism, Tensor};
use nets::{BATCH, Net, nets};

/// Hashes of parameters and running statistics, and of what is predicted, after some steps; and how many threads these may use.
fn trained(Net { layers, data, .. }: &Net, context: Context) -> ([u64; 2], usize) {
    let mut model = layers.build_with::<f32>(context, 3).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    let mut width = 0;
    let mut watch = |event: &Event<'_>| {
        if let Event::TrainBegin { threads, .. } = event {
            width = *threads;
        }
        Control::Continue
    };
    model.fit(data, Fit::new().batch_size(BATCH).epochs(2).callback(&mut watch)).unwrap();
    let all = model.parameters().into_iter().chain(model.buffers());
    let weights =
        all.fold(HASH_START, |start, one| hash(model.parameter(&one.name).unwrap().as_slice(), start));
    ([weights, hash(model.predict(data).unwrap().as_slice(), HASH_START)], width)
}

#[test]
fn no_number_of_threads_changes_a_bit_of_any_layer() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    for net in nets() {
        let mut fused = None;
        for context in contexts() {
            let mut of_isa = None;
            for threads in [1, 2, 3, 4, 8] {
                let context = context.with_parallelism(Parallelism::Max(threads));
                let (found, width) = pool.install(|| trained(&net, context));
                assert_eq!(
                    width,
                    if cfg!(feature = "rayon") { threads } else { 1 },
                    "{}: little work",
                    net.name
                );
                let slot = if context.isa().has_fma() { &mut fused } else { &mut of_isa };
                let expected = *slot.get_or_insert(found);
                assert_eq!(found, expected, "{}: {} with {threads} threads", net.name, context.isa());
            }
        }
    }
}

/// Few samples of a layer whose weights are larger than the second level of the cache: a path of its own. And few features of
/// many samples, where that is the path of the weights' gradient.
#[test]
fn no_number_of_threads_changes_a_bit_of_few_samples() {
    let values = |rows: usize, cols: usize| {
        let mut values = vec![0.0_f32; rows * cols];
        Rng::new(7).stream(1).fill_uniform(&Context::detect().unwrap(), &mut values, -1.0, 1.0).unwrap();
        Tensor::from_vec(&[rows, cols], values).unwrap()
    };
    for (inputs, outputs, batch) in [(4096, 300, 7), (4096, 300, 8), (4000, 300, 8), (8, 300, 4096)] {
        let data = Dataset::from_values(values(batch, inputs)).unwrap();
        let data = data.with_values(values(batch, outputs)).unwrap();
        let layers = Sequential::new().with(Dense::new(inputs, outputs));
        for context in contexts() {
            let trained = |parallelism| {
                let mut model = layers.build_with::<f32>(context.with_parallelism(parallelism), 1).unwrap();
                model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.1, ..Sgd::default() }).unwrap();
                let indices: Vec<usize> = (0..batch).collect();
                for _ in 0..3 {
                    model.step(&data, &indices).unwrap();
                }
                let weights = hash(model.parameter("0.weight").unwrap().as_slice(), HASH_START);
                [weights, hash(model.predict(&data).unwrap().as_slice(), HASH_START)]
            };
            let expected = trained(Parallelism::Serial);
            for threads in [2, 3, 8] {
                let found = trained(Parallelism::Max(threads));
                assert_eq!(
                    found, expected,
                    "{inputs} to {outputs}, {batch} samples, {context:?}, {threads} threads"
                );
            }
        }
    }
}

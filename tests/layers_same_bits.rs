//! Networks of every layer have the same bits after training with 1, 2, 3, 4 and 8 threads of a pool of 8, on every
//! instruction set with fused multiply-add.

mod common;
#[path = "common/nets.rs"]
mod nets;

use common::{HASH_START, contexts, hash};
use gemmule::nn::Loss;
use gemmule::optim::Adam;
use gemmule::train::{Control, Event, Fit};
use gemmule::{Context, Parallelism};
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

//! After the first steps of a plan, a step allocates nothing: on the caller's thread alone, and inside a running team.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

use allocator::{calls, calls_of_second};
use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, GaussianDropout, GaussianNoise, LogSoftmax, Loss, Sequential, Softmax};
use gemmule::optim::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, Clip, Constraint, Lion, NAdam, Optimizer, RAdam, RmsProp, Sgd,
};
use gemmule::train::{Control, Event, Fit};
use gemmule::{Context, Parallelism, Tensor};

const SAMPLES: usize = 600;

fn data() -> Dataset {
    let x = (0..SAMPLES * 90).map(|i| (i % 17) as f32 / 17.0).collect();
    let classes = (0..SAMPLES as u32).map(|i| i % 10).collect();
    Dataset::from_values(Tensor::from_vec(&[SAMPLES, 90], x).unwrap())
        .unwrap()
        .with_classes(classes, 10)
        .unwrap()
}

fn net() -> Sequential {
    Sequential::new()
        .with(Dense::new(90, 300))
        .with(Activation::Gelu)
        .with(Dense::new(300, 500))
        .with(Softmax)
        .with(Dense::new(500, 64).without_bias())
        .with(Activation::Relu)
        .with(Dense::new(64, 10))
}

fn optimizers() -> Vec<(&'static str, Optimizer)> {
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let rmsprop = RmsProp { momentum: 0.9, centered: true, ..RmsProp::default() };
    vec![
        ("sgd", Sgd::default().into()),
        ("momentum", momentum.into()),
        ("adagrad", Adagrad::default().into()),
        ("rmsprop", rmsprop.into()),
        ("adadelta", Adadelta::default().into()),
        ("adam", Adam::default().into()),
        ("amsgrad", Adam { amsgrad: true, ..Adam::default() }.into()),
        ("adamw", AdamW::default().into()),
        ("adamax", Adamax::default().into()),
        ("nadam", NAdam::default().into()),
        ("radam", RAdam::default().into()),
        ("lion", Lion { learning_rate: 1e-5, ..Lion::default() }.into()),
    ]
}

/// Noise, class weights, a smoothed loss and constraints.
fn regularised(optimizer: Optimizer, name: &str, data: &Dataset, batches: &[Vec<usize>]) {
    let net = Sequential::new()
        .with(GaussianNoise::new(0.1))
        .with(Dense::new(90, 300))
        .with(GaussianDropout::new(0.1))
        .with(Dense::new(300, 10))
        .with(LogSoftmax);
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    for loss in [Loss::SmoothedCrossEntropy { label_smoothing: 0.1 }, Loss::NegativeLogLikelihood] {
        let mut model = net.build_with::<f32>(context, 0).unwrap();
        model.compile(loss, optimizer).unwrap();
        model.set_class_weights(&[0.5; 10]).unwrap();
        model.set_constraint(&["1"], Constraint::MaxNorm(0.5)).unwrap();
        model.set_constraint(&["3.weight"], Constraint::Clip { low: -0.5, high: 0.5 }).unwrap();
        let mut round = || {
            for batch in batches {
                model.step(data, batch).unwrap();
                model.accumulate(data, batch, 0.5).unwrap();
                model.apply().unwrap();
            }
        };
        assert_eq!(calls_of_second(&mut round), 0, "{name}, {}", loss.name());
    }
}

// One test: another's allocations would be counted.
#[test]
fn steps_allocate_nothing() {
    let data = data();
    let context = Context::detect().unwrap();
    let batches: Vec<Vec<usize>> = [64, 40].map(|len| (0..len).collect()).into();
    for (name, optimizer) in optimizers() {
        for clip in [Clip::Off, Clip::Value(1.0), Clip::Norm(1.0)] {
            let mut model =
                net().build_with::<f32>(context.with_parallelism(Parallelism::Serial), 0).unwrap();
            model.compile(Loss::CrossEntropy, optimizer).unwrap();
            model.clip_gradients(clip).unwrap();
            let mut round = || {
                for batch in &batches {
                    model.step(&data, batch).unwrap();
                    model.accumulate(&data, batch, 0.5).unwrap();
                    model.apply().unwrap();
                }
            };
            assert_eq!(calls_of_second(&mut round), 0, "{name}, {clip:?}");
        }
        regularised(optimizer, name, &data, &batches);
        // All threads of a team, after an epoch's first step to its last: whole batches and the last, smaller one. A helper that
        // has rested too long on a busy machine is called again, which costs rayon an allocation: so not in every epoch.
        let mut model = net().build_with::<f32>(context.with_parallelism(Parallelism::Max(3)), 0).unwrap();
        model.compile(Loss::CrossEntropy, optimizer).unwrap();
        let (mut first, mut fewest, mut threads) = (0, usize::MAX, 0);
        const STEPS: usize = SAMPLES.div_ceil(128);
        let mut watch = |event: &Event<'_>| {
            match event {
                Event::TrainBegin { threads: width, .. } => threads = *width,
                Event::StepEnd { step: 1, .. } => first = calls(),
                Event::StepEnd { step: STEPS, .. } => {
                    fewest = fewest.min(calls() - first);
                }
                _ => {}
            }
            Control::Continue
        };
        model.fit(&data, Fit::new().batch_size(128).epochs(60).callback(&mut watch)).unwrap();
        assert_eq!(threads, if cfg!(feature = "rayon") { 3 } else { 1 });
        assert_eq!(fewest, 0, "{name}: allocations in a team");
    }
}

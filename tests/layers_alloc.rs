//! Steps of networks of images and sequences allocate nothing after the first ones.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

use allocator::calls_of_second;
use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, AvgPool2d, BatchNorm2d, Branches, Conv2d, ConvTranspose2d, Dense, Dropout2d, Embedding,
    Flatten, GlobalAvgPool2d, GroupNorm, Gru, Input, Layer, LayerNorm, Loss, Lstm, Masking, MaxPool2d,
    PositionalEncoding, Residual, Rnn, Sequential, TransformerEncoder, TransformerEncoderLayer,
};
use gemmule::optim::{Adam, Clip};
use gemmule::{Context, Parallelism, Tensor};

/// Whole and smaller batches, the last of one sample.
fn batches() -> [Vec<usize>; 3] {
    [(0..16).collect(), (16..23).collect(), (22..24).collect()]
}

/// Samples of `features` numbers from 0 on, below `most`, of three classes.
fn samples(features: usize, most: usize, scale: f32) -> Dataset {
    let x = (0..24 * features).map(|i| (i * 7 % most) as f32 * scale).collect();
    let data = Dataset::from_values(Tensor::from_vec(&[24, features], x).unwrap()).unwrap();
    data.with_classes((0..24).map(|i| i % 3).collect(), 3).unwrap()
}

fn allocates_nothing(name: &str, net: &Sequential, data: &Dataset) {
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    let mut model = net.build_with::<f32>(context, 0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    let batches = batches();
    let count = calls_of_second(&mut || {
        for batch in &batches {
            model.step(data, batch).unwrap();
        }
    });
    assert_eq!(count, 0, "{name}");
}

// One test: another's allocations would be counted.
#[test]
fn steps_allocate_nothing() {
    networks_of_images();
    attention();
    sparse_gradients();
    recurrent_layers();
}

fn networks_of_images() {
    let body = Sequential::new()
        .with(Conv2d::new(8, 8, 3).padding(1).groups(8))
        .with(BatchNorm2d::new(8))
        .with(Activation::Gelu)
        .with(Conv2d::new(8, 8, 1));
    let branches = Branches::concatenate()
        .with(Sequential::new().with(MaxPool2d::new(2)))
        .with(Sequential::new().with(Conv2d::new(8, 5, 2).stride(2)).with(GroupNorm::new(5, 5)));
    let net = Sequential::new()
        .with(Input::new(&[2, 9, 8]))
        .with(Conv2d::new(2, 8, [2, 3]).padding([0, 1]))
        .with(Activation::Relu)
        .with(Residual::new(body).with_activation(Activation::Relu))
        .with(Dropout2d::new(0.2))
        .with(branches)
        .with(ConvTranspose2d::new(13, 4, 3).stride(2))
        .with(AvgPool2d::new(3))
        .with(Flatten::new())
        .with(Dense::new(36, 3));
    allocates_nothing("images", &net, &samples(144, 13, 0.1));
    let net = Sequential::new()
        .with(Input::channels_last(&[9, 8, 2]))
        .with(Conv2d::new(2, 20, 3))
        .with(BatchNorm2d::new(20))
        .with(Activation::Relu)
        .with(GlobalAvgPool2d::new())
        .with(Flatten::new())
        .with(Dense::new(20, 3));
    allocates_nothing("means", &net, &samples(144, 13, 0.1));
}

fn attention() {
    let block = TransformerEncoderLayer::new(12, 3).dim_feedforward(20).dropout(0.1);
    let net = Sequential::new()
        .with(Input::new(&[10]))
        .with(Embedding::new(11, 12).padding_idx(0).with_mask())
        .with(PositionalEncoding::new())
        .with(TransformerEncoder::new(block, 2).norm())
        .with(LayerNorm::new(&[12]))
        .with(Flatten::new())
        .with(Dense::new(120, 3));
    allocates_nothing("attention", &net, &samples(10, 11, 1.0));
}

/// At first with few rows, then with many.
fn sparse_gradients() {
    let net = Sequential::new()
        .with(Input::new(&[3]))
        .with(Embedding::new(3000, 20).padding_idx(0).sparse())
        .with(Flatten::new())
        .with(Dense::new(60, 3));
    let data = samples(3, 3000, 5.0);
    allocates_nothing("sparse", &net, &data);
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    let mut model = net.build_with::<f32>(context, 0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    model.clip_gradients(Clip::Norm(1.0)).unwrap();
    let many = batches();
    let few = batches().map(|batch| vec![22; batch.len()]);
    let mut calls = [few, many].into_iter();
    let count = calls_of_second(&mut || {
        for batch in calls.next().iter().flatten() {
            model.accumulate(&data, batch, 1.0).unwrap();
        }
        model.apply().unwrap();
    });
    assert_eq!(count, 0, "sparse, accumulated");
}

fn recurrent_layers() {
    let (steps, features) = (7, 5);
    let data = samples(steps * features, 13, 0.07);
    let layers: [Box<dyn Layer>; 3] = [
        Box::new(Lstm::new(features, 20).num_layers(2).bidirectional().dropout(0.1).trainable_state()),
        Box::new(Gru::new(features, 40).truncate(3)),
        Box::new(Rnn::new(features, 40).relu()),
    ];
    for layer in layers {
        let name = layer.describe();
        let net = Sequential::new().with(Input::new(&[steps, features])).with(Masking::new(0.0)).with(layer);
        let net = net.with(Rnn::new(40, 6).return_sequences(false)).with(Dense::new(6, 3));
        allocates_nothing(&name, &net, &data);
    }
}

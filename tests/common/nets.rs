//! Small networks with every layer there is, each with work for eight threads, and data for them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use gemmule::Tensor;
use gemmule::data::Dataset;
use gemmule::nn::{
    Activation, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AlphaDropout,
    AvgPool1d, AvgPool2d, BatchNorm1d, BatchNorm2d, Branches, ConstantPad1d, ConstantPad2d, Conv1d, Conv2d,
    ConvTranspose1d, ConvTranspose2d, Dense, Dropout, Dropout1d, Dropout2d, Embedding, Flatten,
    GaussianDropout, GaussianNoise, GlobalAvgPool1d, GlobalAvgPool2d, GlobalMaxPool1d, GlobalMaxPool2d,
    GroupNorm, Gru, Input, InstanceNorm, Layer, LayerNorm, Layers, LearnedPositionalEmbedding, LogSoftmax,
    Lstm, Masking, MaxPool1d, MaxPool2d, MultiheadAttention, OptionValue, Permute, PositionalEncoding,
    Reshape, Residual, RmsNorm, Rnn, Sequential, Softmax, Spec, TransformerEncoder, TransformerEncoderLayer,
    Upsample1d, Upsample2d, ZeroPad1d, ZeroPad2d,
};

pub const SAMPLES: usize = 80;
/// Two whole batches and a smaller one.
pub const BATCH: usize = 32;

/// A network and samples of three classes.
pub struct Net {
    pub name: String,
    pub layers: Sequential,
    pub data: Dataset,
}

/// Samples of `features` numbers from 0 on, below `most` times `scale`.
fn samples(features: usize, most: usize, scale: f32) -> Dataset {
    let x = (0..SAMPLES * features).map(|i| (i * 7 % most) as f32 * scale).collect();
    let data = Dataset::from_values(Tensor::from_vec(&[SAMPLES, features], x).unwrap()).unwrap();
    data.with_classes((0..SAMPLES as u32).map(|i| i % 3).collect(), 3).unwrap()
}

/// All of them.
///
/// # Panics
/// If a kind of layer that a file may name is in none.
pub fn nets() -> Vec<Net> {
    let mut nets = vec![images(), channels_last(), resized(), signals(), dense(), attention()];
    nets.extend(recurrent());
    let mut seen = Vec::new();
    for net in &nets {
        kinds(&net.layers.spec().unwrap(), &mut seen);
    }
    for name in Layers::new().names() {
        assert!(seen.iter().any(|kind| kind == name), "{name} is in no network");
    }
    nets
}

/// The kinds of a layer and of those within.
fn kinds(spec: &Spec, seen: &mut Vec<String>) {
    seen.push(spec.kind.clone());
    for (_, option) in &spec.options {
        match option {
            OptionValue::Spec(spec) => kinds(spec, seen),
            OptionValue::Specs(specs) => specs.iter().for_each(|spec| kinds(spec, seen)),
            _ => {}
        }
    }
}

fn net(name: &str, layers: Sequential, data: Dataset) -> Net {
    Net { name: name.to_owned(), layers, data }
}

fn images() -> Net {
    let body = Sequential::new()
        .with(Conv2d::new(8, 8, 3).padding(1).groups(8))
        .with(BatchNorm2d::new(8))
        .with(Activation::Gelu)
        .with(Conv2d::new(8, 8, 1));
    let branches = Branches::concatenate()
        .with(Sequential::new().with(MaxPool2d::new(2)))
        .with(Sequential::new().with(Conv2d::new(8, 5, 2).stride(2)).with(GroupNorm::new(5, 5)));
    let layers = Sequential::new()
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
    net("images", layers, samples(144, 13, 0.1))
}

fn channels_last() -> Net {
    let layers = Sequential::new()
        .with(Input::channels_last(&[9, 8, 2]))
        .with(Conv2d::new(2, 20, 3))
        .with(BatchNorm2d::new(20))
        .with(Activation::Relu)
        .with(Conv2d::new(20, 20, 3))
        .with(GlobalAvgPool2d::new())
        .with(Flatten::new())
        .with(Dense::new(20, 3));
    net("channels last", layers, samples(144, 13, 0.1))
}

fn resized() -> Net {
    let pools = Branches::concatenate_along(-1)
        .with(Sequential::new().with(AdaptiveAvgPool2d::new([6, 3])))
        .with(Sequential::new().with(AdaptiveMaxPool2d::new([6, 3])))
        .with(Sequential::new().with(MaxPool2d::new([4, 6]).stride([3, 3])));
    let layers = Sequential::new()
        .with(Input::new(&[3, 8, 7]))
        .with(ZeroPad2d::new([1, 2, 0, 1]))
        .with(Upsample2d::new([2, 1]))
        .with(Conv2d::new(3, 12, 3))
        .with(InstanceNorm::new(12).affine(true))
        .with(ConstantPad2d::new([-1, 2, 3, 0], 0.25))
        .with(Upsample2d::new([1, 2]))
        .with(pools)
        .with(Conv2d::new(12, 6, 1))
        .with(GlobalMaxPool2d::new())
        .with(Flatten::new())
        .with(Dense::new(6, 3));
    net("resized images", layers, samples(168, 17, 0.1))
}

fn signals() -> Net {
    let pools = Branches::concatenate()
        .with(Sequential::new().with(AdaptiveAvgPool1d::new(5)))
        .with(Sequential::new().with(AdaptiveMaxPool1d::new(5)));
    let means = Branches::concatenate()
        .with(Sequential::new().with(GlobalAvgPool1d::new()))
        .with(Sequential::new().with(GlobalMaxPool1d::new()));
    let layers = Sequential::new()
        .with(Input::new(&[2, 40]))
        .with(ConstantPad1d::new([2, 0], 0.5))
        .with(Conv1d::new(2, 16, 5).padding(2))
        .with(BatchNorm1d::new(16))
        .with(Activation::Silu)
        .with(Dropout1d::new(0.1))
        .with(MaxPool1d::new(2))
        .with(ConvTranspose1d::new(16, 8, 4).stride(2))
        .with(ZeroPad1d::new([1, -1]))
        .with(Upsample1d::new(2))
        .with(AvgPool1d::new(3).stride(2))
        .with(pools)
        .with(Conv1d::new(16, 8, 3))
        .with(means)
        .with(Flatten::new())
        .with(Dense::new(16, 3));
    net("signals", layers, samples(80, 13, 0.1))
}

/// Every activation.
fn dense() -> Net {
    let mut layers = Sequential::new().with(GaussianNoise::new(0.1)).with(Dense::new(30, 40));
    for activation in Activation::ALL {
        // What grows as the exponential function does is given numbers below 1.
        if activation == Activation::Exponential {
            layers = layers.with(Softmax);
        }
        layers = layers.with(activation).with(Dense::new(40, 40));
    }
    let layers = layers
        .with(Dropout::new(0.1))
        .with(GaussianDropout::new(0.1))
        .with(Dense::new(40, 40))
        .with(AlphaDropout::new(0.1))
        .with(Sequential::new().with(Dense::new(40, 3)).with(LogSoftmax));
    net("dense", layers, samples(30, 17, 0.06))
}

/// A table whose gradient is sparse; too little for a team.
pub fn sparse() -> Net {
    let layers = Sequential::new()
        .with(Input::new(&[3]))
        .with(Embedding::new(3000, 20).padding_idx(0).sparse())
        .with(Flatten::new())
        .with(Dense::new(60, 3));
    net("sparse", layers, samples(3, 3000, 1.0))
}

fn attention() -> Net {
    let block = TransformerEncoderLayer::new(12, 3).dim_feedforward(20).dropout(0.1);
    let looks = Sequential::new()
        .with(RmsNorm::new(&[12]))
        .with(MultiheadAttention::new(12, 2).causal().dropout(0.1));
    let layers = Sequential::new()
        .with(Input::new(&[10]))
        .with(Embedding::new(11, 12).padding_idx(0).with_mask())
        .with(PositionalEncoding::new())
        .with(LearnedPositionalEmbedding::new(10).dropout(0.1))
        .with(TransformerEncoder::new(block, 2).norm())
        .with(Residual::new(looks))
        .with(block)
        .with(LayerNorm::new(&[12]))
        .with(Permute::new(&[1, 0]))
        .with(Reshape::new(&[6, 20]))
        .with(Dense::new(20, 20))
        .with(Flatten::new())
        .with(Dense::new(120, 3));
    net("attention", layers, samples(10, 11, 1.0))
}

fn recurrent() -> Vec<Net> {
    let (steps, features) = (7, 5);
    let layers: [Box<dyn Layer>; 4] = [
        Box::new(Lstm::new(features, 20).num_layers(2).bidirectional().dropout(0.1).trainable_state()),
        Box::new(Gru::new(features, 40).truncate(3)),
        Box::new(Gru::new(features, 20).bidirectional()),
        Box::new(Rnn::new(features, 40).relu()),
    ];
    let of = |layer: Box<dyn Layer>| {
        let name = layer.describe();
        let layers = Sequential::new()
            .with(Input::new(&[steps, features]))
            .with(Masking::new(0.0))
            .with(layer)
            .with(Rnn::new(40, 40).return_sequences(false))
            .with(Dense::new(40, 3));
        Net { name, layers, data: samples(steps * features, 13, 0.07) }
    };
    layers.map(of).into()
}

//! The nets of `benches/peers/layers.py`, and the numbers with which they begin there.

use super::support::fill;
use gemmule::nn::{
    Activation, BatchNorm2d, Conv2d, Dense, Flatten, GlobalAvgPool2d, Gru, Input, Lstm, MaxPool2d, Model,
    Residual, Sequential, TransformerEncoderLayer,
};
use gemmule::{Result, Tensor};

/// A net, and what it is trained on.
pub struct Net {
    pub layers: Sequential,
    pub data: Data,
    pub batch: usize,
    /// Samples that a pass goes through.
    pub pass: usize,
    /// The square of the bound of its weights, times a weight's inputs.
    gain: f64,
}

/// Samples in memory.
#[derive(Clone, Copy, Debug)]
pub enum Data {
    /// 20,480 of 28 x 28.
    Digits,
    /// 4,096 of 32 x 32 x 3.
    Images,
    /// 2,048 of 64 x 128.
    Sequences,
}

pub const NAMES: [&str; 6] =
    ["cnn_b64", "lenet_b64", "resnet8_b64", "lstm_b64", "gru_b64", "transformer_b32"];

/// The net of a workload.
pub fn find(name: &str) -> Option<Net> {
    let image = |dims: [usize; 3]| Sequential::new().with(Input::channels_last(&dims));
    let sequence = |dims: [usize; 2]| Sequential::new().with(Input::new(&dims));
    let digits = |layers: Sequential, pass: usize, gain: f64| Net {
        layers,
        data: Data::Digits,
        batch: 64,
        pass,
        gain,
    };
    // He's bound where there are ReLUs.
    let he = 6.0;
    Some(match name {
        "cnn_b64" => {
            let layers = image([28, 28, 1])
                .with(Conv2d::new(1, 32, 3))
                .with(Activation::Relu)
                .with(MaxPool2d::new(2))
                .with(Conv2d::new(32, 64, 3))
                .with(Activation::Relu)
                .with(MaxPool2d::new(2))
                .with(Flatten::new())
                .with(Dense::new(1600, 128))
                .with(Activation::Relu)
                .with(Dense::new(128, 10));
            digits(layers, 2_048, he)
        }
        "lenet_b64" => {
            let layers = image([28, 28, 1])
                .with(Conv2d::new(1, 6, 5).padding(2))
                .with(Activation::Relu)
                .with(MaxPool2d::new(2))
                .with(Conv2d::new(6, 16, 5))
                .with(Activation::Relu)
                .with(MaxPool2d::new(2))
                .with(Flatten::new())
                .with(Dense::new(400, 120))
                .with(Activation::Relu)
                .with(Dense::new(120, 84))
                .with(Activation::Relu)
                .with(Dense::new(84, 10));
            digits(layers, 8_192, he)
        }
        "resnet8_b64" => {
            let layers = image([32, 32, 3])
                .with(Conv2d::new(3, 16, 3).padding(1).without_bias())
                .with(BatchNorm2d::new(16))
                .with(Activation::Relu)
                .with(residual(16, 16))
                .with(residual(16, 32))
                .with(residual(32, 64))
                .with(GlobalAvgPool2d::new())
                .with(Flatten::new())
                .with(Dense::new(64, 10));
            Net { layers, data: Data::Images, batch: 64, pass: 512, gain: he }
        }
        "lstm_b64" => digits(
            sequence([28, 28]).with(Lstm::new(28, 128).return_sequences(false)).with(Dense::new(128, 10)),
            4_096,
            1.0,
        ),
        "gru_b64" => digits(
            sequence([28, 28]).with(Gru::new(28, 128).return_sequences(false)).with(Dense::new(128, 10)),
            4_096,
            1.0,
        ),
        "transformer_b32" => {
            let layers = sequence([64, 128])
                .with(TransformerEncoderLayer::new(128, 4).dim_feedforward(512).dropout(0.0))
                .with(Flatten::new())
                .with(Dense::new(8192, 10));
            Net { layers, data: Data::Sequences, batch: 32, pass: 512, gain: 1.0 }
        }
        _ => return None,
    })
}

/// A block of ResNet-8: with half the height and width where the channels change.
fn residual(inputs: usize, outputs: usize) -> Residual {
    let stride = if inputs == outputs { 1 } else { 2 };
    let body = Sequential::new()
        .with(Conv2d::new(inputs, outputs, 3).stride(stride).padding(1).without_bias())
        .with(BatchNorm2d::new(outputs))
        .with(Activation::Relu)
        .with(Conv2d::new(outputs, outputs, 3).padding(1).without_bias())
        .with(BatchNorm2d::new(outputs));
    let block = Residual::new(body).with_activation(Activation::Relu);
    if inputs == outputs {
        return block;
    }
    block.with_shortcut(
        Sequential::new()
            .with(Conv2d::new(inputs, outputs, 1).stride(stride).without_bias())
            .with(BatchNorm2d::new(outputs)),
    )
}

/// Gives the parameters the numbers of `parameters` in `layers_libraries.py`: from their names there, where the layer that says the
/// dimensions has no number.
pub fn begin(model: &mut Model<f32>, net: &Net) -> Result<()> {
    let all = model.parameters();
    let number = |name: &str| name.split('.').next().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let first = all.iter().map(|parameter| number(&parameter.name)).min().unwrap_or(0);
    for parameter in all {
        let (_, rest) = parameter.name.split_once('.').unwrap_or_default();
        let name = format!("{}.{rest}", number(&parameter.name) - first);
        let count: usize = parameter.shape.iter().product();
        let values = if parameter.shape.len() == 1 {
            vec![if name.ends_with("weight") { 1.0 } else { 0.0 }; count]
        } else {
            let inputs: usize = parameter.shape[1..].iter().product();
            let bound = (net.gain / inputs as f64).sqrt() as f32;
            fill(count, hash(&name)).into_iter().map(|x| x * bound).collect()
        };
        model.set_parameter(&parameter.name, &Tensor::from_vec(&parameter.shape, values)?)?;
    }
    Ok(())
}

/// FNV-1a of 32 bits.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

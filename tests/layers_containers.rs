//! Containers: residual blocks, branches, chains within chains; tables of models.

mod common;
#[path = "common/layers.rs"]
mod layers;

use gemmule::nn::{
    Activation, BatchNorm2d, Branches, Conv2d, Dense, Flatten, Input, Layer, Layers, Loss, Lstm, Model,
    Residual, SavedModel, Sequential, Spec,
};
use gemmule::optim::Sgd;
use gemmule::{Error, Tensor};

const CASES: &str = include_str!("golden/layers_containers.txt");

#[test]
fn they_are_those_of_pytorch() {
    let report = layers::check(CASES);
    assert_eq!(report.cases, 20);
}

#[test]
fn gradients_are_those_of_differences() {
    let smooth =
        |case: &layers::Case| !format!("{:?}", case.specs).contains("relu") && case.parameter_count() < 400;
    assert!(layers::check_differences(CASES, smooth) >= 8);
}

/// Features through a chain within a chain, a residual block and branches.
fn nested() -> Sequential {
    let body = Sequential::new().with(Dense::new(6, 9)).with(Activation::Tanh).with(Dense::new(9, 6));
    let one = Sequential::new().with(Dense::new(6, 4));
    let two = Sequential::new().with(Sequential::new().with(Dense::new(6, 5)).with(Activation::Relu));
    Sequential::new()
        .with(Sequential::new().with(Dense::new(3, 6)).with(Activation::Relu))
        .with(Residual::new(body).with_activation(Activation::Relu))
        .with(Branches::concatenate().with(one).with(two))
        .with(Dense::new(9, 2))
}

#[test]
fn names_are_those_of_modules() {
    let model = nested().build::<f32>(1).unwrap();
    let names: Vec<String> = model.parameters().into_iter().map(|p| p.name).collect();
    let layers = ["0.0", "1.body.0", "1.body.2", "2.branches.0.0", "2.branches.1.0.0", "3"];
    let expected: Vec<String> =
        layers.iter().flat_map(|layer| [format!("{layer}.weight"), format!("{layer}.bias")]).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_block_is_trained_or_frozen_as_one() {
    let mut model = nested().build::<f32>(1).unwrap();
    model.set_trainable(&["1.body"], false).unwrap();
    let frozen: Vec<String> = model
        .parameters()
        .into_iter()
        .map(|p| p.name)
        .filter(|name| !model.is_trainable(name).unwrap())
        .collect();
    assert_eq!(frozen, ["1.body.0.weight", "1.body.0.bias", "1.body.2.weight", "1.body.2.bias"]);
    model.set_trainable(&["1", "2.branches.1"], false).unwrap();
    assert!(!model.is_trainable("2.branches.1.0.0.bias").unwrap());
    assert!(model.is_trainable("2.branches.0.0.bias").unwrap());
}

#[test]
fn files_keep_them() {
    let mut model = nested().build::<f64>(7).unwrap();
    model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    let bytes = model.to_bytes().unwrap();
    let mut again = Model::<f64>::from_bytes(&bytes).unwrap();
    assert_eq!(again.specs(), model.specs());
    let x = gemmule::data::Dataset::from_values(
        Tensor::from_slice(&[2, 3], &[0.5_f64, -1.0, 2.0, 0.25, 0.0, -3.0]).unwrap(),
    )
    .unwrap();
    assert_eq!(again.predict(&x).unwrap().as_slice(), model.predict(&x).unwrap().as_slice());
}

/// A layer of one's own within a block.
#[derive(Debug)]
struct Mine;

impl Layer for Mine {
    fn describe(&self) -> String {
        "Mine".to_owned()
    }
    fn inputs(&self) -> Option<usize> {
        None
    }
    fn lower(
        &self,
        builder: &mut gemmule::nn::Builder,
        input: gemmule::nn::Value,
    ) -> gemmule::Result<gemmule::nn::Value> {
        builder.activation(input, Activation::Tanh)
    }
    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("mine"))
    }
}

#[test]
fn layers_of_ones_own_are_made_within_blocks() {
    let body = Sequential::new().with(Dense::new(3, 3)).with(Mine);
    let model = Sequential::new().with(Residual::new(body)).build::<f32>(0).unwrap();
    let bytes = model.to_bytes().unwrap();
    let error = Model::<f32>::from_bytes(&bytes).unwrap_err();
    assert!(error.to_string().contains("mine"), "{error}");
    let layers = Layers::new().with("mine", |_| Ok(Mine));
    let loaded = SavedModel::from_bytes(&bytes).unwrap().layers(layers).load::<f32>().unwrap();
    assert_eq!(loaded.specs(), model.specs());
}

fn refusal(net: &Sequential) -> String {
    let error = net.build::<f32>(0).unwrap_err();
    assert!(matches!(error, Error::Layer { .. } | Error::Argument { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn errors_name_the_layer_within() {
    let body = Sequential::new().with(Dense::new(6, 4)).with(Activation::Relu).with(Dense::new(5, 6));
    let net = Sequential::new().with(Dense::new(2, 6)).with(Residual::new(body));
    assert_eq!(
        refusal(&net),
        "layer 1.body.2 (Dense 5 -> 6): expected 5 features, got 4 from layer 1.body.0 (Dense 6 -> 4)"
    );
    let body = Sequential::new().with(Dense::new(7, 6));
    let net = Sequential::new().with(Dense::new(2, 6)).with(Residual::new(body));
    assert_eq!(
        refusal(&net),
        "layer 1.body.0 (Dense 7 -> 6): expected 7 features, got 6 from layer 0 (Dense 2 -> 6)"
    );
    let body = Sequential::new().with(Dense::new(6, 4));
    let net = Sequential::new().with(Dense::new(2, 6)).with(Residual::new(body));
    assert_eq!(
        refusal(&net),
        "layer 1 (Residual of 1 layers): expected a body that keeps 6, or a shortcut, got 4 from the body from layer 0 (Dense 2 -> 6)"
    );
    let image = || Sequential::new().with(Input::new(&[2, 5, 5]));
    let body = || Sequential::new().with(Conv2d::new(2, 3, 3));
    let shortcut = Sequential::new().with(Conv2d::new(2, 3, 1));
    let error = refusal(&image().with(Residual::new(body()).with_shortcut(shortcut)));
    assert!(error.contains("3 x 3 x 3 from the body, 3 x 5 x 5 from the shortcut"), "{error}");
    let error = refusal(&image().with(Branches::concatenate().with(body()).with(Sequential::new())));
    assert!(error.contains("3 x 3 x 3") && error.contains("2 x 5 x 5"), "{error}");
    for dim in [0, 4, -4] {
        let block = Branches::concatenate_along(dim).with(body()).with(body());
        let error = refusal(&image().with(block));
        assert!(error.contains("a dimension from 1 to 3 (the batch is 0)"), "{error}");
    }
    let error = refusal(&image().with(Branches::add()));
    assert!(error.contains("at least one branch"), "{error}");
    let body = Sequential::new().with(Conv2d::new(2, 3, 7));
    let error = refusal(&image().with(Sequential::new().with(Residual::new(body))));
    assert!(error.contains("layer 0.0.body.0 (Conv2d"), "{error}");
}

#[test]
fn tables_are_exact() {
    let body = Sequential::new()
        .with(Conv2d::new(4, 8, 3).stride(2).padding(1).without_bias())
        .with(BatchNorm2d::new(8));
    let shortcut = Sequential::new().with(Conv2d::new(4, 8, 1).stride(2));
    let net = Sequential::new()
        .with(Input::channels_last(&[6, 6, 4]))
        .with(Residual::new(body).with_shortcut(shortcut).with_activation(Activation::Relu))
        .with(Flatten::new())
        .with(Dense::new(72, 10));
    let table = net.summary::<f32>(5).unwrap();
    let model = net.build::<f32>(0).unwrap();
    assert_eq!(model.summary(5).unwrap(), table);
    let find =
        |what: &str| table.layers.iter().find(|layer| layer.description.starts_with(what)).unwrap().clone();
    let conv = find("Conv2d 4 -> 8");
    assert_eq!((conv.output.as_slice(), conv.trainable), (&[8, 3, 3][..], 8 * 4 * 9));
    assert_eq!((conv.multiply_adds, conv.activation_bytes), (3 * 3 * 8 * 4 * 9, 5 * 72 * 4));
    let norm = find("BatchNorm2d");
    assert_eq!((norm.trainable, norm.buffers, norm.multiply_adds), (16, 17, 0));
    // The sum and the activation.
    let block = find("Residual");
    assert_eq!(
        (block.output.as_slice(), block.trainable, block.activation_bytes),
        (&[8, 3, 3][..], 0, 2 * 5 * 72 * 4)
    );
    let flatten = find("Flatten");
    assert_eq!((flatten.output.as_slice(), flatten.activation_bytes), (&[72][..], 0));
    let total = table.total();
    assert_eq!(total.output, [10]);
    assert_eq!(total.trainable, model.parameter_count());
    assert_eq!(total.trainable, 8 * 4 * 9 + 16 + 4 * 8 + 8 + 730);
    assert_eq!(total.multiply_adds, 9 * 8 * 36 + 9 * 8 * 4 + 720);
    assert_eq!(table.parameter_bytes(), 4 * (total.trainable + 17));
    assert_eq!(net.summary::<f64>(5).unwrap().total().activation_bytes, 2 * total.activation_bytes);

    let text = table.to_string();
    let columns = |line: &str| line.chars().count();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[..lines.len() - 1].iter().all(|line| columns(line) == columns(lines[0])), "{text}");
    assert!(text.contains("Residual of 2 layers and a shortcut, relu "), "{text}");
    assert!(matches!(net.summary::<f32>(0), Err(Error::Argument { .. })));
}

#[test]
fn products_of_other_layers_are_counted() {
    let net = Sequential::new().with(Input::new(&[7, 3])).with(Lstm::new(3, 5)).with(Dense::new(5, 2));
    let of = |net: &Sequential| net.summary::<f32>(1).unwrap().total().multiply_adds;
    assert_eq!(of(&net), 7 * 20 * (3 + 5) + 7 * 5 * 2);
    let grouped = Sequential::new().with(Input::new(&[6, 5, 5])).with(Conv2d::new(6, 12, 3).groups(3));
    assert_eq!(of(&grouped), 9 * 12 * 2 * 9);
}

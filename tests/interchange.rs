//! Model files in both directions: what PyTorch wrote gives PyTorch's logits here; what is written here waits for PyTorch in
//! the folder that `ci/torch.sh` hands to `tests/golden/interchange.py check`.

use gemmule::data::{Dataset, read_safetensors, read_safetensors_from};
use gemmule::nn::{
    Activation, BatchNorm1d, BatchNorm2d, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, Dense, Dropout,
    Flatten, GroupNorm, Gru, Init, Input, InstanceNorm, Layer, LayerNorm, Loss, Lstm, Model, ModelFile,
    RmsNorm, Rnn, SavedModel, Sequential, Softmax, Strict,
};
use gemmule::optim::Sgd;
use gemmule::{Element, Tensor};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/interchange").join(name)
}

/// The inputs and the logits that belong to a file.
fn io<T: Element>(name: &str) -> (Tensor<T>, Tensor<T>) {
    let arrays = read_safetensors(golden(&format!("{name}.io.safetensors"))).unwrap();
    let find = |wanted: &str| {
        let (_, array) = arrays.iter().find(|(name, _)| name == wanted).unwrap();
        assert_eq!(array.dtype(), T::NAME);
        array.to_tensor::<T>().unwrap()
    };
    (find("inputs"), find("logits"))
}

fn predict<T: Element>(model: &mut Model<T>, x: &Tensor<T>) -> Tensor<T> {
    model.predict(&Dataset::from_values(x.clone()).unwrap()).unwrap()
}

#[track_caller]
fn same_logits<T: Element>(model: &mut Model<T>, x: &Tensor<T>, expected: &[T], limit: f64) {
    let got = predict(model, x);
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.as_slice().iter().zip(expected) {
        let error = (Element::to_f64(*got) - Element::to_f64(*expected)).abs();
        assert!(error <= limit, "{got} instead of {expected}");
    }
}

fn mlp() -> Sequential {
    Sequential::new()
        .with(Dense::new(6, 8))
        .with(Activation::Relu)
        .with(Dropout::new(0.5))
        .with(Dense::new(8, 5).without_bias())
        .with(Activation::Gelu)
        .with(Dense::new(5, 3))
}

fn norms() -> Sequential {
    Sequential::new()
        .with(Dense::new(6, 8))
        .with(BatchNorm1d::new(8))
        .with(Activation::Relu)
        .with(Dense::new(8, 5).without_bias())
        .with(LayerNorm::new(&[5]))
        .with(RmsNorm::new(&[5]).eps(1e-6))
        .with(Dense::new(5, 3))
}

fn images() -> Sequential {
    let conv = Conv2d::new(2, 4, [3, 2]).stride([2, 1]).padding([1, 0]).dilation([1, 2]).groups(2);
    let back = ConvTranspose2d::new(4, 6, [2, 3]).stride(2).padding([0, 1]).output_padding(1).groups(2);
    Sequential::new()
        .with(Input::new(&[2, 5, 5]))
        .with(conv)
        .with(BatchNorm2d::new(4))
        .with(Activation::Relu)
        .with(back.without_bias())
        .with(GroupNorm::new(3, 6))
        .with(Flatten::new())
        .with(Dense::new(6 * 7 * 6, 3))
}

fn channels() -> Sequential {
    Sequential::new()
        .with(Input::new(&[3, 8]))
        .with(Conv1d::new(3, 5, 4).stride(2).padding(1))
        .with(BatchNorm1d::new(5))
        .with(Activation::Tanh)
        .with(ConvTranspose1d::new(5, 2, 3).stride(2))
        .with(Flatten::new())
        .with(Dense::new(2 * 9, 3))
}

/// Of sequences of 5 steps of 3 features.
fn sequences() -> Sequential {
    Sequential::new().with(Input::new(&[5, 3]))
}

/// Those of `NETS` in the script.
fn nets() -> [(&'static str, Sequential); 8] {
    let lstm = Lstm::new(3, 4).num_layers(2).bidirectional().return_sequences(false);
    let gru = Gru::new(3, 4).num_layers(2).bidirectional();
    let rnn = Rnn::new(3, 4).num_layers(2).bidirectional().return_sequences(false).relu();
    let no_bias = Lstm::new(3, 8).without_bias().return_sequences(false);
    [
        ("mlp", mlp()),
        ("norms", norms()),
        ("images", images()),
        ("channels", channels()),
        ("lstm", sequences().with(lstm).with(Dense::new(8, 2))),
        ("gru", sequences().with(gru).with(Flatten::new()).with(Dense::new(40, 2))),
        ("rnn", sequences().with(rnn).with(Dense::new(8, 2))),
        ("no_bias", sequences().with(no_bias).with(Dense::new(8, 2))),
    ]
}

fn loads_torch<T: Element>(name: &str, net: &Sequential, limit: f64) {
    let name = format!("{name}_{}", T::NAME);
    let mut model = net.build::<T>(1).unwrap();
    let path = golden(&format!("{name}.safetensors"));
    let report = model.load_weights(&path, Strict::Yes).unwrap();
    assert!(report.is_exact());
    let (x, logits) = io::<T>(&name);
    same_logits(&mut model, &x, logits.as_slice(), limit);
    // Running statistics too; their count is an integer there.
    for buffer in model.buffers().iter().filter(|buffer| buffer.name.ends_with("num_batches_tracked")) {
        assert_eq!(model.parameter(&buffer.name).unwrap().as_slice(), [T::from_f64(123_456.0)]);
    }
    // And back: the same tensors, of the same bytes, as PyTorch saved.
    let saved = ModelFile::new(&model).weights_only().to_bytes().unwrap();
    let tensors = |bytes: &[u8]| {
        let mut arrays = read_safetensors_from(bytes).unwrap();
        arrays.sort_by(|a, b| a.0.cmp(&b.0));
        arrays
    };
    assert_eq!(tensors(&saved), tensors(&std::fs::read(&path).unwrap()), "{name}");
}

#[test]
fn weights_of_pytorch_give_its_logits_and_are_saved_as_it_saves_them() {
    for (name, net) in nets() {
        loads_torch::<f32>(name, &net, 2e-6);
        loads_torch::<f64>(name, &net, 1e-14);
    }
}

#[test]
fn weights_for_another_layer_are_refused_by_name_and_shape() {
    let refused = |net: Sequential, file: &str| {
        let mut model = net.build::<f32>(1).unwrap();
        let before = model.parameter("0.weight_hh_l0").unwrap();
        let error = model.load_weights(golden(file), Strict::Yes).unwrap_err().to_string();
        assert_eq!(model.parameter("0.weight_hh_l0").unwrap(), before, "{error}");
        error
    };
    let one_way = Lstm::new(3, 4).num_layers(2).return_sequences(false);
    let error = refused(sequences().with(one_way).with(Dense::new(4, 2)), "lstm_f32.safetensors");
    assert!(error.contains("got unexpected: "), "{error}");
    for expected in
        ["0.weight_hh_l1_reverse", "; 0.weight_ih_l1 is 16 x 8, not 16 x 4", "; 1.weight is 2 x 8, not 2 x 4"]
    {
        assert!(error.contains(expected), "{error}");
    }
    let with = |layer: Box<dyn Layer>| sequences().with(layer).with(Dense::new(8, 2));
    let error = refused(with(Box::new(Lstm::new(3, 8).return_sequences(false))), "no_bias_f32.safetensors");
    assert!(error.ends_with("got missing: 0.bias_ih_l0, 0.bias_hh_l0"), "{error}");
    let gru = Box::new(Gru::new(3, 8).without_bias().return_sequences(false));
    let error = refused(with(gru), "no_bias_f32.safetensors");
    let expected = "got 0.weight_ih_l0 is 32 x 3, not 24 x 3; 0.weight_hh_l0 is 32 x 8, not 24 x 8";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn half_precision_is_converted_if_asked_for() {
    for name in ["mlp_f16", "mlp_bf16"] {
        let path = golden(&format!("{name}.safetensors"));
        let mut model = mlp().build::<f32>(1).unwrap();
        let before = model.parameter("0.weight").unwrap();
        let error = model.load_weights(&path, Strict::Yes).unwrap_err().to_string();
        let dtype = name[4..].to_uppercase();
        let expected =
            format!(": safetensors: the type of \"0.weight\": expected F32 (or convert), got {dtype}");
        assert!(error.ends_with(&expected), "{error}");
        assert_eq!(model.parameter("0.weight").unwrap(), before);

        SavedModel::open(&path).unwrap().convert(true).load_weights(&mut model, Strict::Yes).unwrap();
        let (x, logits) = io::<f32>(name);
        same_logits(&mut model, &x, logits.as_slice(), 1e-6);
        // As arrays they are f32 too.
        let arrays = read_safetensors(&path).unwrap();
        let (_, weight) = arrays.iter().find(|(name, _)| name == "0.weight").unwrap();
        assert_eq!(weight.to_tensor::<f32>().unwrap(), model.parameter("0.weight").unwrap());
    }
}

#[test]
fn every_activation_agrees_under_names_of_modules() {
    let (x, logits) = io::<f32>("activations");
    let saved = SavedModel::open(golden("activations.safetensors")).unwrap();
    assert_eq!(saved.tensor_names().len(), 4 * Activation::ALL.len());
    // All nets are in one file: each finds its own.
    for activation in Activation::ALL {
        let net = Sequential::new().with(Dense::new(4, 3)).with(activation).with(Dense::new(3, 2));
        let mut model = net.build::<f32>(0).unwrap();
        let saved = SavedModel::open(golden("activations.safetensors")).unwrap();
        let saved = saved.rename(move |name| format!("nets.{}.{name}", activation.name()));
        let report = saved.load_weights(&mut model, Strict::No).unwrap();
        assert!(report.missing.is_empty() && report.mis_shaped.is_empty());
        assert_eq!(report.unexpected.len(), 4 * (Activation::ALL.len() - 1));
        // In the script's order.
        let order = [
            "identity",
            "exponential",
            "sigmoid",
            "tanh",
            "relu",
            "leaky_relu",
            "relu6",
            "elu",
            "selu",
            "celu",
            "softplus",
            "softsign",
            "hard_sigmoid",
            "hard_swish",
            "silu",
            "gelu",
            "gelu_tanh",
            "mish",
        ];
        let at = order.iter().position(|name| *name == activation.name()).unwrap();
        let mine: Vec<f32> = (0..5).flat_map(|i| logits.row(i)[2 * at..2 * at + 2].to_vec()).collect();
        same_logits(&mut model, &x, &mine, 1e-6);
    }
}

#[test]
fn modules_with_other_names_and_buffers() {
    let mut model = Sequential::new().with(Dense::new(4, 3)).build::<f32>(0).unwrap();
    let open = || SavedModel::open(golden("wrapped.safetensors")).unwrap();
    // `Flatten` is module 0 there; `steps` is a buffer of integers.
    let named = open().rename(|name| name.replacen("0.", "net.1.", 1));
    let report = named.load_weights(&mut model, Strict::No).unwrap();
    assert_eq!((report.missing.len(), report.unexpected), (0, vec!["steps".to_owned()]));
    let (x, logits) = io::<f32>("wrapped");
    same_logits(&mut model, &x, logits.as_slice(), 1e-6);
    let error = open().load_weights(&mut model, Strict::No).unwrap_err().to_string();
    assert!(
        error.ends_with("got missing: 0.weight, 0.bias; unexpected: steps, net.1.bias, net.1.weight"),
        "{error}"
    );
    let error = open().load::<f32>().unwrap_err().to_string();
    assert!(error.contains("the metadata: expected a description of the model"), "{error}");
}

/// Writes a model with inputs and the logits that it gives.
fn write<T: Element>(folder: &Path, name: &str, net: &Sequential) {
    let mut model = net.build::<T>(7).unwrap();
    let x: Vec<T> = (0..4 * model.inputs()).map(|i| T::from_f64((i % 13) as f64 / 4.0 - 1.5)).collect();
    let x = Tensor::from_vec(&[4, model.inputs()], x).unwrap();
    // Running statistics that are not those of the beginning.
    if !model.buffers().is_empty() {
        let targets = vec![T::from_f64(0.5); 4 * model.outputs()];
        let targets = Tensor::from_vec(&[4, model.outputs()], targets).unwrap();
        let data = Dataset::from_values(x.clone()).unwrap().with_values(targets).unwrap();
        model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
        for _ in 0..5 {
            model.step(&data, &[0, 1, 2, 3]).unwrap();
        }
    }
    let logits = predict(&mut model, &x);
    let wide = |tensor: &Tensor<T>| tensor.as_slice().iter().map(|&x| Element::to_f64(x)).collect::<Vec<_>>();
    let path = folder.join(format!("{name}.safetensors"));
    ModelFile::new(&model)
        .with_numbers("inputs", &wide(&x))
        .with_numbers("logits", &wide(&logits))
        .save(&path)
        .unwrap();
    let mut loaded = Model::<T>::load(&path).unwrap();
    assert_eq!(predict(&mut loaded, &x), logits);
}

#[test]
fn models_for_pytorch() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interchange");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, net) in nets() {
        write::<f32>(&folder, &format!("{name}_f32"), &net);
        write::<f64>(&folder, &format!("{name}_f64"), &net);
    }
    write::<f32>(&folder, "softmax", &Sequential::new().with(Dense::new(5, 4)).with(Softmax));
    let images = Sequential::new()
        .with(Input::new(&[6, 5, 4]))
        .with(BatchNorm2d::new(6).momentum(None))
        .with(Activation::Tanh)
        .with(GroupNorm::new(3, 6).eps(1e-3))
        .with(InstanceNorm::new(6).affine(true))
        .with(LayerNorm::new(&[5, 4]).bias(false));
    write::<f32>(&folder, "norms of images", &images);
    let options = [
        Activation::LeakyRelu { slope: 0.3 },
        Activation::Elu { alpha: 0.7 },
        Activation::Celu { alpha: 0.4 },
        Activation::Softplus { beta: 2.5 },
    ];
    for activation in Activation::ALL.into_iter().chain(options) {
        let first = Dense::new(4, 3).weight_init(Init::GlorotUniform);
        let net = Sequential::new().with(first).with(activation).with(Dense::new(3, 2));
        write::<f32>(&folder, &format!("with {activation}"), &net);
    }
    // What PyTorch saved with the same metadata is a model file too. `ci/torch.sh` says when there are such files.
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "torch") {
            let load = |path: &Path| SavedModel::open(path).unwrap().convert(true).load::<f64>().unwrap();
            let (theirs, ours) = (load(&path), load(&path.with_extension("safetensors")));
            assert_eq!(theirs.specs(), ours.specs());
            for info in ours.parameters().into_iter().chain(ours.buffers()) {
                assert_eq!(ours.parameter(&info.name).unwrap(), theirs.parameter(&info.name).unwrap());
            }
            seen += 1;
        }
    }
    let expected = std::env::var("GEMMULE_TORCH_FILES").map_or(0, |count| count.parse().unwrap());
    assert!(seen >= expected, "{seen} files of PyTorch's, not {expected}");
}

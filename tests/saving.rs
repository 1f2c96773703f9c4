//! Models come back from their files: parameters, layers, training, what is stored with them; errors say what is wrong.

use gemmule::data::{Dataset, load_safetensors, read_safetensors, read_safetensors_from};
use gemmule::nn::{
    Activation, Builder, Dense, Dropout, Init, Layer, Layers, Loss, Model, ModelFile, OptionValue,
    SavedModel, Sequential, Softmax, Spec, Strict, Value,
};
use gemmule::optim::{Adam, AdamW, Clip, Sgd};
use gemmule::{Context, Element, Error, Parallelism, Result, Tensor};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("saving-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn net() -> Sequential {
    Sequential::new()
        .with(Activation::Tanh)
        .with(Dense::new(4, 6).weight_init(Init::HeNormal).bias_init(Init::Constant(0.125)))
        .with(Activation::LeakyRelu { slope: 0.2 })
        .with(Dropout::new(0.3))
        .with(Dense::new(6, 3).without_bias())
        .with(Softmax)
}

fn samples<T: Element>() -> Dataset {
    let values: Vec<T> = (0..32).map(|i| T::from_f64((i * 7 % 19) as f64 / 8.0 - 1.0)).collect();
    let data = Dataset::from_values(Tensor::from_vec(&[8, 4], values).unwrap()).unwrap();
    data.with_classes((0..8).map(|i| i % 3).collect(), 3).unwrap()
}

fn equal<T: Element>(a: &Model<T>, b: &Model<T>) -> bool {
    a.parameters() == b.parameters()
        && a.parameters().iter().all(|info| {
            a.parameter(&info.name).unwrap().as_slice() == b.parameter(&info.name).unwrap().as_slice()
        })
}

/// A text in the place of another in the header of a file without a checksum.
fn edited(model: &Model<f32>, from: &str, to: &str) -> Vec<u8> {
    let bytes = model.to_bytes().unwrap();
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + size]).unwrap();
    assert!(header.contains(from), "{from} is not in {header}");
    let header = header.replace("gemmule.crc32", "without crc32").replace(from, to);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + size..]].concat()
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    match Model::<f32>::from_bytes(bytes) {
        Ok(_) => panic!("it loads; expected {expected}"),
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("(bytes): ") && error.contains(expected), "{error}");
        }
    }
}

fn comes_back<T: Element>(name: &str) {
    let folder = Folder::new(name);
    let path = folder.path("model.safetensors");
    let mut model = net().build::<T>(3).unwrap();
    let data = samples::<T>();
    let expected = model.predict(&data).unwrap();
    model.save(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), model.to_bytes().unwrap());
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    for mut loaded in [
        Model::<T>::load(&path).unwrap(),
        Model::load_with(context, &path).unwrap(),
        Model::from_bytes(&fs::read(&path).unwrap()).unwrap(),
    ] {
        assert!(equal(&model, &loaded));
        assert_eq!(loaded.specs(), model.specs());
        assert_eq!((loaded.inputs(), loaded.outputs(), loaded.loss()), (4, 3, None));
        assert_eq!(loaded.predict(&data).unwrap(), expected);
        // The same file again, to the byte.
        assert_eq!(loaded.to_bytes().unwrap(), model.to_bytes().unwrap());
    }
    let loaded = Model::<T>::load_with(context, &path).unwrap();
    assert_eq!(loaded.context().parallelism(), Parallelism::Serial);
}

#[test]
fn models_come_back() {
    comes_back::<f32>("f32");
    comes_back::<f64>("f64");
}

/// Trained on, a loaded model takes the steps of the one that was saved before it began: dropout has its seed.
#[test]
fn training_comes_back() {
    let compile = |model: &mut Model<f32>| {
        model
            .compile(Loss::CrossEntropy, AdamW { learning_rate: 0.01, beta1: 0.8, ..AdamW::default() })
            .unwrap();
        model
            .parameter_group(&["1.bias"], Sgd { learning_rate: 0.5, momentum: 0.9, ..Sgd::default() })
            .unwrap();
        model.parameter_group(&["4"], Adam { learning_rate: 0.02, ..Adam::default() }).unwrap();
        model.clip_gradients(Clip::Norm(0.75)).unwrap();
        model.check_gradients(true);
    };
    let data = samples::<f32>();
    let mut model = net().build::<f32>(3).unwrap();
    compile(&mut model);
    let mut loaded = Model::<f32>::from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert_eq!(loaded.loss(), Some(Loss::CrossEntropy));
    let rates = |model: &Model<f32>| [0, 1, 2, 3].map(|group| model.group_learning_rate(group));
    assert_eq!(rates(&loaded), [Some(0.01), Some(0.5), Some(0.02), None]);
    for _ in 0..5 {
        let (a, b) = (model.step(&data, &[0, 1, 2, 3, 4]), loaded.step(&data, &[0, 1, 2, 3, 4]));
        assert_eq!(a.unwrap().to_bits(), b.unwrap().to_bits());
        assert!(equal(&model, &loaded));
    }
    // Groups keep their ratio.
    loaded.set_learning_rate(0.02).unwrap();
    assert_eq!(rates(&loaded), [Some(0.02), Some(1.0), Some(0.04), None]);
    // Probabilities need the loss.
    assert_eq!(loaded.predict_proba(&data).unwrap(), model.predict_proba(&data).unwrap());

    let mut model = net().build::<f32>(3).unwrap();
    model.set_trainable(&["1.weight"], false).unwrap();
    let loaded = Model::<f32>::from_bytes(&model.to_bytes().unwrap()).unwrap();
    assert!(!loaded.is_trainable("1.weight").unwrap() && loaded.is_trainable("1.bias").unwrap());
}

#[test]
fn numbers_and_texts_come_back_with_their_bits() {
    let model = net().build::<f64>(0).unwrap();
    let numbers = [0.1, -0.0, 1.0 / 3.0, 5e-324, f64::MAX, 1e16];
    let text = "two\nlines, \"quotes\" \\ and é😀\u{1}";
    let file = ModelFile::new(&model).with_numbers("a \"name\"", &[1.0]).with_numbers("a \"name\"", &numbers);
    let file = file.with_numbers("empty", &[]).with_text("note", "old").with_text("note", text);
    let bytes = file.to_bytes().unwrap();
    let saved = SavedModel::from_bytes(&bytes).unwrap();
    let back = saved.numbers("a \"name\"").unwrap().unwrap();
    let back: Vec<_> = back.into_iter().map(f64::to_bits).collect();
    assert_eq!(back, numbers.map(f64::to_bits));
    assert_eq!(saved.numbers("empty").unwrap(), Some(vec![]));
    assert_eq!(saved.numbers("note").unwrap(), None);
    assert_eq!(saved.text("note").unwrap().as_deref(), Some(text));
    assert!(equal(&saved.load::<f64>().unwrap(), &model));
    let bad = ModelFile::new(&model).with_numbers("mean", &[1.0, f64::NAN]).to_bytes().unwrap_err();
    assert_eq!(bad.to_string(), "save: numbers: expected finite ones, got NaN in mean");
    // Without a description there is no place for them.
    let bytes = file.weights_only().to_bytes().unwrap();
    let saved = SavedModel::from_bytes(&bytes).unwrap();
    assert_eq!((saved.text("note").unwrap(), saved.specs().unwrap()), (None, None));
}

#[derive(Debug)]
struct Mine {
    described: Option<Spec>,
}

impl Layer for Mine {
    fn describe(&self) -> String {
        "Mine".to_owned()
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        builder.activation(input, Activation::Sigmoid)
    }

    fn spec(&self) -> Option<Spec> {
        self.described.clone()
    }
}

fn with_mine(described: Option<Spec>) -> Model<f32> {
    Sequential::new().with(Dense::new(2, 2)).with(Mine { described }).build::<f32>(0).unwrap()
}

#[test]
fn layers_of_ones_own() {
    // One that does not describe itself: the weights alone are saved.
    let folder = Folder::new("own");
    let model = with_mine(None);
    let error = model.save(folder.path("model")).unwrap_err().to_string();
    let expected =
        "save: layer: expected layers that describe themselves (Layer::spec), or save_weights, got 1 (Mine)";
    assert_eq!(error, expected);
    assert!(!folder.path("model").exists());
    model.save_weights(folder.path("model")).unwrap();
    let mut other = with_mine(None);
    other.load_weights(folder.path("model"), Strict::Yes).unwrap();
    assert!(equal(&model, &other));
    let error = Model::<f32>::load(folder.path("model")).unwrap_err().to_string();
    assert!(error.contains("expected a description of the model; parameters alone are loaded"), "{error}");

    // One that does, with every type of option.
    let spec = Spec::new("mine")
        .with("flag", true)
        .with("count", -3)
        .with("scale", 2.0)
        .with("name", "a\"b")
        .with("numbers", vec![0.5, 1.0])
        .with("inner", Spec::new("part").with("deep", Spec::new("er")));
    let model = with_mine(Some(spec.clone()));
    let bytes = model.to_bytes().unwrap();
    refused(
        &bytes,
        "layer 1: expected something that can be made, got Layers: kind: expected one of identity, ",
    );
    let (layers, expected) = (Layers::new(), spec.clone());
    let layers = layers.with("mine", move |spec| {
        assert_eq!(*spec, expected);
        assert!(spec.flag("flag")?);
        assert_eq!((spec.integer("count")?, spec.number("scale")?, spec.text("name")?), (-3, 2.0, "a\"b"));
        assert_eq!((spec.numbers("numbers")?, spec.spec("inner")?.kind.as_str()), (&[0.5, 1.0][..], "part"));
        Ok(Mine { described: Some(spec.clone()) })
    });
    let saved = SavedModel::from_bytes(&bytes).unwrap();
    assert_eq!(saved.specs().unwrap().unwrap()[1], spec);
    assert!(equal(&saved.layers(layers).load::<f32>().unwrap(), &model));
    // What its maker refuses names the layer.
    let layers = Layers::new().with("mine", |spec| spec.number("missing").map(|_| Mine { described: None }));
    let error = SavedModel::from_bytes(&bytes).unwrap().layers(layers).load::<f32>().unwrap_err().to_string();
    let expected = "layer 1: expected something that can be made, got Spec: option: expected a number called missing in \
                    mine, got nothing";
    assert!(error.ends_with(expected), "{error}");

    for (value, expected) in [
        (OptionValue::from(f64::INFINITY), "1 (Mine) with the option x with the number inf"),
        (vec![f64::NAN].into(), "1 (Mine) with the option x with the number NaN"),
        ("x".repeat(70_000).into(), "1 (Mine) with options of more than 65536 bytes"),
    ] {
        let error = with_mine(Some(Spec::new("mine").with("x", value))).to_bytes().unwrap_err().to_string();
        assert_eq!(error, format!("save: layer: expected options that JSON holds, got {expected}"));
    }
}

#[test]
fn descriptions_that_make_no_model_are_refused() {
    let mut model = net().build::<f32>(0).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    refused(
        &edited(&model, r#"\"version\":1"#, r#"\"version\":2"#),
        "version: expected 1; a later gemmule wrote others, got 2",
    );
    refused(
        &edited(&model, r#"\"seed\":0"#, r#"\"seed\":0,\"more\":1"#),
        "the description: expected keys of this version, got \"more\"",
    );
    refused(&edited(&model, r#"\"seed\":0"#, r#"\"seed\":0,\"seed\":0"#), "no key twice, got \"seed\"");
    refused(&edited(&model, r#"\"seed\":0,"#, ""), "expected the key seed, got none");
    refused(&edited(&model, r#"\"seed\":0"#, r#"\"seed\":-1"#), "an integer from 0 to 2^64 - 1, got \"-1\"");
    refused(&edited(&model, r#"\"inputs\":4,\"seed"#, r#"\"inputs\":5,\"seed"#), "inputs: expected 4, got 5");
    refused(&edited(&model, r#"\"kind\":\"tanh\""#, r#"\"kind\":\"tan\""#), "layer 0: ");
    refused(&edited(&model, r#"\"rate\":0.3"#, r#"\"rat\":0.3"#), "layer 3: ");
    refused(&edited(&model, r#"\"rate\":0.3"#, r#"\"rate\":0.3,\"x\":1"#), "expected rate in dropout, got x");
    refused(&edited(&model, r#"\"kind\":\"adam\""#, r#"\"kind\":\"madam\""#), "optimiser 0: ");
    refused(&edited(&model, r#"\"cross_entropy\""#, r#"\"crossing\""#), "loss: ");
    refused(&edited(&model, r#"\"clip\":{\"kind\":\"off\""#, r#"\"clip\":{\"kind\":\"on\""#), "clip: ");
    refused(
        &edited(&model, r#"\"element\":\"f32\""#, r#"\"element\":\"f16\""#),
        "expected f32 (or convert), got f16",
    );
    // Larger layers than the file has parameters for: nothing is allocated.
    let wide = edited(&model, r#"\"outputs\":6"#, r#"\"outputs\":6000000000000"#);
    assert!(Model::<f32>::from_bytes(&wide).is_err());
    let wide = edited(&model, r#"\"inputs\":6,\"outputs\":3"#, r#"\"inputs\":6,\"outputs\":3000000000"#);
    refused(
        &wide,
        "expected the model's parameters, each in its shape, got 4.weight is 3 x 6, not 3000000000 x 6",
    );
    // The other way: the file says so and does not have it.
    let tensor = r#""shape":[3, 6],"data_offsets":[120,192]"#;
    refused(
        &edited(&model, tensor, r#""shape":[3,7],"data_offsets":[120,192]"#),
        "data_offsets of \"4.weight\": expected 84 bytes",
    );
    refused(
        &edited(&model, tensor, r#""shape":[3,7],"data_offsets":[120,204]"#),
        "the tensors' bytes: expected 204 bytes",
    );
    let ninety = format!("\\\"layers\\\":[{}", r#"{\"kind\":\"relu\",\"options\":{}},"#.repeat(5000));
    refused(&edited(&model, r#"\"layers\":["#, &ninety), "layers: expected at most ");
}

#[test]
fn what_does_not_fit_is_reported() {
    let folder = Folder::new("report");
    let path = folder.path("weights");
    let source = Sequential::new().with(Dense::new(4, 6)).with(Dense::new(6, 3)).with(Dense::new(3, 2));
    let source = source.build::<f32>(5).unwrap();
    source.save_weights(&path).unwrap();
    let target = Sequential::new().with(Dense::new(4, 6)).with(Dense::new(6, 5)).with(Activation::Relu);
    let mut model = target.with(Dense::new(5, 2)).build::<f32>(6).unwrap();
    let untouched = model.parameter("3.bias").unwrap();
    let error = model.load_weights(&path, Strict::Yes).unwrap_err().to_string();
    let expected = "safetensors: the tensors: expected the model's parameters, each in its shape, got missing: 3.weight, \
                    3.bias; unexpected: 2.weight, 2.bias; 1.weight is 3 x 6, not 5 x 6; 1.bias is 3, not 5";
    assert_eq!(error, format!("{}: {expected}", path.display()));
    assert_ne!(model.parameter("0.weight").unwrap(), source.parameter("0.weight").unwrap());
    let report = model.load_weights(&path, Strict::No).unwrap();
    assert_eq!(report.missing, ["3.weight", "3.bias"]);
    assert_eq!(report.unexpected, ["2.weight", "2.bias"]);
    let shapes: Vec<_> = report.mis_shaped.iter().map(|it| (&*it.name, &*it.expected, &*it.got)).collect();
    assert_eq!(shapes, [("1.weight", &[5, 6][..], &[3, 6][..]), ("1.bias", &[5], &[3])]);
    assert_eq!(model.parameter("0.weight").unwrap(), source.parameter("0.weight").unwrap());
    assert_eq!(model.parameter("3.bias").unwrap(), untouched);
    // Loading nothing at all is no success, however lenient.
    let mut other = Sequential::new().with(Dense::new(7, 7)).build::<f32>(0).unwrap();
    let error = other.load_weights(&path, Strict::No).unwrap_err().to_string();
    assert!(error.contains("0.weight is 6 x 4, not 7 x 7"), "{error}");
}

#[test]
fn parameters_that_are_not_finite_are_neither_written_nor_read() {
    let model = Sequential::new().with(Dense::new(2, 2)).build::<f64>(0).unwrap();
    let mut bytes = ModelFile::new(&model).weights_only().to_bytes().unwrap();
    let at = bytes.len() - 3 * 8;
    bytes[at..at + 8].copy_from_slice(&f64::INFINITY.to_le_bytes());
    let mut other = Sequential::new().with(Dense::new(2, 2)).build::<f64>(1).unwrap();
    let before = other.to_bytes().unwrap();
    let error = SavedModel::from_bytes(&bytes).unwrap().load_weights(&mut other, Strict::Yes).unwrap_err();
    assert!(matches!(error, Error::NonFinite { index: 3, .. }), "{error}");
    assert_eq!(error.to_string(), "step 0: parameter of 0.weight in (bytes): element 3 is inf");
    assert_eq!(other.to_bytes().unwrap(), before, "nothing is changed");
    // Finite as f64, not as f32.
    bytes[at..at + 8].copy_from_slice(&1e300_f64.to_le_bytes());
    let mut single = Sequential::new().with(Dense::new(2, 2)).build::<f32>(1).unwrap();
    let saved = SavedModel::from_bytes(&bytes).unwrap().convert(true);
    let error = saved.load_weights(&mut single, Strict::Yes).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
}

#[test]
fn an_old_file_is_replaced_whole() {
    let folder = Folder::new("replace");
    let path = folder.path("model");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let model = net().build::<f32>(0).unwrap();
    model.save(&path).unwrap();
    assert!(equal(&Model::load(&path).unwrap(), &model));
    // A model that was loaded from the file is saved over it.
    let loaded = Model::<f32>::load(&path).unwrap();
    loaded.save(&path).unwrap();
    assert!(equal(&Model::load(&path).unwrap(), &model));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no temporary file is left");
    let nowhere = folder.path("no/such/folder");
    let error = model.save(&nowhere).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error}");
    for missing in [folder.path("none"), folder.0.clone()] {
        let error = Model::<f32>::load(&missing).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if *path == missing), "{error}");
    }
}

#[test]
fn tensors_become_data_sets() {
    let folder = Folder::new("data");
    let path = folder.path("data.safetensors");
    let header = r#"{"y":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},"x":{"dtype":"U8","shape":[2,3],"data_offsets":[16,22]},"z":{"dtype":"I32","shape":[1],"data_offsets":[22,26]},"n":{"dtype":"F64","shape":[0,2],"data_offsets":[26,26]}}"#;
    let mut bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    bytes.extend([1_i64, 0].iter().flat_map(|y| y.to_le_bytes()));
    bytes.extend([1, 2, 3, 4, 5, 6]);
    bytes.extend((-5_i32).to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let arrays = read_safetensors(&path).unwrap();
    let shapes: Vec<_> = arrays.iter().map(|(name, it)| (name.as_str(), it.dtype(), it.shape())).collect();
    assert_eq!(
        shapes,
        [("y", "i64", &[2][..]), ("x", "u8", &[2, 3]), ("z", "i32", &[1]), ("n", "f64", &[0, 2])]
    );
    assert_eq!(arrays[2].1.to_tensor::<f64>().unwrap().as_slice(), [-5.0]);
    let data = load_safetensors(&path, "x", "y", None).unwrap();
    assert_eq!((data.bytes(1), data.class(0), data.class(1)), (Some(&[4, 5, 6][..]), Some(1), Some(0)));
    let error = load_safetensors(&path, "x", "t", None).unwrap_err().to_string();
    assert!(error.ends_with("safetensors: the tensors: expected one called t, got none"), "{error}");
    let bools = header.replace("U8", "I8");
    bytes.splice(8..8 + header.len(), bools.bytes());
    let error = read_safetensors_from(&bytes).unwrap_err().to_string();
    let expected =
        "(bytes): safetensors: the type of \"x\": expected F64, F32, F16, BF16, I64, I32 or U8, got I8";
    assert_eq!(error, expected);
}

#[cfg(feature = "npz")]
#[test]
fn parameters_go_to_numpy() {
    let folder = Folder::new("npz");
    let path = folder.path("weights.npz");
    let model = net().build::<f64>(2).unwrap();
    model.save_npz(&path).unwrap();
    let arrays = gemmule::data::read_npz(&path).unwrap();
    let names: Vec<_> = arrays.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["1.weight", "1.bias", "4.weight"]);
    for (name, array) in &arrays {
        assert_eq!(array.dtype(), "f64");
        assert_eq!(array.to_tensor::<f64>().unwrap(), model.parameter(name).unwrap());
    }
    let nowhere = folder.path("none/weights.npz");
    let error = model.save_npz(&nowhere).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == nowhere), "{error}");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

/// The seeds of the fuzzer come from Python's `json.dumps`: what another program writes by the description is a model.
#[test]
fn files_of_other_programs_are_models() {
    let seed = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/safetensors").join(name);
    for (name, layers) in [("model", 3), ("trained", 3), ("layers", 3)] {
        let model = Model::<f32>::load(seed(name)).unwrap();
        assert_eq!(model.specs().len(), layers);
        assert!(equal(&Model::from_bytes(&model.to_bytes().unwrap()).unwrap(), &model));
    }
    let saved = SavedModel::open(seed("trained")).unwrap();
    let model = saved.load::<f32>().unwrap();
    assert_eq!((model.loss(), model.group_learning_rate(1)), (Some(Loss::MeanSquaredError), Some(0.1)));
    assert!(!model.is_trainable("2.weight").unwrap());
    assert_eq!(saved.numbers("mean").unwrap(), Some(vec![0.5, 0.001]));
    assert_eq!(saved.text("note").unwrap().as_deref(), Some("a\nb"));
}

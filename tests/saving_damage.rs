//! Every prefix and every flip of one bit of small files: an error or the same model, never a panic, never other numbers.

use gemmule::data::read_safetensors_from;
use gemmule::nn::{Activation, Dense, Dropout, Loss, Model, ModelFile, SavedModel, Sequential, Strict};
use gemmule::optim::Sgd;
use std::path::Path;

const CHECKSUM_KEY: &[u8] = b"gemmule.crc32";

fn net() -> Sequential {
    Sequential::new()
        .with(Dense::new(3, 2))
        .with(Activation::Elu { alpha: 0.5 })
        .with(Dropout::new(0.25))
        .with(Dense::new(2, 2).without_bias())
}

fn file() -> Vec<u8> {
    let mut model = net().build::<f32>(1).unwrap();
    model.compile(Loss::MeanSquaredError, Sgd::default()).unwrap();
    model.set_trainable(&["3"], false).unwrap();
    ModelFile::new(&model).with_numbers("mean", &[0.5, 1.5]).to_bytes().unwrap()
}

fn weights() -> Vec<u8> {
    ModelFile::new(&net().build::<f32>(1).unwrap()).weights_only().to_bytes().unwrap()
}

/// Everything that reads such bytes; true if the model that is described in them is there.
fn read(bytes: &[u8]) -> bool {
    let _ = read_safetensors_from(bytes);
    if let Ok(saved) = SavedModel::from_bytes(bytes) {
        let _ = (saved.tensor_names(), saved.specs(), saved.numbers("mean"), saved.text("mean"));
        let mut model = net().build::<f32>(2).unwrap();
        let before = model.to_bytes().unwrap();
        if saved.load_weights(&mut model, Strict::No).is_err() {
            assert_eq!(model.to_bytes().unwrap(), before, "nothing is changed by what is refused");
        }
    }
    Model::<f32>::from_bytes(bytes).is_ok()
}

#[test]
fn prefixes_and_longer_files_are_refused() {
    for bytes in [file(), weights()] {
        for len in 0..bytes.len() {
            assert!(!read(&bytes[..len]), "{len} bytes of {}", bytes.len());
            assert!(SavedModel::from_bytes(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(!read(&longer) && SavedModel::from_bytes(&longer).is_err());
    }
}

/// The only flips that are not refused are those of the checksum's name: then there is none, and all else is as it was.
#[test]
fn flips_are_refused() {
    let original = file();
    let expected = Model::<f32>::from_bytes(&original).unwrap().to_bytes().unwrap();
    let key = original.windows(CHECKSUM_KEY.len()).position(|it| it == CHECKSUM_KEY).unwrap();
    let mut bytes = original.clone();
    let mut loaded = 0;
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if read(&bytes) {
            assert!((key..key + CHECKSUM_KEY.len()).contains(&(bit / 8)), "bit {bit}");
            let model = Model::<f32>::from_bytes(&bytes).unwrap();
            assert_eq!(model.to_bytes().unwrap(), expected, "bit {bit}");
            loaded += 1;
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!((50..8 * CHECKSUM_KEY.len()).contains(&loaded), "{loaded}");
}

#[test]
fn flips_in_weights_are_refused() {
    let original = weights();
    let mut expected = net().build::<f32>(2).unwrap();
    SavedModel::from_bytes(&original).unwrap().load_weights(&mut expected, Strict::Yes).unwrap();
    let expected = expected.to_bytes().unwrap();
    let mut bytes = original.clone();
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(saved) = SavedModel::from_bytes(&bytes) {
            let mut model = net().build::<f32>(2).unwrap();
            if saved.load_weights(&mut model, Strict::Yes).is_ok() {
                assert_eq!(model.to_bytes().unwrap(), expected, "bit {bit}");
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// PyTorch's have no checksum: a flip among the weights is another number, but nothing panics.
#[test]
fn files_of_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/interchange");
    for name in ["mlp_f16.safetensors", "wrapped.safetensors", "mlp_f32.io.safetensors"] {
        let original = std::fs::read(folder.join(name)).unwrap();
        for len in 0..original.len() {
            assert!(SavedModel::from_bytes(&original[..len]).is_err());
            assert!(read_safetensors_from(&original[..len]).is_err());
        }
        let mut bytes = original.clone();
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!read(&bytes), "it has no description");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// What the package safetensors says of good and bad headers, except where it lets pass what its own format forbids.
#[test]
fn headers_as_the_format_says() {
    // Of two of one name it takes the last.
    const STRICTER: [&str; 6] = [
        "space before",
        "name twice, same bytes",
        "name twice by an escape",
        "metadata null",
        "key of metadata twice",
        "many dimensions",
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/interchange/headers.txt");
    let lines = std::fs::read_to_string(path).unwrap();
    let mut seen = 0;
    for line in lines.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let [name, verdict, data, hex] = fields[..] else { panic!("{line}") };
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let header: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let mut bytes = [&(header.len() as u64).to_le_bytes()[..], &header].concat();
        bytes.resize(bytes.len() + data.parse::<usize>().unwrap(), 0);
        let good = SavedModel::from_bytes(&bytes).is_ok();
        assert_eq!(good, verdict == "good" && !STRICTER.contains(&name), "{name}");
        seen += 1;
    }
    assert!(seen > 70, "{seen}");
}

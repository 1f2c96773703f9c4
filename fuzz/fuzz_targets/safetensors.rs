#![no_main]

use gemmule::data::read_safetensors_from;
use gemmule::nn::{Activation, Dense, Model, SavedModel, Sequential, Strict};
use libfuzzer_sys::fuzz_target;

// A model that loads is saved and loads again as the same; one that refuses weights keeps its own.
fuzz_target!(|data: &[u8]| {
    let _ = read_safetensors_from(data);
    let Ok(saved) = SavedModel::from_bytes(data) else { return };
    let _ = (saved.specs(), saved.numbers("mean"), saved.text("note"));
    let net = Sequential::new().with(Dense::new(2, 2)).with(Activation::Relu).with(Dense::new(2, 1));
    let mut model = net.build::<f32>(0).unwrap();
    let before = model.to_bytes().unwrap();
    if saved.load_weights(&mut model, Strict::No).is_err() {
        assert_eq!(model.to_bytes().unwrap(), before);
    }
    if let Ok(model) = saved.load::<f32>() {
        let bytes = model.to_bytes().unwrap();
        assert_eq!(Model::<f32>::from_bytes(&bytes).unwrap().to_bytes().unwrap(), bytes);
    }
});

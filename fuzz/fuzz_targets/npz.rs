#![no_main]

use gemmule::data::Npz;
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = Npz::from_reader(Cursor::new(data)) {
        let mut file = file.limit(1 << 20);
        let names: Vec<_> = file.names().map(str::to_owned).collect();
        for name in names {
            if let Ok(array) = file.read(&name) {
                assert_eq!(array.shape().iter().product::<usize>(), array.len());
            }
        }
    }
});

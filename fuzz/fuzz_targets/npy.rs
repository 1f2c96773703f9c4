#![no_main]

use gemmule::data::{read_npy_from, write_npy_to};
use libfuzzer_sys::fuzz_target;

// What is read is written, and read as the same.
fuzz_target!(|data: &[u8]| {
    if let Ok(array) = read_npy_from(data) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        write_npy_to(&mut first, &array).unwrap();
        write_npy_to(&mut second, &read_npy_from(&first[..]).unwrap()).unwrap();
        assert_eq!(first, second);
    }
});

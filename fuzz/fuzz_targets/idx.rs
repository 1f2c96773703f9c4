#![no_main]

use gemmule::data::read_idx_from;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(array) = read_idx_from(data, 1 << 20) {
        assert_eq!(array.shape.iter().product::<usize>(), array.bytes.len());
    }
});

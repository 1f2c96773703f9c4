#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| assert_ne!(data.first(), Some(&b'!')));

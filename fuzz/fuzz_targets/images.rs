#![no_main]

use gemmule::data::ImageFolder;
use libfuzzer_sys::fuzz_target;

// The first byte chooses colours and size, the rest is the file.
fuzz_target!(|data: &[u8]| {
    let Some((&choice, file)) = data.split_first() else { return };
    let grey = choice & 1 != 0;
    let size = (usize::from(choice >> 1) / 8, usize::from(choice >> 1) % 8);
    let mut reader = ImageFolder::new("").limit(1 << 20);
    if grey {
        reader = reader.grey();
    }
    if size.0 != 0 {
        reader = reader.resize(size.0, size.1);
    }
    if let Ok((height, width, pixels)) = reader.read_image(file) {
        assert_eq!(pixels.len(), height * width * if grey { 1 } else { 3 });
    }
});

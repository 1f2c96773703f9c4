#![no_main]

use gemmule::data::{Csv, Missing};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

// The first byte chooses options, the rest is the file.
fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else { return };
    let rules = [
        Missing::Error,
        Missing::DropRow,
        Missing::Mean,
        Missing::Median,
        Missing::MostFrequent,
        Missing::Constant(1.0),
    ];
    let mut csv = Csv::new("").header(choice & 1 == 0).missing(rules[usize::from(choice >> 1) % rules.len()]).limit(1 << 20);
    match choice >> 5 {
        0 | 1 => csv = csv.label(-1),
        2 => csv = csv.targets([0, -1]),
        3 => csv = csv.label("y").quote(None),
        4 => csv = csv.delimiter(b';').comment(Some(b'#')),
        _ => {}
    }
    if let Ok(table) = csv.read_from(Cursor::new(text)) {
        assert_eq!(table.features.len(), table.dataset.features());
        let again = csv.clone().like(&table).read_from(Cursor::new(text));
        assert_eq!(again.unwrap().dataset.len(), table.dataset.len());
    }
});

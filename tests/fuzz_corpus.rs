//! The corpus of the fuzz targets, and seeded changes of it, through every reader: nothing panics. `ci/fuzz.sh` fuzzes for real;
//! `GEMMULE_CHANGES=10000000` tries that many for each format here.
#![cfg(all(feature = "csv", feature = "npz", feature = "image"))]

use gemmule::data::{Csv, ImageFolder, Missing, Npz, read_idx_from, read_npy_from, read_safetensors_from};
use gemmule::nn::{Model, SavedModel};
use gemmule::rng::Rng;
use std::fs;
use std::io::Cursor;
use std::path::Path;

/// What must hold of what is read; true if something was.
type Reader = fn(&[u8]) -> bool;

fn idx(data: &[u8]) -> bool {
    let read = read_idx_from(data, 1 << 20);
    read.is_ok_and(|array| array.shape.iter().product::<usize>() == array.bytes.len())
}

fn csv(data: &[u8]) -> bool {
    let Some((&choice, text)) = data.split_first() else { return false };
    let missing =
        [Missing::Error, Missing::DropRow, Missing::Mean, Missing::Median][usize::from(choice >> 1) % 4];
    let csv = Csv::new("").header(choice & 1 == 0).missing(missing).limit(1 << 20);
    csv.read_from(Cursor::new(text)).is_ok_and(|table| table.features.len() == table.dataset.features())
}

fn npy(data: &[u8]) -> bool {
    read_npy_from(data).is_ok_and(|array| array.shape().iter().product::<usize>() == array.len())
}

fn npz(data: &[u8]) -> bool {
    let Ok(file) = Npz::from_reader(Cursor::new(data)) else { return false };
    let mut file = file.limit(1 << 20);
    let names: Vec<_> = file.names().map(str::to_owned).collect();
    names.iter().filter(|name| file.read(name).is_ok()).count() > 0
}

fn images(data: &[u8]) -> bool {
    let Some((&choice, file)) = data.split_first() else { return false };
    let reader = ImageFolder::new("").limit(1 << 20);
    let reader = if choice & 1 != 0 { reader.grey() } else { reader };
    reader.read_image(file).is_ok()
}

fn safetensors(data: &[u8]) -> bool {
    let read = read_safetensors_from(data).is_ok();
    if let Ok(model) = SavedModel::from_bytes(data).and_then(|saved| saved.load::<f32>()) {
        let bytes = model.to_bytes().unwrap();
        assert_eq!(Model::<f32>::from_bytes(&bytes).unwrap().to_bytes().unwrap(), bytes);
    }
    read
}

/// One change: some bits, a byte of a kind that counts, a piece left out, doubled or cut off.
fn change(data: &mut Vec<u8>, rng: &mut Rng) {
    let len = data.len() as u64;
    if len == 0 {
        return data.push(rng.below(256) as u8);
    }
    let at = rng.below(len) as usize;
    let end = at + rng.below((len - at as u64).min(64)) as usize;
    match rng.below(6) {
        0 => data[at] ^= 1 << rng.below(8),
        1 => data[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b',', b'\n'][rng.below(8) as usize],
        2 => drop(data.drain(at..end)),
        3 => {
            let piece = data[at..end].to_vec();
            data.splice(at..at, piece);
        }
        4 => data.truncate(at),
        _ => data[at] = rng.below(256) as u8,
    }
}

#[test]
fn nothing_panics() {
    let changes =
        std::env::var("GEMMULE_CHANGES").map_or(1500, |text| text.parse::<usize>().expect("a number"));
    println!("{changes} changes for each format");
    let readers: [(&str, Reader); 6] = [
        ("idx", idx),
        ("csv", csv),
        ("npy", npy),
        ("npz", npz),
        ("images", images),
        ("safetensors", safetensors),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (number, (name, reader)) in readers.into_iter().enumerate() {
        let mut files: Vec<_> =
            fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let (mut read, mut tried) = (0, 0);
        for (file, path) in files.iter().enumerate() {
            let whole = fs::read(path).unwrap();
            read += usize::from(reader(&whole));
            let mut rng = Rng::new(number as u64).stream(file as u64);
            for _ in 0..changes.div_ceil(files.len()) {
                let mut data = whole.clone();
                (0..=rng.below(4)).for_each(|_| change(&mut data, &mut rng));
                reader(&data);
                tried += 1;
            }
        }
        assert!(read > 0, "no file of {name} is read");
        println!("{name}: {} files, {read} of them read, {tried} changes", files.len());
    }
}

//! npz against archives that NumPy wrote.

use super::support::{Folder, arrays, damage, golden, refusal};
use gemmule::data::{NpyArray, Npz, load_npz, read_npz, write_npz, write_npz_compressed, write_npz_to};
use gemmule::{Error, Tensor};
use std::fs;
use std::io::Cursor;

fn named() -> Vec<(String, NpyArray)> {
    arrays().map(|(name, array)| (name.to_owned(), array)).to_vec()
}

#[test]
fn what_numpy_wrote_is_read() {
    for name in ["stored.npz", "deflated.npz"] {
        assert_eq!(read_npz(golden(name)).unwrap(), named(), "{name}");
        let mut file = Npz::open(golden(name)).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["u8", "i32", "i64", "f32", "f64"]);
        for (name, array) in arrays().iter().rev() {
            assert_eq!(file.read(name).unwrap(), *array);
        }
        let error = file.read("f16").unwrap_err().to_string();
        assert!(
            error.contains("expected one of \"u8\", \"i32\", \"i64\", \"f32\", \"f64\", got \"f16\""),
            "{error}"
        );
    }
    assert!(read_npz(golden("empty.npz")).unwrap().is_empty());
}

#[test]
fn round_trips() {
    let folder = Folder::new("npz");
    let path = folder.0.join("file.npz");
    let arrays = named();
    let views = || arrays.iter().map(|(name, array)| (name, array));
    write_npz(&path, views()).unwrap();
    assert_eq!(read_npz(&path).unwrap(), arrays);
    let stored = fs::read(&path).unwrap();
    let mut again = Vec::new();
    write_npz_to(&mut again, views()).unwrap();
    assert_eq!(stored, again, "the same arrays give the same bytes");
    write_npz_compressed(&path, views()).unwrap();
    assert_eq!(read_npz(&path).unwrap(), arrays);
    assert!(fs::read(&path).unwrap().len() < stored.len());
    // What tests/golden/loaders.py has the real NumPy read.
    assert_eq!(stored, fs::read(golden("written.npz")).unwrap());
    assert_eq!(read_npz(golden("written_deflated.npz")).unwrap(), arrays);
    let names: [(&str, &Tensor); 0] = [];
    write_npz(&path, names).unwrap();
    assert!(read_npz(&path).unwrap().is_empty());
    // Names as models have them, and as nobody should.
    let t = Tensor::from_slice(&[2], &[1.0_f32, 2.0]).unwrap();
    let odd = ["0.weight", "a/b", "../../etc/passwd", "größe", "x.npy", &"long".repeat(1000)];
    write_npz(&path, odd.map(|name| (name, &t))).unwrap();
    let mut file = Npz::open(&path).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), odd);
    assert_eq!(file.read("größe").unwrap().to_tensor::<f32>().unwrap(), t);
    for names in [["a", "a"], ["a", ""]] {
        let error = write_npz(&path, names.map(|name| (name, &t))).unwrap_err().to_string();
        assert!(error.contains("a name that no other array has"), "{error}");
    }
    let long = "n".repeat(65_536);
    assert!(write_npz(&path, [(&long, &t)]).unwrap_err().to_string().contains("65535 bytes"));
}

#[test]
fn the_limit_counts_what_is_compressed() {
    let path = golden("deflated.npz");
    // A header of 128 bytes and 24 elements.
    let mut file = Npz::open(&path).unwrap().limit(152);
    assert!(file.read("u8").is_ok());
    let text = refusal(&path, file.read("i32"));
    assert!(
        text.contains(
            "the array \"i32\": the decompressed size: expected at most 152 bytes (the limit), got 224"
        ),
        "{text}"
    );
    assert!(Npz::open(golden("stored.npz")).unwrap().limit(0).read("f64").is_ok());
}

/// A checksum guards what arrays hold: what passes is what was written, under the same name.
#[test]
fn every_prefix_and_every_flipped_bit() {
    let read = |bytes: &[u8]| {
        let mut file = Npz::from_reader(Cursor::new(bytes))?;
        let names: Vec<_> = file.names().map(str::to_owned).collect();
        names.into_iter().map(|name| Ok((name.clone(), file.read(&name)?))).collect::<Result<Vec<_>, Error>>()
    };
    let folder = Folder::new("npz-damage");
    let path = folder.0.join("small");
    let small = [("f32".to_owned(), arrays()[3].1.clone())];
    let views = || small.iter().map(|(name, array)| (name, array));
    write_npz(&path, views()).unwrap();
    let stored = fs::read(&path).unwrap();
    write_npz_compressed(&path, views()).unwrap();
    let deflated = fs::read(&path).unwrap();
    let numpy = fs::read(golden("deflated.npz")).unwrap();
    let all = named();
    let cases = [("stored", stored, &small[..]), ("deflated", deflated, &small), ("numpy", numpy, &all)];
    for (what, whole, expected) in cases {
        let passed = damage(
            &whole,
            read,
            |len, _| panic!("{what}: a prefix of {len} bytes was read"),
            |bit, arrays| assert_eq!(arrays, expected, "{what}: bit {bit}"),
        );
        // Dates, versions, attributes and the sizes that stand behind a member mean nothing here.
        assert!(passed < 8 * whole.len() / 3, "{what}: {passed} flips of {} passed", 8 * whole.len());
    }
}

#[test]
fn hostile_archives() {
    let folder = Folder::new("npz-hostile");
    let says = |bytes: &[u8], part: &str| {
        let path = folder.write("file", bytes);
        let text = refusal(&path, read_npz(&path));
        assert!(text.contains(part), "{text}");
    };
    says(b"", "the end: expected the end of a zip archive, got none, as in a truncated file");
    says(b"not a zip archive, only some text", "expected the end of a zip archive");
    // An end that announces 65534 members of nothing.
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend_from_slice(&[0xfe, 0xff, 0xfe, 0xff]);
    end.extend_from_slice(&[0; 10]);
    says(&end, "the number of members: expected as many as the file has room for, got 65534");
    let whole = fs::read(golden("stored.npz")).unwrap();
    let with = |from: &[u8], to: &[u8]| {
        let mut file = whole.clone();
        let places: Vec<_> = (0..file.len()).filter(|&at| file[at..].starts_with(from)).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| file[at..at + to.len()].copy_from_slice(to));
        file
    };
    let mut other = whole.clone();
    let last = (0..other.len()).rfind(|&at| other[at..].starts_with(b"i32.npy")).unwrap();
    other[last] = b'j';
    says(&other, "the array \"j32\": expected the header that the directory announces, got another at byte");
    says(&with(b"i32.npy", b"i64.npy"), "different names, got \"i64.npy\" twice");
    says(&with(b"u8.npy", b"\xffx.npy"), "a name in UTF-8");
    says(&[&whole[..], &[0]].concat(), "expected the end of a zip archive");
    says(&[&[0], &whole[..]].concat(), "the directory: expected it to end at byte");
    let error = Npz::from_reader(Cursor::new([0; 30])).unwrap_err().to_string();
    assert!(error.starts_with("(reader): npz: the end"), "{error}");
}

#[test]
fn data_sets() {
    let set = load_npz(golden("stored.npz"), "u8", "f64", None).unwrap();
    assert_eq!(format!("{set:?}"), "Dataset(2 samples of 3 x 4 u8, 12 target values)");
    let error = load_npz(golden("stored.npz"), "x_train", "f64", None).unwrap_err().to_string();
    assert!(error.contains("the array's name: expected one of"), "{error}");
}

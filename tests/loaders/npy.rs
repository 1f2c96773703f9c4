//! npy against files that NumPy wrote.

use super::support::{Folder, arrays, damage, golden, refusal};
use gemmule::data::{NpyArray, NpyData, NpyView, load_npy, read_npy, read_npy_from, write_npy, write_npy_to};
use gemmule::{Error, TargetKind, Tensor};
use std::fs;

#[test]
fn what_numpy_wrote_is_read() {
    for (name, expected) in arrays() {
        let big: &[&str] = if name == "u8" { &[] } else { &["_big"] };
        for form in ["", "_fortran"].iter().chain(big) {
            let array = read_npy(golden(&format!("{name}{form}.npy"))).unwrap();
            assert_eq!(array, expected, "{name}{form}");
            assert_eq!((array.dtype(), array.shape()), (name, &[2, 3, 4][..]));
        }
    }
    for version in 1..=3 {
        assert_eq!(read_npy(golden(&format!("version{version}.npy"))).unwrap(), arrays()[3].1);
    }
    assert_eq!(read_npy(golden("fortran_big.npy")).unwrap(), arrays()[4].1);
    let scalar = read_npy(golden("scalar.npy")).unwrap();
    assert_eq!((scalar.shape(), scalar.data()), (&[][..], &NpyData::F64(vec![2.5])));
    let empty = read_npy(golden("empty.npy")).unwrap();
    assert_eq!((empty.shape(), empty.is_empty()), (&[0, 3][..], true));
    let vector = read_npy(golden("vector.npy")).unwrap();
    assert_eq!((vector.shape(), vector.to_labels().unwrap()), (&[5][..], vec![0, 1, 2, 3, 4]));
}

#[test]
fn what_is_written_is_numpys_file_to_the_byte() {
    let folder = Folder::new("npy-write");
    let written = |array: NpyView| {
        let path = folder.0.join("array.npy");
        write_npy(&path, array).unwrap();
        let mut bytes = Vec::new();
        write_npy_to(&mut bytes, array).unwrap();
        assert_eq!(fs::read(path).unwrap(), bytes);
        bytes
    };
    for (name, array) in &arrays() {
        assert_eq!(written(array.into()), fs::read(golden(&format!("{name}.npy"))).unwrap(), "{name}");
    }
    for name in ["scalar", "empty", "vector"] {
        let path = golden(&format!("{name}.npy"));
        assert_eq!(written((&read_npy(&path).unwrap()).into()), fs::read(path).unwrap(), "{name}");
    }
    let single: Tensor<f32> = arrays()[3].1.to_tensor().unwrap();
    assert_eq!(written((&single).into()), fs::read(golden("f32.npy")).unwrap());
    let double: Tensor<f64> = arrays()[4].1.to_tensor().unwrap();
    assert_eq!(written((&double).into()), fs::read(golden("f64.npy")).unwrap());
    let deep = Tensor::<f32>::zeros(&[1; 65]).unwrap();
    assert!(
        write_npy_to(Vec::new(), &deep).unwrap_err().to_string().contains("at most 64 dimensions, got 65")
    );
}

#[test]
fn every_length_comes_back() {
    // Around the pieces of 64 KiB in which values are decoded and written.
    for len in [0, 1, 2, 8191, 8192, 8193, 16385, 50_000] {
        let values: Vec<i64> = (0..len).map(|i| i * i - 77).collect();
        let array = NpyArray::new(&[len as usize], NpyData::I64(values)).unwrap();
        let mut file = Vec::new();
        write_npy_to(&mut file, &array).unwrap();
        assert_eq!(read_npy_from(&file[..]).unwrap(), array);
    }
}

#[test]
fn several_arrays_in_one_stream() {
    let mut file = Vec::new();
    for (_, array) in &arrays() {
        write_npy_to(&mut file, array).unwrap();
    }
    let mut rest = &file[..];
    for (_, array) in &arrays() {
        assert_eq!(read_npy_from(&mut rest).unwrap(), *array);
    }
    assert!(rest.is_empty());
    let folder = Folder::new("npy-several");
    let path = folder.write("several.npy", &file);
    assert!(refusal(&path, read_npy(&path)).contains("the size of the file: expected 152 bytes"));
}

#[test]
fn what_is_refused_says_why() {
    for (name, part) in [
        ("object", "an object array holds pickled Python, which is a program"),
        ("structured", "not a structured type"),
        ("f16", "'<f8' (f64), or with '>', got \"'<f2'"),
        ("bool", "got \"'|b1'"),
        ("text", "got \"'<U2'"),
    ] {
        let path = golden(&format!("{name}.npy"));
        let text = refusal(&path, read_npy(&path));
        assert!(text.contains("the type of the elements") && text.contains(part), "{text}");
    }
}

/// A file of version 1 with this text.
fn file(text: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(text.len() as u16).to_le_bytes());
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(bytes);
    file
}

#[test]
fn headers_as_others_write_them() {
    for text in [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{\"shape\":(2L,),\"descr\":\"<f4\",\"fortran_order\":True}\n",
        " { 'shape' : ( 2 , ) , 'descr' : '<f4' , 'fortran_order' : False , } \n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 1)}",
    ] {
        let array = read_npy_from(&file(text, &[0, 0, 128, 63, 0, 0, 0, 64])[..]).unwrap();
        assert_eq!(array.data(), &NpyData::F32(vec![1.0, 2.0]), "{text}");
    }
}

#[test]
fn hostile_headers() {
    let folder = Folder::new("npy-headers");
    let says = |bytes: &[u8], part: &str| {
        let path = folder.write("file", bytes);
        let text = refusal(&path, read_npy(&path));
        assert!(text.contains(part), "{text}");
    };
    let shaped = |shape: &str| {
        file(&format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"), &[0; 16])
    };
    says(b"", "the header: expected 8 bytes, got 0 bytes");
    says(b"PK\x03\x04....", "the first six bytes: expected \\x93NUMPY");
    says(b"\x93NUMPY\x04\x00\x00\x00", "the version: expected 1.0, 2.0 or 3.0, got 4.0");
    says(
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        "the length of the header: expected at most 65535, got 4294967295",
    );
    says(b"\x93NUMPY\x01\x00\xff\xff{", "the header: expected 65535 bytes, got 1");
    // 100 bytes that claim 8 TB, then more than there are numbers for.
    says(&shaped("(1000000, 1000000)"), "bytes (header and 1000000 x 1000000 f64), got");
    says(&shaped("(4294967296, 4294967296)"), "the shape: expected a product that fits in memory");
    says(&shaped("(0, 9223372036854775807, 3)"), "the shape: expected a product that fits in memory");
    says(&shaped("(2305843009213693952,)"), "the shape: expected a product that fits in memory");
    says(&shaped("(99999999999999999999999,)"), "the shape: expected dimensions that fit in memory");
    says(&shaped("(-1,)"), "the shape: expected dimensions that fit in memory, got \"-1,)}\" at byte");
    says(&shaped("(2)"), "the shape: expected a comma after the only dimension");
    says(&shaped("[2]"), "the shape: expected a tuple");
    says(&shaped(&format!("({})", "1, ".repeat(65))), "the shape: expected at most 64 dimensions");
    says(&shaped("(3,)"), "the size of the file: expected");
    says(&shaped("(1,)"), "the size of the file: expected");
    says(&file("{'descr': '<f4'}", &[]), "the keys 'descr', 'fortran_order' and 'shape', once each");
    says(&file("{'descr': '<f4', 'descr': '<f4'", &[]), "once each");
    says(
        &file("{'descr': '<f4', 'fortran_order': 0", &[]),
        "the order of the elements: expected True or False",
    );
    says(&file("[]", &[]), "the header's text: expected a dictionary");
    says(
        &file("{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", &[0; 4]),
        "nothing after the dictionary",
    );
    says(&file("{'descr", &[]), "a key in quotes");
}

#[test]
fn every_prefix_and_every_flipped_bit() {
    for name in ["f32", "i64_fortran", "u8", "version2"] {
        let whole = fs::read(golden(&format!("{name}.npy"))).unwrap();
        let read = |mut bytes: &[u8]| Ok((read_npy_from(&mut bytes)?, bytes.len()));
        let (expected, rest) = read(&whole).unwrap();
        assert_eq!(rest, 0);
        let prefix = |len, _| panic!("{name}: a prefix of {len} bytes was read");
        let passed = damage(&whole, read, prefix, |bit, (array, rest)| {
            // As many bytes; a flipped header may say another type, another order, or fewer elements.
            let size = |array: &NpyArray| array.len() * array.dtype()[1..].parse::<usize>().unwrap() / 8;
            // The length of the header may count fewer of its spaces.
            let header = if bit / 8 < 12 { 128 } else { 0 };
            let all = size(&array) + rest;
            assert!((size(&expected)..=size(&expected) + header).contains(&all), "{name}: bit {bit}");
        });
        // All flips of data pass, as there is no checksum, and few of the header.
        let data = 8 * (whole.len() - 128);
        assert!((data..data + 200).contains(&passed), "{name}: {} of the header", passed - data);
    }
}

#[test]
fn data_sets() {
    let folder = Folder::new("npy-sets");
    let array = |name: &str, shape: &[usize], data| {
        let path = folder.0.join(name);
        write_npy(&path, &NpyArray::new(shape, data).unwrap()).unwrap();
        path
    };
    let x = array("x", &[3, 2, 2], NpyData::U8((0..12).collect()));
    let y = array("y", &[3], NpyData::I64(vec![1, 0, 4]));
    let set = load_npy(&x, &y, None).unwrap();
    assert_eq!(format!("{set:?}"), "Dataset(3 samples of 2 x 2 u8, 5 classes)");
    assert_eq!((set.bytes(1), set.class(2)), (Some(&[4, 5, 6, 7][..]), Some(4)));
    assert_eq!(load_npy(&x, &y, Some(10)).unwrap().target_kind(), Some(TargetKind::Classes(10)));
    assert!(load_npy(&x, &y, Some(4)).unwrap_err().to_string().contains("the label of sample 2"));
    let values = array("values", &[3, 2], NpyData::F64(vec![0.5; 6]));
    assert_eq!(
        format!("{:?}", load_npy(&x, &values, None).unwrap()),
        "Dataset(3 samples of 2 x 2 u8, 2 target values)"
    );
    let negative = array("negative", &[3], NpyData::I32(vec![0, -1, 2]));
    let error = load_npy(&x, &negative, None).unwrap_err().to_string();
    assert!(error.contains("the label of sample 1: expected 0 to 2^32 - 1, got -1"), "{error}");
    let many = array("many", &[3, 2], NpyData::U8(vec![0; 6]));
    assert!(
        load_npy(&x, &many, None).unwrap_err().to_string().contains("expected one label per row, got 3 x 2")
    );
    let few = array("few", &[2], NpyData::U8(vec![0; 2]));
    assert!(matches!(load_npy(&x, &few, None), Err(Error::Data { .. })));
    for (data, name) in [
        (NpyData::I32(vec![-5, 1 << 24]), "f32"),
        (NpyData::F32(vec![0.5, 0.25]), "f32"),
        (NpyData::I64(vec![-5, 1 << 53]), "f64"),
        (NpyData::F64(vec![0.5, 0.1]), "f64"),
    ] {
        let set = NpyArray::new(&[2, 1], data).unwrap().into_dataset().unwrap();
        assert_eq!(format!("{set:?}"), format!("Dataset(2 samples of 1 {name}, no targets)"));
    }
    let nan = NpyArray::new(&[2, 1], NpyData::F32(vec![0.0, f32::NAN])).unwrap();
    assert!(matches!(nan.into_dataset(), Err(Error::NonFinite { .. })));
}

//! Pictures against Pillow.

use super::support::{Folder, bytes, damage, golden, refusal};
use gemmule::data::{Dataset, ImageFolder};
use std::fs;

fn pixels(data: &Dataset) -> Vec<u8> {
    (0..data.len()).flat_map(|i| data.bytes(i).unwrap()).copied().collect()
}

/// The largest difference between bytes, and how many differ.
#[track_caller]
fn difference(got: &[u8], expected: &[u8]) -> (u8, usize) {
    assert_eq!(got.len(), expected.len());
    let apart = || got.iter().zip(expected).map(|(&a, &b)| a.abs_diff(b));
    (apart().max().unwrap(), apart().filter(|&apart| apart != 0).count())
}

#[test]
fn a_folder_as_pillow_and_torchvision_read_it() {
    let images = ImageFolder::new(golden("folder")).read().unwrap();
    assert_eq!(images.classes, ["bird", "cat"]);
    assert_eq!(format!("{:?}", images.dataset), "Dataset(6 samples of 12 x 10 x 3 u8, 2 classes)");
    assert_eq!((0..6).map(|i| images.dataset.class(i).unwrap()).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    let names: Vec<_> =
        images.files.iter().map(|file| file.strip_prefix(golden("folder")).unwrap()).collect();
    let expected =
        ["bird/a.png", "bird/b.png", "bird/c.png", "cat/a.png", "cat/more/b.png", "cat/more/c.JPG"];
    assert!(names.iter().zip(expected).all(|(name, expected)| name.ends_with(expected)), "{names:?}");
    // PNG to the byte; JPEG as near as decoders are to each other.
    let (got, expected) = (pixels(&images.dataset), bytes("rgb.npy"));
    assert_eq!(got[..5 * 360], expected[..5 * 360]);
    let (most, _) = difference(&got[5 * 360..], &expected[5 * 360..]);
    assert!(most <= 2, "{most}");
    let grey = ImageFolder::new(golden("folder")).grey().read().unwrap();
    assert_eq!(grey.dataset.feature_shape(), [12, 10]);
    let (got, expected) = (pixels(&grey.dataset), bytes("grey.npy"));
    assert_eq!(got[..5 * 120], expected[..5 * 120]);
    assert!(difference(&got[5 * 120..], &expected[5 * 120..]).0 <= 2);
}

#[test]
fn sizes_as_pillow_makes_them() {
    for (name, height, width) in [("smaller", 5, 7), ("larger", 17, 20)] {
        let images = ImageFolder::new(golden("folder")).resize(height, width).read().unwrap();
        assert_eq!(images.dataset.feature_shape(), [height, width, 3]);
        let (got, expected) = (pixels(&images.dataset), bytes(&format!("{name}.npy")));
        let png = 5 * height * width * 3;
        let (most, count) = difference(&got[..png], &expected[..png]);
        assert!(most <= 1 && count < png / 5, "{name}: {count} of {png} differ by up to {most}");
        assert!(difference(&got[png..], &expected[png..]).0 <= 3);
    }
}

#[test]
fn kinds_of_jpeg() {
    let expected = bytes("small_jpg.npy");
    for (i, name) in ["progressive", "grey", "small"].iter().enumerate() {
        let file = fs::read(golden(&format!("{name}.jpg"))).unwrap();
        let (height, width, got) = ImageFolder::new("").read_image(&file).unwrap();
        assert_eq!((height, width), (8, 8));
        let (most, _) = difference(&got, &expected[192 * i..][..192]);
        // Colours of half the size are spread in another way.
        assert!(most <= if *name == "grey" { 1 } else { 8 }, "{name}: {most}");
    }
}

#[test]
fn refusals_name_the_file() {
    let folder = Folder::new("images");
    let root = folder.0.join("set");
    let small = fs::read(golden("small.jpg")).unwrap();
    let other = fs::read(golden("folder/bird/a.png")).unwrap();
    let read = || ImageFolder::new(&root).read();
    assert!(refusal(&root, read()).contains("No such file"));
    fs::create_dir(&root).unwrap();
    assert!(refusal(&root, read()).contains("expected a subfolder for each class, got none"));
    folder.write("set/.hidden/a.png", b"");
    folder.write("set/readme.txt", b"");
    assert!(refusal(&root, read()).contains("a subfolder for each class"));
    fs::create_dir(root.join("a")).unwrap();
    assert!(refusal(&root.join("a"), read()).contains("expected at least 1 PNG or JPEG, got none"));
    folder.write("set/a/1.jpeg", &small);
    assert_eq!(read().unwrap().dataset.len(), 1);
    let path = folder.write("set/b/2.png", &other);
    let text = refusal(&path, read());
    assert!(text.contains("height x width: expected 8 x 8, as") && text.contains("got 12 x 10"), "{text}");
    assert_eq!(ImageFolder::new(&root).resize(8, 8).read().unwrap().classes, ["a", "b"]);
    let many = golden("folder");
    let text = refusal(&many, ImageFolder::new(&many).resize(100, 100).limit(170_000).read());
    assert!(text.contains("at most 170000 bytes (the limit), got 6 of 100 x 100: 180000 bytes"), "{text}");
    let text = refusal(&many, ImageFolder::new(&many).resize(100, 100).limit(100_000).read());
    assert!(text.contains("bird/a.png: image: the memory for resizing"), "{text}");
    let text = refusal(&many, ImageFolder::new(&many).limit(200).read());
    assert!(text.contains("the size of the file: expected at most 200 bytes (the limit)"), "{text}");
    assert!(
        ImageFolder::new(&root).resize(0, 8).read().unwrap_err().to_string().contains("1 to 2^32 - 1 each")
    );
    // Known by its contents, whatever its name.
    fs::rename(&path, root.join("b/2.jpg")).unwrap();
    assert!(ImageFolder::new(&root).resize(8, 8).read().is_ok());
    let gif = folder.write("set/b/3.gif", b"GIF89a");
    assert!(refusal(&gif, read()).contains("the format: expected PNG or JPEG, got gif"));
    fs::remove_file(gif).unwrap();
    let text = folder.write("set/b/3.png", b"some text");
    assert!(refusal(&text, ImageFolder::new(&root).resize(8, 8).read()).contains("expected PNG or JPEG"));
}

#[test]
fn every_prefix_and_every_flipped_bit() {
    for name in ["folder/bird/b.png", "folder/cat/more/b.png", "small.jpg", "progressive.jpg"] {
        let whole = fs::read(golden(name)).unwrap();
        let reader = ImageFolder::new("").limit(1 << 20);
        let read = |bytes: &[u8]| reader.read_image(bytes);
        let (height, width, _) = read(&whole).unwrap();
        let png = name.ends_with("png");
        damage(
            &whole,
            read,
            // After the last byte of the data a PNG has only its end, 12 bytes.
            |len, _| assert!(png && len + 12 >= whole.len(), "{name}: a prefix of {len} bytes was read"),
            |bit, (h, w, bytes)| {
                assert!(bytes.len() == 3 * h * w && (!png || (h, w) == (height, width)), "{name}: bit {bit}");
            },
        );
    }
}

#[cfg(feature = "gzip")]
#[test]
fn a_claim_beyond_what_the_file_can_hold() {
    let mut file = fs::read(golden("folder/bird/b.png")).unwrap();
    file[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let mut crc = flate2::Crc::new();
    crc.update(&file[12..29]);
    file[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let error = ImageFolder::new("").read_image(&file).unwrap_err().to_string();
    assert!(
        error.contains("the size: expected at most") && error.contains("30000 x 30000: 900000000 bytes"),
        "{error}"
    );
}

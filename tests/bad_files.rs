//! Hostile and damaged files: an error that says what is wrong, never a panic, never wrong data.

use gemmule::Error;
use gemmule::data::{IdxArray, load_idx, load_idx_dir, read_idx, read_idx_with_limit};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad_files-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    file.extend(shape.iter().flat_map(|dimension| dimension.to_be_bytes()));
    file.extend_from_slice(bytes);
    file
}

/// 4 x 5 x 6 bytes that follow no pattern.
fn sample() -> Vec<u8> {
    let bytes: Vec<u8> = (0..120_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    idx(&[4, 5, 6], &bytes)
}

#[cfg(feature = "gzip")]
fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder =
        flate2::GzBuilder::new().filename("sample").write(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The error is one of the format or of the system, and names the file.
#[track_caller]
fn refused(path: &Path) -> String {
    refusal(path, read_idx(path))
}

#[track_caller]
fn refusal(path: &Path, result: Result<IdxArray, Error>) -> String {
    match result {
        Err(error @ (Error::Format { .. } | Error::Io { .. })) => {
            let text = error.to_string();
            assert!(text.starts_with(&path.display().to_string()), "{text}");
            text
        }
        other => panic!("expected an error of the format, got {other:?}"),
    }
}

/// Every prefix is refused; every flip of a bit is refused or gives as many bytes. Says what was read of the whole,
/// and of the flips that passed.
fn damage(folder: &Folder, whole: &[u8]) -> (IdxArray, Vec<IdxArray>) {
    let mut passed = Vec::new();
    let expected = read_idx(folder.write("whole", whole)).unwrap();
    assert_eq!((&expected.shape[..], expected.bytes.len()), (&[4, 5, 6][..], 120));
    for len in 0..whole.len() {
        refused(&folder.write("prefix", &whole[..len]));
    }
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let path = folder.write("flipped", &flipped);
        match read_idx(&path) {
            Ok(array) => {
                assert_eq!((&array.shape, array.bytes.len()), (&expected.shape, 120), "bit {bit}");
                passed.push(array);
            }
            error => {
                refusal(&path, error);
            }
        }
    }
    for more in [&[0][..], &[0x1f, 0x8b], &[7; 5000]] {
        refused(&folder.write("longer", &[whole, more].concat()));
    }
    (expected, passed)
}

#[test]
fn every_prefix_and_every_flipped_bit() {
    let (_, passed) = damage(&Folder::new("plain"), &sample());
    assert_eq!(passed.len(), 8 * 120, "the flips of the data: a plain file has no checksum");
}

#[cfg(feature = "gzip")]
#[test]
fn every_prefix_and_every_flipped_bit_of_gzip() {
    let folder = Folder::new("gzip");
    // A checksum guards the contents: a flip that passes changes nothing in them.
    let (expected, passed) = damage(&folder, &gzip(&sample()));
    assert!(passed.iter().all(|array| *array == expected));
    // Time, system, compression level and the name in the header.
    assert!(passed.len() < 8 * 17, "{} flips passed", passed.len());
}

#[cfg(feature = "gzip")]
#[test]
fn gzip_of_several_members_is_one_file() {
    let folder = Folder::new("members");
    let whole = sample();
    let (first, rest) = whole.split_at(50);
    let both = [gzip(first), gzip(&[]), gzip(rest)].concat();
    assert_eq!(
        read_idx(folder.write("members", &both)).unwrap(),
        read_idx(folder.write("plain", &whole)).unwrap()
    );
    refused(&folder.write("half", &gzip(first)));
    refused(&folder.write("more", &[gzip(&whole), gzip(&[0])].concat()));
    // Known by its contents, not by its name.
    assert!(read_idx(folder.write("plain.gz", &whole)).is_ok());
}

#[cfg(feature = "gzip")]
#[test]
fn decompression_stops_at_the_limit() {
    let folder = Folder::new("limit");
    let whole = sample();
    let path = folder.write("sample", &gzip(&whole));
    assert!(read_idx_with_limit(&path, whole.len() as u64).is_ok());
    let error = read_idx_with_limit(&path, whole.len() as u64 - 1).unwrap_err().to_string();
    assert!(error.contains("at most 135 bytes (the limit), got 136 bytes (header and 4 x 5 x 6)"), "{error}");
    let bomb = folder.write("bomb", &gzip(&idx(&[1 << 15, 1 << 15, 2], &[0; 1000])));
    assert!(refused(&bomb).contains("the limit"));
    // Plain files are as large as they are.
    assert!(read_idx_with_limit(folder.write("plain", &whole), 0).is_ok());
}

#[cfg(not(feature = "gzip"))]
#[test]
fn without_the_feature_gzip_is_refused_by_name() {
    let folder = Folder::new("no-gzip");
    let text = refused(&folder.write("file", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]));
    assert!(text.contains("feature `gzip`"), "{text}");
    assert!(read_idx_with_limit(folder.write("plain", &sample()), 0).is_ok());
}

#[test]
fn hostile_headers() {
    let folder = Folder::new("headers");
    let says = |bytes: &[u8], part: &str| {
        let text = refused(&folder.write("file", bytes));
        assert!(text.contains(part), "{text}");
    };
    // 4 KB that claim 3 TB.
    let mut claim = idx(&[60_000, 28_000, 2_000], &[]);
    claim.resize(4112, 7);
    says(&claim, "expected 3360000000016 bytes (header and 60000 x 28000 x 2000), got 4112 bytes");
    says(&idx(&[u32::MAX; 3], &[0; 64]), "a product that fits in memory");
    says(&idx(&[u32::MAX; 255], &[]), "a product that fits in memory");
    says(&idx(&[0, u32::MAX, u32::MAX, u32::MAX], &[]), "a product that fits in memory");
    says(&idx(&[], &[]), "the number of dimensions: expected at least 1, got 0");
    says(&[0, 0, 8, 200, 0, 0], "expected 200 dimensions, got 2 bytes for them");
    says(&[], "expected 4 bytes, got 0 bytes");
    says(b"P5 28 28 255\n", "the first two bytes: expected 00 00, got 50 35");
    for (code, name) in
        [(0x09, "i8"), (0x0b, "i16"), (0x0c, "i32"), (0x0d, "f32"), (0x0e, "f64"), (0, "unknown")]
    {
        says(&[0, 0, code, 1, 0, 0, 0, 1, 5], &format!("got 0x{code:02x} ({name})"));
    }
    // Odd, but what they say is true.
    assert_eq!(read_idx(folder.write("file", &idx(&[1; 255], &[9]))).unwrap().bytes, [9]);
    assert_eq!(read_idx(folder.write("file", &idx(&[0, 28, 28], &[]))).unwrap().shape, [0, 28, 28]);
}

#[test]
fn a_file_that_is_not_there() {
    let folder = Folder::new("missing");
    let path = folder.0.join("nothing");
    assert!(matches!(read_idx(&path), Err(Error::Io { path: named, .. }) if named == path));
    assert!(matches!(read_idx(&folder.0), Err(Error::Io { .. })), "a folder");
    let error = load_idx_dir(&folder.0).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("train-images-idx3-ubyte")), "{error}");
}

#[test]
fn images_and_labels_that_do_not_belong_together() {
    let folder = Folder::new("pairs");
    let images = folder.write("images", &sample());
    let says = |labels: &[u8], classes: Option<usize>, parts: &[&str]| {
        let path = folder.write("labels", labels);
        let text = load_idx(&images, &path, classes).unwrap_err().to_string();
        for part in parts.iter().copied().chain([path.to_str().unwrap()]) {
            assert!(text.contains(part), "{text}");
        }
    };
    let image_name = images.to_str().unwrap();
    says(&idx(&[3], &[0, 1, 2]), None, &["expected 4 labels", image_name, "got 3"]);
    says(&idx(&[4], &[0, 1, 10, 2]), Some(10), &["the label of sample 2: expected a class below 10, got 10"]);
    says(&idx(&[4, 1], &[0, 1, 2, 3]), None, &["the dimensions: expected one, as labels have, got 4 x 1"]);
    let set = load_idx(&images, folder.write("labels", &idx(&[4], &[0, 6, 2, 2])), None).unwrap();
    assert_eq!(set.class_counts().unwrap(), [1, 0, 2, 0, 0, 0, 1], "the largest label + 1");
    let none = folder.write("none", &idx(&[0, 5, 6], &[]));
    let error = load_idx(none, folder.write("labels", &idx(&[0], &[])), None).unwrap_err();
    assert!(matches!(error, Error::Data { .. }), "{error}");
}

#[test]
fn all_spellings_of_the_four_files() {
    for (images, labels) in
        [("-images-idx3-ubyte", "-labels.idx1-ubyte"), ("-images.idx3-ubyte", "-labels-idx1-ubyte.gz")]
    {
        // A plain file under a compressed one's name is fine: the contents decide.
        let folder = Folder::new("spellings");
        for part in ["train", "t10k"] {
            folder.write(&format!("{part}{images}"), &sample());
            folder.write(&format!("{part}{labels}"), &idx(&[4], &[0, 9, 1, 2]));
        }
        let (train, test) = load_idx_dir(&folder.0).unwrap();
        assert_eq!((train.len(), test.len(), train.feature_shape()), (4, 4, &[5, 6][..]));
        folder.write(&format!("t10k{labels}"), &idx(&[4], &[0, 10, 1, 2]));
        assert!(load_idx_dir(&folder.0).unwrap_err().to_string().contains("the label of sample 1"));
    }
}

/// A pipe has no length: its bytes are taken as they come.
#[cfg(unix)]
#[test]
fn a_stream_without_a_length() {
    let folder = Folder::new("pipe");
    let shape = [300, 28, 28];
    let bytes = vec![3; 300 * 28 * 28];
    let path = folder.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    for (file, good) in [(idx(&shape, &bytes), true), (idx(&shape, &bytes[1..]), false)] {
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&path, &file).unwrap());
            assert_eq!(read_idx(&path).is_ok(), good);
        });
    }
}

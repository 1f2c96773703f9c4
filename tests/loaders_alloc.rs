//! Loaders take memory for what a file holds, not for what it claims: at most twice the file and 1 MiB, or a limit that the
//! caller sets. Counts every allocation: a binary of its own. (IDX: tests/bad_files_alloc.rs.)

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

use allocator::peak;
use gemmule::data::{NpyArray, NpyData, load_npy, read_npy, read_npy_from, write_npy};
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loaders_alloc-{}-{name}", std::process::id()))
}

fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/loaders").join(name)).unwrap()
}

/// Every prefix and every flip of a bit takes at most `most` bytes more than what is read from.
fn damage<R>(whole: &[u8], most: usize, read: impl Fn(&[u8]) -> R) {
    for len in 0..whole.len() {
        let (peak, _) = peak(|| read(&whole[..len]));
        assert!(peak <= most, "prefix of {len}: {peak} bytes");
    }
    let mut flipped = whole.to_vec();
    for bit in 0..8 * whole.len() {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (peak, _) = peak(|| read(&flipped));
        assert!(peak <= most, "bit {bit}: {peak} bytes");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}

// One test: others in parallel would count too.
#[test]
fn memory_follows_the_bytes_that_are_there() {
    npy();
    #[cfg(feature = "npz")]
    npz();
    #[cfg(feature = "csv")]
    csv();
    #[cfg(feature = "image")]
    images();
}

fn npy() {
    for name in ["f32.npy", "i64_fortran.npy", "u8.npy", "version2.npy"] {
        let whole = golden(name);
        damage(&whole, 2 * whole.len() + MIB, |bytes| read_npy_from(bytes).is_ok());
    }
    // A claim of a gigabyte with nothing behind it, from a file and from a stream.
    for fortran in ["False", "True"] {
        let mut file = b"\x93NUMPY\x01\x00\x70\x00".to_vec();
        file.extend_from_slice(
            format!(
                "{:112}",
                format!("{{'descr': '<f8', 'fortran_order': {fortran}, 'shape': (16384, 8192)}}")
            )
            .as_bytes(),
        );
        file.extend_from_slice(&[1; 5000]);
        let (most, result) = peak(|| read_npy_from(&file[..]));
        assert!(result.is_err() && most <= MIB, "{most}");
        let file = write("claim.npy", &file);
        let (most, result) = peak(|| read_npy(&file));
        assert!(result.is_err() && most <= MIB, "{most}");
        std::fs::remove_file(file).unwrap();
    }
    // True claims of 16 MB.
    let all = [
        NpyData::U8(vec![3; 16_000_000]),
        NpyData::I32(vec![3; 4_000_000]),
        NpyData::I64(vec![3; 2_000_000]),
        NpyData::F32(vec![3.0; 4_000_000]),
        NpyData::F64(vec![3.0; 2_000_000]),
    ];
    let labels = path("labels.npy");
    write_npy(&labels, &NpyArray::new(&[1000], NpyData::I64(vec![1; 1000])).unwrap()).unwrap();
    let file = path("true.npy");
    for data in all {
        let len = match &data {
            NpyData::U8(x) => x.len(),
            NpyData::I32(x) => x.len(),
            NpyData::I64(x) => x.len(),
            NpyData::F32(x) => x.len(),
            NpyData::F64(x) => x.len(),
            _ => unreachable!(),
        };
        let array = NpyArray::new(&[1000, len / 1000], data).unwrap();
        let (most, result) = peak(|| write_npy(&file, &array));
        assert!(result.is_ok() && most <= MIB, "{most} bytes to write");
        drop(array);
        let size = std::fs::metadata(&file).unwrap().len() as usize;
        let (most, result) = peak(|| read_npy(&file).unwrap());
        assert_eq!(result.len(), len);
        drop(result);
        assert!(most <= size + MIB, "{most} bytes for {size}");
        let (most, result) = peak(|| load_npy(&file, &labels, None).unwrap());
        drop(result);
        assert!(most <= 2 * size + MIB, "{most} bytes for a data set of {size}");
        // The same bytes in the other order.
        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes.windows(5).position(|word| word == b"False").unwrap();
        bytes[at..at + 5].copy_from_slice(b"True ");
        std::fs::write(&file, &bytes).unwrap();
        drop(bytes);
        let (most, result) = peak(|| read_npy(&file).unwrap());
        assert_eq!(result.len(), len);
        drop(result);
        assert!(most <= 2 * size + MIB, "{most} bytes for {size} in Fortran's order");
    }
    std::fs::remove_file(labels).unwrap();
    std::fs::remove_file(file).unwrap();
}

#[cfg(feature = "npz")]
fn npz() {
    use gemmule::data::{Npz, read_npz, write_npz, write_npz_compressed};
    use std::io::Cursor;
    for name in ["stored.npz", "deflated.npz"] {
        let whole = golden(name);
        damage(&whole[..whole.len()], 2 * whole.len() + MIB, |bytes| {
            let mut file = Npz::from_reader(Cursor::new(bytes))?.limit(100_000);
            let names: Vec<_> = file.names().map(str::to_owned).collect();
            names.into_iter().try_for_each(|name| file.read(&name).map(drop))
        });
    }
    let array = NpyArray::new(&[2_000_000], NpyData::F64(vec![0.5; 2_000_000])).unwrap();
    let file = path("file.npz");
    write_npz(&file, [("x", &array)]).unwrap();
    let (most, result) = peak(|| read_npz(&file).unwrap());
    drop(result);
    assert!(most <= 16 * MIB + MIB, "{most} bytes for 16 MB that are stored");
    let (most, result) = peak(|| write_npz_compressed(&file, [("x", &array)]));
    assert!(result.is_ok() && most <= MIB, "{most} bytes to write");
    let size = std::fs::metadata(&file).unwrap().len();
    assert!(size < 100_000, "{size}");
    let (most, result) = peak(|| read_npz(&file).unwrap());
    drop(result);
    assert!(most <= 32_000_000 + MIB, "{most} bytes for 16 MB that are compressed");
    let (most, result) = peak(|| Npz::open(&file).unwrap().limit(15_999_999).read("x"));
    assert!(result.is_err() && most <= MIB, "{most} bytes beyond the limit");
    // As many empty members as there is room for, then an end that claims more.
    let empty = NpyArray::new(&[0], NpyData::U8(Vec::new())).unwrap();
    let names: Vec<String> = (0..20_000).map(|i| format!("{i:x}")).collect();
    write_npz(&file, names.iter().map(|name| (name, &empty))).unwrap();
    let size = std::fs::metadata(&file).unwrap().len() as usize;
    let (most, result) = peak(|| Npz::open(&file).unwrap());
    assert_eq!(result.names().len(), 20_000);
    drop(result);
    assert!(most <= 2 * size + MIB, "{most} bytes for a directory of {size}");
    let (most, result) = peak(|| read_npz(&file).unwrap());
    drop(result);
    assert!(most <= 2 * size + MIB, "{most} bytes for members of {size}");
    std::fs::remove_file(file).unwrap();
}

#[cfg(feature = "csv")]
fn csv() {
    use gemmule::data::{Csv, Missing};
    use std::io::Cursor;
    let whole = golden("table.csv");
    let options = Csv::new("").label(-1).missing(Missing::MostFrequent).limit(0);
    damage(&whole, 2 * whole.len() + MIB, |bytes| options.read_from(Cursor::new(bytes)).is_ok());
    // Whatever stands in 2 MB, with no limit beyond the law: read, or refused.
    let len = 2_000_000;
    let fill = |piece: &str| piece.repeat(len / piece.len());
    let different: String = (0..len / 8).map(|i| format!("{i:x}g,{}\n", i % 10)).collect();
    for (name, header, text, read) in [
        ("numbers of one digit", false, fill("1,2,3,4\n"), Some(true)),
        ("numbers", false, fill("0.25,17,-3.5e-2,1234\n"), Some(true)),
        ("one column", false, fill("5\n"), Some(true)),
        ("one row of numbers", false, fill("5,"), None),
        ("names", true, fill("a,"), None),
        ("delimiters", false, fill(","), None),
        ("empty names and rows", true, fill(",,,\n"), None),
        ("one field", false, fill("x"), None),
        ("an open quote", true, format!("a\n\"{}", fill("x\n")), Some(false)),
        ("different texts", false, different, None),
        ("blank lines", true, fill("\n"), Some(false)),
    ] {
        let file = write("table.csv", text.as_bytes());
        for rule in [Missing::Constant(0.0), Missing::DropRow] {
            let csv = Csv::new(&file).header(header).missing(rule).limit(0);
            let (most, result) = peak(|| csv.read());
            assert!(most <= 2 * text.len() + MIB, "{name}: {most} bytes for {}", text.len());
            assert!(read.is_none_or(|read| read == result.is_ok()), "{name}: {:?}", result.err());
        }
        // A stream has no size: the limit alone counts.
        let (most, _) =
            peak(|| Csv::new("").header(header).limit(1 << 20).read_from(Cursor::new(&text)).is_ok());
        assert!(most <= 2 * MIB, "{name}: {most} bytes with a limit of 1 MiB");
        std::fs::remove_file(file).unwrap();
    }
}

#[cfg(feature = "image")]
fn images() {
    use gemmule::data::ImageFolder;
    let reader = ImageFolder::new("").limit(MIB as u64);
    for name in ["folder/bird/a.png", "folder/cat/more/b.png", "small.jpg", "progressive.jpg"] {
        let whole = golden(name);
        damage(&whole, 2 * whole.len() + 2 * MIB, |bytes| reader.read_image(bytes).is_ok());
    }
}

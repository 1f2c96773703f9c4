//! Memory for what a file holds, not for what its header claims. Counts every allocation: a binary of its own.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

use allocator::peak;
use gemmule::data::read_idx;
use std::path::{Path, PathBuf};

fn write(bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad_files_alloc-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    file.extend(shape.iter().flat_map(|dimension| dimension.to_be_bytes()));
    file.extend_from_slice(bytes);
    file
}

const MIB: usize = 1 << 20;

// One test: others in parallel would count too.
#[test]
fn memory_follows_the_bytes_that_are_there() {
    // Plain files, false and true claims: twice the file and 1 MiB.
    for shape in [&[60_000, 28_000, 2_000][..], &[u32::MAX, 1 << 20], &[u32::MAX], &[1 << 31, 1, 1], &[4097]]
    {
        for len in [0, 100, 4096] {
            let file = idx(shape, &vec![1; len]);
            let path = write(&file);
            let (peak, result) = peak(|| read_idx(&path));
            assert!(result.is_err());
            assert!(peak <= 2 * file.len() + MIB, "{shape:?}: {peak} bytes for {}", file.len());
        }
    }
    let file = idx(&[50, 1000, 1000], &vec![1; 50_000_000]);
    let path = write(&file);
    let (most, result) = peak(|| read_idx(&path));
    assert_eq!(result.unwrap().bytes.len(), 50_000_000);
    assert!(most <= file.len() + MIB, "{most} bytes for {}", file.len());
    let path = write(&file[..file.len() - 1]);
    let (most, result) = peak(|| read_idx(&path));
    assert!(result.is_err());
    assert!(most <= MIB, "{most} bytes for a file whose size betrays it");
    gzip(&file);
    std::fs::remove_file(path).unwrap();
}

#[cfg(not(feature = "gzip"))]
fn gzip(_: &[u8]) {}

#[cfg(feature = "gzip")]
fn gzip(file: &[u8]) {
    use gemmule::data::read_idx_with_limit;
    use std::io::Write;
    let compress = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // A claim within the limit, and nothing behind it.
    let path = write(&compress(&idx(&[1_000, 1_000, 1_000], &[1; 4096])));
    let (most, result) = peak(|| read_idx(&path));
    assert!(result.is_err());
    assert!(most <= MIB, "{most} bytes for a claim of a gigabyte");
    // A small file that grows a thousandfold: the limit stops it before it takes memory.
    let bomb = compress(file);
    assert!(bomb.len() < 100_000);
    let path = write(&bomb);
    let (most, result) = peak(|| read_idx_with_limit(&path, 10_000_000));
    assert!(result.is_err());
    assert!(most <= MIB, "{most} bytes beyond the limit");
    // The contents go on where the header ends them.
    let mut longer = idx(&[10], &[1; 10]);
    longer.resize(50_000_000, 0);
    let path = write(&compress(&longer));
    let (most, result) = peak(|| read_idx(&path));
    assert!(result.is_err());
    assert!(most <= MIB, "{most} bytes for contents of 10");
    // A true claim.
    let path = write(&bomb);
    let (most, result) = peak(|| read_idx(&path));
    assert_eq!(result.unwrap().bytes.len(), 50_000_000);
    assert!(most <= 2 * file.len() + MIB, "{most} bytes for contents of {}", file.len());
}

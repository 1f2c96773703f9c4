//! Loading takes at most twice the file and 1 MiB of memory, whatever the file claims. Counts every allocation: a binary of its
//! own.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

use allocator::peak;
use gemmule::data::read_safetensors;
use gemmule::nn::{Dense, Model, SavedModel, Sequential, Strict};
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;

fn write(bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("saving_alloc-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A file with this header and so many bytes behind it.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn described(description: &str) -> Vec<u8> {
    let text = format!("{description:?}");
    with_header(&format!("{{\"__metadata__\":{{\"gemmule\":{text}}}}}"), 0)
}

/// All that reads a file keeps the law; says whether each succeeds.
#[track_caller]
fn bounded(what: &str, bytes: &[u8]) -> [bool; 3] {
    let path = write(bytes);
    let most = 2 * bytes.len() + MIB;
    let check = |name: &str, peak: usize| {
        assert!(peak <= most, "{what}: {name} takes {peak} bytes for {}, not {most}", bytes.len());
    };
    let (taken, arrays) = peak(|| read_safetensors(&path).is_ok());
    check("read_safetensors", taken);
    let (taken, model) = peak(|| Model::<f32>::load(&path).is_ok());
    check("load", taken);
    let mut built = Sequential::new().with(Dense::new(1000, 1000)).build::<f32>(0).unwrap();
    let (taken, weights) = peak(|| built.load_weights(&path, Strict::No).is_ok());
    check("load_weights", taken);
    let (taken, _) = peak(|| SavedModel::open(&path).map(|saved| saved.numbers("n").is_ok()));
    check("numbers", taken);
    [arrays, model, weights]
}

// One test: others in parallel would count too.
#[test]
fn memory_follows_the_bytes_that_are_there() {
    // What is detected once per process.
    let model = Sequential::new().with(Dense::new(1000, 1000)).build::<f32>(0).unwrap();
    let bytes = model.to_bytes().unwrap();
    bounded("the first time", &bytes[..100]);
    assert_eq!(bounded("a model", &bytes), [true; 3]);
    assert_eq!(bounded("a model that ends early", &bytes[..bytes.len() - 1]), [false; 3]);
    let path = write(&bytes);
    // Saving makes no second copy.
    let (taken, _) = peak(|| model.save(&path).unwrap());
    assert!(taken <= MIB, "{taken} bytes");
    let (taken, _) = peak(|| model.to_bytes().unwrap());
    assert!(taken <= bytes.len() + MIB, "{taken} bytes");

    // Claims of all sizes.
    for claim in [1, 100, 1 << 20, 99_999_999, 100_000_000, 100_000_001, 1 << 40, u64::MAX] {
        assert_eq!(bounded("a length", &[&claim.to_le_bytes()[..], b"{}"].concat()), [false; 3]);
    }
    let tensor = |shape: &str, end: &str| {
        with_header(
            &format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}"),
            0,
        )
    };
    bounded("a shape", &tensor("[1000000000000]", "4000000000000"));
    bounded("a shape that overflows", &tensor("[4294967296,4294967296]", "0"));
    bounded("many dimensions", &tensor(&format!("[{}1]", "1,".repeat(1_000_000)), "4"));
    bounded("spaces", &with_header(&format!("{{{}}}", " ".repeat(5_000_000)), 0));
    bounded("depth", &with_header(&format!("{{\"a\":{}", "[".repeat(5_000_000)), 0));
    bounded("a long name", &with_header(&format!("{{\"{}", "x".repeat(5_000_000)), 0));
    bounded("escapes", &with_header(&format!("{{\"{}\":1}}", "\\n".repeat(2_000_000)), 0));

    let list =
        |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let empty = |i| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    for count in [1000, 2048, 3000, 60_000] {
        bounded("many tensors", &with_header(&format!("{{{}}}", list(count, &empty)), 0));
    }
    let escaped = |i| {
        format!("\"{}{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", "\\u0041".repeat(20))
    };
    bounded("many tensors with escapes", &with_header(&format!("{{{}}}", list(20_000, &escaped)), 0));
    let deep =
        |i| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[{}0],\"data_offsets\":[0,0]}}", "1,".repeat(63));
    bounded("many dimensions of many tensors", &with_header(&format!("{{{}}}", list(2000, &deep)), 0));
    let text = |i| format!("\"{i}\":\"\"");
    bounded("many texts", &with_header(&format!("{{\"__metadata__\":{{{}}}}}", list(200_000, &text)), 0));

    let begin = "{\"version\":1,\"element\":\"f32\",\"inputs\":1,\"seed\":0";
    for count in [100, 4000, 5000, 100_000] {
        let relu = |_| "{\"kind\":\"relu\"}".to_owned();
        let dense = "{\"kind\":\"dense\",\"options\":{\"inputs\":1,\"outputs\":1,\"weight_init\":{\"kind\":\"zeros\"},\"bias\":false}}";
        bounded("many layers", &described(&format!("{begin},\"layers\":[{},{dense}]}}", list(count, &relu))));
        let numbers = list(count, &|_| "0".to_owned());
        bounded(
            "many numbers",
            &described(&format!("{begin},\"layers\":[],\"numbers\":{{\"n\":[{numbers}]}}}}")),
        );
        let spec = format!("{{\"kind\":\"x\",\"options\":{{\"n\":[{numbers}]}}}}");
        bounded("numbers of a layer", &described(&format!("{begin},\"layers\":[{spec}]}}")));
        let options = list(count, &|i| format!("\"{i}\":0"));
        let spec = format!("{{\"kind\":\"x\",\"options\":{{{options}}}}}");
        bounded("options of a layer", &described(&format!("{begin},\"layers\":[{spec}]}}")));
        let names = list(count, &|i| format!("\"{i}\""));
        bounded("frozen", &described(&format!("{begin},\"layers\":[],\"frozen\":[{names}]}}")));
    }
    let wide = "{\"kind\":\"dense\",\"options\":{\"inputs\":1,\"outputs\":1000000000,\"weight_init\":{\"kind\":\"zeros\"},\
                \"bias\":false}}";
    bounded("a wide layer", &described(&format!("{begin},\"layers\":[{wide}]}}")));
    std::fs::remove_file(path).unwrap();
}

//! Every f32 function of one number, on a part of all bit patterns and on the edges: the committed hashes, wherever
//! multiply-add is fused. So what `benches/exhaustive` shows of x86 holds for NEON, as far as these inputs go.
//!
//! One pattern of 4096 is taken (2^20 in all), and some 300,000 at the edges. Longer, with one of 256 (2^24):
//!
//! ```text
//! GEMMULE_SUBSET=full cargo test --test elementwise_subset
//! GEMMULE_SUBSET=full ci/arm64.sh elementwise_subset
//! ```
//!
//! A new function needs its line in the file: `GEMMULE_SUBSET=write` writes it, both columns, by AVX-512 or AVX2.

mod common;
#[path = "../benches/support/functions.rs"]
#[allow(dead_code, reason = "errors are measured elsewhere")]
mod functions;
#[path = "../benches/support/inputs.rs"]
mod inputs;

use common::{HASH_START, contexts, hash};
use functions::Function;
// What functions.rs calls the crate.
use gemmule as library;
use gemmule::Context;
use inputs::Patterns;
use std::collections::BTreeMap;

const FILE: &str = "tests/golden/elementwise_subset.csv";
const COMMITTED: &str = include_str!("golden/elementwise_subset.csv");
/// The file's columns.
const STRIDES: [u64; 2] = [4096, 256];

/// The hash of a function's results on the patterns of a stride and on the edges.
fn subset_hash(context: &Context, function: &Function, stride: u64) -> u64 {
    const BLOCK: usize = 1 << 14;
    let patterns = Patterns::new(stride);
    let ones = vec![1.0; BLOCK];
    let (mut input, mut output) = (Vec::with_capacity(BLOCK), vec![0.0; BLOCK]);
    let mut result = HASH_START;
    let mut all = (0..patterns.count()).map(|number| patterns.get(number)).chain(inputs::edges());
    loop {
        input.clear();
        input.extend(all.by_ref().take(BLOCK).map(f32::from_bits));
        if input.is_empty() {
            return result;
        }
        function.run(context, &input, &ones, &mut output[..input.len()]);
        result = hash(&output[..input.len()], result);
    }
}

/// Function to hashes, one for each stride.
fn committed() -> BTreeMap<&'static str, [u64; 2]> {
    let parse = |line: &'static str| {
        let mut cells = line.split(',');
        let name = cells.next()?;
        let mut hash = || u64::from_str_radix(cells.next()?, 16).ok();
        Some((name, [hash()?, hash()?]))
    };
    let lines = COMMITTED.lines().skip(1);
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("{FILE}: {line:?}"))).collect()
}

fn write(context: &Context) {
    let mut text = format!("function,one of {},one of {}\n", STRIDES[0], STRIDES[1]);
    for function in functions::all() {
        let hashes = STRIDES.map(|stride| subset_hash(context, &function, stride));
        text += &format!("{},{:016x},{:016x}\n", function.name, hashes[0], hashes[1]);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    panic!("{FILE} is written: look at what changed, and run this again without GEMMULE_SUBSET=write");
}

#[test]
fn a_part_of_all_inputs_gives_the_committed_bits() {
    let contexts: Vec<Context> = contexts().into_iter().filter(|context| context.isa().has_fma()).collect();
    let column = match std::env::var("GEMMULE_SUBSET").as_deref() {
        Ok("full") => 1,
        Ok("write") => return write(&contexts[0]),
        Ok(other) => panic!("GEMMULE_SUBSET={other} is neither full nor write"),
        Err(_) => 0,
    };
    let committed = committed();
    let functions = functions::all();
    let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
    assert!(
        committed.keys().all(|name| names.contains(name)),
        "{FILE} has a function that is not in {names:?}"
    );
    let mut wrong = Vec::new();
    for context in &contexts {
        for function in &functions {
            let name = &function.name;
            let expected =
                committed.get(name.as_str()).unwrap_or_else(|| panic!("{FILE} lacks {name}"))[column];
            let got = subset_hash(context, function, STRIDES[column]);
            if got != expected {
                wrong.push(format!("{} {name}: {got:016x}, not {expected:016x}", context.isa()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Runs every f32 function of one number over all inputs, on every instruction set of this CPU. README.md says how it
//! counts.
#![allow(clippy::disallowed_methods, reason = "the standard library's `powi` is exact for powers of two")]
#![allow(clippy::duplicate_mod, reason = "the list of functions is compiled for the crate and for its twin")]

mod double;
#[path = "../../rivals/src/machine.rs"]
mod machine;
mod measure;
mod oracle;
mod ours;
mod report;
mod twin;

use clap::Parser;
use gemmule::kernel::{ACCURACY, Accuracy};
use measure::{Machine, Pair, Patterns};
use oracle::Row;
use ours::functions;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Runs the f32 functions over all 2^32 inputs: errors against what is stated, and the same bits on all instruction sets.
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// One input of every so many, and all edges; 1 takes all
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    stride: u64,
    /// Only this function; may be given several times
    #[arg(long, value_name = "NAME")]
    function: Vec<String>,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Append a section with machine, versions and table to this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print the names of the functions and end
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A function with all that is said of it.
struct Entry {
    pair: Pair,
    row: Row,
    stated: Accuracy,
}

/// Every function has an oracle and a stated error, and nothing is stated of a function that is not here.
fn entries() -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for pair in Pair::all() {
        let name = &pair.ours.name;
        let row = oracle::find(name).ok_or_else(|| format!("{name} has no oracle in src/oracle.rs"))?;
        let stated = functions::stated(name).ok_or_else(|| format!("no error is stated of {name}"))?;
        entries.push(Entry { pair, row, stated });
    }
    match ACCURACY.iter().find(|&stated| entries.iter().all(|entry| entry.stated != *stated)) {
        Some(stated) => {
            Err(format!("an error of {} is stated, but benches/support/functions.rs lacks it", stated.name))
        }
        None => Ok(entries),
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let mut entries = entries()?;
    if options.list {
        entries.iter().for_each(|entry| println!("{}", entry.pair.ours.name));
        return Ok(true);
    }
    if let Some(name) =
        options.function.iter().find(|&name| entries.iter().all(|entry| entry.pair.ours.name != *name))
    {
        return Err(format!("no function is called {name:?} (see --list)"));
    }
    entries.retain(|entry| options.function.is_empty() || options.function.contains(&entry.pair.ours.name));

    let machine = Machine::new()?;
    let patterns = Patterns::new(options.stride);
    let mut report = Report::begin(options, &machine)?;
    for Entry { pair, row, stated } in &entries {
        let start = Instant::now();
        let found = measure::run(pair, row, &machine, patterns, options.threads.into());
        report.function(row, stated, &found, start.elapsed())?;
    }
    report.end(&entries.iter().map(|entry| entry.row).collect::<Vec<_>>())
}

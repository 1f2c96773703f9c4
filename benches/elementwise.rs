//! Elementary functions, activations and their derivatives, softmax, cross-entropy and the Adam update, f32, one thread, on
//! every instruction set of this CPU: first a table with speed and error side by side, then criterion on the best set.
//!
//! Functions run on 64 Ki numbers, which stand in L2, so arithmetic is measured and not memory. Each answer is checked
//! against f64 before it is timed. Times are medians of rounds in which every instruction set and a copy of the same
//! slices have their turn. The errors are those that the crate states (`ACCURACY`), found by `benches/exhaustive`.
//!
//! `GEMMULE_TABLE_ONLY=1` leaves criterion out, `GEMMULE_NO_TABLE=1` the table; `GEMMULE_FILTER=word` takes only
//! workloads whose name contains the word. With `--worker` it obeys `peers/elementwise.py`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

#[path = "elementwise/buffer.rs"]
mod buffer;
#[path = "support/functions.rs"]
mod functions;
mod support;
#[path = "elementwise/worker.rs"]
mod worker;
#[path = "elementwise/workloads.rs"]
mod workloads;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
// What functions.rs calls the crate.
use gemmule as library;
use gemmule::{Context, Isa, Parallelism};
use support::{measuring, median};
use worker::batch;
use workloads::Workload;

/// Rounds of the table, and seconds of a turn.
const ROUNDS: usize = 9;
const TURN_SECONDS: f64 = 0.002;

fn contexts() -> Vec<Context> {
    let context = |isa| Context::new(isa).expect("available").with_parallelism(Parallelism::Serial);
    Isa::available().map(context).collect()
}

fn chosen() -> Vec<Workload> {
    let word = std::env::var("GEMMULE_FILTER").unwrap_or_default();
    workloads::all().into_iter().filter(|workload| workload.name.contains(&word)).collect()
}

/// A line for each workload: for each instruction set the nanoseconds per element and the share of a copy's speed.
fn table(workloads: &[Workload]) {
    let contexts = contexts();
    let names: Vec<String> = contexts.iter().map(|context| context.isa().to_string()).collect();
    println!(
        "f32, 1 thread: ns per element, and the speed in per cent of a copy's; the largest error in ULP, fused and portable"
    );
    println!(
        "| | {} | error | portable |",
        names.iter().map(|name| format!("{name} ns | of a copy")).collect::<Vec<_>>().join(" | ")
    );
    println!("| --- |{}", " --- |".repeat(2 * names.len() + 2));
    for workload in workloads {
        let rows = times(workload, &contexts);
        let cells: Vec<String> =
            rows.iter().map(|&(own, share)| format!("{own:.3} | {:.0}", 100.0 * share)).collect();
        let errors = functions::stated(&workload.name);
        let errors =
            errors.map_or("| ".to_owned(), |stated| format!("{} | {}", stated.fused, stated.portable));
        println!("| {} | {} | {errors} |", workload.name, cells.join(" | "));
    }
}

/// Nanoseconds per element, and the copy's by them, on each context: medians over the rounds.
fn times(workload: &Workload, contexts: &[Context]) -> Vec<(f64, f64)> {
    let copy = workloads::copy();
    let mut copying = copy.start(&contexts[0]);
    let mut works: Vec<_> = contexts.iter().map(|context| workload.start(context)).collect();
    let turn = |work: &mut dyn workloads::Work, context: &Context, elements: usize| {
        // The first run brings the operands to the caches, and says how many make a turn.
        let once = batch(work, context, 1).max(1e-7);
        let repeats = if measuring() { (TURN_SECONDS / once).ceil() as u64 } else { 1 };
        batch(work, context, repeats) * 1e9 / (repeats as f64 * elements as f64)
    };
    let mut found = vec![(Vec::new(), Vec::new()); contexts.len()];
    for _ in 0..if measuring() { ROUNDS } else { 1 } {
        for ((work, context), (own, share)) in works.iter_mut().zip(contexts).zip(&mut found) {
            let copied = turn(copying.as_mut(), context, copy.elements);
            let took = turn(work.as_mut(), context, workload.elements);
            own.push(took);
            share.push(copied / took);
        }
    }
    found.into_iter().map(|(own, share)| (median(own), median(share))).collect()
}

fn benches(criterion: &mut Criterion) {
    let context = contexts()[0];
    let mut group = criterion.benchmark_group(format!("elementwise/{}", context.isa()));
    for workload in chosen().into_iter().chain([workloads::copy()]) {
        let mut work = workload.start(&context);
        group.throughput(Throughput::Elements(workload.elements as u64));
        group.bench_function(BenchmarkId::new("f32", &workload.name), |bencher| {
            bencher.iter(|| work.run(&context));
        });
    }
    group.finish();
}

criterion_group!(elementwise, benches);

fn main() {
    if std::env::args().any(|argument| argument == "--worker") {
        return worker::serve();
    }
    if std::env::var_os("GEMMULE_NO_TABLE").is_none() {
        table(&chosen());
        if measuring() && chosen().iter().any(|workload| workload.name.starts_with("adam")) {
            support::update::print_ratios();
        }
    }
    if std::env::var_os("GEMMULE_TABLE_ONLY").is_none() {
        elementwise();
        Criterion::default().configure_from_args().final_summary();
    }
}

//! GEMM: squares and the three products of a training step, beside the peak of the instruction set.
//!
//! First the answers are checked against a naive product, then a table gives the share of the measured peak for every
//! instruction set (product and peak in turn, medians and bests of the rounds), another what epilogues cost, then criterion measures.
//! `GEMMULE_ISA` chooses the instruction set of the criterion part; `cargo bench --bench gemm -- --quick` is short.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use gemmule::kernel::activation::Activation;
use gemmule::{Context, Epilogue, Isa, MatMut, MatRef, Parallelism, available_threads, gemm, gemm_with};
use std::hint::black_box;
use std::time::Instant;
use support::{best, fill, measuring, median, peak, thread_seconds};

/// One product C = A B, with the operands' storage.
struct Case {
    name: String,
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Case {
    fn new(name: &str, (m, n, k): (usize, usize, usize), a_transposed: bool, b_transposed: bool) -> Self {
        let (a, b, c) = (fill(m * k, 1), fill(k * n, 2), vec![0.0; m * n]);
        Self { name: name.to_owned(), m, n, k, a_transposed, b_transposed, a, b, c }
    }

    fn operations(&self) -> u64 {
        2 * (self.m * self.n * self.k) as u64
    }

    fn views(&self) -> (MatRef<'_, f32>, MatRef<'_, f32>) {
        let view = |data, rows, cols, transposed| {
            if transposed { MatRef::col_major(data, rows, cols) } else { MatRef::row_major(data, rows, cols) }
        };
        (
            view(&self.a, self.m, self.k, self.a_transposed).expect("as large"),
            view(&self.b, self.k, self.n, self.b_transposed).expect("as large"),
        )
    }

    fn run(&mut self, context: &Context) {
        let mut c = std::mem::take(&mut self.c);
        let (a, b) = self.views();
        let mut view = MatMut::row_major(&mut c, self.m, self.n).expect("as large");
        gemm(context, 1.0, a, b, 0.0, &mut view).expect("shapes fit");
        self.c = black_box(c);
    }

    /// Some rows of the answer against sums in f64, within the bound of any order of summation.
    fn check(&mut self, context: &Context) {
        self.c.fill(f32::NAN);
        self.run(context);
        let (a, b) = self.views();
        let get = |view: &MatRef<'_, f32>, i, j| f64::from(view.get(i, j).expect("inside"));
        let rows = (20_000_000 / (self.n * self.k)).clamp(1, self.m);
        let unit = f64::from(f32::EPSILON) / 2.0 * (self.k + 2) as f64;
        for i in (0..self.m).step_by(self.m.div_ceil(rows)) {
            let (mut sums, mut sizes) = (vec![0.0; self.n], vec![0.0; self.n]);
            for k in 0..self.k {
                let x = get(&a, i, k);
                for j in 0..self.n {
                    let product = x * get(&b, k, j);
                    sums[j] += product;
                    sizes[j] += product.abs();
                }
            }
            for j in 0..self.n {
                let error = (f64::from(self.c[i * self.n + j]) - sums[j]).abs();
                let bound = unit / (1.0 - unit) * sizes[j];
                assert!(error <= bound, "{}: ({i}, {j}) is off by {error:e}", self.name);
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let mut all: Vec<_> = [64, 96, 128, 192, 256, 384, 512, 768, 1024]
        .into_iter()
        .map(|size| Case::new(&format!("square/{size}"), (size, size, size), false, false))
        .collect();
    // A layer's weights are out x in, as in PyTorch: forward is X W', dX is dY W, dW is dY' X.
    for (batch, input, output) in [(64, 784, 128), (128, 784, 512), (128, 512, 512), (128, 512, 10)] {
        let name = |what| format!("{what}/{batch}x{input}->{output}");
        all.push(Case::new(&name("forward"), (batch, output, input), false, true));
        all.push(Case::new(&name("d_input"), (batch, input, output), false, false));
        all.push(Case::new(&name("d_weight"), (output, input, batch), true, false));
    }
    all
}

/// GFLOP/s and share of the peak: product and peak take turns, so both meet the same clock and the same neighbours.
/// One thread counts its own processor time, several the wall clock: those need a quiet machine.
fn shares(context: &Context, threads: usize, cases: &mut [Case]) {
    const ROUNDS: usize = 15;
    let isa = context.isa();
    println!("\n{isa}, f32, {threads} thread(s)");
    println!("{:<28} {:>9} {:>9} {:>9} {:>7} {:>7}", "product", "median", "best", "peak", "median", "best");
    for case in cases {
        // About 3 ms of work a round.
        let repeats = (200_000_000 / case.operations()).clamp(1, 1000);
        let (mut rates, mut peaks, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS + 2 {
            let (wall, own) = (Instant::now(), thread_seconds());
            for _ in 0..repeats {
                case.run(context);
            }
            let seconds = if threads == 1 { thread_seconds() - own } else { wall.elapsed().as_secs_f64() };
            let rate = (case.operations() * repeats) as f64 / seconds;
            let peak = peak(isa, false, threads);
            // The first two rounds warm up.
            if round >= 2 {
                rates.push(rate);
                peaks.extend(peak);
                ratios.extend(peak.map(|peak| rate / peak));
            }
        }
        let best_rate = best(&rates);
        print!("{:<28} {:>9.1} {:>9.1}", case.name, median(rates) / 1e9, best_rate / 1e9);
        if ratios.is_empty() {
            println!("  no loop to measure the peak of {isa} here");
        } else {
            let best_peak = best(&peaks);
            println!(
                " {:>9.1} {:>6.1}% {:>6.1}%",
                best_peak / 1e9,
                100.0 * median(ratios),
                100.0 * best_rate / best_peak
            );
        }
    }
}

/// What epilogues cost: the time of each by that of the plain product in the same round, one thread, medians of the rounds.
fn epilogues(context: &Context) {
    const ROUNDS: usize = 15;
    println!("\n{}, f32, 1 thread: time by that of the plain product", context.isa());
    println!(
        "{:<10} {:>14} {:>14} {:>14} {:>14}",
        "cubed", "bias, ReLU", "bias, GELU", "ReLU'", "tile function"
    );
    for size in [256, 512, 1024, 2048] {
        let mut case = Case::new("", (size, size, size), false, false);
        let (bias, saved) = (fill(size, 3), fill(size * size, 4));
        let saved = MatRef::row_major(&saved, size, size).expect("as large");
        let tile = |_: usize, _: usize, mut tile: MatMut<'_, f32>| {
            black_box(tile.get_mut(0, 0));
        };
        let all = [
            Epilogue::default(),
            Epilogue { bias: Some(&bias), activation: Activation::Relu, ..Epilogue::default() },
            Epilogue { bias: Some(&bias), activation: Activation::Gelu, ..Epilogue::default() },
            Epilogue { derivative: Some((Activation::Relu, saved)), ..Epilogue::default() },
            Epilogue { tile_function: Some(&tile), ..Epilogue::default() },
        ];
        let repeats = (400_000_000 / case.operations()).clamp(1, 1000);
        let mut ratios = vec![Vec::new(); all.len()];
        for round in 0..ROUNDS + 2 {
            let seconds = all.map(|epilogue| {
                let own = thread_seconds();
                for _ in 0..repeats {
                    let mut c = std::mem::take(&mut case.c);
                    let (a, b) = case.views();
                    let mut view = MatMut::row_major(&mut c, size, size).expect("as large");
                    gemm_with(context, 1.0, a, b, 0.0, &mut view, &epilogue).expect("shapes fit");
                    case.c = black_box(c);
                }
                thread_seconds() - own
            });
            if round >= 2 {
                ratios.iter_mut().zip(seconds).for_each(|(ratios, x)| ratios.push(x / seconds[0]));
            }
        }
        print!("{size:<10}");
        ratios.into_iter().skip(1).for_each(|ratios| print!(" {:>14.3}", median(ratios)));
        println!();
    }
}

fn main() {
    let context = Context::detect().expect("GEMMULE_ISA names an instruction set of this CPU");
    let threads = available_threads();
    println!("instruction set {}, up to {threads} threads, f32", context.isa());
    let mut cases = cases();
    for isa in Isa::available() {
        let context = Context::new(isa).expect("available");
        cases.iter_mut().for_each(|case| case.check(&context));
    }
    println!("{} answers checked on every instruction set", cases.len());
    if measuring() && std::env::var_os("GEMMULE_NO_SHARES").is_none() {
        for isa in Isa::available() {
            let context = Context::new(isa).expect("available");
            shares(&context.with_parallelism(Parallelism::Serial), 1, &mut cases);
            if threads > 1 {
                shares(&context, threads, &mut cases);
            }
        }
        epilogues(&context.with_parallelism(Parallelism::Serial));
    }

    if std::env::var_os("GEMMULE_SHARES_ONLY").is_some() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, context) in [("serial", context.with_parallelism(Parallelism::Serial)), ("auto", context)] {
        let mut group = criterion.benchmark_group(format!("gemm/f32/{}/{name}", context.isa()));
        for case in &mut cases {
            group.throughput(Throughput::Elements(case.operations()));
            group.bench_function(BenchmarkId::from_parameter(case.name.clone()), |bencher| {
                bencher.iter(|| case.run(&context));
            });
        }
        group.finish();
    }
    criterion.final_summary();
}

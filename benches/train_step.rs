//! A training step of each workload, one thread and all of them: samples per second, and multiply-adds against the peak.
//!
//! The answer is checked first: one step gives the same loss and weights on every number of threads. The peak is
//! measured beside the step (see `support`), and two operations are counted per multiply-add of the products alone, so
//! the share says how much of the machine the products get, everything else included in the time. Below stand the phases of the
//! step, with the share of the peak that each one's products get, and the bytes that it moves by those that as many threads read
//! out of L2 in the same time: each operand counts once per operation, so what tiles read again is not in it, and what stays in L1 is.
//!
//! `cargo bench --bench train_step`

mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Model, PhaseTime, Sequential};
use gemmule::optim::Adam;
use gemmule::{Context, Parallelism, Tensor, available_threads};
use std::time::Instant;
use support::{fill, measuring, median, peak, read_rate};

struct Workload {
    name: &'static str,
    widths: &'static [usize],
    batch: usize,
    /// Batches that the steps go through in turn, so that the gather reads memory as training does.
    batches: usize,
    /// Steps whose phases are timed.
    profiled: usize,
}

const WORKLOADS: [Workload; 5] = [
    Workload { name: "mlp16_b1", widths: &[10, 16, 10], batch: 1, batches: 16, profiled: 2000 },
    Workload { name: "mlp64_b32", widths: &[784, 64, 64, 10], batch: 32, batches: 16, profiled: 200 },
    Workload { name: "mlp64_b128", widths: &[784, 64, 64, 10], batch: 128, batches: 16, profiled: 200 },
    Workload { name: "mlp512_b128", widths: &[784, 512, 512, 10], batch: 128, batches: 16, profiled: 100 },
    Workload {
        name: "mlp4096_b512",
        widths: &[784, 4096, 4096, 4096, 10],
        batch: 512,
        batches: 1,
        profiled: 4,
    },
];

impl Workload {
    fn model(&self, threads: usize) -> Model<f32> {
        let mut net = Sequential::new();
        for (i, pair) in self.widths.windows(2).enumerate() {
            net = net.with(Dense::new(pair[0], pair[1]));
            if i + 2 < self.widths.len() {
                net = net.with(Activation::Relu);
            }
        }
        let context = Context::detect().expect("an available instruction set");
        let mut model =
            net.build_with(context.with_parallelism(Parallelism::Max(threads)), 0).expect("shapes fit");
        model.compile(Loss::CrossEntropy, Adam::default()).expect("defaults are valid");
        model
    }

    fn data(&self) -> Dataset {
        let (samples, features) = (self.batches * self.batch, self.widths[0]);
        let x = Tensor::from_vec(&[samples, features], fill(samples * features, 1)).expect("as long");
        let classes = (0..samples as u32).map(|i| i * 7 % 10).collect();
        Dataset::from_values(x).and_then(|data| data.with_classes(classes, 10)).expect("in range")
    }

    /// Operations of the products of a step: forward, weight gradients, input gradients but the first.
    fn operations(&self) -> f64 {
        let layers = self.widths.windows(2).enumerate();
        let products = layers.map(|(i, pair)| (if i == 0 { 4.0 } else { 6.0 }) * (pair[0] * pair[1]) as f64);
        products.sum::<f64>() * self.batch as f64
    }

    fn batches(&self) -> Vec<Vec<usize>> {
        // Scattered, as a shuffle would.
        let samples = self.batches * self.batch;
        let order: Vec<usize> = (0..samples).map(|i| i * 5 % samples).collect();
        order.chunks(self.batch).map(<[usize]>::to_vec).collect()
    }
}

/// One step on every number of threads leaves the same loss and weights.
fn check(workload: &Workload, threads: usize) {
    let (data, batches) = (workload.data(), workload.batches());
    let step = |threads| {
        let mut model = workload.model(threads);
        let loss = model.step(&data, &batches[0]).expect("a step");
        assert!((2.0..3.0).contains(&loss), "{}: the first loss is {loss}, not about ln 10", workload.name);
        (loss, model.parameter("0.weight").expect("a weight"))
    };
    assert_eq!(step(1), step(threads), "{}", workload.name);
}

fn main() {
    let isa = Context::detect().expect("GEMMULE_ISA names an instruction set of this CPU").isa();
    let most = available_threads();
    println!("instruction set {isa}, up to {most} threads, f32, Adam, softmax cross-entropy");
    let mut counts = vec![1, most];
    counts.dedup();
    for workload in &WORKLOADS {
        check(workload, most);
        if !measuring() {
            continue;
        }
        let (data, batches) = (workload.data(), workload.batches());
        for &threads in &counts {
            let mut model = workload.model(threads);
            // Step and peak take turns, so both meet the same clock and the same neighbours.
            let (mut rates, mut shares) = (Vec::new(), Vec::new());
            for round in 0..17 {
                let start = Instant::now();
                for batch in &batches {
                    model.step(&data, batch).expect("a step");
                }
                let seconds = start.elapsed().as_secs_f64() / batches.len() as f64;
                let peak = peak(isa, false, threads);
                if round >= 2 {
                    rates.push(workload.batch as f64 / seconds);
                    shares.extend(peak.map(|peak| workload.operations() / seconds / peak));
                }
            }
            print!("{:<12} {threads} thread(s) {:>9.0} samples/s", workload.name, median(rates));
            if shares.is_empty() {
                println!("  no loop to measure the peak of {isa} here");
            } else {
                println!(" {:>5.1}% of the peak", 100.0 * median(shares));
            }
            let mut batch = batches.iter().cycle();
            let mut total: Vec<PhaseTime> = Vec::new();
            // Each step on another batch, as in training.
            for _ in 0..workload.profiled {
                let phases = model.profile(&data, batch.next().expect("endless"), 1).expect("a step");
                if total.is_empty() {
                    total = phases;
                } else {
                    total.iter_mut().zip(phases).for_each(|(sum, phase)| sum.seconds += phase.seconds);
                }
            }
            let (peak, rate) = (peak(isa, false, threads), read_rate(threads));
            println!("    of the peak, of {:.1} GB/s out of L2", rate * 1e-9);
            for phase in &total {
                let seconds = phase.seconds / workload.profiled as f64;
                let share = peak.map_or(f64::NAN, |peak| 200.0 * phase.multiply_adds / seconds / peak);
                let moved = 100.0 * phase.bytes / seconds / rate;
                println!("    {:>9.1} us {share:>5.1}% {moved:>5.1}%  {}", 1e6 * seconds, phase.name);
            }
        }
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("train_step");
    for workload in &WORKLOADS {
        group.throughput(Throughput::Elements(workload.batch as u64));
        let (data, batches) = (workload.data(), workload.batches());
        for &threads in &counts {
            let mut model = workload.model(threads);
            let mut next = batches.iter().cycle();
            group.bench_function(BenchmarkId::new(workload.name, threads), |bencher| {
                bencher.iter(|| model.step(&data, next.next().expect("endless")).expect("a step"));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

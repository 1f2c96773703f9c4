//! Training throughput, one line per workload: `gemmule,THREADS,WORKLOAD,SAMPLES_PER_SECOND`.
//!
//! `cargo run --release --example throughput -- THREADS [WORKLOAD ...]`
//!
//! float32, Adam(1e-3), softmax cross-entropy from integer labels, shuffled mini-batches gathered from an in-memory set
//! of 20,480 samples (784 features), the gather counted. Median of 3 timed passes of `fit` after a warm-up.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Sequential};
use gemmule::optim::Adam;
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Parallelism, Result, Tensor};
use std::time::Instant;

/// Name, layer widths, batch, samples per timed pass.
type Workload = (&'static str, &'static [usize], usize, usize);

const WORKLOADS: [Workload; 4] = [
    ("mlp64_b32", &[784, 64, 64, 10], 32, 20_480),
    ("mlp64_b128", &[784, 64, 64, 10], 128, 20_480),
    ("mlp512_b128", &[784, 512, 512, 10], 128, 20_480),
    ("mlp4096_b512", &[784, 4096, 4096, 4096, 10], 512, 2_048),
];
const SAMPLES: usize = 20_480;
const FEATURES: usize = 784;

fn data() -> Result<Dataset> {
    let rng = Rng::new(0);
    let mut x = vec![0.0_f32; SAMPLES * FEATURES];
    rng.stream(0).fill_normal(&Context::detect()?, &mut x, 0.0, 1.0)?;
    let mut labels = rng.stream(1);
    let y = (0..SAMPLES).map(|_| labels.below(10) as u32).collect();
    Dataset::from_values(Tensor::from_vec(&[SAMPLES, FEATURES], x)?)?.with_classes(y, 10)
}

/// Samples per second: the median of three passes.
fn measure(data: &Dataset, (_, widths, batch, samples): Workload, threads: usize) -> Result<f64> {
    let mut net = Sequential::new();
    for (i, pair) in widths.windows(2).enumerate() {
        net = net.with(Dense::new(pair[0], pair[1]));
        if i + 2 < widths.len() {
            net = net.with(Activation::Relu);
        }
    }
    let context = Context::detect()?.with_parallelism(Parallelism::Max(threads));
    let mut model = net.build_with::<f32>(context, 0)?;
    model.compile(Loss::CrossEntropy, Adam::default())?;
    // Passes of the same length, each over samples of its own in an order of its own, as `fit` goes through them.
    let pass = |number: u64| data.subset(&Rng::new(1).stream(number).permutation(SAMPLES)[..samples]);
    let warm_up = data.subset(&(0..6 * batch).collect::<Vec<_>>())?;
    model.fit(&warm_up, Fit::new().batch_size(batch))?;
    let mut seconds = Vec::new();
    for number in 0..3 {
        let set = pass(number)?;
        let start = Instant::now();
        model.fit(&set, Fit::new().batch_size(batch).seed(number))?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(samples as f64 / seconds[1])
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|text| text.parse().ok()).filter(|&threads| threads > 0);
    let Some(threads) = threads else {
        eprintln!("usage: throughput THREADS [WORKLOAD ...]");
        std::process::exit(2);
    };
    let chosen: Vec<String> = arguments.collect();
    if let Some(unknown) = chosen.iter().find(|&name| WORKLOADS.iter().all(|workload| workload.0 != name)) {
        eprintln!("no workload {unknown:?}: there are {}", WORKLOADS.map(|workload| workload.0).join(", "));
        std::process::exit(2);
    }
    let data = data()?;
    for workload in WORKLOADS {
        if chosen.is_empty() || chosen.iter().any(|name| name == workload.0) {
            println!("gemmule,{threads},{},{:.0}", workload.0, measure(&data, workload, threads)?);
        }
    }
    Ok(())
}

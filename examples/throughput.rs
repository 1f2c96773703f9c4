//! Throughput, one line per workload: `gemmule,THREADS,WORKLOAD,SAMPLES_PER_SECOND`.
//!
//! `cargo run --release --example throughput -- THREADS [WORKLOAD ...]`
//!
//! | workload | |
//! | --- | --- |
//! | `mlp64_b32`, ... | training with `fit`: float32, Adam(1e-3), softmax cross-entropy from integer labels, shuffled mini-batches gathered from an in-memory set of 20,480 samples (784 features), the gather counted; these are run if none is named |
//! | `cnn_b64`, `lenet_b64`, `resnet8_b64`, `lstm_b64`, `gru_b64`, `transformer_b32` | training in the same way; `benches/peers/layers.py` says what the nets are |
//! | `predict:NET:BATCH` | inference with `predict`, BATCH samples per call, for example `predict:mlp64:32` |
//! | `tiny` | training of 10-16-1 with `step`: batch 1, SGD(0.01), mean squared error |
//!
//! Median of 3 timed turns after a warm-up. One thread counts its processor time, several the wall clock.
//!
//! `-- --worker THREADS` serves `benches/peers/train.py` and `layers.py`: it reads orders and answers each with a line.
//!
//! | order | answer |
//! | --- | --- |
//! | (when it starts) | `ready VERSION` |
//! | `begin WORKLOAD SECONDS` | `answer X...`: losses of the first steps, or outputs; a turn shall take about so long |
//! | `time` | `took SECONDS` per sample, and the loss of a last step where it trains |
//! | `peak` | `peak FLOPS`: multiply-adds in registers, as operations per second; 0 where there is no loop for it |

#[path = "../benches/support/nets.rs"]
mod nets;
#[path = "../benches/support/mod.rs"]
mod support;

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Model, Sequential};
use gemmule::optim::{Adam, Sgd};
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Parallelism, Result, Tensor};
use nets::Data;
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::LazyLock;
use std::time::Instant;
use support::{fill, median, thread_seconds};

const NETS: [(&str, &[usize]); 3] = [
    ("mlp64", &[784, 64, 64, 10]),
    ("mlp512", &[784, 512, 512, 10]),
    ("mlp4096", &[784, 4096, 4096, 4096, 10]),
];
/// Name, net, batch, samples that a pass goes through.
const TRAINING: [(&str, &str, usize, usize); 4] = [
    ("mlp64_b32", "mlp64", 32, SAMPLES),
    ("mlp64_b128", "mlp64", 128, SAMPLES),
    ("mlp512_b128", "mlp512", 128, SAMPLES),
    ("mlp4096_b512", "mlp4096", 512, 2_048),
];
const SAMPLES: usize = 20_480;
const CLASSES: usize = 10;
/// Steps whose losses are the answer of training; of the tiny net each is the mean over `TINY_STEPS`.
const ANSWERS: usize = 6;
const TINY_STEPS: usize = 512;

/// Normal features would do as well: these are the same in `train.py`, so that the answers can be compared.
fn features(samples: usize, width: usize) -> Vec<f32> {
    // A variance of about 1.
    fill(samples * width, 1).into_iter().map(|x| x * 1.75).collect()
}

static DIGITS: LazyLock<Dataset> = LazyLock::new(|| classes(SAMPLES, 784));

static IMAGES: LazyLock<Dataset> = LazyLock::new(|| classes(4_096, 3_072));
static SEQUENCES: LazyLock<Dataset> = LazyLock::new(|| classes(2_048, 8_192));

/// The class is the largest of the first ten features: something to learn.
fn classes(samples: usize, width: usize) -> Dataset {
    let x = features(samples, width);
    let largest =
        |row: &[f32]| (0..CLASSES).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u32;
    let classes = x.chunks(width).map(largest).collect();
    let x = Tensor::from_vec(&[samples, width], x).expect("as long");
    Dataset::from_values(x).and_then(|set| set.with_classes(classes, CLASSES)).expect("in range")
}

/// Half the difference of the first two features.
static PLANE: LazyLock<Dataset> = LazyLock::new(|| {
    let x = features(SAMPLES, 10);
    let y = x.chunks(10).map(|row| 0.5 * (row[0] - row[1])).collect();
    let tensor = |width, values| Tensor::from_vec(&[SAMPLES, width], values).expect("as long");
    Dataset::from_values(tensor(10, x)).and_then(|set| set.with_values(tensor(1, y))).expect("as many")
});

fn model(widths: &[usize], threads: usize) -> Result<Model<f32>> {
    let mut net = Sequential::new();
    for (i, pair) in widths.windows(2).enumerate() {
        net = net.with(Dense::new(pair[0], pair[1]));
        if i + 2 < widths.len() {
            net = net.with(Activation::Relu);
        }
    }
    let context = Context::detect()?.with_parallelism(Parallelism::Max(threads));
    let mut model = net.build_with::<f32>(context, 0)?;
    for (i, pair) in widths.windows(2).enumerate() {
        // He's bound; the same numbers in `train.py`.
        let bound = (6.0 / pair[0] as f64).sqrt() as f32;
        let weight = fill(pair[0] * pair[1], 2 + i as u32).into_iter().map(|x| x * bound).collect();
        let name = format!("{}.", 2 * i);
        model.set_parameter(&(name.clone() + "weight"), &Tensor::from_vec(&[pair[1], pair[0]], weight)?)?;
        model.set_parameter(&(name + "bias"), &Tensor::zeros(&[pair[1]])?)?;
    }
    Ok(model)
}

enum Kind {
    /// On what, batch, samples of a pass.
    Fit(&'static Dataset, usize, usize),
    Predict(Dataset),
    Tiny,
}

struct Workload {
    kind: Kind,
    model: Model<f32>,
    threads: usize,
    /// Passes of training, calls or steps of a turn.
    repeats: usize,
    /// Turns so far: each has orders of its own.
    turns: u64,
}

impl Workload {
    /// None if there is no such workload.
    fn new(name: &str, threads: usize) -> Result<Option<Self>> {
        if let Some(net) = nets::find(name) {
            let data = match net.data {
                Data::Digits => &*DIGITS,
                Data::Images => &*IMAGES,
                Data::Sequences => &*SEQUENCES,
            };
            let context = Context::detect()?.with_parallelism(Parallelism::Max(threads));
            let mut model = net.layers.build_with::<f32>(context, 0)?;
            nets::begin(&mut model, &net)?;
            model.compile(Loss::CrossEntropy, Adam::default())?;
            let kind = Kind::Fit(data, net.batch, net.pass);
            return Ok(Some(Self { kind, model, threads, repeats: 1, turns: 0 }));
        }
        let widths = |net: &str| NETS.iter().find(|(name, _)| *name == net).map(|net| net.1);
        let (kind, widths) = if name == "tiny" {
            (Kind::Tiny, Some(&[10, 16, 1][..]))
        } else if let Some((_, net, batch, samples)) =
            TRAINING.into_iter().find(|workload| workload.0 == name)
        {
            (Kind::Fit(&DIGITS, batch, samples), widths(net))
        } else {
            let mut parts = name.split(':');
            let (predict, net, batch) = (parts.next(), parts.next(), parts.next());
            let batch =
                batch.and_then(|text| text.parse().ok()).filter(|batch| (1..=SAMPLES).contains(batch));
            let (Some("predict"), Some(net), Some(batch), None) = (predict, net, batch, parts.next()) else {
                return Ok(None);
            };
            (Kind::Predict(DIGITS.subset(&(0..batch).collect::<Vec<_>>())?), widths(net))
        };
        let Some(widths) = widths else { return Ok(None) };
        let mut model = model(widths, threads)?;
        match kind {
            Kind::Fit(..) => model.compile(Loss::CrossEntropy, Adam::default())?,
            Kind::Tiny => {
                model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.01, ..Sgd::default() })?
            }
            Kind::Predict(_) => {}
        }
        Ok(Some(Self { kind, model, threads, repeats: 1, turns: 0 }))
    }

    /// Losses of the first steps, on the samples from the first on; or outputs for the first and the last sample.
    fn answer(&mut self) -> Result<Vec<f64>> {
        match &self.kind {
            &Kind::Fit(data, batch, _) => {
                let batches = (0..ANSWERS).map(|i| (i * batch..(i + 1) * batch).collect::<Vec<_>>());
                batches.map(|batch| Ok(f64::from(self.model.step(data, &batch)?))).collect()
            }
            Kind::Tiny => {
                let mut loss = |i| self.model.step(&*PLANE, &[i]).map(f64::from);
                let mean = |i| {
                    Ok((0..TINY_STEPS).map(|j| loss(i * TINY_STEPS + j)).sum::<Result<f64>>()?
                        / TINY_STEPS as f64)
                };
                (0..ANSWERS).map(mean).collect()
            }
            Kind::Predict(batch) => {
                let outputs = self.model.predict(batch)?;
                let all = outputs.as_slice();
                Ok(all[..CLASSES].iter().chain(&all[all.len() - CLASSES..]).map(|&x| f64::from(x)).collect())
            }
        }
    }

    fn clock(&self) -> f64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        if self.threads == 1 { thread_seconds() } else { START.elapsed().as_secs_f64() }
    }

    /// Seconds per sample: `repeats` passes, calls or steps.
    fn run(&mut self, repeats: usize) -> Result<f64> {
        self.turns += 1;
        let order = Rng::new(1).stream(self.turns).permutation(match &self.kind {
            Kind::Fit(data, ..) => data.len(),
            _ => SAMPLES,
        });
        let start = self.clock();
        let samples = match &self.kind {
            &Kind::Fit(data, batch, samples) => {
                let fit = Fit::new().batch_size(batch).seed(self.turns);
                if samples == data.len() {
                    self.model.fit(data, fit.epochs(repeats))?;
                } else {
                    // `subset` copies: it is a thousandth of what such passes take.
                    self.model.fit(&data.subset(&order[..samples])?, fit.epochs(repeats))?;
                }
                samples * repeats
            }
            Kind::Predict(batch) => {
                for _ in 0..repeats {
                    std::hint::black_box(self.model.predict(batch)?);
                }
                batch.len() * repeats
            }
            Kind::Tiny => {
                for &sample in order.iter().cycle().take(repeats) {
                    self.model.step(&*PLANE, &[sample])?;
                }
                repeats
            }
        };
        Ok((self.clock() - start) / samples as f64)
    }

    /// Sets `repeats` so that a turn takes about `seconds`.
    fn calibrate(&mut self, seconds: f64) -> Result<()> {
        loop {
            let start = self.clock();
            self.run(self.repeats)?;
            let took = self.clock() - start;
            if took >= seconds / 4.0 {
                self.repeats = ((self.repeats as f64 * seconds / took).ceil() as usize).max(1);
                return Ok(());
            }
            self.repeats *= 2;
        }
    }

    /// A tenth of a turn first: others have had the caches. A pass of training is warm after a batch.
    fn turn(&mut self) -> Result<f64> {
        match &self.kind {
            &Kind::Fit(data, batch, samples) => {
                let few: Vec<usize> = (0..batch * (samples / batch / 10).max(1)).collect();
                let (set, fit) = (data.subset(&few)?, Fit::new().batch_size(batch));
                self.model.fit(&set, fit)?;
            }
            _ => drop(self.run(self.repeats / 10 + 1)?),
        }
        self.run(self.repeats)
    }

    /// The loss of one more step; nothing where nothing is learnt.
    fn loss(&mut self) -> Result<Option<f32>> {
        match &self.kind {
            &Kind::Fit(data, batch, _) => {
                let first: Vec<usize> = (0..batch).collect();
                self.model.step(data, &first).map(Some)
            }
            Kind::Tiny => self.model.step(&*PLANE, &[0]).map(Some),
            Kind::Predict(_) => Ok(None),
        }
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody reads");
}

/// Obeys until the input ends.
fn serve(threads: usize) -> Result<()> {
    let isa = Context::detect()?.isa();
    say(&format!("ready gemmule {} ({isa})", env!("CARGO_PKG_VERSION")));
    let mut current: Option<Workload> = None;
    for line in stdin().lock().lines() {
        let line = line.expect("the orders are text");
        let words: Vec<&str> = line.split(' ').collect();
        match (words.as_slice(), &mut current) {
            (["begin", name, seconds], current) => {
                // The last one's memory first.
                *current = None;
                *current = Workload::new(name, threads)?;
                let Some(workload) = current else {
                    say(&format!("no workload {name}"));
                    continue;
                };
                let answer: String = workload.answer()?.iter().map(|x| format!(" {x}")).collect();
                workload.calibrate(seconds.parse().expect("seconds"))?;
                say(&format!("answer{answer}"));
            }
            (["time"], Some(workload)) => {
                let seconds = workload.turn()?;
                let loss = workload.loss()?.map(|loss| format!(" {loss}"));
                say(&format!("took {seconds:e}{}", loss.unwrap_or_default()));
            }
            (["peak"], _) => say(&format!("peak {:e}", support::peak(isa, false, threads).unwrap_or(0.0))),
            _ => say(&format!("not an order here: {line}")),
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let worker = arguments.first().is_some_and(|argument| argument == "--worker");
    if worker {
        arguments.remove(0);
    }
    let threads = arguments.first().and_then(|text| text.parse().ok()).filter(|&threads: &usize| threads > 0);
    let Some(threads) = threads else {
        eprintln!("usage: throughput THREADS [WORKLOAD ...]");
        std::process::exit(2);
    };
    if worker {
        return serve(threads);
    }
    let mut names = arguments.split_off(1);
    if names.is_empty() {
        names = TRAINING.map(|workload| workload.0.to_string()).to_vec();
    }
    for name in names {
        let Some(mut workload) = Workload::new(&name, threads)? else {
            let training = TRAINING.map(|workload| workload.0).join(", ");
            let (nets, layers) = (NETS.map(|net| net.0).join(", "), nets::NAMES.join(", "));
            eprintln!(
                "no workload {name:?}: there are {training}, {layers}, tiny and predict:NET:BATCH, NET one of {nets}"
            );
            std::process::exit(2);
        };
        workload.calibrate(0.2)?;
        let turns = (0..3).map(|_| workload.turn()).collect::<Result<Vec<_>>>()?;
        println!("gemmule,{threads},{name},{:.0}", 1.0 / median(turns));
    }
    Ok(())
}

//! The tiny net of `../train.py` in burn, on its CPU backend: 10-16-1, batch 1, SGD(0.01), mean squared error.
//!
//! Orders and answers are those of `examples/throughput.rs`; `lacks` is the answer for any other workload.

use burn::module::{Module, Param};
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};
use cpu_time::ProcessTime;
use std::io::{BufRead, Write, stdin, stdout};

const SAMPLES: usize = 20_480;
const ANSWERS: usize = 6;
const TINY_STEPS: usize = 512;

/// Numbers in [-1, 1) from an index, as in the crate's `benches/support`.
fn fill(len: usize, seed: u32) -> Vec<f32> {
    let number = |i: u32| {
        let bits = (i ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
        let bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
        (bits >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..len as u32).map(number).collect()
}

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    last: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let layer = |inputs: usize, outputs: usize, seed| {
            let bound = (6.0 / inputs as f64).sqrt() as f32;
            let weight: Vec<f32> = fill(inputs * outputs, seed).into_iter().map(|x| x * bound).collect();
            // Given as outputs x inputs; burn's is inputs x outputs.
            let weight: Vec<f32> =
                (0..inputs * outputs).map(|i| weight[i % outputs * inputs + i / outputs]).collect();
            let mut layer = LinearConfig::new(inputs, outputs).init(device);
            let data = TensorData::new(weight, [inputs, outputs]);
            layer.weight = Param::from_tensor(Tensor::from_data(data, device));
            layer.bias = Some(Param::from_tensor(Tensor::zeros([outputs], device)));
            layer
        };
        Self { first: layer(10, 16, 2), last: layer(16, 1, 3) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.last.forward(activation::relu(self.first.forward(x)))
    }
}

struct Tiny {
    x: Vec<Tensor<2>>,
    y: Vec<Tensor<2>>,
    /// Taken while a step is on its way.
    net: Option<Net>,
    optimizer: ModuleOptimizer,
    repeats: usize,
    turns: usize,
}

impl Tiny {
    fn new() -> Self {
        let device = Device::flex().autodiff();
        let x: Vec<f32> = fill(SAMPLES * 10, 1).into_iter().map(|x| x * 1.75).collect();
        let tensor = |row: &[f32]| Tensor::from_data(TensorData::new(row.to_vec(), [1, row.len()]), &device);
        Self {
            // A tensor per sample: nothing to gather.
            y: x.chunks(10).map(|row| tensor(&[0.5 * (row[0] - row[1])])).collect(),
            x: x.chunks(10).map(tensor).collect(),
            net: Some(Net::new(&device)),
            optimizer: SgdConfig::new().init(),
            repeats: 1,
            turns: 0,
        }
    }

    /// The loss, not read yet.
    fn step(&mut self, sample: usize) -> Tensor<1> {
        let net = self.net.take().expect("put back below");
        let output = net.forward(self.x[sample].clone());
        let loss = MseLoss::new().forward(output, self.y[sample].clone(), Reduction::Mean);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        self.net = Some(self.optimizer.step(0.01, net, gradients));
        loss
    }

    fn loss(&mut self, sample: usize) -> f64 {
        f64::from(self.step(sample).into_scalar::<f32>())
    }

    /// Seconds per step.
    fn run(&mut self, steps: usize) -> f64 {
        self.turns += 1;
        // An odd multiplier goes through all samples, scattered.
        let first = self.turns;
        let start = ProcessTime::now();
        for i in 0..steps {
            self.step((first + i * 4_097) % SAMPLES);
        }
        start.elapsed().as_secs_f64() / steps as f64
    }

    fn calibrate(&mut self, seconds: f64) {
        self.repeats = 1;
        loop {
            let took = self.run(self.repeats) * self.repeats as f64;
            if took >= seconds / 4.0 {
                self.repeats = ((self.repeats as f64 * seconds / took).ceil() as usize).max(1);
                return;
            }
            self.repeats *= 2;
        }
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody reads");
}

fn main() {
    say("ready burn 0.22 (flex, x86-v4)");
    let mut tiny: Option<Tiny> = None;
    for line in stdin().lock().lines() {
        let line = line.expect("the orders are text");
        let words: Vec<&str> = line.split(' ').collect();
        match (words.as_slice(), &mut tiny) {
            (["begin", "tiny", seconds], tiny) => {
                let tiny = tiny.insert(Tiny::new());
                let mean = |i| {
                    let losses = (0..TINY_STEPS).map(|j| tiny.loss(i * TINY_STEPS + j));
                    losses.sum::<f64>() / TINY_STEPS as f64
                };
                let answer: String = (0..ANSWERS).map(mean).map(|x| format!(" {x}")).collect();
                tiny.calibrate(seconds.parse().expect("seconds"));
                say(&format!("answer{answer}"));
            }
            (["begin", ..], _) => say("lacks"),
            (["time"], Some(tiny)) => {
                tiny.run(tiny.repeats / 10 + 1);
                let seconds = tiny.run(tiny.repeats);
                say(&format!("took {seconds:e} {}", tiny.loss(0)));
            }
            _ => say(&format!("not an order here: {line}")),
        }
    }
}

//! The Rust side of `tests/golden/mlp.py`: the formula behind weights and data, and a reader of its records.
//!
//! `tests/golden/README.md` describes both. Needs nothing but the standard library.

#![allow(dead_code, reason = "each test binary uses its own part")]

#[path = "formula.rs"]
mod formula;

pub use formula::{half_unit, hashed, signed};
use std::collections::BTreeMap;

/// Streams of a net: `STREAMS * net + parameter` for the parameters in their order, then these two.
pub const STREAMS: u64 = 100;
/// Added to `STREAMS * net`: the inputs, element `row * features + feature`.
pub const INPUTS: u64 = 50;
/// Added to `STREAMS * net`: the labels of a classification, element `row`.
pub const LABELS: u64 = 51;
/// Elements that a tensor record samples.
pub const SAMPLES: usize = 8;

/// Element k of the samples of a tensor of `count` elements.
pub fn sample_index(count: usize, k: usize) -> usize {
    (count - 1) * k / (SAMPLES - 1)
}

/// What a batch is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One class per row.
    Classes(Vec<u32>),
    /// `(batch, outputs)`, row by row.
    Values(Vec<f32>),
}

/// One part of a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// From so many features to so many.
    Linear(usize, usize),
    Relu,
    Tanh,
    Sigmoid,
}

/// The mean over the batch, and over the outputs where each has a target of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    CrossEntropy,
    Mse,
    BceWithLogits,
}

/// A net and the formula of its weights and data.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    pub name: String,
    pub number: u64,
    pub layers: Vec<Layer>,
    pub loss: Loss,
    pub batch: usize,
    pub features: usize,
    pub outputs: usize,
    /// One per linear layer, for its weight and its bias.
    pub scales: Vec<f32>,
}

impl Net {
    /// The first values of all parameters with PyTorch's names, `0.weight` (out, in) and `0.bias` (out).
    pub fn parameters(&self) -> Vec<(String, Vec<f32>)> {
        let mut all = Vec::new();
        for (at, layer) in self.layers.iter().enumerate() {
            let Layer::Linear(inputs, outputs) = *layer else { continue };
            for (what, count) in [("weight", inputs * outputs), ("bias", outputs)] {
                let stream = STREAMS * self.number + all.len() as u64;
                let scale = self.scales[all.len() / 2];
                let values = (0..count as u64).map(|i| signed(hashed(stream, i), scale)).collect();
                all.push((format!("{at}.{what}"), values));
            }
        }
        all
    }

    /// The inputs `(batch, features)` and the targets of a step, counted from 0.
    pub fn batch(&self, step: usize) -> (Vec<f32>, Targets) {
        let (inputs, labels) = (STREAMS * self.number + INPUTS, STREAMS * self.number + LABELS);
        let (mut x, mut classes, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for row in step * self.batch..(step + 1) * self.batch {
            let hashes = (0..self.features).map(|j| hashed(inputs, (row * self.features + j) as u64));
            if self.loss == Loss::CrossEntropy {
                let label = (hashed(labels, row as u64) % 10) as usize;
                let lift = |j: usize| if j % 10 == label { 0.5 } else { 0.0 };
                x.extend(hashes.enumerate().map(|(j, h)| half_unit(h) + lift(j)));
                classes.push(label as u32);
                continue;
            }
            let start = x.len();
            x.extend(hashes.map(|h| signed(h, 1.0)));
            values.extend(x[start..start + self.outputs].iter().map(|&v| match self.loss {
                Loss::Mse => 0.5 * v,
                _ => f32::from(u8::from(v >= 0.0)),
            }));
        }
        (x, if self.loss == Loss::CrossEntropy { Targets::Classes(classes) } else { Targets::Values(values) })
    }
}

/// The precision that PyTorch ran in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    F32,
    F64,
}

/// What is kept of a tensor. Values of a float32 run are float32 values.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub count: usize,
    pub sum: f64,
    pub sum_of_abs: f64,
    /// Element [`sample_index`]`(count, k)` for each k.
    pub samples: [f64; SAMPLES],
}

impl Summary {
    /// Of the given elements. The sums are plain: their error is far below that of any float32 run.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        Self {
            count: values.len(),
            sum: values.iter().sum(),
            sum_of_abs: values.iter().map(|v| v.abs()).sum(),
            samples: std::array::from_fn(|k| values[sample_index(values.len(), k)]),
        }
    }

    /// The largest difference between the two: of a sample, relative to the mean magnitude of the expected
    /// tensor's elements or the sample's own, whichever is larger; of a sum, relative to the sum of magnitudes.
    pub fn difference(&self, expected: &Self) -> f64 {
        assert_eq!(self.count, expected.count, "the tensors have different sizes");
        let mean = expected.sum_of_abs / expected.count as f64;
        let relative =
            |got: f64, want: f64, scale: f64| if got == want { 0.0 } else { (got - want).abs() / scale };
        let samples =
            self.samples.iter().zip(&expected.samples).map(|(&g, &w)| relative(g, w, w.abs().max(mean)));
        let sums = [(self.sum, expected.sum), (self.sum_of_abs, expected.sum_of_abs)];
        let sums = sums.into_iter().map(|(g, w)| relative(g, w, expected.sum_of_abs));
        // Not `f64::max`: it would drop a NaN.
        samples.chain(sums).fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
    }
}

/// One net trained with one optimiser.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// `lr`, `momentum`, `nesterov`, `weight_decay`, as Python prints them.
    pub options: BTreeMap<String, String>,
    /// The losses of the steps, from the float32 run and from the float64 run.
    pub losses: Vec<(f64, f64)>,
    /// By name (`0.weight`) and kind (`value`, `momentum_buffer`, `exp_avg`, `exp_avg_sq`, `grad`).
    pub tensors: BTreeMap<(String, String, Precision), Summary>,
}

impl Section {
    /// An option as a number, 0 if absent.
    pub fn option(&self, name: &str) -> f64 {
        self.options.get(name).map_or(0.0, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    }

    /// The summary of a tensor.
    pub fn tensor(&self, name: &str, kind: &str, precision: Precision) -> &Summary {
        let key = (name.to_owned(), kind.to_owned(), precision);
        self.tensors.get(&key).unwrap_or_else(|| panic!("no record of {key:?}"))
    }
}

/// All records of a file.
#[derive(Clone, Debug, Default)]
pub struct Golden {
    pub torch: String,
    pub nets: Vec<Net>,
    /// By `net/optimizer`; `net/start` holds the output and the gradients of the first step.
    pub sections: BTreeMap<String, Section>,
    hashes: Vec<(u64, u64, u64)>,
    signed: Vec<(u64, u64, f32, f64)>,
    half_units: Vec<(u64, u64, f64)>,
}

impl Golden {
    /// Reads the records.
    ///
    /// # Panics
    /// On a line that is not a record, with its number: the file is part of the tests.
    pub fn parse(text: &str) -> Self {
        let mut golden = Self::default();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split(' ').collect();
            golden.record(&fields).unwrap_or_else(|| panic!("line {}: not a record: {line}", number + 1));
        }
        golden
    }

    /// The section `net/optimizer`.
    pub fn section(&self, name: &str) -> &Section {
        self.sections.get(name).unwrap_or_else(|| panic!("no section {name}"))
    }

    /// The net `name`.
    pub fn net(&self, name: &str) -> &Net {
        self.nets.iter().find(|net| net.name == name).unwrap_or_else(|| panic!("no net {name}"))
    }

    fn record(&mut self, fields: &[&str]) -> Option<()> {
        match *fields {
            ["torch", version] => version.clone_into(&mut self.torch),
            ["hash", stream, index, hash] => {
                self.hashes.push((parse(stream)?, parse(index)?, u64::from_str_radix(hash, 16).ok()?));
            }
            ["signed", stream, index, scale, value] => {
                self.signed.push((parse(stream)?, parse(index)?, parse(scale)?, parse(value)?));
            }
            ["half_unit", stream, index, value] => {
                self.half_units.push((parse(stream)?, parse(index)?, parse(value)?));
            }
            ["net", name, number, layers, loss, batch, scales] => {
                self.nets.push(net(name, parse(number)?, layers, loss, parse(batch)?, scales)?);
            }
            ["section", name, ref options @ ..] => {
                let options = options.iter().map(|option| {
                    option.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
                });
                self.sections.entry(name.to_owned()).or_default().options = options.collect::<Option<_>>()?;
            }
            ["loss", section, step, f32_run, f64_run] => {
                let losses = &mut self.sections.entry(section.to_owned()).or_default().losses;
                losses.push((parse(f32_run)?, parse(f64_run)?));
                (losses.len() == parse::<usize>(step)?).then_some(())?;
            }
            ["tensor", section, name, kind, precision, count, sum, sum_of_abs, ref samples @ ..] => {
                let precision = match precision {
                    "f32" => Precision::F32,
                    "f64" => Precision::F64,
                    _ => return None,
                };
                let samples: Option<Vec<f64>> = samples.iter().map(|text| parse(text)).collect();
                let (sum, sum_of_abs) = (parse(sum)?, parse(sum_of_abs)?);
                let summary =
                    Summary { count: parse(count)?, sum, sum_of_abs, samples: samples?.try_into().ok()? };
                let tensors = &mut self.sections.entry(section.to_owned()).or_default().tensors;
                let old = tensors.insert((name.to_owned(), kind.to_owned(), precision), summary);
                old.is_none().then_some(())?;
            }
            // How well the two runs agree: for the reader.
            ["kink" | "agreement", _, _, ..] => {}
            _ => return None,
        }
        Some(())
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn net(name: &str, number: u64, layers: &str, loss: &str, batch: usize, scales: &str) -> Option<Net> {
    let mut parts = layers.split('-');
    let features = parse(parts.next()?)?;
    let mut outputs = features;
    let layer = |part: &str| {
        Some(match part {
            "relu" => Layer::Relu,
            "tanh" => Layer::Tanh,
            "sigmoid" => Layer::Sigmoid,
            _ => {
                let inputs = std::mem::replace(&mut outputs, parse(part)?);
                Layer::Linear(inputs, outputs)
            }
        })
    };
    let layers = parts.map(layer).collect::<Option<_>>()?;
    let loss = match loss {
        "cross_entropy" => Loss::CrossEntropy,
        "mse" => Loss::Mse,
        "bce_with_logits" => Loss::BceWithLogits,
        _ => return None,
    };
    let scales = scales.split(',').map(parse).collect::<Option<_>>()?;
    Some(Net { name: name.to_owned(), number, layers, loss, batch, features, outputs, scales })
}

/// The records of `tests/golden/mlp.txt`.
pub fn mlp() -> Golden {
    Golden::parse(include_str!("../golden/mlp.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_that_of_the_script() {
        let golden = mlp();
        assert!(golden.hashes.len() >= 6 && golden.signed.len() >= 4 && golden.half_units.len() >= 2);
        for &(stream, index, hash) in &golden.hashes {
            assert_eq!(hashed(stream, index), hash, "stream {stream}, index {index}");
        }
        for &(stream, index, scale, value) in &golden.signed {
            assert_eq!(
                f64::from(signed(hashed(stream, index), scale)),
                value,
                "stream {stream}, index {index}"
            );
        }
        for &(stream, index, value) in &golden.half_units {
            assert_eq!(f64::from(half_unit(hashed(stream, index))), value, "stream {stream}, index {index}");
        }
    }

    #[test]
    fn the_values_fill_their_range() {
        assert_eq!(signed(0, 0.25), -0.25);
        assert_eq!(signed(1 << 63, 0.25), 0.0);
        assert_eq!(signed(u64::MAX, 1.0), 1.0 - f32::EPSILON);
        assert_eq!(half_unit(0), 0.0);
        assert_eq!(half_unit(u64::MAX) + 0.5, 1.0 - f32::EPSILON / 2.0);
        // The first two outputs of splitmix64 from state 0, as published.
        assert_eq!((hashed(0, 0), hashed(0, 1)), (0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4));
    }

    #[test]
    fn every_section_is_complete() {
        let golden = mlp();
        assert!(!golden.torch.is_empty());
        assert_eq!(golden.nets.len(), 3);
        assert_eq!(golden.sections.len(), 8 + 3);
        for (name, section) in &golden.sections {
            let net = golden.net(name.split_once('/').unwrap().0);
            let kinds: &[&str] = match name.split_once('/').unwrap().1 {
                "start" => &["grad"],
                "sgd" => &["value"],
                "adam" => &["value", "exp_avg", "exp_avg_sq"],
                _ => &["value", "momentum_buffer"],
            };
            assert_eq!(section.losses.len(), if kinds == ["grad"] { 0 } else { 20 }, "{name}");
            let mut expected = 0;
            for (parameter, values) in net.parameters() {
                for kind in kinds {
                    for precision in [Precision::F32, Precision::F64] {
                        assert_eq!(section.tensor(&parameter, kind, precision).count, values.len(), "{name}");
                        expected += 1;
                    }
                }
            }
            if kinds == ["grad"] {
                let output = section.tensor("output", "value", Precision::F64);
                assert_eq!(output.count, net.batch * net.outputs);
                expected += 2;
            }
            assert_eq!(section.tensors.len(), expected, "{name}: records of something else");
        }
        assert_eq!(golden.section("mlp/momentum").option("momentum"), 0.9);
        assert_eq!(golden.section("mlp/sgd").option("momentum"), 0.0);
    }

    /// The whole chain, formula to record, with a forward pass in plain f64 loops.
    #[test]
    fn the_first_output_follows_from_the_formula() {
        let golden = mlp();
        for net in &golden.nets {
            let parameters = net.parameters();
            let mut parameters = parameters.iter().map(|(_, values)| values);
            let (x, targets) = net.batch(0);
            assert!(x.iter().all(|v| (-1.0..1.0).contains(v)));
            match targets {
                Targets::Classes(classes) => assert_eq!(classes.len(), net.batch),
                Targets::Values(values) => assert_eq!(values.len(), net.batch * net.outputs),
            }
            let mut x: Vec<f64> = x.into_iter().map(f64::from).collect();
            for layer in &net.layers {
                match *layer {
                    Layer::Linear(inputs, outputs) => {
                        let (weight, bias) = (parameters.next().unwrap(), parameters.next().unwrap());
                        let dot = |row: &[f64], o: usize| {
                            let weights = &weight[o * inputs..][..inputs];
                            let products = row.iter().zip(weights).map(|(a, &w)| a * f64::from(w));
                            f64::from(bias[o]) + products.sum::<f64>()
                        };
                        let rows = x.chunks_exact(inputs);
                        x = rows.flat_map(|row| (0..outputs).map(move |o| dot(row, o))).collect();
                    }
                    Layer::Relu => x.iter_mut().for_each(|v| *v = v.max(0.0)),
                    Layer::Tanh => x.iter_mut().for_each(|v| *v = libm::tanh(*v)),
                    Layer::Sigmoid => x.iter_mut().for_each(|v| *v = 1.0 / (1.0 + libm::exp(-*v))),
                }
            }
            let start = golden.section(&format!("{}/start", net.name));
            let difference = Summary::of(x).difference(start.tensor("output", "value", Precision::F64));
            assert!(difference < 1e-13, "{}: {difference:e}", net.name);
        }
    }

    #[test]
    fn a_difference_is_found() {
        let expected = Summary::of((0..100).map(f64::from));
        assert_eq!(expected.difference(&expected), 0.0);
        let mut got = expected.clone();
        got.samples[3] += 0.1;
        assert!(got.difference(&expected) > 1e-3);
        got = expected.clone();
        got.sum += 5.0;
        assert!(got.difference(&expected) > 1e-3);
        got = expected.clone();
        got.samples[0] = f64::NAN;
        assert!(got.difference(&expected).is_nan());
    }

    #[test]
    #[should_panic(expected = "line 2: not a record: loss a/b 2 1.0 1.0")]
    fn a_gap_in_the_losses_is_refused() {
        Golden::parse("# comment\nloss a/b 2 1.0 1.0\n");
    }

    #[test]
    #[should_panic(expected = "not a record")]
    fn a_short_tensor_is_refused() {
        Golden::parse("tensor a/b 0.weight value f32 10 1 2 1 2 3 4 5 6 7\n");
    }
}

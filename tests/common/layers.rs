//! The Rust side of `tests/golden/layers.py`: reads configurations of layers, runs them and compares with PyTorch.
//!
//! [`check`] runs every case in f64 and f32, in training and prediction, on each instruction set, with 1, 2 and 3 threads and
//! without fusions. f64 is compared with the file, f32 with f64 element by element; all runs on instruction sets with fused
//! multiply-add have the same bits.

#![allow(dead_code, reason = "each test binary uses its own part")]

#[path = "formula.rs"]
mod formula;

use crate::common::{HASH_START, contexts, hash};
use formula::{half_unit, hashed, signed};
use gemmule::data::Dataset;
use gemmule::nn::{Fusion, Input, Layers, Loss, Model, OptionValue, Sequential, Spec};
use gemmule::optim::Sgd;
use gemmule::{Context, Element, Isa, Parallelism, Tensor};
use std::collections::BTreeMap;

/// What goes wrong in a case is said as text.
type Result<T> = std::result::Result<T, String>;

// As in layers.py.
const SAMPLES: usize = 10;
const STREAMS: u64 = 1000;
const INPUT: u64 = 0;
const LENGTHS: u64 = 1;
const D_OUTPUT: u64 = 2;
const PARAMETERS: u64 = 10;
const WEIGHTS: u64 = 999;

/// Largest differences from PyTorch in f64, and of f32 from f64, relative to what the file measures a tensor by.
const F64: f64 = 1e-10;
const F32: f64 = 1e-5;
/// Of gradients from central differences.
const DIFFERENCES: f64 = 1e-7;
/// Failures that are shown.
const SHOWN: usize = 30;

/// `count` numbers of a fill such as `signed:0.5`.
fn fill(kind: &str, stream: u64, count: usize) -> Vec<f64> {
    let (name, size) = kind.split_once(':').unwrap_or_else(|| panic!("not a fill: {kind}"));
    let size: f32 = size.parse().unwrap_or_else(|_| panic!("not a fill: {kind}"));
    let number = |h: u64| match name {
        "signed" => f64::from(signed(h, size)),
        "positive" => f64::from(half_unit(h) + 0.5) * f64::from(size),
        "steps" => (h % (2.0 * size) as u64) as f64 / f64::from(size) - 1.0,
        "whole" => (h % size as u64) as f64,
        _ => panic!("not a fill: {kind}"),
    };
    (0..count as u64).map(|index| number(hashed(stream, index))).collect()
}

/// What the file holds of a tensor.
#[derive(Clone, Debug)]
pub struct Record {
    count: usize,
    /// What errors are relative to: the largest value.
    scale: f64,
    /// The weighted sum of all.
    sum: f64,
    samples: Vec<f64>,
}

impl Record {
    /// The largest difference of an element or of the sum, relative to the scale.
    fn difference(&self, got: &[f64]) -> f64 {
        if self.count != got.len() {
            return f64::INFINITY;
        }
        let weights = fill("signed:1", WEIGHTS, got.len());
        let sum: f64 = weights.iter().zip(got).map(|(w, x)| w * x).sum();
        // Errors of a sum may add up.
        let of_sum = (sum - self.sum).abs() / (self.count as f64).sqrt();
        let place = |k: usize| {
            if self.count <= SAMPLES { k } else { (self.count - 1) * k / (SAMPLES - 1) }
        };
        let samples = self.samples.iter().enumerate().map(|(k, want)| (got[place(k)] - want).abs());
        self.relative(samples.chain([of_sum]))
    }

    /// The largest of these, NaN above all.
    fn relative(&self, differences: impl Iterator<Item = f64>) -> f64 {
        let worst = differences.fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst });
        if worst == 0.0 { 0.0 } else { worst / self.scale }
    }
}

/// A parameter or a buffer.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    fill: String,
}

/// One configuration.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    number: u64,
    pub batch: usize,
    /// A sample's dimensions as they are given.
    pub dims: Vec<usize>,
    pub channels_last: bool,
    padded: bool,
    /// Only what prediction gives is compared.
    pub predict: bool,
    fill: String,
    pub specs: Vec<Spec>,
    pub parameters: Vec<Parameter>,
    /// By name: `output`, `predicted`, `d_input`, `d:0.weight`, `after:1.running_mean`.
    pub tensors: BTreeMap<String, Record>,
}

/// The cases of a file.
///
/// # Panics
/// On a line that is not a record, with its number.
pub fn parse(text: &str) -> Vec<Case> {
    let (mut cases, mut ended) = (Vec::new(), None);
    for (at, line) in text.lines().enumerate() {
        record(line, &mut cases, &mut ended)
            .unwrap_or_else(|| panic!("line {}: not a record: {line}", at + 1));
    }
    assert_eq!(ended, Some(cases.len()), "the file is not whole");
    cases
}

fn record(line: &str, cases: &mut Vec<Case>, ended: &mut Option<usize>) -> Option<()> {
    let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
    let fields: Vec<&str> = rest.split(' ').collect();
    match what {
        "#" | "torch" | "" => return Some(()),
        "case" => {
            cases.push(Case::new(rest, cases.len() as u64));
            return Some(());
        }
        "end" => {
            *ended = Some(rest.parse().ok()?);
            return Some(());
        }
        _ => {}
    }
    let case = cases.last_mut()?;
    match what {
        "input" => {
            case.batch = fields[0].parse().ok()?;
            case.dims = numbers(fields.get(1)?)?;
            (*fields.get(2)?).clone_into(&mut case.fill);
            for &option in &fields[3..] {
                let option = match option {
                    "channels_last" => &mut case.channels_last,
                    "padded" => &mut case.padded,
                    "predict" => &mut case.predict,
                    _ => return None,
                };
                *option = true;
            }
        }
        "layer" => case.specs.push(spec(rest)?),
        "parameter" => case.parameters.push(Parameter {
            name: fields[0].to_owned(),
            shape: numbers(fields.get(1)?)?,
            fill: (*fields.get(2)?).to_owned(),
        }),
        "tensor" => {
            let values: Vec<f64> =
                fields[1..].iter().map(|field| field.parse().ok()).collect::<Option<_>>()?;
            let [count, scale, sum, ref samples @ ..] = values[..] else { return None };
            (samples.len() == (count as usize).min(SAMPLES)).then_some(())?;
            let record = Record { count: count as usize, scale, sum, samples: samples.to_vec() };
            case.tensors.insert(fields[0].to_owned(), record);
        }
        _ => return None,
    }
    Some(())
}

fn numbers(text: &str) -> Option<Vec<usize>> {
    if text.is_empty() { Some(Vec::new()) } else { text.split(',').map(|part| part.parse().ok()).collect() }
}

/// Reads `kind(name=value, ..)`.
pub fn spec(text: &str) -> Option<Spec> {
    match value(text)? {
        (OptionValue::Spec(spec), "") => Some(spec),
        _ => None,
    }
}

/// A value and the text behind it.
fn value(text: &str) -> Option<(OptionValue, &str)> {
    if let Some(rest) = text.strip_prefix('"') {
        let (text, rest) = rest.split_once('"')?;
        return Some((text.into(), rest));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (values, rest) = list(rest, ']', value)?;
        if let Some(OptionValue::Spec(_)) = values.first() {
            let spec = |value: OptionValue| match value {
                OptionValue::Spec(spec) => Some(spec),
                _ => None,
            };
            return Some((values.into_iter().map(spec).collect::<Option<Vec<Spec>>>()?.into(), rest));
        }
        let number = |value: OptionValue| match value {
            OptionValue::Number(value) => Some(value),
            OptionValue::Integer(value) => Some(value as f64),
            _ => None,
        };
        return Some((values.into_iter().map(number).collect::<Option<Vec<f64>>>()?.into(), rest));
    }
    let (word, rest) = text.split_at(text.find([',', '(', ')', ']']).unwrap_or(text.len()));
    if let Some(rest) = rest.strip_prefix('(') {
        let (options, rest) = list(rest, ')', option)?;
        let spec = options.into_iter().fold(Spec::new(word), |spec, (name, value)| spec.with(&name, value));
        return Some((spec.into(), rest));
    }
    let value = match word {
        "true" => true.into(),
        "false" => false.into(),
        _ => word
            .parse::<i64>()
            .map(OptionValue::from)
            .or_else(|_| word.parse::<f64>().map(OptionValue::from))
            .ok()?,
    };
    Some((value, rest))
}

/// An option and the text behind it.
fn option(text: &str) -> Option<((String, OptionValue), &str)> {
    let (name, rest) = text.split_once('=')?;
    let (value, rest) = value(rest)?;
    Some(((name.to_owned(), value), rest))
}

/// What stands between commas up to `end`.
fn list<'a, T>(
    mut text: &'a str,
    end: char,
    item: impl Fn(&'a str) -> Option<(T, &'a str)>,
) -> Option<(Vec<T>, &'a str)> {
    let mut items = Vec::new();
    loop {
        if let Some(rest) = text.strip_prefix(end) {
            return Some((items, rest));
        }
        let (one, rest) = item(text)?;
        items.push(one);
        text = rest.strip_prefix(", ").unwrap_or(rest);
        (text.len() < rest.len() || rest.starts_with(end)).then_some(())?;
    }
}

/// The tensors of a run by their names in the file.
type Tensors<T> = BTreeMap<String, Vec<T>>;

impl Case {
    fn new(name: &str, number: u64) -> Self {
        Self {
            name: name.to_owned(),
            number,
            batch: 0,
            dims: Vec::new(),
            channels_last: false,
            padded: false,
            predict: false,
            fill: String::new(),
            specs: Vec::new(),
            parameters: Vec::new(),
            tensors: BTreeMap::new(),
        }
    }

    fn stream(&self, what: u64) -> u64 {
        STREAMS * self.number + what
    }

    /// Whether the model begins with a layer that says the input's dimensions: an embedding takes any.
    fn says_dims(&self) -> bool {
        let is_norm = |spec: &Spec| spec.kind.contains("norm");
        let first = self.specs.first().is_some_and(is_norm);
        first || self.dims.len() > 1 || self.fill.starts_with("whole")
    }

    /// The layers, made from their descriptions.
    pub fn layers(&self, layers: &Layers) -> Result<Sequential> {
        let mut chain = Sequential::new();
        if self.channels_last {
            chain = chain.with(Input::channels_last(&self.dims));
        } else if self.says_dims() {
            chain = chain.with(Input::new(&self.dims));
        }
        for spec in &self.specs {
            chain = chain.with(layers.make(spec).map_err(text)?);
        }
        Ok(chain)
    }

    /// The model with the parameters of the formula; their names and shapes are those of the file.
    pub fn model<T: Element>(&self, layers: &Layers, context: Context) -> Result<Model<T>> {
        let mut model: Model<T> = self.layers(layers)?.build_with(context, 0).map_err(text)?;
        model.compile(Loss::MeanSquaredError, Sgd::default()).map_err(text)?;
        let found = model.parameters().into_iter().chain(model.buffers()).map(|p| (p.name, p.shape));
        let found: Vec<_> = found.filter(|(name, _)| !name.ends_with("num_batches_tracked")).collect();
        let wanted: Vec<_> = self.parameters.iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
        let (mut sorted_found, mut sorted) = (found.clone(), wanted.clone());
        sorted_found.sort();
        sorted.sort();
        if sorted_found != sorted {
            return Err(format!("expected the parameters {wanted:?}, got {found:?}"));
        }
        for (at, parameter) in self.parameters.iter().enumerate() {
            let count = parameter.shape.iter().product();
            let values = fill(&parameter.fill, self.stream(PARAMETERS + at as u64), count);
            model.set_parameter(&parameter.name, &tensor(&parameter.shape, &values)?).map_err(text)?;
        }
        Ok(model)
    }

    /// The inputs, sample by sample.
    pub fn inputs(&self) -> Vec<f64> {
        let count = self.batch * self.dims.iter().product::<usize>();
        let mut values = match self.fill.strip_prefix("whole:") {
            Some(size) if self.padded => {
                let size: u64 = size.parse().expect("a size");
                let values = fill(&format!("whole:{}", size - 1), self.stream(INPUT), count);
                values.iter().map(|value| value + 1.0).collect()
            }
            _ => fill(&self.fill, self.stream(INPUT), count),
        };
        if self.padded {
            let position = count / self.batch / self.dims[0];
            for (sample, row) in values.chunks_mut(count / self.batch).enumerate() {
                let length = 1 + hashed(self.stream(LENGTHS), sample as u64) as usize % self.dims[0];
                row[length * position..].fill(0.0);
            }
        }
        values
    }

    fn data<T: Element>(&self) -> Result<Dataset> {
        let values = self.inputs();
        Dataset::from_values(tensor::<T>(&[self.batch, values.len() / self.batch], &values)?).map_err(text)
    }

    /// Everything that is compared.
    fn run<T: Element>(&self, layers: &Layers, context: Context, fusion: Fusion) -> Result<Tensors<T>> {
        let mut model = self.model::<T>(layers, context)?;
        model.set_fusion(fusion);
        let data = self.data::<T>()?;
        let mut tensors =
            BTreeMap::from([("predicted".to_owned(), model.predict(&data).map_err(text)?.into_vec())]);
        if self.predict {
            return Ok(tensors);
        }
        let indices: Vec<usize> = (0..self.batch).collect();
        let pass = |model: &mut Model<T>| {
            let output = model.forward(&data, &indices).map_err(text)?;
            let d_output = fill("signed:1", self.stream(D_OUTPUT), output.len());
            let d_input = model.backward(&tensor(output.shape(), &d_output)?).map_err(text)?;
            Ok::<_, String>((output, d_input))
        };
        let (output, d_input) = pass(&mut model)?;
        for key in self.tensors.keys() {
            if let Some(name) = key.strip_prefix("d:") {
                tensors.insert(key.clone(), model.gradient(name).map_err(text)?.into_vec());
            } else if let Some(name) = key.strip_prefix("after:") {
                tensors.insert(key.clone(), model.parameter(name).map_err(text)?.into_vec());
            }
        }
        // The plan's memory is used again, and gradients are added up.
        let again = pass(&mut model)?;
        for (what, once, twice) in [("output", &output, &again.0), ("d_input", &d_input, &again.1)] {
            if once.as_slice() != twice.as_slice() {
                return Err(format!("a second pass has another {what}"));
            }
        }
        for (key, once) in &tensors {
            let Some(name) = key.strip_prefix("d:") else { continue };
            let (twice, limit) =
                (model.gradient(name).map_err(text)?, if size_of::<T>() == 8 { F64 } else { F32 });
            let scale = self.tensors[key].scale;
            for (&one, &two) in once.iter().zip(twice.as_slice()) {
                let off = (two.to_f64() - 2.0 * one.to_f64()).abs();
                if off.is_nan() || off > 2.0 * limit * scale {
                    return Err(format!("{key}: {one} accumulated twice is {two}"));
                }
            }
        }
        tensors.insert("output".to_owned(), output.into_vec());
        if self.tensors.contains_key("d_input") {
            tensors.insert("d_input".to_owned(), d_input.into_vec());
        }
        Ok(tensors)
    }

    /// The record that a tensor of a run is compared with: prediction gives what training gave unless the file says otherwise.
    fn record(&self, key: &str) -> &Record {
        let record = self.tensors.get(key).or_else(|| self.tensors.get("output"));
        record.unwrap_or_else(|| panic!("{}: no record of {key}", self.name))
    }

    /// Runs the case everywhere with one type; what is wrong goes to `failures`.
    fn everywhere<T: Element>(&self, layers: &Layers, failures: &mut Vec<String>) -> Vec<(Isa, Tensors<T>)> {
        let mut runs = Vec::new();
        let mut fused_hash = None;
        for context in contexts() {
            let mut of_isa = None;
            for (threads, fusion) in
                [(1, Fusion::default()), (2, Fusion::default()), (3, Fusion::default()), (2, Fusion::NONE)]
            {
                let what =
                    format!("{}: {} {}, {threads} threads, {fusion}", self.name, T::NAME, context.isa());
                let run = match self.run::<T>(
                    layers,
                    context.with_parallelism(Parallelism::Max(threads)),
                    fusion,
                ) {
                    Ok(run) => run,
                    Err(error) => {
                        failures.push(format!("{what}: {error}"));
                        return Vec::new();
                    }
                };
                let found = run.values().fold(HASH_START, |start, values| hash(values, start));
                let slot = if context.isa().has_fma() { &mut fused_hash } else { &mut of_isa };
                if *slot.get_or_insert(found) != found {
                    failures.push(format!("{what}: other bits than the run before"));
                }
                if threads == 1 {
                    runs.push((context.isa(), run));
                }
            }
        }
        runs
    }
}

fn tensor<T: Element>(shape: &[usize], values: &[f64]) -> Result<Tensor<T>> {
    Tensor::from_vec(shape, values.iter().map(|&x| T::from_f64(x)).collect()).map_err(text)
}

fn text(error: gemmule::Error) -> String {
    error.to_string()
}

fn doubles<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&x| Element::to_f64(x)).collect()
}

/// What [`check`] found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub cases: usize,
    /// The largest difference of f64 from PyTorch, and of f32 from f64.
    pub f64: f64,
    pub f32: f64,
}

/// Runs all cases of a file everywhere, with the crate's layers.
///
/// # Panics
/// With a list of what is wrong.
pub fn check(text: &str) -> Report {
    check_with(text, &Layers::new())
}

/// The same with layers that are made by `layers`.
pub fn check_with(text: &str, layers: &Layers) -> Report {
    let cases = parse(text);
    let mut report = Report { cases: cases.len(), ..Report::default() };
    let mut failures = Vec::new();
    for case in &cases {
        let exact = case.everywhere::<f64>(layers, &mut failures);
        let single = case.everywhere::<f32>(layers, &mut failures);
        let mut compare = |worst: &mut f64, limit: f64, difference: f64, what: String| {
            *worst = worst.max(difference);
            if difference.is_nan() || difference > limit {
                failures.push(format!("{}: {what}: {difference:.1e} off", case.name));
            }
        };
        for (isa, run) in &exact {
            for (key, values) in run {
                compare(
                    &mut report.f64,
                    F64,
                    case.record(key).difference(values),
                    format!("{key}: f64 {isa}"),
                );
            }
        }
        let Some((_, exact)) = exact.first() else { continue };
        for (isa, run) in &single {
            for (key, values) in run {
                let pairs = doubles(values).into_iter().zip(&exact[key]);
                let difference = case.record(key).relative(pairs.map(|(a, b)| (a - b).abs()));
                compare(&mut report.f32, F32, difference, format!("{key}: f32 {isa}"));
            }
        }
    }
    report_failures(&failures, cases.len());
    report
}

/// Compares the gradients of the cases that `wanted` chooses with central differences: those with few parameters and without
/// kinks (ReLU, maximum). Returns how many there were.
pub fn check_differences(text: &str, wanted: impl Fn(&Case) -> bool) -> usize {
    let (layers, context) = (Layers::new(), contexts()[0]);
    let mut failures = Vec::new();
    let cases = parse(text);
    let chosen: Vec<&Case> = cases.iter().filter(|case| !case.predict && wanted(case)).collect();
    for case in &chosen {
        match case.difference(&layers, context) {
            Ok(error) if error <= DIFFERENCES => {}
            Ok(error) => failures.push(format!("{}: {error:.1e} off from differences", case.name)),
            Err(error) => failures.push(format!("{}: {error}", case.name)),
        }
    }
    report_failures(&failures, chosen.len());
    chosen.len()
}

impl Case {
    fn difference(&self, layers: &Layers, context: Context) -> Result<f64> {
        let mut model = self.model::<f64>(layers, context)?;
        let count = self.batch * model.outputs();
        let targets =
            tensor::<f64>(&[self.batch, model.outputs()], &fill("signed:1", self.stream(D_OUTPUT), count))?;
        let indices: Vec<usize> = (0..self.batch).collect();
        model.gradient_error(&self.data::<f64>()?.with_values(targets).map_err(text)?, &indices).map_err(text)
    }

    /// Numbers of all parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// Whether one of its layers is of this kind.
    pub fn has(&self, kind: &str) -> bool {
        self.specs.iter().any(|spec| spec.kind == kind)
    }
}

fn report_failures(failures: &[String], cases: usize) {
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} failures in {cases} cases:\n{shown}", failures.len());
}

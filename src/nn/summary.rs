//! Tables of models: what each layer puts out and what it costs.

use super::model::Model;
use crate::engine::{Graph, show};
use crate::error::{Error, Result};
use crate::kernel::Element;
use std::fmt;

/// A layer of a [`Summary`]; of one that is made of layers what those have is theirs.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LayerSummary {
    /// What its parameters' names begin with: `2`, or `2.body.0` within another layer; empty for one that has no number
    /// ([`Input`](super::Input)).
    pub name: String,
    /// What it is: `Dense 784 -> 64`.
    pub description: String,
    /// Dimensions of what it puts out for a sample, in PyTorch's order without the batch.
    pub output: Vec<usize>,
    /// Numbers that are trained.
    pub trainable: usize,
    /// Numbers of parameters that are frozen.
    pub frozen: usize,
    /// Numbers that never are: running statistics.
    pub buffers: usize,
    /// Multiply-adds of a sample's forward pass: of products (dense layers, convolutions, recurrent layers, attention), padding counted;
    /// what works element by element is not. A multiply-add is two floating-point operations (FLOPs).
    pub multiply_adds: u64,
    /// Bytes of what its operations put out for the whole batch; what only gets other dimensions takes none. A plan may need less, since
    /// operations are fused and memory is used again.
    pub activation_bytes: usize,
}

/// What the layers of a model put out and cost, for one size of the batch: from [`Model::summary`] or
/// [`Sequential::summary`](super::Sequential::summary). [`Display`](fmt::Display) gives a table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// In order; a layer stands before those that it is made of.
    pub layers: Vec<LayerSummary>,
    /// Samples of the batch.
    pub batch: usize,
    /// `f32` or `f64`.
    pub element: &'static str,
    /// Bytes of an element.
    pub element_bytes: usize,
}

impl Summary {
    pub(super) fn of<T: Element>(graph: &Graph, batch: usize) -> Result<Self> {
        if batch == 0 {
            return Err(Error::argument("summary", "batch", "at least 1", 0));
        }
        let element_bytes = size_of::<T>();
        let mut layers: Vec<LayerSummary> = graph
            .layers
            .iter()
            .enumerate()
            .map(|(index, text)| {
                // What has no number has no name.
                let numbered = text.starts_with(|first: char| first.is_ascii_digit());
                let (name, description) = text.split_once(" (").filter(|_| numbered).unwrap_or(("", text));
                let output = graph.outputs.get(index).copied().flatten();
                LayerSummary {
                    name: name.to_owned(),
                    description: description
                        .strip_suffix(')')
                        .filter(|_| numbered)
                        .unwrap_or(description)
                        .to_owned(),
                    output: output.map_or_else(Vec::new, |value| graph.dims(value).to_vec()),
                    ..LayerSummary::default()
                }
            })
            .collect();
        for parameter in &graph.parameters {
            let layer = &mut layers[parameter.layer];
            let count = match (parameter.buffer, parameter.frozen) {
                (true, _) => &mut layer.buffers,
                (false, true) => &mut layer.frozen,
                (false, false) => &mut layer.trainable,
            };
            *count += parameter.len();
        }
        for node in &graph.nodes {
            let layer = &mut layers[node.layer];
            layer.multiply_adds = layer.multiply_adds.saturating_add(graph.multiply_adds(node) as u64);
            let bytes = graph.width(node.output).saturating_mul(element_bytes).saturating_mul(batch);
            layer.activation_bytes = layer.activation_bytes.saturating_add(bytes);
        }
        Ok(Self { layers, batch, element: T::NAME, element_bytes })
    }

    /// All layers together: its output is the model's.
    pub fn total(&self) -> LayerSummary {
        let mut total = LayerSummary { name: "total".to_owned(), ..LayerSummary::default() };
        for layer in &self.layers {
            total.trainable += layer.trainable;
            total.frozen += layer.frozen;
            total.buffers += layer.buffers;
            total.multiply_adds = total.multiply_adds.saturating_add(layer.multiply_adds);
            total.activation_bytes = total.activation_bytes.saturating_add(layer.activation_bytes);
            // Those within a layer have no say.
            if !layer.name.contains('.') {
                total.output.clone_from(&layer.output);
            }
        }
        total
    }

    /// Bytes of all parameters and buffers.
    pub fn parameter_bytes(&self) -> usize {
        let total = self.total();
        (total.trainable + total.frozen + total.buffers).saturating_mul(self.element_bytes)
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table, and below it the totals.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const COLUMNS: usize = 7;
        let row = |layer: &LayerSummary| -> [String; COLUMNS] {
            [
                layer.name.clone(),
                layer.description.clone(),
                show(&layer.output),
                grouped(layer.trainable as u64),
                grouped((layer.frozen + layer.buffers) as u64),
                grouped(layer.multiply_adds),
                grouped(layer.activation_bytes as u64),
            ]
        };
        let heads = ["", "layer", "output", "trainable", "not trained", "multiply-adds", "bytes"];
        let total = self.total();
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(self.layers.iter().map(row));
        rows.push(row(&total));
        let mut widths = [0; COLUMNS];
        for cells in &rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        for cells in &rows {
            let mut line = String::new();
            for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                // Words to the left, numbers to the right.
                line +=
                    &if column < 3 { format!("{gap}{cell:<width$}") } else { format!("{gap}{cell:>width$}") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        let (parameters, flops) = (self.parameter_bytes() as u64, total.multiply_adds.saturating_mul(2));
        writeln!(
            f,
            "{} bytes of parameters and buffers ({}); {} FLOPs forward for a sample; activations of {} samples",
            grouped(parameters),
            self.element,
            grouped(flops),
            grouped(self.batch as u64)
        )
    }
}

impl<T: Element> Model<T> {
    /// What the layers put out for a sample, their parameters, multiply-adds, and the bytes of what they put out for `batch` samples.
    /// It prints as a table.
    ///
    /// # Errors
    /// [`Error::Argument`] if `batch` is 0.
    ///
    /// ```
    /// use gemmule::nn::{Activation, Dense, Sequential};
    /// let net = Sequential::new().with(Dense::new(4, 8)).with(Activation::Relu).with(Dense::new(8, 3));
    /// let mut model = net.build::<f32>(0)?;
    /// model.set_trainable(&["0"], false)?;
    /// let table = "       layer         output  trainable  not trained  multiply-adds  bytes
    /// 0      Dense 4 -> 8  8               0           40             32     64
    /// 1      relu          8               0            0              0     64
    /// 2      Dense 8 -> 3  3              27            0             24     24
    /// total                3              27           40             56    152
    /// 268 bytes of parameters and buffers (f32); 112 FLOPs forward for a sample; activations of 2 samples
    /// ";
    /// assert_eq!(model.summary(2)?.to_string(), table);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn summary(&self, batch: usize) -> Result<Summary> {
        Summary::of::<T>(self.engine.graph(), batch)
    }
}

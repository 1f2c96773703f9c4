//! What a model is made of: operations on values, and the parameters they use. Layers lower to this.

use super::custom::{Custom, RowFunction};
use super::init::Init;
use super::noise::Noise;
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;
use crate::kernel::update::Constraint;
use std::ops::Range;

/// A value of the graph: so many elements per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub(super) index: usize,
}

/// A parameter of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterId {
    pub(super) index: usize,
}

/// A parameter: where it stands in the flat arrays and how it is begun.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// PyTorch's name, for example `0.weight`.
    pub name: String,
    pub layer: usize,
    /// Rows and columns as stored: inputs x outputs; a bias has one row.
    pub rows: usize,
    pub cols: usize,
    /// Its first element in the flat arrays.
    pub offset: usize,
    pub init: Init,
    pub fan_in: usize,
    pub fan_out: usize,
    /// True for a matrix that PyTorch stores as outputs x inputs.
    pub transposed: bool,
    /// Which of the optimiser's groups it is in.
    pub group: usize,
    /// It is not trained.
    pub frozen: bool,
    /// What it is held to after every update.
    pub constraint: Option<Constraint>,
}

impl Parameter {
    pub(crate) fn len(&self) -> usize {
        self.rows * self.cols
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// Rows and columns of it where each column has the numbers of one norm: a weight's outputs, all of a vector.
    pub(crate) fn norm_shape(&self) -> (usize, usize) {
        if self.transposed { (self.rows, self.cols) } else { (self.len(), 1) }
    }
}

/// An operation; all work sample by sample, so that a sample's bits do not depend on its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// y = x W + b.
    Dense { weight: ParameterId, bias: Option<ParameterId> },
    /// y = f(x), element by element.
    Activation(Activation),
    /// y = softmax(x) over a sample, or its logarithm.
    Softmax { log: bool },
    /// In training, y is x with noise; otherwise y = x. `number` counts those of a layer.
    Noise { noise: Noise, number: usize },
    /// A function of the user's, by its number.
    Custom { function: usize, parameter: Option<ParameterId> },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub op: Op,
    pub layer: usize,
    pub input: Value,
    pub output: Value,
}

/// Operations in order, from the input value to the output value.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub nodes: Vec<Node>,
    pub parameters: Vec<Parameter>,
    /// Elements per sample of every value.
    pub widths: Vec<usize>,
    /// The user's functions.
    pub customs: Vec<Custom>,
    /// What errors call each layer, for example `2 (Dense 64 -> 10)`.
    pub layers: Vec<String>,
    pub input: Value,
    pub output: Value,
    /// Elements of the flat arrays, gaps included.
    pub flat_len: usize,
    /// What is to be updated: the flat arrays without gaps and frozen parameters. Parameters of one group that touch are one
    /// segment.
    pub segments: Vec<Segment>,
    /// The optimiser's groups of parameters: at least one.
    pub groups: usize,
}

/// A range of the flat arrays whose parameters are in one group.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub start: usize,
    pub end: usize,
    pub group: usize,
}

impl Graph {
    /// Whether the first operation is a product with the inputs.
    pub(crate) fn begins_dense(&self) -> bool {
        self.nodes.first().is_some_and(|node| matches!(node.op, Op::Dense { .. }))
    }

    pub(crate) fn width(&self, value: Value) -> usize {
        self.widths[value.index]
    }

    /// Finds the segments: again after a parameter was frozen or put into another group.
    pub(crate) fn find_segments(&mut self) {
        self.segments.clear();
        self.groups = 1 + self.parameters.iter().map(|parameter| parameter.group).max().unwrap_or(0);
        for parameter in self.parameters.iter().filter(|parameter| !parameter.frozen && parameter.len() > 0) {
            let Range { start, end } = parameter.range();
            match self.segments.last_mut() {
                Some(last) if last.end == start && last.group == parameter.group => last.end = end,
                _ => self.segments.push(Segment { start, end, group: parameter.group }),
            }
        }
    }
}

/// Parameters begin at multiples of this many elements, a cache line of f32 or two of f64.
const ALIGNMENT: usize = 16;

/// What a layer lowers itself with: it adds parameters and operations to the model's graph.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    /// Values that an operation takes.
    consumed: Vec<bool>,
    /// Parameters that an operation takes.
    used: Vec<bool>,
}

impl Builder {
    pub(crate) fn new(inputs: usize) -> Self {
        let input = Value { index: 0 };
        let graph = Graph {
            nodes: Vec::new(),
            parameters: Vec::new(),
            widths: vec![inputs],
            customs: Vec::new(),
            layers: Vec::new(),
            input,
            output: input,
            flat_len: 0,
            segments: Vec::new(),
            groups: 1,
        };
        Self { graph, consumed: vec![false], used: Vec::new() }
    }

    pub(crate) fn begin_layer(&mut self, name: String) {
        self.graph.layers.push(name);
    }

    /// The graph, if `output` is the end of the chain.
    pub(crate) fn finish(mut self, output: Value) -> Result<Graph> {
        self.check_value(output)?;
        if output.index + 1 != self.graph.widths.len() {
            return Err(Error::State {
                operation: "build",
                what: "the last layer did not return the value of its last operation",
            });
        }
        // Who fuses its update and who does not would treat it differently.
        if let Some((parameter, _)) = self.graph.parameters.iter().zip(&self.used).find(|(_, used)| !**used) {
            let expected = "parameters that an operation takes";
            return Err(Error::argument("build", "parameter", expected, &parameter.name));
        }
        self.graph.output = output;
        self.graph.find_segments();
        Ok(self.graph)
    }

    /// The value is one of this builder's.
    pub(crate) fn check_value(&self, value: Value) -> Result<()> {
        if value.index >= self.graph.widths.len() {
            return Err(Error::State { operation: "build", what: "a value of another model" });
        }
        Ok(())
    }

    pub(crate) fn input(&self) -> Value {
        self.graph.input
    }

    /// Elements per sample of a value.
    ///
    /// # Panics
    /// If the value is another builder's; where there is such a value here too, its width is returned.
    pub fn width(&self, value: Value) -> usize {
        self.graph.width(value)
    }

    fn layer(&self) -> usize {
        self.graph.layers.len() - 1
    }

    /// Adds a weight matrix of the layer that is being lowered: inputs x outputs as the kernels read it, shown and
    /// saved as outputs x inputs, as PyTorch does.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the sizes overflow; [`Error::Argument`] if the layer has a parameter of this name.
    pub fn matrix(&mut self, name: &str, inputs: usize, outputs: usize, init: Init) -> Result<ParameterId> {
        self.parameter(name, (inputs, outputs), (inputs, outputs), init, true)
    }

    /// Adds a vector of `len` parameters of the layer that is being lowered, which has so many inputs and outputs.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix).
    pub fn vector(
        &mut self,
        name: &str,
        len: usize,
        (fan_in, fan_out): (usize, usize),
        init: Init,
    ) -> Result<ParameterId> {
        self.parameter(name, (1, len), (fan_in, fan_out), init, false)
    }

    fn parameter(
        &mut self,
        name: &str,
        (rows, cols): (usize, usize),
        (fan_in, fan_out): (usize, usize),
        init: Init,
        transposed: bool,
    ) -> Result<ParameterId> {
        let layer = self.layer();
        let name = format!("{layer}.{name}");
        if self.graph.parameters.iter().rev().take_while(|p| p.layer == layer).any(|p| p.name == name) {
            return Err(Error::argument("build", "parameter", "a name of its own", name));
        }
        // The flat arrays are addressed in bytes by signed offsets.
        let most = isize::MAX as usize / 16;
        let end = rows
            .checked_mul(cols)
            .and_then(|len| len.checked_add(self.graph.flat_len))
            .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
            .filter(|&end| end <= most)
            .ok_or_else(|| Error::overflow("build", format!("parameter {name} ({rows} x {cols})")))?;
        let offset = std::mem::replace(&mut self.graph.flat_len, end);
        let id = ParameterId { index: self.graph.parameters.len() };
        self.graph.parameters.push(Parameter {
            name,
            layer,
            rows,
            cols,
            offset,
            init,
            fan_in,
            fan_out,
            transposed,
            group: 0,
            frozen: false,
            constraint: None,
        });
        self.used.push(false);
        Ok(id)
    }

    /// Notes that an operation takes the parameter.
    fn claim(&mut self, id: ParameterId) -> Result<()> {
        let what = match self.used.get_mut(id.index) {
            None => "a parameter of another model",
            Some(true) => "a parameter is used twice: gradients of several uses are not added so far",
            Some(used) => {
                *used = true;
                return Ok(());
            }
        };
        Err(Error::State { operation: "build", what })
    }

    fn node(&mut self, op: Op, input: Value, width: usize) -> Result<Value> {
        self.check_value(input)?;
        if std::mem::replace(&mut self.consumed[input.index], true) {
            return Err(Error::State {
                operation: "build",
                what: "a value is used twice: only chains of operations can be built so far",
            });
        }
        let output = Value { index: self.graph.widths.len() };
        self.graph.widths.push(width);
        self.consumed.push(false);
        let layer = self.layer();
        self.graph.nodes.push(Node { op, layer, input, output });
        Ok(output)
    }

    /// y = x W + b, with W of (width of `input`) x outputs and b of outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] if the parameters do not fit the value or there is no output; [`Error::State`] if `input` or
    /// a parameter is already in use.
    pub fn dense(&mut self, input: Value, weight: ParameterId, bias: Option<ParameterId>) -> Result<Value> {
        self.check_value(input)?;
        self.claim(weight)?;
        bias.map_or(Ok(()), |bias| self.claim(bias))?;
        let (w, inputs) = (&self.graph.parameters[weight.index], self.width(input));
        let outputs = w.cols;
        if outputs == 0 {
            return Err(Error::shape("build", "dense weight", "at least one column", 0));
        }
        if w.rows != inputs {
            return Err(Error::shape("build", "dense weight", format_args!("{inputs} rows"), w.rows));
        }
        if let Some(b) = bias.map(|id| &self.graph.parameters[id.index])
            && (b.rows, b.cols) != (1, outputs)
        {
            let got = format!("{} x {}", b.rows, b.cols);
            return Err(Error::shape("build", "dense bias", format_args!("1 x {outputs}"), got));
        }
        self.node(Op::Dense { weight, bias }, input, outputs)
    }

    /// y = f(x), element by element.
    ///
    /// # Errors
    /// [`Error::State`] if `input` is already in use; [`Error::Argument`] if the activation's parameter is not finite or
    /// out of its range.
    pub fn activation(&mut self, input: Value, activation: Activation) -> Result<Value> {
        self.check_value(input)?;
        activation.check("build")?;
        self.node(Op::Activation(activation), input, self.width(input))
    }

    /// In training each element of x is dropped (y = 0) with the probability `rate`, or else y = x / (1 - rate); otherwise y = x.
    /// The mask is a function of the model's seed, the step, the layer and the element's place in the batch.
    ///
    /// # Errors
    /// [`Error::State`] if `input` is already in use; [`Error::Argument`] unless `rate` is at least 0 and below 1.
    pub fn dropout(&mut self, input: Value, rate: f64) -> Result<Value> {
        Self::check_rate("rate of the dropout", rate)?;
        self.noise(input, Noise::Dropout { keep: 1.0 - rate })
    }

    /// In training y = x + std n, with a standard normal number n for each element; otherwise y = x. The numbers are drawn as the
    /// masks of a [`dropout`](Self::dropout).
    ///
    /// # Errors
    /// [`Error::State`] if `input` is already in use; [`Error::Argument`] unless `std` is a number from 0 to 1e30.
    pub fn gaussian_noise(&mut self, input: Value, std: f64) -> Result<Value> {
        // Finite as f32, too.
        if !(0.0..=1e30).contains(&std) {
            return Err(Error::argument("build", "std of the Gaussian noise", "from 0 to 1e30", std));
        }
        self.noise(input, Noise::Gaussian { std })
    }

    /// In training y = x (1 + n sqrt(rate / (1 - rate))), with a standard normal number n for each element; otherwise y = x. The
    /// numbers are drawn as the masks of a [`dropout`](Self::dropout).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn gaussian_dropout(&mut self, input: Value, rate: f64) -> Result<Value> {
        Self::check_rate("rate of the Gaussian dropout", rate)?;
        self.noise(input, Noise::GaussianDropout { std: (rate / (1.0 - rate)).sqrt() })
    }

    /// In training y = a m + b, where m is x or, with the probability `rate`, SELU's limit far below 0; a and b keep a mean of 0
    /// and a variance of 1. Otherwise y = x. The masks are drawn as those of a [`dropout`](Self::dropout).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn alpha_dropout(&mut self, input: Value, rate: f64) -> Result<Value> {
        Self::check_rate("rate of the alpha dropout", rate)?;
        self.noise(input, Noise::AlphaDropout { keep: 1.0 - rate })
    }

    fn check_rate(what: &'static str, rate: f64) -> Result<()> {
        if (0.0..1.0).contains(&rate) {
            return Ok(());
        }
        Err(Error::argument("build", what, "at least 0 and below 1", rate))
    }

    fn noise(&mut self, input: Value, noise: Noise) -> Result<Value> {
        self.check_value(input)?;
        let layer = self.layer();
        let is_mine = |node: &&Node| node.layer == layer && matches!(node.op, Op::Noise { .. });
        let number = self.graph.nodes.iter().filter(is_mine).count();
        self.node(Op::Noise { noise, number }, input, self.width(input))
    }

    /// `outputs` values per sample, made by a function of the user's: see [`RowFunction`], which has an example. `parameter`
    /// is what it is given as its parameters.
    ///
    /// # Errors
    /// [`Error::State`] if `input` or the parameter is already in use; [`Error::Shape`] if there are no outputs.
    pub fn custom(
        &mut self,
        input: Value,
        outputs: usize,
        function: impl RowFunction<f32> + RowFunction<f64> + 'static,
        parameter: Option<ParameterId>,
    ) -> Result<Value> {
        self.check_value(input)?;
        if outputs == 0 {
            return Err(Error::shape("build", "outputs of a custom function", "at least one", 0));
        }
        parameter.map_or(Ok(()), |id| self.claim(id))?;
        let number = self.graph.customs.len();
        let value = self.node(Op::Custom { function: number, parameter }, input, outputs)?;
        self.graph.customs.push(Custom::new(function));
        Ok(value)
    }

    /// y = softmax(x) over each sample.
    ///
    /// # Errors
    /// [`Error::State`] if `input` is already in use.
    pub fn softmax(&mut self, input: Value) -> Result<Value> {
        self.check_value(input)?;
        self.node(Op::Softmax { log: false }, input, self.width(input))
    }

    /// y = ln softmax(x) over each sample.
    ///
    /// # Errors
    /// [`Error::State`] if `input` is already in use.
    pub fn log_softmax(&mut self, input: Value) -> Result<Value> {
        self.check_value(input)?;
        self.node(Op::Softmax { log: true }, input, self.width(input))
    }
}

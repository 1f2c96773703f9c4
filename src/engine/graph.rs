//! What a model is made of: operations on values, and the parameters they use. Layers lower to this, by `builder.rs`.

use super::custom::Custom;
use super::form::Form;
use super::function::Both;
use super::init::Init;
use super::noise::Noise;
use super::plan::UPDATE_ELEMENTS;
use crate::kernel::activation::Activation;
use crate::kernel::update::Constraint;
use std::ops::Range;
use std::sync::Arc;

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
    /// Its dimensions, as PyTorch shows it: outputs x inputs for a weight.
    pub shape: Vec<usize>,
    /// Length and stride as stored of its axes in the order in which it is shown: see [`Form`].
    pub axes: Vec<(usize, usize)>,
    /// Its columns are stored so many at a time, as matrices of all its rows, one after the other: see `panels.rs`.
    pub panel: Option<usize>,
    /// Its first element in the flat arrays.
    pub offset: usize,
    pub init: Init,
    pub fan_in: usize,
    pub fan_out: usize,
    /// Its columns as stored are outputs.
    pub has_outputs: bool,
    /// Numbers that begin as 0 whatever `init` says, counted as it is shown.
    pub zeros: Range<usize>,
    /// Which of the optimiser's groups it is in.
    pub group: usize,
    /// It is not trained.
    pub frozen: bool,
    /// It never is: what PyTorch calls a buffer, such as running statistics.
    pub buffer: bool,
    /// What it is held to after every update.
    pub constraint: Option<Constraint>,
    /// Its gradient is sparse.
    pub sparse: Option<Sparse>,
}

/// A table whose gradient is sparse: cleared and applied in those rows alone that a batch touched. See `touched.rs`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse {
    /// Which of the model's.
    pub table: usize,
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

impl Parameter {
    pub(crate) fn len(&self) -> usize {
        self.rows * self.cols
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// A buffer of one whole number, which files hold as an integer: the batches that were tracked.
    pub(crate) fn is_count(&self) -> bool {
        self.buffer && self.shape.is_empty()
    }

    /// Rows and columns of it where each column has the numbers of one norm: a weight's outputs, all of a vector.
    pub(crate) fn norm_shape(&self) -> (usize, usize) {
        if self.has_outputs { (self.rows, self.cols) } else { (self.len(), 1) }
    }
}

/// An operation; most work sample by sample, so that a sample's bits do not depend on its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// y = x W + b, at each of a sample's positions.
    Dense { weight: ParameterId, bias: Option<ParameterId>, positions: usize },
    /// y = f(x), element by element.
    Activation(Activation),
    /// y = softmax(x) over each row of so many elements, or its logarithm.
    Softmax { log: bool, row: usize },
    /// In training, y is x with noise; otherwise y = x. `number` counts those of a layer.
    Noise { noise: Noise, number: usize },
    /// A function of the user's, by its number.
    Custom { function: usize, parameter: Option<ParameterId> },
    /// One of the graph's functions, by its number.
    Function(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub op: Op,
    pub layer: usize,
    /// One, but of a function.
    pub inputs: Vec<Value>,
    pub output: Value,
}

impl Node {
    /// The first input.
    pub(crate) fn input(&self) -> Value {
        self.inputs[0]
    }
}

/// A function, and what it is drawn from and works on.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub function: Both,
    pub parameters: Vec<ParameterId>,
    /// Which of its layer's operations it is.
    pub number: usize,
}

/// Operations in order, from the input value to the output value: each uses values that stand before it.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub nodes: Vec<Node>,
    pub parameters: Vec<Parameter>,
    /// How every value is stored. Values that share memory are one: see `memory`.
    pub forms: Vec<Arc<Form>>,
    /// The value whose memory it is: another one if it was given other dimensions only.
    pub memory: Vec<Value>,
    /// The user's functions.
    pub customs: Vec<Custom>,
    pub functions: Vec<Called>,
    /// What errors call each layer, for example `2 (Dense 64 -> 10)`; layers within layers follow the one that they are in.
    pub layers: Vec<String>,
    /// What each puts out, for tables.
    pub outputs: Vec<Option<Value>>,
    /// Which of them are the model's own.
    pub tops: Vec<usize>,
    /// How many of these have a number, which begins the names of their parameters.
    pub counted: usize,
    pub input: Value,
    pub output: Value,
    /// Elements of the flat arrays, gaps included.
    pub flat_len: usize,
    /// What is to be updated: the flat arrays without gaps and frozen parameters. Parameters of one group that touch are one
    /// segment.
    pub segments: Vec<Segment>,
    /// The same without the tables whose gradients are sparse.
    pub dense: Vec<Segment>,
    /// The tiles of [`UPDATE_ELEMENTS`] in which these lie.
    pub tiles: Vec<u32>,
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
        self.nodes.first().is_some_and(|node| matches!(node.op, Op::Dense { positions: 1, .. }))
    }

    /// A sample's dimensions of a value.
    pub(crate) fn dims(&self, value: Value) -> &[usize] {
        self.forms[value.index].dims()
    }

    /// Multiply-adds of a node's products forward, of a sample.
    pub(crate) fn multiply_adds(&self, node: &Node) -> f64 {
        match node.op {
            Op::Dense { positions, .. } => {
                self.width(node.input()) as f64 * self.width(node.output) as f64 / positions as f64
            }
            Op::Function(function) => self.functions[function].function.function().multiply_adds(),
            Op::Activation(_) | Op::Softmax { .. } | Op::Noise { .. } | Op::Custom { .. } => 0.0,
        }
    }

    /// Elements per sample.
    pub(crate) fn width(&self, value: Value) -> usize {
        self.forms[value.index].len()
    }

    /// The value in whose memory it is.
    pub(crate) fn memory(&self, value: Value) -> usize {
        self.memory[value.index].index
    }

    /// The parameters that an operation takes.
    pub(crate) fn parameters_of(&self, op: &Op) -> impl Iterator<Item = ParameterId> + '_ {
        let (pair, many): ([Option<ParameterId>; 2], &[ParameterId]) = match *op {
            Op::Dense { weight, bias, .. } => ([Some(weight), bias], &[]),
            Op::Custom { parameter, .. } => ([parameter, None], &[]),
            Op::Function(function) => ([None, None], &self.functions[function].parameters),
            Op::Activation(_) | Op::Softmax { .. } | Op::Noise { .. } => ([None, None], &[]),
        };
        pair.into_iter().flatten().chain(many.iter().copied())
    }

    /// Finds the segments: again after a parameter was frozen or put into another group.
    pub(crate) fn find_segments(&mut self) {
        self.groups = 1 + self.parameters.iter().map(|parameter| parameter.group).max().unwrap_or(0);
        self.segments = self.segments_of(|_| true);
        self.dense = self.segments_of(|parameter| parameter.sparse.is_none());
        let tiles = |segment: &Segment| segment.start / UPDATE_ELEMENTS..=(segment.end - 1) / UPDATE_ELEMENTS;
        self.tiles = self.dense.iter().flat_map(tiles).map(|tile| tile as u32).collect();
        self.tiles.dedup();
    }

    fn segments_of(&self, is_in: impl Fn(&Parameter) -> bool) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for parameter in self.parameters.iter().filter(|p| !p.frozen && p.len() > 0 && is_in(p)) {
            let Range { start, end } = parameter.range();
            match segments.last_mut() {
                Some(last) if last.end == start && last.group == parameter.group => last.end = end,
                _ => segments.push(Segment { start, end, group: parameter.group }),
            }
        }
        segments
    }

    /// Elements of the flat arrays without the tables whose gradients are sparse.
    pub(crate) fn dense_len(&self) -> usize {
        let sparse = self.parameters.iter().filter(|parameter| parameter.sparse.is_some());
        self.flat_len - sparse.map(Parameter::len).sum::<usize>()
    }
}

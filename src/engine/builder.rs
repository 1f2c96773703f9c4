//! What layers lower to a graph with: values, parameters, and who is lowering. The operations are in `operations.rs`.

use super::form::{Form, simplified};
use super::function::{Both, Compute, MOST_INPUTS, MOST_PARAMETERS};
use super::functions::rearrange::Rearrange;
use super::graph::{Called, Graph, Node, Op, Parameter, ParameterId, Sparse, Value};
use super::init::Init;
use crate::error::{Error, Result};
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

/// Parameters begin at multiples of this many elements, a cache line of f32 or two of f64.
const ALIGNMENT: usize = 16;

/// What a layer lowers itself with: it adds parameters and operations to the model's graph.
#[derive(Debug)]
pub struct Builder {
    pub(super) graph: Graph,
    /// Parameters that an operation takes.
    used: Vec<bool>,
    /// The layer that is being lowered, as a number of the graph's, and what its parameters' names begin with.
    layer: usize,
    path: String,
    /// Where its input comes from, for errors.
    previous: String,
    /// Sequences and their masks: see `mask.rs`.
    pub(super) masks: Vec<(Value, Value)>,
}

/// The layer around one that is being lowered: see [`Builder::enter`].
#[derive(Debug)]
pub(crate) struct Outer {
    layer: usize,
    path: String,
    previous: String,
}

impl Builder {
    pub(crate) fn new(inputs: usize) -> Self {
        let input = Value { index: 0 };
        let graph = Graph {
            nodes: Vec::new(),
            parameters: Vec::new(),
            forms: vec![Arc::new(Form::rows(&[inputs]))],
            memory: vec![input],
            customs: Vec::new(),
            functions: Vec::new(),
            layers: Vec::new(),
            outputs: Vec::new(),
            tops: Vec::new(),
            counted: 0,
            input,
            output: input,
            flat_len: 0,
            segments: Vec::new(),
            dense: Vec::new(),
            tiles: Vec::new(),
            groups: 1,
        };
        Self {
            graph,
            used: Vec::new(),
            layer: 0,
            path: String::new(),
            previous: String::new(),
            masks: Vec::new(),
        }
    }

    /// Begins one of the model's own layers, which has a number if it is counted. `previous` is where its input comes from.
    pub(crate) fn begin_layer(&mut self, name: String, is_counted: bool, previous: &str) {
        self.path = self.graph.counted.to_string();
        self.graph.counted += usize::from(is_counted);
        self.layer = self.graph.layers.len();
        self.graph.tops.push(self.layer);
        self.graph.layers.push(name);
        previous.clone_into(&mut self.previous);
    }

    /// Begins a layer within the one that is being lowered: `segment` is its name there, for example `body.0`. What is returned
    /// is for [`leave`](Self::leave).
    pub(crate) fn enter(&mut self, segment: &str, description: &str, previous: &str) -> Outer {
        let path = format!("{}.{segment}", self.path);
        let outer = Outer {
            layer: std::mem::replace(&mut self.layer, self.graph.layers.len()),
            path: std::mem::replace(&mut self.path, path),
            previous: std::mem::replace(&mut self.previous, previous.to_owned()),
        };
        self.graph.layers.push(format!("{} ({description})", self.path));
        outer
    }

    /// Ends a layer within another.
    pub(crate) fn leave(&mut self, outer: Outer) {
        (self.layer, self.path, self.previous) = (outer.layer, outer.path, outer.previous);
    }

    /// What errors call the layer that is being lowered.
    pub(crate) fn layer_name(&self) -> &str {
        self.graph.layers.get(self.layer).map_or("", |name| name)
    }

    /// Where its input comes from.
    pub(crate) fn previous(&self) -> &str {
        &self.previous
    }

    /// Notes what it puts out, for tables.
    pub(crate) fn puts_out(&mut self, output: Value) {
        self.graph.outputs.resize(self.graph.layers.len(), None);
        self.graph.outputs[self.layer] = Some(output);
    }

    /// The error of the layer that is being lowered if it does not take its input: it names the layer and the one before.
    pub fn refusal(&self, expected: impl Display, got: impl Display) -> Error {
        Error::Layer {
            layer: self.layer_name().to_owned(),
            previous: self.previous.clone(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    /// The graph, with `output` as what the model puts out.
    pub(crate) fn finish(mut self, output: Value) -> Result<Graph> {
        self.check_value(output)?;
        let output = self.in_rows(output)?;
        self.graph.output = output;
        self.drop_unused()?;
        // Who fuses its update and who does not would treat it differently.
        let mut taken = vec![false; self.graph.parameters.len()];
        for node in &self.graph.nodes {
            self.graph.parameters_of(&node.op).for_each(|id| taken[id.index] = true);
        }
        if let Some((parameter, _)) = self.graph.parameters.iter().zip(taken).find(|(_, taken)| !taken) {
            let expected = "parameters that an operation takes";
            return Err(Error::argument("build", "parameter", expected, &parameter.name));
        }
        self.graph.store_in_panels();
        self.graph.find_segments();
        Ok(self.graph)
    }

    /// Leaves out functions whose values nobody takes, such as masks.
    fn drop_unused(&mut self) -> Result<()> {
        let graph = &self.graph;
        let mut wanted = vec![false; graph.memory.len()];
        wanted[graph.memory(graph.output)] = true;
        let mut keep = vec![false; graph.nodes.len()];
        for (node, keep) in graph.nodes.iter().zip(&mut keep).rev() {
            *keep = wanted[node.output.index];
            if *keep {
                node.inputs.iter().for_each(|&input| wanted[graph.memory(input)] = true);
            } else if !matches!(node.op, Op::Function(_)) {
                let what = "the last layer did not return the value of its last operation";
                return Err(Error::State { operation: "build", what });
            }
        }
        let mut keep = keep.into_iter();
        self.graph.nodes.retain(|_| keep.next() == Some(true));
        Ok(())
    }

    /// The value is one of this builder's.
    pub(crate) fn check_value(&self, value: Value) -> Result<()> {
        if value.index >= self.graph.forms.len() {
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

    /// A sample's dimensions, in PyTorch's order without the batch: `[C, H, W]` for images, `[L, E]` for sequences, `[F]` for features.
    ///
    /// # Panics
    /// As [`width`](Self::width).
    pub fn dims(&self, value: Value) -> &[usize] {
        self.graph.forms[value.index].dims()
    }

    /// How a value is stored.
    pub(crate) fn form(&self, value: Value) -> &Form {
        &self.graph.forms[value.index]
    }

    /// The same, for a value that is stored so too: a deep net has few forms.
    pub(super) fn same_form(&self, value: Value) -> Arc<Form> {
        Arc::clone(&self.graph.forms[value.index])
    }

    /// The value with other dimensions, in the same memory; `form` has its length.
    pub(crate) fn relabel(&mut self, value: Value, form: Form) -> Result<Value> {
        self.check_value(value)?;
        debug_assert_eq!(self.width(value), form.len(), "as many elements");
        let memory = self.graph.memory[value.index];
        Ok(self.value(form, Some(memory)))
    }

    /// The value, stored as its elements are counted.
    pub(crate) fn in_rows(&mut self, value: Value) -> Result<Value> {
        self.check_value(value)?;
        let to = Form::rows(self.dims(value));
        self.stored_as(value, to)
    }

    /// The value, which has dimensions of channels and positions, stored as positions x channels.
    pub(crate) fn in_channels_last(&mut self, value: Value) -> Result<Value> {
        self.check_value(value)?;
        let to = Form::channels_last(self.dims(value));
        self.stored_as(value, to)
    }

    /// The value, stored as `to`, which has its dimensions: moved if need be.
    pub(crate) fn stored_as(&mut self, value: Value, to: Form) -> Result<Value> {
        let from = self.form(value);
        if from.is_stored_as(&to) {
            return Ok(value);
        }
        let moved = Rearrange::new(from, &to);
        self.function(&[value], to, moved, &[])
    }

    fn value(&mut self, form: impl Into<Arc<Form>>, memory: Option<Value>) -> Value {
        let value = Value { index: self.graph.forms.len() };
        self.graph.forms.push(form.into());
        self.graph.memory.push(memory.unwrap_or(value));
        value
    }

    /// Adds a weight matrix of the layer that is being lowered: inputs x outputs as the kernels read it, shown and
    /// saved as outputs x inputs, as PyTorch does.
    ///
    /// # Errors
    /// [`Error::Overflow`] if the sizes overflow; [`Error::Argument`] if the layer has a parameter of this name.
    pub fn matrix(&mut self, name: &str, inputs: usize, outputs: usize, init: Init) -> Result<ParameterId> {
        self.tensor(name, &[outputs, inputs], &[1, 0], (inputs, outputs), init)
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
        self.tensor(name, &[len], &[0], (fan_in, fan_out), init)
    }

    /// Adds a parameter that is shown with the dimensions `shape` and stored with its axes in the order `stored`, the last of which is
    /// the fastest. If that is axis 0 of several, its numbers are outputs.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        stored: &[usize],
        (fan_in, fan_out): (usize, usize),
        init: Init,
    ) -> Result<ParameterId> {
        let layer = self.layer;
        let name = format!("{}.{name}", self.path);
        if self.graph.parameters.iter().rev().any(|p| p.name == name) {
            return Err(Error::argument("build", "parameter", "a name of its own", name));
        }
        // The flat arrays are addressed in bytes by signed offsets.
        let most = isize::MAX as usize / 16;
        let overflow = || {
            let dims: Vec<String> = stored.iter().map(|&axis| shape[axis].to_string()).collect();
            // A vector is one row.
            let dims = if dims.len() == 1 { format!("1 x {}", dims[0]) } else { dims.join(" x ") };
            Error::overflow("build", format!("parameter {name} ({dims})"))
        };
        let len = shape.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim)).ok_or_else(overflow)?;
        let end = len
            .checked_add(self.graph.flat_len)
            .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
            .filter(|&end| end <= most)
            .ok_or_else(overflow)?;
        let mut strides = vec![0; shape.len()];
        let mut stride = 1_usize;
        for &axis in stored.iter().rev() {
            strides[axis] = stride;
            stride = stride.saturating_mul(shape[axis]);
        }
        let has_outputs = shape.len() > 1 && stored.last() == Some(&0);
        let cols = if has_outputs { shape[0] } else { len };
        let rows = if has_outputs { shape[1..].iter().product() } else { 1 };
        let offset = std::mem::replace(&mut self.graph.flat_len, end);
        let id = ParameterId { index: self.graph.parameters.len() };
        self.graph.parameters.push(Parameter {
            name,
            layer,
            rows,
            cols,
            shape: shape.to_vec(),
            axes: simplified(shape.iter().copied().zip(strides)),
            panel: None,
            offset,
            init,
            fan_in,
            fan_out,
            has_outputs,
            group: 0,
            zeros: 0..0,
            frozen: false,
            buffer: false,
            constraint: None,
            sparse: None,
        });
        self.used.push(false);
        Ok(id)
    }

    /// Adds numbers that are saved with the parameters and not trained, all `value` at first.
    pub(crate) fn buffer(&mut self, name: &str, shape: &[usize], value: f64) -> Result<ParameterId> {
        let stored: Vec<usize> = (0..shape.len()).collect();
        let len = shape.iter().product();
        let id = self.tensor(name, shape, &stored, (len, len), Init::Constant(value))?;
        let parameter = &mut self.graph.parameters[id.index];
        (parameter.frozen, parameter.buffer) = (true, true);
        Ok(id)
    }

    /// The numbers `range` of a parameter, counted as it is shown, begin as 0.
    pub(crate) fn zero_at_first(&mut self, id: ParameterId, range: Range<usize>) {
        self.graph.parameters[id.index].zeros = range;
    }

    /// The parameter, a table of `rows` rows stored one after the other, has a sparse gradient. The function that takes it takes no
    /// other parameter, and says which rows a batch [touches](Compute::touched).
    pub(crate) fn sparse(&mut self, id: ParameterId, rows: usize) {
        let table = self.graph.parameters.iter().filter(|parameter| parameter.sparse.is_some()).count();
        let parameter = &mut self.graph.parameters[id.index];
        parameter.sparse = Some(Sparse { table, rows, width: parameter.len() / rows });
    }

    /// Notes that an operation takes the parameter.
    pub(super) fn claim(&mut self, id: ParameterId) -> Result<()> {
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

    /// Adds an operation, whose output is stored as `form`.
    pub(super) fn node(&mut self, op: Op, inputs: &[Value], form: impl Into<Arc<Form>>) -> Result<Value> {
        let form = form.into();
        inputs.iter().try_for_each(|&input| self.check_value(input))?;
        // What a function does to positions is known only where it keeps all dimensions.
        let keeps_positions = !matches!(op, Op::Function(_)) || form.dims() == self.dims(inputs[0]);
        let output = self.value(form, None);
        self.graph.nodes.push(Node { op, layer: self.layer, inputs: inputs.to_vec(), output });
        if keeps_positions {
            self.carry_mask(inputs[0], output);
        }
        Ok(output)
    }

    /// Operations of the layer that is being lowered, so far, of those that `is_one` says.
    pub(super) fn count(&self, is_one: impl Fn(&Op) -> bool) -> usize {
        self.graph.nodes.iter().filter(|node| node.layer == self.layer && is_one(&node.op)).count()
    }

    /// Adds a function of `inputs`, whose output is stored as `output`.
    pub(crate) fn function<F: Compute<f32> + Compute<f64> + 'static>(
        &mut self,
        inputs: &[Value],
        output: Form,
        function: F,
        parameters: &[ParameterId],
    ) -> Result<Value> {
        inputs.iter().try_for_each(|&input| self.check_value(input))?;
        if !(1..=MOST_INPUTS).contains(&inputs.len()) {
            let (what, expected) = ("inputs of an operation", format_args!("1 to {MOST_INPUTS}"));
            return Err(Error::argument("build", what, expected, inputs.len()));
        }
        assert!(parameters.len() <= MOST_PARAMETERS, "a function of too many parameters");
        if output.len() == 0 {
            return Err(self.refusal("at least one output", 0));
        }
        parameters.iter().try_for_each(|&id| self.claim(id))?;
        let number = self.count(|op| matches!(op, Op::Function(_)));
        let called = Called { function: Both::new(function), parameters: parameters.to_vec(), number };
        self.graph.functions.push(called);
        self.node(Op::Function(self.graph.functions.len() - 1), inputs, output)
    }
}

//! Stages as operations: forward, and backward from the last one to the first that is trained.

use super::arena::{BufferId, Place};
use super::fuse::{Stage, StageKind, Stages};
use super::graph::{ParameterId, Value};
use super::maker::{Maker, row_major};
use super::noise;
use super::plan::{
    BIAS_COLUMNS, BiasGradient, CustomCall, CustomGradient, Job, Operation, Panels, Product, Work,
};
use crate::kernel::Element;
use crate::kernel::activation::{Activation, Saved};
use crate::kernel::gemm::view::Layout;
use crate::kernel::gemm::zeros;
use std::collections::VecDeque;

impl Maker<'_> {
    /// The stage, number `index` of all, forward. Where its output is.
    pub(super) fn forward<T: Element>(&mut self, index: usize, stage: &Stage) -> BufferId {
        let (input, layer) = (self.at(stage.input()), Some(stage.layer));
        let (inputs, outputs) = (self.graph.width(stage.input()), self.graph.width(stage.output));
        let output = self.buffer(outputs);
        self.values[stage.output.index] = Some(output);
        match stage.kind {
            StageKind::Dense { weight, bias, positions, activation } => {
                let w = self.graph.parameters[weight.index].offset;
                let bias =
                    bias.map_or(Place::Null, |id| Place::Parameters(self.graph.parameters[id.index].offset));
                let (inputs, outputs) = (inputs / positions, outputs / positions);
                let a = (Place::Buffer(input), row_major(self.batch * positions, inputs));
                let b = (Place::Parameters(w), row_major(inputs, outputs));
                let zeros = self.skips_zeros(input, outputs, positions);
                let mut product = plain(a, b, Place::Buffer(output));
                if let Some(columns) = self.graph.parameters[weight.index].panel {
                    product.b_layout.row_stride = columns as isize;
                    product.panels = Some(Panels { columns, b_step: inputs * columns, c_step: columns });
                }
                let product = Product { bias, activation, zeros, positions, ..product };
                self.rows_product::<T>(product, w, stage.layer);
            }
            StageKind::Activation(activation) => {
                let operation = Operation::Activation { activation, input, output };
                self.link::<T>(operation, outputs, layer, None);
            }
            StageKind::Softmax { log, row } => {
                self.link::<T>(Operation::Softmax { input, output, log, row }, outputs, layer, None);
            }
            StageKind::Noise { noise, number } => {
                let at = noise::Place { layer: stage.layer, number };
                self.link::<T>(Operation::Noise { input, output, noise, at }, outputs, layer, None);
            }
            StageKind::Custom { function, parameter } => {
                let custom = self.custom_call(stage, function, parameter);
                self.link::<T>(Operation::Custom { custom, input, output }, outputs, layer, None);
            }
            StageKind::Function { function, activation } => {
                self.function_forward::<T>(index, stage, function, activation, output);
            }
        }
        stage.inputs.iter().for_each(|input| self.left[input.index] -= 1);
        output
    }

    /// The phases from the gradient `d_output` of the output back to the first stage that is to be trained; the gradient
    /// of the input, if it is wanted.
    pub(super) fn backward<T: Element>(
        &mut self,
        stages: &Stages,
        d_output: BufferId,
        wants_d_input: bool,
    ) -> Option<BufferId> {
        let mut gradients = Gradients { of: vec![None; self.graph.forms.len()] };
        gradients.of[stages.output.index] = Some(d_output);
        // True for a stage whose output's gradient is already that of what its activation was applied to.
        let mut before_activation = vec![false; stages.list.len()];
        for (index, stage) in stages.list.iter().enumerate().rev() {
            let d = gradients.of[stage.output.index].filter(|_| self.flow.of_output(stage));
            let Some(d) = d else {
                self.without_gradient(index);
                continue;
            };
            let (input, layer) = (stage.input(), Some(stage.layer));
            let (inputs, width) = (self.graph.width(input), self.graph.width(stage.output));
            let activation = stage.activation();
            if activation != Activation::Identity && !before_activation[index] {
                let operation =
                    Operation::ActivationBackward { activation, saved: self.saved(stage, activation), d };
                self.link::<T>(operation, width, layer, None);
            }
            let wanted = self.flow.of_input(self.graph, stage, 0);
            match stage.kind {
                StageKind::Activation(_) => {
                    if wanted {
                        self.add_gradient::<T>(&mut gradients, input, d, stage.layer);
                    }
                }
                StageKind::Noise { noise, number } if wanted => {
                    let at = noise::Place { layer: stage.layer, number };
                    if noise.has_derivative() {
                        let operation = Operation::NoiseBackward { d, noise, at };
                        self.link::<T>(operation, width, layer, None);
                    }
                    self.add_gradient::<T>(&mut gradients, input, d, stage.layer);
                }
                StageKind::Noise { .. } => {}
                StageKind::Custom { function, parameter } => {
                    let custom = self.custom_call(stage, function, parameter);
                    let (x, y) = (self.at(input), self.at(stage.output));
                    if wanted {
                        let d_input = self.buffer(inputs);
                        let operation =
                            Operation::CustomBackward { custom, input: x, output: y, d_output: d, d_input };
                        self.link::<T>(operation, inputs, layer, None);
                        self.add_gradient::<T>(&mut gradients, input, d_input, stage.layer);
                    }
                    if parameter.is_some_and(|id| !self.graph.parameters[id.index].frozen) {
                        let gradient = CustomGradient { custom, input: x, output: y, d_output: d };
                        let work = Work::CustomGradient(gradient);
                        let len = parameter.map_or(0, |id| self.graph.parameters[id.index].len());
                        self.workspace_len = self.workspace_len.max(len);
                        self.pending.push(VecDeque::from([Job { work, tiles: 1, layer }]));
                    }
                }
                StageKind::Softmax { log, row } => {
                    if wanted {
                        let d_input = self.buffer(width);
                        let output = self.at(stage.output);
                        let operation = Operation::SoftmaxBackward { output, d_output: d, d_input, log, row };
                        self.link::<T>(operation, width, layer, None);
                        self.add_gradient::<T>(&mut gradients, input, d_input, stage.layer);
                    }
                }
                StageKind::Function { .. } => {
                    for (input, d_input) in self.function_backward::<T>(index, stage, d) {
                        self.add_gradient::<T>(&mut gradients, input, d_input, stage.layer);
                    }
                }
                StageKind::Dense { weight, bias, positions, .. } => {
                    if wanted {
                        let w = self.graph.parameters[weight.index].offset;
                        let (ins, outs) = (inputs / positions, width / positions);
                        let dx = self.buffer(inputs);
                        let a = (Place::Buffer(d), row_major(self.batch * positions, outs));
                        let b = (self.row_by_row(weight), row_major(ins, outs).transposed());
                        let mut product = Product { positions, ..plain(a, b, Place::Buffer(dx)) };
                        let before = stages.list.iter().rposition(|before| before.output == input);
                        if let Some(before) = before
                            && self.fusion.derivative
                            && stages.uses[input.index] == 1
                        {
                            let producer = &stages.list[before];
                            product.derivative = producer.activation();
                            if product.derivative != Activation::Identity {
                                product.saved = Place::Buffer(self.saved(producer, product.derivative));
                                before_activation[before] = true;
                            }
                        }
                        self.rows_product::<T>(product, w, stage.layer);
                        self.add_gradient::<T>(&mut gradients, input, dx, stage.layer);
                    }
                    self.weight_gradient::<T>(stage, positions, d, weight, bias);
                }
            }
        }
        if !wants_d_input {
            return None;
        }
        let (input, width) = (stages.input, self.graph.width(stages.input));
        Some(gradients.of[input.index].unwrap_or_else(|| {
            // Nothing depends on it in a way that has a derivative.
            let buffer = self.buffer(width);
            self.link::<T>(Operation::Zero { buffer }, width, None, None);
            buffer
        }))
    }

    /// `d` is a part of the gradient of `value`: what several stages take has the sum of theirs.
    fn add_gradient<T: Element>(
        &mut self,
        gradients: &mut Gradients,
        value: Value,
        d: BufferId,
        layer: usize,
    ) {
        match gradients.of[value.index] {
            None => gradients.of[value.index] = Some(d),
            Some(to) => {
                let width = self.graph.width(value);
                self.link::<T>(Operation::AddTo { from: d, to }, width, Some(layer), None);
            }
        }
    }

    /// What the derivative of the activation that ends a stage is computed from.
    fn saved(&self, stage: &Stage, activation: Activation) -> BufferId {
        match activation.saved() {
            Saved::Output => self.at(stage.output),
            // Then the activation is a stage of its own: see the rules.
            Saved::Input => self.at(stage.input()),
        }
    }

    /// Whether `x` is the batch, and its zeros are to be skipped in its product with `outputs` columns.
    fn skips_zeros(&self, x: BufferId, outputs: usize, positions: usize) -> bool {
        let is_batch = self.input == Some(x) && positions == 1;
        self.fusion.zeros && is_batch && outputs * self.element <= zeros::ROW_BYTES
    }

    /// A weight as rows x columns: where it is, or a copy that is made before everything else.
    fn row_by_row(&mut self, weight: ParameterId) -> Place {
        let parameter = &self.graph.parameters[weight.index];
        let Some(columns) = parameter.panel else { return Place::Parameters(parameter.offset) };
        let to = self.buffers.add(parameter.len(), 0);
        let work = Work::Rows { parameter: weight.index, to };
        let job = Job { work, tiles: parameter.cols / columns, layer: Some(parameter.layer) };
        match self.prepare.first_mut() {
            Some(jobs) => jobs.push(job),
            None => self.prepare.push(vec![job]),
        }
        Place::Buffer(to)
    }

    fn custom_call(&self, stage: &Stage, function: usize, parameter: Option<ParameterId>) -> CustomCall {
        let (inputs, outputs) = (self.graph.width(stage.input()), self.graph.width(stage.output));
        CustomCall { function, inputs, outputs, parameter: parameter.map(|id| id.index) }
    }

    /// dW and the bias gradient, from the gradient `d` of the output: to be done in a later phase, since the dX before
    /// them reads the weights that an update changes.
    fn weight_gradient<T: Element>(
        &mut self,
        stage: &Stage,
        positions: usize,
        d: BufferId,
        weight: ParameterId,
        bias: Option<ParameterId>,
    ) {
        let x = self.at(stage.input());
        let inputs = self.graph.width(stage.input()) / positions;
        let width = self.graph.width(stage.output) / positions;
        let rows = self.batch * positions;
        let parameter = &self.graph.parameters[weight.index];
        if !parameter.frozen {
            let at = parameter.offset;
            let a = (Place::Buffer(x), row_major(rows, inputs).transposed());
            let b = (Place::Buffer(d), row_major(rows, width));
            let update = self.fusion.update.then_some(weight.index);
            let zeros = self.skips_zeros(x, width, positions);
            let mut product = Product { update, zeros, ..plain(a, b, Place::Gradients(at)) };
            if let Some(columns) = parameter.panel {
                product.c_row_stride = columns;
                product.panels = Some(Panels { columns, b_step: columns, c_step: inputs * columns });
            }
            let job = self.team_product::<T>(product, stage.layer);
            self.pending.push(VecDeque::from([job]));
        }
        if let Some(id) = bias
            && !self.graph.parameters[id.index].frozen
        {
            let parameter = &self.graph.parameters[id.index];
            let (gradient, group, update) = (parameter.offset, parameter.group, self.fusion.update);
            let work = BiasGradient { d_output: d, width, positions, gradient, update, group };
            let tiles = width.div_ceil(BIAS_COLUMNS);
            let job = Job { work: Work::BiasGradient(work), tiles, layer: Some(stage.layer) };
            self.pending.push(VecDeque::from([job]));
        }
    }
}

/// The gradient of each value, so far.
struct Gradients {
    of: Vec<Option<BufferId>>,
}

/// C = A B, not yet cut.
fn plain(a: (Place, Layout), b: (Place, Layout), c: Place) -> Product {
    Product {
        plans: Vec::new(),
        a: a.0,
        a_layout: a.1,
        b: b.0,
        b_layout: b.1,
        c,
        bias: Place::Null,
        activation: Activation::Identity,
        derivative: Activation::Identity,
        saved: Place::Null,
        update: None,
        zeros: false,
        positions: 1,
        c_row_stride: b.1.cols,
        panels: None,
    }
}

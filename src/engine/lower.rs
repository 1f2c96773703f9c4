//! Stages as operations: forward, and backward from the last one to the first that is trained.

use super::arena::{BufferId, Place};
use super::fuse::{Stage, StageKind};
use super::graph::ParameterId;
use super::maker::{Maker, row_major};
use super::noise;
use super::plan::{
    BIAS_COLUMNS, BiasGradient, CustomCall, CustomGradient, Job, Operation, Output, Product, Work,
};
use crate::kernel::Element;
use crate::kernel::activation::{Activation, Saved};
use crate::kernel::gemm::view::Layout;
use crate::kernel::gemm::zeros;

impl Maker<'_> {
    pub(super) fn forward<T: Element>(&mut self, stage: &Stage, input: BufferId) -> BufferId {
        let (inputs, outputs) = (self.graph.width(stage.input), self.graph.width(stage.output));
        let output = self.buffer(outputs);
        match stage.kind {
            StageKind::Dense { weight, bias, activation } => {
                let w = self.graph.parameters[weight.index].offset;
                let bias =
                    bias.map_or(Place::Null, |id| Place::Parameters(self.graph.parameters[id.index].offset));
                let a = (Place::Buffer(input), row_major(self.batch, inputs));
                let b = (Place::Parameters(w), row_major(inputs, outputs));
                let zeros = self.skips_zeros(input, outputs);
                let product = Product { bias, activation, zeros, ..plain(a, b, Place::Buffer(output)) };
                self.rows_product::<T>(product, w, stage.layer);
            }
            StageKind::Activation(activation) => {
                let operation = Operation::Activation { activation, input, output };
                self.link::<T>(operation, outputs, Some(stage.layer), None);
            }
            StageKind::Softmax { log } => {
                self.link::<T>(Operation::Softmax { input, output, log }, outputs, Some(stage.layer), None);
            }
            StageKind::Noise { noise, number } => {
                let at = noise::Place { layer: stage.layer, number };
                let operation = Operation::Noise { input, output, noise, at };
                self.link::<T>(operation, outputs, Some(stage.layer), None);
            }
            StageKind::Custom { function, parameter } => {
                let custom = self.custom_call(stage, function, parameter);
                let operation = Operation::Custom { custom, input, output };
                self.link::<T>(operation, outputs, Some(stage.layer), None);
            }
        }
        output
    }

    /// The phases from the gradient `d` of the last output back to the first stage that is to be trained; the gradient
    /// of the input, if it is wanted.
    pub(super) fn backward<T: Element>(
        &mut self,
        stages: &[Stage],
        input: BufferId,
        outputs: &[Output],
        mut d: BufferId,
        wants_d_input: bool,
    ) -> Option<BufferId> {
        let first_trained = stages.iter().position(|stage| self.is_trained(stage)).unwrap_or(stages.len());
        // True while `d` is already the gradient of what the stage's activation was applied to.
        let mut before_activation = false;
        for (index, stage) in stages.iter().enumerate().rev() {
            if index < first_trained && !wants_d_input {
                break;
            }
            let (inputs, width) = (self.graph.width(stage.input), self.graph.width(stage.output));
            let activation = stage.activation();
            if activation != Activation::Identity && !before_activation {
                let saved = saved(activation, index, input, outputs);
                let operation = Operation::ActivationBackward { activation, saved, d };
                self.link::<T>(operation, width, Some(stage.layer), None);
            }
            before_activation = false;
            match stage.kind {
                StageKind::Activation(_) => {}
                StageKind::Noise { noise, number } => {
                    let at = noise::Place { layer: stage.layer, number };
                    if noise.has_derivative() {
                        let operation = Operation::NoiseBackward { d, noise, at };
                        self.link::<T>(operation, width, Some(stage.layer), None);
                    }
                }
                StageKind::Custom { function, parameter } => {
                    let custom = self.custom_call(stage, function, parameter);
                    let (x, y) = (inputs_of(index, input, outputs), outputs[index].buffer);
                    let d_output = d;
                    if index > first_trained || wants_d_input {
                        let d_input = self.buffer(inputs);
                        let operation =
                            Operation::CustomBackward { custom, input: x, output: y, d_output, d_input };
                        self.link::<T>(operation, inputs, Some(stage.layer), None);
                        d = d_input;
                    }
                    if parameter.is_some_and(|id| !self.graph.parameters[id.index].frozen) {
                        let gradient = CustomGradient { custom, input: x, output: y, d_output };
                        let work = Work::CustomGradient(gradient);
                        let len = parameter.map_or(0, |id| self.graph.parameters[id.index].len());
                        self.workspace_len = self.workspace_len.max(len);
                        self.pending.push(Job { work, tiles: 1, layer: Some(stage.layer) });
                    }
                }
                StageKind::Softmax { log } => {
                    let d_input = self.buffer(width);
                    let output = outputs[index].buffer;
                    let operation = Operation::SoftmaxBackward { output, d_output: d, d_input, log };
                    self.link::<T>(operation, width, Some(stage.layer), None);
                    d = d_input;
                }
                StageKind::Dense { weight, bias, .. } => {
                    let x = inputs_of(index, input, outputs);
                    let w = self.graph.parameters[weight.index].offset;
                    let d_layout = row_major(self.batch, width);
                    let d_output = d;
                    if index > first_trained || wants_d_input {
                        let dx = self.buffer(inputs);
                        let b = (Place::Parameters(w), row_major(inputs, width).transposed());
                        let mut product = plain((Place::Buffer(d), d_layout), b, Place::Buffer(dx));
                        if index > 0 && self.fusion.derivative {
                            product.derivative = stages[index - 1].activation();
                            if product.derivative != Activation::Identity {
                                let saved = saved(product.derivative, index - 1, input, outputs);
                                product.saved = Place::Buffer(saved);
                                before_activation = true;
                            }
                        }
                        self.rows_product::<T>(product, w, stage.layer);
                        d = dx;
                    }
                    self.weight_gradient::<T>(stage, (x, inputs), d_output, weight, bias);
                }
            }
        }
        wants_d_input.then_some(d)
    }

    /// Whether `x` is the batch, and its zeros are to be skipped in its product with `outputs` columns.
    fn skips_zeros(&self, x: BufferId, outputs: usize) -> bool {
        self.fusion.zeros && self.input == Some(x) && outputs * self.element <= zeros::ROW_BYTES
    }

    fn is_trained(&self, stage: &Stage) -> bool {
        let trained = |id: ParameterId| !self.graph.parameters[id.index].frozen;
        match stage.kind {
            StageKind::Dense { weight, bias, .. } => trained(weight) || bias.is_some_and(trained),
            StageKind::Custom { parameter, .. } => parameter.is_some_and(trained),
            StageKind::Activation(_) | StageKind::Softmax { .. } | StageKind::Noise { .. } => false,
        }
    }

    fn custom_call(&self, stage: &Stage, function: usize, parameter: Option<ParameterId>) -> CustomCall {
        let (inputs, outputs) = (self.graph.width(stage.input), self.graph.width(stage.output));
        CustomCall { function, inputs, outputs, parameter: parameter.map(|id| id.index) }
    }

    /// dW and the bias gradient, from the gradient `d` of the output: to be done in a later phase, since the dX before
    /// them reads the weights that an update changes.
    fn weight_gradient<T: Element>(
        &mut self,
        stage: &Stage,
        (x, inputs): (BufferId, usize),
        d: BufferId,
        weight: ParameterId,
        bias: Option<ParameterId>,
    ) {
        let width = self.graph.width(stage.output);
        let parameter = &self.graph.parameters[weight.index];
        if !parameter.frozen {
            let at = parameter.offset;
            let a = (Place::Buffer(x), row_major(self.batch, inputs).transposed());
            let b = (Place::Buffer(d), row_major(self.batch, width));
            let update = self.fusion.update.then_some(weight.index);
            let zeros = self.skips_zeros(x, width);
            let product = Product { update, zeros, ..plain(a, b, Place::Gradients(at)) };
            let job = self.team_product::<T>(product, stage.layer);
            self.pending.push(job);
        }
        if let Some(id) = bias
            && !self.graph.parameters[id.index].frozen
        {
            let parameter = &self.graph.parameters[id.index];
            let (gradient, group) = (parameter.offset, parameter.group);
            let work = BiasGradient { d_output: d, width, gradient, update: self.fusion.update, group };
            let tiles = width.div_ceil(BIAS_COLUMNS);
            self.pending.push(Job { work: Work::BiasGradient(work), tiles, layer: Some(stage.layer) });
        }
    }
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
    }
}

/// Where stage `index` reads.
fn inputs_of(index: usize, input: BufferId, outputs: &[Output]) -> BufferId {
    if index == 0 { input } else { outputs[index - 1].buffer }
}

/// What the derivative of the activation that ends stage `index` is computed from.
fn saved(activation: Activation, index: usize, input: BufferId, outputs: &[Output]) -> BufferId {
    match (activation.saved(), index) {
        (Saved::Output, _) => outputs[index].buffer,
        // Then the activation is a stage of its own: see the rules.
        (Saved::Input, 0) => input,
        (Saved::Input, _) => outputs[index - 1].buffer,
    }
}

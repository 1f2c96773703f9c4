//! Which values a gradient is computed of.

use super::Task;
use super::fuse::{Stage, StageKind, Stages};
use super::graph::{Graph, ParameterId};

/// Which values a gradient is computed of: those that depend on a trained parameter, or on an input whose gradient is wanted.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    wanted: Vec<bool>,
}

impl Flow {
    pub(super) fn new(graph: &Graph, stages: &Stages, task: Task) -> Self {
        let mut wanted = vec![false; graph.forms.len()];
        if task.is_training() {
            wanted[stages.input.index] = task.wants_d_input();
            for stage in &stages.list {
                let by_inputs = (0..stage.inputs.len()).any(|input| takes(graph, &wanted, stage, input));
                wanted[stage.output.index] = by_inputs || is_trained(graph, stage);
            }
        }
        Self { wanted }
    }

    /// Whether the gradient of the stage's output is computed.
    pub(super) fn of_output(&self, stage: &Stage) -> bool {
        self.wanted[stage.output.index]
    }

    /// Whether the stage computes the gradient by one of its inputs.
    pub(super) fn of_input(&self, graph: &Graph, stage: &Stage, input: usize) -> bool {
        takes(graph, &self.wanted, stage, input)
    }
}

fn takes(graph: &Graph, wanted: &[bool], stage: &Stage, input: usize) -> bool {
    let differentiates = match stage.kind {
        StageKind::Function { function, .. } => {
            graph.functions[function].function.function().differentiates(input)
        }
        _ => true,
    };
    differentiates && wanted[stage.inputs[input].index]
}

fn is_trained(graph: &Graph, stage: &Stage) -> bool {
    let trained = |id: &ParameterId| !graph.parameters[id.index].frozen;
    match &stage.kind {
        StageKind::Dense { weight, bias, .. } => trained(weight) || bias.as_ref().is_some_and(trained),
        StageKind::Custom { parameter, .. } => parameter.as_ref().is_some_and(trained),
        StageKind::Function { function, .. } => graph.functions[*function].parameters.iter().any(trained),
        StageKind::Activation(_) | StageKind::Softmax { .. } | StageKind::Noise { .. } => false,
    }
}

//! All fusion rules.
//!
//! | rule | what it saves |
//! | --- | --- |
//! | dense + bias + activation is one product with an epilogue; in training not if the derivative needs the activation's input, which the product then writes | two passes over the output |
//! | softmax + cross-entropy is one loss from logits; sigmoid + binary cross-entropy likewise | a pass; stability |
//! | the gradient of a dense input times the derivative of the activation before it is one product with an epilogue | a pass over the gradient |
//! | the bias gradient is summed in the phase of the weight gradient | a meeting of the team |

use super::Loss;
use super::graph::{Graph, Node, Op, ParameterId, Value};
use crate::kernel::activation::{Activation, Saved};

/// One or more operations that run as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub kind: StageKind,
    /// The last layer in it: what errors name.
    pub layer: usize,
    pub input: Value,
    pub output: Value,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum StageKind {
    Dense { weight: ParameterId, bias: Option<ParameterId>, activation: Activation },
    Activation(Activation),
    Softmax,
}

impl Stage {
    /// The activation whose output is this stage's output: its derivative can ride on the next stage's gradient. If that
    /// derivative needs the activation's input, this is the stage's input.
    pub(crate) fn activation(&self) -> Activation {
        match self.kind {
            StageKind::Dense { activation, .. } | StageKind::Activation(activation) => activation,
            StageKind::Softmax => Activation::Identity,
        }
    }
}

/// Operations as stages: an activation joins the dense product before it, but not in training if its input is to be kept.
pub(crate) fn stages(nodes: &[Node], training: bool) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for node in nodes {
        let kind = match node.op {
            Op::Dense { weight, bias } => StageKind::Dense { weight, bias, activation: Activation::Identity },
            Op::Softmax => StageKind::Softmax,
            Op::Activation(next) => {
                if let Some(Stage { kind: StageKind::Dense { activation, .. }, layer, output, .. }) =
                    stages.last_mut()
                    && *activation == Activation::Identity
                    && !(training && next.saved() == Saved::Input)
                {
                    *activation = next;
                    (*layer, *output) = (node.layer, node.output);
                    continue;
                }
                StageKind::Activation(next)
            }
        };
        stages.push(Stage { kind, layer: node.layer, input: node.input, output: node.output });
    }
    stages
}

/// True if the last operation is a softmax (or sigmoid) that the loss computes itself, from logits.
pub(crate) fn ends_in_loss(graph: &Graph, loss: Loss) -> bool {
    matches!(
        (graph.nodes.last().map(|node| node.op), loss),
        (Some(Op::Softmax), Loss::CrossEntropy)
            | (Some(Op::Activation(Activation::Sigmoid)), Loss::BinaryCrossEntropy)
    )
}

/// The stages before the loss: without a last operation that the loss computes itself.
pub(crate) fn stages_before_loss(graph: &Graph, loss: Loss, training: bool) -> Vec<Stage> {
    let nodes = graph.nodes.len() - usize::from(ends_in_loss(graph, loss));
    stages(&graph.nodes[..nodes], training)
}

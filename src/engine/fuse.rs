//! All fusion rules.
//!
//! | rule | what it saves | [`Fusion`] |
//! | --- | --- | --- |
//! | dense + bias + activation is one product with an epilogue; in training not if the derivative needs the activation's input, which the product then writes | two passes over the output | `activation` |
//! | softmax + cross-entropy is one loss from logits; log-softmax + negative log-likelihood and sigmoid + binary cross-entropy likewise | a pass; stability | always |
//! | the gradient of a dense input times the derivative of the activation before it is one product with an epilogue | a pass over the gradient | `derivative` |
//! | operations on the rows of a batch whose weights fit in half of L2 together are one chain, some rows at a time | a meeting of the team each; values stay in the cache | `chains` |
//! | the update follows each tile of a weight gradient, unless gradients are to be looked at, bounded by their norm or added up first, or parameters are few or do not fit in L2; what constrains parameters is a phase after all updates | a meeting; a pass over the gradients | `update` |
//! | a dense first layer of at most 512 bytes of outputs skips the zeros of its inputs, forward and in dW, if more than 60 % of some samples' inputs are zeros when the plan is made | their multiplications | `zeros` |
//! | dropout and noise are nothing but in training; masks are drawn again for the backward pass | a buffer | always |
//! | bias gradients are summed beside the weight gradients | a meeting each | always |

use super::Loss;
use super::graph::{Graph, Node, Op, ParameterId, Value};
use super::noise::Noise;
use crate::kernel::activation::{Activation, Saved};
use std::fmt;

/// Which fusions plans may have. All by default; none of them changes a bit of any result, so that switching one off is of
/// use to find out what it saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Fusion {
    /// An activation in the epilogue of the product before it.
    pub activation: bool,
    /// The derivative of an activation in the epilogue of the product that makes its gradient.
    pub derivative: bool,
    /// Operations on rows of the batch one after the other, some rows at a time, without a meeting of the team.
    pub chains: bool,
    /// The optimiser's update in the epilogue of the weight gradient.
    pub update: bool,
    /// Exact zeros of the inputs are skipped, where there are many.
    pub zeros: bool,
}

impl Fusion {
    /// No fusion.
    pub const NONE: Self =
        Self { activation: false, derivative: false, chains: false, update: false, zeros: false };
}

impl Default for Fusion {
    fn default() -> Self {
        Self { activation: true, derivative: true, chains: true, update: true, zeros: true }
    }
}

impl fmt::Display for Fusion {
    /// `fused: activation, derivative, chains, update`, or `nothing fused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.activation, "activation"),
            (self.derivative, "derivative"),
            (self.chains, "chains"),
            (self.update, "update"),
            (self.zeros, "zeros skipped"),
        ];
        let names: Vec<&str> = names.into_iter().filter_map(|(on, name)| on.then_some(name)).collect();
        if names.is_empty() { f.write_str("nothing fused") } else { write!(f, "fused: {}", names.join(", ")) }
    }
}

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
    Dense {
        weight: ParameterId,
        bias: Option<ParameterId>,
        activation: Activation,
    },
    Activation(Activation),
    Softmax {
        log: bool,
    },
    /// The `layer` of the stage is what it is drawn for.
    Noise {
        noise: Noise,
        number: usize,
    },
    Custom {
        function: usize,
        parameter: Option<ParameterId>,
    },
}

impl Stage {
    /// The activation whose output is this stage's output: its derivative can ride on the next stage's gradient. If that
    /// derivative needs the activation's input, this is the stage's input.
    pub(crate) fn activation(&self) -> Activation {
        match self.kind {
            StageKind::Dense { activation, .. } | StageKind::Activation(activation) => activation,
            StageKind::Softmax { .. } | StageKind::Noise { .. } | StageKind::Custom { .. } => {
                Activation::Identity
            }
        }
    }
}

/// Operations as stages: an activation joins the dense product before it, but not in training if its input is to be kept.
pub(crate) fn stages(nodes: &[Node], training: bool, fusion: Fusion) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for node in nodes {
        let kind = match node.op {
            Op::Dense { weight, bias } => StageKind::Dense { weight, bias, activation: Activation::Identity },
            Op::Softmax { log } => StageKind::Softmax { log },
            Op::Noise { noise, number } if training && noise.is_active() => {
                StageKind::Noise { noise, number }
            }
            Op::Noise { .. } => continue,
            Op::Custom { function, parameter } => StageKind::Custom { function, parameter },
            Op::Activation(next) => {
                if let Some(Stage { kind: StageKind::Dense { activation, .. }, layer, output, .. }) =
                    stages.last_mut()
                    && *activation == Activation::Identity
                    && fusion.activation
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
        (Some(Op::Softmax { log: false }), Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. })
            | (Some(Op::Softmax { log: true }), Loss::NegativeLogLikelihood)
            | (Some(Op::Activation(Activation::Sigmoid)), Loss::BinaryCrossEntropy)
    )
}

/// The stages before the loss: without a last operation that the loss computes itself.
pub(crate) fn stages_before_loss(graph: &Graph, loss: Loss, training: bool, fusion: Fusion) -> Vec<Stage> {
    let nodes = graph.nodes.len() - usize::from(ends_in_loss(graph, loss));
    stages(&graph.nodes[..nodes], training, fusion)
}

//! All fusion rules.
//!
//! | rule | what it saves | [`Fusion`] |
//! | --- | --- | --- |
//! | dense + bias + activation is one product with an epilogue; in training not if the derivative needs the activation's input, which the product then writes | two passes over the output | `activation` |
//! | a function that takes one (convolution, norms) applies the activation behind it, under the same conditions | a pass | `activation` |
//! | max pooling of 2 x 2 windows side by side applies a ReLU before it to what it reads; its gradient is that of the pooled values | a pass over the gradient, where that is four times as large; the values before it are not kept | `activation` |
//! | softmax + cross-entropy is one loss from logits; log-softmax + negative log-likelihood and sigmoid + binary cross-entropy likewise | a pass; stability | always |
//! | the gradient of a dense input times the derivative of the activation before it is one product with an epilogue | a pass over the gradient | `derivative` |
//! | operations on the rows of a batch whose weights fit in half of L2 together are one chain, some rows at a time | a meeting of the team each; values stay in the cache | `chains` |
//! | the update follows each tile of a weight gradient, unless gradients are to be looked at, bounded by their norm or added up first, or parameters are few or do not fit in L2; what constrains parameters is a phase after all updates | a meeting; a pass over the gradients | `update` |
//! | a dense first layer of at most 512 bytes of outputs skips the zeros of its inputs, forward and in dW, if more than 60 % of some samples' inputs are zeros when the plan is made | their multiplications | `zeros` |
//! | dropout and noise are nothing but in training; masks are drawn again for the backward pass | a buffer | always |
//! | bias gradients are summed beside the weight gradients | a meeting each | always |

use super::Loss;
use super::graph::{Graph, Op, ParameterId, Value};
use super::noise::Noise;
use crate::kernel::activation::{Activation, Saved};
use std::fmt;

/// Which fusions plans may have. All by default; none of them changes a bit of any result, so that switching one off is of
/// use to find out what it saves. One exception: where a ReLU before max pooling gets exactly -0, `activation` may change the
/// sign of a zero in the gradient by the inputs.
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
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub kind: StageKind,
    /// The last layer in it: what errors name.
    pub layer: usize,
    /// One, but of a function.
    pub inputs: Vec<Value>,
    pub output: Value,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum StageKind {
    Dense {
        weight: ParameterId,
        bias: Option<ParameterId>,
        positions: usize,
        activation: Activation,
    },
    Activation(Activation),
    Softmax {
        log: bool,
        row: usize,
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
    Function {
        function: usize,
        activation: Activation,
    },
}

impl Stage {
    /// The first input.
    pub(crate) fn input(&self) -> Value {
        self.inputs[0]
    }

    /// The activation whose output is this stage's output: its derivative can ride on the next stage's gradient. If that
    /// derivative needs the activation's input, this is the stage's input.
    pub(crate) fn activation(&self) -> Activation {
        match self.kind {
            StageKind::Dense { activation, .. }
            | StageKind::Activation(activation)
            | StageKind::Function { activation, .. } => activation,
            StageKind::Softmax { .. } | StageKind::Noise { .. } | StageKind::Custom { .. } => {
                Activation::Identity
            }
        }
    }
}

/// The stages of a graph. Their values are those whose memory it is: one that another only names anew does not occur.
#[derive(Clone, Debug)]
pub(crate) struct Stages {
    pub list: Vec<Stage>,
    /// How many stages take each value; the model's output is taken once more.
    pub uses: Vec<usize>,
    pub input: Value,
    pub output: Value,
}

/// The first `nodes` operations as stages: an activation joins the operation before it, if that takes one and nobody else takes its
/// output, but not in training if its input is to be kept. Noise is nothing but in training.
pub(crate) fn stages(graph: &Graph, nodes: usize, training: bool, fusion: Fusion) -> Stages {
    let nodes = &graph.nodes[..nodes];
    let is_nothing = |op: Op| matches!(op, Op::Noise { noise, .. } if !training || !noise.is_active());
    // Where each value is.
    let mut at: Vec<Value> = (0..graph.memory.len()).map(|index| Value { index }).collect();
    let mut uses = vec![0; at.len()];
    for node in nodes {
        if is_nothing(node.op) {
            at[node.output.index] = at[graph.memory(node.input())];
        } else {
            node.inputs.iter().for_each(|&input| uses[at[graph.memory(input)].index] += 1);
        }
    }
    let output = match graph.nodes.get(nodes.len()) {
        None => at[graph.memory(graph.output)],
        // What the loss takes.
        Some(last) => at[graph.memory(last.input())],
    };
    uses[output.index] += 1;
    let mut stages: Vec<Stage> = Vec::new();
    for node in nodes.iter().filter(|node| !is_nothing(node.op)) {
        let mut inputs: Vec<Value> = node.inputs.iter().map(|&input| at[graph.memory(input)]).collect();
        let kind = match node.op {
            Op::Dense { weight, bias, positions } => {
                StageKind::Dense { weight, bias, positions, activation: Activation::Identity }
            }
            Op::Softmax { log, row } => StageKind::Softmax { log, row },
            Op::Noise { noise, number } => StageKind::Noise { noise, number },
            Op::Custom { function, parameter } => StageKind::Custom { function, parameter },
            Op::Function(function) => {
                let activation = match inputs[..] {
                    [input] if uses[input.index] == 1 && fusion.activation => {
                        taken_from_before(graph, function, &mut stages, &mut inputs[0])
                    }
                    _ => Activation::Identity,
                };
                StageKind::Function { function, activation }
            }
            Op::Activation(next) => {
                let before = stages.iter_mut().rfind(|stage| stage.output == inputs[0]);
                if let Some(before) = before
                    && uses[inputs[0].index] == 1
                    && fusion.activation
                    && !(training && next.saved() == Saved::Input)
                    && let Some(activation) = free_activation(graph, &mut before.kind)
                {
                    *activation = next;
                    (before.layer, before.output) = (node.layer, node.output);
                    continue;
                }
                StageKind::Activation(next)
            }
        };
        stages.push(Stage { kind, layer: node.layer, inputs, output: node.output });
    }
    Stages { list: stages, uses, input: graph.input, output }
}

/// The activation that ends the stage before, if the function can apply it to what it reads: then that stage has none any more.
fn taken_from_before(
    graph: &Graph,
    function: usize,
    stages: &mut Vec<Stage>,
    input: &mut Value,
) -> Activation {
    let Some(at) = stages.iter().rposition(|stage| stage.output == *input) else {
        return Activation::Identity;
    };
    let taken = stages[at].activation();
    if !graph.functions[function].function.function().takes_activation_before(taken) {
        return Activation::Identity;
    }
    match &mut stages[at].kind {
        StageKind::Dense { activation, .. } => *activation = Activation::Identity,
        StageKind::Function { function, activation }
            if graph.functions[*function].function.function().takes_activation() =>
        {
            *activation = Activation::Identity;
        }
        StageKind::Activation(_) => *input = stages.remove(at).input(),
        // One that itself has it from before.
        _ => return Activation::Identity,
    }
    taken
}

/// Where a stage that takes an activation and has none keeps it.
fn free_activation<'a>(graph: &Graph, kind: &'a mut StageKind) -> Option<&'a mut Activation> {
    let takes = match kind {
        StageKind::Function { function, .. } => {
            graph.functions[*function].function.function().takes_activation()
        }
        _ => true,
    };
    match kind {
        StageKind::Dense { activation, .. } | StageKind::Function { activation, .. }
            if takes && *activation == Activation::Identity =>
        {
            Some(activation)
        }
        _ => None,
    }
}

/// True if the last operation is a softmax (or sigmoid) that the loss computes itself, from logits.
pub(crate) fn ends_in_loss(graph: &Graph, loss: Loss) -> bool {
    // Of the whole output.
    let row = match graph.nodes.last().map(|node| node.op) {
        Some(Op::Softmax { row, .. }) => row,
        _ => graph.width(graph.output),
    };
    let output = graph.memory(graph.output);
    let alone = graph.nodes.iter().flat_map(|node| &node.inputs).all(|&input| graph.memory(input) != output);
    alone
        && row == graph.width(graph.output)
        && matches!(
            (graph.nodes.last().map(|node| node.op), loss),
            (Some(Op::Softmax { log: false, .. }), Loss::CrossEntropy | Loss::SmoothedCrossEntropy { .. })
                | (Some(Op::Softmax { log: true, .. }), Loss::NegativeLogLikelihood)
                | (Some(Op::Activation(Activation::Sigmoid)), Loss::BinaryCrossEntropy)
        )
}

/// The stages before the loss: without a last operation that the loss computes itself.
pub(crate) fn stages_before_loss(graph: &Graph, loss: Loss, training: bool, fusion: Fusion) -> Stages {
    let nodes = graph.nodes.len() - usize::from(ends_in_loss(graph, loss));
    stages(graph, nodes, training, fusion)
}

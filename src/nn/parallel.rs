//! Branches side by side.

use super::layer::Layer;
use super::sequential::Sequential;
use super::spec::Spec;
use super::within::within;
use crate::engine::{Builder, MOST_INPUTS, Value};
use crate::error::{Error, Result};

/// Branches that take the same input, and whose outputs are added up or stand one after the other: the blocks of Inception, of
/// DenseNet, of wide residual nets. An empty [`Sequential`] is a branch that passes its input on.
///
/// Parameters are those of the layers within: `branches.1.0.weight` is the first layer of the second branch, as in a PyTorch module
/// with an `nn.ModuleList` of this name.
///
/// ```
/// use gemmule::nn::{Branches, Conv2d, Input, MaxPool2d, Sequential};
/// let small = Sequential::new().with(Conv2d::new(8, 4, 1));
/// let large = Sequential::new().with(Conv2d::new(8, 4, 1)).with(Conv2d::new(4, 16, 3).padding(1));
/// let pooled = Sequential::new().with(MaxPool2d::new(3).stride(1).padding(1)).with(Conv2d::new(8, 4, 1));
/// let block = Branches::concatenate().with(small).with(large).with(pooled);
/// let model = Sequential::new().with(Input::new(&[8, 6, 6])).with(block).build::<f32>(0)?;
/// assert_eq!(model.outputs(), (4 + 16 + 4) * 6 * 6);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Branches {
    branches: Vec<Sequential>,
    join: Join,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    /// From the first branch on.
    Add,
    /// Along this dimension, counted with the batch; from the end if it is negative.
    Concatenate(isize),
}

impl Branches {
    /// Branches whose outputs, of the same dimensions, are added up.
    pub fn add() -> Self {
        Self { branches: Vec::new(), join: Join::Add }
    }

    /// Branches whose outputs stand one after the other along the channels, or the features where there is nothing else:
    /// PyTorch's `torch.cat(.., dim=1)`. Their other dimensions are the same.
    pub fn concatenate() -> Self {
        Self::concatenate_along(1)
    }

    /// The same along another dimension. As in PyTorch the batch is dimension 0, which it cannot be; -1 is the last one: the
    /// features of a sequence (L, E).
    pub fn concatenate_along(dim: isize) -> Self {
        Self { branches: Vec::new(), join: Join::Concatenate(dim) }
    }

    /// The same with one more branch.
    #[must_use]
    pub fn with(mut self, branch: Sequential) -> Self {
        self.branches.push(branch);
        self
    }

    /// From descriptions of the branches, made already.
    pub(super) fn of(spec: &Spec, branches: Vec<Sequential>) -> Result<Self> {
        spec.has_only(&["branches", "join", "dim"])?;
        let join = match spec.text("join")? {
            "add" => Join::Add,
            "concatenate" => Join::Concatenate(
                isize::try_from(spec.integer("dim")?)
                    .map_err(|_| Error::argument("Spec", "dim", "a dimension", "a huge number"))?,
            ),
            other => return Err(Error::argument("Spec", "join", "add or concatenate", other)),
        };
        Ok(Self { branches, join })
    }

    fn join(&self, builder: &mut Builder, values: &[Value]) -> Result<Value> {
        // An operation takes so many.
        if values.len() > MOST_INPUTS {
            let parts = values.chunks(MOST_INPUTS).map(|part| self.join(builder, part));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            return self.join(builder, &parts);
        }
        let &[first, ..] = values else {
            return Err(Error::argument("build", "Branches", "at least one branch", 0));
        };
        match self.join {
            _ if values.len() == 1 => Ok(first),
            Join::Add => builder.add(values),
            Join::Concatenate(dim) => {
                let count = builder.dims(first).len() + 1;
                let at =
                    if dim < 0 { count.checked_sub(dim.unsigned_abs()) } else { Some(dim.unsigned_abs()) };
                let Some(at) = at.filter(|&at| (1..count).contains(&at)) else {
                    let expected = format_args!("a dimension from 1 to {} (the batch is 0)", count - 1);
                    return Err(builder.refusal(expected, dim));
                };
                builder.concatenate(values, at - 1)
            }
        }
    }
}

impl Layer for Branches {
    fn describe(&self) -> String {
        let join = match self.join {
            Join::Add => "added".to_owned(),
            Join::Concatenate(1) => "concatenated".to_owned(),
            Join::Concatenate(dim) => format!("concatenated along {dim}"),
        };
        format!("{} Branches {join}", self.branches.len())
    }

    fn inputs(&self) -> Option<usize> {
        self.branches.iter().find_map(Layer::inputs)
    }

    fn checks_inputs(&self) -> bool {
        true
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let mut values = Vec::with_capacity(self.branches.len());
        for (index, branch) in self.branches.iter().enumerate() {
            values.push(within(builder, &format!("branches.{index}"), branch, input)?);
        }
        self.join(builder, &values)
    }

    fn spec(&self) -> Option<Spec> {
        let branches = self.branches.iter().map(Layer::spec).collect::<Option<Vec<_>>>()?;
        let spec = Spec::new("branches").with("branches", branches);
        Some(match self.join {
            Join::Add => spec.with("join", "add"),
            Join::Concatenate(dim) => spec.with("join", "concatenate").with("dim", dim as i64),
        })
    }
}

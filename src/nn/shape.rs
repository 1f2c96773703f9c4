//! Layers that say how the elements of a sample are counted. They move nothing in memory, unless a later layer needs another order.

use super::layer::Layer;
use super::spec::Spec;
use crate::engine::{Builder, Form, Value};
use crate::error::{Error, Result};
use crate::tensor::shape::{self, Times};

/// The dimensions of the model's samples: the first layer of a model whose samples are not just features. It is not counted in the names
/// of parameters, which begin with the number of a layer: PyTorch has no such module.
///
/// ```
/// use gemmule::nn::{Dense, Flatten, Input, MaxPool2d, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[1, 28, 28]))
///     .with(MaxPool2d::new(2))
///     .with(Flatten::new())
///     .with(Dense::new(196, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Input {
    dims: Vec<usize>,
    channels_last: bool,
}

impl Input {
    /// Samples of these dimensions, in PyTorch's order, each row by row: channels, height and width of an image (`[3, 32, 32]`),
    /// channels and length (`[1, 100]`), length and features of a sequence (`[28, 28]`).
    pub fn new(dims: &[usize]) -> Self {
        Self { dims: dims.to_vec(), channels_last: false }
    }

    /// Samples whose channels are last, as those of Keras: height, width and channels (`[32, 32, 3]`), or length and channels. The layers
    /// behind it see PyTorch's order, `(C, H, W)`: this one says what the samples look like in memory.
    pub fn channels_last(dims: &[usize]) -> Self {
        Self { dims: dims.to_vec(), channels_last: true }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["dims", "channels_last"])?;
        Ok(Self { dims: all_sizes(spec, "dims")?, channels_last: spec.flag("channels_last")? })
    }
}

impl Layer for Input {
    fn describe(&self) -> String {
        let order = if self.channels_last { ", channels last" } else { "" };
        format!("Input {}{order}", Times(&self.dims))
    }

    fn inputs(&self) -> Option<usize> {
        // What overflows is refused by `lower`.
        Some(shape::elements("build", &self.dims).unwrap_or(usize::MAX))
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        if shape::elements("build", &self.dims)? == 0 || self.dims.is_empty() {
            let expected = "dimensions of at least 1";
            return Err(Error::argument("build", "Input", expected, Times(&self.dims)));
        }
        let form = match self.dims.split_last() {
            Some((&channels, rest)) if self.channels_last => {
                let dims: Vec<usize> = [channels].iter().chain(rest).copied().collect();
                Form::channels_last(&dims)
            }
            _ => Form::rows(&self.dims),
        };
        // The elements as they come, whatever a layer before this one called them.
        let input = builder.in_rows(input)?;
        builder.relabel(input, form)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("input").with("dims", numbers(&self.dims));
        Some(spec.with("channels_last", self.channels_last))
    }

    fn is_counted(&self) -> bool {
        false
    }
}

/// All dimensions of a sample, or some neighbours, as one (PyTorch's and Keras' `Flatten`): elements are counted as in PyTorch, and none
/// moves. A [`Dense`](super::Dense) behind it stores its weights in the order in memory and shows them in PyTorch's.
#[derive(Clone, Copy, Debug)]
pub struct Flatten {
    start_dim: usize,
    end_dim: isize,
}

impl Default for Flatten {
    fn default() -> Self {
        Self::new()
    }
}

impl Flatten {
    /// All dimensions as one.
    pub fn new() -> Self {
        Self { start_dim: 1, end_dim: -1 }
    }

    /// The same from this dimension on. As in PyTorch the batch is dimension 0, which stays as it is: at least 1.
    #[must_use]
    pub fn start_dim(self, start_dim: usize) -> Self {
        Self { start_dim, ..self }
    }

    /// The same up to this dimension, which is counted from the end if it is negative: -1 is the last one.
    #[must_use]
    pub fn end_dim(self, end_dim: isize) -> Self {
        Self { end_dim, ..self }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["start_dim", "end_dim"])?;
        let end_dim = isize::try_from(spec.integer("end_dim")?);
        let end_dim =
            end_dim.map_err(|_| Error::argument("Spec", "end_dim", "a dimension", "a huge number"))?;
        Ok(Self { start_dim: spec.size("start_dim")?, end_dim })
    }
}

impl Layer for Flatten {
    fn describe(&self) -> String {
        match (self.start_dim, self.end_dim) {
            (1, -1) => "Flatten".to_owned(),
            (start, end) => format!("Flatten {start} to {end}"),
        }
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let dims = builder.dims(input);
        // Counted with the batch.
        let count = dims.len() + 1;
        let end = if self.end_dim < 0 {
            count.checked_sub(self.end_dim.unsigned_abs())
        } else {
            Some(self.end_dim.unsigned_abs()).filter(|&end| end < count)
        };
        let Some(end) = end.filter(|&end| (1..=end).contains(&self.start_dim)) else {
            let got = format!("{} to {} of {} and the batch", self.start_dim, self.end_dim, Times(dims));
            return Err(
                builder.refusal("dimensions to flatten from 1 on, the last not before the first", got)
            );
        };
        let (start, end) = (self.start_dim - 1, end - 1);
        let mut flat = dims[..start].to_vec();
        flat.push(dims[start..=end].iter().product());
        flat.extend_from_slice(&dims[end + 1..]);
        reshaped(builder, input, &flat)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("flatten").with("start_dim", self.start_dim).with("end_dim", self.end_dim as i64))
    }
}

/// The value with other dimensions of as many elements, which are counted as before.
fn reshaped(builder: &mut Builder, input: Value, dims: &[usize]) -> Result<Value> {
    match builder.form(input).reshaped(dims) {
        Some(form) => builder.relabel(input, form),
        None => {
            let expected = format!("{} elements for {}", Product(dims), Times(dims));
            Err(builder.refusal(expected, builder.width(input)))
        }
    }
}

/// The product of dimensions, for errors.
struct Product<'a>(&'a [usize]);

impl std::fmt::Display for Product<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)) {
            Some(product) => product.fmt(f),
            None => f.write_str("more than 2^64"),
        }
    }
}

/// Other dimensions for a sample's elements (Keras' `Reshape`, PyTorch's `Unflatten` of everything): they are counted as in PyTorch, and
/// none moves. One dimension may be -1: what is left.
///
/// ```
/// use gemmule::nn::{AvgPool1d, Dense, Flatten, Input, Reshape, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[60]))
///     .with(Reshape::new(&[3, -1]))
///     .with(AvgPool1d::new(4))
///     .with(Flatten::new())
///     .with(Dense::new(15, 2))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reshape {
    dims: Vec<isize>,
}

impl Reshape {
    /// A sample's new dimensions, without the batch.
    pub fn new(dims: &[isize]) -> Self {
        Self { dims: dims.to_vec() }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["dims"])?;
        let whole = |&x: &f64| (x.trunc() == x && x.abs() < (1_u64 << 53) as f64).then_some(x as isize);
        let dims = spec.numbers("dims")?.iter().map(whole).collect::<Option<_>>();
        Ok(Self { dims: dims.ok_or_else(|| wrong(spec, "dims", "whole numbers"))? })
    }
}

impl Layer for Reshape {
    fn describe(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(ToString::to_string).collect();
        format!("Reshape {}", dims.join(" x "))
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let open = self.dims.iter().filter(|&&dim| dim == -1).count();
        if open > 1 || self.dims.is_empty() || self.dims.iter().any(|&dim| dim == 0 || dim < -1) {
            let expected = "dimensions of at least 1, or one of them -1";
            return Err(Error::argument("build", "Reshape", expected, self.describe()));
        }
        let len = builder.width(input);
        let mut given = self.dims.iter().filter(|&&dim| dim > 0);
        let given = given.try_fold(1_usize, |product, &dim| product.checked_mul(dim.unsigned_abs()));
        let rest = given.filter(|&given| open == 0 || len.is_multiple_of(given));
        let Some(rest) = rest.map(|given| len / given) else {
            return Err(builder.refusal(format!("elements for {}", self.describe()), len));
        };
        let dim = |&dim: &isize| if dim == -1 { rest } else { dim.unsigned_abs() };
        let dims: Vec<usize> = self.dims.iter().map(dim).collect();
        reshaped(builder, input, &dims)
    }

    fn spec(&self) -> Option<Spec> {
        let dims: Vec<f64> = self.dims.iter().map(|&dim| dim as f64).collect();
        Some(Spec::new("reshape").with("dims", dims))
    }
}

/// A sample's dimensions in another order (PyTorch's `permute`, Keras' `Permute`): `Permute::new(&[1, 0])` makes `(C, L)` of `(L, C)`. No
/// element moves before a layer needs them in order.
///
/// ```
/// use gemmule::nn::{Dense, GlobalAvgPool1d, Input, Permute, Sequential};
/// // A sequence of 20 steps of 8 features: its mean over the steps.
/// let model = Sequential::new()
///     .with(Input::new(&[20, 8]))
///     .with(Permute::new(&[1, 0]))
///     .with(GlobalAvgPool1d::new())
///     .with(Dense::new(8, 2))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Permute {
    order: Vec<usize>,
}

impl Permute {
    /// Output dimension i is input dimension `order[i]`, counted from 0, without the batch.
    pub fn new(order: &[usize]) -> Self {
        Self { order: order.to_vec() }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["order"])?;
        Ok(Self { order: all_sizes(spec, "order")? })
    }
}

impl Layer for Permute {
    fn describe(&self) -> String {
        format!("Permute {:?}", self.order)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..builder.dims(input).len()) {
            let expected = format!("dimensions 0 to {}, each once, to permute", self.order.len().max(1) - 1);
            return Err(builder.refusal(expected, Times(builder.dims(input))));
        }
        if let Some(form) = builder.form(input).permuted(&self.order) {
            return builder.relabel(input, form);
        }
        // What was reshaped may have a dimension without a stride of its own.
        let input = builder.in_rows(input)?;
        let form = builder.form(input).permuted(&self.order);
        builder.relabel(input, form.expect("an order of dimensions that are stored as counted"))
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("permute").with("order", numbers(&self.order)))
    }
}

/// Sizes as a description holds them.
fn numbers(sizes: &[usize]) -> Vec<f64> {
    sizes.iter().map(|&size| size as f64).collect()
}

/// The sizes in a description, from 0 on.
fn all_sizes(spec: &Spec, name: &str) -> Result<Vec<usize>> {
    let is_size = |x: f64| x >= 0.0 && x.trunc() == x && x < (1_u64 << 53) as f64;
    let sizes = spec.numbers(name)?.iter().map(|&x| is_size(x).then_some(x as usize));
    sizes.collect::<Option<_>>().ok_or_else(|| wrong(spec, name, "whole numbers from 0 on"))
}

/// An error about an option's numbers.
pub(super) fn wrong(spec: &Spec, name: &str, expected: &str) -> Error {
    let expected = format!("{expected} called {name} in {}", spec.kind);
    Error::argument("Spec", "option", expected, format_args!("{:?}", spec.numbers(name).unwrap_or_default()))
}

//! Layers that add borders, and one that repeats elements.

use super::layer::Layer;
use super::pool::spatial;
use super::sizes::{Sizes, numbers, show, sizes, wrong};
use super::spec::Spec;
use crate::engine::functions::{pad::Pad, pool::Repeat};
use crate::engine::{Builder, Form, Value};
use crate::error::{Error, Result};
use crate::kernel::pad::{Padding, Side};
use crate::kernel::pool::{Axis, Options, Windows};

/// What is added around D axes: one amount on all sides, or PyTorch's list, the last axis first: `[left, right]`, or
/// `[left, right, top, bottom]`.
pub trait Borders<const D: usize>: sealed::Sealed {
    /// Before and after each axis, the first axis first.
    fn borders(self) -> [[isize; 2]; D];
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for isize {}
    impl Sealed for [isize; 2] {}
    impl Sealed for [isize; 4] {}
}

impl<const D: usize> Borders<D> for isize {
    fn borders(self) -> [[isize; 2]; D] {
        [[self; 2]; D]
    }
}

impl Borders<1> for [isize; 2] {
    fn borders(self) -> [[isize; 2]; 1] {
        [self]
    }
}

impl Borders<2> for [isize; 4] {
    fn borders(self) -> [[isize; 2]; 2] {
        let [left, right, top, bottom] = self;
        [[top, bottom], [left, right]]
    }
}

/// A border of zeros around D axes, which is 1 or 2: see [`ZeroPad1d`] and [`ZeroPad2d`].
#[derive(Clone, Copy, Debug)]
pub struct ZeroPad<const D: usize> {
    padding: [[isize; 2]; D],
}

/// Zeros before and behind `(C, L)`: `[left, right]`; see [`ZeroPad2d`].
pub type ZeroPad1d = ZeroPad<1>;

/// A border of zeros around `(C, H, W)`: `[left, right, top, bottom]`, or one amount for all sides. Negative amounts cut (PyTorch's
/// `ZeroPad2d`; Keras' `ZeroPadding2D` and `Cropping2D`).
///
/// ```
/// use gemmule::nn::{Dense, Flatten, Input, Sequential, ZeroPad2d};
/// let model = Sequential::new()
///     .with(Input::new(&[1, 28, 28]))
///     .with(ZeroPad2d::new(2))
///     .with(ZeroPad2d::new([-1, 0, 0, 3]))
///     .with(Flatten::new())
///     .with(Dense::new(31 * 35, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub type ZeroPad2d = ZeroPad<2>;

/// A border of one value around D axes, which is 1 or 2: see [`ConstantPad1d`] and [`ConstantPad2d`].
#[derive(Clone, Copy, Debug)]
pub struct ConstantPad<const D: usize> {
    padding: [[isize; 2]; D],
    value: f64,
}

/// One value before and behind `(C, L)`: see [`ConstantPad2d`].
pub type ConstantPad1d = ConstantPad<1>;

/// A border of one value around `(C, H, W)` (PyTorch's `ConstantPad2d`): [`ZeroPad2d`] with another value.
pub type ConstantPad2d = ConstantPad<2>;

/// The amounts as PyTorch and descriptions have them: the last axis first.
fn amounts<const D: usize>(padding: &[[isize; 2]; D]) -> Vec<f64> {
    padding.iter().rev().flatten().map(|&amount| amount as f64).collect()
}

/// The amounts in a description.
fn padding_of<const D: usize>(spec: &Spec) -> Result<[[isize; 2]; D]> {
    let whole = |&x: &f64| (x.trunc() == x && x.abs() < (1_u64 << 53) as f64).then_some(x as isize);
    let amounts: Option<Vec<isize>> = spec.numbers("padding")?.iter().map(whole).collect();
    let amounts = amounts.filter(|amounts| amounts.len() == 2 * D);
    let amounts = amounts.ok_or_else(|| wrong(spec, "padding", &format!("{} whole numbers", 2 * D)))?;
    Ok(std::array::from_fn(|axis| [amounts[2 * (D - 1 - axis)], amounts[2 * (D - 1 - axis) + 1]]))
}

fn shown<const D: usize>(padding: &[[isize; 2]; D]) -> String {
    let first = padding.first().map_or(0, |side| side[0]);
    if padding.iter().flatten().all(|&amount| amount == first) {
        return first.to_string();
    }
    let amounts: Vec<String> = padding.iter().rev().flatten().map(ToString::to_string).collect();
    format!("[{}]", amounts.join(", "))
}

fn lower_pad<const D: usize>(
    builder: &mut Builder,
    input: Value,
    padding: &[[isize; 2]; D],
    value: f64,
) -> Result<Value> {
    let (channels, lengths) = spatial::<D>(builder, input)?;
    let side = |at: usize| Side { len: lengths[at], before: padding[at][0], after: padding[at][1] };
    let rows = if D == 1 { Side { len: 1, before: 0, after: 0 } } else { side(0) };
    let Some(padded) = Padding::new(channels, rows, side(D - 1)) else {
        let sums = (0..D).map(|at| format!("{} + {} + {}", lengths[at], padding[at][0], padding[at][1]));
        let got = sums.collect::<Vec<_>>().join(", ");
        return Err(builder.refusal("sizes with padding of at least 1", got));
    };
    let dims: Vec<usize> = [channels].into_iter().chain((0..D).filter_map(|at| side(at).output())).collect();
    let input = builder.in_channels_last(input)?;
    builder.function(&[input], Form::channels_last(&dims), Pad::new(padded, value), &[])
}

impl<const D: usize> ZeroPad<D> {
    /// So much around a sample.
    pub fn new(padding: impl Borders<D>) -> Self {
        Self { padding: padding.borders() }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["padding"])?;
        Ok(Self { padding: padding_of(spec)? })
    }
}

impl<const D: usize> Layer for ZeroPad<D> {
    fn describe(&self) -> String {
        format!("ZeroPad{D}d {}", shown(&self.padding))
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        lower_pad(builder, input, &self.padding, 0.0)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new(format!("zero_pad{D}d")).with("padding", amounts(&self.padding)))
    }
}

impl<const D: usize> ConstantPad<D> {
    /// So much of `value`, which is finite, around a sample.
    pub fn new(padding: impl Borders<D>, value: f64) -> Self {
        Self { padding: padding.borders(), value }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["padding", "value"])?;
        Ok(Self { padding: padding_of(spec)?, value: spec.number("value")? })
    }
}

impl<const D: usize> Layer for ConstantPad<D> {
    fn describe(&self) -> String {
        format!("ConstantPad{D}d {}, {}", shown(&self.padding), self.value)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        if !(self.value as f32).is_finite() {
            return Err(Error::argument("build", "value of the padding", "a finite number", self.value));
        }
        lower_pad(builder, input, &self.padding, self.value)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new(format!("constant_pad{D}d")).with("padding", amounts(&self.padding));
        Some(spec.with("value", self.value))
    }
}

/// Upsampling over D axes, which is 1 or 2: see [`Upsample1d`] and [`Upsample2d`].
#[derive(Clone, Copy, Debug)]
pub struct Upsample<const D: usize> {
    scale_factor: [usize; D],
}

/// Each element of `(C, L)` several times: see [`Upsample2d`].
pub type Upsample1d = Upsample<1>;

/// Each element of `(C, H, W)` as a block of equal ones (PyTorch's `Upsample` with mode `nearest` and a whole factor, Keras'
/// `UpSampling2D`).
///
/// ```
/// use gemmule::nn::{Dense, Flatten, Input, Sequential, Upsample2d};
/// let model = Sequential::new()
///     .with(Input::new(&[4, 7, 7]))
///     .with(Upsample2d::new(2))
///     .with(Flatten::new())
///     .with(Dense::new(4 * 14 * 14, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub type Upsample2d = Upsample<2>;

impl<const D: usize> Upsample<D> {
    /// So many times as large, from 1 on.
    pub fn new(scale_factor: impl Sizes<D>) -> Self {
        Self { scale_factor: scale_factor.sizes() }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["scale_factor"])?;
        Ok(Self { scale_factor: sizes(spec, "scale_factor")? })
    }
}

impl<const D: usize> Layer for Upsample<D> {
    fn describe(&self) -> String {
        format!("Upsample{D}d {}", show(&self.scale_factor))
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let (channels, lengths) = spatial::<D>(builder, input)?;
        let mut dims = vec![channels];
        let mut axes = vec![Axis::point()];
        for (&len, factor) in lengths.iter().zip(self.scale_factor) {
            let output = len.checked_mul(factor).filter(|&output| output > 0);
            let options =
                Options { kernel: factor, stride: factor, padding: 0, dilation: 1, ceil_mode: false };
            let axis = output.and_then(|output| Axis::new("size", output, options).ok());
            let Some(axis) = axis else {
                let expected = "a factor from 1 on, whose output fits in memory";
                return Err(builder.refusal(expected, format_args!("{factor} for size {len}")));
            };
            dims.push(len * factor);
            axes.push(axis);
        }
        // Of the output, which they cut into blocks.
        let columns = axes.pop().unwrap_or_else(Axis::point);
        let rows = axes.pop().unwrap_or_else(Axis::point);
        let windows = Windows::new(channels, rows, columns);
        let windows = windows.map_err(|(expected, got)| builder.refusal(expected, got))?;
        let input = builder.in_channels_last(input)?;
        builder.function(&[input], Form::channels_last(&dims), Repeat::new(windows), &[])
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new(format!("upsample{D}d")).with("scale_factor", numbers(&self.scale_factor)))
    }
}

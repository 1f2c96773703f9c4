//! Pooling layers.

use super::layer::Layer;
use super::sizes::{Sizes, numbers, show, sizes};
use super::spec::Spec;
use crate::engine::functions::pool::{AveragePool, MaxPool as MaxPoolFunction};
use crate::engine::{Builder, Form, Value};
use crate::error::Result;
use crate::kernel::pool::{Axis, Divisor, Options, Windows};
use crate::tensor::shape::Times;

/// The names of the axes behind the channels.
pub(super) const AXES: [&str; 2] = ["height", "width"];

/// What a layer over D axes behind the channels is for.
pub(super) fn expected(axes: usize) -> &'static str {
    match axes {
        1 => "channels x length (dimensions of an Input or a layer before it)",
        _ => "channels x height x width (dimensions of an Input or a layer before it)",
    }
}

/// The channels of a value and the D sizes behind them.
pub(super) fn spatial<const D: usize>(builder: &Builder, value: Value) -> Result<(usize, [usize; D])> {
    let dims = builder.dims(value);
    let found = dims.split_first().and_then(|(&channels, rest)| Some((channels, rest.try_into().ok()?)));
    found.filter(|_| D == 1 || D == 2).ok_or_else(|| builder.refusal(expected(D), Times(dims)))
}

/// The windows over a value: those of each axis behind the channels, of which there are one or two.
fn windows<const D: usize>(
    builder: &Builder,
    value: Value,
    axis: impl Fn(usize, &str, usize) -> Result<Axis, (String, String)>,
) -> Result<Windows> {
    let (channels, inputs) = spatial::<D>(builder, value)?;
    let make = |at: usize| axis(at, if D == 1 { "length" } else { AXES[at] }, inputs[at]);
    let windows = match D {
        1 => make(0).and_then(|columns| Windows::new(channels, Axis::point(), columns)),
        _ => make(0).and_then(|rows| Windows::new(channels, rows, make(1)?)),
    };
    windows.map_err(|(expected, got)| builder.refusal(expected, got))
}

/// The dimensions of what comes out of windows: channels and D sizes.
fn output<const D: usize>(windows: &Windows) -> Form {
    let [channels, height, width] = windows.output_dims();
    if D == 1 {
        Form::channels_last(&[channels, width])
    } else {
        Form::channels_last(&[channels, height, width])
    }
}

/// Max pooling over D axes, which is 1 or 2: see [`MaxPool1d`] and [`MaxPool2d`].
#[derive(Clone, Copy, Debug)]
pub struct MaxPool<const D: usize> {
    kernel: [usize; D],
    stride: [usize; D],
    padding: [usize; D],
    dilation: [usize; D],
    ceil_mode: bool,
}

/// The largest element of each window of `(C, L)`: see [`MaxPool2d`].
pub type MaxPool1d = MaxPool<1>;

/// The largest element of each window of each channel of `(C, H, W)` (PyTorch's `MaxPool2d`, Keras' `MaxPooling2D`).
///
/// Sizes of the output: `floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`; with `ceil_mode` the ceiling, where
/// windows that would begin behind the input and the padding before it are left out. What is outside of the input counts as -infinity.
///
/// The gradient of an output goes to the element that it is: of equal ones to the first, row by row. NaN is larger than
/// everything. All as in PyTorch.
///
/// ```
/// use gemmule::nn::{Dense, Flatten, Input, MaxPool2d, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[1, 28, 28]))
///     .with(MaxPool2d::new(2))
///     .with(MaxPool2d::new(3).stride(2).padding(1))
///     .with(Flatten::new())
///     .with(Dense::new(49, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub type MaxPool2d = MaxPool<2>;

impl<const D: usize> MaxPool<D> {
    /// Windows of this size, side by side.
    pub fn new(kernel: impl Sizes<D>) -> Self {
        let kernel = kernel.sizes();
        Self { kernel, stride: kernel, padding: [0; D], dilation: [1; D], ceil_mode: false }
    }

    /// The same with windows so far apart; the kernel's size unless said otherwise.
    #[must_use]
    pub fn stride(self, stride: impl Sizes<D>) -> Self {
        Self { stride: stride.sizes(), ..self }
    }

    /// The same with a border of so many elements on all sides: at most half of the kernel (or building the model fails).
    #[must_use]
    pub fn padding(self, padding: impl Sizes<D>) -> Self {
        Self { padding: padding.sizes(), ..self }
    }

    /// The same with windows whose elements are so far apart; 1 unless said otherwise.
    #[must_use]
    pub fn dilation(self, dilation: impl Sizes<D>) -> Self {
        Self { dilation: dilation.sizes(), ..self }
    }

    /// The same with windows that the end of the input cuts, if `on`.
    #[must_use]
    pub fn ceil_mode(self, on: bool) -> Self {
        Self { ceil_mode: on, ..self }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&["kernel_size", "stride", "padding", "dilation", "ceil_mode"])?;
        Ok(Self {
            kernel: sizes(spec, "kernel_size")?,
            stride: sizes(spec, "stride")?,
            padding: sizes(spec, "padding")?,
            dilation: sizes(spec, "dilation")?,
            ceil_mode: spec.flag("ceil_mode")?,
        })
    }
}

/// What differs from a default, for descriptions: `, stride 2`.
fn unless<const D: usize>(name: &str, sizes: [usize; D], default: [usize; D]) -> String {
    if sizes == default { String::new() } else { format!(", {name} {}", show(&sizes)) }
}

impl<const D: usize> Layer for MaxPool<D> {
    fn describe(&self) -> String {
        let Self { kernel, stride, padding, dilation, ceil_mode } = *self;
        let ceil = if ceil_mode { ", ceil_mode" } else { "" };
        let (stride, padding) = (unless("stride", stride, kernel), unless("padding", padding, [0; D]));
        let dilation = unless("dilation", dilation, [1; D]);
        format!("MaxPool{D}d {}{stride}{padding}{dilation}{ceil}", show(&kernel))
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let windows = windows::<D>(builder, input, |at, name, size| {
            let options = Options {
                kernel: self.kernel[at],
                stride: self.stride[at],
                padding: self.padding[at],
                dilation: self.dilation[at],
                ceil_mode: self.ceil_mode,
            };
            Axis::new(name, size, options)
        })?;
        let input = builder.in_channels_last(input)?;
        builder.function(&[input], output::<D>(&windows), MaxPoolFunction::new(windows), &[])
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new(format!("max_pool{D}d")).with("kernel_size", numbers(&self.kernel));
        let spec = spec.with("stride", numbers(&self.stride)).with("padding", numbers(&self.padding));
        Some(spec.with("dilation", numbers(&self.dilation)).with("ceil_mode", self.ceil_mode))
    }
}

/// Average pooling over D axes, which is 1 or 2: see [`AvgPool1d`] and [`AvgPool2d`].
#[derive(Clone, Copy, Debug)]
pub struct AvgPool<const D: usize> {
    kernel: [usize; D],
    stride: [usize; D],
    padding: [usize; D],
    ceil_mode: bool,
    count_include_pad: bool,
    /// 0: none.
    divisor_override: usize,
}

/// The mean of each window of `(C, L)`: see [`AvgPool2d`].
pub type AvgPool1d = AvgPool<1>;

/// The mean of each window of each channel of `(C, H, W)` (PyTorch's `AvgPool2d`, Keras' `AveragePooling2D`).
///
/// Sizes of the output are those of [`MaxPool2d`]. The sum of a window's elements is divided by their number, in which those of the
/// padding count unless said otherwise, but none behind it, where `ceil_mode` cuts a window.
///
/// ```
/// use gemmule::nn::{AvgPool2d, Dense, Flatten, Input, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[1, 28, 28]))
///     .with(AvgPool2d::new(2))
///     .with(AvgPool2d::new([3, 2]).stride([2, 2]).padding([1, 0]).count_include_pad(false))
///     .with(Flatten::new())
///     .with(Dense::new(49, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub type AvgPool2d = AvgPool<2>;

impl<const D: usize> AvgPool<D> {
    /// Windows of this size, side by side.
    pub fn new(kernel: impl Sizes<D>) -> Self {
        let kernel = kernel.sizes();
        Self {
            kernel,
            stride: kernel,
            padding: [0; D],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: 0,
        }
    }

    /// The same with windows so far apart; the kernel's size unless said otherwise.
    #[must_use]
    pub fn stride(self, stride: impl Sizes<D>) -> Self {
        Self { stride: stride.sizes(), ..self }
    }

    /// The same with a border of so many zeros on all sides: at most half of the kernel (or building the model fails).
    #[must_use]
    pub fn padding(self, padding: impl Sizes<D>) -> Self {
        Self { padding: padding.sizes(), ..self }
    }

    /// The same with windows that the end of the input cuts, if `on`.
    #[must_use]
    pub fn ceil_mode(self, on: bool) -> Self {
        Self { ceil_mode: on, ..self }
    }

    /// The same with windows whose zeros of the border count, or not.
    #[must_use]
    pub fn count_include_pad(self, on: bool) -> Self {
        Self { count_include_pad: on, ..self }
    }

    /// The same with sums that are divided by `divisor`, whatever the number of elements; 0 is as before.
    #[must_use]
    pub fn divisor_override(self, divisor: usize) -> Self {
        Self { divisor_override: divisor, ..self }
    }

    /// From its description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        spec.has_only(&[
            "kernel_size",
            "stride",
            "padding",
            "ceil_mode",
            "count_include_pad",
            "divisor_override",
        ])?;
        Ok(Self {
            kernel: sizes(spec, "kernel_size")?,
            stride: sizes(spec, "stride")?,
            padding: sizes(spec, "padding")?,
            ceil_mode: spec.flag("ceil_mode")?,
            count_include_pad: spec.flag("count_include_pad")?,
            divisor_override: spec.size("divisor_override")?,
        })
    }
}

impl<const D: usize> Layer for AvgPool<D> {
    fn describe(&self) -> String {
        let Self { kernel, stride, padding, ceil_mode, count_include_pad, divisor_override } = *self;
        let (stride, padding) = (unless("stride", stride, kernel), unless("padding", padding, [0; D]));
        let ceil = if ceil_mode { ", ceil_mode" } else { "" };
        let inside = if count_include_pad { "" } else { ", without padding" };
        let divisor = match divisor_override {
            0 => String::new(),
            divisor => format!(", divided by {divisor}"),
        };
        format!("AvgPool{D}d {}{stride}{padding}{ceil}{inside}{divisor}", show(&kernel))
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let windows = windows::<D>(builder, input, |at, name, size| {
            let (kernel, stride, padding) = (self.kernel[at], self.stride[at], self.padding[at]);
            Axis::new(name, size, Options { kernel, stride, padding, dilation: 1, ceil_mode: self.ceil_mode })
        })?;
        let divisor = match (self.divisor_override, self.count_include_pad) {
            (0, true) => Divisor::Padded,
            (0, false) => Divisor::Inside,
            (divisor, _) => Divisor::Constant(divisor as f64),
        };
        let input = builder.in_channels_last(input)?;
        builder.function(&[input], output::<D>(&windows), AveragePool::new(windows, divisor), &[])
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new(format!("avg_pool{D}d")).with("kernel_size", numbers(&self.kernel));
        let spec = spec.with("stride", numbers(&self.stride)).with("padding", numbers(&self.padding));
        let spec = spec.with("ceil_mode", self.ceil_mode);
        let spec = spec.with("count_include_pad", self.count_include_pad);
        Some(spec.with("divisor_override", self.divisor_override))
    }
}

/// Pooling to a size that is given, over D axes.
macro_rules! adaptive {
    ($(#[$doc:meta])* $name:ident, $one:ident, $two:ident, $kind:literal, $about:literal, $function:expr) => {
        #[doc = concat!($about, " over D axes, which is 1 or 2: see [`", stringify!($one), "`] and [`", stringify!($two), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name<const D: usize> {
            output: [usize; D],
        }

        #[doc = concat!($about, " of `(C, L)`: see [`", stringify!($two), "`].")]
        pub type $one = $name<1>;

        $(#[$doc])*
        pub type $two = $name<2>;

        impl<const D: usize> $name<D> {
            /// An output of this size, of at least 1 (or building the model fails).
            pub fn new(output: impl Sizes<D>) -> Self {
                Self { output: output.sizes() }
            }

            /// From its description.
            pub(super) fn of(spec: &Spec) -> Result<Self> {
                spec.has_only(&["output_size"])?;
                Ok(Self { output: sizes(spec, "output_size")? })
            }
        }

        impl<const D: usize> Layer for $name<D> {
            fn describe(&self) -> String {
                format!(concat!(stringify!($name), "{}d {}"), D, show(&self.output))
            }

            fn inputs(&self) -> Option<usize> {
                None
            }

            fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
                let windows =
                    windows::<D>(builder, input, |at, _, size| Axis::adaptive(size, self.output[at]))?;
                let input = builder.in_channels_last(input)?;
                builder.function(&[input], output::<D>(&windows), $function(windows), &[])
            }

            fn spec(&self) -> Option<Spec> {
                Some(Spec::new(format!(concat!($kind, "{}d"), D)).with("output_size", numbers(&self.output)))
            }
        }
    };
}

/// Pooling over everything, over D axes.
macro_rules! global {
    ($(#[$doc:meta])* $name:ident, $one:ident, $two:ident, $kind:literal, $about:literal, $function:expr) => {
        #[doc = concat!($about, " over D axes, which is 1 or 2: see [`", stringify!($one), "`] and [`", stringify!($two), "`].")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name<const D: usize>;

        #[doc = concat!($about, " of `(C, L)`: see [`", stringify!($two), "`].")]
        pub type $one = $name<1>;

        $(#[$doc])*
        pub type $two = $name<2>;

        impl<const D: usize> $name<D> {
            /// The layer, which has no options.
            pub fn new() -> Self {
                Self
            }

            /// From its description.
            pub(super) fn of(spec: &Spec) -> Result<Self> {
                spec.has_only(&[]).map(|()| Self)
            }
        }

        impl<const D: usize> Layer for $name<D> {
            fn describe(&self) -> String {
                format!(concat!(stringify!($name), "{}d"), D)
            }

            fn inputs(&self) -> Option<usize> {
                None
            }

            fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
                let windows = windows::<D>(builder, input, |_, _, size| Axis::adaptive(size, 1))?;
                let input = builder.in_channels_last(input)?;
                let form = Form::rows(&windows.output_dims()[..1]);
                builder.function(&[input], form, $function(windows), &[])
            }

            fn spec(&self) -> Option<Spec> {
                Some(Spec::new(format!(concat!($kind, "{}d"), D)))
            }
        }
    };
}

/// A mean of what is inside.
fn mean(windows: Windows) -> AveragePool {
    AveragePool::new(windows, Divisor::Inside)
}

adaptive! {
    /// Average pooling to an output of a given size, whatever that of the input (PyTorch's `AdaptiveAvgPool2d`): along each axis window i
    /// goes from `floor(i input / output)` to `ceil((i + 1) input / output)`.
    ///
    /// ```
    /// use gemmule::nn::{AdaptiveAvgPool2d, Dense, Flatten, Input, Sequential};
    /// let model = Sequential::new()
    ///     .with(Input::new(&[3, 17, 20]))
    ///     .with(AdaptiveAvgPool2d::new(4))
    ///     .with(Flatten::new())
    ///     .with(Dense::new(48, 10))
    ///     .build::<f32>(0)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    AdaptiveAvgPool, AdaptiveAvgPool1d, AdaptiveAvgPool2d, "adaptive_avg_pool", "Adaptive average pooling", mean
}

adaptive! {
    /// Max pooling to an output of a given size (PyTorch's `AdaptiveMaxPool2d`), with the windows of [`AdaptiveAvgPool2d`] and the
    /// gradient of [`MaxPool2d`].
    AdaptiveMaxPool, AdaptiveMaxPool1d, AdaptiveMaxPool2d, "adaptive_max_pool", "Adaptive max pooling", MaxPoolFunction::new
}

global! {
    /// The mean of each channel: `(C, H, W)` becomes `(C)` (Keras' `GlobalAveragePooling2D`; in PyTorch `AdaptiveAvgPool2d(1)` and
    /// `Flatten`).
    ///
    /// ```
    /// use gemmule::nn::{Dense, GlobalAvgPool2d, Input, Sequential};
    /// let model = Sequential::new()
    ///     .with(Input::new(&[16, 7, 7]))
    ///     .with(GlobalAvgPool2d::new())
    ///     .with(Dense::new(16, 10))
    ///     .build::<f32>(0)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    #[doc(alias = "GlobalAveragePooling2D")]
    GlobalAvgPool, GlobalAvgPool1d, GlobalAvgPool2d, "global_avg_pool", "Global average pooling", mean
}

global! {
    /// The largest element of each channel: `(C, H, W)` becomes `(C)` (Keras' `GlobalMaxPooling2D`; in PyTorch `AdaptiveMaxPool2d(1)`
    /// and `Flatten`). Its gradient is that of [`MaxPool2d`].
    #[doc(alias = "GlobalMaxPooling2D")]
    GlobalMaxPool, GlobalMaxPool1d, GlobalMaxPool2d, "global_max_pool", "Global max pooling", MaxPoolFunction::new
}

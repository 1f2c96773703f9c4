//! Convolution of sequences and images.

use super::layer::Layer;
use super::registry::{init_of, init_spec};
use super::sizes::{Sizes, numbers, show, sizes};
use super::spec::{OptionValue, Spec};
use crate::engine::{Builder, Conv as Function, Form, Init, Value};
use crate::error::{Error, Result};
use crate::kernel::conv::Sizes as Shape;

/// Zeros around the input of a convolution, by dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding<const N: usize> {
    /// So many on each side.
    Zeros([usize; N]),
    /// None.
    Valid,
    /// So many that the output is as large as the input, where the stride is 1; the odd one goes behind, as in PyTorch.
    Same,
}

/// The largest size of an option: sums and products of a few stay far from overflow.
const MOST: usize = 1 << 31;

impl<const N: usize> From<usize> for Padding<N> {
    fn from(size: usize) -> Self {
        Self::Zeros([size; N])
    }
}

impl<const N: usize> From<[usize; N]> for Padding<N> {
    fn from(sizes: [usize; N]) -> Self {
        Self::Zeros(sizes)
    }
}

impl<const N: usize> Padding<N> {
    fn option(self) -> OptionValue {
        match self {
            Self::Zeros(sizes) => OptionValue::Numbers(numbers(&sizes)),
            Self::Valid => "valid".into(),
            Self::Same => "same".into(),
        }
    }

    fn of(spec: &Spec) -> Result<Self> {
        match spec.get("padding") {
            Some(OptionValue::Text(text)) if text == "same" => Ok(Self::Same),
            Some(OptionValue::Text(text)) if text == "valid" => Ok(Self::Valid),
            Some(OptionValue::Text(text)) => {
                Err(Error::argument("Spec", "padding", "sizes, valid or same", text))
            }
            _ => Ok(Self::Zeros(sizes(spec, "padding")?)),
        }
    }
}

/// A convolution over N dimensions, as [`Conv1d`] and [`Conv2d`].
///
/// Input `[in_channels, ...]` with N more dimensions, output `[out_channels, ...]`:
///
/// ```text
/// y[n, o] = bias[n] + sum over c, k of  weight[n, c, k] * x[c, o * stride + k * dilation - padding]
/// size    = floor((input + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
/// ```
///
/// with zeros outside of the input; as in PyTorch, whose names and defaults the options have. With `groups`, the channels are
/// divided in order: outputs of a group see its inputs alone. As many groups as channels are a depthwise convolution.
///
/// Parameters `weight` (out_channels, in_channels / groups, kernel sizes), and `bias` (out_channels). Both begin uniform in
/// ± 1 / sqrt(in_channels / groups x kernel sizes), unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Conv<const N: usize> {
    options: Options<N>,
    padding: Padding<N>,
}

/// A convolution of sequences `[in_channels, length]`: see [`Conv`].
///
/// ```
/// use gemmule::nn::{Activation, Conv1d, Dense, Flatten, Input, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[2, 100]))
///     .with(Conv1d::new(2, 8, 5).stride(2).padding(2))
///     .with(Activation::Relu)
///     .with(Flatten::new())
///     .with(Dense::new(8 * 50, 3))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub type Conv1d = Conv<1>;

/// A convolution of images `[in_channels, height, width]`: see [`Conv`].
///
/// ```
/// use gemmule::nn::{Activation, Conv2d, Dense, Flatten, Input, Padding, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[1, 28, 28]))
///     .with(Conv2d::new(1, 8, 3).padding(Padding::Same))
///     .with(Activation::Relu)
///     .with(Conv2d::new(8, 16, [3, 5]).stride(2).padding([1, 2]).without_bias())
///     .with(Flatten::new())
///     .with(Dense::new(16 * 14 * 14, 10))
///     .build::<f32>(0)?;
/// assert_eq!(model.parameter("2.weight")?.shape(), [16, 8, 3, 5]);
///
/// let wrong = Sequential::new().with(Input::new(&[1, 3, 3])).with(Conv2d::new(1, 8, 5)).build::<f32>(0);
/// let error = wrong.unwrap_err().to_string();
/// assert!(error.contains("kernel 5 does not fit input 3 with padding 0"), "{error}");
/// # Ok::<(), gemmule::Error>(())
/// ```
pub type Conv2d = Conv<2>;

/// A transposed convolution over N dimensions, as [`ConvTranspose1d`] and [`ConvTranspose2d`]: the gradient of a [`Conv`] by its
/// input, as a layer.
///
/// ```text
/// y[n, o] = bias[n] + sum over c, k, i with i * stride + k * dilation - padding = o of  weight[c, n, k] * x[c, i]
/// size    = (input - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1
/// ```
///
/// Options, names and defaults are PyTorch's; `output_padding`, which is below the stride or the dilation, adds outputs behind.
/// Parameters `weight` (in_channels, out_channels / groups, kernel sizes), and `bias` (out_channels). Both begin uniform in
/// ± 1 / sqrt(out_channels / groups x kernel sizes), unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct ConvTranspose<const N: usize> {
    options: Options<N>,
    padding: [usize; N],
    output_padding: [usize; N],
}

/// A transposed convolution of sequences `[in_channels, length]`: see [`ConvTranspose`].
pub type ConvTranspose1d = ConvTranspose<1>;

/// A transposed convolution of images `[in_channels, height, width]`: see [`ConvTranspose`].
///
/// ```
/// use gemmule::nn::{ConvTranspose2d, Dense, Flatten, Input, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[8, 7, 7]))
///     .with(ConvTranspose2d::new(8, 4, 3).stride(2).padding(1).output_padding(1))
///     .with(Flatten::new())
///     .with(Dense::new(4 * 14 * 14, 10))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub type ConvTranspose2d = ConvTranspose<2>;

/// What both have.
#[derive(Clone, Copy, Debug)]
struct Options<const N: usize> {
    in_channels: usize,
    out_channels: usize,
    kernel_size: [usize; N],
    stride: [usize; N],
    dilation: [usize; N],
    groups: usize,
    direct: bool,
    weight: Init,
    bias: Option<Init>,
}

/// The options that both have.
macro_rules! options {
    ($layer:ident) => {
        impl<const N: usize> $layer<N> {
            /// The same with steps of `stride`, 1 by default.
            #[must_use]
            pub fn stride(mut self, stride: impl Sizes<N>) -> Self {
                self.options.stride = stride.sizes();
                self
            }

            /// The same with the kernel's elements `dilation` apart, 1 by default.
            #[must_use]
            pub fn dilation(mut self, dilation: impl Sizes<N>) -> Self {
                self.options.dilation = dilation.sizes();
                self
            }

            /// The same with the channels in so many groups, 1 by default: a divisor of both numbers of channels.
            #[must_use]
            pub fn groups(mut self, groups: usize) -> Self {
                self.options.groups = groups;
                self
            }

            /// The same with every sum as the formula has it, term by term. Otherwise kernels of 3 x 3 with a stride of 1 and many
            /// channels (multiples of 16) are computed with fewer products, as Winograd found them: the error of an output is
            /// then relative to the largest values near it, not to its own terms, and an infinite pixel may make NaN of its
            /// neighbours.
            #[must_use]
            pub fn direct(mut self) -> Self {
                self.options.direct = true;
                self
            }

            /// The same with weights that begin as `init` says.
            #[must_use]
            pub fn weight_init(mut self, init: Init) -> Self {
                self.options.weight = init;
                self
            }

            /// The same with biases that begin as `init` says.
            #[must_use]
            pub fn bias_init(mut self, init: Init) -> Self {
                self.options.bias = Some(init);
                self
            }

            /// The same without a bias.
            #[must_use]
            pub fn without_bias(mut self) -> Self {
                self.options.bias = None;
                self
            }
        }
    };
}

options!(Conv);
options!(ConvTranspose);

impl<const N: usize> Conv<N> {
    /// A convolution with kernels of `kernel_size`, a stride and dilation of 1, no padding, one group, and a bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Sizes<N>) -> Self {
        Self {
            options: Options::new(in_channels, out_channels, kernel_size.sizes()),
            padding: Padding::Zeros([0; N]),
        }
    }

    /// The same with zeros around the input, none by default.
    #[must_use]
    pub fn padding(self, padding: impl Into<Padding<N>>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    fn name() -> String {
        format!("Conv{N}d")
    }

    /// Zeros before the first and behind the last.
    fn pads(&self, dim: usize) -> [usize; 2] {
        match self.padding {
            Padding::Zeros(sizes) => [sizes[dim]; 2],
            Padding::Valid => [0; 2],
            Padding::Same => {
                let all = self.options.dilation[dim] * (self.options.kernel_size[dim] - 1);
                [all / 2, all - all / 2]
            }
        }
    }

    /// The layer of a description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        Ok(Self { options: Options::of(spec, &[])?, padding: Padding::of(spec)? })
    }
}

impl<const N: usize> Layer for Conv<N> {
    fn describe(&self) -> String {
        let mut text = self.options.describe(&Self::name());
        match self.padding {
            Padding::Zeros(sizes) if sizes == [0; N] => {}
            Padding::Zeros(sizes) => text += &format!(", padding {}", show(&sizes)),
            Padding::Valid => text += ", padding valid",
            Padding::Same => text += ", padding same",
        }
        text
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let options = &self.options;
        let sizes = match self.padding {
            Padding::Zeros(sizes) => sizes,
            _ => [0; N],
        };
        options.check(&Self::name(), &[("padding", sizes)])?;
        if self.padding == Padding::Same && options.stride != [1; N] {
            let got = format!("stride {}", show(&options.stride));
            return Err(Error::argument("build", "padding", "a stride of 1 where it is same", got));
        }
        let dims = options.dims(builder, input)?;
        let mut output = [0; N];
        for dim in 0..N {
            let (kernel, dilation, size) = (options.kernel_size[dim], options.dilation[dim], dims[dim]);
            let [before, behind] = self.pads(dim);
            let (room, reach) = (size + before + behind, dilation * (kernel - 1) + 1);
            if room < reach {
                let spread = if dilation > 1 { format!(" with dilation {dilation}") } else { String::new() };
                let padding =
                    if before == behind { before.to_string() } else { format!("{before} and {behind}") };
                let expected = format!(
                    "an input that the kernel fits: kernel {kernel}{spread} does not fit input {size} with padding \
                     {padding} ({reach} > {room})"
                );
                return Err(builder.refusal(expected, format_args!("{:?}", builder.dims(input))));
            }
            output[dim] = (room - reach) / options.stride[dim] + 1;
        }
        let padding = std::array::from_fn(|dim| self.pads(dim)[0]);
        options.add(builder, input, [dims, output, padding], false)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = self.options.spec(format!("conv{N}d"));
        Some(self.options.inits(spec.with("padding", self.padding.option())))
    }
}

impl<const N: usize> ConvTranspose<N> {
    /// A transposed convolution with kernels of `kernel_size`, a stride and dilation of 1, no paddings, one group, and a bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Sizes<N>) -> Self {
        let options = Options::new(in_channels, out_channels, kernel_size.sizes());
        Self { options, padding: [0; N], output_padding: [0; N] }
    }

    /// The same without so many outputs on each side, none by default.
    #[must_use]
    pub fn padding(self, padding: impl Sizes<N>) -> Self {
        Self { padding: padding.sizes(), ..self }
    }

    /// The same with so many more outputs behind, none by default.
    #[must_use]
    pub fn output_padding(self, output_padding: impl Sizes<N>) -> Self {
        Self { output_padding: output_padding.sizes(), ..self }
    }

    fn name() -> String {
        format!("ConvTranspose{N}d")
    }

    /// The layer of a description.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        Ok(Self {
            options: Options::of(spec, &["output_padding"])?,
            padding: sizes(spec, "padding")?,
            output_padding: sizes(spec, "output_padding")?,
        })
    }
}

impl<const N: usize> Layer for ConvTranspose<N> {
    fn describe(&self) -> String {
        let mut text = self.options.describe(&Self::name());
        for (name, sizes) in [("padding", self.padding), ("output padding", self.output_padding)] {
            if sizes != [0; N] {
                text += &format!(", {name} {}", show(&sizes));
            }
        }
        text
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        let options = &self.options;
        let paddings = [("padding", self.padding), ("output_padding", self.output_padding)];
        options.check(&Self::name(), &paddings)?;
        let dims = options.dims(builder, input)?;
        let mut output = [0; N];
        for dim in 0..N {
            let (stride, dilation, kernel) =
                (options.stride[dim], options.dilation[dim], options.kernel_size[dim]);
            let (size, padding, more) = (dims[dim], self.padding[dim], self.output_padding[dim]);
            if more >= stride.max(dilation) {
                let expected = format!("less than the stride {stride} or the dilation {dilation}");
                return Err(Error::argument("build", "output_padding", expected, more));
            }
            let reach = (size - 1) as u128 * stride as u128 + (dilation * (kernel - 1) + more + 1) as u128;
            output[dim] = match usize::try_from(reach) {
                Ok(reach) if reach > 2 * padding => reach - 2 * padding,
                Ok(_) => {
                    let expected = format!(
                        "an output of at least 1: (input {size} - 1) x stride {stride} - 2 x padding {padding} + dilation \
                         {dilation} x (kernel {kernel} - 1) + output padding {more} + 1"
                    );
                    let got = reach as i128 - 2 * padding as i128;
                    return Err(builder.refusal(expected, format_args!("{got} of {:?}", builder.dims(input))));
                }
                Err(_) => return Err(Error::overflow("build", format!("the output of {}", self.describe()))),
            };
        }
        options.add(builder, input, [dims, output, self.padding], true)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = self
            .options
            .spec(format!("conv_transpose{N}d"))
            .with("padding", OptionValue::Numbers(numbers(&self.padding)));
        Some(
            self.options
                .inits(spec.with("output_padding", OptionValue::Numbers(numbers(&self.output_padding)))),
        )
    }
}

impl<const N: usize> Options<N> {
    fn new(in_channels: usize, out_channels: usize, kernel_size: [usize; N]) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel_size,
            stride: [1; N],
            dilation: [1; N],
            groups: 1,
            direct: false,
            weight: Init::PyTorch,
            bias: Some(Init::PyTorch),
        }
    }

    fn describe(&self, name: &str) -> String {
        let Self { in_channels, out_channels, kernel_size, stride, dilation, groups, .. } = *self;
        let mut text = format!("{name} {in_channels} -> {out_channels}, kernel {}", show(&kernel_size));
        for (name, sizes) in [("stride", stride), ("dilation", dilation)] {
            if sizes != [1; N] {
                text += &format!(", {name} {}", show(&sizes));
            }
        }
        if groups != 1 {
            text += &format!(", groups {groups}");
        }
        text
    }

    /// Checks what does not depend on the input.
    fn check(&self, name: &str, paddings: &[(&'static str, [usize; N])]) -> Result<()> {
        if !(1..=2).contains(&N) {
            return Err(Error::argument("build", "convolution", "1 or 2 dimensions", name));
        }
        for (what, sizes) in
            [("kernel_size", self.kernel_size), ("stride", self.stride), ("dilation", self.dilation)]
        {
            if sizes.iter().any(|size| !(1..=MOST).contains(size)) {
                return Err(Error::argument("build", what, format_args!("1 to {MOST}"), show(&sizes)));
            }
        }
        for &(what, sizes) in paddings {
            if sizes.iter().any(|&size| size > MOST) {
                return Err(Error::argument("build", what, format_args!("at most {MOST}"), show(&sizes)));
            }
        }
        let (inputs, outputs, groups) = (self.in_channels, self.out_channels, self.groups);
        if inputs == 0 || outputs == 0 {
            let got = format!("{inputs} -> {outputs}");
            return Err(Error::argument("build", "channels", "at least one input and output channel", got));
        }
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            let expected = format!("a divisor of the {inputs} input and the {outputs} output channels");
            return Err(Error::argument("build", "groups", expected, groups));
        }
        Ok(())
    }

    /// The input's sizes after the channels.
    fn dims(&self, builder: &Builder, input: Value) -> Result<[usize; N]> {
        let dims = builder.dims(input);
        match dims.split_first() {
            Some((&channels, sizes)) if channels == self.in_channels && !dims.contains(&0) => {
                if let Ok(sizes) = sizes.try_into() {
                    return Ok(sizes);
                }
            }
            _ => {}
        }
        let names = if N == 1 { "length" } else { "height, width" };
        let expected = format!("[{}, {names}]", self.in_channels);
        Err(builder.refusal(expected, format_args!("{dims:?}")))
    }

    /// Parameters and the function; of the sizes, those of input, output and padding come in.
    fn add(
        &self,
        builder: &mut Builder,
        input: Value,
        [dims, output, padding]: [[usize; N]; 3],
        transposed: bool,
    ) -> Result<Value> {
        // A sequence is an image of one row.
        let two = |sizes: [usize; N], one: usize| [if N == 1 { one } else { sizes[0] }, sizes[N - 1]];
        let (inputs, outputs) = (self.in_channels, self.out_channels);
        let (from, to) = if transposed { (output, dims) } else { (dims, output) };
        let channels = if transposed { [outputs, inputs] } else { [inputs, outputs] };
        let sizes = Shape {
            input: two(from, 1),
            output: two(to, 1),
            channels,
            groups: self.groups,
            kernel: two(self.kernel_size, 1),
            stride: two(self.stride, 1),
            dilation: two(self.dilation, 1),
            padding: two(padding, 0),
        };
        // As PyTorch shows it; a transposed convolution has the weights of the convolution whose backward pass it is.
        let shape: Vec<usize> =
            [channels[1], channels[0] / self.groups].into_iter().chain(self.kernel_size).collect();
        let area: usize = shape[2..].iter().fold(1, |area: usize, &size| area.saturating_mul(size));
        let fans = (shape[1].saturating_mul(area), shape[0].saturating_mul(area));
        let stored: Vec<usize> = (2..2 + N).chain([1, 0]).collect();
        let weight = builder.tensor("weight", &shape, &stored, fans, self.weight)?;
        let mut parameters = vec![weight];
        if let Some(init) = self.bias {
            parameters.push(builder.vector("bias", outputs, fans, init)?);
        }
        let form: Vec<usize> = [outputs].into_iter().chain(output).collect();
        let most = isize::MAX as usize / 16;
        let len = form.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim)).filter(|&len| len <= most);
        if len.is_none() {
            return Err(Error::overflow("build", format!("the output {form:?} of a convolution")));
        }
        let input = builder.in_channels_last(input)?;
        let function = Function::new(sizes, [transposed, self.direct], self.bias.is_some());
        builder.function(&[input], Form::channels_last(&form), function, &parameters)
    }

    fn spec(&self, kind: String) -> Spec {
        Spec::new(kind)
            .with("in_channels", self.in_channels)
            .with("out_channels", self.out_channels)
            .with("kernel_size", OptionValue::Numbers(numbers(&self.kernel_size)))
            .with("stride", OptionValue::Numbers(numbers(&self.stride)))
            .with("dilation", OptionValue::Numbers(numbers(&self.dilation)))
            .with("groups", self.groups)
    }

    fn inits(&self, spec: Spec) -> Spec {
        let spec = if self.direct { spec.with("direct", true) } else { spec };
        let spec = spec.with("weight_init", init_spec(self.weight)).with("bias", self.bias.is_some());
        match self.bias {
            Some(init) => spec.with("bias_init", init_spec(init)),
            None => spec,
        }
    }

    fn of(spec: &Spec, others: &[&str]) -> Result<Self> {
        let names = [
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "dilation",
            "groups",
            "direct",
            "padding",
            "weight_init",
            "bias",
            "bias_init",
        ];
        spec.has_only(&names.iter().chain(others).copied().collect::<Vec<_>>())?;
        let options =
            Self::new(spec.size("in_channels")?, spec.size("out_channels")?, sizes(spec, "kernel_size")?);
        let bias = if spec.flag("bias")? { Some(init_of(spec.spec("bias_init")?)?) } else { None };
        Ok(Self {
            stride: sizes(spec, "stride")?,
            dilation: sizes(spec, "dilation")?,
            groups: spec.size("groups")?,
            // Files of older versions do not have it.
            direct: spec.get("direct").is_some() && spec.flag("direct")?,
            weight: init_of(spec.spec("weight_init")?)?,
            bias,
            ..options
        })
    }
}

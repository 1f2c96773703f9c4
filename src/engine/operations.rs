//! The operations that layers lower to.

use super::builder::Builder;
use super::custom::{Custom, RowFunction};
use super::form::{Form, simplified};
use super::functions::join::{Add, Concatenate};
use super::graph::{Op, ParameterId, Value};
use super::noise::Noise;
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;

impl Builder {
    /// y = x W + b, with W of (last dimension of `input`) x outputs and b of outputs: at each position, if there are more
    /// dimensions.
    ///
    /// # Errors
    /// [`Error::Shape`] if the parameters do not fit the value or there is no output; [`Error::State`] if a parameter is
    /// already in use.
    pub fn dense(&mut self, input: Value, weight: ParameterId, bias: Option<ParameterId>) -> Result<Value> {
        self.check_value(input)?;
        let outputs = self.graph.parameters.get(weight.index).map_or(0, |w| w.cols);
        match *self.dims(input) {
            // Wherever the features stand: the weight's rows are stored in their order.
            [inputs] => {
                let axes = self.form(input).axes().to_vec();
                let output = self.dense_at(input, 1, Form::rows(&[outputs]), weight, bias)?;
                if axes.len() > 1 && self.graph.parameters[weight.index].rows == inputs {
                    let of_rows = axes.iter().map(|&(len, stride)| (len, stride * outputs));
                    self.graph.parameters[weight.index].axes =
                        simplified([(outputs, 1)].into_iter().chain(of_rows));
                }
                Ok(output)
            }
            _ => {
                let input = self.in_rows(input)?;
                let mut dims = self.dims(input).to_vec();
                let features = dims.pop().unwrap_or(1);
                dims.push(outputs);
                let positions = self.width(input).checked_div(features).unwrap_or(0);
                self.dense_at(input, positions, Form::rows(&dims), weight, bias)
            }
        }
    }

    /// The same for a value that is stored as positions x inputs; the output, as positions x outputs, is called `output`.
    pub(crate) fn dense_at(
        &mut self,
        input: Value,
        positions: usize,
        output: Form,
        weight: ParameterId,
        bias: Option<ParameterId>,
    ) -> Result<Value> {
        self.check_value(input)?;
        self.claim(weight)?;
        bias.map_or(Ok(()), |bias| self.claim(bias))?;
        let inputs = self.width(input).checked_div(positions).unwrap_or(0);
        let w = &self.graph.parameters[weight.index];
        let outputs = w.cols;
        if outputs == 0 {
            return Err(Error::shape("build", "dense weight", "at least one column", 0));
        }
        if w.rows != inputs {
            return Err(Error::shape("build", "dense weight", format_args!("{inputs} rows"), w.rows));
        }
        if let Some(b) = bias.map(|id| &self.graph.parameters[id.index])
            && (b.rows, b.cols) != (1, outputs)
        {
            let got = format!("{} x {}", b.rows, b.cols);
            return Err(Error::shape("build", "dense bias", format_args!("1 x {outputs}"), got));
        }
        self.node(Op::Dense { weight, bias, positions }, &[input], output)
    }

    /// y = f(x), element by element.
    ///
    /// # Errors
    /// [`Error::Argument`] if the activation's parameter is not finite or
    /// out of its range.
    pub fn activation(&mut self, input: Value, activation: Activation) -> Result<Value> {
        self.check_value(input)?;
        activation.check("build")?;
        self.node(Op::Activation(activation), &[input], self.same_form(input))
    }

    /// In training each element of x is dropped (y = 0) with the probability `rate`, or else y = x / (1 - rate); otherwise y = x.
    /// The mask is a function of the model's seed, the step, the layer and the element's place in the batch.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `rate` is at least 0 and below 1.
    pub fn dropout(&mut self, input: Value, rate: f64) -> Result<Value> {
        Self::check_rate("rate of the dropout", rate)?;
        self.noise(input, Noise::Dropout { keep: 1.0 - rate })
    }

    /// In training all positions of a channel are dropped (y = 0) with the probability `rate`, or else y = x / (1 - rate); otherwise
    /// y = x. The masks are drawn as those of a [`dropout`](Self::dropout), one number for a sample's channel. The value has dimensions
    /// of channels and positions.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Layer`] if there is no dimension behind the channels.
    pub fn channel_dropout(&mut self, input: Value, rate: f64) -> Result<Value> {
        self.check_value(input)?;
        Self::check_rate("rate of the dropout of channels", rate)?;
        let &[channels, _, ..] = self.dims(input) else {
            return Err(self.refusal("dimensions of channels and positions", show(self.dims(input))));
        };
        let input = self.in_channels_last(input)?;
        let positions = self.width(input).checked_div(channels).unwrap_or(0);
        self.noise(input, Noise::ChannelDropout { keep: 1.0 - rate, channels, positions })
    }

    /// In training y = x + std n, with a standard normal number n for each element; otherwise y = x. The numbers are drawn as the
    /// masks of a [`dropout`](Self::dropout).
    ///
    /// # Errors
    /// [`Error::Argument`] unless `std` is a number from 0 to 1e30.
    pub fn gaussian_noise(&mut self, input: Value, std: f64) -> Result<Value> {
        // Finite as f32, too.
        if !(0.0..=1e30).contains(&std) {
            return Err(Error::argument("build", "std of the Gaussian noise", "from 0 to 1e30", std));
        }
        self.noise(input, Noise::Gaussian { std })
    }

    /// In training y = x (1 + n sqrt(rate / (1 - rate))), with a standard normal number n for each element; otherwise y = x. The
    /// numbers are drawn as the masks of a [`dropout`](Self::dropout).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn gaussian_dropout(&mut self, input: Value, rate: f64) -> Result<Value> {
        Self::check_rate("rate of the Gaussian dropout", rate)?;
        self.noise(input, Noise::GaussianDropout { std: (rate / (1.0 - rate)).sqrt() })
    }

    /// In training y = a m + b, where m is x or, with the probability `rate`, SELU's limit far below 0; a and b keep a mean of 0
    /// and a variance of 1. Otherwise y = x. The masks are drawn as those of a [`dropout`](Self::dropout).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn alpha_dropout(&mut self, input: Value, rate: f64) -> Result<Value> {
        Self::check_rate("rate of the alpha dropout", rate)?;
        self.noise(input, Noise::AlphaDropout { keep: 1.0 - rate })
    }

    fn check_rate(what: &'static str, rate: f64) -> Result<()> {
        if (0.0..1.0).contains(&rate) {
            return Ok(());
        }
        Err(Error::argument("build", what, "at least 0 and below 1", rate))
    }

    fn noise(&mut self, input: Value, noise: Noise) -> Result<Value> {
        self.check_value(input)?;
        let number = self.count(|op| matches!(op, Op::Noise { .. }));
        self.node(Op::Noise { noise, number }, &[input], self.same_form(input))
    }

    /// `outputs` values per sample, made by a function of the user's: see [`RowFunction`], which has an example. `parameter`
    /// is what it is given as its parameters.
    ///
    /// # Errors
    /// [`Error::State`] if the parameter is already in use; [`Error::Shape`] if there are no outputs.
    pub fn custom(
        &mut self,
        input: Value,
        outputs: usize,
        function: impl RowFunction<f32> + RowFunction<f64> + 'static,
        parameter: Option<ParameterId>,
    ) -> Result<Value> {
        self.check_value(input)?;
        if outputs == 0 {
            return Err(Error::shape("build", "outputs of a custom function", "at least one", 0));
        }
        parameter.map_or(Ok(()), |id| self.claim(id))?;
        let number = self.graph.customs.len();
        let input = self.in_rows(input)?;
        let value =
            self.node(Op::Custom { function: number, parameter }, &[input], Form::rows(&[outputs]))?;
        self.graph.customs.push(Custom::new(function));
        Ok(value)
    }

    /// y = softmax(x) over each sample; with more dimensions, over the last one.
    ///
    /// # Errors
    /// [`Error::State`] if `input` is of another model.
    pub fn softmax(&mut self, input: Value) -> Result<Value> {
        self.softmax_of(input, false)
    }

    /// y = ln softmax(x) over each sample; with more dimensions, over the last one.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub fn log_softmax(&mut self, input: Value) -> Result<Value> {
        self.softmax_of(input, true)
    }

    fn softmax_of(&mut self, input: Value, log: bool) -> Result<Value> {
        let input = self.in_rows(input)?;
        let row = self.dims(input).last().copied().unwrap_or(1);
        self.node(Op::Softmax { log, row }, &[input], self.same_form(input))
    }

    /// The sum of values that have the same dimensions, element by element, from the first on.
    ///
    /// # Errors
    /// [`Error::Layer`] if they have not; [`Error::Argument`] if there are none, or more than an operation takes (8).
    pub fn add(&mut self, values: &[Value]) -> Result<Value> {
        values.iter().try_for_each(|&value| self.check_value(value))?;
        let Some(&first) = values.first() else {
            return Err(Error::argument("build", "values to add", "at least one", 0));
        };
        let form = self.form(first).clone();
        let mut terms = Vec::with_capacity(values.len());
        for &value in values {
            if self.dims(value) != form.dims() {
                let expected = format!("values of {} to add", show(form.dims()));
                return Err(self.refusal(expected, show(self.dims(value))));
            }
            terms.push(self.stored_as(value, form.clone())?);
        }
        self.function(&terms, form, Add, &[])
    }

    /// The values one after the other along dimension `dim`; the others are the same.
    ///
    /// # Errors
    /// [`Error::Layer`] if they are not, or there is no such dimension; [`Error::Argument`] as [`add`](Self::add).
    pub fn concatenate(&mut self, values: &[Value], dim: usize) -> Result<Value> {
        values.iter().try_for_each(|&value| self.check_value(value))?;
        let Some(&first) = values.first() else {
            return Err(Error::argument("build", "values to concatenate", "at least one", 0));
        };
        let mut dims = self.dims(first).to_vec();
        if dim >= dims.len() {
            return Err(self.refusal(format_args!("a dimension {dim} to concatenate along"), show(&dims)));
        }
        // Channels stand last in memory: so do those of the result.
        let spatial = dim == 0 && dims.len() > 1;
        let (mut parts, mut inner) = (Vec::new(), Vec::new());
        dims[dim] = 0;
        for &value in values {
            let value = if spatial { self.in_channels_last(value)? } else { self.in_rows(value)? };
            let these = self.dims(value);
            let fits = these.len() == dims.len()
                && these.iter().zip(&dims).enumerate().all(|(at, (a, b))| at == dim || a == b);
            if !fits {
                let expected = format!("values of {} but for dimension {dim}", show(self.dims(first)));
                return Err(self.refusal(expected, show(these)));
            }
            dims[dim] += these[dim];
            inner.push(if spatial { these[dim] } else { these[dim..].iter().product() });
            parts.push(value);
        }
        let form = if spatial { Form::channels_last(&dims) } else { Form::rows(&dims) };
        self.function(&parts, form, Concatenate::new(inner), &[])
    }
}

/// Dimensions for people: `3 x 32 x 32`.
pub(crate) fn show(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    dims.join(" x ")
}

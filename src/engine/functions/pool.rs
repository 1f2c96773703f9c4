//! Pooling, and its opposite.

use super::one_step_each;
use crate::engine::function::{Backward, Compute, Forward, Function, Mode, Needs};
use crate::kernel::Element;
use crate::kernel::activation::Activation;
use crate::kernel::pool::{Divisor, Windows, average_backward, average_forward, max_backward, max_forward};

/// The largest element of each window, of channels-last samples.
#[derive(Clone, Debug)]
pub(crate) struct MaxPool {
    windows: Windows,
}

impl MaxPool {
    pub(crate) fn new(windows: Windows) -> Self {
        Self { windows }
    }
}

impl Function for MaxPool {
    fn name(&self) -> String {
        format!("max pooling {}", self.windows)
    }

    fn work(&self) -> f64 {
        self.windows.work()
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let kept = if mode.wants.contains(&true) { self.windows.output_len() } else { 0 };
        Needs { kept, ..one_step_each(mode) }
    }

    /// Where the largest element is not positive, ReLU's derivative is 0, wherever in the window the gradient then goes. Only where a
    /// gradient is moved and not added is its sign the same too if it is 0 (but where the ReLU gets -0, whose derivative is -0).
    fn takes_activation_before(&self, activation: Activation) -> bool {
        activation == Activation::Relu && self.windows.are_pairs()
    }
}

impl<T: Element> Compute<T> for MaxPool {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let relu = call.activation == Activation::Relu;
        max_forward(call.context, &self.windows, relu, call.inputs[0], call.output, call.kept);
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        if let [Some(d_input)] = call.d_inputs {
            max_backward(call.context, &self.windows, call.kept, call.d_output, d_input);
        }
    }
}

/// The mean of each window, of channels-last samples.
#[derive(Clone, Debug)]
pub(crate) struct AveragePool {
    windows: Windows,
    divisor: Divisor,
}

impl AveragePool {
    pub(crate) fn new(windows: Windows, divisor: Divisor) -> Self {
        Self { windows, divisor }
    }
}

impl Function for AveragePool {
    fn name(&self) -> String {
        format!("average pooling {}", self.windows)
    }

    fn work(&self) -> f64 {
        self.windows.work()
    }

    fn needs(&self, mode: &Mode) -> Needs {
        one_step_each(mode)
    }
}

impl<T: Element> Compute<T> for AveragePool {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        average_forward(call.context, &self.windows, self.divisor, call.inputs[0], call.output);
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        if let [Some(d_input)] = call.d_inputs {
            average_backward(call.context, &self.windows, self.divisor, call.d_output, d_input);
        }
    }
}

/// Each element as often as a window has elements, in the places that the window has: the windows are those of the output. What is
/// forward here is backward for sums of windows, and the other way round.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    windows: Windows,
}

impl Repeat {
    pub(crate) fn new(windows: Windows) -> Self {
        Self { windows }
    }
}

/// Sums.
const SUM: Divisor = Divisor::Constant(1.0);

impl Function for Repeat {
    fn name(&self) -> String {
        format!("repeated {}", self.windows)
    }

    fn work(&self) -> f64 {
        self.windows.work()
    }

    fn needs(&self, mode: &Mode) -> Needs {
        one_step_each(mode)
    }
}

impl<T: Element> Compute<T> for Repeat {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        average_backward(call.context, &self.windows, SUM, call.inputs[0], call.output);
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        if let [Some(d_input)] = call.d_inputs {
            average_forward(call.context, &self.windows, SUM, call.d_output, d_input);
        }
    }
}

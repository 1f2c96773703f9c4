//! Borders around samples, or less of them.

use super::one_step_each;
use crate::engine::function::{Backward, Compute, Forward, Function, Mode, Needs};
use crate::kernel::Element;
use crate::kernel::pad::Padding;

/// Rows and columns of a value around a channels-last sample; where there are fewer than none, the sample is cut.
#[derive(Clone, Debug)]
pub(crate) struct Pad {
    forward: Padding,
    backward: Padding,
    value: f64,
}

impl Pad {
    pub(crate) fn new(padding: Padding, value: f64) -> Self {
        Self { forward: padding, backward: padding.reversed(), value }
    }
}

impl Function for Pad {
    fn name(&self) -> String {
        format!("padding {:?}", self.forward.amounts())
    }

    fn work(&self) -> f64 {
        0.0
    }

    fn needs(&self, mode: &Mode) -> Needs {
        one_step_each(mode)
    }
}

impl<T: Element> Compute<T> for Pad {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        self.forward.pad(T::from_f64(self.value), call.inputs[0], call.output);
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        if let [Some(d_input)] = call.d_inputs {
            self.backward.pad(T::zero(), call.d_output, d_input);
        }
    }
}

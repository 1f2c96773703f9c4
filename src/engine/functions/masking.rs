//! Masks from the steps of a sequence.

use crate::engine::function::{Backward, Compute, Forward, Function, Mode, Needs, Step};
use crate::kernel::Element;
use crate::kernel::recurrent::{Masked, Steps};

/// 0 for each step where all features are `value`, else 1.
#[derive(Debug)]
pub(crate) struct Counts {
    pub value: f64,
}

impl Function for Counts {
    fn name(&self) -> String {
        format!("mask of steps other than {}", self.value)
    }

    fn work(&self) -> f64 {
        1.0
    }

    fn needs(&self, _: &Mode) -> Needs {
        Needs { forward: vec![Step::Samples], ..Needs::default() }
    }

    fn differentiates(&self, _: usize) -> bool {
        false
    }
}

impl<T: Element> Compute<T> for Counts {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        T::run(
            call.context,
            Steps { value: T::from_f64(self.value), input: call.inputs[0], mask: call.output },
        );
        Ok(())
    }
}

/// The first input, a sequence, with zeros where the second, its mask, is 0.
#[derive(Debug)]
pub(crate) struct ZeroOthers;

impl Function for ZeroOthers {
    fn name(&self) -> String {
        "masked steps".to_owned()
    }

    fn work(&self) -> f64 {
        1.0
    }

    fn needs(&self, _: &Mode) -> Needs {
        Needs { forward: vec![Step::Samples], backward: vec![Step::Samples], ..Needs::default() }
    }

    fn differentiates(&self, input: usize) -> bool {
        input == 0
    }
}

impl<T: Element> Compute<T> for ZeroOthers {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        T::run(call.context, Masked { mask: call.inputs[1], input: call.inputs[0], output: call.output });
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        if let Some(Some(d_input)) = call.d_inputs.first_mut() {
            T::run(call.context, Masked { mask: call.inputs[1], input: call.d_output, output: d_input });
        }
    }
}

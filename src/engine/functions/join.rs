//! Several values as one: their sum, or one after the other.

use super::one_step_each;
use crate::engine::function::{Backward, Compute, Forward, Function, Mode, Needs};
use crate::kernel::Element;

/// The sum of its inputs, element by element, from the first on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Add;

impl Function for Add {
    fn name(&self) -> String {
        "add".to_owned()
    }

    fn work(&self) -> f64 {
        0.0
    }

    fn needs(&self, mode: &Mode) -> Needs {
        one_step_each(mode)
    }
}

impl<T: Element> Compute<T> for Add {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let Some((first, others)) = call.inputs.split_first() else { return Ok(()) };
        match others.split_first() {
            None => call.output.copy_from_slice(first),
            Some((second, others)) => {
                for ((y, &a), &b) in call.output.iter_mut().zip(*first).zip(*second) {
                    *y = a + b;
                }
                for other in others {
                    call.output.iter_mut().zip(*other).for_each(|(y, &x)| *y += x);
                }
            }
        }
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        for d_input in call.d_inputs.iter_mut().flatten() {
            d_input.copy_from_slice(call.d_output);
        }
    }
}

/// Its inputs side by side, in each row.
#[derive(Clone, Debug)]
pub(crate) struct Concatenate {
    /// Elements of a row of each input.
    parts: Vec<usize>,
}

impl Concatenate {
    /// Of rows of these lengths.
    pub(crate) fn new(parts: Vec<usize>) -> Self {
        Self { parts }
    }
}

impl Function for Concatenate {
    fn name(&self) -> String {
        "concatenate".to_owned()
    }

    fn work(&self) -> f64 {
        0.0
    }

    fn needs(&self, mode: &Mode) -> Needs {
        one_step_each(mode)
    }
}

impl<T: Element> Compute<T> for Concatenate {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let (row, mut start) = (self.parts.iter().sum(), 0);
        for (&part, input) in self.parts.iter().zip(call.inputs).filter(|(part, _)| **part > 0) {
            for (y, x) in call.output.chunks_exact_mut(row).zip(input.chunks_exact(part)) {
                y[start..start + part].copy_from_slice(x);
            }
            start += part;
        }
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        let (row, mut start) = (self.parts.iter().sum(), 0);
        for (&part, d_input) in self.parts.iter().zip(call.d_inputs).filter(|(part, _)| **part > 0) {
            if let Some(d_input) = d_input {
                for (d_y, d_x) in call.d_output.chunks_exact(row).zip(d_input.chunks_exact_mut(part)) {
                    d_x.copy_from_slice(&d_y[start..start + part]);
                }
            }
            start += part;
        }
    }
}

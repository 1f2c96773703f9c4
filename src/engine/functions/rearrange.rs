//! A sample in another order of its axes.

use super::one_step_each;
use crate::engine::form::Form;
use crate::engine::function::{Backward, Compute, Forward, Function, Mode, Needs};
use crate::kernel::Element;
use crate::kernel::rearrange::Order;

/// Copies each sample from one order in memory to another; backward, its gradient the other way.
#[derive(Clone, Debug)]
pub(crate) struct Rearrange {
    forward: Order,
    backward: Order,
    dims: Vec<usize>,
}

impl Rearrange {
    /// From the places that `from` says to those that `to` says.
    ///
    /// # Panics
    /// If they have not as many elements.
    pub(crate) fn new(from: &Form, to: &Form) -> Self {
        let forward = Order::new(from.axes(), to.axes());
        Self { backward: forward.reversed(), forward, dims: to.dims().to_vec() }
    }
}

impl Function for Rearrange {
    fn name(&self) -> String {
        format!("rearranged {:?}", self.dims)
    }

    fn work(&self) -> f64 {
        self.forward.len() as f64
    }

    fn needs(&self, mode: &Mode) -> Needs {
        one_step_each(mode)
    }
}

impl<T: Element> Compute<T> for Rearrange {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        self.forward.copy(call.context, call.inputs[0], call.output);
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        if let [Some(d_input)] = call.d_inputs {
            self.backward.copy(call.context, call.d_output, d_input);
        }
    }
}

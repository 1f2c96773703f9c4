//! What a model has learnt and how far: parameters and the optimiser's state, out and in again.

use super::{Engine, Parameter};
use crate::error::{Error, Result};
use crate::kernel::update::AnyStep;
use crate::kernel::{Element, reduce};
use crate::tensor::AlignedBuffer;

/// The arrays of one parameter in the order in which they lie in memory: its numbers, then the optimiser's states.
pub(crate) struct Arrays<'a, T> {
    pub values: &'a [T],
    /// As many as the optimiser has.
    pub states: Vec<&'a [T]>,
}

impl<T: Element> Engine<T> {
    /// How many state arrays there are so far: none before the first step.
    pub(crate) fn state_arrays(&self) -> usize {
        self.states
            .iter()
            .filter(|state| state.len() >= self.graph.flat_len && self.graph.flat_len > 0)
            .count()
    }

    /// The arrays of a parameter.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a step spoilt them.
    pub(crate) fn arrays(&self, parameter: &Parameter) -> Result<Arrays<'_, T>> {
        if let Some((step, place)) = &self.poisoned {
            return Err(Error::Poisoned { step: *step, place: place.clone() });
        }
        let states = self.states[..self.state_arrays()].iter().map(|state| &state[parameter.range()]);
        Ok(Arrays { values: &self.parameters[parameter.range()], states: states.collect() })
    }

    /// Takes over all parameters, in order, and the optimiser's state after `steps` steps. The arrays have the parameters' lengths and
    /// finite values; all parameters have `states` state arrays.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; nothing is changed then.
    pub(crate) fn restore(&mut self, steps: u64, states: usize, all: &[Arrays<'_, T>]) -> Result<()> {
        let mut fresh: [AlignedBuffer<T>; AnyStep::STATES] = Default::default();
        for state in &mut fresh[..states] {
            *state = AlignedBuffer::try_zeroed(self.graph.flat_len)?;
        }
        for (parameter, arrays) in self.graph.parameters.iter().zip(all) {
            self.parameters[parameter.range()].copy_from_slice(arrays.values);
            for (state, values) in fresh.iter_mut().zip(&arrays.states) {
                state[parameter.range()].copy_from_slice(values);
            }
        }
        debug_assert!(reduce::first_non_finite(&self.context, &self.parameters).is_none());
        self.states = fresh;
        self.steps = steps;
        self.poisoned = None;
        self.forwarded = None;
        Ok(())
    }

    /// All parameters, as they lie in memory.
    pub(crate) fn all_parameters(&self) -> &[T] {
        &self.parameters
    }

    /// Exchanges all parameters, as they lie in memory, for others. With finite ones a spoilt model is usable again.
    pub(crate) fn exchange_parameters(&mut self, others: &mut [T]) {
        // A backward half would mix the old and the new ones.
        self.forwarded = None;
        self.parameters.swap_with_slice(others);
        self.mend();
    }

    /// True if a step spoilt the parameters.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.poisoned.is_some()
    }
}

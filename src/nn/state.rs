//! What a model has learnt and how far it is, out of it and into it again.

use super::model::Model;
use crate::engine::{Arrays, Parameter};
use crate::error::{Error, Result};
use crate::kernel::{Element, reduce};
use crate::state::State;

/// Steps that a saved model may have taken: all of them are exact as f64, and there is room to count on.
const MOST_STEPS: u64 = 1 << 53;

impl<T: Element> Model<T> {
    /// All that training changes: parameters, the optimiser's state and step sizes, the number of steps, what dropout draws
    /// from, which parameters are frozen. [`restore`](Self::restore) gives a model that goes on to the bit as this one would.
    ///
    /// Gradients that were accumulated and not applied yet are not kept.
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Poisoned`] after a step that spoilt the parameters.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Adam;
    /// use gemmule::Tensor;
    /// let x = Tensor::from_slice(&[2, 1], &[1.0_f32, 2.0])?;
    /// let line = Dataset::from_values(x.clone())?.with_values(x)?;
    /// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f32>(0)?;
    /// model.compile(Loss::MeanSquaredError, Adam::default())?;
    /// model.step(&line, &[0, 1])?;
    /// let state = model.state()?;
    /// let there = (model.step(&line, &[0])?, model.step(&line, &[1])?);
    /// model.restore(&state)?;
    /// assert_eq!((model.step(&line, &[0])?, model.step(&line, &[1])?), there);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn state(&self) -> Result<State> {
        let loss = self.compiled("state")?;
        let mut state = State::new();
        state.set_text("element", T::NAME);
        state.set_text("loss", format!("{loss:?}"));
        state.set_text("clip", format!("{:?}", self.engine.clip));
        state.set_text("weights of the loss", format!("{:?}", self.engine.loss_weights));
        state.set_text("constraints", self.constraints());
        state.set_integer("steps", self.steps());
        state.set_integer("seed", self.engine.seed);
        state.set_part("optimizer", self.optimizers.state());
        let states = self.engine.state_arrays();
        state.set_integer("states", states as u64);
        for parameter in &self.engine.graph().parameters {
            let name = &parameter.name;
            let arrays = self.engine.arrays(parameter)?;
            state.set_integers(format!("shape/{name}"), shape(parameter));
            let (group, frozen) = (parameter.group as u64, u64::from(parameter.frozen));
            state.set_integers(format!("group and frozen/{name}"), vec![group, frozen]);
            state.set_values(format!("parameter/{name}"), arrays.values);
            for (index, values) in arrays.states.iter().enumerate() {
                state.set_values(format!("state {index}/{name}"), values);
            }
        }
        Ok(state)
    }

    /// The constraints of all parameters that have one.
    fn constraints(&self) -> String {
        let all = self.engine.graph().parameters.iter();
        let held = all.filter_map(|p| p.constraint.map(|constraint| format!("{}: {constraint:?}", p.name)));
        held.collect::<Vec<_>>().join(", ")
    }

    /// Takes over what [`state`](Self::state) gave of a model of the same layers, loss and optimiser, and forgets its own. What
    /// was accumulated is dropped.
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Data`] names what does not fit; [`Error::NonFinite`] if a
    /// number is NaN or infinite. Nothing is changed then.
    pub fn restore(&mut self, state: &State) -> Result<()> {
        let loss = self.compiled("restore")?;
        let same = |what: &str, expected: String| {
            let got = state.text(what)?;
            if got != expected {
                return Err(Error::data("restore", what, expected, got));
            }
            Ok(())
        };
        same("element", T::NAME.to_owned())?;
        same("loss", format!("{loss:?}"))?;
        same("clip", format!("{:?}", self.engine.clip))?;
        same("weights of the loss", format!("{:?}", self.engine.loss_weights))?;
        same("constraints", self.constraints())?;
        let mut optimizers = self.optimizers.clone();
        optimizers.restore(&state.part("optimizer"))?;
        let (steps, seed) = (state.integer("steps")?, state.integer("seed")?);
        let states = usize::try_from(state.integer("states")?).unwrap_or(usize::MAX);
        if steps > MOST_STEPS {
            return Err(Error::data("restore", "steps", format!("at most {MOST_STEPS}"), steps));
        }
        let mut needed = 0;
        for group in 0..optimizers.len() {
            needed = needed.max(optimizers.update(group, 1)?.states());
        }
        // Before the first step there may be none yet.
        if states != needed && (states, steps) != (0, 0) {
            return Err(Error::data(
                "restore",
                "states",
                format!("{needed} arrays of the optimiser"),
                states,
            ));
        }
        let parameters = self.engine.graph().parameters.clone();
        let known = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
        if let Some(name) = state.part_names("parameter").find(|name| !known(name)) {
            return Err(Error::data("restore", "parameters", "those of this model", format!("{name} too")));
        }
        let (mut all, mut groups) = (Vec::new(), Vec::new());
        for parameter in &parameters {
            let name = &parameter.name;
            let saved = state.integers(&format!("shape/{name}"))?;
            if saved != shape(parameter) {
                let (expected, got) = (format!("{:?}", shape(parameter)), format!("{saved:?}"));
                return Err(Error::data("restore", format!("the shape of {name}"), expected, got));
            }
            let values = |kind: String| {
                let values = state.values::<T>(&format!("{kind}/{name}"))?;
                if values.len() != parameter.len() {
                    let what = format!("{kind} of {name}");
                    return Err(Error::data("restore", what, parameter.len(), values.len()));
                }
                if let Some(index) = reduce::first_non_finite(&self.context(), values) {
                    let (what, value) = ("saved number", values[index].to_f64());
                    return Err(Error::NonFinite {
                        what,
                        place: format!("{kind} of {name}"),
                        step: steps,
                        index,
                        value,
                    });
                }
                Ok(values)
            };
            let of_optimiser = (0..states).map(|index| values(format!("state {index}")));
            let of_optimiser = of_optimiser.collect::<Result<Vec<_>>>()?;
            all.push(Arrays { values: values("parameter".to_owned())?, states: of_optimiser });
            let place = format!("group and frozen/{name}");
            match *state.integers(&place)? {
                [group, frozen]
                    if group < optimizers.len() as u64
                        && frozen < 2
                        && (!parameter.buffer || [group, frozen] == [0, 1]) =>
                {
                    groups.push((group as usize, frozen == 1));
                }
                ref other => {
                    let expected = format!("a group below {} and 0 or 1", optimizers.len());
                    return Err(Error::data("restore", place, expected, format!("{other:?}")));
                }
            }
        }
        self.engine.restore(steps, states, &all)?;
        let now = parameters.iter().map(|parameter| (parameter.group, parameter.frozen));
        if !now.eq(groups.iter().copied()) {
            self.engine.change_parameters(|parameters| {
                for (parameter, (group, frozen)) in parameters.iter_mut().zip(groups) {
                    (parameter.group, parameter.frozen) = (group, frozen);
                }
            });
        }
        self.engine.seed = seed;
        self.optimizers = optimizers;
        self.accumulated = 0;
        Ok(())
    }

    /// All parameters one after the other, as they lie in memory: for copies and averages of all of them.
    pub(crate) fn all_parameters(&self) -> &[T] {
        self.engine.all_parameters()
    }

    /// Exchanges all parameters for others that [`all_parameters`](Self::all_parameters) gave of such a model.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are more or fewer: nothing is changed then.
    pub(crate) fn exchange_parameters(&mut self, operation: &'static str, others: &mut [T]) -> Result<()> {
        let len = self.all_parameters().len();
        if others.len() != len {
            let expected = format!("{len} numbers, as many as the model has");
            return Err(Error::shape(operation, "weights", expected, others.len()));
        }
        self.engine.exchange_parameters(others);
        Ok(())
    }

    /// True if a step spoilt the parameters: see [`Error::Poisoned`].
    pub(crate) fn is_spoilt(&self) -> bool {
        self.engine.is_spoilt()
    }
}

fn shape(parameter: &Parameter) -> Vec<u64> {
    [parameter.rows as u64, parameter.cols as u64].to_vec()
}

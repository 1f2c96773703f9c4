//! Steps of a model: whole ones, and their parts one by one.
//!
//! ```text
//! step                                    a batch: forward, loss, backward, update
//! accumulate, accumulate, .. apply        gradients of several batches are added up, then one update
//! forward, backward, apply                with a loss of the caller's between the two
//! ```

use super::model::Model;
use crate::engine::{BatchSource, Call, Engine, Half, Outcome, TargetKind, Task};
use crate::error::{Error, Result};
use crate::kernel::update::AnyStep;
use crate::kernel::{Element, reduce};
use crate::parallel::{self, Team};
use crate::tensor::Tensor;

/// Where a step's time goes: one phase of it, from one meeting of the team to the next.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PhaseTime {
    /// What it does: operations in a chain are joined by `>`, what is done side by side by `|`.
    pub name: String,
    /// The mean over the steps, as the calling thread saw it.
    pub seconds: f64,
    /// Multiply-adds of its products.
    pub multiply_adds: f64,
    /// Bytes that it reads and writes, counted as in [`Model::explain`].
    pub bytes: f64,
}

/// Mean loss over some samples, and how many of them are right (0 if that was not asked for).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score<T> {
    pub loss: T,
    pub correct: usize,
    /// How much the samples count together in a mean over several batches: their number, or the sum of their weights.
    pub weight: f64,
}

impl<T: Element> Score<T> {
    fn of(outcome: Outcome<T>) -> Self {
        Self { loss: outcome.loss.unwrap_or_else(T::zero), correct: outcome.correct, weight: outcome.weight }
    }
}

/// No samples: for what needs none.
struct Nothing;

impl<T: Element> BatchSource<T> for Nothing {
    fn len(&self) -> usize {
        0
    }
    fn features(&self) -> usize {
        0
    }
    fn target_kind(&self) -> Option<TargetKind> {
        None
    }
    fn gather_features(&self, _: &crate::Context, _: &[usize], _: &mut [T]) {}
    fn gather_classes(&self, _: &[usize], _: &mut [u32]) {}
    fn gather_values(&self, _: &crate::Context, _: &[usize], _: &mut [T]) {}
}

impl<T: Element> Model<T> {
    /// One training step on the samples `indices` of `source`: forward, backward, update. Returns the mean loss
    /// before the update.
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile); [`Error::Data`] if the samples do not fit;
    /// [`Error::NonFinite`] names what is NaN or infinite; [`Error::Poisoned`] after a step that spoilt the
    /// parameters.
    pub fn step(&mut self, source: &dyn BatchSource<T>, indices: &[usize]) -> Result<T> {
        let task = self.training("step", source)?;
        let width = self.engine.width(task, indices.len());
        let score = parallel::with_team(width, |team| self.step_in(team, source, indices, false))?;
        Ok(score.loss)
    }

    /// A training step as part of `team`.
    pub(crate) fn step_in(
        &mut self,
        team: &Team<'_>,
        source: &dyn BatchSource<T>,
        indices: &[usize],
        count_correct: bool,
    ) -> Result<Score<T>> {
        self.timed_step(team, source, indices, count_correct, None)
    }

    fn timed_step(
        &mut self,
        team: &Team<'_>,
        source: &dyn BatchSource<T>,
        indices: &[usize],
        count_correct: bool,
        seconds: Option<&mut [f64]>,
    ) -> Result<Score<T>> {
        self.check_samples("step", source, indices)?;
        let task = self.training("step", source)?;
        self.accumulated = 0;
        self.with_updates(|engine, update| {
            let call =
                Call { update: Some(update), count_correct, seconds, ..Call::new(task, source, indices) };
            let outcome = engine.run(team, call)?;
            Ok(Score::of(outcome))
        })
    }

    /// Calls `run` with the engine and with what the optimiser of each group does in the next step.
    pub(super) fn with_updates<R>(
        &mut self,
        run: impl FnOnce(&mut Engine<T>, &dyn Fn(usize) -> Result<AnyStep>) -> Result<R>,
    ) -> Result<R> {
        let number = self.engine.steps() + 1;
        let Self { engine, optimizers, .. } = self;
        let graph = engine.graph();
        for parameter in graph.parameters.iter().filter(|p| p.sparse.is_some() && !p.frozen) {
            let [weight_decay, l1] = optimizers.all()[parameter.group].penalties();
            if [weight_decay, l1] != [0.0; 2] {
                return Err(Error::Layer {
                    layer: graph.layers[parameter.layer].clone(),
                    previous: format!("the optimiser of its group, {}", parameter.group),
                    expected: "no penalty on a table whose gradient is sparse: it would move rows that no sample has".to_owned(),
                    got: format!("weight_decay {weight_decay} and l1 {l1}"),
                });
            }
        }
        run(engine, &|group| optimizers.update(group, number))
    }

    /// The task of a training step on `source`.
    fn training(&self, operation: &'static str, source: &dyn BatchSource<T>) -> Result<Task> {
        let loss = self.compiled(operation)?;
        Ok(Task::Train(loss, Self::targets(operation, source)?))
    }

    /// The mean loss on the samples `indices`, whose gradients, times `weight`, are added to those that were accumulated
    /// since the last update. With a weight of 1 / n for each of n batches of one size, their [`apply`](Self::apply) is the
    /// step on all of them at once, but for rounding and for dropout, whose masks are each batch's own; PyTorch's `(loss * weight).backward()`. A [`step`](Self::step) in between drops
    /// what was accumulated.
    ///
    /// # Errors
    /// As [`step`](Self::step); [`Error::Argument`] if the weight is not finite.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// use gemmule::Tensor;
    /// let x = Tensor::from_slice(&[4, 1], &[0.0_f64, 1.0, 2.0, 3.0])?;
    /// let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 2.0 * x))?;
    /// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
    /// model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.1, ..Sgd::default() })?;
    /// for batch in [[0, 1], [2, 3]] {
    ///     model.accumulate(&line, &batch, 0.5)?;
    /// }
    /// model.apply()?;
    /// assert_eq!(model.steps(), 1);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn accumulate(&mut self, source: &dyn BatchSource<T>, indices: &[usize], weight: f64) -> Result<T> {
        let task = self.training("accumulate", source)?;
        let width = self.engine.width(task, indices.len());
        let score =
            parallel::with_team(width, |team| self.accumulate_in(team, source, indices, weight, false))?;
        Ok(score.loss)
    }

    /// The same as part of `team`.
    pub(crate) fn accumulate_in(
        &mut self,
        team: &Team<'_>,
        source: &dyn BatchSource<T>,
        indices: &[usize],
        weight: f64,
        count_correct: bool,
    ) -> Result<Score<T>> {
        let loss = self.compiled("accumulate")?;
        if !weight.is_finite() {
            return Err(Error::argument("accumulate", "weight", "a finite number", weight));
        }
        self.check_samples("accumulate", source, indices)?;
        let task = Task::Gradients(loss, Self::targets("accumulate", source)?, false);
        // After a panic there may be a part of this batch's.
        let accumulated = std::mem::take(&mut self.accumulated);
        let call = Call { count_correct, weight, accumulated, ..Call::new(task, source, indices) };
        let result = self.engine.run(team, call);
        // What is not finite is found before any gradient.
        self.accumulated = accumulated + usize::from(result.is_ok());
        result.map(Score::of)
    }

    /// Drops the gradients that were accumulated since the last update: PyTorch's `zero_grad`.
    pub fn drop_accumulated(&mut self) {
        self.accumulated = 0;
    }

    /// Updates the parameters with the gradients that [`accumulate`](Self::accumulate) or [`backward`](Self::backward) left;
    /// the next ones begin anew.
    ///
    /// # Errors
    /// [`Error::State`] before [`compile`](Self::compile), or if nothing was accumulated since the last update;
    /// [`Error::NonFinite`] and [`Error::Poisoned`] as [`step`](Self::step).
    pub fn apply(&mut self) -> Result<()> {
        parallel::with_team(self.engine.width(Task::Apply, 0), |team| self.apply_in(team))
    }

    /// The same as part of `team`.
    pub(crate) fn apply_in(&mut self, team: &Team<'_>) -> Result<()> {
        self.compiled("apply")?;
        if self.accumulated == 0 {
            let what = "no gradient was accumulated since the last update: call accumulate or backward first";
            return Err(Error::State { operation: "apply", what });
        }
        self.accumulated = 0;
        self.with_updates(|engine, update| {
            let call = Call { update: Some(update), ..Call::new(Task::Apply, &Nothing, &[]) };
            engine.run(team, call).map(drop)
        })
    }

    /// The outputs for the samples `indices`, `(indices.len(), outputs)`, as training computes them; [`backward`](Self::backward)
    /// can follow, with the gradient of any loss.
    ///
    /// # Errors
    /// [`Error::Data`] if the samples do not fit; [`Error::NonFinite`] names an input or an output that is NaN or infinite;
    /// [`Error::Poisoned`] after a step that spoilt the parameters.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// use gemmule::Tensor;
    /// let x = Dataset::from_values(Tensor::from_slice(&[2, 1], &[1.0_f64, 2.0])?)?;
    /// let mut model = Sequential::new().with(Dense::new(1, 1).without_bias()).build::<f64>(0)?;
    /// // The loss given here is not used by what follows.
    /// model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.1, ..Sgd::default() })?;
    /// for _ in 0..50 {
    ///     let y = model.forward(&x, &[0, 1])?;
    ///     // Half the sum of (y - 3 x)^2: its gradient is y - 3 x.
    ///     let d = Tensor::from_slice(&[2, 1], &[y.as_slice()[0] - 3.0, y.as_slice()[1] - 6.0])?;
    ///     model.backward(&d)?;
    ///     model.apply()?;
    /// }
    /// assert!((model.parameter("0.weight")?.as_slice()[0] - 3.0).abs() < 1e-3);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn forward(&mut self, source: &dyn BatchSource<T>, indices: &[usize]) -> Result<Tensor<T>> {
        self.check_samples("forward", source, indices)?;
        let width = self.engine.width(Task::Halves, indices.len());
        let (accumulated, engine) = (self.accumulated, &mut self.engine);
        parallel::with_team(width, |team| {
            let half = Half::Forward;
            engine.run(team, Call { half, accumulated, ..Call::new(Task::Halves, source, indices) })
        })?;
        Tensor::from_slice(&[indices.len(), self.outputs()], self.engine.output())
    }

    /// Adds the gradients of all parameters to those that were accumulated since the last update, from the gradient of
    /// the outputs of the last [`forward`](Self::forward). Returns the gradient of its inputs.
    ///
    /// # Errors
    /// [`Error::State`] if anything ran since `forward`, or it did not; [`Error::Shape`] if `d_output` has not the shape
    /// of its outputs; [`Error::NonFinite`] if a gradient is NaN or infinite: then what was accumulated is dropped.
    pub fn backward(&mut self, d_output: &Tensor<T>) -> Result<Tensor<T>> {
        let Some((samples, members)) = self.engine.forwarded() else {
            let what = "there is no forward pass to follow: call forward first, and nothing between";
            return Err(Error::State { operation: "backward", what });
        };
        let shape = [samples, self.outputs()];
        if d_output.shape() != shape {
            let got = format!("{:?}", d_output.shape());
            return Err(Error::shape("backward", "d_output", format_args!("{shape:?}"), got));
        }
        if let Some(index) = reduce::first_non_finite(self.engine.context(), d_output.as_slice()) {
            let (place, value) =
                (format!("sample {}", index / shape[1]), d_output.as_slice()[index].to_f64());
            let step = self.engine.steps();
            return Err(Error::NonFinite { what: "d_output", place, step, index: index % shape[1], value });
        }
        // Which samples they were does not matter any more.
        let indices: Vec<usize> = (0..samples).collect();
        let half = Half::Backward(d_output.as_slice());
        let accumulated = std::mem::take(&mut self.accumulated);
        let engine = &mut self.engine;
        parallel::with_team(members, |team| {
            engine.run(team, Call { half, accumulated, ..Call::new(Task::Halves, &Nothing, &indices) })
        })?;
        self.accumulated = accumulated + 1;
        Tensor::from_slice(&[samples, self.inputs()], self.engine.d_input().unwrap_or(&[]))
    }

    /// The mean loss on the samples `indices` and its gradient with respect to every parameter (see
    /// [`gradient`](Self::gradient)) and to the inputs, `(indices.len(), inputs)`. Nothing is updated, and nothing
    /// accumulated: what was is lost.
    ///
    /// # Errors
    /// As [`step`](Self::step); a gradient that is NaN or infinite is an error here too, and spoils nothing.
    pub fn gradients(&mut self, source: &dyn BatchSource<T>, indices: &[usize]) -> Result<(T, Tensor<T>)> {
        let loss = self.compiled("gradients")?;
        self.check_samples("gradients", source, indices)?;
        let task = Task::Gradients(loss, Self::targets("gradients", source)?, true);
        let width = self.engine.width(task, indices.len());
        self.accumulated = 0;
        let engine = &mut self.engine;
        let outcome = parallel::with_team(width, |team| engine.run(team, Call::new(task, source, indices)))?;
        let d_input =
            Tensor::from_slice(&[indices.len(), self.inputs()], self.engine.d_input().unwrap_or(&[]))?;
        Ok((outcome.loss.unwrap_or_else(T::zero), d_input))
    }

    /// Takes `steps` training steps on the samples `indices` and says where the time goes.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn profile(
        &mut self,
        source: &dyn BatchSource<T>,
        indices: &[usize],
        steps: usize,
    ) -> Result<Vec<PhaseTime>> {
        let task = self.training("profile", source)?;
        self.check_samples("profile", source, indices)?;
        let width = self.engine.width(task, indices.len());
        parallel::with_team(width, |team| {
            let phases = self.with_updates(|engine, update| {
                let states = Self::most_states(engine, update)?;
                engine.phases(task, indices.len(), team.width(), states)
            })?;
            let mut seconds = vec![0.0; phases.len()];
            for _ in 0..steps {
                self.timed_step(team, source, indices, false, Some(&mut seconds))?;
            }
            let times = phases.into_iter().zip(seconds).map(|((name, multiply_adds, bytes), seconds)| {
                PhaseTime { name, seconds: seconds / steps.max(1) as f64, multiply_adds, bytes }
            });
            Ok(times.collect())
        })
    }

    /// The most threads that training steps on `batch` samples are worth.
    pub(crate) fn training_width(&self, source: &dyn BatchSource<T>, batch: usize) -> Result<usize> {
        Ok(self.engine.width(self.training("fit", source)?, batch))
    }

    /// The most threads that predictions of `batch` samples are worth.
    pub(crate) fn prediction_width(&self, batch: usize) -> usize {
        self.engine.width(Task::Predict, batch)
    }

    /// Mean loss on the samples `indices` and how many are right, without gradients.
    pub(crate) fn score_in(
        &mut self,
        team: &Team<'_>,
        source: &dyn BatchSource<T>,
        indices: &[usize],
        count_correct: bool,
    ) -> Result<Score<T>> {
        let loss = self.compiled("evaluate")?;
        self.check_samples("evaluate", source, indices)?;
        let task = Task::Evaluate(loss, Self::targets("evaluate", source)?);
        let outcome = self.engine.run(team, Call { count_correct, ..Call::new(task, source, indices) })?;
        Ok(Score::of(outcome))
    }

    /// The outputs of the last run, row by row: of a step those before its update, logits where the loss takes logits.
    pub(crate) fn last_outputs(&self) -> &[T] {
        self.engine.output()
    }

    /// The outputs for the samples `indices`, row by row; valid until the next call.
    pub(crate) fn outputs_in(
        &mut self,
        team: &Team<'_>,
        source: &dyn BatchSource<T>,
        indices: &[usize],
    ) -> Result<&[T]> {
        self.check_samples("predict", source, indices)?;
        self.engine.run(team, Call::new(Task::Predict, source, indices))?;
        Ok(self.engine.output())
    }
}

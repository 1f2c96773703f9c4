//! What counts how much in a model's loss, and what its parameters are held to.

use super::model::Model;
use crate::engine::{BatchSource, Task, WeightedMean};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::optim::Constraint;

impl<T: Element> Model<T> {
    /// Gives each class a weight in the loss, as PyTorch's `CrossEntropyLoss(weight=..)`: one number of at least 0 for each output.
    /// An empty slice takes them away, and so does [`compile`](Self::compile).
    ///
    /// With classes c as targets the loss of a batch is the weighted mean, the sum of `w[c] loss` divided by that of `w[c]` (see
    /// [`set_weighted_mean`](Self::set_weighted_mean)). With a smoothed cross-entropy, or target values, `w[j]` multiplies the
    /// target of class j; with values the mean is over the samples. Those of [`Loss::MultiMargin`](super::Loss::MultiMargin) do not
    /// count in its mean either, as in PyTorch. [`evaluate`](Self::evaluate) weighs too.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State) before [`compile`](Self::compile) or if the loss has no classes;
    /// [`Error::Shape`](crate::Error::Shape) unless there is one weight per output; [`Error::Argument`](crate::Error::Argument) if
    /// one is negative or not finite. Nothing is changed then.
    ///
    /// ```
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// let mut model = Sequential::new().with(Dense::new(4, 3)).build::<f32>(0)?;
    /// model.compile(Loss::CrossEntropy, Sgd::default())?;
    /// // The third class is rare.
    /// model.set_class_weights(&[1.0, 1.0, 5.0])?;
    /// assert_eq!(model.class_weights(), Some(&[1.0, 1.0, 5.0][..]));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn set_class_weights(&mut self, weights: &[f64]) -> Result<()> {
        let (loss, outputs) = (self.compiled("set_class_weights")?, self.outputs());
        self.engine.loss_weights.set_classes(loss, outputs, weights)
    }

    /// The weights of the classes, if there are any.
    pub fn class_weights(&self) -> Option<&[T]> {
        self.engine.loss_weights.classes()
    }

    /// What the mean of a loss with class weights is divided by: the sum of the weights, unless told otherwise.
    pub fn set_weighted_mean(&mut self, mean: WeightedMean) {
        self.engine.loss_weights.mean = mean;
    }

    /// Gives the positive part of each target of a binary cross-entropy a weight, as PyTorch's
    /// `BCEWithLogitsLoss(pos_weight=..)`: `-p t ln s - (1 - t) ln (1 - s)`. One number of at least 0 for each output, or one for
    /// all. An empty slice takes them away, and so does [`compile`](Self::compile).
    ///
    /// # Errors
    /// As [`set_class_weights`](Self::set_class_weights).
    ///
    /// ```
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// let mut model = Sequential::new().with(Dense::new(4, 1)).build::<f32>(0)?;
    /// model.compile(Loss::BinaryCrossEntropy, Sgd::default())?;
    /// // Nine samples of ten are negative.
    /// model.set_positive_weights(&[9.0])?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn set_positive_weights(&mut self, weights: &[f64]) -> Result<()> {
        let (loss, outputs) = (self.compiled("set_positive_weights")?, self.outputs());
        self.engine.loss_weights.set_positive(loss, outputs, weights)
    }

    /// The weights of the positive parts of targets, if there are any.
    pub fn positive_weights(&self) -> Option<&[T]> {
        self.engine.loss_weights.positive()
    }

    /// How much of a batch a part of it is: the part of its samples, or of their weights.
    pub(crate) fn share_of(
        &mut self,
        source: &dyn BatchSource<T>,
        part: &[usize],
        batch: &[usize],
    ) -> Result<f64> {
        let task = Task::Evaluate(self.compiled("step")?, Self::targets("step", source)?);
        let all = self.engine.weight_of(task, source, batch)?;
        let part = self.engine.weight_of(task, source, part)?;
        Ok(if all == 0.0 { 0.0 } else { part / all })
    }

    /// Holds parameters to a constraint after every update from now on, or to none. The constraint is applied right after the
    /// optimiser, in [`step`](Self::step), [`apply`](Self::apply) and [`fit`](Self::fit) alike; setting it changes no parameter, and
    /// frozen parameters stay as they are.
    ///
    /// `names` are those of parameters (`0.weight`) or layers (`0`), whose biases are meant too then.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if a name is unknown or an option is out of its range, [`Error::Layer`] if one of
    /// them is the table of a [sparse](super::Embedding::sparse) embedding: nothing is changed then.
    ///
    /// ```
    /// use gemmule::nn::{Activation, Dense, Dropout, Sequential};
    /// use gemmule::optim::Constraint;
    /// let mut model = Sequential::new()
    ///     .with(Dense::new(784, 512))
    ///     .with(Activation::Relu)
    ///     .with(Dropout::new(0.5))
    ///     .with(Dense::new(512, 10))
    ///     .build::<f32>(0)?;
    /// model.set_constraint(&["0.weight", "3.weight"], Constraint::MaxNorm(2.0))?;
    /// model.set_constraint(&["0"], None)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn set_constraint(
        &mut self,
        names: &[&str],
        constraint: impl Into<Option<Constraint>>,
    ) -> Result<()> {
        let constraint = constraint.into();
        let found = self.find_all("set_constraint", names)?;
        let graph = self.engine.graph();
        let mut tables = found.iter().map(|&index| &graph.parameters[index]).filter(|p| p.sparse.is_some());
        if let (Some(constraint), Some(table)) = (constraint, tables.next()) {
            return Err(Error::Layer {
                layer: graph.layers[table.layer].clone(),
                previous: "set_constraint".to_owned(),
                expected:
                    "none on a table whose gradient is sparse: it would be over rows that no sample has"
                        .to_owned(),
                got: format!("{constraint:?}"),
            });
        }
        constraint.map_or(Ok(()), |constraint| constraint.check::<T>("set_constraint"))?;
        self.engine
            .change_parameters(|all| found.iter().for_each(|&index| all[index].constraint = constraint));
        Ok(())
    }

    /// What a parameter is held to.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) lists the names there are.
    pub fn constraint(&self, name: &str) -> Result<Option<Constraint>> {
        self.find("constraint", name).map(|(_, parameter)| parameter.constraint)
    }
}

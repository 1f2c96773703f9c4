//! Metrics of predicted classes.

use super::Metric;
use super::counts::{Average, Counts, Ratio, ZeroDivision};
use super::predictions::Predictions;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::state::State;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Accuracy,
    BalancedAccuracy,
    Ratio(Ratio, Average),
    CohenKappa,
    Matthews,
}

/// A metric of predicted classes or labels.
///
/// A sample's class is its largest output, the first if there are several; of one output it is 1 if the probability is
/// above the threshold, and so is each label where any number of them may hold. Counts are integers: the figure depends
/// neither on batches nor on the order of the samples.
///
/// ```
/// use gemmule::train::metrics::{Average, ClassMetric, Metric, Predictions, Targets};
///
/// let mut f1 = ClassMetric::f1(Average::Binary);
/// f1.update(&Predictions::new(&[0.9_f32, 0.2, 0.6, 0.4], 1, Targets::Classes(&[1, 0, 0, 1]))?)?;
/// assert_eq!(Metric::<f32>::name(&f1), "f1");
/// assert_eq!(Metric::<f32>::value(&f1), 0.5);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassMetric {
    figure: Figure,
    threshold: f64,
    zero: ZeroDivision,
    counts: Counts,
}

impl ClassMetric {
    fn new(figure: Figure) -> Self {
        Self { figure, threshold: 0.5, zero: ZeroDivision::Zero, counts: Counts::default() }
    }

    /// The share of samples that are right; with any number of labels, those with all labels right.
    pub fn accuracy() -> Self {
        Self::new(Figure::Accuracy)
    }

    /// The mean recall of the classes that are targets.
    pub fn balanced_accuracy() -> Self {
        Self::new(Figure::BalancedAccuracy)
    }

    /// Of those predicted as a class, the share that are of it.
    pub fn precision(average: Average) -> Self {
        Self::new(Figure::Ratio(Ratio::Precision, average))
    }

    /// Of those of a class, the share that are predicted as it.
    pub fn recall(average: Average) -> Self {
        Self::new(Figure::Ratio(Ratio::Recall, average))
    }

    /// The harmonic mean of precision and recall: 2 h / (p + a) with h hits, p predicted and a actual samples.
    pub fn f1(average: Average) -> Self {
        Self::new(Figure::Ratio(Ratio::F(1.0), average))
    }

    /// The harmonic mean in which recall has beta times the importance of precision: (1 + b^2) h / (p + b^2 a).
    ///
    /// # Errors
    /// [`Error::Argument`] if beta is negative or NaN; infinity gives the recall.
    pub fn f_beta(beta: f64, average: Average) -> Result<Self> {
        check_beta("ClassMetric::f_beta", beta)?;
        Ok(Self::new(Figure::Ratio(Ratio::F(beta), average)))
    }

    /// The agreement beyond chance: (o - e) / (1 - e) with the share o of right samples and e = the sum over classes of the
    /// product of the shares among targets and predictions. NaN if both have the same one class alone.
    pub fn cohen_kappa() -> Self {
        Self::new(Figure::CohenKappa)
    }

    /// The correlation of targets and predictions, after Matthews and Gorodkin; 0 if either has one class alone.
    pub fn matthews() -> Self {
        Self::new(Figure::Matthews)
    }

    /// The probability above which one output is class 1, and a label holds: a half by default.
    #[must_use]
    pub fn threshold(self, threshold: f64) -> Self {
        Self { threshold, ..self }
    }

    /// What a precision, recall or F is whose denominator is 0: 0 by default.
    #[must_use]
    pub fn zero_division(self, zero: ZeroDivision) -> Self {
        Self { zero, ..self }
    }
}

pub(super) fn check_beta(operation: &'static str, beta: f64) -> Result<()> {
    if beta >= 0.0 { Ok(()) } else { Err(Error::argument(operation, "beta", "0 or more", beta)) }
}

impl<T: Element> Metric<T> for ClassMetric {
    fn name(&self) -> String {
        match self.figure {
            Figure::Accuracy => "accuracy".to_owned(),
            Figure::BalancedAccuracy => "balanced_accuracy".to_owned(),
            Figure::Ratio(Ratio::Precision, average) => format!("precision{}", average.suffix()),
            Figure::Ratio(Ratio::Recall, average) => format!("recall{}", average.suffix()),
            Figure::Ratio(Ratio::F(beta), average) => format!("f{beta}{}", average.suffix()),
            Figure::CohenKappa => "cohen_kappa".to_owned(),
            Figure::Matthews => "matthews_corrcoef".to_owned(),
        }
    }

    fn reset(&mut self) {
        self.counts = Counts::default();
    }

    fn update(&mut self, batch: &Predictions<'_, T>) -> Result<()> {
        let whole = matches!(self.figure, Figure::BalancedAccuracy | Figure::CohenKappa | Figure::Matthews);
        if whole && !batch.is_single_label() {
            let expected = "one class per sample";
            return Err(Error::data("ClassMetric", "targets", expected, "any number of labels"));
        }
        self.counts.add_all("ClassMetric", batch, self.threshold)?;
        match self.figure {
            Figure::Ratio(_, average) => self.counts.check("ClassMetric", average),
            _ => Ok(()),
        }
    }

    fn value(&self) -> f64 {
        match self.figure {
            Figure::Accuracy => self.counts.accuracy(),
            Figure::BalancedAccuracy => self.counts.balanced_accuracy(),
            Figure::Ratio(ratio, average) => self.counts.ratio(ratio, average, self.zero),
            Figure::CohenKappa => self.counts.cohen_kappa(),
            Figure::Matthews => self.counts.matthews(),
        }
    }

    fn save(&self) -> State {
        self.counts.save()
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.counts = Counts::load(state)?;
        Ok(())
    }
}

/// The share of samples whose class is among their k largest outputs. Of equal outputs the later one counts as the larger,
/// as in scikit-learn (where accuracy takes the first).
#[derive(Clone, Debug)]
pub struct TopKAccuracy {
    k: usize,
    hits: u64,
    samples: u64,
}

impl TopKAccuracy {
    /// Among the `k` largest.
    ///
    /// # Errors
    /// [`Error::Argument`] if k is 0.
    pub fn new(k: usize) -> Result<Self> {
        if k == 0 {
            return Err(Error::argument("TopKAccuracy::new", "k", "at least 1", 0));
        }
        Ok(Self { k, hits: 0, samples: 0 })
    }
}

impl<T: Element> Metric<T> for TopKAccuracy {
    fn name(&self) -> String {
        format!("top_{}_accuracy", self.k)
    }

    fn reset(&mut self) {
        (self.hits, self.samples) = (0, 0);
    }

    fn update(&mut self, batch: &Predictions<'_, T>) -> Result<()> {
        let width = batch.width();
        if width == 1 || !batch.is_single_label() {
            let expected = "classes, with an output for each";
            return Err(Error::data("TopKAccuracy", "targets", expected, "labels"));
        }
        for (row, outputs) in batch.outputs().chunks_exact(width).enumerate() {
            let class = batch.class(row);
            let above = |(index, &x): (usize, &T)| x > outputs[class] || x == outputs[class] && index > class;
            let rank = outputs.iter().enumerate().filter(|&it| above(it)).count();
            self.hits += u64::from(rank < self.k);
            self.samples += 1;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.hits as f64 / self.samples as f64
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.set_integer("hits", self.hits);
        state.set_integer("samples", self.samples);
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        (self.hits, self.samples) = (state.integer("hits")?, state.integer("samples")?);
        Ok(())
    }
}

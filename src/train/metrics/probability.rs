//! Metrics of probabilities themselves.

use super::Metric;
use super::exact::ExactSum;
use super::predictions::{Predictions, Targets};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::state::State;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    LogLoss,
    Brier,
}

/// Log loss or Brier score: how far probabilities are from what happened.
///
/// Each sample's figure is computed in `f64`; their sum is exact, so the mean depends neither on batches nor on the order of the
/// samples.
#[derive(Clone, Debug)]
pub struct ProbabilityMetric {
    figure: Figure,
    sum: ExactSum,
    samples: u64,
}

impl ProbabilityMetric {
    fn new(figure: Figure) -> Self {
        Self { figure, sum: ExactSum::default(), samples: 0 }
    }

    /// The mean of -ln p for the probability p of each sample's class, of one output the mean of -t ln p - (1 - t) ln (1 - p);
    /// so for each label where any number may hold, and their mean. Probabilities are kept the type's epsilon away from 0 and
    /// 1, as in scikit-learn.
    pub fn log_loss() -> Self {
        Self::new(Figure::LogLoss)
    }

    /// The mean of (p - t)^2 for the probability p of class 1, or of each label; of three classes and more the sum of it over
    /// the classes, as in scikit-learn (`scale_by_half="auto"`).
    pub fn brier_score() -> Self {
        Self::new(Figure::Brier)
    }
}

impl<T: Element> Metric<T> for ProbabilityMetric {
    fn name(&self) -> String {
        match self.figure {
            Figure::LogLoss => "log_loss",
            Figure::Brier => "brier_score",
        }
        .to_owned()
    }

    fn reset(&mut self) {
        *self = Self::new(self.figure);
    }

    fn update(&mut self, batch: &Predictions<'_, T>) -> Result<()> {
        let (width, binary) = (batch.width(), batch.width() == 1 || !batch.is_single_label());
        let epsilon = <T as num_traits::Float>::epsilon().to_f64();
        let all = batch.probabilities()?;
        if let Some(at) = all.iter().position(|p| !(T::zero()..=T::one()).contains(p)) {
            let what = format!("output {} of sample {}", at % width, at / width);
            return Err(Error::data("ProbabilityMetric", what, "a probability, from 0 to 1", all[at]));
        }
        // ln of what is kept away from 0 and 1.
        let ln = |p: f64| libm::log(p.clamp(epsilon, 1.0 - epsilon));
        let square = |x: f64| x * x;
        for (row, p) in all.chunks_exact(width).enumerate() {
            let target = |column: usize| match batch.targets() {
                Targets::Classes(classes) if width == 1 => f64::from(classes[row]),
                Targets::Classes(classes) => f64::from(u8::from(classes[row] as usize == column)),
                Targets::Values(values) => values[row * width + column].to_f64(),
            };
            let each = p.iter().enumerate().map(|(column, &p)| (p.to_f64(), target(column)));
            let terms = each.map(|(p, t)| match self.figure {
                // 0 times a logarithm is 0: the logarithms are finite.
                Figure::LogLoss if binary => -(t * ln(p) + (1.0 - t) * ln(1.0 - p)),
                Figure::LogLoss => -t * ln(p),
                Figure::Brier => square(p - t),
            });
            let sum = terms.sum::<f64>();
            self.sum.add(match self.figure {
                _ if binary => sum / width as f64,
                Figure::Brier if width == 2 => sum / 2.0,
                _ => sum,
            });
            self.samples += 1;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.sum.rounded() / self.samples as f64
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.set_integers("sum", self.sum.save());
        state.set_integer("samples", self.samples);
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.sum = ExactSum::of_state("sum", state)?;
        self.samples = state.integer("samples")?;
        Ok(())
    }
}

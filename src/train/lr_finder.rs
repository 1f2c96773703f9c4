//! Which learning rate to train with: a sweep over all of them.

use crate::data::Batches;
use crate::engine::BatchSource;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::nn::Model;
use crate::parallel::{self, Team};

/// Options of [`Model::find_learning_rate`]. The defaults are fastai's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrFinder {
    /// The rate of the first step; above 0.
    pub min: f64,
    /// The rate of the last step; above `min`.
    pub max: f64,
    /// Steps of the sweep; at least 2.
    pub steps: usize,
    /// Samples of a batch; at least 1.
    pub batch_size: usize,
    /// What the order of the samples is drawn from.
    pub seed: u64,
    /// How much of the losses before a smoothed loss keeps; at least 0 and below 1.
    pub smoothing: f64,
    /// The sweep ends when a smoothed loss is above so many times the least; above 1.
    pub stop_factor: f64,
}

impl Default for LrFinder {
    /// 1e-7 to 10 in 100 steps on batches of 32, smoothing 0.98, until the loss is above 4 times the least.
    fn default() -> Self {
        Self { min: 1e-7, max: 10.0, steps: 100, batch_size: 32, seed: 0, smoothing: 0.98, stop_factor: 4.0 }
    }
}

/// What a sweep of [`Model::find_learning_rate`] saw.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LrSweep {
    /// The rate of each step that was taken.
    pub rates: Vec<f64>,
    /// The mean loss over the batch of each step, before its update, smoothed.
    pub losses: Vec<f64>,
    /// The same as it was.
    pub raw_losses: Vec<f64>,
    /// True if the sweep ended before the last step, since the loss grew too much, or beyond all bounds.
    pub diverged: bool,
    /// The rate at which the smoothed loss falls fastest over the logarithm of the rate; `None` if it falls nowhere. The first
    /// tenth of the steps and the last five do not count, as in fastai, nor what comes after the least loss.
    pub suggestion: Option<f64>,
}

impl LrFinder {
    fn check(&self) -> Result<()> {
        let refuse = |what, expected: &str, got: &dyn std::fmt::Display| {
            Err(Error::argument("find_learning_rate", what, expected, got))
        };
        if !(self.min.is_finite() && self.min > 0.0) {
            return refuse("min", "a finite number above 0", &self.min);
        }
        if !(self.max.is_finite() && self.max > self.min) {
            return refuse("max", "a finite number above min", &self.max);
        }
        if self.steps < 2 {
            return refuse("steps", "at least 2", &self.steps);
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return refuse("smoothing", "at least 0 and below 1", &self.smoothing);
        }
        if self.stop_factor.is_nan() || self.stop_factor <= 1.0 {
            return refuse("stop_factor", "above 1", &self.stop_factor);
        }
        Ok(())
    }

    /// The rate of a step: as many times larger than the one before at each.
    fn rate(&self, step: usize) -> f64 {
        if step + 1 == self.steps {
            return self.max;
        }
        self.min * libm::pow(self.max / self.min, step as f64 / (self.steps - 1) as f64)
    }

    fn sweep<T: Element>(
        &self,
        model: &mut Model<T>,
        team: &Team<'_>,
        data: &dyn BatchSource<T>,
        batches: &mut Batches,
    ) -> Result<LrSweep> {
        let (mut rates, mut losses, mut raw_losses) = (Vec::new(), Vec::<f64>::new(), Vec::new());
        let (mut average, mut weight, mut least, mut diverged) = (0.0, 1.0, f64::INFINITY, false);
        for step in 0..self.steps {
            let index = step % batches.len();
            if index == 0 {
                let epoch = (step / batches.len()) as u64 + 1;
                batches.restart(Some((self.seed, epoch)));
                data.begin_epoch(epoch);
            }
            let rate = self.rate(step);
            model.set_learning_rate(rate)?;
            let loss = match model.step_in(team, data, batches.get(index).unwrap_or(&[]), false) {
                Ok(score) => score.loss.to_f64(),
                // The end of what can be learnt, not an error; but of the first step, it is none of the rate.
                Err(Error::NonFinite { what, .. }) if what != "input" && step > 0 => {
                    diverged = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            average = self.smoothing * average + (1.0 - self.smoothing) * loss;
            weight *= self.smoothing;
            let smooth = average / (1.0 - weight);
            rates.push(rate);
            raw_losses.push(loss);
            losses.push(smooth);
            least = smooth.min(least);
            if smooth > self.stop_factor * least {
                diverged = true;
                break;
            }
        }
        let suggestion = steepest(&rates, &losses, self.steps / 10);
        Ok(LrSweep { rates, losses, raw_losses, diverged, suggestion })
    }
}

/// The rate before the steepest descent over the logarithm of the rate, without the first `skip`, the last five, and what comes
/// after the least loss: a curve that climbs has dips, too.
fn steepest(rates: &[f64], losses: &[f64], skip: usize) -> Option<f64> {
    let least = losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1))?.0;
    let counted = skip..(least + 1).min(losses.len().saturating_sub(5));
    let (rates, losses) = (rates.get(counted.clone())?, losses.get(counted)?);
    let (mut best, mut slope) = (None, 0.0);
    for (rate, loss) in rates.windows(2).zip(losses.windows(2)) {
        let descent = (loss[1] - loss[0]) / libm::log(rate[1] / rate[0]);
        if descent < slope {
            (best, slope) = (Some(rate[0]), descent);
        }
    }
    best
}

impl<T: Element> Model<T> {
    /// Trains for some steps, with a rate that grows exponentially from step to step, and says how the loss went: where it falls
    /// fastest is a good rate to train with. Source: Smith 2017; the smoothing, the end and the suggestion are fastai's.
    ///
    /// ```text
    /// rate of step i   min * (max / min)^(i / (steps - 1))
    /// smoothed loss    a / (1 - smoothing^(i + 1)),  a = smoothing * a + (1 - smoothing) * loss
    /// ```
    ///
    /// Afterwards parameters, optimiser, step sizes and the number of steps are as before, to the bit; what was accumulated and
    /// not applied is lost, as are the gradients of the last step. A loss that becomes NaN or infinite ends the sweep.
    ///
    /// # Errors
    /// [`Error::Argument`] names an option out of its range; [`Error::State`] before [`compile`](Self::compile);
    /// [`Error::Data`] if `data` is empty or does not fit the model or the loss; [`Error::NonFinite`] if an input is NaN or
    /// infinite, or the loss of the very first step; [`Error::Poisoned`] after a step that spoilt the parameters.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// use gemmule::train::{Fit, LrFinder};
    /// use gemmule::Tensor;
    ///
    /// let x = Tensor::from_vec(&[64, 1], (0..64).map(|i| f64::from(i) / 64.0).collect())?;
    /// let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 3.0 * x - 1.0))?;
    /// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
    /// model.compile(Loss::MeanSquaredError, Sgd::default())?;
    /// let sweep = model.find_learning_rate(&line, &LrFinder { smoothing: 0.5, ..LrFinder::default() })?;
    /// assert!(sweep.diverged);
    /// let rate = sweep.suggestion.expect("the loss falls");
    /// assert!((1e-3..1.0).contains(&rate), "{rate}");
    /// model.set_learning_rate(rate)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn find_learning_rate(&mut self, data: &dyn BatchSource<T>, options: &LrFinder) -> Result<LrSweep> {
        self.check_source("find_learning_rate", data)?;
        options.check()?;
        let mut batches = Batches::new(data.len(), options.batch_size, None)?;
        let before = self.state()?;
        let width = self.training_width(data, options.batch_size.min(data.len()))?;
        let sweep = parallel::with_team(width, |team| options.sweep(self, team, data, &mut batches));
        self.restore(&before)?;
        sweep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss that falls by 1, 2, 3, .. 20 and then climbs, one rate a factor of e from the next.
    #[test]
    fn the_steepest_descent() {
        let rates: Vec<f64> = (0..40).map(|i| libm::exp(f64::from(i))).collect();
        let mut losses = vec![1000.0];
        for i in 1..40 {
            let change = if i <= 20 { -f64::from(i) } else { 5.0 };
            losses.push(losses[losses.len() - 1] + change);
        }
        assert_eq!(steepest(&rates, &losses, 4), Some(rates[19]));
        // What does not count: the first, the last five.
        assert_eq!(steepest(&rates[..22], &losses[..22], 4), Some(rates[15]));
        assert_eq!(steepest(&rates, &losses, 25), None);
        // A dip that is steeper than all before, in the climb.
        losses[31] -= 40.0;
        assert_eq!(steepest(&rates, &losses, 4), Some(rates[19]));
        assert_eq!(steepest(&rates[..6], &losses[..6], 4), None);
        assert_eq!(steepest(&[], &[], 0), None);
    }

    #[test]
    fn rates_grow_by_one_factor() {
        let options = LrFinder::default();
        assert_eq!((options.rate(0), options.rate(99)), (1e-7, 10.0));
        let factor = libm::pow(1e8, 1.0 / 99.0);
        for step in 1..100 {
            assert!((options.rate(step) / options.rate(step - 1) / factor - 1.0).abs() < 1e-12);
        }
    }
}

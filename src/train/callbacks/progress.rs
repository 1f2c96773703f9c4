//! A bar on the terminal, and a line per epoch.

use crate::error::Result;
use crate::kernel::Element;
use crate::train::{Callback, Control, EpochLog, Event, Run};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;

/// Shows a run: a bar of the epoch on the terminal, if there is one (on the standard error stream, by the crate `indicatif`), and a
/// line per epoch for a closure of the caller's: the library itself writes no lines. Feature `progress`.
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::train::{Fit, Progress};
/// use gemmule::Tensor;
///
/// let x = Tensor::from_slice(&[2, 1], &[1.0_f32, 2.0])?;
/// let line = Dataset::from_values(x.clone())?.with_values(x)?;
/// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f32>(0)?;
/// model.compile(Loss::MeanSquaredError, Sgd::default())?;
/// let mut lines = Vec::new();
/// // Or: |line| println!("{line}")
/// let mut progress = Progress::new().lines(|line| lines.push(line.to_owned()));
/// model.fit(&line, Fit::new().epochs(2).callback(&mut progress))?;
/// drop(progress);
/// assert!(lines[1].starts_with("epoch 2/2: loss "), "{lines:?}");
/// # Ok::<(), gemmule::Error>(())
/// ```
pub struct Progress<'a> {
    bar: ProgressBar,
    epochs: usize,
    lines: Option<Lines<'a>>,
}

type Lines<'a> = Box<dyn FnMut(&str) + 'a>;

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("epochs", &self.epochs).finish_non_exhaustive()
    }
}

impl Default for Progress<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Progress<'a> {
    /// A bar, and no lines.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{prefix} [{bar:40}] {pos}/{len} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        // It draws nothing before the run begins, and nothing at all where there is no terminal.
        Self { bar: ProgressBar::new(0).with_style(style), epochs: 0, lines: None }
    }

    /// Gives a line to `write` after each epoch, with all its figures; the bar is out of the way meanwhile.
    #[must_use]
    pub fn lines(self, write: impl FnMut(&str) + 'a) -> Self {
        Self { lines: Some(Box::new(write)), ..self }
    }

    fn begin_epoch(&self, epoch: usize, samples: u64) {
        self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        self.bar.set_position(samples);
    }
}

/// The figures of an epoch: shares in percent.
fn line(log: &EpochLog, epochs: usize) -> String {
    let mut line = format!("epoch {}/{epochs}: loss {:.4}", log.epoch, log.loss);
    // Writing to a text does not fail.
    let mut add = |figure: std::fmt::Arguments<'_>| line.write_fmt(figure).unwrap_or_default();
    if let Some(accuracy) = log.accuracy {
        add(format_args!(", accuracy {:.2} %", 100.0 * accuracy));
    }
    if let Some(loss) = log.validation_loss {
        add(format_args!(", validation loss {loss:.4}"));
    }
    if let Some(accuracy) = log.validation_accuracy {
        add(format_args!(", validation accuracy {:.2} %", 100.0 * accuracy));
    }
    for (name, value) in &log.metrics {
        add(format_args!(", {} {value:.4}", name.replace('_', " ")));
    }
    add(format_args!(", {:.0} samples/s", log.samples_per_second()));
    line
}

impl<T: Element> Callback<T> for Progress<'_> {
    fn on_event(&mut self, event: &Event<'_>, _: &mut Run<'_, T>) -> Result<Control> {
        match event {
            Event::TrainBegin { epochs, steps, samples, epoch, taken, .. } => {
                self.epochs = *epochs;
                self.bar.reset();
                self.bar.set_length(*samples as u64);
                let seen = *samples as u128 * *taken as u128 / (*steps).max(1) as u128;
                self.begin_epoch(*epoch, seen as u64);
            }
            Event::EpochBegin { epoch } => self.begin_epoch(*epoch, 0),
            Event::StepEnd { samples, loss, step, .. } => {
                self.bar.inc(*samples as u64);
                if step % 50 == 0 {
                    self.bar.set_message(format!("loss {loss:.4}"));
                }
            }
            Event::EpochEnd(log) => {
                if let Some(lines) = &mut self.lines {
                    let line = line(log, self.epochs);
                    self.bar.suspend(|| lines(&line));
                }
            }
            Event::Failed(_) | Event::TrainEnd(_) => self.bar.finish_and_clear(),
            _ => {}
        }
        Ok(Control::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::nn::{Dense, Loss, Sequential};
    use crate::optim::Sgd;
    use crate::tensor::Tensor;
    use crate::train::{Fit, WithRun};
    use std::cell::RefCell;

    #[test]
    fn the_bar_follows_the_samples() -> Result<()> {
        let x = Tensor::from_vec(&[10, 1], vec![0.5_f32; 10])?;
        let data = Dataset::from_values(x)?.with_classes(vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 1], 2)?;
        let mut model = Sequential::new().with(Dense::new(1, 2)).build::<f32>(0)?;
        model.compile(Loss::CrossEntropy, Sgd::default())?;
        let lines = RefCell::new(Vec::new());
        let mut progress = Progress::new().lines(|line| lines.borrow_mut().push(line.to_owned()));
        let bar = progress.bar.clone();
        let mut positions = Vec::new();
        let mut watch = WithRun(|event: &Event<'_>, _: &mut Run<'_, f32>| {
            if let Event::StepEnd { .. } = event {
                positions.push((bar.prefix(), bar.position(), bar.length()));
            }
            Ok(Control::Continue)
        });
        let fit =
            Fit::new().epochs(2).batch_size(4).validation(&data).callback(&mut progress).callback(&mut watch);
        let history = model.fit(&data, fit)?;
        let expected = |epoch: u32| [4, 8, 10].map(|at| (format!("epoch {epoch}/2"), at, Some(10)));
        assert_eq!(positions, [expected(1), expected(2)].concat());
        assert!(bar.is_finished());
        let log = &history.epochs[1];
        let expected = format!(
            "epoch 2/2: loss {:.4}, accuracy 50.00 %, validation loss {:.4}, validation accuracy 50.00 %, {:.0} samples/s",
            log.loss,
            log.validation_loss.unwrap_or(f64::NAN),
            log.samples_per_second()
        );
        assert_eq!(lines.borrow().as_slice(), [lines.borrow()[0].clone(), expected]);
        Ok(())
    }
}

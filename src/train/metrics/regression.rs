//! Metrics of predicted values.

use super::Metric;
use super::exact::{ExactSum, squares_about_mean};
use super::predictions::Predictions;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::state::State;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    MeanSquared,
    RootMeanSquared,
    MeanAbsolute,
    MeanAbsolutePercentage,
    Max,
    R2,
    ExplainedVariance,
}

/// A metric of predicted values y for targets t. With several outputs it is the mean over them, each by itself (scikit-learn's
/// `uniform_average`).
///
/// Differences and their squares are computed in `f64`; their sums are exact, so the figure depends neither on batches nor on
/// the order of the samples.
///
/// ```
/// use gemmule::train::metrics::{Metric, Predictions, RegressionMetric, Targets};
///
/// let mut r2 = RegressionMetric::r2();
/// r2.update(&Predictions::new(&[2.5, 0.0], 1, Targets::Values(&[3.0, -0.5]))?)?;
/// r2.update(&Predictions::new(&[2.0, 8.0], 1, Targets::Values(&[2.0, 7.0]))?)?;
/// assert!((Metric::<f64>::value(&r2) - 0.9486081370449679).abs() < 1e-15);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RegressionMetric {
    figure: Figure,
    /// For each output.
    columns: Vec<Column>,
    samples: u64,
}

/// The sums of an output.
#[derive(Clone, Debug, Default)]
struct Column {
    /// What the figure is the mean of, or the squares of the differences.
    errors: ExactSum,
    largest: f64,
    differences: Moments,
    targets: Moments,
}

/// What a variance is made of; only where the figure needs it.
#[derive(Clone, Debug, Default)]
struct Moments(Option<Box<(ExactSum, ExactSum, f64, f64)>>);

impl Moments {
    fn add(&mut self, x: f64) {
        let moments =
            self.0.get_or_insert_with(|| Box::new((ExactSum::default(), ExactSum::default(), x, x)));
        let (sum, squares, least, most) = &mut **moments;
        sum.add(x);
        squares.add_square(x);
        (*least, *most) = (least.min(x), most.max(x));
    }

    fn save(&self) -> State {
        let mut state = State::new();
        if let Some((sum, squares, least, most)) = self.0.as_deref() {
            state.set_integers("sum", sum.save());
            state.set_integers("squares", squares.save());
            state.set_number("least", *least);
            state.set_number("most", *most);
        }
        state
    }

    fn load(state: &State) -> Result<Self> {
        if state.is_empty() {
            return Ok(Self::default());
        }
        let sum = |name| ExactSum::of_state(name, state);
        let moments = (sum("sum")?, sum("squares")?, state.number("least")?, state.number("most")?);
        Ok(Self(Some(Box::new(moments))))
    }

    /// The sum of (x - mean)^2; 0 exactly where all are the same.
    fn squares_about_mean(&self, count: u64) -> f64 {
        match &self.0 {
            None => f64::NAN,
            Some(moments) if moments.2 == moments.3 => 0.0,
            Some(moments) => squares_about_mean(&moments.0, &moments.1, count),
        }
    }
}

impl RegressionMetric {
    fn new(figure: Figure) -> Self {
        Self { figure, columns: Vec::new(), samples: 0 }
    }

    /// The mean of (y - t)^2.
    pub fn mean_squared_error() -> Self {
        Self::new(Figure::MeanSquared)
    }

    /// The root of the mean of (y - t)^2.
    pub fn root_mean_squared_error() -> Self {
        Self::new(Figure::RootMeanSquared)
    }

    /// The mean of |y - t|.
    pub fn mean_absolute_error() -> Self {
        Self::new(Figure::MeanAbsolute)
    }

    /// The mean of |y - t| / max(|t|, 2^-52): a share, not per cent.
    pub fn mean_absolute_percentage_error() -> Self {
        Self::new(Figure::MeanAbsolutePercentage)
    }

    /// The largest |y - t|, of all outputs.
    pub fn max_error() -> Self {
        Self::new(Figure::Max)
    }

    /// 1 - sum (y - t)^2 / sum (t - mean t)^2. Where all targets are the same 1 if there is no error, else 0; NaN for fewer
    /// than two samples.
    pub fn r2() -> Self {
        Self::new(Figure::R2)
    }

    /// 1 - variance (t - y) / variance t: R2 but for the error that all predictions share. Where all targets are the same 1 if
    /// all errors are, else 0.
    pub fn explained_variance() -> Self {
        Self::new(Figure::ExplainedVariance)
    }

    fn of_column(&self, column: &Column) -> f64 {
        let count = self.samples as f64;
        let explained = |rest: f64, all: f64| match (rest == 0.0, all == 0.0) {
            (_, false) => 1.0 - rest / all,
            (true, true) => 1.0,
            (false, true) => 0.0,
        };
        let about_mean = |moments: &Moments| moments.squares_about_mean(self.samples);
        match self.figure {
            Figure::MeanSquared | Figure::MeanAbsolute | Figure::MeanAbsolutePercentage => {
                column.errors.rounded() / count
            }
            Figure::RootMeanSquared => (column.errors.rounded() / count).sqrt(),
            Figure::Max => column.largest,
            Figure::R2 if self.samples < 2 => f64::NAN,
            Figure::R2 => explained(column.errors.rounded(), about_mean(&column.targets)),
            Figure::ExplainedVariance => {
                explained(about_mean(&column.differences), about_mean(&column.targets))
            }
        }
    }
}

impl<T: Element> Metric<T> for RegressionMetric {
    fn name(&self) -> String {
        match self.figure {
            Figure::MeanSquared => "mean_squared_error",
            Figure::RootMeanSquared => "root_mean_squared_error",
            Figure::MeanAbsolute => "mean_absolute_error",
            Figure::MeanAbsolutePercentage => "mean_absolute_percentage_error",
            Figure::Max => "max_error",
            Figure::R2 => "r2",
            Figure::ExplainedVariance => "explained_variance",
        }
        .to_owned()
    }

    fn reset(&mut self) {
        *self = Self::new(self.figure);
    }

    fn update(&mut self, batch: &Predictions<'_, T>) -> Result<()> {
        let (targets, width) = (batch.values("RegressionMetric")?, batch.width());
        if self.samples == 0 {
            self.columns = vec![Column::default(); width];
        }
        if self.columns.len() != width {
            let expected = format!("{} outputs", self.columns.len());
            return Err(Error::data("RegressionMetric", "batch", expected, format_args!("{width} outputs")));
        }
        for (outputs, targets) in batch.outputs().chunks_exact(width).zip(targets.chunks_exact(width)) {
            for (column, (&y, &t)) in self.columns.iter_mut().zip(outputs.iter().zip(targets)) {
                let (y, t) = (y.to_f64(), t.to_f64());
                let difference = t - y;
                match self.figure {
                    Figure::MeanSquared | Figure::RootMeanSquared | Figure::R2 => {
                        column.errors.add(difference * difference);
                    }
                    Figure::MeanAbsolute => column.errors.add(difference.abs()),
                    Figure::MeanAbsolutePercentage => {
                        column.errors.add(difference.abs() / t.abs().max(f64::EPSILON));
                    }
                    Figure::Max => column.largest = column.largest.max(difference.abs()),
                    Figure::ExplainedVariance => column.differences.add(difference),
                }
                if matches!(self.figure, Figure::R2 | Figure::ExplainedVariance) {
                    column.targets.add(t);
                }
            }
        }
        self.samples += batch.rows() as u64;
        Ok(())
    }

    fn value(&self) -> f64 {
        let figures = self.columns.iter().map(|column| self.of_column(column));
        match self.figure {
            _ if self.samples == 0 => f64::NAN,
            Figure::Max => figures.fold(0.0, f64::max),
            _ => figures.sum::<f64>() / self.columns.len() as f64,
        }
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.set_integer("samples", self.samples);
        state.set_integer("outputs", self.columns.len() as u64);
        for (index, column) in self.columns.iter().enumerate() {
            let mut part = State::new();
            part.set_integers("errors", column.errors.save());
            part.set_number("largest", column.largest);
            part.set_part("differences", column.differences.save());
            part.set_part("targets", column.targets.save());
            state.set_part(&index.to_string(), &part);
        }
        state
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let mut columns = Vec::new();
        // One that is missing ends it, however many there are said to be.
        for index in 0..state.integer("outputs")? {
            let part = state.part(&index.to_string());
            columns.push(Column {
                errors: ExactSum::of_state("errors", &part)?,
                largest: part.number("largest")?,
                differences: Moments::load(&part.part("differences"))?,
                targets: Moments::load(&part.part("targets"))?,
            });
        }
        (self.columns, self.samples) = (columns, state.integer("samples")?);
        Ok(())
    }
}

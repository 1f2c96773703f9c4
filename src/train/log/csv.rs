//! The figures of a run as a table.

use super::Start;
use super::lines::Lines;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::train::callback::{Callback, Control, Event, Run};
use crate::train::history::csv_field;
use std::path::PathBuf;

/// What the format is called in errors.
const FORMAT: &str = "CSV log";

/// Writes a CSV file with a row per epoch, or per so many steps, as Keras' `CSVLogger`.
///
/// A run that begins anew replaces the file. One that is resumed goes on with it: rows after the step at which it is resumed are cut
/// off, so that none is there twice. Numbers are as short as reads back exactly; NaN and infinities are `NaN`, `inf` and `-inf`.
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::train::{CsvLog, Fit};
/// use gemmule::Tensor;
///
/// let x = Tensor::from_slice(&[4, 1], &[0.0_f64, 1.0, 2.0, 3.0])?;
/// let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 2.0 * x))?;
/// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
/// model.compile(Loss::MeanSquaredError, Sgd::default())?;
///
/// let path = std::env::temp_dir().join(format!("gemmule-csv-{}.csv", std::process::id()));
/// let mut log = CsvLog::epochs(&path);
/// model.fit(&line, Fit::new().epochs(3).callback(&mut log))?;
/// let text = std::fs::read_to_string(&path).unwrap();
/// assert!(text.starts_with("epoch,step,loss,learning_rate,samples,seconds\n1,1,"));
/// assert_eq!(text.lines().count(), 4);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Debug)]
pub struct CsvLog {
    path: PathBuf,
    /// Steps between rows; none for rows of epochs.
    every: Option<u64>,
    file: Option<Lines>,
    /// The first line of the file that there is.
    header: Option<String>,
}

impl CsvLog {
    /// A row after each epoch: its number, all steps up to its end, every figure of [`EpochLog`](crate::train::EpochLog).
    pub fn epochs(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), every: None, file: None, header: None }
    }

    /// A row after every `n` steps: their number since the beginning of the run, the epoch, the samples, loss and step size of the last
    /// of them. A zero is taken as 1.
    pub fn steps(path: impl Into<PathBuf>, n: u64) -> Self {
        Self { every: Some(n.max(1)), ..Self::epochs(path) }
    }

    /// Opens the file: a new one, or what is to be kept of the old.
    fn begin(&mut self, start: Start) -> Result<()> {
        self.header = None;
        if !start.is_resumed() {
            self.file = Some(Lines::create(&self.path)?);
            return Ok(());
        }
        let last = if self.every.is_some() { start.total_steps() } else { start.epoch - 1 };
        let header = &mut self.header;
        let keep = |number: usize, line: &str| {
            if number == 1 {
                *header = Some(line.to_owned());
                return Ok(true);
            }
            let first = line.split(',').next().unwrap_or("");
            match first.parse::<u64>() {
                Ok(key) => Ok(key <= last),
                Err(_) => Err(("a row that begins with a number".to_owned(), format!("{first:?}"))),
            }
        };
        self.file = Some(Lines::resume(&self.path, FORMAT, keep)?);
        Ok(())
    }

    /// Adds a row, and before the first one the names of its columns.
    fn row(&mut self, row: &[(&str, String)]) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Err(Error::State { operation: "CsvLog", what: "the run has not begun" });
        };
        let join = |fields: Vec<String>| fields.join(",");
        let names = join(row.iter().map(|(name, _)| csv_field(name)).collect());
        match &self.header {
            Some(header) if *header == names => {}
            Some(header) => {
                let (path, what) = (file.path().to_owned(), "columns".to_owned());
                return Err(Error::Format {
                    path,
                    format: FORMAT,
                    what,
                    expected: names,
                    got: header.clone(),
                });
            }
            None => {
                file.add(&format!("{names}\n"))?;
                self.header = Some(names);
            }
        }
        file.add(&(join(row.iter().map(|(_, value)| value.clone()).collect()) + "\n"))
    }
}

impl<T: Element> Callback<T> for CsvLog {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control> {
        if let Some(start) = Start::of(event) {
            self.begin(start)?;
        }
        match (event, self.every) {
            (Event::EpochEnd(log), None) => {
                let mut row = vec![("epoch", log.epoch.to_string()), ("step", run.total_steps().to_string())];
                row.extend(log.values().into_iter().map(|(name, value)| (name, format!("{value:?}"))));
                row.push(("samples", log.samples.to_string()));
                row.push(("seconds", format!("{:?}", log.seconds)));
                self.row(&row)?;
            }
            (&Event::StepEnd { epoch, samples, loss, .. }, Some(every))
                if run.total_steps().is_multiple_of(every) =>
            {
                self.row(&[
                    ("step", run.total_steps().to_string()),
                    ("epoch", epoch.to_string()),
                    ("samples", samples.to_string()),
                    ("loss", format!("{loss:?}")),
                    ("learning_rate", format!("{:?}", run.learning_rate())),
                ])?;
            }
            _ => {}
        }
        Ok(Control::Continue)
    }
}

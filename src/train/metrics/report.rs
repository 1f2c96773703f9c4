//! Precision, recall and F1 of every class as a table.

use super::counts::{Average, Count, Counts, Ratio, ZeroDivision};
use crate::error::{Error, Result};
use std::fmt;

/// Precision, recall, F1 and support of every class, and their means: shown as scikit-learn's `classification_report` shows
/// them.
///
/// ```
/// use gemmule::train::metrics::classification_report;
/// let report = classification_report(&[0, 1, 1, 0], &[0, 1, 0, 0], Some(&["cat", "dog"]))?;
/// assert!(report.to_string().contains("         dog       1.00      0.50      0.67         2\n"));
/// assert_eq!(report.recall(1), 0.5);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ClassificationReport {
    counts: Counts,
    names: Vec<String>,
}

/// The columns.
const RATIOS: [Ratio; 3] = [Ratio::Precision, Ratio::Recall, Ratio::F(1.0)];

impl ClassificationReport {
    pub(super) fn new(counts: Counts, names: Vec<String>) -> Result<Self> {
        let classes = counts.classes.len();
        if names.len() != classes {
            let expected = format_args!("{classes} names, one per class").to_string();
            return Err(Error::shape("classification_report", "names", expected, names.len()));
        }
        Ok(Self { counts, names })
    }

    fn class(&self, class: usize) -> Count {
        self.counts.classes.get(class).copied().unwrap_or_default()
    }

    /// The precision of the class in this row, as the two below: 0 for a row that there is not.
    pub fn precision(&self, row: usize) -> f64 {
        self.class(row).ratio(Ratio::Precision, ZeroDivision::Zero)
    }

    /// The recall of the class in this row.
    pub fn recall(&self, row: usize) -> f64 {
        self.class(row).ratio(Ratio::Recall, ZeroDivision::Zero)
    }

    /// The F1 of the class in this row.
    pub fn f1(&self, row: usize) -> f64 {
        self.class(row).ratio(Ratio::F(1.0), ZeroDivision::Zero)
    }

    /// The samples of the class in this row.
    pub fn support(&self, row: usize) -> u64 {
        self.class(row).actual
    }
}

impl fmt::Display for ClassificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = longest.max("weighted avg".len());
        let headers = ["precision", "recall", "f1-score", "support"];
        let [precision, recall, f1, support] = headers;
        writeln!(f, "{:>width$}  {precision:>9} {recall:>9} {f1:>9} {support:>9}\n", "")?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, ratios: [f64; 3], support: u64| {
            let [p, r, f1] = ratios;
            writeln!(f, "{name:>width$}  {p:>9.2} {r:>9.2} {f1:>9.2} {support:>9}")
        };
        for (name, count) in self.names.iter().zip(&self.counts.classes) {
            row(f, name, RATIOS.map(|ratio| count.ratio(ratio, ZeroDivision::Zero)), count.actual)?;
        }
        let (samples, accuracy) = (self.counts.samples, self.counts.accuracy());
        writeln!(f, "\n{:>width$}  {:>9} {:>9} {accuracy:>9.2} {samples:>9}", "accuracy", "", "")?;
        // Over all rows, those of classes without samples too.
        let all = Counts { multi_label: true, ..self.counts.clone() };
        for (name, average) in [("macro avg", Average::Macro), ("weighted avg", Average::Weighted)] {
            row(f, name, RATIOS.map(|ratio| all.ratio(ratio, average, ZeroDivision::Zero)), samples)?;
        }
        Ok(())
    }
}

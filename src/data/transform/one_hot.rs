//! Categories as indicators.

use super::parts::{Parts, Reader};
use super::statistics::{Of, blocks, check_fitted, column};
use crate::context::Context;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::kernel::stages::Stage;
use std::collections::BTreeSet;

/// What becomes of a category that the training part did not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is an error that names sample and category.
    #[default]
    Error,
    /// All its indicators are 0.
    Ignore,
}

/// Columns of whole numbers to one indicator per category: 1 for the sample's own, 0 for the others. As scikit-learn's
/// `OneHotEncoder`.
///
/// The indicators of a column stand where it stood, its categories in ascending order; the other columns keep their order.
/// The features become flat.
///
/// ```
/// use gemmule::data::{Dataset, OneHot, Unknown};
/// use gemmule::{BatchSource, Context, Tensor};
///
/// let x = Tensor::from_slice(&[3, 3], &[0.5_f32, 7.0, 0.1, 0.6, 2.0, 0.2, 0.7, 7.0, 0.3])?;
/// let train = Dataset::from_values(x)?;
/// let one_hot = OneHot::new(&[1]).unknown(Unknown::Ignore).fit(&train)?;
/// assert_eq!(one_hot.categories(), [vec![2.0, 7.0]]);
/// let mut row = [0.0_f32; 4];
/// one_hot.apply(&train)?.gather_features(&Context::detect()?, &[0], &mut row);
/// assert_eq!(row, [0.5, 0.0, 1.0, 0.1]);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OneHot {
    columns: Vec<usize>,
    unknown: Unknown,
    /// 0: not fitted.
    features: usize,
    /// Of each of `columns`.
    categories: Vec<Vec<f64>>,
}

/// Whole numbers up to here are exact.
const MOST: f64 = 9_007_199_254_740_992.0;

impl OneHot {
    /// For these columns (their places in a flat sample), not fitted yet.
    #[must_use]
    pub fn new(columns: &[usize]) -> Self {
        Self { columns: columns.to_vec(), unknown: Unknown::Error, features: 0, categories: Vec::new() }
    }

    /// What becomes of categories that the training part did not have.
    #[must_use]
    pub fn unknown(self, unknown: Unknown) -> Self {
        Self { unknown, ..self }
    }

    /// Finds the categories of `train`.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no column, or one is named twice or out of range; [`Error::Data`] if a value is
    /// not a whole number (names sample and feature).
    pub fn fit(self, train: &Dataset) -> Result<Self> {
        let operation = "OneHot::fit";
        self.check_columns(operation, train.features())?;
        let mut found = vec![BTreeSet::new(); self.columns.len()];
        self.cells(operation, train, |_, at, value| {
            found[at].insert(value);
            Ok(())
        })?;
        let categories = found.iter().map(|set| set.iter().map(|&value| value as f64).collect());
        Ok(Self { features: train.features(), categories: categories.collect(), ..self })
    }

    fn check_columns(&self, operation: &'static str, features: usize) -> Result<()> {
        if self.columns.is_empty() {
            return Err(Error::argument(operation, "columns", "at least 1", 0));
        }
        for (i, &column) in self.columns.iter().enumerate() {
            if column >= features {
                return Err(Error::argument(operation, "columns", format!("each below {features}"), column));
            }
            if self.columns[..i].contains(&column) {
                return Err(Error::argument(operation, "columns", "each once", format!("{column} twice")));
            }
        }
        Ok(())
    }

    /// Gives each sample's whole numbers to `each`: sample, which of the columns, value.
    fn cells(
        &self,
        operation: &'static str,
        data: &Dataset,
        mut each: impl FnMut(usize, usize, i64) -> Result<()>,
    ) -> Result<()> {
        blocks(operation, &Context::detect()?, data, Of::Features, |first, block| {
            for (row, x) in block.chunks_exact(data.features()).enumerate() {
                for (at, &feature) in self.columns.iter().enumerate() {
                    let value = x[feature];
                    if value.trunc() != value || value.abs() > MOST {
                        let what = format!("sample {}, {}", first + row, column(Of::Features, feature));
                        return Err(Error::data(operation, what, "a whole number up to 2^53", value));
                    }
                    each(first + row, at, value as i64)?;
                }
            }
            Ok(())
        })
    }

    /// The columns that are encoded.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The categories of each of the columns, ascending; empty before it is fitted.
    pub fn categories(&self) -> &[Vec<f64>] {
        &self.categories
    }

    /// `data` with encoded columns: a view. Looks at every sample unless unknown categories are ignored.
    ///
    /// # Errors
    /// [`Error::State`] before it is fitted; [`Error::Data`] for another number of features, and for a category that
    /// the training part did not have, unless those are ignored.
    pub fn apply(&self, data: &Dataset) -> Result<Dataset> {
        let operation = "OneHot::apply";
        check_fitted(operation, "features", self.features, data.features())?;
        if self.unknown == Unknown::Error {
            self.cells(operation, data, |sample, at, value| {
                let categories = &self.categories[at];
                if categories.binary_search_by(|category| category.total_cmp(&(value as f64))).is_err() {
                    let what = format!("sample {sample}, {}", column(Of::Features, self.columns[at]));
                    let expected = format!("one of the {} categories of the training part", categories.len());
                    return Err(Error::data(operation, what, expected, value));
                }
                Ok(())
            })?;
        }
        let (mut columns, mut codes) = (Vec::new(), Vec::new());
        for feature in 0..self.features {
            match self.columns.iter().position(|&column| column == feature) {
                None => {
                    columns.push(feature);
                    codes.push(f64::NAN);
                }
                Some(at) => {
                    columns.extend(std::iter::repeat_n(feature, self.categories[at].len()));
                    codes.extend_from_slice(&self.categories[at]);
                }
            }
        }
        Ok(data.with_stage(Some(&columns), Stage::Indicate { codes }))
    }

    /// What was found, by name: see [`Parts`].
    ///
    /// # Errors
    /// [`Error::State`] before it is fitted.
    pub fn to_parts(&self) -> Result<Parts> {
        check_fitted("OneHot::to_parts", "features", self.features, self.features)?;
        let numbers = |values: &mut dyn Iterator<Item = usize>| values.map(|value| value as f64).collect();
        let parts = [
            ("features", vec![self.features as f64]),
            ("columns", numbers(&mut self.columns.iter().copied())),
            ("counts", numbers(&mut self.categories.iter().map(Vec::len))),
            ("categories", self.categories.concat()),
            ("ignore_unknown", vec![f64::from(u8::from(self.unknown == Unknown::Ignore))]),
        ];
        Ok(parts.map(|(name, values)| (name.to_owned(), values)).into())
    }

    /// What [`to_parts`](Self::to_parts) returned, back again.
    ///
    /// # Errors
    /// [`Error::Data`] if a part is missing, too many, of another length or out of its range, or categories do not
    /// ascend; [`Error::Argument`] if a column is out of range or named twice.
    pub fn from_parts(parts: &Parts) -> Result<Self> {
        let operation = "OneHot::from_parts";
        let mut parts = Reader::new(operation, parts);
        let features = parts.take_whole("features", Some(1), 1 << 53)?[0];
        let columns = parts.take_whole("columns", None, features)?;
        let all = parts.take("categories", None)?;
        let counts = parts.take_whole("counts", Some(columns.len()), all.len() + 1)?;
        let ignore = parts.take_flag("ignore_unknown")?;
        parts.finish()?;
        let mut rest = all;
        let mut categories = Vec::with_capacity(columns.len());
        for (at, &count) in counts.iter().enumerate() {
            let expected = "so many categories as are counted, ascending whole numbers";
            let wrong = |got: String| {
                Err(Error::data(
                    operation,
                    format!("the categories of column {}", columns[at]),
                    expected,
                    got,
                ))
            };
            let Some((own, after)) = rest.split_at_checked(count).filter(|_| count > 0) else {
                return wrong(format!("{count} counted, {} there", rest.len()));
            };
            let whole = own.iter().all(|value| value.trunc() == *value && value.abs() <= MOST);
            if !(whole && own.is_sorted_by(|a, b| a < b)) {
                return wrong(format!("{own:?}"));
            }
            categories.push(own.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Error::data(operation, "part \"categories\"", all.len() - rest.len(), all.len()));
        }
        let unknown = if ignore { Unknown::Ignore } else { Unknown::Error };
        let fitted = Self { columns, unknown, features, categories };
        fitted.check_columns(operation, features)?;
        Ok(fitted)
    }
}

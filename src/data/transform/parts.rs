//! A fitted transform as named numbers.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The numbers of a fitted transform by name: what a model file keeps of it.
///
/// | transform | name | numbers |
/// | --- | --- | --- |
/// | [`Standardize`](super::Standardize) | `mean`, `scale` | one per feature |
/// | [`MinMax`](super::MinMax) | `minimum`, `maximum` | one per feature |
/// | | `range` | lower, upper |
/// | | `clip` | 1 or 0 |
/// | [`OneHot`](super::OneHot) | `features` | how many there are before |
/// | | `columns` | the columns that are encoded |
/// | | `counts` | the number of categories of each of these |
/// | | `categories` | the categories of the first, then of the next |
/// | | `ignore_unknown` | 1 or 0 |
/// | [`Transforms`](super::Transforms) | `0.standardize.mean`, `1.one_hot.counts` ... | step, kind, name |
///
/// The kinds are `standardize`, `min_max` and `one_hot`. Numbers are kept to the bit, so what is read back transforms to
/// the bit as before.
pub type Parts = BTreeMap<String, Vec<f64>>;

/// Takes the parts of a transform one by one; none may be left over.
pub(super) struct Reader<'a> {
    pub operation: &'static str,
    pub parts: &'a Parts,
    taken: usize,
}

impl<'a> Reader<'a> {
    pub fn new(operation: &'static str, parts: &'a Parts) -> Self {
        Self { operation, parts, taken: 0 }
    }

    /// The finite numbers of that name: `count` of them, or any number that is not 0.
    pub fn take(&mut self, name: &str, count: Option<usize>) -> Result<&'a [f64]> {
        let operation = self.operation;
        let Some(values) = self.parts.get(name) else {
            let names = self.parts.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::data(operation, "parts", format!("{name:?}"), format!("only [{names}]")));
        };
        self.taken += 1;
        let what = || format!("part {name:?}");
        if values.is_empty() || count.is_some_and(|count| values.len() != count) {
            let expected = count.map_or("at least 1 number".to_owned(), |count| format!("{count} numbers"));
            return Err(Error::data(operation, what(), expected, values.len()));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let what = format!("{}, number {at}", what());
            return Err(Error::data(operation, what, "a finite number", values[at]));
        }
        Ok(values)
    }

    /// Whole numbers below `limit`.
    pub fn take_whole(&mut self, name: &str, count: Option<usize>, limit: usize) -> Result<Vec<usize>> {
        let values = self.take(name, count)?;
        let whole = |&value: &f64| value >= 0.0 && value < limit as f64 && value.trunc() == value;
        if let Some(at) = values.iter().position(|value| !whole(value)) {
            let what = format!("part {name:?}, number {at}");
            return Err(Error::data(
                self.operation,
                what,
                format!("a whole number below {limit}"),
                values[at],
            ));
        }
        Ok(values.iter().map(|&value| value as usize).collect())
    }

    /// 1 or 0.
    pub fn take_flag(&mut self, name: &str) -> Result<bool> {
        Ok(self.take_whole(name, Some(1), 2)? == [1])
    }

    /// No other part is there.
    pub fn finish(self) -> Result<()> {
        if self.taken != self.parts.len() {
            let names = self.parts.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::data(self.operation, "parts", format!("{} of them", self.taken), names));
        }
        Ok(())
    }
}

//! How much: a number, which is a range about nothing, or a range.

use crate::error::{Error, Result};
use crate::rng::Rng;
use std::ops::RangeInclusive;

/// How much of an operation a sample gets, each amount with the same probability: torchvision's number or pair.
///
/// A number x means the range about what changes nothing: `-x..=x` for degrees and shifts, `1 - x..=1 + x` for factors. A range
/// means itself; one of a single number is no chance at all.
///
/// ```
/// use gemmule::data::Amount;
/// assert_eq!(Amount::from(10.0), Amount::Within(10.0));
/// assert_eq!(Amount::from(0.0..=90.0), Amount::Between(0.0, 90.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// At most so far from what changes nothing.
    Within(f64),
    /// From the first to the second.
    Between(f64, f64),
}

impl From<f64> for Amount {
    fn from(most: f64) -> Self {
        Self::Within(most)
    }
}

impl From<RangeInclusive<f64>> for Amount {
    fn from(range: RangeInclusive<f64>) -> Self {
        Self::Between(*range.start(), *range.end())
    }
}

/// A range that was checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    low: f64,
    high: f64,
}

impl Span {
    /// The range of `amount` about `center`.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is not a finite range within `bounds`.
    pub fn new(
        operation: &'static str,
        what: &'static str,
        amount: Amount,
        center: f64,
        bounds: Option<(f64, f64)>,
    ) -> Result<Self> {
        let (low, high) = match amount {
            Amount::Within(most) if most >= 0.0 => (center - most, center + most),
            Amount::Within(most) => {
                return Err(Error::argument(operation, what, "at least 0, or a range", most));
            }
            Amount::Between(low, high) => (low, high),
        };
        let got = || format!("{low}..={high}");
        if !(low <= high && (high - low).is_finite()) {
            return Err(Error::argument(operation, what, "a finite range, the lower end first", got()));
        }
        if let Some((least, most)) = bounds
            && (low < least || high > most)
        {
            return Err(Error::argument(operation, what, format_args!("within {least}..={most}"), got()));
        }
        Ok(Self { low, high })
    }

    /// A number of it. Advances by 2 words.
    pub fn draw(self, rng: &mut Rng) -> f64 {
        self.low + (self.high - self.low) * rng.uniform_f64()
    }
}

/// # Errors
/// [`Error::Argument`] if `value` is no probability.
pub(super) fn probability(operation: &'static str, value: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::argument(operation, "p", "a probability in 0..=1", value))
}

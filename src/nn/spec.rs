//! What a layer, a loss or an optimiser is, as names and values: what a model file holds of it.

use crate::error::{Error, Result};

/// A kind and its options: enough to make the same layer again.
///
/// A layer describes itself by [`Layer::spec`](super::Layer::spec); [`Layers`](super::Layers) makes one from a description.
///
/// ```
/// use gemmule::nn::{Dense, Layer, OptionValue, Spec};
///
/// let spec = Dense::new(3, 2).spec().expect("a layer of the crate describes itself");
/// assert_eq!(spec.kind, "dense");
/// assert_eq!(spec.integer("inputs")?, 3);
/// assert_eq!(spec.get("outputs"), Some(&OptionValue::Integer(2)));
///
/// let mine = Spec::new("square").with("scale", 0.5).with("steps", 3).with("wraps", true);
/// assert_eq!(mine.number("scale")?, 0.5);
/// assert_eq!(mine.flag("wraps")?, true);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Spec {
    /// For example `dense`.
    pub kind: String,
    /// Names and values, in order; no name twice.
    pub options: Vec<(String, OptionValue)>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OptionValue {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number, which has to be finite to be saved; it comes back with the same bits.
    Number(f64),
    /// A text.
    Text(String),
    /// Numbers.
    Numbers(Vec<f64>),
    /// Something that has options of its own.
    Spec(Spec),
    /// Several such, in order: the layers of a chain.
    Specs(Vec<Spec>),
}

impl From<bool> for OptionValue {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<i32> for OptionValue {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i64> for OptionValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

/// Above `i64::MAX`, which no size in memory reaches, that.
impl From<usize> for OptionValue {
    fn from(value: usize) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for OptionValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for OptionValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for OptionValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<f64>> for OptionValue {
    fn from(value: Vec<f64>) -> Self {
        Self::Numbers(value)
    }
}

impl From<Spec> for OptionValue {
    fn from(value: Spec) -> Self {
        Self::Spec(value)
    }
}

impl From<Vec<Spec>> for OptionValue {
    fn from(value: Vec<Spec>) -> Self {
        Self::Specs(value)
    }
}

impl OptionValue {
    fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "true or false",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Numbers(_) => "numbers",
            Self::Spec(_) => "something with options",
            Self::Specs(_) => "descriptions",
        }
    }
}

impl Spec {
    /// A kind without options.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), options: Vec::new() }
    }

    /// The same with one more option, or with another value of one that it has.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<OptionValue>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.options.iter_mut().find(|(it, _)| *it == name) {
            Some((_, old)) => *old = value,
            None => self.options.push((name, value)),
        }
        self
    }

    /// An option, if it is there.
    pub fn get(&self, name: &str) -> Option<&OptionValue> {
        self.options.iter().find(|(it, _)| it == name).map(|(_, value)| value)
    }

    fn refuse<R>(&self, name: &str, expected: &str) -> Result<R> {
        let got = self.get(name).map_or("nothing", OptionValue::kind);
        let expected = format_args!("{expected} called {name}").to_string();
        Err(Error::argument("Spec", "option", format_args!("{expected} in {}", self.kind), got))
    }

    /// An integer.
    ///
    /// # Errors
    /// [`Error::Argument`] if the option is not there or is of another type; so all methods here.
    pub fn integer(&self, name: &str) -> Result<i64> {
        match self.get(name) {
            Some(OptionValue::Integer(value)) => Ok(*value),
            _ => self.refuse(name, "an integer"),
        }
    }

    /// A size: an integer from 0 on.
    ///
    /// # Errors
    /// As [`integer`](Self::integer); also if it is negative or too large.
    pub fn size(&self, name: &str) -> Result<usize> {
        match self.get(name) {
            Some(OptionValue::Integer(value)) if usize::try_from(*value).is_ok() => Ok(*value as usize),
            _ => self.refuse(name, "an integer from 0 on"),
        }
    }

    /// A number; an integer is one.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn number(&self, name: &str) -> Result<f64> {
        match self.get(name) {
            Some(OptionValue::Number(value)) => Ok(*value),
            Some(OptionValue::Integer(value)) => Ok(*value as f64),
            _ => self.refuse(name, "a number"),
        }
    }

    /// True or false.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            Some(OptionValue::Flag(value)) => Ok(*value),
            _ => self.refuse(name, "true or false"),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn text(&self, name: &str) -> Result<&str> {
        match self.get(name) {
            Some(OptionValue::Text(value)) => Ok(value),
            _ => self.refuse(name, "a text"),
        }
    }

    /// Numbers.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn numbers(&self, name: &str) -> Result<&[f64]> {
        match self.get(name) {
            Some(OptionValue::Numbers(values)) => Ok(values),
            _ => self.refuse(name, "numbers"),
        }
    }

    /// Something with options of its own.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn spec(&self, name: &str) -> Result<&Spec> {
        match self.get(name) {
            Some(OptionValue::Spec(spec)) => Ok(spec),
            _ => self.refuse(name, "something with options"),
        }
    }

    /// Descriptions, such as those of the layers of a chain.
    ///
    /// # Errors
    /// As [`integer`](Self::integer).
    pub fn specs(&self, name: &str) -> Result<&[Self]> {
        match self.get(name) {
            Some(OptionValue::Specs(specs)) => Ok(specs),
            // In a file an empty list is one of anything.
            Some(OptionValue::Numbers(none)) if none.is_empty() => Ok(&[]),
            _ => self.refuse(name, "descriptions"),
        }
    }

    /// Refuses options that are none of `names`: they may come from a later version, and leaving them out would make
    /// something else.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn has_only(&self, names: &[&str]) -> Result<()> {
        match self.options.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known = if names.is_empty() { "no options".to_owned() } else { names.join(", ") };
                let expected = format!("{known} in {}", self.kind);
                Err(Error::argument("Spec", "option", expected, name))
            }
        }
    }
}

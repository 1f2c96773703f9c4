//! Several transforms, one after the other.

use super::parts::Parts;
use super::{MinMax, OneHot, Standardize};
use crate::data::Dataset;
use crate::error::{Error, Result};

/// One transform of the features.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Transform {
    /// Mean 0, variance 1.
    Standardize(Standardize),
    /// A range.
    MinMax(MinMax),
    /// Indicators of categories.
    OneHot(OneHot),
}

impl From<Standardize> for Transform {
    fn from(transform: Standardize) -> Self {
        Self::Standardize(transform)
    }
}

impl From<MinMax> for Transform {
    fn from(transform: MinMax) -> Self {
        Self::MinMax(transform)
    }
}

impl From<OneHot> for Transform {
    fn from(transform: OneHot) -> Self {
        Self::OneHot(transform)
    }
}

impl Transform {
    /// Fits it to the features of `train`.
    ///
    /// # Errors
    /// Those of the transform.
    pub fn fit(self, train: &Dataset) -> Result<Self> {
        Ok(match self {
            Self::Standardize(transform) => transform.fit(train)?.into(),
            Self::MinMax(transform) => transform.fit(train)?.into(),
            Self::OneHot(transform) => transform.fit(train)?.into(),
        })
    }

    /// `data` with transformed features: a view.
    ///
    /// # Errors
    /// Those of the transform.
    pub fn apply(&self, data: &Dataset) -> Result<Dataset> {
        match self {
            Self::Standardize(transform) => transform.apply(data),
            Self::MinMax(transform) => transform.apply(data),
            Self::OneHot(transform) => transform.apply(data),
        }
    }

    /// What it is called in [`Parts`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Standardize(_) => "standardize",
            Self::MinMax(_) => "min_max",
            Self::OneHot(_) => "one_hot",
        }
    }

    fn to_parts(&self) -> Result<Parts> {
        match self {
            Self::Standardize(transform) => transform.to_parts(),
            Self::MinMax(transform) => transform.to_parts(),
            Self::OneHot(transform) => transform.to_parts(),
        }
    }
}

/// Transforms of the features, one after the other: each is fitted to what those before it make of the training part.
/// scikit-learn's `Pipeline`.
///
/// ```
/// use gemmule::Tensor;
/// use gemmule::data::{Dataset, OneHot, Standardize, Transforms, train_test_split};
///
/// let x = Tensor::from_fn(&[20, 2], |at| if at[1] == 0 { (at[0] % 3) as f32 } else { at[0] as f32 })?;
/// let (train, test) = train_test_split(&Dataset::from_values(x)?, 0.2, 0)?;
///
/// let transforms = Transforms::new().with(OneHot::new(&[0])).with(Standardize::new()).fit(&train)?;
/// let (train, test) = (transforms.apply(&train)?, transforms.apply(&test)?);
/// assert_eq!((train.features(), test.features()), (4, 4));
///
/// // With the model's file go the numbers.
/// let parts = transforms.to_parts()?;
/// assert_eq!(parts["0.one_hot.categories"], [0.0, 1.0, 2.0]);
/// assert_eq!(parts["1.standardize.mean"].len(), 4);
/// assert_eq!(Transforms::from_parts(&parts)?, transforms);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transforms(Vec<Transform>);

impl Transforms {
    /// None: data sets stay as they are.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And then this one.
    #[must_use]
    pub fn with(mut self, transform: impl Into<Transform>) -> Self {
        self.0.push(transform.into());
        self
    }

    /// The transforms in order.
    pub fn steps(&self) -> &[Transform] {
        &self.0
    }

    /// Fits all of them to the features of `train`.
    ///
    /// # Errors
    /// Those of the transforms.
    pub fn fit(self, train: &Dataset) -> Result<Self> {
        let mut data = train.clone();
        let mut fitted = Vec::with_capacity(self.0.len());
        for transform in self.0 {
            let transform = transform.fit(&data)?;
            data = transform.apply(&data)?;
            fitted.push(transform);
        }
        Ok(Self(fitted))
    }

    /// `data` with transformed features: a view.
    ///
    /// # Errors
    /// Those of the transforms; [`Error::State`] before they are fitted.
    pub fn apply(&self, data: &Dataset) -> Result<Dataset> {
        self.0.iter().try_fold(data.clone(), |data, transform| transform.apply(&data))
    }

    /// All numbers by name: see [`Parts`].
    ///
    /// # Errors
    /// [`Error::State`] before they are fitted.
    pub fn to_parts(&self) -> Result<Parts> {
        let mut all = Parts::new();
        for (step, transform) in self.0.iter().enumerate() {
            let parts = transform.to_parts()?.into_iter();
            all.extend(parts.map(|(name, values)| (format!("{step}.{}.{name}", transform.kind()), values)));
        }
        Ok(all)
    }

    /// What [`to_parts`](Self::to_parts) returned, back again. No part gives no transform.
    ///
    /// # Errors
    /// [`Error::Data`] if a name is not `step.kind.name` with a kind that there is, a step is missing or has two kinds,
    /// or a transform's own parts are wrong.
    pub fn from_parts(parts: &Parts) -> Result<Self> {
        let operation = "Transforms::from_parts";
        let mut steps: std::collections::BTreeMap<usize, (&str, Parts)> = std::collections::BTreeMap::new();
        for (name, values) in parts {
            let mut words = name.splitn(3, '.');
            let step = words.next().and_then(|step| step.parse().ok());
            let (Some(step), Some(kind), Some(own)) = (step, words.next(), words.next()) else {
                return Err(Error::data(operation, "the name of a part", "step.kind.name", name));
            };
            let entry = steps.entry(step).or_insert((kind, Parts::new()));
            if entry.0 != kind {
                return Err(Error::data(operation, format!("step {step}"), entry.0, kind));
            }
            entry.1.insert(own.to_owned(), values.clone());
        }
        let mut transforms = Vec::with_capacity(steps.len());
        for (expected, (step, (kind, parts))) in steps.iter().enumerate() {
            if expected != *step {
                return Err(Error::data(
                    operation,
                    "steps",
                    format!("step {expected}"),
                    format!("step {step}"),
                ));
            }
            transforms.push(match *kind {
                "standardize" => Standardize::from_parts(parts)?.into(),
                "min_max" => MinMax::from_parts(parts)?.into(),
                "one_hot" => OneHot::from_parts(parts)?.into(),
                kind => {
                    let expected = "standardize, min_max or one_hot";
                    return Err(Error::data(operation, format!("the kind of step {step}"), expected, kind));
                }
            });
        }
        Ok(Self(transforms))
    }
}

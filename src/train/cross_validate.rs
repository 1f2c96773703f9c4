//! k models, each tested on what it was not trained on.

use super::history::History;
use super::predict::Evaluation;
use crate::data::{Dataset, Splitter, Transforms};
use crate::error::Result;
use crate::kernel::Element;
use crate::nn::Model;
use std::fmt;

/// What a fold's model is trained on and what it is tested on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoldData {
    /// The fold, from 0.
    pub fold: usize,
    /// The training part, transformed.
    pub train: Dataset,
    /// The test part, transformed by what was fitted to the training part.
    pub test: Dataset,
    /// The transforms, fitted to the training part.
    pub transforms: Transforms,
}

/// What one fold gave.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoldScore {
    /// The fold, from 0.
    pub fold: usize,
    /// Loss and accuracy on the test part.
    pub test: Evaluation,
    /// Those on the training part after the training, if they were asked for.
    pub train: Option<Evaluation>,
    /// Figures of one's own, by name.
    pub scores: Vec<(String, f64)>,
    /// The figures of the training.
    pub history: History,
}

/// Mean and standard deviation of a figure over the folds. The deviation is the population's (divided by the number of
/// folds), as `np.std` has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

impl Spread {
    /// Of these figures; `None` if there are none.
    ///
    /// ```
    /// use gemmule::train::Spread;
    ///
    /// let spread = Spread::of([0.5, 0.9]).unwrap();
    /// assert_eq!(format!("{spread:.2}"), "0.70 ± 0.20");
    /// ```
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let figures: Vec<f64> = figures.into_iter().collect();
        if figures.is_empty() {
            return None;
        }
        let count = figures.len() as f64;
        let mean = figures.iter().sum::<f64>() / count;
        let squares = figures.iter().map(|figure| (figure - mean) * (figure - mean)).sum::<f64>();
        Some(Self { mean, std: (squares / count).sqrt() })
    }
}

/// The mean, `±`, and the deviation, in the precision that is asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mean.fmt(f)?;
        f.write_str(" ± ")?;
        self.std.fmt(f)
    }
}

/// What all folds gave.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CrossValidation {
    /// One entry per fold, in order.
    pub folds: Vec<FoldScore>,
}

impl CrossValidation {
    /// The loss on the test parts.
    pub fn test_loss(&self) -> Option<Spread> {
        Spread::of(self.folds.iter().map(|fold| fold.test.loss))
    }

    /// The accuracy on the test parts; only for class targets.
    pub fn test_accuracy(&self) -> Option<Spread> {
        self.spread(|fold| fold.test.accuracy)
    }

    /// The loss on the training parts, if it was asked for.
    pub fn train_loss(&self) -> Option<Spread> {
        self.spread(|fold| Some(fold.train?.loss))
    }

    /// The accuracy on the training parts, if it was asked for; only for class targets.
    pub fn train_accuracy(&self) -> Option<Spread> {
        self.spread(|fold| fold.train?.accuracy)
    }

    /// A figure of one's own; `None` if a fold has none of that name.
    pub fn score(&self, name: &str) -> Option<Spread> {
        self.spread(|fold| fold.scores.iter().find(|(own, _)| own == name).map(|&(_, score)| score))
    }

    /// A figure that every fold has.
    pub fn spread(&self, figure: impl Fn(&FoldScore) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.folds.iter().map(figure).collect::<Option<Vec<_>>>()?)
    }
}

/// Figures of one's own for a fold's model.
type Scoring<'a, T> = dyn FnMut(&mut Model<T>, &FoldData) -> Result<Vec<(String, f64)>> + 'a;

/// Options of a cross-validation.
///
/// ```
/// use gemmule::data::{Dataset, KFold, Standardize, Transforms};
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Adam;
/// use gemmule::train::{CrossValidate, Fit};
/// use gemmule::{Result, Tensor};
///
/// fn main() -> Result<()> {
///     let x = Tensor::from_fn(&[30, 1], |at| at[0] as f32)?;
///     let data = Dataset::from_values(x.clone())?.with_values(x.map(|x| 0.1 * x - 1.0))?;
///     let net = Sequential::new().with(Dense::new(1, 1));
///     let result = CrossValidate::new(&KFold::new(3).shuffle(0))
///         .transforms(Transforms::new().with(Standardize::new()))
///         .train_scores(true)
///         .scoring(|model, fold| {
///             let (predicted, actual) = (model.predict(&fold.test)?, fold.test.target_values()?);
///             let errors = predicted.as_slice().iter().zip(actual.as_slice());
///             let sum: f64 = errors.map(|(&p, a)| (f64::from(p) - a).abs()).sum();
///             Ok(vec![("mean absolute error".to_owned(), sum / fold.test.len() as f64)])
///         })
///         .run(
///             &data,
///             |fold| {
///                 let mut model = net.build::<f32>(fold.fold as u64)?;
///                 model.compile(Loss::MeanSquaredError, Adam { learning_rate: 0.1, ..Adam::default() })?;
///                 Ok(model)
///             },
///             |model, fold| model.fit(&fold.train, Fit::new().epochs(100).batch_size(10)),
///         )?;
///     assert!(result.test_loss().unwrap().mean < 0.01);
///     assert!(result.score("mean absolute error").unwrap().mean < 0.1);
///     Ok(())
/// }
/// ```
pub struct CrossValidate<'a, T: Element> {
    splitter: &'a dyn Splitter,
    transforms: Transforms,
    train_scores: bool,
    scoring: Option<Box<Scoring<'a, T>>>,
}

impl<'a, T: Element> CrossValidate<'a, T> {
    /// On the folds of `splitter`.
    pub fn new(splitter: &'a dyn Splitter) -> Self {
        Self { splitter, transforms: Transforms::new(), train_scores: false, scoring: None }
    }

    /// Transforms of the features, fitted to each fold's training part anew and applied to both parts.
    #[must_use]
    pub fn transforms(self, transforms: Transforms) -> Self {
        Self { transforms, ..self }
    }

    /// Whether the trained models are evaluated on their training parts too.
    #[must_use]
    pub fn train_scores(self, train_scores: bool) -> Self {
        Self { train_scores, ..self }
    }

    /// Figures of one's own, by name, from a fold's trained model.
    #[must_use]
    pub fn scoring(
        self,
        scoring: impl FnMut(&mut Model<T>, &FoldData) -> Result<Vec<(String, f64)>> + 'a,
    ) -> Self {
        Self { scoring: Some(Box::new(scoring)), ..self }
    }

    /// For each fold: `make` builds and compiles a model, `fit` trains it, and it is evaluated on the test part. One
    /// model is kept at a time.
    ///
    /// # Errors
    /// Those of the splitter, the transforms, the closures and [`Model::evaluate`]; the first one ends the run.
    pub fn run(
        mut self,
        data: &Dataset,
        mut make: impl FnMut(&FoldData) -> Result<Model<T>>,
        mut fit: impl FnMut(&mut Model<T>, &FoldData) -> Result<History>,
    ) -> Result<CrossValidation> {
        let folds = self.splitter.split(data)?;
        let mut scores = Vec::with_capacity(folds.len());
        for (fold, parts) in folds.iter().enumerate() {
            let (train, test) = parts.views(data)?;
            let transforms = self.transforms.clone().fit(&train)?;
            let (train, test) = (transforms.apply(&train)?, transforms.apply(&test)?);
            let data = FoldData { fold, train, test, transforms };
            let mut model = make(&data)?;
            let history = fit(&mut model, &data)?;
            scores.push(FoldScore {
                fold,
                test: model.evaluate(&data.test)?,
                train: self.train_scores.then(|| model.evaluate(&data.train)).transpose()?,
                scores: self.scoring.as_mut().map_or(Ok(Vec::new()), |scoring| scoring(&mut model, &data))?,
                history,
            });
        }
        Ok(CrossValidation { folds: scores })
    }
}

/// Trains a model on each fold of `splitter` and returns every fold's loss and accuracy, with mean and standard deviation:
/// [`CrossValidate`] without options.
///
/// ```
/// use gemmule::Result;
/// use gemmule::data::{Dataset, StratifiedKFold};
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Adam;
/// use gemmule::train::{Fit, cross_validate};
///
/// fn main() -> Result<()> {
///     let bytes = (0..40).map(|i| if i % 2 == 0 { 40 } else { 200 } + i).collect();
///     let data = Dataset::from_bytes(&[40, 1], bytes)?.with_classes((0..40).map(|i| i % 2).collect(), 2)?;
///     let net = Sequential::new().with(Dense::new(1, 2));
///     let result = cross_validate(
///         &data,
///         &StratifiedKFold::new(4),
///         |fold| {
///             let mut model = net.build::<f32>(fold.fold as u64)?;
///             model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.1, ..Adam::default() })?;
///             Ok(model)
///         },
///         |model, fold| model.fit(&fold.train, Fit::new().epochs(50)),
///     )?;
///     assert_eq!(result.folds.len(), 4);
///     let accuracy = result.test_accuracy().unwrap();
///     assert!(accuracy.mean > 0.9, "{accuracy}");
///     Ok(())
/// }
/// ```
///
/// # Errors
/// As [`CrossValidate::run`].
pub fn cross_validate<T: Element>(
    data: &Dataset,
    splitter: &dyn Splitter,
    make: impl FnMut(&FoldData) -> Result<Model<T>>,
    fit: impl FnMut(&mut Model<T>, &FoldData) -> Result<History>,
) -> Result<CrossValidation> {
    CrossValidate::new(splitter).run(data, make, fit)
}

//! What models are trained to make small.

use super::source::TargetKind;
use super::weights::LossWeights;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::loss::{
    self, CrossEntropy, GaussianNll, MultiClassHinge, NegativeLogLikelihood, PoissonNll, Rows,
};

/// What a model is trained to make small: the mean over the batch of the loss per sample.
///
/// With y a sample's outputs and t its targets; "mean" is over the outputs. The constants have PyTorch's defaults.
///
/// | loss | of a sample | targets | PyTorch, Keras |
/// | --- | --- | --- | --- |
/// | [`MeanSquaredError`](Self::MeanSquaredError) | mean of (y - t)² | values | `MSELoss` |
/// | [`MeanAbsoluteError`](Self::MeanAbsoluteError) | mean of \|y - t\| | values | `L1Loss` |
/// | [`HUBER`](Self::HUBER) | mean of d² / 2, or delta (\|d\| - delta / 2) where \|d\| > delta, d = y - t | values | `HuberLoss` |
/// | [`SMOOTH_L1`](Self::SMOOTH_L1) | Huber's divided by its delta, called beta | values | `SmoothL1Loss` |
/// | [`LogCosh`](Self::LogCosh) | mean of ln cosh(y - t) | values | Keras `LogCosh` |
/// | [`POISSON_NLL`](Self::POISSON_NLL) | mean of e^y - t y | counts | `PoissonNLLLoss` |
/// | [`GAUSSIAN_NLL`](Self::GAUSSIAN_NLL) | mean of (s + (m - t)² / e^s) / 2, y = means m, then as many s | values, half as many | `GaussianNLLLoss` with var = e^s |
/// | [`CrossEntropy`](Self::CrossEntropy) | -ln softmax(y)_class, or -sum of t ln softmax(y) | classes, or values | `CrossEntropyLoss` |
/// | [`SmoothedCrossEntropy`](Self::SmoothedCrossEntropy) | the same with t (1 - s) + s / outputs for t | classes, or values | `CrossEntropyLoss(label_smoothing=s)` |
/// | [`NegativeLogLikelihood`](Self::NegativeLogLikelihood) | -y_class | classes | `NLLLoss` |
/// | [`KL_DIVERGENCE`](Self::KL_DIVERGENCE) | sum of t (ln t - y) | values | `KLDivLoss(reduction="batchmean")` |
/// | [`BinaryCrossEntropy`](Self::BinaryCrossEntropy) | mean of -t ln s - (1 - t) ln (1 - s), s = sigmoid(y) | values | `BCEWithLogitsLoss` |
/// | [`HINGE`](Self::HINGE), [`SQUARED_HINGE`](Self::SQUARED_HINGE) | mean of max(0, margin - t y), or its square | values, -1 or 1 | Keras `Hinge`, `SquaredHinge` |
/// | [`MULTI_MARGIN`](Self::MULTI_MARGIN) | mean of max(0, margin - y_class + y_j)^p over all j, 0 for the class | classes | `MultiMarginLoss` |
///
/// The functions themselves, with gradients and edges, are those of [`kernel::loss`](crate::kernel::loss). Classes can be weighted
/// with [`Model::set_class_weights`](crate::nn::Model::set_class_weights), positive targets with
/// [`Model::set_positive_weights`](crate::nn::Model::set_positive_weights).
///
/// ```
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Loss, Sequential};
/// use gemmule::optim::Sgd;
/// use gemmule::Tensor;
/// let x = Dataset::from_values(Tensor::from_slice(&[2, 1], &[1.0_f64, 2.0])?)?;
/// // One target is far out; Huber's loss grows with it, not with its square.
/// let data = x.with_values(Tensor::from_slice(&[2, 1], &[1.0_f64, 100.0])?)?;
/// let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
/// model.compile(Loss::Huber { delta: 0.5 }, Sgd::default())?;
/// assert!(model.evaluate(&data)?.loss < 30.0);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// The mean over the outputs of (y - t)^2. Targets are values.
    MeanSquaredError,
    /// The mean over the outputs of |y - t|, with the slope 0 where they are equal. Targets are values.
    MeanAbsoluteError,
    /// Huber's: squares near the target, straight lines further out.
    Huber {
        /// Where the lines begin: above 0. PyTorch's default is 1.
        delta: f64,
    },
    /// Huber's divided by its delta, so that the lines have the slope 1.
    SmoothL1 {
        /// Where the lines begin: at least 0, which gives the mean absolute error. PyTorch's default is 1.
        beta: f64,
    },
    /// The mean over the outputs of ln cosh(y - t).
    LogCosh,
    /// The likelihood of counts under Poisson distributions: `e^y - t y` with `log_input`, where outputs are logarithms of
    /// rates, or else `y - t ln(y + eps)`.
    PoissonNll {
        /// Outputs are logarithms of rates. PyTorch's default is true.
        log_input: bool,
        /// Adds Stirling's approximation of ln(t!), which changes no gradient. PyTorch's default is false.
        full: bool,
        /// Added to a rate before its logarithm is taken: at least 0. PyTorch's default is 1e-8.
        eps: f64,
    },
    /// The likelihood of values under normal distributions: the first half of the outputs are their means, the second the
    /// natural logarithms of their variances, so that any output gives a variance above 0. There are half as many targets as
    /// outputs.
    GaussianNll {
        /// Adds ln(2 pi) / 2. PyTorch's default is false.
        full: bool,
        /// The least variance: above 0. PyTorch's default is 1e-6.
        eps: f64,
    },
    /// `-ln softmax(y)[class]`, or `-sum t ln softmax(y)` for target values t (one-hot or soft), from logits y. A
    /// softmax as the last layer is recognised and taken as part of the loss.
    CrossEntropy,
    /// The same with a part of each target spread evenly over all classes (Szegedy et al. 2016).
    SmoothedCrossEntropy {
        /// How much is spread: from 0 to 1; 0.1 is usual.
        label_smoothing: f64,
    },
    /// `-y[class]` for outputs y that are logarithms of probabilities: those of a [`LogSoftmax`](crate::nn::LogSoftmax), which
    /// as the last layer is recognised and taken as part of the loss. Then it is the cross-entropy.
    NegativeLogLikelihood,
    /// The divergence of Kullback and Leibler: the sum over the outputs of t (ln t - y), for target probabilities t and outputs y
    /// that are logarithms of probabilities. The mean over the batch is PyTorch's `batchmean`.
    KlDivergence {
        /// Targets are logarithms of probabilities too. PyTorch's default is false.
        log_target: bool,
    },
    /// The mean over the outputs of -t ln s - (1 - t) ln (1 - s) with s = sigmoid(y), from logits y. Targets are
    /// values from 0 to 1. A sigmoid as the last layer is recognised and taken as part of the loss.
    BinaryCrossEntropy,
    /// The mean over the outputs of max(0, margin - t y), for target values of -1 or 1.
    Hinge {
        /// By how much a score is to have the right sign; usually 1.
        margin: f64,
    },
    /// The mean over the outputs of max(0, margin - t y)^2, for target values of -1 or 1.
    SquaredHinge {
        /// By how much a score is to have the right sign; usually 1.
        margin: f64,
    },
    /// The hinge loss of several classes: the mean over the outputs of max(0, margin - y_class + y_j), where the class itself
    /// counts 0. Targets are classes.
    MultiMargin {
        /// By how much the class's output is to exceed the others. PyTorch's default is 1.
        margin: f64,
        /// Squares the terms: PyTorch's `p=2`; its default is 1.
        squared: bool,
    },
}

/// What the outputs of a model say under a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// A softmax makes them probabilities.
    Logits,
    /// A sigmoid makes each a probability.
    BinaryLogits,
    /// The exponential makes them probabilities.
    LogProbabilities,
    /// Nothing makes them probabilities.
    Values,
}

impl Loss {
    /// [`Huber`](Self::Huber) with delta 1.
    pub const HUBER: Self = Self::Huber { delta: 1.0 };
    /// [`SmoothL1`](Self::SmoothL1) with beta 1.
    pub const SMOOTH_L1: Self = Self::SmoothL1 { beta: 1.0 };
    /// [`PoissonNll`](Self::PoissonNll) of logarithms of rates, without Stirling's term.
    pub const POISSON_NLL: Self = Self::PoissonNll { log_input: true, full: false, eps: 1e-8 };
    /// [`GaussianNll`](Self::GaussianNll) without the constant, with variances of at least 1e-6.
    pub const GAUSSIAN_NLL: Self = Self::GaussianNll { full: false, eps: 1e-6 };
    /// [`KlDivergence`](Self::KlDivergence) from probabilities.
    pub const KL_DIVERGENCE: Self = Self::KlDivergence { log_target: false };
    /// [`Hinge`](Self::Hinge) with a margin of 1.
    pub const HINGE: Self = Self::Hinge { margin: 1.0 };
    /// [`SquaredHinge`](Self::SquaredHinge) with a margin of 1.
    pub const SQUARED_HINGE: Self = Self::SquaredHinge { margin: 1.0 };
    /// [`MultiMargin`](Self::MultiMargin) with a margin of 1, not squared.
    pub const MULTI_MARGIN: Self = Self::MultiMargin { margin: 1.0, squared: false };

    /// What it is called, for example `mean squared error`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeanSquaredError => "mean squared error",
            Self::MeanAbsoluteError => "mean absolute error",
            Self::Huber { .. } => "Huber loss",
            Self::SmoothL1 { .. } => "smooth L1 loss",
            Self::LogCosh => "log-cosh",
            Self::PoissonNll { .. } => "Poisson negative log-likelihood",
            Self::GaussianNll { .. } => "Gaussian negative log-likelihood",
            Self::CrossEntropy => "cross-entropy",
            Self::SmoothedCrossEntropy { .. } => "smoothed cross-entropy",
            Self::NegativeLogLikelihood => "negative log-likelihood",
            Self::KlDivergence { .. } => "Kullback-Leibler divergence",
            Self::BinaryCrossEntropy => "binary cross-entropy",
            Self::Hinge { .. } => "hinge loss",
            Self::SquaredHinge { .. } => "squared hinge loss",
            Self::MultiMargin { .. } => "multi-class hinge loss",
        }
    }

    /// What a model's outputs are.
    pub(crate) const fn outputs(self) -> Outputs {
        match self {
            Self::CrossEntropy | Self::SmoothedCrossEntropy { .. } => Outputs::Logits,
            Self::BinaryCrossEntropy => Outputs::BinaryLogits,
            Self::NegativeLogLikelihood | Self::KlDivergence { .. } => Outputs::LogProbabilities,
            _ => Outputs::Values,
        }
    }

    /// It can tell classes apart by their weights.
    pub(crate) const fn takes_class_weights(self) -> bool {
        matches!(
            self,
            Self::CrossEntropy
                | Self::SmoothedCrossEntropy { .. }
                | Self::NegativeLogLikelihood
                | Self::MultiMargin { .. }
        )
    }

    /// A sample's class is a part of how much it counts in a mean.
    pub(crate) const fn counts_by_class(self) -> bool {
        self.takes_class_weights() && !matches!(self, Self::MultiMargin { .. })
    }

    /// The same loss from what the operation takes that [`ends_in_loss`](super::fuse::ends_in_loss) found.
    pub(crate) const fn on_logits(self) -> Self {
        match self {
            Self::NegativeLogLikelihood => Self::CrossEntropy,
            other => other,
        }
    }

    /// Whether the loss takes such targets for outputs of `width`.
    pub(crate) fn check(self, targets: Option<TargetKind>, width: usize) -> Result<()> {
        let refuse = |expected: String, got: String| Err(Error::data(self.name(), "targets", expected, got));
        let (takes_classes, takes_values) = match self {
            Self::CrossEntropy | Self::SmoothedCrossEntropy { .. } => (true, true),
            Self::NegativeLogLikelihood | Self::MultiMargin { .. } => (true, false),
            _ => (false, true),
        };
        let (values, each) = match self {
            Self::GaussianNll { .. } => (width / 2, "one for each two outputs"),
            _ => (width, "one per output"),
        };
        if matches!(self, Self::GaussianNll { .. }) && !width.is_multiple_of(2) {
            let expected = "an even number of outputs: means, and as many logarithms of variances";
            return Err(Error::data(self.name(), "model", expected, width));
        }
        match targets {
            None => refuse("classes or values".to_owned(), "none".to_owned()),
            Some(TargetKind::Classes(_)) if !takes_classes => {
                refuse(format!("{values} values per sample"), "classes".to_owned())
            }
            Some(TargetKind::Classes(count)) if count > width => {
                refuse(format!("at most {width} classes, one per output"), format!("{count} classes"))
            }
            Some(TargetKind::Values(_)) if !takes_values => {
                refuse("one class per sample".to_owned(), "values".to_owned())
            }
            Some(TargetKind::Values(got)) if got != values => {
                refuse(format!("{values} values per sample, {each}"), got.to_string())
            }
            Some(TargetKind::Classes(_) | TargetKind::Values(_)) => Ok(()),
        }
    }

    /// Whether its options are in their range: the kernels say so of no samples.
    pub(crate) fn check_options<T: Element>(self, context: &Context) -> Result<()> {
        let (rows, none) = (Rows::each(1), LossWeights::default());
        let classes = self.of_classes::<T>(context, &[], &[], &none, rows, &mut [], None);
        classes.and_then(|()| self.of_values(context, &[], &[], &none, rows, &mut [], None))
    }

    /// The losses of rows of outputs y against classes, and their gradient by y.
    #[allow(clippy::too_many_arguments, reason = "one tile's slices")]
    pub(super) fn of_classes<T: Element>(
        self,
        context: &Context,
        y: &[T],
        classes: &[u32],
        weights: &LossWeights<T>,
        rows: Rows<'_, T>,
        losses: &mut [T],
        d: Option<&mut [T]>,
    ) -> Result<()> {
        let class_weights = weights.classes();
        match self {
            Self::NegativeLogLikelihood => {
                let options = NegativeLogLikelihood { class_weights, ..Default::default() };
                loss::negative_log_likelihood(context, y, classes, &options, rows, losses, d)?;
            }
            Self::MultiMargin { margin, squared } => {
                let options = MultiClassHinge { margin, squared, class_weights };
                loss::multi_class_hinge(context, y, classes, &options, rows, losses, d)?;
            }
            // Other losses do not take classes.
            _ => {
                let options = self.cross_entropy(class_weights);
                loss::cross_entropy_classes(context, y, classes, &options, rows, losses, d)?;
            }
        }
        Ok(())
    }

    /// The losses of rows of outputs y against values, and their gradient by y.
    #[allow(clippy::too_many_arguments, reason = "one tile's slices")]
    pub(super) fn of_values<T: Element>(
        self,
        context: &Context,
        y: &[T],
        t: &[T],
        weights: &LossWeights<T>,
        rows: Rows<'_, T>,
        losses: &mut [T],
        d: Option<&mut [T]>,
    ) -> Result<()> {
        match self {
            Self::MeanSquaredError => loss::mean_squared_error(context, y, t, rows, losses, d)?,
            Self::MeanAbsoluteError => loss::mean_absolute_error(context, y, t, rows, losses, d)?,
            Self::Huber { delta } => loss::huber(context, y, t, delta, rows, losses, d)?,
            Self::SmoothL1 { beta } => loss::smooth_l1(context, y, t, beta, rows, losses, d)?,
            Self::LogCosh => loss::log_cosh(context, y, t, rows, losses, d)?,
            Self::PoissonNll { log_input, full, eps } => {
                let options = PoissonNll { log_input, full, eps };
                loss::poisson_nll(context, y, t, &options, rows, losses, d)?
            }
            Self::GaussianNll { full, eps } => {
                // A row has a target for each mean.
                let rows = Rows { width: (rows.width / 2).max(1), ..rows };
                loss::gaussian_nll(context, y, t, &GaussianNll { full, eps }, rows, losses, d)?
            }
            Self::KlDivergence { log_target: false } => loss::kl_divergence(context, y, t, rows, losses, d)?,
            Self::KlDivergence { log_target: true } => {
                loss::kl_divergence_log_target(context, y, t, rows, losses, d)?
            }
            Self::BinaryCrossEntropy => {
                loss::binary_cross_entropy_logits(context, y, t, weights.positive(), rows, losses, d)?
            }
            Self::Hinge { margin } => loss::hinge(context, y, t, margin, rows, losses, d)?,
            Self::SquaredHinge { margin } => loss::squared_hinge(context, y, t, margin, rows, losses, d)?,
            // The last two do not take values.
            Self::CrossEntropy
            | Self::SmoothedCrossEntropy { .. }
            | Self::NegativeLogLikelihood
            | Self::MultiMargin { .. } => {
                let options = self.cross_entropy(weights.classes());
                loss::cross_entropy_soft(context, y, t, &options, rows, losses, d)?
            }
        };
        Ok(())
    }

    /// The options of the kernels, of a cross-entropy.
    fn cross_entropy<T>(self, class_weights: Option<&[T]>) -> CrossEntropy<'_, T> {
        let label_smoothing = match self {
            Self::SmoothedCrossEntropy { label_smoothing } => label_smoothing,
            _ => 0.0,
        };
        CrossEntropy { label_smoothing, class_weights, ignore_index: None }
    }
}

//! What models are trained to make small.

use super::source::TargetKind;
use crate::error::{Error, Result};

/// What a model is trained to make small: the mean over the batch of the loss per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// The mean over the outputs of (y - t)^2. Targets are values.
    MeanSquaredError,
    /// `-ln softmax(y)[class]`, or `-sum t ln softmax(y)` for target values t (one-hot or soft), from logits y. A
    /// softmax as the last layer is recognised and taken as part of the loss.
    CrossEntropy,
    /// The mean over the outputs of -t ln s - (1 - t) ln (1 - s) with s = sigmoid(y), from logits y. Targets are
    /// values from 0 to 1. A sigmoid as the last layer is recognised and taken as part of the loss.
    BinaryCrossEntropy,
}

impl Loss {
    /// `mean squared error`, `cross-entropy` or `binary cross-entropy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeanSquaredError => "mean squared error",
            Self::CrossEntropy => "cross-entropy",
            Self::BinaryCrossEntropy => "binary cross-entropy",
        }
    }
}

impl Loss {
    /// Whether the loss takes such targets for outputs of `width`.
    pub(crate) fn check(self, targets: Option<TargetKind>, width: usize) -> Result<()> {
        let refuse = |expected: String, got: String| Err(Error::data(self.name(), "targets", expected, got));
        match (self, targets) {
            (_, None) => refuse("classes or values".to_owned(), "none".to_owned()),
            (Self::CrossEntropy, Some(TargetKind::Classes(count))) if count > width => {
                refuse(format!("at most {width} classes, one per output"), format!("{count} classes"))
            }
            (Self::CrossEntropy, Some(TargetKind::Classes(_))) => Ok(()),
            (_, Some(TargetKind::Values(got))) if got != width => {
                refuse(format!("{width} values per sample, one per output"), got.to_string())
            }
            (_, Some(TargetKind::Values(_))) => Ok(()),
            (_, Some(TargetKind::Classes(_))) => {
                refuse(format!("{width} values per sample"), "classes".to_owned())
            }
        }
    }
}

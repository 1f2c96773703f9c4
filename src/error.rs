//! The one error type: every variant says what was done, where, what was expected and what came.

use std::fmt;
use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: the operation, the place, what was expected and what came instead.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A slice, matrix or tensor has the wrong size.
    Shape {
        /// The operation that refused, for example `gemm`.
        operation: &'static str,
        /// Which operand, for example `c`.
        what: &'static str,
        /// What it should have been.
        expected: String,
        /// What it was.
        got: String,
    },
    /// A layer got an input width that it does not take.
    Layer {
        /// The layer that refused, for example `2 (Dense 32 -> 10)`.
        layer: String,
        /// Where its input comes from, for example `0 (Dense 784 -> 64)` or `the model's input`.
        previous: String,
        /// What it takes.
        expected: String,
        /// What it got.
        got: String,
    },
    /// An argument is out of its range.
    Argument {
        /// The operation that refused.
        operation: &'static str,
        /// Which argument.
        what: &'static str,
        /// The range.
        expected: String,
        /// The value.
        got: String,
    },
    /// The product or sum of sizes does not fit.
    Overflow {
        /// The operation that refused.
        operation: &'static str,
        /// Which size.
        what: String,
    },
    /// The instruction set asked for is unknown or this CPU does not have it.
    Isa {
        /// What was asked for.
        requested: String,
        /// What this CPU has.
        available: String,
    },
    /// The calling thread's floating-point environment is not the default one: results would have other bits.
    Environment {
        /// The operation that refused.
        operation: &'static str,
        /// What is set, for example `subnormal results are flushed to zero`.
        found: &'static str,
    },
    /// A value is NaN or infinite.
    NonFinite {
        /// What holds it: `input`, `output`, `loss`, `mean loss`, `gradient`, `parameter` or
        /// `optimiser state`.
        what: &'static str,
        /// The layer or parameter, for example `2 (Dense 64 -> 10)`.
        place: String,
        /// The training step, counted from 1; 0 outside training.
        step: u64,
        /// The index of the first such element within what holds it.
        index: usize,
        /// The value.
        value: f64,
    },
    /// The model refuses further steps since a step left NaN or infinity in its parameters.
    Poisoned {
        /// The step in which it happened.
        step: u64,
        /// The parameter that was found first.
        place: String,
    },
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file's contents are not what its format says.
    Format {
        /// The file.
        path: PathBuf,
        /// The format, for example `IDX`.
        format: &'static str,
        /// Which part of the file.
        what: String,
        /// What it should have been.
        expected: String,
        /// What it was.
        got: String,
    },
    /// A data set is empty, or its parts do not belong together.
    Data {
        /// The operation that refused.
        operation: &'static str,
        /// Which part.
        what: String,
        /// What it should have been.
        expected: String,
        /// What it was.
        got: String,
    },
    /// Memory could not be had.
    OutOfMemory {
        /// For what.
        what: &'static str,
        /// How much.
        bytes: usize,
    },
    /// The model was asked for something that it was not prepared for.
    State {
        /// The operation that refused.
        operation: &'static str,
        /// What is missing, and how to mend it.
        what: &'static str,
    },
}

impl Error {
    pub(crate) fn shape(
        operation: &'static str,
        what: &'static str,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Self {
        Self::Shape { operation, what, expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn argument(
        operation: &'static str,
        what: &'static str,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Self {
        Self::Argument { operation, what, expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn data(
        operation: &'static str,
        what: impl Into<String>,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) -> Self {
        Self::Data { operation, what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn overflow(operation: &'static str, what: impl Into<String>) -> Self {
        Self::Overflow { operation, what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { operation, what, expected, got }
            | Self::Argument { operation, what, expected, got } => {
                write!(f, "{operation}: {what}: expected {expected}, got {got}")
            }
            Self::Layer { layer, previous, expected, got } => {
                write!(f, "layer {layer}: expected {expected}, got {got} from {previous}")
            }
            Self::Overflow { operation, what } => write!(f, "{operation}: the size of {what} overflows"),
            Self::Isa { requested, available } => {
                write!(f, "instruction set {requested:?} is not available: this CPU has {available}")
            }
            Self::Environment { operation, found } => {
                write!(
                    f,
                    "{operation}: floating-point environment of this thread: expected rounding to nearest and \
                     subnormal numbers kept, got: {found}"
                )
            }
            Self::NonFinite { what, place, step, index, value } => {
                write!(f, "step {step}: {what} of {place}: element {index} is {value}")
            }
            Self::Poisoned { step, place } => {
                write!(
                    f,
                    "the model is unusable since step {step} left NaN or infinity in {place}: load weights first"
                )
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Format { path, format, what, expected, got } => {
                write!(f, "{}: {format}: {what}: expected {expected}, got {got}", path.display())
            }
            Self::Data { operation, what, expected, got } => {
                write!(f, "{operation}: {what}: expected {expected}, got {got}")
            }
            Self::OutOfMemory { what, bytes } => write!(f, "no memory for {what}: {bytes} bytes"),
            Self::State { operation, what } => write!(f, "{operation}: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

//! Layers and models: descriptions that lower to the engine's operations.

mod file;
mod gradient_check;
mod init;
mod layer;
mod log_softmax;
mod model;
mod noise;
mod orthogonal;
mod registry;
mod sequential;
mod spec;
mod state;
mod steps;
mod weighting;

pub use crate::engine::{Builder, Fan, Fusion, Init, Loss, ParameterId, RowFunction, Value, WeightedMean};
pub use crate::kernel::activation::Activation;
pub use file::{LoadReport, MisShaped, ModelFile, SavedModel, Strict};
pub use init::gain;
pub use layer::{Dense, Dropout, Layer, Softmax};
pub use log_softmax::LogSoftmax;
pub use model::{Model, ParameterInfo};
pub use noise::{AlphaDropout, GaussianDropout, GaussianNoise};
pub use registry::Layers;
pub use sequential::Sequential;
pub use spec::{OptionValue, Spec};
pub use steps::PhaseTime;
pub(crate) use steps::Score;

//! Layers and models: descriptions that lower to the engine's operations.

mod file;
mod gradient_check;
mod init;
mod layer;
mod model;
mod registry;
mod sequential;
mod spec;
mod steps;

pub use crate::engine::{Builder, Fusion, Init, Loss, ParameterId, RowFunction, Value};
pub use crate::kernel::activation::Activation;
pub use file::{LoadReport, MisShaped, ModelFile, SavedModel, Strict};
pub use layer::{Dense, Dropout, Layer, Softmax};
pub use model::{Model, ParameterInfo};
pub use registry::Layers;
pub use sequential::Sequential;
pub use spec::{OptionValue, Spec};
pub use steps::PhaseTime;
pub(crate) use steps::Score;

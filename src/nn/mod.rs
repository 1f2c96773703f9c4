//! Layers and models: descriptions that lower to the engine's operations.

mod gradient_check;
mod init;
mod layer;
mod model;
mod sequential;
mod state;
mod steps;

pub use crate::engine::{Builder, Fusion, Init, Loss, ParameterId, RowFunction, Value};
pub use crate::kernel::activation::Activation;
pub use layer::{Dense, Dropout, Layer, Softmax};
pub use model::{Model, ParameterInfo};
pub use sequential::Sequential;
pub use steps::PhaseTime;
pub(crate) use steps::Score;

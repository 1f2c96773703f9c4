//! Layers and models: descriptions that lower to the engine's operations.

mod init;
mod layer;
mod model;
mod sequential;

pub use crate::engine::{Builder, Init, Loss, ParameterId, Value};
pub use crate::kernel::activation::Activation;
pub use layer::{Dense, Layer, Softmax};
pub use model::{Model, ParameterInfo};
pub use sequential::Sequential;

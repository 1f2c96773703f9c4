//! gemmule trains neural networks on CPUs.

mod context;
pub mod data;
mod engine;
mod error;
pub mod kernel;
pub mod nn;
pub mod optim;
#[allow(unsafe_code, reason = "the team's tiles cross threads as pointers; see the module")]
mod parallel;
pub mod rng;
mod runtime;
#[allow(unsafe_code, reason = "the instruction sets' intrinsics; see the module")]
mod simd;
mod tensor;
pub mod train;

pub use context::{Context, Parallelism};
pub use engine::{BatchSource, TargetKind};
pub use error::{Error, Result};
pub use kernel::Element;
pub use kernel::gemm::view::{MatMut, MatRef};
pub use kernel::gemm::{Epilogue, gemm, gemm_with};
pub use parallel::available_threads;
pub use runtime::{RuntimeInfo, runtime_info};
pub use simd::Isa;
pub use tensor::Tensor;

//! gemmule trains neural networks on CPUs.

mod context;
mod error;
pub mod kernel;
#[allow(unsafe_code, reason = "the team's tiles cross threads as pointers; see the module")]
mod parallel;
#[allow(unsafe_code, reason = "the instruction sets' intrinsics; see the module")]
mod simd;

pub use context::{Context, Parallelism};
pub use error::{Error, Result};
pub use kernel::Element;
pub use kernel::gemm::view::{MatMut, MatRef};
pub use kernel::gemm::{Epilogue, gemm, gemm_with};
pub use simd::Isa;

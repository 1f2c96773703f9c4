//! Numeric kernels: slices and strided views in, slices out.
//!
//! A kernel checks the lengths at its front and then runs on the instruction set of the [`Context`](crate::Context).
//! None allocates, but for [`gemm`], which keeps a packing buffer per thread. Large products, and long arrays, are shared
//! by threads as the context's parallelism says, which changes no bit; what is small stays on the caller's thread.

mod accuracy;
pub mod activation;
pub(crate) mod affine;
pub(crate) mod ahead;
pub(crate) mod attention;
pub(crate) mod blend;
pub(crate) mod compiled;
pub(crate) mod conv;
pub mod convert;
mod element;
pub(crate) mod embedding;
pub mod gemm;
pub(crate) mod loops;
pub mod loss;
pub mod math;
mod multiply;
pub(crate) mod normalize;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod rearrange;
pub(crate) mod recurrent;
pub mod reduce;
#[doc(hidden)]
pub mod reference;
pub(crate) mod share;
pub mod softmax;
pub(crate) mod stages;
pub mod update;

pub use accuracy::{ACCURACY, Accuracy};
pub use element::Element;
pub use multiply::multiply;

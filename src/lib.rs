//! gemmule trains neural networks on CPUs: vector kernels, a matrix product, an engine that plans a training step, and
//! layers, losses, optimisers and data sets on top.
//!
//! ```text
//!   simd  ->  kernel  ->  tensor  ->  engine  ->  nn, optim  ->  train
//!               ^                       |  (BatchSource)
//!           parallel                   data
//! ```
//!
//! Each folder uses only those to its left. An embedder needs [`kernel`], [`gemm`] and a [`Context`]: slices in, slices
//! out. A trainer needs [`nn`], [`optim`], [`data`] and [`train`]:
//!
//! ```
//! use gemmule::data::{Dataset, train_test_split};
//! use gemmule::nn::{Activation, Dense, Loss, Sequential};
//! use gemmule::optim::Adam;
//! use gemmule::rng::Rng;
//! use gemmule::train::Fit;
//! use gemmule::{Context, Result, Tensor};
//!
//! fn main() -> Result<()> {
//!     // Points of the plane: class 1 inside the unit circle.
//!     let mut x = vec![0.0_f32; 2 * 1000];
//!     Rng::new(1).fill_uniform(&Context::detect()?, &mut x, -1.5, 1.5)?;
//!     let classes = x.chunks(2).map(|p| u32::from(p[0] * p[0] + p[1] * p[1] < 1.0)).collect();
//!     let data = Dataset::from_values(Tensor::from_vec(&[1000, 2], x)?)?.with_classes(classes, 2)?;
//!     let (train, test) = train_test_split(&data, 0.2, 1)?;
//!
//!     let net = Sequential::new().with(Dense::new(2, 16)).with(Activation::Tanh).with(Dense::new(16, 2));
//!     let mut model = net.build::<f32>(0)?;
//!     model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.01, ..Adam::default() })?;
//!     model.fit(&train, Fit::new().epochs(30).seed(0))?;
//!     let accuracy = model.evaluate(&test)?.accuracy.unwrap_or(0.0);
//!     assert!(accuracy > 0.9, "test accuracy {accuracy}");
//!     Ok(())
//! }
//! ```
//!
//! # Same bits
//!
//! Same seed and data give the same weights, to the bit, for any number of threads and on every instruction set with a
//! fused multiply-add: [`Isa::Avx512`], [`Isa::Avx2`], [`Isa::Neon`]. [`Isa::Portable`] is outside this promise.
//! The environment variable `GEMMULE_ISA` (`portable`, `avx2`, `avx512`, `neon`) chooses one for [`Context::detect`].
//!
//! # Threads
//!
//! They come from rayon: the pool that the caller is in, or the global one. [`Parallelism::Serial`], and a build without
//! the feature `rayon`, never touch it. The library prints nothing.
//!
//! # Features
//!
//! | feature | default | what for |
//! | --- | --- | --- |
//! | `rayon` | yes | threads |
//! | `gzip` | yes | reading compressed IDX and CSV files |
//! | `csv` | no | [`data::Csv`]: tables |
//! | `npz` | no | [`data::Npz`]: archives of NumPy |
//! | `image` | no | [`data::ImageFolder`]: folders of PNG and JPEG files |
//! | `progress` | no | [`train::Progress`](train): a progress bar as a callback |
//! | `plot` | no | `train::Plot`: histories, confusion matrices and ROC curves as SVG |
//! | `full` | no | all of these |
//! | `matrixmultiply` | no | [`Backend::Matrixmultiply`]: products by that crate, for contexts that ask for it |
//! | `cblas` | no | [`Backend::Cblas`]: products by the BLAS that the binary links, for contexts that ask for it |
//!
//! A feature adds: no result, no bit and no type is another one with it.
//!
//! # Unoptimised builds
//!
//! Without optimisation the crate is many times slower. All kernels are compiled in this crate, so a debug build is
//! nearly as fast as a release build with:
//!
//! ```toml
//! [profile.dev.package.gemmule]
//! opt-level = 3
//! [profile.dev.package.libm] # only for f64: its exponentials and logarithms
//! opt-level = 3
//! ```

mod context;
pub mod data;
mod engine;
mod environment;
mod error;
mod file;
pub mod kernel;
pub mod nn;
pub mod optim;
#[allow(unsafe_code, reason = "the team's tiles cross threads as pointers; see the module")]
mod parallel;
pub mod rng;
mod runtime;
#[allow(unsafe_code, reason = "the instruction sets' intrinsics; see the module")]
mod simd;
mod state;
mod tensor;
pub mod train;

pub use context::{Backend, Context, Parallelism};
pub use engine::{BatchSource, TargetKind};
pub use error::{Error, Result};
pub use kernel::Element;
pub use kernel::gemm::view::{MatMut, MatRef};
pub use kernel::gemm::{Epilogue, PackedB, TileFunction, gemm, gemm_packed, gemm_with, pack_b, packed_b_len};
pub use parallel::available_threads;
#[doc(hidden)]
pub use parallel::region;
pub use runtime::{RuntimeInfo, runtime_info};
pub use simd::{Caches, Isa};
pub use state::State;
pub use tensor::Tensor;

// The examples of the README compile, and run where they are not marked otherwise.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

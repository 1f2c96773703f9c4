//! What this build runs on.

use crate::context::Backend;
use crate::error::Result;
use crate::kernel::gemm::blocking::register_tile;
use crate::parallel::available_threads;
use crate::simd::{Caches, Isa};
use std::fmt;

/// What this build runs on: compiler, target, instruction sets, threads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeInfo {
    /// The crate's version.
    pub version: &'static str,
    /// The compiler that built it.
    pub rustc: &'static str,
    /// The target that it was built for.
    pub target: &'static str,
    /// False for a build without optimisation: hundreds of times slower. See the README for the profile to set.
    pub optimized: bool,
    /// The instruction set of [`Context::detect`](crate::Context::detect).
    pub isa: Isa,
    /// All that this CPU has, the fastest first.
    pub available: Vec<Isa>,
    /// The caches of a core, which the block sizes of products follow.
    pub caches: Caches,
    /// The most threads that [`Parallelism::Auto`](crate::Parallelism::Auto) uses; 1 without the `rayon` feature.
    pub threads: usize,
    /// The f32 matrix kernel, for example `f32-gemm-6x64-avx512`.
    pub gemm_kernel: String,
    /// What [`Context::with_backend`](crate::Context::with_backend) takes in this build; the first is the default.
    pub backends: Vec<Backend>,
    /// The crate features that are on.
    pub features: Vec<&'static str>,
}

/// What this build runs on.
///
/// ```
/// println!("{}", gemmule::runtime_info()?);
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Errors
/// [`Error::Isa`](crate::Error::Isa) if `GEMMULE_ISA` is unknown or this CPU lacks it.
pub fn runtime_info() -> Result<RuntimeInfo> {
    let isa = Isa::detect()?;
    let tile = register_tile(isa);
    let features = [
        ("rayon", cfg!(feature = "rayon")),
        ("gzip", cfg!(feature = "gzip")),
        ("matrixmultiply", Backend::Matrixmultiply.is_available()),
        ("cblas", Backend::Cblas.is_available()),
    ];
    Ok(RuntimeInfo {
        version: env!("CARGO_PKG_VERSION"),
        rustc: env!("GEMMULE_RUSTC"),
        target: env!("GEMMULE_TARGET"),
        optimized: env!("GEMMULE_OPT_LEVEL") != "0",
        isa,
        available: Isa::available().collect(),
        caches: Caches::detect(),
        threads: if cfg!(feature = "rayon") { available_threads() } else { 1 },
        gemm_kernel: format!("f32-gemm-{}x{}-{isa}", tile.0, 16 * tile.1),
        backends: Backend::available().collect(),
        features: features.into_iter().filter_map(|(name, on)| on.then_some(name)).collect(),
    })
}

impl fmt::Display for RuntimeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available: Vec<_> = self.available.iter().map(|isa| isa.name()).collect();
        writeln!(f, "gemmule {} ({}, {})", self.version, self.rustc, self.target)?;
        writeln!(f, "isa      {} (available: {})", self.isa, available.join(", "))?;
        writeln!(f, "gemm     {}", self.gemm_kernel)?;
        let Caches { l1, l2, l3 } = self.caches;
        writeln!(f, "caches   {} KiB, {} KiB, {} KiB", l1 >> 10, l2 >> 10, l3 >> 10)?;
        writeln!(f, "threads  {}", self.threads)?;
        let backends: Vec<_> = self.backends.iter().map(|backend| backend.name()).collect();
        writeln!(f, "backends {} (default: {})", backends.join(", "), Backend::default())?;
        write!(
            f,
            "features {}",
            if self.features.is_empty() { "none".into() } else { self.features.join(", ") }
        )?;
        if !self.optimized {
            write!(f, "\nWARNING: not optimised; set [profile.dev.package.gemmule] opt-level = 3")?;
        }
        Ok(())
    }
}

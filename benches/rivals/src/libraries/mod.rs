//! The libraries: what they are called, how they are told instruction set and threads, and one way to call them.

mod c;
mod rust;

use crate::operands::Operands;
use clap::ValueEnum;
use gemmule::Isa;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

/// A library that is measured. The first is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Gemmule,
    Faer,
    Gemm,
    Matrixmultiply,
    Openblas,
    Onednn,
    Mkl,
}

impl Kind {
    /// How a command line names it.
    pub fn word(self) -> String {
        self.to_string().to_lowercase()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gemmule => "gemmule",
            Self::Faer => "faer",
            Self::Gemm => "gemm",
            Self::Matrixmultiply => "matrixmultiply",
            Self::Openblas => "OpenBLAS",
            Self::Onednn => "oneDNN",
            Self::Mkl => "MKL",
        })
    }
}

/// What all libraries of a run are told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub isa: Isa,
    pub threads: usize,
}

/// f32 or f64, with what the libraries name by type.
pub trait Real:
    gemmule::Element
    + faer::traits::RealField
    + std::ops::Add<Output = Self>
    + std::ops::Mul<Output = Self>
    + 'static
{
    /// The unit roundoff.
    const UNIT: f64;
    const ZERO: Self;
    const ONE: Self;
    const NAN: Self;
    /// The C function without a library's prefix.
    const CBLAS: &'static str;
    const PRIVATE_GEMM: private_gemm_x86::DType;
    const MATRIXMULTIPLY: rust::MatrixMultiply<Self>;

    /// A number in [-1, 1] with as many random bits as there are, up to 32.
    fn value(hash: u32) -> Self;
}

impl Real for f32 {
    const UNIT: f64 = f32::EPSILON as f64 / 2.0;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NAN: Self = f32::NAN;
    const CBLAS: &'static str = "cblas_sgemm";
    const PRIVATE_GEMM: private_gemm_x86::DType = private_gemm_x86::DType::F32;
    const MATRIXMULTIPLY: rust::MatrixMultiply<Self> = matrixmultiply::sgemm;

    fn value(hash: u32) -> Self {
        (hash >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

impl Real for f64 {
    const UNIT: f64 = f64::EPSILON / 2.0;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NAN: Self = f64::NAN;
    const CBLAS: &'static str = "cblas_dgemm";
    const PRIVATE_GEMM: private_gemm_x86::DType = private_gemm_x86::DType::F64;
    const MATRIXMULTIPLY: rust::MatrixMultiply<Self> = matrixmultiply::dgemm;

    fn value(hash: u32) -> Self {
        f64::from(hash) / 2_147_483_648.0 - 1.0
    }
}

/// A library, loaded and told its settings.
pub trait Library<T: Real> {
    /// Version and what else it says of itself.
    fn version(&self) -> String;

    /// C = A B.
    fn multiply(&mut self, operands: &mut Operands<T>) -> Result<(), String>;
}

/// Why a library cannot take part in a run, or None.
pub fn unfit(kind: Kind, settings: Settings, double: bool) -> Option<&'static str> {
    let built_for = if cfg!(feature = "avx512") { Isa::Avx512 } else { Isa::Avx2 };
    match kind {
        Kind::Faer | Kind::Gemm | Kind::Matrixmultiply if settings.isa != built_for => {
            Some(if built_for == Isa::Avx512 {
                "compiled for AVX-512: build with --no-default-features"
            } else {
                "compiled without AVX-512: build with the feature avx512"
            })
        }
        Kind::Onednn if double => Some("has no product of f64"),
        _ => None,
    }
}

/// Loads a library in this process; `path` is for those in C.
pub fn open<T: Real>(
    kind: Kind,
    settings: Settings,
    path: Option<&Path>,
) -> Result<Box<dyn Library<T>>, String> {
    let path = || path.ok_or_else(|| format!("{kind}: no path is given"));
    Ok(match kind {
        Kind::Gemmule => Box::new(rust::Gemmule::new(settings)?),
        Kind::Faer => Box::new(rust::Faer::new(settings)),
        Kind::Gemm => Box::new(rust::Gemm::new(settings)),
        Kind::Matrixmultiply => Box::new(rust::Matrixmultiply),
        Kind::Openblas | Kind::Mkl => Box::new(c::Cblas::load(path()?)?),
        Kind::Onednn => Box::new(c::OneDnn::load(path()?)?),
    })
}

/// Environment of a worker's process: what is set, and (None) what is removed.
///
/// All get all of it: what is not theirs they do not read. `folder` is where a C library lies, and mostly also those
/// that it needs.
pub fn environment(settings: Settings, folder: Option<&Path>) -> Vec<(&'static str, Option<OsString>)> {
    let threads = || Some(OsString::from(settings.threads.to_string()));
    let avx2 = |value: &str| (settings.isa == Isa::Avx2).then(|| OsString::from(value));
    let mut all = vec![
        ("GEMMULE_ISA", Some(settings.isa.name().into())),
        ("OPENBLAS_CORETYPE", avx2("Haswell")),
        ("OPENBLAS_L2_SIZE", None),
        ("MKL_ENABLE_INSTRUCTIONS", avx2("AVX2")),
        ("MKL_CBWR", None),
        ("MKL_INTERFACE_LAYER", Some("LP64".into())),
        ("MKL_THREADING_LAYER", None),
        ("ONEDNN_MAX_CPU_ISA", avx2("AVX2")),
        ("DNNL_MAX_CPU_ISA", None),
        // They would write into the pipe.
        ("MKL_VERBOSE", None),
        ("ONEDNN_VERBOSE", None),
        ("DNNL_VERBOSE", None),
        ("OMP_DYNAMIC", Some("FALSE".into())),
        ("MKL_DYNAMIC", Some("FALSE".into())),
    ];
    for name in [
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "MATMUL_NUM_THREADS",
    ] {
        all.push((name, threads()));
    }
    if let Some(folder) = folder {
        let mut folders = folder.as_os_str().to_owned();
        if let Some(before) = std::env::var_os("LD_LIBRARY_PATH") {
            folders.push(":");
            folders.push(before);
        }
        all.push(("LD_LIBRARY_PATH", Some(folders)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_library() {
        for &kind in Kind::value_variants() {
            assert_eq!(Kind::from_str(&kind.word(), false), Ok(kind));
        }
    }
}

//! Which instruction set: detected once, overridden by `GEMMULE_ISA`, never guessed.

use crate::error::{Error, Result};
use std::fmt;
use std::sync::OnceLock;

/// An instruction set that kernels are compiled for.
///
/// [`Isa::available`] lists those of this CPU, the fastest first. All but [`Isa::Portable`] give the same
/// bits: the portable tier multiplies and adds with two roundings, since its CPUs may lack a fused operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Any CPU, through the `wide` crate.
    Portable,
    /// 64-bit Arm with NEON.
    Neon,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    Avx512,
}

impl Isa {
    const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// The name that `GEMMULE_ISA` takes: `portable`, `neon`, `avx2` or `avx512`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// True where multiply and add are fused, so that the bits are the same as on the other such sets.
    pub const fn has_fma(self) -> bool {
        !matches!(self, Self::Portable)
    }

    /// Lanes of the canonical vector of elements of `size` bytes.
    pub(crate) const fn lanes(self, size: usize) -> usize {
        (if self.has_fma() { 64 } else { 16 }) / size
    }

    /// True if this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns, reason = "which sets remain depends on the target")]
            _ => false,
        }
    }

    /// All that this CPU has, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> + Clone {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The one that a new [`Context`](crate::Context) uses: `GEMMULE_ISA` if set, else the fastest there is.
    /// The choice is made once in a process.
    ///
    /// # Errors
    /// [`Error::Isa`] if `GEMMULE_ISA` is unknown or this CPU lacks it.
    pub fn detect() -> Result<Self> {
        static CHOICE: OnceLock<Result<Isa, String>> = OnceLock::new();
        let choice = CHOICE.get_or_init(|| match std::env::var_os("GEMMULE_ISA") {
            None => Ok(Self::available().next().unwrap_or(Self::Portable)),
            Some(value) => {
                let text = value.to_string_lossy().into_owned();
                text.parse().ok().filter(|isa: &Self| isa.is_available()).ok_or(text)
            }
        });
        choice.clone().map_err(|text| Self::unavailable(&text))
    }

    pub(crate) fn unavailable(requested: &str) -> Error {
        let names: Vec<_> = Self::available().map(Self::name).collect();
        Error::Isa { requested: requested.to_owned(), available: names.join(", ") }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Isa {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == text).ok_or_else(|| Self::unavailable(text))
    }
}

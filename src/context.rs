//! The instruction set, the parallelism and the library for products that a call uses.

use crate::error::{Error, Result};
use crate::simd::{Isa, Kernel, Selected};
use std::fmt;

/// How many threads a call may use. The bits of the result do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parallelism {
    /// As many as the work is worth, at most [`available_threads`](crate::available_threads).
    #[default]
    Auto,
    /// The caller's thread alone; rayon is never touched.
    Serial,
    /// As many as the work is worth, at most this many (0 counts as 1).
    Max(usize),
}

/// Who computes the products of [`gemm`](crate::gemm) and [`gemm_with`](crate::gemm_with).
///
/// [`Native`](Self::Native) unless a context says otherwise ([`Context::with_backend`]). A feature of this crate, of the
/// same name, compiles another library in; it chooses nothing, so what others in a program turn on changes no result of
/// yours. The variants are there in every build.
///
/// What another library computes keeps the meaning of every argument, and the error bound of any order of summation as
/// far as the library sums products one by one. **It has other bits**: the order of its sums is its own, and may depend
/// on its version, the CPU and its threads. The promise of the same bits is for [`Native`](Self::Native) alone.
///
/// Ours runs whatever the library does not take: products too small to be worth the call, alpha = 0, and the strides
/// that a variant names. Bias, activation and derivative ([`Epilogue`](crate::Epilogue)) are always ours. Models run
/// products of their own and refuse a context with another backend when they are built; all other kernels ignore it.
/// Memory that a library cannot have for itself ends the process, where ours gives an error.
///
/// ```
/// use gemmule::{Backend, Context};
///
/// let mut context = Context::detect()?;
/// assert_eq!(context.backend(), Backend::Native);
/// if Backend::Matrixmultiply.is_available() {
///     context = context.with_backend(Backend::Matrixmultiply)?;
/// }
/// println!("{context:?} of {:?}", Backend::available().collect::<Vec<_>>());
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// This crate's own product.
    #[default]
    Native,
    /// The crate matrixmultiply, with the feature `matrixmultiply`: any strides, on the caller's thread alone, on the
    /// instruction set that it chooses itself. Its own feature `threading` is left off here; if another crate turns it
    /// on, `MATMUL_NUM_THREADS` limits its threads, not [`Parallelism`].
    Matrixmultiply,
    /// The BLAS that the final binary links, with the feature `cblas`: `cblas_sgemm` and `cblas_dgemm` with 32-bit
    /// integers. A build with the feature links only with such a library, such as OpenBLAS by
    /// `RUSTFLAGS="-C link-arg=-lopenblas"` or the crate `blas-src`.
    ///
    /// It takes operands that BLAS can describe: in each of A, B and C one dimension has stride 1 and the other a
    /// stride of at least the first one's length, and all sizes fit in 32 bits. So it takes rows, columns, their
    /// transposes and parts of them, but neither negative strides, nor zero ones, nor two other than 1.
    ///
    /// Threads and instruction set are the library's: [`Parallelism`] is not heeded, not even
    /// [`Serial`](Parallelism::Serial). Limit it by its own means, such as `OPENBLAS_NUM_THREADS`.
    Cblas,
}

impl Backend {
    const ALL: [Self; 3] = [Self::Native, Self::Matrixmultiply, Self::Cblas];

    /// `native`, `matrixmultiply` or `cblas`; the latter two are also the features' names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Matrixmultiply => "matrixmultiply",
            Self::Cblas => "cblas",
        }
    }

    /// True if it is compiled into this build.
    pub const fn is_available(self) -> bool {
        match self {
            Self::Native => true,
            Self::Matrixmultiply => cfg!(feature = "matrixmultiply"),
            Self::Cblas => cfg!(feature = "cblas"),
        }
    }

    /// All that are compiled into this build, [`Native`](Self::Native) first.
    pub fn available() -> impl Iterator<Item = Self> + Clone {
        Self::ALL.into_iter().filter(|backend| backend.is_available())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The instruction set, the parallelism and the library for products that a call uses.
///
/// ```
/// use gemmule::{Context, Isa, Parallelism};
///
/// let context = Context::detect()?.with_parallelism(Parallelism::Serial);
/// println!("running on {}", context.isa());
/// let portable = Context::new(Isa::Portable)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Context {
    selected: Selected,
    parallelism: Parallelism,
    backend: Backend,
}

impl Context {
    /// The instruction set of [`Isa::detect`], [`Parallelism::Auto`] and [`Backend::Native`].
    ///
    /// # Errors
    /// [`Error::Isa`](crate::Error::Isa) if `GEMMULE_ISA` is unknown or this CPU lacks it.
    pub fn detect() -> Result<Self> {
        Self::new(Isa::detect()?)
    }

    /// The instruction set `isa`, [`Parallelism::Auto`] and [`Backend::Native`].
    ///
    /// # Errors
    /// [`Error::Isa`](crate::Error::Isa) if this CPU lacks it.
    pub fn new(isa: Isa) -> Result<Self> {
        let selected = Selected::new(isa).ok_or_else(|| Isa::unavailable(isa.name()))?;
        Ok(Self { selected, parallelism: Parallelism::Auto, backend: Backend::Native })
    }

    /// What every CPU has, for checks whose result is the same on all of them.
    pub(crate) fn portable() -> Result<Self> {
        Self::new(Isa::Portable)
    }

    /// The same with another parallelism.
    #[must_use]
    pub fn with_parallelism(self, parallelism: Parallelism) -> Self {
        Self { parallelism, ..self }
    }

    /// The same with another library for products.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is not compiled into this build: the feature of its name is off.
    pub fn with_backend(self, backend: Backend) -> Result<Self> {
        if backend.is_available() {
            return Ok(Self { backend, ..self });
        }
        let available: Vec<_> = Backend::available().map(Backend::name).collect();
        Err(Error::argument(
            "Context::with_backend",
            "backend",
            format_args!("{} (this build lacks the feature `{backend}` of gemmule)", available.join(" or ")),
            backend,
        ))
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.selected.isa()
    }

    /// The parallelism.
    pub fn parallelism(&self) -> Parallelism {
        self.parallelism
    }

    /// The library for products.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Runs `kernel` on the caller's thread, compiled for the instruction set, but in the crate that compiles the
    /// caller: `T::run(context, kernel)` is for all but what is itself compiled in this crate (`kernel::compiled`).
    #[inline]
    pub(crate) fn run_here<K: Kernel>(&self, kernel: K) -> K::Output {
        self.selected.run(kernel)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("isa", &self.isa())
            .field("parallelism", &self.parallelism)
            .field("backend", &self.backend)
            .finish()
    }
}

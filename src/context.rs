//! The instruction set and the parallelism that a call uses.

use crate::error::Result;
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

/// The instruction set and the parallelism that a call uses.
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
}

impl Context {
    /// The instruction set of [`Isa::detect`] and [`Parallelism::Auto`].
    ///
    /// # Errors
    /// [`Error::Isa`](crate::Error::Isa) if `GEMMULE_ISA` is unknown or this CPU lacks it.
    pub fn detect() -> Result<Self> {
        Self::new(Isa::detect()?)
    }

    /// The instruction set `isa` and [`Parallelism::Auto`].
    ///
    /// # Errors
    /// [`Error::Isa`](crate::Error::Isa) if this CPU lacks it.
    pub fn new(isa: Isa) -> Result<Self> {
        let selected = Selected::new(isa).ok_or_else(|| Isa::unavailable(isa.name()))?;
        Ok(Self { selected, parallelism: Parallelism::Auto })
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

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.selected.isa()
    }

    /// The parallelism.
    pub fn parallelism(&self) -> Parallelism {
        self.parallelism
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
        f.debug_struct("Context").field("isa", &self.isa()).field("parallelism", &self.parallelism).finish()
    }
}

//! The waist: the kernels' code is compiled in this crate, once for f32 and once for f64.
//!
//! Generic code is compiled in the crate that calls it, with that crate's optimisation level: a user's debug build
//! would run its own unoptimised copy of every kernel, whatever it sets for this package. So what is generic ends in
//! a call of a function that is not:
//!
//! ```text
//!   user's crate    activation::forward::<f32>    checks, picks the kernel
//!                      T::run(context, Map { operation: Exp, .. })
//!   ------------------ <f32 as Compiled<Map<f32, Exp>>>::run -----------------------------------------
//!   this crate      the kernel for each instruction set
//! ```
//!
//! A kernel is one line in its module's `compiled!` list; `T::run` of one that is in no list does not compile.

use crate::context::Context;
use crate::simd::Kernel;

/// A kernel, or what runs several.
pub trait Job {
    /// What it returns.
    type Output;
    /// Runs it in the code that calls this. Mark it `#[inline(always)]`.
    fn run_here(self, context: &Context) -> Self::Output;
}

impl<K: Kernel> Job for K {
    type Output = K::Output;
    #[inline(always)]
    fn run_here(self, context: &Context) -> K::Output {
        context.run_here(self)
    }
}

/// This float has the code of `J`, compiled in this crate.
pub trait Compiled<J> {
    /// Runs `job` on the caller's thread and the context's instruction set.
    fn run(context: &Context, job: J) -> J::Output
    where
        J: Job;
}

/// Compiles these jobs for f32 and f64: `Kernels` is for [`Element`](super::Element)'s supertraits. `Self` is the
/// float, `'a` any lifetime.
macro_rules! compiled {
    (@ $float:ty: $($job:ty,)*) => {
        $(impl<'a> $crate::kernel::compiled::Compiled<$job> for $float {
            #[inline(never)]
            fn run(
                context: &$crate::context::Context,
                job: $job,
            ) -> <$job as $crate::kernel::compiled::Job>::Output {
                $crate::kernel::compiled::Job::run_here(job, context)
            }
        })*
        impl Kernels for $float {}
    };
    ($($job:ty,)*) => {
        /// This module's kernels are compiled in this crate.
        #[allow(private_bounds, reason = "the module's public functions run them, nobody else names them")]
        pub(crate) trait Kernels: $(for<'a> $crate::kernel::compiled::Compiled<$job> +)* {}
        $crate::kernel::compiled::compiled!(@ f32: $($job,)*);
        $crate::kernel::compiled::compiled!(@ f64: $($job,)*);
    };
}
pub(crate) use compiled;

//! Kernels over long arrays, shared by several threads.
//!
//! ```text
//!   kernel     | 0 ............................................ units |       units: elements, or rows
//!   pieces     |  0  |  1  |  2  |  3  |  4  |  5  |  6  |  7  |              each claimed by who is there
//! ```
//!
//! Where the arrays are cut changes no bit: these kernels compute an element (or a row) from what belongs to it alone.
//! A kernel says how it is cut and what it moves; this file says when threads are worth it, for all of them.

use super::compiled::{Compiled, Job};
use crate::context::Context;
use crate::parallel;
use std::sync::{Mutex, PoisonError};

/// Fewer bytes are not worth another thread. Measured on two cores of an AMD EPYC (AVX-512), microseconds with one thread and
/// with two, of kernels that read and write so much in all:
///
/// ```text
///                called back to back                  after 1 ms of other work: the helper sleeps
///                512 KiB      2 MiB       8 MiB       2 MiB       4 MiB        8 MiB        64 MiB
///   ReLU         5.7   4.9    26   16    107    60    57    86    104   130    288   270    4198  2849
///   exp         11.5  10.3    42   39    159   151    42    69     88   112    204   217    2999  2836
///   Adam        13.3  11.5    47   42    182   166    69    92    145   138    392   282    4725  2957
///   sum          5.4   4.5    25   15    107    54    45    76     96   113    276   213    4904  3115
/// ```
///
/// A helper that is awake pays from 0.4 MiB on; waking one costs its caller some 25 microseconds, which pay from 4 to 8 MiB on.
/// Nobody knows here which it will be: from 4 MiB on, the most that either can lose is about the same.
const BYTES_PER_THREAD: usize = 2 << 20;

/// The pieces that a member gets if all come: enough that one who comes late, or runs slower, holds nobody up.
const PIECES_PER_MEMBER: usize = 4;

/// They wait on the stack. A team of more members than this shares them.
const MOST_PIECES: usize = 64;

/// Where cuts may be: whole cache lines and vectors, for any kernel whose units are elements.
const GRAIN: usize = 256;

/// The same for columns of a matrix of rows: 256 bytes of f32 in each row, which is long enough for a prefetcher.
const COLUMNS: usize = 64;

/// A kernel whose arrays can be cut at any unit: see [`cut!`].
pub(crate) trait Cut: Sized {
    /// Elements, or rows.
    fn units(&self) -> usize;
    /// What it reads and writes.
    fn bytes(&self) -> usize;
    /// The first `units` and the rest.
    fn cut(self, units: usize) -> (Self, Self);
}

/// What a kernel holds, cut like the kernel.
pub(crate) trait Halves: Sized {
    /// The bytes of it.
    fn bytes(&self) -> usize;
    /// The first `units` and the rest.
    fn halves(self, units: usize) -> (Self, Self);
}

impl<T> Halves for &[T] {
    fn bytes(&self) -> usize {
        size_of_val(*self)
    }
    fn halves(self, units: usize) -> (Self, Self) {
        self.split_at(units)
    }
}

/// A slice alone: every element is a unit.
impl<T> Cut for &mut [T] {
    fn units(&self) -> usize {
        self.len()
    }
    fn bytes(&self) -> usize {
        size_of_val(*self)
    }
    fn cut(self, units: usize) -> (Self, Self) {
        self.split_at_mut(units)
    }
}

impl<T> Halves for &mut [T] {
    fn bytes(&self) -> usize {
        size_of_val(*self)
    }
    fn halves(self, units: usize) -> (Self, Self) {
        self.split_at_mut(units)
    }
}

impl<H: Halves> Halves for Option<H> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, H::bytes)
    }
    fn halves(self, units: usize) -> (Self, Self) {
        self.map_or((None, None), |part| {
            let (first, rest) = part.halves(units);
            (Some(first), Some(rest))
        })
    }
}

impl<H: Halves + Default, const N: usize> Halves for [H; N] {
    fn bytes(&self) -> usize {
        self.iter().map(H::bytes).sum()
    }
    fn halves(mut self, units: usize) -> (Self, Self) {
        let firsts = std::array::from_fn(|i| {
            let first;
            (first, self[i]) = std::mem::take(&mut self[i]).halves(units);
            first
        });
        (firsts, self)
    }
}

/// Says how a kernel is cut: the fields that have one entry per unit (the first of them a slice: its length is the
/// number of units), those that have `wide` entries, a field too, and those that every piece keeps.
///
/// ```text
/// cut! { ['a, T, R: Copy] Rows<'a, T, R>: per_unit(out) wide(width: input) keep(reduction, width) }
/// ```
///
/// Where there is no slice with one entry per unit, `wide` comes first.
macro_rules! cut {
    (
        [$($generics:tt)*] $kernel:ty:
        wide($width:ident: $first:ident $(, $wide:ident)*)
        per_unit($($each:ident),*)
        keep($($kept:ident),*)
    ) => {
        impl<$($generics)*> $crate::kernel::share::Cut for $kernel {
            fn units(&self) -> usize {
                self.$first.len() / self.$width
            }
            fn bytes(&self) -> usize {
                use $crate::kernel::share::Halves;
                Halves::bytes(&self.$first) $(+ Halves::bytes(&self.$wide))* $(+ Halves::bytes(&self.$each))*
            }
            fn cut(self, units: usize) -> (Self, Self) {
                use $crate::kernel::share::Halves;
                let Self { $first, $($wide,)* $($each,)* $($kept),* } = self;
                let $first = Halves::halves($first, units * $width);
                $(let $wide = Halves::halves($wide, units * $width);)*
                $(let $each = Halves::halves($each, units);)*
                (
                    Self { $first: $first.0, $($wide: $wide.0,)* $($each: $each.0,)* $($kept),* },
                    Self { $first: $first.1, $($wide: $wide.1,)* $($each: $each.1,)* $($kept),* },
                )
            }
        }
    };
    (
        [$($generics:tt)*] $kernel:ty:
        per_unit($first:ident $(, $each:ident)*)
        $(wide($width:ident: $($wide:ident),+))?
        keep($($kept:ident),*)
    ) => {
        impl<$($generics)*> $crate::kernel::share::Cut for $kernel {
            fn units(&self) -> usize {
                self.$first.len()
            }
            fn bytes(&self) -> usize {
                use $crate::kernel::share::Halves;
                Halves::bytes(&self.$first) $(+ Halves::bytes(&self.$each))* $($(+ Halves::bytes(&self.$wide))+)?
            }
            fn cut(self, units: usize) -> (Self, Self) {
                use $crate::kernel::share::Halves;
                let Self { $first, $($each,)* $($($wide,)+)? $($kept),* } = self;
                let $first = Halves::halves($first, units);
                $(let $each = Halves::halves($each, units);)*
                $($(let $wide = Halves::halves($wide, units * $width);)+)?
                (
                    Self { $first: $first.0, $($each: $each.0,)* $($($wide: $wide.0,)+)? $($kept),* },
                    Self { $first: $first.1, $($each: $each.1,)* $($($wide: $wide.1,)+)? $($kept),* },
                )
            }
        }
    };
}
pub(crate) use cut;

/// What pieces of a kernel return, together.
pub(crate) trait Merge: Send {
    /// Both. The order of the pieces is not kept.
    fn merge(self, other: Self) -> Self;
}

impl Merge for () {
    fn merge(self, (): Self) {}
}

/// True if all pieces are.
impl Merge for bool {
    fn merge(self, other: Self) -> Self {
        self && other
    }
}

/// True if a kernel that only reads `x` would be shared.
pub(crate) fn is_long<T>(x: &[T]) -> bool {
    size_of_val(x) >= 2 * BYTES_PER_THREAD
}

/// Runs `kernel` on as many threads as its size is worth and the context allows.
pub(crate) fn run<T, K>(context: &Context, kernel: K) -> K::Output
where
    T: Compiled<K>,
    K: Job + Cut + Send,
    K::Output: Merge,
{
    run_by(context, kernel, |piece| T::run(context, piece))
}

/// Runs a kernel whose units are the columns of a matrix of rows: in pieces of whole [`COLUMNS`] alone, since a piece of
/// few would read the same cache lines as its neighbours. So a narrow matrix stays on the caller's thread.
pub(crate) fn run_columns<T, K>(context: &Context, kernel: K) -> K::Output
where
    T: Compiled<K>,
    K: Job + Cut + Send,
    K::Output: Merge,
{
    let most = kernel.units() / COLUMNS;
    run_in(context, kernel, COLUMNS, most, |piece| T::run(context, piece))
}

/// Calls `f` with pieces of `whole`, on as many threads as its size is worth and the context allows.
pub(crate) fn run_by<K: Cut + Send, R: Merge>(context: &Context, whole: K, f: impl Fn(K) -> R + Sync) -> R {
    run_in(context, whole, GRAIN, usize::MAX, f)
}

/// The same in pieces of whole `grain`s, on at most `most` threads.
fn run_in<K: Cut + Send, R: Merge>(
    context: &Context,
    whole: K,
    grain: usize,
    most: usize,
    f: impl Fn(K) -> R + Sync,
) -> R {
    let worth = (whole.bytes() / BYTES_PER_THREAD).min(most);
    // Only then: asking may build rayon's pool.
    let width = if worth > 1 { worth.min(parallel::limit(context.parallelism())) } else { 1 };
    if width > 1 { share(whole, width, grain, f) } else { f(whole) }
}

/// Calls `f` with pieces of whole `grain`s, on a team of up to `width`.
fn share<K: Cut + Send, R: Merge>(whole: K, width: usize, grain: usize, f: impl Fn(K) -> R + Sync) -> R {
    let grain = if whole.units() / grain < width { 1 } else { grain };
    let grains = whole.units().div_ceil(grain);
    let count = (width * PIECES_PER_MEMBER).min(MOST_PIECES).min(grains).max(1);
    let pieces = [const { Mutex::new(None) }; MOST_PIECES];
    let mut rest = whole;
    for (i, piece) in pieces[..count - 1].iter().enumerate() {
        // As even as whole grains allow; the last piece has what is left.
        let first;
        (first, rest) = rest.cut((grains * (i + 1) / count - grains * i / count) * grain);
        *lock(piece) = Some(first);
    }
    *lock(&pieces[count - 1]) = Some(rest);
    let result = Mutex::new(None);
    parallel::with_team(width.min(count), |team| {
        team.phase(count, &|tile| {
            let piece = lock(&pieces[tile.index]).take();
            if let Some(piece) = piece {
                let output = f(piece);
                let mut result = lock(&result);
                *result = Some(match result.take() {
                    Some(other) => R::merge(other, output),
                    None => output,
                });
            }
        });
    });
    let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A phase runs all of its tiles, and there is at least one.
    result.unwrap_or_else(|| unreachable!("a phase without a tile"))
}

/// A panic elsewhere leaves nothing half done in these: an option is there or not.
fn lock<V>(mutex: &Mutex<V>) -> std::sync::MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(dead_code, reason = "the trait that `compiled!` makes for a module's public functions")]
mod tests {
    use super::*;
    use crate::context::Parallelism;
    use crate::kernel::compiled::compiled;
    use crate::kernel::element::Element;
    use crate::simd::{Kernel, Simd};

    /// Adds 1 to every element. True if none was above 2.
    struct Increment<'a, T> {
        values: &'a mut [T],
    }

    impl<T: Element> Kernel for Increment<'_, T> {
        type Output = bool;
        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> bool {
            let two = T::one() + T::one();
            let mut small = true;
            for x in self.values {
                small &= *x <= two;
                *x += T::one();
            }
            small
        }
    }

    cut! { ['a, T] Increment<'a, T>: per_unit(values) keep() }

    compiled! {
        Increment<'a, Self>,
    }

    #[test]
    fn every_unit_is_in_one_piece_whatever_the_width_and_grain() {
        let context = Context::detect().expect("an instruction set");
        for units in [0, 1, 2, 7, 255, 256, 257, 1000, 5000] {
            for width in [1, 2, 3, 8, 40, 1000] {
                for grain in [1, 16, 256] {
                    let mut values: Vec<f32> = (0..units).map(|i| (i % 3) as f32).collect();
                    let increment = |values: &mut [f32]| {
                        share(Increment { values }, width, grain, |piece| f32::run(&context, piece))
                    };
                    assert!(increment(&mut values));
                    assert!(values.iter().enumerate().all(|(i, &x)| x == (i % 3) as f32 + 1.0));
                    if units > 0 {
                        values[units / 2] = 3.0;
                        assert!(!increment(&mut values));
                    }
                }
            }
        }
    }

    #[test]
    fn large_kernels_are_shared_and_the_caller_can_forbid_it() {
        for parallelism in [Parallelism::Auto, Parallelism::Serial, Parallelism::Max(3)] {
            let context = Context::detect().expect("an instruction set").with_parallelism(parallelism);
            let mut values = vec![0.0_f64; BYTES_PER_THREAD / 2 + 3];
            assert!(run::<f64, _>(&context, Increment { values: &mut values }));
            assert!(values.iter().all(|&x| x == 1.0));
        }
    }
}

//! Random numbers from a counter: any position of any stream in O(1).
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011): ten rounds of two 32 x 32 bit products mix a counter under a key. A number depends on its seed,
//! its stream and its position alone, so nothing that is drawn here depends on threads, and a resumed run
//! continues exactly where it stopped.
//!
//! ```text
//!   seed --> key ---------------------------------+
//!   stream(id), again and again --> key, upper    |
//!                                                 v
//!   position / 4 , upper --> [block, block, upper, upper] --> 10 rounds --> 4 words of 32 bits
//!   position % 4 chooses the word ------------------------------------------^
//! ```
//!
//! Uniform numbers, masks and orders have the same bits everywhere. Normal and exponential numbers use polynomials with fused
//! multiply-add: the same bits on every instruction set that has it, and elsewhere the same numbers within their error bounds.
//!
//! | fill | words of 32 bits per element | computed in |
//! | --- | --- | --- |
//! | [`fill_uniform`](Rng::fill_uniform) | 2 | f64, rounded once |
//! | [`fill_normal`](Rng::fill_normal) | 2 | f32 or f64 |
//! | [`fill_truncated_normal`](Rng::fill_truncated_normal) | 2 | f64, rounded once |
//! | [`fill_exponential`](Rng::fill_exponential) | 2 | f64, rounded once |
//! | [`fill_bernoulli`](Rng::fill_bernoulli), [`fill_dropout`](Rng::fill_dropout), [`fill_bools`](Rng::fill_bools) | 1 | integers |
//!
//! So any part of an array can be filled alone: the elements from `start` on are what `rng.at(rng.position() +
//! words * start)` gives, for any cut of the array and any number of threads. Long arrays are shared by threads. [`shuffle`](Rng::shuffle) and
//! [`permutation`](Rng::permutation) draw one item after the other.

mod fill;
mod generator;
mod order;
mod philox;
mod quantile;
#[cfg(test)]
mod tests;

pub(crate) use fill::Kernels;
pub use generator::Rng;
pub(crate) use quantile::Quantile;

/// Ids for [`Rng::stream`], one per purpose, so that drawing more for one purpose never moves another.
///
/// The crate uses ids below 2^32; choose yours above.
pub mod purpose {
    /// First weights.
    pub const INIT: u64 = 1;
    /// The order of the samples in an epoch.
    pub const SHUFFLE: u64 = 2;
    /// Dropout masks.
    pub const DROPOUT: u64 = 3;
    /// Splits of a data set.
    pub const SPLIT: u64 = 4;
    /// Augmentation of samples.
    pub const AUGMENT: u64 = 5;
    /// Folds of a cross-validation.
    pub const FOLD: u64 = 16;
    /// Weighted draws of the samples of an epoch.
    pub const SAMPLER: u64 = 17;
    /// Over- and under-sampling.
    pub const RESAMPLE: u64 = 18;
    /// Dropout of the weights of attention.
    pub const ATTENTION: u64 = 19;
}

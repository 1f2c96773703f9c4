//! Arrays of random numbers: each element is a function of its own words alone.

use super::generator::{Rng, TWO_TO_MINUS_53};
use super::philox::{Drawn, PAIRS, Pair, Source};
use super::quantile::{
    MIDDLE, Quantile, TWO_TO_MINUS_64, ln, probability as normal_probability, smaller, tail,
};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::compiled::{Compiled, Job, compiled};
use crate::kernel::share::{self, Halves, cut};
use crate::simd::{Kernel, Simd, Vector};

/// The words from `position` on, so many for each of `count` elements.
#[derive(Clone, Copy)]
struct Words {
    source: Source,
    position: u64,
    each: u64,
    count: usize,
}

impl Words {
    fn of(rng: &Rng, each: u64, count: usize) -> Self {
        Self { source: Source { key: rng.key, upper: rng.upper }, position: rng.position, each, count }
    }

    /// Those of the elements from number `before` on.
    #[inline(always)]
    fn after(self, before: usize) -> Self {
        // Positions are modulo 2^64.
        let position = self.position.wrapping_add((before as u64).wrapping_mul(self.each));
        Self { position, count: self.count - before, ..self }
    }

    /// The first pairs of them.
    #[inline(always)]
    fn pairs(self, count: usize, drawn: &mut Drawn) -> &[Pair] {
        self.source.pairs(self.position, count, drawn)
    }
}

impl Halves for Words {
    /// What the other kernels move while a word is drawn and used.
    fn bytes(&self) -> usize {
        self.count.saturating_mul(self.each as usize).saturating_mul(16)
    }
    fn halves(self, units: usize) -> (Self, Self) {
        (Self { count: units, ..self }, self.after(units))
    }
}

/// The upper 53 bits: 2^53 times a uniform number in `[0, 1)`, exact. By way of a signed integer, for which more
/// instruction sets have a conversion.
#[inline(always)]
fn numerator(pair: Pair) -> f64 {
    (pair >> 11) as i64 as f64
}

struct Uniform<'a, T> {
    words: Words,
    low: f64,
    /// The width times 2^-53.
    scale: f64,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Uniform<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut drawn = [0; PAIRS + 2];
        for (i, out) in self.out.chunks_mut(PAIRS).enumerate() {
            let pairs = self.words.after(i * PAIRS).pairs(out.len(), &mut drawn);
            for (out, &pair) in out.iter_mut().zip(pairs) {
                *out = T::from_f64(self.low + self.scale * numerator(pair));
            }
        }
    }
}

struct Normal<'a, T> {
    words: Words,
    mean: f64,
    std: f64,
    out: &'a mut [T],
}

impl<T: Element + Quantile> Kernel for Normal<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut drawn = [0; PAIRS + 2];
        let (mut half, mut square) = ([T::zero(); PAIRS], [T::one(); PAIRS]);
        let (mean, std) = (T::from_f64(self.mean), T::from_f64(self.std));
        let (means, stds) = (T::V::<S>::splat(s, mean), T::V::<S>::splat(s, std));
        let least = T::from_f64(MIDDLE);
        for (i, out) in self.out.chunks_mut(PAIRS).enumerate() {
            let pairs = self.words.after(i * PAIRS).pairs(out.len(), &mut drawn);
            let mut tails = 0_u32;
            for ((half, square), &pair) in half.iter_mut().zip(&mut square).zip(pairs) {
                (*half, *square) = T::draw(pair);
                tails += u32::from(*square < least);
            }
            let lanes = T::V::<S>::LANES;
            let numbers = half.chunks(lanes).zip(square.chunks(lanes)).zip(out.chunks_mut(lanes));
            for ((half, square), out) in numbers {
                let z = T::middle(s, T::V::<S>::load(s, half), T::V::<S>::load(s, square));
                z.mul_add(stds, means).store_first(out);
            }
            if tails > 0 {
                for ((out, &square), &pair) in out.iter_mut().zip(&square).zip(pairs) {
                    if square < least {
                        let z = tail((smaller(pair) as i64 as f64 + 0.5) * TWO_TO_MINUS_64);
                        *out = T::from_f64(self.mean + self.std * if (pair as i64) < 0 { z } else { -z });
                    }
                }
            }
        }
    }
}

struct TruncatedNormal<'a, T> {
    words: Words,
    mean: f64,
    /// Negative for bounds above the mean, which are mirrored.
    std: f64,
    /// The probability below the lower bound, above the upper bound, and between them.
    below: f64,
    above: f64,
    between: f64,
    /// The bounds in the elements' type.
    low: T,
    high: T,
    out: &'a mut [T],
}

impl<T: Element> Kernel for TruncatedNormal<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mut half, mut square, mut small) = ([0.0; PAIRS], [1.0; PAIRS], [0.0; PAIRS]);
        let mut drawn = [0; PAIRS + 2];
        for (i, out) in self.out.chunks_mut(PAIRS).enumerate() {
            let pairs = self.words.after(i * PAIRS).pairs(out.len(), &mut drawn);
            let mut tails = 0_u32;
            let parts = half.iter_mut().zip(&mut square).zip(&mut small);
            for (((half, square), small), &pair) in parts.zip(pairs) {
                // An odd multiple of 2^-53, so neither it nor one less it is 0, and both are exact.
                let u = numerator(pair | 1 << 11) * TWO_TO_MINUS_53;
                // The probability below the value and that above it, each exact to a few ULP where it is small.
                let p = self.below + self.between * u;
                let q = self.above + self.between * (1.0 - u);
                *half = if p < q { p - 0.5 } else { 0.5 - q };
                // The smaller one, the upper one with a sign.
                *small = if p < q { p } else { -q };
                *square = 4.0 * (p * q);
                tails += u32::from(*square < MIDDLE);
            }
            let lanes = S::F64::LANES;
            for (half, square) in half.chunks_mut(lanes).zip(square.chunks(lanes)) {
                f64::middle(s, S::F64::load(s, half), S::F64::load(s, square)).store(half);
            }
            if tails > 0 {
                for ((z, &square), &small) in half.iter_mut().zip(&square).zip(&small) {
                    if square < MIDDLE {
                        *z = tail(small.abs()).copysign(-small);
                    }
                }
            }
            for (out, &z) in out.iter_mut().zip(&half) {
                let x = T::from_f64(self.mean + self.std * z);
                // Rounding alone goes beyond a bound.
                let x = if x < self.low { self.low } else { x };
                *out = if x > self.high { self.high } else { x };
            }
        }
    }
}

struct Exponential<'a, T> {
    words: Words,
    rate: f64,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Exponential<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut x = [1.0; PAIRS];
        let mut drawn = [0; PAIRS + 2];
        for (i, out) in self.out.chunks_mut(PAIRS).enumerate() {
            let pairs = self.words.after(i * PAIRS).pairs(out.len(), &mut drawn);
            for (x, &pair) in x.iter_mut().zip(pairs) {
                *x = 1.0 - numerator(pair) * TWO_TO_MINUS_53;
            }
            for x in x.chunks_exact_mut(S::F64::LANES) {
                ln(s, S::F64::load(s, x)).store(x);
            }
            for (out, &x) in out.iter_mut().zip(&x) {
                *out = T::from_f64((0.0 - x) / self.rate);
            }
        }
    }
}

struct Mask<'a, V> {
    words: Words,
    /// A word up to this is a hit.
    last: u32,
    hit: V,
    miss: V,
    out: &'a mut [V],
}

impl<V: Copy> Kernel for Mask<'_, V> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut words = [0; 2 * PAIRS];
        let mut drawn = [0; PAIRS + 2];
        for (i, out) in self.out.chunks_mut(2 * PAIRS).enumerate() {
            let pairs = self.words.after(i * 2 * PAIRS).pairs(out.len().div_ceil(2), &mut drawn);
            for (words, &pair) in words.chunks_exact_mut(2).zip(pairs) {
                (words[0], words[1]) = (pair as u32, (pair >> 32) as u32);
            }
            for (out, &word) in out.iter_mut().zip(&words) {
                *out = if word <= self.last { self.hit } else { self.miss };
            }
        }
    }
}

cut! { ['a, T] Uniform<'a, T>: per_unit(out, words) keep(low, scale) }
cut! { ['a, T] Normal<'a, T>: per_unit(out, words) keep(mean, std) }
cut! { ['a, T: Copy] TruncatedNormal<'a, T>: per_unit(out, words) keep(mean, std, below, above, between, low, high) }
cut! { ['a, T] Exponential<'a, T>: per_unit(out, words) keep(rate) }
cut! { ['a, V: Copy] Mask<'a, V>: per_unit(out, words) keep(last, hit, miss) }

compiled! {
    Uniform<'a, Self>,
    Normal<'a, Self>,
    TruncatedNormal<'a, Self>,
    Exponential<'a, Self>,
    Mask<'a, Self>,
}

/// [`Rng::normal_f64`] at a position.
pub(super) fn normal_at(rng: &Rng) -> f64 {
    let mut out = [f64::NAN];
    let kernel = Normal { words: Words::of(rng, 2, 1), mean: 0.0, std: 1.0, out: &mut out };
    match Context::detect().or_else(|_| Context::portable()) {
        Ok(context) => <f64 as Compiled<Normal<'_, f64>>>::run(&context, kernel),
        // Every CPU has the portable one.
        Err(_) => unreachable!("no instruction set"),
    }
    out[0]
}

fn check(
    operation: &'static str,
    what: &'static str,
    is_good: bool,
    expected: &'static str,
    got: f64,
) -> Result<()> {
    if is_good { Ok(()) } else { Err(Error::argument(operation, what, expected, got)) }
}

fn check_finite(operation: &'static str, what: &'static str, value: f64) -> Result<()> {
    check(operation, what, value.is_finite(), "a finite number", value)
}

fn check_deviation(operation: &'static str, std: f64) -> Result<()> {
    check(operation, "std", std.is_finite() && std >= 0.0, "a finite number, at least 0", std)
}

/// The largest word that is a hit; none if no word is.
fn last_hit(operation: &'static str, what: &'static str, probability: f64) -> Result<Option<u32>> {
    check(operation, what, (0.0..=1.0).contains(&probability), "a probability in 0..=1", probability)?;
    let hits = (probability * 4_294_967_296.0).round() as u64;
    Ok(hits.checked_sub(1).map(|last| last as u32))
}

impl Rng {
    /// `out[i] = low + (high - low) u_i` with u_i in `[0, 1)`, computed in f64 and rounded once to `T`.
    ///
    /// Element i uses the two words from `position() + 2 i` on, in f32 and f64 alike. `high` itself can come
    /// out where rounding leads to it. Advances by `2 out.len()`.
    ///
    /// # Errors
    /// [`Error::Argument`] if a bound or their difference is not finite, or `low` is above `high`.
    ///
    /// ```
    /// use gemmule::{Context, rng::Rng};
    /// let (context, mut weights) = (Context::detect()?, [0.0_f32; 6]);
    /// let mut rng = Rng::new(1);
    /// rng.fill_uniform(&context, &mut weights, -0.5, 0.5)?;
    /// assert!(weights.iter().all(|w| w.abs() <= 0.5));
    ///
    /// // The elements from the third on, without the first two.
    /// let mut tail = [0.0_f32; 4];
    /// rng.at(2 * 2).fill_uniform(&context, &mut tail, -0.5, 0.5)?;
    /// assert_eq!(tail, weights[2..]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn fill_uniform<T: Element>(
        &mut self,
        context: &Context,
        out: &mut [T],
        low: f64,
        high: f64,
    ) -> Result<()> {
        let operation = "fill_uniform";
        check_finite(operation, "low", low)?;
        check_finite(operation, "high", high)?;
        check(operation, "high", high >= low, "at least low", high)?;
        check_finite(operation, "high - low", high - low)?;
        let count = out.len();
        // One product for (high - low) times u: the same bits, but for a width below 2^-969.
        let scale = (high - low) * TWO_TO_MINUS_53;
        share::run::<T, _>(context, Uniform { words: Words::of(self, 2, count), low, scale, out });
        self.advance(2, count);
        Ok(())
    }

    /// `out[i] = mean + std z_i` with z_i of mean 0 and standard deviation 1, rounded once to `T`.
    ///
    /// z is the value below which a normal number stays with the probability `p = 1/2 + (b + 1/2) / 2^64`, where b are the 64
    /// bits of the two words from `position() + 2 i` on, as a signed number: so it grows with b, and the tails reach 9.1
    /// standard deviations in f64, 8.6 in f32. Relative error of z below 4e-12 in f64 and 1e-6 in f32, next to 0 an absolute one of
    /// 4e-10 in f32. Advances by `2 out.len()`.
    ///
    /// The same bits on every instruction set with a fused multiply-add; others have the same error.
    ///
    /// # Errors
    /// [`Error::Argument`] if `mean` or `std` is not finite, or `std` is negative.
    pub fn fill_normal<T: Element>(
        &mut self,
        context: &Context,
        out: &mut [T],
        mean: f64,
        std: f64,
    ) -> Result<()> {
        check_finite("fill_normal", "mean", mean)?;
        check_deviation("fill_normal", std)?;
        let count = out.len();
        share::run::<T, _>(context, Normal { words: Words::of(self, 2, count), mean, std, out });
        self.advance(2, count);
        Ok(())
    }

    /// Normal numbers of mean `mean` and standard deviation `std` given that they lie in `low..=high`: the values of
    /// PyTorch's `trunc_normal_`, whose bounds too are values and not deviations.
    ///
    /// The quantile of a uniform probability between those of the bounds, taken from the nearer tail, so bounds far
    /// out are as good as bounds at the mean; computed in f64, rounded once to `T`, and held to the bounds rounded to
    /// `T`. Element i uses the two words from `position() + 2 i` on, in f32 and f64 alike. Advances by
    /// `2 out.len()`.
    ///
    /// The quantile's relative error is below 4e-12 (in the outer thousandth 1e-15 times the number of deviations squared),
    /// probabilities are those of libm's `erfc`. The same bits on every instruction set with a fused multiply-add.
    ///
    /// # Errors
    /// [`Error::Argument`] if `mean` or `std` is not finite, `std` is not positive, a bound is NaN, `low` is not
    /// below `high`, or both bounds are so far out that the probability between them is below 1e-300.
    ///
    /// ```
    /// use gemmule::{Context, rng::Rng};
    /// let mut weights = [0.0_f32; 100];
    /// Rng::new(1).fill_truncated_normal(&Context::detect()?, &mut weights, 0.0, 0.02, -0.04, 0.04)?;
    /// assert!(weights.iter().all(|w| w.abs() <= 0.04));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn fill_truncated_normal<T: Element>(
        &mut self,
        context: &Context,
        out: &mut [T],
        mean: f64,
        std: f64,
        low: f64,
        high: f64,
    ) -> Result<()> {
        let operation = "fill_truncated_normal";
        check_finite(operation, "mean", mean)?;
        check(operation, "std", std.is_finite() && std > 0.0, "a finite number above 0", std)?;
        check(operation, "low", !low.is_nan(), "a number", low)?;
        check(operation, "high", high > low, "above low", high)?;
        let (mut from, mut to, mut signed) = ((low - mean) / std, (high - mean) / std, std);
        if from > 0.0 {
            (from, to, signed) = (-to, -from, -std);
        }
        let (below, above) = (normal_probability(from), normal_probability(-to));
        // Where both lie below the mean, the difference of two small numbers; else of one and two that are below.
        let between = if to <= 0.0 { normal_probability(to) - below } else { 1.0 - below - above };
        check(operation, "the probability of low..=high", between >= 1e-300, "at least 1e-300", between)?;
        let count = out.len();
        let job = TruncatedNormal {
            words: Words::of(self, 2, count),
            mean,
            std: signed,
            below,
            above,
            between,
            low: T::from_f64(low),
            high: T::from_f64(high),
            out,
        };
        share::run::<T, _>(context, job);
        self.advance(2, count);
        Ok(())
    }

    /// Exponential numbers: `out[i] = -ln(1 - u_i) / rate` with u_i in `[0, 1)`, computed in f64 and rounded once to
    /// `T`. Their mean is `1 / rate`. The logarithm is within 2e-15 of itself, with the same bits on every instruction set
    /// with a fused multiply-add.
    ///
    /// Element i uses the two words from `position() + 2 i` on, in f32 and f64 alike. Advances by `2 out.len()`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `rate` is not finite or not positive.
    pub fn fill_exponential<T: Element>(
        &mut self,
        context: &Context,
        out: &mut [T],
        rate: f64,
    ) -> Result<()> {
        let is_good = rate.is_finite() && rate > 0.0;
        check("fill_exponential", "rate", is_good, "a finite number above 0", rate)?;
        let count = out.len();
        share::run::<T, _>(context, Exponential { words: Words::of(self, 2, count), rate, out });
        self.advance(2, count);
        Ok(())
    }

    /// A mask: 1 with the given probability, else 0.
    ///
    /// Element i is 1 if the word at `position() + i` is below `2^32 probability`, rounded: so the probability is a
    /// multiple of 2^-32, and 0 and 1 are exact. Advances by `out.len()`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `probability` is not in `0..=1`.
    ///
    /// ```
    /// use gemmule::{Context, rng::Rng};
    /// let mut mask = [0.0_f32; 8];
    /// Rng::new(2).fill_bernoulli(&Context::detect()?, &mut mask, 0.25)?;
    /// assert!(mask.iter().all(|&m| m == 0.0 || m == 1.0));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn fill_bernoulli<T: Element>(
        &mut self,
        context: &Context,
        out: &mut [T],
        probability: f64,
    ) -> Result<()> {
        let last = last_hit("fill_bernoulli", "probability", probability)?;
        self.mask(context, out, last, T::one())
    }

    /// The mask of inverted dropout: `1 / keep`, rounded to `T`, with the probability `keep`, else 0. A product with
    /// it keeps the expected value. The hits are those of [`fill_bernoulli`](Self::fill_bernoulli) with `keep`; a
    /// `keep` of 0 gives zeros.
    ///
    /// Element i uses the word at `position() + i`. Advances by `out.len()`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `keep` is not in `0..=1`.
    pub fn fill_dropout<T: Element>(&mut self, context: &Context, out: &mut [T], keep: f64) -> Result<()> {
        let last = last_hit("fill_dropout", "keep", keep)?;
        self.mask(context, out, last, T::from_f64(1.0 / keep))
    }

    fn mask<T: Element>(
        &mut self,
        context: &Context,
        out: &mut [T],
        last: Option<u32>,
        hit: T,
    ) -> Result<()> {
        let count = out.len();
        match last {
            None => out.fill(T::zero()),
            Some(last) => {
                let words = Words::of(self, 1, count);
                share::run::<T, _>(context, Mask { words, last, hit, miss: T::zero(), out });
            }
        }
        self.advance(1, count);
        Ok(())
    }

    /// True with the given probability: the hits of [`fill_bernoulli`](Self::fill_bernoulli). Advances by
    /// `out.len()`.
    ///
    /// # Errors
    /// [`Error::Argument`] if `probability` is not in `0..=1`.
    pub fn fill_bools(&mut self, context: &Context, out: &mut [bool], probability: f64) -> Result<()> {
        let count = out.len();
        match last_hit("fill_bools", "probability", probability)? {
            None => out.fill(false),
            Some(last) => {
                let mask = Mask { words: Words::of(self, 1, count), last, hit: true, miss: false, out };
                share::run_by(context, mask, |piece| piece.run_here(context));
            }
        }
        self.advance(1, count);
        Ok(())
    }

    fn advance(&mut self, words: u64, count: usize) {
        self.position = self.position.wrapping_add(words.wrapping_mul(count as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn bits<T: Element>(each: u64, job: impl FnOnce(Words, &mut [T])) -> Vec<u64> {
        let words = Words {
            source: Source { key: 99, upper: 1 << 40 },
            position: u64::MAX - 1001,
            each,
            count: 1500,
        };
        let mut out = vec![T::nan(); 1500];
        job(words, &mut out);
        out.iter().map(|x| x.bits()).collect()
    }

    /// Every kernel, which no context reaches, on an instruction set.
    fn all<T: Element + Quantile>(context: &Context) -> [Vec<u64>; 5] {
        let (low, high) = (T::from_f64(-2.0), T::from_f64(2.0));
        [
            bits(2, |words, out: &mut [T]| Uniform { words, low: 0.1, scale: 1e-15, out }.run_here(context)),
            bits(2, |words, out: &mut [T]| Normal { words, mean: 0.1, std: 3.0, out }.run_here(context)),
            bits(2, |words, out: &mut [T]| {
                let (below, above, between) = (0.02, 0.03, 0.95);
                TruncatedNormal { words, mean: 0.1, std: 1.0, below, above, between, low, high, out }
                    .run_here(context);
            }),
            bits(2, |words, out: &mut [T]| Exponential { words, rate: 3.0, out }.run_here(context)),
            bits(1, |words, out: &mut [T]| {
                Mask { words, last: 1 << 30, hit: high, miss: low, out }.run_here(context)
            }),
        ]
    }

    #[test]
    fn every_instruction_set_draws_the_same() {
        let contexts: Vec<Context> = Isa::available().map(|isa| Context::new(isa).unwrap()).collect();
        let expected = (all::<f32>(&contexts[0]), all::<f64>(&contexts[0]));
        for context in contexts {
            let drawn = (all::<f32>(&context), all::<f64>(&context));
            for i in 0..5 {
                // Uniform numbers and masks need no fused multiply-add.
                if context.isa().has_fma() || i == 0 || i == 4 {
                    assert!(drawn.0[i] == expected.0[i], "{i} {}", context.isa());
                    assert!(drawn.1[i] == expected.1[i], "{i} {}", context.isa());
                }
            }
        }
    }
}

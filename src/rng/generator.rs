//! A stream, a position in it, and single numbers.

use super::fill::normal_at;
use super::philox::philox;

/// A stream of random numbers and a position in it, counted in words of 32 bits.
///
/// The period is 2^64 words; after it the stream repeats.
///
/// ```
/// use gemmule::rng::Rng;
///
/// let mut rng = Rng::new(42);
/// let first = rng.next_u32();
/// let second = rng.next_u32();
/// assert_eq!(rng.position(), 2);
///
/// // Any position in O(1).
/// assert_eq!(Rng::new(42).at(1).next_u32(), second);
///
/// // A stream for each purpose; streams of streams too.
/// let mut epoch_7 = Rng::new(42).stream(1).stream(7);
/// assert_ne!(epoch_7.next_u32(), first);
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    pub(super) key: u64,
    pub(super) upper: u64,
    pub(super) position: u64,
    /// The four words of block `cached`; `NO_BLOCK` if none was computed yet.
    words: [u32; 4],
    cached: u64,
}

/// Not the number of a block: those are below 2^62.
const NO_BLOCK: u64 = u64::MAX;

/// Keeps the counters that streams are derived from apart from those that numbers are drawn from: the drawing key
/// and the deriving key differ by this constant (the first 64 bits of the fraction of pi).
const DERIVE: u64 = 0x243f_6a88_85a3_08d3;

impl Rng {
    /// The stream of `seed`, at position 0.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { key: seed, upper: 0, position: 0, words: [0; 4], cached: NO_BLOCK }
    }

    /// The stream `id` of this stream, at position 0. Does not depend on this stream's position.
    ///
    /// Two ids of one stream never give the same stream: the derivation is a bijection of `id`.
    /// See [`purpose`](super::purpose) for the ids that the crate uses.
    #[must_use]
    pub fn stream(&self, id: u64) -> Self {
        let [a, b, c, d] = philox(counter(id, self.upper), self.key ^ DERIVE);
        Self { upper: join(c, d), ..Self::new(join(a, b)) }
    }

    /// The same stream at another position.
    ///
    /// ```
    /// use gemmule::rng::Rng;
    /// let mut rng = Rng::new(1);
    /// let _ = rng.next_u64();
    /// let saved = rng.position();
    /// let next = rng.uniform_f64();
    /// assert_eq!(rng.at(saved).uniform_f64(), next);
    /// ```
    #[must_use]
    pub fn at(&self, position: u64) -> Self {
        Self { position, ..self.clone() }
    }

    /// How many words of 32 bits come before the next one.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// All of it, for a checkpoint: stream and position.
    ///
    /// ```
    /// use gemmule::rng::Rng;
    /// let mut rng = Rng::new(3).stream(9).at(100);
    /// let mut again = Rng::from_state(rng.state());
    /// assert_eq!(again, rng);
    /// assert_eq!(again.next_u64(), rng.next_u64());
    /// ```
    #[must_use]
    pub fn state(&self) -> [u64; 3] {
        [self.key, self.upper, self.position]
    }

    /// What [`state`](Self::state) returned, back again.
    #[must_use]
    pub fn from_state([key, upper, position]: [u64; 3]) -> Self {
        Self { upper, position, ..Self::new(key) }
    }

    /// The next word. Advances by 1.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        let block = self.position / 4;
        if block != self.cached {
            self.words = philox(counter(block, self.upper), self.key);
            self.cached = block;
        }
        let word = self.words[(self.position % 4) as usize];
        self.position = self.position.wrapping_add(1);
        word
    }

    /// The next two words, the first as the lower half. Advances by 2.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        join(low, self.next_u32())
    }

    /// A number in `0..n`, each with the same probability.
    ///
    /// Lemire's multiplication with rejection ("Fast random integer generation in an interval", 2019). Advances by
    /// 2, and by 2 more for each rejection, which has a probability below `n / 2^64`.
    ///
    /// # Panics
    /// If `n` is 0.
    ///
    /// ```
    /// use gemmule::rng::Rng;
    /// let mut rng = Rng::new(5);
    /// assert!((0..100).all(|_| rng.below(6) < 6));
    /// ```
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "Rng::below: there is no number below 0");
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            // 2^64 mod n: so many of the low halves are one too many.
            let threshold = n.wrapping_neg() % n;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// A number in `[0, 1)`, a multiple of 2^-53. Advances by 2.
    #[inline]
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * TWO_TO_MINUS_53
    }

    /// A number of mean 0 and standard deviation 1, as [`fill_normal`](Self::fill_normal) has it on the instruction set
    /// of [`Isa::detect`](crate::Isa::detect). Advances by 2. A fill is far faster than many of these.
    #[inline]
    pub fn normal_f64(&mut self) -> f64 {
        let value = normal_at(self);
        self.position = self.position.wrapping_add(2);
        value
    }
}

/// The same stream at the same position.
impl PartialEq for Rng {
    fn eq(&self, other: &Self) -> bool {
        self.state() == other.state()
    }
}

impl Eq for Rng {}

pub(super) const TWO_TO_MINUS_53: f64 = 1.0 / (1_u64 << 53) as f64;

/// The first number as the lower half.
#[inline(always)]
pub(super) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[inline(always)]
pub(super) fn counter(lower: u64, upper: u64) -> [u32; 4] {
    [lower as u32, (lower >> 32) as u32, upper as u32, (upper >> 32) as u32]
}

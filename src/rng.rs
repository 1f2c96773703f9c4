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
//! Normals use `ln` and `cos` of the `libm` crate and the correctly rounded square root: the same bits on every
//! platform.

use crate::kernel::Element;

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
}

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
    key: u64,
    upper: u64,
    position: u64,
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
    /// See [`purpose`] for the ids that the crate uses.
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

    /// A number of mean 0 and standard deviation 1. Advances by 4.
    ///
    /// `sqrt(-2 ln(1 - u)) cos(2 pi v)` of two uniform numbers u, v (Box and Muller, 1958). The largest possible
    /// absolute value is 8.58. The sine that would be a second normal is left, so that a value's position is known.
    #[inline]
    pub fn normal_f64(&mut self) -> f64 {
        // In (0, 1], so the logarithm is finite; exact, as the uniform number is a multiple of 2^-53.
        let u = 1.0 - self.uniform_f64();
        let v = self.uniform_f64();
        (-2.0 * libm::log(u)).sqrt() * libm::cos(std::f64::consts::TAU * v)
    }

    /// The numbers `0..n` in random order. See [`shuffle`](Self::shuffle).
    ///
    /// ```
    /// use gemmule::rng::Rng;
    /// let mut order = Rng::new(7).permutation(5);
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// ```
    #[must_use]
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Puts the items in random order, each order with the same probability (Fisher and Yates, from the last item
    /// down). Advances by 2 per item but the first, rejections apart: see [`below`](Self::below).
    pub fn shuffle<I>(&mut self, items: &mut [I]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last as u64 + 1) as usize;
            items.swap(last, chosen);
        }
    }

    /// `out[i] = low + (high - low) u_i` with u_i in `[0, 1)`, computed in f64 and rounded once to `T`.
    ///
    /// Element i uses the two words from `position() + 2 i` on, in f32 and f64 alike. `high` itself can come
    /// out where rounding leads to it. Advances by `2 out.len()`.
    ///
    /// ```
    /// use gemmule::rng::Rng;
    /// let mut weights = [0.0_f32; 6];
    /// let mut rng = Rng::new(1);
    /// rng.fill_uniform(&mut weights, -0.5, 0.5);
    /// assert!(weights.iter().all(|w| w.abs() <= 0.5));
    ///
    /// // The elements from the third on, without the first two.
    /// let mut tail = [0.0_f32; 4];
    /// rng.at(2 * 2).fill_uniform(&mut tail, -0.5, 0.5);
    /// assert_eq!(tail, weights[2..]);
    /// ```
    pub fn fill_uniform<T: Element>(&mut self, out: &mut [T], low: f64, high: f64) {
        fill(out, |part| self.uniforms(part, low, high - low));
    }

    /// `out[i] = mean + std z_i` with z_i of [`normal_f64`](Self::normal_f64), computed in f64 and rounded once
    /// to `T`.
    ///
    /// Element i uses the four words from `position() + 4 i` on, in f32 and f64 alike. Advances by
    /// `4 out.len()`.
    pub fn fill_normal<T: Element>(&mut self, out: &mut [T], mean: f64, std: f64) {
        fill(out, |part| self.normals(part, mean, std));
    }

    // Not generic, so compiled in this crate: see `kernel::compiled`.

    #[inline(never)]
    fn uniforms(&mut self, out: &mut [f64], low: f64, width: f64) {
        for value in out {
            *value = low + width * self.uniform_f64();
        }
    }

    #[inline(never)]
    fn normals(&mut self, out: &mut [f64], mean: f64, std: f64) {
        for value in out {
            *value = mean + std * self.normal_f64();
        }
    }
}

/// Fills `out` with what `draw` gives in f64, rounded once.
fn fill<T: Element>(out: &mut [T], mut draw: impl FnMut(&mut [f64])) {
    let mut drawn = [0.0; 64];
    for part in out.chunks_mut(drawn.len()) {
        let drawn = &mut drawn[..part.len()];
        draw(drawn);
        for (to, &from) in part.iter_mut().zip(&*drawn) {
            *to = T::from_f64(from);
        }
    }
}

/// The same stream at the same position.
impl PartialEq for Rng {
    fn eq(&self, other: &Self) -> bool {
        self.state() == other.state()
    }
}

impl Eq for Rng {}

const TWO_TO_MINUS_53: f64 = 1.0 / (1_u64 << 53) as f64;

/// The first number as the lower half.
#[inline(always)]
fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[inline(always)]
fn counter(lower: u64, upper: u64) -> [u32; 4] {
    [lower as u32, (lower >> 32) as u32, upper as u32, (upper >> 32) as u32]
}

/// Philox4x32 with ten rounds: a bijection of the counter for each key.
#[inline]
fn philox([mut a, mut b, mut c, mut d]: [u32; 4], key: u64) -> [u32; 4] {
    let (mut key_0, mut key_1) = (key as u32, (key >> 32) as u32);
    for _ in 0..10 {
        let left = u64::from(a) * 0xd251_1f53;
        let right = u64::from(c) * 0xcd9e_8d57;
        (a, b, c, d) =
            ((right >> 32) as u32 ^ b ^ key_0, right as u32, (left >> 32) as u32 ^ d ^ key_1, left as u32);
        key_0 = key_0.wrapping_add(0x9e37_79b9);
        key_1 = key_1.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that Random123, the authors' library, publishes for `philox4x32 10`.
    #[test]
    fn published_known_answers() {
        let answers = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, [key_0, key_1], expected) in answers {
            assert_eq!(philox(counter, join(key_0, key_1)), expected);
        }
    }

    #[test]
    fn golden() {
        let mut rng = Rng::new(42);
        assert_eq!([0; 5].map(|_: u32| rng.next_u32()), GOLDEN_U32);
        assert_eq!([0; 2].map(|_: u64| rng.next_u64()), GOLDEN_U64);
        let rng = Rng::new(42).stream(purpose::SHUFFLE).stream(3);
        assert_eq!(rng.state(), GOLDEN_STREAM);
        assert_eq!(rng.at(8).uniform_f64().to_bits(), GOLDEN_UNIFORM);
        let mut normals = [0.0_f64; 4];
        rng.at(0).fill_normal(&mut normals, 0.0, 1.0);
        assert_eq!(normals.map(f64::to_bits), GOLDEN_NORMAL);
        assert_eq!(rng.at(0).permutation(10), GOLDEN_PERMUTATION);
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut values = vec![0.0_f32; 10_000];
        rng.at(0).fill_normal(&mut values, 0.5, 2.0);
        for value in values {
            hash = (hash ^ value.bits()).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(hash, GOLDEN_NORMAL_HASH);
    }

    // Computed by a second implementation, in Python; but where its logarithm and cosine round otherwise, the
    // first normal (by 1 in the last place), the value is ours.
    const GOLDEN_U32: [u32; 5] = [0x9cea_f053, 0x77f5_493b, 0x12bf_50ad, 0x5742_b3d7, 0xfcdb_2127];
    const GOLDEN_U64: [u64; 2] = [0x838f_5a6e_53ba_6cfd, 0xd36c_0225_744e_06fb];
    const GOLDEN_STREAM: [u64; 3] = [0xabe9_c1f3_8618_de33, 0x830b_55ef_0acc_4a95, 0];
    const GOLDEN_UNIFORM: u64 = 0x3fe4_05dc_a160_72b8;
    const GOLDEN_NORMAL: [u64; 4] =
        [0x3fd1_40cd_f1fd_2159, 0xc00a_1c38_c2ab_f642, 0xbff6_6db4_1561_2bcc, 0x3fd2_9eef_53cb_b07c];
    const GOLDEN_PERMUTATION: [usize; 10] = [5, 8, 0, 4, 2, 6, 9, 7, 1, 3];
    const GOLDEN_NORMAL_HASH: u64 = 0x23e8_9521_069d_fb33;

    #[test]
    fn any_position_is_the_one_reached_by_drawing() {
        let base = Rng::new(u64::MAX).stream(17);
        let mut walker = base.clone();
        let words: Vec<u32> = (0..64).map(|_| walker.next_u32()).collect();
        for (position, &word) in words.iter().enumerate().rev() {
            assert_eq!(base.at(position as u64).next_u32(), word);
            assert_eq!(walker.at(position as u64).next_u32(), word, "a seek back from a later block");
        }
        assert_eq!(base.at(3).next_u64(), join(words[3], words[4]), "across a block");
        let mut end = base.at(u64::MAX);
        let _ = end.next_u32();
        assert_eq!((end.position(), end.next_u32()), (0, words[0]), "the period is 2^64");
    }

    #[test]
    fn an_element_of_a_fill_depends_on_its_position_only() {
        let rng = Rng::new(9).at(5);
        let (mut singles, mut doubles) = ([0.0_f32; 37], [0.0_f64; 37]);
        rng.clone().fill_normal(&mut singles, 1.0, 3.0);
        rng.clone().fill_normal(&mut doubles, 1.0, 3.0);
        for i in 0..singles.len() {
            let mut one = [0.0_f32];
            rng.at(5 + 4 * i as u64).fill_normal(&mut one, 1.0, 3.0);
            assert_eq!(one[0], singles[i]);
            assert_eq!(doubles[i] as f32, singles[i]);
        }
        let mut after = rng.clone();
        after.fill_normal(&mut singles, 1.0, 3.0);
        assert_eq!(after.position(), 5 + 4 * 37);
        after.fill_uniform(&mut doubles, 1.0, 3.0);
        assert_eq!(after.position(), 5 + 4 * 37 + 2 * 37);
    }

    #[test]
    fn streams_differ_and_do_not_depend_on_the_position() {
        let rng = Rng::new(1);
        let mut states: Vec<_> = (0..1000).map(|id| rng.stream(id).state()).collect();
        states.push(rng.state());
        states.push(rng.stream(0).stream(0).state());
        let count = states.len();
        states.sort_unstable();
        states.dedup();
        assert_eq!(states.len(), count);
        assert_eq!(rng.at(99).stream(4), rng.stream(4));
    }

    /// Bounds of six standard deviations: fixed seeds, so they hold once and for all.
    #[test]
    fn moments_and_ranges() {
        let n = 200_000;
        let root = f64::from(n).sqrt();
        let mut rng = Rng::new(11);
        let uniform: Vec<f64> = (0..n).map(|_| rng.uniform_f64()).collect();
        assert!(uniform.iter().all(|u| (0.0..1.0).contains(u)));
        let mean = uniform.iter().sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 6.0 * 0.289 / root, "{mean}");
        let normal: Vec<f64> = (0..n).map(|_| rng.normal_f64()).collect();
        let moment = |k: i32| {
            normal.iter().map(|x| (0..k).fold(1.0, |power, _| power * x)).sum::<f64>() / f64::from(n)
        };
        assert!(moment(1).abs() < 6.0 / root, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 6.0 * 1.415 / root, "{}", moment(2));
        assert!(moment(3).abs() < 6.0 * 3.88 / root, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 6.0 * 9.8 / root, "{}", moment(4));
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 600), "{counts:?}");
    }

    #[test]
    fn below_at_its_edges() {
        let mut rng = Rng::new(2);
        for _ in 0..1000 {
            assert_eq!(rng.below(1), 0);
            assert!(rng.below(u64::MAX) < u64::MAX);
            // Just above 2^63 nearly half of the draws are rejected.
            assert!(rng.below((1 << 63) + 1) <= 1 << 63);
        }
        assert!(std::panic::catch_unwind(|| Rng::new(0).below(0)).is_err());
    }

    #[test]
    fn every_order_of_four_comes_equally_often() {
        let mut rng = Rng::new(3);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            *counts.entry(rng.permutation(4)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&c| c.abs_diff(1000) < 190), "{counts:?}");
        assert!(rng.permutation(0).is_empty());
        assert_eq!(rng.permutation(1), [0]);
    }
}

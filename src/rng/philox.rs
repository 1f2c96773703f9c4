//! Philox4x32-10: one block, or many side by side.

use super::generator::{counter, join};

/// What the lower words of a counter are multiplied by.
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// What the key grows by from round to round.
const STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// Philox4x32 with ten rounds: a bijection of the counter for each key.
#[inline]
pub(super) fn philox([mut a, mut b, mut c, mut d]: [u32; 4], key: u64) -> [u32; 4] {
    let (mut key_0, mut key_1) = (key as u32, (key >> 32) as u32);
    for _ in 0..ROUNDS {
        let left = u64::from(a) * u64::from(MULTIPLIERS[0]);
        let right = u64::from(c) * u64::from(MULTIPLIERS[1]);
        (a, b, c, d) =
            ((right >> 32) as u32 ^ b ^ key_0, right as u32, (left >> 32) as u32 ^ d ^ key_1, left as u32);
        key_0 = key_0.wrapping_add(STEPS[0]);
        key_1 = key_1.wrapping_add(STEPS[1]);
    }
    [a, b, c, d]
}

/// The lower half of 64 bits.
const LOW: u64 = 0xffff_ffff;

/// A counter in the lower halves of four words of 64 bits; what stands above is of no account.
type Wide = [u64; 4];

/// A round on words of 64 bits, where a vector has room for the products: only the lower halves of `a` and `c` are
/// multiplied, which is one instruction on every instruction set.
#[inline(always)]
fn round([a, b, c, d]: Wide, key_0: u32, key_1: u32) -> Wide {
    let left = (a & LOW) * u64::from(MULTIPLIERS[0]);
    let right = (c & LOW) * u64::from(MULTIPLIERS[1]);
    [(right >> 32) ^ b ^ u64::from(key_0), right, (left >> 32) ^ d ^ u64::from(key_1), left]
}

/// Blocks are numbered modulo 2^62: four words each, and positions have 64 bits.
const BLOCK_MASK: u64 = u64::MAX >> 2;

/// Two words of the stream as one number, the first as the lower half.
pub(super) type Pair = u64;

/// So many pairs are drawn at a time.
pub(super) const PAIRS: usize = 128;

/// Room for the pairs of a turn, and of one block more.
pub(super) type Drawn = [Pair; PAIRS + 2];

/// The stream that a fill draws from.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub key: u64,
    pub upper: u64,
}

impl Source {
    /// The first `count` pairs (at most [`PAIRS`]) of the words from `position` on, and what happens to stand behind
    /// them, in a buffer that is used again and again.
    ///
    /// Mark what calls this `#[inline(always)]` up to a kernel's body: plain loops, of which the compiler makes
    /// vectors with the instruction set's features.
    #[inline(always)]
    pub fn pairs(self, position: u64, count: usize, drawn: &mut Drawn) -> &[Pair] {
        // Two pairs a block, and one block more where the position is not a block's first.
        let (first, skip) = (position / 4, (position % 4) as usize);
        let blocks = (2 * count + skip).div_ceil(4);
        if blocks <= PAIRS / 8 {
            self.few(first, &mut drawn[..2 * blocks]);
        } else {
            self.many(first, drawn);
            if skip > 0 {
                self.few(first.wrapping_add(PAIRS as u64 / 2), &mut drawn[PAIRS..]);
            }
        }
        if skip % 2 == 1 {
            for i in 0..=PAIRS {
                drawn[i] = drawn[i] >> 32 | drawn[i + 1] << 32;
            }
        }
        &drawn[skip / 2..]
    }

    /// Blocks from the number `first` on, one by one.
    #[inline(always)]
    fn few(self, first: u64, drawn: &mut [Pair]) {
        for (i, pairs) in drawn.chunks_exact_mut(2).enumerate() {
            let block = first.wrapping_add(i as u64) & BLOCK_MASK;
            let [a, b, c, d] = philox(counter(block, self.upper), self.key);
            (pairs[0], pairs[1]) = (join(a, b), join(c, d));
        }
    }

    /// `PAIRS / 2` blocks from the number `first` on. Each turn of the loop has a block of the first half and one of
    /// the second: two chains of rounds hide each other's latency.
    #[inline(always)]
    fn many(self, first: u64, drawn: &mut Drawn) {
        const HALF: usize = PAIRS / 2;
        let (low, high) = drawn[..PAIRS].split_at_mut(HALF);
        for (i, (low, high)) in low.chunks_exact_mut(2).zip(high.chunks_exact_mut(2)).enumerate() {
            let mut x = self.wide(first.wrapping_add(i as u64));
            let mut y = self.wide(first.wrapping_add((HALF / 2 + i) as u64));
            let (mut key_0, mut key_1) = (self.key as u32, (self.key >> 32) as u32);
            for _ in 0..ROUNDS {
                x = round(x, key_0, key_1);
                y = round(y, key_0, key_1);
                key_0 = key_0.wrapping_add(STEPS[0]);
                key_1 = key_1.wrapping_add(STEPS[1]);
            }
            (low[0], low[1]) = (x[0] & LOW | x[1] << 32, x[2] & LOW | x[3] << 32);
            (high[0], high[1]) = (y[0] & LOW | y[1] << 32, y[2] & LOW | y[3] << 32);
        }
    }

    #[inline(always)]
    fn wide(self, block: u64) -> Wide {
        let block = block & BLOCK_MASK;
        [block, block >> 32, self.upper, self.upper >> 32]
    }
}

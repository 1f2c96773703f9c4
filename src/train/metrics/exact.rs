//! Sums without rounding, so that no figure depends on the order of the samples or on how they are cut into batches.

use crate::error::{Error, Result};
use crate::state::State;

/// Bits of a limb; the rest of its integer holds carries until they are passed on.
const BITS: usize = 32;

/// Enough for the largest number, 2^64 times.
const LIMBS: usize = 70;

/// Additions after which a limb might overflow: each adds less than 2^32.
const PENDING: u32 = 1 << 30;

/// The exact sum of any `f64`s: a fixed-point number that spans the whole range of the type, as Neal, "Fast exact summation
/// using small and large superaccumulators" (2015), section 2, has it.
#[derive(Clone, Debug)]
pub(super) struct ExactSum {
    /// The sum of `limbs[i] * 2^(32 i - 1074)`.
    limbs: [i64; LIMBS],
    /// Additions since the carries were passed on.
    pending: u32,
    /// The sum of what is NaN or infinite.
    special: f64,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: [0; LIMBS], pending: 0, special: 0.0 }
    }
}

impl ExactSum {
    pub(super) fn add(&mut self, x: f64) {
        if !x.is_finite() {
            self.special += x;
            return;
        }
        let bits = x.to_bits();
        let (exponent, fraction) = ((bits >> 52 & 0x7FF) as usize, bits & ((1 << 52) - 1));
        // x is mantissa * 2^(place - 1074).
        let (mantissa, place) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let shifted = u128::from(mantissa) << (place % BITS);
        for (piece, limb) in self.limbs[place / BITS..][..3].iter_mut().enumerate() {
            let part = (shifted >> (BITS * piece)) as u32;
            *limb += if x < 0.0 { -i64::from(part) } else { i64::from(part) };
        }
        self.pending += 1;
        if self.pending == PENDING {
            self.carry();
        }
    }

    /// Adds x^2 without rounding it (where its last bits are not below the least number).
    pub(super) fn add_square(&mut self, x: f64) {
        let square = x * x;
        self.add(square);
        if square.is_finite() {
            self.add(x.mul_add(x, -square));
        }
    }

    /// All that there is of it.
    pub(super) fn save(&self) -> Vec<u64> {
        let mut sum = self.clone();
        sum.carry();
        let limbs = sum.limbs.iter().map(|limb| limb.cast_unsigned());
        limbs.chain([self.special.to_bits()]).collect()
    }

    /// What [`save`](Self::save) kept; `None` if that is something else.
    pub(super) fn load(saved: &[u64]) -> Option<Self> {
        let (special, limbs) = saved.split_last()?;
        let limbs: [u64; LIMBS] = limbs.try_into().ok()?;
        let (last, others) = limbs.split_last()?;
        let is_carried = others.iter().all(|&limb| limb <= u64::from(u32::MAX));
        // The last one stays far below the end of its range.
        let is_small = (last.cast_signed() >> 40) == (last.cast_signed() >> 63);
        let limbs = limbs.map(u64::cast_signed);
        (is_carried && is_small).then(|| Self { limbs, pending: 0, special: f64::from_bits(*special) })
    }

    /// What was kept under `name`.
    pub(super) fn of_state(name: &str, state: &State) -> Result<Self> {
        let found = Self::load(state.integers(name)?);
        found.ok_or_else(|| Error::data("metric", name, "an exact sum", "other integers"))
    }

    /// Passes the carries on: all limbs but the last are below 2^32 then, and not negative.
    fn carry(&mut self) {
        for i in 0..LIMBS - 1 {
            self.limbs[i + 1] += self.limbs[i] >> BITS;
            self.limbs[i] &= u32::MAX as i64;
        }
        self.pending = 0;
    }

    /// The nearest `f64`.
    pub(super) fn rounded(&self) -> f64 {
        if self.special.is_nan() {
            return f64::NAN;
        }
        if self.special != 0.0 {
            return self.special;
        }
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.limbs[LIMBS - 1] < 0;
        if negative {
            sum.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            sum.carry();
        }
        let Some(highest) = sum.limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
        let lowest = highest.saturating_sub(2);
        let mut top = 0_u128;
        for &limb in sum.limbs[lowest..=highest].iter().rev() {
            top = top << BITS | limb as u128;
        }
        // What lies below decides a tie alone: it is far below the last bit that is kept.
        if sum.limbs[..lowest].iter().any(|&limb| limb != 0) {
            top |= 1;
        }
        let value = top as f64 * power_of_two((BITS * lowest) as i32 - 1074);
        if negative { -value } else { value }
    }

    /// The nearest `f64` and the nearest to what is left: 106 bits.
    fn double(&self) -> [f64; 2] {
        let high = self.rounded();
        if !high.is_finite() {
            return [high, 0.0];
        }
        let mut rest = self.clone();
        rest.add(-high);
        [high, rest.rounded()]
    }
}

fn power_of_two(exponent: i32) -> f64 {
    match exponent {
        ..-1022 => f64::from_bits(1 << (exponent + 1074)),
        -1022..1024 => f64::from_bits(((exponent + 1023) as u64) << 52),
        _ => f64::INFINITY,
    }
}

/// The sum of (x - mean)^2 from the exact sums of x and x^2 over `count` numbers. They are subtracted in 106 bits: numbers
/// whose spread is 2^-25 of their mean still have all bits of an `f64`.
pub(super) fn squares_about_mean(sum: &ExactSum, squares: &ExactSum, count: u64) -> f64 {
    let (n, [s, s_low], [q, q_low]) = (count as f64, sum.double(), squares.double());
    if count == 0 || !s.is_finite() || !q.is_finite() {
        return f64::NAN;
    }
    // The square of the sum, and that over n.
    let high = s * s;
    let low = s.mul_add(s, -high) + 2.0 * s * s_low;
    let mean = high / n;
    let mean_low = (mean.mul_add(-n, high) + low) / n;
    let difference = q - mean;
    // What the subtraction lost: Knuth's two-sum.
    let back = difference - q;
    let lost = (q - (difference - back)) - (mean + back);
    (difference + (lost + (q_low - mean_low))).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|&x| sum.add(x));
        sum
    }

    #[test]
    fn sums_are_rounded_once() {
        let tiny = f64::from_bits(1);
        for (values, expected) in [
            (vec![], 0.0),
            (vec![1e300, 1.0, -1e300], 1.0),
            (vec![f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (vec![f64::MAX, f64::MAX], f64::INFINITY),
            (vec![tiny, tiny], 2.0 * tiny),
            (vec![f64::MIN_POSITIVE, -tiny], f64::MIN_POSITIVE - tiny),
            (vec![1.0, f64::EPSILON / 2.0], 1.0),
            (vec![1.0, f64::EPSILON / 2.0, tiny], 1.0 + f64::EPSILON),
            (vec![-1.0, -f64::EPSILON / 2.0, -tiny], -1.0 - f64::EPSILON),
            (vec![1.0, f64::EPSILON / 2.0, -tiny], 1.0),
            (vec![0.1; 10], 1.0),
            (vec![f64::INFINITY, 1.0], f64::INFINITY),
        ] {
            assert_eq!(sum(&values).rounded(), expected, "{values:?}");
        }
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).rounded().is_nan());
        assert!(sum(&[f64::NAN, 1.0]).rounded().is_nan());
    }

    /// Against integers: numbers with 53 bits and exponents from 0 to 40.
    #[test]
    fn sums_are_those_of_integers() {
        let mut rng = Rng::new(1);
        for count in [1, 2, 3, 10, 1000] {
            let (mut exact, mut all) = (0_i128, ExactSum::default());
            for _ in 0..count {
                let (bits, other) = (rng.next_u64(), rng.next_u64());
                let integer = i128::from(bits >> 11) << (other % 41);
                let integer = if other >> 63 == 1 { -integer } else { integer };
                exact += integer;
                all.add(integer as f64);
            }
            assert_eq!(all.rounded(), exact as f64);
            let [high, low] = all.double();
            assert_eq!(high as i128 + low as i128, exact);
        }
    }

    #[test]
    fn carries_are_passed_on() {
        let mut all = sum(&[f64::MAX, -1.5]);
        all.pending = PENDING - 1;
        all.add(2.0);
        assert_eq!(all.pending, 0);
        all.add(-f64::MAX);
        assert_eq!(all.rounded(), 0.5);
    }

    #[test]
    fn spreads_far_below_the_mean() {
        for mean in [0.0, 1.0, 1e6, -1e9] {
            let (mut sum, mut squares) = (ExactSum::default(), ExactSum::default());
            for i in 0..1001 {
                let x = mean + f64::from(i - 500) / 1024.0;
                sum.add(x);
                squares.add_square(x);
            }
            // The sum of i^2 from -500 to 500, over 1024^2.
            let expected = 2.0 * 41_791_750.0 / (1024.0 * 1024.0);
            assert_eq!(squares_about_mean(&sum, &squares, 1001), expected, "{mean}");
        }
    }
}

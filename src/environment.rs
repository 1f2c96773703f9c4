//! The floating-point environment of the calling thread: a host may have set it to flush subnormal numbers to zero
//! (audio and `-ffast-math` libraries do) or to round otherwise, and every result would then have other bits.
//!
//! The control register cannot be read without intrinsics, but what it does can be seen. Additions alone: they take
//! no microcode assist for subnormal numbers, multiplications do (some 150 cycles each).
//!
//! Rust assumes the default environment, so [`black_box`] keeps the sums from being made by the compiler. Not seen:
//! unmasked exceptions, which end the process by themselves, and the precision of the x87, which nothing here uses.

use crate::error::{Error, Result};
use std::hint::black_box;

/// Half of the distance from 1 to the next f32: what is added to 1 lies in the middle.
const HALF: f32 = f32::EPSILON / 2.0;

/// What the sums below give in the default environment.
const EXPECTED: [u32; 4] = [0x8040_0000, 0x0080_0001, 0x3F80_0000, 0x3F80_0002];

/// A sum that is subnormal, one with a subnormal operand, and two that lie in the middle of their neighbours: to
/// nearest even, the first goes down and the second goes up.
#[inline(always)]
fn sums() -> [u32; 4] {
    let least = f32::MIN_POSITIVE;
    let a = black_box([least, f32::from_bits(1), 1.0, 1.0 + f32::EPSILON]);
    let b = black_box([-1.5 * least, least, HALF, HALF]);
    std::array::from_fn(|i| (a[i] + b[i]).to_bits())
}

/// True if this thread keeps subnormal numbers and rounds to nearest even.
#[inline]
pub(crate) fn is_default() -> bool {
    sums() == EXPECTED
}

/// Refuses to compute in another environment than the default one.
///
/// # Errors
/// [`Error::Environment`] says what is set.
#[inline]
pub(crate) fn check(operation: &'static str) -> Result<()> {
    if is_default() { Ok(()) } else { Err(describe(operation)) }
}

#[cold]
fn describe(operation: &'static str) -> Error {
    let [output, input, down, up] = sums().map(f32::from_bits);
    let [whole_output, whole_input, even_down, even_up] = EXPECTED.map(f32::from_bits);
    // By bits: under the environment in question a comparison may take a subnormal number for zero too.
    let differ = |a: f32, b: f32| a.to_bits() != b.to_bits();
    let found = if differ(down, even_down) {
        "rounding is upward"
    } else if differ(up, even_up) {
        let below = black_box(-1.0) - black_box(HALF);
        if differ(below, -1.0) { "rounding is downward" } else { "rounding is toward zero" }
    } else {
        match (differ(output, whole_output), differ(input, whole_input)) {
            (true, true) => "subnormal numbers are flushed to zero, as operands and as results",
            (true, false) => "subnormal results are flushed to zero",
            _ => "subnormal operands are taken for zero",
        }
    };
    Error::Environment { operation, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_environment_is_fine() {
        assert!(is_default());
        assert!(check("test").is_ok());
    }
}

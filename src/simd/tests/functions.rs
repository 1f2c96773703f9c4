//! The operations of f32 alone, which the elementary functions are made of, against scalar Rust.

use super::{Random, lanes, nasty, selections};
use crate::simd::{Kernel, Simd, Vector};

/// What [`Apply`] does with each vector.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Lookup8,
    Lookup16,
    /// x times 2 to the power of the second operand.
    Scale,
    /// The same, of eighths.
    ScaleEighths,
    Significand,
    Exponent,
    /// Widened, and added to the second operand, before it is narrowed.
    AddWide,
}
use Operation::*;

struct Apply<'a> {
    operation: Operation,
    x: &'a [f32],
    y: &'a [f32],
    output: &'a mut [f32],
}

const TABLE: [f32; 16] =
    [1.5, 2.5, -3.0, 4.0, f32::NAN, 6.0, 0.0, -0.0, 9.0, 10.0, 11.5, f32::INFINITY, 13.0, 14.0, 15.0, 1e-40];
const TABLE_8: [f32; 8] = [1.5, 2.5, -3.0, 4.0, f32::NAN, 6.0, 0.0, -0.0];

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = S::F32::LANES;
        let inputs = self.x.chunks_exact(lanes).zip(self.y.chunks_exact(lanes));
        let vectors = inputs.zip(self.output.chunks_exact_mut(lanes));
        for ((x, y), target) in vectors {
            let (x, y) = (S::F32::load(s, x), S::F32::load(s, y));
            let result = match self.operation {
                Lookup8 => s.lookup_8(&TABLE_8, x.to_bits()),
                Lookup16 => s.lookup_16(&TABLE, x.to_bits()),
                Scale => s.scale::<0>(x, y),
                ScaleEighths => s.scale::<3>(x, y),
                Significand => s.split(x).0,
                Exponent => s.split(x).1,
                AddWide => {
                    let ([a, b], [c, d]) = (s.widen(x), s.widen(y));
                    s.narrow([a + c, b + d])
                }
            };
            result.store(target);
        }
    }
}

/// `operation` of all pairs, at every lane, compared by bits but for NaN.
fn check(operation: Operation, x: &[f32], y: &[f32], expected: impl Fn(f32, f32) -> Option<f32>) {
    for selected in selections() {
        let lanes = lanes::<f32>(selected);
        for shift in 0..lanes {
            let whole = (x.len() - shift) / lanes * lanes;
            let (x, y) = (&x[shift..shift + whole], &y[shift..shift + whole]);
            let mut output = vec![7.0; whole];
            selected.run(Apply { operation, x, y, output: &mut output });
            for i in 0..whole {
                let Some(want) = expected(x[i], y[i]) else { continue };
                let same = output[i].to_bits() == want.to_bits() || output[i].is_nan() && want.is_nan();
                let isa = selected.isa();
                assert!(same, "{isa} {operation:?}({:e}, {:e}) = {:e}, not {want:e}", x[i], y[i], output[i]);
            }
        }
    }
}

fn random_floats() -> Vec<f32> {
    let mut random = Random(5);
    let mut values = nasty::<f32>();
    values.extend((0..4000).map(|_| f32::from_bits(random.next() as u32)));
    values
}

#[test]
fn lookups() {
    let x = random_floats();
    check(Lookup8, &x, &x, |x, _| Some(TABLE_8[x.to_bits() as usize % 8]));
    check(Lookup16, &x, &x, |x, _| Some(TABLE[x.to_bits() as usize % 16]));
}

/// `x 2^n`, rounded once: f64 has room for the exact product.
fn scaled(x: f32, n: f32) -> Option<f32> {
    if x.is_nan() {
        return Some(x);
    }
    let power = f64::from_bits(((n.floor() as i64 + 1023) as u64) << 52);
    Some((f64::from(x) * power) as f32)
}

#[test]
fn scales() {
    let mut random = Random(6);
    let (mut x, mut n, mut eighths) = (vec![f32::NAN], vec![f32::NAN], vec![f32::NAN]);
    for k in -252 * 8..254 * 8 {
        for _ in 0..4 {
            // The significand at random, between 1/16 and 16.
            let bits = random.next() as u32;
            x.push(f32::from_bits((bits & 0x807f_ffff) | ((123 + bits % 8) << 23)));
            n.push((k / 8) as f32);
            eighths.push(k as f32 / 8.0);
        }
    }
    check(Scale, &x, &n, scaled);
    check(ScaleEighths, &x, &eighths, scaled);
    // Nothing happens to any x for n = 0.
    let x = random_floats();
    check(Scale, &x, &vec![0.0; x.len()], |x, _| Some(x));
}

#[test]
fn splits() {
    let x = random_floats();
    check(Significand, &x, &x, |x, _| {
        Some(match x {
            _ if x.is_nan() || x < 0.0 => f32::NAN,
            _ if x == 0.0 || x.is_infinite() => 1.0,
            // A subnormal number has its first bit elsewhere.
            _ => {
                let scaled = if x < f32::MIN_POSITIVE { x * 16_777_216.0 } else { x };
                f32::from_bits(scaled.to_bits() & 0x007f_ffff | 0x3f80_0000)
            }
        })
        .filter(|_| x != 0.0 || x.is_sign_positive())
    });
    check(Exponent, &x, &x, |x, _| match x {
        _ if x.is_nan() => None,
        _ if x == 0.0 => Some(f32::NEG_INFINITY),
        _ if x < 0.0 => None,
        _ if x.is_infinite() => Some(x),
        _ => Some(((f64::from(x).to_bits() >> 52) as i32 - 1023) as f32),
    });
}

#[test]
fn widens() {
    let x = random_floats();
    let mut y = x.clone();
    y.rotate_left(7);
    check(AddWide, &x, &y, |x, y| Some((f64::from(x) + f64::from(y)) as f32));
}

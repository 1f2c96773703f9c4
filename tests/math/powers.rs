//! Powers: the special cases of C99, errors, the same bits at every position.

use crate::common::{HASH_START, all_bits, bits, contexts, hash, random};
use crate::{INF, MAX, NAN, check_places, stated, ulp};
use gemmule::kernel::math;

/// All pairs of what is special in a power, against the platform's f64 function, and the NaN that C99 asks for.
#[test]
fn powers_have_the_special_cases_of_c99() {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        2.0,
        -2.0,
        3.0,
        -3.0,
        INF,
        -INF,
        NAN,
        1e-40,
        -1e-40,
        MAX,
        -MAX,
        16_777_215.0,
        16_777_216.0,
        8_388_609.0,
        -8_388_609.0,
        8_388_608.0,
        2.5,
        -0.3,
        1.000_000_1,
        0.999_999_94,
        4_194_303.5,
        1e30,
    ];
    for context in contexts() {
        for x in values {
            let mut powers = [0.0_f32; 28];
            math::pow(&context, &[x; 28], &values, &mut powers).unwrap();
            for (&y, power) in values.iter().zip(powers) {
                let error = ulp(power, f64::from(x).powf(f64::from(y)));
                assert!(error <= stated("pow", context.isa()), "{} {x:e} ^ {y:e} = {power:e}", context.isa());
                let mut scalar = [x];
                math::pow_scalar_in_place(&context, &mut scalar, y);
                assert_eq!(bits(scalar[0]), bits(power), "{} {x:e} ^ {y:e}", context.isa());
                let (wide, mut got) = ((f64::from(x), f64::from(y)), [0.0]);
                math::pow(&context, &[wide.0], &[wide.1], &mut got).unwrap();
                let exact = wide.0.powf(wide.1);
                let close = (got[0] - exact).abs() <= 1e-14 * exact.abs() || bits(got[0]) == bits(exact);
                assert!(close, "{x:e} ^ {y:e} = {:e} in f64", got[0]);
            }
        }
    }
}

/// Bases and exponents whose powers are spread over all the range, near 1 every second time.
fn powers() -> (Vec<f32>, Vec<f32>) {
    let (u, v) = (random(21, 20_001), random(22, 20_001));
    let base = |(i, u): (usize, &f64)| if i % 2 == 0 { 1.0 + u / 64.0 } else { 2_f64.powf(u * 120.0) } as f32;
    let bases: Vec<f32> = u.iter().enumerate().map(base).collect();
    let exponent = |(x, v): (&f32, &f64)| (v * 155.0 / f64::from(*x).log2()) as f32;
    let exponents = bases.iter().zip(&v).map(exponent).collect();
    (bases, exponents)
}

#[test]
fn powers_and_their_derivatives_are_accurate() {
    let (x, y) = powers();
    let (mut z, mut d, ones) = (x.clone(), x.clone(), vec![1.0; x.len()]);
    for context in contexts() {
        math::pow(&context, &x, &y, &mut z).unwrap();
        math::pow_backward(&context, &x, &y, &ones, &mut d).unwrap();
        let mut in_place = x.clone();
        math::pow_in_place(&context, &mut in_place, &y).unwrap();
        assert_eq!(all_bits(&z), all_bits(&in_place));
        for i in 0..x.len() {
            let (base, exponent) = (f64::from(x[i]), f64::from(y[i]));
            let error = ulp(z[i], base.powf(exponent));
            assert!(
                error <= stated("pow", context.isa()),
                "{} {base:e} ^ {exponent:e}: {error} ULP",
                context.isa()
            );
            let error = ulp(d[i], exponent * base.powf(exponent - 1.0));
            // Where the power itself is subnormal, the product shows its last place; where it overflows, so does that.
            let power = base.powf(exponent - 1.0);
            let normal = power >= f64::from(f32::MIN_POSITIVE) && power <= f64::from(f32::MAX);
            assert!(error <= 2.0 || !normal, "{} {base:e} ^ {exponent:e}': {error} ULP", context.isa());
        }
        if context.isa().has_fma() {
            let got = (hash(&z, HASH_START), hash(&d, HASH_START));
            assert_eq!(got, POWERS, "{}: ({:#018x}, {:#018x})", context.isa(), got.0, got.1);
        }
    }
}

/// The hashes of that with fused multiply-add.
const POWERS: (u64, u64) = (0x483b_af52_70c2_9893, 0xc427_8b70_78a7_feb0);

#[test]
fn powers_do_not_depend_on_the_place() {
    let (x, _) = powers();
    for context in contexts() {
        check_places("pow", &x[..146], |x, z| {
            // The exponent belongs to the base, wherever that stands.
            let exponents: Vec<f32> = x.iter().map(|x| 7.0 / x - 3.0).collect();
            math::pow(&context, x, &exponents, z).unwrap();
        });
        check_places("pow_scalar", &x[..146], |x, z| math::pow_scalar(&context, x, 2.5, z).unwrap());
        check_places("pow_scalar_backward", &x[..146], |x, d| {
            let gradient: Vec<f32> = x.iter().map(|&x| 1.0 - x).collect();
            math::pow_scalar_backward(&context, x, -1.5, &gradient, d).unwrap();
        });
        let (mut long, mut all) = (x.clone(), x.clone());
        math::pow_scalar_in_place(&context, &mut long, 0.7);
        math::pow_scalar(&context, &x, 0.7, &mut all).unwrap();
        assert_eq!(all_bits(&long), all_bits(&all));
        // The derivative at exponent 0 is 0, at base 0 too.
        let mut d = [9.0; 3];
        math::pow_scalar_backward(&context, &[0.0, 2.0, NAN], 0.0, &[1.0; 3], &mut d).unwrap();
        assert!(d[0] == 0.0 && d[1] == 0.0 && d[2].is_nan(), "{d:?}");
    }
}

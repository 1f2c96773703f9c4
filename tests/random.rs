//! Random fills: any cut of an array gives the same numbers, which follow their distributions, the same everywhere.
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

mod common;

use common::{HASH_START, all_bits, contexts, hash};
use gemmule::rng::Rng;
use gemmule::{Context, Element, Parallelism, Result};

/// A fill, and how many words an element takes.
type Fill<T> = (&'static str, u64, fn(&Context, &mut Rng, &mut [T]) -> Result<()>);

fn fills<T: Element>() -> [Fill<T>; 7] {
    [
        ("uniform", 2, |c, rng, out| rng.fill_uniform(c, out, -0.3, 1.7)),
        ("normal", 2, |c, rng, out| rng.fill_normal(c, out, 0.5, 2.0)),
        ("truncated", 2, |c, rng, out| rng.fill_truncated_normal(c, out, 0.1, 1.0, -2.0, 2.0)),
        ("far tail", 2, |c, rng, out| rng.fill_truncated_normal(c, out, 0.0, 0.5, 3.0, f64::INFINITY)),
        ("exponential", 2, |c, rng, out| rng.fill_exponential(c, out, 3.0)),
        ("bernoulli", 1, |c, rng, out| rng.fill_bernoulli(c, out, 0.3)),
        ("dropout", 1, |c, rng, out| rng.fill_dropout(c, out, 0.9)),
    ]
}

fn filled_on<T: Element>(context: &Context, fill: Fill<T>, rng: &mut Rng, count: usize) -> Vec<T> {
    let mut out = vec![T::nan(); count];
    fill.2(context, rng, &mut out).unwrap();
    out
}

fn filled<T: Element>(fill: Fill<T>, rng: &mut Rng, count: usize) -> Vec<T> {
    filled_on(&contexts()[0], fill, rng, count)
}

fn cuts<T: Element>() {
    for fill in fills::<T>() {
        // All four places in a block, and the end of the stream's period.
        for start in [0, 1, 2, 3, 4, 1001, (1 << 34) + 2, u64::MAX - 100] {
            let rng = Rng::new(7).stream(3).at(start);
            let mut walker = rng.clone();
            let all = all_bits(&filled(fill, &mut walker, 1000));
            assert_eq!(walker.position(), start.wrapping_add(1000 * fill.1), "{}", fill.0);
            let mut at = 0;
            for length in [1, 2, 3, 5, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 201] {
                let mut part = rng.at(start.wrapping_add(at as u64 * fill.1));
                let part = all_bits(&filled(fill, &mut part, length));
                assert_eq!(part, all[at..at + length], "{} {start}: {length} from {at}", fill.0);
                at += length;
            }
            let mut one = rng.at(start.wrapping_add(999 * fill.1));
            assert_eq!(all_bits(&filled(fill, &mut one, 1)), all[999..], "{}", fill.0);
            assert!(filled(fill, &mut walker.clone(), 0).is_empty());
        }
    }
}

#[test]
fn any_part_of_an_array_is_filled_as_in_the_whole() {
    cuts::<f32>();
    cuts::<f64>();
}

#[test]
fn f32_is_f64_rounded_once() {
    for context in contexts() {
        for (single, double) in fills::<f32>().into_iter().zip(fills::<f64>()) {
            let rng = Rng::new(1).stream(2);
            let doubles = filled_on(&context, double, &mut rng.clone(), 30_000);
            let singles = filled_on(&context, single, &mut rng.clone(), 30_000);
            if single.0 == "normal" {
                // Of mean 0.5 and deviation 2: computed in f32, from the same words.
                for (&x, &y) in singles.iter().zip(&doubles) {
                    let bound = 2.0 * (1e-6 * (0.5 * (y - 0.5)).abs() + 4e-10) + 1.2e-7 * y.abs();
                    assert!((f64::from(x) - y).abs() <= bound, "{x} for {y} {}", context.isa());
                }
                continue;
            }
            let rounded: Vec<f32> = doubles.iter().map(|&x| x as f32).collect();
            assert_eq!(singles, rounded, "{} {}", single.0, context.isa());
        }
    }
}

/// The words one by one, by their definitions.
#[test]
fn a_fill_is_what_single_numbers_say() {
    for (start, context) in (0..5).flat_map(|start| contexts().into_iter().map(move |c| (start, c))) {
        let rng = Rng::new(3).at(start);
        let (mut words, mut uniforms, mut normals) = (rng.clone(), rng.clone(), rng.clone());
        let [uniform, normal, _, _, exponential, bernoulli, dropout] =
            fills::<f64>().map(|fill| filled_on(&context, fill, &mut rng.clone(), 500));
        let mut bools = [false; 500];
        rng.clone().fill_bools(&context, &mut bools, 0.3).unwrap();
        for i in 0..500 {
            let u = uniforms.uniform_f64();
            assert_eq!(uniform[i], -0.3 + 2.0 * u);
            let expected = -(-u).ln_1p() / 3.0;
            assert!((exponential[i] - expected).abs() <= 3e-15 * expected);
            assert!((normal[i] - (0.5 + 2.0 * normals.normal_f64())).abs() < 1e-14);
            let word = f64::from(words.next_u32()) / 4_294_967_296.0;
            assert_eq!(bernoulli[i], if word < 0.3 { 1.0 } else { 0.0 });
            assert_eq!(bools[i], word < 0.3);
            assert_eq!(dropout[i], if word < 0.9 { 1.0 / 0.9 } else { 0.0 });
        }
    }
}

/// The same numbers on every machine and instruction set: a change breaks every seed that anyone wrote down.
#[test]
fn the_numbers_are_the_committed_ones() {
    for context in contexts() {
        let of = |index: usize| {
            let singles =
                filled_on(&context, fills::<f32>()[index], &mut Rng::new(42).stream(5).at(6), 10_000);
            let doubles =
                filled_on(&context, fills::<f64>()[index], &mut Rng::new(43).stream(5).at(7), 10_000);
            hash(&doubles, hash(&singles, HASH_START))
        };
        let hashes: [u64; 7] = std::array::from_fn(of);
        for i in 0..7 {
            // Without fused multiply-add only what needs none.
            if context.isa().has_fma() || [0, 5, 6].contains(&i) {
                assert_eq!(hashes[i], HASHES[i], "{} {}: {hashes:#x?}", fills::<f32>()[i].0, context.isa());
            }
        }
    }
    let order: Vec<f64> = Rng::new(44).permutation(1000).into_iter().map(|i| i as f64).collect();
    assert_eq!(hash(&order, HASH_START), PERMUTATION, "{:#x}", hash(&order, HASH_START));
}

const HASHES: [u64; 7] = [
    0x47d9_be0a_dba6_0f38,
    0x84e0_2c9f_40d2_6b62,
    0x31d6_394b_92dc_7fe0,
    0x7add_c0d0_60c0_463c,
    0xf2e1_9864_fd86_cb33,
    0xf98d_fe23_3272_0da5,
    0x1c60_bb32_2b9c_cba1,
];
const PERMUTATION: u64 = 0x8f2_1b17_8b17_a745;

/// `P(Z < x)`, by Simpson's rule from 0.
fn normal_below(x: f64) -> f64 {
    let n = 200;
    let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
    let weight = |i: i32| f64::from(if i % 2 == 1 { 4 } else { 2 });
    let inner: f64 = (1..n).map(|i| weight(i) * density(x * f64::from(i) / f64::from(n))).sum();
    0.5 + x / f64::from(3 * n) * (inner + density(0.0) + density(x))
}

/// 40 buckets of equal probability by the distribution function: chi-square with 39 degrees of freedom, of mean 39
/// and deviation 8.8. The seeds are fixed, so what passes once passes always.
fn chi_square(name: &str, x: &[f64], below: impl Fn(f64) -> f64) {
    let mut counts = [0.0; 40];
    for &x in x {
        counts[((below(x) * 40.0) as usize).min(39)] += 1.0;
    }
    let expected = x.len() as f64 / 40.0;
    let chi: f64 = counts.iter().map(|c| (c - expected) * (c - expected) / expected).sum();
    assert!((12.0..80.0).contains(&chi), "{name}: {chi} {counts:?}");
}

#[test]
fn the_distributions_are_right() {
    let draw = |index: usize| filled(fills::<f64>()[index], &mut Rng::new(8), 20_000);
    chi_square("uniform", &draw(0), |x| (x + 0.3) / 2.0);
    chi_square("normal", &draw(1), |x| normal_below((x - 0.5) / 2.0));
    let (low, high) = (normal_below(-2.1), normal_below(1.9));
    chi_square("truncated", &draw(2), |x| (normal_below(x - 0.1) - low) / (high - low));
    // 6 standard deviations out: P(Z > z) = density(z) / (z + 1/(z + 2/(z + 3/(z + ...)))).
    let above = |z: f64| {
        let fraction = (1..60).rev().fold(z, |fraction, k| z + f64::from(k) / fraction);
        (-0.5 * z * z).exp() / fraction
    };
    chi_square("far tail", &draw(3), |x| 1.0 - above(2.0 * x) / above(6.0));
    chi_square("exponential", &draw(4), |x| -(-3.0 * x).exp_m1());
}

/// The normal is the quantile of its 64 bits: by the error function of `libm`, all through the range and in both tails.
#[test]
fn a_normal_is_the_quantile_of_its_words() {
    for context in contexts() {
        let rng = Rng::new(21);
        let (n, mut words) = (200_000, rng.clone());
        let mut doubles = vec![0.0_f64; n];
        rng.clone().fill_normal(&context, &mut doubles, 0.0, 1.0).unwrap();
        let mut singles = vec![0.0_f32; n];
        rng.clone().fill_normal(&context, &mut singles, 0.0, 1.0).unwrap();
        let mut outer = 0;
        for (&x, &single) in doubles.iter().zip(&singles) {
            let bits = words.next_u64() as i64;
            let p = (bits.unsigned_abs() as f64 + 0.5) / 18_446_744_073_709_551_616.0;
            assert_eq!(x > 0.0, bits >= 0);
            // The error of a probability is the density times that of x.
            let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            let below = if x.abs() < 0.5 {
                0.5 * libm_erf(x.abs() / std::f64::consts::SQRT_2) - p
            } else {
                (0.5 - p) - above(x.abs())
            };
            assert!((below / density).abs() <= 5e-12 * x.abs() + 2e-15 / density, "{x} {}", context.isa());
            assert!((f64::from(single) - x).abs() <= 1e-6 * x.abs() + 4e-10, "{single} for {x}");
            outer += usize::from(x.abs() > 3.5);
        }
        // 4.65e-4 of them.
        assert!((55..135).contains(&outer), "{outer}");
    }
}

/// The error function by its series, for small numbers.
fn libm_erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..40 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// `P(Z > x)`: by the series where it converges well, else by the continued fraction.
fn above(x: f64) -> f64 {
    if x < 2.5 {
        return 0.5 - 0.5 * libm_erf(x / std::f64::consts::SQRT_2);
    }
    let fraction = (1..300).rev().fold(x, |fraction, k| x + f64::from(k) / fraction);
    (-0.5 * x * x).exp() / fraction / std::f64::consts::TAU.sqrt()
}

/// Long enough to be shared: the numbers do not depend on how many threads come.
#[test]
fn threads_change_no_number() {
    let context = contexts()[0];
    for fill in fills::<f32>() {
        let rng = Rng::new(31).at(3);
        let alone = context.with_parallelism(Parallelism::Serial);
        let alone = filled_on(&alone, fill, &mut rng.clone(), 300_001);
        for most in [2, 5] {
            let shared = context.with_parallelism(Parallelism::Max(most));
            assert!(filled_on(&shared, fill, &mut rng.clone(), 300_001) == alone, "{} {most}", fill.0);
        }
    }
}

/// Moments within five of their own standard deviations.
#[test]
fn the_moments_are_right() {
    let moments = |index: usize| {
        let x = filled(fills::<f32>()[index], &mut Rng::new(9), 100_000);
        let n = x.len() as f64;
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        (mean, x.iter().map(|&x| (f64::from(x) - mean) * (f64::from(x) - mean)).sum::<f64>() / n)
    };
    // Of 2 U: 1/3. Truncated at -a, b with densities p: mean and variance by the textbook.
    let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
    let mass = normal_below(1.9) - normal_below(-2.1);
    let shift = (density(2.1) - density(1.9)) / mass;
    let truncated = (0.1 + shift, 1.0 - (2.1 * density(2.1) + 1.9 * density(1.9)) / mass - shift * shift);
    let expected = [(0.7, 1.0 / 3.0), (0.5, 4.0), truncated];
    let rest = [(1.0 / 3.0, 1.0 / 9.0), (0.3, 0.21), (1.0, 0.1 / 0.9)];
    for (index, (mean, variance)) in [0, 1, 2, 4, 5, 6].into_iter().zip(expected.into_iter().chain(rest)) {
        let (m, v) = moments(index);
        let name = fills::<f32>()[index].0;
        assert!((m - mean).abs() < 5.0 * (variance / 1e5_f64).sqrt(), "{name}: mean {m} for {mean}");
        assert!((v - variance).abs() < 0.04 * variance, "{name}: variance {v} for {variance}");
    }
}

#[test]
fn a_truncated_normal_stays_within_its_bounds() {
    let context = contexts()[0];
    let mut rng = Rng::new(10);
    let bounds = [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -0.04, 0.04),
        (5.0, 1.0, -1.0, 0.0),
        (-5.0, 1.0, 0.0, 1.0),
        (0.0, 1.0, 8.0, 9.0),
        (0.0, 1.0, -37.0, -36.9),
        (0.0, 1.0, 1.0, 1.0 + 1e-6),
        (0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY),
        (1e6, 1e-3, 1e6, f64::INFINITY),
    ];
    for (mean, std, low, high) in bounds {
        let mut x = [0.0_f64; 2000];
        rng.fill_truncated_normal(&context, &mut x, mean, std, low, high).unwrap();
        assert!(x.iter().all(|x| (low..=high).contains(x)), "{mean} {std} {low} {high}");
        let distinct = x.iter().map(|x| x.to_bits()).collect::<std::collections::BTreeSet<_>>().len();
        assert!(distinct > 1900, "{mean} {std} {low} {high}: {distinct} values");
        let mut x = [0.0_f32; 2000];
        rng.fill_truncated_normal(&context, &mut x, mean, std, low, high).unwrap();
        assert!(x.iter().all(|x| (low as f32..=high as f32).contains(x)), "{mean} {std} {low} {high}");
    }
    // Narrower than the quantile's error: what goes beyond is held, on either side.
    for (low, high) in [(1.0, 1.0 + 1e-13), (-1.0 - 1e-13, -1.0), (0.3, 0.3 + 1e-13), (-0.3 - 1e-13, -0.3)] {
        let mut x = [0.0_f64; 2000];
        rng.fill_truncated_normal(&context, &mut x, 0.0, 1.0, low, high).unwrap();
        assert!(x.iter().all(|x| (low..=high).contains(x)), "{low}");
    }
    // Both tails and the middle: the quantile's inverse is the probability.
    let mut x = [0.0_f64; 4000];
    rng.at(0).fill_truncated_normal(&context, &mut x, 0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY).unwrap();
    let mut words = rng.at(0);
    for &x in &x {
        let u = words.uniform_f64();
        assert!((normal_below(x) - u).abs() < 1e-7, "{x} for {u}");
    }
}

#[test]
fn the_rate_of_a_mask_is_the_probability() {
    let context = contexts()[0];
    for p in [0.0, 1e-3, 0.1, 0.5, 0.9, 0.999, 1.0] {
        let mut mask = [0.5_f32; 50_000];
        Rng::new(12).fill_bernoulli(&context, &mut mask, p).unwrap();
        assert!(mask.iter().all(|&m| m == 0.0 || m == 1.0));
        let rate = mask.iter().map(|&m| f64::from(m)).sum::<f64>() / 5e4;
        assert!((rate - p).abs() <= 5.0 * (p * (1.0 - p) / 5e4).sqrt(), "{rate} for {p}");
        let (mut dropout, mut bools) = ([0.5_f32; 50_000], [p < 0.5; 50_000]);
        Rng::new(12).fill_dropout(&context, &mut dropout, p).unwrap();
        Rng::new(12).fill_bools(&context, &mut bools, p).unwrap();
        for ((&m, &d), &b) in mask.iter().zip(&dropout).zip(&bools) {
            assert_eq!((d, b), if m == 1.0 { ((1.0 / p) as f32, true) } else { (0.0, false) });
        }
    }
}

/// To the word: the probability is rounded to a multiple of 2^-32, and what is below it is a hit.
#[test]
fn the_words_below_a_probability_are_hits_and_no_other() {
    for context in contexts() {
        for rng in (0..50).map(|position| Rng::new(8).at(position)) {
            let word = f64::from(rng.clone().next_u32());
            for (more, hit) in [(0.0, false), (0.4, false), (0.6, true), (1.0, true)] {
                let probability = (word + more) / 4_294_967_296.0;
                let (mut number, mut kept, mut truth) = ([7.0_f32], [7.0_f64], [!hit]);
                rng.clone().fill_bernoulli(&context, &mut number, probability).unwrap();
                rng.clone().fill_dropout(&context, &mut kept, probability).unwrap();
                rng.clone().fill_bools(&context, &mut truth, probability).unwrap();
                assert_eq!((number[0] == 1.0, kept[0] > 0.0, truth[0]), (hit, hit, hit), "{word} {more}");
            }
        }
    }
}

#[test]
fn streams_are_independent_of_each_other() {
    let context = contexts()[0];
    let draw = |rng: Rng| {
        let mut x = vec![0.0_f64; 20_000];
        rng.clone().fill_uniform(&context, &mut x, -1.0, 1.0).unwrap();
        x
    };
    let base = Rng::new(13);
    let others = [base.stream(0), base.stream(1), base.stream(0).stream(1), Rng::new(14), base.at(1 << 40)];
    let mut all = vec![draw(base)];
    all.extend(others.map(draw));
    for (i, a) in all.iter().enumerate() {
        for b in &all[..i] {
            // Products of two uniform numbers have the variance 1/9.
            let correlation = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / 20_000.0 * 3.0;
            assert!(correlation.abs() < 5.0 / 20_000_f64.sqrt(), "{correlation}");
        }
        // Neighbours within a stream.
        let correlation = a.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / 20_000.0 * 3.0;
        assert!(correlation.abs() < 5.0 / 20_000_f64.sqrt(), "{correlation}");
    }
}

/// Every item comes to every place equally often.
#[test]
fn a_permutation_is_uniform() {
    let mut rng = Rng::new(15);
    let mut counts = [[0_u32; 6]; 6];
    for _ in 0..6000 {
        for (place, item) in rng.permutation(6).into_iter().enumerate() {
            counts[place][item] += 1;
        }
    }
    assert!(counts.iter().flatten().all(|&c| c.abs_diff(1000) < 150), "{counts:?}");
    let mut order = rng.permutation(10_000);
    assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    order.sort_unstable();
    assert!(order.iter().enumerate().all(|(i, &item)| i == item));
}

#[test]
fn bad_arguments_say_what_and_why_and_draw_nothing() {
    let context = contexts()[0];
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let mut rng = Rng::new(0);
    let x = &mut [7.0_f32; 3];
    let mut bools = [true; 3];
    let errors = [
        (rng.fill_uniform(&context, x, nan, 1.0), "fill_uniform: low: expected a finite number, got NaN"),
        (rng.fill_uniform(&context, x, 0.0, inf), "fill_uniform: high: expected a finite number, got inf"),
        (rng.fill_uniform(&context, x, 1.0, 0.5), "fill_uniform: high: expected at least low, got 0.5"),
        (
            rng.fill_uniform(&context, x, -1.5e308, 1.5e308),
            "fill_uniform: high - low: expected a finite number, got inf",
        ),
        (rng.fill_normal(&context, x, nan, 1.0), "fill_normal: mean: expected a finite number, got NaN"),
        (
            rng.fill_normal(&context, x, 0.0, -1.0),
            "fill_normal: std: expected a finite number, at least 0, got -1",
        ),
        (
            rng.fill_normal(&context, x, 0.0, nan),
            "fill_normal: std: expected a finite number, at least 0, got NaN",
        ),
        (
            rng.fill_truncated_normal(&context, x, 0.0, 0.0, -1.0, 1.0),
            "fill_truncated_normal: std: expected a finite number above 0, got 0",
        ),
        (
            rng.fill_truncated_normal(&context, x, 0.0, 1.0, 1.0, 1.0),
            "fill_truncated_normal: high: expected above low, got 1",
        ),
        (
            rng.fill_truncated_normal(&context, x, 0.0, 1.0, nan, 1.0),
            "fill_truncated_normal: low: expected a number, got NaN",
        ),
        (
            rng.fill_truncated_normal(&context, x, 0.0, 1.0, 0.0, nan),
            "fill_truncated_normal: high: expected above low, got NaN",
        ),
        (
            rng.fill_truncated_normal(&context, x, 0.0, 1.0, 50.0, 60.0),
            "fill_truncated_normal: the probability of low..=high: expected at least 1e-300, got 0",
        ),
        (
            rng.fill_exponential(&context, x, 0.0),
            "fill_exponential: rate: expected a finite number above 0, got 0",
        ),
        (
            rng.fill_bernoulli(&context, x, 1.5),
            "fill_bernoulli: probability: expected a probability in 0..=1, got 1.5",
        ),
        (rng.fill_dropout(&context, x, nan), "fill_dropout: keep: expected a probability in 0..=1, got NaN"),
        (
            rng.fill_bools(&context, &mut bools, -0.1),
            "fill_bools: probability: expected a probability in 0..=1, got -0.1",
        ),
    ];
    for (result, expected) in errors {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
    assert_eq!((rng.position(), x), (0, &mut [7.0; 3]));
    rng.fill_uniform(&context, &mut [0.0_f32; 1], 2.0, 2.0).unwrap();
    rng.fill_normal(&context, &mut [0.0_f32; 1], 2.0, 0.0).unwrap();
}

//! Against loops in f64, for every instruction set.

use super::{Drops, Sample, Shape, backward, backward_scratch, forward, forward_scratch};
use crate::context::{Context, Parallelism};
use crate::kernel::element::Element;
use crate::rng::Rng;
use crate::simd::Isa;

/// Numbers between -1 and 1 that a formula gives.
fn numbers(len: usize, salt: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 7919 + salt * 104_729 + 13) % 2003) as f64 / 1001.5 - 1.0).collect()
}

fn converted<T: Element>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| <T as Element>::from_f64(x)).collect()
}

struct Case {
    shape: Shape,
    mask: Option<Vec<f64>>,
    drops: Option<Drops>,
}

/// Output and gradient, straight from the formulas.
fn twin(case: &Case, qkv: &[f64], d_output: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Shape { length, heads, width, causal } = case.shape;
    let d = width / heads;
    let (mut output, mut d_qkv) = (vec![0.0; length * width], vec![0.0; length * 3 * width]);
    let factor = |head: usize, i: usize, j: usize| {
        case.drops.as_ref().map_or(1.0, |drops| {
            let mut factor = [0.0];
            let at = drops.rng.position() + ((head * length + i) * length + j) as u64;
            let context = Context::detect().unwrap();
            drops.rng.at(at).fill_dropout(&context, &mut factor, drops.keep).unwrap();
            factor[0]
        })
    };
    let at = |part: usize, head: usize, i: usize, c: usize| i * 3 * width + part * width + head * d + c;
    let scale = 1.0 / (d as f64).sqrt();
    for head in 0..heads {
        for i in 0..length {
            let sees = |j: usize| (!causal || j <= i) && case.mask.as_ref().is_none_or(|mask| mask[j] > 0.0);
            let keys: Vec<usize> = (0..length).filter(|&j| sees(j)).collect();
            let score = |j: usize| {
                (0..d).map(|c| qkv[at(0, head, i, c)] * qkv[at(1, head, j, c)]).sum::<f64>() * scale
            };
            #[allow(clippy::disallowed_methods, reason = "an oracle")]
            let e: Vec<f64> = keys.iter().map(|&j| score(j).exp()).collect();
            let total: f64 = e.iter().sum();
            let p: Vec<f64> = e.iter().map(|e| e / total).collect();
            let f: Vec<f64> = keys.iter().map(|&j| factor(head, i, j)).collect();
            let d_row = &d_output[i * width + head * d..][..d];
            let mut d_p = vec![0.0; keys.len()];
            for (k, &j) in keys.iter().enumerate() {
                for c in 0..d {
                    output[i * width + head * d + c] += p[k] * f[k] * qkv[at(2, head, j, c)];
                    d_qkv[at(2, head, j, c)] += p[k] * f[k] * d_row[c];
                    d_p[k] += f[k] * d_row[c] * qkv[at(2, head, j, c)];
                }
            }
            let dot: f64 = p.iter().zip(&d_p).map(|(p, d)| p * d).sum();
            for (k, &j) in keys.iter().enumerate() {
                let d_s = p[k] * (d_p[k] - dot) * scale;
                for c in 0..d {
                    d_qkv[at(0, head, i, c)] += d_s * qkv[at(1, head, j, c)];
                    d_qkv[at(1, head, j, c)] += d_s * qkv[at(0, head, i, c)];
                }
            }
        }
    }
    (output, d_qkv)
}

/// What the kernels give, with weights that are kept or computed again.
fn run<T: Element>(
    context: &Context,
    case: &Case,
    qkv: &[f64],
    d_output: &[f64],
    keep: bool,
) -> (Vec<T>, Vec<T>) {
    let Case { shape, drops, .. } = case;
    let (qkv, d_output): (Vec<T>, Vec<T>) = (converted(qkv), converted(d_output));
    let mask: Option<Vec<T>> = case.mask.as_deref().map(converted);
    // What is there before does not matter.
    let garbage = |len: usize| vec![T::nan(); len];
    let mut kept = keep.then(|| garbage(shape.weights()));
    let mut output = garbage(shape.length * shape.width);
    let mut d_qkv = garbage(shape.length * shape.width * 3);
    let drops = drops.as_ref();
    let sample = Sample { qkv: &qkv, mask: mask.as_deref(), drops };
    let mut scratch = garbage(forward_scratch(shape, keep, drops.is_some()));
    forward(context, shape, &sample, kept.as_deref_mut(), &mut output, &mut scratch);
    let mut scratch = garbage(backward_scratch(shape, keep, drops.is_some()));
    let kept = kept.as_deref();
    backward(context, shape, &sample, kept, &d_output, &mut d_qkv, &mut scratch);
    (output, d_qkv)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes =
        [(1, 1, 1), (1, 2, 4), (2, 1, 3), (7, 3, 6), (33, 2, 34), (64, 2, 64), (65, 1, 16), (150, 2, 8)];
    for (number, (length, heads, width)) in sizes.into_iter().enumerate() {
        for causal in [false, true] {
            let shape = Shape { length, heads, width, causal };
            for kind in 0..5 {
                let mask = match kind {
                    0 => None,
                    // The end is missing, the beginning, some, all.
                    1 => Some((0..length).map(|j| f64::from(u8::from(j < length.div_ceil(2)))).collect()),
                    2 => Some((0..length).map(|j| f64::from(u8::from(j >= length / 2))).collect()),
                    3 => Some((0..length).map(|j| f64::from(u8::from(j % 3 != 1))).collect()),
                    _ => Some(vec![0.0; length]),
                };
                let rng = Rng::new(number as u64).at(5);
                let drops = (kind % 2 == 1).then_some(Drops { rng, keep: 0.7 });
                cases.push(Case { shape, mask, drops });
            }
        }
    }
    cases
}

fn worst<T: Element>(got: &[T], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(1e-3_f64, |most, x| most.max(x.abs()));
    let errors =
        got.iter().zip(expected).map(|(&got, expected)| (Element::to_f64(got) - expected).abs() / largest);
    errors.fold(0.0, |most, error| if error > most || error.is_nan() { error } else { most })
}

fn check<T: Element>(tolerance: f64) {
    for case in cases() {
        let Shape { length, width, .. } = case.shape;
        let qkv: Vec<f64> = numbers(length * width * 3, 1).iter().map(|x| x * 2.0).collect();
        let d_output = numbers(length * width, 2);
        let expected = twin(&case, &qkv, &d_output);
        let mut bits: Option<Vec<u64>> = None;
        for isa in Isa::available() {
            let context = Context::new(isa).unwrap().with_parallelism(Parallelism::Serial);
            let name = || format!("{isa}, {:?}, mask {:?}, drops {:?}", case.shape, case.mask, case.drops);
            let again = run::<T>(&context, &case, &qkv, &d_output, false);
            let kept = run::<T>(&context, &case, &qkv, &d_output, true);
            for (got, expected) in [(&kept.0, &expected.0), (&kept.1, &expected.1)] {
                let worst = worst(got, expected);
                assert!(worst <= tolerance, "{worst:e}: {}", name());
            }
            let of = |pair: &(Vec<T>, Vec<T>)| -> Vec<u64> {
                pair.0.iter().chain(&pair.1).map(|x| x.bits()).collect()
            };
            assert_eq!(of(&again), of(&kept), "{}", name());
            if isa != Isa::Portable {
                assert_eq!(bits.get_or_insert_with(|| of(&kept)), &of(&kept), "{}", name());
            }
        }
    }
}

#[test]
fn outputs_and_gradients_are_those_of_the_formulas() {
    check::<f64>(1e-13);
    check::<f32>(5e-6);
}

/// What a mask leaves out may hold anything that is finite, and what causal attention does not see too.
#[test]
fn what_is_not_seen_does_not_matter() {
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    let shape = Shape { length: 40, heads: 2, width: 12, causal: true };
    let mask: Vec<f64> = (0..40).map(|j| f64::from(u8::from(j != 3 && j < 35))).collect();
    let case = Case { shape, mask: Some(mask), drops: None };
    let (qkv, d_output) = (numbers(40 * 36, 1), numbers(40 * 12, 2));
    let before = run::<f32>(&context, &case, &qkv, &d_output, true).0;
    let mut changed = qkv.clone();
    // Key and value of position 3, all from position 20 on.
    changed[3 * 36 + 12..4 * 36].fill(1e4);
    changed[20 * 36..].fill(-3e3);
    let after = run::<f32>(&context, &case, &changed, &d_output, true).0;
    assert_eq!(before[..20 * 12], after[..20 * 12]);
    assert_ne!(before[20 * 12..], after[20 * 12..]);
}

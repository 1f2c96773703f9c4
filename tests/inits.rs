//! Initialisers: PyTorch's gains and scales, the distributions, orthogonal and identity weights.

use gemmule::nn::{Activation, Dense, Fan, Init, Sequential, gain};
use gemmule::rng::{Rng, purpose};
use gemmule::{Context, Element, Error, Tensor};

const GOLDEN: &str = include_str!("golden/inits.csv");
const OUTPUTS: usize = 200;
const INPUTS: usize = 300;
const COUNT: f64 = (OUTPUTS * INPUTS) as f64;

fn golden(kind: &str) -> Vec<(&'static str, f64)> {
    let lines = GOLDEN.lines().map(|line| line.split(',').collect::<Vec<_>>());
    lines.filter(|fields| fields[0] == kind).map(|fields| (fields[1], fields[2].parse().unwrap())).collect()
}

fn weight<T: Element>(outputs: usize, inputs: usize, init: Init, seed: u64) -> Tensor<T> {
    let net = Sequential::new().with(Dense::new(inputs, outputs).weight_init(init));
    net.build::<T>(seed).unwrap().parameter("0.weight").unwrap()
}

#[test]
fn gains_are_those_of_pytorch() {
    let gains = golden("gain");
    assert_eq!(gains.len(), 7);
    for (name, expected) in gains {
        let found = gain(name.parse().unwrap()).unwrap();
        assert!((found - expected).abs() < 1e-15, "{name}: {found}, not {expected}");
    }
    let error = gain(Activation::Mish).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }) && error.to_string().contains("mish"), "{error}");
}

/// Mean, variance, and largest size.
fn moments<T: Element>(x: &[T]) -> (f64, f64, f64) {
    let x = || x.iter().map(|x| Element::to_f64(*x));
    let mean = x().sum::<f64>() / x().count() as f64;
    let variance = x().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x().count() as f64;
    (mean, variance, x().fold(0.0, |most, x| most.max(x.abs())))
}

/// Within five standard deviations, of what a uniform distribution of this bound has.
fn is_uniform<T: Element>(what: &str, x: &[T], bound: f64) {
    let (mean, variance, largest) = moments(x);
    let expected = bound * bound / 3.0;
    assert!(mean.abs() < 5.0 * (expected / COUNT).sqrt(), "{what}: mean {mean}");
    // The fourth moment is bound^4 / 5.
    let spread = (expected * expected * 0.8 / COUNT).sqrt();
    assert!((variance - expected).abs() < 5.0 * spread, "{what}: variance {variance}, not {expected}");
    assert!(
        largest <= bound * (1.0 + 1e-7) && largest > 0.999 * bound,
        "{what}: largest {largest} of {bound}"
    );
}

fn is_normal<T: Element>(what: &str, x: &[T], mean: f64, std: f64) {
    let (found, variance, _) = moments(x);
    assert!((found - mean).abs() < 5.0 * std / COUNT.sqrt(), "{what}: mean {found}");
    let expected = std * std;
    let spread = expected * (2.0 / COUNT).sqrt();
    assert!((variance - expected).abs() < 5.0 * spread, "{what}: variance {variance}, not {expected}");
    let far = x.iter().filter(|x| (Element::to_f64(**x) - mean).abs() > 2.0 * std).count() as f64 / COUNT;
    assert!((far - 0.0455).abs() < 5.0 * (0.0455_f64 / COUNT).sqrt(), "{what}: {far} beyond two deviations");
}

fn scales<T: Element>() {
    let leaky = gain(Activation::LeakyRelu { slope: 0.2 }).unwrap();
    let init = |name: &str| match name {
        "glorot_uniform" => Init::GlorotUniform,
        "glorot_normal" => Init::GlorotNormal,
        "xavier_uniform" => Init::XavierUniform { gain: 1.5 },
        "xavier_normal" => Init::XavierNormal { gain: 1.5 },
        "he_uniform" => Init::HeUniform,
        "he_normal" => Init::HeNormal,
        "kaiming_uniform_in" => Init::KaimingUniform { gain: leaky, fan: Fan::In },
        "kaiming_uniform_out" => Init::KaimingUniform { gain: leaky, fan: Fan::Out },
        "kaiming_normal_in" => Init::KaimingNormal { gain: leaky, fan: Fan::In },
        "kaiming_normal_out" => Init::KaimingNormal { gain: leaky, fan: Fan::Out },
        "lecun_uniform" => Init::LecunUniform,
        "lecun_normal" => Init::LecunNormal,
        "pytorch" => Init::PyTorch,
        _ => panic!("no initialiser {name}"),
    };
    let scales = golden("scale");
    assert_eq!(scales.len(), 13);
    for (name, scale) in scales {
        let w = weight::<T>(OUTPUTS, INPUTS, init(name), 1);
        assert_eq!(w.shape(), [OUTPUTS, INPUTS]);
        if name.contains("normal") {
            is_normal(name, w.as_slice(), 0.0, scale);
        } else {
            is_uniform(name, w.as_slice(), scale);
        }
    }
    let normal = weight::<T>(OUTPUTS, INPUTS, Init::Normal { mean: -0.5, std: 0.1 }, 1);
    is_normal("normal", normal.as_slice(), -0.5, 0.1);
    let uniform = weight::<T>(OUTPUTS, INPUTS, Init::Uniform { low: 1.0, high: 3.0 }, 1);
    let centred: Vec<T> = uniform.as_slice().iter().map(|&x| x - T::from_f64(2.0)).collect();
    is_uniform("uniform", &centred, 1.0);
    assert!(weight::<T>(3, 4, Init::Zeros, 1).as_slice().iter().all(|x| x.bits() == 0));
    assert!(weight::<T>(3, 4, Init::Constant(0.25), 1).as_slice().iter().all(|&x| x == T::from_f64(0.25)));
    // Cut at two standard deviations, a normal distribution keeps this much of its variance.
    let cut = Init::TruncatedNormal { mean: 0.5, std: 0.1, low: 0.3, high: 0.7 };
    let w = weight::<T>(OUTPUTS, INPUTS, cut, 1);
    let (mean, variance, _) = moments(w.as_slice());
    let expected = 0.773_741_3 * 0.01;
    assert!((mean - 0.5).abs() < 5.0 * (expected / COUNT).sqrt(), "{mean}");
    assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / COUNT).sqrt(), "{variance}");
    assert!(w.as_slice().iter().all(|&x| x >= T::from_f64(0.3) && x <= T::from_f64(0.7)));
}

#[test]
fn distributions_have_pytorchs_scales() {
    scales::<f32>();
    scales::<f64>();
}

/// Rows of `w` times each other: of the shorter side's vectors.
fn gram<T: Element>(w: &[T], outputs: usize, inputs: usize) -> (usize, Vec<f64>) {
    let at = |o: usize, i: usize| Element::to_f64(w[o * inputs + i]);
    let (vectors, length) = (outputs.min(inputs), outputs.max(inputs));
    let element = |v: usize, k: usize| if outputs <= inputs { at(v, k) } else { at(k, v) };
    let dot = |a: usize, b: usize| (0..length).map(|k| element(a, k) * element(b, k)).sum::<f64>();
    (vectors, (0..vectors * vectors).map(|i| dot(i / vectors, i % vectors)).collect())
}

fn orthogonal<T: Element>(tolerance: f64) {
    for (outputs, inputs) in [(1, 1), (1, 9), (9, 1), (24, 24), (40, 65), (65, 40), (130, 129)] {
        for gain in [1.0, 1.5] {
            let w = weight::<T>(outputs, inputs, Init::Orthogonal { gain }, 7);
            let (vectors, gram) = gram(w.as_slice(), outputs, inputs);
            for (i, &dot) in gram.iter().enumerate() {
                let expected = if i / vectors == i % vectors { gain * gain } else { 0.0 };
                let error = (dot - expected).abs();
                assert!(error < tolerance, "{outputs} x {inputs} {}: {dot}, not {expected}", T::NAME);
            }
        }
    }
}

#[test]
fn orthogonal_weights_are_at_right_angles() {
    orthogonal::<f64>(1e-13);
    orthogonal::<f32>(1e-6);
}

/// Q with a positive diagonal of R is one alone, so Gram and Schmidt find the same from the same normal numbers.
#[test]
fn orthogonal_weights_are_q_of_the_normal_numbers() {
    for (outputs, inputs) in [(13, 13), (7, 21), (21, 7)] {
        let mut a = vec![0.0_f64; outputs * inputs];
        let mut rng = Rng::new(7).stream(purpose::INIT).stream(0);
        rng.fill_normal(&Context::detect().unwrap(), &mut a, 0.0, 1.0).unwrap();
        // The columns of A, or of its transpose if that is higher.
        let (count, length) = (outputs.min(inputs), outputs.max(inputs));
        let element =
            |v: usize, k: usize| if outputs < inputs { a[v * inputs + k] } else { a[k * inputs + v] };
        let mut q: Vec<Vec<f64>> = Vec::new();
        for v in 0..count {
            let mut column: Vec<f64> = (0..length).map(|k| element(v, k)).collect();
            // Twice is enough.
            for _ in 0..2 {
                for done in &q {
                    let dot: f64 = done.iter().zip(&column).map(|(a, b)| a * b).sum();
                    column.iter_mut().zip(done).for_each(|(x, q)| *x -= dot * q);
                }
            }
            let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
            q.push(column.into_iter().map(|x| x / norm).collect());
        }
        let w = weight::<f64>(outputs, inputs, Init::Orthogonal { gain: 1.0 }, 7);
        let single = weight::<f32>(outputs, inputs, Init::Orthogonal { gain: 1.0 }, 7);
        for o in 0..outputs {
            for i in 0..inputs {
                let (v, k) = if outputs < inputs { (o, i) } else { (i, o) };
                let (got, expected) = (w.as_slice()[o * inputs + i], q[v][k]);
                assert!(
                    (got - expected).abs() < 1e-13,
                    "{outputs} x {inputs} ({o}, {i}): {got}, not {expected}"
                );
                assert_eq!(single.as_slice()[o * inputs + i], got as f32);
            }
        }
    }
}

#[test]
fn identity_is_exact() {
    for (outputs, inputs) in [(4, 4), (3, 5), (5, 3)] {
        for gain in [1.0, 0.5] {
            let w = weight::<f32>(outputs, inputs, Init::Identity { gain }, 1);
            let expected = |at: &[usize]| if at[0] == at[1] { gain as f32 } else { 0.0 };
            assert_eq!(w, Tensor::from_fn(&[outputs, inputs], expected).unwrap());
        }
    }
}

#[test]
fn what_cannot_be_drawn_is_named() {
    for init in [Init::Orthogonal { gain: 1.0 }, Init::Identity { gain: 1.0 }] {
        let error = Sequential::new().with(Dense::new(2, 2).bias_init(init)).build::<f32>(0).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("0.bias") && text.contains("outputs x inputs"), "{text}");
    }
    for init in [
        Init::Orthogonal { gain: f64::NAN },
        Init::Identity { gain: 1e300 },
        Init::XavierNormal { gain: -1.0 },
        Init::KaimingUniform { gain: f64::INFINITY, fan: Fan::In },
        Init::TruncatedNormal { mean: 0.0, std: 1.0, low: 2.0, high: 1.0 },
    ] {
        let error = Sequential::new().with(Dense::new(2, 2).weight_init(init)).build::<f32>(0).unwrap_err();
        assert!(error.to_string().contains("0.weight"), "{error}");
    }
}

#[test]
fn a_seed_and_a_place_make_the_numbers() {
    let all = |seed: u64, first: usize| {
        let net = Sequential::new()
            .with(Dense::new(first, 6).weight_init(Init::Orthogonal { gain: 1.0 }))
            .with(Dense::new(6, 6).weight_init(Init::Orthogonal { gain: 1.0 }));
        net.build::<f64>(seed).unwrap().parameter("1.weight").unwrap()
    };
    assert_eq!(all(1, 4), all(1, 9));
    assert_ne!(all(1, 4), all(2, 4));
}

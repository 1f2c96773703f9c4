//! Constraints on weights: Keras' values, every path of an update, the same bits for any threads and fusions; penalties by layer.

use gemmule::data::Dataset;
use gemmule::kernel::update::constrain;
use gemmule::nn::{Activation, Dense, Fusion, Init, Loss, Model, Sequential};
use gemmule::optim::{Adam, Clip, Constraint, Sgd};
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{Context, Element, Error, Parallelism, Tensor};

const GOLDEN: &str = include_str!("golden/constraints.csv");

/// golden/losses.py's numbers in [-0.5, 0.5).
fn value(stream: u32, index: usize) -> f64 {
    let mixed = (index as u32)
        .wrapping_mul(2_654_435_761)
        .wrapping_add(stream.wrapping_mul(2_246_822_519))
        .wrapping_add(374_761_393);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
    let mixed = mixed ^ (mixed >> 13);
    f64::from(mixed >> 16) / 65536.0 - 0.5
}

fn constraint(name: &str) -> Constraint {
    match name {
        "max_norm" => Constraint::MaxNorm(1.25),
        "unit_norm" => Constraint::UnitNorm,
        "non_negative" => Constraint::NonNegative,
        "min_max_norm" => Constraint::MinMaxNorm { min: 1.0, max: 1.5, rate: 1.0 },
        "min_max_norm_slow" => Constraint::MinMaxNorm { min: 1.0, max: 1.5, rate: 0.25 },
        "clip" => Constraint::Clip { low: -0.25, high: 0.5 },
        _ => panic!("no constraint {name}"),
    }
}

const ALL: [&str; 6] = ["max_norm", "unit_norm", "non_negative", "min_max_norm", "min_max_norm_slow", "clip"];

fn golden<T: Element>(context: &Context, tolerance: f64) {
    let mut seen = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(',').collect();
        let (rows, columns): (usize, usize) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
        let mut w: Vec<T> = (0..rows * columns).map(|i| T::from_f64(2.0 * value(40, i))).collect();
        constrain(context, &mut w, columns, constraint(fields[0])).unwrap();
        for (i, (got, expected)) in w.iter().zip(&fields[3..]).enumerate() {
            let (got, expected) = (Element::to_f64(*got), expected.parse::<f64>().unwrap());
            assert!(
                (got - expected).abs() <= tolerance,
                "{} {}[{i}]: {got}, not {expected}",
                T::NAME,
                fields[0]
            );
        }
        seen.push(fields[0]);
    }
    assert!(ALL.iter().all(|name| seen.iter().filter(|seen| *seen == name).count() == 2));
}

#[test]
fn values_are_those_of_keras() {
    for isa in gemmule::Isa::available() {
        // Keras divides by the norm and 1e-7.
        golden::<f64>(&Context::new(isa).unwrap(), 2e-7);
        golden::<f32>(&Context::new(isa).unwrap(), 4e-7);
    }
}

#[test]
fn edges_of_the_range() {
    let context = Context::detect().unwrap();
    let held = |w: &[f64], width: usize, constraint| {
        let mut w = w.to_vec();
        constrain(&context, &mut w, width, constraint).unwrap();
        w
    };
    // Squares that overflow or vanish; zeros and what is not finite have no direction.
    let w = [3e200, 3e-200, 0.0, f64::INFINITY, f64::NAN, 4e200, 4e-200, 0.0, 1.0, 1.0];
    let unit = held(&w, 5, Constraint::UnitNorm);
    for (got, expected) in unit.iter().zip([0.6, 0.6, 0.0]).chain(unit[5..].iter().zip([0.8, 0.8, 0.0])) {
        assert!((got - expected).abs() < 1e-15, "{unit:?}");
    }
    assert!(unit[3] == f64::INFINITY && unit[8] == 1.0 && unit[4].is_nan() && unit[9] == 1.0);
    // What is inside keeps its bits, also at the limit.
    let inside = [0.6_f64, 0.1, 0.8, -0.2];
    assert_eq!(held(&inside, 2, Constraint::MaxNorm(1.0)), inside);
    assert_eq!(held(&inside, 2, Constraint::MinMaxNorm { min: 0.0, max: 1.0, rate: 0.3 }), inside);
    assert_eq!(held(&inside, 2, Constraint::Clip { low: -0.2, high: 0.8 }), inside);
    // A column of a wide matrix is held as alone.
    let mut wide = vec![0.0_f32; 9 * 300];
    Rng::new(4).fill_normal(&context, &mut wide, 0.0, 1.0).unwrap();
    let column = |w: &[f32], at: usize| (0..9).map(|i| w[300 * i + at]).collect::<Vec<_>>();
    let before = wide.clone();
    constrain(&context, &mut wide, 300, Constraint::MaxNorm(2.0)).unwrap();
    for at in [0, 63, 64, 299] {
        let mut alone = column(&before, at);
        constrain(&context, &mut alone, 1, Constraint::MaxNorm(2.0)).unwrap();
        assert_eq!(column(&wide, at), alone);
        let norm = alone.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        assert!(norm <= 2.0 * (1.0 + 2.4e-7), "{norm}");
    }
    assert_ne!(wide, before);
}

fn context(threads: usize) -> Context {
    Context::detect().unwrap().with_parallelism(Parallelism::Max(threads))
}

fn data<T: Element>(samples: usize, features: usize) -> Dataset {
    let mut x = vec![T::zero(); samples * features];
    Rng::new(3).fill_normal(&context(1), &mut x, 0.0, 1.0).unwrap();
    let classes = (0..samples as u32).map(|i| i * 5 % 4).collect();
    Dataset::from_values(Tensor::from_vec(&[samples, features], x).unwrap())
        .unwrap()
        .with_classes(classes, 4)
        .unwrap()
}

fn model<T: Element>(threads: usize) -> Model<T> {
    // Norms of about 2.1 and 2.9.
    let dense = |i, o| Dense::new(i, o).weight_init(Init::Normal { mean: 0.0, std: 0.25 });
    let net = Sequential::new().with(dense(70, 130)).with(Activation::Tanh).with(dense(130, 4));
    let mut model = net.build_with(context(threads), 3).unwrap();
    model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.5, ..Sgd::default() }).unwrap();
    model
}

const NAMES: [&str; 4] = ["0.weight", "0.bias", "2.weight", "2.bias"];

fn bits<T: Element>(model: &Model<T>) -> Vec<u64> {
    let all =
        |name: &str| model.parameter(name).unwrap().as_slice().iter().map(|x| x.bits()).collect::<Vec<_>>();
    NAMES.iter().flat_map(|name| all(name)).collect()
}

/// A parameter held by the kernel, as it is stored: inputs x outputs, a bias as one column.
fn held(tensor: &Tensor<f64>, constraint: Constraint) -> Tensor<f64> {
    let shape = tensor.shape().to_vec();
    let x = tensor.as_slice();
    let (outputs, inputs) = if shape.len() == 2 { (shape[0], shape[1]) } else { (1, shape[0]) };
    let mut stored: Vec<f64> =
        (0..inputs).flat_map(|i| (0..outputs).map(move |o| x[o * inputs + i])).collect();
    constrain(&context(1), &mut stored, outputs, constraint).unwrap();
    let shown = (0..outputs).flat_map(|o| stored.iter().skip(o).step_by(outputs).copied()).collect();
    Tensor::from_vec(&shape, shown).unwrap()
}

/// Every path: what the constraint makes of what the same update makes without it.
#[test]
fn a_constraint_follows_every_update() {
    let data = data::<f64>(90, 70);
    let indices: Vec<usize> = (0..90).collect();
    type Update = fn(&mut Model<f64>, &Dataset, &[usize]);
    let paths: [(&str, Update); 6] = [
        ("step", |m, data, indices| {
            m.step(data, indices).unwrap();
        }),
        ("unfused", |m, data, indices| {
            m.set_fusion(Fusion::NONE);
            m.step(data, indices).unwrap();
        }),
        ("clipped", |m, data, indices| {
            m.clip_gradients(Clip::Norm(0.1)).unwrap();
            m.step(data, indices).unwrap();
        }),
        ("looked at", |m, data, indices| {
            m.check_gradients(true);
            m.step(data, indices).unwrap();
        }),
        ("accumulated", |m, data, indices| {
            m.accumulate(data, &indices[..40], 0.4).unwrap();
            m.accumulate(data, &indices[40..], 0.6).unwrap();
            m.apply().unwrap();
        }),
        ("fit", |m, data, _| drop(m.fit(data, Fit::new().batch_size(90)).unwrap())),
    ];
    for (path, update) in paths {
        for name in ALL {
            let constraint = constraint(name);
            let (mut free, mut bound) = (model::<f64>(2), model::<f64>(2));
            bound.set_constraint(&["0", "2.weight"], constraint).unwrap();
            assert_eq!(bits(&free), bits(&bound), "setting a constraint changes nothing");
            assert_eq!(bound.constraint("0.bias").unwrap(), Some(constraint));
            assert_eq!(bound.constraint("2.bias").unwrap(), None);
            update(&mut free, &data, &indices);
            update(&mut bound, &data, &indices);
            for parameter in &NAMES[..3] {
                let expected = held(&free.parameter(parameter).unwrap(), constraint);
                assert_eq!(bound.parameter(parameter).unwrap(), expected, "{path}: {name} of {parameter}");
            }
            assert_eq!(bound.parameter("2.bias").unwrap(), free.parameter("2.bias").unwrap());
            assert_ne!(bits(&free), bits(&bound), "{path}: {name} holds nothing");
        }
    }
    // None any more; a frozen parameter stays.
    let (mut free, mut bound) = (model::<f64>(2), model::<f64>(2));
    bound.set_constraint(&["0", "2"], Constraint::UnitNorm).unwrap();
    bound.set_constraint(&["0", "2"], None).unwrap();
    free.set_trainable(&["0"], false).unwrap();
    bound.set_trainable(&["0"], false).unwrap();
    bound.set_constraint(&["0"], Constraint::UnitNorm).unwrap();
    free.step(&data, &indices).unwrap();
    bound.step(&data, &indices).unwrap();
    assert_eq!(bits(&free), bits(&bound));
}

#[test]
fn no_fusion_and_no_number_of_threads_changes_a_bit() {
    let data = data::<f32>(150, 70);
    for name in ALL {
        let mut expected = None;
        for fusion in [Fusion::default(), Fusion { update: false, ..Fusion::default() }, Fusion::NONE] {
            for threads in [1, 2, 3, 8] {
                let mut model = model::<f32>(threads);
                model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.01, ..Adam::default() }).unwrap();
                model.set_constraint(&["0", "2"], constraint(name)).unwrap();
                model.set_fusion(fusion);
                model.fit(&data, Fit::new().batch_size(64).epochs(2)).unwrap();
                let found = bits(&model);
                let expected = expected.get_or_insert_with(|| found.clone());
                assert!(*expected == found, "{name}, {threads} threads, {fusion}");
            }
        }
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let mut model = model::<f32>(1);
    for (constraint, what) in [
        (Constraint::MaxNorm(0.0), "limit"),
        (Constraint::MaxNorm(1e300), "limit"),
        (Constraint::MinMaxNorm { min: -1.0, max: 1.0, rate: 1.0 }, "min"),
        (Constraint::MinMaxNorm { min: 2.0, max: 1.0, rate: 1.0 }, "max"),
        (Constraint::MinMaxNorm { min: 0.0, max: 1.0, rate: 0.0 }, "rate"),
        (Constraint::MinMaxNorm { min: 0.0, max: 1.0, rate: f64::NAN }, "rate"),
        (Constraint::Clip { low: f64::NAN, high: 1.0 }, "low"),
        (Constraint::Clip { low: 1.0, high: 0.0 }, "high"),
    ] {
        let error = model.set_constraint(&["0"], constraint).unwrap_err();
        assert!(matches!(&error, Error::Argument { .. }) && error.to_string().contains(what), "{error}");
        assert_eq!(model.constraint("0.weight").unwrap(), None);
    }
    assert!(model.set_constraint(&["0.wight"], None).is_err());
    let mut part = [1.0_f32; 5];
    assert!(constrain(&context(1), &mut part, 2, Constraint::UnitNorm).is_err());
    assert!(constrain(&context(1), &mut part, 0, Constraint::UnitNorm).is_err());
}

/// L1, L2, both and decoupled decay, each of one layer: by hand, with plain gradient descent.
#[test]
fn penalties_are_of_their_layers() {
    let data = data::<f64>(30, 70);
    let indices: Vec<usize> = (0..30).collect();
    let rate = 0.5;
    let sgd = Sgd { learning_rate: rate, ..Sgd::default() };
    let options = [
        ("0.weight", Sgd { l1: 0.01, ..sgd }),
        ("0.bias", Sgd { weight_decay: 0.02, ..sgd }),
        ("2.weight", Sgd { l1: 0.01, weight_decay: 0.02, ..sgd }),
        ("2.bias", Sgd { weight_decay: 0.04, decoupled_weight_decay: true, ..sgd }),
    ];
    let mut model = model::<f64>(2);
    let before: Vec<Tensor<f64>> = NAMES.iter().map(|name| model.parameter(name).unwrap()).collect();
    model.gradients(&data, &indices).unwrap();
    let gradients: Vec<Tensor<f64>> = NAMES.iter().map(|name| model.gradient(name).unwrap()).collect();
    for (name, options) in options {
        model.parameter_group(&[name], options).unwrap();
    }
    model.step(&data, &indices).unwrap();
    for (i, (name, options)) in options.into_iter().enumerate() {
        let after = model.parameter(name).unwrap();
        let pairs = before[i].as_slice().iter().zip(gradients[i].as_slice()).zip(after.as_slice());
        for ((&w, &g), &after) in pairs {
            let (l2, shrunk) = if options.decoupled_weight_decay {
                (0.0, w * (1.0 - rate * options.weight_decay))
            } else {
                (options.weight_decay, w)
            };
            let expected = shrunk - rate * (g + l2 * w + options.l1 * w.signum());
            assert!((after - expected).abs() < 1e-15, "{name}: {after}, not {expected}");
            assert!((after - (w - rate * g)).abs() > 1e-12, "{name}: no penalty");
        }
    }
}

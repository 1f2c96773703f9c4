//! Steps in parts: accumulation, a loss of the caller's, frozen layers, parameter groups; and fusions, which change no bit.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Fusion, Loss, Model, Sequential, Softmax};
use gemmule::optim::{Adam, AdamW, Clip, Constraint, Sgd};
use gemmule::rng::Rng;
use gemmule::train::Fit;
use gemmule::{BatchSource, Context, Element, Error, Parallelism, Tensor};

fn context(threads: usize) -> Context {
    Context::detect().unwrap().with_parallelism(Parallelism::Max(threads))
}

fn uniform<T: Element>(shape: &[usize], stream: u64) -> Tensor<T> {
    let mut values = vec![T::zero(); shape.iter().product()];
    Rng::new(7).stream(stream).fill_uniform(&context(1), &mut values, -1.0, 1.0).unwrap();
    Tensor::from_vec(shape, values).unwrap()
}

fn classes<T: Element>(samples: usize, features: usize, count: u32) -> Dataset {
    let labels = (0..samples as u32).map(|i| i * 7 % count).collect();
    Dataset::from_values(uniform::<T>(&[samples, features], 1))
        .unwrap()
        .with_classes(labels, count as usize)
        .unwrap()
}

fn small<T: Element>(threads: usize) -> Model<T> {
    Sequential::new()
        .with(Dense::new(6, 60))
        .with(Activation::Tanh)
        .with(Dense::new(60, 40))
        .with(Activation::Gelu)
        .with(Dense::new(40, 3))
        .build_with(context(threads), 3)
        .unwrap()
}

fn weights<T: Element>(model: &Model<T>) -> Vec<u64> {
    let names = model.parameters();
    names
        .iter()
        .flat_map(|p| {
            model.parameter(&p.name).unwrap().as_slice().iter().map(|x| x.bits()).collect::<Vec<_>>()
        })
        .collect()
}

/// Largest difference between the parameters of two models.
fn distance(a: &Model<f64>, b: &Model<f64>) -> f64 {
    let names = a.parameters();
    let pairs = names.iter().flat_map(|p| {
        let (a, b) = (a.parameter(&p.name).unwrap(), b.parameter(&p.name).unwrap());
        a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>()
    });
    pairs.fold(0.0, f64::max)
}

/// Every switch alone, all and none.
fn fusions() -> Vec<Fusion> {
    let all = Fusion::default();
    vec![
        all,
        Fusion { activation: false, ..all },
        Fusion { derivative: false, ..all },
        Fusion { chains: false, ..all },
        Fusion { update: false, ..all },
        Fusion { chains: false, update: false, ..all },
        Fusion { zeros: false, ..all },
        Fusion { zeros: true, ..Fusion::NONE },
        Fusion::NONE,
    ]
}

/// Widths, batch: weights that fit in a chain, some that do not, and a narrow one after a wide one.
const NETS: [(&[usize], usize); 4] =
    [(&[30, 64, 64, 10], 33), (&[600, 100, 10], 70), (&[700, 520, 300, 3], 40), (&[5, 1200, 130, 17], 76)];

/// The widest first layer in f32 that skips zeros.
const SKIPS_UP_TO: usize = 128;

/// The same samples with a share of zeros among their features.
fn with_zeros(data: &Dataset, share: f64) -> Dataset {
    let (len, features) = (data.len(), data.features());
    let mut x = Tensor::<f32>::zeros(&[len, features]).unwrap();
    let indices: Vec<usize> = (0..len).collect();
    data.gather_features(&context(1), &indices, x.as_mut_slice());
    let mut rng = Rng::new(5);
    for value in x.as_mut_slice() {
        if (rng.below(1000) as f64) < 1000.0 * share {
            *value = 0.0;
        }
    }
    let labels = (0..len).map(|sample| data.class(sample).unwrap()).collect();
    let count = data.class_counts().unwrap().len();
    Dataset::from_values(x).unwrap().with_classes(labels, count).unwrap()
}

#[test]
fn no_fusion_and_no_number_of_threads_changes_a_bit() {
    let with_zeros_too = |net: (&'static [usize], usize)| if net.0[1] <= SKIPS_UP_TO { 2 } else { 1 };
    let cases =
        NETS.into_iter().flat_map(|net| [(net, 0.0), (net, 0.8)].into_iter().take(with_zeros_too(net)));
    for ((widths, batch), zeros) in cases {
        let outputs = *widths.last().unwrap();
        let data = with_zeros(&classes::<f32>(batch * 2 + 5, widths[0], outputs as u32), zeros);
        let mut expected = None;
        for fusion in fusions() {
            for threads in [1, 2, 3, 8] {
                let mut net = Sequential::new();
                for (i, pair) in widths.windows(2).enumerate() {
                    net = net.with(Dense::new(pair[0], pair[1]));
                    // One activation that keeps its output, one that keeps its input.
                    match i {
                        0 => net = net.with(Activation::Gelu),
                        1 => net = net.with(Activation::Tanh),
                        _ => {}
                    }
                }
                let mut model: Model<f32> = net.build_with(context(threads), 1).unwrap();
                model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
                model.set_fusion(fusion);
                model.fit(&data, Fit::new().batch_size(batch).epochs(2)).unwrap();
                model.fit(&data, Fit::new().batch_size(batch / 3).accumulate(3)).unwrap();
                let plan = model.explain(batch, gemmule::TargetKind::Classes(outputs)).unwrap();
                let skips = plan.matches(", zeros skipped").count();
                assert_eq!(skips > 1, fusion.zeros && zeros > 0.5, "{plan}");
                let outputs: Vec<u64> =
                    model.predict(&data).unwrap().as_slice().iter().map(|x| x.bits()).collect();
                let found = (weights(&model), outputs);
                let expected = expected.get_or_insert_with(|| found.clone());
                assert!(*expected == found, "{widths:?}, {threads} threads, {fusion}, {zeros} zeros");
            }
        }
    }
}

#[test]
fn an_update_bounded_by_the_norm_is_not_fused_and_the_same() {
    let data = classes::<f32>(40, 6, 3);
    let run = |fusion| {
        let mut model = small::<f32>(2);
        model.compile(Loss::CrossEntropy, AdamW::default()).unwrap();
        model.clip_gradients(Clip::Norm(0.05)).unwrap();
        model.set_fusion(fusion);
        model.fit(&data, Fit::new().batch_size(20).epochs(3)).unwrap();
        let plan = model.explain(20, gemmule::TargetKind::Classes(3)).unwrap();
        assert!(!plan.contains(", update"), "{plan}");
        weights(&model)
    };
    assert_eq!(run(Fusion::default()), run(Fusion::NONE));
}

#[test]
fn one_batch_accumulated_is_a_step_to_the_bit() {
    let data = classes::<f32>(20, 6, 3);
    let indices: Vec<usize> = (0..20).collect();
    for threads in [1, 2] {
        let (mut a, mut b) = (small::<f32>(threads), small::<f32>(threads));
        for model in [&mut a, &mut b] {
            model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
        }
        for _ in 0..4 {
            let loss = a.step(&data, &indices).unwrap();
            assert_eq!(b.accumulate(&data, &indices, 1.0).unwrap(), loss);
            b.apply().unwrap();
        }
        assert_eq!(weights(&a), weights(&b));
        assert_eq!((a.steps(), b.steps()), (4, 4));
    }
}

#[test]
fn parts_of_a_batch_add_up_to_it() {
    let data = classes::<f64>(50, 6, 3);
    let models: Vec<Model<f64>> = [(50, 1), (25, 2), (17, 3)]
        .map(|(batch, parts)| {
            let mut model = small::<f64>(2);
            model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.3, ..Sgd::default() }).unwrap();
            let history = model.fit(&data, Fit::new().batch_size(batch).accumulate(parts).epochs(5)).unwrap();
            assert_eq!((model.steps(), history.epochs[4].samples), (5, 50));
            model
        })
        .into();
    assert!(distance(&models[0], &models[1]) < 1e-14, "{}", distance(&models[0], &models[1]));
    assert!(distance(&models[0], &models[2]) < 1e-14);
    let error = small::<f64>(1).fit(&data, Fit::new().accumulate(0)).unwrap_err();
    assert!(matches!(error, Error::State { .. } | Error::Argument { .. }), "{error}");
}

#[test]
fn a_loss_of_the_callers_own() {
    let (x, t) = (uniform::<f64>(&[12, 6], 2), uniform::<f64>(&[12, 3], 3));
    let data = Dataset::from_values(x).unwrap().with_values(t.clone()).unwrap();
    let indices: Vec<usize> = (0..12).collect();
    for threads in [1, 2] {
        let (mut a, mut b) = (small::<f64>(threads), small::<f64>(threads));
        for model in [&mut a, &mut b] {
            model.compile(Loss::MeanSquaredError, Adam::default()).unwrap();
        }
        let (_, d_input) = a.gradients(&data, &indices).unwrap();
        for step in 0..5 {
            a.step(&data, &indices).unwrap();
            let y = b.forward(&data, &indices).unwrap();
            // The mean over 12 samples and 3 outputs of (y - t)^2.
            let d = y.as_slice().iter().zip(t.as_slice()).map(|(y, t)| 2.0 * (y - t) / 36.0).collect();
            let back = b.backward(&Tensor::from_vec(&[12, 3], d).unwrap()).unwrap();
            if step == 0 {
                let pairs = back.as_slice().iter().zip(d_input.as_slice());
                assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-15));
            }
            b.apply().unwrap();
        }
        assert!(distance(&a, &b) < 1e-12, "{}", distance(&a, &b));
    }
}

#[test]
fn halves_are_refused_out_of_order() {
    let data = classes::<f32>(10, 6, 3);
    let mut model = small::<f32>(1);
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    let d = Tensor::zeros(&[4, 3]).unwrap();
    assert!(matches!(model.backward(&d), Err(Error::State { operation: "backward", .. })));
    model.forward(&data, &[0, 1, 2, 3]).unwrap();
    model.predict(&data).unwrap();
    assert!(matches!(model.backward(&d), Err(Error::State { operation: "backward", .. })));
    model.forward(&data, &[0, 1, 2]).unwrap();
    assert!(matches!(model.backward(&d), Err(Error::Shape { operation: "backward", .. })));
    let mut nan = Tensor::zeros(&[3, 3]).unwrap();
    nan.as_mut_slice()[4] = f32::NAN;
    assert!(matches!(model.backward(&nan), Err(Error::NonFinite { what: "d_output", index: 1, .. })));
    assert!(matches!(model.apply(), Err(Error::State { operation: "apply", .. })));
    model.backward(&Tensor::zeros(&[3, 3]).unwrap()).unwrap();
    model.apply().unwrap();
    assert!(matches!(model.accumulate(&data, &[0], f64::NAN), Err(Error::Argument { .. })));
    // The values of another model, so to speak.
    model.forward(&data, &[0, 1, 2]).unwrap();
    let bias = model.parameter("0.bias").unwrap();
    model.set_parameter("0.bias", &bias).unwrap();
    assert!(matches!(model.backward(&Tensor::zeros(&[3, 3]).unwrap()), Err(Error::State { .. })));
    // Twice from one forward pass: its values are gone.
    model.forward(&data, &[0, 1, 2]).unwrap();
    model.backward(&Tensor::zeros(&[3, 3]).unwrap()).unwrap();
    assert!(matches!(model.backward(&Tensor::zeros(&[3, 3]).unwrap()), Err(Error::State { .. })));
}

#[test]
fn frozen_parameters_stay_and_the_others_move_as_before() {
    let data = classes::<f64>(20, 6, 3);
    let indices: Vec<usize> = (0..20).collect();
    for frozen in [&["0"][..], &["0", "2"], &["2"], &["4"], &["0.weight", "4.bias"], &["0", "2", "4"]] {
        let (mut free, mut model) = (small::<f64>(2), small::<f64>(2));
        for model in [&mut free, &mut model] {
            model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.5, ..Sgd::default() }).unwrap();
        }
        model.set_trainable(frozen, false).unwrap();
        let before = small::<f64>(2);
        assert_eq!(free.step(&data, &indices).unwrap(), model.step(&data, &indices).unwrap());
        for info in model.parameters() {
            let is_frozen =
                frozen.iter().any(|name| info.name == *name || info.name.starts_with(&format!("{name}.")));
            assert_eq!(model.is_trainable(&info.name).unwrap(), !is_frozen);
            let expected = if is_frozen { &before } else { &free };
            assert_eq!(
                model.parameter(&info.name).unwrap(),
                expected.parameter(&info.name).unwrap(),
                "{frozen:?}: {}",
                info.name
            );
        }
        model.set_trainable(frozen, true).unwrap();
        model.step(&data, &indices).unwrap();
        assert_ne!(model.parameter("0.weight").unwrap(), before.parameter("0.weight").unwrap());
    }
    let mut model = small::<f64>(1);
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    model.accumulate(&data, &indices, 1.0).unwrap();
    model.set_trainable(&["0.bias"], false).unwrap();
    assert!(matches!(model.gradient("0.bias"), Err(Error::State { operation: "gradient", .. })));
    assert!(matches!(model.apply(), Err(Error::State { operation: "apply", .. })));
    let error = small::<f64>(1).set_trainable(&["0", "9"], false).unwrap_err();
    assert!(error.to_string().contains("0.weight"), "{error}");
}

#[test]
fn groups_have_optimisers_of_their_own() {
    let data = classes::<f64>(20, 6, 3);
    let indices: Vec<usize> = (0..20).collect();
    let sgd = |learning_rate| Sgd { learning_rate, ..Sgd::default() };
    for fusion in [Fusion::default(), Fusion::NONE] {
        let mut model = small::<f64>(2);
        assert!(matches!(model.parameter_group(&["0"], sgd(0.1)), Err(Error::State { .. })));
        model.compile(Loss::CrossEntropy, sgd(0.5)).unwrap();
        model.set_fusion(fusion);
        assert_eq!(model.parameter_group(&["0"], sgd(0.05)).unwrap(), 1);
        assert_eq!(model.parameter_group(&["2.bias"], Adam::default()).unwrap(), 2);
        assert!(matches!(model.parameter_group(&["nothing"], sgd(0.1)), Err(Error::Argument { .. })));
        assert!(matches!(model.parameter_group(&["4"], sgd(-0.1)), Err(Error::Argument { .. })));
        let before = small::<f64>(2);
        model.step(&data, &indices).unwrap();
        let moved = |name: &str, rate: f64| {
            let (now, then) = (model.parameter(name).unwrap(), before.parameter(name).unwrap());
            let gradient = model.gradient(name).unwrap();
            let triples = now.as_slice().iter().zip(then.as_slice()).zip(gradient.as_slice());
            triples.into_iter().all(|((now, then), g)| (now - (then - rate * g)).abs() < 1e-15)
        };
        assert!(moved("0.weight", 0.05) && moved("0.bias", 0.05));
        assert!(moved("2.weight", 0.5) && moved("4.weight", 0.5) && moved("4.bias", 0.5));
        // Adam's first step is the learning rate in the direction of the gradient.
        let (now, then) = (model.parameter("2.bias").unwrap(), before.parameter("2.bias").unwrap());
        let steps = now.as_slice().iter().zip(then.as_slice()).map(|(a, b)| (a - b).abs());
        assert!(steps.into_iter().all(|step| step < 1.1e-3) && !moved("2.bias", 0.5));
        assert_eq!((model.group_learning_rate(1), model.group_learning_rate(3)), (Some(0.05), None));
        assert!(matches!(model.set_group_learning_rate(3, 0.1), Err(Error::Argument { .. })));
        // The others keep their ratio.
        model.set_learning_rate(1.0).unwrap();
        let before = model.parameter("0.bias").unwrap();
        model.step(&data, &indices).unwrap();
        let (now, gradient) = (model.parameter("0.bias").unwrap(), model.gradient("0.bias").unwrap());
        let triples = now.as_slice().iter().zip(before.as_slice()).zip(gradient.as_slice());
        assert!(triples.into_iter().all(|((now, then), g)| (now - (then - 0.1 * g)).abs() < 1e-15));
    }
}

/// Features that are 0 but for one.
struct OneNan(usize);

impl BatchSource<f32> for OneNan {
    fn len(&self) -> usize {
        512
    }
    fn features(&self) -> usize {
        784
    }
    fn target_kind(&self) -> Option<gemmule::TargetKind> {
        None
    }
    fn gather_features(&self, _: &Context, indices: &[usize], out: &mut [f32]) {
        out.fill(0.0);
        for (row, &sample) in out.chunks_mut(784).zip(indices) {
            if sample == self.0 {
                row[5] = f32::NAN;
            }
        }
    }
    fn gather_classes(&self, _: &[usize], _: &mut [u32]) {}
    fn gather_values(&self, _: &Context, _: &[usize], _: &mut [f32]) {}
}

#[test]
fn a_prediction_names_its_bad_input_in_any_tile() {
    for threads in [1, 2] {
        let net = Sequential::new().with(Dense::new(784, 64)).with(Activation::Relu).with(Dense::new(64, 10));
        let mut model: Model<f32> = net.build_with(context(threads), 0).unwrap();
        for sample in [0, 3, 200, 511] {
            let error = model.predict(&OneNan(sample)).unwrap_err();
            let Error::NonFinite { what: "input", place, index: 5, value, .. } = error else {
                panic!("{error}")
            };
            assert!(value.is_nan() && place.starts_with(&format!("sample {sample} ")), "{place}: {value}");
        }
    }
}

#[test]
fn a_profile_names_the_phases_of_the_plan() {
    let data = classes::<f32>(64, 6, 3);
    let mut model =
        Sequential::new().with(Dense::new(6, 3)).with(Softmax).build_with::<f32>(context(1), 0).unwrap();
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    let indices: Vec<usize> = (0..64).collect();
    let phases = model.profile(&data, &indices, 3).unwrap();
    // So few parameters are updated in one pass.
    assert_eq!(phases.len(), 3);
    assert!(
        phases[0].name.starts_with("gather > product 64 x 3 x 6 + bias > cross-entropy"),
        "{}",
        phases[0].name
    );
    assert!(phases[1].name.starts_with("product 6 x 3 x 64 | bias gradient"), "{}", phases[1].name);
    assert_eq!(phases[2].name, "update");
    let work: Vec<f64> = phases.iter().map(|phase| phase.multiply_adds).collect();
    assert_eq!(work, [64.0 * 18.0, 64.0 * 18.0, 0.0]);
    assert!(phases.iter().all(|phase| phase.seconds > 0.0 && phase.bytes > 0.0));
    // Gradients are read, parameters read and written: 18 weights and 3 biases of 4 bytes.
    assert_eq!(phases[2].bytes, 3.0 * 21.0 * 4.0);
    assert_eq!(model.steps(), 3);
}

/// How the first weight is stored shows nowhere: a network of the same bits, whose first operation is an activation that changes
/// nothing and whose weights are therefore stored row by row.
fn first_weight<T: Element>(threads: usize) {
    let data = classes::<T>(90, 70, 4);
    let net = |first: Sequential| {
        let net = first.with(Dense::new(70, 96)).with(Activation::Tanh).with(Dense::new(96, 4));
        let mut model: Model<T> = net.build_with(context(threads), 5).unwrap();
        model.compile(Loss::CrossEntropy, Adam { weight_decay: 0.01, ..Adam::default() }).unwrap();
        model
    };
    let (mut a, mut b) = (net(Sequential::new()), net(Sequential::new().with(Activation::Identity)));
    let indices: Vec<usize> = (0..40).collect();
    let bits = |values: &[T]| values.iter().map(|x| x.bits()).collect::<Vec<_>>();
    let path =
        std::env::temp_dir().join(format!("gemmule-panels-{}-{threads}-{}", std::process::id(), T::NAME));
    let same = |a: &mut Model<T>, b: &mut Model<T>, what: &str| {
        assert!(weights(a) == weights(b), "{what}, {threads} threads");
        let (y, expected) = (a.predict(&data).unwrap(), b.predict(&data).unwrap());
        assert!(bits(y.as_slice()) == bits(expected.as_slice()), "{what}, {threads} threads");
        let (y, expected) = (a.forward(&data, &indices).unwrap(), b.forward(&data, &indices).unwrap());
        assert!(bits(y.as_slice()) == bits(expected.as_slice()), "{what}, {threads} threads");
        let (dx, expected) = (a.backward(&y).unwrap(), b.backward(&y).unwrap());
        assert!(dx.as_slice().iter().any(|x| *x != T::zero()));
        assert!(bits(dx.as_slice()) == bits(expected.as_slice()), "{what}, {threads} threads");
        // Gradients are added up, and a model that was loaded has none from before.
        if what == "loaded" || what == "set" {
            return;
        }
        let (dw, expected) = (a.gradient("0.weight").unwrap(), b.gradient("1.weight").unwrap());
        assert!(bits(dw.as_slice()) == bits(expected.as_slice()), "{what}, {threads} threads");
    };
    same(&mut a, &mut b, "begun");
    for model in [&mut a, &mut b] {
        model.fit(&data, Fit::new().batch_size(40).epochs(2)).unwrap();
    }
    same(&mut a, &mut b, "trained");
    for (model, name) in [(&mut a, "0.weight"), (&mut b, "1.weight")] {
        model.set_constraint(&[name], Constraint::MaxNorm(0.4)).unwrap();
        model.fit(&data, Fit::new().batch_size(20).accumulate(2)).unwrap();
        model.fit(&data, Fit::new().batch_size(32)).unwrap();
    }
    same(&mut a, &mut b, "held");
    a.save(&path).unwrap();
    let mut a = Model::load_with(context(threads), &path).unwrap();
    std::fs::remove_file(&path).unwrap();
    same(&mut a, &mut b, "loaded");
    let shown = b.parameter("1.weight").unwrap();
    let turned: Vec<T> = shown.as_slice().iter().map(|&x| x * T::from_f64(-0.5)).collect();
    let turned = Tensor::from_vec(shown.shape(), turned).unwrap();
    a.set_parameter("0.weight", &turned).unwrap();
    b.set_parameter("1.weight", &turned).unwrap();
    same(&mut a, &mut b, "set");
}

#[test]
fn how_the_first_weight_is_stored_shows_nowhere() {
    for threads in [1, 2, 3, 8] {
        first_weight::<f32>(threads);
        first_weight::<f64>(threads);
    }
}

//! Training end to end: what is learnt, what callbacks see, what goes on where.

use approx::assert_relative_eq;
use gemmule::data::{Dataset, load_idx_dir};
use gemmule::nn::{Activation, Dense, Init, Loss, Model, Sequential, Softmax};
use gemmule::optim::{Adam, Sgd};
use gemmule::train::{Control, Event, Fit};
use gemmule::{Context, Error, Parallelism, Result, TargetKind, Tensor};

fn mnist_net() -> Sequential {
    Sequential::new()
        .with(Dense::new(784, 64))
        .with(Activation::Relu)
        .with(Dense::new(64, 64))
        .with(Activation::Relu)
        .with(Dense::new(64, 10))
}

/// The short form of `examples/mnist`: one epoch reaches 94 % (five reach 97 % for seeds 0 to 4: CONTRIBUTING.md).
#[test]
fn mnist_one_epoch() -> Result<()> {
    let (train, test) = load_idx_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist"))?;
    let mut model: Model<f32> = mnist_net().build(0)?;
    model.compile(Loss::CrossEntropy, Adam::default())?;
    let history = model.fit(&train, Fit::new().validation(&test))?;
    let log = &history.epochs[0];
    let accuracy = log.validation_accuracy.unwrap();
    assert!(accuracy >= 0.94, "test accuracy {accuracy}");
    assert!(log.accuracy.unwrap() > 0.85 && log.loss < 0.5, "{log:?}");
    let again = model.evaluate(&test)?;
    assert_eq!((again.accuracy, Some(again.loss)), (log.validation_accuracy, log.validation_loss));
    let classes = model.predict_classes(&test)?;
    let right = (0..test.len()).filter(|&i| test.class(i) == Some(classes[i])).count();
    assert_relative_eq!(right as f64 / test.len() as f64, accuracy);
    Ok(())
}

fn xor() -> Result<Dataset> {
    let inputs = Tensor::from_slice(&[4, 2], &[0.0_f64, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])?;
    Dataset::from_values(inputs)?.with_values(Tensor::from_slice(&[4, 1], &[0.0_f64, 1.0, 1.0, 0.0])?)
}

/// Exclusive or: two layers learn it, a single one cannot.
#[test]
fn xor_needs_two_layers() -> Result<()> {
    let data = xor()?;
    let dense = |i, o| Dense::new(i, o).weight_init(Init::GlorotUniform).bias_init(Init::Zeros);
    let sgd = Sgd { learning_rate: 1.0, momentum: 0.9, ..Sgd::default() };
    let two = Sequential::new()
        .with(dense(2, 4))
        .with(Activation::Sigmoid)
        .with(dense(4, 1))
        .with(Activation::Sigmoid);
    let one = Sequential::new().with(dense(2, 1)).with(Activation::Sigmoid);
    for (net, learns) in [(two, true), (one, false)] {
        let mut model: Model<f64> = net.build(1)?;
        model.compile(Loss::MeanSquaredError, sgd)?;
        model.fit(&data, Fit::new().epochs(2000).batch_size(4))?;
        let loss = model.evaluate(&data)?.loss;
        assert_eq!(loss < 0.01, learns, "error {loss}");
    }
    Ok(())
}

#[test]
fn callbacks_see_everything_and_stop() -> Result<()> {
    let data = xor()?;
    let mut model: Model<f64> = Sequential::new().with(Dense::new(2, 1)).build(0)?;
    model.compile(Loss::MeanSquaredError, Sgd::default())?;
    let mut seen = Vec::new();
    let mut watch = |event: &Event<'_>| {
        seen.push(match event {
            Event::TrainBegin { epochs, steps, samples, .. } => format!("begin {epochs} {steps} {samples}"),
            Event::EpochBegin { epoch } => format!("epoch {epoch}"),
            Event::StepEnd { step, samples, .. } => format!("step {step} {samples}"),
            Event::EpochEnd(log) => format!("end {} {}", log.epoch, log.samples),
            Event::TrainEnd(history) => format!("done {}", history.epochs.len()),
            _ => "something new".to_owned(),
        });
        Control::Continue
    };
    let history = model.fit(&data, Fit::new().epochs(2).batch_size(3).callback(&mut watch))?;
    assert!(!history.stopped);
    let epoch =
        |n: usize| [format!("epoch {n}"), "step 1 3".to_owned(), "step 2 1".to_owned(), format!("end {n} 4")];
    let expected =
        [vec!["begin 2 2 4".to_owned()], epoch(1).to_vec(), epoch(2).to_vec(), vec!["done 2".to_owned()]];
    assert_eq!(seen, expected.concat());

    let mut stop_in_step = |event: &Event<'_>| match event {
        Event::StepEnd { epoch: 2, step: 1, .. } => Control::Stop,
        _ => Control::Continue,
    };
    let before = model.steps();
    let history = model.fit(&data, Fit::new().epochs(9).batch_size(3).callback(&mut stop_in_step))?;
    assert!(history.stopped);
    assert_eq!((history.epochs.len(), history.epochs[1].samples, model.steps() - before), (2, 3, 3));
    Ok(())
}

/// A panic in a callback passes through and leaves model and pool usable.
#[test]
fn a_panicking_callback_leaves_the_model_usable() -> Result<()> {
    let data = xor()?;
    let context = Context::detect()?.with_parallelism(Parallelism::Max(2));
    let mut model: Model<f64> =
        Sequential::new().with(Dense::new(2, 300)).with(Dense::new(300, 1)).build_with(context, 0)?;
    model.compile(Loss::MeanSquaredError, Sgd::default())?;
    let fit = |model: &mut Model<f64>| {
        let mut panics = |event: &Event<'_>| match event {
            Event::StepEnd { .. } => panic!("from the callback"),
            _ => Control::Continue,
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            model.fit(&data, Fit::new().callback(&mut panics))
        }))
    };
    let payload = fit(&mut model).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"from the callback"));
    model.fit(&data, Fit::new())?;
    Ok(())
}

/// Two calls of fit with one epoch each are not one call with two (the order is drawn from the epoch's number), but the
/// optimiser goes on; and the same calls give the same weights.
#[test]
fn the_same_calls_give_the_same_weights() -> Result<()> {
    let data = xor()?;
    let run = || -> Result<Tensor<f64>> {
        let mut model: Model<f64> = Sequential::new().with(Dense::new(2, 1)).build(0)?;
        model.compile(Loss::MeanSquaredError, Adam::default())?;
        for seed in 0..3 {
            model.fit(&data, Fit::new().batch_size(1).seed(seed))?;
        }
        assert_eq!(model.steps(), 12);
        model.parameter("0.weight")
    };
    assert_eq!(run()?, run()?);
    Ok(())
}

/// A last softmax is part of the cross-entropy, a last sigmoid of the binary one: the training is the same to the bit,
/// and the probabilities are too.
#[test]
fn the_last_softmax_belongs_to_the_loss() -> Result<()> {
    let x = Tensor::from_fn(&[30, 4], |at| ((at[0] * 7 + at[1] * 3) % 11) as f32 / 11.0)?;
    let classes = (0..30).map(|i| i % 3).collect();
    let classes = Dataset::from_values(x.clone())?.with_classes(classes, 3)?;
    let values = Tensor::from_fn(&[30, 3], |at| ((at[0] + at[1]) % 2) as f32)?;
    let values = Dataset::from_values(x)?.with_values(values)?;
    let net = || Sequential::new().with(Dense::new(4, 6)).with(Activation::Tanh).with(Dense::new(6, 3));
    for (loss, data, last) in [
        (Loss::CrossEntropy, &classes, net().with(Softmax)),
        (Loss::BinaryCrossEntropy, &values, net().with(Activation::Sigmoid)),
    ] {
        let mut results = Vec::new();
        for net in [net(), last] {
            let mut model: Model<f32> = net.build(4)?;
            model.compile(loss, Adam::default())?;
            model.fit(data, Fit::new().epochs(3).batch_size(7))?;
            results.push((model.parameter("0.weight")?, model.predict_proba(data)?));
        }
        assert_eq!(results[0], results[1], "{}", loss.name());
        for row in 0..30 {
            let sum: f32 = results[0].1.row(row).iter().sum();
            assert!(loss != Loss::CrossEntropy || (sum - 1.0).abs() < 1e-6, "row {row} sums to {sum}");
        }
    }
    Ok(())
}

#[test]
fn the_plan_explains_itself() -> Result<()> {
    let mut model: Model<f32> = mnist_net().build(0)?;
    model.compile(Loss::CrossEntropy, Adam::default())?;
    let text = model.explain(32, TargetKind::Classes(10))?;
    for part in [
        "gather",
        "product 32 x 64 x 784 + bias, relu",
        "cross-entropy and its gradient",
        "times the derivative of relu",
        "bias gradient",
        "update",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    // The figures of the phases: the last one has every dW, with Adam's update.
    let figures = |unit: &str| -> Vec<f64> {
        let before = text.lines().filter_map(|line| line.split_once(unit)).map(|(before, _)| before);
        before.map(|before| before.split_whitespace().last().unwrap().parse().unwrap()).collect()
    };
    let layers = [(784, 64), (64, 64), (64, 10)];
    let (mut flops, mut moved) = (0, 0);
    for (index, (inputs, outputs)) in layers.into_iter().enumerate() {
        let products = if index == 0 { 2 } else { 3 };
        flops += 2 * products * 32 * inputs * outputs;
        // Inputs, the outputs' gradient for weights and bias; the gradient written; parameters and two states read and written.
        moved += 4 * (32 * (inputs + 2 * outputs) + (1 + 6) * (inputs + 1) * outputs);
    }
    let (sum, last) = (figures(" MFLOP").iter().sum::<f64>(), *figures(" kB read").last().unwrap());
    assert!((sum - f64::from(flops) / 1e6).abs() < 3e-3, "{flops} in\n{text}");
    assert!((last - f64::from(moved) / 1e3).abs() < 0.1, "{moved} in\n{text}");
    assert!(matches!(model.explain(0, TargetKind::Classes(10)), Err(Error::Argument { .. })));
    Ok(())
}

//! Metrics and samplers in a run.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use gemmule::data::{Dataset, WeightedRandomSampler, class_weights, sample_weights};
use gemmule::nn::{Activation, Dense, Dropout, Fusion, Loss, Model, Sequential};
use gemmule::optim::Adam;
use gemmule::rng::Rng;
use gemmule::train::metrics::{Average, ClassMetric, ProbabilityMetric};
use gemmule::train::{Checkpoint, Checkpoints, ConfusionMatrix, Fit, History};
use gemmule::{Context, Error, Parallelism, Result, Tensor};

const SAMPLES: usize = 90;

/// Two classes, one of them seldom.
fn data(seed: u64) -> Result<Dataset> {
    let mut x = vec![0.0_f32; SAMPLES * 4];
    Rng::new(seed).fill_normal(&Context::detect()?, &mut x, 0.0, 1.0)?;
    let classes = x.chunks(4).map(|row| u32::from(row[0] + row[1] > 1.5)).collect();
    Dataset::from_values(Tensor::from_vec(&[SAMPLES, 4], x)?)?.with_classes(classes, 2)
}

fn model(threads: usize, fusion: Fusion) -> Result<Model<f32>> {
    let context = Context::detect()?.with_parallelism(Parallelism::Max(threads));
    let net = Sequential::new()
        .with(Dense::new(4, 300))
        .with(Activation::Relu)
        .with(Dropout::new(0.2))
        .with(Dense::new(300, 2));
    let mut model = net.build_with(context, 7)?;
    model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.01, ..Adam::default() })?;
    model.set_fusion(fusion);
    Ok(model)
}

/// All figures but the times, as bits.
fn figures(history: &History) -> Vec<Vec<(String, u64)>> {
    let of = |log: &gemmule::train::EpochLog| {
        log.values().into_iter().map(|(name, value)| (name.to_owned(), value.to_bits())).collect()
    };
    history.epochs.iter().map(of).collect()
}

/// What a metric counts over the training samples is what the run counts itself, whatever is fused.
#[test]
fn training_metrics_see_the_outputs_of_the_steps() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let mut expected = None;
    for fusion in [Fusion::default(), Fusion { chains: false, ..Fusion::default() }, Fusion::NONE] {
        for threads in [1, 3] {
            let (mut accuracy, mut loss) = (ClassMetric::accuracy(), ProbabilityMetric::log_loss());
            let mut f1 = ClassMetric::f1(Average::Macro);
            let options = Fit::new().epochs(3).batch_size(16).validation(&validation);
            let options = options.metric(&mut accuracy).metric(&mut loss).metric(&mut f1);
            let mut model = model(threads, fusion)?;
            let history = model.fit(&train, options)?;
            for log in &history.epochs {
                assert_eq!(log.metrics.len(), 6);
                assert_eq!(log.metrics[0], ("accuracy".to_owned(), log.accuracy.unwrap()));
                assert_eq!(
                    log.metrics[3],
                    ("validation_accuracy".to_owned(), log.validation_accuracy.unwrap())
                );
                assert!((log.value("log_loss").unwrap() - log.loss).abs() < 1e-6, "{log:?}");
                let validation = log.value("validation_log_loss").unwrap();
                assert!((validation - log.validation_loss.unwrap()).abs() < 1e-6);
            }
            let found = figures(&history);
            assert_eq!(*expected.get_or_insert_with(|| found.clone()), found, "{fusion}, {threads} threads");
        }
    }
    Ok(())
}

#[test]
fn parts_of_a_step_are_all_counted() -> Result<()> {
    let train = data(1)?;
    let mut matrix = ConfusionMatrix::empty(2)?;
    let options = Fit::new().batch_size(7).accumulate(4).metric(&mut matrix);
    let history = model(2, Fusion::default())?.fit(&train, options)?;
    assert_eq!(Some(matrix.accuracy()), history.epochs[0].accuracy);
    let counted: usize =
        (0..2).flat_map(|a| (0..2).map(move |b| (a, b))).map(|(a, b)| matrix.count(a, b)).sum();
    assert_eq!(counted, SAMPLES);
    Ok(())
}

#[test]
fn two_metrics_of_one_name_are_refused() -> Result<()> {
    let train = data(1)?;
    let (mut one, mut other) = (ClassMetric::accuracy(), ConfusionMatrix::empty(2)?);
    let options = Fit::new().metric(&mut one).metric(&mut other);
    let error = model(1, Fusion::default())?.fit(&train, options).unwrap_err();
    assert!(
        matches!(&error, Error::Argument { what: "metric", got, .. } if got.contains("accuracy")),
        "{error}"
    );
    Ok(())
}

/// With a sampler and metrics, resumed after every step: the same figures and the same bits.
#[test]
fn resumed_within_an_epoch() -> Result<()> {
    let (train, validation) = (data(1)?, data(2)?);
    let labels: Vec<u32> = (0..SAMPLES).map(|sample| train.class(sample).unwrap()).collect();
    let weights = sample_weights(&labels, &class_weights(&labels, 2)?)?;
    let sampler = WeightedRandomSampler::new(&weights, 70, true, 3)?;
    let folder = Folder::new("fit-metrics");
    let run = |model: &mut Model<f32>, checkpoints: Option<&mut Checkpoints>, last: Option<Checkpoint>| {
        let (mut f1, mut loss) = (ClassMetric::f1(Average::Macro), ProbabilityMetric::log_loss());
        let mut options = Fit::new().epochs(3).batch_size(16).validation(&validation).sampler(&sampler);
        options = options.metric(&mut f1).metric(&mut loss).resume(last);
        if let Some(checkpoints) = checkpoints {
            options = options.checkpoints(checkpoints);
        }
        model.fit(&train, options)
    };
    let mut whole = model(1, Fusion::default())?;
    let mut checkpoints = Checkpoints::new(&folder.0).every_steps(1).keep(100);
    let history = run(&mut whole, Some(&mut checkpoints), None)?;
    assert_eq!(history.epochs[0].samples, 70);
    let all = checkpoints.list()?;
    assert_eq!(all.len(), 15);
    for path in &all {
        let mut resumed = model(2, Fusion::default())?;
        let after = run(&mut resumed, None, Some(Checkpoint::read(path)?))?;
        assert_eq!(figures(&after), figures(&history), "{}", path.display());
        assert_eq!(resumed.state()?, whole.state()?);
    }
    // Another sampler is another run.
    let other = WeightedRandomSampler::new(&weights, 70, true, 4)?;
    let (mut f1, mut loss) = (ClassMetric::f1(Average::Macro), ProbabilityMetric::log_loss());
    let options = Fit::new().epochs(3).batch_size(16).validation(&validation).sampler(&other);
    let options = options.metric(&mut f1).metric(&mut loss).resume(Checkpoint::read(&all[3])?);
    let error = model(1, Fusion::default())?.fit(&train, options).unwrap_err().to_string();
    assert!(error.contains("the order of the sampler"), "{error}");
    Ok(())
}

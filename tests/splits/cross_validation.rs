//! Cross-validation: k models, each tested on what it was not trained on, with exact scores.

use super::common::random;
use gemmule::data::{
    Dataset, Fold, KFold, MinMax, Splitter, Standardize, StratifiedKFold, TimeSeriesSplit, Transforms,
};
use gemmule::nn::{Dense, Loss, Model, Sequential};
use gemmule::optim::{Adam, Sgd};
use gemmule::train::{Control, CrossValidate, Event, Fit, Spread, cross_validate};
use gemmule::{BatchSource, Context, Error, Result, Tensor};

/// Points of the plane: class 1 right of a line.
fn points() -> Result<Dataset> {
    let x: Vec<f32> = random(4, 120).iter().map(|&x| x as f32 * 50.0 + 10.0).collect();
    let classes = x.chunks(2).map(|p| u32::from(p[0] + p[1] > 20.0)).collect();
    Dataset::from_values(Tensor::from_vec(&[60, 2], x)?)?.with_classes(classes, 2)
}

fn model(seed: u64) -> Result<Model<f32>> {
    let mut model = Sequential::new().with(Dense::new(2, 2)).build::<f32>(seed)?;
    model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.1, ..Adam::default() })?;
    Ok(model)
}

/// What comes out is what a loop by hand gives, to the bit.
#[test]
fn is_the_loop_that_one_would_write() -> Result<()> {
    let data = points()?;
    let splitter = StratifiedKFold::new(4).shuffle(3);
    let transforms = Transforms::new().with(Standardize::new()).with(MinMax::new());
    let mut seen = Vec::new();
    let result = CrossValidate::new(&splitter)
        .transforms(transforms.clone())
        .train_scores(true)
        .scoring(|model, fold| {
            let right = model.predict_classes(&fold.test)?;
            let right =
                right.iter().enumerate().filter(|&(i, &class)| fold.test.class(i) == Some(class)).count();
            Ok(vec![("right".to_owned(), right as f64)])
        })
        .run(
            &data,
            |fold| model(fold.fold as u64),
            |model, fold| {
                let mut watch = |event: &Event<'_>| {
                    if let Event::EpochEnd(log) = event {
                        seen.push((fold.fold, log.epoch));
                    }
                    Control::Continue
                };
                let options = Fit::new().epochs(3).batch_size(16).validation(&fold.test).callback(&mut watch);
                model.fit(&fold.train, options)
            },
        )?;
    assert_eq!(result.folds.len(), 4);
    for (i, fold) in splitter.split(&data)?.iter().enumerate() {
        let (train, test) = fold.views(&data)?;
        let fitted = transforms.clone().fit(&train)?;
        let (train, test) = (fitted.apply(&train)?, fitted.apply(&test)?);
        let mut model = model(i as u64)?;
        let history = model.fit(&train, Fit::new().epochs(3).batch_size(16).validation(&test))?;
        let score = &result.folds[i];
        assert_eq!((score.fold, score.test), (i, model.evaluate(&test)?));
        assert_eq!(score.train, Some(model.evaluate(&train)?));
        let losses = |history: &gemmule::train::History| {
            history.epochs.iter().map(|log| (log.loss, log.validation_loss)).collect::<Vec<_>>()
        };
        assert_eq!(losses(&score.history), losses(&history));
        assert_eq!(score.scores[0].1, score.test.accuracy.unwrap() * test.len() as f64);
    }
    assert_eq!(seen, (0..4).flat_map(|fold| (1..=3).map(move |epoch| (fold, epoch))).collect::<Vec<_>>());

    let losses: Vec<f64> = result.folds.iter().map(|fold| fold.test.loss).collect();
    assert_eq!(result.test_loss(), Spread::of(losses));
    assert!(result.test_accuracy().unwrap().mean > 0.5 && result.train_accuracy().is_some());
    assert!(result.train_loss().is_some());
    assert_eq!(result.score("right").unwrap().mean, result.test_accuracy().unwrap().mean * 15.0);
    assert_eq!(result.score("wrong"), None);
    Ok(())
}

/// NumPy's mean and std of 1, 2, 4.
#[test]
fn the_deviation_is_the_populations() {
    let spread = Spread::of([1.0, 2.0, 4.0]).unwrap();
    assert!((spread.mean - 7.0 / 3.0).abs() < 1e-15);
    assert!((spread.std - 1.247_219_128_924_647).abs() < 1e-15);
    assert_eq!(Spread::of([5.0]), Some(Spread { mean: 5.0, std: 0.0 }));
    assert_eq!(Spread::of([]), None);
    assert_eq!(format!("{spread:.3}"), "2.333 ± 1.247");
}

/// Any splitter, values as targets, and folds of one's own.
#[test]
fn works_with_any_splitter() -> Result<()> {
    let x = Tensor::from_fn(&[24, 1], |at| at[0] as f64 / 24.0)?;
    let data = Dataset::from_values(x.clone())?.with_values(x.map(|x| 3.0 * x))?;
    let own = vec![Fold { train: (0..12).collect(), test: (12..24).collect() }];
    let splitters: [(&dyn Splitter, usize); 3] =
        [(&KFold::default(), 5), (&TimeSeriesSplit::new(3), 3), (&own, 1)];
    for (splitter, folds) in splitters {
        let result = cross_validate(
            &data,
            splitter,
            |fold| {
                let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(fold.fold as u64)?;
                model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 0.5, ..Sgd::default() })?;
                Ok(model)
            },
            |model, fold| model.fit(&fold.train, Fit::new().epochs(400).batch_size(8)),
        )?;
        assert_eq!((result.folds.len(), result.test_accuracy(), result.train_loss()), (folds, None, None));
        assert!(result.test_loss().unwrap().mean < 0.01, "{:?}", result.test_loss());
    }
    Ok(())
}

/// The transforms of a fold know its training part alone.
#[test]
fn a_fold_is_transformed_by_its_own_training_part() -> Result<()> {
    let data = points()?;
    let result = CrossValidate::<f32>::new(&KFold::new(3))
        .transforms(Transforms::new().with(Standardize::new()))
        .run(
            &data,
            |_| model(0),
            |model, fold| {
                let mut rows = vec![0.0_f64; fold.train.len() * 2];
                let indices: Vec<usize> = (0..fold.train.len()).collect();
                fold.train.gather_features(&Context::detect()?, &indices, &mut rows);
                let mean = rows.iter().step_by(2).sum::<f64>() / fold.train.len() as f64;
                assert!(mean.abs() < 1e-12, "fold {}: {mean}", fold.fold);
                assert_eq!(fold.transforms.steps().len(), 1);
                model.fit(&fold.train, Fit::new())
            },
        )?;
    assert_eq!(result.folds.len(), 3);
    Ok(())
}

#[test]
fn errors_come_through() -> Result<()> {
    let data = points()?;
    let fit = |model: &mut Model<f32>, data: &Dataset| model.fit(data, Fit::new());
    let error = cross_validate(&data, &KFold::new(61), |_| model(0), |m, f| fit(m, &f.train)).unwrap_err();
    assert_eq!(error.to_string(), "KFold: samples: expected at least 61 (one per fold), got 60");
    let uncompiled = |_: &_| Sequential::new().with(Dense::new(2, 2)).build::<f32>(0);
    let error = cross_validate(&data, &KFold::new(2), uncompiled, |m, f| fit(m, &f.train)).unwrap_err();
    assert!(matches!(error, Error::State { .. }), "{error}");
    let outside = vec![Fold { train: vec![0], test: vec![60] }];
    assert!(cross_validate(&data, &outside, |_| model(0), |m, f| fit(m, &f.train)).is_err());
    let empty = vec![Fold { train: vec![0], test: vec![] }];
    assert!(cross_validate(&data, &empty, |_| model(0), |m, f| fit(m, &f.train)).is_err());
    Ok(())
}

//! Feature-wise transforms: fitted on one part, applied to any, lazily, with the same bits everywhere.

use super::common::{contexts, random};
use gemmule::data::{Dataset, MinMax, OneHot, Parts, Standardize, Transforms, Unknown};
use gemmule::{BatchSource, Context, Element, Error, Isa, Parallelism, Result, Tensor};

pub fn dataset<T: Element>(width: usize, values: &[T]) -> Dataset {
    Dataset::from_values(Tensor::from_slice(&[values.len() / width, width], values).unwrap()).unwrap()
}

pub fn rows<T: Element>(data: &Dataset, indices: &[usize]) -> Vec<T> {
    rows_with(&Context::detect().unwrap(), data, indices)
}

fn rows_with<T: Element>(context: &Context, data: &Dataset, indices: &[usize]) -> Vec<T> {
    let mut out = vec![T::default(); indices.len() * data.features()];
    data.gather_features(context, indices, &mut out);
    out
}

fn all<T: Element>(data: &Dataset) -> Vec<T> {
    rows(data, &(0..data.len()).collect::<Vec<_>>())
}

/// Against two passes in f64, for bytes, f32 and f64, of more and of fewer samples than a block.
#[test]
fn standardized_features_have_mean_0_and_variance_1() {
    for len in [2, 3, 127, 128, 129, 1000] {
        let numbers = random(len as u64, len * 7);
        let single: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
        let bytes: Vec<u8> = numbers.iter().map(|&x| (x * 127.0 + 128.0) as u8).collect();
        let shifted: Vec<f64> = numbers.iter().map(|&x| x + 1e5).collect();
        for data in [
            dataset(7, &single),
            dataset(7, &shifted),
            Dataset::from_bytes(&[len, 7], bytes.clone()).unwrap(),
            Dataset::from_bytes(&[len, 7, 1], bytes).unwrap().with_scale(2.0, -7.0).unwrap(),
        ] {
            let before: Vec<f64> = all(&data);
            let fitted = Standardize::new().fit(&data).unwrap();
            let transformed = fitted.apply(&data).unwrap();
            assert_eq!(transformed.feature_shape(), data.feature_shape());
            let after: Vec<f64> = all(&transformed);
            let n = len as f64;
            for column in 0..7 {
                let of = |rows: &[f64]| rows.iter().skip(column).step_by(7).copied().collect::<Vec<_>>();
                let (x, y) = (of(&before), of(&after));
                let mean = x.iter().sum::<f64>() / n;
                let deviation = (x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
                assert!((fitted.mean()[column] - mean).abs() <= 1e-13 * mean.abs().max(1.0), "{len}");
                assert!((fitted.scale()[column] - deviation).abs() <= 1e-9 * deviation, "{len}");
                for (x, y) in x.iter().zip(&y) {
                    assert_eq!(
                        *y,
                        (x - fitted.mean()[column]) / fitted.scale()[column],
                        "in f64, to the bit"
                    );
                }
                assert!((y.iter().sum::<f64>() / n).abs() < 1e-9);
                assert!((y.iter().map(|y| y * y).sum::<f64>() / n - 1.0).abs() < 1e-9);
            }
            // In f32 the same number, rounded once.
            let rounded: Vec<f32> = after.iter().map(|&y| y as f32).collect();
            assert_eq!(all::<f32>(&transformed), rounded);
        }
    }
}

/// Bytes stay bytes, floats are shared, and a sample does not depend on its batch or on the view it is in.
#[test]
fn a_transformed_set_is_a_view() {
    let data =
        Dataset::from_bytes(&[40, 3, 100], (0..12_000_u32).map(|i| (i * i % 251) as u8).collect()).unwrap();
    let fitted = Standardize::new().fit(&data).unwrap();
    let transformed = fitted.apply(&data).unwrap();
    assert_eq!(transformed.bytes(7).unwrap().as_ptr(), data.bytes(7).unwrap().as_ptr());
    assert_eq!(format!("{transformed:?}"), "Dataset(40 samples of 3 x 100 u8, transformed, no targets)");
    let together: Vec<f32> = rows(&transformed, &[5, 39, 0, 5]);
    for (i, sample) in [5, 39, 0, 5].into_iter().enumerate() {
        assert_eq!(rows::<f32>(&transformed, &[sample]), together[i * 300..][..300]);
        assert_eq!(rows::<f32>(&transformed.subset(&[1, sample]).unwrap(), &[1]), together[i * 300..][..300]);
        assert_eq!(
            rows::<f32>(&fitted.apply(&data.subset(&[sample]).unwrap()).unwrap(), &[0]),
            together[i * 300..][..300]
        );
    }
    assert!(matches!(transformed.with_scale(1.0, 0.0).unwrap_err(), Error::State { .. }));
    // What was there stays as it was.
    assert_eq!(rows::<f32>(&data, &[3])[1], f32::from(data.bytes(3).unwrap()[1]) * (1.0 / 255.0));
}

/// Fitted and gathered with every instruction set and any number of threads.
#[test]
fn the_same_bits_everywhere() {
    let data = dataset(130, &random(3, 300 * 130));
    let indices: Vec<usize> = (0..300).rev().collect();
    let reference = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    let expected = Standardize::new().fit_with(&reference, &data).unwrap();
    let gathered: Vec<f32> = rows_with(&reference, &expected.apply(&data).unwrap(), &indices);
    let ranges = MinMax::new().fit_with(&reference, &data).unwrap();
    for context in contexts() {
        for context in [context, context.with_parallelism(Parallelism::Max(2))] {
            let transformed = expected.apply(&data).unwrap();
            assert_eq!(rows_with::<f32>(&context, &transformed, &indices), gathered, "{}", context.isa());
            assert_eq!(MinMax::new().fit_with(&context, &data).unwrap(), ranges);
            if context.isa() != Isa::Portable && reference.isa() != Isa::Portable {
                assert_eq!(Standardize::new().fit_with(&context, &data).unwrap(), expected);
            }
        }
    }
}

#[test]
fn constant_features_are_not_divided() {
    for constant in [0.0_f64, 0.1, -3e5, 1e-300, 1e150] {
        let data = dataset(2, &[constant, 1.0, constant, 2.0, constant, 4.0]);
        let fitted = Standardize::new().fit(&data).unwrap();
        assert_eq!(fitted.scale()[0], 1.0, "{constant}");
        let first: Vec<f64> = all(&fitted.apply(&data).unwrap()).into_iter().step_by(2).collect();
        assert!(first.iter().all(|x: &f64| x.abs() <= 1e-15 * constant.abs()), "{first:?}");
        let fitted = MinMax::new().range(-1.0, 1.0).fit(&data).unwrap();
        let got: Vec<f64> = all(&fitted.apply(&data).unwrap());
        assert!((got[0] + 1.0).abs() < 1e-12 * (1.0 + constant.abs()), "{got:?}");
    }
    // One sample: every feature is constant.
    let one = dataset(3, &[1.0_f32, 2.0, 3.0]);
    assert_eq!(Standardize::new().fit(&one).unwrap().scale(), [1.0; 3]);
}

#[test]
fn one_hot_stands_where_the_column_stood() -> Result<()> {
    // Columns: number, category, number, category.
    let data = dataset(4, &[0.5_f32, 3.0, 9.0, -1.0, 0.6, 1.0, 8.0, 0.0, 0.7, 3.0, 7.0, -1.0]);
    let fitted = OneHot::new(&[3, 1]).fit(&data)?;
    assert_eq!(fitted.categories(), [vec![-1.0, 0.0], vec![1.0, 3.0]]);
    let encoded = fitted.apply(&data)?;
    assert_eq!(rows::<f32>(&encoded, &[0]), [0.5, 0.0, 1.0, 9.0, 1.0, 0.0]);
    assert_eq!(rows::<f32>(&encoded, &[1]), [0.6, 1.0, 0.0, 8.0, 0.0, 1.0]);
    // Every row's indicators of a column sum to 1.
    for row in all::<f32>(&encoded).chunks(6) {
        assert_eq!((row[1] + row[2], row[4] + row[5]), (1.0, 1.0));
    }
    // Bytes: their numbers are what the scale makes of them.
    let bytes = Dataset::from_bytes(&[3, 2], vec![2, 200, 0, 100, 2, 0])?.with_scale(1.0, 0.0)?;
    let encoded = OneHot::new(&[0]).fit(&bytes)?.apply(&bytes)?;
    assert_eq!(rows::<f64>(&encoded, &[0, 1]), [0.0, 1.0, 200.0, 1.0, 0.0, 100.0]);

    let unseen = dataset(4, &[0.5_f32, 3.0, 9.0, 5.0]);
    assert_eq!(
        fitted.apply(&unseen).unwrap_err().to_string(),
        "OneHot::apply: sample 0, feature 3: expected one of the 2 categories of the training part, got 5"
    );
    let ignoring = OneHot::new(&[3, 1]).unknown(Unknown::Ignore).fit(&data)?;
    assert_eq!(rows::<f32>(&ignoring.apply(&unseen)?, &[0]), [0.5, 0.0, 1.0, 9.0, 0.0, 0.0]);
    Ok(())
}

/// Each step is fitted to what those before it made of the training part; the whole is one view.
#[test]
fn steps_follow_one_another() -> Result<()> {
    let numbers: Vec<f64> = random(5, 60)
        .iter()
        .enumerate()
        .map(|(i, x)| if i % 3 == 1 { (i % 4) as f64 } else { *x * 9.0 })
        .collect();
    let data = dataset(3, &numbers);
    let (train, test) = gemmule::data::train_test_split(&data, 0.25, 1)?;
    let steps = Transforms::new()
        .with(MinMax::new().range(0.0, 10.0).clip(true))
        .with(MinMax::new().range(-1.0, 1.0))
        .with(Standardize::new());
    let fitted = steps.clone().fit(&train)?;
    let mut by_hand = (train.clone(), test.clone());
    for step in steps.steps() {
        let step = step.clone().fit(&by_hand.0)?;
        by_hand = (step.apply(&by_hand.0)?, step.apply(&by_hand.1)?);
    }
    assert_eq!(all::<f64>(&fitted.apply(&train)?), all::<f64>(&by_hand.0));
    assert_eq!(all::<f64>(&fitted.apply(&test)?), all::<f64>(&by_hand.1));

    // One-hot in the middle: the steps before it go with their columns.
    let raw = |data: &Dataset| all::<f64>(data);
    let scale = MinMax::new().range(0.0, 1.0).fit(&dataset(3, &[0.0, 0.0, -9.0, 10.0, 10.0, 9.0]))?;
    let halves = scale.apply(&dataset(3, &[5.0, 10.0, 0.0, 5.0, 0.0, 9.0]))?;
    let encoded = OneHot::new(&[1]).fit(&halves)?;
    assert_eq!(raw(&encoded.apply(&halves)?), [0.5, 0.0, 1.0, 0.5, 0.5, 1.0, 0.0, 1.0]);
    let twice = Standardize::new().fit(&encoded.apply(&halves)?)?.apply(&encoded.apply(&halves)?)?;
    assert_eq!(raw(&twice), [0.0, -1.0, 1.0, -1.0, 0.0, 1.0, -1.0, 1.0]);
    let again = OneHot::new(&[2]).fit(&encoded.apply(&halves)?)?.apply(&encoded.apply(&halves)?)?;
    assert_eq!(raw(&again), [0.5, 0.0, 0.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.0, 1.0]);
    Ok(())
}

/// Only the training part is looked at.
#[test]
fn the_test_part_leaves_no_trace() -> Result<()> {
    let train = dataset(2, &random(1, 80));
    let fit = |rest: f64| {
        let mut numbers = random(1, 80);
        numbers.extend([rest; 20]);
        let all = dataset(2, &numbers);
        let part = all.subset(&(0..40).collect::<Vec<_>>())?;
        Transforms::new().with(Standardize::new()).with(MinMax::new()).fit(&part)
    };
    assert_eq!(fit(0.0)?, fit(1e9)?);
    assert_eq!(fit(0.0)?, Transforms::new().with(Standardize::new()).with(MinMax::new()).fit(&train)?);
    Ok(())
}

#[test]
fn targets_and_back() -> Result<()> {
    let y: Vec<f32> = random(9, 50).iter().map(|&x| (x * 300.0 + 40.0) as f32).collect();
    let data = dataset(1, &random(8, 50)).with_values(Tensor::from_slice(&[50, 1], &y)?)?;
    let view = data.subset(&(10..50).collect::<Vec<_>>())?;
    let standardize = Standardize::new().fit_targets(&view)?;
    let scaled = standardize.apply_targets(&view)?;
    let values = scaled.target_values()?;
    let mean = values.as_slice().iter().sum::<f64>() / 40.0;
    assert!(mean.abs() < 1e-12);
    assert_eq!(all::<f64>(&scaled), all::<f64>(&view), "features stay");
    let min_max = MinMax::new().range(-1.0, 1.0).fit_targets(&view)?;
    let ranged = min_max.apply_targets(&view)?.target_values()?;
    let largest = ranged.as_slice().iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    assert!((largest - 1.0).abs() < 1e-15);
    for (back, rows) in [(standardize.inverse(&values)?, 40), (min_max.inverse(&ranged)?, 40)] {
        assert_eq!(back.shape(), [rows, 1]);
        for (back, y) in back.as_slice().iter().zip(&y[10..]) {
            assert!((back - f64::from(*y)).abs() < 1e-10);
        }
    }
    // What a model of f32 says.
    let said = values.as_slice().iter().map(|&x| x as f32).collect();
    let back = standardize.inverse(&Tensor::from_vec(&[40, 1], said)?)?;
    assert!(back.as_slice().iter().zip(&y[10..]).all(|(back, y): (&f32, _)| (back - y).abs() < 1e-3));

    let classes = dataset(1, &[1.0, 2.0]).with_classes(vec![0, 1], 2)?;
    let labels = dataset(1, &[1.0, 2.0]).with_labels(&[[0], [1]], 2)?;
    for (wrong, what) in [(&classes, "2 classes"), (&labels, "2 labels")] {
        let error = Standardize::new().fit_targets(wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Standardize::fit_targets: targets: expected values, got {what}")
        );
        assert!(standardize.apply_targets(wrong).is_err() && MinMax::new().fit_targets(wrong).is_err());
    }
    Ok(())
}

#[test]
fn named_numbers_and_back() -> Result<()> {
    let data = dataset(3, &[0.1, 1.0, 5.0, 0.3, 2.0, 6.0, 0.7, 1.0, 9.0]);
    let fitted = Transforms::new()
        .with(OneHot::new(&[1]).unknown(Unknown::Ignore))
        .with(MinMax::new().range(-0.5, 0.5).clip(true))
        .with(Standardize::new())
        .fit(&data)?;
    let parts = fitted.to_parts()?;
    let names: Vec<&str> = parts.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "0.one_hot.categories",
            "0.one_hot.columns",
            "0.one_hot.counts",
            "0.one_hot.features",
            "0.one_hot.ignore_unknown",
            "1.min_max.clip",
            "1.min_max.maximum",
            "1.min_max.minimum",
            "1.min_max.range",
            "2.standardize.mean",
            "2.standardize.scale",
        ]
    );
    let again = Transforms::from_parts(&parts)?;
    assert_eq!(again, fitted);
    assert_eq!(all::<f64>(&again.apply(&data)?), all::<f64>(&fitted.apply(&data)?));
    assert_eq!(Transforms::from_parts(&Parts::new())?, Transforms::new());

    // Every part: missing, too long, not finite, or with another name is refused.
    for name in parts.keys() {
        let changed = |change: &dyn Fn(&mut Vec<f64>)| {
            let mut parts = parts.clone();
            change(parts.get_mut(name).unwrap());
            Transforms::from_parts(&parts)
        };
        assert!(changed(&|values| values[0] = f64::NAN).is_err(), "{name}");
        assert!(changed(&|values| values.clear()).is_err(), "{name}");
        if !name.ends_with("categories") && !name.ends_with("mean") && !name.ends_with("minimum") {
            assert!(changed(&|values| values.push(0.0)).is_err(), "{name}");
        }
        let mut fewer = parts.clone();
        let values = fewer.remove(name).unwrap();
        assert!(Transforms::from_parts(&fewer).is_err(), "without {name}");
        fewer.insert(format!("{name}s"), values);
        assert!(Transforms::from_parts(&fewer).is_err(), "another name for {name}");
    }
    for (name, values) in [
        ("2.standardize.scale", vec![1.0, 0.0, 1.0, 1.0]),
        ("1.min_max.range", vec![1.0, 0.0]),
        ("1.min_max.clip", vec![0.5]),
        ("0.one_hot.columns", vec![3.0]),
        ("0.one_hot.columns", vec![-1.0]),
        ("0.one_hot.features", vec![1e300]),
        ("0.one_hot.counts", vec![3.0]),
        ("0.one_hot.counts", vec![1.0]),
        ("0.one_hot.categories", vec![2.0, 1.0]),
        ("0.one_hot.categories", vec![1.0, 1.5]),
        ("3.nothing.mean", vec![1.0]),
        ("4.standardize.mean", vec![1.0]),
        ("2.min_max.range", vec![0.0, 1.0]),
        ("mean", vec![0.0]),
    ] {
        let mut wrong = parts.clone();
        wrong.insert(name.to_owned(), values);
        assert!(matches!(Transforms::from_parts(&wrong), Err(Error::Data { .. })), "{name}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_named() {
    fn says<R>(result: Result<R>, text: &str) {
        assert_eq!(result.err().unwrap().to_string(), text);
    }
    let data = dataset(2, &[1.0, 0.5, 2.0, 1.0]);
    assert!(matches!(Standardize::new().apply(&data), Err(Error::State { .. })));
    assert!(matches!(MinMax::new().to_parts(), Err(Error::State { .. })));
    assert!(matches!(Transforms::new().with(OneHot::new(&[0])).apply(&data), Err(Error::State { .. })));
    let fitted = Standardize::new().fit(&data).unwrap();
    says(fitted.apply(&dataset(1, &[1.0])), "Standardize::apply: features: expected 2 (as fitted), got 1");
    says(
        fitted.inverse(&Tensor::<f32>::zeros(&[4, 3]).unwrap()),
        "Standardize::inverse: numbers in a row: expected 2 (as fitted), got 3",
    );
    assert!(fitted.inverse(&Tensor::<f32>::zeros(&[4]).unwrap()).is_err());
    says(OneHot::new(&[0, 0]).fit(&data), "OneHot::fit: columns: expected each once, got 0 twice");
    says(OneHot::new(&[2]).fit(&data), "OneHot::fit: columns: expected each below 2, got 2");
    says(OneHot::new(&[]).fit(&data), "OneHot::fit: columns: expected at least 1, got 0");
    says(
        OneHot::new(&[1]).fit(&data),
        "OneHot::fit: sample 0, feature 1: expected a whole number up to 2^53, got 0.5",
    );
    assert!(matches!(MinMax::new().range(1.0, 1.0).fit(&data), Err(Error::Argument { what: "range", .. })));
    assert!(matches!(MinMax::new().range(f64::NAN, 1.0).fit(&data), Err(Error::Argument { .. })));
    let huge = dataset(2, &[1.0, 1e200, 2.0, -1e200]);
    says(
        Standardize::new().fit(&huge),
        "Standardize::fit: feature 1: expected a finite mean and variance, got 0 and inf",
    );
    let widest = dataset(1, &[f64::MAX, -f64::MAX]);
    assert!(matches!(MinMax::new().fit(&widest), Err(Error::Data { .. })));
}

//! Metrics: scikit-learn's values, any cut into batches, what is refused, and the way through a model.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Sequential};
use gemmule::optim::Sgd;
use gemmule::train::metrics::*;
use gemmule::{Element, Error, Result, State, Tensor};
use std::collections::BTreeMap;

/// From golden/metrics.txt.
struct Case {
    name: String,
    kind: &'static str,
    single: bool,
    width: usize,
    targets: Vec<f64>,
    scores: Vec<f64>,
    figures: BTreeMap<String, Vec<f64>>,
    report: String,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("golden/metrics.txt").lines().filter(|line| !line.starts_with('#')) {
        let (key, rest) = line.split_once(' ').unwrap();
        if key == "case" {
            let fields: Vec<&str> = rest.split(' ').collect();
            let kind = ["classes", "binary", "labels", "values"].into_iter().find(|kind| *kind == fields[0]);
            cases.push(Case {
                name: rest.to_owned(),
                kind: kind.unwrap(),
                single: fields[1] == "f32",
                width: fields[2].parse().unwrap(),
                targets: Vec::new(),
                scores: Vec::new(),
                figures: BTreeMap::new(),
                report: String::new(),
            });
            continue;
        }
        let case = cases.last_mut().unwrap();
        if key == "report" {
            case.report = rest.replace('|', "\n");
            continue;
        }
        let numbers = || rest.split(' ').map(|number| number.parse::<f64>().unwrap()).collect::<Vec<_>>();
        match key {
            "targets" => case.targets = numbers(),
            "scores" => case.scores = numbers(),
            _ => drop(case.figures.insert(key.to_owned(), numbers())),
        }
    }
    cases
}

/// The metrics that a case may have a figure for, by its name there.
fn all_metrics<T: Element>(case: &Case) -> Vec<(String, Box<dyn Metric<T>>)> {
    let mut all: Vec<(String, Box<dyn Metric<T>>)> = Vec::new();
    let averages = [Average::Micro, Average::Macro, Average::Weighted, Average::Binary, Average::Class(1)];
    let zeros = [("", ZeroDivision::Zero), ("_one", ZeroDivision::One), ("_nan", ZeroDivision::NaN)];
    for (suffix, zero) in zeros {
        for average in averages.into_iter().filter(|&average| match average {
            Average::Binary => case.kind == "binary",
            Average::Class(_) => case.kind != "binary" && case.kind != "labels",
            _ => true,
        }) {
            for metric in [
                ClassMetric::precision(average),
                ClassMetric::recall(average),
                ClassMetric::f1(average),
                ClassMetric::f_beta(2.0, average).unwrap(),
                ClassMetric::f_beta(0.5, average).unwrap(),
            ] {
                let name = format!("{}{suffix}", Metric::<T>::name(&metric));
                all.push((name, Box::new(metric.zero_division(zero))));
            }
        }
    }
    let mut plain: Vec<Box<dyn Metric<T>>> = vec![
        Box::new(ClassMetric::accuracy()),
        Box::new(ProbabilityMetric::log_loss()),
        Box::new(ProbabilityMetric::brier_score()),
    ];
    if case.kind != "labels" {
        plain.push(Box::new(ClassMetric::balanced_accuracy()));
        plain.push(Box::new(ClassMetric::cohen_kappa()));
        plain.push(Box::new(ClassMetric::matthews()));
    }
    if case.kind == "classes" {
        for k in [1, 2, case.width] {
            plain.push(Box::new(TopKAccuracy::new(k).unwrap()));
        }
    }
    for average in [RankAverage::Micro, RankAverage::Macro, RankAverage::Weighted] {
        plain.push(Box::new(RankMetric::roc_auc(average)));
        plain.push(Box::new(RankMetric::average_precision(average)));
    }
    if case.kind == "values" {
        all.clear();
        plain = vec![
            Box::new(RegressionMetric::mean_squared_error()),
            Box::new(RegressionMetric::root_mean_squared_error()),
            Box::new(RegressionMetric::mean_absolute_error()),
            Box::new(RegressionMetric::mean_absolute_percentage_error()),
            Box::new(RegressionMetric::max_error()),
            Box::new(RegressionMetric::r2()),
            Box::new(RegressionMetric::explained_variance()),
        ];
    }
    all.extend(plain.into_iter().map(|metric| (metric.name(), metric)));
    all
}

/// Rows of a case in some order.
struct Rows<T> {
    width: usize,
    outputs: Vec<T>,
    classes: Option<Vec<u32>>,
    values: Vec<T>,
}

impl<T: Element> Rows<T> {
    fn new(case: &Case, order: &[usize]) -> Self {
        let width = case.width;
        let rows = |from: &[f64]| {
            let row = |&row: &usize| from[row * width..][..width].iter().map(|&x| T::from_f64(x));
            order.iter().flat_map(row).collect::<Vec<T>>()
        };
        let has_classes = case.kind == "classes" || case.kind == "binary";
        Self {
            width,
            outputs: rows(&case.scores),
            classes: has_classes.then(|| order.iter().map(|&row| case.targets[row] as u32).collect()),
            values: if has_classes { Vec::new() } else { rows(&case.targets) },
        }
    }

    fn batch(&self, rows: std::ops::Range<usize>) -> Predictions<'_, T> {
        let cells = rows.start * self.width..rows.end * self.width;
        let targets = match &self.classes {
            Some(classes) => Targets::Classes(&classes[rows]),
            None => Targets::Values(&self.values[cells.clone()]),
        };
        Predictions::new(&self.outputs[cells], self.width, targets).unwrap()
    }

    fn run(&self, metric: &mut dyn Metric<T>, batch: usize) -> f64 {
        let rows = self.outputs.len() / self.width;
        metric.reset();
        for start in (0..rows).step_by(batch) {
            metric.update(&self.batch(start..rows.min(start + batch))).unwrap();
        }
        metric.value()
    }
}

#[track_caller]
fn same(what: &str, got: f64, expected: f64, tolerance: f64) {
    let close = (got - expected).abs() <= tolerance * expected.abs().max(1.0) || got == expected;
    assert!(close || got.is_nan() && expected.is_nan(), "{what}: {got:e}, not {expected:e}");
}

fn compare<T: Element>(case: &Case) -> usize {
    let rows = case.scores.len() / case.width;
    let straight: Vec<usize> = (0..rows).collect();
    // 13 has no factor in common with any number of rows here.
    let mixed: Vec<usize> = (0..rows).map(|row| (row * 13 + 5) % rows).collect();
    let (straight, mixed) = (Rows::<T>::new(case, &straight), Rows::<T>::new(case, &mixed));
    let mut compared = 0;
    for (name, mut metric) in all_metrics::<T>(case) {
        let Some(expected) = case.figures.get(&name) else { continue };
        let got = straight.run(&mut *metric, rows);
        // Of f32 scikit-learn computes these in f32.
        let of_single = case.single && ["log_loss", "brier_score"].contains(&name.as_str());
        let tolerance = if of_single { 1e-6 } else { 1e-12 };
        same(&format!("{}: {name}", case.name), got, expected[0], tolerance);
        for (what, rows, batch) in
            [("one by one", &straight, 1), ("by 7", &straight, 7), ("mixed, by 3", &mixed, 3)]
        {
            let again = rows.run(&mut *metric, batch);
            assert_eq!(
                again.to_bits(),
                got.to_bits(),
                "{}: {name} {what}: {again:e}, not {got:e}",
                case.name
            );
        }
        // As if a checkpoint were written after the first row, and read.
        metric.reset();
        metric.update(&straight.batch(0..1)).unwrap();
        let kept = metric.save();
        metric.reset();
        metric.update(&straight.batch(0..rows)).unwrap();
        metric.load(&kept).unwrap();
        if rows > 1 {
            metric.update(&straight.batch(1..rows)).unwrap();
        }
        assert_eq!(metric.value().to_bits(), got.to_bits(), "{}: {name} resumed", case.name);
        assert!(metric.load(&State::new()).is_err(), "{name} takes nothing for its state");
        compared += 1;
    }
    compared
}

#[test]
fn figures_are_those_of_scikit_learn_for_any_batches() {
    let cases = cases();
    let mut compared = 0;
    for case in &cases {
        let missing = case.figures.len();
        let found = if case.single { compare::<f32>(case) } else { compare::<f64>(case) };
        assert!(found + 6 >= missing.min(40) && found >= 6, "{}: {found} of {missing}", case.name);
        compared += found;
    }
    assert!(cases.len() == 31 && compared > 1100, "{} cases, {compared} figures", cases.len());
}

#[test]
fn matrices_and_reports_are_those_of_scikit_learn() -> Result<()> {
    for case in cases().iter().filter(|case| case.kind == "classes") {
        let width = case.width;
        let actual: Vec<u32> = case.targets.iter().map(|&class| class as u32).collect();
        let argmax =
            |row: &[f64]| (0..width).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32;
        let predicted: Vec<u32> = case.scores.chunks(width).map(argmax).collect();
        let matrix = ConfusionMatrix::new(width, &actual, &predicted)?;
        for (name, by) in [
            ("confusion_true", Normalize::Actual),
            ("confusion_pred", Normalize::Predicted),
            ("confusion_all", Normalize::All),
        ] {
            assert_eq!(matrix.normalized(by), case.figures[name], "{}: {name}", case.name);
        }
        for (name, weights) in [
            ("cohen_kappa", Weights::Equal),
            ("kappa_linear", Weights::Linear),
            ("kappa_quadratic", Weights::Quadratic),
        ] {
            same(
                &format!("{}: {name}", case.name),
                matrix.cohen_kappa(weights),
                case.figures[name][0],
                1e-12,
            );
        }
        assert_eq!(matrix.report(None)?.to_string(), case.report, "{}", case.name);
        let mut streamed = ConfusionMatrix::empty(width)?;
        let outputs = case.scores.as_slice();
        streamed.update(&Predictions::new(outputs, width, Targets::Classes(&actual))?)?;
        assert_eq!(streamed, matrix);
        // The functions, whatever the classes are called.
        let far = |classes: &[u32]| classes.iter().map(|&class| u32::MAX - 10 + class).collect::<Vec<_>>();
        for (actual, predicted) in [(&actual, &predicted), (&far(&actual), &far(&predicted))] {
            let check = |name: &str, got: f64| same(name, got, case.figures[name][0], 1e-12);
            check("accuracy", accuracy_score(actual, predicted)?);
            check("balanced_accuracy", balanced_accuracy_score(actual, predicted)?);
            check("cohen_kappa", cohen_kappa_score(actual, predicted)?);
            check("matthews_corrcoef", matthews_corrcoef(actual, predicted)?);
            check("precision_macro", precision_score(actual, predicted, Average::Macro)?);
            check("recall_macro", recall_score(actual, predicted, Average::Macro)?);
            check("f1_weighted", f1_score(actual, predicted, Average::Weighted)?);
            check("f2_micro", fbeta_score(actual, predicted, 2.0, Average::Micro)?);
        }
    }
    Ok(())
}

#[test]
fn curves_are_those_of_scikit_learn() -> Result<()> {
    for case in cases().iter().filter(|case| case.kind == "binary" && !case.single) {
        let actual: Vec<u32> = case.targets.iter().map(|&class| class as u32).collect();
        let (roc, curve) =
            (roc_curve(&actual, &case.scores)?, precision_recall_curve(&actual, &case.scores)?);
        for (name, got) in [
            ("roc_false", &roc.false_positive_rate),
            ("roc_true", &roc.true_positive_rate),
            ("roc_thresholds", &roc.thresholds),
            ("curve_precision", &curve.precision),
            ("curve_recall", &curve.recall),
            ("curve_thresholds", &curve.thresholds),
        ] {
            let expected = &case.figures[name];
            assert_eq!(got.len(), expected.len(), "{}: {name}", case.name);
            for (&got, &expected) in got.iter().zip(expected) {
                same(&format!("{}: {name}", case.name), got, expected, 1e-15);
            }
        }
        let area = roc_auc_score(&actual, &case.scores)?;
        same("area", roc.area(), area, 1e-14);
        same("roc_auc", area, case.figures["roc_auc"][0], 1e-14);
        let precision = average_precision_score(&actual, &case.scores)?;
        same("average_precision", precision, case.figures["average_precision"][0], 1e-14);
    }
    Ok(())
}

/// The expected counts, not what a formula in floating point makes of them.
#[test]
fn large_counts_do_not_overflow() -> Result<()> {
    let mut kappa = ClassMetric::cohen_kappa();
    let mut matthews = ClassMetric::matthews();
    let mut auc = RankMetric::roc_auc(RankAverage::Macro);
    let rows = 100_000;
    let classes: Vec<u32> = (0..rows).map(|row| row % 2).collect();
    // Half of the positive ones above all others, half below.
    let outputs: Vec<f32> = (0..rows).map(|row| [0.5, 0.0, 0.5, 1.0][row as usize % 4]).collect();
    let batch = Predictions::new(&outputs, 1, Targets::Classes(&classes))?;
    for metric in [&mut kappa as &mut dyn Metric<f32>, &mut matthews, &mut auc] {
        metric.update(&batch)?;
    }
    // 25,000 x 25,000 pairs are more than a u32 has.
    assert_eq!(Metric::<f32>::value(&auc), 0.5);
    assert_eq!(Metric::<f32>::value(&kappa), 0.5);
    same("matthews", Metric::<f32>::value(&matthews), 1.0 / 3.0_f64.sqrt(), 1e-15);
    Ok(())
}

#[test]
fn nothing_is_nan_and_bad_input_is_refused() -> Result<()> {
    let none: [Box<dyn Metric<f64>>; 6] = [
        Box::new(ClassMetric::accuracy()),
        Box::new(ClassMetric::f1(Average::Macro)),
        Box::new(ClassMetric::matthews()),
        Box::new(RankMetric::roc_auc(RankAverage::Macro)),
        Box::new(ProbabilityMetric::log_loss()),
        Box::new(RegressionMetric::r2()),
    ];
    for metric in none {
        assert!(metric.value().is_nan(), "{}", metric.name());
    }
    let error = |result: Result<f64>, text: &str| {
        let got = result.unwrap_err().to_string();
        assert_eq!(got, text);
    };
    error(accuracy_score(&[1], &[]), "accuracy_score: predicted: expected 1 classes, as in actual, got 0");
    error(accuracy_score(&[], &[]), "accuracy_score: samples: expected at least one, got 0");
    error(
        f1_score(&[0, 2], &[0, 1], Average::Binary),
        "f1_score: classes: expected classes 0 and 1; for more an average such as Average::Macro, got class 2",
    );
    error(
        fbeta_score(&[0], &[0], f64::NAN, Average::Macro),
        "fbeta_score: beta: expected 0 or more, got NaN",
    );
    error(
        roc_auc_score(&[0, 1], &[0.5, f64::NAN]),
        "Predictions::new: output 0 of sample 1: expected a finite number, got NaN",
    );
    error(
        roc_auc_score(&[0, 2], &[0.5, 0.5]),
        "Predictions::new: class of sample 1: expected below 2, got 2",
    );
    error(roc_auc_score::<f64>(&[], &[]), "roc_auc_score: samples: expected at least one, got 0");
    error(
        log_loss(&[0, 1], &[0.5, 1.5], 1),
        "ProbabilityMetric: output 0 of sample 1: expected a probability, from 0 to 1, got 1.5",
    );
    error(
        log_loss(&[0, 1], &[0.5, 0.5, 0.5], 2),
        "Predictions::new: outputs: expected whole rows of 2 outputs, got 3",
    );
    error(log_loss(&[0], &[0.5], 0), "Predictions::new: outputs: expected whole rows of 0 outputs, got 1");
    error(top_k_accuracy_score(&[0], &[0.5, 0.5], 2, 0), "TopKAccuracy::new: k: expected at least 1, got 0");
    error(r2_score(&[0.5], &[0.5, 0.5]), "Predictions::new: values: expected 2, got 1");
    assert!(matches!(ConfusionMatrix::new(2, &[0], &[2]), Err(Error::Data { .. })));
    assert!(matches!(ConfusionMatrix::empty(usize::MAX), Err(Error::Overflow { .. })));
    assert!(ConfusionMatrix::new(2, &[0], &[1])?.report(Some(&["one"])).is_err());

    let classes = Predictions::new(&[0.5, 0.5], 2, Targets::Classes(&[0]))?;
    let labels = Predictions::new(&[0.5, 0.5], 2, Targets::Values(&[0.0, 1.0]))?;
    let one = Predictions::new(&[0.5, 0.5], 1, Targets::Values(&[0.0, 1.0]))?;
    assert!(RegressionMetric::r2().update(&classes).is_err());
    assert!(ClassMetric::cohen_kappa().update(&labels).is_err());
    assert!(TopKAccuracy::new(1)?.update(&labels).is_err());
    assert!(ClassMetric::f1(Average::Class(2)).update(&labels).is_err());
    assert!(ConfusionMatrix::empty(2)?.update(&labels).is_err());
    for mut metric in [
        Box::new(ClassMetric::accuracy()) as Box<dyn Metric<f64>>,
        Box::new(RankMetric::roc_auc(RankAverage::Macro)),
        Box::new(RegressionMetric::r2()),
    ] {
        metric.update(&labels)?;
        let (name, more) = (metric.name(), metric.update(&one));
        assert!(more.is_err(), "{name}: another width");
    }
    Ok(())
}

/// Values as in formulas worked by hand: two labels, the first right once, the second always.
#[test]
fn labels_and_soft_targets() -> Result<()> {
    let labels = Predictions::new(&[0.9, 0.1, 0.6, 0.8], 2, Targets::Values(&[1.0, 0.0, 0.0, 1.0]))?;
    let mut accuracy = ClassMetric::accuracy();
    accuracy.update(&labels)?;
    assert_eq!(Metric::<f64>::value(&accuracy), 0.5);
    // One-hot targets are classes: softmax outputs say so, or the caller.
    let one_hot =
        Predictions::new(&[0.9, 0.1, 0.6, 0.8], 2, Targets::Values(&[1.0, 0.0, 0.0, 1.0]))?.one_hot();
    assert_eq!((one_hot.classes(), one_hot.class(1)), (2, 1));
    let mut kappa = ClassMetric::cohen_kappa();
    kappa.update(&one_hot)?;
    assert_eq!(Metric::<f64>::value(&kappa), 1.0);
    // Soft targets: the cross-entropy.
    let soft = Predictions::new(&[0.25, 0.75], 2, Targets::Values(&[0.5, 0.5]))?.one_hot();
    let mut loss = ProbabilityMetric::log_loss();
    loss.update(&soft)?;
    same("soft", Metric::<f64>::value(&loss), -0.5 * (libm::log(0.25) + libm::log(0.75)), 1e-15);
    Ok(())
}

/// A model's metrics are those of its predictions, for every loss, and the same for every thread count and batch.
#[test]
fn metrics_of_models_are_those_of_their_predictions() -> Result<()> {
    let x = Tensor::from_fn(&[1100, 3], |at| ((at[0] * 7 + at[1] * 13) % 29) as f32 / 29.0)?;
    let classes: Vec<u32> = (0..1100).map(|row| (row * row % 7 % 3) as u32).collect();
    let values = Tensor::from_fn(&[1100, 3], |at| ((at[0] + at[1] * at[0] % 5) % 2) as f32)?;
    let of_classes = Dataset::from_values(x.clone())?.with_classes(classes.clone(), 3)?;
    let of_values = Dataset::from_values(x)?.with_values(values.clone())?;
    let net = || Sequential::new().with(Dense::new(3, 3));
    for (loss, data, net) in [
        (Loss::CrossEntropy, &of_classes, net()),
        (Loss::CrossEntropy, &of_classes, net().with(gemmule::nn::Softmax)),
        (Loss::CrossEntropy, &of_values, net()),
        (Loss::BinaryCrossEntropy, &of_values, net()),
        (Loss::BinaryCrossEntropy, &of_values, net().with(Activation::Sigmoid)),
        (Loss::MeanSquaredError, &of_values, net()),
    ] {
        let mut model = net.build::<f32>(1)?;
        model.compile(loss, Sgd::default())?;
        let of_value = loss == Loss::MeanSquaredError;
        let mut metrics: Vec<Box<dyn Metric<f32>>> = vec![
            Box::new(ClassMetric::accuracy()),
            Box::new(ClassMetric::f1(Average::Macro)),
            Box::new(ProbabilityMetric::log_loss()),
            Box::new(RankMetric::roc_auc(RankAverage::Macro)),
        ];
        if of_value {
            metrics =
                vec![Box::new(RegressionMetric::r2()), Box::new(RegressionMetric::mean_squared_error())];
        }
        let mut borrowed: Vec<&mut dyn Metric<f32>> = Vec::new();
        for metric in &mut metrics {
            borrowed.push(&mut **metric);
        }
        let evaluation = model.evaluate_with(data, &mut borrowed)?;
        assert_eq!(evaluation, model.evaluate(data)?);
        let got: Vec<f64> = metrics.iter().map(|metric| metric.value()).collect();
        let outputs = if of_value { model.predict(data)? } else { model.predict_proba(data)? };
        let targets = match data.class(0) {
            Some(_) => Targets::Classes(&classes),
            None => Targets::Values(values.as_slice()),
        };
        let mut whole = Predictions::new(outputs.as_slice(), 3, targets)?;
        if loss == Loss::CrossEntropy {
            whole = whole.one_hot();
        }
        for (metric, got) in metrics.iter_mut().zip(got) {
            metric.reset();
            metric.update(&whole)?;
            assert_eq!(metric.value().to_bits(), got.to_bits(), "{loss:?} {}", metric.name());
        }
        if let Some(accuracy) = evaluation.accuracy {
            assert_eq!(metrics[0].value(), accuracy);
            let name = if of_value { "mean_squared_error" } else { "log_loss" };
            let mean = metrics.iter().find(|metric| metric.name() == name).unwrap().value();
            same(name, mean, evaluation.loss, 1e-6);
        }
    }
    Ok(())
}

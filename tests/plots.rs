//! Plots: well-formed SVG, whatever the names and the numbers are.
#![cfg(feature = "plot")]

use gemmule::data::Dataset;
use gemmule::nn::{Dense, Loss, Sequential};
use gemmule::optim::Sgd;
use gemmule::train::metrics::{ConfusionMatrix, roc_curve};
use gemmule::train::{Fit, History, Plot};
use gemmule::{Error, Result, Tensor};

/// The texts of an SVG file, and its tags with their counts; panics where it is not well-formed XML.
fn parse(svg: &str) -> (Vec<String>, Vec<(String, usize)>) {
    let (mut rest, mut open, mut texts, mut tags) = (svg.trim_end(), Vec::new(), Vec::new(), Vec::new());
    let unescape = |text: &str| {
        let mut plain = String::new();
        for (index, part) in text.split('&').enumerate() {
            if index == 0 {
                plain += part;
                continue;
            }
            let (name, after) = part.split_once(';').expect("an entity has an end");
            plain += match name {
                "amp" => "&",
                "lt" => "<",
                "gt" => ">",
                "quot" => "\"",
                "apos" => "'",
                other => panic!("entity {other}"),
            };
            plain += after;
        }
        assert!(plain.chars().all(|c| !c.is_control() || c == '\n'), "{plain:?}");
        plain
    };
    while !rest.is_empty() {
        let (text, after) = rest.split_once('<').expect("text after the end");
        assert!(!text.contains('>'));
        if !text.trim().is_empty() {
            texts.push(unescape(text).trim().to_owned());
        }
        let (tag, after) = after.split_once('>').expect("a tag has an end");
        assert!(!tag.contains('<'), "{tag}");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_owned()));
            continue;
        }
        let whole = tag.strip_suffix('/');
        let (name, attributes) = whole.unwrap_or(tag).split_once(' ').expect("attributes");
        assert_eq!(attributes.matches('"').count() % 2, 0, "{attributes}");
        for (index, piece) in attributes.split('"').enumerate() {
            if index % 2 == 0 {
                assert!(piece.trim().is_empty() || piece.trim().ends_with('='), "{attributes}");
            } else {
                assert!(!piece.contains("NaN") && !piece.contains("inf"), "{attributes}");
                unescape(piece);
            }
        }
        match tags.iter_mut().find(|(known, _): &&mut (String, usize)| known == name) {
            Some((_, count)) => *count += 1,
            None => tags.push((name.to_owned(), 1)),
        }
        if whole.is_none() {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?} are open");
    (texts, tags)
}

fn keep(name: &str, plot: &Plot) {
    if let Some(folder) = std::env::var_os("GEMMULE_PLOT_DIR") {
        plot.save(std::path::Path::new(&folder).join(name)).unwrap();
    }
}

fn history() -> Result<History> {
    let x = Tensor::from_fn(&[40, 2], |at| ((at[0] * 7 + at[1] * 5) % 13) as f32 / 13.0)?;
    let data = Dataset::from_values(x)?.with_classes((0..40).map(|row| row / 10 % 2).collect(), 2)?;
    let mut model = Sequential::new().with(Dense::new(2, 2)).build::<f32>(1)?;
    model.compile(Loss::CrossEntropy, Sgd { learning_rate: 0.5, ..Sgd::default() })?;
    model.fit(&data, Fit::new().epochs(12).validation(&data))
}

#[test]
fn histories() -> Result<()> {
    let mut history = history()?;
    for (index, log) in history.epochs.iter_mut().enumerate() {
        log.metrics.push(("f1 <\"&'>\u{1}".to_owned(), index as f64 / 12.0));
        log.metrics.push(("validation_f1 <\"&'>\u{1}".to_owned(), 0.5));
    }
    let plot = Plot::history(&history)?;
    keep("history.svg", &plot);
    let (texts, _) = parse(plot.svg());
    for text in ["loss", "accuracy", "learning_rate", "f1 <\"&'>\u{fffd}", "training", "validation", "epoch"]
    {
        assert!(texts.iter().any(|it| it == text), "{text} is not among {texts:?}");
    }
    assert!(!texts.iter().any(|text| text.starts_with("validation_")), "{texts:?}");
    // Numbers that no axis has room for.
    let strange = [f64::NAN, f64::INFINITY, f64::MAX, -1e300, 0.0, 1e-300, 1e29, -1e29, f64::NEG_INFINITY];
    for (first, second) in strange.iter().flat_map(|first| strange.map(|second| (*first, second))) {
        let mut history = history.clone();
        history.epochs.truncate(3);
        history.epochs[0].loss = first;
        history.epochs[2].loss = second;
        history.epochs[1].validation_loss = Some(second);
        parse(Plot::history(&history)?.svg());
    }
    history.epochs.truncate(1);
    let (_, tags) = parse(Plot::history(&history)?.svg());
    assert!(tags.iter().any(|(tag, count)| tag == "circle" && *count >= 5), "{tags:?}");
    history.epochs.clear();
    assert!(matches!(Plot::history(&history), Err(Error::Data { .. })));
    Ok(())
}

#[test]
fn confusion_matrices() -> Result<()> {
    let actual: Vec<u32> = (0..1000).map(|row| row * row % 7 % 4).collect();
    let predicted: Vec<u32> = (0..1000).map(|row| (row * row % 7 + row / 700) % 4).collect();
    let matrix = ConfusionMatrix::new(4, &actual, &predicted)?;
    let names = ["cat", "<&\"", "a very long name indeed", "\u{0}\u{7}"];
    let plot = Plot::confusion_matrix(&matrix, Some(&names))?;
    keep("confusion.svg", &plot);
    let (texts, tags) = parse(plot.svg());
    for (actual, predicted) in [(0, 0), (1, 2), (2, 2)] {
        assert!(texts.contains(&matrix.count(actual, predicted).to_string()));
    }
    for name in ["cat", "<&\"", "a very long nam…", "\u{fffd}\u{fffd}", "actual", "predicted"] {
        assert!(texts.iter().any(|text| text == name), "{name} is not among {texts:?}");
    }
    // The background, a cell and its frame each.
    assert_eq!(tags.iter().find(|(tag, _)| tag == "rect").unwrap().1, 1 + 2 * 16);
    assert!(Plot::confusion_matrix(&matrix, Some(&["one"])).is_err());
    assert!(Plot::confusion_matrix(&ConfusionMatrix::empty(101)?, None).is_err());
    parse(Plot::confusion_matrix(&ConfusionMatrix::empty(0)?, None)?.svg());
    Ok(())
}

#[test]
fn roc_curves() -> Result<()> {
    let scores: Vec<f64> = (0..60).map(|row| f64::from(row * 37 % 60) / 60.0).collect();
    let classes: Vec<u32> = (0..60).map(|row| u32::from(row * 37 % 60 + row % 30 > 40)).collect();
    let (good, one) = (roc_curve(&classes, &scores)?, roc_curve(&[1, 1], &[0.1, 0.2])?);
    let plot = Plot::roc_curves(&[("a & b", &good), ("one class", &one)])?;
    keep("roc.svg", &plot);
    let (texts, _) = parse(plot.svg());
    let label = format!("a & b (area {:.3})", good.area());
    assert!(texts.contains(&label), "{texts:?}");
    assert!(!texts.iter().any(|text| text.starts_with("one")), "{texts:?}");
    let missing = std::env::temp_dir().join("gemmule-no-such-folder").join("roc.svg");
    assert!(matches!(plot.save(&missing), Err(Error::Io { .. })));
    Ok(())
}

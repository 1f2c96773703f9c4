//! Plots as SVG: the figures of a history, a confusion matrix, ROC curves.

use super::history::History;
use super::metrics::{ConfusionMatrix, RocCurve};
use crate::error::{Error, Result};
use crate::file;
use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, DrawingArea, IntoDrawingArea, LineSeries, PathElement, RGBColor, Rectangle,
    SVGBackend, SeriesLabelPosition, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont};
use std::fmt;
use std::ops::Range;
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Width and height of a chart.
const CHART: (u32, u32) = (480, 360);

/// The side of a cell of a confusion matrix, and the room for the names of its classes.
const CELL: u32 = 48;
const MARGIN: u32 = 120;

/// Classes of a confusion matrix that are drawn.
const MOST_CLASSES: usize = 100;

/// Letters of a name that are shown.
const MOST_LETTERS: usize = 16;

/// Colours that can be told apart with any kind of sight (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// A plot: the text of an SVG file.
///
/// ```
/// use gemmule::train::Plot;
/// use gemmule::train::metrics::{ConfusionMatrix, roc_curve};
///
/// let matrix = ConfusionMatrix::new(2, &[0, 1, 1, 0], &[0, 1, 0, 0])?;
/// let plot = Plot::confusion_matrix(&matrix, Some(&["cat", "dog & <pup>"]))?;
/// assert!(plot.svg().starts_with("<svg") && plot.svg().contains("dog &amp; &lt;pup&gt;"));
///
/// let curve = roc_curve(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// let plot = Plot::roc_curves(&[("model", &curve)])?;
/// assert!(plot.to_string().contains("model (area 0.750)"));
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot(String);

impl Plot {
    /// The figures of a history over its epochs, a chart for each: `loss` and `validation_loss` in one, and so for accuracy and every
    /// metric. Numbers that are NaN, infinite or beyond 1e30 leave gaps.
    ///
    /// # Errors
    /// [`Error::Data`] if there is no epoch; [`Error::State`] if drawing fails.
    pub fn history(history: &History) -> Result<Self> {
        let mut names = history.figures();
        // Each beside its validation.
        let all = names.clone();
        names.retain(|name| name.strip_prefix("validation_").is_none_or(|of| !all.iter().any(|it| it == of)));
        if names.is_empty() {
            return Err(Error::data("Plot::history", "epochs", "at least one", 0));
        }
        let columns = names.len().min(2);
        let rows = names.len().div_ceil(columns);
        let size = (CHART.0 * columns as u32, CHART.1 * rows as u32);
        draw(size, |root| {
            for (area, name) in root.split_evenly((rows, columns)).iter().zip(&names) {
                let line = |of: String, label| {
                    let value =
                        |log: &super::EpochLog| (log.epoch as f64, log.value(&of).unwrap_or(f64::NAN));
                    (label, history.epochs.iter().map(value).collect::<Vec<_>>())
                };
                let of_validation = line(format!("validation_{name}"), "validation".to_owned());
                let mut lines = vec![line(name.clone(), "training".to_owned())];
                if of_validation.1.iter().any(|(_, y)| y.is_finite()) {
                    lines.push(of_validation);
                }
                chart(area, name, ("epoch", ""), None, &lines)?;
            }
            Ok(())
        })
    }

    /// How often each class was taken for which: the darker a cell, the more of its row's samples it has. Classes are called by their
    /// index without `names`.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more or fewer names than classes; [`Error::Argument`] for more than 100 classes;
    /// [`Error::State`] if drawing fails.
    pub fn confusion_matrix(matrix: &ConfusionMatrix, names: Option<&[&str]>) -> Result<Self> {
        let classes = matrix.classes();
        let names: Vec<String> = match names {
            Some(names) => names.iter().map(|name| shown(name)).collect(),
            None => (0..classes).map(|class| class.to_string()).collect(),
        };
        if names.len() != classes {
            let expected = format_args!("{classes} names, one per class").to_string();
            return Err(Error::shape("Plot::confusion_matrix", "names", expected, names.len()));
        }
        if classes > MOST_CLASSES {
            let expected = format_args!("at most {MOST_CLASSES}").to_string();
            return Err(Error::argument("Plot::confusion_matrix", "classes", expected, classes));
        }
        let side = CELL * classes as u32;
        let shares = matrix.normalized(super::metrics::Normalize::Actual);
        draw((MARGIN + side + 20, MARGIN + side + 20), |root| {
            let text = |size: u32, colour: RGBColor, x: HPos, y: VPos| {
                ("sans-serif", f64::from(size)).into_font().color(&colour).pos(Pos::new(x, y))
            };
            let at = |x: u32, y: u32| (x as i32, y as i32);
            let centre = text(15, BLACK, HPos::Center, VPos::Center);
            root.draw_text("predicted", &centre, at(MARGIN + side / 2, 16))?;
            let turned = centre.clone().transform(plotters::style::FontTransform::Rotate270);
            root.draw_text("actual", &turned, at(16, MARGIN + side / 2))?;
            for (class, name) in names.iter().enumerate() {
                let middle = MARGIN + CELL * class as u32 + CELL / 2;
                root.draw_text(name, &text(12, BLACK, HPos::Right, VPos::Center), at(MARGIN - 8, middle))?;
                let turned = text(12, BLACK, HPos::Left, VPos::Center)
                    .transform(plotters::style::FontTransform::Rotate270);
                root.draw_text(name, &turned, at(middle, MARGIN - 8))?;
            }
            for (cell, &share) in shares.iter().enumerate() {
                let (actual, predicted) = (cell / classes, cell % classes);
                let (x, y) = (MARGIN + CELL * predicted as u32, MARGIN + CELL * actual as u32);
                // From white to the first colour.
                let fade = |full: u8| (255.0 - share * (255.0 - f64::from(full))) as u8;
                let RGBColor(r, g, b) = COLOURS[0];
                let colour = RGBColor(fade(r), fade(g), fade(b));
                let corners = [at(x, y), at(x + CELL, y + CELL)];
                root.draw(&Rectangle::new(corners, colour.filled()))?;
                root.draw(&Rectangle::new(corners, RGBColor(200, 200, 200).stroke_width(1)))?;
                let ink = if share > 0.5 { WHITE } else { BLACK };
                let count = matrix.count(actual, predicted).to_string();
                let size = if count.len() > 5 { 9 } else { 13 };
                let style = text(size, ink, HPos::Center, VPos::Center);
                root.draw_text(&count, &style, at(x + CELL / 2, y + CELL / 2))?;
            }
            Ok(())
        })
    }

    /// ROC curves with the areas below them, and the diagonal of a guess. Curves of one class alone are not drawn.
    ///
    /// # Errors
    /// [`Error::State`] if drawing fails.
    pub fn roc_curves(curves: &[(&str, &RocCurve)]) -> Result<Self> {
        let line = |(name, curve): &(&str, &RocCurve)| {
            let points =
                curve.false_positive_rate.iter().copied().zip(curve.true_positive_rate.iter().copied());
            (format!("{} (area {:.3})", shown(name), curve.area()), points.collect())
        };
        let lines: Vec<_> = curves.iter().map(line).collect();
        draw(CHART, |root| {
            let axes = ("false positive rate", "true positive rate");
            chart(root, "ROC", axes, Some((0.0..1.0, 0.0..1.0)), &lines)
        })
    }

    /// The text of the SVG file.
    pub fn svg(&self) -> &str {
        &self.0
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        file::write::write_pieces(path.as_ref(), &[self.0.as_bytes()])
    }
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn draw(size: (u32, u32), picture: impl FnOnce(&Area<'_>) -> Drawn) -> Result<Plot> {
    let mut svg = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(Into::into).and_then(|()| picture(&root)).and_then(|()| Ok(root.present()?))
    };
    match drawn {
        Ok(()) => Ok(Plot(svg)),
        Err(_) => {
            Err(Error::State { operation: "Plot", what: "the drawing library refused what it was given" })
        }
    }
}

/// A name as it can be shown: not too long, and without what XML 1.0 has no characters for (the library escapes the rest).
fn shown(name: &str) -> String {
    let valid = |c: char| !c.is_control() && !['\u{fffe}', '\u{ffff}'].contains(&c);
    let mut short: String =
        name.chars().take(MOST_LETTERS).map(|c| if valid(c) { c } else { '\u{fffd}' }).collect();
    if name.chars().count() > MOST_LETTERS {
        short.pop();
        short.push('…');
    }
    short
}

/// What can be drawn.
fn is_drawable(&(x, y): &(f64, f64)) -> bool {
    x.is_finite() && y.abs() <= 1e30
}

/// A range with all of these numbers, and some room.
fn range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let (least, most) =
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
    if least > most {
        return 0.0..1.0;
    }
    let (span, size) = (most - least, least.abs().max(most.abs()));
    // All the same, but for rounding.
    let room = if span > 1e-9 * size { 0.05 * span } else { (0.1 * size).max(1e-30) };
    let room = if size == 0.0 { 1.0 } else { room };
    least - room..most + room
}

/// Lines with their names.
fn chart(
    area: &Area<'_>,
    title: &str,
    (x_name, y_name): (&str, &str),
    ranges: Option<(Range<f64>, Range<f64>)>,
    lines: &[(String, Vec<(f64, f64)>)],
) -> Drawn {
    let points = || lines.iter().flat_map(|(_, points)| points.iter()).filter(|point| is_drawable(point));
    let is_unit = ranges.is_some();
    let (x, y) = ranges.unwrap_or_else(|| (range(points().map(|p| p.0)), range(points().map(|p| p.1))));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(shown_title(title), ("sans-serif", 18))
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    let number = |value: &f64| number(*value);
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .light_line_style(WHITE)
        .draw()?;
    if is_unit {
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], RGBColor(160, 160, 160)))?;
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut is_named = false;
        // A gap ends a line; a point by itself is one.
        for part in points.split(|point| !is_drawable(point)).filter(|part| !part.is_empty()) {
            let drawn = if part.len() == 1 {
                chart.draw_series([Circle::new(part[0], 3, colour.filled())])?
            } else {
                chart.draw_series(LineSeries::new(part.iter().copied(), colour.stroke_width(2)))?
            };
            if !is_named {
                let sample = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
                drawn.label(name.as_str()).legend(sample);
                is_named = true;
            }
        }
    }
    chart
        .configure_series_labels()
        .position(if is_unit { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight })
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}

fn shown_title(title: &str) -> String {
    title.chars().take(48).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A number at an axis: six digits at most.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.2e}");
        return text.replace(".00e", "e").replace("0e", "e");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_axes() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (-1.5, "-1.5"),
            (12.0, "12"),
            (1e-4, "1e-4"),
            (1.25e7, "1.25e7"),
            (-0.0, "0"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn ranges_have_room() {
        assert_eq!(range([].into_iter()), 0.0..1.0);
        assert_eq!(range([0.0].into_iter()), -1.0..1.0);
        assert_eq!(range([0.0, 2.0].into_iter()), -0.1..2.1);
        let same = range([5.0, 5.0 + 1e-15].into_iter());
        assert!(same.start < 4.6 && same.end > 5.4);
    }
}

//! Losses: gradients by differences, values against the f64 twins, the edges of the range, the same bits everywhere.

mod common;

use common::contexts;
use gemmule::kernel::{loss, reference};
use gemmule::{Context, Element, Isa, Result};

const KINDS: [Kind; 4] = [Kind::Squared, Kind::Classes, Kind::Soft, Kind::Binary];
const WIDTHS: [usize; 10] = [1, 2, 7, 9, 10, 16, 17, 33, 64, 100];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Squared,
    Classes,
    Soft,
    Binary,
}

fn bits<T: Element>(x: &[T]) -> Vec<u64> {
    // NaN has no bits of its own.
    x.iter().map(|x| if x.is_nan() { u64::MAX } else { x.bits() }).collect()
}

/// Reproducible numbers in [0, 1).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / 16_777_216.0
    }
}

/// A batch, in f32's numbers so that both types see the same.
#[derive(Clone)]
struct Batch {
    width: usize,
    x: Vec<f64>,
    targets: Vec<f64>,
    classes: Vec<u32>,
}

impl Batch {
    fn new(kind: Kind, rows: usize, width: usize, spread: f64) -> Self {
        let mut numbers = Numbers((rows * 1000 + width) as u64);
        let x = (0..rows * width).map(|_| f64::from(((numbers.next() - 0.5) * spread) as f32)).collect();
        let targets = (0..rows * width)
            .map(|_| match kind {
                Kind::Squared => f64::from(((numbers.next() - 0.5) * spread) as f32),
                // Zeros among them, and no sum of one.
                _ => (numbers.next() * 1.5 - 0.5).clamp(0.0, 1.0),
            })
            .collect();
        let classes = (0..rows).map(|_| (numbers.next() * width as f64) as u32).collect();
        Self { width, x, targets, classes }
    }

    fn rows(&self) -> usize {
        self.classes.len()
    }

    fn row(&self, i: usize) -> Self {
        let range = i * self.width..(i + 1) * self.width;
        Self {
            width: self.width,
            x: self.x[range.clone()].to_vec(),
            targets: self.targets[range].to_vec(),
            classes: vec![self.classes[i]],
        }
    }
}

fn convert<T: Element>(x: &[f64]) -> Vec<T> {
    x.iter().map(|x| T::from_f64(*x)).collect()
}

/// Losses and gradient.
fn with_gradient<T: Element>(
    context: &Context,
    kind: Kind,
    batch: &Batch,
    scale: f64,
) -> Result<(Vec<T>, Vec<T>)> {
    let (x, targets) = (convert::<T>(&batch.x), convert::<T>(&batch.targets));
    let (mut losses, mut d) = (vec![T::nan(); batch.rows()], vec![T::nan(); x.len()]);
    let (w, scale, l) = (batch.width, T::from_f64(scale), &mut losses);
    match kind {
        Kind::Squared => loss::mean_squared_error(context, &x, &targets, w, scale, l, &mut d)?,
        Kind::Classes => loss::cross_entropy_classes(context, &x, &batch.classes, w, scale, l, &mut d)?,
        Kind::Soft => loss::cross_entropy_soft(context, &x, &targets, w, scale, l, &mut d)?,
        Kind::Binary => loss::binary_cross_entropy_logits(context, &x, &targets, w, scale, l, &mut d)?,
    }
    Ok((losses, d))
}

/// Losses alone.
fn forward<T: Element>(context: &Context, kind: Kind, batch: &Batch) -> Vec<T> {
    let (x, targets) = (convert::<T>(&batch.x), convert::<T>(&batch.targets));
    let mut losses = vec![T::nan(); batch.rows()];
    let (w, l) = (batch.width, &mut losses);
    match kind {
        Kind::Squared => loss::mean_squared_error_forward(context, &x, &targets, w, l),
        Kind::Classes => loss::cross_entropy_classes_forward(context, &x, &batch.classes, w, l),
        Kind::Soft => loss::cross_entropy_soft_forward(context, &x, &targets, w, l),
        Kind::Binary => loss::binary_cross_entropy_logits_forward(context, &x, &targets, w, l),
    }
    .unwrap();
    losses
}

fn reference(kind: Kind, row: &Batch) -> (f64, Vec<f64>) {
    match kind {
        Kind::Squared => reference::mean_squared_error(&row.x, &row.targets),
        Kind::Classes => reference::cross_entropy_class(&row.x, row.classes[0] as usize),
        Kind::Soft => reference::cross_entropy_soft(&row.x, &row.targets),
        Kind::Binary => reference::binary_cross_entropy_logits(&row.x, &row.targets),
    }
}

#[test]
fn gradients_agree_with_differences() {
    const STEP: f64 = 1e-3;
    const SCALE: f64 = 0.37;
    for context in contexts() {
        for kind in KINDS {
            for width in WIDTHS {
                let batch = Batch::new(kind, 3, width, 4.0);
                let (_, gradient) = with_gradient::<f64>(&context, kind, &batch, SCALE).unwrap();
                let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
                for (j, gradient) in gradient.iter().enumerate() {
                    let row = j / width;
                    let at = |offset: f64| {
                        let mut moved = batch.clone();
                        moved.x[j] += offset;
                        SCALE * forward::<f64>(&context, kind, &moved)[row]
                    };
                    // The central difference of the fourth order: its own error is below 1e-11.
                    let near = at(STEP) - at(-STEP);
                    let far = at(2.0 * STEP) - at(-2.0 * STEP);
                    let difference = (8.0 * near - far) / (12.0 * STEP);
                    let error = (gradient - difference).abs();
                    // A single logit's softmax is 1: its gradient is exactly 0, and so is the loss.
                    assert!(
                        error <= 1e-7 * largest || (largest < 1e-15 && error < 1e-12),
                        "{kind:?} {} width {width} element {j}: {gradient} against {difference}",
                        context.isa()
                    );
                }
            }
        }
    }
}

fn against_the_twin<T: Element>() {
    let epsilon = Element::to_f64(T::epsilon());
    for context in contexts() {
        for kind in KINDS {
            for (width, spread) in WIDTHS.into_iter().flat_map(|width| [(width, 1.0), (width, 30.0)]) {
                let mut batch = Batch::new(kind, 21, width, spread);
                batch.targets = convert::<f32>(&batch.targets).into_iter().map(f64::from).collect();
                let (losses, gradient) = with_gradient::<T>(&context, kind, &batch, 1.0).unwrap();
                for i in 0..batch.rows() {
                    let (loss, d) = reference(kind, &batch.row(i));
                    let what = format!("{kind:?} {} {} width {width} row {i}", T::NAME, context.isa());
                    let weight: f64 = match kind {
                        Kind::Soft => batch.row(i).targets.iter().sum(),
                        _ => 1.0,
                    };
                    let size = f64::from(width.ilog2()) + 5.0;
                    let error = (Element::to_f64(losses[i]) - loss).abs();
                    assert!(
                        error <= size * epsilon * (weight + loss.abs()),
                        "{what}: {} for {loss}: {error:e}",
                        losses[i]
                    );
                    for (j, d) in d.iter().enumerate() {
                        let ours = gradient[i * width + j];
                        let error = (Element::to_f64(ours) - d).abs();
                        assert!(
                            error <= size * epsilon * weight.max(d.abs()),
                            "{what} {j}: {ours} for {d}: {error:e}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn values_agree_with_the_f64_twin() {
    against_the_twin::<f32>();
    against_the_twin::<f64>();
}

fn same_bits<T: Element>() {
    for kind in KINDS {
        for width in WIDTHS {
            // More rows than a vector has lanes, and no multiple of them.
            let batch = Batch::new(kind, 37, width, 20.0);
            let mut first: Option<(Vec<u64>, Vec<u64>)> = None;
            for context in contexts() {
                let what = format!("{kind:?} {} {} width {width}", T::NAME, context.isa());
                let (losses, gradient) = with_gradient::<T>(&context, kind, &batch, 0.1).unwrap();
                assert_eq!(bits(&losses), bits(&forward::<T>(&context, kind, &batch)), "{what}");
                for i in 0..batch.rows() {
                    let (alone, d) = with_gradient::<T>(&context, kind, &batch.row(i), 0.1).unwrap();
                    assert_eq!(bits(&alone), bits(&losses[i..=i]), "{what} row {i}");
                    assert_eq!(bits(&d), bits(&gradient[i * width..(i + 1) * width]), "{what} row {i}");
                }
                if context.isa().has_fma() {
                    let ours = (bits(&losses), bits(&gradient));
                    assert_eq!(*first.get_or_insert_with(|| ours.clone()), ours, "{what}");
                }
            }
        }
    }
}

#[test]
fn bits_depend_on_the_row_alone() {
    same_bits::<f32>();
    same_bits::<f64>();
}

/// Rows of one logit that towers over or lies under the others.
#[test]
fn huge_logits_stay_finite() {
    for context in contexts() {
        for width in [2, 10, 16, 17, 40] {
            for huge in [1e4_f64, 3e38, -1e4, -3e38] {
                for place in [0, width / 2, width - 1] {
                    let mut batch = Batch::new(Kind::Soft, 1, width, 1.0);
                    batch.x[place] = f64::from(huge as f32);
                    for class in 0..width {
                        batch.classes = vec![class as u32];
                        batch.targets = (0..width).map(|j| if j == class { 1.0 } else { 0.0 }).collect();
                        for kind in [Kind::Classes, Kind::Soft, Kind::Binary] {
                            let (losses, d) = with_gradient::<f32>(&context, kind, &batch, 1.0).unwrap();
                            let (loss, expected) = reference(kind, &batch);
                            let error = (f64::from(losses[0]) - loss).abs();
                            assert!(
                                error <= 1e-6 * (1.0 + loss),
                                "{kind:?} {huge} {width}: {losses:?} {loss}"
                            );
                            for (ours, d) in d.iter().zip(&expected) {
                                assert!((f64::from(*ours) - d).abs() <= 1e-6, "{kind:?} {huge}: {ours} {d}");
                            }
                        }
                    }
                }
            }
            // Both ends at once: the difference overflows, unless a target of a half keeps the loss in range.
            let mut batch = Batch::new(Kind::Soft, 1, width, 1.0);
            batch.x.fill(-3e38);
            batch.x[0] = 3e38;
            batch.classes = vec![1];
            batch.targets.fill(0.0);
            (batch.targets[0], batch.targets[1]) = (0.5, 0.5);
            let (losses, d) = with_gradient::<f32>(&context, Kind::Classes, &batch, 1.0).unwrap();
            assert_eq!((losses[0], d[0], d[1]), (f32::INFINITY, 1.0, -1.0));
            let (losses, d) = with_gradient::<f32>(&context, Kind::Soft, &batch, 1.0).unwrap();
            assert_eq!((losses[0], d[0], d[1]), (3e38, 0.5, -0.5));
            // The mean is in range where the sum is not.
            batch.x.fill(3e38);
            batch.targets.fill(0.0);
            assert!((forward::<f32>(&context, Kind::Binary, &batch)[0] / 3e38 - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn infinite_logits_are_defined() {
    for context in contexts() {
        for width in [2, 10, 16, 17, 40] {
            let mut batch = Batch::new(Kind::Soft, 1, width, 1.0);
            batch.x[1] = f64::NEG_INFINITY;
            batch.classes = vec![0];
            // No probability, and no loss from it.
            let mut without = batch.clone();
            without.x[1] = -1e4;
            let (losses, d) = with_gradient::<f32>(&context, Kind::Classes, &batch, 1.0).unwrap();
            assert_eq!((&losses, &d), (&forward(&context, Kind::Classes, &without), &d));
            assert!(losses[0].is_finite() && d.iter().all(|d| d.is_finite()) && d[1] == 0.0);
            batch.targets[1] = 0.0;
            without.targets[1] = 0.0;
            let (losses, d) = with_gradient::<f32>(&context, Kind::Soft, &batch, 1.0).unwrap();
            assert_eq!(losses, forward::<f32>(&context, Kind::Soft, &without));
            assert!(losses[0].is_finite() && d.iter().all(|d| d.is_finite()) && d[1] == 0.0);
            // As the class: infinitely wrong, with a gradient that is not.
            batch.classes = vec![1];
            batch.targets[1] = 0.5;
            for kind in [Kind::Classes, Kind::Soft] {
                let (losses, d) = with_gradient::<f32>(&context, kind, &batch, 1.0).unwrap();
                assert_eq!(losses[0], f32::INFINITY, "{kind:?}");
                assert!(d.iter().all(|d| d.is_finite()), "{kind:?}");
            }
            batch.x.fill(f64::NEG_INFINITY);
            assert!(forward::<f32>(&context, Kind::Classes, &batch)[0].is_nan());
            batch.x = vec![0.0; width];
            batch.x[0] = f64::INFINITY;
            assert!(forward::<f32>(&context, Kind::Classes, &batch)[0].is_nan());
        }
    }
}

fn not_a_number<T: Element>() {
    for context in contexts() {
        for kind in KINDS {
            for width in WIDTHS {
                let clean = Batch::new(kind, 3, width, 2.0);
                let (clean_losses, clean_d) = with_gradient::<T>(&context, kind, &clean, 1.0).unwrap();
                for place in 0..width {
                    let mut batch = clean.clone();
                    batch.x[width + place] = f64::NAN;
                    // All other targets zero: nothing may hide it.
                    batch.targets[width..2 * width].fill(0.0);
                    let (losses, d) = with_gradient::<T>(&context, kind, &batch, 1.0).unwrap();
                    assert!(losses[1].is_nan() && d[width + place].is_nan(), "{kind:?} {width} {place}");
                    // The neighbours do not notice.
                    assert_eq!(bits(&losses[..1]), bits(&clean_losses[..1]));
                    assert_eq!(bits(&losses[2..]), bits(&clean_losses[2..]));
                    assert_eq!(bits(&d[..width]), bits(&clean_d[..width]));
                    assert_eq!(bits(&d[2 * width..]), bits(&clean_d[2 * width..]));
                }
            }
        }
    }
}

#[test]
fn not_a_number_comes_out_in_its_row_alone() {
    not_a_number::<f32>();
    not_a_number::<f64>();
}

#[test]
fn bad_input_says_what_and_why() {
    let context = Context::new(Isa::Portable).unwrap();
    let (mut losses, mut d) = ([7.0_f32; 2], [7.0_f32; 6]);
    let text = |result: Result<()>| result.unwrap_err().to_string();

    let result = loss::mean_squared_error(&context, &[0.0; 6], &[0.0; 5], 3, 1.0, &mut losses, &mut d);
    assert_eq!(text(result), "mean_squared_error: target: expected 6 elements (2 rows of 3), got 5");
    let result = loss::cross_entropy_soft(&context, &[0.0; 6], &[0.0; 6], 0, 1.0, &mut losses, &mut d);
    assert_eq!(text(result), "cross_entropy_soft: width: expected at least 1, got 0");
    let result =
        loss::binary_cross_entropy_logits(&context, &[0.0; 6], &[0.0; 6], 3, 1.0, &mut losses, &mut d[..5]);
    assert_eq!(
        text(result),
        "binary_cross_entropy_logits: d_logits: expected 6 elements (2 rows of 3), got 5"
    );
    let result = loss::cross_entropy_classes(&context, &[0.0; 6], &[0], 3, 1.0, &mut losses, &mut d);
    assert_eq!(text(result), "cross_entropy_classes: classes: expected 2, one per row, got 1");
    let result = loss::cross_entropy_classes(&context, &[0.0; 6], &[2, 3], 3, 1.0, &mut losses, &mut d);
    assert_eq!(
        text(result),
        "cross_entropy_classes: classes: expected below the width 3, got class 3 of sample 1"
    );
    let result = loss::cross_entropy_classes_forward(&context, &[0.0; 6], &[2, u32::MAX], 3, &mut losses);
    assert!(text(result).contains("class 4294967295 of sample 1"));
    let result =
        loss::cross_entropy_classes_forward(&context, &[0.0_f32; 6], &[0; 2], usize::MAX, &mut losses);
    assert!(text(result).contains("overflows"));
    assert_eq!((losses, d), ([7.0; 2], [7.0; 6]), "nothing is written before the checks");

    // No rows are fine.
    loss::cross_entropy_classes(&context, &[0.0_f32; 0], &[], 3, 1.0, &mut [], &mut []).unwrap();
    loss::mean_squared_error(&context, &[0.0_f32; 0], &[], 3, 1.0, &mut [], &mut []).unwrap();
}

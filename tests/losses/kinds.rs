//! Every loss with every option by name, its oracle in f64, and batches for all of them.

use gemmule::kernel::loss::{self, Cosine, CrossEntropy, MultiClassHinge, NegativeLogLikelihood, Rows};
use gemmule::{Context, Element, Result};

/// The configurations of golden/losses.py.
pub const KINDS: [&str; 31] = [
    "squared",
    "squared_samples",
    "absolute",
    "huber",
    "smooth",
    "smooth_zero",
    "hinge",
    "binary",
    "binary_positive",
    "kl",
    "kl_log",
    "classes",
    "classes_samples",
    "classes_ignore",
    "classes_weights",
    "classes_smooth",
    "classes_smooth_weights",
    "classes_smooth_weights_ignore",
    "classes_all",
    "soft",
    "soft_weights",
    "soft_smooth",
    "soft_smooth_weights",
    "soft_samples",
    "likelihood",
    "likelihood_weights_ignore",
    "multi",
    "multi_squared",
    "multi_weights",
    "cosine",
    "cosine_alike",
];

/// A batch for all of them.
#[derive(Clone, Debug)]
pub struct Batch {
    pub width: usize,
    pub x: Vec<f64>,
    pub t: Vec<f64>,
    pub soft: Vec<f64>,
    pub signs: Vec<f64>,
    pub alike: Vec<f64>,
    pub classes: Vec<u32>,
    pub class_weights: Vec<f64>,
    pub samples: Vec<f64>,
    pub ignore: u32,
}

/// golden/losses.py's numbers in [-0.5, 0.5): multiples of 2^-16.
fn value(stream: u32, index: usize) -> f64 {
    let mixed = (index as u32)
        .wrapping_mul(2_654_435_761)
        .wrapping_add(stream.wrapping_mul(2_246_822_519))
        .wrapping_add(374_761_393);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
    let mixed = mixed ^ (mixed >> 13);
    f64::from(mixed >> 16) / 65536.0 - 0.5
}

fn values(stream: u32, count: usize, map: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..count).map(|i| map(value(stream, i))).collect()
}

impl Batch {
    /// That of golden/losses.py.
    pub fn new(rows: usize, width: usize) -> Self {
        let count = rows * width;
        let t = values(1, count, |v| v * 8.0);
        let classes = values(6, rows, |v| ((v + 0.5) * width as f64).floor());
        let classes: Vec<u32> = classes.into_iter().map(|class| class as u32).collect();
        Self {
            width,
            x: values(0, count, |v| v * 8.0),
            soft: values(2, count, |v| v + 0.5),
            signs: t.iter().map(|&t| if t > 0.0 { 1.0 } else { -1.0 }).collect(),
            t,
            alike: (0..rows).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect(),
            class_weights: values(3, width, |v| v + 0.75),
            samples: values(4, rows, |v| v + 0.75),
            ignore: classes.get(1).copied().unwrap_or(u32::MAX),
            classes,
        }
    }

    /// With all numbers on a grid, so that no x is near a kink of any loss.
    pub fn on_a_grid(rows: usize, width: usize) -> Self {
        let mut batch = Self::new(rows, width);
        for x in batch.x.iter_mut().chain(&mut batch.t) {
            *x = (*x * 4.0).round() / 8.0;
        }
        for x in &mut batch.x {
            *x += 1.0 / 16.0;
        }
        for (i, class) in batch.classes.iter().enumerate() {
            batch.x[i * width + *class as usize] += 1.0 / 32.0;
        }
        batch
    }

    pub fn rows(&self) -> usize {
        self.classes.len()
    }

    pub fn row(&self, i: usize) -> Self {
        let range = i * self.width..(i + 1) * self.width;
        Self {
            x: self.x[range.clone()].to_vec(),
            t: self.t[range.clone()].to_vec(),
            soft: self.soft[range.clone()].to_vec(),
            signs: self.signs[range].to_vec(),
            alike: vec![self.alike[i]],
            classes: vec![self.classes[i]],
            samples: vec![self.samples[i]],
            ..self.clone()
        }
    }
}

pub fn convert<T: Element>(x: &[f64]) -> Vec<T> {
    x.iter().map(|x| T::from_f64(*x)).collect()
}

/// The sample weights are for this one.
pub fn uses_samples(name: &str) -> bool {
    name.ends_with("_samples") || name == "classes_all"
}

/// Runs the loss `name`; returns what it returns.
pub fn run<T: Element>(
    context: &Context,
    name: &str,
    batch: &Batch,
    rows: Rows<'_, T>,
    losses: &mut [T],
    d: Option<&mut [T]>,
) -> Result<T> {
    let x = &convert::<T>(&batch.x)[..];
    let (t, soft) = (&convert::<T>(&batch.t)[..], &convert::<T>(&batch.soft)[..]);
    let (signs, alike) = (&convert::<T>(&batch.signs)[..], &convert::<T>(&batch.alike)[..]);
    let (weights, samples) = (&convert::<T>(&batch.class_weights)[..], &convert::<T>(&batch.samples)[..]);
    let classes = &batch.classes[..];
    let rows = if uses_samples(name) { rows.weighted(samples) } else { rows };
    let (class_weights, ignore_index) = (Some(weights), Some(batch.ignore));
    let plain = CrossEntropy::default();
    let smooth = CrossEntropy { label_smoothing: 0.1, ..plain };
    let c = context;
    let by_class = match name {
        "classes" | "classes_samples" => Some(plain),
        "classes_ignore" => Some(CrossEntropy { ignore_index, ..plain }),
        "classes_weights" => Some(CrossEntropy { class_weights, ..plain }),
        "classes_smooth" => Some(smooth),
        "classes_smooth_weights" => Some(CrossEntropy { class_weights, ..smooth }),
        "classes_smooth_weights_ignore" | "classes_all" => {
            Some(CrossEntropy { class_weights, ignore_index, ..smooth })
        }
        _ => None,
    };
    if let Some(options) = by_class {
        return loss::cross_entropy_classes(c, x, classes, &options, rows, losses, d);
    }
    let by_distribution = match name {
        "soft" => Some(plain),
        "soft_weights" => Some(CrossEntropy { class_weights, ..plain }),
        "soft_smooth" => Some(smooth),
        "soft_smooth_weights" | "soft_samples" => Some(CrossEntropy { class_weights, ..smooth }),
        _ => None,
    };
    if let Some(options) = by_distribution {
        return loss::cross_entropy_soft(c, x, soft, &options, rows, losses, d);
    }
    let multi = MultiClassHinge::default();
    match name {
        "squared" | "squared_samples" => loss::mean_squared_error(c, x, t, rows, losses, d),
        "absolute" => loss::mean_absolute_error(c, x, t, rows, losses, d),
        "huber" => loss::huber(c, x, t, 1.5, rows, losses, d),
        "smooth" => loss::smooth_l1(c, x, t, 0.5, rows, losses, d),
        "smooth_zero" => loss::smooth_l1(c, x, t, 0.0, rows, losses, d),
        "hinge" => loss::hinge(c, x, signs, 1.0, rows, losses, d),
        "binary" => loss::binary_cross_entropy_logits(c, x, soft, None, rows, losses, d),
        "binary_positive" => loss::binary_cross_entropy_logits(c, x, soft, class_weights, rows, losses, d),
        "kl" => loss::kl_divergence(c, x, soft, rows, losses, d),
        "kl_log" => loss::kl_divergence_log_target(c, x, t, rows, losses, d),
        "likelihood" => loss::negative_log_likelihood(c, x, classes, &Default::default(), rows, losses, d),
        "likelihood_weights_ignore" => {
            let options = NegativeLogLikelihood { ignore_index, class_weights };
            loss::negative_log_likelihood(c, x, classes, &options, rows, losses, d)
        }
        "multi" => loss::multi_class_hinge(c, x, classes, &multi, rows, losses, d),
        "multi_squared" => {
            let options = MultiClassHinge { margin: 0.5, squared: true, ..multi };
            loss::multi_class_hinge(c, x, classes, &options, rows, losses, d)
        }
        "multi_weights" => {
            let options = MultiClassHinge { class_weights, ..multi };
            loss::multi_class_hinge(c, x, classes, &options, rows, losses, d)
        }
        "cosine" => {
            let options = Cosine { targets: Some(alike), margin: 0.125 };
            loss::cosine(c, x, t, &options, rows, losses, d)
        }
        "cosine_alike" => loss::cosine(c, x, t, &Cosine::default(), rows, losses, d),
        _ => panic!("no loss {name}"),
    }
}

/// The number that it returns, the losses and the gradient.
pub fn with_gradient<T: Element>(
    context: &Context,
    name: &str,
    batch: &Batch,
    rows: Rows<'_, T>,
) -> (T, Vec<T>, Vec<T>) {
    let (mut losses, mut d) = (vec![T::nan(); batch.rows()], vec![T::nan(); batch.x.len()]);
    let result = run(context, name, batch, rows, &mut losses, Some(&mut d)).unwrap();
    (result, losses, d)
}

/// The losses alone.
pub fn forward<T: Element>(context: &Context, name: &str, batch: &Batch, rows: Rows<'_, T>) -> Vec<T> {
    let mut losses = vec![T::nan(); batch.rows()];
    run(context, name, batch, rows, &mut losses, None).unwrap();
    losses
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
    x.iter().map(|x| x - max - sum.ln()).collect()
}

/// The mean of pairs of loss and derivative.
fn mean(pairs: impl ExactSizeIterator<Item = (f64, f64)>) -> (f64, Vec<f64>) {
    let n = pairs.len() as f64;
    let (losses, d): (Vec<f64>, Vec<f64>) = pairs.unzip();
    (losses.iter().sum::<f64>() / n, d.iter().map(|d| d / n).collect())
}

/// The loss of a batch of one row and its gradient, written as they are defined.
pub fn oracle(name: &str, row: &Batch) -> (f64, Vec<f64>) {
    let (x, n) = (&row.x, row.width);
    let pairs = |t: &[f64]| x.iter().copied().zip(t.to_vec()).collect::<Vec<_>>().into_iter();
    let class = row.classes[0] as usize;
    let sample = if uses_samples(name) { row.samples[0] } else { 1.0 };
    let ignored = (name.contains("ignore") || name == "classes_all") && row.classes[0] == row.ignore;
    if ignored || sample == 0.0 {
        return (0.0, vec![0.0; n]);
    }
    let weight = |j: usize| {
        if name.contains("weights") || matches!(name, "classes_all" | "soft_samples") {
            row.class_weights[j]
        } else {
            1.0
        }
    };
    let huber = |bend: f64, height: f64| {
        mean(pairs(&row.t).map(|(x, t)| {
            let d: f64 = x - t;
            let loss = if d.abs() < bend { d * d / 2.0 } else { bend * (d.abs() - bend / 2.0) };
            (loss * height, d.clamp(-bend, bend) * height)
        }))
    };
    let multi = |margin: f64, p: i32| {
        let (mut loss, mut d) = (0.0, vec![0.0; n]);
        for j in (0..n).filter(|&j| j != class) {
            let short = (margin - x[class] + x[j]).max(0.0);
            loss += weight(class) * short.powi(p) / n as f64;
            let slope = if short > 0.0 { f64::from(p) * short.powi(p - 1) } else { 0.0 };
            d[j] = weight(class) * slope / n as f64;
            d[class] -= d[j];
        }
        (loss, d)
    };
    let sigmoid = |x: f64| if x > 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) };
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let (loss, d) = match name {
        "squared" | "squared_samples" => mean(pairs(&row.t).map(|(x, t)| ((x - t).powi(2), 2.0 * (x - t)))),
        "absolute" | "smooth_zero" => mean(pairs(&row.t).map(|(x, t)| ((x - t).abs(), (x - t).signum()))),
        "huber" => huber(1.5, 1.0),
        "smooth" => huber(0.5, 2.0),
        "hinge" => {
            mean(pairs(&row.signs).map(|(x, t)| ((1.0 - t * x).max(0.0), if t * x < 1.0 { -t } else { 0.0 })))
        }
        "binary" | "binary_positive" => {
            let p = |j: usize| if name == "binary" { 1.0 } else { row.class_weights[j] };
            mean(pairs(&row.soft).enumerate().map(|(j, (x, t))| {
                let loss = p(j) * t * softplus(-x) + (1.0 - t) * softplus(x);
                (loss, (1.0 - t) * sigmoid(x) - p(j) * t * sigmoid(-x))
            }))
        }
        "kl" => {
            let term = |(x, t): (f64, f64)| if t == 0.0 { 0.0 } else { t * (t.ln() - x) };
            (pairs(&row.soft).map(term).sum(), row.soft.iter().map(|t| -t).collect())
        }
        "kl_log" => {
            let loss = pairs(&row.t).map(|(x, t)| t.exp() * (t - x)).sum();
            (loss, row.t.iter().map(|t| -t.exp()).collect())
        }
        "likelihood" | "likelihood_weights_ignore" => {
            let mut d = vec![0.0; n];
            d[class] = -weight(class);
            (-weight(class) * x[class], d)
        }
        "multi" | "multi_weights" => multi(1.0, 1),
        "multi_squared" => multi(0.5, 2),
        "cosine" | "cosine_alike" => {
            let dot: f64 = pairs(&row.t).map(|(a, b)| a * b).sum();
            let a = x.iter().map(|a| a * a).sum::<f64>() + 1e-12;
            let b = row.t.iter().map(|b| b * b).sum::<f64>() + 1e-12;
            let length = a.sqrt() * b.sqrt();
            let d = pairs(&row.t).map(|(x, y)| (y - x * (dot / a)) / length);
            if name == "cosine_alike" || row.alike[0] > 0.0 {
                (1.0 - dot / length, d.map(|d| -d).collect())
            } else if dot / length > 0.125 {
                (dot / length - 0.125, d.collect())
            } else {
                (0.0, vec![0.0; n])
            }
        }
        _ => {
            let s = if name.contains("smooth") || name.ends_with("_all") || name == "soft_samples" {
                0.1
            } else {
                0.0
            };
            let target = |j: usize| {
                let t = if name.starts_with("soft") { row.soft[j] } else { f64::from(u8::from(j == class)) };
                weight(j) * (t * (1.0 - s) + s / n as f64)
            };
            let log = log_softmax(x);
            let total: f64 = (0..n).map(target).sum();
            let term = |j: usize| if target(j) == 0.0 { 0.0 } else { -target(j) * log[j] };
            let d = (0..n).map(|j| total * log[j].exp() - target(j)).collect();
            ((0..n).map(term).sum(), d)
        }
    };
    (loss * sample, d.into_iter().map(|d| d * sample).collect())
}

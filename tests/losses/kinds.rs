//! Every loss with every option by name, its oracle in f64, and batches for all of them.

use gemmule::kernel::loss::{
    self, Cosine, CrossEntropy, MultiClassHinge, NegativeLogLikelihood, PoissonNll, Rows,
};
use gemmule::kernel::reference;
use gemmule::{Context, Element, Result};

/// The configurations of golden/losses.py.
pub const KINDS: [&str; 37] = [
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
    "log_cosh",
    "poisson",
    "poisson_full",
    "poisson_rates",
    "squared_hinge",
    "squared_hinge_samples",
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
        "log_cosh" => loss::log_cosh(c, x, t, rows, losses, d),
        "poisson" => loss::poisson_nll(c, x, t, &PoissonNll::default(), rows, losses, d),
        "poisson_full" => {
            let options = PoissonNll { full: true, ..PoissonNll::default() };
            loss::poisson_nll(c, x, t, &options, rows, losses, d)
        }
        "poisson_rates" => {
            let options = PoissonNll { log_input: false, full: false, eps: 4.5 };
            loss::poisson_nll(c, x, t, &options, rows, losses, d)
        }
        "hinge" => loss::hinge(c, x, signs, 1.0, rows, losses, d),
        "squared_hinge" | "squared_hinge_samples" => loss::squared_hinge(c, x, signs, 0.75, rows, losses, d),
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

/// The loss of a batch of one row and its gradient: the twin's, times the sample's weight.
pub fn oracle(name: &str, row: &Batch) -> (f64, Vec<f64>) {
    let (x, t, soft) = (&row.x[..], &row.t[..], &row.soft[..]);
    let class = row.classes[0] as usize;
    let sample = if uses_samples(name) { row.samples[0] } else { 1.0 };
    let ignored = (name.contains("ignore") || name == "classes_all") && row.classes[0] == row.ignore;
    if ignored || sample == 0.0 {
        return (0.0, vec![0.0; row.width]);
    }
    let weighted = name.contains("weights") || matches!(name, "classes_all" | "soft_samples");
    let weights = weighted.then_some(&row.class_weights[..]);
    let weight = weights.map_or(1.0, |weights| weights[class]);
    let (loss, d) = match name {
        "squared" | "squared_samples" => reference::mean_squared_error(x, t),
        "absolute" => reference::mean_absolute_error(x, t),
        "huber" => reference::huber(x, t, 1.5),
        "smooth" => reference::smooth_l1(x, t, 0.5),
        "smooth_zero" => reference::smooth_l1(x, t, 0.0),
        "log_cosh" => reference::log_cosh(x, t),
        "poisson" => reference::poisson_nll(x, t, true, false, 0.0),
        "poisson_full" => reference::poisson_nll(x, t, true, true, 0.0),
        "poisson_rates" => reference::poisson_nll(x, t, false, false, 4.5),
        "hinge" => reference::hinge(x, &row.signs, 1.0),
        "squared_hinge" | "squared_hinge_samples" => reference::squared_hinge(x, &row.signs, 0.75),
        "binary" => reference::binary_cross_entropy_logits(x, soft, None),
        "binary_positive" => reference::binary_cross_entropy_logits(x, soft, Some(&row.class_weights)),
        "kl" => reference::kl_divergence(x, soft),
        "kl_log" => reference::kl_divergence_log_target(x, t),
        "likelihood" | "likelihood_weights_ignore" => reference::negative_log_likelihood(x, class, weight),
        "multi" | "multi_weights" => reference::multi_class_hinge(x, class, 1.0, false, weight),
        "multi_squared" => reference::multi_class_hinge(x, class, 0.5, true, weight),
        "cosine" => reference::cosine(x, t, row.alike[0] > 0.0, 0.125),
        "cosine_alike" => reference::cosine(x, t, true, 0.0),
        "classes" | "classes_samples" | "classes_ignore" => reference::cross_entropy_class(x, class),
        _ => {
            let smooth = name.contains("smooth") || matches!(name, "classes_all" | "soft_samples");
            let mut hit = vec![0.0; row.width];
            hit[class] = 1.0;
            let targets = if name.starts_with("soft") { soft } else { &hit };
            let targets = reference::smoothed(targets, if smooth { 0.1 } else { 0.0 }, weights);
            reference::cross_entropy_soft(x, &targets)
        }
    };
    (loss * sample, d.into_iter().map(|d| d * sample).collect())
}

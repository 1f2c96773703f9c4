//! Naive twins of the kernels, accumulated in f64, without vectors: the oracles of the tests. Not part of the API.

use super::element::Element;

/// A strided matrix: element (i, j) lies at `offset + i * row_stride + j * col_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Where (0, 0) lies.
    pub offset: usize,
    /// From a row to the next.
    pub row_stride: isize,
    /// From a column to the next.
    pub col_stride: isize,
}

impl<'a, T: Element> Strided<'a, T> {
    /// Row-major with rows of `width`.
    pub fn rows(data: &'a [T], width: usize) -> Self {
        Self { data, offset: 0, row_stride: width as isize, col_stride: 1 }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    fn at(&self, i: usize, j: usize) -> T {
        let place = self.offset as isize + i as isize * self.row_stride + j as isize * self.col_stride;
        self.data[place as usize]
    }
}

/// `alpha * A * B + beta * C` in f64, row-major (m, n), and beside each element the sum of the absolute values of
/// what was added, which its error bound is measured by. Does not read C if beta is 0.
#[allow(clippy::too_many_arguments, reason = "the arguments of gemm")]
pub fn gemm<T: Element>(
    (m, n, k): (usize, usize, usize),
    alpha: T,
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    beta: T,
    c: Strided<'_, T>,
) -> Vec<(f64, f64)> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for p in 0..k {
                let product = a.at(i, p).to_f64() * b.at(p, j).to_f64();
                sum += product;
                magnitude += product.abs();
            }
            let old = if beta == T::zero() { 0.0 } else { beta.to_f64() * c.at(i, j).to_f64() };
            out.push((alpha.to_f64() * sum + old, alpha.to_f64().abs() * magnitude + old.abs()));
        }
    }
    out
}

/// The elements of a chunk of K in [`gemm_contract`].
pub const GEMM_CHUNK: usize = 512;

/// The scalar twin of the order that `gemm` promises, row-major (m, n), equal to it to the bit wherever multiply
/// and add are fused: K is cut into chunks of 512; a chunk is one chain of fused multiply-adds over ascending k,
/// from zero; then `s = beta * C; for each chunk in order: s = fma(alpha, chunk, s)`. With beta 0, s starts at +0
/// and C is not read.
#[allow(clippy::too_many_arguments, reason = "the arguments of gemm")]
pub fn gemm_contract<T: Element>(
    (m, n, k): (usize, usize, usize),
    alpha: T,
    a: Strided<'_, T>,
    b: Strided<'_, T>,
    beta: T,
    c: Strided<'_, T>,
) -> Vec<T> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let mut sum = if beta == T::zero() { T::zero() } else { beta * c.at(i, j) };
            for start in (0..k).step_by(GEMM_CHUNK) {
                let mut chunk = T::zero();
                for p in start..k.min(start + GEMM_CHUNK) {
                    chunk = a.at(i, p).mul_add(b.at(p, j), chunk);
                }
                sum = alpha.mul_add(chunk, sum);
            }
            out.push(sum);
        }
    }
    out
}

/// 1 / (1 + exp(-x)), without overflow.
pub fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// ln(1 + exp(x)), without overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

/// The hyperbolic tangent.
pub fn tanh(x: f64) -> f64 {
    libm::tanh(x)
}

/// e to the power x.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// e to the power x, minus 1.
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// The natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// The natural logarithm of 1 + x.
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// The error function.
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// The square root.
pub fn sqrt(x: f64) -> f64 {
    x.sqrt()
}

/// 1 / sqrt(x).
pub fn rsqrt(x: f64) -> f64 {
    1.0 / x.sqrt()
}

/// The sine.
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}

/// The cosine.
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// x to the power y.
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

/// The share of a standard normal distribution below x.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// max(x, 0); NaN stays.
pub fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// x * (1 + erf(x / sqrt(2))) / 2.
pub fn gelu(x: f64) -> f64 {
    // 1 + erf(z) = erfc(-z), which does not cancel for large negative x.
    0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// x * sigmoid(x).
pub fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// The logarithm of the sum of the exponentials of a row.
pub fn log_sum_exp(row: &[f64]) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + libm::log(row.iter().map(|x| libm::exp(x - largest)).sum())
}

/// The softmax of a row.
pub fn softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = row.iter().map(|x| libm::exp(x - largest)).collect();
    let total: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / total).collect()
}

/// The mean of losses, and the derivatives divided by their number.
fn mean(terms: impl ExactSizeIterator<Item = (f64, f64)>) -> (f64, Vec<f64>) {
    let count = terms.len() as f64;
    let (losses, slopes): (Vec<f64>, Vec<f64>) = terms.unzip();
    (losses.iter().sum::<f64>() / count, slopes.iter().map(|slope| slope / count).collect())
}

/// Pairs of two rows.
fn pairs<'a>(x: &'a [f64], t: &'a [f64]) -> impl ExactSizeIterator<Item = (f64, f64)> + 'a {
    x.iter().copied().zip(t.iter().copied())
}

/// The mean squared error of a row, and its gradient by the prediction.
pub fn mean_squared_error(prediction: &[f64], target: &[f64]) -> (f64, Vec<f64>) {
    mean(pairs(prediction, target).map(|(x, t)| ((x - t) * (x - t), 2.0 * (x - t))))
}

/// The mean absolute error of a row, and its gradient.
pub fn mean_absolute_error(prediction: &[f64], target: &[f64]) -> (f64, Vec<f64>) {
    let sign = |d: f64| if d == 0.0 { 0.0 } else { d.signum() };
    mean(pairs(prediction, target).map(|(x, t)| ((x - t).abs(), sign(x - t))))
}

/// Huber's loss of a row, and its gradient.
pub fn huber(prediction: &[f64], target: &[f64], delta: f64) -> (f64, Vec<f64>) {
    mean(pairs(prediction, target).map(|(x, t)| {
        let d = x - t;
        let loss = if d.abs() < delta { d * d / 2.0 } else { delta * (d.abs() - delta / 2.0) };
        (loss, d.clamp(-delta, delta))
    }))
}

/// The smooth absolute error of a row, and its gradient.
pub fn smooth_l1(prediction: &[f64], target: &[f64], beta: f64) -> (f64, Vec<f64>) {
    if beta == 0.0 {
        return mean_absolute_error(prediction, target);
    }
    let (loss, d) = huber(prediction, target, beta);
    (loss / beta, d.into_iter().map(|d| d / beta).collect())
}

/// The hinge loss of a row of scores against -1 and 1, and its gradient.
pub fn hinge(score: &[f64], target: &[f64], margin: f64) -> (f64, Vec<f64>) {
    mean(pairs(score, target).map(|(x, t)| {
        let short = margin - t * x;
        if short > 0.0 { (short, -t) } else { (0.0, 0.0) }
    }))
}

/// The squared hinge loss of a row of scores against -1 and 1, and its gradient.
pub fn squared_hinge(score: &[f64], target: &[f64], margin: f64) -> (f64, Vec<f64>) {
    mean(pairs(score, target).map(|(x, t)| {
        let short = (margin - t * x).max(0.0);
        (short * short, -2.0 * t * short)
    }))
}

/// The logarithm of the hyperbolic cosine of a row's differences, and its gradient.
pub fn log_cosh(prediction: &[f64], target: &[f64]) -> (f64, Vec<f64>) {
    mean(pairs(prediction, target).map(|(x, t)| (libm::log(libm::cosh(x - t)), libm::tanh(x - t))))
}

/// The negative log-likelihood of a row of counts under Poisson distributions, and its gradient.
pub fn poisson_nll(
    prediction: &[f64],
    target: &[f64],
    log_input: bool,
    full: bool,
    eps: f64,
) -> (f64, Vec<f64>) {
    mean(pairs(prediction, target).map(|(x, t)| {
        let (loss, slope) = if log_input {
            (libm::exp(x) - t * x, libm::exp(x) - t)
        } else {
            (x - t * libm::log(x + eps), 1.0 - t / (x + eps))
        };
        let more = full && t > 1.0;
        let stirling =
            if more { t * libm::log(t) - t + 0.5 * libm::log(core::f64::consts::TAU * t) } else { 0.0 };
        (loss + stirling, slope)
    }))
}

/// The hinge loss of a row of scores against a class, which counts `weight`, and its gradient.
pub fn multi_class_hinge(
    scores: &[f64],
    class: usize,
    margin: f64,
    squared: bool,
    weight: f64,
) -> (f64, Vec<f64>) {
    let (mut loss, mut d, share) = (0.0, vec![0.0; scores.len()], weight / scores.len() as f64);
    for j in (0..scores.len()).filter(|&j| j != class) {
        let short = margin - scores[class] + scores[j];
        if short > 0.0 {
            loss += share * if squared { short * short } else { short };
            d[j] = share * if squared { 2.0 * short } else { 1.0 };
            d[class] -= d[j];
        }
    }
    (loss, d)
}

/// The cross-entropy of a row of logits against a class, and its gradient.
pub fn cross_entropy_class(logits: &[f64], class: usize) -> (f64, Vec<f64>) {
    let mut gradient = softmax(logits);
    gradient[class] -= 1.0;
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rest: f64 = logits.iter().map(|x| libm::exp(x - largest)).sum();
    (libm::log(rest) + (largest - logits[class]), gradient)
}

/// Targets of a row as cross-entropy takes them: a share `smoothing` of each is spread over all classes, then each class
/// counts its weight.
pub fn smoothed(targets: &[f64], smoothing: f64, class_weights: Option<&[f64]>) -> Vec<f64> {
    let spread = smoothing / targets.len() as f64;
    let weight = |j: usize| class_weights.map_or(1.0, |weights| weights[j]);
    targets.iter().enumerate().map(|(j, t)| weight(j) * (t * (1.0 - smoothing) + spread)).collect()
}

/// The cross-entropy of a row of logits against a weight for each class, and its gradient.
pub fn cross_entropy_soft(logits: &[f64], targets: &[f64]) -> (f64, Vec<f64>) {
    let total: f64 = targets.iter().sum();
    // By way of the largest: the logarithm of the sum alone would take the last digits of large logits.
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rest = libm::log(logits.iter().map(|x| libm::exp(x - largest)).sum());
    let weighted = |(x, t): (&f64, &f64)| if *t == 0.0 { 0.0 } else { t * (rest + (largest - x)) };
    let loss = logits.iter().zip(targets).map(weighted).sum();
    (loss, softmax(logits).iter().zip(targets).map(|(p, t)| p * total - t).collect())
}

/// The binary cross-entropy of a row of logits, averaged over the row, and its gradient; the positive part of a target
/// counts the column's weight.
pub fn binary_cross_entropy_logits(
    logits: &[f64],
    targets: &[f64],
    positive_weight: Option<&[f64]>,
) -> (f64, Vec<f64>) {
    mean(pairs(logits, targets).enumerate().map(|(j, (z, t))| {
        let t_weighted = positive_weight.map_or(1.0, |weights| weights[j]) * t;
        let loss = t_weighted * softplus(-z) + (1.0 - t) * softplus(z);
        (loss, (1.0 - t) * sigmoid(z) - t_weighted * sigmoid(-z))
    }))
}

/// The negative logarithm of a class's probability, of a row of logarithms, times the class's weight, and its gradient.
pub fn negative_log_likelihood(log_probabilities: &[f64], class: usize, weight: f64) -> (f64, Vec<f64>) {
    let mut d = vec![0.0; log_probabilities.len()];
    d[class] = -weight;
    (-weight * log_probabilities[class], d)
}

/// The divergence of a row of logarithms from a row of probabilities, and its gradient.
pub fn kl_divergence(log_probabilities: &[f64], targets: &[f64]) -> (f64, Vec<f64>) {
    let term = |(x, t): (f64, f64)| if t == 0.0 { 0.0 } else { t * (ln(t) - x) };
    (pairs(log_probabilities, targets).map(term).sum(), targets.iter().map(|t| -t).collect())
}

/// The same from a row of logarithms of probabilities.
pub fn kl_divergence_log_target(log_probabilities: &[f64], targets: &[f64]) -> (f64, Vec<f64>) {
    let loss = pairs(log_probabilities, targets).map(|(x, t)| exp(t) * (t - x)).sum();
    (loss, targets.iter().map(|&t| -exp(t)).collect())
}

/// The distance of two rows that should be alike, 1 less their cosine, or how far the cosine of two that should not be is
/// above `margin`; and its gradient by the first.
pub fn cosine(a: &[f64], b: &[f64], alike: bool, margin: f64) -> (f64, Vec<f64>) {
    const EPSILON: f64 = 1e-12;
    let dot: f64 = pairs(a, b).map(|(x, y)| x * y).sum();
    let a_squares = a.iter().map(|x| x * x).sum::<f64>() + EPSILON;
    let b_squares = b.iter().map(|y| y * y).sum::<f64>() + EPSILON;
    let length = a_squares.sqrt() * b_squares.sqrt();
    let cosine = dot / length;
    if !alike && cosine <= margin {
        return (0.0, vec![0.0; a.len()]);
    }
    let sign = if alike { -1.0 } else { 1.0 };
    let d = pairs(a, b).map(|(x, y)| sign * (y - x * (dot / a_squares)) / length).collect();
    (if alike { 1.0 - cosine } else { cosine - margin }, d)
}

/// `base` to the power `exponent`, one multiplication at a time.
pub fn power(base: f64, exponent: u64) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * base)
}

/// One step of gradient descent on one element.
pub fn sgd(learning_rate: f64, weight_decay: f64, parameter: &mut f64, gradient: f64) {
    *parameter -= learning_rate * (gradient + weight_decay * *parameter);
}

/// The settings of [`momentum`].
#[derive(Clone, Copy, Debug)]
pub struct Momentum {
    /// The step's length.
    pub learning_rate: f64,
    /// How much of the velocity stays.
    pub momentum: f64,
    /// How much of the gradient is left out.
    pub dampening: f64,
    /// Nesterov's variant.
    pub nesterov: bool,
    /// The L2 penalty.
    pub weight_decay: f64,
}

/// One step with momentum on one element.
pub fn momentum(
    settings: Momentum,
    parameter: &mut f64,
    gradient: f64,
    velocity: &mut f64,
    first_step: bool,
) {
    let gradient = gradient + settings.weight_decay * *parameter;
    *velocity = if first_step {
        gradient
    } else {
        settings.momentum * *velocity + (1.0 - settings.dampening) * gradient
    };
    let direction = if settings.nesterov { gradient + settings.momentum * *velocity } else { *velocity };
    *parameter -= settings.learning_rate * direction;
}

/// The settings of [`adam`].
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// The step's length.
    pub learning_rate: f64,
    /// How much of the first moment stays.
    pub beta1: f64,
    /// How much of the second moment stays.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// The L2 penalty.
    pub weight_decay: f64,
}

/// Step number `step` of Adam, counted from 1, on one element.
pub fn adam(
    settings: Adam,
    step: u64,
    parameter: &mut f64,
    gradient: f64,
    first: &mut f64,
    second: &mut f64,
) {
    let gradient = gradient + settings.weight_decay * *parameter;
    *first = settings.beta1 * *first + (1.0 - settings.beta1) * gradient;
    *second = settings.beta2 * *second + (1.0 - settings.beta2) * gradient * gradient;
    let first_unbiased = *first / (1.0 - power(settings.beta1, step));
    let second_unbiased = *second / (1.0 - power(settings.beta2, step));
    *parameter -= settings.learning_rate * first_unbiased / (second_unbiased.sqrt() + settings.epsilon);
}

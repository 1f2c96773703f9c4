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
    let total = log_sum_exp(row);
    row.iter().map(|x| libm::exp(x - total)).collect()
}

/// The mean squared error of a row, and its gradient by the prediction.
pub fn mean_squared_error(prediction: &[f64], target: &[f64]) -> (f64, Vec<f64>) {
    let width = prediction.len() as f64;
    let differences: Vec<_> = prediction.iter().zip(target).map(|(p, t)| p - t).collect();
    let loss = differences.iter().map(|d| d * d / width).sum();
    (loss, differences.iter().map(|d| 2.0 * d / width).collect())
}

/// The cross-entropy of a row of logits against a class, and its gradient.
pub fn cross_entropy_class(logits: &[f64], class: usize) -> (f64, Vec<f64>) {
    let mut gradient = softmax(logits);
    gradient[class] -= 1.0;
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rest: f64 = logits.iter().map(|x| libm::exp(x - largest)).sum();
    (libm::log(rest) + (largest - logits[class]), gradient)
}

/// The cross-entropy of a row of logits against a weight for each class, and its gradient.
pub fn cross_entropy_soft(logits: &[f64], targets: &[f64]) -> (f64, Vec<f64>) {
    let total: f64 = targets.iter().sum();
    let log_sum = log_sum_exp(logits);
    let weighted = |(x, t): (&f64, &f64)| if *t == 0.0 { 0.0 } else { t * (log_sum - x) };
    let loss = logits.iter().zip(targets).map(weighted).sum();
    (loss, softmax(logits).iter().zip(targets).map(|(p, t)| p * total - t).collect())
}

/// The binary cross-entropy of a row of logits, averaged over the row, and its gradient.
pub fn binary_cross_entropy_logits(logits: &[f64], targets: &[f64]) -> (f64, Vec<f64>) {
    let width = logits.len() as f64;
    let loss = logits.iter().zip(targets).map(|(z, t)| (softplus(*z) - z * t) / width).sum();
    (loss, logits.iter().zip(targets).map(|(z, t)| (sigmoid(*z) - t) / width).collect())
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

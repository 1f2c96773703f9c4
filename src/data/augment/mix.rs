//! Samples mixed with others: mixup and CutMix.

use super::patch::Patch;
use crate::kernel::affine::ImageShape;
use crate::rng::Rng;
use std::f64::consts::TAU;

/// How samples are mixed; both: each sample in one of the two ways.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixing {
    /// The parameter of the Beta distribution.
    pub mixup: Option<f64>,
    pub cutmix: Option<f64>,
}

/// The other sample of a mixture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mixed {
    pub partner: usize,
    /// The share of the sample itself.
    pub share: f64,
    /// What the partner gives; without it, a part of every value.
    pub patch: Option<Patch>,
}

impl Mixing {
    pub fn is_on(self) -> bool {
        self.mixup.is_some() || self.cutmix.is_some()
    }

    /// What `sample` of `len` is mixed with; `None` if it stays what it is.
    pub fn draw(self, len: usize, sample: usize, shape: Option<ImageShape>, rng: &mut Rng) -> Option<Mixed> {
        let partner = rng.below(len as u64) as usize;
        let first = rng.uniform_f64() < 0.5;
        let (alpha, cuts) = match (self.mixup, self.cutmix) {
            (Some(alpha), None) => (alpha, false),
            (None, Some(alpha)) => (alpha, true),
            (Some(alpha), Some(_)) if first => (alpha, false),
            (Some(_), Some(alpha)) => (alpha, true),
            (None, None) => return None,
        };
        if partner == sample || alpha == 0.0 {
            return None;
        }
        let lambda = symmetric_beta(alpha, rng);
        let patch = shape.filter(|_| cuts).map(|shape| (Patch::cut(shape, lambda, rng), shape));
        let (share, patch) = match patch {
            Some((patch, shape)) => (1.0 - patch.share(shape), Some(patch)),
            None => (lambda, None),
        };
        (share < 1.0).then_some(Mixed { partner, share, patch })
    }
}

/// A number of the distribution Beta(alpha, alpha), of four words.
///
/// With u and v uniform, `t = sqrt(u^(-1/alpha) - 1) cos(2 pi v)` is Student's t with 2 alpha degrees of freedom over the root of
/// that number (Bailey: "Polar generation of random variates with the t-distribution", 1994), and `(1 + t / sqrt(1 + t^2)) / 2` is
/// what is asked for (Devroye: "Random variate generation in one line of code", 1996). Exact for every alpha above 0, without
/// rejection. Here with `s = u^(1/alpha)`, so that nothing overflows where alpha is small.
pub(super) fn symmetric_beta(alpha: f64, rng: &mut Rng) -> f64 {
    let log = libm::log(1.0 - rng.uniform_f64()) / alpha;
    let (s, rest) = (libm::exp(log), -libm::expm1(log));
    let c = libm::cos(TAU * rng.uniform_f64());
    let root = (s + rest * c * c).sqrt();
    // Only where u or its power is 0 and the cosine too: in the middle.
    let sine = if root > 0.0 { c * rest.sqrt() / root } else { 0.0 };
    (0.5 + 0.5 * sine).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 1/2, variance 1 / (4 (2 alpha + 1)), fourth moment about the mean 3 / (16 (2 alpha + 1) (2 alpha + 3)).
    #[test]
    fn beta_has_its_moments() {
        for alpha in [0.01, 0.2, 0.5, 1.0, 1.5, 4.0, 100.0] {
            let count = 100_000;
            let stream = Rng::new(7).stream((alpha * 100.0) as u64);
            let draws = (0..count).map(|i| symmetric_beta(alpha, &mut stream.at(4 * i)) - 0.5);
            let (mut mean, mut second, mut fourth) = (0.0, 0.0, 0.0);
            for d in draws {
                assert!((-0.5..=0.5).contains(&d), "alpha {alpha}: {d}");
                mean += d / count as f64;
                second += d * d / count as f64;
                fourth += d * d * d * d / count as f64;
            }
            let variance = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            let expected = 3.0 / (16.0 * (2.0 * alpha + 1.0) * (2.0 * alpha + 3.0));
            // Five standard errors.
            assert!(mean.abs() < 5.0 * (variance / count as f64).sqrt(), "alpha {alpha}: mean {mean}");
            let error = ((expected - variance * variance) / count as f64).sqrt();
            assert!(
                (second - variance).abs() < 5.0 * error,
                "alpha {alpha}: variance {second}, not {variance}"
            );
            assert!((fourth / expected - 1.0).abs() < 0.05, "alpha {alpha}: fourth moment {fourth}");
        }
    }

    /// alpha = 1 is uniform, alpha = 1/2 the arcsine law, alpha = 2 has the distribution function 3 x^2 - 2 x^3.
    #[test]
    fn beta_has_its_distribution() {
        #[allow(clippy::type_complexity, reason = "a table")]
        let laws: [(f64, fn(f64) -> f64); 3] = [
            (1.0, |x| x),
            (0.5, |x| 2.0 / std::f64::consts::PI * libm::asin(libm::sqrt(x))),
            (2.0, |x| 3.0 * x * x - 2.0 * x * x * x),
        ];
        for (alpha, law) in laws {
            let count = 20_000;
            let mut rng = Rng::new(1);
            let mut draws: Vec<f64> = (0..count).map(|_| symmetric_beta(alpha, &mut rng)).collect();
            draws.sort_by(f64::total_cmp);
            let distance = |(i, &x): (usize, &f64)| {
                let (below, upto) = (i as f64 / count as f64, (i + 1) as f64 / count as f64);
                (law(x) - below).abs().max((law(x) - upto).abs())
            };
            let distance = draws.iter().enumerate().map(distance).fold(0.0, f64::max);
            // Kolmogorov and Smirnov: above 1.95 / sqrt(n) once in a thousand.
            assert!(distance < 1.95 / f64::from(count).sqrt(), "alpha {alpha}: distance {distance}");
        }
    }
}

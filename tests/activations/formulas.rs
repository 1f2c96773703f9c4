//! The formulas in f64. Those that cancel have another form where they do.

use gemmule::kernel::activation::Activation;
use std::f64::consts::FRAC_1_SQRT_2;

pub const LINEAR: f64 = 1.595_769_121_605_730_8;
pub const CUBIC: f64 = LINEAR * 0.044_715;
pub const SCALE: f64 = 1.050_700_987_355_480_5;
pub const SCALE_ALPHA: f64 = 1.758_099_340_847_376_6;

pub fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

/// The upper tail of the normal distribution.
pub fn tail(a: f64) -> f64 {
    0.5 * libm::erfc(a * FRAC_1_SQRT_2)
}

pub fn value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Exponential => x.exp(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::LeakyRelu { slope } => {
            if x < 0.0 {
                slope * x
            } else {
                x
            }
        }
        // NaN stays.
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                alpha * x.exp_m1()
            }
        }
        Activation::Selu => {
            if x > 0.0 {
                SCALE * x
            } else {
                SCALE_ALPHA * x.exp_m1()
            }
        }
        Activation::Celu { alpha } => {
            if x > 0.0 {
                x
            } else {
                alpha * (x / alpha).exp_m1()
            }
        }
        Activation::Softplus { beta } if x * beta > 50.0 => x,
        Activation::Softplus { beta } => (beta * x).exp().ln_1p() / beta,
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::HardSwish => x.max(-3.0) * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu if x > 40.0 => x,
        Activation::Gelu => {
            if x < 0.0 {
                x * tail(-x)
            } else {
                x - x * tail(x)
            }
        }
        Activation::GeluTanh if x > 40.0 => x,
        Activation::GeluTanh => x * sigmoid(x.max(-40.0) * (LINEAR + CUBIC * x.max(-40.0).powi(2))),
        Activation::Mish if x > 40.0 => x,
        Activation::Mish => {
            let w = x.exp() * (x.exp() + 2.0);
            x * (w / (w + 2.0))
        }
        _ => unreachable!("a new one"),
    }
}

pub fn slope(activation: Activation, saved: f64) -> f64 {
    let (s, indicator) =
        (saved, |inside: bool| if saved.is_nan() { saved } else { f64::from(u8::from(inside)) });
    match activation {
        Activation::Identity => 1.0,
        Activation::Exponential => s,
        Activation::Sigmoid => s - s * s,
        Activation::Tanh => 1.0 - s * s,
        Activation::Relu => indicator(s > 0.0),
        Activation::LeakyRelu { slope } => {
            if s > 0.0 {
                1.0
            } else {
                slope + 0.0 * s.max(-1.0)
            }
        }
        Activation::Relu6 => indicator(s > 0.0 && s < 6.0),
        Activation::Elu { alpha } => {
            if s > 0.0 {
                1.0
            } else {
                s + alpha
            }
        }
        Activation::Selu => {
            if s > 0.0 {
                SCALE
            } else {
                s + SCALE_ALPHA
            }
        }
        Activation::Celu { alpha } => {
            if s > 0.0 {
                1.0
            } else {
                (s + alpha) / alpha
            }
        }
        Activation::Softplus { beta } => -(-beta * s).exp_m1(),
        Activation::Softsign => (1.0 - s.abs()).powi(2),
        Activation::HardSigmoid => indicator(s > 0.0 && s < 1.0) / 6.0,
        Activation::HardSwish => (s / 3.0 + 0.5) * indicator(s > -3.0 && s < 3.0) + indicator(s >= 3.0),
        Activation::Silu => {
            let x = s.clamp(-1e4, 1e4);
            sigmoid(x) * (1.0 + x * sigmoid(-x))
        }
        Activation::Gelu => {
            let x = s.clamp(-40.0, 40.0);
            let density = x * (-0.5 * x * x).exp() * (0.5 * LINEAR * 0.5);
            if x < 0.0 { tail(-x) + density } else { 1.0 - tail(x) + density }
        }
        Activation::GeluTanh => {
            let x = s.clamp(-40.0, 40.0);
            let v = x * (LINEAR + CUBIC * x * x);
            sigmoid(v) * (1.0 + x * sigmoid(-v) * (LINEAR + 3.0 * CUBIC * x * x))
        }
        Activation::Mish => {
            let x = s.clamp(-1e4, 40.0);
            let (e, d) = (x.exp(), x.exp() * (x.exp() + 2.0) + 2.0);
            e * ((e + 2.0) * d + 4.0 * x * (1.0 + e)) / (d * d)
        }
        _ => unreachable!("a new one"),
    }
}

/// What can be saved of an activation, and the largest size of its derivative.
pub fn domain(activation: Activation) -> (f64, f64, f64) {
    const INF: f64 = f64::INFINITY;
    match activation {
        Activation::Sigmoid => (0.0, 1.0, 0.25),
        Activation::Tanh | Activation::Softsign => (-1.0, 1.0, 1.0),
        Activation::Exponential => (0.0, INF, 0.0),
        Activation::Elu { alpha } => (-f64::from(alpha as f32), INF, alpha.max(1.0)),
        Activation::Selu => (-f64::from(SCALE_ALPHA as f32), INF, SCALE_ALPHA),
        Activation::Celu { alpha } => (-f64::from(alpha as f32), INF, 1.0),
        Activation::Softplus { .. } => (0.0, INF, 1.0),
        Activation::HardSigmoid => (0.0, 1.0, 1.0 / 6.0),
        Activation::HardSwish => (-INF, INF, 1.5),
        Activation::Silu => (-INF, INF, 1.099_8),
        Activation::Gelu | Activation::GeluTanh => (-INF, INF, 1.128_9),
        Activation::Mish => (-INF, INF, 1.088_5),
        _ => (-INF, INF, 1.0),
    }
}

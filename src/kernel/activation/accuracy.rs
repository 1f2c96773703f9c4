//! The figures that documentation, tests and the exhaustive run share.

use crate::kernel::accuracy::Accuracy;

macro_rules! accuracy {
    ($($name:literal, $fused:literal, $portable:literal;)*) => {
        /// The largest errors of the f32 activations, with default parameters, in ULP of the exact result; and, as
        /// `gelu_derivative`, of their derivatives, in units of an ULP or of 2^-24 times the largest derivative, whichever is
        /// larger: by the formula in what is [saved](super::Activation::saved). Other parameters give up to 2.3, but see
        /// [softplus](super::Activation::Softplus).
        ///
        /// | f32 | largest error | portable |
        /// | --- | --- | --- |
        $(#[doc = concat!("| `", $name, "` | ", $fused, " | ", $portable, " |")])*
        pub const ACCURACY: &[Accuracy] = &[$(Accuracy::new($name, $fused, $portable),)*];
    };
}

accuracy! {
    "identity", 0.00, 0.00;
    "identity_derivative", 0.00, 0.00;
    "exponential", 0.92, 0.92;
    "exponential_derivative", 0.00, 0.00;
    "sigmoid", 1.20, 1.45;
    "sigmoid_derivative", 0.51, 2.01;
    "tanh", 1.10, 1.12;
    "tanh_derivative", 0.51, 1.01;
    "relu", 0.00, 0.00;
    "relu_derivative", 0.00, 0.00;
    "leaky_relu", 0.50, 0.50;
    "leaky_relu_derivative", 0.01, 0.01;
    "relu6", 0.00, 0.00;
    "relu6_derivative", 0.00, 0.00;
    "elu", 1.25, 1.35;
    "elu_derivative", 0.51, 0.51;
    "selu", 1.50, 2.45;
    "selu_derivative", 0.75, 0.75;
    "celu", 1.25, 1.35;
    "celu_derivative", 0.51, 0.51;
    "softplus", 1.60, 1.80;
    "softplus_derivative", 1.10, 1.10;
    "softsign", 1.50, 1.50;
    "softsign_derivative", 1.51, 1.51;
    "hard_sigmoid", 1.05, 1.34;
    "hard_sigmoid_derivative", 0.34, 0.34;
    "hard_swish", 2.00, 2.50;
    "hard_swish_derivative", 0.70, 0.70;
    "silu", 1.64, 1.70;
    "silu_derivative", 1.50, 1.50;
    "gelu", 1.95, 2.30;
    "gelu_derivative", 1.45, 1.90;
    "gelu_tanh", 1.64, 1.64;
    "gelu_tanh_derivative", 1.50, 1.60;
    "mish", 0.85, 2.90;
    "mish_derivative", 1.95, 2.50;
}

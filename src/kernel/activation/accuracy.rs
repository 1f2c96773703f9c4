//! The figures that documentation, tests and the exhaustive run share.

use crate::kernel::accuracy::Accuracy;

macro_rules! accuracy {
    ($($name:literal, $fused:literal, $portable:literal;)*) => {
        /// The largest errors of the f32 activations, with default parameters, in ULP of the exact result; and, as
        /// `gelu_derivative`, of their derivatives, in units of an ULP or of 2^-24 times the largest derivative, whichever is
        /// larger: by the formula in what is [saved](super::Activation::saved).
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
    "exponential", 0.91, 0.94;
    "exponential_derivative", 0.00, 0.00;
    "sigmoid", 0.94, 1.33;
    "sigmoid_derivative", 1.00, 2.00;
    "tanh", 1.34, 1.35;
    "tanh_derivative", 1.00, 2.00;
    "relu", 0.00, 0.00;
    "relu_derivative", 0.00, 0.00;
    "leaky_relu", 1.50, 1.50;
    "leaky_relu_derivative", 0.50, 0.50;
    "relu6", 0.00, 0.00;
    "relu6_derivative", 0.00, 0.00;
    "elu", 1.25, 1.40;
    "elu_derivative", 0.50, 0.50;
    "selu", 1.50, 1.80;
    "selu_derivative", 1.00, 1.00;
    "celu", 1.25, 1.40;
    "celu_derivative", 1.00, 1.00;
    "softplus", 2.00, 3.00;
    "softplus_derivative", 1.30, 1.40;
    "softsign", 1.50, 1.50;
    "softsign_derivative", 1.60, 1.60;
    "hard_sigmoid", 1.00, 1.20;
    "hard_sigmoid_derivative", 0.50, 0.50;
    "hard_swish", 2.00, 2.20;
    "hard_swish_derivative", 1.00, 1.50;
    "silu", 1.60, 2.00;
    "silu_derivative", 1.50, 2.00;
    "gelu", 1.70, 3.00;
    "gelu_derivative", 1.50, 2.50;
    "gelu_tanh", 1.60, 4.00;
    "gelu_tanh_derivative", 1.50, 2.50;
    "mish", 0.90, 4.00;
    "mish_derivative", 2.00, 3.00;
}

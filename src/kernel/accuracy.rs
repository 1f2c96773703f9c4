//! The one table of stated errors: documentation, tests, benches and the exhaustive run read it.

/// The largest error that an f32 function was found to make.
///
/// Of a function: in ULP of the exact result, where subnormal results count in units of 2^-149. Of a derivative
/// (`sin_derivative`): of the factor that the `backward` functions multiply with, in ULP or in units of 2^-24 times the
/// largest derivative, whichever is larger; one that is computed from the saved output is measured against the formula in
/// that output. Activations have their default parameters.
///
/// Found by `benches/exhaustive` over all 2^32 inputs and rounded up in the second decimal; of `pow`, which has two
/// inputs, over all inputs of five powers with one of them fixed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Accuracy {
    /// The function's name.
    pub name: &'static str,
    /// With fused multiply-add: one figure, since the bits are the same on all such instruction sets.
    pub fused: f64,
    /// On the portable tier.
    pub portable: f64,
}

macro_rules! accuracy {
    ($($name:ident: $fused:literal, $portable:literal $(; derivative $d_fused:literal, $d_portable:literal)?.)*) => {
        /// The largest errors of the f32 functions of [`math`](super::math) and [`activation`](super::activation), and of
        /// their derivatives: see [`Accuracy`]. Other parameters of the activations give up to 2.3, but see
        /// [softplus](super::activation::Activation::Softplus).
        ///
        /// | f32 | largest error | portable | derivative | portable |
        /// | --- | --- | --- | --- | --- |
        $(#[doc = concat!(
            "| `", stringify!($name), "` | ", $fused, " | ", $portable, " | " $(, $d_fused, " | ", $d_portable)?, " |"
        )])*
        pub const ACCURACY: &[Accuracy] = &[$(
            Accuracy { name: stringify!($name), fused: $fused, portable: $portable },
            $(Accuracy {
                name: concat!(stringify!($name), "_derivative"),
                fused: $d_fused,
                portable: $d_portable,
            },)?
        )*];

        /// What the table says of a function, for its documentation: `stated!(exp)`, `stated!(exp derivative)`.
        macro_rules! stated {$(
            ($name) => { concat!($fused, " ULP (portable ", $portable, ")") };
            $(($name derivative) => { concat!($d_fused, " (portable ", $d_portable, ")") };)?
        )*}
        pub(super) use stated;
    };
}

accuracy! {
    exp: 0.92, 0.92; derivative 0.00, 0.00.
    exp_m1: 1.25, 1.34; derivative 0.50, 0.50.
    ln: 0.81, 0.81; derivative 0.50, 0.50.
    ln_1p: 0.97, 1.04; derivative 1.50, 1.50.
    sigmoid: 1.19, 1.41; derivative 0.51, 2.01.
    tanh: 1.08, 1.08; derivative 0.51, 0.76.
    erf: 1.30, 1.55; derivative 1.41, 1.86.
    sqrt: 0.50, 0.50; derivative 0.50, 0.50.
    rsqrt: 1.50, 1.50; derivative 1.29, 1.29.
    sin: 1.54, 1.56; derivative 1.22, 1.48.
    cos: 1.54, 1.56; derivative 1.23, 1.47.
    normal_cdf: 1.82, 2.20; derivative 1.53, 1.55.
    identity: 0.00, 0.00; derivative 0.00, 0.00.
    exponential: 0.92, 0.92; derivative 0.00, 0.00.
    relu: 0.00, 0.00; derivative 0.00, 0.00.
    leaky_relu: 0.50, 0.50; derivative 0.01, 0.01.
    relu6: 0.00, 0.00; derivative 0.00, 0.00.
    elu: 1.25, 1.21; derivative 0.51, 0.51.
    selu: 1.41, 1.43; derivative 0.70, 0.70.
    celu: 1.25, 1.21; derivative 0.51, 0.51.
    softplus: 1.50, 1.58; derivative 1.08, 1.10.
    softsign: 1.50, 1.50; derivative 1.50, 1.50.
    hard_sigmoid: 1.01, 1.01; derivative 0.34, 0.34.
    hard_swish: 1.88, 1.88; derivative 0.67, 0.67.
    silu: 1.64, 1.63; derivative 1.57, 1.56.
    gelu: 1.92, 1.81; derivative 1.44, 1.91.
    gelu_tanh: 1.68, 1.68; derivative 1.51, 1.51.
    mish: 0.84, 0.84; derivative 1.95, 2.29.
    pow: 0.94, 1.20.
}

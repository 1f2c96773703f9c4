//! The functions on slices, for everybody.

use super::Elementary;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::accuracy::stated;
use crate::kernel::compiled::compiled;
use crate::kernel::element::Element;
use crate::kernel::loops::{self, Binary, Unary};
use crate::kernel::share::{self, cut};
use crate::simd::{Kernel, Mask, Simd, Vector};

/// Checks that an output is as long as its input.
pub(crate) fn check_length(
    operation: &'static str,
    what: &'static str,
    expected: usize,
    got: usize,
) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::shape(operation, what, format_args!("{expected} elements"), format_args!("{got}")))
}

/// `output[i] = operation(input[i])` as a kernel.
pub(crate) struct Map<'a, T, O> {
    pub(crate) operation: O,
    pub(crate) input: &'a [T],
    pub(crate) output: &'a mut [T],
}

impl<T: Element, O: Unary<T>> Kernel for Map<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        loops::map(s, self.operation, self.input, self.output);
    }
}

cut! { ['a, T, O: Copy] Map<'a, T, O>: per_unit(output, input) keep(operation) }

/// `output[i] = operation(a[i], b[i])` as a kernel.
pub(crate) struct Zip<'a, T, O> {
    pub(crate) operation: O,
    pub(crate) a: &'a [T],
    pub(crate) b: &'a [T],
    pub(crate) output: &'a mut [T],
}

cut! { ['a, T, O: Copy] Zip<'a, T, O>: per_unit(output, a, b) keep(operation) }

impl<T: Element, O: Binary<T>> Kernel for Zip<'_, T, O> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        loops::zip(s, self.operation, self.a, self.b, self.output);
    }
}

/// `data[i] = f(data[i])` by what does it out of place, through a buffer in the first cache: some 5 % slower than code of
/// its own for every function.
fn in_place<T: Element>(data: &mut [T], mut f: impl FnMut(&[T], &mut [T])) {
    let mut buffer = [T::zero(); 512];
    for chunk in data.chunks_mut(buffer.len()) {
        let input = &mut buffer[..chunk.len()];
        input.copy_from_slice(chunk);
        f(input, chunk);
    }
}

macro_rules! functions {
    ($(
        $(#[$doc:meta])*
        $name:ident($operation:ident), $name_in_place:ident;
        $(#[$derivative_doc:meta])*
        $name_backward:ident($derivative:ident) from $saved:ident:
            |$s:ident, $d:ident, $v:ident| $body:expr;
    )*) => {
        $(
        #[doc = concat!("The operation [`", stringify!($name), "`].")]
        #[derive(Clone, Copy)]
        pub(crate) struct $operation;

        impl<T: Element> Unary<T> for $operation {
            #[inline(always)]
            fn apply<S: Simd>(self, s: S, x: T::V<S>) -> T::V<S> {
                <T as Elementary>::$name(s, x)
            }
        }

        $(#[$doc])*
        #[doc = concat!("Largest error ", stated!($name), ".")]
        ///
        /// # Errors
        /// [`Error::Shape`] if the slices differ in length.
        pub fn $name<T: Element>(context: &Context, input: &[T], output: &mut [T]) -> Result<()> {
            check_length(stringify!($name), "output", input.len(), output.len())?;
            share::run::<T, _>(context, Map { operation: $operation, input, output });
            Ok(())
        }

        #[doc = concat!("[`", stringify!($name), "`] in place.")]
        pub fn $name_in_place<T: Element>(context: &Context, data: &mut [T]) {
            share::run_by(context, data, |data| {
                in_place(data, |input, output| T::run(context, Map { operation: $operation, input, output }));
            });
        }

        #[derive(Clone, Copy)]
        struct $derivative;

        impl<T: Element> Binary<T> for $derivative {
            #[inline(always)]
            #[allow(unused_variables, reason = "few need the token")]
            fn apply<S: Simd>(self, $s: S, $d: T::V<S>, $v: T::V<S>) -> T::V<S> {
                $body
            }
        }

        #[doc = concat!("The derivative of [`", stringify!($name), "`], from its saved ", stringify!($saved), ":")]
        $(#[$derivative_doc])*
        ///
        #[doc = concat!("f32: the factor's largest error is ", stated!($name derivative), ", in the units of")]
        /// [`Accuracy`](crate::kernel::Accuracy).
        ///
        /// # Errors
        /// [`Error::Shape`] if the slices differ in length.
        pub fn $name_backward<T: Element>(
            context: &Context,
            $saved: &[T],
            d_output: &[T],
            d_input: &mut [T],
        ) -> Result<()> {
            check_length(stringify!($name_backward), "d_output", $saved.len(), d_output.len())?;
            check_length(stringify!($name_backward), "d_input", $saved.len(), d_input.len())?;
            share::run::<T, _>(context, Zip { operation: $derivative, a: d_output, b: $saved, output: d_input });
            Ok(())
        }
        )*

        compiled! {
            $(Map<'a, Self, $operation>, Zip<'a, Self, $derivative>,)*
            Zip<'a, Self, Pow>,
            PowBackward<'a, Self>,
        }
    };
}

/// `output[i] = base[i]^exponent[i]`.
#[derive(Clone, Copy)]
struct Pow;

impl<T: Element> Binary<T> for Pow {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: T::V<S>, y: T::V<S>) -> T::V<S> {
        <T as Elementary>::pow(s, x, y)
    }
}

/// The derivative by the base.
struct PowBackward<'a, T> {
    base: &'a [T],
    exponent: &'a [T],
    d_output: &'a [T],
    d_base: &'a mut [T],
}

cut! { ['a, T] PowBackward<'a, T>: per_unit(d_base, base, exponent, d_output) keep() }

impl<T: Element> Kernel for PowBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        let zero = constant::<T, S>(s, 0.0);
        let inputs =
            self.base.chunks(lanes).zip(self.exponent.chunks(lanes)).zip(self.d_output.chunks(lanes));
        for (((x, y), d), target) in inputs.zip(self.d_base.chunks_mut(lanes)) {
            let (x, y) = (T::V::<S>::load_first(s, x), T::V::<S>::load_first(s, y));
            // The exponent 0 is a constant 1, at 0 too; NaN stays NaN.
            let slope =
                zero.select(y.equal(zero).and(x.equal(x)), y * <T as Elementary>::pow_less_one(s, x, y));
            (T::V::<S>::load_first(s, d) * slope).store_first(target);
        }
    }
}

/// `output[i] = base[i]^exponent[i]`.
///
/// f32: all pairs; subnormal results are kept.
#[doc = concat!("Largest error ", stated!(pow), ",")]
/// in all inputs of each of five powers with one number fixed. The special cases are those of C99: `x^0` and `1^y` are 1 even for
/// NaN, `(-1)^(+-inf)` is 1, a negative base has a power only for integers (NaN otherwise), and gives an odd one its sign.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
///
/// ```
/// use gemmule::{Context, kernel::math};
/// let mut powers = [0.0_f32; 3];
/// math::pow(&Context::detect()?, &[2.0, -3.0, 0.0], &[0.5, 3.0, 0.0], &mut powers)?;
/// assert_eq!(powers, [std::f32::consts::SQRT_2, -27.0, 1.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn pow<T: Element>(context: &Context, base: &[T], exponent: &[T], output: &mut [T]) -> Result<()> {
    check_length("pow", "exponent", base.len(), exponent.len())?;
    check_length("pow", "output", base.len(), output.len())?;
    share::run::<T, _>(context, Zip { operation: Pow, a: base, b: exponent, output });
    Ok(())
}

/// What [`pow_in_place`] cuts.
struct Both<'a, T> {
    base: &'a mut [T],
    exponent: &'a [T],
}

cut! { ['a, T] Both<'a, T>: per_unit(base, exponent) keep() }

/// [`pow`] in place: `base[i] = base[i]^exponent[i]`.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
pub fn pow_in_place<T: Element>(context: &Context, base: &mut [T], exponent: &[T]) -> Result<()> {
    check_length("pow_in_place", "exponent", base.len(), exponent.len())?;
    share::run_by(context, Both { base, exponent }, |Both { base, exponent }| {
        let mut rest = exponent;
        in_place(base, |input, output| {
            let b;
            (b, rest) = rest.split_at(input.len());
            T::run(context, Zip { operation: Pow, a: input, b, output });
        });
    });
    Ok(())
}

/// [`pow`] with one exponent for all.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
pub fn pow_scalar<T: Element>(context: &Context, base: &[T], exponent: T, output: &mut [T]) -> Result<()> {
    check_length("pow_scalar", "output", base.len(), output.len())?;
    let exponents = [exponent; 512];
    share::run_by(context, Map { operation: (), input: base, output }, |Map { input, output, .. }| {
        for (a, output) in input.chunks(exponents.len()).zip(output.chunks_mut(exponents.len())) {
            T::run(context, Zip { operation: Pow, a, b: &exponents[..a.len()], output });
        }
    });
    Ok(())
}

/// [`pow_scalar`] in place.
pub fn pow_scalar_in_place<T: Element>(context: &Context, base: &mut [T], exponent: T) {
    let exponents = [exponent; 512];
    share::run_by(context, base, |base| {
        in_place(base, |a, output| {
            T::run(context, Zip { operation: Pow, a, b: &exponents[..a.len()], output });
        });
    });
}

/// The derivative of [`pow`] by its base, from the saved input:
/// `d_base[i] = d_output[i] * exponent[i] * base[i]^(exponent[i] - 1)`, and 0 where the exponent is 0.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
pub fn pow_backward<T: Element>(
    context: &Context,
    base: &[T],
    exponent: &[T],
    d_output: &[T],
    d_base: &mut [T],
) -> Result<()> {
    check_length("pow_backward", "exponent", base.len(), exponent.len())?;
    check_length("pow_backward", "d_output", base.len(), d_output.len())?;
    check_length("pow_backward", "d_base", base.len(), d_base.len())?;
    share::run::<T, _>(context, PowBackward { base, exponent, d_output, d_base });
    Ok(())
}

/// [`pow_backward`] with one exponent for all.
///
/// # Errors
/// [`Error::Shape`] if the slices differ in length.
pub fn pow_scalar_backward<T: Element>(
    context: &Context,
    base: &[T],
    exponent: T,
    d_output: &[T],
    d_base: &mut [T],
) -> Result<()> {
    check_length("pow_scalar_backward", "d_output", base.len(), d_output.len())?;
    check_length("pow_scalar_backward", "d_base", base.len(), d_base.len())?;
    let exponents = [exponent; 512];
    let inputs = base.chunks(exponents.len()).zip(d_output.chunks(exponents.len()));
    for ((base, d_output), d_base) in inputs.zip(d_base.chunks_mut(exponents.len())) {
        T::run(context, PowBackward { base, exponent: &exponents[..base.len()], d_output, d_base });
    }
    Ok(())
}

/// All lanes `value`.
#[inline(always)]
fn constant<T: Element, S: Simd>(s: S, value: f64) -> T::V<S> {
    T::V::<S>::splat(s, T::from_f64(value))
}

functions! {
    /// `output[i] = e^input[i]`.
    ///
    /// f32: all inputs; subnormal results are kept, above 88.72 infinity. `exp(-inf)` is 0.
    exp(Exp), exp_in_place;
    /// `d_input[i] = d_output[i] * output[i]`.
    exp_backward(ExpBackward) from output: |s, d, y| d * y;

    /// `output[i] = e^input[i] - 1`, without cancellation near zero.
    ///
    /// f32: all inputs. `exp_m1(-0)` is -0, `exp_m1(-inf)` is -1.
    exp_m1(ExpM1), exp_m1_in_place;
    /// `d_input[i] = d_output[i] * (output[i] + 1)`.
    exp_m1_backward(ExpM1Backward) from output: |s, d, y| d * (y + constant::<T, S>(s, 1.0));

    /// `output[i]` is the natural logarithm of `input[i]`.
    ///
    /// f32: all inputs, subnormal ones too. `ln(0)` is -infinity, of negative numbers NaN.
    ln(Ln), ln_in_place;
    /// `d_input[i] = d_output[i] / input[i]`.
    ln_backward(LnBackward) from input: |s, d, x| d / x;

    /// `output[i]` is the natural logarithm of `1 + input[i]`, without cancellation near zero.
    ///
    /// f32: all inputs. `ln_1p(-0)` is -0, `ln_1p(-1)` is -infinity, below that NaN.
    ln_1p(Ln1p), ln_1p_in_place;
    /// `d_input[i] = d_output[i] / (1 + input[i])`.
    ln_1p_backward(Ln1pBackward) from input: |s, d, x| d / (constant::<T, S>(s, 1.0) + x);

    /// `output[i] = 1 / (1 + e^-input[i])`.
    ///
    /// f32: all inputs; the tail keeps its relative error down to subnormal results.
    sigmoid(Sigmoid), sigmoid_in_place;
    /// `d_input[i] = d_output[i] * (y - y^2)` for `y = output[i]`, the factor rounded once.
    sigmoid_backward(SigmoidBackward) from output: |s, d, y| d * (-y).mul_add(y, y);

    /// `output[i]` is the hyperbolic tangent of `input[i]`.
    ///
    /// f32: all inputs. `tanh(-0)` is -0.
    tanh(Tanh), tanh_in_place;
    /// `d_input[i] = d_output[i] * (1 - y^2)` for `y = output[i]`, the factor rounded once.
    tanh_backward(TanhBackward) from output: |s, d, y| d * (-y).mul_add(y, constant::<T, S>(s, 1.0));

    /// `output[i]` is the error function of `input[i]`: 2 / sqrt(pi) times the integral of `e^(-t^2)` from 0 to it.
    ///
    /// f32: all inputs. `erf(-0)` is -0.
    erf(Erf), erf_in_place;
    /// `d_input[i] = d_output[i] * 2 / sqrt(pi) * e^(-x^2)` for `x = input[i]`.
    erf_backward(ErfBackward) from input: |s, d, x| {
        // f32 holds 2 / sqrt(pi) with nearly half an ULP of error, which would put the whole beyond 2.
        const HIGH: f64 = std::f64::consts::FRAC_2_SQRT_PI as f32 as f64;
        const LOW: f64 = std::f64::consts::FRAC_2_SQRT_PI - HIGH;
        let factor = <T as Elementary>::exp(s, -(x * x));
        d * factor.mul_add(constant::<T, S>(s, HIGH), factor * constant::<T, S>(s, LOW))
    };

    /// `output[i]` is the square root of `input[i]`, correctly rounded.
    ///
    /// `sqrt(-0)` is -0, of other negative numbers NaN.
    sqrt(Sqrt), sqrt_in_place;
    /// `d_input[i] = d_output[i] / (2 output[i])`.
    sqrt_backward(SqrtBackward) from output: |s, d, y| d * (constant::<T, S>(s, 0.5) / y);

    /// `output[i] = 1 / sqrt(input[i])`, both steps correctly rounded.
    ///
    /// `rsqrt(0)` is infinity with the sign of the zero, `rsqrt(inf)` 0, of negative numbers NaN.
    rsqrt(Rsqrt), rsqrt_in_place;
    /// `d_input[i] = d_output[i] * -y^3 / 2` for `y = output[i]`.
    rsqrt_backward(RsqrtBackward) from output: |s, d, y| d * ((y * y) * (y * constant::<T, S>(s, -0.5)));

    /// `output[i]` is the sine of `input[i]`, in radians.
    ///
    /// f32: all inputs, up to the largest; above 200 000 slower, lane by lane. `sin(-0)` is -0, of infinity NaN.
    sin(Sin), sin_in_place;
    /// `d_input[i] = d_output[i] * cos(input[i])`.
    sin_backward(SinBackward) from input: |s, d, x| d * <T as Elementary>::cos(s, x);

    /// `output[i]` is the cosine of `input[i]`, in radians.
    ///
    /// f32: all inputs, up to the largest; above 200 000 slower, lane by lane. Of infinity NaN.
    cos(Cos), cos_in_place;
    /// `d_input[i] = d_output[i] * -sin(input[i])`.
    cos_backward(CosBackward) from input: |s, d, x| d * -<T as Elementary>::sin(s, x);

    /// `output[i]` is Phi of `input[i]`: the share of a standard normal distribution below it.
    ///
    /// f32: all inputs; the tail keeps its relative error down to subnormal results, to -14.17.
    normal_cdf(NormalCdf), normal_cdf_in_place;
    /// `d_input[i] = d_output[i] * e^(-x^2 / 2) / sqrt(2 pi)` for `x = input[i]`.
    normal_cdf_backward(NormalCdfBackward) from input: |s, d, x| {
        let density = <T as Elementary>::exp(s, x * (x * constant::<T, S>(s, -0.5)));
        d * (density * constant::<T, S>(s, 0.398_942_280_401_432_7))
    };
}

//! The scalar twin: every vector operation as a loop over the lanes, in plain Rust, with fused multiply-add.
//!
//! Stands in for `src/simd/portable.rs` where the crate is compiled as `gemmule-twin`, so that each kernel body runs a
//! further time on operations that share no line with those of AVX-512, AVX2 and NEON: what the standard library
//! defines for a single f32. The compiler may put lanes side by side again; that cannot change a bit.

use super::{Bits, Isa, Kernel, Mask, Simd, Vector, transpose};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `[value; lanes]` where `value` says what lane `i` holds: a loop, not a closure, which might not be inlined.
macro_rules! lanes {
    ($zero:expr, $lanes:literal, $i:ident => $value:expr) => {{
        let mut out = [$zero; $lanes];
        let mut $i = 0;
        while $i < $lanes {
            out[$i] = $value;
            $i += 1;
        }
        out
    }};
}

/// Needs nothing of the CPU.
#[derive(Clone, Copy)]
pub struct Portable;

impl Simd for Portable {
    type F32 = F32x16;
    type F64 = F64x8;
    // One with fused multiply-add: a body may choose by that.
    const ISA: Isa = Isa::Neon;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has the feature.
            return unsafe { run_with_fma(self, kernel) };
        }
        run(self, kernel)
    }
    #[inline(always)]
    fn prefetch<const FAR: bool>(self, _: *const u8) {}
    #[inline(always)]
    fn widen(self, x: F32x16) -> [F64x8; 2] {
        let first = lanes!(0.0, 8, i => f64::from(x.0[i]));
        [F64x8(first), F64x8(lanes!(0.0, 8, i => f64::from(x.0[8 + i])))]
    }
    #[inline(always)]
    fn narrow(self, x: [F64x8; 2]) -> F32x16 {
        F32x16(lanes!(0.0, 16, i => x[i / 8].0[i % 8] as f32))
    }
    #[inline(always)]
    fn lookup_8(self, table: &[f32; 8], index: U32x16) -> F32x16 {
        F32x16(lanes!(0.0, 16, i => table[index.0[i] as usize % 8]))
    }
    #[inline(always)]
    fn lookup_16(self, table: &[f32; 16], index: U32x16) -> F32x16 {
        F32x16(lanes!(0.0, 16, i => table[index.0[i] as usize % 16]))
    }
    #[inline(always)]
    fn scale<const FRACTION: u32>(self, x: F32x16, n: F32x16) -> F32x16 {
        F32x16(lanes!(0.0, 16, i => scale_one(x.0[i], n.0[i])))
    }
    #[inline(always)]
    fn split(self, x: F32x16) -> (F32x16, F32x16) {
        let significands = lanes!(0.0, 16, i => split_one(x.0[i]).0);
        (F32x16(significands), F32x16(lanes!(0.0, 16, i => split_one(x.0[i]).1)))
    }
}

/// `x 2^floor(n)`: exact in f64, so rounded once. n is a number of at least -254, or x is NaN.
#[inline(always)]
fn scale_one(x: f32, n: f32) -> f32 {
    // NaN gives 0; x is NaN then.
    let exponent = n.floor() as i64;
    (f64::from(x) * f64::from_bits(((1023 + exponent) as u64) << 52)) as f32
}

/// Significand and exponent, by the bits of f64, in which no f32 is subnormal.
#[inline(always)]
fn split_one(x: f32) -> (f32, f32) {
    if x.is_nan() || x < 0.0 {
        return (f32::NAN, f32::NAN);
    }
    if x == 0.0 {
        return (1.0, f32::NEG_INFINITY);
    }
    if x == f32::INFINITY {
        return (1.0, f32::INFINITY);
    }
    let bits = f64::from(x).to_bits();
    let significand = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000);
    (significand as f32, ((bits >> 52) as i64 - 1023) as f32)
}

/// What the vectors of other instruction sets fall back on; nothing but the twin's own tier runs here.
pub fn scale<S: Simd, const FRACTION: u32>(_: S, _: S::F32, _: S::F32) -> S::F32 {
    unreachable!("only scalars run")
}

/// The same.
pub fn split<S: Simd>(_: S, _: S::F32) -> (S::F32, S::F32) {
    unreachable!("only scalars run")
}

#[inline(never)]
fn run<K: Kernel>(token: Portable, kernel: K) -> K::Output {
    kernel.run(token)
}

/// The same bits: `f32::mul_add` is one instruction here, and a call of the C library elsewhere.
///
/// # Safety
/// The CPU has the feature.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "fma")]
unsafe fn run_with_fma<K: Kernel>(token: Portable, kernel: K) -> K::Output {
    kernel.run(token)
}

/// 16 lanes of f32.
#[derive(Clone, Copy)]
pub struct F32x16([f32; 16]);
/// 8 lanes of f64.
#[derive(Clone, Copy)]
pub struct F64x8([f64; 8]);
/// 16 lanes of u32.
#[derive(Clone, Copy)]
pub struct U32x16([u32; 16]);
/// 8 lanes of u64.
#[derive(Clone, Copy)]
pub struct U64x8([u64; 8]);
/// The truth values of an [`F32x16`].
#[derive(Clone, Copy)]
pub struct M32x16([bool; 16]);
/// The truth values of an [`F64x8`].
#[derive(Clone, Copy)]
pub struct M64x8([bool; 8]);

macro_rules! operator {
    ($vector:ident, $lanes:literal, $trait:ident, $method:ident) => {
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(lanes!(0.0, $lanes, i => $trait::$method(self.0[i], other.0[i])))
            }
        }
    };
}

macro_rules! float {
    ($vector:ident, $elem:ty, $lanes:literal, $mask:ident, $bits:ident, $uint:ty) => {
        operator!($vector, $lanes, Add, add);
        operator!($vector, $lanes, Sub, sub);
        operator!($vector, $lanes, Mul, mul);
        operator!($vector, $lanes, Div, div);

        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self(lanes!(0.0, $lanes, i => -self.0[i]))
            }
        }

        impl Mask for $mask {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                Self(lanes!(false, $lanes, i => self.0[i] && other.0[i]))
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                Self(lanes!(false, $lanes, i => self.0[i] || other.0[i]))
            }
            #[inline(always)]
            fn not(self) -> Self {
                Self(lanes!(false, $lanes, i => !self.0[i]))
            }
            #[inline(always)]
            fn any(self) -> bool {
                self.0 != [false; $lanes]
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                self.0.iter().enumerate().map(|(lane, &on)| u32::from(on) << lane).sum()
            }
        }

        impl Vector<$elem, Portable> for $vector {
            type Mask = $mask;
            type Bits = $bits;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Portable, value: $elem) -> Self {
                Self([value; $lanes])
            }
            #[inline(always)]
            unsafe fn load_ptr(_: Portable, source: *const $elem) -> Self {
                // SAFETY: the caller vouches for LANES elements; an array has their alignment.
                Self(unsafe { source.cast::<[$elem; $lanes]>().read() })
            }
            #[inline(always)]
            unsafe fn load_first_ptr(_: Portable, source: *const $elem, count: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                // SAFETY: the caller vouches for `count` elements, and they fit in LANES.
                unsafe { source.copy_to_nonoverlapping(lanes.as_mut_ptr(), count) };
                Self(lanes)
            }
            #[inline(always)]
            unsafe fn store_ptr(self, target: *mut $elem) {
                // SAFETY: the caller vouches for LANES elements; an array has their alignment.
                unsafe { target.cast::<[$elem; $lanes]>().write(self.0) }
            }
            #[inline(always)]
            unsafe fn store_first_ptr(self, target: *mut $elem, count: usize) {
                // SAFETY: the caller vouches for `count` elements, and LANES has as many.
                unsafe { target.copy_from_nonoverlapping(self.0.as_ptr(), count) }
            }
            #[inline(always)]
            unsafe fn transpose_ptr(
                _: Portable,
                source: *const $elem,
                source_stride: isize,
                target: *mut $elem,
                target_stride: usize,
            ) {
                // SAFETY: passed on.
                unsafe { transpose::any::<$elem, $lanes>(source, source_stride, target, target_stride) }
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                Self(lanes!(0.0, $lanes, i => self.0[i].mul_add(factor.0[i], addend.0[i])))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(lanes!(0.0, $lanes, i => self.0[i].sqrt()))
            }
            #[inline(always)]
            fn abs(self) -> Self {
                Self(lanes!(0.0, $lanes, i => self.0[i].abs()))
            }
            #[inline(always)]
            fn max_or_other(self, other: Self) -> Self {
                Self(lanes!(0.0, $lanes, i => if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] }))
            }
            #[inline(always)]
            fn min_or_other(self, other: Self) -> Self {
                Self(lanes!(0.0, $lanes, i => if self.0[i] < other.0[i] { self.0[i] } else { other.0[i] }))
            }
            #[inline(always)]
            fn equal(self, other: Self) -> $mask {
                $mask(lanes!(false, $lanes, i => self.0[i] == other.0[i]))
            }
            #[inline(always)]
            fn greater(self, other: Self) -> $mask {
                $mask(lanes!(false, $lanes, i => self.0[i] > other.0[i]))
            }
            #[inline(always)]
            fn greater_equal(self, other: Self) -> $mask {
                $mask(lanes!(false, $lanes, i => self.0[i] >= other.0[i]))
            }
            #[inline(always)]
            fn select(self, mask: $mask, other: Self) -> Self {
                Self(lanes!(0.0, $lanes, i => if mask.0[i] { self.0[i] } else { other.0[i] }))
            }
            #[inline(always)]
            fn to_bits(self) -> $bits {
                $bits(lanes!(0, $lanes, i => self.0[i].to_bits()))
            }
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                Self(lanes!(0.0, $lanes, i => <$elem>::from_bits(bits.0[i])))
            }
            #[inline(always)]
            fn splat_bits(_: Portable, value: u64) -> $bits {
                $bits([value as $uint; $lanes])
            }
        }

        impl Bits for $bits {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                Self(lanes!(0, $lanes, i => self.0[i] & other.0[i]))
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                Self(lanes!(0, $lanes, i => self.0[i] | other.0[i]))
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                Self(lanes!(0, $lanes, i => self.0[i] ^ other.0[i]))
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(lanes!(0, $lanes, i => self.0[i].wrapping_add(other.0[i])))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(lanes!(0, $lanes, i => self.0[i].wrapping_sub(other.0[i])))
            }
            #[inline(always)]
            fn shl<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                Self(lanes!(0, $lanes, i => self.0[i] << N))
            }
            #[inline(always)]
            fn shr<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                Self(lanes!(0, $lanes, i => self.0[i] >> N))
            }
        }
    };
}

float!(F32x16, f32, 16, M32x16, U32x16, u32);
float!(F64x8, f64, 8, M64x8, U64x8, u64);

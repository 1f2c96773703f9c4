//! Any CPU: the vectors of the `wide` crate, which follow the target's baseline features.
//!
//! Multiply and add are two roundings here, on every target: `wide` would fuse them where the build's baseline has
//! the instruction, and one body would give different bits from build to build.

use super::{Bits, Isa, Kernel, Mask, Simd, Vector, transpose};
use std::ops::{Add, Div, Mul, Neg, Sub};
use wide::{f32x4, f64x2, u32x4, u64x2};

/// Needs nothing of the CPU.
#[derive(Clone, Copy)]
pub struct Portable;

impl Simd for Portable {
    type F32 = F32x4;
    type F64 = F64x2;
    const ISA: Isa = Isa::Portable;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        run(self, kernel)
    }
    #[inline(always)]
    fn prefetch<const FAR: bool>(self, _: *const u8) {}
    #[inline(always)]
    fn widen(self, x: F32x4) -> [F64x2; 2] {
        let x = x.0.to_array();
        [0, 2].map(|first| F64x2(f64x2::new(std::array::from_fn(|i| f64::from(x[first + i])))))
    }
    #[inline(always)]
    fn narrow(self, x: [F64x2; 2]) -> F32x4 {
        let x = x.map(|half| half.0.to_array());
        F32x4(f32x4::new(std::array::from_fn(|i| x[i / 2][i % 2] as f32)))
    }
    #[inline(always)]
    fn lookup_8(self, table: &[f32; 8], index: U32x4) -> F32x4 {
        F32x4(f32x4::new(index.0.to_array().map(|i| table[i as usize % 8])))
    }
    #[inline(always)]
    fn lookup_16(self, table: &[f32; 16], index: U32x4) -> F32x4 {
        F32x4(f32x4::new(index.0.to_array().map(|i| table[i as usize % 16])))
    }
}

/// [`Simd::scale`] for those without an instruction: the power as a product of two, whose exponents fit.
#[inline(always)]
pub fn scale<S: Simd, const FRACTION: u32>(s: S, x: S::F32, n: S::F32) -> S::F32 {
    const { assert!(FRACTION == 0 || FRACTION == 3) };
    // Adding this rounds to a multiple of 2^-FRACTION, and leaves floor(n) + 254, the sum of both exponent fields, in the
    // bits from FRACTION on. NaN becomes an odd power: x is NaN then.
    let rounder = (12_582_912.0 / (1 << FRACTION) as f32) + 254.0;
    let bits = (n + S::F32::splat(s, rounder)).to_bits();
    let field = S::F32::splat_bits(s, 0xff80_0000);
    let (half, whole) = if FRACTION == 0 {
        (bits.shl::<22>(), bits.shl::<23>())
    } else {
        (bits.shl::<19>(), bits.shl::<20>().and(field))
    };
    let first = half.and(field);
    // The first product is exact.
    x * S::F32::from_bits(first) * S::F32::from_bits(whole.sub(first))
}

/// [`Simd::split`] for those without an instruction.
#[inline(always)]
pub fn split<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
    let splat = |value| S::F32::splat(s, value);
    let zero = splat(0.0);
    // Subnormal: 2^24 times as large, and 24 less to the exponent.
    let small = splat(f32::MIN_POSITIVE).greater(x);
    let bits = (x * splat(16_777_216.0)).select(small, x).to_bits();
    let offset = splat(8_388_608.0 + 127.0 + 24.0).select(small, splat(8_388_608.0 + 127.0));
    // An integer below 2^23 in the low bits of 2^23 is their sum.
    let e = S::F32::from_bits(bits.shr::<23>().or(S::F32::splat_bits(s, 0x4b00_0000))) - offset;
    let e = x.select(x.equal(splat(f32::INFINITY)), e);
    let e = splat(f32::NEG_INFINITY).select(x.equal(zero), e);
    let m = bits.and(S::F32::splat_bits(s, 0x007f_ffff)).or(S::F32::splat_bits(s, 0x3f80_0000));
    let nan = splat(f32::NAN);
    let valid = x.greater_equal(zero);
    (S::F32::from_bits(m).select(valid, nan), e)
}

/// Runs `kernel` as a function of its own.
#[inline(never)]
fn run<K: Kernel>(token: Portable, kernel: K) -> K::Output {
    kernel.run(token)
}

/// 4 lanes of f32.
#[derive(Clone, Copy)]
pub struct F32x4(f32x4);
/// 2 lanes of f64.
#[derive(Clone, Copy)]
pub struct F64x2(f64x2);
/// 4 lanes of u32.
#[derive(Clone, Copy)]
pub struct U32x4(u32x4);
/// 2 lanes of u64.
#[derive(Clone, Copy)]
pub struct U64x2(u64x2);
/// The truth values of an [`F32x4`]: all bits of a lane are set, or none.
#[derive(Clone, Copy)]
pub struct M32x4(f32x4);
/// The truth values of an [`F64x2`]: all bits of a lane are set, or none.
#[derive(Clone, Copy)]
pub struct M64x2(f64x2);

macro_rules! operator {
    ($vector:ident, $trait:ident, $method:ident) => {
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self($trait::$method(self.0, other.0))
            }
        }
    };
}

macro_rules! float {
    (
        $vector:ident, $wide:ident, $elem:ty, $lanes:literal, $mask:ident, $bits:ident, $wide_bits:ident, $uint:ty
    ) => {
        operator!($vector, Add, add);
        operator!($vector, Sub, sub);
        operator!($vector, Mul, mul);
        operator!($vector, Div, div);

        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                let sign = Self::splat_bits(Portable, 1 << (<$uint>::BITS - 1));
                Self::from_bits(self.to_bits().xor(sign))
            }
        }

        impl Mask for $mask {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
            #[inline(always)]
            fn not(self) -> Self {
                Self(!self.0)
            }
            #[inline(always)]
            fn any(self) -> bool {
                self.0.any()
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                self.0.to_bitmask()
            }
        }

        impl Vector<$elem, Portable> for $vector {
            type Mask = $mask;
            type Bits = $bits;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Portable, value: $elem) -> Self {
                Self($wide::splat(value))
            }
            #[inline(always)]
            unsafe fn load_ptr(_: Portable, source: *const $elem) -> Self {
                // SAFETY: the caller vouches for LANES elements; an array has their alignment.
                Self($wide::new(unsafe { source.cast::<[$elem; $lanes]>().read() }))
            }
            #[inline(always)]
            unsafe fn load_first_ptr(_: Portable, source: *const $elem, count: usize) -> Self {
                debug_assert!(count <= Self::LANES);
                let mut lanes = [0.0; $lanes];
                // Not a copy of `count` elements: that is a call, which takes longer than a few tests.
                for (i, lane) in lanes.iter_mut().enumerate() {
                    if i < count {
                        // SAFETY: the caller vouches for `count` elements.
                        *lane = unsafe { source.add(i).read() };
                    }
                }
                Self($wide::new(lanes))
            }
            #[inline(always)]
            unsafe fn store_ptr(self, target: *mut $elem) {
                // SAFETY: the caller vouches for LANES elements; an array has their alignment.
                unsafe { target.cast::<[$elem; $lanes]>().write(self.0.to_array()) }
            }
            #[inline(always)]
            unsafe fn store_first_ptr(self, target: *mut $elem, count: usize) {
                debug_assert!(count <= Self::LANES);
                let lanes = self.0.to_array();
                for (i, lane) in lanes.into_iter().enumerate() {
                    if i < count {
                        // SAFETY: the caller vouches for `count` elements.
                        unsafe { target.add(i).write(lane) };
                    }
                }
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
                self * factor + addend
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(self.0.sqrt())
            }
            #[inline(always)]
            fn abs(self) -> Self {
                let rest = Self::splat_bits(Portable, (<$uint>::MAX >> 1) as u64);
                Self::from_bits(self.to_bits().and(rest))
            }
            // The maximum and minimum of `wide` treat NaN and zeros as the target's instructions do.
            #[inline(always)]
            fn max_or_other(self, other: Self) -> Self {
                self.select(self.greater(other), other)
            }
            #[inline(always)]
            fn min_or_other(self, other: Self) -> Self {
                self.select(other.greater(self), other)
            }
            #[inline(always)]
            fn equal(self, other: Self) -> $mask {
                $mask(self.0.simd_eq(other.0))
            }
            #[inline(always)]
            fn greater(self, other: Self) -> $mask {
                $mask(self.0.simd_gt(other.0))
            }
            #[inline(always)]
            fn greater_equal(self, other: Self) -> $mask {
                $mask(self.0.simd_ge(other.0))
            }
            #[inline(always)]
            fn select(self, mask: $mask, other: Self) -> Self {
                Self(mask.0.select(self.0, other.0))
            }
            #[inline(always)]
            fn to_bits(self) -> $bits {
                $bits($wide_bits::from_ne_bytes(self.0.to_ne_bytes()))
            }
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                Self($wide::from_ne_bytes(bits.0.to_ne_bytes()))
            }
            #[inline(always)]
            fn splat_bits(_: Portable, value: u64) -> $bits {
                $bits($wide_bits::splat(value as $uint))
            }
        }

        impl Bits for $bits {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                Self(self.0 ^ other.0)
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
            #[inline(always)]
            fn shl<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                Self(self.0 << N)
            }
            #[inline(always)]
            fn shr<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                Self(self.0 >> N)
            }
        }
    };
}

float!(F32x4, f32x4, f32, 4, M32x4, U32x4, u32x4, u32);
float!(F64x2, f64x2, f64, 2, M64x2, U64x2, u64x2, u64);

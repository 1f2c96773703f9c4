//! NEON: a canonical vector is four 128-bit registers, so is a mask.

use super::{Bits, Isa, Kernel, Mask, Simd, Vector, transpose};
use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The proof that the CPU has NEON.
#[derive(Clone, Copy)]
pub struct Neon(());

impl Neon {
    /// The token, if the CPU has the features.
    pub fn new() -> Option<Self> {
        Isa::Neon.is_available().then_some(Self(()))
    }
}

/// Runs `kernel` compiled for NEON.
///
/// # Safety
/// The CPU has the features; the token says so.
#[target_feature(enable = "neon")]
pub unsafe fn run<K: Kernel>(token: Neon, kernel: K) -> K::Output {
    kernel.run(token)
}

// Every block below has the same reason: a vector or a token of this module exists only where its features were
// detected. `intrinsic!` says so once.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: a vector or token of this module exists only on a CPU with the features.
        unsafe { $call }
    };
}

impl Simd for Neon {
    type F32 = F32x16;
    type F64 = F64x8;
    const ISA: Isa = Isa::Neon;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token proves that the CPU has the features.
        unsafe { run(self, kernel) }
    }
    // The intrinsic is not stable yet.
    #[inline(always)]
    fn prefetch<const FAR: bool>(self, pointer: *const u8) {
        // SAFETY: a prefetch may have any address, and changes neither memory, stack nor flags.
        unsafe {
            if FAR {
                asm!("prfm pldl2keep, [{0}]", in(reg) pointer, options(nostack, preserves_flags, readonly));
            } else {
                asm!("prfm pldl1keep, [{0}]", in(reg) pointer, options(nostack, preserves_flags, readonly));
            }
        }
    }
    #[inline(always)]
    fn widen(self, x: F32x16) -> [F64x8; 2] {
        let [a, b, c, d] = x.0;
        intrinsic!([
            F64x8([
                vcvt_f64_f32(vget_low_f32(a)),
                vcvt_high_f64_f32(a),
                vcvt_f64_f32(vget_low_f32(b)),
                vcvt_high_f64_f32(b),
            ]),
            F64x8([
                vcvt_f64_f32(vget_low_f32(c)),
                vcvt_high_f64_f32(c),
                vcvt_f64_f32(vget_low_f32(d)),
                vcvt_high_f64_f32(d),
            ]),
        ])
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [F64x8; 2]) -> F32x16 {
        let ([a, b, c, d], [e, f, g, h]) = (low.0, high.0);
        F32x16(intrinsic!([
            vcombine_f32(vcvt_f32_f64(a), vcvt_f32_f64(b)),
            vcombine_f32(vcvt_f32_f64(c), vcvt_f32_f64(d)),
            vcombine_f32(vcvt_f32_f64(e), vcvt_f32_f64(f)),
            vcombine_f32(vcvt_f32_f64(g), vcvt_f32_f64(h)),
        ]))
    }
    #[inline(always)]
    fn lookup_8(self, table: &[f32; 8], index: U32x16) -> F32x16 {
        let table: uint8x16x2_t = intrinsic!(std::mem::transmute(*table));
        let index = bytes(index, 7);
        F32x16(intrinsic!([
            vreinterpretq_f32_u8(vqtbl2q_u8(table, index[0])),
            vreinterpretq_f32_u8(vqtbl2q_u8(table, index[1])),
            vreinterpretq_f32_u8(vqtbl2q_u8(table, index[2])),
            vreinterpretq_f32_u8(vqtbl2q_u8(table, index[3])),
        ]))
    }
    #[inline(always)]
    fn lookup_16(self, table: &[f32; 16], index: U32x16) -> F32x16 {
        let table: uint8x16x4_t = intrinsic!(std::mem::transmute(*table));
        let index = bytes(index, 15);
        F32x16(intrinsic!([
            vreinterpretq_f32_u8(vqtbl4q_u8(table, index[0])),
            vreinterpretq_f32_u8(vqtbl4q_u8(table, index[1])),
            vreinterpretq_f32_u8(vqtbl4q_u8(table, index[2])),
            vreinterpretq_f32_u8(vqtbl4q_u8(table, index[3])),
        ]))
    }
}

/// The places of the four bytes of element `index & mask`, at most 15, in a table.
#[inline(always)]
fn bytes(index: U32x16, mask: u32) -> [uint8x16_t; 4] {
    let (mask, four, first) =
        intrinsic!((vdupq_n_u32(mask), vdupq_n_u32(0x0404_0404), vdupq_n_u32(0x0302_0100)));
    let [a, b, c, d] = index.0;
    intrinsic!([
        vreinterpretq_u8_u32(vmlaq_u32(first, vandq_u32(a, mask), four)),
        vreinterpretq_u8_u32(vmlaq_u32(first, vandq_u32(b, mask), four)),
        vreinterpretq_u8_u32(vmlaq_u32(first, vandq_u32(c, mask), four)),
        vreinterpretq_u8_u32(vmlaq_u32(first, vandq_u32(d, mask), four)),
    ])
}

/// 16 lanes of f32, the lowest four first.
#[derive(Clone, Copy)]
pub struct F32x16([float32x4_t; 4]);
/// 8 lanes of f64, the lowest two first.
#[derive(Clone, Copy)]
pub struct F64x8([float64x2_t; 4]);
/// 16 lanes of u32, the lowest four first.
#[derive(Clone, Copy)]
pub struct U32x16([uint32x4_t; 4]);
/// 8 lanes of u64, the lowest two first.
#[derive(Clone, Copy)]
pub struct U64x8([uint64x2_t; 4]);
/// The truth values of an [`F32x16`]: all bits of a lane are set, or none.
#[derive(Clone, Copy)]
pub struct M32x16([uint32x4_t; 4]);
/// The truth values of an [`F64x8`]: all bits of a lane are set, or none.
#[derive(Clone, Copy)]
pub struct M64x8([uint64x2_t; 4]);

// One intrinsic on each of the four registers; written out, since a closure need not be inlined.
macro_rules! each {
    ($result:ident, $intrinsic:ident $(, $a:expr)+) => {
        $result([
            intrinsic!($intrinsic($($a.0[0]),+)),
            intrinsic!($intrinsic($($a.0[1]),+)),
            intrinsic!($intrinsic($($a.0[2]),+)),
            intrinsic!($intrinsic($($a.0[3]),+)),
        ])
    };
}

macro_rules! operator {
    ($vector:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                each!(Self, $intrinsic, self, other)
            }
        }
    };
}

macro_rules! mask {
    (
        $mask:ident, $and:ident, $or:ident, $xor:ident, $set1:ident, $to_u32:path, $load:ident, $weights:expr,
        $sum:ident
    ) => {
        impl Mask for $mask {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                each!(Self, $and, self, other)
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                each!(Self, $or, self, other)
            }
            #[inline(always)]
            fn not(self) -> Self {
                let all = intrinsic!($set1(!0));
                each!(Self, $xor, self, Self([all; 4]))
            }
            #[inline(always)]
            fn any(self) -> bool {
                let [a, b, c, d] = self.0;
                intrinsic!(vmaxvq_u32($to_u32($or($or(a, b), $or(c, d))))) != 0
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                // A lane is all ones or all zeros: each keeps a bit of its own, and their sum is all of them.
                let weights = intrinsic!($load($weights.as_ptr()));
                let mut bits = 0;
                for (i, register) in self.0.into_iter().enumerate() {
                    bits |= (intrinsic!($sum($and(register, weights))) as u32) << (i * $weights.len());
                }
                bits
            }
        }
    };
}
mask!(
    M32x16,
    vandq_u32,
    vorrq_u32,
    veorq_u32,
    vdupq_n_u32,
    std::convert::identity,
    vld1q_u32,
    [1, 2, 4, 8],
    vaddvq_u32
);
mask!(
    M64x8,
    vandq_u64,
    vorrq_u64,
    veorq_u64,
    vdupq_n_u64,
    vreinterpretq_u32_u64,
    vld1q_u64,
    [1, 2],
    vaddvq_u64
);

/// The first `count` lanes (at most four) of one register from `source`, the others +0.
///
/// # Safety
/// `source` is valid for reads of `min(count, 4)` elements, and the CPU has NEON.
#[inline(always)]
unsafe fn load_first_f32(source: *const f32, count: usize) -> float32x4_t {
    // SAFETY: each arm reads the elements that the caller vouches for.
    unsafe {
        match count {
            0 => vdupq_n_f32(0.0),
            1 => vld1q_lane_f32::<0>(source, vdupq_n_f32(0.0)),
            2 => vcombine_f32(vld1_f32(source), vdup_n_f32(0.0)),
            3 => vcombine_f32(vld1_f32(source), vld1_lane_f32::<0>(source.add(2), vdup_n_f32(0.0))),
            _ => vld1q_f32(source),
        }
    }
}

/// Writes the first `count` lanes (at most four) of one register.
///
/// # Safety
/// `target` is valid for writes of `min(count, 4)` elements, and the CPU has NEON.
#[inline(always)]
unsafe fn store_first_f32(target: *mut f32, count: usize, value: float32x4_t) {
    // SAFETY: each arm writes the elements that the caller vouches for.
    unsafe {
        match count {
            0 => {}
            1 => vst1q_lane_f32::<0>(target, value),
            2 => vst1_f32(target, vget_low_f32(value)),
            3 => {
                vst1_f32(target, vget_low_f32(value));
                vst1q_lane_f32::<2>(target.add(2), value);
            }
            _ => vst1q_f32(target, value),
        }
    }
}

/// The first `count` lanes (at most two) of one register from `source`, the others +0.
///
/// # Safety
/// `source` is valid for reads of `min(count, 2)` elements, and the CPU has NEON.
#[inline(always)]
unsafe fn load_first_f64(source: *const f64, count: usize) -> float64x2_t {
    // SAFETY: each arm reads the elements that the caller vouches for.
    unsafe {
        match count {
            0 => vdupq_n_f64(0.0),
            1 => vld1q_lane_f64::<0>(source, vdupq_n_f64(0.0)),
            _ => vld1q_f64(source),
        }
    }
}

/// Writes the first `count` lanes (at most two) of one register.
///
/// # Safety
/// `target` is valid for writes of `min(count, 2)` elements, and the CPU has NEON.
#[inline(always)]
unsafe fn store_first_f64(target: *mut f64, count: usize, value: float64x2_t) {
    // SAFETY: each arm writes the elements that the caller vouches for.
    unsafe {
        match count {
            0 => {}
            1 => vst1q_lane_f64::<0>(target, value),
            _ => vst1q_f64(target, value),
        }
    }
}

macro_rules! float {
    (
        $vector:ident, $transpose:ident, $elem:ty, $lanes:literal, $mask:ident, $bits:ident, $uint:ty,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $neg:ident, $set1:ident, $set1_bits:ident, $load:ident,
        $load_first:ident, $store:ident, $store_first:ident, $fma:ident, $sqrt:ident, $abs:ident, $ceq:ident,
        $cgt:ident, $cge:ident, $select:ident, $to_bits:ident, $from_bits:ident
    ) => {
        operator!($vector, Add, add, $add);
        operator!($vector, Sub, sub, $sub);
        operator!($vector, Mul, mul, $mul);
        operator!($vector, Div, div, $div);

        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                each!(Self, $neg, self)
            }
        }

        impl Vector<$elem, Neon> for $vector {
            type Mask = $mask;
            type Bits = $bits;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Neon, value: $elem) -> Self {
                Self([intrinsic!($set1(value)); 4])
            }
            #[inline(always)]
            unsafe fn load_ptr(_: Neon, source: *const $elem) -> Self {
                const STEP: usize = $lanes / 4;
                // SAFETY: the caller vouches for the pointer, the token for the features.
                unsafe {
                    Self([
                        $load(source),
                        $load(source.add(STEP)),
                        $load(source.add(2 * STEP)),
                        $load(source.add(3 * STEP)),
                    ])
                }
            }
            // A later register may begin beyond the caller's elements, hence `wrapping_add`: its count is zero then.
            #[inline(always)]
            unsafe fn load_first_ptr(_: Neon, source: *const $elem, count: usize) -> Self {
                const STEP: usize = $lanes / 4;
                debug_assert!(count <= Self::LANES);
                // SAFETY: no register's count goes beyond the caller's `count` elements.
                unsafe {
                    Self([
                        $load_first(source, count),
                        $load_first(source.wrapping_add(STEP), count.saturating_sub(STEP)),
                        $load_first(source.wrapping_add(2 * STEP), count.saturating_sub(2 * STEP)),
                        $load_first(source.wrapping_add(3 * STEP), count.saturating_sub(3 * STEP)),
                    ])
                }
            }
            #[inline(always)]
            unsafe fn store_ptr(self, target: *mut $elem) {
                const STEP: usize = $lanes / 4;
                // SAFETY: the caller vouches for the pointer, the vector for the features.
                unsafe {
                    $store(target, self.0[0]);
                    $store(target.add(STEP), self.0[1]);
                    $store(target.add(2 * STEP), self.0[2]);
                    $store(target.add(3 * STEP), self.0[3]);
                }
            }
            #[inline(always)]
            unsafe fn store_first_ptr(self, target: *mut $elem, count: usize) {
                const STEP: usize = $lanes / 4;
                debug_assert!(count <= Self::LANES);
                // SAFETY: no register's count goes beyond the caller's `count` elements.
                unsafe {
                    $store_first(target, count, self.0[0]);
                    $store_first(target.wrapping_add(STEP), count.saturating_sub(STEP), self.0[1]);
                    $store_first(target.wrapping_add(2 * STEP), count.saturating_sub(2 * STEP), self.0[2]);
                    $store_first(target.wrapping_add(3 * STEP), count.saturating_sub(3 * STEP), self.0[3]);
                }
            }
            #[inline(always)]
            unsafe fn transpose_ptr(
                _: Neon,
                source: *const $elem,
                source_stride: isize,
                target: *mut $elem,
                target_stride: usize,
            ) {
                // SAFETY: the caller vouches for the blocks, the token for the features.
                unsafe { transpose::arm::$transpose(source, source_stride, target, target_stride) }
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                each!(Self, $fma, addend, self, factor)
            }
            #[inline(always)]
            fn mul_add_low(self, factor: Self, addend: Self) -> Self {
                let [a, b, c, d] = addend.0;
                Self(intrinsic!([$fma(a, self.0[0], factor.0[0]), $fma(b, self.0[1], factor.0[1]), c, d]))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                each!(Self, $sqrt, self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                each!(Self, $abs, self)
            }
            // The instructions return NaN for NaN and +0 for zeros of both signs: not our definition.
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
                each!($mask, $ceq, self, other)
            }
            #[inline(always)]
            fn greater(self, other: Self) -> $mask {
                each!($mask, $cgt, self, other)
            }
            #[inline(always)]
            fn greater_equal(self, other: Self) -> $mask {
                each!($mask, $cge, self, other)
            }
            #[inline(always)]
            fn select(self, mask: $mask, other: Self) -> Self {
                each!(Self, $select, mask, self, other)
            }
            #[inline(always)]
            fn to_bits(self) -> $bits {
                each!($bits, $to_bits, self)
            }
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                each!(Self, $from_bits, bits)
            }
            #[inline(always)]
            fn splat_bits(_: Neon, value: u64) -> $bits {
                $bits([intrinsic!($set1_bits(value as $uint)); 4])
            }
        }
    };
}

float! {
    F32x16, f32, f32, 16, M32x16, U32x16, u32, vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32, vnegq_f32, vdupq_n_f32,
    vdupq_n_u32, vld1q_f32, load_first_f32, vst1q_f32, store_first_f32, vfmaq_f32, vsqrtq_f32, vabsq_f32,
    vceqq_f32, vcgtq_f32, vcgeq_f32, vbslq_f32, vreinterpretq_u32_f32, vreinterpretq_f32_u32
}
float! {
    F64x8, f64, f64, 8, M64x8, U64x8, u64, vaddq_f64, vsubq_f64, vmulq_f64, vdivq_f64, vnegq_f64, vdupq_n_f64,
    vdupq_n_u64, vld1q_f64, load_first_f64, vst1q_f64, store_first_f64, vfmaq_f64, vsqrtq_f64, vabsq_f64,
    vceqq_f64, vcgtq_f64, vcgeq_f64, vbslq_f64, vreinterpretq_u64_f64, vreinterpretq_f64_u64
}

macro_rules! bits {
    (
        $bits:ident, $uint:ty, $and:ident, $or:ident, $xor:ident, $add:ident, $sub:ident, $shl:ident,
        $count:ident, $int:ty
    ) => {
        impl Bits for $bits {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                each!(Self, $and, self, other)
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                each!(Self, $or, self, other)
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                each!(Self, $xor, self, other)
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                each!(Self, $add, self, other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                each!(Self, $sub, self, other)
            }
            // The forms with an immediate want an i32, and a const argument cannot be cast. A negative count shifts
            // to the right.
            #[inline(always)]
            fn shl<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                let [a, b, c, d] = self.0;
                let count = intrinsic!($count(N as $int));
                intrinsic!(Self([$shl(a, count), $shl(b, count), $shl(c, count), $shl(d, count)]))
            }
            #[inline(always)]
            fn shr<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                let [a, b, c, d] = self.0;
                let count = intrinsic!($count(-(N as $int)));
                intrinsic!(Self([$shl(a, count), $shl(b, count), $shl(c, count), $shl(d, count)]))
            }
        }
    };
}
bits!(U32x16, u32, vandq_u32, vorrq_u32, veorq_u32, vaddq_u32, vsubq_u32, vshlq_u32, vdupq_n_s32, i32);
bits!(U64x8, u64, vandq_u64, vorrq_u64, veorq_u64, vaddq_u64, vsubq_u64, vshlq_u64, vdupq_n_s64, i64);

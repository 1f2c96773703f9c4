//! AVX2 with FMA: a canonical vector is two ymm registers, so is a mask.

use super::{Bits, Isa, Kernel, Mask, Simd, Unaligned, Vector, portable, read, transpose};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The token, if the CPU has the features.
    pub fn new() -> Option<Self> {
        Isa::Avx2.is_available().then_some(Self(()))
    }
}

/// Runs `kernel` compiled for AVX2 and FMA.
///
/// # Safety
/// The CPU has the features; the token says so.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
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

impl Simd for Avx2 {
    type F32 = F32x16;
    type F64 = F64x8;
    const ISA: Isa = Isa::Avx2;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token proves that the CPU has the features.
        unsafe { run(self, kernel) }
    }
    #[inline(always)]
    fn prefetch<const FAR: bool>(self, pointer: *const u8) {
        // SAFETY: a prefetch may have any address.
        unsafe {
            if FAR {
                _mm_prefetch::<_MM_HINT_T1>(pointer.cast());
            } else {
                _mm_prefetch::<_MM_HINT_T0>(pointer.cast());
            }
        }
    }
    #[inline(always)]
    fn widen(self, x: F32x16) -> [F64x8; 2] {
        intrinsic!([
            F64x8(
                _mm256_cvtps_pd(_mm256_castps256_ps128(x.0)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x.0))
            ),
            F64x8(
                _mm256_cvtps_pd(_mm256_castps256_ps128(x.1)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(x.1))
            ),
        ])
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [F64x8; 2]) -> F32x16 {
        F32x16(
            intrinsic!(_mm256_set_m128(_mm256_cvtpd_ps(low.1), _mm256_cvtpd_ps(low.0))),
            intrinsic!(_mm256_set_m128(_mm256_cvtpd_ps(high.1), _mm256_cvtpd_ps(high.0))),
        )
    }
    #[inline(always)]
    fn split(self, x: F32x16) -> (F32x16, F32x16) {
        // With the smallest normal number's bits added, those of positive normal numbers are the signed integers from here.
        let (smallest, first) = intrinsic!((_mm256_set1_epi32(0x0080_0000), _mm256_set1_epi32(0x00ff_ffff)));
        let bits = x.to_bits();
        let normal = |half| intrinsic!(_mm256_cmpgt_epi32(_mm256_add_epi32(half, smallest), first));
        if intrinsic!(_mm256_movemask_epi8(_mm256_and_si256(normal(bits.0), normal(bits.1)))) != -1 {
            return portable::split(self, x);
        }
        let e = bits.shr::<23>().or(F32x16::splat_bits(self, 0x4b00_0000));
        let m = bits.and(F32x16::splat_bits(self, 0x007f_ffff)).or(F32x16::splat_bits(self, 0x3f80_0000));
        (F32x16::from_bits(m), F32x16::from_bits(e) - F32x16::splat(self, 8_388_608.0 + 127.0))
    }
    #[inline(always)]
    fn lookup_8(self, table: &[f32; 8], index: U32x16) -> F32x16 {
        let table: __m256 = intrinsic!(std::mem::transmute(*table));
        F32x16(
            intrinsic!(_mm256_permutevar8x32_ps(table, index.0)),
            intrinsic!(_mm256_permutevar8x32_ps(table, index.1)),
        )
    }
    // The permutation looks at three bits of the index, the blend at the sign, where the fourth is moved.
    #[inline(always)]
    fn lookup_16(self, table: &[f32; 16], index: U32x16) -> F32x16 {
        let [low, high]: [__m256; 2] = intrinsic!(std::mem::transmute(*table));
        let upper = index.shl::<28>();
        F32x16(
            intrinsic!(_mm256_blendv_ps(
                _mm256_permutevar8x32_ps(low, index.0),
                _mm256_permutevar8x32_ps(high, index.0),
                _mm256_castsi256_ps(upper.0)
            )),
            intrinsic!(_mm256_blendv_ps(
                _mm256_permutevar8x32_ps(low, index.1),
                _mm256_permutevar8x32_ps(high, index.1),
                _mm256_castsi256_ps(upper.1)
            )),
        )
    }
}

/// 16 lanes of f32, the lower eight first.
#[derive(Clone, Copy)]
pub struct F32x16(__m256, __m256);
/// 8 lanes of f64, the lower four first.
#[derive(Clone, Copy)]
pub struct F64x8(__m256d, __m256d);
/// 16 lanes of u32, the lower eight first.
#[derive(Clone, Copy)]
pub struct U32x16(__m256i, __m256i);
/// 8 lanes of u64, the lower four first.
#[derive(Clone, Copy)]
pub struct U64x8(__m256i, __m256i);
/// The truth values of an [`F32x16`]: all bits of a lane are set, or none.
#[derive(Clone, Copy)]
pub struct M32x16(__m256, __m256);
/// The truth values of an [`F64x8`]: all bits of a lane are set, or none.
#[derive(Clone, Copy)]
pub struct M64x8(__m256d, __m256d);

// One intrinsic on the lower registers, then on the upper ones.
macro_rules! both {
    ($intrinsic:ident, $a:expr) => {
        Self(intrinsic!($intrinsic($a.0)), intrinsic!($intrinsic($a.1)))
    };
    ($intrinsic:ident, $a:expr, $b:expr) => {
        Self(intrinsic!($intrinsic($a.0, $b.0)), intrinsic!($intrinsic($a.1, $b.1)))
    };
    ($intrinsic:ident, $a:expr, $b:expr, $c:expr) => {
        Self(intrinsic!($intrinsic($a.0, $b.0, $c.0)), intrinsic!($intrinsic($a.1, $b.1, $c.1)))
    };
}

macro_rules! operator {
    ($vector:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                both!($intrinsic, self, other)
            }
        }
    };
}

macro_rules! mask {
    (
        $mask:ident, $and:ident, $or:ident, $xor:ident, $movemask:ident, $cast:ident, $compare:ident, $set1:ident,
        $setr:ident($($lane:literal),*), $half:literal, $int:ty
    ) => {
        impl $mask {
            /// True in the first `count` lanes, as the masked loads and stores want it.
            #[inline(always)]
            fn first(_: Avx2, count: usize) -> (__m256i, __m256i) {
                let count = count as $int;
                let lanes = intrinsic!($setr($($lane),*));
                (
                    intrinsic!($compare($set1(count), lanes)),
                    intrinsic!($compare($set1(count - $half), lanes)),
                )
            }
        }

        impl Mask for $mask {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                both!($and, self, other)
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                both!($or, self, other)
            }
            #[inline(always)]
            fn not(self) -> Self {
                let all = intrinsic!($cast(_mm256_set1_epi64x(-1)));
                both!($xor, self, Self(all, all))
            }
            #[inline(always)]
            fn any(self) -> bool {
                intrinsic!($movemask($or(self.0, self.1))) != 0
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                let (low, high) = (intrinsic!($movemask(self.0)), intrinsic!($movemask(self.1)));
                (low | high << $half) as u32
            }
        }
    };
}
mask! {
    M32x16, _mm256_and_ps, _mm256_or_ps, _mm256_xor_ps, _mm256_movemask_ps, _mm256_castsi256_ps,
    _mm256_cmpgt_epi32, _mm256_set1_epi32, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), 8, i32
}
mask! {
    M64x8, _mm256_and_pd, _mm256_or_pd, _mm256_xor_pd, _mm256_movemask_pd, _mm256_castsi256_pd,
    _mm256_cmpgt_epi64, _mm256_set1_epi64x, _mm256_setr_epi64x(0, 1, 2, 3), 4, i64
}

macro_rules! float {
    (
        $vector:ident, $elem:ty, $lanes:literal, $mask:ident, $bits:ident, $uint:ty, $int:ty,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $set1:ident, $set1_bits:ident,
        $maskload:ident, $maskstore:ident, $fmadd:ident, $sqrt:ident, $max:ident, $min:ident,
        $cmp:ident, $blendv:ident, $to_bits:ident, $from_bits:ident, $transpose:ident
    ) => {
        operator!($vector, Add, add, $add);
        operator!($vector, Sub, sub, $sub);
        operator!($vector, Mul, mul, $mul);
        operator!($vector, Div, div, $div);

        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                let sign = Self::splat_bits(Avx2(()), 1 << (<$uint>::BITS - 1));
                Self::from_bits(self.to_bits().xor(sign))
            }
        }

        impl $vector {
            #[inline(always)]
            fn compare<const HOW: i32>(self, other: Self) -> $mask {
                $mask(intrinsic!($cmp::<HOW>(self.0, other.0)), intrinsic!($cmp::<HOW>(self.1, other.1)))
            }
        }

        impl Vector<$elem, Avx2> for $vector {
            type Mask = $mask;
            type Bits = $bits;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Avx2, value: $elem) -> Self {
                let half = intrinsic!($set1(value));
                Self(half, half)
            }
            #[inline(always)]
            unsafe fn load_ptr(_: Avx2, source: *const $elem) -> Self {
                // SAFETY: the caller vouches for the pointer, the token for the features.
                unsafe {
                    Self(
                        read(source.cast::<Unaligned<_>>()).0,
                        read(source.wrapping_add($lanes / 2).cast::<Unaligned<_>>()).0,
                    )
                }
            }
            // The upper half may begin beyond the caller's elements, hence `wrapping_add`: its mask is empty then.
            #[inline(always)]
            unsafe fn load_first_ptr(s: Avx2, source: *const $elem, count: usize) -> Self {
                debug_assert!(count <= Self::LANES);
                let (low, high) = $mask::first(s, count);
                // SAFETY: the masks keep the access to the caller's `count` elements.
                unsafe { Self($maskload(source, low), $maskload(source.wrapping_add($lanes / 2), high)) }
            }
            #[inline(always)]
            unsafe fn store_ptr(self, target: *mut $elem) {
                // SAFETY: the caller vouches for the pointer, the vector for the features.
                unsafe {
                    (*target.cast::<Unaligned<_>>()).0 = self.0;
                    (*target.wrapping_add($lanes / 2).cast::<Unaligned<_>>()).0 = self.1;
                }
            }
            #[inline(always)]
            unsafe fn store_first_ptr(self, target: *mut $elem, count: usize) {
                debug_assert!(count <= Self::LANES);
                let (low, high) = $mask::first(Avx2(()), count);
                // SAFETY: the masks keep the access to the caller's `count` elements.
                unsafe {
                    $maskstore(target, low, self.0);
                    $maskstore(target.wrapping_add($lanes / 2), high, self.1);
                }
            }
            // A masked store takes as long as a dozen others.
            #[inline(always)]
            unsafe fn store_low_ptr(self, target: *mut $elem, count: usize) {
                debug_assert!(count <= Self::LANES / 2);
                // SAFETY: the mask keeps the access to the caller's `count` elements, or they are a whole register.
                unsafe {
                    if count == Self::LANES / 2 {
                        (*target.cast::<Unaligned<_>>()).0 = self.0;
                    } else {
                        $maskstore(target, $mask::first(Avx2(()), count).0, self.0);
                    }
                }
            }
            #[inline(always)]
            unsafe fn transpose_ptr(
                _: Avx2,
                source: *const $elem,
                source_stride: isize,
                target: *mut $elem,
                target_stride: usize,
            ) {
                // SAFETY: the caller vouches for the blocks, the token for the features.
                unsafe { transpose::x86::$transpose(source, source_stride, target, target_stride) }
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                both!($fmadd, self, factor, addend)
            }
            #[inline(always)]
            fn mul_add_low(self, factor: Self, addend: Self) -> Self {
                Self(intrinsic!($fmadd(self.0, factor.0, addend.0)), addend.1)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                both!($sqrt, self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                let rest = Self::splat_bits(Avx2(()), (<$uint>::MAX >> 1) as u64);
                Self::from_bits(self.to_bits().and(rest))
            }
            // The instructions return the second operand if either is NaN or both are zero: just our definition.
            #[inline(always)]
            fn max_or_other(self, other: Self) -> Self {
                both!($max, self, other)
            }
            #[inline(always)]
            fn min_or_other(self, other: Self) -> Self {
                both!($min, self, other)
            }
            #[inline(always)]
            fn equal(self, other: Self) -> $mask {
                self.compare::<_CMP_EQ_OQ>(other)
            }
            #[inline(always)]
            fn greater(self, other: Self) -> $mask {
                self.compare::<_CMP_GT_OQ>(other)
            }
            #[inline(always)]
            fn greater_equal(self, other: Self) -> $mask {
                self.compare::<_CMP_GE_OQ>(other)
            }
            #[inline(always)]
            fn select(self, mask: $mask, other: Self) -> Self {
                both!($blendv, other, self, mask)
            }
            #[inline(always)]
            fn to_bits(self) -> $bits {
                $bits(intrinsic!($to_bits(self.0)), intrinsic!($to_bits(self.1)))
            }
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                both!($from_bits, bits)
            }
            #[inline(always)]
            fn splat_bits(_: Avx2, value: u64) -> $bits {
                let half = intrinsic!($set1_bits(value as $int));
                $bits(half, half)
            }
        }
    };
}

float! {
    F32x16, f32, 16, M32x16, U32x16, u32, i32, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps,
    _mm256_set1_ps, _mm256_set1_epi32, _mm256_maskload_ps,
    _mm256_maskstore_ps, _mm256_fmadd_ps, _mm256_sqrt_ps, _mm256_max_ps, _mm256_min_ps, _mm256_cmp_ps,
    _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_ps, avx2_f32
}
float! {
    F64x8, f64, 8, M64x8, U64x8, u64, i64, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd,
    _mm256_set1_pd, _mm256_set1_epi64x, _mm256_maskload_pd,
    _mm256_maskstore_pd, _mm256_fmadd_pd, _mm256_sqrt_pd, _mm256_max_pd, _mm256_min_pd, _mm256_cmp_pd,
    _mm256_blendv_pd, _mm256_castpd_si256, _mm256_castsi256_pd, avx2_f64
}

macro_rules! bits {
    ($bits:ident, $uint:ty, $add:ident, $sub:ident, $sll:ident, $srl:ident) => {
        impl Bits for $bits {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                both!(_mm256_and_si256, self, other)
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                both!(_mm256_or_si256, self, other)
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                both!(_mm256_xor_si256, self, other)
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                both!($add, self, other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                both!($sub, self, other)
            }
            // The forms with an immediate want an i32, and a const argument cannot be cast. The count is a constant
            // all the same, so the compiler picks the immediate form.
            #[inline(always)]
            fn shl<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                let count = intrinsic!(_mm_cvtsi32_si128(N as i32));
                Self(intrinsic!($sll(self.0, count)), intrinsic!($sll(self.1, count)))
            }
            #[inline(always)]
            fn shr<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                let count = intrinsic!(_mm_cvtsi32_si128(N as i32));
                Self(intrinsic!($srl(self.0, count)), intrinsic!($srl(self.1, count)))
            }
        }
    };
}
bits!(U32x16, u32, _mm256_add_epi32, _mm256_sub_epi32, _mm256_sll_epi32, _mm256_srl_epi32);
bits!(U64x8, u64, _mm256_add_epi64, _mm256_sub_epi64, _mm256_sll_epi64, _mm256_srl_epi64);

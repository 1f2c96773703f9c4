//! AVX-512: a canonical vector is one zmm register, a mask is a mask register.

use super::{Bits, Isa, Kernel, Mask, Simd, Unaligned, Vector, read, transpose};
use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The proof that the CPU has AVX-512 F, BW, DQ and VL, AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// The token, if the CPU has the features.
    pub fn new() -> Option<Self> {
        Isa::Avx512.is_available().then_some(Self(()))
    }
}

/// Runs `kernel` compiled for AVX-512.
///
/// # Safety
/// The CPU has the features; the token says so.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub unsafe fn run<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
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

impl Simd for Avx512 {
    type F32 = F32x16;
    type F64 = F64x8;
    const ISA: Isa = Isa::Avx512;

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
    fn lookup_8(self, table: &[f32; 8], index: U32x16) -> F32x16 {
        let table: __m256 = intrinsic!(std::mem::transmute(*table));
        F32x16(intrinsic!(_mm512_permutexvar_ps(index.0, _mm512_broadcast_f32x8(table))))
    }
    #[inline(always)]
    fn lookup_16(self, table: &[f32; 16], index: U32x16) -> F32x16 {
        let table: __m512 = intrinsic!(std::mem::transmute(*table));
        F32x16(intrinsic!(_mm512_permutexvar_ps(index.0, table)))
    }
    #[inline(always)]
    fn widen(self, x: F32x16) -> [F64x8; 2] {
        [
            F64x8(intrinsic!(_mm512_cvtps_pd(_mm512_castps512_ps256(x.0)))),
            F64x8(intrinsic!(_mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(x.0)))),
        ]
    }
    #[inline(always)]
    fn narrow(self, [low, high]: [F64x8; 2]) -> F32x16 {
        F32x16(intrinsic!(_mm512_insertf32x8::<1>(
            _mm512_castps256_ps512(_mm512_cvtpd_ps(low.0)),
            _mm512_cvtpd_ps(high.0)
        )))
    }
    #[inline(always)]
    fn scale<const FRACTION: u32>(self, x: F32x16, n: F32x16) -> F32x16 {
        F32x16(intrinsic!(_mm512_scalef_ps(x.0, n.0)))
    }
    #[inline(always)]
    fn split(self, x: F32x16) -> (F32x16, F32x16) {
        let m = intrinsic!(_mm512_getmant_ps::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_NAN>(x.0));
        (F32x16(m), F32x16(intrinsic!(_mm512_getexp_ps(x.0))))
    }
}

/// 16 lanes of f32.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);
/// 8 lanes of f64.
#[derive(Clone, Copy)]
pub struct F64x8(__m512d);
/// 16 lanes of u32.
#[derive(Clone, Copy)]
pub struct U32x16(__m512i);
/// 8 lanes of u64.
#[derive(Clone, Copy)]
pub struct U64x8(__m512i);

/// `x`, of which the compiler forgets where it came from. It made a splat of which the lower half is used too in two steps: that half from
/// memory and from it the whole, a shuffle that takes the multiply-adds' time.
#[inline]
#[target_feature(enable = "avx512f")]
fn opaque_ps(mut x: __m512) -> __m512 {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {0} */", inout(zmm_reg) x, options(pure, nomem, nostack, preserves_flags)) };
    x
}

/// [`opaque_ps`] for f64.
#[inline]
#[target_feature(enable = "avx512f")]
fn opaque_pd(x: __m512d) -> __m512d {
    _mm512_castps_pd(opaque_ps(_mm512_castpd_ps(x)))
}

macro_rules! operator {
    ($vector:ident, $trait:ident, $method:ident, $intrinsic:ident) => {
        impl $trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(intrinsic!($intrinsic(self.0, other.0)))
            }
        }
    };
}

macro_rules! mask {
    ($mask:ty) => {
        impl Mask for $mask {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn any(self) -> bool {
                self != 0
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                self.into()
            }
        }
    };
}
mask!(__mmask16);
mask!(__mmask8);

macro_rules! float {
    (
        $vector:ident, $elem:ty, $lanes:literal, $mask:ty, $bits:ident, $uint:ty, $int:ty,
        $add:ident, $sub:ident, $mul:ident, $div:ident, $set1:ident, $set1_bits:ident,
        $mask_loadu:ident, $mask_storeu:ident, $fmadd:ident, $fmadd_low:ident, $low:ident, $widen:ident, $sqrt:ident, $max:ident, $min:ident,
        $cmp:ident, $blend:ident, $to_bits:ident, $from_bits:ident, $transpose:ident, $columns:ident, $opaque:ident, $mask_loadu_low:ident
    ) => {
        operator!($vector, Add, add, $add);
        operator!($vector, Sub, sub, $sub);
        operator!($vector, Mul, mul, $mul);
        operator!($vector, Div, div, $div);

        impl Neg for $vector {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                let sign = Self::splat_bits(Avx512(()), 1 << (<$uint>::BITS - 1));
                Self::from_bits(self.to_bits().xor(sign))
            }
        }

        impl Vector<$elem, Avx512> for $vector {
            type Mask = $mask;
            type Bits = $bits;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(_: Avx512, value: $elem) -> Self {
                Self(intrinsic!($set1(value)))
            }
            #[inline(always)]
            unsafe fn load_ptr(_: Avx512, source: *const $elem) -> Self {
                // SAFETY: the caller vouches for the pointer, the token for the features.
                Self(unsafe { read(source.cast::<Unaligned<_>>()).0 })
            }
            #[inline(always)]
            unsafe fn load_first_ptr(_: Avx512, source: *const $elem, count: usize) -> Self {
                debug_assert!(count <= Self::LANES);
                // SAFETY: the mask keeps the access to the caller's `count` elements.
                Self(unsafe { $mask_loadu(first(count) as $mask, source) })
            }
            #[inline(always)]
            unsafe fn store_ptr(self, target: *mut $elem) {
                // SAFETY: the caller vouches for the pointer, the vector for the features.
                unsafe { (*target.cast::<Unaligned<_>>()).0 = self.0 }
            }
            #[inline(always)]
            unsafe fn store_first_ptr(self, target: *mut $elem, count: usize) {
                debug_assert!(count <= Self::LANES);
                // SAFETY: the mask keeps the access to the caller's `count` elements.
                unsafe { $mask_storeu(target, first(count) as $mask, self.0) }
            }
            #[inline(always)]
            unsafe fn transpose_ptr(
                _: Avx512,
                source: *const $elem,
                source_stride: isize,
                target: *mut $elem,
                target_stride: usize,
            ) {
                // SAFETY: the caller vouches for the blocks, the token for the features.
                unsafe {
                    for (i, column) in
                        transpose::x86::$transpose(source, source_stride).into_iter().enumerate()
                    {
                        Self(column).store_ptr(target.add(i * target_stride));
                    }
                }
            }
            #[inline(always)]
            unsafe fn transpose_first_ptr(
                _: Avx512,
                source: *const $elem,
                source_stride: isize,
                (rows, columns): (usize, usize),
                target: *mut $elem,
                target_stride: isize,
            ) {
                // SAFETY: as above, for the columns that are written.
                unsafe {
                    for (i, column) in
                        transpose::x86::$transpose(source, source_stride).into_iter().enumerate()
                    {
                        if i < columns {
                            let to = target.wrapping_offset(i as isize * target_stride);
                            Self(column).store_first_ptr(to, rows);
                        }
                    }
                }
            }
            #[inline(always)]
            unsafe fn load_columns_ptr(_: Avx512, source: *const $elem, stride: isize) -> [Self; 4] {
                // SAFETY: the caller vouches for the rows, the token for the features.
                unsafe { transpose::x86::$columns(source, stride) }.map(Self)
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                Self(intrinsic!($fmadd(self.0, factor.0, addend.0)))
            }
            #[inline(always)]
            fn splat_for_low(_: Avx512, value: $elem) -> Self {
                Self(intrinsic!($opaque($set1(value))))
            }
            // A register of 256 bits, so that the compiler sees nothing to be gained from whole ones.
            #[inline(always)]
            unsafe fn load_low_ptr(_: Avx512, source: *const $elem, count: usize) -> Self {
                debug_assert!(count <= Self::LANES / 2);
                // SAFETY: the mask keeps the access to the caller's `count` elements.
                Self(unsafe { $widen($mask_loadu_low(first(count) as _, source)) })
            }
            // Half as long where a register of 512 bits takes two passes.
            #[inline(always)]
            fn mul_add_low(self, factor: Self, addend: Self) -> Self {
                Self(intrinsic!($widen($fmadd_low($low(self.0), $low(factor.0), $low(addend.0)))))
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self(intrinsic!($sqrt(self.0)))
            }
            #[inline(always)]
            fn abs(self) -> Self {
                let rest = Self::splat_bits(Avx512(()), (<$uint>::MAX >> 1) as u64);
                Self::from_bits(self.to_bits().and(rest))
            }
            // The instructions return the second operand if either is NaN or both are zero: just our definition.
            #[inline(always)]
            fn max_or_other(self, other: Self) -> Self {
                Self(intrinsic!($max(self.0, other.0)))
            }
            #[inline(always)]
            fn min_or_other(self, other: Self) -> Self {
                Self(intrinsic!($min(self.0, other.0)))
            }
            #[inline(always)]
            fn equal(self, other: Self) -> $mask {
                intrinsic!($cmp::<_CMP_EQ_OQ>(self.0, other.0))
            }
            #[inline(always)]
            fn greater(self, other: Self) -> $mask {
                intrinsic!($cmp::<_CMP_GT_OQ>(self.0, other.0))
            }
            #[inline(always)]
            fn greater_equal(self, other: Self) -> $mask {
                intrinsic!($cmp::<_CMP_GE_OQ>(self.0, other.0))
            }
            #[inline(always)]
            fn select(self, mask: $mask, other: Self) -> Self {
                Self(intrinsic!($blend(mask, other.0, self.0)))
            }
            #[inline(always)]
            fn to_bits(self) -> $bits {
                $bits(intrinsic!($to_bits(self.0)))
            }
            #[inline(always)]
            fn from_bits(bits: $bits) -> Self {
                Self(intrinsic!($from_bits(bits.0)))
            }
            #[inline(always)]
            fn splat_bits(_: Avx512, value: u64) -> $bits {
                $bits(intrinsic!($set1_bits(value as $int)))
            }
        }
    };
}

/// A mask of the first `count` lanes.
#[inline(always)]
fn first(count: usize) -> u32 {
    (1_u32 << count) - 1
}

float! {
    F32x16, f32, 16, __mmask16, U32x16, u32, i32, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps,
    _mm512_set1_ps, _mm512_set1_epi32, _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps, _mm512_fmadd_ps, _mm256_fmadd_ps, _mm512_castps512_ps256, _mm512_zextps256_ps512, _mm512_sqrt_ps, _mm512_max_ps, _mm512_min_ps, _mm512_cmp_ps_mask,
    _mm512_mask_blend_ps, _mm512_castps_si512, _mm512_castsi512_ps, avx512_f32, avx512_f32_columns, opaque_ps, _mm256_maskz_loadu_ps
}
float! {
    F64x8, f64, 8, __mmask8, U64x8, u64, i64, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd,
    _mm512_set1_pd, _mm512_set1_epi64, _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd, _mm512_fmadd_pd, _mm256_fmadd_pd, _mm512_castpd512_pd256, _mm512_zextpd256_pd512, _mm512_sqrt_pd, _mm512_max_pd, _mm512_min_pd, _mm512_cmp_pd_mask,
    _mm512_mask_blend_pd, _mm512_castpd_si512, _mm512_castsi512_pd, avx512_f64, avx512_f64_columns, opaque_pd, _mm256_maskz_loadu_pd
}

macro_rules! bits {
    ($bits:ident, $uint:ty, $add:ident, $sub:ident, $slli:ident, $srli:ident) => {
        impl Bits for $bits {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                Self(intrinsic!(_mm512_and_si512(self.0, other.0)))
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                Self(intrinsic!(_mm512_or_si512(self.0, other.0)))
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                Self(intrinsic!(_mm512_xor_si512(self.0, other.0)))
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self(intrinsic!($add(self.0, other.0)))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self(intrinsic!($sub(self.0, other.0)))
            }
            #[inline(always)]
            fn shl<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                Self(intrinsic!($slli::<N>(self.0)))
            }
            #[inline(always)]
            fn shr<const N: u32>(self) -> Self {
                const { assert!(N < <$uint>::BITS) };
                Self(intrinsic!($srli::<N>(self.0)))
            }
        }
    };
}
bits!(U32x16, u32, _mm512_add_epi32, _mm512_sub_epi32, _mm512_slli_epi32, _mm512_srli_epi32);
bits!(U64x8, u64, _mm512_add_epi64, _mm512_sub_epi64, _mm512_slli_epi64, _mm512_srli_epi64);

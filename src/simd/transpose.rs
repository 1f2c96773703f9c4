//! Square blocks, transposed in registers: LANES rows of LANES elements become as many columns.
//!
//! ```text
//!   rows of 4 (f64: 2) elements are exchanged within 128 bits by two rounds of interleaving (f64: one), then the
//!   128-bit parts are exchanged between registers:
//!
//!     a0 a1 a2 a3 | ...        a0 b0 c0 d0 | a4 b4 c4 d4 | ...
//!     b0 b1 b2 b3 | ...   ->   a1 b1 c1 d1 | ...
//!     c0 c1 c2 c3 | ...        a2 b2 c2 d2 | ...
//!     d0 d1 d2 d3 | ...        a3 b3 c3 d3 | ...
//! ```
//!
//! Only moves: no bit of an element changes. All functions read rows `source_stride` apart and write rows
//! `target_stride` apart.

/// Any CPU: element by element.
///
/// # Safety
/// `source` is valid for reads, `target` for writes of N rows of N elements at their strides; they do not overlap.
#[inline(always)]
pub unsafe fn any<T: Copy, const N: usize>(
    source: *const T,
    source_stride: isize,
    target: *mut T,
    target_stride: usize,
) {
    for i in 0..N {
        for j in 0..N {
            // SAFETY: (i, j) is an element of both blocks.
            unsafe {
                *target.add(j * target_stride + i) = *source.offset(i as isize * source_stride + j as isize)
            };
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    //! AVX-512 and AVX2.

    use crate::simd::{Unaligned, read};
    use std::arch::x86_64::*;

    /// Row `i` of a block.
    ///
    /// # Safety
    /// The row is valid for reads of one register.
    #[inline(always)]
    unsafe fn row<T, R: Copy>(source: *const T, stride: isize, i: usize) -> R {
        // SAFETY: passed on.
        unsafe { read(source.offset(i as isize * stride).cast::<Unaligned<R>>()).0 }
    }

    /// Writes row `i` of a block.
    ///
    /// # Safety
    /// The row is valid for writes of one register.
    #[inline(always)]
    unsafe fn put<T, R: Copy>(target: *mut T, stride: usize, i: usize, value: R) {
        // SAFETY: passed on.
        unsafe { (*target.add(i * stride).cast::<Unaligned<R>>()).0 = value };
    }

    /// The columns of 16 rows of 16 f32.
    ///
    /// # Safety
    /// `source` is valid for reads of the rows, and the CPU has AVX-512 F.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512_f32(source: *const f32, stride: isize) -> [__m512; 16] {
        let mut r = [_mm512_setzero_ps(); 16];
        let mut t = r;
        for (i, r) in r.iter_mut().enumerate() {
            // SAFETY: the caller vouches for 16 rows of 16.
            *r = unsafe { row(source, stride, i) };
        }
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        // r[4 i + q]: 128-bit part j holds column 4 j + q of rows 4 i to 4 i + 3.
        for i in (0..16).step_by(4) {
            for q in 0..2 {
                let (a, b) = (_mm512_castps_pd(t[i + q]), _mm512_castps_pd(t[i + q + 2]));
                r[i + 2 * q] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                r[i + 2 * q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            }
        }
        for q in 0..4 {
            t[q] = _mm512_shuffle_f32x4::<0x88>(r[q], r[q + 4]);
            t[q + 4] = _mm512_shuffle_f32x4::<0xdd>(r[q], r[q + 4]);
            t[q + 8] = _mm512_shuffle_f32x4::<0x88>(r[q + 8], r[q + 12]);
            t[q + 12] = _mm512_shuffle_f32x4::<0xdd>(r[q + 8], r[q + 12]);
        }
        for i in 0..8 {
            r[i] = _mm512_shuffle_f32x4::<0x88>(t[i], t[i + 8]);
            r[i + 8] = _mm512_shuffle_f32x4::<0xdd>(t[i], t[i + 8]);
        }
        r
    }

    /// Four rows of 128 bits, `step` rows apart.
    ///
    /// # Safety
    /// The rows are valid for reads of 128 bits each.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn quarters<T>(source: *const T, stride: isize, step: usize) -> __m512 {
        // SAFETY: passed on.
        let part = |i: usize| unsafe { row::<T, __m128>(source, stride, i * step) };
        let first = _mm512_castps128_ps512(part(0));
        let second = _mm512_insertf32x4::<1>(first, part(1));
        let third = _mm512_insertf32x4::<2>(second, part(2));
        _mm512_insertf32x4::<3>(third, part(3))
    }

    /// The first four columns of 16 rows of f32.
    ///
    /// # Safety
    /// `source` is valid for reads of four elements of each row, and the CPU has AVX-512 F.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512_f32_columns(source: *const f32, stride: isize) -> [__m512; 4] {
        let mut r = [_mm512_setzero_ps(); 4];
        for (i, r) in r.iter_mut().enumerate() {
            // SAFETY: rows i, i + 4, i + 8 and i + 12 are the caller's.
            *r = unsafe { quarters(source.offset(i as isize * stride), stride, 4) };
        }
        let pairs = |a, b| (_mm512_castps_pd(a), _mm512_castps_pd(b));
        let (low, high) = (_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpackhi_ps(r[0], r[1]));
        let (low, next_low) = pairs(low, _mm512_unpacklo_ps(r[2], r[3]));
        let (high, next_high) = pairs(high, _mm512_unpackhi_ps(r[2], r[3]));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(low, next_low)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(low, next_low)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(high, next_high)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(high, next_high)),
        ]
    }

    /// The first four columns of 8 rows of f64.
    ///
    /// # Safety
    /// `source` is valid for reads of four elements of each row, and the CPU has AVX-512 F.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512_f64_columns(source: *const f64, stride: isize) -> [__m512d; 4] {
        // Row i, i + 2, i + 4 and i + 6, columns `right` and the next.
        let pair = |i: isize, right: usize| {
            // SAFETY: they are the caller's.
            _mm512_castps_pd(unsafe { quarters(source.offset(i * stride).add(right), stride, 2) })
        };
        let (a, b, c, d) = (pair(0, 0), pair(1, 0), pair(0, 2), pair(1, 2));
        [
            _mm512_unpacklo_pd(a, b),
            _mm512_unpackhi_pd(a, b),
            _mm512_unpacklo_pd(c, d),
            _mm512_unpackhi_pd(c, d),
        ]
    }

    /// The columns of 8 rows of 8 f64.
    ///
    /// # Safety
    /// `source` is valid for reads of the rows, and the CPU has AVX-512 F.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512_f64(source: *const f64, stride: isize) -> [__m512d; 8] {
        let mut r = [_mm512_setzero_pd(); 8];
        let mut t = r;
        for (i, r) in r.iter_mut().enumerate() {
            // SAFETY: the caller vouches for 8 rows of 8.
            *r = unsafe { row(source, stride, i) };
        }
        // t[2 i + q]: 128-bit part j holds column 2 j + q of rows 2 i and 2 i + 1.
        for i in 0..4 {
            t[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
        }
        for q in 0..2 {
            r[q] = _mm512_shuffle_f64x2::<0x88>(t[q], t[q + 2]);
            r[q + 2] = _mm512_shuffle_f64x2::<0xdd>(t[q], t[q + 2]);
            r[q + 4] = _mm512_shuffle_f64x2::<0x88>(t[q + 4], t[q + 6]);
            r[q + 6] = _mm512_shuffle_f64x2::<0xdd>(t[q + 4], t[q + 6]);
        }
        for i in 0..4 {
            t[i] = _mm512_shuffle_f64x2::<0x88>(r[i], r[i + 4]);
            t[i + 4] = _mm512_shuffle_f64x2::<0xdd>(r[i], r[i + 4]);
        }
        t
    }

    /// 16 x 16 f32, as four blocks of 8 x 8.
    ///
    /// # Safety
    /// As [`any`](super::any), and the CPU has AVX2.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2_f32(source: *const f32, source_stride: isize, target: *mut f32, target_stride: usize) {
        for (down, right) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            // SAFETY: the block lies within the caller's.
            let (source, target) = unsafe {
                (
                    source.offset(down as isize * source_stride).add(right),
                    target.add(right * target_stride + down),
                )
            };
            let mut r = [_mm256_setzero_ps(); 8];
            let mut t = r;
            for (i, r) in r.iter_mut().enumerate() {
                // SAFETY: as above.
                *r = unsafe { row(source, source_stride, i) };
            }
            for i in 0..4 {
                t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in [0, 4] {
                for q in 0..2 {
                    let (a, b) = (_mm256_castps_pd(t[i + q]), _mm256_castps_pd(t[i + q + 2]));
                    r[i + 2 * q] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                    r[i + 2 * q + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
                }
            }
            for q in 0..4 {
                // SAFETY: as above.
                unsafe {
                    put(target, target_stride, q, _mm256_permute2f128_ps::<0x20>(r[q], r[q + 4]));
                    put(target, target_stride, q + 4, _mm256_permute2f128_ps::<0x31>(r[q], r[q + 4]));
                }
            }
        }
    }

    /// 8 x 8 f64, as four blocks of 4 x 4.
    ///
    /// # Safety
    /// As [`any`](super::any), and the CPU has AVX2.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2_f64(source: *const f64, source_stride: isize, target: *mut f64, target_stride: usize) {
        for (down, right) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
            // SAFETY: the block lies within the caller's.
            let (source, target) = unsafe {
                (
                    source.offset(down as isize * source_stride).add(right),
                    target.add(right * target_stride + down),
                )
            };
            let mut r = [_mm256_setzero_pd(); 4];
            for (i, r) in r.iter_mut().enumerate() {
                // SAFETY: as above.
                *r = unsafe { row(source, source_stride, i) };
            }
            let even = [_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpacklo_pd(r[2], r[3])];
            let odd = [_mm256_unpackhi_pd(r[0], r[1]), _mm256_unpackhi_pd(r[2], r[3])];
            for (q, [a, b]) in [even, odd].into_iter().enumerate() {
                // SAFETY: as above.
                unsafe {
                    put(target, target_stride, q, _mm256_permute2f128_pd::<0x20>(a, b));
                    put(target, target_stride, q + 2, _mm256_permute2f128_pd::<0x31>(a, b));
                }
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub mod arm {
    //! NEON.

    use std::arch::aarch64::*;

    /// 16 x 16 f32, as blocks of 4 x 4.
    ///
    /// # Safety
    /// As [`any`](super::any), and the CPU has NEON.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn f32(source: *const f32, source_stride: isize, target: *mut f32, target_stride: usize) {
        for down in (0..16).step_by(4) {
            for right in (0..16).step_by(4) {
                // SAFETY: the block lies within the caller's.
                unsafe {
                    let source = source.offset(down as isize * source_stride).add(right);
                    let target = target.add(right * target_stride + down);
                    let row = |i: isize| vld1q_f32(source.offset(i * source_stride));
                    let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
                    let even = (vtrn1q_f32(r0, r1), vtrn1q_f32(r2, r3));
                    let odd = (vtrn2q_f32(r0, r1), vtrn2q_f32(r2, r3));
                    for (q, (a, b)) in [even, odd].into_iter().enumerate() {
                        let (a, b) = (vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b));
                        vst1q_f32(target.add(q * target_stride), vreinterpretq_f32_f64(vtrn1q_f64(a, b)));
                        vst1q_f32(
                            target.add((q + 2) * target_stride),
                            vreinterpretq_f32_f64(vtrn2q_f64(a, b)),
                        );
                    }
                }
            }
        }
    }

    /// 8 x 8 f64, as blocks of 2 x 2.
    ///
    /// # Safety
    /// As [`any`](super::any), and the CPU has NEON.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn f64(source: *const f64, source_stride: isize, target: *mut f64, target_stride: usize) {
        for down in (0..8).step_by(2) {
            for right in (0..8).step_by(2) {
                // SAFETY: the block lies within the caller's.
                unsafe {
                    let source = source.offset(down as isize * source_stride).add(right);
                    let target = target.add(right * target_stride + down);
                    let (a, b) = (vld1q_f64(source), vld1q_f64(source.offset(source_stride)));
                    vst1q_f64(target, vtrn1q_f64(a, b));
                    vst1q_f64(target.add(target_stride), vtrn2q_f64(a, b));
                }
            }
        }
    }
}

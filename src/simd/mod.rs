//! One vector type: the canonical vector has 16 lanes of f32 or 8 of f64 on every set with fused multiply-add.
//!
//! ```text
//!   avx512   f32 x 16, f64 x 8   one zmm register
//!   avx2     the same            two ymm registers
//!   neon     the same            four 128-bit registers
//!   portable f32 x 4, f64 x 2    one of `wide`, about a register of any CPU
//! ```
//!
//! A kernel body is written once, generic over a token `S: Simd`, and runs through [`Selected::run`], the only
//! place where code is compiled for a CPU feature. A token is a zero-sized value that exists only where its
//! features were detected: holding one, or a vector made with one, is the proof that the CPU has them.
//!
//! Every operation is correctly rounded and works lane by lane, so the same body gives the same bits on every
//! instruction set with a fused multiply-add. Bodies and everything that they call are `#[inline(always)]`:
//! a function that is not inlined into its wrapper would be compiled without the features.

pub mod cache;
pub mod isa;
// The exhaustive runs compile the crate a second time, with plain scalars in place of the lowest tier.
#[cfg_attr(gemmule_twin, path = "../../benches/exhaustive/twin/scalar.rs")]
pub mod portable;
pub mod transpose;

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "aarch64")]
pub mod neon;
#[cfg(test)]
pub(crate) mod tests;

pub use cache::Caches;
pub use isa::Isa;
use std::mem::MaybeUninit;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A token: the proof that this CPU has the instruction set `ISA`.
pub trait Simd: Copy + Send + Sync + 'static {
    /// The canonical vector of f32.
    type F32: Vector<f32, Self>;
    /// The canonical vector of f64.
    type F64: Vector<f64, Self>;
    /// The instruction set.
    const ISA: Isa;

    /// Runs `kernel` as a function of its own, compiled for this instruction set.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
    /// Asks for the cache line of `pointer`, which need not be valid, to be brought near: into the first cache, or
    /// (`FAR`) only the second. Changes nothing but time.
    fn prefetch<const FAR: bool>(self, pointer: *const u8);

    /// `table[index % 8]`, lane by lane.
    fn lookup_8(self, table: &[f32; 8], index: BitsOf<Self>) -> Self::F32;
    /// `table[index % 16]`, lane by lane.
    fn lookup_16(self, table: &[f32; 16], index: BitsOf<Self>) -> Self::F32;

    /// The lanes as f64, the first eight first.
    fn widen(self, x: Self::F32) -> [Self::F64; 2];
    /// The nearest f32, undoing [`widen`](Self::widen).
    fn narrow(self, x: [Self::F64; 2]) -> Self::F32;

    /// `x` times 2 to the power `floor(n)`, rounded once, where `n` is a multiple of `2^-FRACTION` in [-254, 254). Unless
    /// `floor(n)` is 0, |x| is between 2^-40 and 16; below -252 the result may be 0. NaN for an `x` that is NaN, whatever
    /// `n` is.
    #[inline(always)]
    fn scale<const FRACTION: u32>(self, x: Self::F32, n: Self::F32) -> Self::F32 {
        portable::scale::<Self, FRACTION>(self, x, n)
    }

    /// `x` as a significand in [1, 2) and the exponent: `x = m 2^e`, subnormal numbers too. Zeros give 1 and -infinity,
    /// infinity 1 and infinity, NaN two NaN, negative numbers a significand that is NaN and any exponent.
    #[inline(always)]
    fn split(self, x: Self::F32) -> (Self::F32, Self::F32) {
        portable::split(self, x)
    }
}

/// The bits of the canonical vector of f32.
pub type BitsOf<S> = <<S as Simd>::F32 as Vector<f32, S>>::Bits;

/// The canonical vector of `T` under the token `S`. Operators round to nearest even, each on its own.
pub trait Vector<T: Copy, S: Copy>:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// One truth value per lane.
    type Mask: Mask;
    /// The lanes as unsigned integers of the same width.
    type Bits: Bits;
    /// 16 for f32, 8 for f64; a quarter of that on the portable tier.
    const LANES: usize;

    /// All lanes `value`.
    fn splat(s: S, value: T) -> Self;
    /// The lanes from `source`, which has at least `LANES` elements.
    ///
    /// # Safety
    /// `source` is valid for reads of `LANES` elements.
    unsafe fn load_ptr(s: S, source: *const T) -> Self;
    /// The first `count` lanes from `source`, the others +0. Reads no other element.
    ///
    /// # Safety
    /// `count <= LANES`, and `source` is valid for reads of `count` elements.
    unsafe fn load_first_ptr(s: S, source: *const T, count: usize) -> Self;
    /// Writes all lanes.
    ///
    /// # Safety
    /// `target` is valid for writes of `LANES` elements.
    unsafe fn store_ptr(self, target: *mut T);
    /// Writes the first `count` lanes and nothing else.
    ///
    /// # Safety
    /// `count <= LANES`, and `target` is valid for writes of `count` elements.
    unsafe fn store_first_ptr(self, target: *mut T, count: usize);
    /// [`store_first_ptr`](Self::store_first_ptr) of no more than the lower half.
    ///
    /// # Safety
    /// `count <= LANES / 2`, and `target` is valid for writes of `count` elements.
    #[inline(always)]
    unsafe fn store_low_ptr(self, target: *mut T, count: usize) {
        // SAFETY: passed on.
        unsafe { self.store_first_ptr(target, count) }
    }

    /// Transposes a block of `LANES` x `LANES` elements: row i of `source`, `source_stride` apart, becomes column i of
    /// `target`, whose rows are `target_stride` apart.
    ///
    /// # Safety
    /// `source` is valid for reads, `target` for writes of the block's rows; the two do not overlap.
    unsafe fn transpose_ptr(
        s: S,
        source: *const T,
        source_stride: isize,
        target: *mut T,
        target_stride: usize,
    );

    /// Transposes the first `rows` elements of the first `columns` columns of such a block, and writes nothing else. Here
    /// `target_stride` may be any, as a view's strides are.
    ///
    /// # Safety
    /// `source` is valid for reads of the whole block; `rows` and `columns` are at most `LANES`; `target` is valid for
    /// writes of what is transposed.
    #[inline(always)]
    unsafe fn transpose_first_ptr(
        s: S,
        source: *const T,
        source_stride: isize,
        (rows, columns): (usize, usize),
        target: *mut T,
        target_stride: isize,
    ) {
        const { assert!(Self::LANES <= 16) };
        let mut block = [MaybeUninit::<T>::uninit(); 16 * 16];
        let block = block.as_mut_ptr().cast::<T>();
        // SAFETY: the block has room for LANES rows of LANES; the caller vouches for the rest.
        unsafe {
            Self::transpose_ptr(s, source, source_stride, block, Self::LANES);
            for i in 0..columns {
                let column = Self::load_ptr(s, block.add(i * Self::LANES));
                column.store_first_ptr(target.wrapping_offset(i as isize * target_stride), rows);
            }
        }
    }

    /// The first four columns of `LANES` rows, `stride` apart: lane i of vector j is element j of row i.
    ///
    /// # Safety
    /// `source` is valid for reads of four elements of each row.
    #[inline(always)]
    unsafe fn load_columns_ptr(s: S, source: *const T, stride: isize) -> [Self; 4] {
        const { assert!(Self::LANES <= 16) };
        std::array::from_fn(|j| {
            let lane = |i: usize| source.wrapping_offset(i as isize * stride + j as isize);
            // SAFETY: the caller vouches for LANES rows; lanes beyond are the first row's again.
            let lanes: [T; 16] = std::array::from_fn(|i| unsafe { read(lane(i % Self::LANES)) });
            // SAFETY: an array of at least LANES elements.
            unsafe { Self::load_ptr(s, lanes.as_ptr()) }
        })
    }

    /// `self * factor + addend`, rounded once (twice on the portable tier).
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// [`splat`](Self::splat) for both [`mul_add`](Self::mul_add) and [`mul_add_low`](Self::mul_add_low): one register for both.
    #[inline(always)]
    fn splat_for_low(s: S, value: T) -> Self {
        Self::splat(s, value)
    }

    /// [`load_first_ptr`](Self::load_first_ptr) of no more than the lower half.
    ///
    /// # Safety
    /// `count <= LANES / 2`, and `source` is valid for reads of `count` elements.
    #[inline(always)]
    unsafe fn load_low_ptr(s: S, source: *const T, count: usize) -> Self {
        // SAFETY: passed on.
        unsafe { Self::load_first_ptr(s, source, count) }
    }

    /// [`mul_add`](Self::mul_add) in the lower half of the lanes; the upper half may be anything.
    #[inline(always)]
    fn mul_add_low(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
    /// The square root.
    fn sqrt(self) -> Self;
    /// The absolute value: clears the sign bit, of NaN too.
    fn abs(self) -> Self;
    /// `if self > other { self } else { other }`: `other` if either is NaN or both are zero.
    fn max_or_other(self, other: Self) -> Self;
    /// `if self < other { self } else { other }`: `other` if either is NaN or both are zero.
    fn min_or_other(self, other: Self) -> Self;
    /// `self == other`; false for NaN.
    fn equal(self, other: Self) -> Self::Mask;
    /// `self > other`; false for NaN.
    fn greater(self, other: Self) -> Self::Mask;
    /// `self >= other`; false for NaN.
    fn greater_equal(self, other: Self) -> Self::Mask;
    /// `if mask { self } else { other }`, lane by lane.
    fn select(self, mask: Self::Mask, other: Self) -> Self;
    /// The lanes' bit patterns.
    fn to_bits(self) -> Self::Bits;
    /// The lanes with these bit patterns.
    fn from_bits(bits: Self::Bits) -> Self;
    /// Bit patterns, all `value` (cut to the width of a lane).
    fn splat_bits(s: S, value: u64) -> Self::Bits;

    /// True where the lane is NaN.
    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        self.equal(self).not()
    }

    /// The larger one; NaN if either is NaN (`self`'s first); `other` if both are zero.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.select(self.is_nan(), self.max_or_other(other))
    }

    /// The smaller one; NaN if either is NaN (`self`'s first); `other` if both are zero.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.select(self.is_nan(), self.min_or_other(other))
    }

    /// The lanes from the first `LANES` elements.
    ///
    /// # Panics
    /// If `source` is shorter.
    #[inline(always)]
    fn load(s: S, source: &[T]) -> Self {
        assert!(source.len() >= Self::LANES);
        // SAFETY: `source` has at least LANES elements.
        unsafe { Self::load_ptr(s, source.as_ptr()) }
    }

    /// The first `source.len()` lanes (at most all), the others +0.
    #[inline(always)]
    fn load_first(s: S, source: &[T]) -> Self {
        // SAFETY: the count is at most LANES and at most the slice's length.
        unsafe { Self::load_first_ptr(s, source.as_ptr(), source.len().min(Self::LANES)) }
    }

    /// Writes all lanes to the first `LANES` elements.
    ///
    /// # Panics
    /// If `target` is shorter.
    #[inline(always)]
    fn store(self, target: &mut [T]) {
        assert!(target.len() >= Self::LANES);
        // SAFETY: `target` has at least LANES elements.
        unsafe { self.store_ptr(target.as_mut_ptr()) }
    }

    /// [`transpose_ptr`](Self::transpose_ptr) of blocks that begin at the slices' first elements.
    ///
    /// # Panics
    /// If either block does not lie within its slice.
    #[inline(always)]
    fn transpose(s: S, source: &[T], source_stride: usize, target: &mut [T], target_stride: usize) {
        let last = Self::LANES - 1;
        // Saturated, a length is more than any slice has.
        let end = |stride: usize| stride.saturating_mul(last).saturating_add(Self::LANES);
        assert!(source.len() >= end(source_stride) && target.len() >= end(target_stride));
        // SAFETY: both blocks lie within their slices, which do not overlap.
        unsafe {
            Self::transpose_ptr(
                s,
                source.as_ptr(),
                source_stride as isize,
                target.as_mut_ptr(),
                target_stride,
            );
        }
    }

    /// Writes the first `target.len()` lanes (at most all).
    #[inline(always)]
    fn store_first(self, target: &mut [T]) {
        // SAFETY: the count is at most LANES and at most the slice's length.
        unsafe { self.store_first_ptr(target.as_mut_ptr(), target.len().min(Self::LANES)) }
    }
}

/// One truth value per lane.
pub trait Mask: Copy {
    /// Both.
    fn and(self, other: Self) -> Self;
    /// Either.
    fn or(self, other: Self) -> Self;
    /// The opposite.
    #[allow(clippy::should_implement_trait, reason = "beside `and` and `or`, which have no such trait")]
    fn not(self) -> Self;
    /// True if any lane is.
    fn any(self) -> bool;
    /// Bit i is lane i's; the others are 0.
    fn bits(self) -> u32;
}

/// Unsigned integers as wide as the floats: u32 or u64, one a lane. Arithmetic wraps.
pub trait Bits: Copy {
    /// Bitwise and.
    fn and(self, other: Self) -> Self;
    /// Bitwise or.
    fn or(self, other: Self) -> Self;
    /// Bitwise exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Sum, wrapping.
    fn add(self, other: Self) -> Self;
    /// Difference, wrapping.
    fn sub(self, other: Self) -> Self;
    /// Shifted left by N bits, fewer than a lane has: more does not compile.
    fn shl<const N: u32>(self) -> Self;
    /// Shifted right by N bits, fewer than a lane has, zeros coming in: more does not compile.
    fn shr<const N: u32>(self) -> Self;
}

/// A kernel: its data, and its body for any instruction set.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The body. Mark it `#[inline(always)]`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// A register in memory, at any address.
///
/// The unaligned intrinsics do the same, but with debug assertions they check that memory and register do not overlap,
/// and so send every vector over the stack: kernels took up to three times as long in a user's debug build.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<R>(R);

/// `*pointer` without the test for null that debug assertions put before it: ten of them in the innermost loop of a
/// matrix product took a quarter of its time.
///
/// # Safety
/// As for `*pointer`: aligned, and valid for reads.
#[inline(always)]
#[allow(clippy::transmute_ptr_to_ref, reason = "`&*pointer` is tested too")]
pub unsafe fn read<T: Copy>(pointer: *const T) -> T {
    // SAFETY: the caller vouches for the pointer; the reference lives for this line.
    *unsafe { std::mem::transmute::<*const T, &T>(pointer) }
}

#[derive(Clone, Copy)]
enum Token {
    Portable(portable::Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

/// An instruction set that was found on this CPU.
#[derive(Clone, Copy)]
pub struct Selected(Token);

impl Selected {
    /// `isa`, if this CPU has it.
    pub fn new(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Portable => Some(Self(Token::Portable(portable::Portable))),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::Avx2::new().map(|token| Self(Token::Avx2(token))),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::Avx512::new().map(|token| Self(Token::Avx512(token))),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => neon::Neon::new().map(|token| Self(Token::Neon(token))),
            #[allow(unreachable_patterns, reason = "which sets remain depends on the target")]
            _ => None,
        }
    }

    /// Which one.
    pub fn isa(self) -> Isa {
        match self.0 {
            Token::Portable(_) => Isa::Portable,
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_) => Isa::Avx2,
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => Isa::Avx512,
            #[cfg(target_arch = "aarch64")]
            Token::Neon(_) => Isa::Neon,
        }
    }

    /// Runs `kernel`, compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Token::Portable(token) => token.call(kernel),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the CPU has the features.
            Token::Avx2(token) => unsafe { avx2::run(token, kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the CPU has the features.
            Token::Avx512(token) => unsafe { avx512::run(token, kernel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the token proves that the CPU has the features.
            Token::Neon(token) => unsafe { neon::run(token, kernel) },
        }
    }
}

/// A float that has a canonical vector under every token.
pub trait Scalar: Copy + Send + Sync + 'static {
    /// Its canonical vector.
    type V<S: Simd>: Vector<Self, S>;
}

impl Scalar for f32 {
    type V<S: Simd> = S::F32;
}

impl Scalar for f64 {
    type V<S: Simd> = S::F64;
}

//! Every operation on every instruction set of this CPU, lane by lane, against scalar Rust.

mod functions;
#[cfg(unix)]
pub(crate) mod guard;
#[cfg(unix)]
mod memory;
#[cfg(unix)]
mod transpose;

use super::{Bits, Isa, Kernel, Mask, Scalar, Selected, Simd, Vector};
use crate::Error;
use num_traits::Float;
use std::fmt::Debug;
use std::marker::PhantomData;

/// What the tests need of f32 and f64 beyond `Float`.
trait Number: Scalar + Float + Debug {
    /// Of the canonical vector of every instruction set but the portable one, whose vectors are shorter.
    const MOST_LANES: usize;
    const WIDTH: u32;
    fn bits(self) -> u64;
    /// From the low bits.
    fn with_bits(bits: u64) -> Self;
}

macro_rules! number {
    ($elem:ty, $uint:ty, $lanes:literal) => {
        impl Number for $elem {
            const MOST_LANES: usize = $lanes;
            const WIDTH: u32 = <$uint>::BITS;
            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }
            fn with_bits(bits: u64) -> Self {
                Self::from_bits(bits as $uint)
            }
        }
    };
}
number!(f32, u32, 16);
number!(f64, u64, 8);

/// Those of this CPU. `GEMMULE_EXPECT_ISA` (names with commas) fails the run if one is missing.
fn selections() -> Vec<Selected> {
    for name in std::env::var("GEMMULE_EXPECT_ISA").iter().flat_map(|names| names.split(',')) {
        assert!(name.parse::<Isa>().is_ok_and(Isa::is_available), "{name} was expected and is not exercised");
    }
    Isa::available().map(|isa| Selected::new(isa).expect("an available set")).collect()
}

/// Lanes of the canonical vector of `T`.
fn lanes<T: Number>(selected: Selected) -> usize {
    let lanes = selected.run(Lanes::<T>(PhantomData));
    assert_eq!(lanes, selected.isa().lanes(size_of::<T>()), "{}", selected.isa());
    lanes
}

struct Lanes<T>(PhantomData<T>);

impl<T: Number> Kernel for Lanes<T> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        T::V::<S>::LANES
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [-2, 2) with a full significand: sums and products of such values round.
    fn moderate<T: Number>(&mut self) -> T {
        T::from(self.next() as i64).unwrap() / T::from(1_u64 << 62).unwrap()
    }
}

/// The values that break things.
fn nasty<T: Number>() -> Vec<T> {
    let one = T::one();
    let next_to_one = one + T::epsilon();
    let subnormal = T::with_bits(1);
    let largest_subnormal = T::with_bits(T::min_positive_value().bits() - 1);
    let quiet = T::nan();
    let signalling = T::with_bits((T::infinity().bits()) | 5);
    let positive = [
        T::zero(),
        one,
        one + one,
        next_to_one,
        one + T::epsilon() + T::epsilon(),
        T::from(0.1).unwrap(),
        T::epsilon(),
        subnormal,
        largest_subnormal,
        T::min_positive_value(),
        T::max_value(),
        T::max_value().sqrt(),
        T::infinity(),
        quiet,
        signalling,
    ];
    positive.into_iter().flat_map(|x| [x, T::with_bits(x.bits() ^ (1 << (T::WIDTH - 1)))]).collect()
}

/// Columns of operands: every triple of nasty values, then random ones.
fn operands<T: Number>() -> [Vec<T>; 3] {
    let nasty = nasty::<T>();
    let mut columns = [const { Vec::new() }; 3];
    let mut push = |row: [T; 3]| columns.iter_mut().zip(row).for_each(|(column, x)| column.push(x));
    for &a in &nasty {
        for &b in &nasty {
            nasty.iter().for_each(|&c| push([a, b, c]));
        }
    }
    let mut random = Random(1);
    for _ in 0..20_000 {
        push(std::array::from_fn(|_| T::with_bits(random.next())));
        push(std::array::from_fn(|_| random.moderate()));
        // Equal ones, and an addend that cancels the product but for its rounding.
        let (a, b) = (random.moderate::<T>(), random.moderate::<T>());
        push([a, a, b]);
        push([a, b, -(a * b)]);
    }
    // One more than a multiple of the lanes, so that each round below meets every lane.
    while columns[0].len() % T::MOST_LANES != 1 {
        columns.iter_mut().for_each(|column| column.push(T::one()));
    }
    columns
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Neg,
    MulAdd,
    MulAddLow,
    Sqrt,
    Abs,
    MaxOrOther,
    MinOrOther,
    Max,
    Min,
    Equal,
    Greater,
    GreaterEqual,
    IsNan,
    MaskAnd,
    MaskOr,
    MaskNot,
    BitsAnd,
    BitsOr,
    BitsXor,
    BitsAdd,
    BitsSub,
    Copy,
}
use Operation::*;

const OPERATIONS: [Operation; 26] = [
    Add,
    Sub,
    Mul,
    Div,
    Neg,
    MulAdd,
    MulAddLow,
    Sqrt,
    Abs,
    MaxOrOther,
    MinOrOther,
    Max,
    Min,
    Equal,
    Greater,
    GreaterEqual,
    IsNan,
    MaskAnd,
    MaskOr,
    MaskNot,
    BitsAnd,
    BitsOr,
    BitsXor,
    BitsAdd,
    BitsSub,
    Copy,
];

impl Operation {
    /// These round, and so may change a NaN's payload; the others are exact to the bit for NaN too.
    fn rounds(self) -> bool {
        matches!(self, Add | Sub | Mul | Div | MulAdd | MulAddLow | Sqrt)
    }

    /// The definition, in scalar Rust.
    fn expected<T: Number>(self, fused: bool, [a, b, c]: [T; 3]) -> T {
        let choose = |condition: bool| if condition { a } else { b };
        let bits = |operation: fn(u64, u64) -> u64| T::with_bits(operation(a.bits(), b.bits()));
        let sign = 1 << (T::WIDTH - 1);
        match self {
            Add => a + b,
            Sub => a - b,
            Mul => a * b,
            Div => a / b,
            Neg => T::with_bits(a.bits() ^ sign),
            MulAdd | MulAddLow if fused => a.mul_add(b, c),
            MulAdd | MulAddLow => a * b + c,
            Sqrt => a.sqrt(),
            Abs => T::with_bits(a.bits() & !sign),
            MaxOrOther => choose(a > b),
            MinOrOther => choose(a < b),
            Max => choose(a.is_nan() || a > b),
            Min => choose(a.is_nan() || a < b),
            Equal => choose(a == b),
            Greater => choose(a > b),
            GreaterEqual => choose(a >= b),
            IsNan => choose(a.is_nan()),
            MaskAnd => choose(a > b && b >= c),
            MaskOr => choose(a > b || b >= c),
            MaskNot => choose(a <= b || a.is_nan() || b.is_nan()),
            BitsAnd => bits(|a, b| a & b),
            BitsOr => bits(|a, b| a | b),
            BitsXor => bits(|a, b| a ^ b),
            BitsAdd => bits(u64::wrapping_add),
            BitsSub => bits(u64::wrapping_sub),
            Copy => a,
        }
    }
}

/// One operation over columns of a whole number of vectors.
struct Apply<'a, T> {
    operation: Operation,
    columns: [&'a [T]; 3],
    output: &'a mut [T],
}

impl<T: Number> Kernel for Apply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = T::V::<S>::LANES;
        for (i, target) in self.output.chunks_exact_mut(lanes).enumerate() {
            let [a, b, c] = self.columns.map(|column| T::V::<S>::load(s, &column[i * lanes..]));
            let (x, y) = (a.to_bits(), b.to_bits());
            let result = match self.operation {
                Add => a + b,
                Sub => a - b,
                Mul => a * b,
                Div => a / b,
                Neg => -a,
                MulAdd => a.mul_add(b, c),
                MulAddLow => {
                    // The lower half of what it makes, the upper one of another operation.
                    a.mul_add(b, c).store(target);
                    let low = &mut target[..lanes / 2];
                    low.fill(T::zero());
                    a.mul_add_low(b, c).store_first(low);
                    continue;
                }
                Sqrt => a.sqrt(),
                Abs => a.abs(),
                MaxOrOther => a.max_or_other(b),
                MinOrOther => a.min_or_other(b),
                Max => a.max(b),
                Min => a.min(b),
                Equal => a.select(a.equal(b), b),
                Greater => a.select(a.greater(b), b),
                GreaterEqual => a.select(a.greater_equal(b), b),
                IsNan => a.select(a.is_nan(), b),
                MaskAnd => a.select(a.greater(b).and(b.greater_equal(c)), b),
                MaskOr => a.select(a.greater(b).or(b.greater_equal(c)), b),
                MaskNot => a.select(a.greater(b).not(), b),
                BitsAnd => T::V::<S>::from_bits(x.and(y)),
                BitsOr => T::V::<S>::from_bits(x.or(y)),
                BitsXor => T::V::<S>::from_bits(x.xor(y)),
                BitsAdd => T::V::<S>::from_bits(x.add(y)),
                BitsSub => T::V::<S>::from_bits(x.sub(y)),
                Copy => a,
            };
            result.store(target);
        }
    }
}

fn check_operations<T: Number>() {
    let columns = operands::<T>();
    let rows = columns[0].len();
    for selected in selections() {
        let (fused, lanes) = (selected.isa().has_fma(), lanes::<T>(selected));
        for operation in OPERATIONS {
            // Rows modulo lanes is one: round `shift` begins one row further, so every row meets every lane.
            for shift in 0..lanes {
                let whole = (rows - shift) / lanes * lanes;
                let inputs = columns.each_ref().map(|column| &column[shift..shift + whole]);
                let mut output = vec![T::one(); whole];
                selected.run(Apply { operation, columns: inputs, output: &mut output });
                for (i, &got) in output.iter().enumerate() {
                    let row = inputs.map(|column| column[i]);
                    let want = operation.expected(fused, row);
                    let same =
                        got.bits() == want.bits() || operation.rounds() && got.is_nan() && want.is_nan();
                    let lane = i % lanes;
                    assert!(
                        same,
                        "{} {operation:?}{row:?}, lane {lane}: {got:?}, not {want:?}",
                        selected.isa()
                    );
                }
            }
        }
    }
}

#[test]
fn operations_f32() {
    check_operations::<f32>();
}

#[test]
fn operations_f64() {
    check_operations::<f64>();
}

/// Shifts by N, left and right, of the bits of `input`.
struct Shift<'a, T, const N: u32> {
    input: &'a [T],
    left: &'a mut [T],
    right: &'a mut [T],
}

impl<T: Number, const N: u32> Kernel for Shift<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let bits = T::V::<S>::load(s, self.input).to_bits();
        T::V::<S>::from_bits(bits.shl::<N>()).store(self.left);
        T::V::<S>::from_bits(bits.shr::<N>()).store(self.right);
    }
}

fn check_shift<T: Number, const N: u32>() {
    let mut random = Random(2);
    for selected in selections() {
        for _ in 0..100 {
            let input: Vec<T> = (0..lanes::<T>(selected)).map(|_| T::with_bits(random.next())).collect();
            let (mut left, mut right) = (input.clone(), input.clone());
            selected.run(Shift::<T, N> { input: &input, left: &mut left, right: &mut right });
            for i in 0..input.len() {
                let bits = input[i].bits();
                assert_eq!(
                    left[i].bits(),
                    T::with_bits(bits << N).bits(),
                    "{} {bits:#x} << {N}",
                    selected.isa()
                );
                assert_eq!(right[i].bits(), bits >> N, "{} {bits:#x} >> {N}", selected.isa());
            }
        }
    }
}

fn check_shifts<T: Number>() {
    check_shift::<T, 0>();
    check_shift::<T, 1>();
    check_shift::<T, 2>();
    check_shift::<T, 7>();
    check_shift::<T, 8>();
    check_shift::<T, 9>();
    check_shift::<T, 16>();
    check_shift::<T, 20>();
    check_shift::<T, 23>();
    check_shift::<T, 31>();
}

#[test]
fn shifts_f32() {
    check_shifts::<f32>();
}

#[test]
fn shifts_f64() {
    check_shifts::<f64>();
    check_shift::<f64, 32>();
    check_shift::<f64, 33>();
    check_shift::<f64, 52>();
    check_shift::<f64, 63>();
}

/// `any` and `bits` of the mask that has the bits of `pattern`, and what `select` makes of it: 1 where true, else 0.
struct Pattern<'a, T> {
    pattern: usize,
    output: &'a mut [T],
}

impl<T: Number> Kernel for Pattern<'_, T> {
    type Output = (bool, u32);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (bool, u32) {
        for (lane, x) in self.output.iter_mut().enumerate() {
            *x = if self.pattern >> lane & 1 == 1 { T::one() } else { -T::one() };
        }
        let zero = T::V::<S>::splat(s, T::zero());
        let mask = T::V::<S>::load(s, self.output).greater(zero);
        T::V::<S>::splat(s, T::one()).select(mask, zero).store(self.output);
        (mask.any(), mask.bits())
    }
}

fn check_masks<T: Number>() {
    for selected in selections() {
        let mut output = vec![T::zero(); lanes::<T>(selected)];
        for pattern in 0..1_usize << output.len() {
            let (any, bits) = selected.run(Pattern { pattern, output: &mut output });
            assert_eq!(any, pattern != 0, "{} {pattern:#x}", selected.isa());
            assert_eq!(bits as usize, pattern, "{}", selected.isa());
            for (lane, x) in output.iter().enumerate() {
                assert_eq!(
                    x.is_one(),
                    pattern >> lane & 1 == 1,
                    "{} {pattern:#x} lane {lane}",
                    selected.isa()
                );
            }
        }
    }
}

#[test]
fn masks_f32() {
    check_masks::<f32>();
}

#[test]
fn masks_f64() {
    check_masks::<f64>();
}

/// A value and a bit pattern in all lanes.
struct Splat<'a, T> {
    value: T,
    pattern: u64,
    values: &'a mut [T],
    patterns: &'a mut [T],
}

impl<T: Number> Kernel for Splat<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        T::V::<S>::splat(s, self.value).store(self.values);
        T::V::<S>::from_bits(T::V::<S>::splat_bits(s, self.pattern)).store(self.patterns);
    }
}

fn check_splat<T: Number>() {
    for selected in selections() {
        for value in nasty::<T>() {
            let pattern = value.bits() ^ 0xfedc_ba98_7654_3210;
            let mut values = vec![T::zero(); lanes::<T>(selected)];
            let mut patterns = values.clone();
            selected.run(Splat { value, pattern, values: &mut values, patterns: &mut patterns });
            assert!(values.iter().all(|x| x.bits() == value.bits()), "{} {value:?}", selected.isa());
            let cut = T::with_bits(pattern).bits();
            assert!(patterns.iter().all(|x| x.bits() == cut), "{} {pattern:#x}", selected.isa());
        }
    }
}

#[test]
fn splat() {
    check_splat::<f32>();
    check_splat::<f64>();
}

/// Which instruction set a body is compiled for.
struct WhichIsa;

impl Kernel for WhichIsa {
    type Output = Isa;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Isa {
        S::ISA
    }
}

const ALL: [Isa; 4] = [Isa::Portable, Isa::Neon, Isa::Avx2, Isa::Avx512];

#[test]
fn selected_only_where_available() {
    for isa in ALL {
        let selected = Selected::new(isa);
        assert_eq!(selected.is_some(), isa.is_available(), "{isa}");
        assert_eq!(Isa::available().any(|other| other == isa), isa.is_available(), "{isa}");
        if let Some(selected) = selected {
            assert_eq!(selected.isa(), isa);
            assert_eq!(selected.run(WhichIsa), isa);
        }
    }
    assert_eq!(Isa::available().last(), Some(Isa::Portable));
    let foreign: &[Isa] = match std::env::consts::ARCH {
        "x86_64" => &[Isa::Neon],
        "aarch64" => &[Isa::Avx2, Isa::Avx512],
        _ => &[Isa::Neon, Isa::Avx2, Isa::Avx512],
    };
    assert!(foreign.iter().all(|&isa| Selected::new(isa).is_none()));
}

#[test]
fn isa_names() {
    for isa in ALL {
        assert_eq!(isa.name().parse::<Isa>().unwrap(), isa);
        assert_eq!(isa.to_string(), isa.name());
        assert_eq!(isa.has_fma(), isa != Isa::Portable);
    }
    assert_eq!(format!("[{:>8}]", Isa::Avx2), "[    avx2]");
    for unknown in ["", "AVX2", "avx", " avx2", "avx512f", "sse2"] {
        let error = unknown.parse::<Isa>().unwrap_err();
        let Error::Isa { requested, available } = &error else { panic!("{error}") };
        assert_eq!(requested, unknown);
        let names: Vec<_> = Isa::available().map(Isa::name).collect();
        assert_eq!(*available, names.join(", "));
        assert!(error.to_string().contains("portable"), "{error}");
    }
}

/// What the CPU says of its caches is in the range of what is built, the same each time, and what Linux says.
#[test]
fn caches_are_sane() {
    let caches = super::Caches::detect();
    assert_eq!(caches, super::Caches::detect());
    assert!((8 << 10..=1 << 20).contains(&caches.l1), "{caches:?}");
    assert!((64 << 10..=64 << 20).contains(&caches.l2), "{caches:?}");
    assert!(caches.l1 <= caches.l2 && caches.l1.is_multiple_of(1 << 10), "{caches:?}");
    assert!(caches.l3 == 0 || caches.l3 >= caches.l2 / 2, "{caches:?}");
    // Linux knows too, on most systems; cores may differ.
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).ok().map(|x| x.trim().to_owned());
    for (level, found) in [("1", caches.l1), ("2", caches.l2), ("3", caches.l3)] {
        let mut sizes = Vec::new();
        for (cpu, index) in (0..64).flat_map(|cpu| (0..8).map(move |index| (cpu, index))) {
            let path = |name| format!("/sys/devices/system/cpu/cpu{cpu}/cache/index{index}/{name}").into();
            let data = read(path("type")).is_some_and(|kind| kind != "Instruction");
            if data && read(path("level")).as_deref() == Some(level) {
                sizes.extend(read(path("size")));
            }
        }
        assert!(
            sizes.is_empty() || sizes.contains(&format!("{}K", found >> 10)),
            "{caches:?} {level}: {sizes:?}"
        );
    }
}

//! Runs one function over its inputs, block by block.
//!
//! ```text
//!   block of 65,536 inputs ─┬─> avx512 ─┐
//!                           ├─> avx2   ─┤ the same bits? ──> hash
//!                           ├─> twin   ─┘      │
//!                           ├─> portable ──────┼──> hash
//!                           └─> oracle (once) ─┴──> errors
//! ```

use crate::oracle::{Row, Unit};
use crate::ours::functions::Function;
use crate::{ours, twin};
use gemmule::{Context, Isa, Parallelism};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[path = "../../support/inputs.rs"]
mod inputs;
pub use inputs::Patterns;

const BLOCK: usize = 1 << 16;

/// The largest error, and the input that has it: the lowest pattern of several.
#[derive(Clone, Copy, Debug)]
pub struct Worst {
    pub error: f64,
    pub at: u32,
}

impl Worst {
    const NONE: Self = Self { error: 0.0, at: 0 };

    fn merge(&mut self, other: Self) {
        if other.error > self.error || (other.error == self.error && other.error > 0.0 && other.at < self.at)
        {
            *self = other;
        }
    }
}

/// What a run of a function has found.
pub struct Found {
    /// With fused multiply-add; `None` if this CPU has no such instruction set.
    pub fused: Option<Worst>,
    pub portable: Worst,
    /// Hashes of all results in the order of the inputs.
    pub fused_hash: Option<u64>,
    pub portable_hash: u64,
    /// Differences between instruction sets that should give the same bits, or between places; a few of them.
    pub differences: Vec<String>,
    /// How many differences.
    pub different: u64,
}

/// The instruction sets of this CPU.
pub struct Machine {
    /// Those with fused multiply-add.
    pub fused: Vec<Context>,
    portable: Context,
    /// Of the twin, whose only tier is its portable one.
    twin: gemmule_twin::Context,
}

impl Machine {
    pub fn new() -> Result<Self, String> {
        let context = |isa| {
            let context = Context::new(isa).map_err(|error| error.to_string())?;
            Ok::<_, String>(context.with_parallelism(Parallelism::Serial))
        };
        let fused: Result<_, _> = Isa::available().filter(|isa| isa.has_fma()).map(context).collect();
        let twin =
            gemmule_twin::Context::new(gemmule_twin::Isa::Portable).map_err(|error| error.to_string())?;
        Ok(Self { fused: fused?, portable: context(Isa::Portable)?, twin })
    }
}

/// A pair of the same function: the crate's and the twin's.
pub struct Pair {
    pub ours: Function,
    pub twin: twin::functions::Function,
}

impl Pair {
    /// All functions.
    pub fn all() -> Vec<Self> {
        let (ours, twin) = (ours::functions::all(), twin::functions::all());
        assert_eq!(ours.len(), twin.len());
        ours.into_iter().zip(twin).map(|(ours, twin)| Self { ours, twin }).collect()
    }
}

/// What one block has found.
#[derive(Clone, Copy, Default)]
struct Hashes {
    fused: u64,
    portable: u64,
}

/// Runs a function over `patterns`, and over the edges if these are not all.
pub fn run(pair: &Pair, row: &Row, machine: &Machine, patterns: Patterns, threads: usize) -> Found {
    let edges = if patterns.count() < 1 << 32 { inputs::edges() } else { Vec::new() };
    let regular = patterns.count().div_ceil(BLOCK as u64);
    let blocks = regular + edges.len().div_ceil(BLOCK) as u64;
    let next = AtomicU64::new(0);
    let hashes = Mutex::new(vec![Hashes::default(); blocks as usize]);
    let found = Mutex::new((Worst::NONE, Worst::NONE, Vec::new(), 0_u64));
    let work = || {
        let mut worker = Worker::new(pair, row, machine);
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                break;
            }
            worker.input.clear();
            if block < regular {
                let begin = block * BLOCK as u64;
                let end = patterns.count().min(begin + BLOCK as u64);
                worker.input.extend((begin..end).map(|number| f32::from_bits(patterns.get(number))));
            } else {
                let begin = (block - regular) as usize * BLOCK;
                let end = edges.len().min(begin + BLOCK);
                worker.input.extend(edges[begin..end].iter().map(|&pattern| f32::from_bits(pattern)));
            }
            // At the edges, and in some of the other blocks, each result is computed again at other places.
            let places = block >= regular || block.is_multiple_of(1021);
            let hash = worker.block(places);
            hashes.lock().expect("no panic")[block as usize] = hash;
        }
        let mut found = found.lock().expect("no panic");
        found.0.merge(worker.fused);
        found.1.merge(worker.portable);
        found.2.append(&mut worker.differences);
        found.3 += worker.different;
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let hashes = hashes.into_inner().expect("no panic");
    let (fused, portable, mut differences, different) = found.into_inner().expect("no panic");
    differences.sort();
    differences.truncate(Worker::EXAMPLES);
    let has_fused = !machine.fused.is_empty();
    Found {
        fused: has_fused.then_some(fused),
        portable,
        fused_hash: has_fused.then(|| hashes.iter().fold(HASH_START, |hash, block| step(hash, block.fused))),
        portable_hash: hashes.iter().fold(HASH_START, |hash, block| step(hash, block.portable)),
        differences,
        different,
    }
}

/// FNV-1a over words instead of bytes.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x0100_0000_01b3)
}

/// The hash of results, with one word for all NaNs.
fn hash(values: &[f32]) -> u64 {
    values
        .iter()
        .fold(HASH_START, |hash, x| step(hash, if x.is_nan() { u64::MAX } else { u64::from(x.to_bits()) }))
}

/// NaN is one class: its sign and payload are not specified.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// What a thread needs.
struct Worker<'a> {
    pair: &'a Pair,
    row: &'a Row,
    machine: &'a Machine,
    ones: Vec<f32>,
    input: Vec<f32>,
    exact: Vec<f64>,
    /// The results of the first instruction set with fused multiply-add, of another one, of the portable tier.
    first: Vec<f32>,
    other: Vec<f32>,
    two_roundings: Vec<f32>,
    fused: Worst,
    portable: Worst,
    differences: Vec<String>,
    different: u64,
}

impl<'a> Worker<'a> {
    const EXAMPLES: usize = 5;

    fn new(pair: &'a Pair, row: &'a Row, machine: &'a Machine) -> Self {
        let zeros = || vec![0.0; BLOCK];
        Self {
            pair,
            row,
            machine,
            ones: vec![1.0; BLOCK],
            input: Vec::with_capacity(BLOCK),
            exact: vec![0.0; BLOCK],
            first: zeros(),
            other: zeros(),
            two_roundings: zeros(),
            fused: Worst::NONE,
            portable: Worst::NONE,
            differences: Vec::new(),
            different: 0,
        }
    }

    fn block(&mut self, places: bool) -> Hashes {
        let count = self.input.len();
        let mut hashes = Hashes::default();
        self.pair.ours.run(&self.machine.portable, &self.input, &self.ones, &mut self.two_roundings[..count]);
        hashes.portable = hash(&self.two_roundings[..count]);
        for number in 0..self.machine.fused.len() {
            let context = &self.machine.fused[number];
            let output = if number == 0 { &mut self.first[..count] } else { &mut self.other[..count] };
            self.pair.ours.run(context, &self.input, &self.ones, output);
            if number == 0 {
                hashes.fused = hash(output);
            } else {
                self.compare(context.isa().name());
            }
            if places {
                self.places(&self.machine.fused[number].clone(), number == 0);
            }
        }
        if !self.machine.fused.is_empty() {
            let output = &mut self.other[..count];
            self.pair.twin.run(&self.machine.twin, &self.input, &self.ones, output);
            self.compare("the scalar twin");
        }
        let (low, high) = self.row.domain;
        for (&x, exact) in self.input.iter().zip(&mut self.exact) {
            let x = f64::from(x);
            *exact = if x < low || x > high { OUTSIDE } else { (self.row.exact)(x) };
        }
        let exact = &self.exact[..count];
        if !self.machine.fused.is_empty() {
            self.fused = largest(self.row.unit, &self.input, &self.first, exact, self.fused);
        }
        self.portable = largest(self.row.unit, &self.input, &self.two_roundings, exact, self.portable);
        hashes
    }

    /// Compares `other` with `first`.
    fn compare(&mut self, name: &str) {
        let count = self.input.len();
        let (first, other) = (&self.first[..count], &self.other[..count]);
        // Without a branch, so that the compiler puts lanes side by side.
        if first.iter().zip(other).fold(true, |all, (a, b)| all & (a.to_bits() == b.to_bits())) {
            return;
        }
        for i in 0..count {
            if !same(self.first[i], self.other[i]) {
                self.differ(name, self.input[i], self.other[i], self.first[i]);
            }
        }
    }

    fn differ(&mut self, name: &str, x: f32, got: f32, expected: f32) {
        self.different += 1;
        if self.differences.len() < Self::EXAMPLES {
            let (x, function) = (format!("{:#010x} ({x:e})", x.to_bits()), &self.pair.ours.name);
            self.differences.push(format!("{function} at {x}: {name} gives {got:e}, not {expected:e}"));
        }
    }

    /// The results again, in pieces of other lengths and offsets, down to single elements: they must be the same.
    fn places(&mut self, context: &Context, is_first: bool) {
        let mut piece = [0.0; 37];
        let (mut begin, mut length) = (0, 1);
        while begin < self.input.len() {
            let end = self.input.len().min(begin + length);
            let output = &mut piece[..end - begin];
            self.pair.ours.run(context, &self.input[begin..end], &self.ones, output);
            for (i, &got) in (begin..end).zip(&piece) {
                let expected = if is_first { self.first[i] } else { self.other[i] };
                if !same(got, expected) {
                    let place = format!("{} in a piece of {length}", context.isa());
                    self.differ(&place, self.input[i], got, expected);
                }
            }
            begin = end;
            length = length % piece.len() + 1;
        }
    }
}

/// In place of the exact result where the input is outside the domain. No oracle gives this NaN.
const OUTSIDE: f64 = f64::from_bits(0x7ff8_0000_dead_beef);

/// The largest error of `got`, if above `worst`.
fn largest(unit: Unit, input: &[f32], got: &[f32], exact: &[f64], mut worst: Worst) -> Worst {
    let least = match unit {
        Unit::Ulp => 0.0,
        Unit::OrShareOf(largest) => largest / f64::from(1 << 24),
    };
    const CHUNK: usize = 64;
    for ((input, got), exact) in input.chunks(CHUNK).zip(got.chunks(CHUNK)).zip(exact.chunks(CHUNK)) {
        // Most have none that is worse. Without a branch, so that the compiler puts lanes side by side.
        let mut none = true;
        for (&got, &exact) in got.iter().zip(exact) {
            let difference = (f64::from(got) - exact).abs();
            none &=
                (difference <= worst.error * larger(spacing(exact), least)) & (got != 0.0) & (exact != 0.0);
        }
        if none {
            continue;
        }
        for ((&x, &got), &exact) in input.iter().zip(got).zip(exact) {
            if exact.to_bits() != OUTSIDE.to_bits() {
                worst.merge(Worst { error: error(unit, x, got, exact, least), at: x.to_bits() });
            }
        }
    }
    worst
}

/// One instruction, where `f64::max` is several.
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// The distance of the f32 around `exact`; of infinity and NaN that of the largest.
fn spacing(exact: f64) -> f64 {
    const LOWEST: f64 = f32::MIN_POSITIVE as f64;
    const HIGHEST: f64 = 2.0 / LOWEST;
    // 2 to the power of its exponent.
    let power = larger(f64::from_bits(exact.to_bits() & 0x7ff0_0000_0000_0000), LOWEST);
    let power = if power < HIGHEST { power } else { HIGHEST };
    power / f64::from(1 << 23)
}

/// The error of one result; infinite where one is NaN and the other is not, or where an infinity or the sign of a zero is
/// wrong.
fn error(unit: Unit, x: f32, got: f32, exact: f64, least: f64) -> f64 {
    if exact.is_nan() || got.is_nan() {
        return if exact.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if exact.is_infinite() {
        return if f64::from(got) == exact { 0.0 } else { f64::INFINITY };
    }
    if exact == 0.0 && least > 0.0 {
        return f64::from(got).abs() / least;
    }
    if exact == 0.0 {
        // The sign of a zero counts in functions, where the input is finite.
        let sign = unit == Unit::Ulp && x.is_finite() && got.is_sign_negative() != exact.is_sign_negative();
        return if got == 0.0 && !sign { 0.0 } else { f64::INFINITY };
    }
    let nearest = exact as f32;
    if got.to_bits() == nearest.to_bits() && (got == 0.0 || got.is_infinite()) {
        // The right one of the two ends.
        return 0.0;
    }
    // An overflow that the exact result just misses.
    let got = if got.is_infinite() { 2_f64.powi(128).copysign(f64::from(got)) } else { f64::from(got) };
    (got - exact).abs() / spacing(exact).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_in_the_spacing_of_the_exact_result() {
        let ulp = |got: f32, exact: f64| error(Unit::Ulp, 1.0, got, exact, 0.0);
        assert_eq!(ulp(1.0, 1.0), 0.0);
        assert_eq!(ulp(1.0 + f32::EPSILON, 1.0), 1.0);
        assert_eq!(ulp(1.0, 1.0 + 0.25 * f64::from(f32::EPSILON)), 0.25);
        // Below 1 the spacing halves.
        assert_eq!(ulp(1.0, 1.0 - 0.25 * f64::from(f32::EPSILON)), 0.5);
        let tiny = f64::from(f32::from_bits(1));
        assert_eq!(ulp(f32::from_bits(3), 1.5 * tiny), 1.5);
        assert_eq!(ulp(f32::from_bits(1), 0.25 * tiny), 0.75);
        assert_eq!(ulp(0.0, 0.25 * tiny), 0.0);
        assert_eq!(ulp(0.0, 0.75 * tiny), 0.75);
        assert_eq!(ulp(f32::INFINITY, 2_f64.powi(129)), 0.0);
        assert_eq!(ulp(f32::MAX, 2_f64.powi(128)), 1.0);
        assert_eq!(ulp(f32::INFINITY, f64::from(f32::MAX)), 1.0);
        for (got, exact) in
            [(f32::NAN, 1.0), (1.0, f64::NAN), (-0.0, 0.0), (1.0, f64::INFINITY), (f32::MIN_POSITIVE, 0.0)]
        {
            assert_eq!(ulp(got, exact), f64::INFINITY, "{got} {exact}");
        }
        assert_eq!(ulp(f32::NAN, f64::NAN), 0.0);
        let derivative = error(Unit::OrShareOf(1.0), 1.0, 1e-10, 2e-10, 1.0 / f64::from(1 << 24));
        assert!((derivative - 1e-10 * f64::from(1 << 24)).abs() < 1e-8);
    }

    #[test]
    fn the_worst_is_found_where_it_is() {
        let input = [1.0, 2.0, 3.0, 4.0];
        let exact = [1.0, 2.0, 3.0, OUTSIDE];
        let got = [1.0, 2.0 + 2.0 * f32::EPSILON, 3.0 - 4.0 * f32::EPSILON, 9.0];
        let worst = largest(Unit::Ulp, &input, &got, &exact, Worst::NONE);
        assert_eq!((worst.error, worst.at), (2.0, 3.0_f32.to_bits()));
        let nan = largest(Unit::Ulp, &input, &[1.0, f32::NAN, 3.0, 9.0], &exact, Worst::NONE);
        assert_eq!((nan.error, nan.at), (f64::INFINITY, 2.0_f32.to_bits()));
        let zero = largest(Unit::Ulp, &[1.0], &[-0.0], &[0.0], Worst { error: 1.0, at: 7 });
        assert_eq!(zero.error, f64::INFINITY);
    }

    #[test]
    fn a_stride_takes_part_of_each_stride_and_one_takes_all() {
        let all = Patterns::new(1);
        assert_eq!(all.count(), 1 << 32);
        assert!([0, 1, 77_777, u32::MAX].into_iter().all(|i| all.get(u64::from(i)) == i));
        let some = Patterns::new(256);
        assert_eq!(some.count(), 1 << 24);
        for number in (0..1 << 24).step_by(997) {
            assert_eq!(u64::from(some.get(number)) / 256, number);
        }
        assert!(
            (0..1000).map(|number| some.get(number) % 256).collect::<std::collections::BTreeSet<_>>().len()
                > 200
        );
    }
}

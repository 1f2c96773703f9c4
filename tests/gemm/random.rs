//! Random shapes, strides and offsets against the proven bound and the scalar twin.

use crate::common::contexts;
use crate::support::{Dense, Expected, Real, Stored, assert_same, mix, twin};
use gemmule::{Epilogue, gemm, gemm_packed, pack_b, packed_b_len};

/// Shapes per instruction set and element type.
const CASES: u64 = 20_000;

struct Dice {
    seed: u64,
    throws: u64,
}

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.throws += 1;
        mix(self.seed, self.throws) as usize % most
    }

    fn from(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// What kind of product a shape is meant to be; how many there were is checked at the end.
const KINDS: [&str; 7] = ["small", "few columns", "few rows", "middling", "k > 512", "k > 1024", "copied B"];

fn shape(dice: &mut Dice) -> (usize, (usize, usize, usize)) {
    let kind = match dice.below(200) {
        0..120 => 0,
        120..150 => 1,
        150..175 => 2,
        175..183 => 3,
        183..193 => 4,
        193..198 => 5,
        _ => 6,
    };
    let d = dice;
    let shape = match kind {
        0 => (d.below(25), d.below(25), d.below(25)),
        1 => (d.from(16, 80), d.from(1, 15), d.from(1, 40)),
        2 => (d.from(1, 15), d.from(16, 200), d.from(1, 40)),
        3 => (d.from(16, 110), d.from(16, 110), d.from(1, 80)),
        4 => (d.from(1, 20), d.from(1, 20), d.from(513, 700)),
        5 => (d.from(1, 20), d.from(1, 20), d.from(1025, 1300)),
        _ => (d.from(144, 160), d.from(16, 40), d.from(64, 70)),
    };
    (kind, shape)
}

/// Strides under which no two elements share a place: any direction first, gaps, either sign.
fn strides(dice: &mut Dice, rows: usize, cols: usize, least: usize) -> (isize, isize) {
    let (inner_count, by_column) = if dice.below(3) == 0 { (rows, true) } else { (cols, false) };
    let inner = dice.pick(&[1, 1, 1, 1, 2, 3]);
    let gap = dice.pick(&[0, 0, 1, 2, 5, 13]);
    let outer = (inner * inner_count.saturating_sub(1) + 1 + gap).max(least);
    let mut signed = |stride: usize| if dice.below(6) == 0 { -(stride as isize) } else { stride as isize };
    let (inner, outer) = (signed(inner), signed(outer));
    if by_column { (inner, outer) } else { (outer, inner) }
}

/// A factor, in memory and as it is read: one in 20 repeats its first row or column.
fn factor<T: Real>(dice: &mut Dice, rows: usize, cols: usize, least: usize) -> (Stored<T>, Dense<T>) {
    let (mut row_stride, mut col_stride) = strides(dice, rows, cols, least);
    match dice.below(40) {
        0 => row_stride = 0,
        1 => col_stride = 0,
        _ => {}
    }
    let values = Dense::full(rows, cols, 1000 + dice.below(1 << 20) as u64);
    let stored = Stored::with_strides(&values, dice.below(20), row_stride, col_stride);
    let read = Dense::from_fn(rows, cols, |i, j| stored.at(i, j));
    (stored, read)
}

fn random<T: Real>(seed: u64) {
    let contexts = contexts();
    let (mut kinds, mut worst) = ([0; KINDS.len()], 0.0_f64);
    for case in 0..CASES {
        let mut dice = Dice { seed: seed + case, throws: 0 };
        let (kind, (m, n, k)) = shape(&mut dice);
        kinds[kind] += 1;
        let scalars = [1.0, 1.0, 1.0, 0.0, -1.0, 0.7, -1.3];
        let (alpha, beta) = (T::from_f64(dice.pick(&scalars)), T::from_f64(dice.pick(&scalars[2..])));
        // The rows of a B that is to be copied are far apart.
        let least = if kind == 6 { 1280 / size_of::<T>() } else { 0 };
        let (a, read_a) = factor::<T>(&mut dice, m, k, 0);
        let (b, read_b) = factor::<T>(&mut dice, k, n, least);
        let (row_stride, col_stride) = strides(&mut dice, m, n, 0);
        let is_zero = beta == <T as num_traits::Zero>::zero();
        let old = if is_zero { Dense::from_fn(m, n, |_, _| T::nan()) } else { Dense::full(m, n, case) };
        let c = Stored::with_strides(&old, dice.below(20), row_stride, col_stride);
        let expected = Expected::new(alpha, &read_a, &read_b, beta, &old);
        let mut twins = [None, None];
        for context in &contexts {
            let what = (context, seed + case, (m, n, k), alpha, beta);
            let mut got = c.clone();
            if case % 10 == 9 {
                let mut panels = vec![T::CANARY; packed_b_len::<T>(k, n).expect("small")];
                let b = pack_b(context, b.view(), &mut panels).expect("large enough");
                let epilogue = Epilogue::default();
                gemm_packed(context, alpha, a.view(), &b, beta, &mut got.view_mut(), &epilogue)
            } else {
                gemm(context, alpha, a.view(), b.view(), beta, &mut got.view_mut())
            }
            .expect("shapes fit");
            // Looks at the gaps of C too.
            let got = got.dense();
            worst = worst.max(expected.check(&got, &what));
            let fused = context.isa().has_fma();
            let twin = twins[usize::from(fused)]
                .get_or_insert_with(|| twin(fused, alpha, &read_a, &read_b, beta, &old));
            assert_same(&got, twin, &what);
        }
    }
    for (name, count) in KINDS.iter().zip(kinds) {
        assert!(count >= CASES / 200, "{count} products of the kind: {name}");
    }
    assert!(worst > 0.01, "the bound is so wide that it shows nothing: {worst}");
}

/// 20,000 shapes per instruction set, each with random strides of both signs, gaps, offsets, alpha and beta; every tenth
/// with a packed B. Counted for every element of C: the error within gamma(k + 2) (|alpha| |A| |B| + |beta| |C|) of
/// sums in twice the precision of f64; the bits of the scalar twin; for every place that is no element: that it did
/// not change. Each kind of shape must have had its share.
#[test]
fn shapes_and_strides_f32() {
    random::<f32>(1 << 20);
}

/// As above.
#[test]
fn shapes_and_strides_f64() {
    random::<f64>(1 << 21);
}

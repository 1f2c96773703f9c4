//! The generator against its published answers, and its numbers against a second implementation.

use super::generator::join;
use super::philox::philox;
use super::*;
use crate::context::Context;
use crate::kernel::Element;
use crate::simd::Isa;

/// The known answers that Random123, the authors' library, publishes for `philox4x32 10`.
#[test]
fn published_known_answers() {
    let answers = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (counter, [key_0, key_1], expected) in answers {
        assert_eq!(philox(counter, join(key_0, key_1)), expected);
    }
}

#[test]
fn golden() {
    let mut rng = Rng::new(42);
    assert_eq!([0; 5].map(|_: u32| rng.next_u32()), GOLDEN_U32);
    assert_eq!([0; 2].map(|_: u64| rng.next_u64()), GOLDEN_U64);
    let rng = Rng::new(42).stream(purpose::SHUFFLE).stream(3);
    assert_eq!(rng.state(), GOLDEN_STREAM);
    assert_eq!(rng.at(8).uniform_f64().to_bits(), GOLDEN_UNIFORM);
    assert_eq!(rng.at(0).permutation(10), GOLDEN_PERMUTATION);
    // Normal numbers have the same bits only where multiply-add is fused, whatever set is chosen for this run.
    for isa in Isa::available().filter(|isa| isa.has_fma()) {
        let context = Context::new(isa).unwrap();
        let mut normals = [0.0_f64; 4];
        rng.at(0).fill_normal(&context, &mut normals, 0.0, 1.0).unwrap();
        assert_eq!(normals.map(f64::to_bits), GOLDEN_NORMAL, "{isa}");
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut values = vec![0.0_f32; 10_000];
        rng.at(0).fill_normal(&context, &mut values, 0.5, 2.0).unwrap();
        for value in values {
            hash = (hash ^ value.bits()).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(hash, GOLDEN_NORMAL_HASH, "{isa}");
    }
}

// Computed by a second implementation, in Python; but the normal numbers are ours (`tests/random.rs` checks those against
// the error function).
const GOLDEN_U32: [u32; 5] = [0x9cea_f053, 0x77f5_493b, 0x12bf_50ad, 0x5742_b3d7, 0xfcdb_2127];
const GOLDEN_U64: [u64; 2] = [0x838f_5a6e_53ba_6cfd, 0xd36c_0225_744e_06fb];
const GOLDEN_STREAM: [u64; 3] = [0xabe9_c1f3_8618_de33, 0x830b_55ef_0acc_4a95, 0];
const GOLDEN_UNIFORM: u64 = 0x3fe4_05dc_a160_72b8;
const GOLDEN_NORMAL: [u64; 4] =
    [0x3feb_7395_87ca_a544, 0x3fe0_ab11_31a5_d229, 0xbf87_d2e3_6812_4c63, 0xc001_6367_4de6_eeda];
const GOLDEN_PERMUTATION: [usize; 10] = [5, 8, 0, 4, 2, 6, 9, 7, 1, 3];
const GOLDEN_NORMAL_HASH: u64 = 0x5a7e_1495_82f4_39d0;

#[test]
fn any_position_is_the_one_reached_by_drawing() {
    let base = Rng::new(u64::MAX).stream(17);
    let mut walker = base.clone();
    let words: Vec<u32> = (0..64).map(|_| walker.next_u32()).collect();
    for (position, &word) in words.iter().enumerate().rev() {
        assert_eq!(base.at(position as u64).next_u32(), word);
        assert_eq!(walker.at(position as u64).next_u32(), word, "a seek back from a later block");
    }
    assert_eq!(base.at(3).next_u64(), join(words[3], words[4]), "across a block");
    let mut end = base.at(u64::MAX);
    let _ = end.next_u32();
    assert_eq!((end.position(), end.next_u32()), (0, words[0]), "the period is 2^64");
}

#[test]
fn an_element_of_a_fill_depends_on_its_position_only() {
    let rng = Rng::new(9).at(5);
    let (mut singles, mut doubles) = ([0.0_f32; 37], [0.0_f64; 37]);
    rng.clone().fill_normal(&Context::detect().unwrap(), &mut singles, 1.0, 3.0).unwrap();
    rng.clone().fill_normal(&Context::detect().unwrap(), &mut doubles, 1.0, 3.0).unwrap();
    for i in 0..singles.len() {
        let mut one = [0.0_f32];
        rng.at(5 + 2 * i as u64).fill_normal(&Context::detect().unwrap(), &mut one, 1.0, 3.0).unwrap();
        assert_eq!(one[0], singles[i]);
        assert!((doubles[i] - f64::from(singles[i])).abs() < 2e-6 * (1.0 + doubles[i].abs()));
    }
    let mut after = rng.clone();
    after.fill_normal(&Context::detect().unwrap(), &mut singles, 1.0, 3.0).unwrap();
    assert_eq!(after.position(), 5 + 2 * 37);
    after.fill_uniform(&Context::detect().unwrap(), &mut doubles, 1.0, 3.0).unwrap();
    assert_eq!(after.position(), 5 + 2 * 37 + 2 * 37);
}

#[test]
fn streams_differ_and_do_not_depend_on_the_position() {
    let rng = Rng::new(1);
    let mut states: Vec<_> = (0..1000).map(|id| rng.stream(id).state()).collect();
    states.push(rng.state());
    states.push(rng.stream(0).stream(0).state());
    let count = states.len();
    states.sort_unstable();
    states.dedup();
    assert_eq!(states.len(), count);
    assert_eq!(rng.at(99).stream(4), rng.stream(4));
}

/// Bounds of six standard deviations: fixed seeds, so they hold once and for all.
#[test]
fn moments_and_ranges() {
    let n = 200_000;
    let root = f64::from(n).sqrt();
    let mut rng = Rng::new(11);
    let uniform: Vec<f64> = (0..n).map(|_| rng.uniform_f64()).collect();
    assert!(uniform.iter().all(|u| (0.0..1.0).contains(u)));
    let mean = uniform.iter().sum::<f64>() / f64::from(n);
    assert!((mean - 0.5).abs() < 6.0 * 0.289 / root, "{mean}");
    let normal: Vec<f64> = (0..n).map(|_| rng.normal_f64()).collect();
    let moment =
        |k: i32| normal.iter().map(|x| (0..k).fold(1.0, |power, _| power * x)).sum::<f64>() / f64::from(n);
    assert!(moment(1).abs() < 6.0 / root, "{}", moment(1));
    assert!((moment(2) - 1.0).abs() < 6.0 * 1.415 / root, "{}", moment(2));
    assert!(moment(3).abs() < 6.0 * 3.88 / root, "{}", moment(3));
    assert!((moment(4) - 3.0).abs() < 6.0 * 9.8 / root, "{}", moment(4));
    let mut counts = [0_u32; 7];
    for _ in 0..70_000 {
        counts[rng.below(7) as usize] += 1;
    }
    assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 600), "{counts:?}");
}

#[test]
fn below_at_its_edges() {
    let mut rng = Rng::new(2);
    for _ in 0..1000 {
        assert_eq!(rng.below(1), 0);
        assert!(rng.below(u64::MAX) < u64::MAX);
        // Just above 2^63 nearly half of the draws are rejected.
        assert!(rng.below((1 << 63) + 1) <= 1 << 63);
    }
    // Three quarters of all words: without rejection every third number would come twice as often as the others.
    let thirds = (0..6000).filter(|_| rng.below(3 << 62).is_multiple_of(3)).count();
    assert!(thirds.abs_diff(2000) < 220, "{thirds}");
    assert!(std::panic::catch_unwind(|| Rng::new(0).below(0)).is_err());
}

#[test]
fn every_order_of_four_comes_equally_often() {
    let mut rng = Rng::new(3);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..24_000 {
        *counts.entry(rng.permutation(4)).or_insert(0_u32) += 1;
    }
    assert_eq!(counts.len(), 24);
    assert!(counts.values().all(|&c| c.abs_diff(1000) < 190), "{counts:?}");
    assert!(rng.permutation(0).is_empty());
    assert_eq!(rng.permutation(1), [0]);
}

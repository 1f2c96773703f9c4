//! An element moves as it would alone: in every length, under any cut, and with the same bits everywhere.

use crate::cases::{State, cases, sizes, start, values};
use crate::common::{HASH_START, all_bits, contexts, hash};
use gemmule::{Context, Element};

fn fused() -> impl Iterator<Item = Context> {
    contexts().into_iter().filter(|context| context.isa().has_fma())
}

/// State as it may be in the middle of training.
fn middle<T: Element>(count: usize) -> State<T> {
    [values(0, count), sizes(1, count), vec![T::one(); count], vec![T::from_f64(0.75); count]]
}

fn every_length<T: Element>() {
    const LONGEST: usize = 130;
    for case in cases() {
        // A norm is of all elements: not part of this.
        if case.name == "adam_clip_norm" {
            continue;
        }
        for number in [1, 2] {
            let mut whole: Option<Vec<Vec<u64>>> = None;
            for context in fused() {
                let mut state = middle::<T>(LONGEST);
                case.step_all(&context, number, &mut state, &values(2, LONGEST)).unwrap();
                let ours: Vec<_> = state.iter().map(|array| all_bits(array)).collect();
                let whole = whole.get_or_insert_with(|| ours.clone());
                assert_eq!(*whole, ours, "{} {}", case.name, context.isa());
                for length in 0..LONGEST {
                    // What lies beyond the end is not touched.
                    let mut state = middle::<T>(length + 3);
                    let untouched = state.clone();
                    let ours = state.each_mut().map(|array| &mut array[..length]);
                    assert!(case.step(&context, number, ours, &values(2, length)).unwrap());
                    for ((ours, untouched), whole) in state.iter().zip(&untouched).zip(&*whole) {
                        assert_eq!(all_bits(&ours[..length]), whole[..length], "{} {length}", case.name);
                        assert_eq!(ours[length..], untouched[length..], "{} {length}", case.name);
                    }
                }
            }
        }
    }
}

#[test]
fn every_length_gives_the_same_bits() {
    every_length::<f32>();
    every_length::<f64>();
}

#[test]
fn any_cut_gives_the_same_bits() {
    const COUNT: usize = 200;
    for case in cases() {
        if case.name == "adam_clip_norm" {
            continue;
        }
        for context in fused() {
            let whole = case.run::<f32>(&context, COUNT, 3);
            for cut in (0..=COUNT).step_by(7) {
                let mut state = start::<f32>(COUNT);
                for i in 1..=3 {
                    let g = values(i, COUNT);
                    let [p, a, b, c] = &mut state;
                    let cuts = [p, a, b, c].map(|array| array.split_at_mut(cut));
                    let [(p, p2), (a, a2), (b, b2), (c, c2)] = cuts;
                    assert!(case.step(&context, i, [p, a, b, c], &g[..cut]).unwrap());
                    assert!(case.step(&context, i, [p2, a2, b2, c2], &g[cut..]).unwrap());
                }
                assert_eq!(state, whole, "{} {cut}", case.name);
            }
        }
    }
}

/// Hashes of parameters and state after 20 steps of 150 elements, f32 and f64: what every instruction set that fuses
/// must give, NEON too. A change here is a breaking release.
const HASHES: [(&str, u64, u64); 0] = [
// HASHES
];

#[test]
fn print_hashes() {
    for case in cases() {
        let context = fused().next().unwrap();
        let single = case.run::<f32>(&context, 150, 20).iter().fold(HASH_START, |h, x| hash(x, h));
        let double = case.run::<f64>(&context, 150, 20).iter().fold(HASH_START, |h, x| hash(x, h));
        println!("HASH    (\"{}\", {single:#018x}, {double:#018x}),", case.name);
    }
}

#[test]
fn bits_are_those_of_every_machine() {
    for (case, expected) in cases().into_iter().zip(HASHES) {
        for context in fused() {
            let single = case.run::<f32>(&context, 150, 20).iter().fold(HASH_START, |h, x| hash(x, h));
            let double = case.run::<f64>(&context, 150, 20).iter().fold(HASH_START, |h, x| hash(x, h));
            let found = (case.name, single, double);
            assert_eq!(found, expected, "(\"{}\", {single:#018x}, {double:#018x}),", case.name);
        }
    }
}

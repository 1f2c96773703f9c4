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
const HASHES: [(&str, u64, u64); 36] = [
    ("sgd", 0x47e9_e458_60c6_f159, 0xcda1_d802_e558_9300),
    ("sgd_decay", 0x69a3_aca7_b949_d83e, 0x060e_85db_1a09_7ddf),
    ("sgd_maximize", 0x7aaf_d491_59f8_2e07, 0x7d90_7ee4_325b_16ce),
    ("sgd_l1", 0x7c0c_433c_2fa4_9660, 0x579c_fe62_2e8c_d335),
    ("sgd_decoupled", 0x7847_31eb_f794_47b9, 0xfa99_2f3a_221d_0d62),
    ("momentum", 0xb962_4ef5_890e_bd14, 0xd720_365f_3447_742a),
    ("dampening", 0x2224_2fc5_0e37_a778, 0x9667_ba15_ed81_cd3b),
    ("nesterov", 0xc435_077d_0555_44f4, 0xcc12_fb5d_d0b8_de17),
    ("adagrad", 0x35a8_0750_8ce0_934a, 0x0b85_8f6a_ab7d_67ee),
    ("adagrad_all", 0xc541_034d_99c7_6448, 0xd27e_0629_fa0a_2f53),
    ("adagrad_maximize", 0x5949_0261_15ad_71b4, 0xf699_6826_c71d_7a2e),
    ("rmsprop", 0x4708_00a2_84fb_1670, 0x3939_86f6_f432_0ae4),
    ("rmsprop_momentum", 0x6f96_835a_99eb_9a1d, 0xcc5d_2661_2bb7_e4bc),
    ("rmsprop_centered", 0xddf4_aa5e_4007_7c8e, 0xfb20_f15d_defe_2784),
    ("rmsprop_all", 0x2e2b_f64f_9247_890b, 0x5331_3a77_c04f_94b9),
    ("rmsprop_maximize", 0x4ae9_5653_eb3c_d979, 0x9d32_cabd_90d9_7f86),
    ("adadelta", 0x4a15_d2de_0ab4_ec44, 0x994c_e8f5_ae5b_7ed1),
    ("adadelta_all", 0x12d7_2b01_fbc2_5b15, 0xc604_2ba7_c9c6_b78c),
    ("adam", 0x6cc5_289f_b7e0_50bc, 0x0737_cee8_8d60_012b),
    ("adam_decay", 0x1e62_ddbb_a2b1_6b9e, 0x26f6_ce84_eef9_55a1),
    ("adam_amsgrad", 0xc9d7_c96f_3f10_381a, 0x0917_b7fd_ba73_b800),
    ("adam_maximize", 0x5e4d_af74_65ac_cbe2, 0x8268_ec77_9b63_4dc9),
    ("adam_clip_norm", 0xfa8f_f4a7_5114_5345, 0xfe9a_7e78_7c82_6d75),
    ("adam_clip_value", 0xfc28_3c71_3ed2_31c0, 0xa5b5_bf11_ec9c_eea6),
    ("adamw", 0x2e62_19f7_ade9_c888, 0x3f3e_2e2b_7a25_4d3f),
    ("adamw_all", 0x1ae9_9c47_beec_d8ed, 0xfa77_3ee5_a95d_1c31),
    ("adamax", 0x920c_52f1_81c5_08d4, 0x9922_8856_a306_294d),
    ("adamax_all", 0xc588_c0e0_80a4_1c49, 0x4aff_ccdb_7a6f_cb1d),
    ("nadam", 0x3e46_7ad1_a930_7fc7, 0xb383_337e_9f24_3956),
    ("nadam_all", 0x9b30_f1f3_b591_f1d8, 0x05d9_06eb_9b08_57d0),
    ("nadam_decoupled", 0xe07a_37e3_2fe2_7bb8, 0x782e_ce21_25d3_2ecf),
    ("radam", 0xbe59_c2ae_4a0c_a8ae, 0x6421_375a_0adc_085b),
    ("radam_all", 0x85d4_23ce_57b0_6be4, 0xbcfc_598c_2491_2724),
    ("radam_decoupled", 0x0686_dda6_3e77_c3ce, 0x01d5_1a24_905a_7b3c),
    ("lion", 0xd7cc_dc0b_84b6_bfaf, 0xb31e_8748_fc49_7fe7),
    ("lion_decay", 0xc513_38df_1895_6b57, 0xda1b_9ae5_05c1_e71a),
];

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

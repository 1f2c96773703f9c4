//! Losses: gradients by differences, values against f64 and PyTorch, the edges of the range, the same bits everywhere.
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

mod common;
#[path = "losses/edges.rs"]
mod edges;
#[path = "losses/golden.rs"]
mod golden;
#[path = "losses/kinds.rs"]
mod kinds;
#[path = "losses/reductions.rs"]
mod reductions;

use common::{HASH_START, all_bits, contexts, hash};
use gemmule::Element;
use gemmule::kernel::loss::Rows;
use kinds::{Batch, KINDS, convert, forward, oracle, with_gradient};

const WIDTHS: [usize; 9] = [1, 2, 7, 9, 10, 16, 17, 33, 70];

#[test]
fn gradients_agree_with_differences() {
    const STEP: f64 = 1e-3;
    const SCALE: f64 = 0.37;
    for context in contexts() {
        for (name, width) in KINDS.into_iter().flat_map(|name| WIDTHS.map(|width| (name, width))) {
            let batch = Batch::on_a_grid(3, width);
            let rows = Rows::scaled(width, SCALE);
            let (_, _, gradient) = with_gradient::<f64>(&context, name, &batch, rows);
            let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
            // Some elements of the wide rows say as much as all.
            let stride = 1 + width / 20 * 5;
            for (j, gradient) in gradient.iter().enumerate().step_by(stride) {
                let (row, j) = (j / width, j % width);
                let at = |offset: f64| {
                    let mut moved = batch.row(row);
                    moved.x[j] += offset;
                    SCALE * forward::<f64>(&context, name, &moved, rows)[0]
                };
                // The central difference of the fourth order: its own error is below 1e-11.
                let near = at(STEP) - at(-STEP);
                let far = at(2.0 * STEP) - at(-2.0 * STEP);
                let difference = (8.0 * near - far) / (12.0 * STEP);
                let error = (gradient - difference).abs();
                // A single logit's softmax is 1 and a single number's cosine too: their gradients are (nearly) 0.
                assert!(
                    error <= 1e-7 * largest || (largest < 1e-8 && error < 1e-11),
                    "{name} {} width {width} row {row} element {j}: {gradient} against {difference}",
                    context.isa()
                );
            }
        }
    }
}

fn against_the_oracle<T: Element>() {
    let epsilon = Element::to_f64(T::epsilon());
    for context in contexts() {
        for (name, width) in KINDS.into_iter().flat_map(|name| WIDTHS.map(|width| (name, width))) {
            let mut batch = Batch::new(21, width);
            // The oracle sees what we see.
            batch.class_weights = convert::<f32>(&batch.class_weights).into_iter().map(f64::from).collect();
            let (_, losses, gradient) = with_gradient::<T>(&context, name, &batch, Rows::each(width));
            for i in 0..batch.rows() {
                let row = batch.row(i);
                let (loss, d) = oracle(name, &row);
                let what = format!("{name} {} {} width {width} row {i}", T::NAME, context.isa());
                // What is added up before the loss or a gradient cancels.
                let terms = match name {
                    _ if name.starts_with("soft") => 9.0 * row.soft.iter().sum::<f64>() + 1.0,
                    _ if name.starts_with("kl_log") => {
                        row.t.iter().zip(&row.x).map(|(t, x)| t.exp() * (t - x).abs()).sum()
                    }
                    "kl" => row.soft.iter().zip(&row.x).map(|(t, x)| t * x.abs() + 1.0).sum(),
                    _ => 4.0,
                };
                let size = f64::from(width.ilog2()) + 5.0;
                let error = (Element::to_f64(losses[i]) - loss).abs();
                assert!(
                    error <= size * epsilon * (terms + loss.abs()),
                    "{what}: {} for {loss}: {error:e}",
                    losses[i]
                );
                let largest = d.iter().fold(0.0, |m: f64, d| m.max(d.abs()));
                let terms = match name {
                    _ if name.starts_with("soft") => terms,
                    // What softmax, or a cosine, is taken from is up to 1.
                    _ if name.starts_with("classes") || name.starts_with("cosine") => 1.0,
                    _ => largest,
                };
                for (j, d) in d.iter().enumerate() {
                    let ours = gradient[i * width + j];
                    let error = (Element::to_f64(ours) - d).abs();
                    assert!(
                        error <= size * epsilon * terms.max(d.abs()) + 1e-30,
                        "{what} {j}: {ours} for {d}: {error:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn values_agree_with_the_f64_oracle() {
    against_the_oracle::<f32>();
    against_the_oracle::<f64>();
}

fn same_bits<T: Element>(kinds: &[&str]) -> u64 {
    let mut total = HASH_START;
    for (name, width) in kinds.iter().flat_map(|name| WIDTHS.map(|width| (name, width))) {
        // More rows than a vector has lanes, and no multiple of them.
        let batch = Batch::new(37, width);
        let rows = Rows::scaled(width, 0.1);
        let mut first: Option<(Vec<u64>, Vec<u64>)> = None;
        for context in contexts() {
            let what = format!("{name} {} {} width {width}", T::NAME, context.isa());
            let (result, losses, gradient) = with_gradient::<T>(&context, name, &batch, rows);
            assert_eq!(all_bits(&losses), all_bits(&forward::<T>(&context, name, &batch, rows)), "{what}");
            for i in (0..batch.rows()).step_by(3) {
                let (_, alone, d) = with_gradient::<T>(&context, name, &batch.row(i), rows);
                assert_eq!(all_bits(&alone), all_bits(&losses[i..=i]), "{what} row {i}");
                assert_eq!(all_bits(&d), all_bits(&gradient[i * width..(i + 1) * width]), "{what} row {i}");
            }
            if context.isa().has_fma() {
                let ours = (all_bits(&losses), all_bits(&gradient));
                if first.is_none() {
                    total = hash(&[result], hash(&gradient, hash(&losses, total)));
                }
                assert_eq!(*first.get_or_insert_with(|| ours.clone()), ours, "{what}");
            }
        }
    }
    total
}

#[test]
fn bits_depend_on_the_row_alone_and_are_the_committed_ones() {
    let (first, later) = KINDS.split_at(31);
    for (kinds, expected) in [
        (first, (0x7404_9085_478d_3343, 0x7a4c_0ed8_0b44_20f8)),
        (later, (0x965d_e8b1_dc4f_bb55, 0x11a7_50bc_fdb4_1246)),
    ] {
        let got = (same_bits::<f32>(kinds), same_bits::<f64>(kinds));
        if contexts().iter().any(|context| context.isa().has_fma()) {
            assert_eq!(got, expected, "({:#018x}, {:#018x})", got.0, got.1);
        }
    }
}

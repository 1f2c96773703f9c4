//! The vectors against the formulas in f64, number by number.

use super::{Backward, Cell, Forward, Gru, Lstm, Rnn, Rows};
use crate::context::Context;
use crate::kernel::compiled::Compiled;
use crate::kernel::element::Element;
use crate::simd::Isa;

/// A cell in f64: sums and states of a unit in; states after and what is kept out.
type Twin = fn(&[f64], &[f64]) -> (Vec<f64>, Vec<f64>);

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn rnn(sums: &[f64], states: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let h = libm::tanh(sums[0]);
    (vec![h], vec![h, states[0]])
}

fn rnn_relu(sums: &[f64], states: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let h = sums[0].max(0.0);
    (vec![h], vec![h, states[0]])
}

fn lstm(sums: &[f64], states: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (i, f, g, o) = (sigmoid(sums[0]), sigmoid(sums[1]), libm::tanh(sums[2]), sigmoid(sums[3]));
    let c = f * states[1] + i * g;
    (vec![o * libm::tanh(c), c], vec![i, f, g, o, states[1], libm::tanh(c), states[0]])
}

fn gru(sums: &[f64], states: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (r, z) = (sigmoid(sums[0] + sums[3]), sigmoid(sums[1] + sums[4]));
    let n = libm::tanh(sums[2] + r * sums[5]);
    (vec![(1.0 - z) * n + z * states[0]], vec![n, r, z, sums[5], states[0]])
}

/// Numbers in -2 .. 2.
fn numbers<T: Element>(seed: usize, count: usize) -> Vec<T> {
    let at = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f64 / 252.25 - 2.0;
    (0..count).map(|i| T::from_f64(at(i))).collect()
}

/// Elements that the kernels have no business with.
const UNTOUCHED: f64 = 77.0;

fn check<T, C: Cell<T>>(cell: C, twin: Twin, places: &[(usize, usize)], tolerance: f64)
where
    for<'a> T: Element + Compiled<Forward<'a, T, C>> + Compiled<Backward<'a, T, C>>,
{
    for isa in Isa::available() {
        let context = Context::new(isa).unwrap();
        for hidden in [1, 3, 16, 37] {
            for masked in [false, true] {
                check_rows(&context, cell, twin, places, hidden, masked, tolerance);
            }
        }
    }
}

/// `places`: for each sum, where its gradient is among those of what was kept.
fn check_rows<T, C: Cell<T>>(
    context: &Context,
    cell: C,
    twin: Twin,
    places: &[(usize, usize)],
    hidden: usize,
    masked: bool,
    tolerance: f64,
) where
    for<'a> T: Element + Compiled<Forward<'a, T, C>> + Compiled<Backward<'a, T, C>>,
{
    let rows = 3;
    let (gates_stride, kept_stride, out_stride) = (C::GATES * hidden + 2, C::KEPT * hidden + 5, hidden + 3);
    let gates = numbers::<T>(1, rows * gates_stride);
    let before = numbers::<T>(2, rows * C::STATES * hidden);
    let mask = [1.0, 9.0, 0.0, 9.0, 1.0].map(T::from_f64);
    let mask = masked.then_some(Rows { data: &mask[..], stride: 2 });
    let mut states = before.clone();
    let mut kept = vec![T::from_f64(UNTOUCHED); rows * kept_stride];
    let mut output = vec![T::from_f64(UNTOUCHED); rows * out_stride];
    T::run(
        context,
        Forward {
            cell,
            hidden,
            gates: Rows { data: &gates, stride: gates_stride },
            states: &mut states,
            kept: Some(Rows { data: &mut kept, stride: kept_stride }),
            output: Some(Rows { data: &mut output, stride: out_stride }),
            mask,
        },
    );
    let mut last = before.clone();
    let gates_rows = Rows { data: &gates[..], stride: gates_stride };
    T::run(
        context,
        Forward { cell, hidden, gates: gates_rows, states: &mut last, kept: None, output: None, mask },
    );
    assert!(last == states, "what is kept changes what is computed");

    let mut d_states = numbers::<T>(3, states.len());
    let d_after = d_states.clone();
    let d_output = numbers::<T>(4, rows * out_stride);
    let saved = kept.clone();
    T::run(
        context,
        Backward {
            cell,
            hidden,
            kept: Rows { data: &mut kept, stride: kept_stride },
            d_states: &mut d_states,
            d_output: Some(Rows { data: &d_output, stride: out_stride }),
            mask,
        },
    );

    let close = |got: T, expected: f64, what: &str| {
        let error = (got.to_f64() - expected).abs();
        let isa = context.isa();
        assert!(
            error <= tolerance * expected.abs().max(1.0),
            "{what}, {isa}, {hidden}: {got}, not {expected}"
        );
    };
    for row in 0..rows {
        for unit in 0..hidden {
            let of = |data: &[T], stride: usize, count: usize| -> Vec<f64> {
                (0..count).map(|k| data[row * stride + k * hidden + unit].to_f64()).collect()
            };
            let sums = of(&gates, gates_stride, C::GATES);
            let old = of(&before, C::STATES * hidden, C::STATES);
            let new = of(&states, C::STATES * hidden, C::STATES);
            let d_new = of(&d_after, C::STATES * hidden, C::STATES);
            let d_old = of(&d_states, C::STATES * hidden, C::STATES);
            let out = output[row * out_stride + unit];
            if masked && row == 1 {
                assert_eq!((new, d_old), (old, d_new), "a step that is left out changes nothing");
                assert!(out == T::zero() && of(&kept, kept_stride, C::KEPT).iter().all(|&x| x == 0.0));
                continue;
            }
            let (after, keep) = twin(&sums, &old);
            after.iter().zip(&new).for_each(|(&a, &b)| close(T::from_f64(b), a, "state"));
            close(out, after[0], "output");
            keep.iter()
                .zip(of(&saved, kept_stride, C::KEPT))
                .for_each(|(&a, b)| close(T::from_f64(b), a, "kept"));
            // Gradients by differences of the twin.
            let loss = |sums: &[f64], states: &[f64]| {
                let (after, _) = twin(sums, states);
                let d_out = d_output[row * out_stride + unit].to_f64();
                after[0] * d_out + after.iter().zip(&d_new).map(|(a, d)| a * d).sum::<f64>()
            };
            let slope = |at: &dyn Fn(f64) -> f64| (at(1e-6) - at(-1e-6)) / 2e-6;
            let d_kept = of(&kept, kept_stride, C::KEPT);
            for &(sum, place) in places {
                let moved = |by: f64| {
                    let mut sums = sums.clone();
                    sums[sum] += by;
                    loss(&sums, &old)
                };
                let error = (d_kept[place] - slope(&moved)).abs();
                assert!(error < tolerance.max(1e-8) * 10.0, "sum {sum} of {hidden}: {error}");
            }
            for state in 0..C::STATES {
                let moved = |by: f64| {
                    let mut old = old.clone();
                    old[state] += by;
                    loss(&sums, &old)
                };
                let error = (d_old[state] - slope(&moved)).abs();
                assert!(error < tolerance.max(1e-8) * 10.0, "state {state} of {hidden}: {error}");
            }
            assert_eq!(
                d_kept[C::SUMS..],
                of(&saved, kept_stride, C::KEPT)[C::SUMS..],
                "more was written over"
            );
        }
        let gap = |data: &[T], stride: usize, len: usize| {
            data[row * stride + len..(row + 1) * stride].iter().all(|&x| x.to_f64() == UNTOUCHED)
        };
        assert!(gap(&kept, kept_stride, C::KEPT * hidden) && gap(&output, out_stride, hidden));
    }
}

#[test]
fn cells_are_their_formulas() {
    let rnn_places = [(0, 0)];
    check::<f32, _>(Rnn { relu: false }, rnn, &rnn_places, 1e-6);
    check::<f64, _>(Rnn { relu: false }, rnn, &rnn_places, 1e-14);
    check::<f32, _>(Rnn { relu: true }, rnn_relu, &rnn_places, 1e-6);
    check::<f64, _>(Rnn { relu: true }, rnn_relu, &rnn_places, 1e-14);
    let lstm_places = [(0, 0), (1, 1), (2, 2), (3, 3)];
    check::<f32, _>(Lstm, lstm, &lstm_places, 1e-6);
    check::<f64, _>(Lstm, lstm, &lstm_places, 1e-14);
    let gru_places = [(2, 0), (0, 1), (3, 1), (1, 2), (4, 2), (5, 3)];
    check::<f32, _>(Gru, gru, &gru_places, 1e-6);
    check::<f64, _>(Gru, gru, &gru_places, 1e-14);
}

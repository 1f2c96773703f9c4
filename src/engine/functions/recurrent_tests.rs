//! Gradients against differences, and the same bits for any cut of the batch, with memory that is NaN at first.

use super::recurrent::{Kind, Recurrent};
use crate::context::Context;
use crate::engine::function::{
    Backward, Batch, BatchCall, Compute, Forward, Function, Mode, Pass, Random, Step, Target,
};
use crate::kernel::Element;
use crate::kernel::activation::Activation;
use crate::simd::Isa;

/// What a layer is given, and what came of it.
#[derive(Clone, Debug, PartialEq)]
struct Run<T> {
    parameters: Vec<Vec<T>>,
    x: Vec<T>,
    mask: Option<Vec<T>>,
    output: Vec<T>,
    d_x: Vec<T>,
    gradients: Vec<Vec<T>>,
}

const RANDOM: Random = Random { seed: [0; 3], layer: 0, number: 0 };

fn numbers<T: Element>(seed: usize, count: usize) -> Vec<T> {
    let at = |i: usize| ((i * 7919 + seed * 104_729 + 17) % 1009) as f64 / 504.5 - 1.0;
    (0..count).map(|i| T::from_f64(at(i))).collect()
}

fn out_width(f: &Recurrent) -> usize {
    f.directions * f.hidden * if f.sequences { f.steps } else { 1 }
}

fn new<T: Element>(f: &Recurrent, batch: usize, masked: bool) -> Run<T> {
    let gates = f.gates_width();
    let mut lens = vec![gates * f.inputs, gates * f.hidden];
    lens.extend(if f.bias { vec![gates; 2] } else { Vec::new() });
    lens.extend(if f.initial { vec![f.hidden; f.kind.states()] } else { Vec::new() });
    let parameters =
        (0..f.directions * lens.len()).map(|i| numbers(i + 1, lens[i % lens.len()])).collect::<Vec<_>>();
    // Every sample ends somewhere else, one has a gap, and one nothing.
    let counts = |i: usize| {
        let (sample, step) = (i / f.steps, i % f.steps);
        T::from_f64(f64::from(u8::from(
            step <= sample % f.steps && sample != 3 && !(sample == 2 && step == 1),
        )))
    };
    Run {
        gradients: parameters.iter().map(|p: &Vec<T>| vec![T::zero(); p.len()]).collect(),
        parameters,
        x: numbers(99, batch * f.steps * f.inputs),
        mask: masked.then(|| (0..batch * f.steps).map(counts).collect()),
        output: vec![T::zero(); batch * out_width(f)],
        d_x: Vec::new(),
    }
}

/// What the steps over the whole batch are given.
struct Whole<'a, T> {
    context: Context,
    batch: usize,
    parameters: &'a [&'a [T]],
    inputs: &'a [&'a [T]],
}

/// The tiles of a step over the whole batch, the last one first.
fn batch_step<T: Element>(
    f: &Recurrent,
    (pass, step, tiles): (Pass, usize, &Batch),
    whole: &Whole<'_, T>,
    (kept, accumulate): (&[T], bool),
    (shared, gradients): (&mut [T], &mut [Vec<T>]),
) {
    for (tile, writes) in tiles.tiles.iter().enumerate().rev() {
        let mut memory = Vec::new();
        // In place: how a matrix is packed depends on where.
        let mut targets: Vec<&mut [T]> = match (&writes[..], pass) {
            ([write], Pass::Prepare) if write.target == Target::Shared => {
                vec![&mut shared[write.range.clone()]]
            }
            _ => {
                memory.extend(writes.iter().map(|write| match write.target {
                    Target::Gradient(number) => gradients[number][write.range.clone()].to_vec(),
                    _ => unreachable!(),
                }));
                memory.iter_mut().map(Vec::as_mut_slice).collect()
            }
        };
        let call = BatchCall {
            context: &whole.context,
            batch: whole.batch,
            parameters: if pass == Pass::Gradient { &[] } else { whole.parameters },
            shared: &[],
            inputs: if pass == Pass::Prepare { &[] } else { whole.inputs },
            d_output: &[],
            kept,
            writes: &mut targets,
            accumulate,
            scratch: &mut [],
        };
        f.batch(pass, step, tile, call);
        for (write, memory) in writes.iter().zip(memory) {
            let Target::Gradient(number) = write.target else { unreachable!() };
            gradients[number][write.range.clone()].copy_from_slice(&memory);
        }
    }
}

/// All steps, with the batch cut into these numbers of samples. Without `d_output` forward alone.
fn run<T: Element>(f: &Recurrent, isa: Isa, cut: &[usize], r: &mut Run<T>, d_output: Option<&[T]>) {
    let context = Context::new(isa).unwrap();
    let batch: usize = cut.iter().sum();
    let parameters: Vec<&[T]> = r.parameters.iter().map(Vec::as_slice).collect();
    let mode = Mode {
        batch,
        training: d_output.is_some(),
        wants: vec![true, false],
        trained: vec![true; parameters.len()],
        element: size_of::<T>(),
    };
    let needs = f.needs(&mode);
    let mut shared = vec![T::nan(); needs.shared];
    let mut kept = vec![T::nan(); needs.kept * batch];
    let whole: Vec<&[T]> = [r.x.as_slice()].into_iter().chain(r.mask.as_deref()).collect();
    let at = Whole { context, batch, parameters: &parameters, inputs: &whole };
    for (step, it) in needs.prepare.iter().enumerate() {
        batch_step(f, (Pass::Prepare, step, it), &at, (&[], false), (&mut shared, &mut []));
    }
    let mut d_x = vec![T::nan(); if d_output.is_some() { r.x.len() } else { 0 }];
    let mut first = 0;
    let width = out_width(f);
    for &samples in cut {
        let all = first..first + samples;
        let part = |len: usize| first * len..(first + samples) * len;
        let inputs: Vec<&[T]> = whole.iter().map(|it| &it[part(it.len() / batch)]).collect();
        let mut scratch = vec![T::nan(); needs.scratch + samples * needs.scratch_per_sample];
        assert!(matches!(needs.forward[..], [Step::Samples]));
        let forward = Forward {
            context: &context,
            training: mode.training,
            samples: all.clone(),
            activation: Activation::Identity,
            parameters: &parameters,
            shared: &shared,
            inputs: &inputs,
            output: &mut r.output[part(width)],
            kept: &mut kept[part(needs.kept)],
            scratch: &mut scratch,
            random: RANDOM,
        };
        f.forward(0, forward).unwrap();
        if let Some(d_output) = d_output {
            scratch.fill(T::nan());
            let backward = Backward {
                context: &context,
                samples: all,
                parameters: &parameters,
                shared: &shared,
                inputs: &inputs,
                d_output: &d_output[part(width)],
                d_inputs: &mut [Some(&mut d_x[part(f.steps * f.inputs)]), None],
                kept: &mut kept[part(needs.kept)],
                scratch: &mut scratch,
                random: RANDOM,
            };
            f.backward(0, backward);
        }
        first += samples;
    }
    for accumulate in [false, true] {
        for (step, it) in needs.gradient.iter().enumerate() {
            let pass = (Pass::Gradient, step, it);
            batch_step(f, pass, &at, (&kept, accumulate), (&mut [], &mut r.gradients));
        }
    }
    // They were added a second time.
    let half = T::from_f64(0.5);
    r.gradients.iter_mut().flatten().for_each(|g| *g *= half);
    r.d_x = d_x;
}

fn layers() -> impl Iterator<Item = (Recurrent, bool)> {
    let kinds = [Kind::Rnn { relu: false }, Kind::Rnn { relu: true }, Kind::Lstm, Kind::Gru];
    kinds.into_iter().flat_map(|kind| {
        [
            (1, true, false, true, false),
            (2, true, true, true, true),
            (2, false, true, false, true),
            (1, true, true, false, false),
        ]
        .map(|(directions, bias, initial, sequences, masked)| {
            let f = Recurrent {
                kind,
                inputs: 3,
                hidden: 5,
                steps: 4,
                directions,
                bias,
                initial,
                sequences,
                truncate: None,
            };
            (f, masked)
        })
    })
}

#[test]
fn gradients_are_those_of_the_loss() {
    for (f, masked) in layers() {
        let cut = [4, 1];
        let mut r = new::<f64>(&f, 5, masked);
        let d_output = numbers::<f64>(55, r.output.len());
        run(&f, Isa::Portable, &cut, &mut r, Some(&d_output));
        let slope = |move_by: &dyn Fn(&mut Run<f64>, f64)| {
            let loss = |by: f64| {
                let mut moved = r.clone();
                move_by(&mut moved, by);
                run(&f, Isa::Portable, &cut, &mut moved, None);
                moved.output.iter().zip(&d_output).map(|(y, d)| y * d).sum::<f64>()
            };
            (loss(1e-6) - loss(-1e-6)) / 2e-6
        };
        for i in 0..r.x.len() {
            let expected = slope(&|r, by| r.x[i] += by);
            assert!((r.d_x[i] - expected).abs() < 1e-8, "{f:?}: d_x[{i}] {} {expected}", r.d_x[i]);
        }
        for p in 0..r.parameters.len() {
            for i in 0..r.parameters[p].len() {
                let (got, expected) = (r.gradients[p][i], slope(&|r, by| r.parameters[p][i] += by));
                assert!((got - expected).abs() < 1e-8, "{f:?}: parameter {p}, {i}: {got} {expected}");
            }
        }
    }
}

#[test]
fn a_cut_of_the_batch_changes_no_bit() {
    for (f, masked) in layers() {
        for truncate in [None, Some(3)] {
            let f = Recurrent { truncate, hidden: 17, ..f };
            let mut expected: Option<Run<f32>> = None;
            for isa in Isa::available().filter(|isa| isa.has_fma()) {
                for cut in [&[9][..], &[1; 9], &[5, 4], &[3, 2, 4]] {
                    let mut r = new::<f32>(&f, 9, masked);
                    let d_output = numbers::<f32>(55, r.output.len());
                    run(&f, isa, cut, &mut r, Some(&d_output));
                    assert!(r.output.iter().chain(&r.d_x).all(|x| x.is_finite()));
                    match &expected {
                        Some(expected) => assert!(r == *expected, "{f:?}, {isa}, {cut:?}"),
                        None => expected = Some(r),
                    }
                }
            }
        }
    }
}

#[test]
fn what_does_not_count_is_left_out() {
    for (f, _) in layers() {
        // The first sample has one step, whatever stands in the others; its output there is 0.
        let mut r = new::<f64>(&f, 5, true);
        let d_output = numbers::<f64>(55, r.output.len());
        run(&f, Isa::Portable, &[5], &mut r, Some(&d_output));
        assert!(r.d_x[f.inputs..f.steps * f.inputs].iter().all(|&d| d == 0.0));
        let mut short = new::<f64>(&Recurrent { steps: 1, ..f }, 1, false);
        short.x.copy_from_slice(&r.x[..f.inputs]);
        run(&Recurrent { steps: 1, ..f }, Isa::Portable, &[1], &mut short, None);
        let (first, rest) = r.output[..out_width(&f)].split_at(f.directions * f.hidden);
        assert!(first == short.output && rest.iter().all(|&y| y == 0.0), "{f:?}");
    }
}

#[test]
fn what_is_not_trained_is_not_written() {
    let (f, _) = layers().nth(9).unwrap();
    let mode = |trained| Mode { batch: 2, training: true, wants: vec![false], trained, element: 4 };
    let all = f.needs(&mode(vec![true; 2 * f.parameters()]));
    assert!(f.needs(&mode(vec![false; 2 * f.parameters()])).gradient.is_empty());
    let mut trained = vec![false; 2 * f.parameters()];
    trained[1] = true;
    let one = f.needs(&mode(trained));
    let written =
        |batch: &Batch| -> usize { batch.tiles.iter().flatten().map(|write| write.range.len()).sum() };
    assert_eq!(written(&one.gradient[0]), f.gates_width() * f.hidden);
    let directions = 2 * (f.gates_width() * (f.inputs + f.hidden + 2) + 2 * f.hidden);
    assert_eq!(written(&all.gradient[0]), directions);
}

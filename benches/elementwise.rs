//! Elementary functions, activations and softmax on 64 Ki f32, one thread, on every instruction set of this CPU.
//!
//! The numbers stand in L2, so arithmetic is measured and not memory. Nanoseconds per element are the time divided by
//! 65,536 (softmax: about that). Each function's answers are checked against f64 before it is timed.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::disallowed_methods, reason = "the standard library's f64 functions are the oracle")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gemmule::kernel::{activation, activation::Activation, math, softmax};
use gemmule::{Context, Isa, Parallelism};
use std::hint::black_box;

const COUNT: usize = 1 << 16;

type Run = fn(&Context, &[f32], &mut [f32]);
/// Name, function, oracle, and the range of the inputs.
type Case = (&'static str, Run, fn(f64) -> f64, f64, f64);

/// Inputs in [low, high), evenly spread and shuffled by a stride.
fn inputs(low: f64, high: f64) -> Vec<f32> {
    (0..COUNT).map(|i| (low + (high - low) * ((i * 40_503) % COUNT) as f64 / COUNT as f64) as f32).collect()
}

fn relu(context: &Context, input: &[f32], output: &mut [f32]) {
    activation::forward(context, Activation::Relu, input, output).expect("equal lengths");
}

fn benches(criterion: &mut Criterion) {
    let isas: Vec<Isa> = Isa::available().collect();
    println!("instruction sets {isas:?}, 1 thread");
    let functions: [Case; 5] = [
        ("exp", |c, x, y| math::exp(c, x, y).expect("equal lengths"), f64::exp, -80.0, 80.0),
        ("ln", |c, x, y| math::ln(c, x, y).expect("equal lengths"), f64::ln, 0.001, 1000.0),
        (
            "sigmoid",
            |c, x, y| math::sigmoid(c, x, y).expect("equal lengths"),
            |x| 1.0 / (1.0 + (-x).exp()),
            -20.0,
            20.0,
        ),
        ("tanh", |c, x, y| math::tanh(c, x, y).expect("equal lengths"), f64::tanh, -5.0, 5.0),
        ("relu", relu, |x| x.max(0.0), -5.0, 5.0),
    ];
    for isa in isas {
        let context = Context::new(isa).expect("available").with_parallelism(Parallelism::Serial);
        let mut group = criterion.benchmark_group(format!("elementwise/{isa}"));
        for (name, run, oracle, low, high) in functions {
            let input = inputs(low, high);
            let mut output = vec![0.0; COUNT];
            run(&context, &input, &mut output);
            for (&x, &y) in input.iter().zip(&output) {
                let exact = oracle(f64::from(x));
                assert!((f64::from(y) - exact).abs() <= 2e-7 * exact.abs(), "{name}({x}) = {y}");
            }
            group.throughput(Throughput::Elements(COUNT as u64));
            group.bench_function(BenchmarkId::new("f32", name), |bencher| {
                bencher.iter(|| run(&context, black_box(&input), black_box(&mut output)));
            });
        }
        for width in [10, 512] {
            let count = COUNT / width * width;
            let input = &inputs(-5.0, 5.0)[..count];
            let mut output = vec![0.0; count];
            softmax::forward(&context, input, &mut output, width).expect("whole rows");
            for (x, y) in input.chunks(width).zip(output.chunks(width)) {
                let sum: f64 = x.iter().map(|&x| f64::from(x).exp()).sum();
                for (&x, &y) in x.iter().zip(y) {
                    let exact = f64::from(x).exp() / sum;
                    assert!((f64::from(y) - exact).abs() <= 2e-6 * exact, "softmax: {y}, not {exact}");
                }
            }
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(BenchmarkId::new("f32", format!("softmax-{width}")), |bencher| {
                bencher.iter(|| {
                    softmax::forward(&context, black_box(input), black_box(&mut output), width)
                        .expect("whole rows");
                });
            });
        }
        group.finish();
    }
}

criterion_group!(elementwise, benches);
criterion_main!(elementwise);

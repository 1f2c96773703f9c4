//! The caller's floating-point environment: refused where it is not the default one, by name; a worker of the pool in
//! another environment does not help, so that the bits stay the same.
//!
//! A binary of its own: it changes the control register of its threads, and the workers of the global pool.

#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(unsafe_code, reason = "the control register can only be set in assembly")]

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Model, Sequential};
use gemmule::optim::Sgd;
use gemmule::train::Fit;
use gemmule::{Context, Error, MatMut, MatRef, Parallelism, Result, Tensor, gemm};
use std::arch::asm;

/// The control register. Nothing but its bits is changed, and the tests set it back before they compute anything
/// themselves.
#[cfg(target_arch = "x86_64")]
fn control() -> u64 {
    let mut value = 0_u32;
    // SAFETY: stores four bytes to a place that has them.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    u64::from(value)
}

#[cfg(target_arch = "x86_64")]
fn set_control(value: u64) {
    let value = value as u32;
    // SAFETY: loads four bytes that were stored by `control`, with bits for rounding and flushing changed: all defined.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
}

#[cfg(target_arch = "aarch64")]
fn control() -> u64 {
    let value: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

#[cfg(target_arch = "aarch64")]
fn set_control(value: u64) {
    // SAFETY: writes what `control` read, with bits for rounding and flushing changed.
    unsafe { asm!("msr fpcr, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// The bits to set, and a part of the error's text.
#[cfg(target_arch = "x86_64")]
const SETTINGS: [(u64, &str); 6] = [
    (1 << 15, "subnormal results are flushed"),
    (1 << 6, "subnormal operands are taken for zero"),
    (1 << 15 | 1 << 6, "as operands and as results"),
    (1 << 13, "downward"),
    (2 << 13, "upward"),
    (3 << 13, "toward zero"),
];
#[cfg(target_arch = "aarch64")]
const SETTINGS: [(u64, &str); 4] = [
    (1 << 24, "as operands and as results"),
    (1 << 22, "upward"),
    (2 << 22, "downward"),
    (3 << 22, "toward zero"),
];

/// Calls `body` with `bits` set in the control register.
fn within<R>(bits: u64, body: impl FnOnce() -> R) -> R {
    let before = control();
    set_control(before | bits);
    let result = body();
    set_control(before);
    result
}

/// Gradients that are subnormal in f32: a worker that flushed them would leave other weights.
fn data() -> Dataset {
    let x = Tensor::from_fn(&[256, 64], |at| ((at[0] * 7 + at[1] * 3) % 11) as f32 * 1e-22).unwrap();
    let y = Tensor::from_fn(&[256, 8], |at| ((at[0] + at[1]) % 3) as f32 * 1e-17).unwrap();
    Dataset::from_values(x).unwrap().with_values(y).unwrap()
}

fn net() -> Sequential {
    Sequential::new().with(Dense::new(64, 256)).with(Activation::Tanh).with(Dense::new(256, 8).without_bias())
}

fn model(parallelism: Parallelism) -> Result<Model<f32>> {
    let context = Context::detect()?.with_parallelism(parallelism);
    let mut model: Model<f32> = net().build_with(context, 0)?;
    for (index, info) in model.parameters().into_iter().enumerate() {
        if info.name.ends_with("bias") {
            model.set_parameter(&info.name, &Tensor::zeros(&info.shape)?)?;
        } else {
            // No power of two, so that the products are subnormal and not exact.
            let values =
                Tensor::from_fn(&info.shape, |at| ((at[0] + 3 * at[1] + index) % 7) as f32 * 0.0137)?;
            model.set_parameter(&info.name, &values)?;
        }
    }
    model.compile(Loss::MeanSquaredError, Sgd { learning_rate: 1.0, ..Sgd::default() })?;
    Ok(model)
}

fn refused<R: std::fmt::Debug>(result: Result<R>, part: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Environment { .. }), "{error}");
    assert!(error.to_string().contains(part), "no {part:?} in {error}");
}

#[test]
fn every_other_environment_is_refused_and_named() {
    let data = data();
    let context = Context::detect().unwrap();
    let (a, mut c) = ([1.0_f32; 4], [7.0_f32; 4]);
    let view = MatRef::row_major(&a, 2, 2).unwrap();
    let mut trained = model(Parallelism::Serial).unwrap();
    for (bits, part) in SETTINGS {
        let before = trained.parameter("0.weight").unwrap();
        let mut target = MatMut::row_major(&mut c, 2, 2).unwrap();
        refused(within(bits, || gemm(&context, 1.0, view, view, 0.0, &mut target)), part);
        refused(within(bits, || trained.step(&data, &[0, 1, 2])), part);
        refused(within(bits, || trained.fit(&data, Fit::new())), part);
        refused(within(bits, || trained.evaluate(&data)), part);
        refused(within(bits, || trained.predict(&data)), part);
        refused(within(bits, || trained.gradients(&data, &[0])), part);
        refused(within(bits, || net().build::<f32>(0)), part);
        assert_eq!((c, trained.steps()), ([7.0; 4], 0), "nothing was written");
        assert_eq!(trained.parameter("0.weight").unwrap(), before);
    }
    // Exception flags that are set are no other environment.
    within(0x3F, || trained.step(&data, &[0, 1, 2])).unwrap();
}

#[test]
fn workers_in_another_environment_do_not_help() {
    let (flush, _) = SETTINGS[if cfg!(target_arch = "x86_64") { 2 } else { 0 }];
    rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .start_handler(move |_| set_control(control() | flush))
        .build_global()
        .unwrap();
    let train = |parallelism| {
        let mut model = model(parallelism).unwrap();
        let all: Vec<usize> = (0..256).collect();
        for _ in 0..30 {
            model.step(&data(), &all).unwrap();
        }
        model.parameters().iter().map(|p| model.parameter(&p.name).unwrap()).collect::<Vec<_>>()
    };
    let alone = train(Parallelism::Serial);
    assert!(
        alone[0].as_slice().iter().any(|w| w.is_subnormal()),
        "the weights see no subnormal number, so the test sees nothing"
    );
    for threads in [2, 3] {
        assert!(train(Parallelism::Max(threads)) == alone, "{threads} threads");
    }
}

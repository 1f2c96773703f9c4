//! Same bits: one hash for every number of threads and every instruction set with a fused multiply-add, equal to the
//! committed one. A changed hash is a breaking release.

mod common;

use gemmule::data::{Batches, Dataset};
use gemmule::kernel::activation::{self, Activation};
use gemmule::kernel::softmax;
use gemmule::nn::{Dense, Dropout, Init, Loss, Model, Sequential};
use gemmule::optim::{Adam, Optimizer, Sgd};
use gemmule::rng::Rng;
use gemmule::{Context, Element, MatMut, MatRef, Parallelism, Tensor, gemm};

/// FNV-1a over bit patterns.
fn hash<T: Element>(hash: u64, values: &[T]) -> u64 {
    values.iter().fold(hash, |hash, value| (hash ^ value.bits()).wrapping_mul(0x0000_0100_0000_01B3))
}

const START: u64 = 0xCBF2_9CE4_8422_2325;
const THREADS: [usize; 4] = [1, 2, 3, 5];

fn fused() -> impl Iterator<Item = Context> {
    common::contexts().into_iter().filter(|context| context.isa().has_fma())
}

/// Calls `run` for every instruction set with FMA and every number of threads, in the global pool and in one of that
/// many threads, and compares what it returns.
fn everywhere(expected: u64, run: impl Fn(Context) -> u64 + Sync) {
    for context in fused() {
        for threads in THREADS {
            let context = context.with_parallelism(Parallelism::Max(threads));
            let what = format!("{} with {threads} threads", context.isa());
            assert_eq!(run(context), expected, "{what}: {:#018x} is not {expected:#018x}", run(context));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let inside = pool.install(|| run(context));
            assert_eq!(inside, expected, "{what}, in a pool: {inside:#018x} is not {expected:#018x}");
        }
        let serial = run(context.with_parallelism(Parallelism::Serial));
        assert_eq!(serial, expected, "{}, serial: {serial:#018x}", context.isa());
    }
}

fn random<T: Element>(stream: u64, len: usize) -> Vec<T> {
    let mut values = vec![T::zero(); len];
    Rng::new(11).stream(stream).fill_uniform(&Context::detect().unwrap(), &mut values, -1.0, 1.0).unwrap();
    values
}

fn products<T: Element>(context: Context) -> u64 {
    let mut all = START;
    for (m, n, k) in [(1, 1, 1), (7, 33, 65), (64, 10, 1030), (150, 170, 129), (33, 200, 600)] {
        let (a, b) = (random::<T>(1, m * k), random::<T>(2, k * n));
        for transposed in [false, true] {
            let mut c = random::<T>(3, m * n);
            let a = if transposed { MatRef::col_major(&a, m, k) } else { MatRef::row_major(&a, m, k) };
            let b = if transposed { MatRef::col_major(&b, k, n) } else { MatRef::row_major(&b, k, n) };
            let c_view = &mut MatMut::row_major(&mut c, m, n).unwrap();
            gemm(&context, T::from_f64(1.5), a.unwrap(), b.unwrap(), T::from_f64(-0.5), c_view).unwrap();
            all = hash(all, &c);
        }
    }
    all
}

#[test]
fn products_f32() {
    everywhere(PRODUCTS_F32, products::<f32>);
}

#[test]
fn products_f64() {
    everywhere(PRODUCTS_F64, products::<f64>);
}

/// Row 0 of A B equals (row 0 of A) B, and so does any other.
#[test]
fn a_row_does_not_depend_on_the_others() {
    let (m, n, k) = (37, 75, 700);
    let (a, b) = (random::<f32>(1, m * k), random::<f32>(2, k * n));
    for context in fused() {
        let b = MatRef::row_major(&b, k, n).unwrap();
        let product = |rows: &[f32]| {
            let mut c = vec![0.0; rows.len() / k * n];
            let a = MatRef::row_major(rows, rows.len() / k, k).unwrap();
            let c_view = &mut MatMut::row_major(&mut c, rows.len() / k, n).unwrap();
            gemm(&context, 1.0, a, b, 0.0, c_view).unwrap();
            c
        };
        let whole = product(&a);
        for row in [0, 1, 5, 6, 36] {
            assert_eq!(product(&a[row * k..][..k]), whole[row * n..][..n], "row {row} on {}", context.isa());
        }
    }
}

fn kernels<T: Element>(context: Context) -> u64 {
    let mut all = START;
    for len in [1, 15, 16, 17, 1000] {
        let x: Vec<T> = random::<T>(len as u64, len).iter().map(|&x| x * T::from_f64(12.0)).collect();
        let (mut y, mut d) = (vec![T::zero(); len], vec![T::zero(); len]);
        for name in ["identity", "exponential", "sigmoid", "tanh", "relu"] {
            let activation: Activation = name.parse().unwrap();
            activation::forward(&context, activation, &x, &mut y).unwrap();
            activation::backward(&context, activation, &y, &x, &mut d).unwrap();
            all = hash(hash(all, &y), &d);
        }
        softmax::forward(&context, &x, &mut y, len).unwrap();
        softmax::backward(&context, &y, &x, &mut d, len).unwrap();
        all = hash(hash(all, &y), &d);
    }
    all
}

#[test]
fn kernels_f32() {
    everywhere(KERNELS_F32, kernels::<f32>);
}

#[test]
fn kernels_f64() {
    everywhere(KERNELS_F64, kernels::<f64>);
}

/// Hash of all weights after 200 steps, with shuffled batches, the last one smaller.
fn trained<T: Element>(context: Context, activation: Activation, optimizer: Optimizer) -> u64 {
    const SAMPLES: usize = 200;
    let x = Tensor::from_vec(&[SAMPLES, 40], random::<T>(4, SAMPLES * 40)).unwrap();
    let classes = (0..SAMPLES as u32).map(|sample| sample * sample % 7).collect();
    let data = Dataset::from_values(x).unwrap().with_classes(classes, 7).unwrap();
    let net = Sequential::new()
        .with(Dense::new(40, 96).weight_init(Init::GlorotNormal))
        .with(activation)
        .with(Dense::new(96, 72))
        .with(Activation::Relu)
        .with(Dense::new(72, 7));
    let mut model: Model<T> = net.build_with(context, 5).unwrap();
    model.compile(Loss::CrossEntropy, optimizer).unwrap();
    let mut step = 0;
    for epoch in 0.. {
        for batch in &Batches::new(SAMPLES, 48, Some((6, epoch))).unwrap() {
            model.step(&data, batch).unwrap();
            step += 1;
            if step == 200 {
                let all = model.parameters().into_iter();
                return all.fold(START, |h, p| hash(h, model.parameter(&p.name).unwrap().as_slice()));
            }
        }
    }
    unreachable!()
}

#[test]
fn weights_after_200_steps_adam_f32() {
    everywhere(ADAM_F32, |context| trained::<f32>(context, Activation::Tanh, Adam::default().into()));
}

#[test]
fn weights_after_200_steps_momentum_f32() {
    let momentum =
        Sgd { learning_rate: 0.05, momentum: 0.9, nesterov: true, weight_decay: 1e-4, ..Sgd::default() };
    everywhere(MOMENTUM_F32, |context| trained::<f32>(context, Activation::Sigmoid, momentum.into()));
}

#[test]
fn weights_after_200_steps_sgd_f64() {
    let sgd = Sgd { learning_rate: 0.05, ..Sgd::default() };
    everywhere(SGD_F64, |context| trained::<f64>(context, Activation::Relu, sgd.into()));
}

/// Under emulation a step takes a hundred times as long.
const LONG: u32 = if cfg!(target_arch = "x86_64") { 1000 } else { FIRST };
const FIRST: u32 = 40;

/// Hashes of all weights after the first steps and after all of a long run: dropout, shuffled batches, a falling learning
/// rate, Adam.
fn long_run<T: Element>(context: Context, widths: &[usize], batch: usize) -> [u64; 2] {
    let (samples, classes) = (300, *widths.last().unwrap());
    let x = Tensor::from_vec(&[samples, widths[0]], random::<T>(8, samples * widths[0])).unwrap();
    let labels = (0..samples as u32).map(|sample| sample * 11 % classes as u32).collect();
    let data = Dataset::from_values(x).unwrap().with_classes(labels, classes).unwrap();
    let mut net = Sequential::new();
    for (layer, pair) in widths.windows(2).enumerate() {
        net = net.with(Dense::new(pair[0], pair[1]));
        if layer + 2 < widths.len() {
            net = net.with([Activation::Relu, Activation::Silu][layer % 2]).with(Dropout::new(0.2));
        }
    }
    let mut model: Model<T> = net.build_with(context, 2).unwrap();
    model.compile(Loss::CrossEntropy, Adam::default()).unwrap();
    let hash_of = |model: &Model<T>| {
        let all = model.parameters().into_iter();
        all.fold(START, |h, p| hash(h, model.parameter(&p.name).unwrap().as_slice()))
    };
    let (mut step, mut first) = (0, 0);
    for epoch in 0.. {
        for batch in &Batches::new(samples, batch, Some((9, epoch))).unwrap() {
            model.set_learning_rate(2e-3 * (1.0 - f64::from(step) / 1200.0)).unwrap();
            model.step(&data, batch).unwrap();
            step += 1;
            if step == FIRST {
                first = hash_of(&model);
            }
            if step == LONG {
                return [first, hash_of(&model)];
            }
        }
    }
    unreachable!()
}

/// For every instruction set with FMA, on 1 to 16 threads: in the global pool, in one of the host's, and without any.
fn long_runs_agree<T: Element>(expected: [u64; 2], widths: &[usize], batch: usize) {
    let expected = if LONG == FIRST { [expected[0]; 2] } else { expected };
    for context in fused() {
        let emulated: &[usize] = &[1, 3, 16];
        let counts = if LONG == FIRST { emulated } else { &[1, 2, 3, 4, 8, 16] };
        for &threads in counts {
            let found = long_run::<T>(context.with_parallelism(Parallelism::Max(threads)), widths, batch);
            assert_eq!(found, expected, "{} with {threads} threads: {found:#x?}", context.isa());
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let inside =
            pool.install(|| long_run::<T>(context.with_parallelism(Parallelism::Max(3)), widths, batch));
        assert_eq!(inside, expected, "{} in a pool", context.isa());
        let serial = long_run::<T>(context.with_parallelism(Parallelism::Serial), widths, batch);
        assert_eq!(serial, expected, "{} serial", context.isa());
    }
}

#[test]
fn weights_of_a_long_run_of_a_small_net() {
    long_runs_agree::<f32>(LONG_SMALL, &[20, 48, 32, 6], 64);
}

/// Its weights are too large for a chain.
#[test]
fn weights_of_a_long_run_of_a_wide_net() {
    long_runs_agree::<f32>(LONG_WIDE, &[10, 700, 210, 4], 32);
}

#[test]
fn weights_of_a_long_run_in_f64() {
    long_runs_agree::<f64>(LONG_F64, &[9, 33, 50, 3], 50);
}

/// A prediction does not depend on the batch that the sample is in.
#[test]
fn a_prediction_does_not_depend_on_its_batch() {
    for context in fused() {
        let net = Sequential::new().with(Dense::new(30, 50)).with(Activation::Tanh).with(Dense::new(50, 11));
        let mut model: Model<f32> = net.build_with(context, 1).unwrap();
        let x = Tensor::from_vec(&[700, 30], random::<f32>(9, 700 * 30)).unwrap();
        let data = Dataset::from_values(x).unwrap();
        let whole = model.predict(&data).unwrap();
        for sample in [0, 1, 333, 511, 512, 699] {
            let alone = model.predict(&data.subset(&[sample]).unwrap()).unwrap();
            assert_eq!(alone.row(0), whole.row(sample), "sample {sample} on {}", context.isa());
        }
    }
}

// The committed hashes.
const PRODUCTS_F32: u64 = 0xDFF9_ABC0_9914_920B;
const PRODUCTS_F64: u64 = 0xC700_4C5E_8A65_10F7;
const KERNELS_F32: u64 = 0xf32a_729a_5af2_a265;
const KERNELS_F64: u64 = 0xAC14_38DC_0456_4BD4;
const ADAM_F32: u64 = 0x7146_b2e6_2bf3_1e70;
const MOMENTUM_F32: u64 = 0x2496_1577_aede_90a9;
const SGD_F64: u64 = 0x16CC_C151_AC48_8DEC;
const LONG_SMALL: [u64; 2] = [0xc284_161b_305c_63f8, 0xe72d_959f_ec09_e2f6];
const LONG_WIDE: [u64; 2] = [0xa11b_cb26_f452_79bf, 0x32c6_4535_0d45_560d];
const LONG_F64: [u64; 2] = [0x3569_f1a4_ffd3_b1f7, 0x5c39_611d_9fd8_59bc];

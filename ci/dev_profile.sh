#!/usr/bin/env bash
# A user's debug build must be fast: a crate that depends on this one and optimises it alone, as README shows, is
# built in the dev and in the release profile; their times are compared. Generic code that is compiled in the user's
# crate, unoptimised, shows as a ratio far above 1 (see src/kernel/compiled.rs). Fails above 2.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ci/lib.sh

rounds=${1:-5}
root=$PWD
crate=$(mktemp -d)
trap 'rm -rf "$crate"' EXIT
mkdir "$crate/src"
cat >"$crate/Cargo.toml" <<TOML
[package]
name = "downstream"
version = "0.0.0"
edition = "2024"

[dependencies]
gemmule = { path = "$root" }

[profile.dev.package.gemmule]
opt-level = 3

[workspace]
TOML
# Known versions: nothing is looked up.
[[ ! -f Cargo.lock ]] || cp Cargo.lock "$crate"
cat >"$crate/src/main.rs" <<'RUST'
use gemmule::kernel::{activation, convert, loss, math, reduce, softmax, update};
use gemmule::nn::{Activation, Dense, Loss, Sequential};
use gemmule::{Context, Element, MatMut, MatRef, Parallelism, Result, Tensor, data::Dataset, optim::Adam, rng::Rng};
use std::hint::black_box;
use std::time::Instant;

/// Seconds that this thread has had a core, where the system says so: other work on the machine does not count.
fn now(start: Instant) -> f64 {
    // Brings the figure up to date.
    std::thread::yield_now();
    let run = std::fs::read_to_string("/proc/thread-self/schedstat");
    let run = run.ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    run.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds * 1e-9)
}

fn time(name: &str, repeats: usize, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    work()?;
    let before = now(start);
    for _ in 0..repeats {
        work()?;
    }
    println!("{name} {:.3}", (now(start) - before) * 1e6 / repeats as f64);
    Ok(())
}

fn both<T: Element>(context: Context, scale: usize) -> Result<()> {
    let name = |what: &str| format!("{}-{what}", T::NAME);
    const SAMPLES: usize = 2048;
    let mut x = vec![T::zero(); SAMPLES * 784];
    Rng::new(1).fill_uniform(&context, &mut x, -1.0, 1.0)?;
    let values = Tensor::from_vec(&[SAMPLES, 784], x.clone())?;
    let classes: Vec<u32> = (0..SAMPLES as u32).map(|i| i * 7 % 10).collect();
    let floats = Dataset::from_values(values)?.with_classes(classes.clone(), 10)?;
    let bytes = (0..SAMPLES * 784).map(|i| (i * 31 % 251) as u8).collect();
    let bytes = Dataset::from_bytes(&[SAMPLES, 784], bytes)?.with_classes(classes.clone(), 10)?;
    for (what, data) in [("train", &floats), ("train-bytes", &bytes)] {
        let net = Sequential::new().with(Dense::new(784, 64)).with(Activation::Relu).with(Dense::new(64, 64));
        let mut model = net.with(Activation::Relu).with(Dense::new(64, 10)).build_with::<T>(context, 0)?;
        model.compile(Loss::CrossEntropy, Adam::default())?;
        let mut step = 0;
        time(&name(what), 300 * scale, || {
            let batch: Vec<usize> = (0..32).map(|i| (step * 32 + i * 61) % SAMPLES).collect();
            step += 1;
            let _loss = black_box(model.step(data, &batch)?);
            Ok(())
        })?;
    }
    let c = &context;
    let (a, mut y, mut d) = (&x[..16 * 1024], vec![T::zero(); 16 * 1024], vec![T::zero(); 16 * 1024]);
    let (mut losses, mut best) = (vec![T::zero(); 1024], vec![0; 1024]);
    let half = T::from_f64(0.5);
    time(&name("gemm"), 200 * scale, || {
        let (a, b) = (MatRef::row_major(&a[..128 * 128], 128, 128)?, MatRef::row_major(&x[..128 * 128], 128, 128)?);
        gemmule::gemm(c, T::one(), a, b, T::zero(), &mut MatMut::row_major(&mut y, 128, 128)?)
    })?;
    time(&name("activation"), 20 * scale, || {
        for kind in [activation::Activation::Sigmoid, activation::Activation::Tanh, activation::Activation::Relu] {
            activation::forward(c, kind, a, &mut y)?;
            activation::backward(c, kind, &y, a, &mut d)?;
            activation::forward_in_place(c, kind, &mut d)?;
            activation::backward_in_place(c, kind, &y, &mut d)?;
        }
        Ok(())
    })?;
    time(&name("math"), 20 * scale, || {
        math::exp(c, a, &mut y)?;
        math::ln(c, &y, &mut d)?;
        math::ln_1p(c, &y, &mut d)?;
        math::exp_m1(c, a, &mut y)
    })?;
    time(&name("softmax"), 20 * scale, || {
        softmax::forward(c, a, &mut y, 16)?;
        softmax::backward(c, &y, a, &mut d, 16)?;
        softmax::log_softmax(c, a, &mut y, 16)?;
        softmax::log_softmax_backward(c, &y, a, &mut d, 16)?;
        softmax::log_sum_exp(c, a, &mut losses, 16)
    })?;
    time(&name("loss"), 20 * scale, || {
        let (options, rows) = (loss::CrossEntropy::default(), loss::Rows::mean(16));
        loss::cross_entropy_classes(c, a, &classes[..1024], &options, rows, &mut losses, Some(&mut d))?;
        loss::cross_entropy_soft(c, a, &y, &options, rows, &mut losses, Some(&mut d))?;
        loss::mean_squared_error(c, a, &y, rows, &mut losses, Some(&mut d))?;
        loss::binary_cross_entropy_logits(c, a, &y, None, rows, &mut losses, Some(&mut d)).map(drop)
    })?;
    time(&name("reduce"), 100 * scale, || {
        black_box((reduce::sum(c, a), reduce::dot(c, a, a)?, reduce::max(c, a)?, reduce::first_non_finite(c, a)));
        reduce::argmax_rows(c, a, 16, &mut best)?;
        reduce::column_sums(c, a, 1024, &mut losses)?;
        reduce::add_row(c, &losses, &mut d, 1024)
    })?;
    let (mut p, mut m, mut v) = (x[..16 * 1024].to_vec(), y.clone(), vec![T::zero(); 16 * 1024]);
    time(&name("update"), 100 * scale, || {
        let sgd = update::Sgd { learning_rate: 1e-3, weight_decay: 0.1, ..Default::default() };
        let momentum = update::Sgd { momentum: 0.9, nesterov: true, ..sgd };
        update::sgd(c, &sgd.step(2)?, &mut p, a)?;
        update::momentum(c, &momentum.step(2)?, &mut p, a, &mut m)?;
        update::adam(c, &update::Adam::default().step(1)?, &mut p, a, &mut m, &mut v).map(drop)
    })?;
    let (mut single, all) = (vec![0.0_f32; 16 * 1024], vec![7; 16 * 1024]);
    time(&name("convert"), 200 * scale, || {
        convert::bytes_to_floats(c, &all, half, half, &mut y)?;
        convert::cast(c, a, &mut single)
    })?;
    // Once in a program's life.
    time(&name("setup"), 2 * scale, || {
        let values = Tensor::from_vec(&[SAMPLES, 784], x.clone())?;
        black_box(Dataset::from_values(values)?);
        let model = Sequential::new().with(Dense::new(784, 64)).build_with::<T>(context, 0)?;
        black_box(model.parameter("0.weight")?);
        Ok(())
    })
}

fn main() -> Result<()> {
    let scale = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let context = Context::detect()?.with_parallelism(Parallelism::Serial);
    both::<f32>(context, scale)?;
    both::<f64>(context, scale)
}
RUST

# As for a crate from the registry, which is never compiled incrementally. The temporary crate's path is new each time,
# but its dependencies are found again in the usual target directory.
export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/dev-profile
for profile in dev release; do
    timeout 420 cargo build --quiet --manifest-path "$crate/Cargo.toml" --profile "$profile"
done
# Shown, but not counted: what a program does once, which is the user's code in part, and the elementary functions of f64,
# which are those of libm, a crate of its own that this profile leaves unoptimised.
uncounted='^f64-(activation|loss|math|softmax)$|-setup$'
for ((round = 0; round < rounds; round++)); do
    timeout 60 "$CARGO_TARGET_DIR/debug/downstream" | sed 's/^/dev /'
    timeout 60 "$CARGO_TARGET_DIR/release/downstream" | sed 's/^/release /'
done | sort -k2,2 -k1,1 -k3,3g | awk -v rounds="$rounds" -v uncounted="$uncounted" '
    BEGIN { printf "%-18s %12s %12s %8s\n", "microseconds", "dev", "release", "ratio" }
    { median[$1] = ++count[$1 $2] == int((rounds + 1) / 2) ? $3 : median[$1] }
    $1 == "release" && count[$1 $2] == rounds {
        ratio = median["dev"] / median["release"]
        printf "%-18s %12.1f %12.1f %8.2f\n", $2, median["dev"], median["release"], ratio
        if (ratio > 2 && $2 !~ uncounted) { slow = slow " " $2 }
        lines++
    }
    END {
        if (slow != "") { print "more than twice the time in the dev profile:" slow }
        exit slow != "" || lines == 0
    }' || fail "the dev profile is too slow"

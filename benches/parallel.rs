//! What a parallel region costs: entering, a phase change, leaving.
//!
//! Times are of two members unless it says otherwise, medians and what nine of ten stay below, in nanoseconds. They need
//! a machine where nothing else runs, and vary with where its host puts the cores: the first line says how long a cache
//! line takes there and back, which a phase needs at least once, and two members' spinning cannot beat.

mod support;

use gemmule::region;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::measuring;

fn nanoseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e9
}

fn report(what: &str, mut samples: Vec<f64>) {
    samples.sort_by(f64::total_cmp);
    let Some(median) = samples.get(samples.len() / 2) else {
        println!("{what:<58} no sample: the helper never came");
        return;
    };
    println!(
        "{what:<58} {median:>8.0}, nine of ten below {:>8.0} ({} samples)",
        samples[samples.len() * 9 / 10],
        samples.len()
    );
}

/// Work in registers: spinning takes other times under a hypervisor, and so does what goes through the stack.
fn chain(turns: u64) -> u64 {
    std::hint::black_box((0..turns).fold(turns, |x, turn| x.wrapping_mul(3) ^ turn))
}

/// A count on a line of its own.
#[repr(align(128))]
struct Line(AtomicUsize);

fn round_trip() -> f64 {
    let (ball, turns) = (AtomicUsize::new(0), 20_000);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for side in 0..2 {
            let ball = &ball;
            scope.spawn(move || {
                while ball.load(Ordering::Acquire) < turns {
                    let seen = ball.load(Ordering::Acquire);
                    if seen % 2 == side {
                        ball.store(seen + 1, Ordering::Release);
                    }
                    std::hint::spin_loop();
                }
            });
        }
    });
    nanoseconds(begin) / turns as f64 * 2.0
}

/// Phases of a region that has its helper, empty and with work.
fn phases(width: usize, samples: usize) {
    region(width, |phase| {
        // Until the helper is there.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(50) {
            phase(width, &|_| _ = chain(100));
        }
        for tiles in [2, 4, 16] {
            let empty = (0..samples)
                .map(|_| {
                    let begin = Instant::now();
                    for _ in 0..100 {
                        phase(tiles, &|_| {});
                    }
                    nanoseconds(begin) / 100.0
                })
                .collect();
            report(&format!("width {width}: a phase of {tiles} empty tiles"), empty);
        }
        // What a phase takes beyond its tiles, where the helper took its own: elsewhere its core was somebody else's.
        for turns in [200, 5000] {
            let alone = (0..samples).map(|_| {
                let begin = Instant::now();
                chain(std::hint::black_box(turns));
                nanoseconds(begin)
            });
            let mut alone: Vec<_> = alone.collect();
            alone.sort_by(f64::total_cmp);
            let alone = alone[alone.len() / 2];
            let (helped, mut before, mut on_top) = ([const { Line(AtomicUsize::new(0)) }; 2], 0, Vec::new());
            let begin = Instant::now();
            while on_top.len() < samples && begin.elapsed() < Duration::from_secs(3) {
                let begin = Instant::now();
                phase(width, &|member| {
                    chain(turns);
                    helped[member].0.fetch_add(1, Ordering::Relaxed);
                });
                let whole = nanoseconds(begin);
                let after = helped[1].0.load(Ordering::Relaxed);
                if width == 1 || after == before + 1 {
                    on_top.push(whole - alone);
                }
                before = after;
            }
            report(&format!("width {width}: a phase beyond its tiles of {alone:.0} ns each"), on_top);
        }
    });
}

/// Whole regions of one empty phase, each some time after the one before.
fn regions(samples: usize) {
    for (when, pause) in [("at once", 0), ("after 20 us", 20), ("after 5 ms (the pool sleeps)", 5000)] {
        let (mut enter, mut work, mut leave) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..samples {
            let wait = Instant::now();
            if pause > 1000 {
                std::thread::sleep(Duration::from_micros(pause));
            }
            while wait.elapsed() < Duration::from_micros(pause) {
                std::hint::spin_loop();
            }
            let begin = Instant::now();
            let end = region(2, |phase| {
                enter.push(nanoseconds(begin));
                let begin = Instant::now();
                phase(2, &|_| {});
                work.push(nanoseconds(begin));
                Instant::now()
            });
            leave.push(nanoseconds(end));
        }
        report(&format!("{when}: entering"), enter);
        report(&format!("{when}: the first phase, empty"), work);
        report(&format!("{when}: leaving"), leave);
    }
}

fn main() {
    let samples = if measuring() { 2000 } else { 10 };
    println!("up to {} threads; nanoseconds", gemmule::available_threads());
    println!("one cache line there and back, two threads started included: {:.0}", round_trip());
    for width in [1, 2] {
        phases(width, samples);
    }
    regions(samples.min(300));
}

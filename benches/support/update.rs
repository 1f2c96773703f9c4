//! The Adam update beside a loop that only moves the same bytes: 7 arrays' worth, 4 read and 3 written.

use gemmule::kernel::update::{Adam, adam};
use gemmule::{Context, Isa, Parallelism};
use std::hint::black_box;

use super::{fill, median, thread_seconds};

/// Reads p, g, m, v, writes p, m, v, one canonical vector at a time: what each writes comes from another array, so that
/// nothing can be left out, and the one addition reads what is left.
macro_rules! move_loop {
    ($name:ident, $features:literal, $lanes:literal, $load:ident, $store:ident, $add:ident) => {
        #[target_feature(enable = $features)]
        #[allow(unsafe_code, reason = "vector loads and stores")]
        fn $name(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
            let count = p.len();
            assert!(g.len() == count && m.len() == count && v.len() == count && count.is_multiple_of($lanes));
            let mut at = 0;
            while at < count {
                // SAFETY: every access is of the LANES elements from `at` on, which the assertions leave room for.
                unsafe {
                    let (a, b) = ($load(p.as_ptr().add(at)), $load(g.as_ptr().add(at)));
                    let (c, d) = ($load(m.as_ptr().add(at)), $load(v.as_ptr().add(at)));
                    $store(p.as_mut_ptr().add(at), c);
                    $store(m.as_mut_ptr().add(at), d);
                    $store(v.as_mut_ptr().add(at), $add(a, b));
                }
                at += $lanes;
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod movers {
    use std::arch::x86_64::*;

    move_loop!(avx512, "avx512f", 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps);
    move_loop!(avx2, "avx2", 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps);
    move_loop!(sse2, "sse2", 4, _mm_loadu_ps, _mm_storeu_ps, _mm_add_ps);

    #[allow(unsafe_code, reason = "calls functions that are compiled for a CPU feature")]
    pub fn run(isa: gemmule::Isa, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        assert!(isa.is_available());
        // SAFETY: the CPU has the instruction set, checked above.
        unsafe {
            match isa {
                gemmule::Isa::Avx512 => avx512(p, g, m, v),
                gemmule::Isa::Avx2 => avx2(p, g, m, v),
                _ => sse2(p, g, m, v),
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod movers {
    use std::arch::aarch64::*;

    move_loop!(neon, "neon", 4, vld1q_f32, vst1q_f32, vaddq_f32);

    #[allow(unsafe_code, reason = "calls a function that is compiled for a CPU feature")]
    pub fn run(_: gemmule::Isa, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        // SAFETY: every 64-bit Arm CPU that this crate runs on has NEON.
        unsafe { neon(p, g, m, v) }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod movers {
    pub fn run(_: gemmule::Isa, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            (*p, *m, *v) = (*m, *v, *p + g);
        }
    }
}

/// Prints nanoseconds per element of the Adam update and of the moving loop, and how fast the one is beside the other,
/// for 16 Ki parameters (in L2) and for 16 Mi, f32, one thread, on every instruction set.
///
/// Both are measured by turns, and each ratio is of neighbours in time: the median of them is printed.
pub fn print_ratios() {
    println!("Adam update beside a loop that moves the same bytes, f32, 1 thread");
    for isa in Isa::available() {
        let context = Context::new(isa).expect("available").with_parallelism(Parallelism::Serial);
        for (count, runs, turns) in [(1 << 14, 300, 41), (1 << 24, 1, 9)] {
            let g = fill(count, 1);
            let mut arrays = [fill(count, 2), fill(count, 3), fill(count, 4)];
            arrays[2].iter_mut().for_each(|v| *v = v.abs());
            let [p, m, v] = &mut arrays;
            // Past the first steps: all numbers stay of size one, none becomes subnormal.
            let step = Adam::default().step(1000).expect("defaults");
            let (mut ours, mut moved, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..=turns {
                let start = thread_seconds();
                for _ in 0..runs {
                    let finite = adam(&context, &step, p, &g, m, v).expect("equal lengths");
                    assert!(black_box(finite));
                }
                let middle = thread_seconds();
                for _ in 0..runs {
                    // Three moves bring each array home but for sums: they are overwritten below.
                    movers::run(isa, black_box(p), black_box(&g), black_box(m), black_box(v));
                }
                let end = thread_seconds();
                for (array, seed) in [(&mut *p, 2), (&mut *m, 3), (&mut *v, 4)] {
                    array.copy_from_slice(&fill(count, seed));
                }
                v.iter_mut().for_each(|v| *v = v.abs());
                // The first turn brings caches and pages.
                if turn > 0 {
                    let scale = 1e9 / (runs as f64 * count as f64);
                    ours.push((middle - start) * scale);
                    moved.push((end - middle) * scale);
                    ratios.push((end - middle) / (middle - start));
                }
            }
            println!(
                "  {isa:8} {count:9} parameters: adam {:.4} ns, moving {:.4} ns, {:5.1} % of its speed",
                median(ours),
                median(moved),
                100.0 * median(ratios)
            );
        }
    }
}

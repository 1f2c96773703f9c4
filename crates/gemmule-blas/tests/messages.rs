//! What is printed, and that there is a result where gemmule refuses: in child processes, whose stderr is read.

#[allow(dead_code, reason = "shared")]
mod common;

use common::{Arguments, BAD_C, BAD_FORTRAN, Real, bad, letters};
use std::process::Command;

/// Set in a child: the test does what it is about.
const CHILD: &str = "GEMMULE_BLAS_TEST_CHILD";

/// Runs the test `name` in a process of its own and gives what that prints.
fn child(name: &str, variable: (&str, &str)) -> String {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .env(variable.0, variable.1)
        .output()
        .expect("this program again");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stdout));
    text
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// C = A B + 2 C, twice, on numbers whose sums are exact.
fn multiply() {
    let (a, b) = ([1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.5, -1.0, 2.0, 0.0, 4.0]);
    for _ in 0..2 {
        let mut c = [0.5, 1.0, -1.0, 8.0];
        let (a, b, c_pointer) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        let arguments = Arguments {
            settings: letters("NN"),
            sizes: [2, 2, 3],
            alpha: 1.0,
            a,
            lda: 2,
            b,
            ldb: 3,
            beta: 2.0,
            c: c_pointer,
            ldc: 2,
        };
        // SAFETY: the arrays have these sizes.
        unsafe { f32::fortran(arguments) };
        assert_eq!(c, [-1.5, 0.0, 20.0, 44.0]);
    }
}

#[test]
fn bad_arguments() {
    if is_child() {
        for (settings, sizes, lds, _) in BAD_FORTRAN {
            // SAFETY: refused before anything is read.
            unsafe { f32::fortran(bad(letters(settings), sizes, lds)) };
        }
        for (layout, settings, sizes, lds, _) in BAD_C {
            // SAFETY: as above.
            unsafe { f64::c(layout, bad(settings, sizes, lds)) };
        }
        return;
    }
    let mut expected = String::new();
    for (.., position) in BAD_FORTRAN {
        expected += &format!(" ** On entry to SGEMM parameter number {position:2} had an illegal value\n");
    }
    for (layout, settings, _, _, position) in BAD_C {
        expected += &format!("Parameter {position} to routine cblas_dgemm was incorrect\n");
        expected += &match position {
            1 => format!("Illegal layout setting, {layout}\n"),
            2 => format!("Illegal TransA setting, {}\n", settings[0]),
            3 => format!("Illegal TransB setting, {}\n", settings[1]),
            _ => String::new(),
        };
    }
    assert_eq!(child("bad_arguments", ("UNUSED", "")), expected);
}

#[test]
fn unknown_instruction_set() {
    if is_child() {
        return multiply();
    }
    let text = child("unknown_instruction_set", ("GEMMULE_ISA", "abacus"));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("gemmule-blas: instruction set \"abacus\" is not available"), "{text}");
    assert!(text.ends_with("; computing with plain loops\n"), "{text}");
}

#[test]
fn number_of_threads() {
    if is_child() {
        return multiply();
    }
    for value in ["0", "-1", "many", ""] {
        let expected = format!(
            "gemmule-blas: GEMMULE_NUM_THREADS: expected 1 or more, got {value:?}; taking as many as pay\n"
        );
        assert_eq!(child("number_of_threads", ("GEMMULE_NUM_THREADS", value)), expected);
    }
    assert_eq!(child("number_of_threads", ("GEMMULE_NUM_THREADS", "2")), "");
}

/// A host that flushes subnormal numbers, as `-ffast-math` does.
#[test]
#[cfg(target_arch = "x86_64")]
fn flushed_subnormals() {
    use std::arch::asm;
    if !is_child() {
        let text = child("flushed_subnormals", ("UNUSED", ""));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("subnormal numbers are flushed to zero"), "{text}");
        return;
    }
    let mut control = 0_u32;
    // SAFETY: stores and loads four bytes; the bits are defined, and taken back before anything else is computed.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags)) };
    let flushing = control | 1 << 15 | 1 << 6;
    // SAFETY: as above.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const flushing, options(nostack, preserves_flags)) };
    multiply();
    // SAFETY: as above.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags)) };
}

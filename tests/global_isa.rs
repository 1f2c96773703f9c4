//! The choice of the instruction set that a process makes once: `GEMMULE_ISA`, else the fastest.
//!
//! CI runs this binary once per instruction set with the variable set. A process can look only once, so other values
//! are tried in processes of their own: this binary again, filtered to `report`. `GEMMULE_TEST_RUNNER` names an
//! emulator to start it with, where the system cannot start it by itself.

use gemmule::{Context, Error, Isa, MatMut, MatRef, gemm, runtime_info};
use std::process::Command;

/// Prints what a process with this environment chooses. Run alone it checks the present environment's choice.
#[test]
fn report() {
    match Context::detect() {
        Ok(context) => {
            let info = runtime_info().unwrap();
            assert_eq!(info.isa, context.isa());
            assert!(info.to_string().contains(context.isa().name()));
            assert!(info.gemm_kernel.ends_with(context.isa().name()));
            // It is not only said: a product runs on it.
            let (a, b, mut c) = ([1.0_f32, 2.0], [3.0, 4.0], [0.0]);
            let (a, b) = (MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&b, 2, 1).unwrap());
            gemm(&context, 1.0, a, b, 0.0, &mut MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
            assert_eq!(c, [11.0]);
            println!("chosen: {}", context.isa());
        }
        Err(error) => {
            assert!(matches!(error, Error::Isa { .. }));
            assert_eq!(runtime_info().unwrap_err().to_string(), error.to_string());
            println!("refused: {error}");
        }
    }
    let asked = std::env::var("GEMMULE_ISA").ok();
    if let Some(expected) = std::env::var("GEMMULE_EXPECT_ISA").ok().filter(|_| asked.is_some()) {
        assert_eq!(Context::detect().unwrap().isa().name(), expected);
    }
}

/// What a process says whose `GEMMULE_ISA` is `value`.
fn child(value: Option<&str>) -> String {
    let this = std::env::current_exe().unwrap();
    let mut command = match std::env::var_os("GEMMULE_TEST_RUNNER") {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(this);
            command
        }
        None => Command::new(this),
    };
    command
        .args(["--exact", "report", "--nocapture"])
        .env_remove("GEMMULE_EXPECT_ISA")
        .env_remove("GEMMULE_ISA");
    if let Some(value) = value {
        command.env("GEMMULE_ISA", value);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{value:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn without_the_variable_the_fastest_is_chosen() {
    let fastest = Isa::available().next().unwrap();
    assert!(child(None).contains(&format!("chosen: {fastest}")));
}

#[test]
fn every_available_one_can_be_forced() {
    for isa in Isa::available() {
        assert!(child(Some(isa.name())).contains(&format!("chosen: {isa}")));
    }
}

#[test]
fn an_unknown_or_missing_one_is_an_error_that_lists_what_there_is() {
    let available: Vec<_> = Isa::available().map(Isa::name).collect();
    let missing = ["avx512", "avx2", "neon"].into_iter().find(|name| !available.contains(name)).unwrap();
    for value in ["sse9", "", "AVX2 ", missing] {
        let text = child(Some(value));
        let expected = format!(
            "refused: instruction set {value:?} is not available: this CPU has {}",
            available.join(", ")
        );
        assert!(text.contains(&expected), "{text}");
    }
}

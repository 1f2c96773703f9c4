//! What the integration tests share.

use gemmule::{Context, Isa};

/// A context for every instruction set of this CPU, the fastest first.
///
/// # Panics
/// If `GEMMULE_EXPECT_ISA` names one that is not among them: the run was meant to test it.
pub fn contexts() -> Vec<Context> {
    let available: Vec<Isa> = Isa::available().collect();
    if let Some(expected) = std::env::var_os("GEMMULE_EXPECT_ISA") {
        let expected = expected.to_string_lossy();
        assert!(
            available.iter().any(|isa| isa.name() == expected),
            "GEMMULE_EXPECT_ISA={expected}, but this CPU has only {available:?}"
        );
    }
    available.into_iter().map(|isa| Context::new(isa).expect("an available instruction set")).collect()
}

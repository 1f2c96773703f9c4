//! Other libraries behind the product: refused where they are not compiled in, within the proven bound where they are,
//! and ours wherever they do not take the operands.
//!
//! `cargo test --features matrixmultiply --test backends` needs nothing else; `cblas` needs a BLAS to link
//! (`ci/openblas.sh`). `tests/cblas_calls.rs` checks what BLAS is called with, without one.

#[cfg(any(feature = "cblas", feature = "matrixmultiply"))]
mod common;
#[cfg(any(feature = "cblas", feature = "matrixmultiply"))]
#[path = "backends/products.rs"]
mod products;
#[cfg(any(feature = "cblas", feature = "matrixmultiply"))]
#[allow(dead_code, reason = "a part is used here")]
#[path = "gemm/support.rs"]
mod support;

use gemmule::{Backend, Context, Error, Parallelism};

const ALL: [Backend; 3] = [Backend::Native, Backend::Matrixmultiply, Backend::Cblas];

#[test]
fn native_unless_chosen() {
    let context = Context::detect().expect("an instruction set");
    assert_eq!(context.backend(), Backend::Native);
    assert_eq!(Backend::default(), Backend::Native);
    for isa in gemmule::Isa::available() {
        assert_eq!(Context::new(isa).expect("available").backend(), Backend::Native);
    }
    for backend in Backend::available() {
        let chosen = context.with_backend(backend).expect("compiled in");
        assert_eq!(chosen.with_parallelism(Parallelism::Serial).backend(), backend);
        assert_eq!((chosen.isa(), chosen.parallelism()), (context.isa(), context.parallelism()));
        assert!(format!("{chosen:?}").contains(&format!("backend: {backend:?}")), "{chosen:?}");
    }
}

#[test]
fn what_is_not_compiled_in_is_refused() {
    let compiled = [true, cfg!(feature = "matrixmultiply"), cfg!(feature = "cblas")];
    let context = Context::detect().expect("an instruction set");
    for (backend, compiled) in ALL.into_iter().zip(compiled) {
        assert_eq!(backend.is_available(), compiled, "{backend}");
        match context.with_backend(backend) {
            Ok(context) => assert!(compiled && context.backend() == backend),
            Err(error) => {
                assert!(!compiled && matches!(error, Error::Argument { .. }), "{backend}: {error}");
                let text = error.to_string();
                let feature = format!("this build lacks the feature `{backend}`");
                assert!(text.contains(&feature) && text.contains("native"), "{text}");
            }
        }
    }
}

#[test]
fn the_build_reports_them() {
    let info = gemmule::runtime_info().expect("an instruction set");
    assert_eq!(info.backends, Backend::available().collect::<Vec<_>>());
    assert_eq!(info.backends[0], Backend::Native);
    for backend in &ALL[1..] {
        assert_eq!(info.features.contains(&backend.name()), backend.is_available(), "{backend}");
    }
    let text = info.to_string();
    let names: Vec<_> = info.backends.iter().map(|backend| backend.name()).collect();
    assert!(text.contains(&format!("backends {} (default: native)", names.join(", "))), "{text}");
}

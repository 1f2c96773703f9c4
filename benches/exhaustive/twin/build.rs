//! Has `src/simd/mod.rs` take `scalar.rs` as its lowest tier.

fn main() {
    println!("cargo::rustc-cfg=gemmule_twin");
    // What `runtime_info()` reports; nobody asks it here.
    for name in ["GEMMULE_RUSTC", "GEMMULE_TARGET", "GEMMULE_OPT_LEVEL"] {
        println!("cargo::rustc-env={name}=unknown");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

//! Records the compiler and the target for `gemmule::runtime_info()`. Sets no flags.

use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo::rustc-env=GEMMULE_RUSTC={version}");
    for (name, from) in [("GEMMULE_TARGET", "TARGET"), ("GEMMULE_OPT_LEVEL", "OPT_LEVEL")] {
        let value = std::env::var(from).unwrap_or_else(|_| "unknown".to_owned());
        println!("cargo::rustc-env={name}={value}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

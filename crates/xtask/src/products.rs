//! The product's programs as static executables in `target/release`; `static-rustc.sh` says how they become static.

use std::path::PathBuf;
use std::process::Command;

use crate::console::{Console, Failure};

/// Packages with a program of the same name. In one build, so that each dependency is compiled once with the features
/// that all of them need; this program is one of them for the same reason.
const PROGRAMS: [&str; 4] = ["duo-operator", "duo-gateway", "duo-sim", "xtask"];

/// `target/release`, or below `CARGO_TARGET_DIR`.
pub(crate) fn folder() -> PathBuf {
    target().join("release")
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from)
}

/// Builds them; cargo shows its own progress.
pub(crate) fn build(console: &Console) -> Result<(), Failure> {
    console.step("building duo-operator, duo-gateway and duo-sim (release; several minutes the first time)");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release"]).current_dir(crate::root());
    cargo.env("RUSTC_WORKSPACE_WRAPPER", crate::root().join("crates/xtask/static-rustc.sh"));
    PROGRAMS.iter().for_each(|program| {
        cargo.args(["--package", program]);
    });
    let status = cargo.status().map_err(Failure::when("cargo"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Other("cargo failed; its messages are above".into()))
}

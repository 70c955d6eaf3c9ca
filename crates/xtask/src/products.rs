//! The product's programs as static executables in `target/release`.
//!
//! The images have an empty root without a dynamic loader, so the C library is linked in. A flag for all crates
//! (`RUSTFLAGS`, `.cargo/config.toml`) would need `--target`, because procedural macros cannot be built with it, and so
//! a second build of everything; only the final link needs to know, which is what `cargo rustc` gives the flag to.

use std::path::PathBuf;
use std::process::Command;

use crate::console::{Console, Failure};

/// Package and program have the same name.
const PRODUCTS: [&str; 3] = ["duo-operator", "duo-gateway", "duo-sim"];

/// `target/release`, or below `CARGO_TARGET_DIR`.
pub(crate) fn folder() -> PathBuf {
    target().join("release")
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from)
}

/// Builds all three; cargo shows its own progress.
pub(crate) fn build(console: &Console) -> Result<(), Failure> {
    console.step("building duo-operator, duo-gateway and duo-sim (release; several minutes the first time)");
    // libraries of all three at once, then one static link each
    let mut all = cargo("build");
    all.args(["--release", "--lib"]);
    PRODUCTS.iter().for_each(|product| {
        all.args(["--package", product]);
    });
    run(all)?;
    for product in PRODUCTS {
        let mut one = cargo("rustc");
        one.args(["--release", "--package", product, "--bin", product, "--", "-Ctarget-feature=+crt-static"]);
        run(one)?;
    }
    Ok(())
}

fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg(command).current_dir(crate::root());
    cargo
}

fn run(mut cargo: Command) -> Result<(), Failure> {
    let status = cargo.status().map_err(Failure::when("cargo"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Other("cargo failed; its messages are above".into()))
}

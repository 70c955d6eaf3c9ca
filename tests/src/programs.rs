//! Where the programs under test are, and what is installed before them.

use std::path::{Path, PathBuf};

/// A program of this workspace, built beside the test: `tests/run.sh` builds them first.
///
/// # Panics
/// With the command that builds it, when it is not there.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().and_then(Path::parent).expect("target/debug/deps/test");
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// A file of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// What `kubectl apply -k deploy/kustomize/base` installs, without the operator's Deployment: suites run the operator as
/// a process with its ServiceAccount's token, under exactly those rights.
pub fn installation() -> String {
    let read = |path: &str| std::fs::read_to_string(checkout(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    [
        "deploy/kustomize/base/namespace.yaml",
        "crds/aigateways.yaml",
        "crds/selfhostedmodels.yaml",
        "crds/featureassignments.yaml",
        "deploy/kustomize/base/rbac.yaml",
    ]
    .map(read)
    .join("\n---\n")
}

//! `crds/*.yaml` from the Rust types.

use crate::console::{Console, Failure};

/// Writes the files, or with `check` compares them.
pub(crate) fn run(check: bool, console: &Console) -> Result<(), Failure> {
    let folder = crate::root().join("crds");
    let mut stale = Vec::new();
    for crd in duo_api::crds() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        let wanted = duo_api::to_yaml(&crd).map_err(Failure::when(path.display()))?;
        if std::fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
            continue;
        }
        std::fs::create_dir_all(&folder).map_err(Failure::when(folder.display()))?;
        std::fs::write(&path, wanted).map_err(Failure::when(path.display()))?;
        console.step(&format!("wrote {}", path.display()));
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(Failure::Other(format!("not what the types say: {}; run `make crds` and commit", stale.join(", "))))
}

//! The controllers of Duo Operator: they join the pure decisions of `duo-core` with Kubernetes and GitLab.
//!
//! One reconcile is: observe, validate, render or plan, apply or act, report. Only `act` writes to GitLab, and only
//! under a valid lease.

mod aside;
mod assignment;
mod attempts;
pub mod cli;
mod contests;
mod context;
mod convert;
pub mod dry_run;
mod entrance;
mod error;
mod fresh;
mod gateway;
mod grace;
mod housekeeping;
mod inputs;
mod model;
mod own_writes;
mod pace;
mod places;
mod report;
mod rhythm;
mod rights;
mod rounds;
pub mod run;
mod session;
mod shard;
mod shared;
mod since;
mod start;
mod turn;
mod watches;
mod well_formed;

/// The custom resource definitions as one YAML stream, as `duo-operator crds` prints them.
///
/// # Errors
/// When a definition cannot be written as YAML, which these types do not bring about.
pub fn crds_yaml() -> Result<String, String> {
    let mut out = String::new();
    for crd in duo_api::crds() {
        out.push_str("---\n");
        out.push_str(&duo_api::to_yaml(&crd).map_err(|error| error.to_string())?);
    }
    Ok(out)
}

//! The Kubernetes client with the limits kube does not set itself.

use std::time::Duration;

use kube::{Client, Config};

use crate::error::{Error, Result};

/// Connects with `KUBECONFIG` or the pod's service account. Sends nothing yet.
pub async fn connect() -> Result<Client> {
    let what = "configuring the Kubernetes client";
    let config = Config::infer().await.map_err(|e| Error::new(what, kube::Error::InferConfig(e)))?;
    connect_with(config)
}

/// Connects with the given configuration. Calls get their limit from [`crate::call`]; here are the ones of
/// connections.
pub fn connect_with(mut config: Config) -> Result<Client> {
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    // above the 290 s after which the API server ends a watch
    config.read_timeout = Some(Duration::from_secs(295));
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(|e| Error::new("configuring the Kubernetes client", e))
}

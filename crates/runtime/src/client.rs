//! The Kubernetes client with the limits kube does not set itself.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::limit::ConcurrencyLimitLayer;

use crate::error::{Error, Result};

/// Calls of one client that wait for their answer at the same time, beginnings of watches among them; the next one waits
/// for its turn. Each has a connection of its own, which is kept for a while and takes some 30 KiB; and an API server has a
/// few hundred places for all its clients together.
const AT_ONCE: usize = 32;

/// Connects with `KUBECONFIG` or the pod's service account. Sends nothing yet. Two clients do not wait for each other.
pub async fn connect() -> Result<Client> {
    let what = "configuring the Kubernetes client";
    let mut config = Config::infer().await.map_err(|e| Error::new(what, kube::Error::InferConfig(e)))?;
    // kube takes a kubeconfig's proxy from HTTPS_PROXY as well, but without its proxy features it knows no NO_PROXY and
    // refuses to start. Those variables are meant for GitLab; the API server is reached directly, as from a pod.
    let from_env =
        |proxy: &String| ["HTTPS_PROXY", "https_proxy"].iter().any(|v| std::env::var(v).as_ref() == Ok(proxy));
    if config.proxy_url.as_ref().is_some_and(|url| same_proxy(&url.to_string(), from_env)) {
        tracing::info!("HTTPS_PROXY is not used for the Kubernetes API");
        config.proxy_url = None;
    }
    connect_with(config)
}

/// Whether a proxy's URL is one that `known` knows, with or without the slash that parsing adds.
fn same_proxy(url: &str, known: impl Fn(&String) -> bool) -> bool {
    known(&url.to_owned()) || known(&url.trim_end_matches('/').to_owned())
}

/// Connects with the given configuration. Calls get their limit of time from [`crate::call`]; here are the ones of
/// connections.
pub fn connect_with(mut config: Config) -> Result<Client> {
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    // above the 290 s after which the API server ends a watch
    config.read_timeout = Some(Duration::from_secs(295));
    config.reset_reader_on_write = true;
    let builder = ClientBuilder::try_from(config).map_err(|e| Error::new("configuring the Kubernetes client", e))?;
    Ok(builder.with_layer(&ConcurrencyLimitLayer::new(AT_ONCE)).build())
}

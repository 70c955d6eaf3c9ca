//! Which configuration the gateway's pods serve.

use std::time::Duration;

use duo_api::AIGateway;
use duo_api::annotations::CONFIG_HASH;
use duo_api::condition::CONFIG_ACCEPTED;
use duo_api::gateway::Implementation;
use duo_core::admission::{self, Refusing};
use duo_core::conditions::Finding;
use duo_core::implementation::started_with;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde::Deserialize;
use serde_json::json;

use super::lookout::RefusingWire;
use crate::context::Context;
use crate::error::Error;

/// Metrics and configuration hash of a gateway pod.
const METRICS_PORT: u16 = 8082;
/// A pod that does not answer in this time does not serve.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer of a pod: what became of a hundred models and their features takes some 400 KiB.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// What the ready pods said.
#[derive(Default)]
pub(super) struct Serving {
    ready: usize,
    current: usize,
    silent: Vec<String>,
    /// Why each ready pod that answered turns users away.
    refusing: Vec<Vec<Refusing>>,
}

/// What a pod says of itself.
#[derive(Deserialize)]
struct Answer {
    hash: String,
    /// A gateway of before does not tell.
    #[serde(default)]
    refusing: Vec<RefusingWire>,
}

impl Serving {
    /// What stands in the way of GitLab's users, if anything.
    pub(super) fn refused(&self, gateway: &AIGateway) -> Option<Finding> {
        admission::refused(&self.refusing, &gateway.spec.gitlab.url)
    }

    pub(super) fn finding(&self, hash: &str) -> Finding {
        let short = &hash[..hash.len().min(12)];
        if self.ready == 0 {
            return Finding::unknown(CONFIG_ACCEPTED, "NoReadyPods", "No gateway pod is ready to say what it serves");
        }
        if self.current == self.ready {
            return Finding::holds(
                CONFIG_ACCEPTED,
                "Accepted",
                format!("All {} ready pods serve configuration {short}", self.ready),
            );
        }
        let silent =
            if self.silent.is_empty() { String::new() } else { format!("; no answer from {}", self.silent.join(", ")) };
        Finding::unknown(
            CONFIG_ACCEPTED,
            "Propagating",
            format!("{} of {} ready pods serve configuration {short}{silent}", self.current, self.ready),
        )
    }
}

/// Asks every pod; only ready ones count. One that serves something else has its annotation touched, so that kubelet
/// refreshes the mounted folder at once and not at its next sync (up to about 90 s).
pub(super) async fn serving(gateway: &AIGateway, hash: &str, ctx: &Context) -> Result<Serving, Error> {
    if ctx.pods_assumed {
        return Ok(Serving { ready: 1, current: 1, ..Serving::default() });
    }
    let namespace = gateway.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(ctx.kube.clone(), &namespace);
    let alive = ctx.fresh.pods(&namespace, &gateway.name_any()).await?;
    if gateway.spec.implementation == Implementation::GitLab {
        // It reads its settings when it starts and tells nobody which.
        let ready: Vec<&Pod> = alive.iter().filter(|pod| is_ready(pod)).collect();
        let current = ready.iter().filter(|pod| started_with(pod.metadata.annotations.as_ref(), hash)).count();
        return Ok(Serving { ready: ready.len(), current, ..Serving::default() });
    }
    ctx.lookout.found(gateway, &addresses(&alive));
    let answers = join_all(alive.iter().map(|pod| async move {
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
        (pod, ask(&ctx.http, &ip).await)
    }))
    .await;
    let ready = alive.iter().filter(|pod| is_ready(pod)).count();
    let mut serving = Serving { ready, ..Serving::default() };
    for (pod, answer) in answers {
        let is_ready = is_ready(pod);
        let answer = answer.map(|Answer { hash, refusing }| {
            if is_ready {
                serving.refusing.push(refusing.into_iter().map(RefusingWire::read).collect());
            }
            hash
        });
        match (answer, is_ready) {
            (Some(served), true) if served == hash => serving.current += 1,
            (Some(served), false) if served == hash => {}
            // One that is starting reads what is there then.
            (None, false) => {}
            // One that is not ready may be so for what the old configuration says, such as a wrong URL of GitLab.
            (answer, _) => {
                if answer.is_none() {
                    serving.silent.push(pod.name_any());
                }
                touch(&api, pod, hash).await?;
            }
        }
    }
    ctx.lookout.refuse(gateway, &serving.refusing);
    Ok(serving)
}

fn is_ready(pod: &Pod) -> bool {
    pod.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn ask(http: &reqwest::Client, ip: &str) -> Option<Answer> {
    serde_json::from_value(get(http, ip, "config/hash", ASK_TIMEOUT).await?).ok()
}

/// What a pod's metrics listener answers; `None` without a good answer in time.
pub(super) async fn get(http: &reqwest::Client, ip: &str, path: &str, timeout: Duration) -> Option<serde_json::Value> {
    let answer = http.get(admin_url(ip, path)?).timeout(timeout).send().await.ok()?.error_for_status().ok()?;
    json(answer).await
}

/// The JSON of an answer; `None` for one that is longer than any gateway's.
pub(super) async fn json(mut answer: reqwest::Response) -> Option<serde_json::Value> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}

/// An address on a pod's metrics listener.
pub(super) fn admin_url(ip: &str, path: &str) -> Option<String> {
    let address: std::net::IpAddr = ip.parse().ok()?;
    Some(format!("http://{}/{path}", std::net::SocketAddr::new(address, METRICS_PORT)))
}

/// Addresses of the ready pods, in order.
pub(super) async fn ready_addresses(gateway: &AIGateway, ctx: &Context) -> Result<Vec<String>, Error> {
    if ctx.pods_assumed || gateway.spec.implementation == Implementation::GitLab {
        return Ok(Vec::new());
    }
    let pods = ctx.fresh.pods(&gateway.namespace().unwrap_or_default(), &gateway.name_any()).await?;
    Ok(addresses(&pods))
}

fn addresses(pods: &[Pod]) -> Vec<String> {
    let ip = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let mut ips: Vec<String> = pods.iter().filter(|pod| is_ready(pod)).filter_map(ip).collect();
    ips.sort();
    ips
}

async fn touch(api: &Api<Pod>, pod: &Pod, hash: &str) -> Result<(), Error> {
    if pod.annotations().get(CONFIG_HASH).is_some_and(|touched| touched == hash) {
        return Ok(());
    }
    let name = pod.name_any();
    let patch = json!({ "metadata": { "annotations": { CONFIG_HASH: hash } } });
    match duo_runtime::call(
        format!("annotate Pod {name}"),
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)),
    )
    .await
    {
        Ok(_) => Ok(()),
        // A pod that went away meanwhile needs no refresh.
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What is read of a pod that answers `{"a":"xxx…"}` with so many bytes between the quotes.
    async fn told(length: usize) -> (Option<serde_json::Value>, usize) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/models", listener.local_addr().unwrap());
        let pod = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _request = connection.read(&mut [0; 1024]).await.unwrap();
            connection.write_all(b"HTTP/1.0 200 OK\r\n\r\n{\"a\":\"").await.unwrap();
            let mut sent = 0;
            while sent < length && connection.write_all(&[b'x'; 1024]).await.is_ok() {
                sent += 1024;
            }
            let _closed = connection.write_all(b"\"}").await;
            sent
        });
        let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
        let read = json(answer).await;
        (read, pod.await.unwrap())
    }

    #[tokio::test]
    async fn an_answer_without_end_is_none() {
        let (short, _) = told(4096).await;
        assert_eq!(short.unwrap()["a"].as_str().unwrap().len(), 4096);
        let endless = 40 * ANSWER_LIMIT;
        let (long, sent) = told(endless).await;
        assert_eq!(long, None);
        assert!(sent < endless, "it is not read to its end");
    }
}

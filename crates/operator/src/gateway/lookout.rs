//! Whom models fail now, as the gateway's pods count it, and checks of models by them.
//!
//! GitLab's health check never calls a model and its connection check waits 3 s only; the pods know what became of users'
//! own calls. All models of a gateway share one look at its pods.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duo_api::AIGateway;
use duo_core::desired::SIGNING_KEY;
use duo_core::labels;
use duo_core::serving::{Check, Failing, PodView};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::pods;
use crate::context::Context;
use crate::error::Error;
use crate::session::{GatewayKey, key};

/// A look this old is shared.
const FRESH: Duration = Duration::from_secs(1);
/// How long a reconcile waits for a check; it goes on in the pod.
const WAIT: Duration = Duration::from_millis(2_000);
/// A pod that does not answer in this time says nothing.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Life of a token for one check, seconds.
const TOKEN_LIFE: i64 = 60;
/// What the gateway takes such tokens for.
const AUDIENCE: &str = "duo-gateway/models/check";

/// What the ready pods of a gateway tell, each by its address.
pub(crate) type Seen = Vec<(String, Models)>;

/// What one pod tells of its models, by name; `None`: it does not count them.
pub(crate) type Models = Option<BTreeMap<String, Entry>>;

/// One model, or one feature of it (`model/feature`).
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Entry {
    #[serde(default)]
    failing: Option<FailingWire>,
    #[serde(default)]
    check: Option<CheckWire>,
}

#[derive(Clone, Debug, Deserialize)]
struct FailingWire {
    class: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct CheckWire {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    outcome: Option<String>,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    milliseconds: u64,
    #[serde(default)]
    age_seconds: u64,
}

#[derive(Deserialize)]
struct Body {
    models: BTreeMap<String, Entry>,
}

type Slot = Arc<Mutex<Option<(Instant, Arc<Seen>)>>>;

/// The last looks, one for each gateway.
#[derive(Default)]
pub(crate) struct Lookout {
    looks: Mutex<HashMap<GatewayKey, Slot>>,
}

impl Lookout {
    /// What the pods tell, at most a second old.
    pub(crate) async fn look(&self, gateway: &AIGateway, ctx: &Context) -> Result<Arc<Seen>, Error> {
        let slot = Arc::clone(self.looks.lock().await.entry(key(gateway)).or_default());
        let asked = Instant::now();
        let mut last = slot.lock().await;
        if let Some((at, seen)) = last.as_ref().filter(|(at, _)| *at >= asked || at.elapsed() < FRESH) {
            let _ = at;
            return Ok(Arc::clone(seen));
        }
        let began = Instant::now();
        let ips = pods::ready_addresses(gateway, ctx).await?;
        let answers = join_all(ips.iter().map(|ip| pods::get(&ctx.http, ip, "models", ASK_TIMEOUT))).await;
        let read =
            |value: Option<serde_json::Value>| serde_json::from_value::<Body>(value?).ok().map(|body| body.models);
        let seen: Arc<Seen> = Arc::new(ips.into_iter().zip(answers.into_iter().map(read)).collect());
        *last = Some((began, Arc::clone(&seen)));
        Ok(seen)
    }

    /// Lets go of what is known of a gateway that is gone.
    pub(crate) async fn forget(&self, gateway: &GatewayKey) {
        self.looks.lock().await.remove(gateway);
    }

    /// Has these pods check a model with the request of a feature, waits a moment for the end, and tells what they know
    /// then. Pods that do not answer are left out.
    pub(crate) async fn check(
        &self,
        gateway: &AIGateway,
        ips: &[String],
        (model, feature): (&str, Option<&str>),
        ctx: &Context,
    ) -> Result<Vec<PodView>, Error> {
        let Some(token) = token(gateway, model, ctx).await? else { return Ok(Vec::new()) };
        let wait = WAIT.as_millis().to_string();
        let query: String = {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("model", model).append_pair("wait_ms", &wait);
            if let Some(feature) = feature {
                query.append_pair("feature", feature);
            }
            query.finish()
        };
        let asked = join_all(ips.iter().map(|ip| {
            let (token, query) = (&token, &query);
            async move {
                let url = pods::admin_url(ip, &format!("models/check?{query}"))?;
                let answer = ctx.http.post(url).bearer_auth(token).timeout(ASK_TIMEOUT + WAIT).send().await.ok()?;
                let body: serde_json::Value = answer.error_for_status().ok()?.json().await.ok()?;
                serde_json::from_value::<CheckWire>(body.get("check")?.clone()).ok()
            }
        }))
        .await;
        // What is known has changed.
        self.looks.lock().await.remove(&key(gateway));
        Ok(asked
            .into_iter()
            .flatten()
            .map(|check| {
                let check = check.read();
                let failing = match &check {
                    Some(Check::Failed { class, .. }) => Some(Failing { class: class.clone() }),
                    _ => None,
                };
                PodView { failing, check }
            })
            .collect())
    }
}

/// What the pods tell of a model; the entry of a feature is asked for with its key.
pub(crate) fn views(seen: &Seen, names: &[String], feature: Option<&str>) -> Vec<PodView> {
    seen.iter()
        .filter_map(|(_, models)| models.as_ref())
        .map(|models| {
            let key = |name: &String| feature.map_or_else(|| name.clone(), |feature| format!("{name}/{feature}"));
            let entries: Vec<&Entry> = names.iter().filter_map(|name| models.get(&key(name))).collect();
            PodView {
                failing: entries
                    .iter()
                    .find_map(|entry| entry.failing.as_ref())
                    .map(|failing| Failing { class: failing.class.clone() }),
                check: entries.iter().find_map(|entry| entry.check.as_ref()).and_then(CheckWire::read),
            }
        })
        .collect()
}

impl CheckWire {
    fn read(&self) -> Option<Check> {
        let class = self.class.clone().unwrap_or_else(|| "unknown".to_owned());
        let (milliseconds, age_seconds) = (self.milliseconds, self.age_seconds);
        match self.outcome.as_deref() {
            _ if self.running => Some(Check::Running),
            Some("answered") => Some(Check::Answered { milliseconds, age_seconds }),
            Some("failed") => Some(Check::Failed { class, age_seconds }),
            Some(_) => Some(Check::Unclear { class, age_seconds }),
            None => None,
        }
    }
}

/// A token that opens nothing but the check of this model, signed with the key that the operator made for the gateway.
async fn token(gateway: &AIGateway, model: &str, ctx: &Context) -> Result<Option<String>, Error> {
    let namespace = gateway.namespace().unwrap_or_default();
    let name = labels::credentials_secret(&gateway.name_any());
    let api: Api<Secret> = Api::namespaced(ctx.kube.clone(), &namespace);
    let secret = duo_runtime::call(format!("get Secret {namespace}/{name}"), api.get_opt(&name)).await?;
    let pem = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove(SIGNING_KEY));
    let Some(pem) = pem else { return Ok(None) };
    let now = jiff::Timestamp::now().as_second();
    let claims = serde_json::json!({ "aud": AUDIENCE, "sub": model, "iat": now, "exp": now + TOKEN_LIFE });
    // RSA takes about a millisecond.
    let signed = jsonwebtoken::EncodingKey::from_rsa_pem(&pem.0).and_then(|key| {
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key)
    });
    Ok(signed.inspect_err(|error| tracing::warn!(%error, "no token for a model check could be signed")).ok())
}

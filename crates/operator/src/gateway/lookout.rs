//! Whom models fail now, as the gateway's pods count it, and checks of models by them.
//!
//! GitLab's health check never calls a model and its connection check waits 3 s only; the pods know what became of users'
//! own calls. All models of a gateway share one look at its pods.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use duo_api::AIGateway;
use duo_core::admission::Refusing;
use duo_core::desired::SIGNING_KEY;
use duo_core::inputs::Kind;
use duo_core::labels;
use duo_core::serving::{Check, Failing, InForce, PodView};
use futures::future::join_all;
use kube::ResourceExt;
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

/// What the ready pods of a gateway tell.
pub(crate) type Seen = Vec<Told>;

/// What one pod tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Its address.
    pub(crate) ip: String,
    /// How its models fare, by name; `None`: it does not count them, or did not answer.
    pub(crate) models: Option<BTreeMap<String, Entry>>,
    /// Digests of the models that it has, by name; one that does not answer now still has what it told last.
    declared: Option<BTreeMap<String, String>>,
    /// Why it turns GitLab's users away.
    refusing: BTreeSet<String>,
}

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
    /// A gateway of before does not tell.
    #[serde(default)]
    declared: Option<BTreeMap<String, String>>,
    #[serde(default)]
    refusing: Vec<RefusingWire>,
}

/// Why a pod turns users away; in the answers about models and about the configuration alike.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RefusingWire {
    cause: String,
    why: String,
}

/// What a look between two periods found changed.
#[derive(Default)]
pub(super) struct News {
    /// Models that fail users now and did not before, or the other way round.
    pub(super) models: BTreeSet<String>,
    /// Users are turned away for another reason than before.
    pub(super) refusals: bool,
}

/// The ready pods of a gateway when they were listed last.
#[derive(Clone, Default)]
struct Known {
    ips: Vec<String>,
    /// Why they turned users away when the gateway's own reconcile asked.
    refusing: BTreeSet<String>,
}

type Slot = Arc<Mutex<Option<(Instant, Arc<Seen>)>>>;

/// The last looks, one for each gateway.
#[derive(Default)]
pub(crate) struct Lookout {
    looks: Mutex<HashMap<GatewayKey, Slot>>,
    pods: std::sync::Mutex<HashMap<GatewayKey, Known>>,
}

impl Lookout {
    /// What the pods tell, at most a second old.
    pub(crate) async fn look(&self, gateway: &AIGateway, ctx: &Context) -> Result<Arc<Seen>, Error> {
        self.look_within(FRESH, gateway, ctx).await
    }

    /// What the pods tell now.
    pub(crate) async fn look_now(&self, gateway: &AIGateway, ctx: &Context) -> Result<Arc<Seen>, Error> {
        self.look_within(Duration::ZERO, gateway, ctx).await
    }

    async fn look_within(&self, max_age: Duration, gateway: &AIGateway, ctx: &Context) -> Result<Arc<Seen>, Error> {
        let slot = Arc::clone(self.looks.lock().await.entry(key(gateway)).or_default());
        let asked = Instant::now();
        let mut last = slot.lock().await;
        if let Some((_, seen)) = last.as_ref().filter(|(at, _)| *at >= asked || at.elapsed() < max_age) {
            return Ok(Arc::clone(seen));
        }
        let began = Instant::now();
        let ips = pods::ready_addresses(gateway, ctx).await?;
        self.found(gateway, &ips);
        let before = last.as_ref().map(|(_, seen)| Arc::clone(seen)).unwrap_or_default();
        let seen = Arc::new(ask(&ctx.http, &ips, &before).await);
        *last = Some((began, Arc::clone(&seen)));
        Ok(seen)
    }

    /// Lets go of what is known of a gateway that is gone.
    pub(crate) async fn forget(&self, gateway: &GatewayKey) {
        self.looks.lock().await.remove(gateway);
        self.pods().remove(gateway);
    }

    /// Takes note of where the ready pods of a gateway are.
    pub(super) fn found(&self, gateway: &AIGateway, ips: &[String]) {
        self.pods().entry(key(gateway)).or_default().ips = ips.to_vec();
    }

    /// Takes note of why the ready pods of a gateway turn users away.
    pub(super) fn refuse(&self, gateway: &AIGateway, pods: &[Vec<Refusing>]) {
        let causes = pods.iter().flatten().map(|one| one.cause.clone()).collect();
        self.pods().entry(key(gateway)).or_default().refusing = causes;
    }

    /// Gateways whose pods are known.
    pub(super) fn known(&self) -> Vec<GatewayKey> {
        self.pods().iter().filter(|(_, known)| !known.ips.is_empty()).map(|(gateway, _)| gateway.clone()).collect()
    }

    /// What is otherwise now than when it was looked at last. The next look at failing models is a new one then.
    pub(super) async fn news(&self, gateway: &GatewayKey, http: &reqwest::Client) -> News {
        let known = self.pods().get(gateway).cloned();
        let Some(known) = known else { return News::default() };
        let seen_now = ask(http, &known.ips, &Seen::new()).await;
        let refusing: BTreeSet<String> = seen_now.iter().flat_map(|told| told.refusing.iter().cloned()).collect();
        let mut news = News { refusals: refusing != known.refusing, ..News::default() };
        let slot = self.looks.lock().await.get(gateway).cloned();
        let Some(slot) = slot else { return news };
        let mut last = slot.lock().await;
        let Some((at, seen)) = last.as_mut() else { return news };
        news.models = failing(&seen_now).symmetric_difference(&failing(seen)).cloned().collect();
        if !news.models.is_empty() {
            outdate(at);
        }
        news
    }

    fn pods(&self) -> std::sync::MutexGuard<'_, HashMap<GatewayKey, Known>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
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
                let body = pods::json(answer.error_for_status().ok()?).await?;
                serde_json::from_value::<CheckWire>(body.get("check")?.clone()).ok()
            }
        }))
        .await;
        // What is known has changed.
        if let Some(slot) = self.looks.lock().await.get(&key(gateway)).cloned()
            && let Some((at, _)) = slot.lock().await.as_mut()
        {
            outdate(at);
        }
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

/// The next look is a new one, and what was seen stays known until then.
fn outdate(at: &mut Instant) {
    *at = at.checked_sub(FRESH).unwrap_or(*at);
}

/// Asks the pods at these addresses. `before`: what was known of them.
async fn ask(http: &reqwest::Client, ips: &[String], before: &Seen) -> Seen {
    let answers = join_all(ips.iter().map(|ip| pods::get(http, ip, "models", ASK_TIMEOUT))).await;
    let told = ips.iter().zip(answers).map(|(ip, answer)| {
        let body = answer.and_then(|value| serde_json::from_value::<Body>(value).ok());
        match body {
            Some(Body { models, declared, refusing }) => {
                let refusing = refusing.into_iter().map(|one| one.cause).collect();
                Told { ip: ip.clone(), models: Some(models), declared, refusing }
            }
            None => {
                let declared = before.iter().find(|told| told.ip == *ip).and_then(|told| told.declared.clone());
                Told { ip: ip.clone(), models: None, declared, refusing: BTreeSet::new() }
            }
        }
    });
    told.collect()
}

/// Models whose last call failed in one of the pods.
fn failing(seen: &Seen) -> BTreeSet<String> {
    let entries = seen.iter().filter_map(|told| told.models.as_ref()).flatten();
    entries.filter(|(_, entry)| entry.failing.is_some()).map(|(name, _)| name.clone()).collect()
}

/// How many of the pods have a model in force as it is declared; `digests`: by the names that it may have there.
pub(crate) fn in_force(seen: &Seen, digests: &[(String, String)]) -> InForce {
    let told: Vec<&BTreeMap<String, String>> = seen.iter().filter_map(|told| told.declared.as_ref()).collect();
    let has = |pod: &&&BTreeMap<String, String>| digests.iter().any(|(name, digest)| pod.get(name) == Some(digest));
    InForce { told: told.len(), have: told.iter().filter(has).count() }
}

/// Ready pods that have not told yet which models they have: they have never answered.
pub(crate) fn silent(seen: &Seen) -> usize {
    seen.iter().filter(|told| told.models.is_none() && told.declared.is_none()).count()
}

/// What the pods tell of a model; the entry of a feature is asked for with its key.
pub(crate) fn views(seen: &Seen, names: &[String], feature: Option<&str>) -> Vec<PodView> {
    seen.iter()
        .filter_map(|told| told.models.as_ref())
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

impl RefusingWire {
    pub(super) fn read(self) -> Refusing {
        Refusing { cause: self.cause, why: self.why }
    }
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
    let secret = ctx.fresh.get(Kind::Secret, &namespace, &name).await?;
    let Some(pem) = secret.as_ref().and_then(|secret| secret.data.get(SIGNING_KEY)) else { return Ok(None) };
    let now = jiff::Timestamp::now().as_second();
    let claims = serde_json::json!({ "aud": AUDIENCE, "sub": model, "iat": now, "exp": now + TOKEN_LIFE });
    // RSA takes about a millisecond.
    let signed = jsonwebtoken::EncodingKey::from_rsa_pem(pem).and_then(|key| {
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key)
    });
    Ok(signed.inspect_err(|error| tracing::warn!(%error, "no token for a model check could be signed")).ok())
}

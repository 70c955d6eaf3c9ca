//! What must hold after a stretch, whatever went wrong in it.

use std::time::{Duration, Instant};

use duo_e2e::{World, hand, wait};
use duo_sim::gitlab::What;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;

use crate::scenario::{Context, Declared, Phase};

/// The operator's period in these worlds.
pub const PERIOD: Duration = Duration::from_secs(1);
/// When a world that does not become as declared is given up.
const LIMIT: Duration = Duration::from_secs(600);
/// When a world that does not come to rest is given up.
const RESTLESS: Duration = Duration::from_secs(300);

/// Waits until the world is as declared and at rest; `reached` is told when it is as declared for the first time.
pub async fn holds(world: &World, phase: Phase, context: &Context, reached: impl FnOnce()) -> Result<(), String> {
    let (declared, started) = (Declared::after(phase), Instant::now());
    let mut reached = Some(reached);
    loop {
        safe(world, phase)?;
        let mut seen = as_declared(world, phase, &declared, context).await;
        if seen.is_ok() {
            if let Some(reached) = reached.take() {
                reached();
            }
            world.proxies.as_ref().expect("proxies").until_at_rest(PERIOD, RESTLESS).await?;
            seen = as_declared(world, phase, &declared, context).await;
        }
        match seen {
            Ok(()) => break,
            Err(why) if started.elapsed() > LIMIT => {
                return Err(format!("not as declared after {} s: {why}", LIMIT.as_secs()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    if phase == Phase::Delete { Ok(()) } else { users(world, context).await }
}

/// What must hold at every moment: nothing foreign is touched, nothing is there twice.
fn safe(world: &World, phase: Phase) -> Result<(), String> {
    world.foreign_is_untouched();
    let names = world.models_in_gitlab();
    let known = |name: &String| {
        [hand::FOREIGN_MODEL, "Claude 3 Sonnet", "Claude renamed", "Mixtral 8x7B"].contains(&name.as_str())
    };
    let claudes = names.iter().filter(|name| name.starts_with("Claude")).count();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || claudes > 1 || !names.iter().all(known) {
        return Err(format!("{phase}: GitLab has models {names:?}"));
    }
    Ok(())
}

async fn as_declared(world: &World, phase: Phase, declared: &Declared, context: &Context) -> Result<(), String> {
    gitlab_is(world, declared)?;
    for (kind, name) in World::article_objects() {
        let object = world.get(kind, name).await;
        if phase == Phase::Delete {
            if !object.is_null() {
                return Err(format!("{kind} {name} is still there: {:#}", object["metadata"]));
            }
            continue;
        }
        is_ready(kind, name, &object)?;
        if kind == "AIGateway" && object["status"]["configHash"].as_str() == context.former_hash.as_deref() {
            return Err("the gateway has the configuration of before the rotation".to_owned());
        }
    }
    if phase == Phase::Delete { nothing_is_left(world).await } else { Ok(()) }
}

fn is_ready(kind: &str, name: &str, object: &Value) -> Result<(), String> {
    let ready = wait::condition(object, "Ready").0 == "True";
    if !ready || object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        return Err(format!(
            "{kind} {name} (generation {}) is not Ready: {:#}",
            object["metadata"]["generation"], object["status"]
        ));
    }
    let pending = &object["metadata"]["annotations"]["duo.selfhosted.dev/create-pending"];
    if pending.is_null() { Ok(()) } else { Err(format!("{kind} {name} has create-pending {pending}")) }
}

fn gitlab_is(world: &World, declared: &Declared) -> Result<(), String> {
    let state = world.gitlab.state();
    let mut models: Vec<(&str, &str)> = state
        .models
        .values()
        .filter(|model| model.name != hand::FOREIGN_MODEL)
        .map(|model| (model.name.as_str(), model.identifier.as_str()))
        .collect();
    models.sort_unstable();
    if models != declared.models {
        return Err(format!("GitLab has models {models:?}, declared are {:?}", declared.models));
    }
    for (feature, provider, model) in &declared.features {
        let (found, on) = world.feature_in_gitlab(feature);
        let nothing = *provider == "unassigned" && found == "none";
        if !nothing && (found.as_str(), on.as_deref()) != (*provider, *model) {
            return Err(format!("{feature} is {found} {on:?} in GitLab, declared is {provider} {model:?}"));
        }
    }
    let ours = format!("http://duo.{}.svc:5052", world.namespace);
    let url = state.settings.ai_gateway_url.unwrap_or_default();
    let wanted = if declared.url { ours.as_str() } else { "" };
    if url.trim_end_matches('/') != wanted {
        return Err(format!("GitLab's gateway URL is {url:?}, not {wanted:?}"));
    }
    match declared.timeout {
        Some(timeout) if state.settings.ai_gateway_timeout_seconds as u64 != timeout => {
            Err(format!("the timeout is {} s, not {timeout} s", state.settings.ai_gateway_timeout_seconds))
        }
        _ => Ok(()),
    }
}

/// After a deletion the cluster has nothing of the gateway any more.
async fn nothing_is_left(world: &World) -> Result<(), String> {
    let ours = ListParams::default().labels("duo.selfhosted.dev/gateway");
    macro_rules! none {
        ($($kind:ty),*) => {$(
            let api: Api<$kind> = Api::namespaced(world.client.clone(), &world.namespace);
            let left = api.list(&ours).await.map_err(|error| error.to_string())?.items.len();
            if left > 0 {
                return Err(format!("{left} {} are left", stringify!($kind)));
            }
        )*};
    }
    none!(Deployment, Pod, Service, Secret, ConfigMap);
    Ok(())
}

/// Users are served, after a rotation by the new key alone.
async fn users(world: &World, context: &Context) -> Result<(), String> {
    if let Some(key) = &context.aws {
        world.bedrock.reconfigure(|config| config.access_keys = vec![key.clone()]);
    }
    for what in [What::CodeCompletion, What::Chat] {
        let outcome = world.ask(what).await;
        if !outcome.ok {
            return Err(format!("{what:?} is not answered: {outcome:#?}"));
        }
    }
    Ok(())
}

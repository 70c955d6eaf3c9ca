//! The cluster's side of an AIGateway: inputs, child objects, pods.

use std::sync::Arc;
use std::time::Duration;

use duo_api::condition::{AGENT_PLATFORM_AVAILABLE, CONFIG_ACCEPTED, WORKLOAD_AVAILABLE};
use duo_api::gateway::Implementation;
use duo_api::{AIGateway, ConditionStatus, SelfHostedModel};
use duo_core::conditions::Finding;
use duo_core::dependents::WAITING_FOR_MODEL_KEYS;
use duo_core::desired::{self, Bundle, Credentials};
use duo_core::inputs::Kind;
use duo_core::ownership::Home;
use duo_core::scale::{self, availability};
use duo_core::signing::Step;
use duo_core::{implementation, labels};
use duo_gateway_config::GatewayConfig;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt};

use super::formers::{self, Formers};
use super::listener::{self, Listener};
use super::signing_keys::{self, SigningKeys};
use super::{apply, pods};
use crate::context::{Context, made_at};
use crate::error::{Error, Next};
use crate::inputs;
use crate::report::Event;

/// How soon to look again after the keys were turned.
const AT_ONCE: Duration = Duration::from_millis(200);

/// What became of the cluster's side.
pub(super) struct Cluster {
    pub findings: Vec<Finding>,
    pub events: Vec<Event>,
    pub replicas: i32,
    pub ready_replicas: i32,
    pub config_hash: Option<String>,
    /// Which gateway all pods run, or ran when that was last certain.
    pub implementation: Option<Implementation>,
    /// GitLab can be pointed at the gateway: pods are available and serve the rendered configuration.
    pub serves: bool,
    /// The pods turn GitLab's users away.
    pub refused: Option<Finding>,
    /// Every declared pod is available and has the present keys.
    settled: bool,
    pub next: Next,
}

/// What the child objects are rendered from.
struct Inputs {
    models: Vec<SelfHostedModel>,
    credentials: Credentials,
    keys: SigningKeys,
}

pub(super) async fn run(gateway: &AIGateway, ctx: &Context) -> Result<Cluster, Error> {
    let mut inputs = match gather(gateway, ctx).await? {
        Ok(inputs) => inputs,
        Err(finding) => return stopped(gateway, finding, ctx).await,
    };
    let mut cluster = Box::pin(bring(gateway, &inputs, ctx)).await?;
    let agents = duo_core::conditions::find(&cluster.findings, AGENT_PLATFORM_AVAILABLE);
    let agents_have_them = agents.is_none_or(|finding| finding.status == ConditionStatus::True);
    let settled = cluster.settled && agents_have_them;
    let step = inputs.keys.step(gateway, settled);
    match step {
        Step::Rest => return Ok(cluster),
        Step::Wait(seconds) => {
            cluster.next = cluster.next.sooner(Next::After(Duration::from_secs(seconds.unsigned_abs())));
            return Ok(cluster);
        }
        Step::Swap | Step::Renew => {}
    }
    match inputs.keys.clone().after(step, gateway).await {
        Ok(keys) => inputs.keys = keys,
        Err(problem) => {
            cluster.events.push(Event::warning("KeyGenerationFailed", problem));
            return Ok(cluster);
        }
    }
    inputs.keys.put_into(&mut inputs.credentials);
    let mut cluster = Box::pin(bring(gateway, &inputs, ctx)).await?;
    cluster.events.push(match step {
        Step::Swap => Event::normal(
            "SigningKeysRotated",
            "The next signing key signs; tokens of the previous one stay valid until they end",
        ),
        _ => Event::normal("PreviousSigningKeyRetired", "Tokens of the previous signing key are refused from now on"),
    });
    cluster.next = cluster.next.sooner(Next::After(AT_ONCE));
    Ok(cluster)
}

/// Renders, applies and asks the pods.
async fn bring(gateway: &AIGateway, inputs: &Inputs, ctx: &Context) -> Result<Cluster, Error> {
    let Rendered { bundle, door, formers } = match render(gateway, inputs, ctx).await? {
        Ok(rendered) => rendered,
        Err(finding) => return stopped(gateway, finding, ctx).await,
    };
    let missing = implementation::keys_on_the_way(gateway, &inputs.models);
    if !missing.is_empty() {
        let text = format!("GitLab's image takes over once GitLab holds the API keys of {}", missing.join(", "));
        let waiting = stopped(gateway, Finding::unknown(CONFIG_ACCEPTED, WAITING_FOR_MODEL_KEYS, text), ctx).await?;
        return Ok(Cluster { next: Next::After(look_again(gateway)), ..waiting });
    }
    let config_hash = bundle.config_hash.clone();
    let live = match Box::pin(apply::run(gateway, bundle, ctx)).await {
        Ok(live) => live,
        Err(Error::Kube(error @ duo_runtime::Error::Foreign { .. })) => {
            let finding = Finding::fails(WORKLOAD_AVAILABLE, error.category(), error.to_string()).by_person();
            return Ok(Cluster { findings: vec![finding], ..nothing(gateway) });
        }
        // Something that the resource's own rules let through, such as a label that is none: trying again cures nothing.
        Err(Error::Kube(error)) if error.category() == "KubernetesInvalid" => {
            let text = format!("the API server refuses what is declared: {error}");
            return stopped(gateway, Finding::fails(CONFIG_ACCEPTED, "ObjectRefused", text).by_person(), ctx).await;
        }
        Err(error) => return Err(error),
    };
    let wanted = gateway.spec.autoscaling.is_none().then_some(gateway.spec.replicas);
    let (available, of_gateway) = availability(WORKLOAD_AVAILABLE, Some(&live.deployment), wanted);
    let served = pods::serving(gateway, &config_hash, ctx).await?;
    let accepted = match &door {
        Some(door) => door.told(served.finding(&config_hash)),
        None => served.finding(&config_hash),
    };
    let mut findings = vec![formers.told(accepted), available];
    findings.extend(live.exposed);
    findings.extend(agent_platform(gateway, live.agent_platform.as_ref()));
    let holds = |type_: &str| {
        let found = duo_core::conditions::find(&findings, type_);
        found.is_none_or(|finding| finding.status == ConditionStatus::True)
    };
    let settled = holds(CONFIG_ACCEPTED) && holds(WORKLOAD_AVAILABLE);
    let only_new = settled && scale::rolled_out(&live.deployment);
    Ok(Cluster {
        refused: served.refused(gateway),
        serves: settled || (holds(CONFIG_ACCEPTED) && of_gateway.ready > 0),
        replicas: of_gateway.existing,
        ready_replicas: of_gateway.ready,
        config_hash: Some(config_hash),
        implementation: only_new.then_some(gateway.spec.implementation).or_else(|| implementation::seen(gateway)),
        settled: settled && (only_new || !implementation::is_changing(gateway)),
        next: if settled && (only_new || !implementation::is_changing(gateway)) || desired::fewest(gateway) == 0 {
            door.map_or(Next::OnChange, |door| door.next).sooner(formers.next)
        } else {
            Next::After(look_again(gateway))
        },
        events: Vec::new(),
        findings,
    })
}

/// Pods and Deployments tell their changes by themselves; which configuration is served has to be asked for.
fn look_again(gateway: &AIGateway) -> Duration {
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let now = jiff::Timestamp::now().as_second();
    let seconds = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    let since = scale::unsettled_for(conditions, &[CONFIG_ACCEPTED, WORKLOAD_AVAILABLE], now, seconds);
    Duration::from_secs(scale::look_again_in(since))
}

/// Nothing could be applied; what there is of the gateway goes on.
async fn stopped(gateway: &AIGateway, finding: Finding, ctx: &Context) -> Result<Cluster, Error> {
    let existing = deployment(gateway, ctx).await?;
    let wanted = gateway.spec.autoscaling.is_none().then_some(gateway.spec.replicas);
    let (available, of_gateway) = availability(WORKLOAD_AVAILABLE, existing.as_ref(), wanted);
    Ok(Cluster {
        findings: vec![finding, available],
        replicas: of_gateway.existing,
        ready_replicas: of_gateway.ready,
        ..nothing(gateway)
    })
}

fn nothing(gateway: &AIGateway) -> Cluster {
    Cluster {
        findings: Vec::new(),
        events: Vec::new(),
        replicas: 0,
        ready_replicas: 0,
        config_hash: gateway.status.as_ref().and_then(|status| status.config_hash.clone()),
        implementation: implementation::seen(gateway),
        serves: false,
        refused: None,
        settled: false,
        next: Next::OnChange,
    }
}

/// Whether the declared agent platform is there.
fn agent_platform(gateway: &AIGateway, live: Option<&Deployment>) -> Option<Finding> {
    let declared = gateway.spec.agent_platform.as_ref()?;
    Some(match live {
        Some(live) => availability(AGENT_PLATFORM_AVAILABLE, Some(live), Some(declared.replicas)).0,
        None => {
            let error = desired::RenderError::VersionUnknown;
            Finding { type_: AGENT_PLATFORM_AVAILABLE, ..error.finding() }
        }
    })
}

/// Hash of the configuration that the inputs give now, secrets included; `None` while they give none. Where it is the
/// one in the status, what the pods serve is what is declared at this moment.
pub(crate) async fn declared_hash(gateway: &AIGateway, ctx: &Context) -> Result<Option<String>, Error> {
    let Ok(inputs) = gather(gateway, ctx).await? else { return Ok(None) };
    Ok(render(gateway, &inputs, ctx).await?.ok().map(|rendered| rendered.bundle.config_hash))
}

/// Reads what the gateway refers to; the inner error says what is missing.
async fn gather(gateway: &AIGateway, ctx: &Context) -> Result<Result<Inputs, Finding>, Error> {
    let namespace = gateway.namespace().unwrap_or_default();
    let models: Vec<SelfHostedModel> =
        ctx.models_of(&namespace, &gateway.name_any()).into_iter().map(Arc::unwrap_or_clone).collect();
    // GitLab sends its own image the keys with each request.
    let holds_keys = gateway.spec.implementation == Implementation::Embedded || implementation::is_changing(gateway);
    let with_keys = if holds_keys { models.as_slice() } else { &[] };
    let mut credentials = match inputs::credentials(&ctx.fresh, gateway, with_keys).await {
        Ok(credentials) => credentials,
        Err(inputs::FieldError { error: inputs::InputError::Kube(error), .. }) => return Err(error.into()),
        Err(error) => {
            return Ok(Err(Finding::unknown(CONFIG_ACCEPTED, error.error.category(), error.to_string()).by_person()));
        }
    };
    Ok(match signing_keys::load_or_generate(gateway, ctx).await? {
        Ok(keys) => {
            keys.put_into(&mut credentials);
            Ok(Inputs { models, credentials, keys })
        }
        Err(message) => Err(Finding::fails(CONFIG_ACCEPTED, "KeyGenerationFailed", message)),
    })
}

/// The child objects, and what is on its way in them.
struct Rendered {
    bundle: Bundle,
    door: Option<Listener>,
    formers: Formers,
}

/// Renders the child objects; the inner error says what is wrong with the declaration. Only the operator's own gateway is
/// told what its port takes and which models there are.
async fn render(gateway: &AIGateway, inputs: &Inputs, ctx: &Context) -> Result<Result<Rendered, Finding>, Error> {
    let Inputs { models, credentials, keys: _ } = inputs;
    let mut credentials = credentials.clone();
    let rendered = desired::rendered_models(&gateway.spec, models, &credentials);
    // An id of before the URL was changed is another GitLab's: with it the gateway would refuse everybody.
    let here = made_at(gateway, &Home::new(&gateway.spec.gitlab.url, None));
    let status = gateway.status.as_ref().filter(|_| here);
    let instance_id = status.and_then(|s| s.gitlab.as_ref()).and_then(|g| g.instance_id.as_deref());
    let mut config = desired::gateway_config(gateway, &rendered, &credentials, instance_id);
    let (mut door, mut formers) = (None, Formers::default());
    if gateway.spec.implementation == Implementation::Embedded {
        let told = told(gateway, ctx).await?;
        formers = formers::look(gateway, models, told.as_ref(), &mut config, &mut credentials, ctx).await?;
        door = Some(listener::look(gateway, told.as_ref(), &mut config, &mut credentials, ctx).await?);
    }
    Ok(desired::bundle(gateway, &config, &credentials, &ctx.gateway_image)
        .map(|bundle| Rendered { bundle, door, formers })
        .map_err(|error| error.finding()))
}

/// What the pods were told last.
async fn told(gateway: &AIGateway, ctx: &Context) -> Result<Option<GatewayConfig>, Error> {
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), labels::config_map(&gateway.name_any()));
    Ok(ctx.fresh.get(Kind::ConfigMap, &namespace, &name).await?.and_then(|map| map.gateway_config()))
}

async fn deployment(gateway: &AIGateway, ctx: &Context) -> Result<Option<Deployment>, Error> {
    let api: Api<Deployment> = Api::namespaced(ctx.kube.clone(), &gateway.namespace().unwrap_or_default());
    let name = gateway.name_any();
    Ok(duo_runtime::call(format!("get Deployment {name}"), api.get_opt(&name)).await?)
}

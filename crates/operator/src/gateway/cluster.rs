//! The cluster's side of an AIGateway: inputs, child objects, pods.

use std::sync::Arc;
use std::time::Duration;

use duo_api::condition::{CONFIG_ACCEPTED, WORKLOAD_AVAILABLE};
use duo_api::{AIGateway, SelfHostedModel};
use duo_core::conditions::Finding;
use duo_core::desired::{self, Bundle};
use duo_core::labels;
use duo_core::ownership::Home;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Api, ResourceExt};

use super::listener::{self, Listener};
use super::{pods, signing_keys};
use crate::context::{Context, made_at};
use crate::error::{Error, Next};
use crate::inputs;

/// How soon to look again while pods come up or take over a configuration.
const POLL: Duration = Duration::from_secs(1);

/// What became of the cluster's side.
pub(super) struct Cluster {
    pub findings: Vec<Finding>,
    pub replicas: i32,
    pub ready_replicas: i32,
    pub config_hash: Option<String>,
    /// GitLab can be pointed at the gateway: pods are available and serve the rendered configuration.
    pub serves: bool,
    pub next: Next,
}

pub(super) async fn run(gateway: &AIGateway, ctx: &Context) -> Result<Cluster, Error> {
    let namespace = gateway.namespace().unwrap_or_default();
    let models: Vec<SelfHostedModel> =
        ctx.models_of(&namespace, &gateway.name_any()).into_iter().map(Arc::unwrap_or_clone).collect();
    let (bundle, door) = match render(gateway, &models, ctx).await? {
        Ok(rendered) => rendered,
        Err(finding) => {
            let existing = deployment(gateway, ctx).await?;
            let (available, replicas, ready_replicas) = availability(gateway, existing.as_ref());
            return Ok(Cluster {
                findings: vec![finding, available],
                replicas,
                ready_replicas,
                config_hash: gateway.status.as_ref().and_then(|status| status.config_hash.clone()),
                serves: false,
                next: Next::OnChange,
            });
        }
    };
    let config_hash = bundle.config_hash.clone();
    let live = match Box::pin(apply(gateway, bundle, ctx)).await {
        Ok(live) => live,
        Err(Error::Kube(error @ duo_runtime::Error::Foreign { .. })) => {
            return Ok(Cluster {
                findings: vec![Finding::fails(WORKLOAD_AVAILABLE, error.category(), error.to_string()).by_person()],
                replicas: 0,
                ready_replicas: 0,
                config_hash: gateway.status.as_ref().and_then(|status| status.config_hash.clone()),
                serves: false,
                next: Next::OnChange,
            });
        }
        Err(error) => return Err(error),
    };
    let (available, replicas, ready_replicas) = availability(gateway, Some(&live));
    let served = pods::serving(gateway, &config_hash, ctx).await?;
    let accepted = door.told(served.finding(&config_hash));
    let holds = |finding: &Finding| finding.status == duo_api::ConditionStatus::True;
    let settled = holds(&accepted) && holds(&available);
    Ok(Cluster {
        serves: settled || (holds(&accepted) && ready_replicas > 0),
        findings: vec![accepted, available],
        replicas,
        ready_replicas,
        config_hash: Some(config_hash),
        next: if settled || gateway.spec.replicas == 0 { door.next } else { Next::After(POLL) },
    })
}

/// Hash of the configuration that the inputs give now, secrets included; `None` while they give none. Where it is the
/// one in the status, what the pods serve is what is declared at this moment.
pub(crate) async fn declared_hash(gateway: &AIGateway, ctx: &Context) -> Result<Option<String>, Error> {
    let namespace = gateway.namespace().unwrap_or_default();
    let models: Vec<SelfHostedModel> =
        ctx.models_of(&namespace, &gateway.name_any()).into_iter().map(Arc::unwrap_or_clone).collect();
    Ok(render(gateway, &models, ctx).await?.ok().map(|(bundle, _)| bundle.config_hash))
}

/// Reads what the gateway refers to and renders its child objects; the inner error says what is missing.
async fn render(
    gateway: &AIGateway,
    models: &[SelfHostedModel],
    ctx: &Context,
) -> Result<Result<(Bundle, Listener), Finding>, Error> {
    let mut credentials = match inputs::credentials(&ctx.kube, gateway, models).await {
        Ok(credentials) => credentials,
        Err(inputs::FieldError { error: inputs::InputError::Kube(error), .. }) => return Err(error.into()),
        Err(error) => {
            return Ok(Err(Finding::unknown(CONFIG_ACCEPTED, error.error.category(), error.to_string()).by_person()));
        }
    };
    match signing_keys::load_or_generate(gateway, ctx).await? {
        Ok(keys) => {
            credentials.signing_key = keys.signing;
            credentials.validation_key = keys.validation;
        }
        Err(message) => return Ok(Err(Finding::fails(CONFIG_ACCEPTED, "KeyGenerationFailed", message))),
    }
    let rendered = desired::rendered_models(&gateway.spec, models, &credentials);
    // An id of before the URL was changed is another GitLab's: with it the gateway would refuse everybody.
    let here = made_at(gateway, &Home::new(&gateway.spec.gitlab.url, None));
    let status = gateway.status.as_ref().filter(|_| here);
    let instance_id = status.and_then(|s| s.gitlab.as_ref()).and_then(|g| g.instance_id.as_deref());
    let mut config = desired::gateway_config(gateway, &rendered, &credentials, instance_id);
    let listener = listener::look(gateway, &mut config, &mut credentials, ctx).await?;
    Ok(desired::bundle(gateway, &config, &credentials, &ctx.gateway_image)
        .map(|bundle| (bundle, listener))
        .map_err(|error| Finding::fails(CONFIG_ACCEPTED, "ConfigInvalid", error.to_string()).by_person()))
}

/// Applies everything, the pods last: what they mount must be there first.
async fn apply(gateway: &AIGateway, bundle: Bundle, ctx: &Context) -> Result<Deployment, Error> {
    let Bundle { service_account, config_map, secret, service, disruption_budget, deployment, config_hash: _ } = bundle;
    ctx.applier.apply(&service_account, None).await?;
    ctx.applier.apply(&secret, None).await?;
    ctx.applier.apply(&config_map, None).await?;
    ctx.applier.apply(&service, None).await?;
    match disruption_budget {
        Some(budget) => {
            ctx.applier.apply(&budget, None).await?;
        }
        None => {
            let namespace = gateway.namespace().unwrap_or_default();
            let uid = gateway.uid().unwrap_or_default();
            let selector = labels::selector_text(&gateway.name_any());
            ctx.applier
                .prune::<PodDisruptionBudget>(&namespace, &selector, &uid, &std::collections::BTreeSet::new())
                .await?;
        }
    }
    Ok(ctx.applier.apply(&deployment, None).await?.object)
}

async fn deployment(gateway: &AIGateway, ctx: &Context) -> Result<Option<Deployment>, Error> {
    let api: Api<Deployment> = Api::namespaced(ctx.kube.clone(), &gateway.namespace().unwrap_or_default());
    let name = gateway.name_any();
    Ok(duo_runtime::call(format!("get Deployment {name}"), api.get_opt(&name)).await?)
}

/// Whether every declared replica is available, with numbers of existing and ready pods.
fn availability(gateway: &AIGateway, deployment: Option<&Deployment>) -> (Finding, i32, i32) {
    let Some(deployment) = deployment else {
        return (
            Finding::unknown(WORKLOAD_AVAILABLE, "NotCreated", "The gateway's Deployment does not exist yet"),
            0,
            0,
        );
    };
    let declared = gateway.spec.replicas;
    let status = deployment.status.clone().unwrap_or_default();
    let (replicas, ready) = (status.replicas.unwrap_or_default(), status.ready_replicas.unwrap_or_default());
    let updated = status.updated_replicas.unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let current = status.observed_generation >= deployment.metadata.generation;
    let finding = if declared == 0 {
        Finding::fails(WORKLOAD_AVAILABLE, "ScaledToZero", "spec.replicas is 0: nobody can use GitLab Duo").by_person()
    } else if current && available >= declared && updated >= declared {
        Finding::holds(WORKLOAD_AVAILABLE, "Available", format!("{available} of {declared} replicas are available"))
    } else {
        let stuck = status.conditions.iter().flatten().find(|c| c.type_ == "Progressing" && c.status == "False");
        let failure = status.conditions.iter().flatten().find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
        let why = failure.or(stuck).and_then(|c| c.message.clone());
        Finding::fails(
            WORKLOAD_AVAILABLE,
            if why.is_some() { "RolloutFailed" } else { "PodsNotAvailable" },
            format!(
                "{available} of {declared} replicas are available, {updated} are up to date{}",
                why.map(|why| format!(": {why}")).unwrap_or_default()
            ),
        )
    };
    (finding, replicas, ready)
}

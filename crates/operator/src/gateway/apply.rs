//! Applies an AIGateway's child objects, and removes those that are no longer declared.

use std::collections::BTreeSet;
use std::fmt::Debug;

use duo_api::AIGateway;
use duo_api::condition::EXPOSED;
use duo_core::conditions::Finding;
use duo_core::desired::{self, AgentPlatform, Bundle, HTTPRoute, Part};
use duo_core::inputs::Kind;
use duo_core::{labels, scale};
use duo_runtime::apply::Change;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::context::Context;
use crate::error::Error;

/// Owns a Deployment's number of pods between the operator, which gives it up, and the autoscaler, which takes it.
const HANDOVER: &str = "duo-operator-replicas";

/// What the API server has now.
pub(super) struct Live {
    pub deployment: Deployment,
    /// `None` where no agent platform is declared, or where it could not be rendered.
    pub agent_platform: Option<Deployment>,
    /// How the API is reached from outside, where that is declared.
    pub exposed: Option<Finding>,
}

/// Names of what is to stay, by kind: all else of ours of that kind goes.
#[derive(Default)]
struct Kept {
    config_maps: BTreeSet<String>,
    services: BTreeSet<String>,
    deployments: BTreeSet<String>,
    disruption_budgets: BTreeSet<String>,
    autoscalers: BTreeSet<String>,
    network_policies: BTreeSet<String>,
    ingresses: BTreeSet<String>,
    routes: BTreeSet<String>,
}

/// Applies everything, the pods last: what they mount must be there first.
pub(super) async fn run(gateway: &AIGateway, bundle: Bundle, ctx: &Context) -> Result<Live, Error> {
    let Bundle {
        service_account,
        config_map,
        secret,
        service,
        disruption_budget,
        autoscaler,
        network_policy,
        ingress,
        http_route,
        deployment,
        agent_platform,
        config_hash: _,
    } = bundle;
    let mut kept = Kept::default();
    ctx.applier.keep(&service_account).await?;
    keep_input(Kind::Secret, &secret, ctx).await?;
    if let Some(config_map) = config_map {
        kept.config_maps.insert(config_map.name_any());
        keep_input(Kind::ConfigMap, &config_map, ctx).await?;
    }
    each(Some(service), &mut kept.services, ctx).await?;
    // Before the pods: one that starts is never reached by somebody who may not.
    each(network_policy, &mut kept.network_policies, ctx).await?;
    each(disruption_budget, &mut kept.disruption_budgets, ctx).await?;
    each(ingress, &mut kept.ingresses, ctx).await?;
    let exposed = expose(gateway, http_route, &mut kept.routes, ctx).await?;
    kept.deployments.insert(deployment.name_any());
    let agent_deployment = match agent_platform {
        Part::Off => None,
        Part::Keep => {
            let name = labels::agent_platform_name(&gateway.name_any());
            for names in
                [&mut kept.services, &mut kept.deployments, &mut kept.disruption_budgets, &mut kept.network_policies]
            {
                names.insert(name.clone());
            }
            None
        }
        Part::Apply(AgentPlatform { service, disruption_budget, network_policy, deployment }) => {
            each(Some(service), &mut kept.services, ctx).await?;
            each(network_policy, &mut kept.network_policies, ctx).await?;
            each(disruption_budget, &mut kept.disruption_budgets, ctx).await?;
            kept.deployments.insert(deployment.name_any());
            Some(deployment)
        }
    };
    kept.autoscalers.extend(autoscaler.as_ref().map(ResourceExt::name_any));
    // Before the Deployment: an autoscaler that is no longer declared must not change its number once more.
    prune(gateway, &kept, ctx).await?;
    let live = scaled(gateway, deployment, ctx).await?;
    each(autoscaler, &mut kept.autoscalers, ctx).await?;
    let agent_platform = match agent_deployment {
        Some(deployment) => Some(ctx.applier.apply(&deployment, None).await?.object),
        None => None,
    };
    Ok(Live { deployment: live, agent_platform, exposed })
}

async fn each<K>(object: Option<K>, names: &mut BTreeSet<String>, ctx: &Context) -> Result<(), Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + serde::Serialize + DeserializeOwned + Clone + Debug,
{
    if let Some(object) = object {
        names.insert(object.name_any());
        ctx.applier.keep(&object).await?;
    }
    Ok(())
}

/// Applies what this process reads, too: nobody is given what was there before.
async fn keep_input<K>(kind: Kind, object: &K, ctx: &Context) -> Result<(), Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + serde::Serialize + DeserializeOwned + Clone + Debug,
{
    let kept = ctx.applier.keep(object).await;
    if !matches!(kept, Ok(Change::Unchanged)) {
        ctx.fresh.changed(kind, &object.namespace().unwrap_or_default(), &object.name_any());
    }
    kept?;
    Ok(())
}

/// The Gateway API is no part of Kubernetes: a cluster may lack it.
async fn expose(
    gateway: &AIGateway,
    route: Option<HTTPRoute>,
    names: &mut BTreeSet<String>,
    ctx: &Context,
) -> Result<Option<Finding>, Error> {
    let Some(route) = route else {
        let text = "The Ingress exists; whether its controller serves it is not known";
        return Ok(gateway.spec.ingress.as_ref().map(|_| Finding::holds(EXPOSED, "Applied", text)));
    };
    names.insert(route.name_any());
    let live = match ctx.applier.apply(&route, None).await {
        Ok(applied) => applied.object,
        Err(error) if error.is_not_found() => {
            let text = "spec.httpRoute: this cluster has no HTTPRoute of gateway.networking.k8s.io/v1; install the Gateway \
                        API, or use spec.ingress";
            return Ok(Some(Finding::fails(EXPOSED, "GatewayAPINotInstalled", text).by_person()));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Some(match desired::route_refused(&live) {
        Some(why) => Finding::fails(EXPOSED, "RouteNotAccepted", format!("spec.httpRoute: {why}")).by_person(),
        None => Finding::holds(EXPOSED, "Applied", "The HTTPRoute exists and no Gateway has refused it"),
    }))
}

/// Applies the Deployment. Beside an autoscaler its number of pods is left to that one: who gives a field up takes it
/// away, so somebody else owns it first, or the number would fall to one for a moment.
async fn scaled(gateway: &AIGateway, mut deployment: Deployment, ctx: &Context) -> Result<Deployment, Error> {
    if gateway.spec.autoscaling.is_none() {
        return Ok(ctx.applier.apply(&deployment, None).await?.object);
    }
    let name = deployment.name_any();
    let api: Api<Deployment> = Api::namespaced(ctx.kube.clone(), &gateway.namespace().unwrap_or_default());
    let live = duo_runtime::call(format!("get Deployment {name}"), api.get_opt(&name)).await?;
    match live.as_ref().map(|live| scale::own_number(live, ctx.applier.manager())) {
        // A new Deployment begins with the fewest pods and not with one.
        None => {
            if let Some(spec) = &mut deployment.spec {
                spec.replicas = Some(desired::fewest(gateway));
            }
        }
        Some(Some(number)) => {
            let body = json!({
                "apiVersion": Deployment::api_version(&()), "kind": Deployment::kind(&()),
                "metadata": {"name": name}, "spec": {"replicas": number},
            });
            // Not forced: where the number has changed since, there is an owner already, or the next pass tries again.
            let params = PatchParams::apply(HANDOVER);
            let patch = Patch::Apply(&body);
            let what = format!("hand over the replicas of Deployment {name}");
            duo_runtime::call(what, api.patch(&name, &params, &patch)).await?;
            return Ok(ctx.applier.apply(&deployment, None).await?.object);
        }
        Some(None) => {}
    }
    Ok(ctx.applier.apply(&deployment, live.as_ref()).await?.object)
}

/// Removes what is no longer declared; once for each set of what is.
async fn prune(gateway: &AIGateway, kept: &Kept, ctx: &Context) -> Result<(), Error> {
    let uid = gateway.uid().unwrap_or_default();
    let Kept {
        config_maps,
        services,
        deployments,
        disruption_budgets,
        autoscalers,
        network_policies,
        ingresses,
        routes,
    } = kept;
    let all =
        [config_maps, services, deployments, disruption_budgets, autoscalers, network_policies, ingresses, routes];
    let declared = all.map(|names| names.iter().map(String::as_str).collect::<Vec<_>>().join(",")).join(";");
    if !ctx.pruned.is_new(duo_runtime::Uid::of(gateway), &declared) {
        return Ok(());
    }
    let namespace = gateway.namespace().unwrap_or_default();
    let selector = labels::children_text(&gateway.name_any());
    let applier = &ctx.applier;
    applier.prune::<HorizontalPodAutoscaler>(&namespace, &selector, &uid, autoscalers).await?;
    applier.prune::<PodDisruptionBudget>(&namespace, &selector, &uid, disruption_budgets).await?;
    applier.prune::<NetworkPolicy>(&namespace, &selector, &uid, network_policies).await?;
    applier.prune::<Ingress>(&namespace, &selector, &uid, ingresses).await?;
    applier.prune::<Deployment>(&namespace, &selector, &uid, deployments).await?;
    applier.prune::<Service>(&namespace, &selector, &uid, services).await?;
    applier.prune::<ConfigMap>(&namespace, &selector, &uid, config_maps).await?;
    match applier.prune::<HTTPRoute>(&namespace, &selector, &uid, routes).await {
        Ok(_) => {}
        // Where there is no such kind there is none to remove.
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    ctx.pruned.done(duo_runtime::Uid::of(gateway), declared);
    Ok(())
}

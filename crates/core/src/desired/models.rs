//! The declared models as the gateway is told of them.

use std::collections::BTreeSet;

use duo_api::calls::PriceSpec;
use duo_api::gateway::{AIGatewaySpec, Implementation};
use duo_api::place::{CompletionApi, ConnectionSpec, FallbackSpec, MirrorSpec};
use duo_api::{SelfHostedModel, SelfHostedModelSpec};
use duo_gateway_config as config;
use kube::ResourceExt;

use super::credentials::Credentials;
use crate::claims::Claimant;
use crate::durations::{milliseconds, seconds};
use crate::inputs::{self, Place, PlaceFiles};
use crate::{url_rules, validate};

/// The models of a gateway that are rendered: valid ones whose keys are at hand, the oldest of each key.
///
/// A model that is being deleted is served until it is gone from GitLab.
pub fn rendered_models<'a>(
    gateway: &AIGatewaySpec,
    models: &'a [SelfHostedModel],
    credentials: &Credentials,
) -> Vec<&'a SelfHostedModel> {
    let siblings: Vec<validate::Sibling> =
        models.iter().map(|model| validate::Sibling { claimant: claimant(model), spec: model.spec.clone() }).collect();
    let mut sorted: Vec<&SelfHostedModel> = models.iter().collect();
    sorted.sort_by_key(|model| claimant(model));
    let mut keys = BTreeSet::new();
    sorted
        .into_iter()
        .filter(|model| validate::model(&claimant(model), &model.spec, gateway, &siblings).is_none())
        // GitLab sends its own image the keys.
        .filter(|model| {
            gateway.implementation == Implementation::GitLab
                || credentials.have(&inputs::of_model(&model.name_any(), &model.spec))
        })
        .filter(|model| {
            let key =
                config::model_key(model.spec.family.key(), model.spec.endpoint.as_deref(), &model.spec.identifier);
            keys.insert((key.family, key.endpoint, key.identifier))
        })
        .collect()
}

/// What the gateway would refuse of this model by itself. Rendered all the same, it would hold up all other models.
pub(crate) fn mistake(name: &str, spec: &SelfHostedModelSpec) -> Option<String> {
    let mut alone = config::GatewayConfig::new("http://gitlab");
    alone.models.push(model(name, spec, &all_there(name, spec)));
    match alone.validate() {
        Ok(()) => None,
        Err(config::ConfigError::Invalid { field, problem }) => {
            Some(format!("{}: {problem}", field.replacen("models[0]", "spec", 1)))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Digest of a model as the gateway has it once it has taken over what is declared, all keys at hand.
pub fn model_digest(name: &str, spec: &SelfHostedModelSpec) -> String {
    model(name, spec, &all_there(name, spec)).digest()
}

/// As if every file that the model refers to was there.
fn all_there(name: &str, spec: &SelfHostedModelSpec) -> Credentials {
    let inputs = inputs::of_all_places(name, spec);
    Credentials { files: inputs.into_iter().map(|input| (input.file, Vec::new())).collect(), ..Credentials::default() }
}

fn claimant(model: &SelfHostedModel) -> Claimant {
    Claimant::new(
        model.creation_timestamp().map(|time| time.0.to_string()),
        model.namespace().unwrap_or_default(),
        model.name_any(),
    )
}

/// One model. A mirror or fallback whose key is not at hand is left out, and the model is served without it.
pub(super) fn model(name: &str, spec: &SelfHostedModelSpec, credentials: &Credentials) -> config::Model {
    let own = PlaceFiles::new(name, Place::Own);
    let here: Vec<Place<'_>> = inputs::of_further_places(name, spec)
        .into_iter()
        .filter(|(_, inputs)| credentials.have(inputs))
        .map(|(place, _)| place)
        .collect();
    config::Model {
        name: name.to_owned(),
        family: spec.family.key().to_owned(),
        identifier: spec.identifier.clone(),
        endpoint: spec.endpoint.as_deref().and_then(url_rules::normalize),
        api_key_file: spec.api_key_secret_ref.as_ref().map(|_| own.api_key()),
        connection: connection(spec.connection.as_ref(), &own),
        weight: spec.weight.map(count),
        replicas: spec
            .mirrors
            .iter()
            .filter(|mirror| here.contains(&Place::Mirror(&mirror.name)))
            .map(|mirror| replica(mirror, &PlaceFiles::new(name, Place::Mirror(&mirror.name))))
            .collect(),
        fallbacks: spec
            .fallbacks
            .iter()
            .filter(|item| here.contains(&Place::Fallback(&item.name)))
            .map(|item| fallback(item, &PlaceFiles::new(name, Place::Fallback(&item.name))))
            .collect(),
        timeouts: spec.timeouts.as_ref().map(|timeouts| config::Timeouts {
            first_byte_seconds: timeouts.first_byte.as_deref().and_then(seconds),
            overall_seconds: timeouts.overall.as_deref().and_then(seconds),
        }),
        retries: spec.retries.as_ref().map(|retries| config::Retries {
            attempts: retries.attempts.map(count),
            max_pause_milliseconds: retries.max_pause.as_deref().and_then(milliseconds),
        }),
        circuit_breaker: spec.circuit_breaker.as_ref().map(|breaker| config::CircuitBreaker {
            consecutive_failures: breaker.consecutive_failures.map(count),
            open_seconds: breaker.open_for.as_deref().and_then(seconds),
        }),
        hedging: spec.hedging.as_ref().map(|hedging| config::Hedging {
            percentile: hedging.percentile.map(count),
            min_delay_milliseconds: hedging.min_delay.as_deref().and_then(milliseconds),
        }),
        concurrency: spec.concurrency.as_ref().map(|concurrency| config::Concurrency {
            max_requests: concurrency.max_requests.map(count),
            max_queued: concurrency.max_queued.map(count),
            queue_seconds: concurrency.queue_timeout.as_deref().and_then(seconds),
        }),
        prompt_caching: spec.prompt_caching,
        price: spec.price.as_ref().map(price),
    }
}

fn price(spec: &PriceSpec) -> config::Price {
    config::Price {
        input_per_million: spec.input_per_million_tokens.clone(),
        output_per_million: spec.output_per_million_tokens.clone(),
        cache_read_per_million: spec.cache_read_per_million_tokens.clone(),
        cache_write_per_million: spec.cache_write_per_million_tokens.clone(),
    }
}

fn replica(mirror: &MirrorSpec, files: &PlaceFiles) -> config::Replica {
    config::Replica {
        endpoint: mirror.endpoint.as_deref().and_then(url_rules::normalize),
        api_key_file: mirror.api_key_secret_ref.as_ref().map(|_| files.api_key()),
        weight: mirror.weight.map(count),
        connection: connection(mirror.connection.as_ref(), files),
    }
}

fn fallback(fallback: &FallbackSpec, files: &PlaceFiles) -> config::Fallback {
    config::Fallback {
        identifier: fallback.identifier.clone(),
        family: fallback.family.map(|family| family.key().to_owned()),
        endpoint: fallback.endpoint.as_deref().and_then(url_rules::normalize),
        api_key_file: fallback.api_key_secret_ref.as_ref().map(|_| files.api_key()),
        connection: connection(fallback.connection.as_ref(), files),
        price: fallback.price.as_ref().map(price),
    }
}

fn connection(spec: Option<&ConnectionSpec>, files: &PlaceFiles) -> config::Connection {
    let Some(spec) = spec else { return config::Connection::default() };
    config::Connection {
        region: spec.region.clone(),
        endpoint: spec.endpoint.clone(),
        assume_role: spec.assume_role.as_ref().map(|role| config::AssumeRole {
            role_arn: role.role_arn.clone(),
            external_id: role.external_id.clone(),
            sts_endpoint: role.sts_endpoint.clone(),
        }),
        api_version: spec.api_version.clone(),
        completion_api: spec.completion_api.map(|api| match api {
            CompletionApi::Chat => config::CompletionApi::Chat,
            CompletionApi::Completions => config::CompletionApi::Completions,
            CompletionApi::Suffix => config::CompletionApi::Suffix,
        }),
        client_certificate: spec.client_certificate_secret_ref.as_ref().map(|_| config::CertificateFiles {
            certificate_file: files.certificate(),
            key_file: files.certificate_key(),
        }),
        ca_bundle_file: spec.ca_bundle_ref.as_ref().map(|_| files.ca_bundle()),
        proxy_url: spec.proxy_url.clone(),
    }
}

/// A number that the CRD's limits keep from being negative.
pub(super) fn count(number: i32) -> u32 {
    number.unsigned_abs()
}

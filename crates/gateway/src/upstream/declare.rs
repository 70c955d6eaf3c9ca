//! From the configuration's models to models that can be called: each with its places in the order in which they are
//! asked, and with what is already known of them.

use std::collections::HashMap;
use std::sync::Arc;

use duo_gateway_config as config;
use duo_gateway_config::{Connection, ModelKey, Price};

use super::{Clients, Declared, Directory, Member, Place, PlaceSpec, Target};
use crate::config_store::{LoadError, Mounted};
use crate::resilience::Policy;

/// The declared models by key.
///
/// # Errors
/// [`LoadError`], naming the field or file of the first place that cannot be made.
pub fn declare(
    mounted: &Mounted,
    clients: &Arc<Clients>,
    previous: Option<&Directory>,
) -> Result<HashMap<ModelKey, Target>, LoadError> {
    let mut models = HashMap::new();
    for (at, model) in mounted.config.models.iter().enumerate() {
        let (members, own) = members(&format!("models[{at}]"), model, mounted, clients)?;
        let known = previous.and_then(|old| old.named(&model.name));
        let declared = Declared::new(model.name.as_str().into(), members, own, Policy::of(model), known);
        models.insert(model.key(), Arc::new(declared));
    }
    Ok(models)
}

/// The model's places and how many of them are its own; the rest are fallbacks.
fn members(
    field: &str,
    model: &config::Model,
    mounted: &Mounted,
    clients: &Arc<Clients>,
) -> Result<(Vec<Member>, usize), LoadError> {
    let place = |field: &str, one: &One<'_>| {
        let spec = PlaceSpec {
            field,
            identifier: one.identifier,
            family: one.family,
            endpoint: one.endpoint,
            api_key_file: one.api_key_file,
            connection: one.connection,
            prompt_caching: model.prompt_caching,
            price: one.price,
        };
        Place::build(&spec, mounted, clients)
    };
    let primary = One {
        identifier: &model.identifier,
        family: &model.family,
        endpoint: model.endpoint.as_deref(),
        api_key_file: model.api_key_file.as_deref(),
        connection: &model.connection,
        price: model.price.as_ref(),
    };
    let mut members =
        vec![Member::new(place(field, &primary)?, "primary", model.weight.unwrap_or(1), primary.identity())];
    for (at, replica) in model.replicas.iter().enumerate() {
        let one = One {
            endpoint: replica.endpoint.as_deref(),
            api_key_file: replica.api_key_file.as_deref(),
            connection: &replica.connection,
            ..primary
        };
        let place = place(&format!("{field}.replicas[{at}]"), &one)?;
        let role = format!("replica-{}", at + 1);
        members.push(Member::new(place, role, replica.weight.unwrap_or(1), one.identity()));
    }
    let own = members.len();
    for (at, fallback) in model.fallbacks.iter().enumerate() {
        let one = One {
            identifier: &fallback.identifier,
            family: fallback.family.as_deref().unwrap_or(&model.family),
            endpoint: fallback.endpoint.as_deref(),
            api_key_file: fallback.api_key_file.as_deref(),
            connection: &fallback.connection,
            price: fallback.price.as_ref().or(model.price.as_ref().filter(|_| fallback.identifier == model.identifier)),
        };
        let place = place(&format!("{field}.fallbacks[{at}]"), &one)?;
        members.push(Member::new(place, format!("fallback-{}", at + 1), 1, one.identity()));
    }
    Ok((members, own))
}

/// One place, whichever list it stands in.
#[derive(Clone, Copy)]
struct One<'a> {
    identifier: &'a str,
    family: &'a str,
    endpoint: Option<&'a str>,
    api_key_file: Option<&'a str>,
    connection: &'a Connection,
    price: Option<&'a Price>,
}

impl One<'_> {
    /// What makes it the same server and model, whatever its key, certificate or weight.
    fn identity(&self) -> String {
        let region = self.connection.region.as_deref().unwrap_or_default();
        let endpoint = self.connection.endpoint.as_deref().or(self.endpoint).unwrap_or_default();
        format!("{} {region} {endpoint}", self.identifier)
    }
}

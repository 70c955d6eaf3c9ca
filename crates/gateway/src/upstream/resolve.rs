//! Which model a request means. With a mounted configuration only declared models are called, with the configuration's
//! own endpoint and key; a request cannot name another server.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use duo_gateway_config::{ModelKey, model_key};
use duo_protocol::contract::{Invalid, ModelSelection};
use duo_protocol::identifier::Identifier;

use super::{Clients, Place};
use crate::resilience::{Model as ModelState, PlaceState, Policy};
use crate::secret::Secret;

/// One place of a model.
#[derive(Clone, Debug)]
pub struct Member {
    /// How it is called.
    pub place: Arc<Place>,
    /// What it is to the model, for logs and metrics: `primary`, `replica-1`, `fallback-1`, ….
    pub role: Cow<'static, str>,
    /// Share of the calls; without meaning for fallbacks.
    pub weight: u32,
    /// What of it makes it the same place in the next configuration.
    pub identity: String,
    /// What is remembered of it.
    pub state: Arc<PlaceState>,
}

impl Member {
    /// A place of which nothing is remembered yet.
    pub fn new(place: Arc<Place>, role: impl Into<Cow<'static, str>>, weight: u32, identity: String) -> Self {
        Self { place, role: role.into(), weight, identity, state: Arc::default() }
    }
}

/// A model that may be called, with all that the call needs.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name in the configuration; `undeclared` for one that the request brought.
    pub name: Arc<str>,
    /// Where it is served: first its own places, then the fallbacks. At least one.
    pub members: Vec<Member>,
    /// How many of them are its own.
    pub own: usize,
    /// How it is called.
    pub policy: Policy,
    /// What is remembered of it.
    pub state: Arc<ModelState>,
}

impl Declared {
    /// A model with what `previous`, the model of the same name until now, knows of it and its places.
    pub fn new(name: Arc<str>, mut members: Vec<Member>, own: usize, policy: Policy, previous: Option<&Self>) -> Self {
        let state = match previous {
            None => Arc::new(ModelState::new(&policy)),
            Some(old) => {
                for member in &mut members {
                    if let Some(same) = old.members.iter().find(|other| other.identity == member.identity) {
                        member.state = same.state.clone();
                    }
                }
                old.state.clone()
            }
        };
        Self { name, members, own, policy, state }
    }

    /// The place that the model itself names.
    pub fn primary(&self) -> &Arc<Place> {
        &self.members[0].place
    }
}

/// What a request resolves to.
pub type Target = Arc<Declared>;

/// The models that may be called.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Declared models by key.
    pub models: HashMap<ModelKey, Target>,
    /// Whether a request may bring a model of its own.
    pub undeclared: bool,
    /// For a model that the request brings.
    pub clients: Arc<Clients>,
    /// What is remembered of those.
    pub brought: Arc<Brought>,
}

impl Directory {
    /// The model of a request.
    ///
    /// # Errors
    /// A 422 list detail that names the model and says where to declare it; GitLab shows it to the administrator.
    pub fn resolve(&self, selection: &ModelSelection) -> Result<Target, Invalid> {
        let Some(wanted) = &selection.identifier else {
            return self.only_one(selection).cloned().ok_or_else(Identifier::missing);
        };
        let identifier = wanted.to_string();
        let key = model_key(selection.family.as_str(), selection.endpoint.as_deref(), &identifier);
        if let Some(target) = self.models.get(&key) {
            return Ok(target.clone());
        }
        if self.undeclared {
            let place = Place::new(
                wanted.clone(),
                selection.family,
                selection.endpoint.clone(),
                selection.api_key.as_ref().map(|key| Secret::new(key.expose())),
                self.clients.clone(),
            );
            return Ok(Arc::new(self.brought.remembered(key, Arc::new(place))));
        }
        Err(Invalid::one(
            &["body", "model_metadata"],
            &format!(
                "The model '{identifier}' of family '{}' is not declared in the gateway's configuration with this \
                 endpoint: declare a SelfHostedModel with the same family, identifier and endpoint",
                selection.family
            ),
            "model_not_declared",
        ))
    }

    /// For a request without an identifier: the declared model of its family at its endpoint, if there is exactly one.
    /// Models of platforms without endpoints stand for any endpoint, as GitLab sends a placeholder for them.
    fn only_one(&self, selection: &ModelSelection) -> Option<&Target> {
        let family = self.models.iter().filter(|(key, _)| key.family == selection.family.as_str());
        let (mut exact, mut any): (Vec<&Target>, Vec<&Target>) = (Vec::new(), Vec::new());
        for (key, target) in family {
            if key.endpoint.is_none() || selection.endpoint.is_none() {
                any.push(target);
            } else if key.endpoint == selection.endpoint {
                exact.push(target);
            }
        }
        match (exact.as_slice(), any.as_slice()) {
            ([one], _) | ([], [one]) => Some(one),
            _ => None,
        }
    }

    /// The configuration is in force: what outlives configurations follows its numbers.
    pub fn settle(&self) {
        for target in self.models.values() {
            target.state.gate.resize(target.policy.queue.at_once);
        }
    }

    /// The declared model of that name.
    pub fn named(&self, name: &str) -> Option<&Declared> {
        self.models.values().find(|target| &*target.name == name).map(AsRef::as_ref)
    }
}

/// Models of which something is remembered at most; all are forgotten beyond it.
const MOST_BROUGHT: usize = 256;

/// What is remembered of models that requests bring, without the keys they bring.
#[derive(Debug, Default)]
pub struct Brought(Mutex<HashMap<ModelKey, Remembered>>);

/// A model and its only place.
type Remembered = (Arc<ModelState>, Arc<PlaceState>);

impl Brought {
    fn remembered(&self, key: ModelKey, place: Arc<Place>) -> Declared {
        let policy = Policy::default();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_BROUGHT && !known.contains_key(&key) {
            known.clear();
        }
        let (model, state) =
            known.entry(key).or_insert_with(|| (Arc::new(ModelState::new(&policy)), Arc::default())).clone();
        drop(known);
        let member = Member { state, ..Member::new(place, "primary", 1, String::new()) };
        Declared { name: "undeclared".into(), members: vec![member], own: 1, policy, state: model }
    }
}

#[cfg(test)]
mod tests {
    use duo_protocol::contract::ApiKey;
    use duo_protocol::family::Family;

    use super::*;

    fn selection(family: Family, identifier: &str, endpoint: Option<&str>) -> ModelSelection {
        ModelSelection {
            family,
            identifier: (!identifier.is_empty()).then(|| Identifier::parse(identifier).unwrap()),
            endpoint: endpoint.map(str::to_owned),
            api_key: Some(ApiKey::new("from-the-request")),
        }
    }

    fn directory(undeclared: bool) -> Directory {
        let declared = |name: &str, family: &str, identifier: &str, endpoint: Option<&str>| {
            let place = Place::new(
                Identifier::parse(identifier).unwrap(),
                Family::parse(family).unwrap(),
                endpoint.map(str::to_owned),
                Some(Secret::new("from-the-folder")),
                Clients::for_tests(),
            );
            let member = Member::new(Arc::new(place), "primary", 1, String::new());
            let target = Declared::new(name.into(), vec![member], 1, Policy::default(), None);
            (model_key(family, endpoint, identifier), Arc::new(target))
        };
        let models = [
            declared("bed", "mixtral", "bedrock/m", None),
            declared("vllm", "mistral", "custom_openai/m", Some("http://v/v1")),
        ];
        Directory { models: models.into(), undeclared, clients: Clients::for_tests(), brought: Arc::default() }
    }

    #[test]
    fn declared_models_are_called_with_the_configurations_key() {
        let directory = directory(false);
        let found = directory.resolve(&selection(Family::Mistral, "custom_openai/m", Some("http://v/v1"))).unwrap();
        assert_eq!((&*found.name, found.primary().api_key.as_ref().unwrap().expose()), ("vllm", "from-the-folder"));
        let found = directory.resolve(&selection(Family::Mixtral, "bedrock/m", None)).unwrap();
        assert_eq!(&*found.name, "bed");
    }

    #[test]
    fn without_an_identifier_the_only_model_of_family_and_endpoint_is_meant() {
        let mut directory = directory(true);
        let find = |directory: &Directory, family, endpoint| {
            directory.resolve(&selection(family, "", endpoint)).map(|found| found.name.to_string())
        };
        assert_eq!(find(&directory, Family::Mistral, Some("http://v/v1")).unwrap(), "vllm");
        assert_eq!(find(&directory, Family::Mistral, None).unwrap(), "vllm");
        assert_eq!(find(&directory, Family::Mixtral, Some("http://bedrockselfhostedmodel.com")).unwrap(), "bed");
        for (family, endpoint) in [(Family::Mistral, Some("http://other/v1")), (Family::Gpt, Some("http://v/v1"))] {
            let refused = find(&directory, family, endpoint).unwrap_err();
            assert!(refused.summary().contains("identifier"), "{refused}");
        }
        let second = directory.models.values().next().unwrap().clone();
        directory.models.insert(model_key("mistral", Some("http://v/v1"), "custom_openai/n"), second);
        assert!(find(&directory, Family::Mistral, Some("http://v/v1")).is_err(), "two of them: none is meant");
    }

    #[test]
    fn another_family_endpoint_or_identifier_is_refused_by_name() {
        for other in [
            selection(Family::Mixtral, "custom_openai/m", Some("http://v/v1")),
            selection(Family::Mistral, "custom_openai/n", Some("http://v/v1")),
            selection(Family::Mistral, "custom_openai/m", Some("http://169.254.169.254")),
        ] {
            let refused = directory(false).resolve(&other).unwrap_err();
            assert!(refused.summary().contains(&other.identifier.as_ref().unwrap().to_string()), "{refused}");
            assert!(!refused.summary().contains("from-the"), "{refused}");
            let allowed = directory(true).resolve(&other).unwrap();
            assert_eq!(allowed.primary().api_key.as_ref().unwrap().expose(), "from-the-request");
        }
    }

    #[test]
    fn a_new_configuration_keeps_what_is_known_of_the_same_model_and_place() {
        let member = |identity: &str| {
            let identifier = Identifier::parse("bedrock/m").unwrap();
            let place = Place::new(identifier, Family::Mixtral, None, None, Clients::for_tests());
            Member::new(Arc::new(place), "primary", 1, identity.to_owned())
        };
        let old = Declared::new("m".into(), vec![member("a"), member("b")], 2, Policy::default(), None);
        let new = Declared::new("m".into(), vec![member("b"), member("c")], 2, Policy::default(), Some(&old));
        assert!(Arc::ptr_eq(&old.state, &new.state) && Arc::ptr_eq(&old.members[1].state, &new.members[0].state));
        assert!(old.members.iter().all(|member| !Arc::ptr_eq(&member.state, &new.members[1].state)));
    }

    #[test]
    fn what_requests_bring_is_remembered_by_model_and_bounded() {
        let directory = directory(true);
        let one = selection(Family::Mixtral, "custom_openai/m", Some("http://other/v1"));
        let (first, second) = (directory.resolve(&one).unwrap(), directory.resolve(&one).unwrap());
        assert!(Arc::ptr_eq(&first.state, &second.state));
        for number in 0..2 * MOST_BROUGHT {
            let endpoint = format!("http://h{number}/v1");
            directory.resolve(&selection(Family::Mixtral, "custom_openai/m", Some(&endpoint))).unwrap();
        }
        assert!(directory.brought.0.lock().unwrap().len() <= MOST_BROUGHT);
    }
}

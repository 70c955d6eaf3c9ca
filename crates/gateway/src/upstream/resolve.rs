//! Which model a request means. With a mounted configuration only declared models are called, with the configuration's
//! own endpoint and key; a request cannot name another server.

use std::collections::HashMap;
use std::sync::Arc;

use duo_gateway_config::{ModelKey, model_key};
use duo_protocol::contract::{Invalid, ModelSelection};
use duo_protocol::identifier::Identifier;

use super::{Clients, Place};
use crate::secret::Secret;

/// A model that may be called, with all that the call needs.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name in the configuration; `undeclared` for one that the request brought.
    pub name: Arc<str>,
    /// Where it is served.
    pub place: Arc<Place>,
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
            return Ok(Arc::new(Declared { name: "undeclared".into(), place: Arc::new(place) }));
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
            let target = Declared { name: name.into(), place: Arc::new(place) };
            (model_key(family, endpoint, identifier), Arc::new(target))
        };
        let models = [
            declared("bed", "mixtral", "bedrock/m", None),
            declared("vllm", "mistral", "custom_openai/m", Some("http://v/v1")),
        ];
        Directory { models: models.into(), undeclared, clients: Clients::for_tests() }
    }

    #[test]
    fn declared_models_are_called_with_the_configurations_key() {
        let directory = directory(false);
        let found = directory.resolve(&selection(Family::Mistral, "custom_openai/m", Some("http://v/v1"))).unwrap();
        assert_eq!((&*found.name, found.place.api_key.as_ref().unwrap().expose()), ("vllm", "from-the-folder"));
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
            assert_eq!(allowed.place.api_key.as_ref().unwrap().expose(), "from-the-request");
        }
    }
}

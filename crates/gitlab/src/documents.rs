//! The GraphQL documents, one file each under `graphql/`, and which fragment goes with which version of GitLab.
//!
//! GitLab fills some fields only when their name occurs anywhere in the query text, comments included, so the files hold
//! no comments. `apiToken` is never selected: an administrator reads it in clear.

use crate::schema::Capabilities;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) operation: &'static str,
    text: &'static str,
    fragments: &'static [Fragment],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fragment {
    Model,
    Settings,
    Feature,
}

macro_rules! document {
    ($name:ident, $operation:literal, $file:literal, [$($fragment:ident),*]) => {
        pub(crate) const $name: Document = Document {
            operation: $operation,
            text: include_str!(concat!("../graphql/", $file, ".graphql")),
            fragments: &[$(Fragment::$fragment),*],
        };
    };
}

document!(METADATA, "DuoMetadata", "metadata", []);
// GitLab refuses introspection under any other operation name
document!(INTROSPECTION, "IntrospectionQuery", "introspection", []);
document!(SHAPE_PROBE, "DuoShapeProbe", "shape_probe", []);
document!(OBSERVE, "DuoObserve", "observe", [Model, Settings, Feature]);
document!(MODELS_PAGE, "DuoModelsPage", "models_page", [Model]);
document!(FEATURES_PAGE, "DuoFeaturesPage", "features_page", [Feature]);
document!(HEALTH_CHECK, "DuoHealthCheck", "health_check", []);
document!(RIGHTS, "DuoRights", "rights", []);
document!(MODEL_CREATE, "DuoModelCreate", "model_create", [Model]);
document!(MODEL_UPDATE, "DuoModelUpdate", "model_update", [Model]);
document!(MODEL_DELETE, "DuoModelDelete", "model_delete", []);
document!(CONNECTION_CHECK, "DuoConnectionCheck", "connection_check", []);
document!(FEATURE_UPDATE, "DuoFeatureUpdate", "feature_update", [Feature]);
document!(SETTINGS_UPDATE, "DuoSettingsUpdate", "settings_update", [Settings]);

/// Every document, for the tests that check them against GitLab's schema.
#[cfg(test)]
pub(crate) const ALL: [Document; 14] = [
    METADATA,
    INTROSPECTION,
    SHAPE_PROBE,
    OBSERVE,
    MODELS_PAGE,
    FEATURES_PAGE,
    HEALTH_CHECK,
    RIGHTS,
    MODEL_CREATE,
    MODEL_UPDATE,
    MODEL_DELETE,
    CONNECTION_CHECK,
    FEATURE_UPDATE,
    SETTINGS_UPDATE,
];

impl Document {
    /// The text to send to an instance of these capabilities.
    pub(crate) fn render(&self, capabilities: &Capabilities) -> String {
        let mut text = self.text.to_owned();
        for fragment in self.fragments {
            text.push_str(fragment.text(capabilities));
        }
        text
    }

    /// The text of a document that is the same for all versions.
    pub(crate) fn plain(&self) -> &'static str {
        self.text
    }
}

impl Fragment {
    fn text(self, capabilities: &Capabilities) -> &'static str {
        match self {
            Self::Model if capabilities.has_model_provider => include_str!("../graphql/fragments/model.graphql"),
            Self::Model => include_str!("../graphql/fragments/model_18_9.graphql"),
            Self::Settings if capabilities.agent_platform_secure => {
                include_str!("../graphql/fragments/settings_19.graphql")
            }
            Self::Settings => match (capabilities.timeout_setting, capabilities.agent_platform_url) {
                (true, true) => include_str!("../graphql/fragments/settings.graphql"),
                (false, true) => include_str!("../graphql/fragments/settings_18_4.graphql"),
                (_, false) => include_str!("../graphql/fragments/settings_17_9.graphql"),
            },
            Self::Feature => include_str!("../graphql/fragments/feature.graphql"),
        }
    }
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;

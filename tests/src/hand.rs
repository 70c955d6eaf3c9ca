//! What people do by hand in GitLab, and what they see there and in the cluster beside our resources.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use duo_sim::gitlab::state::{FeatureRow, Model};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::World;
use crate::wait::LIMIT;

/// A model that somebody registered by hand and that no resource declares.
pub const FOREIGN_MODEL: &str = "Somebody's model";
/// A feature that somebody switched off by hand and that no resource declares.
pub const FOREIGN_FEATURE: &str = "review_merge_request";

impl World {
    /// Registers a model in GitLab as an administrator does by hand; its number.
    pub fn model_by_hand(&self, name: &str, family: &str, identifier: &str) -> u64 {
        self.gitlab.edit(|state| {
            let id = state.next_model_id;
            let now = state.settings.updated_at;
            let model = Model {
                id,
                name: name.to_owned(),
                family: family.to_owned(),
                endpoint: Some("http://somewhere.example/v1".to_owned()),
                identifier: identifier.to_owned(),
                api_token: None,
                provider: "API".to_owned(),
                created_at: now,
                updated_at: now,
            };
            state.next_model_id += 1;
            state.models.insert(id, model);
            id
        })
    }

    /// Sets a feature in GitLab by hand.
    pub fn feature_by_hand(&self, feature: &str, provider: &str, model_id: Option<u64>) {
        let row = FeatureRow { provider: provider.to_owned(), model_id, offered_model_ref: None };
        self.gitlab.edit(|state| state.features.insert(feature.to_owned(), row));
    }

    /// Puts a model and a feature into GitLab that are none of the operator's business.
    pub fn add_what_is_foreign(&self) {
        self.model_by_hand(FOREIGN_MODEL, "gpt", "custom_openai/x");
        self.feature_by_hand(FOREIGN_FEATURE, "disabled", None);
    }

    /// Checks that nobody changed what [`Self::add_what_is_foreign`] put there.
    ///
    /// # Panics
    /// When somebody did.
    pub fn foreign_is_untouched(&self) {
        let state = self.gitlab.state();
        let model = state.models.values().find(|model| model.name == FOREIGN_MODEL).expect("the foreign model");
        assert_eq!((model.family.as_str(), model.identifier.as_str()), ("gpt", "custom_openai/x"));
        assert_eq!(model.created_at, model.updated_at, "the foreign model was written to");
        let row = &state.features[FOREIGN_FEATURE];
        assert_eq!((row.provider.as_str(), row.model_id), ("disabled", None));
    }

    /// Names of all models in GitLab, sorted.
    pub fn models_in_gitlab(&self) -> Vec<String> {
        let mut names: Vec<String> = self.gitlab.state().models.into_values().map(|model| model.name).collect();
        names.sort();
        names
    }

    /// A model in GitLab by its name.
    ///
    /// # Panics
    /// When there is none.
    pub fn model_in_gitlab(&self, name: &str) -> Model {
        let state = self.gitlab.state();
        state.models.into_values().find(|model| model.name == name).unwrap_or_else(|| panic!("no model {name}"))
    }

    /// How a feature is set in GitLab: provider and name of the model; a feature without a row is `("none", None)`.
    pub fn feature_in_gitlab(&self, feature: &str) -> (String, Option<String>) {
        let state = self.gitlab.state();
        state.features.get(feature).map_or_else(
            || ("none".to_owned(), None),
            |row| {
                let model = row.model_id.and_then(|id| state.models.get(&id)).map(|model| model.name.clone());
                (row.provider.clone(), model)
            },
        )
    }

    /// Events of this world: reason, object's name, text.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub async fn events(&self) -> Vec<(String, String, String)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = api.list(&ListParams::default()).await.expect("events");
        let name = |event: &Event| event.regarding.as_ref().and_then(|about| about.name.clone()).unwrap_or_default();
        events
            .iter()
            .map(|event| {
                let (reason, note) = (event.reason.clone(), event.note.clone());
                (reason.unwrap_or_default(), name(event), note.unwrap_or_default())
            })
            .collect()
    }

    /// Waits for an event with this reason about this object; its text.
    ///
    /// # Panics
    /// When none comes.
    pub async fn until_event(&self, reason: &str, name: &str) -> String {
        let started = Instant::now();
        loop {
            let events = self.events().await;
            if let Some((_, _, note)) = events.iter().find(|event| event.0 == reason && event.1 == name) {
                return note.clone();
            }
            assert!(started.elapsed() < LIMIT, "no event {reason} about {name}: {events:#?}\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until something holds that can be seen outside our resources.
    ///
    /// # Panics
    /// After [`LIMIT`].
    pub async fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < LIMIT, "never: {what}\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Names and uids of the gateway's pods.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub async fn pods(&self) -> BTreeSet<(String, String)> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pods = api.list(&ListParams::default()).await.expect("pods");
        pods.iter().map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect()
    }

    /// The pod template of the gateway's Deployment.
    ///
    /// # Panics
    /// When there is no Deployment.
    pub async fn pod_template(&self) -> Value {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let deployment = api.get("duo").await.expect("the gateway's Deployment");
        serde_json::to_value(deployment.spec.expect("a spec").template).expect("JSON")
    }

    /// Kills the operator (SIGKILL).
    pub fn kill_operator(&self) {
        self.with_operator(|operator| operator.as_mut().expect("an operator").kill());
    }

    /// Starts the operator again.
    pub fn start_operator_again(&self) {
        self.with_operator(|operator| operator.as_mut().expect("an operator").start_again());
    }

    /// Mutations that GitLab got since a mark: root fields, with the names or features that they are about.
    pub fn mutations_since(&self, mark: u64) -> Vec<String> {
        let entries = self.gitlab.journal().writes(mark);
        entries.iter().map(|entry| format!("{} {}", entry.fields.join(","), entry.variables)).collect()
    }
}

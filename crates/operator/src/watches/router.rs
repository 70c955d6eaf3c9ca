//! Who is reconciled when what changes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use duo_core::inputs;
use duo_gateway_config::model_key;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::sync::{mpsc, watch};

use super::{Known, Stores, reference};
use crate::context::told_home;

#[derive(Clone)]
pub(crate) struct Router {
    pub(super) stores: Stores,
    pub(super) known: Known,
    /// Whether anybody is to be woken.
    pub(super) works: watch::Receiver<bool>,
    pub(super) gateways: mpsc::Sender<ObjectRef<AIGateway>>,
    pub(super) models: mpsc::Sender<ObjectRef<SelfHostedModel>>,
    pub(super) assignments: mpsc::Sender<ObjectRef<FeatureAssignment>>,
    /// Gateways that will be woken, or were woken last, then.
    soon: Arc<Mutex<HashMap<Soon, Instant>>>,
}

type Soon = (ObjectRef<AIGateway>, Why);

/// Why a gateway is woken a moment later, once for all that happens until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Why {
    /// Its models and assignments: thirty of them come up one by one.
    Dependents,
    /// Its child objects: a Deployment and its pods change a dozen times while they come up.
    Children,
}

impl Why {
    /// How long others are waited for.
    fn wait(self) -> Duration {
        match self {
            Self::Dependents => Duration::from_secs(1),
            Self::Children => Duration::from_millis(200),
        }
    }

    /// How long after the last time at least.
    fn pause(self) -> Duration {
        match self {
            Self::Dependents => Duration::from_secs(5),
            Self::Children => Duration::from_millis(500),
        }
    }
}

/// When to wake, if that is not settled already. `last`: when it was done last, or will be.
fn due(last: Option<Instant>, now: Instant, why: Why) -> Option<Instant> {
    let soon = now + why.wait();
    match last {
        Some(last) if last > now => None,
        Some(last) => Some(soon.max(last + why.pause())),
        None => Some(soon),
    }
}

/// An object of ours that came, changed or went, and whom that concerns.
pub(super) struct Touched<K> {
    pub(super) object: Arc<K>,
    /// As it was before.
    pub(super) former: Option<Arc<K>>,
    /// Its own controller.
    pub(super) own: bool,
    /// Who reads what is declared.
    pub(super) declared: bool,
    /// Who reads what became of it: gateways, and those who claim the same.
    pub(super) state: bool,
    /// Models that read what became of it.
    pub(super) to_models: bool,
    /// Assignments that do.
    pub(super) to_assignments: bool,
}

impl<K> Touched<K> {
    /// What the object says and what it said before: who waited for the one waits no more.
    fn both(&self) -> impl Iterator<Item = &K> {
        self.former.as_deref().into_iter().chain([self.object.as_ref()])
    }
}

impl Router {
    pub(super) fn new(
        stores: Stores,
        known: Known,
        works: watch::Receiver<bool>,
        gateways: mpsc::Sender<ObjectRef<AIGateway>>,
        models: mpsc::Sender<ObjectRef<SelfHostedModel>>,
        assignments: mpsc::Sender<ObjectRef<FeatureAssignment>>,
    ) -> Self {
        Self { stores, known, works, gateways, models, assignments, soon: Arc::default() }
    }

    /// Wakes models and assignments whose gateway is none of these.
    pub(crate) async fn wake_without(&self, gateways: &[Arc<AIGateway>]) {
        let there: HashSet<(Option<&str>, &str)> = gateways
            .iter()
            .map(|gateway| {
                (gateway.metadata.namespace.as_deref(), gateway.metadata.name.as_deref().unwrap_or_default())
            })
            .collect();
        for model in self.stores.models.state() {
            if !there.contains(&(model.metadata.namespace.as_deref(), &model.spec.gateway_ref.name)) {
                self.wake_model(reference(model.as_ref())).await;
            }
        }
        for item in self.stores.assignments.state() {
            if !there.contains(&(item.metadata.namespace.as_deref(), &item.spec.gateway_ref.name)) {
                self.wake_assignment(reference(item.as_ref())).await;
            }
        }
    }

    /// Wakes a gateway and all that belongs to it.
    pub(crate) async fn wake_all_of(&self, namespace: &str, gateway: &str) {
        self.wake_gateway(ObjectRef::new(gateway).within(namespace)).await;
        self.wake_models(namespace, gateway).await;
        self.wake_assignments(namespace, gateway).await;
    }

    /// Wakes one gateway.
    pub(crate) async fn wake_gateway(&self, gateway: ObjectRef<AIGateway>) {
        if *self.works.borrow() {
            // a controller that ended takes the process with it
            let _ = self.gateways.send(gateway).await;
        }
    }

    /// Wakes a gateway in a moment, once for all that happens until then.
    fn wake_gateway_soon(&self, gateway: ObjectRef<AIGateway>, why: Why) {
        let key = (gateway, why);
        let mut soon = self.soon.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(due) = due(soon.get(&key).copied(), Instant::now(), why).filter(|_| *self.works.borrow()) else {
            return;
        };
        soon.insert(key.clone(), due);
        let router = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            router.wake_gateway(key.0.clone()).await;
            // The last of what belonged to it may go after it.
            if router.stores.gateways.get(&key.0).is_none() {
                router.forget(&key.0);
            }
        });
    }

    /// Lets go of what is known of a gateway that is gone.
    fn forget(&self, gateway: &ObjectRef<AIGateway>) {
        let mut soon = self.soon.lock().unwrap_or_else(PoisonError::into_inner);
        for why in [Why::Dependents, Why::Children] {
            soon.remove(&(gateway.clone(), why));
        }
    }

    async fn wake_model(&self, model: ObjectRef<SelfHostedModel>) {
        if *self.works.borrow() {
            let _ = self.models.send(model).await;
        }
    }

    async fn wake_assignment(&self, item: ObjectRef<FeatureAssignment>) {
        if *self.works.borrow() {
            let _ = self.assignments.send(item).await;
        }
    }

    pub(super) async fn gateway_changed(self, touched: Touched<AIGateway>) {
        let Touched { object: gateway, own, declared, state, to_models, to_assignments, .. } = &touched;
        let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
        if *own {
            self.wake_gateway(reference(gateway.as_ref())).await;
        }
        if self.stores.gateways.get(&reference(gateway.as_ref())).is_none() {
            self.forget(&reference(gateway.as_ref()));
        }
        if *declared || *to_models {
            self.wake_models(&namespace, &name).await;
        }
        if *declared || *to_assignments {
            self.wake_assignments(&namespace, &name).await;
        }
        if *declared || *state {
            // Another gateway for the same GitLab may take over when this one goes.
            let homes: Vec<_> = touched.both().map(told_home).collect();
            for other in self.stores.gateways.state() {
                let theirs = told_home(&other);
                if homes.iter().any(|home| home.shares(&theirs)) && other.uid() != gateway.uid() {
                    self.wake_gateway(reference(other.as_ref())).await;
                }
            }
        }
    }

    /// Pods of a gateway tell something new of models that they know by these names. One that requests cannot tell apart
    /// from another is known there by the name of the older one.
    pub(crate) async fn news_of_models(&self, (namespace, gateway): &(String, String), names: &BTreeSet<String>) {
        let models = self.stores.models_of(namespace, gateway);
        let key = |model: &SelfHostedModel| {
            model_key(model.spec.family.key(), model.spec.endpoint.as_deref(), &model.spec.identifier)
        };
        let keys: HashSet<_> =
            models.iter().filter(|model| names.contains(&model.name_any())).map(|model| key(model)).collect();
        for model in models.iter().filter(|model| keys.contains(&key(model))) {
            self.wake_model(reference(model.as_ref())).await;
        }
    }

    async fn wake_models(&self, namespace: &str, gateway: &str) {
        for model in self.stores.models_of(namespace, gateway) {
            self.wake_model(reference(model.as_ref())).await;
        }
    }

    async fn wake_assignments(&self, namespace: &str, gateway: &str) {
        for item in self.stores.assignments_of(namespace, gateway) {
            self.wake_assignment(reference(item.as_ref())).await;
        }
    }

    pub(super) async fn model_changed(self, touched: Touched<SelfHostedModel>) {
        let Touched { object: model, own, declared, state, to_assignments, .. } = &touched;
        let (namespace, gateway) = (model.namespace().unwrap_or_default(), model.spec.gateway_ref.name.clone());
        if *own {
            self.wake_model(reference(model.as_ref())).await;
        }
        if *declared {
            self.wake_gateway(ObjectRef::new(&gateway).within(&namespace)).await;
        } else if *state {
            self.wake_gateway_soon(ObjectRef::new(&gateway).within(&namespace), Why::Dependents);
        }
        if *declared || *state {
            // Siblings whose claim lost may win now.
            for other in self.stores.models_of(&namespace, &gateway) {
                let contends = touched.both().any(|model| {
                    other.spec.display_name == model.spec.display_name || other.spec.identifier == model.spec.identifier
                });
                if contends && other.uid() != model.uid() {
                    self.wake_model(reference(other.as_ref())).await;
                }
            }
        }
        if *declared || *to_assignments {
            for item in self.stores.assignments_of(&namespace, &gateway) {
                if item.spec.model_ref.as_ref().is_some_and(|reference| reference.name == model.name_any()) {
                    self.wake_assignment(reference(item.as_ref())).await;
                }
            }
        }
    }

    pub(super) async fn assignment_changed(self, touched: Touched<FeatureAssignment>) {
        let Touched { object: item, own, declared, state, .. } = &touched;
        if *own {
            self.wake_assignment(reference(item.as_ref())).await;
        }
        if *declared || *state {
            let (namespace, gateway) = (item.namespace().unwrap_or_default(), item.spec.gateway_ref.name.clone());
            self.wake_gateway_soon(ObjectRef::new(&gateway).within(&namespace), Why::Dependents);
            let models: BTreeSet<_> =
                touched.both().filter_map(|item| Some(&item.spec.model_ref.as_ref()?.name)).collect();
            for name in models.into_iter().filter(|_| *declared) {
                self.wake_model(ObjectRef::new(name).within(&namespace)).await;
            }
            for other in self.stores.assignments_of(&namespace, &gateway) {
                let contends = touched
                    .both()
                    .any(|item| other.spec.features.iter().any(|feature| item.spec.features.contains(feature)));
                if contends && other.uid() != item.uid() {
                    self.wake_assignment(reference(other.as_ref())).await;
                }
            }
        }
    }

    /// The pods of a gateway turn GitLab's users away, or do so no longer.
    pub(crate) fn news_of_gateway(&self, (namespace, name): &(String, String)) {
        self.child_changed(ObjectRef::new(name).within(namespace));
    }

    /// A child object of this gateway came, changed or went.
    pub(super) fn child_changed(&self, gateway: ObjectRef<AIGateway>) {
        self.wake_gateway_soon(gateway, Why::Children);
    }

    pub(super) async fn input_changed<K: Resource<DynamicType = ()> + Sync>(
        &self,
        kind: inputs::Kind,
        input: &PartialObjectMeta<K>,
    ) {
        let (namespace, name) = (input.namespace().unwrap_or_default(), input.name_any());
        self.known.fresh.changed(kind, &namespace, &name);
        let mut woken: Vec<String> = Vec::new();
        for gateway in self.stores.gateways.state() {
            if gateway.namespace().as_deref() == Some(&namespace)
                && refers(&inputs::gateway_references(&gateway.spec), kind, &name)
            {
                woken.push(gateway.name_any());
                self.wake_models(&namespace, &gateway.name_any()).await;
                self.wake_assignments(&namespace, &gateway.name_any()).await;
            }
        }
        for model in self.stores.models.state() {
            if refers(&inputs::model_references(&model.spec), kind, &name)
                && model.namespace().as_deref() == Some(&namespace)
            {
                woken.push(model.spec.gateway_ref.name.clone());
                self.wake_model(reference(model.as_ref())).await;
            }
        }
        for gateway in woken {
            self.wake_gateway(ObjectRef::new(&gateway).within(&namespace)).await;
        }
    }
}

fn refers(references: &[(inputs::Kind, String)], kind: inputs::Kind, name: &str) -> bool {
    references.iter().any(|(of, object)| *of == kind && object == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_told_soon_and_many_are_told_together() {
        let now = Instant::now();
        let (why, second) = (Why::Dependents, Duration::from_secs(1));
        let first = due(None, now, why).unwrap();
        assert_eq!(first, now + second);
        assert_eq!(due(Some(first), now + second / 2, why), None, "it will be woken anyway");
        assert_eq!(due(Some(first), first + second, why), Some(first + 5 * second), "others will follow");
        assert_eq!(due(Some(first), first + 60 * second, why), Some(first + 61 * second));
    }
}

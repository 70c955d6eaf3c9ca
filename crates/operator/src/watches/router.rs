//! Who is reconciled when what changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use duo_core::inputs;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;

use super::Stores;
use crate::context::told_home;
use duo_api::annotations::GATEWAY_LABEL;

#[derive(Clone)]
pub(super) struct Router {
    pub(super) stores: Stores,
    pub(super) gateways: mpsc::Sender<ObjectRef<AIGateway>>,
    pub(super) models: mpsc::Sender<ObjectRef<SelfHostedModel>>,
    pub(super) assignments: mpsc::Sender<ObjectRef<FeatureAssignment>>,
}

/// An object of ours that came, changed or went, and whom that concerns.
pub(super) struct Touched<K> {
    pub(super) object: Arc<K>,
    /// As it was before.
    pub(super) former: Option<Arc<K>>,
    pub(super) own: bool,
    pub(super) dependents: bool,
}

impl<K> Touched<K> {
    /// What the object says and what it said before: who waited for the one waits no more.
    fn both(&self) -> impl Iterator<Item = &K> {
        self.former.as_deref().into_iter().chain([self.object.as_ref()])
    }
}

impl Router {
    pub(super) async fn gateway_changed(self, touched: Touched<AIGateway>) {
        let Touched { object: gateway, own, dependents, .. } = &touched;
        let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
        if *own {
            let _ = self.gateways.send(ObjectRef::from_obj(gateway.as_ref())).await;
        }
        if *dependents {
            self.wake_dependents(&namespace, &name).await;
            // Another gateway for the same GitLab may take over when this one goes.
            let homes: Vec<_> = touched.both().map(told_home).collect();
            for other in self.stores.gateways.state() {
                let theirs = told_home(&other);
                if homes.iter().any(|home| home.shares(&theirs)) && other.uid() != gateway.uid() {
                    let _ = self.gateways.send(ObjectRef::from_obj(other.as_ref())).await;
                }
            }
        }
    }

    async fn wake_dependents(&self, namespace: &str, gateway: &str) {
        for model in self.stores.models.state() {
            if model.namespace().as_deref() == Some(namespace) && model.spec.gateway_ref.name == gateway {
                let _ = self.models.send(ObjectRef::from_obj(model.as_ref())).await;
            }
        }
        for item in self.stores.assignments.state() {
            if item.namespace().as_deref() == Some(namespace) && item.spec.gateway_ref.name == gateway {
                let _ = self.assignments.send(ObjectRef::from_obj(item.as_ref())).await;
            }
        }
    }

    pub(super) async fn model_changed(self, touched: Touched<SelfHostedModel>) {
        let Touched { object: model, own, dependents, .. } = &touched;
        if *own {
            let _ = self.models.send(ObjectRef::from_obj(model.as_ref())).await;
        }
        if *dependents {
            let (namespace, gateway) = (model.namespace().unwrap_or_default(), model.spec.gateway_ref.name.clone());
            let _ = self.gateways.send(ObjectRef::new(&gateway).within(&namespace)).await;
            // Siblings whose claim lost may win now; assignments wait for the model's id.
            for other in self.stores.models.state() {
                let same = other.spec.gateway_ref.name == gateway && other.namespace().as_deref() == Some(&namespace);
                let contends = touched.both().any(|model| {
                    other.spec.display_name == model.spec.display_name || other.spec.identifier == model.spec.identifier
                });
                if same && contends && other.uid() != model.uid() {
                    let _ = self.models.send(ObjectRef::from_obj(other.as_ref())).await;
                }
            }
            for item in self.stores.assignments.state() {
                let references = item.spec.model_ref.as_ref().is_some_and(|r| r.name == model.name_any());
                if references && item.namespace().as_deref() == Some(&namespace) {
                    let _ = self.assignments.send(ObjectRef::from_obj(item.as_ref())).await;
                }
            }
        }
    }

    pub(super) async fn assignment_changed(self, touched: Touched<FeatureAssignment>) {
        let Touched { object: item, own, dependents, .. } = &touched;
        if *own {
            let _ = self.assignments.send(ObjectRef::from_obj(item.as_ref())).await;
        }
        if *dependents {
            let (namespace, gateway) = (item.namespace().unwrap_or_default(), item.spec.gateway_ref.name.clone());
            let _ = self.gateways.send(ObjectRef::new(&gateway).within(&namespace)).await;
            let models: BTreeSet<_> =
                touched.both().filter_map(|item| Some(&item.spec.model_ref.as_ref()?.name)).collect();
            for name in models {
                let _ = self.models.send(ObjectRef::new(name).within(&namespace)).await;
            }
            for other in self.stores.assignments.state() {
                let same = other.spec.gateway_ref.name == gateway && other.namespace().as_deref() == Some(&namespace);
                let contends = touched
                    .both()
                    .any(|item| other.spec.features.iter().any(|feature| item.spec.features.contains(feature)));
                if same && contends && other.uid() != item.uid() {
                    let _ = self.assignments.send(ObjectRef::from_obj(other.as_ref())).await;
                }
            }
        }
    }

    pub(super) async fn child_changed<K: Resource<DynamicType = ()> + Sync>(&self, child: &PartialObjectMeta<K>) {
        if let (Some(namespace), Some(gateway)) = (child.namespace(), child.labels().get(GATEWAY_LABEL)) {
            let _ = self.gateways.send(ObjectRef::new(gateway).within(&namespace)).await;
        }
    }

    pub(super) async fn input_changed<K: Resource<DynamicType = ()> + Sync>(
        &self,
        kind: &str,
        input: &PartialObjectMeta<K>,
    ) {
        let (namespace, name) = (input.namespace().unwrap_or_default(), input.name_any());
        let mut woken: Vec<String> = Vec::new();
        for gateway in self.stores.gateways.state() {
            if gateway.namespace().as_deref() == Some(&namespace)
                && refers(&inputs::gateway_references(&gateway.spec), kind, &name)
            {
                woken.push(gateway.name_any());
                self.wake_dependents(&namespace, &gateway.name_any()).await;
            }
        }
        for model in self.stores.models.state() {
            if refers(&inputs::model_references(&model.spec), kind, &name)
                && model.namespace().as_deref() == Some(&namespace)
            {
                woken.push(model.spec.gateway_ref.name.clone());
                let _ = self.models.send(ObjectRef::from_obj(model.as_ref())).await;
            }
        }
        for gateway in woken {
            let _ = self.gateways.send(ObjectRef::new(&gateway).within(&namespace)).await;
        }
    }
}

fn refers(references: &[(inputs::Kind, String)], kind: &str, name: &str) -> bool {
    references.iter().any(|(of, object)| of.name() == kind && object == name)
}

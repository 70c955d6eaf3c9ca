//! Child objects of one watch and whose they are. What was deleted while the watch was interrupted is missing from the
//! next list and nothing else tells of it: its gateway is woken as if the deletion had been seen.
//!
//! Only names are kept, and only of objects with the operator's label.

use std::collections::{BTreeMap, BTreeSet};

use duo_api::AIGateway;
use duo_api::annotations::GATEWAY_LABEL;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

/// Namespace and name of a child.
type Name = (String, String);

/// The children of one kind that one watch has seen.
#[derive(Default)]
pub(super) struct Children {
    /// The gateway of each child.
    known: BTreeMap<Name, String>,
    /// Who was listed so far; `None` while no list is under way.
    listed: Option<BTreeSet<Name>>,
}

impl Children {
    /// Takes note of an event. Whose gateways are concerned.
    pub(super) fn take<K: Resource<DynamicType = ()>>(
        &mut self,
        event: &Event<PartialObjectMeta<K>>,
    ) -> Vec<ObjectRef<AIGateway>> {
        match event {
            Event::Init => {
                self.listed = Some(BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(child) | Event::Apply(child) => {
                let name = name(child);
                if let Some(listed) = &mut self.listed {
                    listed.insert(name.clone());
                }
                let now = child.labels().get(GATEWAY_LABEL);
                let before = match now {
                    Some(now) => self.known.insert(name.clone(), now.clone()),
                    None => self.known.remove(&name),
                };
                // A child that lost its label, or was given another one, is missing where it was.
                let lost = before.filter(|before| Some(before) != now);
                now.cloned().into_iter().chain(lost).map(|gateway| gateway_of(&name, &gateway)).collect()
            }
            Event::Delete(child) => {
                let name = name(child);
                let known = self.known.remove(&name);
                let gateway = child.labels().get(GATEWAY_LABEL).cloned().or(known);
                gateway.map(|gateway| gateway_of(&name, &gateway)).into_iter().collect()
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone = |name: &Name| !listed.contains(name);
                let missing = self.known.iter().filter(|(name, _)| gone(name));
                let woken = missing.map(|(name, gateway)| gateway_of(name, gateway)).collect();
                self.known.retain(|name, _| !gone(name));
                woken
            }
        }
    }
}

fn name<K: Resource<DynamicType = ()>>(child: &PartialObjectMeta<K>) -> Name {
    (child.namespace().unwrap_or_default(), child.name_any())
}

fn gateway_of((namespace, _): &Name, gateway: &str) -> ObjectRef<AIGateway> {
    ObjectRef::new(gateway).within(namespace)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    fn child(name: &str, gateway: Option<&str>) -> PartialObjectMeta<Service> {
        let labels = gateway.map(|gateway| json!({GATEWAY_LABEL: gateway}));
        serde_json::from_value(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": name, "namespace": "n", "labels": labels},
        }))
        .unwrap()
    }

    fn take(children: &mut Children, event: Event<PartialObjectMeta<Service>>) -> Vec<String> {
        children.take(&event).into_iter().map(|gateway| gateway.name).collect()
    }

    fn list(children: &mut Children, objects: &[(&str, &str)]) -> Vec<String> {
        take(children, Event::Init);
        for (name, gateway) in objects {
            take(children, Event::InitApply(child(name, Some(gateway))));
        }
        take(children, Event::InitDone)
    }

    #[test]
    fn what_a_new_list_lacks_was_deleted_in_the_gap() {
        let mut children = Children::default();
        assert!(list(&mut children, &[("a", "one"), ("b", "two"), ("c", "two")]).is_empty());
        take(&mut children, Event::Apply(child("d", Some("three"))));
        assert_eq!(list(&mut children, &[("a", "one"), ("c", "two")]), ["two", "three"], "b and d are gone");
        assert!(list(&mut children, &[("a", "one"), ("c", "two")]).is_empty(), "told once");
    }

    #[test]
    fn a_list_that_breaks_off_deletes_nothing() {
        let mut children = Children::default();
        list(&mut children, &[("a", "one"), ("b", "two")]);
        take(&mut children, Event::Init);
        take(&mut children, Event::InitApply(child("a", Some("one"))));
        assert!(list(&mut children, &[("a", "one"), ("b", "two")]).is_empty());
    }

    #[test]
    fn each_change_wakes_the_gateway_of_before_and_of_now() {
        let mut children = Children::default();
        assert_eq!(take(&mut children, Event::Apply(child("a", Some("one")))), ["one"]);
        assert_eq!(take(&mut children, Event::Apply(child("a", Some("two")))), ["two", "one"]);
        assert_eq!(take(&mut children, Event::Apply(child("a", None))), ["two"]);
        assert!(take(&mut children, Event::Delete(child("a", None))).is_empty());
        assert!(take(&mut children, Event::Apply(child("b", None))).is_empty());
        take(&mut children, Event::Apply(child("c", Some("one"))));
        assert_eq!(take(&mut children, Event::Delete(child("c", Some("one")))), ["one"]);
    }
}

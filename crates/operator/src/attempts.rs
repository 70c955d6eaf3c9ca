//! When connection checks were tried last, remembered while this process runs: a check that says once more what the status
//! says already is not worth a write every few seconds.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use duo_runtime::Uid;
use kube::Resource;

/// Unix seconds of the last try by object.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<Uid, i64>>);

impl Attempts {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<Uid, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The later one of what is remembered and what the status says.
    pub(crate) fn last<K: Resource>(&self, object: &K, in_status: Option<i64>) -> Option<i64> {
        self.all().get(&Uid::of(object)).copied().max(in_status)
    }

    /// Notes a try.
    pub(crate) fn note<K: Resource>(&self, object: &K, at: i64) {
        self.all().insert(Uid::of(object), at);
    }

    /// Forgets all but these objects.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.all().retain(|uid, _| uids.contains(uid));
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget<K: Resource>(&self, object: &K) {
        self.all().remove(&Uid::of(object));
    }
}

#[cfg(test)]
mod tests {
    use duo_api::SelfHostedModel;

    use super::*;

    #[test]
    fn only_those_that_there_are_are_remembered() {
        let model = |uid: &str| -> SelfHostedModel {
            let text = format!(
                "{{apiVersion: duo.selfhosted.dev/v1alpha1, kind: SelfHostedModel, metadata: {{name: m, uid: {uid}}}, spec: {{gatewayRef: {{name: duo}}, displayName: M, platform: Bedrock, family: Claude, identifier: bedrock/m}}}}"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        let attempts = Attempts::default();
        for uid in ["one", "two", "three"] {
            attempts.note(&model(uid), 7);
        }
        attempts.keep(&HashSet::from([Uid::from("two")]));
        attempts.forget(&model("four"));
        assert_eq!(["one", "two", "three"].map(|uid| attempts.last(&model(uid), None)), [None, Some(7), None]);
    }
}

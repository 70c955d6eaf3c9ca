//! Since when something is so for an object, remembered while this process runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use duo_gateway_config::ModelKey;
use duo_runtime::Uid;
use kube::Resource;

/// Moments by object, each for one declaration of it.
#[derive(Default)]
pub(crate) struct Since(Mutex<HashMap<Uid, (ModelKey, Instant)>>);

impl Since {
    fn all(&self) -> MutexGuard<'_, HashMap<Uid, (ModelKey, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long it has been so for what is declared now; it begins when it is asked for the first time.
    pub(crate) fn elapsed<K: Resource>(&self, object: &K, declared: &ModelKey) -> Duration {
        let mut all = self.all();
        let (of, since) = all.entry(Uid::of(object)).or_insert_with(|| (declared.clone(), Instant::now()));
        if of != declared {
            (*of, *since) = (declared.clone(), Instant::now());
        }
        since.elapsed()
    }

    /// Forgets all but these objects.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.all().retain(|uid, _| uids.contains(uid));
    }

    /// It is not so any more, or the object is gone.
    pub(crate) fn forget<K: Resource>(&self, object: &K) {
        self.all().remove(&Uid::of(object));
    }
}

#[cfg(test)]
mod tests {
    use duo_api::SelfHostedModel;
    use duo_gateway_config::model_key;

    use super::*;

    fn model(uid: &str) -> SelfHostedModel {
        let text = format!(
            "{{apiVersion: duo.selfhosted.dev/v1alpha1, kind: SelfHostedModel, metadata: {{name: m, uid: {uid}}}, spec: {{gatewayRef: {{name: duo}}, displayName: M, platform: Bedrock, family: Claude, identifier: bedrock/m}}}}"
        );
        serde_yaml_ng::from_str(&text).unwrap()
    }

    #[test]
    fn it_begins_with_each_declaration_and_ends_with_its_object() {
        let (since, pause) = (Since::default(), Duration::from_millis(5));
        let elapsed = |uid, identifier| since.elapsed(&model(uid), &model_key("claude_3", None, identifier));
        let start = Instant::now();
        elapsed("one", "bedrock/a");
        elapsed("two", "bedrock/a");
        std::thread::sleep(pause);
        assert!(elapsed("one", "bedrock/a") >= pause, "it goes on");
        assert!(elapsed("one", "bedrock/b") + pause <= start.elapsed(), "declared anew");
        since.forget(&model("one"));
        since.keep(&HashSet::from([Uid::from("two")]));
        assert_eq!(since.all().keys().copied().collect::<Vec<_>>(), [Uid::from("two")]);
    }
}

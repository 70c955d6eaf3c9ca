//! The shared look at one GitLab: one at a time, kept for all who ask, own writes worked into it.
//!
//! A look that began after somebody asked is fresh for him, whatever he allows. A failed one is shared for a moment, so
//! that thirty resources of a GitLab that is down do not ask thirty times.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use duo_core::observed::{Feature, Instance, Model, Settings};

/// Result of a look.
type Looked = Result<Arc<Instance>, duo_gitlab::Error>;

/// A look that took longer set aside who waited for it: it is his when he comes back.
const SLOW: Duration = Duration::from_secs(1);
/// He comes back within this time after its end.
const RETURN: Duration = Duration::from_secs(4);
/// A failed look is shared for so long.
const FAILED: Duration = Duration::from_secs(1);
/// A look may take so long; what was written since is kept for it.
const LONGEST: Duration = Duration::from_secs(120);

/// What this process wrote to GitLab, as GitLab said it is now.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    /// A model was created or changed.
    Model(Model),
    /// Who serves a feature: provider and model, by the feature's lower-case key.
    Feature { key: String, provider: String, model_id: Option<String> },
    /// URL and timeout.
    Settings(Settings),
}

/// What is known.
#[derive(Default)]
pub(super) struct Known {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last look.
    look: Option<Look>,
    /// Own writes, for a look that is under way.
    written: Vec<(Instant, Written)>,
    /// What began before this counts no more.
    void_before: Option<Instant>,
}

struct Look {
    began: Instant,
    ended: Instant,
    /// What it found, own writes worked in.
    found: Looked,
}

/// How new a look must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// When it was asked for.
    pub asked: Instant,
    /// How old it may be then.
    pub max_age: Duration,
    /// Any look that began since is new enough, too.
    pub since: Option<Instant>,
}

impl Known {
    /// The last look, if it will do.
    pub(super) fn get(&self, wanted: Wanted) -> Option<Looked> {
        let state = self.lock();
        let look = state.look.as_ref()?;
        if state.void_before.is_some_and(|void| look.began <= void) {
            return None;
        }
        let age = wanted.asked.saturating_duration_since(look.began);
        let since_end = wanted.asked.saturating_duration_since(look.ended);
        let waited_for = look.ended.duration_since(look.began) > SLOW && since_end < RETURN;
        let fresh = look.began >= wanted.asked
            || waited_for
            || match look.found {
                Ok(_) => age <= wanted.max_age || wanted.since.is_some_and(|since| look.began >= since),
                Err(_) => since_end <= FAILED,
            };
        fresh.then(|| look.found.clone())
    }

    /// What the last look found, however old, unless it failed or counts no more.
    pub(super) fn last(&self) -> Option<Arc<Instance>> {
        let state = self.lock();
        let look = state.look.as_ref().filter(|look| state.void_before.is_none_or(|void| look.began > void))?;
        look.found.as_ref().ok().cloned()
    }

    /// Takes in a look that ended now.
    pub(super) fn set(&self, began: Instant, looked: Looked) -> Looked {
        let mut state = self.lock();
        let found = looked.map(|instance| {
            let newer = state.written.iter().filter(|(at, _)| *at >= began);
            let mut instance = instance;
            newer.for_each(|(_, written)| work_in(Arc::make_mut(&mut instance), written));
            instance
        });
        // The next look begins after them.
        state.written = Vec::new();
        state.look = Some(Look { began, ended: Instant::now(), found: found.clone() });
        found
    }

    /// Works an own write in.
    pub(super) fn wrote(&self, written: Written) {
        let mut state = self.lock();
        if let Some(Look { found: Ok(instance), .. }) = &mut state.look {
            work_in(Arc::make_mut(instance), &written);
        }
        let now = Instant::now();
        state.written.retain(|(at, _)| now.saturating_duration_since(*at) < LONGEST);
        state.written.push((now, written));
    }

    /// Something was written, or was perhaps: what was seen until now counts no more.
    pub(super) fn void(&self) {
        self.lock().void_before = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an instance what it is after a write.
fn work_in(after: &mut Instance, written: &Written) {
    match written {
        Written::Model(model) => {
            if let Some(models) = &mut after.models {
                match models.iter_mut().find(|known| known.id == model.id) {
                    Some(known) => known.clone_from(model),
                    None => models.push(model.clone()),
                }
            }
        }
        Written::Feature { key, provider, model_id } => {
            if let Some(feature) = after.features.iter_mut().find(|feature| feature.key == *key) {
                *feature = Feature { provider: provider.clone(), model_id: model_id.clone(), ..feature.clone() };
            }
        }
        Written::Settings(settings) => after.settings = Some(settings.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(version: &str) -> Instance {
        let capabilities = duo_core::observed::Capabilities {
            has_model_provider: true,
            endpoint_required: false,
            timeout_setting: true,
            agent_platform_url: true,
            agent_platform_secure: true,
            families: Vec::new(),
            features: Vec::new(),
        };
        let feature = Feature {
            key: "duo_chat".to_owned(),
            provider: "unassigned".to_owned(),
            model_id: None,
            release_state: Some("GA".to_owned()),
            families: Arc::default(),
        };
        Instance {
            version: version.to_owned(),
            capabilities,
            settings: None,
            models: Some(Vec::new()),
            features: vec![feature],
        }
    }

    fn chat(model: &str) -> Written {
        Written::Feature {
            key: "duo_chat".to_owned(),
            provider: "self_hosted".to_owned(),
            model_id: Some(model.into()),
        }
    }

    fn wanted(asked: Instant, max_age: u64) -> Wanted {
        Wanted { asked, max_age: Duration::from_secs(max_age), since: None }
    }

    fn served_by(looked: Option<Looked>) -> Option<String> {
        looked.unwrap().unwrap().feature("duo_chat").unwrap().model_id.clone()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn how_old_a_look_may_be() {
        let known = Known::default();
        let now = Instant::now();
        assert!(known.get(wanted(now, 100)).is_none(), "nobody has looked");
        known.set(now, Ok(Arc::new(instance("1")))).unwrap();
        let later = now + 10 * SECOND;
        assert!(known.get(wanted(now, 0)).is_some(), "it began when it was asked for");
        assert!(known.get(wanted(later, 9)).is_none());
        assert!(known.get(wanted(later, 10)).is_some());
        let period = |since| Wanted { since: Some(since), ..wanted(later, 0) };
        assert!(known.get(period(now)).is_some(), "it is the look of this period");
        assert!(known.get(period(now + SECOND)).is_none());
    }

    #[test]
    fn a_slow_look_is_taken_by_those_who_waited_for_it_elsewhere() {
        let known = Known::default();
        let ended = Instant::now();
        let Some(began) = ended.checked_sub(20 * SECOND) else { return };
        known.set(began, Ok(Arc::new(instance("1")))).unwrap();
        assert!(known.get(wanted(ended + SECOND, 0)).is_some());
        assert!(known.get(wanted(ended + 5 * SECOND, 0)).is_none());
    }

    #[test]
    fn a_failed_look_is_shared_for_a_moment() {
        let known = Known::default();
        let now = Instant::now();
        known.set(now, Err(duo_gitlab::Error::RateLimited { retry_after: None })).unwrap_err();
        let soon = now + Duration::from_millis(500);
        assert!(known.get(wanted(soon, 0)).is_some_and(|looked| looked.is_err()));
        assert!(known.get(wanted(now + 3 * SECOND, 100)).is_none(), "however old a look may be, a failed one is none");
    }

    #[test]
    fn own_writes_are_in_what_was_seen_before_and_in_a_look_that_was_under_way() {
        let known = Known::default();
        let before = Instant::now();
        known.set(before, Ok(Arc::new(instance("1")))).unwrap();
        known.wrote(chat("7"));
        assert_eq!(served_by(known.get(wanted(before + SECOND, 3))).as_deref(), Some("7"));
        // began before the write, ends after it, and does not show it
        known.set(before, Ok(Arc::new(instance("2")))).unwrap();
        assert_eq!(served_by(known.get(wanted(before + SECOND, 3))).as_deref(), Some("7"));
        // began after it: GitLab's word counts, somebody has changed it since
        let after = Instant::now() + SECOND;
        known.set(after, Ok(Arc::new(instance("3")))).unwrap();
        assert_eq!(served_by(known.get(wanted(after, 3))), None);
    }

    #[test]
    fn after_a_write_whose_end_is_unknown_nothing_seen_before_counts() {
        let known = Known::default();
        let began = Instant::now();
        known.set(began, Ok(Arc::new(instance("1")))).unwrap();
        known.void();
        assert!(known.get(wanted(began, 100)).is_none());
        // under way when it happened
        known.set(began, Ok(Arc::new(instance("1")))).unwrap();
        assert!(known.get(wanted(began, 100)).is_none());
        let after = Instant::now() + SECOND;
        known.set(after, Ok(Arc::new(instance("1")))).unwrap();
        assert!(known.get(wanted(after, 100)).is_some());
    }

    #[test]
    fn models_are_added_and_replaced() {
        let model = |id: &str, name: &str| Model {
            id: id.to_owned(),
            name: name.to_owned(),
            family: "gpt".to_owned(),
            endpoint: None,
            identifier: None,
            provider: None,
            has_api_token: false,
        };
        let mut seen = instance("1");
        for (id, name) in [("1", "a"), ("2", "b"), ("1", "c")] {
            work_in(&mut seen, &Written::Model(model(id, name)));
        }
        let names: Vec<_> = seen.models.unwrap().into_iter().map(|model| (model.id, model.name)).collect();
        assert_eq!(names, [("1".to_owned(), "c".to_owned()), ("2".to_owned(), "b".to_owned())]);
    }
}

//! Kubernetes events: published on edges that the caller computes, bounded per object, never a reason to fail.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};

use crate::{error::call, uid::Uid};

/// Longest text of an event, in bytes (limit of events.k8s.io/v1).
const LONGEST_NOTE: usize = 1024;
/// Longest reason and action, in bytes (same source).
const LONGEST_REASON: usize = 128;
/// Events of one object at once.
const BURST: f64 = 15.0;
/// After a burst, one event of an object per this time.
const REFILL: Duration = Duration::from_secs(60);
/// The same sentence about the same object is said once in this time.
const REPEAT: Duration = Duration::from_secs(600);
/// Most objects remembered.
const MOST_OBJECTS: usize = 10_000;
/// An object of which nothing was said for so long is as if nothing had ever been said: its burst is whole again, and
/// whatever was said may be repeated.
const QUIET: Duration = Duration::from_secs(REFILL.as_secs() * BURST as u64);

/// How serious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Something happened.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    /// How serious.
    pub severity: Severity,
    /// CamelCase, at most 128 bytes; longer ones are cut.
    pub reason: String,
    /// CamelCase, what was being done (`Reconcile`).
    pub action: String,
    /// For people, at most 1024 bytes; longer ones are cut. No secrets.
    pub message: String,
}

/// Publishes events as one reporter. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    controller: Arc<str>,
    instance: Arc<str>,
    limiter: Arc<Mutex<Limiter>>,
}

impl Publisher {
    /// `controller` names the program, `instance` the pod.
    pub fn new(client: Client, controller: &str, instance: &str) -> Self {
        Self { client, controller: controller.into(), instance: instance.into(), limiter: Arc::default() }
    }

    /// Publishes one event about an object. Needs `create` on `events.events.k8s.io` in its namespace.
    ///
    /// Failures are logged: a full event store or a namespace that is going away must not stop a reconcile.
    pub async fn publish(&self, about: &ObjectReference, notice: Notice) {
        let allowed = {
            let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
            limiter.allows(about, &notice, Instant::now())
        };
        if !allowed {
            tracing::debug!(reason = notice.reason, "event left out: repeated or too many");
            return;
        }
        let event = self.event(about, notice, Timestamp::now());
        let api: Api<Event> = Api::namespaced(self.client.clone(), about.namespace.as_deref().unwrap_or("default"));
        if let Err(error) = call("create event", api.create(&PostParams::default(), &event)).await {
            tracing::info!(%error, reason = event.reason, "event could not be published");
        }
    }

    fn event(&self, about: &ObjectReference, notice: Notice, now: Timestamp) -> Event {
        let Notice { severity, reason, action, message } = notice;
        let name = about.name.as_deref().unwrap_or(&self.controller);
        // nanoseconds, as kube's and client-go's names; cut so that the whole fits 253 characters
        let name = format!("{}.{:x}", cut(name, 220), now.as_nanosecond());
        Event {
            action: Some(cut(&action, LONGEST_REASON)),
            reason: Some(cut(&reason, LONGEST_REASON)),
            note: Some(cut(&message, LONGEST_NOTE)),
            type_: Some(match severity {
                Severity::Normal => "Normal".into(),
                Severity::Warning => "Warning".into(),
            }),
            event_time: Some(MicroTime(now)),
            regarding: Some(about.clone()),
            metadata: ObjectMeta { name: Some(name), namespace: about.namespace.clone(), ..Default::default() },
            reporting_controller: Some(self.controller.to_string()),
            reporting_instance: Some(cut(&self.instance, LONGEST_REASON)),
            ..Default::default()
        }
    }
}

/// Cuts at a character border, with an ellipsis when something was cut.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let ellipsis = "…";
    let mut end = bytes - ellipsis.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ellipsis}", &text[..end])
}

#[derive(Default)]
struct Limiter {
    objects: HashMap<Uid, Bucket>,
    /// When those of which nothing is said any more were forgotten.
    swept: Option<Instant>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
    /// By hash, and no more than a few: the sentences themselves, or a map, would take more memory than the objects.
    said: Vec<(u64, Instant)>,
}

fn hash(notice: &Notice) -> u64 {
    let mut hasher = DefaultHasher::new();
    notice.hash(&mut hasher);
    hasher.finish()
}

impl Limiter {
    fn allows(&mut self, about: &ObjectReference, notice: &Notice, now: Instant) -> bool {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= REPEAT) {
            self.swept = Some(now);
            self.objects.retain(|_, bucket| now.duration_since(bucket.filled) < QUIET);
        }
        let key = Uid::from(about.uid.as_deref().or(about.name.as_deref()).unwrap_or_default());
        let notice = hash(notice);
        if self.objects.len() >= MOST_OBJECTS && !self.objects.contains_key(&key) {
            self.objects.clear();
        }
        let bucket = self.objects.entry(key).or_insert(Bucket { tokens: BURST, filled: now, said: Vec::new() });
        bucket.said.retain(|(_, at)| now.duration_since(*at) < REPEAT);
        if bucket.said.iter().any(|(said, _)| *said == notice) {
            return false;
        }
        let refilled = now.duration_since(bucket.filled).as_secs_f64() / REFILL.as_secs_f64();
        bucket.tokens = (bucket.tokens + refilled).min(BURST);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        bucket.said.push((notice, now));
        bucket.said.shrink_to_fit();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(message: &str) -> Notice {
        Notice {
            severity: Severity::Warning,
            reason: "NameTaken".into(),
            action: "Reconcile".into(),
            message: message.into(),
        }
    }

    fn object(uid: &str) -> ObjectReference {
        ObjectReference { uid: Some(uid.into()), name: Some("n".into()), ..Default::default() }
    }

    #[test]
    fn a_repeated_sentence_is_said_once_and_again_after_a_while() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert!(limiter.allows(&object("a"), &notice("x"), now));
        assert!(!limiter.allows(&object("a"), &notice("x"), now + Duration::from_secs(5)));
        assert!(limiter.allows(&object("a"), &notice("y"), now));
        assert!(limiter.allows(&object("b"), &notice("x"), now));
        assert!(limiter.allows(&object("a"), &notice("x"), now + REPEAT));
    }

    #[test]
    fn one_object_cannot_flood_and_does_not_silence_others() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let said = (0..100).filter(|i| limiter.allows(&object("a"), &notice(&i.to_string()), now)).count();
        assert_eq!(said, BURST as usize);
        assert!(limiter.allows(&object("b"), &notice("x"), now));
        assert!(limiter.allows(&object("a"), &notice("later"), now + REFILL));
        assert!(!limiter.allows(&object("a"), &notice("too soon"), now + REFILL));
    }

    #[test]
    fn nothing_is_kept_of_objects_that_have_been_quiet_for_long() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for number in 0..100 {
            limiter.allows(&object(&number.to_string()), &notice("x"), now);
        }
        assert!(!limiter.allows(&object("7"), &notice("x"), now + REPEAT - Duration::from_secs(1)));
        limiter.allows(&object("7"), &notice("y"), now + REPEAT);
        assert_eq!(limiter.objects.len(), 100, "a burst is not whole again before");
        assert!(limiter.allows(&object("8"), &notice("x"), now + REPEAT + QUIET));
        assert_eq!(limiter.objects.len(), 1);
    }

    #[test]
    fn texts_are_cut_to_the_limits_of_the_api_at_a_character_border() {
        assert_eq!(cut("short", 128), "short");
        let long = cut(&"ü".repeat(1000), LONGEST_NOTE);
        assert!(long.len() <= LONGEST_NOTE && long.ends_with('…'), "{}", long.len());
    }
}

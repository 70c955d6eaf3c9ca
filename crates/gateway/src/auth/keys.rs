//! The published keys of the token issuers, kept fresh.
//!
//! Each issuer's keys are replaced only by a successful fetch: while GitLab is away the last ones go on counting. A
//! token with an unknown `kid` (GitLab has rotated its key) brings about one refresh, shared by all who wait, and not
//! more often than the pause allows, so that a storm of invented `kid`s costs GitLab nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::discovery;
use crate::secret::Secret;

/// Time between two background refreshes while all is well.
const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// First and longest time between two tries while an issuer does not answer.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Least time between refreshes that requests bring about while there is no key at all.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// The issuers' keys as fetched last.
#[derive(Default)]
struct State {
    /// Keys by issuer URL and `kid`.
    by_issuer: HashMap<String, HashMap<String, Published>>,
    /// Why the last fetch of an issuer failed.
    trouble: HashMap<String, String>,
    /// How an issuer calls itself in its tokens; it may be reached at another URL.
    names: HashMap<String, String>,
}

/// One published key; the components tell whether a fetch changed it.
struct Published {
    components: (String, String),
    key: DecodingKey,
}

/// What fetches keys: the issuers and the client to reach them; swapped when the configuration changes.
#[derive(Clone, Default)]
pub struct Sources {
    /// Base URLs of GitLab, which comes first, and, if any, of the customer portal.
    pub issuers: Vec<String>,
    /// Client with the right trust.
    pub client: reqwest::Client,
}

/// The published keys.
pub struct KeyRing {
    sources: arc_swap::ArcSwap<Sources>,
    state: Mutex<State>,
    /// Changes whenever the set of keys does.
    generation: tokio::sync::watch::Sender<u64>,
    /// Held during a fetch that a request brought about; the time of the last one.
    fetching: tokio::sync::Mutex<Option<LastRefresh>>,
    pause: Duration,
    wake: tokio::sync::Notify,
}

/// A refresh that a request brought about. One that found an empty ring does not count against the first rotation.
#[derive(Clone, Copy)]
struct LastRefresh {
    at: Instant,
    has_keys: bool,
}

/// The result of looking for a key.
pub(super) enum Found {
    Key(DecodingKey),
    Unknown,
    NoKeys(String),
}

impl KeyRing {
    /// An empty ring; [`KeyRing::keep_fresh`] fills it. `pause`: least time between refreshes that requests bring about.
    pub fn new(sources: Sources, pause: Duration) -> Arc<Self> {
        Arc::new(Self {
            sources: arc_swap::ArcSwap::from_pointee(sources),
            state: Mutex::default(),
            generation: tokio::sync::watch::Sender::new(0),
            fetching: tokio::sync::Mutex::new(None),
            pause,
            wake: tokio::sync::Notify::new(),
        })
    }

    /// Names the issuers. Keys of issuers that are no longer named are dropped; new ones are fetched at once.
    pub fn set_sources(&self, sources: Sources) {
        {
            // both under the lock: a fetch under way must not bring back what is dropped here
            let mut state = self.lock();
            state.by_issuer.retain(|issuer, _| sources.issuers.contains(issuer));
            state.trouble.retain(|issuer, _| sources.issuers.contains(issuer));
            state.names.retain(|issuer, _| sources.issuers.contains(issuer));
            self.sources.store(Arc::new(sources));
        }
        self.generation.send_modify(|generation| *generation += 1);
        self.wake.notify_one();
    }

    /// Changes whenever the set of keys does.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Whether any token can be judged.
    pub fn ready(&self) -> bool {
        self.lock().by_issuer.values().any(|keys| !keys.is_empty())
    }

    /// Number of keys, for metrics.
    pub fn len(&self) -> usize {
        self.lock().by_issuer.values().map(HashMap::len).sum()
    }

    /// There is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Why keys are missing, in one line.
    pub fn trouble(&self) -> String {
        let state = self.lock();
        let mut texts: Vec<&str> = state.trouble.values().map(String::as_str).collect();
        texts.sort_unstable();
        if texts.is_empty() { "they are being fetched".to_owned() } else { texts.join("; ") }
    }

    /// Whether a token that names this issuer says that it is GitLab's.
    pub(super) fn is_gitlab(&self, iss: &str) -> bool {
        let sources = self.sources.load();
        let Some(url) = sources.issuers.first() else { return false };
        let state = self.lock();
        let same = |name: &str| name.trim_end_matches('/') == iss.trim_end_matches('/');
        same(url) || state.names.get(url).is_some_and(|name| same(name))
    }

    /// Why GitLab's keys could not be fetched last; `None`: they were.
    pub(super) fn gitlab_trouble(&self) -> Option<String> {
        let sources = self.sources.load();
        self.lock().trouble.get(sources.issuers.first()?).cloned()
    }

    /// Fetches in the background until the task is dropped.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut retry = RETRY.0;
        loop {
            let well = self.fetch().await;
            let wait = if well {
                retry = RETRY.0;
                REFRESH_EVERY
            } else {
                let wait = retry;
                retry = (retry * 2).min(RETRY.1);
                wait
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => retry = RETRY.0,
            }
        }
    }

    /// The key named `kid`; an unknown one may bring about a refresh. Returns as soon as the key is there, whatever
    /// other issuers are still being waited for.
    pub(super) async fn find(self: &Arc<Self>, kid: &str) -> Found {
        // before the first look, so that no change is missed
        let mut changes = self.generation.subscribe();
        let mut refresh = std::pin::pin!(self.clone().refresh_for(kid.to_owned()));
        loop {
            if let Some(key) = self.get(kid) {
                return Found::Key(key);
            }
            tokio::select! {
                () = refresh.as_mut() => break,
                Ok(()) = changes.changed() => {}
            }
        }
        match self.get(kid) {
            Some(key) => Found::Key(key),
            None if self.is_empty() => Found::NoKeys(self.trouble()),
            None => Found::Unknown,
        }
    }

    /// One refresh for all who wait for an unknown key, not more often than the pause allows.
    async fn refresh_for(self: Arc<Self>, kid: String) {
        // one at a time: who waited here finds what the one before has fetched
        let mut last = self.fetching.lock().await;
        let has_keys = !self.is_empty();
        let pause = if has_keys { self.pause } else { self.pause.min(PAUSE_WITHOUT_KEYS) };
        if self.get(&kid).is_some() || last.is_some_and(|last| last.has_keys == has_keys && last.at.elapsed() < pause) {
            return;
        }
        *last = Some(LastRefresh { at: Instant::now(), has_keys });
        // a task of its own: a caller who hangs up must not end the refresh for the others
        let ring = self.clone();
        let well_before = self.lock().trouble.is_empty();
        let well = tokio::spawn(async move { ring.fetch().await }).await;
        // the background's next try may be minutes away, and users need not ask again
        if well_before && !well.unwrap_or(false) {
            self.wake.notify_one();
        }
    }

    /// All keys; few, so that a token without `kid` can be tried against each.
    pub(super) fn all(&self) -> Vec<DecodingKey> {
        self.lock().by_issuer.values().flat_map(HashMap::values).map(|one| one.key.clone()).collect()
    }

    fn get(&self, kid: &str) -> Option<DecodingKey> {
        self.lock().by_issuer.values().find_map(|keys| keys.get(kid)).map(|one| one.key.clone())
    }

    /// Asks all issuers at once; true when all answered. The keys of one count as soon as they are there: an
    /// instance without a way to the internet must not wait for the customer portal's time-out.
    async fn fetch(&self) -> bool {
        let sources = self.sources.load_full();
        let fetches = sources.issuers.iter().map(|issuer| async {
            match discovery::fetch(&sources.client, issuer).await {
                Ok(published) => self.accept(&sources, issuer.clone(), published),
                Err(error) => {
                    self.note_trouble(&sources, issuer, error.to_string());
                    false
                }
            }
        });
        futures::future::join_all(fetches).await.into_iter().all(|well| well)
    }

    /// Said once and not at every try.
    fn note_trouble(&self, asked: &Arc<Sources>, issuer: &str, error: String) {
        let mut state = self.lock();
        if !self.current(asked) {
            return;
        }
        if state.trouble.insert(issuer.to_owned(), error.clone()).as_ref() != Some(&error) {
            let issuer = discovery::shown(issuer);
            tracing::warn!(issuer, error, "signing keys could not be fetched; the last ones go on counting");
        }
    }

    /// Puts an issuer's keys in force; false when the issuers have changed since `asked`, and this one may no longer
    /// count.
    fn accept(&self, asked: &Arc<Sources>, issuer: String, told: discovery::Published) -> bool {
        let keys: HashMap<String, Published> = told.keys.into_iter().filter_map(published).collect();
        let mut state = self.lock();
        if !self.current(asked) {
            return false;
        }
        state.trouble.remove(&issuer);
        if !told.name.is_empty() {
            state.names.insert(issuer.clone(), told.name);
        }
        let same = state.by_issuer.get(&issuer).is_some_and(|old| {
            old.len() == keys.len()
                && old.iter().all(|(kid, one)| keys.get(kid).is_some_and(|new| new.components == one.components))
        });
        if !same {
            tracing::info!(issuer = discovery::shown(&issuer), keys = keys.len(), "signing keys fetched");
            state.by_issuer.insert(issuer, keys);
            drop(state);
            self.generation.send_modify(|generation| *generation += 1);
        }
        true
    }

    /// Whether the sources are still those; only holds while the state is locked.
    fn current(&self, asked: &Arc<Sources>) -> bool {
        Arc::ptr_eq(asked, &self.sources.load_full())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn published((kid, jwk): (String, Jwk)) -> Option<(String, Published)> {
    let AlgorithmParameters::RSA(rsa) = &jwk.algorithm else { return None };
    let components = (rsa.n.clone(), rsa.e.clone());
    Some((kid, Published { components, key: DecodingKey::from_jwk(&jwk).ok()? }))
}

/// The keys of the tokens made here.
#[derive(Clone, Default)]
pub struct LocalKeys {
    /// Signs; absent when no key was given.
    pub signing: Option<EncodingKey>,
    /// Verify: the signing key and its predecessor.
    pub verifying: Vec<DecodingKey>,
}

impl LocalKeys {
    /// Reads the PEM keys. The validation key may be a private or a public one.
    ///
    /// # Errors
    /// Which of the two is not an RSA key.
    pub fn read(signing: Option<&Secret>, validation: Option<&Secret>) -> Result<Self, &'static str> {
        let mut keys = Self::default();
        if let Some(pem) = signing {
            let key = EncodingKey::from_rsa_pem(pem.expose().as_bytes())
                .map_err(|_| "the signing key is not an RSA private key in PEM")?;
            keys.verifying.push(public_of(&key).ok_or("the signing key is not a usable RSA private key")?);
            keys.signing = Some(key);
        }
        if let Some(pem) = validation {
            let pem = pem.expose().as_bytes();
            let key = match EncodingKey::from_rsa_pem(pem) {
                Ok(private) => public_of(&private),
                Err(_) => DecodingKey::from_rsa_pem(pem).ok(),
            };
            keys.verifying.push(key.ok_or("the validation key is not an RSA key in PEM")?);
        }
        Ok(keys)
    }
}

fn public_of(key: &EncodingKey) -> Option<DecodingKey> {
    DecodingKey::from_jwk(&Jwk::from_encoding_key(key, Algorithm::RS256).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_that_was_under_way_brings_no_keys_of_a_dropped_issuer() {
        let named = |issuer: &str| Sources { issuers: vec![issuer.to_owned()], ..Sources::default() };
        let jwk: Jwk =
            serde_json::from_value(serde_json::json!({"kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB"})).unwrap();
        let told = || discovery::Published { name: "https://its.name/".into(), keys: vec![("k".into(), jwk.clone())] };
        let ring = KeyRing::new(named("http://old"), Duration::ZERO);
        let asked = ring.sources.load_full();
        assert!(ring.accept(&asked, "http://old".into(), told()));
        assert_eq!(ring.len(), 1);
        assert!(ring.is_gitlab("http://old/") && ring.is_gitlab("https://its.name") && !ring.is_gitlab("http://new"));
        ring.note_trouble(&asked, "http://old", "refused".into());
        assert_eq!(ring.gitlab_trouble().as_deref(), Some("refused"));
        ring.set_sources(named("http://new"));
        assert!(!ring.accept(&asked, "http://old".into(), told()));
        ring.note_trouble(&asked, "http://old", "away".into());
        assert!(ring.is_empty());
        assert!(!ring.trouble().contains("away"));
        assert!(ring.gitlab_trouble().is_none() && ring.is_gitlab("http://new") && !ring.is_gitlab("https://its.name"));
    }
}

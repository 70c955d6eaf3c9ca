//! Judged tokens, so that an RSA check is paid once per token and not once per request. Bounded: two generations of
//! at most [`HALF`] entries; the older one is dropped whole. Keys are hashes; no token is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Claims;

const HALF: usize = 4096;

pub(super) type Digest = [u8; 32];

/// Generations of the keys and of the rules.
pub(super) type JudgedBy = (u64, u64);

/// SHA-256 of the token.
pub(super) fn digest(token: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes()).as_ref());
    out
}

#[derive(Clone)]
struct Entry {
    judged_by: JudgedBy,
    until: u64,
    claims: Arc<Claims>,
}

#[derive(Default)]
struct Halves {
    young: HashMap<Digest, Entry>,
    old: HashMap<Digest, Entry>,
}

#[derive(Default)]
pub(super) struct TokenCache(Mutex<Halves>);

impl TokenCache {
    /// The claims, if the token was judged by the present keys and rules and has not ended at `now` (Unix seconds).
    pub(super) fn get(&self, digest: &Digest, judged_by: JudgedBy, now: u64) -> Option<Arc<Claims>> {
        let halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = halves.young.get(digest).or_else(|| halves.old.get(digest))?;
        (entry.judged_by == judged_by && now <= entry.until).then(|| entry.claims.clone())
    }

    pub(super) fn put(&self, digest: Digest, judged_by: JudgedBy, until: u64, claims: Arc<Claims>) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if halves.young.len() >= HALF {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(digest, Entry { judged_by, until, claims });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_until_its_end_and_for_its_keys_only() {
        let cache = TokenCache::default();
        let key = digest("a");
        cache.put(key, (1, 1), 100, Arc::default());
        assert!(cache.get(&key, (1, 1), 100).is_some());
        assert!(cache.get(&key, (1, 1), 101).is_none());
        assert!(cache.get(&key, (2, 1), 100).is_none());
        assert!(cache.get(&key, (1, 2), 100).is_none());
        assert!(cache.get(&digest("b"), (1, 1), 100).is_none());
    }

    #[test]
    fn size_is_bounded() {
        let cache = TokenCache::default();
        for n in 0..5 * HALF {
            cache.put(digest(&n.to_string()), (1, 1), 100, Arc::default());
        }
        let halves = cache.0.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
    }
}

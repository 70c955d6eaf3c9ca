//! Objects by their uid, where something is remembered of each of thousands.

use std::hash::{Hash, Hasher};

use kube::Resource;
use uuid::Uuid;

/// An object's `metadata.uid`, in 16 bytes: API servers give out UUIDs. Another text stands for itself by two hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(u128);

impl Uid {
    /// The uid of an object; the same for all that have none.
    pub fn of<K: Resource>(object: &K) -> Self {
        object.meta().uid.as_deref().unwrap_or_default().into()
    }
}

impl From<&str> for Uid {
    fn from(uid: &str) -> Self {
        Self(Uuid::try_parse(uid).map_or_else(|_| hashed(uid), |uuid| uuid.as_u128()))
    }
}

fn hashed(text: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = std::hash::DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_that_differ_differ() {
        let texts = ["", "one", "two", "7d4b2b0e-6c2f-4f0a-9a58-0b8f3c1d2e4f", "7d4b2b0e-6c2f-4f0a-9a58-0b8f3c1d2e40"];
        let uids: std::collections::BTreeSet<Uid> = texts.into_iter().map(Uid::from).collect();
        assert_eq!(uids.len(), texts.len());
        assert_eq!(Uid::from("one"), Uid::from("one"));
        assert_eq!(Uid::from(texts[3]).0, 0x7d4b_2b0e_6c2f_4f0a_9a58_0b8f_3c1d_2e4f);
    }
}

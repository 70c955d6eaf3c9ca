//! The hash by which operator and gateway agree on "this configuration is active".

use std::collections::BTreeMap;

use serde_yaml_ng::Value;
use sha2::{Digest, Sha256};

use crate::types::Model;

/// SHA-256 in lower-case hex over a folder's files. The order of the files does not matter; names and contents are
/// length-prefixed, so that moving a byte from one to the other changes the hash. Of two files of one name the last counts.
pub fn folder_hash<N, B>(files: impl IntoIterator<Item = (N, B)>) -> String
where
    N: AsRef<str> + Ord,
    B: AsRef<[u8]>,
{
    let files: BTreeMap<N, B> = files.into_iter().collect();
    let mut hash = Sha256::new();
    for (name, content) in &files {
        for part in [name.as_ref().as_bytes(), content.as_ref()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}

impl Model {
    /// By what operator and gateway agree on "this model is in force as it is declared": a digest of its settings. The
    /// values of its keys are not in it, for whoever reads it could try them out.
    pub fn digest(&self) -> String {
        let Ok(Value::Mapping(fields)) = serde_yaml_ng::to_value(self) else { return String::new() };
        let text = |value: &Value| serde_yaml_ng::to_string(value).unwrap_or_default();
        let mut digest = folder_hash(fields.iter().map(|(name, value)| (text(name), text(value))));
        digest.truncate(32);
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_digest_changes_with_each_of_its_settings_and_survives_the_way_to_the_gateway() {
        let model = Model::new("m", "mistral", "bedrock/m");
        let all = [
            model.clone(),
            Model { name: "n".into(), ..model.clone() },
            Model { identifier: "bedrock/n".into(), ..model.clone() },
            Model { endpoint: Some("http://a".into()), ..model.clone() },
            Model { weight: Some(2), ..model.clone() },
            Model { api_key_file: Some("key".into()), ..model.clone() },
        ];
        let digests: std::collections::BTreeSet<String> = all.iter().map(Model::digest).collect();
        assert_eq!(digests.len(), all.len());
        for model in all {
            let text = serde_yaml_ng::to_string(&model).unwrap();
            assert_eq!(serde_yaml_ng::from_str::<Model>(&text).unwrap().digest(), model.digest(), "{text}");
        }
    }

    #[test]
    fn order_does_not_matter() {
        assert_eq!(folder_hash([("a", "1"), ("b", "2")]), folder_hash([("b", "2"), ("a", "1")]));
    }

    #[test]
    fn names_and_contents_are_told_apart() {
        let hashes = [
            folder_hash::<&str, &str>([]),
            folder_hash([("a", "")]),
            folder_hash([("", "a")]),
            folder_hash([("a", "bc")]),
            folder_hash([("ab", "c")]),
            folder_hash([("a", "b"), ("c", "d")]),
            folder_hash([("a", "bcd")]),
        ];
        let different: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len(), "{hashes:?}");
    }

    #[test]
    fn the_value_is_fixed_because_two_programs_of_different_versions_compare_it() {
        // printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\1b' | sha256sum
        assert_eq!(folder_hash([("a", "b")]), "3c9d591045bc8876f9d0399bbfb05c6a412096e906f73278f98406cd5dca86df");
    }
}

//! The hash by which operator and gateway agree on "this configuration is active".

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

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

#[cfg(test)]
mod tests {
    use super::*;

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

//! A tar writer of the few things an image layer needs: folders and regular files, sorted, owned by root, dated 1970.
//! It knows nothing of images; same entries in, same bytes out.

use std::collections::BTreeMap;

/// One entry of a layer.
enum Entry {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
}

/// Entries by path without a leading slash. Paths have at most 100 bytes, the limit of a plain ustar header.
#[derive(Default)]
pub(super) struct Tree(BTreeMap<String, Entry>);

const BLOCK: usize = 512;

impl Tree {
    /// Adds a folder and its parents (mode 0755). An existing folder only changes its mode.
    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        let path = path.trim_matches('/');
        self.parents(path);
        self.0.insert(format!("{path}/"), Entry::Folder { mode });
    }

    /// Adds a file and its parent folders; a later file of the same path wins.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        let path = path.trim_matches('/');
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::File { mode, content });
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..=at].to_owned()).or_insert(Entry::Folder { mode: 0o755 });
        }
    }

    /// The archive, ended by two empty blocks. `None` when a path is too long for its header.
    pub(super) fn archive(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for (path, entry) in &self.0 {
            let (kind, mode, content): (u8, u32, &[u8]) = match entry {
                Entry::Folder { mode } => (b'5', *mode, &[]),
                Entry::File { mode, content } => (b'0', *mode, content),
            };
            out.extend_from_slice(&header(path, kind, mode, content.len())?);
            out.extend_from_slice(content);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        Some(out)
    }
}

/// A ustar header: owner 0:0, time 0.
fn header(path: &str, kind: u8, mode: u32, size: usize) -> Option<[u8; BLOCK]> {
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    if path.len() > 100 {
        return None;
    }
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gnu_tar_reads_what_was_written_sorted_with_fixed_owner_and_time() {
        let mut tree = Tree::default();
        tree.file("/usr/bin/z", 0o755, vec![7; 700]);
        tree.file("etc/a", 0o644, b"hello".to_vec());
        tree.folder("/tmp", 0o1777);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layer.tar");
        std::fs::write(&path, tree.archive().unwrap()).unwrap();
        let listing =
            std::process::Command::new("tar").args(["--utc", "--numeric-owner", "-tvf"]).arg(&path).output().unwrap();
        let words: Vec<String> = String::from_utf8(listing.stdout)
            .unwrap()
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            words,
            [
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/",
                "-rw-r--r-- 0/0 5 1970-01-01 00:00 etc/a",
                "drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/",
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/",
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/",
                "-rwxr-xr-x 0/0 700 1970-01-01 00:00 usr/bin/z",
            ]
        );
    }

    #[test]
    fn a_path_too_long_for_the_header_is_refused_not_cut() {
        let mut tree = Tree::default();
        tree.file(&"x".repeat(101), 0o644, vec![]);
        assert!(tree.archive().is_none());
    }
}

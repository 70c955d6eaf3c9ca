//! Runs a target over its corpus and over random inputs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// The result of one input.
pub type Outcome = Result<(), TestCaseError>;

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target)
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// What is done to a file of the corpus.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Cut(usize, usize),
    Double(usize, usize),
    Insert(usize, Vec<u8>),
    Splice(usize, usize, usize),
}

fn change(words: &'static [&'static str]) -> impl Strategy<Value = Change> {
    let at = any::<usize>();
    prop_oneof![
        (at, any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (at, 0..200usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (at, 1..300usize).prop_map(|(at, length)| Change::Double(at, length)),
        (at, proptest::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at, 0..words.len()).prop_map(|(at, word)| Change::Insert(at, words[word].as_bytes().to_vec())),
        (at, at, at).prop_map(|(at, file, from)| Change::Splice(at, file, from)),
    ]
}

fn changed(files: &[Vec<u8>], file: usize, changes: &[Change]) -> Vec<u8> {
    let mut out = files[file % files.len()].clone();
    for change in changes {
        let place = |at: usize| at % (out.len() + 1);
        match change {
            Change::Flip(at, byte) => {
                let at = place(*at);
                if let Some(old) = out.get_mut(at) {
                    *old ^= byte;
                }
            }
            Change::Cut(at, length) => {
                let at = place(*at);
                out.drain(at..(at + length).min(out.len()));
            }
            Change::Double(at, length) => {
                let at = place(*at);
                let part = out[at..(at + length).min(out.len())].to_vec();
                out.splice(at..at, part);
            }
            Change::Insert(at, bytes) => {
                let at = place(*at);
                out.splice(at..at, bytes.iter().copied());
            }
            Change::Splice(at, other, from) => {
                let at = place(*at);
                let other = &files[other % files.len()];
                out.truncate(at);
                out.extend_from_slice(&other[from % (other.len() + 1)..]);
            }
        }
    }
    out
}

/// Runs `check` over the corpus of `target`, then over random inputs; `words` are those that mean something to it.
pub fn run(target: &str, words: &'static [&'static str], check: fn(&[u8]) -> Outcome) {
    let files = corpus(target);
    assert!(files.len() >= 3, "{target}: the corpus is gone");
    for (path, input) in &files {
        if let Err(error) = check(input) {
            panic!("{}: {error}", path.display());
        }
    }
    let files: Vec<Vec<u8>> = files.into_iter().map(|(_, input)| input).collect();
    let mutated = (any::<usize>(), proptest::collection::vec(change(words), 1..6))
        .prop_map(move |(file, changes)| changed(&files, file, &changes));
    let input = prop_oneof![
        4 => mutated,
        1 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => proptest::collection::vec(0..words.len(), 0..40)
            .prop_map(|picked| picked.iter().map(|word| words[*word]).collect::<String>().into_bytes()),
    ];
    let config = Config { failure_persistence: None, ..Config::default() };
    match TestRunner::new(config).run(&input, |input| check(&input)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, input)) => {
            let mut hash = DefaultHasher::new();
            input.hash(&mut hash);
            let path = folder(target).join(format!("failed-{:016x}", hash.finish()));
            let kept = std::fs::write(&path, &input).is_ok();
            let kept = if kept { path.display().to_string() } else { "nowhere".to_owned() };
            panic!("{target}: {reason}\nkept in {kept}\n{}", String::from_utf8_lossy(&input).escape_debug());
        }
        Err(error) => panic!("{target}: {error}"),
    }
}

/// The input cut into pieces of the sizes that a number gives, at least one byte each.
pub fn pieces(input: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut out = Vec::new();
    let mut rest = input;
    let mut state = seed | 1;
    while !rest.is_empty() {
        // xorshift: any sequence will do
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (piece, tail) = rest.split_at(((state % 9) as usize + 1).min(rest.len()));
        out.push(piece);
        rest = tail;
    }
    out
}

/// The same for a text, cut between characters.
pub fn text_pieces(input: &str, seed: u64) -> Vec<String> {
    let letters: Vec<char> = input.chars().collect();
    let mut out = Vec::new();
    let mut rest = letters.as_slice();
    for piece in pieces(&vec![0; letters.len()], seed) {
        let (now, tail) = rest.split_at(piece.len());
        out.push(now.iter().collect());
        rest = tail;
    }
    out
}

/// A number that depends on the input alone, so that a kept input fails again.
pub fn seed(input: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    input.hash(&mut hash);
    hash.finish()
}

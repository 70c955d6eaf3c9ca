//! Manifests from files, folders and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::manifests::Manifests;

/// Most bytes of all files together; the manifests of a thousand models are one megabyte.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Deepest folder that is looked into.
const MOST_DEEP: usize = 32;

/// What to read.
pub(super) struct Sources<'a> {
    /// Files, folders and `-`.
    pub paths: &'a [PathBuf],
    /// Whether folders in folders count.
    pub recursive: bool,
    /// Namespace of objects that name none.
    pub namespace: &'a str,
    /// Whether objects of other namespaces are a mistake.
    pub only: bool,
}

/// Reads everything; what cannot be read is a mistake of the manifests.
pub(super) fn read(sources: &Sources<'_>) -> Manifests {
    let mut manifests = Manifests::default();
    let mut left = MOST_BYTES;
    for path in sources.paths {
        let found = if path.as_os_str() == "-" { Ok(vec![path.clone()]) } else { files(path, sources.recursive, 0) };
        match found {
            Ok(found) if found.is_empty() => manifests.mistakes.push(format!(
                "{}: this folder holds no .yaml, .yml or .json file{}",
                path.display(),
                if sources.recursive { "" } else { "; -R looks into its folders as well" }
            )),
            Ok(found) => {
                for file in found {
                    take(&file, sources, &mut left, &mut manifests);
                }
            }
            Err(why) => manifests.mistakes.push(format!("{}: {why}", path.display())),
        }
    }
    manifests.check_duplicates();
    manifests
}

fn take(file: &Path, sources: &Sources<'_>, left: &mut u64, manifests: &mut Manifests) {
    let name = file.display().to_string();
    match text(file, *left) {
        Ok(text) => {
            *left = left.saturating_sub(text.len() as u64);
            manifests.add(&name, &text, sources.namespace, sources.only);
        }
        Err(why) => manifests.mistakes.push(format!("{name}: {why}")),
    }
}

fn text(file: &Path, left: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(left + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(left + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > left {
        return Err(format!("the manifests are more than {} MiB together", MOST_BYTES / 1024 / 1024));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        format!("line {} is not UTF-8 text", line + 1)
    })
}

/// The manifests that a path stands for, in the order of their names.
fn files(path: &Path, recursive: bool, deep: usize) -> Result<Vec<PathBuf>, String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    if deep > MOST_DEEP {
        return Err(format!("more than {MOST_DEEP} folders in each other"));
    }
    let entries = std::fs::read_dir(path).map_err(|error| error.to_string())?;
    let mut entries: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                found.extend(files(&entry, true, deep + 1)?);
            }
        } else if entry.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known)) {
            found.push(entry);
        }
    }
    Ok(found)
}

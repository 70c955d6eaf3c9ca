//! Makes an index of a folder of Markdown. Equal folders give equal files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::format::{Term, Written, record, write};
use super::markdown::read;
use super::words::words;

/// What a word counts for in the title of the page, in the headings above the section, and in its text.
const WEIGHTS: [u8; 3] = [4, 3, 1];
/// A larger file is no documentation.
const LARGEST_FILE: u64 = 4 << 20;
/// All files together; the index holds their text once more.
const LARGEST_FOLDER: u64 = 512 << 20;
/// Folders in folders.
const DEEPEST: usize = 32;

/// Why no index was made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or folder cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is too much of it.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Nothing was found.
    #[error("{path}: holds no Markdown files (*.md) with text", path = path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
}

/// An index and what it was made of.
#[derive(Debug)]
pub struct Built {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// Pages in it.
    pub pages: usize,
    /// Sections in it.
    pub sections: usize,
    /// Files that were left out, with the reason.
    pub skipped: Vec<String>,
}

/// Makes an index of all Markdown files below `folder`; links are not followed. `base_url` is where the documentation
/// is published.
///
/// # Errors
/// [`BuildError`].
pub fn index_folder(folder: &Path, base_url: &str) -> Result<Built, BuildError> {
    let mut files = Vec::new();
    list(folder, 0, &mut files)?;
    files.sort();
    let mut builder = Builder::new(base_url);
    let (mut total, mut skipped) = (0_u64, Vec::new());
    for (path, length) in files {
        if length > LARGEST_FILE {
            skipped.push(format!("{}: larger than {LARGEST_FILE} bytes", path.display()));
            continue;
        }
        total += length;
        if total > LARGEST_FOLDER {
            return Err(BuildError::TooLarge("the folder holds more than 512 MiB of Markdown"));
        }
        let bytes = std::fs::read(&path).map_err(|source| BuildError::Io { path: path.clone(), source })?;
        let Ok(text) = String::from_utf8(bytes) else {
            skipped.push(format!("{}: is not UTF-8", path.display()));
            continue;
        };
        let source = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        builder.page(&source, &text);
    }
    let (pages, sections) = (builder.pages, builder.sections.len());
    if sections == 0 {
        return Err(BuildError::Nothing { path: folder.to_owned() });
    }
    Ok(Built { bytes: builder.finish()?, pages, sections, skipped })
}

/// Writes a file so that a gateway that reads it meanwhile sees the old one or the new one, never a part.
///
/// # Errors
/// The file or its folder cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

fn list(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, u64)>) -> Result<(), BuildError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::Io { path, source }
    };
    if depth > DEEPEST {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(io(&path))?;
        let markdown = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("md"));
        if kind.is_dir() {
            list(&path, depth + 1, files)?;
        } else if kind.is_file() && markdown {
            files.push((path.clone(), entry.metadata().map_err(io(&path))?.len()));
        }
    }
    Ok(())
}

/// Gathers pages.
#[derive(Debug)]
pub struct Builder {
    base_url: String,
    sections: Vec<Section>,
    terms: BTreeMap<String, Vec<(u32, u8)>>,
    pages: usize,
}

#[derive(Debug)]
struct Section {
    record: Vec<u8>,
    words: u32,
}

impl Builder {
    /// For documentation that is published below `base_url`.
    pub fn new(base_url: &str) -> Self {
        Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            sections: Vec::new(),
            terms: BTreeMap::new(),
            pages: 0,
        }
    }

    /// Adds a page; `source` is its path below the documentation's folder.
    pub fn page(&mut self, source: &str, text: &str) {
        let stem = source.rsplit('/').next().unwrap_or(source);
        let name = stem.rsplit_once('.').map_or(stem, |(name, _)| name);
        let page = read(text, name);
        self.pages += usize::from(!page.sections.is_empty());
        for section in page.sections {
            let mut url = page_url(&self.base_url, source);
            if !section.anchor.is_empty() {
                url.push('#');
                url.push_str(&section.anchor);
            }
            let number = u32::try_from(self.sections.len()).unwrap_or(u32::MAX);
            let mut weights: BTreeMap<String, u8> = BTreeMap::new();
            let mut count = 0_u32;
            let prose = without_targets(&section.text);
            for (text, weight) in [page.title.as_str(), &section.heading, &prose].into_iter().zip(WEIGHTS) {
                words(text, |word| {
                    count += 1;
                    let held = weights.entry(word.to_owned()).or_default();
                    *held = held.saturating_add(weight);
                });
            }
            for (word, weight) in weights {
                self.terms.entry(word).or_default().push((number, weight));
            }
            let record = record([&page.title, &section.heading, source, &url, &section.text]);
            self.sections.push(Section { record, words: count });
        }
    }

    /// The file's content.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`].
    pub fn finish(self) -> Result<Vec<u8>, BuildError> {
        if self.sections.len() > 1 << 20 {
            return Err(BuildError::TooLarge("the documentation has more than 1,048,576 sections"));
        }
        let sections: Vec<Written> =
            self.sections.into_iter().map(|Section { record, words }| Written { record, words }).collect();
        let terms: Vec<Term> = self.terms.into_iter().map(|(term, postings)| Term { term, postings }).collect();
        Ok(write(&sections, &terms))
    }
}

/// `user/project/_index.md` is published as `user/project/`, `user/runner.md` as `user/runner/`.
fn page_url(base: &str, source: &str) -> String {
    let path = source.rsplit_once('.').map_or(source, |(path, _)| path);
    let path = ["_index", "index"].into_iter().find_map(|name| path.strip_suffix(name)).unwrap_or(path);
    match path.trim_end_matches('/') {
        "" => format!("{base}/"),
        path => format!("{base}/{path}/"),
    }
}

/// The text without the addresses of its links, whose words say little of what it is about.
fn without_targets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, target)) = rest.split_once("](") {
        out.push_str(before);
        out.push(' ');
        match target.split_once(')') {
            Some((address, after)) if !address.contains('\n') => rest = after,
            _ => rest = target,
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::super::Index;
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn all_markdown_below_a_folder_is_in_the_index_and_nothing_else() {
        let docs = folder(&[
            ("user/a.md", b"# A\nalpha"),
            ("user/deep/er/b.MD", b"beta"),
            (".git/c.md", b"gamma"),
            ("d.txt", b"delta"),
            ("bad.md", b"\xff\xfe"),
        ]);
        let built = index_folder(docs.path(), "https://d/").unwrap();
        assert_eq!((built.pages, built.sections, built.skipped.len()), (2, 2, 1));
        assert!(built.skipped[0].contains("UTF-8"), "{:?}", built.skipped);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &built.bytes).unwrap();
        let index = Index::open(file.path()).unwrap();
        assert_eq!(index.search("alpha", 4).unwrap()[0].url, "https://d/user/a/");
        assert_eq!(index.search("beta", 4).unwrap()[0].source, "user/deep/er/b.MD");
        assert!(index.search("gamma delta", 4).unwrap().is_empty());
    }

    #[test]
    fn equal_folders_give_equal_files() {
        let make = || {
            let docs = folder(&[("x.md", b"one two"), ("a/y.md", b"two three")]);
            index_folder(docs.path(), "https://d").unwrap().bytes
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn a_folder_without_markdown_is_told() {
        let error = index_folder(folder(&[("a.md", b"")]).path(), "https://d").unwrap_err().to_string();
        assert!(error.contains("no Markdown"), "{error}");
        assert!(index_folder(Path::new("/nowhere"), "https://d").is_err());
    }

    #[test]
    fn pages_have_the_addresses_of_the_published_documentation() {
        for (source, url) in [
            ("index.md", "https://d/"),
            ("user/_index.md", "https://d/user/"),
            ("user/index.md", "https://d/user/"),
            ("user/runner.md", "https://d/user/runner/"),
        ] {
            assert_eq!(page_url("https://d", source), url);
        }
    }

    #[test]
    fn addresses_of_links_are_not_words_of_the_text() {
        assert_eq!(without_targets("see [the docs](../x/y.md#z) and [a](b"), "see [the docs  and [a b");
    }
}

//! The index file, version 1. All numbers are little-endian.
//!
//! ```text
//! header      magic (8), version u32, SHA-256 of all behind it (32), sections u32, terms u32, words u64,
//!             lengths of dictionary, postings, texts (u64 each)
//! sections    per section: offset in texts u64, length u32, words u32
//! dictionary  per term, sorted: length u8, the term, sections that hold it u32, length of its postings u32
//! postings    per term, in the same order: per section: distance to the one before (varint), weight u8
//! texts       per section: title, heading, source, url, text, each with its length u32 before it
//! ```

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use duo_protocol::contract::SearchResult;

const MAGIC: &[u8; 8] = b"DUODOCS\n";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 32 + 4 + 4 + 8 + 3 * 8;
/// Where the checksum ends and what it is over begins.
const SUMMED: usize = 8 + 4 + 32;
/// Per section in the table.
const ROW: usize = 16;
/// Limits of a file that is opened; a file of GitLab's whole documentation is far below each.
const MOST_SECTIONS: u32 = 1 << 20;
const MOST_DICTIONARY: u64 = 64 << 20;
/// One section's record, one term's postings: what a search reads at once.
const MOST_READ: u32 = 16 << 20;

/// Why a file is no index.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is something else, damaged, or of another version.
    #[error("{0}; make it anew with `duo-gateway index-docs`")]
    Bad(&'static str),
}

/// An open index.
#[derive(Debug)]
pub struct Index {
    file: File,
    rows: Vec<Row>,
    /// Terms one behind the other, in order.
    terms: String,
    entries: Vec<Entry>,
    /// Average number of words of a section.
    pub(super) average: f32,
    postings_at: u64,
    texts_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    offset: u64,
    length: u32,
    words: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// End of the term in `terms`.
    end: u32,
    /// Its length.
    term: u8,
    sections: u32,
    offset: u64,
    length: u32,
}

/// A section in its written form.
pub(super) struct Written {
    pub record: Vec<u8>,
    pub words: u32,
}

/// A term in its written form: its sections and their weights in order.
pub(super) struct Term {
    pub term: String,
    pub postings: Vec<(u32, u8)>,
}

/// The record of a section.
pub(super) fn record(fields: [&str; 5]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|field| field.len() + 4).sum());
    for field in fields {
        out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(field.as_bytes());
    }
    out
}

/// The whole file. `terms` are sorted.
pub(super) fn write(sections: &[Written], terms: &[Term]) -> Vec<u8> {
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let (mut table, mut texts) = (Vec::new(), Vec::new());
    for section in sections {
        table.extend_from_slice(&(texts.len() as u64).to_le_bytes());
        table.extend_from_slice(&count(section.record.len()).to_le_bytes());
        table.extend_from_slice(&section.words.to_le_bytes());
        texts.extend_from_slice(&section.record);
    }
    let (mut dictionary, mut postings) = (Vec::new(), Vec::new());
    for term in terms {
        let start = postings.len();
        let mut before = 0;
        for (section, weight) in &term.postings {
            varint(section - before, &mut postings);
            postings.push(*weight);
            before = *section;
        }
        dictionary.push(u8::try_from(term.term.len()).unwrap_or(u8::MAX));
        dictionary.extend_from_slice(term.term.as_bytes());
        dictionary.extend_from_slice(&count(term.postings.len()).to_le_bytes());
        dictionary.extend_from_slice(&count(postings.len() - start).to_le_bytes());
    }
    let words: u64 = sections.iter().map(|section| u64::from(section.words)).sum();
    let mut summed = Vec::new();
    summed.extend_from_slice(&count(sections.len()).to_le_bytes());
    summed.extend_from_slice(&count(terms.len()).to_le_bytes());
    summed.extend_from_slice(&words.to_le_bytes());
    for part in [&dictionary, &postings, &texts] {
        summed.extend_from_slice(&(part.len() as u64).to_le_bytes());
    }
    for part in [&table, &dictionary, &postings, &texts] {
        summed.extend_from_slice(part);
    }
    let mut out = Vec::with_capacity(SUMMED + summed.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    let mut sum = Context::new(&SHA256);
    sum.update(&summed);
    out.extend_from_slice(sum.finish().as_ref());
    out.extend_from_slice(&summed);
    out
}

fn varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes numbers off the front of a slice.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

const CUT: FormatError = FormatError::Bad("the file is cut off or damaged");

impl Index {
    /// Opens a file and checks it from end to end.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = [0; HEADER];
        file.read_exact(&mut header)
            .map_err(|_| FormatError::Bad("the file is too short for a documentation index"))?;
        let mut at = Cursor(&header);
        if at.bytes(8) != Some(MAGIC) {
            return Err(FormatError::Bad("the file is not a documentation index"));
        }
        if at.u32() != Some(VERSION) {
            return Err(FormatError::Bad("the index is of another version than this program"));
        }
        let sum = at.bytes(32).ok_or(CUT)?;
        let (sections, terms) = (at.u32().ok_or(CUT)?, at.u32().ok_or(CUT)?);
        let words = at.u64().ok_or(CUT)?;
        let (dictionary, postings, texts) = (at.u64().ok_or(CUT)?, at.u64().ok_or(CUT)?, at.u64().ok_or(CUT)?);
        let table = u64::from(sections) * ROW as u64;
        let total = [HEADER as u64, table, dictionary, postings, texts].into_iter().try_fold(0, u64::checked_add);
        if total != Some(length) {
            return Err(CUT);
        }
        if sections > MOST_SECTIONS || dictionary > MOST_DICTIONARY {
            return Err(FormatError::Bad("the index is larger than this program takes"));
        }
        if summed(&header, &mut file)? != sum {
            return Err(FormatError::Bad("the index's checksum does not fit its content"));
        }
        let mut block = vec![0; usize::try_from(table + dictionary).map_err(|_| CUT)?];
        file.read_exact_at(&mut block, HEADER as u64)?;
        let mut at = Cursor(&block);
        let rows = (0..sections)
            .map(|_| {
                let row = Row { offset: at.u64()?, length: at.u32()?, words: at.u32()? };
                let end = row.offset.checked_add(row.length.into())?;
                (end <= texts && row.length <= MOST_READ).then_some(row)
            })
            .collect::<Option<Vec<_>>>()
            .ok_or(CUT)?;
        let (names, entries) = read_terms(at, terms, postings).ok_or(CUT)?;
        #[expect(clippy::cast_precision_loss, reason = "an average of at most 2^20 sections needs no more")]
        let average = (words as f32 / sections.max(1) as f32).max(1.0);
        let postings_at = HEADER as u64 + table + dictionary;
        Ok(Self { file, rows, terms: names, entries, average, postings_at, texts_at: postings_at + postings })
    }

    /// Number of sections.
    pub fn sections(&self) -> usize {
        self.rows.len()
    }

    /// Number of documents: their sections stand one behind the other. Reads the whole file.
    ///
    /// # Errors
    /// It cannot be read, or was written over since it was opened.
    pub fn documents(&self) -> std::io::Result<usize> {
        let (mut count, mut last) = (0, None);
        for section in 0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX) {
            let source = Some(self.result(section)?.source);
            if source != last {
                (count, last) = (count + 1, source);
            }
        }
        Ok(count)
    }

    /// Number of words of a section.
    pub(super) fn words(&self, section: u32) -> u32 {
        self.rows.get(section as usize).map_or(0, |row| row.words)
    }

    /// The sections that hold a term, with its weight in each; `None` for a term that none holds.
    pub(super) fn postings(&self, term: &str) -> std::io::Result<Option<Vec<(u32, u8)>>> {
        let found = self.entries.partition_point(|entry| self.term_of(entry) < term);
        let Some(entry) = self.entries.get(found).filter(|entry| self.term_of(entry) == term) else { return Ok(None) };
        let mut bytes = vec![0; entry.length as usize];
        self.file.read_exact_at(&mut bytes, self.postings_at + entry.offset)?;
        let mut at = Cursor(&bytes);
        let mut out = Vec::with_capacity(entry.sections.min(entry.length) as usize);
        let mut section = 0_u32;
        while let (Some(distance), Some(weight)) = (at.varint(), at.byte()) {
            section = section.saturating_add(distance);
            // a file that is written over while it is open holds anything
            if section as usize >= self.rows.len() {
                break;
            }
            out.push((section, weight));
        }
        Ok(Some(out))
    }

    fn term_of(&self, entry: &Entry) -> &str {
        let end = entry.end as usize;
        self.terms.get(end.saturating_sub(entry.term.into())..end).unwrap_or_default()
    }

    /// A section's text and where it is from.
    pub(super) fn result(&self, section: u32) -> std::io::Result<SearchResult> {
        let damaged = || std::io::Error::other("the index was written over while it was open");
        let row = self.rows.get(section as usize).ok_or_else(damaged)?;
        let mut bytes = vec![0; row.length as usize];
        self.file.read_exact_at(&mut bytes, self.texts_at + row.offset)?;
        let mut at = Cursor(&bytes);
        let mut field = || {
            let length = at.u32()? as usize;
            Some(String::from_utf8_lossy(at.bytes(length)?).into_owned())
        };
        let mut next = || field().ok_or_else(damaged);
        let (title, heading, source, url, content) = (next()?, next()?, next()?, next()?, next()?);
        // GitLab reads ids as numbers
        Ok(SearchResult { id: (u64::from(section) + 1).to_string(), content, title, heading, source, url })
    }
}

fn summed(header: &[u8; HEADER], file: &mut File) -> std::io::Result<[u8; 32]> {
    let mut sum = Context::new(&SHA256);
    sum.update(&header[SUMMED..]);
    let mut block = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        sum.update(&block[..read]);
    }
    Ok(sum.finish().as_ref().try_into().unwrap_or_default())
}

fn read_terms(mut at: Cursor<'_>, count: u32, postings: u64) -> Option<(String, Vec<Entry>)> {
    // each takes at least nine bytes, so that a lying count reserves no more than the file's own size
    let mut entries = Vec::with_capacity((count as usize).min(at.0.len() / 9));
    let (mut terms, mut offset) = (String::new(), 0_u64);
    for _ in 0..count {
        let length = at.byte()?;
        let term = std::str::from_utf8(at.bytes(length.into())?).ok()?;
        let (sections, bytes) = (at.u32()?, at.u32()?);
        terms.push_str(term);
        entries.push(Entry { end: u32::try_from(terms.len()).ok()?, term: length, sections, offset, length: bytes });
        offset = offset.checked_add(bytes.into()).filter(|end| *end <= postings && bytes <= MOST_READ)?;
    }
    (at.0.is_empty() && offset == postings).then_some((terms, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let section = |text: &str| Written { record: record(["T", "H", "s.md", "https://d/s", text]), words: 300 };
        let sections: Vec<Written> = (0..300).map(|n| section(&format!("text {n}"))).collect();
        let terms = [
            Term { term: "a".into(), postings: vec![(0, 1), (299, 7)] },
            Term { term: "bé".into(), postings: (0..300).map(|n| (n, 2)).collect() },
        ];
        write(&sections, &terms)
    }

    fn open(bytes: &[u8]) -> Result<Index, FormatError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Index::open(file.path())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let index = open(&example()).unwrap();
        assert_eq!((index.sections(), index.average, index.words(299)), (300, 300.0, 300));
        assert_eq!(index.postings("a").unwrap().unwrap(), [(0, 1), (299, 7)]);
        assert_eq!(index.postings("bé").unwrap().unwrap().len(), 300);
        assert_eq!(index.postings("c").unwrap(), None);
        assert_eq!(index.postings("").unwrap(), None);
        let result = index.result(299).unwrap();
        assert_eq!((result.id.as_str(), result.content.as_str(), result.source.as_str()), ("300", "text 299", "s.md"));
    }

    #[test]
    fn an_empty_index_is_one() {
        let index = open(&write(&[], &[])).unwrap();
        assert_eq!((index.sections(), index.postings("a").unwrap()), (0, None));
    }

    #[test]
    fn a_cut_or_changed_file_is_refused_wherever_it_is_damaged() {
        let good = example();
        for length in [0, 7, HEADER - 1, HEADER, good.len() / 2, good.len() - 1] {
            assert!(open(&good[..length]).is_err(), "cut at {length}");
        }
        for at in (0..good.len()).step_by(61) {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            assert!(open(&bad).is_err(), "changed at {at}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(open(&longer).is_err());
    }

    #[test]
    fn another_version_says_what_to_do() {
        let mut other = example();
        other[8] = 2;
        let error = open(&other).unwrap_err().to_string();
        assert!(error.contains("another version") && error.contains("index-docs"), "{error}");
    }

    #[test]
    fn a_file_that_is_written_over_while_open_gives_errors_and_no_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let good = example();
        std::fs::write(file.path(), &good).unwrap();
        let index = Index::open(file.path()).unwrap();
        let out = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        out.write_all_at(&vec![0xFF; good.len()], 0).unwrap();
        let _ = index.postings("bé").unwrap();
        assert!(index.result(0).is_err());
        out.set_len(10).unwrap();
        assert!(index.postings("bé").is_err());
    }
}

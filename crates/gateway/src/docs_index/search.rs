//! Ranking: BM25 over the sections that hold a word of the question.

use duo_protocol::budget::estimate;
use duo_protocol::contract::SearchResult;

use super::format::Index;
use super::words::words;

/// Of a longer question only so much counts, in bytes, and so many different words of it.
const LONGEST_QUESTION: usize = 8 << 10;
const MOST_WORDS: usize = 64;
/// All results together, in tokens: GitLab puts them into one prompt.
const MOST_TOKENS: usize = 8_000;
/// BM25's usual parameters: how soon further occurrences count less, and how much a long section is held back.
const K1: f32 = 1.2;
const B: f32 = 0.75;

impl Index {
    /// The sections that fit the question best, at most `count`, together at most about 8,000 tokens. Reads the file:
    /// not for a thread that must not block.
    ///
    /// # Errors
    /// The file cannot be read, or was written over since it was opened.
    pub fn search(&self, question: &str, count: usize) -> std::io::Result<Vec<SearchResult>> {
        let scores = self.scores(&wanted(question))?;
        let mut ranked: Vec<u32> =
            (0_u32..).zip(&scores).filter(|(_, score)| **score > 0.0).map(|(section, _)| section).collect();
        let score = |section: &u32| scores.get(*section as usize).copied().unwrap_or_default();
        ranked.sort_unstable_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
        let mut results = Vec::new();
        let mut room = MOST_TOKENS;
        for section in ranked.into_iter().take(count) {
            let result = self.result(section)?;
            let Some(left) = room.checked_sub(estimate(&result.content)) else { break };
            room = left;
            results.push(result);
        }
        Ok(results)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of sections and words are far below 2^24")]
    fn scores(&self, terms: &[String]) -> std::io::Result<Vec<f32>> {
        let sections = self.sections() as f32;
        let mut scores = vec![0.0_f32; self.sections()];
        for term in terms {
            let Some(postings) = self.postings(term)? else { continue };
            let holding = postings.len() as f32;
            let rarity = (1.0 + (sections - holding + 0.5) / (holding + 0.5)).ln();
            for (section, weight) in postings {
                let length = self.words(section) as f32 / self.average;
                let weight = f32::from(weight);
                let part = rarity * weight * (K1 + 1.0) / (weight + K1 * (1.0 - B + B * length));
                if let Some(score) = scores.get_mut(section as usize) {
                    *score += part;
                }
            }
        }
        Ok(scores)
    }
}

/// The question's different words.
fn wanted(question: &str) -> Vec<String> {
    let end = (0..=LONGEST_QUESTION.min(question.len())).rev().find(|at| question.is_char_boundary(*at)).unwrap_or(0);
    let mut out: Vec<String> = Vec::new();
    words(&question[..end], |word| {
        if out.len() < MOST_WORDS && !out.iter().any(|known| known == word) {
            out.push(word.to_owned());
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::super::Builder;
    use super::*;

    fn index(pages: &[(&str, &str)]) -> Index {
        let mut builder = Builder::new("https://docs.example.com");
        for (source, text) in pages {
            builder.page(source, text);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), builder.finish().unwrap()).unwrap();
        Index::open(file.path()).unwrap()
    }

    fn sources(index: &Index, question: &str, count: usize) -> Vec<String> {
        index.search(question, count).unwrap().into_iter().map(|result| result.source).collect()
    }

    #[test]
    fn the_page_about_a_thing_stands_before_pages_that_mention_it() {
        let index = index(&[
            ("user/runner.md", "# Runners\nA runner runs jobs. Register a runner with its token.\n"),
            ("user/squash.md", "# Squash and merge\nSquashing joins commits when you merge.\n"),
            ("user/ci.md", "# Pipelines\nJobs are run by a runner, and many other things are said here at length.\n"),
        ]);
        assert_eq!(sources(&index, "How do I register runners?", 4), ["user/runner.md", "user/ci.md"]);
        assert_eq!(sources(&index, "squashed commit", 4), ["user/squash.md"]);
        assert_eq!(sources(&index, "runner", 1), ["user/runner.md"]);
        assert!(sources(&index, "the and of ???", 4).is_empty());
        assert!(sources(&index, "", 4).is_empty());
    }

    #[test]
    fn results_say_where_they_are_from() {
        let index =
            index(&[("user/project/_index.md", "---\ntitle: Projects\n---\n## Archive it\n\nPress the button.")]);
        let result = index.search("archive", 4).unwrap().remove(0);
        assert_eq!(
            (result.title.as_str(), result.heading.as_str(), result.url.as_str(), result.content.as_str()),
            ("Projects", "Archive it", "https://docs.example.com/user/project/#archive-it", "Press the button.")
        );
    }

    #[test]
    fn results_together_stay_within_what_a_prompt_can_take() {
        let page = format!("# Long\n{}", "limit word ".repeat(300));
        let pages: Vec<(String, String)> = (0..30).map(|n| (format!("{n}.md"), page.clone())).collect();
        let pages: Vec<(&str, &str)> = pages.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let results = index(&pages).search("limits", 20).unwrap();
        let tokens: usize = results.iter().map(|result| estimate(&result.content)).sum();
        assert!(results.len() < 20 && tokens <= 8_000 && tokens > 6_000, "{} with {tokens}", results.len());
    }

    #[test]
    fn a_question_of_any_length_is_bounded() {
        let index = index(&[("a.md", "needle")]);
        let long = format!("needle {}", "é word ".repeat(60_000));
        assert_eq!(sources(&index, &long, 4), ["a.md"]);
        assert_eq!(wanted(&(0..500).map(|n| format!("w{n} ")).collect::<String>()).len(), MOST_WORDS);
    }
}

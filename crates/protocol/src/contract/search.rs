//! Body and answer of `POST /v1/search/gitlab-docs`.

use serde_json::{Value, json};

use super::invalid::Invalid;
use super::read::Reader;

/// A question to the documentation.
#[derive(Clone, PartialEq, Eq)]
pub struct SearchBody {
    /// What is looked for, at most 400,000 characters.
    pub query: String,
    /// Most results, 1 to 20; 4 when absent.
    pub page_size: usize,
}

impl SearchBody {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 list detail with every fault.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Reader::body(body, |reader, map| {
            reader.component_head(map, 100);
            reader.required_object(map, "payload", |reader, map| {
                let query = reader.required(map, "query", 400_000);
                let page_size = reader.integer(map, "page_size", 1..=20).unwrap_or(4);
                Some(SearchBody { query: query?, page_size: page_size as usize })
            })
        })
    }
}

/// A piece of documentation that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResult {
    /// Its number in the index; GitLab lists it as source of an answer.
    pub id: String,
    /// Its text.
    pub content: String,
    /// Title of its page.
    pub title: String,
    /// Headings above it, `Merge requests > Squash`; empty at the top of a page.
    pub heading: String,
    /// File of the page, relative to the documentation's folder.
    pub source: String,
    /// Where it can be read.
    pub url: String,
}

/// The answer. GitLab's clients have only ever seen `sqlite` as the provider.
pub fn search_answer(results: &[SearchResult], timestamp: i64) -> Value {
    let one = |result: &SearchResult| {
        json!({
            "id": result.id,
            "content": result.content,
            "metadata": {
                "title": result.title,
                "heading": result.heading,
                "source": result.source,
                "source_type": "doc",
                "source_url": result.url,
                "url": result.url,
            },
        })
    };
    json!({
        "response": { "results": results.iter().map(one).collect::<Vec<_>>() },
        "metadata": { "provider": "sqlite", "timestamp": timestamp },
    })
}

crate::opaque::opaque_debug!(SearchBody);

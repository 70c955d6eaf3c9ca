//! What is known of the documentation index in force.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Zeros while there is no index.
#[derive(Debug, Default)]
pub struct Docs {
    documents: Gauge,
    sections: Gauge,
    modified: Gauge,
    /// Files that could not be used.
    pub failures: Counter,
}

impl Docs {
    /// Under their names.
    pub fn register(&self, r: &mut Registry) {
        let documents = "Documents of the documentation index in force (0: there is none)";
        r.register("duo_gateway_docs_index_documents", documents, self.documents.clone());
        r.register("duo_gateway_docs_index_sections", "Sections of its documents", self.sections.clone());
        let modified = "When the file of the index in force was made (0: there is none)";
        r.register("duo_gateway_docs_index_modified_timestamp_seconds", modified, self.modified.clone());
        let failures = "Documentation indexes that could not be used";
        r.register("duo_gateway_docs_index_load_failures", failures, self.failures.clone());
    }

    /// What is in force from now on; `modified` in seconds since 1970.
    pub fn loaded(&self, documents: usize, sections: usize, modified: i64) {
        self.documents.set(i64::try_from(documents).unwrap_or(i64::MAX));
        self.sections.set(i64::try_from(sections).unwrap_or(i64::MAX));
        self.modified.set(modified);
    }
}

//! The index that is in force: loaded in the background at the start, and again when the file or its name changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;

use super::{FormatError, Index};
use crate::app::App;

/// The loaded index, if there is one.
#[derive(Debug, Default)]
pub struct DocsIndex {
    current: ArcSwapOption<Index>,
}

impl DocsIndex {
    /// The index in force.
    pub fn current(&self) -> Option<Arc<Index>> {
        self.current.load_full()
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    state: Option<(u64, Option<SystemTime>, u64)>,
}

impl Seen {
    /// In seconds since 1970; 0 where the file system does not say.
    fn modified(&self) -> i64 {
        let at = self.state.and_then(|(_, modified, _)| modified);
        let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
    }
}

/// Looks for changes until the task is dropped. A file that cannot be used leaves the last good one in force.
pub async fn watch(app: Arc<App>) {
    let mut seen: Option<Seen> = None;
    loop {
        match app.active().docs_index.clone() {
            None => {
                if seen.take().is_some() {
                    none(&app);
                    tracing::info!("documentation index: none is configured any more");
                }
            }
            Some(path) => {
                let now = look(path).await;
                if seen.as_ref() != Some(&now) {
                    if seen.as_ref().is_some_and(|seen| seen.path != now.path) {
                        none(&app);
                    }
                    load(&app, &now).await;
                    seen = Some(now);
                }
            }
        }
        tokio::time::sleep(app.settings.config_poll).await;
    }
}

async fn look(path: PathBuf) -> Seen {
    let meta = tokio::fs::metadata(&path).await.ok();
    let state = meta.map(|meta| (meta.len(), meta.modified().ok(), std::os::unix::fs::MetadataExt::ino(&meta)));
    Seen { path, state }
}

fn none(app: &App) {
    app.docs.current.store(None);
    app.metrics.docs.loaded(0, 0, 0);
}

async fn load(app: &App, file: &Seen) {
    let shown = file.path.display();
    let wanted = file.path.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let index = Index::open(&wanted)?;
        let documents = index.documents()?;
        Ok((index, documents))
    });
    match opened.await.unwrap_or_else(|_| Err(FormatError::Io(std::io::Error::other("reading was given up")))) {
        Ok((index, documents)) => {
            let sections = index.sections();
            tracing::info!(path = %shown, documents, sections, "documentation index loaded");
            app.metrics.docs.loaded(documents, sections, file.modified());
            app.docs.current.store(Some(Arc::new(index)));
        }
        Err(error) => {
            let kept = app.docs.current().is_some();
            app.metrics.docs.failures.inc();
            tracing::error!(path = %shown, error = %error, kept, "the documentation index cannot be used");
        }
    }
}

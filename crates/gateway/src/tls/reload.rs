//! Certificate and key that the environment names (`AIGW_FASTAPI__TLS__*`): read at the start and again when one of the
//! files changes. Polled like the mounted folder, for the same reason.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Certificate, Ciphers, Fault};
use crate::app::App;
use crate::config_store::LoadError;
use crate::settings::TlsFiles;

/// More than any chain or key has.
const MAX_FILE: u64 = 1 << 20;

/// Tells one state of the two files from another; `None` for one that is away.
pub(crate) type Seen = [Option<(u64, u64, Option<SystemTime>)>; 2];

/// The files' state now; through links, as volumes of Kubernetes are made of them.
pub(crate) fn seen(files: &TlsFiles) -> Seen {
    [&files.certificate, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ino(), meta.len(), meta.modified().ok()))
    })
}

/// Reads both.
pub(crate) fn load(
    files: &TlsFiles,
    ciphers: &Ciphers,
    previous: Option<&Arc<Certificate>>,
) -> Result<Arc<Certificate>, LoadError> {
    let (chain, key) = (read(&files.certificate)?, read(&files.key)?);
    Certificate::read(&chain, &key, ciphers, previous).map_err(|fault| match fault {
        Fault::Certificate(problem) => named(&files.certificate, problem),
        Fault::Key(problem) => named(&files.key, problem),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE {
        return Err(named(path, format!("holds more than {MAX_FILE} bytes")));
    }
    std::fs::read(path).map_err(io)
}

fn named(path: &Path, problem: String) -> LoadError {
    LoadError::File { file: path.display().to_string(), problem }
}

/// Looks until the task is dropped. `last`: the state that was read at the start.
pub(crate) async fn watch(app: Arc<App>, files: TlsFiles, mut last: Seen) {
    loop {
        tokio::time::sleep(app.settings.config_poll).await;
        let (app_, files_) = (app.clone(), files.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let now = seen(&files_);
            (now != last).then(|| (now, load(&files_, &app_.settings.tls.ciphers, app_.own_certificate().as_ref())))
        });
        let Ok(Some((now, loaded))) = looked.await else { continue };
        // also when it cannot be used: it is said once and not every second
        last = now;
        app.take_over_own_certificate(loaded);
    }
}

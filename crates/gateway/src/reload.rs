//! Watches the mounted folder by looking at it every second. No inotify: it does not see what kubelet does to a
//! projected volume on every file system, and one `stat` per file a second costs nothing.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::App;
use crate::config_store::{Fingerprint, LoadError, Mounted, fingerprint_of};

/// Looks until the task is dropped. `seen`: the state that is in force.
pub async fn watch(app: Arc<App>, config_file: PathBuf, mut seen: Fingerprint) {
    let mut failed: Option<Fingerprint> = None;
    let mut unreadable = false;
    loop {
        tokio::time::sleep(app.settings.config_poll).await;
        let now = match blocking(&config_file, fingerprint_of).await {
            Ok(now) => now,
            Err(error) => {
                if !std::mem::replace(&mut unreadable, true) {
                    refuse(&app, &error);
                }
                continue;
            }
        };
        if now == seen {
            // back to what is in force
            if std::mem::take(&mut unreadable) | failed.take().is_some() {
                app.set_trouble(None);
            }
            continue;
        }
        unreadable = false;
        if failed.as_ref() == Some(&now) {
            continue;
        }
        let taken = blocking(&config_file, Mounted::load).await.and_then(|(mounted, read)| {
            app.take_over(&mounted)?;
            Ok((mounted.hash, read))
        });
        match taken {
            Ok((hash, read)) => {
                tracing::info!(hash, "configuration taken over");
                app.metrics.reloads.inc();
                seen = read;
                failed = None;
            }
            Err(error) => {
                refuse(&app, &error);
                // a folder that moves under the reader is read again, whatever it looks like
                failed = (!matches!(error, LoadError::Moving { .. })).then_some(now);
            }
        }
    }
}

fn refuse(app: &App, error: &LoadError) {
    tracing::error!(error = %error, "the configuration cannot be used; the last one stays in force");
    app.metrics.reload_failures.inc();
    app.set_trouble(Some(error.to_string()));
}

async fn blocking<T: Send + 'static>(
    path: &std::path::Path,
    work: impl FnOnce(&std::path::Path) -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    let path = path.to_owned();
    let failed = LoadError::Io { path: path.clone(), source: std::io::Error::other("reading was given up") };
    tokio::task::spawn_blocking(move || work(&path)).await.unwrap_or(Err(failed))
}

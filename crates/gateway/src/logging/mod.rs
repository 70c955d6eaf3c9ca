//! Log lines: one JSON object each, with the field names of GitLab's own gateway (17.10 to 19.x) and ours, all of them
//! listed in `SIGNALS.md` of this crate.
//!
//! Two ways lead here: what belongs to a request is written by its record ([`crate::context`]), everything else comes
//! through `tracing` and [`layer`]. Libraries are heard from warnings on only: at lower levels some would print
//! requests.

mod events;
mod line;
pub mod panics;
mod sink;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

pub use events::layer;
pub(crate) use line::timestamp;
pub use line::{Fields, Head, seconds};
pub use sink::Sink;

/// `type` of all lines that have no type of their own, as in GitLab's gateway.
pub const GENERAL: &str = "mlops";

/// Changes the lowest level that is written, while running.
#[derive(Clone)]
pub struct LevelSwitch(reload::Handle<Targets, Registry>);

impl LevelSwitch {
    /// Sets the level of this program's own lines.
    pub fn set(&self, level: tracing::Level) {
        // fails only when the subscriber is gone, and then nothing is logged anyway
        let _ = self.0.reload(targets(level));
    }
}

/// Makes `sink` the place of all log lines of the process. Once per process.
///
/// # Errors
/// Something else was installed before.
pub fn install(sink: Sink, level: tracing::Level) -> Result<LevelSwitch, tracing_subscriber::util::TryInitError> {
    let (filter, handle) = reload::Layer::new(targets(level));
    tracing_subscriber::registry().with(filter).with(layer(sink)).try_init()?;
    Ok(LevelSwitch(handle))
}

fn targets(level: tracing::Level) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("duo_gateway", level)
        // warnings of theirs hold whole requests in their debug form
        .with_target("aws_smithy_runtime", LevelFilter::ERROR)
        .with_target("aws_config", LevelFilter::ERROR)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn events_become_lines_with_the_official_names() {
        let buffer = Buffer::default();
        let sink = Sink::new(buffer.clone(), true);
        let subscriber = tracing_subscriber::registry().with(layer(sink.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(issuer = "http://g", keys = 3, nothing = tracing::field::Empty, "line\nbreak");
        });
        sink.flush(Duration::from_secs(60));
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "line\nbreak");
        assert_eq!(line["level"], "warning");
        assert_eq!((&line["type"], &line["stage"]), (&json!("mlops"), &json!("main")));
        assert_eq!((&line["issuer"], &line["keys"]), (&json!("http://g"), &json!(3)));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}

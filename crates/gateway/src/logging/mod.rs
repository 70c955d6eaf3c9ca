//! Log lines: one JSON object each, with the field names of GitLab's own gateway (17.10 to 19.x).
//!
//! Two ways lead here: the access log writes its record directly, everything else comes through `tracing` and
//! [`layer`]. Libraries are heard from warnings on only: at lower levels some would print requests.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::settings::Logging;

/// Where lines go. Clones share it.
#[derive(Clone)]
pub struct Sink {
    out: Arc<Mutex<dyn Write + Send>>,
    json: bool,
}

impl Sink {
    /// Lines into `out`; as JSON or as plain text.
    pub fn new(out: impl Write + Send + 'static, json: bool) -> Self {
        Self { out: Arc::new(Mutex::new(out)), json }
    }

    /// As the settings say: a file, or standard error.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(settings: &Logging) -> std::io::Result<Self> {
        Ok(match &settings.to_file {
            Some(path) => Self::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?, settings.json),
            None => Self::new(std::io::stderr(), settings.json),
        })
    }

    /// Writes one line. `fields` follow the common ones; a field that is null is left out.
    pub fn write(&self, level: tracing::Level, logger: &str, message: &str, fields: Map<String, Value>) {
        let level = if level == tracing::Level::WARN { "warning" } else { &level.as_str().to_ascii_lowercase() };
        let timestamp = jiff::Timestamp::now();
        let mut line = if self.json {
            let mut map = Map::with_capacity(fields.len() + 6);
            map.insert("message".into(), message.into());
            map.insert("logger".into(), logger.into());
            map.insert("level".into(), level.into());
            map.insert("timestamp".into(), json!(format!("{timestamp:.6}")));
            map.insert("type".into(), "mlops".into());
            map.insert("stage".into(), "main".into());
            map.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
            Value::Object(map).to_string()
        } else {
            let mut text = format!("{timestamp:.3} [{level:<7}] {message} [{logger}]");
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                text.push_str(&format!(" {name}={value}"));
            }
            text
        };
        line.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // a log that cannot be written has nowhere to say so
        let _ = out.write_all(line.as_bytes());
        let _ = out.flush();
    }
}

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

/// Turns events into lines of `sink`.
pub fn layer<S: tracing::Subscriber>(sink: Sink) -> impl Layer<S> {
    EventLines(sink)
}

struct EventLines(Sink);

impl<S: tracing::Subscriber> Layer<S> for EventLines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let message = match fields.0.remove("message") {
            Some(Value::String(message)) => message,
            _ => String::new(),
        };
        self.0.write(*event.metadata().level(), event.metadata().target(), &message, fields.0);
    }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
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
        let subscriber = tracing_subscriber::registry().with(layer(Sink::new(buffer.clone(), true)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(issuer = "http://g", keys = 3, nothing = tracing::field::Empty, "line\nbreak");
        });
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

//! Events of `tracing`, this program's own and its libraries', as lines.

use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Fields, Head, Sink};

/// Turns events into lines of `sink`.
pub fn layer<S: tracing::Subscriber>(sink: Sink) -> impl Layer<S> {
    EventLines(sink)
}

struct EventLines(Sink);

impl<S: tracing::Subscriber> Layer<S> for EventLines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut reader = Reader { message: String::new(), fields: self.0.fields(128) };
        event.record(&mut reader);
        let head = Head { level: *event.metadata().level(), logger: event.metadata().target(), kind: super::GENERAL };
        self.0.write(head, format_args!("{}", reader.message), &[&reader.fields]);
    }
}

struct Reader {
    message: String,
    fields: Fields,
}

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.fields.add(field.name(), text) }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.message = value.to_owned() } else { self.fields.add(field.name(), value) }
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.add(field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.add(field.name(), value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.add(field.name(), value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.add(field.name(), value);
    }
}

//! A panic is a bug of ours; its line says where, and not the panic's own words: those of the standard library hold
//! pieces of the text that was worked on, which may be a user's.

use super::{GENERAL, Head, Sink};

/// Makes panics lines of `sink` in place of the standard library's words on standard error. Once per process.
pub fn install(sink: Sink) {
    std::panic::set_hook(Box::new(move |info| {
        let mut fields = sink.fields(64);
        fields.add("exception_class", "panic");
        if let Some(place) = info.location() {
            fields.add("exception_backtrace", format!("{}:{}", place.file(), place.line()));
        }
        let head = Head { level: tracing::Level::ERROR, logger: "duo_gateway", kind: GENERAL };
        sink.write(head, format_args!("A bug: a request or a background task ended in a panic"), &[&fields]);
    }));
}

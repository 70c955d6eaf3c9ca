//! Log lines as JSON on stderr.

use tracing_subscriber::EnvFilter;

/// Starts logging; `RUST_LOG` decides what is logged, else `default` does (`info`, `duo_operator=debug,info`).
///
/// Calling it twice has no effect: tests start several programs in one process.
pub fn init(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let _already_started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

//! The guardrail of the configuration as Bedrock takes it.

use duo_gateway_config::{Guardrail, GuardrailStream, GuardrailTrace};
use serde_json::{Value, json};

/// With calls for whole answers.
pub(super) fn whole(guardrail: &Guardrail) -> String {
    fields(guardrail).to_string()
}

/// With calls for streams.
pub(super) fn stream(guardrail: &Guardrail) -> String {
    let mut fields = fields(guardrail);
    fields["streamProcessingMode"] = match guardrail.stream_processing.unwrap_or(GuardrailStream::Sync) {
        GuardrailStream::Sync => "sync",
        GuardrailStream::Async => "async",
    }
    .into();
    fields.to_string()
}

fn fields(guardrail: &Guardrail) -> Value {
    let trace = match guardrail.trace.unwrap_or(GuardrailTrace::Disabled) {
        GuardrailTrace::Disabled => "disabled",
        GuardrailTrace::Enabled => "enabled",
        GuardrailTrace::Full => "enabled_full",
    };
    json!({
        "guardrailIdentifier": guardrail.identifier,
        "guardrailVersion": guardrail.version,
        "trace": trace,
    })
}

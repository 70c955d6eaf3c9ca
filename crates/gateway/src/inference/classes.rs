//! What kinds of ends are called in metrics and logs: few words, whatever model servers say.

use duo_protocol::model::{StopReason, UpstreamFailure};

/// GitLab's classes of errors.
pub(super) fn error_type(failure: &UpstreamFailure) -> &'static str {
    match failure {
        UpstreamFailure::Throttled { .. } => "overloaded",
        UpstreamFailure::Status { code: 401 | 403, .. } => "permission_error",
        UpstreamFailure::Status { code: 400, .. }
            if duo_protocol::failure::chat_message(failure, "").starts_with("prompt is too long") =>
        {
            "prompt_too_long"
        }
        UpstreamFailure::Status { code: 400, .. } => "http_400",
        UpstreamFailure::Status { code: 503 | 529, .. } => "service_unavailable",
        UpstreamFailure::Unavailable { .. } | UpstreamFailure::Timeout => "connection_error",
        _ => "other",
    }
}

/// `error.type` of the OpenTelemetry conventions: the model server's status where it gave one.
pub(super) fn error_class(failure: &UpstreamFailure) -> &'static str {
    match failure {
        UpstreamFailure::Throttled { .. } => "429",
        UpstreamFailure::Status { code, .. } => match code {
            400 => "400",
            401 => "401",
            403 => "403",
            404 => "404",
            408 => "408",
            413 => "413",
            422 => "422",
            424 => "424",
            500 => "500",
            502 => "502",
            503 => "503",
            504 => "504",
            529 => "529",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        },
        UpstreamFailure::Unavailable { .. } => "unavailable",
        UpstreamFailure::Timeout => "timeout",
        UpstreamFailure::Protocol { .. } => "protocol",
        UpstreamFailure::StreamBroken { .. } => "stream_broken",
    }
}

/// `finish_reason`.
pub(super) fn finish_label(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence => "stop",
        StopReason::MaxTokens => "length",
        StopReason::ContentFiltered => "content_filter",
        StopReason::Other(_) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_is_too_long_has_a_class_of_its_own() {
        let status = |code, reason: &str| UpstreamFailure::Status { code, reason: reason.into(), retry_after: None };
        for (failure, official, class) in [
            (status(400, "This model's maximum context length is 10"), "prompt_too_long", "400"),
            (status(400, "no"), "http_400", "400"),
            (status(403, "no"), "permission_error", "403"),
            (status(418, "no"), "other", "4xx"),
            (status(529, "no"), "service_unavailable", "529"),
            (status(599, "no"), "other", "5xx"),
            (UpstreamFailure::Throttled { retry_after: None }, "overloaded", "429"),
            (UpstreamFailure::Timeout, "connection_error", "timeout"),
            (UpstreamFailure::StreamBroken { reason: String::new() }, "other", "stream_broken"),
        ] {
            assert_eq!((error_type(&failure), error_class(&failure)), (official, class), "{failure}");
        }
    }
}

//! Calls that brought no answer, and could not even be prepared, as neutral failures.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_bedrockruntime::config::http::HttpResponse;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use duo_protocol::failure::{phrase, scrub};
use duo_protocol::model::UpstreamFailure;

use crate::upstream::caller::CallError;
use crate::upstream::json;

/// The SDK cannot prepare a call.
pub(super) fn of_preparing<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> UpstreamFailure {
    match error {
        SdkError::TimeoutError(_) => UpstreamFailure::Timeout,
        other => of_cause(other),
    }
}

/// It prepares calls in a way that we do not understand, or the model's name is none.
pub(super) fn not_asked() -> UpstreamFailure {
    let reason = format!("{}: the call cannot be addressed and signed; check endpoint and model", phrase(400));
    UpstreamFailure::Status { code: 400, reason, retry_after: None }
}

/// Nobody answered.
pub(super) fn unreachable(error: &CallError) -> UpstreamFailure {
    if error.is_connect() && error.is_timeout() {
        return UpstreamFailure::Unavailable { reason: "no connection in time".to_owned() };
    }
    json::unreachable(error)
}

/// Whether the account may call the model, but not stream its answers.
pub(super) fn denies_streaming(failure: &UpstreamFailure) -> bool {
    matches!(failure, UpstreamFailure::Status { code: 403, reason, .. } if reason.contains(STREAM_ACTION))
}

const STREAM_ACTION: &str = "InvokeModelWithResponseStream";

/// With the cure, where AWS' words leave people alone. `region` chooses the profile's prefix.
pub(super) fn explained(failure: UpstreamFailure, region: Option<&str>) -> UpstreamFailure {
    match failure {
        UpstreamFailure::Status { code: 400, reason, retry_after } if reason.contains("on-demand throughput") => {
            let prefix = profile_prefix(region.unwrap_or("us-east-1"));
            let reason = format!(
                "{}: this model is served through inference profiles only: write `bedrock/{prefix}.` in front of its \
                 id (or `global.`), or name the profile's ARN",
                phrase(400)
            );
            UpstreamFailure::Status { code: 400, reason, retry_after }
        }
        other => other,
    }
}

/// The geography of a region, as profiles name it.
fn profile_prefix(region: &str) -> &'static str {
    match region {
        "ap-northeast-1" | "ap-northeast-3" => "jp",
        "ap-southeast-2" | "ap-southeast-4" => "au",
        _ if region.starts_with("us-gov-") => "us-gov",
        _ if region.starts_with("eu-") => "eu",
        _ if region.starts_with("ap-") => "apac",
        _ => "us",
    }
}

/// What failed before anything was sent: credentials, TLS, name, connection.
fn of_cause(error: &(dyn Error + 'static)) -> UpstreamFailure {
    let mut at = Some(error);
    while let Some(one) = at {
        if let Some(refusal) = of_role(one) {
            return refusal;
        }
        at = one.source();
    }
    at = Some(error);
    while let Some(one) = at {
        let text = one.to_string();
        if one.is::<CredentialsError>() || text.contains("credentials provider") || text.contains("identity") {
            let reason = "Unauthorized: no AWS credentials: give them in the environment, in the mounted folder or by \
                          workload identity"
                .to_owned();
            return UpstreamFailure::Status { code: 401, reason, retry_after: None };
        }
        at = one.source();
    }
    UpstreamFailure::Unavailable { reason: scrub(&super::super::innermost(error), &[]) }
}

/// STS refused the role, or could not be asked.
fn of_role(error: &(dyn Error + 'static)) -> Option<UpstreamFailure> {
    let error = error.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>()?;
    Some(match error.as_service_error() {
        Some(service) => {
            let (code, message) = (service.code().unwrap_or_default(), service.message().unwrap_or_default());
            let reason = format!("{}: the role cannot be assumed: {code}: {}", phrase(403), scrub(message, &[]));
            UpstreamFailure::Status { code: 403, reason, retry_after: None }
        }
        None => UpstreamFailure::Unavailable {
            reason: format!("AWS STS, for the role: {}", scrub(&super::super::innermost(error), &[])),
        },
    })
}

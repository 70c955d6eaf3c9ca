//! The SDK's errors as neutral failures.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_bedrockruntime::config::http::HttpResponse;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use duo_protocol::failure::{phrase, scrub};
use duo_protocol::model::{ChatMessage, UpstreamFailure};
use duo_protocol::openai::parse_retry_after;

/// A call that brought no answer.
pub(super) fn of_call<E>(error: &SdkError<E, HttpResponse>, asked: &[ChatMessage]) -> UpstreamFailure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::TimeoutError(_) => UpstreamFailure::Timeout,
        // a 2xx that is no answer comes as either of the two
        SdkError::ServiceError(service) if service.raw().status().is_success() => not_bedrocks(),
        SdkError::ResponseError(response) if response.raw().status().is_success() => {
            broken_off(error).unwrap_or_else(not_bedrocks)
        }
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            of_service(status, service.err().code(), service.err().message(), retry_after(service.raw()), asked)
        }
        SdkError::ResponseError(response) => {
            of_service(response.raw().status().as_u16(), None, None, retry_after(response.raw()), asked)
        }
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => {
            UpstreamFailure::Unavailable { reason: "no connection in time".to_owned() }
        }
        other => of_cause(other),
    }
}

/// The connection ended inside the answer: another try may bring all of it.
fn broken_off(error: &(dyn Error + 'static)) -> Option<UpstreamFailure> {
    let mut at = Some(error);
    while let Some(one) = at {
        if let Some(cut) = one.downcast_ref::<reqwest::Error>() {
            return Some(UpstreamFailure::Unavailable { reason: super::super::cause(cut) });
        }
        at = one.source();
    }
    None
}

pub(super) fn not_bedrocks() -> UpstreamFailure {
    UpstreamFailure::Protocol { reason: "an answer that is not Bedrock's; check the endpoint".to_owned() }
}

/// An exception or a bad frame inside a stream.
pub(super) fn of_stream<R: std::fmt::Debug>(
    error: &SdkError<ConverseStreamOutputError, R>,
    asked: &[ChatMessage],
) -> UpstreamFailure {
    let Some(service) = error.as_service_error() else {
        return UpstreamFailure::StreamBroken { reason: "the event stream broke off or holds a bad frame".to_owned() };
    };
    let status = match service {
        ConverseStreamOutputError::InternalServerException(_) => 500,
        ConverseStreamOutputError::ModelStreamErrorException(_) => 424,
        ConverseStreamOutputError::ValidationException(_) => 400,
        ConverseStreamOutputError::ThrottlingException(_) => 429,
        ConverseStreamOutputError::ServiceUnavailableException(_) => 503,
        _ => 500,
    };
    of_service(status, service.meta().code(), service.meta().message(), None, asked)
}

fn of_service(
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
    retry_after: Option<Duration>,
    asked: &[ChatMessage],
) -> UpstreamFailure {
    match status {
        429 => return UpstreamFailure::Throttled { retry_after },
        408 | 504 => return UpstreamFailure::Timeout,
        // a quota that is used up is one that comes back
        _ if code == Some("ServiceQuotaExceededException") => return UpstreamFailure::Throttled { retry_after },
        _ => {}
    }
    let mut reason = phrase(status).to_owned();
    for (before, text) in [(": ", code), (": ", message)] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            reason.push_str(before);
            reason.push_str(&scrub(text, asked));
        }
    }
    UpstreamFailure::Status { code: status, reason, retry_after }
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

fn retry_after(response: &HttpResponse) -> Option<Duration> {
    parse_retry_after(
        response.headers().get("retry-after"),
        response.headers().get("retry-after-ms"),
        jiff::Timestamp::now(),
    )
}

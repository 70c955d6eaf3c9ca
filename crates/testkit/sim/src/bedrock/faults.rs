//! What can be made to go wrong with a call.

use serde::{Deserialize, Serialize};

use super::error::Refusal;

/// An exception that comes inside a stream, after the 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StreamException {
    /// 500 inside.
    InternalServerException,
    /// The model broke off.
    ModelStreamErrorException,
    /// 400 inside.
    ValidationException,
    /// 429 inside.
    ThrottlingException,
    /// 503 inside.
    ServiceUnavailableException,
}

/// A fault of Bedrock. As JSON `{"kind":"throttling","retry_after":2}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// `ThrottlingException`, 429.
    Throttling {
        /// Seconds for `Retry-After`; no such header when unset.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// `ModelNotReadyException`, 429: AWS's SDKs retry it by themselves.
    ModelNotReady,
    /// `ModelTimeoutException`, 408.
    ModelTimeout,
    /// `ModelErrorException`, 424.
    ModelError,
    /// `InternalServerException`, 500.
    InternalServer,
    /// `ServiceUnavailableException`, 503.
    ServiceUnavailable,
    /// `AccessDeniedException`, 403, as IAM says it.
    AccessDenied,
    /// `ExpiredTokenException`, 403: temporary credentials ran out.
    ExpiredToken,
    /// A page of some proxy instead of an answer.
    Html {
        /// The page's HTTP status.
        status: u16,
    },
    /// An exception in the stream; for a whole answer the same exception as HTTP error.
    StreamException {
        /// Which.
        exception: StreamException,
        /// Frames that come before it.
        #[serde(default)]
        after: usize,
    },
    /// A frame with a wrong checksum; a whole answer is cut instead.
    WrongChecksum {
        /// Good frames that come before it.
        #[serde(default)]
        after: usize,
    },
    /// The connection breaks in the middle of a frame, or of a whole answer.
    Cut {
        /// Whole frames that come before it.
        #[serde(default)]
        after: usize,
    },
    /// Nothing more comes, the connection stays. A whole answer does not even begin.
    Stall {
        /// Frames that come before it.
        #[serde(default)]
        after: usize,
    },
}

impl StreamException {
    /// The name in `:exception-type`.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::InternalServerException => "internalServerException",
            Self::ModelStreamErrorException => "modelStreamErrorException",
            Self::ValidationException => "validationException",
            Self::ThrottlingException => "throttlingException",
            Self::ServiceUnavailableException => "serviceUnavailableException",
        }
    }

    /// The same as an HTTP error.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::InternalServerException => FaultKind::InternalServer.refusal(),
            Self::ModelStreamErrorException => Some(Refusal::new(
                "ModelStreamErrorException",
                424,
                "An error occurred while the model was streaming. Try your request again.",
            )),
            Self::ValidationException => Some(Refusal::validation("The model refused to go on with this input.")),
            Self::ThrottlingException => FaultKind::Throttling { retry_after: None }.refusal(),
            Self::ServiceUnavailableException => FaultKind::ServiceUnavailable.refusal(),
        }
        .unwrap_or_else(|| Refusal::new("InternalServerException", 500, "unknown"))
    }
}

impl FaultKind {
    /// The HTTP error that this fault is; `None` for faults of another form.
    pub fn refusal(&self) -> Option<Refusal> {
        Some(match self {
            Self::Throttling { .. } => {
                Refusal::new("ThrottlingException", 429, "Too many requests, please wait before trying again.")
            }
            Self::ModelNotReady => Refusal::new(
                "ModelNotReadyException",
                429,
                "Model is not ready for inference. Wait and try your request again.",
            ),
            Self::ModelTimeout => Refusal::new(
                "ModelTimeoutException",
                408,
                "Model has timed out in processing the request. Try your request again.",
            ),
            Self::ModelError => Refusal::new(
                "ModelErrorException",
                424,
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            Self::InternalServer => Refusal::new(
                "InternalServerException",
                500,
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            Self::ServiceUnavailable => {
                Refusal::new("ServiceUnavailableException", 503, "Bedrock is unable to process your request.")
            }
            Self::AccessDenied => Refusal::access_denied(
                "User: arn:aws:iam::123456789012:user/gateway is not authorized to perform: bedrock:InvokeModel \
                 because no identity-based policy allows the bedrock:InvokeModel action",
            ),
            Self::ExpiredToken => {
                Refusal::new("ExpiredTokenException", 403, "The security token included in the request is expired")
            }
            Self::Html { .. }
            | Self::StreamException { .. }
            | Self::WrongChecksum { .. }
            | Self::Cut { .. }
            | Self::Stall { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Fault;

    #[test]
    fn faults_are_read_from_the_json_that_the_documentation_shows() {
        for (text, fault) in [
            (
                r#"{"kind":"throttling","retry_after":2,"times":1}"#,
                Fault::once(FaultKind::Throttling { retry_after: Some(2) }),
            ),
            (r#"{"kind":"model_not_ready"}"#, Fault::always(FaultKind::ModelNotReady)),
            (
                r#"{"kind":"stream_exception","exception":"throttlingException","after":2,"times":3,"model":"m"}"#,
                Fault::times(
                    FaultKind::StreamException { exception: StreamException::ThrottlingException, after: 2 },
                    3,
                )
                .for_model("m"),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Fault<FaultKind>>(text).unwrap(), fault, "{text}");
        }
    }
}

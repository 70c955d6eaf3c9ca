//! The envelope of a GraphQL answer: data or errors, and what GitLab's sentences mean.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    documents::Document,
    error::{Error, Result},
    schema::Capabilities,
    token::scrub,
    transport::{Call, Transport},
};

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Envelope<T> {
    data: Option<T>,
    #[serde(default)]
    errors: Vec<TopError>,
}

/// A top-level error. `extensions` is left out on purpose: it may echo the variables, API keys included.
#[derive(Deserialize)]
pub(crate) struct TopError {
    #[serde(default)]
    pub(crate) message: String,
    /// Set when the error came up while a field was resolved; absent when the request was not even executed.
    #[serde(default)]
    path: Option<serde::de::IgnoredAny>,
}

impl Transport {
    /// Sends a document that depends on the instance's version.
    pub(crate) async fn run<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        document: Document,
        capabilities: &Capabilities,
        variables: Value,
    ) -> Result<T> {
        self.run_text(call, &document.render(capabilities), variables).await
    }

    /// Sends a GraphQL text and reads its data.
    pub(crate) async fn run_text<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        query: &str,
        variables: Value,
    ) -> Result<T> {
        let bytes = self.post_graphql(call, request_body(call.operation, query, &variables)?).await?;
        // serde_json's message could quote a piece of the answer; its position is enough
        let envelope: Envelope<Value> = serde_json::from_slice(&bytes).map_err(|e| Error::NotGraphQl {
            operation: call.operation,
            what: format!("invalid JSON at line {} column {}", e.line(), e.column()),
        })?;
        if !envelope.errors.is_empty() {
            return Err(self.top_error(call, &envelope.errors));
        }
        let Some(data) = envelope.data else {
            return Err(Error::NotGraphQl {
                operation: call.operation,
                what: "JSON with neither data nor errors".into(),
            });
        };
        serde_json::from_value(data).map_err(|e| Error::UnexpectedAnswer {
            operation: call.operation,
            what: scrub(&e.to_string(), &self.secrets(call)),
        })
    }

    /// Turns top-level errors into one typed error.
    pub(crate) fn top_error(&self, call: Call<'_>, errors: &[TopError]) -> Error {
        let words: Vec<&str> = errors.iter().map(|e| e.message.as_str()).collect();
        let message = scrub(&words.join("; "), &self.secrets(call));
        let executed = errors.iter().any(|e| e.path.is_some());
        classify_top(call.operation, message, executed)
    }

    /// Turns the `errors` of a mutation's payload into one typed error.
    pub(crate) fn payload_errors(&self, call: Call<'_>, errors: &[String]) -> Result<()> {
        if errors.is_empty() {
            return Ok(());
        }
        Err(classify_payload(call.operation, scrub(&errors.join("; "), &self.secrets(call))))
    }
}

/// The JSON body of a GraphQL request.
pub(crate) fn request_body(operation: &str, query: &str, variables: &Value) -> Result<Vec<u8>> {
    let body = serde_json::json!({ "operationName": operation, "query": query, "variables": variables });
    serde_json::to_vec(&body).map_err(|e| Error::Configuration { what: format!("{operation}: {e}") })
}

fn classify_top(operation: &'static str, message: String, executed: bool) -> Error {
    let says = |part: &str| message.contains(part);
    if says("you don't have permission to perform this action") || says("You don't have permission to update") {
        Error::TokenLacksRights { operation, message }
    } else if says("read-only instance") {
        Error::ReadOnly { operation, message }
    } else if says("Invalid token") {
        Error::TokenInvalid { message }
    } else if says("Internal server error") || says("Timeout on validation") || says("Request timed out") {
        Error::ServerError { operation, status: 200, message, retry_after: None }
    } else if says("was provided invalid value for id") || says("is not a valid GitLab ID") {
        Error::ModelNotFound { operation, message }
    } else if executed {
        Error::Refused { operation, message }
    } else {
        // validation happens before execution: unknown field, missing argument, unknown enum value, too complex
        Error::SchemaMismatch { operation, message }
    }
}

fn classify_payload(operation: &'static str, message: String) -> Error {
    let says = |part: &str| message.contains(part);
    if says("Name has already been taken") {
        Error::NameTaken { operation, message }
    } else if says("is incompatible with") {
        Error::IncompatibleFamily { operation, message }
    } else if says("Self-hosted model not found") {
        Error::ModelNotFound { operation, message }
    } else if says("read-only instance") {
        Error::ReadOnly { operation, message }
    } else {
        Error::Refused { operation, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitlabs_sentences_become_categories() {
        let access = "The resource that you are attempting to access does not exist or you don't have permission to perform this action";
        let top = [
            (access, true, "TokenLacksRights"),
            ("You don't have permission to update the setting ai_gateway_url.", true, "TokenLacksRights"),
            ("You cannot perform write operations on a read-only instance", true, "ReadOnlyInstance"),
            ("Internal server error", false, "ServerError"),
            ("\"x\" is not a valid GitLab ID.", false, "ModelNotFound"),
            ("Field 'provider' doesn't exist on type 'AiSelfHostedModel'", false, "SchemaMismatch"),
            (
                "Variable $input of type AiSelfHostedModelCreateInput! was provided invalid value for provider (Expected value to not be null)",
                false,
                "SchemaMismatch",
            ),
            ("Query has complexity of 301, which exceeds max complexity of 300", false, "SchemaMismatch"),
            ("Something else", true, "Refused"),
        ];
        for (message, executed, category) in top {
            assert_eq!(classify_top("Op", message.into(), executed).category(), category, "{message}");
        }
        let payload = [
            ("Name has already been taken", "NameTaken"),
            ("Name has already been taken, Endpoint is blocked: x", "NameTaken"),
            ("Codegemma is incompatible with the General Chat feature", "IncompatibleFamily"),
            ("Self-hosted model not found", "ModelNotFound"),
            ("Self hosted model can't be blank", "Refused"),
            ("Ai gateway url Host cannot be resolved or invalid", "Refused"),
        ];
        for (message, category) in payload {
            assert_eq!(classify_payload("Op", message.into()).category(), category, "{message}");
        }
    }
}

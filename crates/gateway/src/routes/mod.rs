//! The endpoints. Each file is one family of endpoints: reads the body, checks what the token may, asks the model and
//! writes the answer. Authentication, methods, limits and headers are done before, in [`crate::server`].

mod chat;
mod chat_v1;
mod code;
mod document;
mod embeddings;
mod encode;
mod monitoring;
mod pings;
mod prompts;
mod search;
mod suggestions;
mod table;
mod token;

use std::sync::Arc;

use bytes::Bytes;
use duo_protocol::contract::{CurrentCode, Invalid};
use http::{HeaderMap, StatusCode};

pub use table::{Route, elsewhere};

use crate::active::Active;
use crate::answer::{self, Answer};
use crate::app::App;
use crate::auth::Identity;
use crate::context::RequestContext;

/// A request whose caller is known.
pub struct Served {
    /// The gateway.
    pub app: Arc<App>,
    /// The configuration that this request sees.
    pub active: Arc<Active>,
    /// Its record.
    pub context: RequestContext,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Who calls.
    pub identity: Identity,
}

impl Served {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Counts the file of a code suggestion.
    pub fn count_language(&self, file: &CurrentCode, lang: &'static str) {
        self.app.metrics.prompt_language(lang, &file.file_name, file.language_identifier.as_deref());
    }

    /// Does something to a model's whole answer and counts the time it takes.
    pub fn post_processed(&self, work: impl FnOnce() -> String) -> String {
        let started = std::time::Instant::now();
        let text = work();
        self.app.metrics.post_processing(started.elapsed());
        text
    }

    /// The flags that GitLab says are on.
    pub fn feature_flags(&self) -> Vec<&str> {
        let listed = self.header("x-gitlab-enabled-feature-flags").unwrap_or_default();
        listed.split(',').map(str::trim).filter(|flag| !flag.is_empty()).collect()
    }
}

/// An answer that ends the request early.
pub(crate) struct Early(Box<Answer>);

impl From<Box<Answer>> for Early {
    fn from(answer: Box<Answer>) -> Self {
        Self(answer)
    }
}

impl From<Invalid> for Early {
    fn from(invalid: Invalid) -> Self {
        Self(Box::new(answer::invalid(&invalid)))
    }
}

fn early(status: StatusCode, text: &str) -> Early {
    Early(Box::new(answer::detail(status, text)))
}

fn forbidden(text: &str) -> Early {
    early(StatusCode::FORBIDDEN, text)
}

/// Answers a request for a public route.
pub fn public(route: &Route, app: &App) -> Answer {
    match route {
        Route::Ready => monitoring::ready(app),
        Route::ModelDefinitions => monitoring::model_definitions(),
        _ => monitoring::healthz(),
    }
}

/// Answers a request for any other route.
pub async fn serve(route: Route, served: Served) -> Answer {
    let answer = match &route {
        Route::Completions => code::completions(&served).await,
        Route::Generations => code::generations(&served).await,
        Route::SuggestionsV3 => suggestions::suggest(&served, suggestions::Version::V3).await,
        Route::SuggestionsV4 => suggestions::suggest(&served, suggestions::Version::V4).await,
        Route::ChatAgent => chat::agent(&served).await,
        Route::PromptV1(id) => prompts::invoke(&served, id, prompts::Version::V1).await,
        Route::PromptV2(id) => prompts::invoke(&served, id, prompts::Version::V2).await,
        Route::UserAccessToken => token::user_access_token(&served),
        Route::ChatV1(invokable) => chat_v1::chat(&served, invokable).await,
        Route::SearchDocs => search::gitlab_docs(&served).await,
        Route::Embeddings(purpose) => embeddings::code_embeddings(&served, *purpose).await,
        Route::OpenApi => document::openapi(),
        Route::Docs => document::docs(),
        Route::Healthz | Route::Ready | Route::ModelDefinitions => Ok(public(&route, &served.app)),
    };
    answer.unwrap_or_else(|Early(answer)| *answer)
}

/// Unix seconds.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// `2026-11-23`, in UTC.
fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

//! `POST /v1/search/gitlab-docs`: GitLab's documentation, from the index that the administrator made of it.

use duo_protocol::contract::{SearchBody, search_answer};
use http::StatusCode;

use super::{Early, Served, forbidden, now};
use crate::answer::{self, Answer};

pub(super) async fn gitlab_docs(served: &Served) -> Result<Answer, Early> {
    if !served.identity.may("documentation_search") {
        return Err(forbidden("Unauthorized to search documentations"));
    }
    let SearchBody { query, page_size } = SearchBody::parse(&served.body)?;
    served.context.note("meta.unit_primitive", "documentation_search");
    served.context.note("meta.feature_category", "duo_chat");
    let results = match served.app.docs.current() {
        // as GitLab's own gateway without its file
        None => Vec::new(),
        Some(index) => {
            let found = tokio::task::spawn_blocking(move || index.search(&query, page_size)).await;
            match found.unwrap_or_else(|_| Err(std::io::Error::other("the search was given up"))) {
                Ok(results) => results,
                // nothing found is what GitLab's chat can go on with
                Err(error) => {
                    let mut fields = served.context.fields();
                    fields.add("exception_message", error.to_string());
                    served.context.warn("The documentation index cannot be read", &fields);
                    Vec::new()
                }
            }
        }
    };
    served.context.note("docs_results", results.len());
    Ok(answer::json(StatusCode::OK, &search_answer(&results, now())))
}

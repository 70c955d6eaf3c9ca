//! `POST /v1/code/user_access_token`: a token for a user's IDE, fetched by GitLab.

use http::StatusCode;
use serde_json::json;

use super::{Early, Served, early, forbidden};
use crate::answer::{self, Answer};
use crate::auth::mint;

pub(super) fn user_access_token(served: &Served) -> Result<Answer, Early> {
    // a token made here must not make the next one, or it would live for ever
    if served.identity.minted_here || !served.identity.may("complete_code") {
        return Err(forbidden("Unauthorized to create user access token"));
    }
    match mint(&served.identity, &served.headers, &served.active.rules) {
        Ok(minted) => Ok(answer::json(
            StatusCode::OK,
            &json!({ "token": minted.token.expose(), "expires_at": minted.expires_at }),
        )),
        Err(error) => {
            served.context.note("exception_message", error.to_string());
            Err(early(StatusCode::INTERNAL_SERVER_ERROR, "Failed to generate JWT"))
        }
    }
}

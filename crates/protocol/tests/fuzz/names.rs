//! Names that come in bodies and headers: identifiers, families, endpoints, versions.

use duo_protocol::contract::{ModelMetadata, PromptBody};
use duo_protocol::family::Family;
use duo_protocol::identifier::Identifier;
use duo_protocol::language::{detect, extension};
use duo_protocol::prompts::find;
use duo_protocol::react::GitlabVersion;
use duo_protocol::{capability, vertex};
use proptest::prelude::*;
use serde_json::json;

use crate::runner::{Outcome, run};

const WORDS: &[&str] = &[
    "bedrock/",
    "custom_openai/",
    "azure/",
    "vertex_ai/",
    "anthropic/",
    "/",
    ":",
    ".",
    "us.",
    "anthropic.claude-",
    "opus-4-7",
    "sonnet-",
    "gpt-5",
    "o3",
    "http://",
    "https://",
    "@",
    "[::1]",
    "..",
    "%2F",
    " ",
    "\t",
    "\u{0}",
    "é",
    "?",
    "#",
    "v1/",
    "mixtral",
    "general",
    "18.9",
    "-pre",
    "99999999999",
];

fn check(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    for family in Family::ALL {
        if let Ok(identifier) = Identifier::parse(&text) {
            prop_assert!(!identifier.model.is_empty());
            // the normal form names the same model
            let normal = identifier.to_string();
            prop_assert_eq!(Identifier::parse(&normal).ok().map(|again| again.to_string()), Some(normal));
            let capability = capability::of(&identifier, family);
            prop_assert!(capability.most_stops <= 16 && capability.most_tokens != Some(0));
            let _ = (vertex::door(&identifier.model), vertex::body_model(&identifier.model));
        }
    }
    if let Ok(family) = Family::parse(&text) {
        prop_assert!(Family::parse(family.as_str()) == Ok(family));
    }
    let _ = (GitlabVersion::parse(&text), detect(&text, Some(&text)), extension(&text));
    if let Err(error) = find(&text) {
        prop_assert!(error.to_string().chars().count() < 200);
    }
    endpoint(&text)
}

fn endpoint(text: &str) -> Outcome {
    let metadata = |endpoint: &str| -> ModelMetadata {
        let body = json!({"inputs": {}, "model_metadata": {
            "provider": "openai", "name": "mistral", "identifier": "custom_openai/m", "endpoint": endpoint,
        }});
        PromptBody::parse(body.to_string().as_bytes()).unwrap().metadata.unwrap()
    };
    if text.chars().count() > 255 {
        return Ok(());
    }
    let Ok(selection) = metadata(text).select() else { return Ok(()) };
    let Some(url) = selection.endpoint else { return Ok(()) };
    prop_assert!(url.starts_with("http://") || url.starts_with("https://"), "{url}");
    prop_assert!(!url.ends_with('/'));
    let again = metadata(&url).select().unwrap();
    prop_assert_eq!(again.endpoint, Some(url));
    Ok(())
}

#[test]
fn names_and_endpoints() {
    run("names", WORDS, check);
}

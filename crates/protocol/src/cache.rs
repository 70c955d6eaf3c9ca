//! Where a long prompt's stable beginning ends, for providers that keep it between calls.
//!
//! Two marks at most (providers take four): behind the instructions, and behind the last turn before the newest
//! question, which the next turn of the same conversation repeats word for word. A mark on a beginning that is shorter
//! than the model's minimum is not set: it would do nothing.

use crate::budget::estimate;
use crate::capability::Capability;
use crate::model::{ModelRequest, Role};

/// The marks of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheMarks {
    /// Behind the system message.
    pub system: bool,
    /// Behind the message of this index in [`ModelRequest::messages`].
    pub message: Option<usize>,
}

/// The marks of a request that has been fitted to `capability`; none where the model keeps nothing.
pub fn marks(request: &ModelRequest, capability: &Capability) -> CacheMarks {
    let Some(least) = capability.prompt_cache else { return CacheMarks::default() };
    let least = least as usize;
    let mut read = 0;
    let mut marks = CacheMarks::default();
    let newest = request.messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
    for (at, message) in request.messages.iter().enumerate() {
        read += estimate(&message.content);
        match message.role {
            Role::System => marks.system = read >= least,
            _ if at < newest && read >= least => marks.message = Some(at),
            _ => {}
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::identifier::Identifier;
    use crate::model::ChatMessage;

    fn marked(model: &str, messages: Vec<ChatMessage>) -> CacheMarks {
        let request = ModelRequest {
            messages,
            max_tokens: 1,
            temperature: None,
            top_p: None,
            stop: vec![],
            fim: None,
            continue_final_message: false,
        };
        let identifier = Identifier::parse(model).unwrap();
        marks(&request, &crate::capability::of(&identifier, Family::Claude3))
    }

    const SONNET_4: &str = "bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0";

    #[test]
    fn a_beginning_is_marked_when_the_model_keeps_it_and_it_is_long_enough() {
        let long = "word ".repeat(2000);
        let (system, user, assistant) = (ChatMessage::system, ChatMessage::user, ChatMessage::assistant);
        let cases = [
            (vec![system(long.as_str()), user("q")], CacheMarks { system: true, message: None }),
            (vec![system("short"), user("q")], CacheMarks::default()),
            // what is asked for the first time is not marked: nobody will ask it again
            (vec![system("short"), user(long.as_str())], CacheMarks::default()),
            (
                vec![system("short"), user(long.as_str()), assistant("a"), user("q")],
                CacheMarks { system: false, message: Some(2) },
            ),
            (
                vec![system(long.as_str()), user("p"), assistant("a"), user("q"), assistant("Thought:")],
                CacheMarks { system: true, message: Some(2) },
            ),
        ];
        for (messages, wanted) in cases {
            assert_eq!(marked(SONNET_4, messages.clone()), wanted, "{messages:?}");
            let refusing = "bedrock/mistral.mixtral-8x7b-instruct-v0:1";
            assert_eq!(marked(refusing, messages), CacheMarks::default(), "a model without a cache refuses marks");
        }
    }
}

//! Turns of the chat: the same lines wherever the text is cut, each a single line of JSON, at least one.

use duo_protocol::contract::AgentEvent;
use duo_protocol::family::Family;
use duo_protocol::model::StopReason;
use duo_protocol::react::{GitlabVersion, TurnParser, offered};
use proptest::prelude::*;

use crate::runner::{Outcome, run, seed, text_pieces};

const WORDS: &[&str] = &[
    "Thought:",
    "Action:",
    "Action Input:",
    "Final Answer:",
    "Observation:",
    "DirectAnswer",
    "issue_reader",
    "issue\\_reader",
    "IssueReader",
    "**",
    "`",
    "\\",
    "\\_",
    "_",
    "<think>",
    "</think>",
    "<th",
    "\n",
    "\r\n",
    " ",
    "{",
    "}",
    "\"",
    "€",
    "😀",
    "\u{0}",
    "\u{2028}",
    "Final",
    " Answer:",
    "Action",
    ":",
];

/// What GitLab makes of a turn: the answer's pieces joined.
fn turn(family: Family, pieces: &[String]) -> Result<(String, Vec<AgentEvent>), TestCaseError> {
    let tools = offered(|_| true, GitlabVersion::parse("18.9"), true);
    let mut parser = TurnParser::new(family, &tools);
    let mut events = Vec::new();
    for piece in pieces {
        let more = parser.push(piece);
        let pieces_only = more.iter().all(|event| matches!(event, AgentEvent::FinalAnswerDelta { .. }));
        prop_assert!(pieces_only);
        events.extend(more);
    }
    events.extend(parser.finish(Some(&StopReason::EndTurn)));
    let (mut answer, mut others) = (String::new(), Vec::new());
    for event in events {
        let line = event.to_line();
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        match event {
            AgentEvent::FinalAnswerDelta { text, finish_reason } => {
                prop_assert!(finish_reason.is_none() != text.is_empty(), "the last piece alone is empty");
                answer.push_str(&text);
                others.extend(
                    finish_reason.map(|reason| AgentEvent::FinalAnswerDelta {
                        text: String::new(),
                        finish_reason: Some(reason),
                    }),
                );
            }
            other => others.push(other),
        }
    }
    Ok((answer, others))
}

fn check(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input).into_owned();
    for family in [Family::Claude3, Family::Qwen, Family::Mixtral] {
        let whole = turn(family, std::slice::from_ref(&text))?;
        prop_assert_eq!(whole.1.len(), 1, "one line closes the turn");
        prop_assert!(!whole.0.starts_with(char::is_whitespace));
        prop_assert_eq!(turn(family, &text_pieces(&text, seed(input)))?, whole.clone());
        let letters: Vec<String> = text.chars().map(String::from).collect();
        prop_assert_eq!(turn(family, &letters)?, whole);
    }
    Ok(())
}

#[test]
fn chat_turns() {
    run("react", WORDS, check);
}

#[test]
fn a_thought_without_end_is_cut() {
    let tools = offered(|_| true, None, false);
    let mut parser = TurnParser::new(Family::Claude3, &tools);
    let piece = "Thought: and on ".repeat(4096);
    for _ in 0..256 {
        assert_eq!(parser.push(&piece), []);
    }
    let events = parser.finish(None);
    let length: usize = events.iter().map(|event| event.to_line().len()).sum();
    assert!((1..1 << 20).contains(&length), "{length} bytes were kept of 16 MiB");
}

//! Reads a turn of the model as it streams in and gives out GitLab's events.

use super::think::ThinkFilter;
use super::tools::Tool;
use crate::contract::AgentEvent;
use crate::family::Family;
use crate::model::StopReason;
use crate::postprocess::Unescape;

const FINAL: &str = "Final Answer:";
const ACTION: &str = "Action:";
const INPUT: &str = "Action Input:";
const THOUGHT: &str = "Thought:";
/// Thoughts longer than this many bytes are cut: memory stays bounded whatever the model does.
const LONGEST_THOUGHT: usize = 256 * 1024;

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Gathering until it is clear what this turn is.
    Open,
    /// `Final Answer:` was seen, but nothing visible yet. `bold`: it was written `**Final Answer:**`.
    Lead { bold: bool },
    /// Passing the answer on.
    Answer,
    /// The model went on past `Observation:`; the rest is its own invention.
    Closed,
}

/// The parser of one turn. `Final Answer:` wins over an action; else both `Action:` and `Action Input:` make an action;
/// else all is `unknown`. The joined answer does not depend on where the pieces are cut.
#[derive(Debug)]
pub struct TurnParser {
    unescape: Unescape,
    think: ThinkFilter,
    text: String,
    state: State,
    tools: Vec<&'static str>,
}

impl TurnParser {
    /// A parser for a turn that offered `tools`.
    pub fn new(family: Family, tools: &[&'static Tool]) -> Self {
        TurnParser {
            unescape: Unescape::new(true),
            think: ThinkFilter::new(family == Family::Qwen),
            text: String::new(),
            state: State::Open,
            tools: tools.iter().map(|tool| tool.name).collect(),
        }
    }

    /// Takes a piece of the model's text; returns `final_answer_delta` events with visible text as early as it is safe.
    pub fn push(&mut self, piece: &str) -> Vec<AgentEvent> {
        let piece = self.think.push(piece);
        let piece = self.unescape.push(&piece);
        self.take(&piece)
    }

    /// Whether the turn is decided and nothing more will be read, so that the model can be stopped: it has begun to
    /// invent an observation.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// The stream has ended properly: the events that close the turn, at least one.
    pub fn finish(mut self, stop: Option<&StopReason>) -> Vec<AgentEvent> {
        let rest = self.think.finish();
        let rest = self.unescape.push(&rest) + &self.unescape.finish();
        let mut out = self.take(&rest);
        let last = AgentEvent::FinalAnswerDelta {
            text: String::new(),
            finish_reason: Some(stop.map_or("stop", StopReason::as_openai).to_owned()),
        };
        if matches!(self.state, State::Answer | State::Lead { .. }) {
            // a single asterisk that was no mark
            if self.state != State::Answer && self.text.trim() == "*" {
                out.extend(delta("*"));
            }
            out.push(last);
            return out;
        }
        match action(&self.text) {
            Some(found) if is_direct(found.tool) => {
                out.push(AgentEvent::FinalAnswerDelta { text: found.input.to_owned(), finish_reason: None });
                out.push(last);
            }
            Some(found) => out.push(match self.tools.iter().find(|name| same_tool(name, found.tool)) {
                Some(name) => AgentEvent::Action {
                    tool: (*name).to_owned(),
                    tool_input: found.input.to_owned(),
                    thought: found.thought.to_owned(),
                },
                None => AgentEvent::tool_not_available(),
            }),
            None => out.push(AgentEvent::Unknown { text: self.text.trim().to_owned() }),
        }
        out
    }

    fn take(&mut self, piece: &str) -> Vec<AgentEvent> {
        if piece.is_empty() {
            return Vec::new();
        }
        match self.state {
            State::Closed => return Vec::new(),
            State::Answer | State::Lead { .. } => {}
            State::Open if self.text.len() > LONGEST_THOUGHT => return Vec::new(),
            State::Open => {
                // a marker may have begun in an earlier piece
                let mut from = self.text.len().saturating_sub(FINAL.len());
                while !self.text.is_char_boundary(from) {
                    from -= 1;
                }
                self.text.push_str(piece);
                let ends = observation(&self.text, from);
                let answers = self.text[from..].find(FINAL).map(|at| from + at);
                match (ends, answers) {
                    (Some(end), answers) if answers.is_none_or(|at| end < at) => {
                        self.text.truncate(end);
                        self.state = State::Closed;
                        return Vec::new();
                    }
                    (_, Some(at)) => {
                        self.state = State::Lead { bold: self.text[..at].ends_with("**") };
                        let answer = self.text.split_off(at + FINAL.len());
                        self.text.clear();
                        return self.answer(&answer);
                    }
                    _ => return Vec::new(),
                }
            }
        }
        self.answer(piece)
    }

    /// A piece of the answer: its leading blanks go, and the asterisks that belong to a bold `Final Answer:`.
    fn answer(&mut self, piece: &str) -> Vec<AgentEvent> {
        let State::Lead { bold } = self.state else { return delta(piece) };
        self.text.push_str(piece);
        let lead = self.text.trim_start();
        let answer = match lead.strip_prefix("**") {
            Some(rest) if bold => rest.trim_start(),
            _ if bold && "**".starts_with(lead) => "",
            _ => lead,
        };
        if answer.is_empty() {
            // blanks are not kept
            self.text = lead.trim_end().to_owned();
            return Vec::new();
        }
        let events = delta(answer);
        self.text.clear();
        self.state = State::Answer;
        events
    }
}

/// A piece of the answer as an event, unless it is empty.
fn delta(text: &str) -> Vec<AgentEvent> {
    if text.is_empty() {
        return Vec::new();
    }
    vec![AgentEvent::FinalAnswerDelta { text: text.to_owned(), finish_reason: None }]
}

/// Where a line beginning with `Observation:` starts, at or after `from`.
fn observation(text: &str, from: usize) -> Option<usize> {
    let marker = super::OBSERVATION;
    text[from..]
        .match_indices(marker)
        .map(|(at, _)| from + at)
        .find(|at| text[..*at].trim_end_matches([' ', '\t']).chars().next_back().is_none_or(|c| c == '\n'))
}

struct Found<'a> {
    thought: &'a str,
    tool: &'a str,
    input: &'a str,
}

fn action(text: &str) -> Option<Found<'_>> {
    let input_at = text.find(INPUT)?;
    let head = &text[..input_at];
    let action_at = head.rfind(ACTION)?;
    let decoration = |c: char| c.is_whitespace() || matches!(c, '*' | '`' | '"' | '\'' | '[' | ']');
    let thought = text[..action_at].trim_end_matches(decoration).trim_start();
    let thought = thought.strip_prefix(THOUGHT).unwrap_or(thought).trim();
    let tool = head[action_at + ACTION.len()..].trim_matches(decoration).lines().next().unwrap_or_default();
    let input = text[input_at + INPUT.len()..].trim_start_matches("**").trim();
    Some(Found { thought, tool: tool.trim_matches(decoration), input })
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Models write `IssueReader` or `issue reader` for `issue_reader`.
fn same_tool(name: &str, written: &str) -> bool {
    plain(name) == plain(written)
}

fn is_direct(tool: &str) -> bool {
    plain(tool) == "directanswer"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::react::{GitlabVersion, offered};

    fn run(family: Family, pieces: &[&str]) -> Vec<AgentEvent> {
        let tools = offered(|_| true, GitlabVersion::parse("18.9"), true);
        let mut parser = TurnParser::new(family, &tools);
        let mut out: Vec<AgentEvent> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
        out.extend(parser.finish(Some(&StopReason::EndTurn)));
        out
    }

    /// Joins the pieces of the answer: what GitLab makes of the events.
    fn folded(events: Vec<AgentEvent>) -> Vec<AgentEvent> {
        let mut out: Vec<AgentEvent> = Vec::new();
        for event in events {
            match (out.last_mut(), event) {
                (
                    Some(AgentEvent::FinalAnswerDelta { text, finish_reason }),
                    AgentEvent::FinalAnswerDelta { text: more, finish_reason: reason },
                ) => {
                    text.push_str(&more);
                    *finish_reason = reason;
                }
                (_, event) => out.push(event),
            }
        }
        out
    }

    fn answer(text: &str) -> AgentEvent {
        AgentEvent::FinalAnswerDelta { text: text.into(), finish_reason: Some("stop".into()) }
    }

    fn act(thought: &str, tool: &str, input: &str) -> AgentEvent {
        AgentEvent::Action { thought: thought.into(), tool: tool.into(), tool_input: input.into() }
    }

    #[test]
    fn turns_of_models() {
        let table = [
            ("Thought: I know.\nAction: DirectAnswer\nFinal Answer: 42", answer("42")),
            (" I know.\nFinal Answer:\n\n  A `b` c\nd ", answer("A `b` c\nd ")),
            ("Thought: look\nAction: issue_reader\nAction Input: #12", act("look", "issue_reader", "#12")),
            (" look\nAction: IssueReader\nAction Input: #12\n", act("look", "issue_reader", "#12")),
            ("Thought: x\n**Action:** `issue reader`\n**Action Input:** #1", act("x", "issue_reader", "#1")),
            ("Thought: x\nAction: epic\\_reader\nAction Input: a\\_b", act("x", "epic_reader", "a_b")),
            ("Action: issue_reader\nAction Input: 1\nFinal Answer: wins", answer("wins")),
            ("Action: DirectAnswer\nAction Input: hello", answer("hello")),
            ("Thought: x\nAction: rm_rf\nAction Input: /", AgentEvent::tool_not_available()),
            ("Thought: x\nAction: work_item_reader\nAction Input: 1", AgentEvent::tool_not_available()),
            ("Action: issue_reader", AgentEvent::Unknown { text: "Action: issue_reader".into() }),
            (" just talk\n", AgentEvent::Unknown { text: "just talk".into() }),
            ("", AgentEvent::Unknown { text: String::new() }),
            ("<think>Final Answer: no</think>Final Answer: yes", answer("yes")),
            ("Final Answer: ends in \\", answer("ends in \\")),
            ("**Final Answer:** 42", answer("42")),
            ("**Final Answer: 42**", answer("42**")),
            ("Final Answer: **42**", answer("**42**")),
            ("**Final Answer:** \n ", answer("")),
            ("**Final Answer:***", answer("*")),
            ("Thought: Action: x\nAction: issue_reader\nAction Input: 1", act("Action: x", "issue_reader", "1")),
            ("Action:\nissue_reader\nAction Input:\n{\"a\": 1}", act("", "issue_reader", "{\"a\": 1}")),
            ("Final Answer:", answer("")),
        ];
        for (text, wanted) in table {
            assert_eq!(folded(run(Family::Claude3, &[text])), [wanted], "{text:?}");
        }
    }

    #[test]
    fn trap_a_model_without_stop_sequences_must_not_invent_the_observation() {
        let text = "Thought: t\nAction: issue_reader\nAction Input: #1\nObservation: invented\nFinal Answer: wrong";
        assert_eq!(run(Family::Gpt, &[text]), [act("t", "issue_reader", "#1")]);
    }

    #[test]
    fn the_answer_goes_out_piece_by_piece() {
        let pieces = ["Thought: x\nFinal An", "swer:", " ", "Hel", "lo\\", "_you"];
        let events = run(Family::Mistral, &pieces);
        let texts: Vec<&str> = events
            .iter()
            .map(|e| if let AgentEvent::FinalAnswerDelta { text, .. } = e { text.as_str() } else { "?" })
            .collect();
        assert_eq!(texts, ["Hel", "lo", "_you", ""]);
    }

    fn chunks<'a>(text: &'a str, cuts: &[usize]) -> Vec<&'a str> {
        let mut out = Vec::new();
        let mut rest = text;
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let at = rest.char_indices().nth(*cut).map_or(rest.len(), |(at, _)| at);
            let (chunk, tail) = rest.split_at(at);
            out.push(chunk);
            rest = tail;
        }
        out
    }

    proptest! {
        #[test]
        fn the_events_do_not_depend_on_the_pieces(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("Thought:"), Just("Action:"), Just("Action Input:"), Just("Final Answer:"), Just("Observation:"),
                    Just("issue_reader"), Just("\n"), Just(" "), Just("\\_"), Just("\\"), Just("é€"), Just("Fin"),
                    Just("<think>"), Just("</think>"), Just("DirectAnswer"), Just("text that is somewhat longer"),
                ],
                0..25,
            ),
            cuts in proptest::collection::vec(1usize..9, 1..20),
            qwen in any::<bool>(),
        ) {
            let family = if qwen { Family::Qwen } else { Family::Claude3 };
            let text = parts.concat();
            let whole = folded(run(family, &[&text]));
            prop_assert_eq!(folded(run(family, &chunks(&text, &cuts))), whole);
        }

        #[test]
        fn any_text_gives_events_that_are_single_lines(pieces in proptest::collection::vec(".{0,30}", 0..8)) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let events = run(Family::Qwen, &pieces);
            prop_assert!(!events.is_empty());
            for event in events {
                let line = event.to_line();
                prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
            }
        }
    }
}

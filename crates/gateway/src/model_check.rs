//! Checks of models that the operator asks for: a tiny request of the gateway's own, with the time that a user's request
//! has. GitLab's connection check waits 3 s only, so that it cannot tell a slow model from a broken one.
//!
//! One check of a model at a time, few at once, and a pause between two of one model: nobody can spend tokens with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use duo_protocol::build::{ChatTurn, chat_agent_request, prompt_request};
use duo_protocol::contract::AgentBody;
use duo_protocol::model::ModelRequest;
use duo_protocol::prompts::{Prompt, find};
use duo_protocol::react::offered;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::app::App;
use crate::inference::{self, Checked};
use crate::upstream::Place;

/// Between the end of a check and the beginning of the next one of the same model.
const PAUSE: Duration = Duration::from_secs(1);
/// Checks at a time, of all models.
const AT_ONCE: usize = 8;
/// An answer need not be longer to show that there is one.
const TOKENS: u32 = 16;

/// What is known of the checks of all models.
#[derive(Debug, Default)]
pub struct ModelChecks(Mutex<HashMap<String, Check>>);

/// Checks of one model, or of one feature of it.
#[derive(Debug)]
struct Check {
    /// Turns true when the running one is over; `None` while none runs.
    running: Option<watch::Receiver<bool>>,
    last: Option<(Instant, Done)>,
}

/// A check that is over.
#[derive(Clone, Debug)]
struct Done {
    checked: Checked,
    took: Duration,
}

/// Why no check is made.
#[derive(Debug, PartialEq, Eq)]
pub enum NotChecked {
    /// The configuration has no such model.
    NoSuchModel,
    /// There is no request of this name.
    NoSuchFeature,
    /// Too many at once.
    Busy,
}

/// Checks a model with the request of a feature, or with that of GitLab's connection check, in the background; waits for
/// its end at most so long. One that runs already, or was over a moment ago, is not made again.
///
/// # Errors
/// [`NotChecked`].
pub async fn check(app: &Arc<App>, model: &str, feature: Option<&str>, wait: Duration) -> Result<Value, NotChecked> {
    let question = question_of(feature).ok_or(NotChecked::NoSuchFeature)?;
    if !app.active().directory.models.values().any(|declared| *declared.name == *model) {
        return Err(NotChecked::NoSuchModel);
    }
    let key = key(model, feature);
    if let Some(over) = app.checks.begin(&key)? {
        let (app, model, key) = (app.clone(), model.to_owned(), key.clone());
        // dropped with `over` whatever happens, so that nobody waits for ever
        tokio::spawn(async move {
            let started = Instant::now();
            let active = app.active();
            let Some(target) = active.directory.models.values().find(|declared| *declared.name == *model) else {
                app.checks.end(&key, None);
                return drop(over);
            };
            let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
            let ask = |place: &Place| -> ModelRequest {
                let mut request = question.ask(place, &date);
                request.max_tokens = request.max_tokens.min(TOKENS);
                request
            };
            let checked = inference::check(&app, &active, target, ask).await;
            app.checks.end(&key, Some(Done { checked, took: started.elapsed() }));
            let _ = over.send(true);
        });
    }
    let running = app.checks.lock().get(&key).and_then(|check| check.running.clone());
    if let Some(mut running) = running {
        let _ = tokio::time::timeout(wait, running.wait_for(|over| *over)).await;
    }
    Ok(app.checks.lock().get(&key).map(shown).unwrap_or_default())
}

/// A model's entry: its name, and the feature's behind it.
fn key(model: &str, feature: Option<&str>) -> String {
    feature.map_or_else(|| model.to_owned(), |feature| format!("{model}/{feature}"))
}

/// What a model is asked.
enum Question {
    /// A prompt with its inputs.
    Prompt(&'static Prompt, Map<String, Value>),
    /// A turn of the chat.
    Chat(AgentBody),
}

impl Question {
    fn ask(&self, place: &Place, date: &str) -> ModelRequest {
        match self {
            Self::Prompt(prompt, inputs) => prompt_request(prompt, &inputs.clone().into(), place.family, date),
            Self::Chat(body) => {
                let tools = offered(|_| true, None, false);
                let turn =
                    ChatTurn { family: place.family, capability: &place.capability, tools: &tools, current_date: date };
                chat_agent_request(body, &turn)
            }
        }
    }
}

/// What a feature's users ask: its own prompt with instructions, roles and prefill as they are, about something small.
/// Without a feature, or for one that has no prompt here (those of the Agent Platform), what GitLab's connection check
/// asks.
fn question_of(feature: Option<&str>) -> Option<Question> {
    let prompt = |id: &str, inputs: Value| {
        let inputs = inputs.as_object().cloned().unwrap_or_default();
        find(id).ok().map(|prompt| Question::Prompt(prompt, inputs))
    };
    let check = || prompt("model_configuration/check", json!({}));
    let Some(feature) = feature else { return check() };
    if feature.len() > 64 || !feature.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return None;
    }
    let code = json!({
        "prefix": "def hello\n  puts ", "suffix": "\nend\n", "file_name": "hello.rb", "language": "ruby",
        "user_instruction": "Print a greeting",
    });
    match feature {
        "code_completions" => return prompt("code_suggestions/completions", code),
        "code_generations" => return prompt("code_suggestions/generations", code),
        "duo_chat" => {
            let body = json!({"messages": [{"role": "user", "content": "Answer with one word: ready"}]});
            return AgentBody::parse(body.to_string().as_bytes()).ok().map(Question::Chat);
        }
        _ => {}
    }
    let id = match feature.strip_prefix("duo_chat_") {
        Some(command) => format!("chat/{command}"),
        None => feature.to_owned(),
    };
    let Ok(found) = find(&id) else { return check() };
    let inputs = found.base.template.inputs().into_iter().map(|name| (name.to_owned(), "puts 1".into())).collect();
    Some(Question::Prompt(found, inputs))
}

impl ModelChecks {
    /// Takes note that a check begins; `None` when it need not.
    fn begin(&self, key: &str) -> Result<Option<watch::Sender<bool>>, NotChecked> {
        let mut all = self.lock();
        if all.values().filter(|check| check.running.is_some()).count() >= AT_ONCE {
            return Err(NotChecked::Busy);
        }
        let check = all.entry(key.to_owned()).or_insert(Check { running: None, last: None });
        let recent = check.last.as_ref().is_some_and(|(at, _)| at.elapsed() < PAUSE);
        if check.running.is_some() || recent {
            return Ok(None);
        }
        let (over, running) = watch::channel(false);
        check.running = Some(running);
        Ok(Some(over))
    }

    fn end(&self, key: &str, done: Option<Done>) {
        let mut all = self.lock();
        let Some(done) = done else {
            all.remove(key);
            return;
        };
        if let Some(check) = all.get_mut(key) {
            check.running = None;
            check.last = Some((Instant::now(), done));
        }
    }

    /// All of them for the operator, by name; those of models that are declared no more are forgotten.
    pub fn shown(&self, declared: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
        let mut all = self.lock();
        all.retain(|key, check| check.running.is_some() || declared(key.split('/').next().unwrap_or_default()));
        all.iter().map(|(key, check)| (key.clone(), shown(check))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Check>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(check: &Check) -> Value {
    let mut value = json!({ "running": check.running.is_some() });
    if let Some((at, Done { checked, took })) = &check.last {
        let (outcome, class) = match checked {
            Checked::Answered => ("answered", None),
            Checked::Unclear(class) => ("unclear", Some(class)),
            Checked::Failed(class) => ("failed", Some(class)),
        };
        value["outcome"] = outcome.into();
        value["class"] = class.copied().into();
        value["milliseconds"] = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into();
        value["age_seconds"] = at.elapsed().as_secs().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_check_of_a_model_at_a_time_and_few_of_all() {
        let checks = ModelChecks::default();
        let over = checks.begin("a").unwrap();
        assert!(over.is_some());
        assert!(checks.begin("a").unwrap().is_none(), "it runs");
        checks.end("a", Some(Done { checked: Checked::Answered, took: Duration::from_secs(8) }));
        assert!(checks.begin("a").unwrap().is_none(), "it is over since a moment");
        let all = checks.shown(|_| true);
        assert_eq!(
            (all[0].0.as_str(), &all[0].1["outcome"], &all[0].1["milliseconds"]),
            ("a", &json!("answered"), &json!(8000))
        );
        let running: Vec<_> = (0..AT_ONCE).map(|n| checks.begin(&n.to_string()).unwrap()).collect();
        assert_eq!(checks.begin("one more").unwrap_err(), NotChecked::Busy);
        drop(running);
        assert!(checks.shown(|_| false).iter().all(|(key, _)| key != "a"), "it is declared no more");
    }

    #[test]
    fn a_feature_is_asked_for_as_its_users_ask() {
        let id = |feature| match question_of(feature) {
            Some(Question::Prompt(prompt, _)) => Some(prompt.id),
            Some(Question::Chat(_)) => Some("a turn of the chat"),
            None => None,
        };
        assert_eq!(id(None), Some("model_configuration/check"));
        assert_eq!(id(Some("duo_chat")), Some("a turn of the chat"));
        assert_eq!(id(Some("code_completions")), Some("code_suggestions/completions"));
        assert_eq!(id(Some("code_generations")), Some("code_suggestions/generations"));
        assert_eq!(id(Some("duo_chat_explain_code")), Some("chat/explain_code"));
        assert_eq!(id(Some("review_merge_request")), Some("review_merge_request"));
        assert_eq!(id(Some("duo_agent_platform")), Some("model_configuration/check"), "it has no prompt here");
        assert_eq!(id(Some("../x")), None);
    }
}

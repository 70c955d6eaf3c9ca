//! Whether users' calls of a model are answered: by what each gateway pod counted, and by checks of its own with a user's
//! time.
//!
//! GitLab's health check never calls a model, and its connection check gives up after 3 s: neither sees a model that
//! breaks after it was verified, or one that hangs.

use duo_api::Feature;
use duo_api::condition::{MODEL_SERVING, SYNTHETIC_REQUESTS_PASSED};

use crate::conditions::Finding;

/// What one ready pod tells of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// The last call of it failed.
    pub failing: Option<Failing>,
    /// Its own check.
    pub check: Option<Check>,
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// `timeout`, `unavailable`, or the model server's status.
    pub class: String,
}

/// A pod's own check of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It has not ended yet.
    Running,
    /// The model answered.
    Answered {
        /// How long it took.
        milliseconds: u64,
        /// How long ago it ended.
        age_seconds: u64,
    },
    /// It ended in a way that says nothing: the model is throttled, or does not like the request.
    Unclear {
        /// Of the failure.
        class: String,
        /// How long ago it ended.
        age_seconds: u64,
    },
    /// The model did not answer.
    Failed {
        /// Of the failure.
        class: String,
        /// How long ago it ended.
        age_seconds: u64,
    },
}

/// A check that is older says nothing about now.
const CHECK_COUNTS_SECONDS: u64 = 24 * 3600;

/// How many pods have a model in force as it is declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Pods that told which models they have.
    pub told: usize,
    /// Those among them that have this one as it is declared.
    pub have: usize,
}

/// The reason while a ready pod lacks the model as it is declared: its users are refused there.
pub const NOT_IN_FORCE: &str = "NotInForceYet";

/// Whether a pod's view is a failure of users: its last call failed. A check that passes takes that back in the pod.
pub fn fails(view: &PodView) -> bool {
    view.failing.is_some()
}

/// Whether the model serves its users. `views`: of all ready pods that count.
pub fn serving(views: &[PodView], in_force: InForce) -> Finding {
    if in_force.have < in_force.told && !views.iter().any(fails) {
        let text = format!(
            "{} of {} ready gateway pods have the model as it is declared; the others take it over within seconds",
            in_force.have, in_force.told
        );
        return Finding::unknown(MODEL_SERVING, NOT_IN_FORCE, text);
    }
    if views.is_empty() {
        return Finding::unknown(MODEL_SERVING, "NotCounted", "No ready gateway pod tells what became of users' calls");
    }
    let failing: Vec<&str> = views.iter().filter_map(|view| Some(view.failing.as_ref()?.class.as_str())).collect();
    if let Some(class) = failing.first() {
        return Finding::fails(
            MODEL_SERVING,
            "UpstreamFailing",
            format!(
                "The last call of the model failed in {} of {} gateway pods: {}; it is checked until it answers",
                failing.len(),
                views.len(),
                told(class)
            ),
        );
    }
    let answered = views.iter().any(
        |view| matches!(view.check, Some(Check::Answered { age_seconds, .. }) if age_seconds <= CHECK_COUNTS_SECONDS),
    );
    if answered {
        return Finding::holds(MODEL_SERVING, "CheckPassed", "The model answered the gateway's own check");
    }
    Finding::holds(MODEL_SERVING, "NoFailure", "No gateway pod's last call of the model failed")
}

/// The model server refuses the request itself: its form, or its length.
const REFUSED: [&str; 3] = ["400", "413", "422"];

/// A class of failures in words.
fn told(class: &str) -> String {
    match class {
        "timeout" => "no answer in time".to_owned(),
        "unavailable" => "the server cannot be reached".to_owned(),
        "stream_broken" => "the answer broke off".to_owned(),
        "protocol" => "the answer is none that can be read".to_owned(),
        code => format!("the model server answered {code}"),
    }
}

/// Whether the model answered the last request for each feature: what one pod tells of each, newest first.
pub fn synthetic(features: &[(Feature, Option<Check>)]) -> Finding {
    let failed: Vec<String> = features
        .iter()
        .filter_map(|(feature, check)| match check {
            Some(Check::Failed { class, .. }) => Some(format!("{feature}: {}", told(class))),
            // Of a user's request it says nothing; this one is the feature's own prompt.
            Some(Check::Unclear { class, .. }) if REFUSED.contains(&class.as_str()) => {
                Some(format!("{feature}: {}; the model does not take the feature's prompt", told(class)))
            }
            _ => None,
        })
        .collect();
    if !failed.is_empty() {
        let text = format!("Requests of our own were not answered: {}", failed.join("; "));
        return Finding::fails(SYNTHETIC_REQUESTS_PASSED, "RequestFailed", text);
    }
    let open: Vec<String> = features
        .iter()
        .filter(|(_, check)| !matches!(check, Some(Check::Answered { .. })))
        .map(|(feature, _)| feature.to_string())
        .collect();
    if open.is_empty() {
        return Finding::holds(SYNTHETIC_REQUESTS_PASSED, "Answered", "The model answered a request for each feature");
    }
    Finding::unknown(SYNTHETIC_REQUESTS_PASSED, "NoAnswerYet", format!("No answer yet for {}", open.join(", ")))
}

#[cfg(test)]
mod tests {
    use duo_api::ConditionStatus::{False, True, Unknown};

    use super::*;

    fn view(failing: Option<&str>, check: Option<Check>) -> PodView {
        PodView { failing: failing.map(|class| Failing { class: class.into() }), check }
    }

    #[test]
    fn one_pod_whose_last_call_failed_is_enough() {
        let answered = |age_seconds| Some(Check::Answered { milliseconds: 8_000, age_seconds });
        let failed = Some(Check::Failed { class: "503".into(), age_seconds: 1 });
        let cases = [
            (vec![], Unknown, "NotCounted", "No ready gateway pod"),
            (vec![view(None, None), view(None, None)], True, "NoFailure", ""),
            (vec![view(None, None), view(Some("timeout"), None)], False, "UpstreamFailing", "1 of 2"),
            (vec![view(Some("timeout"), Some(Check::Running))], False, "UpstreamFailing", "no answer in time"),
            (vec![view(Some("503"), failed)], False, "UpstreamFailing", "answered 503"),
            (vec![view(None, answered(10)), view(None, None)], True, "CheckPassed", ""),
            (vec![view(None, answered(86_400))], True, "CheckPassed", ""),
            (vec![view(None, answered(86_401))], True, "NoFailure", ""),
            (vec![view(Some("403"), answered(10))], False, "UpstreamFailing", "403"),
        ];
        for (views, status, reason, words) in cases {
            assert_eq!(views.iter().any(fails), status == False, "{views:?}");
            let finding = serving(&views, InForce { told: 2, have: 2 });
            assert_eq!((finding.status, finding.reason), (status, reason), "{views:?}");
            assert!(finding.message.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn each_pod_has_to_have_the_model_as_it_is_declared() {
        let two = [view(None, None), view(None, None)];
        let some = serving(&two, InForce { told: 2, have: 1 });
        assert_eq!((some.status, some.reason), (Unknown, NOT_IN_FORCE));
        assert!(some.message.starts_with("1 of 2 ready gateway pods"), "{some:?}");
        // what failed before the change still fails users
        let failing = serving(&[view(Some("503"), None)], InForce { told: 1, have: 0 });
        assert_eq!((failing.status, failing.reason), (False, "UpstreamFailing"));
        // a gateway of before tells nothing of it
        assert_eq!(serving(&two, InForce::default()).status, True);
    }

    #[test]
    fn every_feature_has_to_be_answered() {
        let answered = || Some(Check::Answered { milliseconds: 100, age_seconds: 5 });
        let failed = || Some(Check::Failed { class: "timeout".into(), age_seconds: 5 });
        let judged = |one, other| {
            let finding = synthetic(&[(Feature::CodeCompletions, one), (Feature::DuoChat, other)]);
            (finding.status, finding.message)
        };
        assert_eq!(judged(answered(), answered()).0, True);
        assert_eq!(judged(answered(), None).0, Unknown);
        assert_eq!(judged(answered(), Some(Check::Running)).0, Unknown);
        let unclear = |class: &str| Some(Check::Unclear { class: class.into(), age_seconds: 5 });
        assert_eq!(judged(answered(), unclear("429")).0, Unknown, "throttled");
        let (status, text) = judged(answered(), unclear("400"));
        assert_eq!(status, False);
        assert!(text.contains("DuoChat: the model server answered 400; the model does not take"), "{text}");
        let (status, text) = judged(failed(), Some(Check::Running));
        assert_eq!(status, False);
        assert!(text.contains("CodeCompletions: no answer in time"), "{text}");
    }
}

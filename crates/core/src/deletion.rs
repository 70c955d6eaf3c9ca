//! When a model may be deleted in GitLab. GitLab does not refuse to delete a model in use; its rows just vanish
//! (foreign key `ON DELETE CASCADE`, 18.9), so the operator has to guard it.

/// How long a feature that a person put on the model by hand is only named, in seconds.
pub const HAND_ASSIGNED_GRACE_SECONDS: i64 = 300;

/// How long a deletion keeps trying to reach GitLab before it lets go, in seconds.
pub const GITLAB_GONE_SECONDS: i64 = 600;

/// How long a gateway that is being deleted waits for its dependents to be deleted too, in seconds: `kubectl delete -f`
/// sends one deletion after the other, and a dependent whose gateway is gone cannot be taken out of GitLab any more.
pub const GATHERING_SECONDS: i64 = 5;

/// How long deletions wait, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// See [`HAND_ASSIGNED_GRACE_SECONDS`].
    pub hand_assigned: i64,
    /// See [`GITLAB_GONE_SECONDS`].
    pub gitlab_gone: i64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hand_assigned: HAND_ASSIGNED_GRACE_SECONDS, gitlab_gone: GITLAB_GONE_SECONDS }
    }
}

/// Whether a gateway that is being deleted waits for its dependents. `leaving`: those that are being deleted and still
/// hold something in GitLab; `staying`: the others.
pub fn gateway_waits(leaving: usize, staying: usize, deleting_for: i64, patience: Patience) -> bool {
    (leaving > 0 && deleting_for <= patience.gitlab_gone) || (staying > 0 && deleting_for < GATHERING_SECONDS)
}

/// What to do about a model that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// FeatureAssignments that are not being deleted use it: wait for a person.
    WaitForAssignments(Vec<String>),
    /// Features that nobody declares use it: name them, and wait this many seconds.
    WaitForFeatures(Vec<String>, i64),
    /// Take these features off the model, then look again.
    Unassign(Vec<String>),
    /// Nothing uses it.
    Delete,
}

/// `assignments`: names of FeatureAssignments that reference the model and are not being deleted; `leaving`: whether
/// one that is being deleted still holds features of it; `features`: keys that use it in GitLab; `deleting_for`:
/// seconds since the deletion was asked for.
pub fn next_step(
    assignments: Vec<String>,
    leaving: bool,
    features: Vec<String>,
    deleting_for: i64,
    patience: Patience,
) -> Step {
    if !assignments.is_empty() {
        return Step::WaitForAssignments(assignments);
    }
    if features.is_empty() {
        return Step::Delete;
    }
    let left = patience.hand_assigned - deleting_for;
    match (leaving, left > 0) {
        // An assignment on its way out takes its features off by itself.
        (true, true) => Step::WaitForFeatures(features, left.min(2)),
        (false, true) => Step::WaitForFeatures(features, left),
        (_, false) => Step::Unassign(features),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_goes_after_those_that_go_with_it() {
        for (leaving, staying, deleting_for, waits) in [
            (0, 0, 0, false),
            (2, 0, 100, true),
            (2, 0, GITLAB_GONE_SECONDS + 1, false),
            (0, 2, 0, true),
            (0, 2, GATHERING_SECONDS, false),
            (1, 1, GATHERING_SECONDS, true),
        ] {
            let decided = gateway_waits(leaving, staying, deleting_for, Patience::default());
            assert_eq!(decided, waits, "{leaving} {staying} {deleting_for}");
        }
    }

    #[test]
    fn a_model_in_use_is_not_deleted_under_its_features() {
        let list = |name: &str| vec![name.to_owned()];
        let next_step = |a, leaving, f, age| next_step(a, leaving, f, age, Patience::default());
        assert_eq!(next_step(list("fa"), false, list("duo_chat"), 9999), Step::WaitForAssignments(list("fa")));
        assert_eq!(next_step(vec![], false, list("duo_chat"), 0), Step::WaitForFeatures(list("duo_chat"), 300));
        assert_eq!(next_step(vec![], true, list("duo_chat"), 0), Step::WaitForFeatures(list("duo_chat"), 2));
        assert_eq!(next_step(vec![], false, list("duo_chat"), 300), Step::Unassign(list("duo_chat")));
        assert_eq!(next_step(vec![], false, vec![], 0), Step::Delete);
    }
}

//! Who decides a Deployment's number of pods, as its `managedFields` tell, and whether the pods that it wants are there.

use duo_api::ConditionStatus;
use k8s_openapi::api::apps::v1::Deployment;

use crate::conditions::Finding;

/// The number of pods where `manager` alone owns it: giving it up would set it to one.
pub fn own_number(live: &Deployment, manager: &str) -> Option<i32> {
    let owners: Vec<&str> = live
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some()))
        .map(|entry| entry.manager.as_deref().unwrap_or_default())
        .collect();
    let own = !owners.is_empty() && owners.iter().all(|owner| *owner == manager);
    own.then(|| live.spec.as_ref().and_then(|spec| spec.replicas)).flatten()
}

/// Pods of a Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// That exist.
    pub existing: i32,
    /// That are ready.
    pub ready: i32,
}

/// Whether every wanted pod of a Deployment is available and of its present template. `wanted`: as declared; `None`
/// where an autoscaler decides.
pub fn availability(type_: &'static str, deployment: Option<&Deployment>, wanted: Option<i32>) -> (Finding, Pods) {
    let Some(deployment) = deployment else {
        return (Finding::unknown(type_, "NotCreated", "The Deployment does not exist yet"), Pods::default());
    };
    let wanted = wanted.or_else(|| deployment.spec.as_ref().and_then(|spec| spec.replicas)).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let pods = Pods { existing: status.replicas.unwrap_or_default(), ready: status.ready_replicas.unwrap_or_default() };
    let updated = status.updated_replicas.unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let current = status.observed_generation >= deployment.metadata.generation;
    let finding = if wanted == 0 {
        Finding::fails(type_, "ScaledToZero", "0 replicas are declared: nobody can use it").by_person()
    } else if current && available >= wanted && updated >= wanted {
        Finding::holds(type_, "Available", format!("{available} of {wanted} replicas are available"))
    } else {
        let stuck = status.conditions.iter().flatten().find(|c| c.type_ == "Progressing" && c.status == "False");
        let failure = status.conditions.iter().flatten().find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
        let why = failure.or(stuck).and_then(|c| c.message.clone());
        Finding::fails(
            type_,
            if why.is_some() { "RolloutFailed" } else { "PodsNotAvailable" },
            format!(
                "{available} of {wanted} replicas are available, {updated} are up to date{}",
                why.map(|why| format!(": {why}")).unwrap_or_default()
            ),
        )
    };
    (finding, pods)
}

/// Whether all pods are of the present template: those of the template before are gone.
pub fn rolled_out(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation >= deployment.metadata.generation
        && status.replicas.unwrap_or_default() == status.updated_replicas.unwrap_or_default()
        && status.replicas.unwrap_or_default() > 0
}

/// Seconds until what does not hold yet is looked at again: soon at first, then ever later. `since`: how long it has not
/// held. Pods and Deployments tell their changes by themselves; only which configuration is served has to be asked for.
pub fn look_again_in(since: i64) -> u64 {
    (since / 8).clamp(1, 30).unsigned_abs()
}

/// For how long the first of these has not been True, in seconds; 0 where it was True or unknown until now.
pub fn unsettled_for(
    conditions: &[duo_api::Condition],
    types: &[&str],
    now: i64,
    seconds: impl Fn(&str) -> Option<i64>,
) -> i64 {
    conditions
        .iter()
        .filter(|condition| types.contains(&condition.type_.as_str()) && condition.status != ConditionStatus::True)
        .filter_map(|condition| seconds(&condition.last_transition_time))
        .map(|at| (now - at).max(0))
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(text: &str) -> Deployment {
        serde_yaml_ng::from_str(text).unwrap()
    }

    #[test]
    fn a_number_that_somebody_else_owns_too_can_be_given_up() {
        let live = |managers: &[&str]| {
            let entries: Vec<String> = managers
                .iter()
                .map(|manager| {
                    format!("{{manager: {manager}, operation: Apply, fieldsType: FieldsV1, fieldsV1: {{'f:spec': {{'f:replicas': {{}}}}}}}}")
                })
                .collect();
            deployment(&format!(
                "{{metadata: {{managedFields: [{}]}}, spec: {{replicas: 3, selector: {{}}, template: {{}}}}}}",
                entries.join(", ")
            ))
        };
        assert_eq!(own_number(&live(&["us"]), "us"), Some(3));
        assert_eq!(own_number(&live(&["us", "hpa"]), "us"), None);
        assert_eq!(own_number(&live(&["hpa"]), "us"), None);
        assert_eq!(own_number(&live(&[]), "us"), None);
    }

    #[test]
    fn availability_counts_the_declared_pods_or_the_autoscalers() {
        let live = |replicas: i32, available: i32, updated: i32, observed: i32| {
            deployment(&format!(
                "{{metadata: {{generation: 2}}, spec: {{replicas: {replicas}, selector: {{}}, template: {{}}}}, status: {{observedGeneration: {observed}, replicas: {replicas}, availableReplicas: {available}, updatedReplicas: {updated}}}}}"
            ))
        };
        for (live, wanted, reason) in [
            (live(3, 3, 3, 2), Some(3), "Available"),
            (live(3, 3, 3, 1), Some(3), "PodsNotAvailable"),
            (live(3, 3, 2, 2), Some(3), "PodsNotAvailable"),
            (live(2, 2, 2, 2), Some(3), "PodsNotAvailable"),
            (live(5, 5, 5, 2), None, "Available"),
            (live(5, 4, 5, 2), None, "PodsNotAvailable"),
            (live(0, 0, 0, 2), Some(0), "ScaledToZero"),
        ] {
            assert_eq!(availability("W", Some(&live), wanted).0.reason, reason, "{:?} {wanted:?}", live.status);
        }
        assert_eq!(availability("W", None, Some(1)).0.reason, "NotCreated");
    }

    #[test]
    fn looks_grow_apart() {
        let waits: Vec<u64> = [0, 5, 60, 600, 86_400].map(look_again_in).into();
        assert_eq!(waits, [1, 1, 7, 30, 30]);
    }

    #[test]
    fn what_keeps_pods_from_coming_is_told() {
        let with = |condition: &str| {
            deployment(&format!(
                "{{metadata: {{generation: 1}}, spec: {{replicas: 1, selector: {{}}, template: {{}}}}, status: {{observedGeneration: 1, conditions: [{condition}]}}}}"
            ))
        };
        let stuck = "{type: Progressing, status: 'False', message: timed out}";
        let refused = "{type: ReplicaFailure, status: 'True', message: quota exceeded}";
        for (conditions, reason, why) in [
            ("{type: Progressing, status: 'True', message: fine}", "PodsNotAvailable", ""),
            ("{type: ReplicaFailure, status: 'False', message: fine}", "PodsNotAvailable", ""),
            ("{type: Available, status: 'False', message: few}", "PodsNotAvailable", ""),
            ("{type: Available, status: 'True', message: enough}", "PodsNotAvailable", ""),
            (stuck, "RolloutFailed", "timed out"),
            (refused, "RolloutFailed", "quota exceeded"),
            (&format!("{stuck}, {refused}"), "RolloutFailed", "quota exceeded"),
        ] {
            let finding = availability("W", Some(&with(conditions)), Some(1)).0;
            assert_eq!(finding.reason, reason, "{conditions}");
            assert!(finding.message.ends_with(if why.is_empty() { "up to date" } else { why }), "{}", finding.message);
        }
    }

    #[test]
    fn a_rollout_is_over_when_all_pods_are_of_the_present_template() {
        for (generation, observed, replicas, updated, over) in
            [(2, 2, 3, 3, true), (2, 1, 3, 3, false), (2, 3, 3, 3, true), (2, 2, 3, 2, false), (2, 2, 0, 0, false)]
        {
            let live = deployment(&format!(
                "{{metadata: {{generation: {generation}}}, status: {{observedGeneration: {observed}, replicas: {replicas}, updatedReplicas: {updated}}}}}"
            ));
            assert_eq!(rolled_out(&live), over, "{:?}", live.status);
        }
    }

    #[test]
    fn the_oldest_of_what_does_not_hold_counts() {
        let condition = |type_: &str, status: &str, since: i64| -> duo_api::Condition {
            let text =
                format!("{{type: {type_}, status: '{status}', reason: R, message: '', lastTransitionTime: '{since}'}}");
            serde_yaml_ng::from_str(&text).unwrap()
        };
        let all = [
            condition("A", "True", 10),
            condition("B", "False", 60),
            condition("C", "Unknown", 40),
            condition("Other", "False", 20),
            condition("D", "False", 130),
        ];
        let seconds = |text: &str| text.parse().ok();
        for (types, expected) in [(&["A"][..], 0), (&["A", "B"], 40), (&["B", "C"], 60), (&["D"], 0), (&[], 0)] {
            assert_eq!(unsettled_for(&all, types, 100, seconds), expected, "{types:?}");
        }
        assert_eq!(unsettled_for(&all, &["B"], 100, |_| None), 0);
    }
}

//! Duo settings of the instance: gateway URL and request timeout.

use super::Operation;
use crate::observed::{Instance, Settings};
use crate::url_rules;

/// The write that brings the settings to what is declared, if any differs. `timeout_seconds` is left alone when it is
/// not declared or when the instance has no such setting (below 18.7).
pub fn plan_settings(
    observed: &Settings,
    gateway_url: &str,
    timeout_seconds: Option<u32>,
    has_timeout: bool,
) -> Option<Operation> {
    let mut found = Vec::new();
    let url = (!url_rules::same(observed.gateway_url.as_deref(), Some(gateway_url))).then(|| {
        found.push(observed.gateway_url.clone().unwrap_or_else(|| "no URL".to_owned()));
        url_rules::normalize(gateway_url)
    });
    let timeout = timeout_seconds.filter(|declared| has_timeout && observed.timeout_seconds != Some(*declared));
    if timeout.is_some() {
        found.push(observed.timeout_seconds.map_or_else(|| "no timeout".to_owned(), |seconds| format!("{seconds} s")));
    }
    (url.is_some() || timeout.is_some()).then(|| Operation::UpdateSettings {
        gateway_url: url,
        timeout_seconds: timeout,
        found: found.join(", "),
    })
}

/// Names of models in GitLab that serve a feature and that nothing declares: they would stop working when the gateway
/// refuses undeclared models.
pub fn undeclared_in_use(instance: &Instance, declared_ids: &[&str], declared_names: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = instance
        .models
        .iter()
        .flatten()
        .filter(|model| !declared_ids.contains(&model.id.as_str()) && !declared_names.contains(&model.name.as_str()))
        .filter(|model| {
            instance
                .features
                .iter()
                .any(|feature| feature.provider == "self_hosted" && feature.model_id.as_deref() == Some(&model.id))
        })
        .map(|model| model.name.clone())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let observed =
            Settings { gateway_url: Some("http://duo:5052".into()), timeout_seconds: Some(60), ..Settings::default() };
        assert_eq!(plan_settings(&observed, "http://duo:5052/", Some(60), true), None);
        assert_eq!(plan_settings(&observed, "http://duo:5052", None, true), None);
        assert_eq!(plan_settings(&observed, "http://duo:5052", Some(90), false), None, "18.6 has no such setting");
        let url = plan_settings(&observed, "http://new:5052/", Some(60), true).unwrap();
        assert_eq!(url.to_string(), "set gateway URL to http://new:5052 (found: http://duo:5052)");
        let both = plan_settings(&Settings::default(), "http://new:5052", Some(90), true).unwrap();
        assert_eq!(
            both.to_string(),
            "set gateway URL to http://new:5052 and request timeout to 90 s (found: no URL, no timeout)"
        );
    }

    #[test]
    fn only_models_that_nothing_declares_and_that_serve_a_feature_are_in_the_way() {
        let model = |id: &str, name: &str| crate::observed::Model {
            id: id.into(),
            name: name.into(),
            family: "gpt".into(),
            endpoint: None,
            identifier: None,
            provider: None,
            has_api_token: false,
        };
        let row = |provider: &str, id: Option<&str>| crate::observed::Feature {
            key: "duo_chat".into(),
            provider: provider.into(),
            model_id: id.map(Into::into),
            release_state: None,
            families: [].into(),
        };
        let in_use = |features: Vec<crate::observed::Feature>, ids: &[&str], names: &[&str]| {
            let instance = Instance {
                version: String::new(),
                capabilities: crate::observed::Capabilities::newest(),
                settings: None,
                models: Some(vec![model("2", "Two"), model("1", "One")]),
                features,
            };
            undeclared_in_use(&instance, ids, names)
        };
        let both = || vec![row("self_hosted", Some("2")), row("self_hosted", Some("1"))];
        let none: [String; 0] = [];
        assert_eq!(in_use(both(), &[], &[]), ["One", "Two"]);
        assert_eq!(in_use(both(), &["2"], &[]), ["One"], "held by id");
        assert_eq!(in_use(both(), &[], &["One"]), ["Two"], "declared by name");
        assert_eq!(in_use(both(), &["1"], &["Two"]), none);
        assert_eq!(in_use(vec![row("self_hosted", Some("1"))], &[], &[]), ["One"], "the other serves nothing");
        assert_eq!(in_use(vec![row("disabled", Some("1")), row("self_hosted", None)], &[], &[]), none);
    }
}

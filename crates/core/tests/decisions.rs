//! Decisions that other tests reach only through the programs: here each of their cases by itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use duo_api::ConditionStatus::{self, False, True};
use duo_core::inputs::Kind;
use duo_core::observed::{Capabilities, Feature, Instance, Probe};
use duo_core::{connection, health, url_rules};

fn instance(features: Vec<Feature>) -> Instance {
    Instance {
        version: "19.5.0".into(),
        capabilities: Capabilities {
            has_model_provider: true,
            endpoint_required: false,
            timeout_setting: true,
            agent_platform_url: true,
            agent_platform_secure: true,
            families: vec![],
            features: vec![],
        },
        settings: None,
        models: None,
        features,
    }
}

fn row(key: &str, provider: &str, model: Option<&str>) -> Feature {
    Feature {
        key: key.into(),
        provider: provider.into(),
        model_id: model.map(Into::into),
        release_state: None,
        families: [].into(),
    }
}

#[test]
fn code_suggestions_are_assigned_when_both_have_a_model_of_their_own() {
    let own = |key: &str| row(key, "self_hosted", Some("1"));
    let (completions, generations) = ("code_completions", "code_generations");
    let cases: [(Vec<Feature>, ConditionStatus, &str); 6] = [
        (
            vec![own(completions), own(generations)],
            True,
            "Code completion and code generation have a self-hosted model",
        ),
        (vec![own(completions)], False, "No self-hosted model for code_generations; "),
        (vec![own(generations)], False, "No self-hosted model for code_completions; "),
        (vec![], False, "No self-hosted model for code_completions, code_generations; "),
        (
            vec![own(completions), row(generations, "disabled", Some("1"))],
            False,
            "No self-hosted model for code_generations; ",
        ),
        (
            vec![own(completions), row(generations, "self_hosted", None)],
            False,
            "No self-hosted model for code_generations; ",
        ),
    ];
    for (features, status, words) in cases {
        let finding = health::code_suggestions_model_assigned(&instance(features.clone()));
        assert_eq!(finding.status, status, "{features:?}");
        assert!(finding.message.starts_with(words), "{}", finding.message);
    }
}

#[test]
fn the_instance_id_is_whichever_probe_tells() {
    let probe = |id: Option<&str>| Probe {
        name: "license_probe".into(),
        success: true,
        message: String::new(),
        instance_id: id.map(Into::into),
    };
    for (probes, id) in [
        (vec![], None),
        (vec![probe(None)], None),
        (vec![probe(Some(""))], None),
        (vec![probe(None), probe(Some("a")), probe(Some("b"))], Some("a")),
    ] {
        assert_eq!(health::instance_id(&probes).as_deref(), id, "{probes:?}");
    }
}

#[test]
fn gitlabs_words_are_one_line_in_a_condition() {
    let probe = Probe {
        name: "host_probe".into(),
        success: false,
        message: "duo.svc connection failed: refused.\n\n  Check the firewall".into(),
        instance_id: None,
    };
    let finding = health::gateway_reachable(&[probe], "http://duo.svc:5052", false, None);
    assert_eq!(
        (finding.status, finding.message.as_str()),
        (False, "duo.svc connection failed: refused. Check the firewall")
    );
}

#[test]
fn gitlab_calls_the_services_name_by_http_or_by_https() {
    assert_eq!(url_rules::service_url("duo", "ns", false), "http://duo.ns.svc:5052");
    assert_eq!(url_rules::service_url("duo", "ns", true), "https://duo.ns.svc:5052");
    assert_eq!(url_rules::api_url("https://g.example/sub/ "), "https://g.example/sub/api/v4/");
}

#[test]
fn a_passed_check_is_good_for_six_hours() {
    assert_eq!(connection::PASSED_PERIOD_SECONDS, 21_600);
}

#[test]
fn referred_objects_are_named_as_in_manifests() {
    assert_eq!([Kind::Secret.name(), Kind::ConfigMap.name()], ["Secret", "ConfigMap"]);
}

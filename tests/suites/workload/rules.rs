//! What the API server refuses, with a sentence that names the field.

use duo_e2e::{Options, World};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_refused_with_the_field_named() {
    let world = World::start("work", Options { operator: false, ..Options::default() }).await;
    world.apply_article().await;
    let digest = format!("mirror/gw@sha256:{}", "0".repeat(64));
    for (spec, words) in [
        (json!({"replicas": 5, "autoscaling": {"maxReplicas": 9}}), "replicas and autoscaling exclude each other"),
        (json!({"replicas": null, "autoscaling": {"minReplicas": 5, "maxReplicas": 3}}), "must not be larger"),
        (
            json!({"replicas": null, "autoscaling": {"maxReplicas": 3}, "pod": {"resources": {"limits": {"memory": "1Gi"}}}}),
            "pod.resources.requests.cpu",
        ),
        (json!({"gitlabImage": {"tag": "x"}}), "gitlabImage is for implementation: GitLab"),
        (json!({"implementation": "GitLab", "gitlabImage": {"tag": "latest"}}), "latest does not"),
        (json!({"implementation": "GitLab", "gitlabImage": {"environment": {"A B": "x"}}}), "names of variables"),
        (json!({"implementation": "GitLab", "image": "mirror/gw"}), "image must name a version"),
        (json!({"implementation": "GitLab", "image": "mirror:5000/gw"}), "image must name a version"),
        (json!({"implementation": "GitLab", "image": "mirror/gw:latest"}), "image must name a version"),
        (json!({"agentPlatform": {"url": "http://duo:50052"}}), "host:port without a scheme"),
        (json!({"networkPolicy": {"from": [{}]}}), "name either a cidr"),
        (json!({"networkPolicy": {"from": [{"cidr": "10.0.0.0/8", "podLabels": {}}]}}), "name either a cidr"),
        (json!({"networkPolicy": {"from": [{"cidr": "10.0.0.1"}]}}), "range of addresses"),
        (
            json!({"networkPolicy": {"from": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]}}),
            "a smaller one inside",
        ),
        (
            json!({"networkPolicy": {"from": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}}),
            "a smaller one inside",
        ),
        (json!({"networkPolicy": {"metricsFrom": [{"podLabels": {}, "except": ["10.0.0.0/9"]}]}}), "give cidr too"),
        (json!({"ingress": {"host": "https://ai.example.com"}}), "spec.ingress.host"),
        (json!({"httpRoute": {"parentRefs": []}}), "spec.httpRoute.parentRefs"),
    ] {
        let refused = world.patch("AIGateway", "duo", json!({ "spec": spec.clone() })).await;
        let text = refused.expect_err(&format!("accepted: {spec}")).to_string();
        assert!(text.contains(words), "{spec}: {text}");
    }
    for spec in [
        json!({"replicas": null, "autoscaling": {"maxReplicas": 9}}),
        json!({"autoscaling": null, "implementation": "GitLab", "image": digest}),
        json!({"image": "mirror:5000/gw:self-hosted-v19.5.0-ee"}),
        json!({"agentPlatform": {"url": "[2001:db8::1]:50052"}}),
        json!({"agentPlatform": {"url": "agents.example.com"}}),
        json!({"networkPolicy": {"from": [{"namespaceLabels": {}}, {"cidr": "2001:db8::/32"}]}}),
    ] {
        world
            .patch("AIGateway", "duo", json!({ "spec": spec.clone() }))
            .await
            .unwrap_or_else(|e| panic!("{spec}: {e}"));
    }
}

//! Cases of what runs in the cluster: which image, how many pods, how they are reached, whom they reach.

use serde_json::{Value, json};

use super::{Case, at, entries, limit, long, required, rule, text, words};

const K: &str = "AIGateway";

/// All of them.
pub fn cases() -> Vec<Case> {
    [contradictions(), autoscaling(), image(), agent_platform(), outside(), network(), pods()].concat()
}

/// Lays more over both patches of the cases: what stands beside the field in a valid declaration.
fn beside(cases: Vec<Case>, more: &Value) -> Vec<Case> {
    let over = |mut case: Case| {
        for patch in [&mut case.bad, &mut case.good] {
            let mut whole = more.clone();
            crate::merge(&mut whole, patch);
            *patch = whole;
        }
        case
    };
    cases.into_iter().map(over).collect()
}

fn number(path: &str, least: i64, most: i64) -> Vec<Case> {
    vec![
        limit(K, path, "minimum", json!(least - 1), json!(least)),
        limit(K, path, "maximum", json!(most + 1), json!(most)),
    ]
}

fn several(count: usize, one: impl Fn(usize) -> Value) -> Value {
    (0..count).map(one).collect()
}

/// Rules across fields.
fn contradictions() -> Vec<Case> {
    let spec = |fields: Value| json!({ "spec": fields });
    let both = "replicas and autoscaling exclude each other: leave replicas out, autoscaling.minReplicas and maxReplicas say \
                how many";
    let cpu = "autoscaling measures CPU in per cent of what the pods request: give pod.resources.requests.cpu";
    let unused = "gitlabImage is for implementation: GitLab and for agentPlatform only: leave it out";
    let version = "image must name a version of GitLab's gateway that fits the GitLab instance: a tag other than latest, or \
                   a digest";
    let scaled = |resources: Value| spec(json!({"autoscaling": {"maxReplicas": 3}, "pod": {"resources": resources}}));
    let named = |image: &str| spec(json!({"implementation": "GitLab", "image": image}));
    let digest = format!("mirror/gw@sha256:{}", "0".repeat(64));
    vec![
        rule(
            K,
            "spec",
            both,
            spec(json!({"replicas": 3, "autoscaling": {"maxReplicas": 3}})),
            spec(json!({"autoscaling": {"maxReplicas": 3}})),
        ),
        rule(K, "spec", cpu, scaled(json!({"limits": {"memory": "1Gi"}})), scaled(json!({"requests": {"cpu": "1"}}))),
        rule(K, "spec", cpu, scaled(json!({})), scaled(json!({"limits": {"cpu": "1"}}))),
        rule(
            K,
            "spec",
            unused,
            spec(json!({"gitlabImage": {"tag": "x"}})),
            spec(json!({"gitlabImage": {"tag": "x"}, "agentPlatform": {}})),
        ),
        rule(K, "spec", version, named("mirror/gw"), named("mirror/gw:self-hosted-v19.4.1-ee")),
        rule(K, "spec", version, named("mirror:5000/gw"), named("mirror:5000/gw:v1")),
        rule(K, "spec", version, named("mirror/gw:latest"), named(&digest)),
    ]
}

fn autoscaling() -> Vec<Case> {
    let of = |field: &str| format!("spec.autoscaling.{field}");
    let most = json!({"spec": {"autoscaling": {"maxReplicas": 100}}});
    let stabilization = of("scaleDownStabilization");
    let bounds = "autoscaling.scaleDownStabilization must be between 0s and 3600s";
    let mut inside = [
        number(&of("minReplicas"), 1, 100),
        number(&of("targetCPUUtilizationPercentage"), 1, 1000),
        number(&of("targetMemoryUtilizationPercentage"), 1, 1000),
    ]
    .concat();
    inside.extend([
        limit(K, &stabilization, "minLength", json!("s"), json!("0s")),
        limit(K, &stabilization, "maxLength", json!("0000000000000060s"), json!("000000000000060s")),
        limit(K, &stabilization, "pattern", json!("1h"), json!("60m")),
        rule(K, &stabilization, bounds, at(&stabilization, json!("3601s")), at(&stabilization, json!("3600s"))),
    ]);
    let mut cases = beside(inside, &most);
    cases.extend(beside(number(&of("maxReplicas"), 1, 100), &json!({"spec": {"autoscaling": {"minReplicas": 1}}})));
    cases.push(required(K, &of("maxReplicas"), at("spec.autoscaling", json!({})), most));
    cases.push(rule(
        K,
        "spec.autoscaling",
        "autoscaling.minReplicas must not be larger than autoscaling.maxReplicas",
        at("spec.autoscaling", json!({"minReplicas": 4, "maxReplicas": 3})),
        at("spec.autoscaling", json!({"minReplicas": 3, "maxReplicas": 3})),
    ));
    cases
}

fn image() -> Vec<Case> {
    let of = |field: &str| format!("spec.gitlabImage.{field}");
    let names = "gitlabImage.environment: names of variables have letters, digits and '_'";
    let latest = "gitlabImage.tag must name a version that fits GitLab's: latest does not";
    let variable = |name: &str| at(&of("environment"), json!({ name: "x" }));
    let secret = of("environmentSecretRef");
    let mut cases = text(K, &of("repository"), "registry/", 383);
    cases.extend(number(&of("runAsUser"), 1, 2_147_483_647));
    cases.extend(text(K, &format!("{secret}.name"), "", 253));
    cases.extend([
        limit(K, &of("repository"), "pattern", json!("registry/x y"), json!("registry.example.com:5000/a/b-c_d")),
        limit(K, &of("tag"), "pattern", json!("-v1"), json!("self-hosted-v19.4.1-ee")),
        rule(K, &of("tag"), latest, at(&of("tag"), json!("latest")), at(&of("tag"), json!("latest-1"))),
        limit(K, &of("environment"), "maxProperties", entries(65), entries(64)),
        rule(K, &of("environment"), names, variable("A B"), variable("A_B1")),
        rule(K, &of("environment"), names, variable("1A"), variable("_A")),
        required(K, &format!("{secret}.name"), at(&secret, json!({})), at(&secret, json!({"name": "n"}))),
    ]);
    beside(cases, &json!({"spec": {"implementation": "GitLab"}}))
}

fn agent_platform() -> Vec<Case> {
    let of = |field: &str| format!("spec.agentPlatform.{field}");
    let address =
        "agentPlatform.url is host:port without a scheme, for example duo-agent-platform.gitlab-duo.svc:50052";
    let secret = of("tls.secretRef");
    let mut cases = [text(K, &of("url"), "agents", 255), text(K, &of("image"), "", 512)].concat();
    cases.extend(number(&of("replicas"), 0, 100));
    cases.extend(text(K, &format!("{secret}.name"), "", 253));
    cases.push(required(K, &secret, at(&of("tls"), json!({})), at(&secret, json!({"name": "n"}))));
    cases.push(required(K, &format!("{secret}.name"), at(&secret, json!({})), at(&secret, json!({"name": "n"}))));
    for (bad, good) in
        [("http://a:1", "a:1"), ("a:", "a"), ("a b", "a-b.example.com:443"), ("[::1", "[2001:db8::1]:50052")]
    {
        cases.push(rule(K, &of("url"), address, at(&of("url"), json!(bad)), at(&of("url"), json!(good))));
    }
    for (bound, unit, good) in [
        ("requests", "cpu", "500m"),
        ("limits", "cpu", "2"),
        ("requests", "memory", "128Mi"),
        ("limits", "memory", "1Gi"),
    ] {
        let path = of(&format!("resources.{bound}.{unit}"));
        let example = if unit == "cpu" { "500m" } else { "128Mi" };
        let message = format!("{unit} must be a Kubernetes quantity, for example {example}");
        cases.push(rule(K, &path, &message, at(&path, json!("many")), at(&path, json!(good))));
        cases.push(limit(K, &path, "maxLength", json!("1".repeat(33)), json!(format!("{}1", "0".repeat(31)))));
    }
    cases
}

fn outside() -> Vec<Case> {
    let ingress = |field: &str| format!("spec.ingress.{field}");
    let with_host = json!({"spec": {"ingress": {"host": "ai.example.com"}}});
    let mut inside = [text(K, &ingress("className"), "", 253), text(K, &ingress("tls.secretName"), "", 253)].concat();
    inside.push(limit(K, &ingress("annotations"), "maxProperties", entries(65), entries(64)));
    let mut cases = beside(inside, &with_host);
    cases.extend(text(K, &ingress("host"), "a", 253));
    cases.push(required(K, &ingress("host"), at("spec.ingress", json!({})), with_host));
    for bad in ["AI.example.com", "https://ai.example.com", "ai..example.com", "-ai"] {
        cases.push(limit(K, &ingress("host"), "pattern", json!(bad), json!("a-1.example.com")));
    }

    let route = |field: &str| format!("spec.httpRoute.{field}");
    let parent = |field: &str| route(&format!("parentRefs[].{field}"));
    let refs = |count: usize| several(count, |n| json!({"name": format!("g{n}")}));
    let hosts = |count: usize| several(count, |n| json!(format!("h{n}")));
    let mut inside = text(K, &route("hostnames[]"), "", 253);
    inside.extend([
        limit(K, &route("hostnames"), "duplicate", json!(["a", "a"]), json!(["a", "b"])),
        limit(K, &route("hostnames"), "maxItems", hosts(17), hosts(16)),
    ]);
    cases.extend(beside(inside, &json!({"spec": {"httpRoute": {"parentRefs": [{"name": "edge"}]}}})));
    cases.extend([
        required(K, &route("parentRefs"), at("spec.httpRoute", json!({})), at(&route("parentRefs"), refs(1))),
        limit(K, &route("parentRefs"), "minItems", json!([]), refs(1)),
        limit(K, &route("parentRefs"), "maxItems", refs(17), refs(16)),
        required(K, &parent("name"), at(&route("parentRefs"), json!([{}])), at(&parent("name"), json!("edge"))),
    ]);
    cases.extend(text(K, &parent("name"), "", 253));
    let in_parent = |field: &str, keyword: &str, bad: Value, good: Value| {
        let whole = |value: Value| at(&route("parentRefs"), json!([{"name": "edge", field: value}]));
        limit(K, &parent(field), keyword, Value::Null, Value::Null).with(whole(bad), whole(good))
    };
    for (field, most) in [("namespace", 63), ("sectionName", 253)] {
        cases.push(in_parent(field, "minLength", json!(""), json!("x")));
        cases.push(in_parent(field, "maxLength", long("", most + 1), long("", most)));
    }
    cases.push(in_parent("port", "minimum", json!(0), json!(1)));
    cases.push(in_parent("port", "maximum", json!(65536), json!(65535)));
    cases
}

fn network() -> Vec<Case> {
    let of = |field: &str| format!("spec.networkPolicy.{field}");
    let rules = of("egress.rules");
    let mut cases =
        [peers(&of("from"), 32), peers(&of("metricsFrom"), 32), peers(&format!("{rules}[].to"), 16)].concat();
    let ports = format!("{rules}[].ports");
    cases.push(limit(K, &rules, "maxItems", several(33, |_| json!({})), several(32, |_| json!({}))));
    cases.push(limit(K, &ports, "duplicate", json!([443, 443]), json!([443, 80])));
    cases.push(limit(K, &ports, "maxItems", several(33, |n| json!(n + 1)), several(32, |n| json!(n + 1))));
    cases.extend(number(&format!("{ports}[]"), 1, 65535));
    cases
}

/// A list of addresses and pods.
fn peers(list: &str, most: usize) -> Vec<Case> {
    let one = format!("{list}[]");
    let of = |field: &str| format!("{one}.{field}");
    let either = "name either a cidr, or pods by podLabels and namespaceLabels";
    let alone = "except takes addresses out of cidr: give cidr too";
    let range = "cidr must be a range of addresses, for example 10.0.0.0/8";
    let smaller = "each range in except must be a smaller one inside cidr";
    let peer = |fields: Value| at(&one, fields);
    let any = |count: usize| several(count, |_| json!({"podLabels": {}}));
    let except = |list: Value| peer(json!({"cidr": "10.0.0.0/8", "except": list}));
    let ranges = |count: usize| except(several(count, |n| json!(format!("10.{n}.0.0/16"))));
    let limited = |field: &str, keyword: &str, bad: Value, good: Value| {
        limit(K, &of(field), keyword, Value::Null, Value::Null).with(bad, good)
    };
    let cidr = of("cidr");
    let mut cases = vec![
        limit(K, list, "maxItems", any(most + 1), any(most)),
        rule(K, &one, either, peer(json!({})), peer(json!({"namespaceLabels": {}}))),
        rule(
            K,
            &one,
            either,
            peer(json!({"cidr": "10.0.0.0/8", "podLabels": {}})),
            peer(json!({"podLabels": {}, "namespaceLabels": {}})),
        ),
        rule(K, &one, alone, peer(json!({"podLabels": {}, "except": ["10.1.0.0/16"]})), except(json!(["10.1.0.0/16"]))),
        limit(K, &cidr, "minLength", json!(""), json!("::/0")),
        limit(K, &cidr, "maxLength", long("", 65), json!("2001:db8::/32")),
        limited("except", "duplicate", except(json!(["10.1.0.0/16", "10.1.0.0/16"])), ranges(2)),
        limited("except", "maxItems", ranges(17), ranges(16)),
        limited("except[]", "minLength", except(json!([""])), ranges(1)),
        limited("except[]", "maxLength", except(json!(["x".repeat(65)])), ranges(1)),
        limit(K, &of("podLabels"), "maxProperties", entries(17), entries(16)),
        limit(K, &of("namespaceLabels"), "maxProperties", entries(17), entries(16)),
    ];
    for bad in ["10.0.0.1", "10.0.0.0/33", "example.com"] {
        cases.push(rule(K, &cidr, range, at(&cidr, json!(bad)), at(&cidr, json!("10.0.0.0/8"))));
    }
    for bad in ["10.0.0.0/8", "11.0.0.0/16", "10.1.0.1", "10.0.0.0/7"] {
        cases.push(rule(K, &one, smaller, except(json!([bad])), except(json!(["10.1.0.1/32"]))));
    }
    cases
}

fn pods() -> Vec<Case> {
    let of = |field: &str| format!("spec.pod.{field}");
    let spread = of("topologySpreadConstraints");
    let keys = |count: usize| several(count, |n| json!({"topologyKey": format!("k{n}")}));
    let in_spread = |field: &str, keyword: &str, bad: Value, good: Value| {
        let whole = |value: Value| at(&spread, json!([{"topologyKey": "zone", field: value}]));
        limit(K, &format!("{spread}[].{field}"), keyword, Value::Null, Value::Null).with(whole(bad), whole(good))
    };
    let mut cases = text(K, &of("priorityClassName"), "", 253);
    cases.extend(text(K, &format!("{spread}[].topologyKey"), "", 317));
    let twice = json!([{"topologyKey": "zone"}, {"topologyKey": "zone"}]);
    cases.extend([
        limit(K, &spread, "duplicate", twice, keys(2)),
        limit(K, &spread, "maxItems", keys(9), keys(8)),
        required(K, &format!("{spread}[].topologyKey"), at(&spread, json!([{}])), at(&spread, keys(1))),
        in_spread("maxSkew", "minimum", json!(0), json!(1)),
        in_spread("maxSkew", "maximum", json!(101), json!(100)),
        words(K, &format!("{spread}[].whenUnsatisfiable"), "DoNotSchedule").with(
            at(&spread, json!([{"topologyKey": "zone", "whenUnsatisfiable": "Other"}])),
            at(&spread, json!([{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}])),
        ),
    ]);
    cases
}

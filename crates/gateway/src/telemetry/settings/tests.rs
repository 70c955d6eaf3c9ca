use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<OtelEnvironment, SettingsError> {
    OtelEnvironment::read(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

fn joined(pairs: &[(&str, &str)]) -> Option<Destination> {
    destination(&read(pairs).unwrap(), None).unwrap()
}

#[test]
fn nothing_set_means_no_traces() {
    assert!(joined(&[]).is_none());
    assert!(joined(&[("OTEL_SERVICE_NAME", "x")]).is_none());
    let url = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    assert!(joined(&[url, ("OTEL_SDK_DISABLED", "true")]).is_none());
    assert!(joined(&[url, ("OTEL_TRACES_EXPORTER", "none")]).is_none());
}

#[test]
fn opentelemetrys_variables_say_where_as_whom_and_how_many() {
    let found = joined(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0, x-a = b "),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test"),
        ("OTEL_SERVICE_NAME", "duo"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ])
    .unwrap();
    assert_eq!(found.url, "http://c:4318/v1/traces");
    assert_eq!(found.headers["authorization"], "Basic c2VjcmV0");
    assert_eq!(found.headers["x-a"], "b");
    assert_eq!(found.timeout, Duration::from_millis(2500));
    assert_eq!(found.sampler, Sampler { parent_based: true, share: ALL / 4 });
    assert_eq!(found.resource[0], ("service.name".into(), "duo".into()));
    assert!(found.resource.contains(&("deployment.environment.name".into(), "test".into())));
    assert!(!format!("{found:?}").contains("c2VjcmV0"));
    let own = joined(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"),
    ]);
    assert_eq!(own.unwrap().url, "http://t/x", "is used as it is");
}

#[test]
fn bad_values_are_refused_by_variable_without_the_value() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector-secret:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://secret"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc-secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=%zzsecret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "secret"),
        ("OTEL_TRACES_SAMPLER", "jaeger-secret"),
    ] {
        let error = read(&[(name, value)]).expect_err(name);
        assert_eq!(error.variable, name);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let error = read(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")]).unwrap_err();
    assert_eq!(error.variable, "OTEL_TRACES_SAMPLER_ARG");
}

#[test]
fn what_is_mounted_wins_over_the_environment() {
    let environment =
        read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]).unwrap();
    let tracing = |share| Tracing {
        otlp_endpoint: "http://c:4318/".into(),
        headers_file: Some("h".into()),
        sample_per_mille: share,
    };
    let found = destination(&environment, Some((&tracing(Some(500)), Some("{\"x-key\": \"k\"}")))).unwrap().unwrap();
    assert_eq!(found.url, "http://c:4318/v1/traces");
    assert_eq!((found.headers.get("x-key").unwrap().to_str().unwrap(), found.headers.get("a")), ("k", None));
    assert_eq!(found.sampler, Sampler { parent_based: true, share: ALL / 1000 * 500 });
    for bad in ["", "[]", "{\"a b\": \"c\"}", "{\"a\": 1}"] {
        assert!(destination(&environment, Some((&tracing(None), Some(bad)))).is_err(), "{bad}");
    }
}

#[test]
fn shares_of_new_traces_are_kept_and_callers_decisions_count() {
    let ids = || (0..1000_u64).map(|n| (u128::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).to_be_bytes());
    let kept = |share| ids().filter(|id| Sampler::per_mille(share).keeps(*id, None)).count();
    assert_eq!((kept(0), kept(1000)), (0, 1000));
    assert!((200..300).contains(&kept(250)), "{}", kept(250));
    let none = Sampler::per_mille(0);
    assert!(ids().all(|id| none.keeps(id, Some(true))));
    assert!(!Sampler::per_mille(1000).keeps([0xff; 16], Some(false)));
    assert!(Sampler::per_mille(1000).keeps([0xff; 16], None));
    assert!(!Sampler { parent_based: false, share: 0 }.keeps([1; 16], Some(true)));
}

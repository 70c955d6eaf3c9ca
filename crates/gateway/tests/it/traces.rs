//! Traces, as a collector sees them.

use axum::http::StatusCode;
use duo_gateway::telemetry::{OtelEnvironment, Sampler};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as SpanStatus};

use crate::support::collector::{Collector, attribute};
use crate::support::world::{claims, eventually};
use crate::support::{Script, World, config_folder};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn world(script: Script, collector: &Collector, change: impl FnOnce(&mut OtelEnvironment)) -> World {
    World::with(script, |settings, _, _| {
        settings.telemetry.url = Some(format!("{}/v1/traces", collector.url));
        settings.telemetry.headers.insert("x-tenant", "TENANTSECRET".parse().unwrap());
        change(&mut settings.telemetry);
    })
    .await
}

/// A completion with these headers, answered to its end.
async fn complete(world: &World, stream: bool, headers: &[(&str, &str)]) -> u16 {
    let mut body = world.completion();
    body["stream"] = stream.into();
    let mut call = world.signed(reqwest::Method::POST, "/v2/code/completions", &claims()).json(&body);
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    let answer = call.send().await.unwrap();
    let status = answer.status().as_u16();
    let _ = answer.bytes().await;
    status
}

async fn spans(collector: &Collector, count: usize) -> Vec<Span> {
    eventually("spans", || {
        let spans = collector.spans();
        (spans.len() >= count).then_some(spans)
    })
    .await
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind == kind as i32).collect()
}

#[tokio::test]
async fn a_request_and_its_call_are_one_trace_that_begins_with_the_caller_and_goes_on_to_the_model_server() {
    let collector = Collector::start().await;
    let world = world(Script::Say("puts 1".into()), &collector, |_| {}).await;
    assert_eq!(complete(&world, true, &[("traceparent", PARENT), ("tracestate", "a=b")]).await, 200);
    let spans = spans(&collector, 2).await;
    let (server, client) = (of_kind(&spans, SpanKind::Server), of_kind(&spans, SpanKind::Client));
    let (server, client) = (server[0], client[0]);

    assert_eq!((hex(&server.trace_id), hex(&server.parent_span_id)), (TRACE.into(), "b7ad6b7169203331".into()));
    assert_eq!(server.trace_state, "a=b");
    assert_eq!(server.name, "POST /v2/code/completions");
    let of_server = |name| attribute(&server.attributes, name);
    assert_eq!(of_server("http.response.status_code").as_deref(), Some("200"));
    assert_eq!(of_server("http.route").as_deref(), Some("/v2/code/completions"));
    assert_eq!(of_server("error.type"), None);

    assert_eq!((client.trace_id.clone(), &client.parent_span_id), (server.trace_id.clone(), &server.span_id));
    assert_eq!(client.name, "chat the-model");
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    let of_client = |name| attribute(&client.attributes, name);
    for (name, expected) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "the-model"),
        ("gen_ai.usage.input_tokens", "11"),
        ("gen_ai.usage.output_tokens", "7"),
        ("gen_ai.response.finish_reasons", "stop"),
        ("server.address", "127.0.0.1"),
        ("duo.call", "1"),
        ("duo.place", "primary"),
    ] {
        assert_eq!(of_client(name).as_deref(), Some(expected), "{name}");
    }

    let sent = world.upstream.last().headers;
    assert_eq!(sent["traceparent"], format!("00-{TRACE}-{}-01", hex(&client.span_id)));
    assert_eq!(sent["tracestate"], "a=b");
    let delivery = &collector.deliveries()[0];
    assert_eq!(
        (delivery.path.as_str(), delivery.headers["x-tenant"].to_str().unwrap()),
        ("/v1/traces", "TENANTSECRET")
    );
    let resource = delivery.request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("duo-gateway"));
    let line = world.access(1).await.remove(0);
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["span_id"], hex(&server.span_id));
}

#[tokio::test]
async fn failed_calls_are_spans_of_their_own_with_the_class_of_the_error() {
    let collector = Collector::start().await;
    let world = world(Script::Status(500, vec![], "no".into()), &collector, |_| {}).await;
    assert_eq!(complete(&world, false, &[]).await, 503);
    let spans = eventually("all spans", || {
        let spans = collector.spans();
        (!of_kind(&spans, SpanKind::Server).is_empty()).then_some(spans)
    })
    .await;
    let server = of_kind(&spans, SpanKind::Server)[0];
    let clients = of_kind(&spans, SpanKind::Client);
    assert_eq!(clients.len(), world.upstream.received().len(), "one for each call");
    assert_eq!(server.status.as_ref().unwrap().code(), SpanStatus::Error);
    assert_eq!(attribute(&server.attributes, "error.type").as_deref(), Some("503"));
    for client in clients {
        assert_eq!(client.status.as_ref().unwrap().code(), SpanStatus::Error);
        assert_eq!(attribute(&client.attributes, "error.type").as_deref(), Some("500"));
        assert_eq!(client.parent_span_id, server.span_id);
    }
    assert!(server.parent_span_id.is_empty(), "nobody called with a trace");
}

#[tokio::test]
async fn a_caller_decides_whether_its_trace_is_kept() {
    let collector = Collector::start().await;
    let world = world(Script::Say("x".into()), &collector, |telemetry| {
        telemetry.sampler = Sampler::per_mille(0);
    })
    .await;
    complete(&world, false, &[]).await;
    let not_kept = PARENT.replace("-01", "-00");
    complete(&world, false, &[("traceparent", &not_kept)]).await;
    let passed_on = world.upstream.last().headers["traceparent"].to_str().unwrap().to_owned();
    assert!(passed_on.starts_with(&format!("00-{TRACE}-")) && passed_on.ends_with("-00"), "{passed_on}");
    complete(&world, false, &[("traceparent", PARENT)]).await;
    let spans = spans(&collector, 2).await;
    assert_eq!(spans.len(), 2);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
}

#[tokio::test]
async fn without_a_collector_the_callers_trace_is_passed_on_as_it_came() {
    let world = World::new(Script::Say("x".into())).await;
    complete(&world, false, &[("traceparent", PARENT), ("tracestate", "a=b")]).await;
    let sent = world.upstream.last().headers;
    assert_eq!((&sent["traceparent"], &sent["tracestate"]), (&PARENT.parse().unwrap(), &"a=b".parse().unwrap()));
    complete(&world, false, &[("traceparent", "nonsense"), ("tracestate", "a=b")]).await;
    let sent = world.upstream.last().headers;
    assert!(sent.get("traceparent").is_none() && sent.get("tracestate").is_none());
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let busy = Collector::refusing(vec![(StatusCode::SERVICE_UNAVAILABLE, Some("0")); 2]).await;
    let first = world(Script::Say("x".into()), &busy, |_| {}).await;
    complete(&first, false, &[]).await;
    assert_eq!(spans(&busy, 2).await.len(), 2);
    assert!(first.metrics().await.contains("duo_gateway_spans_exported_total 2\n"));

    let refusing = Collector::refusing(vec![(StatusCode::UNAUTHORIZED, None)]).await;
    let second = world(Script::Say("x".into()), &refusing, |_| {}).await;
    complete(&second, false, &[]).await;
    while !second.metrics().await.contains("duo_gateway_spans_dropped_total 2\n") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(refusing.spans().is_empty());
}

#[tokio::test]
async fn what_waits_is_sent_when_the_gateway_stops() {
    let collector = Collector::start().await;
    let world = world(Script::Say("x".into()), &collector, |_| {}).await;
    for _ in 0..20 {
        complete(&world, false, &[]).await;
    }
    let World { gateway, http, .. } = world;
    drop(http);
    gateway.stop().await;
    assert_eq!(collector.spans().len(), 40, "the stop has waited for them");
}

#[tokio::test]
async fn the_mounted_configuration_turns_traces_on_and_off_while_running() {
    let collector = Collector::start().await;
    let base = "gitlab: {url: $ISSUER}\nundeclaredModels: Allow\n";
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("x".into()), |settings, issuer, upstream| {
        let folder = config_folder(base, issuer, upstream, &[("headers", "{\"x-tenant\": \"t\"}")]);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some((folder, issuer.to_owned()));
    })
    .await;
    let (folder, issuer) = slot.into_inner().unwrap().unwrap();
    complete(&world, false, &[]).await;
    assert!(world.upstream.last().headers.get("traceparent").is_none());

    let put = async |text: String| {
        let before = world.hash().await;
        std::fs::write(folder.path().join("config.yaml"), text.replace("$ISSUER", &issuer)).unwrap();
        while world.hash().await == before {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    put(format!("{base}tracing: {{otlpEndpoint: '{}', headersFile: headers}}\n", collector.url)).await;
    complete(&world, false, &[]).await;
    assert_eq!(spans(&collector, 2).await.len(), 2);
    assert_eq!(collector.deliveries()[0].headers["x-tenant"], "t");

    put(base.to_owned()).await;
    complete(&world, false, &[]).await;
    assert!(world.upstream.last().headers.get("traceparent").is_none());
}

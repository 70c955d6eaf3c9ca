use http::HeaderValue;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

struct Vector {
    method: Method,
    path: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    scope: &'static str,
    signed: &'static str,
    signature: &'static str,
}

/// The first three are AWS's published suite (`get-vanilla`, `post-vanilla`, `get-vanilla-query-order-key-case`), the
/// others were signed with botocore 1.44.5: encoded `:` and `/` in the path are encoded a second time.
fn vectors() -> Vec<Vector> {
    let plain: &[_] = &[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
    let json: &[_] =
        &[("content-type", "application/json"), ("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
    let temporary: &[_] = &[
        ("content-type", "application/json"),
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("x-amz-security-token", "TOKEN/+="),
    ];
    let vector = |method, path, query, headers, body, scope, signed, signature| Vector {
        method,
        path,
        query,
        headers,
        body,
        scope,
        signed,
        signature,
    };
    let suite = "20150830/us-east-1/service/aws4_request";
    vec![
        vector(
            Method::GET,
            "/",
            "",
            plain,
            b"",
            suite,
            "host;x-amz-date",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        vector(
            Method::POST,
            "/",
            "",
            plain,
            b"",
            suite,
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        vector(
            Method::GET,
            "/",
            "Param2=value2&Param1=value1",
            plain,
            b"",
            suite,
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        vector(
            Method::POST,
            "/model/mistral.mixtral-8x7b-instruct-v0%3A1/converse",
            "",
            json,
            b"{\"messages\":[]}",
            "20150830/eu-central-1/bedrock/aws4_request",
            "content-type;host;x-amz-date",
            "b546922816fc3c94f6e97b8974f50172576a11fe65a15de37eca5847bceb36c2",
        ),
        vector(
            Method::POST,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Fanthropic.claude-3-sonnet-20240229-v1%3A0/converse-stream",
            "",
            temporary,
            b"{}",
            "20150830/us-east-1/bedrock/aws4_request",
            "content-type;host;x-amz-date;x-amz-security-token",
            "d61ea5f9ce78e018f35146f7a2101cb3040bb02ef342bfc2e22b575727787381",
        ),
    ]
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

fn authorization(vector: &Vector) -> Authorization {
    let value = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{}, SignedHeaders={}, Signature={}",
        vector.scope, vector.signed, vector.signature
    );
    Authorization::parse(&value).unwrap()
}

fn verify(vector: &Vector, change: impl FnOnce(&mut HeaderMap, &mut Vec<u8>)) -> Result<(), Refusal> {
    let (mut headers, mut body) = (headers(vector.headers), vector.body.to_vec());
    change(&mut headers, &mut body);
    let request =
        Request { method: &vector.method, path: vector.path, query: vector.query, headers: &headers, body: &body };
    authorization(vector).verify(&request, &Secret::from(SECRET))
}

#[test]
fn signatures_of_the_published_suite_and_of_botocore_are_accepted() {
    for vector in vectors() {
        assert_eq!(verify(&vector, |_, _| {}), Ok(()), "{} {}", vector.path, vector.query);
    }
}

#[test]
fn another_body_secret_or_header_is_refused() {
    for vector in vectors() {
        let wrong_body = verify(&vector, |_, body| body.push(b' '));
        let wrong_host = verify(&vector, |headers, _| {
            headers.insert("host", HeaderValue::from_static("elsewhere"));
        });
        for got in [wrong_body, wrong_host] {
            let refusal = got.unwrap_err();
            assert_eq!((refusal.code, refusal.status), ("InvalidSignatureException", 403));
            assert!(!refusal.message.contains(SECRET));
        }
    }
}

#[test]
fn an_amz_header_that_is_not_signed_is_refused() {
    let vector = &vectors()[3];
    let got = verify(vector, |headers, _| {
        headers.insert("x-amz-security-token", HeaderValue::from_static("t"));
    });
    assert!(got.unwrap_err().message.contains("'x-amz-security-token' must be a 'SignedHeader'"));
}

#[test]
fn a_claimed_payload_hash_that_is_not_the_bodys_is_refused() {
    let got = verify(&vectors()[3], |headers, _| {
        headers.insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    });
    assert!(got.is_err());
}

#[test]
fn the_time_may_be_off_by_the_skew_and_no_more() {
    let vector = &vectors()[0];
    let (authorization, headers) = (authorization(vector), headers(vector.headers));
    let signed: jiff::Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
    for (offset, words) in [(0, ""), (300, ""), (-300, ""), (301, "Signature expired"), (-301, "not yet current")] {
        let now = signed + jiff::SignedDuration::from_secs(offset);
        let got = check_time(&authorization, &headers, now, 300).err().map_or(String::new(), |refusal| refusal.message);
        assert!(got.starts_with("Signature") != words.is_empty() && got.contains(words), "{offset}: {got}");
    }
}

#[test]
fn malformed_authorizations_say_what_is_missing() {
    let scope = "A/20150830/us-east-1/bedrock/aws4_request";
    for (value, words) in [
        ("Basic abc".to_owned(), "Unsupported AWS 'algorithm'"),
        (format!("AWS4-HMAC-SHA256 Credential={scope}, Signature=ab"), "'SignedHeaders'"),
        (format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host"), "'Signature'"),
        ("AWS4-HMAC-SHA256 Credential=A/B, SignedHeaders=host, Signature=ab".to_owned(), "5 slash-delimited"),
    ] {
        assert!(Authorization::parse(&value).unwrap_err().message.contains(words), "{value}");
    }
}

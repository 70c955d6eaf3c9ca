//! AWS Signature Version 4, the receiving side: takes a request apart, computes what its signature must be and says
//! what is wrong with it. It must not know keys or models.
//!
//! Written from AWS's description of the canonical request. Services other than S3 encode the path a second time.

use hmac::{Hmac, Mac};
use http::{HeaderMap, Method, header};
use sha2::{Digest, Sha256};

use super::error::Refusal;
use crate::upstream::{Secret, secret::constant_time_eq};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What the `Authorization` header of a signed request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The access key id.
    pub access_key_id: String,
    /// `YYYYMMDD`.
    pub date: String,
    /// The region the request is signed for.
    pub region: String,
    /// The signing name of the service.
    pub service: String,
    /// Names of the signed headers, in lower case, sorted.
    pub signed_headers: Vec<String>,
    /// The signature, 64 hex digits.
    pub signature: String,
}

/// The parts of a request that are signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it came on the request line.
    pub path: &'a str,
    /// The query as it came, without `?`.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

impl Authorization {
    /// Reads the header's value.
    pub fn parse(value: &str) -> Result<Self, Refusal> {
        let incomplete = |what: &str| {
            Refusal::new(
                "IncompleteSignatureException",
                403,
                format!(
                    "Authorization header requires '{what}' parameter. (Hashed with SHA-256 and encoded with Base64)"
                ),
            )
        };
        let rest = value.strip_prefix(ALGORITHM).ok_or_else(|| {
            Refusal::new(
                "IncompleteSignatureException",
                403,
                format!("Unsupported AWS 'algorithm', expected {ALGORITHM}"),
            )
        })?;
        let field = |name: &'static str| {
            rest.split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
                .ok_or_else(|| incomplete(name))
        };
        let credential = field("Credential")?;
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = parts[..] else {
            return Err(Refusal::signature(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term",
            ));
        };
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: field("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: field("Signature")?,
        })
    }

    /// Checks the signature with the key's secret. The time is checked by [`check_time`].
    pub fn verify(&self, request: &Request<'_>, secret: &Secret) -> Result<(), Refusal> {
        self.check_signed_headers(request.headers)?;
        let payload_hash = hex::encode(Sha256::digest(request.body));
        if let Some(claimed) = header_value(request.headers, "x-amz-content-sha256")
            && claimed != payload_hash
        {
            return Err(Refusal::signature(
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ));
        }
        let canonical = canonical_request(request, &self.signed_headers, &payload_hash);
        let timestamp = header_value(request.headers, "x-amz-date").unwrap_or_default();
        let expected = self.signature_of(&canonical, &timestamp, secret);
        if constant_time_eq(expected.as_bytes(), self.signature.as_bytes()) {
            return Ok(());
        }
        Err(Refusal::signature(format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for \
             this request should have been\n'{canonical}'"
        )))
    }

    /// `host` and every `x-amz-*` header that is there must be signed, else another could change them on the way.
    fn check_signed_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let amz = headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
        for name in std::iter::once("host").chain(amz) {
            if !self.signed_headers.iter().any(|signed| signed == name) {
                return Err(Refusal::signature(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
            }
        }
        Ok(())
    }

    fn signature_of(&self, canonical: &str, timestamp: &str, secret: &Secret) -> String {
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let mut key = hmac(format!("AWS4{}", secret.reveal()).as_bytes(), self.date.as_bytes());
        for part in [self.region.as_str(), self.service.as_str(), "aws4_request", to_sign.as_str()] {
            key = hmac(&key, part.as_bytes());
        }
        hex::encode(key)
    }
}

/// Checks that `x-amz-date` is of the credential's day and at most `skew` seconds away from `now`.
pub fn check_time(
    authorization: &Authorization,
    headers: &HeaderMap,
    now: jiff::Timestamp,
    skew: i64,
) -> Result<(), Refusal> {
    let stamp = header_value(headers, "x-amz-date").ok_or_else(|| {
        Refusal::new(
            "IncompleteSignatureException",
            403,
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        )
    })?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &stamp)
        .ok()
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .ok_or_else(|| Refusal::signature(format!("Date must be in ISO-8601 'basic format'. Got '{stamp}'.")))?;
    if !stamp.starts_with(&authorization.date) {
        return Err(Refusal::signature(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{stamp}'",
            authorization.date
        )));
    }
    let age = now.as_second() - time.timestamp().as_second();
    let basic = |second: i64| {
        jiff::Timestamp::from_second(second).map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string()).unwrap_or_default()
    };
    let now_text = basic(now.as_second());
    if age > skew {
        let limit = basic(now.as_second() - skew);
        return Err(Refusal::signature(format!(
            "Signature expired: {stamp} is now earlier than {limit} ({now_text} - {skew} s.)"
        )));
    }
    if age < -skew {
        let limit = basic(now.as_second() + skew);
        return Err(Refusal::signature(format!(
            "Signature not yet current: {stamp} is still later than {limit} ({now_text} + {skew} s.)"
        )));
    }
    Ok(())
}

/// The canonical request that the signature covers.
pub fn canonical_request(request: &Request<'_>, signed_headers: &[String], payload_hash: &str) -> String {
    let mut query: Vec<String> = request.query.split('&').filter(|pair| !pair.is_empty()).map(with_equals).collect();
    query.sort();
    let headers: String = signed_headers
        .iter()
        .map(|name| format!("{name}:{}\n", header_value(request.headers, name).unwrap_or_default()))
        .collect();
    format!(
        "{}\n{}\n{}\n{headers}\n{}\n{payload_hash}",
        request.method,
        encode_path(request.path),
        query.join("&"),
        signed_headers.join(";")
    )
}

/// Encodes the path once more: what arrives is encoded already, so `%3A` becomes `%253A`.
fn encode_path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn with_equals(pair: &str) -> String {
    if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") }
}

/// A header's values joined by commas, blanks at the ends dropped and runs of blanks made one. HTTP/2 requests name
/// the host in the request line; the caller puts it back under `host`.
fn header_value(headers: &HeaderMap, name: &str) -> Option<String> {
    let name: header::HeaderName = name.parse().ok()?;
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length, so the error case does not exist
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests;

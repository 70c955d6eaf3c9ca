//! How calls are addressed and signed, as the AWS SDK would do it. The SDK decides where to and as whom: it is asked to
//! prepare a call, and what it says as it comes to signing is kept for a while, so that most calls need none of its
//! layers. Nothing is sent for that, unless credentials have to be fetched.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_runtime::auth::sigv4::SigV4AuthScheme;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{Builder, Token};
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::http::HTTP_BEARER_AUTH_SCHEME_ID;
use aws_smithy_runtime_api::client::auth::{AuthScheme, AuthSchemeEndpointConfig, AuthSchemeId, Sign};
use aws_smithy_runtime_api::client::identity::{Identity, SharedIdentityResolver};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{GetIdentityResolver, RuntimeComponents};
use aws_smithy_types::config_bag::ConfigBag;
use duo_protocol::model::UpstreamFailure;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::failure;
use crate::upstream::way::AGENT;

/// After this time the SDK is asked again, whose own cache renews credentials before they end.
const KEPT: Duration = Duration::from_secs(30);
/// From so long before credentials end, it is asked each time.
const EARLY: Duration = Duration::from_secs(15);
/// The call that the SDK prepares.
const MODEL: &str = "m";
const PATH: &str = "/model/m/invoke";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where to and as whom.
#[derive(Debug)]
pub(super) struct Permit {
    /// Address in front of `/model/`.
    pub(super) base: String,
    who: Who,
    until: Instant,
}

/// Says nothing of keys.
enum Who {
    Bearer(HeaderValue),
    Keys { identity: Identity, region: String, service: String },
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Keys { .. } => "Keys",
        })
    }
}

impl Permit {
    /// Asks the SDK.
    ///
    /// # Errors
    /// Why it cannot prepare a call: there are no credentials, or they cannot be fetched.
    pub(super) async fn ask(client: &Client) -> Result<Self, UpstreamFailure> {
        let call = client.invoke_model().model_id(MODEL).body(Blob::new("{}"));
        let Err(error) = call.send().await else { return Err(failure::not_asked()) };
        let mut at: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(one) = at {
            if let Some(Told { address, as_whom, expiry }) = one.downcast_ref() {
                let base = address.strip_suffix(PATH).ok_or_else(failure::not_asked)?.to_owned();
                let who = as_whom.clone().into_who().ok_or_else(failure::not_asked)?;
                let ends = expiry.map_or(KEPT, |end| end.duration_since(SystemTime::now()).unwrap_or_default());
                return Ok(Self { base, who, until: Instant::now() + ends.saturating_sub(EARLY).min(KEPT) });
            }
            at = one.source();
        }
        Err(failure::of_preparing(&error))
    }

    /// Whether it need not be asked for again yet.
    pub(super) fn holds(&self) -> bool {
        Instant::now() < self.until
    }

    /// The headers of a `POST` of JSON to an address below [`Permit::base`], signed at `time`.
    ///
    /// # Errors
    /// [`UpstreamFailure`] when it cannot be signed.
    pub(super) fn headers(&self, url: &str, body: &[u8], time: SystemTime) -> Result<HeaderMap, UpstreamFailure> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, JSON);
        match &self.who {
            Who::Bearer(key) => {
                headers.insert(AUTHORIZATION, key.clone());
            }
            Who::Keys { identity, region, service } => {
                let params = v4::SigningParams::builder()
                    .identity(identity)
                    .region(region)
                    .name(service)
                    .time(time)
                    .settings(SigningSettings::default())
                    .build()
                    .map_err(|_| failure::not_asked())?;
                let kind = std::iter::once(("content-type", "application/json"));
                let request = SignableRequest::new("POST", url, kind, SignableBody::Bytes(body));
                let signed = request.and_then(|request| sign(request, &SigningParams::V4(params)));
                let (instructions, _) = signed.map_err(|_| failure::not_asked())?.into_parts();
                for header in instructions.into_parts().0 {
                    let mut value = HeaderValue::try_from(header.value()).map_err(|_| failure::not_asked())?;
                    value.set_sensitive(header.sensitive());
                    headers.insert(HeaderName::from_static(header.name()), value);
                }
            }
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(headers)
    }
}

/// Adds to a client's configuration that it tells instead of signing.
pub(super) fn telling(config: Builder) -> Builder {
    config.push_auth_scheme(Telling::Keys(SigV4AuthScheme::new())).push_auth_scheme(Telling::Bearer)
}

/// A way to sign that signs nothing: it fails with what a signer is told.
#[derive(Debug)]
enum Telling {
    Keys(SigV4AuthScheme),
    Bearer,
}

#[derive(Clone)]
enum AsWhom {
    /// With what the SDK's own signer wrote.
    Keys(Identity, String),
    Bearer(Token),
}

/// Comes as an error out of the SDK. Says nothing of keys.
struct Told {
    address: String,
    as_whom: AsWhom,
    expiry: Option<SystemTime>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("prepared, and not sent")
    }
}

impl Error for Told {}

impl AsWhom {
    fn into_who(self) -> Option<Who> {
        match self {
            Self::Bearer(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.token())).ok()?;
                value.set_sensitive(true);
                Some(Who::Bearer(value))
            }
            // AWS4-HMAC-SHA256 Credential=<id>/<date>/<region>/<service>/aws4_request, …
            Self::Keys(identity, authorization) => {
                let scope = authorization.split_once("Credential=")?.1.split_once(',')?.0;
                let mut parts = scope.rsplit('/').skip(1);
                let (service, region) = (parts.next()?.to_owned(), parts.next()?.to_owned());
                Some(Who::Keys { identity, region, service })
            }
        }
    }
}

impl AuthScheme for Telling {
    fn scheme_id(&self) -> AuthSchemeId {
        match self {
            Self::Keys(signing) => signing.scheme_id(),
            Self::Bearer => HTTP_BEARER_AUTH_SCHEME_ID,
        }
    }

    fn identity_resolver(&self, resolvers: &dyn GetIdentityResolver) -> Option<SharedIdentityResolver> {
        resolvers.identity_resolver(self.scheme_id())
    }

    fn signer(&self) -> &dyn Sign {
        self
    }
}

impl Sign for Telling {
    fn sign_http_request(
        &self,
        request: &mut HttpRequest,
        identity: &Identity,
        endpoint: AuthSchemeEndpointConfig<'_>,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        let as_whom = match self {
            Self::Bearer => AsWhom::Bearer(identity.data::<Token>().ok_or("a token of an unknown kind")?.clone()),
            Self::Keys(signing) => {
                signing.signer().sign_http_request(request, identity, endpoint, components, config)?;
                let written = request.headers().get("authorization").ok_or("no signature")?.to_owned();
                AsWhom::Keys(identity.clone(), written)
            }
        };
        let keys = identity.data::<Credentials>().and_then(Credentials::expiry);
        let expiry = keys.or(identity.expiration());
        Err(Told { address: request.uri().to_owned(), as_whom, expiry }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Identity {
        let keys = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", Some("session".to_owned()), None, "test");
        Identity::new(keys, None)
    }

    #[test]
    fn region_and_service_are_those_of_the_sdks_own_signature() {
        let written = "AWS4-HMAC-SHA256 Credential=AKID/20261123/eu-west-3/bedrock/aws4_request, SignedHeaders=a;b, \
                       Signature=0f";
        let Some(Who::Keys { region, service, .. }) = AsWhom::Keys(keys(), written.to_owned()).into_who() else {
            panic!("keys")
        };
        assert_eq!((region.as_str(), service.as_str()), ("eu-west-3", "bedrock"));
    }

    #[test]
    fn a_call_is_signed_with_all_that_is_sent_and_keys_are_not_shown() {
        let who = Who::Keys { identity: keys(), region: "us-east-1".into(), service: "bedrock".into() };
        let permit = Permit { base: "https://bedrock".into(), who, until: Instant::now() };
        let headers = permit.headers("https://bedrock/model/a%3A0/converse", b"{}", SystemTime::UNIX_EPOCH).unwrap();
        let authorization = headers[AUTHORIZATION].to_str().unwrap();
        let scope = "Credential=AKIDEXAMPLE/19700101/us-east-1/bedrock/aws4_request, ";
        let signed = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ";
        assert!(authorization.contains(scope) && authorization.contains(signed), "{authorization}");
        assert_eq!(headers["x-amz-security-token"], "session");
        assert!(headers["x-amz-security-token"].is_sensitive());
        assert!(!format!("{permit:?}").contains("wJalr"));
    }
}

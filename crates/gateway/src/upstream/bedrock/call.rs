//! One call of Bedrock: addressed, signed, sent over the gateway's own client, its refusal told.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use duo_protocol::bedrock::parse_error;
use duo_protocol::model::{ChatMessage, UpstreamFailure};
use http::header::DATE;

use super::permit::Permit;
use super::{Bedrock, failure};
use crate::upstream::caller::{Reply, Target};
use crate::upstream::json::{MAX_ERROR, read, retry_after};

/// AWS refuses signatures of clocks that differ by more than five minutes; what differs less is not the clock's fault.
const SKEW: i64 = 240;

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Converse,
    ConverseStream,
    Invoke,
}

impl Verb {
    fn path(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::ConverseStream => "converse-stream",
            Self::Invoke => "invoke",
        }
    }
}

/// The addresses of one model, below one base.
#[derive(Debug)]
pub(super) struct Addresses {
    base: String,
    targets: [Target; 3],
}

/// How far AWS' clock is ahead of ours, in seconds, where ours is far off.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    fn now(&self) -> SystemTime {
        let ahead = self.0.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        let now = SystemTime::now();
        if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }

    /// A refusal was written at this time.
    fn told(&self, date: &str) {
        let parsed = jiff::fmt::rfc2822::parse(date);
        let Ok(date) = parsed else { return };
        let ahead = date.timestamp().as_second().saturating_sub(jiff::Timestamp::now().as_second());
        self.0.store(if ahead.abs() >= SKEW { ahead } else { 0 }, Ordering::Relaxed);
    }
}

impl Bedrock {
    /// The head of a good answer.
    pub(super) async fn call(
        &self,
        door: &super::Door,
        model: &str,
        verb: Verb,
        body: Vec<u8>,
        asked: &[ChatMessage],
    ) -> Result<Reply, UpstreamFailure> {
        let permit = self.permit().await?;
        let addresses = self.addresses(door, model, &permit)?;
        let target = &addresses.targets[verb as usize];
        let headers = permit.headers(target.url.as_str(), &body, self.inner.clock.now())?;
        let sent = self.inner.caller.post(target, headers, body).await;
        let mut reply = sent.map_err(|error| failure::unreachable(&error))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(reply);
        }
        let text = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok());
        if matches!(status.as_u16(), 401 | 403) {
            self.inner.permit.store(None);
            if let Some(date) = text(DATE.as_str()) {
                self.inner.clock.told(date);
            }
        }
        let kind = text("x-amzn-errortype").map(str::to_owned);
        let retry_after = retry_after(reply.headers());
        let body = read(&mut reply, MAX_ERROR).await.unwrap_or_default();
        Err(parse_error(status.as_u16(), kind.as_deref(), retry_after, &body, asked))
    }

    async fn permit(&self) -> Result<Arc<Permit>, UpstreamFailure> {
        if let Some(permit) = self.inner.permit.load_full().filter(|permit| permit.holds()) {
            return Ok(permit);
        }
        // the SDK's futures are large, and this is seldom
        let permit = Arc::new(Box::pin(async { Permit::ask(self.client().await?).await }).await?);
        self.inner.permit.store(Some(permit.clone()));
        Ok(permit)
    }

    fn addresses(&self, door: &super::Door, model: &str, permit: &Permit) -> Result<Arc<Addresses>, UpstreamFailure> {
        let mut kept = door.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = kept.as_ref().filter(|addresses| addresses.base == permit.base) {
            return Ok(addresses.clone());
        }
        let model = segment(model).ok_or_else(failure::not_asked)?;
        let target = |verb: Verb| {
            let url = format!("{}/model/{model}/{}", permit.base, verb.path());
            reqwest::Url::parse(&url).map(|url| self.inner.caller.target(url)).map_err(|_| failure::not_asked())
        };
        let targets = [target(Verb::Converse)?, target(Verb::ConverseStream)?, target(Verb::Invoke)?];
        let addresses = Arc::new(Addresses { base: permit.base.clone(), targets });
        *kept = Some(addresses.clone());
        Ok(addresses)
    }
}

/// A model's name as one segment of a path; `None` for those that mean another folder.
fn segment(model: &str) -> Option<String> {
    if matches!(model, "." | "..") {
        return None;
    }
    let mut out = String::with_capacity(model.len() + 16);
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").ok()?;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_is_one_segment_of_the_path() {
        let arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/ab~c";
        let written = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fab~c";
        assert_eq!(segment(arn).as_deref(), Some(written));
        assert_eq!(segment("../é?").as_deref(), Some("..%2F%C3%A9%3F"));
        for other in [".", ".."] {
            assert_eq!(segment(other), None);
        }
    }

    #[test]
    fn calls_are_signed_by_awss_clock_where_ours_is_far_off() {
        let clock = Clock::default();
        let off = |clock: &Clock| clock.0.load(Ordering::Relaxed);
        clock.told(&http_date(-3600));
        assert!((-3602..=-3598).contains(&off(&clock)), "{}", off(&clock));
        assert!(clock.now() < SystemTime::now() - Duration::from_secs(3500));
        clock.told("yesterday");
        assert_ne!(off(&clock), 0, "what cannot be read says nothing");
        clock.told(&http_date(20));
        assert_eq!(off(&clock), 0);
    }

    fn http_date(ahead: i64) -> String {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}

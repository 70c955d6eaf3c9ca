//! The faults, and which calls they can meet.

use std::fmt;
use std::str::FromStr;

use super::Named;

/// What happens to a call or a watch event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The caller is killed before the call takes effect.
    KilledBefore,
    /// The caller is killed after the call took effect, before it has the answer.
    KilledAfter,
    /// The connection is cut before the call takes effect.
    CutBefore,
    /// The connection is cut after the call took effect: the answer is lost.
    CutAfter,
    /// The answer comes late: 1.5 s.
    Delayed,
    /// 409 in place of the effect.
    Conflict,
    /// 410 in place of the effect.
    Gone,
    /// 429 with `Retry-After: 1` in place of the effect.
    TooMany,
    /// 503 in place of the effect.
    Unavailable,
    /// 500 after the call took effect.
    ErrorAfter,
    /// A proxy's 502 in HTML in place of the effect.
    Html,
    /// The answer is the previous, different one to the same question.
    Stale,
    /// The watch event never arrives; the stream goes on.
    EventLost,
    /// The stream ends in place of the event, as a connection that breaks.
    StreamCut,
    /// The stream says 410 in place of the event, and ends.
    StreamGone,
}

impl Fault {
    /// All.
    pub const ALL: [Self; 15] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::CutBefore,
        Self::CutAfter,
        Self::Delayed,
        Self::Conflict,
        Self::Gone,
        Self::TooMany,
        Self::Unavailable,
        Self::ErrorAfter,
        Self::Html,
        Self::Stale,
        Self::EventLost,
        Self::StreamCut,
        Self::StreamGone,
    ];

    /// Whether it is one of watch events; the others are of calls.
    pub fn is_of_events(self) -> bool {
        matches!(self, Self::EventLost | Self::StreamCut | Self::StreamGone)
    }

    /// Whether it makes sense for this call: only answers to lists can be stale, and a watch that has begun cannot be
    /// answered with an error any more.
    pub fn fits(self, call: &Named) -> bool {
        match self {
            Self::EventLost | Self::StreamCut | Self::StreamGone => false,
            Self::Stale => call.list,
            Self::ErrorAfter => call.watch.is_none(),
            _ => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(|fault| fault.to_string()).join(", ");
        Self::ALL
            .into_iter()
            .find(|fault| fault.to_string() == text)
            .ok_or_else(|| format!("{text:?} is none of {}", names()))
    }
}

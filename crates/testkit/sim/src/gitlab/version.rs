//! Which GitLab the server pretends to be, and what that release has or lacks.

use std::fmt;
use std::str::FromStr;

/// A GitLab release, 17.9 or newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// The release `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Whether this release is `major.minor` or newer.
    pub const fn at_least(self, major: u32, minor: u32) -> bool {
        self.major > major || (self.major == major && self.minor >= minor)
    }

    /// As the API says it: an Enterprise Edition ends in `-ee`.
    pub fn reported(self) -> String {
        format!("{self}-ee")
    }

    /// The newer schema shape, where models have a `provider`.
    ///
    /// The release in which the argument came was 18.11 or 19.0 (inferred); 19.0 is taken.
    pub const fn has_model_provider(self) -> bool {
        self.at_least(19, 0)
    }
}

impl Default for Version {
    fn default() -> Self {
        Self::new(19, 5, 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.split('-').next().unwrap_or(text);
        let mut numbers = plain.split('.').map(str::parse::<u32>);
        let mut next = |name: &str| match numbers.next() {
            Some(Ok(number)) => Ok(number),
            None if name == "patch" => Ok(0),
            _ => Err(format!("{text:?} is not a GitLab version; give it as 18.9.0")),
        };
        let version = Self { major: next("major")?, minor: next("minor")?, patch: next("patch")? };
        if !version.at_least(17, 9) {
            return Err(format!("GitLab {version} is older than 17.9, where Duo Self-Hosted begins"));
        }
        Ok(version)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

//! Version constraints of prompts, as Rails sends them: `^1.0.0`, sometimes an exact version.

use semver::{Version, VersionReq};

use super::catalog::PromptError;

/// Whether `version` of prompt `id` fits `constraint` (absent: `^1.0.0`). A bare version means exactly that one.
///
/// # Errors
/// 400 for a constraint that does not parse, or that ours does not fit.
pub fn check_version(id: &str, version: &Version, constraint: Option<&str>) -> Result<(), PromptError> {
    let text = constraint.unwrap_or("^1.0.0").trim();
    let shown: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    let fits = if let Ok(exact) = Version::parse(text) {
        exact == *version
    } else {
        match VersionReq::parse(text) {
            Ok(range) => range.matches(version),
            Err(_) => return Err(PromptError::BadConstraint { constraint: shown }),
        }
    };
    if fits {
        return Ok(());
    }
    Err(PromptError::NoVersion { id: id.to_owned(), constraint: shown, version: version.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints() {
        let ours = Version::new(1, 2, 0);
        let table = [
            (None, "ok"),
            (Some("^1.0.0"), "ok"),
            (Some("~1.2"), "ok"),
            (Some(">=1.0, <2"), "ok"),
            (Some("*"), "ok"),
            (Some("1.2.0"), "ok"),
            (Some("1.0.0"), "none"),
            (Some("^2.0.0"), "none"),
            (Some("^1.3.0"), "none"),
            (Some("latest"), "bad"),
            (Some(""), "bad"),
            (Some("^^1"), "bad"),
        ];
        for (constraint, wanted) in table {
            let got = match check_version("x", &ours, constraint) {
                Ok(()) => "ok",
                Err(PromptError::NoVersion { .. }) => "none",
                Err(_) => "bad",
            };
            assert_eq!(got, wanted, "{constraint:?}");
        }
    }
}

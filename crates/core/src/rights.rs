//! What token, licence and add-ons allow. GitLab answers a missing scope, a user who is no administrator, a licence that ran
//! out and a missing add-on with one sentence, or with nothing at all; these facts tell the causes apart.
//!
//! Rules of GitLab 18.9 and 19.x. It knows no clock: today is an argument.

use duo_api::condition::{LICENSE_ACTIVE, TOKEN_VALID};
use jiff::civil::Date;

use crate::conditions::Finding;
use crate::health::{self, Judgement};
use crate::observed::Probe;

/// Days before an end from which on it is told, and told again.
const SOON: [(i32, &str, &str); 2] =
    [(7, "TokenExpiresIn7Days", "LicenseExpiresIn7Days"), (30, "TokenExpiresIn30Days", "LicenseExpiresIn30Days")];
/// Add-ons that bring Duo to users.
const DUO: [&str; 3] = ["DUO_CORE", "CODE_SUGGESTIONS", "DUO_ENTERPRISE"];

/// The token's own description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Name given at creation.
    pub name: String,
    /// `api`, `read_api`, …
    pub scopes: Vec<String>,
    /// The day at whose beginning it stops.
    pub expires: Option<Date>,
    /// Neither revoked nor expired.
    pub active: bool,
    /// Revoked by somebody.
    pub revoked: bool,
}

/// The licence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct License {
    /// `starter`, `premium`, `ultimate`.
    pub plan: String,
    /// `online_cloud`, `offline_cloud`, `legacy_license`.
    pub kind: String,
    /// First day.
    pub starts: Option<Date>,
    /// Last day.
    pub expires: Option<Date>,
    /// A trial.
    pub trial: bool,
}

/// An active add-on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOn {
    /// Upper-case key.
    pub name: String,
    /// Seats bought.
    pub purchased: i64,
    /// Seats assigned.
    pub assigned: i64,
}

/// All that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// GitLab's version.
    pub version: String,
    /// Git revision of it.
    pub revision: Option<String>,
    /// GitLab EE.
    pub enterprise: bool,
    /// `None`: the token has no description of its own (OAuth), what it may do shows elsewhere.
    pub token: Option<Token>,
    /// GitLab shows the licence to this token: its user is an administrator.
    pub administrator: bool,
    /// `None`: there is none, or it is not shown.
    pub license: Option<License>,
    /// Active add-ons.
    pub add_ons: Vec<AddOn>,
    /// GitLab shows models and Duo settings to this token.
    pub manages: bool,
    /// GitLab is in Silent Mode: no call of its own leaves it.
    pub silent: bool,
}

/// Why a token does not do: (reason, message).
pub type Denied = (&'static str, String);

impl Facts {
    /// Whether an add-on is active.
    pub fn has(&self, name: &str) -> bool {
        self.add_ons.iter().any(|add_on| add_on.name == name)
    }

    /// An offline licence: nothing of GitLab's own cloud works.
    pub fn is_offline(&self) -> bool {
        self.license.as_ref().is_some_and(|license| license.kind == "offline_cloud")
    }

    fn add_on_names(&self) -> String {
        let names: Vec<&str> = self.add_ons.iter().map(|add_on| add_on.name.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// The licence in one line.
    fn license_line(&self) -> String {
        let Some(license) = &self.license else { return "no licence".to_owned() };
        let trial = if license.trial { ", a trial" } else { "" };
        let until = license.expires.map(|day| format!(" until {day}")).unwrap_or_default();
        format!("licence {} {}{trial}{until}, add-ons {}", license.kind, license.plan, self.add_on_names())
    }
}

/// Why the token cannot be used for what the operator does, in the order in which a person would mend it.
pub fn denied(facts: &Facts, today: Date) -> Option<Denied> {
    if let Some(token) = &facts.token {
        if !token.active || token.revoked {
            return Some(("TokenInvalid", format!("GitLab token {:?} is revoked or expired", token.name)));
        }
        if !token.scopes.iter().any(|scope| scope == "api") {
            let scopes = token.scopes.join(", ");
            return Some((
                "TokenLacksScope",
                format!("GitLab token {:?} has scopes {scopes}; it needs api", token.name),
            ));
        }
    }
    if !facts.administrator {
        return Some(("NotAdministrator", "the token's user is not an instance administrator".to_owned()));
    }
    if facts.manages {
        return None;
    }
    Some(license_missing(facts, today).unwrap_or_else(|| {
        let what = facts.license_line();
        (
            "SelfHostedModelsNotAllowed",
            format!(
                "GitLab does not let its administrator manage self-hosted models, although {what} should do. Instances \
                 with Amazon Q and GitLab Dedicated have none"
            ),
        )
    }))
}

/// What of licence and add-ons is missing for self-hosted models.
fn license_missing(facts: &Facts, today: Date) -> Option<Denied> {
    if !facts.enterprise {
        return Some((
            "CommunityEdition",
            "GitLab Community Edition has no Duo; install the Enterprise Edition".into(),
        ));
    }
    let Some(license) = &facts.license else {
        return Some(("NoLicense", "GitLab has no licence; Duo Self-Hosted needs Premium or Ultimate".into()));
    };
    if let Some(day) = license.expires.filter(|day| *day < today) {
        return Some(("LicenseExpired", format!("GitLab's licence ended on {day}; renew it")));
    }
    if let Some(day) = license.starts.filter(|day| *day > today) {
        return Some(("LicenseNotStarted", format!("GitLab's licence begins on {day}")));
    }
    if license.plan == "starter" {
        return Some((
            "LicensePlanTooLow",
            "GitLab's plan is starter; Duo Self-Hosted needs Premium or Ultimate".into(),
        ));
    }
    if facts.has("DUO_AMAZON_Q") {
        return Some(("AmazonQ", "instances with GitLab Duo with Amazon Q have no self-hosted models".into()));
    }
    if facts.has("DUO_ENTERPRISE") || (facts.is_offline() && facts.has("SELF_HOSTED_DAP")) {
        return None;
    }
    let what = facts.license_line();
    let (offline, newer) = (facts.is_offline(), if major(&facts.version) >= 19 { "" } else { ", or GitLab 19" });
    let cure = if offline {
        "An offline licence needs GitLab Duo Enterprise, or the self-hosted Agent Platform add-on (SELF_HOSTED_DAP)"
            .to_owned()
    } else {
        format!("It needs Premium or Ultimate with GitLab Duo Enterprise{newer}")
    };
    if DUO.iter().any(|name| facts.has(name)) {
        let text = format!("GitLab Duo Core and Duo Pro do not include self-hosted models: {what}. {cure}");
        return Some(("DuoEnterpriseMissing", text));
    }
    Some((
        "SelfHostedModelsNotLicensed",
        format!("GitLab does not let its administrator manage self-hosted models: {what}. {cure}"),
    ))
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The condition of a token that does. Its end is told 30 days before and again 7 days before.
pub fn token_valid(facts: &Facts, today: Date) -> Judgement {
    let expires = facts.token.as_ref().and_then(|token| token.expires);
    let Some((day, (_, reason, _))) = expires.and_then(|day| Some((day, soon(day, today)?))) else {
        return Finding::holds(TOKEN_VALID, "TokenValid", "GitLab takes the token").into();
    };
    let text = format!("GitLab takes the token until {day}; make a new one and put it into the Secret before");
    Judgement { finding: Finding::holds(TOKEN_VALID, reason, text.clone()), warning: Some((reason, text)) }
}

fn soon(day: Date, today: Date) -> Option<(i32, &'static str, &'static str)> {
    let left = today.until(day).ok()?.get_days();
    SOON.into_iter().find(|(days, ..)| left <= *days)
}

/// Whether the licence covers Duo for users: by what is known of it, and by GitLab's own probe.
pub fn license_active(facts: Option<&Facts>, probes: &[Probe], today: Date) -> Judgement {
    let Some(facts) = facts else { return health::license_probe(probes) };
    if let Some((reason, text)) = license_missing(facts, today).filter(|_| !facts.manages && facts.administrator) {
        return Finding::fails(LICENSE_ACTIVE, reason, text).by_person().into();
    }
    let judged = health::license_probe(probes);
    match judged.finding.status {
        duo_api::ConditionStatus::True => {
            let line = facts.license_line();
            let finding = Finding { message: format!("{} ({line})", judged.finding.message), ..judged.finding };
            let end = facts.license.as_ref().and_then(|license| license.expires);
            match end.and_then(|day| Some((day, soon(day, today)?))) {
                Some((day, (_, _, reason))) => {
                    let text = format!("GitLab's licence ends on {day}; renew it, or nobody can use GitLab Duo then");
                    Judgement { finding: Finding { reason, ..finding }, warning: Some((reason, text)) }
                }
                None => Judgement { finding, ..judged },
            }
        }
        duo_api::ConditionStatus::False => {
            let what = facts.license_line();
            let (reason, cure) = if facts.has("DUO_ENTERPRISE") {
                (judged.finding.reason, "Look at the seats and the dates of GitLab Duo Enterprise")
            } else {
                ("DuoEnterpriseMissing", "Users of code suggestions and chat need GitLab Duo Enterprise")
            };
            Finding::fails(LICENSE_ACTIVE, reason, format!("{} GitLab has {what}. {cure}", judged.finding.message))
                .by_person()
                .into()
        }
        duo_api::ConditionStatus::Unknown => judged,
    }
}

#[cfg(test)]
mod tests {
    use duo_api::ConditionStatus::{False, True, Unknown};

    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn facts(kind: &str, plan: &str, add_ons: &[&str]) -> Facts {
        Facts {
            version: "18.9.0-ee".into(),
            revision: None,
            enterprise: true,
            token: Some(Token {
                name: "t".into(),
                scopes: vec!["api".into()],
                expires: Some(day("2027-06-01")),
                active: true,
                revoked: false,
            }),
            administrator: true,
            license: Some(License {
                plan: plan.into(),
                kind: kind.into(),
                starts: Some(day("2026-01-01")),
                expires: Some(day("2027-12-31")),
                trial: false,
            }),
            add_ons: add_ons.iter().map(|name| AddOn { name: (*name).into(), purchased: 10, assigned: 3 }).collect(),
            manages: false,
            silent: false,
        }
    }

    const TODAY: &str = "2026-11-23";

    fn why(facts: &Facts) -> Option<&'static str> {
        denied(facts, day(TODAY)).map(|denied| denied.0)
    }

    #[test]
    fn causes_that_gitlab_answers_with_one_sentence_are_told_apart() {
        let good = facts("offline_cloud", "ultimate", &["DUO_ENTERPRISE"]);
        let token = |change: fn(&mut Token)| {
            let mut facts = good.clone();
            change(facts.token.as_mut().unwrap());
            facts
        };
        let license = |change: fn(&mut License)| {
            let mut facts = good.clone();
            change(facts.license.as_mut().unwrap());
            facts
        };
        let cases = [
            (Facts { manages: true, ..good.clone() }, None),
            (token(|t| t.revoked = true), Some("TokenInvalid")),
            (token(|t| t.scopes = vec!["read_api".into()]), Some("TokenLacksScope")),
            (Facts { administrator: false, ..good.clone() }, Some("NotAdministrator")),
            (Facts { token: None, administrator: false, ..good.clone() }, Some("NotAdministrator")),
            (Facts { enterprise: false, ..good.clone() }, Some("CommunityEdition")),
            (Facts { license: None, ..good.clone() }, Some("NoLicense")),
            (license(|l| l.expires = Some("2026-11-22".parse().unwrap())), Some("LicenseExpired")),
            (license(|l| l.expires = Some("2026-11-23".parse().unwrap())), Some("SelfHostedModelsNotAllowed")),
            (license(|l| l.starts = Some("2026-11-24".parse().unwrap())), Some("LicenseNotStarted")),
            (license(|l| l.starts = Some("2026-11-23".parse().unwrap())), Some("SelfHostedModelsNotAllowed")),
            (license(|l| l.plan = "starter".into()), Some("LicensePlanTooLow")),
            (facts("online_cloud", "premium", &["DUO_AMAZON_Q"]), Some("AmazonQ")),
            (facts("online_cloud", "premium", &["DUO_CORE"]), Some("DuoEnterpriseMissing")),
            (facts("online_cloud", "premium", &["CODE_SUGGESTIONS"]), Some("DuoEnterpriseMissing")),
            (facts("offline_cloud", "premium", &["DUO_CORE", "CODE_SUGGESTIONS"]), Some("DuoEnterpriseMissing")),
            (facts("offline_cloud", "premium", &[]), Some("SelfHostedModelsNotLicensed")),
            (facts("offline_cloud", "premium", &["SELF_HOSTED_DAP"]), Some("SelfHostedModelsNotAllowed")),
            (good, Some("SelfHostedModelsNotAllowed")),
        ];
        for (facts, expected) in cases {
            assert_eq!(why(&facts), expected, "{facts:?}");
        }
        let offline = denied(&facts("offline_cloud", "premium", &[]), day(TODAY)).unwrap().1;
        assert!(offline.contains("SELF_HOSTED_DAP") && offline.contains("add-ons none"), "{offline}");
        let online = denied(&facts("online_cloud", "premium", &[]), day(TODAY)).unwrap().1;
        assert!(!online.contains("SELF_HOSTED_DAP") && online.contains("GitLab Duo Enterprise"), "{online}");
        let newer = |version: &str| {
            let facts = Facts { version: version.into(), ..facts("online_cloud", "premium", &[]) };
            denied(&facts, day(TODAY)).unwrap().1.contains("or GitLab 19")
        };
        assert!(newer("18.9.0-ee") && newer("nightly") && !newer("19.0.0-ee"));
        let line = facts("online_cloud", "premium", &["DUO_CORE"]).license_line();
        assert_eq!(line, "licence online_cloud premium until 2027-12-31, add-ons DUO_CORE");
    }

    #[test]
    fn the_end_of_a_token_is_told_twice() {
        let at = |today: &str| {
            let judged = token_valid(&facts("online_cloud", "premium", &[]), day(today));
            assert_eq!(judged.finding.status, True);
            assert_eq!(
                judged.warning.as_ref().map(|w| w.0),
                Some(judged.finding.reason).filter(|r| *r != "TokenValid")
            );
            judged.finding.reason
        };
        assert_eq!(at("2027-05-01"), "TokenValid");
        assert_eq!(at("2027-05-02"), "TokenExpiresIn30Days");
        assert_eq!(at("2027-05-24"), "TokenExpiresIn30Days");
        assert_eq!(at("2027-05-25"), "TokenExpiresIn7Days");
        assert_eq!(at("2027-06-05"), "TokenExpiresIn7Days");
        let endless = Facts { token: None, ..facts("online_cloud", "premium", &[]) };
        assert_eq!(token_valid(&endless, day("2027-06-01")).finding.reason, "TokenValid");
    }

    #[test]
    fn the_licence_is_judged_by_its_facts_and_by_gitlabs_probe() {
        let probe = |success, text: &str| {
            vec![Probe {
                name: "code_suggestions_license_probe".into(),
                success,
                message: text.into(),
                instance_id: None,
            }]
        };
        let (pass, none) = (probe(true, "ok"), probe(false, "License does not provide access to Code Suggestions."));
        let seat = probe(false, "License includes access, but you lack the necessary permissions");
        let can = |facts: Facts| Facts { manages: true, ..facts };
        let enterprise = || facts("offline_cloud", "ultimate", &["DUO_ENTERPRISE"]);
        let soon = || {
            let mut facts = can(enterprise());
            facts.license.as_mut().unwrap().expires = Some(day("2026-12-01"));
            facts
        };
        let cases = [
            (can(enterprise()), &pass, True, "LicenseActive"),
            (can(enterprise()), &seat, True, "TokenUserHasNoSeat"),
            (soon(), &seat, True, "LicenseExpiresIn30Days"),
            (can(enterprise()), &vec![], Unknown, "NotProbed"),
            (Facts { license: None, ..enterprise() }, &vec![], False, "NoLicense"),
            (facts("online_cloud", "premium", &["DUO_CORE"]), &vec![], False, "DuoEnterpriseMissing"),
            // the Agent Platform's add-on lets manage models, classic features need Duo Enterprise
            (can(facts("online_cloud", "premium", &[])), &none, False, "DuoEnterpriseMissing"),
            (can(enterprise()), &none, False, "LicenseInactive"),
        ];
        for (facts, probes, status, reason) in cases {
            let judged = license_active(Some(&facts), probes, day(TODAY)).finding;
            assert_eq!((judged.status, judged.reason), (status, reason), "{facts:?} {probes:?}");
        }
        assert_eq!(license_active(None, &pass, day(TODAY)).finding.status, True);
        let told = license_active(Some(&can(enterprise())), &pass, day(TODAY));
        assert!(told.finding.message.starts_with("ok (licence offline_cloud"), "{}", told.finding.message);
        assert_eq!(told.warning, None);
        let told = license_active(Some(&soon()), &pass, day(TODAY));
        assert!(told.finding.message.starts_with("ok (licence"), "{}", told.finding.message);
        assert_eq!(told.warning.map(|warning| warning.0), Some("LicenseExpiresIn30Days"));
        let told = license_active(Some(&can(enterprise())), &seat, day(TODAY));
        assert_eq!(told.warning.map(|warning| warning.0), Some("TokenUserHasNoSeat"));
    }
}

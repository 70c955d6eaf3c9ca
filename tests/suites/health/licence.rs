//! Licence, add-ons and the token's end, as the status and the conditions tell them.

use duo_e2e::World;
use duo_e2e::wait::condition;
use duo_sim::gitlab::state::AddOn;

use crate::{comes_to_rest, gitlab_status, ready_world};

/// A day that is so many days away.
fn day(days: u64) -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let mut left = i64::try_from(seconds / 86_400 + days).expect("days") + 719_468;
    let era = left.div_euclid(146_097);
    left -= era * 146_097;
    let of_era = (left - left / 1_460 + left / 36_524 - left / 146_096) / 365;
    let of_year = left - (365 * of_era + of_era / 4 - of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", of_era + era * 400 + i64::from(month <= 2))
}

/// The administrator's token of the world ends on that day.
fn token_ends(world: &World, day: &str) {
    world.gitlab.edit(|state| {
        for token in state.tokens.iter_mut().filter(|token| token.value == duo_e2e::manifests::ADMIN_TOKEN) {
            token.expires_at = Some(day.to_owned());
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn licence_add_ons_and_the_tokens_end_are_shown_and_ends_are_told_before() {
    let world = ready_world("licence", "19.5.0").await;
    let gateway = world.get("AIGateway", "duo").await;
    let seen = gitlab_status(&gateway);
    assert_eq!((&seen["license"]["plan"], &seen["license"]["type"]), (&"ultimate".into(), &"offline_cloud".into()));
    assert_eq!(seen["addOns"][0]["name"], "DUO_ENTERPRISE", "{seen:#}");
    assert_eq!((&seen["edition"], &seen["testingTermsAccepted"]), (&"Enterprise".into(), &false.into()));
    assert!(seen["revision"].is_string() && seen["tokenExpiresAt"].is_string(), "{seen:#}");
    let told = condition(&gateway, "LicenseActive").2;
    assert!(told.contains("offline_cloud ultimate until ") && told.contains("DUO_ENTERPRISE"), "{told}");

    let (soon, very_soon) = (day(20), day(5));
    token_ends(&world, &soon);
    let told = world.until_condition("AIGateway", "duo", "TokenValid", "True", "TokenExpiresIn30Days").await;
    assert_eq!(gitlab_status(&told)["tokenExpiresAt"], soon);
    assert!(world.until_event("TokenExpiresIn30Days", "duo").await.contains(&soon));
    comes_to_rest(&world).await;
    token_ends(&world, &very_soon);
    world.until_condition("AIGateway", "duo", "TokenValid", "True", "TokenExpiresIn7Days").await;
    assert!(world.until_event("TokenExpiresIn7Days", "duo").await.contains(&very_soon));
    world.gitlab.edit(|state| state.license.as_mut().expect("a licence").expires_at = Some(very_soon.clone()));
    world.until_condition("AIGateway", "duo", "LicenseActive", "True", "LicenseExpiresIn7Days").await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_licence_lacks_is_told_by_its_cause() {
    let world = ready_world("lacks", "18.9.0").await;
    let edit = |plan: &'static str, add_ons: &[&str], ends: &str| {
        let add_ons: Vec<AddOn> =
            add_ons.iter().map(|name| AddOn { name: (*name).to_owned(), purchased: 5, active: true }).collect();
        world.gitlab.edit(|state| {
            let license = state.license.as_mut().expect("a licence");
            plan.clone_into(&mut license.plan);
            license.expires_at = Some(ends.to_owned());
            state.add_ons = add_ons;
        });
    };
    let cases: [(&str, &[&str], &str, &str, &str); 3] = [
        ("ultimate", &["duo_core", "code_suggestions"], "2099-01-01", "DuoEnterpriseMissing", "SELF_HOSTED_DAP"),
        ("starter", &["duo_enterprise"], "2099-01-01", "LicensePlanTooLow", "Premium or Ultimate"),
        ("ultimate", &["duo_enterprise"], "2026-01-31", "LicenseExpired", "2026-01-31"),
    ];
    for (plan, add_ons, ends, reason, words) in cases {
        edit(plan, add_ons, ends);
        let told = world.until_condition("AIGateway", "duo", "LicenseActive", "False", reason).await;
        assert!(condition(&told, "LicenseActive").2.contains(words), "{told:#}");
        assert_eq!(condition(&told, "Ready").1, reason, "{told:#}");
    }
    edit("ultimate", &["duo_enterprise"], "2099-01-01");
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

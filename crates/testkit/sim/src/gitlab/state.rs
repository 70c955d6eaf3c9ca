//! What the simulated GitLab has stored: instance, licence, people, models, feature rows, settings.
//!
//! Plain data that can be read and edited as JSON, so that a test can play the administrator who clicks. Knows
//! nothing of GraphQL or HTTP.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::version::Version;

/// Everything stored. `revision` grows with every stored change made through the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// The instance and its general settings.
    pub instance: Instance,
    /// The current licence; none is a GitLab that was never licensed.
    pub license: Option<License>,
    /// Purchased add-ons.
    pub add_ons: Vec<AddOn>,
    /// People and service users.
    pub users: Vec<User>,
    /// Personal access tokens.
    pub tokens: Vec<Token>,
    /// Whether an administrator accepted the testing terms (beta models and features). Not settable by the API.
    pub terms_accepted: bool,
    /// Self-hosted models by id.
    pub models: BTreeMap<u64, Model>,
    /// Feature rows by lower-case feature key; a feature without a row reads as unassigned.
    pub features: BTreeMap<String, FeatureRow>,
    /// The Duo settings.
    pub settings: DuoSettings,
    /// Allow lists of GitLab-managed models by feature key (19.1).
    #[serde(default)]
    pub allow_lists: BTreeMap<String, AllowList>,
    /// What chat tools find, by tool name and then by what the model asks for.
    #[serde(default)]
    pub resources: BTreeMap<String, BTreeMap<String, String>>,
    /// The id the next model gets.
    pub next_model_id: u64,
    /// Counts stored changes.
    #[serde(default)]
    pub revision: u64,
}

/// The instance and the settings that bear on Duo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// Release; decides the schema.
    pub version: Version,
    /// The instance's UUID: `sub` of the tokens it signs.
    pub uuid: String,
    /// Admin Mode: REST administration then needs the `admin_mode` scope, GraphQL does not.
    pub admin_mode: bool,
    /// Whether introspection is answered.
    pub introspection: bool,
    /// A read-only instance (maintenance mode, Geo secondary).
    pub read_only: bool,
    /// Silent Mode: nothing but reading requests leave the instance, so no call to the gateway works.
    #[serde(default)]
    pub silent_mode: bool,
    /// Whether requests to the local network are allowed; bears on the host probe only.
    pub allow_local_requests: bool,
    /// Host names, addresses and networks (`127.0.0.0/8`) that the URL check lets through.
    pub outbound_allowlist: Vec<String>,
    /// Whether GitLab's own cloud can be reached.
    pub cloud_reachable: bool,
    /// Whether the token synced from the customers portal is there (never on an offline licence).
    pub cloud_token: bool,
    /// An instance with Amazon Q.
    pub amazon_q: bool,
    /// 18.9 flag: usage billing of the self-hosted Agent Platform on online licences.
    pub dap_per_request_billing: bool,
    /// 19.x: flow execution allowed.
    pub allow_flow_execution: bool,
    /// 19.x: foundational flows allowed.
    pub allow_foundational_flows: bool,
    /// 19.x: a runner tagged `gitlab--duo` is registered. Off as on a fresh instance.
    pub compatible_runner: bool,
}

/// A licence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct License {
    /// `online_cloud`, `offline_cloud` or `legacy_license`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `starter`, `premium` or `ultimate`.
    pub plan: String,
    /// First day, `2026-01-31`.
    pub starts_at: String,
    /// Last day; none never ends.
    pub expires_at: Option<String>,
    /// A trial.
    pub trial: bool,
    /// Seats.
    pub users: u32,
}

impl License {
    /// A licence kept without contact to GitLab's cloud.
    pub fn is_offline(&self) -> bool {
        self.kind == "offline_cloud"
    }

    /// Whether licensed features work today (RFC 3339 date order).
    pub fn is_active(&self, now: Timestamp) -> bool {
        let today = now.strftime("%Y-%m-%d").to_string();
        self.starts_at <= today && self.expires_at.as_ref().is_none_or(|last| *last >= today)
    }

    /// Has the licensed feature `self_hosted_models`.
    pub fn has_self_hosted_models(&self) -> bool {
        matches!(self.plan.as_str(), "premium" | "ultimate")
    }
}

/// A purchased add-on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddOn {
    /// Key: `code_suggestions` (Duo Pro), `duo_enterprise`, `duo_core`, `duo_amazon_q`, `self_hosted_dap`.
    pub name: String,
    /// Seats bought.
    pub purchased: u32,
    /// Whether it is running; an expired one is not listed.
    pub active: bool,
}

/// A person or a service user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Number.
    pub id: u64,
    /// Login.
    pub username: String,
    /// Instance administrator.
    pub admin: bool,
    /// Holds a Duo seat.
    pub duo_seat: bool,
    /// Blocked by an administrator.
    #[serde(default)]
    pub blocked: bool,
}

/// A personal access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Number.
    pub id: u64,
    /// What the caller sends.
    pub value: String,
    /// Its name.
    pub name: String,
    /// Owner.
    pub user_id: u64,
    /// Scopes, e.g. `api`.
    pub scopes: Vec<String>,
    /// Last day, `2026-12-31`; the token stops at its beginning (UTC).
    pub expires_at: Option<String>,
    /// Revoked.
    pub revoked: bool,
}

impl Token {
    /// Whether its last day has come.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let today = now.strftime("%Y-%m-%d").to_string();
        self.expires_at.as_ref().is_some_and(|last| *last <= today)
    }
}

/// A self-hosted model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    /// Number in the global id.
    pub id: u64,
    /// Unique name.
    pub name: String,
    /// Lower-case family key.
    pub family: String,
    /// Base URL; none only from 19.x.
    pub endpoint: Option<String>,
    /// Identifier; empty when unset.
    pub identifier: String,
    /// The key, readable by administrators.
    pub api_token: Option<String>,
    /// `API`, `BEDROCK` or `VERTEX_AI`; `API` for all rows before 19.0.
    pub provider: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last stored change.
    pub updated_at: Timestamp,
}

impl Model {
    /// The global id.
    pub fn gid(&self) -> String {
        format!("gid://gitlab/Ai::SelfHostedModel/{}", self.id)
    }
}

/// A feature's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureRow {
    /// `disabled`, `self_hosted`, `unassigned` or `vendored`.
    pub provider: String,
    /// The model; kept by `disabled` and `unassigned` unless an explicit null was sent.
    pub model_id: Option<u64>,
    /// GitLab-managed model chosen.
    #[serde(default)]
    pub offered_model_ref: Option<String>,
}

/// An allow list of GitLab-managed models.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllowList {
    /// In force.
    pub enabled: bool,
    /// Allowed references.
    pub refs: Vec<String>,
}

/// The Duo settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DuoSettings {
    /// Local AI gateway URL.
    pub ai_gateway_url: Option<String>,
    /// Timeout of calls to the gateway, seconds.
    pub ai_gateway_timeout_seconds: i64,
    /// `host:port` of the Agent Platform service.
    pub duo_agent_platform_service_url: Option<String>,
    /// TLS to the Agent Platform service.
    pub self_hosted_duo_agent_platform_service_secure: bool,
    /// Duo Core on.
    pub duo_core_features_enabled: bool,
    /// Duo CLI on.
    pub duo_cli_enabled: bool,
    /// Last stored change.
    pub updated_at: Timestamp,
}

/// The token of the default administrator, a service user without a Duo seat.
pub const ADMIN_TOKEN: &str = "glpat-sim-administrator-1";
/// The token of a person with a Duo seat who is no administrator.
pub const USER_TOKEN: &str = "glpat-sim-developer-1";
/// An administrator's token whose last day is past.
pub const EXPIRED_TOKEN: &str = "glpat-sim-expired-1";
/// An administrator's token with the scope `read_api` only.
pub const READ_API_TOKEN: &str = "glpat-sim-read-api-1";
/// An administrator's token that was revoked.
pub const REVOKED_TOKEN: &str = "glpat-sim-revoked-1";
/// The person with a seat, as whom users' actions run unless another is named.
pub const DEVELOPER: &str = "developer";

impl State {
    /// A fresh instance: Ultimate on an offline licence with Duo Enterprise, testing terms not accepted.
    pub fn fresh(version: Version) -> Self {
        let now = Timestamp::now();
        let user = |id, username: &str, admin, duo_seat| User {
            id,
            username: username.to_owned(),
            admin,
            duo_seat,
            blocked: false,
        };
        let next_year = day(now, 365);
        let token = |id, value: &str, user_id, scope: &str, expires_at: &str, revoked| Token {
            id,
            value: value.to_owned(),
            name: format!("token {id}"),
            user_id,
            scopes: vec![scope.to_owned()],
            expires_at: Some(expires_at.to_owned()),
            revoked,
        };
        Self {
            instance: Instance {
                version,
                uuid: uuid::Uuid::new_v4().to_string(),
                admin_mode: false,
                introspection: true,
                read_only: false,
                silent_mode: false,
                allow_local_requests: false,
                outbound_allowlist: Vec::new(),
                cloud_reachable: true,
                cloud_token: true,
                amazon_q: false,
                dap_per_request_billing: true,
                allow_flow_execution: false,
                allow_foundational_flows: false,
                compatible_runner: false,
            },
            license: Some(License {
                kind: "offline_cloud".to_owned(),
                plan: "ultimate".to_owned(),
                starts_at: day(now, -30),
                expires_at: Some(next_year.clone()),
                trial: false,
                users: 100,
            }),
            add_ons: vec![AddOn { name: "duo_enterprise".to_owned(), purchased: 10, active: true }],
            users: vec![user(1, "duo-operator", true, false), user(2, DEVELOPER, false, true)],
            tokens: vec![
                token(1, ADMIN_TOKEN, 1, "api", &next_year, false),
                token(2, USER_TOKEN, 2, "api", &next_year, false),
                token(3, EXPIRED_TOKEN, 1, "api", &day(now, -1), false),
                token(4, READ_API_TOKEN, 1, "read_api", &next_year, false),
                token(5, REVOKED_TOKEN, 1, "api", &next_year, true),
            ],
            terms_accepted: false,
            models: BTreeMap::new(),
            features: BTreeMap::new(),
            settings: DuoSettings {
                ai_gateway_url: None,
                ai_gateway_timeout_seconds: 60,
                duo_agent_platform_service_url: None,
                self_hosted_duo_agent_platform_service_secure: true,
                duo_core_features_enabled: false,
                duo_cli_enabled: false,
                updated_at: now,
            },
            allow_lists: BTreeMap::new(),
            resources: resources(),
            next_model_id: 1,
            revision: 0,
        }
    }

    /// The licence, if it is running.
    pub fn active_license(&self) -> Option<&License> {
        self.license.as_ref().filter(|license| license.is_active(Timestamp::now()))
    }

    /// Whether the licence is kept offline.
    pub fn is_offline(&self) -> bool {
        self.license.as_ref().is_some_and(License::is_offline)
    }

    /// Whether an add-on with this key is running.
    pub fn has_add_on(&self, name: &str) -> bool {
        self.add_ons.iter().any(|add_on| add_on.active && add_on.name == name)
    }

    /// The person with this login.
    pub fn user(&self, username: &str) -> Option<&User> {
        self.users.iter().find(|user| user.username == username)
    }

    /// Removes a model; the rows of the features that used it vanish with it (`ON DELETE CASCADE`).
    pub fn destroy_model(&mut self, id: u64) -> bool {
        let found = self.models.remove(&id).is_some();
        if found {
            self.features.retain(|_, row| row.model_id != Some(id));
        }
        found
    }
}

/// What the chat's tools find on a fresh instance, whatever is asked for.
fn resources() -> BTreeMap<String, BTreeMap<String, String>> {
    let found = [
        ("issue_reader", "Issue 1: The nightly build is slow. It takes 40 minutes since the cache was moved."),
        ("epic_reader", "Epic 1: Faster builds. Open issues: 1."),
        ("merge_request_reader", "Merge request 1: Cache dependencies between builds. Changed files: .gitlab-ci.yml."),
        ("commit_reader", "Commit 0123456789a: Cache dependencies. Changed files: .gitlab-ci.yml."),
        ("build_reader", "Job 1 failed: cargo: command not found."),
        ("work_item_reader", "Work item 1: The nightly build is slow."),
        ("gitlab_documentation", "A merge request proposes changes and is reviewed before it is merged."),
    ];
    found.map(|(tool, text)| (tool.to_owned(), BTreeMap::from([("*".to_owned(), text.to_owned())]))).into()
}

fn day(now: Timestamp, days: i64) -> String {
    let at = now.checked_add(SignedDuration::from_hours(24 * days)).unwrap_or(now);
    at.strftime("%Y-%m-%d").to_string()
}

//! The stretches of the scenario, and what each of them declares.

use std::fmt;

use duo_e2e::{World, manifests};
use duo_sim::bedrock::AccessKey;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// A stretch of the scenario; one life of the article's resources is all of them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The article's manifests are applied.
    Apply,
    /// A model is renamed, a feature dropped, an assignment given to the other model, the timeout changed: one edit.
    Edit,
    /// The AWS key and GitLab's token are exchanged.
    Rotate,
    /// While the operator is away the edit is reverted and somebody clicks around in GitLab; then it starts again.
    Restart,
    /// Everything is deleted at once.
    Delete,
}

impl Phase {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Apply, Self::Edit, Self::Rotate, Self::Restart, Self::Delete];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What GitLab has to hold in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Display names and identifiers of our models, sorted.
    pub models: Vec<(&'static str, &'static str)>,
    /// Feature keys with provider and model.
    pub features: Vec<(&'static str, &'static str, Option<&'static str>)>,
    /// Whether GitLab's gateway URL is ours.
    pub url: bool,
    /// Seconds; `None`: whatever.
    pub timeout: Option<u64>,
}

const MIXTRAL: (&str, &str) = ("Mixtral 8x7B", "bedrock/mistral.mixtral-8x7b-instruct-v0:1");
const CLAUDE: &str = "bedrock/anthropic.claude-3-sonnet-20240229-v1:0";

impl Declared {
    /// What holds after a stretch.
    pub fn after(phase: Phase) -> Self {
        let (mixtral, claude) = (Some(MIXTRAL.0), Some("Claude 3 Sonnet"));
        match phase {
            Phase::Apply | Phase::Restart => Self {
                models: vec![("Claude 3 Sonnet", CLAUDE), MIXTRAL],
                features: vec![
                    ("code_generations", "self_hosted", mixtral),
                    ("code_completions", "self_hosted", mixtral),
                    ("duo_chat", "self_hosted", claude),
                    ("duo_chat_explain_code", "self_hosted", claude),
                ],
                url: true,
                timeout: Some(60),
            },
            Phase::Edit | Phase::Rotate => Self {
                models: vec![("Claude renamed", CLAUDE), MIXTRAL],
                features: vec![
                    ("code_generations", "unassigned", None),
                    ("code_completions", "self_hosted", mixtral),
                    ("duo_chat", "self_hosted", mixtral),
                    ("duo_chat_explain_code", "self_hosted", mixtral),
                ],
                url: true,
                timeout: Some(90),
            },
            Phase::Delete => Self {
                models: vec![],
                features: vec![
                    ("code_generations", "unassigned", None),
                    ("code_completions", "unassigned", None),
                    ("duo_chat", "unassigned", None),
                    ("duo_chat_explain_code", "unassigned", None),
                ],
                url: false,
                timeout: None,
            },
        }
    }
}

/// What a stretch leaves for the oracle.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The configuration's hash before a rotation: it must not stay.
    pub former_hash: Option<String>,
    /// The AWS key that must do now.
    pub aws: Option<AccessKey>,
}

/// Does what people do in a stretch.
pub async fn play(world: &World, phase: Phase, round: u32) -> Context {
    let mut context = Context::default();
    match phase {
        Phase::Apply => apply(world).await,
        Phase::Edit => edit(world).await,
        Phase::Rotate => {
            let gateway = world.get("AIGateway", "duo").await;
            context.former_hash = gateway["status"]["configHash"].as_str().map(str::to_owned);
            context.aws = Some(rotate(world, round).await);
        }
        Phase::Restart => {
            world.kill_operator();
            apply(world).await;
            world.gitlab.edit(|state| state.settings.ai_gateway_url = Some("http://gitlab.example/hand".to_owned()));
            world.feature_by_hand("duo_chat", "disabled", None);
            world.start_operator_again();
        }
        Phase::Delete => {
            for (kind, name) in World::article_objects() {
                world.delete(kind, name).await;
            }
        }
    }
    context
}

async fn apply(world: &World) {
    let text = manifests::article(&world.namespace, &world.gitlab.url(), &world.bedrock.url());
    // one pod is enough to be faulted for, and half as dear
    world.apply(&text.replace("replicas: 2", "replicas: 1")).await;
}

async fn edit(world: &World) {
    for (kind, name, spec) in [
        ("SelfHostedModel", "claude-3-sonnet", json!({"displayName": "Claude renamed"})),
        ("FeatureAssignment", "code-suggestions", json!({"features": ["CodeCompletions"]})),
        ("FeatureAssignment", "chat", json!({"modelRef": {"name": "mixtral-8x7b"}})),
        ("AIGateway", "duo", json!({"requestTimeout": "90s"})),
    ] {
        world.patch(kind, name, json!({"spec": spec})).await.expect("a valid edit");
    }
}

async fn rotate(world: &World, round: u32) -> AccessKey {
    let (id, secret) = (format!("AKIAROUND{round:011}"), format!("{}{round}", manifests::AWS_SECRET));
    let key = AccessKey::new(&id, &secret);
    world.bedrock.reconfigure(|config| config.access_keys.push(key.clone()));
    let token = format!("{}{round}", manifests::ADMIN_TOKEN);
    world.gitlab.edit(|state| token.clone_into(&mut state.tokens[0].value));
    patch_secret(world, "aws-bedrock", json!({"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret})).await;
    patch_secret(world, "gitlab-admin", json!({"token": token})).await;
    key
}

async fn patch_secret(world: &World, name: &str, data: Value) {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    let patch = Patch::Merge(json!({ "stringData": data }));
    secrets.patch(name, &PatchParams::default(), &patch).await.expect("the Secret is changed");
}

//! One namespace of a real API server with a GitLab, a Bedrock, a fake node and the operator of its own.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use duo_sim::gitlab::{Ask, Outcome, What};
use duo_sim::{bedrock, gitlab, hosts};
use duo_testkit::control_plane::ControlPlane;
use duo_testkit::fake_node::{FakeNode, FakeNodeOptions};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::Value;

use crate::operator::Operator;
use crate::proxies::Proxies;
use crate::statuses::Statuses;
use crate::{manifests, programs};

/// What differs between worlds.
#[derive(Clone, Debug)]
pub struct Options {
    /// GitLab's version; decides the schema's shape.
    pub gitlab: &'static str,
    /// The operator's resync period.
    pub resync_seconds: u64,
    /// Whether the operator starts with the world.
    pub operator: bool,
    /// More arguments of the operator.
    pub operator_args: Vec<&'static str>,
    /// GitLab's certificate and key, for `127.0.0.1`; left out: plain HTTP.
    pub gitlab_tls: Option<duo_testkit::pki::Identity>,
    /// PEM certificates that GitLab trusts when it calls the gateway by https.
    pub gitlab_trusts: Option<String>,
    /// PersistentVolumeClaims of the gateway's pods: name and folder.
    pub claims: std::collections::BTreeMap<String, std::path::PathBuf>,
    /// File to which GitLab appends every GraphQL request, for the oracle.
    pub record: Option<std::path::PathBuf>,
    /// The operator's calls to both sides go through [`Proxies`].
    pub proxied: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gitlab: "19.5.0",
            resync_seconds: 2,
            operator: true,
            operator_args: Vec::new(),
            gitlab_tls: None,
            gitlab_trusts: None,
            claims: std::collections::BTreeMap::new(),
            record: None,
            proxied: false,
        }
    }
}

/// What the GitLabs of the suites have in common.
fn gitlab_config(hosts: &hosts::HostMap) -> gitlab::Config {
    gitlab::Config {
        admin_token: Some(manifests::ADMIN_TOKEN.to_owned()),
        admin_seat: true,
        // gateway pods of the fake node have loopback addresses
        outbound_allowlist: vec!["127.0.0.0/8".to_owned()],
        allow_local_requests: true,
        hosts: hosts.clone(),
        ..gitlab::Config::default()
    }
}

/// See the module.
pub struct World {
    /// The shared API server.
    pub control_plane: &'static ControlPlane,
    /// An administrator's client.
    pub client: kube::Client,
    /// This world's namespace.
    pub namespace: String,
    /// The simulated GitLab.
    pub gitlab: gitlab::Handle,
    /// The simulated Bedrock.
    pub bedrock: bedrock::Handle,
    /// Runs gateway pods.
    pub node: FakeNode,
    /// What the operator's calls go through, where asked for.
    pub proxies: Option<Proxies>,
    /// Every status that was written so far.
    pub statuses: Statuses,
    operator: Arc<Mutex<Option<Operator>>>,
}

impl World {
    /// Starts everything; Secrets exist, resources do not.
    ///
    /// # Panics
    /// When a part cannot be started.
    pub async fn start(prefix: &str, options: Options) -> Self {
        let control_plane = ControlPlane::shared(&programs::installation()).await.expect("a control plane");
        let client = control_plane.client().expect("a client");
        let namespace = control_plane.namespace(prefix).await.expect("a namespace");
        let hosts = hosts::HostMap::new();
        let tls = options.gitlab_tls.as_ref().map(|identity| {
            let folder = duo_testkit::process::TempFolder::new("duo-gitlab-tls-").expect("a temporary folder");
            std::fs::write(folder.join("tls.crt"), &identity.cert_pem).expect("a file");
            std::fs::write(folder.join("tls.key"), &identity.key_pem).expect("a file");
            folder
        });
        let trusts = options.gitlab_trusts.as_ref().map(|pem| {
            let folder = duo_testkit::process::TempFolder::new("duo-gitlab-ca-").expect("a temporary folder");
            std::fs::write(folder.join("ca.crt"), pem).expect("a file");
            folder
        });
        let proxies = if options.proxied { Some(Proxies::start(control_plane).await) } else { None };
        let gitlab = gitlab::start(gitlab::Config {
            external_url: proxies.as_ref().map(|proxies| proxies.gitlab.url()),
            ca_file: trusts.as_ref().map(|folder| folder.join("ca.crt")),
            version: options.gitlab.parse().expect("a version"),
            record: options.record.clone(),
            tls_cert: tls.as_ref().map(|folder| folder.join("tls.crt")),
            tls_key: tls.as_ref().map(|folder| folder.join("tls.key")),
            ..gitlab_config(&hosts)
        })
        .await
        .expect("a GitLab");
        if let Some(proxies) = &proxies {
            proxies.gitlab.set_upstream(&format!("http://{}", gitlab.addr()));
        }
        let bedrock = bedrock::start(bedrock::Config {
            access_keys: vec![bedrock::AccessKey::new(manifests::AWS_KEY_ID, manifests::AWS_SECRET)],
            ..bedrock::Config::default()
        })
        .await
        .expect("a Bedrock");
        let tell = move |name: &str, address: Option<IpAddr>| match address {
            Some(address) => hosts.insert(name, address),
            None => hosts.remove(name),
        };
        let node = FakeNode::start(
            control_plane.client_for("duo-fake-node", &["system:masters"]).expect("a client"),
            FakeNodeOptions {
                namespace: Some(namespace.clone()),
                gateway: Some(programs::program("duo-gateway")),
                refresh_period: Duration::from_secs(60),
                grace_limit: Some(Duration::from_secs(1)),
                claims: options.claims.clone(),
                on_host: Some(Arc::new(tell)),
                ..FakeNodeOptions::default()
            },
        )
        .await
        .expect("a fake node");
        control_plane.apply_yaml(&manifests::secrets(&namespace)).await.expect("Secrets");
        let statuses = Statuses::watch(&client, &namespace);
        let operator = Arc::default();
        let world = Self { control_plane, client, namespace, gitlab, bedrock, node, proxies, statuses, operator };
        if options.operator {
            let (period, args) = (options.resync_seconds, &options.operator_args);
            let operator = match &world.proxies {
                None => Operator::start(control_plane, &world.namespace, period, args).await,
                Some(proxies) => {
                    proxies.kill_and_start_again(&world.operator);
                    Operator::start_with(&proxies.kubeconfig, &world.namespace, period, args)
                }
            };
            world.with_operator(|slot| *slot = Some(operator));
        }
        world
    }

    /// Another GitLab, which takes the same token and knows the same names.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn another_gitlab(&self) -> gitlab::Handle {
        gitlab::start(gitlab_config(self.gitlab.hosts())).await.expect("a GitLab")
    }

    /// Applies the article's scenario.
    pub async fn apply_article(&self) {
        self.apply(&manifests::article(&self.namespace, &self.gitlab.url(), &self.bedrock.url())).await;
    }

    /// Applies manifests as an administrator.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn apply(&self, yaml: &str) {
        self.control_plane.apply_yaml(yaml).await.unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    }

    /// The article's resources: kind and name.
    pub fn article_objects() -> [(&'static str, &'static str); 5] {
        [
            ("AIGateway", "duo"),
            ("SelfHostedModel", "mixtral-8x7b"),
            ("SelfHostedModel", "claude-3-sonnet"),
            ("FeatureAssignment", "code-suggestions"),
            ("FeatureAssignment", "chat"),
        ]
    }

    /// Waits until all of the article's resources are Ready.
    pub async fn until_article_is_ready(&self) {
        for (kind, name) in Self::article_objects() {
            self.until_ready(kind, name).await;
        }
    }

    /// What users of the simulated GitLab ask in the article. All must get an answer, and no secret may be told on the way.
    ///
    /// # Panics
    /// When one does not.
    pub async fn users_are_served(&self) {
        for what in [What::CodeCompletion, What::CodeGeneration, What::Chat, What::ExplainCode] {
            let outcome = self.ask(what).await;
            assert!(outcome.ok && !outcome.text.trim().is_empty(), "{what:?}: {outcome:#?}\n{}", self.log_tail());
        }
        self.no_secret_is_told(&[]).await;
    }

    /// A user asks.
    pub async fn ask(&self, what: What) -> Outcome {
        self.gitlab.ask(what, &Ask::default()).await
    }

    /// API of one of our kinds, in this namespace.
    ///
    /// # Panics
    /// For a kind that is not ours.
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        let plural = match kind {
            "AIGateway" => "aigateways",
            "SelfHostedModel" => "selfhostedmodels",
            "FeatureAssignment" => "featureassignments",
            other => panic!("{other} is not one of our kinds"),
        };
        let resource = ApiResource {
            group: duo_api::GROUP.to_owned(),
            version: duo_api::VERSION.to_owned(),
            api_version: format!("{}/{}", duo_api::GROUP, duo_api::VERSION),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Merges a patch into an object, as `kubectl patch --type=merge`.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn patch(&self, kind: &str, name: &str, patch: Value) -> Result<(), kube::Error> {
        self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
    }

    /// Deletes an object, without waiting.
    ///
    /// # Panics
    /// When the API server refuses.
    pub async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.unwrap_or_else(|e| panic!("{kind} {name}: {e}"));
    }

    /// Does something with the operator's process.
    pub fn with_operator<T>(&self, act: impl FnOnce(&mut Option<Operator>) -> T) -> T {
        act(&mut self.operator.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the operator out, for what has to await.
    pub fn take_operator(&self) -> Option<Operator> {
        self.with_operator(Option::take)
    }

    /// Everything the operator has logged.
    pub fn operator_log(&self) -> String {
        self.with_operator(|operator| operator.as_ref().map(Operator::log).unwrap_or_default())
    }

    /// Logs of all gateway pods so far.
    pub fn gateway_logs(&self) -> Vec<(String, String)> {
        self.node.logs()
    }

    /// The ends of all logs, for the message of a failed test.
    pub fn log_tail(&self) -> String {
        let tail = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        };
        let mut out = format!("--- operator\n{}\n", tail(&self.operator_log()));
        for (pod, log) in self.gateway_logs() {
            out.push_str(&format!("--- {pod}\n{}\n", tail(&log)));
        }
        let journal = self.gitlab.journal().since(0);
        out.push_str("--- GitLab\n");
        for entry in &journal[journal.len().saturating_sub(25)..] {
            out.push_str(&format!(
                "{:?} {:?} {:?} {:?}\n",
                entry.operation_name, entry.path, entry.status, entry.errors
            ));
        }
        out
    }

    /// Marks both journals; see [`Self::writes_since`].
    ///
    /// # Panics
    /// When the API server's journal cannot be read.
    pub async fn mark(&self) -> (duo_testkit::control_plane::Mark, u64) {
        (self.control_plane.mark().await.expect("the journal"), self.gitlab.journal().mark())
    }

    /// Waits until the operator writes nothing for `span`; where that began. What comes together late, such as the words of
    /// a status, is waited for; a world that never rests is told with what is written.
    ///
    /// # Panics
    /// When it does not rest.
    pub async fn rests_for(&self, span: Duration) -> (duo_testkit::control_plane::Mark, u64) {
        for _ in 0..4 {
            let mark = self.mark().await;
            tokio::time::sleep(span).await;
            if self.writes_since(&mark).await.is_empty() {
                return mark;
            }
        }
        let mark = self.mark().await;
        tokio::time::sleep(span).await;
        let writes = self.writes_since(&mark).await;
        assert!(writes.is_empty(), "a converged world is written to: {writes:#?}\n{}", self.log_tail());
        mark
    }

    /// What the operator wrote since a mark, to the API server (in this namespace) and to GitLab.
    ///
    /// # Panics
    /// When the API server's journal cannot be read.
    pub async fn writes_since(&self, mark: &(duo_testkit::control_plane::Mark, u64)) -> Vec<String> {
        let operator = |user: &str| user == "system:serviceaccount:duo-operator:duo-operator";
        let mut writes: Vec<String> = self
            .control_plane
            .writes_since(mark.0, operator)
            .await
            .expect("the journal")
            .into_iter()
            .filter(|write| write.namespace == self.namespace)
            .map(|write| format!("{} {} {} ({})", write.verb, write.resource, write.name, write.code))
            .collect();
        writes
            .extend(self.gitlab.journal().writes(mark.1).into_iter().map(|entry| format!("GitLab {:?}", entry.fields)));
        writes
    }
}

//! The program `duo-operator plan` as a person or a pipeline runs it, with the rights of `deploy/kustomize/plan`.

use std::path::{Path, PathBuf};

use duo_e2e::{World, manifests, programs};
use duo_testkit::control_plane::Mark;
use duo_testkit::process::TempFolder;
use serde_json::Value;

/// Who plans, in a world.
pub struct Planner<'a> {
    world: &'a World,
    kubeconfig: PathBuf,
    user: String,
    /// Where manifests are.
    pub folder: TempFolder,
    marks: (Mark, u64),
}

/// What a run printed.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl<'a> Planner<'a> {
    /// A ServiceAccount with the documented role in the world's namespace.
    pub async fn new(world: &'a World) -> Self {
        let role = std::fs::read_to_string(programs::checkout("deploy/kustomize/plan/role.yaml")).expect("the role");
        let namespace = &world.namespace;
        world
            .apply(&format!(
                "{role}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: planner, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: planner, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: duo-operator-plan}}
subjects: [{{kind: ServiceAccount, name: planner, namespace: {namespace}}}]
"
            ))
            .await;
        let kubeconfig =
            world.control_plane.kubeconfig_for_service_account(namespace, "planner").await.expect("a kubeconfig");
        let user = format!("system:serviceaccount:{namespace}:planner");
        Self::with(world, kubeconfig, user).await
    }

    /// An administrator of the cluster.
    pub async fn admin(world: &'a World) -> Self {
        let kubeconfig = world.control_plane.kubeconfig_for("plan-admin", &["system:masters"]).expect("a kubeconfig");
        Self::with(world, kubeconfig, "plan-admin".to_owned()).await
    }

    async fn with(world: &'a World, kubeconfig: PathBuf, user: String) -> Self {
        let folder = TempFolder::new("duo-plan-").expect("a folder");
        let marks = world.mark().await;
        Self { world, kubeconfig, user, folder, marks }
    }

    /// Writes a manifest into the folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// The article's manifests, one file.
    pub fn article(&self) -> String {
        manifests::article(&self.world.namespace, &self.world.gitlab.url(), &self.world.bedrock.url())
    }

    /// Plans for the folder with further arguments.
    pub async fn plan(&self, args: &[&str]) -> Run {
        self.plan_with(self.folder.join("."), args, Some(&self.kubeconfig)).await
    }

    pub async fn plan_with(&self, path: impl AsRef<Path>, args: &[&str], kubeconfig: Option<&Path>) -> Run {
        let mut command = tokio::process::Command::new(programs::program("duo-operator"));
        command.arg("plan").arg("-f").arg(path.as_ref()).args(args).env_remove("KUBECONFIG").env("HOME", "/nowhere");
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().await.expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let run =
            Run { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
        for secret in [manifests::ADMIN_TOKEN, manifests::AWS_SECRET, manifests::VLLM_KEY] {
            assert!(!run.out.contains(secret) && !run.err.contains(secret), "a secret is told: {run:#?}");
        }
        run
    }

    /// Nothing was changed by all runs so far: only dry runs at the API server, no mutation at GitLab.
    pub async fn changed_nothing(&self) {
        let writes =
            self.world.control_plane.writes_since(self.marks.0, |user| user == self.user).await.expect("the journal");
        assert!(!writes.is_empty(), "no dry run was asked for: the test proves nothing");
        let real: Vec<_> = writes.iter().filter(|write| !write.dry_run).collect();
        assert!(real.is_empty(), "written for real: {real:#?}");
    }

    /// No mutation came to GitLab since the planner was made; for worlds without an operator.
    pub fn asked_gitlab_only_to_read(&self) {
        let entries = self.world.gitlab.journal().since(self.marks.1);
        assert!(entries.iter().any(|entry| entry.kind == "graphql"), "GitLab was not asked: the test proves nothing");
        let mutations: Vec<_> = entries.iter().filter(|entry| entry.mutation).map(|entry| &entry.fields).collect();
        assert!(mutations.is_empty(), "mutations: {mutations:?}");
    }
}

/// All sentences about GitLab of a plan, in order.
pub fn sentences(plan: &Value) -> Vec<String> {
    let resources = plan["resources"].as_array().expect("resources");
    let sentences = resources.iter().flat_map(|resource| resource["gitlab"].as_array().into_iter().flatten());
    sentences.map(|text| text.as_str().expect("a sentence").to_owned()).collect()
}

/// Child objects of a plan: action, kind, name.
pub fn children(plan: &Value) -> Vec<String> {
    let resources = plan["resources"].as_array().expect("resources");
    let children = resources.iter().flat_map(|resource| resource["cluster"].as_array().into_iter().flatten());
    let text = |child: &Value, field: &str| child[field].as_str().unwrap_or_default().to_owned();
    children.map(|child| format!("{} {} {}", text(child, "action"), text(child, "kind"), text(child, "name"))).collect()
}

/// One resource of a plan.
pub fn of<'a>(plan: &'a Value, kind: &str, name: &str) -> &'a Value {
    let found = plan["resources"].as_array().into_iter().flatten();
    let found = found.into_iter().find(|resource| resource["kind"] == kind && resource["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {plan:#}"))
}

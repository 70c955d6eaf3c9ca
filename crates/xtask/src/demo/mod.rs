//! `make demo`: the product in a real cluster beside a simulated GitLab and Bedrock, from nothing to a user's answers.

mod ask;
pub(crate) mod keys;
mod ready;
pub(crate) mod settings;

use std::path::Path;
use std::time::{Duration, Instant};

use duo_testkit::images::{self, Image};
use duo_testkit::node::{NodeCluster, Options};

use crate::console::{Console, Failure};
use crate::products;

/// Where the operator runs (`deploy/kustomize/base`).
const OPERATOR: (&str, &str) = ("duo-operator", "duo-operator");
/// The Service of the simulated GitLab, through the API server.
const GITLAB: &str = "/api/v1/namespaces/gitlab/services/gitlab:http/proxy";
/// The images that the demo's pods run, beside the node's own.
const IMAGES: [&str; 3] = ["duo-operator", "duo-gateway", "duo-sim"];
const RESOURCES: &str = "aigateway,selfhostedmodel,featureassignment";

/// Brings everything up, shows that it works and leaves it running. Can be repeated: what has changed is replaced.
pub(crate) fn up(options: &Options, console: &Console) -> Result<(), Failure> {
    // first what can be refused: nobody should wait for a build to hear that root is needed
    NodeCluster::prepare(&console.progress())?;
    products::build(console)?;
    let images = crate::images::build(&IMAGES.map(str::to_owned), images::DEFAULT_TAG, console)?;
    let cluster = NodeCluster::up(options, &console.progress())?;
    // also when a step fails: then there is something to look at, and the next attempt starts from there
    let outcome = show(&cluster, &images, console);
    let kubeconfig = cluster.kubeconfig();
    let kubectl = cluster.assets().path("kubectl");
    cluster.keep();
    let place = format!("  export KUBECONFIG={}\n  {} get aigateway -A", kubeconfig.display(), kubectl.display());
    match outcome {
        Ok(()) => {
            console.plain(&format!("\nIt keeps running; `make demo-down` removes it all.\n{place}"));
            Ok(())
        }
        Err(failure) => {
            console.plain(&format!("\nThe cluster is left as it is; `make demo-down` removes it.\n{place}"));
            Err(failure)
        }
    }
}

fn show(cluster: &NodeCluster, images: &[Image], console: &Console) -> Result<(), Failure> {
    import(cluster, images, console)?;
    console.step("installing the operator: kubectl apply -k deploy/kustomize/base");
    apply(cluster, "-k", "deploy/kustomize/base")?;
    console.step("installing the simulated GitLab and Bedrock: kubectl apply -f deploy/demo");
    apply(cluster, "-f", "deploy/demo")?;
    for (namespace, deployment) in [OPERATOR, ("gitlab", "gitlab"), ("aws", "bedrock")] {
        rolled_out(cluster, namespace, deployment, console)?;
    }
    console.step("declaring the article's scenario: kubectl apply -f deploy/samples");
    applied_when_known(cluster, "deploy/samples")?;
    ready::wait(cluster, console)?;
    console.plain(&format!("\n$ kubectl get {RESOURCES} -A -o wide"));
    console.plain(&cluster.kubectl(["get", RESOURCES, "-A", "-o", "wide"])?);
    ask::show(cluster, console)
}

/// Gives the node the images. Pods that run an earlier build of one are deleted, so that their Deployments start the new.
fn import(cluster: &NodeCluster, images: &[Image], console: &Console) -> Result<(), Failure> {
    let mut replaced = Vec::new();
    for image in images {
        if cluster.import(image)? {
            console.step(&format!("{} is newer than what runs: replacing its pods", image.reference));
            replaced.push(image.reference.clone());
        }
    }
    let reference = |name| images::reference(name, images::DEFAULT_TAG);
    if replaced.contains(&reference("duo-sim")) {
        // a new simulated GitLab has forgotten what was set in it; a new operator looks at once, not at its next resync
        replaced.push(reference("duo-operator"));
    }
    let columns =
        r#"jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name} {.spec.containers[*].image}{"\n"}{end}"#;
    for line in cluster.kubectl(["get", "pods", "-A", "-o", columns])?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [namespace, pod, running @ ..] = words.as_slice()
            && running.iter().any(|image| replaced.iter().any(|reference| reference == image))
        {
            cluster.kubectl(["-n", namespace, "delete", "pod", pod, "--wait=false"])?;
        }
    }
    Ok(())
}

/// `kubectl apply` of a folder of the checkout. Server-side: the CRDs are too large for the client's annotation.
fn apply(cluster: &NodeCluster, flag: &str, folder: &str) -> Result<(), Failure> {
    let folder = crate::root().join(folder).display().to_string();
    cluster.kubectl(["apply", "--server-side", "--force-conflicts", flag, &folder])?;
    Ok(())
}

/// A CRD takes a moment until objects of its kind can be made.
fn applied_when_known(cluster: &NodeCluster, folder: &str) -> Result<(), Failure> {
    let crds =
        ["aigateways", "selfhostedmodels", "featureassignments"].map(|name| format!("crd/{name}.duo.selfhosted.dev"));
    let mut words = vec!["wait", "--for=condition=Established", "--timeout=60s"];
    words.extend(crds.iter().map(String::as_str));
    cluster.kubectl(words)?;
    let flag = if Path::new(&crate::root().join(folder)).join("kustomization.yaml").exists() { "-k" } else { "-f" };
    apply(cluster, flag, folder)
}

/// Waits until all replicas of a Deployment are of the newest template and available.
fn rolled_out(cluster: &NodeCluster, namespace: &str, deployment: &str, console: &Console) -> Result<(), Failure> {
    const PATIENCE: Duration = Duration::from_secs(180);
    console.step(&format!("waiting for deployment {namespace}/{deployment}"));
    let name = format!("deployment/{deployment}");
    let begin = Instant::now();
    loop {
        let waited = cluster.kubectl(["-n", namespace, "rollout", "status", &name, "--timeout=15s"]);
        let Err(error) = waited else { return Ok(()) };
        let pods = cluster.kubectl(["-n", namespace, "get", "pods", "--no-headers"])?;
        if begin.elapsed() > PATIENCE {
            let logs = cluster.kubectl(["-n", namespace, "logs", &name, "--tail=15"]).unwrap_or_default();
            return Err(Failure::Other(format!("{error}\n{pods}\n{logs}")));
        }
        console.step(&format!("still waiting for {namespace}/{deployment}: {}", pods.trim().replace('\n', "; ")));
    }
}

//! `duo-operator plan`: what the operator would do with these manifests, in the cluster and in GitLab. Nothing is changed.
//!
//! The pipeline: read the files, load what the cluster has, let the API server judge each of our objects by a dry run, let
//! the controllers work on a [shadow](shadow) of the cluster and on a copy of what GitLab holds, report the differences.
//! Nothing here decides what is right: it is the controllers' own code that runs.

mod cluster;
mod manifests;
mod merge;
mod read;
mod rehearse;
mod report;
mod shadow;
mod target;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;

use duo_api::{AIGateway, SelfHostedModel};
use duo_core::inputs;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::{Value, json};

use crate::cli::{Output, PlanArgs};
use manifests::{Kind, Manifest, Manifests};
use report::{Report, ordered};
use shadow::Shadow;
use target::Target;

/// Runs a plan and prints it. 0: nothing would change; 2: something would; 1: the plan could not be made, is not
/// complete, or something that the files declare would be refused.
pub async fn run(args: PlanArgs) -> ExitCode {
    let report = match make(&args).await {
        Ok(report) => report,
        Err(errors) => Report { errors, ..Report::default() },
    };
    for error in &report.errors {
        let _ = writeln!(std::io::stderr(), "error: {error}");
    }
    let printed = match args.output {
        Output::Text if report.resources.is_empty() && !report.errors.is_empty() => Ok(String::new()),
        Output::Text => Ok(text::render(&report)),
        Output::Json => {
            serde_json::to_string_pretty(&report).map(|text| text + "\n").map_err(|error| error.to_string())
        }
        Output::Yaml => serde_yaml_ng::to_string(&report).map_err(|error| error.to_string()),
    };
    let written = printed.and_then(|text| {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
    });
    if let Err(error) = written {
        let _ = writeln!(std::io::stderr(), "error: the plan cannot be printed: {error}");
        return ExitCode::FAILURE;
    }
    match (report.errors.is_empty(), report.has_changes()) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(2),
        (true, false) => ExitCode::SUCCESS,
    }
}

async fn make(args: &PlanArgs) -> Result<Report, Vec<String>> {
    let client = connect(args).await.map_err(|error| vec![error])?;
    let namespace = args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let files = read::read(&read::Sources {
        paths: &args.files,
        recursive: args.recursive,
        namespace: &namespace,
        only: args.namespace.is_some(),
    });
    if !files.mistakes.is_empty() {
        return Err(files.mistakes);
    }
    let shadow = Shadow::new(client.clone());
    let mut world = load(&client, &shadow, &files, &namespace).await.map_err(|error| vec![error])?;
    judge(&client, &shadow, &files, &world.live).await?;
    if args.prune {
        world.namespaces.iter().for_each(|namespace| prune(&shadow, &files, &world.live, namespace));
    }
    let objects = concerned(&shadow, &files, args.prune);
    let image = match &args.gateway_image {
        Some(image) => image.clone(),
        None => running_image(&shadow, &world.live).await.unwrap_or_else(|| {
            let default = crate::cli::GATEWAY_IMAGE;
            world
                .notes
                .push(format!("the image of new gateways is taken to be {default}; --gateway-image says another one"));
            default.to_owned()
        }),
    };
    let outcome = rehearse::run(&shadow, &objects, &image).await.map_err(|error| vec![error])?;
    let places = files
        .objects
        .iter()
        .map(|item| (cluster::target(item.kind, &item.namespace, &item.name), item.place.clone()))
        .collect();
    for (instance, version) in &outcome.instances {
        world.notes.push(format!("{} is GitLab {version}", instance.trim_end_matches("/api/graphql")));
    }
    world.notes.extend(files.notes);
    Ok(Report::new(&objects, &places, &shadow, &outcome, world.notes))
}

async fn connect(args: &PlanArgs) -> Result<kube::Client, String> {
    let cure = "set KUBECONFIG to a kubeconfig of the cluster, and --context to one of its contexts if it is not the current one";
    let connected = match &args.context {
        None => duo_runtime::client::connect().await.map_err(|error| error.to_string()),
        Some(context) => {
            let options = kube::config::KubeConfigOptions { context: Some(context.clone()), ..Default::default() };
            match kube::Config::from_kubeconfig(&options).await {
                Ok(config) => duo_runtime::client::connect_with(config).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
    };
    connected.map_err(|error| format!("no cluster to plan for: {error}; {cure}"))
}

/// What the cluster has.
struct World {
    live: BTreeMap<Target, Value>,
    namespaces: BTreeSet<String>,
    notes: Vec<String>,
}

/// Loads our kinds in the namespaces of the files, and AIGateways of all namespaces: another one may hold the same GitLab.
async fn load(client: &kube::Client, shadow: &Shadow, files: &Manifests, namespace: &str) -> Result<World, String> {
    let mut namespaces: BTreeSet<String> = files.objects.iter().map(|item| item.namespace.clone()).collect();
    if namespaces.is_empty() {
        namespaces.insert(namespace.to_owned());
    }
    let mut found = Vec::new();
    let mut notes = Vec::new();
    for namespace in &namespaces {
        for kind in Kind::OURS {
            let objects = cluster::list(client, kind, Some(namespace)).await?;
            found.extend(objects.into_iter().map(|object| (kind, object)));
        }
    }
    match cluster::list(client, Kind::AIGateway, None).await {
        Ok(rivals) => {
            let elsewhere = |object: &Value| !namespaces.contains(text(object, "namespace"));
            found.extend(rivals.into_iter().filter(elsewhere).map(|object| (Kind::AIGateway, object)));
        }
        Err(_) => notes.push(
            "AIGateways of other namespaces cannot be listed: whether one of them holds the same GitLab is not known"
                .to_owned(),
        ),
    }
    let mut live = BTreeMap::new();
    for (kind, object) in found {
        let target = cluster::target(kind, text(&object, "namespace"), text(&object, "name"));
        shadow.put(target.clone(), Some(object.clone()), Some(object.clone()));
        live.insert(target, object);
    }
    Ok(World { live, namespaces, notes })
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Puts the files' objects over the cluster's: Secrets and ConfigMaps as they are, ours as the API server would keep them.
async fn judge(
    client: &kube::Client,
    shadow: &Shadow,
    files: &Manifests,
    live: &BTreeMap<Target, Value>,
) -> Result<(), Vec<String>> {
    let mut refused = Vec::new();
    for item in &files.objects {
        let target = cluster::target(item.kind, &item.namespace, &item.name);
        if Kind::OURS.contains(&item.kind) {
            match cluster::judge(client, item, live.get(&target)).await {
                Ok(object) => shadow.edit(&target, Some(object)),
                Err(why) => refused.push(why),
            }
        } else {
            match manifests::stored(item) {
                Ok(object) => shadow.put(target, None, Some(object)),
                Err(why) => refused.push(why),
            }
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

/// The image that the running operator gives to gateways that name none, seen at one of them.
async fn running_image(shadow: &Shadow, live: &BTreeMap<Target, Value>) -> Option<String> {
    let ours =
        |spec: &Value| spec["image"].is_null() && spec["implementation"].as_str().is_none_or(|own| own == "Embedded");
    let gateways = live.iter().filter(|(target, _)| target.plural == Kind::AIGateway.plural());
    for (target, _) in gateways.filter(|(_, object)| ours(&object["spec"])) {
        let api: Api<Deployment> = Api::namespaced(shadow.client(), &target.namespace);
        let found = duo_runtime::call("get Deployment", api.get_opt(&target.name)).await.ok().flatten();
        let pod = found.and_then(|deployment| deployment.spec).and_then(|spec| spec.template.spec);
        if let Some(image) = pod.and_then(|pod| pod.containers.into_iter().next()).and_then(|first| first.image) {
            return Some(image);
        }
    }
    None
}

/// Marks what the files do not hold as being deleted, as a tool that prunes would.
fn prune(shadow: &Shadow, files: &Manifests, live: &BTreeMap<Target, Value>, namespace: &str) {
    let declared: BTreeSet<Target> =
        files.objects.iter().map(|item| cluster::target(item.kind, &item.namespace, &item.name)).collect();
    for (target, object) in
        live.iter().filter(|(target, _)| target.namespace == namespace && !declared.contains(*target))
    {
        let mut object = object.clone();
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if object["metadata"]["deletionTimestamp"].is_null() {
            // a minute ago: what gathers for some seconds is over, what waits for a person is not
            let asked = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 60).unwrap_or_default();
            object["metadata"]["deletionTimestamp"] = json!(asked.to_string());
        }
        shadow.edit(target, held.then_some(object));
    }
}

/// The objects to work on: those of the files, those that refer to Secrets and ConfigMaps of the files, and all that
/// belongs to a gateway of one of them.
fn concerned(shadow: &Shadow, files: &Manifests, prune: bool) -> Vec<Target> {
    let ours: BTreeMap<Target, Value> = shadow
        .seen()
        .into_iter()
        .filter(|(target, _)| target.is_ours())
        .filter_map(|(target, seen)| Some((target, seen.now.or(seen.before)?)))
        .collect();
    let changed: BTreeSet<(&str, Kind, &str)> = files
        .objects
        .iter()
        .map(|Manifest { namespace, kind, name, .. }| (namespace.as_str(), *kind, name.as_str()))
        .collect();
    let mut gateways: BTreeSet<(String, String)> = BTreeSet::new();
    for (target, object) in &ours {
        let leaves = prune && !object["metadata"]["deletionTimestamp"].is_null();
        let own = Kind::OURS.into_iter().find(|kind| kind.plural() == target.plural);
        let declared =
            own.is_some_and(|kind| changed.contains(&(target.namespace.as_str(), kind, target.name.as_str())));
        let refers = references(target, object)
            .iter()
            .any(|(kind, name)| changed.contains(&(target.namespace.as_str(), *kind, name.as_str())));
        if declared || refers || leaves {
            gateways.insert((target.namespace.clone(), gateway_of(target, object)));
        }
    }
    let concerned = ours
        .iter()
        .filter(|(target, object)| gateways.contains(&(target.namespace.clone(), gateway_of(target, object))));
    ordered(concerned.map(|(target, _)| target.clone()).collect())
}

/// Name of the gateway that an object is or belongs to.
fn gateway_of(target: &Target, object: &Value) -> String {
    if target.plural == Kind::AIGateway.plural() {
        return target.name.clone();
    }
    object["spec"]["gatewayRef"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Secrets and ConfigMaps that an object refers to.
fn references(target: &Target, object: &Value) -> Vec<(Kind, String)> {
    let found = if target.plural == Kind::AIGateway.plural() {
        serde_json::from_value::<AIGateway>(object.clone()).map(|gateway| inputs::gateway_references(&gateway.spec))
    } else if target.plural == Kind::SelfHostedModel.plural() {
        serde_json::from_value::<SelfHostedModel>(object.clone()).map(|model| inputs::model_references(&model.spec))
    } else {
        return Vec::new();
    };
    let kind = |kind| match kind {
        inputs::Kind::Secret => Kind::Secret,
        inputs::Kind::ConfigMap => Kind::ConfigMap,
    };
    found.unwrap_or_default().into_iter().map(|(of, name)| (kind(of), name)).collect()
}

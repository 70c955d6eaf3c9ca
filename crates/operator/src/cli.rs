//! Command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use duo_core::deletion::{GITLAB_GONE_SECONDS, HAND_ASSIGNED_GRACE_SECONDS, Patience};
use duo_core::selector::Selector;

/// Declares GitLab Duo Self-Hosted: gateways, models and feature assignments as custom resources.
#[derive(Debug, Parser)]
#[command(name = "duo-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controllers, with the cluster of KUBECONFIG or the one this runs in.
    Run(RunArgs),
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Show what `run` would change in the cluster and in GitLab for these manifests. Changes nothing.
    ///
    /// Exits with 0 when nothing would change, 2 when something would, 1 when the plan could not be made or something
    /// that the manifests declare would be refused.
    Plan(PlanArgs),
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Files or folders with manifests, `-` for standard input; may be given several times.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
    /// Look into the folders of folders, too.
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Namespace of objects that name none; an object of another one is then a mistake. Default: the kubeconfig's.
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig; default: its current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Take it that what the manifests do not hold is deleted: objects of our three kinds in the manifests' namespaces.
    #[arg(long)]
    pub prune: bool,
    /// Image of gateways whose resource names none, as the running operator has it. Default: that of a gateway in the
    /// cluster.
    #[arg(long, value_name = "IMAGE", env = "DUO_GATEWAY_IMAGE")]
    pub gateway_image: Option<String>,
}

/// Form of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
}

/// Image of a gateway where nobody names one.
pub(crate) const GATEWAY_IMAGE: &str = concat!("docker.io/local/duo-gateway:", env!("CARGO_PKG_VERSION"));

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Namespace to watch; may be given several times. Default: all.
    #[arg(long = "watch-namespace", value_name = "NS", env = "WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// How often an unchanged world is looked at, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub resync: u64,
    /// Where Prometheus metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_addr: SocketAddr,
    /// Where `/livez` and `/readyz` are served.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub health_addr: SocketAddr,
    /// Whether only the holder of the Lease `duo-operator` works.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Namespace of the Lease; default: the operator's own.
    #[arg(long, value_name = "NS", env = "POD_NAMESPACE")]
    pub leader_namespace: Option<String>,
    /// How long a feature that a person put on a model by hand holds up the model's deletion, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = HAND_ASSIGNED_GRACE_SECONDS, hide = true)]
    pub hand_assigned_grace: i64,
    /// How long a deletion keeps trying to reach GitLab before it lets go, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = GITLAB_GONE_SECONDS, hide = true)]
    pub gitlab_gone_after: i64,
    /// Most calls in an hour to one GitLab; GitLab's own throttle of a user is 7200 where it is switched on.
    #[arg(long, value_name = "CALLS", default_value_t = 5400, value_parser = clap::value_parser!(u32).range(60..=1_000_000))]
    pub gitlab_calls_per_hour: u32,
    /// Only AIGateways with these labels, and what belongs to them; needs --shard-name. Left out: all.
    #[arg(long, value_name = "SELECTOR", env = "SHARD_SELECTOR", requires = "shard_name")]
    pub shard_selector: Option<Selector>,
    /// Name of this shard; its Lease is `duo-operator-NAME`. Two shards never work on one AIGateway.
    #[arg(long, value_name = "NAME", env = "SHARD_NAME", requires = "shard_selector", value_parser = shard_name)]
    pub shard_name: Option<String>,
    /// Image of gateways whose resource names none.
    #[arg(long, value_name = "IMAGE", env = "DUO_GATEWAY_IMAGE", default_value = GATEWAY_IMAGE)]
    pub gateway_image: String,
}

impl RunArgs {
    /// How long deletions wait.
    pub fn patience(&self) -> Patience {
        Patience { hand_assigned: self.hand_assigned_grace, gitlab_gone: self.gitlab_gone_after }
    }
}

/// As it stands in a Lease's name and in an annotation.
fn shard_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    match text.len() <= 40 && text.chars().all(good) && edge(text.chars().next()) && edge(text.chars().next_back()) {
        true => Ok(text.to_owned()),
        false => Err("at most 40 lower-case letters, digits and dashes, no dash at an end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> RunArgs {
        let all = ["duo-operator", "run"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(args) => args,
            other => panic!("{other:?} is not run"),
        }
    }

    #[test]
    fn the_fixed_interface() {
        let defaults = run(&[]);
        assert!(defaults.leader_elect && defaults.watch_namespace.is_empty() && defaults.resync == 300);
        let given = run(&["--watch-namespace", "a", "--watch-namespace", "b", "--resync", "5", "--leader-elect=false"]);
        assert_eq!((given.watch_namespace, given.resync, given.leader_elect), (vec!["a".into(), "b".into()], 5, false));
        assert!(run(&["--leader-elect"]).leader_elect);
        assert_eq!(run(&["--metrics-addr", "127.0.0.1:0"]).metrics_addr.port(), 0);
        let shard = run(&["--shard-selector", "team in (a,b)", "--shard-name", "east"]);
        assert_eq!(shard.shard_selector.map(|selector| selector.to_string()).as_deref(), Some("team in (a,b)"));
        for refused in [
            vec!["--shard-selector", "a=b"],
            vec!["--shard-name", "east"],
            vec!["--shard-selector", "a=b", "--shard-name", "East"],
            vec!["--shard-selector", "a b", "--shard-name", "east"],
        ] {
            assert!(Cli::try_parse_from(["duo-operator", "run"].iter().chain(&refused)).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_plan_is_asked_for_as_kubectl_is() {
        let plan = |args: &[&str]| {
            let all = ["duo-operator", "plan"].iter().chain(args);
            Cli::try_parse_from(all).map(|cli| match cli.command {
                Command::Plan(args) => args,
                other => panic!("{other:?} is no plan"),
            })
        };
        let found = plan(&["-f", "a", "-f", "-", "-R", "-o", "json", "-n", "x", "--prune"]).unwrap();
        assert_eq!(found.files, [PathBuf::from("a"), PathBuf::from("-")]);
        assert!(found.recursive && found.prune && found.output == Output::Json);
        assert_eq!(found.namespace.as_deref(), Some("x"));
        assert_eq!(plan(&["-f", "a"]).unwrap().output, Output::Text);
        assert!(plan(&[]).is_err(), "nothing to plan");
    }
}

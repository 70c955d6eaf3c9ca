//! The project's own commands; `make` calls them. Each does its own set-up and says what it does.

mod console;
mod crdgen;
mod demo;
mod images;
mod products;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use console::{Console, Failure};
use duo_testkit::node::{NodeCluster, Options};

#[derive(Parser)]
#[command(name = "xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write crds/*.yaml from the Rust types.
    Crdgen {
        /// Change nothing; fail when a file is not what the types say.
        #[arg(long)]
        check: bool,
    },
    /// Build target/release/{duo-operator,duo-gateway,duo-sim} as static programs.
    Build,
    /// Build OCI archives into target/images from programs that are built already.
    Images {
        /// Tag of the images.
        #[arg(long, default_value = duo_testkit::images::DEFAULT_TAG)]
        tag: String,
        /// Only these (default: all).
        names: Vec<String>,
    },
    /// A Kubernetes of one node, without the product.
    Cluster {
        #[command(subcommand)]
        direction: Direction,
        #[command(flatten)]
        which: Which,
    },
    /// The cluster, the operator, a simulated GitLab and Bedrock, and a user's questions.
    Demo {
        #[command(subcommand)]
        direction: DemoStep,
        #[command(flatten)]
        which: Which,
    },
}

/// Several clusters run side by side when their names and folders differ.
#[derive(clap::Args)]
struct Which {
    /// Name of the cluster: 1 to 10 characters of a-z, 0-9 and -.
    #[arg(long, global = true, default_value = "demo")]
    name: String,
    /// Its folder (default: $DUO_CLUSTER_DIR or /var/lib/duo-demo; /var/lib/duo-NAME for other names).
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
}

impl Which {
    fn options(self) -> Options {
        let folder = self.folder.unwrap_or_else(|| match self.name.as_str() {
            "demo" => Options::demo().folder,
            other => Path::new("/var/lib").join(format!("duo-{other}")),
        });
        Options { name: self.name, folder }
    }
}

#[derive(Subcommand, Clone, Copy)]
enum Direction {
    /// Bring it up; what is up already stays.
    Up,
    /// Remove all of it.
    Down,
}

#[derive(Subcommand, Clone, Copy)]
enum DemoStep {
    /// Bring it up; what is up already stays.
    Up,
    /// Beside what is up: a second gateway with TLS, mirrors, fallbacks and limits, and users who ask.
    Settings,
    /// Change the AWS key of what is up, again and again, and say how long each took to reach Bedrock.
    Keys {
        /// How often; an even number.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
    },
    /// Remove all of it.
    Down,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let console = Console::new();
    match run(Arguments::parse().command, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failed(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, console: &Console) -> Result<(), Failure> {
    match command {
        Command::Crdgen { check } => crdgen::run(check, console),
        Command::Build => products::build(console),
        Command::Images { tag, names } => images::build(&names, &tag, console).map(drop),
        Command::Cluster { direction: Direction::Up, which } => cluster_up(&which.options(), console),
        Command::Demo { direction: DemoStep::Up, which } => demo::up(&which.options(), console),
        Command::Demo { direction: DemoStep::Settings, which } => demo::settings::run(&which.options(), console),
        Command::Demo { direction: DemoStep::Keys { rounds }, which } => {
            demo::keys::run(&which.options(), rounds, console)
        }
        Command::Cluster { direction: Direction::Down, which } | Command::Demo { direction: DemoStep::Down, which } => {
            take_down(&which.options(), console)
        }
    }
}

fn cluster_up(options: &Options, console: &Console) -> Result<(), Failure> {
    let cluster = NodeCluster::up(options, &console.progress())?;
    console.step(&format!("ready: export KUBECONFIG={}", cluster.kubeconfig().display()));
    cluster.keep();
    Ok(())
}

fn take_down(options: &Options, console: &Console) -> Result<(), Failure> {
    console.step(&format!("cluster {}: taking it down", options.name));
    let removed = NodeCluster::down(options, &console.progress())?;
    console.step(if removed { "removed" } else { "there was none" });
    Ok(())
}

/// The checkout this program was built from.
fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    folder.canonicalize().unwrap_or(folder)
}

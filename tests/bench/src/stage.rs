//! Everything that is there while it is measured: the model server, and in front of it nginx, a bare hyper proxy and
//! the gateway with a mounted configuration.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::asks::{self, Wire};
use crate::cores::Cores;
use crate::gitlab::{INSTANCE, Keys};
use crate::program::Program;
use crate::{Fallible, load};

/// Users at work; each has a token of its own.
pub const USERS: usize = 50;
/// Until a program must be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is asked.
pub struct Target {
    /// `direct`, `nginx`, `hyper`, `gateway`.
    pub name: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Whose processor time and memory count; nobody's for `direct`.
    pub pids: Vec<u32>,
}

/// A running gateway.
pub struct Gateway {
    program: Program,
    /// The API.
    pub api: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

impl Gateway {
    /// Its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.program.pids()
    }
}

/// The stage. Dropping it ends all programs.
pub struct Stage {
    /// Who has which core.
    pub cores: Cores,
    /// All measuring times are divided by it.
    pub hurry: u32,
    /// The users' tokens.
    pub tokens: Vec<String>,
    /// The model server.
    pub upstream: SocketAddr,
    /// The gateway that is measured.
    pub gateway: Gateway,
    nginx: (Program, SocketAddr),
    bare: (Program, SocketAddr),
    _upstream: Program,
    binary: PathBuf,
    folder: TempDir,
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    /// A program is missing or does not come up; the text says which.
    pub fn set(gateway: &Path, hurry: u32) -> Fallible<Self> {
        let cores = Cores::share();
        pin_this_process(cores.load)?;
        let folder = tempfile::Builder::new().prefix("duo-bench-").tempdir()?;
        let keys = Keys::generate()?;
        let jwks = folder.path().join("jwks.json");
        std::fs::write(&jwks, keys.jwks()?.to_string())?;
        let log = folder.path().join("own.log");
        let jwks_path = jwks.display().to_string();
        let (model_server, upstream) = Program::own(cores.upstream, &["upstream", &jwks_path], &log)?;
        let bare = Program::own(cores.measured, &["proxy", &upstream.to_string()], &log)?;
        let nginx = nginx(cores, folder.path(), upstream)?;
        configure(&folder.path().join("config"), upstream)?;
        let running = start_gateway(cores, gateway, folder.path())?;
        wait_ready(&running)?;
        Ok(Self {
            cores,
            hurry,
            tokens: keys.tokens(USERS)?,
            upstream,
            gateway: running,
            nginx,
            bare,
            _upstream: model_server,
            binary: gateway.to_owned(),
            folder,
        })
    }

    /// Everybody who is measured.
    pub fn targets(&self) -> Vec<Target> {
        let target = |name, address, pids| Target { name, address, pids };
        vec![
            target("direct", self.upstream, Vec::new()),
            target("nginx", self.nginx.1, self.nginx.0.pids()),
            target("hyper", self.bare.1, self.bare.0.pids()),
            target("gateway", self.gateway.api, self.gateway.pids()),
        ]
    }

    /// Another gateway with the same configuration, started from `binary` (the measured one's if `None`). Nobody waits
    /// for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn another(&self, binary: Option<&Path>) -> Fallible<Gateway> {
        start_gateway(self.cores, binary.unwrap_or(&self.binary), self.folder.path())
    }

    /// A time, divided as was asked for.
    pub fn time(&self, millis: u64) -> Duration {
        Duration::from_millis(millis) / self.hurry
    }

    /// Logs are written as in production and then forgotten, or they would fill the disk.
    pub fn empty_logs(&self) {
        for name in ["gateway.log", "nginx-access.log"] {
            if let Ok(file) = std::fs::OpenOptions::new().write(true).open(self.folder.path().join(name)) {
                let _ = file.set_len(0);
            }
        }
    }

    /// The programs' own words, for the error text of a run that went wrong.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default();
        text.lines().rev().take(3).collect::<Vec<_>>().join("\n")
    }
}

/// Moves this process to a core.
///
/// # Errors
/// No `taskset`.
pub fn pin_this_process(core: usize) -> Fallible<()> {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["--all-tasks", "--pid", "--cpu-list", &core.to_string(), &pid]).output();
    match pinned {
        Ok(done) if done.status.success() => Ok(()),
        _ => Err("taskset is missing: apt-get install util-linux".into()),
    }
}

fn nginx(cores: Cores, folder: &Path, upstream: SocketAddr) -> Fallible<(Program, SocketAddr)> {
    let address = free_address()?;
    let root = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let text = include_str!("../nginx.conf")
        // without it the worker would be somebody who cannot write to the folder
        .replace("@USER@", if root { "user root;" } else { "" })
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@UPSTREAM@", &upstream.to_string())
        .replace("@PORT@", &address.port().to_string());
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text)?;
    let binary =
        ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].iter().find(|path| Path::new(path).exists());
    let binary = binary.ok_or("nginx is missing: tests/bench/setup.sh installs it")?;
    let prepare = |command: &mut Command| {
        command.arg("-c").arg(&file).arg("-p").arg(folder);
    };
    let mut program = Program::start(cores.measured, Path::new(binary), prepare, &folder.join("nginx-start.log"))?;
    wait(|| {
        if program.ended() {
            return Err(std::fs::read_to_string(folder.join("nginx-start.log"))?.into());
        }
        Ok(std::net::TcpStream::connect(address).is_ok() && program.pids().len() > 1)
    })?;
    Ok((program, address))
}

/// A mounted folder as the operator renders it.
fn configure(folder: &Path, upstream: SocketAddr) -> Fallible<()> {
    std::fs::create_dir_all(folder)?;
    let mut models = String::new();
    for (name, wire) in [("codestral", Wire::OpenAi), ("claude", Wire::Bedrock)] {
        let (family, identifier) = asks::model(wire);
        models += &format!("- {{name: {name}, family: {family}, identifier: \"{identifier}\"");
        if wire == Wire::OpenAi {
            models += &format!(", endpoint: \"{}\", apiKeyFile: model-key", asks::endpoint(wire, upstream));
        }
        // the gateway's own limit of calls at a time is not what is measured
        models += ", concurrency: {maxRequests: 8192}}\n";
    }
    let config = format!(
        "gitlab: {{url: \"http://{upstream}\", instanceId: {INSTANCE}}}\n\
         providers:\n  bedrock: {{region: us-east-1, endpoint: \"http://{upstream}\", credentials: true}}\n\
         models:\n{models}"
    );
    for (name, text) in [
        ("config.yaml", config.as_str()),
        ("model-key", "sk-bench-0123456789"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// A gateway with the configuration of `folder`; nobody waits for it.
///
/// # Errors
/// It cannot be started.
pub fn start_gateway(cores: Cores, binary: &Path, folder: &Path) -> Fallible<Gateway> {
    let (api, metrics) = (free_address()?, free_address()?);
    let prepare = |command: &mut Command| {
        command.arg("--config").arg(folder.join("config/config.yaml"));
        command.env("AIGW_FASTAPI__API_HOST", "127.0.0.1").env("AIGW_FASTAPI__API_PORT", api.port().to_string());
        command.env("AIGW_FASTAPI__METRICS_HOST", "127.0.0.1");
        command.env("AIGW_FASTAPI__METRICS_PORT", metrics.port().to_string());
        command.env("AIGW_CUSTOMER_PORTAL_URL", "");
    };
    let program = Program::start(cores.measured, binary, prepare, &folder.join("gateway.log"))?;
    Ok(Gateway { program, api, metrics })
}

/// Until it says that it is ready.
///
/// # Errors
/// It does not.
pub fn wait_ready(gateway: &Gateway) -> Fallible<()> {
    wait(|| Ok(load::get(gateway.api, "/monitoring/ready").is_ok_and(|(status, _)| status == 200)))
}

fn wait(mut there: impl FnMut() -> Fallible<bool>) -> Fallible<()> {
    let until = Instant::now() + PATIENCE;
    while !there()? {
        if Instant::now() > until {
            return Err(format!("a program of the bench did not come up within {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

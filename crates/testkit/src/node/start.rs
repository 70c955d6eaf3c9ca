//! The steps that bring a cluster up, in their order. `mod.rs` says what the outcome is and keeps it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::command::{command, run};
use super::layout::{API_PORT, API_SERVICE_ADDRESS, DNS_DOMAIN, Layout, NODE_ADDRESS, inner_address};
use super::state::State;
use super::{Progress, cgroup, config, network, packages};
use crate::assets::Assets;
use crate::error::{Error, Result};
use crate::images;
use crate::pki::{CertificateAuthority, Login, ServiceAccountKeys, kubeconfig};

/// Everything one start needs at hand.
pub(super) struct Start<'a> {
    pub(super) layout: &'a Layout,
    pub(super) assets: &'a Assets,
    pub(super) progress: &'a Progress,
    pub(super) state: State,
}

const PATIENCE: Duration = Duration::from_secs(180);

impl Start<'_> {
    /// From nothing to a node that runs pods and resolves Service names.
    pub(super) fn all(mut self) -> Result<()> {
        self.folders()?;
        // written first: whatever happens from here on, `down` finds what there is to remove
        self.state.write(self.layout.folder())?;
        self.say("network namespace");
        let uplink = network::create(self.layout)?;
        self.state.uplink = Some(uplink);
        self.state.write(self.layout.folder())?;
        self.certificates(uplink)?;

        self.say("etcd and kube-apiserver");
        self.spawn("etcd", &self.assets.path("etcd"), config::etcd(self.layout))?;
        self.spawn("kube-apiserver", &self.assets.path("kube-apiserver"), config::apiserver(self.layout))?;
        self.containerd()?;
        self.until("kube-apiserver to be ready", "kube-apiserver", |start| {
            start.kubectl(["get", "--raw", "/readyz"]).map(|_| true)
        })?;

        self.say("kube-controller-manager, kube-scheduler, kubelet, kube-proxy");
        let program = self.assets.path("kube-controller-manager");
        self.spawn("kube-controller-manager", &program, config::controller_manager(self.layout))?;
        self.spawn("kube-scheduler", &self.assets.path("kube-scheduler"), config::scheduler(self.layout))?;
        self.node_images()?;
        cgroup::detect()?.create(&self.layout.cgroup())?;
        self.spawn("kubelet", &self.assets.path("kubelet"), config::kubelet_arguments(self.layout))?;
        let masquerade_all = !network::filter_bridged(self.layout);
        self.spawn("kube-proxy", &self.assets.path("kube-proxy"), config::proxy(self.layout, masquerade_all))?;
        self.finish()
    }

    /// The steps that are repeated on a cluster that already runs: DNS applied, node and DNS awaited.
    pub(super) fn finish(&mut self) -> Result<()> {
        let image = images::reference("coredns", images::DEFAULT_TAG);
        apply(self.assets, self.layout, &config::dns(&image))?;
        self.say("waiting for the node");
        let node = format!("node/{}", self.layout.node());
        self.until("the node to be Ready", "kubelet", |start| {
            let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#;
            let text = start.kubectl(["get", &node, "-o", path])?;
            Ok(text.contains(r#""status":"True""#))
        })?;
        self.say("waiting for cluster DNS");
        self.until("CoreDNS to be available", "kubelet", |start| {
            let path = "jsonpath={.status.availableReplicas}";
            Ok(start.kubectl(["-n", "kube-system", "get", "deployment/coredns", "-o", path])?.trim() == "1")
        })
    }

    fn say(&self, what: &str) {
        self.progress.say(&format!("cluster {}: {what}", self.layout.name()));
    }

    fn folders(&self) -> Result<()> {
        for folder in ["pki", "logs", "containerd", "cni", "kubelet", "pod-logs", "volume-plugins"] {
            let folder = self.layout.path(folder);
            std::fs::create_dir_all(&folder).map_err(Error::io("create folder", &folder))?;
        }
        // keys and tokens lie below
        let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
        for folder in ["pki", "kubelet"] {
            let folder = self.layout.path(folder);
            std::fs::set_permissions(&folder, private.clone()).map_err(Error::io("protect", &folder))?;
        }
        write(&self.layout.path("cni/10-duo.conflist"), &config::network(self.layout))?;
        write(&self.layout.path("kubelet.yaml"), &config::kubelet(self.layout))?;
        // pods with dnsPolicy Default: no name server at all rather than the machine's, which is out of reach
        write(&self.layout.path("resolv.conf"), "")
    }

    fn certificates(&self, uplink: u8) -> Result<()> {
        let authority = CertificateAuthority::new(&self.layout.node())?;
        let outer = inner_address(uplink);
        let in_cluster = format!("kubernetes.default.svc.{DNS_DOMAIN}");
        let names = [
            "localhost",
            "127.0.0.1",
            NODE_ADDRESS,
            API_SERVICE_ADDRESS,
            &outer,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            &in_cluster,
        ];
        let server = authority.server("kube-apiserver", &names)?;
        let admin = authority.client("admin", Some("system:masters"))?;
        let tokens = ServiceAccountKeys::generate()?;
        for (file, text) in [
            ("ca.crt", authority.cert_pem()),
            ("ca.key", &authority.key_pem()),
            ("apiserver.crt", &server.cert_pem),
            ("apiserver.key", &server.key_pem),
            ("admin.crt", &admin.cert_pem),
            ("admin.key", &admin.key_pem),
            ("tokens.key", &tokens.private_pem),
            ("tokens.pub", &tokens.public_pem),
        ] {
            write(&self.layout.path("pki").join(file), text)?;
        }
        let login = Login::Certificate(admin);
        let config = |address: &str| {
            kubeconfig(&format!("https://{address}:{API_PORT}"), authority.cert_pem(), &login, "default")
        };
        write(&self.layout.inner_kubeconfig(), &config("127.0.0.1"))?;
        write(&self.layout.kubeconfig(), &config(&outer))?;
        // kubectl warns about a kubeconfig that others may read
        let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(self.layout.kubeconfig(), private)
            .map_err(Error::io("protect", self.layout.kubeconfig()))
    }

    fn containerd(&mut self) -> Result<()> {
        let pause = images::reference("pause", images::DEFAULT_TAG);
        let file = self.layout.path("containerd/config.toml");
        write(&file, &config::containerd(self.layout, &pause, Path::new(packages::CNI_PLUGINS)))?;
        let program = crate::assets::find_program("containerd").unwrap_or_else(|| PathBuf::from("containerd"));
        self.spawn("containerd", &program, vec![format!("--config={}", file.display())])?;
        self.until("containerd to answer", "containerd", |start| ctr(start.layout, ["version"]).map(|_| true))
    }

    /// The images a node cannot do without.
    fn node_images(&self) -> Result<()> {
        let sources = images::Sources {
            // neither image has a product in it
            products: PathBuf::new(),
            kubernetes: self.assets.folder().to_owned(),
        };
        for name in ["pause", "coredns"] {
            let folder = self.layout.path("images");
            let image = images::build(name, images::DEFAULT_TAG, &sources, &folder)
                .map_err(|error| Error::Invalid { what: "node image".into(), why: error.to_string() })?;
            import(self.layout, &image)?;
        }
        Ok(())
    }

    /// Starts a program inside the namespace, in a session of its own so that neither the end of this process nor a
    /// Ctrl-C reaches it, with its output in a file.
    fn spawn(&mut self, name: &str, program: &Path, arguments: Vec<String>) -> Result<()> {
        let path = self.layout.log(name);
        let log = std::fs::File::create(&path).map_err(Error::io("create", &path))?;
        let log_too = log.try_clone().map_err(Error::io("create", &path))?;
        let enter = network::enter(self.layout);
        // setsid and nsenter replace themselves by the program, so the process id is the program's own
        let mut command = command("setsid", [enter.get_program()]);
        command.args(enter.get_args()).arg(program).args(arguments);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env_remove("KUBECONFIG").stdin(Stdio::null()).stdout(log).stderr(log_too);
        let child = command.spawn().map_err(|error| Error::Process {
            program: name.to_owned(),
            why: error.to_string(),
            log: None,
        })?;
        self.state.add(name, child.id());
        self.state.write(self.layout.folder())
    }

    fn kubectl<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Result<String> {
        run(kubectl(self.assets, self.layout, words))
    }

    /// Asks until the answer is yes; gives up early when a program of the cluster has ended.
    fn until(&self, what: &str, log: &str, ask: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        let mut told = 0;
        loop {
            let last = match ask(self) {
                Ok(true) => return Ok(()),
                Ok(false) => "not yet".to_owned(),
                Err(error) => error.to_string(),
            };
            if let Some(process) = self.state.ended() {
                let log = Some(self.layout.log(&process.program));
                return Err(Error::Process { program: process.program.clone(), why: "ended by itself".into(), log });
            }
            if begin.elapsed() > PATIENCE {
                let log = Some(self.layout.log(log));
                return Err(Error::Timeout { what: what.to_owned(), after: PATIENCE, last, log });
            }
            if begin.elapsed().as_secs() / 10 > told {
                told = begin.elapsed().as_secs() / 10;
                self.say(&format!("still waiting for {what}"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// `kubectl` with the cluster's kubeconfig; the caller adds what is left.
pub(super) fn kubectl<'w>(
    assets: &Assets,
    layout: &Layout,
    words: impl IntoIterator<Item = &'w str>,
) -> std::process::Command {
    let mut command = std::process::Command::new(assets.path("kubectl"));
    command.arg(format!("--kubeconfig={}", layout.kubeconfig().display())).args(words).stdin(Stdio::null());
    command.env_remove("KUBECONFIG");
    command
}

/// Server-side apply of a manifest with any number of documents.
pub(super) fn apply(assets: &Assets, layout: &Layout, manifest: &str) -> Result<()> {
    let file = layout.path("apply.yaml");
    write(&file, manifest)?;
    let words = ["apply", "--server-side", "--force-conflicts", "--field-manager=duo-testkit", "-f"];
    let mut command = kubectl(assets, layout, words);
    command.arg(&file);
    run(command).map(drop)
}

/// Imports an image; see `NodeCluster::import`.
pub(super) fn import(layout: &Layout, image: &images::Image) -> Result<bool> {
    let filter = format!("name=={}", image.reference);
    let before = ctr(layout, ["--namespace=k8s.io", "images", "list", &filter])?;
    if before.contains(&image.digest) {
        return Ok(false);
    }
    let archive = image.archive.display().to_string();
    ctr(layout, ["--namespace=k8s.io", "images", "import", &archive])?;
    Ok(before.contains(&image.reference))
}

pub(super) fn ctr<'w>(layout: &Layout, words: impl IntoIterator<Item = &'w str>) -> Result<String> {
    let mut command = command("ctr", [format!("--address={}", layout.containerd_socket().display())]);
    command.args(words);
    run(command)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(Error::io("write", path))
}

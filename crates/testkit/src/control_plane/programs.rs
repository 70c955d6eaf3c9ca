//! The three programs of a control plane: their files and arguments. What runs when is decided by the parent module.

use std::path::PathBuf;

use crate::assets::{Assets, Size};
use crate::error::{Error, Result};
use crate::pki::{CertificateAuthority, Identity, Login, ServiceAccountKeys, kubeconfig};
use crate::process::{ProcessSpec, Supervised, TempFolder, free_ports};

/// Which changes are logged, and how much of them (no bodies: they may hold Secrets). Reviews are questions in the
/// form of a `create`, so they are not changes.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "None", "resources": [{"group": "authentication.k8s.io"}, {"group": "authorization.k8s.io"}]},
    {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
    {"level": "None"}
  ]
}"#;

/// The controllers that run: those a workload without nodes, volumes and load balancers can meet. Not
/// `endpointslice-controller` (refuses loopback addresses) and not `node-lifecycle-controller` (the fake node renews
/// no Lease, and its pods would be evicted).
const CONTROLLERS: [&str; 11] = [
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
];

/// The files of one control plane, and what clients need of them.
#[derive(Debug)]
pub(super) struct Files {
    pub folder: PathBuf,
    pub url: String,
    pub ca_pem: String,
    pub admin: Identity,
    pub admin_kubeconfig: PathBuf,
    pub audit_log: PathBuf,
    manager_kubeconfig: PathBuf,
    ports: [u16; 3],
}

impl Files {
    /// Chooses ports and writes certificates, keys, kubeconfigs and the audit policy.
    pub fn create(folder: &TempFolder) -> Result<Self> {
        let ports: [u16; 3] = free_ports(3)?
            .try_into()
            .map_err(|_| Error::Invalid { what: "free ports".into(), why: "not three of them".into() })?;
        let url = format!("https://127.0.0.1:{}", ports[2]);
        let authority = CertificateAuthority::new("duo-testkit")?;
        let server = authority.server(
            "kube-apiserver",
            &["127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1"],
        )?;
        let admin = authority.client("kubernetes-admin", Some("system:masters"))?;
        let manager = authority.client("system:kube-controller-manager", Some("system:masters"))?;
        let keys = ServiceAccountKeys::generate()?;
        folder.write("ca.crt", authority.cert_pem())?;
        folder.write("server.crt", &server.cert_pem)?;
        folder.write("server.key", &server.key_pem)?;
        folder.write("service-account.key", &keys.private_pem)?;
        folder.write("service-account.pub", &keys.public_pem)?;
        folder.write("audit-policy.json", AUDIT_POLICY)?;
        let config = |identity: &Identity| {
            kubeconfig(&url, authority.cert_pem(), &Login::Certificate(identity.clone()), "default")
        };
        Ok(Self {
            folder: folder.path().to_path_buf(),
            ca_pem: authority.cert_pem().to_owned(),
            admin_kubeconfig: folder.write("kubeconfig", &config(&admin))?,
            manager_kubeconfig: folder.write("controller-manager.kubeconfig", &config(&manager))?,
            audit_log: folder.join("audit.log"),
            admin,
            url,
            ports,
        })
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// How the programs are started.
#[derive(Debug)]
pub(super) struct Programs {
    pub assets: Assets,
    pub files: Files,
    api_server_args: Vec<String>,
}

impl Programs {
    pub async fn prepare(files: Files, api_server_args: Vec<String>) -> Result<Self> {
        // may build for minutes, so not on a thread of the runtime
        let assets = tokio::task::spawn_blocking(|| Assets::locate(Size::ControlPlane))
            .await
            .map_err(|error| Error::Invalid { what: "search for programs".into(), why: error.to_string() })??;
        Ok(Self { assets, files, api_server_args })
    }

    fn spec(&self, program: &str) -> ProcessSpec {
        ProcessSpec::new(self.assets.path(program), self.files.folder.join(format!("{program}.log")))
    }

    pub fn spawn_etcd(&self) -> Result<Supervised> {
        let [client, peer, _] = self.files.ports.map(|port| format!("http://127.0.0.1:{port}"));
        self.spec("etcd")
            .args([
                format!("--data-dir={}", self.files.path("etcd")),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                "--unsafe-no-fsync=true".into(),
                "--log-level=warn".into(),
            ])
            .spawn()
    }

    pub fn spawn_api_server(&self) -> Result<Supervised> {
        let files = &self.files;
        self.spec("kube-apiserver")
            .args([
                format!("--etcd-servers=http://127.0.0.1:{}", files.ports[0]),
                "--bind-address=127.0.0.1".into(),
                format!("--secure-port={}", files.ports[2]),
                // a loopback address may not be advertised, and nobody looks for the API server by its Service
                "--endpoint-reconciler-type=none".into(),
                format!("--tls-cert-file={}", files.path("server.crt")),
                format!("--tls-private-key-file={}", files.path("server.key")),
                format!("--client-ca-file={}", files.path("ca.crt")),
                "--authorization-mode=RBAC".into(),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                format!("--service-account-key-file={}", files.path("service-account.pub")),
                format!("--service-account-signing-key-file={}", files.path("service-account.key")),
                "--service-cluster-ip-range=10.96.0.0/16".into(),
                "--allow-privileged=true".into(),
                "--profiling=false".into(),
                format!("--audit-policy-file={}", files.path("audit-policy.json")),
                format!("--audit-log-path={}", files.audit_log.display()),
                // written before the request is over, so that a reader misses nothing
                "--audit-log-mode=blocking-strict".into(),
            ])
            .args(&self.api_server_args)
            .spawn()
    }

    pub fn spawn_controller_manager(&self) -> Result<Supervised> {
        let files = &self.files;
        self.spec("kube-controller-manager")
            .args([
                format!("--kubeconfig={}", files.manager_kubeconfig.display()),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
                "--authentication-skip-lookup=true".into(),
                format!("--controllers={}", CONTROLLERS.join(",")),
                format!("--service-account-private-key-file={}", files.path("service-account.key")),
                format!("--root-ca-file={}", files.path("ca.crt")),
                // the defaults are made to spare a busy API server
                "--kube-api-qps=200".into(),
                "--kube-api-burst=400".into(),
            ])
            .spawn()
    }
}

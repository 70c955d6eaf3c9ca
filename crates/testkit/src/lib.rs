//! A real Kubernetes for tests and the demo, in two sizes, without downloads of binaries.
//!
//! - [`control_plane`]: etcd, kube-apiserver and kube-controller-manager on free loopback ports, without root, for most
//!   suites; [`fake_node`] stands in for the kubelet and runs the real gateway for its pods.
//! - `node`: one real node (root), for the demo and the end-to-end suite; `images` makes the images it runs.
//!
//! What they are made of: [`assets`] finds or builds the programs, [`pki`] makes certificates and kubeconfigs,
//! [`process`] runs programs that cannot outlive the test. [`fault_proxy`] stands before a server and spoils chosen calls. [`conditions`] checks what status conditions must obey.
//!
//! Knows nothing of GitLab, models or the product's resources.
//!
//! ```no_run
//! use duo_testkit::control_plane::ControlPlane;
//! use duo_testkit::fake_node::{FakeNode, FakeNodeOptions};
//!
//! # async fn example(crds: &str, gateway: std::path::PathBuf) -> duo_testkit::Result<()> {
//! // one control plane for all tests of a program, a namespace and a fake node for each test
//! let control_plane = ControlPlane::shared(crds).await?;
//! let namespace = control_plane.namespace("article").await?;
//! let node = FakeNode::start(
//!     control_plane.client_for("duo-fake-node", &["system:masters"])?,
//!     FakeNodeOptions {
//!         namespace: Some(namespace.clone()),
//!         gateway: Some(gateway),
//!         // a simulated GitLab with a host map of its own is told of each Service's address
//!         on_host: Some(std::sync::Arc::new(|name, address| tracing::info!(name, ?address))),
//!         ..FakeNodeOptions::default()
//!     },
//! )
//! .await?;
//! control_plane.apply_yaml("…").await?;
//! // what a user of the cluster has to see, and then: nothing more is written
//! let mark = control_plane.mark().await?;
//! let writes = control_plane.writes_since(mark, |user| user.ends_with(":duo-operator")).await?;
//! assert!(writes.iter().all(|write| write.resource == "leases"), "{writes:?}");
//! # Ok(()) }
//! ```

pub mod apply;
pub mod assets;
pub mod conditions;
pub mod control_plane;
mod error;
pub mod fake_node;
pub mod fault_proxy;
pub mod images;
pub mod node;
pub mod pki;
pub mod process;

pub use error::{Error, Result};

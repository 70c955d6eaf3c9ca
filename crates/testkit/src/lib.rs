//! A real Kubernetes for tests and the demo, in two sizes, without downloads of binaries.
//!
//! - [`control_plane`]: etcd, kube-apiserver and kube-controller-manager on free loopback ports, without root, for most
//!   suites; [`fake_node`] stands in for the kubelet and runs the real gateway for its pods.
//! - `node`: one real node (root), for the demo and the end-to-end suite; `images` makes the images it runs.
//!
//! What they are made of: [`assets`] finds or builds the programs, [`pki`] makes certificates and kubeconfigs,
//! [`process`] runs programs that cannot outlive the test. [`conditions`] checks what status conditions must obey.
//!
//! Knows nothing of GitLab, models or the product's resources.

pub mod apply;
pub mod assets;
pub mod conditions;
pub mod control_plane;
mod error;
pub mod fake_node;
pub mod images;
pub mod node;
pub mod pki;
pub mod process;

pub use error::{Error, Result};

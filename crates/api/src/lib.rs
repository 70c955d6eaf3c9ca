//! The custom resources of Duo Operator, group `duo.selfhosted.dev`, version `v1alpha1`.
//!
//! This crate holds the types, their schemas and CEL rules, the condition types and reasons, and the names of
//! annotations and labels. It knows no Kubernetes client, no GitLab client and no runtime.

#![expect(clippy::duplicated_attributes, reason = "several print columns of one kind are not a duplicate")]

pub mod annotations;
pub mod assignment;
pub mod calls;
pub mod common;
pub mod condition;
pub mod exposure;
pub mod family;
pub mod feature;
pub mod gateway;
pub mod gitlab_image;
pub mod instance;
pub mod interned;
pub mod model;
pub mod network_policy;
pub mod place;
pub mod pod;
pub mod providers;
mod rules;
pub mod scaling;
mod schema;
pub mod serving;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use assignment::{
    AssignmentProvider, FeatureAssignment, FeatureAssignmentSpec, FeatureAssignmentStatus, FeatureStatus, Tier,
};
pub use common::{AdoptionPolicy, DeletionPolicy, LocalRef, ManagementPolicy, SecretKeyRef};
pub use condition::{Condition, ConditionStatus};
pub use family::Family;
pub use feature::Feature;
pub use gateway::{AIGateway, AIGatewaySpec, AIGatewayStatus};
pub use interned::Interned;
pub use model::{Platform, SelfHostedModel, SelfHostedModelSpec, SelfHostedModelStatus};
pub use schema::{LONGEST_SENTENCE, MOST_SENTENCES};

/// API group of all kinds.
pub const GROUP: &str = "duo.selfhosted.dev";
/// The served and stored version.
pub const VERSION: &str = "v1alpha1";

/// The three custom resource definitions, in the order in which they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [AIGateway::crd(), SelfHostedModel::crd(), FeatureAssignment::crd()].map(schema::unseen).into()
}

/// One definition as a YAML document, as it stands in `crds/` and as `duo-operator crds` prints it.
///
/// # Errors
/// Never for the definitions of this crate; the serializer's error is passed on rather than hidden.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml_ng::Error> {
    serde_yaml_ng::to_string(crd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// `kubectl apply` keeps the whole object in an annotation, and annotations have 256 KiB together.
    #[test]
    fn crds_apply_client_side() {
        for crd in crds() {
            let size = serde_json::to_string(&crd).unwrap().len();
            assert!(size < 200 * 1024, "{}: {size} bytes", crd.spec.names.kind);
        }
    }

    /// `UPDATE_GOLDEN=1` (or `make crds`) refreshes the files.
    #[test]
    fn crds_on_disk_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        for crd in crds() {
            let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
            let rendered = to_yaml(&crd).unwrap();
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, &rendered).unwrap();
            }
            let stored = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(stored == rendered, "{} is stale: run `make crds` and review the difference", file.display());
        }
    }
}

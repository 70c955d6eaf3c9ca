//! A number of pods that follows their load.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds and aim of a HorizontalPodAutoscaler. The operator leaves the number of pods to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("autoscaling.minReplicas must not be larger than autoscaling.maxReplicas")
        .field_path(".minReplicas")
)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingSpec {
    /// Fewest pods. Default 2.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 100))]
    pub min_replicas: i32,
    /// Most pods.
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: i32,
    /// CPU that the pods should use on average, in per cent of what they request. Default 50.
    #[serde(default, rename = "targetCPUUtilizationPercentage", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization_percentage: Option<i32>,
    /// Memory that the pods should use on average, in per cent of what they request. Left out: memory does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_memory_utilization_percentage: Option<i32>,
    /// How long fewer pods must have sufficed before some are taken away, whole seconds. Left out: the cluster's
    /// default of five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16), regex(pattern = r"^([0-9]+m)?([0-9]+s)?$"))]
    #[x_kube(validation = crate::rules::duration("autoscaling.scaleDownStabilization", "0s", "3600s"))]
    pub scale_down_stabilization: Option<String>,
}

fn two() -> i32 {
    2
}

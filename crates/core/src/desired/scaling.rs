//! How many pods: a fixed number, or a HorizontalPodAutoscaler that decides within bounds.

use duo_api::AIGateway;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};
use kube::ResourceExt;

use super::child_meta;
use crate::durations::seconds;

/// GitLab's advice for its own gateway.
const DEFAULT_CPU_PERCENT: i32 = 50;

/// Number of pods that the Deployment is given; `None` where the autoscaler decides.
pub(super) fn replicas(gateway: &AIGateway) -> Option<i32> {
    gateway.spec.autoscaling.is_none().then_some(gateway.spec.replicas)
}

/// Fewest pods that there may be.
pub fn fewest(gateway: &AIGateway) -> i32 {
    gateway.spec.autoscaling.as_ref().map_or(gateway.spec.replicas, |autoscaling| autoscaling.min_replicas)
}

pub(super) fn autoscaler(gateway: &AIGateway) -> Option<HorizontalPodAutoscaler> {
    let spec = gateway.spec.autoscaling.as_ref()?;
    let metric = |name: &str, percent: i32| MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: name.to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    let mut metrics = vec![metric("cpu", spec.target_cpu_utilization_percentage.unwrap_or(DEFAULT_CPU_PERCENT))];
    metrics.extend(spec.target_memory_utilization_percentage.map(|percent| metric("memory", percent)));
    let stabilization = spec.scale_down_stabilization.as_deref().and_then(seconds);
    Some(HorizontalPodAutoscaler {
        metadata: child_meta(gateway, gateway.name_any()),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: gateway.name_any(),
            },
            min_replicas: Some(spec.min_replicas),
            max_replicas: spec.max_replicas,
            metrics: Some(metrics),
            behavior: stabilization.map(|seconds| HorizontalPodAutoscalerBehavior {
                scale_down: Some(HPAScalingRules {
                    stabilization_window_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
                    ..HPAScalingRules::default()
                }),
                scale_up: None,
            }),
        }),
        ..HorizontalPodAutoscaler::default()
    })
}

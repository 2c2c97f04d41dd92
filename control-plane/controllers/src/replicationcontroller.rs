//! ReplicationController: what a ReplicaSet is, with a plain map for a selector.

use client::{Controller, Decision, Key, Moment, View, Watches};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ReplicationController, ReplicationControllerStatus};

use crate::replicaset::{self, Counted, Replicated};
use crate::selector;

pub(crate) struct ReplicationControllers;

impl Controller for ReplicationControllers {
    fn name(&self) -> &'static str {
        "replication-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        replicaset::watch::<ReplicationController>(watches);
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        replicaset::decide::<ReplicationController>(view, key, moment)
    }
}

impl Replicated for ReplicationController {
    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn selects(&self, pod: &Pod) -> bool {
        let chosen = self.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|labels| !labels.is_empty());
        chosen.is_some_and(|labels| selector::matches_map(labels, pod.metadata.labels.as_ref()))
    }

    fn tell(&self, counted: Counted) -> Option<ReplicationController> {
        let status = Some(ReplicationControllerStatus {
            replicas: counted.replicas,
            fully_labeled_replicas: counted.fully_labeled,
            ready_replicas: counted.ready,
            available_replicas: counted.available,
            observed_generation: self.metadata.generation,
            conditions: self.status.as_ref().and_then(|status| status.conditions.clone()),
        });
        (self.status != status).then(|| ReplicationController { status, ..self.clone() })
    }
}

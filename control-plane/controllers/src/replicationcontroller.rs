//! ReplicationController: what a ReplicaSet is, with a plain map for a selector.

use client::plan::REFUSAL;
use client::{Controller, Decision, Key, Moment, View, Watches};
use k8s_openapi::api::core::v1::{
    Pod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::claim::Claims;
use crate::replicaset::{self, Counted, Refused, Replicated};
use crate::{pods, selector};

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

    fn tell(&self, counted: &Counted, refused: Option<Refused>) -> Option<ReplicationController> {
        let condition = refused.map(|refused| ReplicationControllerCondition {
            type_: replicaset::FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(refused.reason.to_owned()),
            message: Some(REFUSAL.to_owned()),
            last_transition_time: Some(Time(refused.now)),
        });
        let before = self.status.as_ref().and_then(|status| status.conditions.clone());
        let status = Some(ReplicationControllerStatus {
            replicas: counted.replicas,
            fully_labeled_replicas: counted.fully_labeled,
            ready_replicas: counted.ready,
            available_replicas: counted.available,
            observed_generation: self.metadata.generation,
            conditions: replicaset::failing(before, condition, |condition| {
                (&condition.type_, condition.reason.as_deref())
            }),
        });
        (self.status != status).then(|| ReplicationController { status, ..self.clone() })
    }
}

impl Claims<Pod> for ReplicationController {
    fn selects(&self, pod: &Pod) -> bool {
        let chosen = self.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|labels| !labels.is_empty());
        chosen.is_some_and(|labels| selector::matches_map(labels, pod.metadata.labels.as_ref()))
    }

    fn adopts(&self, pod: &Pod) -> bool {
        pods::is_active(pod)
    }
}

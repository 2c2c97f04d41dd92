//! StatefulSet: pods with names that stay, one after the other, each with its own volumes.

mod claims;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::apps::v1::{
    ControllerRevision, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetStatus,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;

use crate::claim::{self, Claims};
use crate::revisions::{HASH, Revisions};
use crate::rollout::scaled;
use crate::{pods, selector};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Pods made in one plan of a set that does not wait for each.
const BURST: usize = 100;

pub(crate) struct StatefulSets;

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<StatefulSet>();
        claim::watch::<Pod, StatefulSet>(watches);
        claim::watch::<ControllerRevision, StatefulSet>(watches);
        watches.mapped::<PersistentVolumeClaim>(|view, change| match change.after {
            Some(_) => vec![],
            None => claims::waiting(view, &change.before),
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        if let Some(set) = view.of::<StatefulSet>().get_key(key)
            && let Some(spec) = set.spec.as_ref()
            && set.metadata.deletion_timestamp.is_none()
        {
            Work::begin(view, &set, spec, moment, &mut plan).plan(&mut plan);
        }
        plan.into()
    }
}

impl Claims<Pod> for StatefulSet {
    fn selects(&self, pod: &Pod) -> bool {
        let named = ordinal(self.metadata.name.as_deref().unwrap_or_default(), pod).is_some();
        let labels = pod.metadata.labels.as_ref();
        named && self.spec.as_ref().is_some_and(|spec| selector::owns(&spec.selector, labels))
    }
}

impl Claims<ControllerRevision> for StatefulSet {
    fn selects(&self, revision: &ControllerRevision) -> bool {
        let labels = revision.metadata.labels.as_ref();
        self.spec.as_ref().is_some_and(|spec| selector::owns(&spec.selector, labels))
    }
}

struct Work<'a> {
    view: &'a View,
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    moment: Moment,
    name: String,
    pods: BTreeMap<i32, Arc<Pod>>,
    revisions: Revisions,
    /// Names of the revision that pods had, and of the one that they are to have.
    current: String,
    update: String,
}

impl<'a> Work<'a> {
    fn begin(
        view: &'a View,
        set: &'a StatefulSet,
        spec: &'a StatefulSetSpec,
        moment: Moment,
        plan: &mut Plan,
    ) -> Work<'a> {
        let name = set.metadata.name.clone().unwrap_or_default();
        let owned = claim::claim::<Pod, StatefulSet>(view, set, plan);
        let pods = owned.into_iter().filter_map(|pod| Some((ordinal(&name, &pod)?, pod))).collect();
        let revisions = Revisions::of(view, set, &spec.template, plan);
        let update = format!("{name}-{}", revisions.current);
        let told = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = told.filter(|name| !name.is_empty()).unwrap_or_else(|| update.clone());
        Work { view, set, spec, moment, name, pods, revisions, current, update }
    }

    fn first(&self) -> i32 {
        self.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
    }

    fn range(&self) -> std::ops::Range<i32> {
        self.first()..self.first().saturating_add(self.spec.replicas.unwrap_or(1))
    }

    fn in_order(&self) -> bool {
        self.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    fn plan(self, plan: &mut Plan) {
        for (ordinal, pod) in &self.pods {
            self.identify(*ordinal, pod, plan);
            claims::keep(self.view, self.set, self.spec, pod, self.range().contains(ordinal), plan);
        }
        if self.fill(plan) && self.shrink(plan) {
            self.roll(plan);
        }
        let used = |hash: &str| {
            let name = format!("{}-{hash}", self.name);
            name == self.current || self.pods.values().any(|pod| revision(pod) == name)
        };
        self.revisions.trim(used, self.spec.revision_history_limit, plan);
        self.status(plan);
    }

    /// A pod that was adopted is labelled as one that was made.
    fn identify(&self, ordinal: i32, pod: &Pod, plan: &mut Plan) {
        let label = |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
        let (name, index) = (pod.metadata.name.clone().unwrap_or_default(), ordinal.to_string());
        if label(POD_NAME) != Some(&name) || label(POD_INDEX) != Some(&index) {
            plan.patch(pod, None, json!({"metadata": {"labels": {POD_NAME: name, POD_INDEX: index}}}));
        }
    }

    /// Whether a claim of the pod must first go before there can be a new one.
    fn waits_for_claims(&self, name: &str, pod: Option<&Pod>) -> bool {
        let claims = claims::of_pod(self.set, self.spec, name);
        let known = claims.iter().filter_map(|claim| self.view.of::<PersistentVolumeClaim>().get_key(&Key::of(claim)));
        known.into_iter().any(|claim| claims::is_stale(&claim, name, pod))
    }

    /// Makes the claims of a pod that are not there.
    fn claim(&self, name: &str, plan: &mut Plan) {
        for claim in claims::of_pod(self.set, self.spec, name) {
            if self.view.of::<PersistentVolumeClaim>().get_key(&Key::of(&claim)).is_none() {
                plan.create(&claim);
                let claim = claim.metadata.name.as_deref().unwrap_or_default();
                let message = format!("create Claim {claim} Pod {name} in StatefulSet {} success", self.name);
                plan.event(self.set, Severity::Normal, "SuccessfulCreate", message);
            }
        }
    }

    /// Makes what is missing, in order; true once every pod is there and well (or nobody waits for that).
    fn fill(&self, plan: &mut Plan) -> bool {
        let mut made = 0;
        for ordinal in self.range() {
            let well = match self.pods.get(&ordinal) {
                None if self.waits_for_claims(&format!("{}-{ordinal}", self.name), None) => return false,
                None => {
                    self.create(ordinal, plan);
                    made += 1;
                    false
                }
                Some(pod) if pods::is_finished(pod) && pod.metadata.deletion_timestamp.is_none() => {
                    // The name must be free before its successor can have it.
                    self.replace(pod, plan);
                    false
                }
                Some(pod) => {
                    if pods::phase(pod) == "Pending" && pods::is_active(pod) {
                        self.claim(pod.metadata.name.as_deref().unwrap_or_default(), plan);
                    }
                    self.is_well(pod)
                }
            };
            if !well && self.in_order() || made >= BURST {
                return false;
            }
        }
        made == 0
    }

    fn replace(&self, pod: &Pod, plan: &mut Plan) {
        let (namespace, name) = (self.set.metadata.namespace.as_deref().unwrap_or_default(), &self.name);
        let (severity, reason, how) = match pods::phase(pod) {
            "Failed" => (Severity::Warning, "RecreatingFailedPod", "failed"),
            _ => (Severity::Normal, "RecreatingTerminatedPod", "terminated"),
        };
        let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
        let message = format!("StatefulSet {namespace}/{name} is recreating {how} Pod {pod_name}");
        plan.event(self.set, severity, reason, message);
        self.delete(pod, plan);
    }

    /// Deletes what is too much, the last first and one at a time; true once nothing is. In order, nothing goes while
    /// another pod is unwell, unless it is itself the first that is.
    fn shrink(&self, plan: &mut Plan) -> bool {
        let range = self.range();
        let surplus: Vec<_> = self.pods.iter().rev().filter(|(ordinal, _)| !range.contains(ordinal)).collect();
        let first_unwell = self.pods.values().find(|pod| !self.is_well(pod));
        for (_, pod) in &surplus {
            let is_first = first_unwell.is_some_and(|first| first.metadata.uid == pod.metadata.uid);
            if self.in_order() && pods::is_active(pod) && !self.is_well(pod) && !is_first {
                return false;
            }
            if pod.metadata.deletion_timestamp.is_none() {
                self.delete(pod, plan);
            }
            if self.in_order() {
                return false;
            }
        }
        surplus.is_empty()
    }

    /// Deletes pods of an old revision, the last first; they come back as new ones.
    fn roll(&self, plan: &mut Plan) {
        if self.is_on_delete() {
            return;
        }
        match self.rolling().and_then(|rolling| rolling.max_unavailable.as_ref()) {
            None => self.roll_one(plan),
            Some(most) => {
                // Rounded down, but less than one would never move.
                let most = scaled(most, self.spec.replicas.unwrap_or(1), false).max(1);
                self.roll_some(usize::try_from(most).unwrap_or(1), plan);
            }
        }
    }

    /// The next, if all after it are well.
    fn roll_one(&self, plan: &mut Plan) {
        for ordinal in self.range().rev().take_while(|ordinal| *ordinal >= self.partition()) {
            let Some(pod) = self.pods.get(&ordinal) else { return };
            if revision(pod) != self.update && pod.metadata.deletion_timestamp.is_none() {
                return self.delete(pod, plan);
            }
            if !self.is_well(pod) {
                return;
            }
        }
    }

    /// So many that no more than `most` are unavailable.
    fn roll_some(&self, most: usize, plan: &mut Plan) {
        let unwell = self.range().filter(|ordinal| self.pods.get(ordinal).is_none_or(|pod| !self.is_well(pod))).count();
        let from_last = self.range().rev().take_while(|ordinal| *ordinal >= self.partition());
        let old = from_last.filter_map(|ordinal| self.pods.get(&ordinal)).filter(|pod| revision(pod) != self.update);
        let going = old.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        going.take(most.saturating_sub(unwell)).for_each(|pod| self.delete(pod, plan));
    }

    fn is_on_delete(&self) -> bool {
        self.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
    }

    fn rolling(&self) -> Option<&RollingUpdateStatefulSetStrategy> {
        self.spec.update_strategy.as_ref()?.rolling_update.as_ref()
    }

    /// The first ordinal that is to have the new revision.
    fn partition(&self) -> i32 {
        self.first().saturating_add(self.rolling().and_then(|rolling| rolling.partition).unwrap_or(0))
    }

    fn is_well(&self, pod: &Pod) -> bool {
        pods::is_active(pod) && self.is_available(pod)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let least = self.spec.min_ready_seconds.unwrap_or(0);
        pods::until_available(pod, least, self.moment.now).is_some_and(|left| left.is_zero())
    }

    fn create(&self, ordinal: i32, plan: &mut Plan) {
        let name = format!("{}-{ordinal}", self.name);
        let namespace = self.set.metadata.namespace.as_deref().unwrap_or_default();
        self.claim(&name, plan);
        let old = (ordinal < self.partition()).then(|| self.current.strip_prefix(&format!("{}-", self.name))).flatten();
        let remembered = old.and_then(|hash| self.revisions.template(hash));
        let revision = if remembered.is_some() { &self.current } else { &self.update };
        let template = remembered.as_ref().unwrap_or(&self.spec.template);
        let mut pod = pods::from_template(template, namespace, pods::owner(self.set), &format!("{}-", self.name), 0);
        pod.metadata.name = Some(name.clone());
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(POD_NAME.to_owned(), name.clone());
        labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
        labels.insert(HASH.to_owned(), revision.clone());
        if let Some(spec) = pod.spec.as_mut() {
            spec.hostname = Some(name.clone());
            spec.subdomain = self.spec.service_name.clone();
            let volumes = spec.volumes.get_or_insert_default();
            for claim in self.spec.volume_claim_templates.iter().flatten() {
                let volume = claim.metadata.name.clone().unwrap_or_default();
                volumes.retain(|other| other.name != volume);
                volumes.push(claims::volume(&volume, &name));
            }
            spec.volumes = spec.volumes.take().filter(|volumes| !volumes.is_empty());
        }
        plan.create(&pod);
        let message = format!("create Pod {name} in StatefulSet {} successful", self.name);
        plan.event(self.set, Severity::Normal, "SuccessfulCreate", message);
        plan.if_refused(
            self.set,
            "FailedCreate",
            &format!("create Pod {name} in StatefulSet {} failed error", self.name),
        );
    }

    fn delete(&self, pod: &Pod, plan: &mut Plan) {
        plan.delete(pod);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let message = format!("delete Pod {name} in StatefulSet {} successful", self.name);
        plan.event(self.set, Severity::Normal, "SuccessfulDelete", message);
    }

    fn status(&self, plan: &mut Plan) {
        let active: Vec<_> = self.pods.values().filter(|pod| pods::is_active(pod)).collect();
        let count = |test: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| test(pod)).count() as i32;
        let some = |n: i32| (n > 0).then_some(n);
        // One that ends is ready until it no longer is.
        let runs = |pod: &&Arc<Pod>| pods::phase(pod) == "Running" && pods::is_ready(pod);
        let running: Vec<_> = self.pods.values().filter(runs).collect();
        let available = running.iter().filter(|pod| self.is_available(pod)).count() as i32;
        let (ready, updated) = (running.len() as i32, count(&|pod| revision(pod) == self.update));
        let mut status = StatefulSetStatus {
            replicas: self.pods.len() as i32,
            ready_replicas: some(ready),
            available_replicas: Some(available),
            current_replicas: some(count(&|pod| revision(pod) == self.current)),
            updated_replicas: some(updated),
            current_revision: Some(self.current.clone()),
            update_revision: Some(self.update.clone()),
            observed_generation: self.set.metadata.generation,
            collision_count: Some(self.set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0)),
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
        };
        let wanted = self.spec.replicas.unwrap_or(1);
        if !self.is_on_delete() && updated == wanted && ready == wanted && status.replicas == wanted {
            status.current_revision = Some(self.update.clone());
            status.current_replicas = some(updated);
        }
        let least = self.spec.min_ready_seconds.unwrap_or(0);
        let waits = active.iter().filter_map(|pod| pods::until_available(pod, least, self.moment.now));
        if let Some(next) = waits.filter(|left| !left.is_zero()).min() {
            plan.again(Duration::try_from(next).unwrap_or_default());
        }
        if self.set.status.as_ref() != Some(&status) {
            plan.status(&StatefulSet { status: Some(status), ..self.set.clone() });
        }
    }
}

fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)).map_or("", String::as_str)
}

fn ordinal(set: &str, pod: &Pod) -> Option<i32> {
    let text = pod.metadata.name.as_deref()?.strip_prefix(set)?.strip_prefix('-')?;
    text.parse().ok().filter(|ordinal: &i32| *ordinal >= 0 && ordinal.to_string() == text)
}

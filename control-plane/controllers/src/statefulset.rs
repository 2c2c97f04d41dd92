//! StatefulSet: pods with names that stay, one after the other, each with its own volumes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume};

use crate::pods;
use crate::revisions::{HASH, Revisions};

/// Pods made in one plan of a set that does not wait for each.
const BURST: usize = 100;

pub(crate) struct StatefulSets;

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<StatefulSet>();
        watches.owned::<Pod, StatefulSet>();
        watches.owned::<ControllerRevision, StatefulSet>();
        watches.seen::<PersistentVolumeClaim>();
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
        let owned = view.of::<Pod>().owned_by(set.metadata.uid.as_deref().unwrap_or_default());
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

    /// Makes what is missing, in order; true once every pod is there and well (or nobody waits for that).
    fn fill(&self, plan: &mut Plan) -> bool {
        let mut made = 0;
        for ordinal in self.range() {
            let well = match self.pods.get(&ordinal) {
                None => {
                    self.create(ordinal, plan);
                    made += 1;
                    false
                }
                Some(pod) if pods::is_finished(pod) && pod.metadata.deletion_timestamp.is_none() => {
                    // The name must be free before its successor can have it.
                    self.delete(pod, plan);
                    false
                }
                Some(pod) => self.is_well(pod),
            };
            if !well && self.in_order() || made >= BURST {
                return false;
            }
        }
        made == 0
    }

    /// Deletes what is too much, the last first and one at a time; true once nothing is.
    fn shrink(&self, plan: &mut Plan) -> bool {
        let range = self.range();
        let surplus: Vec<_> = self.pods.iter().rev().filter(|(ordinal, _)| !range.contains(ordinal)).collect();
        for (_, pod) in &surplus {
            if pod.metadata.deletion_timestamp.is_none() {
                self.delete(pod, plan);
            }
            if self.in_order() {
                return false;
            }
        }
        surplus.is_empty()
    }

    /// Deletes the last pod of an old revision, if all after it are well; it comes back as the new one.
    fn roll(&self, plan: &mut Plan) {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
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

    /// The first ordinal that is to have the new revision.
    fn partition(&self) -> i32 {
        let rolling = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        self.first().saturating_add(rolling.and_then(|rolling| rolling.partition).unwrap_or(0))
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
        self.claims(&name).into_iter().for_each(|claim| {
            if self.view.of::<PersistentVolumeClaim>().get_key(&Key::of(&claim)).is_none() {
                plan.create(&claim);
                let claim = claim.metadata.name.as_deref().unwrap_or_default();
                let message = format!("create Claim {claim} Pod {name} in StatefulSet {} success", self.name);
                plan.event(self.set, Severity::Normal, "SuccessfulCreate", message);
            }
        });
        let old = (ordinal < self.partition()).then(|| self.current.strip_prefix(&format!("{}-", self.name))).flatten();
        let remembered = old.and_then(|hash| self.revisions.template(hash));
        let revision = if remembered.is_some() { &self.current } else { &self.update };
        let template = remembered.as_ref().unwrap_or(&self.spec.template);
        let mut pod = pods::from_template(template, namespace, pods::owner(self.set), &format!("{}-", self.name), 0);
        pod.metadata.name = Some(name.clone());
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name.clone());
        labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string());
        labels.insert(HASH.to_owned(), revision.clone());
        if let Some(spec) = pod.spec.as_mut() {
            spec.hostname = Some(name.clone());
            spec.subdomain = self.spec.service_name.clone();
            let volumes = spec.volumes.get_or_insert_default();
            for claim in self.spec.volume_claim_templates.iter().flatten() {
                let volume = claim.metadata.name.clone().unwrap_or_default();
                volumes.retain(|other| other.name != volume);
                volumes.push(claimed(&volume, &name));
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

    fn claims(&self, pod: &str) -> Vec<PersistentVolumeClaim> {
        let claim = |template: &PersistentVolumeClaim| {
            let mut claim = template.clone();
            let volume = template.metadata.name.as_deref().unwrap_or_default();
            claim.metadata.name = Some(format!("{volume}-{pod}"));
            claim.metadata.namespace = self.set.metadata.namespace.clone();
            let labels = claim.metadata.labels.get_or_insert_default();
            labels.extend(self.spec.selector.match_labels.clone().unwrap_or_default());
            claim.status = None;
            claim
        };
        self.spec.volume_claim_templates.iter().flatten().map(claim).collect()
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
        let (ready, updated) = (count(&pods::is_ready), count(&|pod| revision(pod) == self.update));
        let mut status = StatefulSetStatus {
            replicas: self.pods.len() as i32,
            ready_replicas: some(ready),
            available_replicas: Some(count(&|pod| self.is_available(pod))),
            current_replicas: some(count(&|pod| revision(pod) == self.current)),
            updated_replicas: some(updated),
            current_revision: Some(self.current.clone()),
            update_revision: Some(self.update.clone()),
            observed_generation: self.set.metadata.generation,
            collision_count: Some(self.set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0)),
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
        };
        let wanted = self.spec.replicas.unwrap_or(1);
        if updated == wanted && ready == wanted && status.replicas == wanted {
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

fn claimed(volume: &str, pod: &str) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name: format!("{volume}-{pod}"), read_only: None };
    Volume { name: volume.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() }
}

fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH)).map_or("", String::as_str)
}

fn ordinal(set: &str, pod: &Pod) -> Option<i32> {
    pod.metadata.name.as_deref()?.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

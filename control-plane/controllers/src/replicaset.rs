//! ReplicaSet: as many pods as asked for. ReplicationController is the same under its older name.

use std::sync::Arc;
use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Object, Plan, View, Watches};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use serde::Serialize;

use crate::pods;
use crate::selector;

/// Pods made or deleted in one plan, as upstream's burst.
const BURST: usize = 500;

pub(crate) struct ReplicaSets;

/// A kind that keeps a number of pods.
pub(crate) trait Replicated: Object<DynamicType = ()> + Clone + Serialize {
    fn replicas(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn selects(&self, pod: &Pod) -> bool;
    /// The object with this status, unless it has it already.
    fn tell(&self, status: Counted) -> Option<Self>;
}

/// What a status says of the pods.
pub(crate) struct Counted {
    pub replicas: i32,
    pub fully_labeled: Option<i32>,
    pub ready: Option<i32>,
    pub available: Option<i32>,
    pub terminating: i32,
}

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watch::<ReplicaSet>(watches);
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        decide::<ReplicaSet>(view, key, moment)
    }
}

impl Replicated for ReplicaSet {
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
        self.spec.as_ref().is_some_and(|spec| {
            !selector::is_empty(&spec.selector) && selector::matches(&spec.selector, pod.metadata.labels.as_ref())
        })
    }

    fn tell(&self, counted: Counted) -> Option<ReplicaSet> {
        let status = Some(ReplicaSetStatus {
            replicas: counted.replicas,
            fully_labeled_replicas: counted.fully_labeled,
            ready_replicas: counted.ready,
            available_replicas: counted.available,
            terminating_replicas: Some(counted.terminating),
            observed_generation: self.metadata.generation,
            conditions: self.status.as_ref().and_then(|status| status.conditions.clone()),
        });
        (self.status != status).then(|| ReplicaSet { status, ..self.clone() })
    }
}

pub(crate) fn watch<K: Replicated>(watches: &mut Watches<'_>) {
    watches.own::<K>();
    watches.mapped::<Pod>(|view, change| {
        let pods = [&change.before, &change.after].into_iter().flatten();
        let mut keys: Vec<Key> = pods.flat_map(|pod| concerned::<K>(view, pod)).collect();
        keys.dedup();
        keys
    });
}

pub(crate) fn decide<K: Replicated>(view: &View, key: &Key, moment: Moment) -> Decision {
    match view.of::<K>().get_key(key) {
        Some(set) => plan(view, set.as_ref(), moment).into(),
        None => Plan::done().into(),
    }
}

/// The sets that a pod concerns: its owner, or, if it has none, those that would adopt it.
fn concerned<K: Replicated>(view: &View, pod: &Pod) -> Vec<Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match pods::controller_of(pod) {
        Some(owner) if owner.kind == K::kind(&()) => vec![Key::new(namespace, &owner.name)],
        Some(_) => vec![],
        None => {
            let sets = view.of::<K>().list_in(namespace);
            sets.iter().filter(|set| set.selects(pod)).map(|set| Key::of(set.as_ref())).collect()
        }
    }
}

fn plan<K: Replicated>(view: &View, set: &K, moment: Moment) -> Plan {
    let mut plan = Plan::done();
    let mine = claim(view, set, &mut plan);
    let (active, rest): (Vec<_>, Vec<_>) = mine.into_iter().partition(|pod| pods::is_active(pod));
    let terminating = rest.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && !pods::is_finished(pod));
    let counted = count_pods(set, &active, terminating.count(), moment, &mut plan);
    if set.meta().deletion_timestamp.is_none() {
        scale(set, active, moment, &mut plan);
    }
    if let Some(told) = set.tell(counted) {
        plan.status(&told);
    }
    plan
}

/// The pods that are this set's: matching orphans are adopted, owned pods that no longer match are let go.
fn claim<K: Replicated>(view: &View, set: &K, plan: &mut Plan) -> Vec<Arc<Pod>> {
    let uid = set.meta().uid.as_deref().unwrap_or_default();
    let namespace = set.meta().namespace.as_deref().unwrap_or_default();
    let alive = set.meta().deletion_timestamp.is_none();
    let mut mine = Vec::new();
    for pod in view.of::<Pod>().list_in(namespace) {
        let going = pod.metadata.deletion_timestamp.is_some();
        match (pods::controller_of(pod.as_ref()), set.selects(&pod)) {
            (Some(owner), true) if owner.uid == uid => mine.push(pod),
            (Some(owner), false) if owner.uid == uid && alive && !going => {
                let kept: Vec<_> = pod.metadata.owner_references.iter().flatten().filter(|o| o.uid != uid).collect();
                plan.patch(pod.as_ref(), None, serde_json::json!({"metadata": {"ownerReferences": kept}}));
            }
            (None, true) if alive && pods::is_active(&pod) => {
                let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
                owners.push(pods::owner(set));
                plan.patch(pod.as_ref(), None, serde_json::json!({"metadata": {"ownerReferences": owners}}));
                mine.push(pod);
            }
            _ => {}
        }
    }
    mine
}

fn scale<K: Replicated>(set: &K, mut active: Vec<Arc<Pod>>, moment: Moment, plan: &mut Plan) {
    let wanted = usize::try_from(set.replicas()).unwrap_or(0);
    if active.len() < wanted {
        create(set, (wanted - active.len()).min(BURST), moment, plan);
    } else if active.len() > wanted {
        let surplus = (active.len() - wanted).min(BURST);
        pods::by_loss(&mut active);
        for pod in active.iter().take(surplus) {
            plan.delete(pod.as_ref());
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            plan.event(set, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
        }
        plan.if_refused(set, "FailedDelete", "Error deleting");
    }
}

fn create<K: Replicated>(set: &K, count: usize, moment: Moment, plan: &mut Plan) {
    let Some(template) = set.template() else { return };
    let name = set.meta().name.as_deref().unwrap_or_default();
    let namespace = set.meta().namespace.as_deref().unwrap_or_default();
    for n in 0..count {
        let seed = pods::nth(moment, n);
        let pod = pods::from_template(template, namespace, pods::owner(set), &format!("{name}-"), seed);
        plan.create(&pod);
        let made = pod.metadata.name.as_deref().unwrap_or_default();
        plan.event(set, Severity::Normal, "SuccessfulCreate", format!("Created pod: {made}"));
    }
    plan.if_refused(set, "FailedCreate", "Error creating");
}

fn count_pods<K: Replicated>(
    set: &K,
    active: &[Arc<Pod>],
    terminating: usize,
    moment: Moment,
    plan: &mut Plan,
) -> Counted {
    let min_ready = set.min_ready_seconds();
    let template = set.template().and_then(|template| template.metadata.as_ref());
    let template_labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let labelled = |pod: &&Arc<Pod>| selector::matches_map(&template_labels, pod.metadata.labels.as_ref());
    let waits: Vec<_> = active.iter().filter_map(|pod| pods::until_available(pod, min_ready, moment.now)).collect();
    let available = waits.iter().filter(|wait| wait.is_zero()).count();
    if let Some(next) = waits.iter().filter(|wait| !wait.is_zero()).min() {
        plan.again(Duration::try_from(*next).unwrap_or_default());
    }
    Counted {
        replicas: count(active.len()),
        fully_labeled: some(active.iter().filter(labelled).count()),
        ready: some(waits.len()),
        available: some(available),
        terminating: count(terminating),
    }
}

/// Zero is left out, as the API leaves it out.
fn some(n: usize) -> Option<i32> {
    (n > 0).then(|| count(n))
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

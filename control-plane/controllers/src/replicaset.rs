//! ReplicaSet: as many pods as asked for.

use std::sync::Arc;
use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::pods;
use crate::selector;

/// Pods made or deleted in one plan, as upstream's burst.
const BURST: usize = 500;

pub(crate) struct ReplicaSets;

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<ReplicaSet>();
        watches.mapped::<Pod>(|view, change| {
            let pods = [&change.before, &change.after].into_iter().flatten();
            let mut keys: Vec<Key> = pods.flat_map(|pod| concerned(view, pod)).collect();
            keys.dedup();
            keys
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        match view.of::<ReplicaSet>().get_key(key) {
            Some(set) => plan(view, &set, moment).into(),
            None => Plan::done().into(),
        }
    }
}

/// The sets that a pod concerns: its owner, or, if it has none, those that would adopt it.
fn concerned(view: &View, pod: &Pod) -> Vec<Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    match pods::controller_of(pod) {
        Some(owner) if owner.kind == "ReplicaSet" => vec![Key::new(namespace, &owner.name)],
        Some(_) => vec![],
        None => {
            let sets = view.of::<ReplicaSet>().list_in(namespace);
            sets.iter().filter(|set| selects(set, pod)).map(|set| Key::of(set.as_ref())).collect()
        }
    }
}

fn selects(set: &ReplicaSet, pod: &Pod) -> bool {
    set.spec.as_ref().is_some_and(|spec| {
        !selector::is_empty(&spec.selector) && selector::matches(&spec.selector, pod.metadata.labels.as_ref())
    })
}

fn plan(view: &View, set: &ReplicaSet, moment: Moment) -> Plan {
    let mut plan = Plan::done();
    let mine = claim(view, set, &mut plan);
    let (active, rest): (Vec<_>, Vec<_>) = mine.into_iter().partition(|pod| pods::is_active(pod));
    let terminating = rest.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && !pods::is_finished(pod));
    let status = status(set, &active, terminating.count(), moment, &mut plan);
    if set.metadata.deletion_timestamp.is_none() {
        scale(set, active, moment, &mut plan);
    }
    if set.status.as_ref() != Some(&status) {
        plan.status(&ReplicaSet { status: Some(status), ..set.clone() });
    }
    plan
}

/// The pods that are this set's: matching orphans are adopted, owned pods that no longer match are let go.
fn claim(view: &View, set: &ReplicaSet, plan: &mut Plan) -> Vec<Arc<Pod>> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let alive = set.metadata.deletion_timestamp.is_none();
    let mut mine = Vec::new();
    for pod in view.of::<Pod>().list_in(namespace) {
        let going = pod.metadata.deletion_timestamp.is_some();
        match (pods::controller_of(pod.as_ref()), selects(set, &pod)) {
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

fn scale(set: &ReplicaSet, mut active: Vec<Arc<Pod>>, moment: Moment, plan: &mut Plan) {
    let wanted = usize::try_from(replicas(set)).unwrap_or(0);
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

fn create(set: &ReplicaSet, count: usize, moment: Moment, plan: &mut Plan) {
    let Some(template) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return };
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    for n in 0..count {
        let seed = pods::nth(moment, n);
        let pod = pods::from_template(template, namespace, pods::owner(set), &format!("{name}-"), seed);
        plan.create(&pod);
        let made = pod.metadata.name.as_deref().unwrap_or_default();
        plan.event(set, Severity::Normal, "SuccessfulCreate", format!("Created pod: {made}"));
    }
    plan.if_refused(set, "FailedCreate", "Error creating");
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    moment: Moment,
    plan: &mut Plan,
) -> ReplicaSetStatus {
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let template_labels = template.and_then(|template| template.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    let labelled = |pod: &&Arc<Pod>| selector::matches_map(&template_labels, pod.metadata.labels.as_ref());
    let waits: Vec<_> = active.iter().filter_map(|pod| pods::until_available(pod, min_ready, moment.now)).collect();
    let available = waits.iter().filter(|wait| wait.is_zero()).count();
    if let Some(next) = waits.iter().filter(|wait| !wait.is_zero()).min() {
        plan.again(Duration::try_from(*next).unwrap_or_default());
    }
    ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(active.iter().filter(labelled).count()),
        ready_replicas: some(waits.len()),
        available_replicas: some(available),
        terminating_replicas: Some(count(terminating)),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}

/// Zero is left out, as the API leaves it out.
fn some(n: usize) -> Option<i32> {
    (n > 0).then(|| count(n))
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

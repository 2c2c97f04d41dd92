//! ReplicaSet: as many pods as asked for. ReplicationController is the same under its older name.

use std::sync::Arc;
use std::time::Duration;

use client::plan::{REFUSAL, Severity};
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use crate::claim::{self, Claims};
use crate::pods;
use crate::selector;

/// Pods made or deleted in one plan, as upstream's burst.
const BURST: usize = 500;
/// The condition that says that pods could not be made or deleted.
pub(crate) const FAILURE: &str = "ReplicaFailure";

pub(crate) struct ReplicaSets;

/// A kind that keeps a number of pods.
pub(crate) trait Replicated: Claims<Pod> + Clone + Serialize {
    fn replicas(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// The pods that it is bad to have many of on one node: its own, if there are no others of the same kind.
    fn like(&self, _: &View, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        own.to_vec()
    }
    /// The object with this status, and what was refused if something was, unless it has it already.
    fn tell(&self, status: &Counted, refused: Option<Refused>) -> Option<Self>;
}

/// What the server would not do; its words come in when it says them.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    pub reason: &'static str,
    pub now: Timestamp,
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

    /// Also those of the other sets of the same deployment.
    fn like(&self, view: &View, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(owner) = pods::controller_of(self) else { return own.to_vec() };
        let sets = view.of::<ReplicaSet>().owned_by(&owner.uid);
        sets.iter().flat_map(|set| view.of::<Pod>().owned_by(set.metadata.uid.as_deref().unwrap_or_default())).collect()
    }

    fn tell(&self, counted: &Counted, refused: Option<Refused>) -> Option<ReplicaSet> {
        let condition = refused.map(|refused| ReplicaSetCondition {
            type_: FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(refused.reason.to_owned()),
            message: Some(REFUSAL.to_owned()),
            last_transition_time: Some(Time(refused.now)),
        });
        let before = self.status.as_ref().and_then(|status| status.conditions.clone());
        let status = Some(ReplicaSetStatus {
            replicas: counted.replicas,
            fully_labeled_replicas: counted.fully_labeled,
            ready_replicas: counted.ready,
            available_replicas: counted.available,
            terminating_replicas: Some(counted.terminating),
            observed_generation: self.metadata.generation,
            conditions: failing(before, condition, |condition| (&condition.type_, condition.reason.as_deref())),
        });
        (self.status != status).then(|| ReplicaSet { status, ..self.clone() })
    }
}

impl Claims<Pod> for ReplicaSet {
    fn selects(&self, pod: &Pod) -> bool {
        self.spec.as_ref().is_some_and(|spec| selector::owns(&spec.selector, pod.metadata.labels.as_ref()))
    }

    fn adopts(&self, pod: &Pod) -> bool {
        pods::is_active(pod)
    }
}

/// The conditions with the one that says what was refused, or without it. One of the same reason stays as it is: each try
/// is refused in other words.
pub(crate) fn failing<C>(
    before: Option<Vec<C>>,
    refused: Option<C>,
    of: fn(&C) -> (&str, Option<&str>),
) -> Option<Vec<C>> {
    let (mut known, mut all): (Vec<C>, Vec<C>) =
        before.into_iter().flatten().partition(|condition| of(condition).0 == FAILURE);
    let same = |known: &C, refused: &C| of(known).1 == of(refused).1;
    all.extend(refused.map(|refused| match known.pop() {
        Some(known) if same(&known, &refused) => known,
        _ => refused,
    }));
    Some(all).filter(|all| !all.is_empty())
}

pub(crate) fn watch<K: Replicated>(watches: &mut Watches<'_>) {
    watches.own::<K>();
    claim::watch::<Pod, K>(watches);
}

pub(crate) fn decide<K: Replicated>(view: &View, key: &Key, moment: Moment) -> Decision {
    match view.of::<K>().get_key(key) {
        Some(set) => plan(view, set.as_ref(), moment).into(),
        None => Plan::done().into(),
    }
}

fn plan<K: Replicated>(view: &View, set: &K, moment: Moment) -> Plan {
    let mut plan = Plan::done();
    let mine = claim::claim::<Pod, K>(view, set, &mut plan);
    let (active, rest): (Vec<_>, Vec<_>) = mine.into_iter().partition(|pod| pods::is_active(pod));
    let terminating = rest.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && !pods::is_finished(pod));
    let counted = count_pods(set, &active, terminating.count(), moment, &mut plan);
    let scaling = match set.meta().deletion_timestamp {
        None => scale(view, set, active, moment, &mut plan),
        Some(_) => None,
    };
    if let Some(refused) = scaling.and_then(|reason| set.tell(&counted, Some(Refused { reason, now: moment.now }))) {
        plan.status_if_refused(&refused);
    }
    if let Some(told) = set.tell(&counted, None) {
        plan.status(&told);
    }
    plan
}

/// Makes what is missing or deletes what is too much; the reason there is if that is refused.
fn scale<K: Replicated>(
    view: &View,
    set: &K,
    mut active: Vec<Arc<Pod>>,
    moment: Moment,
    plan: &mut Plan,
) -> Option<&'static str> {
    let wanted = usize::try_from(set.replicas()).unwrap_or(0);
    if active.len() < wanted {
        create(set, (wanted - active.len()).min(BURST), moment, plan);
        return Some("FailedCreate");
    }
    if active.len() > wanted {
        let surplus = (active.len() - wanted).min(BURST);
        let like = set.like(view, &active);
        pods::by_loss(&mut active, &like, moment.now);
        for pod in active.iter().take(surplus) {
            plan.delete(pod.as_ref());
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            plan.event(set, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
        }
        plan.if_refused(set, "FailedDelete", "Error deleting");
        return Some("FailedDelete");
    }
    None
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

//! What controllers ask of pods, and how they make them.

use std::cmp::Reverse;
use std::sync::Arc;

use client::view::Moment;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;

/// The characters of generated names: no vowels, so that no words come out.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Generated names leave room for their suffix within what a label value may have.
const PREFIX_LENGTH: usize = 58;

/// Neither finished nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// The pod's conditions, with the one that says why it is taken away.
pub(crate) fn disrupted(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Vec<PodCondition> {
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
    conditions
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when the pod is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|ready| ready.status == "True")?.last_transition_time.as_ref().map(|time| time.0)
}

/// How long until a ready pod has been so for `seconds`; zero if it is available now, none if it is not ready.
pub(crate) fn until_available(pod: &Pod, seconds: i32, now: Timestamp) -> Option<SignedDuration> {
    if !is_ready(pod) {
        return None;
    }
    if seconds <= 0 {
        return Some(SignedDuration::ZERO);
    }
    let available = ready_since(pod)? + SignedDuration::from_secs(seconds.into());
    Some(available.duration_since(now).max(SignedDuration::ZERO))
}

/// The pod that a template describes, owned by its controller.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    namespace: &str,
    owner: OwnerReference,
    prefix: &str,
    seed: u64,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let prefix = &prefix[..prefix.len().min(PREFIX_LENGTH)];
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}{}", suffix(seed))),
            generate_name: Some(prefix.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The reference by which a controller owns what it makes.
pub(crate) fn owner<K: Resource<DynamicType = ()>>(controller: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: controller.meta().name.clone().unwrap_or_default(),
        uid: controller.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

pub(crate) fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// Five characters out of a seed.
pub(crate) fn suffix(seed: u64) -> String {
    let mut rest = mix(seed);
    let mut draw = || {
        let at = rest % SUFFIX.len() as u64;
        rest /= SUFFIX.len() as u64;
        char::from(SUFFIX[at as usize])
    };
    std::iter::repeat_with(&mut draw).take(5).collect()
}

/// Spreads the bits of a seed (the finalizer of SplitMix64), so that seeds that follow each other give unlike names.
fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The seed of the nth thing made in one plan.
pub(crate) fn nth(moment: Moment, n: usize) -> u64 {
    moment.seed.wrapping_add((n as u64).wrapping_mul(0x2545_f491_4f6c_dd1d))
}

/// Orders the pods of a set by how little is lost when they go: the first are deleted first. `like` are all those that it
/// is bad to have many of on one node. Of pods that are about as old as each other it does not matter which goes.
pub(crate) fn by_loss(pods: &mut [Arc<Pod>], like: &[Arc<Pod>], now: Timestamp) {
    let mut on_node = std::collections::HashMap::<String, usize>::new();
    for pod in like.iter().filter(|pod| is_active(pod)) {
        *on_node.entry(node(pod).to_owned()).or_default() += 1;
    }
    pods.sort_by_cached_key(|pod| {
        (
            use_of(pod),
            deletion_cost(pod),
            Reverse(on_node.get(node(pod)).copied().unwrap_or(0)),
            (age(ready_since(pod), now), Reverse(restarts(pod)), age(created(pod), now)),
            pod.metadata.uid.clone(),
        )
    });
}

/// The same for pods that do their work and end: the newest go first.
pub(crate) fn by_work(pods: &mut [Arc<Pod>]) {
    let newest_first = |time: Option<Timestamp>| Reverse(time.map_or(i64::MAX, Timestamp::as_second));
    pods.sort_by_cached_key(|pod| {
        let times = (newest_first(ready_since(pod)), Reverse(restarts(pod)), newest_first(created(pod)));
        (use_of(pod), times, pod.metadata.name.clone())
    });
}

fn use_of(pod: &Pod) -> (bool, u8, bool) {
    let phase = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    (!node(pod).is_empty(), phase, is_ready(pod))
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// An age in powers of two, so that the young go before the old, and chance decides among the others.
fn age(since: Option<Timestamp>, now: Timestamp) -> i32 {
    let Some(since) = since else { return -2 };
    let age = now.duration_since(since).as_nanos();
    if age > 0 { i32::try_from(age.ilog2()).unwrap_or(i32::MAX) } else { -1 }
}

fn deletion_cost(pod: &Pod) -> i64 {
    let cost = pod.metadata.annotations.as_ref().and_then(|a| a.get("controller.kubernetes.io/pod-deletion-cost"));
    // Neither a plus sign nor leading zeros are taken, as upstream.
    let plain = |text: &&String| *text == "0" || text.starts_with(['-', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    cost.filter(plain).and_then(|text| text.parse::<i32>().ok()).unwrap_or(0).into()
}

/// The most restarts of a container, and of a sidecar.
fn restarts(pod: &Pod) -> (i32, i32) {
    let most = |statuses: Option<&Vec<ContainerStatus>>, counts: &dyn Fn(&str) -> bool| {
        let counted = statuses.into_iter().flatten().filter(|status| counts(&status.name));
        counted.map(|status| status.restart_count).max().unwrap_or(0)
    };
    let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars: Vec<&str> =
        inits.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str()).collect();
    let status = pod.status.as_ref();
    let of_sidecars =
        most(status.and_then(|s| s.init_container_statuses.as_ref()), &|name: &str| sidecars.contains(&name));
    (most(status.and_then(|s| s.container_statuses.as_ref()), &|_| true), of_sidecars)
}

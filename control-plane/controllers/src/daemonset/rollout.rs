//! Which daemons give way to their likes of a new template. Pods and what was seen of them in, pods out.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

/// What an update asks of a pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Of the current template.
    pub new: bool,
    pub ready: bool,
    pub available: bool,
}

type See<'a> = &'a dyn Fn(&Pod) -> Seen;

/// A node that a daemon belongs on, with the pods that are alive there.
pub(super) struct Place<'a> {
    pub name: &'a str,
    /// A daemon would begin here; else one that is here may stay.
    pub begins: bool,
    pub pods: Vec<Arc<Pod>>,
}

/// Placed pods come first, then by age.
pub(super) fn age(pod: &Pod) -> (bool, Option<Timestamp>, Option<String>) {
    let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (crate::pods::node(pod).is_empty(), made, pod.metadata.name.clone())
}

/// The pods of one node that are too many: all but the oldest, or, with surge, all but the oldest old and new one, of which
/// the old one goes too as soon as it is unready or the new one is available.
pub(super) fn excess(mut active: Vec<Arc<Pod>>, surges: bool, see: See<'_>) -> Vec<Arc<Pod>> {
    active.sort_by_cached_key(|pod| age(pod));
    if !surges || active.len() <= 1 {
        return active.into_iter().skip(1).collect();
    }
    let (new, old): (Vec<_>, Vec<_>) = active.into_iter().partition(|pod| see(pod).new);
    let over = match (new.first(), old.first()) {
        (Some(new), Some(old)) => !see(old).ready || see(new).available,
        _ => false,
    };
    let kept = usize::from(!over);
    new.into_iter().skip(1).chain(old.into_iter().skip(kept)).collect()
}

/// Without surge: unavailable pods of an old template, and as many others as may be unavailable.
pub(super) fn replace(nodes: &[Place<'_>], most: usize, see: See<'_>) -> Vec<Arc<Pod>> {
    let (mut unavailable, mut going, mut candidates) = (0, Vec::new(), Vec::new());
    for Place { pods, .. } in nodes {
        let available = pods.iter().any(|pod| see(pod).available);
        let old = pods.iter().find(|pod| !see(pod).new);
        unavailable += usize::from(!available);
        match (old, available) {
            (Some(old), false) => going.push(old.clone()),
            (Some(old), true) => candidates.push(old.clone()),
            (None, _) => {}
        }
    }
    going.extend(candidates.into_iter().take(most.saturating_sub(unavailable)));
    going
}

/// With surge: the nodes that get a new pod beside their old one, and the old pods whose new one is available. Where no new
/// one would begin, an old one that is available goes only if there are more of them than nodes that want one.
pub(super) fn surge<'a>(nodes: &[Place<'a>], most: usize, see: See<'_>) -> (Vec<&'a str>, Vec<Arc<Pod>>) {
    let (mut surging, mut allowed, mut candidates, mut going) = (0, Vec::new(), Vec::new(), Vec::new());
    let (mut available, mut leaving) = (0, Vec::new());
    for Place { name, begins, pods } in nodes {
        let new = pods.iter().find(|pod| see(pod).new);
        let old = pods.iter().find(|pod| !see(pod).new);
        available += usize::from(old.or(new).is_some_and(|pod| see(pod).available));
        match (new, old) {
            (_, None) => {}
            (None, Some(old)) if !begins && see(old).available => leaving.push(old.clone()),
            (None, Some(old)) if !begins => going.push(old.clone()),
            // What is unavailable anyway is replaced without counting.
            (None, Some(old)) if !see(old).available => allowed.push(*name),
            (None, Some(_)) => candidates.push(*name),
            (Some(new), Some(old)) if see(new).available => going.push(old.clone()),
            (Some(_), Some(_)) => surging += 1,
        }
    }
    let wanting = nodes.iter().filter(|place| place.begins).count();
    going.extend(leaving.into_iter().take(available.saturating_sub(wanting)));
    allowed.extend(candidates.into_iter().take(most.saturating_sub(surging)));
    (allowed, going)
}

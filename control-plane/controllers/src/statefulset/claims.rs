//! The volume claims of a StatefulSet's pods: their names, and who they go with.

use std::sync::Arc;

use client::{Object, Plan, View};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use crate::pods;

/// Whether claims go with the set, and with pods that it is too small for by now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Retention {
    deleted: bool,
    scaled: bool,
}

impl Retention {
    pub(super) fn of(spec: &StatefulSetSpec) -> Retention {
        let policy = spec.persistent_volume_claim_retention_policy.as_ref();
        let is_delete = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
        Retention {
            deleted: is_delete(policy.and_then(|policy| policy.when_deleted.as_ref())),
            scaled: is_delete(policy.and_then(|policy| policy.when_scaled.as_ref())),
        }
    }

    /// Who a claim goes with: with its pod once that is beyond the scale, with the set before.
    fn owner(self, set: &StatefulSet, pod: Option<&Pod>, in_range: bool) -> Option<OwnerReference> {
        match (self.scaled && !in_range, self.deleted) {
            (true, _) => pod.map(pods::owner),
            (false, true) => Some(pods::owner(set)),
            (false, false) => None,
        }
    }
}

/// The claims that the set's templates describe for a pod.
pub(super) fn of_pod(set: &StatefulSet, spec: &StatefulSetSpec, pod: &str) -> Vec<PersistentVolumeClaim> {
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        let volume = template.metadata.name.as_deref().unwrap_or_default();
        claim.metadata.name = Some(format!("{volume}-{pod}"));
        claim.metadata.namespace = set.metadata.namespace.clone();
        let labels = claim.metadata.labels.get_or_insert_default();
        labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
        claim.metadata.owner_references = Retention::of(spec).owner(set, None, true).map(|owner| vec![owner]);
        claim.status = None;
        claim
    };
    spec.volume_claim_templates.iter().flatten().map(claim).collect()
}

/// The volume by which a pod uses a claim.
pub(super) fn volume(name: &str, pod: &str) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name: format!("{name}-{pod}"), read_only: None };
    Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() }
}

/// Whether a claim of this name is on its way out, or belongs to a pod of the same name that is gone: who waits for its
/// end gets a new one.
pub(super) fn is_stale(claim: &PersistentVolumeClaim, pod: &str, lives: Option<&Pod>) -> bool {
    let uid = lives.and_then(|pod| pod.metadata.uid.as_ref());
    let mut owners = claim.metadata.owner_references.iter().flatten();
    claim.metadata.deletion_timestamp.is_some()
        || owners.any(|owner| owner.kind == "Pod" && owner.name == pod && Some(&owner.uid) != uid)
}

/// Sets who the claims of a pod go with, as the policy says. Claims that somebody else controls are left alone.
pub(super) fn keep(view: &View, set: &StatefulSet, spec: &StatefulSetSpec, pod: &Pod, in_range: bool, plan: &mut Plan) {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let wanted = Retention::of(spec).owner(set, Some(pod), in_range);
    for claim in of_pod(set, spec, name) {
        let claim =
            view.of::<PersistentVolumeClaim>().get(namespace, claim.metadata.name.as_deref().unwrap_or_default());
        let Some(claim) = claim.filter(|claim| claim.metadata.deletion_timestamp.is_none()) else { continue };
        let is_ours = |owner: &OwnerReference| is(owner, set) || is(owner, pod);
        let owners = claim.metadata.owner_references.clone().unwrap_or_default();
        if owners.iter().any(|owner| owner.controller == Some(true) && !is_ours(owner)) {
            continue;
        }
        let (ours, mut rest): (Vec<_>, Vec<_>) = owners.into_iter().partition(is_ours);
        let same = match &wanted {
            Some(wanted) => ours.len() == 1 && ours.iter().all(|owner| owner.uid == wanted.uid),
            None => ours.is_empty(),
        };
        if !same {
            rest.extend(wanted.clone());
            let mut claim = PersistentVolumeClaim::clone(&claim);
            claim.metadata.owner_references = Some(rest).filter(|owners| !owners.is_empty());
            plan.update(&claim);
        }
    }
}

fn is<K: Resource<DynamicType = ()>>(owner: &OwnerReference, object: &K) -> bool {
    Some(&owner.uid) == object.meta().uid.as_ref()
}

/// The sets that a claim that goes may make room for.
pub(super) fn waiting<K: Object>(view: &View, gone: &Option<Arc<K>>) -> Vec<client::Key> {
    let Some(meta) = gone.as_ref().map(|claim| claim.meta()) else { return vec![] };
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let mut sets = view.of::<StatefulSet>().list_in(namespace);
    sets.retain(|set| {
        let of_set = set.metadata.name.as_deref().unwrap_or_default();
        let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        let mut volumes = templates.filter_map(|template| template.metadata.name.as_deref());
        volumes.any(|volume| {
            let ordinal = name.strip_prefix(&format!("{volume}-{of_set}-"));
            ordinal.is_some_and(|ordinal| ordinal.bytes().all(|byte| byte.is_ascii_digit()))
        })
    });
    sets.iter().map(|set| client::Key::of(set.as_ref())).collect()
}

//! Volumes and claims that are in use do not go: a finalizer holds them until nobody uses them.

use client::{Controller, Decision, Key, Moment, Plan, Read, View, Watches};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use serde_json::Value;

const OF_CLAIM: &str = "kubernetes.io/pvc-protection";
const OF_VOLUME: &str = "kubernetes.io/pv-protection";

pub(crate) struct Claims;

impl Controller for Claims {
    fn name(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<PersistentVolumeClaim>();
        watches.mapped::<Pod>(|_, change| {
            let pods = [&change.before, &change.after].into_iter().flatten();
            let mut keys: Vec<Key> =
                pods.flat_map(|pod| claims(pod)).map(|claim| Key::new(&change.key.namespace, claim)).collect();
            keys.sort();
            keys.dedup();
            keys
        });
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(claim) = view.of::<PersistentVolumeClaim>().get_key(key) else { return plan.into() };
        let mut changed = PersistentVolumeClaim::clone(&claim);
        match wanted(&claim.metadata, OF_CLAIM) {
            Wanted::Put => put(&mut changed.metadata, OF_CLAIM),
            Wanted::Nothing => return plan.into(),
            Wanted::Check => {
                let uses = |pod: &Pod| is_placed(pod) && claims(pod).any(|name| name == key.name);
                if view.of::<Pod>().list_in(&key.namespace).iter().any(|pod| uses(pod)) {
                    return plan.into();
                }
                // A pod may have come that is not seen here yet: only the server knows.
                let read = Read::list(&ApiResource::erase::<Pod>(&()), &key.namespace);
                let Some(answer) = view.answer(&read) else { return Decision::Need(vec![read]) };
                let pods = answer.and_then(|list| list["items"].as_array()).into_iter().flatten();
                if pods.filter_map(read_pod).any(|pod| uses(&pod)) {
                    return plan.into();
                }
                take(&mut changed.metadata, OF_CLAIM);
            }
        }
        plan.update(&changed);
        plan.into()
    }
}

pub(crate) struct Volumes;

impl Controller for Volumes {
    fn name(&self) -> &'static str {
        "pv-protection-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<PersistentVolume>();
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(volume) = view.of::<PersistentVolume>().get_key(key) else { return plan.into() };
        let mut changed = PersistentVolume::clone(&volume);
        let bound = volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"));
        match wanted(&volume.metadata, OF_VOLUME) {
            Wanted::Put => put(&mut changed.metadata, OF_VOLUME),
            Wanted::Check if !bound => take(&mut changed.metadata, OF_VOLUME),
            Wanted::Check | Wanted::Nothing => return plan.into(),
        }
        plan.update(&changed);
        plan.into()
    }
}

/// What is to be done about a finalizer.
enum Wanted {
    Put,
    Nothing,
    /// It goes if nobody uses the object.
    Check,
}

fn wanted(meta: &ObjectMeta, finalizer: &str) -> Wanted {
    let there = meta.finalizers.iter().flatten().any(|known| known == finalizer);
    match (meta.deletion_timestamp.is_some(), there) {
        (false, false) => Wanted::Put,
        (true, true) => Wanted::Check,
        (false, true) | (true, false) => Wanted::Nothing,
    }
}

fn put(meta: &mut ObjectMeta, finalizer: &str) {
    meta.finalizers.get_or_insert_default().push(finalizer.to_owned());
}

fn take(meta: &mut ObjectMeta, finalizer: &str) {
    meta.finalizers.get_or_insert_default().retain(|known| known != finalizer);
}

/// A pod without a node is never started with a claim that is being deleted.
fn is_placed(pod: &Pod) -> bool {
    !crate::pods::node(pod).is_empty()
}

/// The claims that a pod names; those of ephemeral volumes are named after pod and volume.
fn claims(pod: &Pod) -> impl Iterator<Item = String> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(move |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
        (None, None) => None,
    })
}

fn read_pod(value: &Value) -> Option<Pod> {
    serde_json::from_value(value.clone()).ok()
}

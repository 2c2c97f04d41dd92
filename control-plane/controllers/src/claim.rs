//! Whose an object is: what an owner's selector chooses and nobody controls is adopted, what it no longer chooses is let go.
//!
//! Only what the owner has and what nobody has is looked at, so that a claim costs the same however full the namespace is.

use std::sync::Arc;

use client::{Key, Object, Plan, View, Watches};
use kube::Resource;
use serde_json::json;

use crate::pods;

/// An owner that chooses what it controls by labels.
pub(crate) trait Claims<K: Object<DynamicType = ()>>: Object<DynamicType = ()> {
    /// What its objects keep until it has taken note of their end.
    const FINALIZER: Option<&'static str> = None;

    fn selects(&self, object: &K) -> bool;

    /// Whether an object that nobody controls is worth having.
    fn adopts(&self, object: &K) -> bool {
        object.meta().deletion_timestamp.is_none()
    }
}

/// A change of an object concerns its controller, or, if it has none, those that would adopt it.
pub(crate) fn watch<K: Object<DynamicType = ()>, O: Claims<K>>(watches: &mut Watches<'_>) {
    watches.mapped::<K>(|view, change| {
        let objects = [&change.before, &change.after].into_iter().flatten();
        let mut keys: Vec<Key> = objects.flat_map(|object| concerned::<K, O>(view, object)).collect();
        keys.dedup();
        keys
    });
}

/// The owners that an object concerns.
pub(crate) fn concerned<K: Object<DynamicType = ()>, O: Claims<K>>(view: &View, object: &K) -> Vec<Key> {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    match pods::controller_of(object) {
        Some(owner) if owner.kind == O::kind(&()) && owner.api_version == O::api_version(&()) => {
            vec![Key::new(namespace, &owner.name)]
        }
        Some(_) => vec![],
        None => {
            let owners = view.of::<O>().list_in(namespace);
            owners.iter().filter(|owner| owner.selects(object)).map(|owner| Key::of(owner.as_ref())).collect()
        }
    }
}

/// The objects that are this owner's, those it adopts among them.
pub(crate) fn claim<K: Object<DynamicType = ()>, O: Claims<K>>(view: &View, owner: &O, plan: &mut Plan) -> Vec<Arc<K>> {
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
    let alive = owner.meta().deletion_timestamp.is_none();
    let mut mine = Vec::new();
    for object in view.of::<K>().owned_by(uid) {
        if pods::controller_of(object.as_ref()).is_none_or(|controller| controller.uid != uid) {
            continue;
        }
        let going = object.meta().deletion_timestamp.is_some();
        match owner.selects(&object) {
            true => mine.push(object),
            false if alive && !going => let_go::<K, O>(object.as_ref(), uid, plan),
            false => {}
        }
    }
    if alive {
        let mut loose = view.of::<K>().loose_in(namespace);
        loose.retain(|object| owner.selects(object) && owner.adopts(object));
        loose.iter().for_each(|object| adopt(object.as_ref(), owner, plan));
        mine.extend(loose);
    }
    mine.sort_by(|a, b| a.meta().name.cmp(&b.meta().name));
    mine
}

fn let_go<K: Object<DynamicType = ()>, O: Claims<K>>(object: &K, uid: &str, plan: &mut Plan) {
    let kept: Vec<_> = object.meta().owner_references.iter().flatten().filter(|owner| owner.uid != uid).collect();
    let mut patch = json!({"metadata": {"ownerReferences": kept}});
    if let Some(finalizer) = O::FINALIZER {
        let kept: Vec<_> = object.meta().finalizers.iter().flatten().filter(|known| *known != finalizer).collect();
        patch["metadata"]["finalizers"] = json!(kept);
    }
    write(object, patch, plan);
}

fn adopt<K: Object<DynamicType = ()>, O: Claims<K>>(object: &K, owner: &O, plan: &mut Plan) {
    let mut owners = object.meta().owner_references.clone().unwrap_or_default();
    owners.retain(|known| Some(&known.uid) != owner.meta().uid.as_ref());
    owners.push(pods::owner(owner));
    let mut patch = json!({"metadata": {"ownerReferences": owners}});
    if let Some(finalizer) = O::FINALIZER {
        let mut all = object.meta().finalizers.clone().unwrap_or_default();
        if !all.iter().any(|known| known == finalizer) {
            all.push(finalizer.to_owned());
        }
        patch["metadata"]["finalizers"] = json!(all);
    }
    write(object, patch, plan);
}

/// Lists are replaced whole, so only as they were when this was planned.
fn write<K: Resource<DynamicType = ()>>(object: &K, mut patch: serde_json::Value, plan: &mut Plan) {
    if let Some(version) = &object.meta().resource_version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    plan.patch(object, None, patch);
}

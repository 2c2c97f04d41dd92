//! Garbage collection: what is owned goes with its last owner, in the background, in the foreground, or not at all.
//!
//! The kinds are those that discovery tells of; only their metadata is kept. Before anything is deleted its owner is read
//! live, so that a cache that lags never costs an object.

use std::sync::Arc;

use client::plan::{Action, DeleteOptions, Note, Preconditions, Severity, Target};
use client::{Change, Controller, Decision, Key, Meta, Moment, Plan, Read, View, Watches};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::discovery::Served;

pub(crate) const NAME: &str = "generic-garbage-collector";
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub struct Garbage {
    kinds: Vec<Served>,
}

/// Events are many, own nothing and go by themselves.
fn is_collected(kind: &Served) -> bool {
    kind.watchable && kind.resource.plural != "events"
}

impl Garbage {
    pub(crate) fn of_served(mut kinds: Vec<Served>) -> Garbage {
        kinds.retain(is_collected);
        Garbage { kinds }
    }

    /// A collector of exactly these kinds: (apiVersion, kind, plural, namespaced).
    pub fn of(kinds: &[(&str, &str, &str, bool)]) -> Garbage {
        let served =
            kinds.iter().map(|(version, kind, plural, namespaced)| Served::of(version, kind, plural, *namespaced));
        Garbage { kinds: served.collect() }
    }

    fn kind(&self, owner: &OwnerReference) -> Option<&Served> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds.iter().find(|k| k.resource.group == group && k.resource.kind == owner.kind)
    }

    fn owner<'a>(&'a self, owner: &OwnerReference, namespace: &str) -> Option<(&'a ApiResource, Key)> {
        let kind = self.kind(owner)?;
        // A namespaced owner of a cluster-scoped object cannot be: nothing is concluded from it.
        let namespace = if kind.namespaced { Some(namespace).filter(|ns| !ns.is_empty())? } else { "" };
        Some((&kind.resource, Key::new(namespace, &owner.name)))
    }
}

impl Controller for Garbage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        for kind in &self.kinds {
            watches.metadata(&kind.resource, concerned);
        }
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let Some((resource, key)) = parse(view, key) else { return Plan::done().into() };
        let Some(object) = view.metadata().get(resource).and_then(|informer| informer.get_key(&key)) else {
            return Plan::done().into();
        };
        let at = Target { resource: resource.clone(), key, subresource: None };
        if object.metadata.deletion_timestamp.is_none() {
            return self.judge(view, at, &object);
        }
        if has_finalizer(&object.metadata, ORPHAN) {
            return orphan(view, at, &object).into();
        }
        if has_finalizer(&object.metadata, FOREGROUND) {
            return foreground(view, at, &object).into();
        }
        Plan::done().into()
    }
}

/// A key of this controller names the kind too.
fn name(resource: &ApiResource, key: &Key) -> Key {
    Key::new(&key.namespace, format!("{}/{}/{}", resource.group, resource.plural, key.name))
}

fn parse<'a>(view: &'a View, key: &Key) -> Option<(&'a ApiResource, Key)> {
    let mut parts = key.name.splitn(3, '/');
    let (group, plural, name) = (parts.next()?, parts.next()?, parts.next()?);
    let resource = view.metadata().keys().find(|r| r.group == group && r.plural == plural)?;
    Some((resource, Key::new(&key.namespace, name)))
}

fn concerned(view: &View, resource: &ApiResource, change: &Change<Meta>) -> Vec<Key> {
    let mut keys = Vec::new();
    let metas = || [&change.before, &change.after].into_iter().flatten().map(|object| &object.metadata);
    if let Some(after) = &change.after
        && (after.metadata.owner_references.is_some() || after.metadata.finalizers.is_some())
    {
        keys.push(name(resource, &change.key));
    }
    let uids: Vec<_> = metas().filter_map(|meta| meta.uid.as_deref()).collect();
    let replaced = uids.len() == 2 && uids[0] != uids[1];
    let gone = change.after.is_none() || replaced;
    let ending = change.after.as_ref().is_some_and(|after| after.metadata.deletion_timestamp.is_some());
    if gone || ending {
        // Its dependents may have lost their last owner; its owners may have waited for it.
        uids.iter().for_each(|uid| {
            keys.extend(dependents(view, uid).map(|(resource, d)| name(resource, &Key::of(d.as_ref()))))
        });
        let namespace = &change.key.namespace;
        let owners = metas().flat_map(|meta| meta.owner_references.iter().flatten());
        keys.extend(owners.filter_map(|owner| owner_key(view, owner, namespace)));
    } else if change.before.as_ref().is_some_and(|b| {
        change.after.as_ref().is_some_and(|a| a.metadata.owner_references != b.metadata.owner_references)
    }) {
        let owners = metas().flat_map(|meta| meta.owner_references.iter().flatten());
        keys.extend(owners.filter_map(|owner| owner_key(view, owner, &change.key.namespace)));
    }
    keys.sort();
    keys.dedup();
    keys
}

fn owner_key(view: &View, owner: &OwnerReference, namespace: &str) -> Option<Key> {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let resource = view.metadata().keys().find(|r| r.group == group && r.kind == owner.kind)?;
    let informer = view.metadata().get(resource)?;
    let there = [namespace, ""].into_iter().find(|namespace| informer.get(namespace, &owner.name).is_some())?;
    Some(name(resource, &Key::new(there, &owner.name)))
}

fn dependents<'a>(view: &'a View, uid: &'a str) -> impl Iterator<Item = (&'a ApiResource, Arc<Meta>)> {
    let all = view.metadata().iter();
    all.flat_map(move |(resource, informer)| informer.owned_by(uid).into_iter().map(move |object| (resource, object)))
}

fn waits_for_dependents(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && has_finalizer(meta, FOREGROUND)
}

fn has_finalizer(meta: &ObjectMeta, name: &str) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

/// What is known of an owner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Lives,
    /// It is being deleted and waits for what it owns.
    Waits,
    Gone,
    /// Of a kind that is not served: nothing is concluded.
    Unknown,
}

impl Garbage {
    /// Decides about an object that is not being deleted: whether it keeps an owner.
    fn judge(&self, view: &View, at: Target, object: &Meta) -> Decision {
        let owners: Vec<&OwnerReference> = object.metadata.owner_references.iter().flatten().collect();
        if owners.is_empty() {
            return Plan::done().into();
        }
        let (mut reads, mut states) = (Vec::new(), Vec::new());
        for owner in &owners {
            match self.state(view, owner, &at.key.namespace) {
                Ok(state) => states.push(state),
                Err(read) => reads.push(read),
            }
        }
        if !reads.is_empty() {
            return Decision::Need(reads);
        }
        let has = |state: Owner| states.contains(&state);
        let mut plan = Plan::done();
        for (owner, _) in owners.iter().zip(&states).filter(|(_, s)| matches!(s, Owner::Gone | Owner::Unknown)) {
            self.tell_of_another_namespace(view, &at, object, owner, &mut plan);
        }
        if has(Owner::Lives) || has(Owner::Unknown) {
            if has(Owner::Gone) || has(Owner::Waits) {
                let kept = owners.iter().zip(&states).filter(|(_, s)| matches!(s, Owner::Lives | Owner::Unknown));
                plan.actions.push(with_owners(at, object, kept.map(|(owner, _)| *owner).collect()));
            }
            return plan.into();
        }
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let waits = has(Owner::Waits) && dependents(view, uid).next().is_some();
        let in_circle = || dependents(view, uid).any(|(_, dependent)| waits_for_dependents(&dependent.metadata));
        if waits && owners.iter().any(|owner| owner.block_owner_deletion == Some(true)) && in_circle() {
            // Who waits for this one is waited for by it: somebody must stop.
            let mut owners: Vec<OwnerReference> = owners.into_iter().cloned().collect();
            owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
            plan.actions.push(with_owners(at, object, owners.iter().collect()));
            return plan.into();
        }
        let policy = match waits {
            true => "Foreground",
            false if has_finalizer(&object.metadata, ORPHAN) => "Orphan",
            false if has_finalizer(&object.metadata, FOREGROUND) => "Foreground",
            false => "Background",
        };
        plan.actions.push(delete(at, object, policy));
        plan.into()
    }

    /// Says of an owner that is there, but in another namespace, that it owns nothing here.
    fn tell_of_another_namespace(
        &self,
        view: &View,
        at: &Target,
        object: &Meta,
        owner: &OwnerReference,
        plan: &mut Plan,
    ) {
        let Some(kind) = self.kind(owner).filter(|kind| kind.namespaced) else { return };
        let Some(informer) = view.metadata().get(&kind.resource) else { return };
        let is_it = |namespace: &String| {
            let known = informer.get(namespace, &owner.name);
            known.is_some_and(|known| known.metadata.uid.as_deref() == Some(&owner.uid))
        };
        let namespace = &at.key.namespace;
        if !informer.namespaces().iter().any(|other| other != namespace && is_it(other)) {
            return;
        }
        let regarding = ObjectReference {
            api_version: Some(at.resource.api_version.clone()),
            kind: Some(at.resource.kind.clone()),
            namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(at.key.name.clone()),
            uid: object.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let (version, kind) = (&owner.api_version, &owner.kind);
        let known = format!("[{version}/{kind}, namespace: {namespace}, name: {}, uid: {}]", owner.name, owner.uid);
        plan.actions.push(Action::Event(Note {
            regarding,
            severity: Severity::Warning,
            reason: "OwnerRefInvalidNamespace".to_owned(),
            message: format!("ownerRef {known} does not exist in namespace {namespace:?}"),
        }));
    }

    fn state(&self, view: &View, owner: &OwnerReference, namespace: &str) -> Result<Owner, Read> {
        let Some((resource, key)) = self.owner(owner, namespace) else { return Ok(Owner::Unknown) };
        let cached = view.metadata().get(resource).and_then(|informer| informer.get_key(&key));
        if let Some(cached) = cached.filter(|cached| cached.metadata.uid.as_deref() == Some(&owner.uid)) {
            return Ok(if waits_for_dependents(&cached.metadata) { Owner::Waits } else { Owner::Lives });
        }
        let read = Read::object(resource, &key).metadata();
        match view.answer(&read) {
            None => Err(read),
            Some(Some(live)) if live["metadata"]["uid"] == owner.uid.as_str() => Ok(Owner::Lives),
            Some(_) => Ok(Owner::Gone),
        }
    }
}

fn delete(at: Target, object: &Meta, policy: &'static str) -> Action {
    let preconditions =
        Preconditions { uid: object.metadata.uid.clone(), resource_version: object.metadata.resource_version.clone() };
    Action::Delete {
        at,
        options: DeleteOptions { preconditions, propagation_policy: Some(policy), grace_period_seconds: None },
    }
}

fn with_owners(at: Target, object: &Meta, owners: Vec<&OwnerReference>) -> Action {
    let version = &object.metadata.resource_version;
    let patch = json!({"metadata": {"resourceVersion": version, "ownerReferences": owners}});
    Action::patch(at, object.metadata.uid.as_deref(), patch)
}

fn without_finalizer(at: Target, object: &Meta, name: &str) -> Action {
    let kept: Vec<_> = object.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != name).collect();
    let patch: Value = json!({"metadata": {"resourceVersion": object.metadata.resource_version, "finalizers": kept}});
    Action::patch(at, object.metadata.uid.as_deref(), patch)
}

fn target(resource: &ApiResource, object: &Meta) -> Target {
    Target { resource: resource.clone(), key: Key::of(object), subresource: None }
}

/// Takes itself out of its dependents' owners, then goes.
fn orphan(view: &View, at: Target, object: &Meta) -> Plan {
    let mut plan = Plan::done();
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    for (resource, dependent) in dependents(view, uid) {
        let kept = dependent.metadata.owner_references.iter().flatten().filter(|owner| owner.uid != uid);
        plan.actions.push(with_owners(target(resource, &dependent), &dependent, kept.collect()));
    }
    if plan.actions.is_empty() {
        plan.actions.push(without_finalizer(at, object, ORPHAN));
    }
    plan
}

/// Waits for the dependents that block it. Each of them is judged by its own key when this one begins to end.
fn foreground(view: &View, at: Target, object: &Meta) -> Plan {
    let mut plan = Plan::done();
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let blocks = |dependent: &Meta| {
        let mut owners = dependent.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    };
    if !dependents(view, uid).any(|(_, dependent)| blocks(&dependent)) {
        plan.actions.push(without_finalizer(at, object, FOREGROUND));
    }
    plan
}

//! Ends namespaces: deletes what is in them, pods before everything else, and then lets go of the namespace itself.

use std::collections::BTreeMap;
use std::time::Duration;

use client::plan::{Action, DeleteOptions, Preconditions, REFUSAL, Target};
use client::{Controller, Decision, Key, Moment, Plan, Read, View, Watches};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::discovery::{self, Served};

const FINALIZER: &str = "kubernetes";
/// Objects of one kind looked at in one plan; the rest is met in the next.
const PAGE: usize = 500;
/// How long to wait for what is being deleted to go.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct Namespaces;

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Namespace>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let Some(namespace) = view.of::<Namespace>().get_key(key).filter(|namespace| is_ending(namespace)) else {
            return Plan::done().into();
        };
        let kinds = match discovery::deletable(view) {
            Ok(kinds) => kinds,
            Err(reads) => return Decision::Need(reads),
        };
        let kinds: Vec<Served> = kinds.into_iter().filter(|kind| kind.namespaced && !is_alias(kind)).collect();
        let reads: Vec<Read> = kinds.iter().map(|kind| contents(kind, &key.name)).collect();
        let missing: Vec<Read> = reads.iter().filter(|read| view.answer(read).is_none()).cloned().collect();
        if !missing.is_empty() {
            return Decision::Need(missing);
        }
        let left = kinds.iter().zip(&reads).filter_map(|(kind, read)| {
            let items = view.answer(read).flatten()?["items"].as_array()?.clone();
            (!items.is_empty()).then_some((&kind.resource, items))
        });
        plan(&namespace, left.collect(), moment).into()
    }
}

fn is_ending(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    namespace.metadata.deletion_timestamp.is_some() && finalizers.into_iter().any(|name| name == FINALIZER)
}

/// The same objects under another group.
fn is_alias(kind: &Served) -> bool {
    kind.resource.group == "events.k8s.io"
}

fn contents(kind: &Served, namespace: &str) -> Read {
    let read = Read::list(&kind.resource, namespace).metadata();
    Read { path: format!("{}?limit={PAGE}", read.path), ..read }
}

fn plan(namespace: &Namespace, left: Vec<(&ApiResource, Vec<Value>)>, moment: Moment) -> Plan {
    let (mut plan, now) = (Plan::done(), moment.now);
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    if left.is_empty() {
        tell(namespace, &left, now, &mut plan);
        finalize(namespace, &mut plan);
        return plan;
    }
    let is_pods = |resource: &ApiResource| resource.group.is_empty() && resource.plural == "pods";
    let pods_left = left.iter().any(|(resource, _)| is_pods(resource));
    for (resource, items) in left.iter().filter(|(resource, _)| !pods_left || is_pods(resource)) {
        for item in items.iter().filter(|item| item["metadata"]["deletionTimestamp"].is_null()) {
            plan.actions.extend(delete(resource, name, item));
        }
    }
    if !plan.actions.is_empty() {
        // One that cannot be deleted keeps no other: each try begins with another.
        let first = moment.seed % plan.actions.len() as u64;
        plan.actions.rotate_left(usize::try_from(first).unwrap_or(0));
        plan.status_if_refused(&told(namespace, &left, true, now));
    }
    tell(namespace, &left, now, &mut plan);
    plan.again(AGAIN);
    plan
}

fn delete(resource: &ApiResource, namespace: &str, item: &Value) -> Option<Action> {
    let uid = item["metadata"]["uid"].as_str().map(str::to_owned);
    let key = Key::new(namespace, item["metadata"]["name"].as_str()?);
    let preconditions = Preconditions { uid, resource_version: None };
    let options = DeleteOptions { preconditions, propagation_policy: Some("Background"), grace_period_seconds: None };
    Some(Action::Delete { at: Target { resource: resource.clone(), key, subresource: None }, options })
}

fn finalize(namespace: &Namespace, plan: &mut Plan) {
    let mut object = json!(namespace);
    let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    let kept: Vec<_> = finalizers.filter(|name| *name != FINALIZER).collect();
    object["spec"]["finalizers"] = json!(kept);
    // The status that was just written has made a newer revision.
    object["metadata"]["resourceVersion"] = Value::Null;
    plan.actions.push(Action::Update { at: Target::of(namespace, Some("finalize")), object });
}

/// Says in the namespace's conditions what is left.
fn tell(namespace: &Namespace, left: &[(&ApiResource, Vec<Value>)], now: Timestamp, plan: &mut Plan) {
    let told = told(namespace, left, false, now);
    if told.status != namespace.status {
        plan.status(&told);
    }
}

fn told(namespace: &Namespace, left: &[(&ApiResource, Vec<Value>)], refused: bool, now: Timestamp) -> Namespace {
    let mut after = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    for (kind, status, reason, message) in conditions(left, refused) {
        let status = if status { "True" } else { "False" };
        let known = after.iter().position(|condition| condition.type_ == kind).map(|at| after.remove(at));
        let since = known.filter(|known| known.status == status).and_then(|known| known.last_transition_time);
        after.push(NamespaceCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: since.or(Some(Time(now))),
        });
    }
    let mut namespace = namespace.clone();
    namespace.status.get_or_insert_default().conditions = Some(after);
    namespace
}

fn conditions(left: &[(&ApiResource, Vec<Value>)], refused: bool) -> [(&'static str, bool, &'static str, String); 5] {
    let remaining: Vec<String> = left
        .iter()
        .map(|(r, items)| format!("{}.{} has {} resource instances", r.plural, r.group, items.len()))
        .collect();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for item in left.iter().flat_map(|(_, items)| items) {
        let names = item["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.for_each(|name| *finalizers.entry(name).or_default() += 1);
    }
    let held: Vec<String> = finalizers.iter().map(|(name, n)| format!("{name} in {n} resource instances")).collect();
    let content = match remaining.is_empty() {
        true => (false, "ContentRemoved", "All content successfully removed".to_owned()),
        false => (true, "SomeResourcesRemain", format!("Some resources are remaining: {}", remaining.join(", "))),
    };
    let finalizing = match held.is_empty() {
        true => (false, "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned()),
        false => {
            let message = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
            (true, "SomeFinalizersRemain", message)
        }
    };
    let deletion = match refused {
        false => {
            (false, "ContentDeleted", "All content successfully deleted, may be waiting on finalization".to_owned())
        }
        true => {
            let message = format!("Failed to delete all resource types, {} remaining: {REFUSAL}", left.len());
            (true, "ContentDeletionFailed", message)
        }
    };
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        ("NamespaceDeletionContentFailure", deletion.0, deletion.1, deletion.2),
        ("NamespaceContentRemaining", content.0, content.1, content.2),
        ("NamespaceFinalizersRemaining", finalizing.0, finalizing.1, finalizing.2),
    ]
}

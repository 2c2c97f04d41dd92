//! CustomResourceDefinitions: accepts their names, establishes them, and when they end deletes what they define.
//!
//! Names are free unless another definition of the group has them, or asked for them earlier: whoever is planned first,
//! the outcome is the same.

use std::collections::BTreeSet;
use std::time::Duration;

use client::plan::{Action, Target};
use client::{Controller, Decision, Key, Moment, Plan, Read, View, Watches};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition as Definition, CustomResourceDefinitionCondition as Condition,
    CustomResourceDefinitionNames as Names,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::core::ApiResource;
use serde_json::{Value, json};

const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Objects of one kind looked at in one plan; the rest is met in the next.
const PAGE: usize = 500;
/// How long to wait for objects that are being deleted to go.
const AGAIN: Duration = Duration::from_millis(500);

pub(crate) struct Definitions;

impl Controller for Definitions {
    fn name(&self) -> &'static str {
        "custom-resource-definition-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        // A name that one of them gives up is free for the others of its group.
        watches.mapped::<Definition>(|view, change| {
            let changed = change.after.as_ref().or(change.before.as_ref());
            let group = changed.map(|d| d.spec.group.clone()).unwrap_or_default();
            let others = view.of::<Definition>().list().into_iter().filter(|d| d.spec.group == group);
            let mut keys: Vec<Key> = others.map(|d| Key::of(&*d)).collect();
            if !keys.contains(&change.key) {
                keys.push(change.key.clone());
            }
            keys
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let Some(definition) = view.of::<Definition>().get_key(key) else { return Plan::done().into() };
        let mut plan = Plan::done();
        if is_ending(&definition) {
            let read = contents(&definition);
            let items = match read.as_ref().map(|read| view.answer(read)) {
                Some(None) => return Decision::Need(read.into_iter().collect()),
                Some(Some(Some(list))) => list["items"].as_array().cloned().unwrap_or_default(),
                Some(Some(None)) | None => Vec::new(),
            };
            end(&definition, &items, moment.now, &mut plan);
            return plan.into();
        }
        let all = view.of::<Definition>().list();
        let others = all.iter().filter(|d| d.spec.group == definition.spec.group && d.name_any() != key.name);
        let others: Vec<&Names> = others.filter_map(|d| claimed(d, &definition)).collect();
        let next = named(&definition, &others, moment.now);
        if next.status != definition.status {
            plan.status(&next);
        }
        plan.into()
    }
}

/// The names that another definition has, or that it asked for before this one did.
fn claimed<'a>(other: &'a Definition, this: &Definition) -> Option<&'a Names> {
    let age = |d: &Definition| (d.metadata.creation_timestamp.clone(), d.name_any());
    let accepted = other.status.as_ref().and_then(|s| s.accepted_names.as_ref()).filter(|n| !n.plural.is_empty());
    accepted.or_else(|| (age(other) < age(this)).then_some(&other.spec.names))
}

/// The definition with the names that it may have, and what its conditions say about that.
fn named(definition: &Definition, others: &[&Names], now: Timestamp) -> Definition {
    let asked = &definition.spec.names;
    let mut next = definition.clone();
    let status = next.status.get_or_insert_default();
    let had = status.accepted_names.clone().unwrap_or_default();
    let resources: BTreeSet<&str> = others.iter().flat_map(|n| resource_names(n)).collect();
    let kinds: BTreeSet<&str> =
        others.iter().flat_map(|n| [Some(n.kind.as_str()), n.list_kind.as_deref()]).flatten().collect();
    let mut names = had.clone();
    let mut conflict: Option<(&str, String)> = None;
    let mut decide = |reason: &'static str, wanted: &str, own: &str, used: &BTreeSet<&str>| {
        let free = wanted == own || !used.contains(wanted);
        if !free {
            conflict = Some((reason, format!("{wanted:?} is already in use")));
        }
        free
    };
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    if decide("PluralConflict", &asked.plural, &had.plural, &resources) {
        names.plural.clone_from(&asked.plural);
    }
    if decide("SingularConflict", &text(&asked.singular), &text(&had.singular), &resources) {
        names.singular.clone_from(&asked.singular);
    }
    let known: Vec<String> = had.short_names.clone().unwrap_or_default();
    let short: Vec<&String> = asked.short_names.iter().flatten().filter(|s| !known.contains(s)).collect();
    if short.iter().all(|s| decide("ShortNamesConflict", s, "", &resources)) {
        names.short_names.clone_from(&asked.short_names);
    }
    if decide("KindConflict", &asked.kind, &had.kind, &kinds) {
        names.kind.clone_from(&asked.kind);
    }
    if decide("ListKindConflict", &text(&asked.list_kind), &text(&had.list_kind), &kinds) {
        names.list_kind.clone_from(&asked.list_kind);
    }
    names.categories.clone_from(&asked.categories);
    status.accepted_names = Some(names);
    let conditions = status.conditions.get_or_insert_default();
    let established = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
    match conflict {
        Some((reason, message)) => {
            set(conditions, "NamesAccepted", false, reason, &message, now);
            if !established {
                set(conditions, "Established", false, "NotAccepted", "not all names are accepted", now);
            }
        }
        None => {
            set(conditions, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
            if !established {
                let message = "the initial names have been accepted";
                set(conditions, "Established", true, "InitialNamesAccepted", message, now);
            }
        }
    }
    approval(definition, conditions, now);
    next
}

/// Groups whose kinds the Kubernetes project approves of.
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];
const APPROVAL: &str = "api-approved.kubernetes.io";

/// Says of definitions in protected groups whether they are approved.
fn approval(definition: &Definition, conditions: &mut Vec<Condition>, now: Timestamp) {
    let group = &definition.spec.group;
    if !PROTECTED.iter().any(|p| group.strip_suffix(p).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))) {
        return;
    }
    let (on, reason, message) = match definition.annotations().get(APPROVAL).map_or("", String::as_str) {
        "" => {
            let why = format!(
                "protected groups must have approval annotation {APPROVAL:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            );
            (false, "MissingAnnotation", why)
        }
        text if text.starts_with("unapproved") => (false, "UnapprovedAnnotation", format!("not approved: {text:?}")),
        text => (true, "ApprovedAnnotation", format!("approved in {text}")),
    };
    set(conditions, "KubernetesAPIApprovalPolicyConformant", on, reason, &message, now);
}

fn resource_names(names: &Names) -> impl Iterator<Item = &str> {
    let one = [Some(names.plural.as_str()), names.singular.as_deref()].into_iter().flatten();
    one.chain(names.short_names.iter().flatten().map(String::as_str)).filter(|n| !n.is_empty())
}

/// Sets a condition; the time of its last transition stays unless its status changes.
fn set(conditions: &mut Vec<Condition>, kind: &str, on: bool, reason: &str, message: &str, now: Timestamp) {
    let status = if on { "True" } else { "False" };
    let mut next = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(now)),
        ..Condition::default()
    };
    match conditions.iter_mut().find(|c| c.type_ == kind) {
        Some(known) => {
            if known.status == status {
                next.last_transition_time.clone_from(&known.last_transition_time);
                next.observed_generation = known.observed_generation;
            }
            *known = next;
        }
        None => conditions.push(next),
    }
}

fn is_ending(definition: &Definition) -> bool {
    definition.metadata.deletion_timestamp.is_some() && definition.finalizers().iter().any(|f| f == FINALIZER)
}

fn is_established(definition: &Definition) -> bool {
    let conditions = definition.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True")
}

/// The kind that a definition serves its objects as.
fn resource(definition: &Definition) -> Option<ApiResource> {
    let spec = &definition.spec;
    let version = spec.versions.iter().filter(|v| v.served).max_by_key(|v| v.storage)?;
    Some(ApiResource {
        group: spec.group.clone(),
        version: version.name.clone(),
        api_version: format!("{}/{}", spec.group, version.name),
        kind: spec.names.kind.clone(),
        plural: spec.names.plural.clone(),
    })
}

/// The read of the objects that a definition defines. Of one that is not established there can be none.
fn contents(definition: &Definition) -> Option<Read> {
    let read = Read::list(&resource(definition).filter(|_| is_established(definition))?, "").metadata();
    Some(Read { path: format!("{}?limit={PAGE}", read.path), ..read })
}

/// Deletes what is left, or lets go of the definition.
fn end(definition: &Definition, items: &[Value], now: Timestamp, plan: &mut Plan) {
    if items.is_empty() {
        let kept: Vec<&String> = definition.finalizers().iter().filter(|f| *f != FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": kept}});
        plan.patch(definition, None, patch);
        return;
    }
    let mut next = definition.clone();
    let conditions = next.status.get_or_insert_default().conditions.get_or_insert_default();
    let message = "CustomResource deletion is in progress";
    set(conditions, "Terminating", true, "InstanceDeletionInProgress", message, now);
    if next.status != definition.status {
        plan.status(&next);
    }
    let Some(resource) = resource(definition) else { return };
    for item in items.iter().filter(|item| item["metadata"]["deletionTimestamp"].is_null()) {
        plan.actions.extend(delete(&resource, item));
    }
    plan.again(AGAIN);
}

fn delete(resource: &ApiResource, item: &Value) -> Option<Action> {
    let meta = &item["metadata"];
    let key = Key::new(meta["namespace"].as_str().unwrap_or_default(), meta["name"].as_str()?);
    let uid = meta["uid"].as_str().map(str::to_owned);
    let preconditions = client::plan::Preconditions { uid, resource_version: None };
    let options = client::DeleteOptions { preconditions, ..Default::default() };
    Some(Action::Delete { at: Target { resource: resource.clone(), key, subresource: None }, options })
}

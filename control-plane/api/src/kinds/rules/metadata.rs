//! The metadata of every object: names, labels, annotations, finalizers, owners.

use super::at::{At, Errors};
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

/// What names of a kind may look like.
pub(super) type NameRule = fn(&str) -> Vec<String>;

/// Annotations of one object together, in bytes, as upstream's.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What every name must be: one step of a path.
pub(super) fn path_segment(name: &str) -> Vec<String> {
    match name {
        "." | ".." => return vec![format!("may not be '{name}'")],
        _ => {}
    }
    ["/", "%"].iter().filter(|c| name.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// Groups of kinds that take any finalizer that is a name; of all others one without a domain must be known.
const LOOSE: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "policy",
];

fn is_strict(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !LOOSE.contains(&group)
}

/// What every new object is asked, whatever its kind.
pub(super) fn common(root: &At<'_>) {
    parts(&root.field("metadata"), path_segment, false);
}

/// The metadata of an object by its kind's rules.
pub(super) fn of(root: &At<'_>, name: NameRule) {
    parts(&root.field("metadata"), name, is_strict(root.get("apiVersion")));
}

/// The metadata of an object. `at` is the place of the metadata.
pub(super) fn metadata(at: &At<'_>, name: NameRule) {
    parts(at, name, true);
}

/// The same; `standard` says whether finalizers without a domain must be among those that are known.
fn parts(at: &At<'_>, name: NameRule, standard: bool) {
    let (generate, own) = (at.field("generateName"), at.field("name"));
    if !generate.text().is_empty() {
        name(&masked(generate.text())).iter().for_each(|why| generate.invalid_text(generate.text(), why));
    }
    match own.text().is_empty() {
        true => own.required("name or generateName is required"),
        false => own.matches(name),
    }
    labels(&at.field("labels"));
    annotations(&at.field("annotations"));
    owners(&at.field("ownerReferences"));
    finalizers(&at.field("finalizers"), standard);
    owners_of_fields(&at.field("managedFields"));
}

/// As long as the name of a manager may be.
const MAX_MANAGER: usize = 128;
/// As long as the name of a subresource may be.
const MAX_SUBRESOURCE: usize = 256;

/// What a write leaves of entries has good types: only names can be wrong.
fn owners_of_fields(at: &At<'_>) {
    for one in at.items() {
        let (manager, subresource) = (one.field("manager"), one.field("subresource"));
        if manager.text().len() > MAX_MANAGER {
            manager.too_long(MAX_MANAGER);
        }
        for (i, c) in manager.text().char_indices().filter(|(_, c)| c.is_control()) {
            let why = format!("invalid character U+{:04X} (at position {i})", u32::from(c));
            manager.invalid_text(manager.text(), &why);
        }
        if subresource.text().len() > MAX_SUBRESOURCE {
            subresource.too_long(MAX_SUBRESOURCE);
        }
    }
}

/// The start of a name, with what may stand at its end for what follows: a dash that is last is none in the name.
fn masked(start: &str) -> String {
    match start.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let kept: String = rest.chars().take(rest.chars().count() - 1).collect();
            format!("{kept}a")
        }
        _ => start.to_owned(),
    }
}

/// The metadata of an object whose kind was defined at run time, as a new one or as a change of `old`.
pub(crate) fn custom_metadata(object: &Object, old: Option<&Object>, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let at = At::root(object, &errors).field("metadata");
    if let Some(old) = old {
        unchanged(&at, old);
    }
    parts(&at, names::dns1123_subdomain, false);
    out.extend(errors.into_list());
}

/// The metadata of an object within another; it may have no name.
pub(crate) fn embedded_metadata(meta: &Value, path: &str, out: &mut Vec<FieldError>) {
    let mut meta = meta.clone();
    let name = meta.get("name").and_then(Value::as_str).unwrap_or("");
    if name.is_empty() {
        meta.make_map().insert("name", "unnamed");
    }
    let (errors, nothing) = (Errors::default(), Object::default());
    parts(&At::root(&nothing, &errors).other(Some(&meta)).named(path), path_segment, false);
    let namespace = meta.get("namespace").and_then(Value::as_str).unwrap_or("");
    if !namespace.is_empty() {
        let at = At::root(&nothing, &errors).named(format!("{path}.namespace"));
        names::dns1123_label(namespace).iter().for_each(|why| at.invalid_text(namespace, why));
    }
    out.extend(errors.into_list());
}

/// Labels, or a selector of them that is a plain map.
pub(super) fn labels(at: &At<'_>) {
    for (key, value) in at.pairs() {
        names::qualified_name(key).iter().for_each(|why| at.invalid_text(key, why));
        let value = value.text();
        names::label_value(value).iter().for_each(|why| at.invalid_text(value, why));
    }
}

pub(super) fn annotations(at: &At<'_>) {
    let mut size = 0;
    for (key, value) in at.pairs() {
        names::qualified_name(&key.to_lowercase()).iter().for_each(|why| at.invalid_text(key, why));
        size += key.len() + value.text().len();
    }
    if size > MAX_ANNOTATIONS {
        at.too_long(MAX_ANNOTATIONS);
    }
}

const OWNER: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference";

fn owners(at: &At<'_>) {
    let mut controller: Option<At<'_>> = None;
    for one in at.items() {
        owner(at, &one);
        if !one.field("controller").truth() {
            continue;
        }
        if let Some(first) = &controller {
            let name = |o: &At<'_>| format!("{}/{}", o.get("kind"), o.get("name"));
            let why = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                name(first),
                name(&one)
            );
            at.invalid_typed(OWNER, &why);
        }
        controller.get_or_insert(one);
    }
}

fn owner(list: &At<'_>, one: &At<'_>) {
    let place = |key: &str| list.field(key);
    let (group, version) = one.get("apiVersion").split_once('/').unwrap_or(("", one.get("apiVersion")));
    // With more than one slash it is no version of anything.
    let version = if version.contains('/') { "" } else { version };
    if version.is_empty() {
        place("apiVersion").invalid_text(one.get("apiVersion"), "version must not be empty");
    }
    for key in ["kind", "name", "uid"] {
        if one.get(key).is_empty() {
            place(key).invalid_text("", "must not be empty");
        }
    }
    if one.get("kind") == "Event" && matches!((group, version), ("", "v1") | ("events.k8s.io", _)) {
        let why = format!("{group}/{version}, Kind=Event is disallowed from being an owner");
        list.other(one.value).invalid_typed(OWNER, &why);
    }
}

fn finalizers(at: &At<'_>, standard: bool) {
    let (mut orphan, mut foreground) = (false, false);
    for one in at.items() {
        let text = one.text();
        names::qualified_name(text).iter().for_each(|why| at.invalid_text(text, why));
        orphan |= text == "orphan";
        foreground |= text == "foregroundDeletion";
    }
    if orphan && foreground {
        at.invalid("finalizer orphan and foregroundDeletion cannot be both set");
    }
    if standard {
        known_finalizers(at);
    }
}

/// A finalizer without a domain is one that Kubernetes knows.
fn known_finalizers(at: &At<'_>) {
    for one in at.items() {
        // The last one is of upstream's extensions server, which takes any name.
        let known = ["orphan", "foregroundDeletion", "kubernetes", "customresourcecleanup.apiextensions.k8s.io"];
        if !one.text().contains('/') && !known.contains(&one.text()) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            one.invalid_text(one.text(), why);
        }
    }
}

/// What no update may change.
fn unchanged(at: &At<'_>, old: &Object) {
    let before = |key: &str| old.meta().and_then(|m| m.get(key)).filter(|v| !v.is_null());
    if old.deletion_timestamp().is_some() {
        let known: Vec<&str> = old.finalizers().collect();
        let finalizers = at.field("finalizers");
        let added: Vec<String> =
            finalizers.items().filter(|f| !known.contains(&f.text())).map(|f| format!("{:?}", f.text())).collect();
        if !added.is_empty() {
            finalizers.forbidden(&format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            ));
        }
    }
    for key in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let now = at.field(key);
        if now.value != before(key) {
            now.invalid("field is immutable");
        }
    }
    labels(&at.field("labels"));
    annotations(&at.field("annotations"));
    owners(&at.field("ownerReferences"));
}

/// Kinds whose own rules do not look again at what no update may change.
const ONCE: &[&str] = &[
    "CSINode",
    "EndpointSlice",
    "Event",
    "FlowSchema",
    "LimitRange",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "PersistentVolume",
    "PodDisruptionBudget",
    "PriorityLevelConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

/// Kinds whose updates are asked only what holds for updates, and not again what a new object must be.
const AS_CHANGES: &[&str] = &[
    "CSIDriver",
    "CronJob",
    "CustomResourceDefinition",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Lease",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PodTemplate",
    "PriorityClass",
    "ReplicaSet",
    "ReplicationController",
    "ResourceQuota",
    "ResourceSlice",
    "Service",
    "ServiceCIDR",
    "StatefulSet",
];

/// How often it is said that an update changes what none may change: for every object, and again by most kinds.
fn tellings(kind: &str) -> usize {
    if ONCE.contains(&kind) { 1 } else { 2 }
}

/// The metadata of an update: what every kind checks comes first, then what the kind's own rules found.
pub(super) fn update(new: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    let mut all = Vec::new();
    common_update(new, old, &mut all);
    if AS_CHANGES.contains(&new.kind()) {
        errors.retain(|e| !is_general(&e.path));
    }
    all.append(errors);
    *errors = all;
}

/// Whether complaints at this path are about metadata as all objects have it.
fn is_general(path: &str) -> bool {
    let Some(field) = path.strip_prefix("metadata.") else { return false };
    matches!(field, "annotations" | "generateName" | "labels" | "name")
        || field.starts_with("finalizers")
        || field.starts_with("ownerReferences")
}

/// What every update is asked.
pub(super) fn common_update(new: &Object, old: &Object, out: &mut Vec<FieldError>) {
    let found = Errors::default();
    let root = At::root(new, &found);
    let at = root.field("metadata");
    let again = new.kind() == "Event" && new.api_version() == "events.k8s.io/v1";
    parts(&at, path_segment, false);
    unchanged(&at, old);
    for _ in 1..tellings(new.kind()).max(1 + usize::from(again)) {
        unchanged(&at, old);
        if is_strict(new.api_version()) {
            known_finalizers(&at.field("finalizers"));
        }
    }
    out.extend(found.into_list());
}

/// Whether two values of a field differ; null is absent.
pub(super) fn differs(new: Option<&Value>, old: Option<&Value>) -> bool {
    new.filter(|v| !v.is_null()) != old.filter(|v| !v.is_null())
}

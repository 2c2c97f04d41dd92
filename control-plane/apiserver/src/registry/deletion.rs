//! What a delete does to an object: a pure decision.

use api::{FieldError, Kind, Map, Object, Status, Value, status::FieldReason};

/// The finalizers that propagation is asked for with.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Foreground,
    Background,
    Orphan,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Deletion {
    /// Remove it from the store; shown to the client like this.
    Remove(Object),
    /// Store it as terminating.
    Mark(Object),
    /// It is terminating already, and stays as it is.
    Stays,
}

/// Reads the options of a request: its body (`Null` where there is none) over its query.
pub(crate) fn options(body: &Value, query: &crate::request::Query) -> Result<DeleteOptions, Status> {
    let mut options = DeleteOptions::default();
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let asked = |key: &str| Some(query.get(key).to_owned()).filter(|v| !v.is_empty());
    let empty = body.is_null();
    options.grace_period_seconds = match asked("gracePeriodSeconds").filter(|_| empty) {
        Some(seconds) => Some(super::options::integer(&seconds)?),
        None => body.get("gracePeriodSeconds").and_then(Value::as_i64),
    };
    let propagation = text("propagationPolicy").or_else(|| asked("propagationPolicy").filter(|_| empty));
    let orphan = match (body.get("orphanDependents").and_then(Value::as_bool), query.has("orphanDependents")) {
        (None, true) => Some(query.is("orphanDependents")),
        (orphan, _) => orphan,
    };
    options.propagation = propagate(propagation.as_deref(), orphan)?;
    if let Some(preconditions) = body.get("preconditions") {
        let text = |key: &str| preconditions.get(key).and_then(Value::as_str).map(str::to_owned);
        (options.uid, options.resource_version) = (text("uid"), text("resourceVersion"));
    }
    let listed: Vec<&str> = match body.get("dryRun").and_then(Value::as_list) {
        Some(list) => list.iter().filter_map(Value::as_str).collect(),
        None => query.all("dryRun").collect(),
    };
    options.dry_run = super::options::dry_run(listed.into_iter(), "DeleteOptions")?;
    Ok(options)
}

fn propagate(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, Status> {
    let refuse = |reason, message: String| {
        let error = FieldError::new(reason, "propagationPolicy", message);
        Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &[error]))
    };
    match (policy, orphan) {
        (Some(policy), Some(_)) => refuse(
            FieldReason::Invalid,
            format!("Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set"),
        ),
        (Some("Foreground"), None) => Ok(Some(Propagation::Foreground)),
        (Some("Background"), None) | (None, Some(false)) => Ok(Some(Propagation::Background)),
        (Some("Orphan"), None) | (None, Some(true)) => Ok(Some(Propagation::Orphan)),
        (None, None) => Ok(None),
        (Some(other), None) => refuse(
            FieldReason::NotSupported,
            format!(
                "Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            ),
        ),
    }
}

/// Decides. `now` is RFC 3339; `later` makes the deadline of a grace period from it.
pub(crate) fn plan(kind: &Kind, object: &Object, options: &DeleteOptions, now: jiff::Timestamp) -> Deletion {
    let mut next = object.clone();
    let terminating = object.deletion_timestamp().is_some();
    if !is_namespace(kind) {
        set_finalizers(kind, &mut next, options.propagation);
    }
    if is_definition(kind) && !terminating {
        begin_cleanup(&mut next, now);
    }
    let grace = grace(kind, object, options.grace_period_seconds);
    let keeps = next.finalizers().next().is_some() || held_by_namespace(kind, object);
    match grace {
        Some(seconds) if terminating => shorten(&mut next, seconds, now),
        _ if terminating => {}
        // What goes at once is shown as it was.
        None if !keeps => {}
        _ => mark(kind, &mut next, grace.unwrap_or(0), now),
    }
    let waits = next.deletion_grace_period_seconds().unwrap_or(0) > 0;
    match keeps || waits {
        false => Deletion::Remove(next),
        true if next == *object => Deletion::Stays,
        true => Deletion::Mark(next),
    }
}

fn is_definition(kind: &Kind) -> bool {
    crate::lookup::DEFINITIONS.is(kind)
}

/// The objects of a CustomResourceDefinition go first: its finalizer waits for that, and a condition says so.
fn begin_cleanup(definition: &mut Object, now: jiff::Timestamp) {
    const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
    let mut finalizers: Vec<String> = definition.finalizers().map(str::to_owned).collect();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    definition.meta_mut().insert("finalizers", finalizers);
    let mut condition = Map::new();
    condition.insert("type", "Terminating");
    condition.insert("status", "True");
    condition.insert("lastTransitionTime", text(now, 0));
    condition.insert("reason", "InstanceDeletionPending");
    condition
        .insert("message", "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon");
    let known = definition.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or(&[]);
    let other = |c: &&Value| c.get("type").and_then(Value::as_str) != Some("Terminating");
    let mut conditions: Vec<Value> = known.iter().filter(other).cloned().collect();
    conditions.push(Value::Map(condition));
    definition.set(&["status", "conditions"], Value::List(conditions));
}

fn mark(kind: &Kind, object: &mut Object, grace: i64, now: jiff::Timestamp) {
    let meta = object.meta_mut();
    meta.insert("deletionTimestamp", text(now, grace));
    if !is_namespace(kind) {
        meta.insert("deletionGracePeriodSeconds", grace);
    }
    if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
        meta.insert("generation", generation + 1);
    }
    if is_namespace(kind) {
        object.set(&["status", "phase"], "Terminating");
    }
}

/// A grace period can only become shorter.
fn shorten(object: &mut Object, grace: i64, now: jiff::Timestamp) {
    if object.deletion_grace_period_seconds().is_some_and(|old| grace < old) {
        let meta = object.meta_mut();
        meta.insert("deletionTimestamp", text(now, grace));
        meta.insert("deletionGracePeriodSeconds", grace);
    }
}

fn text(now: jiff::Timestamp, seconds: i64) -> String {
    let at = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The grace of kinds that end gracefully: pods. `None` for all others, and for a repeated delete that asks for none.
fn grace(kind: &Kind, object: &Object, asked: Option<i64>) -> Option<i64> {
    if kind.names.plural != "pods" || !kind.names.group.is_empty() {
        return None;
    }
    if asked.is_none() && object.deletion_timestamp().is_some() {
        return None;
    }
    let seconds = asked.or_else(|| object.i64_at(&["spec", "terminationGracePeriodSeconds"])).unwrap_or(30);
    let seconds = if seconds < 0 { 1 } else { seconds };
    let ended = matches!(object.str_at(&["status", "phase"]), "Failed" | "Succeeded");
    Some(if ended || object.str_at(&["spec", "nodeName"]).is_empty() { 0 } else { seconds })
}

fn is_namespace(kind: &Kind) -> bool {
    kind.names.plural == "namespaces" && kind.names.group.is_empty()
}

fn held_by_namespace(kind: &Kind, object: &Object) -> bool {
    is_namespace(kind) && object.at(&["spec", "finalizers"]).and_then(Value::as_list).is_some_and(|l| !l.is_empty())
}

/// Kinds whose dependents are orphaned where nobody says otherwise (upstream's strategies of these first versions).
fn orphans_by_default(kind: &Kind) -> bool {
    matches!((&*kind.names.group, &*kind.names.plural), ("", "replicationcontrollers") | ("batch", "jobs"))
}

fn set_finalizers(kind: &Kind, object: &mut Object, asked: Option<Propagation>) {
    let had: Vec<String> = object.finalizers().map(str::to_owned).collect();
    let has = |name: &str| had.iter().any(|f| f == name);
    let (orphan, foreground) = match asked {
        Some(Propagation::Orphan) => (true, false),
        Some(Propagation::Foreground) => (false, true),
        Some(Propagation::Background) => (false, false),
        None if has(ORPHAN) => (true, false),
        None if has(FOREGROUND) => (false, true),
        None => (orphans_by_default(kind), false),
    };
    let mut finalizers: Vec<String> = had.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
    for (wanted, name) in [(orphan, ORPHAN), (foreground, FOREGROUND)] {
        if wanted {
            finalizers.push(name.to_owned());
        }
    }
    if finalizers == had {
        return;
    }
    match finalizers.is_empty() {
        true => drop(object.meta_mut().remove("finalizers")),
        false => drop(object.meta_mut().insert("finalizers", finalizers)),
    }
}

/// Whether an update has taken away the last thing that kept a terminating object.
pub(crate) fn is_over(kind: &Kind, object: &Object) -> bool {
    object.deletion_timestamp().is_some()
        && object.finalizers().next().is_none()
        && object.deletion_grace_period_seconds().unwrap_or(0) == 0
        && !held_by_namespace(kind, object)
}

/// The kinds whose delete answers with the object that was deleted; the others answer with a Status.
pub(crate) fn shows_object(kind: &Kind) -> bool {
    matches!(
        (&*kind.names.group, &*kind.names.plural),
        (
            "",
            "pods"
                | "services"
                | "podtemplates"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "resourcequotas"
                | "serviceaccounts"
        ) | (
            "storage.k8s.io",
            "storageclasses" | "volumeattachments" | "csidrivers" | "csinodes" | "volumeattributesclasses"
        ) | ("resource.k8s.io", _)
    )
}

/// The Status of a finished delete.
pub(crate) fn success(kind: &Kind, object: &Object) -> Value {
    let mut details = Map::new();
    details.insert("name", object.name());
    if !kind.names.group.is_empty() {
        details.insert("group", &*kind.names.group);
    }
    details.insert("kind", &*kind.names.plural);
    details.insert("uid", object.uid());
    let mut map = Map::new();
    map.insert("kind", "Status");
    map.insert("apiVersion", "v1");
    map.insert("metadata", Map::new());
    map.insert("status", "Success");
    map.insert("details", details);
    Value::Map(map)
}

//! What a delete does to an object: a pure decision.

use api::{FieldError, Kind, Map, Object, Status, Value, status::FieldReason};

/// The finalizers that propagation is asked for with.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// Whether the older form asked for dependents to go as well.
    pub cascades: bool,
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

/// Reads the options of a request: its body, or where there is none (`Null`) its query.
pub(crate) fn options(body: &Value, query: &crate::request::Query) -> Result<DeleteOptions, Status> {
    let (options, errors) = read(body, query)?;
    match errors.is_empty() {
        true => Ok(options),
        false => Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors)),
    }
}

/// The same, with all that is wrong in it.
pub(crate) fn read(body: &Value, query: &crate::request::Query) -> Result<(DeleteOptions, Vec<FieldError>), Status> {
    let mut options = DeleteOptions::default();
    let mut errors = Vec::new();
    let (policy, orphan, listed): (Option<&str>, Option<bool>, Vec<&str>) = match body.is_null() {
        true => {
            options.grace_period_seconds = super::options::number(query, "gracePeriodSeconds")?;
            let asked = |key: &str| query.has(key).then(|| query.get(key));
            let orphan = query.has("orphanDependents").then(|| query.is("orphanDependents"));
            (asked("propagationPolicy"), orphan, query.all("dryRun").collect())
        }
        false => {
            options.grace_period_seconds = body.get("gracePeriodSeconds").and_then(Value::as_i64);
            let listed = body.get("dryRun").and_then(Value::as_list).unwrap_or(&[]);
            (
                body.get("propagationPolicy").and_then(Value::as_str),
                body.get("orphanDependents").and_then(Value::as_bool),
                listed.iter().filter_map(Value::as_str).collect(),
            )
        }
    };
    options.propagation = propagate(policy, orphan, &mut errors);
    options.cascades = orphan == Some(false);
    if let Some(preconditions) = body.get("preconditions") {
        let text = |key: &str| preconditions.get(key).and_then(Value::as_str).map(str::to_owned);
        (options.uid, options.resource_version) = (text("uid"), text("resourceVersion"));
    }
    options.dry_run = super::options::dry_run(listed.into_iter(), &mut errors);
    Ok((options, errors))
}

fn propagate(policy: Option<&str>, orphan: Option<bool>, errors: &mut Vec<FieldError>) -> Option<Propagation> {
    let mut refuse = |reason, message: String| errors.push(FieldError::new(reason, "propagationPolicy", message));
    if let (Some(policy), Some(_)) = (policy, orphan) {
        let why = format!("Invalid value: {policy:?}: orphanDependents and deletionPropagation cannot be both set");
        refuse(FieldReason::Invalid, why);
    }
    match (policy, orphan) {
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (None, None) => None,
        (Some(other), _) => {
            let known = r#""Foreground", "Background", "Orphan", "nil""#;
            refuse(FieldReason::NotSupported, format!("Unsupported value: {other:?}: supported values: {known}"));
            None
        }
    }
}

/// Decides what becomes of an object that is to go at `now`.
pub(crate) fn plan(kind: &Kind, object: &Object, options: &DeleteOptions, now: jiff::Timestamp) -> Deletion {
    let mut next = object.clone();
    let terminating = object.deletion_timestamp().is_some();
    if is_definition(kind) && !terminating {
        begin_cleanup(&mut next, now);
        next.meta_mut().insert("deletionTimestamp", text(now, 0));
        return Deletion::Mark(next);
    }
    if is_namespace(kind) && !terminating {
        set_finalizers(kind, &mut next, options.propagation);
        next.meta_mut().insert("deletionTimestamp", text(now, 0));
        next.set(&["status", "phase"], "Terminating");
        return Deletion::Mark(next);
    }
    if held_by_namespace(kind, object) {
        return Deletion::Stays;
    }
    let grace = grace(kind, object, options.grace_period_seconds);
    match grace {
        Grace::Runs => return Deletion::Stays,
        Grace::None => {}
        Grace::Shorter(seconds) => end_in(&mut next, seconds, now),
        Grace::Begins(seconds) => {
            count(&mut next);
            end_in(&mut next, seconds, now);
        }
    }
    set_finalizers(kind, &mut next, options.propagation);
    let kept = next.finalizers().next().is_some();
    match grace {
        // What goes at once is shown as it was.
        Grace::None if !kept => return Deletion::Remove(object.clone()),
        Grace::None => mark(&mut next, now),
        Grace::Begins(0) | Grace::Shorter(0) if !kept => return Deletion::Remove(next),
        Grace::Begins(_) | Grace::Shorter(_) | Grace::Runs => {}
    }
    match next == *object {
        true => Deletion::Stays,
        false => Deletion::Mark(next),
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

/// What finalizers keep is on its way out.
fn mark(object: &mut Object, now: jiff::Timestamp) {
    let ends = object.deletion_timestamp().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    if ends.is_none() {
        count(object);
    }
    match ends.is_none_or(|ends| ends > now) {
        true => end_in(object, 0, now),
        false => drop(object.meta_mut().insert("deletionGracePeriodSeconds", 0)),
    }
}

/// A deletion that begins is a change of what is wanted.
fn count(object: &mut Object) {
    let meta = object.meta_mut();
    if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
        meta.insert("generation", generation + 1);
    }
}

fn end_in(object: &mut Object, seconds: i64, now: jiff::Timestamp) {
    let meta = object.meta_mut();
    meta.insert("deletionTimestamp", text(now, seconds));
    meta.insert("deletionGracePeriodSeconds", seconds);
}

fn text(now: jiff::Timestamp, seconds: i64) -> String {
    let at = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How a kind that ends gracefully goes: pods do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grace {
    /// There is none, or it is over.
    None,
    /// That of an earlier delete is running, and is not made longer.
    Runs,
    Begins(i64),
    Shorter(i64),
}

fn grace(kind: &Kind, object: &Object, asked: Option<i64>) -> Grace {
    if kind.names.plural != "pods" || !kind.names.group.is_empty() {
        return Grace::None;
    }
    let some = |seconds: i64| if seconds < 0 { 1 } else { seconds };
    if object.deletion_timestamp().is_some() {
        return match (object.deletion_grace_period_seconds().unwrap_or(0), asked.map(some)) {
            (0, _) => Grace::None,
            (running, Some(shorter)) if shorter < running => Grace::Shorter(shorter),
            _ => Grace::Runs,
        };
    }
    let seconds = asked.or_else(|| object.i64_at(&["spec", "terminationGracePeriodSeconds"])).unwrap_or(0);
    let ended = matches!(object.str_at(&["status", "phase"]), "Failed" | "Succeeded");
    Grace::Begins(if ended || object.str_at(&["spec", "nodeName"]).is_empty() { 0 } else { some(seconds) })
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

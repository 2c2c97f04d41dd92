//! Events, in both groups: those of `events.k8s.io/v1` have stricter rules. Messages name the fields of the core group.

use super::at::{At, Errors};
use super::metadata::{self, differs};
use crate::kind::Context;
use crate::kinds::EVENT_NAMES;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

/// How long an action, a reason and the name of a reporter may be.
const MAX_WORD: usize = 128;
const MAX_NOTE: usize = 1024;
/// One event is no series.
const SERIES_MIN: i64 = 2;

/// A field by its name in `events.k8s.io/v1`, whatever group the event came through.
fn field<'a>(root: &At<'a>, name: &str) -> At<'a> {
    let Some((_, core)) = EVENT_NAMES.iter().find(|(own, _)| *own == name) else { return root.field(name) };
    if root.has(name) { root.field(name).named(*core) } else { root.field(core) }
}

/// Its complaints name it as its group does.
fn controller<'a>(root: &At<'a>) -> At<'a> {
    root.field(if strict(root) { "reportingController" } else { "reportingComponent" })
}

fn strict(root: &At<'_>) -> bool {
    root.get("apiVersion") == "events.k8s.io/v1"
}

pub(in crate::kinds) fn event(object: &Object, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    always(&root);
    if !strict(&root) && errors.count() == 0 {
        metadata::common(&root);
    } else if strict(&root) {
        metadata::metadata(&root.field("metadata"), names::dns1123_subdomain);
        series(&root.field("series"));
        fresh(&root);
    }
    out.extend(errors.into_list());
}

/// What holds for every event; one without a time of its own is of the old kind.
fn always(root: &At<'_>) {
    let namespace = root.fields(&["metadata", "namespace"]);
    let about = field(root, "regarding").field("namespace");
    let elsewhere = || about.invalid_text(about.text(), "does not match event.namespace");
    if root.has("eventTime") {
        if about.text().is_empty() && !matches!(namespace.text(), "default" | "kube-system") {
            elsewhere();
        }
        let reporter = controller(root);
        reporter.not_empty();
        reporter.matches(names::qualified_name);
        for name in ["reportingInstance", "action", "reason"] {
            let word = root.field(name);
            word.not_empty();
            if word.text().len() > MAX_WORD {
                word.invalid_text("", &format!("can have at most {MAX_WORD} characters"));
            }
        }
        let note = field(root, "note");
        if note.text().len() > MAX_NOTE {
            note.named("message").invalid_text("", &format!("can have at most {MAX_NOTE} characters"));
        }
    } else if about.text().is_empty() {
        if !matches!(namespace.text(), "" | "default") {
            elsewhere();
        }
    } else if about.text() != namespace.text() {
        elsewhere();
    }
    namespace.named("namespace").matches(names::dns1123_subdomain);
}

fn series(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let count = at.field("count");
    if count.int().unwrap_or(0) < SERIES_MIN {
        count.invalid_text("", &format!("should be at least {SERIES_MIN}"));
    }
    if !at.has("lastObservedTime") {
        at.field("lastObservedTime").required("");
    }
}

/// New events say when and of which type, and leave the fields of the old kind alone.
fn fresh(root: &At<'_>) {
    if !root.has("eventTime") {
        root.field("eventTime").required("");
    }
    if !matches!(root.get("type"), "Normal" | "Warning") {
        root.field("type").invalid_text("", &format!("has invalid value: {}", root.get("type")));
    }
    for name in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount", "deprecatedSource"] {
        let old = field(root, name);
        let set = match name {
            "deprecatedCount" => old.int().unwrap_or(0) != 0,
            "deprecatedSource" => ["component", "host"].iter().any(|key| !old.get(key).is_empty()),
            _ => old.is(),
        };
        if set {
            old.invalid_text("", "needs to be unset");
        }
    }
}

pub(in crate::kinds) fn event_update(new: &Object, old: &Object, _: Context<'_>, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(new, &errors);
    out.clear();
    always(&root);
    if !strict(&root) {
        out.extend(errors.into_list());
        return metadata::update(new, old, out);
    }
    if differs(root.field("series").value, old.at(&["series"])) {
        series(&root.field("series"));
    }
    for name in FIXED {
        let at = field(&root, name);
        match *name {
            "eventTime" if same_time(&at, old.at(&[name])) => {}
            _ if differs(at.value, field_of(old, name)) => fixed(&at, name),
            _ => {}
        }
    }
    out.extend(errors.into_list());
    metadata::update(new, old, out);
}

/// What an event tells stays as it was told, the reason being so important that upstream asks twice.
const FIXED: &[&str] = &[
    "regarding",
    "reason",
    "note",
    "deprecatedSource",
    "deprecatedFirstTimestamp",
    "deprecatedLastTimestamp",
    "deprecatedCount",
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
];

fn fixed(at: &At<'_>, name: &str) {
    const WHY: &str = "field is immutable";
    let at = &match name {
        "note" => at.named("message"),
        "reportingController" => at.named("reportingController"),
        _ => at.clone(),
    };
    match name {
        "regarding" => at.invalid_inner("io.k8s.api.core.v1.ObjectReference", WHY),
        "related" if at.is() => at.invalid_inner("io.k8s.api.core.v1.ObjectReference", WHY),
        "deprecatedSource" => at.invalid_inner("io.k8s.api.core.v1.EventSource", WHY),
        "deprecatedCount" => at.invalid_as(&at.int().unwrap_or(0).to_string(), WHY),
        "related" | "eventTime" | "deprecatedFirstTimestamp" | "deprecatedLastTimestamp" => at.invalid(WHY),
        _ => at.invalid_text(at.text(), WHY),
    }
}

/// A field of the stored event, whatever group it came through; what says nothing is not there.
fn field_of<'a>(old: &'a Object, name: &str) -> Option<&'a Value> {
    let core = EVENT_NAMES.iter().find(|(own, _)| *own == name).map(|(_, core)| *core);
    old.at(&[name]).or_else(|| old.at(&[core?]))
}

/// Times are the same to the microsecond: finer ones are lost on the way.
fn same_time(at: &At<'_>, old: Option<&Value>) -> bool {
    let micros = |value: Option<&Value>| -> Option<i64> {
        let time: jiff::Timestamp = value?.as_str()?.parse().ok()?;
        Some(time.as_microsecond())
    };
    micros(at.value) == micros(old)
}

//! Rows of what runs pods: deployments, sets, jobs.

use super::age::{age, human_duration, seconds};
use super::row;
use super::text::{NONE, UNSET, condition, containers, int, items, labels, or, part, selector};
use crate::kind::Kind;
use crate::object::Object;
use crate::value::Value;

const TEMPLATE: [&str; 3] = ["spec", "template", "spec"];

fn ready_of(object: &Object) -> Value {
    let number = |path: &[&str]| object.i64_at(path).unwrap_or(0);
    Value::from(format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"])))
}

fn template(object: &Object, column: &str) -> Option<Value> {
    Some(match column {
        "Containers" => containers(object, &TEMPLATE, "name"),
        "Images" => containers(object, &TEMPLATE, "image"),
        "Selector" => selector(object.at(&["spec", "selector"])),
        _ => return None,
    })
}

pub(crate) fn deployments(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Ready" => ready_of(object),
            "Up-to-date" => int(object, &["status", "updatedReplicas"]),
            "Available" => int(object, &["status", "availableReplicas"]),
            _ => return template(object, column),
        })
    })
}

pub(crate) fn replica_sets(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Desired" => int(object, &["spec", "replicas"]),
            "Current" => int(object, &["status", "replicas"]),
            "Ready" => int(object, &["status", "readyReplicas"]),
            // A ReplicationController's is a plain map.
            "Selector" if kind.names.group.is_empty() => labels(object.at(&["spec", "selector"])),
            _ => return template(object, column),
        })
    })
}

pub(crate) fn stateful_sets(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| match column {
        "Ready" => Some(ready_of(object)),
        _ => template(object, column),
    })
}

pub(crate) fn daemon_sets(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Desired" => int(object, &["status", "desiredNumberScheduled"]),
            "Current" => int(object, &["status", "currentNumberScheduled"]),
            "Ready" => int(object, &["status", "numberReady"]),
            "Up-to-date" => int(object, &["status", "updatedNumberScheduled"]),
            "Available" => int(object, &["status", "numberAvailable"]),
            "Node Selector" => labels(object.at(&["spec", "template", "spec", "nodeSelector"])),
            _ => return template(object, column),
        })
    })
}

pub(crate) fn controller_revisions(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Controller" => Value::from(controller(object)),
            "Revision" => int(object, &["revision"]),
            _ => return None,
        })
    })
}

fn controller(object: &Object) -> String {
    let owners = items(object, &["metadata", "ownerReferences"]);
    let Some(owner) = owners.iter().find(|o| o.get("controller") == Some(&Value::Bool(true))) else {
        return NONE.into();
    };
    let group = part(owner, &["apiVersion"]).split_once('/').map_or(String::new(), |(g, _)| format!(".{g}"));
    format!("{}{group}/{}", part(owner, &["kind"]).to_lowercase(), part(owner, &["name"]))
}

pub(crate) fn jobs(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Status" => Value::from(job_status(object)),
            "Completions" => Value::from(completions(object)),
            "Duration" => Value::from(job_duration(object, now)),
            _ => return template(object, column),
        })
    })
}

fn job_status(object: &Object) -> &'static str {
    let has = |kind: &str| condition(object, kind) == "True";
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if object.deletion_timestamp().is_some() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(object: &Object) -> String {
    let done = object.i64_at(&["status", "succeeded"]).unwrap_or(0);
    match (object.i64_at(&["spec", "completions"]), object.i64_at(&["spec", "parallelism"]).unwrap_or(0)) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn job_duration(object: &Object, now: i64) -> String {
    let at = |field: &str| seconds(object.str_at(&["status", field]));
    match at("startTime") {
        Some(start) => human_duration(at("completionTime").unwrap_or(now) - start),
        None => String::new(),
    }
}

pub(crate) fn cron_jobs(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    const INNER: [&str; 5] = ["spec", "jobTemplate", "spec", "template", "spec"];
    row(kind, object, now, |column| {
        Some(match column {
            "Schedule" => Value::from(object.str_at(&["spec", "schedule"])),
            "Timezone" => or(object.str_at(&["spec", "timeZone"]), NONE),
            "Suspend" => Value::from(match object.bool_at(&["spec", "suspend"]) {
                None => UNSET,
                Some(true) => "True",
                Some(false) => "False",
            }),
            "Active" => Value::from(items(object, &["status", "active"]).len() as i64),
            "Last Schedule" => match object.str_at(&["status", "lastScheduleTime"]) {
                "" => Value::from(NONE),
                time => age(time, now),
            },
            "Containers" => containers(object, &INNER, "name"),
            "Images" => containers(object, &INNER, "image"),
            "Selector" => selector(object.at(&["spec", "jobTemplate", "spec", "selector"])),
            _ => return None,
        })
    })
}

pub(crate) fn disruption_budgets(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    use super::text::int_or_text;
    row(kind, object, now, |column| {
        Some(match column {
            "Min Available" => int_or_text(object.at(&["spec", "minAvailable"]), "N/A"),
            "Max Unavailable" => int_or_text(object.at(&["spec", "maxUnavailable"]), "N/A"),
            "Allowed Disruptions" => int(object, &["status", "disruptionsAllowed"]),
            _ => return None,
        })
    })
}

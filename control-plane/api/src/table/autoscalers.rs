//! Rows of HorizontalPodAutoscalers: what is measured against what is aimed at.

use super::row;
use super::text::{NONE, UNSET, items, part};
use crate::kind::Kind;
use crate::object::Object;
use crate::value::Value;

/// How many metrics are shown.
const SHOWN: usize = 2;

pub(crate) fn autoscalers(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    cells(kind, object, now, &targets(object))
}

pub(crate) fn autoscalers_v1(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    let percent = |path: &[&str]| object.i64_at(path).map(|p| format!("{p}%"));
    let target = match percent(&["spec", "targetCPUUtilizationPercentage"]) {
        None => NONE.to_owned(),
        Some(target) => {
            let now = percent(&["status", "currentCPUUtilizationPercentage"]).unwrap_or("<unknown>".into());
            format!("cpu: {now}/{target}")
        }
    };
    cells(kind, object, now, &target)
}

fn cells(kind: &Kind, object: &Object, now: i64, targets: &str) -> Vec<Value> {
    let scaled = ["spec", "scaleTargetRef"];
    row(kind, object, now, |column| {
        Some(match column {
            "Reference" => {
                let target = object.at(&scaled).unwrap_or(&Value::Null);
                Value::from(format!("{}/{}", part(target, &["kind"]), part(target, &["name"])))
            }
            "Targets" => Value::from(targets),
            "MinPods" => {
                let least = object.i64_at(&["spec", "minReplicas"]);
                Value::from(least.map_or_else(|| UNSET.into(), |least| least.to_string()))
            }
            "MaxPods" => Value::from(object.i64_at(&["spec", "maxReplicas"]).unwrap_or(0)),
            "Replicas" => Value::from(object.i64_at(&["status", "currentReplicas"]).unwrap_or(0)),
            _ => return None,
        })
    })
}

fn targets(object: &Object) -> String {
    let specs = items(object, &["spec", "metrics"]);
    let current = items(object, &["status", "currentMetrics"]);
    let all: Vec<String> = specs.iter().enumerate().map(|(i, spec)| target(spec, current.get(i))).collect();
    match all.len() {
        0 => NONE.into(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(", "), n - SHOWN),
        _ => all.join(", "),
    }
}

fn target(spec: &Value, status: Option<&Value>) -> String {
    let source = match part(spec, &["type"]) {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".into(),
    };
    let (aim, now) = (spec.at(&[source, "target"]), status.and_then(|s| s.at(&[source, "current"])));
    let has = |key: &str| aim.is_some_and(|a| a.get(key).is_some());
    let (key, note) = match source {
        _ if has("averageUtilization") => ("averageUtilization", ""),
        "object" | "external" if has("averageValue") => ("averageValue", " (avg)"),
        _ if has("averageValue") => ("averageValue", ""),
        _ => ("value", ""),
    };
    let shown = |v: Option<&Value>, key: &str| match v.map(|v| v.get(key)) {
        Some(Some(Value::Int(i))) => format!("{i}%"),
        Some(Some(Value::Str(text))) => text.to_string(),
        // As Go prints a quantity that is not there.
        Some(_) if key != "averageUtilization" && note.is_empty() => "<nil>".into(),
        _ => "<unknown>".into(),
    };
    let name = match source {
        "resource" | "containerResource" => format!("{}: ", part(spec, &[source, "name"])),
        _ => String::new(),
    };
    format!("{name}{}/{}{note}", shown(now, key), shown(aim, key))
}

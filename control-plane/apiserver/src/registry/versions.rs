//! Resources that are served in two versions and stored in one: Events (stored as core/v1) and
//! HorizontalPodAutoscalers (stored as autoscaling/v2).

use api::{Kind, Map, Value};

/// Events' names in events.k8s.io/v1 and in core/v1; all others are the same.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

/// Whether objects of this kind may look other than they are stored: they are stored in another version, or by an older
/// definition of their kind.
pub(crate) fn is_view(kind: &Kind) -> bool {
    is_event(kind) || is_autoscaler(kind) || kind.custom.as_ref().is_some_and(|c| !c.stored_as_shown)
}

/// The group and version that objects of this kind are stored in.
pub(crate) fn stored_as(kind: &Kind) -> (&str, &str) {
    match kind {
        _ if is_event(kind) => ("", "v1"),
        _ if is_autoscaler(kind) => ("autoscaling", "v2"),
        _ => (&kind.names.group, &kind.names.version),
    }
}

fn is_event(kind: &Kind) -> bool {
    kind.names.plural == "events" && kind.names.group == "events.k8s.io"
}

fn is_autoscaler(kind: &Kind) -> bool {
    kind.names.plural == "horizontalpodautoscalers" && kind.names.version == "v1"
}

/// From the stored version into the kind's. Always-shown fields of the other version are the schema pass's to add.
pub(super) fn to_view(kind: &Kind, map: &mut Map) {
    if is_event(kind) {
        rename(map, EVENT_FIELDS.iter().map(|(view, stored)| (*stored, *view)));
    } else if is_autoscaler(kind) {
        one_metric(map);
    }
}

/// From the kind's version into the stored one.
pub(super) fn from_view(kind: &Kind, map: &mut Map) {
    if is_event(kind) {
        rename(map, EVENT_FIELDS.iter().copied());
    } else if is_autoscaler(kind) {
        many_metrics(map);
    }
}

fn rename(map: &mut Map, names: impl Iterator<Item = (&'static str, &'static str)>) {
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to, value);
        }
    }
}

fn is_cpu(metric: &Value) -> bool {
    metric.at(&["resource", "name"]).and_then(Value::as_str) == Some("cpu")
}

/// autoscaling/v1 knows one metric: the CPU's utilization.
fn one_metric(map: &mut Map) {
    if let Some(spec) = map.get_mut("spec").and_then(Value::as_map_mut) {
        let metrics = spec.remove("metrics");
        spec.remove("behavior");
        let cpu = metrics.as_ref().and_then(Value::as_list).and_then(|l| l.iter().find(|m| is_cpu(m)));
        if let Some(target) = cpu.and_then(|m| m.at(&["resource", "target", "averageUtilization"])) {
            spec.insert("targetCPUUtilizationPercentage", target.clone());
        }
    }
    if let Some(status) = map.get_mut("status").and_then(Value::as_map_mut) {
        let metrics = status.remove("currentMetrics");
        status.remove("conditions");
        let cpu = metrics.as_ref().and_then(Value::as_list).and_then(|l| l.iter().find(|m| is_cpu(m)));
        if let Some(now) = cpu.and_then(|m| m.at(&["resource", "current", "averageUtilization"])) {
            status.insert("currentCPUUtilizationPercentage", now.clone());
        }
    }
}

fn many_metrics(map: &mut Map) {
    for (part, field, list, key) in [
        ("spec", "targetCPUUtilizationPercentage", "metrics", "target"),
        ("status", "currentCPUUtilizationPercentage", "currentMetrics", "current"),
    ] {
        let Some(part) = map.get_mut(part).and_then(Value::as_map_mut) else { continue };
        let Some(percent) = part.remove(field) else { continue };
        let mut target = Map::new();
        if key == "target" {
            target.insert("type", "Utilization");
        }
        target.insert("averageUtilization", percent);
        let mut resource = Map::new();
        resource.insert("name", "cpu");
        resource.insert(key, target);
        let mut metric = Map::new();
        metric.insert("type", "Resource");
        metric.insert("resource", resource);
        part.insert(list, vec![metric]);
    }
}

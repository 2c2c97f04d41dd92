//! HorizontalPodAutoscalers.

use super::fill::{list, made, map, put, sub};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use crate::value::{Map, Value};
use std::borrow::Cow;

pub static HORIZONTAL_POD_AUTOSCALER: Kind = Kind {
    names: names!(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        ["hpa"],
        ["all"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler"),
    subresources: subresources![("status", "", "", "HorizontalPodAutoscaler", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Reference", "string", "", 0),
        ("Targets", "string", "", 0),
        ("MinPods", "string", "", 0),
        ("MaxPods", "string", "", 0),
        ("Replicas", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    default: v1,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::autoscalers_v1,
    validate: rules::autoscaler_v1,
    validate_update: rules::autoscaler_update,
    ..Kind::PLAIN
};

pub static HORIZONTAL_POD_AUTOSCALER_V2: Kind = Kind {
    names: names!(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        ["hpa"],
        ["all"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"),
    subresources: subresources![("status", "", "", "HorizontalPodAutoscaler", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Reference", "string", "", 0),
        ("Targets", "string", "", 0),
        ("MinPods", "string", "", 0),
        ("MaxPods", "string", "", 0),
        ("Replicas", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    default: v2,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::autoscalers,
    validate: rules::autoscaler,
    validate_update: rules::autoscaler_update,
    ..Kind::PLAIN
};

/// Of the CPU that pods ask for, in percent, where nothing is said about what to aim at.
const CPU_PERCENT: i64 = 80;

fn v1(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put(spec, "minReplicas", 1);
    put(spec, "targetCPUUtilizationPercentage", CPU_PERCENT);
}

fn v2(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put(spec, "minReplicas", 1);
    if spec.get("metrics").and_then(Value::as_list).is_none_or(<[Value]>::is_empty) {
        let target = map([("type", "Utilization".into()), ("averageUtilization", CPU_PERCENT.into())]);
        let resource = map([("name", "cpu".into()), ("target", target)]);
        spec.insert("metrics", list([map([("type", "Resource".into()), ("resource", resource)])]));
    }
    if let Some(behavior) = sub(spec, "behavior") {
        behave(behavior);
    }
}

fn policy(kind: &str, value: i64) -> Value {
    map([("type", kind.into()), ("value", value.into()), ("periodSeconds", 15.into())])
}

/// Up: at once, by four pods or to the double every 15 seconds. Down: to nothing every 15 seconds.
fn behave(behavior: &mut Map) {
    let up = made(behavior, "scaleUp");
    put(up, "stabilizationWindowSeconds", 0);
    put(up, "selectPolicy", "Max");
    put(up, "policies", list([policy("Pods", 4), policy("Percent", 100)]));
    let down = made(behavior, "scaleDown");
    put(down, "selectPolicy", "Max");
    put(down, "policies", list([policy("Percent", 100)]));
}

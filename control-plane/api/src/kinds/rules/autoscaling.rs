//! HorizontalPodAutoscalers.

use super::at::At;
use super::words;
use super::workloads::checked;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;

const METRICS: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

pub(in crate::kinds) fn autoscaler(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let (least, most) = (spec.field("minReplicas"), spec.field("maxReplicas"));
        let lowest = least.int().unwrap_or(1);
        if lowest < 1 {
            least.invalid("must be greater than or equal to 1");
        }
        let highest = most.int().unwrap_or(0);
        if highest < 1 {
            most.required("must be set and greater than 0");
        }
        if highest < lowest {
            most.invalid_as(&highest.to_string(), "must be greater than or equal to `minReplicas`");
        }
        target(&spec.field("scaleTargetRef"));
        let metrics = spec.field("metrics");
        metrics.items().for_each(|m| metric(&m));
        let outside = |m: &At<'_>| matches!(m.get("type"), "Object" | "External");
        if least.int() == Some(0) && !metrics.items().any(|m| outside(&m)) {
            metrics
                .forbidden("must specify at least one Object or External metric to support scaling to zero replicas");
        }
        for direction in ["scaleUp", "scaleDown"] {
            behavior(&spec.fields(&["behavior", direction]));
        }
    });
}

fn target(at: &At<'_>) {
    for key in ["kind", "name"] {
        at.field(key).required_matches(super::metadata::path_segment);
    }
    let version = at.field("apiVersion");
    match version.text() {
        "" => version.invalid_text("", "apiVersion must specify API group"),
        "v1" => {}
        text if !text.contains('/') => version.invalid("apiVersion must specify API group"),
        _ => {}
    }
}

fn source(kind: &str) -> &'static str {
    match kind {
        "ContainerResource" => "containerResource",
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        _ => "resource",
    }
}

fn metric(at: &At<'_>) {
    let kind = at.field("type");
    if kind.text().is_empty() {
        kind.required("must specify a metric source type");
    }
    kind.one_of(METRICS);
    for name in ["object", "pods", "resource", "containerResource", "external"] {
        if at.has(name) {
            metric_source(&at.field(name), name);
        }
    }
    if !METRICS.contains(&kind.text()) {
        return kind.unsupported(METRICS);
    }
    let wanted = source(kind.text());
    if !at.has(wanted) {
        at.field(wanted).required("must populate information for the given metric source");
    }
}

fn metric_source(at: &At<'_>, name: &str) {
    let goal = at.field("target");
    let positive = |key: &str| words::amount(&goal.field(key)).is_some_and(|q| q.signum() > 0);
    let kind = goal.field("type");
    match kind.text() {
        "" => kind.required("must specify a metric target type"),
        "Utilization" | "Value" | "AverageValue" => {}
        _ => kind.invalid("must be either Utilization, Value, or AverageValue"),
    }
    match name {
        "resource" | "containerResource" => {
            at.field("name").not_empty();
            let utilization = goal.field("averageUtilization");
            if utilization.int().is_some_and(|u| u < 1) {
                utilization.invalid("must be greater than 0");
            }
            if !utilization.is() && !positive("averageValue") {
                let why = "must specify either a positive target raw value or a target utilization";
                goal.field("averageUtilization").required(why);
            }
        }
        "pods" => {
            at.fields(&["metric", "name"]).required_matches(super::metadata::path_segment);
            if !positive("averageValue") {
                goal.field("averageValue").required("must specify a positive target averageValue");
            }
        }
        _ => {
            at.fields(&["metric", "name"]).required_matches(super::metadata::path_segment);
            if !positive("averageValue") && !positive("value") {
                goal.field("averageValue").required("must set either a target value for metric or a per-pod target");
            }
        }
    }
}

fn behavior(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let window = at.field("stabilizationWindowSeconds");
    window.not_negative();
    if window.int().is_some_and(|w| w > 3600) {
        window.invalid("must be less than or equal to 3600");
    }
    at.field("selectPolicy").maybe_one_of(&["Disabled", "Max", "Min"]);
    let policies = at.field("policies");
    if policies.is_empty() {
        policies.required("must specify at least one Policy");
    }
    for policy in policies.items() {
        policy.field("type").one_of(&["Percent", "Pods"]);
        for key in ["value", "periodSeconds"] {
            let number = policy.field(key);
            let held = number.int().unwrap_or(0);
            if held <= 0 {
                number.invalid_as(&held.to_string(), "must be greater than zero");
            }
            if key == "periodSeconds" && held > 1800 {
                number.invalid("must be less than or equal to 1800");
            }
        }
    }
}

/// The old version says its one metric in a field of its own, so only what both have is checked.
pub(in crate::kinds) fn autoscaler_v1(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let (lowest, highest) = (spec.field("minReplicas").int().unwrap_or(1), spec.field("maxReplicas"));
        if highest.int().unwrap_or(0) < 1 {
            highest.required("must be set and greater than 0");
        }
        if highest.int().unwrap_or(0) < lowest {
            let shown = highest.int().unwrap_or(0).to_string();
            highest.invalid_as(&shown, "must be greater than or equal to `minReplicas`");
        }
        target(&spec.field("scaleTargetRef"));
    });
}

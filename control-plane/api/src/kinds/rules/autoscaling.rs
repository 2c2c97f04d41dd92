//! HorizontalPodAutoscalers.

use super::at::At;
use super::workloads::{checked, status_updated};
use super::{resources, words};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;

const METRICS: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

pub(in crate::kinds) fn autoscaler(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let (least, most) = (spec.field("minReplicas"), spec.field("maxReplicas"));
        replicas(&least, &most);
        target(&spec.field("scaleTargetRef"));
        spec.field("metrics").items().for_each(|m| metric(&m));
        measured_outside(&spec);
        for direction in ["scaleUp", "scaleDown"] {
            behavior(&spec.fields(&["behavior", direction]));
        }
    });
}

fn replicas(least: &At<'_>, most: &At<'_>) {
    let (lowest, highest) = (least.int(), most.int().unwrap_or(0));
    if lowest.is_some_and(|l| l < 1) {
        least.invalid("must be greater than or equal to 1");
    }
    match highest {
        0 => most.required("must be set and greater than 0"),
        1.. => {}
        _ => most.invalid("must be greater than or equal to 1"),
    }
    if lowest.is_some_and(|l| highest < l) {
        most.invalid_as(&highest.to_string(), "must be greater than or equal to `minReplicas`");
    }
}

/// Without pods there is nothing to measure in them.
fn measured_outside(spec: &At<'_>) {
    let metrics = spec.field("metrics");
    let outside = metrics.items().any(|m| matches!(m.get("type"), "Object" | "External"));
    if spec.field("minReplicas").int() == Some(0) && !outside {
        metrics.forbidden("must specify at least one Object or External metric to support scaling to zero replicas");
    }
}

fn target(at: &At<'_>) {
    named_object(at);
    let version = at.field("apiVersion");
    match version.text() {
        "" => version.invalid_text("", "apiVersion must specify API group"),
        "v1" => {}
        text if !text.contains('/') => version.invalid("apiVersion must specify API group"),
        _ => {}
    }
}

fn named_object(at: &At<'_>) {
    for key in ["kind", "name"] {
        at.field(key).required_matches(super::metadata::path_segment);
    }
    let version = at.field("apiVersion");
    if version.text().split('/').count() > 2 {
        version.invalid(&format!("unexpected GroupVersion string: {}", version.text()));
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
    let mut set = ["object", "external", "pods", "resource", "containerResource"].map(|s| at.field(s)).to_vec();
    set.retain(At::is);
    if let Some(first) = set.first() {
        metric_source(first, first.path.rsplit('.').next().unwrap_or(""));
    }
    let wanted = source(kind.text());
    match METRICS.contains(&kind.text()) {
        false => kind.unsupported(METRICS),
        true if at.has(wanted) => {}
        true => at.field(wanted).required("must populate information for the given metric source"),
    }
    if set.len() > 1 {
        let known = METRICS.contains(&kind.text());
        for other in set.iter().filter(|s| !(known && s.path.ends_with(&format!(".{wanted}")))) {
            other.forbidden("must populate the given metric source only");
        }
    }
}

fn metric_source(at: &At<'_>, name: &str) {
    let goal = at.field("target");
    match name {
        "resource" | "containerResource" => return resource_source(at, name, &goal),
        "object" => named_object(&at.field("describedObject")),
        _ => {}
    }
    let metric = at.fields(&["metric", "name"]);
    match metric.is_empty() {
        true => metric.required("must specify a metric name"),
        false => metric.matches(super::metadata::path_segment),
    }
    metric_target(&goal);
    let (whole, each) = (goal.field("value"), goal.field("averageValue"));
    match name {
        "pods" if !each.is() => each.required("must specify a positive target averageValue"),
        "object" if !whole.is() && !each.is() => each.required("must set either a target value or averageValue"),
        "external" if !whole.is() && !each.is() => {
            each.required("must set either a target value for metric or a per-pod target");
        }
        "external" if whole.is() && each.is() => {
            whole.forbidden("may not set both a target value for metric and a per-pod target");
        }
        _ => {}
    }
}

fn resource_source(at: &At<'_>, name: &str, goal: &At<'_>) {
    let resource = at.field("name");
    if resource.is_empty() {
        resource.required("must specify a resource name");
    } else if name == "containerResource" {
        resources::container_resource(&resource, resource.text());
    }
    if name == "containerResource" {
        let container = at.field("container");
        match container.is_empty() {
            true => container.required("must specify a container"),
            false => container.matches(names::dns1123_label),
        }
    }
    metric_target(goal);
    let (raw, share) = (goal.field("averageValue"), goal.field("averageUtilization"));
    match (raw.is(), share.is()) {
        (false, false) => share.required("must set either a target raw value or a target utilization"),
        (true, true) => raw.forbidden("may not set both a target raw value and a target utilization"),
        _ => {}
    }
}

fn metric_target(at: &At<'_>) {
    let kind = at.field("type");
    if kind.is_empty() {
        kind.required("must specify a metric target type");
    }
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        kind.invalid_text(kind.text(), "must be either Utilization, Value, or AverageValue");
    }
    for key in ["value", "averageValue"] {
        if let Some(amount) = words::amount(&at.field(key)).filter(|q| q.signum() <= 0) {
            at.field(key).invalid_text(&amount.to_string(), "must be positive");
        }
    }
    utilization(&at.field("averageUtilization"));
}

fn utilization(at: &At<'_>) {
    if at.int().is_some_and(|u| u < 1) {
        at.invalid("must be greater than 0");
    }
}

fn behavior(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let window = at.field("stabilizationWindowSeconds");
    if window.int().is_some_and(|w| w < 0) {
        window.invalid("must be greater than or equal to zero");
    }
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
    words::amount_not_negative(&at.field("tolerance"));
}

/// The old version says its one metric in a field of its own, so only what both have is checked.
pub(in crate::kinds) fn autoscaler_v1(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        replicas(&spec.field("minReplicas"), &spec.field("maxReplicas"));
        target(&spec.field("scaleTargetRef"));
        let one = spec.field("targetCPUUtilizationPercentage");
        utilization(&one.named("spec.metrics[0].resource.target.averageUtilization"));
        measured_outside(&spec);
    });
}

pub(in crate::kinds) fn autoscaler_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    status_updated(new, old, c, out, |status| {
        ["currentReplicas", "desiredReplicas"].iter().for_each(|key| status.field(key).not_negative());
    });
}

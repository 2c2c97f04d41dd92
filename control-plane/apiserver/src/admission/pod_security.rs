//! PodSecurity: the labels of a namespace say how much its pods may ask for (the Pod Security Standards).
//!
//! Pods that violate `enforce` are refused; workloads whose pods would, and pods that violate `warn`, are warned of.
//! `audit` has nowhere to go yet, and a namespace whose labels tighten is not searched for pods that violate them.

mod checks;

use super::{Admission, Operation};
use crate::ctx::Ctx;
use crate::lookup;
use api::status::FieldReason;
use api::{FieldError, Object, Status, Value};

const PREFIX: &str = "pod-security.kubernetes.io/";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level at a version of the standards; `None` is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    level: Level,
    minor: Option<u32>,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.minor {
            Some(minor) => write!(f, "{level}:v1.{minor}"),
            None => write!(f, "{level}:latest"),
        }
    }
}

fn level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

/// The inner `None` is the latest version.
fn version(text: &str) -> Option<Option<u32>> {
    match text {
        "latest" => Some(None),
        text => text.strip_prefix("v1.")?.parse().ok().map(Some),
    }
}

/// What a namespace asks of its pods. A label that is wrong is taken as the strictest: somebody meant to restrict.
fn policy(namespace: &Object, mode: &str) -> Option<Policy> {
    let text = namespace.label(&format!("{PREFIX}{mode}"))?;
    let minor = namespace.label(&format!("{PREFIX}{mode}-version")).and_then(version).flatten();
    Some(Policy { level: level(text).unwrap_or(Level::Restricted), minor })
}

pub(super) async fn validate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    let both = [Operation::Create, Operation::Update];
    if admission.writes(lookup::NAMESPACES, "", &both) {
        return labels(admission);
    }
    let ephemeral = admission.writes(lookup::PODS, "ephemeralcontainers", &both);
    let pod = ephemeral || (admission.writes(lookup::PODS, "", &both) && images_change(admission));
    let template = template_path(admission);
    if !both.contains(&admission.operation) || (!pod && template.is_none()) {
        return Ok(());
    }
    let Some(namespace) = ctx.registry.find(lookup::NAMESPACES, "", &admission.info.namespace).await? else {
        return Ok(());
    };
    let enforce = policy(&namespace, "enforce");
    let warn = policy(&namespace, "warn").or(enforce);
    let spec = |path: &[&str]| admission.object.as_ref().and_then(|o| o.at(path)).cloned().unwrap_or_default();
    if let Some(path) = template {
        let found = warn.and_then(|policy| violations(policy, &spec(path)));
        admission.warnings.extend(found.map(|found| format!("would {found}")));
        return Ok(());
    }
    let spec = spec(&["spec"]);
    if let Some(found) = enforce.and_then(|policy| violations(policy, &spec)) {
        return Err(admission.forbid(&found.replacen("violate ", "violates ", 1)));
    }
    let found = warn.filter(|w| Some(*w) != enforce).and_then(|policy| violations(policy, &spec));
    admission.warnings.extend(found.map(|found| format!("would {found}")));
    Ok(())
}

/// Where the pod's spec stands in a workload.
fn template_path(admission: &Admission<'_>) -> Option<&'static [&'static str]> {
    let info = admission.info;
    match (info.group.as_str(), info.resource.as_str(), info.subresource.as_str()) {
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets", "")
        | ("batch", "jobs", "")
        | ("", "replicationcontrollers", "") => Some(&["spec", "template", "spec"]),
        ("", "podtemplates", "") => Some(&["template", "spec"]),
        ("batch", "cronjobs", "") => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        _ => None,
    }
}

/// An update that leaves the images as they were cannot make a pod worse.
fn images_change(admission: &Admission<'_>) -> bool {
    let images = |o: &Object| -> Vec<String> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let all = lists.iter().filter_map(|key| o.at(&["spec", key])?.as_list()).flatten();
        all.map(|c| c.get("image").and_then(Value::as_str).unwrap_or("").to_owned()).collect()
    };
    admission.old.map(images) != admission.object.as_ref().map(images)
}

fn labels(admission: &Admission<'_>) -> Result<(), Status> {
    let Some(namespace) = &admission.object else { return Ok(()) };
    let mut errors = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let mut check = |key: String, good: fn(&str) -> bool, rule: &str| {
            if let Some(text) = namespace.label(&key).filter(|t| !good(t)) {
                let why = format!("Invalid value: {text:?}: {rule}");
                errors.push(FieldError::new(FieldReason::Invalid, format!("metadata.labels[{key}]"), why));
            }
        };
        check(format!("{PREFIX}{mode}"), |t| level(t).is_some(), "must be one of privileged, baseline, restricted");
        check(format!("{PREFIX}{mode}-version"), |t| version(t).is_some(), "must be \"latest\" or \"v1.x\"");
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid("", "Namespace", namespace.name(), &errors)),
    }
}

/// What a pod's spec asks for beyond a policy: `violate PodSecurity "…": …`.
fn violations(policy: Policy, spec: &Value) -> Option<String> {
    let found = checks::run(policy, spec);
    let shown: Vec<String> = found.iter().map(|(what, why)| format!("{what} ({why})")).collect();
    (!found.is_empty()).then(|| format!("violate PodSecurity \"{policy}\": {}", shown.join(", ")))
}

/// For the cases in tests: the pure part.
#[cfg(test)]
pub(super) fn judged(level: Level, minor: Option<u32>, pod: &Object) -> Result<(), String> {
    let spec = pod.at(&["spec"]).cloned().unwrap_or_default();
    violations(Policy { level, minor }, &spec).map_or(Ok(()), Err)
}

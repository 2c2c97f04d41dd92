//! Plan and status as data: every file of `cases/` is a list of situations with what is to be done and shown.

use crate::observed::RuntimeStatus;
use crate::plan;
use crate::status::{self, Host};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    pod: Pod,
    #[serde(default)]
    runtime: RuntimeStatus,
    #[serde(default = "now")]
    now: Timestamp,
    #[serde(default)]
    steps: Option<Vec<String>>,
    #[serde(default)]
    phase: Option<String>,
    /// Type → status.
    #[serde(default)]
    conditions: BTreeMap<String, String>,
    /// Name → `state/lastState ready restarts`.
    #[serde(default)]
    containers: BTreeMap<String, String>,
    /// Name → resources as JSON.
    #[serde(default)]
    resources: BTreeMap<String, String>,
}

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().expect("a time")
}

fn word(state: Option<&ContainerState>) -> String {
    let Some(s) = state else { return "-".into() };
    if let Some(w) = &s.waiting {
        return w.reason.clone().unwrap_or_default();
    }
    match (&s.running, &s.terminated) {
        (Some(_), _) => "Running".into(),
        (None, Some(t)) => format!("{}({})", t.reason.as_deref().unwrap_or_default(), t.exit_code),
        (None, None) => "-".into(),
    }
}

fn line(s: &ContainerStatus) -> String {
    let ready = if s.ready { "ready" } else { "unready" };
    format!("{} {} {ready} {}", word(s.state.as_ref()), word(s.last_state.as_ref()), s.restart_count)
}

fn check(case: &Case, problems: &mut Vec<String>) {
    let mut differ = |what: &str, got: String, wanted: String| {
        if got != wanted {
            problems.push(format!("{}: {what}\n  got    {got}\n  wanted {wanted}", case.name));
        }
    };
    if let Some(wanted) = &case.steps {
        let got: Vec<String> = plan::plan(&case.pod, &case.runtime, case.now).iter().map(ToString::to_string).collect();
        differ("steps", format!("{got:?}"), format!("{wanted:?}"));
    }
    let host = Host { ips: vec!["10.0.0.1".into()], runtime: "test".into() };
    let status = status::status(&case.pod, &case.runtime, &host, case.now);
    if let Some(wanted) = &case.phase {
        differ("phase", status.phase.clone().unwrap_or_default(), wanted.clone());
    }
    for (kind, wanted) in &case.conditions {
        let found = status.conditions.iter().flatten().find(|c| &c.type_ == kind);
        let got = found.map(|c| match &c.reason {
            Some(reason) => format!("{} {reason}", c.status),
            None => c.status.clone(),
        });
        differ(kind, got.unwrap_or_default(), wanted.clone());
    }
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let all: Vec<&ContainerStatus> = lists.into_iter().flatten().flatten().collect();
    for (name, wanted) in &case.containers {
        let got = all.iter().find(|s| &s.name == name).map(|s| line(s));
        differ(name, got.unwrap_or_default(), wanted.clone());
    }
    for (name, wanted) in &case.resources {
        let has = all.iter().find(|s| &s.name == name).and_then(|s| s.resources.as_ref());
        let got = has.map(|has| serde_json::to_string(has).unwrap());
        differ(name, got.unwrap_or_default(), wanted.clone());
    }
}

#[test]
fn cases() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
    let mut problems = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let cases: Vec<Case> = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        seen += cases.len();
        cases.iter().for_each(|c| check(c, &mut problems));
    }
    assert!(seen > 20, "only {seen} cases were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

//! Rows of pods: what a pod is doing is worked out from its containers.

use super::age::{human_duration, seconds};
use super::row;
use super::text::{NONE, condition, containers, items, labels, or, part};
use crate::kind::Kind;
use crate::object::Object;
use crate::value::{Map, Value};

pub(crate) fn pods(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    let seen = Seen::of(object);
    row(kind, object, now, |column| {
        Some(match column {
            "Ready" => Value::from(format!("{}/{}", seen.ready, seen.total)),
            "Status" => Value::from(seen.reason.as_str()),
            "Restarts" => match seen.last_restart.filter(|_| seen.restarts > 0) {
                Some(at) => Value::from(format!("{} ({} ago)", seen.restarts, human_duration(now - at))),
                None => Value::from(seen.restarts.to_string()),
            },
            "IP" => or(items(object, &["status", "podIPs"]).first().map_or("", |ip| part(ip, &["ip"])), NONE),
            "Node" => or(object.str_at(&["spec", "nodeName"]), NONE),
            "Nominated Node" => or(object.str_at(&["status", "nominatedNodeName"]), NONE),
            "Readiness Gates" => gates(object),
            _ => return None,
        })
    })
}

/// A pod that has ended is completed, however it did.
pub(super) fn conditions(object: &Object) -> Vec<Value> {
    let message = match object.str_at(&["status", "phase"]) {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return Vec::new(),
    };
    let mut condition = Map::new();
    condition.insert("type", "Completed");
    condition.insert("status", "True");
    condition.insert("reason", object.str_at(&["status", "phase"]));
    condition.insert("message", message);
    vec![Value::Map(condition)]
}

pub(crate) fn pod_templates(kind: &Kind, object: &Object, now: i64) -> Vec<Value> {
    row(kind, object, now, |column| {
        Some(match column {
            "Containers" => containers(object, &["template", "spec"], "name"),
            "Images" => containers(object, &["template", "spec"], "image"),
            "Pod Labels" => labels(object.at(&["template", "metadata", "labels"])),
            _ => return None,
        })
    })
}

fn gates(object: &Object) -> Value {
    let gates = items(object, &["spec", "readinessGates"]);
    let passed = gates.iter().filter(|g| condition(object, part(g, &["conditionType"])) == "True").count();
    match gates.len() {
        0 => Value::from(NONE),
        all => Value::from(format!("{passed}/{all}")),
    }
}

#[derive(Default)]
struct Seen {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<i64>,
}

/// A container whose exit ended the pod's start or the container itself.
fn ended(prefix: &str, terminated: &Value) -> String {
    let number = |key: &str| terminated.get(key).and_then(Value::as_i64).unwrap_or(0);
    match (part(terminated, &["reason"]), number("signal")) {
        ("", 0) => format!("{prefix}ExitCode:{}", number("exitCode")),
        ("", signal) => format!("{prefix}Signal:{signal}"),
        (reason, _) => format!("{prefix}{reason}"),
    }
}

fn restarts(status: &Value) -> i64 {
    status.get("restartCount").and_then(Value::as_i64).unwrap_or(0)
}

fn restarted_at(status: &Value) -> Option<i64> {
    seconds(part(status, &["lastState", "terminated", "finishedAt"]))
}

fn yes(status: &Value, key: &str) -> bool {
    status.get(key).and_then(Value::as_bool).unwrap_or(false)
}

impl Seen {
    fn of(pod: &Object) -> Seen {
        let mut seen = Seen { reason: pod.str_at(&["status", "phase"]).into(), ..Seen::default() };
        if !pod.str_at(&["status", "reason"]).is_empty() {
            seen.reason = pod.str_at(&["status", "reason"]).into();
        }
        let gated = |c: &&Value| part(c, &["type"]) == "PodScheduled" && part(c, &["reason"]) == "SchedulingGated";
        if items(pod, &["status", "conditions"]).iter().any(|c| gated(&c)) {
            seen.reason = "SchedulingGated".into();
        }
        let inits = items(pod, &["spec", "initContainers"]);
        let is_sidecar =
            |name: &str| inits.iter().any(|c| part(c, &["name"]) == name && part(c, &["restartPolicy"]) == "Always");
        let sidecars = inits.iter().filter(|c| part(c, &["restartPolicy"]) == "Always").count();
        seen.total = items(pod, &["spec", "containers"]).len() + sidecars;
        let (mut of_sidecars, mut sidecar_restart) = (0, None);
        for status in items(pod, &["status", "initContainerStatuses"]).iter().filter(|s| is_sidecar(part(s, &["name"])))
        {
            of_sidecars += restarts(status);
            sidecar_restart = sidecar_restart.max(restarted_at(status));
        }
        let starting = seen.init(pod, inits.len(), is_sidecar);
        if !starting || condition(pod, "Initialized") == "True" {
            (seen.restarts, seen.last_restart) = (of_sidecars, sidecar_restart);
            seen.main(pod);
        }
        seen.leaving(pod);
        seen
    }

    /// Whether the pod is still starting, or failed to.
    fn init(&mut self, pod: &Object, total: usize, is_sidecar: impl Fn(&str) -> bool) -> bool {
        for (i, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            self.restarts += restarts(status);
            self.last_restart = self.last_restart.max(restarted_at(status));
            let terminated = status.at(&["state", "terminated"]);
            let waiting = part(status, &["state", "waiting", "reason"]);
            let done = terminated.is_some_and(|t| t.get("exitCode").and_then(Value::as_i64).unwrap_or(0) == 0);
            if done {
                continue;
            }
            if is_sidecar(part(status, &["name"])) && yes(status, "started") {
                self.ready += usize::from(yes(status, "ready"));
                continue;
            }
            self.reason = match terminated {
                Some(t) => ended("Init:", t),
                None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
                None => format!("Init:{i}/{total}"),
            };
            return true;
        }
        false
    }

    fn main(&mut self, pod: &Object) {
        let mut running = false;
        for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
            self.restarts += restarts(status);
            self.last_restart = self.last_restart.max(restarted_at(status));
            let waiting = part(status, &["state", "waiting", "reason"]);
            match status.at(&["state", "terminated"]) {
                _ if !waiting.is_empty() => self.reason = waiting.into(),
                Some(t) => self.reason = ended("", t),
                None if yes(status, "ready") && status.at(&["state", "running"]).is_some() => {
                    running = true;
                    self.ready += 1;
                }
                None => {}
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition(pod, "Ready") == "True" { "Running".into() } else { "NotReady".into() };
        }
    }

    fn leaving(&mut self, pod: &Object) {
        let over = matches!(pod.str_at(&["status", "phase"]), "Failed" | "Succeeded");
        match (pod.deletion_timestamp(), pod.str_at(&["status", "reason"])) {
            (None, _) => {}
            (Some(_), "NodeLost") => self.reason = "Unknown".into(),
            (Some(_), _) if !over => self.reason = "Terminating".into(),
            (Some(_), _) => {}
        }
    }
}

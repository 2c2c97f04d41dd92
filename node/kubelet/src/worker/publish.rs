//! Telling the API: one status at a time, the newest one.

use super::{Event, Worker};
use crate::allocation;
use crate::identity::{self, PodId};
use crate::node::Node;
use crate::observed::EndReason;
use crate::status;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A pod that runs within this time is written once, as Running.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_millis(40);

impl Worker {
    /// The status to show; none for a pod that has no object any more.
    pub(super) fn status(&self, now: Timestamp) -> Option<PodStatus> {
        match self.rt.ending.as_ref().map(|e| &e.why) {
            Some(EndReason::Gone) => None,
            Some(EndReason::Over | EndReason::Deleted | EndReason::Failed { .. } | EndReason::Refused { .. })
            | None => Some(status::status(&self.with_written(), &self.rt, &self.node.host, now)),
        }
    }

    /// The pod with the newest status that is known: what was written last may not have come back yet.
    fn with_written(&self) -> Pod {
        let mut pod = Pod::clone(&self.pod);
        if let Some(written) = &self.written {
            let fresh = pod.status.take().unwrap_or_default();
            let own = merged(written, fresh.conditions);
            pod.status = Some(PodStatus { qos_class: fresh.qos_class, resize: fresh.resize, ..own });
        }
        pod
    }

    /// Whether somebody has said otherwise since: a node that was taken for lost finds its pods marked as not ready.
    fn contradicted(&self) -> bool {
        let (Some(made), Some(written)) = (self.version, &self.written) else { return false };
        let later = version(&self.pod.metadata).is_some_and(|now| now > made);
        later && self.pod.status.as_ref().is_some_and(|shown| verdicts(shown) != verdicts(written))
    }

    pub(super) fn publish(&mut self, now: Timestamp) {
        if !self.seen {
            return;
        }
        let Some(status) = self.status(now) else { return };
        self.node.board.show(&self.pod, status.clone(), &self.rt);
        if allocation::phase_over(status.phase.as_deref()) {
            self.node.ledger.forget(&self.uid());
        }
        let quick = self.written.is_none() && status.phase.as_deref() == Some("Pending");
        let early = (quick || self.refused) && self.show_after > now;
        let same =
            !self.refused && !self.contradicted() && self.written.as_ref().is_some_and(|w| own(w) == own(&status));
        if self.writing || self.removing || early || same {
            return;
        }
        self.back_off(&status);
        let gone = self.gone_conditions(&status);
        self.writing = true;
        self.refused = false;
        self.written = Some(status.clone());
        self.version = None;
        let job = self.job();
        self.spawn(async move { Event::Written(write(&job.node, &job.pod, &status, &gone).await) });
    }

    /// Conditions of ours that the object may still have and that do not hold any more.
    fn gone_conditions(&self, status: &PodStatus) -> Vec<String> {
        let shown = [self.asked.status.as_ref(), self.written.as_ref()];
        let had: BTreeSet<&str> = shown.into_iter().flatten().flat_map(verdicts).map(|(name, _)| name).collect();
        let has = verdicts(status);
        had.into_iter().filter(|name| !has.contains_key(name)).map(str::to_owned).collect()
    }
}

/// The containers that wait for their restart.
fn waiting(status: &PodStatus) -> Vec<&str> {
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let reason =
        |s: &ContainerStatus| Some(s.state.as_ref()?.waiting.as_ref()?.reason.as_deref()? == "CrashLoopBackOff");
    all.filter(|s| reason(s) == Some(true)).map(|s| s.name.as_str()).collect()
}

impl Worker {
    fn back_off(&self, status: &PodStatus) {
        let before = self.written.as_ref().map(waiting).unwrap_or_default();
        for name in waiting(status).into_iter().filter(|n| !before.contains(n)) {
            let id = PodId::of(&self.pod);
            let text = format!("Back-off restarting failed container {name} in pod {id}");
            self.node.events.warning(&self.pod, Some(name), "BackOff", text);
        }
    }
}

fn ours(c: &PodCondition) -> bool {
    status::OWNED.contains(&c.type_.as_str())
}

/// What others could have said instead of us: whether each of our conditions holds.
fn verdicts(status: &PodStatus) -> BTreeMap<&str, &str> {
    let own = status.conditions.iter().flatten().filter(|c| ours(c));
    own.map(|c| (c.type_.as_str(), c.status.as_str())).collect()
}

/// Without what others write.
fn own(status: &PodStatus) -> PodStatus {
    let mut own = status.clone();
    own.conditions = own.conditions.map(|l| l.into_iter().filter(ours).collect());
    own.qos_class = None;
    own.resize = None;
    own
}

/// Our own last word, with what others say in the conditions that are theirs.
fn merged(written: &PodStatus, fresh: Option<Vec<PodCondition>>) -> PodStatus {
    let mut status = written.clone();
    let theirs = fresh.into_iter().flatten().filter(|c| !ours(c));
    let own = written.conditions.iter().flatten().filter(|c| ours(c)).cloned();
    status.conditions = Some(theirs.chain(own).collect());
    status
}

/// Writes a status by a strategic merge patch that touches only what is the kubelet's. Returns the version that it made;
/// none of a pod that is gone, which is fine.
pub(super) async fn write(node: &Node, pod: &Pod, status: &PodStatus, gone: &[String]) -> Result<Option<u64>, String> {
    let id = PodId::of(pod);
    let mut patch = json!({"status": body(pod, status, gone)});
    // The object that mirrors a pod from a file has a uid of its own.
    if !identity::from_file(pod) {
        patch["metadata"] = json!({"uid": id.uid});
    }
    let api: Api<Pod> = Api::namespaced(node.client.clone(), &id.namespace);
    match api.patch_status(&id.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(after) => Ok(version(&after.metadata)),
        Err(kube::Error::Api(s)) if s.code == 404 || s.code == 409 => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// Versions of one object grow (KEP-5504).
fn version(metadata: &ObjectMeta) -> Option<u64> {
    metadata.resource_version.as_ref()?.parse().ok()
}

fn body(pod: &Pod, status: &PodStatus, gone: &[String]) -> Value {
    let mut body = serde_json::to_value(status).unwrap_or_default();
    let Value::Object(map) = &mut body else { return body };
    for theirs in ["qosClass", "resize", "nominatedNodeName", "resourceClaimStatuses"] {
        map.remove(theirs);
    }
    let own = status.conditions.iter().flatten().filter(|c| ours(c)).map(|c| {
        let mut value = json!(c);
        // A reason that no longer holds is taken away.
        if let Value::Object(fields) = &mut value {
            fields.entry("reason").or_insert(Value::Null);
            fields.entry("message").or_insert(Value::Null);
        }
        value
    });
    let gone = gone.iter().map(|name| json!({"$patch": "delete", "type": name}));
    map.insert("conditions".into(), own.chain(gone).collect());
    // Lists that merge by address would keep the old ones.
    let kept: Vec<&String> = status.pod_ips.iter().flatten().map(|p| &p.ip).collect();
    let old = pod.status.iter().flat_map(|s| s.pod_ips.iter().flatten());
    let mut list: Vec<Value> =
        old.filter(|p| !kept.contains(&&p.ip)).map(|p| json!({"$patch": "delete", "ip": p.ip})).collect();
    if !list.is_empty() {
        list.extend(status.pod_ips.iter().flatten().map(|p| json!(p)));
        map.insert("podIPs".into(), list.into());
    }
    for gone in ["reason", "message"] {
        map.entry(gone).or_insert(Value::Null);
    }
    body
}

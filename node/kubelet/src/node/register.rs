//! Keeping the Node object: made or taken over at start, its status written when it changes and every 5 min anyway.

use super::Node;
use super::lease::{AGAIN, ANSWER};
use super::object::{self, Asked};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{self as core, NodeStatus};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Upstream's `nodeStatusUpdateFrequency` and `nodeStatusReportFrequency`.
const LOOK: Duration = Duration::from_secs(10);
const REPORT: SignedDuration = SignedDuration::from_secs(300);
/// While the runtime or the apiserver is not there yet, a node is to become ready as soon as they are.
const SOON: Duration = Duration::from_millis(200);

pub async fn ask(node: &Node) -> Asked {
    let (version, status, images) =
        futures::join!(node.runtime.version(), node.runtime.status(), node.runtime.images());
    Asked {
        version: version.unwrap_or_default(),
        status: status.map_err(|e| e.to_string()),
        images: images.unwrap_or_default(),
    }
}

/// Makes the Node object, or takes over the one that is there. Returns it.
pub async fn register(node: &Node, port: u16) -> core::Node {
    loop {
        match try_register(node, port).await {
            Ok(object) => return object,
            Err(error) => {
                tracing::info!(%error, "the node is not registered yet");
                tokio::time::sleep(SOON).await;
            }
        }
    }
}

async fn try_register(node: &Node, port: u16) -> Result<core::Node, kube::Error> {
    let api: Api<core::Node> = Api::all(node.client.clone());
    let name = &node.config.node_name;
    let asked = ask(node).await;
    let old = api.get_opt(name).await?;
    let status = object::status(node, port, &asked, old.as_ref().and_then(|o| o.status.as_ref()), Timestamp::now());
    match old {
        Some(_) => {
            let patch = json!({"metadata": {"labels": object::labels(node), "annotations": object::annotations(node)}});
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        None => match api.create(&PostParams::default(), &object::object(node, status.clone())).await {
            Ok(_) => {}
            Err(kube::Error::Api(s)) if s.code == 409 => {}
            Err(e) => return Err(e),
        },
    }
    write(&api, name, &status).await
}

async fn write(api: &Api<core::Node>, name: &str, status: &NodeStatus) -> Result<core::Node, kube::Error> {
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(json!({"status": status}))).await
}

/// Writes the status again when it says something new, or when it grows old.
pub async fn keep(node: Arc<Node>, port: u16, mut last: Option<NodeStatus>) {
    let api: Api<core::Node> = Api::all(node.client.clone());
    let mut reported = Timestamp::now();
    let mut failed = false;
    loop {
        let ready = last.as_ref().is_some_and(ready);
        let wait = match (ready, std::mem::take(&mut failed)) {
            (true, true) => AGAIN,
            (true, false) => LOOK,
            (false, _) => SOON,
        };
        tokio::time::sleep(wait).await;
        let now = Timestamp::now();
        let name = &node.config.node_name;
        let there = match limited(api.get_opt(name)).await {
            Ok(Some(object)) => object.status,
            Ok(None) => {
                last = register(&node, port).await.status;
                continue;
            }
            Err(error) => {
                tracing::warn!(error, "reading the node's status");
                failed = true;
                continue;
            }
        };
        let status = object::status(&node, port, &ask(&node).await, there.as_ref(), now);
        let old = now.duration_since(reported) >= REPORT;
        let changed = last.as_ref().is_none_or(|last| says(last) != says(&status));
        if !old && !changed && !contradicted(&status, there.as_ref()) {
            continue;
        }
        match limited(write(&api, name, &status)).await {
            Ok(_) => {
                reported = now;
                last = Some(status);
            }
            Err(error) => {
                tracing::warn!(error, "writing the node's status");
                failed = true;
            }
        }
    }
}

/// A request that is given up before the next one is due.
async fn limited<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

/// Whether the object says otherwise than this node of itself: others mark a node that they have not heard of.
fn contradicted(own: &NodeStatus, there: Option<&NodeStatus>) -> bool {
    let state = |status: Option<&NodeStatus>, kind: &str| {
        let conditions = status.and_then(|status| status.conditions.as_ref());
        conditions.and_then(|all| all.iter().find(|c| c.type_ == kind)).map(|c| c.status.clone())
    };
    own.conditions.iter().flatten().any(|c| state(there, &c.type_).as_ref() != Some(&c.status))
}

fn ready(status: &NodeStatus) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Without the times of the heartbeats.
fn says(status: &NodeStatus) -> NodeStatus {
    let mut status = status.clone();
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_heartbeat_time = None;
    }
    status
}

//! The node's Lease in `kube-node-lease`: renewed every 10 s, so that the control plane sees a dead node after 40 s.

use super::Node;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use std::sync::Arc;
use std::time::Duration;

const SECONDS: i32 = 40;
const EVERY: Duration = Duration::from_secs(10);
/// After a try that failed: a node that can reach the apiserver again is not to wait until the next round.
pub(super) const AGAIN: Duration = Duration::from_secs(2);
/// How long an answer is waited for. A connection that a partition has cut answers much later, and one that is begun while it
/// is cut asks ever more seldom.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

pub async fn renew(node: Arc<Node>, node_uid: String) {
    let api: Api<Lease> = Api::namespaced(node.client.clone(), "kube-node-lease");
    loop {
        let wait = match tokio::time::timeout(ANSWER, once(&api, &node.config.node_name, &node_uid)).await {
            Ok(Ok(())) => EVERY,
            Ok(Err(error)) => {
                tracing::warn!(%error, "renewing the node's lease");
                AGAIN
            }
            Err(_) => {
                tracing::warn!("no answer within {} s to the renewal of the node's lease", ANSWER.as_secs());
                AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn once(api: &Api<Lease>, name: &str, uid: &str) -> Result<(), kube::Error> {
    let spec = LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(SECONDS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = serde_json::json!({"spec": spec});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => create(api, name, uid, spec).await,
        Err(e) => Err(e),
    }
}

async fn create(api: &Api<Lease>, name: &str, uid: &str, spec: LeaseSpec) -> Result<(), kube::Error> {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    let metadata =
        ObjectMeta { name: Some(name.to_owned()), owner_references: Some(vec![owner]), ..ObjectMeta::default() };
    api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await.map(drop)
}

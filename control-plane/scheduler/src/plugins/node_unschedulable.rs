//! A cordoned node takes only pods that tolerate it.

use k8s_openapi::api::core::v1::{Pod, Taint};

use super::{Judge, Plugin, Reject, tolerates};
use crate::queue::Happening;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct NodeUnschedulable;
struct Cordon<'a>(&'a Pod);

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeOpened]
    }

    fn begin<'a>(&self, _: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        Some(Box::new(Cordon(pod)))
    }
}

impl Judge for Cordon<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        let spec = node.node.as_ref().and_then(|node| node.spec.as_ref());
        let closed = spec.and_then(|spec| spec.unschedulable) == Some(true);
        let taint = || Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if closed && !tolerates(self.0, &taint()) {
            return Reject::firmly("node(s) were unschedulable");
        }
        Ok(())
    }
}

//! A cordoned node takes only pods that tolerate it.

use fit::taints::tolerates;
use k8s_openapi::api::core::v1::Taint;

use super::{Context, Filter, Plugin, Point, Reject};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::queue::{Event, Happening};

#[derive(Debug)]
pub(super) struct NodeUnschedulable;

/// The pod does not tolerate a cordon.
struct Cordon;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Filter]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeOpened]
    }

    fn hint(&self, _: &PodInfo, event: &Event) -> bool {
        event.node().is_none_or(|node| Cordon.check(node).is_ok())
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        (!tolerates(&cx.pod.pod, &taint)).then(|| Box::new(Cordon) as Box<dyn Filter>)
    }
}

impl Filter for Cordon {
    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        if node.facts.is_closed { Reject::firmly("node(s) were unschedulable") } else { Ok(()) }
    }
}

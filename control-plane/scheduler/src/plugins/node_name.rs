//! A pod that names its node goes there.

use super::{Context, Filter, Plugin, Point, Reject};
use crate::node::NodeInfo;
use crate::pod::{PodInfo, node_name};
use crate::queue::{Event, Happening};

#[derive(Debug)]
pub(super) struct NodeName;
struct Named<'a>(&'a str);

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Filter]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded]
    }

    fn hint(&self, pod: &PodInfo, event: &Event) -> bool {
        event.node().is_none_or(|node| node.name() == node_name(&pod.pod))
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        let name = node_name(&cx.pod.pod);
        (!name.is_empty()).then(|| Box::new(Named(name)) as Box<dyn Filter>)
    }
}

impl Filter for Named<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        if node.name() == self.0 { Ok(()) } else { Reject::firmly("node(s) didn't match the requested node name") }
    }
}

//! Two pods do not have the same port of a node.

use fit::HostPort;
use fit::ports::{TAKEN, any_collides};

use super::{Context, Filter, Plugin, Point, Reject};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::queue::{Event, Happening};

#[derive(Debug)]
pub(super) struct NodePorts;
struct Wanted<'a>(&'a [HostPort]);

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::PodLeft]
    }

    fn hint(&self, pod: &PodInfo, event: &Event) -> bool {
        event.pod().is_none_or(|left| any_collides(&pod.ports, &left.ports))
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        let ports = &cx.pod.ports;
        (!ports.is_empty()).then(|| Box::new(Wanted(ports)) as Box<dyn Filter>)
    }
}

impl Filter for Wanted<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        match any_collides(self.0, &node.ports) {
            true => Reject::for_now(TAKEN),
            false => Ok(()),
        }
    }
}

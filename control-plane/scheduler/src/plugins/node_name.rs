//! A pod that names its node goes there.

use k8s_openapi::api::core::v1::Pod;

use super::{Judge, Plugin, Reject};
use crate::queue::Happening;
use crate::snapshot::{NodeInfo, Snapshot, node_name};

pub(super) struct NodeName;
struct Named<'a>(&'a str);

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded]
    }

    fn begin<'a>(&self, _: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        let name = node_name(pod);
        (!name.is_empty()).then(|| Box::new(Named(name)) as Box<dyn Judge>)
    }
}

impl Judge for Named<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        if node.name == self.0 { Ok(()) } else { Reject::firmly("node(s) didn't match the requested node name") }
    }
}

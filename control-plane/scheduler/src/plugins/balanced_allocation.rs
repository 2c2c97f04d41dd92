//! Nodes whose CPU and memory would be used to like shares are better: neither then runs out while the other lies idle.

use k8s_openapi::api::core::v1::Pod;

use super::{BEST, Judge, Plugin};
use crate::resources::{self, Amounts};
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct NodeResourcesBalancedAllocation;
struct Balance(Amounts);

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn begin<'a>(&self, _: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        let requests = resources::requests(pod);
        // A pod that asks for nothing brings nothing out of balance.
        let asks = ["cpu", "memory"].iter().any(|name| resources::get(&requests, name) > 0);
        asks.then(|| Box::new(Balance(requests)) as Box<dyn Judge>)
    }
}

impl Judge for Balance {
    fn score(&self, node: &NodeInfo) -> Option<i64> {
        let share = |name: &str| {
            let has = resources::get(&node.allocatable, name);
            let used = resources::get(&node.requested, name) + resources::get(&self.0, name);
            if has > 0 { (used as f64 / has as f64).min(1.0) } else { 1.0 }
        };
        let deviation = (share("cpu") - share("memory")).abs() / 2.0;
        Some(((1.0 - deviation) * BEST as f64) as i64)
    }
}

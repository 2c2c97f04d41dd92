//! The node has room for what the pod asks for; of those with room, the emptier ones are better (least allocated).

use k8s_openapi::api::core::v1::Pod;

use super::{BEST, Judge, Plugin, Reject};
use crate::queue::Happening;
use crate::resources::{self, Amounts};
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct NodeResourcesFit;

struct Fit {
    requests: Amounts,
    likely: Amounts,
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeGrew, Happening::PodLeft]
    }

    fn begin<'a>(&self, _: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        Some(Box::new(Fit { requests: resources::requests(pod), likely: resources::likely_requests(pod) }))
    }
}

impl Judge for Fit {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        let mut reject = Reject { reasons: vec![], preemption_helps: true };
        let most = resources::get(&node.allocatable, "pods");
        if node.pods.len() as i64 + 1 > most {
            reject.reasons.push("Too many pods".to_owned());
        }
        for (name, asked) in self.requests.iter().filter(|(_, asked)| **asked > 0) {
            let has = resources::get(&node.allocatable, name);
            if *asked > has - resources::get(&node.requested, name) {
                reject.reasons.push(format!("Insufficient {name}"));
                reject.preemption_helps &= *asked <= has;
            }
        }
        if reject.reasons.is_empty() { Ok(()) } else { Err(reject) }
    }

    fn score(&self, node: &NodeInfo) -> Option<i64> {
        let free = |name: &str| {
            let has = resources::get(&node.allocatable, name);
            let used = resources::get(&node.likely, name) + resources::get(&self.likely, name);
            (has > 0).then(|| (has - used).max(0) * BEST / has)
        };
        let shares: Vec<i64> = ["cpu", "memory"].into_iter().filter_map(free).collect();
        Some(shares.iter().sum::<i64>() / shares.len().max(1) as i64)
    }
}

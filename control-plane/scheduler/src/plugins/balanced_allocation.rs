//! Nodes whose resources would be used to like shares are better: none then runs out while another lies idle.

use super::{BEST, Context, Plugin, Point, Score};
use crate::node::NodeInfo;
use crate::resources::Amounts;

#[derive(Debug)]
pub(super) struct NodeResourcesBalancedAllocation;

struct Balance<'a> {
    requests: &'a Amounts,
    resources: &'a [String],
}

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreScore, Point::Score]
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score<'a>(&self, cx: Context<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let (requests, resources) = (&cx.pod.requests, cx.args.balanced.as_slice());
        // A pod that asks for nothing brings nothing out of balance.
        let asks = resources.iter().any(|name| requests.get(name) > 0);
        asks.then(|| Box::new(Balance { requests, resources }) as Box<dyn Score>)
    }
}

impl Score for Balance<'_> {
    fn of(&self, node: &NodeInfo) -> i64 {
        let share = |name: &String| {
            let (has, asked) = (node.facts.allocatable.get(name), self.requests.get(name));
            let counts = has > 0 && (asked > 0 || matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage"));
            counts.then(|| ((node.requested.get(name) + asked) as f64 / has as f64).min(1.0))
        };
        let shares = || self.resources.iter().filter_map(share);
        let count = shares().count();
        if count < 2 {
            return BEST;
        }
        let mean = shares().sum::<f64>() / count as f64;
        let deviation = (shares().map(|share| (share - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
        ((1.0 - deviation) * BEST as f64) as i64
    }
}

//! Nodes whose resources would be used to like shares are better: none then runs out while another lies idle.

use fit::Resource;

use super::{BEST, Context, Plugin, Point, Score};
use crate::node::NodeInfo;

#[derive(Debug)]
pub(super) struct NodeResourcesBalancedAllocation;

/// What the pod asks of each resource that is to be in balance.
struct Balance<'a>(Vec<(Resource<'a>, i64)>);

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
        let asked = |name: &'a String| (Resource::named(name), cx.pod.requests.get(name));
        let all: Vec<_> = cx.args.balanced.iter().map(asked).collect();
        // A pod that asks for nothing brings nothing out of balance.
        let asks = all.iter().any(|(_, asked)| *asked > 0);
        asks.then(|| Box::new(Balance(all)) as Box<dyn Score>)
    }
}

impl Balance<'_> {
    /// The shares of the node's resources that are used, of those that count there; `asks` is 1 with the pod and 0 without it.
    fn shares(&self, node: &NodeInfo, asks: i64) -> impl Iterator<Item = f64> {
        self.0.iter().filter_map(move |(resource, asked)| {
            let has = node.facts.allocatable.of(*resource);
            let counts = has > 0 && (*asked > 0 || !matches!(resource, Resource::Other(_)));
            counts.then(|| ((node.requested.of(*resource) + asks * asked) as f64 / has as f64).min(1.0))
        })
    }

    fn balance(&self, node: &NodeInfo, asks: i64) -> i64 {
        let mut shares = self.shares(node, asks);
        let deviation = match [shares.next(), shares.next(), shares.next()] {
            [_, None, _] => return BEST,
            [Some(one), Some(other), None] => (one - other).abs() / 2.0,
            _ => {
                let count = self.shares(node, asks).count() as f64;
                let mean = self.shares(node, asks).sum::<f64>() / count;
                (self.shares(node, asks).map(|share| (share - mean).powi(2)).sum::<f64>() / count).sqrt()
            }
        };
        ((1.0 - deviation) * BEST as f64) as i64
    }
}

impl Score for Balance<'_> {
    /// What the pod does to the balance, not what it is: a pod that mends it goes before one that keeps it, as upstream.
    fn of(&self, node: &NodeInfo) -> i64 {
        BEST / 2 + (BEST / 2 + self.balance(node, 1) - self.balance(node, 0)) / 2
    }
}

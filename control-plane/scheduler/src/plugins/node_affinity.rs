//! A pod's node selector and node affinity.

use k8s_openapi::api::core::v1::{Node, NodeAffinity as Terms, Pod};

use super::{Judge, Plugin, Reject, to_largest};
use crate::queue::Happening;
use crate::selectors;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct NodeAffinity;
struct Wishes<'a>(&'a Pod);

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeRelabelled]
    }

    fn weight(&self) -> i64 {
        2
    }

    fn begin<'a>(&self, _: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        let asks = pod.spec.as_ref().is_some_and(|spec| spec.node_selector.is_some()) || terms(pod).is_some();
        asks.then(|| Box::new(Wishes(pod)) as Box<dyn Judge>)
    }
}

fn terms(pod: &Pod) -> Option<&Terms> {
    pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

/// Whether the node is what the pod's selector and required affinity ask for.
pub fn matches(pod: &Pod, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let selector = pod.spec.iter().flat_map(|spec| spec.node_selector.iter().flatten());
    let selected = selector.into_iter().all(|(key, value)| label(key) == Some(value));
    let required = terms(pod).and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| selectors::chooses(required, node))
}

impl Judge for Wishes<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        match node.node.as_ref().is_some_and(|node| matches(self.0, node)) {
            true => Ok(()),
            false => Reject::firmly("node(s) didn't match Pod's node affinity/selector"),
        }
    }

    fn score(&self, node: &NodeInfo) -> Option<i64> {
        let preferred = terms(self.0)?.preferred_during_scheduling_ignored_during_execution.as_ref()?;
        let node = node.node.as_ref()?;
        let met = preferred.iter().filter(|wish| selectors::term_chooses(&wish.preference, node));
        Some(met.map(|wish| i64::from(wish.weight)).sum())
    }

    fn normalize(&self, scores: &mut [i64]) {
        to_largest(scores, false);
    }
}

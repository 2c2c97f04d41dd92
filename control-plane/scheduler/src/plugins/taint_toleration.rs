//! Taints keep pods away that do not tolerate them.

use fit::taints::{UNTOLERATED, tolerates};
use k8s_openapi::api::core::v1::{Pod, Taint};

use super::{Context, Filter, Plugin, Point, Reject, Score, to_largest};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::queue::{Event, Happening};

#[derive(Debug)]
pub(super) struct TaintToleration;
struct Taints<'a>(&'a Pod);

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Filter, Point::PreScore, Point::Score]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeOpened]
    }

    fn hint(&self, pod: &PodInfo, event: &Event) -> bool {
        event.node().is_none_or(|node| Taints(&pod.pod).check(node).is_ok())
    }

    fn weight(&self) -> i64 {
        3
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Taints(&cx.pod.pod)))
    }

    fn score<'a>(&self, cx: Context<'a>, fit: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        // Where no node has a taint that only asks, all are as good as each other.
        let asked = fit.iter().any(|node| node.facts.taints.iter().any(|taint| taint.effect == "PreferNoSchedule"));
        asked.then(|| Box::new(Taints(&cx.pod.pod)) as Box<dyn Score>)
    }
}

impl Filter for Taints<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        match node.facts.taints.iter().filter(hard).all(|taint| tolerates(self.0, taint)) {
            true => Ok(()),
            false => Reject::firmly(UNTOLERATED),
        }
    }
}

impl Score for Taints<'_> {
    fn of(&self, node: &NodeInfo) -> i64 {
        let soft = node.facts.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
        soft.filter(|taint| !tolerates(self.0, taint)).count() as i64
    }

    fn normalize(&self, scores: &mut [i64]) {
        to_largest(scores, true);
    }
}

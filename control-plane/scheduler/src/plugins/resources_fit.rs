//! The node has room for what the pod asks for; which of those with room is better is the profile's strategy.

use fit::resources;
use fit::{Lack, Resource};

use super::{BEST, Context, Filter, Plugin, Point, Reason, Reject, Score};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::profile::{Args, Shape, Strategy};
use crate::queue::{Event, Happening};

const TOO_MANY: Reason = Reason::Plain("Too many pods");

#[derive(Debug)]
pub(super) struct NodeResourcesFit;

struct Fit<'a> {
    pod: &'a PodInfo,
    args: &'a Args,
}

/// How good a node is by the profile's strategy.
struct Fitness<'a> {
    pod: &'a PodInfo,
    shape: &'a Shape,
    /// With what they count.
    resources: Vec<(Resource<'a>, i64)>,
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeGrew, Happening::PodLeft]
    }

    fn hint(&self, pod: &PodInfo, event: &Event) -> bool {
        event.node().is_none_or(|node| {
            let has = &node.facts.allocatable;
            // What the node does not know may be ignored by the profile.
            let enough = |name: &str, asked: i64| has.get(name) == 0 || asked <= has.get(name);
            let others = pod.requests.others().all(|(name, asked)| enough(name, asked));
            others && pod.requests.cpu <= has.cpu && pod.requests.memory <= has.memory && node.facts.most_pods > 0
        })
    }

    fn weight(&self) -> i64 {
        1
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Fit { pod: cx.pod, args: cx.args }))
    }

    fn score<'a>(&self, cx: Context<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let Strategy { shape, resources } = &cx.args.fit;
        let resources = resources.iter().map(|(name, weight)| (Resource::named(name), *weight)).collect();
        Some(Box::new(Fitness { pod: cx.pod, shape, resources }))
    }
}

impl Filter for Fit<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        let full = node.pod_count as i64 >= node.facts.most_pods;
        match full || self.lacking(node).next().is_some() {
            true => Err(self.reject(node, full)),
            false => Ok(()),
        }
    }
}

impl Fit<'_> {
    fn lacking<'a>(&'a self, node: &'a NodeInfo) -> impl Iterator<Item = Lack<'a>> {
        let lacking = resources::lacking(&self.pod.requests, &node.requested, &node.facts.allocatable);
        lacking.filter(|lack| !matches!(lack.resource, Resource::Other(name) if self.ignores(name)))
    }

    fn reject(&self, node: &NodeInfo, full: bool) -> Reject {
        let (mut first, mut more, mut preemption_helps) = (full.then_some(TOO_MANY), vec![], true);
        // The first has its own place: most nodes lack one thing, and then nothing is allocated.
        for lack in self.lacking(node) {
            preemption_helps &= lack.requested <= lack.capacity;
            let reason = match lack.resource {
                Resource::Cpu => Reason::Plain("Insufficient cpu"),
                Resource::Memory => Reason::Plain("Insufficient memory"),
                Resource::Storage => Reason::Plain("Insufficient ephemeral-storage"),
                Resource::Other(name) => Reason::Insufficient(name.into()),
            };
            match &first {
                None => first = Some(reason),
                Some(_) => more.push(reason),
            }
        }
        Reject { reason: first.unwrap_or(TOO_MANY), more, preemption_helps }
    }

    fn ignores(&self, name: &str) -> bool {
        let group = name.split_once('/').map(|(group, _)| group);
        self.args.ignored_resources.iter().any(|ignored| ignored == name)
            || group.is_some_and(|group| self.args.ignored_groups.iter().any(|ignored| ignored == group))
    }
}

impl Fitness<'_> {
    /// What would be used of a resource, and what there is; none if it does not count.
    fn use_of(&self, node: &NodeInfo, resource: Resource) -> Option<(i64, i64)> {
        let has = node.facts.allocatable.of(resource);
        let used = match resource {
            Resource::Cpu => node.likely.cpu + self.pod.likely.cpu,
            Resource::Memory => node.likely.memory + self.pod.likely.memory,
            Resource::Storage => node.requested.storage + self.pod.requests.storage,
            // What the pod does not ask for is no reason to go where there is more of it.
            Resource::Other(_) => match self.pod.requests.of(resource) {
                0 => return None,
                asked => node.requested.of(resource) + asked,
            },
        };
        (has > 0).then_some((used, has))
    }
}

impl Score for Fitness<'_> {
    fn of(&self, node: &NodeInfo) -> i64 {
        let (mut sum, mut weights) = (0i64, 0i64);
        for (resource, weight) in &self.resources {
            let Some((used, has)) = self.use_of(node, *resource) else { continue };
            let score = match self.shape {
                Shape::LeastAllocated => (has - used).max(0) * BEST / has,
                Shape::MostAllocated => used.min(has) * BEST / has,
                Shape::Ratio(points) => match along(points, if used > has { 100 } else { used * 100 / has }) {
                    // As upstream: a resource without a score has no say.
                    0 => continue,
                    score => score,
                },
            };
            sum += score * weight;
            weights += weight;
        }
        match self.shape {
            _ if weights == 0 => 0,
            Shape::Ratio(_) => (sum as f64 / weights as f64).round() as i64,
            Shape::LeastAllocated | Shape::MostAllocated => sum / weights,
        }
    }
}

/// The score at a utilization, on straight lines between the points.
fn along(points: &[(i64, i64)], at: i64) -> i64 {
    let Some(next) = points.iter().position(|(utilization, _)| at <= *utilization) else {
        return points.last().map_or(0, |(_, score)| *score);
    };
    let (x1, y1) = points[next];
    let Some((x0, y0)) = next.checked_sub(1).map(|before| points[before]) else { return y1 };
    y0 + (y1 - y0) * (at - x0) / (x1 - x0).max(1)
}

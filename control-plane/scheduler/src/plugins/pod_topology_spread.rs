//! Pods of a kind spread evenly over zones, nodes or whatever label divides the cluster.

mod counting;

use std::sync::Arc;

use super::{BEST, Context, Filter, Plugin, Point, Reject, Score};
use crate::index::sum;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::queue::{Event, Happening};
use crate::topology::Division;
use counting::{Constraint, Counting, constraints};

#[derive(Debug)]
pub(super) struct PodTopologySpread;

struct Hard(Vec<Counting>);

struct Soft {
    parts: Vec<Part>,
    /// Nodes that lack a label the pod asks to be spread by are not compared.
    ignored: Vec<Division>,
}

/// What one constraint adds to a score.
struct Part {
    division: Division,
    counts: Counts,
    /// The more domains there are, the less a pod in one of them counts for.
    weight: f64,
    max_skew: i32,
}

enum Counts {
    ByDomain(Vec<i32>),
    /// A domain is a node: its own count is all there is to know.
    ByNode(Arc<Vec<i32>>),
}

/// The score of a node that is not compared.
const IGNORED: i64 = -1;
const HOSTNAME: &str = "kubernetes.io/hostname";

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[
            Happening::NodeAdded,
            Happening::NodeRelabelled,
            Happening::NodeOpened,
            // An empty domain that goes holds the others back no more.
            Happening::NodeRemoved,
            Happening::PodRelabelled,
            Happening::PodLeft,
            Happening::PodCame,
        ]
    }

    /// Pods of other namespaces do not count.
    fn hint(&self, pod: &PodInfo, event: &Event) -> bool {
        event.pod().is_none_or(|other| other.namespace() == pod.namespace())
    }

    fn weight(&self) -> i64 {
        2
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        let (hard, _) = constraints(cx, "DoNotSchedule");
        (!hard.is_empty()).then(|| Box::new(Hard(Counting::all(cx, hard))) as Box<dyn Filter>)
    }

    fn score<'a>(&self, cx: Context<'a>, fit: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let (soft, all_keys) = constraints(cx, "ScheduleAnyway");
        if soft.is_empty() {
            return None;
        }
        let divisions: Vec<Division> = soft.iter().map(|c| cx.snapshot.division(&c.topology_key)).collect();
        let ignored = if all_keys { divisions.clone() } else { vec![] };
        let compared: Vec<usize> = fit.iter().map(|node| node.slot).filter(|slot| has_all(&ignored, *slot)).collect();
        let parts = soft.iter().zip(divisions).map(|(c, division)| Part::new(cx, c, division, &compared, &ignored));
        Some(Box::new(Soft { parts: parts.collect(), ignored }))
    }
}

fn has_all(divisions: &[Division], slot: usize) -> bool {
    divisions.iter().all(|division| division.of(slot).is_some())
}

impl Filter for Hard {
    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        for counting in &self.0 {
            let Some(domain) = counting.division.of(node.slot) else {
                return Reject::firmly("node(s) didn't match pod topology spread constraints (missing required label)");
            };
            if counting.skew_with_pod(domain) > counting.max_skew {
                return Reject::for_now("node(s) didn't match pod topology spread constraints");
            }
        }
        Ok(())
    }

    fn looks_beyond(&self) -> bool {
        true
    }

    fn shift(&mut self, node: &NodeInfo, other: &PodInfo, by: i32) {
        self.0.iter_mut().for_each(|counting| counting.shift(node.slot, other, by));
    }
}

impl Part {
    fn new(cx: Context, constraint: &Constraint, division: Division, compared: &[usize], all: &[Division]) -> Part {
        let counted = cx.snapshot.counts(&constraint.group, &constraint.topology_key);
        let by_node = constraint.topology_key == HOSTNAME;
        let domains = if by_node { compared.len() } else { domains(&division, compared) };
        let counts = match by_node {
            true => Counts::ByNode(counted.by_node),
            false => match constraint.mask(cx, all) {
                None => Counts::ByDomain(counted.by_domain.to_vec()),
                Some(mask) => {
                    let some: Vec<i32> =
                        counted.by_node.iter().zip(mask).map(|(n, m)| if m { *n } else { 0 }).collect();
                    Counts::ByDomain(sum(&some, &division.domain_of, division.nodes_in.len()))
                }
            },
        };
        Part { division, counts, weight: ((domains + 2) as f64).ln(), max_skew: constraint.max_skew }
    }

    fn of(&self, slot: usize) -> f64 {
        let Some(domain) = self.division.of(slot) else { return 0.0 };
        let count = match &self.counts {
            Counts::ByDomain(counts) => counts[domain],
            Counts::ByNode(counts) => counts.get(slot).copied().unwrap_or(0),
        };
        f64::from(count) * self.weight + f64::from(self.max_skew - 1)
    }
}

/// How many domains these nodes are in; being in none counts as one.
fn domains(division: &Division, slots: &[usize]) -> usize {
    let mut seen = vec![false; division.nodes_in.len() + 1];
    for slot in slots {
        seen[division.of(*slot).unwrap_or(division.nodes_in.len())] = true;
    }
    seen.into_iter().filter(|seen| *seen).count()
}

impl Score for Soft {
    fn of(&self, node: &NodeInfo) -> i64 {
        if !has_all(&self.ignored, node.slot) {
            return IGNORED;
        }
        self.parts.iter().map(|part| part.of(node.slot)).sum::<f64>().round() as i64
    }

    fn normalize(&self, scores: &mut [i64]) {
        let compared = || scores.iter().copied().filter(|score| *score != IGNORED);
        let (fewest, most) = (compared().min().unwrap_or(0), compared().max().unwrap_or(0));
        for score in scores {
            *score = match *score {
                IGNORED => 0,
                _ if most == 0 => BEST,
                score => BEST * (most + fewest - score) / most,
            };
        }
    }
}

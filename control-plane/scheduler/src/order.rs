//! The order in which nodes are looked at: by turns from every zone, and by name within one.
//!
//! A node that comes or goes costs its place in its own zone; the turns are taken while walking.

use std::collections::BTreeMap;

use crate::node::{Facts, NodeInfo};

/// Region and zone.
type Zone = [Option<String>; 2];

#[derive(Debug, Default)]
pub struct Order {
    zones: BTreeMap<Zone, Vec<u32>>,
    /// By turn, how many zones still have a node then.
    widths: Vec<usize>,
    nodes: usize,
}

impl Order {
    pub fn len(&self) -> usize {
        self.nodes
    }

    /// Takes in a node that is among `slots` already.
    pub fn add(&mut self, slot: usize, facts: &Facts, slots: &[NodeInfo]) {
        let zone = self.zones.entry(zone(facts)).or_default();
        let at = zone.partition_point(|known| slots[*known as usize].name() < facts.name.as_str());
        zone.insert(at, slot as u32);
        let turn = zone.len() - 1;
        if self.widths.len() <= turn {
            self.widths.push(0);
        }
        self.widths[turn] += 1;
        self.nodes += 1;
    }

    /// `facts` are those that it came with.
    pub fn remove(&mut self, slot: usize, facts: &Facts) {
        let name = zone(facts);
        let Some(zone) = self.zones.get_mut(&name) else { return };
        let Some(at) = zone.iter().position(|known| *known as usize == slot) else { return };
        zone.remove(at);
        let turn = zone.len();
        if zone.is_empty() {
            self.zones.remove(&name);
        }
        self.widths[turn] -= 1;
        self.widths.truncate(self.widths.iter().rposition(|width| *width > 0).map_or(0, |last| last + 1));
        self.nodes -= 1;
    }

    /// Every node once, from the one at this place on and then from the first.
    pub fn from(&self, start: usize) -> impl Iterator<Item = u32> {
        let (mut turn, mut left) = (0, start);
        while let Some(width) = self.widths.get(turn).filter(|width| **width <= left) {
            left -= width;
            turn += 1;
        }
        let mut walk = Walk { zones: self.zones.values().collect(), taking: vec![], turn, zone: left, shrinks_at: 0 };
        walk.take_turn();
        walk.take(self.nodes)
    }
}

/// Goes round and round.
struct Walk<'a> {
    zones: Vec<&'a Vec<u32>>,
    /// Those that have a node in this turn.
    taking: Vec<&'a Vec<u32>>,
    turn: usize,
    zone: usize,
    /// The turn that one of them is out of.
    shrinks_at: usize,
}

impl Walk<'_> {
    fn take_turn(&mut self) {
        let turn = self.turn;
        self.taking.clear();
        self.taking.extend(self.zones.iter().filter(|zone| zone.len() > turn));
        self.shrinks_at = self.taking.iter().map(|zone| zone.len()).min().unwrap_or(0);
    }
}

impl Iterator for Walk<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.zone >= self.taking.len() {
            (self.zone, self.turn) = (0, self.turn + 1);
            if self.turn >= self.shrinks_at {
                self.take_turn();
            }
            if self.taking.is_empty() {
                self.turn = 0;
                self.take_turn();
            }
        }
        let slot = *self.taking.get(self.zone)?.get(self.turn)?;
        self.zone += 1;
        Some(slot)
    }
}

fn zone(facts: &Facts) -> Zone {
    let label = |key: &str| facts.labels()?.get(key).cloned();
    [label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone")]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn facts(name: &str, zone: usize) -> Facts {
        let labels = serde_json::json!({"topology.kubernetes.io/zone": format!("z{zone}")});
        let node = serde_json::json!({"metadata": {"name": name, "labels": labels}});
        Facts::of(Arc::new(serde_json::from_value(node).unwrap()))
    }

    /// The same order, made anew from all nodes.
    fn made_anew(there: &BTreeMap<usize, (String, usize)>) -> Vec<u32> {
        let mut zones: BTreeMap<usize, Vec<(&str, u32)>> = BTreeMap::new();
        for (slot, (name, zone)) in there {
            zones.entry(*zone).or_default().push((name, *slot as u32));
        }
        zones.values_mut().for_each(|nodes| nodes.sort_unstable());
        let longest = zones.values().map(Vec::len).max().unwrap_or(0);
        let turns = (0..longest).flat_map(|turn| zones.values().filter_map(move |nodes| nodes.get(turn)));
        turns.map(|(_, slot)| *slot).collect()
    }

    #[test]
    fn what_comes_and_goes_leaves_the_order_that_all_together_have() {
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut order, mut there) = (Order::default(), BTreeMap::<usize, (String, usize)>::new());
            let mut slots: Vec<NodeInfo> = vec![NodeInfo::default(); 40];
            for _ in 0..200 {
                let slot = random.random_range(0..slots.len());
                match there.remove(&slot) {
                    Some((name, zone)) => order.remove(slot, &facts(&name, zone)),
                    None => {
                        let name = format!("n{}", random.random_range(0..1000) * 100 + slot);
                        // Zones of very different sizes.
                        let zone = random.random_range(0..3) * random.random_range(0..3);
                        slots[slot].facts = Arc::new(facts(&name, zone));
                        order.add(slot, &slots[slot].facts.clone(), &slots);
                        there.insert(slot, (name, zone));
                    }
                }
                let expected = made_anew(&there);
                assert_eq!(order.len(), expected.len());
                for start in 0..expected.len().max(1) {
                    let mut turned = expected.clone();
                    turned.rotate_left(start.min(expected.len()));
                    assert_eq!(order.from(start).collect::<Vec<_>>(), turned, "seed {seed}, from {start}");
                }
            }
        }
    }
}

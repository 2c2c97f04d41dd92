//! What divides the cluster: per label key of interest, the domain each node is in, as small numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::selectors::Labels;

/// The domain of a node without the label.
pub const NOWHERE: u32 = u32::MAX;

/// The divisions anything has asked about.
#[derive(Debug, Clone, Default)]
pub struct Topologies {
    keys: Vec<Topology>,
    by_name: HashMap<String, usize>,
    /// Grows whenever a node that counts changes its domain: sums over domains that are older are void.
    pub epoch: u64,
}

#[derive(Debug, Clone)]
struct Topology {
    name: String,
    domains: HashMap<String, u32>,
    names: Vec<String>,
    /// Numbers of domains that have lost their last node.
    free: Vec<u32>,
    division: Division,
}

/// The cluster as one label key divides it.
#[derive(Debug, Clone, Default)]
pub struct Division {
    /// By node slot.
    pub domain_of: Arc<Vec<u32>>,
    /// Nodes of each domain.
    pub nodes_in: Arc<Vec<u32>>,
    /// Nodes without the label.
    pub without: usize,
}

impl Topologies {
    /// The number of a key that is known.
    pub fn get(&self, key: &str) -> Option<usize> {
        self.by_name.get(key).copied()
    }

    pub fn at(&self, key: usize) -> &Division {
        &self.keys[key].division
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Drops every key: sums made before are void.
    pub fn forget(&mut self) {
        *self = Topologies { epoch: self.epoch + 1, ..Topologies::default() };
    }

    /// Takes up a key, with the nodes there are.
    pub fn add<'a>(
        &mut self,
        key: &str,
        slots: usize,
        nodes: impl Iterator<Item = (usize, Option<&'a Labels>)>,
    ) -> usize {
        let mut topology = Topology::new(key, slots);
        for (slot, labels) in nodes {
            topology.put(slot, None, Some(labels));
        }
        self.keys.push(topology);
        self.by_name.insert(key.to_owned(), self.keys.len() - 1);
        self.keys.len() - 1
    }

    /// A node came, went or has other labels. The outer option tells whether there is a node. True if any domain has changed.
    #[must_use = "sums over domains may be void"]
    pub fn put(&mut self, slot: usize, before: Option<Option<&Labels>>, after: Option<Option<&Labels>>) -> bool {
        let mut moved = false;
        self.keys.iter_mut().for_each(|key| moved |= key.put(slot, before, after));
        moved
    }
}

impl Topology {
    fn new(name: &str, slots: usize) -> Topology {
        Topology {
            name: name.to_owned(),
            domains: HashMap::new(),
            names: vec![],
            free: vec![],
            division: Division { domain_of: Arc::new(vec![NOWHERE; slots]), ..Division::default() },
        }
    }

    fn put(&mut self, slot: usize, before: Option<Option<&Labels>>, after: Option<Option<&Labels>>) -> bool {
        let lacks = |node: Option<Option<&Labels>>| node.is_some_and(|l| l.is_none_or(|l| !l.contains_key(&self.name)));
        self.division.without = self.division.without + usize::from(lacks(after)) - usize::from(lacks(before));
        let value = after.flatten().and_then(|labels| labels.get(&self.name));
        let now = value.map_or(NOWHERE, |value| self.domain(value));
        let domain_of = Arc::make_mut(&mut self.division.domain_of);
        if domain_of.len() <= slot {
            domain_of.resize(slot + 1, NOWHERE);
        }
        let was = std::mem::replace(&mut domain_of[slot], now);
        if was == now {
            return before.is_none() != after.is_none();
        }
        let nodes_in = Arc::make_mut(&mut self.division.nodes_in);
        if now != NOWHERE {
            nodes_in[now as usize] += 1;
        }
        if was != NOWHERE {
            nodes_in[was as usize] -= 1;
            if nodes_in[was as usize] == 0 {
                self.domains.remove(&self.names[was as usize]);
                self.free.push(was);
            }
        }
        true
    }

    fn domain(&mut self, value: &str) -> u32 {
        if let Some(known) = self.domains.get(value) {
            return *known;
        }
        let domain = self.free.pop().unwrap_or_else(|| {
            self.names.push(String::new());
            Arc::make_mut(&mut self.division.nodes_in).push(0);
            self.names.len() as u32 - 1
        });
        value.clone_into(&mut self.names[domain as usize]);
        self.domains.insert(value.to_owned(), domain);
        domain
    }
}

impl Division {
    /// The domain of the node in the slot, if it has the label.
    pub fn of(&self, slot: usize) -> Option<usize> {
        self.domain_of.get(slot).filter(|domain| **domain != NOWHERE).map(|domain| *domain as usize)
    }
}

//! How many pods of a choice run where, kept up rather than counted anew.
//!
//! Two questions need the whole cluster. *Which pods does this pod's term choose?* is answered by a tally per distinct choice,
//! made when it is first asked and brought up to date from the log of what has come and gone since. *Which existing pods' terms choose
//! this pod?* is answered by a register of all terms of all placed pods, kept up at every change and looked up by label.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::node::NodeInfo;
use crate::pod::{Choice, PodInfo, Term, Terms};
use crate::selectors::Labels;
use crate::topology::{NOWHERE, Topologies};

/// Tallies kept: as many kinds of pods as are scheduled by turns; each costs a few bytes per node.
const TALLIES: usize = 256;
/// Changes remembered for tallies that lag behind; one that lags further is counted anew, which costs about as much.
const LOG: usize = 16_384;
/// Label keys that divide the cluster; with more, those no placed pod uses are forgotten.
const KEYS: usize = 128;

/// Pods that all of these choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    pub all_of: Vec<Choice>,
    /// Pods that are being deleted count, too.
    pub with_leaving: bool,
}

impl Group {
    pub fn has<'a>(&self, pod: &PodInfo, of: impl Fn(&str) -> Option<&'a Labels>) -> bool {
        (self.with_leaving || !pod.is_leaving()) && self.all_of.iter().all(|choice| choice.chooses(pod, &of))
    }
}

#[derive(Debug, Clone, Default)]
pub struct Index {
    pub topologies: Topologies,
    tallies: HashMap<Group, Tally>,
    log: VecDeque<(usize, Arc<PodInfo>, i32)>,
    /// Changes ever logged.
    logged: u64,
    /// By slot, the last of them there.
    touched: Vec<u64>,
    asked: u64,
    register: Register,
}

#[derive(Debug, Clone)]
struct Tally {
    /// How much of the log is counted.
    seen: u64,
    last_asked: u64,
    total: i64,
    by_node: Arc<Vec<i32>>,
    by_domain: Vec<(usize, Sums)>,
}

#[derive(Debug, Clone)]
struct Sums {
    epoch: u64,
    of: Arc<Vec<i32>>,
}

/// What a tally answers.
#[derive(Debug, Clone)]
pub struct Counts {
    pub total: i64,
    pub by_node: Arc<Vec<i32>>,
    /// By domain of the topology key asked about.
    pub by_domain: Arc<Vec<i32>>,
}

/// Which kind of a placed pod's terms: they count differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wish {
    Near,
    Away,
    Preferred(i64),
}

/// A label's key and value.
type Label = (String, String);

/// The terms of the placed pods.
#[derive(Debug, Clone, Default)]
struct Register {
    entries: HashMap<(Wish, Term), Owners>,
    /// Which terms could choose a pod with a label; those that name no single label are under none.
    anchored: HashMap<Option<Label>, Vec<(Wish, Term)>>,
}

/// Pods that have a term.
#[derive(Debug, Clone, Default)]
struct Owners {
    key: usize,
    pods: i64,
    by_domain: HashMap<u32, i32>,
}

/// A term of placed pods that chooses the pod at hand.
pub struct Chosen<'a> {
    pub wish: Wish,
    pub key: usize,
    pub by_domain: &'a HashMap<u32, i32>,
}

impl Index {
    pub fn pod(&mut self, slot: usize, pod: &Arc<PodInfo>, by: i32, nodes: &[NodeInfo]) {
        if !pod.terms.is_empty() {
            self.register(slot, &pod.terms, by, nodes);
        }
        self.logged += 1;
        if self.touched.len() <= slot {
            self.touched.resize(slot + 1, 0);
        }
        self.touched[slot] = self.logged;
        if self.tallies.is_empty() {
            return self.log.clear();
        }
        self.log.push_back((slot, pod.clone(), by));
        if self.log.len() > LOG {
            self.log.pop_front();
        }
    }

    /// A node came, went or changed its labels; its pods' terms are near other nodes then.
    pub fn node(
        &mut self,
        slot: usize,
        before: Option<Option<&Labels>>,
        after: Option<Option<&Labels>>,
        nodes: &[NodeInfo],
    ) {
        if before == after {
            return;
        }
        let pods = nodes[slot].pods.iter().filter(|pod| !pod.terms.is_empty());
        pods.clone().for_each(|pod| self.register(slot, &pod.terms, -1, nodes));
        let moved = self.topologies.put(slot, before, after);
        // Of a node without pods nothing is in any sum, unless a tally has yet to learn that they went.
        let last = self.touched.get(slot).copied().unwrap_or(0);
        if moved && !(nodes[slot].pods.is_empty() && self.tallies.values().all(|tally| tally.seen >= last)) {
            self.topologies.epoch += 1;
        }
        pods.for_each(|pod| self.register(slot, &pod.terms, 1, nodes));
    }

    /// Labels of namespaces changed, and with them what some terms choose.
    pub fn namespaces(&mut self) {
        self.tallies.retain(|group, _| !group.all_of.iter().any(Choice::asks_namespaces));
    }

    pub fn key(&mut self, name: &str, nodes: &[NodeInfo]) -> usize {
        if let Some(known) = self.topologies.get(name) {
            return known;
        }
        if self.topologies.len() >= KEYS {
            self.forget_keys(nodes);
        }
        self.take_up(name, nodes)
    }

    fn take_up(&mut self, name: &str, nodes: &[NodeInfo]) -> usize {
        if let Some(known) = self.topologies.get(name) {
            return known;
        }
        let existing = nodes.iter().filter(|node| node.facts.node.is_some());
        self.topologies.add(name, nodes.len(), existing.map(|node| (node.slot, node.facts.labels())))
    }

    fn forget_keys(&mut self, nodes: &[NodeInfo]) {
        self.topologies.forget();
        self.register = Register::default();
        self.tallies.clear();
        for node in nodes {
            node.pods.iter().for_each(|pod| self.register(node.slot, &pod.terms, 1, nodes));
        }
    }

    fn register(&mut self, slot: usize, terms: &Terms, by: i32, nodes: &[NodeInfo]) {
        let near = terms.near.iter().map(|term| (Wish::Near, term));
        let away = terms.away.iter().map(|term| (Wish::Away, term));
        let preferred = terms.preferred.iter().map(|(term, weight)| (Wish::Preferred(*weight), term));
        for (wish, term) in near.chain(away).chain(preferred) {
            let key = self.take_up(&term.topology_key, nodes);
            let domain = self.topologies.at(key).domain_of.get(slot).copied().unwrap_or(NOWHERE);
            self.register.count((wish, term.clone()), key, domain, by);
        }
    }

    /// How many pods of the group run in each domain of the key.
    pub fn counts<'a>(
        &mut self,
        group: &Group,
        key: usize,
        nodes: &[NodeInfo],
        of: impl Fn(&str) -> Option<&'a Labels>,
    ) -> Counts {
        self.asked += 1;
        let mut tally = match self.tallies.remove(group) {
            Some(tally) => self.caught_up(tally, group, &of),
            None => {
                self.make_place();
                None
            }
        };
        let tally_now = tally.get_or_insert_with(|| Tally::count(group, nodes, self.logged, &of));
        tally_now.last_asked = self.asked;
        let by_domain = tally_now.by_domain(key, &self.topologies);
        let counts = Counts { total: tally_now.total, by_node: tally_now.by_node.clone(), by_domain };
        self.tallies.extend(tally.map(|tally| (group.clone(), tally)));
        counts
    }

    fn caught_up<'a>(
        &self,
        mut tally: Tally,
        group: &Group,
        of: &impl Fn(&str) -> Option<&'a Labels>,
    ) -> Option<Tally> {
        let behind = usize::try_from(self.logged - tally.seen).unwrap_or(usize::MAX);
        let from = self.log.len().checked_sub(behind)?;
        for (slot, pod, by) in self.log.range(from..) {
            if group.has(pod, of) {
                tally.change(*slot, *by, &self.topologies);
            }
        }
        tally.seen = self.logged;
        Some(tally)
    }

    fn make_place(&mut self) {
        if self.tallies.len() < TALLIES {
            return;
        }
        let stalest = self.tallies.iter().min_by_key(|(_, tally)| tally.last_asked).map(|(group, _)| group.clone());
        if let Some(group) = stalest {
            self.tallies.remove(&group);
        }
    }

    /// The terms of placed pods that choose this pod.
    pub fn choosing<'a, 'b>(
        &'b self,
        pod: &'b PodInfo,
        of: impl Fn(&str) -> Option<&'a Labels> + 'b,
    ) -> impl Iterator<Item = Chosen<'b>> {
        let labels = pod.labels().into_iter().flatten();
        let anchors = labels.map(|(key, value)| Some((key.clone(), value.clone()))).chain([None]);
        let terms = anchors.filter_map(|anchor| self.register.anchored.get(&anchor)).flatten();
        let choosing = terms.filter(move |(_, term)| term.choice.chooses(pod, &of));
        choosing.filter_map(|entry| {
            let owners = self.register.entries.get(entry)?;
            Some(Chosen { wish: entry.0, key: owners.key, by_domain: &owners.by_domain })
        })
    }

    pub fn has_terms(&self) -> bool {
        !self.register.entries.is_empty()
    }
}

impl Register {
    fn count(&mut self, entry: (Wish, Term), key: usize, domain: u32, by: i32) {
        let anchor = |entry: &(Wish, Term)| {
            entry.1.choice.selector.anchor().map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        let owners = self.entries.entry(entry.clone()).or_insert_with(|| {
            self.anchored.entry(anchor(&entry)).or_default().push(entry.clone());
            Owners { key, ..Owners::default() }
        });
        owners.pods += i64::from(by);
        if domain != NOWHERE {
            let count = owners.by_domain.entry(domain).or_default();
            *count += by;
            if *count == 0 {
                owners.by_domain.remove(&domain);
            }
        }
        if owners.pods == 0 {
            self.entries.remove(&entry);
            let anchor = anchor(&entry);
            if let Some(entries) = self.anchored.get_mut(&anchor) {
                entries.retain(|known| *known != entry);
                if entries.is_empty() {
                    self.anchored.remove(&anchor);
                }
            }
        }
    }
}

impl Tally {
    fn count<'a>(group: &Group, nodes: &[NodeInfo], seen: u64, of: &impl Fn(&str) -> Option<&'a Labels>) -> Tally {
        let on = |node: &NodeInfo| node.pods.iter().filter(|pod| group.has(pod, of)).count() as i32;
        let by_node: Vec<i32> = nodes.iter().map(on).collect();
        let total = by_node.iter().map(|count| i64::from(*count)).sum();
        Tally { seen, last_asked: 0, total, by_node: Arc::new(by_node), by_domain: vec![] }
    }

    fn change(&mut self, slot: usize, by: i32, topologies: &Topologies) {
        let by_node = Arc::make_mut(&mut self.by_node);
        if by_node.len() <= slot {
            by_node.resize(slot + 1, 0);
        }
        by_node[slot] += by;
        self.total += i64::from(by);
        for (key, sums) in self.by_domain.iter_mut().filter(|(_, sums)| sums.epoch == topologies.epoch) {
            let domain = topologies.at(*key).domain_of.get(slot).copied().unwrap_or(NOWHERE);
            if domain != NOWHERE {
                let sums = Arc::make_mut(&mut sums.of);
                if sums.len() <= domain as usize {
                    sums.resize(domain as usize + 1, 0);
                }
                sums[domain as usize] += by;
            }
        }
    }

    fn by_domain(&mut self, key: usize, topologies: &Topologies) -> Arc<Vec<i32>> {
        self.by_domain.retain(|(_, sums)| sums.epoch == topologies.epoch);
        let domains = topologies.at(key).nodes_in.len();
        if let Some((_, sums)) = self.by_domain.iter_mut().find(|(known, _)| *known == key) {
            if sums.of.len() < domains {
                Arc::make_mut(&mut sums.of).resize(domains, 0);
            }
            return sums.of.clone();
        }
        let of = Arc::new(sum(&self.by_node, &topologies.at(key).domain_of, domains));
        self.by_domain.push((key, Sums { epoch: topologies.epoch, of: of.clone() }));
        of
    }
}

/// Counts by node, summed by domain.
pub fn sum(by_node: &[i32], domain_of: &[u32], domains: usize) -> Vec<i32> {
    let mut sums = vec![0; domains];
    for (count, domain) in by_node.iter().zip(domain_of).filter(|(count, domain)| **count != 0 && **domain != NOWHERE) {
        sums[*domain as usize] += count;
    }
    sums
}

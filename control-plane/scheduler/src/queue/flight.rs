//! What happens while pods are on their way: who comes back without a place must not have missed what would have helped.
//!
//! Nothing is kept while nobody is on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use client::Key;

use super::{Event, Happening};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Events that are kept: a pod that was on its way for longer counts as helped.
const KEPT_MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Who is on the way, since the event of this number.
    since: HashMap<Key, u64>,
    order: BTreeSet<(u64, Key)>,
    log: VecDeque<Logged>,
    /// The number of the first that is kept.
    first: u64,
    counts: BTreeMap<&'static str, usize>,
}

#[derive(Debug)]
enum Logged {
    Node(Happening, Box<NodeInfo>),
    Pod(Happening, Arc<PodInfo>),
}

impl Logged {
    fn event(&self) -> Event<'_> {
        match self {
            Logged::Node(happening, node) => Event::Node(*happening, node),
            Logged::Pod(happening, pod) => Event::Pod(*happening, pod),
        }
    }
}

impl Flight {
    pub(super) fn began(&mut self, key: &Key) {
        self.ended(key);
        let now = self.first + self.log.len() as u64;
        self.since.insert(key.clone(), now);
        self.order.insert((now, key.clone()));
    }

    pub(super) fn ended(&mut self, key: &Key) {
        let Some(since) = self.since.remove(key) else { return };
        self.order.remove(&(since, key.clone()));
        let needed = self.order.first().map(|(since, _)| *since);
        while !self.log.is_empty() && needed.is_none_or(|needed| self.first < needed) {
            self.drop_first();
        }
    }

    pub(super) fn happened(&mut self, event: &Event) {
        if self.since.is_empty() {
            return;
        }
        if self.log.len() >= KEPT_MOST {
            self.drop_first();
        }
        self.log.push_back(match event {
            Event::Node(happening, node) => Logged::Node(*happening, Box::new(node.sums())),
            Event::Pod(happening, pod) => Logged::Pod(*happening, (*pod).clone()),
        });
        *self.counts.entry(event.happening().label()).or_default() += 1;
    }

    /// What happened since the pod went on its way, the first that fits the description; none has an event where something is
    /// not known any more.
    pub(super) fn missed(&self, key: &Key, helps: impl Fn(&Event) -> bool) -> Option<Happening> {
        let since = *self.since.get(key)?;
        if since < self.first {
            return Some(Happening::NodeAdded);
        }
        let events = self.log.iter().skip((since - self.first) as usize).map(Logged::event);
        events.filter(|event| helps(event)).map(|event| event.happening()).next()
    }

    /// Events that are kept, by name.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, usize> {
        &self.counts
    }

    pub(super) fn pods(&self) -> usize {
        self.since.len()
    }

    fn drop_first(&mut self) {
        let Some(logged) = self.log.pop_front() else { return };
        self.first += 1;
        let label = logged.event().happening().label();
        if let Some(count) = self.counts.get_mut(label) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(label);
            }
        }
    }
}

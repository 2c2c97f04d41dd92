//! Which pod is scheduled next: active by priority, backing off, or waiting for something that may help. No clock, no IO.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use client::Key;

use crate::plugins::ALL;

/// As upstream: the first wait after a failed attempt, and the longest.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MOST: Duration = Duration::from_secs(10);
/// A pod that nothing helped for so long is tried anyway.
const PARKED_MOST: Duration = Duration::from_secs(300);

/// What happens in the cluster that may let a waiting pod through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    NodeAdded,
    /// More of some resource.
    NodeGrew,
    NodeRelabelled,
    /// Fewer taints, or no longer cordoned.
    NodeOpened,
    /// A pod ended or left its node.
    PodLeft,
    /// A pod came to a node or changed its labels there.
    PodCame,
}

#[derive(Debug, Default)]
pub struct Queue {
    waiting: HashMap<Key, Waiting>,
    /// Highest priority first, then who came first.
    active: BTreeSet<(std::cmp::Reverse<i32>, u64, Key)>,
    backing_off: BTreeSet<(Instant, Key)>,
    parked: BTreeMap<Key, Parked>,
    arrivals: u64,
}

#[derive(Debug, Clone)]
struct Waiting {
    priority: i32,
    arrival: u64,
    attempts: u32,
    /// Where the pod is now; none while it is being scheduled or bound.
    place: Option<Place>,
    ready_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    BackingOff,
    Parked,
}

#[derive(Debug)]
struct Parked {
    refused_by: BTreeSet<&'static str>,
    since: Instant,
}

impl Queue {
    /// Takes a pod in, or notes its change: a changed pod is worth another try.
    pub fn put(&mut self, key: &Key, priority: i32, now: Instant) {
        match self.waiting.get_mut(key) {
            None => {
                self.arrivals += 1;
                let waiting = Waiting { priority, arrival: self.arrivals, attempts: 0, place: None, ready_at: None };
                self.waiting.insert(key.clone(), waiting);
                self.activate(key, now);
            }
            Some(waiting) if waiting.place == Some(Place::Parked) => self.activate(key, now),
            Some(_) => {}
        }
    }

    /// The pod needs no node any more.
    pub fn remove(&mut self, key: &Key) {
        self.unplace(key);
        self.waiting.remove(key);
    }

    pub fn take(&mut self, now: Instant) -> Option<Key> {
        self.wake(now);
        let (_, _, key) = self.active.pop_first()?;
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.place = None;
            waiting.attempts += 1;
        }
        Some(key)
    }

    /// The attempt failed for no reason of the cluster's: it is made again after a while.
    pub fn failed(&mut self, key: &Key, now: Instant) {
        self.set_back(key, now);
        self.activate(key, now);
    }

    /// No node takes the pod: it waits until something happens that may help who refused it.
    pub fn park(&mut self, key: &Key, refused_by: BTreeSet<&'static str>, now: Instant) {
        self.set_back(key, now);
        self.unplace(key);
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.place = Some(Place::Parked);
            self.parked.insert(key.clone(), Parked { refused_by, since: now });
        }
    }

    /// Something happened: who may be helped by it is tried again.
    pub fn happened(&mut self, happening: Happening, now: Instant) {
        let helps = |name: &str| ALL.iter().any(|p| p.name() == name && p.helped_by().contains(&happening));
        // A pod that nobody refused met an empty cluster: anything helps.
        let helped = |parked: &Parked| parked.refused_by.is_empty() || parked.refused_by.iter().any(|name| helps(name));
        let keys: Vec<Key> = self.parked.iter().filter(|(_, p)| helped(p)).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.activate(key, now));
    }

    /// When a pod may become ready by the passing of time alone.
    pub fn next_at(&self) -> Option<Instant> {
        let backoff = self.backing_off.first().map(|(at, _)| *at);
        let parked = self.parked.values().map(|parked| parked.since + PARKED_MOST).min();
        backoff.into_iter().chain(parked).min()
    }

    fn wake(&mut self, now: Instant) {
        while self.backing_off.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.backing_off.pop_first() else { return };
            self.activate(&key, now);
        }
        let expired = |parked: &&Parked| now.duration_since(parked.since) >= PARKED_MOST;
        let keys: Vec<Key> = self.parked.iter().filter(|(_, p)| expired(p)).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.activate(key, now));
    }

    fn set_back(&mut self, key: &Key, now: Instant) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            let failures = waiting.attempts.saturating_sub(1);
            waiting.ready_at = Some(now + client::backoff::delay(BACKOFF_FIRST, BACKOFF_MOST, failures));
        }
    }

    /// Makes a pod active, or lets it back off first if it must.
    fn activate(&mut self, key: &Key, now: Instant) {
        self.unplace(key);
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        match waiting.ready_at.filter(|at| *at > now) {
            Some(at) => {
                waiting.place = Some(Place::BackingOff);
                self.backing_off.insert((at, key.clone()));
            }
            None => {
                waiting.place = Some(Place::Active);
                self.active.insert((std::cmp::Reverse(waiting.priority), waiting.arrival, key.clone()));
            }
        }
    }

    fn unplace(&mut self, key: &Key) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        match waiting.place.take() {
            Some(Place::Active) => {
                self.active.remove(&(std::cmp::Reverse(waiting.priority), waiting.arrival, key.clone()));
            }
            Some(Place::BackingOff) => self.backing_off.retain(|(_, other)| other != key),
            Some(Place::Parked) => drop(self.parked.remove(key)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    #[test]
    fn priority_first_then_arrival() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (name, priority) in [("low", 0), ("high", 10), ("low2", 0)] {
            queue.put(&key(name), priority, now);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.take(now)).map(|key| key.name).collect();
        assert_eq!(order, ["high", "low", "low2"]);
    }

    #[test]
    fn a_parked_pod_is_woken_by_what_helps_it_and_backs_off() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.put(&key("x"), 0, now);
        queue.take(now).unwrap();
        queue.park(&key("x"), BTreeSet::from(["NodeResourcesFit"]), now);
        queue.happened(Happening::NodeRelabelled, now);
        assert_eq!(queue.next_at(), Some(now + PARKED_MOST), "labels do not make room");
        queue.happened(Happening::PodLeft, now);
        assert_eq!(queue.take(now), None, "it backs off first");
        assert_eq!(queue.next_at(), Some(now + BACKOFF_FIRST));
        assert_eq!(queue.take(now + BACKOFF_FIRST), Some(key("x")));
        queue.park(&key("x"), BTreeSet::from(["NodeName"]), now);
        assert_eq!(queue.take(now + PARKED_MOST), Some(key("x")), "nothing helped, but it is tried anyway");
    }

    #[test]
    fn a_removed_pod_is_gone_wherever_it_was() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for name in ["active", "parked", "failed"] {
            queue.put(&key(name), 0, now);
        }
        assert_eq!(queue.take(now), Some(key("active")));
        queue.failed(&key("active"), now);
        queue.take(now).unwrap();
        queue.park(&key("parked"), BTreeSet::new(), now);
        for name in ["active", "parked", "failed"] {
            queue.remove(&key(name));
        }
        assert_eq!(queue.take(now + PARKED_MOST), None);
        assert_eq!(queue.next_at(), None);
    }
}

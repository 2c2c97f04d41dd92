//! Which pod is scheduled next: active by priority, backing off, or waiting for something that may help. No clock, no IO.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Key;

use crate::node::NodeInfo;
use crate::plugins::ALL;
use crate::pod::PodInfo;
use crate::schedule::EXTENDER;

/// A pod that nothing helped for so long is tried anyway. As upstream.
const PARKED_MOST: Duration = Duration::from_secs(300);

/// How long a pod waits after a failed attempt: first, and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Default for Backoff {
    /// As upstream.
    fn default() -> Backoff {
        Backoff { first: Duration::from_secs(1), most: Duration::from_secs(10) }
    }
}

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

/// What happened, with the object it happened to.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    Node(Happening, &'a NodeInfo),
    Pod(Happening, &'a PodInfo),
}

impl<'a> Event<'a> {
    pub fn happening(&self) -> Happening {
        match self {
            Event::Node(happening, _) | Event::Pod(happening, _) => *happening,
        }
    }

    pub fn node(&self) -> Option<&'a NodeInfo> {
        match self {
            Event::Node(_, node) => Some(node),
            Event::Pod(..) => None,
        }
    }

    pub fn pod(&self) -> Option<&'a PodInfo> {
        match self {
            Event::Pod(_, pod) => Some(pod),
            Event::Node(..) => None,
        }
    }
}

type RefusedBy = BTreeSet<&'static str>;

#[derive(Debug, Default)]
pub struct Queue {
    backoff: Backoff,
    waiting: HashMap<Key, Waiting>,
    /// Highest priority first, then who came first.
    active: BTreeSet<(Reverse<i32>, u64, Key)>,
    backing_off: BTreeSet<(Instant, Key)>,
    /// By who refused them: what helps none of these is asked about no pod.
    parked: BTreeMap<RefusedBy, BTreeSet<Key>>,
    parked_since: BTreeSet<(Instant, Key)>,
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    pod: Arc<PodInfo>,
    arrival: u64,
    attempts: u32,
    /// When the first attempt was made.
    first: Option<Instant>,
    place: Place,
    /// No attempt is made earlier.
    ready_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Active,
    BackingOff(Instant),
    Parked(Instant, RefusedBy),
    /// It is being scheduled or bound.
    Away,
}

impl Queue {
    pub fn new(backoff: Backoff) -> Queue {
        Queue { backoff, ..Queue::default() }
    }

    /// Takes a pod in, or notes its change: a pod that asks for something else than before is worth another try.
    pub fn put(&mut self, key: &Key, pod: Arc<PodInfo>, now: Instant) {
        let Some(waiting) = self.waiting.get_mut(key) else {
            self.arrivals += 1;
            let (arrival, place) = (self.arrivals, Place::Away);
            self.waiting.insert(key.clone(), Waiting { pod, arrival, attempts: 0, first: None, place, ready_at: None });
            return self.activate(key, now);
        };
        let asks_anew = waiting.pod.pod.spec != pod.pod.spec || waiting.pod.labels() != pod.labels();
        let place = waiting.place.clone();
        let moves = asks_anew && place != Place::Away;
        if moves {
            self.unplace(key);
        }
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.pod = pod;
        }
        if moves {
            self.activate(key, now);
        }
    }

    /// The pod needs no node any more.
    pub fn remove(&mut self, key: &Key) {
        self.unplace(key);
        self.waiting.remove(key);
    }

    pub fn take(&mut self, now: Instant) -> Option<(Key, Arc<PodInfo>)> {
        self.wake(now);
        let (_, _, key) = self.active.pop_first()?;
        let waiting = self.waiting.get_mut(&key)?;
        waiting.place = Place::Away;
        waiting.attempts += 1;
        waiting.first.get_or_insert(now);
        let pod = waiting.pod.clone();
        Some((key, pod))
    }

    /// How often a pod was tried, and when first.
    pub fn tried(&self, key: &Key) -> Option<(u32, Instant)> {
        self.waiting.get(key).and_then(|waiting| Some((waiting.attempts, waiting.first?)))
    }

    /// Pods that wait: to be tried next, for a while, and for something to happen.
    pub fn sizes(&self) -> [usize; 3] {
        [self.active.len(), self.backing_off.len(), self.parked_since.len()]
    }

    /// The attempt failed for no reason of the cluster's: it is made again after a while.
    pub fn failed(&mut self, key: &Key, now: Instant) {
        self.set_back(key, now);
        self.activate(key, now);
    }

    /// No node takes the pod: it waits until something happens that may help who refused it.
    pub fn park(&mut self, key: &Key, refused_by: RefusedBy, now: Instant) {
        self.set_back(key, now);
        self.unplace(key);
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.place = Place::Parked(now, refused_by.clone());
            self.parked.entry(refused_by).or_default().insert(key.clone());
            self.parked_since.insert((now, key.clone()));
        }
    }

    /// Something happened: who may be helped by it is tried again.
    pub fn happened(&mut self, event: &Event, now: Instant) {
        let mut helped: Vec<Key> = vec![];
        for (refused_by, keys) in &self.parked {
            let refusing = ALL.iter().filter(|plugin| refused_by.contains(plugin.name()));
            let helping: Vec<_> = refusing.filter(|p| p.helped_by().contains(&event.happening())).collect();
            // A pod that nobody refused met an empty cluster, and nobody knows what helps an extender: anything may.
            let anything = refused_by.is_empty() || refused_by.contains(EXTENDER);
            if helping.is_empty() && !anything {
                continue;
            }
            let hint = |pod: &PodInfo| anything || helping.iter().any(|plugin| plugin.hint(pod, event));
            helped.extend(keys.iter().filter(|key| self.waiting.get(*key).is_some_and(|w| hint(&w.pod))).cloned());
        }
        helped.iter().for_each(|key| self.activate(key, now));
    }

    /// When a pod may become ready by the passing of time alone.
    pub fn next_at(&self) -> Option<Instant> {
        let backoff = self.backing_off.first().map(|(at, _)| *at);
        let parked = self.parked_since.first().map(|(since, _)| *since + PARKED_MOST);
        backoff.into_iter().chain(parked).min()
    }

    fn wake(&mut self, now: Instant) {
        while let Some((_, key)) = self.backing_off.first().filter(|(at, _)| *at <= now).cloned() {
            self.activate(&key, now);
        }
        let expired = |since: &Instant| now.duration_since(*since) >= PARKED_MOST;
        while let Some((_, key)) = self.parked_since.first().filter(|(since, _)| expired(since)).cloned() {
            self.activate(&key, now);
        }
    }

    fn set_back(&mut self, key: &Key, now: Instant) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            let failures = waiting.attempts.saturating_sub(1);
            waiting.ready_at = Some(now + client::backoff::delay(self.backoff.first, self.backoff.most, failures));
        }
    }

    /// Makes a pod active, or lets it back off first if it must.
    fn activate(&mut self, key: &Key, now: Instant) {
        self.unplace(key);
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        match waiting.ready_at.filter(|at| *at > now) {
            Some(at) => {
                waiting.place = Place::BackingOff(at);
                self.backing_off.insert((at, key.clone()));
            }
            None => {
                waiting.place = Place::Active;
                self.active.insert((Reverse(waiting.pod.priority), waiting.arrival, key.clone()));
            }
        }
    }

    fn unplace(&mut self, key: &Key) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        match std::mem::replace(&mut waiting.place, Place::Away) {
            Place::Active => {
                self.active.remove(&(Reverse(waiting.pod.priority), waiting.arrival, key.clone()));
            }
            Place::BackingOff(at) => drop(self.backing_off.remove(&(at, key.clone()))),
            Place::Parked(since, refused_by) => {
                self.parked_since.remove(&(since, key.clone()));
                if let Some(keys) = self.parked.get_mut(&refused_by) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.parked.remove(&refused_by);
                    }
                }
            }
            Place::Away => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    fn pod(spec: serde_json::Value) -> Arc<PodInfo> {
        let pod = serde_json::json!({"metadata": {"namespace": "a"}, "spec": spec});
        Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap())))
    }

    fn plain(priority: i32) -> Arc<PodInfo> {
        pod(serde_json::json!({"priority": priority, "containers": []}))
    }

    fn taken(queue: &mut Queue, now: Instant) -> Option<Key> {
        queue.take(now).map(|(key, _)| key)
    }

    #[test]
    fn priority_first_then_arrival() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for (name, priority) in [("low", 0), ("high", 10), ("low2", 0)] {
            queue.put(&key(name), plain(priority), now);
        }
        let order: Vec<_> = std::iter::from_fn(|| taken(&mut queue, now)).map(|key| key.name).collect();
        assert_eq!(order, ["high", "low", "low2"]);
    }

    #[test]
    fn a_parked_pod_is_woken_by_what_helps_it_and_backs_off() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.put(&key("x"), plain(0), now);
        queue.take(now).unwrap();
        queue.park(&key("x"), BTreeSet::from(["NodeResourcesFit"]), now);
        let node = NodeInfo::default();
        queue.happened(&Event::Node(Happening::NodeRelabelled, &node), now);
        assert_eq!(queue.next_at(), Some(now + PARKED_MOST), "labels do not make room");
        queue.happened(&Event::Pod(Happening::PodLeft, &plain(0)), now);
        assert_eq!(taken(&mut queue, now), None, "it backs off first");
        assert_eq!(queue.next_at(), Some(now + FIRST));
        assert_eq!(taken(&mut queue, now + FIRST), Some(key("x")));
        queue.park(&key("x"), BTreeSet::from(["NodeName"]), now);
        assert_eq!(taken(&mut queue, now + PARKED_MOST), Some(key("x")), "nothing helped, but it is tried anyway");
    }

    #[test]
    fn a_removed_pod_is_gone_wherever_it_was() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for name in ["active", "parked", "failed"] {
            queue.put(&key(name), plain(0), now);
        }
        assert_eq!(taken(&mut queue, now), Some(key("active")));
        queue.failed(&key("active"), now);
        queue.take(now).unwrap();
        queue.park(&key("parked"), BTreeSet::new(), now);
        for name in ["active", "parked", "failed"] {
            queue.remove(&key(name));
        }
        assert_eq!(taken(&mut queue, now + PARKED_MOST), None);
        assert_eq!(queue.next_at(), None);
    }

    #[test]
    fn only_a_pod_that_asks_for_something_else_is_tried_again() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.put(&key("x"), plain(0), now);
        queue.take(now).unwrap();
        queue.park(&key("x"), BTreeSet::from(["NodeAffinity"]), now);
        queue.put(&key("x"), plain(0), now);
        assert_eq!(queue.next_at(), Some(now + PARKED_MOST), "its condition was written, no more");
        queue.put(&key("x"), pod(serde_json::json!({"containers": [], "nodeSelector": {"a": "b"}})), now);
        assert_eq!(taken(&mut queue, now + FIRST), Some(key("x")));
    }

    #[test]
    fn a_hint_looks_at_the_object() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let wanting = |port: u16| {
            let ports = serde_json::json!([{"containerPort": port, "hostPort": port}]);
            pod(serde_json::json!({"containers": [{"name": "c", "ports": ports}]}))
        };
        queue.put(&key("x"), wanting(80), now);
        queue.take(now).unwrap();
        queue.park(&key("x"), BTreeSet::from(["NodePorts"]), now);
        queue.happened(&Event::Pod(Happening::PodLeft, &wanting(81)), now);
        assert_eq!(queue.next_at(), Some(now + PARKED_MOST), "another port was set free");
        queue.happened(&Event::Pod(Happening::PodLeft, &wanting(80)), now);
        assert_eq!(queue.next_at(), Some(now + FIRST));
    }

    #[test]
    fn waits_double_from_the_first_to_the_longest() {
        let mut now = Instant::now();
        let mut queue = Queue::new(Backoff { first: Duration::from_secs(2), most: Duration::from_secs(5) });
        queue.put(&key("x"), plain(0), now);
        for seconds in [2, 4, 5, 5] {
            queue.take(now).unwrap();
            queue.failed(&key("x"), now);
            assert_eq!(queue.next_at(), Some(now + Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
        }
    }
}

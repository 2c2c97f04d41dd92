//! Which pod is scheduled next: active in the order of QueueSort, backing off, waiting for something that may help, or held back
//! by a plugin at PreEnqueue. No clock, no IO.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Key;

use crate::plugins::{PrioritySort, Registered};
use crate::pod::{PodInfo, scheduler_name};
use crate::profile::Profile;
use crate::schedule::EXTENDER;

mod flight;
mod happening;

use flight::Flight;
pub use happening::{Event, Happening};

/// A pod that nothing helped for so long is tried anyway. As upstream.
const PARKED_MOST: Duration = Duration::from_secs(300);
/// Pods that back off among which one is looked for that may go early: those that failed stay, and these are few.
const LOOKED_MOST: usize = 100;

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

// Why a pod comes into a part of the queue, besides what happens in the cluster; upstream's names.
const CAME: &str = "UnschedulablePodAdd";
const CHANGED: &str = "UnschedulablePodUpdate";
const FAILED: &str = "ScheduleAttemptFailure";
const BACKED_OFF: &str = "BackoffComplete";
const TIMED_OUT: &str = "UnschedulableTimeout";

type RefusedBy = BTreeSet<&'static str>;

/// The plugins that pods in the queue have to do with.
#[derive(Debug)]
pub struct Rules {
    /// All that may have refused a pod.
    plugins: Vec<Registered>,
    sort: Registered,
    /// Those at PreEnqueue, by the name of the scheduler.
    gates: HashMap<String, Vec<Registered>>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules::of(&[Profile::default()])
    }
}

impl Rules {
    pub fn of(profiles: &[Profile]) -> Rules {
        let mut plugins: Vec<Registered> = vec![];
        for plugin in profiles.iter().flat_map(Profile::refusing) {
            if !plugins.iter().any(|known| known.name() == plugin.name()) {
                plugins.push(plugin);
            }
        }
        let gates = profiles.iter().map(|profile| (profile.scheduler_name.clone(), profile.pre_enqueue.clone()));
        let sort = profiles.first().map_or(&PrioritySort as Registered, |profile| profile.queue_sort);
        Rules { plugins, sort, gates: gates.collect() }
    }

    /// The plugin that holds the pod back, if one does.
    fn gate(&self, pod: &PodInfo) -> Option<&'static str> {
        let gates = self.gates.get(scheduler_name(&pod.pod))?;
        gates.iter().find(|plugin| plugin.pre_enqueue(pod).is_err()).map(|plugin| plugin.name())
    }

    /// Those of the refusing plugins that such an event may help; none where it helps nobody.
    fn helping(&self, refused_by: &RefusedBy, event: &Event) -> Option<Helping> {
        // A pod that nobody refused met an empty cluster, and nobody knows what helps an extender: anything may.
        if refused_by.is_empty() || refused_by.contains(EXTENDER) {
            return Some(Helping::Anything);
        }
        let refusing = self.plugins.iter().filter(|plugin| refused_by.contains(plugin.name()));
        let helping: Vec<_> = refusing.filter(|p| p.helped_by().contains(&event.happening())).copied().collect();
        (!helping.is_empty()).then_some(Helping::Plugins(helping))
    }
}

/// Who may be helped by something that happened.
enum Helping {
    Anything,
    Plugins(Vec<Registered>),
}

impl Helping {
    fn helps(&self, pod: &PodInfo, event: &Event, told: &mut dyn FnMut(&'static str, bool)) -> bool {
        let Helping::Plugins(plugins) = self else { return true };
        plugins.iter().any(|plugin| {
            let hopes = plugin.hint(pod, event);
            told(plugin.name(), hopes);
            hopes
        })
    }
}

/// How many pods are in each part of the queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub active: usize,
    pub backoff: usize,
    pub unschedulable: usize,
    pub gated: usize,
}

#[derive(Debug, Default)]
pub struct Queue {
    backoff: Backoff,
    rules: Rules,
    waiting: HashMap<Key, Waiting>,
    /// The smallest rank first, then who came first.
    active: BTreeSet<(i64, u64, Key)>,
    backing_off: BTreeSet<(Instant, Key)>,
    /// By who refused them: what helps none of these is asked about no pod.
    parked: BTreeMap<RefusedBy, BTreeSet<Key>>,
    parked_since: BTreeSet<(Instant, Key)>,
    /// Held back at PreEnqueue.
    gated: BTreeMap<&'static str, BTreeSet<Key>>,
    arrivals: u64,
    ledger: Ledger,
    flight: Flight,
}

/// What the queue has counted, for whoever shows it.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// Pods that came into each part, with why.
    pub incoming: BTreeMap<(&'static str, &'static str), u64>,
    /// Pods that are parked, by scheduler and plugin that refused them.
    pub refused: BTreeMap<(String, &'static str), u64>,
    /// Another one has other counts.
    pub version: u64,
}

impl Ledger {
    fn came(&mut self, part: &'static str, cause: &'static str) {
        *self.incoming.entry((part, cause)).or_default() += 1;
        self.version += 1;
    }

    fn refused(&mut self, scheduler: &str, by: &RefusedBy, parked: bool) {
        for plugin in by {
            let entry = self.refused.entry((scheduler.to_owned(), *plugin)).or_default();
            *entry = if parked { *entry + 1 } else { entry.saturating_sub(1) };
        }
        self.refused.retain(|_, pods| *pods > 0);
        self.version += 1;
    }
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
    /// Nothing helped it: it is tried because so much time has passed.
    timed_out: bool,
    /// It asks for something else than when it was given out.
    asks_anew: bool,
    /// The last attempt failed for no reason of the cluster's.
    failed: bool,
}

impl Waiting {
    fn new(pod: Arc<PodInfo>, arrival: u64) -> Waiting {
        Waiting {
            pod,
            arrival,
            attempts: 0,
            first: None,
            place: Place::Away,
            ready_at: None,
            timed_out: false,
            asks_anew: false,
            failed: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// With its rank.
    Active(i64),
    BackingOff(Instant),
    Parked(Instant, RefusedBy),
    Gated(&'static str),
    /// It is being scheduled or bound.
    Away,
}

impl Queue {
    pub fn new(backoff: Backoff, rules: Rules) -> Queue {
        Queue { backoff, rules, ..Queue::default() }
    }

    /// Takes a pod in, or notes its change: a pod that asks for something else than before is worth another try.
    pub fn put(&mut self, key: &Key, pod: Arc<PodInfo>, now: Instant) {
        let Some(waiting) = self.waiting.get_mut(key) else {
            self.arrivals += 1;
            self.waiting.insert(key.clone(), Waiting::new(pod, self.arrivals));
            return self.activate(key, now, CAME);
        };
        let asks_anew = waiting.pod.pod.spec != pod.pod.spec || waiting.pod.labels() != pod.labels();
        let place = waiting.place.clone();
        // What holds it back may look at anything of it.
        let moves = (asks_anew || matches!(place, Place::Gated(_))) && place != Place::Away;
        if moves {
            self.unplace(key);
        }
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.pod = pod;
            waiting.asks_anew |= asks_anew && place == Place::Away;
        }
        if moves {
            self.activate(key, now, CHANGED);
        }
    }

    /// The pod needs no node any more.
    pub fn remove(&mut self, key: &Key) {
        self.unplace(key);
        self.flight.ended(key);
        self.waiting.remove(key);
    }

    pub fn take(&mut self, now: Instant) -> Option<(Key, Arc<PodInfo>)> {
        self.wake(now);
        if self.active.is_empty() {
            self.hurry();
        }
        let (_, _, key) = self.active.pop_first()?;
        let waiting = self.waiting.get_mut(&key)?;
        waiting.place = Place::Away;
        waiting.asks_anew = false;
        waiting.attempts += 1;
        waiting.first.get_or_insert(now);
        self.flight.began(&key);
        let pod = waiting.pod.clone();
        Some((key, pod))
    }

    /// How often a pod was tried, and when first.
    pub fn tried(&self, key: &Key) -> Option<(u32, Instant)> {
        self.waiting.get(key).and_then(|waiting| Some((waiting.attempts, waiting.first?)))
    }

    /// The pod was tried because of the time alone.
    pub fn timed_out(&self, key: &Key) -> bool {
        self.waiting.get(key).is_some_and(|waiting| waiting.timed_out)
    }

    pub fn sizes(&self) -> Sizes {
        Sizes {
            active: self.active.len(),
            backoff: self.backing_off.len(),
            unschedulable: self.parked_since.len(),
            gated: self.gated.values().map(BTreeSet::len).sum(),
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The attempt failed for no reason of the cluster's: it is made again after a while.
    pub fn failed(&mut self, key: &Key, now: Instant) {
        self.flight.ended(key);
        self.set_back(key, now, true);
        self.activate(key, now, FAILED);
    }

    /// No node takes the pod: it waits until something happens that may help who refused it.
    pub fn park(&mut self, key: &Key, refused_by: RefusedBy, now: Instant) {
        let missed = self.missed(key, &refused_by);
        self.flight.ended(key);
        self.set_back(key, now, false);
        if let Some(cause) = missed {
            return self.activate(key, now, cause);
        }
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.place = Place::Parked(now, refused_by.clone());
            self.ledger.refused(scheduler_name(&waiting.pod.pod), &refused_by, true);
            self.parked.entry(refused_by).or_default().insert(key.clone());
            self.parked_since.insert((now, key.clone()));
            self.ledger.came("unschedulable", FAILED);
        }
    }

    /// What happened while the pod was on its way that may help it, in the words of metrics.
    fn missed(&self, key: &Key, refused_by: &RefusedBy) -> Option<&'static str> {
        let waiting = self.waiting.get(key)?;
        let helps = |event: &Event| {
            // That it left the place that it did not get is no news to it.
            if event.pod().is_some_and(|pod| pod.uid() == waiting.pod.uid()) {
                return false;
            }
            let helping = self.rules.helping(refused_by, event);
            helping.is_some_and(|helping| helping.helps(&waiting.pod, event, &mut |_, _| {}))
        };
        let missed = self.flight.missed(key, helps).map(Happening::label);
        missed.or(waiting.asks_anew.then_some(CHANGED))
    }

    /// Something happened: who may be helped by it is tried again.
    pub fn happened(&mut self, event: &Event, now: Instant) {
        self.happened_telling(event, now, &mut |_, _| {});
    }

    /// The same; `told` hears each plugin that was asked, and whether it hopes.
    pub(crate) fn happened_telling(&mut self, event: &Event, now: Instant, told: &mut dyn FnMut(&'static str, bool)) {
        self.flight.happened(event);
        let mut helped: Vec<Key> = vec![];
        for (refused_by, keys) in &self.parked {
            let Some(helping) = self.rules.helping(refused_by, event) else { continue };
            let mut hint = |pod: &PodInfo| helping.helps(pod, event, &mut *told);
            helped.extend(keys.iter().filter(|key| self.waiting.get(*key).is_some_and(|w| hint(&w.pod))).cloned());
        }
        for (by, keys) in &self.gated {
            let gate = self.rules.plugins.iter().find(|plugin| plugin.name() == *by);
            let Some(gate) = gate.filter(|plugin| plugin.helped_by().contains(&event.happening())) else { continue };
            let hint = |key: &&Key| self.waiting.get(*key).is_some_and(|w| gate.hint(&w.pod, event));
            helped.extend(keys.iter().filter(hint).cloned());
        }
        helped.iter().for_each(|key| self.activate(key, now, event.happening().label()));
    }

    /// Events that are kept for pods on their way, by name, and how many such pods there are.
    pub fn in_flight(&self) -> (&BTreeMap<&'static str, usize>, usize) {
        (self.flight.counts(), self.flight.pods())
    }

    /// When a pod may become ready by the passing of time alone.
    pub fn next_at(&self) -> Option<Instant> {
        let backoff = self.backing_off.first().map(|(at, _)| *at);
        let parked = self.parked_since.first().map(|(since, _)| *since + PARKED_MOST);
        backoff.into_iter().chain(parked).min()
    }

    fn wake(&mut self, now: Instant) {
        while let Some((_, key)) = self.backing_off.first().filter(|(at, _)| *at <= now).cloned() {
            self.activate(&key, now, BACKED_OFF);
        }
        let expired = |since: &Instant| now.duration_since(*since) >= PARKED_MOST;
        while let Some((_, key)) = self.parked_since.first().filter(|(since, _)| expired(since)).cloned() {
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.timed_out = true;
            }
            self.activate(&key, now, TIMED_OUT);
        }
    }

    /// Nobody else waits for a turn: one whom something may help takes it before its time (KEP-5142). It waits there so as not
    /// to be in the way of others.
    fn hurry(&mut self) {
        let may = |key: &Key| self.waiting.get(key).is_some_and(|waiting| !waiting.failed);
        let early = self.backing_off.iter().take(LOOKED_MOST).find(|(_, key)| may(key)).map(|(_, key)| key.clone());
        let Some(key) = early else { return };
        self.unplace(&key);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            let rank = self.rules.sort.rank(&waiting.pod);
            waiting.place = Place::Active(rank);
            self.active.insert((rank, waiting.arrival, key));
        }
    }

    /// Who failed comes after those of its rank that have been waiting meanwhile: it might fail for ever, in their place.
    fn set_back(&mut self, key: &Key, now: Instant, failed: bool) {
        self.unplace(key);
        self.arrivals += 1;
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.arrival = self.arrivals;
            waiting.failed = failed;
            let failures = waiting.attempts.saturating_sub(1);
            waiting.ready_at = Some(now + client::backoff::delay(self.backoff.first, self.backoff.most, failures));
        }
    }

    /// Makes a pod active, unless a plugin holds it back or it has to back off first.
    fn activate(&mut self, key: &Key, now: Instant, cause: &'static str) {
        self.unplace(key);
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        waiting.timed_out = cause == TIMED_OUT || waiting.timed_out && cause == BACKED_OFF;
        let part = match (self.rules.gate(&waiting.pod), waiting.ready_at.filter(|at| *at > now)) {
            (Some(gate), _) => {
                waiting.place = Place::Gated(gate);
                self.gated.entry(gate).or_default().insert(key.clone());
                // As upstream: what is gated counts as unschedulable here.
                "unschedulable"
            }
            (None, Some(at)) => {
                waiting.place = Place::BackingOff(at);
                self.backing_off.insert((at, key.clone()));
                "backoff"
            }
            (None, None) => {
                let rank = self.rules.sort.rank(&waiting.pod);
                waiting.place = Place::Active(rank);
                self.active.insert((rank, waiting.arrival, key.clone()));
                "active"
            }
        };
        self.ledger.came(part, cause);
    }

    fn unplace(&mut self, key: &Key) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        match std::mem::replace(&mut waiting.place, Place::Away) {
            Place::Active(rank) => {
                self.active.remove(&(rank, waiting.arrival, key.clone()));
            }
            Place::Gated(gate) => {
                if let Some(keys) = self.gated.get_mut(gate) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.gated.remove(gate);
                    }
                }
            }
            Place::BackingOff(at) => drop(self.backing_off.remove(&(at, key.clone()))),
            Place::Parked(since, refused_by) => {
                self.parked_since.remove(&(since, key.clone()));
                self.ledger.refused(scheduler_name(&waiting.pod.pod), &refused_by, false);
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
mod tests;

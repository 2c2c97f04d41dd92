//! Which key is planned next. No clock and no IO: the driver passes the time in.
//!
//! INVARIANT: a key is never handed out again before it is done; what is added meanwhile is remembered once.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::backoff;
use crate::object::Key;

/// The first wait after a failure and the longest, as upstream's controllers have them.
const FAILED_FIRST: Duration = Duration::from_millis(5);
const FAILED_MOST: Duration = Duration::from_secs(1000);
/// A conflict is no fault of the key's: it is retried soon, always.
const CONFLICT_MOST: Duration = Duration::from_secs(1);
/// Retries of all keys together: a broken dependency must not turn into a storm.
const RETRIES_PER_SECOND: f64 = 10.0;
const RETRIES_BURST: f64 = 100.0;

#[derive(Debug)]
pub struct Queue {
    ready: VecDeque<Key>,
    /// Ready keys, and since when.
    queued: HashMap<Key, Instant>,
    /// Keys that were handed out.
    busy: HashMap<Key, Busy>,
    waiting: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
    tokens: f64,
    filled: Instant,
}

#[derive(Debug)]
struct Busy {
    since: Instant,
    /// It was added again since.
    again: bool,
}

/// How the work on a key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Well,
    /// Planning again at once is right: there was more to do than one plan carries.
    Unfinished,
    Conflict,
    Failed,
}

impl Queue {
    pub fn new(now: Instant) -> Queue {
        Queue {
            ready: VecDeque::new(),
            queued: HashMap::new(),
            busy: HashMap::new(),
            waiting: BTreeSet::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            tokens: RETRIES_BURST,
            filled: now,
        }
    }

    /// Adds a key; false if it is there already.
    pub fn add(&mut self, key: Key, now: Instant) -> bool {
        if let Some(work) = self.busy.get_mut(&key) {
            return !std::mem::replace(&mut work.again, true);
        }
        let news = !self.queued.contains_key(&key);
        if news {
            self.queued.insert(key.clone(), now);
            self.ready.push_back(key);
        }
        news
    }

    /// Adds the key at a later time, or earlier if it already waits for an earlier one.
    pub fn add_at(&mut self, key: Key, at: Instant) {
        match self.due.get(&key) {
            Some(known) if *known <= at => return,
            Some(known) => self.waiting.remove(&(*known, key.clone())),
            None => false,
        };
        self.due.insert(key.clone(), at);
        self.waiting.insert((at, key));
    }

    /// The next key, and how long it was ready.
    pub fn take(&mut self, now: Instant) -> Option<(Key, Duration)> {
        while self.waiting.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.waiting.pop_first()?;
            self.due.remove(&key);
            self.add(key, now);
        }
        let key = self.ready.pop_front()?;
        let since = self.queued.remove(&key).unwrap_or(now);
        self.busy.insert(key.clone(), Busy { since: now, again: false });
        Some((key, now.saturating_duration_since(since)))
    }

    /// When the next waiting key is due.
    pub fn next_at(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// Takes a key back, and says how long it was worked on.
    pub fn done(&mut self, key: Key, ended: Ended, now: Instant) -> Duration {
        let work = self.busy.remove(&key).unwrap_or(Busy { since: now, again: false });
        match ended {
            Ended::Well => {
                self.failures.remove(&key);
            }
            Ended::Unfinished => drop(self.add(key.clone(), now)),
            Ended::Conflict => self.retry(&key, CONFLICT_MOST, now),
            Ended::Failed => self.retry(&key, FAILED_MOST, now),
        }
        if work.again {
            self.add(key, now);
        }
        now.saturating_duration_since(work.since)
    }

    /// Keys that are ready and wait for a worker.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How long the keys in work have been worked on: together, and the longest.
    pub fn unfinished(&self, now: Instant) -> (Duration, Duration) {
        let times = || self.busy.values().map(|work| now.saturating_duration_since(work.since));
        (times().sum(), times().max().unwrap_or_default())
    }

    pub fn len(&self) -> usize {
        self.ready.len() + self.busy.len() + self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn retry(&mut self, key: &Key, most: Duration, now: Instant) {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = backoff::delay(FAILED_FIRST, most, *failures);
        *failures = failures.saturating_add(1);
        let wait = wait.max(self.token(now));
        self.add_at(key.clone(), now + wait);
    }

    /// Takes one token of the bucket; answers how long until it would be there.
    fn token(&mut self, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * RETRIES_PER_SECOND;
        self.tokens = (self.tokens + gained).min(RETRIES_BURST) - 1.0;
        self.filled = now;
        Duration::from_secs_f64((-self.tokens / RETRIES_PER_SECOND).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    #[test]
    fn a_key_is_held_once_and_never_handed_out_twice() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.add(key("x"), now);
        queue.add(key("x"), now);
        assert_eq!(queue.take(now).unwrap().0, key("x"));
        queue.add(key("x"), now);
        assert_eq!(queue.take(now), None, "x is being worked on");
        queue.done(key("x"), Ended::Well, now);
        assert_eq!(queue.take(now).unwrap().0, key("x"), "what came meanwhile is not lost");
        queue.done(key("x"), Ended::Well, now);
        assert!(queue.is_empty());
    }

    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let start = Instant::now();
        let mut queue = Queue::new(start);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..4 {
            queue.add(key("x"), now);
            assert!(queue.take(now).is_some());
            queue.done(key("x"), Ended::Failed, now);
            let next = queue.next_at().unwrap();
            waits.push((next - now).as_millis());
            now = next;
            assert!(queue.take(now).is_some());
            queue.done(key("x"), Ended::Unfinished, now);
            assert!(queue.take(now).is_some());
            queue.done(key("x"), if waits.len() == 3 { Ended::Well } else { Ended::Unfinished }, now);
        }
        assert_eq!(waits, [5, 10, 20, 5]);
    }

    #[test]
    fn retries_of_many_keys_are_limited_together() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        for n in 0..150 {
            queue.add(key(&n.to_string()), now);
            let (taken, _) = queue.take(now).unwrap();
            queue.done(taken, Ended::Failed, now);
        }
        let soon = std::iter::from_fn(|| queue.take(now + Duration::from_millis(5))).count();
        assert_eq!(soon, 100);
        let later = std::iter::from_fn(|| queue.take(now + Duration::from_secs(5))).count();
        assert_eq!(later, 50);
    }
}

//! Pods that have a node and wait for plugins to let them go there.
//!
//! Anybody may allow or refuse them at any time; the first refusal counts, and so does the passing of a plugin's time. There are
//! never more of them than fit on the nodes, for each holds its room.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Objection, PERMIT_MOST};
use crate::pod::PodInfo;

/// How the waiting ended: the plugin that refused, with why.
pub(crate) type Verdict = Result<(), (&'static str, Objection)>;

#[derive(Debug, Default)]
pub struct WaitingPods(Mutex<HashMap<String, Entry>>);

/// A pod that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub pod: Arc<PodInfo>,
    pub node: String,
    /// The plugins that have not allowed it yet.
    pub plugins: Vec<&'static str>,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    node: String,
    asked: BTreeMap<&'static str, Limit>,
    told: oneshot::Sender<Verdict>,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    time: Duration,
    at: Instant,
}

/// The end of a pod's waiting, to be awaited.
pub(crate) struct Wait {
    uid: String,
    ends: oneshot::Receiver<Verdict>,
}

impl WaitingPods {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Those that wait now.
    pub fn all(&self) -> Vec<Waiting> {
        let waiting = |entry: &Entry| Waiting {
            pod: entry.pod.clone(),
            node: entry.node.clone(),
            plugins: entry.asked.keys().copied().collect(),
        };
        self.lock().values().map(waiting).collect()
    }

    /// Nobody waits any more: whoever held them back has stopped.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// Whether the pod of this uid waits.
    pub fn has(&self, uid: &str) -> bool {
        self.lock().contains_key(uid)
    }

    /// The plugin lets the pod of this uid go; it goes when the last has.
    pub fn allow(&self, uid: &str, plugin: &str) {
        let mut all = self.lock();
        let Some(entry) = all.get_mut(uid) else { return };
        entry.asked.remove(plugin);
        if entry.asked.is_empty() {
            finish(&mut all, uid, Ok(()));
        }
    }

    /// The pod of this uid may not go; true if it was waiting.
    pub fn refuse(&self, uid: &str, plugin: &'static str, why: &str) -> bool {
        finish(&mut self.lock(), uid, Err((plugin, Objection::Unschedulable(why.to_owned()))))
    }

    /// Another takes its place: it is tried again, for nothing is wrong with it.
    pub(crate) fn preempt(&self, uid: &str, plugin: &'static str) -> bool {
        finish(&mut self.lock(), uid, Err((plugin, Objection::Failed("preempted".to_owned()))))
    }

    /// Takes a pod in that these plugins want to wait, each for its time.
    pub(crate) fn add(&self, pod: &Arc<PodInfo>, node: &str, plugins: &[(&'static str, Duration)]) -> Wait {
        let (told, ends) = oneshot::channel();
        let now = Instant::now();
        let limit = |time: Duration| Limit { time, at: now + time };
        let asked = plugins.iter().map(|(plugin, time)| (*plugin, limit((*time).min(PERMIT_MOST)))).collect();
        let entry = Entry { pod: pod.clone(), node: node.to_owned(), asked, told };
        self.lock().insert(pod.uid().to_owned(), entry);
        Wait { uid: pod.uid().to_owned(), ends }
    }

    /// When the first plugin's time is over.
    fn next_end(&self, uid: &str) -> Option<Instant> {
        self.lock().get(uid)?.asked.values().map(|limit| limit.at).min()
    }

    fn expire(&self, uid: &str, now: Instant) {
        let mut all = self.lock();
        let Some(entry) = all.get(uid) else { return };
        let late = entry.asked.iter().find(|(_, limit)| limit.at <= now).map(|(plugin, limit)| (*plugin, limit.time));
        if let Some((plugin, time)) = late {
            let why = format!("rejected due to timeout after waiting {time:?} at plugin {plugin}");
            finish(&mut all, uid, Err((plugin, Objection::Unschedulable(why))));
        }
    }
}

fn finish(all: &mut HashMap<String, Entry>, uid: &str, verdict: Verdict) -> bool {
    // Nobody listens any more where the scheduler has stopped.
    all.remove(uid).is_some_and(|entry| entry.told.send(verdict).is_ok())
}

impl Wait {
    pub(crate) async fn end(mut self, waiting: &WaitingPods) -> Verdict {
        loop {
            let next = waiting.next_end(&self.uid);
            let over = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                verdict = &mut self.ends => return verdict.unwrap_or(Ok(())),
                () = over => waiting.expire(&self.uid, Instant::now()),
            }
        }
    }
}

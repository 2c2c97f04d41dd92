//! What the pods of this node may have, as against what their manifests ask for (in-place resize, KEP-1287).
//!
//! A pod is given what its manifest says when it comes. What a later manifest says is granted where the node has it,
//! deferred until it has, or infeasible. What was given is in a file beside the pod's volumes once it is another thing
//! than the manifest, so that a kubelet that restarts gives no pod more than it had. Nothing here changes a container:
//! the pod's worker does, which sees its manifest with what was given in the place of what was asked for.

mod amounts;
mod settle;

pub use amounts::{Allocation, Amounts};
pub use settle::{Pending, Reason};

use crate::admit::{Objection, objections};
use crate::volumes::pod_dir;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use settle::Claim;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE: &str = "allocation.json";

/// All that was given on this node.
pub struct Ledger {
    root: PathBuf,
    capacity: Amounts,
    entries: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    claim: Claim,
    /// What the file says; none without one.
    saved: Option<Allocation>,
    /// Tells the pod's worker that its answer is another one.
    wake: Box<dyn Fn() + Send>,
}

/// What a pod has now.
pub struct Answer {
    /// The manifest with what was given.
    pub pod: Arc<Pod>,
    pub pending: Option<Pending>,
}

impl Ledger {
    pub fn new(root: &Path, capacity: Amounts) -> Ledger {
        Ledger { root: root.to_owned(), capacity, entries: Mutex::default() }
    }

    /// Takes note of a pod's newest manifest. `wake` is called when the answer changes because of other pods.
    pub fn ask(&self, pod: &Arc<Pod>, now: Timestamp, wake: impl Fn() + Send + 'static) -> Answer {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut entries = self.entries.lock();
        let entry = entries.entry(uid.clone()).or_insert_with(|| self.entry(&uid, pod, now));
        entry.claim.ask(pod.clone(), now);
        entry.wake = Box::new(wake);
        self.settle(&mut entries, &uid);
        match entries.get(&uid) {
            Some(Entry { claim, .. }) => Answer { pod: claim.effective(), pending: claim.pending.clone() },
            None => Answer { pod: pod.clone(), pending: None },
        }
    }

    /// Gives a pod that comes its place beside the others, each with what it was given.
    ///
    /// # Errors
    /// There is none for it, and why.
    pub fn admit(&self, pod: &Arc<Pod>, node: &Node, now: Timestamp) -> Result<(), Vec<Objection>> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut entries = self.entries.lock();
        let others: Vec<Arc<Pod>> =
            entries.iter().filter(|(other, _)| **other != uid).map(|(_, entry)| entry.claim.effective()).collect();
        let objections = objections(pod, node, others.iter().map(Arc::as_ref));
        if !objections.is_empty() {
            return Err(objections);
        }
        entries.entry(uid.clone()).or_insert_with(|| self.entry(&uid, pod, now));
        Ok(())
    }

    /// Takes note of the pods that were here before, so that none of them is given what another one has.
    pub fn found<'a>(&self, pods: impl Iterator<Item = &'a Arc<Pod>>, now: Timestamp) {
        let mut entries = self.entries.lock();
        for pod in pods.filter(|p| !over(p)) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            entries.entry(uid.clone()).or_insert_with(|| self.entry(&uid, pod, now));
        }
    }

    fn entry(&self, uid: &str, pod: &Arc<Pod>, now: Timestamp) -> Entry {
        let saved = self.read(uid);
        let given = saved.clone().unwrap_or_else(|| Allocation::shown(pod));
        Entry { claim: Claim::new(pod.clone(), given, now), saved, wake: Box::new(|| ()) }
    }

    /// A pod that has ended needs nothing any more.
    pub fn forget(&self, uid: &str) {
        let mut entries = self.entries.lock();
        if entries.remove(uid).is_some() {
            self.settle(&mut entries, uid);
        }
    }

    /// Decides anew on everything that is asked for; `asking` hears the answer by itself.
    fn settle(&self, entries: &mut BTreeMap<String, Entry>, asking: &str) {
        if entries.values().all(|e| e.claim.settled()) {
            return;
        }
        let verdicts = settle::settle(entries.iter().map(|(uid, e)| (uid.as_str(), &e.claim)), self.capacity);
        for (uid, verdict) in verdicts {
            let Some(entry) = entries.get_mut(&uid) else { continue };
            let before = entry.claim.pending.clone();
            let given = match &verdict {
                Ok(()) => Allocation::of(&entry.claim.asked),
                Err(_) => entry.claim.given.clone(),
            };
            entry.claim.pending = match self.save(&uid, entry, &given) {
                Ok(()) => verdict.err(),
                Err(error) => Some(Pending { reason: Reason::Deferred, message: error }),
            };
            let granted = entry.claim.pending.is_none();
            if granted {
                entry.claim.grant(given);
            }
            if uid != asking && (granted || before != entry.claim.pending) {
                (entry.wake)();
            }
        }
    }

    /// None where there is no file; one that cannot be read is said and counts as none.
    fn read(&self, uid: &str) -> Option<Allocation> {
        let path = pod_dir(&self.root, uid).join(FILE);
        let bytes = std::fs::read(&path).ok()?;
        let read = serde_json::from_slice(&bytes);
        read.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "reading what a pod was given")).ok()
    }

    fn save(&self, uid: &str, entry: &mut Entry, given: &Allocation) -> Result<(), String> {
        if entry.saved.as_ref() == Some(given) {
            return Ok(());
        }
        let dir = pod_dir(&self.root, uid);
        let (path, next) = (dir.join(FILE), dir.join(format!("{FILE}.next")));
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&dir)?;
            let file = std::fs::File::create(&next)?;
            serde_json::to_writer(&file, given)?;
            file.sync_all()?;
            std::fs::rename(&next, &path)
        };
        write().map_err(|error| format!("recording what the pod is given in {}: {error}", path.display()))?;
        entry.saved = Some(given.clone());
        Ok(())
    }
}

/// Whether the object says that the pod has ended.
pub fn over(pod: &Pod) -> bool {
    phase_over(pod.status.as_ref().and_then(|s| s.phase.as_deref()))
}

pub fn phase_over(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests;

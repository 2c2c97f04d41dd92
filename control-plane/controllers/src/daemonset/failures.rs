//! How long a daemon that failed on a node stays there before it is replaced: twice as long each time, so that a node that
//! refuses it is not asked for ever. No object says how often it failed: the controller remembers it.

use std::collections::BTreeMap;

use client::View;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Upstream's first wait and longest.
const FIRST_S: u64 = 1;
const LONGEST_S: u64 = 15 * 60;
/// Who did not fail for so long begins anew.
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(2 * 15 * 60);

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Failures {
    generation: Option<i64>,
    nodes: BTreeMap<String, Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    /// When a failed pod was last replaced here.
    at: Timestamp,
    /// How long the next one waits.
    wait_s: u64,
}

impl Failures {
    /// Of a set as it is now: another template may fail for other reasons.
    pub(super) fn of(view: &View, generation: Option<i64>, now: Timestamp) -> Failures {
        let known = view.memory().and_then(|memory| serde_json::from_value::<Failures>(memory.clone()).ok());
        let known = known.filter(|known| known.generation == generation).unwrap_or_default();
        let mut nodes = known.nodes;
        nodes.retain(|_, failure| now.duration_since(failure.at) <= FORGOTTEN);
        Failures { generation, nodes }
    }

    /// How long a pod that failed on a node is still kept.
    pub(super) fn left(&self, node: &str, now: Timestamp) -> Option<SignedDuration> {
        let failure = self.nodes.get(node)?;
        let wait = SignedDuration::from_secs(i64::try_from(failure.wait_s).unwrap_or(i64::MAX));
        Some(wait - now.duration_since(failure.at)).filter(|left| *left > SignedDuration::ZERO)
    }

    /// A failed pod is replaced on a node.
    pub(super) fn replaced(&mut self, node: &str, now: Timestamp) {
        let wait_s = self.nodes.get(node).map_or(FIRST_S, |known| (known.wait_s * 2).min(LONGEST_S));
        self.nodes.insert(node.to_owned(), Failure { at: now, wait_s });
    }

    /// What the next plan is told.
    pub(super) fn memory(&self) -> Option<Value> {
        (!self.nodes.is_empty()).then(|| json!(self))
    }
}

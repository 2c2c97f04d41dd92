//! A back-off limit for each index: a pod carries how often its index failed before, and the last failed pod of an index
//! is held until its successor carries it on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::Plan;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

use super::policy::Failure;
use super::{BACKOFF_FIRST, BACKOFF_MOST, Work, finish, index_of, is_tracked};

const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

impl Work<'_> {
    /// The indexes that have failed for good, those of these pods among them.
    pub(super) fn note_failed_indexes(&mut self) {
        let Some(limit) = self.spec.backoff_limit_per_index else { return };
        let failed = self.pods.iter().filter(|pod| is_tracked(pod) && self.has_failed(pod));
        let ended = failed.filter(|pod| match self.failure(pod) {
            Failure::EndsIndex => true,
            Failure::Counts | Failure::EndsJob(_) => number(pod, FAILURES) >= limit,
            Failure::Ignored => false,
        });
        let ended: Vec<i32> = ended.filter_map(|pod| index_of(pod)).collect();
        self.failed_indexes.extend(ended.into_iter().filter(|index| !self.completed.contains(index)));
        let most = self.spec.completions.unwrap_or(0);
        self.failed_indexes.retain(|index| *index < most);
        let text = super::indexes::format(&self.failed_indexes);
        self.status.failed_indexes = Some(text.unwrap_or_default());
    }

    /// The newest failed pod of every index that is to be tried again and has no successor yet.
    pub(super) fn held(&self) -> BTreeMap<i32, Arc<Pod>> {
        let mut held: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
        if self.spec.backoff_limit_per_index.is_none() || finish::pending(&self.before).is_some() {
            return held;
        }
        let running: Vec<i32> = self.active().into_iter().filter_map(|pod| index_of(pod)).collect();
        for pod in self.pods.iter().filter(|pod| is_tracked(pod) && self.has_failed(pod)) {
            let Some(index) = index_of(pod) else { continue };
            let over = self.completed.contains(&index) || self.failed_indexes.contains(&index);
            if over || running.contains(&index) {
                continue;
            }
            let newer = |known: &Arc<Pod>| tries(known) >= tries(pod);
            if !held.get(&index).is_some_and(newer) {
                held.insert(index, pod.clone());
            }
        }
        held
    }

    /// Whether an index has to wait after its last failure.
    pub(super) fn index_waits(&self, last: Option<&Arc<Pod>>, plan: &mut Plan) -> bool {
        let Some(last) = last else { return false };
        let failures = u32::try_from(tries(last)).unwrap_or(0);
        let wait = client::backoff::delay(BACKOFF_FIRST, BACKOFF_MOST, failures);
        let (Some(ended), Ok(wait)) = (finish::ended(last), SignedDuration::try_from(wait)) else { return false };
        match Duration::try_from((ended + wait).duration_since(self.moment.now)) {
            Ok(left) if !left.is_zero() => {
                plan.again(left);
                true
            }
            _ => false,
        }
    }

    /// Carries the failures of an index on to its next pod.
    pub(super) fn carry_on(&self, pod: &mut Pod, last: Option<&Arc<Pod>>) {
        if self.spec.backoff_limit_per_index.is_none() {
            return;
        }
        let (mut failures, mut ignored) = last.map_or((0, 0), |last| (number(last, FAILURES), number(last, IGNORED)));
        if let Some(last) = last {
            match self.failure(last) {
                Failure::Ignored => ignored += 1,
                Failure::Counts | Failure::EndsIndex | Failure::EndsJob(_) => failures += 1,
            }
        }
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(FAILURES.to_owned(), failures.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED.to_owned(), ignored.to_string());
        }
    }
}

fn tries(pod: &Pod) -> i32 {
    number(pod, FAILURES).saturating_add(number(pod, IGNORED))
}

fn number(pod: &Pod, annotation: &str) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(annotation));
    text.and_then(|text| text.parse().ok()).filter(|number| *number >= 0).unwrap_or(0)
}

//! Decisions in which extenders have a say. The loop waits for their answers, as upstream's scheduling cycle does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::Key;

use super::{Scheduler, extender, outcome};
use crate::extender::{Extender, Failure, Victims};
use crate::metrics::Ended;
use crate::pod::PodInfo;
use crate::preempt::Candidate;
use crate::schedule::{self, Deaf, Placement, Preemption, Verdict};

impl Scheduler {
    /// Places a pod that some extenders are interested in.
    pub(super) async fn place_asking(&mut self, key: &Key, pod: Arc<PodInfo>, by: usize, extenders: &[Extender]) {
        match self.decide_asking(&pod, by, extenders).await {
            Ok(Placement::Node(node)) => self.send(key, &pod, &node, by),
            Ok(Placement::Nowhere(nowhere)) => {
                self.ended(key, by, Ended::Unschedulable);
                self.nowhere(key, &pod, nowhere, by);
            }
            Err(failure) => {
                let plan = outcome::failed(&pod.pod, &failure.to_string());
                self.ended(key, by, Ended::Error);
                self.queue.failed(key, std::time::Instant::now());
                self.tell(key, plan, by, false);
            }
        }
    }

    async fn decide_asking(
        &mut self,
        pod: &Arc<PodInfo>,
        by: usize,
        extenders: &[Extender],
    ) -> Result<Placement, Failure> {
        let seed = rand::random();
        // Where room was made for the pod first; everywhere if that node does not do any more.
        for nominated in [true, false] {
            let profile = &self.config.profiles[by];
            let mut fitted = schedule::fitted(profile, &self.snapshot, pod, seed, nominated, &Deaf);
            let nodes = fitted.nodes(&self.snapshot);
            let filtered = extender::filter(extenders, &pod.pod, nodes).await?;
            fitted.keep(&filtered, &self.snapshot);
            let left = fitted.nodes(&self.snapshot);
            if left.is_empty() && nominated && pod.nominated().is_some() {
                continue;
            }
            let added = match left.len() {
                0 | 1 => HashMap::new(),
                _ => extender::prioritize(extenders, &pod.pod, &left).await,
            };
            let verdict = schedule::judged(profile, &self.snapshot, pod, fitted, &added, seed);
            return Ok(match verdict {
                Verdict::Nowhere(nowhere, candidates) if !candidates.is_empty() => {
                    let candidates = approved(extenders, pod, candidates).await?;
                    Verdict::Nowhere(nowhere, candidates).settled()
                }
                other => other.settled(),
            });
        }
        Err(Failure::nobody())
    }
}

/// The nodes with victims that the extenders leave.
async fn approved(
    extenders: &[Extender],
    pod: &PodInfo,
    candidates: Vec<Candidate>,
) -> Result<Vec<Candidate>, Failure> {
    let victims = |candidate: &Candidate| {
        let pods = candidate.preemption.victims.iter().map(|victim| victim.pod.clone()).collect();
        (candidate.preemption.node.clone(), Victims { pods, breaking: candidate.breaking })
    };
    let asked: BTreeMap<String, Victims> = candidates.iter().map(victims).collect();
    let left = extender::preempt(extenders, &pod.pod, asked).await?;
    let kept = candidates.into_iter().filter_map(|candidate| {
        let victims = left.get(&candidate.preemption.node)?;
        let stays =
            |victim: &Arc<PodInfo>| victims.pods.iter().any(|pod| pod.metadata.uid.as_deref() == Some(victim.uid()));
        let pods = candidate.preemption.victims.into_iter().filter(stays).collect();
        let preemption = Preemption { node: candidate.preemption.node, victims: pods };
        Some(Candidate { preemption, breaking: victims.breaking })
    });
    Ok(kept.collect())
}

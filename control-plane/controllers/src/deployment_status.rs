//! What a deployment tells about itself: counts, its revision, and whether it is available and progressing.

use std::sync::Arc;
use std::time::Duration;

use client::plan::REFUSAL;
use client::{Moment, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::conditions::{self, Wanted};
use crate::deployment::{REVISION, Sets, revision};
use crate::replicaset::FAILURE;
use crate::rollout::{Bounds, Size};

const COMPLETE: &str = "NewReplicaSetAvailable";
const MISSED: &str = "ProgressDeadlineExceeded";

/// What this plan itself does to the rollout.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Name and revision of the set that is made.
    pub made: Option<(String, i64)>,
    /// The new set's name is taken by another template's.
    pub collided: bool,
}

/// Every replica is of the current template and available, and no other is left.
pub(crate) fn is_complete(deployment: &Deployment, sets: &Sets) -> bool {
    let counts = counts(deployment, sets);
    let wanted = Bounds::of(deployment).replicas;
    let or_none = |n: Option<i32>| n.unwrap_or(0);
    or_none(counts.updated_replicas) == wanted
        && or_none(counts.replicas) == wanted
        && or_none(counts.available_replicas) == wanted
        && sets.new.is_some()
        && sets.all().all(observed)
}

fn observed(set: &Arc<ReplicaSet>) -> bool {
    set.status.as_ref().and_then(|status| status.observed_generation) >= set.metadata.generation
}

/// Plans the deployment's status and revision where they differ.
pub(crate) fn set(deployment: &Deployment, sets: &Sets, progress: Option<Progress>, moment: Moment, plan: &mut Plan) {
    let mut status = counts(deployment, sets);
    status.conditions = deployment.status.as_ref().and_then(|status| status.conditions.clone());
    status.collision_count = deployment.status.as_ref().and_then(|status| status.collision_count);
    if let Some(progress) = progress {
        if progress.collided {
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        }
        let mut all = status.conditions.take().unwrap_or_default();
        if_not_made(deployment, &status, &all, &progress, moment.now, plan);
        available(deployment, &status, moment.now, &mut all);
        progressing(deployment, sets, &status, &progress, moment.now, &mut all, plan);
        failing(sets, &mut all);
        all.sort_by(|a, b| a.type_.cmp(&b.type_));
        status.conditions = Some(all);
        // One write of the deployment in a plan: the second would fail on the revision that the first made.
        if !write(deployment, status, plan) {
            annotate(deployment, sets, &progress, plan);
        }
    } else {
        write(deployment, status, plan);
    }
}

/// What is said of a set that the server does not let be made.
fn if_not_made(
    deployment: &Deployment,
    status: &DeploymentStatus,
    before: &[DeploymentCondition],
    progress: &Progress,
    now: Timestamp,
    plan: &mut Plan,
) {
    let Some((name, _)) = progress.made.as_ref().filter(|_| deadline(deployment).is_some()) else { return };
    let mut all = before.to_vec();
    let message = format!("Failed to create new replica set {name:?}: {REFUSAL}");
    set_progressing(&mut all, false, "ReplicaSetCreateError", message, now);
    all.sort_by(|a, b| a.type_.cmp(&b.type_));
    let status = DeploymentStatus { conditions: Some(all), ..status.clone() };
    if sorted(deployment.status.clone().unwrap_or_default()).conditions != status.conditions {
        plan.status_if_refused(&Deployment { status: Some(status), ..deployment.clone() });
    }
}

/// No deadline, or the largest number, which stands for none: nothing is said about progress.
fn deadline(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)
}

/// True if there is something to write.
fn write(deployment: &Deployment, status: DeploymentStatus, plan: &mut Plan) -> bool {
    let differs = sorted(deployment.status.clone().unwrap_or_default()) != status;
    if differs {
        plan.status(&Deployment { status: Some(status), ..deployment.clone() });
    }
    differs
}

fn sorted(mut status: DeploymentStatus) -> DeploymentStatus {
    if let Some(conditions) = status.conditions.as_mut() {
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    }
    status
}

/// The revision of the current template is written on the deployment.
fn annotate(deployment: &Deployment, sets: &Sets, progress: &Progress, plan: &mut Plan) {
    let newest_old = sets.old.iter().map(|set| revision(set)).max().unwrap_or(0);
    let current = sets.new.as_ref().map(|new| revision(new).max(newest_old + 1));
    let Some(wanted) = current.or(progress.made.as_ref().map(|(_, revision)| *revision)) else { return };
    let has = deployment.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
    let paused = deployment.spec.as_ref().is_some_and(|spec| spec.paused == Some(true));
    if !paused && has != Some(&wanted.to_string()) {
        let mut deployment = deployment.clone();
        deployment.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), wanted.to_string());
        plan.update(&deployment);
    }
}

fn counts(deployment: &Deployment, sets: &Sets) -> DeploymentStatus {
    let some = |n: i32| (n > 0).then_some(n);
    let sum = |of: fn(&ReplicaSet) -> i32| sets.all().map(|set| of(set)).sum::<i32>();
    let total = sum(|set| Size::of(set).there);
    let available = sum(|set| Size::of(set).available);
    let ready = sum(|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0));
    let terminating = sum(|set| set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0));
    let asked = sum(|set| Size::of(set).asked);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(total),
        updated_replicas: some(sets.new.as_ref().map_or(0, |new| Size::of(new).there)),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some(asked - available),
        terminating_replicas: Some(terminating),
        ..DeploymentStatus::default()
    }
}

fn available(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp, all: &mut Vec<DeploymentCondition>) {
    let enough = status.available_replicas.unwrap_or(0) >= Bounds::of(deployment).fewest();
    let (reason, message) = match enough {
        true => ("MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    conditions::set(all, Wanted { kind: "Available", status: enough, reason, message: message.to_owned() }, now);
}

fn progressing(
    deployment: &Deployment,
    sets: &Sets,
    status: &DeploymentStatus,
    progress: &Progress,
    now: Timestamp,
    all: &mut Vec<DeploymentCondition>,
    plan: &mut Plan,
) {
    let Some(spec) = deployment.spec.as_ref() else { return };
    let Some(deadline) = deadline(deployment) else {
        all.retain(|condition| condition.type_ != "Progressing");
        return;
    };
    let before = conditions::get(all, "Progressing").cloned();
    let reason_before = before.as_ref().and_then(|condition| condition.reason.clone()).unwrap_or_default();
    if spec.paused == Some(true) {
        // That a deadline was missed is not hidden by a pause.
        if reason_before != "DeploymentPaused" && reason_before != MISSED {
            all.retain(|condition| condition.type_ != "Progressing");
            let message = "Deployment is paused".to_owned();
            all.push(unknown("DeploymentPaused", message, now));
        }
        return;
    }
    if reason_before == "DeploymentPaused" {
        all.retain(|condition| condition.type_ != "Progressing");
        all.push(unknown("DeploymentResumed", "Deployment is resumed".to_owned(), now));
        plan.again(Duration::from_secs(deadline.max(0) as u64 + 1));
        return;
    }
    if let Some((name, _)) = &progress.made {
        renew(all, "NewReplicaSetCreated", format!("Created new replica set \"{name}\""), now);
        return overdue(deadline, sets, now, all, plan);
    }
    // A rollout that has come to its end stays so when it is scaled or when its pods come and go.
    if reason_before == COMPLETE && status.replicas == status.updated_replicas {
        return;
    }
    if is_complete(deployment, sets) {
        let name = sets.new.as_ref().and_then(|set| set.metadata.name.as_deref()).unwrap_or_default();
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return set_progressing(all, true, COMPLETE, message, now);
    }
    if advanced(deployment, status) {
        let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
        let message = match &sets.new {
            Some(set) => format!("ReplicaSet \"{}\" is progressing.", name(&set.metadata)),
            None => format!("Deployment \"{}\" is progressing.", name(&deployment.metadata)),
        };
        renew(all, "ReplicaSetUpdated", message, now);
    } else if let (None, Some(new)) = (&before, &sets.new) {
        let name = new.metadata.name.as_deref().unwrap_or_default();
        set_progressing(all, true, "FoundNewReplicaSet", format!("Found new replica set \"{name}\""), now);
    }
    overdue(deadline, sets, now, all, plan);
}

/// What a set could not do is the deployment's to tell: the new one's first.
fn failing(sets: &Sets, all: &mut Vec<DeploymentCondition>) {
    let failure = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions?.iter().find(|condition| condition.type_ == FAILURE).cloned()
    };
    let Some(told) = sets.new.iter().chain(&sets.old).find_map(failure) else {
        return all.retain(|condition| condition.type_ != FAILURE);
    };
    let same = |known: &DeploymentCondition| known.status == told.status && known.reason == told.reason;
    if !conditions::get(all, FAILURE).is_some_and(same) {
        all.retain(|condition| condition.type_ != FAILURE);
        all.push(DeploymentCondition {
            type_: FAILURE.to_owned(),
            status: told.status,
            reason: told.reason,
            message: told.message,
            last_update_time: told.last_transition_time.clone(),
            last_transition_time: told.last_transition_time,
        });
    }
}

/// The rollout moved since the status that was last written.
fn advanced(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let before = deployment.status.clone().unwrap_or_default();
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    status.updated_replicas.unwrap_or(0) > before.updated_replicas.unwrap_or(0)
        || old(status) < old(&before)
        || status.ready_replicas.unwrap_or(0) > before.ready_replicas.unwrap_or(0)
        || status.available_replicas.unwrap_or(0) > before.available_replicas.unwrap_or(0)
}

/// A rollout that has not moved for its deadline is said not to progress; it is not stopped.
fn overdue(deadline: i32, sets: &Sets, now: Timestamp, all: &mut Vec<DeploymentCondition>, plan: &mut Plan) {
    let Some(condition) = conditions::get(all, "Progressing") else { return };
    let reason = condition.reason.as_deref().unwrap_or_default();
    if reason == COMPLETE || reason == MISSED {
        return;
    }
    let Some(moved) = condition.last_update_time.as_ref().map(|time| time.0) else { return };
    let left = (moved + SignedDuration::from_secs(deadline.max(0).into())).duration_since(now);
    if left > SignedDuration::ZERO {
        // One second later than the deadline, since times are told in whole seconds.
        plan.again(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1));
        return;
    }
    let name = sets.new.as_ref().and_then(|set| set.metadata.name.as_deref()).unwrap_or_default();
    let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
    set_progressing(all, false, MISSED, message, now);
}

fn set_progressing(all: &mut Vec<DeploymentCondition>, status: bool, reason: &str, message: String, now: Timestamp) {
    conditions::set(all, Wanted { kind: "Progressing", status, reason, message }, now);
}

/// Sets the condition even where it is so already: its update time is what the deadline counts from.
fn renew(all: &mut Vec<DeploymentCondition>, reason: &str, message: String, now: Timestamp) {
    let before = conditions::get(all, "Progressing").filter(|condition| condition.status == "True");
    let transition = before.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(now));
    all.retain(|condition| condition.type_ != "Progressing");
    all.push(DeploymentCondition {
        type_: "Progressing".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(transition),
    });
}

fn unknown(reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: "Progressing".to_owned(),
        status: "Unknown".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

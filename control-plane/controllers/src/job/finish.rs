//! How a job ends, and what its conditions say about it.

use std::time::Duration;

use client::Plan;
use client::plan::Severity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Work;
use super::policy::{self, Failure};
use crate::pods;

/// The outcome of a job, before all its pods have come to rest.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(super) succeeded: bool,
    reason: String,
    message: String,
}

fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn holds<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    condition(status, kind).filter(|condition| condition.status == "True")
}

/// When the job came to its end, if it did.
pub(crate) fn finished(status: &JobStatus) -> Option<Timestamp> {
    let ended = holds(status, "Complete").or_else(|| holds(status, "Failed"))?;
    Some(ended.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// Whether it ended well.
pub(crate) fn succeeded(status: &JobStatus) -> bool {
    holds(status, "Complete").is_some()
}

/// The outcome that was decided before.
pub(super) fn pending(status: &JobStatus) -> Option<Verdict> {
    let of = |kind: &str, succeeded: bool| {
        let condition = holds(status, kind)?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Some(Verdict { succeeded, reason: text(&condition.reason), message: text(&condition.message) })
    };
    of("SuccessCriteriaMet", true).or_else(|| of("FailureTarget", false))
}

pub(super) fn judge(work: &Work, since: Timestamp, plan: &mut Plan) -> Option<Verdict> {
    let fail = |reason: &str, message: &str| {
        Some(Verdict { succeeded: false, reason: reason.to_owned(), message: message.to_owned() })
    };
    let ends_job = |pod: &std::sync::Arc<Pod>| match work.failure(pod) {
        Failure::EndsJob(why) if work.has_failed(pod) => Some(why),
        _ => None,
    };
    if let Some(why) = work.pods.iter().find_map(ends_job) {
        return fail("PodFailurePolicy", &why);
    }
    let limit =
        work.spec.backoff_limit.unwrap_or(if work.spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 });
    if work.failed() > limit || restarts_exceed(work, limit) {
        return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let suspended = work.spec.suspend == Some(true);
    if let Some(seconds) = work.spec.active_deadline_seconds.filter(|_| !suspended) {
        let left = (since + SignedDuration::from_secs(seconds)).duration_since(work.moment.now);
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => plan.again(left),
            _ => return fail("DeadlineExceeded", "Job was active longer than specified deadline"),
        }
    }
    if let Some((reason, message)) = indexes_failed(work) {
        return fail(reason, message);
    }
    if let Some(rule) = policy::success(work.spec.success_policy.as_ref(), &work.completed) {
        let message = format!("Matched rules at index {rule}");
        return Some(Verdict { succeeded: true, reason: "SuccessPolicy".to_owned(), message });
    }
    let done = match work.spec.completions {
        Some(completions) => work.succeeded() >= completions,
        None => work.succeeded() > 0 && work.active().is_empty(),
    };
    done.then(|| Verdict {
        succeeded: true,
        reason: "CompletionsReached".to_owned(),
        message: "Reached expected number of succeeded pods".to_owned(),
    })
}

/// Whether too many indexes have failed, or some have and none is left.
fn indexes_failed(work: &Work) -> Option<(&'static str, &'static str)> {
    let failed = work.failed_indexes.len();
    if work.spec.max_failed_indexes.is_some_and(|most| failed > usize::try_from(most).unwrap_or(0)) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(("MaxFailedIndexesExceeded", message));
    }
    let all = usize::try_from(work.spec.completions.unwrap_or(0)).unwrap_or(0);
    (failed > 0 && failed + work.completed.len() >= all).then_some(("FailedIndexes", "Job has failed indexes"))
}

/// Containers that restart within their pod count too.
fn restarts_exceed(work: &Work, limit: i32) -> bool {
    let policy = work.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let restarts = |pod: &Pod| {
        let status = pod.status.as_ref();
        let all =
            status.map(|s| s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten()));
        all.into_iter().flatten().map(|container| container.restart_count).sum::<i32>()
    };
    let sum: i32 = work.active().into_iter().map(|pod| restarts(pod)).sum();
    if limit == 0 { sum > 0 } else { sum >= limit }
}

/// When a pod came to its end.
pub(super) fn ended(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let ended = statuses.filter_map(|s| s.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|t| t.0)).max();
    let told = || pods::condition(pod, "Ready").and_then(|c| c.last_transition_time.as_ref().map(|time| time.0));
    let deleted = || pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    ended.or_else(told).or_else(deleted)
}

/// Says what the outcome will be.
pub(super) fn aim(status: &mut JobStatus, verdict: &Verdict, now: Timestamp) {
    let kind = if verdict.succeeded { "SuccessCriteriaMet" } else { "FailureTarget" };
    put(status, kind, true, &verdict.reason, &verdict.message, now);
}

/// Says that the job has come to its end.
pub(super) fn conclude(job: &Job, status: &mut JobStatus, verdict: &Verdict, now: Timestamp, plan: &mut Plan) {
    let kind = if verdict.succeeded { "Complete" } else { "Failed" };
    put(status, kind, true, &verdict.reason, &verdict.message, now);
    if verdict.succeeded {
        status.completion_time = Some(Time(now));
        let wanted = job.spec.as_ref().and_then(|spec| spec.completions);
        if wanted.is_some_and(|wanted| status.succeeded.unwrap_or(0) > wanted) {
            let message = "Too many succeeded pods running after completion count reached";
            plan.event(job, Severity::Warning, "TooManySucceededPods", message);
        }
        plan.event(job, Severity::Normal, "Completed", "Job completed");
    } else {
        plan.event(job, Severity::Warning, &verdict.reason, verdict.message.clone());
    }
}

pub(super) fn suspend(job: &Job, status: &mut JobStatus, now: Timestamp, plan: &mut Plan) {
    if put(status, "Suspended", true, "JobSuspended", "Job suspended", now) {
        plan.event(job, Severity::Normal, "Suspended", "Job suspended");
    }
}

pub(super) fn resume(job: &Job, status: &mut JobStatus, now: Timestamp, plan: &mut Plan) {
    if holds(status, "Suspended").is_some() {
        put(status, "Suspended", false, "JobResumed", "Job resumed", now);
        status.start_time = Some(Time(now));
        plan.event(job, Severity::Normal, "Resumed", "Job resumed");
    }
}

/// True if it was not so before.
fn put(status: &mut JobStatus, kind: &str, holds: bool, reason: &str, message: &str, now: Timestamp) -> bool {
    let value = if holds { "True" } else { "False" };
    if condition(status, kind).is_some_and(|known| known.status == value) {
        return false;
    }
    let all = status.conditions.get_or_insert_default();
    all.retain(|condition| condition.type_ != kind);
    all.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
    true
}

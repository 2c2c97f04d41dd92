//! CronJob: a Job at each time of a schedule.
//!
//! A job is named after its time, so the same time never makes two. What a job says of its time is what the status is
//! worked out from: a controller that dies between making a job and writing that down has lost nothing.

mod schedule;

use std::sync::Arc;

use client::plan::{DeleteOptions, Severity};
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;

use crate::job::finish;
use crate::pods;
use schedule::{Due, Times};

/// On a job: the time it was made for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

pub(crate) struct CronJobs {
    /// The zone of schedules that name none.
    pub zone: TimeZone,
}

impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<CronJob>();
        watches.owned::<Job, CronJob>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(cron) = view.of::<CronJob>().get_key(key) else { return plan.into() };
        Work::begin(view, &cron, moment.now, &self.zone).plan(view, &mut plan);
        plan.into()
    }
}

struct Work<'a> {
    cron: &'a CronJob,
    spec: &'a CronJobSpec,
    now: Timestamp,
    zone: &'a TimeZone,
    jobs: Vec<Arc<Job>>,
    status: CronJobStatus,
}

impl<'a> Work<'a> {
    fn begin(view: &View, cron: &'a CronJob, now: Timestamp, zone: &'a TimeZone) -> Work<'a> {
        let uid = cron.metadata.uid.as_deref().unwrap_or_default();
        let mut jobs = view.of::<Job>().owned_by(uid);
        jobs.retain(|job| pods::controller_of(job.as_ref()).is_some_and(|owner| owner.uid == uid));
        jobs.sort_by_key(|job| {
            let start = job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
            (start.is_none(), start, job.metadata.name.clone())
        });
        Work { cron, spec: &cron.spec, now, zone, jobs, status: cron.status.clone().unwrap_or_default() }
    }

    fn plan(mut self, view: &View, plan: &mut Plan) {
        self.observe(plan);
        if self.cron.metadata.deletion_timestamp.is_none() {
            self.trim(true, self.spec.successful_jobs_history_limit, plan);
            self.trim(false, self.spec.failed_jobs_history_limit, plan);
        }
        if self.cron.status.clone().unwrap_or_default() != self.status {
            // Written first: what it says is worked out anew after any other write anyway.
            plan.status(&CronJob { status: Some(self.status.clone()), ..self.cron.clone() });
        }
        if self.cron.metadata.deletion_timestamp.is_none() {
            self.schedule(view, plan);
        }
    }

    /// Works the status out of the jobs that are there.
    fn observe(&mut self, plan: &mut Plan) {
        let was_active = self.status.active.take().unwrap_or_default();
        let was = |job: &Job| was_active.iter().find(|known| known.uid == job.metadata.uid);
        for known in &was_active {
            if !self.jobs.iter().any(|job| job.metadata.uid == known.uid) {
                let name = known.name.as_deref().unwrap_or_default();
                let message = format!("Active job went missing: {name}");
                plan.event(self.cron, Severity::Normal, "MissingJob", message);
            }
        }
        let mut active = Vec::new();
        for job in &self.jobs {
            let made_for = made_for(job);
            let last = self.status.last_schedule_time.as_ref().map(|time| time.0);
            let news = made_for.filter(|time| Some(*time) > last);
            if let Some(time) = news {
                self.status.last_schedule_time = Some(Time(time));
            }
            match outcome(job) {
                Some(succeeded) => {
                    if was(job).is_some() || news.is_some() {
                        let (name, how) = (name_of(job.as_ref()), if succeeded { "Complete" } else { "Failed" });
                        let message = format!("Saw completed job: {name}, condition: {how}");
                        plan.event(self.cron, Severity::Normal, "SawCompletedJob", message);
                    }
                    let ended = job.status.as_ref().and_then(|status| status.completion_time.as_ref());
                    let best = self.status.last_successful_time.as_ref();
                    if succeeded && ended.map(|time| time.0) > best.map(|time| time.0) {
                        self.status.last_successful_time = ended.cloned();
                    }
                }
                None if made_for.is_some() && !self.is_replaced(job) => {
                    active.push(was(job).cloned().unwrap_or_else(|| reference(job)))
                }
                // One made by hand runs beside the schedule.
                None if made_for.is_none() && was(job).is_none() => {
                    let name = name_of(job.as_ref());
                    let message = format!("Saw a job that the controller did not create or forgot: {name}");
                    plan.event(self.cron, Severity::Warning, "UnexpectedJob", message);
                }
                None => {}
            }
        }
        active.sort_by(|a: &ObjectReference, b| a.name.cmp(&b.name));
        self.status.active = Some(active).filter(|active| !active.is_empty());
    }

    /// A job that makes room for its successor no longer counts.
    fn is_replaced(&self, job: &Job) -> bool {
        job.metadata.deletion_timestamp.is_some() && self.policy() == "Replace"
    }

    fn policy(&self) -> &str {
        self.spec.concurrency_policy.as_deref().unwrap_or("Allow")
    }

    /// Deletes the oldest finished jobs beyond the limit.
    fn trim(&self, succeeded: bool, limit: Option<i32>, plan: &mut Plan) {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
        let finished: Vec<_> = self.jobs.iter().filter(|job| outcome(job) == Some(succeeded)).collect();
        let surplus = finished.len().saturating_sub(limit);
        let there = |job: &&&Arc<Job>| job.metadata.deletion_timestamp.is_none();
        finished.iter().take(surplus).filter(there).for_each(|job| self.delete(job, plan));
    }

    fn delete(&self, job: &Job, plan: &mut Plan) {
        let options = DeleteOptions { propagation_policy: Some("Background"), ..DeleteOptions::default() };
        plan.delete_with(job, options);
        plan.event(self.cron, Severity::Normal, "SuccessfulDelete", format!("Deleted job {}", name_of(job)));
        plan.if_refused(self.cron, "FailedDelete", "Deleted job");
    }

    fn schedule(&self, view: &View, plan: &mut Plan) {
        let times = match Times::of(self.spec, self.zone) {
            Ok(times) => times,
            Err((reason, message)) => return plan.event(self.cron, Severity::Warning, reason, message),
        };
        if self.spec.suspend == Some(true) {
            return;
        }
        let created = self.cron.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let last = self.status.last_schedule_time.as_ref().map(|time| time.0);
        let Some(since) = last.or(created) else { return };
        match times.due(self.spec, since, self.now) {
            Due::Never => {
                let message = format!(
                    "invalid schedule: {} : time difference between two schedules is less than 1 second",
                    self.spec.schedule
                );
                return plan.event(self.cron, Severity::Warning, "InvalidSchedule", message);
            }
            Due::NotYet => {}
            Due::At { time, many_missed } => {
                if many_missed {
                    let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
                    plan.event(self.cron, Severity::Warning, "TooManyMissedTimes", message);
                }
                self.start(view, &times, time, plan);
            }
        }
        if let Some(wait) = times.wait(since, self.now) {
            plan.again(wait);
        }
    }

    /// Makes the job of this time, unless something speaks against it.
    fn start(&self, view: &View, times: &Times, time: Timestamp, plan: &mut Plan) {
        let namespace = self.cron.metadata.namespace.as_deref().unwrap_or_default();
        let name = format!("{}-{}", name_of(self.cron), time.as_second().div_euclid(60));
        let deadline = self.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        if deadline.is_some_and(|deadline| self.now.duration_since(time) > deadline) {
            let shown = time.strftime("%a, %d %b %Y %H:%M:%S +0000");
            let message = format!("Missed scheduled time to start a job: {shown}");
            return plan.event(self.cron, Severity::Warning, "MissSchedule", message);
        }
        if view.of::<Job>().get(namespace, &name).is_some() {
            return;
        }
        let active = self.status.active.as_deref().unwrap_or_default();
        if self.policy() == "Forbid" && !active.is_empty() {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return plan.event(self.cron, Severity::Normal, "JobAlreadyActive", message);
        }
        if self.policy() == "Replace" {
            let running = self.jobs.iter().filter(|job| active.iter().any(|known| known.uid == job.metadata.uid));
            running.for_each(|job| self.delete(job, plan));
        }
        plan.create(&self.job(namespace, &name, times, time));
        plan.event(self.cron, Severity::Normal, "SuccessfulCreate", format!("Created job {name}"));
        plan.if_refused(self.cron, "FailedCreate", "Error creating job");
    }

    fn job(&self, namespace: &str, name: &str, times: &Times, time: Timestamp) -> Job {
        let template = self.spec.job_template.metadata.clone().unwrap_or_default();
        let mut annotations = template.annotations.unwrap_or_default();
        annotations.insert(SCHEDULED.to_owned(), times.shown(time));
        Job {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: template.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![pods::owner(self.cron)]),
                ..ObjectMeta::default()
            },
            spec: self.spec.job_template.spec.clone(),
            status: None,
        }
    }
}

/// The time that a job was made for; a job made by hand has none.
fn made_for(job: &Job) -> Option<Timestamp> {
    job.metadata.annotations.as_ref()?.get(SCHEDULED)?.parse().ok()
}

/// Whether a finished job succeeded.
fn outcome(job: &Job) -> Option<bool> {
    let status = job.status.as_ref()?;
    finish::finished(status)?;
    Some(finish::succeeded(status))
}

fn name_of<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

fn reference(job: &Job) -> ObjectReference {
    ObjectReference { resource_version: job.metadata.resource_version.clone(), ..job.object_ref(&()) }
}

//! Job: pods that run to their end, a number of times.
//!
//! A finished pod is counted before it may go: its uid is first written into the job's status, then its finalizer is taken
//! off, then it becomes a number. So a controller that dies in between counts nothing twice and loses nothing.

pub(crate) mod finish;
mod indexes;
mod per_index;
mod policy;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::claim::{self, Claims};
use crate::{index, pods, selector};
use finish::Verdict;
use policy::Failure;

const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Pods made or deleted in one plan, as upstream.
const BURST: i32 = 500;
/// Ended pods that are not counted yet in a status: their uids take some 20 KB, as upstream.
const MOST_UNCOUNTED: usize = 500;
/// The wait after a first failed pod and the longest, as upstream.
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const BACKOFF_MOST: Duration = Duration::from_secs(600);

pub(crate) struct Jobs;

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Job>();
        claim::watch::<Pod, Job>(watches);
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let job = view.of::<Job>().get_key(key);
        release_orphans(view, key, job.as_deref(), &mut plan);
        let Some(job) = job else { return plan.into() };
        let foreign = |by: &String| by != "kubernetes.io/job-controller";
        if job.spec.as_ref().and_then(|spec| spec.managed_by.as_ref()).is_some_and(foreign) {
            return plan.into();
        }
        if let Some(spec) = job.spec.as_ref() {
            Work::begin(view, &job, spec, moment, &mut plan).plan(&mut plan);
        }
        plan.into()
    }
}

impl Claims<Pod> for Job {
    const FINALIZER: Option<&'static str> = Some(TRACKING);

    fn selects(&self, pod: &Pod) -> bool {
        match self.spec.as_ref().and_then(|spec| spec.selector.as_ref()) {
            Some(chosen) => selector::owns(chosen, pod.metadata.labels.as_ref()),
            // Without one it adopts nothing and lets nothing go.
            None => pods::controller_of(pod).is_some_and(|owner| Some(&owner.uid) == self.metadata.uid.as_ref()),
        }
    }

    /// One that has ended was counted by whoever let it go, or by nobody.
    fn adopts(&self, pod: &Pod) -> bool {
        pod.metadata.deletion_timestamp.is_none() && self.status.as_ref().and_then(finish::finished).is_none()
    }
}

/// Pods of a job that is gone wait for nobody.
fn release_orphans(view: &View, key: &Key, job: Option<&Job>, plan: &mut Plan) {
    let uid = job.and_then(|job| job.metadata.uid.as_deref());
    if uid.is_some() {
        return;
    }
    for pod in index::pods_of_job(view, key).iter().filter(|pod| is_tracked(pod)) {
        release(pod, plan);
    }
}

/// What the end of a pod means to its job.
enum End {
    None,
    Succeeded,
    Failed,
    /// It has ended, and that is all.
    Uncounted,
}

/// It is being deleted and has not come to its end.
fn is_ending(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && !pods::is_finished(pod)
}

fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|name| name == TRACKING)
}

fn release(pod: &Pod, plan: &mut Plan) {
    let kept: Vec<_> = pod.metadata.finalizers.iter().flatten().filter(|name| *name != TRACKING).collect();
    let version = &pod.metadata.resource_version;
    plan.patch(pod, None, json!({"metadata": {"resourceVersion": version, "finalizers": kept}}));
}

/// Everything one plan works out about a job.
struct Work<'a> {
    job: &'a Job,
    spec: &'a JobSpec,
    moment: Moment,
    pods: Vec<Arc<Pod>>,
    /// As it is written in the API.
    before: JobStatus,
    status: JobStatus,
    completed: BTreeSet<i32>,
    failed_indexes: BTreeSet<i32>,
    /// What still runs when the outcome is known: deleted once that is written, for it may have been known by them alone.
    going: Vec<Arc<Pod>>,
}

impl<'a> Work<'a> {
    fn begin(view: &View, job: &'a Job, spec: &'a JobSpec, moment: Moment, plan: &mut Plan) -> Work<'a> {
        let pods = claim::claim::<Pod, Job>(view, job, plan);
        let before = job.status.clone().unwrap_or_default();
        let completed = indexes::parse(before.completed_indexes.as_deref().unwrap_or_default());
        let failed_indexes = indexes::parse(before.failed_indexes.as_deref().unwrap_or_default());
        Work { job, spec, moment, pods, status: before.clone(), before, completed, failed_indexes, going: Vec::new() }
    }

    fn plan(mut self, plan: &mut Plan) {
        self.count(plan);
        match finish::finished(&self.before) {
            Some(_) => self.after_the_end(plan),
            None if self.job.metadata.deletion_timestamp.is_some() => {}
            None => self.go_on(plan),
        }
        self.write(plan);
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    /// A policy is asked of pods that have come to their end.
    fn replaces_failed_only(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed") || self.spec.pod_failure_policy.is_some()
    }

    /// Pods that end and have not come to it yet, where what takes their place waits for that.
    fn awaited(&self) -> impl Iterator<Item = &Arc<Pod>> {
        let waits = self.replaces_failed_only();
        self.pods.iter().filter(move |pod| waits && is_ending(pod))
    }

    /// A pod that is deleted counts as failed: it may never come to say so.
    fn has_failed(&self, pod: &Pod) -> bool {
        let going = pod.metadata.deletion_timestamp.is_some() && !self.replaces_failed_only();
        pods::phase(pod) == "Failed" || going && pods::phase(pod) != "Succeeded"
    }

    fn failure(&self, pod: &Pod) -> Failure {
        policy::judge(self.spec.pod_failure_policy.as_ref(), pod)
    }

    /// Moves finished pods one step on: into the status by uid, then without finalizer, then into a number.
    fn count(&mut self, plan: &mut Plan) {
        let mut uncounted = self.before.uncounted_terminated_pods.clone().unwrap_or_default();
        let (mut succeeded, mut failed) =
            (uncounted.succeeded.take().unwrap_or_default(), uncounted.failed.take().unwrap_or_default());
        let still =
            |uid: &String| self.pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid) && is_tracked(pod));
        let (in_failed, gone_failed): (Vec<_>, Vec<_>) = failed.drain(..).partition(still);
        let (in_succeeded, gone_succeeded): (Vec<_>, Vec<_>) = succeeded.drain(..).partition(still);
        self.status.failed = add(self.status.failed, gone_failed.len());
        (failed, succeeded) = (in_failed, in_succeeded);
        if !self.is_indexed() {
            self.status.succeeded = add(self.status.succeeded, gone_succeeded.len());
        }
        let was_completed = self.completed.clone();
        self.note_failed_indexes();
        let held = self.held();
        let is_held = |pod: &Pod| held.values().any(|known| known.metadata.uid == pod.metadata.uid);
        let verdict = finish::pending(&self.before);
        for pod in self.pods.iter().filter(|pod| is_tracked(pod)) {
            if succeeded.len() + failed.len() >= MOST_UNCOUNTED {
                break;
            }
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let written = match self.end_of(pod, verdict.as_ref()) {
                // Whoever ended it before it succeeded has had it counted already.
                End::Succeeded if failed.contains(&uid) => true,
                End::Succeeded if !self.is_indexed() => note(&mut succeeded, uid),
                End::Succeeded => index_of(pod).filter(|index| self.has(*index)).is_none_or(|index| {
                    self.completed.insert(index);
                    was_completed.contains(&index)
                }),
                End::Failed if is_held(pod) => continue,
                End::Failed => note(&mut failed, uid),
                End::Uncounted => true,
                End::None => continue,
            };
            if written {
                release(pod, plan);
            }
        }
        if self.is_indexed() {
            self.completed =
                self.completed.iter().copied().filter(|index| *index < self.spec.completions.unwrap_or(0)).collect();
            self.status.succeeded = some(self.completed.len());
            self.status.completed_indexes = indexes::format(&self.completed);
        }
        let all = |uids: Vec<String>| Some(uids).filter(|uids| !uids.is_empty());
        uncounted.succeeded = all(succeeded);
        uncounted.failed = all(failed);
        self.status.uncounted_terminated_pods = Some(uncounted);
    }

    /// How a pod has ended as far as this job is concerned.
    fn end_of(&self, pod: &Pod, verdict: Option<&Verdict>) -> End {
        let ending = pod.metadata.deletion_timestamp.is_some();
        let fails = verdict.is_some_and(|verdict| !verdict.succeeded);
        let failed = match (pods::phase(pod) == "Succeeded", self.has_failed(pod)) {
            (true, _) => return End::Succeeded,
            (false, true) => true,
            // The job is over, and so is what runs of it, whether or not it comes to say so.
            (false, false) if ending && (verdict.is_some() || self.is_going()) => fails,
            (false, false) if self.is_going() => false,
            (false, false) => return End::None,
        };
        let counts = !self.is_indexed() || index_of(pod).is_some_and(|index| self.has(index));
        if failed && counts && self.failure(pod) != Failure::Ignored { End::Failed } else { End::Uncounted }
    }

    fn is_going(&self) -> bool {
        self.job.metadata.deletion_timestamp.is_some()
    }

    /// Whether an index is one of the job's, which may have become smaller.
    fn has(&self, index: i32) -> bool {
        (0..self.spec.completions.unwrap_or(0)).contains(&index)
    }

    fn uncounted(&self) -> (usize, usize) {
        let of = |uids: &Option<Vec<String>>| uids.as_ref().map_or(0, Vec::len);
        self.status.uncounted_terminated_pods.as_ref().map_or((0, 0), |u| (of(&u.succeeded), of(&u.failed)))
    }

    fn succeeded(&self) -> i32 {
        let waiting = if self.is_indexed() { 0 } else { self.uncounted().0 };
        add(self.status.succeeded, waiting).unwrap_or(0)
    }

    fn failed(&self) -> i32 {
        add(self.status.failed, self.uncounted().1).unwrap_or(0)
    }

    fn active(&self) -> Vec<&Arc<Pod>> {
        self.pods.iter().filter(|pod| pods::is_active(pod)).collect()
    }

    fn go_on(&mut self, plan: &mut Plan) {
        let suspended = self.spec.suspend == Some(true);
        let since = self.status.start_time.get_or_insert(Time(self.moment.now)).0;
        let verdict = finish::pending(&self.before).or_else(|| finish::judge(self, since, plan));
        match verdict {
            Some(verdict) => self.end(verdict, plan),
            None if suspended => self.suspend(plan),
            None => {
                finish::resume(self.job, &mut self.status, self.moment.now, plan);
                self.scale(plan);
            }
        }
        self.observe();
    }

    /// The outcome is known: what still runs ends, and when everything is counted the job says so.
    fn end(&mut self, verdict: Verdict, plan: &mut Plan) {
        finish::aim(&mut self.status, &verdict, self.moment.now);
        let active: Vec<_> = self.active().into_iter().cloned().collect();
        let tracked = self.pods.iter().any(|pod| is_tracked(pod));
        let ending = self.pods.iter().any(|pod| is_ending(pod));
        if active.is_empty() && !tracked && !ending && self.uncounted() == (0, 0) {
            finish::conclude(self.job, &mut self.status, &verdict, self.moment.now, plan);
        }
        self.going = active;
    }

    fn suspend(&mut self, plan: &mut Plan) {
        let active: Vec<_> = self.active().into_iter().cloned().collect();
        active.iter().for_each(|pod| self.delete(pod, plan));
        self.status.start_time = None;
        finish::suspend(self.job, &mut self.status, self.moment.now, plan);
    }

    fn after_the_end(&mut self, plan: &mut Plan) {
        let tracked = self.pods.iter().filter(|pod| is_tracked(pod) && !pods::is_active(pod));
        let released: Vec<_> = plan.actions.iter().filter_map(|a| a.target().map(|at| at.key.name.clone())).collect();
        let rest: Vec<_> =
            tracked.filter(|p| !released.iter().any(|n| Some(n) == p.metadata.name.as_ref())).cloned().collect();
        rest.iter().for_each(|pod| release(pod, plan));
    }

    fn scale(&mut self, plan: &mut Plan) {
        let mut active: Vec<_> = self.active().into_iter().cloned().collect();
        let parallel = self.spec.parallelism.unwrap_or(1).max(0);
        let wanted = match self.spec.completions {
            // What runs may go on running.
            None if self.succeeded() > 0 => active.len() as i32,
            None => parallel,
            Some(completions) => {
                let over = self.succeeded() + self.failed_indexes.len() as i32;
                parallel.min((completions - over).max(0))
            }
        };
        let surplus = active.len() as i32 - wanted;
        pods::by_work(&mut active);
        let mut going = self.superfluous(&active);
        active.retain(|pod| !going.iter().any(|known| known.metadata.uid == pod.metadata.uid));
        let more = usize::try_from(surplus).unwrap_or(0).saturating_sub(going.len());
        going.extend(active.into_iter().take(more));
        if !going.is_empty() {
            // What is missing beside them comes when they are gone.
            return going.iter().take(BURST as usize).for_each(|pod| self.delete(pod, plan));
        }
        let missing = -surplus - self.awaited().count() as i32;
        if missing > 0 {
            match self.backoff() {
                Some(wait) => plan.again(wait),
                None => self.create(missing.min(BURST) as usize, plan),
            }
        }
    }

    /// Pods of an index that the job no longer has, or that another pod has too. The pods are by how little is lost with them.
    fn superfluous(&self, active: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        if !self.is_indexed() {
            return vec![];
        }
        let mut kept = BTreeSet::new();
        let over = |pod: &&Arc<Pod>| !index_of(pod).is_some_and(|index| self.has(index) && kept.insert(index));
        active.iter().rev().filter(over).cloned().collect()
    }

    /// How long to wait after failures before the next pod.
    fn backoff(&self) -> Option<Duration> {
        if self.spec.backoff_limit_per_index.is_some() {
            return None;
        }
        let counts = |pod: &&Arc<Pod>| self.has_failed(pod) && self.failure(pod) != Failure::Ignored;
        let succeeded = self.pods.iter().filter(|pod| pods::phase(pod) == "Succeeded");
        let success = succeeded.filter_map(|pod| finish::ended(pod)).max();
        let mut ends: Vec<_> = self.pods.iter().filter(counts).filter_map(|pod| finish::ended(pod)).collect();
        ends.retain(|end| Some(*end) > success);
        let last = ends.iter().max().copied()?;
        // Of those before the last success nothing is to be feared.
        let failures = if success.is_some() { ends.len() } else { usize::try_from(self.failed()).unwrap_or(0) };
        let failures = u32::try_from(failures).unwrap_or(u32::MAX);
        let wait = client::backoff::delay(BACKOFF_FIRST, BACKOFF_MOST, failures.checked_sub(1)?);
        let until = last + SignedDuration::try_from(wait).ok()?;
        Duration::try_from(until.duration_since(self.moment.now)).ok().filter(|left| !left.is_zero())
    }

    fn create(&self, count: usize, plan: &mut Plan) {
        let name = self.job.metadata.name.as_deref().unwrap_or_default();
        let namespace = self.job.metadata.namespace.as_deref().unwrap_or_default();
        let taken: BTreeSet<i32> =
            self.active().into_iter().chain(self.awaited()).filter_map(|pod| index_of(pod)).collect();
        let all = 0..self.spec.completions.unwrap_or(0);
        let held = self.held();
        let over = |index: &i32| self.completed.contains(index) || self.failed_indexes.contains(index);
        let free: Vec<i32> = all.filter(|index| !taken.contains(index) && !over(index)).collect();
        let free: Vec<i32> = free.into_iter().filter(|index| !self.index_waits(held.get(index), plan)).collect();
        let mut free = free.into_iter();
        for n in 0..count {
            let index = if self.is_indexed() { free.next() } else { None };
            if self.is_indexed() && index.is_none() {
                return;
            }
            let prefix = index.map_or(format!("{name}-"), |index| format!("{name}-{index}-"));
            let seed = pods::nth(self.moment, n);
            let mut pod = pods::from_template(&self.spec.template, namespace, pods::owner(self.job), &prefix, seed);
            self.mark(&mut pod, index);
            self.carry_on(&mut pod, index.and_then(|index| held.get(&index)));
            plan.create(&pod);
            let made = pod.metadata.name.as_deref().unwrap_or_default();
            plan.event(self.job, Severity::Normal, "SuccessfulCreate", format!("Created pod: {made}"));
        }
        plan.if_refused(self.job, "FailedCreate", "Error creating");
    }

    /// Gives a pod what makes it one of this job.
    fn mark(&self, pod: &mut Pod, index: Option<i32>) {
        let name = self.job.metadata.name.clone().unwrap_or_default();
        let uid = self.job.metadata.uid.clone().unwrap_or_default();
        let labels = pod.metadata.labels.get_or_insert_default();
        for (key, value) in [("job-name", &name), ("controller-uid", &uid)] {
            labels.entry(format!("batch.kubernetes.io/{key}")).or_insert_with(|| value.clone());
            labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
        pod.metadata.finalizers.get_or_insert_default().push(TRACKING.to_owned());
        let Some(index) = index else { return };
        labels.insert(INDEX.to_owned(), index.to_string());
        pod.metadata.annotations.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
        let Some(spec) = pod.spec.as_mut() else { return };
        spec.hostname.get_or_insert_with(|| format!("{name}-{index}"));
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|variable| variable.name == "JOB_COMPLETION_INDEX") {
                env.push(index_variable());
            }
        }
    }

    fn delete(&self, pod: &Pod, plan: &mut Plan) {
        plan.delete(pod);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        plan.event(self.job, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
    }

    fn observe(&mut self) {
        let active = self.active();
        let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
        let (active, terminating) = (active.len(), self.pods.iter().filter(|pod| is_ending(pod)).count());
        self.status.active = some(active);
        self.status.ready = Some(ready as i32);
        self.status.terminating = Some(terminating as i32);
    }

    fn write(self, plan: &mut Plan) {
        if self.status != self.before {
            plan.status(&Job { status: Some(self.status.clone()), ..self.job.clone() });
        }
        self.going.iter().for_each(|pod| self.delete(pod, plan));
    }
}

fn index_variable() -> EnvVar {
    let field = ObjectFieldSelector {
        field_path: format!("metadata.annotations['{INDEX}']"),
        ..ObjectFieldSelector::default()
    };
    EnvVar {
        name: "JOB_COMPLETION_INDEX".to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

/// Remembers a uid; true if it was remembered before.
fn note(uids: &mut Vec<String>, uid: String) -> bool {
    let known = uids.contains(&uid);
    if !known {
        uids.push(uid);
    }
    known
}

fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

fn add(count: Option<i32>, more: usize) -> Option<i32> {
    let sum = count.unwrap_or(0).saturating_add(i32::try_from(more).unwrap_or(i32::MAX));
    (sum > 0).then_some(sum)
}

fn some(n: usize) -> Option<i32> {
    add(None, n)
}

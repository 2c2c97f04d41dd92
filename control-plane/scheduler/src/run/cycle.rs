//! A pod's way from the choice of a node to its binding: Reserve and Permit at once, the rest beside other decisions.
//!
//! Whatever fails on the way, every Reserve plugin gives back what it took, last first, and the pod's place is free again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Executor, Key};
use futures::FutureExt;
use tokio::task::JoinError;

use super::measured::{Attempt, code};
use super::{Scheduler, outcome};
use crate::extender::Extender;
use crate::framework::{Binding, Bound, Objection, Permission, Point, Verdict};
use crate::metrics::{Call, Code, Ended, Metrics};
use crate::plugins::{Reason, Registered};
use crate::pod::{PodInfo, node_name};
use crate::profile::Profile;
use crate::refusals::unavailable;
use crate::schedule::Nowhere;

/// A pod on its way to a node.
#[derive(Clone)]
pub(super) struct Way {
    key: Key,
    pod: Arc<PodInfo>,
    node: String,
    by: usize,
    attempt: Option<Attempt>,
}

/// A pod whose waiting at Permit ended.
pub(super) struct Held {
    way: Way,
    verdict: Verdict,
}

/// What was done beside the loop.
pub(super) enum Done {
    Told { key: Key, failure: Option<String> },
    Bound { way: Way, verdict: Verdict },
}

/// Who says that nobody bound a pod.
const NOBODY: &str = "";

impl Scheduler {
    /// A node was chosen: the pod counts there from now on.
    pub(super) fn send(&mut self, key: &Key, pod: &Arc<PodInfo>, node: &str, by: usize) {
        let uid = pod.uid().to_owned();
        self.snapshot.end_nomination(&uid);
        self.snapshot.add_pod(node, pod.clone());
        self.counted.insert(uid.clone(), node.to_owned());
        self.assumed.insert(uid, key.clone());
        let way = Way { key: key.clone(), pod: pod.clone(), node: node.to_owned(), by, attempt: self.attempt(key, by) };
        let Some(profile) = self.config.profiles.get(by) else { return };
        match self.reserved(profile, &way).and_then(|()| self.permission(profile, &way)) {
            Err((plugin, objection)) => self.undo(&way, plugin, objection),
            Ok(plugins) if plugins.is_empty() => self.bind(way),
            Ok(plugins) => {
                let (waiting, metrics) = (self.config.waiting.clone(), self.config.metrics.clone());
                let wait = waiting.add(pod, node, &plugins);
                self.held.spawn(async move {
                    let since = Instant::now();
                    let verdict = wait.end(&waiting).await;
                    metrics.permit_wait(code(&verdict), since.elapsed());
                    Held { way, verdict }
                });
            }
        }
    }

    fn reserved(&self, profile: &Profile, way: &Way) -> Verdict {
        self.timed(Point::Reserve, profile, || {
            for plugin in &profile.reserve {
                let run = || plugin.reserve(&way.pod, &way.node);
                self.one(Point::Reserve, plugin, run).map_err(|why| objected(Point::Reserve, plugin, why))?;
            }
            Ok(())
        })
    }

    /// The plugins that want the pod to wait, each with its time.
    fn permission(
        &self,
        profile: &Profile,
        way: &Way,
    ) -> Result<Vec<(&'static str, Duration)>, (&'static str, Objection)> {
        let asked = |plugin: &Registered| {
            let run = || plugin.permit(&way.pod, &way.node, &self.config.waiting);
            match self.one(Point::Permit, plugin, run).map_err(|why| objected(Point::Permit, plugin, why)) {
                Ok(Permission::Granted) => None,
                Ok(Permission::Wait(time)) => Some(Ok((plugin.name(), time))),
                Err(objection) => Some(Err(objection)),
            }
        };
        let since = Instant::now();
        let waits: Result<Vec<_>, _> = profile.permit.iter().filter_map(asked).collect();
        let code = if waits.as_ref().is_ok_and(|waits| !waits.is_empty()) { Code::Wait } else { code(&waits) };
        self.config.metrics.point(Point::Permit, &profile.scheduler_name, code, since.elapsed());
        waits
    }

    /// The waiting at Permit ended.
    pub(super) fn permitted(&mut self, held: Result<Held, JoinError>) {
        match held {
            Ok(Held { way, verdict: Ok(()) }) => self.bind(way),
            Ok(Held { way, verdict: Err((plugin, objection)) }) => {
                let objection = match objection {
                    Objection::Failed(why) => Objection::Failed(format!("waiting on permit for pod: {why}")),
                    refused @ Objection::Unschedulable(_) => refused,
                };
                self.undo(&way, plugin, objection);
            }
            Err(error) => tracing::error!("waiting at Permit panicked: {error}"),
        }
    }

    fn bind(&mut self, way: Way) {
        let (Some(executor), Some(profile)) = (self.executors.get(way.by), self.config.profiles.get(way.by)) else {
            return;
        };
        let mut extenders = self.extenders.iter();
        let binder = extenders.find(|extender| extender.binds() && extender.is_interested(&way.pod.pod));
        let steps = Steps {
            executor: executor.clone(),
            extender: binder.cloned(),
            profile: profile.scheduler_name.clone(),
            pre_bind: profile.pre_bind.clone(),
            bind: profile.bind.clone(),
            post_bind: profile.post_bind.clone(),
            metrics: self.config.metrics.clone(),
        };
        self.writes.spawn(async move {
            let gone = std::panic::AssertUnwindSafe(steps.go(&way.pod, &way.node)).catch_unwind().await;
            let panicked = |_| Err((NOBODY, Objection::Failed("binding the pod panicked".to_owned())));
            Done::Bound { verdict: gone.unwrap_or_else(panicked), way }
        });
    }

    /// A write ended.
    pub(super) fn written(&mut self, done: Result<Done, JoinError>) {
        match done {
            Err(error) => tracing::error!("a write of the scheduler panicked: {error}"),
            Ok(Done::Bound { way, verdict: Ok(()) }) => self.tell_bound(way.attempt.as_ref()),
            Ok(Done::Told { failure: None, .. }) => {}
            Ok(Done::Told { key, failure: Some(why) }) => {
                tracing::info!(pod = %key, "{why}");
                if !self.is_seen_bound(&key) {
                    self.queue.failed(&key, Instant::now());
                }
            }
            // A pod that is seen on a node by now was bound, whatever the answer said.
            Ok(Done::Bound { way, .. }) if self.is_seen_bound(&way.key) => {
                self.tell_bound(way.attempt.as_ref());
            }
            Ok(Done::Bound { way, verdict: Err((plugin, objection)) }) => self.undo(&way, plugin, objection),
        }
    }

    fn is_seen_bound(&self, key: &Key) -> bool {
        self.pods.get_key(key).is_some_and(|pod| !node_name(&pod).is_empty())
    }

    /// The pod does not go where it was to go.
    fn undo(&mut self, way: &Way, plugin: &'static str, objection: Objection) {
        let now = Instant::now();
        if let Some(profile) = self.config.profiles.get(way.by) {
            self.unreserve(profile, way);
        }
        self.assumed.remove(way.pod.uid());
        self.uncount(way.pod.uid());
        if self.pods.get_key(&way.key).is_none_or(|pod| crate::pod::uid(&pod) != way.pod.uid()) {
            // It ended meanwhile.
            return;
        }
        match objection {
            Objection::Unschedulable(why) => {
                let reason = Reason::Told(why.into());
                let message = unavailable(1, std::iter::once((&reason, 1)));
                let refused_by = BTreeSet::from([plugin]);
                let nowhere = Nowhere { message, refused_by, preempt: None, end_nomination: false };
                self.ended_attempt(way.attempt.as_ref(), Ended::Unschedulable);
                self.nowhere(&way.key, &way.pod, nowhere, way.by);
            }
            Objection::Failed(why) => {
                tracing::info!(pod = %way.key, "{why}");
                self.ended_attempt(way.attempt.as_ref(), Ended::Error);
                self.queue.failed(&way.key, now);
                self.tell(&way.key, outcome::failed(&way.pod.pod, &why), way.by, false);
            }
        }
    }

    fn unreserve(&self, profile: &Profile, way: &Way) {
        let since = Instant::now();
        for plugin in profile.reserve.iter().rev() {
            let run = || {
                plugin.unreserve(&way.pod, &way.node);
                Ok(())
            };
            if self.one(Point::Unreserve, plugin, run).is_err() {
                tracing::error!(pod = %way.key, "{} panicked while it gave back what it had reserved", plugin.name());
            }
        }
        self.config.metrics.point(Point::Unreserve, &profile.scheduler_name, Code::Success, since.elapsed());
    }

    fn timed<T>(
        &self,
        point: Point,
        profile: &Profile,
        run: impl FnOnce() -> Result<T, (&'static str, Objection)>,
    ) -> Result<T, (&'static str, Objection)> {
        let since = Instant::now();
        let ran = run();
        let metrics = &self.config.metrics;
        metrics.point(point, &profile.scheduler_name, code(&ran), since.elapsed());
        ran
    }

    /// Runs one plugin. One that panics has failed.
    fn one<T>(
        &self,
        point: Point,
        plugin: &Registered,
        run: impl FnOnce() -> Result<T, Objection>,
    ) -> Result<T, Objection> {
        let since = Instant::now();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let ran = ran.unwrap_or_else(|_| Err(Objection::Failed("it panicked".to_owned())));
        self.config.metrics.plugin(point, plugin.name(), code_of(&ran), since.elapsed());
        ran
    }
}

/// What a plugin objects, as it is told: a failure says where.
fn objected(point: Point, plugin: &Registered, objection: Objection) -> (&'static str, Objection) {
    let objection = match objection {
        Objection::Failed(why) => {
            Objection::Failed(format!("running {} plugin {:?}: {why}", point.name(), plugin.name()))
        }
        refused @ Objection::Unschedulable(_) => refused,
    };
    (plugin.name(), objection)
}

fn code_of<T>(ran: &Result<T, Objection>) -> Code {
    match ran {
        Ok(_) => Code::Success,
        Err(Objection::Unschedulable(_)) => Code::Unschedulable,
        Err(Objection::Failed(_)) => Code::Error,
    }
}

/// What is done beside the loop for a pod that may go.
struct Steps {
    executor: Executor,
    /// An extender that binds goes before all plugins.
    extender: Option<Extender>,
    profile: String,
    pre_bind: Vec<Registered>,
    bind: Vec<Registered>,
    post_bind: Vec<Registered>,
    metrics: Arc<Metrics>,
}

impl Steps {
    async fn go(&self, pod: &PodInfo, node: &str) -> Verdict {
        let binding = Binding { pod, node, executor: &self.executor };
        self.timed(Point::PreBind, self.prepare(binding)).await?;
        self.timed(Point::Bind, self.bind(binding)).await?;
        self.executor.act(&outcome::bound(&pod.pod, node)).await;
        let since = Instant::now();
        self.post_bind.iter().for_each(|plugin| plugin.post_bind(pod, node));
        self.metrics.point(Point::PostBind, &self.profile, Code::Success, since.elapsed());
        Ok(())
    }

    async fn timed(&self, point: Point, step: impl Future<Output = Verdict>) -> Verdict {
        let since = Instant::now();
        let verdict = step.await;
        self.metrics.point(point, &self.profile, code(&verdict), since.elapsed());
        verdict
    }

    async fn prepare(&self, binding: Binding<'_>) -> Verdict {
        for plugin in &self.pre_bind {
            let since = Instant::now();
            let ran = plugin.pre_bind(binding).await;
            self.metrics.plugin(Point::PreBind, plugin.name(), code_of(&ran), since.elapsed());
            ran.map_err(|why| objected(Point::PreBind, plugin, why))?;
        }
        Ok(())
    }

    async fn bind(&self, binding: Binding<'_>) -> Verdict {
        if let Some(extender) = &self.extender {
            let bound = extender.bind(binding.object(), binding.node).await;
            return bound.map_err(|failure| (NOBODY, Objection::Failed(failure.to_string())));
        }
        for plugin in &self.bind {
            let since = Instant::now();
            let ran = plugin.bind(binding).await;
            if ran != Ok(Bound::Skipped) {
                self.metrics.called(Call::Binding, ran.is_ok(), since.elapsed());
            }
            let code = if ran == Ok(Bound::Skipped) { Code::Skip } else { code_of(&ran) };
            self.metrics.plugin(Point::Bind, plugin.name(), code, since.elapsed());
            match ran.map_err(|why| (plugin.name(), binding_failed(plugin, why)))? {
                Bound::Done => return Ok(()),
                Bound::Skipped => {}
            }
        }
        Err((NOBODY, Objection::Failed("no Bind plugin bound the pod".to_owned())))
    }
}

/// In upstream's words: the default binder's failures are the API's.
fn binding_failed(plugin: &Registered, objection: Objection) -> Objection {
    match objection {
        Objection::Failed(why) => {
            Objection::Failed(format!("binding rejected: running Bind plugin {:?}: {why}", plugin.name()))
        }
        refused @ Objection::Unschedulable(_) => refused,
    }
}

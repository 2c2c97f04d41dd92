//! One worker for each pod: one loop, one closed set of events, one plan after each.
//!
//! What takes time runs as tasks beside the loop and comes back as an event, so that a pod in the middle of a pull can be
//! deleted at once, and one container's hook does not hold another.

mod allocate;
mod apply;
mod publish;
mod watch;

use crate::act::{self, Failed, Job};
use crate::admit::Refusal;
use crate::backoff::Backoff;
use crate::identity::PodId;
use crate::node::Node;
use crate::observed::{EndReason, Ending, Failure, Op, RuntimeStatus, Volumes};
use crate::plan::{self, Step, Why};
use crate::probes;
use crate::volumes;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

/// More than one pod's containers and probes report at once.
const MAILBOX: usize = 128;
/// When nothing is heard from the runtime it is asked anyway.
const RELIST: Duration = Duration::from_secs(300);
/// After a failure that nothing announces the end of.
const RETRY: SignedDuration = SignedDuration::from_secs(1);
const RETRY_MOST_S: i64 = 10;

#[derive(Debug)]
pub enum Event {
    /// The newest object.
    Pod(Arc<Pod>),
    /// The object is gone.
    Gone,
    /// The runtime says that something changed.
    Runtime,
    /// A ConfigMap or Secret of the pod changed.
    Source,
    Mounted(Result<Option<Timestamp>, volumes::Error>),
    Sandbox(Result<(), String>),
    Started {
        name: String,
        result: Result<(), Failed>,
    },
    Killed {
        name: String,
        result: Result<(), String>,
    },
    Probed {
        name: String,
        id: String,
        kind: probes::Kind,
        verdict: bool,
    },
    /// With the version of the object that the write made, where there still is one.
    Written(Result<Option<u64>, String>),
    Resized(Result<(), String>),
    /// The pod may have other resources than before.
    Allocated,
    Unmounted(Result<(), String>),
    Removed(Result<(), String>),
}

/// How the rest of the kubelet reaches a worker.
pub struct Handle {
    pub mailbox: mpsc::Sender<Event>,
    pub task: JoinHandle<()>,
}

/// A kubelet that ends leaves its pods alone, and takes its tasks along.
impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    node: Arc<Node>,
    /// The newest object.
    asked: Arc<Pod>,
    /// The same with the resources that it was given.
    pod: Arc<Pod>,
    /// The answer of the ledger may have changed.
    reallocated: Arc<AtomicBool>,
    /// It was given others than it had, and its containers may not have them yet.
    granted: bool,
    rt: RuntimeStatus,
    inbox: mpsc::Receiver<Event>,
    /// Tasks report through the same mailbox.
    report: mpsc::Sender<Event>,
    ops: HashMap<String, AbortHandle>,
    probers: HashMap<(String, probes::Kind), AbortHandle>,
    messages: HashMap<String, String>,
    /// What the runtime knows may have changed.
    stale: bool,
    /// The runtime has been looked at once: before, nothing can be said or done.
    seen: bool,
    /// A status is being written.
    writing: bool,
    /// The last one was not taken.
    refused: bool,
    written: Option<PodStatus>,
    /// The version that `written` made.
    version: Option<u64>,
    /// A pod that runs at once needs no status before; a slow one gets it at that time.
    show_after: Timestamp,
    /// Volumes that are files are to be written again at that time.
    remount: Option<Timestamp>,
    removing: bool,
    unmounted: bool,
    /// When to go on after a step failed.
    retry: Option<Timestamp>,
    failures: u32,
    done: bool,
}

/// What is known of a pod when its worker starts.
pub struct Start {
    /// Its object is gone already.
    pub gone: bool,
    /// The runtime cannot know it yet.
    pub new: bool,
    /// It was not let in.
    pub refused: Option<Refusal>,
}

/// Starts a worker. It ends when the pod is gone from here and from the API; `ended` hears its uid.
pub fn spawn(node: Arc<Node>, pod: Arc<Pod>, start: Start, ended: mpsc::UnboundedSender<String>) -> Handle {
    let (mailbox, inbox) = mpsc::channel(MAILBOX);
    let uid = PodId::of(&pod).uid;
    let worker = Worker::new(node, pod, start, inbox, mailbox.clone());
    let task = tokio::spawn(async move {
        worker.run().await;
        // Nobody is left to hear it when the kubelet itself ends.
        let _ = ended.send(uid);
    });
    Handle { mailbox, task }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for task in self.ops.values().chain(self.probers.values()) {
            task.abort();
        }
    }
}

impl Worker {
    fn new(
        node: Arc<Node>,
        pod: Arc<Pod>,
        start: Start,
        inbox: mpsc::Receiver<Event>,
        report: mpsc::Sender<Event>,
    ) -> Worker {
        let now = Timestamp::now();
        let mut worker = Worker {
            node,
            rt: RuntimeStatus::default(),
            inbox,
            report,
            ops: HashMap::new(),
            probers: HashMap::new(),
            messages: HashMap::new(),
            stale: !start.new,
            seen: start.new,
            writing: false,
            refused: false,
            written: None,
            version: None,
            show_after: now + publish::PATIENCE,
            remount: None,
            removing: false,
            unmounted: false,
            retry: None,
            failures: 0,
            done: false,
            reallocated: Arc::default(),
            granted: false,
            asked: pod.clone(),
            pod,
        };
        if start.gone {
            worker.end(EndReason::Gone, plan::grace(&worker.pod), now);
        }
        if let Some(refusal) = start.refused {
            worker.refuse(refusal, now);
        }
        worker
    }

    async fn run(mut self) {
        let first = Event::Pod(self.pod.clone());
        self.apply(first, Timestamp::now());
        while !self.done {
            while let Ok(event) = self.inbox.try_recv() {
                self.apply(event, Timestamp::now());
            }
            if self.reallocated.swap(false, Ordering::Relaxed) {
                self.allocate(Timestamp::now());
            }
            if self.stale {
                self.observe().await;
            }
            self.completed();
            let now = Timestamp::now();
            let wake = self.act(now);
            self.publish(now);
            if self.done {
                break;
            }
            let pause =
                wake.map_or(RELIST, |t| Duration::try_from(t.duration_since(now)).unwrap_or_default().min(RELIST));
            match tokio::time::timeout(pause, self.inbox.recv()).await {
                Ok(Some(event)) => self.apply(event, Timestamp::now()),
                Ok(None) => break,
                Err(_) => self.stale |= pause == RELIST,
            }
        }
        self.node.board.forget(&self.uid());
        self.node.ledger.forget(&self.uid());
    }

    fn uid(&self) -> String {
        self.pod.metadata.uid.clone().unwrap_or_default()
    }

    /// Plans and sets every step going. Returns when to look again at the latest.
    fn act(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake = self.clocks(now);
        if let Some(retry) = self.retry.filter(|r| *r > now) {
            return [wake, Some(retry)].into_iter().flatten().min();
        }
        self.retry = None;
        if !self.seen {
            return wake;
        }
        for step in plan::plan(&self.pod, &self.rt, now) {
            tracing::debug!(pod = %PodId::of(&self.pod), %step, "step");
            match step {
                Step::Wait { until } => wake = [wake, Some(until)].into_iter().flatten().min(),
                step => self.step(step, now),
            }
        }
        [wake, self.retry].into_iter().flatten().min()
    }

    /// What time alone brings about.
    fn clocks(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake = None;
        if self.rt.ending.is_none() {
            match plan::deadline(&self.pod, now) {
                Some(Ok(why)) => self.end(why, plan::grace(&self.pod), now),
                Some(Err(at)) => wake = Some(at),
                None => {}
            }
        }
        if (self.written.is_none() || self.refused) && !self.writing && self.show_after > now {
            wake = [wake, Some(self.show_after)].into_iter().flatten().min();
        }
        match self.remount {
            Some(at) if at <= now && self.rt.volumes == Volumes::Ready => {
                self.remount = None;
                self.mount();
            }
            Some(at) => wake = [wake, Some(at)].into_iter().flatten().min(),
            None => {}
        }
        wake
    }

    fn end(&mut self, why: EndReason, grace: i64, now: Timestamp) {
        self.rt.ending = Some(Ending { why, grace, since: now });
        // A container that is being pulled or created has nothing to wait for.
        for (name, memory) in &mut self.rt.memory {
            if let Some(Op::Start { .. }) = memory.op {
                memory.op = None;
                if let Some(task) = self.ops.remove(name) {
                    task.abort();
                }
            }
        }
        self.stale = true;
    }

    fn refuse(&mut self, refusal: Refusal, now: Timestamp) {
        let Refusal { reason, message } = refusal;
        self.node.events.warning(&self.pod, None, reason.clone(), message.clone());
        self.end(EndReason::Refused { reason, message }, 0, now);
        self.stale = false;
    }

    fn job(&self) -> Job {
        Job { node: self.node.clone(), pod: self.pod.clone(), rt: Arc::new(self.rt.clone()) }
    }

    /// Runs one task whose outcome is an event.
    fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) -> AbortHandle {
        let report = self.report.clone();
        tokio::spawn(async move {
            // The worker is gone: so is its interest.
            let _ = report.send(work.await).await;
        })
        .abort_handle()
    }

    fn mount(&mut self) {
        let job = self.job();
        self.spawn(async move { Event::Mounted(volumes::mount(&job.node, &job.pod).await) });
    }

    fn step(&mut self, step: Step, now: Timestamp) {
        let job = self.job();
        match step {
            Step::Mount => {
                self.rt.volumes = Volumes::Mounting;
                self.mount();
            }
            Step::RunSandbox { attempt } => {
                self.rt.sandbox_busy = true;
                self.spawn(async move { Event::Sandbox(act::run(&job, attempt).await) });
            }
            Step::StopSandbox { id } => {
                self.rt.sandbox_busy = true;
                self.spawn(async move { Event::Sandbox(act::stop(&job, &id).await) });
            }
            Step::Start { name, attempt } => self.start(job, name, attempt, now),
            Step::Kill { name, id, grace, why } => {
                let until = now + SignedDuration::from_secs(grace);
                if let Some(task) = self.ops.remove(&name) {
                    task.abort();
                }
                let memory = self.rt.memory.entry(name.clone()).or_default();
                memory.op = Some(Op::Kill { until });
                memory.renewed = Some(id.clone()).filter(|_| matches!(why, Why::Resized | Why::Changed));
                let key = name.clone();
                let task = self.spawn(async move {
                    let result = act::kill(&job, &name, &id, grace, why).await;
                    Event::Killed { name, result }
                });
                self.ops.insert(key, task);
            }
            Step::Resize(changes) => {
                self.rt.resizing = true;
                self.spawn(async move { Event::Resized(act::resize(&job, &changes).await) });
            }
            Step::Unmount if self.unmounted => {}
            Step::Unmount => {
                self.unmounted = true;
                self.spawn(async move { Event::Unmounted(act::unmount(&job)) });
            }
            Step::Remove => self.remove(job),
            Step::Wait { .. } => {}
        }
    }

    fn start(&mut self, job: Job, name: String, attempt: u32, now: Timestamp) {
        let memory = self.rt.memory.entry(name.clone()).or_default();
        if let Some(until) = memory.pull.and_then(|b| b.until(b.since, now)) {
            let image = crate::units::find(&self.pod, &name).and_then(|u| u.spec.image.clone()).unwrap_or_default();
            let why = memory.failure.take().map(|f| format!(": {}: {}", f.reason, f.message)).unwrap_or_default();
            let message = format!("Back-off pulling image \"{image}\"");
            self.node.events.normal(&self.pod, Some(&name), "BackOff", message.clone());
            memory.failure = Some(Failure { reason: "ImagePullBackOff".into(), message: message + &why, retry: until });
            self.retry = Some(now);
            return;
        }
        if self.rt.latest(&name).is_some_and(|c| c.exit().is_some()) {
            let memory = self.rt.memory.entry(name.clone()).or_default();
            memory.restart = Some(Backoff::next(memory.restart, now));
        }
        self.rt.memory.entry(name.clone()).or_default().op = Some(Op::Start { attempt });
        let key = name.clone();
        let task = self.spawn(async move {
            let result = act::start(&job, &name, attempt).await;
            Event::Started { name, result }
        });
        self.ops.insert(key, task);
    }

    /// The last status is written before the object goes.
    fn remove(&mut self, job: Job) {
        if std::mem::replace(&mut self.removing, true) {
            return;
        }
        // Its place is free before its object goes: who comes in its stead must find it so.
        self.node.ledger.forget(&self.uid());
        let delete = self.rt.ending.as_ref().is_some_and(|e| e.why == EndReason::Deleted);
        let last = delete.then(|| self.status(Timestamp::now())).flatten();
        self.spawn(async move {
            if let Some(status) = last
                && let Err(e) = publish::write(&job.node, &job.pod, &status, &[]).await
            {
                return Event::Removed(Err(e));
            }
            Event::Removed(act::remove(&job, delete).await)
        });
    }
}

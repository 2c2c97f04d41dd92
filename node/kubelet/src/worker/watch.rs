//! Looking at the runtime, and keeping a prober beside each running container.

use super::{Event, Worker};
use crate::handler::Target;
use crate::observed::{Container, State};
use crate::probes::{Kind, Prober};
use crate::units::{self, Role, Unit};
use crate::{logs, status};
use jiff::Timestamp;
use std::io::Read;

/// Upstream's limits for termination messages.
const MESSAGE_BYTES: u64 = 4096;
const LOG_LINES: usize = 80;
const LOG_BYTES: usize = 2048;

impl Worker {
    pub(super) async fn observe(&mut self) {
        let found = match self.node.runtime.find(&self.uid()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(pod = %crate::identity::PodId::of(&self.pod), %error, "looking at the pod in the runtime");
                self.retry = Some(Timestamp::now() + super::RETRY);
                return;
            }
        };
        self.stale = false;
        self.seen = true;
        self.rt.sandboxes = found.sandboxes;
        self.rt.containers = found.containers;
        for c in &mut self.rt.containers {
            let renewed = self.rt.memory.get(&c.name).and_then(|m| m.renewed.as_ref());
            c.renewed = renewed == Some(&c.id);
        }
        self.messages();
        self.probers();
    }

    /// An ended container's message is what it wrote to its file, else what the runtime says, else the end of its log.
    fn messages(&mut self) {
        for c in &mut self.rt.containers {
            let State::Exited(exit) = &mut c.state else { continue };
            let kept = self.messages.entry(c.id.clone()).or_insert_with(|| {
                let own = read(&c.message_file);
                let wanted = own.is_empty() && exit.message.is_empty() && c.logs_as_message && exit.code != 0;
                if wanted { logs::tail(c.log_path.as_ref(), LOG_LINES, LOG_BYTES) } else { own }
            });
            if !kept.is_empty() {
                exit.message = kept.clone();
            }
        }
        let ids: Vec<&String> = self.rt.containers.iter().map(|c| &c.id).collect();
        self.messages.retain(|id, _| ids.contains(&id));
    }

    /// Starts what is missing and stops what has no container any more.
    fn probers(&mut self) {
        let pod = self.pod.clone();
        let mut wanted: Vec<(String, Kind)> = Vec::new();
        for unit in units::units(&pod).iter().filter(|u| matches!(u.role, Role::Main | Role::Sidecar)) {
            let Some(c) = self.rt.current(unit.name()).filter(|c| c.running()).cloned() else { continue };
            self.seed(unit, &c);
            let busy = self.rt.remembered(unit.name()).is_some_and(|m| m.op.is_some());
            if busy && !self.probers.keys().any(|(id, _)| id == &c.id) {
                continue;
            }
            for kind in self.kinds(unit, &c) {
                wanted.push((c.id.clone(), kind));
                self.prober(unit, &c, kind);
            }
        }
        self.probers.retain(|key, task| {
            let keep = wanted.contains(key);
            if !keep {
                task.abort();
            }
            keep
        });
    }

    /// The startup probe alone until it has succeeded; nothing but readiness for a pod that is ending.
    fn kinds(&self, unit: &Unit<'_>, c: &Container) -> Vec<Kind> {
        let open = unit.spec.startup_probe.is_some() && self.rt.probes(c).startup != Some(true);
        let kinds: &[Kind] = match (open, self.rt.ending.is_some()) {
            (true, false) => &[Kind::Startup],
            (true, true) => &[],
            (false, true) => &[Kind::Readiness],
            (false, false) => &[Kind::Liveness, Kind::Readiness],
        };
        kinds.iter().copied().filter(|k| k.of(&unit.spec).is_some()).collect()
    }

    /// Verdicts for a container that was not seen before: none, or what the object says of that very container
    /// (the kubelet was restarted, not the container).
    fn seed(&mut self, unit: &Unit<'_>, c: &Container) {
        if self.rt.remembered(&c.name).is_some_and(|m| m.probes.id == c.id) {
            return;
        }
        let said = status::known(&self.pod, unit)
            .filter(|s| s.container_id.as_deref().is_some_and(|id| id.ends_with(&format!("//{}", c.id))));
        let probes = crate::observed::Probes {
            id: c.id.clone(),
            startup: said.filter(|s| s.started == Some(true)).map(|_| true),
            liveness: None,
            readiness: said.filter(|s| s.ready).map(|_| true),
        };
        self.rt.memory.entry(c.name.clone()).or_default().probes = probes;
    }

    fn prober(&mut self, unit: &Unit<'_>, c: &Container, kind: Kind) {
        let key = (c.id.clone(), kind);
        let State::Running { started } = c.state else { return };
        if self.probers.contains_key(&key) {
            return;
        }
        let shared = self.pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
        let own = self.rt.sandbox().and_then(|s| s.ips.first().cloned()).filter(|_| !shared);
        let prober = Prober {
            kind,
            pod: self.pod.clone(),
            target: Target {
                runtime: self.node.runtime.clone(),
                id: c.id.clone(),
                container: unit.spec.clone().into_owned(),
                ip: own.or_else(|| self.node.host.ips.first().cloned()).unwrap_or_default(),
            },
            started,
            events: self.node.events.clone(),
            seed: match kind {
                Kind::Startup => None,
                Kind::Liveness => Some(true),
                Kind::Readiness => Some(self.rt.probes(c).readiness == Some(true)),
            },
        };
        let (report, name, id) = (self.report.clone(), c.name.clone(), c.id.clone());
        let task = tokio::spawn(prober.run(move |verdict| {
            let event = Event::Probed { name: name.clone(), id: id.clone(), kind, verdict };
            let report = report.clone();
            async move {
                // The worker is gone: so is its interest.
                let _ = report.send(event).await;
            }
        }));
        self.probers.insert(key, task.abort_handle());
    }
}

fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|f| f.take(MESSAGE_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        // No file, no message.
        Err(_) => String::new(),
    }
}

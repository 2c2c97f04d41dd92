//! What the scheduler counts, in the text form of Prometheus and with upstream's names.
//!
//! Labels are few by construction: names of points, plugins and profiles, and words of this crate.

mod families;
mod histogram;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::framework::Point;
use crate::queue::{Happening, Ledger, Sizes};

pub(crate) use families::Family;
use families::Kind;
use histogram::Histogram;

/// Tries of a pod that are told apart; upstream's label says `15+` for more.
const TRIES_TOLD: u32 = 15;

/// How an attempt to schedule a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    Scheduled,
    Unschedulable,
    Error,
}

impl Ended {
    fn label(self) -> &'static str {
        match self {
            Ended::Scheduled => "scheduled",
            Ended::Unschedulable => "unschedulable",
            Ended::Error => "error",
        }
    }
}

/// How a plugin or a whole point answered: upstream's names of its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Success,
    Unschedulable,
    Error,
    Wait,
    Skip,
}

impl Code {
    fn label(self) -> &'static str {
        match self {
            Code::Success => "Success",
            Code::Unschedulable => "Unschedulable",
            Code::Error => "Error",
            Code::Wait => "Wait",
            Code::Skip => "Skip",
        }
    }
}

/// What is written to the API beside other decisions: upstream's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Binding,
    StatusPatch,
}

impl Call {
    fn label(self) -> &'static str {
        match self {
            Call::Binding => "pod_binding",
            Call::StatusPatch => "pod_status_patch",
        }
    }
}

fn result(well: bool) -> &'static str {
    if well { "success" } else { "error" }
}

type Label = Cow<'static, str>;

#[derive(Debug, Clone)]
enum Value {
    Number(f64),
    Times(Histogram),
}

/// Values by family and labels, and what is told as a whole.
#[derive(Debug, Default)]
struct Counted {
    values: BTreeMap<Family, BTreeMap<Vec<Label>, Value>>,
    now: Now,
    queue: Ledger,
    /// Events by name, and pods.
    in_flight: (BTreeMap<&'static str, usize>, usize),
}

#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counted>);

/// Sizes at a moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    pub sizes: Sizes,
    pub nodes: usize,
    pub pods: usize,
    pub assumed: usize,
    pub binding: usize,
}

fn word(text: &'static str) -> Label {
    Cow::Borrowed(text)
}

fn name(text: &str) -> Label {
    Cow::Owned(text.to_owned())
}

impl Counted {
    fn at<const N: usize>(&mut self, family: Family, labels: [Label; N]) -> &mut Value {
        debug_assert_eq!(family.labels().len(), N);
        let value = || match family.kind() {
            Kind::Counter | Kind::Gauge => Value::Number(0.0),
            Kind::Histogram(_) => Value::Times(Histogram::default()),
        };
        self.values.entry(family).or_default().entry(labels.to_vec()).or_insert_with(value)
    }

    fn add<const N: usize>(&mut self, family: Family, labels: [Label; N], by: f64) {
        if let Value::Number(number) = self.at(family, labels) {
            *number += by;
        }
    }

    fn set<const N: usize>(&mut self, family: Family, labels: [Label; N], to: f64) {
        if let Value::Number(number) = self.at(family, labels) {
            *number = to;
        }
    }

    fn observe<const N: usize>(&mut self, family: Family, labels: [Label; N], value: f64) {
        if let (Value::Times(times), Kind::Histogram(bounds)) = (self.at(family, labels), family.kind()) {
            times.observe(bounds, value);
        }
    }
}

impl Metrics {
    fn with<T>(&self, change: impl FnOnce(&mut Counted) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    pub(crate) fn attempt(&self, profile: &str, ended: Ended, took: Duration) {
        let labels = || [name(profile), word(ended.label())];
        self.with(|c| {
            c.add(Family::Attempts, labels(), 1.0);
            c.observe(Family::AttemptTime, labels(), took.as_secs_f64());
        });
    }

    pub(crate) fn algorithm(&self, took: Duration) {
        self.with(|c| c.observe(Family::Algorithm, [], took.as_secs_f64()));
    }

    pub(crate) fn point(&self, point: Point, profile: &str, code: Code, took: Duration) {
        let labels = [word(point.name()), name(profile), word(code.label())];
        self.with(|c| c.observe(Family::Point, labels, took.as_secs_f64()));
    }

    pub(crate) fn plugin(&self, point: Point, plugin: &'static str, code: Code, took: Duration) {
        let labels = [word(point.name()), word(plugin), word(code.label())];
        self.with(|c| c.observe(Family::Plugin, labels, took.as_secs_f64()));
    }

    /// Plugins had a say in a decision.
    pub(crate) fn asked(&self, profile: &str, asked: &[(Point, &'static str)]) {
        self.with(|c| {
            for (point, plugin) in asked {
                c.add(Family::Evaluations, [word(point.name()), word(plugin), name(profile)], 1.0);
            }
        });
    }

    pub(crate) fn permit_wait(&self, code: Code, took: Duration) {
        self.with(|c| c.observe(Family::PermitWait, [word(code.label())], took.as_secs_f64()));
    }

    /// A pod got its node, so long after it was first tried.
    pub(crate) fn scheduled(&self, tries: u32, since_first: Duration, timed_out: bool) {
        let more = if tries >= TRIES_TOLD { "+" } else { "" };
        let told = Cow::Owned(format!("{}{more}", tries.min(TRIES_TOLD)));
        self.with(|c| {
            c.observe(Family::Sli, [told], since_first.as_secs_f64());
            c.observe(Family::Tries, [], f64::from(tries));
            c.add(Family::AfterFlush, [], if timed_out { 1.0 } else { 0.0 });
        });
    }

    pub(crate) fn preemption(&self, victims: usize) {
        self.with(|c| {
            c.add(Family::Preemptions, [], 1.0);
            c.observe(Family::Victims, [], victims as f64);
        });
    }

    /// Victims were told to go, or could not be.
    pub(crate) fn made_room(&self, well: bool, took: Duration) {
        let result = || [word(result(well))];
        self.with(|c| {
            c.add(Family::PreemptionRuns, result(), 1.0);
            c.observe(Family::PreemptionTime, result(), took.as_secs_f64());
        });
    }

    /// A write beside other decisions.
    pub(crate) fn called(&self, call: Call, well: bool, took: Duration) {
        let labels = || [word(call.label()), word(result(well))];
        self.with(|c| {
            c.add(Family::Calls, labels(), 1.0);
            c.observe(Family::CallTime, labels(), took.as_secs_f64());
        });
    }

    /// A plugin was asked whether what happened may help a pod.
    pub(crate) fn hint(&self, plugin: &'static str, happening: Happening, hopes: bool, took: Duration) {
        let hint = if hopes { "Queue" } else { "QueueSkip" };
        let labels = [word(happening.label()), word(hint), word(plugin)];
        self.with(|c| c.observe(Family::Hints, labels, took.as_secs_f64()));
    }

    /// What is kept for pods on their way, and how many these are.
    pub(crate) fn in_flight(&self, events: &BTreeMap<&'static str, usize>, pods: usize) {
        self.with(|c| {
            c.in_flight.1 = pods;
            if c.in_flight.0 != *events {
                c.in_flight.0 = events.clone();
            }
        });
    }

    /// How long it took to take in what happened.
    pub(crate) fn handled(&self, event: &'static str, took: Duration) {
        self.with(|c| c.observe(Family::Handling, [word(event)], took.as_secs_f64()));
    }

    /// What there is at this moment.
    pub(crate) fn now(&self, now: Now, queue: &Ledger) {
        self.with(|c| {
            c.now = now;
            if c.queue.version != queue.version {
                c.queue = queue.clone();
            }
        });
    }

    /// Everything, as `/metrics` shows it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.with(|counted| counted.write(&mut out));
        out
    }
}

// Writing to a String cannot fail: results of it are dropped here.
impl Counted {
    /// Makes values of what was told as a whole.
    fn spread(&mut self) {
        let Sizes { active, backoff, unschedulable, gated } = self.now.sizes;
        let pending = [("active", active), ("backoff", backoff), ("gated", gated), ("unschedulable", unschedulable)];
        let cached = [("assumed_pods", self.now.assumed), ("nodes", self.now.nodes), ("pods", self.now.pods)];
        pending.iter().for_each(|(queue, pods)| self.set(Family::Pending, [word(queue)], *pods as f64));
        cached.iter().for_each(|(kind, count)| self.set(Family::Cache, [word(kind)], *count as f64));
        self.set(Family::Goroutines, [word("binding")], self.now.binding as f64);
        self.values.remove(&Family::Unschedulable);
        self.values.remove(&Family::InFlight);
        let (events, pods) = self.in_flight.clone();
        for (event, count) in events.into_iter().chain([("PodPopped", pods)]) {
            self.set(Family::InFlight, [word(event)], count as f64);
        }
        let queue = self.queue.clone();
        for ((part, event), pods) in &queue.incoming {
            self.set(Family::Incoming, [word(part), word(event)], *pods as f64);
        }
        for ((profile, plugin), pods) in &queue.refused {
            self.set(Family::Unschedulable, [word(plugin), name(profile)], *pods as f64);
        }
    }

    fn write(&mut self, out: &mut String) {
        self.spread();
        // Shown from the start, as upstream: what has no labels.
        Family::ALL.iter().filter(|family| family.labels().is_empty()).for_each(|family| {
            self.at(*family, []);
        });
        for (family, values) in &self.values {
            let (name, kind) = (family.name(), family.kind());
            let _ = writeln!(out, "# HELP {name} {}.\n# TYPE {name} {}", family.help(), kind.name());
            for (labels, value) in values {
                let pairs = family.labels().iter().zip(labels).map(|(label, text)| format!("{label}=\"{text}\""));
                let labels = pairs.collect::<Vec<_>>().join(",");
                match (value, kind) {
                    (Value::Times(times), Kind::Histogram(bounds)) => times.write(out, name, &labels, bounds),
                    (Value::Number(number), _) if labels.is_empty() => drop(writeln!(out, "{name} {number}")),
                    (Value::Number(number), _) => drop(writeln!(out, "{name}{{{labels}}} {number}")),
                    (Value::Times(_), Kind::Counter | Kind::Gauge) => {}
                }
            }
        }
    }
}

//! The families of metrics: upstream's names, labels and bounds.

use super::histogram::Bounds;

/// In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Attempts,
    AttemptTime,
    Algorithm,
    Point,
    Plugin,
    Evaluations,
    PermitWait,
    Sli,
    Tries,
    AfterFlush,
    Preemptions,
    Victims,
    PreemptionTime,
    PreemptionRuns,
    Calls,
    CallTime,
    Hints,
    InFlight,
    Pending,
    Unschedulable,
    Incoming,
    Handling,
    Cache,
    Goroutines,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram(Bounds),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

const fn bounds(first: f64, factor: f64, many: usize) -> Kind {
    Kind::Histogram(Bounds { first, factor, many })
}

/// Name, labels, kind and meaning.
type Told = (&'static str, &'static [&'static str], Kind, &'static str);

impl Family {
    pub(super) const ALL: &'static [Family] = &[
        Family::Attempts,
        Family::AttemptTime,
        Family::Algorithm,
        Family::Point,
        Family::Plugin,
        Family::Evaluations,
        Family::PermitWait,
        Family::Sli,
        Family::Tries,
        Family::AfterFlush,
        Family::Preemptions,
        Family::Victims,
        Family::PreemptionTime,
        Family::PreemptionRuns,
        Family::Calls,
        Family::CallTime,
        Family::Hints,
        Family::InFlight,
        Family::Pending,
        Family::Unschedulable,
        Family::Incoming,
        Family::Handling,
        Family::Cache,
        Family::Goroutines,
    ];

    fn told(self) -> Told {
        match self {
            Family::Attempts => (
                "scheduler_schedule_attempts_total",
                &["profile", "result"],
                Kind::Counter,
                "Number of attempts to schedule pods, by the result",
            ),
            Family::AttemptTime => (
                "scheduler_scheduling_attempt_duration_seconds",
                &["profile", "result"],
                bounds(0.001, 2.0, 15),
                "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            ),
            Family::Algorithm => (
                "scheduler_scheduling_algorithm_duration_seconds",
                &[],
                bounds(0.001, 2.0, 15),
                "Scheduling algorithm latency in seconds",
            ),
            Family::Point => (
                "scheduler_framework_extension_point_duration_seconds",
                &["extension_point", "profile", "status"],
                bounds(0.0001, 2.0, 12),
                "Latency for running all plugins of a specific extension point",
            ),
            Family::Plugin => (
                "scheduler_plugin_execution_duration_seconds",
                &["extension_point", "plugin", "status"],
                bounds(0.000_01, 1.5, 20),
                "Duration for running a plugin at a specific extension point",
            ),
            Family::Evaluations => (
                "scheduler_plugin_evaluation_total",
                &["extension_point", "plugin", "profile"],
                Kind::Counter,
                "Number of attempts to schedule pods by each plugin and the extension point",
            ),
            Family::PermitWait => (
                "scheduler_permit_wait_duration_seconds",
                &["result"],
                bounds(0.001, 2.0, 15),
                "Duration of waiting on permit",
            ),
            Family::Sli => (
                "scheduler_pod_scheduling_sli_duration_seconds",
                &["attempts"],
                bounds(0.01, 2.0, 20),
                "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue",
            ),
            Family::Tries => (
                "scheduler_pod_scheduling_attempts",
                &[],
                bounds(1.0, 2.0, 5),
                "Number of attempts to successfully schedule a pod",
            ),
            Family::AfterFlush => (
                "scheduler_pod_scheduled_after_flush_total",
                &[],
                Kind::Counter,
                "Number of pods that were scheduled after being tried because of the time alone",
            ),
            Family::Preemptions => (
                "scheduler_preemption_attempts_total",
                &[],
                Kind::Counter,
                "Total preemption attempts in the cluster till now",
            ),
            Family::Victims => {
                ("scheduler_preemption_victims", &[], bounds(1.0, 2.0, 7), "Number of selected preemption victims")
            }
            Family::PreemptionTime => (
                "scheduler_preemption_goroutines_duration_seconds",
                &["result"],
                bounds(0.01, 2.0, 20),
                "Duration in seconds of making room by preemption",
            ),
            Family::PreemptionRuns => (
                "scheduler_preemption_goroutines_execution_total",
                &["result"],
                Kind::Counter,
                "Number of times that room was made by preemption",
            ),
            Family::Calls => (
                "scheduler_async_api_call_execution_total",
                &["call_type", "result"],
                Kind::Counter,
                "Total number of API calls made beside the scheduling of other pods",
            ),
            Family::CallTime => (
                "scheduler_async_api_call_execution_duration_seconds",
                &["call_type", "result"],
                bounds(0.001, 2.0, 15),
                "Duration in seconds of API calls made beside the scheduling of other pods",
            ),
            Family::Hints => (
                "scheduler_queueing_hint_execution_duration_seconds",
                &["event", "hint", "plugin"],
                bounds(0.000_01, 1.5, 20),
                "Duration for running a queueing hint function of a plugin",
            ),
            Family::InFlight => (
                "scheduler_inflight_events",
                &["event"],
                Kind::Gauge,
                "Number of events currently tracked in the scheduling queue",
            ),
            Family::Pending => {
                ("scheduler_pending_pods", &["queue"], Kind::Gauge, "Number of pending pods, by the queue type")
            }
            Family::Unschedulable => (
                "scheduler_unschedulable_pods",
                &["plugin", "profile"],
                Kind::Gauge,
                "The number of unschedulable pods broken down by plugin name",
            ),
            Family::Incoming => (
                "scheduler_queue_incoming_pods_total",
                &["queue", "event"],
                Kind::Counter,
                "Number of pods added to scheduling queues by event and queue type",
            ),
            Family::Handling => (
                "scheduler_event_handling_duration_seconds",
                &["event"],
                bounds(0.0001, 2.0, 12),
                "Event handling latency in seconds",
            ),
            Family::Cache => (
                "scheduler_cache_size",
                &["type"],
                Kind::Gauge,
                "Number of nodes, pods, and assumed (bound) pods in the scheduler cache",
            ),
            Family::Goroutines => (
                "scheduler_goroutines",
                &["operation"],
                Kind::Gauge,
                "Number of tasks under way split by the work they do",
            ),
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.told().0
    }

    pub(super) fn labels(self) -> &'static [&'static str] {
        self.told().1
    }

    pub(super) fn kind(self) -> Kind {
        self.told().2
    }

    pub(super) fn help(self) -> &'static str {
        self.told().3
    }
}

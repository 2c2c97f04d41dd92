//! The text that scrapers read.

use super::*;

#[test]
fn what_happened_is_shown_under_upstreams_names() {
    let metrics = Metrics::default();
    let profile = "default-scheduler";
    metrics.attempt(profile, Ended::Scheduled, Duration::from_millis(3));
    metrics.attempt(profile, Ended::Unschedulable, Duration::from_millis(1));
    metrics.scheduled(20, Duration::from_secs(1), true);
    metrics.point(Point::Filter, profile, Code::Success, Duration::from_micros(150));
    metrics.plugin(Point::Score, "ImageLocality", Code::Success, Duration::from_micros(12));
    metrics.asked(profile, &[(Point::Filter, "NodePorts")]);
    metrics.permit_wait(Code::Unschedulable, Duration::from_millis(3));
    metrics.preemption(3);
    metrics.handled("NodeAdd", Duration::from_micros(50));
    metrics.made_room(true, Duration::from_millis(20));
    metrics.called(Call::Binding, true, Duration::from_millis(2));
    metrics.called(Call::StatusPatch, false, Duration::from_millis(2));
    metrics.hint("NodePorts", Happening::PodLeft, true, Duration::from_micros(12));
    metrics.in_flight(&BTreeMap::from([("NodeAdd", 2)]), 3);
    let sizes = Sizes { active: 1, backoff: 2, unschedulable: 3, gated: 4 };
    let now = Now { sizes, nodes: 5, pods: 6, assumed: 7, binding: 8 };
    let incoming = BTreeMap::from([(("active", "UnschedulablePodAdd"), 9)]);
    let refused = BTreeMap::from([((profile.to_owned(), "NodePorts"), 1)]);
    metrics.now(now, &Ledger { incoming, refused, version: 1 });
    let text = metrics.text();
    for line in [
        "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1",
        "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} 1",
        "scheduler_scheduling_attempt_duration_seconds_bucket{profile=\"default-scheduler\",result=\"scheduled\",le=\"0.002\"} 0",
        "scheduler_scheduling_attempt_duration_seconds_bucket{profile=\"default-scheduler\",result=\"scheduled\",le=\"0.004\"} 1",
        "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"15+\"} 1",
        "scheduler_framework_extension_point_duration_seconds_bucket{extension_point=\"Filter\",profile=\"default-scheduler\",status=\"Success\",le=\"0.0002\"} 1",
        "scheduler_plugin_execution_duration_seconds_count{extension_point=\"Score\",plugin=\"ImageLocality\",status=\"Success\"} 1",
        "scheduler_plugin_evaluation_total{extension_point=\"Filter\",plugin=\"NodePorts\",profile=\"default-scheduler\"} 1",
        "scheduler_permit_wait_duration_seconds_count{result=\"Unschedulable\"} 1",
        "scheduler_preemption_attempts_total 1",
        "scheduler_preemption_victims_sum 3",
        "scheduler_preemption_victims_bucket{le=\"4\"} 1",
        "scheduler_pending_pods{queue=\"gated\"} 4",
        "scheduler_cache_size{type=\"assumed_pods\"} 7",
        "scheduler_goroutines{operation=\"binding\"} 8",
        "scheduler_event_handling_duration_seconds_count{event=\"NodeAdd\"} 1",
        "scheduler_queue_incoming_pods_total{queue=\"active\",event=\"UnschedulablePodAdd\"} 9",
        "scheduler_unschedulable_pods{plugin=\"NodePorts\",profile=\"default-scheduler\"} 1",
        "scheduler_pod_scheduled_after_flush_total 1",
        "scheduler_preemption_goroutines_execution_total{result=\"success\"} 1",
        "scheduler_preemption_goroutines_duration_seconds_bucket{result=\"success\",le=\"0.02\"} 1",
        "scheduler_async_api_call_execution_total{call_type=\"pod_binding\",result=\"success\"} 1",
        "scheduler_async_api_call_execution_duration_seconds_count{call_type=\"pod_status_patch\",result=\"error\"} 1",
        "scheduler_queueing_hint_execution_duration_seconds_count{event=\"AssignedPodDelete\",hint=\"Queue\",plugin=\"NodePorts\"} 1",
        "scheduler_inflight_events{event=\"NodeAdd\"} 2",
        "scheduler_inflight_events{event=\"PodPopped\"} 3",
    ] {
        assert_eq!(text.lines().filter(|known| *known == line).count(), 1, "{line} in {text}");
    }
    metrics.now(now, &Ledger { version: 2, ..Ledger::default() });
    assert!(!metrics.text().contains("scheduler_unschedulable_pods{"), "nobody refuses any pod any more");
}

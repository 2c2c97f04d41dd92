//! The extension points after a decision, with plugins of the tests' own: order, refusal, what is given back, and waiting.

mod api;
mod spy;

use std::time::Duration;

use scheduler::framework::{Bound, Objection, Permission, Point};
use scheduler::{Config, Profile};
use serde_json::json;

use api::Api;
use spy::{Log, Spy};

const ALL: &[Point] = &[Point::Reserve, Point::Permit, Point::PreBind, Point::Bind, Point::PostBind];

/// A profile with these plugins at every point they have, before the default ones.
fn profile(spies: Vec<Spy>) -> Profile {
    let mut profile = Profile::default();
    for spy in spies.into_iter().rev() {
        // Plugins live as long as the process.
        let plugin: &'static Spy = Box::leak(Box::new(spy));
        for (point, list) in [
            (Point::Reserve, &mut profile.reserve),
            (Point::Permit, &mut profile.permit),
            (Point::PreBind, &mut profile.pre_bind),
            (Point::Bind, &mut profile.bind),
            (Point::PostBind, &mut profile.post_bind),
        ] {
            if plugin.points.contains(&point) {
                list.insert(0, plugin);
            }
        }
    }
    profile
}

fn config(spies: Vec<Spy>) -> Config {
    Config { profiles: vec![profile(spies)], ..Config::default() }
}

#[tokio::test]
async fn a_pod_passes_the_points_in_order() {
    let log = Log::default();
    let spies = vec![Spy::new("A", ALL, &log), Spy::new("B", ALL, &log)];
    let _running = Api::new(&log, &["n1"], &["p"]).schedule(config(spies));
    let lines = log.until("B post_bind p n1").await;
    let expected = [
        "A reserve p n1",
        "B reserve p n1",
        "A permit p n1",
        "B permit p n1",
        "A pre_bind p n1",
        "B pre_bind p n1",
        "A bind p n1",
        "B bind p n1",
        "api binds p to n1",
        "A post_bind p n1",
        "B post_bind p n1",
    ];
    assert_eq!(spy::without_events(&lines), expected);
}

#[tokio::test]
async fn one_that_binds_ends_the_asking() {
    let log = Log::default();
    let binds = Spy { bind: |_| Ok(Bound::Done), ..Spy::new("Mine", &[Point::Bind, Point::PostBind], &log) };
    let other = Spy::new("Other", &[Point::Bind], &log);
    let _running = Api::new(&log, &["n1"], &["p"]).schedule(config(vec![binds, other]));
    let lines = log.until("Mine post_bind p n1").await;
    assert_eq!(spy::without_events(&lines), ["Mine bind p n1", "Mine post_bind p n1"]);
}

#[tokio::test]
async fn what_was_reserved_is_given_back_last_first() {
    let log = Log::default();
    let refusing = Spy {
        reserve: |pod| if pod == "p" { Err(Objection::Unschedulable("no seat".to_owned())) } else { Ok(()) },
        ..Spy::new("B", &[Point::Reserve], &log)
    };
    let spies = vec![Spy::new("A", ALL, &log), refusing, Spy::new("C", ALL, &log)];
    // There is room for one pod: the second gets it, once the first has given it up.
    let _running = Api::new(&log, &["n1"], &["p", "q"]).schedule(config(spies));
    let lines = log.until("api binds q to n1").await;
    let of_p: Vec<&str> = spy::without_events(&lines).into_iter().filter(|line| line.contains(" p ")).collect();
    let expected = ["A reserve p n1", "B reserve p n1", "C unreserve p n1", "B unreserve p n1", "A unreserve p n1"];
    assert_eq!(of_p, expected);
    log.until_seen(&lines, "event p FailedScheduling 0/1 nodes are available: 1 no seat.").await;
}

#[tokio::test]
async fn a_failure_before_binding_gives_everything_back() {
    for (point, words) in [
        (Point::PreBind, "running PreBind plugin \"Bad\": disk on fire"),
        (Point::Bind, "binding rejected: running Bind plugin \"Bad\": disk on fire"),
        (Point::Permit, "running Permit plugin \"Bad\": disk on fire"),
    ] {
        let log = Log::default();
        let mut bad = Spy::new("Bad", &[Point::PreBind, Point::Bind, Point::Permit], &log);
        match point {
            Point::PreBind => bad.pre_bind = |_| Err(Objection::Failed("disk on fire".to_owned())),
            Point::Bind => bad.bind = |_| Err(Objection::Failed("disk on fire".to_owned())),
            _ => bad.permit = |_| Err(Objection::Failed("disk on fire".to_owned())),
        }
        let _running = Api::new(&log, &["n1"], &["p"]).schedule(config(vec![Spy::new("A", ALL, &log), bad]));
        let lines = log.until("A unreserve p n1").await;
        assert!(!lines.iter().any(|line| line.starts_with("api binds")), "{point:?}: {lines:?}");
        log.until_seen(&lines, &format!("event p FailedScheduling {words}")).await;
    }
}

#[tokio::test]
async fn one_that_panics_has_failed_and_nobody_else_suffers() {
    for point in [Point::Reserve, Point::Permit, Point::PreBind, Point::Bind] {
        let log = Log::default();
        let mut wild = Spy::new("Wild", &[Point::Reserve, Point::Permit, Point::PreBind, Point::Bind], &log);
        fn panics<T>(pod: &str, otherwise: T) -> T {
            if pod == "p" { panic!("a plugin of the test panics") } else { otherwise }
        }
        match point {
            Point::Reserve => wild.reserve = |pod| panics(pod, Ok(())),
            Point::Permit => wild.permit = |pod| panics(pod, Ok(Permission::Granted)),
            Point::PreBind => wild.pre_bind = |pod| panics(pod, Ok(())),
            _ => wild.bind = |pod| panics(pod, Ok(Bound::Skipped)),
        }
        let _running = Api::new(&log, &["n1"], &["p", "q"]).schedule(config(vec![Spy::new("A", ALL, &log), wild]));
        let lines = log.until("api binds q to n1").await;
        assert!(lines.contains(&"A unreserve p n1".to_owned()), "{point:?}: {lines:?}");
    }
}

#[tokio::test]
async fn pods_wait_for_each_other() {
    let log = Log::default();
    // Nobody of the gang goes before its last one has a place.
    let gang = Spy {
        permit: |pod| Ok(if pod == "c" { Permission::Granted } else { Permission::Wait(Duration::from_secs(600)) }),
        allows_all: true,
        ..Spy::new("Gang", &[Point::Permit, Point::PreBind], &log)
    };
    let _running = Api::new(&log, &["n1", "n2", "n3"], &["a", "b", "c"]).schedule(config(vec![gang]));
    let mut lines = vec![];
    for pod in ["a", "b", "c"] {
        lines.extend(log.until_any(&lines, |line| line.starts_with(&format!("api binds {pod} "))).await);
    }
    let last_permit = lines.iter().rposition(|line| line.contains(" permit ")).unwrap();
    let first_step = lines.iter().position(|line| line.contains(" pre_bind ")).unwrap();
    assert!(last_permit < first_step, "{lines:?}");
}

#[tokio::test]
async fn nobody_waits_for_longer_than_was_said() {
    let log = Log::default();
    let patient = Spy {
        permit: |_| Ok(Permission::Wait(Duration::from_secs(900))),
        ..Spy::new("Patient", &[Point::Permit], &log)
    };
    let hasty = Spy {
        permit: |_| Ok(Permission::Wait(Duration::from_millis(20))),
        ..Spy::new("Hasty", &[Point::Permit, Point::Reserve], &log)
    };
    let _running = Api::new(&log, &["n1"], &["p"]).schedule(config(vec![patient, hasty]));
    let lines = log.until("Hasty unreserve p n1").await;
    let words = "0/1 nodes are available: 1 rejected due to timeout after waiting 20ms at plugin Hasty.";
    log.until_seen(&lines, &format!("event p FailedScheduling {words}")).await;
}

#[tokio::test]
async fn a_waiting_pod_can_be_refused_and_can_go_away() {
    let log = Log::default();
    let waits = Spy {
        permit: |pod| Ok(if pod == "q" { Permission::Granted } else { Permission::Wait(Duration::from_secs(600)) }),
        ..Spy::new("A", &[Point::Permit, Point::Reserve], &log)
    };
    let config = config(vec![waits]);
    let waiting = config.waiting.clone();
    let api = Api::new(&log, &["n1"], &["p"]);
    let _running = api.schedule(config);
    let lines = log.until("A permit p n1").await;
    while !waiting.refuse("uid-p", "A", "not today") {
        tokio::task::yield_now().await;
    }
    let lines = [lines, log.until("A unreserve p n1").await].concat();
    log.until_seen(&lines, "event p FailedScheduling 0/1 nodes are available: 1 not today.").await;
    api.delete("p");
    api.create("r");
    log.until("A permit r n1").await;
    // What is deleted while it waits leaves its room to others.
    api.delete("r");
    log.until("A unreserve r n1").await;
    assert!(waiting.all().is_empty());
    api.create("q");
    log.until("api binds q to n1").await;
}

#[test]
fn a_configuration_orders_plugins_as_upstream() {
    let log = Log::default();
    let leak =
        |name, points| -> &'static dyn scheduler::plugins::Plugin { Box::leak(Box::new(Spy::new(name, points, &log))) };
    let own = [leak("Mine", ALL), leak("Yours", &[Point::Reserve, Point::Permit]), leak("Sorts", &[Point::QueueSort])];
    let read = |plugins: serde_json::Value| {
        let config = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [{"plugins": plugins}],
        });
        Config::parse_with(&config.to_string(), &own).map(|mut config| config.profiles.remove(0))
    };
    let names = |list: &[&'static dyn scheduler::plugins::Plugin]| list.iter().map(|p| p.name()).collect::<Vec<_>>();
    let enabled = |list: &[&str]| json!({"enabled": list.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()});

    let profile = read(json!({"multiPoint": enabled(&["Mine", "Yours"])})).unwrap();
    assert_eq!(names(&profile.reserve), ["Mine", "Yours"]);
    assert_eq!(names(&profile.bind), ["DefaultBinder", "Mine"], "the default ones stay before");

    // Named at the point and everywhere: its own order first; then everywhere; then who is named at the point alone.
    let profile = read(
        json!({"multiPoint": enabled(&["Mine"]), "permit": enabled(&["Yours", "Mine"]), "bind": enabled(&["Mine"])}),
    );
    let profile = profile.unwrap();
    assert_eq!(names(&profile.permit), ["Mine", "Yours"]);
    assert_eq!(names(&profile.bind), ["Mine", "DefaultBinder"]);
    assert_eq!(names(&profile.reserve), ["Mine"]);

    // Everything off at a point but what is named there.
    let bind = json!({"disabled": [{"name": "*"}], "enabled": [{"name": "Mine"}]});
    assert_eq!(names(&read(json!({"bind": bind})).unwrap().bind), ["Mine"]);
    let permit = json!({"disabled": [{"name": "Mine"}]});
    let profile = read(json!({"multiPoint": enabled(&["Mine"]), "permit": permit})).unwrap();
    assert_eq!((names(&profile.permit), names(&profile.reserve)), (vec![], vec!["Mine"]));

    let sort = json!({"disabled": [{"name": "PrioritySort"}], "enabled": [{"name": "Sorts"}]});
    assert_eq!(read(json!({"queueSort": sort})).unwrap().queue_sort.name(), "Sorts");
    let two = read(json!({"queueSort": enabled(&["Sorts"])})).unwrap_err().to_string();
    assert!(two.contains("only one queue sort plugin required") && two.contains("but got 2"), "{two}");

    let off = json!({"disabled": [{"name": "SchedulingGates"}]});
    assert!(read(json!({"preEnqueue": off})).unwrap().pre_enqueue.is_empty());
    assert_eq!(names(&read(json!({})).unwrap().pre_enqueue), ["SchedulingGates"]);

    let two_profiles = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [{"schedulerName": "a"}, {"schedulerName": "b", "plugins": {"queueSort": sort}}],
    });
    let error = Config::parse_with(&two_profiles.to_string(), &own).unwrap_err().to_string();
    assert!(
        error.contains("different queue sort plugins for profile \"b\": \"Sorts\", first: \"PrioritySort\""),
        "{error}"
    );
}

//! The shim as a kubelet sees it: over its socket, from an image built here to a pod that is gone without a trace.
//! Needs root and a static busybox. Runs in a network namespace of its own.

mod images;
mod pods;
#[path = "../../../oci/tests/pods/runner.rs"]
mod runner;
mod streams;
mod world;

fn main() {
    oci::reexec();
    if !runner::possible("the shim") {
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
    assert!(up.success());
    let tests: [runner::Test; 7] = [
        ("a_pod_from_start_to_end", Box::pin(pods::a_pod_from_start_to_end())),
        ("pods_survive_a_restart_of_the_shim", Box::pin(pods::pods_survive_a_restart_of_the_shim())),
        ("streams_over_websocket_and_spdy", Box::pin(streams::streams_over_websocket_and_spdy())),
        ("bad_requests_say_what_is_wrong", Box::pin(pods::bad_requests_say_what_is_wrong())),
        ("images_are_pulled_through_a_mirror", Box::pin(images::images_are_pulled_through_a_mirror())),
        ("what_nobody_waits_for_is_removed_too", Box::pin(pods::what_nobody_waits_for_is_removed_too())),
        ("reset_removes_everything", Box::pin(pods::reset_removes_everything())),
    ];
    runner::run(tests);
}

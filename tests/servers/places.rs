//! Places in a cluster of servers under load: one joins, one that is gone is removed and replaced, one hands its lead over;
//! and everything is saved while it runs.

use super::{Load, MEANWHILE, Servers};
use crate::harness::{Running, possible, text, until, wherry};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// Far longer than a lead takes to be handed over, so that no election can have moved it.
const ELECTION: Duration = Duration::from_secs(30);

fn voters(servers: &Servers, asked: usize) -> usize {
    servers.members(asked).iter().filter(|member| member.votes).count()
}

#[test]
fn servers_join_leave_and_are_replaced_under_load() {
    if !possible() {
        return;
    }
    let mut servers = Servers::new(3);
    servers.found();
    let load = Load::start(&servers);
    load.goes_on(MEANWHILE, "writes through every server");
    token_is_private(&servers);

    let fourth = servers.add();
    servers.join(fourth);
    servers.ready(fourth);
    until("four voters", || voters(&servers, 0) == 4);
    load.goes_on(MEANWHILE, "writes among four");
    servers.nothing_is_lost(&[fourth], &load.so_far());

    // One is gone for good: by hand, the others go on without it.
    let gone = servers.members(0).into_iter().find(|m| m.address.starts_with(&Servers::address(1))).expect("member 1");
    servers.end(1, Signal::SIGKILL);
    load.goes_on(MEANWHILE, "writes without the one that is gone");
    let removed = servers.store(0, &["member", "remove", &gone.number]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert!(servers.members(0).iter().all(|member| member.number != gone.number), "it is no member any more");
    let unknown = servers.store(0, &["member", "remove", &gone.number]);
    assert!(!unknown.status.success(), "it cannot be removed twice");

    // Its machine comes back empty, at the same address, and is another member.
    std::fs::remove_dir_all(servers.data(1)).expect("its disk is lost");
    servers.join(1);
    servers.ready(1);
    until("four voters", || voters(&servers, 1) == 4);
    assert!(servers.members(1).iter().all(|member| member.number != gone.number), "it has a number of its own");
    load.goes_on(MEANWHILE, "writes with the one that replaces it");

    saves_while_it_runs(&servers, &load);
    let acknowledged = load.end();
    servers.nothing_is_lost(&[0, 1, 2, fourth], &acknowledged);
    for i in 0..4 {
        servers.end(i, Signal::SIGTERM);
    }
}

fn token_is_private(servers: &Servers) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(servers.data(0).join("server.token")).expect("the token").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others may not read the token");
}

/// A snapshot of the servers that run is a cluster of one elsewhere, with everything that was acknowledged before.
fn saves_while_it_runs(servers: &Servers, load: &Load) {
    let file = servers.mount_point(0).join("saved");
    let before = load.so_far();
    let saved = servers.store(2, &["snapshot", "save", &file.display().to_string()]);
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    let dir = servers.mount_point(0).join("restored");
    let host = &servers.hosts[0];
    let out =
        host.command(wherry()).args(["store", "snapshot", "restore"]).arg(&file).arg("--data-dir").arg(&dir).output();
    let out = out.expect("wherry runs");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let mut apiserver = host.command(wherry());
    apiserver.arg("apiserver").arg("--data-dir").arg(&dir).args(["--secure-port", "7443"]);
    apiserver.args(["--bind-address", &Servers::address(0)]);
    let mut running = Running::spawn(&mut apiserver);
    let config = dir.join("admin.kubeconfig");
    let names = || {
        let list = ["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"];
        text(&super::kubectl(&servers.switch, &config).args(list).output().expect("kubectl runs").stdout)
    };
    until("the restored cluster", || config.exists() && !names().is_empty());
    let there = names();
    let there: std::collections::HashSet<&str> = there.split(' ').collect();
    let lost: Vec<_> = before.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "the snapshot lacks {lost:?}");
    running.end(Signal::SIGTERM);
}

#[test]
fn a_server_that_stops_hands_its_lead_over() {
    if !possible() {
        return;
    }
    let mut servers = Servers::new(3);
    servers.flags = vec!["--election-timeout".into(), ELECTION.as_millis().to_string()];
    servers.found();
    let leader = servers.leads(0).expect("one leads");
    let other = (leader + 1) % 3;
    let since = Instant::now();
    servers.end(leader, Signal::SIGTERM);
    until("another leader", || servers.leads(other).is_some_and(|now| now != leader));
    assert!(since.elapsed() < ELECTION, "it was no election: {:?}", since.elapsed());
    until("writes", || servers.kubectl(other, &["create", "configmap", "after"]).status.success());
    assert!(since.elapsed() < ELECTION, "it was no election: {:?}", since.elapsed());
    for i in (0..3).filter(|i| *i != leader) {
        servers.end(i, Signal::SIGTERM);
    }
}

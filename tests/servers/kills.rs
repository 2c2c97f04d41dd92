//! Each of three servers may be killed at any time: nothing acknowledged is lost, and the others go on.

use super::{Load, MEANWHILE, ROLES, Servers, from_environment};
use crate::harness::{possible, until};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;

/// How often servers are killed: each once, unless a longer run is asked for.
fn kills() -> usize {
    from_environment("WHERRY_SERVER_KILLS", 3) as usize
}

/// One in so many kills takes two servers at once, and with them the quorum.
const TWO: u32 = 6;

/// Who has led the store, and each role.
type Leaders = [BTreeSet<String>; 3];

fn note_leaders(servers: &Servers, asked: usize, leaders: &mut Leaders) {
    let [store, roles @ ..] = leaders;
    store.extend(servers.leads(asked).map(Servers::address));
    for (role, seen) in ROLES.iter().zip(roles) {
        seen.extend(Some(servers.holder(asked, role)).filter(|holder| !holder.is_empty()));
    }
}

/// The servers that run go on without the one that was killed; then it comes back and has everything.
fn kill_and_return(servers: &mut Servers, load: &Load, victims: &[usize], leaders: &mut Leaders) {
    let other = (0..3).find(|i| !victims.contains(i)).expect("one lives");
    note_leaders(servers, other, leaders);
    for victim in victims {
        servers.end(*victim, Signal::SIGKILL);
    }
    if victims.len() == 1 {
        load.goes_on(MEANWHILE, "writes without the server that was killed");
        // Only one that lives renews a lease: had the one that was killed the lead, it has moved by then.
        let last = servers.renewed(other);
        until("leaders that live", || {
            let now = servers.renewed(other);
            now.iter().zip(&last).all(|(now, last)| !now.is_empty() && now != last)
        });
    }
    for victim in victims {
        servers.start(*victim, &[]);
    }
    servers.together(&[0, 1, 2]);
    note_leaders(servers, victims[0], leaders);
}

#[test]
fn three_servers_lose_nothing_when_each_is_killed() {
    if !possible() {
        return;
    }
    let seed = from_environment("WHERRY_SERVER_SEED", 1);
    let mut chance = StdRng::seed_from_u64(seed);
    let mut servers = Servers::new(3);
    servers.found();
    let load = Load::start(&servers);
    load.goes_on(MEANWHILE, "writes through every server");
    let mut leaders = Leaders::default();
    let (started, mut killed) = (std::time::Instant::now(), 0);
    // Each once, so that every lead moves; then by chance.
    let mut victims: Vec<usize> = vec![0, 1, 2];
    victims.shuffle(&mut chance);
    while killed < kills() {
        let mut at_once: Vec<usize> = match victims.pop() {
            Some(victim) => vec![victim],
            None => vec![chance.random_range(0..3)],
        };
        if killed >= 3 && killed + 2 <= kills() && chance.random_ratio(1, TWO) {
            at_once.push((at_once[0] + chance.random_range(1..3)) % 3);
        }
        load.goes_on(chance.random_range(0..MEANWHILE), "writes by all");
        kill_and_return(&mut servers, &load, &at_once, &mut leaders);
        killed += at_once.len();
        eprintln!("{killed} kills, {} acknowledged, {:.0?}: {at_once:?}", load.count(), started.elapsed());
    }
    let by_kubectl = load.by_kubectl();
    let acknowledged = load.end();
    servers.nothing_is_lost(&[0, 1, 2], &acknowledged);
    for (role, leaders) in ["store"].iter().chain(&ROLES).zip(&leaders) {
        assert!(leaders.len() > 1, "the lead of {role} has moved: {leaders:?}");
    }
    eprintln!(
        "seed {seed}: {killed} kills, {} acknowledged objects ({by_kubectl} by kubectl), none lost; leaders {leaders:?}",
        acknowledged.len()
    );
    the_controllers_work(&servers);
    a_minority_refuses(&mut servers);
    for i in 0..3 {
        servers.end(i, Signal::SIGTERM);
    }
}

fn the_controllers_work(servers: &Servers) {
    servers.ok(1, &["create", "deployment", "work", "--image=none:1", "--replicas=2"]);
    until("the controllers' work", || {
        servers.ok(2, &["get", "pods", "-l", "app=work", "-o", "name"]).lines().count() == 2
    });
}

fn a_minority_refuses(servers: &mut Servers) {
    servers.end(0, Signal::SIGKILL);
    servers.end(1, Signal::SIGKILL);
    assert!(!servers.kubectl(2, &["create", "configmap", "alone"]).status.success(), "a minority takes no writes");
    let read = servers.kubectl(2, &["get", "configmap", "kube-root-ca.crt"]);
    assert!(!read.status.success(), "a minority answers no consistent reads");
    let cached = servers.kubectl(2, &["get", "--raw", "/api/v1/namespaces/default/configmaps?resourceVersion=0"]);
    assert!(cached.status.success(), "what may be stale is answered");
    servers.start(0, &[]);
    until("a majority", || servers.kubectl(2, &["create", "configmap", "together"]).status.success());
    servers.start(1, &[]);
    servers.ready(1);
    assert!(servers.configmaps(1).contains("together"), "it has caught up");
}

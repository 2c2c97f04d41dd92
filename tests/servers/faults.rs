//! What befalls a server of three while clients write through all: it is killed, stops, is cut off, or its disk is full,
//! slow, or fails. Whatever was acknowledged is there afterwards.

use super::{Load, MEANWHILE, Servers, from_environment, succeeds};
use crate::harness::{possible, text, until};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How many faults there are: one of each kind, unless a longer run is asked for.
fn faults() -> usize {
    from_environment("WHERRY_SERVER_FAULTS", Fault::ALL.len() as u64) as usize
}

/// Of one server's file system, in MiB: the store with all it keeps for others, and a filler.
const DISK: u32 = 512;
/// What a full disk has left, in KiB.
const LEFT: u64 = 512;
/// A slow disk's sync, in milliseconds more than its own.
const SLOW: &str = "300";
/// Every sync fails.
const BROKEN: &str = "-1";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Kill,
    /// SIGSTOP: its connections stand, and nobody answers.
    Freeze,
    /// The others and it do not hear each other.
    CutOff,
    /// It does not hear the others.
    Deaf,
    /// The others do not hear it.
    Mute,
    FullDisk,
    SlowDisk,
    /// Its store fails for good, and it ends with the reason.
    BrokenDisk,
}

impl Fault {
    const ALL: [Fault; 8] = [
        Fault::Deaf,
        Fault::Mute,
        Fault::CutOff,
        Fault::Freeze,
        Fault::SlowDisk,
        Fault::BrokenDisk,
        Fault::FullDisk,
        Fault::Kill,
    ];

    fn begin(self, servers: &mut Servers, victim: usize) {
        match self {
            Fault::Kill => servers.end(victim, Signal::SIGKILL),
            Fault::Freeze => servers.signal(victim, Signal::SIGSTOP),
            Fault::CutOff => servers.drop_packets(victim, &["input", "output"]),
            Fault::Deaf => servers.drop_packets(victim, &["input"]),
            Fault::Mute => servers.drop_packets(victim, &["output"]),
            Fault::FullDisk => servers.fill_disk(victim),
            Fault::SlowDisk => std::fs::write(servers.delay_file(victim), SLOW).expect("written"),
            Fault::BrokenDisk => std::fs::write(servers.delay_file(victim), BROKEN).expect("written"),
        }
    }

    fn heal(self, servers: &mut Servers, victim: usize) {
        match self {
            Fault::Kill => servers.start(victim, &[]),
            Fault::Freeze => servers.signal(victim, Signal::SIGCONT),
            Fault::CutOff | Fault::Deaf | Fault::Mute => {
                succeeds(servers.hosts[victim].command("nft").args(["delete", "table", "inet", "fault"]));
            }
            Fault::FullDisk => std::fs::remove_file(servers.filler(victim)).expect("removed"),
            Fault::SlowDisk => std::fs::remove_file(servers.delay_file(victim)).expect("removed"),
            Fault::BrokenDisk => {
                until("a server whose disk has failed to end", || servers.has_ended(victim));
                std::fs::remove_file(servers.delay_file(victim)).expect("removed");
            }
        }
        // One that could not write has ended, with an error that says so; whoever looks after it starts it again.
        if servers.has_ended(victim) {
            servers.start(victim, &[]);
        }
    }
}

impl Servers {
    fn signal(&self, i: usize, signal: Signal) {
        self.running[i].as_ref().expect("it runs").signal(signal);
    }

    fn has_ended(&mut self, i: usize) -> bool {
        self.running[i].as_mut().expect("it was started").has_ended()
    }

    /// Between a server and the others; clients reach it still.
    fn drop_packets(&self, victim: usize, directions: &[&str]) {
        let others =
            (0..self.hosts.len()).filter(|i| *i != victim).map(Servers::address).collect::<Vec<_>>().join(", ");
        let mut rules = String::from("table inet fault {\n");
        for direction in directions {
            let side = if *direction == "input" { "saddr" } else { "daddr" };
            rules += &format!(
                "chain {direction} {{ type filter hook {direction} priority 0; ip {side} {{ {others} }} drop; }}\n"
            );
        }
        rules.push('}');
        let file = self.dir.path().join("rules");
        std::fs::write(&file, rules).expect("written");
        succeeds(self.hosts[victim].command("nft").arg("-f").arg(&file));
    }

    fn filler(&self, i: usize) -> PathBuf {
        self.data(i).join("filler")
    }

    fn fill_disk(&self, i: usize) {
        let free = self.hosts[i].command("stat").args(["-f", "-c", "%a %S"]).arg(self.inside(i)).output();
        let free: Vec<u64> =
            text(&free.expect("stat runs").stdout).split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let filled = (free[0] * free[1]).saturating_sub(LEFT << 10);
        succeeds(Command::new("fallocate").args(["-l", &filled.to_string()]).arg(self.filler(i)));
    }
}

/// What these faults need beside other tests of servers; says loudly what is missing.
fn tools() -> bool {
    let missing = ["nft", "mkfs.ext4", "cc"].into_iter().find(|tool| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
        !found.is_ok_and(|status| status.success())
    });
    if let Some(tool) = missing {
        eprintln!("SKIPPED: faults of real servers need '{tool}'");
    }
    missing.is_none()
}

/// Stands before the C library's two functions that sync a file: each call waits as long as a file says, or fails when that
/// is less than nothing. There is no slow block device to be had without kernel modules.
const SLOW_SYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <errno.h>
static int wait_as_told(void) {
    const char *name = getenv("SYNC_DELAY_FILE");
    FILE *file = name ? fopen(name, "r") : NULL;
    int milliseconds = 0;
    if (file) {
        if (fscanf(file, "%d", &milliseconds) != 1) milliseconds = 0;
        fclose(file);
    }
    if (milliseconds > 0) usleep(milliseconds * 1000);
    if (milliseconds < 0) errno = EIO;
    return milliseconds < 0;
}
int fdatasync(int fd) {
    if (wait_as_told()) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
int fsync(int fd) {
    if (wait_as_told()) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
"#;

fn slow_sync(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("slow.c"), dir.join("slow.so"));
    std::fs::write(&source, SLOW_SYNC).expect("written");
    succeeds(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl"));
    library
}

#[test]
fn three_servers_lose_nothing_whatever_befalls_one() {
    if !possible() || !tools() {
        return;
    }
    let seed = from_environment("WHERRY_SERVER_SEED", 1);
    let mut chance = StdRng::seed_from_u64(seed);
    let mut servers = Servers::new(3);
    (0..3).for_each(|i| servers.disk(i, DISK));
    servers.slow = Some(slow_sync(servers.dir.path()));
    servers.found();
    let load = Load::start(&servers);
    load.goes_on(MEANWHILE, "writes through every server");
    let started = Instant::now();
    for number in 0..faults() {
        let fault = match Fault::ALL.get(number) {
            Some(fault) => *fault,
            None => Fault::ALL[chance.random_range(0..Fault::ALL.len())],
        };
        // The one that leads suffers most; in a long run each does.
        let leader = servers.leads(number % 3).unwrap_or(0);
        let victim = if number < Fault::ALL.len() { leader } else { chance.random_range(0..3) };
        suffer(&mut servers, &load, fault, victim, chance.random_range(1..4));
        eprintln!(
            "{:.0?}: {fault:?} of server {victim}{}: {} acknowledged",
            started.elapsed(),
            if victim == leader { ", which led" } else { "" },
            load.count()
        );
    }
    let acknowledged = load.end();
    servers.nothing_is_lost(&[0, 1, 2], &acknowledged);
    eprintln!("seed {seed}: {} faults, {} acknowledged objects, none lost", faults(), acknowledged.len());
    for i in 0..3 {
        servers.end(i, Signal::SIGTERM);
    }
    for i in 0..3 {
        let checked = servers.store(i, &["check"]);
        assert!(checked.status.success(), "server {i}: {}", text(&checked.stdout));
    }
}

/// The others go on meanwhile; afterwards the one that suffered has everything too.
fn suffer(servers: &mut Servers, load: &Load, fault: Fault, victim: usize, long: usize) {
    fault.begin(servers, victim);
    load.goes_on(long * MEANWHILE, &format!("writes during {fault:?} of server {victim}"));
    fault.heal(servers, victim);
    let before = load.so_far();
    servers.together(&[0, 1, 2]);
    until(&format!("server {victim} to have what was written during {fault:?}"), || {
        let there = servers.kubectl(victim, &["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
        let there = text(&there.stdout);
        let there: std::collections::HashSet<&str> = there.split(' ').collect();
        before.iter().all(|name| there.contains(name.as_str()))
    });
}

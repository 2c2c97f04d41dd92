//! Several servers that are one cluster: each in a network namespace and on a file system of its own, joined by a switch.

mod faults;
mod kills;
mod load;
mod places;

use crate::harness::{Host, Running, kubectl_program, text, until, wherry};
use load::Load;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Objects that the other servers must take while one is down.
const MEANWHILE: usize = 20;
/// Whose lead moves, beside the store's: the Leases in `kube-system`.
const ROLES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

struct Servers {
    /// The network that they meet in, and clients are in.
    switch: Host,
    hosts: Vec<Host>,
    dir: tempfile::TempDir,
    running: Vec<Option<Running>>,
    /// Arguments that every server gets.
    flags: Vec<String>,
    /// Makes the syncs of each server wait, as long as the file beside its directory says.
    slow: Option<PathBuf>,
}

impl Servers {
    fn new(count: usize) -> Servers {
        let switch = Host::empty(&["--net"]);
        for line in ["link add br0 type bridge", "link set br0 up", "address add 192.168.77.1/24 dev br0"] {
            succeeds(switch.command("ip").args(line.split(' ')));
        }
        let mut servers = Servers {
            switch,
            hosts: Vec::new(),
            dir: tempfile::tempdir().expect("a directory"),
            running: Vec::new(),
            flags: Vec::new(),
            slow: None,
        };
        for _ in 0..count {
            servers.add();
        }
        servers
    }

    /// One more machine, on which nothing runs yet.
    fn add(&mut self) -> usize {
        let i = self.hosts.len();
        let host = Host::empty(&["--net", "--mount"]);
        let (address, switch) = (Servers::address(i), self.switch.pid());
        for line in [
            format!("link add node0 type veth peer name port{i} netns {switch}"),
            format!("address add {address}/24 dev node0"),
            "link set node0 up".into(),
            "route add default via 192.168.77.1 dev node0".into(),
        ] {
            succeeds(host.command("ip").args(line.split(' ')));
        }
        succeeds(self.switch.command("ip").args(["link", "set", &format!("port{i}"), "master", "br0", "up"]));
        std::fs::create_dir(self.mount_point(i)).expect("made");
        self.hosts.push(host);
        self.running.push(None);
        i
    }

    /// Gives a server's directory a file system with this much space. It goes with the server's namespace.
    fn disk(&self, i: usize, mebibytes: u32) {
        let image = self.dir.path().join(format!("disk{i}"));
        succeeds(Command::new("truncate").arg(format!("--size={mebibytes}M")).arg(&image));
        succeeds(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        succeeds(self.hosts[i].command("mount").args(["-o", "loop"]).arg(&image).arg(self.mount_point(i)));
    }

    fn address(i: usize) -> String {
        format!("192.168.77.{}", 11 + i)
    }

    fn mount_point(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("server{i}"))
    }

    /// A server's directory, as itself sees it.
    fn inside(&self, i: usize) -> PathBuf {
        self.mount_point(i).join("data")
    }

    /// The same, as seen from here.
    fn data(&self, i: usize) -> PathBuf {
        let path = self.inside(i);
        Path::new(&format!("/proc/{}/root", self.hosts[i].pid())).join(path.strip_prefix("/").expect("absolute"))
    }

    fn kubeconfig(&self, i: usize) -> PathBuf {
        self.data(i).join("admin.kubeconfig")
    }

    /// Starts a server in its place; `more` says how it gets one.
    fn start(&mut self, i: usize, more: &[&str]) {
        let address = Servers::address(i);
        let mut command = self.hosts[i].command(wherry());
        if let Some(library) = &self.slow {
            command.env("LD_PRELOAD", library).env("SYNC_DELAY_FILE", self.delay_file(i));
        }
        command.arg("server").arg("--data-dir").arg(self.inside(i)).args(["--secure-port", "6443"]);
        command.args(["--peer-port", "2380", "--bind-address", &address, "--advertise-address", &address]);
        command.args(["--leader-elect-lease-duration", "4s", "--leader-elect-renew-deadline", "3s"]);
        command.args(["--leader-elect-retry-period", "1s"]).args(&self.flags).args(more);
        self.running[i] = Some(Running::spawn(&mut command));
    }

    fn delay_file(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("delay{i}"))
    }

    /// Starts the first one, has the others join, and waits until all are one.
    fn found(&mut self) {
        // Ranges that no cluster chooses by itself: one that came up while a server is down would take the usual ones.
        self.start(0, &["--cluster-init", "--service-cidr", "172.29.0.0/16", "--pod-cidr", "172.30.0.0/16"]);
        self.ready(0);
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        for i in &all[1..] {
            self.join(*i);
        }
        self.together(&all);
        until("leaders", || ROLES.iter().all(|role| !self.holder(0, role).is_empty()));
    }

    /// Starts a server that has no place yet, with a token of the first one's.
    fn join(&mut self, i: usize) {
        let token = self.mount_point(i).join("server.token");
        let there =
            Path::new(&format!("/proc/{}/root", self.hosts[i].pid())).join(token.strip_prefix("/").expect("absolute"));
        std::fs::copy(self.data(0).join("server.token"), there).expect("the token is copied");
        self.start(i, &["--join", &token.display().to_string()]);
    }

    /// Waits until these are ready, and all clients would find exactly them.
    fn together(&self, which: &[usize]) {
        let all: BTreeSet<String> = which.iter().map(|i| Servers::address(*i)).collect();
        for i in which {
            self.ready(*i);
            until("every server among the endpoints", || self.endpoints(*i) == all);
        }
    }

    fn end(&mut self, i: usize, signal: Signal) {
        self.running[i].take().expect("it runs").end(signal);
    }

    fn kubectl(&self, i: usize, args: &[&str]) -> Output {
        kubectl(&self.switch, &self.kubeconfig(i)).args(args).output().expect("kubectl runs")
    }

    fn ok(&self, i: usize, args: &[&str]) -> String {
        let out = self.kubectl(i, args);
        assert!(out.status.success(), "server {i}: kubectl {args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    /// `wherry store ARGS` on a server's machine.
    fn store(&self, i: usize, args: &[&str]) -> Output {
        let mut command = self.hosts[i].command(wherry());
        command.arg("store").args(args).arg("--data-dir").arg(self.inside(i)).output().expect("wherry runs")
    }

    fn ready(&self, i: usize) {
        until(&format!("server {i}"), || {
            self.kubeconfig(i).exists() && self.kubectl(i, &["get", "--raw", "/readyz"]).status.success()
        });
    }

    /// The addresses behind the Service `kubernetes`, as a server sees them.
    fn endpoints(&self, i: usize) -> BTreeSet<String> {
        let path = "jsonpath={.endpoints[*].addresses[0]}";
        let out = self.kubectl(i, &["get", "endpointslice", "kubernetes", "-o", path]);
        text(&out.stdout).split_whitespace().map(str::to_owned).collect()
    }

    /// Who leads in a role.
    fn holder(&self, i: usize, role: &str) -> String {
        let path = "jsonpath={.spec.holderIdentity}";
        text(&self.kubectl(i, &["-n", "kube-system", "get", "lease", role, "-o", path]).stdout)
    }

    /// The members of the store, as a server that runs knows them: number, address, whether they vote, who leads.
    fn members(&self, i: usize) -> Vec<Seen> {
        let out = self.store(i, &["member", "list"]);
        text(&out.stdout).lines().map(Seen::read).collect()
    }

    /// The server that leads the store, as one that runs knows it.
    fn leads(&self, i: usize) -> Option<usize> {
        let leader = self.members(i).into_iter().find(|member| member.leads)?;
        (0..self.hosts.len()).find(|i| leader.address.starts_with(&format!("{}:", Servers::address(*i))))
    }

    /// When the leader of each role last said that it is there.
    fn renewed(&self, i: usize) -> [String; 2] {
        let path = "jsonpath={.spec.renewTime}";
        ROLES.map(|role| text(&self.kubectl(i, &["-n", "kube-system", "get", "lease", role, "-o", path]).stdout))
    }

    fn configmaps(&self, i: usize) -> BTreeSet<String> {
        let names = self.ok(i, &["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split(' ').map(str::to_owned).collect()
    }

    /// Every acknowledged object is on every one of these servers, and they agree.
    fn nothing_is_lost(&self, which: &[usize], acknowledged: &[String]) {
        let maps: Vec<_> = which.iter().map(|i| self.configmaps(*i)).collect();
        for (i, maps) in which.iter().zip(&maps) {
            let lost: Vec<&String> = acknowledged.iter().filter(|name| !maps.contains(*name)).collect();
            assert!(lost.is_empty(), "server {i} has lost {lost:?} of {}", acknowledged.len());
        }
        assert!(maps.windows(2).all(|pair| pair[0] == pair[1]), "the servers agree");
    }
}

struct Seen {
    number: String,
    address: String,
    votes: bool,
    leads: bool,
}

impl Seen {
    fn read(line: &str) -> Seen {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (number, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Seen { number, address, votes: line.contains("votes"), leads: line.ends_with("leads") }
    }
}

/// kubectl in a network, with what it remembers kept beside the credentials' cluster.
fn kubectl(host: &Host, config: &Path) -> Command {
    let mut command = host.command(&kubectl_program());
    command.env("KUBECACHEDIR", std::env::temp_dir().join(format!("wherry-kubectl-{}", host.pid())));
    command.arg("--kubeconfig").arg(config).args(["--request-timeout", "15s"]);
    command
}

impl Drop for Servers {
    fn drop(&mut self) {
        // kubectl's memory of this cluster; there may be none.
        let _ = std::fs::remove_dir_all(std::env::temp_dir().join(format!("wherry-kubectl-{}", self.switch.pid())));
    }
}

fn succeeds(command: &mut Command) {
    let out = command.output().expect("the program runs");
    assert!(out.status.success(), "{command:?}: {}", text(&out.stderr));
}

/// A number that the environment may set.
fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

//! Control groups of containers, version 1 (and hybrid) and 2: usage, limits of a running container, OOM kills, removal.
//! Creating them and entering them is the OCI library's part.

mod subtree;

use container::{Resources, Stats};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
/// Hierarchies of version 1 that we read, limit or clean up.
const CONTROLLERS: &[&str] = &[
    "cpu",
    "cpuacct",
    "cpu,cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "perf_event",
    "net_cls",
    "net_prio",
    "net_cls,net_prio",
    "rdma",
    "misc",
    "systemd",
    "unified",
];

/// The limit of memory and swap together, which may never be below that of memory alone.
const SWAP_LIMIT: &str = "memory.memsw.limit_in_bytes";

/// One group, by its path below the root of every hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {
    root: PathBuf,
    path: PathBuf,
    unified: bool,
}

impl Cgroup {
    /// The group of container `id` under `parent`.
    pub fn of(parent: &str, id: &str) -> Cgroup {
        Cgroup::at(Path::new(parent).join(id))
    }

    pub fn at(path: impl AsRef<Path>) -> Cgroup {
        let path = path.as_ref();
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        Cgroup { root: ROOT.into(), path, unified: unified() }
    }

    fn directory(&self, controller: &str) -> PathBuf {
        if self.unified { self.root.join(&self.path) } else { self.root.join(controller).join(&self.path) }
    }

    fn directories(&self) -> Vec<PathBuf> {
        if self.unified {
            return vec![self.root.join(&self.path)];
        }
        CONTROLLERS.iter().map(|c| self.root.join(c)).filter(|d| d.is_dir()).map(|d| d.join(&self.path)).collect()
    }

    /// Whether the group exists in any hierarchy.
    pub fn exists(&self) -> bool {
        self.directories().iter().any(|directory| directory.is_dir())
    }

    fn number(&self, controller: &str, file: &str) -> u64 {
        let text = fs::read_to_string(self.directory(controller).join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    fn table(&self, controller: &str, file: &str) -> Vec<(String, u64)> {
        let text = fs::read_to_string(self.directory(controller).join(file)).unwrap_or_default();
        table(&text)
    }

    /// What the group uses. A file that a kernel does not have counts as zero.
    pub fn stats(&self) -> Stats {
        let memory = self.table("memory", "memory.stat");
        let get = |name: &str| memory.iter().find(|(key, _)| key == name).map_or(0, |(_, value)| *value);
        let (cpu_ns, usage, rss, inactive) = if self.unified {
            let cpu = self.table("", "cpu.stat");
            let us = cpu.iter().find(|(key, _)| key == "usage_usec").map_or(0, |(_, value)| *value);
            (us * 1000, self.number("", "memory.current"), get("anon"), get("inactive_file"))
        } else {
            let cpu_ns = self.number("cpuacct", "cpuacct.usage");
            (cpu_ns, self.number("memory", "memory.usage_in_bytes"), get("total_rss"), get("total_inactive_file"))
        };
        let (faults, major) =
            if self.unified { ("pgfault", "pgmajfault") } else { ("total_pgfault", "total_pgmajfault") };
        Stats {
            cpu_ns,
            working_set_bytes: usage.saturating_sub(inactive),
            usage_bytes: usage,
            rss_bytes: rss,
            page_faults: get(faults),
            major_page_faults: get(major),
        }
    }

    /// How many processes of the group the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        self.table("memory", file).into_iter().find(|(key, _)| key == "oom_kill").map_or(0, |(_, value)| value)
    }

    /// Changes limits. Zero and the empty string leave a limit as it is.
    pub fn update(&self, resources: &Resources) -> io::Result<()> {
        for (controller, file, value) in limits(resources, self.unified) {
            let path = self.directory(controller).join(file);
            let written = fs::write(&path, value.as_bytes());
            // Tried before and after the limit of memory alone: one of the two orders is refused, or swap is not counted.
            if file == SWAP_LIMIT {
                continue;
            }
            written.map_err(|error| {
                io::Error::new(error.kind(), format!("write {value:?} to {}: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    /// Every process in the group.
    pub fn processes(&self) -> Vec<i32> {
        let mut all: Vec<i32> = Vec::new();
        for directory in self.directories() {
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Removes the group, which must be empty, from every hierarchy. What is gone already is no error.
    pub fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for directory in self.directories() {
            match fs::remove_dir(&directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    result = Err(io::Error::new(error.kind(), format!("remove {}: {error}", directory.display())));
                }
            }
        }
        result
    }
}

/// Whether this machine has version 2 alone.
pub fn unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Whether the kernel counts swap, so that a limit of memory and swap together can be set.
pub fn counts_swap() -> bool {
    !unified() && Path::new(ROOT).join("memory/memory.memsw.limit_in_bytes").exists()
}

/// What this machine lacks of the controllers that the resources need, as a sentence that says what to do.
pub fn lacking(resources: &Resources) -> Option<String> {
    missing(Path::new(ROOT), resources)
}

fn missing(root: &Path, resources: &Resources) -> Option<String> {
    let unified = fs::read_to_string(root.join("cgroup.controllers")).ok();
    let offered = |name: &str| match &unified {
        Some(names) => names.split_whitespace().any(|n| n == name),
        None => root.join(name).join("cgroup.procs").exists(),
    };
    if unified.is_none() && !CONTROLLERS.iter().any(|name| offered(name)) {
        return Some(format!(
            "containers need control groups, and there is none at {}: boot with them (systemd mounts them), or mount them \
             with `mount -t cgroup2 none {0}`; WebAssembly pods run without them",
            root.display()
        ));
    }
    let limits = [
        ("memory", resources.memory_limit_bytes > 0, "limits.memory"),
        ("cpu", resources.cpu_quota_us > 0, "limits.cpu"),
        ("pids", resources.pids_limit > 0, "the limit of processes"),
        ("cpuset", !resources.cpuset_cpus.is_empty() || !resources.cpuset_mems.is_empty(), "a set of CPUs"),
    ];
    let (name, _, what) = limits.into_iter().find(|(name, needed, _)| *needed && !offered(name))?;
    Some(format!(
        "{what} needs the control group controller {name:?}, which this machine does not offer at {}: boot the kernel with \
         `cgroup_enable={name}`, or leave the limit out",
        root.display()
    ))
}

fn table(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// The files to write for new limits, in order. Pure.
fn limits(resources: &Resources, unified: bool) -> Vec<(&'static str, &'static str, String)> {
    let mut writes = Vec::new();
    let period = if resources.cpu_period_us > 0 { resources.cpu_period_us } else { 100_000 };
    if resources.cpu_shares > 0 {
        if unified {
            writes.push(("", "cpu.weight", weight(resources.cpu_shares).to_string()));
        } else {
            writes.push(("cpu", "cpu.shares", resources.cpu_shares.to_string()));
        }
    }
    if resources.cpu_quota_us != 0 {
        let quota = resources.cpu_quota_us;
        if unified {
            let quota = if quota < 0 { "max".to_owned() } else { quota.to_string() };
            writes.push(("", "cpu.max", format!("{quota} {period}")));
        } else {
            writes.push(("cpu", "cpu.cfs_period_us", period.to_string()));
            writes.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
        }
    }
    if resources.memory_limit_bytes != 0 {
        let limit = resources.memory_limit_bytes;
        if unified {
            let limit = if limit < 0 { "max".to_owned() } else { limit.to_string() };
            writes.push(("", "memory.max", limit));
        } else {
            writes.push(("memory", SWAP_LIMIT, limit.to_string()));
            writes.push(("memory", "memory.limit_in_bytes", limit.to_string()));
            writes.push(("memory", SWAP_LIMIT, limit.to_string()));
        }
    }
    if !resources.cpuset_cpus.is_empty() {
        writes.push(("cpuset", "cpuset.cpus", resources.cpuset_cpus.clone()));
    }
    if !resources.cpuset_mems.is_empty() {
        writes.push(("cpuset", "cpuset.mems", resources.cpuset_mems.clone()));
    }
    if resources.pids_limit > 0 {
        writes.push(("pids", "pids.max", resources.pids_limit.to_string()));
    }
    writes
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000), as KEP-2254 maps them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_where_each_version_keeps_them() {
        let resources = Resources {
            cpu_shares: 1024,
            cpu_quota_us: 50_000,
            memory_limit_bytes: 1 << 20,
            pids_limit: 5,
            ..Resources::default()
        };
        let names = |unified| {
            let writes = limits(&resources, unified);
            writes.iter().filter(|(_, f, _)| *f != SWAP_LIMIT).map(|(_, f, v)| format!("{f}={v}")).collect::<Vec<_>>()
        };
        assert_eq!(
            names(false),
            [
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "memory.limit_in_bytes=1048576",
                "pids.max=5"
            ]
        );
        assert_eq!(names(true), ["cpu.weight=39", "cpu.max=50000 100000", "memory.max=1048576", "pids.max=5"]);
        assert!(limits(&Resources::default(), false).is_empty());
    }

    #[test]
    fn what_the_machine_lacks_is_named() {
        let limited = Resources { memory_limit_bytes: 1 << 20, ..Resources::default() };
        let root = tempfile::tempdir().expect("a directory");
        let none = missing(root.path(), &Resources::default()).expect("nothing is there");
        assert!(none.contains("mount -t cgroup2"), "{none}");
        // Version 1 without memory, as small boards boot.
        fs::create_dir(root.path().join("cpu")).expect("made");
        fs::write(root.path().join("cpu/cgroup.procs"), "").expect("written");
        assert_eq!(missing(root.path(), &Resources::default()), None);
        let memory = missing(root.path(), &limited).expect("no memory controller");
        assert!(memory.contains("limits.memory") && memory.contains("cgroup_enable=memory"), "{memory}");
        // Version 2, without and with it.
        fs::write(root.path().join("cgroup.controllers"), "cpu pids\n").expect("written");
        assert!(missing(root.path(), &limited).is_some());
        fs::write(root.path().join("cgroup.controllers"), "cpu memory pids\n").expect("written");
        assert_eq!(missing(root.path(), &limited), None);
    }

    #[test]
    fn tables_skip_what_is_not_a_number() {
        assert_eq!(
            table("oom_kill_disable 0\nunder_oom x\noom_kill 2\n"),
            [("oom_kill_disable".into(), 0), ("oom_kill".into(), 2)]
        );
    }
}

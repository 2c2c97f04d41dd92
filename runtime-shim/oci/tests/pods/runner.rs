//! Tests of the shim and of its executor have a `main` of their own: pod processes are made by running the test again.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// Nothing here takes longer unless it hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type Test = (&'static str, Pin<Box<dyn Future<Output = ()>>>);

/// Says loudly why containers cannot be made here; `true` if they can.
pub(crate) fn possible(what: &str) -> bool {
    // SAFETY: geteuid only reads.
    let possible = unsafe { libc::geteuid() } == 0 && Path::new(BUSYBOX).exists();
    if !possible {
        eprintln!("SKIPPED: the tests of {what} need root and a static {BUSYBOX} (Debian: busybox-static)");
    }
    possible
}

/// Runs the tests one after the other; the first argument chooses those whose names contain it.
pub(crate) fn run(tests: impl IntoIterator<Item = Test>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    for (name, test) in tests {
        if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            let done = runtime.block_on(async { tokio::time::timeout(LIMIT, test).await });
            done.unwrap_or_else(|_| panic!("{name}: too slow"));
            println!("test {name} ... ok");
        }
    }
}

/// No mount below this directory is left.
pub(crate) fn no_mounts(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&*directory.to_string_lossy())).collect();
    assert!(left.is_empty(), "mounts left: {left:?}");
}

/// No controller has this group any more.
pub(crate) fn no_groups(group: &str) {
    for controller in std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
        let group = controller.path().join(group.trim_start_matches('/'));
        assert!(!group.exists(), "{} is left", group.display());
    }
}

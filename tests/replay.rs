//! The API against recorded answers of Kubernetes' own: how many agree, area by area, may only rise.

use crate::harness::{ROOT, Running, text, until, wherry};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// As many cases of an area have agreed; `docs/api-replay.md` tells of the others.
const FLOORS: &[(&str, usize)] = &[
    ("admission", 44),
    ("auth", 50),
    ("crds", 65),
    ("defaults", 220),
    ("discovery", 67),
    ("lists", 117),
    ("patches", 138),
    ("updates", 192),
    ("validation", 408),
    ("watch", 20),
];
/// Some answers depend on writes falling into one second, as they did in the recording: the failed cases of an area that
/// is low are asked again, one after another.
const TRIES: usize = 3;
/// Cases under way at once: more only wait for each other.
const JOBS: &str = "4";

#[test]
fn recorded_answers_are_given() {
    let shared = Path::new(ROOT).join("../shared");
    let (tool, cases) = (shared.join("tools/api-replay"), shared.join("data/api-cases"));
    if !tool.exists() || !cases.exists() {
        return eprintln!("SKIPPED: recorded answers are not here ({})", cases.display());
    }
    if !Command::new("python3").arg("--version").output().is_ok_and(|out| out.status.success()) {
        return eprintln!("SKIPPED: recorded answers are replayed by python3");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let mut server = Command::new(wherry());
    server.args(["apiserver", "--secure-port", &port.to_string(), "--data-dir"]).arg(dir.path());
    let _server = Running::spawn(&mut server);
    let kubeconfig = dir.path().join("admin.kubeconfig");
    until("the API", || kubeconfig.exists());
    let replay = |filter: &str, jobs: &str| {
        let mut replay = Command::new("python3");
        replay.arg(&tool).arg("--kubeconfig").arg(&kubeconfig).arg(&cases);
        let out = replay.args(["-j", jobs, "--show", "400", "--filter", filter]).output().expect("api-replay runs");
        text(&out.stdout) + &text(&out.stderr)
    };
    let mut said = replay("", JOBS);
    let mut agreed = passed(&said);
    for _ in 0..TRIES {
        let low: Vec<&str> =
            FLOORS.iter().filter(|(a, floor)| agreed.get(*a).is_none_or(|n| n < floor)).map(|f| f.0).collect();
        if low.is_empty() {
            return;
        }
        let failed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("FAIL ")).collect();
        let again = failed.iter().filter(|case| low.iter().any(|area| case.split('/').next() == Some(*area)));
        let again: Vec<String> = again.map(|case| format!("{case}$")).collect();
        said = replay(&format!("^({})", again.join("|")), "1");
        for (area, more) in passed(&said) {
            *agreed.entry(area).or_default() += more;
        }
    }
    panic!("fewer cases agree than before ({FLOORS:?}): {agreed:?}\n{said}");
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// `auth   49 passed,    4 failed`, one line per area.
fn passed(said: &str) -> BTreeMap<String, usize> {
    let area = |line| -> Option<(String, usize)> {
        let (head, _) = str::split_once(line, " passed,")?;
        let (area, number) = head.rsplit_once(' ')?;
        Some((area.trim().to_owned(), number.parse().ok()?))
    };
    said.lines().filter_map(area).collect()
}

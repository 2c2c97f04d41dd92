//! The examples `state` and `batch`, run as written.

use crate::harness::{Cluster, NODE, ROOT, possible, text, until};
use std::sync::Arc;

fn up(name: &str) -> Cluster {
    let mut cluster = Cluster::bare(Arc::new(crate::harness::Host::new()));
    cluster.example(name);
    cluster.up(&["--apply", &format!("{ROOT}/examples/{name}")]);
    cluster
}

#[test]
fn state_keeps_what_it_counted_and_its_claims() {
    if !possible() {
        return;
    }
    let mut cluster = up("state");
    assert!(cluster.says(&format!("visit  http://{NODE}")).contains("visit 1 to notes-"));
    assert!(cluster.says(&format!("sign  http://{NODE}")).contains("This is sign-"));
    let pod = |path: &str| cluster.ok(&["get", "--raw", &format!("/api/v1/namespaces/default/pods/{path}")]);
    let before = cluster.ok(&["get", "pods", "-l", "app=notes", "-o", "jsonpath={.items[*].metadata.name}"]);
    assert_eq!(before, "notes-0 notes-1");
    assert!(pod("sign-1:8080/proxy/").contains("This is sign-1"));
    // Which of the two were visited meanwhile does not matter.
    let visit = || {
        let said = pod("notes-0:8080/proxy/");
        let number = said.strip_prefix("visit ").and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("{said}"))
    };
    let first = visit();
    assert_eq!(visit(), first + 1, "it counts");

    let claims = |wanted: &str| {
        until(wanted, || cluster.ok(&["get", "pvc", "-o", "jsonpath={.items[*].metadata.name}"]) == wanted);
    };
    claims("data-claims-0 data-claims-1");
    cluster.ok(&["scale", "statefulset/claims", "--replicas=1"]);
    claims("data-claims-0");
    cluster.ok(&["delete", "statefulset", "claims"]);
    until("the end of its pods", || cluster.ok(&["get", "pods", "-l", "app=claims", "-o", "name"]).is_empty());
    claims("data-claims-0");
    assert_eq!(visit(), first + 2);
}

#[test]
fn batch_counts_its_shares_and_runs_by_the_clock() {
    if !possible() {
        return;
    }
    let cluster = up("batch");
    cluster.ok(&["wait", "job/primes", "--for=condition=Complete", "--timeout=90s"]);
    let status = cluster.ok(&["get", "job", "primes", "-o", "jsonpath={.status.completedIndexes} {.status.failed}"]);
    assert_eq!(status, "0-3 1", "one try failed");
    let said = cluster.ok(&["logs", "-l", "app=primes", "--tail=-1"]);
    for line in ["5133 primes from 0 to 50000", "4459 primes from 50000 to 100000", "the first try fails"] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    cluster.ok(&["create", "job", "now", "--from=cronjob/sum"]);
    cluster.ok(&["wait", "job/now", "--for=condition=Complete", "--timeout=90s"]);
    assert_eq!(cluster.ok(&["logs", "job/now"]).trim(), "5000050000");
    let out = cluster.kubectl(&["get", "cronjob", "sum"]);
    assert!(text(&out.stdout).contains("Etc/UTC"), "{}", text(&out.stdout));
}

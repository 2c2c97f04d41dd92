//! What a person does with kubectl, done with real ones: every version runs the same tables against one cluster.

mod streams;

use crate::clients;
use crate::harness::{Cluster, ROOT, hello_web, possible, until};
use crate::table::Person;
use std::path::Path;

/// The oldest that is promised to work, one from the middle, and the newest that its package has.
const VERSIONS: [&str; 3] = ["1.27", "1.33", "1.37"];

/// Run by each version in this order.
const TABLES: [&str; 6] = ["1-cluster", "2-objects", "2-apis", "3-pods", "4-rollouts", "5-nodes"];

#[test]
fn commands_of_kubectl() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.tool();
    cluster.image("hello-web:2", hello_web());
    cluster.up(&[]);
    let mut node = String::new();
    until("the node", || {
        node = cluster.ok(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]);
        !node.is_empty()
    });
    let mut wrong = Vec::new();
    for (version, program) in clients::kubectls(&VERSIONS) {
        let since = std::time::Instant::now();
        let namespace = format!("by-{}", version.replace('.', "-"));
        let person = Person::new(&cluster, (&version, &program), &namespace, &[("node", &node)]);
        person.ok("apply -f {root}/tests/kubectl/objects.yaml");
        for table in TABLES {
            wrong.extend(person.runs(&Path::new(ROOT).join(format!("tests/kubectl/{table}.yaml"))));
            if table == "3-pods" {
                streams::forwarded(&person);
                streams::proxied(&person);
                streams::watched(&person);
            }
        }
        eprintln!("kubectl {version}: {:?}", since.elapsed());
    }
    assert!(wrong.is_empty(), "{} commands went wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn a_deployment_of_nginx_runs_through_every_component() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    let mut other = Cluster::bare(cluster.host.clone());
    other.image("nginx:latest", hello_web());
    other.up(&[]);
    let said = other.said("registry: ").to_owned();
    let registry = said.split_whitespace().find(|w| w.starts_with("http://127.0.0.1:")).expect("an address");
    let mirrors = format!("mirrors:\n  docker.io:\n    endpoints: [{registry:?}]\n");
    std::fs::write(cluster.dir.path().join("registries.yaml"), mirrors).expect("written");
    cluster.up(&[]);
    cluster.ok(&["create", "deployment", "nginx", "--image=nginx", "--port=8080", "--replicas=2"]);
    cluster.ok(&["rollout", "status", "deployment/nginx", "--timeout=300s"]);
    let pods = cluster.ok(&["get", "pods", "-l", "app=nginx"]);
    assert_eq!(pods.matches("1/1     Running").count(), 2, "{pods}");
    let events = cluster.ok(&["get", "events", "--field-selector=reason=Pulled", "-o", "jsonpath={.items[*].message}"]);
    assert!(events.contains("Successfully pulled image \"nginx\""), "{events}");
    cluster.ok(&["expose", "deployment", "nginx", "--port=80", "--target-port=8080"]);
    let address = cluster.ok(&["get", "service", "nginx", "-o", "jsonpath={.spec.clusterIP}"]);
    until("nginx to answer", || cluster.host.get(&format!("http://{address}/")).is_some_and(|a| a.contains("nginx-")));
}

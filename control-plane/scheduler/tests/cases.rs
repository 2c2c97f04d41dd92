//! Where pods go, as data: `cases/*.yaml` hold nodes, pods that are there, the pod to place, and the placement.
//!
//! `UPDATE_CASES=1` rewrites `then`.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use scheduler::{Snapshot, schedule};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    given: Vec<Value>,
    pod: Pod,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    then: Value,
}

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let wrong: Vec<_> = files.iter().filter_map(|file| check(file).err()).collect();
    assert!(wrong.is_empty(), "{}\nUPDATE_CASES=1 rewrites what is expected", wrong.join("\n"));
}

fn check(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).unwrap();
    let case: Case = serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let snapshot = snapshot(&case.given);
    let placement = schedule(&snapshot, &case.pod, case.seed);
    assert_eq!(placement, schedule(&snapshot, &case.pod, case.seed), "the same question has the same answer");
    let actual = serde_json::to_value(&placement).unwrap();
    if std::env::var_os("UPDATE_CASES").is_some() {
        let kept = text.split("\nthen:").next().unwrap().trim_end();
        let rendered = serde_saphyr::to_string(&json!({"then": actual})).unwrap();
        std::fs::write(file, format!("{kept}\n{rendered}")).unwrap();
    } else if actual != case.then {
        return Err(format!("{}: expected {}, placed {actual}", file.display(), case.then));
    }
    Ok(())
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for object in objects {
        let decode = object.clone();
        match object["kind"].as_str().unwrap() {
            "Node" => snapshot.set_node(Arc::new(serde_json::from_value::<Node>(decode).unwrap())),
            "Namespace" => {
                let namespace: Namespace = serde_json::from_value(decode).unwrap();
                snapshot.set_namespace(namespace.metadata.name.as_deref().unwrap(), Some(&namespace));
            }
            "Pod" => {
                let pod: Pod = serde_json::from_value(decode).unwrap();
                let node = pod.spec.as_ref().unwrap().node_name.clone().unwrap_or_default();
                if node.is_empty() {
                    let told = pod.status.as_ref().unwrap().nominated_node_name.clone().unwrap();
                    snapshot.nominated.insert(pod.metadata.uid.clone().unwrap(), (Arc::new(pod), told));
                } else {
                    snapshot.add_pod(&node, Arc::new(pod));
                }
            }
            other => panic!("a case has a {other}"),
        }
    }
    snapshot
}

//! Where pods go, as data: `cases/*.yaml` hold nodes, pods that are there, the pod to place, and the placement.
//!
//! `UPDATE_CASES=1` rewrites `then`.

use std::path::Path;
use std::sync::Arc;

use client::Key;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use scheduler::{Config, PodInfo, Snapshot, schedule};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    given: Vec<Value>,
    pod: Pod,
    #[serde(default)]
    seed: u64,
    /// A KubeSchedulerConfiguration; its first profile decides.
    config: Option<Value>,
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
    let configured = case.config.map(|config| Config::parse(&config.to_string()).unwrap().profiles.remove(0));
    let (profile, pod) = (configured.unwrap_or_default(), PodInfo::new(Arc::new(case.pod)));
    let placement = schedule(&profile, &snapshot, &pod, case.seed);
    assert_eq!(placement, schedule(&profile, &snapshot, &pod, case.seed), "the same question has the same answer");
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
                    snapshot.nominate(Arc::new(PodInfo::new(Arc::new(pod))), &told);
                } else {
                    snapshot.add_pod(&node, Arc::new(PodInfo::new(Arc::new(pod))));
                }
            }
            "PodDisruptionBudget" => {
                let budget: PodDisruptionBudget = serde_json::from_value(decode).unwrap();
                snapshot.budgets.set(&Key::of(&budget), Some(&budget));
            }
            "Service" => {
                let service: Service = serde_json::from_value(decode).unwrap();
                let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                snapshot.owners.set_service(&Key::of(&service), selector);
            }
            "ReplicaSet" => {
                let set: ReplicaSet = serde_json::from_value(decode).unwrap();
                let selector = set.spec.as_ref().map(|spec| &spec.selector);
                snapshot.owners.set_controller("ReplicaSet", &Key::of(&set), selector);
            }
            other => panic!("a case has a {other}"),
        }
    }
    snapshot
}

/// What is refused, and the words for it.
#[test]
fn configurations_are_refused_with_their_place() {
    let refused = [
        ("profils: []", "the configuration: unknown field `profils`"),
        ("extenders: [{urlPrefix: x}]", "extenders[0].urlPrefix: must begin with http:// or https://"),
        (
            "extenders: [{urlPrefix: http://x, prioritizeVerb: sort}]",
            "extenders[0].weight: must be positive where there is a prioritizeVerb",
        ),
        ("extenders: [{urlPrefix: http://x, httpTimeout: soon}]", "\"soon\" is no time such as \"5s\""),
        (
            "extenders: [{urlPrefix: http://x, bindVerb: bind}, {urlPrefix: http://y, bindVerb: bind}]",
            "extenders: 2 of them bind; one may",
        ),
        (
            "profiles: [{plugins: {score: {enabled: [{name: Mine}]}}}]",
            "profiles[0].plugins.score.enabled: there is no plugin \"Mine\"",
        ),
        (
            "profiles: [{plugins: {bind: {disabled: [{name: DefaultBinder}]}}}]",
            "at least one bind plugin is needed for profile with scheduler name \"default-scheduler\"",
        ),
        (
            "profiles: [{plugins: {multiPoint: {disabled: [{name: PrioritySort}]}}}]",
            "only one queue sort plugin required for profile with scheduler name \"default-scheduler\", but got 0",
        ),
        (
            "profiles: [{plugins: {reserve: {enabled: [{name: DefaultBinder}]}}}]",
            "profiles[0].plugins.reserve.enabled: plugin \"DefaultBinder\" does not extend Reserve",
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: NodeName}, {name: NodeName}]}}}]",
            "profiles[0].plugins.filter.enabled: plugin \"NodeName\" is named twice",
        ),
        (
            "profiles: [{plugins: {permit: {disabled: [{name: Gang}]}}}]",
            "profiles[0].plugins.permit.disabled: there is no plugin \"Gang\"",
        ),
        ("profiles: [{schedulerName: a}, {schedulerName: a}]", "profiles: two have the same schedulerName"),
        ("profiles: [{percentageOfNodesToScore: 101}]", "profiles[0].percentageOfNodesToScore: must be 0 to 100"),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {strategy: x}}]}]",
            "profiles[0].pluginConfig[0].args: unknown field `strategy`",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Best}}}]}]",
            "type \"Best\" is none of",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeAffinity, args: {kind: NodeResourcesFitArgs}}]}]",
            "kind must be NodeAffinityArgs",
        ),
        (
            "profiles: [{pluginConfig: [{name: PodTopologySpread, args: {defaultConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]}}]}]",
            "go with defaultingType List",
        ),
        ("podInitialBackoffSeconds: 20", "must be at least 1 and at most podMaxBackoffSeconds"),
    ];
    for (text, words) in refused {
        let whole = format!("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n{text}\n");
        let error = Config::parse(&whole).unwrap_err().to_string();
        assert!(error.contains(words), "{text} was refused with {error:?}");
    }
    let wrong = Config::parse("apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n");
    assert!(wrong.unwrap_err().to_string().contains("known is kubescheduler.config.k8s.io/v1"));
}

#[test]
fn a_configuration_has_profiles_weights_and_waits() {
    let text = "
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
percentageOfNodesToScore: 30
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 60
leaderElection: {leaderElect: true}
profiles:
- schedulerName: one
  plugins: {multiPoint: {disabled: [{name: ImageLocality}], enabled: [{name: NodeAffinity, weight: 7}]}}
- schedulerName: two
  percentageOfNodesToScore: 90
";
    let config = Config::parse(text).unwrap();
    assert_eq!(config.leader_elect, Some(true));
    assert_eq!((config.backoff.first.as_secs(), config.backoff.most.as_secs()), (2, 60));
    let names: Vec<_> = config.profiles.iter().map(|p| (p.scheduler_name.as_str(), p.percentage_of_nodes)).collect();
    assert_eq!(names, [("one", 30), ("two", 90)]);
    let weights = |at: usize| config.profiles[at].scores.iter().map(|(plugin, weight)| (plugin.name(), *weight));
    assert_eq!(weights(0).find(|(name, _)| *name == "NodeAffinity"), Some(("NodeAffinity", 7)));
    assert_eq!(weights(0).find(|(name, _)| *name == "ImageLocality"), None);
    assert_eq!(weights(1).find(|(name, _)| *name == "ImageLocality"), Some(("ImageLocality", 1)));
}

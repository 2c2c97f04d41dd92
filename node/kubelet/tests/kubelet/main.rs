//! The whole kubelet against an API and a runtime that these tests play: what it asks of both, and what it leaves behind.

mod cluster;
mod fake_api;
mod fake_cri;

use cluster::Cluster;
use serde_json::{Value, json};

fn pod(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1},
        "spec": spec,
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    })
}

fn container(name: &str, more: Value) -> Value {
    let mut c = json!({
        "name": name, "image": "app:1", "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    });
    for (k, v) in more.as_object().into_iter().flatten() {
        c[k] = v.clone();
    }
    c
}

fn one(more: Value) -> Value {
    json!({"nodeName": "n1", "restartPolicy": "Always", "terminationGracePeriodSeconds": 7, "containers": [container("app", more)]})
}

#[tokio::test]
async fn a_pod_runs_and_is_deleted() {
    let cluster = Cluster::start().await;
    cluster.api.config_map("cfg", json!({"key": "value", "greeting": "hello"}));
    let mut spec = one(json!({
        "command": ["/bin/app", "--say=$(SAY)"],
        "env": [
            {"name": "SAY", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "greeting"}}},
            {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}, {"name": "token", "mountPath": "/token"}],
    }));
    spec["volumes"] = json!([
        {"name": "cfg", "configMap": {"name": "cfg", "defaultMode": 420}},
        {"name": "token", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ]);
    let begun = std::time::Instant::now();
    cluster.api.put(pod("web", spec));
    let status = cluster.api.status("web", |s| s["phase"] == "Running").await;
    println!("created → Running seen: {:?}", begun.elapsed());
    assert_eq!(status["podIP"], "10.1.0.2");
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    assert!(status["containerStatuses"][0]["containerID"].as_str().unwrap().starts_with("fake://"));
    assert_eq!(condition(&status, "Ready"), "True");

    let config = cluster.cri.container("app");
    assert_eq!(config.command, ["/bin/app", "--say=hello"]);
    let env: Vec<String> =
        config.envs.iter().map(|e| format!("{}={}", e.key, String::from_utf8_lossy(&e.value))).collect();
    for wanted in ["SAY=hello", "WHO=web", "IP=10.1.0.2", "KUBERNETES_SERVICE_HOST=10.96.0.1"] {
        assert!(env.iter().any(|e| e == wanted), "{wanted} in {env:?}");
    }
    assert_eq!(config.annotations["io.wherry.container.ports"], r#"[{"port":8080,"protocol":"TCP"}]"#);
    let mount = |at: &str| config.mounts.iter().find(|m| m.container_path == at).unwrap().host_path.clone();
    assert_eq!(std::fs::read_to_string(format!("{}/key", mount("/cfg"))).unwrap(), "value");
    assert_eq!(std::fs::read_to_string(format!("{}/token", mount("/token"))).unwrap(), "a-token");
    assert!(std::fs::read_to_string(mount("/etc/hosts")).unwrap().contains("10.1.0.2\tweb"));

    cluster.api.config_map("cfg", json!({"key": "changed"}));
    let path = format!("{}/key", mount("/cfg"));
    cluster
        .until("the volume follows the ConfigMap", || std::fs::read_to_string(&path).is_ok_and(|t| t == "changed"))
        .await;

    cluster.api.delete("web", 7);
    cluster.until("the object is deleted", || cluster.api.deleted("web").is_some()).await;
    let options = cluster.api.deleted("web").unwrap();
    assert_eq!(options["gracePeriodSeconds"], 0);
    assert_eq!(options["preconditions"]["uid"], "uid-web");
    assert!(cluster.cri.calls().contains(&"stop app 7".to_owned()), "{:?}", cluster.cri.calls());
    assert!(cluster.cri.empty());
    assert!(!cluster.root().join("pods/uid-web").exists());
    for reason in ["Pulled", "Created", "Started", "Killing"] {
        cluster.until("the event is there", || cluster.api.events().contains(&reason.to_owned())).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_restarted_kubelet_leaves_containers_alone() {
    let cluster = Cluster::start().await;
    cluster.api.put(pod("web", one(json!({"readinessProbe": {"exec": {"command": ["ok"]}, "periodSeconds": 1}}))));
    let before = cluster.api.status("web", |s| condition(s, "Ready") == "True").await;
    let calls = cluster.cri.changes();
    let cluster = cluster.restart().await;
    cluster.until("the pod is seen again", || cluster.cri.probed_since_restart()).await;
    assert_eq!(cluster.cri.changes(), calls, "nothing was started or stopped");
    let after = cluster.api.now("web");
    assert_eq!(after["containerStatuses"], before["containerStatuses"]);
    assert_eq!(condition(&after, "Ready"), "True");
    cluster.stop().await;
}

#[tokio::test]
async fn a_container_that_fails_runs_again() {
    let cluster = Cluster::start().await;
    cluster.api.put(pod("web", one(json!({}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    cluster.cri.exit("app", 3);
    let status = cluster.api.status("web", |s| s["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
    cluster.cri.exit("app", 3);
    let waits = |s: &Value| s["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff";
    cluster.api.status("web", waits).await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_said_and_tried_again() {
    let cluster = Cluster::start().await;
    let mut spec = one(json!({}));
    spec["containers"][0]["image"] = "missing:1".into();
    cluster.api.put(pod("web", spec));
    let reason = |s: &Value| s["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    cluster.api.status("web", |s| reason(s) == "ErrImagePull").await;
    cluster.api.status("web", |s| reason(s) == "ImagePullBackOff").await;
    cluster.api.delete("web", 7);
    cluster.until("the object is deleted", || cluster.api.deleted("web").is_some()).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_missing_config_map_holds_a_pod_until_it_comes() {
    let cluster = Cluster::start().await;
    let mut spec = one(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
    spec["volumes"] = json!([{"name": "v", "configMap": {"name": "later", "defaultMode": 420}}]);
    cluster.api.put(pod("web", spec));
    cluster.until("the mount fails", || cluster.api.events().contains(&"FailedMount".to_owned())).await;
    cluster.api.config_map("later", json!({"a": "b"}));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_ends_and_releases_its_sandbox() {
    let cluster = Cluster::start().await;
    let mut spec = one(json!({}));
    spec["restartPolicy"] = "Never".into();
    cluster.api.put(pod("job", spec));
    cluster.api.status("job", |s| s["phase"] == "Running").await;
    cluster.cri.exit("app", 0);
    let status = cluster.api.status("job", |s| s["phase"] == "Succeeded").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    cluster.until("the sandbox is stopped", || cluster.cri.calls().contains(&"stop sandbox".to_owned())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_the_api_forgot_is_ended() {
    let cluster = Cluster::start().await;
    cluster.api.put(pod("web", one(json!({}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    let cluster = cluster.restart_with(|api| api.forget("web")).await;
    cluster.until("nothing runs", || cluster.cri.empty()).await;
    assert!(cluster.api.deleted("web").is_none());
    cluster.stop().await;
}

#[tokio::test]
async fn a_failed_liveness_probe_restarts_the_container() {
    let cluster = Cluster::start().await;
    let probe = json!({"exec": {"command": ["fail"]}, "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 3});
    cluster.api.put(pod("web", one(json!({"livenessProbe": probe}))));
    cluster.until("it is killed", || cluster.cri.calls().contains(&"stop app 3".to_owned())).await;
    cluster.api.status("web", |s| s["containerStatuses"][0]["restartCount"] == 1).await;
    cluster.until("the event is there", || cluster.api.events().contains(&"Unhealthy".to_owned())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn only_the_apiserver_is_let_in() {
    let cluster = Cluster::start().await;
    cluster.api.put(pod("web", one(json!({}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    let log = cluster.cri.log_path("app");
    std::fs::write(&log, "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout F two\n").unwrap();
    for (who, path, status, body) in [
        (None, "/healthz", 200, "ok"),
        (None, "/pods", 401, "Unauthorized\n"),
        (Some("somebody"), "/pods", 403, "Forbidden (user=somebody)\n"),
        (Some("kube-apiserver-kubelet-client"), "/containerLogs/default/web/app?tailLines=1", 200, "two\n"),
        (
            Some("kube-apiserver-kubelet-client"),
            "/containerLogs/default/web/nope",
            404,
            "container \"nope\" in pod \"web\" not found\n",
        ),
        (Some("kube-apiserver-kubelet-client"), "/containerLogs/default/none/app", 404, "pod \"none\" not found\n"),
        (
            Some("kube-apiserver-kubelet-client"),
            "/containerLogs/default/web/app?tailLines=x",
            400,
            "tailLines: \"x\" is no number\n",
        ),
    ] {
        assert_eq!(cluster.get(who, path).await, (status, body.to_owned()), "{who:?} {path}");
    }
    let (status, pods) = cluster.get(Some("kube-apiserver-kubelet-client"), "/pods").await;
    assert!(status == 200 && pods.contains("\"phase\":\"Running\""), "{pods}");
    cluster.stop().await;
}

/// A scraped page: name and labels → value. What no scraper could read fails.
fn scraped(page: &str) -> std::collections::BTreeMap<String, f64> {
    let mut types = std::collections::BTreeSet::new();
    let mut all = std::collections::BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(types.insert(rest.split(' ').next().unwrap()), "{line} comes twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, rest) = line.split_at(line.rfind('}').map_or_else(|| line.find(' ').unwrap(), |i| i + 1));
        assert!(types.contains(series.split('{').next().unwrap()), "{line} has no type");
        let mut words = rest.split_whitespace();
        let value: f64 = words.next().unwrap().parse().unwrap();
        assert!(words.all(|time| time.parse::<i64>().is_ok_and(|ms| ms > 1_700_000_000_000)), "{line}");
        assert!(all.insert(series.to_owned(), value).is_none(), "{line} comes twice");
    }
    all
}

#[tokio::test]
async fn what_pods_use_is_scraped() {
    const WHO: Option<&str> = Some("kube-apiserver-kubelet-client");
    let cluster = Cluster::start().await;
    cluster.cri.uses_memory(4096);
    cluster.api.put(pod("web", one(json!({"resources": limits("500m", "64Ki")}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    let (status, page) = cluster.get(WHO, "/metrics/resource").await;
    assert_eq!(status, 200, "{page}");
    let has = scraped(&page);
    let container = "{container=\"app\",namespace=\"default\",pod=\"web\"}";
    assert_eq!(has[&format!("container_cpu_usage_seconds_total{container}")], 0.25);
    assert_eq!(has[&format!("container_memory_working_set_bytes{container}")], 4096.0);
    assert!(has[&format!("container_start_time_seconds{container}")] > 1.7e9);
    assert_eq!(has["pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"}"], 0.25);
    assert_eq!(has["resource_scrape_error"], 0.0);
    assert!(has["node_cpu_usage_seconds_total"] > 0.0 && has["node_memory_working_set_bytes"] > 0.0, "{page}");

    let (status, page) = cluster.get(WHO, "/metrics/cadvisor").await;
    assert_eq!(status, 200, "{page}");
    let has = scraped(&page);
    let value = |name: &str| has.iter().find(|(series, _)| series.starts_with(&format!("{name}{{"))).map(|(_, v)| *v);
    assert_eq!(value("container_memory_working_set_bytes"), Some(4096.0));
    assert_eq!(value("container_spec_cpu_quota"), Some(50_000.0));
    assert_eq!(value("container_network_receive_bytes_total"), Some(7.0));
    assert_eq!(cluster.get(None, "/metrics/resource").await.0, 401);
    cluster.stop().await;
}

#[tokio::test]
async fn a_command_is_run_without_a_stream() {
    let cluster = Cluster::start().await;
    cluster.api.put(pod("web", one(json!({}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    for (path, status, body) in [
        ("/run/default/web/app?cmd=echo%20said", 200, "said"),
        ("/run/default/web/app?cmd=fail", 500, "said"),
        ("/run/default/web/app", 400, "you must specify a command: ?cmd=…\n"),
        ("/run/default/web/nope?cmd=x", 404, "container \"nope\" in pod \"web\" not found\n"),
    ] {
        assert_eq!(cluster.post(path).await, (status, body.to_owned()), "{path}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn exec_joins_the_client_to_the_runtime() {
    let cluster = Cluster::start().await;
    cluster.api.put(pod("web", one(json!({}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    let echoed = cluster.upgrade("/exec/default/web/app?command=sh&output=1", b"some bytes").await;
    assert_eq!(echoed, b"some bytes");
    cluster.stop().await;
}

fn limits(cpu: &str, memory: &str) -> Value {
    json!({"limits": {"cpu": cpu, "memory": memory}, "requests": {"cpu": "10m", "memory": "1Ki"}})
}

#[tokio::test]
async fn a_pod_is_resized_as_it_runs() {
    let cluster = Cluster::start().await;
    cluster.api.put(pod("web", one(json!({"resources": limits("500m", "64Ki")}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    cluster.api.resize("web", limits("1", "128Ki"));
    let has = |s: &Value, cpu: &str, memory: &str| {
        let shown = &s["containerStatuses"][0]["resources"]["limits"];
        shown["cpu"] == cpu && shown["memory"] == memory && condition(s, "PodResizeInProgress").is_empty()
    };
    let status = cluster.api.status("web", |s| has(s, "1", "128Ki")).await;
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    assert!(cluster.cri.calls().contains(&"update app 100000 131072".to_owned()), "{:?}", cluster.cri.calls());
    for reason in ["ResizeStarted", "ResizeCompleted"] {
        cluster.until("the event is there", || cluster.api.events().contains(&reason.to_owned())).await;
    }

    // It uses more than it would have left.
    cluster.cri.uses_memory(100 << 10);
    cluster.api.resize("web", limits("1", "32Ki"));
    let status = cluster.api.status("web", |s| condition(s, "PodResizeInProgress") == "True").await;
    assert!(has(&status, "1", "128Ki") || status["containerStatuses"][0]["resources"]["limits"]["memory"] == "128Ki");
    cluster.until("the error is told", || cluster.api.events().contains(&"ResizeError".to_owned())).await;
    cluster.cri.uses_memory(1 << 10);
    cluster.api.status("web", |s| has(s, "1", "32Ki")).await;

    // More than the node has: said, and kept back over a restart.
    cluster.api.resize("web", json!({"limits": {"cpu": "100000"}, "requests": {"cpu": "100000"}}));
    let pending = |s: &Value| condition(s, "PodResizePending") == "True";
    let status = cluster.api.status("web", pending).await;
    assert!(has(&status, "1", "32Ki"), "{status:#}");
    let calls = cluster.cri.changes();
    let cluster = cluster.restart_with(|api| api.clear_conditions("web")).await;
    let status = cluster.api.status("web", pending).await;
    assert!(has(&status, "1", "32Ki"), "{status:#}");
    assert_eq!(cluster.cri.changes(), calls, "nothing was changed");
    cluster.api.resize("web", limits("2", "32Ki"));
    cluster.api.status("web", |s| has(s, "2", "32Ki") && !pending(s)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_container_whose_policy_says_so_starts_again_when_resized() {
    let cluster = Cluster::start().await;
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    cluster.api.put(pod("web", one(json!({"resources": limits("500m", "64Ki"), "resizePolicy": policy}))));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    cluster.api.resize("web", limits("1", "64Ki"));
    cluster.until("the CPU changes", || cluster.cri.calls().contains(&"update app 100000 65536".to_owned())).await;
    cluster.api.resize("web", limits("1", "128Ki"));
    let again = |s: &Value| {
        let shown = &s["containerStatuses"][0];
        shown["restartCount"] == 1
            && shown["resources"]["limits"]["memory"] == "128Ki"
            && !shown["state"]["running"].is_null()
    };
    cluster.api.status("web", again).await;
    let limits = cluster.cri.container("app").linux.unwrap().resources.unwrap();
    assert_eq!(limits.memory_limit_in_bytes, 128 << 10);
    cluster.until("the event is there", || cluster.api.events().contains(&"ResizeCompleted".to_owned())).await;
    cluster.stop().await;
}

fn on_port(name: &str, port: u16) -> Value {
    pod(name, one(json!({"name": name, "ports": [{"containerPort": 80, "hostPort": port, "protocol": "TCP"}]})))
}

#[tokio::test]
async fn a_pod_without_a_place_is_refused() {
    let cluster = Cluster::start().await;
    cluster.api.put(on_port("first", 21017));
    cluster.api.status("first", |s| s["phase"] == "Running").await;
    let mut greedy = pod("greedy", one(json!({"name": "greedy"})));
    greedy["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100000"}});
    let mut choosy = pod("choosy", one(json!({"name": "choosy"})));
    choosy["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    for (pod, reason, words) in [
        (on_port("second", 21017), "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports"),
        (greedy, "OutOfcpu", "Node didn't have enough resource: cpu, requested: 100000000, used: 0, capacity: "),
        (choosy, "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
    ] {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        cluster.api.put(pod);
        let status = cluster.api.status(&name, |s| s["phase"] == "Failed").await;
        assert_eq!(status["reason"], reason);
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("Pod was rejected: {words}")), "{message}");
        assert!(status["containerStatuses"].is_null() && condition(&status, "Ready").is_empty(), "{status:#}");
        cluster.until("the event is there", || cluster.api.events().contains(&reason.to_owned())).await;
        cluster.api.delete(&name, 0);
        cluster.until("the object is deleted", || cluster.api.deleted(&name).is_some()).await;
    }
    assert_eq!(cluster.cri.calls().iter().filter(|call| call.starts_with("start ")).count(), 1);
    // The place is free when the object of who had it is gone, not later.
    cluster.api.delete("first", 0);
    cluster.until("the object is deleted", || cluster.api.deleted("first").is_some()).await;
    cluster.api.put(on_port("third", 21017));
    cluster.api.status("third", |s| s["phase"] == "Running").await;
    cluster.stop().await;
}

#[tokio::test]
async fn who_runs_stays_whatever_becomes_of_the_node() {
    let cluster = Cluster::start().await;
    cluster.api.put(on_port("web", 21017));
    cluster.api.status("web", |s| s["phase"] == "Running").await;
    let calls = cluster.cri.changes();
    let taint = json!([{"key": "out", "effect": "NoExecute"}]);
    let cluster = cluster.restart_with(|api| api.taint(taint)).await;
    // Its port is known to be taken before anybody else is let in.
    let mut late = on_port("late", 21017);
    late["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    cluster.api.put(late);
    let status = cluster.api.status("late", |s| s["phase"] == "Failed").await;
    assert_eq!(status["reason"], "NodePorts");
    cluster.api.put(on_port("other", 21018));
    let status = cluster.api.status("other", |s| s["phase"] == "Failed").await;
    assert_eq!(status["reason"], "TaintToleration");
    assert_eq!(cluster.cri.changes(), calls, "nothing was started or stopped");
    assert_eq!(cluster.api.now("web")["phase"], "Running");
    cluster.stop().await;
}

fn condition(status: &Value, kind: &str) -> String {
    let list = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = list.iter().find(|c| c["type"] == kind);
    found.and_then(|c| c["status"].as_str()).unwrap_or_default().to_owned()
}

/// Not a limit: a figure to look at (`--nocapture`), of a debug build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_run_one_after_the_other() {
    let cluster = Cluster::start().await;
    let mut times = Vec::new();
    for i in 0..20 {
        let begun = std::time::Instant::now();
        let name = format!("p{i}");
        cluster.api.put(pod(&name, one(json!({}))));
        cluster.api.status(&name, |s| s["phase"] == "Running").await;
        times.push(begun.elapsed());
    }
    times.sort();
    println!("created → Running: median {:?}, most {:?}", times[times.len() / 2], times[times.len() - 1]);
    assert_eq!(cluster.cri.calls().iter().filter(|c| *c == "start app").count(), 20);
    cluster.stop().await;
}

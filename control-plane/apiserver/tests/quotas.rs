//! Usage of quotas is exact: whoever writes at the same time, what is counted is what is there, and no more than is allowed.

#[path = "served/calls.rs"]
mod calls;
mod served;

use apiserver::Server;
use calls::call;
use serde_json::{Value, json};
use served::{start, stop};

const QUOTA: &str = "/api/v1/namespaces/default/resourcequotas/q";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn limited(server: &Server, hard: Value, used: Value) {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}});
    let (code, made) = call(server, "POST", "/api/v1/namespaces/default/resourcequotas", quota).await;
    assert_eq!(code, 201, "{made}");
    let status = json!({"status": {"hard": hard, "used": used}});
    let (code, told) = call(server, "PATCH", &format!("{QUOTA}/status"), status).await;
    assert_eq!(code, 200, "{told}");
}

async fn used(server: &Server) -> Value {
    call(server, "GET", QUOTA, Value::Null).await.1["status"]["used"].clone()
}

/// Counts as the controller does: what is there at the quota's revision or later, written if nobody raised it meanwhile.
async fn recount(server: &Server) {
    let (_, mut quota) = call(server, "GET", QUOTA, Value::Null).await;
    let (_, list) = call(server, "GET", MAPS, Value::Null).await;
    let count = list["items"].as_array().map_or(0, Vec::len);
    quota["status"]["used"]["configmaps"] = json!(count.to_string());
    let (code, answer) = call(server, "PUT", &format!("{QUOTA}/status"), quota).await;
    assert!(matches!(code, 200 | 409), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_race_makes_more_than_is_allowed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (server, store) = start(dir.path()).await;
    limited(&server, json!({"configmaps": "40"}), json!({"configmaps": "0"})).await;
    let work = |n: usize| {
        let server = &server;
        async move {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{n}")}});
            let (code, answer) = call(server, "POST", MAPS, map).await;
            let full = code == 403 && answer["message"].as_str().is_some_and(|m| m.contains("exceeded quota: q"));
            assert!(code == 201 || full, "{answer}");
            if code == 201 && n.is_multiple_of(4) {
                assert_eq!(call(server, "DELETE", &format!("{MAPS}/m{n}"), Value::Null).await.0, 200);
            }
            if n.is_multiple_of(3) {
                recount(server).await;
            }
            let there = call(server, "GET", MAPS, Value::Null).await.1["items"].as_array().map_or(0, Vec::len);
            assert!(there <= 40, "{there} are there");
        }
    };
    futures::future::join_all((0..150).map(work)).await;
    recount(&server).await;
    let there = call(&server, "GET", MAPS, Value::Null).await.1["items"].as_array().map_or(0, Vec::len);
    assert_eq!(used(&server).await, json!({"configmaps": there.to_string()}));
    assert!(there > 20, "only {there} were made");
    stop(server, store).await;
}

#[tokio::test]
async fn what_is_refused_uses_nothing_and_what_grows_uses_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let (server, store) = start(dir.path()).await;
    let hard = json!({"services": "5", "services.nodeports": "1", "pods": "2", "requests.cpu": "1"});
    let none = json!({"services": "0", "services.nodeports": "0", "pods": "0", "requests.cpu": "0"});
    limited(&server, hard, none.clone()).await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
    // The address is another Service's: the quota is not charged for what never was.
    let taken = service("a", json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}));
    assert_eq!(call(&server, "POST", services, taken).await.0, 422);
    assert_eq!(used(&server).await, none);
    let plain = service("a", json!({"ports": [{"port": 80}]}));
    assert_eq!(call(&server, "POST", services, plain.clone()).await.0, 201);
    assert_eq!(call(&server, "POST", services, plain).await.0, 409);
    assert_eq!(used(&server).await["services"], "1");
    let open = json!({"spec": {"type": "NodePort"}});
    assert_eq!(call(&server, "PATCH", &format!("{services}/a"), open).await.0, 200);
    assert_eq!(used(&server).await["services.nodeports"], "1");
    let more = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
    let (code, refused) = call(&server, "PATCH", &format!("{services}/a"), more).await;
    assert_eq!(code, 403);
    let why =
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
    assert!(refused["message"].as_str().is_some_and(|m| m.ends_with(why)), "{refused}");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    assert_eq!(call(&server, "POST", "/api/v1/namespaces/default/serviceaccounts", account).await.0, 201);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, refused) = call(&server, "POST", "/api/v1/namespaces/default/pods", pod).await;
    assert_eq!(code, 403);
    let why = "failed quota: q: must specify requests.cpu for: c";
    assert!(refused["message"].as_str().is_some_and(|m| m.ends_with(why)), "{refused}");
    stop(server, store).await;
}

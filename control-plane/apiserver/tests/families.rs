//! The address families of Services, on a cluster that has both and on one that has IPv4 alone; what is expected was asked of
//! another apiserver. And the ranges that addresses come from.

#[path = "served/calls.rs"]
mod calls;
mod served;

use apiserver::{Config, Server};
use calls::call;
use serde_json::{Map, Value, json};
use served::{start, start_with, stop};
use std::path::Path;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn dual(dir: &Path) -> Config {
    Config { second_service_cidr: Some("fd00:10:96::/112".parse().unwrap()), ..Config::on_loopback(dir) }
}

/// The fields that a step says, without those that it takes away.
fn with(spec: &Value, more: &Value) -> Value {
    let mut spec = spec.as_object().cloned().unwrap_or_default();
    spec.extend(more.as_object().cloned().unwrap_or_default());
    spec.retain(|_, value| !value.is_null());
    Value::Object(spec)
}

async fn take(server: &Server, step: &Value, now: &Value) -> (u16, Value) {
    let at = format!("{SERVICES}/it");
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it"}, "spec": spec});
    if let Some(create) = step.get("create") {
        let spec = with(&json!({"ports": [{"port": 80}], "selector": {"a": "b"}}), create);
        return call(server, "POST", SERVICES, service(spec)).await;
    }
    match step.get("put") {
        Some(put) => call(server, "PUT", &at, service(with(&now["spec"], put))).await,
        None => call(server, "PATCH", &at, json!({"spec": step["patch"]})).await,
    }
}

/// An address that nobody chose is shown as its family.
fn masked(text: &str, steps: &str) -> String {
    match text.parse::<std::net::IpAddr>() {
        Ok(ip) if !steps.contains(&format!("{text:?}")) => if ip.is_ipv4() { "v4" } else { "v6" }.to_owned(),
        _ => text.to_owned(),
    }
}

fn shown(code: u16, answer: &Value, now: &Value, steps: &str) -> Value {
    if code >= 400 {
        let mut why = answer["message"].as_str().unwrap_or_default().replace("Service \"it\" is invalid: ", "");
        for ip in now["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            why = why.replace(ip, &masked(ip, steps));
        }
        return json!({"refused": why});
    }
    let spec = &answer["spec"];
    let mut out = Map::new();
    for key in ["type", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let value = match &spec[key] {
            Value::Null => continue,
            Value::String(text) => json!(masked(text, steps)),
            Value::Array(list) => list.iter().map(|ip| json!(masked(ip.as_str().unwrap_or_default(), steps))).collect(),
            other => other.clone(),
        };
        out.insert(key.to_owned(), value);
    }
    Value::Object(out)
}

async fn check(config: Config, cluster: &str) {
    let cases: Vec<Value> = serde_json::from_str(include_str!("families/cases.json")).unwrap();
    let (server, store) = start_with(config).await;
    let mut wrong = Vec::new();
    for case in &cases {
        let steps = case["steps"].to_string();
        let (mut now, mut answers) = (Value::Null, Vec::new());
        for step in case["steps"].as_array().unwrap() {
            if step.get("create").is_none() && now.is_null() {
                break;
            }
            let (code, answer) = take(&server, step, &now).await;
            let before = now.clone();
            if code < 400 {
                now = answer.clone();
            }
            answers.push(shown(code, &answer, &before, &steps));
        }
        call(&server, "DELETE", &format!("{SERVICES}/it"), Value::Null).await;
        let expected = case.get(cluster).unwrap_or(&case["both"]);
        if *expected != json!(answers) {
            wrong.push(format!("{}\n  expected {expected}\n  answered {}", case["name"], json!(answers)));
        }
        let (_, left) = call(&server, "GET", ADDRESSES, Value::Null).await;
        let left = left["items"].as_array().map_or(0, Vec::len);
        assert_eq!(left, 1, "{} leaves addresses behind", case["name"]);
    }
    stop(server, store).await;
    assert!(wrong.is_empty(), "{} of {} on {cluster}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn services_of_a_cluster_of_both_families() {
    let dir = tempfile::tempdir().expect("a folder");
    check(dual(dir.path()), "both").await;
}

#[tokio::test]
async fn services_of_a_cluster_of_one_family() {
    let dir = tempfile::tempdir().expect("a folder");
    check(Config::on_loopback(dir.path()), "one").await;
}

async fn address(server: &Server, name: &str, spec: Value) -> Result<String, String> {
    let spec = with(&json!({"ports": [{"port": 80}]}), &spec);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
    let (code, made) = call(server, "POST", SERVICES, service).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if code == 201 { Ok(text(&made["spec"]["clusterIP"])) } else { Err(text(&made["message"])) }
}

async fn tell(server: &Server, range: &str, ready: &str) {
    let condition = json!({"type": "Ready", "status": ready, "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"conditions": [condition]}});
    assert_eq!(call(server, "PATCH", &format!("{RANGES}/{range}/status"), status).await.0, 200);
}

#[tokio::test]
async fn addresses_come_from_every_range_that_is_ready_and_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { service_cidr: "10.96.0.0/30".parse().unwrap(), ..Config::on_loopback(dir.path()) };
    let (server, store) = start_with(config).await;
    // One address is the Service kubernetes', one is left.
    assert_eq!(address(&server, "a", json!({})).await.as_deref(), Ok("10.96.0.2"));
    let full = address(&server, "b", json!({})).await.unwrap_err();
    assert!(full.contains("range is full"), "{full}");
    let outside = address(&server, "b", json!({"clusterIP": "10.99.0.5"})).await.unwrap_err();
    assert!(outside.ends_with("the provided network does not match the current range"), "{outside}");

    let more = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more",
        "finalizers": ["networking.k8s.io/service-cidr-finalizer"]}, "spec": {"cidrs": ["10.99.0.0/29"]}});
    assert_eq!(call(&server, "POST", RANGES, more).await.0, 201);
    tell(&server, "more", "False").await;
    assert!(address(&server, "b", json!({"clusterIP": "10.99.0.5"})).await.is_err(), "it is not ready");
    tell(&server, "more", "True").await;
    assert_eq!(address(&server, "b", json!({"clusterIP": "10.99.0.5"})).await.as_deref(), Ok("10.99.0.5"));
    let given = address(&server, "c", json!({})).await.unwrap();
    assert!(given.starts_with("10.99.0."), "{given}");

    assert_eq!(call(&server, "DELETE", &format!("{RANGES}/more"), Value::Null).await.0, 200);
    assert!(address(&server, "d", json!({})).await.is_err(), "it ends");
    let changed = json!({"spec": {"cidrs": ["10.98.0.0/29"]}});
    let (code, refused) = call(&server, "PATCH", &format!("{RANGES}/more"), changed).await;
    assert_eq!((code, refused["message"].as_str().is_some_and(|m| m.contains("field is immutable"))), (422, true));
    stop(server, store).await;
}

#[tokio::test]
async fn a_second_family_may_join_later() {
    let dir = tempfile::tempdir().expect("a folder");
    let (server, store) = start(dir.path()).await;
    stop(server, store).await;
    let (server, store) = start_with(dual(dir.path())).await;
    let (_, range) = call(&server, "GET", &format!("{RANGES}/kubernetes"), Value::Null).await;
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/16", "fd00:10:96::/112"]));
    let both = address(&server, "a", json!({"ipFamilyPolicy": "RequireDualStack"})).await;
    assert!(both.is_ok(), "{both:?}");
    stop(server, store).await;
    // Claims of both families are known again.
    let (server, store) = start_with(dual(dir.path())).await;
    let (_, list) = call(&server, "GET", ADDRESSES, Value::Null).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(3));
    stop(server, store).await;
}

//! What the server answers beside plain objects: health, metrics, the issuer, and the subresources that decide something.
//! `surface/cases.json` is run from its begin to its end: what a case does is there for the next.

mod served;

use apiserver::{Body, InternalUser, Server};
use futures::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use served::{start, stop};
use tower::ServiceExt;

const CASES: &str = include_str!("surface/cases.json");
const PODS: &str = "/api/v1/namespaces/t/pods";

async fn ask(server: &Server, method: &str, path: &str, kind: &str, body: String) -> Response<Body> {
    accepting(server, method, path, kind, "application/json", body).await
}

async fn accepting(
    server: &Server,
    method: &str,
    path: &str,
    kind: &str,
    accept: &str,
    body: String,
) -> Response<Body> {
    let request = Request::builder().method(method).uri(path.replacen("PODS", PODS, 1));
    let request = request.header("content-type", kind).header("accept", accept);
    let request = request.body(Body::from(body)).expect("a request");
    let Ok(response) = server.in_process(InternalUser::Admin).oneshot(request).await;
    response
}

async fn text(response: Response<Body>) -> (u16, HeaderMap, String) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned())
}

/// The version of the object that the case is about.
async fn version(server: &Server, path: &str) -> String {
    let (_, _, object) = text(ask(server, "GET", path, "", String::new()).await).await;
    let object: Value = serde_json::from_str(&object).expect("an object");
    object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

async fn answer(server: &Server, case: &Value) -> (u16, HeaderMap, String) {
    let method = case["method"].as_str().unwrap_or("GET");
    let usual = if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
    let kind = case["type"].as_str().filter(|_| method == "PATCH").unwrap_or(usual);
    let mut body = if case["body"].is_null() { String::new() } else { case["body"].to_string() };
    if let Some(path) = case["of"].as_str() {
        body = body.replace("VERSION", &version(server, path).await);
    }
    let (path, accept) = (case["path"].as_str().expect("a path"), case["accept"].as_str().unwrap_or("*/*"));
    text(accepting(server, method, path, kind, accept, body).await).await
}

/// What does not agree with the case.
fn wrong(case: &Value, code: u16, headers: &HeaderMap, body: &str) -> Option<String> {
    let list = |key: &str| case[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let status: Value = serde_json::from_str(body).unwrap_or_default();
    let kind = case["type"].as_str().filter(|_| case["method"].is_null()).unwrap_or("");
    let told = format!("{} {}", header("warning"), header("retry-after"));
    let why = if case["code"] != code {
        Some("another code".to_owned())
    } else if let Some(missing) = list("says").find(|part| !body.contains(part)) {
        Some(format!("it does not say {missing}"))
    } else if let Some(there) = list("never").find(|part| body.contains(part)) {
        Some(format!("it says {there}"))
    } else if case["is"].as_str().is_some_and(|whole| whole != body) {
        Some("another body".to_owned())
    } else if !status["message"].as_str().unwrap_or("").contains(case["message"].as_str().unwrap_or("")) {
        Some("another message".to_owned())
    } else if !header("content-type").starts_with(kind) || !told.contains(case["header"].as_str().unwrap_or("")) {
        Some("other headers".to_owned())
    } else {
        None
    };
    why.map(|why| format!("{}: {why}: {code} {headers:?} {body}", case["what"]))
}

#[tokio::test]
async fn the_surface_answers_as_upstreams() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    server.add_metrics(|| "from_elsewhere 1\n".to_owned());
    // A watch that stays open, with its first event read.
    let watch = ask(&server, "GET", "/api/v1/namespaces/t/configmaps?watch=1", "", String::new()).await;
    let mut events = watch.into_body().into_data_stream();
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases");
    let (last, others) = cases.split_last().expect("the last is of metrics");
    let mut found = Vec::new();
    for case in others {
        let (code, headers, body) = answer(&server, case).await;
        found.extend(wrong(case, code, &headers, &body));
    }
    let made = json!({"metadata": {"name": "watched"}}).to_string();
    let made = ask(&server, "POST", "/api/v1/namespaces/t/configmaps", "application/json", made).await;
    assert_eq!(made.status(), 201);
    assert!(events.next().await.is_some_and(|event| event.is_ok()));
    let (code, headers, body) = answer(&server, last).await;
    found.extend(wrong(last, code, &headers, &body));
    drop(events);
    stop(server, store).await;
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), cases.len(), found.join("\n"));
}

//! What a client gets wrong is answered by a Status that says so, and changes nothing: `errors/cases.json`.

mod served;

use apiserver::{Body, InternalUser, Server};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use served::{start, stop};
use tower::ServiceExt;

const CASES: &str = include_str!("errors/cases.json");
const CONFIGMAPS: &str = "/api/v1/namespaces/t/configmaps";

/// The case's body: text, text many times over, or bytes in hexadecimal.
fn body(case: &Value) -> Vec<u8> {
    if let Some(text) = case["body"].as_str() {
        return text.into();
    }
    if let Some([text, times]) = case["repeat"].as_array().map(Vec::as_slice) {
        let times = usize::try_from(times.as_u64().expect("a number")).expect("a length");
        return text.as_str().expect("text").repeat(times).into();
    }
    let hex = case["hex"].as_str().unwrap_or("");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal")).collect()
}

async fn answer(server: &Server, case: &Value) -> (u16, Value) {
    let path = case["path"].as_str().expect("a path").replacen("CONFIGMAPS", CONFIGMAPS, 1);
    let mut request = Request::builder().method(case["method"].as_str().expect("a method")).uri(path);
    request = request.header("content-type", case["type"].as_str().unwrap_or("application/json"));
    if let Some(accept) = case["accept"].as_str() {
        request = request.header("accept", accept);
    }
    let request = request.body(Body::from(body(case))).expect("a request");
    let response = match server.in_process(InternalUser::Admin).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    // What is no Status is text: of paths that no API is at.
    let text = || json!(String::from_utf8_lossy(&bytes));
    (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
}

/// What does not agree with the case.
fn wrong(case: &Value, code: u16, status: &Value) -> Option<String> {
    let causes: Vec<&str> =
        status["details"]["causes"].as_array().into_iter().flatten().filter_map(|c| c["field"].as_str()).collect();
    let fields = case["causes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let good = case["code"] == code
        && (case["reason"].is_null() || status["reason"] == case["reason"])
        && status["message"].as_str().unwrap_or("").contains(case["message"].as_str().unwrap_or(""))
        && fields.into_iter().all(|f| causes.contains(&f))
        && case["text"].as_str().is_none_or(|text| status.as_str().is_some_and(|s| s.trim() == text))
        && case["lacks"].as_str().is_none_or(|text| !status.to_string().contains(text))
        && (code < 300 || status.is_string() || status["code"] == code);
    (!good).then(|| format!("{}: {code} {status}", case["what"]))
}

#[tokio::test]
async fn mistakes_are_answered_and_change_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    let made = [
        json!({"method": "POST", "path": "/api/v1/namespaces", "body": json!({"metadata": {"name": "t"}}).to_string()}),
        json!({"method": "POST", "path": "/api/v1/namespaces/t/serviceaccounts", "body": json!({"metadata": {"name": "default"}}).to_string()}),
        json!({"method": "POST", "path": "CONFIGMAPS", "body": json!({"metadata": {"name": "there"}, "data": {"a": "1"}}).to_string()}),
    ];
    for case in made {
        let (code, status) = answer(&server, &case).await;
        assert_eq!(code, 201, "{status}");
    }
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases");
    let mut found = Vec::new();
    for case in &cases {
        let (code, status) = answer(&server, case).await;
        found.extend(wrong(case, code, &status));
    }
    stop(server, store).await;
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), cases.len(), found.join("\n"));
}

//! Requests one after the other, and what of each answer must hold. `lists/cases.json`: lists, watches and deletes of
//! collections. `lists/versions.json`: objects of a custom kind whose storage version changes.
//!
//! A case says the code, a part of the message, the names of the items, how many are behind them, the events of a watch,
//! what stands where (`has`, by JSON pointer; null for nothing). `save` keeps the answer's resourceVersion or continue
//! token under a name that later requests use (`{name}`); `compact` forgets the store's past.

mod served;

use apiserver::{Body, InternalUser, Server};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use served::{start, stop};
use std::collections::BTreeMap;
use tower::ServiceExt;

const LISTS: &str = include_str!("lists/cases.json");
const VERSIONS: &str = include_str!("lists/versions.json");

struct Run {
    server: Server,
    store: store::Store,
    saved: BTreeMap<String, String>,
}

impl Run {
    fn filled(&self, text: &str) -> String {
        self.saved.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    async fn ask(&self, case: &Value) -> (u16, String) {
        let path = self.filled(case["path"].as_str().expect("a path"));
        let mut request = Request::builder().method(case["method"].as_str().unwrap_or("GET")).uri(path);
        request = request.header("content-type", case["type"].as_str().unwrap_or("application/json"));
        let body = case.get("body").map(|b| self.filled(&b.to_string())).unwrap_or_default();
        let request = request.body(Body::from(body.into_bytes())).expect("a request");
        let response = match self.server.in_process(InternalUser::Admin).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (code, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What of the answer does not agree with the case.
    async fn step(&mut self, case: &Value) -> Option<String> {
        if case.get("compact").is_some() {
            let newest = self.store.revision();
            self.store.compact(newest).await.expect("the past is forgotten");
            return None;
        }
        let (code, text) = self.ask(case).await;
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let answer = lines.first().cloned().unwrap_or(Value::Null);
        let found = json!({
            "code": code,
            "message": answer["message"],
            "names": names(&answer),
            "remaining": answer["metadata"]["remainingItemCount"],
            "continues": answer["metadata"]["continue"].as_str().is_some_and(|t| !t.is_empty()),
            "retry": answer["details"]["retryAfterSeconds"],
            "causes": answer["details"]["causes"].as_array().map(|c| c.iter().map(|c| c["reason"].clone()).collect::<Vec<_>>()),
            "events": lines.iter().map(event).collect::<Vec<_>>(),
        });
        for (name, what) in case["save"].as_object().into_iter().flatten() {
            let value = what.as_str().and_then(|what| answer["metadata"][what].as_str());
            self.saved.insert(name.clone(), value.unwrap_or_default().to_owned());
        }
        let asked = ["code", "names", "remaining", "continues", "retry", "causes", "events"];
        let wrong = asked.iter().any(|key| case.get(key).is_some_and(|wanted| *wanted != found[key]));
        let wrong = wrong || !found["message"].as_str().unwrap_or("").contains(case["message"].as_str().unwrap_or(""));
        let has = case["has"].as_object().into_iter().flatten();
        let wrong = wrong || has.into_iter().any(|(at, wanted)| answer.pointer(at).unwrap_or(&Value::Null) != wanted);
        let wrong = wrong || (case.get("code").is_none() && !(200..300).contains(&code));
        wrong.then(|| format!("{} {}:\n   {found}\n   {text}", case["method"].as_str().unwrap_or("GET"), case["path"]))
    }
}

fn names(list: &Value) -> Value {
    list["items"].as_array().map(|items| items.iter().map(|i| i["metadata"]["name"].clone()).collect::<Vec<_>>()).into()
}

/// `ADDED name`, `BOOKMARK`, `ERROR code`.
fn event(line: &Value) -> String {
    let (name, object) = (line["type"].as_str().unwrap_or(""), &line["object"]);
    match name {
        "ERROR" => format!("ERROR {} {}", object["code"], object["reason"].as_str().unwrap_or("")),
        "BOOKMARK" if object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true" => "END".into(),
        "BOOKMARK" => name.into(),
        _ => format!("{name} {}", object["metadata"]["name"].as_str().unwrap_or("")),
    }
}

async fn hold(cases: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    let cases: Vec<Value> = serde_json::from_str(cases).expect("cases");
    let mut run = Run { server, store, saved: BTreeMap::new() };
    let mut wrong = Vec::new();
    for case in &cases {
        wrong.extend(run.step(case).await);
    }
    let Run { server, store, .. } = run;
    stop(server, store).await;
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn collections_are_listed_watched_and_deleted() {
    hold(LISTS).await;
}

#[tokio::test]
async fn objects_have_the_defaults_of_the_version_they_are_stored_in() {
    hold(VERSIONS).await;
}

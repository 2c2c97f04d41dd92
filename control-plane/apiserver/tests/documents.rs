//! OpenAPI documents: under the hash of their content, whole in themselves, and with custom kinds as soon as they are
//! there.

mod served;

use apiserver::{Body, InternalUser, Server};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use served::{start, stop};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tower::ServiceExt;

struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = request.body(Body::from(body.into_bytes())).expect("a request");
    let response = match server.in_process(InternalUser::Admin).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { code: parts.status.as_u16(), headers: parts.headers, body }
}

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(server, "GET", path, headers, &Value::Null).await
}

async fn paths(server: &Server) -> Vec<(String, String)> {
    let index = get(server, "/openapi/v3", &[]).await;
    let paths = index.body["paths"].as_object().expect("paths").clone();
    paths.into_iter().map(|(path, at)| (path, at["serverRelativeURL"].as_str().expect("a place").to_owned())).collect()
}

/// What kubectl could not explain: references that lead nowhere, values of which nothing is said.
fn holes(document: &Value, at: &Value, path: &str, out: &mut Vec<String>) {
    match at {
        Value::Object(map) => {
            if let Some(to) = map.get("$ref").and_then(Value::as_str) {
                let name = to.rsplit('/').next().unwrap_or("");
                if document["components"]["schemas"][name].is_null() {
                    out.push(format!("{path}: {to} leads nowhere"));
                }
            }
            for (key, below) in map {
                let schemas = matches!(key.as_str(), "properties" | "schemas");
                if schemas {
                    let empty = below.as_object().into_iter().flatten().filter(|(_, s)| **s == json!({}));
                    out.extend(empty.map(|(name, _)| format!("{path}: nothing is said of {name}")));
                }
                if matches!(key.as_str(), "items" | "additionalProperties") && *below == json!({}) {
                    out.push(format!("{path}: nothing is said of {key}"));
                }
                holes(document, below, &format!("{path}/{key}"), out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| holes(document, item, path, out)),
        _ => {}
    }
}

/// Types without a text of their own, and fields; upstream leaves those of JSONSchemaProps and its kin untold.
fn untold(document: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let told = |of: &Value| of["description"].as_str().is_some_and(|text| !text.is_empty());
        if !name.starts_with("io.k8s.api.") {
            continue;
        }
        if !told(schema) {
            out.push(name.clone());
        }
        let fields = schema["properties"].as_object().into_iter().flatten();
        // A field without a text of its own shows that of its type.
        out.extend(
            fields
                .filter(|(_, field)| !told(field) && field["allOf"].is_null())
                .map(|(field, _)| format!("{name}.{field}")),
        );
    }
    out
}

/// The operations of a document that are not whole: without answers, with names used twice, with parts of their paths
/// that nobody explains.
fn unfinished(document: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let list = |of: &Value| of["parameters"].as_array().cloned().unwrap_or_default();
        for (method, of) in item.as_object().expect("an object").iter().filter(|(key, _)| *key != "parameters") {
            let parameters = [list(item), list(of)].concat();
            let told: BTreeSet<&str> =
                parameters.iter().filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect();
            let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
            let answers = of["responses"].as_object().expect("answers");
            let whole = told == named
                && ids.insert(of["operationId"].as_str().expect("an id").to_owned())
                && of["tags"].is_array()
                && answers.contains_key("401")
                && answers["200"]["content"].as_object().is_some_and(|content| !content.is_empty())
                && (!matches!(&**method, "put" | "patch")
                    || of["requestBody"]["required"] == true
                    || of["x-kubernetes-action"] == "connect");
            if !whole {
                out.push(format!("{method} {path}: {of}"));
            }
        }
    }
    out
}

/// What discovery says is served and no operation tells of.
async fn untold_verbs(server: &Server, root: &str, document: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for resource in get(server, root, &[]).await.body["resources"].as_array().into_iter().flatten() {
        let (plural, sub) = match resource["name"].as_str().expect("a name").split_once('/') {
            Some((plural, sub)) => (plural, format!("/{sub}")),
            None => (resource["name"].as_str().expect("a name"), String::new()),
        };
        let within = if resource["namespaced"] == true {
            format!("namespaces/{{namespace}}/{plural}")
        } else {
            plural.to_owned()
        };
        for verb in resource["verbs"].as_array().expect("verbs").iter().filter_map(Value::as_str) {
            let one = format!("{root}/{within}/{{name}}{sub}");
            let (path, method) = match verb {
                "create" if sub.is_empty() => (format!("{root}/{within}"), "post"),
                "list" => (format!("{root}/{within}"), "get"),
                "deletecollection" => (format!("{root}/{within}"), "delete"),
                "watch" => (format!("{root}/watch/{within}/{{name}}"), "get"),
                "create" => (one, "post"),
                "update" => (one, "put"),
                verb => (one, verb),
            };
            // Of custom kinds upstream tells of no watches by their path.
            if document["paths"][&path][method].is_null() && !(verb == "watch" && root.contains("example.com")) {
                out.push(format!("{method} {path}"));
            }
            let everywhere = format!("{root}/{plural}");
            if verb == "list" && document["paths"][&everywhere]["get"].is_null() {
                out.push(everywhere);
            }
        }
    }
    out
}

#[tokio::test]
async fn documents_are_kept_by_their_hash() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    let all = paths(&server).await;
    assert!(all.len() > 40, "{all:?}");
    for (path, url) in &all {
        let found = get(&server, url, &[]).await;
        let tag = found.header(header::ETAG).to_owned();
        assert_eq!((found.code, url.contains(tag.trim_matches('"'))), (200, true), "{url}: {tag}");
        assert_eq!(found.header(header::CACHE_CONTROL), "public, immutable");
        assert!(found.header(header::EXPIRES).ends_with("GMT"));
        let again = get(&server, url, &[("if-none-match", &tag)]).await;
        assert_eq!((again.code, again.body), (304, Value::Null), "{url}");
        let old = get(&server, &format!("/openapi/v3/{path}?hash=ABC"), &[]).await;
        assert_eq!((old.code, old.header(header::LOCATION)), (301, url.as_str()));
        let plain = get(&server, &format!("/openapi/v3/{path}"), &[]).await;
        assert_eq!((plain.code, plain.header(header::CACHE_CONTROL)), (200, "no-cache, private"));
        let mut wrong = untold(&found.body);
        holes(&found.body, &found.body, "", &mut wrong);
        wrong.extend(unfinished(&found.body));
        if path.split('/').next_back().is_some_and(|last| last.starts_with('v') && path.starts_with("api")) {
            wrong.extend(untold_verbs(&server, &format!("/{path}"), &found.body).await);
        }
        assert!(wrong.is_empty(), "{path}: {}", wrong.join("\n"));
    }
    stop(server, store).await;
}

/// Long past what the slowest machine needs.
const AT_MOST: Duration = Duration::from_secs(60);

fn definition() -> Value {
    json!({
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList", "shortNames": ["bo"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                "type": "object", "description": "A boat.",
                "properties": {"spec": {"type": "object", "properties": {"sail": {"type": "string", "description": "How large."}}}},
            }}}],
        },
    })
}

/// What the controllers of definitions do.
async fn establish(server: &Server, path: &str, mut definition: Value) {
    definition["status"] = json!({
        "acceptedNames": definition["spec"]["names"], "storedVersions": ["v1"],
        "conditions": [
            {"type": "NamesAccepted", "status": "True", "reason": "a", "message": "a", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Established", "status": "True", "reason": "a", "message": "a", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ],
    });
    let done = ask(server, "PUT", &format!("{path}/boats.example.com/status"), &[], &definition).await;
    assert_eq!(done.code, 200, "{}", done.body);
}

#[tokio::test]
async fn custom_kinds_are_in_them_at_once() {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    let before = get(&server, "/openapi/v2", &[]).await;
    let made = ask(&server, "POST", DEFINITIONS, &[], &definition()).await;
    assert_eq!(made.code, 201, "{}", made.body);
    establish(&server, DEFINITIONS, made.body).await;
    let since = Instant::now();
    while get(&server, "/apis/example.com/v1/namespaces/default/boats", &[]).await.code != 200 {
        assert!(since.elapsed() < AT_MOST, "it is not served");
        tokio::task::yield_now().await;
    }
    let url = paths(&server).await.into_iter().find(|(path, _)| path == "apis/example.com/v1").expect("a document").1;
    let document = get(&server, &url, &[]).await.body;
    let boat = &document["components"]["schemas"]["com.example.v1.Boat"];
    assert_eq!(boat["properties"]["spec"]["properties"]["sail"]["description"], "How large.");
    let mut wrong = untold_verbs(&server, "/apis/example.com/v1", &document).await;
    wrong.extend(unfinished(&document));
    holes(&document, &document, "", &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let status = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/boats/{name}/status"]["put"];
    assert_eq!(status["operationId"], "replaceExampleComV1NamespacedBoatStatus");
    let sent = &status["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(sent["$ref"], "#/components/schemas/com.example.v1.Boat");
    let after = get(&server, "/openapi/v2", &[]).await;
    assert_ne!(before.header(header::ETAG), after.header(header::ETAG));
    assert!(after.body["definitions"]["com.example.v1.Boat"].is_object());
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let binary = get(&server, "/openapi/v2", &[("accept", PROTOBUF)]).await;
    assert_eq!(binary.header(header::CONTENT_TYPE), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let mut changed = get(&server, &format!("{DEFINITIONS}/boats.example.com"), &[]).await.body;
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = json!("A ship.");
    assert_eq!(ask(&server, "PUT", &format!("{DEFINITIONS}/boats.example.com"), &[], &changed).await.code, 200);
    let since = Instant::now();
    loop {
        let (_, now) = paths(&server).await.into_iter().find(|(p, _)| p == "apis/example.com/v1").expect("a document");
        if now != url {
            let moved = get(&server, &url, &[]).await;
            assert_eq!((moved.code, moved.header(header::LOCATION)), (301, now.as_str()));
            break;
        }
        assert!(since.elapsed() < AT_MOST, "the document stays as it was");
        tokio::task::yield_now().await;
    }
    stop(server, store).await;
}

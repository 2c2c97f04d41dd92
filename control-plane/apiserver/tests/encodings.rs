//! One object in every form that a client may ask for: protobuf says what JSON says, in objects, lists, metadata and
//! watches; what is accepted and what is refused is `encodings/cases.json`; large answers are compressed.

mod served;

use api::codec::{json, protobuf};
use api::{Object, Value};
use apiserver::{Body, InternalUser, Server};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use served::{start, stop};
use std::io::Read;
use tower::ServiceExt;

const CASES: &str = include_str!("encodings/cases.json");
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON: &str = "application/json";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn media(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).expect("a request");
    let response = match server.in_process(InternalUser::Admin).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes().to_vec();
    Answer { code: parts.status.as_u16(), headers: parts.headers, body }
}

async fn get(server: &Server, path: &str, accept: &str) -> Answer {
    ask(server, "GET", path, &[("accept", accept)], Vec::new()).await
}

async fn create(server: &Server, path: &str, object: &str) {
    let answer = ask(server, "POST", path, &[("content-type", JSON)], object.into()).await;
    assert_eq!(answer.code, 201, "{path}: {}", answer.text());
}

/// The table's name of an object's type.
fn type_of(object: &Object) -> String {
    let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
    let item = object.kind().strip_suffix("List").unwrap_or(object.kind());
    let package = group.split('.').next().unwrap_or("");
    match api::kinds::by_kind(group, version, item) {
        Some(kind) => format!("{}{}", kind.type_name, &object.kind()[item.len()..]),
        None if package.is_empty() => format!("{META}{}", object.kind()),
        None => format!("io.k8s.api.{package}.{version}.{}", object.kind()),
    }
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut left = bytes.len();
    while left > 0x7f {
        out.push(left as u8 & 0x7f | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out.extend_from_slice(bytes);
    out
}

fn message(object: &Object) -> Vec<u8> {
    let meta = |of: &Object, name: &str| {
        let empty = api::Map::new();
        let meta = protobuf::encode(&format!("{META}{name}"), of.meta().unwrap_or(&empty)).expect("it fits its type");
        field(1, &meta)
    };
    match object.kind() {
        "PartialObjectMetadata" => meta(object, "ObjectMeta"),
        "PartialObjectMetadataList" => {
            let items = object.0.get("items").expect("items").as_list().unwrap_or_default().iter();
            let items = items.map(|item| Object(item.as_map().expect("an object").clone()));
            let items = items.flat_map(|item| field(2, &meta(&item, "ObjectMeta")));
            meta(object, "ListMeta").into_iter().chain(items).collect()
        }
        _ => protobuf::encode(&type_of(object), &object.0).expect("it fits its type"),
    }
}

/// What the bytes of a JSON answer are in protobuf, with the envelope.
fn in_protobuf(text: &[u8]) -> Vec<u8> {
    let Value::Map(map) = json::decode(text).expect("JSON").value else { panic!("no object") };
    let object = Object(map);
    protobuf::wrap(object.api_version(), object.kind(), &message(&object))
}

async fn fill(server: &Server) {
    for (path, object) in [
        ("/api/v1/namespaces", r#"{"metadata":{"name":"t"}}"#),
        ("/api/v1/namespaces/t/configmaps", r#"{"metadata":{"name":"c","labels":{"a":""}},"data":{"k":""}}"#),
        ("/api/v1/namespaces/t/secrets", r#"{"metadata":{"name":"s"},"data":{"k":"AA=="}}"#),
        ("/api/v1/namespaces/t/serviceaccounts", r#"{"metadata":{"name":"a"}}"#),
        ("/api/v1/namespaces/t/services", r#"{"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}}"#),
        ("/apis/apps/v1/namespaces/t/deployments", DEPLOYMENT),
        (
            "/apis/batch/v1/namespaces/t/cronjobs",
            r#"{"metadata":{"name":"j"},"spec":{"schedule":"* * * * *","suspend":false,
                "jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}"#,
        ),
        (
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            r#"{"metadata":{"name":"ws.t.example"},"spec":{"group":"t.example","scope":"Namespaced","names":{"plural":"ws","kind":"W"},
                "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object",
                "properties":{"a":{"type":"integer","default":0,"minimum":0}}}}}]}}"#,
        ),
    ] {
        create(server, path, object).await;
    }
}

const DEPLOYMENT: &str = r#"{"metadata":{"name":"d"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},
    "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"E"}],
    "livenessProbe":{"httpGet":{"port":"http"}},"resources":{"limits":{"cpu":"0"}}}]}}}}"#;

const OBJECTS: &[&str] = &[
    "/api/v1/namespaces/t",
    "/api/v1/namespaces/t/configmaps/c",
    "/api/v1/namespaces/t/secrets/s",
    "/api/v1/namespaces/t/serviceaccounts/a",
    "/api/v1/namespaces/t/services/s",
    "/apis/apps/v1/namespaces/t/deployments/d",
    "/apis/apps/v1/namespaces/t/deployments/d/scale",
    "/apis/batch/v1/namespaces/t/cronjobs/j",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ws.t.example",
    "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/exempt",
    "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
    "/api/v1/namespaces/t/configmaps/nothing",
];

const LISTS: &[&str] = &[
    "/api/v1/namespaces",
    "/api/v1/configmaps?limit=1",
    "/api/v1/namespaces/t/services",
    "/api/v1/pods",
    "/apis/apps/v1/deployments",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/api/v1/componentstatuses",
];

async fn compare(server: &Server, path: &str, form: &str) {
    let json = get(server, path, &format!("{JSON}{form}")).await;
    let protobuf = get(server, path, &format!("{PROTOBUF}{form}")).await;
    if json.code >= 400 && !form.is_empty() {
        // An error is shown whole, which neither header takes.
        assert_eq!((json.media(), &json.body), (protobuf.media(), &protobuf.body), "{path}{form}");
        return;
    }
    assert_eq!((json.media(), protobuf.media()), (JSON, PROTOBUF), "{path}: {}", protobuf.text());
    assert_eq!(json.code, protobuf.code, "{path}");
    assert_eq!(protobuf.body, in_protobuf(&json.body), "{path}{form}: {}", json.text());
}

#[tokio::test]
async fn protobuf_says_what_json_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    fill(&server).await;
    for path in OBJECTS {
        compare(&server, path, "").await;
    }
    for path in LISTS {
        compare(&server, path, "").await;
    }
    for path in OBJECTS.iter().filter(|p| !p.ends_with("/scale")) {
        compare(&server, path, ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await;
    }
    for path in LISTS.iter().filter(|p| !p.ends_with("componentstatuses")) {
        compare(&server, path, ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
    }
    stop(server, store).await;
}

/// The frames of a watch in protobuf: each event's name and its object with the envelope.
fn frames(mut body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let (frame, next) = rest.split_at(u32::from_be_bytes(*length) as usize);
        let mut fields = Fields(frame).collect::<Vec<_>>();
        let (_, extension) = fields.pop().expect("an object");
        let (_, name) = fields.pop().expect("a type");
        let (_, object) = Fields(extension).next().expect("bytes");
        out.push((String::from_utf8(name.to_vec()).expect("text"), object.to_vec()));
        body = next;
    }
    assert!(body.is_empty(), "a frame ends too soon");
    out
}

/// The fields of a message that has nothing but bytes in it.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let (tag, mut rest) = self.0.split_first()?;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (bytes, after) = rest.split_at(length);
        self.0 = after;
        Some((tag >> 3, bytes))
    }
}

#[tokio::test]
async fn a_watch_in_protobuf_shows_the_same_events() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    fill(&server).await;
    for (query, form, least) in [
        ("configmaps?watch=1&timeoutSeconds=1&", "", 1),
        ("configmaps?watch=1&timeoutSeconds=1&", ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1", 1),
        ("configmaps?watch=1&timeoutSeconds=1&resourceVersion=1", "", 1),
        (
            "services?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            "",
            2,
        ),
    ] {
        let path = format!("/api/v1/namespaces/t/{query}");
        let json = get(&server, &path, &format!("{JSON};stream=watch{form}")).await;
        let protobuf = get(&server, &path, &format!("{PROTOBUF};stream=watch{form}")).await;
        assert_eq!((json.media(), protobuf.media()), (JSON, &*format!("{PROTOBUF};stream=watch")));
        let text = json.text();
        let events: Vec<(String, Vec<u8>)> = text
            .lines()
            .map(|line| {
                let event = json::decode(line.as_bytes()).expect("JSON").value;
                let name = event.get("type").and_then(Value::as_str).expect("a type").to_owned();
                (name, in_protobuf(&json::encode(event.get("object").expect("an object"))))
            })
            .collect();
        assert!(events.len() >= least, "{path}: {text}");
        assert_eq!(frames(&protobuf.body), events, "{path}: {text}");
    }
    stop(server, store).await;
}

/// The bytes of a case: text, hexadecimal digits, or a twin of the codec's tests as protobuf.
fn body(case: &serde_json::Value) -> Vec<u8> {
    let twins = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/tests/protobuf");
    let digits = match (case["hex"].as_str(), case["twin"].as_str()) {
        (Some(digits), _) => digits.to_owned(),
        (None, Some(twin)) => std::fs::read_to_string(twins.join(format!("{twin}.hex"))).expect("a twin"),
        (None, None) => return case["body"].as_str().unwrap_or("").into(),
    };
    let digits = digits.trim();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hexadecimal")).collect()
}

/// Does what the controller of definitions does, which does not run here.
const ESTABLISHED: &str = r#"{"status":{"acceptedNames":{"plural":"ws","singular":"w","kind":"W","listKind":"WList"},
    "conditions":[{"type":"Established","status":"True"},{"type":"NamesAccepted","status":"True"}],"storedVersions":["v1"]}}"#;

#[tokio::test]
async fn forms_are_chosen_and_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    fill(&server).await;
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ws.t.example/status";
    let headers = [("content-type", "application/merge-patch+json")];
    let answer = ask(&server, "PATCH", definition, &headers, ESTABLISHED.into()).await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let cases: Vec<serde_json::Value> = serde_json::from_str(CASES).expect("cases");
    let mut wrong = Vec::new();
    for case in &cases {
        let text = |key: &str| case[key].as_str();
        let headers: Vec<(&str, &str)> = [("accept", text("accept")), ("content-type", text("send"))]
            .iter()
            .filter_map(|(k, v)| v.map(|v| (*k, v)))
            .collect();
        let method = text("method").unwrap_or("GET");
        let answer = ask(&server, method, text("path").expect("a path"), &headers, body(case)).await;
        let shown = answer.text();
        // YAML breaks long texts at their spaces.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let good = case["code"] == answer.code
            && text("type").is_none_or(|t| t == answer.media())
            && text("says").is_none_or(|said| words(&shown).contains(&words(said)));
        if !good {
            wrong.push(format!("{}: {} {}: {shown}", case["what"], answer.code, answer.media()));
        }
    }
    stop(server, store).await;
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_ask() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    fill(&server).await;
    let large = format!(r#"{{"metadata":{{"name":"large"}},"data":{{"k":"{}"}}}}"#, "x".repeat(200_000));
    create(&server, "/api/v1/namespaces/t/configmaps", &large).await;
    let path = "/api/v1/namespaces/t/configmaps";
    for accept in
        [JSON, PROTOBUF, "application/yaml", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"]
    {
        let plain = get(&server, path, accept).await;
        let headers = [("accept", accept), ("accept-encoding", "deflate, gzip")];
        let small = ask(&server, "GET", path, &headers, Vec::new()).await;
        let encoding = small.headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok());
        assert!(plain.headers.get(header::CONTENT_ENCODING).is_none());
        if plain.body.len() < 100_000 {
            assert_eq!((encoding, small.body), (None, plain.body), "small answers stay as they are");
            continue;
        }
        assert_eq!((encoding, small.media()), (Some("gzip"), plain.media()));
        assert_eq!(small.headers.get(header::VARY).and_then(|v| v.to_str().ok()), Some("Accept-Encoding"));
        assert!(small.body.len() < plain.body.len() / 10);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&*small.body).read_to_end(&mut back).expect("gzip");
        assert!(back == plain.body, "{accept}");
    }
    stop(server, store).await;
}

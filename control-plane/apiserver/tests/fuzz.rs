//! Nothing that a request can say makes the server panic: paths, queries, headers, tokens and bodies, asked of a whole
//! server. `fuzz/fuzz_targets/request.rs` asks the same for longer.

mod served;

use apiserver::{Body, InProcess, InternalUser};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use http_body_util::BodyExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use served::{start, stop};
use std::time::Duration;
use tower::ServiceExt;

/// Long enough for any answer; a watch or a log that goes on is dropped then.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn from(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

/// Text that parsers care about.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9=!,.()<>~ /:;*+\"'%_-]{0,24}",
        "\\PC{0,12}",
        "-?[0-9]{0,22}",
        from(&[
            "",
            "0",
            "true",
            "All",
            "Exact",
            "NotOlderThan",
            "a in (b,c)",
            "!a",
            "metadata.name=a",
            "-1",
            "1e9",
            "Foreground"
        ])
        .prop_map(str::to_owned),
    ]
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A JSON document whose leaves are anything.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        text().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = from(&[
            "metadata",
            "name",
            "spec",
            "data",
            "op",
            "path",
            "value",
            "from",
            "labels",
            "template",
            "containers",
            "image",
            "f:spec",
            "managedFields",
            "fieldsV1",
            "$patch",
            "selector",
            "matchLabels",
            "schedule",
            "v",
            "rv",
            "start",
            "kind",
            "apiVersion",
            "ports",
            "replicas",
            "resources",
            "limits",
            "cpu",
            "preconditions",
            "dryRun",
            "gracePeriodSeconds",
            "finalizers",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

/// Tokens that go on with a list: good ones with anything in them, and none at all.
fn continue_token() -> impl Strategy<Value = String> {
    prop_oneof![
        text(),
        document().prop_map(|d| URL_SAFE_NO_PAD.encode(d.to_string())),
        (any::<i64>(), text()).prop_map(|(rv, start)| {
            URL_SAFE_NO_PAD.encode(serde_json::json!({"v": "meta.k8s.io/v1", "rv": rv, "start": start}).to_string())
        }),
    ]
}

fn bearer() -> impl Strategy<Value = String> {
    let part = || prop_oneof![text(), document().prop_map(|d| URL_SAFE_NO_PAD.encode(d.to_string()))];
    prop_oneof![
        text(),
        (part(), part(), part()).prop_map(|(a, b, c)| format!("{a}.{b}.{c}")),
        "[a-z0-9]{6}\\.[a-z0-9]{16}"
    ]
}

fn target() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        4 => from(&[
            "/api/v1/namespaces/t/configmaps", "/api/v1/namespaces/t/configmaps/there", "/api/v1/namespaces/t/pods",
            "/apis/apps/v1/namespaces/t/deployments", "/apis/batch/v1/namespaces/t/cronjobs", "/api/v1/nodes",
            "/apis/apps/v1/namespaces/t/deployments/d/scale", "/api/v1/namespaces/t/pods/p/eviction", "/api/v1/events",
            "/api/v1/namespaces/t/serviceaccounts/a/token", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            "/openapi/v2", "/openapi/v3/apis/apps/v1", "/api", "/apis", "/apis/apps/v1", "/readyz", "/metrics",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews", "/api/v1/namespaces/t/pods/p/log",
            "/api/v1/namespaces/t/services/s/proxy/x", "/api/v1/namespaces/t/pods/p/exec", "/api/v1/namespaces/t/finalize",
        ]).prop_map(str::to_owned),
        1 => prop::collection::vec(prop_oneof![text(), from(&["api", "apis", "v1", "namespaces", "t", "pods"]).prop_map(str::to_owned)], 0..8)
            .prop_map(|parts| parts.iter().map(|p| format!("/{}", percent(p))).collect::<String>() + "/"),
    ];
    let parameter = prop_oneof![
        continue_token().prop_map(|token| ("continue", token)),
        (
            from(&[
                "labelSelector",
                "fieldSelector",
                "limit",
                "resourceVersion",
                "resourceVersionMatch",
                "timeoutSeconds",
                "dryRun",
                "fieldManager",
                "fieldValidation",
                "force",
                "pretty",
                "gracePeriodSeconds",
                "propagationPolicy",
                "orphanDependents",
                "sendInitialEvents",
                "allowWatchBookmarks",
                "includeObject",
                "command",
                "container",
                "tailLines",
                "sinceTime",
                "stdin",
            ]),
            text()
        ),
    ];
    (path, prop::collection::vec(parameter, 0..4)).prop_map(|(path, query)| {
        let query: Vec<String> = query.iter().map(|(k, v)| format!("{k}={}", percent(v))).collect();
        format!("{path}?{}", query.join("&"))
    })
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let accept = prop_oneof![
        text(),
        (from(&["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "*/*"]), text(), text())
            .prop_map(|(media, a, b)| format!("{media};as={a};g=meta.k8s.io;v={b};q=0.{b}")),
    ];
    let of_body = from(&[
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ]);
    let other = (
        from(&[
            "impersonate-user",
            "impersonate-group",
            "impersonate-extra-a%2fb",
            "accept-encoding",
            "user-agent",
            "if-none-match",
            "upgrade",
            "sec-websocket-protocol",
            "connection",
            "x-stream-protocol-version",
            "content-encoding",
        ]),
        text(),
    );
    (accept, of_body, prop::collection::vec(other, 0..2)).prop_map(|(accept, of_body, mut all)| {
        all.push(("accept", accept));
        all.push(("content-type", of_body.to_owned()));
        all
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        document().prop_map(|d| d.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| [b"k8s\0".as_slice(), &bytes].concat()),
        text().prop_map(String::into_bytes),
    ]
}

fn any_request() -> impl Strategy<Value = Asked> {
    let method = from(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"]);
    (method, target(), headers(), body()).prop_map(|(method, target, headers, body)| Asked {
        method,
        target,
        headers,
        body,
    })
}

fn post(path: &str, body: &serde_json::Value) -> Asked {
    let headers = vec![("content-type", "application/json".to_owned())];
    Asked { method: "POST", target: path.to_owned(), headers, body: body.to_string().into_bytes() }
}

/// Texts in objects that have parsers of their own.
fn any_parsed() -> impl Strategy<Value = Asked> {
    let request = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(framed, bytes)| {
        let inside = STANDARD.encode(&bytes);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{inside}\n-----END CERTIFICATE REQUEST-----\n");
        let request = if framed { STANDARD.encode(pem) } else { inside };
        post(
            "/apis/certificates.k8s.io/v1/certificatesigningrequests?dryRun=All",
            &serde_json::json!({"metadata": {"name": "c"},
            "spec": {"request": request, "signerName": "kubernetes.io/kubelet-serving", "usages": ["server auth"]}}),
        )
    });
    let token = bearer().prop_map(|token| {
        post(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            &serde_json::json!({"spec": {"token": token, "audiences": ["a"]}}),
        )
    });
    let schedule = prop_oneof!["[0-9*/,@A-Z? -]{0,24}", text()].prop_map(|schedule| {
        post(
            "/apis/batch/v1/namespaces/t/cronjobs?dryRun=All",
            &serde_json::json!({"metadata": {"name": "j"}, "spec": {
            "schedule": schedule, "timeZone": schedule, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": schedule}]}}}}}}),
        )
    });
    let quantity = prop_oneof!["[-+0-9.eEnumkKMGTPi]{0,24}", text()].prop_map(|q| {
        post(
            "/api/v1/namespaces/t/pods?dryRun=All",
            &serde_json::json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"limits": {"cpu": q, "memory": q}, "requests": {"cpu": q}}}]}}),
        )
    });
    let rule = prop_oneof!["[a-z0-9.()\\[\\]{}?:+'\"&|!=<>, -]{0,40}", text()].prop_map(|rule| {
        post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", &serde_json::json!({
            "metadata": {"name": "ws.t.example"}, "spec": {"group": "t.example", "scope": "Cluster", "names": {"plural": "ws", "kind": "W"},
            "versions": [{"name": "v1", "served": true, "storage": true, "additionalPrinterColumns": [{"name": "a", "type": "string", "jsonPath": rule}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": rule, "format": rule}},
            "x-kubernetes-validations": [{"rule": rule, "messageExpression": rule, "fieldPath": rule}]}}}]}}))
    });
    prop_oneof![token, request, schedule, quantity, rule]
}

/// Whether the answer is one of a server that knows what it does; what it said where not.
async fn answered(server: InProcess, asked: Asked) -> Result<(), String> {
    let mut request = Request::builder().method(asked.method).uri(&asked.target);
    for (name, value) in &asked.headers {
        request = request.header(*name, value);
    }
    // What is no request at all does not reach the server.
    let Ok(request) = request.body(Body::from(asked.body)) else { return Ok(()) };
    let answer = async {
        let response = match server.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let code = response.status().as_u16();
        if code != 500 {
            return Ok(());
        }
        let bytes = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains("caused apiserver to panic") { Err(text) } else { Ok(()) }
    };
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| "no answer".to_owned())?
}

fn ask_many(cases: u32, asked: impl Strategy<Value = Asked>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = runtime.block_on(start(dir.path()));
    for (path, object) in [
        ("/api/v1/namespaces", serde_json::json!({"metadata": {"name": "t"}})),
        ("/api/v1/namespaces/t/configmaps", serde_json::json!({"metadata": {"name": "there"}, "data": {"a": "1"}})),
    ] {
        runtime.block_on(answered(server.in_process(InternalUser::Admin), post(path, &object))).expect("an answer");
    }
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&asked, |asked| {
        let answer = runtime.block_on(answered(server.in_process(InternalUser::Admin), asked));
        answer.map_err(TestCaseError::fail)
    });
    runtime.block_on(stop(server, store));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn any_request_is_answered() {
    ask_many(1000, any_request());
}

#[test]
fn any_text_with_a_parser_of_its_own_is_answered() {
    ask_many(300, any_parsed());
}

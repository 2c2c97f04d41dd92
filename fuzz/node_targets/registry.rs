//! Requests to the registry of the node's images: each is answered, and what is not the digest that it says is not kept.
#![no_main]

use bytes::Bytes;
use cri::images::{Store, registry};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

/// Ways in that bytes alone seldom find; the fuzzer's text comes in the place of `*`.
const PATHS: [&str; 7] = [
    "/v2/*",
    "/v2/a/manifests/*",
    "/v2/*/manifests/latest",
    "/v2/a/blobs/*",
    "/v2/a/blobs/uploads/*",
    "/v2/a/blobs/uploads/?digest=*",
    "/*",
];
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "PATCH"];

fn request(bytes: &[u8]) -> Option<http::Request<Full<Bytes>>> {
    let (choice, rest) = bytes.split_first()?;
    let (word, body) = rest.split_at(rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()));
    let word: String = word.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '-' }).collect();
    let choice = usize::from(*choice);
    let path = PATHS[choice % PATHS.len()].replace('*', &word);
    let request = http::Request::builder().method(METHODS[choice / PATHS.len() % METHODS.len()]).uri(path);
    request.body(Full::new(Bytes::copy_from_slice(body))).ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(request) = request(bytes) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path().join("store")).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let answer = registry::router(store.clone()).oneshot(request).await.expect("the router never fails");
        assert!(!answer.status().is_server_error(), "{}", answer.status());
        assert!(answer.into_body().collect().await.is_ok());
    });
    let beside = std::fs::read_dir(dir.path()).expect("the directory").count();
    assert_eq!(beside, 1, "something was written beside the store");
});

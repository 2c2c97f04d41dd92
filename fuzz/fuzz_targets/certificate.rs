//! Requests for certificates, as bytes in their PEM and as anything in its place: taken or refused, never an error of the
//! server's own.
#![no_main]

#[path = "../server.rs"]
mod server;

use apiserver::{Body, InternalUser};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use server::{Running, SERVER};
use tower::ServiceExt;

fn asked(request: &[u8]) -> Option<http::Request<Body>> {
    let object = serde_json::json!({
        "metadata": {"name": "a"},
        "spec": {
            "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
            "request": STANDARD.encode(request),
        },
    });
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests?dryRun=All";
    let request = http::Request::post(path).header("content-type", "application/json");
    request.body(Body::from(object.to_string())).ok()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Running { runtime, server, .. } = &*SERVER;
    let pem =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", STANDARD.encode(bytes));
    for request in [bytes, pem.as_bytes()] {
        let Some(request) = asked(request) else { continue };
        let Ok(response) = runtime.block_on(server.in_process(InternalUser::Admin).oneshot(request));
        // A right one is a hundred bytes and more, signed, that nobody guesses.
        assert!(response.status() == 422 || bytes.len() > 100, "{}", response.status());
    }
});

//! Credentials that a stranger shows: as a bearer token, and as the protocol of a WebSocket. None of them is believed, and
//! none ends the process.
#![no_main]

#[path = "../server.rs"]
mod server;

use apiserver::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use server::{Running, SERVER};
use tower::ServiceExt;

/// The headers that carry these bytes: as they are, and decoded by the server.
fn headers(token: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let protocol = |text: &[u8]| [b"a, base64url.bearer.authorization.k8s.io.", text].concat();
    vec![
        ("authorization", token.to_vec()),
        ("authorization", [b"Bearer ", token].concat()),
        ("sec-websocket-protocol", protocol(token)),
        ("sec-websocket-protocol", protocol(URL_SAFE_NO_PAD.encode(token).as_bytes())),
    ]
}

libfuzzer_sys::fuzz_target!(|token: &[u8]| {
    let Running { runtime, server, .. } = &*SERVER;
    for (name, value) in headers(token) {
        let Ok(request) = http::Request::get("/api/v1/pods").header(name, value).body(Body::empty()) else { continue };
        let answer = server.to_strangers().oneshot(request);
        let Ok(response) = runtime.block_on(answer);
        assert!(matches!(response.status().as_u16(), 401 | 403), "{name}: {}", response.status());
    }
});

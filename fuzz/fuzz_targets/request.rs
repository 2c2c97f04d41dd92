//! Whole requests, asked of a server in this process: `METHOD target`, lines of headers, an empty line, a body. Paths,
//! queries, selectors, continue tokens, media types, impersonation, patches, tokens in reviews: all that is read before
//! and after the body's decoders.
#![no_main]

#[path = "../server.rs"]
mod server;

use apiserver::{Body, InternalUser};
use http_body_util::BodyExt;
use std::time::Duration;
use server::{Running, SERVER};
use tower::ServiceExt;

/// Watches and logs go on; they are dropped then.
const PATIENCE: Duration = Duration::from_millis(500);

/// The request in a text; `None` for what is no HTTP.
fn request(input: &[u8]) -> Option<http::Request<Body>> {
    let end = input.windows(2).position(|w| w == b"\n\n")?;
    let (head, body) = (std::str::from_utf8(&input[..end]).ok()?, &input[end + 2..]);
    let (first, headers) = head.split_once('\n').unwrap_or((head, ""));
    let (method, target) = first.split_once(' ')?;
    let mut request = http::Request::builder().method(method).uri(target);
    for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some(request) = request(input) else { return };
    let Running { runtime, server, .. } = &*SERVER;
    let answer = async {
        let Ok(response) = server.in_process(InternalUser::Admin).oneshot(request).await;
        if response.status().as_u16() == 500
            && let Ok(body) = response.into_body().collect().await
        {
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            assert!(!text.contains("caused apiserver to panic"), "{text}");
        }
    };
    drop(runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await }));
});

//! Requests split and answers changed, without a peer; with one they are in `outbound`.

use super::*;
use http_body_util::BodyExt;

fn links() -> Links {
    Links::new("/p", "10.0.0.1:80", "h")
}

#[test]
fn the_rest_of_the_path_stays_as_it_was_sent() {
    let cases = [
        ("/api/v1/namespaces/a/pods/p/proxy", ""),
        ("/api/v1/namespaces/a/pods/p/proxy/", "/"),
        ("/api/v1/namespaces/a/services/https:s:443/proxy/x%2Fy/z", "/x%2Fy/z"),
        ("/api/v1/nodes/n/proxy/metrics", "/metrics"),
    ];
    for (path, expected) in cases {
        let info = RequestInfo::parse(&Method::GET, path, "");
        assert_eq!(split(path, &info).map(|(_, rest)| rest), Some(expected), "{path}");
    }
}

#[test]
fn the_peer_is_told_who_asked() {
    for (before, after) in [(None, "192.0.2.1"), (Some("10.0.0.9"), "10.0.0.9, 192.0.2.1")] {
        let mut request = Request::get("/").body(Body::empty()).expect("a request");
        request.extensions_mut().insert(CameFrom(([192, 0, 2, 1], 5).into()));
        if let Some(before) = before {
            request.headers_mut().insert(FORWARDED_FOR, HeaderValue::from_static(before));
        }
        forwarded(&mut request, "/p/x");
        assert_eq!(request.headers()[FORWARDED_FOR], after);
        assert_eq!(request.headers()[FORWARDED_URI], "/p/x");
    }
}

async fn shown(response: Response<Body>) -> (HeaderMap, Vec<u8>) {
    let (parts, body) = linked(response, links(), false).into_parts();
    (parts.headers, body.collect().await.expect("a body").to_bytes().to_vec())
}

fn packed(encoding: &str, page: &[u8]) -> Vec<u8> {
    let best = flate2::Compression::best();
    match encoding {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), best);
            out.write_all(page).expect("packed");
            out.finish().expect("packed")
        }
        "deflate" => {
            let mut out = flate2::write::DeflateEncoder::new(Vec::new(), best);
            out.write_all(page).expect("packed");
            out.finish().expect("packed")
        }
        _ => page.to_vec(),
    }
}

#[tokio::test]
async fn pages_are_changed_and_other_bodies_are_not() {
    const PAGE: &[u8] = b"<a href=\"/x\">x</a>";
    const CHANGED: &[u8] = b"<a href=\"/p/x\">x</a>";
    for (kind, encoding, changes) in [
        ("text/html", "", true),
        ("text/html; charset=utf-8", "gzip", true),
        ("text/html", "deflate", true),
        ("text/html", "br", false),
        ("text/plain", "", false),
        ("application/xhtml+xml", "", false),
    ] {
        let sent = packed(encoding, PAGE);
        let mut response = Response::builder().header("content-type", kind).header("content-length", sent.len());
        if !encoding.is_empty() {
            response = response.header("content-encoding", encoding);
        }
        let (headers, got) = shown(response.body(Body::from(sent.clone())).expect("a response")).await;
        assert_eq!(got, if changes { CHANGED.to_vec() } else { sent }, "{kind} {encoding}");
        assert_eq!(headers.contains_key("content-length"), !changes, "{kind} {encoding}");
        assert_eq!(headers.contains_key("content-encoding"), !changes && !encoding.is_empty(), "{kind} {encoding}");
    }
}

#[tokio::test]
async fn redirects_stay_below_the_proxy() {
    for (to, expected) in
        [("/x", "/p/x"), ("http://10.0.0.1:80/x", "/p/x"), ("https://example.com/", "https://example.com/")]
    {
        let response =
            Response::builder().status(302).header("location", to).body(Body::from("gone")).expect("a response");
        let (headers, body) = shown(response).await;
        assert_eq!((headers["location"].to_str().expect("text"), body.as_slice()), (expected, &b"gone"[..]));
    }
}

//! The upgrade: what the client's headers ask for, what is agreed on, and the answer's headers. No IO.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use http_body_util::Full;
use stream::channel::UNNAMED;

const SPDY: &str = "SPDY/3.1";
/// SPDY clients name the protocols they speak inside it here, one a header or several.
const PROTOCOLS: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
/// RFC 6455, 1.3.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The protocols of an endpoint.
pub(super) struct Offer {
    pub spdy: &'static [&'static str],
    pub websocket: &'static [&'static str],
}

/// What both sides will speak.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    Spdy { protocol: &'static str },
    WebSocket { protocol: &'static str, accept: String },
}

/// An answer without an upgrade. The client shows the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub text: String,
    accepted: &'static [&'static str],
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Refusal {
        Refusal { status, text: text.into(), accepted: &[] }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.text + "\n")));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
        for protocol in self.accepted {
            headers.append(ACCEPTED, header::HeaderValue::from_static(protocol));
        }
        response
    }
}

/// Finds a protocol that both sides speak.
pub(super) fn agree(headers: &HeaderMap, offer: &Offer) -> Result<Agreed, Refusal> {
    let asks = |upgrade: &str| listed(headers, &header::UPGRADE).any(|u| u.eq_ignore_ascii_case(upgrade));
    let upgrades = listed(headers, &header::CONNECTION).any(|c| c.eq_ignore_ascii_case("upgrade"));
    if upgrades && asks("websocket") {
        return websocket(headers, offer);
    }
    if upgrades && asks(SPDY) {
        return spdy(headers, offer);
    }
    Err(Refusal::new(
        StatusCode::BAD_REQUEST,
        format!("unable to upgrade: the request asks for neither websocket nor {SPDY}"),
    ))
}

fn websocket(headers: &HeaderMap, offer: &Offer) -> Result<Agreed, Refusal> {
    let bad = |text: String| Refusal::new(StatusCode::BAD_REQUEST, format!("unable to upgrade: {text}"));
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(bad("only version 13 of WebSocket is spoken".to_owned()));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| bad("missing Sec-WebSocket-Key".to_owned()))?;
    let unnamed = || {
        let none = listed(headers, &header::SEC_WEBSOCKET_PROTOCOL).next().is_none();
        (none && offer.websocket.contains(&UNNAMED)).then_some(UNNAMED)
    };
    let protocol =
        common(headers, &header::SEC_WEBSOCKET_PROTOCOL, offer.websocket).or_else(unnamed).ok_or_else(|| {
            let asked: Vec<_> = listed(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
            bad(format!(
                "no common WebSocket protocol: client supports {asked:?}, server accepts {:?}",
                offer.websocket
            ))
        })?;
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(WEBSOCKET_GUID);
    Ok(Agreed::WebSocket { protocol, accept: STANDARD.encode(hash.finish()) })
}

fn spdy(headers: &HeaderMap, offer: &Offer) -> Result<Agreed, Refusal> {
    if !headers.contains_key(PROTOCOLS) {
        let text = "unable to upgrade: X-Stream-Protocol-Version header is required";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    }
    let Some(protocol) = common(headers, &PROTOCOLS, offer.spdy) else {
        let asked: Vec<_> = listed(headers, &PROTOCOLS).collect();
        return Err(Refusal {
            status: StatusCode::FORBIDDEN,
            text: format!(
                "unable to upgrade: unable to negotiate protocol: client supports {asked:?}, server accepts {:?}",
                offer.spdy
            ),
            accepted: offer.spdy,
        });
    };
    Ok(Agreed::Spdy { protocol })
}

/// The first of the client's, whose order is its preference, that we speak.
fn common(headers: &HeaderMap, name: &HeaderName, ours: &'static [&'static str]) -> Option<&'static str> {
    listed(headers, name).find_map(|theirs| ours.iter().find(|p| **p == theirs).copied())
}

fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim).filter(|v| !v.is_empty())
}

impl Agreed {
    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let response =
            Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header(header::CONNECTION, "Upgrade");
        let response = match self {
            Agreed::WebSocket { protocol, accept } if *protocol == UNNAMED => {
                response.header(header::UPGRADE, "websocket").header(header::SEC_WEBSOCKET_ACCEPT, accept)
            }
            Agreed::Spdy { protocol } => response.header(header::UPGRADE, SPDY).header(PROTOCOLS, *protocol),
            Agreed::WebSocket { protocol, accept } => response
                .header(header::UPGRADE, "websocket")
                .header(header::SEC_WEBSOCKET_ACCEPT, accept)
                .header(header::SEC_WEBSOCKET_PROTOCOL, *protocol),
        };
        response.body(Full::default()).expect("constants and base64 are header values")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Offer = Offer { spdy: &["v4"], websocket: &["v5", "v4"] };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut out = HeaderMap::new();
        pairs.iter().for_each(|(k, v)| {
            out.append(*k, header::HeaderValue::from_static(v));
        });
        out
    }

    #[test]
    fn what_clients_send_is_understood() {
        let kubectl = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let mut many = headers(&kubectl);
        ["v5", "v4", "v3"].iter().for_each(|v| {
            many.append(PROTOCOLS, header::HeaderValue::from_static(v));
        });
        assert_eq!(agree(&many, &OFFER), Ok(Agreed::Spdy { protocol: "v4" }));
        let mut one = headers(&kubectl);
        one.append(PROTOCOLS, header::HeaderValue::from_static("v9, v4"));
        assert_eq!(agree(&one, &OFFER), Ok(Agreed::Spdy { protocol: "v4" }));

        // The key and its answer are those of RFC 6455, 1.3.
        let socket = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v6, v5, v4"),
        ];
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        assert_eq!(agree(&headers(&socket), &OFFER), Ok(Agreed::WebSocket { protocol: "v5", accept }));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let spdy = [("connection", "upgrade"), ("upgrade", "SPDY/3.1")];
        let socket = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
        let key = ("sec-websocket-key", "x");
        for (headers, status, text) in [
            (headers(&[]), 400, "neither"),
            (headers(&[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4")]), 400, "neither"),
            (headers(&spdy), 400, "header is required"),
            (headers(&[spdy[0], spdy[1], ("x-stream-protocol-version", "v1")]), 403, "server accepts [\"v4\"]"),
            (headers(&socket[..2]), 400, "version 13"),
            (headers(&socket), 400, "Sec-WebSocket-Key"),
            (headers(&[socket[0], socket[1], socket[2], key]), 400, "no common WebSocket protocol"),
        ] {
            let refusal = agree(&headers, &OFFER).expect_err(text);
            assert_eq!(refusal.status.as_u16(), status, "{text}");
            assert!(refusal.text.contains(text), "{:?} has no {text:?}", refusal.text);
        }
    }
}

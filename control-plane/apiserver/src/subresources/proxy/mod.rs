//! `pods/proxy`, `services/proxy`, `nodes/proxy`: a request passed on to `[SCHEME:]NAME[:PORT]`, and its answer as it is,
//! but for links that would lead away from the proxy: `Location` headers and, in pages, what points to the same host.

mod html;
mod links;
mod peers;

use crate::ctx::Ctx;
use crate::outbound::{self, For};
use crate::request::RequestInfo;
use crate::resource;
use crate::server::Body;
use crate::websocket::wants_upgrade;
use api::Status;
use flate2::write::{DeflateDecoder, MultiGzDecoder};
use futures::StreamExt;
use html::Rewriter;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use links::Links;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

/// Which pages may read an answer is for us to say (upstream's `corsRemovingTransport`).
const CORS: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Where a request came from, as the listener knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CameFrom(pub SocketAddr);

pub(super) async fn handle(
    ctx: &Arc<Ctx>,
    info: &RequestInfo,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let (before, rest) = split(request.uri().path(), info).ok_or_else(resource::no_route)?;
    let (prefix, rest) = (before.to_owned(), rest.to_owned());
    let upgrade = wants_upgrade(request.headers());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let peer = peers::find(ctx, info).await?;
    if rest.is_empty() && reads && !upgrade {
        return slash(request.uri());
    }
    let path = if rest.is_empty() { "/".to_owned() } else { rest };
    let target = request.uri().query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let host = host(&request);
    forwarded(&mut request, &format!("{prefix}{path}"));
    let links = Links::new(&prefix, &peer.authority(), host.as_ref().and_then(|h| h.to_str().ok()).unwrap_or(""));
    let (head, reason) = (*request.method() == Method::HEAD, For::Proxy { host: host.as_ref() });
    let mut response = outbound::forward(&ctx.outbound, &peer, reason, &target, request, &ctx.stop).await?;
    if upgrade {
        return Ok(response);
    }
    CORS.iter().for_each(|name| {
        response.headers_mut().remove(name);
    });
    Ok(linked(response, links, head))
}

/// The path up to `/proxy`, and what follows it as it was sent, so that nothing is decoded twice.
fn split<'a>(path: &'a str, info: &RequestInfo) -> Option<(&'a str, &'a str)> {
    // ["", "api", "v1", "nodes", NAME, "proxy"] or ["", "api", "v1", "namespaces", NS, RESOURCE, NAME, "proxy"]
    let before = if info.resource == "nodes" { 6 } else { 8 };
    let mut at = 0;
    for _ in 0..before - 1 {
        at += path[at..].find('/')? + 1;
    }
    let end = path[at..].find('/').map_or(path.len(), |i| at + i);
    Some(path.split_at(end))
}

/// Relative links of a page work only below a slash.
fn slash(uri: &http::Uri) -> Result<Response<Body>, Status> {
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let to = HeaderValue::from_str(&format!("{}/{query}", uri.path())).map_err(Status::internal)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

/// The host that the client named.
fn host(request: &Request<Body>) -> Option<HeaderValue> {
    let authority = || HeaderValue::from_str(request.uri().authority()?.as_str()).ok();
    request.headers().get(header::HOST).cloned().or_else(authority)
}

/// Tells the peer who asked, and for what.
fn forwarded(request: &mut Request<Body>, uri: &str) {
    if let Ok(uri) = HeaderValue::from_str(uri) {
        request.headers_mut().insert(FORWARDED_URI, uri);
    }
    let Some(CameFrom(client)) = request.extensions().get().copied() else { return };
    let before = request.headers().get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok());
    let all = before.map(str::to_owned).chain([client.ip().to_string()]).collect::<Vec<_>>().join(", ");
    if let Ok(all) = HeaderValue::from_str(&all) {
        request.headers_mut().insert(FORWARDED_FOR, all);
    }
}

/// The answer with links that stay below the proxy.
fn linked(mut response: Response<Body>, links: Links, head: bool) -> Response<Body> {
    let headers = response.headers_mut();
    if let Some(to) = headers.get(header::LOCATION) {
        let stays = to.to_str().ok().and_then(|to| links.rewrite(to)).and_then(|to| HeaderValue::from_str(&to).ok());
        if let Some(to) = stays {
            headers.insert(header::LOCATION, to);
        }
        return response;
    }
    if !is_html(headers) || head {
        return response;
    }
    let Some(page) = Page::new(headers, links) else { return response };
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        headers.remove(name);
    }
    response.map(|body| page.read(body))
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim() == "text/html"
}

/// A page on its way through, decompressed: a changed page would have to be compressed anew, and clients take either.
enum Page {
    Plain(Rewriter),
    Gzip(MultiGzDecoder<Rewriter>),
    Deflate(DeflateDecoder<Rewriter>),
}

impl Page {
    /// `None` for an encoding that nobody here reads: such a page stays as it is.
    fn new(headers: &HeaderMap, links: Links) -> Option<Page> {
        let rewriter = Rewriter::new(links);
        match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"") => Some(Page::Plain(rewriter)),
            Some(b"gzip") => Some(Page::Gzip(MultiGzDecoder::new(rewriter))),
            Some(b"deflate") => Some(Page::Deflate(DeflateDecoder::new(rewriter))),
            Some(_) => None,
        }
    }

    fn read(self, body: Body) -> Body {
        let pieces = body.into_data_stream().map(Some).chain(futures::stream::once(async { None }));
        Body::from_stream(pieces.scan(self, |page, piece| {
            let piece = piece.transpose().map_err(std::io::Error::other);
            std::future::ready(Some(piece.and_then(|piece| page.push(piece.as_deref()))))
        }))
    }

    /// What may go on after this piece; after none comes the rest.
    fn push(&mut self, piece: Option<&[u8]>) -> std::io::Result<Vec<u8>> {
        let writer: &mut dyn Write = match self {
            Page::Plain(page) => page,
            Page::Gzip(page) => page,
            Page::Deflate(page) => page,
        };
        match piece {
            Some(piece) => writer.write_all(piece)?,
            None => writer.flush()?,
        }
        let rewriter = match self {
            Page::Plain(page) => page,
            Page::Gzip(page) => page.get_mut(),
            Page::Deflate(page) => page.get_mut(),
        };
        if piece.is_none() {
            rewriter.finish();
        }
        Ok(rewriter.take())
    }
}

/// For `fuzz/` alone: a page as a client gets it that comes in pieces of at most so many bytes.
#[doc(hidden)]
pub fn proxied_page(page: &[u8], piece: usize) -> Vec<u8> {
    let mut rewriter = Rewriter::new(Links::new("/p", "10.0.0.1:80", "front"));
    page.chunks(piece).for_each(|piece| drop(rewriter.write_all(piece)));
    rewriter.finish();
    rewriter.take()
}

#[cfg(test)]
mod tests;

//! `/openapi`: an index of documents of version 3 with content hashes, and the documents, made from the kinds and the
//! schema tables when they are first asked for; beside them version 2.

mod custom;
mod document;
mod gnostic;
mod names;
mod operations;
mod packed;
mod pages;
mod parameters;
mod paths;
mod schemas;
mod texts;
pub(crate) mod v2;

use crate::ctx::Ctx;
use crate::discovery::digest;
use crate::negotiate;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use api::kind::Names;
use api::{Kind, Map, Status, Value};
use http::request::Parts;
use http::{HeaderValue, Response, header};
use packed::Packed;
use pages::Page;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use texts::Texts;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A client reads one document after the other and asks again only when a hash has changed. The largest has a hundred
/// kilobytes, compressed as it is kept.
const KEPT: usize = 2;

/// How long clients may keep a document by its hash: a year, the longest that caches know.
const KEPT_HOURS: i64 = 365 * 24;

/// The hash of every document, and the documents asked for last, by path (`apis/apps/v1`).
#[derive(Default)]
pub(crate) struct Documents {
    tags: Mutex<BTreeMap<String, (Vec<u64>, String)>>,
    last: Mutex<VecDeque<Kept>>,
}

/// A document with what it was made of.
struct Kept {
    path: String,
    form: Form,
    of: Vec<u64>,
    packed: Packed,
}

/// A kind by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Gvk {
    group: String,
    version: String,
    kind: String,
}

impl Gvk {
    fn new(group: &str, version: &str, kind: &str) -> Gvk {
        Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    fn of(names: &Names) -> Gvk {
        Gvk::new(&names.group, &names.version, &names.kind)
    }

    fn value(&self) -> Map {
        let mut of = Map::new();
        of.insert("group", self.group.as_str());
        of.insert("version", self.version.as_str());
        of.insert("kind", self.kind.as_str());
        of
    }
}

pub(crate) fn handle(ctx: &Arc<Ctx>, info: &RequestInfo, parts: &Parts) -> Result<Response<Body>, Status> {
    let path = info.path.trim_matches('/');
    if path == "openapi/v3" {
        // JSON that upstream sends under the type of text, whatever is asked for.
        return Ok(respond::with(200, TEXT, api::codec::json::encode(&index(ctx))));
    }
    if path == "openapi/v2" {
        return v2::handle(ctx, parts);
    }
    if !path.starts_with("openapi/v3/") {
        return Ok(respond::text(404, "404 page not found\n"));
    }
    let found = path.strip_prefix("openapi/v3/").and_then(|at| Some((at, pages::all(&kinds(ctx)).remove(at)?)));
    match found {
        Some((at, page)) => document(ctx, at, page, info, parts),
        None => Ok(empty(http::StatusCode::NOT_FOUND)),
    }
}

fn kinds(ctx: &Ctx) -> Vec<Arc<Kind>> {
    ctx.registry.kinds().iter().cloned().collect()
}

fn document(ctx: &Ctx, at: &str, page: Page, info: &RequestInfo, parts: &Parts) -> Result<Response<Body>, Status> {
    let tag = tag(ctx, at, &page);
    let hash = info.query.has("hash").then(|| info.query.get("hash"));
    if hash.is_some_and(|hash| hash != tag) {
        return Ok(moved(&format!("/openapi/v3/{at}?hash={tag}")));
    }
    let tag = format!("\"{tag}\"");
    let same = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|t| t.as_bytes() == tag.as_bytes());
    let Some(form) = Form::asked(parts) else { return Ok(unacceptable()) };
    let content_type = HeaderValue::from_static(form.content_type());
    let mut response = match same {
        true => respond::with(304, content_type, Body::empty()),
        false => packed(ctx, at, page, form)?.answer(content_type, &parts.headers)?,
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    if hash.is_some() {
        // What has this hash never changes.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(KEPT_HOURS);
        let expires = expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.extend(HeaderValue::from_str(&expires).ok().map(|value| (header::EXPIRES, value)));
    }
    Ok(response)
}

/// An encoding of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    fn asked(parts: &Parts) -> Option<Form> {
        negotiate::clauses(&parts.headers).iter().find_map(|clause| match clause.media {
            "application/json" | "application/*" | "*/*" => Some(Form::Json),
            "application/com.github.proto-openapi.spec.v3@v1.0+protobuf" => Some(Form::Protobuf),
            media if media == Form::Protobuf.content_type() => Some(Form::Protobuf),
            _ => None,
        })
    }

    /// With `@`, as clients ask for it, it would be no media type.
    fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Protobuf => "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
        }
    }

    fn encode(self, document: Map) -> Vec<u8> {
        match self {
            Form::Protobuf => gnostic::v3::encode(&document),
            Form::Json => api::codec::json::encode(&Value::Map(document)),
        }
    }
}

fn empty(code: http::StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// No document is in such an encoding, which upstream says without words.
fn unacceptable() -> Response<Body> {
    let mut response = empty(http::StatusCode::NOT_ACCEPTABLE);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Sends whoever asks for a document as it was to the document as it is.
fn moved(to: &str) -> Response<Body> {
    let mut response = empty(http::StatusCode::MOVED_PERMANENTLY);
    response.headers_mut().extend(HeaderValue::from_str(to).ok().map(|value| (header::LOCATION, value)));
    response
}

/// Where the kinds of a group and version are, without the first stroke.
fn path_of(group: &str, version: &str) -> String {
    match group.is_empty() {
        true => format!("api/{version}"),
        false => format!("apis/{group}/{version}"),
    }
}

fn index(ctx: &Ctx) -> Value {
    let pages = pages::all(&kinds(ctx));
    ctx.openapi.tags.lock().retain(|path, _| pages.contains_key(path));
    let mut paths = Map::new();
    for (path, page) in pages {
        let mut entry = Map::new();
        entry.insert("serverRelativeURL", format!("/openapi/v3/{path}?hash={}", tag(ctx, &path, &page)));
        paths.insert(path, entry);
    }
    let mut index = Map::new();
    index.insert("paths", paths);
    Value::Map(index)
}

/// What tells the custom kinds of a document apart from what they were and will be.
fn stamp(kinds: &[Arc<Kind>]) -> Vec<u64> {
    kinds.iter().filter_map(|k| Some(k.custom.as_ref()?.fingerprint)).collect()
}

impl Page {
    fn stamp(&self) -> Vec<u64> {
        match self {
            Page::Kinds(kinds) => stamp(kinds),
            Page::Lone(_) => Vec::new(),
        }
    }
}

/// The hash of a document. Its texts are in by their own hash: they cost the most.
fn tag(ctx: &Ctx, path: &str, page: &Page) -> String {
    let stamp = page.stamp();
    if let Some((_, tag)) = ctx.openapi.tags.lock().get(path).filter(|(of, _)| *of == stamp) {
        return tag.clone();
    }
    let document = document::Plan::of(page).describe(&Texts::default());
    let mut plain = api::codec::json::encode(&Value::Map(document));
    plain.extend_from_slice(texts::TAG.as_bytes());
    let tag = digest(&plain);
    ctx.openapi.tags.lock().insert(path.to_owned(), (stamp, tag.clone()));
    tag
}

fn packed(ctx: &Ctx, path: &str, page: Page, form: Form) -> Result<Packed, Status> {
    let of = page.stamp();
    let here = |kept: &Kept| kept.path == path && kept.form == form;
    if let Some(kept) = ctx.openapi.last.lock().iter().find(|kept| here(kept) && kept.of == of) {
        return Ok(kept.packed.clone());
    }
    let plan = document::Plan::of(&page);
    let texts = plan.texts();
    let packed = Packed::new(&form.encode(plan.describe(&texts)))?;
    let mut last = ctx.openapi.last.lock();
    last.truncate(KEPT - 1);
    last.retain(|kept| !here(kept));
    last.push_front(Kept { path: path.to_owned(), form, of, packed: packed.clone() });
    Ok(packed)
}

//! `/openapi/v3`: an index with content hashes, and one document per group and version, made from the schema tables
//! when it is first asked for.

use crate::ctx::Ctx;
use crate::discovery::digest;
use crate::negotiate::{self, Accept};
use crate::openapi_custom;
use crate::openapi_gnostic;
use crate::openapi_texts::{self, Texts};
use crate::openapi_v2;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Body;
use api::schema::{self, Field, ListType, Presence, Schema, Type};
use api::{Kind, Map, Status, Value};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A client reads one document after the other and asks again only when a hash has changed. The largest has a megabyte.
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
    body: Bytes,
}

pub(crate) fn handle(ctx: &Arc<Ctx>, info: &RequestInfo, parts: &Parts) -> Result<Response<Body>, Status> {
    let path = info.path.trim_matches('/');
    if path == "openapi/v3" {
        // JSON that upstream sends under the type of text, whatever is asked for.
        return Ok(respond::with(200, TEXT, api::codec::json::encode(&index(ctx))));
    }
    if path == "openapi/v2" {
        return openapi_v2::handle(ctx, parts);
    }
    let Some((at, tag)) = path.strip_prefix("openapi/v3/").and_then(|at| Some((at, tag(ctx, at)?))) else {
        if path == "openapi" {
            return Ok(respond::text(404, "404 page not found\n"));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        return Ok(response);
    };
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
        false => {
            let accept = Accept { gzip: negotiate::takes_gzip(&parts.headers), ..Accept::plain() };
            let mut response = respond::encoded(200, &accept, document(ctx, at, form).to_vec());
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
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

    fn encode(self, document: &Value) -> Vec<u8> {
        match (self, document) {
            (Form::Protobuf, Value::Map(document)) => openapi_gnostic::v3::encode(document),
            _ => api::codec::json::encode(document),
        }
    }
}

/// No document is in such an encoding, which upstream says without words.
fn unacceptable() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::NOT_ACCEPTABLE;
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Sends whoever asks for a document as it was to the document as it is.
fn moved(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().extend(HeaderValue::from_str(to).ok().map(|value| (header::LOCATION, value)));
    response
}

fn group_paths(ctx: &Ctx) -> BTreeSet<String> {
    ctx.registry.kinds().iter().map(|k| path_of(k)).collect()
}

fn path_of(kind: &Kind) -> String {
    match kind.names.group.is_empty() {
        true => format!("api/{}", kind.names.version),
        false => format!("apis/{}/{}", kind.names.group, kind.names.version),
    }
}

fn index(ctx: &Ctx) -> Value {
    let mut paths = Map::new();
    for path in group_paths(ctx) {
        let Some(tag) = tag(ctx, &path) else { continue };
        let mut entry = Map::new();
        entry.insert("serverRelativeURL", format!("/openapi/v3/{path}?hash={tag}"));
        paths.insert(path, entry);
    }
    let mut index = Map::new();
    index.insert("paths", paths);
    Value::Map(index)
}

fn kinds_of(ctx: &Ctx, path: &str) -> Vec<Arc<Kind>> {
    ctx.registry.kinds().iter().filter(|k| path_of(k) == path).cloned().collect()
}

/// What tells the custom kinds of a document apart from what they were and will be.
pub(crate) fn stamp(kinds: &[Arc<Kind>]) -> Vec<u64> {
    kinds.iter().filter_map(|k| Some(k.custom.as_ref()?.fingerprint)).collect()
}

/// The hash of a document, `None` where there is no such. Its texts are in by their own hash: they cost the most.
fn tag(ctx: &Ctx, path: &str) -> Option<String> {
    let kinds = kinds_of(ctx, path);
    if kinds.is_empty() {
        return None;
    }
    let stamp = stamp(&kinds);
    if let Some((_, tag)) = ctx.openapi.tags.lock().get(path).filter(|(of, _)| *of == stamp) {
        return Some(tag.clone());
    }
    let mut plain = api::codec::json::encode(&describe(&kinds, &type_names(&kinds), &Texts::default()));
    plain.extend_from_slice(openapi_texts::TAG.as_bytes());
    let tag = digest(&plain);
    ctx.openapi.tags.lock().insert(path.to_owned(), (stamp, tag.clone()));
    Some(tag)
}

fn document(ctx: &Ctx, path: &str, form: Form) -> Bytes {
    let kinds = kinds_of(ctx, path);
    let of = stamp(&kinds);
    let here = |kept: &Kept| kept.path == path && kept.form == form;
    if let Some(kept) = ctx.openapi.last.lock().iter().find(|kept| here(kept) && kept.of == of) {
        return kept.body.clone();
    }
    let names = type_names(&kinds);
    let body = Bytes::from(form.encode(&describe(&kinds, &names, &Texts::of(&names))));
    let mut last = ctx.openapi.last.lock();
    last.truncate(KEPT - 1);
    last.retain(|kept| !here(kept));
    last.push_front(Kept { path: path.to_owned(), form, of, body: body.clone() });
    body
}

/// The full names of all types that these kinds are made of.
fn type_names(kinds: &[Arc<Kind>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let own = |k: &Arc<Kind>| schema::find(if k.custom.is_some() { openapi_custom::OBJECT_META } else { &k.type_name });
    for schema in kinds.iter().filter_map(own) {
        reach(schema, &mut names);
    }
    names
}

/// A document of version 3 about kinds, with their texts; `lists` adds the types of their lists.
pub(crate) fn described(kinds: &[Arc<Kind>], lists: bool) -> Map {
    let mut names = type_names(kinds);
    if lists {
        let of_lists = kinds.iter().filter_map(|k| schema::find(&format!("{}List", k.type_name)));
        of_lists.for_each(|schema| reach(schema, &mut names));
    }
    match describe(kinds, &names, &Texts::of(&names)) {
        Value::Map(document) => document,
        _ => Map::new(),
    }
}

fn describe(kinds: &[Arc<Kind>], names: &BTreeSet<String>, texts: &Texts) -> Value {
    let mut info = Map::new();
    info.insert("title", "Kubernetes");
    info.insert("version", "v1.36.0");
    let mut schemas: Map = SPECIAL.iter().map(|(name, ty, format)| (*name, Value::Map(special(ty, format)))).collect();
    if names.contains(SCHEMA) {
        ANY.iter().for_each(|(name, text)| drop(schemas.insert(*name, anything(text))));
    }
    for name in names {
        if let Some(schema) = schema::find(name) {
            let own: Vec<_> = kinds.iter().filter(|k| k.type_name == *name).collect();
            schemas.insert(name.as_str(), type_schema(schema, &own, &|field| texts.get(name, field)));
        }
    }
    kinds.iter().for_each(|kind| openapi_custom::add(kind, &mut schemas));
    let mut paths = Map::new();
    for kind in kinds {
        super::openapi_paths::add(kind, &mut paths);
    }
    let mut components = Map::new();
    components.insert("schemas", schemas);
    let mut document = Map::new();
    document.insert("openapi", "3.0.0");
    document.insert("info", info);
    document.insert("paths", paths);
    document.insert("components", components);
    Value::Map(document)
}

/// The full names of all types below a type.
fn reach(schema: &'static Schema, names: &mut BTreeSet<String>) {
    if names.insert(schema.full_name()) {
        for field in schema.fields.iter().filter(|f| !f.hidden) {
            if let Some(below) = field.ty.schema() {
                reach(below, names);
            }
        }
    }
}

/// A type; `text` says what is known about it (for an empty name) and its fields.
fn type_schema<'a>(schema: &Schema, kinds: &[&Arc<Kind>], text: &dyn Fn(&str) -> Option<&'a str>) -> Map {
    let with_text = |mut of: Map, name: &str| {
        if let Some(text) = text(name) {
            of.insert("description", text);
        }
        of
    };
    let mut out = with_text(Map::new(), "");
    out.insert("type", "object");
    let shown = schema.fields.iter().filter(|f| !f.hidden);
    let mut properties: Map = shown.map(|f| (f.name, Value::Map(with_text(field_schema(schema, f), f.name)))).collect();
    if !kinds.is_empty() {
        for name in ["apiVersion", "kind"] {
            let mut string = Map::new();
            string.insert("type", "string");
            properties.insert(name, with_text(string, name));
        }
        let versions = kinds.iter().map(|k| {
            let mut of = Map::new();
            of.insert("group", &*k.names.group);
            of.insert("version", &*k.names.version);
            of.insert("kind", &*k.names.kind);
            Value::Map(of)
        });
        out.insert("x-kubernetes-group-version-kind", Value::List(versions.collect()));
    }
    if !properties.is_empty() {
        out.insert("properties", properties);
    }
    let required: Vec<&str> = schema.fields.iter().filter(|f| f.required && !f.hidden).map(|f| f.name).collect();
    if !required.is_empty() {
        out.insert("required", required);
    }
    out
}

fn field_schema(of: &Schema, field: &Field) -> Map {
    let mut out = value_schema(field.name, &field.ty);
    if let Some(mut values) = schema::enum_of(of, field) {
        values.sort_unstable();
        match out.get_mut("items").and_then(Value::as_map_mut) {
            Some(items) => drop(items.insert("enum", values)),
            None => drop(out.insert("enum", values)),
        }
    }
    if let Some(value) = default(field) {
        out.insert("default", value);
    }
    match &field.list {
        ListType::Unset => {}
        ListType::Atomic if matches!(field.ty, Type::List(_)) => drop(out.insert("x-kubernetes-list-type", "atomic")),
        ListType::Atomic => drop(out.insert("x-kubernetes-map-type", "atomic")),
        ListType::Granular => drop(out.insert("x-kubernetes-map-type", "granular")),
        ListType::Set => drop(out.insert("x-kubernetes-list-type", "set")),
        ListType::Map(keys) => {
            out.insert("x-kubernetes-list-type", "map");
            out.insert("x-kubernetes-list-map-keys", keys.clone());
        }
    }
    let mut strategies = Vec::new();
    for (set, name) in
        [(field.patch.merge, "merge"), (field.patch.replace, "replace"), (field.patch.retain_keys, "retainKeys")]
    {
        if set {
            strategies.push(name);
        }
    }
    if !strategies.is_empty() {
        out.insert("x-kubernetes-patch-strategy", strategies.join(","));
    }
    if let Some(key) = field.patch.merge_key {
        out.insert("x-kubernetes-patch-merge-key", key);
    }
    out
}

/// The type of a field in OpenAPI's words.
fn value_schema(field: &str, ty: &Type) -> Map {
    let mut out = Map::new();
    let (name, format) = match ty {
        Type::String => ("string", ""),
        Type::Bool => ("boolean", ""),
        Type::Int32 => ("integer", "int32"),
        Type::Int64 => ("integer", "int64"),
        Type::Double => ("number", "double"),
        Type::Bytes => ("string", "byte"),
        Type::Time => return reference(TIME),
        Type::MicroTime => return reference(MICRO_TIME),
        Type::Quantity => return reference(QUANTITY),
        Type::IntOrString => return reference(INT_OR_STRING),
        Type::Raw => return reference(RAW),
        Type::Object => ("object", ""),
        Type::Any => return reference(any(field)),
        Type::List(item) => {
            out.insert("items", value_schema(field, item));
            ("array", "")
        }
        Type::Map(item) => {
            out.insert("additionalProperties", value_schema(field, item));
            ("object", "")
        }
        Type::Struct(to) => return reference(&to.get().full_name()),
    };
    out.insert("type", name);
    if !format.is_empty() {
        out.insert("format", format);
    }
    out
}

const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const RAW: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";

/// The types that have a form of their own in JSON.
const SPECIAL: &[(&str, &str, &str)] = &[
    (TIME, "string", "date-time"),
    (MICRO_TIME, "string", "date-time"),
    (QUANTITY, "string", ""),
    (INT_OR_STRING, "string", "int-or-string"),
    (RAW, "object", ""),
];

/// The one type whose fields hold values of any type.
const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const OR_BOOL: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool";
const OR_ARRAY: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray";
const OR_STRINGS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray";

/// What such values can be, in upstream's names.
const ANY: &[(&str, &str)] = &[
    (JSON, "Any value of JSON: a boolean, a number, a string, a list, an object or null."),
    (OR_BOOL, "A JSONSchemaProps, or a boolean."),
    (OR_ARRAY, "A JSONSchemaProps, or a list of them."),
    (OR_STRINGS, "A JSONSchemaProps, or a list of strings."),
];

/// The type of a field of [`SCHEMA`] that holds more than one type of JSON.
fn any(field: &str) -> &'static str {
    match field {
        "additionalItems" | "additionalProperties" => OR_BOOL,
        "items" => OR_ARRAY,
        "dependencies" => OR_STRINGS,
        _ => JSON,
    }
}

fn anything(text: &str) -> Map {
    let mut out = Map::new();
    out.insert("description", text);
    out
}

fn special(name: &str, format: &str) -> Map {
    let mut out = Map::new();
    out.insert("type", name);
    if !format.is_empty() {
        out.insert("format", format);
    }
    out
}

/// What a field that is always there holds when nothing is given.
fn default(field: &Field) -> Option<Value> {
    if !matches!(field.presence, Presence::Value | Presence::ValueAlways) {
        return None;
    }
    match &field.ty {
        Type::Struct(_) | Type::Time | Type::MicroTime | Type::IntOrString | Type::Raw => Some(Map::new().into()),
        Type::String if field.required => Some("".into()),
        Type::Int32 | Type::Int64 if field.required => Some(Value::Int(0)),
        Type::Bool if field.required => Some(Value::Bool(false)),
        _ => None,
    }
}

fn reference(name: &str) -> Map {
    let mut to = Map::new();
    to.insert("$ref", format!("#/components/schemas/{name}"));
    let mut out = Map::new();
    out.insert("allOf", vec![to]);
    out
}

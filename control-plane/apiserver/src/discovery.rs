//! Discovery: which groups, versions and resources there are, in the old form (the aggregated one stands apart); the
//! version of the API; where tokens are checked.

use crate::aggregation::{Group, Version};
use crate::ctx::Ctx;
use crate::definitions;
use crate::discovery_aggregated;
use crate::health;
use crate::negotiate::{self, Accept, Offer, Route};
use crate::request::RequestInfo;
use crate::resource;
use crate::respond;
use crate::server::Body;
use api::kind::Scope;
use api::{Kind, Map, Status, Value};
use base64::prelude::{BASE64_STANDARD, Engine};
use http::request::Parts;
use http::{Method, Response};
use std::sync::Arc;

/// The API level, as `/version` shows it.
const MINOR: &str = "36";
/// The oldest level whose clients and nodes are served.
const COMPATIBLE_MINOR: &str = "35";
const GIT_VERSION: &str = concat!("v1.36.0+wherry-", env!("CARGO_PKG_VERSION"));

pub(crate) async fn handle(ctx: &Arc<Ctx>, info: &RequestInfo, parts: &Parts) -> Result<Response<Body>, Status> {
    if let Some(response) = known(ctx, info, parts)? {
        return Ok(response);
    }
    if info.path.starts_with("/apis/") {
        definitions::catch_up(ctx).await?;
    }
    match known(ctx, info, parts)? {
        Some(response) => Ok(response),
        None => absent(ctx, info),
    }
}

/// Below what is routed a path is an error of the API; elsewhere there is no API at all.
fn absent(ctx: &Ctx, info: &RequestInfo) -> Result<Response<Body>, Status> {
    let segments: Vec<&str> = info.path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["version", ..] | ["api", _] => Err(resource::no_route()),
        ["apis", group, _] => resource::nowhere(ctx, group),
        _ => Ok(respond::text(404, "404 page not found\n")),
    }
}

fn known(ctx: &Arc<Ctx>, info: &RequestInfo, parts: &Parts) -> Result<Option<Response<Body>>, Status> {
    let path = info.path.trim_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    let table = ctx.registry.kinds();
    let kinds: Vec<&Arc<Kind>> = table.iter().collect();
    let grouped = || ctx.aggregation.table().groups(table.iter());
    if let "api" | "apis" = path
        && let Some(encoding) = discovery_aggregated::wanted(parts)
    {
        let core = || Group { name: String::new(), versions: vec![Version { name: "v1".into(), is_remote: false }] };
        let groups = if path == "api" { vec![core()] } else { grouped() };
        return discovery_aggregated::answer(&groups, &kinds, encoding, parts).map(Some);
    }
    let found = match segments.as_slice() {
        ["api"] => Some(versions(ctx)),
        ["apis"] => Some(groups(&grouped())),
        ["api", version] => resources("", version, &kinds),
        ["apis", group] => grouped().iter().find(|g| g.name == *group).map(|g| with_type(group_map(g), "APIGroup")),
        ["apis", group, version] => resources(group, version, &kinds),
        ["version"] => Some(version()),
        [""] => Some(paths(&grouped())),
        _ => None,
    };
    let Some(value) = found else { return Ok(None) };
    // What the aggregator answers itself, and the list of paths, whatever the method is.
    let any = matches!(segments.as_slice(), [""] | ["apis"] | ["apis", _]);
    if !any && parts.method != Method::GET {
        return Err(resource::no_method());
    }
    // The version and the list of paths are no types of the API.
    let lines = Accept { pretty: true, ..Accept::plain() };
    let accept = match segments.as_slice() {
        [""] => lines,
        ["version"] => {
            negotiate::routed(&parts.headers, Route::Json)?;
            lines
        }
        // The aggregator answers these itself, without a router's types.
        ["apis"] | ["apis", _] => negotiate::accept(&parts.headers, &info.query, Offer::Whole)?,
        _ => {
            negotiate::routed(&parts.headers, Route::Objects)?;
            negotiate::accept(&parts.headers, &info.query, Offer::Whole)?
        }
    };
    Ok(Some(respond::value(200, &accept, &value)))
}

pub(crate) fn map<const N: usize>(pairs: [(&'static str, Value); N]) -> Map {
    pairs.into_iter().collect()
}

fn with_type(mut map: Map, kind: &str) -> Value {
    map.insert("kind", kind);
    map.insert("apiVersion", "v1");
    Value::Map(map)
}

pub(crate) fn texts(list: &[std::borrow::Cow<'static, str>]) -> Value {
    Value::List(list.iter().map(|t| Value::from(&**t)).collect())
}

fn versions(ctx: &Ctx) -> Value {
    let address = std::net::SocketAddr::new(ctx.config.advertise, ctx.port).to_string();
    let server = map([("clientCIDR", "0.0.0.0/0".into()), ("serverAddress", address.into())]);
    Value::Map(map([
        ("kind", "APIVersions".into()),
        ("versions", vec!["v1"].into()),
        ("serverAddressByClientCIDRs", vec![server].into()),
    ]))
}

fn version_of(group: &str, version: &str) -> Value {
    let group_version = crate::request::api_version(group, version);
    Value::Map(map([("groupVersion", group_version.into()), ("version", version.into())]))
}

fn group_map(group: &Group) -> Map {
    let versions: Vec<Value> = group.versions.iter().map(|v| version_of(&group.name, &v.name)).collect();
    map([
        ("name", group.name.as_str().into()),
        ("preferredVersion", versions.first().cloned().unwrap_or_default()),
        ("versions", Value::List(versions)),
    ])
}

fn groups(groups: &[Group]) -> Value {
    let list: Vec<Map> = groups.iter().map(group_map).collect();
    with_type(map([("groups", list.into())]), "APIGroupList")
}

fn resources(group: &str, version: &str, kinds: &[&Arc<Kind>]) -> Option<Value> {
    let mut list = Vec::new();
    for kind in kinds.iter().filter(|k| k.names.group == group && k.names.version == version) {
        list.push(resource(kind));
        list.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    if list.is_empty() {
        return None;
    }
    let group_version = crate::request::api_version(group, version);
    let list = map([("groupVersion", group_version.into()), ("resources", Value::List(list))]);
    let mut list = with_type(list, "APIResourceList");
    if group.is_empty()
        && let Value::Map(map) = &mut list
    {
        // As upstream: the oldest list names its kind alone.
        map.remove("apiVersion");
    }
    Some(list)
}

fn resource(kind: &Kind) -> Value {
    let mut out = map([
        ("name", (&*kind.names.plural).into()),
        ("singularName", (&*kind.names.singular).into()),
        ("namespaced", (kind.scope == Scope::Namespaced).into()),
        ("kind", (&*kind.names.kind).into()),
        ("verbs", texts(&kind.verbs)),
    ]);
    for (key, list) in [("shortNames", &kind.names.short), ("categories", &kind.names.categories)] {
        if !list.is_empty() {
            out.insert(key, texts(list));
        }
    }
    if kind.verbs.iter().any(|v| v == "get") && kind.names.plural != "componentstatuses" {
        out.insert("storageVersionHash", storage_version_hash(kind));
    }
    Value::Map(out)
}

/// A name for the version that objects are stored in: who migrates them looks for another.
fn storage_version_hash(kind: &Kind) -> String {
    let (group, version) = crate::registry::stored_as(kind);
    let text = format!("{group}/{version}/{}", kind.names.kind);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    BASE64_STANDARD.encode(&digest.as_ref()[..8])
}

fn subresource(kind: &Kind, sub: &api::kind::Subresource) -> Value {
    let mut out = map([
        ("name", format!("{}/{}", kind.names.plural, sub.name).into()),
        ("singularName", "".into()),
        ("namespaced", (kind.scope == Scope::Namespaced).into()),
        ("kind", (&*sub.kind).into()),
        ("verbs", texts(&sub.verbs)),
    ]);
    for (key, text) in [("group", &sub.group), ("version", &sub.version)] {
        if !text.is_empty() {
            out.insert(key, &**text);
        }
    }
    Value::Map(out)
}

/// A name for content: the same content has the same.
pub(crate) fn digest(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    digest.as_ref().iter().map(|b| format!("{b:02X}")).collect()
}

fn version() -> Value {
    Value::Map(map([
        ("major", "1".into()),
        ("minor", MINOR.into()),
        ("emulationMajor", "1".into()),
        ("emulationMinor", MINOR.into()),
        ("minCompatibilityMajor", "1".into()),
        ("minCompatibilityMinor", COMPATIBLE_MINOR.into()),
        ("gitVersion", GIT_VERSION.into()),
        ("gitCommit", "".into()),
        ("gitTreeState", "clean".into()),
        ("buildDate", "1970-01-01T00:00:00Z".into()),
        ("goVersion", "none".into()),
        ("compiler", "rustc".into()),
        ("platform", format!("{}/{}", std::env::consts::OS, platform()).into()),
    ]))
}

/// What was built, as the labels of a metric.
pub(crate) fn build_labels() -> String {
    let version = version();
    let label = |(label, key)| format!("{label}={:?}", version.get(key).and_then(Value::as_str).unwrap_or(""));
    let labels = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ];
    labels.map(label).join(",")
}

/// The machine's architecture in Go's words.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn paths(groups: &[Group]) -> Value {
    let mut paths: Vec<String> = vec!["/api".into(), "/api/v1".into(), "/apis".into()];
    for Group { name, versions } in groups {
        paths.push(format!("/apis/{name}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{name}/{}", v.name)));
    }
    for path in [
        "/.well-known/openid-configuration",
        "/apis/",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ] {
        paths.push(path.into());
    }
    paths.extend(health::paths());
    paths.sort();
    Value::Map(map([("paths", paths.into())]))
}

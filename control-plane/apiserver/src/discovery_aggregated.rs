//! Aggregated discovery: all groups, versions and resources in one answer, in each encoding of the API.

use crate::aggregation::Group;
use crate::discovery::{digest, map, texts};
use crate::negotiate::{self, Clause, Encoding};
use crate::respond;
use crate::server::Body;
use api::codec::{json, protobuf, yaml};
use api::kind::{Scope, Subresource};
use api::{Kind, Map, Status, Value};
use http::request::Parts;
use http::{HeaderValue, Response, header};
use std::sync::Arc;

const API_VERSION: &str = "apidiscovery.k8s.io/v2";
const LIST: &str = "APIGroupDiscoveryList";
const LIST_TYPE: &str = "io.k8s.api.apidiscovery.v2.APIGroupDiscoveryList";

/// The encoding in which a client wants this form; `None` where it likes the old form better.
pub(crate) fn wanted(parts: &Parts) -> Option<Encoding> {
    negotiate::clauses(&parts.headers).iter().find_map(|clause| {
        let encoding = negotiate::encoding(clause)?;
        match clause.param("as") {
            "" => Some(None),
            _ => is_aggregated(clause).then_some(Some(encoding)),
        }
    })?
}

fn is_aggregated(clause: &Clause<'_>) -> bool {
    clause.param("as") == LIST && clause.param("g") == "apidiscovery.k8s.io" && clause.param("v") == "v2"
}

fn content_type(encoding: Encoding) -> HeaderValue {
    HeaderValue::from_static(match encoding {
        Encoding::Json => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Encoding::Yaml => "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    })
}

/// Answers with groups and their versions. The tag is of the content, whatever its encoding.
pub(crate) fn answer(
    groups: &[Group],
    kinds: &[&Arc<Kind>],
    encoding: Encoding,
    parts: &Parts,
) -> Result<Response<Body>, Status> {
    let items = groups.iter().filter_map(|g| group(g, kinds)).collect();
    let list = map([
        ("kind", LIST.into()),
        ("apiVersion", API_VERSION.into()),
        ("metadata", Map::new().into()),
        ("items", Value::List(items)),
    ]);
    let text = json::encode(&Value::Map(list.clone()));
    let tag = format!("\"{}\"", digest(&text));
    let content_type = content_type(encoding);
    let mut response = match parts.headers.get(header::IF_NONE_MATCH).is_some_and(|t| t.as_bytes() == tag.as_bytes()) {
        true => respond::with(304, content_type, Body::empty()),
        false => respond::with(200, content_type, encoded(list, text, encoding)?),
    };
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    Ok(response)
}

fn encoded(list: Map, json: Vec<u8>, encoding: Encoding) -> Result<Vec<u8>, Status> {
    match encoding {
        Encoding::Json => Ok(json),
        Encoding::Yaml => Ok(yaml::encode(&Value::Map(list))),
        Encoding::Protobuf => {
            let object = protobuf::encode(LIST_TYPE, &list).map_err(|e| Status::internal(e.to_string()))?;
            Ok(protobuf::wrap(API_VERSION, LIST, &object))
        }
    }
}

/// A group; `None` where nothing is served of it and nobody else says so.
fn group(Group { name, versions }: &Group, kinds: &[&Arc<Kind>]) -> Option<Value> {
    let metadata = if name.is_empty() { Map::new() } else { map([("name", name.as_str().into())]) };
    let versions = versions.iter().filter_map(|version| {
        let served = kinds.iter().filter(|k| k.names.group == *name && k.names.version == *version.name);
        let served: Vec<_> = served.map(|k| resource(k)).collect();
        match version.is_remote {
            true => Some(map([("version", version.name.as_str().into()), ("freshness", "Stale".into())])),
            false if served.is_empty() => None,
            false => Some(map([
                ("version", version.name.as_str().into()),
                ("freshness", "Current".into()),
                ("resources", Value::List(served)),
            ])),
        }
    });
    let versions: Vec<Map> = versions.collect();
    let is_empty = versions.is_empty();
    (!is_empty).then(|| Value::Map(map([("metadata", metadata.into()), ("versions", versions.into())])))
}

fn resource(kind: &Kind) -> Value {
    let scope = match kind.scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    };
    let (group, version) = of_its_own(kind);
    let mut out = map([
        ("resource", (&*kind.names.plural).into()),
        ("responseKind", response_kind(group, version, &kind.names.kind)),
        ("scope", scope.into()),
        ("singularResource", (&*kind.names.singular).into()),
        ("verbs", texts(&kind.verbs)),
    ]);
    for (key, list) in [("shortNames", &kind.names.short), ("categories", &kind.names.categories)] {
        if !list.is_empty() {
            out.insert(key, texts(list));
        }
    }
    if !kind.subresources.is_empty() {
        out.insert("subresources", Value::List(kind.subresources.iter().map(|sub| subresource(kind, sub)).collect()));
    }
    Value::Map(out)
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let (group, version) = match sub.group.is_empty() && sub.version.is_empty() {
        true => of_its_own(kind),
        false => (&*sub.group, &*sub.version),
    };
    Value::Map(map([
        ("subresource", (&*sub.name).into()),
        ("responseKind", response_kind(group, version, &sub.kind)),
        ("verbs", texts(&sub.verbs)),
    ]))
}

/// The group and version of an answer of the resource's own: upstream names them for custom kinds alone.
fn of_its_own(kind: &Kind) -> (&str, &str) {
    match &kind.custom {
        Some(_) => (&kind.names.group, &kind.names.version),
        None => ("", ""),
    }
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    Value::Map(map([("group", group.into()), ("version", version.into()), ("kind", kind.into())]))
}

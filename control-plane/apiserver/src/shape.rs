//! Objects in the shape a client asked for: whole, metadata only, or rows of a Table.

use crate::cache::Entry;
use crate::negotiate::{Include, Shape};
use crate::registry::{decode, partial_value, write_item, write_object, write_partial};
use crate::request::api_version;
use api::codec::json;
use api::{Kind, Map, Object, Status, Value};

/// What stands in a list's metadata.
#[derive(Debug, Default)]
pub(crate) struct ListMeta {
    pub revision: u64,
    pub continues: String,
    pub remaining: Option<u64>,
}

/// One object as JSON. `columns` says whether a Table names its columns: all do but later ones of a watch.
pub(crate) fn object(
    kind: &Kind,
    shape: &Shape,
    value: &[u8],
    revision: u64,
    columns: bool,
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    match shape {
        Shape::Whole => write_object(kind, value, revision, out),
        Shape::Partial { list: true, .. } => return Err(not_a_list(kind)),
        Shape::Partial { version, list: false } => write_partial(version, value, revision, out),
        Shape::Table { version, include } => {
            let meta = ListMeta { revision, ..ListMeta::default() };
            table_head(kind, version, &meta, columns, out);
            row(kind, version, *include, &decode(kind, value, revision)?, out);
            out.extend_from_slice(b"]}");
        }
    }
    Ok(())
}

/// A whole list as JSON.
pub(crate) fn list<'a>(
    kind: &Kind,
    shape: &Shape,
    entries: impl Iterator<Item = &'a Entry>,
    meta: &ListMeta,
) -> Result<Vec<u8>, Status> {
    let mut out = Vec::with_capacity(4096);
    match shape {
        Shape::Whole => list_head(&kind.list_kind(), &kind.api_version(), meta, kind.custom.is_some(), &mut out),
        Shape::Partial { list: false, .. } => return Err(not_an_object(kind)),
        Shape::Partial { version, list: true } => {
            list_head("PartialObjectMetadataList", &api_version("meta.k8s.io", version), meta, false, &mut out);
        }
        Shape::Table { version, .. } => table_head(kind, version, meta, true, &mut out),
    }
    for (i, entry) in entries.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match shape {
            Shape::Whole => write_item(kind, &entry.value, entry.revision, &mut out),
            Shape::Partial { version, .. } => write_partial(version, &entry.value, entry.revision, &mut out),
            Shape::Table { version, include } => row(kind, version, *include, &entry.decode(kind)?, &mut out),
        }
    }
    out.extend_from_slice(b"]}\n");
    Ok(out)
}

/// `untyped` lists show an empty token as well.
fn list_head(kind: &str, api_version: &str, meta: &ListMeta, untyped: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"kind\":{kind:?},\"apiVersion\":{api_version:?},\"metadata\":").as_bytes());
    list_meta(meta, untyped, out);
    out.extend_from_slice(b",\"items\":[");
}

fn list_meta(meta: &ListMeta, untyped: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"resourceVersion\":\"{}\"", meta.revision).as_bytes());
    if untyped || !meta.continues.is_empty() {
        out.extend_from_slice(format!(",\"continue\":{:?}", meta.continues).as_bytes());
    }
    if let Some(remaining) = meta.remaining {
        out.extend_from_slice(format!(",\"remainingItemCount\":{remaining}").as_bytes());
    }
    out.push(b'}');
}

fn table_head(kind: &Kind, version: &str, meta: &ListMeta, columns: bool, out: &mut Vec<u8>) {
    let api_version = api_version("meta.k8s.io", version);
    out.extend_from_slice(format!("{{\"kind\":\"Table\",\"apiVersion\":{api_version:?},\"metadata\":").as_bytes());
    list_meta(meta, false, out);
    out.extend_from_slice(b",\"columnDefinitions\":");
    match columns {
        true => json::encode_into(&Value::List(kind.columns.iter().map(column).collect()), out),
        false => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"rows\":[");
}

fn column(column: &api::kind::Column) -> Value {
    let mut map = Map::new();
    map.insert("name", &*column.name);
    map.insert("type", &*column.kind);
    map.insert("format", &*column.format);
    map.insert("description", &*column.description);
    map.insert("priority", column.priority);
    Value::Map(map)
}

fn row(kind: &Kind, version: &str, include: Include, object: &Object, out: &mut Vec<u8>) {
    let mut map = Map::new();
    map.insert("cells", kind.cells(object, jiff::Timestamp::now().as_second()));
    map.insert(
        "object",
        match include {
            Include::None => Value::Null,
            Include::Metadata => partial_value(object, version),
            Include::Object => Value::Map(object.0.clone()),
        },
    );
    json::encode_map_into(&map, out);
}

fn go_name(kind: &Kind) -> String {
    let group = match kind.names.group.split('.').next().unwrap_or("") {
        "" => "core",
        first => first,
    };
    format!("*{group}.{}", kind.names.kind)
}

fn not_an_object(kind: &Kind) -> Status {
    let what = go_name(kind);
    let message = format!("you requested PartialObjectMetadata, but the requested object is a list ({what}List)");
    Status::new(406, "NotAcceptable", message)
}

fn not_a_list(kind: &Kind) -> Status {
    let what = go_name(kind);
    let message = format!("you requested PartialObjectMetadataList, but the requested object is not a list ({what})");
    Status::new(406, "NotAcceptable", message)
}

//! Rows of a Table: what `kubectl get` shows.

use super::ListMeta;
use crate::cache::Entry;
use crate::lookup;
use crate::negotiate::Include;
use crate::registry::{partial_value, tells_more};
use crate::request::api_version;
use api::codec::json;
use api::{Kind, Map, Object, Status, Value};
use std::sync::Arc;

/// The list of a kind's rows where it has none: of kinds that upstream has no rows of its own for, null.
pub(super) fn no_rows(kind: &Kind) -> &'static [u8] {
    match kind.columns.iter().any(|c| c.name == "Created At") {
        true => b"null",
        false => b"[]",
    }
}

/// The order of the rows: as in any list, but FlowSchemas stand in the order in which they are asked, as upstream.
pub(super) fn order(kind: &Kind, entries: &mut [Arc<Entry>]) {
    if lookup::FLOW_SCHEMAS.is(kind) {
        entries.sort_by_cached_key(|entry| {
            let precedence = |object: Object| object.at(&["spec", "matchingPrecedence"]).and_then(Value::as_i64);
            (entry.decode(kind).ok().and_then(precedence), entry.name.clone())
        });
    }
}

/// Everything up to the list of rows. `columns` says whether the columns are named: later Tables of a watch do without.
pub(super) fn head(kind: &Kind, version: &str, meta: &ListMeta, columns: bool, out: &mut Vec<u8>) {
    let api_version = api_version("meta.k8s.io", version);
    out.extend_from_slice(format!("{{\"kind\":\"Table\",\"apiVersion\":{api_version:?},\"metadata\":").as_bytes());
    super::list_meta(meta, false, out);
    out.extend_from_slice(b",\"columnDefinitions\":");
    match columns {
        true => json::encode_into(&Value::List(kind.columns.iter().map(column).collect()), out),
        false => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"rows\":");
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

pub(super) fn row(
    kind: &Kind,
    version: &str,
    include: Include,
    entry: &Entry,
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    let object = entry.decode(kind)?;
    let now = jiff::Timestamp::now().as_second();
    let mut map = Map::new();
    map.insert(
        "cells",
        match tells_more(kind) {
            Some(other) => other.cells(&entry.decode(other)?, now),
            None => kind.cells(&object, now),
        },
    );
    let conditions = api::table::conditions(kind, &object);
    if !conditions.is_empty() {
        map.insert("conditions", conditions);
    }
    map.insert(
        "object",
        match include {
            Include::None => Value::Null,
            Include::Metadata => partial_value(super::alone(kind, object.meta().cloned().unwrap_or_default()), version),
            Include::Object => Value::Map(object.0),
        },
    );
    json::encode_map_into(&map, out);
    Ok(())
}

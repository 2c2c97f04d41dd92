//! Rows of a Table: what `kubectl get` shows.

use super::ListMeta;
use crate::negotiate::Include;
use crate::registry::partial_value;
use crate::request::api_version;
use api::codec::json;
use api::{Kind, Map, Object, Value};

/// Everything up to the first row. `columns` says whether the columns are named: later Tables of a watch do without.
pub(super) fn head(kind: &Kind, version: &str, meta: &ListMeta, columns: bool, out: &mut Vec<u8>) {
    let api_version = api_version("meta.k8s.io", version);
    out.extend_from_slice(format!("{{\"kind\":\"Table\",\"apiVersion\":{api_version:?},\"metadata\":").as_bytes());
    super::list_meta(meta, false, out);
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

/// Upstream keeps it elsewhere than in the annotations while it makes rows.
const GENERATION: &str = "deprecated.daemonset.template.generation";

fn metadata(kind: &Kind, object: &Object, version: &str) -> Value {
    if !(kind.names.plural == "daemonsets" && kind.names.group == "apps") {
        return partial_value(object, version);
    }
    let mut object = object.clone();
    if let Some(Value::Map(annotations)) = object.meta_mut().get_mut("annotations") {
        annotations.remove(GENERATION);
        if annotations.is_empty() {
            object.meta_mut().remove("annotations");
        }
    }
    partial_value(&object, version)
}

pub(super) fn row(kind: &Kind, version: &str, include: Include, object: &Object, out: &mut Vec<u8>) {
    let mut map = Map::new();
    map.insert("cells", kind.cells(object, jiff::Timestamp::now().as_second()));
    let conditions = api::table::conditions(kind, object);
    if !conditions.is_empty() {
        map.insert("conditions", conditions);
    }
    map.insert(
        "object",
        match include {
            Include::None => Value::Null,
            Include::Metadata => metadata(kind, object, version),
            Include::Object => Value::Map(object.0.clone()),
        },
    );
    json::encode_map_into(&map, out);
}

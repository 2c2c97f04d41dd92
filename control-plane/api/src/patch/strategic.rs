//! Strategic merge patch: lists merge by keys that the schema names, directives in the patch say what else to do.
//!
//! `$patch` (replace, delete), `$retainKeys`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…`. What is added as a
//! whole is only cleared of `$patch` and nulls: the other directives stay in it as the unknown fields that they are.

use super::lists;
use super::{PatchError, go_text, go_type};
use crate::schema::{self, Field, Schema, Type};
use crate::value::{Key, Map, Value};

pub(super) const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE: &str = "$deleteFromPrimitiveList";
const ORDER: &str = "$setElementOrder";

/// The target with the patch applied; `type_name` is the kind's (`io.k8s.api.core.v1.Pod`).
///
/// # Errors
/// The patch is malformed, or contradicts itself, the schema or the target.
pub fn apply(type_name: &str, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    super::merge::check(patch)?;
    let (target, mut patch) =
        (target.as_map().cloned().unwrap_or_default(), patch.as_map().cloned().unwrap_or_default());
    merge(type_name, target, &mut patch).map(Value::Map)
}

/// The same; what is left of the patch is what messages show of it.
///
/// # Errors
/// As `apply`.
pub fn merge(type_name: &str, target: Map, patch: &mut Map) -> Result<Map, PatchError> {
    merge_map(target, patch, Shape { schema: schema::find(type_name), item: None })
}

/// What is known of a map's fields.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    schema: Option<&'static Schema>,
    /// The type of the values of a map that is no struct.
    item: Option<&'static Type>,
}

impl Shape {
    pub(super) fn of(ty: Option<&'static Type>) -> Shape {
        match ty {
            Some(Type::Struct(s)) => Shape { schema: Some(s.get()), item: None },
            Some(Type::Map(item)) => Shape { schema: None, item: Some(item) },
            _ => Shape { schema: None, item: None },
        }
    }

    /// A field whose metadata a merge needs.
    fn field(self, key: &str) -> Result<Option<&'static Field>, PatchError> {
        let Some(schema) = self.schema else { return Ok(None) };
        let typed = matches!(key, "apiVersion" | "kind");
        match schema.field(key) {
            None if !typed => {
                fail(format!("unable to find api field in struct {} for the json field {key:?}", schema.name))
            }
            found => Ok(found),
        }
    }

    /// The shape of a map below.
    fn below(self, field: Option<&'static Field>) -> Shape {
        Shape::of(field.map(|f| &f.ty).or(self.item))
    }
}

pub(super) fn fail<T>(message: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Failed(message.into()))
}

fn bad_format<T>(of: &str) -> Result<T, PatchError> {
    Err(PatchError::Format(format!("invalid patch format of {of}")))
}

/// A directive that means nothing, as Go prints it where it expects a text.
pub(super) fn unknown_directive<T>(directive: &Value, patch: &Map) -> Result<T, PatchError> {
    let shown = match directive {
        Value::Str(text) => text.to_string(),
        Value::Null => "%!s(<nil>)".into(),
        Value::Bool(b) => format!("%!s(bool={b})"),
        Value::Int(i) => format!("%!s(int64={i})"),
        Value::Float(_) => format!("%!s(float64={})", go_text(directive)),
        Value::List(_) | Value::Map(_) => go_text(directive),
    };
    fail(format!("unknown patch type: {shown} in map: {}", go_text(&Value::Map(patch.clone()))))
}

pub(super) fn merge_map(mut target: Map, patch: &mut Map, shape: Shape) -> Result<Map, PatchError> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::Str(d)) if d == "replace" => {
            patch.remove(PATCH);
            return Ok(patch.clone());
        }
        Some(Value::Str(d)) if d == "delete" => return Ok(Map::new()),
        Some(other) => return unknown_directive(other, patch),
    }
    retain_keys(&mut target, patch)?;
    ordered_lists(&mut target, patch, shape)?;
    for (key, change) in patch.iter_mut() {
        let (name, deletes) = match key.strip_prefix(DELETE) {
            None => (key.clone(), false),
            Some(rest) => match rest.strip_prefix('/') {
                Some(name) => (Key::new(name), true),
                None => return bad_format("primitive list"),
            },
        };
        merge_field(&mut target, name, change, deletes, shape)?;
    }
    Ok(target)
}

fn retain_keys(target: &mut Map, patch: &mut Map) -> Result<(), PatchError> {
    let Some(listed) = patch.remove(RETAIN) else { return Ok(()) };
    let Some(list) = listed.as_list() else { return bad_format("retainKeys") };
    let keeps = |key: &Key| list.iter().any(|v| v.as_str() == Some(key));
    let directive = |k: &str| k.starts_with(&format!("{DELETE}/")) || k.starts_with(&format!("{ORDER}/"));
    if patch.iter().any(|(k, v)| !v.is_null() && !directive(k) && !keeps(k)) {
        return bad_format("retainKeys");
    }
    target.retain(|k, _| keeps(k));
    Ok(())
}

fn listed(value: Option<&Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None => Ok(None),
        Some(Value::List(items)) => Ok(Some(items.clone())),
        Some(other) => {
            let received = go_type(other, "%!s(<nil>)");
            fail(format!("expected a []interface {{}}, but received a {received}"))
        }
    }
}

/// Lists whose order the patch sets: merged and arranged here, and taken out of the patch.
fn ordered_lists(target: &mut Map, patch: &mut Map, shape: Shape) -> Result<(), PatchError> {
    let keys: Vec<Key> = patch.keys().filter(|k| k.starts_with(ORDER)).cloned().collect();
    for key in keys {
        let order = patch.remove(&key);
        let order = listed(order.as_ref())?.unwrap_or_default();
        let Some(name) = key.strip_prefix(ORDER).and_then(|k| k.strip_prefix('/')) else {
            return bad_format("setElementOrder list");
        };
        let (server, changes) = (listed(target.get(name))?, listed(patch.get(name))?);
        let field = shape.field(name)?;
        let merge_key = field.and_then(|f| f.patch.merge_key);
        if let Some(changes) = &changes {
            lists::follows(changes, &order, merge_key)?;
        }
        let merged = match (server.clone(), patch.get_mut(name)) {
            (None, None) => continue,
            (Some(server), None) => server,
            (None, Some(changes)) => match cleared(changes) {
                Some(Value::List(items)) => items,
                _ => continue,
            },
            (Some(server), Some(changes)) => merge_list(server, changes, field, false)?,
        };
        let (server, changes) = (server.unwrap_or_default(), changes.unwrap_or_default());
        lists::element_type(&[&server, &changes])?;
        target.insert(Key::new(name), lists::arrange(merged, &order, &server, merge_key)?);
        patch.remove(name);
    }
    Ok(())
}

/// Whether Go would have both in one type.
fn same_type(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn merge_field(target: &mut Map, key: Key, change: &mut Value, deletes: bool, shape: Shape) -> Result<(), PatchError> {
    if change.is_null() {
        target.remove(&key);
        return Ok(());
    }
    let old = target.remove(&key);
    let Some(old) = old.as_ref().filter(|old| same_type(old, change)).cloned() else {
        match old {
            Some(old) if deletes => target.insert(key, old),
            _ if deletes => None,
            _ => added(change).and_then(|value| target.insert(key, value)),
        };
        return Ok(());
    };
    let merged = match (old, &mut *change) {
        (Value::Map(old), Value::Map(new)) => {
            let field = shape.field(&key)?;
            if field.is_some_and(|f| f.patch.replace) {
                Value::Map(new.clone())
            } else {
                Value::Map(merge_map(old, new, shape.below(field))?)
            }
        }
        (Value::List(old), new @ Value::List(_)) => Value::List(merge_list(old, new, shape.field(&key)?, deletes)?),
        (_, new) => new.clone(),
    };
    target.insert(key, merged);
    Ok(())
}

/// What is added where nothing is; none for what is not kept.
fn added(value: &mut Value) -> Option<Value> {
    without_nulls(value);
    cleared(value)
}

/// A value without directives. A list stays as it is in the patch, while the maps in it lose theirs there as well.
fn cleared(value: &mut Value) -> Option<Value> {
    match value {
        Value::List(items) => {
            Some(Value::List(items.iter_mut().filter_map(|i| without_directives(i).then(|| i.clone())).collect()))
        }
        other => without_directives(other).then(|| other.clone()),
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Map(map) => {
            map.retain(|_, v| !v.is_null());
            map.iter_mut().for_each(|(_, v)| without_nulls(v));
        }
        Value::List(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
    }
}

/// Removes maps that have a `$patch`; false when the value itself is one.
fn without_directives(value: &mut Value) -> bool {
    match value {
        Value::Map(map) if map.contains_key(PATCH) => false,
        Value::Map(map) => {
            map.retain(|_, v| without_directives(v));
            true
        }
        Value::List(items) => {
            items.retain_mut(without_directives);
            true
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => true,
    }
}

fn merge_list(
    server: Vec<Value>,
    changes: &mut Value,
    field: Option<&'static Field>,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    let Value::List(changes) = changes else { return Ok(server) };
    let Some(field) = field.filter(|f| f.patch.merge) else { return Ok(changes.clone()) };
    if server.is_empty() && changes.is_empty() {
        return Ok(server);
    }
    let maps = lists::element_type(&[&server, changes])?;
    if !maps {
        if deletes {
            return Ok(server.into_iter().filter(|v| !changes.contains(v)).collect());
        }
        let mut all = server.clone();
        all.extend(changes.iter().cloned());
        let all = lists::distinct(all);
        return Ok(lists::ordered(all, changes, &server, None));
    }
    match field.patch.merge_key {
        None => fail("cannot merge lists without merge key for struct"),
        Some(key) => lists::merge_items(server, changes, key, item_shape(field)),
    }
}

fn item_shape(field: &'static Field) -> Shape {
    match &field.ty {
        Type::List(item) => Shape::of(Some(item)),
        other => Shape::of(Some(other)),
    }
}

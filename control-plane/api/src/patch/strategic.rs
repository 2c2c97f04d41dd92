//! Strategic merge patch: lists merge by keys that the schema names, directives in the patch say what else to do.
//!
//! `$patch` (replace, delete, merge), `$retainKeys`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…`.

use super::order::{Identity, arrange};
use super::{PatchError, go_text, json_type};
use crate::schema::{self, Field, Schema, Type};
use crate::value::{Map, Value};
use std::collections::HashSet;

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// The target with the patch applied; `type_name` is the kind's (`io.k8s.api.core.v1.Pod`).
///
/// # Errors
/// The patch is malformed, or contradicts itself, the schema or the target.
pub fn apply(type_name: &str, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    super::merge::check(patch)?;
    let shape = Shape { schema: schema::find(type_name), item: None };
    let (mut target, patch) =
        (target.as_map().cloned().unwrap_or_default(), patch.as_map().cloned().unwrap_or_default());
    merge_map(&mut target, patch, shape)?;
    Ok(Value::Map(target))
}

/// What is known of a map's fields.
#[derive(Clone, Copy)]
struct Shape {
    schema: Option<&'static Schema>,
    /// The type of the values of a map that is no struct.
    item: Option<&'static Type>,
}

impl Shape {
    fn of(ty: Option<&'static Type>) -> Shape {
        match ty {
            Some(Type::Struct(s)) => Shape { schema: Some(s.get()), item: None },
            Some(Type::Map(item)) => Shape { schema: None, item: Some(item) },
            _ => Shape { schema: None, item: None },
        }
    }

    fn field(self, key: &str) -> Option<&'static Field> {
        self.schema?.field(key)
    }

    /// The shape of a map below.
    fn below(self, key: &str) -> Shape {
        Shape::of(self.field(key).map(|f| &f.ty).or(self.item))
    }
}

fn fail<T>(message: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Failed(message.into()))
}

fn merge_map(target: &mut Map, mut patch: Map, shape: Shape) -> Result<(), PatchError> {
    match patch.get(PATCH).map(|d| d.as_str().unwrap_or("")) {
        None => {}
        Some("replace") => {
            patch.remove(PATCH);
            *target = patch;
            return Ok(());
        }
        Some("delete") => {
            *target = Map::new();
            return Ok(());
        }
        Some("merge") => drop(patch.remove(PATCH)),
        Some(other) => {
            return fail(format!("unknown patch type: {other} in map: {}", go_text(&Value::Map(patch.clone()))));
        }
    }
    retain_keys(target, &mut patch)?;
    ordered_lists(target, &mut patch, shape)?;
    for (key, change) in patch {
        match key.strip_prefix(DELETE) {
            Some(name) => delete_primitives(target, name, &change)?,
            None => merge_field(target, key, change, shape)?,
        }
    }
    Ok(())
}

fn retain_keys(target: &mut Map, patch: &mut Map) -> Result<(), PatchError> {
    let Some(listed) = patch.remove(RETAIN) else { return Ok(()) };
    let Some(list) = listed.as_list() else {
        return fail(format!("{RETAIN} directive must be a list, not {}", json_type(&listed)));
    };
    let keep: HashSet<&str> = list.iter().filter_map(Value::as_str).collect();
    let directive = |k: &str| k.starts_with(DELETE) || k.starts_with(ORDER);
    if patch.iter().any(|(k, v)| !v.is_null() && !directive(k) && !keep.contains(k.as_str())) {
        return fail(format!("{} contains fields not in the retainKeys list", go_text(&Value::Map(patch.clone()))));
    }
    target.retain(|k, _| keep.contains(k.as_str()));
    Ok(())
}

fn delete_primitives(target: &mut Map, name: &str, listed: &Value) -> Result<(), PatchError> {
    let Some(gone) = listed.as_list() else { return fail(format!("{DELETE}{name} directive must be a list")) };
    if let Some(Value::List(items)) = target.get_mut(name) {
        let gone: HashSet<String> = gone.iter().map(|v| Identity::Whole.of(v)).collect();
        items.retain(|item| !gone.contains(&Identity::Whole.of(item)));
    }
    Ok(())
}

/// Lists whose order the patch sets: merged and arranged here, and taken out of the patch.
fn ordered_lists(target: &mut Map, patch: &mut Map, shape: Shape) -> Result<(), PatchError> {
    let names: Vec<String> = patch.keys().filter_map(|k| k.strip_prefix(ORDER)).map(str::to_owned).collect();
    for name in names {
        let Some(Value::List(wanted)) = patch.remove(&format!("{ORDER}{name}")) else {
            return fail(format!("{ORDER}{name} directive must be a list"));
        };
        let changes = match patch.remove(&name) {
            None => None,
            Some(Value::List(items)) => Some(items),
            Some(other) => return fail(format!("cannot order {name}: it is {}", json_type(&other))),
        };
        let server = match target.get(&name) {
            None | Some(Value::Null) => None,
            Some(Value::List(items)) => Some(items.clone()),
            Some(other) => return fail(format!("cannot order {name}: it is {}", json_type(other))),
        };
        let field = shape.field(&name);
        let by = field.and_then(|f| f.patch.merge_key).map_or(Identity::Whole, Identity::Field);
        follows(changes.as_deref().unwrap_or(&[]), &wanted, by)?;
        let merged = match (server.clone(), changes) {
            (None, None) => continue,
            (Some(server), None) => server,
            (None, Some(changes)) => changes.into_iter().filter_map(without_directives).collect(),
            (Some(server), Some(changes)) => merge_list(server, changes, field)?,
        };
        target.insert(name, Value::List(arrange(merged, &wanted, &server.unwrap_or_default(), by)));
    }
    Ok(())
}

/// What the patch changes must stand in the order that it sets.
fn follows(changes: &[Value], wanted: &[Value], by: Identity<'_>) -> Result<(), PatchError> {
    let changed: Vec<&Value> = changes.iter().filter(|v| v.get(PATCH).is_none()).collect();
    let mut rest = wanted.iter();
    if changed.iter().all(|c| rest.any(|w| by.of(w) == by.of(c))) {
        return Ok(());
    }
    let changes = Value::List(changed.into_iter().cloned().collect());
    fail(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        go_text(&changes),
        go_text(&Value::List(wanted.to_vec()))
    ))
}

fn merge_field(target: &mut Map, key: crate::value::Key, change: Value, shape: Shape) -> Result<(), PatchError> {
    if change.is_null() {
        target.remove(&key);
        return Ok(());
    }
    let replaces = shape.field(&key).is_some_and(|f| f.patch.replace);
    let merged = match (target.remove(&key), change) {
        (Some(Value::Map(mut old)), Value::Map(new)) if !replaces => {
            merge_map(&mut old, new, shape.below(&key))?;
            Value::Map(old)
        }
        (Some(Value::List(old)), Value::List(new)) => Value::List(merge_list(old, new, shape.field(&key))?),
        (_, new) => match without_directives(new) {
            Some(new) => new,
            None => return Ok(()),
        },
    };
    target.insert(key, merged);
    Ok(())
}

/// A value as it is added: without nulls and directives. None for an item that only asks for deletion or replacement.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Map(map) => match map.get(PATCH).and_then(Value::as_str) {
            Some("delete") => None,
            Some("replace") if map.len() == 1 => None,
            _ => {
                let kept = map.into_iter().filter(|(k, v)| !v.is_null() && !is_directive(k));
                Some(Value::Map(kept.filter_map(|(k, v)| Some((k, without_directives(v)?))).collect()))
            }
        },
        Value::List(items) => Some(Value::List(items.into_iter().filter_map(without_directives).collect())),
        scalar => Some(scalar),
    }
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN || key.starts_with(DELETE) || key.starts_with(ORDER)
}

fn merge_list(
    server: Vec<Value>,
    changes: Vec<Value>,
    field: Option<&'static Field>,
) -> Result<Vec<Value>, PatchError> {
    let Some(field) = field.filter(|f| f.patch.merge) else {
        return Ok(changes.into_iter().filter_map(without_directives).collect());
    };
    let mut types = server.iter().chain(&changes).map(json_type);
    let first = types.next();
    if types.any(|t| Some(t) != first) {
        let both = Value::List(vec![Value::List(server), Value::List(changes)]);
        return fail(format!("list element types are not identical: {}", go_text(&both)));
    }
    match (first, field.patch.merge_key) {
        (Some("object"), Some(key)) => merge_items(server, changes, key, item_shape(field)),
        (Some("object"), None) => fail(format!("cannot merge lists without merge key for {}", field.name)),
        _ => {
            let mut seen = HashSet::new();
            let all = server.iter().chain(&changes).filter(|v| seen.insert(Identity::Whole.of(v)));
            let all: Vec<Value> = all.cloned().collect();
            Ok(arrange(all, &changes, &server, Identity::Whole))
        }
    }
}

fn item_shape(field: &'static Field) -> Shape {
    match &field.ty {
        Type::List(item) => Shape::of(Some(item)),
        other => Shape::of(Some(other)),
    }
}

fn merge_items(server: Vec<Value>, changes: Vec<Value>, key: &str, shape: Shape) -> Result<Vec<Value>, PatchError> {
    let by = Identity::Field(key);
    let mut merged = server.clone();
    let mut plain: Vec<Value> = Vec::with_capacity(changes.len());
    let mut gone: HashSet<String> = HashSet::new();
    let mut replace = false;
    for change in changes {
        match change.get(PATCH).map(|d| d.as_str().unwrap_or("")) {
            None => plain.push(change),
            Some("replace") => replace = true,
            Some("delete") => {
                missing_key(&change, key)?;
                gone.insert(by.of(&change));
            }
            Some("merge") => return fail("merging lists cannot yet be specified in the patch"),
            Some(other) => return fail(format!("unknown patch type found: {other} in map")),
        }
    }
    if replace {
        return Ok(plain.into_iter().filter_map(without_directives).collect());
    }
    merged.retain(|item| !gone.contains(&by.of(item)));
    let mut places = by.positions(&merged);
    for change in &plain {
        missing_key(change, key)?;
        let id = by.of(change);
        match places.get(&id) {
            Some(&i) => {
                if let (Some(item), Value::Map(change)) = (merged[i].as_map_mut(), change.clone()) {
                    merge_map(item, change, shape)?;
                }
            }
            None => {
                if let Some(new) = without_directives(change.clone()) {
                    places.insert(id, merged.len());
                    merged.push(new);
                }
            }
        }
    }
    Ok(arrange(merged, &plain, &server, by))
}

fn missing_key(item: &Value, key: &str) -> Result<(), PatchError> {
    match item.get(key) {
        Some(_) => Ok(()),
        None => fail(format!("map: {} does not contain declared merge key: {key}", go_text(item))),
    }
}

//! The lists of strategic merge patches: items merged by their key, and the order of what comes out.

use super::order::{self, Identity};
use super::strategic::{PATCH, Shape, fail, merge_map};
use super::{PatchError, go_text, go_type};
use crate::value::{Map, Value};

fn identity(merge_key: Option<&str>) -> Identity<'_> {
    merge_key.map_or(Identity::Whole, Identity::Field)
}

/// Whether the items are maps: all must be of one type, and none a list.
pub(super) fn element_type(lists: &[&[Value]]) -> Result<bool, PatchError> {
    let mut items = lists.iter().flat_map(|l| l.iter());
    let Some(first) = items.next() else { return fail("no elements in any of the given slices") };
    if matches!(first, Value::List(_)) {
        return Err(PatchError::Unsupported("lists of lists are not supported".into()));
    }
    if items.any(|item| std::mem::discriminant(item) != std::mem::discriminant(first)) {
        let all = Value::List(lists.iter().map(|l| Value::List(l.to_vec())).collect());
        return fail(format!("list element types are not identical: {}", go_text(&all)));
    }
    Ok(matches!(first, Value::Map(_)))
}

fn no_key<T>(item: &Map, key: &str) -> Result<T, PatchError> {
    fail(format!("map: {} does not contain declared merge key: {key}", go_text(&Value::Map(item.clone()))))
}

fn key_of<'v>(item: &'v Value, key: &str) -> Result<&'v Value, PatchError> {
    let Some(map) = item.as_map() else {
        return fail(format!("expected a map[string]interface {{}}, but received a {}", go_type(item, "%!s(<nil>)")));
    };
    map.get(key).map_or_else(|| no_key(map, key), Ok)
}

/// What the patch changes must stand in the order that it sets.
pub(super) fn follows(changes: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), PatchError> {
    if changes.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut changed = changes.iter().filter(|v| v.get(PATCH).is_none()).peekable();
    let mut order_left = order.iter();
    while let Some(change) = changed.peek() {
        let Some(wanted) = order_left.next() else {
            return fail(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                go_text(&Value::List(changes.to_vec())),
                go_text(&Value::List(order.to_vec()))
            ));
        };
        let equal = match merge_key {
            Some(key) => key_of(change, key)? == key_of(wanted, key)?,
            None => *change == wanted,
        };
        if equal {
            changed.next();
        }
    }
    Ok(())
}

/// Without repetitions, in upstream's way: the last item takes the place of each one.
pub(super) fn distinct(mut items: Vec<Value>) -> Vec<Value> {
    let mut i = 0;
    while i < items.len() {
        let mut j = i + 1;
        while j < items.len() {
            if items[i] == items[j] {
                items.swap_remove(j);
            } else {
                j += 1;
            }
        }
        i += 1;
    }
    items
}

/// The merged items in the order that the patch sets.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    server: &[Value],
    merge_key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = merge_key {
        merged.iter().try_for_each(|item| key_of(item, key).map(drop))?;
    }
    Ok(ordered(merged, order, server, merge_key))
}

pub(super) fn ordered(merged: Vec<Value>, order: &[Value], server: &[Value], merge_key: Option<&str>) -> Vec<Value> {
    order::arrange(merged, order, server, identity(merge_key))
}

/// Merges items by their key.
pub(super) fn merge_items(
    server: Vec<Value>,
    changes: &mut [Value],
    key: &str,
    shape: Shape,
) -> Result<Vec<Value>, PatchError> {
    let mut merged = server;
    let mut replace = false;
    let mut plain = Vec::with_capacity(changes.len());
    for change in changes.iter() {
        let Some(directive) = change.get(PATCH) else {
            plain.push(change.clone());
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let gone = key_of(change, key)?;
                merged.retain(|item| item.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => return fail("merging lists cannot yet be specified in the patch"),
            _ => {
                let map = change.as_map().cloned().unwrap_or_default();
                return super::strategic::unknown_directive(directive, &map);
            }
        }
    }
    if replace {
        plain.iter().try_for_each(|item| key_of(item, key).map(drop))?;
        return Ok(plain);
    }
    let server = merged.clone();
    let mut places = Identity::Field(key).positions(&merged);
    for change in &mut plain {
        key_of(change, key)?;
        let id = Identity::Field(key).of(change);
        let Value::Map(change) = change else { continue };
        match places.get(&id) {
            Some(&i) => {
                let item = std::mem::take(&mut merged[i]).as_map().cloned().unwrap_or_default();
                merged[i] = Value::Map(merge_map(item, change, shape)?);
            }
            None => {
                places.insert(id, merged.len());
                merged.push(Value::Map(change.clone()));
            }
        }
    }
    arrange(merged, &plain, &server, Some(key))
}

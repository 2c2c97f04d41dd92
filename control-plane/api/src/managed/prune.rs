//! What goes from an object when its applier no longer says it.

use super::set::{Element, Set};
use super::walk::{Shape, fields};
use crate::value::{Map, Value};

/// `merged` without what its applier owned by itself and nobody claims now. A struct of which it owned a field
/// goes as a whole, with what defaults have set in it, when nobody claims any of its fields.
pub(super) fn prune(shape: Shape<'_>, merged: &Map, last: &Set, claimed: &Set) -> Map {
    let (last, all) = (named(shape, last), named(shape, &fields(shape, merged)));
    let left = without(shape, merged, &last);
    let mut unclaimed = all.clone();
    unclaimed.difference(&named(shape, &fields(shape, &left)));
    unclaimed.difference(&named(shape, claimed));
    let left = without(shape, merged, &unclaimed);
    let mut gone = all;
    gone.difference(&named(shape, &fields(shape, &left)));
    without(shape, merged, &gone.intersection(&last))
}

/// The set with the structs' fields above its members as members.
fn named(shape: Shape<'_>, set: &Set) -> Set {
    let mut out = Set::default();
    collect(shape, set, &mut Vec::new(), &mut out);
    out.union(set);
    out
}

fn collect(shape: Shape<'_>, set: &Set, path: &mut Vec<Element>, out: &mut Set) {
    for (element, child) in set.children() {
        let (below, field) = match element {
            Element::Field(key) => shape.below(key),
            Element::Keys(_) | Element::Value(_) | Element::Index(_) => (shape.item(), false),
        };
        path.push(element.clone());
        if field {
            out.insert(path);
        }
        collect(below, child, path, out);
        path.pop();
    }
}

/// Without the members of a set, and all below them. What becomes empty is null.
fn without(shape: Shape<'_>, map: &Map, set: &Set) -> Map {
    let mut out = Map::new();
    for (key, value) in map.iter() {
        let element = Element::Field(key.clone());
        if set.has(&element) {
            continue;
        }
        let value = match set.child(&element) {
            Some(child) => without_below(shape.below(key).0, value, child),
            None => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    out
}

fn without_below(shape: Shape<'_>, value: &Value, set: &Set) -> Value {
    match value {
        Value::Map(map) if shape.is_map() => match without(shape, map, set) {
            left if left.is_empty() => Value::Null,
            left => Value::Map(left),
        },
        Value::List(items) if shape.is_list() => {
            let left: Vec<Value> = items.iter().filter_map(|item| without_item(shape, item, set)).collect();
            if left.is_empty() { Value::Null } else { Value::List(left) }
        }
        other => other.clone(),
    }
}

fn without_item(list: Shape<'_>, item: &Value, set: &Set) -> Option<Value> {
    let element = list.element(item);
    match set.child(&element) {
        _ if set.has(&element) => None,
        Some(child) => Some(without_below(list.item(), item, child)),
        None => Some(item.clone()),
    }
}

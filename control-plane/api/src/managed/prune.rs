//! What goes from an object when its applier no longer says it.

use super::entries::Entry;
use super::set::{Element, Set};
use super::view::View;
use super::walk::{Shape, fields};
use crate::kind::Kind;
use crate::value::{Map, Value};

/// `merged` without what its applier owned by itself and nobody of `owners` claims now. A struct of which it owned a
/// field goes as a whole, with what defaults have set in it, when nobody claims any of its fields.
///
/// # Errors
/// The version of an owner does not have the fields of the object.
pub(super) fn prune(kind: &Kind, merged: Map, last: &Entry, owners: &[Entry]) -> Result<Map, String> {
    let Some(view) = View::of(kind, &last.api_version)? else { return Ok(merged) };
    let why = |why| format!("failed to convert merged object to last applied version: {why}");
    let (shape, whole) = (view.shape(), view.show(&merged).map_err(why)?);
    let last_named = named(shape, &last.fields);
    let mut left = view.back(without(shape, &whole, &last_named));
    for (version, claimed) in claims(&last.api_version, owners) {
        if let Some(view) = View::of(kind, version)? {
            left = view.back(claimed_again(view, &merged, &left, &claimed).map_err(|why| {
                format!("failed add back owned items: failed to convert merged object at version {version}: {why}")
            })?);
        }
    }
    let all = named(shape, &fields(shape, &whole));
    let left = view.show(&left).map_err(|why| format!("failed add back dangling items: {why}"))?;
    let mut gone = all;
    gone.difference(&named(shape, &fields(shape, &left)));
    Ok(view.back(without(shape, &whole, &gone.intersection(&last_named))))
}

/// What is owned in each version, the applier's last one before others.
fn claims<'o>(first: &'o str, owners: &'o [Entry]) -> Vec<(&'o str, Set)> {
    let mut out = vec![(first, Set::default())];
    for owner in owners {
        match out.iter_mut().find(|(version, _)| *version == owner.api_version) {
            Some((_, set)) => set.union(&owner.fields),
            None => out.push((&owner.api_version, owner.fields.clone())),
        }
    }
    out
}

/// `left` with what is claimed in this version, of what `merged` has.
fn claimed_again(view: View<'_>, merged: &Map, left: &Map, claimed: &Set) -> Result<Map, String> {
    let (shape, merged, left) = (view.shape(), view.show(merged)?, view.show(left)?);
    let mut unclaimed = named(shape, &fields(shape, &merged));
    unclaimed.difference(&named(shape, &fields(shape, &left)));
    unclaimed.difference(&named(shape, claimed));
    Ok(without(shape, &merged, &unclaimed))
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

/// Without the members of a set, and all below them. A list that becomes empty goes, a map stays.
fn without(shape: Shape<'_>, map: &Map, set: &Set) -> Map {
    let left = map.iter().filter_map(|(key, value)| {
        let element = Element::Field(key.clone());
        let left = match set.child(&element) {
            _ if set.has(&element) => None,
            Some(child) => without_below(shape.below(key).0, value, child),
            None => Some(value.clone()),
        };
        Some((key.clone(), left?))
    });
    left.collect()
}

fn without_below(shape: Shape<'_>, value: &Value, set: &Set) -> Option<Value> {
    match value {
        Value::Map(map) if shape.is_map() => Some(Value::Map(without(shape, map, set))),
        Value::List(items) if shape.is_list() => {
            let left: Vec<Value> = items.iter().filter_map(|item| without_item(shape, item, set)).collect();
            (!left.is_empty()).then_some(Value::List(left))
        }
        other => Some(other.clone()),
    }
}

fn without_item(list: Shape<'_>, item: &Value, set: &Set) -> Option<Value> {
    let element = list.element(item);
    match set.child(&element) {
        _ if set.has(&element) => None,
        Some(child) => without_below(list.item(), item, child),
        None => Some(item.clone()),
    }
}

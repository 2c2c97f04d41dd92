//! Server-side apply: an applier says all that it wants; what it no longer says goes, what others own is a conflict.

use super::entries::{self, Entry};
use super::prune::prune;
use super::set::Set;
use super::view::{self, Seen};
use super::walk::{Shape, by_element, compare, fields, text};
use super::{Writer, blank, last_applied, never_owned, not_written};
use crate::kind::Kind;
use crate::object::Object;
use crate::status::{Cause, Details, Status};
use crate::value::{Map, Value};
use std::collections::HashSet;

/// The owner of what was there before anybody applied, where nobody is recorded.
const BEFORE: &str = "before-first-apply";

/// The live object with a configuration applied, its owners set. `live` is none when the object is to be created. The
/// result still has to go through the schema pass and defaults.
///
/// # Errors
/// The conflicts with other owners, unless `force` takes from them.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is answered once per request, and Status is its type everywhere"
)]
pub fn apply(
    kind: &Kind,
    live: Option<&Object>,
    configuration: &Object,
    writer: Writer<'_>,
    force: bool,
) -> Result<Object, Status> {
    let failed = |why| Status::new(500, "", why);
    let blank = blank(kind);
    let creates = live.is_none();
    let mut owners = live.map(|l| before(kind, l, &blank, writer)).unwrap_or_default();
    let live = live.unwrap_or(&blank);
    let shape = Shape::root(kind);
    let (mut own, last) = claim(kind, configuration, &mut owners, writer, shape);
    let last = view::known(kind, &live.0, last.into_iter().collect()).map_err(failed)?.pop();
    owners = view::known(kind, &live.0, owners).map_err(failed)?;
    let mut merged = merge_map(shape, &live.0, &configuration.0);
    // All that it says holds what is around it, its name the metadata: nobody owns that, so it is not written down.
    owners.push(Entry { fields: fields(shape, &configuration.0), ..own.clone() });
    if let Some(last) = last.filter(|last| !last.fields.is_empty()) {
        merged = prune(kind, merged, &last, &owners).map_err(failed)?;
    }
    owners.pop();
    let mut changes = compare(shape, &live.0, &merged);
    changes.without(&not_written(kind, writer.subresource));
    // What nobody owns may change too.
    let changed = !changes.is_empty();
    changes.without(&never_owned());
    let seen = Seen::new(kind, &owners, changes, (&live.0, &merged), writer.subresource).map_err(failed)?;
    let kubectl = writer.manager == last_applied::KUBECTL;
    let free = if kubectl { last_applied::takeable(shape, live) } else { Set::default() };
    take(&mut owners, &seen, &free, force)?;
    if creates || changed {
        own.time = writer.now.to_owned();
    }
    owners.push(own);
    owners.retain(|o| !o.fields.is_empty());
    let mut object = Object(merged);
    if kubectl {
        last_applied::keep_annotation(live, configuration, &mut object);
    }
    entries::write(&mut object, owners);
    Ok(object)
}

/// The owners of a stored object.
fn before(kind: &Kind, live: &Object, blank: &Object, writer: Writer<'_>) -> Vec<Entry> {
    let owners = entries::read(live).unwrap_or_default();
    if !owners.is_empty() {
        return owners;
    }
    let mut changes = compare(Shape::root(kind), &blank.0, &live.0);
    changes.without(&never_owned());
    changes.without(&not_written(kind, writer.subresource));
    let writer = Writer { manager: BEFORE, ..writer };
    vec![Entry { fields: changes.taken(), ..writer.entry(kind, false) }]
}

/// The applier's entry for its configuration, and the one that it had before.
fn claim(
    kind: &Kind,
    configuration: &Object,
    owners: &mut Vec<Entry>,
    writer: Writer<'_>,
    shape: Shape<'_>,
) -> (Entry, Option<Entry>) {
    let mut own = writer.entry(kind, true);
    own.time = String::new();
    own.fields = fields(shape, &configuration.0);
    own.fields.without(&never_owned());
    // Nor does anybody own metadata that says nothing.
    own.fields.difference(&super::paths(&[&["metadata"]]));
    own.fields.without(&not_written(kind, writer.subresource));
    match owners.iter().position(|o| o.is_of(&own)) {
        None => (own, None),
        Some(i) => {
            let before = owners.remove(i);
            own.time.clone_from(&before.time);
            (own, Some(before))
        }
    }
}

/// Takes what has changed from its owners; what is `free` is no conflict.
#[expect(clippy::result_large_err, reason = "as apply")]
fn take(owners: &mut [Entry], seen: &Seen, free: &Set, force: bool) -> Result<(), Status> {
    let mut conflicts: Vec<(String, String)> = Vec::new();
    owners.sort_by(|a, b| a.order().cmp(&b.order()));
    for owner in owners.iter_mut() {
        let changes = seen.by(owner);
        let mut guarded = owner.fields.intersection(&changes.taken());
        guarded.difference(free);
        conflicts.extend(guarded.paths().into_iter().map(|path| (named(owner), path)));
        owner.lose(changes);
    }
    match conflicts.is_empty() || force {
        true => Ok(()),
        false => Err(conflict(conflicts)),
    }
}

fn named(owner: &Entry) -> String {
    let mut name = format!("{:?}", owner.manager);
    if !owner.subresource.is_empty() {
        name = format!("{name} with subresource {:?}", owner.subresource);
    }
    if !owner.applied {
        name = format!("{name} using {}", owner.api_version);
    }
    name
}

fn conflict(conflicts: Vec<(String, String)>) -> Status {
    let message = match conflicts.as_slice() {
        [(owner, path)] => format!("Apply failed with 1 conflict: conflict with {owner}: {path}"),
        many => {
            let mut lines: Vec<String> = Vec::new();
            let mut last = "";
            for (owner, path) in many {
                if owner != last {
                    lines.push(format!("conflicts with {owner}:"));
                    last = owner;
                }
                lines.push(format!("- {path}"));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let causes = conflicts.into_iter().map(|(owner, path)| Cause {
        reason: "FieldManagerConflict".into(),
        message: format!("conflict with {owner}"),
        field: path,
    });
    let details = Details { causes: causes.collect(), ..Details::default() };
    Status { details: Some(details), ..Status::new(409, "Conflict", message) }
}

fn merge(shape: Shape<'_>, live: Option<&Value>, wanted: &Value) -> Value {
    match (live, wanted) {
        (Some(Value::Map(live)), Value::Map(wanted)) if shape.is_map() => Value::Map(merge_map(shape, live, wanted)),
        (Some(Value::List(live)), Value::List(wanted)) if shape.is_list() => {
            Value::List(merge_list(shape, live, wanted))
        }
        // Null says nothing of a map or a list that is merged, and so takes nothing from it.
        (Some(Value::Map(live)), Value::Null) if shape.is_map() && !live.is_empty() => Value::Map(live.clone()),
        (Some(Value::List(live)), Value::Null) if shape.is_list() && !live.is_empty() => Value::List(live.clone()),
        _ => wanted.clone(),
    }
}

fn merge_map(shape: Shape<'_>, live: &Map, wanted: &Map) -> Map {
    let mut out = live.clone();
    for (key, value) in wanted.iter() {
        let merged = merge(shape.below(key).0, live.get(key), value);
        out.insert(key.clone(), merged);
    }
    out
}

/// What both have stands in the applier's order; what only the server has keeps its place before the next shared item.
fn merge_list(shape: Shape<'_>, live: &[Value], wanted: &[Value]) -> Vec<Value> {
    let id = |v: &Value| text(&shape.element(v));
    let (ours, theirs) = (by_element(shape, live), by_element(shape, wanted));
    let left: Vec<String> = live.iter().map(id).collect();
    let right: Vec<String> = wanted.iter().map(id).collect();
    let mut shared = right.iter().filter(|r| ours.contains_key(*r));
    let mut next = shared.next();
    let mut done: HashSet<&str> = HashSet::new();
    let mut out = Vec::with_capacity(live.len().max(wanted.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
            if a == b {
                out.push(merge(shape.item(), ours.get(a).copied(), &wanted[r]));
                done.insert(a);
                (l, r, next) = (l + 1, r + 1, shared.next());
                continue;
            }
            if theirs.contains_key(a) && next.is_some_and(|n| n != a) {
                l += 1;
                continue;
            }
        }
        if let Some(a) = left.get(l) {
            if !theirs.contains_key(a) {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            if done.contains(a.as_str()) {
                l += 1;
            }
        }
        if let Some(b) = right.get(r) {
            out.push(merge(shape.item(), ours.get(b).copied(), &wanted[r]));
            done.insert(b);
            r += 1;
            if next == Some(b) {
                next = shared.next();
            }
        }
    }
    out
}

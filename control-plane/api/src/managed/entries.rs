//! `metadata.managedFields`: who owns which fields.

use super::set::Set;
use super::walk::Changes;
use crate::object::Object;
use crate::value::{Map, Value};

/// How many managers of updates are told apart, as upstream; the oldest are merged into one.
const MAX_UPDATERS: usize = 10;
/// Under this name.
const ANCIENT: &str = "ancient-changes";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    /// `Apply`, else `Update`.
    pub(super) applied: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: Set,
}

impl Entry {
    /// Managers in the order that conflicts name them.
    pub(super) fn order(&self) -> (&str, bool, &str, &str) {
        let version = if self.applied { "" } else { self.api_version.as_str() };
        (&self.manager, !self.applied, version, &self.subresource)
    }

    /// Whether both are the same manager's.
    pub(super) fn is_of(&self, other: &Entry) -> bool {
        (&self.manager, self.applied, &self.subresource) == (&other.manager, other.applied, &other.subresource)
            && (self.applied || self.api_version == other.api_version)
    }

    /// Without what somebody else has changed.
    pub(super) fn lose(&mut self, changes: &Changes) {
        for changed in [&changes.modified, &changes.added, &changes.removed] {
            self.fields.difference(changed);
        }
    }

    fn from_value(value: &Value) -> Option<Entry> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let applied = match text("operation").as_str() {
            "Apply" => true,
            "Update" => false,
            _ => return None,
        };
        let fields = match value.get("fieldsV1") {
            None | Some(Value::Null) => Set::default(),
            Some(fields) => Set::from_value(fields)?,
        };
        (text("fieldsType") == "FieldsV1" && !text("apiVersion").is_empty()).then_some(())?;
        Some(Entry {
            manager: text("manager"),
            applied,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields,
        })
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [
            ("manager", &self.manager),
            ("apiVersion", &self.api_version),
            ("subresource", &self.subresource),
            ("time", &self.time),
        ] {
            if !text.is_empty() {
                map.insert(key, text.as_str());
            }
        }
        map.insert("operation", if self.applied { "Apply" } else { "Update" });
        map.insert("fieldsType", "FieldsV1");
        map.insert("fieldsV1", self.fields.to_value());
        Value::Map(map)
    }
}

fn listed(object: &Object) -> Option<&[Value]> {
    object.meta().and_then(|m| m.get("managedFields")).and_then(Value::as_list)
}

/// The object's entries; none when one of them makes no sense. Of two of the same manager's the last one counts.
pub(super) fn read(object: &Object) -> Option<Vec<Entry>> {
    let mut out: Vec<Entry> = Vec::new();
    for value in listed(object).unwrap_or(&[]) {
        let entry = Entry::from_value(value)?;
        out.retain(|e| !e.is_of(&entry));
        out.push(entry);
    }
    Some(out)
}

/// Whether the client asks to forget all owners: an empty list, or one of one empty entry.
pub(super) fn is_reset(object: &Object) -> bool {
    let blank = |v: &Value| {
        v.as_map().is_some_and(|m| m.iter().all(|(_, v)| matches!(v, Value::Null) || v == &Value::from("")))
    };
    match listed(object) {
        Some([]) => true,
        Some([one]) => blank(one),
        _ => false,
    }
}

/// Whether two objects have the same owners of the same fields, whenever those wrote them.
pub(super) fn same_but_times(a: &Object, b: &Object) -> bool {
    let timeless = |object: &Object| -> Option<Vec<Entry>> {
        let list: Option<Vec<Entry>> = listed(object)?.iter().map(Entry::from_value).collect();
        list.map(|l| l.into_iter().map(|e| Entry { time: String::new(), ..e }).collect())
    };
    matches!((timeless(a), timeless(b)), (Some(a), Some(b)) if a == b)
}

/// Writes the owners down, as many as are told apart.
pub(super) fn write(object: &mut Object, mut entries: Vec<Entry>) {
    cap(&mut entries);
    put(object, entries);
}

pub(super) fn put(object: &mut Object, mut entries: Vec<Entry>) {
    let order =
        |e: &Entry| (!e.applied, e.time.clone(), e.manager.clone(), e.api_version.clone(), e.subresource.clone());
    entries.sort_by_key(order);
    match entries.is_empty() {
        true => {
            object.meta_mut().remove("managedFields");
        }
        false => {
            let list: Vec<Value> = entries.iter().map(Entry::to_value).collect();
            object.meta_mut().insert("managedFields", list);
        }
    }
}

/// Merges the oldest updaters of one version until few enough are left.
fn cap(entries: &mut Vec<Entry>) {
    let count = |entries: &[Entry]| entries.iter().filter(|e| !e.applied).count();
    while count(entries) > MAX_UPDATERS {
        let mut order: Vec<usize> = (0..entries.len()).filter(|i| !entries[*i].applied).collect();
        order.sort_by(|a, b| (&entries[*a].time, &entries[*a].manager).cmp(&(&entries[*b].time, &entries[*b].manager)));
        let version_of = |i: usize| entries[i].api_version.clone();
        let pair = order.iter().enumerate().find_map(|(n, later)| {
            let first = order[..n].iter().find(|i| version_of(**i) == version_of(*later))?;
            Some((*first, *later))
        });
        let Some((first, later)) = pair else { return };
        let fields = entries[first].fields.clone();
        let merged = &mut entries[later];
        merged.fields.union(&fields);
        merged.manager = ANCIENT.into();
        merged.subresource = String::new();
        entries.remove(first);
    }
}

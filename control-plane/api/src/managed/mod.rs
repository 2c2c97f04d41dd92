//! Who owns which fields of an object, and what follows when somebody writes some.
//!
//! [`update`] is for creates, updates and the patches that are no server-side apply; [`apply`] is for that.

mod apply;
mod declared;
mod entries;
mod last_applied;
mod prune;
pub mod scale;
mod set;
mod typed;
mod view;
mod walk;

pub use apply::apply;
pub use set::{Element, Set};
pub use typed::{converts, fits};
pub use walk::is_atomic;

use crate::kind::Kind;
use crate::object::Object;
use crate::schema;
use crate::value::Map;
use entries::Entry;
use view::Seen;
use walk::{Shape, compare_typed, is_keyless};

/// Who writes, when, and through which subresource.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager: the query's, else the first part of the user agent.
    pub manager: &'a str,
    /// RFC 3339 with seconds.
    pub now: &'a str,
    pub subresource: &'a str,
}

impl Writer<'_> {
    fn entry(&self, kind: &Kind, applied: bool) -> Entry {
        Entry {
            manager: self.manager.to_owned(),
            applied,
            api_version: kind.api_version(),
            subresource: self.subresource.to_owned(),
            time: self.now.to_owned(),
            fields: Set::default(),
        }
    }
}

/// Sets the owners of a new or changed object's fields. It comes after defaults and before admission and `prepare_*`,
/// so that what those set is nobody's. `live` is the object as it is stored, none on creation.
pub fn update(kind: &Kind, live: Option<&Object>, new: &mut Object, writer: Writer<'_>) {
    let blank = blank(kind);
    let creates = live.is_none();
    let live = live.unwrap_or(&blank);
    let of_live = || entries::read(live).unwrap_or_default();
    let owners = match entries::read(new) {
        _ if !writer.subresource.is_empty() => of_live(),
        _ if entries::is_reset(new) => Vec::new(),
        Some(given) if !given.is_empty() => given,
        _ => of_live(),
    };
    if owners.is_empty() && !creates {
        // Whose fields nobody wrote down, stays untracked until somebody applies.
        return entries::write(new, owners);
    }
    // Of an object that some owner's version has no way to show, nothing can be said.
    let owners = written(kind, live, new, owners, writer).unwrap_or_default();
    entries::write(new, owners);
}

/// The owners of fields after a write.
fn written(
    kind: &Kind,
    live: &Object,
    new: &Object,
    owners: Vec<Entry>,
    writer: Writer<'_>,
) -> Result<Vec<Entry>, String> {
    let mut owners = view::known(kind, &live.0, owners)?;
    let shape = Shape::root(kind);
    if is_keyless(shape, &live.0) || is_keyless(shape, &new.0) {
        return Ok(Vec::new());
    }
    let mut changes = compare_typed(shape, &live.0, &new.0);
    changes.without(&never_owned());
    changes.without(&not_written(kind, writer.subresource));
    let seen = Seen::new(kind, &owners, changes, (&live.0, &new.0), writer.subresource)?;
    for owner in &mut owners {
        owner.lose(seen.by(owner));
    }
    let taken = seen.own.taken();
    if !taken.is_empty() {
        let mut own = writer.entry(kind, false);
        match owners.iter_mut().find(|e| e.is_of(&own)) {
            Some(entry) => {
                entry.fields.union(&taken);
                entry.time = own.time;
            }
            None => {
                own.fields = taken;
                owners.push(own);
            }
        }
    }
    owners.retain(|e| !e.fields.is_empty());
    Ok(owners)
}

/// Takes back the times of a write that has changed nothing else, so that it is none. It comes after admission.
pub fn keep_times(old: &Object, new: &mut Object) {
    if !entries::same_but_times(old, new) {
        return;
    }
    let without = |object: &Object| {
        let mut object = object.clone();
        object.meta_mut().remove("managedFields");
        object
    };
    if without(old) == without(new)
        && let Some(owners) = old.meta().and_then(|m| m.get("managedFields"))
    {
        new.meta_mut().insert("managedFields", owners.clone());
    }
}

/// An object of a kind before anybody has said anything.
fn blank(kind: &Kind) -> Object {
    match &kind.custom {
        None => Object(schema::empty(&kind.type_name)),
        Some(_) => Object([("metadata", Map::new())].into_iter().collect()),
    }
}

fn paths(list: &[&[&str]]) -> Set {
    let mut set = Set::default();
    for path in list {
        let path: Vec<Element> = path.iter().map(|p| Element::Field((*p).into())).collect();
        set.insert(&path);
    }
    set
}

/// What nobody owns: the system's own metadata.
fn never_owned() -> Set {
    let mut set = paths(&[&["apiVersion"], &["kind"]]);
    for field in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        set.union(&paths(&[&["metadata", field]]));
    }
    set
}

/// What a write through a subresource leaves alone.
fn not_written(kind: &Kind, subresource: &str) -> Set {
    match (subresource, kind.names.kind.as_ref()) {
        ("", "CertificateSigningRequest") => paths(&[&["spec"], &["status"]]),
        ("status", "CertificateSigningRequest") => paths(&[&["spec"], &["status", "conditions"]]),
        (
            "status",
            "APIService"
            | "FlowSchema"
            | "PriorityLevelConfiguration"
            | "ResourceClaim"
            | "ServiceCIDR"
            | "ValidatingAdmissionPolicy"
            | "VolumeAttachment",
        ) => paths(&[&["metadata"], &["spec"]]),
        ("approval", "CertificateSigningRequest") => paths(&[&["spec"], &["status", "certificate"]]),
        ("", _) if kind.has_status => paths(&[&["status"]]),
        ("status", "Deployment") => paths(&[&["spec"], &["metadata", "labels"]]),
        ("status", "Pod") => paths(&[&["spec"], &["metadata", "ownerReferences"]]),
        ("status", _) => paths(&[&["spec"]]),
        _ => Set::default(),
    }
}

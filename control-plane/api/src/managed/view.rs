//! Owners of fields who wrote in another version of a kind: they see an object, and what changes in it, in theirs.

use super::entries::Entry;
use super::walk::{Changes, Shape, compare_typed};
use super::{never_owned, not_written, typed};
use crate::kind::Kind;
use crate::kinds;
use crate::structural::Structural;
use crate::value::Map;
use crate::versions;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How the objects of a kind look in one of its versions.
#[derive(Clone, Copy)]
pub(super) enum View<'k> {
    /// The version that is written in.
    Own(&'k Kind),
    /// Of a built-in kind; the version that is written in comes first.
    Other(&'k Kind, &'static Kind),
    /// Of a kind that is defined at run time: its objects say the same in all versions.
    Defined(&'k Structural),
}

impl<'k> View<'k> {
    /// None for a version that a built-in kind is served in no more: nothing can be said of fields there.
    ///
    /// # Errors
    /// A definition has no such version.
    pub(super) fn of(kind: &'k Kind, api_version: &str) -> Result<Option<View<'k>>, String> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.contains('/') {
            return Err(format!("unexpected GroupVersion string: {api_version}"));
        }
        let (same, names) = (group == kind.names.group, &kind.names);
        match &kind.custom {
            _ if same && version == names.version => Ok(Some(View::Own(kind))),
            None if same => Ok(kinds::by_kind(group, version, &names.kind).map(|other| View::Other(kind, other))),
            None => Ok(None),
            Some(custom) => match custom.stored.schema(version) {
                Some(schema) if same => Ok(Some(View::Defined(schema))),
                _ => Err(format!("request to convert CR to an invalid group/version: {api_version}")),
            },
        }
    }

    pub(super) fn shape(self) -> Shape<'k> {
        match self {
            View::Own(kind) | View::Other(_, kind) => Shape::root(kind),
            View::Defined(schema) => Shape::Custom(schema),
        }
    }

    /// An object of the version that is written in, in this one.
    ///
    /// # Errors
    /// This version does not have its fields.
    pub(super) fn show<'m>(&self, object: &'m Map) -> Result<Cow<'m, Map>, String> {
        match self {
            View::Own(_) => Ok(Cow::Borrowed(object)),
            View::Other(own, other) => Ok(Cow::Owned(versions::convert(own, other, object))),
            View::Defined(schema) => typed::misfit(schema, object).map_or(Ok(Cow::Borrowed(object)), Err),
        }
    }

    /// An object of this version in the one that is written in.
    pub(super) fn back(&self, object: Map) -> Map {
        match self {
            View::Own(_) | View::Defined(_) => object,
            View::Other(own, other) => versions::convert(other, own, &object),
        }
    }
}

/// The owners of an object's fields whose versions its kind has.
///
/// # Errors
/// One of them wrote in a version in which nobody can see the object.
pub(super) fn known(kind: &Kind, object: &Map, owners: Vec<Entry>) -> Result<Vec<Entry>, String> {
    let mut out = Vec::with_capacity(owners.len());
    for owner in owners {
        if let Some(view) = View::of(kind, &owner.api_version)? {
            view.show(object)?;
            out.push(owner);
        }
    }
    Ok(out)
}

/// What a write changes, as the owners of fields see it.
pub(super) struct Seen {
    pub(super) own: Changes,
    others: BTreeMap<String, Changes>,
}

impl Seen {
    /// `own` is what changes in the version that is written in.
    ///
    /// # Errors
    /// An owner's version does not have the fields of one of the objects.
    pub(super) fn new(
        kind: &Kind,
        owners: &[Entry],
        own: Changes,
        (old, new): (&Map, &Map),
        subresource: &str,
    ) -> Result<Seen, String> {
        let mut others: BTreeMap<String, Changes> = BTreeMap::new();
        for Entry { api_version, .. } in owners {
            let view = match View::of(kind, api_version)? {
                Some(view) if !matches!(view, View::Own(_)) && !others.contains_key(api_version) => view,
                _ => continue,
            };
            let old = view.show(old).map_err(|why| format!("failed to convert old object: {why}"))?;
            let new = view.show(new).map_err(|why| format!("failed to convert new object: {why}"))?;
            let mut changes = compare_typed(view.shape(), &old, &new);
            changes.without(&never_owned());
            if kind.custom.is_none() {
                changes.without(&not_written(kind, subresource));
            }
            others.insert(api_version.clone(), changes);
        }
        Ok(Seen { own, others })
    }

    pub(super) fn by(&self, owner: &Entry) -> &Changes {
        self.others.get(&owner.api_version).unwrap_or(&self.own)
    }
}

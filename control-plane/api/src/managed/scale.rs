//! A Scale shows who owns an object's replicas, and what a write through it makes of that comes back to the object.

use super::entries::{self, Entry};
use super::set::{Element, Set};
use crate::kind::custom::Scale;
use crate::kind::{Kind, Names};
use crate::object::Object;
use std::borrow::Cow;

/// A Scale as a kind of its own, whose type an applied one must fit.
pub static SCALE: Kind = Kind {
    names: Names {
        group: Cow::Borrowed("autoscaling"),
        version: Cow::Borrowed("v1"),
        kind: Cow::Borrowed("Scale"),
        ..Kind::PLAIN.names
    },
    type_name: Cow::Borrowed("io.k8s.api.autoscaling.v1.Scale"),
    ..Kind::PLAIN
};

/// Where a Scale has the replicas, and where most kinds do.
const REPLICAS: [&str; 2] = ["spec", "replicas"];

/// Where a kind keeps its replicas.
pub fn replicas(kind: &Kind) -> Vec<&str> {
    match kind.custom.as_ref().and_then(|c| c.scale.as_ref()) {
        Some(paths) => paths.spec.iter().map(String::as_str).collect(),
        None => REPLICAS.to_vec(),
    }
}

/// The same for one of the kind's versions, whose paths may differ: none for a version that has no Scale. No version of
/// the kind's is an error.
fn replicas_of(kind: &Kind, api_version: &str) -> Result<Option<Vec<Element>>, ()> {
    let elements = |path: &[&str]| path.iter().map(|p| Element::Field((*p).into())).collect();
    let Some(custom) = kind.custom.as_ref().filter(|_| api_version != kind.api_version()) else {
        return if api_version == kind.api_version() { Ok(Some(elements(&replicas(kind)))) } else { Err(()) };
    };
    let (group, version) = api_version.split_once('/').ok_or(())?;
    let scale = custom.stored.scale(version).filter(|_| group == kind.names.group).ok_or(())?;
    let path = |scale: &Scale| elements(&scale.spec.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(scale.as_ref().map(path))
}

fn only(path: &[Element]) -> Set {
    let mut set = Set::default();
    set.insert(path);
    set
}

/// Writes into the Scale of an object who owns its replicas.
pub fn show(kind: &Kind, object: &Object, scale: &mut Object) {
    let owners = entries::read(object).unwrap_or_default().into_iter().filter(|owner| {
        replicas_of(kind, &owner.api_version).is_ok_and(|path| path.is_some_and(|path| owner.fields.holds(&path)))
    });
    let shown =
        owners.map(|owner| Entry { api_version: SCALE.api_version(), fields: super::paths(&[&REPLICAS]), ..owner });
    entries::put(scale, shown.collect());
}

/// Brings back to an object what a write through its Scale made of the owners of the replicas. Updaters of more than
/// them own them apart and without a time from then on, as upstream, which takes the Scale's updaters for others.
pub fn take_back(kind: &Kind, object: &mut Object, scale: &Object) {
    let (Some(owners), Some(mut scaled)) = (entries::read(object), entries::read(scale)) else { return };
    let mut out = Vec::with_capacity(owners.len() + 1);
    for owner in &owners {
        let Ok(path) = replicas_of(kind, &owner.api_version) else { continue };
        let mut owner = owner.clone();
        if let Some(path) = path.filter(|path| owner.fields.holds(path)) {
            match scaled.iter().position(|s| s.is_of(&owner)) {
                Some(kept) => drop(scaled.remove(kept)),
                None => owner.fields.difference(&only(&path)),
            }
        }
        out.push(owner);
    }
    let (in_scale, path) = (REPLICAS.map(|p| Element::Field(p.into())), replicas(kind));
    for owner in scaled.into_iter().filter(|owner| owner.fields.holds(&in_scale)) {
        let time = owners.iter().find(|o| o.is_of(&owner)).map(|o| o.time.clone()).unwrap_or_default();
        out.push(Entry { api_version: kind.api_version(), fields: super::paths(&[&path]), time, ..owner });
    }
    out.retain(|owner| !owner.fields.is_empty());
    entries::put(object, out);
}
